//! The start of both limits: the numbers of the command line, and a listener.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use mio::net::TcpListener;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// Listens on 127.0.0.1, as mio's `bind` does, but with a backlog of 4096 instead of 128, and with
/// `TCP_NODELAY`. On Linux, accepted sockets inherit this option, which saves a system call for
/// each.
///
/// # Errors
/// Those of socket(2), bind(2) and listen(2).
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&socket, 4096)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// Returns the number after `flag` among the arguments, or `otherwise` without the flag.
///
/// # Panics
/// If the argument after `flag` is not a number.
pub fn number(flag: &str, otherwise: usize) -> usize {
    let value = std::env::args()
        .skip_while(|argument| argument != flag)
        .nth(1);
    value.map_or(otherwise, |text| {
        text.parse().expect("a flag's value is a number")
    })
}
