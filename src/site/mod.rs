//! Floor 3, site: what answers a request. It knows HTTP's codec and the files behind the seam
//! [`Files`]; it must not know sockets, connections or time that passes.
//!
//! An answer is found in four steps: the *path* is decoded; a *representation* is selected for it,
//! the file itself or a coding of it (RFC 9110 §12); the *preconditions* of the request are held
//! against its validators (§13); and if there is a *range*, that is cut out (§14).
//!
//! **Fresh for every request, and nearly free.** What is known of a path is kept, a small file with its
//! bytes and a large one open; but it is only used if the file was looked at (one stat(2)) *after the
//! bytes of the request had been read*. So the server reads for a whole chunk of connections first and
//! then lets them answer: one look at a file then vouches for all requests for it in the chunk. (A look
//! that also vouched for requests read later was measured to give 194 stale answers of 2,489.) The
//! rounds of looking are numbered; [`Site::begin_epoch`] begins a new one.
//!
//! What was decided because something was *not* there (no `.br` beside the file, no file at all) is
//! looked at again likewise: by the directory's own stat, or by finding nothing again.

mod cache;
mod encoding;
mod files;
mod guard;
mod media_type;
mod mount;
mod reply;
mod representation;
mod select;
mod stream;
#[cfg(test)]
mod tests;

pub use files::{Disk, FileError, Files};
pub use guard::{Denial, Guard};

pub(crate) use mount::Mount;
pub(crate) use reply::{Body, Reply};
pub(crate) use stream::{BodySlice, Stream};

use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::SystemTime;

use crate::config::Limits;
use crate::http::{
    ByteRange, Coding, Field, Method, PathError, Precondition, Ranges, RequestHead, ResponseHead,
    SitePath, Status, Validators, precondition,
};
use crate::sys::Stat;
use cache::{Cache, Entry, Lookup};
use encoding::Encoder;
use mount::Mounts;
use representation::{Content, Representation, Source, described, is_settled, validated};
use select::Selected;
use stream::{Encoding, FileStream, Multipart, OpenFile};

/// A tree of files as a web site.
#[derive(Debug)]
pub struct Site<F: Files> {
    guard: Guard,
    files: F,
    /// The file that stands for its directory.
    index: Box<[u8]>,
    cache: Cache<F::File>,
    cached_file_bytes_max: u64,
    encoders_max: usize,
    encoded_file_bytes_max: u64,
    mounts: Mounts,
    /// The number of the round of looking; see the module's docs.
    epoch: u64,
    /// The representations that are being encoded; each encoder holds its permit.
    encoding: Vec<RunningEncoder>,
    /// What the answer that is being made has cost beyond the usual, in steps of the budget.
    cost: u32,
    /// Separates the parts of multipart bodies; a number that is never used twice.
    boundary: u64,
}

/// What answers a request.
#[derive(Debug)]
pub(crate) enum Route<F> {
    /// The guard does not let the request in: this is the answer.
    Denied(Reply<F>),
    /// An endpoint is mounted at the path. It takes WebSocket connections, and POST if the mount says so;
    /// any other request is for the files.
    Endpoint(Mount),
    /// The files: see [`Site::answer`].
    Files,
}

/// A representation that is being encoded.
#[derive(Debug)]
struct RunningEncoder {
    path: Box<[u8]>,
    coding: Coding,
    /// The encoder holds the other end.
    permit: Weak<()>,
}

impl<F: Files> Site<F> {
    /// A site of `files` in which `index` (usually `index.html`) stands for its directory.
    pub fn new(files: F, index: &[u8], limits: &Limits) -> Site<F> {
        Site {
            guard: Guard::default(),
            files,
            index: index.into(),
            cache: Cache::new(limits.cache_bytes_max),
            cached_file_bytes_max: limits.cached_file_bytes_max as u64,
            encoders_max: limits.encoders_max,
            encoded_file_bytes_max: limits.encoded_file_bytes_max,
            mounts: Mounts::default(),
            epoch: 0,
            encoding: Vec::new(),
            cost: 0,
            boundary: 0,
        }
    }

