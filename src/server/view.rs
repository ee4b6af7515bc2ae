//! Floor 4, server: the view for the simulation, which looks at the counts and checks the invariants after
//! each turn.

use std::time::Instant;

use super::{Driver, Runnable, Server, Slot, get};
use crate::connection::{Counters, Key, Place, Transitions, View};
use crate::site::Files;
use crate::sys::{AcceptQueue, Kernel};
use crate::transport::Transport;

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// The number of open connections.
    pub fn open_connections(&self) -> usize {
        self.connections.len()
    }

    /// The transitions between modes seen since the start.
    pub fn transitions(&self) -> &Transitions {
        &self.tally.transitions
    }

    /// The memory, in bytes, that all connections hold together, with the histories of the rooms.
    pub fn memory_bytes(&self) -> usize {
        self.shared.pool.account().used()
    }

    /// The number of light and of heavy connections that are queued, and of those that were taken
    /// from each queue and pumped since the start.
    pub fn queues(&self) -> [(usize, u64); 2] {
        let Runnable { light, heavy, .. } = &self.runnable;
        let [from_light, from_heavy] = self.runnable.served;
        [(light.len(), from_light), (heavy.len(), from_heavy)]
    }

    /// The number of armed deadlines.
    pub fn armed_deadlines(&self) -> usize {
        self.timers.armed()
    }

    /// The counters since the start.
    pub fn counters(&self) -> &Counters {
        &self.tally.counters
    }

    /// The driver, which is the seam to the world outside.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// Each open connection as it stands, in the order of the slots.
    pub fn views(&self) -> impl Iterator<Item = View> {
        self.connections.iter().map(|(_, slot)| self.view_of(slot))
    }

    /// The connection in a slot, as it stands.
    pub(super) fn view_of(&self, slot: &Slot<F, D::Stream>) -> View {
        let place = match (slot.queued, slot.throttled) {
            _ if slot.held => Place::Held,
            (true, true) => Place::Throttled,
            (true, false) => Place::Queue {
                is_heavy: slot.heavy,
            },
            (false, _) if slot.pending_flush => Place::Deliveries,
            (false, _) if slot.is_coupled => Place::Queue { is_heavy: false },
            (false, _) => Place::Nowhere,
        };
        slot.connection.view(place, &self.turn, &self.shared)
    }

    /// The kernel's side of the connection with this key, which costs two system calls. `None`: the
    /// connection is gone, or the driver cannot say.
    pub fn kernel_of(&mut self, key: Key) -> Option<Kernel> {
        let slot = get(&mut self.connections, key)?;
        let connection = &slot.connection;
        self.driver
            .kernel(connection.transport(), connection.peer())
    }

    /// The connections that wait in the kernel for the listener of this number. `None`: the driver cannot
    /// say.
    pub fn accept_queue(&mut self, listener: u8) -> Option<AcceptQueue> {
        self.driver.accept_queue(listener)
    }

    /// Whether the server has nothing to do until an event comes or a deadline passes.
    pub fn is_quiet(&self) -> bool {
        self.runnable.is_empty()
            && !self.has_effects()
            && !self.has_couples()
            && self.due.is_empty()
            && !self.acceptable.contains(&true)
    }

    /// Checks the invariants between turns.
    ///
    /// # Panics
    /// If an invariant is broken.
    pub fn check(&self) {
        let Runnable {
            light,
            heavy,
            throttled,
            held,
            ..
        } = &self.runnable;
        let mut queued = 0;
        let mut buffers = 0;
        for (index, slot) in &self.connections {
            slot.connection.check();
            assert_eq!(slot.connection.key().index(), index);
            queued += usize::from(slot.queued);
            let key = slot.connection.key();
            let is_throttled = throttled.contains(&key) || held[2].contains(&key);
            assert_eq!(slot.throttled, is_throttled);
            let mut runnable = [light, heavy, &held[0], &held[1]].into_iter();
            let is_runnable = runnable.any(|queue| queue.contains(&key));
            assert_eq!(slot.queued && !slot.throttled, is_runnable);
            assert_eq!(slot.pending_flush, self.deliveries.has_output_of(key));
            let at = slot.connection.deadline(&self.turn.limits);
            // A deadline that has passed is told in the next tick.
            let is_armed = |at: Instant| {
                let from = self.timers.earliest(index);
                let is_in_time = |from| from <= at.max(self.turn.now.instant);
                from.is_some_and(is_in_time) || self.due.contains(&index)
            };
            assert!(
                slot.queued || slot.pending_flush || at.is_none_or(is_armed),
                "nobody will tell the connection of its deadline"
            );
            buffers += usize::from(slot.connection.holds_buffer());
            assert!(
                slot.queued || slot.registered,
                "nobody will ever call this connection again"
            );
        }
        assert!(
            self.connections.len() <= self.turn.limits.connections_max + Self::REJECTED_MAX,
            "more connections than allowed"
        );
        assert_eq!(queued, self.runnable.len(), "queued once each, and alive");
        assert_eq!(buffers, self.shared.pool.buffers_out(), "a buffer was lost");
        assert!(
            self.timers.armed() <= self.connections.len(),
            "a deadline for nobody"
        );
        if let Some(backends) = &self.backends {
            let connection = |key: Key| {
                let slot = self.connections.get(key.index());
                slot.filter(|slot| slot.connection.key() == key)
            };
            let is_kept = |key| connection(key).is_some_and(|slot| slot.partner.is_none());
            let waits = |key| connection(key).is_some();
            backends.check(is_kept, waits);
        }
        if self.connections.is_empty() && !self.has_effects() {
            let held = self.shared.pool.account().used();
            let remembered = self.shared.rooms.charged_bytes();
            assert_eq!(held, remembered, "memory is held for nobody");
            assert!(self.shared.owed.is_empty(), "an answer is owed to nobody");
            assert!(
                self.shared.rooms.is_deserted(),
                "somebody is in a room who is gone"
            );
        }
    }
}
