//! Floor 3, connection: why a connection is open, in words. The words are made from the facts by which
//! the pump and the modes decide, and from nothing else: each mode tells its own part in its own file.
//!
//! Architecture invariant: no answer of this module changes a connection or a decision. The simulation
//! asks every connection after each turn, and compares the answers with the state of the simulated
//! kernel.
//!
//! A connection may wait for two things at once: for the next request, and for the peer to take the rest
//! of an answer. The wait that is told is the one whose time ends first, because it decides.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::mode::{Mode, Wanted};
use super::{Cause, Connection, Key, ModeName, Shared, StallClock, Turn};
use crate::site::{Files, Size};
use crate::transport::{Ready, Transport};

/// A time that runs, and that a deadline ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimeLimit {
    since: Instant,
    most: Duration,
}

impl TimeLimit {
    /// The time that began at `since` and ends after `most`.
    pub(super) fn new(since: Instant, most: Duration) -> TimeLimit {
        TimeLimit { since, most }
    }

    /// The same time, beginning at another moment.
    pub(super) fn beginning(self, since: Instant) -> TimeLimit {
        TimeLimit { since, ..self }
    }

    /// Returns the deadline.
    #[inline(always)]
    pub(super) fn end(self) -> Instant {
        self.since + self.most
    }

    /// Returns the limit that ends first.
    pub(super) fn or_sooner(self, other: TimeLimit) -> TimeLimit {
        match other.end() < self.end() {
            true => other,
            false => self,
        }
    }
}

/// Where a connection waits to be moved on. The server knows the place, and the connection does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Nowhere: an event or a deadline must come first.
    Nowhere,
    /// Among the light or the heavy connections that are to be pumped.
    Queue {
        /// Whether the connection used much when it was last pumped.
        is_heavy: bool,
    },
    /// Among the throttled connections.
    Throttled,
    /// Behind the gate, because a watcher has paused the loop or slowed it down.
    Held,
    /// Among the connections that are to be written to in the present round of deliveries.
    Deliveries,
}

/// The wait of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// The first request, of which no byte has come. (Empty lines before a request do not count.)
    FirstRequest(TimeLimit),
    /// The end of a handshake of TLS, before any bytes of HTTP.
    Handshake(TimeLimit),
    /// The next request.
    NextRequest(TimeLimit),
    /// The rest of the head of a request.
    Head {
        /// Bytes that have come.
        received: usize,
        limit: TimeLimit,
    },
    /// The rest of the body of a request.
    Body {
        /// Bytes of content that have come.
        received: u64,
        /// The length of the content. `None`: it was not announced.
        length: Option<u64>,
        limit: TimeLimit,
    },
    /// An endpoint, to take more of a body.
    Uptake {
        /// Bytes of content that the endpoint has taken.
        taken: u64,
    },
    /// The effects that were queued before the request.
    Effects,
    /// An endpoint, to answer.
    Answer {
        since: Instant,
        /// The peer has ended its direction, and counts as gone at the end of this time.
        ended: Option<TimeLimit>,
    },
    /// An endpoint, to write more of a stream.
    Piece {
        /// Bytes of content that were queued so far.
        queued: u64,
        /// When the last piece came.
        since: Instant,
    },
    /// A backend, to answer the request, or to continue its answer.
    Backend {
        since: Instant,
        /// The peer has ended its direction, and counts as gone at the end of this time.
        ended: Option<TimeLimit>,
    },
    /// A connection to a backend, to be made.
    Connect {
        since: Instant,
        limit: Option<TimeLimit>,
    },
    /// The next part of an answer, from the backend that is the peer.
    Reply {
        since: Instant,
        limit: Option<TimeLimit>,
    },
    /// The next request for the backend that is the peer.
    Errand(Option<TimeLimit>),
    /// The client of a pair, to take more of the answer that has come.
    Taker,
    /// Bytes of another protocol.
    Tunnel {
        since: Instant,
        /// One direction has ended, and the other lasts for this time.
        ended: Option<TimeLimit>,
    },
    /// The peer, to take output.
    Output {
        queued: u64,
        /// Bytes that were sent and not acknowledged, if the kernel was asked.
        unacknowledged: Option<u64>,
        limit: TimeLimit,
    },
    /// A frame of a WebSocket peer.
    Frame {
        /// Bytes of the unfinished message that have come.
        partial: usize,
        /// Since when the peer is silent, until the next ping; or the time of the ping, until the
        /// connection ends.
        limit: TimeLimit,
        is_pinged: bool,
    },
    /// The end of the peer's direction, after that of ours.
    Fin(TimeLimit),
    /// Room in the queue of effects.
    Room,
    /// The watcher that has paused the loop or slowed it down.
    Gate,
    /// The present round of deliveries.
    Delivery,
    /// A turn with time for the connection.
    Turn { is_heavy: bool },
    /// The server, to drop the connection.
    Drop(Cause),
}

