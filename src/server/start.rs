//! Floor 4, server: from a [`Config`] to a listening server. An error at the start is reported in a
//! single line, with the next step to try.

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{env, fs};

#[cfg(feature = "tls")]
use super::https::Certificate;
use super::{
    Echo, Handle, Health, LiveOptions, Log, MetricsEndpoint, MioDriver, PostEcho, RoomList,
    RoomsEndpoint, Server, Trace, endpoints::LiveScript, folder,
};
use crate::config::{
    Bind, Config, Cors, Https, Live, Metrics, Port, ProxyPlace, ProxyTarget, TraceTo,
};
use crate::connection::Endpoint;
use crate::http::Scheme;
use crate::site::proxy::Routes;
use crate::site::{Auth, Client, Disk, Fallbacks, Guard, Policy, Site};
use crate::sys;
#[cfg(feature = "tls")]
use crate::transport::{TlsConfig, Trusted};

/// The number of connections that the kernel completes ahead of accept(2). `net.core.somaxconn` is
/// a second bound, 4,096 by default.
pub(super) const BACKLOG: i32 = 4096;

/// How often port 0 is tried when the kernel's choice is taken on the second address.
const DRAWS: u32 = 16;

/// A server, bound to its addresses and ready to run; made by [`Server::bind`].
pub struct BoundServer {
    /// The server. Add endpoints, then call [`Server::run`].
    pub server: Server<MioDriver, Disk>,
    /// The addresses of the listeners, with the same port everywhere.
    pub addresses: Vec<SocketAddr>,
    /// The absolute path of the served directory, or of the single served file.
    pub root: PathBuf,
    /// What is odd about the root, in a sentence, if it is hardly the folder that was meant.
    pub doubt: Option<String>,
    /// The optional addresses without a listener, each with the error.
    pub missing: Vec<(IpAddr, io::Error)>,
    /// The preferred port, if it was in use and one of the next ports was taken.
    pub port_in_use: Option<u16>,
    /// The scheme of the URLs of the server: `https` with [`Config::https`], or after
    /// [`with_tls`](BoundServer::with_tls).
    pub scheme: Scheme,
    /// The origin of the certificate, in a few words, if the configuration asks for TLS.
    pub certificate: Option<String>,
    /// The notes for the user, each in a line.
    pub warnings: Vec<String>,
}

/// Why a server did not start.
///
/// `Debug` gives the same sentence as `Display`, because Rust prints an error that `main` returns
/// with `Debug`.
pub enum StartError {
    /// The path cannot be served.
    Root(PathBuf, io::Error),
    /// The directory is not one to show to a network.
    Exposed(PathBuf),
    /// The directory cannot be watched.
    Watch(PathBuf, io::Error),
    /// The server cannot listen on this address.
    Listen(SocketAddr, io::Error),
    /// The server cannot listen at this path.
    Socket(PathBuf, io::Error),
    /// Neither the preferred port nor any of the ports tried next is free.
    NoPort(u16),
    /// The trace cannot be written to this file.
    Trace(PathBuf, io::Error),
    /// The access log cannot be written to this file.
    Log(PathBuf, io::Error),
    /// A route of the reverse proxy cannot be.
    Proxy(String),
    /// The program was built without the flight recorder, so there is nothing to trace.
    NoRecorder,
    /// The certificate for TLS cannot be had: the file or the directory, and the reason.
    Certificate(PathBuf, String),
    /// The CA that signs cannot do what is asked: its file, and the reason.
    Authority(PathBuf, String),
    /// There is no home directory, so there is no place for the CA that signs certificates.
    NoHome,
    /// The program was built without TLS.
    NoTls,
    /// The kernel refused an epoll instance or the signal handlers.
    Driver(io::Error),
}

