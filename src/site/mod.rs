//! Floor 2, site: the answers to requests, made from files. The site knows the codec of HTTP and
//! reaches the files through the seam [`Files`]. The site must not read a clock: each method that
//! needs the current time takes it as a parameter.
//!
//! Architecture invariant: nothing here names `transport`, `websocket`, `connection` or `server`,
//! so the site knows neither sockets nor connections.
//!
//! # How an answer is found
//!
//! 1. The *path* of the request is decoded.
//! 2. A *representation* is selected: the file itself, or a content coding of the file (RFC 9110
//!    §12).
//! 3. The *preconditions* of the request are checked against the validators of the representation
//!    (§13).
//! 4. If the request has a *Range* field, the ranges are cut out of the content (§14).
//!
//! Where no file is, other answers come in turn, from a page without its ending to an error: see
//! `fallback.rs`. An error is a sentence first, and gets the form that Accept asks for at the end.
//!
//! The files `_redirects` and `_headers` in the root hold *rules*: a redirect or another file where none
//! is at the path, and changes to the fields of an answer. Their stats are looked at four times a second
//! at most, and only while requests come. A site without them pays one comparison of times for each
//! epoch (see below).
//!
//! # Fresh for every request, and nearly free
//!
//! A cache remembers the outcome of earlier requests for each path: a small file with its bytes, a
//! large file as an open descriptor. An entry of the cache answers a request only if the file was
//! checked with one stat(2) *after the bytes of the request had been read*. An earlier check proves
//! nothing, because the file may have changed between the check and the request. (Measured: when a
//! check also counted for requests that were read later, 194 answers of 2,489 were stale.)
//!
//! One stat(2) for each request would be expensive. The server therefore reads for a whole batch of
//! connections first, and answers afterwards. One check of a file is then later than every request
//! in the batch, and serves all requests for the file.
//!
//! An *epoch* is a stretch of time in which the server answers and does not read: each check in an
//! epoch is later than every request that the epoch answers. Epochs are numbered, and each entry
//! holds the number of the epoch in which it was last checked. [`Site::begin_epoch`] begins a new
//! epoch after a read, and each entry is then checked again before its next use.
//!
//! The check must not find a file that an open would not find. stat(2) follows every symbolic link,
//! so [`Disk`] first looks at the folders above the file, once in an epoch: a folder that was moved
//! out of the root may have left a link in its place.
//!
//! Absence is checked in the same way. "No file at this path" holds as long as stat(2) finds
//! nothing there. "No `.br` beside this file" holds as long as the stat of the directory is the
//! same.
//!
//! A check compares timestamps, and timestamps come from a clock with ticks. A file that changed
//! within the last tick can change again and keep its stat. The site sends such a file, but does
//! not cache it: see `is_settled` in `representation.rs`.
//!
//! # Files that change while they are sent
//!
//! The response for a large file holds the file open from beginning to end. If the file is deleted,
//! or another file is renamed over it, the response still sends the old file to its end.
//!
//! A file that is truncated or overwritten in place is different: the rest of the body would not
//! match the beginning. Therefore fstat(2) precedes each slice of at most 256 KiB
//! ([`Limits::turn_bytes`]), but for a first slice in the epoch that has just checked the file by its
//! path. A last slice that does not leave at once is checked again before each further write: the
//! last bytes of a body leave after a check that is later than all bytes before. If the size or the
//! modification time has changed, the rest is dropped and the connection ends, and the client sees
//! from the framing (RFC 9112 §8) that the body is incomplete.
//!
//! A file that grows, such as a log, keeps the promise of the response: the bytes up to the length that
//! was announced are still there. But its stat looks like that of a file which was rewritten. So a
//! sample of the file is kept (the first KiB, and the last 4 KiB before the announced end), and a file
//! that has grown and still has the same sample counts as appended to.
//!
//! Five changes are not noticed:
//!
//! - of bytes in the socket's buffer. sendfile(2) does not copy the file: the pages of the page cache
//!   go into the buffer, and bytes that wait there still change with the file;
//! - between the last check and the write that follows, a few microseconds later;
//! - of the same size and within the same tick of the clock as the change before, or with the time set
//!   back by utimensat(2);
//! - through a mapping (mmap(2)), for which the kernel sets the time late or never;
//! - outside of the sample, if the file has grown since the last check.
//!
//! A file of at most 64 KiB ([`Limits::cached_file_bytes_max`]) is read into memory before the
//! response begins. If the file is overwritten during this read, the bytes may be half of each
//! version, and the file is read again: 8 times at most, and then the answer is 503. An overwrite
//! within the same tick of the clock as the change before, with the same size, goes unnoticed; the
//! entity tag is weak then, and matches no later request.
//!
//! The safe way to replace a file is therefore rename(2).

