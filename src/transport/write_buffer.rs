//! Floor 1, transport: the bytes that were promised to the peer and not sent yet. The one home
//! of partial writes and of back-pressure.
//!
//! Small things are appended to the *tail*, one growing buffer, so that sixteen pipelined
//! answers leave in one write. Only files and large shared bodies become *segments* of their
//! own. (Segments for everything were measured at one and a half times the cost when
//! pipelined.) A tail that nothing stands in front of leaves by plain `send`, a mixture by
//! `writev`, a file by `sendfile`.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use super::{ChargedBytes, Io, Pool, Transport};

/// How many slices one `writev` gathers; what is more waits for the next round.
const SLICES_MAX: usize = 16;

/// A piece of output that is not copied into the tail.
#[derive(Debug)]
pub(crate) enum Segment<F> {
    /// Bytes of the pool's: what was the tail until a segment came behind it, or a body.
    Owned(Vec<u8>),
    /// Bytes that others hold too: a cached body.
    Shared(Rc<[u8]>),
    /// Bytes for many peers, that weigh once.
    Charged(Rc<ChargedBytes>),
    /// `len` bytes of a file from the offset `at`.
    File {
        /// The open file.
        file: Rc<F>,
        /// Offset of the first byte.
        at: u64,
        /// Number of bytes.
        len: u64,
    },
}

impl<F> Segment<F> {
    fn len(&self) -> u64 {
        match self {
            Segment::Owned(bytes) => bytes.len() as u64,
            Segment::Shared(bytes) => bytes.len() as u64,
            Segment::Charged(shared) => shared.bytes().len() as u64,
            Segment::File { len, .. } => *len,
        }
    }

    /// The bytes in memory; `None` for a file.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Segment::Owned(bytes) => Some(bytes),
            Segment::Shared(bytes) => Some(bytes),
            Segment::Charged(shared) => Some(shared.bytes()),
            Segment::File { .. } => None,
        }
    }
}

/// Output in order: the segments, then the tail.
#[derive(Debug)]
pub(crate) struct WriteBuffer<F> {
    segments: VecDeque<Segment<F>>,
    tail: Vec<u8>,
    /// How much of the first segment, or of the tail when there is none, has been sent.
    sent: u64,
    /// Bytes not sent yet, in all.
    queued: u64,
}

impl<F> Default for WriteBuffer<F> {
    fn default() -> Self {
        WriteBuffer {
            segments: VecDeque::new(),
            tail: Vec::new(),
            sent: 0,
            queued: 0,
        }
    }
}

impl<F> WriteBuffer<F> {
    /// Shared bytes up to this length are copied to the tail: cheaper than a slice of their own.
    const COPIED_BYTES_MAX: usize = 4 << 10;

    /// Bytes not sent yet.
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Whether everything has been handed to the kernel.
    pub fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Whether a mode may add output: fewer than `high` bytes are waiting. Without room there is
    /// no step, without a step no read, and the TCP window holds the peer back.
    pub fn has_room(&self, high: u64) -> bool {
        self.queued < high
    }

    /// The tail, to append to. What `write` appends is counted when it returns.
    pub fn append<R>(&mut self, pool: &mut Pool, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.tail.len();
        let result = pool.append(&mut self.tail, write);
        self.queued += (self.tail.len() - before) as u64;
        result
    }

    /// Adds bytes that are shared with others, by reference if they are many.
    pub fn push_shared(&mut self, bytes: &Rc<[u8]>, pool: &mut Pool) {
        if bytes.len() <= Self::COPIED_BYTES_MAX {
            self.append(pool, |tail| tail.extend_from_slice(bytes));
        } else {
            self.push_segment(Segment::Shared(Rc::clone(bytes)));
        }
    }

    /// The same for bytes that go to many.
    pub fn push_charged(&mut self, shared: &Rc<ChargedBytes>, pool: &mut Pool) {
        if shared.bytes().len() <= Self::COPIED_BYTES_MAX {
            self.append(pool, |tail| tail.extend_from_slice(shared.bytes()));
        } else {
            self.push_segment(Segment::Charged(Rc::clone(shared)));
        }
    }

