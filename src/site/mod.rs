//! Floor 3, site: what answers a request. It knows HTTP's codec and the files behind the seam
//! [`Files`]; it must not know sockets, connections or time that passes.
//!
//! **Fresh for every request, and nearly free.** A small file is kept as a ready-made answer, but
//! an answer is only given if the file was looked at (one stat(2)) *after the bytes of the request
//! had been read*. So the server reads for a whole chunk of connections first and then lets them
//! answer: one look at a file then vouches for all requests for it in the chunk. (A look that also
//! vouched for requests read later was measured to give 194 stale answers of 2,489.) The rounds of
//! looking are numbered; [`Site::bytes_arrived`] begins a new one.

mod cache;
mod files;
mod media_type;

pub use files::{Disk, FileError, Files};

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use crate::config::Limits;
use crate::http::{
    HttpDate, Method, PathError, RequestHead, ResponseHead, SitePath, Status, Target,
};
use crate::sys::Stat;
use cache::{Cache, Entry};

/// What answers a request: a head without its end (see
/// [`finish_head`](crate::http::finish_head)) and where the body comes from. The head's
/// `Content-Length` is that of the body, also when the body will not be sent (HEAD).
#[derive(Debug)]
pub struct Reply<F> {
    /// The status, for the log.
    pub status: Status,
    /// The status line and the fields of the representation.
    pub head: Rc<[u8]>,
    /// The content.
    pub body: Body<F>,
    /// What making it cost, in steps of the [budget](crate::connection::Budget).
    pub effort: u32,
}

/// The content of a reply.
#[derive(Debug)]
pub enum Body<F> {
    /// In memory, shared with others, perhaps empty.
    Bytes(Rc<[u8]>),
    /// In storage of the transport's pool.
    Owned(Vec<u8>),
    /// The first `len` bytes of a file, at least one.
    File {
        /// The open file.
        file: Rc<F>,
        /// Its length.
        len: u64,
    },
}

impl<F> Body<F> {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Owned(bytes) => bytes.len() as u64,
            Body::File { len, .. } => *len,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<F> Reply<F> {
    /// A status with a sentence for people.
    pub fn plain(status: Status, sentence: &str) -> Reply<F> {
        Reply::with_fields(ResponseHead::new(status), status, sentence)
    }

    /// Bytes of whatever kind.
    pub fn bytes(body: Vec<u8>) -> Reply<F> {
        let head = ResponseHead::new(Status::Ok)
            .field("Content-Type", "application/octet-stream")
            .field("Content-Length", body.len())
            .field("Cache-Control", "no-store");
        Reply {
            status: Status::Ok,
            head: head.into_bytes().into(),
            body: Body::Owned(body),
            effort: 1,
        }
    }

    /// A status with a sentence and fields of its own.
    fn with_fields(head: ResponseHead, status: Status, sentence: &str) -> Reply<F> {
        let body = format!("{} {}: {sentence}\n", status.code(), status.reason());
        let head = head
            .field("Content-Type", "text/plain; charset=utf-8")
            .field("Content-Length", body.len());
        Reply {
            status,
            head: head.into_bytes().into(),
            body: Body::Bytes(body.into_bytes().into()),
            effort: 1,
        }
    }
}

/// What answers some requests instead of a file. The server does, with what the connection hands
/// up to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// Answers with the body of the request.
    Echo,
}

impl Endpoint {
    const ECHO_PATH: &'static [u8] = b"/_oneloop/echo";
}

/// A tree of files as a web site.
#[derive(Debug)]
pub struct Site<F: Files> {
    files: F,
    /// The file that stands for its directory.
    index: Box<[u8]>,
    cache: Cache,
    cached_file_bytes_max: u64,
    /// Endpoints for tests are served.
    test_endpoints: bool,
    /// The number of the round of looking; see the module's docs.
    round: u64,
}

impl<F: Files> Site<F> {
    /// What a cache miss costs in steps of the budget: it makes half a dozen system calls, where
    /// a step of its own makes none.
    const MISS: u32 = 8;

