//! The *limit*: what the kernel costs before any server does work.
//!
//! A small file over loopback is nearly all TCP: a `recv`, a `send`, a share of an `epoll_wait`. No
//! server costs less, so a server's number means something only beside this one; `cargo bench --bench
//! versus` divides by it. It is also the smallest honest edge-triggered loop. It parses nothing: it
//! counts the ends of heads in what one read gave and sends as many copies of a canned reply. What it
//! leaves out is what a server is for: no deadline, no fairness, and an end of head that two reads cut
//! in half is never seen. Load generators do not mind.
//!
//! Usage: `limit [--port N] [--bytes N] [--close]`. It begins by printing `http://127.0.0.1:PORT/`.

mod copies;
mod listen;

use std::io::{self, ErrorKind::WouldBlock, Read};

use copies::Copies;
use listen::{listen, number};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// No slab reaches this index, so the listener's token is never a connection's.
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
    // One for the whole loop, zeroed once: an idle connection owns no buffer.
    let mut read_buffer = vec![0; 64 * 1024];
    loop {
        if poll.poll(&mut events, None).is_err() {
            continue; // Interrupted by a signal: an empty turn.
        }
        for event in &events {
            let token = event.token();
            if token == LISTENER {
                // Until `WouldBlock`, as an edge demands. (Running out of descriptors ends it too.)
                while let Ok((stream, _)) = listener.accept() {
                    let mut connection = Connection::new(stream);
                    // Its request is most often there already; a connection that is over after that
                    // never meets epoll. Registration is an edge of its own: nothing is missed.
                    if connection.pump(&reply, &mut read_buffer) {
                        let entry = connections.vacant_entry();
                        let both = Interest::READABLE | Interest::WRITABLE;
                        registry.register(&mut connection.stream, Token(entry.key()), both)?;
                        entry.insert(connection);
                    }
                }
            } else if let Some(connection) = connections.get_mut(token.0) {
                // A stale event (its connection closed earlier in this batch, the index taken again
                // since) sets flags that make us try a read, which says `WouldBlock`.
                connection.readable |= event.is_readable() || event.is_read_closed();
                connection.peer_closed |= event.is_read_closed();
                if !connection.pump(&reply, &mut read_buffer) {
                    // Closing the only descriptor takes it out of epoll: no deregister.
                    connections.remove(token.0);
                }
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// Bytes not yet sent. All replies are alike, so this also says where in a reply we are.
    owed: usize,
    /// Sticky, for an edge is told once: cleared by `WouldBlock` or a short read.
    readable: bool,
    /// The end of the stream shared its edge with data: a short read then proves nothing.
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

    /// Sends what is owed and reads what is there until one of them would block. False when the
    /// connection is over.
    fn pump(&mut self, reply: &Reply, read_buffer: &mut [u8]) -> bool {
        self.exchange(reply, read_buffer)
            .is_err_and(|error| error.kind() == WouldBlock)
    }

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

/// What every request gets.
struct Reply {
    copies: Copies,
    close: bool,
}

impl Reply {
    fn new(body_bytes: usize, close: bool) -> Self {
        let persistence = if close { "close" } else { "keep-alive" };
        // As long as a real head.
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
