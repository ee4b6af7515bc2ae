//! Floor 4, server: the stop. The first signal begins a stop, which finishes the answers in flight; the
//! second signal, or the end of [`Limits::stop_time`](crate::config::Limits::stop_time), ends every
//! connection.

use super::{Driver, Flow, Server, Signal, get, start};
use crate::connection::{Context, TraceRecord};
use crate::site::Files;
use crate::transport::Transport;

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// Handles signals: the first begins a graceful stop, the second ends every connection at once.
    pub(super) fn signals(&mut self) -> Flow {
        while let Some(signal) = self.driver.signal() {
            let stop = signal == Signal::Stop;
            self.tally.ring.push(TraceRecord::Signal { stop });
            if !stop {
                self.demand(signal);
                continue;
            }
            if let Some(log) = &mut self.log {
                log.signalled();
            }
            if self.stop_at.is_some() {
                return Flow::Stopped;
            }
            self.stop();
        }
        Flow::Continue
    }

    /// Begins to stop. The server takes no new connections and no further requests, but finishes
    /// the work in flight.
    pub(super) fn stop(&mut self) {
        self.stop_at = Some(self.turn.now.instant + self.turn.limits.stop_time);
        self.turn.stopping = true;
        // Clients in the backlog are served, because the kernel has completed their handshake in
        // our name. Closing a listener resets every connection in the backlog, so the backlog is
        // emptied first, in as many rounds of accepting as a full backlog needs and no more.
        self.acceptable.fill(true);
        self.accept_paused_until = None;
        for _ in 0..=start::BACKLOG.unsigned_abs() / self.turn.limits.accepts_per_turn {
            self.accept();
        }
        self.driver.close_listeners();
        self.acceptable.clear();
        for (_, slot) in &mut self.connections {
            self.runnable.enqueue(slot);
        }
    }

    /// Whether the server is stopping, and no connection is left or the time is over.
    pub(super) fn is_stop_over(&self) -> bool {
        let over = |at| self.connections.is_empty() || at <= self.turn.now.instant;
        self.stop_at.is_some_and(over)
    }

    /// Ends the stop: the connections that are left are closed at once.
    pub(super) fn cut_off(&mut self) -> Flow {
        let keys = self
            .connections
            .iter()
            .map(|(_, slot)| slot.connection.key());
        for key in keys.collect::<Vec<_>>() {
            if let Some(slot) = get(&mut self.connections, key) {
                let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
                slot.connection.cut_off(cx);
            }
            self.remove(key);
        }
        self.runnable.clear();
        self.record();
        Flow::Stopped
    }
}
