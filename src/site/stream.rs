//! Floor 2, site: bodies that are sent slice by slice: files, several ranges of a file, and the
//! output of an encoder. Whenever the write buffer has room, the connection asks for the next slice
//! with [`Site::next_slice`](super::Site::next_slice). An encoder does not wait for room, unless
//! memory is short.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::SystemTime;

use super::cache::Lookup;
use super::encoding::{self, Encoder};
use super::freshness::Freshness;
use super::listing::Listing;
use super::live::Page;
use super::representation::{Content, Representation, Sample, Source, Varies, is_settled};
use super::{FileError, Files, Parts, Site, media_type};
use crate::http::{ByteRange, Coding};
use crate::sys::{SharedBytes, Stat, Storage};

/// A body in the middle of being sent.
#[derive(Debug)]
pub(crate) enum Stream<F> {
    /// A file, or one range of a file.
    File(Box<FileStream<F>>),
    /// A page with the script of live reload, whose rest is in a file.
    Page(Box<PageStream<F>>),
    /// Several ranges of a file.
    Multipart(Box<Multipart<F>>),
    /// The output of an encoder for a file.
    Encoding(Box<Encoding<F>>),
    /// The list of a large directory.
    Listing(Box<Listing<F>>),
}

impl<F> Stream<F> {
    /// Whether the last slice has been returned.
    pub fn is_at_end(&self) -> bool {
        match self {
            Stream::File(stream) => stream.left.bytes() == 0,
            Stream::Page(stream) => stream.begin.is_none() && stream.rest.left.bytes() == 0,
            Stream::Multipart(stream) => stream.parts.is_at_end(),
            Stream::Encoding(encoding) => encoding.encoder.is_none(),
            Stream::Listing(listing) => listing.is_at_end(),
        }
    }

    /// The file whose slices are sent; `None` if the slices are made in memory.
    fn open_file(&mut self) -> Option<&mut OpenFile<F>> {
        match self {
            Stream::File(stream) => Some(&mut stream.open),
            Stream::Page(stream) => Some(&mut stream.rest.open),
            Stream::Multipart(stream) => Some(&mut stream.open),
            Stream::Encoding(_) | Stream::Listing(_) => None,
        }
    }

    /// The stat of the file whose content is sent or encoded; `None` if the content is in memory, or
    /// no file.
    pub(super) fn stat(&self) -> Option<&Stat> {
        match self {
            Stream::File(stream) => Some(&stream.open.stat),
            Stream::Multipart(stream) => Some(&stream.open.stat),
            Stream::Encoding(encoding) => match &encoding.content {
                Original::File(open) => Some(&open.stat),
                Original::Memory(_) | Original::Page { .. } => None,
            },
            Stream::Page(_) | Stream::Listing(_) => None,
        }
    }

    /// The content that is encoded, if it is in memory.
    pub(super) fn original(&self) -> Option<&[u8]> {
        match self {
            Stream::Encoding(encoding) => match &encoding.content {
                Original::Memory(bytes) => Some(bytes),
                Original::File(_) | Original::Page { .. } => None,
            },
            Stream::File(_) | Stream::Page(_) | Stream::Multipart(_) | Stream::Listing(_) => None,
        }
    }

    /// Whether the end of the connection is the end of the body (RFC 9112 §6.3, rule 8), because no
    /// length was announced to a client that knows no chunks.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self, Stream::Listing(listing) if listing.ends_with_connection())
    }

    /// The memory that the stream holds for its peer and that grows with each slice, in bytes.
    pub fn held_bytes(&self) -> usize {
        match self {
            Stream::Listing(listing) => listing.held_bytes(),
            Stream::File(_) | Stream::Page(_) | Stream::Multipart(_) | Stream::Encoding(_) => 0,
        }
    }

    /// Whether the next slice should be made even if the write buffer has no room. Encoders are few
    /// and wanted by others, so an encoder works at the pace of the loop, and not of its reader.
    pub fn runs_ahead(&self) -> bool {
        matches!(self, Stream::Encoding(_))
    }
}

/// An open file, with the stat that the response was begun with. Before each slice, the file is compared
/// with this stat, but for a first slice in the epoch that has just compared them by the path. They are
/// compared once more if the last slice does not leave at once.
#[derive(Debug)]
pub(super) struct OpenFile<F> {
    file: Rc<F>,
    /// The stat when the file was last found to be intact.
    stat: Stat,
    /// The length of the file, in bytes, that the response promises.
    promised: u64,
    /// The sample of the file with this length.
    sample: Sample,
    /// The epoch in which file and stat were last compared.
    checked: u64,
    /// Whether no slice was returned yet.
    is_new: bool,
}

