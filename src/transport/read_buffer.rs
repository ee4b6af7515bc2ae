//! Floor 1, transport: the bytes received from the peer and not consumed yet.
//!
//! A connection acquires a buffer from a [`Pool`] when bytes arrive, and releases the buffer when
//! all bytes are consumed, so an idle connection holds no buffer. A reused buffer is not filled
//! with zeros again, and consuming bytes moves no other bytes: only two offsets change. (Filling
//! with zeros before each read and draining after each request were measured at seven times the
//! instructions of the whole request.)
//!
//! Bytes that must wait are *parked*: copied into memory for them alone. While more bytes
//! are awaited, only a few bytes are parked, such as the beginning of a slow request head. While no
//! byte is to be read for now, many are, such as the requests that came behind one for a large file.
//! Thus ten thousand slow peers do not hold ten thousand buffers.
//!
//! Buffers, and parked bytes of a page or more, are [`Pages`]: when a flood of peers has left, their
//! memory goes back to the system.

use super::Pool;
use crate::sys::Pages;

/// The bytes received and not consumed yet, in order.
#[derive(Default, Debug)]
pub(crate) struct ReadBuffer {
    memory: Memory,
    start: u32,
    end: u32,
}

/// The memory in which the bytes of a read buffer lie.
#[derive(Default, Debug)]
enum Memory {
    /// No byte is waiting.
    #[default]
    Nothing,
    /// A buffer of the pool: while bytes are waiting, and from a call of
    /// [`spare`](ReadBuffer::spare) on until the next [`shrink`](ReadBuffer::shrink).
    Buffer(Pages),
    /// A few parked bytes.
    Parked(Box<[u8]>),
    /// Many parked bytes.
    ParkedPages(Pages),
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Memory::Nothing => &[],
            Memory::Buffer(pages) | Memory::ParkedPages(pages) => pages,
            Memory::Parked(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Memory::Nothing => &mut [],
            Memory::Buffer(pages) | Memory::ParkedPages(pages) => pages,
            Memory::Parked(bytes) => bytes,
        }
    }
}

impl ReadBuffer {
    /// The largest number of bytes that are parked while more are awaited. Parking more bytes would
    /// make a head in many small pieces costly, because each read copies the parked bytes back.
    const PARKED_BYTES_MAX: usize = 1 << 10;

