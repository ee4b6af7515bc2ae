//! Floor 3, site: content codings made on the fly, a slice at a time.
//!
//! Compressing is the one thing here that computes for long, and the loop has nobody else to do its
//! work meanwhile. So a file goes through its encoder in slices of [`SLICE_BYTES`], each of which uses
//! up its connection's steps for the turn. Measured on program text: a slice of gzip at level 6 takes
//! 0.35 ms at worst, one of brotli at quality 4 with a window of 64 KiB 1.4 ms, and both results are
//! about as small as each other's. (Brotli at quality 5 with the same window: 16 ms; with a larger one
//! 3 to 7 ms.)

use std::io::{self, Write};

use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::http::Coding;

/// Bytes of a file that are encoded at a time.
pub(super) const SLICE_BYTES: usize = 16 << 10;

const GZIP_LEVEL: u32 = 6;
const BROTLI_QUALITY: u32 = 4;
/// The logarithm of the window in bytes.
const BROTLI_WINDOW: u32 = 16;

/// Whether a coding can be made here. Zstandard can only be had ready-made, as a sibling.
pub(super) fn is_made_here(coding: Coding) -> bool {
    match coding {
        Coding::Brotli | Coding::Gzip => true,
        Coding::Zstd | Coding::Identity => false,
    }
}

/// An encoder in the middle of a file.
pub(super) enum Encoder {
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Encoder::Gzip(_) => "Gzip",
            Encoder::Brotli(_) => "Brotli",
        })
    }
}

impl Encoder {
    /// An encoder for a coding that [is made here](is_made_here).
    pub fn new(coding: Coding) -> Encoder {
        let out = Vec::new();
        match coding {
            Coding::Brotli => {
                let buffer = 4096;
                let writer = CompressorWriter::new(out, buffer, BROTLI_QUALITY, BROTLI_WINDOW);
                Encoder::Brotli(Box::new(writer))
            }
            Coding::Gzip => {
                let level = Compression::new(GZIP_LEVEL);
                Encoder::Gzip(Box::new(GzEncoder::new(out, level)))
            }
            Coding::Zstd | Coding::Identity => unreachable!("not made here"),
        }
    }

    /// Encodes `bytes` and returns what has come out, which may be nothing yet.
    ///
    /// # Errors
    /// None in practice: the writer behind it is a vector.
    pub fn encode(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Gzip(encoder) => {
                encoder.write_all(bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Encoder::Brotli(encoder) => {
                encoder.write_all(bytes)?;
                Ok(std::mem::take(encoder.get_mut()))
            }
        }
    }

    /// Ends the stream and returns the rest of it.
    ///
    /// # Errors
    /// As for [`encode`](Encoder::encode).
    pub fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish(),
            Encoder::Brotli(encoder) => Ok(encoder.into_inner()),
        }
    }
}

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
    fn what_was_encoded_in_slices_is_the_whole() {
        let text: Vec<u8> = (0..50_000_u32)
            .flat_map(|n| (n * n).to_string().into_bytes())
            .collect();
        for coding in [Coding::Brotli, Coding::Gzip] {
            for (bytes, slice) in [(&text[..], SLICE_BYTES), (&text, 7), (b"", 1), (b"a", 1)] {
                let mut encoder = Encoder::new(coding);
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
