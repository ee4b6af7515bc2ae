//! The command line: the flags, as `clap` reads them, and their translation to a [`Config`].
//!
//! Architecture invariant: of the crate's modules, this module names only `config` and `http`.

mod choices;
mod command;
mod demo;
mod environment;
mod help;
mod https;
mod needs;
mod values;

pub use choices::{CorsMode, Format, InspectFor, LiveFor, MetricsFor, Slow};
pub use command::{Command, Conversion};
pub use demo::Demo;
pub use https::{CertificateQuestion, HttpsFlags};

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::config::{
    Bind, Config, Cors, Credentials, FieldChange, Inspect, Limits, Live, LogFormat, Metrics, Port,
    ProxyRoute, SlowMember, SocketPath, TraceTo,
};
use environment::Variables;
use help::{ACCESS, BOUNDS, FILES, LISTEN, LIVE, LOOP, OUTPUT, PROXY};
use values::{
    address, count, field_change, glob_pattern, host_name, origin, page_path, port, seconds, size,
    some_seconds,
};

/// A web server in one thread: one loop serves files and WebSocket rooms to all connections.
#[derive(Parser, Debug)]
#[command(
    name = "oneloop",
    version,
    long_version = help::LONG_VERSION.as_str(),
    max_term_width = 100,
    after_help = help::AFTER_SHORT,
    after_long_help = help::AFTER_LONG
)]
pub struct Cli {
    /// The directory or the file to serve [default: ./www or .]
    ///
    /// ./www is served if it exists, else the working directory. [env: ONELOOP_ROOT]
    pub root: Option<PathBuf>,

    /// Port to listen on; 0: any free port [default: 8080]
    ///
    /// If no port is named and 8080 is in use, the next free one is taken. [env: PORT]
    #[arg(help_heading = LISTEN, short, long, value_name = "N", value_parser = port, allow_negative_numbers = true)]
    pub port: Option<u16>,

    /// Address to listen on; repeatable [default: localhost]
    ///
    /// An IP address, or `localhost` for both 127.0.0.1 and ::1; `::` is every address, of IPv6 and of
    /// IPv4. Also unix:/path for a socket of the Unix domain, unix:/path?mode=660 for one that a group may
    /// use. Sockets that systemd passes (LISTEN_FDS) take the place of --bind and --port.
    #[arg(help_heading = LISTEN, short, long, value_name = "ADDR", visible_alias = "host", value_parser = address)]
    pub bind: Vec<Address>,

    /// Open the server to the local network: phones, tablets, other computers
    ///
    /// Listens on every address, and shows the URL of this machine with a QR code. The host name and
    /// HOSTNAME.local are allowed as if by --allow-host.
    #[arg(help_heading = LISTEN, long, conflicts_with = "bind")]
    pub lan: bool,

    /// The flags for HTTPS.
    #[command(flatten)]
    pub https: HttpsFlags,

