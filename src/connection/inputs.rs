//! Floor 3, connection: the inputs, by which the server reports an event to a connection, or asks the
//! connection for something. An input sets a mark or changes the mode; the pump does the rest.

use std::mem;

use super::mode::Mode;
use super::{Broadcast, Cause, Connection, Context, Key, Refusal, StallClock, Wish};
use crate::config::SlowMember;
use crate::site::Files;
use crate::transport::{Ready, Transport};

impl<S: Files, T: Transport<File = S::File>> Connection<S, T> {
    /// Adds the readiness that an event reported.
    pub fn mark(&mut self, ready: Ready) {
        self.transport.mark(ready);
    }

    /// Reads once if the connection is between two requests, and returns the target of the next GET request
    /// as far as its bytes have come. The request is not answered.
    pub fn next_target(&mut self, cx: &mut Context<'_, S>) -> Option<&[u8]> {
        if !matches!(self.mode, Mode::ReadingHead(_)) {
            return None;
        }
        self.fill(cx);
        // The bytes may wait for long.
        self.read_buffer.shrink(&mut cx.shared.pool);
        if !self.read_buffer.is_empty() {
            self.read_buffer.settle(&mut cx.shared.pool);
        }
        let rest = self.read_buffer.bytes().strip_prefix(b"GET ")?;
        rest.split(|b| b.is_ascii_whitespace()).next()
    }

    /// Reports that the deadline of the connection has passed. If output has stalled, the
    /// connection ends at once; otherwise the next pump acts on the deadline.
    pub fn expire(&mut self, cx: &mut Context<'_, S>) {
        if !self.is_stalled(cx) {
            self.expired = true;
            // After a pause of the process, the event for what the peer has sent may still be in the
            // kernel, which reports a bounded number of events at a time. Only a read finds out whether
            // the peer was late.
            self.transport.mark(Ready {
                readable: true,
                ..Ready::default()
            });
            return;
        }
        // The kernel reports space only when a third of its send buffer is free. A third may be a
        // megabyte, and take minutes of a slow download. Only a write finds out whether the peer
        // has taken anything.
        self.transport.mark(Ready {
            writable: true,
            ..Ready::default()
        });
        // Before each write, a step: the mode looks at a file again before its last bytes leave. The
        // last look may be as old as the deadline.
        cx.shared.site.begin_epoch();
        self.step_mode(cx);
        while self.is_stalled(cx) && self.flush_once(cx) {
            self.step_mode(cx);
        }
        // If the budget is spent, the question is still open: the next turn goes on.
        if self.is_stalled(cx) && cx.budget.bytes > 0 {
            self.fail(Cause::Stalled, cx);
        }
    }

    /// Reports that another connection needs this slot: the next pump ends this connection, unless
    /// a request has come by then.
    pub fn evict_if_idle(&mut self) {
        self.evict = true;
    }

    /// Reports that other connections wait for a slot: the next answer is the last. Returns `false`
    /// if the report changes nothing, because the connection gives way already, is ending, or has
    /// no further answers to give (WebSocket).
    pub fn give_way(&mut self) -> bool {
        !mem::replace(&mut self.gives_way, true) && self.mode.has_answers()
    }

    /// Answers 503 on a newly accepted connection, and ends the connection.
    /// [Pump](Connection::pump) it afterwards.
    pub fn reject_overloaded(&mut self, cx: &mut Context<'_, S>) {
        let sentence = "there are too many connections, try again in a moment";
        let refusal = Refusal::overloaded(sentence);
        self.change_mode(cx, |mode, input, cx| mode.reject(refusal, input, cx));
    }

    /// Ends the connection at once, because the server stops. Waiting output is lost.
    pub fn cut_off(&mut self, cx: &mut Context<'_, S>) {
        if self.cause().is_some() {
            // The connection has ended in this turn, and keeps its cause.
            return;
        }
        let cause = match self.owes_answer() {
            true => Cause::CutOff,
            false => Cause::Stopped,
        };
        self.fail(cause, cx);
    }

    /// Ends the connection, because memory is short and this connection
    /// [holds](Connection::held_bytes) much. The memory is free at once. The peer is told why, unless
    /// the memory is that of output, which is lost. [Pump](Connection::pump) the connection afterwards.
    pub fn end_for_memory(&mut self, cx: &mut Context<'_, S>) {
        let unsent = self.write_buffer.held_bytes() + self.transport.held_bytes();
        match unsent > StallClock::PORTION_BYTES {
            true => self.fail(Cause::Overloaded, cx),
            false => self.change_mode(cx, Mode::end_for_memory),
        }
        self.read_buffer.release(&mut cx.shared.pool);
        if self.cause().is_some() {
            self.write_buffer.release(&mut cx.shared.pool);
        }
    }

    /// Carries out a wish of an endpoint. [Pump](Connection::pump) the connection afterwards.
    pub fn carry_out(&mut self, wish: (Key, Wish), cx: &mut Context<'_, S>) {
        if !self.mode.is_for(wish.0, self.key) {
            return;
        }
        if let (key, Wish::Reset) = wish {
            // The endpoint knows, and is not told of an answer that is left undone.
            cx.shared.owed.settle(key);
            self.transport.reset_at_close();
            return self.fail(Cause::Finished, cx);
        }
        let waiting = !self.write_buffer.is_empty();
        self.change_mode(cx, |mode, input, cx| mode.carry_out(wish, input, cx));
        if !waiting {
            self.output = StallClock::new(cx.turn.now.instant);
        }
    }

    /// Queues a broadcast on a WebSocket connection. If the write buffer is full, the message is
    /// dropped or the connection is closed, as `slow` says. [Flush](Connection::flush) the connection
    /// afterwards.
    pub fn enqueue_broadcast(
        &mut self,
        broadcast: &Broadcast,
        slow: SlowMember,
        cx: &mut Context<'_, S>,
    ) {
        if self.try_enqueue(broadcast, cx) {
            return;
        }
        // Broadcasts of this turn may still be waiting in the write buffer, and no write was tried
        // since.
        self.flush(cx);
        if self.try_enqueue(broadcast, cx) {
            return;
        }
        match slow {
            SlowMember::Drop => cx.tally.counters.missed += 1,
            SlowMember::Close => self.change_mode(cx, Mode::close_slow_consumer),
        }
    }

    /// Queues a broadcast; returns `false` if the write buffer is full. A connection no longer in
    /// the mode `WebSocket` ignores the broadcast and returns `true`, because no space is needed.
    fn try_enqueue(&mut self, broadcast: &Broadcast, cx: &mut Context<'_, S>) -> bool {
        let Mode::WebSocket(mode) = &mut self.mode else {
            return true;
        };
        let waiting = !self.write_buffer.is_empty();
        let queued = mode.enqueue_broadcast(broadcast, &mut self.write_buffer, cx);
        if queued && !waiting {
            self.output = StallClock::new(cx.turn.now.instant);
        }
        queued
    }
}
