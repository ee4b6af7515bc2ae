//! Floor 4, connection: one connection and the pump that moves it. It knows the floors below; it
//! must not know other connections, the poll, or what is served.
//!
//! [`Connection::pump`] is the heart of the server and knows no protocol: it steps the mode, which
//! turns input into output, writes what it can, reads what is wanted, and goes round until nothing
//! moves or the [`Budget`] is spent. Everything else is in the modes.

mod broadcast;
mod cause;
mod effect;
mod endpoint;
mod key;
mod mode;
mod refusal;
mod stall_clock;

pub use broadcast::Broadcast;
pub use cause::{Cause, Counters};
pub use effect::{Audience, Effect, Effects, PlainFrame};
pub use endpoint::{Answer, Endpoint, Endpoints, Full, Hub, Message, RouteMatch, Session};
pub use key::Key;
pub use mode::{
    AwaitingEndpoint, Lingering, Mode, ModeName, ReadingBody, ReadingHead, Streaming, TRANSITIONS,
    Transitions, WebSocket,
};
pub use refusal::Refusal;

use std::mem;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use crate::config::{Limits, SlowMember};
use crate::http::{Field, HeadLimits, HttpDate, RequestHead};
use crate::site::{Files, Reply, Site};
use crate::transport::{Io, Pool, ReadBuffer, Ready, Transport, WriteBuffer};
use crate::websocket::deflate::{Deflater, Inflater};
use mode::{Step, Wanted};
use stall_clock::StallClock;

/// One reading of the clocks; a whole turn uses the same.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines.
    pub instant: Instant,
    /// For `Date`, and to hold against times of files.
    pub wall: SystemTime,
}

/// How much of a turn one connection may use. When any part is spent, the connection stays queued
/// and goes on in the next turn: no readiness is lost, and nobody starves.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    bytes: usize,
    rounds: u32,
    steps: u32,
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

    fn has_steps(&self) -> bool {
        self.steps > 0
    }

    fn is_spent(&self) -> bool {
        self.bytes == 0 || self.rounds == 0 || self.steps == 0
    }

    /// For what costs more than a step.
    pub(crate) fn spend_steps(&mut self, steps: u32) {
        self.steps = self.steps.saturating_sub(steps);
    }

    fn spend_bytes(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// What the server lends a connection while it is pumped.
pub struct Context<'a, S: Files> {
    /// The turn's clock reading.
    pub now: Now,
    /// What answers requests.
    pub site: &'a mut Site<S>,
    /// The text of `now`.
    pub date: &'a HttpDate,
    /// The stock of buffers.
    pub pool: &'a mut Pool,
    /// The bounds.
    pub limits: &'a Limits,
    /// Those of a request head.
    pub head_limits: HeadLimits,
    /// What is left of the turn for this connection.
    pub budget: Budget,
    /// The server is stopping: no further request is wanted.
    pub stopping: bool,
    /// Where finished exchanges go; `None` if nobody wants to know.
    pub exchanges: Option<&'a mut Vec<Exchange>>,
    /// What is left for the server to deliver.
    pub effects: &'a mut Effects,
    /// What answers by WebSocket.
    pub endpoints: &'a mut Endpoints,
    /// What compresses messages.
    pub deflater: &'a mut Deflater,
    /// What inflates them; those that nobody uses now.
    pub inflaters: &'a mut Vec<Inflater>,
    /// The connection could go on if there were less mail: it wants another turn.
    pub throttled: bool,
    /// What has happened.
    pub counters: &'a mut Counters,
    /// Which transitions were seen.
    pub transitions: &'a mut Transitions,
}

