//! Floor 4, connection: a WebSocket connection (RFC 6455), from its opening handshake to its last frame.
//!
//! Frames are taken apart where they lie in the read buffer. A message that came whole, in one frame, goes to
//! its endpoint from there; what comes in pieces is gathered, inflated on the way if need be. The answer
//! is appended to the write buffer at once, so that whatever one read has brought is answered by one write.
//!
//! Back-pressure is the pump's: without room in the write buffer nothing is dealt with, pings neither, so
//! nothing is read, and the peer's window closes. Meanwhile the peer is not expected to prove that it is
//! alive, since its pong might be among what we do not read.

use std::time::Instant;

use super::pending_response::PendingResponse;
use super::{Lingering, Mode, Step, Wanted, Wants};
use crate::config::Limits;
use crate::connection::endpoint::{Endpoint, Hub, RouteMatch, Session};
use crate::connection::stall_clock::StallClock;
use crate::connection::{Broadcast, Cause, Context, Effect, Input, Key, Message};
use crate::site::{Files, Mount};
use crate::transport::{Pool, WriteBuffer};
use crate::websocket::deflate::{Deflate, Inflated, Inflater};
use crate::websocket::{
    Accept, Close, CloseCode, FrameEvent, FramePart, MessageKind, Opcode, Reader, ReaderConfig,
    Violation, write_frame,
};

/// A WebSocket connection.
#[derive(Debug)]
pub(crate) struct WebSocket {
    // Boxed: one allocation for each, and a small Mode.
    state: Box<State>,
}

/// What is known of the peer.
#[derive(Debug)]
struct State {
    endpoint: u16,
    deflate: Option<Deflate>,
    reader: Reader,
    /// What has come of a message that did not come whole, in storage of the pool's.
    partial_message: Vec<u8>,
    /// Boxed: it is rare that a message is on its way, and hundreds of bytes.
    inflating: Option<Box<Inflating>>,
    /// The newest ping that is not answered.
    ping: Option<Box<[u8]>>,
    /// When something last came.
    last_received: Instant,
    /// When it was asked whether it is still there.
    pinged: Option<Instant>,
    /// Nothing is read because of back-pressure, or the endpoint says nothing because of it.
    paused: bool,
}

/// A compressed message on its way.
#[derive(Debug)]
struct Inflating {
    inflater: Inflater,
    kind: MessageKind,
    /// Bytes at the front of the read buffer that are to be inflated.
    compressed_len: usize,
    /// They are the last of the message.
    last: bool,
    /// They are not done.
    unfinished: bool,
}

/// How it ends.
struct ClosePlan {
    cause: Cause,
    /// The close frame that is still to be sent.
    close: Option<(Option<CloseCode>, &'static str)>,
    /// The code by which the endpoint is told.
    code: Option<CloseCode>,
    /// The peer may still be sending.
    must_linger: bool,
}

impl ClosePlan {
    /// We close it.
    fn ours(cause: Cause, code: CloseCode, reason: &'static str) -> ClosePlan {
        ClosePlan {
            cause,
            close: Some((Some(code), reason)),
            code: Some(code),
            must_linger: true,
        }
    }
}

impl From<Violation> for ClosePlan {
    fn from(violation: Violation) -> ClosePlan {
        ClosePlan::ours(Cause::Refused, violation.close_code(), violation.reason())
    }
}

/// The way in.
impl WebSocket {
    /// The opening handshake is answered and the endpoint told. What the endpoint sends then comes right
    /// behind.
    pub(super) fn after<S: Files>(
        pending: PendingResponse,
        accept: &Accept,
        mount: &Mount,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        pending.switch(accept, input, cx);
        let mut state = State {
            endpoint: mount.number,
            deflate: accept.deflate(),
            reader: Reader::default(),
            partial_message: Vec::new(),
            inflating: None,
            ping: None,
            last_received: cx.turn.now.instant,
            pinged: None,
            paused: false,
        };
        let (name, query) = (&mount.name, &mount.query);
        let closed = state.call(input.key, input.write_buffer, cx, |endpoint, session| {
            endpoint.on_open(session, RouteMatch { name, query });
        });
        let mode = WebSocket {
            state: Box::new(state),
        };
        match closed {
            Ok(()) => Mode::WebSocket(mode),
            Err(plan) => mode.end(plan, input, cx),
        }
    }
}

impl WebSocket {
    /// Pieces of messages that are dealt with in a step. A step has its price, which small messages would
    /// feel; and it must end, so that all connections have their turn.
    const FRAMES_PER_STEP: u32 = 16;

