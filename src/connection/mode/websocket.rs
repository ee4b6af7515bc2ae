//! Floor 3, connection: the mode of a WebSocket connection (RFC 6455), from the opening handshake
//! to the last frame.
//!
//! Frames are parsed in place, in the read buffer. A message in a single frame goes to the endpoint
//! directly from the read buffer, if the whole frame has come. A message in several pieces is
//! gathered first, and a compressed message is inflated. The answer is appended to the write buffer
//! at once, so one write answers all messages of one read.
//!
//! Back-pressure works through the pump. While the write buffer has no room, no frame is handled,
//! pings included. Then no byte is read, and the TCP window closes. Meanwhile the peer need not
//! prove that it is alive, because its pong may be among the unread bytes.

use std::any::Any;
use std::rc::Rc;
use std::time::Instant;

use super::pending_response::PendingResponse;
use super::{Lingering, Mode, Step, Wanted, Wants};
use crate::config::Limits;
use crate::connection::context::Call;
use crate::connection::{
    Answer, Broadcast, Cause, Context, Conversation, Effect, Endpoint, Input, Key, Message, Record,
    Request, Session,
};
use crate::http::{Head, RequestHead};
use crate::site::{Files, Mount};
use crate::transport::{ChargedBytes, Pool, WriteBuffer};
use crate::websocket::deflate::{Deflate, Inflated, Inflater};
use crate::websocket::{
    Accept, Close, CloseCode, FrameEvent, FramePart, MessageKind, Opcode, Reader, ReaderConfig,
    Violation, header_bytes, write_frame,
};

/// Exchanging the messages of a WebSocket connection.
#[derive(Debug)]
pub(crate) struct WebSocket {
    // Boxed: one allocation for each connection, and a small `Mode`.
    state: Box<State>,
}

/// The state of our side of a WebSocket connection.
#[derive(Debug)]
struct State {
    /// The number of the endpoint.
    endpoint: u16,
    /// The agreed parameters of permessage-deflate (RFC 7692). `None`: messages are not compressed.
    deflate: Option<Deflate>,
    /// The parser of frames.
    reader: Reader,
    /// The received part of an unfinished message, already inflated, in storage of the pool.
    partial_message: Vec<u8>,
    /// Present while a compressed message is being received. Boxed, because compressed messages are
    /// rare, and the inflater takes hundreds of bytes.
    inflating: Option<Box<Inflating>>,
    /// The content of the newest unanswered ping from the peer.
    ping: Option<Box<[u8]>>,
    /// When the last frame, or piece of a frame, was received.
    last_received: Instant,
    /// When we sent a ping to learn whether the peer is still alive. The next input clears this
    /// field.
    pinged: Option<Instant>,
    /// Because of back-pressure, no frame is read, or the endpoint may have stopped sending.
    paused: bool,
    /// What the endpoint keeps with this connection.
    kept: Option<Box<dyn Any>>,
    /// The record for the log, completed at the end. `None`: no log wants the record.
    conversation: Option<Box<Conversation>>,
}

/// A compressed message being received.
#[derive(Debug)]
struct Inflating {
    inflater: Inflater,
    kind: MessageKind,
    /// Bytes at the front of the read buffer not inflated yet.
    compressed_len: usize,
    /// These bytes are the last of the message.
    last: bool,
    /// Inflating these bytes is not finished: the inflater may have more output.
    unfinished: bool,
}

