//! Floor 3, connection: the context of one pump. The server owns the parts of the context, and one
//! connection after another borrows them.
//!
//! The context has three parts. [`Turn`] is fixed for a whole turn, [`Shared`] is used by one
//! connection after another, and [`Tally`] only grows. In addition, there is a [`Budget`], which is
//! full again for each read of a batch, each pump, each broadcast and each flush.
//!
//! Architecture invariant: a connection keeps no part of the context. The context is borrowed, and
//! the borrow ends with the call.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use super::{
    Alarms, Answer, Counters, Effects, Endpoint, Endpoints, Exchange, Hub, Input, Key, Memory,
    OwedAnswers, Record, Request, Ring, Rooms, Stopwatch, TraceRecord, Transitions,
};
use crate::config::Limits;
use crate::http::{HeadLimits, HttpDate, Status};
use crate::site::{Files, Site};
use crate::transport::Pool;
use crate::websocket::deflate::{Deflater, Inflater};

/// One reading of both clocks. A whole turn uses the same reading.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The monotonic clock, for deadlines.
    pub instant: Instant,
    /// The wall clock, for the field `Date` and for comparison with the times of files.
    pub wall: SystemTime,
}

/// The facts of one turn.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) now: Now,
    /// `now` as an HTTP-date.
    pub(crate) date: HttpDate,
    /// The server is stopping, and takes no further request.
    pub(crate) stopping: bool,
    pub(crate) limits: Limits,
    /// The part of `limits` for the parser of request heads.
    pub(crate) head_limits: HeadLimits,
}

impl Turn {
    /// Creates the facts of the first turn from a reading of the clocks and the limits of the
    /// server.
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

/// The objects shared by all connections.
pub(crate) struct Shared<S: Files> {
    pub(crate) site: Site<S>,
    pub(crate) pool: Pool,
    pub(crate) endpoints: Endpoints,
    /// The effects queued by connections and endpoints, for the server to carry out.
    pub(crate) effects: Effects,
    /// The members of the rooms. The server changes this, and endpoints read it.
    pub(crate) rooms: Rooms,
    /// The connections whose request is for a backend, and that the server has not connected yet.
    pub(crate) errands: VecDeque<Key>,
    /// The answers that endpoints owe.
    pub(crate) owed: OwedAnswers,
    /// The timers of endpoints.
    pub(crate) alarms: Alarms,
    pub(crate) deflater: Deflater,
    /// Measures for the field `Server-Timing`, if the server sends it.
    pub(crate) stopwatch: Option<Stopwatch>,
    /// Unused inflaters.
    inflaters: Vec<Inflater>,
}

/// The shared objects that a call of an endpoint uses at the same time.
pub(super) struct Call<'a> {
    pub(super) endpoints: &'a mut Endpoints,
    pub(super) hub: Hub<'a>,
    pub(super) pool: &'a mut Pool,
    pub(super) deflater: &'a mut Deflater,
}

impl<S: Files> Shared<S> {
    /// The number of unused inflaters to keep. Small messages need only one inflater, because each
    /// small message is inflated within one step. The rest is for messages that take several turns.
    const INFLATERS_KEPT: usize = 4;

    /// Creates the shared objects; no inflater exists yet.
    pub(crate) fn new(site: Site<S>, pool: Pool, limits: &Limits) -> Shared<S> {
        Shared {
            site,
            pool,
            endpoints: Endpoints::default(),
            effects: Effects::default(),
            rooms: Rooms::new(limits),
            errands: VecDeque::new(),
            owed: OwedAnswers::default(),
            alarms: Alarms::default(),
            deflater: Deflater::default(),
            stopwatch: None,
            inflaters: Vec::new(),
        }
    }