impl std::error::Error for StartError {}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Root(path, error) => {
                write!(f, "cannot serve {}: {}; ", Shown(path), plainly(error))?;
                f.write_str(match error.kind() {
                    io::ErrorKind::PermissionDenied => "the server must be allowed to read it",
                    _ => "name a directory, or one file",
                })
            }
            StartError::Exposed(path) => {
                write!(
                    f,
                    "{} is not a folder to open to the whole network; ",
                    Shown(path)
                )?;
                f.write_str("name the folder of the site")
            }
            StartError::Watch(path, error) => {
                write!(f, "cannot watch {}: {}; ", Shown(path), plainly(error))?;
                f.write_str("name a directory that is there")
            }
            StartError::Trace(path, error) | StartError::Log(path, error) => {
                let (path, reason) = (Shown(path), plainly(error));
                let is_log = matches!(self, StartError::Log(..));
                let what = if is_log { "log" } else { "trace" };
                write!(f, "cannot write the {what} to {path}: {reason}; ")?;
                f.write_str(match error.kind() {
                    io::ErrorKind::PermissionDenied => "the server must be allowed to write there",
                    io::ErrorKind::NotFound => "name a file in a directory that is there",
                    _ => "name a file, or a pipe that is read already",
                })
            }
            StartError::Proxy(sentence) => f.write_str(sentence),
            StartError::NoRecorder => f.write_str(
                "cannot write a trace: this program has no flight recorder; \
                 build it with the feature `recorder`",
            ),
            StartError::Certificate(path, text) => {
                write!(f, "cannot speak TLS: {}: {text}", Shown(path))
            }
            StartError::Authority(path, text) => write!(f, "{}: {text}", Shown(path)),
            StartError::NoHome => f.write_str(
                "cannot keep a CA for certificates: there is no HOME; \
                 set XDG_DATA_HOME to a directory of yours, or give --tls-cert",
            ),
            StartError::NoTls => f.write_str(
                "cannot speak TLS: this program has none; build it with the feature `tls`",
            ),
            StartError::Listen(address, error) => match error.kind() {
                io::ErrorKind::AddrInUse => {
                    let next = address.port().saturating_add(1);
                    write!(f, "{address} is in use; try -p 0 or -p {next}")
                }
                io::ErrorKind::PermissionDenied => {
                    write!(f, "not allowed to listen on {address}; try -p 8080")
                }
                io::ErrorKind::AddrNotAvailable => {
                    write!(f, "{address} is not an address of this machine; ")?;
                    write!(f, "`ip address` lists them")
                }
                _ => write!(f, "cannot listen on {address}: {}", plainly(error)),
            },
            StartError::Socket(path, error) => {
                let path = Shown(path);
                match error.kind() {
                    io::ErrorKind::AddrInUse => write!(
                        f,
                        "{path} is in use, or is no socket; stop the other program, or name another path"
                    ),
                    _ => {
                        let reason = plainly(error);
                        write!(f, "cannot listen at {path}: {reason}; ")?;
                        f.write_str("name a path in a directory that may be written to")
                    }
                }
            }
            StartError::NoPort(port) => {
                let last = port.saturating_add(Port::HOPS);
                write!(f, "the ports {port} to {last} are all in use; try -p 0")
            }
            StartError::Driver(error) => write!(f, "cannot start: {}", plainly(error)),
        }
    }
}

