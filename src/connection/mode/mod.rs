//! Floor 3, connection: the modes of a connection (its states), and every way from one to another.
//!
//! The usual ways, from left to right and back:
//!
//! ```text
//!                     answered, or the last byte was sent
//!             ┌──────────────┬──────────────────┬───────────────┐
//!             ▼              │                  │               │
//! accepted ─▶ ReadingHead ─▶ ReadingBody ─▶ AwaitingEndpoint    │
//!             │    │         │ large answer                     │
//!             │    │         ▼                                  │
//!             │    └───────▶ Streaming ─────────────────────────┘
//!             │     large answer
//!             ├─▶ WebSocket         every mode ─▶ Lingering ─▶ Closed
//!             │   opening handshake
//!             └─▶ Forwarding ─▶ Tunnel
//!    for a backend     the backend switches protocols
//! ```
//!
//! A connection to a backend begins in Upstream, and waits there between two requests. The bytes between
//! a connection in Forwarding and one in Upstream, or between two in Tunnel, are carried by the server
//! ([`relay`](crate::connection::relay)).
//!
//! Every way, with its reason; a test compares this list with [`TRANSITIONS`]:
//!
//! ```text
//! ReadingHead      ─┬─▶ ReadingHead      a small answer was queued whole
//!                   ├─▶ ReadingBody      the head is complete, and a body follows
//!                   ├─▶ Streaming        an answer with a large body has begun
//!                   ├─▶ AwaitingEndpoint an endpoint has the request
//!                   ├─▶ Forwarding       the request is for a backend
//!                   ├─▶ WebSocket        an opening handshake was accepted
//!                   ├─▶ Lingering        last answer, refusal, end of file, deadline or stop
//!                   └─▶ Closed           the transport failed, the peer stalled, or memory was short
//! ReadingBody      ─┬─▶ ReadingBody      a part of the body was consumed
//!                   ├─▶ ReadingHead      the body is complete, and a small answer was queued
//!                   ├─▶ Streaming        the body is complete, and a large answer has begun
//!                   ├─▶ AwaitingEndpoint the body is complete, and an endpoint has it
//!                   ├─▶ Lingering        last answer, or the body was refused
//!                   └─▶ Closed           the transport failed, the peer stalled, or memory was short
//! AwaitingEndpoint ─┬─▶ AwaitingEndpoint the endpoint has begun or continued its answer
//!                   ├─▶ ReadingHead      the endpoint has answered
//!                   ├─▶ Streaming        the endpoint has given a large answer
//!                   ├─▶ Lingering        last answer, or the answer was broken off
//!                   └─▶ Closed           the transport failed, the peer stalled, or memory was short
//! Forwarding       ─┬─▶ Forwarding       the answer of the backend has begun
//!                   ├─▶ ReadingHead      the last byte was sent, or the server has answered instead
//!                   ├─▶ Tunnel           the backend has switched protocols
//!                   ├─▶ Lingering        last answer, refusal, or the answer was broken off
//!                   └─▶ Closed           the transport failed, the peer stalled, or memory was short
//! Streaming        ─┬─▶ Streaming        another slice was queued
//!                   ├─▶ ReadingHead      the last byte was sent
//!                   ├─▶ Lingering        the last answer was sent, or the file has changed
//!                   └─▶ Closed           the transport failed, the peer stalled, memory was short, or the file ended early
//! WebSocket        ─┬─▶ WebSocket        frames were handled, or a ping was sent
//!                   ├─▶ Lingering        a close frame came or was queued, or end of file
//!                   └─▶ Closed           the transport failed, the peer stalled, or memory was short
//! Upstream         ─┬─▶ Upstream         no answer came in time
//!                   ├─▶ Tunnel           the backend has switched protocols
//!                   ├─▶ Lingering        the connection is of no further use
//!                   └─▶ Closed           the client has left, the transport failed, or memory was short
//! Tunnel           ─┬─▶ Lingering        both directions have ended, deadline or stop
//!                   └─▶ Closed           the transport failed, the peer stalled, or memory was short
//! Lingering        ───▶ Closed           the peer has closed, no byte can be lost, time is up, or memory was short
//! ```
//!
//! Each mode has a file, and is a struct with private fields. A mode can only be made by the
//! constructors in its file, its *ways in*: `ReadingHead::new`, and one `after` in each other mode.
//!
//! Architecture invariant: no transition happens that [`TRANSITIONS`] does not list. The simulation
//! notes each transition and compares.
//!
//! Architecture invariant: a request is answered at most once, and never after a close. A request
//! that was read is a value, `PendingResponse`, and the answer consumes the value: the compiler
//! enforces the rule.
//!
//! Architecture invariant: a mode has no socket. A mode is told the facts in [`Input`], and appends
//! output to the write buffer. An end of file, a deadline and a stop are inputs like bytes.

