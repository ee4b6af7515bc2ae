//! Floor 3, connection: the mode that waits for a request, and receives its head.

use std::mem;
use std::time::Instant;

use super::pending_response::PendingResponse;
use super::{Lingering, Mode, ReadingBody, Step, Wanted, Wants, WebSocket, reading_body};
use crate::config::Limits;
use crate::connection::{Cause, Context, Input, Refusal, RouteMatch};
use crate::http::{
    Expectation, Field, Framing, Head, HeadError, HeadParser, Method, Parsed, RequestHead, Status,
};
use crate::site::{Files, Mount, Reply, Route};
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
    pub(super) fn step<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<S> {
        if !input.has_room {
            return Step::Blocked(Mode::ReadingHead(self));
        }
        let bytes = input.read_buffer.bytes();
        if !bytes.is_empty() {
            // A head that comes whole, as nearly every head does, needs no box.
            let mut parser = self
                .parser
                .as_deref_mut()
                .map(mem::take)
                .unwrap_or_default();
            match parser.parse(bytes, &cx.turn.head_limits) {
                Ok(Parsed::Complete(head)) => {
                    let mode = ReadingHead::serve(head, input, cx);
                    let is_all = input.read_buffer.is_empty() && !input.eof;
                    return match mode {
                        Mode::ReadingHead(_) if is_all => Step::Handled(mode),
                        _ => Step::Progress(mode),
                    };
                }
                Ok(Parsed::Partial) => {
                    **self.parser.get_or_insert_default() = parser;
                }
                Err(error) => {
                    let reply = Reply::plain(error.status(), error.explain(bytes));
                    let pending = PendingResponse::nothing(input, cx);
                    return Step::Progress(pending.answer(reply, Cause::Refused, input, cx));
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
        self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<S> {
        let refusal = if input.eof {
            HeadError::Incomplete.into()
        } else if input.expired && self.due(&cx.turn.limits) <= cx.turn.now.instant {
            Refusal::late("the request head took too long")
        } else {
            return Step::NeedInput(Mode::ReadingHead(self));
        };
        Step::Progress(self.refuse(refusal, input, cx))
    }

    /// Waits for the first byte of a request. No request is in flight: the connection may end
    /// without an answer.
    fn wait_for_a_request<S: Files>(
        self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<S> {
        let cause = if input.eof {
            Cause::PeerClosed
        } else if input.evict {
            Cause::Overloaded
        } else if cx.turn.stopping {
            Cause::Stopped
        } else if input.expired {
            Cause::Idle
        } else {
            return Step::NeedInput(Mode::ReadingHead(self));
        };
        let now = cx.turn.now.instant;
        // A peer with a recent answer may be sending the next request, and a reset would destroy
        // the answer before the peer has read it. A peer that has been idle for a while has read
        // the answer.
        let quiet = now.saturating_duration_since(self.since.max(input.last_progress));
        let recent = !input.write_buffer.is_empty() || quiet < cx.turn.limits.linger_idle_time;
        let must_linger = cause == Cause::Stopped && recent;
        Step::Progress(Mode::Lingering(Lingering::after(cause, must_linger, now)))
    }

    /// Serves the request whose head is at the front of the read buffer, and consumes the head.
    fn serve<S: Files>(head: &Head, input: &mut Input<'_, S>, cx: &mut Context<'_, S>) -> Mode<S> {
        let request = RequestHead::new(head, input.read_buffer.bytes());
        let pending = PendingResponse::new(&request, input, cx);
        let has_body = request.framing() != Framing::None;
        match Plan::of(&request, cx) {
            Plan::Answer(reply) => {
                input.read_buffer.consume(head.end());
                let (pending, cause) = match has_body {
                    true => (pending.without_its_body(), Cause::Refused),
                    false => (pending, Cause::LastAnswer),
                };
                pending.answer(reply, cause, input, cx)
            }
            Plan::Open(accept, mount) => {
                input.read_buffer.consume(head.end());
                WebSocket::after(pending, &accept, &mount, input, cx)
            }
            Plan::ReadBody { endpoint, go_ahead } => {
                let mode = ReadingBody::after(pending, head, &request, endpoint, cx);
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

    /// Queues a refusal, and ends the connection: of a request that is not whole, late, or too much
    /// for an overloaded server.
    pub(super) fn refuse<S: Files>(
        self,
        refusal: Refusal,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let reply = Reply::plain(refusal.status, refusal.sentence);
        PendingResponse::nothing(input, cx).answer(reply, refusal.cause, input, cx)
    }

    /// Returns when a head that has begun must be complete.
    fn due(&self, limits: &Limits) -> Instant {
        self.since + limits.head_time
    }

    /// Whether the first byte of a head has come.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            input: Wanted::WithRoom,
            fin: false,
            end_when_sent: false,
            idle_since: (!self.begun).then_some(self.since),
        }
    }

    pub(super) fn deadline(
        &self,
        last_progress: Instant,
        pending: bool,
        limits: &Limits,
    ) -> Option<Instant> {
        match self.begun {
            true => Some(self.due(limits)),
            false if pending => None,
            false => Some(self.since.max(last_progress) + limits.idle_time),
        }
    }
}

/// The decision about a request, made from the head alone.
enum Plan<S: Files> {
    /// Answer now. If the request has a body, the body is not read, and this answer is the last of
    /// the connection.
    Answer(Reply<S::File>),
    /// Accept the opening handshake, and go on by WebSocket.
    Open(Accept, Mount),
    /// Read the body first: for an endpoint, or to find the next request after the body.
    ReadBody {
        endpoint: Option<Mount>,
        /// The client waits for a 100 before it sends the body (RFC 9110 §10.1.1).
        go_ahead: bool,
    },
}

impl<S: Files> Plan<S> {
    fn of(request: &RequestHead<'_>, cx: &mut Context<'_, S>) -> Plan<S> {
        let mount = match cx.shared.site.route(request) {
            Route::Denied(reply) => return Plan::Answer(reply),
            Route::Endpoint(mount) => Some(mount),
            Route::Files => None,
        };
        let mount = match mount {
            Some(mount) if request.wants_websocket() => {
                return match accept(request, &mount, cx) {
                    Ok(accept) => Plan::Open(accept, mount),
                    Err(reply) => Plan::Answer(reply),
                };
            }
            mount => mount,
        };
        let takes_it = |mount: &Mount| mount.takes_posts && request.method() == Method::Post;
        let endpoint = mount.filter(takes_it);
        match (request.framing(), request.expectation()) {
            (_, Expectation::Unknown) => Plan::Answer(Reply::plain(
                Status::ExpectationFailed,
                "100-continue is the only expectation known here",
            )),
            (Framing::Length(n), _) if n > cx.turn.limits.body_bytes_max as u64 => {
                let refusal = reading_body::too_large();
                Plan::Answer(Reply::plain(refusal.status, refusal.sentence))
            }
            // An endpoint would take the coded bytes for the content.
            _ if endpoint.is_some() && is_coded(request) => Plan::Answer(Reply::coding_not_taken()),
            // A client gets a 100 only if the body is wanted. Otherwise the client gets the answer
            // at once, and need not send the body (RFC 9110 §10.1.1).
            (Framing::Length(_) | Framing::Chunked, Expectation::Continue)
                if endpoint.is_none() =>
            {
                Plan::Answer(cx.shared.site.answer(request, cx.turn.now.wall))
            }
            (Framing::None, _) if endpoint.is_none() => {
                Plan::Answer(cx.shared.site.answer(request, cx.turn.now.wall))
            }
            // For an endpoint, a request without a body has an empty body.
            (framing, expectation) => Plan::ReadBody {
                endpoint,
                go_ahead: framing != Framing::None && expectation == Expectation::Continue,
            },
        }
    }
}

/// Whether the body has a content coding. `identity` is none, though clients should not send the
/// name (RFC 9110 §8.4.1).
fn is_coded(request: &RequestHead<'_>) -> bool {
    let mut codings = request.members(Field::ContentEncoding);
    codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
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
    let (name, query) = (&mount.name, &mount.query);
    let route = RouteMatch { name, query };
    let values = |field| request.values(field).collect();
    let opening = Opening {
        keys: values(Field::WebSocketKey),
        versions: values(Field::WebSocketVersion),
        protocols: values(Field::WebSocketProtocol),
        extensions: match route.parameter("deflate").as_deref() {
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
