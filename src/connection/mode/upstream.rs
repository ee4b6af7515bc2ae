//! Floor 3, connection: the mode of a connection to a backend: the server is the client here. A request
//! goes out, the answer comes in, and then the connection may wait for the next request.

use std::io;
use std::time::Instant;

use super::{Lingering, Mode, Step, Tunnel, Wanted, Wants};
use crate::config::Limits;
use crate::connection::relay::{Errand, NoAnswer, Piece, ReplyStage, append_chunk};
use crate::connection::why::{Facts, TimeLimit, Wait};
use crate::connection::{Cause, Context, Input};
use crate::http::{
    BodyDecoder, FieldLines, Framing, HeadError, Method, ReceivedHead, ResponseBody, ResponseError,
    ResponseParser,
};
use crate::site::Files;
use crate::site::proxy::push_last_chunk;

/// A connection to a backend.
#[derive(Debug)]
pub(crate) struct Upstream {
    // Boxed: the mode is rare, and `Mode` is small.
    talk: Box<Talk>,
}

#[derive(Debug)]
struct Talk {
    stage: Stage,
    method: Method,
    wants_upgrade: bool,
    /// The framing of the request's body.
    framing: Framing,
    /// Whether the request was queued whole.
    is_asked: bool,
    /// Whether the head of the request has left, or a part of it: the connection is made.
    has_sent_head: bool,
    /// Whether an interim response has come.
    has_heard: bool,
    /// Whether an earlier request was answered on this connection.
    is_reused: bool,
    /// How long the backend keeps the connection for the next request.
    keeps: Keeps,
    /// Since when the stage lasts, or when the request was whole, if later.
    since: Instant,
    /// Why no answer will come, or no more of it.
    failure: Option<NoAnswer>,
    /// Whether the request cannot be sent any more. An answer may have come all the same.
    is_deaf: bool,
}

/// Whether a connection can have another request, and for how long.
#[derive(Clone, Copy, Debug)]
enum Keeps {
    No,
    Until(TimeLimit),
}

#[derive(Debug)]
enum Stage {
    /// No request is under way.
    Idle,
    /// The request goes out, and no whole head of an answer has come.
    Asked(ResponseParser),
    /// The content of the answer comes in; `None`: it ends with the connection.
    Answered(Option<BodyDecoder>),
    /// The answer is whole, and the connection cannot be used again.
    Done,
}

/// The ways in.
impl Upstream {
    /// A connection to a backend is being made.
    pub(super) fn new(now: Instant, limits: &Limits) -> Upstream {
        Upstream {
            talk: Box::new(Talk {
                stage: Stage::Idle,
                method: Method::Get,
                wants_upgrade: false,
                framing: Framing::None,
                is_asked: false,
                has_sent_head: false,
                has_heard: false,
                is_reused: false,
                keeps: Keeps::Until(TimeLimit::new(now, limits.backend_idle_time)),
                since: now,
                failure: None,
                is_deaf: false,
            }),
        }
    }

    /// Queues the head of a request.
    pub(in crate::connection) fn ask<S: Files>(
        &mut self,
        errand: &Errand,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) {
        let talk = &mut *self.talk;
        talk.stage = Stage::Asked(ResponseParser::default());
        talk.method = errand.method;
        talk.wants_upgrade = errand.wants_upgrade;
        talk.framing = errand.framing;
        talk.is_asked = errand.framing == Framing::None;
        talk.has_sent_head = false;
        talk.has_heard = false;
        talk.since = cx.turn.now.instant;
        let head = &errand.head;
        input
            .write_buffer
            .append(&mut cx.shared.pool, |out| out.extend_from_slice(head));
    }
}

impl Upstream {
    /// Whether the connection can have a request now.
    pub(in crate::connection) fn is_idle(&self) -> bool {
        matches!(self.talk.stage, Stage::Idle) && matches!(self.talk.keeps, Keeps::Until(_))
    }

