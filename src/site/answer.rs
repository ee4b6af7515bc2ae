//! Floor 2, site: the answer to a request from the files: the method and the path decide between a file, a
//! rule and a refusal.

use std::mem;
use std::time::SystemTime;

use percent_encoding::percent_decode;

use super::reply::Allowed;
use super::rules::Moment;
use super::select::Selected;
use super::{FileError, Files, Reply, Site, live};
use crate::http::{Method, PathError, RequestHead, ResponseHead, SitePath, Status};

impl<F: Files> Site<F> {
    /// Answers a request from the files. A body of the request makes no difference to the answer.
    #[inline(never)]
    pub(crate) fn answer(&mut self, request: &RequestHead<'_>, now: SystemTime) -> Reply<F::File> {
        self.cost = 0;
        if self.rules_epoch != self.epoch {
            self.rules_epoch = self.epoch;
            if !self.rules.are_fresh(now) {
                self.look_at_rules(now);
            }
        }
        // Programs such as curl and wrk send none of these fields, and get the answer at once.
        if self.has_browsers && request.has_any(live::HINTS) {
            return self.answer_browser(request, now);
        }
        self.answer_plainly(request, now)
    }

    /// Answers a request that may come from a browser, while live reload is on.
    #[cold]
    #[inline(never)]
    fn answer_browser(&mut self, request: &RequestHead<'_>, now: SystemTime) -> Reply<F::File> {
        let page = match self.live.is_some() {
            true => self.answer_navigation(request, now),
            false => None,
        };
        let mut reply = match page {
            Some(page) => page,
            None => self.answer_and_note(request, now),
        };
        let may_be_kept = self.max_age.is_some() || !self.rules.headers.is_empty();
        if self.live.is_some() && may_be_kept && live::may_be_browser(request) {
            self.let_browser_ask(&mut reply);
        }
        reply
    }

    /// Answers without the script of live reload, and notes what a browser has asked for.
    #[inline(never)]
    pub(super) fn answer_and_note(
        &mut self,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        let mut reply = self.answer_plainly(request, now);
        if self.uses.is_some() && live::may_be_browser(request) {
            self.note_use(request, &mut reply, now);
        }
        reply
    }

    /// Answers a request without the script of live reload.
    #[inline(always)]
    pub(super) fn answer_plainly(
        &mut self,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        let mut reply = self.answer_method(request, now);
        // Of an error, the status is looked at, whatever its form.
        if reply.is_sentence && !self.is_looking {
            self.put_in_form(&mut reply, request, now);
        }
        if !self.rules.headers.is_empty() {
            self.put_headers_on(&mut reply, request);
        }
        reply.cost += self.cost;
        reply
    }

    #[inline(always)]
    fn answer_method(&mut self, request: &RequestHead<'_>, now: SystemTime) -> Reply<F::File> {
        // Nearly every request is for a file, and its path needs no decoding.
        if matches!(request.method(), Method::Get | Method::Head)
            && let Some(path) = request.plain_path()
            && !self.rules.redirects.has_forced()
        {
            return self.file(&path, request, now);
        }
        self.answer_other(request, now)
    }

    /// Answers any request, usual or not.
    #[inline(never)]
    fn answer_other(&mut self, request: &RequestHead<'_>, now: SystemTime) -> Reply<F::File> {
        let is_read = match request.method() {
            Method::Get | Method::Head => true,
            Method::Unknown | Method::Connect => {
                return Reply::plain(Status::NotImplemented, "this method is not known here");
            }
            Method::Options
            | Method::Post
            | Method::Put
            | Method::Delete
            | Method::Trace
            | Method::Patch => false,
        };
        // The parser has refused the target `*` for every method but OPTIONS. OPTIONS for
        // `http://host`, with an empty path, means the same (RFC 9112 §3.2.4).
        let path = match request.path() {
            Some(b"/") if request.method() == Method::Options && has_empty_path(request) => None,
            path => path,
        };
        if !is_read && let Some(reply) = self.policy.preflight(request) {
            return reply;
        }
        let Some(path) = path else {
            return Reply::options(Allowed::FILE);
        };
        let is_forced = is_read && self.rules.redirects.has_forced();
        match self.decode(path) {
            Ok(_)
                if is_forced
                    && let Some(reply) = self.by_rule(request, now, Moment::BeforeFiles) =>
            {
                reply
            }
            Ok(path) if is_read => self.other_file(&path, request, now),
            Ok(path) => self.other_method(&path, request.method(), now),
            Err(error @ PathError::Encoding) => Reply::plain(Status::BadRequest, error.sentence()),
            Err(PathError::Absent | PathError::Hidden) if is_read && self.is_index(path) => {
                self.other_file(&SitePath::default(), request, now)
            }
            Err(PathError::Absent) if is_read => self.without_path(request, now),
            Err(PathError::Absent) => self.without_file(FileError::Absent),
            Err(error @ PathError::Hidden) => self.without_saying(error.sentence()),
        }
    }

