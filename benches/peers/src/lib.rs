//! The command line that the peers share: `[--port N] [--room]`. A peer prints its address, and
//! then sends every message back to its sender. With `--room`, every message goes to every
//! connection, including the sender.
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

/// The options, with the listener already open.
pub struct Options {
    pub listener: TcpListener,
    pub is_room: bool,
}

impl Options {
    /// Reads the arguments, and listens on a non-blocking socket. (Its backlog is the 128 of the
    /// standard library, because the load generator opens one connection after the other.)
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and listen(2).
    ///
    /// # Panics
    /// If an argument is unknown, or the port is not a number.
    pub fn from_arguments() -> std::io::Result<Self> {
        let mut port = 0;
        let mut is_room = false;
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--room" => is_room = true,
                "--port" => {
                    let value = arguments.next().and_then(|text| text.parse().ok());
                    port = value.expect("--port takes a port");
                }
                other => panic!("unknown option {other}"),
            }
        }
        let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        println!("ws://{}/", listener.local_addr()?);
        Ok(Self { listener, is_room })
    }
}
