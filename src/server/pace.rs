//! Floor 4, server: how the loop spends its time: waiting or working, the lengths of turns, and the times
//! that requests take. Clocks are read once more for each turn, and never for a request. No decision
//! depends on these times.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::connection::Tally;

/// The times of the loop since the start.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    /// When the present turn began, which is the end of its wait.
    began: Instant,
    /// When the wait before the present turn began.
    waited_from: Instant,
    waited: Duration,
    worked: Duration,
    /// The sum of the squares of the lengths of turns, in square seconds.
    squares: f64,
    /// The lengths of turns without their waits, in nanoseconds.
    turns: Histogram<u64>,
    /// The service times of requests, in nanoseconds: from the beginning of the turn in which the head
    /// was complete, to the end of the turn in which the last byte of the answer was written to the
    /// socket.
    service: Histogram<u64>,
}

#[allow(dead_code)]
impl Pace {
    /// Times below a microsecond are not told apart, and all above a minute count as a minute.
    const LEAST: u64 = 1_000;
    const MOST: u64 = 60_000_000_000;

    pub fn new(start: Instant) -> Pace {
        // Two digits: 1 % is finer than the noise of any machine.
        let histogram = || {
            Histogram::new_with_bounds(Self::LEAST, Self::MOST, 2).expect("the bounds are in order")
        };
        Pace {
            start,
            began: start,
            waited_from: start,
            waited: Duration::ZERO,
            worked: Duration::ZERO,
            squares: 0.0,
            turns: histogram(),
            service: histogram(),
        }
    }

    /// Ends a turn, because the loop is about to wait.
    pub fn begin_wait(&mut self, now: Instant, tally: &mut Tally) {
        let worked = now.saturating_duration_since(self.began);
        self.waited_from = now;
        if tally.counters.turns == 0 {
            // The start of the server is no turn.
            return;
        }
        self.worked += worked;
        self.squares += worked.as_secs_f64().powi(2);
        let _ = self.turns.record(nanoseconds(worked));
        let served = &mut tally.served;
        if served.in_turn > 0 {
            let count = std::mem::take(&mut served.in_turn).into();
            let _ = self.service.record_n(nanoseconds(worked), count);
        }
        for (before, count) in served.after.drain(..) {
            let took = nanoseconds(before + worked);
            let _ = self.service.record_n(took, count.into());
        }
    }

    /// Begins a turn, because the wait has ended with this number of events.
    pub fn begin_turn(&mut self, now: Instant, events: usize, tally: &mut Tally) {
        self.began = now;
        self.waited += now.saturating_duration_since(self.waited_from);
        tally.counters.turns += 1;
        tally.counters.events += events as u64;
        let since_start = |at: Instant| nanoseconds_of(at.saturating_duration_since(self.start));
        let waited_from = since_start(self.waited_from);
        tally.ring.begin_turn(events, since_start(now), waited_from);
    }

    /// When the server was started.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// The times waited and worked since the start, without the present turn.
    pub fn totals(&self) -> (Duration, Duration) {
        (self.waited, self.worked)
    }

    /// The share of the time that the loop worked, from 0 to 1.
    pub fn utilization(&self) -> f64 {
        let (waited, worked) = (self.waited.as_secs_f64(), self.worked.as_secs_f64());
        match waited + worked {
            0.0 => 0.0,
            all => worked / all,
        }
    }

    /// The mean time for which bytes that arrive while the loop works lie in the kernel before the loop
    /// asks for them. It is the mean rest of a turn, E\[L²\] / 2E\[L\] for turns of the length L.
    pub fn hidden_wait(&self) -> Duration {
        match self.worked.as_secs_f64() {
            0.0 => Duration::ZERO,
            worked => Duration::from_secs_f64(self.squares / (2.0 * worked)),
        }
    }

    /// The lengths of turns without their waits, in nanoseconds.
    pub fn turns(&self) -> &Histogram<u64> {
        &self.turns
    }

    /// The service times of requests, in nanoseconds.
    pub fn service(&self) -> &Histogram<u64> {
        &self.service
    }
}

/// A time within the bounds of the histograms.
fn nanoseconds(time: Duration) -> u64 {
    nanoseconds_of(time).min(Pace::MOST)
}

fn nanoseconds_of(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
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
        pace.begin_wait(start + ms(100), &mut tally);
        let mut now = start + ms(100);
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
        assert!((pace.utilization() - 0.5).abs() < 1e-9);
        // (1² + 9²) / (2 × 10) ms.
        assert_eq!(pace.hidden_wait().as_micros(), 4_100);
        assert_eq!((tally.counters.turns, tally.counters.events), (2, 4));
        assert_eq!(pace.turns().len(), 2);
        assert_eq!((pace.service().len(), tally.served.in_turn), (4, 0));
        let long = pace.service().max();
        assert!((28_500_000..29_500_000).contains(&long), "{long}");
        assert!(tally.served.after.is_empty());
    }
}