impl<F> OpenFile<F> {
    pub fn new(file: &Rc<F>, stat: Stat, sample: Sample, epoch: u64) -> OpenFile<F> {
        OpenFile {
            file: Rc::clone(file),
            stat,
            promised: stat.size,
            sample,
            checked: epoch,
            is_new: true,
        }
    }
}

/// A file, or one range of a file. `left` is the part still to be sent.
#[derive(Debug)]
pub(crate) struct FileStream<F> {
    pub(super) open: OpenFile<F>,
    pub(super) left: ByteRange,
}

impl<F> FileStream<F> {
    /// The open file.
    pub(super) fn file(&self) -> &F {
        &self.open.file
    }
}

/// A page with a tag: its first bytes with the tag, and the rest in a file.
#[derive(Debug)]
pub(crate) struct PageStream<F> {
    /// `None` when the bytes were sent.
    begin: Option<SharedBytes>,
    rest: FileStream<F>,
}

impl<F> PageStream<F> {
    /// The bytes, and the file from this offset on.
    pub(super) fn new(begin: SharedBytes, from: u64, mut rest: FileStream<F>) -> PageStream<F> {
        rest.left.start = from.min(rest.left.end);
        PageStream {
            begin: Some(begin),
            rest,
        }
    }
}

/// Several ranges of a file as `multipart/byteranges` (RFC 9110 §14.6).
#[derive(Debug)]
pub(crate) struct Multipart<F> {
    pub(super) open: OpenFile<F>,
    /// The parts that were not begun yet.
    pub(super) parts: Parts,
    /// The rest of the part that was begun last; may be empty.
    pub(super) left: ByteRange,
}

/// Content that is encoded while the response is sent, in chunks (RFC 9112 §7.1).
#[derive(Debug)]
pub(crate) struct Encoding<F> {
    pub(super) coding: Coding,
    pub(super) content: Original<F>,
    /// The length of the content in bytes.
    pub(super) size: u64,
    pub(super) at: u64,
    /// `None` after the last chunk.
    pub(super) encoder: Option<Encoder>,
    /// The entry for the cache, as long as the output may be put into it.
    pub(super) kept: Option<Kept>,
    /// The site counts the encoders at work by their permits. `None` after the last chunk: a client
    /// that reads slowly holds no permit.
    pub(super) permit: Option<Rc<()>>,
}

/// The output of an encoder, on its way into the cache.
#[derive(Debug)]
pub(super) struct Kept {
    place: Place,
    /// The whole output so far.
    bytes: Storage,
}

/// The place at which the output of an encoder is kept.
#[derive(Debug)]
enum Place {
    /// Beside a file.
    File {
        path: Box<[u8]>,
        media_type: Cow<'static, str>,
        varies: Varies,
        /// The stat of the file when the response was begun.
        stat: Stat,
    },
    /// With a page that has the script of live reload.
    Page(Rc<Page>),
}

impl Kept {
    /// The output is kept beside the file at a path.
    pub fn file(
        path: Box<[u8]>,
        media_type: Cow<'static, str>,
        varies: Varies,
        stat: Stat,
    ) -> Kept {
        let place = Place::File {
            path,
            media_type,
            varies,
            stat,
        };
        let bytes = Storage::default();
        Kept { place, bytes }
    }

    /// The output is kept with a page.
    pub fn page(page: &Rc<Page>) -> Kept {
        let place = Place::Page(Rc::clone(page));
        let bytes = Storage::default();
        Kept { place, bytes }
    }
}

/// The content that is encoded.
#[derive(Debug)]
pub(super) enum Original<F> {
    Memory(SharedBytes),
    File(OpenFile<F>),
    /// These bytes, and then the file from an offset on.
    Page {
        begin: SharedBytes,
        from: u64,
        open: OpenFile<F>,
    },
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

/// Bodies that are sent slice by slice.
impl<F: Files> Site<F> {
    /// The cost of encoding one slice, in units of work: more than a connection has in a turn by
    /// default ([`Limits::connection_work`](crate::config::Limits::connection_work)), so a connection
    /// encodes one slice a turn.
    const SLICE: u32 = 500;

