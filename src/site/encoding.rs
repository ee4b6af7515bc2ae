//! Floor 2, site: content codings (RFC 9110 §8.4.1) made on the fly, a slice at a time.
//!
//! Compressing is the only long computation of the site, and while it runs, the single thread moves
//! no other connection. A file therefore goes through its encoder in slices of [`SLICE_BYTES`], and
//! each slice uses up the steps that its connection has for the turn.
//!
//! Measured on program text: a slice takes at most 0.35 ms with gzip at level 6, and 1.4 ms with
//! brotli at quality 4 and a window of 64 KiB. Both results have about the same size: of a bundle of
//! program text, 83,176 bytes with gzip in 3.6 ms, and 84,323 with brotli in 4.5 ms. Brotli is
//! therefore made only for a client that does not weigh gzip equally. (Brotli at
//! quality 5 takes 16 ms with the same window, and 3 to 7 ms with a larger window.)

use std::cell::RefCell;
use std::io::{self, Write};
use std::mem;
use std::rc::Rc;

use brotli::Allocator;
use brotli::enc::writer::CompressorWriterCustomAlloc;
use brotli::enc::{BrotliAlloc, StandardAlloc};
use flate2::{Compress, Compression, FlushCompress, Status};

use crate::http::Coding;
use crate::sys::free;

/// The number of bytes of a file that are encoded at a time.
pub(super) const SLICE_BYTES: usize = 16 << 10;

const GZIP_LEVEL: u32 = 6;
const BROTLI_QUALITY: u32 = 4;
/// The base-2 logarithm of the window size in bytes.
const BROTLI_WINDOW: u32 = 16;

/// Whether this module can make a coding. Zstandard is served only from a sibling file.
pub(super) fn is_made_here(coding: Coding) -> bool {
    match coding {
        Coding::Brotli | Coding::Gzip => true,
        Coding::Zstd | Coding::Identity => false,
    }
}

/// Whether a file may be in this coding, judged by its length and its first bytes. An interrupted
/// build leaves files that are empty or cut short, or files in no coding at all.
pub(super) fn may_be_in(coding: Coding, length: u64, beginning: &[u8]) -> bool {
    match coding {
        // A header of 10 bytes and a trailer of 8. DEFLATE is the only method (RFC 1952 §2.3).
        Coding::Gzip => length >= 18 && beginning.starts_with(&[0x1f, 0x8b, 8]),
        // A frame, or a frame that decoders skip (RFC 8878 §3.1).
        Coding::Zstd => matches!(
            beginning,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]
        ),
        // Brotli has no mark at the beginning, but no stream is empty (RFC 7932 §9.1).
        Coding::Brotli => length > 0,
        Coding::Identity => true,
    }
}

/// The encoders of a site: new ones, and the memory of those that have ended.
///
/// An encoder needs 372 KiB (gzip) or 772 KiB (brotli). glibc takes so much from the system, and would take
/// less from it once it was [freed](free). So the memory for gzip is kept, and that for brotli is made
/// small before it is freed. (Measured by `benches/soak` for two minutes, with 16 MB of cache: 66 MB were
/// left at the end, and 116 before.)
#[derive(Default, Debug)]
pub(super) struct Encoders {
    /// The compressors for gzip that are not in use.
    spare: Spare,
}

type Spare = Rc<RefCell<Vec<Compress>>>;

impl Encoders {
    /// Begins to encode in a coding that [is made here](is_made_here). Never inlined, like each function of
    /// an encoder: the state, many KiB, passes through the frames of some of them, and every caller of
    /// an ordinary request would touch as many pages of the stack.
    #[inline(never)]
    pub fn begin(&self, coding: Coding) -> Encoder {
        match coding {
            Coding::Brotli => {
                let mut memory = ShrunkAlloc::default();
                let buffer = memory.alloc_cell(4096);
                let (quality, window) = (BROTLI_QUALITY, BROTLI_WINDOW);
                let out = Vec::new();
                let writer = Brotli::new(out, buffer, memory, quality, window);
                Encoder::Brotli(Box::new(writer))
            }
            Coding::Gzip => Encoder::Gzip(Box::new(Gzip::new(&self.spare))),
            Coding::Zstd | Coding::Identity => unreachable!("not made here"),
        }
    }

    /// Encodes all of `bytes`, which are few, in a coding that [is made here](is_made_here).
    pub fn whole(&self, coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut encoder = self.begin(coding);
        let begun = encoder.encode(bytes);
        let coded = begun.and_then(|begun| Ok([begun, encoder.finish()?].concat()));
        coded.expect("a vector takes everything")
    }
}

/// An encoder in the middle of a file.
pub(super) enum Encoder {
    Gzip(Box<Gzip>),
    Brotli(Box<Brotli>),
}

type Brotli = CompressorWriterCustomAlloc<Vec<u8>, Cell<u8>, ShrunkAlloc>;

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Encoder::Gzip(_) => "Gzip",
            Encoder::Brotli(_) => "Brotli",
        })
    }
}

