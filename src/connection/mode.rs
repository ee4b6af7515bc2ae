//! Floor 4, connection: what a connection is doing, and every way from one such mode to another.
//!
//! ```text
//!              small answer
//!               ┌──────┐
//!               ▼      │   large answer
//!   accepted ─▶ Reading ──────────────────▶ Streaming ─┐ next slice
//!               │  ▲  └───────────────────────┘  │  ▲──┘
//!               │  └───── all of it sent ────────┘
//!               │ last answer, refusal,          │ all of it sent,
//!               │ end of file, deadline, stop    │ no further request wanted
//!               ▼                                ▼
//!            Lingering ◀─────────────────────────┘
//!               │ peer closed, or nothing of it can be lost
//!               ▼
//!             Closed ◀── from every mode: the transport failed, the peer stalled
//! ```
//!
//! Each mode is a struct with private fields, and a transition is a method that takes one by value
//! and returns the next: one that is not in this file cannot be written. [`TRANSITIONS`] says the
//! same as a table, and the simulation holds the code against it.
//!
//! A mode has no socket in reach. It is told what there is ([`Input`]), and what it wants to say it
//! appends to the outbox. An end of file, a deadline and a stop request are inputs like bytes.
//!
//! **Why a connection lingers.** Closing a socket with unread input sends a reset, and a reset
//! makes the peer's kernel throw away what it has received and not yet read: the answer. (Measured:
//! 3.8 of 3.9 MB lost.) So, unless nothing can be unread, we end our direction, go on reading for a
//! bounded while, and close when the peer has closed. Where nothing can be unread, that would cost
//! two system calls for nothing.

use std::rc::Rc;
use std::time::Instant;

use super::{Context, Exchange, Input};
use crate::config::Limits;
use crate::http::{
    Framing, Head, HeadError, HeadParser, Method, Parsed, Persistence, RequestHead, Status,
    Version, explain, finish_head,
};
use crate::site::{Body, Files, Reply};

/// What a connection is doing. `F` is the transport's kind of file.
#[derive(Debug)]
pub enum Mode<F> {
    /// Waiting for a request, or receiving the head of one.
    Reading(Reading),
    /// Sending a large body, slice by slice.
    Streaming(Streaming<F>),
    /// Done: sending what is left, then waiting until closing can lose nothing.
    Lingering(Lingering),
    /// To be dropped.
    Closed,
}

// One mode is moved with each step; a large one would show (a 528-byte mode was measured to cost
// 4 to 15 %). Whatever is big and rare is boxed.
const _: () = assert!(size_of::<Mode<std::fs::File>>() <= 64);

/// The modes by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "they are the variants of Mode")]
pub enum ModeName {
    Reading,
    Streaming,
    Lingering,
    Closed,
}

/// Every legal transition, and what brings it about.
pub const TRANSITIONS: &[(ModeName, ModeName, &str)] = {
    use ModeName::{Closed, Lingering, Reading, Streaming};
    &[
        (Reading, Reading, "a small answer was queued whole"),
        (Reading, Streaming, "an answer with a large body was begun"),
        (
            Reading,
            Lingering,
            "the last answer, a refusal, the end of file, a deadline or a stop",
        ),
        (Reading, Closed, "the transport failed, or the peer stalled"),
        (Streaming, Streaming, "another slice was queued"),
        (Streaming, Reading, "all was sent"),
        (
            Streaming,
            Lingering,
            "all was sent, and it was the last answer",
        ),
        (
            Streaming,
            Closed,
            "the transport failed, or the peer stalled",
        ),
        (
            Lingering,
            Closed,
            "the peer closed, nothing could be lost, or patience ended",
        ),
    ]
};

/// A set of observed transitions, one bit for each pair.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Transitions(u16);

impl Transitions {
    pub(super) fn note(&mut self, from: ModeName, to: ModeName) {
        self.0 |= Transitions::bit(from, to);
    }

    /// Whether the pair was observed.
    pub fn has(self, from: ModeName, to: ModeName) -> bool {
        self.0 & Transitions::bit(from, to) != 0
    }

    /// Adds what another server observed.
    pub fn add(&mut self, other: Transitions) {
        self.0 |= other.0;
    }

    fn bit(from: ModeName, to: ModeName) -> u16 {
        1 << (from as u16 * 4 + to as u16)
    }
}