impl<S: Files> Context<'_, S> {
    /// Notes what was asked, if somebody wants to know. What was answered is for the caller to add.
    /// `request` is `None` for bytes that are no request.
    fn exchange(
        &self,
        input: &Input<'_, S>,
        request: Option<&RequestHead<'_>>,
    ) -> Option<Exchange> {
        self.exchanges.as_ref()?;
        let copy = |value: Option<&[u8]>| value.unwrap_or_default().into();
        Some(Exchange {
            key: input.key,
            peer: input.peer,
            method: copy(request.map(RequestHead::method_token)),
            target: copy(request.map(RequestHead::target)),
            minor_version: request.map_or(1, |r| r.version() as u8),
            referer: copy(request.and_then(|r| r.value(Field::Referer))),
            user_agent: copy(request.and_then(|r| r.value(Field::UserAgent))),
            status: 0,
            body_bytes: 0,
            began: self.now.instant,
            complete: true,
        })
    }

    /// How much may be queued before a connection has to wait. When memory is short, those with
    /// much in their write buffer, who do not read what they asked for, wait sooner.
    fn write_buffer_high(&mut self) -> u64 {
        match self.pool.account().is_over() {
            true => self.limits.write_buffer_high / 8,
            false => self.limits.write_buffer_high,
        }
    }

    /// How much others may queue for a connection, likewise.
    fn write_buffer_max(&mut self) -> u64 {
        match self.pool.account().is_over() {
            true => self.write_buffer_high(),
            false => self.limits.write_buffer_max,
        }
    }

    /// Inflaters that are kept when nobody needs them: as many as small messages take, which is one, and
    /// some.
    const INFLATERS_KEPT: usize = 4;

    /// Lends an inflater, ready for a message, which weighs until it is taken back.
    fn acquire_inflater(&mut self) -> Inflater {
        let mut inflater = self.inflaters.pop().unwrap_or_default();
        inflater.begin();
        self.pool.account_mut().charge(Inflater::CHARGED_BYTES);
        inflater
    }

    fn release_inflater(&mut self, inflater: Inflater) {
        self.pool.account_mut().release(Inflater::CHARGED_BYTES);
        if self.inflaters.len() < Self::INFLATERS_KEPT {
            self.inflaters.push(inflater);
        }
    }

    fn log_exchange(&mut self, exchange: Exchange) {
        if let Some(exchanges) = &mut self.exchanges {
            exchanges.push(exchange);
        }
    }
}

/// A request and what came of it, for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exchange {
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

/// What a mode is told and may use.
pub struct Input<'a, S: Files> {
    key: Key,
    peer: SocketAddr,
    /// What has come.
    read_buffer: &'a mut ReadBuffer,
    /// What is to be sent.
    write_buffer: &'a mut WriteBuffer<S::File>,
    /// The write buffer has room for another answer.
    room: bool,
    /// When output last moved on, or began to wait.
    last_progress: Instant,
    /// Behind what has come, the peer has ended its direction.
    eof: bool,
    /// A read is known to find nothing now.
    drained: bool,
    /// The mode's deadline has passed.
    expired: bool,
    /// Others need the room: end, if nothing is going on.
    evict: bool,
}

/// What the server does with a connection that was pumped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Nothing can move until an event or a deadline.
    Wait,
    /// It has had its share of this turn: pump again in the next.
    Again,
    /// There was too much mail for it to leave any: pump it in the next turn, before those who did.
    Throttled,
    /// Drop it.
    Close,
}

/// How far the steps of one round went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stepped {
    /// Nowhere.
    Nothing,
    /// Somewhere, and it may go on.
    Something,
    /// To the end of what has come.
    Everything,
}

/// A socket, its buffers and its mode.
pub struct Connection<S: Files, T: Transport<File = S::File>> {
    key: Key,
    peer: SocketAddr,
    transport: T,
    read_buffer: ReadBuffer,
    write_buffer: WriteBuffer<S::File>,
    mode: Mode<S>,
    /// The peer has ended its direction, and all it sent was read.
    eof: bool,
    /// A deadline has passed that no step was told of yet.
    expired: bool,
    /// Likewise, that others need the room.
    evict: bool,
    /// When output last moved on, or began to wait.
    output: StallClock,
}

