//! Floor 1, transport: the connected sockets of the kernel, of TCP and of the Unix domain, with their
//! system calls.
//!
//! Architecture invariant: below the driver, no other file names `mio`.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};

use super::Socket;
use crate::sys;

/// A non-blocking socket that is connected, or is about to be.
#[derive(Debug)]
pub enum Stream {
    /// A socket of TCP (tcp(7)).
    Tcp(TcpStream),
    /// A stream socket of the Unix domain (unix(7)).
    Unix(UnixStream),
}

/// Calls a method, or a function, of the socket itself.
macro_rules! on_socket {
    ($stream:expr, $socket:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($socket) => $call,
            Stream::Unix($socket) => $call,
        }
    };
}

impl Stream {
    /// The address of the server's end, for a connection over TCP. `None`: a socket of the Unix
    /// domain has a path, or no address at all.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(socket) => socket.local_addr().ok(),
            Stream::Unix(_) => None,
        }
    }
}

/// Where a stream socket can be reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// An IP address, and a port of TCP.
    Ip(SocketAddr),
    /// The same, and the server there speaks TLS and has this name.
    Tls(SocketAddr, Box<str>),
    /// The path of a socket of the Unix domain.
    Unix(PathBuf),
}

/// The address that stands for the peer of a socket of the Unix domain, which has none: the peer is on
/// this machine. No peer over TCP has the port 0.
pub const UNIX_PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Address {
    /// The address as that of a peer.
    pub fn peer(&self) -> SocketAddr {
        match self {
            Address::Ip(address) | Address::Tls(address, _) => *address,
            Address::Unix(_) => UNIX_PEER,
        }
    }
}

/// The address as it is written: `127.0.0.1:3000`, or `unix:/run/app.sock`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) | Address::Tls(address, _) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Stream {
    /// Begins to connect to an address. The socket is writable as soon as it is connected; until then,
    /// reads and writes return `EAGAIN`, and after a failure they return the error (connect(2)).
    ///
    /// # Errors
    /// The errors of socket(2) and connect(2) but `EINPROGRESS`.
    pub fn connect(address: &Address) -> io::Result<Stream> {
        Ok(match address {
            Address::Ip(address) | Address::Tls(address, _) => {
                let socket = TcpStream::connect(*address)?;
                // A small request must not wait for the acknowledgment of the one before.
                socket.set_nodelay(true)?;
                Stream::Tcp(socket)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        })
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        on_socket!(self, socket => socket.as_fd())
    }
}

impl Socket for Stream {
    type File = File;

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        on_socket!(self, socket => Read::read(socket, into))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        on_socket!(self, socket => Write::write(socket, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        on_socket!(self, socket => Write::write_vectored(socket, slices))
    }

    fn send_file(&mut self, file: &File, at: u64, count: usize) -> io::Result<usize> {
        sys::send_file(self, file, at, count)
    }

    fn read_file(&mut self, file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
        file.read_at(into, at)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        on_socket!(self, socket => socket.shutdown(Shutdown::Write))
    }

    fn reset_at_close(&mut self) -> io::Result<()> {
        sys::reset_at_close(self)
    }
}

impl Source for Stream {
    fn register(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        on_socket!(self, socket => socket.register(poll, token, interest))
    }

    fn reregister(&mut self, poll: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        on_socket!(self, socket => socket.reregister(poll, token, interest))
    }

    fn deregister(&mut self, poll: &Registry) -> io::Result<()> {
        on_socket!(self, socket => socket.deregister(poll))
    }
}