    /// Returns the bytes received and not consumed yet.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.memory.bytes()[self.start as usize..self.end as usize]
    }

    /// Returns the same bytes for changes in place, such as unmasking.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory.bytes_mut()[self.start as usize..self.end as usize]
    }

    /// Whether no byte is waiting to be consumed.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether a read would have no space, even after the waiting bytes are moved to the front.
    pub fn is_full(&self) -> bool {
        match &self.memory {
            Memory::Buffer(buffer) => (self.end - self.start) as usize == buffer.len(),
            Memory::Nothing | Memory::Parked(_) | Memory::ParkedPages(_) => false,
        }
    }

    /// Returns the memory in bytes that this read buffer holds, as the account is charged for it.
    pub fn held_bytes(&self) -> usize {
        self.memory.bytes().len()
    }

    /// Marks the first `n` bytes as consumed.
    ///
    /// # Panics
    /// If fewer than `n` bytes are waiting.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= (self.end - self.start) as usize);
        self.start += n as u32;
    }

    /// Marks all bytes as consumed, and returns their number.
    pub fn discard(&mut self) -> usize {
        let n = (self.end - self.start) as usize;
        self.start = self.end;
        n
    }

    /// Returns the space for a read, after acquiring a buffer from `pool` if necessary. The space
    /// is empty only if the read buffer [is full](ReadBuffer::is_full). After the read, call
    /// [`filled`](ReadBuffer::filled).
    pub fn spare<'a>(&'a mut self, pool: &mut Pool) -> &'a mut [u8] {
        match self.memory {
            Memory::Buffer(_) => {}
            Memory::Nothing => self.memory = Memory::Buffer(pool.acquire()),
            Memory::Parked(_) | Memory::ParkedPages(_) => self.unpark(pool),
        }
        let Memory::Buffer(buffer) = &mut self.memory else {
            unreachable!("it was acquired above")
        };
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end as usize == buffer.len() && self.start > 0 {
            // The only copy within a buffer: the beginning of a request has reached the very end.
            buffer.copy_within(self.start as usize.., 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut buffer[self.end as usize..]
    }

    /// Records that the first `n` bytes of [`spare`](ReadBuffer::spare) now hold received bytes.
    pub fn filled(&mut self, n: usize) {
        self.end += n as u32;
        debug_assert!(self.end as usize <= self.memory.bytes().len());
    }

    /// Releases the buffer if no byte is waiting, and parks the bytes if they are few. A full
    /// buffer is not parked. Call this method when no more bytes can be read or consumed for now,
    /// but more are awaited.
    #[inline(always)]
    pub fn shrink(&mut self, pool: &mut Pool) {
        if self.is_empty() {
            self.release(pool);
        } else if self.holds_buffer() {
            self.park(Self::PARKED_BYTES_MAX.min(pool.buffer_bytes() - 1), pool);
        }
    }

    /// Parks the waiting bytes if this saves at least half of the memory they are in. Call this
    /// method when no byte is to be read for now, so that the copy is made once for many bytes.
    pub fn settle(&mut self, pool: &mut Pool) {
        self.park(self.held_bytes() / 2, pool);
    }

    /// Moves the waiting bytes to memory for them alone, if they are at most `max`.
    fn park(&mut self, max: usize, pool: &mut Pool) {
        let bytes = self.bytes();
        if bytes.len() > max {
            return;
        }
        let memory = if bytes.len() < Pages::PAGE_BYTES {
            Memory::Parked(bytes.into())
        } else {
            let mut pages = Pages::new(bytes.len().next_multiple_of(Pages::PAGE_BYTES));
            pages[..bytes.len()].copy_from_slice(bytes);
            Memory::ParkedPages(pages)
        };
        let end = bytes.len() as u32;
        self.release(pool);
        pool.account_mut().charge(memory.bytes().len());
        *self = ReadBuffer {
            memory,
            start: 0,
            end,
        };
    }

    /// Moves parked bytes to a buffer of the pool.
    #[cold]
    fn unpark(&mut self, pool: &mut Pool) {
        let mut buffer = pool.acquire();
        let bytes = self.bytes();
        let end = bytes.len();
        buffer[..end].copy_from_slice(bytes);
        self.release(pool);
        (self.memory, self.end) = (Memory::Buffer(buffer), end as u32);
    }

    /// Releases the buffer and drops the waiting bytes.
    #[inline(always)]
    pub fn release(&mut self, pool: &mut Pool) {
        (self.start, self.end) = (0, 0);
        match std::mem::take(&mut self.memory) {
            Memory::Nothing => {}
            Memory::Buffer(buffer) => pool.release_buffer(buffer),
            parked @ (Memory::Parked(_) | Memory::ParkedPages(_)) => {
                pool.account_mut().release(parked.bytes().len());
            }
        }
    }

    /// Whether this read buffer holds a buffer of the pool. (Parked bytes are in memory of their own.)
    pub fn holds_buffer(&self) -> bool {
        matches!(self.memory, Memory::Buffer(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(read_buffer: &mut ReadBuffer, pool: &mut Pool, bytes: &[u8]) {
        read_buffer.spare(pool)[..bytes.len()].copy_from_slice(bytes);
        read_buffer.filled(bytes.len());
    }

    #[test]
    fn an_idle_read_buffer_owns_no_memory() {
        let (mut pool, mut read_buffer) = (Pool::new(8, 100), ReadBuffer::default());
        put(&mut read_buffer, &mut pool, b"abc");
        assert_eq!((pool.buffers_out(), read_buffer.bytes()), (1, &b"abc"[..]));
        read_buffer.consume(3);
        read_buffer.shrink(&mut pool);
        assert_eq!((pool.buffers_out(), read_buffer.holds_buffer()), (0, false));
        assert_eq!(pool.account().used(), 0);
    }

    #[test]
    fn a_beginning_is_parked_until_more_comes() {
        let (mut pool, mut read_buffer) = (Pool::new(8, 100), ReadBuffer::default());
        put(&mut read_buffer, &mut pool, b"abcde");
        read_buffer.consume(2);
        read_buffer.shrink(&mut pool);
        assert_eq!((pool.buffers_out(), pool.account().used()), (0, 3));
        assert_eq!(
            (read_buffer.bytes(), read_buffer.is_full()),
            (&b"cde"[..], false)
        );
        put(&mut read_buffer, &mut pool, b"fghij");
        assert_eq!((pool.buffers_out(), pool.account().used()), (1, 8));
        assert_eq!(
            (read_buffer.bytes(), read_buffer.is_full()),
            (&b"cdefghij"[..], true)
        );
        read_buffer.shrink(&mut pool);
        assert_eq!(pool.buffers_out(), 1, "a full buffer is not parked");
        read_buffer.release(&mut pool);
        assert_eq!((pool.buffers_out(), pool.account().used()), (0, 0));
    }

    #[test]
    fn many_bytes_are_parked_only_while_no_more_are_awaited() {
        let (mut pool, mut read_buffer) = (Pool::new(8_000, 100), ReadBuffer::default());
        put(&mut read_buffer, &mut pool, &[b'a'; 5_000]);
        read_buffer.consume(500);
        read_buffer.shrink(&mut pool);
        read_buffer.settle(&mut pool);
        assert_eq!(pool.buffers_out(), 1, "little would be saved");
        read_buffer.consume(500);
        read_buffer.shrink(&mut pool);
        assert_eq!(pool.buffers_out(), 1, "more bytes are awaited");
        read_buffer.settle(&mut pool);
        assert_eq!((pool.buffers_out(), pool.account().used()), (0, 4_000));
        assert_eq!(read_buffer.held_bytes(), 4_000);
        read_buffer.consume(1_999);
        read_buffer.settle(&mut pool);
        assert_eq!(read_buffer.held_bytes(), 4_000);
        read_buffer.consume(1);
        read_buffer.settle(&mut pool);
        assert_eq!(read_buffer.held_bytes(), 2_000);
        assert_eq!(
            (pool.account().used(), read_buffer.bytes()),
            (2_000, &[b'a'; 2_000][..])
        );
        put(&mut read_buffer, &mut pool, b"bc");
        assert_eq!((pool.buffers_out(), pool.account().used()), (1, 8_000));
        assert_eq!(read_buffer.bytes().len(), 2_002);
    }

    #[test]
    fn a_page_or_more_is_parked_in_whole_pages() {
        let (mut pool, mut read_buffer) = (Pool::new(20_000, 100), ReadBuffer::default());
        put(&mut read_buffer, &mut pool, &[b'a'; 10_000]);
        read_buffer.settle(&mut pool);
        assert_eq!((pool.buffers_out(), pool.account().used()), (0, 12_288));
        put(&mut read_buffer, &mut pool, b"bc");
        assert!(read_buffer.bytes().ends_with(b"aabc") && read_buffer.bytes().len() == 10_002);
        assert_eq!((pool.buffers_out(), pool.account().used()), (1, 20_000));
        read_buffer.release(&mut pool);
        assert_eq!((pool.buffers_out(), pool.account().used()), (0, 0));
    }

    #[test]
    fn what_is_left_moves_to_the_front_when_the_end_is_reached() {
        let (mut pool, mut read_buffer) = (Pool::new(8, 100), ReadBuffer::default());
        put(&mut read_buffer, &mut pool, b"abcdefgh");
        assert!(read_buffer.is_full());
        read_buffer.consume(6);
        assert!(!read_buffer.is_full());
        assert_eq!(read_buffer.spare(&mut pool).len(), 6);
        put(&mut read_buffer, &mut pool, b"ij");
        assert_eq!(read_buffer.bytes(), b"ghij");
        assert_eq!(read_buffer.discard(), 4);
        assert!(read_buffer.is_empty());
    }
}