/// The way in which a connection ends.
struct ClosePlan {
    cause: Cause,
    /// The close frame still to be sent.
    close: Option<(Option<CloseCode>, &'static str)>,
    /// The close code that the endpoint is informed of, if any.
    code: Option<CloseCode>,
    /// The peer may still be sending, and a plain close could reset the connection.
    must_linger: bool,
}

impl ClosePlan {
    /// The server closes the connection.
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
    /// Answers the opening handshake, whose `head` is at the front of the read buffer, and informs the
    /// endpoint. Messages sent by the endpoint in this call follow directly after the answer. If the
    /// endpoint refuses, its own answer is sent instead.
    pub(super) fn after<S: Files>(
        pending: PendingResponse,
        accept: &Accept,
        mount: &Mount,
        head: &Head,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let queued = input.write_buffer.queued();
        pending.offer(accept, input.write_buffer, cx);
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
            kept: None,
            conversation: None,
        };
        let (key, peer) = (input.key, *input.peer);
        let request = Request {
            head: RequestHead::new(head, input.read_buffer.bytes()),
            mount,
            key,
            peer,
            body: Vec::new(),
        };
        let mut refused = None;
        let closed = state.call(key, input.write_buffer, None, cx, |endpoint, session| {
            refused = endpoint.on_open(session, &request).err();
        });
        if let Some(answer) = refused {
            let offered = input.write_buffer.queued() - queued;
            input.write_buffer.drop_last(offered, &mut cx.shared.pool);
            return WebSocket::refuse(answer, pending, head, input, cx);
        }
        input.read_buffer.consume(head.end());
        state.conversation = pending.switch(cx);
        let mode = WebSocket {
            state: Box::new(state),
        };
        match closed {
            Ok(()) => Mode::WebSocket(mode),
            Err(plan) => mode.end(plan, input, cx),
        }
    }

    /// Answers an opening handshake that the endpoint has refused.
    fn refuse<S: Files>(
        answer: Answer,
        pending: PendingResponse,
        head: &Head,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        // The endpoint may have joined a room before it refused.
        cx.shared.effects.push(Effect::Disconnected(input.key));
        let request = RequestHead::new(head, input.read_buffer.bytes());
        let reply = answer.into_reply(&request, cx);
        input.read_buffer.consume(head.end());
        pending.answer(reply, Cause::LastAnswer, input, cx)
    }
}

impl WebSocket {
    /// The number of pieces of messages handled in a step. With fewer pieces, the cost of a step
    /// would slow small messages down; without a bound, the other connections would wait too long
    /// for their turn.
    const FRAMES_PER_STEP: u32 = 16;