    /// Takes the shared objects apart for a call of an endpoint. `None`: the call is for no endpoint.
    pub(super) fn call<'a>(
        &'a mut self,
        endpoint: Option<u16>,
        turn: &'a Turn,
        counters: &'a Counters,
    ) -> Call<'a> {
        let hub = Hub {
            effects: &mut self.effects,
            owed: &mut self.owed,
            alarms: &mut self.alarms,
            rooms: &self.rooms,
            counters,
            limits: &turn.limits,
            now: turn.now.instant,
            is_stopping: turn.stopping,
            memory: Memory::of(self.pool.account()),
            looked_up: self.site.looked_up(),
            endpoint,
        };
        Call {
            endpoints: &mut self.endpoints,
            hub,
            pool: &mut self.pool,
            deflater: &mut self.deflater,
        }
    }

    /// Returns the endpoint of this number, and the hub for a call of it.
    pub(crate) fn endpoint<'a>(
        &'a mut self,
        number: u16,
        turn: &'a Turn,
        counters: &'a Counters,
    ) -> (&'a mut dyn Endpoint, Hub<'a>) {
        let call = self.call(Some(number), turn, counters);
        (call.endpoints.get(number), call.hub)
    }

    /// Returns the hub for a call that no endpoint is for.
    pub(crate) fn hub<'a>(&'a mut self, turn: &'a Turn, counters: &'a Counters) -> Hub<'a> {
        self.call(None, turn, counters).hub
    }

    /// Returns the number of bytes in a write buffer above which its connection must wait. When
    /// memory is tight, the bound is lower: a connection with much output, whose peer does not
    /// read, then waits sooner.
    pub(super) fn write_buffer_high(&self, limits: &Limits) -> u64 {
        match self.pool.account().is_tight() {
            true => limits.write_buffer_high / 8,
            false => limits.write_buffer_high,
        }
    }

    /// Returns how many bytes a connection may read at once, if it may have to keep them: requests
    /// and messages wait in the read buffer until there is room for their answers. The bound is
    /// lower when memory is tight.
    pub(super) fn read_ahead_max(&self, limits: &Limits) -> usize {
        match self.pool.account().is_tight() {
            true => limits.read_buffer_bytes.div_ceil(8),
            false => usize::MAX,
        }
    }

    /// Returns an inflater, ready for a new message. The account of memory is charged for the
    /// inflater until [`release_inflater`](Shared::release_inflater) is called.
    pub(super) fn acquire_inflater(&mut self) -> Inflater {
        let mut inflater = self.inflaters.pop().unwrap_or_default();
        inflater.begin();
        self.pool.account_mut().charge(Inflater::CHARGED_BYTES);
        inflater
    }

    /// Takes an inflater back, and releases its charge.
    pub(super) fn release_inflater(&mut self, inflater: Inflater) {
        self.pool.account_mut().release(Inflater::CHARGED_BYTES);
        if self.inflaters.len() < Self::INFLATERS_KEPT {
            self.inflaters.push(inflater);
        }
    }
}

/// The record of past events, for the log, the summary and the tests. No decision depends on this
/// record.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) counters: Counters,
    pub(crate) transitions: Transitions,
    /// What the loop did last.
    pub(crate) ring: Ring,
    /// The status code of the answer that was given last, until the step with the answer is noted; 0 for
    /// none.
    pub(super) answered: u16,
    /// The answers of this turn, for the service times.
    pub(crate) served: Served,
    /// The records of this turn, for the log.
    pub(crate) records: Vec<Record>,
    /// Whether records are collected, because a log wants them.
    pub(crate) is_logging: bool,
    /// Used entries, which keep the memory of their texts: a request that is logged allocates nothing.
    #[expect(clippy::vec_box, reason = "the boxes themselves are used again")]
    spare: Vec<Box<Exchange>>,
}

/// The answers whose last byte was written to the socket in this turn.
#[derive(Default, Debug)]
pub(crate) struct Served {
    /// The number of those whose request has come in this turn too.
    pub(crate) in_turn: u32,
    /// The others, each with the time from the beginning of the turn of its request to the beginning of
    /// this turn. Those of one connection are counted together.
    pub(crate) after: Vec<(Duration, u32)>,
}

impl Tally {
    /// The number of used entries that are kept.
    const KEPT: usize = 64;

    /// Counts a response.
    #[inline]
    pub(super) fn count_response(&mut self, status: Status) {
        self.counters.count_response(status);
        self.answered = status.code();
    }

    /// Counts the answer of a backend, with any status code.
    pub(super) fn count_forwarded(&mut self, code: u16) {
        self.counters.count_code(code);
        self.answered = code;
    }

    /// Whether an answer was given that no step has noted yet.
    pub(super) fn has_answer(&self) -> bool {
        self.answered != 0
    }

