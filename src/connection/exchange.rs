//! Floor 4, connection: a request and its answer as the log shows them.

use std::net::SocketAddr;
use std::time::Instant;

use super::Key;
use crate::http::{Field, RequestHead};

/// A request and what came of it, for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Exchange {
    /// The connection.
    pub key: Key,
    /// Its peer.
    pub peer: SocketAddr,
    /// As it was written; empty for bytes that are no request.
    pub method: Box<[u8]>,
    /// The request target as it was written.
    pub target: Box<[u8]>,
    /// 0 or 1.
    pub minor_version: u8,
    /// The field's value, or nothing.
    pub referer: Box<[u8]>,
    /// The field's value, or nothing.
    pub user_agent: Box<[u8]>,
    /// The status code; 0 if there was no answer.
    pub status: u16,
    /// Bytes of content, without the head.
    pub body_bytes: u64,
    /// When the head was complete, by the clock of its turn.
    pub began: Instant,
    /// Whether all of it was handed to the kernel.
    pub complete: bool,
}

impl Exchange {
    /// The part that is known when the head is complete; the answer adds the rest.
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
            complete: true,
        }
    }
}