    /// The work of so many small frames, beyond the usual work of a step.
    const STEP_WORK: u32 = 1;

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
            let closed = state.call(
                input.key,
                input.write_buffer,
                None,
                cx,
                |endpoint, session| {
                    endpoint.on_room(session);
                },
            );
            if let Err(plan) = closed {
                return Step::Progress(self.end(plan, input, cx));
            }
        }
        for _ in 0..Self::FRAMES_PER_STEP {
            if cx.shared.effects.is_full(&cx.turn.limits)
                && cx.shared.endpoints.publishes(self.state.endpoint)
            {
                if cx.turn.stopping {
                    return Step::Progress(self.end(stopping(), input, cx));
                }
                // No event announces new space in the queue of effects: the pump must ask for
                // another turn.
                return match progressed {
                    true => Step::Progress(Mode::WebSocket(self)),
                    false => Step::Throttled(Mode::WebSocket(self)),
                };
            }
            match self.state.next_frame(input, cx) {
                Ok(true) => progressed = true,
                Ok(false) => {
                    if progressed {
                        cx.budget.spend_work(Self::STEP_WORK);
                    }
                    return self.quiet(input, cx);
                }
                Err(plan) => return Step::Progress(self.end(plan, input, cx)),
            }
            if !input.write_buffer.has_room(cx.write_buffer_high()) || !cx.budget.has_steps() {
                break;
            }
        }
        cx.budget.spend_work(Self::STEP_WORK);
        Step::Progress(Mode::WebSocket(self))
    }

    fn after_step<S: Files>(self, progressed: bool) -> Step<S> {
        match progressed {
            true => Step::Progress(Mode::WebSocket(self)),
            false => Step::Blocked(Mode::WebSocket(self)),
        }
    }

    /// Decides how to go on after the last whole piece of input. The beginning of a frame may be
    /// left.
    fn quiet<S: Files>(mut self, input: &mut Input<'_, S>, cx: &mut Context<'_, S>) -> Step<S> {
        let state = &mut *self.state;
        let plan = if input.eof {
            // The peer has ended without a close frame, which is 1006 in the RFC. The peer may
            // still read the queued output.
            ClosePlan {
                cause: Cause::PeerClosed,
                close: None,
                code: None,
                must_linger: false,
            }
        } else if cx.turn.stopping {
            stopping()
        } else if input.expired && state.deadline(&cx.turn.limits) <= cx.turn.now.instant {
            if state.pinged.is_none() {
                state.pinged = Some(cx.turn.now.instant);
                let ping = |out: &mut Vec<u8>| write_frame(out, Opcode::Ping, false, &[]);
                input.write_buffer.append(&mut cx.shared.pool, ping);
                return Step::Progress(Mode::WebSocket(self));
            }
            ClosePlan::ours(Cause::Unresponsive, UNRESPONSIVE, "no pong has come")
        } else if state.ping.is_some() || state.paused {
            // A pong, or the endpoint, waits until output has left.
            return Step::Blocked(Mode::WebSocket(self));
        } else if input.evict {
            evicted()
        } else {
            return Step::NeedInput(Mode::WebSocket(self));
        };
        Step::Progress(self.end(plan, input, cx))
    }

    /// Queues a broadcast. Returns `false` if the write buffer is too full. An empty write buffer
    /// takes a broadcast of any size.
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
        cx.budget.spend_work(cx.shared.deflater.take_work());
        cx.tally.counters.messages_sent += 1;
        if let Some(conversation) = &mut self.state.conversation {
            conversation.sent += 1;
        }
        true
    }

    /// Returns the number of bytes that an unfinished message holds, with its inflater.
    pub(super) fn held_bytes(&self) -> usize {
        let inflater = self.state.inflating.as_ref();
        self.state.partial_message.len() + inflater.map_or(0, |_| Inflater::CHARGED_BYTES)
    }

    /// Closes the connection, because memory is short and this connection holds much.
    pub(super) fn close_for_memory<S: Files>(
        self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let (code, reason) = (CloseCode::TRY_AGAIN_LATER, "there is no memory for it now");
        self.end(ClosePlan::ours(Cause::Overloaded, code, reason), input, cx)
    }

    /// Closes the connection, as the endpoint wishes.
    pub(super) fn close<S: Files>(
        self,
        (code, reason): (CloseCode, &str),
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let mut state = self.state;
        let closed = state.call(input.key, input.write_buffer, None, cx, |_, session| {
            session.close(code, reason);
        });
        let mode = WebSocket { state };
        match closed {
            Ok(()) => Mode::WebSocket(mode),
            Err(plan) => mode.end(plan, input, cx),
        }
    }

    /// Closes the connection, because the peer does not read the broadcasts.
    pub(super) fn close_slow_consumer<S: Files>(
        self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let (code, reason) = (CloseCode::TRY_AGAIN_LATER, "too much is waiting to be read");
        self.end(ClosePlan::ours(Cause::Stalled, code, reason), input, cx)
    }

    /// Queues the close frame, unless a close frame was queued already, and goes on to linger.
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
        let unnamed = plan
            .close
            .map_or(CloseCode::ABNORMAL, |_| CloseCode::NO_STATUS);
        self.leave(input.key, plan.code, unnamed, cx);
        let now = cx.turn.now.instant;
        Mode::Lingering(Lingering::after(plan.cause, plan.must_linger, now))
    }

    /// Ends a connection that has failed.
    pub(super) fn abandon<S: Files>(self, key: Key, cx: &mut Context<'_, S>) {
        self.leave(key, None, CloseCode::ABNORMAL, cx);
    }

    /// Gives the memory back, informs the endpoint and the log, and queues the effect that takes the
    /// connection out of every room. The log gets `unnamed` if there is no close code.
    fn leave<S: Files>(
        self,
        key: Key,
        code: Option<CloseCode>,
        unnamed: CloseCode,
        cx: &mut Context<'_, S>,
    ) {
        let State {
            endpoint,
            partial_message,
            inflating,
            conversation,
            ..
        } = *self.state;
        if let Some(mut conversation) = conversation {
            conversation.code = code.unwrap_or(unnamed);
            cx.tally.log(Record::Conversation(conversation));
        }
        cx.shared.pool.release_vec(partial_message);
        if let Some(inflating) = inflating {
            cx.shared.release_inflater(inflating.inflater);
        }
        let (endpoint, mut hub) = cx.endpoint(endpoint);
        endpoint.on_close(&mut hub, key, code);
        cx.shared.effects.push(Effect::Disconnected(key));
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            input: Wanted::WithRoom,
            fin: false,
            end_when_sent: false,
            idle_since: self.state.is_idle().then_some(self.state.last_received),
        }
    }

    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        (!self.state.paused).then(|| self.state.deadline(limits))
    }
}

