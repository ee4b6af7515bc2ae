//! The *limit* of a WebSocket server: the kernel's cost of a message, without the work of a server.
//!
//! As with `limit.rs` for HTTP, the cost is a `recv`, a `send` and a share of an `epoll_wait`, and
//! `cargo bench --bench websocket` divides by it. After the opening handshake, this program parses
//! nothing. All messages have the size of `--bytes`, so the number of received bytes gives the
//! number of frames, and the answers are as many canned frames. In an echo, the frames go back to
//! the sender in a single `send`. In a room, every member gets the frames with a separate `send`.
//! Frames are not unmasked, opcodes are not read, and Ping and Close get no answer. The canned
//! payload is the payload of the load generator, so the answers are right.
//!
//! Usage: `wslimit [--port N] [--bytes N] [--room]`. The first line of output is
//! `ws://127.0.0.1:PORT/`.
mod copies;
mod listen;
mod wire;

use std::io::{self, ErrorKind::WouldBlock, Read, Write};

use copies::Copies;
use listen::{listen, number};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// The listener's token. No slab reaches this index, so no connection has the same token.
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
                    let entry = connections.vacant_entry();
                    let both = Interest::READABLE | Interest::WRITABLE;
                    registry.register(&mut connection.stream, Token(entry.key()), both)?;
                    entry.insert(connection);
                }
                continue;
            }
            // No event is stale: only the event of a connection closes the connection, and epoll
            // reports a socket once per batch. (A stale event would cause a read, which fails with
            // `WouldBlock`.)
            let Some(connection) = connections.get_mut(token.0) else {
                continue;
            };
            match connection.pump(&frames, is_room, &mut read_buffer) {
                Err(error) if error.kind() == WouldBlock => {}
                Ok(0) | Err(_) => {
                    // Closing the only descriptor of a socket removes it from epoll.
                    connections.remove(token.0);
                }
                Ok(published) => {
                    for (_, member) in &mut connections {
                        member.owed += published * frames.copies.bytes_each;
                        // A member whose socket is full or broken is handled at its own next event.
                        let _ = member.send(&frames);
                    }
                }
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// The received part of the opening handshake's request. `None` after the answer.
    opening: Option<Vec<u8>>,
    /// The number of received bytes of an incomplete frame.
    partial: usize,
    /// The number of bytes to send. Because all frames are equal, this is also the position within
    /// a frame.
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

    /// Sends the owed bytes, then reads and answers until a call would block. For a room, returns
    /// at once with the number of received messages, which the caller sends to the members. Zero
    /// means the end of the stream. (A member that sends a second message before the first is
    /// delivered waits for its next edge. The load generator never does this.)
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
                // The socket is drained. (An end of the stream in the same edge goes unnoticed. The
                // connection then stays, and costs nothing.)
                self.send(frames)?;
                return Err(WouldBlock.into());
            }
        }
    }

    /// Answers the opening handshake when its head is complete. The same read must not contain more.
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
        // The send buffer is empty, so the answer fits.
        self.stream.write_all(answer.as_bytes())
    }

    /// Sends the owed bytes, or fails with `WouldBlock`.
    fn send(&mut self, frames: &Frames) -> io::Result<()> {
        frames.copies.send(&mut self.owed, &mut self.stream)
    }
}

/// The frames of a run: the canned answers, and the length of a received frame.
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