    /// A site of `files` in which `index` (usually `index.html`) stands for its directory.
    pub fn new(files: F, index: &[u8], limits: &Limits) -> Site<F> {
        Site {
            files,
            index: index.into(),
            cache: Cache::new(limits.cache_bytes_max),
            cached_file_bytes_max: limits.cached_file_bytes_max as u64,
            test_endpoints: false,
            round: 0,
        }
    }

    /// Serves the endpoints that exist for tests as well.
    #[must_use]
    pub fn with_test_endpoints(mut self) -> Site<F> {
        self.test_endpoints = true;
        self
    }

    /// Requests may have been read since a file was last looked at: what was found then does not
    /// vouch for them.
    pub fn bytes_arrived(&mut self) {
        self.round += 1;
    }

    /// The endpoint that wants the body of this request, if one does.
    pub fn endpoint(&self, request: &RequestHead<'_>) -> Option<Endpoint> {
        if request.method() != Method::Post || !self.test_endpoints {
            return None;
        }
        match Target::parse(request.method(), request.target()) {
            Ok(Target::Path { path, .. }) if path == Endpoint::ECHO_PATH => Some(Endpoint::Echo),
            _ => None,
        }
    }

    /// Answers a request from the files, whatever its body.
    pub fn answer(&mut self, request: &RequestHead<'_>, now: SystemTime) -> Reply<F::File> {
        match request.method() {
            Method::Get | Method::Head => {}
            Method::Unknown | Method::Connect => {
                return Reply::plain(Status::NotImplemented, "this method is not known here");
            }
            Method::Options => return options(),
            Method::Post | Method::Put | Method::Delete | Method::Trace | Method::Patch => {
                let status = Status::MethodNotAllowed;
                let head = ResponseHead::new(status).field("Allow", ALLOWED);
                return Reply::with_fields(head, status, "files can be read with GET and HEAD");
            }
        }
        // The parser has already refused a target without a path for these methods.
        let Ok(Target::Path { path, query, .. }) =
            Target::parse(request.method(), request.target())
        else {
            return Reply::plain(Status::BadRequest, "the request target has no path");
        };
        match SitePath::decode(path) {
            Ok(path) => self.file(&path, query, now),
            Err(PathError::Encoding) => {
                Reply::plain(Status::BadRequest, "a % in the path lacks its two digits")
            }
            Err(PathError::Absent) => absent(),
        }
    }

    fn file(
        &mut self,
        path: &SitePath<'_>,
        query: Option<&[u8]>,
        now: SystemTime,
    ) -> Reply<F::File> {
        if let Some(reply) = self.cached(path) {
            return reply;
        }
        let reply = match path.is_directory() {
            true => self.fetched(path, &path.join(&self.index), now),
            false => self.fetched(path, path, now),
        };
        match reply {
            Ok(reply) => reply,
            Err(FileError::Directory) if !path.is_directory() => to_directory(path, query),
            Err(FileError::Absent | FileError::Directory) => absent(),
            Err(FileError::Denied) => {
                Reply::plain(Status::Forbidden, "this file may not be read by the server")
            }
            Err(FileError::Exhausted) => Reply::plain(
                Status::ServiceUnavailable,
                "no file can be opened now, try again",
            ),
            Err(FileError::Failed) => {
                Reply::plain(Status::InternalServerError, "the file could not be read")
            }
        }
    }

    /// The kept answer, if the file is still what it was made from.
    fn cached(&mut self, path: &SitePath<'_>) -> Option<Reply<F::File>> {
        let entry = self.cache.get(path.bytes())?;
        if entry.checked != self.round {
            if self.files.stat(entry.path()) != Ok(entry.stat) {
                self.cache.remove(path.bytes());
                return None;
            }
            entry.checked = self.round;
        }
        Some(Reply {
            status: Status::Ok,
            head: Rc::clone(&entry.head),
            body: Body::Bytes(Rc::clone(&entry.body)),
            effort: 1,
        })
    }

