//! Floor 3, connection: the records of the log: a request and its answer, or the end of a WebSocket
//! connection.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Instant;

use super::Key;
use crate::http::{Field, RefusedLine, RequestHead};
use crate::websocket::CloseCode;

/// A record for the log.
#[derive(Debug)]
pub(crate) enum Record {
    /// A request was answered, or its answer was cut off.
    Exchange(Box<Exchange>),
    /// A WebSocket connection has ended.
    Conversation(Box<Conversation>),
}

/// A request and its answer, for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Exchange {
    /// The key of the connection.
    pub key: Key,
    /// The address of the peer.
    pub peer: SocketAddr,
    /// The method as written; empty for bytes without a request line.
    pub method: Box<[u8]>,
    /// The request-target as written.
    pub target: Box<[u8]>,
    /// The minor version of HTTP/1: 0 or 1.
    pub minor_version: u8,
    /// The value of the field `Referer`; empty if the field is absent.
    pub referer: Box<[u8]>,
    /// The value of the field `User-Agent`; empty if the field is absent.
    pub user_agent: Box<[u8]>,
    /// The status code; 0 if no answer was made.
    pub status: u16,
    /// Bytes of content, without the head.
    pub body_bytes: u64,
    /// When the head was complete, by the clock of its turn.
    pub began: Instant,
    /// The sentence that gives the reason of an error status.
    pub reason: Option<Cow<'static, str>>,
    /// Whether the answer is complete: queued as a whole or, for a large body, handed to the kernel
    /// as a whole.
    pub complete: bool,
}

impl Exchange {
    /// Creates the entry with the part that is known when the head is complete; the answer adds the
    /// rest. `request` is `None` for bytes that are not a request.
    pub(super) fn begun(
        key: Key,
        peer: SocketAddr,
        request: Option<&RequestHead<'_>>,
        now: Instant,
    ) -> Exchange {
        let copy = |value: Option<&[u8]>| value.unwrap_or_default().into();
        Exchange {
            key,
            peer,
            method: copy(request.map(RequestHead::method_token)),
            target: copy(request.map(RequestHead::target)),
            minor_version: request.map_or(1, |r| r.version() as u8),
            referer: copy(request.and_then(|r| r.value(Field::Referer))),
            user_agent: copy(request.and_then(|r| r.value(Field::UserAgent))),
            status: 0,
            body_bytes: 0,
            began: now,
            reason: None,
            complete: true,
        }
    }

    /// Adds the request line of a head that has an error.
    pub(super) fn set_line(&mut self, line: Option<RefusedLine<'_>>) {
        if let Some(line) = line {
            (self.method, self.target) = (line.method.into(), line.target.into());
            self.minor_version = line.version as u8;
        }
    }
}

/// A WebSocket connection, from the opening handshake to its end, for the log.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// The key of the connection.
    pub key: Key,
    /// The address of the peer.
    pub peer: SocketAddr,
    /// The request-target of the opening handshake.
    pub target: Box<[u8]>,
    /// When the head of the opening handshake was complete.
    pub began: Instant,
    /// Messages from the peer.
    pub received: u64,
    /// Messages queued for the peer.
    pub sent: u64,
    /// The close code: 1005 after a close frame without a code, and 1006 without a close frame
    /// (RFC 6455 §7.1.5).
    pub code: CloseCode,
}

impl Conversation {
    /// Begins the record after an accepted opening handshake; the counts and the code follow.
    pub(super) fn begun(exchange: &Exchange) -> Conversation {
        Conversation {
            key: exchange.key,
            peer: exchange.peer,
            target: exchange.target.clone(),
            began: exchange.began,
            received: 0,
            sent: 0,
            code: CloseCode::ABNORMAL,
        }
    }
}
