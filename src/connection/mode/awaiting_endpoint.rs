//! Floor 3, connection: the mode of a connection whose request is with an endpoint: until the answer
//! comes, and while its content comes piece by piece.

use std::time::Instant;

use super::pending_response::{Begun, PendingResponse};
use super::{Lingering, Mode, ReadingHead, Step, Wanted, Wants};
use crate::config::Limits;
use crate::connection::answer::Content;
use crate::connection::effect::Wish;
use crate::connection::request::KeptRequest;
use crate::connection::why::{TimeLimit, Wait};
use crate::connection::{Answer, Cause, Context, Effect, Input, Key, Record};
use crate::http::{Persistence, Version};
use crate::site::Files;

/// An endpoint has the request, and will answer or complete its answer.
#[derive(Debug)]
pub(crate) struct AwaitingEndpoint {
    // Boxed: the mode is rare, and `Mode` is small.
    waiting: Box<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// The key of the request.
    key: Key,
    /// The number of the endpoint.
    endpoint: u16,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The request is queued behind effects.
    Queued(PendingResponse, KeptRequest),
    /// The endpoint will answer later.
    Asked(PendingResponse, KeptRequest, Asked),
    /// The head was queued, and the endpoint writes the content.
    Streaming(Streamed),
}

/// The times of a request that an endpoint will answer later.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// When the endpoint was asked.
    at: Instant,
    /// When the end of the peer's direction was seen.
    ended: Option<Instant>,
}

/// An answer whose content comes piece by piece.
#[derive(Debug)]
struct Streamed {
    /// The duties that are left for the end of the answer.
    begun: Begun,
    is_chunked: bool,
    is_endless: bool,
    /// When the last piece came.
    last_piece: Instant,
    /// Bytes of content queued up to now, without the framing of chunks.
    queued: u64,
    /// Whether the whole content was queued.
    is_whole: bool,
}

/// The ways in.
impl AwaitingEndpoint {
    /// Queues a request behind the effects that were queued before.
    pub(super) fn queue<S: Files>(
        pending: PendingResponse,
        request: KeptRequest,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let (key, endpoint) = (request.key, request.mount.number);
        cx.shared.effects.push(Effect::Wish(key, Wish::Ask));
        AwaitingEndpoint::at(key, endpoint, Stage::Queued(pending, request))
    }

    /// An endpoint has answered, and its answer is acted on. Only an answer that comes later, or piece
    /// by piece, leads to this mode.
    pub(super) fn after<S: Files>(
        answer: Answer,
        pending: PendingResponse,
        request: KeptRequest,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let (key, endpoint) = (request.key, request.mount.number);
        match answer.content {
            Content::Later => {
                cx.shared.owed.owe_answer(key);
                let asked = Asked {
                    at: cx.turn.now.instant,
                    ended: None,
                };
                AwaitingEndpoint::at(key, endpoint, Stage::Asked(pending, request, asked))
            }
            Content::Stream { .. } if answer.status.has_no_content() => {
                // Bytes after such a head would be taken for the next answer (RFC 9112 §6.3).
                let reply = answer.into_reply(&request.head(), cx);
                request.release(&mut cx.shared.pool);
                let mode = pending.answer(reply, Cause::LastAnswer, input, cx);
                let (endpoint, mut hub) = cx.endpoint(endpoint);
                endpoint.on_leave(&mut hub, key);
                mode
            }
            Content::Stream { .. } => {
                request.release(&mut cx.shared.pool);
                AwaitingEndpoint::begin_stream((key, endpoint), answer, pending, input, cx)
            }
            Content::Whole(_) => {
                let reply = answer.into_reply(&request.head(), cx);
                request.release(&mut cx.shared.pool);
                pending.answer(reply, Cause::LastAnswer, input, cx)
            }
        }
    }

    fn at<S: Files>(key: Key, endpoint: u16, stage: Stage) -> Mode<S> {
        let waiting = Box::new(Waiting {
            key,
            endpoint,
            stage,
        });
        Mode::AwaitingEndpoint(AwaitingEndpoint { waiting })
    }

