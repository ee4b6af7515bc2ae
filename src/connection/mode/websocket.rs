//! Floor 4, connection: a WebSocket connection (RFC 6455), from its opening handshake to its last frame.
//!
//! Frames are taken apart where they lie in the read buffer. A message that came whole, in one frame, goes to
//! its endpoint from there; what comes in pieces is gathered, inflated on the way if need be. The answer
//! is appended to the write buffer at once, so that whatever one read has brought is answered by one write.
//!
//! Back-pressure is the pump's: without room in the write buffer nothing is dealt with, pings neither, so
//! nothing is read, and the peer's window closes. Meanwhile the peer is not expected to prove that it is
//! alive, since its pong might be among what we do not read.

use std::time::Instant;

use super::pending_response::PendingResponse;
use super::{Lingering, Mode, Step, Wanted, Wants};
use crate::config::Limits;
use crate::connection::endpoint::{Endpoint, Hub, Message, Place, Session};
use crate::connection::progress::Progress;
use crate::connection::{Broadcast, Cause, Context, Input, Key, Mail};
use crate::site::{Files, Mount};
use crate::transport::{Pool, WriteBuffer};
use crate::websocket::deflate::{Deflate, Inflated, Inflater};
use crate::websocket::{
    Accept, Close, CloseCode, Kind, Opcode, Piece, Reader, Rules, Violation, What, write_frame,
};

/// A WebSocket connection.
#[derive(Debug)]
pub struct WebSocket {
    // Boxed: one allocation for each, and a small Mode.
    peer: Box<Peer>,
}

/// What is known of the peer.
#[derive(Debug)]
struct Peer {
    endpoint: u16,
    deflate: Option<Deflate>,
    reader: Reader,
    /// What has come of a message that did not come whole, in storage of the pool's.
    gathered: Vec<u8>,
    /// Boxed: it is rare that a message is on its way, and hundreds of bytes.
    inflating: Option<Box<Inflating>>,
    /// The newest ping that is not answered.
    ping: Option<Box<[u8]>>,
    /// When something last came.
    heard: Instant,
    /// When it was asked whether it is still there.
    pinged: Option<Instant>,
    /// Nothing is read because of back-pressure, or the endpoint says nothing because of it.
    paused: bool,
}

/// A compressed message on its way.
#[derive(Debug)]
struct Inflating {
    inflater: Inflater,
    kind: Kind,
    /// Bytes at the front of the read buffer that are to be inflated.
    here: usize,
    /// They are the last of the message.
    last: bool,
    /// They are not done.
    unfinished: bool,
}

/// How it ends.
struct Ending {
    cause: Cause,
    /// The close frame that is still to be sent.
    close: Option<(Option<CloseCode>, &'static str)>,
    /// The code by which the endpoint is told.
    code: Option<CloseCode>,
    /// The peer may still be sending.
    must_linger: bool,
}

impl Ending {
    /// We close it.
    fn ours(cause: Cause, code: CloseCode, reason: &'static str) -> Ending {
        Ending {
            cause,
            close: Some((Some(code), reason)),
            code: Some(code),
            must_linger: true,
        }
    }
}

impl From<Violation> for Ending {
    fn from(violation: Violation) -> Ending {
        Ending::ours(Cause::Refused, violation.close_code(), violation.reason())
    }
}

/// The way in.
impl WebSocket {
    /// The opening handshake is answered and the endpoint told. What the endpoint sends then comes right
    /// behind.
    pub(super) fn after<S: Files>(
        pending: PendingResponse,
        accept: &Accept,
        mount: &Mount,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        pending.switch(accept, input, cx);
        let mut peer = Peer {
            endpoint: mount.number,
            deflate: accept.deflate(),
            reader: Reader::default(),
            gathered: Vec::new(),
            inflating: None,
            ping: None,
            heard: cx.now.instant,
            pinged: None,
            paused: false,
        };
        let (name, query) = (&mount.name, &mount.query);
        let closed = peer.call(input.key, input.write_buffer, cx, |endpoint, session| {
            endpoint.on_open(session, Place { name, query });
        });
        let mode = WebSocket {
            peer: Box::new(peer),
        };
        match closed {
            Ok(()) => Mode::WebSocket(mode),
            Err(ending) => mode.end(ending, input, cx),
        }
    }
}

impl WebSocket {
    /// Pieces of messages that are dealt with in a step. A step has its price, which small messages would
    /// feel; and it must end, so that all connections have their turn.
    const PIECES: u32 = 16;

