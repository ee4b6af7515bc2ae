//! Floor 1, transport: the buffers of all connections, and the account of their memory.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::mem;
use std::rc::Rc;

use super::gathered::{Gathered, Growing};
use crate::sys::{self, Pages, SharedBytes, free};

/// The memory, in bytes, that connections hold because of their peers, with one bound for the sum.
///
/// Each connection also has separate bounds. Exceeding the common bound makes no operation fail.
/// Over half of the bound ([`Account::is_tight`]) connections are held back: each may read ahead and
/// queue less. Over the whole bound ([`Account::is_over`]) the server ends those that hold most.
#[derive(Debug)]
pub(crate) struct Account {
    /// The bytes charged now. Each [`ChargedBytes`] has a reference to the same cell, and releases
    /// its charge when the last holder drops the bytes.
    used: Rc<Cell<usize>>,
    max: usize,
}

impl Account {
    /// Returns the number of bytes charged now.
    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// Returns the bound in bytes.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Whether more than half of the bound is charged: each connection should grow less from now on.
    pub fn is_tight(&self) -> bool {
        self.used() > self.max / 2
    }

    /// Whether the bound is exceeded.
    pub fn is_over(&self) -> bool {
        self.used() > self.max
    }

    /// Adds `bytes` of memory that is held outside the pool on behalf of a peer.
    pub fn charge(&mut self, bytes: usize) {
        self.used.set(self.used() + bytes);
    }

    /// Subtracts `bytes`, which must have been charged before.
    pub fn release(&mut self, bytes: usize) {
        release(&self.used, bytes);
    }
}

fn release(used: &Cell<usize>, bytes: usize) {
    debug_assert!(bytes <= used.get(), "more is given back than was taken");
    used.set(used.get() - bytes);
}

/// Bytes for many write buffers. The account is charged once for all holders, until the last holder
/// has sent or dropped the bytes.
#[derive(Debug)]
pub(crate) struct ChargedBytes {
    content: Gathered,
    used: Rc<Cell<usize>>,
}

impl ChargedBytes {
    /// Returns the bytes.
    pub fn bytes(&self) -> &[u8] {
        self.content.bytes()
    }

    /// Returns the bytes, as text if they were gathered as text.
    pub fn content(&self) -> &Gathered {
        &self.content
    }
}

impl Drop for ChargedBytes {
    fn drop(&mut self) {
        release(&self.used, self.content.capacity());
        free(self.content.take_vec());
    }
}

/// A stock of buffers of one fixed size for [`ReadBuffer`](super::ReadBuffer)s, and of growing
/// buffers for output and bodies. Only buffers in use are charged to the account; the unused
/// buffers in stock need no charge, because their number and size are bounded.
#[derive(Debug)]
pub(crate) struct Pool {
    buffer_bytes: usize,
    read: Vec<Pages>,
    write: Vec<Vec<u8>>,
    /// Growing buffers above [`GROWN_BYTES_KEPT`](Pool::GROWN_BYTES_KEPT).
    large: Vec<Vec<u8>>,
    /// The sum of the capacities in `large`.
    large_bytes: usize,
    buffers_out: usize,
    /// For each cached body that write buffers hold, by its address: the number of holders.
    held: BTreeMap<usize, usize>,
    account: Account,
    /// Below this number of bytes in use, a flood is over. 0: there was none since the stock was last
    /// freed.
    low_water: usize,
    /// The number of buffers that were freed after the last flood.
    drained: u32,
}

impl Pool {
    /// The number of unused buffers of each kind that are kept. A turn fills the read buffers of
    /// one batch of connections at a time, so more read buffers are rarely needed at once. A message
    /// for a large room needs a write buffer for each member, most of which are allocated anew.
    const KEPT: usize = 64;

    /// A growing buffer whose capacity is larger than this number of bytes is kept for large
    /// messages and bodies alone.
    const GROWN_BYTES_KEPT: usize = sys::FROM_SYSTEM_BYTES;

