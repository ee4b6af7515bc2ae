//! tungstenite over mio, with non-blocking sockets. The answers to the messages of a readable event
//! go to the library's buffers, and then each buffer is flushed once.
use std::io::{self, ErrorKind::WouldBlock};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use oneloop_peers::Options;
use slab::Slab;
use tungstenite::handshake::server::NoCallback;
use tungstenite::handshake::{HandshakeError, MidHandshake};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, ServerHandshake, WebSocket};

const LISTENER: Token = Token(usize::MAX);

/// The size of the read buffer. The library zeroes this buffer before every read, and with the
/// default of 128 KiB the zeroing costs more than all other work. A buffer smaller than the largest
/// message needs several reads for it. Of 4, 20 and 40 KiB, 20 KiB cost least over all scenarios.
const READ_BUFFER_BYTES: usize = 20 * 1024;

fn main() -> io::Result<()> {
    let options = Options::from_arguments()?;
    let mut listener = TcpListener::from_std(options.listener);
    let mut poll = Poll::new()?;
    let registry = poll.registry().try_clone()?;
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections = Slab::new();
    let mut messages = Vec::new();
    loop {
        if poll.poll(&mut events, None).is_err() {
            continue; // Interrupted by a signal.
        }
        for event in &events {
            let index = event.token().0;
            if event.token() == LISTENER {
                accept(&listener, &registry, &mut connections)?;
                continue;
            }
            let Some(connection) = connections.get_mut(index) else {
                continue; // Never: only the event of a connection removes the connection.
            };
            let mut lives = connection.read(&mut messages);
            if options.is_room && !messages.is_empty() {
                for (_, member) in &mut connections {
                    // A member whose socket is full or broken is handled at its own next event.
                    let _ = messages.iter().all(|message| member.write(message)) && member.flush();
                }
            } else {
                lives &= messages.iter().all(|message| connection.write(message));
                lives &= connection.flush();
            }
            messages.clear();
            if !lives {
                connections.remove(index);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    registry: &Registry,
    connections: &mut Slab<Connection>,
) -> io::Result<()> {
    while let Ok((mut stream, _)) = listener.accept() {
        stream.set_nodelay(true)?;
        let entry = connections.vacant_entry();
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, Token(entry.key()), both)?;
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES);
        let handshake = ServerHandshake::start(stream, NoCallback, Some(config));
        entry.insert(Connection::Opening(Some(handshake)));
    }
    Ok(())
}

enum Connection {
    /// `None` only during a step of the handshake.
    Opening(Option<MidHandshake<ServerHandshake<TcpStream, NoCallback>>>),
    Open(WebSocket<TcpStream>),
}

impl Connection {
    /// Reads the messages that have arrived. Returns false when the connection is over.
    fn read(&mut self, messages: &mut Vec<Message>) -> bool {
        if let Self::Opening(handshake) = self {
            match handshake.take().map(MidHandshake::handshake) {
                Some(Ok(socket)) => *self = Self::Open(socket),
                Some(Err(HandshakeError::Interrupted(rest))) => *handshake = Some(rest),
                Some(Err(HandshakeError::Failure(_))) | None => return false,
            }
        }
        let Self::Open(socket) = self else {
            return true;
        };
        loop {
            match socket.read() {
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => messages.push(message),
                Ok(_) => {} // The library answers Ping and Close.
                Err(Error::Io(error)) if error.kind() == WouldBlock => return true,
                Err(_) => return false,
            }
        }
    }

    /// Writes a message to the buffer. Up to this copy, the members share the payload.
    fn write(&mut self, message: &Message) -> bool {
        match self {
            Self::Opening(_) => true,
            Self::Open(socket) => goes_on(socket.write(message.clone())),
        }
    }

    fn flush(&mut self) -> bool {
        match self {
            Self::Opening(_) => true,
            Self::Open(socket) => goes_on(socket.flush()),
        }
    }
}

/// Whether the connection goes on. After `WouldBlock`, the rest stays in the buffer until the
/// socket is writable.
fn goes_on(result: Result<(), Error>) -> bool {
    match result {
        Ok(()) => true,
        Err(Error::Io(error)) => error.kind() == WouldBlock,
        Err(_) => false,
    }
}