    pub(super) fn step<S: Files>(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<S> {
        let peer = &mut *self.peer;
        let mut moved = peer.answer_ping(input.write_buffer, cx.pool);
        if !input.room {
            peer.paused = true;
            return match cx.stopping {
                true => Step::Moved(self.end(stopping(), input, cx)),
                false => self.after_step(moved),
            };
        }
        if std::mem::take(&mut peer.paused) {
            peer.pinged = peer.pinged.map(|_| cx.now.instant);
            let closed = peer.call(input.key, input.write_buffer, cx, |endpoint, session| {
                endpoint.on_room(session);
            });
            if let Err(ending) = closed {
                return Step::Moved(self.end(ending, input, cx));
            }
        }
        for _ in 0..Self::PIECES {
            if cx.mail.is_full(cx.limits) && cx.endpoints.speaks(self.peer.endpoint) {
                // Nobody would tell us when it is not: the pump is asked for another turn.
                cx.held = true;
                return self.after_step(moved);
            }
            match self.peer.take(input, cx) {
                Ok(true) => moved = true,
                Ok(false) => return self.quiet(input, cx),
                Err(ending) => return Step::Moved(self.end(ending, input, cx)),
            }
            if !input.write_buffer.has_room(cx.write_buffer_high()) || !cx.budget.has_steps() {
                break;
            }
        }
        Step::Moved(Mode::WebSocket(self))
    }

    fn after_step<S: Files>(self, moved: bool) -> Step<S> {
        match moved {
            true => Step::Moved(Mode::WebSocket(self)),
            false => Step::Still(Mode::WebSocket(self)),
        }
    }

    /// All that has come is dealt with, but for the beginning of something.
    fn quiet<S: Files>(mut self, input: &mut Input<'_, S>, cx: &mut Context<'_, S>) -> Step<S> {
        let peer = &mut *self.peer;
        let ending = if input.eof {
            // Without a close frame, which the RFC knows as 1006. It may still read what is queued.
            Ending {
                cause: Cause::PeerClosed,
                close: None,
                code: None,
                must_linger: false,
            }
        } else if cx.stopping {
            stopping()
        } else if peer.holds_too_much(cx.pool) {
            no_memory()
        } else if input.expired && peer.deadline(cx.limits) <= cx.now.instant {
            if peer.pinged.is_none() {
                peer.pinged = Some(cx.now.instant);
                let ping = |out: &mut Vec<u8>| write_frame(out, Opcode::Ping, false, &[]);
                input.write_buffer.append(cx.pool, ping);
                return Step::Moved(Mode::WebSocket(self));
            }
            Ending::ours(Cause::Unresponsive, UNRESPONSIVE, "no pong has come")
        } else if peer.ping.is_some() || peer.paused {
            // A pong, or the endpoint, waits for other things to leave.
            return Step::Still(Mode::WebSocket(self));
        } else {
            return Step::Dry(Mode::WebSocket(self));
        };
        Step::Moved(self.end(ending, input, cx))
    }

    /// Takes a message for many. `false` if there is no room for it.
    pub(in crate::connection) fn hear<F>(
        &mut self,
        broadcast: &Broadcast,
        write_buffer: &mut WriteBuffer<F>,
        cx: &mut Context<'_, impl Files>,
    ) -> bool {
        let queued = write_buffer.queued();
        if queued > 0 && queued + broadcast.frame_bytes() as u64 > cx.write_buffer_max() {
            return false;
        }
        let frame = broadcast.frame(self.peer.deflate, cx.deflater, cx.pool, cx.limits);
        write_buffer.push_charged(frame, cx.pool);
        true
    }

    /// The peer does not take what is said to it: it loses its place.
    pub(super) fn crowd_out<S: Files>(
        self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let (code, reason) = (CloseCode::TRY_AGAIN_LATER, "too much is waiting to be read");
        self.end(Ending::ours(Cause::Stalled, code, reason), input, cx)
    }

    fn end<S: Files>(
        self,
        ending: Ending,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        if let Some((code, reason)) = ending.close {
            let close = Close { code, reason };
            input.write_buffer.append(cx.pool, |out| close.write(out));
        }
        self.abandon(input.key, ending.code, cx);
        let now = cx.now.instant;
        Mode::Lingering(Lingering::after(ending.cause, ending.must_linger, now))
    }

    /// It is over: what is held is given back, and whom it concerns is told.
    pub(super) fn abandon<S: Files>(
        self,
        key: Key,
        code: Option<CloseCode>,
        cx: &mut Context<'_, S>,
    ) {
        let Peer {
            endpoint,
            gathered,
            inflating,
            ..
        } = *self.peer;
        cx.pool.release_vec(gathered);
        if let Some(inflating) = inflating {
            cx.release_inflater(inflating.inflater);
        }
        let endpoint = cx.endpoints.get(endpoint);
        endpoint.on_close(&mut Hub::new(cx.mail), key, code);
        cx.mail.push(Mail::Gone(key));
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            input: Wanted::WithSpace,
            fin: false,
            end_when_sent: false,
            idle_since: None,
        }
    }

