//! Floor 3, connection: the output of a connection: from the write buffer, or from the transport itself,
//! to the kernel.

use std::mem;

use super::{Cause, Connection, Context, Moved, Record, StallClock, TraceRecord};
use crate::site::Files;
use crate::transport::{Io, Transport};

/// The output.
impl<S: Files, T: Transport<File = S::File>> Connection<S, T> {
    /// Writes once, or ends our direction if all output is sent and the mode wants a FIN. Returns
    /// whether anything changed.
    pub(super) fn flush_once(&mut self, cx: &mut Context<'_, S>) -> bool {
        if self.transport.wants_write() {
            return self.flush_transport(cx);
        }
        if self.write_buffer.is_empty() {
            return self.mode.wants().fin && self.finish_write(cx);
        }
        if cx.budget.bytes == 0 {
            self.hold_record(cx);
            return false;
        }
        // The limit is not the rest of the budget. Otherwise a file would be cut a little before
        // the end of each slice, in every turn, because of the head sent first.
        let limit = cx.turn.limits.turn_bytes;
        let pool = &mut cx.shared.pool;
        let began = cx.shared.stopwatch.map(|watch| watch.now());
        let moved = self.write_buffer.flush(&mut self.transport, limit, pool);
        self.charge_transport(cx);
        if let (Some(watch), Some(began)) = (cx.shared.stopwatch, began) {
            self.write_time += watch.now().saturating_duration_since(began);
        }
        match moved {
            Io::Done(n) => {
                self.note_sent(Moved::Bytes(n as u64), cx);
                cx.tally.counters.sent_bytes += n as u64;
                cx.budget.spend_bytes(n);
                self.sent += n as u64;
                self.output.add(n, cx.turn.now.instant);
                if matches!(&self.unsent, Some((end, _)) if *end <= self.sent) {
                    self.log_unsent(cx);
                }
                if self.write_buffer.is_empty() {
                    self.output = StallClock::new(cx.turn.now.instant);
                    self.all_sent(cx);
                    if self.answers > 0 && self.mode.has_sent_answers() {
                        let answers = mem::take(&mut self.answers);
                        cx.tally.serve(answers, self.asked_at, cx.turn.now.instant);
                    }
                } else {
                    self.hold_record(cx);
                }
                true
            }
            Io::Blocked => {
                self.note_sent(Moved::Blocked, cx);
                self.hold_record(cx);
                false
            }
            Io::Eof => {
                self.note_sent(Moved::End, cx);
                self.fail(Cause::FileChanged, cx);
                true
            }
            Io::Failed(error) => {
                self.note_sent(Moved::Failed, cx);
                self.io_failed(&error, true, cx);
                true
            }
        }
    }

    /// Charges the budget for the work of the transport, and the account for its memory.
    #[inline]
    pub(super) fn charge_transport(&mut self, cx: &mut Context<'_, S>) {
        let work = self.transport.take_work();
        if work > 0 {
            cx.budget.spend_work(work);
        }
        let held = self.transport.held_bytes();
        if held != self.charged {
            self.charge_memory(held, cx);
        }
    }

    /// Makes `held` the number of bytes that the account is charged for the transport.
    #[inline(never)]
    pub(super) fn charge_memory(&mut self, held: usize, cx: &mut Context<'_, S>) {
        let account = cx.shared.pool.account_mut();
        account.release(mem::replace(&mut self.charged, held));
        account.charge(held);
    }

    /// Sends bytes that the transport holds. Returns whether anything changed.
    fn flush_transport(&mut self, cx: &mut Context<'_, S>) -> bool {
        let moved = self.transport.flush();
        self.charge_transport(cx);
        match moved {
            Io::Done(n) => {
                cx.budget.spend_bytes(n);
                self.output.add(n, cx.turn.now.instant);
                true
            }
            Io::Failed(error) => {
                self.fail(Cause::of(&error), cx);
                true
            }
            Io::Blocked | Io::Eof => {
                if !self.write_buffer.is_empty() {
                    self.hold_record(cx);
                }
                false
            }
        }
    }

    /// Ends our direction. Returns whether anything changed.
    fn finish_write(&mut self, cx: &mut Context<'_, S>) -> bool {
        cx.budget.spend_bytes(0);
        match self.transport.finish_write() {
            Io::Done(_) => {
                cx.tally.ring.push(TraceRecord::Fin { key: self.key });
                self.mode.fin_sent(cx.turn.now.instant);
                true
            }
            Io::Failed(error) => {
                self.fail(Cause::of(&error), cx);
                true
            }
            Io::Blocked | Io::Eof => {
                self.output = StallClock::new(cx.turn.now.instant);
                false
            }
        }
    }

    #[inline(always)]
    fn note_sent(&self, moved: Moved, cx: &mut Context<'_, S>) {
        let (key, left) = (self.key, self.write_buffer.queued());
        cx.tally.ring.push(TraceRecord::Send { key, moved, left });
    }

    /// Called when the last byte of output is sent. A body that ends with this byte is finished now
    /// and not in a later step: the budget may allow no further step in this turn, although the
    /// peer has the whole answer already.
    fn all_sent(&mut self, cx: &mut Context<'_, S>) {
        if self.mode.wants().end_when_sent {
            self.change_mode(cx, |mode, _, cx| mode.all_sent(cx));
        }
    }

    /// Takes the record of the last answer back from the log, until the answer is sent. Only the last is
    /// held: the records of many answers, to a peer that does not read, would need much memory.
    #[inline(never)]
    pub(super) fn hold_record(&mut self, cx: &mut Context<'_, S>) {
        let records = &mut cx.tally.records;
        let is_ours = |record: &mut Record| matches!(record, Record::Exchange(last) if last.key == self.key && last.complete);
        if let Some(Record::Exchange(last)) = records.pop_if(is_ours) {
            let end = self.sent + self.write_buffer.queued();
            if let Some((_, before)) = self.unsent.replace((end, last)) {
                cx.tally.log(Record::Exchange(before));
            }
        }
    }

    /// Hands the record that was held to the log, with the bytes that were sent.
    #[cold]
    pub(super) fn log_unsent(&mut self, cx: &mut Context<'_, S>) {
        if let Some((end, mut exchange)) = self.unsent.take() {
            let missing = end.saturating_sub(self.sent);
            exchange.body_bytes = exchange.body_bytes.saturating_sub(missing);
            exchange.complete = missing == 0;
            cx.tally.log(Record::Exchange(exchange));
        }
    }
}