    /// How far the backend is with its answer.
    pub(in crate::connection) fn reply_stage(&self) -> ReplyStage {
        match (self.talk.failure, &self.talk.stage) {
            (Some(failure), _) => ReplyStage::Failed(failure),
            (None, Stage::Asked(_)) => ReplyStage::Awaited,
            (None, Stage::Answered(_)) => ReplyStage::Begun,
            (None, Stage::Idle | Stage::Done) => ReplyStage::Over,
        }
    }

    /// Whether a whole head of an answer has come.
    pub(in crate::connection) fn has_answered(&self) -> bool {
        match self.talk.stage {
            Stage::Answered(_) | Stage::Done => true,
            Stage::Idle => self.talk.is_reused,
            Stage::Asked(_) => false,
        }
    }

    /// Whether no byte of the request has left.
    pub(in crate::connection) fn has_sent_nothing(&self) -> bool {
        !self.talk.has_sent_head
    }

    /// Whether an interim response has come.
    pub(in crate::connection) fn has_heard(&self) -> bool {
        self.talk.has_heard
    }

    pub(in crate::connection) fn is_reused(&self) -> bool {
        self.talk.is_reused
    }

    /// Whether content of the request can come: not before the connection is made, because a request
    /// whose content is gone could not be sent to a backend that comes later.
    pub(super) fn takes_pieces(&self) -> bool {
        self.talk.has_sent_head && !self.talk.is_asked && !self.talk.is_deaf
    }

    pub(super) fn step<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<Mode<S>> {
        let talk = &mut *self.talk;
        let now = cx.turn.now.instant;
        // After a failure, the buffer is empty because the output is lost.
        if input.write_buffer.is_empty() && talk.failure.is_none() {
            talk.has_sent_head |= matches!(talk.stage, Stage::Asked(_));
        }
        let end = match talk.stage {
            // Bytes that nobody has asked for: not even the next answer could be told from them.
            Stage::Idle if !input.read_buffer.is_empty() => Some(Cause::Refused),
            Stage::Idle if input.eof => Some(Cause::PeerClosed),
            Stage::Idle if cx.turn.stopping => Some(Cause::Stopped),
            Stage::Idle if input.evict => Some(Cause::Overloaded),
            Stage::Idle if input.expired => Some(Cause::Idle),
            Stage::Done => Some(Cause::LastAnswer),
            Stage::Idle | Stage::Asked(_) | Stage::Answered(_) => None,
        };
        if let Some(cause) = end {
            input.read_buffer.discard();
            return Step::Progress(Mode::Lingering(Lingering::after(cause, false, now)));
        }
        if input.expired
            && talk.failure.is_none()
            && talk
                .limit(&cx.turn.limits, input.last_progress)
                .is_some_and(|l| l.end() <= now)
        {
            talk.failure = Some(match talk.has_sent_head {
                true => NoAnswer::HeadTimeout,
                false => NoAnswer::ConnectTimeout,
            });
            return Step::Progress(Mode::Upstream(self));
        }
        Step::Blocked(Mode::Upstream(self))
    }

    /// A read or a write has failed. After a failed write, what the backend has sent before is still to be
    /// read: it may have answered without the rest of the request.
    ///
    /// `has_sent` says whether all output had left. No step may have seen that the head of the request has:
    /// the write was a moment ago.
    pub(in crate::connection) fn io_failed(
        &mut self,
        error: &io::Error,
        is_write: bool,
        has_sent: bool,
    ) {
        self.talk.has_sent_head |= has_sent && matches!(self.talk.stage, Stage::Asked(_));
        match is_write && self.talk.has_sent_head {
            true => self.talk.is_deaf = true,
            false => self.talk.failure = Some(NoAnswer::of(error)),
        }
    }

