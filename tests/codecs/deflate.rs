//! permessage-deflate. The oracles are flate2's compressors, its decompressor with the whole
//! message at once, and RFC 1951 read naively.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use oneloop::websocket::deflate::{Deflate, Deflater, Inflater};
use oneloop::websocket::{Opening, Protocols, Violation};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::sorted;
use crate::websocket::{Stopped, inflate_pieces};

const TAIL: &[u8] = b"\0\0\xff\xff";

/// Content that can be compressed in places: noise, runs, and repetitions of earlier bytes, near
/// and far.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![4 => 0..200_usize, 1 => 0..20_000_usize];
    let distance = prop_oneof![1..300_usize, 1..40_000_usize];
    let part = (0..3_u8, length, distance, any::<u32>());
    prop::collection::vec(part, 0..8).prop_map(|parts| {
        let mut content = Vec::new();
        for (kind, length, distance, mut seed) in parts {
            for _ in 0..length {
                let back = content.len().checked_sub(distance);
                content.push(match (kind, back) {
                    (0, _) => {
                        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (seed >> 24) as u8
                    }
                    (1, Some(back)) => content[back],
                    _ => seed as u8,
                });
            }
        }
        content
    })
}

/// A message as a sender may write it: pieces of content, each with a flush after it. The last
/// flush is a kind that may end a message.
fn compressed(
    content: &[u8],
    cuts: &[usize],
    flushes: &[FlushCompress],
    (level, bits): (u32, u8),
    last: FlushCompress,
) -> Vec<u8> {
    let mut compress = Compress::new_with_window_bits(Compression::new(level), false, bits);
    let (mut out, mut from) = (Vec::new(), 0);
    let flushes = flushes.iter().cycle().map(|flush| (*flush, false));
    let ends = cuts.iter().copied().zip(flushes);
    for (cut, (flush, is_last)) in ends.chain([(content.len(), (last, true))]) {
        let mut rest = &content[from..cut];
        from = cut;
        loop {
            let before = compress.total_in();
            out.reserve(rest.len() + 1_000);
            let status = compress
                .compress_vec(rest, &mut out, flush)
                .expect("there is room");
            rest = &rest[(compress.total_in() - before) as usize..];
            let has_room = out.len() < out.capacity();
            match (flush, status) {
                (FlushCompress::Finish, Status::StreamEnd) => break,
                (FlushCompress::Finish, _) => {}
                _ if rest.is_empty() && has_room => break,
                _ => {}
            }
        }
        if flush == FlushCompress::Finish {
            compress.reset();
        }
        if is_last {
            match flush {
                FlushCompress::Finish => out.push(0),
                _ => out.truncate(out.len() - TAIL.len()),
            }
        }
    }
    out
}

/// The output of flate2 for a whole message, and whether flate2 fails. After a block that is marked
/// as the last, decompression starts again.
fn at_once(message: &[u8]) -> (Vec<u8>, bool) {
    let mut decompress = Decompress::new(false);
    let (all, mut used) = ([message, TAIL].concat(), 0);
    let mut out = Vec::new();
    loop {
        out.reserve(1 << 20);
        let before = (decompress.total_in(), out.len());
        let status = decompress.decompress_vec(&all[used..], &mut out, FlushDecompress::Sync);
        used += (decompress.total_in() - before.0) as usize;
        match status {
            Err(_) => return (out, true),
            Ok(Status::StreamEnd) => decompress.reset(false),
            Ok(_) if used == all.len() && out.len() < out.capacity() => return (out, false),
            Ok(_) => assert!(out.len() > before.1, "neither more nor an end"),
        }
    }
}

/// RFC 1951 by the letter, bit by bit, for streams that are known to be good. This decoder reports
/// a number that flate2's decompressor does not: the largest distance.
struct Naive<'a> {
    bytes: &'a [u8],
    /// The number of bits that were read.
    at: usize,
    out: Vec<u8>,
    farthest: usize,
}

/// A Huffman code: the number of symbols of each length, and the symbols in order (§3.2.2).
struct Code {
    counts: [usize; 16],
    symbols: Vec<usize>,
}

impl Code {
    fn new(lengths: &[usize]) -> Code {
        let mut counts = [0; 16];
        lengths.iter().for_each(|length| counts[*length] += 1);
        counts[0] = 0;
        let of = |n| (0..lengths.len()).filter(move |symbol| lengths[*symbol] == n);
        let symbols = (1..16).flat_map(of).collect();
        Code { counts, symbols }
    }
}