/// What a step came to.
pub(super) enum Step<F> {
    /// Something was consumed, queued or decided: step again.
    Moved(Mode<F>),
    /// Nothing can be done until more comes in or goes out.
    Still(Mode<F>),
}

impl<F> Mode<F> {
    /// The mode of a connection that was just accepted.
    pub fn first(now: Instant) -> Mode<F> {
        Mode::Reading(Reading::new(now))
    }

    /// The name.
    pub fn name(&self) -> ModeName {
        match self {
            Mode::Reading(_) => ModeName::Reading,
            Mode::Streaming(_) => ModeName::Streaming,
            Mode::Lingering(_) => ModeName::Lingering,
            Mode::Closed => ModeName::Closed,
        }
    }

    /// Turns input into output once.
    pub(super) fn step<S>(self, input: &mut Input<'_, F>, cx: &mut Context<'_, S>) -> Step<F>
    where
        S: Files<File = F>,
    {
        match self {
            Mode::Reading(mode) => mode.step(input, cx),
            Mode::Streaming(mode) => mode.step(input, cx),
            Mode::Lingering(mode) => mode.step(input, cx),
            Mode::Closed => Step::Still(Mode::Closed),
        }
    }

    /// Whether bytes should be read. Not wanting them is how a peer is held back: they stay in
    /// the kernel, and the TCP window closes. `room` says whether the outbox has any.
    pub(super) fn wants_input(&self, room: bool) -> bool {
        match self {
            Mode::Reading(_) => room,
            Mode::Streaming(_) => false,
            Mode::Lingering(_) => true,
            Mode::Closed => false,
        }
    }

    /// Whether our direction is to be ended, once the outbox is empty.
    pub(super) fn wants_fin(&self) -> bool {
        match self {
            Mode::Lingering(mode) => mode.shut.is_none(),
            Mode::Reading(_) | Mode::Streaming(_) | Mode::Closed => false,
        }
    }

    /// Notes that our direction has been ended.
    pub(super) fn fin_sent(&mut self, now: Instant) {
        match self {
            Mode::Lingering(mode) => (mode.shut, mode.heard) = (Some(now), now),
            Mode::Reading(_) | Mode::Streaming(_) | Mode::Closed => {
                unreachable!("only Lingering wants a FIN")
            }
        }
    }

    /// When this mode wants to be stepped although nothing has happened. `moved` is when output
    /// last moved, `pending` whether some is waiting: a peer that is receiving is not idle.
    pub(super) fn deadline(
        &self,
        moved: Instant,
        pending: bool,
        limits: &Limits,
    ) -> Option<Instant> {
        match self {
            Mode::Reading(mode) if mode.begun => Some(mode.since + limits.head_time),
            Mode::Reading(_) if pending => None,
            Mode::Reading(mode) => Some(mode.since.max(moved) + limits.idle_time),
            Mode::Streaming(_) => None,
            Mode::Lingering(mode) => mode
                .shut
                .map(|at| (at + limits.linger_time).min(mode.heard + limits.linger_idle_time)),
            Mode::Closed => None,
        }
    }

    /// Ends at once, whatever was going on, with `unsent` bytes still in the outbox.
    pub(super) fn fail<S>(self, unsent: u64, cx: &mut Context<'_, S>) -> Mode<F>
    where
        S: Files<File = F>,
    {
        if let Mode::Streaming(mode) = self
            && let Some(mut exchange) = mode.exchange
        {
            exchange.body_bytes = mode.at.saturating_sub(unsent);
            exchange.complete = false;
            cx.log_exchange(*exchange);
        }
        Mode::Closed
    }
}

// ── Reading ────────────────────────────────────────────────────────────────────────────────────

/// Waiting for a request, or receiving the head of one.
#[derive(Debug)]
pub struct Reading {
    /// Since when nothing has come, or, once a head was begun, since its first byte.
    since: Instant,
    begun: bool,
    /// What is known of a head that did not come whole.
    parser: Option<Box<HeadParser>>,
}

impl Reading {
    fn new(now: Instant) -> Reading {
        Reading {
            since: now,
            begun: false,
            parser: None,
        }
    }

    /// Reading → Reading: a small answer was queued whole.
    fn answered(self, now: Instant) -> Reading {
        Reading::new(now)
    }

