//! Floor 3, connection: the pieces that pass between the two connections of a pair: that of a client, and that
//! to the backend which answers the client's request.
//!
//! A connection gives *pieces*, and takes pieces. A piece has no framing of its own: the giver has taken
//! the framing off, and the taker puts its own on, so a message never leaves with the framing that it
//! came with (RFC 9112 §6.1). The server, which alone may touch two connections, carries each piece from
//! one to the other, and only as long as the taker has room. A giver that gets rid of nothing stops
//! reading, and TCP holds its peer back: in this way the pressure of a slow reader reaches through both
//! sockets.

use std::io;

use super::mode::Mode;
use super::{Cause, Connection, Context, ModeName, StallClock};
use crate::config::Limits;
use crate::http::{FieldLines, Framing, Method, ReceivedHead, ResponseError};
use crate::site::Files;
use crate::site::proxy::{Failure, FailureCause, push_chunk_size};
use crate::transport::{FailedHandshake, Transport};

/// A part of a message, on its way from one connection of a pair to the other.
pub(crate) enum Piece<'a> {
    /// The head of an interim response (RFC 9110 §15.2).
    Interim(&'a ReceivedHead<'a>),
    /// The head of the answer.
    Head(&'a ReceivedHead<'a>),
    /// The head of a response with the status 101: bytes of another protocol follow.
    Switch(&'a ReceivedHead<'a>),
    /// Content of a message, or bytes of another protocol.
    Content(&'a [u8]),
    /// The end of the message, with its trailers; or the end of one direction of another protocol.
    End(FieldLines<'a>),
    /// The rest of the answer will not come.
    Broken,
}

/// A request that a backend is to answer, as the server needs to know it.
#[derive(Clone, Debug)]
pub(crate) struct Errand {
    /// The number of the backend.
    pub backend: u16,
    /// The head, as the backend is to receive it.
    pub head: Vec<u8>,
    pub method: Method,
    /// The framing of the body.
    pub framing: Framing,
    /// Whether the client asks for another protocol.
    pub wants_upgrade: bool,
}

impl Errand {
    /// Whether the request may be sent again however much of it was sent: it has no content, which would be
    /// gone.
    pub fn can_be_risked(&self) -> bool {
        self.is_idempotent() && self.framing == Framing::None
    }

    /// Whether the request may be sent again when a connection has ended without an answer (RFC 9110
    /// §9.2.2).
    pub fn is_idempotent(&self) -> bool {
        !self.wants_upgrade
            && matches!(
                self.method,
                Method::Get
                    | Method::Head
                    | Method::Options
                    | Method::Trace
                    | Method::Put
                    | Method::Delete
            )
    }
}

/// Why a backend has not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoAnswer {
    /// The connection failed, before or after the request was sent.
    Io(io::ErrorKind),
    /// The handshake of TLS failed: the backend speaks no TLS, or none that fits.
    NoTls,
    /// The certificate of the backend is not trusted.
    Untrusted,
    /// The backend has ended the connection before the head of its answer was whole.
    Closed,
    /// The backend has sent bytes that are no answer.
    Malformed(ResponseError),
    /// The backend switches to another protocol without being asked.
    UnaskedSwitch,
    /// No connection was made in time.
    ConnectTimeout,
    /// No head came in time.
    HeadTimeout,
    /// The backend takes no more of the request.
    Stalled,
}

/// How far a backend is with its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReplyStage {
    /// The request goes out, or has gone out.
    Awaited,
    /// The answer comes in, or bytes of another protocol.
    Begun,
    /// The answer is whole, or both directions of the other protocol have ended.
    Over,
    /// No answer will come, or no more of it.
    Failed(NoAnswer),
    /// The connection has ended, and waits to be removed.
    Gone,
}

impl NoAnswer {
    /// The failure that the error of a read or a write is.
    pub fn of(error: &io::Error) -> NoAnswer {
        match FailedHandshake::of(error) {
            Some(failed) if failed.is_distrust => NoAnswer::Untrusted,
            Some(_) => NoAnswer::NoTls,
            None => NoAnswer::Io(error.kind()),
        }
    }

    /// Whether it can be that no connection was made.
    pub fn is_of_connection(self) -> bool {
        use NoAnswer as N;
        matches!(self, N::Io(_) | N::NoTls | N::Untrusted | N::ConnectTimeout)
    }

