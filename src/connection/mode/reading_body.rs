//! Floor 3, connection: the mode that receives the body of a request, for an endpoint or only to
//! find the end of the body.
//!
//! A body without an endpoint is read too, within a limit, because the next request begins where
//! the body ends. The request is answered only after its body, because broken framing in the body
//! would make the request a bad request.

use std::time::Instant;

use super::pending_response::PendingResponse;
use super::{AwaitingEndpoint, Mode, Step, Wanted, Wants};
use crate::config::Limits;
use crate::connection::request::KeptRequest;
use crate::connection::stall_clock::StallClock;
use crate::connection::why::{TimeLimit, Wait};
use crate::connection::{Answer, Cause, Context, Input, Key, Refusal, Uptake};
use crate::http::{BodyDecoder, Framing, Head, RequestHead, Status};
use crate::site::{Files, Mount, Reply};

/// Receiving the body of a request.
#[derive(Debug)]
pub(crate) struct ReadingBody {
    // Boxed: one allocation for each body, and a small `Mode`.
    incoming: Box<Incoming>,
}

#[derive(Debug)]
struct Incoming {
    pending: PendingResponse,
    decoder: BodyDecoder,
    /// The length of the content as announced by the head; `usize::MAX` for a chunked body.
    length: usize,
    taker: Taker,
    /// The request. If the taker wants the body whole, the content that was received is with it.
    request: KeptRequest,
    /// Bytes of content received up to now.
    received: u64,
    /// The taker wants no further piece for the moment.
    is_paused: bool,
    /// The end of the body has come.
    is_whole: bool,
    progress: StallClock,
}

/// The taker of a body.
#[derive(Debug)]
pub(super) enum Purpose {
    /// An endpoint, whole.
    Whole(Key, Mount),
    /// An endpoint, piece by piece.
    Pieces(Key, Mount),
    /// No endpoint: the body is read to find its end, and then the request is answered from the files.
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Taker {
    Whole,
    Pieces,
    Nobody,
}

/// The way in.
impl ReadingBody {
    /// A whole head has come, and the body follows.
    pub(super) fn after<S: Files>(
        pending: PendingResponse,
        head: &Head,
        request: &RequestHead<'_>,
        purpose: Purpose,
        input: &Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> ReadingBody {
        let framing = request.framing();
        let decoder = BodyDecoder::new(framing).expect("there is a body");
        let length = match framing {
            Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
            Framing::None | Framing::Chunked => usize::MAX,
        };
        let (taker, named) = match purpose {
            Purpose::Whole(key, mount) => (Taker::Whole, (key, mount)),
            Purpose::Pieces(key, mount) => (Taker::Pieces, (key, mount)),
            Purpose::End => (Taker::Nobody, (input.key, Mount::default())),
        };
        let incoming = Incoming {
            pending,
            decoder,
            length,
            taker,
            request: KeptRequest::new(head, request, named, &mut cx.shared.pool),
            received: 0,
            is_paused: false,
            is_whole: false,
            progress: StallClock::new(cx.turn.now.instant),
        };
        ReadingBody {
            incoming: Box::new(incoming),
        }
    }
}

/// Why no more of a body is taken.
enum Stop {
    /// The request is refused.
    Refused(Refusal),
    /// The endpoint has answered.
    Answered(Answer),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

impl ReadingBody {
    pub(super) fn step<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<Mode<S>> {
        let incoming = &mut *self.incoming;
        if incoming.is_paused {
            return Step::Blocked(Mode::ReadingBody(self));
        }
        if incoming.is_whole {
            return Step::Progress(self.finish(input, cx));
        }
        if incoming.is_crowded_out(cx) {
            // No event announces new space in the queue of effects.
            return Step::Throttled(Mode::ReadingBody(self));
        }
        let before = input.read_buffer.bytes().len();
        let taken = incoming.take(input, cx);
        let used = before - input.read_buffer.bytes().len();
        incoming.progress.add(used, cx.turn.now.instant);
        let refusal = match taken {
            Ok(true) => return Step::Progress(self.finish(input, cx)),
            Err(Stop::Answered(answer)) => {
                let reply = answer.into_reply(&self.incoming.request.head(), cx);
                let pending = self.end(cx).without_its_body();
                return Step::Progress(pending.answer(reply, Cause::Refused, input, cx));
            }
            Err(Stop::Refused(refusal)) => refusal,
            // The bytes that were read because of the deadline may have moved it.
            Ok(false) if input.expired && self.is_late(cx) => {
                Refusal::late("the request body took too long")
            }
            Ok(false) if used > 0 => return Step::Progress(Mode::ReadingBody(self)),
            Ok(false) if input.eof => Refusal::of_request(
                Status::BadRequest,
                "the connection was closed within the request body",
            ),
            Ok(false) => return Step::NeedInput(Mode::ReadingBody(self)),
        };
        Step::Progress(self.refuse(refusal, input, cx))
    }