mod answer;
mod auth;
mod cache;
mod charset;
mod encoding;
mod fallback;
mod files;
mod freshness;
mod guard;
mod https;
mod listing;
pub(crate) mod live;
mod made;
mod media_type;
mod mount;
mod pages;
mod parts;
mod policy;
pub mod proxy;
mod reply;
mod representation;
mod respond;
mod route;
mod rules;
mod select;
mod stream;
#[cfg(test)]
mod tests;

pub use auth::Auth;
pub use fallback::Fallbacks;
pub use files::{Disk, FileError, Files, Place};
pub use guard::{Denial, Guard};
pub use live::TagPlace;
pub use policy::Policy;

pub(crate) use live::{Client, LiveChange};
pub(crate) use made::Made;
pub(crate) use mount::{Mount, Takes};
pub(crate) use pages::Size;
pub(crate) use parts::Parts;
pub(crate) use policy::ReplyFields;
pub(crate) use proxy::{Asked, BackFraming, Gateway, Origin};
pub(crate) use reply::{Body, Reply};
pub(crate) use route::Route;
pub(crate) use stream::{BodySlice, Stream};

use std::cell::Cell;
use std::mem;
use std::rc::{Rc, Weak};
use std::time::SystemTime;

use crate::config::Limits;
use crate::http::{Acceptable, Coding, RequestHead, Status};
use cache::Cache;
use encoding::Encoders;
use fallback::NearestPage;
use live::{Live, Uses};
use mount::Mounts;
use reply::Prepared;
use representation::Edition;
use rules::Rules;

/// A web site: a tree of files, the paths of the endpoints, and the guard before both.
#[derive(Debug)]
pub struct Site<F: Files> {
    guard: Guard,
    /// The path that may be asked for without TLS where TLS is expected.
    plain_path: Option<Box<str>>,
    policy: Rc<Policy>,
    /// The credentials that each request must have; `None` if none are asked for.
    auth: Option<Auth>,
    /// The reverse proxy, if there are routes.
    gateway: Option<Box<Gateway>>,
    files: F,
    /// The name of the file that answers for its directory.
    index: Box<[u8]>,
    /// Storage for a path, such as that of an index, kept because a request for a directory, or for a
    /// file that is absent, must not allocate.
    path_buffer: Vec<u8>,
    cache: Cache<F::File>,
    cached_file_bytes_max: u64,
    encoders_max: usize,
    encoded_file_bytes_max: u64,
    listed_at_once: usize,
    /// The seconds for which a cache may use a file without asking; `None` means that it must ask.
    max_age: Option<u32>,
    mounts: Mounts,
    fallbacks: Fallbacks,
    /// Whether files are served whose path has a segment that begins with a dot.
    serves_hidden: bool,
    /// The last Accept-Encoding, and the codings that it accepts.
    last_acceptable: (Vec<u8>, Acceptable),
    /// The siblings that were found to be in another coding than their name says, for the log.
    unfit: Vec<Box<[u8]>>,
    /// The page for a path without a file, as it was looked for last.
    nearest: NearestPage,
    /// The reply for a path without a file.
    absent: Prepared,
    /// The rules in the files `_redirects` and `_headers`.
    rules: Rules,
    /// Whether pages get the script of live reload, and what that needs.
    live: Option<Box<Live>>,
    edition: Edition,
    /// The epoch in which the rules were last asked for their freshness.
    rules_epoch: u64,
    /// How often a look-up in the cache found no valid entry, and how often it found one.
    looked_up: [u64; 2],
    /// The number of the current epoch; see the module's docs.
    epoch: u64,
    encoders: Encoders,
    /// The encoders at work.
    encoding: Vec<RunningEncoder>,
    /// The number of entries that each of the long lists at work holds.
    listing: Vec<Weak<Cell<usize>>>,
    /// The cost of the current answer beyond the usual one step, in units of the budget's work.
    cost: u32,
    /// The secret from which the boundaries between parts of multipart bodies are made.
    boundary_seed: [u64; 2],
    /// The number of boundaries so far.
    boundaries: u64,
    /// What the pages of browsers use; `None` without live reload.
    uses: Option<Box<Uses<F::File>>>,
    /// Whether requests of browsers are treated in another way, because of `live` or `uses`.
    has_browsers: bool,
    /// Whether the present answer is made to look at a use again, and is not sent.
    is_looking: bool,
    /// The path of the file that a rule of `_redirects` named for the last answer that is not sent.
    led_to: Vec<u8>,
}

