//! Floor 4, server: the scheduler. It decides in which order connections are served, and when a turn
//! has done enough.
//!
//! One thread serves all connections, so all connections wait for a long turn. The bound of a turn
//! is its *work* ([`Limits::turn_work`](crate::config::Limits::turn_work)): about half a
//! millisecond. The rest of the work waits for the next turn.
//!
//! But *who* waits? The queue has two levels, as in the schedulers of operating systems, where it is
//! called a *feedback queue*: a connection is not asked for its wants, but judged by the work it used.
//!
//! - *Light* connections come first: new ones, and those that used little when they were last served.
//!   A small request is thus answered in the turn in which it comes, unless more of them come than a
//!   turn can serve.
//! - *Heavy* connections used much, or all that a connection may use in a turn. They share what the
//!   turn has left, in order, one after the other. A heavy connection that is served and uses little
//!   is light again.
//!
//! A piece of work is not split, so a heavy connection may use more than its share in one go: an
//! encoder always does. The surplus is a *debt*. A connection in debt is passed over once for each
//! share of the debt, and the other connections go on meanwhile (the method is known as *deficit round
//! robin*). Otherwise four encoders would take as much of each turn as two dozen downloads.
//!
//! *Throttled* connections wait in a third queue, for room in the queue of effects.
//!
//! *New* connections are accepted first, but with a quarter of the turn at most. Each is light, and in a
//! storm of them, as many as come would stand in the queue before the requests of the others. The rest
//! waits in the backlog of the kernel.
//!
//! No connection starves. However many light connections there are, heavy connections get a quarter of each
//! turn, and at least one of them is served. Both levels are served in the order of arrival, so a heavy
//! connection is served at the latest after as many turns as there are heavy connections before it, or
//! nine times as many if it is as deep in debt as can be. The same quarter is set aside for deliveries
//! and for deadlines, so that a turn takes at most about twice its bound.

use std::collections::VecDeque;
use std::mem;

use super::Slot;
use crate::config::Limits;
use crate::connection::{Key, Verdict};
use crate::site::Files;
use crate::transport::Transport;

/// The work that is left of a turn.
#[derive(Default, Debug)]
pub(super) struct Work {
    /// Units left. Negative if the last piece of work was larger than the rest.
    left: i64,
    /// The part of the turn that is being done goes on while more units than these are left.
    stop: i64,
    /// The least work of each part.
    share: i64,
    /// The units that the turn began with.
    whole: i64,
}

impl Work {
    /// The least part of a turn for each kind of work is the turn divided by this number.
    const SHARES: i64 = 4;

    /// Begins a turn of `units` of work.
    pub fn begin_turn(&mut self, units: u32) {
        let left = i64::from(units);
        let share = (left / Self::SHARES).max(1);
        *self = Work {
            left,
            stop: 0,
            share,
            whole: left,
        };
    }

    /// The work of the turn so far.
    pub fn done(&self) -> u64 {
        (self.whole - self.left).unsigned_abs()
    }

    /// Begins a part of the turn, which gets what is left, and at least its share.
    pub fn begin_part(&mut self) {
        self.stop = (self.left - self.share).min(0);
    }

    /// Begins a part of the turn that makes work for the other parts, and gets a share and no more. `parts`
    /// such parts have the share together.
    pub fn begin_share(&mut self, parts: u32) {
        let share = self.share / i64::from(parts.max(1));
        self.stop = self.left - share.max(1);
    }

    /// Whether the part may go on.
    pub fn is_left(&self) -> bool {
        self.left > self.stop
    }

    /// Charges work that was done.
    pub fn spend(&mut self, units: u32) {
        self.left -= i64::from(units);
    }
}

/// The work of a connection beyond its share ([`Limits::connection_work`]) when it was pumped: the number
/// of times that it is passed over.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Debt(u32);

impl Debt {
    /// A debt is at most this number of shares, so that a single large piece of work, such as the text
    /// of a message of 16 MiB, does not make its connection wait for long.
    const MAX: u32 = 8;

    /// The debt after `used` units of work. A part of a share counts as a whole one if it is at least
    /// half of one.
    pub fn of(used: u32, share: u32) -> Debt {
        let beyond = used.saturating_sub(share);
        if beyond == 0 {
            // So it is after nearly every pump, and a division takes long.
            return Debt::default();
        }
        let shares = beyond.saturating_add(share / 2).checked_div(share);
        Debt(shares.unwrap_or(0).min(Self::MAX))
    }

    /// Pays a share, if any is owed. Returns whether one was.
    pub fn pay(&mut self) -> bool {
        let is_owed = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        is_owed
    }
}

/// The connections to be pumped, each in one queue at most.
#[derive(Default, Debug)]
pub(super) struct Runnable {
    /// The connections that are expected to ask little, in order.
    pub light: VecDeque<Key>,
    /// The connections that have asked much, in order.
    pub heavy: VecDeque<Key>,
    /// The connections that wait for room in the queue of effects, in order.
    pub throttled: VecDeque<Key>,
    /// The connections of the three queues that are held back, in order.
    pub held: [VecDeque<Key>; 3],
    /// The number of connections that were taken from `light` and from `heavy`, and pumped.
    pub served: [u64; 2],
}

