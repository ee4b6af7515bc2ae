//! Floor 3, connection: the mode of a client's connection whose request is for a backend. The content of
//! the request goes out piece by piece, and the answer comes in piece by piece; the server carries the
//! pieces ([`relay`](crate::connection::relay)).

use std::time::Instant;

use super::pending_response::{Begun, PendingResponse};
use super::{Lingering, Mode, ReadingHead, Step, Tunnel, Wanted, Wants};
use crate::config::Limits;
use crate::connection::relay::{Errand, Piece, append_chunk};
use crate::connection::stall_clock::StallClock;
use crate::connection::why::{Facts, TimeLimit, Wait};
use crate::connection::{Cause, Context, Input, Record, Refusal};
use crate::http::{BodyDecoder, Framing, Persistence, ReceivedHead, RequestHead, Status, Version};
use crate::site::proxy::{Failure, push_last_chunk};
use crate::site::{Asked, BackFraming, Files, Gateway, Reply};

/// A backend has the request, or will get it as soon as there is a connection.
#[derive(Debug)]
pub(crate) struct Forwarding {
    // Boxed: the mode is rare, and `Mode` is small.
    forwarded: Box<Forwarded>,
}

#[derive(Debug)]
struct Forwarded {
    errand: Errand,
    /// The facts about the client that the answer must fit.
    asked: Asked,
    /// The body of the request, until its end was given. `None`: there is none, or no more of it.
    body: Option<Body>,
    /// When the server sends a 100 of its own, because the client waits for one and the backend says
    /// nothing.
    goes_ahead_at: Option<Instant>,
    /// When the request was whole, or the last piece of the answer came.
    last_piece: Instant,
    /// When the end of the client's direction was seen.
    ended: Option<Instant>,
    stage: Stage,
}

/// The body of a request, as far as it has not been given.
#[derive(Debug)]
struct Body {
    decoder: BodyDecoder,
    /// Bytes of content that were given.
    given: u64,
    progress: StallClock,
}

#[derive(Debug)]
enum Stage {
    /// No head of an answer has come.
    Asked(PendingResponse),
    /// The head of the answer was queued.
    Answering(Answering),
}

#[derive(Debug)]
struct Answering {
    /// The duties that are left for the end of the answer.
    begun: Begun,
    is_chunked: bool,
    /// Whether trailers are passed on.
    takes_trailers: bool,
    /// Whether the end of the connection is the end of the content.
    ends_with_connection: bool,
    /// Whether the content has no end: server-sent events.
    is_endless: bool,
    /// Bytes of content queued up to now, without framing.
    queued: u64,
    /// Whether the end of the answer has come.
    is_whole: bool,
}

/// The way in.
impl Forwarding {
    /// The head of a request has come, and its route leads to a backend. The server finds the errand in
    /// the list of those that are new.
    pub(super) fn after<S: Files>(
        pending: PendingResponse,
        errand: Errand,
        asked: Asked,
        request: &RequestHead<'_>,
        input: &Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let now = cx.turn.now.instant;
        let body = BodyDecoder::new(request.framing()).map(|decoder| Body {
            decoder: decoder.with_trailers(),
            given: 0,
            progress: StallClock::new(now),
        });
        let awaits_100 = body.is_some() && asked.expects_continue;
        cx.shared.errands.push_back(input.key);
        Mode::Forwarding(Forwarding {
            forwarded: Box::new(Forwarded {
                errand,
                asked,
                body,
                goes_ahead_at: awaits_100.then(|| now + cx.turn.limits.continue_time),
                last_piece: now,
                ended: None,
                stage: Stage::Asked(pending),
            }),
        })
    }
}

impl Forwarding {
    /// Returns the request for the backend, while no answer has begun.
    pub(in crate::connection) fn errand(&self) -> Option<&Errand> {
        match self.forwarded.stage {
            Stage::Asked(_) => Some(&self.forwarded.errand),
            Stage::Answering(_) => None,
        }
    }

