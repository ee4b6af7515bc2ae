//! Floor 4, server: how the loop spends its time: waiting or working, the lengths of turns, and the times
//! that requests take. Clocks are read once more for each turn, and never for a request. No decision
//! depends on these times.

use std::mem;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::connection::{Counters, Served, Tally};

/// The times of the loop since the start. Numbers are nanoseconds.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the present turn began, which is the end of its wait.
    began: Instant,
    /// When the wait before the present turn began.
    waited_from: Instant,
    waited: u64,
    /// The length of all turns.
    worked: u64,
    /// The number of events of the present turn.
    events: u64,
    /// The length of the last finished turn.
    last: u64,
    /// The longest turn since the last call of [`Pace::take_longest`].
    longest: u64,
    /// The length of the turns that were made long on purpose.
    blocked: u64,
    /// Whether the present turn is one of those.
    is_blocked: bool,
    /// The sum of the squares of the lengths of all other turns.
    squares: f64,
    turns: Spread,
    service: Spread,
}

impl Pace {
    pub fn new(start: Instant) -> Pace {
        Pace {
            began: start,
            waited_from: start,
            waited: 0,
            worked: 0,
            events: 0,
            last: 0,
            longest: 0,
            blocked: 0,
            is_blocked: false,
            squares: 0.0,
            turns: Spread::default(),
            service: Spread::default(),
        }
    }

    /// Ends a turn, because the loop is about to wait. The start of the server ends like a turn.
    pub fn begin_wait(&mut self, now: Instant, tally: &mut Tally) {
        let worked = nanoseconds(now.saturating_duration_since(self.began));
        self.waited_from = now;
        self.worked += worked;
        (self.last, self.longest) = (worked, self.longest.max(worked));
        let served = &mut tally.served;
        if mem::take(&mut self.is_blocked) {
            self.blocked += worked;
            *served = Served::default();
            return;
        }
        self.squares += (worked as f64) * (worked as f64);
        self.turns.add(worked, 1);
        self.service.add(worked, mem::take(&mut served.in_turn));
        for (before, count) in served.after.drain(..) {
            self.service.add(nanoseconds(before) + worked, count);
        }
    }

    /// Begins a turn, because the wait has ended with this number of events.
    pub fn begin_turn(&mut self, now: Instant, events: usize, tally: &mut Tally) {
        let waited_from = self.waited + self.worked;
        self.waited += nanoseconds(now.saturating_duration_since(self.waited_from));
        self.began = now;
        tally.counters.turns += 1;
        self.events = events as u64;
        tally.counters.events += self.events;
        let began = self.waited + self.worked;
        tally.ring.begin_turn(events, began, waited_from);
    }

    /// The time waited and the time worked since the start, without the present turn.
    pub fn totals(&self) -> (Duration, Duration) {
        let (waited, worked) = (self.waited, self.worked);
        (Duration::from_nanos(waited), Duration::from_nanos(worked))
    }

    /// The totals without the present turn, to which its wait belongs too.
    pub fn finished(&self, counters: &Counters) -> Totals {
        let wait = nanoseconds(self.began.saturating_duration_since(self.waited_from));
        Totals {
            turns: counters.turns.saturating_sub(1),
            waited: self.waited - wait,
            worked: self.worked,
            events: counters.events - self.events,
        }
    }

    /// The length of the last finished turn, and the number of events that the wait after it returned.
    pub fn last_turn(&self) -> (u64, u64) {
        (self.last, self.events)
    }

    /// The longest finished turn since the last call.
    pub fn take_longest(&mut self) -> u64 {
        mem::take(&mut self.longest)
    }

    /// The mean time for which bytes lie in the kernel before the loop looks, whenever they arrive:
    /// E\[L²\] / 2E\[C\] for turns of the length L, each with its wait of the length C. Bytes that arrive while the
    /// loop waits are looked at at once; others wait for the rest of a turn.
    pub fn hidden_wait(&self) -> Duration {
        match self.waited + self.worked - self.blocked {
            0 => Duration::ZERO,
            all => Duration::from_nanos((self.squares / (2.0 * all as f64)) as u64),
        }
    }

    /// The present turn is made long on purpose. It is left out of the lengths of turns, the service times and
    /// the hidden wait, which are to tell of the server.
    pub fn leave_out_turn(&mut self) {
        self.is_blocked = true;
    }

    /// The time worked without the turns that were made long on purpose.
    pub fn worked_for_clients(&self) -> Duration {
        Duration::from_nanos(self.worked - self.blocked)
    }

    /// The lengths of turns without their waits, in nanoseconds.
    pub fn turns(&self) -> Histogram<u64> {
        self.turns.histogram()
    }

    /// The service times of requests, in nanoseconds: from the beginning of the turn in which the head
    /// was complete, to the end of the turn in which the last byte of the answer was written to the
    /// socket.
    pub fn service(&self) -> Histogram<u64> {
        self.service.histogram()
    }
}