/// Why a connection is open. [`Display`](fmt::Display) is a sentence, such as `idle 4.0 of 30 s`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Why {
    wait: Wait,
    now: Instant,
}

impl Why {
    /// Returns the word for the kind of reason, which names a part of the docs.
    pub fn anchor(&self) -> &'static str {
        match self.wait {
            Wait::FirstRequest(_) => "preconnect",
            Wait::Handshake(_) => "handshake",
            Wait::NextRequest(_) => "idle",
            Wait::Head { .. } => "partial-head",
            Wait::Body { .. } => "body",
            Wait::Uptake { .. } | Wait::Effects | Wait::Answer { .. } => "endpoint",
            Wait::Piece { .. } => "streaming",
            Wait::Backend { .. }
            | Wait::Connect { .. }
            | Wait::Reply { .. }
            | Wait::Errand(_)
            | Wait::Taker
            | Wait::Tunnel { .. } => "proxy",
            Wait::Output { .. } => "slow-reader",
            Wait::Frame { .. } => "websocket-idle",
            Wait::Fin(_) | Wait::Drop(_) => "lingering",
            Wait::Room => "throttled",
            Wait::Gate | Wait::Delivery | Wait::Turn { .. } => "queued",
        }
    }

    /// Whether only the peer, or the end of its time, can move the connection on.
    pub fn waits_for_peer(&self) -> bool {
        self.waits_for_input() || matches!(self.wait, Wait::Output { .. })
    }

    /// Whether only input of the peer, or the end of its time, can move the connection on.
    pub fn waits_for_input(&self) -> bool {
        match self.wait {
            Wait::FirstRequest(_)
            | Wait::Handshake(_)
            | Wait::NextRequest(_)
            | Wait::Head { .. }
            | Wait::Body { .. }
            | Wait::Frame { .. }
            | Wait::Connect { .. }
            | Wait::Reply { .. }
            | Wait::Fin(_) => true,
            Wait::Uptake { .. }
            | Wait::Backend { .. }
            | Wait::Errand(_)
            | Wait::Taker
            | Wait::Tunnel { .. }
            | Wait::Effects
            | Wait::Answer { .. }
            | Wait::Piece { .. }
            | Wait::Output { .. }
            | Wait::Room
            | Wait::Gate
            | Wait::Delivery
            | Wait::Turn { .. }
            | Wait::Drop(_) => false,
        }
    }

    /// Returns when the time in the sentence ends. `None`: no time runs.
    pub fn deadline(&self) -> Option<Instant> {
        self.wait.limit().map(TimeLimit::end)
    }

    /// Adds the kernel's number of the sent bytes. Only the sentence of a slow reader has a place for it.
    #[must_use]
    pub fn with_unacknowledged(mut self, bytes: u64) -> Why {
        if let Wait::Output { unacknowledged, .. } = &mut self.wait {
            *unacknowledged = Some(bytes);
        }
        self
    }
}

