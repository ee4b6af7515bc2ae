//! A whole event loop in one file, to read before the real one: every GET is answered with "Hello".
//! Run `cargo run --example tiny -- 8081`, then `curl http://127.0.0.1:8081/`.
//!
//! A single thread serves every connection, and only `poll` blocks. Where a socket cannot go on,
//! the connection remembers how far it came, and the loop turns to the next one. The crate's
//! `server`, `connection` and `transport` do the same in full. Left out here, with the
//! consequences:
//!
//! - Deadlines (`Timers`): a peer that stops within a head, or never reads, stays for ever.
//! - A budget (`Budget`): a peer that always has the next request ready starves the others.
//! - Lingering (`Lingering`): closing a socket with unread bytes resets the connection, and the
//!   peer may lose the last answer, such as a 431.
//! - Generations (`Key`): slots are reused. Here only its own event closes a connection, so no
//!   event comes late. With deadlines, a late event would reach the next connection in the slot.
//! - A pool (`Pool`): an idle connection keeps the memory of its two vectors.
//! - A parser (`HeadParser`): each read searches the head for its end from the start again.
//! - Descriptors (`Driver::shed`): when none is free, `accept` fails, and new peers wait.
use std::io::{self, ErrorKind::WouldBlock, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX); // A slab never has this many slots.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello";
const BYE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nHello";
const TOO_LARGE: &str = "HTTP/1.1 431 Head Too Large\r\nConnection: close\r\n\r\n";
const NOT_GET: &str = "HTTP/1.1 501 Not Implemented\r\nConnection: close\r\n\r\n";

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).unwrap_or("0".into()); // 0 is any free port.
    let address = format!("127.0.0.1:{port}").parse();
    let mut listener = TcpListener::bind(address.map_err(io::Error::other)?)?;
    let mut poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("http://{}/", listener.local_addr()?);
    let mut connections = slab::Slab::new();
    let mut events = Events::with_capacity(1024);
    loop {
        let _ = poll.poll(&mut events, None); // A signal makes it fail, with no events.
        for event in &events {
            let token = event.token();
            if token == LISTENER {
                // An event is an edge: it comes once, however many connections wait.
                while let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.set_nodelay(true); // Or small answers wait for an ACK.
                    let slot = connections.vacant_entry();
                    // The first event reports the present state, each later one a change.
                    let both = Interest::READABLE | Interest::WRITABLE;
                    registry.register(&mut stream, Token(slot.key()), both)?;
                    slot.insert((stream, Connection::default()));
                }
            } else if let Some((stream, connection)) = connections.get_mut(token.0) {
                connection.readable |= event.is_readable() || event.is_read_closed();
                connection.writable |= event.is_writable() || event.is_write_closed();
                match connection.pump(stream) {
                    Err(error) if error.kind() == WouldBlock => {}
                    _ => drop(connections.remove(token.0)), // Over: the socket is closed.
                }
            }
        }
    }
}

/// How far a connection has come.
#[derive(Default)]
struct Connection {
    /// Received bytes without an answer yet: the beginning of a head. See `ReadBuffer`.
    input: Vec<u8>,
    /// Answers that the socket has not taken yet. See `WriteBuffer`.
    output: Vec<u8>,
    /// Sticky, because an edge is not repeated: set by events, cleared by `attempt` alone.
    readable: bool,
    writable: bool,
    /// The connection ends when `output` is sent.
    last: bool,
}

impl Connection {
    /// Sends, reads and answers until the socket would block, which is an error like any other.
    /// `Ok` when the connection is over. See `Connection::pump` in the crate.
    fn pump(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let mut chunk = [0; 4096];
        loop {
            // Nothing is read while output waits. Because of this back-pressure, `output` holds the
            // answers to one chunk at most, however fast a peer asks and however slowly it reads.
            while !self.output.is_empty() {
                let sent = attempt(&mut self.writable, || stream.write(&self.output))?;
                self.output.drain(..sent); // Often only a part.
            }
            if self.last {
                return Ok(());
            }
            let received = attempt(&mut self.readable, || stream.read(&mut chunk))?;
            self.last = received == 0; // The peer has ended its side.
            self.input.extend(&chunk[..received]);
            self.answer();
        }
    }

    /// Answers each request whose head is whole: a read may bring many heads, or part of one.
    fn answer(&mut self) {
        let mut start = 0;
        while !self.last {
            let rest = &self.input[start..];
            let blank_line = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let head = blank_line.map_or(rest, |at| &rest[..at + 4]);
            let answer = match blank_line {
                _ if head.len() > HEAD_BYTES_MAX => TOO_LARGE,
                None => break, // The rest of the head comes with another read.
                Some(_) if !head.starts_with(b"GET ") => NOT_GET,
                Some(_) if is_last(head) => BYE,
                Some(_) => HELLO,
            };
            self.last = answer != HELLO;
            self.output.extend(answer.bytes());
            start += head.len();
        }
        self.input.drain(..start);
    }
}

/// Makes a system call, unless it is known to block. See `transport::Tcp`.
fn attempt(ready: &mut bool, call: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
    match *ready {
        true => call().inspect_err(|_| *ready = false), // The next edge sets it again.
        false => Err(WouldBlock.into()),
    }
}

/// Whether no other request can follow: the client closes, as it does before HTTP/1.1, or sends a
/// body, which would be taken for a request. See `http::Framing` and `http::Persistence`.
fn is_last(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let (request_line, fields) = head.split_once("\r\n").unwrap_or_default();
    let ends = |field: &str| match field.split_once(':') {
        Some(("connection", options)) => options.contains("close"),
        split => matches!(split, Some(("content-length" | "transfer-encoding", _))),
    };
    !request_line.ends_with(" http/1.1") || fields.lines().any(ends)
}