mod awaiting_endpoint;
mod forwarding;
mod lingering;
mod pending_response;
mod reading_body;
mod reading_head;
mod streaming;
mod transitions;
mod tunnel;
mod upstream;
mod websocket;

pub(crate) use awaiting_endpoint::AwaitingEndpoint;
pub(crate) use forwarding::Forwarding;
pub(crate) use lingering::Lingering;
pub(crate) use reading_body::ReadingBody;
pub(crate) use reading_head::ReadingHead;
pub(crate) use streaming::Streaming;
pub use transitions::{ModeName, TRANSITIONS, Transitions};
pub(crate) use tunnel::Tunnel;
pub(crate) use upstream::Upstream;
pub(crate) use websocket::WebSocket;

use std::mem;
use std::time::Instant;

use super::effect::Wish;
use super::relay::Piece;
use super::why::{Facts, Wait};
use super::{Cause, Context, Input, Key, Refusal};
use crate::config::Limits;
use crate::site::Files;

/// The mode of a connection: the state of the state machine. `S` is the source of files.
pub(crate) enum Mode<S: Files> {
    /// Waiting for a request, or receiving the head of a request.
    ReadingHead(ReadingHead),
    /// Receiving the body of a request.
    ReadingBody(ReadingBody),
    /// A request is with an endpoint, which will answer.
    AwaitingEndpoint(AwaitingEndpoint),
    /// A request is with a backend, which will answer.
    Forwarding(Forwarding),
    /// Sending a large body, slice by slice.
    Streaming(Streaming<S>),
    /// Exchanging WebSocket messages.
    WebSocket(WebSocket),
    /// Asking a backend, as its client.
    Upstream(Upstream),
    /// Passing bytes of another protocol on.
    Tunnel(Tunnel),
    /// Ending: sending the rest of the output, then waiting until a close can lose nothing.
    Lingering(Lingering),
    /// Ended: the server must drop the connection.
    Closed(Cause),
}

// Most steps move the mode, and a large mode costs time (measured: 4 to 15 % for 528 bytes). Large
// and rare parts are boxed.
const _: () = assert!(size_of::<Mode<crate::site::Disk>>() <= 64);

/// The result of a step. `M` is the mode after the step, or nothing where the mode has its place already.
pub(super) enum Step<M> {
    /// Input was consumed, output was queued, or a decision was made: step again.
    Progress(M),
    /// Something was done as for `Progress`, and no further step is possible as for `NeedInput`. This
    /// saves the step that would find nothing to do.
    Handled(M),
    /// The input is handled. No further step is possible until more input comes, even if output is
    /// sent.
    NeedInput(M),
    /// No further step is possible until input comes or output is sent.
    Blocked(M),
    /// No further step is possible until the server has carried out some of the queued effects.
    Throttled(M),
}

impl<M> Step<M> {
    /// The same result with `map` of the mode.
    #[inline(always)]
    fn map<N>(self, map: impl FnOnce(M) -> N) -> Step<N> {
        match self {
            Step::Progress(mode) => Step::Progress(map(mode)),
            Step::Handled(mode) => Step::Handled(map(mode)),
            Step::NeedInput(mode) => Step::NeedInput(map(mode)),
            Step::Blocked(mode) => Step::Blocked(map(mode)),
            Step::Throttled(mode) => Step::Throttled(map(mode)),
        }
    }
}