/// A path as people may see it: a control character, a byte that is not UTF-8, or a character that
/// reverses the direction of text is escaped. Such a name could otherwise forge lines, or send
/// escape sequences to a terminal.
pub struct Shown<'a>(pub &'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_os_str().as_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\0'..='\x1f' | '\x7f' => write!(f, "\\x{:02x}", u32::from(c))?,
                    '\u{80}'..='\u{9f}'
                    | '\u{200e}'..='\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2066}'..='\u{2069}' => write!(f, "{}", c.escape_unicode())?,
                    c => f.write_char(c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// The text of an error without "(os error 2)" at the end.
pub(super) fn plainly(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

impl BoundServer {
    /// Mounts an endpoint, as [`Server::with_endpoint`] does.
    ///
    /// # Panics
    /// If the path does not begin with a slash.
    #[must_use]
    pub fn with_endpoint(self, path: &str, endpoint: impl Endpoint + 'static) -> BoundServer {
        let server = self.server.with_endpoint(path, endpoint);
        BoundServer { server, ..self }
    }

    /// Lets the connections of all listeners speak TLS. A client that speaks plain HTTP is led to `https`.
    /// Keep a clone of `tls` to replace the certificates while the server runs.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: &TlsConfig) -> BoundServer {
        for listener in 0..self.addresses.len() {
            self.server.set_tls(listener as u8, tls.clone());
        }
        self.scheme = Scheme::Https;
        self
    }

    /// Returns the way to the server from other threads.
    ///
    /// # Errors
    /// The errors of eventfd(2) and epoll_ctl(2).
    pub fn handle(&mut self) -> io::Result<Handle> {
        self.server.handle()
    }

    /// Runs the server until it is told to stop, as [`Server::run`] does.
    ///
    /// # Errors
    /// The errors of epoll_wait(2).
    pub fn run(mut self) -> io::Result<()> {
        self.server.run()
    }
}

impl Server<MioDriver, Disk> {
    /// Lets the connections of the listener of this number speak TLS from now on; see
    /// [`BoundServer::with_tls`].
    #[cfg(feature = "tls")]
    pub fn set_tls(&mut self, listener: u8, tls: TlsConfig) {
        self.driver.set_tls(listener, tls);
    }

    /// Answers requests to this path by plain HTTP too, where TLS is expected, and without credentials, which
    /// everybody on the network could read. There is one such path at the most.
    #[must_use]
    pub fn with_plain_path(mut self, path: &str) -> Self {
        self.shared.site.set_plain_path(path);
        self
    }

    /// Opens the root and binds the listeners as `config` says. Three lines start a server:
    ///
    /// ```no_run
    /// # use oneloop::{config::Config, server::Server};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let bound = Server::bind(&Config::new("www"))?;
    /// println!("listening on {:?}", bound.addresses);
    /// bound.run()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Server::run`] returns after SIGINT or SIGTERM. Endpoints of your own are added before with
    /// [`BoundServer::with_endpoint`]. The log of the configuration goes to standard output, and
    /// warnings go to standard error.
    ///
    /// # Errors
    /// [`StartError`]. No listener is left open then.
    pub fn bind(config: &Config) -> Result<BoundServer, StartError> {
        Server::start(config, || listen(config))
    }

    /// As [`bind`](Server::bind), but with listeners that were opened elsewhere, such as by systemd: `bind` and
    /// `port` of the configuration do not count. The listeners must be non-blocking.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn bind_to(
        config: &Config,
        listeners: Vec<TcpListener>,
    ) -> Result<BoundServer, StartError> {
        let missing = Vec::new();
        let mut bound = Server::start(config, || Ok(Listening { listeners, missing }))?;
        bound.port_in_use = None;
        Ok(bound)
    }

    fn start(
        config: &Config,
        listen: impl FnOnce() -> Result<Listening, StartError>,
    ) -> Result<BoundServer, StartError> {
        let failed = |e| StartError::Root(config.root.clone(), e);
        let mut disk = Disk::new(&config.root).map_err(failed)?;
        if config.follow_symlinks {
            disk = disk.following_symlinks();
        }
        let home = env::home_dir();
        if config.bind == Bind::Everywhere
            && disk.only().is_none()
            && folder::is_private(disk.path(), home.as_deref())
        {
            return Err(StartError::Exposed(disk.path().into()));
        }
        for path in &config.watch {
            // A name that is no directory is not found with a slash behind it.
            fs::metadata(path.join("")).map_err(|e| StartError::Watch(path.clone(), e))?;
        }
        let Listening { listeners, missing } = listen()?;
        let addresses: Result<Vec<_>, _> = listeners.iter().map(TcpListener::local_addr).collect();
        let addresses = addresses.map_err(StartError::Driver)?;
        #[cfg(feature = "tls")]
        let mut certificate = Certificate::of(config, &addresses)?;
        #[cfg(feature = "tls")]
        let (origin, warnings) = match &mut certificate {
            Some(certificate) => (Some(certificate.origin()), certificate.take_warnings()),
            None => (None, Vec::new()),
        };
        #[cfg(not(feature = "tls"))]
        let (origin, warnings) = match config.https {
            Https::Off => (None, Vec::new()),
            Https::Made | Https::Given { .. } => return Err(StartError::NoTls),
        };
        let port_in_use = match config.port {
            Port::Preferred(port) => {
                Some(port).filter(|p| addresses.iter().all(|a| a.port() != *p))
            }
            Port::Exactly(_) => None,
        };
        let (folder, count) = (disk.path(), listeners.len() + config.sockets.len());
        let root = match disk.only() {
            Some(name) => folder.join(OsStr::from_bytes(name)),
            None => folder.to_path_buf(),
        };
        let trace = trace(config)?;
        let log = Log::of(config)?;
        let routes = routes(config, &addresses)?;
        let mut driver = MioDriver::new(listeners).map_err(StartError::Driver)?;
        #[cfg(feature = "tls")]
        if routes.iter().any(|route| route.target().is_tls) {
            let trusted = crate::certificates::client_config(config.proxy_insecure);
            driver.set_trusted(Trusted::new(trusted.map_err(StartError::Proxy)?));
        }
        for socket in &config.sockets {
            let failed = |e| StartError::Socket(socket.path.clone(), e);
            driver.listen_at(socket).map_err(failed)?;
        }
        let live = live_options(config, folder).map_err(failed)?;
        if live.is_some() || config.log_file.is_some() {
            driver.take_hangups().map_err(StartError::Driver)?;
        }
        if config.keys {
            driver.take_keys();
        }
        let index = disk.only().unwrap_or(b"index.html").to_vec();
        let mut guard = Guard::new(&config.allow_hosts).with_origins(&config.allow_origins);
        if config.cors != Cors::Off {
            guard = guard.with_readers_anywhere();
        }
        let mut site = Site::new(disk, &index, &config.limits)
            .with_guard(guard)
            .with_fallbacks(Fallbacks {
                single_page: config.single_page,
                // A list would hide the page of the backend at the same path.
                listing: config.listing && routes.for_absent().is_none(),
            })
            .with_policy(Policy::new(config))
            .with_boundary_seed(random_words());
        if let Some(seconds) = config.max_age {
            site = site.with_max_age(seconds);
        }
        if let Some(credentials) = &config.auth {
            let secrets = [random_words(), random_words()];
            site = site.with_auth(Auth::new(credentials, secrets));
        }
        if config.hidden {
            site = site.with_hidden_files();
        }
        let client = (config.live != Live::Off).then(Client::new);
        if let Some(client) = &client {
            site = site.with_live(&client.path).with_uses();
        }
        // A fault of the rules is told at the start, and not with the first request.
        site.read_rules(SystemTime::now());
        let mut server = Server::new(driver, count, site, config.limits.clone())
            .with_log(log)
            .with_endpoint("/echo", Echo)
            .with_endpoint("/rooms", RoomList)
            .with_endpoint("/rooms/*", RoomsEndpoint);
        if let Some(client) = client {
            server = server.with_endpoint(&client.path, LiveScript::new(client.text));
        }
        if config.test_endpoints {
            server = server
                .with_endpoint("/_oneloop/echo", PostEcho)
                .with_test_endpoints();
        }
        if config.metrics != Metrics::Off {
            server = server
                .with_endpoint("/_oneloop/health", Health::new(config.metrics))
                .with_endpoint("/_oneloop/metrics", MetricsEndpoint::new(config.metrics));
        }
        if config.server_timing {
            server = server.with_server_timing();
        }
        if let Some(live) = &live {
            server = server.with_live_reload(live);
        }
        if !routes.is_empty() {
            let token = format!("{:016x}", random_words()[0]);
            server = server
                .with_proxy(routes, &token)
                .map_err(StartError::Proxy)?;
        }
        server = server.with_inspector(config.inspect, random_words()[0]);
        if let Some(trace) = trace {
            server = server.with_trace(trace);
        }
        #[cfg(feature = "tls")]
        if let Some(certificate) = certificate {
            server = server.with_certificate(certificate, addresses.len())?;
        }
        Ok(BoundServer {
            server,
            addresses,
            doubt: folder::doubt(&root, home.as_deref(), config.single_page),
            root,
            missing,
            port_in_use,
            scheme: match config.https {
                Https::Off => Scheme::Http,
                Https::Made | Https::Given { .. } => Scheme::Https,
            },
            certificate: origin,
            warnings,
        })
    }
}

