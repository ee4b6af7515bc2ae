//! Floor 4, server: deadlines. The wait ends at the soonest one, and the part *expire* of a turn acts on those
//! that have passed.

use std::time::{Duration, Instant};

use super::{Driver, Jobs, Server};
use crate::connection::{Context, TraceRecord};
use crate::site::Files;
use crate::transport::Transport;

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// How many deadlines are looked for at a time. When many pass at once, even the search takes long.
    const DUE_MAX: usize = 256;

    /// The work of notifying a connection of its deadline. When many pass at once, the state of each
    /// connection must come from memory, and so must all that the last answer and the FIN touch in the
    /// kernel. Those are charged in the next turn as if the connection had just been active.
    const DEADLINE_WORK: u32 = 20;

    /// How long the pool keeps large buffers, at most.
    const STOCK_TIME: Duration = Duration::from_secs(5);

    /// Returns how long to wait: zero while work is left, otherwise until the next deadline; `None`
    /// if no deadline is armed.
    pub(super) fn timeout(&self, now: Instant) -> Option<Duration> {
        let accepting = self.acceptable.contains(&true);
        let has_jobs = self.jobs.as_ref().is_some_and(Jobs::are_waiting);
        let busy =
            !self.runnable.is_empty() || self.has_effects() || !self.due.is_empty() || has_jobs;
        let busy = busy || self.backends.is_some() && self.has_couples();
        if busy || (accepting && self.accept_paused_until.is_none()) {
            return Some(Duration::ZERO);
        }
        let inspect = self.inspect.as_ref().and_then(|inspect| inspect.due());
        let inspect = inspect.map(|at| at.saturating_duration_since(self.clock.read()));
        if self.clock.is_stopped() {
            return inspect;
        }
        // A server that is stopping does not tick, and must not wake up for it.
        let tick = match self.turn.stopping || self.ticks.is_empty() {
            true => None,
            false => self.next_tick(),
        };
        let log = self.log.as_ref().and_then(|log| log.retry_at(now));
        let trace = self.retry_trace_at(now);
        let resume = self.accept_paused_until.filter(|_| accepting);
        let (files, stock) = (self.close_files_at, self.free_stock_at);
        let alarm = self.shared.alarms.next();
        let reload = self.reload.as_ref().filter(|_| !self.turn.stopping);
        let reload = reload.and_then(|reload| reload.due());
        let console = self.console.as_ref().filter(|_| !self.turn.stopping);
        let hint = console.and_then(|console| console.due());
        // One after the other, and not as a list: this is done in each turn, and most are `None`.
        let backends = self.backends.as_ref().and_then(|backends| backends.due());
        let own = sooner(sooner(log, trace), sooner(alarm, sooner(tick, backends)));
        let held = sooner(sooner(files, stock), sooner(resume, self.stop_at));
        let other = sooner(sooner(reload, hint), sooner(own, held));
        let soonest = sooner(self.timers.next(), other);
        let timeout = soonest.map(|at| at.saturating_duration_since(now));
        match (timeout, inspect) {
            (Some(timeout), Some(inspect)) => Some(timeout.min(inspect)),
            (timeout, inspect) => timeout.or(inspect),
        }
    }

    /// When the next endpoint with an interval is called.
    #[inline(never)]
    fn next_tick(&self) -> Option<Instant> {
        self.ticks.iter().map(|tick| tick.next).min()
    }

    /// Acts on the deadlines that have passed, of connections and of the server itself.
    #[inline]
    pub(super) fn expire(&mut self) {
        let now = self.turn.now.instant;
        if self.due.is_empty() {
            self.timers.advance(now, Self::DUE_MAX, &mut self.due);
        }
        if !self.due.is_empty() {
            self.notify_due(now);
        }
        self.close_unused_files(now);
        self.free_stock(now);
        if self.console.is_some() {
            self.give_hint();
        }
        if self.reload.is_some() {
            self.look_for_changes();
        }
        if self.inspect.is_some() {
            self.serve_watchers();
        }
    }

    /// Notifies the connections whose deadline has passed. The reaction can wait, because no peer waits
    /// for a deadline.
    #[cold]
    fn notify_due(&mut self, now: Instant) {
        self.work.begin_part();
        while self.work.is_left() {
            let Some(index) = self.due.pop_front() else {
                break;
            };
            self.work.spend(Self::DEADLINE_WORK);
            // The connection may have been closed while it waited here, and its slot may have another
            // one now.
            let Some(slot) = self.connections.get_mut(index) else {
                continue;
            };
            match slot.connection.deadline(&self.turn.limits) {
                Some(at) if at > now => self.timers.arm(index, Some(at)),
                Some(_) => {
                    let key = slot.connection.key();
                    self.tally.ring.push(TraceRecord::Expire { key });
                    let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
                    slot.connection.expire(cx);
                    self.work.spend(cx.used_work());
                    self.runnable.enqueue_heavy(slot);
                }
                None => {}
            }
        }
    }

    /// Frees the large buffers that the pool has kept for some time. Large messages come in bursts, and
    /// no buffer is kept for the next burst.
    fn free_stock(&mut self, now: Instant) {
        if self.free_stock_at.is_some_and(|at| at <= now) {
            self.shared.pool.empty_large();
            self.free_stock_at = None;
        }
        if self.free_stock_at.is_none() && self.shared.pool.has_large() {
            self.free_stock_at = Some(now + Self::STOCK_TIME);
        }
    }

    /// Closes the files that no request has asked for in the last half of `unused_file_time`. While
    /// no file is open, the server does not wake up for this.
    fn close_unused_files(&mut self, now: Instant) {
        match self.close_files_at {
            Some(at) if at > now => return,
            Some(_) => self.shared.site.close_unused_files(),
            None => {}
        }
        let is_holding = self.shared.site.has_open_files();
        let next = || now + self.turn.limits.unused_file_time / 2;
        self.close_files_at = is_holding.then(next);
    }
}

/// The sooner of two times, if there are any.
fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
