//! Floor 1, websocket: permessage-deflate (RFC 7692 §7).
//!
//! A message is a raw DEFLATE stream (RFC 1951) without the last four bytes, which are the same for
//! every message.
//!
//! Both sides are asked to forget each message when the message ends ("no context takeover"), so a
//! connection keeps no state between two messages. All connections share one compressor for each
//! window size, and a connection borrows an inflater only while a compressed message is arriving.
//! The price is weaker compression of small messages with similar content; about 300 KiB are saved
//! for each connection.

use std::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Violation;

/// The negotiated parameters of permessage-deflate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deflate {
    /// The window requested by the client for messages of the server, 9 to 15; `None` means 15.
    server_max_window_bits: Option<u8>,
}

impl Deflate {
    pub(super) fn with_window_bits(server_max_window_bits: Option<u8>) -> Deflate {
        debug_assert!(server_max_window_bits.is_none_or(|bits| (9..=15).contains(&bits)));
        Deflate {
            server_max_window_bits,
        }
    }

    /// Returns the window of our compressor, as the base-2 logarithm of the size in bytes: 9 to 15.
    pub fn window_bits(self) -> u8 {
        self.server_max_window_bits.unwrap_or(15)
    }
}

/// Writes the answer to the offer, as an element of `Sec-WebSocket-Extensions`.
impl fmt::Display for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permessage-deflate; server_no_context_takeover; client_no_context_takeover")?;
        match self.server_max_window_bits {
            Some(bits) => write!(f, "; server_max_window_bits={bits}"),
            None => Ok(()),
        }
    }
}

/// The end of every compressed message, an empty block without compression. The sender removes
/// these bytes (§7.2.1), and the receiver appends the same bytes again (§7.2.2).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The compressors, one for each window size that a client has requested so far, and their common
/// output buffer.
#[derive(Default)]
pub struct Deflater {
    by_bits: [Option<Box<Compress>>; 7],
    out: Vec<u8>,
    /// The work of all messages since the last [`take_work`](Deflater::take_work).
    work: u32,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deflater")
    }
}

impl Deflater {
    /// The fastest level, because no other thread serves the connections while a message is being
    /// compressed.
    const LEVEL: Compression = Compression::fast();

    /// The number of bytes that are compressed with one unit of work (about a microsecond).
    const BYTES_PER_WORK: usize = 256;

    /// The work of a message besides its bytes: the compressor forgets the message before.
    const MESSAGE_WORK: u32 = 6;

    /// Returns the work done since the last call, for the budget of the connection that caused the work.
    pub fn take_work(&mut self) -> u32 {
        std::mem::take(&mut self.work)
    }

    /// Compresses a message. The result may be longer than the message.
    pub fn deflate(&mut self, agreed: Deflate, payload: &[u8]) -> &[u8] {
        self.work += Self::MESSAGE_WORK + (payload.len() / Self::BYTES_PER_WORK) as u32;
        let bits = agreed.window_bits();
        let compress = self.by_bits[usize::from(bits - 9)].get_or_insert_with(|| {
            // This function panics for 8 bits, but a window of 8 bits is never negotiated.
            Box::new(Compress::new_with_window_bits(Self::LEVEL, false, bits))
        });
        compress.reset();
        self.out.clear();
        self.out.reserve(payload.len() + payload.len() / 256 + 64);
        let mut rest = payload;
        loop {
            let before = compress.total_in();
            let status = compress.compress_vec(rest, &mut self.out, FlushCompress::Sync);
            status.expect("a compressor that is given room does not fail");
            rest = &rest[(compress.total_in() - before) as usize..];
            // A flush is complete when unused space is left in the output.
            if rest.is_empty() && self.out.len() < self.out.capacity() {
                break;
            }
            self.out.reserve(payload.len() / 8 + 64);
        }
        debug_assert!(self.out.ends_with(&TAIL));
        let end = self.out.len() - TAIL.len();
        &self.out[..end]
    }
}

/// A decompressor for messages, one at a time.
pub struct Inflater {
    decompress: Decompress,
    /// The number of bytes of [`TAIL`] that were appended again for the decompressor.
    tail: usize,
    /// Whether the decompressor may have more output without further input.
    pending: bool,
    /// Whether the next bytes cannot be inflated.
    failed: bool,
    /// The output of one call of the decompressor. A call fills all the space available, so each
    /// call is given only as much space as the caller of [`inflate`](Inflater::inflate) allows.
    scratch: Box<[u8]>,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflater")
    }
}

