//! Floor 3, connection: the mode that sends a large body.

use super::{Lingering, Mode, ReadingHead, Step, Wanted, Wants};
use crate::connection::{Cause, Context, Exchange, Input, Record};
use crate::http::Persistence;
use crate::site::{BodySlice, Files, Stream};

/// Sending a body slice by slice. A slice is queued only when the write buffer has room. The
/// exception is an encoder, which [runs ahead](Stream::runs_ahead) of a slow reader while memory is
/// not tight.
pub(crate) struct Streaming<S: Files> {
    stream: Stream<S::File>,
    /// Bytes of content queued up to now, without the framing of chunks.
    queued: u64,
    /// The bytes of the last slice of a file, and of what was queued after it, that had not left when
    /// the file was last looked at.
    unsent: u64,
    /// The bytes that the stream holds, as charged to the account of memory.
    held: usize,
    persistence: Persistence,
    /// The peer may still be sending bytes that will not be read.
    must_linger: bool,
    /// The log entry, completed at the end. `None`: no log wants the entry.
    exchange: Option<Box<Exchange>>,
}

/// The way in.
impl<S: Files> Streaming<S> {
    /// The head of the answer was queued, and the body follows.
    pub(super) fn after(
        stream: Stream<S::File>,
        persistence: Persistence,
        must_linger: bool,
        exchange: Option<Box<Exchange>>,
    ) -> Streaming<S> {
        Streaming {
            stream,
            queued: 0,
            unsent: 0,
            held: 0,
            persistence,
            must_linger,
            exchange,
        }
    }
}

impl<S: Files> Streaming<S> {
    pub(super) fn step(
        mut self,
        input: &mut Input<'_, S>,
        cx: &mut Context<'_, S>,
    ) -> Step<Mode<S>> {
        if self.is_queued_whole() {
            return match self.may_complete(input, cx) {
                true => Step::Blocked(Mode::Streaming(self)),
                false => Step::Progress(self.break_off(input, cx)),
            };
        }
        let runs_ahead = self.stream.runs_ahead() && !cx.shared.pool.account().is_tight();
        match input.has_room || runs_ahead {
            true => Step::Progress(self.queue(input, cx)),
            false => Step::Blocked(Mode::Streaming(self)),
        }
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            input: Wanted::Never,
            fin: false,
            end_when_sent: self.is_queued_whole(),
            idle_since: None,
        }
    }

    /// The number of bytes that the stream holds for its peer.
    pub(super) fn held_bytes(&self) -> usize {
        self.held
    }

    /// Charges the account of memory with `held` bytes, in place of those before.
    fn charge(&mut self, held: usize, cx: &mut Context<'_, S>) {
        if held != self.held {
            let account = cx.shared.pool.account_mut();
            account.charge(held);
            account.release(std::mem::replace(&mut self.held, held));
        }
    }

    /// Whether the whole body has been queued.
    fn is_queued_whole(&self) -> bool {
        self.stream.is_at_end()
    }

    /// Ends the answer after the last byte has left, and not earlier: the log must tell the truth
    /// about the body.
    pub(super) fn all_sent(mut self, cx: &mut Context<'_, S>) -> Mode<S> {
        self.charge(0, cx);
        if let Some(mut exchange) = self.exchange {
            exchange.body_bytes = self.queued;
            cx.tally.log(Record::Exchange(exchange));
        }
        let now = cx.turn.now.instant;
        match self.persistence {
            Persistence::KeepAlive => Mode::ReadingHead(ReadingHead::new(now)),
            Persistence::Close => {
                Mode::Lingering(Lingering::after(Cause::LastAnswer, self.must_linger, now))
            }
        }
    }

    /// Queues the next slice.
    fn queue(mut self, input: &mut Input<'_, S>, cx: &mut Context<'_, S>) -> Mode<S> {
        let (site, stream, wall) = (&mut cx.shared.site, &mut self.stream, cx.turn.now.wall);
        let max = cx.turn.limits.turn_bytes as u64;
        let (slice, cost) = input.write_buffer.append(&mut cx.shared.pool, |out| {
            site.next_slice(stream, max, out, wall)
        });
        cx.budget.spend_work(cost - 1);
        self.charge(self.stream.held_bytes(), cx);
        match slice {
            BodySlice::Written(content) => {
                self.queued += content as u64;
                self.unsent += content as u64;
            }
            BodySlice::File { file, at, len } => {
                self.queued += len;
                self.unsent = len;
                input.write_buffer.push_file(file, at, len);
            }
            // The rest of the body is missing. The body is never padded: the peer must see from the
            // framing that the body is incomplete.
            BodySlice::Broken => {
                self.unsent = 0;
                return self.break_off(input, cx);
            }
        }
        Mode::Streaming(self)
    }

    /// Whether the rest of a body that is queued whole may leave. The last bytes are held back when
    /// the file has changed, because the peer would take the body for complete.
    fn may_complete(&mut self, input: &Input<'_, S>, cx: &Context<'_, S>) -> bool {
        let unsent = self.unsent.min(input.write_buffer.queued());
        let is_cut = unsent < self.unsent;
        self.unsent = unsent;
        cx.shared.site.may_complete(&mut self.stream, is_cut)
    }

    /// Ends the answer early, because the file has changed. The output of the last slice is dropped.
    fn break_off(self, input: &mut Input<'_, S>, cx: &mut Context<'_, S>) -> Mode<S> {
        let (unsent, last) = (input.write_buffer.queued(), self.unsent);
        input.write_buffer.drop_last(last, &mut cx.shared.pool);
        self.abandon(unsent, cx);
        Mode::Lingering(Lingering::after(
            Cause::FileChanged,
            false,
            cx.turn.now.instant,
        ))
    }

    /// Ends the answer early, with `unsent` bytes in the write buffer.
    pub(super) fn abandon(mut self, unsent: u64, cx: &mut Context<'_, S>) {
        self.charge(0, cx);
        if let Some(mut exchange) = self.exchange {
            exchange.body_bytes = self.queued.saturating_sub(unsent);
            exchange.complete = false;
            cx.tally.log(Record::Exchange(exchange));
        }
    }
}