    /// Open the page in a browser, or the page at PATH
    ///
    /// With the programs in $BROWSER, or else with xdg-open.
    #[arg(
        help_heading = LISTEN,
        short,
        long,
        value_name = "PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "/",
        value_parser = page_path
    )]
    pub open: Option<String>,

    /// Answer navigations that find no file with index.html
    ///
    /// For a single-page app that shows a view for each address; anything else that is missing stays 404. A
    /// navigation has Sec-Fetch-Dest: document, or Upgrade-Insecure-Requests: 1 and Accept: text/html.
    #[arg(help_heading = FILES, short, long)]
    pub spa: bool,

    /// Serve the pages that show what this server does
    ///
    /// They are in the program, and are written to a temporary folder, which is removed at the end.
    #[arg(help_heading = FILES, long, conflicts_with = "root")]
    pub demo: bool,

    /// Do not list directories that have no index.html
    #[arg(help_heading = FILES, long)]
    pub no_listing: bool,

    /// Also serve names that begin with a dot
    ///
    /// Files and folders [default: only .well-known].
    #[arg(help_heading = FILES, long)]
    pub hidden: bool,

    /// Follow symbolic links that lead out of ROOT
    #[arg(hide_short_help = true, help_heading = FILES, long)]
    pub follow_symlinks: bool,

    /// Seconds for which browsers need not ask again
    ///
    /// For each file, HTML included, sent as Cache-Control: max-age. Most files with a hash in their name,
    /// such as app-5d3f9a1b.js, may then be used for a year. Browsers ask all the same without --no-live,
    /// because they must see edits [default: browsers ask each time (no-cache)].
    #[arg(help_heading = FILES, long, value_name = "SECS", value_parser = seconds, allow_negative_numbers = true)]
    pub max_age: Option<u32>,

    /// A field for every reply, as 'Name: value'; repeatable
    ///
    /// It takes the place of ours; '!Name' removes ours.
    #[arg(help_heading = FILES, long, value_name = "FIELD", value_parser = field_change)]
    pub header: Vec<FieldChange>,

    /// Isolate pages from those of other origins (COOP and COEP), as SharedArrayBuffer needs it
    #[arg(hide_short_help = true, help_heading = FILES, long)]
    pub isolate: bool,

    /// Do not reload pages when their files change
    ///
    /// Pages are sent as they are: no script in pages that a browser shows [default: open pages are
    /// reloaded when a file changes that they use].
    #[arg(help_heading = LIVE, long, conflicts_with = "live")]
    pub no_live: bool,

    /// Reload open pages when any file below ROOT changes, and not only when a file does that they use
    #[arg(
        hide_short_help = true,
        help_heading = LIVE,
        long,
        value_name = "WHICH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "used"
    )]
    pub live: Option<LiveFor>,

    /// Also reload pages when files in DIR change; repeatable
    ///
    /// Any file, in a directory which is not served; with all directories below, but for hidden ones and
    /// node_modules.
    #[arg(help_heading = LIVE, long, value_name = "DIR", conflicts_with = "no_live")]
    pub watch: Vec<PathBuf>,

    /// Do not reload pages for files that match GLOB: a name such as '*.log', or a path below ROOT such as
    /// 'data/**'; repeatable
    #[arg(hide_short_help = true, help_heading = LIVE, long, value_name = "GLOB", value_parser = glob_pattern, conflicts_with = "no_live")]
    pub ignore: Vec<String>,

    /// Look at the files that pages use twice a second, for a file system that does not tell of
    /// changes [default: only for network, shared and FUSE file systems]
    #[arg(hide_short_help = true, help_heading = LIVE, long, conflicts_with = "no_live")]
    pub poll: bool,

    /// Pass requests below a path on to another server; repeatable
    ///
    /// As /api=http://localhost:3000, with http://, https:// or unix:/path.sock; WebSocket too. The prefix
    /// is kept; a target with a path, such as http://localhost:3000/v1 or http://localhost:3000/,
    /// replaces it. The longest prefix wins, and / is for what is not found here. A server on this machine
    /// gets the host that the browser asked for, another one its own; ?host=keep or ?host=target at
    /// the end changes that.
    #[arg(help_heading = PROXY, long, value_name = "PATH=URL", value_parser = ProxyRoute::parse)]
    pub proxy: Vec<ProxyRoute>,

    /// Trust any certificate of a server behind --proxy
    #[arg(hide_short_help = true, help_heading = PROXY, long)]
    pub proxy_insecure: bool,

    /// Seconds for which a request waits for a server that is being restarted; 0: no wait [default: 10]
    #[arg(hide_short_help = true, help_heading = PROXY, long, value_name = "SECS", value_parser = seconds, allow_negative_numbers = true)]
    pub proxy_wait: Option<u32>,

    /// Seconds until the server must have begun its answer [default: 120]
    #[arg(hide_short_help = true, help_heading = PROXY, long, value_name = "SECS", value_parser = some_seconds, allow_negative_numbers = true)]
    pub proxy_timeout: Option<u32>,

    /// Ask for this user name and password
    ///
    /// Other users of the machine see flags in the list of processes: ONELOOP_AUTH and --auth-file keep the
    /// password out of it. Plain HTTP does not encrypt the password [default: ask for none] [env:
    /// ONELOOP_AUTH].
    #[arg(help_heading = ACCESS, long, value_name = "USER:PASS", conflicts_with = "auth_file")]
    pub auth: Option<Secret>,

    /// Ask for the user name and the password in the only line of this file, as USER:PASS
    #[arg(hide_short_help = true, help_heading = ACCESS, long, value_name = "FILE")]
    pub auth_file: Option<PathBuf>,

    /// Another host name for this server; repeatable
    ///
    /// The name in the requests: .example.org also allows all names below example.org, * allows any name
    /// [default: only localhost, the names below localhost, and IP addresses].
    #[arg(help_heading = ACCESS, long, value_name = "NAME", value_parser = host_name)]
    pub allow_host: Vec<String>,

    /// Another origin whose pages may embed files, post and open WebSocket connections;
    /// repeatable. An origin is scheme://host, scheme://host:port, file://, or null for pages that
    /// do not tell their origin; * allows any [default: only this server, any port of this machine
    /// (localhost, 127.0.0.1, ::1), and the hosts of --allow-host]
    #[arg(hide_short_help = true, help_heading = ACCESS, long, value_name = "ORIGIN", value_parser = origin)]
    pub allow_origin: Vec<String>,

    /// Let pages of every origin read the replies (CORS)
    ///
    /// With preflights. With =credentials, pages that may post here may also send cookies and passwords
    /// [default: no page of another origin].
    #[arg(
        help_heading = ACCESS,
        long,
        value_name = "MODE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "any"
    )]
    pub cors: Option<CorsMode>,

    /// Format of the access log [default: pretty or combined]
    ///
    /// One line per request: pretty on a terminal, else combined.
    #[arg(help_heading = OUTPUT, short, long, value_name = "FORMAT")]
    pub log: Option<Format>,

    /// Write the access log to the end of FILE
    ///
    /// Instead of standard output; on SIGHUP, FILE is opened again, as logrotate needs it.
    #[arg(help_heading = OUTPUT, long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,

    /// Print only warnings and errors
    #[arg(help_heading = OUTPUT, short, long)]
    pub quiet: bool,

    /// Print the report on the loop when the server stops, however few the requests were: requests per
    /// turn, system calls, times, why connections ended, and what each error of wrk was [default: after
    /// 1,000 requests]. kill -USR1 prints it at any time
    #[arg(hide_short_help = true, help_heading = OUTPUT, long, conflicts_with = "quiet")]
    pub report: bool,

    /// Show what the loop does at /_oneloop/, as a page to browsers and as text to curl: its turns, its
    /// connections and why each is open. To clients on this machine; with =any, to all; with =control,
    /// clients on this machine may also pause the loop and let it make single turns; with =off, to nobody
    /// [default: loopback]
    #[arg(
        hide_short_help = true,
        help_heading = LOOP,
        long,
        value_name = "WHO",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "loopback"
    )]
    pub inspect: Option<InspectFor>,

    /// Serve /_oneloop/health (200, or 503 while the server stops) and /_oneloop/metrics (for Prometheus)
    /// to clients on this machine; with =any, to all clients
    #[arg(
        hide_short_help = true,
        help_heading = LOOP,
        long,
        value_name = "WHO",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "loopback"
    )]
    pub metrics: Option<MetricsFor>,

    /// Tell in each reply how long the server took for it: Server-Timing with the number of the turn, and
    /// the times of the parser, the look for the file, and the writes of the reply before
    #[arg(hide_short_help = true, help_heading = LOOP, long)]
    pub server_timing: bool,

    /// Write what the loop does to FILE, as JSON lines in logical time: the same acts of clients give the
    /// same lines. With the word pretty in place of FILE, lines for people go to standard error
    #[arg(hide_short_help = true, help_heading = LOOP, long, value_name = "FILE")]
    pub trace: Option<PathBuf>,

    /// Write times and ports to the trace too, which differ from run to run
    #[arg(hide_short_help = true, help_heading = LOOP, long)]
    pub trace_clock: bool,

    /// Serve endpoints for tests of clients: POST /_oneloop/echo answers with the request body, and below
    /// /_oneloop/test/ are bytes/N, chunked/N, truncate/N, delay/MS, status/CODE, drip, sse, hang, reset,
    /// echo and head, each with ?_delay=5ms:90,50ms:10 and _status=503:2 (chances in percent)
    #[arg(hide_short_help = true, help_heading = LOOP, long)]
    pub test_endpoints: bool,

    /// Largest number of open connections [default: 10000, or three quarters of the file
    /// descriptors if that is less]
    #[arg(hide_short_help = true, help_heading = BOUNDS, long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    pub max_connections: Option<u32>,

    /// Most memory for all connections together, as 64M or 1G [default: 256M, or a quarter of the
    /// memory that the process may use if that is less]
    #[arg(hide_short_help = true, help_heading = BOUNDS, long, value_name = "SIZE", value_parser = size, allow_negative_numbers = true)]
    pub memory_max: Option<usize>,

    /// Treatment of a room member that does not read its messages fast enough [default: drop]
    #[arg(
        hide_short_help = true,
        help_heading = BOUNDS,
        long,
        value_name = "HOW",
        default_value = "drop",
        hide_default_value = true
    )]
    pub slow_members: Slow,

    /// Sentences about variables that have no meaning.
    #[arg(skip)]
    pub doubts: Vec<String>,

    /// Whether the environment names the file.
    #[arg(skip)]
    auth_file_is_variable: bool,

    /// The credentials of the flags or of the environment.
    #[arg(skip)]
    credentials: Option<Credentials>,
}