/// The close code for a peer that gives no sign of life. The RFC names no code for the case, and
/// widespread servers send 1011. The peer will hardly read the code.
const UNRESPONSIVE: CloseCode = CloseCode(1011);

/// The slot is needed now, so the server does not wait for the close frame of a peer that is idle.
fn evicted() -> ClosePlan {
    let (code, reason) = (CloseCode::GOING_AWAY, "another connection needs the slot");
    ClosePlan {
        must_linger: false,
        ..ClosePlan::ours(Cause::Overloaded, code, reason)
    }
}

fn stopping() -> ClosePlan {
    ClosePlan::ours(Cause::Stopped, CloseCode::GOING_AWAY, "the server stops")
}

impl State {
    /// While this many bytes wait to be sent, a ping is not answered at once, and a newer ping
    /// replaces an older ping (RFC 6455 §5.5.3). A peer that sends pings and reads nothing is
    /// therefore owed only a single pong.
    const PONGS_BYTES_MAX: u64 = 4 << 10;

    /// The number of bytes inflated in a step, at most.
    const INFLATED_BYTES: usize = 64 << 10;

    /// The work of a call of the inflater besides the bytes.
    const INFLATER_WORK: u32 = 4;

    /// The number of inflated bytes for one unit of work.
    const INFLATED_BYTES_PER_WORK: usize = 512;

    /// The number of bytes of a message that are checked and copied with one unit of work.
    const COPIED_BYTES_PER_WORK: usize = 1 << 10;

    /// A gathered message of this size, in bytes, or more is sent back without a copy.
    const SHARED_BYTES_MIN: usize = 128 << 10;

    /// The extra work of a message with effects, such as a broadcast.
    const PUBLISH_WORK: u32 = 4;

