//! Floor 3, connection: the mode of both connections of a pair that speak another protocol by now, such
//! as WebSocket: the bytes pass as they are. Each direction ends by itself.

use std::time::Instant;

use super::{Lingering, Mode, Step, Wanted, Wants};
use crate::config::Limits;
use crate::connection::relay::Piece;
use crate::connection::why::{TimeLimit, Wait};
use crate::connection::{Cause, Context, Input};
use crate::http::FieldLines;
use crate::site::Files;

/// One end of a tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// Since when the tunnel lasts, or when the last bytes passed.
    since: Instant,
    /// When the end of the peer's direction was given.
    given: Option<Instant>,
    /// When the end of our direction was taken. The FIN follows the last byte.
    taken: Option<Instant>,
    /// Whether the FIN was sent.
    is_shut: bool,
}

/// The way in.
impl Tunnel {
    /// The backend has switched protocols.
    pub(super) fn after(now: Instant) -> Tunnel {
        Tunnel {
            since: now,
            given: None,
            taken: None,
            is_shut: false,
        }
    }
}

impl Tunnel {
    pub(super) fn step<S: Files>(
        self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<Mode<S>> {
        let now = cx.turn.now.instant;
        let is_late = |at: Instant| at <= now;
        let cause = if self.is_shut && self.given.is_some() {
            Some(Cause::PeerClosed)
        } else if input.expired && self.deadline(&cx.turn.limits).is_some_and(is_late) {
            Some(Cause::Unresponsive)
        } else if cx.turn.stopping {
            Some(Cause::Stopped)
        } else {
            None
        };
        match cause {
            Some(cause) => {
                let must_linger = self.given.is_none();
                Step::Progress(Mode::Lingering(Lingering::after(cause, must_linger, now)))
            }
            None => Step::Blocked(Mode::Tunnel(self)),
        }
    }

    /// Whether both directions have ended. The last bytes may wait to be sent.
    pub(in crate::connection) fn has_ended(&self) -> bool {
        self.given.is_some() && self.taken.is_some()
    }

    /// Whether bytes can come.
    pub(super) fn takes_pieces(&self) -> bool {
        self.taken.is_none()
    }

    /// Gives the bytes that have come, and then the end of the direction.
    pub(super) fn give<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
        put: &mut dyn FnMut(Piece<'_>, &mut Context<'_, S>),
    ) -> (Mode<S>, bool) {
        let bytes = input.read_buffer.bytes();
        let n = bytes.len();
        let now = cx.turn.now.instant;
        let gave = if n > 0 {
            cx.budget.spend_step();
            cx.budget.spend_gathered(n);
            put(Piece::Content(bytes), cx);
            input.read_buffer.consume(n);
            self.since = now;
            true
        } else if input.eof && self.given.is_none() {
            put(Piece::End(FieldLines::default()), cx);
            self.given = Some(now);
            true
        } else {
            false
        };
        (Mode::Tunnel(self), gave)
    }

    /// Takes bytes, or the end of the direction.
    pub(super) fn take<S: Files>(
        mut self,
        piece: Piece<'_>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        self.since = cx.turn.now.instant;
        match piece {
            Piece::Content(bytes) => {
                let out = &mut *input.write_buffer;
                out.append(&mut cx.shared.pool, |out| out.extend_from_slice(bytes));
            }
            Piece::End(_) => self.taken = Some(self.since),
            // The other end is gone, and the bytes of this peer lead nowhere.
            Piece::Broken => (self.taken, self.given) = (Some(self.since), Some(self.since)),
            Piece::Interim(_) | Piece::Head(_) | Piece::Switch(_) => {
                unreachable!("no response follows a switch of protocols")
            }
        }
        Mode::Tunnel(self)
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            // The other end holds back by not taking: then the read buffer is full.
            input: Wanted::Always,
            fin: self.taken.is_some() && !self.is_shut,
            end_when_sent: false,
            idle_since: None,
        }
    }

    pub(super) fn fin_sent(&mut self, now: Instant) {
        (self.is_shut, self.since) = (true, now);
    }

    /// Returns when a tunnel with one direction ends.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        self.limit(limits).map(TimeLimit::end)
    }

    fn limit(&self, limits: &Limits) -> Option<TimeLimit> {
        let ended = self.given.or(self.taken)?;
        Some(TimeLimit::new(
            ended.max(self.since),
            limits.tunnel_end_time,
        ))
    }

    /// Returns the wait of the mode.
    pub(super) fn wait(&self, limits: &Limits) -> Wait {
        Wait::Tunnel {
            since: self.since,
            ended: self.limit(limits),
        }
    }
}
