//! Floor 3, connection: one connection, the pump that moves its bytes, and the modes that decide.
//!
//! [`Connection::pump`] is the heart of the server and knows no protocol. The pump steps the mode,
//! which turns input into output; then the pump writes and reads. These rounds go on until no byte
//! moves or the [`Budget`](context::Budget) is spent. Everything about HTTP and WebSocket is in the
//! modes.
//!
//! Architecture invariant: a connection does not know other connections, the poll, or which files
//! and endpoints exist. An action on another connection is queued as an [`Effect`], which the
//! server carries out.
//!
//! Architecture invariant: a mode has no socket. The pump reads and writes; a mode sees a read
//! buffer and a write buffer.

mod answer;
mod cause;
pub(crate) mod context;
mod effect;
mod endpoint;
mod event;
mod exchange;
mod hub;
mod inputs;
mod key;
mod message;
pub(crate) mod mode;
mod output;
mod questions;
mod refusal;
mod relay;
mod request;
mod rooms;
mod session;
mod stall_clock;
mod timing;
mod trace;
mod why;

pub use answer::{Answer, FieldError};
pub use cause::{Cause, Counters};
pub use context::Now;
pub use endpoint::{Endpoint, Intake, Uptake};
pub use event::Event;
pub use hub::{Hub, Memory, NotTaken};
pub use key::Key;
pub use message::Message;
pub use mode::{ModeName, TRANSITIONS, Transitions};
pub use request::Request;
pub use session::{Full, Session};
pub use trace::{EffectKind, Moved, Ring, TraceRecord};
pub use why::{View, Why};

pub(crate) use context::{Context, Served, Shared, Tally, Turn};
pub(crate) use effect::{Audience, Effect, Effects, Wish};
pub(crate) use endpoint::Endpoints;
pub(crate) use exchange::{Conversation, Exchange, Handshake, Record};
pub(crate) use hub::{Alarms, OwedAnswers};
pub(crate) use message::{Broadcast, PlainFrame};
pub(crate) use mode::Mode;
pub(crate) use refusal::Refusal;
pub(crate) use relay::{Errand, NoAnswer, Piece, ReplyStage};
pub(crate) use rooms::Rooms;
pub(crate) use timing::{Stopwatch, Timing};
pub(crate) use why::Place;

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::site::Files;
use crate::transport::{FailedHandshake, Io, ReadBuffer, Transport, Wire, WriteBuffer};
use mode::{Step, Wanted};
use stall_clock::StallClock;

/// The input of a step: the facts and the buffers for the mode.
pub(crate) struct Input<'a, S: Files> {
    key: Key,
    peer: &'a SocketAddr,
    /// Bytes received from the peer and not consumed yet.
    read_buffer: &'a mut ReadBuffer,
    /// Bytes waiting to be sent to the peer.
    write_buffer: &'a mut WriteBuffer<S::File>,
    /// The write buffer has room for another answer.
    has_room: bool,
    /// When output last moved on, or began to wait.
    last_progress: Instant,
    /// The time in the writes of the last answer, if that is measured.
    write_time: Duration,
    /// The peer has ended its direction: the bytes in the read buffer are the last.
    eof: bool,
    /// What the connection speaks below HTTP.
    wire: Wire,
    /// The last read found that the kernel holds no more bytes.
    drained: bool,
    /// An event has reported that the peer has closed its direction, or that the connection has failed. Bytes
    /// may be before the end.
    peer_closed: bool,
    /// The peer expects to be [told of the end](Transport::announces_end).
    announces_end: bool,
    /// The mode's deadline has passed.
    expired: bool,
    /// Another connection needs this slot: end, unless a request is in flight.
    evict: bool,
    /// Other connections wait for a slot: the next answer is the last.
    gives_way: bool,
}

/// The next action of the server for a connection, after a pump.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// No byte can move until an event or a deadline: wait for either.
    Wait,
    /// The connection has used up its share of the turn: pump again in the next turn.
    Again,
    /// The queue of effects is full, and this connection has added no effect: pump in the next
    /// turn, before the connections that have added effects.
    Throttled,
    /// The connection is closed: drop it.
    Close,
}