impl<S: Files, T: Transport<File = S::File>> Connection<S, T> {
    /// A connection that was just accepted.
    pub fn new(key: Key, transport: T, peer: SocketAddr, now: Instant) -> Connection<S, T> {
        Connection {
            key,
            peer,
            transport,
            read_buffer: ReadBuffer::default(),
            write_buffer: WriteBuffer::default(),
            mode: Mode::first(now),
            eof: false,
            expired: false,
            evict: false,
            output: StallClock::new(now),
        }
    }

    /// Its name.
    pub fn key(&self) -> Key {
        self.key
    }

    /// What it is doing.
    pub fn mode(&self) -> &Mode<S> {
        &self.mode
    }

    /// The socket, for registration.
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Adds what an event said.
    pub fn mark(&mut self, ready: Ready) {
        self.transport.mark(ready);
    }

    /// Reads once, if the mode wants input and there may be some. `true` if anything changed.
    pub fn fill(&mut self, cx: &mut Context<'_, S>) -> bool {
        let room = self.write_buffer.has_room(cx.write_buffer_high());
        let wanted = match self.mode.wants().input {
            Wanted::Never => false,
            Wanted::WithRoom => room,
            Wanted::Always => true,
        };
        let wanted = wanted && !self.eof && !self.read_buffer.is_full();
        if !wanted || self.transport.is_drained() {
            return false;
        }
        let room = self.read_buffer.spare(cx.pool);
        let limit = room.len().min(cx.budget.bytes);
        match self.transport.read(&mut room[..limit]) {
            Io::Done(n) => {
                self.read_buffer.filled(n);
                cx.budget.spend_bytes(n);
                return true;
            }
            Io::Blocked => {
                self.read_buffer.shrink(cx.pool);
                return false;
            }
            Io::Eof => self.eof = true,
            Io::Failed(_) => self.fail(Cause::Failed, cx),
        }
        self.read_buffer.shrink(cx.pool);
        true
    }

    /// Moves this connection as far as it goes within one turn's budget.
    pub fn pump(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        let effects = cx.effects.len();
        loop {
            let stepped = self.step_mode(cx);
            let mut progressed = stepped == Stepped::Something;
            progressed |= self.flush_once(cx);
            if self.cause().is_some() {
                return Verdict::Close;
            }
            if cx.budget.is_spent() {
                return Verdict::Again;
            }
            if self.fill(cx) {
                // What was found on disk before does not vouch for what was read just now.
                cx.site.begin_epoch();
                progressed = true;
            } else if stepped == Stepped::Everything && self.write_buffer.is_empty() {
                // Another round would only find that out: measured at half the instructions of an echo.
                progressed = false;
            }
            if !progressed {
                self.read_buffer.shrink(cx.pool);
                return match cx.throttled {
                    true if cx.effects.len() > effects => Verdict::Again,
                    true => Verdict::Throttled,
                    false => Verdict::Wait,
                };
            }
            cx.budget.rounds -= 1;
        }
    }

    /// Steps the mode until it stands still, or the budget of steps is spent.
    fn step_mode(&mut self, cx: &mut Context<'_, S>) -> Stepped {
        let waiting = !self.write_buffer.is_empty();
        let mut stepped = Stepped::Nothing;
        while cx.budget.steps > 0 {
            let (mode, mut input) = self.take_mode(cx);
            let from = mode.name();
            match mode.step(&mut input, cx) {
                Step::Progress(mode) => {
                    cx.transitions.note(from, mode.name());
                    self.mode = mode;
                    stepped = Stepped::Something;
                    cx.budget.spend_steps(1);
                }
                Step::NeedInput(mode) => {
                    self.mode = mode;
                    stepped = Stepped::Everything;
                    break;
                }
                Step::Blocked(mode) => {
                    self.mode = mode;
                    break;
                }
            }
        }
        if !waiting && !self.write_buffer.is_empty() {
            self.output = StallClock::new(cx.now.instant);
        }
        stepped
    }