/// The sums of the finished turns. Times are nanoseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Totals {
    pub turns: u64,
    pub waited: u64,
    pub worked: u64,
    pub events: u64,
}

/// How often times of about each length were seen. A time costs a few instructions here, which is why the
/// histogram is only made on demand.
struct Spread(Box<[u64; Spread::COUNTS]>);

impl Spread {
    /// For each power of two, the number of counters, as a power of two: each stands for times that
    /// differ by 1.6 %.
    const FINE: u32 = 6;

    /// Counters for times up to 2⁴⁰ ns, which is 18 minutes.
    const COUNTS: usize = (40 - Spread::FINE as usize + 1) << Spread::FINE;

    #[inline]
    fn add(&mut self, time: u64, count: u32) {
        // The rest of the time after the shift are its highest bit and the bits that count.
        let shift = (time >> Self::FINE).checked_ilog2().unwrap_or(0);
        let at = ((shift as usize) << Self::FINE) + (time >> shift) as usize;
        self.0[at.min(Self::COUNTS - 1)] += u64::from(count);
    }

    /// The least time of a counter.
    fn time(at: usize) -> u64 {
        let (coarse, fine) = (at >> Self::FINE, at % (1 << Self::FINE));
        match coarse {
            0 => fine as u64,
            n => ((fine + (1 << Self::FINE)) as u64) << (n - 1),
        }
    }

    fn histogram(&self) -> Histogram<u64> {
        let mut all = Histogram::new_with_bounds(1, 1 << 40, 2).expect("the bounds are in order");
        for (at, count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            let middle = (Self::time(at) + Self::time(at + 1)) / 2;
            all.saturating_record_n(middle, *count);
        }
        all
    }
}

impl Default for Spread {
    fn default() -> Spread {
        let counts = vec![0; Spread::COUNTS].into_boxed_slice();
        Spread(counts.try_into().expect("of this length"))
    }
}

impl std::fmt::Debug for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Spread").finish_non_exhaustive()
    }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_secs() * 1_000_000_000 + u64::from(time.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Turns of 1 ms and of 9 ms, and waits of 5 ms.
    #[test]
    fn the_times_of_turns_add_up() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let (mut pace, mut tally) = (Pace::new(start), Tally::default());
        pace.begin_wait(start, &mut tally);
        let mut now = start;
        for length in [1, 9] {
            now += ms(5);
            pace.begin_turn(now, 2, &mut tally);
            now += ms(length);
            if length == 9 {
                tally.served.in_turn = 3;
                tally.served.after.push((ms(20), 1));
            }
            pace.begin_wait(now, &mut tally);
        }
        assert_eq!(pace.totals(), (ms(10), ms(10)));
        // (1² + 9²) / (2 × 20) ms.
        assert_eq!(pace.hidden_wait().as_micros(), 2_050);
        assert_eq!((tally.counters.turns, tally.counters.events), (2, 4));
        assert_eq!(pace.turns().len(), 3);
        assert_eq!((pace.service().len(), tally.served.in_turn), (4, 0));
        let long = pace.service().max();
        assert!((28_000_000..30_000_000).contains(&long), "{long}");
        assert!(tally.served.after.is_empty());
    }

    /// A turn that was blocked counts as work of the loop, and as nothing else.
    #[test]
    fn a_turn_that_was_made_long_on_purpose_tells_nothing_of_the_server() {
        let start = Instant::now();
        let (mut pace, mut tally) = (Pace::new(start), Tally::default());
        pace.begin_wait(start, &mut tally);
        pace.begin_turn(start + Duration::from_millis(5), 1, &mut tally);
        pace.leave_out_turn();
        tally.served.in_turn = 1;
        pace.begin_wait(start + Duration::from_millis(2_005), &mut tally);
        assert_eq!(pace.totals().1, Duration::from_secs(2));
        assert_eq!(pace.worked_for_clients(), Duration::ZERO);
        assert_eq!(pace.hidden_wait(), Duration::ZERO);
        assert_eq!((pace.turns().len(), pace.service().len()), (1, 0));
        assert_eq!(tally.served.in_turn, 0);
    }

    #[test]
    fn a_spread_keeps_each_time_within_two_percent() {
        let times = (0..200).chain((1..30).map(|n| 777 * 2_u64.pow(n)));
        for time in times.filter(|time| *time < 1 << 40) {
            let mut spread = Spread::default();
            spread.add(time, 2);
            let at = spread
                .0
                .iter()
                .position(|count| *count == 2)
                .expect("it is counted");
            let (least, next) = (Spread::time(at), Spread::time(at + 1));
            assert!((least..next).contains(&time), "{time}: {least} to {next}");
            assert!(next - least <= 1 + least / 60, "{time}");
            assert_eq!(spread.histogram().len(), 2);
        }
        let mut spread = Spread::default();
        spread.add(u64::MAX, 1);
        assert_eq!(spread.0[Spread::COUNTS - 1], 1);
    }
}
