//! The command line that the peers share: `[--port N] [--room]`. Each prints where it listens, and then
//! echoes, or is one room: whatever one member sends every member gets, the sender too.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

pub struct Options {
    pub listener: TcpListener,
    pub is_room: bool,
}

impl Options {
    /// Already listening, without blocking. (The backlog is the standard library's, 128: more than one
    /// connection at a time is never on its way.)
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