/// Whether an address is one of this machine: a socket can have it.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

/// The routes of the reverse proxy, none of which leads back to this server.
fn routes(config: &Config, own: &[SocketAddr]) -> Result<Routes, StartError> {
    let routes = Routes::new(&config.proxies, cfg!(feature = "tls"));
    let routes = routes.map_err(StartError::Proxy)?;
    let sockets = config.sockets.iter().map(|socket| in_full(&socket.path));
    let sockets: Vec<_> = sockets.collect();
    let is_own = |place: &ProxyPlace| match place {
        ProxyPlace::Unix(path) => sockets.contains(&in_full(path)),
        ProxyPlace::Host(_, port) => {
            let target = ProxyTarget {
                is_tls: false,
                place: place.clone(),
            };
            let is_at = |own: &SocketAddr, ip: IpAddr| match own.ip() {
                // A connection to no address leads to this machine.
                own if own.is_unspecified() => is_of_this_machine(ip),
                own => {
                    let is_loopback = own.is_loopback() && own.is_ipv4() == ip.is_ipv4();
                    own == ip || is_loopback && ip.is_unspecified()
                }
            };
            let ips = target.addresses().unwrap_or_default();
            own.iter()
                .any(|own| own.port() == *port && ips.iter().any(|a| is_at(own, a.ip())))
        }
    };
    match routes.to_itself(is_own) {
        Some(route) => {
            let next = match route.target().place {
                ProxyPlace::Unix(_) => "socket",
                ProxyPlace::Host(..) => "port",
            };
            Err(StartError::Proxy(format!(
                "--proxy {route} leads back to this server; name the {next} of the backend"
            )))
        }
        None => Ok(routes),
    }
}

