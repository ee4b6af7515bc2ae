//! Floor 4, connection: whether bytes move on, in either direction.

use std::time::Instant;

/// When bytes last moved on. They count in portions, so that a peer cannot hold a connection for ever
/// by giving or taking one byte at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct StallClock {
    last_progress: Instant,
    /// Bytes since then.
    bytes: usize,
}

impl StallClock {
    /// A portion; [`Limits::stall_time`](crate::config::Limits::stall_time) is for each.
    pub const PORTION_BYTES: usize = 16 << 10;

    /// Begins now.
    pub fn new(now: Instant) -> StallClock {
        StallClock {
            last_progress: now,
            bytes: 0,
        }
    }

    /// When the last portion was complete, or it began.
    pub fn last_progress(&self) -> Instant {
        self.last_progress
    }

    /// Begins again with what has been counted.
    pub fn renew(&mut self, now: Instant) {
        self.last_progress = now;
    }

    /// Counts bytes that have moved.
    pub fn add(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes;
        if self.bytes >= Self::PORTION_BYTES {
            *self = StallClock::new(now);
        }
    }
}
