//! Floor 1, transport: the bytes promised to the peer and not sent yet. Partial writes and
//! back-pressure are handled here and in no other file.
//!
//! Heads, frames and small bodies are appended to the *tail*, one growing buffer. Sixteen pipelined
//! responses can therefore leave in one write. A separate *segment* is made only for a slice of a
//! file, for a body in a separate buffer, and for shared bytes of more than 4 KiB, which are kept
//! by reference. Shared bytes of up to 4 KiB are copied into the tail. (Separate segments for all
//! output were measured at one and a half times the cost for pipelined requests.) A tail without
//! segments leaves by plain `send`, a mixture by `writev`, and a file by `sendfile`.
//!
//! # How much may be queued
//!
//! A mode may add output while fewer than `write_buffer_high` bytes are queued
//! ([`has_room`](WriteBuffer::has_room)). The check comes before the addition, so up to
//! `write_buffer_high` - 1 bytes plus one slice of a file may be queued; a slice has at most
//! `turn_bytes` (256 KiB). The output of an encoder is added in any case, unless memory is tight:
//! at most `encoded_file_bytes_max`, and a little more if the file cannot be compressed. WebSocket
//! messages from endpoints and broadcasts have a separate limit, `write_buffer_max`.
//!
//! A peer that reads slowly may never let the buffer become empty. Bytes that were sent are dropped
//! all the same: when they are as many as the bytes still queued, the rest is moved to the front.
//! So at most one byte is moved for each byte sent, and a buffer holds at most twice the bytes
//! queued. A buffer that is sent whole, as for nearly all answers, moves no byte.
//!
//! A file segment holds an open file and no memory: its bytes count as queued, but the
//! [`Account`](super::pool::Account) is not charged. A cached body is charged once, with its whole
//! length, as long as any write buffer holds a part of it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::rc::Rc;

use super::{ChargedBytes, Io, Pool, Transport};
use crate::sys::SharedBytes;

/// The largest number of slices in one `writev`. Further slices wait for the next round.
const SLICES_MAX: usize = 16;

/// A piece of output outside the tail.
#[derive(Debug)]
pub(crate) enum Segment<F> {
    /// A buffer of the pool: a body, or a former tail that is now followed by a segment.
    Owned(Vec<u8>),
    /// A part of a cached body, shared with the cache. The account is charged for the whole body,
    /// but only once for all write buffers (see [`Pool::hold`]).
    Shared(SharedBytes, Range<usize>),
    /// Bytes for many peers, charged to the account only once.
    Charged(Rc<ChargedBytes>),
    /// A slice of a file. No memory is held for the bytes of the file, so the account is not
    /// charged.
    File {
        /// The open file.
        file: Rc<F>,
        /// The offset of the first byte.
        at: u64,
        /// The number of bytes.
        len: u64,
    },
}

impl<F> Segment<F> {
    fn len(&self) -> u64 {
        match self {
            Segment::Owned(bytes) => bytes.len() as u64,
            Segment::Shared(_, part) => part.len() as u64,
            Segment::Charged(shared) => shared.bytes().len() as u64,
            Segment::File { len, .. } => *len,
        }
    }

    /// Returns the bytes in memory; `None` for a file.
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Segment::Owned(bytes) => Some(bytes),
            Segment::Shared(bytes, part) => Some(&bytes[part.clone()]),
            Segment::Charged(shared) => Some(shared.bytes()),
            Segment::File { .. } => None,
        }
    }
}

/// The output of a connection in order: first the segments, then the tail.
#[derive(Debug)]
pub(crate) struct WriteBuffer<F> {
    segments: VecDeque<Segment<F>>,
    tail: Vec<u8>,
    /// The number of bytes sent of the first segment, or of the tail if there is no segment.
    sent: u64,
    /// The number of bytes not sent yet, in all segments and the tail.
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
    /// Shared bytes of up to this length are copied into the tail, because the copy is cheaper than
    /// a separate slice. Longer bytes are kept by reference.
    const COPIED_BYTES_MAX: usize = 4 << 10;

    /// Returns the number of bytes not sent yet, those of file segments included.
    pub fn queued(&self) -> u64 {
        self.queued
    }

    /// Whether all output has been handed to the kernel.
    pub fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Whether a mode may add output: fewer than `high` bytes are queued.
    ///
    /// This check is the back-pressure of the server: a mode that produces output takes no step
    /// without space, no bytes are read without a step, and then the TCP window closes and holds
    /// the peer back.
    pub fn has_room(&self, high: u64) -> bool {
        self.queued < high
    }

