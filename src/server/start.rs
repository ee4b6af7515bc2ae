//! Floor 5, server: from a [`Config`] to a server that listens. What goes wrong here is said in one
//! line with a next step.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Echo, MioDriver, PostEcho, RoomsEndpoint, Server};
use crate::config::{Config, Port};
use crate::site::{Disk, Guard, Site};
use crate::sys;

/// Connections that the kernel completes before they are accepted. `net.core.somaxconn` bounds it
/// too, at 4,096 by default.
pub(super) const BACKLOG: i32 = 4096;

/// How often port 0 is drawn again when the port is taken on the second address.
const DRAWS: u32 = 16;

/// A server that listens.
pub struct BoundServer {
    /// To be [run](Server::run).
    pub server: Server<MioDriver, Disk>,
    /// Where it listens, all on one port.
    pub addresses: Vec<SocketAddr>,
    /// What is served, absolute: a directory, or one file.
    pub root: PathBuf,
    /// Addresses it does without, and why.
    pub missing: Vec<(IpAddr, io::Error)>,
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// There is nothing to serve at this path.
    Root(PathBuf, io::Error),
    /// This address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// Neither the preferred port nor any of those after it is free.
    NoPort(u16),
    /// The kernel gave no epoll, or no signals.
    Driver(io::Error),
}

impl std::error::Error for StartError {}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Root(path, error) => {
                let path = path.display();
                write!(f, "cannot serve {path}: {}; ", plainly(error))?;
                write!(f, "name a directory, or one file")
            }
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
            StartError::NoPort(port) => {
                let last = port.saturating_add(Port::HOPS);
                write!(f, "the ports {port} to {last} are all in use; try -p 0")
            }
            StartError::Driver(error) => write!(f, "cannot start: {}", plainly(error)),
        }
    }
}

/// An error without "(os error 2)" behind it.
fn plainly(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

impl Server<MioDriver, Disk> {
    /// Opens the root and listens as `config` says.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left open then.
    pub fn bind(config: &Config) -> Result<BoundServer, StartError> {
        let failed = |e| StartError::Root(config.root.clone(), e);
        let mut disk = Disk::new(&config.root).map_err(failed)?;
        if config.follow_symlinks {
            disk = disk.following_symlinks();
        }
        let Listening { listeners, missing } = listen(config)?;
        let addresses: Result<Vec<_>, _> = listeners.iter().map(TcpListener::local_addr).collect();
        let addresses = addresses.map_err(StartError::Driver)?;
        let (folder, count) = (disk.path(), listeners.len());
        let root = match disk.only() {
            Some(name) => folder.join(OsStr::from_bytes(name)),
            None => folder.to_path_buf(),
        };
        let driver = MioDriver::new(listeners).map_err(StartError::Driver)?;
        let index = disk.only().unwrap_or(b"index.html").to_vec();
        let guard = Guard::new(&config.allow_hosts);
        let site = Site::new(disk, &index, &config.limits).with_guard(guard);
        let mut server = Server::new(driver, count, site, config.limits.clone())
            .with_endpoint("/echo", Echo)
            .with_endpoint("/rooms/*", RoomsEndpoint);
        if config.test_endpoints {
            server = server.with_endpoint("/_oneloop/echo", PostEcho);
        }
        Ok(BoundServer {
            server,
            addresses,
            root,
            missing,
        })
    }
}

struct Listening {
    listeners: Vec<TcpListener>,
    missing: Vec<(IpAddr, io::Error)>,
}

/// Finds the port and binds all addresses to it.
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

/// Binds every address to `port`, or to the one that the kernel gives the first.
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
            // A port that somebody else has on ::1 would greet half of our visitors.
            Err(e) if needed || e.kind() == io::ErrorKind::AddrInUse => {
                return Err(StartError::Listen(address, e));
            }
            Err(e) => missing.push((ip, e)),
        }
    }
    Ok(Listening { listeners, missing })
}
