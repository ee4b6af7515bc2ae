//! Floor 4, connection: the context of one pump. The server owns the parts and lends all of them to one
//! connection at a time; a connection keeps none of them.
//!
//! The parts are three, by how long they hold: [`Turn`] is fixed for a whole turn, [`Shared`] is used by
//! each connection after the other, and [`Tally`] only grows. Beside them each connection has a [`Budget`]
//! of its own.

use std::time::{Instant, SystemTime};

use super::{Counters, Effects, Endpoints, Exchange, Input, Transitions};
use crate::config::Limits;
use crate::http::{HeadLimits, HttpDate, RequestHead};
use crate::site::{Files, Site};
use crate::transport::Pool;
use crate::websocket::deflate::{Deflater, Inflater};

/// One reading of the clocks. A whole turn uses the same reading.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The monotonic clock, for deadlines.
    pub instant: Instant,
    /// The clock on the wall, for `Date`, and to compare with the times of files.
    pub wall: SystemTime,
}

/// The facts that hold for a whole turn.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) now: Now,
    /// `now` as an HTTP-date.
    pub(crate) date: HttpDate,
    /// The server is stopping: it takes no further request.
    pub(crate) stopping: bool,
    pub(crate) limits: Limits,
    /// The part of `limits` that the parser of request heads takes.
    pub(crate) head_limits: HeadLimits,
}

impl Turn {
    /// Begins with the reading `now` and the bounds of the server.
    pub(crate) fn new(now: Now, limits: Limits) -> Turn {
        Turn {
            now,
            date: HttpDate::new(now.wall),
            stopping: false,
            head_limits: HeadLimits {
                head_bytes_max: limits.head_bytes_max,
                target_bytes_max: limits.target_bytes_max,
                fields_max: limits.fields_max,
            },
            limits,
        }
    }

    /// Begins the next turn, with a new reading of the clocks.
    pub(crate) fn begin(&mut self, now: Now) {
        self.now = now;
        self.date.update(now.wall);
    }
}

/// The things that all connections use, one connection at a time.
pub(crate) struct Shared<S: Files> {
    pub(crate) site: Site<S>,
    pub(crate) pool: Pool,
    pub(crate) endpoints: Endpoints,
    /// Left by connections and endpoints for the server to carry out.
    pub(crate) effects: Effects,
    pub(crate) deflater: Deflater,
    /// Inflaters that no message uses now.
    inflaters: Vec<Inflater>,
}

impl<S: Files> Shared<S> {
    /// Unused inflaters that are kept. Small messages need one at a time, because each is inflated within
    /// one step; the rest are for messages that take several turns.
    const INFLATERS_KEPT: usize = 4;

    /// Nothing is in use yet.
    pub(crate) fn new(site: Site<S>, pool: Pool) -> Shared<S> {
        Shared {
            site,
            pool,
            endpoints: Endpoints::default(),
            effects: Effects::default(),
            deflater: Deflater::default(),
            inflaters: Vec::new(),
        }
    }

    /// Returns an inflater that is ready for a message. The account is charged for the inflater until
    /// [`release_inflater`](Shared::release_inflater).
    pub(super) fn acquire_inflater(&mut self) -> Inflater {
        let mut inflater = self.inflaters.pop().unwrap_or_default();
        inflater.begin();
        self.pool.account_mut().charge(Inflater::CHARGED_BYTES);
        inflater
    }

    /// Takes an inflater back.
    pub(super) fn release_inflater(&mut self, inflater: Inflater) {
        self.pool.account_mut().release(Inflater::CHARGED_BYTES);
        if self.inflaters.len() < Self::INFLATERS_KEPT {
            self.inflaters.push(inflater);
        }
    }
}

/// The record of what happened, for the log, the summary and the tests. Nothing is decided by it.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) counters: Counters,
    pub(crate) transitions: Transitions,
    /// The exchanges that were finished in this turn.
    pub(crate) exchanges: Vec<Exchange>,
    /// Exchanges are collected, because a log wants them.
    pub(crate) is_logging: bool,
}

impl Tally {
    /// Adds a finished exchange.
    pub(super) fn log_exchange(&mut self, exchange: Exchange) {
        if self.is_logging {
            self.exchanges.push(exchange);
        }
    }
}

/// How much of a turn one connection may use. When any part is spent, the connection stays queued and
/// goes on in the next turn: no readiness is lost, and no other connection starves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(super) bytes: usize,
    pub(super) rounds: u32,
    pub(super) steps: u32,
}

impl Budget {
    /// A full budget.
    pub fn new(limits: &Limits) -> Budget {
        Budget {
            bytes: limits.turn_bytes,
            rounds: limits.turn_rounds,
            steps: limits.turn_steps,
        }
    }

    /// Whether a mode may take another step.
    pub(super) fn has_steps(&self) -> bool {
        self.steps > 0
    }

    /// Whether any part is used up.
    pub(super) fn is_spent(&self) -> bool {
        self.bytes == 0 || self.rounds == 0 || self.steps == 0
    }

    /// Charges steps: one for a step, more for work that costs more.
    pub(super) fn spend_steps(&mut self, steps: u32) {
        self.steps = self.steps.saturating_sub(steps);
    }

    /// Charges bytes that were read or written.
    pub(super) fn spend_bytes(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Everything that a connection may use while it is pumped, besides its own socket and buffers.
pub(crate) struct Context<'a, S: Files> {
    pub(super) turn: &'a Turn,
    pub(super) shared: &'a mut Shared<S>,
    pub(super) tally: &'a mut Tally,
    pub(super) budget: Budget,
}

impl<'a, S: Files> Context<'a, S> {
    /// Lends the parts to one connection, with a full budget.
    pub(crate) fn new(turn: &'a Turn, shared: &'a mut Shared<S>, tally: &'a mut Tally) -> Self {
        Context {
            budget: Budget::new(&turn.limits),
            turn,
            shared,
            tally,
        }
    }

    /// Gives the next connection a full budget.
    pub(crate) fn renew_budget(&mut self) {
        self.budget = Budget::new(&self.turn.limits);
    }

    /// Begins the log entry of a request, if a log wants it; the answer adds the rest. `request` is `None`
    /// for bytes that are no request.
    pub(super) fn exchange(
        &self,
        input: &Input<'_, S>,
        request: Option<&RequestHead<'_>>,
    ) -> Option<Exchange> {
        let now = self.turn.now.instant;
        self.tally
            .is_logging
            .then(|| Exchange::begun(input.key, input.peer, request, now))
    }

    /// Bytes in a write buffer above which its connection must wait. When memory is short, connections
    /// with much output, whose peers do not read what they asked for, wait sooner.
    pub(super) fn write_buffer_high(&self) -> u64 {
        let high = self.turn.limits.write_buffer_high;
        match self.shared.pool.account().is_over() {
            true => high / 8,
            false => high,
        }
    }

    /// Bytes in a write buffer up to which other connections may add broadcasts; less when memory is short.
    pub(super) fn write_buffer_max(&self) -> u64 {
        match self.shared.pool.account().is_over() {
            true => self.write_buffer_high(),
            false => self.turn.limits.write_buffer_max,
        }
    }
}
