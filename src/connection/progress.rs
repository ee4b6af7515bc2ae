//! Floor 4, connection: whether bytes move on, in either direction.

use std::time::Instant;

/// When bytes last moved on. They count in portions, so that a peer cannot hold a connection for ever
/// by giving or taking one byte at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    moved: Instant,
    /// Bytes since then.
    bytes: usize,
}

impl Progress {
    /// A portion; [`Limits::stall_time`](crate::config::Limits::stall_time) is for each.
    pub const PORTION_BYTES: usize = 16 << 10;

    /// Begins now.
    pub fn new(now: Instant) -> Progress {
        Progress {
            moved: now,
            bytes: 0,
        }
    }

    /// When the last portion was complete, or it began.
    pub fn moved(&self) -> Instant {
        self.moved
    }

    /// Begins again with what has been counted.
    pub fn renew(&mut self, now: Instant) {
        self.moved = now;
    }

    /// Counts bytes that have moved.
    pub fn add(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes;
        if self.bytes >= Self::PORTION_BYTES {
            *self = Progress::new(now);
        }
    }
}
