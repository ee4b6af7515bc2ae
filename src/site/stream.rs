//! Floor 2, site: bodies that are sent slice by slice: files, several ranges of a file, and the
//! output of an encoder. Whenever the write buffer has room, the connection asks for the next slice
//! with [`Site::next_slice`](super::Site::next_slice). An encoder does not wait for room, unless
//! memory is short.

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
    /// A file, or one range of a file.
    File(Box<FileStream<F>>),
    /// Several ranges of a file.
    Multipart(Box<Multipart<F>>),
    /// The output of an encoder for a file.
    Encoding(Box<Encoding<F>>),
}

impl<F> Stream<F> {
    /// Whether the last slice has been returned.
    pub fn is_at_end(&self) -> bool {
        match self {
            Stream::File(stream) => stream.left.bytes() == 0,
            Stream::Multipart(stream) => stream.end.is_none(),
            Stream::Encoding(encoding) => encoding.encoder.is_none(),
        }
    }

    /// Whether the next slice should be made even if the write buffer has no room. Encoders are few
    /// and wanted by others, so an encoder works at the pace of the loop, and not of its reader.
    pub fn runs_ahead(&self) -> bool {
        matches!(self, Stream::Encoding(_))
    }
}

/// An open file, with the stat that the response was begun with. Before each slice, the file is
/// compared with this stat.
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

/// A file, or one range of a file. `left` is the part still to be sent.
#[derive(Debug)]
pub(crate) struct FileStream<F> {
    pub(super) open: OpenFile<F>,
    pub(super) left: ByteRange,
}

/// Several ranges of a file as `multipart/byteranges` (RFC 9110 §14.6).
#[derive(Debug)]
pub(crate) struct Multipart<F> {
    pub(super) open: OpenFile<F>,
    /// Each range still to be sent, after the boundary and the head of its part.
    pub(super) parts: VecDeque<(Box<[u8]>, ByteRange)>,
    /// The boundary after the last part; `None` once sent.
    pub(super) end: Option<Box<[u8]>>,
}

/// A file that is encoded while the response is sent, in chunks (RFC 9112 §7.1).
#[derive(Debug)]
pub(crate) struct Encoding<F> {
    /// The path of the file.
    pub(super) path: Box<[u8]>,
    pub(super) media_type: Cow<'static, str>,
    pub(super) coding: Coding,
    pub(super) content: Content<F>,
    pub(super) stat: Stat,
    pub(super) at: u64,
    /// `None` after the last chunk.
    pub(super) encoder: Option<Encoder>,
    /// The whole output so far, as long as it may be put into the cache at the end.
    pub(super) kept: Option<Vec<u8>>,
    /// The site counts the encoders at work by their permits. `None` after the last chunk: a client
    /// that reads slowly holds no permit.
    pub(super) permit: Option<Rc<()>>,
}

/// The next slice of a body.
#[derive(Debug)]
pub(crate) enum BodySlice<F> {
    /// The slice was appended to the output, with this number of bytes of content: the framing of
    /// chunks is not counted. An encoder may have appended nothing yet.
    Written(usize),
    /// The slice is a part of a file.
    File {
        /// The open file.
        file: Rc<F>,
        /// Offset of the first byte.
        at: u64,
        /// Number of bytes, at least one.
        len: u64,
    },
    /// The file has changed since the response was begun, or cannot be read. The announced body
    /// cannot be completed.
    Broken,
}