    pub(super) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        (!self.peer.paused).then(|| self.peer.deadline(limits))
    }
}

/// As the widespread servers have it: the RFC names no code for a peer that is not there any more, and
/// it will hardly read it.
const UNRESPONSIVE: CloseCode = CloseCode(1011);

fn no_memory() -> Ending {
    let (code, reason) = (CloseCode::TRY_AGAIN_LATER, "there is no memory for it now");
    Ending::ours(Cause::Crowded, code, reason)
}

fn stopping() -> Ending {
    Ending::ours(Cause::Stopped, CloseCode::GOING_AWAY, "the server stops")
}

impl Peer {
    /// While so many bytes wait to be sent, a ping is not answered at once, and a newer one takes its
    /// place (RFC 6455 §5.5.3): whoever sends pings and reads nothing is owed one pong.
    const PONGS_BYTES_MAX: u64 = 4 << 10;

    /// Bytes that are made in a step, at most, of a message that is inflated.
    const INFLATED_BYTES: usize = 64 << 10;

    /// Bytes that cost as much as a step when they are inflated: in a turn, a connection can have about as
    /// many made as it may read.
    const INFLATED_STEP_BYTES: usize = 4 << 10;

    /// What it costs in steps to say something to others.
    const SAYING: u32 = 4;