/// The path of a socket, which need not be there yet, with the links in its directory followed.
fn in_full(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let directory = absolute
        .parent()
        .and_then(|parent| fs::canonicalize(parent).ok());
    match (directory, absolute.file_name()) {
        (Some(directory), Some(name)) => directory.join(name),
        _ => absolute,
    }
}

/// The trace that is asked for; `None` if it is off.
fn trace(config: &Config) -> Result<Option<Trace>, StartError> {
    let (clock, bytes_max) = (config.trace_clock, config.limits.log_bytes_max);
    match &config.trace {
        TraceTo::Off => Ok(None),
        _ if !cfg!(feature = "recorder") => Err(StartError::NoRecorder),
        TraceTo::Pretty => Ok(Some(Trace::to_stderr(false, clock, bytes_max))),
        TraceTo::File(path) => match Trace::to_file(path, clock, bytes_max) {
            Ok(trace) => Ok(Some(trace)),
            Err(error) => Err(StartError::Trace(path.clone(), error)),
        },
    }
}

/// The options of live reload; `None` if it is off.
fn live_options(config: &Config, root: &Path) -> io::Result<Option<LiveOptions>> {
    let watch = config.watch.iter().map(std::path::absolute);
    let mut watch = watch.collect::<io::Result<Vec<_>>>()?;
    match config.live {
        Live::Off => return Ok(None),
        Live::Used => {}
        Live::All => watch.push(root.into()),
    }
    // Each reload has lines in the log, which must not cause the next reload.
    let mut ignore = config.ignore.clone();
    if let Some(file) = &config.log_file {
        let file = std::path::absolute(file)?;
        let roots = watch.iter().map(PathBuf::as_path).chain([root]);
        let beneath = roots.filter_map(|root| file.strip_prefix(root).ok());
        let beneath = beneath.filter_map(Path::to_str).map(glob::Pattern::escape);
        ignore.extend(beneath);
    }
    Ok(Some(LiveOptions {
        root: root.into(),
        watch,
        ignore,
        poll: config.poll,
        instance: random_words()[0],
    }))
}

/// Returns 128 random bits. The keys of a `RandomState` come from the operating system, and need
/// neither a descriptor nor a device file.
fn random_words() -> [u64; 2] {
    [(); 2].map(|()| RandomState::new().build_hasher().finish())
}

struct Listening {
    listeners: Vec<TcpListener>,
    missing: Vec<(IpAddr, io::Error)>,
}

