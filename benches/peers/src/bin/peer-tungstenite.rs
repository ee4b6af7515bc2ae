//! tungstenite over mio, without blocking: all messages of a readable event are written to the
//! library's buffers, and each buffer is flushed once.

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

/// Read buffers are filled with zeros before every read: the 128 KiB there are by default cost more
/// than all the rest, and less than the largest of the messages makes several reads of it. Of 4, 20 and
/// 40 KiB these cost least over all.
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
                continue; // Closed earlier in this batch.
            };
            let mut lives = connection.read(&mut messages);
            if options.is_room && !messages.is_empty() {
                for (_, member) in &mut connections {
                    // Who cannot be written to is seen to at the next event of its own.
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
    /// `None` only while the handshake takes a step.
    Opening(Option<MidHandshake<ServerHandshake<TcpStream, NoCallback>>>),
    Open(WebSocket<TcpStream>),
}

impl Connection {
    /// All messages there are. False when the connection is over.
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

    /// Into the buffer. The payload is shared, not copied, until then.
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

/// What does not fit stays in the buffer until the socket is writable.
fn goes_on(result: Result<(), Error>) -> bool {
    match result {
        Ok(()) => true,
        Err(Error::Io(error)) => error.kind() == WouldBlock,
        Err(_) => false,
    }
}