    /// An answer from `file`, which is `path` itself or the index in it; kept if it is small.
    fn fetched(
        &mut self,
        path: &SitePath<'_>,
        file: &SitePath<'_>,
        now: SystemTime,
    ) -> Result<Reply<F::File>, FileError> {
        let (open, stat) = self.files.open(file.bytes())?;
        if stat.size > self.cached_file_bytes_max {
            return Ok(Reply {
                status: Status::Ok,
                head: head_of(file, &stat, stat.size, now),
                body: Body::File {
                    file: Rc::new(open),
                    len: stat.size,
                },
                effort: Self::MISS,
            });
        }
        let mut body = vec![0; stat.size as usize];
        let read = self.files.read_at(&open, &mut body, 0)?;
        body.truncate(read);
        let body: Rc<[u8]> = body.into();
        let head = head_of(file, &stat, body.len() as u64, now);
        // Kept only if it was one and the same file all the while, and if a further change could
        // not hide behind the same timestamps.
        if self.files.fstat(&open) == Ok(stat) && is_settled(&stat, now) {
            let (head, body) = (Rc::clone(&head), Rc::clone(&body));
            let mut entry = Entry::new(path.bytes(), stat, self.round, head, body);
            if file != path {
                entry.file = Some(file.bytes().into());
            }
            self.cache.insert(entry);
        }
        Ok(Reply {
            status: Status::Ok,
            head,
            body: Body::Bytes(body),
            effort: Self::MISS,
        })
    }
}

/// Whether a file was last changed so long ago that another change must show in its timestamps.
/// They come from a clock that ticks every 1 to 10 ms, or, on some file systems, every one or two
/// seconds, which shows in times without a fraction.
fn is_settled(stat: &Stat, now: SystemTime) -> bool {
    let since = |time: SystemTime| now.duration_since(time).unwrap_or_default();
    let whole = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .is_ok_and(|t| t.subsec_nanos() == 0)
    };
    let tick = match whole(stat.changed) {
        true => Duration::from_secs(2),
        false => Duration::from_millis(20),
    };
    since(stat.changed) > tick && since(stat.modified) > Duration::ZERO
}

fn head_of(path: &SitePath<'_>, stat: &Stat, len: u64, now: SystemTime) -> Rc<[u8]> {
    // A time in the future must not be sent (RFC 9110 §8.8.2.1).
    let modified = HttpDate::new(stat.modified.min(now));
    ResponseHead::new(Status::Ok)
        .field("Content-Type", media_type::of(path.bytes()))
        .field("Content-Length", len)
        .field("Last-Modified", modified)
        .field("Cache-Control", "no-cache")
        .into_bytes()
        .into()
}

/// What files can be asked.
const ALLOWED: &str = "GET, HEAD, OPTIONS";

/// The answer to OPTIONS, for a path as for the server as a whole (RFC 9110 §9.3.7).
fn options<F>() -> Reply<F> {
    let status = Status::NoContent;
    let head = ResponseHead::new(status).field("Allow", ALLOWED);
    Reply {
        status,
        head: head.into_bytes().into(),
        body: Body::Bytes(Rc::from([])),
        effort: 1,
    }
}

fn absent<F>() -> Reply<F> {
    Reply {
        effort: 4,
        ..Reply::plain(Status::NotFound, "there is no such file here")
    }
}

/// To the same path with a slash, so that relative links in the index lead where they should. The
/// decoded path has neither a second slash in front nor a backslash: this cannot lead to another
/// host.
fn to_directory<F>(path: &SitePath<'_>, query: Option<&[u8]>) -> Reply<F> {
    /// All that RFC 3986 does not allow in a path.
    const ESCAPED: &AsciiSet = &CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'[')
        .add(b'\\')
        .add(b']')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    let mut location = format!("/{}/", percent_encode(path.bytes(), ESCAPED));
    if let Some(query) = query {
        location.push('?');
        location.push_str(&String::from_utf8_lossy(query));
    }
    let status = Status::MovedPermanently;
    let head = ResponseHead::new(status)
        .field("Location", location)
        .field("Cache-Control", "no-cache");
    Reply::with_fields(
        head,
        status,
        "this is a directory: its name ends in a slash",
    )
}
