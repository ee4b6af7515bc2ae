//! Floor 2, site: which requests leave a use, and how a use is noted.

use std::time::SystemTime;

use super::look::served;
use super::uses::Uses;
use crate::http::{Authority, Field, Method, RequestHead, field_values};
use crate::site::fallback::is_navigation;
use crate::site::{Files, Reply, Site};

/// Whether a request may come from a browser. The question is asked of each request while live reload is
/// on, so it is cheap: curl and wrk have none of the fields, and another name.
#[inline]
pub(in crate::site) fn may_be_browser(request: &RequestHead<'_>) -> bool {
    request.has_any(&[
        Field::FetchDest,
        Field::FetchMode,
        Field::FetchSite,
        Field::Referer,
    ]) || request
        .value(Field::UserAgent)
        .is_some_and(|name| name.starts_with(b"Mozilla/"))
}

/// The URL path in the Referer field, without the query, if the host is the one of the request.
/// `Err` if it is another.
fn referrer<'a>(request: &RequestHead<'a>) -> Result<Option<&'a [u8]>, ()> {
    let Some(value) = request.value(Field::Referer) else {
        return Ok(None);
    };
    let http = value.strip_prefix(b"http://");
    let rest = http.or_else(|| value.strip_prefix(b"https://")).ok_or(())?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#'));
    let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
    let is_same = |here: Authority<'_>| {
        Authority::parse(authority).is_some_and(|there| {
            there.host.eq_ignore_ascii_case(here.host) && there.port == here.port
        })
    };
    if !request.authority().is_some_and(is_same) {
        return Err(());
    }
    let end = path.iter().position(|b| matches!(b, b'?' | b'#'));
    Ok(Some(match &path[..end.unwrap_or(path.len())] {
        [] => b"/",
        path => path,
    }))
}

/// Whether a request has something to be written.
fn sends(request: &RequestHead<'_>) -> bool {
    use Method::{Delete, Patch, Post, Put};
    matches!(request.method(), Post | Put | Patch | Delete)
}

/// Whether a URL path can be a use. Source maps are for the tools of developers, and the paths of the
/// program are never files.
fn may_be_used(path: &[u8]) -> bool {
    !path.ends_with(b".map") && !path.starts_with(b"/_oneloop/")
}