    /// Takes the mode out, with what it may use for one step. `Closed` stands in meanwhile: a true
    /// state, whatever happens within the step.
    fn take_mode(&mut self, cx: &mut Context<'_, S>) -> (Mode<S>, Input<'_, S>) {
        let mode = mem::replace(&mut self.mode, Mode::Closed(Cause::Failed));
        let input = Input {
            key: self.key,
            peer: self.peer,
            room: self.write_buffer.has_room(cx.write_buffer_high()),
            last_progress: self.output.last_progress(),
            read_buffer: &mut self.read_buffer,
            write_buffer: &mut self.write_buffer,
            eof: self.eof,
            drained: self.transport.is_drained(),
            expired: mem::take(&mut self.expired),
            evict: mem::take(&mut self.evict),
        };
        (mode, input)
    }

    /// Changes the mode from outside the pump.
    fn change_mode(
        &mut self,
        cx: &mut Context<'_, S>,
        change: impl FnOnce(Mode<S>, &mut Input<'_, S>, &mut Context<'_, S>) -> Mode<S>,
    ) {
        let (mode, mut input) = self.take_mode(cx);
        let from = mode.name();
        let mode = change(mode, &mut input, cx);
        cx.transitions.note(from, mode.name());
        self.mode = mode;
        self.output.renew(cx.now.instant);
    }

    /// Takes the answer of an endpoint. Pump it then.
    pub fn endpoint_answered(&mut self, reply: Reply<S::File>, cx: &mut Context<'_, S>) {
        self.change_mode(cx, |mode, input, cx| {
            mode.endpoint_answered(reply, input, cx)
        });
    }

    /// Whether it [hears](Connection::enqueue_broadcast) anything.
    pub fn is_websocket(&self) -> bool {
        matches!(self.mode, Mode::WebSocket(_))
    }

    /// Takes a message for many, if it is_websocket. One that has not taken those before misses it, or loses
    /// its place. [`Connection::flush`] it then.
    pub fn enqueue_broadcast(&mut self, broadcast: &Broadcast, cx: &mut Context<'_, S>) {
        if self.try_enqueue(broadcast, cx) {
            return;
        }
        // What was said before in this turn waits too, and nobody has tried to send it.
        self.flush(cx);
        if self.try_enqueue(broadcast, cx) {
            return;
        }
        match cx.limits.slow_member {
            SlowMember::Drop => cx.counters.missed += 1,
            SlowMember::Close => self.change_mode(cx, Mode::close_slow_consumer),
        }
    }

    /// Queues a message for many; `false` if there is no room for it. Whoever does not listen has no need of
    /// any.
    fn try_enqueue(&mut self, broadcast: &Broadcast, cx: &mut Context<'_, S>) -> bool {
        let Mode::WebSocket(mode) = &mut self.mode else {
            return true;
        };
        let waiting = !self.write_buffer.is_empty();
        let taken = mode.enqueue_broadcast(broadcast, &mut self.write_buffer, cx);
        if taken && !waiting {
            self.output = StallClock::new(cx.now.instant);
        }
        taken
    }

    /// Writes what it has, as far as the socket and the budget go, and nothing else.
    pub fn flush(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        // Each round spends bytes of the budget, but for the last.
        while self.flush_once(cx) && self.cause().is_none() {}
        match self.cause() {
            Some(_) => Verdict::Close,
            None if cx.budget.bytes == 0 => Verdict::Again,
            None => Verdict::Wait,
        }
    }

    /// Answers 503 to a connection that has just been accepted, and ends it. Pump it then.
    pub fn reject_overloaded(&mut self, cx: &mut Context<'_, S>) {
        let sentence = "there are too many connections, try again in a moment";
        let refusal = Refusal::overloaded(sentence);
        self.change_mode(cx, |mode, input, cx| mode.reject(refusal, input, cx));
    }

    /// Since when nothing has been going on here, if nothing is, and nothing is known to have come.
    pub fn idle_since(&self) -> Option<Instant> {
        let empty = self.read_buffer.is_empty() && self.write_buffer.is_empty();
        let still = empty && !self.eof && self.transport.is_drained() && !self.evict;
        self.mode.wants().idle_since.filter(|_| still)
    }

    /// Tells it that others need the room: the next pump ends it, if nothing has come by then.
    pub fn evict_if_idle(&mut self) {
        self.evict = true;
    }