    /// Returns the number of bytes held in memory, sent bytes included. Of bytes for many write buffers,
    /// the holders have equal shares. The capacity of a reused buffer is not the peer's doing, and
    /// does not count.
    pub fn held_bytes(&self) -> usize {
        let of_segment = |segment: &Segment<F>| match segment {
            Segment::Owned(bytes) => bytes.len(),
            Segment::Shared(body, _) => body.len() / body.holders(),
            Segment::Charged(shared) => shared.bytes().len() / Rc::strong_count(shared),
            Segment::File { .. } => 0,
        };
        self.tail.len() + self.segments.iter().map(of_segment).sum::<usize>()
    }

    /// Calls `write` to append to the tail, and then counts the new bytes as queued.
    pub fn append<R>(&mut self, pool: &mut Pool, write: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        let before = self.tail.len();
        let result = pool.append(&mut self.tail, write);
        self.queued += (self.tail.len() - before) as u64;
        result
    }

    /// Prepares for the addition of perhaps `bytes` bytes to an empty write buffer, if these are many.
    /// If the next [`append`](WriteBuffer::append) writes nothing, nothing is held.
    pub fn prepare(&mut self, bytes: usize, pool: &mut Pool) {
        pool.prepare(&mut self.tail, bytes);
    }

    /// Calls `write` to append a head to the tail, and then adds a cached body, if there is one. Up
    /// to 4 KiB of body are copied into the tail; more bytes are kept by reference.
    #[inline(always)]
    pub fn append_with_body(
        &mut self,
        pool: &mut Pool,
        write: impl FnOnce(&mut Vec<u8>),
        body: Option<&SharedBytes>,
    ) {
        let large = self.append(pool, |tail| {
            write(tail);
            let (small, large) = match body {
                Some(body) if body.len() > Self::COPIED_BYTES_MAX => (&[][..], Some(body)),
                Some(body) => (&**body, None),
                None => (&[][..], None),
            };
            tail.extend_from_slice(small);
            large
        });
        if let Some(body) = large {
            self.push_shared(body, 0..body.len(), pool);
        }
    }

    /// Adds a part of a cached body. Up to 4 KiB are copied into the tail; more bytes are kept by
    /// reference.
    pub fn push_shared(&mut self, bytes: &SharedBytes, part: Range<usize>, pool: &mut Pool) {
        if part.len() <= Self::COPIED_BYTES_MAX {
            self.append(pool, |tail| tail.extend_from_slice(&bytes[part]));
        } else {
            pool.hold(bytes);
            self.push_segment(Segment::Shared(bytes.clone(), part));
        }
    }

    /// Adds bytes for many peers. Up to 4 KiB are copied into the tail; more bytes are kept by
    /// reference.
    pub fn push_charged(&mut self, shared: &Rc<ChargedBytes>, pool: &mut Pool) {
        if shared.bytes().len() <= Self::COPIED_BYTES_MAX {
            self.append(pool, |tail| tail.extend_from_slice(shared.bytes()));
        } else {
            self.push_segment(Segment::Charged(Rc::clone(shared)));
        }
    }

    /// Adds bytes gathered by [`Pool::append`], as a segment.
    pub fn push_owned(&mut self, bytes: Vec<u8>, pool: &mut Pool) {
        match bytes.is_empty() {
            true => pool.release_vec(bytes),
            false => self.push_segment(Segment::Owned(bytes)),
        }
    }

    /// Adds `len` bytes of a file from the offset `at` on. `len` must not be 0.
    pub fn push_file(&mut self, file: Rc<F>, at: u64, len: u64) {
        debug_assert!(len > 0);
        self.push_segment(Segment::File { file, at, len });
    }

    /// Drops the last `n` of the queued bytes: the rest of a slice of a file, and what was appended
    /// after the slice.
    pub fn drop_last(&mut self, n: u64, pool: &mut Pool) {
        debug_assert!(n <= self.queued);
        self.queued -= n;
        let of_tail = n.min(self.tail.len() as u64);
        self.tail.truncate(self.tail.len() - of_tail as usize);
        if let Some(Segment::File { len, .. }) = self.segments.back_mut() {
            *len -= n - of_tail;
            if *len == 0 {
                self.segments.pop_back();
            }
        }
        self.give_back(pool);
    }

    fn push_segment(&mut self, segment: Segment<F>) {
        if !self.tail.is_empty() {
            // `sent` still counts the same bytes: the tail becomes the first segment only if there
            // was no segment before.
            let tail = std::mem::take(&mut self.tail);
            self.segments.push_back(Segment::Owned(tail));
        }
        self.queued += segment.len();
        self.segments.push_back(segment);
    }