    /// The key of the request.
    pub(super) fn key(&self) -> Key {
        self.incoming.request.key
    }

    /// The endpoint takes pieces again.
    pub(super) fn resume(&mut self, now: Instant) {
        let incoming = &mut *self.incoming;
        if std::mem::take(&mut incoming.is_paused) {
            incoming.progress = StallClock::new(now);
        }
    }

    /// Queues a refusal, and ends the connection: the rest of the body will not be read.
    pub(super) fn refuse<S: Files>(
        self,
        refusal: Refusal,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        self.tell_endpoint(cx);
        let pending = self.end(cx).without_its_body();
        let reply = Reply::plain(refusal.status, refusal.sentence);
        pending.answer(reply, refusal.cause, input, cx)
    }

    /// Goes on after the whole body has come.
    fn finish<S: Files>(self, input: &mut Input<'_, S>, cx: &mut Context<'_, S>) -> Mode<S> {
        let Incoming {
            pending,
            mut request,
            taker,
            ..
        } = *self.incoming;
        if taker == Taker::Nobody {
            let reply = cx.shared.site.answer(&request.head(), cx.turn.now.wall);
            request.release(&mut cx.shared.pool);
            return pending.answer(reply, Cause::LastAnswer, input, cx);
        }
        if !cx.shared.effects.is_empty() {
            if taker == Taker::Pieces {
                // The endpoint has begun with the request, and must learn if the client leaves.
                cx.shared.owed.owe_queued(request.key);
            }
            return AwaitingEndpoint::queue(pending, request, cx);
        }
        let endpoint = request.mount.number;
        let lent = request.lend(*input.peer, &mut cx.shared.pool);
        let answer = cx.ask(endpoint, lent);
        AwaitingEndpoint::after(answer, pending, request, input, cx)
    }

    /// Gives the storage back to the pool, and returns the request.
    fn end<S: Files>(self, cx: &mut Context<'_, S>) -> PendingResponse {
        let Incoming {
            pending, request, ..
        } = *self.incoming;
        request.release(&mut cx.shared.pool);
        pending
    }

    /// Tells the endpoint that it gets no further piece.
    fn tell_endpoint<S: Files>(&self, cx: &mut Context<'_, S>) {
        if self.incoming.taker == Taker::Pieces {
            let (endpoint, mut hub) = cx.endpoint(self.incoming.request.mount.number);
            endpoint.on_leave(&mut hub, self.key());
        }
    }

    pub(super) fn abandon<S: Files>(self, cx: &mut Context<'_, S>) {
        self.tell_endpoint(cx);
        self.end(cx).abandon(cx);
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            input: match self.incoming.is_paused {
                true => Wanted::Never,
                false => Wanted::Always,
            },
            fin: false,
            end_when_sent: false,
            idle_since: None,
        }
    }

    /// Returns the number of bytes of the received content and of the kept head.
    pub(super) fn held_bytes(&self) -> usize {
        self.incoming.request.held_bytes()
    }

    /// Returns when the next portion of the body must have come; `None` while the endpoint lets the
    /// client wait.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        self.limit(limits).map(TimeLimit::end)
    }

