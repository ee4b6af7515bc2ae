//! Floor 4, server: the time of the loop. It is the time of the driver, without the time for which the loop
//! was [paused](super::inspect): otherwise every connection would be late after a pause. While a process is
//! stopped by a signal, the time goes on, because the server cannot know.

use std::time::{Duration, Instant};

use crate::connection::Now;

/// The clock of the loop.
#[derive(Debug)]
pub(super) struct Clock {
    /// The last reading of the driver's clock.
    read: Instant,
    /// How far the time of the loop is behind that of the driver.
    behind: Duration,
    is_stopped: bool,
}

impl Clock {
    /// A clock that was read for the first time.
    pub fn new(read: Instant) -> Clock {
        Clock {
            read,
            behind: Duration::ZERO,
            is_stopped: false,
        }
    }

    /// Takes a new reading of the driver's clocks. Returns the time of the loop.
    pub fn take(&mut self, now: Now) -> Now {
        if self.is_stopped {
            self.behind += now.instant.saturating_duration_since(self.read);
        }
        self.read = now.instant;
        Now {
            instant: self.of_loop(now.instant),
            ..now
        }
    }

    /// The last reading of the driver's clock. It goes on during a pause.
    pub fn read(&self) -> Instant {
        self.read
    }

    /// The time of the loop at a time of the driver.
    #[inline]
    pub fn of_loop(&self, at: Instant) -> Instant {
        if self.behind.is_zero() {
            return at;
        }
        at.checked_sub(self.behind).unwrap_or(at)
    }

    /// Stops the time of the loop, or lets it go on.
    pub fn set_stopped(&mut self, is_stopped: bool) {
        self.is_stopped = is_stopped;
    }

    /// Whether the time of the loop stands still, so that no deadline comes nearer.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn the_time_of_a_pause_does_not_count() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut clock = Clock::new(start);
        let told = |clock: &mut Clock, at| {
            let now = Now {
                instant: start + ms(at),
                wall: SystemTime::UNIX_EPOCH,
            };
            clock.take(now).instant - start
        };
        assert_eq!(told(&mut clock, 10), ms(10));
        clock.set_stopped(true);
        assert_eq!([20, 90].map(|at| told(&mut clock, at)), [ms(10); 2]);
        clock.set_stopped(false);
        assert_eq!(told(&mut clock, 95), ms(15));
        assert_eq!(clock.read(), start + ms(95));
        assert_eq!(clock.of_loop(start + ms(100)), start + ms(20));
    }
}