    /// Queues the head of a stream, and the bytes that the answer has brought along.
    fn begin_stream<S: Files>(
        (key, endpoint): (Key, u16),
        answer: Answer,
        mut pending: PendingResponse,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let Content::Stream {
            first,
            length,
            is_endless,
        } = &answer.content
        else {
            unreachable!("the caller has looked");
        };
        let is_chunked = length.is_none() && pending.version() == Version::Http11;
        if length.is_none() && !is_chunked {
            // The content ends with the connection (RFC 9112 §6.3).
            pending = pending.ending_the_connection();
        }
        let reply = answer.stream_head(is_chunked);
        if pending.is_head_only() {
            let mode = pending.answer(reply, Cause::LastAnswer, input, cx);
            let (endpoint, mut hub) = cx.endpoint(endpoint);
            endpoint.on_leave(&mut hub, key);
            return mode;
        }
        let mut streamed = Streamed {
            begun: pending.begin(reply, input, cx),
            is_chunked,
            is_endless: *is_endless,
            last_piece: cx.turn.now.instant,
            queued: 0,
            is_whole: false,
        };
        if !first.is_empty() {
            streamed.queue(first.clone(), input, cx);
        }
        let left = length.map(|length| length.saturating_sub(first.len() as u64));
        cx.shared.owed.owe_stream(key, left);
        AwaitingEndpoint::at(key, endpoint, Stage::Streaming(streamed))
    }
}

impl AwaitingEndpoint {
    /// The key of the request.
    pub(super) fn key(&self) -> Key {
        self.waiting.key
    }

    pub(super) fn step<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<Mode<S>> {
        if let Stage::Asked(_, _, asked) = &mut self.waiting.stage
            && input.eof
        {
            asked.ended.get_or_insert(cx.turn.now.instant);
        }
        let is_late = |at| at <= cx.turn.now.instant;
        if input.expired && self.deadline(&cx.turn.limits).is_some_and(is_late) {
            return Step::Progress(self.break_off(Cause::PeerClosed, cx));
        }
        let Stage::Streaming(streamed) = &self.waiting.stage else {
            return Step::Blocked(Mode::AwaitingEndpoint(self));
        };
        let (key, buffered) = (self.key(), input.write_buffer.queued());
        if streamed.is_whole {
            return Step::Blocked(Mode::AwaitingEndpoint(self));
        }
        if input.eof {
            return Step::Progress(self.break_off(Cause::PeerClosed, cx));
        }
        // A stream without an end would hold up the stop, and the newcomers that wait for a slot.
        let cause = match (cx.turn.stopping, input.evict) {
            (true, _) => Some(Cause::Stopped),
            (false, true) => Some(Cause::Overloaded),
            (false, false) => None,
        };
        if let Some(cause) = cause.filter(|_| streamed.is_endless)
            && buffered == 0
            && cx.shared.owed.is_between_pieces(key)
        {
            return Step::Progress(self.break_off(cause, cx));
        }
        if cx.shared.effects.is_full(&cx.turn.limits) && cx.shared.owed.wants_room(key) {
            // No event announces new space in the queue of effects.
            return Step::Throttled(Mode::AwaitingEndpoint(self));
        }
        let high = cx.write_buffer_high();
        if cx.shared.owed.tells_room(key, buffered, high) {
            let (endpoint, mut hub) = cx.endpoint(self.waiting.endpoint);
            endpoint.on_stream_room(&mut hub, key);
            if cx.shared.owed.is_complete(key) {
                // Without a last byte, nothing else would end the stream.
                return Step::Progress(self.finish(input, cx));
            }
            return Step::Progress(Mode::AwaitingEndpoint(self));
        }
        Step::Blocked(Mode::AwaitingEndpoint(self))
    }