/// The demands of a mode on the pump.
pub(super) struct Wants {
    /// When to read. Not reading is how the server holds a peer back: the bytes stay in the kernel,
    /// and the TCP window closes.
    pub input: Wanted,
    /// Whether to end our direction (FIN) when the write buffer is empty.
    pub fin: bool,
    /// Whether the mode ends when the write buffer is empty.
    pub end_when_sent: bool,
    /// Since when the mode has been idle. `None`: not idle.
    pub idle_since: Option<Instant>,
}

/// When a mode wants input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Not now.
    Never,
    /// While the write buffer has room.
    WithRoom,
    /// Always, even if the write buffer is full.
    Always,
}

impl Wants {
    pub const NOTHING: Wants = Wants {
        input: Wanted::Never,
        fin: false,
        end_when_sent: false,
        idle_since: None,
    };
}

impl<S: Files> Mode<S> {
    /// Returns the mode of a newly accepted connection.
    pub fn first(now: Instant) -> Mode<S> {
        Mode::ReadingHead(ReadingHead::new(now))
    }

    /// Returns the mode of a new connection to a backend.
    pub fn to_backend(now: Instant, limits: &Limits) -> Mode<S> {
        Mode::Upstream(Upstream::new(now, limits))
    }

    /// Returns the name of the mode.
    pub fn name(&self) -> ModeName {
        match self {
            Mode::ReadingHead(_) => ModeName::ReadingHead,
            Mode::ReadingBody(_) => ModeName::ReadingBody,
            Mode::AwaitingEndpoint(_) => ModeName::AwaitingEndpoint,
            Mode::Forwarding(_) => ModeName::Forwarding,
            Mode::Streaming(_) => ModeName::Streaming,
            Mode::WebSocket(_) => ModeName::WebSocket,
            Mode::Upstream(_) => ModeName::Upstream,
            Mode::Tunnel(_) => ModeName::Tunnel,
            Mode::Lingering(_) => ModeName::Lingering,
            Mode::Closed(_) => ModeName::Closed,
        }
    }

    /// Takes one step: turns some input into output.
    ///
    /// A mode is a value that the step consumes and returns, anew or as another mode. `ReadingHead` alone
    /// stays in its place, because nearly every request begins and ends in this mode. To move the mode out and back
    /// in took 9 % of the time of a small pipelined request (`benches/turns`), although it is few instructions: a wide
    /// load of bytes that narrow stores have just written must wait for those stores.
    #[inline(never)]
    pub(super) fn step(&mut self, input: &mut Input<'_, S>, cx: &mut Context<'_, S>) -> Step<()> {
        if let Mode::ReadingHead(mode) = self {
            return mode.step(input, cx).map(|next| {
                if let Some(next) = next {
                    *self = next;
                }
            });
        }
        let step = match self.take_out() {
            mode @ (Mode::ReadingHead(_) | Mode::Closed(_)) => Step::Blocked(mode),
            Mode::ReadingBody(mode) => mode.step(input, cx),
            Mode::AwaitingEndpoint(mode) => mode.step(input, cx),
            Mode::Forwarding(mode) => mode.step(input, cx),
            Mode::Streaming(mode) => mode.step(input, cx),
            Mode::WebSocket(mode) => mode.step(input, cx),
            Mode::Upstream(mode) => mode.step(input, cx),
            Mode::Tunnel(mode) => mode.step(input, cx),
            Mode::Lingering(mode) => mode.step(input, cx),
        };
        step.map(|next| self.put_in(next))
    }

    /// Takes the mode out for a step. Meanwhile `Closed` stands in: a valid mode, even if the step panics.
    pub(super) fn take_out(&mut self) -> Mode<S> {
        mem::replace(self, Mode::Closed(Cause::Failed))
    }