/// The path and the coding of an encoder at work.
#[derive(Debug)]
struct RunningEncoder {
    path: Box<[u8]>,
    coding: Coding,
    /// The [`Encoding`](stream::Encoding) holds the strong reference until the last slice is encoded: from then on,
    /// the encoder no longer counts.
    permit: Weak<()>,
}

/// The reply where no file is, for requests that do not ask for a page.
fn absent(vary: &str) -> Prepared {
    Prepared::plain(Status::NotFound, FileError::Absent.sentence(), vary)
}

impl<F: Files> Site<F> {
    /// Creates a site of `files`. A file with the name `index` (usually `index.html`) answers for
    /// its directory.
    pub fn new(files: F, index: &[u8], limits: &Limits) -> Site<F> {
        Site {
            guard: Guard::default(),
            plain_path: None,
            policy: Rc::default(),
            auth: None,
            gateway: None,
            files,
            index: index.into(),
            path_buffer: Vec::new(),
            cache: Cache::new(limits.cache_bytes_max),
            cached_file_bytes_max: limits.cached_file_bytes_max as u64,
            encoders_max: limits.encoders_max,
            encoded_file_bytes_max: limits.encoded_file_bytes_max,
            listed_at_once: limits.listed_at_once,
            max_age: None,
            mounts: Mounts::default(),
            fallbacks: Fallbacks::default(),
            listing: Vec::new(),
            serves_hidden: false,
            last_acceptable: (Vec::new(), Acceptable::NOTHING_SAID),
            unfit: Vec::new(),
            nearest: NearestPage::default(),
            absent: absent("Accept"),
            rules: Rules::default(),
            live: None,
            edition: Edition::default(),
            rules_epoch: 0,
            looked_up: [0; 2],
            epoch: 0,
            encoders: Encoders::default(),
            encoding: Vec::new(),
            cost: 0,
            boundary_seed: [0; 2],
            boundaries: 0,
            uses: None,
            has_browsers: false,
            is_looking: false,
            led_to: Vec::new(),
        }
    }

    /// Makes the boundaries of multipart bodies from `seed`, which must be secret and random.
    /// Without a seed, each boundary can be predicted, as suits a simulation.
    #[must_use]
    pub fn with_boundary_seed(mut self, seed: [u64; 2]) -> Site<F> {
        self.boundary_seed = seed;
        self
    }

    /// Passes requests on to backends, by the routes of `gateway`.
    pub(crate) fn set_gateway(&mut self, gateway: Gateway) {
        self.gateway = Some(Box::new(gateway));
    }

    /// Whether each request must have credentials.
    pub(crate) fn asks_for_password(&self) -> bool {
        self.auth.is_some()
    }

    /// Whether there is a backend for everything that is not found here.
    pub(crate) fn has_backend_for_absent(&self) -> bool {
        self.gateway
            .as_ref()
            .is_some_and(|gateway| gateway.is_for_absent())
    }

    /// Replaces the default guard by `guard`.
    #[must_use]
    pub fn with_guard(mut self, guard: Guard) -> Site<F> {
        self.guard = guard;
        self
    }

    /// Says what the site does where no file is.
    #[must_use]
    pub fn with_fallbacks(mut self, fallbacks: Fallbacks) -> Site<F> {
        self.fallbacks = fallbacks;
        self
    }

    /// Asks for credentials.
    #[must_use]
    pub fn with_auth(mut self, auth: Auth) -> Site<F> {
        self.auth = Some(auth);
        self
    }