    /// Handles the next piece of input. Returns `false` if more bytes are needed.
    fn next_frame<S: Files>(
        &mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<bool, ClosePlan> {
        if self.inflating.as_ref().is_some_and(|i| i.unfinished) {
            self.inflate(input, cx)?;
            return Ok(true);
        }
        let config = ReaderConfig {
            message_bytes_max: cx.turn.limits.message_bytes_max as u64,
            deflate: self.deflate.is_some(),
        };
        let FramePart { at, end, event } =
            self.reader.read(input.read_buffer.bytes_mut(), &config)?;
        match event {
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

    /// Handles a piece of an uncompressed message.
    fn data<S: Files>(
        &mut self,
        kind: MessageKind,
        first: bool,
        last: bool,
        place: std::ops::Range<usize>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        let content = &input.read_buffer.bytes()[place];
        if first && last {
            return self.deliver_message(kind, content, None, (input.key, input.write_buffer), cx);
        }
        let have = self.partial_message.len() + content.len();
        // The reader has checked that the whole is not too large.
        let whole = match self.reader.rest() {
            Some(rest) => have + rest as usize,
            None => usize::MAX,
        };
        let pool = &mut cx.shared.pool;
        pool.gather(&mut self.partial_message, content, whole);
        cx.budget.spend_gathered(content.len());
        match last {
            true => self.deliver_partial_message(kind, input, cx),
            false => Ok(()),
        }
    }

    /// Inflates some of the bytes at the front of the read buffer.
    fn inflate<S: Files>(
        &mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        let inflating = self.inflating.as_mut().expect("it was begun");
        let (kind, max) = (inflating.kind, cx.turn.limits.message_bytes_max);
        let bytes = &input.read_buffer.bytes()[..inflating.compressed_len];
        let before = self.partial_message.len();
        // A single byte over the limit shows that the message is too large.
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
        let work = Self::INFLATER_WORK
            + ((self.partial_message.len() - before) / Self::INFLATED_BYTES_PER_WORK) as u32;
        cx.budget.spend_work(work);
        let whole = inflating.last && !inflating.unfinished;
        if kind == MessageKind::Text {
            self.reader
                .check_text(&self.partial_message[before..], whole)?;
        }
        if self.partial_message.len() > max {
            return Err(Violation::TooLarge.into());
        }
        if !whole {
            return Ok(());
        }
        let inflating = self.inflating.take().expect("it was there above");
        cx.shared.release_inflater(inflating.inflater);
        self.deliver_partial_message(kind, input, cx)
    }

    /// Hands the gathered message to the endpoint, and gives the storage back.
    fn deliver_partial_message<S: Files>(
        &mut self,
        kind: MessageKind,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        let message = std::mem::take(&mut self.partial_message);
        if message.len() < Self::SHARED_BYTES_MIN {
            let said =
                self.deliver_message(kind, &message, None, (input.key, input.write_buffer), cx);
            cx.shared.pool.release_vec(message);
            return said;
        }
        let message = cx.shared.pool.share_gathered(message);
        let to = (input.key, &mut *input.write_buffer);
        let said = self.deliver_message(kind, message.bytes(), Some(&message), to, cx);
        cx.shared.pool.let_go_charged(message);
        said
    }

    /// Hands a whole message to the endpoint. The bytes of a very large one are `shared`, so that the
    /// endpoint can send them back without a copy.
    fn deliver_message<S: Files>(
        &mut self,
        kind: MessageKind,
        message: &[u8],
        shared: Option<&Rc<ChargedBytes>>,
        to: (Key, &mut WriteBuffer<S::File>),
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        let (key, write_buffer) = to;
        let message = match kind {
            // The reader has checked the text already, but the compiler cannot know.
            MessageKind::Text => {
                Message::Text(str::from_utf8(message).map_err(|_| Violation::Utf8)?)
            }
            MessageKind::Binary => Message::Binary(message),
        };
        cx.budget
            .spend_work((message.bytes().len() / Self::COPIED_BYTES_PER_WORK) as u32);
        cx.tally.counters.messages_received += 1;
        if let Some(conversation) = &mut self.conversation {
            conversation.received += 1;
        }
        if shared.is_none() {
            // The answer may be as large as the message.
            let bytes = message.bytes().len();
            write_buffer.prepare(header_bytes(bytes) + bytes, &mut cx.shared.pool);
        }
        let before = cx.shared.effects.len();
        let said = self.call(key, write_buffer, shared, cx, |endpoint, session| {
            endpoint.on_message(session, message);
        });
        if cx.shared.effects.len() > before {
            cx.shared.endpoints.mark_as_publisher(self.endpoint);
            cx.budget.spend_work(Self::PUBLISH_WORK);
        }
        said
    }

    /// Calls the endpoint, which may close the session.
    fn call<S: Files>(
        &mut self,
        key: Key,
        write_buffer: &mut WriteBuffer<S::File>,
        received: Option<&Rc<ChargedBytes>>,
        cx: &mut Context<'_, S>,
        call: impl FnOnce(&mut dyn Endpoint, &mut Session<'_>),
    ) -> Result<(), ClosePlan> {
        let waiting = write_buffer.queued();
        let Call {
            endpoints,
            hub,
            pool,
            deflater,
        } = cx
            .shared
            .call(Some(self.endpoint), cx.turn, &cx.tally.counters);
        let (closed, returns, sent) = write_buffer.append(pool, |out| {
            let mut session = Session {
                key,
                begin: out.len(),
                out,
                waiting,
                deflate: self.deflate,
                deflater,
                hub,
                state: &mut self.kept,
                received: received.map(|r| &**r),
                returns: false,
                sent: 0,
                closed: None,
            };
            call(endpoints.get(self.endpoint), &mut session);
            (session.closed, session.returns, session.sent)
        });
        cx.tally.counters.messages_sent += sent;
        if let Some(conversation) = &mut self.conversation {
            conversation.sent += sent;
        }
        if let Some(received) = received.filter(|_| returns) {
            write_buffer.push_charged(received, &mut cx.shared.pool);
        }
        cx.budget.spend_work(cx.shared.deflater.take_work());
        // The endpoint may have stopped sending because `has_room` was false, and expects
        // `on_room`. Record that now: if the budget is spent, the whole output may be sent before
        // the next step looks.
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

    /// Answers the newest unanswered ping, if little output waits. Returns whether a pong was
    /// queued.
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

    /// Whether no message is being received, and nothing is owed to the peer.
    fn is_idle(&self) -> bool {
        let is_between = self.partial_message.is_empty() && self.inflating.is_none();
        is_between && self.ping.is_none() && !self.paused
    }

    /// Returns when to send a ping, or when to give up waiting for a sign of life.
    fn deadline(&self, limits: &Limits) -> Instant {
        match self.pinged {
            Some(at) => at + limits.pong_time,
            None => self.last_received + limits.ping_time,
        }
    }
}
