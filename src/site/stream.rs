//! Floor 3, site: bodies that are sent piece by piece: files, several ranges of a file, and what an
//! encoder makes of one. The connection asks for the next piece whenever there is room for it, with
//! [`Site::next_slice`](super::Site::next_slice).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::rc::Rc;

use super::encoding::Encoder;
use super::representation::Content;
use crate::http::{ByteRange, Coding};
use crate::sys::Stat;

/// A body in the middle of being sent.
#[derive(Debug)]
pub(crate) enum Stream<F> {
    /// A stretch of a file.
    File(Box<FileStream<F>>),
    /// Several of them.
    Multipart(Box<Multipart<F>>),
    /// What an encoder makes of a file.
    Encoding(Box<Encoding<F>>),
}

impl<F> Stream<F> {
    /// Whether all pieces have been asked for.
    pub fn is_at_end(&self) -> bool {
        match self {
            Stream::File(stream) => stream.left.bytes() == 0,
            Stream::Multipart(stream) => stream.end.is_none(),
            Stream::Encoding(encoding) => encoding.encoder.is_none(),
        }
    }
}

/// A file, and what it was like when its answer was begun: that is asked again with each piece.
#[derive(Debug)]
pub(super) struct OpenFile<F> {
    pub file: Rc<F>,
    pub stat: Stat,
}

impl<F> OpenFile<F> {
    pub fn new(file: &Rc<F>, stat: Stat) -> OpenFile<F> {
        let file = Rc::clone(file);
        OpenFile { file, stat }
    }
}

/// A stretch of a file.
#[derive(Debug)]
pub(crate) struct FileStream<F> {
    pub(super) open: OpenFile<F>,
    pub(super) left: ByteRange,
}

/// Several ranges of a file as `multipart/byteranges` (RFC 9110 §14.6).
#[derive(Debug)]
pub(crate) struct Multipart<F> {
    pub(super) open: OpenFile<F>,
    /// Each with what goes before it.
    pub(super) parts: VecDeque<(Box<[u8]>, ByteRange)>,
    /// What goes behind the last.
    pub(super) end: Option<Box<[u8]>>,
}

/// A file on its way through an encoder, sent in chunks (RFC 9112 §7.1).
#[derive(Debug)]
pub(crate) struct Encoding<F> {
    /// The file that is encoded.
    pub(super) path: Box<[u8]>,
    pub(super) media_type: Cow<'static, str>,
    pub(super) coding: Coding,
    pub(super) content: Content<F>,
    pub(super) stat: Stat,
    pub(super) at: u64,
    /// `None` when the last chunk has been made.
    pub(super) encoder: Option<Encoder>,
    /// All that has come out, if it may be worth keeping.
    pub(super) kept: Option<Vec<u8>>,
    /// The site counts these as long as they live.
    #[expect(dead_code, reason = "it only has to be held")]
    pub(super) permit: Rc<()>,
}

/// What comes next of a body.
#[derive(Debug)]
pub(crate) enum BodySlice<F> {
    /// It was appended to the output.
    Written,
    /// A stretch of a file.
    File {
        /// The open file.
        file: Rc<F>,
        /// Offset of the first byte.
        at: u64,
        /// Number of bytes, at least one.
        len: u64,
    },
    /// The file is not what it was when its answer was begun, or cannot be read: what was promised
    /// cannot be kept.
    Broken,
}