    /// Lets in whom this guard does, instead of the default one.
    #[must_use]
    pub fn with_guard(mut self, guard: Guard) -> Site<F> {
        self.guard = guard;
        self
    }

    /// Lets a path lead to an endpoint, the next in the server's table; `/rooms/*` lets all `/rooms/NAME`
    /// lead there. Says its number. A file of the same path is still there for whoever just asks for it.
    ///
    /// # Panics
    /// If the path does not begin with a slash.
    pub(crate) fn mount(&mut self, path: &str, takes_posts: bool) -> u16 {
        self.mounts.add(path, takes_posts)
    }

    /// Requests may have been read since a file was last looked at: what was found then does not
    /// vouch for them.
    pub(crate) fn begin_epoch(&mut self) {
        self.epoch += 1;
    }

    /// Closes the files that are only held open to be at hand: descriptors have run out.
    pub(crate) fn close_files(&mut self) {
        self.cache.close_files();
    }

    /// Decides what answers a request. The [`Guard`] comes first: this is the one place that asks it, and
    /// every request comes through here once, when its head is whole.
    pub(crate) fn route(&mut self, request: &RequestHead<'_>) -> Route<F::File> {
        if let Err(denial) = self.guard.check(request) {
            return Route::Denied(Reply::plain(Status::Forbidden, &denial.to_string()));
        }
        match self.mounts.of(request) {
            Some(mount) => Route::Endpoint(mount),
            None => Route::Files,
        }
    }

    /// Answers a request from the files, whatever its body.
    pub(crate) fn answer(&mut self, request: &RequestHead<'_>, now: SystemTime) -> Reply<F::File> {
        self.cost = 0;
        let mut reply = self.answer_method(request, now);
        reply.cost += self.cost;
        reply
    }

    fn answer_method(&mut self, request: &RequestHead<'_>, now: SystemTime) -> Reply<F::File> {
        match request.method() {
            Method::Get | Method::Head => {}
            Method::Unknown | Method::Connect => {
                return Reply::plain(Status::NotImplemented, "this method is not known here");
            }
            Method::Options => return Reply::options(self.takes_posts(request)),
            Method::Post | Method::Put | Method::Delete | Method::Trace | Method::Patch => {
                return Reply::method_not_allowed(self.takes_posts(request));
            }
        }
        // The parser has already refused a target without a path for these methods.
        let Some(path) = request.path() else {
            return Reply::plain(Status::BadRequest, "the request target has no path");
        };
        match SitePath::decode(path) {
            Ok(path) => self.file(&path, request, now),
            Err(error @ PathError::Encoding) => Reply::plain(Status::BadRequest, error.sentence()),
            Err(PathError::Absent) => without_file(FileError::Absent),
        }
    }

    /// Whether there is an endpoint at the path of this request that takes what is posted.
    fn takes_posts(&self, request: &RequestHead<'_>) -> bool {
        self.mounts.of(request).is_some_and(|m| m.takes_posts)
    }

