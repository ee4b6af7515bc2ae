//! Floor 3, connection: from the frames of a WebSocket peer to the messages for the endpoint, and from the
//! endpoint's messages to the write buffer.

use std::mem;
use std::rc::Rc;

use super::{ClosePlan, Inflating, State};
use crate::connection::context::Call;
use crate::connection::{Cause, Context, Endpoint, Input, Key, Message, Session};
use crate::site::Files;
use crate::transport::{ChargedBytes, Gathered, Pool, WriteBuffer};
use crate::websocket::deflate::Inflated;
use crate::websocket::{
    Close, FrameEvent, FramePart, MessageKind, Opcode, ReaderConfig, TextPart, Violation,
    header_bytes, write_frame,
};

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

    /// The number of bytes of a message that are copied with one unit of work.
    const COPIED_BYTES_PER_WORK: usize = 1 << 10;

    /// The number of bytes of text that are checked with one unit of work. ASCII takes less, and Japanese
    /// more.
    const CHECKED_BYTES_PER_WORK: usize = 2 << 10;

    /// A gathered message of this size, in bytes, or more is sent back without a copy.
    const SHARED_BYTES_MIN: usize = 128 << 10;

    /// The extra work of a message with effects, such as a broadcast.
    const PUBLISH_WORK: u32 = 4;

    /// Handles the next piece of input. Returns `false` if more bytes are needed.
    pub(super) fn next_frame<S: Files>(
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
                last,
                ..
            } => {
                let content = &input.read_buffer.bytes()[at..end];
                let to = (input.key, &mut *input.write_buffer);
                self.take_content((kind, last), content, self.reader.rest(), to, cx)?;
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

    /// Handles a piece of a message, after which the message ends or goes on. `rest` is the number of bytes
    /// that are still to come, if it is known.
    fn take_content<S: Files>(
        &mut self,
        (kind, last): (MessageKind, bool),
        content: &[u8],
        rest: Option<u64>,
        to: (Key, &mut WriteBuffer<S::File>),
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        let have = self.message_bytes() + content.len();
        // The reader has checked that the whole is not too large.
        let whole = rest.map_or(usize::MAX, |rest| have + rest as usize);
        let text = match kind {
            MessageKind::Text => Some(self.reader.check_text(content, last)?),
            MessageKind::Binary => None,
        };
        let is_alone = self.partial_message.is_empty();
        match text {
            Some(TextPart { begun: None, rest }) if last && is_alone => {
                return self.deliver_message(Message::Text(rest), None, to, cx);
            }
            None if last && is_alone => {
                return self.deliver_message(Message::Binary(content), None, to, cx);
            }
            _ => {}
        }
        if is_alone {
            self.partial_message = match kind {
                MessageKind::Text => Gathered::Text(String::new()),
                MessageKind::Binary => Gathered::Bytes(Vec::new()),
            };
        }
        let pool = &mut cx.shared.pool;
        match (&mut self.partial_message, text) {
            (Gathered::Text(message), Some(TextPart { begun, rest })) => {
                if let Some(begun) = begun {
                    pool.gather(message, begun.encode_utf8(&mut [0; 4]), whole);
                }
                pool.gather(message, rest, whole);
                cx.budget
                    .spend_work((content.len() / Self::CHECKED_BYTES_PER_WORK) as u32);
            }
            (Gathered::Bytes(message), None) => pool.gather(message, content, whole),
            _ => unreachable!("all pieces of a message are of one kind"),
        }
        cx.budget.spend_gathered(content.len());
        match last {
            true => self.deliver_partial_message(to, cx),
            false => Ok(()),
        }
    }

    /// Returns the number of bytes of the present message so far.
    pub(super) fn message_bytes(&self) -> usize {
        self.partial_message.len() + self.reader.begun_bytes()
    }

    /// Inflates some of the bytes at the front of the read buffer.
    fn inflate<S: Files>(
        &mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        let mut inflated = Vec::new();
        let taken = self.take_inflated(&mut inflated, input, cx);
        cx.shared.pool.release_vec(inflated);
        taken
    }

    /// Inflates some bytes into `inflated`, and takes them as a piece of the message.
    fn take_inflated<S: Files>(
        &mut self,
        inflated: &mut Vec<u8>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        let before = self.message_bytes();
        let inflating = self.inflating.as_mut().expect("it was begun");
        let (kind, max) = (inflating.kind, cx.turn.limits.message_bytes_max);
        let bytes = &input.read_buffer.bytes()[..inflating.compressed_len];
        // A single byte over the limit shows that the message is too large.
        let room = Self::INFLATED_BYTES.min(max + 1 - before);
        let (inflater, last) = (&mut inflating.inflater, inflating.last);
        let inflate = |out: &mut Vec<u8>| inflater.inflate(bytes, last, out, room);
        let used = match cx.shared.pool.append(inflated, inflate)? {
            Inflated::Full(used) => {
                inflating.unfinished = true;
                used
            }
            Inflated::All => {
                inflating.unfinished = false;
                inflating.compressed_len
            }
        };
        inflating.compressed_len -= used;
        let whole = inflating.last && !inflating.unfinished;
        input.read_buffer.consume(used);
        let work = Self::INFLATER_WORK + (inflated.len() / Self::INFLATED_BYTES_PER_WORK) as u32;
        cx.budget.spend_work(work);
        if before + inflated.len() > max {
            return Err(Violation::TooLarge.into());
        }
        if whole {
            let inflating = self.inflating.take().expect("it was there above");
            cx.shared.release_inflater(inflating.inflater);
        }
        let to = (input.key, &mut *input.write_buffer);
        self.take_content((kind, whole), inflated, None, to, cx)
    }

    /// Hands the gathered message to the endpoint, and gives the storage back.
    fn deliver_partial_message<S: Files>(
        &mut self,
        to: (Key, &mut WriteBuffer<S::File>),
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        let gathered = mem::take(&mut self.partial_message);
        if gathered.len() < Self::SHARED_BYTES_MIN {
            let said = self.deliver_message(as_message(&gathered), None, to, cx);
            cx.shared.pool.release_vec(gathered.into_vec());
            return said;
        }
        let shared = cx.shared.pool.share_gathered(gathered);
        let message = as_message(shared.content());
        let said = self.deliver_message(message, Some(&shared), to, cx);
        cx.shared.pool.let_go_charged(shared);
        said
    }

    /// Hands a whole message to the endpoint. The bytes of a very large one are `shared`, so that the
    /// endpoint can send them back without a copy.
    fn deliver_message<S: Files>(
        &mut self,
        message: Message<'_>,
        shared: Option<&Rc<ChargedBytes>>,
        to: (Key, &mut WriteBuffer<S::File>),
        cx: &mut Context<'_, S>,
    ) -> Result<(), ClosePlan> {
        let (key, write_buffer) = to;
        let bytes = message.bytes().len();
        let copy_work = (bytes / Self::COPIED_BYTES_PER_WORK) as u32;
        cx.tally.counters.messages_received += 1;
        if let Some(conversation) = &mut self.conversation {
            conversation.received += 1;
        }
        if shared.is_none() {
            cx.budget.spend_work(copy_work);
            // The answer may be as large as the message.
            write_buffer.prepare(header_bytes(bytes) + bytes, &mut cx.shared.pool);
        }
        let before = cx.shared.effects.len();
        let said = self.call(key, write_buffer, shared, cx, |endpoint, session| {
            endpoint.on_message(session, message);
        });
        if cx.shared.effects.len() > before {
            cx.shared.endpoints.mark_as_publisher(self.endpoint);
            cx.budget.spend_work(Self::PUBLISH_WORK + copy_work);
        }
        said
    }

    /// Calls the endpoint, which may close the session.
    pub(super) fn call<S: Files>(
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
    pub(super) fn answer_ping<F>(
        &mut self,
        write_buffer: &mut WriteBuffer<F>,
        pool: &mut Pool,
    ) -> bool {
        if write_buffer.queued() >= Self::PONGS_BYTES_MAX {
            return false;
        }
        let Some(ping) = self.ping.take() else {
            return false;
        };
        write_buffer.append(pool, |out| write_frame(out, Opcode::Pong, false, &ping));
        true
    }
}

/// A gathered message, as the endpoint is given it.
fn as_message(gathered: &Gathered) -> Message<'_> {
    match gathered {
        Gathered::Text(text) => Message::Text(text),
        Gathered::Bytes(bytes) => Message::Binary(bytes),
    }
}