    /// Reading → Streaming: the head of the answer was queued, the body follows.
    fn stream<F>(
        self,
        file: Rc<F>,
        len: u64,
        persistence: Persistence,
        exchange: Option<Box<Exchange>>,
    ) -> Streaming<F> {
        Streaming {
            file,
            at: 0,
            end: len,
            persistence,
            exchange,
        }
    }

    /// Reading → Lingering: no further request is wanted.
    fn hang_up(self, now: Instant, owed: bool) -> Lingering {
        Lingering::new(now, owed)
    }

    fn step<S: Files>(
        mut self,
        input: &mut Input<'_, S::File>,
        cx: &mut Context<'_, S>,
    ) -> Step<S::File> {
        if !input.outbox.has_room(cx.limits.outbox_high) {
            return Step::Still(Mode::Reading(self));
        }
        let bytes = input.inbox.bytes();
        if !bytes.is_empty() {
            match self.parse(bytes, cx) {
                Ok(Parsed::Complete(head)) => return Step::Moved(self.answer(&head, input, cx)),
                Ok(Parsed::Partial) => {}
                Err(error) => return Step::Moved(self.refuse(explain(error), input, cx)),
            }
        }
        if !self.begun && HeadParser::has_begun(bytes) {
            (self.begun, self.since) = (true, cx.now.instant);
        }
        match self.begun {
            true if input.eof => {
                Step::Moved(self.refuse(explain(HeadError::Incomplete), input, cx))
            }
            true if input.expired => {
                let timeout = (Status::RequestTimeout, "the request head took too long");
                Step::Moved(self.refuse(timeout, input, cx))
            }
            false if input.eof || input.expired || cx.stopping => {
                Step::Moved(Mode::Lingering(self.hang_up(cx.now.instant, false)))
            }
            _ => Step::Still(Mode::Reading(self)),
        }
    }

    /// Parses on. A head that comes whole, as nearly all do, needs no allocation.
    fn parse<S: Files>(&mut self, bytes: &[u8], cx: &Context<'_, S>) -> Result<Parsed, HeadError> {
        if let Some(parser) = &mut self.parser {
            return parser.parse(bytes, &cx.head_limits);
        }
        let mut parser = HeadParser::default();
        let parsed = parser.parse(bytes, &cx.head_limits)?;
        if matches!(parsed, Parsed::Partial) {
            self.parser = Some(Box::new(parser));
        }
        Ok(parsed)
    }

    /// Answers the request at the front of the inbox and consumes it.
    fn answer<S: Files>(
        self,
        head: &Head,
        input: &mut Input<'_, S::File>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S::File> {
        let request = RequestHead::new(head, input.inbox.bytes());
        // A body that is refused is still on its way: what follows is not a request.
        let (reply, owed) = match request.framing() {
            Framing::None => (cx.site.answer(&request, cx.now.wall), false),
            Framing::Length(_) => (
                Reply::plain(Status::ContentTooLarge, "requests with a body are refused"),
                true,
            ),
            Framing::Chunked => (
                Reply::plain(
                    Status::LengthRequired,
                    "requests with a body are refused, chunked ones too",
                ),
                true,
            ),
        };
        let persistence = match request.wants_persistence() && !owed && !cx.stopping {
            true => Persistence::KeepAlive,
            false => Persistence::Close,
        };
        cx.budget.spend_steps(reply.effort - 1);
        input.outbox.append(cx.pool, |out| {
            out.extend_from_slice(&reply.head);
            finish_head(out, cx.date, request.version(), persistence);
        });
        let sends_body = request.method() != Method::Head && !reply.body.is_empty();
        let sent = if sends_body { reply.body.len() } else { 0 };
        let exchange = cx.exchange(input, Some(&request), reply.status, sent);
        input.inbox.consume(head.end());
        match reply.body {
            Body::File { file, len } if sends_body => {
                let exchange = exchange.map(Box::new);
                return Mode::Streaming(self.stream(file, len, persistence, exchange));
            }
            Body::Bytes(bytes) if sends_body => input.outbox.push_shared(&bytes, cx.pool),
            Body::Bytes(_) | Body::File { .. } => {}
        }
        if let Some(exchange) = exchange {
            cx.log_exchange(exchange);
        }
        match persistence {
            Persistence::KeepAlive => Mode::Reading(self.answered(cx.now.instant)),
            Persistence::Close => Mode::Lingering(self.hang_up(cx.now.instant, owed)),
        }
    }