    fn file(
        &mut self,
        path: &SitePath<'_>,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        let selected = match path.is_directory() {
            true => self.select(path.join(&self.index).bytes(), request, now),
            false => self.select(path.bytes(), request, now),
        };
        match selected {
            Ok(Selected::Available(representation)) => self.respond(&representation, request),
            Ok(Selected::NeedsEncoding(original, coding)) => {
                self.respond_encoding(&original, coding, request, now)
            }
            Ok(Selected::NotAcceptable) => {
                let status = Status::NotAcceptable;
                let head = ResponseHead::new(status).field("Vary", "Accept-Encoding");
                let sentence = "no acceptable content coding is to be had for this file";
                Reply::plain_with(head, status, sentence)
            }
            Ok(Selected::Busy) => Reply::plain(
                Status::ServiceUnavailable,
                "too much is being compressed now, try again or accept identity",
            ),
            Err(FileError::Directory) if !path.is_directory() => {
                Reply::to_directory(path, request.query())
            }
            Err(error @ (FileError::Absent | FileError::Directory)) => {
                match self.mounts.takes_posts(path.bytes()) {
                    None => without_file(error),
                    Some(takes_posts) => Reply::upgrade_required(takes_posts),
                }
            }
            Err(error) => without_file(error),
        }
    }

    /// Answers from a representation that is there: all of it, part of it, or that it has not
    /// changed.
    fn respond(
        &mut self,
        representation: &Representation<F::File>,
        request: &RequestHead<'_>,
    ) -> Reply<F::File> {
        let ranges = match precondition(request, &representation.validators) {
            Precondition::Holds { ranges } => ranges,
            Precondition::NotModified => {
                return Reply {
                    status: Status::NotModified,
                    head: Rc::clone(&representation.not_modified),
                    body: Body::empty(),
                    cost: 1,
                };
            }
            Precondition::Failed => {
                let varies = representation.source.varies;
                return precondition_failed(&representation.validators, varies);
            }
        };
        // Range is defined for GET alone (§14.2), and only once.
        let mut values = request.values(Field::Range);
        let range = match (request.method(), values.next(), values.next()) {
            (Method::Get, Some(value), None) if ranges => {
                Ranges::parse(value, representation.len())
            }
            _ => Ranges::Ignored,
        };
        match range {
            Ranges::Ignored => Reply {
                status: Status::Ok,
                head: Rc::clone(&representation.ok),
                body: part_of(representation, None),
                cost: 1,
            },
            Ranges::Unsatisfiable => {
                let status = Status::RangeNotSatisfiable;
                let head = ResponseHead::new(status).field(
                    "Content-Range",
                    format_args!("bytes */{}", representation.len()),
                );
                Reply::plain_with(head, status, "the file has none of the bytes asked for")
            }
            Ranges::Satisfiable(ranges) => match ranges[..] {
                [range] => one_range(representation, range),
                _ => self.several_ranges(representation, &ranges),
            },
        }
    }

    fn several_ranges(
        &mut self,
        representation: &Representation<F::File>,
        ranges: &[ByteRange],
    ) -> Reply<F::File> {
        self.boundary += 1;
        let boundary = format!("{:020}", self.boundary);
        let (media_type, whole) = (&representation.source.media_type, representation.len());
        let mut before = "--";
        let parts = ranges.iter().map(|range| {
            let (start, last) = (range.start, range.end - 1);
            let head = format!(
                "{before}{boundary}\r\nContent-Type: {media_type}\r\n\
                 Content-Range: bytes {start}-{last}/{whole}\r\n\r\n"
            );
            before = "\r\n--";
            (head.into_bytes().into_boxed_slice(), *range)
        });
        let parts: VecDeque<_> = parts.collect();
        let end = format!("\r\n--{boundary}--\r\n");
        let length = |(head, range): &(Box<[u8]>, ByteRange)| head.len() as u64 + range.bytes();
        let length = parts.iter().map(length).sum::<u64>() + end.len() as u64;
        let kind = format!("multipart/byteranges; boundary={boundary}");
        let head = representation
            .described(Status::PartialContent, &kind)
            .field("Content-Length", length);
        let end = end.into_bytes().into_boxed_slice();
        let body = match &representation.source.content {
            Content::Memory(bytes) => {
                let mut body = Vec::with_capacity(length as usize);
                for (head, range) in &parts {
                    body.extend_from_slice(head);
                    body.extend_from_slice(&bytes[range.start as usize..range.end as usize]);
                }
                body.extend_from_slice(&end);
                Body::Bytes(body.into())
            }
            Content::File(file) => {
                let open = OpenFile::new(file, representation.source.stat);
                let end = Some(end);
                Body::Stream(Stream::Multipart(Box::new(Multipart { open, parts, end })))
            }
        };
        Reply::new(Status::PartialContent, head, body)
    }

    /// Answers with what an encoder makes of the original, in chunks, since nobody knows how long
    /// that will be.
    fn respond_encoding(
        &mut self,
        original: &Representation<F::File>,
        coding: Coding,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        let validators = representation::validators(&original.source.stat, coding, now);
        match precondition(request, &validators) {
            Precondition::Holds { .. } => {}
            Precondition::NotModified => {
                let head = validated(Status::NotModified, &validators, true);
                return Reply::new(Status::NotModified, head, Body::empty());
            }
            Precondition::Failed => return precondition_failed(&validators, true),
        }
        let media_type = &original.source.media_type;
        let head = described(Status::Ok, media_type, coding, &validators, true)
            .field("Transfer-Encoding", "chunked");
        if request.method() == Method::Head {
            // Nothing is encoded to be thrown away.
            return Reply::new(Status::Ok, head, Body::empty());
        }
        let permit = Rc::new(());
        self.encoding.push(RunningEncoder {
            path: original.source.path.clone(),
            coding,
            permit: Rc::downgrade(&permit),
        });
        let encoding = Encoding {
            path: original.source.path.clone(),
            media_type: media_type.clone(),
            coding,
            content: original.source.content.share(),
            stat: original.source.stat,
            at: 0,
            encoder: Some(Encoder::new(coding)),
            // What may have changed since without showing it is not kept, however long it takes.
            kept: is_settled(&original.source.stat, now).then(Vec::new),
            permit,
        };
        let body = Body::Stream(Stream::Encoding(Box::new(encoding)));
        Reply::new(Status::Ok, head, body)
    }

    /// Whether an encoder may be started: there is room for one more, and none is at work on the same.
    fn may_encode(&mut self, path: &[u8], coding: Coding) -> bool {
        self.encoding
            .retain(|other| other.permit.strong_count() > 0);
        let same = |other: &RunningEncoder| *other.path == *path && other.coding == coding;
        self.encoding.len() < self.encoders_max && !self.encoding.iter().any(same)
    }
}