    /// Whether no content of the request was given: the request can be sent again.
    pub(in crate::connection) fn can_repeat(&self) -> bool {
        let body = self.forwarded.body.as_ref();
        match self.forwarded.errand.framing {
            Framing::None => true,
            _ => body.is_some_and(|body| body.given == 0),
        }
    }

    /// Whether a piece can come.
    pub(in crate::connection) fn takes_pieces(&self) -> bool {
        !matches!(&self.forwarded.stage, Stage::Answering(answering) if answering.is_whole)
    }

    /// Whether the end of the connection would be the end of the answer.
    pub(super) fn ends_answer_with_connection(&self) -> bool {
        matches!(&self.forwarded.stage, Stage::Answering(answering) if answering.ends_with_connection)
    }

    pub(super) fn step<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<Mode<S>> {
        let forwarded = &mut *self.forwarded;
        let now = cx.turn.now.instant;
        // A read buffer that is full of the next requests hides the end.
        let is_hidden = || forwarded.body.is_none() && input.read_buffer.is_full();
        if input.eof || (input.peer_closed && is_hidden()) {
            forwarded.ended.get_or_insert(now);
        }
        if input.eof && forwarded.body.is_some() && input.read_buffer.is_empty() {
            let sentence = "the connection was closed within the request body";
            let refusal = Refusal::of_request(Status::BadRequest, sentence);
            return Step::Progress(self.refuse(refusal, input, cx));
        }
        if !input.read_buffer.is_empty() && forwarded.body.is_some() {
            // The client sends the body without waiting any longer.
            forwarded.goes_ahead_at = None;
        }
        if let Stage::Answering(answering) = &forwarded.stage {
            if answering.is_whole {
                return Step::Blocked(Mode::Forwarding(self));
            }
            let ends = match (cx.turn.stopping, input.evict) {
                (true, _) => Some(Cause::Stopped),
                (false, true) => Some(Cause::Overloaded),
                (false, false) => None,
            };
            if let Some(cause) = ends
                && answering.is_endless
                && input.write_buffer.is_empty()
            {
                return Step::Progress(self.break_off(cause, cx));
            }
        }
        if input.expired {
            if forwarded.goes_ahead_at.is_some_and(|at| at <= now) {
                forwarded.go_ahead(input, cx);
                return Step::Progress(Mode::Forwarding(self));
            }
            let is_late = |limit: Option<TimeLimit>| limit.is_some_and(|l| l.end() <= now);
            if !input.read_buffer.is_empty()
                && let Some(body) = &mut forwarded.body
            {
                // The backend holds the client back, not the client itself.
                body.progress = StallClock::new(now);
            }
            if is_late(forwarded.body_limit(&cx.turn.limits)) {
                let refusal = Refusal::late("the request body took too long");
                return Step::Progress(self.refuse(refusal, input, cx));
            }
            if is_late(forwarded.gone_limit(input.last_progress, &cx.turn.limits)) {
                return Step::Progress(self.break_off(Cause::PeerClosed, cx));
            }
        }
        Step::Blocked(Mode::Forwarding(self))
    }