    /// The cause that the client is told.
    pub fn cause(self, has_sent_nothing: bool, limits: &Limits) -> FailureCause {
        match self {
            NoAnswer::ConnectTimeout => FailureCause::Unreachable,
            failure if failure.is_of_connection() && has_sent_nothing => FailureCause::Unreachable,
            NoAnswer::Io(_) | NoAnswer::NoTls | NoAnswer::Untrusted | NoAnswer::Closed => {
                FailureCause::Closed
            }
            NoAnswer::Malformed(error) => FailureCause::Malformed(error),
            NoAnswer::UnaskedSwitch => FailureCause::UnaskedSwitch,
            NoAnswer::HeadTimeout | NoAnswer::Stalled => FailureCause::Silent(limits.proxy_timeout),
        }
    }

    /// The error in words, if no connection was made.
    pub fn in_words(self) -> String {
        match self {
            NoAnswer::Io(io::ErrorKind::NotFound) => "there is no such socket".into(),
            NoAnswer::NoTls => "it speaks no TLS of version 1.2 or 1.3".into(),
            NoAnswer::Untrusted => {
                "its certificate is not trusted here (--proxy-insecure takes any)".into()
            }
            NoAnswer::Io(kind) => kind.to_string(),
            NoAnswer::Closed => "it closed the connection".into(),
            _ => io::ErrorKind::TimedOut.to_string(),
        }
    }
}

/// Adds a chunk with this content, which is not empty (RFC 9112 §7.1).
pub(super) fn append_chunk(out: &mut Vec<u8>, content: &[u8]) {
    push_chunk_size(out, content.len() as u64);
    out.extend_from_slice(content);
    out.extend_from_slice(b"\r\n");
}

/// The pair.
impl<S: Files, T: Transport<File = S::File>> Connection<S, T> {
    /// Whether the connection has room for another piece, and is in a mode that takes pieces.
    pub fn takes_pieces(&self, cx: &Context<'_, S>) -> bool {
        self.mode.takes_pieces() && self.write_buffer.has_room(cx.write_buffer_high())
    }

    /// Gives one piece to `put`, if there is any. Returns whether anything changed.
    pub fn give(
        &mut self,
        cx: &mut Context<'_, S>,
        put: &mut dyn FnMut(Piece<'_>, &mut Context<'_, S>),
    ) -> bool {
        let (mode, mut input) = self.split(cx);
        let from = mode.name();
        let (next, gave) = mode.take_out().give(&mut input, cx, put);
        mode.put_in(next);
        self.passed(from, cx);
        gave
    }

    /// Sends a request to the backend that is the peer. [Pump](Connection::pump) the connection
    /// afterwards.
    pub fn ask(&mut self, errand: &Errand, cx: &mut Context<'_, S>) {
        self.change_mode(cx, |mut mode, input, cx| {
            if let Mode::Upstream(mode) = &mut mode {
                mode.ask(errand, input, cx);
            }
            mode
        });
        self.output = StallClock::new(cx.turn.now.instant);
    }

    /// Ends a connection to a backend at once: no client waits for the answer. The backend sees a reset.
    pub fn abandon(&mut self, cx: &mut Context<'_, S>) {
        if self.cause().is_none() {
            self.transport.reset_at_close();
            self.fail(Cause::Finished, cx);
        }
    }

    /// Answers a client whose backend has not, unless the connection is ending already.
    /// [Pump](Connection::pump) the connection afterwards.
    pub fn answer_for_backend(&mut self, failure: &Failure<'_>, cx: &mut Context<'_, S>) {
        if !matches!(self.mode, Mode::Forwarding(_)) {
            return;
        }
        let waiting = !self.write_buffer.is_empty();
        self.change_mode(cx, |mode, input, cx| match mode {
            Mode::Forwarding(mode) => mode.answer(failure, input, cx),
            mode => mode,
        });
        if !waiting {
            self.output = StallClock::new(cx.turn.now.instant);
        }
    }

    /// Takes a piece from the other connection of the pair. [Pump](Connection::pump) the connection
    /// afterwards.
    pub fn take(&mut self, piece: Piece<'_>, cx: &mut Context<'_, S>) {
        let waiting = !self.write_buffer.is_empty();
        let (mode, mut input) = self.split(cx);
        let from = mode.name();
        let next = mode.take_out().take(piece, &mut input, cx);
        mode.put_in(next);
        self.passed(from, cx);
        if !waiting {
            self.output = StallClock::new(cx.turn.now.instant);
        }
    }

    /// Notes that a piece has come or gone, if the mode has changed or an answer has come with it.
    fn passed(&mut self, from: ModeName, cx: &mut Context<'_, S>) {
        let to = self.mode.name();
        if to != from || cx.tally.has_answer() {
            self.changed(from, to, cx);
        }
    }
}
