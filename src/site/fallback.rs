//! Floor 2, site: the answer when no file is at the path of a request.
//!
//! In this order: the page with `.html` behind the path (`/about` finds `about.html`, also if there is a
//! directory `about/`); a redirect to the slash, if the path names a directory; the endpoint at the
//! path; a rule of `_redirects`; the list of the directory; the index of the root, for a *navigation* to
//! a single-page app; and then an error: the nearest `404.html` on the way up, or a page of ours.

use std::cmp::Reverse;
use std::mem;
use std::time::SystemTime;

use memchr::{memmem, memrchr};

use super::pages::{self, Advice};
use super::reply::Allowed;
use super::rules::Moment;
use super::select::Selected;
use super::{Body, FileError, Files, Reply, Site, TagPlace};
use crate::http::{
    Change, Field, Form, Method, RequestHead, ResponseHead, SitePath, Status, edit_head,
    field_values,
};
use crate::sys::FileKind;

/// The answers of a site where no file is, as the user of the program wants them.
#[derive(Clone, Copy, Debug)]
pub struct Fallbacks {
    /// Whether the site is a single-page app: the index of the root answers navigations that find no
    /// file, and the app decides by the address what to show.
    pub single_page: bool,
    /// Whether a directory without an index is listed.
    pub listing: bool,
}

/// The nearest `404.html` that was looked for last.
#[derive(Default, Debug)]
pub(super) struct NearestPage {
    epoch: u64,
    /// The directory of the path that had no file.
    directory: Vec<u8>,
    /// The path of the page, if there is one.
    page: Option<Vec<u8>>,
}

impl Default for Fallbacks {
    fn default() -> Fallbacks {
        Fallbacks {
            single_page: false,
            listing: true,
        }
    }
}

impl<F: Files> Site<F> {
    /// The number of names of a directory that are compared with the name that was not found.
    const NEAR_NAMES_MAX: usize = 300;

    /// The number of names that an error page suggests.
    const SUGGESTED_MAX: usize = 3;

    /// Answers when no file could be had at `path`, because of `error`.
    #[cold]
    #[inline(never)]
    pub(super) fn fall_back(
        &mut self,
        path: &SitePath<'_>,
        error: FileError,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        let is_directory = match error {
            FileError::Directory => true,
            FileError::Absent | FileError::LeadsOut => false,
            FileError::Denied | FileError::Exhausted | FileError::Changing | FileError::Failed => {
                return self.without_file(error);
            }
        };
        if !path.is_directory() {
            let mut page = mem::take(&mut self.path_buffer);
            page.clear();
            page.extend_from_slice(path.bytes());
            page.extend_from_slice(b".html");
            let selected = self.select_other(&page, request, now);
            self.path_buffer = page;
            if let Ok(selected) = selected {
                return self.selected(selected, request, now);
            }
        }
        let wants_app = self.fallbacks.single_page && is_navigation(request);
        // A route of the app may have the name of a directory that has no index.
        let is_route = |site: &mut Self| {
            let index = [path.bytes(), b"/", &site.index].concat();
            wants_app && site.original(&index, now).is_err()
        };
        if is_directory && !path.is_directory() && !is_route(self) {
            return Reply::to_directory(path, request.query());
        }
        if let Some(takes) = self.mounts.takes(path.bytes()) {
            let allowed = Allowed {
                has_file: false,
                endpoint: Some(takes),
            };
            return match takes.websocket {
                true => Reply::upgrade_required(allowed),
                false => Reply::method_not_allowed(allowed),
            };
        }
        if let Some(reply) = self.by_rule(request, now, Moment::WithoutFile) {
            return reply;
        }
        if path.is_directory() && self.fallbacks.listing && !wants_app {
            match self.list(path, request) {
                Ok(reply) => return self.beside_the_app(reply),
                Err(FileError::Absent | FileError::LeadsOut | FileError::Directory) => {}
                Err(error) => return self.without_file(error),
            }
        }
        self.without_answer(path.bytes(), error, request, now)
    }

    /// Whether GET finds a page without its ending at the path, or the list of a directory.
    pub(super) fn has_fallback(&mut self, path: &SitePath<'_>, now: SystemTime) -> bool {
        match path.is_directory() {
            true => self.fallbacks.listing && self.files.open_directory(path.bytes()).is_ok(),
            false => self.has_page(path, now),
        }
    }