    /// Gives a piece of the request's body.
    pub(super) fn give<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
        put: &mut dyn FnMut(Piece<'_>, &mut Context<'_, S>),
    ) -> (Mode<S>, bool) {
        let forwarded = &mut *self.forwarded;
        let Some(body) = &mut forwarded.body else {
            return (Mode::Forwarding(self), false);
        };
        let bytes = input.read_buffer.bytes();
        if bytes.is_empty() {
            // No step either: the other connection of the pair may need it.
            return (Mode::Forwarding(self), false);
        }
        let part = match body.decoder.decode(bytes) {
            Ok(part) => part,
            Err(error) => return (self.refuse(error.into(), input, cx), true),
        };
        let used = part.framing + part.content;
        let content = &bytes[part.framing..used];
        if !content.is_empty() {
            put(Piece::Content(content), cx);
            body.given += content.len() as u64;
        }
        cx.budget.spend_step();
        cx.budget.spend_gathered(content.len());
        body.progress.add(used, cx.turn.now.instant);
        input.read_buffer.consume(used);
        if part.last {
            put(Piece::End(body.decoder.trailers()), cx);
            forwarded.body = None;
            forwarded.last_piece = cx.turn.now.instant;
        }
        (Mode::Forwarding(self), used > 0 || part.last)
    }

    /// Takes a piece of the answer.
    pub(super) fn take<S: Files>(
        mut self,
        piece: Piece<'_>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        self.forwarded.last_piece = cx.turn.now.instant;
        match piece {
            Piece::Interim(head) => {
                self.forwarded.interim(head, input, cx);
                Mode::Forwarding(self)
            }
            Piece::Head(head) => self.begin(head, input, cx),
            Piece::Switch(head) => self.switch(head, input, cx),
            Piece::Content(content) => {
                if let Stage::Answering(answering) = &mut self.forwarded.stage {
                    answering.queued += content.len() as u64;
                    let is_chunked = answering.is_chunked;
                    let add = |out: &mut Vec<u8>| match is_chunked {
                        true => append_chunk(out, content),
                        false => out.extend_from_slice(content),
                    };
                    input.write_buffer.append(&mut cx.shared.pool, add);
                }
                Mode::Forwarding(self)
            }
            Piece::End(trailers) => {
                if let Stage::Answering(answering) = &mut self.forwarded.stage {
                    answering.is_whole = true;
                    if answering.is_chunked {
                        let trailers = answering.takes_trailers.then_some(trailers);
                        let add = |out: &mut Vec<u8>| push_last_chunk(out, trailers);
                        input.write_buffer.append(&mut cx.shared.pool, add);
                    }
                    if input.write_buffer.is_empty() {
                        return self.all_sent(cx);
                    }
                }
                Mode::Forwarding(self)
            }
            Piece::Broken => self.break_off(Cause::Backend, cx),
        }
    }

    /// Answers in place of the backend.
    pub(in crate::connection) fn answer<S: Files>(
        self,
        failure: &Failure<'_>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let Forwarded {
            asked, body, stage, ..
        } = *self.forwarded;
        let reply = failure.reply(&asked);
        match stage {
            Stage::Asked(pending) if body.is_some() => {
                pending
                    .without_its_body()
                    .answer(reply, Cause::Refused, input, cx)
            }
            Stage::Asked(pending) => pending.answer(reply, Cause::LastAnswer, input, cx),
            Stage::Answering(_) => unreachable!("the caller has asked for the errand"),
        }
    }

    /// Queues the head of the backend's answer.
    fn begin<S: Files>(
        self,
        head: &ReceivedHead<'_>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let Forwarded {
            errand,
            asked,
            body,
            last_piece,
            ended,
            stage,
            ..
        } = *self.forwarded;
        let Stage::Asked(pending) = stage else {
            unreachable!("a backend gives one answer to a request");
        };
        let framing = BackFraming::of(head.body(errand.method), pending.version());
        let ends_with_connection = framing == BackFraming::UntilClose;
        // The backend does not want the rest of the request's body, so no other request can follow.
        let pending = match ends_with_connection || body.is_some() {
            true => pending.ending_the_connection(),
            false => pending,
        };
        let begun = pending.begin_forwarded(head, errand.backend, &asked, framing, input, cx);
        let answering = Answering {
            begun,
            is_chunked: framing == BackFraming::Chunked,
            takes_trailers: asked.takes_trailers,
            ends_with_connection,
            is_endless: is_event_stream(head),
            queued: 0,
            is_whole: false,
        };
        Mode::Forwarding(Forwarding {
            forwarded: Box::new(Forwarded {
                errand,
                asked,
                body,
                goes_ahead_at: None,
                last_piece,
                ended,
                stage: Stage::Answering(answering),
            }),
        })
    }

    /// Queues the head with the status 101, and goes on as a tunnel.
    fn switch<S: Files>(
        self,
        head: &ReceivedHead<'_>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let Forwarded {
            errand,
            asked,
            stage,
            ..
        } = *self.forwarded;
        let Stage::Asked(pending) = stage else {
            unreachable!("a backend gives one answer to a request");
        };
        pending.switch_forwarded(head, errand.backend, &asked, input, cx);
        Mode::Tunnel(Tunnel::after(cx.turn.now.instant))
    }

    /// Refuses the rest of the request. If the answer has begun, the connection ends without the rest of
    /// the answer.
    pub(super) fn refuse<S: Files>(
        self,
        refusal: Refusal,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        match self.forwarded.stage {
            Stage::Asked(pending) => {
                let reply = Reply::plain(refusal.status, refusal.sentence);
                let pending = pending.without_its_body();
                pending.answer(reply, refusal.cause, input, cx)
            }
            Stage::Answering(_) => self.break_off(refusal.cause, cx),
        }
    }

    /// Ends the connection after the queued bytes, without the rest of the answer.
    fn break_off<S: Files>(self, cause: Cause, cx: &mut Context<'_, S>) -> Mode<S> {
        let ends_with_connection = self.ends_answer_with_connection();
        self.abandon(0, cx);
        if ends_with_connection {
            // With a reset: a FIN would be the end of a whole answer (RFC 9112 §8).
            return Mode::Closed(cause);
        }
        // The peer may be sending, and a reset would destroy the bytes written before.
        Mode::Lingering(Lingering::after(cause, true, cx.turn.now.instant))
    }

    /// Ends the answer after the last byte has left.
    pub(super) fn all_sent<S: Files>(self, cx: &mut Context<'_, S>) -> Mode<S> {
        let Forwarded { body, stage, .. } = *self.forwarded;
        let Stage::Answering(answering) = stage else {
            unreachable!("only an answer ends with its output");
        };
        let Begun {
            persistence,
            must_linger,
            exchange,
        } = answering.begun;
        if let Some(mut exchange) = exchange {
            exchange.body_bytes = answering.queued;
            cx.tally.log(Record::Exchange(exchange));
        }
        let now = cx.turn.now.instant;
        match (persistence, body) {
            (Persistence::KeepAlive, None) => Mode::ReadingHead(ReadingHead::new(now)),
            // The answer came before the end of the request's body, and the rest of the body is for
            // nobody.
            (Persistence::KeepAlive, Some(_)) => {
                Mode::Lingering(Lingering::after(Cause::Refused, true, now))
            }
            (Persistence::Close, body) => {
                let must_linger = must_linger || body.is_some();
                Mode::Lingering(Lingering::after(Cause::LastAnswer, must_linger, now))
            }
        }
    }

    /// The connection has failed before the answer was complete, with `unsent` bytes in the write
    /// buffer. The log is told.
    pub(super) fn abandon<S: Files>(self, unsent: u64, cx: &mut Context<'_, S>) {
        match self.forwarded.stage {
            Stage::Asked(pending) => pending.abandon(cx),
            Stage::Answering(answering) => {
                if let Some(mut exchange) = answering.begun.exchange {
                    exchange.body_bytes = answering.queued.saturating_sub(unsent);
                    exchange.complete = false;
                    cx.tally.log(Record::Exchange(exchange));
                }
            }
        }
    }

    pub(super) fn wants(&self) -> Wants {
        let forwarded = &*self.forwarded;
        let (is_whole, is_endless) = match &forwarded.stage {
            Stage::Asked(_) => (false, false),
            Stage::Answering(answering) => (answering.is_whole, answering.is_endless),
        };
        Wants {
            input: match (is_whole, &forwarded.body) {
                (true, _) => Wanted::Never,
                // A backend may answer while it reads, so the body comes in although the client does not
                // take the answer.
                (false, Some(_)) => Wanted::Always,
                // The end of the client's direction, or a reset, must be noticed. Requests behind this one
                // wait in the read buffer.
                (false, None) => Wanted::WithRoom,
            },
            fin: false,
            end_when_sent: is_whole,
            idle_since: (is_endless && !is_whole).then_some(forwarded.last_piece),
        }
    }

    pub(super) fn deadline(&self, last_progress: Instant, limits: &Limits) -> Option<Instant> {
        let forwarded = &*self.forwarded;
        let times = [
            forwarded.goes_ahead_at,
            forwarded.body_limit(limits).map(TimeLimit::end),
            forwarded
                .gone_limit(last_progress, limits)
                .map(TimeLimit::end),
        ];
        times.into_iter().flatten().min()
    }

    /// Returns the wait of the mode; `None`: for its output to leave.
    pub(super) fn wait(&self, facts: &Facts, limits: &Limits) -> Option<Wait> {
        let forwarded = &*self.forwarded;
        let is_held = facts.unread > 0 || forwarded.goes_ahead_at.is_some();
        match (&forwarded.stage, &forwarded.body) {
            (Stage::Answering(answering), _) if answering.is_whole => None,
            // The backend takes no more of the body, or the client waits for its 100.
            (_, Some(_)) if is_held => Some(Wait::Backend {
                since: forwarded.last_piece,
                ended: None,
            }),
            (_, Some(body)) => Some(Wait::Body {
                received: body.given,
                length: None,
                limit: body.progress.limit(limits.stall_time),
            }),
            (_, None) => Some(Wait::Backend {
                since: forwarded.last_piece,
                ended: forwarded.gone_limit(facts.last_progress, limits),
            }),
        }
    }

    /// Returns the number of bytes of the request that are held.
    pub(super) fn held_bytes(&self) -> usize {
        self.forwarded.errand.head.capacity()
    }
}