    /// Answers bytes that are no request, or not in time, and gives up on what follows.
    fn refuse<S: Files>(
        self,
        (status, sentence): (Status, &str),
        input: &mut Input<'_, S::File>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S::File> {
        let reply: Reply<S::File> = Reply::plain(status, sentence);
        input.outbox.append(cx.pool, |out| {
            out.extend_from_slice(&reply.head);
            finish_head(out, cx.date, Version::Http11, Persistence::Close);
            if let Body::Bytes(bytes) = &reply.body {
                out.extend_from_slice(bytes);
            }
        });
        if let Some(exchange) = cx.exchange(input, None, status, reply.body.len()) {
            cx.log_exchange(exchange);
        }
        Mode::Lingering(self.hang_up(cx.now.instant, true))
    }
}

// ── Streaming ──────────────────────────────────────────────────────────────────────────────────

/// Sending a file. It goes to the outbox slice by slice, each only when there is room.
#[derive(Debug)]
pub struct Streaming<F> {
    file: Rc<F>,
    /// Offset of the next slice.
    at: u64,
    end: u64,
    persistence: Persistence,
    /// To be logged at the end.
    exchange: Option<Box<Exchange>>,
}

impl<F> Streaming<F> {
    /// Streaming → Reading: all was sent.
    fn finish(self, now: Instant) -> Reading {
        Reading::new(now)
    }

    /// Streaming → Lingering: all was sent, and it was the last answer.
    fn hang_up(self, now: Instant) -> Lingering {
        Lingering::new(now, false)
    }

    fn step<S>(mut self, input: &mut Input<'_, F>, cx: &mut Context<'_, S>) -> Step<F>
    where
        S: Files<File = F>,
    {
        if self.at < self.end {
            if !input.outbox.has_room(cx.limits.outbox_high) {
                return Step::Still(Mode::Streaming(self));
            }
            let len = (self.end - self.at).min(cx.limits.turn_bytes as u64);
            input.outbox.push_file(Rc::clone(&self.file), self.at, len);
            self.at += len;
            return Step::Moved(Mode::Streaming(self));
        }
        // It ends when the last byte has left, so that the log tells the truth about it.
        if !input.outbox.is_empty() {
            return Step::Still(Mode::Streaming(self));
        }
        if let Some(exchange) = self.exchange.take() {
            cx.log_exchange(*exchange);
        }
        Step::Moved(match self.persistence {
            Persistence::KeepAlive => Mode::Reading(self.finish(cx.now.instant)),
            Persistence::Close => Mode::Lingering(self.hang_up(cx.now.instant)),
        })
    }
}

// ── Lingering ──────────────────────────────────────────────────────────────────────────────────

/// Sending what is left, then waiting until closing can lose nothing.
#[derive(Debug)]
pub struct Lingering {
    /// When our direction was ended.
    shut: Option<Instant>,
    /// When the peer last sent something.
    heard: Instant,
    /// How much was thrown away.
    discarded: usize,
    /// The peer may be in the middle of sending: what is not there yet may still come.
    owed: bool,
}

impl Lingering {
    fn new(now: Instant, owed: bool) -> Lingering {
        Lingering {
            shut: None,
            heard: now,
            discarded: 0,
            owed,
        }
    }

    fn step<S: Files>(
        mut self,
        input: &mut Input<'_, S::File>,
        cx: &mut Context<'_, S>,
    ) -> Step<S::File> {
        let discarded = input.inbox.discard();
        if discarded > 0 {
            self.heard = cx.now.instant;
            self.discarded += discarded;
        }
        let sent = input.outbox.is_empty();
        // After an end of file, or with nothing to read and nothing owed, a close is not a reset.
        let safe = match self.shut {
            Some(_) => input.eof,
            None => sent && (input.eof || (input.drained && !self.owed)),
        };
        let impatient = self.discarded > cx.limits.linger_bytes_max || input.expired;
        match safe || impatient {
            true => Step::Moved(Mode::Closed),
            false if discarded > 0 => Step::Moved(Mode::Lingering(self)),
            false => Step::Still(Mode::Lingering(self)),
        }
    }
}