    /// Notes that the last bytes of `answers` answers were written to the socket; `asked_at` is when the
    /// turn of the first of these requests began, and `now` when the present turn did.
    #[inline]
    pub(super) fn serve(&mut self, answers: u32, asked_at: Instant, now: Instant) {
        match asked_at == now {
            true => self.served.in_turn += answers,
            false => self.serve_later(answers, now - asked_at),
        }
    }

    #[cold]
    fn serve_later(&mut self, answers: u32, after: Duration) {
        self.served.after.push((after, answers));
    }

    /// Notes that a connection goes on in a later turn.
    pub(crate) fn postpone(&mut self, key: Key, throttled: bool) {
        match throttled {
            true => self.counters.throttled += 1,
            false => self.counters.budgets_spent += 1,
        }
        self.ring.push(TraceRecord::Postponed { key, throttled });
    }

    /// Adds a record, if a log wants records.
    pub(super) fn log(&mut self, record: Record) {
        if self.is_logging {
            self.records.push(record);
        }
    }

    /// Adds the reason to the records from this index on, if their answers were cut off.
    pub(super) fn explain(&mut self, from: usize, reason: fmt::Arguments<'_>) {
        for record in self.records.iter_mut().skip(from) {
            if let Record::Exchange(exchange) = record
                && !exchange.complete
            {
                let reason = || Cow::Owned(reason.to_string());
                exchange.reason.get_or_insert_with(reason);
            }
        }
    }

    /// Begins an entry, with the memory of a used one if there is any.
    fn begin_exchange(&mut self, key: Key, peer: SocketAddr, now: Instant) -> Box<Exchange> {
        match self.spare.pop() {
            Some(mut exchange) => {
                exchange.begin_anew(key, peer, now);
                exchange
            }
            None => Box::new(Exchange::new(key, peer, now)),
        }
    }

    /// Empties the list of records, after the log has written them.
    pub(crate) fn clear_records(&mut self) {
        for record in self.records.drain(..) {
            if let Record::Exchange(exchange) = record
                && exchange.is_small()
                && self.spare.len() < Tally::KEPT
            {
                self.spare.push(exchange);
            }
        }
    }
}

/// The share of a turn that a connection may use when it is pumped. When any part is spent, the
/// connection stays queued and goes on in a later turn: no readiness is lost, and the other connections
/// do not starve.
///
/// Bytes, rounds and steps are counted, and everything costs *work*. A unit of work is about a
/// microsecond of the processor, but no clock is read: the same events always cost the same, so that
/// a run can be repeated exactly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Bytes left to read and write.
    pub(super) bytes: usize,
    /// Rounds of the pump left.
    pub(super) rounds: u32,
    /// Steps left.
    pub(super) steps: u32,
    /// Work left. Negative if the last piece of work was larger than the rest of the budget.
    work: i32,
}

impl Budget {
    /// The number of bytes that are copied into storage with one unit of work.
    const GATHERED_BYTES: usize = 1 << 10;

    /// The work of a read or a write without its bytes: the system call, and for a write the way
    /// through TCP to the peer.
    const SYSTEM_CALL_WORK: i32 = 4;

    /// The number of bytes that the kernel copies with one unit of work.
    const COPIED_BYTES: usize = 3 << 10;

    /// Creates a full budget.
    pub fn new(limits: &Limits) -> Budget {
        Budget {
            bytes: limits.turn_bytes,
            rounds: limits.turn_rounds,
            steps: limits.turn_steps,
            work: limits.connection_work as i32,
        }
    }

    /// Whether a mode may take another step.
    pub(super) fn has_steps(&self) -> bool {
        self.steps > 0 && self.work > 0
    }

    /// Whether any part of the budget is used up.
    pub(super) fn is_spent(&self) -> bool {
        self.bytes == 0 || self.rounds == 0 || !self.has_steps()
    }

    /// Charges a step.
    pub(super) fn spend_step(&mut self) {
        self.steps = self.steps.saturating_sub(1);
        self.work -= 1;
    }

    /// Charges work that is more than the usual work of a step.
    pub(super) fn spend_work(&mut self, work: u32) {
        // Far below any debt of a turn, and far above the least number.
        const LEAST: i32 = i32::MIN / 2;
        self.work = self.work.saturating_sub_unsigned(work).max(LEAST);
    }