    /// Whether a page is found at the path without its ending.
    pub(super) fn has_page(&mut self, path: &SitePath<'_>, now: SystemTime) -> bool {
        let page = || [path.bytes(), b".html"].concat();
        !path.is_directory() && self.original(&page(), now).is_ok()
    }

    /// Answers when the path of the request can have no file, because it is no [`SitePath`].
    #[cold]
    #[inline(never)]
    pub(super) fn without_path(
        &mut self,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        match self.by_rule(request, now, Moment::WithoutFile) {
            Some(reply) => reply,
            // A route of an app may have any path.
            None => self.without_answer(b"", FileError::Absent, request, now),
        }
    }

    /// Answers a navigation with the index of the root, if the site is a single-page app, and anything
    /// else with an error.
    fn without_answer(
        &mut self,
        path: &[u8],
        error: FileError,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        if self.fallbacks.single_page && is_navigation(request) {
            let index = self.index.clone();
            if let Ok(selected) = self.select_other(&index, request, now) {
                return for_navigations(self.selected(selected, request, now));
            }
        }
        self.look_for_page(path);
        let reply = match self.nearest.page.clone() {
            Some(page) => self.missing(&page, error, request, now),
            None => self.without_file(error),
        };
        self.beside_the_app(reply)
    }

    /// The same reply, at a path where a navigation gets another: the single-page app, if the site is one,
    /// or a page with the script of live reload.
    fn beside_the_app(&self, mut reply: Reply<F::File>) -> Reply<F::File> {
        if self.fallbacks.single_page || self.live.is_some() {
            reply.vary_by_navigation();
        }
        reply
    }

    /// Looks for the nearest `404.html` on the way up from `path`. The outcome serves every request of
    /// the epoch for a path in the same directory.
    fn look_for_page(&mut self, path: &[u8]) {
        let directory = &path[..memrchr(b'/', path).map_or(0, |slash| slash + 1)];
        if self.nearest.epoch != self.epoch || self.nearest.directory != directory {
            self.nearest.page = self.nearest_page(path);
            self.nearest.epoch = self.epoch;
            self.nearest.directory.clear();
            self.nearest.directory.extend_from_slice(directory);
        }
    }

    /// Returns the path of the nearest `404.html` on the way up from `path`, if there is one.
    fn nearest_page(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        const NAME: &[u8] = b"404.html";
        // The cost of a look grows with the depth, so it ends somewhere.
        const DEPTH_MAX: usize = 32;
        // From the root down, as far as there are directories.
        let (mut found, mut rest) = (None, path);
        let mut buffer = mem::take(&mut self.path_buffer);
        buffer.clear();
        for depth in 0..DEPTH_MAX {
            self.cost += 2 + depth as u32;
            let directory_bytes = buffer.len();
            buffer.extend_from_slice(NAME);
            if let Ok(stat) = self.files.stat(&buffer)
                && stat.kind == FileKind::File
            {
                found = Some(directory_bytes);
            }
            buffer.truncate(directory_bytes);
            let Some(slash) = rest.iter().position(|b| *b == b'/') else {
                break;
            };
            buffer.extend_from_slice(&rest[..slash]);
            rest = &rest[slash + 1..];
            match self.files.stat(&buffer) {
                Ok(stat) if stat.kind == FileKind::Directory => buffer.push(b'/'),
                Ok(_) | Err(_) => break,
            }
        }
        let page = found.map(|bytes| [&buffer[..bytes], NAME].concat());
        self.path_buffer = buffer;
        page
    }