    /// Hands the queued request to its endpoint: everything that was queued before has been carried
    /// out.
    pub(super) fn ask<S: Files>(
        self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let Waiting {
            key,
            endpoint,
            stage,
        } = *self.waiting;
        match stage {
            Stage::Queued(pending, mut request) => {
                cx.shared.owed.settle(key);
                let lent = request.lend(*input.peer, &mut cx.shared.pool);
                let answer = cx.ask(endpoint, lent);
                AwaitingEndpoint::after(answer, pending, request, input, cx)
            }
            stage @ (Stage::Asked(..) | Stage::Streaming(_)) => {
                AwaitingEndpoint::at(key, endpoint, stage)
            }
        }
    }

    /// Takes the answer that the endpoint has owed.
    pub(super) fn answered<S: Files>(
        self,
        answer: Answer,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let Waiting {
            key,
            endpoint,
            stage,
        } = *self.waiting;
        match stage {
            Stage::Asked(pending, request, _) => {
                cx.shared.owed.settle(key);
                AwaitingEndpoint::after(answer, pending, request, input, cx)
            }
            stage @ (Stage::Queued(..) | Stage::Streaming(_)) => {
                AwaitingEndpoint::at(key, endpoint, stage)
            }
        }
    }

    /// Adds a piece to the content of a stream.
    pub(super) fn write<S: Files>(
        &mut self,
        bytes: Vec<u8>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) {
        if let Stage::Streaming(streamed) = &mut self.waiting.stage {
            cx.shared.owed.arrived(self.waiting.key, bytes.len() as u64);
            streamed.queue(bytes, input, cx);
        }
    }