    /// Charges bytes of a body or a message that were copied into storage, most of which is fresh from
    /// the system.
    pub(super) fn spend_gathered(&mut self, bytes: usize) {
        self.work -= (bytes / Self::GATHERED_BYTES) as i32;
    }

    /// Charges bytes read or written by one system call.
    pub(super) fn spend_bytes(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.work -= Self::SYSTEM_CALL_WORK + (bytes / Self::COPIED_BYTES) as i32;
    }
}

/// Everything a connection may use during a pump, besides its own socket and buffers.
pub(crate) struct Context<'a, S: Files> {
    pub(super) turn: &'a Turn,
    pub(super) shared: &'a mut Shared<S>,
    pub(super) tally: &'a mut Tally,
    pub(super) budget: Budget,
}

impl<'a, S: Files> Context<'a, S> {
    /// Creates the context of one connection, with a full budget.
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

    /// Whether the budget allows another step.
    pub(crate) fn has_steps(&self) -> bool {
        self.budget.has_steps()
    }

    /// Returns the work charged to the budget since it was full.
    pub(crate) fn used_work(&self) -> u32 {
        let used = self.turn.limits.connection_work as i32 - self.budget.work;
        used.unsigned_abs()
    }

    /// Begins the log entry of a request, if a log wants exchanges; the caller and the answer add the
    /// rest.
    #[inline]
    pub(super) fn exchange(&mut self, input: &Input<'_, S>) -> Option<Box<Exchange>> {
        let now = self.turn.now.instant;
        match self.tally.is_logging {
            true => Some(self.tally.begin_exchange(input.key, *input.peer, now)),
            false => None,
        }
    }

    /// Returns the endpoint of this number, and the hub for a call of it.
    pub(super) fn endpoint(&mut self, number: u16) -> (&mut dyn Endpoint, Hub<'_>) {
        let counters = &self.tally.counters;
        self.shared.endpoint(number, self.turn, counters)
    }

    /// Asks an endpoint for the answer to a request.
    pub(super) fn ask(&mut self, number: u16, request: Request<'_>) -> Answer {
        self.tally.counters.asked += 1;
        let (endpoint, mut hub) = self.endpoint(number);
        endpoint.on_request(&mut hub, request)
    }

    /// As [`Shared::write_buffer_high`] says.
    pub(super) fn write_buffer_high(&self) -> u64 {
        self.shared.write_buffer_high(&self.turn.limits)
    }

    /// Returns the bound, in bytes, for a broadcast: a write buffer that would hold more is full. The
    /// bound is lower when memory is tight.
    pub(super) fn write_buffer_max(&self) -> u64 {
        match self.shared.pool.account().is_tight() {
            true => self.write_buffer_high(),
            false => self.turn.limits.write_buffer_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_by_work_alone_however_large_the_work_is() {
        let limits = Limits::default();
        let mut budget = Budget::new(&limits);
        budget.spend_work(limits.connection_work - 1);
        assert!(budget.has_steps() && !budget.is_spent());
        budget.spend_step();
        assert!(!budget.has_steps() && budget.is_spent());
        // The steps and bytes that are left do not help, and large work does not wrap around.
        budget.spend_work(u32::MAX);
        budget.spend_bytes(0);
        assert!(budget.is_spent() && budget.bytes > 0 && budget.steps > 0);
    }

    #[test]
    fn a_used_entry_of_the_log_keeps_its_memory_unless_that_is_much() {
        let mut tally = Tally {
            is_logging: true,
            ..Tally::default()
        };
        let peer = "127.0.0.1:5".parse().unwrap();
        let now = Instant::now();
        let begin = |tally: &mut Tally, target: &[u8]| {
            let mut exchange = tally.begin_exchange(Key::new(1, 1), peer, now);
            assert!(exchange.target.is_empty() && exchange.reason.is_none());
            exchange.target.extend_from_slice(target);
            exchange.reason = Some("no".into());
            let kept = exchange.target.as_ptr();
            tally.log(Record::Exchange(exchange));
            tally.clear_records();
            kept
        };
        let first = begin(&mut tally, &[b'a'; 100]);
        assert_eq!(begin(&mut tally, &[b'b'; 100]), first);
        begin(&mut tally, &[b'c'; 5_000]);
        assert!(tally.spare.is_empty());
    }
}
