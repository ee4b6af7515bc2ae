//! Floor 4, server: one deadline for each connection, in a coarse and lazy timing wheel. The wheel
//! must not know the purpose of a deadline.
//!
//! *Coarse*: the wheel advances in ticks of 100 ms, and never reports a deadline early. *Lazy*: a
//! deadline that moves further away, as happens with every request, stays at the old place in the
//! wheel. When the old tick comes, the server asks the connection for the present deadline. The
//! usual request therefore costs a single comparison.
//!
//! The slots are doubly linked lists through one array, which has a node for each slab slot. Arming
//! and disarming cost the same for any number of connections, and a closed connection leaves
//! nothing behind.

use std::time::{Duration, Instant};

/// The number of slots, which is also the horizon in ticks: 51 s. A deadline beyond the horizon is
/// reported at the horizon, and then armed again.
const SLOTS: usize = 512;
const WORDS: usize = SLOTS / 64;
const TICK_MS: u64 = 100;
/// The index of no node.
const NIL: u32 = u32::MAX;

/// The wheel. Members are named by small indices, the indices of the slab.
#[derive(Debug)]
pub(crate) struct Timers {
    origin: Instant,
    /// The latest tick; its slot has been emptied.
    now: u64,
    /// When the next tick begins.
    next_tick: Instant,
    heads: [u32; SLOTS],
    /// A bit for each slot, set while the slot is not empty.
    occupied: [u64; WORDS],
    /// When the first slot is due that is not empty. Kept, because the server asks in each turn, and a slot is
    /// seldom filled or emptied.
    next_due: Option<Instant>,
    nodes: Vec<Node>,
    armed: usize,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// The earliest instant with the same [`tick_of`](Timers::tick_of) as the deadline; `None` if
    /// the node is in no list.
    from: Option<Instant>,
    previous: u32,
    next: u32,
}

impl Timers {
    /// An empty wheel that begins at `now`.
    pub fn new(now: Instant) -> Timers {
        Timers {
            origin: now,
            now: 0,
            next_tick: now + Duration::from_millis(TICK_MS),
            heads: [NIL; SLOTS],
            occupied: [0; WORDS],
            next_due: None,
            nodes: Vec::new(),
            armed: 0,
        }
    }

    /// The number of armed deadlines.
    pub fn armed(&self) -> usize {
        self.armed
    }

    /// The earliest deadline for which `index` may be armed; `None`: it is not armed.
    pub fn earliest(&self, index: usize) -> Option<Instant> {
        self.nodes.get(index).and_then(|node| node.from)
    }

    /// Arms `index`, to be reported by the first tick after `at` at the latest. An earlier
    /// deadline, already armed, stays in force, and `None` arms nothing: only
    /// [`disarm`](Timers::disarm) revokes a deadline.
    #[inline]
    pub fn arm(&mut self, index: usize, at: Option<Instant>) {
        let Some(at) = at else { return };
        if self.earliest(index).is_none_or(|from| from > at) {
            self.move_to(index, at);
        }
    }

    /// Puts `index` in the place of the deadline `at`. A function of its own, because a deadline seldom
    /// moves to an earlier time.
    #[inline(never)]
    fn move_to(&mut self, index: usize, at: Instant) {
        if index >= self.nodes.len() {
            let empty = Node {
                from: None,
                previous: NIL,
                next: NIL,
            };
            self.nodes.resize(index + 1, empty);
        }
        self.disarm(index);
        // The slot of the current tick has been emptied already: the next tick is the earliest.
        let horizon = self.now + SLOTS as u64 - 1;
        self.link(index as u32, self.tick_of(at).clamp(self.now + 1, horizon));
    }

    /// The first tick with a beginning after `at`.
    fn tick_of(&self, at: Instant) -> u64 {
        self.ticks_until(at) + 1
    }

