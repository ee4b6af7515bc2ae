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
use crate::connection::stall_clock::StallClock;
use crate::connection::{Cause, Context, Effect, Input, Refusal};
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
    purpose: Purpose,
    /// Bytes of content received up to now.
    received: usize,
    progress: StallClock,
}

/// The purpose for which a body is received.
#[derive(Debug)]
enum Purpose {
    /// To hand the body to an endpoint. The vector holds the received content, in storage of the
    /// pool.
    Endpoint(Mount, Vec<u8>),
    /// To find the end of the body, and then to answer the request. The vector holds the bytes of
    /// the head until then, in storage of the pool.
    End(Head, Vec<u8>),
}

/// The way in.
impl ReadingBody {
    /// A whole head has come, and the body follows. The body may be empty.
    pub(super) fn after<S: Files>(
        pending: PendingResponse,
        head: &Head,
        request: &RequestHead<'_>,
        endpoint: Option<Mount>,
        cx: &mut Context<'_, S>,
    ) -> ReadingBody {
        let framing = match request.framing() {
            Framing::None => Framing::Length(0),
            framing @ (Framing::Length(_) | Framing::Chunked) => framing,
        };
        let decoder = BodyDecoder::new(framing).expect("there is a body");
        let length = match framing {
            Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
            Framing::None | Framing::Chunked => usize::MAX,
        };
        let incoming = Incoming {
            pending,
            decoder,
            length,
            purpose: match endpoint {
                Some(endpoint) => Purpose::Endpoint(endpoint, Vec::new()),
                None => {
                    let mut kept = Vec::new();
                    cx.shared
                        .pool
                        .append(&mut kept, |kept| kept.extend_from_slice(request.bytes()));
                    Purpose::End(head.clone(), kept)
                }
            },
            received: 0,
            progress: StallClock::new(cx.turn.now.instant),
        };
        ReadingBody {
            incoming: Box::new(incoming),
        }
    }
}

impl ReadingBody {
    pub(super) fn step<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<S> {
        let incoming = &mut *self.incoming;
        let before = input.read_buffer.bytes().len();
        let taken = incoming.take(input, cx);
        let used = before - input.read_buffer.bytes().len();
        incoming.progress.add(used, cx.turn.now.instant);
        let refusal = match taken {
            Ok(true) => return Step::Progress(self.finish(input, cx)),
            Err(refusal) => refusal,
            // The bytes that were read because of the deadline may have moved it.
            Ok(false) if input.expired && self.deadline(&cx.turn.limits) <= cx.turn.now.instant => {
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

    /// Queues a refusal, and ends the connection: the rest of the body will not be read.
    pub(super) fn refuse<S: Files>(
        self,
        refusal: Refusal,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let pending = self.end(cx).without_its_body();
        let reply = Reply::plain(refusal.status, refusal.sentence);
        pending.answer(reply, refusal.cause, input, cx)
    }

    /// Goes on after the whole body has come.
    fn finish<S: Files>(self, input: &mut Input<'_, S>, cx: &mut Context<'_, S>) -> Mode<S> {
        let Incoming {
            pending, purpose, ..
        } = *self.incoming;
        match purpose {
            Purpose::Endpoint(to, body) => {
                let from = input.key;
                cx.shared.effects.push(Effect::Post { from, to, body });
                Mode::AwaitingEndpoint(AwaitingEndpoint::after(pending))
            }
            Purpose::End(head, bytes) => {
                let request = RequestHead::new(&head, &bytes);
                let reply = cx.shared.site.answer(&request, cx.turn.now.wall);
                cx.shared.pool.release_vec(bytes);
                pending.answer(reply, Cause::LastAnswer, input, cx)
            }
        }
    }

    /// Gives the storage back to the pool, and returns the request.
    fn end<S: Files>(self, cx: &mut Context<'_, S>) -> PendingResponse {
        let Incoming {
            pending, purpose, ..
        } = *self.incoming;
        let (Purpose::Endpoint(_, storage) | Purpose::End(_, storage)) = purpose;
        cx.shared.pool.release_vec(storage);
        pending
    }

    pub(super) fn abandon<S: Files>(self, cx: &mut Context<'_, S>) {
        self.end(cx).abandon(cx);
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            input: Wanted::Always,
            fin: false,
            end_when_sent: false,
            idle_since: None,
        }
    }

    /// Returns the number of bytes of the received content, or of the kept head.
    pub(super) fn held_bytes(&self) -> usize {
        let (Purpose::Endpoint(_, storage) | Purpose::End(_, storage)) = &self.incoming.purpose;
        storage.len()
    }

    pub(super) fn deadline(&self, limits: &Limits) -> Instant {
        self.incoming.progress.last_progress() + limits.stall_time
    }
}

impl Incoming {
    /// The number of pieces of a body that are taken with one unit of work. A chunk may have a single
    /// byte.
    const PIECES_PER_WORK: u32 = 8;

    /// Consumes the bytes of the body in the read buffer. Returns `true` at the end of the body. Leaves
    /// bytes in the read buffer when the budget is spent.
    fn take<S: Files>(
        &mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<bool, Refusal> {
        // The number of rounds is bounded, because each round consumes bytes of the read buffer.
        for piece in 1_u32.. {
            if piece.is_multiple_of(Self::PIECES_PER_WORK) {
                cx.budget.spend_work(1);
                if !cx.budget.has_steps() {
                    break;
                }
            }
            let bytes = input.read_buffer.bytes();
            let part = self.decoder.decode(bytes)?;
            let content = &bytes[part.framing..][..part.content];
            self.received += content.len();
            // A chunk that is too large is refused by its size, before the client has sent it.
            let at_least = (self.received as u64).saturating_add(self.decoder.announced());
            if at_least > cx.turn.limits.body_bytes_max as u64 {
                return Err(too_large());
            }
            if let Purpose::Endpoint(_, body) = &mut self.purpose {
                cx.shared.pool.gather(body, content, self.length);
                cx.budget.spend_gathered(content.len());
            }
            let used = part.framing + part.content;
            input.read_buffer.consume(used);
            if part.last || used == 0 {
                return Ok(part.last);
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