impl Encoder {
    /// Encodes `bytes` and returns the output so far, which may be empty.
    ///
    /// # Errors
    /// None in practice, because the encoder writes to a vector.
    #[inline(never)]
    pub fn encode(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Gzip(encoder) => encoder.encode(bytes, FlushCompress::None),
            Encoder::Brotli(encoder) => {
                encoder.write_all(bytes)?;
                Ok(mem::take(encoder.get_mut()))
            }
        }
    }

    /// Ends the stream and returns the rest of the output.
    ///
    /// # Errors
    /// As for [`encode`](Encoder::encode).
    #[inline(never)]
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Gzip(mut encoder) => encoder.encode(&[], FlushCompress::Finish),
            Encoder::Brotli(encoder) => Ok(encoder.into_inner()),
        }
    }
}

/// An encoder for gzip (RFC 1952), whose compressor returns to the spare ones.
pub(super) struct Gzip {
    /// `None` only while the encoder is dropped.
    compress: Option<Compress>,
    spare: Spare,
}

impl Gzip {
    /// The number of compressors that are kept.
    const KEPT: usize = 4;

    /// The base-2 logarithm of the window size in bytes, the largest that there is.
    const WINDOW: u8 = 15;

    /// The space for output that each call of the compressor has at least.
    const SPACE: usize = 8 << 10;

    fn new(spare: &Spare) -> Gzip {
        let fresh = || Compress::new_gzip(Compression::new(GZIP_LEVEL), Self::WINDOW);
        let compress = spare.borrow_mut().pop().unwrap_or_else(fresh);
        Gzip {
            compress: Some(compress),
            spare: Rc::clone(spare),
        }
    }

    /// Compresses all of `bytes`, and ends the stream if `flush` says so.
    fn encode(&mut self, mut bytes: &[u8], flush: FlushCompress) -> io::Result<Vec<u8>> {
        let compress = self.compress.as_mut().expect("it is not dropped yet");
        let mut out = Vec::new();
        loop {
            out.reserve(Self::SPACE);
            let before = compress.total_in();
            let status = compress.compress_vec(bytes, &mut out, flush)?;
            bytes = &bytes[(compress.total_in() - before) as usize..];
            // If space is left over, the compressor has no more output for now.
            let is_done = bytes.is_empty() && out.len() < out.capacity();
            if status == Status::StreamEnd || (is_done && flush == FlushCompress::None) {
                return Ok(out);
            }
        }
    }
}

impl Drop for Gzip {
    fn drop(&mut self) {
        let mut spare = self.spare.borrow_mut();
        if let Some(mut compress) = self.compress.take()
            && spare.len() < Self::KEPT
        {
            compress.reset();
            spare.push(compress);
        }
    }
}

/// The memory of an encoder for brotli, which is made small before it is freed.
#[derive(Clone, Default)]
pub(super) struct ShrunkAlloc(StandardAlloc);

type Cell<T> = <StandardAlloc as Allocator<T>>::AllocatedMemory;

impl<T: Clone + Default> Allocator<T> for ShrunkAlloc {
    type AllocatedMemory = Cell<T>;

    fn alloc_cell(&mut self, len: usize) -> Cell<T> {
        self.0.alloc_cell(len)
    }

    fn free_cell(&mut self, cell: Cell<T>) {
        let cell: Box<[T]> = cell.into();
        free(cell.into_vec());
    }
}

impl BrotliAlloc for ShrunkAlloc {}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
            _ => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
        }
        .expect("valid");
        out
    }

    #[test]
    fn a_coding_shows_in_the_first_bytes_of_a_file() {
        let gzip = Encoders::default().whole(Coding::Gzip, b"");
        let brotli = Encoders::default().whole(Coding::Brotli, b"");
        let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x00, 0x01, 0x00, 0x00];
        for (coding, bytes, expected) in [
            (Coding::Gzip, &gzip[..], true),
            (Coding::Gzip, &gzip[..17], false),
            (Coding::Gzip, b"", false),
            (Coding::Gzip, b"alert('this is a script');", false),
            (Coding::Zstd, &zstd, true),
            (Coding::Zstd, b"\x50\x2a\x4d\x18\0\0\0\0", true),
            (Coding::Zstd, &zstd[..3], false),
            (Coding::Zstd, &gzip, false),
            (Coding::Brotli, &brotli, true),
            (Coding::Brotli, b"", false),
        ] {
            let got = may_be_in(coding, bytes.len() as u64, bytes);
            assert_eq!(got, expected, "{coding:?} {}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_was_encoded_in_slices_is_the_whole() {
        let text: Vec<u8> = (0..50_000_u32)
            .flat_map(|n| (n * n).to_string().into_bytes())
            .collect();
        let encoders = Encoders::default();
        for coding in [Coding::Brotli, Coding::Gzip] {
            for (bytes, slice) in [(&text[..], SLICE_BYTES), (&text, 7), (b"", 1), (b"a", 1)] {
                let mut encoder = encoders.begin(coding);
                let mut out = Vec::new();
                for slice in bytes.chunks(slice).take(20_000) {
                    out.extend(encoder.encode(slice).unwrap());
                }
                out.extend(encoder.finish().unwrap());
                let whole = bytes.len().min(slice * 20_000);
                assert!(decoded(coding, &out) == bytes[..whole], "{coding:?}");
            }
        }
    }
}