    /// Adds bytes that [`Pool::append`] has gathered.
    pub fn push_owned(&mut self, bytes: Vec<u8>, pool: &mut Pool) {
        match bytes.is_empty() {
            true => pool.release_vec(bytes),
            false => self.push_segment(Segment::Owned(bytes)),
        }
    }

    /// Adds a piece of a file, which must not be empty.
    pub fn push_file(&mut self, file: Rc<F>, at: u64, len: u64) {
        debug_assert!(len > 0);
        self.push_segment(Segment::File { file, at, len });
    }

    fn push_segment(&mut self, segment: Segment<F>) {
        if !self.tail.is_empty() {
            // `sent` goes on to mean the same bytes: the tail becomes the first segment only if
            // there was none before it.
            let tail = std::mem::take(&mut self.tail);
            self.segments.push_back(Segment::Owned(tail));
        }
        self.queued += segment.len();
        self.segments.push_back(segment);
    }

    /// Makes one system call, or none if the transport is blocked: at most `limit` bytes of a
    /// file, or one write of what is in memory. A file that ends before its promised length
    /// fails: the `Content-Length` can no longer be kept, and the only truthful thing left is
    /// to close (RFC 9112 §8).
    pub fn flush<T>(&mut self, transport: &mut T, limit: usize, pool: &mut Pool) -> Io
    where
        T: Transport<File = F>,
    {
        debug_assert!(!self.is_empty() && limit > 0);
        let skip = self.sent as usize;
        let moved = match self.segments.front() {
            None => transport.write(&self.tail[skip..]),
            Some(Segment::File { file, at, len }) => {
                let rest = (len - self.sent).min(limit as u64) as usize;
                match transport.send_file(file, at + self.sent, rest) {
                    Io::Eof => Io::Failed(io::ErrorKind::UnexpectedEof.into()),
                    moved => moved,
                }
            }
            Some(first) => {
                let bytes = first.bytes().expect("files were matched above");
                match self.segments.get(1) {
                    // A head before its file leaves at once and by itself. Held back to be joined
                    // with it (`MSG_MORE`), it would shift every page of the file within its TCP
                    // segments: measured at 1.3 times the cost of 100 KiB, and 1.7 of 10 MiB.
                    Some(Segment::File { .. }) => transport.write(&bytes[skip..]),
                    _ => self.gather(transport, skip),
                }
            }
        };
        if let Io::Done(n) = moved {
            self.advance(n as u64, pool);
        }
        moved
    }

    /// Writes the leading pieces that are in memory, without the first `skip` bytes.
    fn gather<T: Transport>(&self, transport: &mut T, skip: usize) -> Io {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0;
        let leading = self.segments.iter().map_while(Segment::bytes);
        let all_in_memory = self.segments.iter().all(|s| s.bytes().is_some());
        let tail = all_in_memory.then_some(&self.tail[..]);
        for (slot, bytes) in slices.iter_mut().zip(leading.chain(tail)) {
            *slot = IoSlice::new(if used == 0 { &bytes[skip..] } else { bytes });
            used += 1;
        }
        transport.write_vectored(&slices[..used])
    }

    /// Notes that `n` bytes have left.
    fn advance(&mut self, n: u64, pool: &mut Pool) {
        debug_assert!(n <= self.queued);
        self.sent += n;
        self.queued -= n;
        while let Some(first) = self.segments.front() {
            let len = first.len();
            if self.sent < len {
                break;
            }
            self.sent -= len;
            if let Some(Segment::Owned(bytes)) = self.segments.pop_front() {
                pool.release_vec(bytes);
            }
        }
        if self.queued == 0 {
            self.release(pool);
        }
        self.check();
    }

    /// Drops everything and gives the buffers back.
    pub fn release(&mut self, pool: &mut Pool) {
        for segment in self.segments.drain(..) {
            if let Segment::Owned(bytes) = segment {
                pool.release_vec(bytes);
            }
        }
        pool.release_vec(std::mem::take(&mut self.tail));
        (self.sent, self.queued) = (0, 0);
    }

    /// The books balance: called where offsets move, and by the simulation after every turn.
    pub fn check(&self) {
        debug_assert_eq!(
            self.queued + self.sent,
            self.segments.iter().map(Segment::len).sum::<u64>() + self.tail.len() as u64,
        );
    }
}