    /// Returns the next slice of a body that is not [at its end](Stream::is_at_end), and the cost
    /// of the slice in units of work.
    ///
    /// A slice of a file has at most `max` bytes, and the caller sends it. The head of a part and
    /// the output of an encoder are appended to `out` instead. `max` does not apply to them, but
    /// heads are short, and an encoder takes at most 16 KiB of a file at a time.
    pub(crate) fn next_slice(
        &mut self,
        stream: &mut Stream<F::File>,
        max: u64,
        out: &mut Vec<u8>,
        now: SystemTime,
    ) -> (BodySlice<F::File>, u32) {
        debug_assert!(!stream.is_at_end());
        match stream {
            Stream::File(stream) => {
                let slice = self.slice_of(&mut stream.open, &mut stream.left, max);
                (slice, 1)
            }
            Stream::Page(stream) => {
                if let Some(begin) = stream.begin.take() {
                    out.extend_from_slice(&begin);
                    return (BodySlice::Written(begin.len()), 1);
                }
                let slice = self.slice_of(&mut stream.rest.open, &mut stream.rest.left, max);
                (slice, 1)
            }
            Stream::Multipart(stream) => {
                if stream.left.bytes() > 0 {
                    let slice = self.slice_of(&mut stream.open, &mut stream.left, max);
                    return (slice, 1);
                }
                let before = out.len();
                if let Some(range) = stream.parts.begin_next(out) {
                    stream.left = range;
                }
                (BodySlice::Written(out.len() - before), 1)
            }
            Stream::Encoding(encoding) => match self.encode(encoding, out, now) {
                Ok(content) => (BodySlice::Written(content), Self::SLICE),
                Err(()) => (BodySlice::Broken, 1),
            },
            Stream::Listing(listing) => match self.next_of_list(listing, out) {
                Ok((content, work)) => (BodySlice::Written(content), work),
                Err(_) => (BodySlice::Broken, 1),
            },
        }
    }

    /// Returns the next slice of a file, or [`BodySlice::Broken`] if the file has changed.
    fn slice_of(
        &self,
        open: &mut OpenFile<F::File>,
        left: &mut ByteRange,
        max: u64,
    ) -> BodySlice<F::File> {
        let is_checked = std::mem::take(&mut open.is_new) && open.checked == self.epoch;
        if !is_checked && !self.is_intact(open) {
            return BodySlice::Broken;
        }
        open.checked = self.epoch;
        let (at, len) = (left.start, left.bytes().min(max));
        left.start += len;
        let file = Rc::clone(&open.file);
        BodySlice::File { file, at, len }
    }

    /// Whether the rest of the last slice of a body may be sent. A slice that leaves at once was
    /// checked just before. If the slice waits for the peer until another epoch, or if it `is_cut`,
    /// because a part of it has left, the file may have changed since, so the file is looked at
    /// again. When a part of the slice has left, a changed file would complete a mixture.
    pub(crate) fn may_complete(&self, stream: &mut Stream<F::File>, is_cut: bool) -> bool {
        let Some(open) = stream.open_file() else {
            return true;
        };
        if !is_cut && open.checked == self.epoch {
            return true;
        }
        open.checked = self.epoch;
        self.is_intact(open)
    }

    /// Whether an open file still has the size and the modification time that it had, so that no
    /// truncation and no overwrite in place has been noticed, or whether it was appended to. (The
    /// module's docs say which changes go unnoticed.) The change time does not count: it also moves
    /// when the file is deleted or another file is renamed over it, and the old file is then sent to
    /// its end.
    fn is_intact(&self, open: &mut OpenFile<F::File>) -> bool {
        let Ok(now) = self.files.fstat(&open.file) else {
            return false;
        };
        let then = &open.stat;
        let is_unchanged = (now.size, now.modified) == (then.size, then.modified);
        let is_intact = is_unchanged || (now.size > then.size && self.was_appended_to(open));
        if is_intact {
            open.stat = now;
        }
        is_intact
    }

    /// Whether a file that has grown still begins with the content that the response promises, as far
    /// as a sample tells.
    #[cold]
    fn was_appended_to(&self, open: &OpenFile<F::File>) -> bool {
        let mut beginning = [0; media_type::BEGINNING_BYTES];
        let length = open.promised.min(beginning.len() as u64) as usize;
        let beginning = &mut beginning[..length];
        self.files.read_at(&open.file, beginning, 0) == Ok(length)
            && self.sample(&open.file, beginning, open.promised) == Ok(open.sample)
    }

