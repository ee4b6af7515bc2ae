//! Floor 3, connection: the mode that waits for a request, and receives its head.

use std::mem;
use std::time::Instant;

use super::pending_response::PendingResponse;
use super::reading_body::Purpose;
use super::{
    AwaitingEndpoint, Forwarding, Lingering, Mode, ReadingBody, Step, Wanted, Wants, WebSocket,
    reading_body,
};
use crate::config::Limits;
use crate::connection::request::{KeptRequest, is_coded, parameter};
use crate::connection::why::{Facts, TimeLimit, Wait};
use crate::connection::{Cause, Context, Errand, Input, Intake, Key, Refusal, Request};
use crate::http::{
    Expectation, Field, Framing, Head, HeadError, HeadParser, Parsed, RequestHead, Scheme, Status,
};
use crate::site::{Asked, Files, Mount, Origin, Reply, Route};
use crate::transport::{UNIX_PEER, Wire};
use crate::websocket::{Accept, Opening, OpeningError};

/// Waiting for a request, or receiving the head of a request.
#[derive(Debug)]
pub(crate) struct ReadingHead {
    /// When the first byte of the head came. Before that: since when the connection has waited for
    /// a request.
    since: Instant,
    /// The first byte of a head has come.
    begun: bool,
    /// The state of the parser, for an incomplete head. Boxed, because most heads come whole.
    parser: Option<Box<HeadParser>>,
}

/// The way in.
impl ReadingHead {
    /// The connection was just accepted, or its previous request has been answered.
    pub(super) fn new(now: Instant) -> ReadingHead {
        ReadingHead {
            since: now,
            begun: false,
            parser: None,
        }
    }
}

