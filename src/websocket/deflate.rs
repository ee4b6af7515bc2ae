//! Floor 1, websocket: permessage-deflate (RFC 7692 §7).
//!
//! A message is a raw DEFLATE stream (RFC 1951) without its last four bytes, which are always the same.
//! Both sides are asked to forget a message when it ends ("no context takeover"), so nothing is kept for a
//! connection between two messages: there is one compressor for all, and an inflater is lent for as long
//! as a message takes to come. That costs some of the compression of small messages that are alike, and
//! saves about 300 KiB for each connection.

use std::fmt;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Violation;

/// What was agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deflate {
    /// What the client has asked for, 9 to 15; `None` is 15.
    server_max_window_bits: Option<u8>,
}

impl Deflate {
    pub(super) fn with_window_bits(server_max_window_bits: Option<u8>) -> Deflate {
        debug_assert!(server_max_window_bits.is_none_or(|bits| (9..=15).contains(&bits)));
        Deflate {
            server_max_window_bits,
        }
    }

    /// The window of what we compress, as the logarithm of its size in bytes: 9 to 15.
    pub fn window_bits(self) -> u8 {
        self.server_max_window_bits.unwrap_or(15)
    }
}

/// As the answer to the offer.
impl fmt::Display for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permessage-deflate; server_no_context_takeover; client_no_context_takeover")?;
        match self.server_max_window_bits {
            Some(bits) => write!(f, "; server_max_window_bits={bits}"),
            None => Ok(()),
        }
    }
}

/// What every message ends with before it is sent (§7.2.1): an empty block without compression.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The compressors, one for each size of window that was ever asked for, and where they write.
#[derive(Default)]
pub struct Deflater {
    by_bits: [Option<Box<Compress>>; 7],
    out: Vec<u8>,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deflater")
    }
}

impl Deflater {
    /// The fastest level: the loop has nobody else to do its work meanwhile.
    const LEVEL: Compression = Compression::fast();

    /// Compresses a message. The result may be the longer one.
    pub fn deflate(&mut self, agreed: Deflate, payload: &[u8]) -> &[u8] {
        let bits = agreed.window_bits();
        let compress = self.by_bits[usize::from(bits - 9)].get_or_insert_with(|| {
            // It would panic at 8, which is never agreed on.
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
            // A flush is complete when it leaves room.
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

/// Inflates messages, one at a time.
pub struct Inflater {
    decompress: Decompress,
    /// How much of the tail that the sender has cut off has been put back.
    tail: usize,
    /// The decompressor may have more to give without being given more.
    pending: bool,
    /// What comes next cannot be inflated.
    failed: bool,
    /// Where it writes: what it has room for is what it makes, and that must not be more than is wanted.
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
            // Whatever window the client uses, this one covers it.
            decompress: Decompress::new_with_window_bits(false, 15),
            tail: 0,
            pending: false,
            failed: false,
            scratch: vec![0; Inflater::SCRATCH_BYTES].into_boxed_slice(),
        }
    }
}

/// What [`Inflater::inflate`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inflated {
    /// There was no room for more, or something is wrong with what comes next. This many bytes were used.
    Full(usize),
    /// All was used. If it was the last of the message, the message is whole.
    All,
}

impl Inflater {
    const SCRATCH_BYTES: usize = 16 << 10;

    /// What one weighs: the window of 32 KiB, tables, and the scratch.
    pub const CHARGED_BYTES: usize = 64 << 10;

    /// Begins a message.
    pub fn begin(&mut self) {
        self.decompress.reset(false);
        (self.tail, self.pending, self.failed) = (0, false, false);
    }

    /// Inflates the next `bytes` of a message, of which `last` says that no more follow, and appends at
    /// most `room` bytes to `out`. When there was more, call again with what was not used.
    ///
    /// # Errors
    /// [`Violation::Deflate`], with nothing appended: what can be inflated before it is given first, since
    /// it may be wrong in a way of its own, and how the message was cut must not decide which is seen.
    pub fn inflate(
        &mut self,
        bytes: &[u8],
        last: bool,
        out: &mut Vec<u8>,
        room: usize,
    ) -> Result<Inflated, Violation> {
        let (begin, end) = (out.len(), out.len() + room);
        let mut used = 0;
        // Each round uses a byte, fills some of the room, or ends it.
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
                // A block that said it was the last one. Others may follow all the same (§7.2.3.4).
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

    /// Inflates a message that comes in pieces, with so much room at a time.
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

    /// However it is cut, and however little room there is.
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
        // Without compression; with a block that says it is the last; in two blocks; nothing.
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

    /// A message that would be wrong twice, as text first: that is seen even if it came whole.
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

    /// What was there before is not found again where it is further back than the window reaches.
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