    /// The number of whole ticks from the origin to `at`.
    fn ticks_until(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.origin).as_millis() as u64 / TICK_MS
    }

    /// Takes `index` out of the wheel.
    pub fn disarm(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        let Some(from) = node.from.take() else {
            return;
        };
        let node = *node;
        let slot = (self.tick_of(from) % SLOTS as u64) as usize;
        match node.previous {
            NIL => self.heads[slot] = node.next,
            previous => self.nodes[previous as usize].next = node.next,
        }
        if node.next != NIL {
            self.nodes[node.next as usize].previous = node.previous;
        }
        if self.heads[slot] == NIL {
            self.occupied[slot / 64] &= !(1 << (slot % 64));
            self.next_due = self.first_due();
        }
        self.armed -= 1;
    }

    fn link(&mut self, index: u32, tick: u64) {
        let slot = (tick % SLOTS as u64) as usize;
        let next = self.heads[slot];
        if next != NIL {
            self.nodes[next as usize].previous = index;
        }
        self.nodes[index as usize] = Node {
            from: Some(self.beginning_of(tick - 1)),
            previous: NIL,
            next,
        };
        self.heads[slot] = index;
        self.occupied[slot / 64] |= 1 << (slot % 64);
        let due = self.beginning_of(tick);
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
        self.armed += 1;
    }

    /// When a tick begins.
    fn beginning_of(&self, tick: u64) -> Instant {
        self.origin + Duration::from_millis(tick * TICK_MS)
    }

    /// When the next deadline is due; `None` if no deadline is armed.
    #[inline]
    pub fn next(&self) -> Option<Instant> {
        self.next_due
    }

    /// Looks for the first slot that is not empty, and returns when it is due.
    fn first_due(&self) -> Option<Instant> {
        let first = (self.now + 1) % SLOTS as u64;
        let (word, bit) = (first as usize / 64, first % 64);
        // The word with the current slot is searched first, from the current bit on, and again
        // last, in full.
        for ahead in 0..=WORDS {
            let at = (word + ahead) % WORDS;
            let mask = if ahead == 0 {
                u64::MAX << bit
            } else {
                u64::MAX
            };
            let bits = self.occupied[at] & mask;
            if bits != 0 {
                let slot = at as u64 * 64 + u64::from(bits.trailing_zeros());
                let ticks = (slot + SLOTS as u64 - first) % SLOTS as u64;
                return Some(self.beginning_of(self.now + 1 + ticks));
            }
        }
        None
    }

    /// Advances the wheel to `now`. Disarms every due index, and appends the index to `due`. The
    /// clock may jump. After `most` indices, the wheel stops where it is, and the next call goes on.
    pub fn advance(&mut self, now: Instant, most: usize, due: &mut impl Extend<usize>) {
        if now < self.next_tick {
            return;
        }
        let tick = self.ticks_until(now);
        let slots = (tick - self.now).min(SLOTS as u64);
        let mut left = most;
        for ahead in 1..=slots {
            let slot = ((self.now + ahead) % SLOTS as u64) as usize;
            while self.heads[slot] != NIL {
                if left == 0 {
                    self.now += ahead - 1;
                    return;
                }
                left -= 1;
                let index = self.heads[slot] as usize;
                self.disarm(index);
                due.extend([index]);
            }
        }
        self.now = tick;
        self.next_tick = self.beginning_of(tick + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Wheel {
        origin: Instant,
        timers: Timers,
    }

    impl Wheel {
        fn new() -> Wheel {
            let origin = Instant::now();
            let timers = Timers::new(origin);
            Wheel { origin, timers }
        }

        fn at(&self, ms: u64) -> Instant {
            self.origin + Duration::from_millis(ms)
        }

        fn arm(&mut self, index: usize, ms: u64) {
            let at = self.at(ms);
            self.timers.arm(index, Some(at));
        }

        fn due(&mut self, ms: u64) -> Vec<usize> {
            let (at, mut due) = (self.at(ms), Vec::new());
            self.timers.advance(at, usize::MAX, &mut due);
            due.sort_unstable();
            due
        }
    }

    #[test]
    fn many_that_are_due_at_once_come_in_portions() {
        let mut wheel = Wheel::new();
        (0..10).for_each(|index| wheel.arm(index, 50));
        wheel.arm(10, 60);
        wheel.arm(11, 100_000);
        let now = wheel.at(1_000);
        let mut due = Vec::new();
        let mut portion = || {
            let before = due.len();
            wheel.timers.advance(now, 4, &mut due);
            due.len() - before
        };
        assert_eq!([(); 4].map(|()| portion()), [4, 4, 3, 0]);
        due.sort_unstable();
        assert!(due.into_iter().eq(0..11));
        assert_eq!(wheel.timers.armed(), 1);
    }

    #[test]
    fn nothing_is_due_early_and_nothing_more_than_a_tick_late() {
        let mut wheel = Wheel::new();
        for (index, ms) in [0, 1, 99, 100, 101, 2_000, 30_000].into_iter().enumerate() {
            wheel.arm(index, ms);
        }
        assert_eq!(wheel.timers.next(), Some(wheel.at(100)));
        assert!(wheel.due(99).is_empty());
        assert_eq!(wheel.due(100), [0, 1, 2]);
        assert_eq!(wheel.due(200), [3, 4]);
        assert_eq!(wheel.timers.next(), Some(wheel.at(2_100)));
        assert_eq!(wheel.due(29_999), [5]);
        assert_eq!(wheel.due(40_000), [6]);
        assert_eq!((wheel.timers.armed(), wheel.timers.next()), (0, None));
    }

    #[test]
    fn a_later_deadline_is_left_and_an_earlier_one_moves() {
        let mut wheel = Wheel::new();
        wheel.arm(0, 5_000);
        wheel.arm(0, 9_000);
        assert_eq!(wheel.timers.next(), Some(wheel.at(5_100)));
        wheel.arm(0, 1_000);
        assert_eq!(wheel.timers.next(), Some(wheel.at(1_100)));
        assert_eq!(wheel.timers.armed(), 1);
        assert_eq!(wheel.due(60_000), [0]);
    }

    #[test]
    fn the_disarmed_is_gone_wherever_it_stood_in_its_slot() {
        for gone in 0..3 {
            let mut wheel = Wheel::new();
            (0..3).for_each(|index| wheel.arm(index, 1_000));
            wheel.timers.disarm(gone);
            wheel.timers.disarm(gone);
            wheel.timers.disarm(77);
            let rest: Vec<_> = (0..3).filter(|i| *i != gone).collect();
            assert_eq!(wheel.due(2_000), rest);
        }
    }

    #[test]
    fn a_clock_that_jumps_and_a_deadline_beyond_the_horizon_are_harmless() {
        let mut wheel = Wheel::new();
        wheel.arm(0, 10_000_000);
        wheel.arm(1, 3_000);
        assert_eq!(wheel.due(49_000), [1]);
        assert_eq!(wheel.due(52_000), [0], "at the horizon, to be asked again");
        wheel.arm(0, 10_000_000);
        wheel.arm(1, 53_000);
        assert_eq!(wheel.due(9_000_000), [0, 1]);
        wheel.arm(1, 9_000_050);
        assert!(wheel.due(9_000_000).is_empty());
        assert_eq!(wheel.due(9_000_100), [1]);
    }

    /// Compares the wheel with a plain list, searched in full.
    #[test]
    fn it_does_what_a_plain_list_does() {
        let mut wheel = Wheel::new();
        let mut list = [None::<u64>; 20];
        let (mut random, mut ms) = (1_u64, 0);
        for _ in 0..20_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (index, by) = (
                (random >> 33) as usize % list.len(),
                (random >> 40) % 60_000,
            );
            match random >> 62 {
                0 => {
                    wheel.timers.disarm(index);
                    list[index] = None;
                }
                1 => {
                    ms += by / 50;
                    let due = wheel.due(ms);
                    let tick = ms / TICK_MS;
                    let expected: Vec<_> = (0..list.len())
                        .filter(|i| list[*i].take_if(|at| *at <= tick).is_some())
                        .collect();
                    assert_eq!(due, expected);
                }
                _ => {
                    wheel.arm(index, ms + by);
                    let tick = ((ms + by) / TICK_MS + 1)
                        .clamp(ms / TICK_MS + 1, ms / TICK_MS + SLOTS as u64 - 1);
                    list[index] = Some(list[index].map_or(tick, |at| at.min(tick)));
                }
            }
            let next = list.iter().flatten().min().map(|t| wheel.at(t * TICK_MS));
            assert_eq!(wheel.timers.next(), next);
        }
    }
}