/// The bodies that are sent piece by piece.
impl<F: Files> Site<F> {
    /// What making a slice of an encoding costs in steps: all that one turn has, so that a
    /// connection encodes one slice a turn, however little it takes.
    const SLICE: u32 = 64;

    /// The next piece of a body that is not [at its end](Stream::is_at_end), at most about `max` bytes,
    /// and what it cost in steps. What is in memory is appended to `out`.
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
                let piece = self.slice_of(&stream.open, &mut stream.left, max);
                (piece, 1)
            }
            Stream::Multipart(stream) => {
                let Some((head, left)) = stream.parts.front_mut() else {
                    out.extend_from_slice(&stream.end.take().unwrap_or_default());
                    return (BodySlice::Written, 1);
                };
                if !head.is_empty() {
                    out.extend_from_slice(&std::mem::take(head));
                    return (BodySlice::Written, 1);
                }
                let piece = self.slice_of(&stream.open, left, max);
                if left.start == left.end {
                    stream.parts.pop_front();
                }
                (piece, 1)
            }
            Stream::Encoding(encoding) => match self.encode(encoding, out, now) {
                Ok(()) => (BodySlice::Written, Self::SLICE),
                Err(()) => (BodySlice::Broken, 1),
            },
        }
    }

    /// A piece of a file, if it is still what it was.
    fn slice_of(
        &self,
        open: &OpenFile<F::File>,
        left: &mut ByteRange,
        max: u64,
    ) -> BodySlice<F::File> {
        if !self.is_intact(&open.file, &open.stat) {
            return BodySlice::Broken;
        }
        let (at, len) = (left.start, left.bytes().min(max));
        left.start += len;
        let file = Rc::clone(&open.file);
        BodySlice::File { file, at, len }
    }

    /// Whether an open file is what it was: not shorter, not overwritten in place. Its change time
    /// does not count, since that moves when the name is taken away or given to another file, and
    /// then the old one is sent to its end.
    fn is_intact(&self, file: &F::File, then: &Stat) -> bool {
        let same = |now: Stat| (now.size, now.modified) == (then.size, then.modified);
        self.files.fstat(file).is_ok_and(same)
    }

    /// Encodes a slice and appends what comes out as a chunk, or an error if the file is not what it was.
    fn encode(
        &mut self,
        encoding: &mut Encoding<F::File>,
        out: &mut Vec<u8>,
        now: SystemTime,
    ) -> Result<(), ()> {
        let mut encoder = encoding.encoder.take().ok_or(())?;
        let size = encoding.stat.size;
        let want = (size - encoding.at).min(encoding::SLICE_BYTES as u64) as usize;
        let (at, mut slice) = (encoding.at as usize, [0; encoding::SLICE_BYTES]);
        let bytes = match &encoding.content {
            Content::Memory(bytes) => bytes.get(at..at + want).ok_or(())?,
            Content::File(file) => {
                if !self.is_intact(file, &encoding.stat) {
                    return Err(());
                }
                let slice = &mut slice[..want];
                match self.files.read_at(file, slice, encoding.at) {
                    Ok(n) if n == want => slice,
                    _ => return Err(()),
                }
            }
        };
        let mut coded = encoder.encode(bytes).map_err(drop)?;
        encoding.at += want as u64;
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
            kept.extend_from_slice(&coded);
            if kept.len() as u64 > self.encoded_file_bytes_max / 4 {
                encoding.kept = None;
            }
        }
        if last {
            out.extend_from_slice(b"0\r\n\r\n");
            self.keep(encoding, now);
        }
        Ok(())
    }

    /// Keeps what an encoder has made, to be sent with its length from now on.
    fn keep(&mut self, encoding: &mut Encoding<F::File>, now: SystemTime) {
        let Some(kept) = encoding.kept.take() else {
            return;
        };
        let path = &encoding.path;
        if self.files.stat(path) != Ok(encoding.stat) || !is_settled(&encoding.stat, now) {
            return;
        }
        let source = Source {
            path: path.clone(),
            stat: encoding.stat,
            media_type: encoding.media_type.clone(),
            coding: encoding.coding,
            own_file: false,
            varies: true,
            content: Content::Memory(kept.into()),
        };
        let made = Lookup::Present(Rc::new(Representation::new(source, now)));
        // Not checked in any round: the next request looks for itself.
        self.cache
            .insert(Entry::new(path, encoding.coding, made, 0));
    }
}