    /// Puts the mode after a step in. The stand-in owns nothing, and to drop it would be a call for each
    /// step.
    pub(super) fn put_in(&mut self, mode: Mode<S>) {
        let stand_in = mem::replace(self, mode);
        debug_assert!(matches!(stand_in, Mode::Closed(_)));
        mem::forget(stand_in);
    }

    /// Returns the present demands on the pump. Each mode answers in its own file. Always inlined: each caller
    /// asks for one of the demands, and the others are then not even made.
    #[inline(always)]
    pub(super) fn wants(&self) -> Wants {
        match self {
            Mode::ReadingHead(mode) => mode.wants(),
            Mode::ReadingBody(mode) => mode.wants(),
            Mode::AwaitingEndpoint(mode) => mode.wants(),
            Mode::Forwarding(mode) => mode.wants(),
            Mode::Streaming(mode) => mode.wants(),
            Mode::WebSocket(mode) => mode.wants(),
            Mode::Upstream(mode) => mode.wants(),
            Mode::Tunnel(mode) => mode.wants(),
            Mode::Lingering(mode) => mode.wants(),
            Mode::Closed(_) => Wants::NOTHING,
        }
    }

    /// Whether further requests may be answered in this mode, or after it.
    pub(super) fn has_answers(&self) -> bool {
        match self {
            Mode::ReadingHead(_)
            | Mode::ReadingBody(_)
            | Mode::AwaitingEndpoint(_)
            | Mode::Forwarding(_)
            | Mode::Streaming(_) => true,
            Mode::WebSocket(_)
            | Mode::Upstream(_)
            | Mode::Tunnel(_)
            | Mode::Lingering(_)
            | Mode::Closed(_) => false,
        }
    }

    /// Whether a request has begun, and its answer is not yet queued as a whole.
    pub(super) fn owes_answer(&self) -> bool {
        match self {
            Mode::ReadingHead(mode) => mode.has_begun(),
            Mode::ReadingBody(_)
            | Mode::AwaitingEndpoint(_)
            | Mode::Forwarding(_)
            | Mode::Streaming(_) => true,
            Mode::WebSocket(_)
            | Mode::Upstream(_)
            | Mode::Tunnel(_)
            | Mode::Lingering(_)
            | Mode::Closed(_) => false,
        }
    }

    /// Whether all answers that were given are sent, if no output is left.
    pub(super) fn has_sent_answers(&self) -> bool {
        !matches!(
            self,
            Mode::AwaitingEndpoint(_) | Mode::Forwarding(_) | Mode::Streaming(_)
        )
    }

    /// Whether a key names the present request of the connection, or the WebSocket connection itself.
    pub(super) fn is_for(&self, key: Key, connection: Key) -> bool {
        match self {
            Mode::AwaitingEndpoint(mode) => mode.key() == key,
            Mode::ReadingBody(mode) => mode.key() == key,
            Mode::WebSocket(_) => connection == key,
            Mode::ReadingHead(_)
            | Mode::Forwarding(_)
            | Mode::Streaming(_)
            | Mode::Upstream(_)
            | Mode::Tunnel(_)
            | Mode::Lingering(_)
            | Mode::Closed(_) => false,
        }
    }

    /// Whether the mode takes pieces from the other connection of its pair.
    pub(super) fn takes_pieces(&self) -> bool {
        match self {
            Mode::Forwarding(mode) => mode.takes_pieces(),
            Mode::Upstream(mode) => mode.takes_pieces(),
            Mode::Tunnel(mode) => mode.takes_pieces(),
            _ => false,
        }
    }

    /// Whether the end of the connection would be the end of an answer.
    pub(super) fn ends_answer_with_connection(&self) -> bool {
        matches!(self, Mode::Forwarding(mode) if mode.ends_answer_with_connection())
    }

