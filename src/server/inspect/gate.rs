//! Floor 4, server: the gate, which holds connections back while the loop is paused or slowed down by a
//! watcher. The connections of the inspector pass, so that the watcher sees what it does.
//!
//! A connection that is held back is marked by events as always, and keeps its place: its key moves from a
//! queue of [`Runnable`](super::super::schedule::Runnable) to a second one behind the gate, and comes back
//! when the gate opens. During a pause, the [time of the loop](super::super::clock) stands still: no
//! deadline passes, and no timer of an endpoint. Messages of other threads of the program are delivered.
//!
//! A new connection may be one of the inspector. So a connection that is held back between two requests is
//! read from once for each event, and passes if the bytes begin a request for the inspector. Nothing is
//! answered to the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::is_target;
use crate::connection::{Context, Key};
use crate::server::{Driver, Server, get};
use crate::site::Files;
use crate::transport::Transport;

/// How the loop moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::server) enum Motion {
    /// All connections are run in each turn.
    Run,
    /// Only those of the inspector are.
    Paused,
    /// The others are run a few times a second.
    Slow,
}

/// The gate.
#[derive(Debug)]
pub(in crate::server) struct Gate {
    motion: Motion,
    /// The number of turns for which the gate is to open during a pause.
    steps: u32,
    /// When the gate opens in slow motion.
    opens_at: Instant,
    /// By slot, the last connection whose request for the inspector has passed, and may not be answered
    /// whole.
    passed: BTreeMap<usize, Key>,
}

impl Gate {
    /// The time between two turns in slow motion.
    const SLOW: Duration = Duration::from_millis(250);

    pub fn new(now: Instant) -> Gate {
        Gate {
            motion: Motion::Run,
            steps: 0,
            opens_at: now,
            passed: BTreeMap::new(),
        }
    }

    /// How the loop moves.
    pub fn motion(&self) -> Motion {
        self.motion
    }

    /// Opens the gate for one more turn during a pause.
    pub fn step(&mut self) {
        if self.motion == Motion::Paused {
            self.steps = self.steps.saturating_add(1);
        }
    }

    /// When the gate opens next; `None`: it is open, or opens only on demand.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        match self.motion {
            Motion::Run => None,
            Motion::Paused => (self.steps > 0).then_some(now),
            Motion::Slow => Some(self.opens_at),
        }
    }

    /// Whether the gate is open in this turn.
    fn opens(&mut self, now: Instant) -> bool {
        match self.motion {
            Motion::Run => true,
            Motion::Paused => {
                let left = self.steps.checked_sub(1);
                self.steps = left.unwrap_or(0);
                left.is_some()
            }
            Motion::Slow if self.opens_at <= now => {
                self.opens_at = now + Self::SLOW;
                true
            }
            Motion::Slow => false,
        }
    }
}

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// Changes how the loop moves.
    pub(super) fn move_on(&mut self, gate: &mut Gate, motion: Motion) {
        gate.motion = motion;
        (gate.steps, gate.opens_at) = (0, self.clock.read());
        self.clock.set_stopped(motion == Motion::Paused);
        if motion == Motion::Run {
            gate.passed.clear();
            self.let_go();
        }
    }

    /// Puts the connections that are held back into their queues again. The next turn holds back those that
    /// it may not run.
    pub(super) fn let_go(&mut self) {
        for key in self.runnable.held.iter().flatten() {
            if let Some(slot) = get(&mut self.connections, *key) {
                slot.held = false;
            }
        }
        self.runnable.let_go();
    }

    /// Takes the queued connections that may not be run in this turn out of their queues. The turn asks
    /// once, before it runs any.
    pub(in crate::server) fn hold_back(&mut self) {
        let is_closed = |gate: &Gate| gate.motion != Motion::Run;
        let inspect = self.inspect.take_if(|inspect| is_closed(&inspect.gate));
        if let Some(mut inspect) = inspect {
            // A stop waits for connections, so none may be held back.
            match self.turn.stopping {
                true => self.move_on(&mut inspect.gate, Motion::Run),
                false => self.hold_back_by(&mut inspect),
            }
            self.inspect = Some(inspect);
        }
    }

    fn hold_back_by(&mut self, inspect: &mut super::Inspect) {
        self.let_go();
        if inspect.gate.opens(self.clock.read()) {
            return;
        }
        let (watchers, passed) = (inspect.watchers.borrow(), &mut inspect.gate.passed);
        let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
        self.runnable.hold_back(|key| {
            let Some(slot) = get(&mut self.connections, key) else {
                return true;
            };
            let connection = &mut slot.connection;
            if watchers.has(key) || connection.cause().is_some() {
                return true;
            }
            let has_passed = passed.get(&key.index()) == Some(&key);
            if has_passed && connection.owes_answer() {
                return true;
            }
            // Otherwise the connection would get no event before its first pump.
            if !slot.registered {
                let registered = self.driver.register(connection.transport_mut(), key);
                slot.registered = registered.is_ok();
            }
            cx.renew_budget();
            let passes = connection.next_target(cx).is_some_and(is_target);
            self.work.spend(cx.used_work());
            slot.held = !passes;
            match passes {
                true => passed.insert(key.index(), key),
                false => passed.remove(&key.index()),
            };
            passes
        });
        drop(watchers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_opens_once_for_a_step_and_by_time_in_slow_motion() {
        let start = Instant::now();
        let mut gate = Gate::new(start);
        assert!(gate.opens(start) && gate.next(start).is_none());
        gate.step();
        gate.motion = Motion::Paused;
        assert!(!gate.opens(start) && gate.next(start).is_none());
        gate.step();
        assert_eq!(gate.next(start), Some(start));
        assert!(gate.opens(start) && !gate.opens(start));
        gate.motion = Motion::Slow;
        assert!(gate.opens(start) && !gate.opens(start));
        let next = start + Gate::SLOW;
        assert_eq!(gate.next(start), Some(next));
        assert!(gate.opens(next) && !gate.opens(next));
    }
}