impl ReadingHead {
    /// Takes one step. `None`: the mode stays in its place.
    #[inline(always)]
    pub(super) fn step<S: Files>(
        &mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<Option<Mode<S>>> {
        if !input.has_room {
            return Step::Blocked(None);
        }
        let bytes = input.read_buffer.bytes();
        if !bytes.is_empty() {
            // A head that comes whole, as nearly every head does, needs no box. Its parser is made where the
            // parser is used, because a copy would have to wait until the fields are written.
            let mut parser = HeadParser::default();
            if let Some(kept) = self.parser.as_deref_mut() {
                mem::swap(&mut parser, kept);
            }
            if input.wire == Wire::Tls {
                parser.set_scheme(Scheme::Https);
            }
            if let Some(watch) = &mut cx.shared.stopwatch {
                watch.begin_parse();
            }
            match parser.parse(bytes, &cx.turn.head_limits) {
                Ok(Parsed::Complete(head)) => {
                    let next = ReadingHead::serve(head, input, cx);
                    let Mode::ReadingHead(_) = next else {
                        return Step::Progress(Some(next));
                    };
                    // The same as the next mode, which would have to be copied. The next mode owns nothing, and to
                    // drop it would be a call for each request.
                    mem::forget(next);
                    *self = ReadingHead::new(cx.turn.now.instant);
                    return match input.read_buffer.is_empty() && !input.eof {
                        true => Step::Handled(None),
                        false => Step::Progress(None),
                    };
                }
                Ok(Parsed::Partial) => {
                    **self.parser.get_or_insert_default() = parser;
                }
                Err(error) => {
                    let reply = Reply::plain(error.status(), error.explain(bytes));
                    let pending = PendingResponse::nothing(input, cx);
                    return Step::Progress(Some(pending.answer(reply, Cause::Refused, input, cx)));
                }
            }
        }
        if !self.begun && HeadParser::has_begun(bytes) {
            (self.begun, self.since) = (true, cx.turn.now.instant);
        }
        match self.begun {
            true => self.wait_for_the_rest(input, cx),
            false => self.wait_for_a_request(input, cx),
        }
    }

    fn wait_for_the_rest<S: Files>(
        &self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<Option<Mode<S>>> {
        let refusal = if input.eof {
            HeadError::Incomplete.into()
        } else if input.expired && self.head_limit(&cx.turn.limits).end() <= cx.turn.now.instant {
            Refusal::late("the request head took too long")
        } else {
            return Step::NeedInput(None);
        };
        Step::Progress(Some(ReadingHead::refuse(refusal, input, cx)))
    }

    /// Waits for the first byte of a request. No request is in flight: the connection may end
    /// without an answer.
    fn wait_for_a_request<S: Files>(
        &self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<Option<Mode<S>>> {
        let cause = if input.eof {
            Cause::PeerClosed
        } else if input.evict {
            Cause::Overloaded
        } else if cx.turn.stopping {
            Cause::Stopped
        } else if input.expired {
            Cause::Idle
        } else {
            return Step::NeedInput(None);
        };
        let now = cx.turn.now.instant;
        // A peer with a recent answer may be sending the next request, and a reset would destroy
        // the answer before the peer has read it. A peer that has been idle for a while has read
        // the answer.
        let quiet = now.saturating_duration_since(self.since.max(input.last_progress));
        let recent = !input.write_buffer.is_empty() || quiet < cx.turn.limits.linger_idle_time;
        let must_linger = cause == Cause::Stopped && recent;
        let lingering = Lingering::after(cause, must_linger, now);
        Step::Progress(Some(Mode::Lingering(lingering)))
    }

    /// Serves the request whose head is at the front of the read buffer, and consumes the head.
    fn serve<S: Files>(head: &Head, input: &mut Input<'_, S>, cx: &mut Context<'_, S>) -> Mode<S> {
        let request = RequestHead::new(head, input.read_buffer.bytes());
        let mut pending = PendingResponse::new(&request, input, cx);
        let has_body = request.framing() != Framing::None;
        match Plan::of(&request, input, cx) {
            Plan::Answer(reply) => {
                input.read_buffer.consume(head.end());
                let (pending, cause) = match has_body || input.wire == Wire::PlainForTls {
                    true => (pending.without_its_body(), Cause::Refused),
                    false => (pending, Cause::LastAnswer),
                };
                pending.answer_here(reply, cause, input, cx)
            }
            Plan::Open(accept, mount) => {
                WebSocket::after(pending, &accept, &mount, head, input, cx)
            }
            Plan::Forward(errand, asked) => {
                let mode = Forwarding::after(pending, errand, *asked, &request, input, cx);
                input.read_buffer.consume(head.end());
                mode
            }
            Plan::Ask(key, mount) => {
                pending.note_endpoint();
                ReadingHead::ask(pending, (key, mount), head, input, cx)
            }
            Plan::ReadBody { purpose, go_ahead } => {
                pending.note_endpoint();
                let mode = ReadingBody::after(pending, head, &request, purpose, input, cx);
                if go_ahead {
                    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
                    let out = &mut *input.write_buffer;
                    out.append(&mut cx.shared.pool, |tail| tail.extend_from_slice(interim));
                }
                input.read_buffer.consume(head.end());
                Mode::ReadingBody(mode)
            }
        }
    }

    /// Hands a request without a body to an endpoint. The request waits if effects are queued, which
    /// may change the rooms that the endpoint looks at.
    fn ask<S: Files>(
        pending: PendingResponse,
        (key, mount): (Key, Mount),
        head: &Head,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let request = RequestHead::new(head, input.read_buffer.bytes());
        if !cx.shared.effects.is_empty() {
            let kept = KeptRequest::new(head, &request, (key, mount), &mut cx.shared.pool);
            input.read_buffer.consume(head.end());
            return AwaitingEndpoint::queue(pending, kept, cx);
        }
        let lent = Request {
            head: request,
            mount: &mount,
            key,
            peer: *input.peer,
            body: Vec::new(),
        };
        let answer = cx.ask(mount.number, lent);
        if answer.is_whole() {
            let reply = answer.into_reply(&request, cx);
            input.read_buffer.consume(head.end());
            return pending.answer(reply, Cause::LastAnswer, input, cx);
        }
        let kept = KeptRequest::new(head, &request, (key, mount), &mut cx.shared.pool);
        input.read_buffer.consume(head.end());
        AwaitingEndpoint::after(answer, pending, kept, input, cx)
    }

    /// Queues a refusal, and ends the connection: of a request that is not whole, late, or too much
    /// for an overloaded server.
    pub(super) fn refuse<S: Files>(
        refusal: Refusal,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let reply = Reply::plain(refusal.status, refusal.sentence);
        PendingResponse::nothing(input, cx).answer(reply, refusal.cause, input, cx)
    }

    /// Returns the time for the rest of a head that has begun.
    fn head_limit(&self, limits: &Limits) -> TimeLimit {
        TimeLimit::new(self.since, limits.head_time)
    }

    /// Whether the first byte of a head has come.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    #[inline]
    pub(super) fn wants(&self) -> Wants {
        Wants {
            input: Wanted::WithRoom,
            fin: false,
            end_when_sent: false,
            idle_since: (!self.begun).then_some(self.since),
        }
    }

    #[inline(always)]
    pub(super) fn deadline(
        &self,
        last_progress: Instant,
        pending: bool,
        limits: &Limits,
    ) -> Option<Instant> {
        self.limit(last_progress, pending, limits)
            .map(TimeLimit::end)
    }

    /// Returns the time for the rest of a head, or for the first byte of one. While output waits, no
    /// time runs for the first byte.
    fn limit(&self, last_progress: Instant, pending: bool, limits: &Limits) -> Option<TimeLimit> {
        match self.begun {
            true => Some(self.head_limit(limits)),
            false if pending => None,
            false => {
                let since = self.since.max(last_progress);
                Some(TimeLimit::new(since, limits.idle_time))
            }
        }
    }

    /// Returns the wait of the mode.
    pub(super) fn wait(&self, facts: &Facts, limits: &Limits) -> Option<Wait> {
        let limit = self.limit(facts.last_progress, facts.pending, limits)?;
        Some(match (self.begun, facts.has_answered) {
            (true, _) => Wait::Head {
                received: facts.unread,
                limit,
            },
            (false, true) => Wait::NextRequest(limit),
            (false, false) => Wait::FirstRequest(limit),
        })
    }
}

/// The decision about a request, made from the head alone.
enum Plan<S: Files> {
    /// Answer now. If the request has a body, the body is not read, and this answer is the last of
    /// the connection; so is the answer to a client that should speak TLS.
    Answer(Reply<S::File>),
    /// Accept the opening handshake, and go on by WebSocket.
    Open(Accept, Mount),
    /// Let an endpoint answer. The request has no body.
    Ask(Key, Mount),
    /// Let a backend answer.
    Forward(Errand, Box<Asked>),
    /// Read the body first: for an endpoint, or to find the next request after the body.
    ReadBody {
        purpose: Purpose,
        /// The client waits for a 100 before it sends the body (RFC 9110 §10.1.1).
        go_ahead: bool,
    },
}

impl<S: Files> Plan<S> {
    fn of(request: &RequestHead<'_>, input: &Input<'_, S>, cx: &mut Context<'_, S>) -> Plan<S> {
        if input.wire == Wire::PlainForTls
            && let Some(reply) = cx.shared.site.by_https_alone(request)
        {
            return Plan::Answer(reply);
        }
        let mount = match cx.shared.site.route(request) {
            Route::Files => None,
            Route::Backend(number) => return Plan::forward(number, request, input, cx),
            Route::Denied(reply) => return Plan::Answer(reply),
            Route::Endpoint(mount) if mount.takes.websocket && request.wants_websocket() => {
                return match accept(request, &mount, cx) {
                    Ok(accept) => Plan::Open(accept, mount),
                    Err(reply) => Plan::Answer(reply),
                };
            }
            Route::Endpoint(mount) => Some(mount).filter(|m| m.takes.has(request.method())),
        };
        if mount.is_none() && cx.shared.site.has_backend_for_absent() {
            match cx.shared.site.route_absent(request, cx.turn.now.wall) {
                Route::Backend(number) => return Plan::forward(number, request, input, cx),
                Route::Denied(reply) => return Plan::Answer(reply),
                Route::Files | Route::Endpoint(_) => {}
            }
        }
        if request.expectation() == Expectation::Unknown {
            return Plan::Answer(Reply::plain(
                Status::ExpectationFailed,
                "100-continue is the only expectation known here",
            ));
        }
        if let Some(mount) = mount {
            return Plan::for_endpoint(request, mount, input, cx);
        }
        match (request.framing(), request.expectation()) {
            (framing, _) if is_too_long(framing, cx) => Plan::too_long(),
            // A client gets a 100 only if the body is wanted. Otherwise the client gets the answer
            // at once, and need not send the body (RFC 9110 §10.1.1).
            (Framing::None, _) | (_, Expectation::Continue) => {
                Plan::Answer(cx.shared.site.answer(request, cx.turn.now.wall))
            }
            _ => Plan::ReadBody {
                purpose: Purpose::End,
                go_ahead: false,
            },
        }
    }

    /// The plan for a request that an endpoint answers. If a body follows, the endpoint says how it
    /// takes the body.
    #[inline(never)]
    fn for_endpoint(
        request: &RequestHead<'_>,
        mount: Mount,
        input: &Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Plan<S> {
        // An endpoint would take the coded bytes for the content.
        if is_coded(request) {
            return Plan::Answer(Reply::coding_not_taken());
        }
        cx.shared.site.note_writer(request, cx.turn.now.wall);
        let key = cx.shared.owed.name_request(input.key);
        if request.framing() == Framing::None {
            return Plan::Ask(key, mount);
        }
        let lent = Request {
            head: *request,
            mount: &mount,
            key,
            peer: *input.peer,
            body: Vec::new(),
        };
        let (endpoint, mut hub) = cx.endpoint(mount.number);
        let purpose = match endpoint.on_head(&mut hub, &lent) {
            Intake::Whole if is_too_long(request.framing(), cx) => return Plan::too_long(),
            Intake::Whole => Purpose::Whole(key, mount),
            Intake::Pieces => Purpose::Pieces(key, mount),
            Intake::Refuse(answer) => return Plan::Answer(answer.into_reply(request, cx)),
        };
        Plan::ReadBody {
            purpose,
            go_ahead: request.expectation() == Expectation::Continue,
        }
    }

    /// The plan for a request that a backend answers.
    #[inline(never)]
    fn forward(
        number: u16,
        request: &RequestHead<'_>,
        input: &Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Plan<S> {
        let origin = Origin {
            ip: (*input.peer != UNIX_PEER).then(|| input.peer.ip()),
            is_tls: input.wire == Wire::Tls,
            has_password: cx.shared.site.asks_for_password(),
        };
        let (head, asked) = cx.shared.site.gateway().onward(number, request, origin);
        let errand = Errand {
            backend: number,
            head,
            method: request.method(),
            framing: request.framing(),
            wants_upgrade: asked.is_websocket,
        };
        Plan::Forward(errand, Box::new(asked))
    }

    fn too_long() -> Plan<S> {
        let refusal = reading_body::too_large();
        Plan::Answer(Reply::plain(refusal.status, refusal.sentence))
    }
}

/// Whether a body of an announced length exceeds the limit.
fn is_too_long<S: Files>(framing: Framing, cx: &Context<'_, S>) -> bool {
    matches!(framing, Framing::Length(n) if n > cx.turn.limits.body_bytes_max as u64)
}

/// Checks an opening handshake against the rules of RFC 6455 §4.2, beginning with the rules of
/// HTTP.
fn accept<S: Files>(
    request: &RequestHead<'_>,
    mount: &Mount,
    cx: &mut Context<'_, S>,
) -> Result<Accept, Reply<S::File>> {
    let refused = |sentence| Reply::plain(Status::BadRequest, sentence);
    if request.framing() != Framing::None {
        return Err(refused("an opening handshake of WebSocket has no body"));
    }
    if !request.has_connection_option("upgrade") {
        return Err(refused(
            "Upgrade without `Connection: Upgrade` is not passed on by proxies",
        ));
    }
    let values = |field| request.values(field).collect();
    let opening = Opening {
        keys: values(Field::WebSocketKey),
        versions: values(Field::WebSocketVersion),
        protocols: values(Field::WebSocketProtocol),
        extensions: match parameter(&mount.query, "deflate").as_deref() {
            Some("off") => Vec::new(),
            _ => values(Field::WebSocketExtensions),
        },
    };
    let protocols = cx.shared.endpoints.get(mount.number).protocols();
    opening.accept(protocols).map_err(|error| match error {
        OpeningError::Version => Reply::version_required(error.sentence()),
        OpeningError::Key | OpeningError::Protocols | OpeningError::Extensions => {
            refused(error.sentence())
        }
    })
}