impl Default for Inflater {
    fn default() -> Inflater {
        Inflater {
            // The largest window covers every window that the client may use.
            decompress: Decompress::new_with_window_bits(false, 15),
            tail: 0,
            pending: false,
            failed: false,
            scratch: vec![0; Inflater::SCRATCH_BYTES].into_boxed_slice(),
        }
    }
}

/// The result of [`Inflater::inflate`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inflated {
    /// Only this number of input bytes was used, because the space is full or because the next
    /// bytes cannot be inflated.
    Full(usize),
    /// All input was used. If the input was the last of a message, the message is complete.
    All,
}

impl Inflater {
    const SCRATCH_BYTES: usize = 16 << 10;

    /// The bytes charged to the account of memory for one inflater: the window of 32 KiB, tables,
    /// and the scratch buffer.
    pub const CHARGED_BYTES: usize = 64 << 10;

    /// Begins a new message.
    pub fn begin(&mut self) {
        self.decompress.reset(false);
        (self.tail, self.pending, self.failed) = (0, false, false);
    }

    /// Inflates the next `bytes` of a message, and appends at most `room` bytes to `out`. `last`
    /// means that no further bytes of the message follow. After [`Inflated::Full`] call again with
    /// the bytes not used yet.
    ///
    /// # Errors
    /// [`Violation::Deflate`] if the next bytes cannot be inflated. Then nothing was appended: the
    /// output before the error is always returned first, by a call that succeeds. That output may
    /// contain another violation, such as a text that is not UTF-8, and the cuts of the message
    /// must not decide which of the two violations is reported.
    pub fn inflate(
        &mut self,
        bytes: &[u8],
        last: bool,
        out: &mut Vec<u8>,
        room: usize,
    ) -> Result<Inflated, Violation> {
        let (begin, end) = (out.len(), out.len() + room);
        let mut used = 0;
        // Each round consumes input, produces output, or leads to the end of the loop.
        loop {
            if self.failed {
                return match out.len() > begin {
                    true => Ok(Inflated::Full(used)),
                    false => Err(Violation::Deflate),
                };
            }
            let in_tail = last && used == bytes.len();
            let input = match in_tail {
                true => &TAIL[self.tail..],
                false => &bytes[used..],
            };
            if input.is_empty() && !self.pending {
                return Ok(Inflated::All);
            }
            if out.len() == end {
                return Ok(Inflated::Full(used));
            }
            let space = self.scratch.len().min(end - out.len());
            let space = &mut self.scratch[..space];
            let before = (self.decompress.total_in(), self.decompress.total_out());
            let status = self
                .decompress
                .decompress(input, space, FlushDecompress::Sync);
            let consumed = (self.decompress.total_in() - before.0) as usize;
            let made = (self.decompress.total_out() - before.1) as usize;
            out.extend_from_slice(&space[..made]);
            self.pending = made == space.len();
            match in_tail {
                true => self.tail += consumed,
                false => used += consumed,
            }
            match status {
                // The block was marked as the last (BFINAL). Further blocks may follow even so
                // (§7.2.3.4).
                Ok(Status::StreamEnd) => {
                    self.decompress.reset(false);
                    self.pending = false;
                }
                Ok(Status::Ok | Status::BufError) if consumed == 0 && made == 0 => {
                    match input.is_empty() {
                        true => return Ok(Inflated::All),
                        false => self.failed = true,
                    }
                }
                Ok(Status::Ok | Status::BufError) => {}
                Err(_) => self.failed = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_causes_a_compression_is_charged_for_it_once() {
        let mut deflater = Deflater::default();
        let agreed = Deflate::with_window_bits(None);
        assert_eq!(deflater.take_work(), 0);
        deflater.deflate(agreed, b"hello");
        let small = deflater.take_work();
        deflater.deflate(agreed, &[7; 16 << 10]);
        let large = deflater.take_work();
        assert!(0 < small && 4 * small < large);
        assert_eq!(deflater.take_work(), 0);
    }

    /// Inflates a message in pieces, with space for `room` bytes in each call.
    fn inflate(pieces: &[&[u8]], room: usize) -> Result<Vec<u8>, Violation> {
        let (mut inflater, mut out) = (Inflater::default(), Vec::new());
        inflater.begin();
        for (n, piece) in pieces.iter().enumerate() {
            let (mut rest, last) = (*piece, n + 1 == pieces.len());
            loop {
                let before = out.len();
                let done = inflater.inflate(rest, last, &mut out, room)?;
                assert!(out.len() <= before + room);
                match done {
                    Inflated::Full(used) => rest = &rest[used..],
                    Inflated::All => break,
                }
            }
        }
        Ok(out)
    }

    /// Checks the result for every cut and for little space.
    fn check(message: &[u8], expected: Result<&[u8], Violation>) {
        for room in [1, 2, 3, 100_000] {
            for cut in 0..=message.len().min(40) {
                let (a, b) = message.split_at(cut);
                let got = inflate(&[a, b], room);
                assert_eq!(got.as_deref().map_err(|e| *e), expected, "{cut}, {room}");
            }
            let bytes: Vec<&[u8]> = message.chunks(1).collect();
            let got = inflate(&bytes, room);
            assert_eq!(
                got.as_deref().map_err(|e| *e),
                expected.or_else(|e| match bytes[..] {
                    [] => Ok(&b""[..]),
                    _ => Err(e),
                })
            );
        }
    }

    /// RFC 7692 §7.2.3.
    #[test]
    fn the_examples_of_the_rfc_are_inflated() {
        check(b"\xf2\x48\xcd\xc9\xc9\x07\x00", Ok(b"Hello"));
        // Without compression; with BFINAL set; in two blocks; an empty message, twice.
        check(
            b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
            Ok(b"Hello"),
        );
        check(b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", Ok(b"Hello"));
        let two = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
        check(two, Ok(b"Hello"));
        check(b"\x00", Ok(b""));
        check(b"", Ok(b""));
    }

    #[test]
    fn what_goes_on_behind_a_last_block_is_inflated_too() {
        let twice = b"\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
        check(twice, Ok(b"HelloHello"));
    }

    #[test]
    fn what_is_no_deflate_stream_is_refused() {
        for bytes in [&b"\x07"[..], b"\xff", b"\x00\x05\x00\x00\x00abcde"] {
            assert_eq!(
                inflate(&[bytes], 1000),
                Err(Violation::Deflate),
                "{bytes:x?}"
            );
        }
    }

    /// The message has two errors, first as text and then as DEFLATE. The error in the text must be
    /// found first, even if the message arrives complete.
    #[test]
    fn what_comes_before_something_wrong_is_inflated_first() {
        let message = b"\x00\x05\x00\xfa\xffhell\xff\x07";
        for room in [1, 2, 5, 1000] {
            let (mut inflater, mut out, mut rest) = (Inflater::default(), Vec::new(), &message[..]);
            inflater.begin();
            while out.len() < 5 {
                match inflater.inflate(rest, true, &mut out, room) {
                    Ok(Inflated::Full(used)) => rest = &rest[used..],
                    other => panic!("{other:?} with room for {room}"),
                }
            }
            assert_eq!(out, b"hell\xff");
            let failed = inflater.inflate(rest, true, &mut out, room);
            assert_eq!((failed, out.len()), (Err(Violation::Deflate), 5));
        }
    }

    #[test]
    fn what_was_deflated_is_inflated_with_every_window() {
        let mut deflater = Deflater::default();
        let random = |n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8;
        let text: Vec<u8> = (0..30_000_u32)
            .flat_map(|n| n.to_string().into_bytes())
            .collect();
        let noise: Vec<u8> = (0..100_000).map(random).collect();
        for bits in [None].into_iter().chain((9..=15).map(Some)) {
            let agreed = Deflate::with_window_bits(bits);
            for message in [&b""[..], b"a", &text, &noise, &[0; 70_000], &text[..1000]] {
                let small = deflater.deflate(agreed, message).to_vec();
                assert!(
                    inflate(&[&small], 5_000).as_deref() == Ok(message),
                    "{bits:?}"
                );
            }
        }
    }

    /// The compressor finds no repetition at a distance larger than the window.
    #[test]
    fn the_window_that_was_agreed_on_is_kept_to() {
        let mut seed = 1_u32;
        let mut noise = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        let mut deflater = Deflater::default();
        for bits in 9..=14 {
            let once: Vec<u8> = (0..1 << bits).map(|_| noise()).collect();
            let twice = [&once[..], &once[..]].concat();
            let narrow = deflater.deflate(Deflate::with_window_bits(Some(bits)), &twice);
            assert!(narrow.len() >= twice.len(), "{bits}");
            let wide = deflater.deflate(Deflate::with_window_bits(Some(bits + 1)), &twice);
            assert!(wide.len() < twice.len() * 3 / 4, "{bits}");
        }
    }

    #[test]
    fn a_bomb_fills_the_room_and_no_more() {
        let mut deflater = Deflater::default();
        let bomb = deflater
            .deflate(Deflate::with_window_bits(None), &vec![0; 10 << 20])
            .to_vec();
        let (mut inflater, mut out) = (Inflater::default(), Vec::new());
        inflater.begin();
        let done = inflater.inflate(&bomb, true, &mut out, 1_000).unwrap();
        assert!(matches!(done, Inflated::Full(_)) && out.len() == 1_000);
    }
}
