//! Floor 3, connection: a request that has been read and must be answered, once.

use crate::connection::{Cause, Context, Conversation, Exchange, Input, Record, Stopwatch, Timing};
use crate::http::{
    Method, Persistence, ReceivedHead, RefusedLine, RequestHead, ResponseHead, Status, Version,
    finish_head,
};
use crate::site::{Asked, BackFraming, Body, Files, Reply, ReplyFields};
use crate::transport::{Pool, WriteBuffer};
use crate::websocket::Accept;

use super::{Lingering, Mode, ReadingHead, Streaming};

/// The facts about a request needed for the answer. Answering consumes the value: a request cannot
/// be answered twice.
#[derive(Debug)]
pub(super) struct PendingResponse {
    /// The answer has no body, even if the head announces a body: the request is HEAD (RFC 9110
    /// §9.3.2).
    head_only: bool,
    version: Version,
    persistence: Persistence,
    /// The peer may still be sending bytes that will not be read.
    must_linger: bool,
    /// The fields that flags put on the answer.
    fields: Option<Box<ReplyFields>>,
    /// The times of the request, if the answer is to tell them.
    timing: Option<Box<Timing>>,
    exchange: Option<Box<Exchange>>,
}

impl PendingResponse {
    /// Records the facts needed for an answer.
    pub fn new<S: Files>(
        request: &RequestHead<'_>,
        input: &Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> PendingResponse {
        cx.tally.counters.requests += 1;
        let mut exchange = cx.exchange(input);
        if let Some(exchange) = &mut exchange {
            exchange.set_request(request);
        }
        PendingResponse {
            head_only: request.method() == Method::Head,
            version: request.version(),
            persistence: match request.wants_persistence() {
                true => Persistence::KeepAlive,
                false => Persistence::Close,
            },
            must_linger: false,
            fields: cx.shared.site.reply_fields(request),
            timing: cx.shared.stopwatch.as_mut().map(|watch| {
                let (turn, began) = (cx.tally.counters.turns, cx.turn.now.instant);
                watch.end_parse(turn, began, input.write_time)
            }),
            exchange,
        }
    }

    /// Stands for bytes that are not a request, or for an incomplete request. The answer is the
    /// last of the connection. The log gets the request line, if there is one.
    pub fn nothing<S: Files>(input: &Input<'_, S>, cx: &mut Context<'_, S>) -> PendingResponse {
        let mut exchange = cx.exchange(input);
        if let Some(exchange) = &mut exchange {
            exchange.set_line(RefusedLine::find(input.read_buffer.bytes()));
        }
        PendingResponse {
            head_only: false,
            version: Version::Http11,
            persistence: Persistence::Close,
            must_linger: true,
            fields: None,
            timing: None,
            exchange,
        }
    }

    /// The body of the request will not be read, which makes the answer the last of the connection.
    pub fn without_its_body(mut self) -> PendingResponse {
        (self.persistence, self.must_linger) = (Persistence::Close, true);
        self
    }

    /// An endpoint makes the answer.
    pub fn note_endpoint(&mut self) {
        if let Some(timing) = &mut self.timing {
            timing.by_endpoint();
        }
    }

    /// Adds the times of the request to the head of the answer, if they are to be told.
    #[inline]
    fn tell_times(&self, out: &mut Vec<u8>, watch: Option<Stopwatch>) {
        if let (Some(timing), Some(watch)) = (&self.timing, watch) {
            timing.write(watch.now(), out);
        }
    }

    /// The version of the request.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether the answer has no body, because the request is HEAD.
    pub fn is_head_only(&self) -> bool {
        self.head_only
    }

    /// The body of the answer ends with the connection. The peer may be sending the next request.
    pub fn ending_the_connection(mut self) -> PendingResponse {
        self.must_linger |= self.persistence == Persistence::KeepAlive;
        self.persistence = Persistence::Close;
        self
    }

    /// Completes the head of the reply by the state of the connection and by the flags.
    #[inline(always)]
    fn prepare<S: Files>(
        &mut self,
        reply: &mut Reply<S::File>,
        input: &Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) {
        let ends_the_body = matches!(&reply.body, Body::Stream(s) if s.ends_with_connection());
        let is_last = cx.turn.stopping || input.gives_way || ends_the_body;
        if is_last && self.persistence == Persistence::KeepAlive {
            // The peer cannot know that the server is stopping, needs the slot or has no other end for
            // the body, and may be sending the next request.
            (self.persistence, self.must_linger) = (Persistence::Close, true);
        }
        if reply.is_discreet && input.peer.ip().is_loopback() {
            reply.tell_reason();
        }
        if let Some(fields) = &self.fields {
            fields.put_on(reply);
        }
        cx.budget.spend_work(reply.cost - 1);
        cx.tally.count_response(reply.status);
    }

    /// Queues the head of an answer whose content comes by itself. The caller completes the answer.
    pub fn begin<S: Files>(
        mut self,
        mut reply: Reply<S::File>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Begun {
        self.prepare(&mut reply, input, cx);
        let watch = cx.shared.stopwatch;
        input.write_buffer.append(&mut cx.shared.pool, |out| {
            out.extend_from_slice(&reply.head);
            self.tell_times(out, watch);
            finish_head(out, &cx.turn.date, self.version, self.persistence);
        });
        if let Some(exchange) = &mut self.exchange {
            exchange.status = reply.status.code();
            exchange.reason = reply.reason;
        }
        Begun {
            persistence: self.persistence,
            must_linger: self.must_linger,
            exchange: self.exchange,
        }
    }

    /// Queues the head of a backend's answer. The caller passes the content on, in chunks or as it comes,
    /// and completes the answer.
    pub fn begin_forwarded<S: Files>(
        mut self,
        head: &ReceivedHead<'_>,
        route: u16,
        asked: &Asked,
        framing: BackFraming,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Begun {
        if (cx.turn.stopping || input.gives_way) && self.persistence == Persistence::KeepAlive {
            (self.persistence, self.must_linger) = (Persistence::Close, true);
        }
        self.pass_back(head, route, asked, framing, input, cx);
        if let Some(exchange) = &mut self.exchange {
            exchange.status = head.status();
            if head.status() >= 400 {
                let target = cx.shared.site.gateway().route(route).target();
                exchange.reason = Some(format!("the answer of {target}").into());
            }
        }
        Begun {
            persistence: self.persistence,
            must_linger: self.must_linger,
            exchange: self.exchange,
        }
    }

    /// Queues the head with which a backend switches to another protocol, and informs the log.
    pub fn switch_forwarded<S: Files>(
        self,
        head: &ReceivedHead<'_>,
        route: u16,
        asked: &Asked,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) {
        self.pass_back(head, route, asked, BackFraming::Kept, input, cx);
        if let Some(mut exchange) = self.exchange {
            exchange.status = head.status();
            cx.tally.log(Record::Exchange(exchange));
        }
    }

    /// Queues the head of a backend's answer.
    fn pass_back<S: Files>(
        &self,
        head: &ReceivedHead<'_>,
        route: u16,
        asked: &Asked,
        framing: BackFraming,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) {
        cx.tally.count_forwarded(head.status());
        let gateway = cx.shared.site.gateway();
        let back = |out: &mut Vec<u8>| {
            gateway.back(
                route,
                head,
                asked,
                (framing, self.persistence),
                &cx.turn.date,
                out,
            );
        };
        input.write_buffer.append(&mut cx.shared.pool, back);
    }

    /// Queues the answer, and returns the next mode.
    #[inline(never)]
    pub fn answer<S: Files>(
        self,
        reply: Reply<S::File>,
        cause: Cause,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        self.answer_here(reply, cause, input, cx)
    }

    /// Does the same, inlined: for the one place that nearly every answer comes from.
    #[inline(always)]
    pub fn answer_here<S: Files>(
        mut self,
        mut reply: Reply<S::File>,
        cause: Cause,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        self.prepare(&mut reply, input, cx);
        let watch = cx.shared.stopwatch;
        let head = |out: &mut Vec<u8>| {
            out.extend_from_slice(&reply.head);
            self.tell_times(out, watch);
            finish_head(out, &cx.turn.date, self.version, self.persistence);
        };
        let body = match &reply.body {
            Body::Bytes(bytes) if !self.head_only => Some(bytes),
            _ => None,
        };
        let pool = &mut cx.shared.pool;
        input.write_buffer.append_with_body(pool, head, body);
        if let Some(exchange) = &mut self.exchange {
            exchange.status = reply.status.code();
            exchange.reason = reply.reason.take();
        }
        let queued = match reply.body {
            Body::Bytes(bytes) if !self.head_only => bytes.len(),
            Body::Stream(stream) if !self.head_only => {
                let (persistence, must_linger) = (self.persistence, self.must_linger);
                let mode = Streaming::after(stream, persistence, must_linger, self.exchange);
                return Mode::Streaming(mode);
            }
            body => queue_rare(
                body,
                self.head_only,
                input.write_buffer,
                &mut cx.shared.pool,
            ),
        };
        if let Some(mut exchange) = self.exchange {
            exchange.body_bytes = queued as u64;
            cx.tally.log(Record::Exchange(exchange));
        }
        match self.persistence {
            Persistence::KeepAlive => Mode::ReadingHead(ReadingHead::new(cx.turn.now.instant)),
            Persistence::Close => Mode::Lingering(Lingering::after(
                cause,
                self.must_linger,
                cx.turn.now.instant,
            )),
        }
    }

    /// Queues the answer to an opening handshake (RFC 6455 §4.2.2).
    pub fn offer<S: Files>(
        &self,
        accept: &Accept,
        write_buffer: &mut WriteBuffer<S::File>,
        cx: &mut Context<'_, S>,
    ) {
        let head = ResponseHead::new(Status::SwitchingProtocols)
            .field("Upgrade", "websocket")
            .field("Connection", "Upgrade");
        let add = |head: ResponseHead, (name, value)| head.field(name, value);
        let head = accept.fields().fold(head, add).into_bytes();
        write_buffer.append(&mut cx.shared.pool, |out| {
            out.extend_from_slice(&head);
            finish_head(out, &cx.turn.date, self.version, Persistence::KeepAlive);
        });
    }

    /// The connection goes on by WebSocket, as was [offered](PendingResponse::offer). Returns the begun
    /// record of the end, if a log wants records.
    pub fn switch<S: Files>(self, cx: &mut Context<'_, S>) -> Option<Box<Conversation>> {
        cx.tally.count_response(Status::SwitchingProtocols);
        let mut exchange = self.exchange?;
        exchange.status = Status::SwitchingProtocols.code();
        let conversation = Conversation::begun(&exchange);
        cx.tally.log(Record::Exchange(exchange));
        Some(Box::new(conversation))
    }

    /// The connection failed before the answer. Only the log is informed.
    pub fn abandon<S: Files>(self, cx: &mut Context<'_, S>) {
        if let Some(mut exchange) = self.exchange {
            exchange.complete = false;
            cx.tally.log(Record::Exchange(exchange));
        }
    }
}

/// Queues a body that is not the whole of a file in memory, unless the request is HEAD. Returns the number of
/// bytes. A function of its own: few answers have such a body.
#[inline(never)]
fn queue_rare<F>(
    body: Body<F>,
    head_only: bool,
    write_buffer: &mut WriteBuffer<F>,
    pool: &mut Pool,
) -> usize {
    let before = write_buffer.queued();
    match body {
        Body::Owned(bytes) if head_only => pool.release_vec(bytes),
        Body::Part(bytes, part) if !head_only => write_buffer.push_shared(&bytes, part, pool),
        Body::Parts(bytes, mut parts) if !head_only => {
            while let Some(part) = write_buffer.append(pool, |out| parts.begin_next(out)) {
                let part = part.start as usize..part.end as usize;
                write_buffer.push_shared(&bytes, part, pool);
            }
        }
        Body::Owned(bytes) => write_buffer.push_owned(bytes, pool),
        Body::Bytes(_) | Body::Part(..) | Body::Parts(..) | Body::Stream(_) => {}
    }
    (write_buffer.queued() - before) as usize
}

/// The rest of the duties when an answer has begun, and the content follows.
#[derive(Debug)]
pub(super) struct Begun {
    pub persistence: Persistence,
    /// The peer may still be sending bytes that will not be read.
    pub must_linger: bool,
    /// The log entry, completed at the end. `None`: no log wants the entry.
    pub exchange: Option<Box<Exchange>>,
}