impl Naive<'_> {
    fn bits(&mut self, n: usize) -> usize {
        let bit = |at: usize| usize::from(self.bytes[at / 8] >> (at % 8) & 1);
        let value = (0..n).map(|n| bit(self.at + n) << n).sum();
        self.at += n;
        value
    }

    fn symbol(&mut self, code: &Code) -> usize {
        let (mut read, mut first, mut index) = (0, 0, 0);
        for count in &code.counts[1..] {
            read |= self.bits(1);
            if read < first + count {
                return code.symbols[index + read - first];
            }
            index += count;
            first = (first + count) << 1;
            read <<= 1;
        }
        panic!("no such code");
    }

    /// Decodes a block (§3.2.3).
    fn block(&mut self) {
        assert_eq!(self.bits(1), 0, "none of ours is the last");
        match self.bits(2) {
            0 => {
                self.at = self.at.next_multiple_of(8);
                let length = self.bits(16);
                assert_eq!(self.bits(16), length ^ 0xffff);
                for _ in 0..length {
                    let byte = self.bits(8);
                    self.out.push(byte as u8);
                }
            }
            1 => {
                let lengths = [[8; 144].as_slice(), &[9; 112], &[7; 24], &[8; 8]].concat();
                self.codes(&Code::new(&lengths), &Code::new(&[5; 30]));
            }
            2 => {
                const ORDER: [usize; 19] = [
                    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
                ];
                let (literals, distances) = (self.bits(5) + 257, self.bits(5) + 1);
                let mut lengths = [0; 19];
                for place in &ORDER[..self.bits(4) + 4] {
                    lengths[*place] = self.bits(3);
                }
                let code = Code::new(&lengths);
                let mut lengths = Vec::new();
                while lengths.len() < literals + distances {
                    let (length, times) = match self.symbol(&code) {
                        16 => (lengths[lengths.len() - 1], 3 + self.bits(2)),
                        17 => (0, 3 + self.bits(3)),
                        18 => (0, 11 + self.bits(7)),
                        length => (length, 1),
                    };
                    lengths.extend(std::iter::repeat_n(length, times));
                }
                let (literals, distances) = lengths.split_at(literals);
                self.codes(&Code::new(literals), &Code::new(distances));
            }
            _ => panic!("no such block"),
        }
    }

    /// Decodes the symbols of a compressed block (§3.2.5).
    fn codes(&mut self, literals: &Code, distances: &Code) {
        loop {
            let length = match self.symbol(literals) {
                literal @ 0..256 => {
                    self.out.push(literal as u8);
                    continue;
                }
                256 => return,
                symbol @ 257..265 => symbol - 254,
                285 => 258,
                symbol => {
                    let extra = (symbol - 261) / 4;
                    3 + ((4 + (symbol - 265) % 4) << extra) + self.bits(extra)
                }
            };
            let distance = match self.symbol(distances) {
                symbol @ 0..4 => symbol + 1,
                symbol => {
                    let extra = (symbol - 2) / 2;
                    1 + ((2 + symbol % 2) << extra) + self.bits(extra)
                }
            };
            self.farthest = self.farthest.max(distance);
            for _ in 0..length {
                self.out.push(self.out[self.out.len() - distance]);
            }
        }
    }
}

/// Inflates a message of the server. Returns the content and the largest distance.
fn naively_inflated(message: &[u8]) -> (Vec<u8>, usize) {
    let bytes = [message, TAIL].concat();
    let mut naive = Naive {
        bytes: &bytes,
        at: 0,
        out: Vec::new(),
        farthest: 0,
    };
    while naive.at < bytes.len() * 8 {
        naive.block();
    }
    (naive.out, naive.farthest)
}

/// The agreement with a client that asks for a window of so many bits.
fn agreed(bits: u8) -> Deflate {
    let offer = format!("permessage-deflate; server_max_window_bits={bits}");
    let opening = Opening {
        keys: vec![b"dGhlIHNhbXBsZSBub25jZQ=="],
        versions: vec![b"13"],
        extensions: vec![offer.as_bytes()],
        ..Opening::default()
    };
    let accept = opening.accept(Protocols::None).expect("a valid one");
    accept.deflate().expect("it is taken")
}