    /// Answers 404 with the file at the path `page` as the content. The conditions and the ranges of the
    /// request are about another file, so they do not count.
    pub(super) fn missing(
        &mut self,
        page: &[u8],
        error: FileError,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        if self.is_of_rules(page) {
            return self.without_file(error);
        }
        let representation = match self.select_other(page, request, now) {
            Ok(Selected::Available(representation)) => representation,
            // An encoder would be at work for an error.
            _ => match self.original(page, now) {
                Ok(original) => original,
                Err(_) => return self.without_file(error),
            },
        };
        let source = &representation.source;
        let mut head = ResponseHead::new(Status::NotFound)
            .field("Content-Type", &source.media_type)
            .field("X-Content-Type-Options", "nosniff")
            .field("Cache-Control", "no-cache");
        if let Some(token) = source.coding.token() {
            head = head.field("Content-Encoding", token);
        }
        if let Some(vary) = source.varies.field() {
            head = head.field("Vary", vary);
        }
        let head = head.field("Content-Length", representation.len());
        let body = self.part_of(&representation, None);
        let mut reply = Reply::new(Status::NotFound, head, body);
        (reply.reason, reply.is_fallback) = (Some(error.sentence().into()), true);
        reply
    }

    /// Puts an error of the site into the form that the client asks for. A page and JSON also say what
    /// may help.
    #[cold]
    #[inline(never)]
    pub(super) fn put_in_form(
        &mut self,
        reply: &mut Reply<F::File>,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) {
        let form = Form::from_request(request);
        if form == Form::Text {
            match self.live {
                Some(_) => reply.vary_by_navigation(),
                None => reply.vary_by_accept(),
            }
            return;
        }
        let is_missing = reply.status == Status::NotFound && !reply.is_discreet;
        let near = match self.decode(request.path().unwrap_or(b"/")) {
            Ok(path) if is_missing => self.near(&path),
            Ok(_) | Err(_) => Vec::new(),
        };
        let is_app = is_missing && !self.fallbacks.single_page && is_navigation(request) && {
            let index = self.index.clone();
            self.original(&index, now).is_ok()
        };
        reply.put_in_form(form, &near, is_app);
        if self.live.is_some() {
            reply.vary_by_navigation();
        }
    }

    /// The paths in the directory of `path` that look much like it, best first.
    fn near(&mut self, path: &SitePath<'_>) -> Vec<Vec<u8>> {
        let bytes = path.bytes();
        let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
        let at = bytes
            .iter()
            .rposition(|b| *b == b'/')
            .map_or(0, |at| at + 1);
        let (directory, wanted) = bytes.split_at(at);
        if wanted.is_empty() || !self.fallbacks.listing {
            return Vec::new();
        }
        let Ok(open) = self.files.open_directory(directory) else {
            return Vec::new();
        };
        let mut names: Vec<Box<[u8]>> = Vec::new();
        while names.len() < Self::NEAR_NAMES_MAX {
            let read = self.files.read_names(&open, &mut |name| {
                if self.is_listed(name, directory.is_empty()) {
                    names.push(name.into());
                }
            });
            if read != Ok(true) {
                break;
            }
        }
        self.cost += 8 + names.len() as u32;
        let mut near: Vec<(usize, Box<[u8]>)> = names
            .into_iter()
            .filter_map(|name| Some((likeness(wanted, &name)?, name)))
            .collect();
        near.sort_by_key(|(likeness, name)| (Reverse(*likeness), name.clone()));
        let mut found = Vec::new();
        for (_, name) in near.into_iter().take(4 * Self::SUGGESTED_MAX) {
            let path = [directory, &*name].concat();
            // What a request for the name would not find is not suggested.
            match self.files.stat(&path) {
                Ok(stat) if stat.kind == FileKind::Directory => {
                    found.push([&path[..], b"/"].concat());
                }
                Ok(stat) if stat.kind == FileKind::File => found.push(path),
                Ok(_) | Err(_) => {}
            }
            if found.len() == Self::SUGGESTED_MAX {
                break;
            }
        }
        found
    }
}

/// The refusal of a request in the form that the client asks for.
#[cold]
pub(super) fn in_form_for<F>(mut reply: Reply<F>, request: &RequestHead<'_>) -> Reply<F> {
    match Form::from_request(request) {
        Form::Text => reply.vary_by_accept(),
        form => reply.put_in_form(form, &[], false),
    }
    reply
}