    /// Gives a piece of the answer.
    pub(super) fn give<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
        put: &mut dyn FnMut(Piece<'_>, &mut Context<'_, S>),
    ) -> (Mode<S>, bool) {
        let talk = &mut *self.talk;
        if talk.failure.is_some() {
            return (Mode::Upstream(self), false);
        }
        let gave = match &mut talk.stage {
            Stage::Asked(_) => match talk.give_head(input, cx, put) {
                Ok(true) if talk.wants_upgrade && matches!(talk.stage, Stage::Done) => {
                    cx.budget.spend_step();
                    return (Mode::Tunnel(Tunnel::after(cx.turn.now.instant)), true);
                }
                Ok(gave) => gave,
                Err(failure) => {
                    talk.failure = Some(failure);
                    true
                }
            },
            Stage::Answered(_) => talk.give_content(input, cx, put),
            Stage::Idle | Stage::Done => false,
        };
        if gave {
            cx.budget.spend_step();
        }
        (Mode::Upstream(self), gave)
    }

    /// Takes a piece of the request's body.
    pub(super) fn take<S: Files>(
        mut self,
        piece: Piece<'_>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let talk = &mut *self.talk;
        let is_chunked = talk.framing == Framing::Chunked;
        let (out, pool) = (&mut *input.write_buffer, &mut cx.shared.pool);
        match piece {
            Piece::Content(content) if is_chunked => {
                out.append(pool, |out| append_chunk(out, content));
            }
            Piece::Content(content) => out.append(pool, |out| out.extend_from_slice(content)),
            Piece::End(trailers) => {
                if is_chunked {
                    out.append(pool, |out| push_last_chunk(out, Some(trailers)));
                }
                talk.is_asked = true;
                talk.since = cx.turn.now.instant;
            }
            Piece::Interim(_) | Piece::Head(_) | Piece::Switch(_) | Piece::Broken => {
                unreachable!("a client gives no response")
            }
        }
        Mode::Upstream(self)
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            input: Wanted::Always,
            fin: false,
            end_when_sent: false,
            idle_since: self.is_idle().then_some(self.talk.since),
        }
    }

    pub(super) fn deadline(&self, last_progress: Instant, limits: &Limits) -> Option<Instant> {
        self.talk.limit(limits, last_progress).map(TimeLimit::end)
    }

    /// Returns the wait of the mode.
    pub(super) fn wait(&self, facts: &Facts, limits: &Limits) -> Wait {
        let (talk, last_progress) = (&*self.talk, facts.last_progress);
        match talk.stage {
            Stage::Idle | Stage::Done => Wait::Errand(talk.limit(limits, last_progress)),
            Stage::Asked(_) if !talk.has_sent_head => Wait::Connect {
                since: talk.since,
                limit: talk.limit(limits, last_progress),
            },
            Stage::Asked(_) | Stage::Answered(_) if facts.is_full => Wait::Taker,
            Stage::Answered(_) if facts.unread > 0 => Wait::Taker,
            Stage::Asked(_) | Stage::Answered(_) => Wait::Reply {
                since: talk.since,
                limit: talk.limit(limits, last_progress),
            },
        }
    }
}

impl Talk {
    /// Returns the time that runs.
    fn limit(&self, limits: &Limits, last_progress: Instant) -> Option<TimeLimit> {
        match (&self.stage, self.keeps) {
            (Stage::Idle, Keeps::Until(limit)) => Some(limit),
            (Stage::Asked(_), _) if !self.has_sent_head => {
                Some(TimeLimit::new(self.since, limits.proxy_wait))
            }
            (Stage::Asked(_), _) if self.is_asked => {
                let since = self.since.max(last_progress);
                Some(TimeLimit::new(since, limits.proxy_timeout))
            }
            (Stage::Idle | Stage::Asked(_) | Stage::Answered(_) | Stage::Done, _) => None,
        }
    }