    /// Makes one system call, or none if the transport is blocked. The call sends at most `limit`
    /// bytes: of a file, or bytes that are in memory.
    ///
    /// A file with fewer bytes than announced results in [`Io::Failed`]: the `Content-Length`
    /// cannot be kept any more, and only a close tells the peer the truth, namely that the message
    /// is incomplete (RFC 9112 §8).
    // Called in one place, for each write.
    #[inline(always)]
    pub fn flush<T>(&mut self, transport: &mut T, limit: usize, pool: &mut Pool) -> Io
    where
        T: Transport<File = F>,
    {
        debug_assert!(!self.is_empty() && limit > 0);
        let skip = self.sent as usize;
        let moved = match self.segments.front() {
            None => transport.write(up_to(limit, &self.tail[skip..])),
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
                    // A head before a file leaves at once and alone. If the head waited to be
                    // joined with the file (`MSG_MORE`), every page of the file would be shifted
                    // within the TCP segments: measured at 1.3 times the cost for 100 KiB, and
                    // 1.7 times for 10 MiB.
                    Some(Segment::File { .. }) => transport.write(up_to(limit, &bytes[skip..])),
                    _ => self.gather(transport, skip, limit),
                }
            }
        };
        if let Io::Done(n) = moved {
            self.advance(n as u64, pool);
        }
        moved
    }

    /// Writes the leading segments that are in memory, without their first `skip` bytes, and at most
    /// `limit` bytes. The tail is included only if no file segment stands before the tail.
    fn gather<T: Transport>(&self, transport: &mut T, skip: usize, mut limit: usize) -> Io {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0;
        let leading = self.segments.iter().map_while(Segment::bytes);
        let all_in_memory = self.segments.iter().all(|s| s.bytes().is_some());
        let tail = all_in_memory.then_some(&self.tail[..]);
        for (slot, bytes) in slices.iter_mut().zip(leading.chain(tail)) {
            let bytes = up_to(limit, if used == 0 { &bytes[skip..] } else { bytes });
            *slot = IoSlice::new(bytes);
            limit -= bytes.len();
            used += 1;
        }
        transport.write_vectored(&slices[..used])
    }

    /// Counts `n` more bytes as sent, and releases the segments sent completely.
    #[inline(always)]
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
            self.release_first(pool);
        }
        self.give_back(pool);
    }

    /// Gives memory back that no queued byte needs.
    #[inline]
    fn give_back(&mut self, pool: &mut Pool) {
        match self.queued {
            0 => self.release(pool),
            _ => self.drop_sent(),
        }
        self.check();
    }

    /// Moves the bytes of a buffer to its front, over the bytes that were sent, if those are many.
    /// Shared bytes are not moved: the other holders need them whole.
    #[inline(never)]
    fn drop_sent(&mut self) {
        if !self.holds_too_much() {
            return;
        }
        let bytes = match self.segments.front_mut() {
            None => &mut self.tail,
            Some(Segment::Owned(bytes)) => bytes,
            Some(Segment::Shared(..) | Segment::Charged(_) | Segment::File { .. }) => return,
        };
        bytes.drain(..self.sent as usize);
        self.sent = 0;
    }

    /// Whether so many of the held bytes were sent that it is time to drop them.
    fn holds_too_much(&self) -> bool {
        self.sent >= self.queued
    }

    /// Drops all output and gives the buffers back to the pool.
    #[inline(always)]
    pub fn release(&mut self, pool: &mut Pool) {
        while !self.segments.is_empty() {
            self.release_first(pool);
        }
        pool.release_vec(std::mem::take(&mut self.tail));
        (self.sent, self.queued) = (0, 0);
    }

    /// Removes the first segment, and gives its memory back.
    fn release_first(&mut self, pool: &mut Pool) {
        match self.segments.pop_front() {
            Some(Segment::Owned(bytes)) => pool.release_vec(bytes),
            Some(Segment::Shared(bytes, _)) => pool.let_go(&bytes),
            Some(Segment::Charged(shared)) => pool.let_go_charged(shared),
            Some(Segment::File { .. }) | None => {}
        }
    }

    /// Checks the counters: the bytes sent of the first segment and the bytes queued add up to the
    /// length of all segments and the tail. Called after each write, and by the simulation after
    /// every turn. And the bytes sent are few, unless they belong to others too.
    pub fn check(&self) {
        let is_owned = matches!(self.segments.front(), None | Some(Segment::Owned(_)));
        debug_assert!(
            self.queued == 0 || !is_owned || !self.holds_too_much(),
            "sent bytes are held"
        );
        debug_assert_eq!(
            self.queued + self.sent,
            self.segments.iter().map(Segment::len).sum::<u64>() + self.tail.len() as u64,
        );
    }
}