    /// The allocator of glibc takes as many bytes, or more, from the system, and gives them back whole. A
    /// smaller allocation comes from the heap, which shrinks only down to the highest allocation in
    /// use. So the beginnings of 120 bodies would leave a heap of up to 12 MB if a single small one
    /// happened to lie at its top (measured). Pages that were not written to are not in memory.
    const OWN_PAGES_BYTES: usize = Pool::GROWN_BYTES_KEPT + Pages::PAGE_BYTES;

    /// The sum of the capacities of the large buffers that are kept. Memory that is fresh from the
    /// system costs more than the bytes that are put into it: without any kept, a body of 1 MiB costs
    /// 1.5 times as much, and an echo of 1 MiB 3 times (measured). And to give 16 MiB back to the
    /// system takes longer than a turn may. So one message of the largest size is kept too, and the
    /// server frees the stock when it has some time ([`empty_large`](Pool::empty_large)).
    const LARGE_BYTES_KEPT: usize = 20 << 20;

    /// As much memory in use is more than the usual.
    const FLOOD_BYTES: usize = 32 << 20;

    /// The number of buffers that are freed after a flood, before buffers are kept again although some
    /// are in use.
    const DRAINED_MAX: u32 = 10_000;

    /// Creates a pool whose read buffers have `buffer_bytes` bytes each, and whose account has the
    /// bound `bytes_max`. Nothing is allocated yet.
    ///
    /// # Panics
    /// If `buffer_bytes` is 0.
    pub fn new(buffer_bytes: usize, bytes_max: usize) -> Pool {
        assert!(buffer_bytes > 0, "a read buffer needs space for a byte");
        Pool {
            buffer_bytes,
            read: Vec::new(),
            write: Vec::new(),
            large: Vec::new(),
            large_bytes: 0,
            buffers_out: 0,
            held: BTreeMap::new(),
            account: Account {
                used: Rc::default(),
                max: bytes_max,
            },
            low_water: 0,
            drained: 0,
        }
    }

    /// Returns the number of read buffers in use. The simulation compares this number with the
    /// read buffers of the connections.
    pub fn buffers_out(&self) -> usize {
        self.buffers_out
    }

    /// Returns the account of the memory held by all connections.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Returns the same account, to charge memory to it or release memory from it.
    pub fn account_mut(&mut self) -> &mut Account {
        &mut self.account
    }

    /// Converts `bytes` into shared bytes for many write buffers, and charges the account for them.
    /// `bytes` must not have been charged before.
    pub fn share(&mut self, mut bytes: Vec<u8>) -> Rc<ChargedBytes> {
        bytes.shrink_to_fit();
        self.account.charge(bytes.capacity());
        self.share_gathered(Gathered::Bytes(bytes))
    }

    /// Converts what was [gathered](Pool::gather), and charged with its capacity, into shared bytes.
    pub fn share_gathered(&self, content: Gathered) -> Rc<ChargedBytes> {
        let used = Rc::clone(&self.account.used);
        Rc::new(ChargedBytes { content, used })
    }

    /// Notes that a write buffer has sent or dropped shared bytes. The last holder gives the storage
    /// back.
    pub fn let_go_charged(&mut self, shared: Rc<ChargedBytes>) {
        if let Some(mut last) = Rc::into_inner(shared) {
            self.release_vec(last.content.take_vec());
        }
    }

    /// Notes that one more write buffer holds a cached body. The first holder charges the account:
    /// the cache may evict the body, but the memory stays in use until the last holder has sent it.
    pub(super) fn hold(&mut self, body: &SharedBytes) {
        let holders = self.held.entry(body.address()).or_default();
        *holders += 1;
        if *holders == 1 {
            self.account.charge(body.len());
        }
    }