    /// Gives the head of the answer, or an interim one.
    fn give_head<S: Files>(
        &mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
        put: &mut dyn FnMut(Piece<'_>, &mut Context<'_, S>),
    ) -> Result<bool, NoAnswer> {
        let Stage::Asked(parser) = &mut self.stage else {
            return Ok(false);
        };
        let bytes = input.read_buffer.bytes();
        if bytes.is_empty() {
            return match input.eof {
                true => Err(NoAnswer::Closed),
                false => Ok(false),
            };
        }
        let head = parser.parse(bytes, &cx.turn.head_limits);
        let head = match head.map_err(NoAnswer::Malformed)? {
            Some(head) => head,
            None if input.eof => {
                return Err(NoAnswer::Malformed(ResponseError::Head(
                    HeadError::Incomplete,
                )));
            }
            None => return Ok(false),
        };
        let (status, end) = (head.status(), head.end());
        let is_websocket = |head: &ReceivedHead<'_>| {
            let protocol = head.named("Upgrade").unwrap_or_default();
            protocol.eq_ignore_ascii_case(b"websocket")
        };
        if status == 101 && !(self.wants_upgrade && is_websocket(&head)) {
            return Err(NoAnswer::UnaskedSwitch);
        }
        let next = if status == 101 {
            put(Piece::Switch(&head), cx);
            Stage::Done
        } else if head.is_interim() {
            put(Piece::Interim(&head), cx);
            self.has_heard = true;
            Stage::Asked(ResponseParser::default())
        } else {
            self.keeps = match head.wants_persistence(self.method) && !self.is_deaf {
                true => {
                    let most = cx.turn.limits.backend_idle_time;
                    // The backend closes after its own time; half of it leaves the request time to arrive.
                    let told = head.idle_timeout().map_or(most, |told| told / 2);
                    Keeps::Until(TimeLimit::new(cx.turn.now.instant, most.min(told)))
                }
                false => Keeps::No,
            };
            put(Piece::Head(&head), cx);
            match head.body(self.method) {
                ResponseBody::UntilClose => Stage::Answered(None),
                body => match body.decoder() {
                    Some(decoder) => Stage::Answered(Some(decoder.with_trailers())),
                    None => {
                        put(Piece::End(FieldLines::default()), cx);
                        self.end_stage(cx.turn.now.instant)
                    }
                },
            }
        };
        self.stage = next;
        input.read_buffer.consume(end);
        Ok(true)
    }

    /// The stage after the end of an answer.
    fn end_stage(&mut self, now: Instant) -> Stage {
        self.since = now;
        match &mut self.keeps {
            // The rest of a request whose answer has come cannot be sent, and the next one not before it.
            Keeps::Until(limit) if self.is_asked && !self.is_deaf => {
                *limit = limit.beginning(now);
                self.is_reused = true;
                Stage::Idle
            }
            _ => Stage::Done,
        }
    }

    /// Gives content of the answer.
    fn give_content<S: Files>(
        &mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
        put: &mut dyn FnMut(Piece<'_>, &mut Context<'_, S>),
    ) -> bool {
        let Stage::Answered(decoder) = &mut self.stage else {
            return false;
        };
        let bytes = input.read_buffer.bytes();
        let now = cx.turn.now.instant;
        let Some(decoder) = decoder else {
            let n = bytes.len();
            if n > 0 {
                put(Piece::Content(bytes), cx);
                input.read_buffer.consume(n);
                self.since = now;
            } else if input.eof && self.is_deaf {
                // The write has met a reset, of which a read does not tell any more.
                self.failure = Some(NoAnswer::Closed);
            } else if input.eof {
                put(Piece::End(FieldLines::default()), cx);
                self.stage = Stage::Done;
            }
            return n > 0 || input.eof;
        };
        let Ok(part) = decoder.decode(bytes) else {
            self.failure = Some(NoAnswer::Closed);
            return true;
        };
        let used = part.framing + part.content;
        if part.content > 0 {
            put(Piece::Content(&bytes[part.framing..used]), cx);
            cx.budget.spend_gathered(part.content);
        }
        if part.last {
            put(Piece::End(decoder.trailers()), cx);
            self.stage = self.end_stage(now);
        } else if used == 0 && input.eof {
            self.failure = Some(NoAnswer::Closed);
            return true;
        }
        input.read_buffer.consume(used);
        self.since = now;
        used > 0 || part.last
    }
}
