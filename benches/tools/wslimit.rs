//! The *limit* of a WebSocket server: what the kernel costs before any server does work.
//!
//! As `limit.rs` for HTTP: a `recv`, a `send`, a share of an `epoll_wait`; `cargo bench --bench
//! websocket` divides by it. After the opening handshake it parses nothing. All messages have one size,
//! which it is told, so it counts bytes, and for as many frames as they come to it sends canned ones:
//! those to an echo back to who sent them, all in one `send`; those to a room one to every member,
//! each with a `send` of its own. It unmasks nothing, looks at no opcode, and answers neither Ping nor
//! Close. Its canned content is what the load sends, so that the answers are right.
//!
//! Usage: `wslimit [--port N] [--bytes N] [--room]`. It begins by printing `ws://127.0.0.1:PORT/`.

mod copies;
mod listen;
mod wire;

use std::io::{self, ErrorKind::WouldBlock, Read, Write};

use copies::Copies;
use listen::{listen, number};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// No slab reaches this index, so the listener's token is never a connection's.
const LISTENER: Token = Token(usize::MAX);

fn main() -> io::Result<()> {
    let is_room = std::env::args().any(|argument| argument == "--room");
    let frames = Frames::new(number("--bytes", 20));
    let mut listener = listen(number("--port", 0) as u16)?;
    let mut poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("ws://{}/", listener.local_addr()?);

    let mut events = Events::with_capacity(1024);
    let mut connections = Slab::new();
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
                    let entry = connections.vacant_entry();
                    let both = Interest::READABLE | Interest::WRITABLE;
                    registry.register(&mut connection.stream, Token(entry.key()), both)?;
                    entry.insert(connection);
                }
                continue;
            }
            // A stale event (its connection closed earlier in this batch, the index taken again since)
            // makes us try a read, which says `WouldBlock`.
            let Some(connection) = connections.get_mut(token.0) else {
                continue;
            };
            match connection.pump(&frames, is_room, &mut read_buffer) {
                Err(error) if error.kind() == WouldBlock => {}
                Ok(0) | Err(_) => {
                    // Closing the only descriptor takes it out of epoll: no deregister.
                    connections.remove(token.0);
                }
                Ok(published) => {
                    for (_, member) in &mut connections {
                        member.owed += published * frames.copies.bytes_each;
                        // Who is full or gone is seen to at its own next event.
                        let _ = member.send(&frames);
                    }
                }
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// What came of the opening handshake's request; `None` once it is answered.
    opening: Option<Vec<u8>>,
    /// Bytes of a client's frame that is not whole yet.
    partial: usize,
    /// Bytes not yet sent. All frames are alike, so this also says where in a frame we are.
    owed: usize,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            opening: Some(Vec::new()),
            partial: 0,
            owed: 0,
        }
    }

    /// Sends what is owed, and reads and answers until one of them would block. What a member says to a
    /// room is not answered but given back at once, the number of its messages: zero is the end of the
    /// stream. (Who says a second thing before the first is heard waits for an edge; nobody does.)
    fn pump(
        &mut self,
        frames: &Frames,
        is_room: bool,
        read_buffer: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            self.send(frames)?;
            let received = self.stream.read(read_buffer)?;
            if received == 0 {
                return Ok(0);
            }
            if self.opening.is_some() {
                self.open(&read_buffer[..received])?;
                continue;
            }
            let bytes = self.partial + received;
            self.partial = bytes % frames.masked_bytes_each;
            let whole = bytes / frames.masked_bytes_each;
            if is_room && whole > 0 {
                return Ok(whole);
            }
            self.owed += whole * frames.copies.bytes_each;
            if received < read_buffer.len() {
                // Drained. (An end of the stream that shared its edge with this goes unseen: the
                // connection stays, and costs nothing.)
                self.send(frames)?;
                return Err(WouldBlock.into());
            }
        }
    }

    /// Answers the opening handshake when its head is whole. Nothing may follow it in the same read.
    fn open(&mut self, received: &[u8]) -> io::Result<()> {
        let head = self.opening.get_or_insert_default();
        head.extend(received);
        if !head.ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        let head = String::from_utf8_lossy(head);
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_key = name.eq_ignore_ascii_case("Sec-WebSocket-Key");
            is_key.then(|| value.trim())
        });
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            wire::accept(key.ok_or(io::ErrorKind::InvalidData)?)
        );
        self.opening = None;
        // The first bytes of a connection fit.
        self.stream.write_all(answer.as_bytes())
    }

    /// Sends all that is owed, or fails with `WouldBlock`.
    fn send(&mut self, frames: &Frames) -> io::Result<()> {
        frames.copies.send(&mut self.owed, &mut self.stream)
    }
}

/// What goes out and what comes in.
struct Frames {
    copies: Copies,
    masked_bytes_each: usize,
}

impl Frames {
    fn new(payload_bytes: usize) -> Self {
        Self {
            copies: Copies::of(&wire::frame(payload_bytes, None)),
            masked_bytes_each: wire::frame(payload_bytes, Some([1; 4])).len(),
        }
    }
}