/// The field lines of a request on which the answer from the files may depend. The coding of the answer
/// is asked about by itself, and conditions and ranges make no difference to the file.
fn fields_of(request: &RequestHead<'_>) -> Vec<u8> {
    /// Browsers send fewer bytes.
    const VALUE_MAX: usize = 400;
    let mut lines = Vec::new();
    let mut add = |name: &str, value: Option<&[u8]>| {
        if let Some(value) = value.filter(|value| value.len() <= VALUE_MAX) {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
    };
    add(
        "Host",
        Some(request.value(Field::Host).unwrap_or(b"localhost")),
    );
    add("Accept", request.named("accept"));
    add("Sec-Fetch-Dest", request.value(Field::FetchDest));
    add("Sec-Fetch-Mode", request.value(Field::FetchMode));
    let insecure = "Upgrade-Insecure-Requests";
    add(insecure, request.named("upgrade-insecure-requests"));
    lines
}

impl<F: Files> Site<F> {
    /// Notes the use of a browser, with the reply that was made.
    #[cold]
    #[inline(never)]
    pub(in crate::site) fn note_use(
        &mut self,
        request: &RequestHead<'_>,
        reply: &mut Reply<F::File>,
        now: SystemTime,
    ) {
        // While an answer is made anew, it is not noted, because the uses are away.
        if let Some(mut uses) = self.uses.take() {
            reply.cost += self.note(&mut uses, request, reply, now);
            self.uses = Some(uses);
        }
    }

    fn note(
        &mut self,
        uses: &mut Uses<F::File>,
        request: &RequestHead<'_>,
        reply: &Reply<F::File>,
        now: SystemTime,
    ) -> u32 {
        let (Some(path), Ok(from)) = (request.path(), referrer(request)) else {
            return 0;
        };
        if let Some(page) = from.filter(|_| sends(request)) {
            uses.note_writer(page, now);
        }
        self.note_worker(request, reply.status);
        let is_navigation = is_navigation(request);
        let says_so = request.has_any(&[Field::FetchDest, Field::FetchMode, Field::FetchSite]);
        let is_of_page = is_navigation || says_so || from.is_some();
        let is_read = request.method() == Method::Get && !request.wants_websocket();
        if !is_read || !is_of_page || !may_be_used(path) {
            return 0;
        }
        let (slot, is_new) = uses.find_or_add(
            path,
            is_navigation,
            || fields_of(request),
            || self.file_of(path),
        );
        // A page that leads to another page is not concerned when that one changes.
        if !is_navigation {
            uses.refer(slot, from);
        }
        let (head, is_strong) = served(reply);
        let one = &mut uses.all[slot];
        if !is_new && is_strong && one.served.contains(&head) {
            one.known_given_at = now;
            return 1;
        }
        one.is_data |= request.value(Field::FetchDest) == Some(b"empty") && is_json(reply);
        let (mut seen, led_to, mut work) = self.glance(one, 0, now);
        if !is_new && seen.differs_from(&one.known) && !seen.is_complete() {
            // A page may have it before the next survey, so the content counts.
            const WORK_MAX: u32 = 1000;
            let (more, _, cost) = self.glance(one, WORK_MAX, now);
            (seen, work) = (more, work + cost);
        }
        seen.take_served(reply, request.query().is_none());
        if is_new || (!uses.has_pages && seen.differs_from(&one.known)) {
            (one.known, one.found) = (seen, None);
            one.served = [0; 2];
            one.given.clear();
            uses.lead(slot, &led_to);
            uses.wants_walk(slot);
            // No event tells of a change before the directories are watched.
            uses.wants_look(slot);
        }
        let one = &mut uses.all[slot];
        if !seen.differs_from(&one.known) {
            one.served = [head, one.served[0]];
        }
        one.give(seen, now);
        work
    }

    /// Notes that a page has sent something to an endpoint, which may write files.
    #[inline]
    pub(crate) fn note_writer(&mut self, request: &RequestHead<'_>, now: SystemTime) {
        if let Some(uses) = &mut self.uses
            && sends(request)
            && let Ok(Some(page)) = referrer(request)
        {
            uses.note_writer(page, now);
        }
    }

    /// Notes that the page at the URL path `page` says to use `url`, which may be its own, and returns
    /// the work. A page may have been loaded before the server was started, or use what a cache has.
    pub(crate) fn note_use_of(&mut self, page: &str, url: &str, now: SystemTime) -> u32 {
        const NAVIGATION: &[u8] = b"Host: localhost\r\nAccept: text/html\r\n\
            Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n";
        const PART: &[u8] = b"Host: localhost\r\nAccept: */*\r\nSec-Fetch-Mode: no-cors\r\n";
        /// The bytes of a path that the parser of requests accepts by default.
        const PATH_MAX: usize = 8000;
        let is_path = |path: &str| {
            let may_be_in_target = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#');
            path.starts_with('/') && path.len() <= PATH_MAX && path.bytes().all(may_be_in_target)
        };
        if !is_path(page) || !is_path(url) || !may_be_used(url.as_bytes()) {
            return 0;
        }
        let Some(mut uses) = self.uses.take() else {
            return 0;
        };
        let (path, is_navigation) = (url.as_bytes(), page == url);
        let fields = match is_navigation {
            true => NAVIGATION,
            false => PART,
        };
        let (slot, is_new) = uses.find_or_add(
            path,
            is_navigation,
            || fields.to_vec(),
            || self.file_of(path),
        );
        if !is_navigation {
            uses.refer(slot, Some(page.as_bytes()));
        }
        let mut work = 1;
        if is_new {
            let (seen, led_to, cost) = self.glance(&uses.all[slot], 0, now);
            (uses.all[slot].known, work) = (seen, cost);
            uses.all[slot].give(seen, now);
            uses.lead(slot, &led_to);
            uses.wants_walk(slot);
            uses.wants_look(slot);
        }
        self.uses = Some(uses);
        work
    }
}

/// Whether the content of a reply is JSON.
fn is_json<F>(reply: &Reply<F>) -> bool {
    let media_type = field_values(&reply.head, "Content-Type").next();
    media_type.is_some_and(|media_type| {
        media_type.starts_with(b"application/json")
            || media_type.starts_with(b"application/ld+json")
    })
}