    /// Why it was closed, if it is.
    pub fn cause(&self) -> Option<Cause> {
        match self.mode {
            Mode::Closed(cause) => Some(cause),
            _ => None,
        }
    }

    /// Writes once, or ends our direction when all is written and the mode wants it.
    fn flush_once(&mut self, cx: &mut Context<'_, S>) -> bool {
        if self.write_buffer.is_empty() {
            if !self.mode.wants().fin {
                return false;
            }
            match self.transport.finish_write() {
                Ok(()) => self.mode.fin_sent(cx.now.instant),
                Err(_) => self.fail(Cause::Failed, cx),
            }
            return true;
        }
        if cx.budget.bytes == 0 {
            return false;
        }
        // Not what is left of the budget: a file would be cut a little before each end of a piece
        // for ever after, because of the head that went first.
        let limit = cx.limits.turn_bytes;
        match self.write_buffer.flush(&mut self.transport, limit, cx.pool) {
            Io::Done(n) => {
                cx.budget.spend_bytes(n);
                self.output.add(n, cx.now.instant);
                if self.write_buffer.is_empty() {
                    self.output = StallClock::new(cx.now.instant);
                    self.all_sent(cx);
                }
                true
            }
            Io::Blocked => false,
            Io::Eof | Io::Failed(_) => {
                self.fail(Cause::Failed, cx);
                true
            }
        }
    }

    /// The last byte of output has left. A body that ends with it is done now, not in a step that the budget
    /// may put off: the peer can know.
    fn all_sent(&mut self, cx: &mut Context<'_, S>) {
        if self.mode.wants().end_when_sent {
            self.change_mode(cx, |mode, _, cx| mode.all_sent(cx));
        }
    }

    /// Gives up at once.
    fn fail(&mut self, cause: Cause, cx: &mut Context<'_, S>) {
        let mode = mem::replace(&mut self.mode, Mode::Closed(cause));
        cx.transitions.note(mode.name(), ModeName::Closed);
        self.mode = mode.fail(self.key, cause, self.write_buffer.queued(), cx);
        self.write_buffer.release(cx.pool);
    }

    /// When this connection must be looked at although nothing has happened to it.
    pub fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let pending = !self.write_buffer.is_empty();
        let stalled = pending.then(|| self.output.last_progress() + limits.stall_time);
        let own = self
            .mode
            .deadline(self.output.last_progress(), pending, limits);
        stalled.into_iter().chain(own).min()
    }

    /// Tells it that its deadline has passed: the next pump acts on it.
    pub fn expire(&mut self, cx: &mut Context<'_, S>) {
        if !self.is_overdue(cx) {
            self.expired = true;
            return;
        }
        // The kernel tells of room only when a third of its buffer is free, which may be a megabyte
        // and minutes of a slow download. Whether the peer has taken anything, a write finds out.
        self.transport.mark(Ready {
            writable: true,
            ..Ready::default()
        });
        while self.is_overdue(cx) && self.flush_once(cx) {}
        // With the budget spent, nothing is found out yet: the next turn goes on.
        if self.is_overdue(cx) && cx.budget.bytes > 0 {
            self.fail(Cause::Stalled, cx);
        }
    }

    /// Whether output has not moved on for as long as is waited for it.
    fn is_overdue(&self, cx: &Context<'_, S>) -> bool {
        !self.write_buffer.is_empty()
            && self.output.last_progress() + cx.limits.stall_time <= cx.now.instant
    }

    /// Gives its buffers back, before it is dropped.
    pub fn release(&mut self, cx: &mut Context<'_, S>) {
        self.read_buffer.release(cx.pool);
        self.write_buffer.release(cx.pool);
        if self.cause().is_none() {
            self.fail(Cause::Failed, cx);
        }
    }

    /// The invariants that hold between turns; the simulation calls it after each one.
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

    /// Whether it holds a read buffer.
    pub fn holds_buffer(&self) -> bool {
        self.read_buffer.holds_buffer()
    }
}
