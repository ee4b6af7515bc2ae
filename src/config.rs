//! Floor 0, config: the configuration of a server, which does not change after the start. The bounds
//! on time, memory and work per turn are fields of [`Limits`]. (A few small bounds, which no server
//! needs to change, are constants beside their use.)
//!
//! Architecture invariant: this module names no other module of the crate.

mod limits;
mod proxy;

pub use limits::Limits;
pub use proxy::{ProxyPlace, ProxyRoute, ProxyTarget};

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The configuration of a server: the files to serve, the addresses to listen on, and the bounds.
#[derive(Clone, Debug)]
pub struct Config {
    /// The path to serve: a directory or a single file.
    pub root: PathBuf,
    /// The addresses to listen on, all with the same port.
    pub bind: Bind,
    /// The sockets of the Unix domain to listen on too. Their clients speak without TLS, and count as
    /// clients on this machine.
    pub sockets: Vec<SocketPath>,
    /// The port to listen on.
    pub port: Port,
    /// Whether connections speak TLS, and with which certificate.
    pub https: Https,
    /// The format of the access log, which has one line for each request.
    pub log: LogFormat,
    /// The file to whose end the access log is written; `None` for standard output. The file is opened
    /// again on SIGHUP, after a program such as logrotate has renamed it.
    pub log_file: Option<PathBuf>,
    /// Whether symbolic links that lead out of the root are followed. Links that stay within the
    /// root are always followed.
    pub follow_symlinks: bool,
    /// Whether the site is a single-page app: a navigation that finds no file is answered with the
    /// `index.html` of the root.
    pub single_page: bool,
    /// Whether a directory without an `index.html` is listed.
    pub listing: bool,
    /// Whether to serve hidden files: those with a segment in their path that begins with a dot, such
    /// as `.env` or `.git/config`. Without this, only `.well-known` at the top is served (RFC 8615).
    pub hidden: bool,
    /// Host names that a request may name in `Host`, in addition to `localhost`, the names below
    /// `localhost`, and IP addresses. A page from such a host may also embed files, send unsafe
    /// requests and open WebSocket connections: the names are checked against `Origin` too.
    ///
    /// A dot in front, as in `.example.org`, stands for the name and all names below the name; `*`
    /// stands for every name. Letter case and ports do not matter. An entry that is not a host name
    /// matches nothing.
    pub allow_hosts: Vec<String>,
    /// Origins whose pages may embed files (scripts, images and the like), send unsafe requests and
    /// open WebSocket connections, in addition to the pages of this server, of this machine
    /// (`localhost`, `*.localhost` and loopback addresses, with any port) and of `allow_hosts`.
    ///
    /// An entry is an origin as browsers send it: `scheme://host`, or `scheme://host:port` unless
    /// the port is the default port of http or https; also `file://` or `vscode-webview://…`, and
    /// `null` for pages that do not tell their origin. Any page can become one of these by means of
    /// a sandboxed frame. `*` stands for every origin. An entry of another form matches nothing.
    pub allow_origins: Vec<String>,
    /// The seconds for which a cache may use a file without asking this server (`Cache-Control:
    /// max-age`, RFC 9111 §5.2.2.1). `None`, the default, means that a cache asks each time
    /// (`no-cache`), and gets a short 304 if the file is unchanged.
    ///
    /// With a number, a file with a hash of its content in its name, such as `app-5d3f9a1b.js`, may be
    /// used for a year (`immutable`, RFC 8246): another content has another name. For errors and
    /// redirects, a cache always asks.
    pub max_age: Option<u32>,
    /// Which pages of other origins may read the replies.
    pub cors: Cors,
    /// Whether pages are isolated from pages of other origins, which gives them `SharedArrayBuffer` and
    /// exact clocks: `Cross-Origin-Opener-Policy: same-origin` and `Cross-Origin-Embedder-Policy:
    /// require-corp`. An isolated page can embed files of other origins only if they agree.
    pub isolate: bool,
    /// The credentials that each request must have (Basic, RFC 7617); `None` to ask for none.
    pub auth: Option<Credentials>,
    /// Changes of the fields of each reply, in order. A name that is set twice stands twice. A change
    /// of a field that only the server can know, such as `Content-Length`, `Date` or `ETag`, has no
    /// effect, nor has one whose name or value cannot be sent.
    pub fields: Vec<FieldChange>,
    /// Whether to serve the endpoints for tests of clients and of the server: `POST /_oneloop/echo`
    /// answers with the request body, and below `/_oneloop/test/` are those of `TestEndpoint`.
    pub test_endpoints: bool,
    /// Whether each answer has the field `Server-Timing`, with the work of the server for it and the
    /// time.
    pub server_timing: bool,
    /// The clients that may ask for the metrics and the health of the server.
    pub metrics: Metrics,
    /// The clients that may look at the loop, at `/_oneloop/`.
    pub inspect: Inspect,
    /// Whether a page is loaded again when its files change.
    pub live: Live,
    /// Directories that are not served, in which any change reloads all open pages, and with them the
    /// directories below. Without effect while `live` is off.
    pub watch: Vec<PathBuf>,
    /// Patterns of files whose changes do not reload any page, such as `*.log` or `data/*.json`. A pattern
    /// without a slash is for a name at any depth, and one with a slash for a path below the root. A
    /// pattern that makes no sense is for no file.
    pub ignore: Vec<String>,
    /// Whether files are looked at twice a second, because the file system does not tell of changes. Of
    /// most such file systems, the server knows.
    pub poll: bool,
    /// Whether letters that are typed at the terminal at standard input, each with Enter, are commands: `h`
    /// lists them.
    pub keys: bool,
    /// The routes of the reverse proxy: requests for a path below the prefix of a route are passed on to
    /// its target. The guard and the credentials come first. Two routes cannot have the same prefix.
    pub proxies: Vec<ProxyRoute>,
    /// Whether a target that speaks TLS may have any certificate, such as one that it has signed itself.
    pub proxy_insecure: bool,
    /// Where the server writes a trace of its loop.
    pub trace: TraceTo,
    /// Whether the trace has times and ports too, which differ from run to run.
    pub trace_clock: bool,
    /// The bounds on time, memory and work.
    pub limits: Limits,
}

