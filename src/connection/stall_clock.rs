//! Floor 3, connection: the clock that shows whether bytes move on, in either direction.

use std::time::{Duration, Instant};

use super::why::TimeLimit;

/// When bytes last moved on. Bytes count in portions, because a peer that gives or takes one byte
/// at a time must not hold a connection for ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct StallClock {
    last_progress: Instant,
    /// Bytes moved since `last_progress`.
    bytes: usize,
}

impl StallClock {
    /// The size of a portion; each portion may take
    /// [`Limits::stall_time`](crate::config::Limits::stall_time).
    pub const PORTION_BYTES: usize = 16 << 10;

    /// Starts a clock now, with no byte counted.
    pub fn new(now: Instant) -> StallClock {
        StallClock {
            last_progress: now,
            bytes: 0,
        }
    }

    /// Returns when the last portion was complete, or when the clock started.
    pub fn last_progress(&self) -> Instant {
        self.last_progress
    }

    /// Returns the time in which the next portion must move.
    pub fn limit(&self, time: Duration) -> TimeLimit {
        TimeLimit::new(self.last_progress, time)
    }

    /// Restarts the time. Bytes counted before still count for the next portion.
    pub fn renew(&mut self, now: Instant) {
        self.last_progress = now;
    }

    /// Counts moved bytes. A complete portion restarts the clock.
    pub fn add(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes;
        if self.bytes >= Self::PORTION_BYTES {
            *self = StallClock::new(now);
        }
    }
}
