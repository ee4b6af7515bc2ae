//! Floor 1, transport: the buffers of all connections, and the account of what they weigh.

use std::cell::Cell;
use std::rc::Rc;

/// Memory that connections hold because of what peers do, in bytes, against one bound for all.
///
/// Each connection has bounds of its own; this one is for the sum. Over it nothing fails: the
/// greedy are held back ([`Account::is_over`] is asked where something would grow), so that the
/// modest go on as before.
#[derive(Debug)]
pub(crate) struct Account {
    /// Held by each [`ChargedBytes`] too, which gives back what it weighs when nobody holds it any more.
    used: Rc<Cell<usize>>,
    max: usize,
}

impl Account {
    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// Whether the bound is exceeded.
    pub fn is_over(&self) -> bool {
        self.used() > self.max
    }

    /// Adds what is held outside of the pool on behalf of a peer.
    pub fn charge(&mut self, bytes: usize) {
        self.used.set(self.used() + bytes);
    }

    /// Takes that back.
    pub fn release(&mut self, bytes: usize) {
        release(&self.used, bytes);
    }
}

fn release(used: &Cell<usize>, bytes: usize) {
    debug_assert!(bytes <= used.get(), "more is given back than was taken");
    used.set(used.get() - bytes);
}

/// Bytes that many write buffers may hold. They weigh once, until the last has sent them.
#[derive(Debug)]
pub(crate) struct ChargedBytes {
    bytes: Box<[u8]>,
    used: Rc<Cell<usize>>,
}

impl ChargedBytes {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for ChargedBytes {
    fn drop(&mut self) {
        release(&self.used, self.bytes.len());
    }
}

/// A stock of equal buffers for [`ReadBuffer`](super::ReadBuffer)es and of growing ones for output and
/// bodies. Only what is lent weighs on the account; what is kept in stock is a fixed amount.
#[derive(Debug)]
pub(crate) struct Pool {
    buffer_bytes: usize,
    read: Vec<Box<[u8]>>,
    write: Vec<Vec<u8>>,
    buffers_out: usize,
    account: Account,
}

impl Pool {
    /// How many buffers of each kind are kept when nobody needs them. A turn fills the read buffers
    /// of one chunk of connections at a time, so more than that is rarely wanted at once.
    const KEPT: usize = 64;

    /// A growing buffer that became larger than this is given back to the allocator.
    const GROWN_BYTES_KEPT: usize = 128 << 10;

    /// A pool whose read buffers hold `buffer_bytes` each, with `bytes_max` for the account.
    /// Nothing is allocated yet.
    pub fn new(buffer_bytes: usize, bytes_max: usize) -> Pool {
        assert!(buffer_bytes > 0, "a read buffer needs space for a byte");
        Pool {
            buffer_bytes,
            read: Vec::new(),
            write: Vec::new(),
            buffers_out: 0,
            account: Account {
                used: Rc::default(),
                max: bytes_max,
            },
        }
    }

    /// How many read buffers are out; the simulation holds it against the read buffers.
    pub fn buffers_out(&self) -> usize {
        self.buffers_out
    }

    /// What everybody holds.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The same, to add to it.
    pub fn account_mut(&mut self) -> &mut Account {
        &mut self.account
    }

    /// Makes of `bytes`, which nobody has accounted for, what many write buffers can hold.
    pub fn share(&mut self, bytes: Vec<u8>) -> Rc<ChargedBytes> {
        self.account.charge(bytes.len());
        Rc::new(ChargedBytes {
            bytes: bytes.into_boxed_slice(),
            used: Rc::clone(&self.account.used),
        })
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    pub(super) fn acquire(&mut self) -> Box<[u8]> {
        self.buffers_out += 1;
        let bytes = self.buffer_bytes;
        self.account.charge(bytes);
        self.read
            .pop()
            .unwrap_or_else(|| vec![0; bytes].into_boxed_slice())
    }

    pub(super) fn release_buffer(&mut self, buffer: Box<[u8]>) {
        debug_assert!(self.buffers_out > 0);
        self.buffers_out -= 1;
        self.account.release(buffer.len());
        if self.read.len() < Pool::KEPT {
            self.read.push(buffer);
        }
    }

    /// Appends to `vec` whatever `write` appends. A vector that has no storage yet gets one that
    /// was left behind, if there is one. It goes back by [`release_vec`](Pool::release_vec).
    pub fn append<R>(&mut self, vec: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = vec.capacity();
        if before == 0 {
            *vec = self.write.pop().unwrap_or_default();
        }
        let result = write(vec);
        self.account.charge(vec.capacity() - before);
        result
    }

    /// Takes storage back that [`append`](Pool::append) lent or let grow.
    pub fn release_vec(&mut self, mut vec: Vec<u8>) {
        let bytes = vec.capacity();
        self.account.release(bytes);
        if bytes > 0 && bytes <= Pool::GROWN_BYTES_KEPT && self.write.len() < Pool::KEPT {
            vec.clear();
            self.write.push(vec);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_is_accounted_for_and_what_comes_back_is_used_again() {
        let mut pool = Pool::new(8, 20);
        let (a, b) = (pool.acquire(), pool.acquire());
        assert_eq!((pool.account.used(), pool.account.is_over()), (16, false));
        let mut vec = Vec::new();
        pool.append(&mut vec, |v| v.extend_from_slice(&[0; 100]));
        assert_eq!(pool.account.used(), 16 + vec.capacity());
        assert!(pool.account.is_over());
        let (capacity, place) = (vec.capacity(), vec.as_ptr());
        pool.release_vec(vec);
        pool.release_buffer(a);
        pool.release_buffer(b);
        assert_eq!((pool.account.used(), pool.buffers_out()), (0, 0));
        let mut again = Vec::new();
        pool.append(&mut again, |v| v.push(1));
        assert_eq!((again.as_ptr(), again.len()), (place, 1));
        assert_eq!(pool.account.used(), capacity);
    }

    #[test]
    fn what_is_shared_weighs_once_and_until_the_last_holder_has_done() {
        let mut pool = Pool::new(8, 20);
        let first = pool.share(vec![7; 30]);
        let second = Rc::clone(&first);
        assert_eq!((pool.account.used(), pool.account.is_over()), (30, true));
        drop(first);
        assert_eq!((pool.account.used(), second.bytes()), (30, &[7; 30][..]));
        drop(second);
        assert_eq!(pool.account.used(), 0);
    }
}