/// A text that is not shown. A value of `--auth` without a colon is a mistake that is told later, because
/// `clap` repeats the values that it refuses.
#[derive(Clone)]
pub struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// An address to listen on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// The word `localhost`, which stands for both loopback addresses.
    Localhost,
    /// A single IP address.
    Ip(IpAddr),
    /// A socket of the Unix domain.
    Unix(SocketPath),
}

/// The only line of a small file, without its end.
fn secret_line(path: &Path) -> Result<String, String> {
    const BYTES_MAX: u64 = 4096;
    let mut text = String::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line.contains('\n') || text.len() as u64 == BYTES_MAX {
        true => Err("the file must have one line, USER:PASS".into()),
        false => Ok(line.into()),
    }
}

/// The fault of an argument, and the next step, in one line. A value is quoted, with its control
/// characters escaped: it could otherwise forge lines, or send escape sequences to a terminal. (The text
/// of `clap` has several lines, and the value as it is.)
fn explain(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        Some(ContextValue::Strings(texts)) => texts.first().map_or("", String::as_str),
        _ => "",
    };
    // `clap` names a flag together with its value: `--log <FORMAT>`, `--cors[=<MODE>]`.
    if let Some(sentence) = needs::explain(error) {
        return sentence;
    }
    let name = |kind| {
        let text = text(kind).trim_matches(['[', ']']);
        text.split([' ', '=', '[']).next().unwrap_or_default()
    };
    let (flag, value) = (
        name(ContextKind::InvalidArg),
        text(ContextKind::InvalidValue),
    );
    let valid = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) => valid.join(", "),
        _ => String::new(),
    };
    match error.kind() {
        ErrorKind::UnknownArgument => match text(ContextKind::InvalidArg) {
            unknown if !unknown.starts_with('-') => {
                format!("{unknown:?} is one argument too many; name one directory, or one file")
            }
            unknown => match text(ContextKind::SuggestedArg) {
                "" => format!("there is no flag {unknown:?}; --help lists the flags"),
                similar => format!("there is no flag {unknown:?}; try {similar}"),
            },
        },
        ErrorKind::InvalidValue if value.is_empty() && valid.is_empty() => {
            format!("{flag} needs a value; --help says which")
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("{flag} needs a value; give one of {valid}")
        }
        ErrorKind::InvalidValue => format!("{flag} {value:?}: give one of {valid}"),
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(ToString::to_string);
            format!("{flag} {value:?}: {}", reason.unwrap_or_default())
        }
        ErrorKind::TooManyValues => format!("{flag} takes no value; leave {value:?} out"),
        ErrorKind::ArgumentConflict => match name(ContextKind::PriorArg) {
            other if other.is_empty() || other == flag => {
                format!("{flag} is given more than once; give it once")
            }
            other => format!("{flag} cannot be used with {other}; give one of them"),
        },
        ErrorKind::MissingRequiredArgument => match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::Strings(missing)) => {
                format!("{} is missing; --help says more", missing.join(" and "))
            }
            _ => "an argument is missing; --help says more".into(),
        },
        ErrorKind::InvalidUtf8 => {
            "the value of a flag is not UTF-8; only paths may hold other bytes".into()
        }
        other => format!("{other}; --help lists the flags"),
    }
}