impl<F> Reply<F> {
    /// The same error in another form than plain text.
    fn put_in_form(&mut self, form: Form, near: &[Vec<u8>], is_app: bool) {
        let sentence = match &self.reason {
            Some(reason) if !self.is_discreet => reason.clone(),
            _ => FileError::Absent.sentence().into(),
        };
        // Where a name is like the path, a slip of the pen is more likely than a route.
        let is_app = is_app && near.is_empty();
        let sentence = match is_app {
            true => {
                "there is no such file here; if this is a route of a single-page app, start".into()
            }
            false => sentence,
        };
        let command = is_app.then_some("oneloop --spa");
        let advice = Advice {
            sentence: &sentence,
            command,
            near,
            retries: false,
        };
        let (code, reason) = (self.status.code(), self.status.reason());
        let mut page = Vec::new();
        match form {
            Form::Json => pages::error_json(&mut page, code, reason, &advice),
            Form::Html | Form::Text => pages::error_page(&mut page, code, reason, &advice),
        }
        self.vary_by_accept();
        let length = page.len().to_string();
        let policy = (form == Form::Html).then_some(pages::ERROR_POLICY);
        let policy = policy.map(|policy| Change::Set("Content-Security-Policy", policy));
        let changes = [
            Change::Set("Content-Type", form.media_type()),
            Change::Set("Content-Length", &length),
        ];
        let head = edit_head(&self.head, changes.into_iter().chain(policy));
        (self.head, self.body, self.form) = (head.into(), Body::Bytes(page.into()), form);
    }

    /// Takes the script of live reload over from the page that this one replaces, with the fields of the
    /// head that let the script run.
    fn keep_script_of(&mut self, before: &Reply<F>) {
        const END: &[u8] = b"</script>";
        if let (Body::Bytes(old), Body::Bytes(new)) = (&before.body, &self.body) {
            let at = TagPlace::find(old, None).at;
            let end = memmem::find(&old[at..], END).map_or(0, |end| end + END.len());
            let tag = String::from_utf8_lossy(&old[at..at + end]);
            let page = TagPlace::find(new, None).insert(&tag, new);
            let length = page.len().to_string();
            let change = Change::Set("Content-Length", &length);
            self.head = edit_head(&before.head, [change].into_iter()).into();
            self.body = Body::Bytes(page.into());
            self.is_live = true;
        }
    }

    /// Says that another Accept may get another form (RFC 9110 §12.5.5).
    fn vary_by_accept(&mut self) {
        let vary = field_values(&self.head, "Vary").next();
        let vary = match vary.and_then(|vary| str::from_utf8(vary).ok()) {
            Some(vary) if vary.split(", ").any(|member| member == "Accept") => return,
            Some(vary) => format!("{vary}, Accept"),
            None => "Accept".to_owned(),
        };
        self.head = edit_head(&self.head, [Change::Set("Vary", &vary)].into_iter()).into();
    }

    /// Says that a navigation may get another reply than a part of a page. A reply that was prepared for
    /// many requests says so already.
    fn vary_by_navigation(&mut self) {
        if field_values(&self.head, "Vary").eq([VARY_BY_NAVIGATION.as_bytes()]) {
            return;
        }
        let change = Change::Set("Vary", VARY_BY_NAVIGATION);
        self.head = edit_head(&self.head, [change].into_iter()).into();
    }

    /// The same reply as the answer to another path than that of its file: a cache must always ask, even if
    /// it may keep the file for a time.
    pub(super) fn into_fallback(mut self) -> Reply<F> {
        // A 304 renews the fields of the answer that the cache has (RFC 9111 §4.3.4).
        if self.status.code() < 400 {
            let change = Change::Set("Cache-Control", "no-cache");
            self.head = edit_head(&self.head, [change].into_iter()).into();
        }
        self.is_fallback = true;
        self
    }

    /// Lets the body tell the reason, for a peer on this machine.
    #[cold]
    pub fn tell_reason(&mut self) {
        if let Some(reason) = &self.reason {
            let mut told = Reply::plain(self.status, reason.clone());
            match self.form {
                Form::Text => told.vary_by_accept(),
                form => told.put_in_form(form, &[], false),
            }
            told.cost = self.cost;
            if self.is_live {
                told.keep_script_of(self);
            }
            *self = told;
        }
    }
}

/// The answer to a navigation that another request to the same path does not get.
fn for_navigations<F>(mut reply: Reply<F>) -> Reply<F> {
    reply.vary_by_navigation();
    reply.into_fallback()
}

