//! Floor 4, server: the end of connections when all together hold more memory than they may.
//!
//! The connections that hold most are ended, and not those that happen to grow next: otherwise a few
//! peers that stop in the middle of large messages would keep their memory, and all other peers would
//! be refused. A connection does not know how much others hold, so the decision is the server's. It is
//! made between two batches and after the deliveries, so within one batch the bound is exceeded by what
//! the budgets of 64 connections allow.

use std::cmp::Reverse;

use super::{Driver, Server, get};
use crate::connection::{Context, Key};
use crate::site::Files;
use crate::transport::Transport;

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// A connection that holds no more than this number of bytes is never ended for its memory. As much
    /// by each of 10,000 connections is a little less than 256 MiB, and the step of an encoder needs
    /// 17 KiB.
    const HELD_BYTES_MIN: usize = 24 << 10;

    /// Ends the connections that hold most, if all together hold too much.
    pub(super) fn free_memory(&mut self) {
        match self.shared.pool.account().is_over() {
            true => self.end_largest(),
            false => self.searched_at = None,
        }
    }

    /// Ends the connections that hold most, until an eighth of the bound is free: the next search, which
    /// asks every connection, comes only after as many bytes. If too few hold much, the next search
    /// waits for an eighth more than is in use.
    #[cold]
    fn end_largest(&mut self) {
        let max = self.turn.limits.memory_bytes_max;
        let eighth = max / 8;
        let used = self.shared.pool.account().used();
        if self.searched_at.is_some_and(|then| used < then + eighth) {
            return;
        }
        // The last words to a peer need not the largest buffer in stock.
        self.shared.pool.empty_stock();
        let slots = self.connections.iter().map(|(_, slot)| &slot.connection);
        let mut holders: Vec<(usize, Key)> = slots
            .map(|connection| (connection.held_bytes(), connection.key()))
            .filter(|(held, _)| *held > Self::HELD_BYTES_MIN)
            .collect();
        holders.sort_unstable_by_key(|(held, _)| Reverse(*held));
        for (_, key) in holders {
            if self.shared.pool.account().used() <= max - eighth {
                return;
            }
            if let Some(slot) = get(&mut self.connections, key) {
                let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
                slot.connection.end_for_memory(cx);
                self.runnable.enqueue(slot);
            }
        }
        self.searched_at = Some(self.shared.pool.account().used());
    }
}