impl Forwarded {
    /// Passes an interim response on, if the client can make something of it.
    fn interim<S: Files>(
        &mut self,
        head: &ReceivedHead<'_>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) {
        let Stage::Asked(pending) = &self.stage else {
            return;
        };
        if pending.version() == Version::Http10 {
            return;
        }
        match head.status() {
            100 if self.goes_ahead_at.is_some() => self.go_ahead(input, cx),
            // Early hints (RFC 8297).
            103 => {
                let add = |out: &mut Vec<u8>| Gateway::interim(head, out);
                input.write_buffer.append(&mut cx.shared.pool, add);
            }
            _ => {}
        }
    }

    /// Lets the client send the body (RFC 9110 §10.1.1).
    fn go_ahead<S: Files>(&mut self, input: &mut Input<'_, S>, cx: &mut Context<'_, S>) {
        self.goes_ahead_at = None;
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        let out = &mut *input.write_buffer;
        out.append(&mut cx.shared.pool, |tail| tail.extend_from_slice(interim));
    }

    /// Returns the time in which the next portion of the body must come.
    fn body_limit(&self, limits: &Limits) -> Option<TimeLimit> {
        let body = self.body.as_ref()?;
        Some(body.progress.limit(limits.stall_time))
    }

    /// Returns the time after which a client that has ended its direction counts as gone.
    fn gone_limit(&self, last_progress: Instant, limits: &Limits) -> Option<TimeLimit> {
        let ended = self.ended?;
        let since = ended.max(last_progress);
        Some(TimeLimit::new(since, limits.half_close_time))
    }
}

/// Whether an answer is a stream of server-sent events, which has no end.
fn is_event_stream(head: &ReceivedHead<'_>) -> bool {
    const TYPE: &[u8] = b"text/event-stream";
    let value = head.named("Content-Type").unwrap_or_default();
    value.len() >= TYPE.len() && value[..TYPE.len()].eq_ignore_ascii_case(TYPE)
}