    fn limit(&self, limits: &Limits) -> Option<TimeLimit> {
        let limit = self.incoming.progress.limit(limits.stall_time);
        (!self.incoming.is_paused).then_some(limit)
    }

    /// Returns the wait of the mode.
    pub(super) fn wait(&self, limits: &Limits) -> Wait {
        let incoming = &*self.incoming;
        let received = incoming.received;
        match self.limit(limits) {
            Some(limit) => Wait::Body {
                received,
                length: (incoming.length < usize::MAX).then_some(incoming.length as u64),
                limit,
            },
            None => Wait::Uptake { taken: received },
        }
    }

    fn is_late<S: Files>(&self, cx: &Context<'_, S>) -> bool {
        let due = self.deadline(&cx.turn.limits);
        due.is_some_and(|due| due <= cx.turn.now.instant)
    }
}

impl Incoming {
    /// The number of pieces of a body that are taken with one unit of work. A chunk may have a single
    /// byte.
    const PIECES_PER_WORK: u32 = 8;

    /// Whether the endpoint takes pieces and publishes, and the queue of effects is full. A body of many
    /// small chunks would otherwise fill the queue faster than the server empties it.
    fn is_crowded_out<S: Files>(&self, cx: &Context<'_, S>) -> bool {
        self.taker == Taker::Pieces
            && cx.shared.effects.is_full(&cx.turn.limits)
            && cx.shared.endpoints.publishes(self.request.mount.number)
    }

    /// Consumes the bytes of the body in the read buffer. Returns `true` at the end of the body. Leaves
    /// bytes in the read buffer when the budget is spent, or when the endpoint wants to wait.
    fn take<S: Files>(
        &mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<bool, Stop> {
        // The number of rounds is bounded, because each round consumes bytes of the read buffer.
        for piece in 1_u32.. {
            if piece.is_multiple_of(Self::PIECES_PER_WORK) {
                cx.budget.spend_work(1);
                if !cx.budget.has_steps() {
                    break;
                }
            }
            let bytes = input.read_buffer.bytes();
            let part = self.decoder.decode(bytes).map_err(Refusal::from)?;
            let content = &bytes[part.framing..][..part.content];
            self.received += content.len() as u64;
            // A chunk that is too large is refused by its size, before the client has sent it.
            let at_least = self.received.saturating_add(self.decoder.announced());
            if self.taker != Taker::Pieces && at_least > cx.turn.limits.body_bytes_max as u64 {
                return Err(too_large().into());
            }
            match self.taker {
                Taker::Whole => {
                    let body = &mut self.request.body;
                    cx.shared.pool.gather(body, content, self.length);
                    cx.budget.spend_gathered(content.len());
                }
                Taker::Pieces if !content.is_empty() => {
                    cx.budget.spend_gathered(content.len());
                    let before = cx.shared.effects.len();
                    let (endpoint, mut hub) = cx.endpoint(self.request.mount.number);
                    match endpoint.on_body(&mut hub, self.request.key, content) {
                        Uptake::More => {}
                        Uptake::Wait => self.is_paused = true,
                        Uptake::Refuse(answer) => return Err(Stop::Answered(answer)),
                    }
                    if cx.shared.effects.len() > before {
                        let number = self.request.mount.number;
                        cx.shared.endpoints.mark_as_publisher(number);
                    }
                }
                Taker::Pieces | Taker::Nobody => {}
            }
            let used = part.framing + part.content;
            input.read_buffer.consume(used);
            self.is_whole = part.last;
            if part.last || used == 0 || self.is_paused || self.is_crowded_out(cx) {
                return Ok(part.last && !self.is_paused);
            }
        }
        Ok(false)
    }
}

/// The body exceeds the limit, by `Content-Length`, or by the received bytes and the size of the
/// current chunk.
pub(super) fn too_large() -> Refusal {
    Refusal::of_request(Status::ContentTooLarge, "the request body is too large")
}