    /// Ends a stream, whose content is complete.
    pub(super) fn finish<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        if let Stage::Streaming(streamed) = &mut self.waiting.stage {
            cx.shared.owed.settle(self.waiting.key);
            streamed.is_whole = true;
            if streamed.is_chunked {
                let end = |out: &mut Vec<u8>| out.extend_from_slice(b"0\r\n\r\n");
                input.write_buffer.append(&mut cx.shared.pool, end);
            }
            if input.write_buffer.is_empty() {
                return self.all_sent(cx);
            }
        }
        Mode::AwaitingEndpoint(self)
    }

    /// Breaks the answer off, as the endpoint wishes.
    pub(super) fn cut_off<S: Files>(self, cx: &mut Context<'_, S>) -> Mode<S> {
        // The endpoint knows, and is not told.
        cx.shared.owed.settle(self.waiting.key);
        self.break_off(Cause::Finished, cx)
    }

    /// Ends the connection after the queued bytes, without the rest of the answer.
    fn break_off<S: Files>(self, cause: Cause, cx: &mut Context<'_, S>) -> Mode<S> {
        self.abandon(0, cx);
        // The peer may be sending its next request, and a reset would destroy the bytes written before.
        let must_linger = cause == Cause::Finished;
        Mode::Lingering(Lingering::after(cause, must_linger, cx.turn.now.instant))
    }

    pub(super) fn wants(&self) -> Wants {
        let (input, end_when_sent) = match &self.waiting.stage {
            Stage::Streaming(streamed) if streamed.is_whole => (Wanted::Never, true),
            // It may take long, and the end of the peer's direction, or a reset, must be noticed.
            // Requests behind this one wait in the read buffer.
            Stage::Asked(..) | Stage::Streaming(_) => (Wanted::WithRoom, false),
            Stage::Queued(..) => (Wanted::Never, false),
        };
        Wants {
            input,
            fin: false,
            end_when_sent,
            idle_since: match &self.waiting.stage {
                Stage::Streaming(streamed) if streamed.is_endless && !streamed.is_whole => {
                    Some(streamed.last_piece)
                }
                Stage::Queued(..) | Stage::Asked(..) | Stage::Streaming(_) => None,
            },
        }
    }

    /// Returns when a client that has ended its direction counts as gone. A client that only
    /// half-closes gets its answer until then; nothing tells the server which of the two has happened.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        match self.waiting.stage {
            Stage::Asked(_, _, asked) => asked.limit(limits).map(TimeLimit::end),
            Stage::Queued(..) | Stage::Streaming(_) => None,
        }
    }

    /// Returns the wait of the mode; `None`: for its output to leave.
    pub(super) fn wait(&self, limits: &Limits) -> Option<Wait> {
        match &self.waiting.stage {
            Stage::Queued(..) => Some(Wait::Effects),
            Stage::Asked(_, _, asked) => Some(Wait::Answer {
                since: asked.at,
                ended: asked.limit(limits),
            }),
            Stage::Streaming(streamed) if streamed.is_whole => None,
            Stage::Streaming(streamed) => Some(Wait::Piece {
                queued: streamed.queued,
                since: streamed.last_piece,
            }),
        }
    }

    /// Returns the number of bytes of the request that are held.
    pub(super) fn held_bytes(&self) -> usize {
        match &self.waiting.stage {
            Stage::Queued(_, request) | Stage::Asked(_, request, _) => request.held_bytes(),
            Stage::Streaming(_) => 0,
        }
    }

    /// Ends the answer after the last byte has left.
    pub(super) fn all_sent<S: Files>(self, cx: &mut Context<'_, S>) -> Mode<S> {
        let Stage::Streaming(streamed) = self.waiting.stage else {
            unreachable!("only a stream ends with its output");
        };
        let Begun {
            persistence,
            must_linger,
            exchange,
        } = streamed.begun;
        if let Some(mut exchange) = exchange {
            exchange.body_bytes = streamed.queued;
            cx.tally.log(Record::Exchange(exchange));
        }
        let now = cx.turn.now.instant;
        match persistence {
            Persistence::KeepAlive => Mode::ReadingHead(ReadingHead::new(now)),
            Persistence::Close => {
                Mode::Lingering(Lingering::after(Cause::LastAnswer, must_linger, now))
            }
        }
    }

    /// The connection has failed before the answer was complete, with `unsent` bytes in the write
    /// buffer. The endpoint and the log are told.
    pub(super) fn abandon<S: Files>(self, unsent: u64, cx: &mut Context<'_, S>) {
        let Waiting {
            key,
            endpoint,
            stage,
        } = *self.waiting;
        match stage {
            Stage::Queued(pending, request) | Stage::Asked(pending, request, _) => {
                request.release(&mut cx.shared.pool);
                pending.abandon(cx);
            }
            Stage::Streaming(streamed) => {
                if let Some(mut exchange) = streamed.begun.exchange {
                    exchange.body_bytes = streamed.queued.saturating_sub(unsent);
                    exchange.complete = false;
                    cx.tally.log(Record::Exchange(exchange));
                }
            }
        }
        if cx.shared.owed.settle(key) {
            let (endpoint, mut hub) = cx.endpoint(endpoint);
            endpoint.on_leave(&mut hub, key);
        }
    }
}

impl Asked {
    /// Returns the time after which a client that has ended its direction counts as gone.
    fn limit(&self, limits: &Limits) -> Option<TimeLimit> {
        self.ended.map(|at| TimeLimit::new(at, limits.stall_time))
    }
}

impl Streamed {
    /// A longer piece is not copied into the tail of the write buffer.
    const COPIED_BYTES_MAX: usize = 4 << 10;

    /// Queues a piece of content.
    fn queue<S: Files>(
        &mut self,
        bytes: Vec<u8>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) {
        self.queued += bytes.len() as u64;
        self.last_piece = cx.turn.now.instant;
        let (out, pool) = (&mut *input.write_buffer, &mut cx.shared.pool);
        if self.is_chunked {
            let size = format!("{:x}\r\n", bytes.len());
            out.append(pool, |out| out.extend_from_slice(size.as_bytes()));
        }
        match bytes.len() > Self::COPIED_BYTES_MAX {
            true => {
                pool.account_mut().charge(bytes.capacity());
                out.push_owned(bytes, pool);
            }
            false => out.append(pool, |out| out.extend_from_slice(&bytes)),
        }
        if self.is_chunked {
            out.append(pool, |out| out.extend_from_slice(b"\r\n"));
        }
    }
}