impl Runnable {
    /// The work up to which a connection counts as light: that of a response of 150 KiB, or of a
    /// few dozen small ones.
    const LIGHT_WORK: u32 = 64;

    /// Queues a connection, unless it is queued already.
    pub fn enqueue<F: Files, T: Transport<File = F::File>>(&mut self, slot: &mut Slot<F, T>) {
        if !mem::replace(&mut slot.queued, true) {
            let key = slot.connection.key();
            match slot.heavy {
                true => self.heavy.push_back(key),
                false => self.light.push_back(key),
            }
        }
    }

    /// Queues a connection at the heavy level, unless the connection is queued already.
    pub fn enqueue_heavy<F: Files, T: Transport<File = F::File>>(&mut self, slot: &mut Slot<F, T>) {
        slot.heavy = true;
        self.enqueue(slot);
    }

    /// Judges a connection by the work it has just used.
    pub fn judge<F: Files, T: Transport<File = F::File>>(
        slot: &mut Slot<F, T>,
        used: u32,
        verdict: Verdict,
        limits: &Limits,
    ) {
        slot.heavy = used > Self::LIGHT_WORK || verdict == Verdict::Again;
        slot.debt = Debt::of(used, limits.connection_work);
    }

    /// Whether no connection is to be run.
    pub fn is_empty(&self) -> bool {
        self.light.is_empty() && self.heavy.is_empty() && self.throttled.is_empty()
    }

    /// The number of queued connections, with those that are held back.
    pub fn len(&self) -> usize {
        let held = self.held.iter().map(VecDeque::len).sum::<usize>();
        self.light.len() + self.heavy.len() + self.throttled.len() + held
    }

    /// Takes out a connection that ends while it is queued, which is rare: its partner has ended it. The
    /// connection counts as served.
    #[cold]
    pub fn forget(&mut self, key: Key) {
        let take_out = |queue: &mut VecDeque<Key>| {
            let before = queue.len();
            queue.retain(|queued| *queued != key);
            (before - queue.len()) as u64
        };
        self.served[0] += take_out(&mut self.light);
        self.served[1] += take_out(&mut self.heavy);
        take_out(&mut self.throttled);
        for queue in &mut self.held {
            take_out(queue);
        }
    }

    /// Empties all queues.
    pub fn clear(&mut self) {
        self.let_go();
        for queue in self.queues() {
            queue.clear();
        }
    }

    /// Holds back each connection that does not pass.
    pub fn hold_back(&mut self, mut passes: impl FnMut(Key) -> bool) {
        let mut held = mem::take(&mut self.held);
        for (queue, held) in self.queues().into_iter().zip(&mut held) {
            queue.retain(|key| {
                let passes = passes(*key);
                if !passes {
                    held.push_back(*key);
                }
                passes
            });
        }
        self.held = held;
    }

    /// Puts the connections that are held back into their queues, in front of those that came later.
    pub fn let_go(&mut self) {
        let mut held = mem::take(&mut self.held);
        for (queue, held) in self.queues().into_iter().zip(&mut held) {
            held.append(queue);
            mem::swap(queue, held);
        }
        // The allocations are used again.
        self.held = held;
    }

    fn queues(&mut self) -> [&mut VecDeque<Key>; 3] {
        [&mut self.light, &mut self.heavy, &mut self.throttled]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_passed_over_once_for_each_share_that_it_owes() {
        for (used, share, times) in [
            (0, 256, 0),
            (256, 256, 0),
            (383, 256, 0),
            (384, 256, 1),
            (500, 256, 1),
            (1_000, 256, 3),
            (u32::MAX, 256, 8),
            (u32::MAX, 1, 8),
            (9, 0, 0),
        ] {
            let mut debt = Debt::of(used, share);
            let paid = (0..20).take_while(|_| debt.pay()).count();
            assert_eq!(paid, times, "{used} of {share}");
        }
    }

    #[test]
    fn each_part_of_a_turn_gets_what_is_left_and_at_least_a_quarter() {
        let mut work = Work::default();
        let do_part = |work: &mut Work, most: u32| {
            work.begin_part();
            let mut done = 0;
            while work.is_left() && done < most {
                work.spend(1);
                done += 1;
            }
            done
        };
        work.begin_turn(100);
        assert_eq!(
            [40, 500, 500, 10].map(|most| do_part(&mut work, most)),
            [40, 60, 25, 10]
        );
        work.begin_turn(1);
        assert_eq!([9, 9, 9].map(|most| do_part(&mut work, most)), [1, 1, 1]);
        // A large piece of work leaves the next parts their share.
        work.begin_turn(100);
        work.spend(1_000_000);
        assert_eq!(do_part(&mut work, 500), 25);
        assert_eq!(work.done(), 1_000_025);
        work.begin_turn(0);
        assert_eq!(do_part(&mut work, 500), 1);
        // New connections have a share together, and leave the rest.
        work.begin_turn(100);
        for _ in 0..2 {
            work.begin_share(2);
            let mut accepted = 0;
            while work.is_left() {
                work.spend(1);
                accepted += 1;
            }
            assert_eq!(accepted, 12);
        }
        assert_eq!(do_part(&mut work, 500), 76);
    }
}
