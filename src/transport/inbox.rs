//! Floor 1, transport: the bytes that came from the peer and were not used yet.
//!
//! The buffer is borrowed from a [`Pool`] when bytes come and given back when they are used up,
//! so that an idle connection owns none. It is never zeroed again and nothing is moved when
//! bytes are consumed: only two offsets change. (Zero-filling before each read and draining
//! behind each request were measured at seven times the instructions of the whole request.)

/// A stock of equal buffers, lent to [`Inbox`]es, and of write buffers, lent to outboxes.
#[derive(Debug)]
pub struct Pool {
    buffer_bytes: usize,
    read: Vec<Box<[u8]>>,
    write: Vec<Vec<u8>>,
    lent: usize,
}

impl Pool {
    /// How many buffers of each kind are kept when nobody needs them. A turn fills the inboxes
    /// of one chunk of connections at a time, so more than that is rarely wanted at once.
    const KEPT: usize = 64;

    /// A write buffer that grew beyond this is given back to the allocator.
    const WRITE_BYTES_KEPT: usize = 128 << 10;

    /// A pool whose read buffers hold `buffer_bytes` each. Nothing is allocated yet.
    pub fn new(buffer_bytes: usize) -> Pool {
        assert!(buffer_bytes > 0, "an inbox needs room for a byte");
        Pool {
            buffer_bytes,
            read: Vec::new(),
            write: Vec::new(),
            lent: 0,
        }
    }

    /// How many read buffers are out; the simulation holds it against the inboxes.
    pub fn lent(&self) -> usize {
        self.lent
    }

    fn lend(&mut self) -> Box<[u8]> {
        self.lent += 1;
        let bytes = self.buffer_bytes;
        self.read
            .pop()
            .unwrap_or_else(|| vec![0; bytes].into_boxed_slice())
    }

    fn take_back(&mut self, buffer: Box<[u8]>) {
        debug_assert!(self.lent > 0);
        self.lent -= 1;
        if self.read.len() < Pool::KEPT {
            self.read.push(buffer);
        }
    }

    /// An empty vector, with a capacity if one was left behind.
    pub(super) fn lend_vec(&mut self) -> Vec<u8> {
        self.write.pop().unwrap_or_default()
    }

    pub(super) fn take_back_vec(&mut self, mut vec: Vec<u8>) {
        let bytes = vec.capacity();
        if bytes > 0 && bytes <= Pool::WRITE_BYTES_KEPT && self.write.len() < Pool::KEPT {
            vec.clear();
            self.write.push(vec);
        }
    }
}

/// Received bytes, in order, that nobody has consumed.
#[derive(Default, Debug)]
pub struct Inbox {
    /// Present while there are bytes, or room was asked for.
    buffer: Option<Box<[u8]>>,
    start: u32,
    end: u32,
}

impl Inbox {
    /// What has come and was not consumed.
    pub fn bytes(&self) -> &[u8] {
        match &self.buffer {
            Some(buffer) => &buffer[self.start as usize..self.end as usize],
            None => &[],
        }
    }

    /// Whether there is nothing to consume.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether a read would have no room, even after moving what is left to the front.
    pub fn is_full(&self) -> bool {
        match &self.buffer {
            Some(buffer) => (self.end - self.start) as usize == buffer.len(),
            None => false,
        }
    }

    /// Marks the first `n` bytes as used.
    ///
    /// # Panics
    /// If there are fewer than `n`.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= (self.end - self.start) as usize);
        self.start += n as u32;
    }

    /// Marks everything as used, and says how much that was.
    pub fn discard(&mut self) -> usize {
        let n = (self.end - self.start) as usize;
        self.start = self.end;
        n
    }

    /// Room to read into, borrowed from `pool` if need be; empty only if the inbox
    /// [is full](Inbox::is_full). Follow it with [`filled`](Inbox::filled).
    pub fn room<'a>(&'a mut self, pool: &mut Pool) -> &'a mut [u8] {
        let buffer = self.buffer.get_or_insert_with(|| {
            (self.start, self.end) = (0, 0);
            pool.lend()
        });
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end as usize == buffer.len() && self.start > 0 {
            // The one copy: the beginning of a request at the very end of the buffer.
            buffer.copy_within(self.start as usize.., 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut buffer[self.end as usize..]
    }

    /// Says that the first `n` bytes of [`room`](Inbox::room) now hold data.
    pub fn filled(&mut self, n: usize) {
        self.end += n as u32;
        debug_assert!(
            self.buffer
                .as_ref()
                .is_some_and(|b| self.end as usize <= b.len())
        );
    }

    /// Gives the buffer back if nothing is in it.
    pub fn settle(&mut self, pool: &mut Pool) {
        if self.is_empty() {
            self.release(pool);
        }
    }

    /// Gives the buffer back, whatever is in it: the connection ends.
    pub fn release(&mut self, pool: &mut Pool) {
        if let Some(buffer) = self.buffer.take() {
            pool.take_back(buffer);
        }
        (self.start, self.end) = (0, 0);
    }

    /// Whether a buffer of the pool is held here.
    pub fn holds_buffer(&self) -> bool {
        self.buffer.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(inbox: &mut Inbox, pool: &mut Pool, bytes: &[u8]) {
        inbox.room(pool)[..bytes.len()].copy_from_slice(bytes);
        inbox.filled(bytes.len());
    }

    #[test]
    fn an_idle_inbox_owns_no_buffer() {
        let (mut pool, mut inbox) = (Pool::new(8), Inbox::default());
        put(&mut inbox, &mut pool, b"abc");
        assert_eq!((pool.lent(), inbox.bytes()), (1, &b"abc"[..]));
        inbox.settle(&mut pool);
        assert_eq!(pool.lent(), 1, "unread bytes keep it");
        inbox.consume(3);
        inbox.settle(&mut pool);
        assert_eq!((pool.lent(), inbox.holds_buffer()), (0, false));
    }

    #[test]
    fn what_is_left_moves_to_the_front_when_the_end_is_reached() {
        let (mut pool, mut inbox) = (Pool::new(8), Inbox::default());
        put(&mut inbox, &mut pool, b"abcdefgh");
        assert!(inbox.is_full());
        inbox.consume(6);
        assert!(!inbox.is_full());
        assert_eq!(inbox.room(&mut pool).len(), 6);
        put(&mut inbox, &mut pool, b"ij");
        assert_eq!(inbox.bytes(), b"ghij");
        assert_eq!(inbox.discard(), 4);
        assert!(inbox.is_empty());
    }
}
