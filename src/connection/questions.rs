//! Floor 3, connection: the questions, which change nothing.

use std::time::Instant;

use super::mode::Mode;
use super::why::TimeLimit;
use super::{Cause, Connection, Context, Errand, Key, ModeName, ReplyStage};
use crate::config::Limits;
use crate::site::Files;
use crate::transport::Transport;

impl<S: Files, T: Transport<File = S::File>> Connection<S, T> {
    /// Returns the key, which names this connection.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Whether the connection is in the mode `WebSocket` and takes
    /// [broadcasts](Connection::enqueue_broadcast).
    pub fn is_websocket(&self) -> bool {
        matches!(self.mode, Mode::WebSocket(_))
    }

    /// Whether the connection passes bytes of another protocol on.
    pub fn is_tunnel(&self) -> bool {
        matches!(self.mode, Mode::Tunnel(_))
    }

    /// Whether the connection of a client needs its partner: its request is with a backend, or the two
    /// are a tunnel.
    pub fn is_forwarding(&self) -> bool {
        match &self.mode {
            Mode::Forwarding(mode) => mode.takes_pieces(),
            Mode::Tunnel(_) => true,
            _ => false,
        }
    }

    /// Returns what a backend is asked for, while no answer has begun.
    pub fn errand(&self) -> Option<&Errand> {
        match &self.mode {
            Mode::Forwarding(mode) => mode.errand(),
            _ => None,
        }
    }

    /// Whether the request can be sent to a backend from its beginning.
    pub fn can_repeat(&self) -> bool {
        matches!(&self.mode, Mode::Forwarding(mode) if mode.can_repeat())
    }

    /// Whether a connection to a backend can have a request now.
    pub fn is_idle_backend(&self) -> bool {
        let is_quiet = self.read_buffer.is_empty() && !self.eof && self.transport.is_drained();
        is_quiet && matches!(&self.mode, Mode::Upstream(mode) if mode.is_idle())
    }

    /// How far a backend is with its answer, or the tunnel that the connection has become.
    pub fn reply_stage(&self) -> ReplyStage {
        match &self.mode {
            Mode::Upstream(mode) => mode.reply_stage(),
            Mode::Tunnel(mode) if !mode.has_ended() => ReplyStage::Begun,
            Mode::Closed(_) => ReplyStage::Gone,
            _ => ReplyStage::Over,
        }
    }

    /// Whether a backend has begun to answer, or to switch protocols.
    pub fn has_answered(&self) -> bool {
        match &self.mode {
            Mode::Upstream(mode) => mode.has_answered(),
            Mode::Tunnel(_) => true,
            _ => false,
        }
    }

    /// Whether no byte of the request has left for a backend.
    pub fn has_sent_nothing(&self) -> bool {
        matches!(&self.mode, Mode::Upstream(mode) if mode.has_sent_nothing())
    }

    /// Whether a byte of an answer has come from a backend.
    pub fn has_heard(&self) -> bool {
        let has_interim = matches!(&self.mode, Mode::Upstream(mode) if mode.has_heard());
        has_interim || !self.read_buffer.is_empty()
    }

    /// Whether an earlier request was answered on the connection to a backend.
    pub fn is_reused_backend(&self) -> bool {
        matches!(&self.mode, Mode::Upstream(mode) if mode.is_reused())
    }

    /// Whether the connection lasts by its nature, even while nothing is said: by WebSocket, or because
    /// an endpoint writes a stream.
    pub fn lasts(&self) -> bool {
        matches!(
            self.mode,
            Mode::WebSocket(_) | Mode::AwaitingEndpoint(_) | Mode::Forwarding(_) | Mode::Tunnel(_)
        )
    }

    /// Returns when the server must pump this connection although no event came. `None`: never.
    #[inline(always)]
    pub fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let pending = self.has_output();
        let stalled = pending.then(|| self.stall_limit(limits).end());
        let own = self
            .mode
            .deadline(self.output.last_progress(), pending, limits);
        match (stalled, own) {
            (Some(stalled), Some(own)) => Some(stalled.min(own)),
            (stalled, own) => stalled.or(own),
        }
    }

    /// Returns the time in which the peer must take the next portion of the waiting output.
    pub(super) fn stall_limit(&self, limits: &Limits) -> TimeLimit {
        self.output.limit(match self.mode {
            // A backend may stop before it reads on: at a breakpoint, or because it asks another server. Before
            // the connection is made, another time runs.
            Mode::Upstream(_) => limits.proxy_timeout.max(limits.proxy_wait),
            _ => limits.stall_time,
        })
    }

    /// Whether output has waited longer than [`Limits::stall_time`] for the peer to take a portion.
    pub(super) fn is_stalled(&self, cx: &Context<'_, S>) -> bool {
        self.has_output() && self.stall_limit(&cx.turn.limits).end() <= cx.turn.now.instant
    }

    /// Returns since when the connection has been idle: no request is in flight, no byte waits in
    /// either direction, and no event has announced any. `None`: the connection is not idle. A peer
    /// that has just taken the rest of an answer has not been idle before.
    pub fn idle_since(&self) -> Option<Instant> {
        let empty = self.read_buffer.is_empty() && !self.has_output();
        let still = empty && !self.eof && self.transport.is_drained() && !self.evict;
        let since = self.mode.wants().idle_since.filter(|_| still)?;
        Some(since.max(self.output.last_progress()))
    }

    /// Whether an answer is still on its way: its request has begun, or output waits to be sent.
    pub fn owes_answer(&self) -> bool {
        self.mode.owes_answer() || self.has_output()
    }

    /// Whether an answer is under way: its request has come, or its output waits to be sent.
    pub fn is_answering(&self) -> bool {
        let has_asked = !matches!(self.mode, Mode::ReadingHead(_)) && self.mode.owes_answer();
        has_asked || self.answers > 0
    }

    /// Returns why the connection was closed. `None`: the connection is open.
    pub fn cause(&self) -> Option<Cause> {
        match self.mode {
            Mode::Closed(cause) => Some(cause),
            _ => None,
        }
    }

    /// Whether the connection has ended, for this cause, while a request had no whole answer.
    pub fn was_interrupted(&self, cause: Cause) -> bool {
        let broken_off = matches!(cause, Cause::FileChanged | Cause::Finished | Cause::Backend);
        let answering = matches!(
            self.left,
            ModeName::Streaming | ModeName::AwaitingEndpoint | ModeName::Forwarding
        );
        self.interrupted || (broken_off && answering)
    }

    /// Returns the number of bytes that the connection holds in memory because of its peer.
    pub fn held_bytes(&self) -> usize {
        self.read_buffer.held_bytes()
            + self.write_buffer.held_bytes()
            + self.mode.held_bytes()
            + self.transport.held_bytes()
    }

    /// Whether the connection holds a read buffer of the pool.
    pub fn holds_buffer(&self) -> bool {
        self.read_buffer.holds_buffer()
    }

    /// Checks the invariants that hold between turns; the simulation does so after each turn.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn check(&self) {
        self.write_buffer.check();
        assert!(
            !self.mode.wants().end_when_sent || !self.write_buffer.is_empty(),
            "nothing would end it"
        );
        assert!(
            self.cause().is_none() || self.write_buffer.is_empty(),
            "a closed connection owes nothing"
        );
    }
}