    /// Puts the fields of `policy` on each reply.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Site<F> {
        self.policy = Rc::new(policy);
        self.edition = Edition::new(self.rules.headers_text(), self.policy.text().as_bytes());
        self
    }

    /// Lets caches use files for `seconds` without asking, and files with a hash in their name for a year.
    /// The default is that a cache asks each time (`no-cache`). Errors and redirects are always asked for.
    #[must_use]
    pub fn with_max_age(mut self, seconds: u32) -> Site<F> {
        self.max_age = Some(seconds);
        self
    }

    /// Also serves hidden files: those whose path has a segment that begins with a dot, such as `.env`.
    #[must_use]
    pub fn with_hidden_files(mut self) -> Site<F> {
        self.serves_hidden = true;
        self
    }

    /// Notes what browsers ask for, and can tell later whether an answer has changed.
    #[must_use]
    pub fn with_uses(mut self) -> Site<F> {
        self.uses = Some(Box::default());
        self.has_browsers = true;
        self
    }

    /// Reads the rules of the site. Without this call, they are read with the first request.
    pub fn read_rules(&mut self, now: SystemTime) {
        self.look_at_rules(now);
    }

    /// Looks at the rules. The representations in the cache have entity tags of the rules before.
    #[cold]
    fn look_at_rules(&mut self, now: SystemTime) {
        if self.rules.look(&self.files, now) {
            self.look_for_circles(now);
        }
        let edition = Edition::new(self.rules.headers_text(), self.policy.text().as_bytes());
        if edition != self.edition {
            self.edition = edition;
            self.cache.clear();
        }
    }

    /// Mounts the next endpoint of the server's table at `path`, and returns the number of the
    /// endpoint. The path `/rooms/*` leads every `/rooms/NAME` to the endpoint. A file with the
    /// same path still answers each request that the endpoint does not take.
    ///
    /// # Panics
    /// If `path` does not begin with a slash, or if there are 65,536 endpoints already.
    pub(crate) fn mount(&mut self, path: &str, takes: Takes) -> u16 {
        self.mounts.add(path, takes)
    }

    /// Begins a new epoch. Call this after a read: the bytes may hold requests that are later than
    /// every check of a file so far, so each file must be checked again.
    pub(crate) fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.files.begin_epoch();
    }

    /// Closes the files that the cache holds open, because descriptors have run out. A response
    /// keeps its own file open.
    pub(crate) fn close_files(&mut self) {
        self.cache.close_files();
    }

    /// Whether one of the next two methods may have something to give. Nearly every turn finds nothing, and
    /// must not take empty lists apart.
    #[inline]
    pub(crate) fn may_have_warnings(&self) -> bool {
        !self.unfit.is_empty()
            || self.rules.has_warnings()
            || self.has_live_warnings()
            || self.gateway.is_some()
    }

    /// Takes the paths of the files that were found, since the last call, to be in another coding than
    /// their name says. A file is found once in each of its states.
    pub(crate) fn take_unfit(&mut self) -> Vec<Box<[u8]>> {
        mem::take(&mut self.unfit)
    }

    /// Takes the warnings since the last call: about the files of rules, one for each line of a file that
    /// has no effect, once for each state of the file; and about live reload.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        let mut warnings = self.rules.take_warnings();
        warnings.extend(self.take_live_warnings());
        if let Some(gateway) = &mut self.gateway {
            warnings.extend(gateway.take_warnings());
        }
        warnings
    }

    /// How often a look-up in the cache found no valid entry, and how often it found one.
    pub(crate) fn looked_up(&self) -> [u64; 2] {
        self.looked_up
    }

    /// Whether the cache holds files open.
    pub(crate) fn has_open_files(&self) -> bool {
        self.cache.has_open_files()
    }

    /// Closes the files that the cache holds open and that no request has asked for since the last
    /// call.
    pub(crate) fn close_unused_files(&mut self) {
        self.cache.close_unused_files();
    }

    /// The fields that flags put on the reply to `request`, wherever the reply comes from: from the
    /// files, from an endpoint or from a refusal. `None` without such flags.
    #[inline]
    pub(crate) fn reply_fields(&self, request: &RequestHead<'_>) -> Option<Box<ReplyFields>> {
        match self.policy.is_idle() && self.auth.is_none() {
            true => None,
            false => self.make_reply_fields(request),
        }
    }

    fn make_reply_fields(&self, request: &RequestHead<'_>) -> Option<Box<ReplyFields>> {
        let cookie = self.auth.as_ref().and_then(|auth| auth.cookie_for(request));
        if self.policy.is_idle() && cookie.is_none() {
            return None;
        }
        let is_trusted = self.guard.lets_page_in(request);
        let must_ask = self.live.is_some() && live::may_be_browser(request);
        let fields = ReplyFields::new(&self.policy, request, is_trusted, must_ask, cookie);
        Some(Box::new(fields))
    }
}
