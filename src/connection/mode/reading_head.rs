//! Floor 4, connection: waiting for a request, and receiving its head.

use std::time::Instant;

use super::pending_response::PendingResponse;
use super::{Lingering, Mode, ReadingBody, Step, Wanted, Wants, WebSocket};
use crate::config::Limits;
use crate::connection::{Cause, Context, Input, RouteMatch};
use crate::http::{
    Expectation, Field, Framing, Head, HeadError, HeadParser, Method, Parsed, RequestHead, Status,
    explain,
};
use crate::site::{Files, Mount, Reply};
use crate::websocket::{Accept, Opening, OpeningError};

/// Waiting for a request, or receiving the head of one.
#[derive(Debug)]
pub struct ReadingHead {
    /// Since when nothing has come, or, once a head was begun, since its first byte.
    since: Instant,
    begun: bool,
    /// What is known of a head that did not come whole.
    parser: Option<Box<HeadParser>>,
}

/// The ways in.
impl ReadingHead {
    /// Just accepted.
    pub(super) fn first(now: Instant) -> ReadingHead {
        ReadingHead {
            since: now,
            begun: false,
            parser: None,
        }
    }

    /// The request before this one has been answered.
    pub(super) fn next(now: Instant) -> ReadingHead {
        ReadingHead::first(now)
    }
}