    /// Notes that a holder has sent or dropped the body. The last one releases the charge.
    pub(super) fn let_go(&mut self, body: &SharedBytes) {
        let address = body.address();
        let holders = self.held.get_mut(&address).expect("it was held");
        *holders -= 1;
        if *holders == 0 {
            self.held.remove(&address);
            self.account.release(body.len());
        }
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    #[inline]
    pub(super) fn acquire(&mut self) -> Pages {
        self.buffers_out += 1;
        let bytes = self.buffer_bytes;
        self.account.charge(bytes);
        match self.read.pop() {
            Some(buffer) => buffer,
            None => {
                self.note_flood();
                Pages::new(bytes)
            }
        }
    }

    #[inline]
    pub(super) fn release_buffer(&mut self, buffer: Pages) {
        debug_assert!(self.buffers_out > 0);
        self.buffers_out -= 1;
        self.account.release(buffer.len());
        if self.is_keeping() && self.read.len() < Pool::KEPT {
            self.read.push(buffer);
        }
    }

    /// Calls `write` to append to `vec`, and charges the account for the capacity gained by `vec`.
    /// A vector without storage first gets an unused buffer from the stock, if any is left, and gives the
    /// buffer back if nothing was written.
    /// [`release_vec`](Pool::release_vec) gives the storage back.
    #[inline(always)]
    pub fn append<G: Growing, R>(&mut self, vec: &mut G, write: impl FnOnce(&mut G) -> R) -> R {
        let before = vec.capacity();
        if before == 0
            && let Some(storage) = self.write.pop()
        {
            *vec = G::with_storage(storage);
        }
        let result = write(vec);
        self.account.charge(vec.capacity() - before);
        if vec.whole().as_ref().is_empty() {
            self.take_back(vec);
        }
        result
    }

    /// Appends `bytes` to a vector that will hold `whole` bytes in the end, as the peer has announced
    /// (`usize::MAX`: unknown). The vector grows to twice the bytes that have come, but not beyond
    /// `whole`: an announcement alone reserves nothing, and at the end no space is left over. From
    /// 33 KiB on, a vector that grows gets [pages of its own](Pool::OWN_PAGES_BYTES).
    pub fn gather<G: Growing>(&mut self, vec: &mut G, piece: &G::Piece, whole: usize) {
        if whole < usize::MAX {
            // A buffer in stock is in memory already, and may be as large as announced.
            self.prepare(vec, whole);
        }
        let present = vec.whole().as_ref().len();
        let least = present + piece.as_ref().len();
        let twice = least.saturating_mul(2);
        let wanted = match twice > Pool::OWN_PAGES_BYTES / 2 {
            true => twice.max(Pool::OWN_PAGES_BYTES),
            false => twice,
        };
        let most = wanted.min(whole).max(least);
        if least > vec.capacity() {
            self.note_flood();
            if most > Pool::GROWN_BYTES_KEPT {
                self.move_to_large(vec, most);
            }
        }
        self.append(vec, |vec| {
            if least > vec.capacity() {
                vec.reserve_exact(most - present);
            }
            vec.push_piece(piece);
        });
    }

    /// Moves the bytes of `vec` to a large buffer in stock that has space for `wanted` bytes and not
    /// much more. Does nothing if there is none.
    fn move_to_large<G: Growing>(&mut self, vec: &mut G, wanted: usize) {
        let fits = |large: &Vec<u8>| wanted <= large.capacity() && large.capacity() / 2 <= wanted;
        let Some(at) = self.large.iter().rposition(fits) else {
            return;
        };
        let large = self.large.swap_remove(at);
        self.large_bytes -= large.capacity();
        self.account.charge(large.capacity());
        let mut large = G::with_storage(large);
        large.push_piece(vec.whole());
        self.release_vec(mem::replace(vec, large).into_vec());
    }

    /// Adds a large buffer to the stock, from which older ones make way.
    fn keep_large(&mut self, vec: Vec<u8>) {
        let bytes = vec.capacity();
        if bytes > Pool::LARGE_BYTES_KEPT {
            return free(vec);
        }
        while self.large_bytes + bytes > Pool::LARGE_BYTES_KEPT {
            let oldest = self.large.remove(0);
            self.large_bytes -= oldest.capacity();
            free(oldest);
        }
        self.large_bytes += bytes;
        self.large.push(vec);
    }

    /// Notes how much memory is in use, when more of it is needed than is in stock.
    fn note_flood(&mut self) {
        let used = self.account.used();
        if used > Pool::FLOOD_BYTES {
            self.low_water = self.low_water.max(used / 64);
        }
    }

    /// Whether a buffer that comes back is to be kept. After a flood, the stock is freed, and so are the
    /// next buffers. What a flood leaves is as large as its messages, and lies anywhere in a heap
    /// that has grown, which can only shrink to the highest.
    #[inline]
    fn is_keeping(&mut self) -> bool {
        match self.account.used() < self.low_water {
            true => self.drain(),
            false => true,
        }
    }

    #[cold]
    fn drain(&mut self) -> bool {
        self.empty_stock();
        self.drained += 1;
        if self.account.used() == 0 || self.drained == Pool::DRAINED_MAX {
            (self.drained, self.low_water) = (0, 0);
        }
        false
    }

    /// Gives a vector without storage a large buffer from the stock, if `wanted` bytes need one.
    pub fn prepare<G: Growing>(&mut self, vec: &mut G, wanted: usize) {
        if wanted > Pool::GROWN_BYTES_KEPT && vec.capacity() == 0 {
            self.move_to_large(vec, wanted);
        }
    }

    /// Takes back the storage of a vector in which nothing was written.
    #[cold]
    fn take_back<G: Growing>(&mut self, vec: &mut G) {
        self.release_vec(mem::take(vec).into_vec());
    }

    /// Frees the buffers in stock.
    pub fn empty_stock(&mut self) {
        self.read = Vec::new();
        self.write = Vec::new();
        self.empty_large();
    }

    /// Frees the large buffers in stock.
    pub fn empty_large(&mut self) {
        self.large.drain(..).for_each(free);
        self.large_bytes = 0;
    }

    /// Whether a large buffer is in stock.
    pub fn has_large(&self) -> bool {
        self.large_bytes > 0
    }

    /// Takes back a vector filled by [`append`](Pool::append), and releases the charge for the
    /// capacity. When memory is tight, the storage is freed.
    pub fn release_vec(&mut self, mut vec: Vec<u8>) {
        let bytes = vec.capacity();
        self.account.release(bytes);
        let is_small = bytes <= Pool::GROWN_BYTES_KEPT && self.write.len() < Pool::KEPT;
        if !is_small || self.account.is_tight() || !self.is_keeping() {
            return self.release_other(vec);
        }
        if bytes > 0 {
            vec.clear();
            self.write.push(vec);
        }
    }

    /// Takes back a vector that is not one for the stock of small ones.
    #[cold]
    fn release_other(&mut self, mut vec: Vec<u8>) {
        let is_large = vec.capacity() > Pool::GROWN_BYTES_KEPT;
        match is_large && !self.account.is_tight() && self.is_keeping() {
            true => {
                vec.clear();
                self.keep_large(vec);
            }
            false => free(vec),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_is_accounted_for_and_what_comes_back_is_used_again() {
        let mut pool = Pool::new(8, 100);
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
        pool.append(&mut again, |_| ());
        assert_eq!((pool.account.used(), again.capacity()), (0, 0));
        pool.append(&mut again, |v| v.push(1));
        assert_eq!((again.as_ptr(), again.len()), (place, 1));
        assert_eq!(pool.account.used(), capacity);
    }

    #[test]
    fn what_is_gathered_has_twice_the_space_that_it_needs_and_never_more_than_announced() {
        let mut pool = Pool::new(8, usize::MAX);
        for whole in [1, 100, 1_000, 1_024, 1_000_000, usize::MAX] {
            let mut vec = Vec::new();
            while vec.len() < whole.min(100_000) {
                let piece = vec![7; (whole - vec.len()).min(100)];
                pool.gather(&mut vec, &piece, whole);
                let usual = 2 * vec.len();
                let has_pages = vec.len() > Pool::OWN_PAGES_BYTES / 4;
                let most = if has_pages {
                    usual.max(Pool::OWN_PAGES_BYTES)
                } else {
                    usual
                };
                assert!(vec.capacity() <= whole.min(most));
                assert_eq!(pool.account.used(), vec.capacity());
            }
            pool.account.release(vec.capacity());
        }
    }

    #[test]
    fn a_few_large_buffers_are_kept_for_what_is_large() {
        let mut pool = Pool::new(8, usize::MAX);
        let large = 1 << 20;
        let mut places = Vec::new();
        let filled: Vec<_> = (0..21)
            .map(|_| {
                let mut vec = Vec::new();
                pool.gather(&mut vec, &vec![1; large], large);
                places.push(vec.as_ptr());
                vec
            })
            .collect();
        filled.into_iter().for_each(|vec| pool.release_vec(vec));
        assert_eq!((pool.large.len(), pool.large_bytes), (20, 20 * large));
        let mut small = Vec::new();
        pool.append(&mut small, |v| v.push(1));
        assert!(small.capacity() < 100);
        pool.release_vec(small);
        // If the length is known, or when the bytes need it, a vector is one of them.
        for (whole, first) in [(large, large), (usize::MAX, 2_000)] {
            let mut vec = Vec::new();
            pool.gather(&mut vec, &[2; 1_000], whole);
            assert_eq!(vec.capacity(), first);
            pool.gather(&mut vec, &[2; 400_000], whole);
            assert_eq!((vec.capacity(), vec.len()), (large, 401_000));
            assert!(places[1..].contains(&vec.as_ptr()) && vec.iter().all(|b| *b == 2));
            assert_eq!((pool.account.used(), pool.large.len()), (large, 19));
            pool.release_vec(vec);
        }
        // One for a much larger wish, or a much smaller one, is not taken.
        for wanted in [large + 1, 200_000, 1_000] {
            let mut vec = Vec::new();
            pool.prepare(&mut vec, wanted);
            assert_eq!(vec.capacity(), 0);
        }
        pool.empty_stock();
        assert_eq!((pool.large.len(), pool.large_bytes), (0, 0));
        assert_eq!(pool.account.used(), 0);
    }

    #[test]
    fn the_stock_is_freed_after_a_flood() {
        let mut pool = Pool::new(100_000, usize::MAX);
        let mut vec = Vec::new();
        pool.gather(&mut vec, &[1; 1_000], 1_000);
        pool.release_vec(vec);
        // 40 MB, and the flood is over below a 64th.
        let mut buffers: Vec<_> = (0..400).map(|_| pool.acquire()).collect();
        for buffer in buffers.drain(10..) {
            pool.release_buffer(buffer);
        }
        assert_eq!((pool.read.len(), pool.write.len()), (64, 1));
        for buffer in buffers {
            pool.release_buffer(buffer);
        }
        assert_eq!((pool.read.len(), pool.write.len()), (0, 0));
        let buffer = pool.acquire();
        pool.release_buffer(buffer);
        assert_eq!(pool.read.len(), 1);
    }

    #[test]
    fn a_stock_is_kept_again_although_some_memory_stays_in_use_after_a_flood() {
        let mut pool = Pool::new(100_000, usize::MAX);
        let mut buffers: Vec<_> = (0..400).map(|_| pool.acquire()).collect();
        let _in_use = buffers.pop();
        for buffer in buffers {
            pool.release_buffer(buffer);
        }
        let mut freed = 0;
        while pool.read.is_empty() {
            let buffer = pool.acquire();
            pool.release_buffer(buffer);
            freed += 1;
        }
        assert!((9_000..=Pool::DRAINED_MAX).contains(&freed), "{freed}");
    }

    #[test]
    fn storage_is_not_kept_when_memory_is_tight() {
        let mut pool = Pool::new(8, 100);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for vec in [&mut first, &mut second] {
            pool.append(vec, |v| v.extend_from_slice(&[0; 60]));
        }
        pool.release_vec(first);
        assert!(pool.account.is_tight() && pool.write.is_empty());
        pool.release_vec(second);
        assert!(!pool.account.is_tight() && pool.write.len() == 1);
        pool.empty_stock();
        assert!(pool.write.is_empty());
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

    #[test]
    fn a_cached_body_weighs_once_and_until_the_last_holder_has_done() {
        let mut pool = Pool::new(8, 20);
        let (first, second): (SharedBytes, SharedBytes) = (vec![7; 30].into(), vec![7; 30].into());
        pool.hold(&first);
        pool.hold(&first);
        assert_eq!(pool.account.used(), 30);
        pool.hold(&second);
        pool.let_go(&first);
        assert_eq!(pool.account.used(), 60);
        pool.let_go(&second);
        pool.let_go(&first);
        assert_eq!((pool.account.used(), pool.held.len()), (0, 0));
    }
}