/// One range, or all of it.
fn part_of<F>(representation: &Representation<F>, range: Option<ByteRange>) -> Body<F> {
    let whole = ByteRange {
        start: 0,
        end: representation.len(),
    };
    match (&representation.source.content, range) {
        (Content::Memory(bytes), None) => Body::Bytes(Rc::clone(bytes)),
        (Content::Memory(bytes), Some(range)) => {
            Body::Bytes(bytes[range.start as usize..range.end as usize].into())
        }
        (Content::File(file), range) => {
            let open = OpenFile::new(file, representation.source.stat);
            let left = range.unwrap_or(whole);
            Body::Stream(Stream::File(Box::new(FileStream { open, left })))
        }
    }
}

fn one_range<F>(representation: &Representation<F>, range: ByteRange) -> Reply<F> {
    let (start, last, whole) = (range.start, range.end - 1, representation.len());
    let status = Status::PartialContent;
    let head = representation
        .described(status, &representation.source.media_type)
        .field("Content-Length", range.bytes())
        .field(
            "Content-Range",
            format_args!("bytes {start}-{last}/{whole}"),
        );
    Reply::new(status, head, part_of(representation, Some(range)))
}

fn precondition_failed<F>(validators: &Validators, varies: bool) -> Reply<F> {
    let status = Status::PreconditionFailed;
    let head = validated(status, validators, varies);
    Reply::plain_with(head, status, "the file is not the one that was meant")
}

/// There is no file to answer with.
fn without_file<F>(error: FileError) -> Reply<F> {
    let status = match error {
        FileError::Absent | FileError::Directory => Status::NotFound,
        FileError::Denied => Status::Forbidden,
        FileError::Exhausted => Status::ServiceUnavailable,
        FileError::Failed => Status::InternalServerError,
    };
    Reply::plain(status, error.sentence())
}
