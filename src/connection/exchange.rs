//! Floor 3, connection: the records of the log: a request and its answer, the end of a WebSocket
//! connection, or a handshake that has failed.

use std::borrow::Cow;
use std::mem;
use std::net::SocketAddr;
use std::time::Instant;

use super::Key;
use crate::http::{Field, RefusedLine, RequestHead};
use crate::transport::FailedHandshake;
use crate::websocket::CloseCode;

/// A record for the log.
#[derive(Debug)]
pub(crate) enum Record {
    /// A request was answered, or its answer was cut off.
    Exchange(Box<Exchange>),
    /// A WebSocket connection has ended.
    Conversation(Box<Conversation>),
    /// A handshake of TLS has failed.
    Handshake(Box<Handshake>),
}

/// A request and its answer, for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Exchange {
    /// The key of the connection.
    pub key: Key,
    /// The address of the peer.
    pub peer: SocketAddr,
    /// The method as written; empty for bytes without a request line.
    pub method: Vec<u8>,
    /// The request-target as written.
    pub target: Vec<u8>,
    /// The minor version of HTTP/1: 0 or 1.
    pub minor_version: u8,
    /// The value of the field `Referer`; empty if the field is absent.
    pub referer: Vec<u8>,
    /// The value of the field `User-Agent`; empty if the field is absent.
    pub user_agent: Vec<u8>,
    /// The status code; 0 if no answer was made.
    pub status: u16,
    /// Bytes of content, without the head.
    pub body_bytes: u64,
    /// When the head was complete, by the clock of its turn.
    pub began: Instant,
    /// The sentence that gives the reason of an error status.
    pub reason: Option<Cow<'static, str>>,
    /// Whether the answer is complete: handed to the kernel as a whole. An answer that waits to be sent
    /// before another, as with pipelining, and that of an endpoint, count as complete when they are
    /// queued as a whole.
    pub complete: bool,
}

impl Exchange {
    /// The number of bytes of text for which a used entry keeps its memory.
    const TEXT_BYTES_KEPT: usize = 1 << 10;

    /// Creates an entry without a request.
    pub(super) fn new(key: Key, peer: SocketAddr, now: Instant) -> Exchange {
        Exchange {
            key,
            peer,
            method: Vec::new(),
            target: Vec::new(),
            minor_version: 1,
            referer: Vec::new(),
            user_agent: Vec::new(),
            status: 0,
            body_bytes: 0,
            began: now,
            reason: None,
            complete: true,
        }
    }

    /// Begins a used entry anew, with the memory of its texts.
    pub(super) fn begin_anew(&mut self, key: Key, peer: SocketAddr, now: Instant) {
        let mut used = mem::replace(self, Exchange::new(key, peer, now));
        let texts = [
            (&mut self.method, &mut used.method),
            (&mut self.target, &mut used.target),
            (&mut self.referer, &mut used.referer),
            (&mut self.user_agent, &mut used.user_agent),
        ];
        for (text, used) in texts {
            used.clear();
            mem::swap(text, used);
        }
    }

    /// Adds the part that is known when the head is complete; the answer adds the rest.
    pub(super) fn set_request(&mut self, request: &RequestHead<'_>) {
        let value = |field| request.value(field).unwrap_or_default();
        self.method.extend_from_slice(request.method_token());
        self.target.extend_from_slice(request.target());
        self.minor_version = request.version() as u8;
        self.referer.extend_from_slice(value(Field::Referer));
        self.user_agent.extend_from_slice(value(Field::UserAgent));
    }

    /// Whether the memory of a used entry is small enough to be kept.
    pub(super) fn is_small(&self) -> bool {
        let texts = [&self.method, &self.target, &self.referer, &self.user_agent];
        texts.map(Vec::capacity).iter().sum::<usize>() <= Exchange::TEXT_BYTES_KEPT
    }

    /// Adds the request line of a head that has an error.
    pub(super) fn set_line(&mut self, line: Option<RefusedLine<'_>>) {
        if let Some(line) = line {
            (self.method, self.target) =
                (line.method.into(), line.target_without_userinfo().into());
            self.minor_version = line.version as u8;
        }
    }
}

/// A handshake of TLS that has failed, for the log.
#[derive(Debug)]
pub(crate) struct Handshake {
    /// The key of the connection.
    pub key: Key,
    /// The address of the peer.
    pub peer: SocketAddr,
    /// When the connection was accepted.
    pub began: Instant,
    /// The reason.
    pub failed: FailedHandshake,
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
            target: exchange.target.as_slice().into(),
            began: exchange.began,
            received: 0,
            sent: 0,
            code: CloseCode::ABNORMAL,
        }
    }
}