    pub(super) fn step<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<S> {
        let state = &mut *self.state;
        let mut progressed = state.answer_ping(input.write_buffer, &mut cx.shared.pool);
        if !input.has_room {
            state.paused = true;
            return match cx.turn.stopping {
                true => Step::Progress(self.end(stopping(), input, cx)),
                false => self.after_step(progressed),
            };
        }
        if std::mem::take(&mut state.paused) {
            state.pinged = state.pinged.map(|_| cx.turn.now.instant);
            let closed = state.call(input.key, input.write_buffer, cx, |endpoint, session| {
                endpoint.on_room(session);
            });
            if let Err(plan) = closed {
                return Step::Progress(self.end(plan, input, cx));
            }
        }
        for _ in 0..Self::FRAMES_PER_STEP {
            if cx.shared.effects.is_full(&cx.turn.limits)
                && cx.shared.endpoints.publishes(self.state.endpoint)
            {
                // No event announces that the queue has space again: the pump asks for another turn.
                return match progressed {
                    true => Step::Progress(Mode::WebSocket(self)),
                    false => Step::Throttled(Mode::WebSocket(self)),
                };
            }
            match self.state.next_frame(input, cx) {
                Ok(true) => progressed = true,
                Ok(false) => return self.quiet(input, cx),
                Err(plan) => return Step::Progress(self.end(plan, input, cx)),
            }
            if !input.write_buffer.has_room(cx.write_buffer_high()) || !cx.budget.has_steps() {
                break;
            }
        }
        Step::Progress(Mode::WebSocket(self))
    }

    fn after_step<S: Files>(self, progressed: bool) -> Step<S> {
        match progressed {
            true => Step::Progress(Mode::WebSocket(self)),
            false => Step::Blocked(Mode::WebSocket(self)),
        }
    }

    /// All that has come is dealt with, but for the beginning of something.
    fn quiet<S: Files>(mut self, input: &mut Input<'_, S>, cx: &mut Context<'_, S>) -> Step<S> {
        let state = &mut *self.state;
        let plan = if input.eof {
            // Without a close frame, which the RFC knows as 1006. It may still read what is queued.
            ClosePlan {
                cause: Cause::PeerClosed,
                close: None,
                code: None,
                must_linger: false,
            }
        } else if cx.turn.stopping {
            stopping()
        } else if state.holds_too_much(&cx.shared.pool) {
            no_memory()
        } else if input.expired && state.deadline(&cx.turn.limits) <= cx.turn.now.instant {
            if state.pinged.is_none() {
                state.pinged = Some(cx.turn.now.instant);
                let ping = |out: &mut Vec<u8>| write_frame(out, Opcode::Ping, false, &[]);
                input.write_buffer.append(&mut cx.shared.pool, ping);
                return Step::Progress(Mode::WebSocket(self));
            }
            ClosePlan::ours(Cause::Unresponsive, UNRESPONSIVE, "no pong has come")
        } else if state.ping.is_some() || state.paused {
            // A pong, or the endpoint, waits for other things to leave.
            return Step::Blocked(Mode::WebSocket(self));
        } else {
            return Step::NeedInput(Mode::WebSocket(self));
        };
        Step::Progress(self.end(plan, input, cx))
    }