    /// Gives a piece for the other connection of the pair. Returns whether anything changed.
    pub(super) fn give(
        self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
        put: &mut dyn FnMut(Piece<'_>, &mut Context<'_, S>),
    ) -> (Mode<S>, bool) {
        match self {
            Mode::Forwarding(mode) => mode.give(input, cx, put),
            Mode::Upstream(mode) => mode.give(input, cx, put),
            Mode::Tunnel(mode) => mode.give(input, cx, put),
            mode => (mode, false),
        }
    }

    /// Takes a piece from the other connection of the pair.
    pub(super) fn take(
        self,
        piece: Piece<'_>,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        match self {
            Mode::Forwarding(mode) => mode.take(piece, input, cx),
            Mode::Upstream(mode) => mode.take(piece, input, cx),
            Mode::Tunnel(mode) => mode.take(piece, input, cx),
            mode => mode,
        }
    }

    /// Carries out the wish of an endpoint for a connection or a request of this key, unless the
    /// connection is in another mode or with another request by now.
    pub(super) fn carry_out(
        self,
        (key, wish): (Key, Wish),
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        debug_assert!(self.is_for(key, input.key), "the caller has asked");
        match (self, wish) {
            (Mode::AwaitingEndpoint(mode), Wish::Ask) => mode.ask(input, cx),
            (Mode::AwaitingEndpoint(mode), Wish::Answer(answer)) => {
                mode.answered(*answer, input, cx)
            }
            (Mode::AwaitingEndpoint(mut mode), Wish::Write(bytes)) => {
                mode.write(bytes, input, cx);
                Mode::AwaitingEndpoint(mode)
            }
            (Mode::AwaitingEndpoint(mode), Wish::Finish) => mode.finish(input, cx),
            (Mode::AwaitingEndpoint(mode), Wish::CutOff) => mode.cut_off(cx),
            (Mode::ReadingBody(mut mode), Wish::Resume) => {
                mode.resume(cx.turn.now.instant);
                Mode::ReadingBody(mode)
            }
            (Mode::WebSocket(mode), Wish::Close(code, reason)) => {
                mode.close((code, &reason), input, cx)
            }
            (mode, _) => mode,
        }
    }

    /// Closes a WebSocket connection whose peer does not read the broadcasts.
    pub(super) fn close_slow_consumer(
        self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let Mode::WebSocket(mode) = self else {
            return self;
        };
        mode.close_slow_consumer(input, cx)
    }

    /// Returns the number of bytes that the mode holds for its peer, beside the two buffers.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Mode::ReadingBody(mode) => mode.held_bytes(),
            Mode::WebSocket(mode) => mode.held_bytes(),
            Mode::AwaitingEndpoint(mode) => mode.held_bytes(),
            Mode::Forwarding(mode) => mode.held_bytes(),
            Mode::Streaming(mode) => mode.held_bytes(),
            Mode::ReadingHead(_)
            | Mode::Upstream(_)
            | Mode::Tunnel(_)
            | Mode::Lingering(_)
            | Mode::Closed(_) => 0,
        }
    }

    /// Ends the connection, because memory is short and this connection holds much. While a request or
    /// a message comes in, the peer is told why. An answer that is on its way is cut off.
    pub(super) fn end_for_memory(
        self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        let refusal = Refusal::overloaded("there is no memory for so large a request now");
        match self {
            Mode::ReadingHead(_) => ReadingHead::refuse(refusal, input, cx),
            Mode::ReadingBody(mode) => mode.refuse(refusal, input, cx),
            Mode::Forwarding(mode) => mode.refuse(refusal, input, cx),
            Mode::WebSocket(mode) => mode.close_for_memory(input, cx),
            Mode::AwaitingEndpoint(_)
            | Mode::Streaming(_)
            | Mode::Upstream(_)
            | Mode::Tunnel(_)
            | Mode::Lingering(_) => {
                let unsent = input.write_buffer.queued();
                self.fail(input.key, Cause::Overloaded, unsent, cx)
            }
            Mode::Closed(_) => self,
        }
    }

    /// Refuses a newly accepted connection, before reading a request.
    pub(super) fn reject(
        self,
        refusal: Refusal,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        match self {
            Mode::ReadingHead(_) => ReadingHead::refuse(refusal, input, cx),
            mode => mode,
        }
    }

    /// Records that our direction has been ended, as the mode [wanted](Wants::fin).
    pub(super) fn fin_sent(&mut self, now: Instant) {
        match self {
            Mode::Lingering(mode) => mode.fin_sent(now),
            Mode::Tunnel(mode) => mode.fin_sent(now),
            _ => unreachable!("no other mode wants a FIN"),
        }
    }

    /// Ends the mode after the last byte of output, as the mode [wanted](Wants::end_when_sent).
    pub(super) fn all_sent(self, cx: &mut Context<'_, S>) -> Mode<S> {
        match self {
            Mode::Streaming(mode) => mode.all_sent(cx),
            Mode::AwaitingEndpoint(mode) => mode.all_sent(cx),
            Mode::Forwarding(mode) => mode.all_sent(cx),
            _ => unreachable!("no other mode ends with its output"),
        }
    }

    /// Returns when the mode must be stepped although nothing has happened; `None`: never.
    /// `last_progress` is when output last moved, and `pending` is whether output waits: a
    /// receiving peer is not idle.
    #[inline(always)]
    pub(super) fn deadline(
        &self,
        last_progress: Instant,
        pending: bool,
        limits: &Limits,
    ) -> Option<Instant> {
        match self {
            Mode::ReadingHead(mode) => mode.deadline(last_progress, pending, limits),
            Mode::ReadingBody(mode) => mode.deadline(limits),
            Mode::WebSocket(mode) => mode.deadline(limits),
            Mode::Lingering(mode) => mode.deadline(limits),
            Mode::AwaitingEndpoint(mode) => mode.deadline(limits),
            Mode::Forwarding(mode) => mode.deadline(last_progress, limits),
            Mode::Upstream(mode) => mode.deadline(last_progress, limits),
            Mode::Tunnel(mode) => mode.deadline(limits),
            Mode::Streaming(_) | Mode::Closed(_) => None,
        }
    }

    /// Returns the wait of the mode; `None`: for nothing but its output to leave. Each mode answers
    /// in its own file.
    pub(super) fn wait(&self, facts: &Facts, limits: &Limits) -> Option<Wait> {
        match self {
            Mode::ReadingHead(mode) => mode.wait(facts, limits),
            Mode::ReadingBody(mode) => Some(mode.wait(limits)),
            Mode::AwaitingEndpoint(mode) => mode.wait(limits),
            Mode::Forwarding(mode) => mode.wait(facts, limits),
            Mode::Upstream(mode) => Some(mode.wait(facts, limits)),
            Mode::Tunnel(mode) => Some(mode.wait(limits)),
            Mode::WebSocket(mode) => mode.wait(limits),
            Mode::Lingering(mode) => mode.wait(limits),
            Mode::Streaming(_) | Mode::Closed(_) => None,
        }
    }

    /// Ends the connection at once in any mode, with `unsent` bytes still in the write buffer.
    pub(super) fn fail(
        self,
        key: Key,
        cause: Cause,
        unsent: u64,
        cx: &mut Context<'_, S>,
    ) -> Mode<S> {
        match self {
            Mode::ReadingBody(mode) => mode.abandon(cx),
            Mode::AwaitingEndpoint(mode) => mode.abandon(unsent, cx),
            Mode::Forwarding(mode) => mode.abandon(unsent, cx),
            Mode::Streaming(mode) => mode.abandon(unsent, cx),
            Mode::WebSocket(mode) => mode.abandon(key, cx),
            Mode::ReadingHead(_)
            | Mode::Upstream(_)
            | Mode::Tunnel(_)
            | Mode::Lingering(_)
            | Mode::Closed(_) => {}
        }
        Mode::Closed(cause)
    }
}