impl Cli {
    /// Parses the arguments of the program and the variables of the [environment]. Does not return after
    /// `--help` and `--version`.
    ///
    /// # Errors
    /// A sentence about the first wrong argument, or about a wrong value in the environment.
    fn from_process() -> Result<Cli, String> {
        let mut cli = Cli::read(std::env::args_os().collect(), &|name| {
            std::env::var_os(name)
        })?;
        cli.doubts = environment::unknown(std::env::vars_os().map(|(name, _)| name));
        Ok(cli)
    }

    fn read(args: Vec<OsString>, variables: Variables<'_>) -> Result<Cli, String> {
        let mut cli = environment::parse(args, variables)?;
        cli.auth_file_is_variable = cli.auth_file.as_deref().map(Path::as_os_str)
            == variables("ONELOOP_AUTH_FILE").as_deref();
        cli.https.check(variables)?;
        let root = variables("ONELOOP_ROOT").filter(|root| !root.is_empty());
        cli.root = cli.root.or(root.map(PathBuf::from));
        cli.with_port_of(variables("PORT").as_deref())?
            .with_auth_of(variables("ONELOOP_AUTH").as_deref())
    }

    /// Takes the port from the environment if no flag names one. An empty value counts as unset,
    /// because Compose files and CI systems export empty variables.
    ///
    /// # Errors
    /// A sentence, if the value is not a port.
    fn with_port_of(mut self, value: Option<&OsStr>) -> Result<Cli, String> {
        if let Some(value) = value.filter(|v| !v.is_empty() && self.port.is_none()) {
            let text = value.to_string_lossy();
            let error = |e| format!("PORT={text:?} in the environment is {e}");
            self.port = Some(port(&text).map_err(error)?);
        }
        Ok(self)
    }