impl Wait {
    /// The time that runs, if any.
    fn limit(&self) -> Option<TimeLimit> {
        match *self {
            Wait::FirstRequest(limit)
            | Wait::Handshake(limit)
            | Wait::NextRequest(limit)
            | Wait::Head { limit, .. }
            | Wait::Body { limit, .. }
            | Wait::Output { limit, .. }
            | Wait::Frame { limit, .. }
            | Wait::Fin(limit) => Some(limit),
            Wait::Answer { ended, .. }
            | Wait::Backend { ended, .. }
            | Wait::Tunnel { ended, .. } => ended,
            Wait::Connect { limit, .. } | Wait::Reply { limit, .. } | Wait::Errand(limit) => limit,
            Wait::Uptake { .. }
            | Wait::Taker
            | Wait::Effects
            | Wait::Piece { .. }
            | Wait::Room
            | Wait::Gate
            | Wait::Delivery
            | Wait::Turn { .. }
            | Wait::Drop(_) => None,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = |at| Seconds(self.now.saturating_duration_since(at));
        let of = |limit: TimeLimit| Of(since(limit.since), limit.most);
        match self.wait {
            Wait::FirstRequest(limit) => {
                let time = since(limit.since);
                write!(f, "opened ahead of need: 0 bytes in {time}")
            }
            Wait::Handshake(limit) => write!(f, "TLS handshake under way: {}", of(limit)),
            Wait::NextRequest(limit) => write!(f, "idle {}", of(limit)),
            Wait::Head { received, limit } => {
                let received = Size(received as u64);
                write!(f, "partial head: {received}, {}", of(limit))
            }
            Wait::Body {
                received,
                length,
                limit,
            } => {
                write!(f, "receiving a body: {}", Size(received))?;
                if let Some(length) = length {
                    write!(f, " of {}", Size(length))?;
                }
                write!(f, ", under {PORTION} in {}", of(limit))
            }
            Wait::Uptake { taken } => {
                let taken = Size(taken);
                write!(f, "an endpoint has taken {taken} of a body, and pauses")
            }
            Wait::Effects => write!(f, "the request waits for messages queued before"),
            Wait::Answer { since: at, ended } => {
                write!(f, "an endpoint has the request for {}", since(at))?;
                match ended {
                    Some(limit) => {
                        write!(f, "; the peer has ended its direction, {}", of(limit))
                    }
                    None => Ok(()),
                }
            }
            Wait::Piece { queued, since: at } => {
                let (queued, time) = (Size(queued), since(at));
                write!(
                    f,
                    "streaming: {queued} so far, no piece from the endpoint for {time}"
                )
            }
            Wait::Backend { since: at, ended } => {
                write!(f, "forwarded: nothing from the backend for {}", since(at))?;
                match ended {
                    Some(limit) => {
                        write!(f, "; the peer has ended its direction, {}", of(limit))
                    }
                    None => Ok(()),
                }
            }
            Wait::Connect { since: at, limit } => {
                write!(f, "connecting to a backend: ")?;
                for_time(f, since(at), limit.map(of))
            }
            Wait::Reply { since: at, limit } => {
                write!(f, "a backend has the request: nothing from it for ")?;
                for_time(f, since(at), limit.map(of))
            }
            Wait::Errand(limit) => match limit {
                Some(limit) => write!(f, "kept for the next request: {}", of(limit)),
                None => write!(f, "the backend's answer has ended"),
            },
            Wait::Taker => write!(f, "held back: the client takes no more of the answer"),
            Wait::Tunnel { since: at, ended } => {
                write!(f, "a tunnel: no byte for {}", since(at))?;
                match ended {
                    Some(limit) => write!(f, "; one direction has ended, {}", of(limit)),
                    None => Ok(()),
                }
            }
            Wait::Output {
                queued,
                unacknowledged,
                limit,
            } => {
                write!(f, "slow reader: {} wait", Size(queued))?;
                if let Some(bytes) = unacknowledged {
                    write!(f, ", {} unacknowledged", Size(bytes))?;
                }
                write!(f, ", the socket took under {PORTION} in {}", of(limit))
            }
            Wait::Frame {
                partial,
                limit,
                is_pinged,
            } => {
                write!(f, "WebSocket: ")?;
                if partial > 0 {
                    let partial = Size(partial as u64);
                    write!(f, "{partial} of a message, ")?;
                }
                match is_pinged {
                    true => write!(f, "no answer to a ping for {}", of(limit)),
                    false => {
                        let left = limit.end().saturating_duration_since(self.now);
                        let (silent, left) = (since(limit.since), Seconds(left));
                        write!(f, "silent for {silent}, a ping in {left}")
                    }
                }
            }
            Wait::Fin(limit) => {
                let of = of(limit);
                write!(f, "ending: the FIN was sent, waiting for the peer's, {of}")
            }
            Wait::Room => write!(f, "throttled: the queue of effects is full"),
            Wait::Gate => write!(f, "held back: the loop is paused or slowed down"),
            Wait::Delivery => write!(f, "queued: a message waits for its write"),
            Wait::Turn { is_heavy: false } => write!(f, "queued: served first in the next turn"),
            Wait::Turn { is_heavy: true } => {
                write!(f, "queued: served after others, when a turn has time left")
            }
            Wait::Drop(_) => write!(f, "ended: the next turn closes it"),
        }
    }
}

/// The portion of a [`StallClock`], which must move within the time.
const PORTION: Size = Size(StallClock::PORTION_BYTES as u64);

/// Writes a time, and the time that is allowed, if there is one.
fn for_time(f: &mut fmt::Formatter<'_>, time: Seconds, of: Option<Of>) -> fmt::Result {
    match of {
        Some(of) => write!(f, "{of}"),
        None => write!(f, "{time}"),
    }
}

/// A time in seconds: `4.0 s`.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

/// A part of a time that is allowed: `4.0 of 30 s`.
struct Of(Seconds, Duration);

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (part, whole) = (self.0.0.as_secs_f64(), self.1.as_secs_f64());
        write!(f, "{part:.1} of {whole} s")
    }
}