/// The fields of a request that tell a navigation from others, and those that select a form and a coding.
pub(super) const VARY_BY_NAVIGATION: &str =
    "Accept, Accept-Encoding, Sec-Fetch-Dest, Sec-Fetch-Mode, Upgrade-Insecure-Requests";

/// Whether a browser asks for a page to show, and not for a part of one.
///
/// A browser says so in Sec-Fetch-Dest (Fetch Metadata Request Headers §2.1). A request that a service
/// worker passes on has the mode alone. And a browser sends neither to a server whose address is not
/// trustworthy, as of plain HTTP in a local network: there, only a navigation has
/// Upgrade-Insecure-Requests and an Accept with HTML.
pub(super) fn is_navigation(request: &RequestHead<'_>) -> bool {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return false;
    }
    match (
        request.value(Field::FetchDest),
        request.value(Field::FetchMode),
    ) {
        (Some(b"document" | b"iframe" | b"frame"), _) => true,
        (Some(b"empty") | None, Some(mode)) => mode == b"navigate",
        (Some(_), _) => false,
        (None, None) => {
            request.named("upgrade-insecure-requests") == Some(b"1")
                && Form::from_request(request) == Form::Html
        }
    }
}

/// How much a name is like the wanted one; `None` if not enough to be meant. More is better.
fn likeness(wanted: &[u8], name: &[u8]) -> Option<usize> {
    /// Longer names are not compared: the comparison takes the product of the lengths.
    const LENGTH_MAX: usize = 64;
    if wanted.len() > LENGTH_MAX || name.len() > LENGTH_MAX {
        return None;
    }
    let (wanted, name) = (wanted.to_ascii_lowercase(), name.to_ascii_lowercase());
    let stem = |name: &[u8]| match name.iter().rposition(|b| *b == b'.') {
        Some(at) if at > 0 => name[..at].to_vec(),
        _ => name.to_vec(),
    };
    if stem(&wanted) == stem(&name) {
        return Some(LENGTH_MAX);
    }
    let most = 1 + wanted.len() / 5;
    let distance = |a: &[u8], b: &[u8]| match least_distance(a, b) <= most {
        true => edit_distance(a, b),
        false => usize::MAX,
    };
    // A page is asked for without its ending.
    let distance = distance(&wanted, &name).min(distance(&stem(&wanted), &stem(&name)));
    (distance <= most).then(|| LENGTH_MAX - distance)
}

/// A lower bound of the [`edit_distance`] that takes no product of the lengths: each edit adds or removes at
/// most one byte of the two sets of bytes, as `a` has them and as `b` has them.
fn least_distance(a: &[u8], b: &[u8]) -> usize {
    let mut counts = [0_i32; 256];
    a.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    b.iter().for_each(|byte| counts[usize::from(*byte)] -= 1);
    let more: i32 = counts.iter().filter(|n| **n > 0).sum();
    let fewer: i32 = counts.iter().filter(|n| **n < 0).sum();
    more.max(-fewer) as usize
}

/// The least number of bytes to insert, delete or replace, and of neighbours to exchange, that turns
/// one name into the other (the optimal string alignment distance).
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let other = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                    let exchanged = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let exchanged = match exchanged {
                        true => rows[i - 2][j - 2] + 1,
                        false => usize::MAX,
                    };
                    replaced.min(other).min(exchanged)
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_suggested_if_it_may_have_been_meant() {
        for (wanted, name, is_near) in [
            ("abuot.html", "about.html", true),
            ("about", "about.html", true),
            ("About.html", "about.html", true),
            ("style.css", "styles.css", true),
            ("app.js", "app.ts", true),
            ("abuot", "about.html", true),
            ("main.js", "index.html", false),
            ("a", "b", true),
            ("logo.png", "photo.png", false),
        ] {
            let likeness = likeness(wanted.as_bytes(), name.as_bytes());
            assert_eq!(likeness.is_some(), is_near, "{wanted} {name}");
        }
        assert_eq!(edit_distance(b"abc", b"abc"), 0);
        assert_eq!(edit_distance(b"abc", b"acb"), 1);
        assert_eq!(edit_distance(b"", b"abc"), 3);
        assert_eq!(edit_distance(b"kitten", b"sitting"), 3);
    }
}