impl ReadingHead {
    pub(super) fn step<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<S> {
        if !input.room {
            return Step::Blocked(Mode::ReadingHead(self));
        }
        let bytes = input.read_buffer.bytes();
        if !bytes.is_empty() {
            match self.parse(bytes, cx) {
                Ok(Parsed::Complete(head)) => return Step::Progress(self.serve(&head, input, cx)),
                Ok(Parsed::Partial) => {}
                Err(error) => {
                    let refusal = explain(error);
                    return Step::Progress(self.refuse(refusal, Cause::Refused, input, cx));
                }
            }
        }
        if !self.begun && HeadParser::has_begun(bytes) {
            (self.begun, self.since) = (true, cx.now.instant);
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
        let (refusal, cause) = if input.eof {
            (explain(HeadError::Incomplete), Cause::Refused)
        } else if input.expired {
            let late = (Status::RequestTimeout, "the request head took too long");
            (late, Cause::Late)
        } else if input.read_buffer.is_large() && cx.pool.account().is_over() {
            let sentence = "there is no memory for so large a request head now";
            ((Status::ServiceUnavailable, sentence), Cause::Overloaded)
        } else {
            return Step::NeedInput(Mode::ReadingHead(self));
        };
        Step::Progress(self.refuse(refusal, cause, input, cx))
    }

    /// Nothing is in flight: an end here is silent.
    fn wait_for_a_request<S: Files>(
        self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<S> {
        let cause = if input.eof {
            Cause::PeerClosed
        } else if input.evict {
            Cause::Overloaded
        } else if cx.stopping {
            Cause::Stopped
        } else if input.expired {
            Cause::Idle
        } else {
            return Step::NeedInput(Mode::ReadingHead(self));
        };
        let now = cx.now.instant;
        // A peer that was answered a moment ago may be sending its next request, and would lose that
        // answer to a reset. One that has been idle for a while has read it.
        let quiet = now.saturating_duration_since(self.since.max(input.last_progress));
        let recent = !input.write_buffer.is_empty() || quiet < cx.limits.linger_idle_time;
        let must_linger = cause == Cause::Stopped && recent;
        Step::Progress(Mode::Lingering(Lingering::after(cause, must_linger, now)))
    }

    /// Parses on. A head that comes whole, as nearly all do, needs no allocation.
    fn parse<S: Files>(&mut self, bytes: &[u8], cx: &Context<'_, S>) -> Result<Parsed, HeadError> {
        if let Some(parser) = &mut self.parser {
            return parser.parse(bytes, &cx.head_limits);
        }
        let mut parser = HeadParser::default();
        let parsed = parser.parse(bytes, &cx.head_limits)?;
        if matches!(parsed, Parsed::Partial) {
            self.parser = Some(Box::new(parser));
        }
        Ok(parsed)
    }

    /// Deals with the request whose head is at the front of the read buffer, and consumes the head.
    fn serve<S: Files>(
        self,
        head: &Head,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let request = RequestHead::new(head, input.read_buffer.bytes());
        let pending = PendingResponse::new(&request, input, cx);
        let has_body = request.framing() != Framing::None;
        // Every request comes by here, and none gets past that the guard does not let in.
        if let Err(reply) = cx.site.admit(&request) {
            // Nobody reads the body of a stranger.
            let (pending, cause) = match has_body {
                true => (pending.without_its_body(), Cause::Refused),
                false => (pending, Cause::LastAnswer),
            };
            input.read_buffer.consume(head.end());
            return pending.answer(reply, cause, input, cx);
        }
        let mount = cx.site.endpoint(&request);
        if let Some(mount) = &mount
            && request.wants_websocket()
        {
            return self.open(pending, head, mount, input, cx);
        }
        let takes_it = |mount: &Mount| mount.takes_posts && request.method() == Method::Post;
        let endpoint = mount.filter(takes_it);
        let (reply, pending) = match (request.framing(), request.expectation()) {
            (_, Expectation::Unknown) => {
                let sentence = "100-continue is the only expectation known here";
                let reply = Reply::plain(Status::ExpectationFailed, sentence);
                let pending = if has_body {
                    pending.without_its_body()
                } else {
                    pending
                };
                (reply, pending)
            }
            (Framing::Length(n), _) if n > cx.limits.body_bytes_max as u64 => (
                Reply::plain(Status::ContentTooLarge, "the request body is too large"),
                pending.without_its_body(),
            ),
            // Told to go ahead are only those whose body is wanted; the others learn at once what
            // their answer is, and may keep their body (RFC 9110 §10.1.1).
            (Framing::Length(_) | Framing::Chunked, Expectation::Continue)
                if endpoint.is_none() =>
            {
                let reply = cx.site.answer(&request, cx.now.wall);
                (reply, pending.without_its_body())
            }
            (Framing::None, _) if endpoint.is_none() => {
                (cx.site.answer(&request, cx.now.wall), pending)
            }
            // To an endpoint, no body is an empty one.
            (Framing::None | Framing::Length(_) | Framing::Chunked, expectation) => {
                let mode = ReadingBody::after(pending, head, &request, endpoint, cx);
                if has_body && expectation == Expectation::Continue {
                    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
                    let out = &mut *input.write_buffer;
                    out.append(cx.pool, |tail| tail.extend_from_slice(interim));
                }
                input.read_buffer.consume(head.end());
                return Mode::ReadingBody(mode);
            }
        };
        let cause = match has_body {
            true => Cause::Refused,
            false => Cause::LastAnswer,
        };
        input.read_buffer.consume(head.end());
        pending.answer(reply, cause, input, cx)
    }

    /// Deals with an opening handshake (RFC 6455 §4.2).
    fn open<S: Files>(
        self,
        pending: PendingResponse,
        head: &Head,
        mount: &Mount,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let request = RequestHead::new(head, input.read_buffer.bytes());
        let has_body = request.framing() != Framing::None;
        let accepted = match has_body {
            true => Err(Reply::plain(
                Status::BadRequest,
                "an opening handshake of WebSocket has no body",
            )),
            false => accept(&request, mount, cx),
        };
        input.read_buffer.consume(head.end());
        match accepted {
            Ok(accept) => WebSocket::after(pending, &accept, mount, input, cx),
            Err(reply) if has_body => {
                let pending = pending.without_its_body();
                pending.answer(reply, Cause::Refused, input, cx)
            }
            Err(reply) => pending.answer(reply, Cause::LastAnswer, input, cx),
        }
    }

    /// Answers bytes that are no request, or not in time, and gives up on what follows.
    pub(super) fn refuse<S: Files>(
        self,
        (status, sentence): (Status, &str),
        cause: Cause,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let pending = PendingResponse::nothing(input, cx);
        pending.answer(Reply::plain(status, sentence), cause, input, cx)
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
            true => Some(self.since + limits.head_time),
            false if pending => None,
            false => Some(self.since.max(last_progress) + limits.idle_time),
        }
    }
}

/// Holds an opening handshake against the rules, those of HTTP first.
fn accept<S: Files>(
    request: &RequestHead<'_>,
    mount: &Mount,
    cx: &mut Context<'_, S>,
) -> Result<Accept, Reply<S::File>> {
    let refused = |sentence| Reply::plain(Status::BadRequest, sentence);
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
        extensions: match route.parameter("deflate") {
            Some("off") => Vec::new(),
            _ => values(Field::WebSocketExtensions),
        },
    };
    let protocols = cx.endpoints.get(mount.number).protocols();
    opening.accept(protocols).map_err(|error| match error {
        OpeningError::Version => Reply::version_required(),
        OpeningError::Key => refused("one Sec-WebSocket-Key is needed, of 16 bytes in base64"),
        OpeningError::Protocols => refused("Sec-WebSocket-Protocol is a list of tokens"),
        OpeningError::Extensions => {
            refused("Sec-WebSocket-Extensions is a list of extensions with parameters")
        }
    })
}
