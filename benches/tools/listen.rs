//! How the limits begin: the numbers of their command lines, and a listener.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use mio::net::TcpListener;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

/// As mio's `bind`, but with a backlog of 4096 instead of 128, and with `TCP_NODELAY`, which accepted
/// sockets inherit on Linux: one system call less for each.
pub fn listen(port: u16) -> io::Result<TcpListener> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&socket, 4096)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// The number after `flag` among the arguments.
pub fn number(flag: &str, otherwise: usize) -> usize {
    let value = std::env::args()
        .skip_while(|argument| argument != flag)
        .nth(1);
    value.map_or(otherwise, |text| {
        text.parse().expect("a flag's value is a number")
    })
}