    /// Takes the credentials from the flag, or else from the file, or else from the environment. An
    /// empty variable is an error, unlike an empty `PORT`: the server would be open to all.
    ///
    /// # Errors
    /// A sentence without the text, if the text is not a user name and a password, or if the file cannot
    /// be read.
    fn with_auth_of(mut self, value: Option<&OsStr>) -> Result<Cli, String> {
        let (place, text) = if let Some(Secret(text)) = &self.auth {
            ("--auth".to_owned(), text.clone())
        } else if let Some(path) = &self.auth_file {
            let place = match self.auth_file_is_variable {
                true => format!("ONELOOP_AUTH_FILE {path:?}"),
                false => format!("--auth-file {path:?}"),
            };
            let text = secret_line(path).map_err(|error| format!("{place}: {error}"))?;
            (place, text)
        } else if let Some(value) = value {
            let text = value.to_str().ok_or("ONELOOP_AUTH is not UTF-8")?;
            ("ONELOOP_AUTH in the environment".to_owned(), text.into())
        } else {
            return Ok(self);
        };
        let credentials = Credentials::parse(&text).map_err(|error| format!("{place}: {error}"))?;
        self.credentials = Some(credentials);
        Ok(self)
    }

    /// Returns the configuration that the flags ask for. `terminal` says whether standard output is
    /// a terminal. `descriptors` is the number of descriptors that the process may open, and `memory`
    /// is the number of bytes that the process may use; `None` means unlimited or unknown.
    pub fn config(&self, terminal: bool, descriptors: Option<u64>, memory: Option<u64>) -> Config {
        let root = self.root.clone().unwrap_or_else(|| {
            let www = Path::new("www");
            if www.is_dir() { www } else { Path::new(".") }.into()
        });
        let ips = self.bind.iter().flat_map(|address| match address {
            Address::Localhost => {
                let (required, optional) = Bind::Loopback.addresses();
                [required, optional].concat()
            }
            Address::Ip(ip) => vec![*ip],
            Address::Unix(_) => Vec::new(),
        });
        let sockets = self.bind.iter().filter_map(|address| match address {
            Address::Unix(socket) => Some(socket.clone()),
            Address::Localhost | Address::Ip(_) => None,
        });
        let bind = match &self.bind[..] {
            _ if self.lan => Bind::Everywhere,
            [] | [Address::Localhost] => Bind::Loopback,
            _ => Bind::Addresses(ips.collect()),
        };
        // With a file, only the other lines are kept from the screen.
        let quiet = self.quiet && self.log_file.is_none();
        let log = match (quiet, self.log) {
            (true, _) | (_, Some(Format::Off)) => LogFormat::Off,
            (_, Some(Format::Pretty)) => LogFormat::Pretty,
            (_, Some(Format::Combined)) => LogFormat::Combined,
            (_, Some(Format::Json)) => LogFormat::Json,
            (_, None) if terminal && self.log_file.is_none() => LogFormat::Pretty,
            (_, None) => LogFormat::Combined,
        };
        let mut limits = Limits::default();
        limits.connections_max = match (self.max_connections, descriptors) {
            (Some(n), _) => n as usize,
            // The other quarter is for the files that are being sent and for the server itself.
            (None, Some(n)) => (n as usize / 4 * 3).clamp(1, limits.connections_max),
            (None, None) => limits.connections_max,
        };
        limits.memory_bytes_max = match (self.memory_max, memory) {
            (Some(bytes), _) => bytes,
            // The other parts are for the cache of files, for a message on its way from one buffer
            // to the next, and for what an allocator cannot use again.
            (None, Some(bytes)) => limits.memory_bytes_max.min(bytes as usize / 4),
            (None, None) => limits.memory_bytes_max,
        };
        limits.slow_member = match self.slow_members {
            Slow::Drop => SlowMember::Drop,
            Slow::Close => SlowMember::Close,
        };
        let time = |secs: u32| Duration::from_secs(secs.into());
        limits.proxy_wait = self.proxy_wait.map_or(limits.proxy_wait, time);
        limits.proxy_timeout = self.proxy_timeout.map_or(limits.proxy_timeout, time);
        Config {
            follow_symlinks: self.follow_symlinks,
            single_page: self.spa,
            listing: !self.no_listing,
            hidden: self.hidden,
            allow_hosts: self.allow_host.clone(),
            allow_origins: self.allow_origin.clone(),
            max_age: self.max_age,
            cors: match self.cors {
                None => Cors::Off,
                Some(CorsMode::Any) => Cors::Any,
                Some(CorsMode::Credentials) => Cors::Credentials,
            },
            isolate: self.isolate,
            auth: self.credentials.clone(),
            fields: self.header.clone(),
            test_endpoints: self.test_endpoints,
            server_timing: self.server_timing,
            metrics: match self.metrics {
                None => Metrics::Off,
                Some(MetricsFor::Loopback) => Metrics::Loopback,
                Some(MetricsFor::Any) => Metrics::Any,
            },
            inspect: match self.inspect {
                None | Some(InspectFor::Loopback) => Inspect::Loopback,
                Some(InspectFor::Any) => Inspect::Any,
                Some(InspectFor::Off) => Inspect::Off,
                Some(InspectFor::Control) => Inspect::Control,
            },
            live: match (self.no_live, self.live) {
                (true, _) => Live::Off,
                (false, None | Some(LiveFor::Used)) => Live::Used,
                (false, Some(LiveFor::All)) => Live::All,
            },
            watch: self.watch.clone(),
            ignore: self.ignore.clone(),
            poll: self.poll,
            proxies: self.proxy.clone(),
            proxy_insecure: self.proxy_insecure,
            https: self.https.config(),
            trace: match &self.trace {
                None => TraceTo::Off,
                Some(file) if file == "pretty" => TraceTo::Pretty,
                Some(file) => TraceTo::File(file.clone()),
            },
            trace_clock: self.trace_clock,
            keys: true,
            limits,
            bind,
            sockets: sockets.collect(),
            log_file: self.log_file.clone(),
            port: self.port.map_or(Port::Preferred(8080), Port::Exactly),
            log,
            ..Config::new(root)
        }
    }
}

#[cfg(test)]
mod tests;