/// A connection as an observer sees it between two turns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The key.
    pub key: Key,
    /// The address of the peer.
    pub peer: SocketAddr,
    /// The mode.
    pub mode: ModeName,
    /// Whether the connection is between two requests, or before the first: no byte of a request has come.
    pub is_idle: bool,
    /// Why the connection is open.
    pub why: Why,
    /// Bytes in the read buffer.
    pub inbox: usize,
    /// Bytes in the write buffer, those of files included.
    pub outbox: u64,
    /// Bytes received so far.
    pub received: u64,
    /// Bytes handed to the kernel so far.
    pub sent: u64,
    /// When the server pumps the connection although no event has come; `None`: never.
    pub deadline: Option<Instant>,
    /// The readiness of the socket, as far as it is known.
    pub ready: Ready,
    /// Whether the connection takes bytes from the kernel when there are any.
    pub takes_input: bool,
    /// Whether the connection is in a queue of the server.
    pub is_queued: bool,
}

/// The facts that a mode needs to name its wait.
pub(super) struct Facts {
    /// Bytes in the read buffer.
    pub unread: usize,
    /// Whether no more bytes can come: the read buffer is full, or the peer has ended its direction.
    pub is_full: bool,
    /// When output last moved on, or began to wait.
    pub last_progress: Instant,
    /// Whether output waits.
    pub pending: bool,
    /// Whether an answer was begun on the connection before.
    pub has_answered: bool,
}

impl<S: Files, T: Transport<File = S::File>> Connection<S, T> {
    /// Returns why the connection is open.
    pub fn why(&self, place: Place, turn: &Turn, shared: &Shared<S>) -> Why {
        let wait = match (place, &self.mode) {
            (_, Mode::Closed(cause)) => Wait::Drop(*cause),
            (Place::Throttled, _) => Wait::Room,
            (Place::Held, _) => Wait::Gate,
            (Place::Queue { is_heavy }, _) => Wait::Turn { is_heavy },
            (Place::Deliveries, _) => Wait::Delivery,
            (Place::Nowhere, _) => self.wait(turn, shared),
        };
        let now = turn.now.instant;
        Why { wait, now }
    }

    /// Returns the wait of a connection in no queue.
    fn wait(&self, turn: &Turn, shared: &Shared<S>) -> Wait {
        let facts = Facts {
            unread: self.read_buffer.bytes().len(),
            is_full: self.read_buffer.is_full() || self.eof,
            last_progress: self.output.last_progress(),
            pending: self.has_output(),
            has_answered: self.sent > 0,
        };
        let of_output = Wait::Output {
            queued: self.write_buffer.queued() + self.transport.unsent_bytes() as u64,
            unacknowledged: None,
            limit: self.stall_limit(&turn.limits),
        };
        // A socket with input is read from as long as there is room. There may be room by now, if memory
        // was tight before.
        let is_held_back = self.mode.wants().input == Wanted::WithRoom
            && (self.wanted_bytes(turn, shared) == 0 || !self.transport.is_drained());
        let told = match self.mode.wait(&facts, &turn.limits) {
            Some(own) if !facts.pending => own,
            Some(own) if !is_held_back && is_first(&own, &of_output) => own,
            Some(_) | None => of_output,
        };
        match told {
            // Before the end of the handshake, no peer can read, nor ask.
            Wait::Output { limit, .. } if self.transport.is_opening() => Wait::Handshake(limit),
            Wait::FirstRequest(limit) if self.transport.is_opening() && self.charged > 0 => {
                Wait::Handshake(limit)
            }
            told => told,
        }
    }

    /// Shows the connection to an observer.
    pub fn view(&self, place: Place, turn: &Turn, shared: &Shared<S>) -> View {
        let is_between = matches!(self.mode, Mode::ReadingHead(_));
        View {
            key: self.key,
            peer: self.peer,
            mode: self.mode.name(),
            is_idle: is_between && self.mode.wants().idle_since.is_some(),
            why: self.why(place, turn, shared),
            inbox: self.read_buffer.bytes().len(),
            outbox: self.write_buffer.queued(),
            received: self.received,
            sent: self.sent,
            deadline: self.deadline(&turn.limits),
            ready: self.transport.ready(),
            takes_input: self.takes_input(self.wanted_bytes(turn, shared)),
            is_queued: place != Place::Nowhere,
        }
    }
}

/// Whether the time of a wait ends before that of another. A wait without a time never ends.
fn is_first(wait: &Wait, other: &Wait) -> bool {
    let [end, other] = [wait, other].map(|wait| wait.limit().map(TimeLimit::end));
    end.is_some_and(|end| other.is_none_or(|other| end < other))
}

#[cfg(test)]
mod tests;