    /// Deals with the next piece. `false` if there is none.
    fn take<S: Files>(
        &mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<bool, Ending> {
        if self.inflating.as_ref().is_some_and(|i| i.unfinished) {
            self.inflate(input, cx)?;
            return Ok(true);
        }
        let rules = Rules {
            message_bytes_max: cx.limits.message_bytes_max as u64,
            deflate: self.deflate.is_some(),
        };
        let Piece { at, end, what } = self.reader.read(input.read_buffer.bytes_mut(), &rules)?;
        match what {
            What::Partial => return Ok(false),
            What::Data {
                kind,
                compressed: false,
                first,
                last,
            } => {
                self.data(kind, first, last, at..end, input, cx)?;
                input.read_buffer.consume(end);
            }
            What::Data { kind, last, .. } => {
                let inflating = self.inflating.get_or_insert_with(|| {
                    Box::new(Inflating {
                        inflater: cx.acquire_inflater(),
                        kind,
                        here: 0,
                        last: false,
                        unfinished: false,
                    })
                });
                (inflating.here, inflating.last, inflating.unfinished) = (end - at, last, true);
                input.read_buffer.consume(at);
            }
            What::Ping => {
                self.ping = Some(input.read_buffer.bytes()[at..end].into());
                self.answer_ping(input.write_buffer, cx.pool);
                input.read_buffer.consume(end);
            }
            What::Pong => input.read_buffer.consume(end),
            What::Close => {
                let close = Close::parse(&input.read_buffer.bytes()[at..end])?;
                let code = close.code;
                input.read_buffer.consume(end);
                return Err(Ending {
                    cause: Cause::PeerClosed,
                    close: Some((code, "")),
                    code,
                    must_linger: false,
                });
            }
        }
        (self.heard, self.pinged) = (cx.now.instant, None);
        Ok(true)
    }

    /// A stretch of a message that is not compressed.
    fn data<S: Files>(
        &mut self,
        kind: Kind,
        first: bool,
        last: bool,
        place: std::ops::Range<usize>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), Ending> {
        let content = &input.read_buffer.bytes()[place];
        if first && last {
            return self.say(kind, content, input.key, input.write_buffer, cx);
        }
        let gather = |gathered: &mut Vec<u8>| gathered.extend_from_slice(content);
        cx.pool.append(&mut self.gathered, gather);
        match last {
            true => self.say_gathered(kind, input, cx),
            false => Ok(()),
        }
    }

    /// Inflates some of what is at the front of the read buffer.
    fn inflate<S: Files>(
        &mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), Ending> {
        let inflating = self.inflating.as_mut().expect("it was begun");
        let (kind, max) = (inflating.kind, cx.limits.message_bytes_max);
        let bytes = &input.read_buffer.bytes()[..inflating.here];
        let before = self.gathered.len();
        // One byte more than is allowed says that it is too many.
        let room = Self::INFLATED_BYTES.min(max + 1 - before);
        let (inflater, last) = (&mut inflating.inflater, inflating.last);
        let inflate = |out: &mut Vec<u8>| inflater.inflate(bytes, last, out, room);
        let inflated = cx.pool.append(&mut self.gathered, inflate)?;
        let used = match inflated {
            Inflated::Full(used) => used,
            Inflated::All => inflating.here,
        };
        inflating.here -= used;
        inflating.unfinished = inflated != Inflated::All;
        input.read_buffer.consume(used);
        let steps = 1 + (self.gathered.len() - before) / Self::INFLATED_STEP_BYTES;
        cx.budget.spend_steps(steps as u32);
        let whole = inflating.last && !inflating.unfinished;
        if kind == Kind::Text {
            self.reader.check_text(&self.gathered[before..], whole)?;
        }
        if self.gathered.len() > max {
            return Err(Violation::TooLarge.into());
        }
        if !whole {
            // A few bytes in the read buffer may be megabytes here: that is not left to when they are used up.
            return match self.holds_too_much(cx.pool) {
                true => Err(no_memory()),
                false => Ok(()),
            };
        }
        let inflating = self.inflating.take().expect("it was there above");
        cx.release_inflater(inflating.inflater);
        self.say_gathered(kind, input, cx)
    }

    fn say_gathered<S: Files>(
        &mut self,
        kind: Kind,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), Ending> {
        let message = std::mem::take(&mut self.gathered);
        let said = self.say(kind, &message, input.key, input.write_buffer, cx);
        cx.pool.release_vec(message);
        said
    }

    /// Hands a whole message to the endpoint.
    fn say<S: Files>(
        &mut self,
        kind: Kind,
        message: &[u8],
        key: Key,
        write_buffer: &mut WriteBuffer<S::File>,
        cx: &mut Context<'_, S>,
    ) -> Result<(), Ending> {
        // The answer may be as large, and wait for as long as the peer likes.
        if message.len() > Progress::PORTION_BYTES && cx.pool.account().is_over() {
            return Err(no_memory());
        }
        let message = match kind {
            // It was checked as it came, which the compiler cannot know.
            Kind::Text => Message::Text(str::from_utf8(message).map_err(|_| Violation::Utf8)?),
            Kind::Binary => Message::Binary(message),
        };
        let before = cx.mail.len();
        let said = self.call(key, write_buffer, cx, |endpoint, session| {
            endpoint.on_message(session, message);
        });
        if cx.mail.len() > before {
            cx.endpoints.note_that_it_speaks(self.endpoint);
            cx.budget.spend_steps(Self::SAYING);
        }
        said
    }

    /// Calls the endpoint, which may close the session.
    fn call<S: Files>(
        &mut self,
        key: Key,
        write_buffer: &mut WriteBuffer<S::File>,
        cx: &mut Context<'_, S>,
        call: impl FnOnce(&mut dyn Endpoint, &mut Session<'_>),
    ) -> Result<(), Ending> {
        let waiting = write_buffer.queued();
        let closed = write_buffer.append(cx.pool, |out| {
            let mut session = Session {
                key,
                begin: out.len(),
                out,
                waiting,
                deflate: self.deflate,
                deflater: cx.deflater,
                mail: cx.mail,
                limits: cx.limits,
                closed: None,
            };
            call(cx.endpoints.get(self.endpoint), &mut session);
            session.closed
        });
        // The endpoint may have stopped for that, and waits to be told. Whether a step still finds it so
        // is another matter: with the budget spent, all may be sent by then.
        self.paused |= write_buffer.queued() >= cx.limits.write_buffer_high;
        match closed {
            None => Ok(()),
            code @ Some(_) => Err(Ending {
                cause: Cause::Finished,
                close: None,
                code,
                must_linger: true,
            }),
        }
    }

    /// Answers the newest ping, if there is one and little is waiting.
    fn answer_ping<F>(&mut self, write_buffer: &mut WriteBuffer<F>, pool: &mut Pool) -> bool {
        if write_buffer.queued() >= Self::PONGS_BYTES_MAX {
            return false;
        }
        let Some(ping) = self.ping.take() else {
            return false;
        };
        write_buffer.append(pool, |out| write_frame(out, Opcode::Pong, false, &ping));
        true
    }

    /// Whether it holds more, in the middle of a message, than everybody may hold, while all hold too
    /// much.
    fn holds_too_much(&self, pool: &Pool) -> bool {
        let holds_much = self.inflating.is_some() || self.gathered.len() > Progress::PORTION_BYTES;
        holds_much && pool.account().is_over()
    }

    fn deadline(&self, limits: &Limits) -> Instant {
        match self.pinged {
            Some(at) => at + limits.pong_time,
            None => self.heard + limits.ping_time,
        }
    }
}
