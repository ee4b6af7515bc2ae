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

mod messages;

use std::any::Any;
use std::time::Instant;

use super::pending_response::PendingResponse;
use super::{Lingering, Mode, Step, Wanted, Wants};
use crate::config::Limits;
use crate::connection::why::{TimeLimit, Wait};
use crate::connection::{
    Answer, Broadcast, Cause, Context, Conversation, Effect, Input, Key, Record, Request,
};
use crate::http::{Head, RequestHead};
use crate::site::{Files, Mount};
use crate::transport::{Gathered, WriteBuffer};
use crate::websocket::deflate::{Deflate, Inflater};
use crate::websocket::{
    Accept, Close, CloseCode, MessageKind, Opcode, Reader, Violation, write_frame,
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
    partial_message: Gathered,
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
    /// The value that the endpoint keeps with this connection.
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
            partial_message: Gathered::default(),
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
    ) -> Step<Mode<S>> {
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

    fn after_step<S: Files>(self, progressed: bool) -> Step<Mode<S>> {
        match progressed {
            true => Step::Progress(Mode::WebSocket(self)),
            false => Step::Blocked(Mode::WebSocket(self)),
        }
    }

    /// Decides how to go on after the last whole piece of input. The beginning of a frame may be
    /// left.
    fn quiet<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<Mode<S>> {
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
        self.state.message_bytes() + inflater.map_or(0, |_| Inflater::CHARGED_BYTES)
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
        cx.shared.pool.release_vec(partial_message.into_vec());
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

    /// Returns the wait of the mode; `None`: for its output to leave.
    pub(super) fn wait(&self, limits: &Limits) -> Option<Wait> {
        let state = &*self.state;
        (!state.paused).then(|| Wait::Frame {
            partial: state.message_bytes(),
            limit: state.limit(limits),
            is_pinged: state.pinged.is_some(),
        })
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
    /// Whether no message is being received, and nothing is owed to the peer.
    fn is_idle(&self) -> bool {
        let is_between = self.message_bytes() == 0 && self.inflating.is_none();
        is_between && self.ping.is_none() && !self.paused
    }

    /// Returns when to send a ping, or when to give up waiting for a sign of life.
    fn deadline(&self, limits: &Limits) -> Instant {
        self.limit(limits).end()
    }

    /// Returns the time for a sign of life, before the next ping or after the last.
    fn limit(&self, limits: &Limits) -> TimeLimit {
        match self.pinged {
            Some(at) => TimeLimit::new(at, limits.pong_time),
            None => TimeLimit::new(self.last_received, limits.ping_time),
        }
    }
}