    /// Takes a message for many. `false` if there is no room for it.
    pub(in crate::connection) fn enqueue_broadcast<F>(
        &mut self,
        broadcast: &Broadcast,
        write_buffer: &mut WriteBuffer<F>,
        cx: &mut Context<'_, impl Files>,
    ) -> bool {
        let queued = write_buffer.queued();
        if queued > 0 && queued + broadcast.frame_bytes() as u64 > cx.write_buffer_max() {
            return false;
        }
        let frame = broadcast.frame(
            self.state.deflate,
            &mut cx.shared.deflater,
            &mut cx.shared.pool,
            &cx.turn.limits,
        );
        write_buffer.push_charged(frame, &mut cx.shared.pool);
        true
    }

    /// The peer does not take what is said to it: it loses its place.
    pub(super) fn close_slow_consumer<S: Files>(
        self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let (code, reason) = (CloseCode::TRY_AGAIN_LATER, "too much is waiting to be read");
        self.end(ClosePlan::ours(Cause::Stalled, code, reason), input, cx)
    }

    fn end<S: Files>(
        self,
        plan: ClosePlan,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        if let Some((code, reason)) = plan.close {
            let close = Close { code, reason };
            input
                .write_buffer
                .append(&mut cx.shared.pool, |out| close.write(out));
        }
        self.abandon(input.key, plan.code, cx);
        let now = cx.turn.now.instant;
        Mode::Lingering(Lingering::after(plan.cause, plan.must_linger, now))
    }

    /// It is over: what is held is given back, and whom it concerns is told.
    pub(super) fn abandon<S: Files>(
        self,
        key: Key,
        code: Option<CloseCode>,
        cx: &mut Context<'_, S>,
    ) {
        let State {
            endpoint,
            partial_message,
            inflating,
            ..
        } = *self.state;
        cx.shared.pool.release_vec(partial_message);
        if let Some(inflating) = inflating {
            cx.shared.release_inflater(inflating.inflater);
        }
        let endpoint = cx.shared.endpoints.get(endpoint);
        endpoint.on_close(&mut Hub::new(&mut cx.shared.effects), key, code);
        cx.shared.effects.push(Effect::Disconnected(key));
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            input: Wanted::WithRoom,
            fin: false,
            end_when_sent: false,
            idle_since: None,
        }
    }

    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        (!self.state.paused).then(|| self.state.deadline(limits))
    }
}

/// As the widespread servers have it: the RFC names no code for a peer that is not there any more, and
/// it will hardly read it.
const UNRESPONSIVE: CloseCode = CloseCode(1011);

fn no_memory() -> ClosePlan {
    let (code, reason) = (CloseCode::TRY_AGAIN_LATER, "there is no memory for it now");
    ClosePlan::ours(Cause::Overloaded, code, reason)
}

fn stopping() -> ClosePlan {
    ClosePlan::ours(Cause::Stopped, CloseCode::GOING_AWAY, "the server stops")
}

impl State {
    /// While so many bytes wait to be sent, a ping is not answered at once, and a newer one takes its
    /// place (RFC 6455 §5.5.3): whoever sends pings and reads nothing is owed one pong.
    const PONGS_BYTES_MAX: u64 = 4 << 10;

    /// Bytes that are made in a step, at most, of a message that is inflated.
    const INFLATED_BYTES: usize = 64 << 10;

    /// Bytes that cost as much as a step when they are inflated: in a turn, a connection can have about as
    /// many made as it may read.
    const INFLATED_STEP_BYTES: usize = 4 << 10;

    /// What it costs in steps to say something to others.
    const PUBLISH_STEPS: u32 = 4;