/// The result of the steps of a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stepped {
    /// No step did anything.
    Nothing,
    /// At least one step did something, and the mode waits for input or output.
    Something,
    /// All input is handled: only new input can make another step possible.
    Everything,
    /// Input is left over because the queue of effects is full.
    Throttled,
}

/// A connection: a socket, a read buffer, a write buffer and a mode.
///
/// The methods are of three kinds:
///
/// - *inputs* report an event to the connection: [`mark`](Connection::mark),
///   [`expire`](Connection::expire), [`evict_if_idle`](Connection::evict_if_idle),
///   [`give_way`](Connection::give_way), [`cut_off`](Connection::cut_off),
///   [`end_for_memory`](Connection::end_for_memory),
///   [`reject_overloaded`](Connection::reject_overloaded),
///   [`carry_out`](Connection::carry_out),
///   [`enqueue_broadcast`](Connection::enqueue_broadcast);
/// - *drivers* move bytes: [`fill`](Connection::fill) reads once, [`pump`](Connection::pump) steps,
///   writes and reads, [`flush`](Connection::flush) only writes; [`release`](Connection::release)
///   gives the buffers back at the end;
/// - *questions* change nothing: [`deadline`](Connection::deadline),
///   [`idle_since`](Connection::idle_since), [`why`](Connection::why), [`cause`](Connection::cause)
///   and others.
///
/// The legal order of calls in one turn: inputs in any order, then `fill` at most once, then
/// `pump`. After `enqueue_broadcast` a `flush` is enough. After a driver has returned a
/// [`Verdict`], ask for the `deadline`. Call `release` once, before the connection is dropped.
pub(crate) struct Connection<S: Files, T: Transport<File = S::File>> {
    key: Key,
    peer: SocketAddr,
    transport: T,
    read_buffer: ReadBuffer,
    write_buffer: WriteBuffer<S::File>,
    mode: Mode<S>,
    /// The number of bytes that the account is charged for the transport.
    charged: usize,
    /// The peer has ended its direction, and every byte before the end was read.
    eof: bool,
    /// A deadline has passed, and the next step must learn of it.
    expired: bool,
    /// Another connection needs this slot, and the next step must learn of it.
    evict: bool,
    /// Other connections wait for a slot, and the next answer is the last.
    gives_way: bool,
    /// When output last moved on, or began to wait.
    output: StallClock,
    /// The number of bytes received so far.
    received: u64,
    /// The number of bytes handed to the kernel so far.
    sent: u64,
    /// The time in the writes of the last answer, if that is measured.
    write_time: Duration,
    /// The number of answers that have begun and are not sent whole.
    answers: u32,
    /// The connection has failed while a request had no whole answer.
    interrupted: bool,
    /// The mode before `Lingering`.
    left: ModeName,
    /// The beginning of the turn in which the first of these was asked for.
    asked_at: Instant,
    /// The record of an answer that was queued whole and is not sent whole, and the number of bytes that
    /// are sent when the answer is.
    unsent: Option<(u64, Box<Exchange>)>,
}

impl<S: Files, T: Transport<File = S::File>> Connection<S, T> {
    /// Creates the state of a newly accepted connection.
    pub fn new(key: Key, transport: T, peer: SocketAddr, now: Instant) -> Connection<S, T> {
        Connection {
            key,
            peer,
            transport,
            read_buffer: ReadBuffer::default(),
            write_buffer: WriteBuffer::default(),
            mode: Mode::first(now),
            charged: 0,
            eof: false,
            expired: false,
            evict: false,
            gives_way: false,
            output: StallClock::new(now),
            received: 0,
            sent: 0,
            write_time: Duration::ZERO,
            answers: 0,
            interrupted: false,
            left: ModeName::ReadingHead,
            asked_at: now,
            unsent: None,
        }
    }

    /// Creates the state of a connection to a backend, which is about to be made.
    pub fn to_backend(key: Key, transport: T, peer: SocketAddr, turn: &Turn) -> Connection<S, T> {
        let now = turn.now.instant;
        Connection {
            mode: Mode::to_backend(now, &turn.limits),
            ..Connection::new(key, transport, peer, now)
        }
    }

    /// Returns the socket, for questions to the driver.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// Returns the address of the peer.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Returns the socket, for registration with the poll.
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }
}

