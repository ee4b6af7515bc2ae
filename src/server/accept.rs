//! Floor 4, server: accepting connections, and the limit on their number. At the limit, an idle
//! connection is evicted to make space for a new one. If no connection is idle, the new connection
//! is answered with 503.

use std::cmp::Reverse;
use std::io;
use std::net::SocketAddr;

use super::{Driver, Server, Slot, enqueue, get};
use crate::connection::{Connection, Context, Key};
use crate::site::Files;
use crate::sys;
use crate::transport::Transport;

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// How many connections beyond the limit may be open, each for as long as the 503 takes.
    const REJECTED_MAX: usize = 64;

    /// Accepts a bounded number of connections from each acceptable listener, unless accepting is
    /// paused.
    pub(super) fn accept(&mut self) {
        let now = self.turn.now.instant;
        if self.accept_paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.accept_paused_until = None;
        self.idle = None;
        for listener in 0..self.acceptable.len() {
            for _ in 0..self.turn.limits.accepts_per_turn {
                if !self.acceptable[listener] {
                    break;
                }
                match self.driver.accept(listener as u8) {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        self.acceptable[listener] = false;
                    }
                    Err(e) if concerns_one_connection(&e) => {}
                    Err(e) => return self.pause_accepting(listener as u8, &e),
                }
            }
        }
    }

    /// Pauses accepting after an error with which the next accept(2) would fail too. The flag
    /// `acceptable` stays set, because an edge is reported once: no event would come for the
    /// connections that wait already.
    fn pause_accepting(&mut self, listener: u8, error: &io::Error) {
        let now = self.turn.now.instant;
        self.accept_paused_until = Some(now + self.turn.limits.accept_pause);
        if sys::is_exhausted(error) {
            self.shared.site.close_files();
            self.driver.shed(listener);
        }
        if let Some(log) = &mut self.log {
            log.cannot_accept(error, now);
        }
    }

    /// Puts a new connection into the slab. The connection is pumped in this turn, because the
    /// request has usually come already. At the limit, an idle connection is evicted, or else the
    /// new connection is rejected with 503. With [`REJECTED_MAX`](Self::REJECTED_MAX) rejected
    /// connections open, the new connection is dropped.
    fn admit(&mut self, stream: D::Stream, peer: SocketAddr) {
        self.tally.counters.connections += 1;
        let open = self.connections.len();
        let max = self.turn.limits.connections_max;
        let rejected = open >= max && !self.evict_one_idle();
        if rejected && open >= max + Self::REJECTED_MAX {
            self.tally.counters.shed += 1;
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        let entry = self.connections.vacant_entry();
        let key = Key::new(entry.key(), self.generation);
        let slot = entry.insert(Slot {
            connection: Connection::new(key, stream, peer, self.turn.now.instant),
            queued: false,
            pending_flush: false,
            registered: false,
        });
        if rejected {
            let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
            slot.connection.reject_overloaded(cx);
        }
        enqueue(slot, &mut self.runnable);
    }

    /// Evicts the connection with the longest idle time: the next pump, in this turn, ends the
    /// connection unless a request has come by then. Returns `false` if no connection is idle. The
    /// list of idle connections is made at most once a turn, and only at the limit.
    fn evict_one_idle(&mut self) -> bool {
        if self.idle.is_none() {
            let idle = |(_, slot): (usize, &Slot<F, D::Stream>)| {
                let since = slot.connection.idle_since()?;
                Some((since, slot.connection.key()))
            };
            let mut oldest: Vec<_> = self.connections.iter().filter_map(idle).collect();
            oldest.sort_unstable_by_key(|(since, key)| Reverse((*since, key.index())));
            self.idle = Some(oldest.into_iter().map(|(_, key)| key).collect());
        }
        let oldest = self.idle.as_mut().and_then(Vec::pop);
        let Some(slot) = oldest.and_then(|key| get(&mut self.connections, key)) else {
            return false;
        };
        slot.connection.evict_if_idle();
        enqueue(slot, &mut self.runnable);
        true
    }
}

/// Whether an error of accept(2) concerns a single connection, now gone. The next accept(2) may
/// then succeed.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