    /// Deals with the next piece. `false` if there is none.
    fn next_frame<S: Files>(
        &mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<bool, ClosePlan> {
        if self.inflating.as_ref().is_some_and(|i| i.unfinished) {
            self.inflate(input, cx)?;
            return Ok(true);
        }
        let rules = ReaderConfig {
            message_bytes_max: cx.turn.limits.message_bytes_max as u64,
            deflate: self.deflate.is_some(),
        };
        let FramePart { at, end, what } =
            self.reader.read(input.read_buffer.bytes_mut(), &rules)?;
        match what {
            FrameEvent::Partial => return Ok(false),
            FrameEvent::Data {
                kind,
                compressed: false,
                first,
                last,
            } => {
                self.data(kind, first, last, at..end, input, cx)?;
                input.read_buffer.consume(end);
            }
            FrameEvent::Data { kind, last, .. } => {
                let inflating = self.inflating.get_or_insert_with(|| {
                    Box::new(Inflating {
                        inflater: cx.shared.acquire_inflater(),
                        kind,
                        compressed_len: 0,
                        last: false,
                        unfinished: false,
                    })
                });
                (
                    inflating.compressed_len,
                    inflating.last,
                    inflating.unfinished,
                ) = (end - at, last, true);
                input.read_buffer.consume(at);
            }
            FrameEvent::Ping => {
                self.ping = Some(input.read_buffer.bytes()[at..end].into());
                self.answer_ping(input.write_buffer, &mut cx.shared.pool);
                input.read_buffer.consume(end);
            }
            FrameEvent::Pong => input.read_buffer.consume(end),
            FrameEvent::Close => {
                let close = Close::parse(&input.read_buffer.bytes()[at..end])?;
                let code = close.code;
                input.read_buffer.consume(end);
                return Err(ClosePlan {
                    cause: Cause::PeerClosed,
                    close: Some((code, "")),
                    code,
                    must_linger: false,
                });
            }
        }
        (self.last_received, self.pinged) = (cx.turn.now.instant, None);
        Ok(true)
    }

    /// A stretch of a message that is not compressed.
    fn data<S: Files>(
        &mut self,
        kind: MessageKind,
        first: bool,
        last: bool,
        route: std::ops::Range<usize>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        let content = &input.read_buffer.bytes()[route];
        if first && last {
            return self.deliver_message(kind, content, input.key, input.write_buffer, cx);
        }
        let gather = |partial_message: &mut Vec<u8>| partial_message.extend_from_slice(content);
        cx.shared.pool.append(&mut self.partial_message, gather);
        match last {
            true => self.deliver_partial_message(kind, input, cx),
            false => Ok(()),
        }
    }

    /// Inflates some of what is at the front of the read buffer.
    fn inflate<S: Files>(
        &mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        let inflating = self.inflating.as_mut().expect("it was begun");
        let (kind, max) = (inflating.kind, cx.turn.limits.message_bytes_max);
        let bytes = &input.read_buffer.bytes()[..inflating.compressed_len];
        let before = self.partial_message.len();
        // One byte more than is allowed says that it is too many.
        let room = Self::INFLATED_BYTES.min(max + 1 - before);
        let (inflater, last) = (&mut inflating.inflater, inflating.last);
        let inflate = |out: &mut Vec<u8>| inflater.inflate(bytes, last, out, room);
        let inflated = cx.shared.pool.append(&mut self.partial_message, inflate)?;
        let used = match inflated {
            Inflated::Full(used) => used,
            Inflated::All => inflating.compressed_len,
        };
        inflating.compressed_len -= used;
        inflating.unfinished = inflated != Inflated::All;
        input.read_buffer.consume(used);
        let steps = 1 + (self.partial_message.len() - before) / Self::INFLATED_STEP_BYTES;
        cx.budget.spend_steps(steps as u32);
        let whole = inflating.last && !inflating.unfinished;
        if kind == MessageKind::Text {
            self.reader
                .check_text(&self.partial_message[before..], whole)?;
        }
        if self.partial_message.len() > max {
            return Err(Violation::TooLarge.into());
        }
        if !whole {
            // A few bytes in the read buffer may be megabytes here: that is not left to when they are used up.
            return match self.holds_too_much(&cx.shared.pool) {
                true => Err(no_memory()),
                false => Ok(()),
            };
        }
        let inflating = self.inflating.take().expect("it was there above");
        cx.shared.release_inflater(inflating.inflater);
        self.deliver_partial_message(kind, input, cx)
    }

    fn deliver_partial_message<S: Files>(
        &mut self,
        kind: MessageKind,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        let message = std::mem::take(&mut self.partial_message);
        let said = self.deliver_message(kind, &message, input.key, input.write_buffer, cx);
        cx.shared.pool.release_vec(message);
        said
    }

    /// Hands a whole message to the endpoint.
    fn deliver_message<S: Files>(
        &mut self,
        kind: MessageKind,
        message: &[u8],
        key: Key,
        write_buffer: &mut WriteBuffer<S::File>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        // The answer may be as large, and wait for as long as the peer likes.
        if message.len() > StallClock::PORTION_BYTES && cx.shared.pool.account().is_over() {
            return Err(no_memory());
        }
        let message = match kind {
            // It was checked as it came, which the compiler cannot know.
            MessageKind::Text => {
                Message::Text(str::from_utf8(message).map_err(|_| Violation::Utf8)?)
            }
            MessageKind::Binary => Message::Binary(message),
        };
        let before = cx.shared.effects.len();
        let said = self.call(key, write_buffer, cx, |endpoint, session| {
            endpoint.on_message(session, message);
        });
        if cx.shared.effects.len() > before {
            cx.shared.endpoints.mark_as_publisher(self.endpoint);
            cx.budget.spend_steps(Self::PUBLISH_STEPS);
        }
        said
    }

    /// Calls the endpoint, which may close the session.
    fn call<S: Files>(
        &mut self,
        key: Key,
        write_buffer: &mut WriteBuffer<S::File>,
        cx: &mut Context<'_, S>,
        call: impl FnOnce(&mut dyn Endpoint, &mut Session<'_>),
    ) -> Result<(), ClosePlan> {
        let waiting = write_buffer.queued();
        let closed = write_buffer.append(&mut cx.shared.pool, |out| {
            let mut session = Session {
                key,
                begin: out.len(),
                out,
                waiting,
                deflate: self.deflate,
                deflater: &mut cx.shared.deflater,
                effects: &mut cx.shared.effects,
                limits: &cx.turn.limits,
                closed: None,
            };
            call(cx.shared.endpoints.get(self.endpoint), &mut session);
            session.closed
        });
        // The endpoint may have stopped for that, and waits to be told. Whether a step still finds it so
        // is another matter: with the budget spent, all may be sent by then.
        self.paused |= write_buffer.queued() >= cx.turn.limits.write_buffer_high;
        match closed {
            None => Ok(()),
            code @ Some(_) => Err(ClosePlan {
                cause: Cause::Finished,
                close: None,
                code,
                must_linger: true,
            }),
        }
    }

    /// Answers the newest ping, if there is one and little is waiting.
    fn answer_ping<F>(&mut self, write_buffer: &mut WriteBuffer<F>, pool: &mut Pool) -> bool {
        if write_buffer.queued() >= Self::PONGS_BYTES_MAX {
            return false;
        }
        let Some(ping) = self.ping.take() else {
            return false;
        };
        write_buffer.append(pool, |out| write_frame(out, Opcode::Pong, false, &ping));
        true
    }

    /// Whether it holds more, in the middle of a message, than everybody may hold, while all hold too
    /// much.
    fn holds_too_much(&self, pool: &Pool) -> bool {
        let holds_much =
            self.inflating.is_some() || self.partial_message.len() > StallClock::PORTION_BYTES;
        holds_much && pool.account().is_over()
    }

    fn deadline(&self, limits: &Limits) -> Instant {
        match self.pinged {
            Some(at) => at + limits.pong_time,
            None => self.last_received + limits.ping_time,
        }
    }
}