/// The drivers.
impl<S: Files, T: Transport<File = S::File>> Connection<S, T> {
    /// Reads once, if the mode wants input and the kernel may hold some. Returns whether anything
    /// changed.
    #[inline]
    pub fn fill(&mut self, cx: &mut Context<'_, S>) -> bool {
        !self.transport.is_drained() && self.read(cx)
    }

    /// Reads once from a socket that is not drained. A function of its own: after most pumps, the socket
    /// is drained.
    #[inline(never)]
    fn read(&mut self, cx: &mut Context<'_, S>) -> bool {
        let wanted = self.wanted_bytes(cx.turn, cx.shared);
        if !self.takes_input(wanted) {
            return false;
        }
        let spare = self.read_buffer.spare(&mut cx.shared.pool);
        let limit = spare.len().min(cx.budget.bytes).min(wanted);
        let had_own = self.transport.wants_write();
        let moved = self.transport.read(&mut spare[..limit]);
        self.charge_transport(cx);
        if self.transport.wants_write() && !had_own && self.write_buffer.is_empty() {
            self.output = StallClock::new(cx.turn.now.instant);
        }
        match moved {
            Io::Done(n) => {
                self.note_read(Moved::Bytes(n as u64), cx);
                cx.tally.counters.received_bytes += n as u64;
                self.received += n as u64;
                self.read_buffer.filled(n);
                cx.budget.spend_bytes(n);
                return true;
            }
            Io::Blocked => {
                self.note_read(Moved::Blocked, cx);
                self.read_buffer.shrink(&mut cx.shared.pool);
                return false;
            }
            Io::Eof => {
                self.note_read(Moved::End, cx);
                self.eof = true;
            }
            Io::Failed(error) => {
                self.note_read(Moved::Failed, cx);
                self.io_failed(&error, false, cx);
            }
        }
        self.read_buffer.shrink(&mut cx.shared.pool);
        true
    }

