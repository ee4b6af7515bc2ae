//! Floor 3, connection: the mode that ends a connection without losing output.
//!
//! Closing a socket with unread input sends a reset. A reset makes the peer's kernel throw away
//! bytes received but not read by the peer: the answer. (Measured: 3.8 of 3.9 MB lost.) Therefore,
//! if input may be unread, the server ends its own direction (FIN), goes on reading for a bounded
//! time, and closes when the peer has closed (RFC 9112 §9.6).
//!
//! If no input can be unread, the server closes at once: the kernel goes on sending the queued
//! output after a close, and lingering would only cost two more system calls.
//!
//! # When a connection must linger, and what a close can still lose
//!
//! A connection must linger if bytes may come that the server will not read: after a request whose body is
//! refused, after bytes that cannot be parsed, after a request that comes too late (408) or finds no
//! memory (503), after a close frame of ours, and at a stop, when the
//! client may be sending its next request.
//!
//! | the end | the answer is lost if |
//! |---|---|
//! | closed at once, because the socket was drained and nothing was announced | bytes arrive between the last read and the close, and the client has not read the answer |
//! | lingering: 2 s without a byte, 30 s in all, or 64 MiB discarded | the client has not read the answer by then, and sends on |
//! | stalled: 30 s without taking 16 KiB | the client reads too slowly; the rest is not sent |
//! | memory is over its bound, and much output waits | the client has not taken it |
//! | 10 s after a stop, or a second signal | the answer is not sent by then |

use std::time::Instant;

use super::{Mode, Step, Wanted, Wants};
use crate::config::Limits;
use crate::connection::why::{TimeLimit, Wait};
use crate::connection::{Cause, Context, Input};
use crate::site::Files;

/// Sending the rest of the output, then waiting until a close can lose nothing.
#[derive(Debug)]
pub(crate) struct Lingering {
    cause: Cause,
    /// The peer may still be sending: more input may come after the input that was read.
    must_linger: bool,
    /// When our direction was ended (FIN).
    shut: Option<Instant>,
    /// When the peer last sent a byte, or when our direction was ended, if later.
    last_received: Instant,
    /// Bytes of input thrown away.
    discarded: usize,
}

/// The way in.
impl Lingering {
    /// No further request is wanted, because of `cause`. `must_linger`: the peer may still be
    /// sending (an announced body, or bytes that cannot be parsed), so a plain close could reset
    /// the connection.
    pub(super) fn after(cause: Cause, must_linger: bool, now: Instant) -> Lingering {
        Lingering {
            cause,
            must_linger,
            shut: None,
            last_received: now,
            discarded: 0,
        }
    }
}

impl Lingering {
    pub(super) fn step<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<Mode<S>> {
        let discarded = input.read_buffer.discard();
        if discarded > 0 {
            self.last_received = cx.turn.now.instant;
            self.discarded += discarded;
        }
        let sent = input.write_buffer.is_empty();
        // A close resets the connection only if input is unread, or comes later. Neither can happen
        // after the end of file, nor when the socket is drained and the peer has announced nothing.
        let is_quiet = input.eof || (input.drained && !self.must_linger);
        let safe = match (self.shut, input.announces_end) {
            (Some(_), false) => input.eof,
            (None, false) => sent && is_quiet,
            (Some(_), true) => is_quiet,
            // The FIN comes first.
            (None, true) => false,
        };
        let is_late = |at| at <= cx.turn.now.instant;
        let expired = input.expired && self.deadline(&cx.turn.limits).is_some_and(is_late);
        let impatient = self.discarded > cx.turn.limits.linger_bytes_max || expired;
        match safe || impatient {
            true => Step::Progress(Mode::Closed(self.cause)),
            false => Step::Blocked(Mode::Lingering(self)),
        }
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            input: Wanted::Always,
            fin: self.shut.is_none(),
            end_when_sent: false,
            idle_since: None,
        }
    }

    pub(super) fn fin_sent(&mut self, now: Instant) {
        (self.shut, self.last_received) = (Some(now), now);
    }

    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        self.limit(limits).map(TimeLimit::end)
    }

    /// Returns the time until the close, once our direction has ended.
    fn limit(&self, limits: &Limits) -> Option<TimeLimit> {
        let of_silence = TimeLimit::new(self.last_received, limits.linger_idle_time);
        self.shut
            .map(|at| TimeLimit::new(at, limits.linger_time).or_sooner(of_silence))
    }

    /// Returns the wait of the mode; `None`: for its output to leave.
    pub(super) fn wait(&self, limits: &Limits) -> Option<Wait> {
        self.limit(limits).map(Wait::Fin)
    }
}