/// Chooses the port and binds every address to the port.
fn listen(config: &Config) -> Result<Listening, StartError> {
    let in_use = |error: &StartError| matches!(error, StartError::Listen(_, e) if e.kind() == io::ErrorKind::AddrInUse);
    match config.port {
        Port::Exactly(0) => {
            for _ in 1..DRAWS {
                match listen_on(config, 0) {
                    Err(e) if in_use(&e) => {}
                    outcome => return outcome,
                }
            }
            listen_on(config, 0)
        }
        Port::Exactly(port) => listen_on(config, port),
        Port::Preferred(first) => {
            for port in first..=first.saturating_add(Port::HOPS) {
                match listen_on(config, port) {
                    Err(e) if in_use(&e) => {}
                    outcome => return outcome,
                }
            }
            Err(StartError::NoPort(first))
        }
    }
}

/// Binds every address to `port`. If `port` is 0, the kernel chooses a port for the first address,
/// and the remaining addresses get the same port.
fn listen_on(config: &Config, port: u16) -> Result<Listening, StartError> {
    let (required, optional) = config.bind.addresses();
    let (mut listeners, mut missing, mut port) = (Vec::new(), Vec::new(), port);
    let all = required.iter().map(|ip| (*ip, true));
    for (ip, needed) in all.chain(optional.iter().map(|ip| (*ip, false))) {
        let address = SocketAddr::new(ip, port);
        match sys::listen(address, BACKLOG) {
            Ok(listener) => {
                if port == 0 {
                    let bound = listener.local_addr().map_err(StartError::Driver)?;
                    port = bound.port();
                }
                listeners.push(listener);
            }
            // If another program had the port on ::1, half of our visitors would go to the wrong
            // program.
            Err(e) if needed || e.kind() == io::ErrorKind::AddrInUse => {
                return Err(StartError::Listen(address, e));
            }
            Err(e) => missing.push((ip, e)),
        }
    }
    Ok(Listening { listeners, missing })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;

    #[test]
    fn a_server_has_the_log_of_its_configuration() {
        for (log, logs) in [(LogFormat::Off, false), (LogFormat::Combined, true)] {
            let config = Config {
                port: Port::Exactly(0),
                log,
                ..Config::new(env!("CARGO_MANIFEST_DIR"))
            };
            let bound = Server::bind(&config).expect("a port is free");
            assert_eq!(bound.server.tally.is_logging, logs, "{log:?}");
        }
    }

    /// With `--live=all`, each reload would else cause the next.
    #[test]
    fn a_log_file_in_the_site_is_no_change_of_the_site() {
        let ignore = |log_file: &str, root: &str| {
            let config = Config {
                live: Live::All,
                log_file: Some(log_file.into()),
                ignore: vec!["*.tmp".into()],
                ..Config::new(root)
            };
            let options = live_options(&config, Path::new(root)).expect("paths");
            options.expect("live reload is on").ignore[1..].to_vec()
        };
        assert_eq!(ignore("/site/logs/a[1]", "/site")[0], "logs/a[[]1[]]");
        assert_eq!(ignore("/logs/a", "/site"), [""; 0]);
    }

    #[test]
    fn a_path_is_shown_without_what_could_move_a_cursor() {
        for (path, expected) in [
            (
                &b"/srv/na\xc3\xafve caf\xc3\xa9"[..],
                "/srv/na\u{ef}ve caf\u{e9}",
            ),
            (b"a\x1b[31m\nb", "a\\x1b[31m\\x0ab"),
            (b"a\x7f\xff", "a\\x7f\\xff"),
            (
                "a\u{9b}31m\u{202e}gpj".as_bytes(),
                "a\\u{9b}31m\\u{202e}gpj",
            ),
        ] {
            let path = Path::new(OsStr::from_bytes(path));
            assert_eq!(Shown(path).to_string(), expected);
        }
    }

    /// Rust prints the error of a `main` that returns one with `Debug`.
    #[test]
    fn an_error_that_main_returns_is_a_sentence() {
        let error = StartError::Root("www\n".into(), io::ErrorKind::NotFound.into());
        let sentence = "cannot serve www\\x0a: entity not found; name a directory, or one file";
        assert_eq!(format!("{error:?}"), sentence);
        assert_eq!(error.to_string(), sentence);
    }
}