impl Config {
    /// Returns the configuration of `oneloop ROOT`, but without a log: port 8080, or the next free
    /// port, on the loopback addresses.
    pub fn new(root: impl Into<PathBuf>) -> Config {
        Config {
            root: root.into(),
            bind: Bind::Loopback,
            sockets: Vec::new(),
            port: Port::Preferred(8080),
            https: Https::Off,
            log: LogFormat::Off,
            log_file: None,
            follow_symlinks: false,
            single_page: false,
            listing: true,
            hidden: false,
            allow_hosts: Vec::new(),
            allow_origins: Vec::new(),
            max_age: None,
            cors: Cors::Off,
            isolate: false,
            auth: None,
            fields: Vec::new(),
            test_endpoints: false,
            server_timing: false,
            metrics: Metrics::Off,
            inspect: Inspect::Off,
            live: Live::Off,
            watch: Vec::new(),
            ignore: Vec::new(),
            poll: false,
            keys: false,
            proxies: Vec::new(),
            proxy_insecure: false,
            trace: TraceTo::Off,
            trace_clock: false,
            limits: Limits::default(),
        }
    }
}

/// The addresses to listen on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bind {
    /// 127.0.0.1, and ::1 if the machine has IPv6. This is the default, because a development
    /// server should not be open to the network by accident.
    Loopback,
    /// Every address of the machine: 0.0.0.0, and :: if the machine has IPv6. The server does not start for
    /// the root of the file system, for the home folder of the user or a folder above, which no user means
    /// to show to a network.
    Everywhere,
    /// The listed addresses. If one of the addresses cannot be bound, the server does not start.
    ///
    /// `::` without an IPv4 address beside it means every address of the machine: `0.0.0.0` is bound
    /// too, if the machine has IPv4.
    Addresses(Vec<IpAddr>),
}

impl Bind {
    /// Returns two lists: the addresses that must be bound, and the addresses without which the
    /// server may start too.
    pub fn addresses(&self) -> (Vec<IpAddr>, Vec<IpAddr>) {
        match self {
            Bind::Loopback => (
                vec![Ipv4Addr::LOCALHOST.into()],
                vec![Ipv6Addr::LOCALHOST.into()],
            ),
            Bind::Everywhere => (
                vec![Ipv4Addr::UNSPECIFIED.into()],
                vec![Ipv6Addr::UNSPECIFIED.into()],
            ),
            Bind::Addresses(list) => {
                let every = list.iter().any(IpAddr::is_unspecified);
                let optional = match every && list.iter().all(IpAddr::is_ipv6) {
                    true => vec![Ipv4Addr::UNSPECIFIED.into()],
                    false => Vec::new(),
                };
                (list.clone(), optional)
            }
        }
    }
}

/// The use of TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Https {
    /// Connections are plain.
    Off,
    /// Connections speak TLS, with certificates that are made while the server runs. They are signed by
    /// mkcert's CA or by ours, whose directory the variables `CAROOT`, `XDG_DATA_HOME` and `HOME` name.
    Made,
    /// Connections speak TLS, with the certificate and the private key in these files, which may be one.
    Given {
        /// The file with the certificate, and with those of its CAs.
        certificate: PathBuf,
        /// The file with the private key.
        key: PathBuf,
    },
}

/// The path of a socket of the Unix domain, and the users that may connect to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketPath {
    /// The path. A socket that a crashed program has left there is replaced, and the socket is removed at
    /// the end.
    pub path: PathBuf,
    /// The permissions of the file, such as 0o600, the default.
    pub mode: u32,
}

impl SocketPath {
    /// The bytes of a path in `sockaddr_un`, of which the last is NUL (unix(7)).
    const PATH_BYTES_MAX: usize = 107;

