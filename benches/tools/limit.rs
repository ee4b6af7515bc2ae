//! The *limit*: the kernel's cost of a request, without the work of a server.
//!
//! The cost of a small file over loopback is nearly all TCP: a `recv`, a `send`, a share of an
//! `epoll_wait`. No server of small files costs less, so the cost of a server has a meaning only
//! when compared with the limit, and `cargo bench --bench versus` divides by it.
//!
//! This program is an edge-triggered loop without a parser. It counts the ends of request heads in
//! the bytes of a read, and sends as many copies of a canned reply. The duties of a server are left
//! out: deadlines and fairness are missing, and an end of head that is split between two reads goes
//! unnoticed. Load generators do not split heads. (`benches/examples/tiny.rs` is a loop that is
//! small and correct.)
//!
//! Usage: `limit [--port N] [--bytes N] [--close]`. The first line of output is
//! `http://127.0.0.1:PORT/`.
mod copies;
mod listen;

use std::io::{self, ErrorKind::WouldBlock, Read};

use copies::Copies;
use listen::{listen, number};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// The listener's token. No slab reaches this index, so no connection has the same token.
const LISTENER: Token = Token(usize::MAX);

fn main() -> io::Result<()> {
    let close = std::env::args().any(|argument| argument == "--close");
    let reply = Reply::new(number("--bytes", 1024), close);
    let mut listener = listen(number("--port", 0) as u16)?;
    let mut poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("http://{}/", listener.local_addr()?);

    let mut events = Events::with_capacity(1024);
    let mut connections = slab::Slab::new();
    // A single buffer for the whole loop, zeroed once: an idle connection owns no buffer.
    let mut read_buffer = vec![0; 64 * 1024];
    loop {
        if poll.poll(&mut events, None).is_err() {
            continue; // Interrupted by a signal: a turn without events.
        }
        for event in &events {
            let token = event.token();
            if token == LISTENER {
                // Accept until `WouldBlock`, because an edge is reported once. (A lack of
                // descriptors ends the loop too.)
                while let Ok((stream, _)) = listener.accept() {
                    let mut connection = Connection::new(stream);
                    // The request has most often arrived already. A connection that ends after its
                    // answer is never registered. No edge is missed before the registration,
                    // because registering reports the present state.
                    if connection.pump(&reply, &mut read_buffer) {
                        let entry = connections.vacant_entry();
                        let both = Interest::READABLE | Interest::WRITABLE;
                        registry.register(&mut connection.stream, Token(entry.key()), both)?;
                        entry.insert(connection);
                    }
                }
            } else if let Some(connection) = connections.get_mut(token.0) {
                // No event is stale: only the event of a connection closes the connection, and
                // epoll reports a socket once per batch. (A stale event would cause a read, which
                // fails with `WouldBlock`.)
                connection.readable |= event.is_readable() || event.is_read_closed();
                connection.peer_closed |= event.is_read_closed();
                if !connection.pump(&reply, &mut read_buffer) {
                    // Closing the only descriptor of a socket removes it from epoll.
                    connections.remove(token.0);
                }
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// The number of bytes to send. Because all replies are equal, this is also the position within
    /// a reply.
    owed: usize,
    /// Sticky, because an edge is reported once. `WouldBlock` or a short read clears the flag.
    readable: bool,
    /// The peer has ended its side. The end may share its edge with data, so a short read no longer
    /// proves that the socket is empty.
    peer_closed: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        let (owed, readable, peer_closed) = (0, true, false);
        Self {
            stream,
            owed,
            readable,
            peer_closed,
        }
    }

    /// Sends the owed bytes and reads requests until a call would block. False when the connection
    /// is over.
    fn pump(&mut self, reply: &Reply, read_buffer: &mut [u8]) -> bool {
        self.exchange(reply, read_buffer)
            .is_err_and(|error| error.kind() == WouldBlock)
    }

    /// As `pump`, but reports `WouldBlock` as an error, and `Ok` when the connection is over.
    fn exchange(&mut self, reply: &Reply, read_buffer: &mut [u8]) -> io::Result<()> {
        loop {
            if self.owed > 0 {
                reply.copies.send(&mut self.owed, &mut self.stream)?;
                if reply.close {
                    return Ok(());
                }
            }
            if !self.readable {
                return Err(WouldBlock.into());
            }
            let received = self
                .stream
                .read(read_buffer)
                .inspect_err(|_| self.readable = false)?;
            if received == 0 {
                return Ok(());
            }
            self.readable = received == read_buffer.len() || self.peer_closed;
            let heads = memchr::memmem::find_iter(&read_buffer[..received], b"\r\n\r\n").count();
            self.owed = heads * reply.copies.bytes_each;
        }
    }
}

/// The reply to every request.
struct Reply {
    copies: Copies,
    close: bool,
}

impl Reply {
    fn new(body_bytes: usize, close: bool) -> Self {
        let persistence = if close { "close" } else { "keep-alive" };
        // The head is as long as the head of a real server.
        let head = format!(
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
             Last-Modified: Sat, 05 Nov 1994 08:49:37 GMT\r\nETag: \"2ebb4f91-400\"\r\n\
             Connection: {persistence}\r\nContent-Length: {body_bytes}\r\n\r\n"
        );
        let once = head + &"x".repeat(body_bytes);
        Self {
            copies: Copies::of(once.as_bytes()),
            close,
        }
    }
}