/// Returns the first `limit` bytes, or all if there are fewer.
fn up_to(limit: usize, bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Ready;

    /// A peer that takes `n` bytes with each write.
    struct Slow {
        n: usize,
        received: Vec<u8>,
    }

    impl Transport for Slow {
        type File = ();

        fn mark(&mut self, _: Ready) {}

        fn is_drained(&self) -> bool {
            true
        }

        fn ready(&self) -> Ready {
            Ready::default()
        }

        fn read(&mut self, _: &mut [u8]) -> Io {
            Io::Blocked
        }

        fn write(&mut self, bytes: &[u8]) -> Io {
            let n = bytes.len().min(self.n);
            self.received.extend_from_slice(&bytes[..n]);
            Io::Done(n)
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Io {
            self.write(&slices.iter().flat_map(|s| s.to_vec()).collect::<Vec<_>>())
        }

        fn send_file(&mut self, (): &(), _: u64, _: usize) -> Io {
            unreachable!("no file is sent")
        }

        fn finish_write(&mut self) -> Io {
            Io::Done(1)
        }

        fn reset_at_close(&mut self) {}
    }

    /// Adds pieces as long as there is room, and lets the peer take `n` bytes after each round, 200
    /// times. Returns the largest number of bytes on the account.
    fn held(n: usize, room: u64, add: impl Fn(&mut WriteBuffer<()>, &mut Pool, u8)) -> usize {
        let (mut pool, mut buffer) = (Pool::new(8, usize::MAX), WriteBuffer::default());
        let received = Vec::new();
        let mut peer = Slow { n, received };
        let (mut most, mut number) = (0, 0_u8);
        for _ in 0..200 {
            while buffer.has_room(room) {
                add(&mut buffer, &mut pool, number);
                number = number.wrapping_add(1);
            }
            most = most.max(pool.account().used());
            let moved = buffer.flush(&mut peer, usize::MAX, &mut pool);
            assert!(matches!(moved, Io::Done(_)) && !buffer.is_empty());
        }
        assert_eq!(peer.received.len(), 200 * n);
        let in_order = |pair: &[u8]| pair[0] == pair[1] || pair[0].wrapping_add(1) == pair[1];
        assert!(peer.received.windows(2).all(in_order));
        buffer.release(&mut pool);
        assert_eq!(pool.account().used(), 0);
        most
    }

    #[test]
    fn bytes_that_were_sent_are_dropped_although_the_buffer_is_never_empty() {
        let small = |buffer: &mut WriteBuffer<()>, pool: &mut Pool, number: u8| {
            buffer.append(pool, |tail| tail.extend_from_slice(&[number; 100]));
        };
        // A vector has up to twice the needed capacity, and holds up to twice the bytes queued.
        for n in [1, 99, 1_000, 9_000] {
            assert!(held(n, 10_000, small) <= 4 * 10_100, "{n}");
        }
    }

    #[test]
    fn segments_keep_their_order_when_sent_bytes_are_dropped() {
        let both = |buffer: &mut WriteBuffer<()>, pool: &mut Pool, number: u8| {
            buffer.append(pool, |tail| tail.extend_from_slice(&[number; 3_000]));
            let shared: SharedBytes = vec![number; 5_000].into();
            buffer.append_with_body(pool, |_| (), Some(&shared));
        };
        for n in [7, 2_900, 5_100] {
            assert!(held(n, 20_000, both) <= 4 * 28_000, "{n}");
        }
    }

    /// The cache may have evicted the bytes by now, and then the write buffers alone hold them.
    #[test]
    fn a_shared_body_is_on_the_account_once_and_until_its_last_part_is_sent() {
        let mut pool = Pool::new(8, usize::MAX);
        let body: SharedBytes = vec![7; 100_000].into();
        let mut buffers = [(); 3].map(|()| WriteBuffer::default());
        for buffer in &mut buffers {
            buffer.push_shared(&body, 0..50_000, &mut pool);
            buffer.push_shared(&body, 60_000..100_000, &mut pool);
            assert_eq!(buffer.queued(), 90_000);
            assert_eq!(pool.account().used(), 100_000);
        }
        let (n, received) = (50_000, Vec::new());
        let mut peer = Slow { n, received };
        for _ in 0..2 {
            for buffer in &mut buffers[1..] {
                assert_eq!(pool.account().used(), 100_000);
                buffer.flush(&mut peer, usize::MAX, &mut pool);
            }
        }
        assert!(buffers[1..].iter().all(WriteBuffer::is_empty));
        assert_eq!(
            (peer.received.len(), pool.account().used()),
            (180_000, 100_000)
        );
        buffers[0].release(&mut pool);
        assert_eq!(pool.account().used(), 0);
    }
}