/// Inflates a message in pieces.
fn inflate(message: &[u8], cuts: &[Index], room: usize, max: usize) -> (Vec<u8>, Option<Stopped>) {
    let (mut pieces, mut from) = (Vec::new(), 0);
    for cut in sorted(cuts, message.len()) {
        pieces.push(&message[from..cut]);
        from = cut;
    }
    pieces.push(&message[from..]);
    inflate_pieces(&mut Inflater::default(), &pieces, room, max)
}

fn room() -> impl Strategy<Value = usize> {
    prop_oneof![1..20_usize, 16_000..17_000_usize, Just(1 << 20)]
}

fn flush() -> impl Strategy<Value = FlushCompress> {
    prop::sample::select(vec![
        FlushCompress::None,
        FlushCompress::Partial,
        FlushCompress::Sync,
        FlushCompress::Full,
        FlushCompress::Finish,
    ])
}

fn last_flush() -> impl Strategy<Value = FlushCompress> {
    let flushes = [
        FlushCompress::Sync,
        FlushCompress::Full,
        FlushCompress::Finish,
    ];
    prop::sample::select(flushes.to_vec())
}

/// A message in any form, and its content.
fn message() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (
        content(),
        prop::collection::vec(any::<Index>(), 0..4),
        prop::collection::vec(flush(), 1..4),
        (0..10_u32, 9..=15_u8),
        last_flush(),
    )
        .prop_map(|(content, cuts, flushes, kind, last)| {
            let cuts = sorted(&cuts, content.len());
            let message = compressed(&content, &cuts, &flushes, kind, last);
            (content, message)
        })
}

proptest! {
    #[test]
    fn whatever_a_sender_may_write_is_inflated_however_it_is_cut(
        (content, message) in message(),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
        room in room(),
        lacking in 1..100_usize,
    ) {
        prop_assert!(at_once(&message) == (content.clone(), false), "the oracle");
        let whole = inflate(&message, &cuts, room, content.len());
        prop_assert!(whole == (content.clone(), None));
        // With a bound that is too small, at most one byte more than the bound comes out.
        if let Some(max) = content.len().checked_sub(lacking) {
            let (out, stopped) = inflate(&message, &cuts, room, max);
            prop_assert!(out[..] == content[..=max] && stopped == Some(Stopped::TooLarge));
        }
    }

    #[test]
    fn damage_comes_to_the_same_as_at_once(
        (_, mut message) in message(),
        changes in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 1..4),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
        room in room(),
    ) {
        for (at, byte, kind) in changes {
            if message.is_empty() {
                break;
            }
            let at = at.index(message.len());
            match kind {
                0 => message[at] = byte,
                1 => message[at] ^= 1 << (byte & 7),
                _ => message.truncate(at),
            }
        }
        agree(&message, &cuts, room)?;
    }

    #[test]
    fn random_bytes_come_to_the_same_as_at_once(
        message in prop::collection::vec(any::<u8>(), 0..60),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
        room in room(),
    ) {
        agree(&message, &cuts, room)?;
    }

    #[test]
    fn what_is_deflated_needs_no_larger_window_than_was_agreed_on(
        contents in prop::collection::vec(content(), 1..4),
        bits in 9..=15_u8,
        cuts in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        let (agreed, mut deflater) = (agreed(bits), Deflater::default());
        prop_assert_eq!(agreed.window_bits(), bits);
        // A series of messages. No message may need the bytes of an earlier one.
        for content in contents {
            let message = deflater.deflate(agreed, &content).to_vec();
            let (inflated, farthest) = naively_inflated(&message);
            prop_assert!(inflated == content, "by the letter");
            prop_assert!(farthest <= 1 << bits, "{farthest} bytes back");
            prop_assert!(inflate(&message, &cuts, 5_000, content.len()) == (content, None));
        }
    }
}

/// Whether any bytes, inflated in pieces, give the same result as flate2.
fn agree(message: &[u8], cuts: &[Index], room: usize) -> Result<(), TestCaseError> {
    let (expected, fails) = at_once(message);
    let stopped = fails.then_some(Stopped::Violation(Violation::Deflate));
    let got = inflate(message, cuts, room, expected.len());
    prop_assert!(
        got == (expected.clone(), stopped),
        "{} bytes",
        expected.len()
    );
    Ok(())
}
