//! A backend whose part the test plays, step by step.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use rustix::net::sockopt;

use crate::harness::{Client, Folder, PATIENCE, Server, eventually};

/// A listener that the server connects to.
pub struct Backend {
    listener: TcpListener,
}

/// The backend's end of a connection.
pub struct Peer {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Backend {
    pub fn new() -> Backend {
        Backend::at("127.0.0.1:0".parse().expect("an address"))
    }

    pub fn at(address: SocketAddr) -> Backend {
        let listener = TcpListener::bind(address).expect("the address is free");
        listener.set_nonblocking(true).expect("it is a socket");
        Backend { listener }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    /// A server that passes `/api` on to this backend.
    pub fn server(&self, folder: &Folder, flags: &[&str]) -> Server {
        let route = format!("--proxy=/api=http://{}", self.address());
        let own = ["--log", "off", "--no-live", &route];
        Server::with(folder.path(), &[&own, flags].concat())
    }

    /// Accepts the next connection.
    pub fn accept(&self) -> Peer {
        let mut accepted = None;
        eventually("a connection to the backend", || {
            accepted = self.listener.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.expect("it has come");
        Peer::of(stream)
    }

    /// Lets a client ask for a target, and takes the request from a new connection.
    pub fn asked(&self, client: &mut Client, target: &str) -> Peer {
        client.request(target);
        let mut peer = self.accept();
        peer.head();
        peer
    }

    /// A connection on which a request was answered, and which is kept for the next.
    pub fn kept(&self, client: &mut Client) -> Peer {
        let mut peer = self.asked(client, "/api/1");
        peer.answer("1");
        client.answer();
        peer
    }

    /// Whether no connection waits to be accepted.
    pub fn is_quiet(&self) -> bool {
        let accepted = self.listener.accept();
        accepted.is_err_and(|e| e.kind() == ErrorKind::WouldBlock)
    }
}

impl Peer {
    fn of(stream: TcpStream) -> Peer {
        stream.set_nonblocking(false).expect("it is a socket");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("it is a socket");
        Peer {
            stream,
            received: Vec::new(),
        }
    }

    /// Reads the head of a request.
    pub fn head(&mut self) -> String {
        let end = loop {
            match memchr::memmem::find(&self.received, b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => assert!(self.receive() > 0, "the head has no end"),
            }
        };
        let rest = self.received.split_off(end);
        let head = std::mem::replace(&mut self.received, rest);
        String::from_utf8(head).expect("a head of ours is ASCII")
    }

    /// Reads `n` bytes.
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        while self.received.len() < n {
            assert!(self.receive() > 0, "an end before the last byte");
        }
        let rest = self.received.split_off(n);
        std::mem::replace(&mut self.received, rest)
    }

    fn receive(&mut self) -> usize {
        let mut chunk = [0; 64 << 10];
        let n = self.stream.read(&mut chunk).expect("something comes");
        self.received.extend_from_slice(&chunk[..n]);
        n
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self.stream.write_all(bytes.as_ref());
        sent.expect("the server takes what it is sent");
    }

    /// Sends as many of these bytes as the kernel takes at once: maybe none.
    pub fn send_some(&mut self, bytes: &[u8]) -> usize {
        self.stream.set_nonblocking(true).expect("it is a socket");
        let sent = self.stream.write(bytes);
        self.stream.set_nonblocking(false).expect("it is a socket");
        match sent {
            Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
            sent => sent.expect("the server takes what it is sent"),
        }
    }

    /// Answers with 200 and this content.
    pub fn answer(&mut self, content: &str) {
        let length = content.len();
        self.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{content}"
        ));
    }

    pub fn end_writing(&self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("it is connected");
    }

    /// Waits for the end of the server's direction: a FIN or a reset. Bytes before it are no end.
    pub fn assert_gone(mut self) {
        let end = self.stream.read(&mut [0]);
        assert!(
            matches!(&end, Ok(0))
                || end
                    .as_ref()
                    .is_err_and(|e| e.kind() == ErrorKind::ConnectionReset),
            "{end:?}"
        );
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let none = Some(std::time::Duration::ZERO);
        sockopt::set_socket_linger(&self.stream, none).expect("it is a socket");
    }
}