    /// A sample of the first `length` bytes of a file, whose beginning was read already. Never inlined:
    /// the callers serve every request, and do not need the frame.
    #[inline(never)]
    pub(super) fn sample(
        &self,
        file: &F::File,
        beginning: &[u8],
        length: u64,
    ) -> Result<Sample, FileError> {
        let mut end = [0; Sample::END_BYTES];
        let bytes = length.min(end.len() as u64);
        let end = &mut end[..bytes as usize];
        let read = self.files.read_at(file, end, length - bytes)?;
        Ok(Sample::new(beginning, &end[..read]))
    }

    /// Encodes the next slice of a file, and appends the output to `out` as a chunk (RFC 9112
    /// §7.1). Returns the length of the chunk's content. The encoder may buffer the whole slice, and
    /// then no chunk is appended.
    ///
    /// Never inlined, because the frame has a buffer of 16 KiB, and the callers serve every request.
    ///
    /// # Errors
    /// If the file has changed or cannot be read.
    #[inline(never)]
    fn encode(
        &mut self,
        encoding: &mut Encoding<F::File>,
        out: &mut Vec<u8>,
        now: SystemTime,
    ) -> Result<usize, ()> {
        let mut encoder = encoding.encoder.take().ok_or(())?;
        let size = encoding.size;
        let want = (size - encoding.at).min(encoding::SLICE_BYTES as u64) as usize;
        let (at, mut slice) = (encoding.at as usize, [0; encoding::SLICE_BYTES]);
        let bytes = match &mut encoding.content {
            Original::Memory(bytes) => bytes.get(at..at + want).ok_or(())?,
            Original::File(open) => {
                let slice = &mut slice[..want];
                let read = self.files.read_at(&open.file, slice, encoding.at);
                // The look comes after the read, so that it speaks for the last slice too.
                if read != Ok(want) || !self.is_intact(open) {
                    return Err(());
                }
                slice
            }
            Original::Page { begin, .. } if at < begin.len() => {
                &begin[at..begin.len().min(at + want)]
            }
            Original::Page { begin, from, open } => {
                let slice = &mut slice[..want];
                let at = *from + (at - begin.len()) as u64;
                let read = self.files.read_at(&open.file, slice, at);
                if read != Ok(want) || !self.is_intact(open) {
                    return Err(());
                }
                slice
            }
        };
        let taken = bytes.len() as u64;
        let mut coded = encoder.encode(bytes).map_err(drop)?;
        encoding.at += taken;
        let last = encoding.at == size;
        if last {
            coded.extend(encoder.finish().map_err(drop)?);
        } else {
            encoding.encoder = Some(encoder);
        }
        if !coded.is_empty() {
            out.extend_from_slice(format!("{:x}\r\n", coded.len()).as_bytes());
            out.extend_from_slice(&coded);
            out.extend_from_slice(b"\r\n");
        }
        if let Some(kept) = &mut encoding.kept {
            kept.bytes.0.extend_from_slice(&coded);
            if kept.bytes.0.len() as u64 > self.encoded_file_bytes_max / 4 {
                encoding.kept = None;
            }
        }
        if last {
            encoding.permit = None;
            out.extend_from_slice(b"0\r\n\r\n");
            self.keep(encoding, now);
        }
        Ok(coded.len())
    }

    /// Puts the complete output of an encoder into the cache, unless the file has changed or is not
    /// settled. Later answers are sent from the cache, with a Content-Length.
    fn keep(&mut self, encoding: &mut Encoding<F::File>, now: SystemTime) {
        let Some(kept) = encoding.kept.take() else {
            return;
        };
        let bytes = SharedBytes::from(kept.bytes);
        let (path, media_type, varies, stat) = match kept.place {
            Place::File {
                path,
                media_type,
                varies,
                stat,
            } => (path, media_type, varies, stat),
            Place::Page(page) => return page.keep(encoding.coding, bytes),
        };
        if self.files.stat(&path) != Ok(stat) || !is_settled(&stat, now) {
            return;
        }
        let source = Source {
            path: path.clone(),
            stat,
            media_type,
            coding: encoding.coding,
            own_file: false,
            varies,
            freshness: Freshness::of(&path, self.max_age),
            edition: self.edition,
            content: Content::Memory(bytes),
        };
        let made = Lookup::Present(Rc::new(Representation::new(source, now)));
        // Epoch 0 is over when the first request arrives: the next request checks the file again.
        self.remember(&path, encoding.coding, made, 0);
    }
}
