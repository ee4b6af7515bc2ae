//! Floor 4, server: accepting connections, and the limit on their number.
//!
//! At the limit, new connections form a *crowd*: one was accepted and waits unread, and the others
//! wait in the backlog of the kernel. The crowd is let in as slots become free. Three rules free
//! slots without harm to the connections that have one:
//!
//! 1. A connection that has been idle for a while is *evicted*: one that waits for a request, or, if
//!    there is none, an idle WebSocket connection, with the close code 1001, or an endless stream between
//!    two pieces. Eviction at once would destroy the
//!    next request of a busy client, and two crowds of busy clients would do nothing but evict each
//!    other.
//! 2. Busy connections are asked, one after the other and at a bounded pace, to *give way*: their
//!    next answer says `Connection: close`, and the client knows that the next request needs a new
//!    connection. No request is lost.
//! 3. If no slot becomes free all the same, the crowd is told: 503.

use std::cmp::Reverse;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Driver, Server, Slot, get};
use crate::connection::{Connection, Context, Key, TraceRecord};
use crate::site::Files;
use crate::sys;
use crate::transport::Transport;

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// How many connections beyond the limit may be open, each for as long as the 503 takes.
    pub(super) const REJECTED_MAX: usize = 64;

    /// The work of accepting a connection, and of registering it: three system calls, and what the
    /// kernel does for a new socket.
    const ACCEPT_WORK: u32 = 20;

    /// The number of slots in which a connection is looked for that can be asked to give way.
    const SLOTS_ASKED: usize = 256;

    /// Accepts a bounded number of connections from each acceptable listener, unless accepting is
    /// paused.
    #[inline]
    pub(super) fn accept(&mut self) {
        match self.acceptable.contains(&true) {
            true => self.accept_waiting(),
            false => self.crowd.idle = None,
        }
    }

    /// Accepts a bounded number of connections from each acceptable listener. A function of its own, because
    /// no connection is new in most turns.
    #[inline(never)]
    fn accept_waiting(&mut self) {
        let now = self.turn.now.instant;
        if self.accept_paused_until.is_some_and(|until| now < until) {
            return;
        }
        self.accept_paused_until = None;
        self.crowd.idle = None;
        let late = |newcomer: &Newcomer<_>| newcomer.since + self.turn.limits.newcomer_time <= now;
        let rejects = self.turn.stopping || self.crowd.waiting.as_ref().is_some_and(late);
        let listeners = self.acceptable.iter().filter(|is_ready| **is_ready).count();
        for listener in 0..self.acceptable.len() {
            self.work.begin_share(listeners as u32);
            for _ in 0..self.turn.limits.accepts_per_turn {
                // After a stop, whoever has come by then is let in at once.
                let has_time = self.work.is_left() || self.turn.stopping;
                if !self.acceptable[listener] || !has_time {
                    break;
                }
                match self.next_newcomer(listener as u8) {
                    Ok(newcomer) => {
                        if let Some(newcomer) = self.admit(newcomer, rejects) {
                            return self.wait_for_a_slot(newcomer);
                        }
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        self.acceptable[listener] = false;
                    }
                    Err(e) if concerns_one_connection(&e) => {}
                    Err(e) => return self.pause_accepting(listener as u8, &e),
                }
            }
        }
    }

    /// Returns the connection that waits for a slot, or else accepts one.
    fn next_newcomer(&mut self, listener: u8) -> io::Result<Newcomer<D::Stream>> {
        if let Some(newcomer) = self.crowd.waiting.take() {
            return Ok(newcomer);
        }
        let now = self.turn.now.instant;
        let (stream, peer) = self.driver.accept(listener)?;
        self.tally.counters.connections += 1;
        if let Some(console) = &mut self.console {
            console.note(peer.ip());
        }
        #[cfg(feature = "tls")]
        self.look_at_certificate(&stream);
        Ok(Newcomer {
            stream,
            peer,
            listener,
            since: now,
            asks_at: now + self.turn.limits.turnover_time,
        })
    }

    /// Pauses accepting after an error with which the next accept(2) would fail too. The flag
    /// `acceptable` stays set, because an edge is reported once: no event would come for the
    /// connections that wait already.
    fn pause_accepting(&mut self, listener: u8, error: &io::Error) {
        let now = self.turn.now.instant;
        self.tally.counters.accepts_failed += 1;
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
    /// request has usually come already. If no slot is free and none can be made free, the
    /// newcomer is returned; if `rejects`, the newcomer gets a 503 instead. With
    /// [`REJECTED_MAX`](Self::REJECTED_MAX) rejected connections open, the newcomer is returned
    /// too, or dropped if the server is stopping.
    fn admit(
        &mut self,
        newcomer: Newcomer<D::Stream>,
        rejects: bool,
    ) -> Option<Newcomer<D::Stream>> {
        let has_slot = self.has_slot();
        if !has_slot {
            let max = self.turn.limits.connections_max + Self::REJECTED_MAX;
            if !rejects || (self.connections.len() >= max && !self.turn.stopping) {
                return Some(newcomer);
            }
            if self.connections.len() >= max {
                self.tally.counters.shed += 1;
                return None;
            }
        }
        self.generation = self.generation.wrapping_add(1);
        let entry = self.connections.vacant_entry();
        let key = Key::new(entry.key(), self.generation);
        let Newcomer {
            stream,
            peer,
            listener,
            ..
        } = newcomer;
        self.tally.ring.push(TraceRecord::Accept {
            key,
            listener,
            port: peer.port(),
        });
        let slot = entry.insert(Slot::new(
            Connection::new(key, stream, peer, self.turn.now.instant),
            None,
        ));
        if !has_slot {
            let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
            slot.connection.reject_overloaded(cx);
        }
        self.runnable.enqueue(slot);
        self.work.spend(Self::ACCEPT_WORK);
        None
    }

    /// Whether a slot is free, perhaps after the eviction of idle connections.
    fn has_slot(&mut self) -> bool {
        while self.connections.len() >= self.turn.limits.connections_max {
            let Some(key) = self.longest_idle() else {
                return false;
            };
            if let Some(slot) = get(&mut self.connections, key) {
                slot.connection.evict_if_idle();
                self.pump(key);
            }
        }
        true
    }

    /// Returns the connection with the longest idle time, if that is long enough for an eviction.
    /// Connections of WebSocket and streams come last: their peers may have something to say or to hear at
    /// any time.
    /// A connection with an event in this turn is not idle. The list of idle connections is made at
    /// most once a turn, only at the limit, and not before the time when a connection will have
    /// been idle for long enough.
    fn longest_idle(&mut self) -> Option<Key> {
        let (now, time) = (self.turn.now.instant, self.turn.limits.eviction_idle_time);
        if self.crowd.none_idle_before.is_some_and(|at| now < at) {
            return None;
        }
        let list = self.crowd.idle.get_or_insert_with(|| {
            let idle = |(_, slot): (usize, &Slot<F, D::Stream>)| {
                let since = slot.connection.idle_since().filter(|_| !slot.queued)?;
                Some((slot.connection.lasts(), since, slot.connection.key()))
            };
            let mut oldest: Vec<_> = self.connections.iter().filter_map(idle).collect();
            oldest
                .sort_unstable_by_key(|(lasts, since, key)| Reverse((*lasts, *since, key.index())));
            oldest
        });
        match list.pop_if(|(_, since, _)| *since + time <= now) {
            Some((_, _, key)) => Some(key),
            None => {
                let since = list.last().map_or(now, |(_, since, _)| *since);
                self.crowd.none_idle_before = Some(since + time);
                None
            }
        }
    }

    /// Keeps a newcomer until a slot is free, and accepts no other connection meanwhile: the rest
    /// of the crowd stays in the backlog. Accepting resumes when a connection ends, or when the
    /// newcomer needs another eviction, another connection to give way, or a 503.
    fn wait_for_a_slot(&mut self, mut newcomer: Newcomer<D::Stream>) {
        let now = self.turn.now.instant;
        if newcomer.asks_at <= now {
            newcomer.asks_at = now + self.ask_one_to_give_way();
        }
        let told = newcomer.since + self.turn.limits.newcomer_time;
        let asks = Some(newcomer.asks_at);
        let times = [self.crowd.none_idle_before, asks, Some(told)];
        let times = times.into_iter().flatten().filter(|at| *at > now);
        self.accept_paused_until = times.min();
        self.crowd.waiting = Some(newcomer);
        if let Some(log) = &mut self.log {
            log.at_the_limit(self.turn.limits.connections_max, now);
        }
    }

    /// Asks the next connection, in the order of the slots, to end with its next answer. A client
    /// that asks without a pause would otherwise keep its slot for ever. Returns the time until the
    /// next connection should be asked.
    fn ask_one_to_give_way(&mut self) -> Duration {
        let slots = self.connections.capacity();
        for _ in 0..slots.min(Self::SLOTS_ASKED) {
            self.crowd.hand = (self.crowd.hand + 1) % slots;
            let slot = self.connections.get_mut(self.crowd.hand);
            if slot.is_some_and(|slot| slot.connection.give_way()) {
                return self.turn.limits.turnover_time;
            }
        }
        match slots <= Self::SLOTS_ASKED {
            // Every connection gives way already, or has no answers to give.
            true => self.turn.limits.eviction_idle_time,
            false => self.turn.limits.turnover_time,
        }
    }
}

/// A connection that was accepted, and has no slot yet.
struct Newcomer<S> {
    stream: S,
    peer: SocketAddr,
    /// The number of the listener.
    listener: u8,
    /// When the connection was accepted.
    since: Instant,
    /// When a connection with a slot will be asked to give way.
    asks_at: Instant,
}

/// The state of the server at the limit of connections.
pub(super) struct Crowd<S> {
    /// The connection at the head of the crowd; the rest waits in the backlog. Nothing is read from
    /// the connection. It was accepted because only an accepted connection proves that there is a
    /// crowd.
    waiting: Option<Newcomer<S>>,
    /// The idle connections in the opposite order of eviction, each with whether it
    /// [lasts](Connection::lasts), and since when it is idle; `None` until the list is needed.
    idle: Option<Vec<(bool, Instant, Key)>>,
    /// No connection will have been idle for long enough before this time.
    none_idle_before: Option<Instant>,
    /// The slot whose connection was last asked to give way.
    hand: usize,
}

impl<S> Default for Crowd<S> {
    fn default() -> Self {
        Crowd {
            waiting: None,
            idle: None,
            none_idle_before: None,
            hand: 0,
        }
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