    /// Decodes the path of a request. Hidden segments are allowed if the site serves hidden files.
    pub(super) fn decode<'a>(&self, path: &'a [u8]) -> Result<SitePath<'a>, PathError> {
        match SitePath::decode(path) {
            Err(PathError::Hidden) if self.serves_hidden => SitePath::decode_hidden(path),
            decoded => decoded,
        }
    }

    /// Whether a path as written is the index of the root, also if a [`SitePath`] cannot have such
    /// a name. The user of the program may have named a single file `.draft.html`.
    fn is_index(&self, path: &[u8]) -> bool {
        let name = path.strip_prefix(b"/").unwrap_or(path);
        percent_decode(name).eq(self.index.iter().copied())
    }

    /// Answers a method that no file has: OPTIONS with the methods that the path allows, others
    /// with 405 and the same methods. Where there is nothing, the answer is the same as to GET.
    fn other_method(
        &mut self,
        path: &SitePath<'_>,
        method: Method,
        now: SystemTime,
    ) -> Reply<F::File> {
        if self.is_of_rules(path.bytes()) {
            return self.without_saying(RULES_ARE_NOT_SENT);
        }
        let found = match path.is_directory() {
            true => self.original(path.join(&self.index).bytes(), now),
            false => self.original(path.bytes(), now),
        };
        let endpoint = self.mounts.takes(path.bytes());
        let has_file = match found {
            Ok(_) => true,
            // GET is answered with a redirect.
            Err(FileError::Directory) if !path.is_directory() => true,
            Err(FileError::Absent | FileError::Directory) if self.has_fallback(path, now) => true,
            Err(FileError::Absent | FileError::Directory) if endpoint.is_some() => false,
            Err(error) => return self.without_file(error),
        };
        let allowed = Allowed { has_file, endpoint };
        match method {
            Method::Options => Reply::options(allowed),
            _ => Reply::method_not_allowed(allowed),
        }
    }

    /// Answers with the file at a path, which may be another than the one of the request. Never inlined, because
    /// nearly every request needs [`file`](Site::file) alone.
    #[inline(never)]
    pub(super) fn other_file(
        &mut self,
        path: &SitePath<'_>,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        self.file(path, request, now)
    }

    #[inline(always)]
    fn file(
        &mut self,
        path: &SitePath<'_>,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        if self.is_of_rules(path.bytes()) {
            return self.without_saying(RULES_ARE_NOT_SENT);
        }
        let selected = match path.is_directory() {
            true => self.select_index(path, request, now),
            false => self.select(path.bytes(), request, now),
        };
        match selected {
            Ok(Selected::Available(representation)) => self.respond(&representation, request),
            Ok(selected) => self.selected(selected, request, now),
            Err(error) => self.fall_back(path, error, request, now),
        }
    }

    /// Selects a representation of the index of a directory.
    #[inline(never)]
    fn select_index(
        &mut self,
        path: &SitePath<'_>,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Result<Selected<F::File>, FileError> {
        let mut index_path = mem::take(&mut self.path_buffer);
        index_path.clear();
        index_path.extend_from_slice(path.bytes());
        index_path.extend_from_slice(&self.index);
        let selected = self.select_other(&index_path, request, now);
        self.path_buffer = index_path;
        selected
    }

    /// Answers from what was selected. Never inlined, because the usual answer is made by
    /// [`file`](Site::file) itself.
    #[inline(never)]
    pub(super) fn selected(
        &mut self,
        selected: Selected<F::File>,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        match selected {
            Selected::Available(representation) => self.respond(&representation, request),
            Selected::NeedsEncoding(original, coding) => {
                self.respond_encoding(&original, coding, request, now)
            }
            Selected::NotAcceptable => {
                let status = Status::NotAcceptable;
                let head = ResponseHead::new(status).field("Vary", "Accept-Encoding");
                let sentence = "no acceptable content coding is to be had for this file";
                Reply::plain_with(head, status, sentence)
            }
            Selected::Busy => Reply::plain(
                Status::ServiceUnavailable,
                "too much is being compressed now, try again or accept identity",
            ),
        }
    }

    /// The reply when no file can answer.
    pub(super) fn without_file(&self, error: FileError) -> Reply<F::File> {
        let status = match error {
            FileError::LeadsOut => return self.without_saying(error.sentence()),
            FileError::Absent | FileError::Directory => return self.absent.reply(),
            FileError::Denied => Status::Forbidden,
            FileError::Exhausted | FileError::Changing => Status::ServiceUnavailable,
            FileError::Failed => Status::InternalServerError,
        };
        Reply::plain(status, error.sentence())
    }

    /// The reply when a rule of the server, told by `reason`, hides what may be at the path. Only the log
    /// and a peer on this machine learn of the reason.
    fn without_saying(&self, reason: &'static str) -> Reply<F::File> {
        self.absent.reply().because(reason)
    }
}

/// Whether the path of the target, in absolute-form, is empty, and no query follows.
fn has_empty_path(request: &RequestHead<'_>) -> bool {
    request.query().is_none() && !request.target().ends_with(b"/")
}

/// Why a file of rules gets 404.
const RULES_ARE_NOT_SENT: &str = "the server follows the rules in this file, and does not send it";