    /// Reads `/path` or `/path?mode=660`.
    ///
    /// # Errors
    /// A sentence with the next step.
    pub fn parse(text: &str) -> Result<SocketPath, String> {
        let (path, mode) = match text.split_once('?') {
            None => (text, Some(0o600)),
            Some((path, option)) => {
                let digits = option.strip_prefix("mode=").filter(|d| !d.starts_with('+'));
                let mode = digits.and_then(|digits| u32::from_str_radix(digits, 8).ok());
                (path, mode.filter(|mode| *mode <= 0o777))
            }
        };
        let mode = mode.ok_or("the only option of a socket is ?mode=660, in octal digits")?;
        if path.is_empty() || path.contains('\0') {
            return Err("the path of a socket follows unix:, such as unix:/run/site.sock".into());
        }
        if path.len() > SocketPath::PATH_BYTES_MAX {
            let max = SocketPath::PATH_BYTES_MAX;
            return Err(format!("the path of a socket has at most {max} bytes"));
        }
        Ok(SocketPath {
            path: path.into(),
            mode,
        })
    }
}

/// The port to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// The given port or, if the port is in use, one of the next [`Port::HOPS`] ports.
    Preferred(u16),
    /// Only the given port. With port 0, the kernel chooses a free port.
    Exactly(u16),
}

impl Port {
    /// The number of ports that are tried after the preferred port.
    pub const HOPS: u16 = 20;
}

/// The format of the access log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// Lines for people: `12:34:56.789  200     78 B  240 µs  GET /app.js`.
    Pretty,
    /// Lines for tools: the "combined" format of Apache httpd and nginx.
    Combined,
    /// One JSON object per line.
    Json,
    /// No log.
    Off,
}

/// Which pages of other origins may read the replies (CORS).
///
/// Requests with unsafe methods and WebSocket handshakes are not affected: they are let in from the
/// pages of this server, of this machine, of [`Config::allow_hosts`] and of [`Config::allow_origins`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Cors {
    /// No page of another origin, as browsers have it by default.
    #[default]
    Off,
    /// Every page, by a request without credentials.
    Any,
    /// Every page, as with `Any`. A page that may also send unsafe requests may send credentials
    /// (cookies and passwords) too.
    Credentials,
}

/// The clients that may ask for `/_oneloop/health` and `/_oneloop/metrics`.
///
/// Behind a reverse proxy on the same machine, every client has a loopback address.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Metrics {
    /// No client: the two endpoints are not there.
    #[default]
    Off,
    /// Clients with a loopback address. Others get 403.
    Loopback,
    /// Every client that the guard and the password let in.
    Any,
}

/// The clients that may look at the loop: its turns, its connections, and why each is open.
///
/// The pages of other origins may not, whatever the value. Behind a reverse proxy on the same machine, every
/// client has a loopback address.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Inspect {
    /// No client: the page `/_oneloop/` and its endpoints are not there.
    #[default]
    Off,
    /// Clients with a loopback address. Others get 403.
    Loopback,
    /// Every client that the guard and the password let in.
    Any,
    /// Clients with a loopback address, which may also pause the loop, let it make single turns, slow it
    /// down and block it.
    Control,
}

/// Whether a page that is open in a browser is loaded again when files change. A page then has a script of
/// the server at the beginning of its head, but only as the answer to a navigation: other requests for the
/// page get the bytes of the file.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Live {
    /// Pages are sent as they are, and no file is watched.
    #[default]
    Off,
    /// When a file changes that an open page has asked for.
    Used,
    /// When any file of the site changes.
    All,
}

/// Where a trace of the loop is written.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum TraceTo {
    /// No trace is written.
    #[default]
    Off,
    /// Lines for people, to standard error.
    Pretty,
    /// JSON lines, to this file, which is emptied first.
    File(PathBuf),
}

/// A user name and a password. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name, a colon and the password.
    joined: String,
}

impl Credentials {
    /// Reads `USER:PASS`. The password may have further colons. The user name may be empty.
    ///
    /// # Errors
    /// A sentence that does not repeat the text, if there is no colon or no password, or if the text has
    /// a control character (RFC 7617 §2).
    pub fn parse(text: &str) -> Result<Credentials, &'static str> {
        match text.split_once(':') {
            None => Err("give USER:PASS: a user name, a colon and a password"),
            Some((_, "")) => Err("the password is missing after the colon"),
            Some(_) if text.contains(char::is_control) => {
                Err("a user name and a password have no control characters")
            }
            Some(_) => Ok(Credentials {
                joined: text.into(),
            }),
        }
    }

    /// The user name, a colon and the password.
    pub(crate) fn joined(&self) -> &str {
        &self.joined
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// A change of the fields of a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FieldChange {
    /// Sets the field of this name to this value.
    Set(String, String),
    /// Removes the fields of this name.
    Remove(String),
}

/// How a room treats a member that does not read the messages of the room fast enough.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlowMember {
    /// The member misses messages. The server counts the missed messages.
    Drop,
    /// The member's connection is closed with the code 1013.
    Close,
}