    /// Moves the connection as far as possible within the budget of one turn.
    pub fn pump(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        let effects = cx.shared.effects.len();
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
                // The peer may have sent these bytes after a change of a file. A request in these
                // bytes therefore needs a new look at the file, even if the file was checked
                // earlier in the turn.
                cx.shared.site.begin_epoch();
                progressed = true;
            } else if stepped == Stepped::Everything && !self.has_output() {
                // Another round would move nothing. Skipping that round saves half the instructions
                // of an echo (measured).
                progressed = false;
            }
            if !progressed {
                self.settle_input(cx);
                return match stepped {
                    Stepped::Throttled if cx.shared.effects.len() > effects => Verdict::Again,
                    Stepped::Throttled => Verdict::Throttled,
                    Stepped::Nothing | Stepped::Something | Stepped::Everything => Verdict::Wait,
                };
            }
            cx.budget.rounds -= 1;
        }
    }

    /// Writes the waiting output as far as the socket and the budget allow, and does nothing else.
    pub fn flush(&mut self, cx: &mut Context<'_, S>) -> Verdict {
        // The loop ends, because each round but the last spends bytes of the budget.
        while self.flush_once(cx) && self.cause().is_none() {}
        match self.cause() {
            Some(_) => Verdict::Close,
            None if cx.budget.bytes == 0 => Verdict::Again,
            None => Verdict::Wait,
        }
    }

    /// Adds the system calls that were made for the connection to the counters.
    #[inline]
    pub fn count_calls(&mut self, cx: &mut Context<'_, S>) {
        cx.tally.counters.add_calls(self.transport.take_calls());
    }

    /// Gives the buffers back to the pool. Must be called once, before the connection is dropped.
    pub fn release(&mut self, cx: &mut Context<'_, S>) {
        self.read_buffer.release(&mut cx.shared.pool);
        self.write_buffer.release(&mut cx.shared.pool);
        self.charge_memory(0, cx);
        if self.cause().is_none() {
            self.fail(Cause::Failed, cx);
        }
        self.log_unsent(cx);
    }

    /// Whether output waits, or bytes that the transport holds.
    fn has_output(&self) -> bool {
        !self.write_buffer.is_empty() || self.transport.wants_write()
    }

    /// Returns how many bytes may be read at once now, at most.
    #[inline(always)]
    fn wanted_bytes(&self, turn: &Turn, shared: &Shared<S>) -> usize {
        if self.transport.is_opening() {
            return usize::MAX;
        }
        match self.mode.wants().input {
            Wanted::WithRoom
                if self
                    .write_buffer
                    .has_room(shared.write_buffer_high(&turn.limits)) =>
            {
                shared.read_ahead_max(&turn.limits)
            }
            Wanted::Never | Wanted::WithRoom => 0,
            Wanted::Always => usize::MAX,
        }
    }

    /// Whether a read may be tried, with the [wanted](Connection::wanted_bytes) number of bytes.
    fn takes_input(&self, wanted: usize) -> bool {
        wanted > 0 && !self.eof && !self.read_buffer.is_full()
    }

    /// Gives the read buffer back, or keeps its bytes in less memory. Many bytes stay where they are if
    /// more are to be read next.
    fn settle_input(&mut self, cx: &mut Context<'_, S>) {
        self.read_buffer.shrink(&mut cx.shared.pool);
        if self.read_buffer.is_empty() {
            return;
        }
        if self.wanted_bytes(cx.turn, cx.shared) == 0
            || self.eof
            || cx.shared.pool.account().is_tight()
        {
            self.read_buffer.settle(&mut cx.shared.pool);
        }
    }

    /// Steps the mode until the mode waits for something, or the budget of steps is spent.
    fn step_mode(&mut self, cx: &mut Context<'_, S>) -> Stepped {
        let waiting = !self.write_buffer.is_empty();
        let mut stepped = Stepped::Nothing;
        while cx.budget.has_steps() {
            let from = self.mode.name();
            let (mode, mut input) = self.split(cx);
            match mode.step(&mut input, cx) {
                Step::Progress(()) => {
                    self.moved_on(from, cx);
                    stepped = Stepped::Something;
                }
                Step::Handled(()) => {
                    self.moved_on(from, cx);
                    stepped = Stepped::Everything;
                    break;
                }
                Step::NeedInput(()) => {
                    stepped = Stepped::Everything;
                    break;
                }
                Step::Blocked(()) => break,
                Step::Throttled(()) => {
                    stepped = Stepped::Throttled;
                    break;
                }
            }
        }
        if !waiting && !self.write_buffer.is_empty() {
            self.output = StallClock::new(cx.turn.now.instant);
        }
        stepped
    }

    /// Notes a step that did something.
    #[inline(always)]
    fn moved_on(&mut self, from: ModeName, cx: &mut Context<'_, S>) {
        self.changed(from, self.mode.name(), cx);
        cx.budget.spend_step();
    }

    /// Returns the mode, and the input of a step.
    #[inline(always)]
    fn split(&mut self, cx: &Context<'_, S>) -> (&mut Mode<S>, Input<'_, S>) {
        let input = Input {
            key: self.key,
            peer: &self.peer,
            has_room: self.write_buffer.has_room(cx.write_buffer_high()),
            last_progress: self.output.last_progress(),
            read_buffer: &mut self.read_buffer,
            write_buffer: &mut self.write_buffer,
            write_time: self.write_time,
            eof: self.eof,
            wire: self.transport.wire(),
            drained: self.transport.is_drained(),
            peer_closed: self.transport.ready().peer_closed,
            announces_end: self.transport.announces_end(),
            expired: mem::take(&mut self.expired),
            evict: mem::take(&mut self.evict),
            gives_way: self.gives_way,
        };
        (&mut self.mode, input)
    }

    /// Notes a change that the mode has made itself.
    #[inline]
    fn changed(&mut self, from: ModeName, to: ModeName, cx: &mut Context<'_, S>) {
        if to as u8 >= ModeName::Lingering as u8 {
            self.ends(from, to);
        }
        self.note_change(from, to, cx);
    }

    /// Notes a change of the mode, and the answer that came with it.
    #[inline]
    fn note_change(&mut self, from: ModeName, to: ModeName, cx: &mut Context<'_, S>) {
        let key = self.key;
        let status = mem::take(&mut cx.tally.answered);
        if from == ModeName::ReadingHead && self.answers == 0 {
            self.asked_at = cx.turn.now.instant;
        }
        // A change to WebSocket (101) is no answer that ends.
        if status >= 200 {
            self.answers += 1;
            self.write_time = Duration::ZERO;
        }
        cx.tally.transitions.note(from, to, key);
        cx.tally.ring.push(TraceRecord::Step {
            key,
            from,
            to,
            status,
        });
    }

    /// Notes that the mode has ended the connection.
    #[cold]
    fn ends(&mut self, from: ModeName, to: ModeName) {
        if to == ModeName::Lingering {
            self.left = from;
        } else if from == ModeName::Forwarding {
            // A FIN would be the end of a whole answer (RFC 9112 §8).
            self.transport.reset_at_close();
        }
    }

    /// Changes the mode from outside the pump.
    fn change_mode(
        &mut self,
        cx: &mut Context<'_, S>,
        change: impl FnOnce(Mode<S>, &mut Input<'_, S>, &mut Context<'_, S>) -> Mode<S>,
    ) {
        if self.cause().is_some() {
            // It has ended, and waits to be removed.
            return;
        }
        let from = self.mode.name();
        let (mode, mut input) = self.split(cx);
        let next = change(mode.take_out(), &mut input, cx);
        mode.put_in(next);
        self.changed(from, self.mode.name(), cx);
        self.output.renew(cx.turn.now.instant);
    }

    #[inline(always)]
    fn note_read(&self, moved: Moved, cx: &mut Context<'_, S>) {
        let key = self.key;
        cx.tally.ring.push(TraceRecord::Read { key, moved });
    }

    /// Acts on the error of a read or a write. Waiting output is lost.
    #[cold]
    fn io_failed(&mut self, error: &io::Error, is_write: bool, cx: &mut Context<'_, S>) {
        if self.cause().is_some() {
            // A mode has closed by itself, and the last write has failed: the connection keeps its cause.
            return self.write_buffer.release(&mut cx.shared.pool);
        }
        let Mode::Upstream(mode) = &mut self.mode else {
            // No byte of HTTP has come: the handshake has failed, or its end was not accepted.
            return match FailedHandshake::of(error).filter(|_| self.received == 0) {
                Some(failed) => self.handshake_failed(failed, cx),
                None => self.fail(Cause::of(error), cx),
            };
        };
        mode.io_failed(error, is_write, self.write_buffer.is_empty());
        self.write_buffer.release(&mut cx.shared.pool);
        self.eof |= !is_write;
    }

    /// Gives up a connection whose handshake has failed, and tells the log. The line is there although no
    /// request is: the user of a client sees little more than that the connection has ended.
    fn handshake_failed(&mut self, failed: &FailedHandshake, cx: &mut Context<'_, S>) {
        if cx.tally.is_logging {
            cx.tally.log(Record::Handshake(Box::new(Handshake {
                key: self.key,
                peer: self.peer,
                began: self.asked_at,
                failed: failed.clone(),
            })));
        }
        self.fail(Cause::Handshake, cx);
    }

    /// Gives up at once. Waiting output is lost.
    fn fail(&mut self, cause: Cause, cx: &mut Context<'_, S>) {
        if self.cause().is_some() {
            // The mode has closed by itself, with output that was to be written still.
            return;
        }
        self.interrupted |= self.mode.owes_answer() || self.answers > 0;
        if self.mode.ends_answer_with_connection() {
            // A FIN would be the end of a whole answer (RFC 9112 §8).
            self.transport.reset_at_close();
        }
        let logged = cx.tally.records.len();
        let waits_for = match cx.tally.is_logging {
            true => Some(self.why(Place::Nowhere, cx.turn, cx.shared)),
            false => None,
        };
        let mode = mem::replace(&mut self.mode, Mode::Closed(cause));
        self.note_change(mode.name(), ModeName::Closed, cx);
        self.log_unsent(cx);
        self.mode = mode.fail(self.key, cause, self.write_buffer.queued(), cx);
        if let Some(why) = waits_for {
            cx.tally
                .explain(logged, format_args!("{}; {why}", cause.words()));
        }
        self.write_buffer.release(&mut cx.shared.pool);
    }
}
