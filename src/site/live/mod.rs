//! Floor 2, site: live reload, as far as it concerns the answers. A page that a browser opens gets a script
//! at the beginning of its head; any other request for the page gets the bytes of the file.
//!
//! The answer with the script is made from the whole answer without a coding, after the rules of
//! `_headers` and the flags had their say about its fields: its media type decides, not the name of the
//! file. The answer is a representation of its own (RFC 9110 §3.2):
//!
//! - an entity tag of its own, which has a hash of the script; no date, because the date of the file would
//!   be that of both;
//! - no ranges, because a place in one body is another place in the other;
//! - codings are made of the page with the script; siblings such as `.br` are not;
//! - `Cache-Control: no-cache`, because a page must be new after it was edited, as must the files that the
//!   browser asks for; and in both answers, a `Vary` with the fields of the request by which they are told apart.

mod caching;
mod client;
mod csp;
mod digest;
mod head;
mod inject;
mod interest;
mod look;
mod noting;
mod pages;
mod survey;
mod uses;
mod workers;

pub(super) use caching::{ASK, lets_reuse};
pub(crate) use client::Client;
pub use inject::TagPlace;
pub(super) use noting::may_be_browser;
pub(super) use pages::Page;
pub(crate) use survey::Change as LiveChange;
pub(super) use uses::Uses;

use std::mem;
use std::rc::Rc;
use std::time::SystemTime;

use sha1::{Digest, Sha1};

use self::csp::{Needs, Widened, widen};
use self::head::{
    HeadParts, Length, authority_of, charset_of, is_page, own_validators, validators_in,
    varies_by_coding,
};
use self::pages::{Pages, Ready};
use self::workers::Workers;
use super::encoding;
use super::fallback::{VARY_BY_NAVIGATION, is_navigation};
use super::pages::{ERROR_POLICY, LISTING_POLICY};
use super::stream::{Encoding, Kept, Original, PageStream};
use super::{Body, Files, Reply, RunningEncoder, Site, Stream, absent};
use crate::http::{
    Coding, Field, Form, Method, Precondition, RequestHead, Status, Version, edit_head,
    field_values, precondition,
};

/// The state of live reload that concerns answers.
#[derive(Debug)]
pub(super) struct Live {
    /// The URL path of the script.
    script: Box<str>,
    /// A part of each entity tag: the page must be sent again with another script.
    mark: String,
    pages: Pages,
    /// Whether the warning was given that a policy is widened; and that caches are told otherwise.
    is_widening_told: bool,
    is_caching_told: bool,
    warnings: Vec<String>,
    /// The URL paths of the pages that were sent with the script since the last look.
    injected: Vec<Box<str>>,
    workers: Workers,
}

/// The fields of a request that do not count for a page with the script until the page is made.
const SELECTING: &[Field] = &[
    Field::AcceptEncoding,
    Field::Range,
    Field::IfRange,
    Field::IfMatch,
    Field::IfNoneMatch,
    Field::IfModifiedSince,
    Field::IfUnmodifiedSince,
];

/// Those that ask for a part of the content, or for the content under a condition.
const CONDITIONAL: &[Field] = SELECTING.split_first().expect("it is not empty").1;

/// Every request of a browser has one of these.
pub(super) const HINTS: &[Field] = &[
    Field::FetchDest,
    Field::FetchMode,
    Field::FetchSite,
    Field::Referer,
    Field::AcceptEncoding,
];

impl<F: Files> Site<F> {
    /// The number of bytes of a page that are searched and copied with one unit of work.
    const PAGE_BYTES_PER_WORK: usize = 4096;

    /// The number of pages that are remembered between two looks at what was sent.
    const INJECTED_MAX: usize = 64;

    /// The number of bytes that the encoder takes with one unit of work.
    const CODED_BYTES_PER_WORK: usize = 40;

    /// Gives each page that a browser opens the script at the URL path `script`, which another part of the
    /// server must answer.
    ///
    /// # Panics
    /// If the path could end an attribute or a tag.
    #[must_use]
    pub fn with_live(mut self, script: &str) -> Site<F> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/_-.".contains(&b);
        assert!(script.bytes().all(is_plain), "the path needs no escaping");
        self.has_browsers = true;
        self.absent = absent(VARY_BY_NAVIGATION);
        let digest = Sha1::digest(script);
        self.live = Some(Box::new(Live {
            script: script.into(),
            mark: digest[..4].iter().map(|b| format!("{b:02x}")).collect(),
            pages: Pages::new(self.cache.bytes_max() / 4),
            is_widening_told: false,
            is_caching_told: false,
            warnings: Vec::new(),
            injected: Vec::new(),
            workers: Workers::default(),
        }));
        self
    }

    /// Whether a warning about live reload waits.
    #[inline]
    pub(super) fn has_live_warnings(&self) -> bool {
        let live = self.live.as_ref();
        live.is_some_and(|live| !live.warnings.is_empty())
    }

    /// Takes the warnings about live reload since the last call.
    pub(super) fn take_live_warnings(&mut self) -> Vec<String> {
        let live = self.live.as_mut();
        live.map(|live| mem::take(&mut live.warnings))
            .unwrap_or_default()
    }

    /// Whether pages were sent with the script since the last call of
    /// [`take_injected`](Site::take_injected).
    pub(super) fn has_injected(&self) -> bool {
        let live = self.live.as_ref();
        live.is_some_and(|live| !live.injected.is_empty())
    }

    /// Takes the URL paths of the pages that were sent with the script since the last call. Each should
    /// say hello soon.
    pub(crate) fn take_injected(&mut self) -> Vec<Box<str>> {
        let live = self.live.as_mut();
        live.map(|live| mem::take(&mut live.injected))
            .unwrap_or_default()
    }

    /// The answer with the script, if a browser asks for a page to show. `None` for every other request.
    #[cold]
    #[inline(never)]
    pub(super) fn answer_navigation(
        &mut self,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Option<Reply<F::File>> {
        if !is_navigation(request) {
            return None;
        }
        let head = request.without(SELECTING);
        let whole = self.answer_and_note(&RequestHead::new(&head, request.bytes()), now);
        // The state is taken out while the site is at work for it.
        let mut live = self.live.take()?;
        self.cost = 0;
        let cost = whole.cost;
        let mut reply = self.with_script(&mut live, whole, request);
        let is_live = reply.as_ref().is_some_and(|reply| reply.is_live);
        // A page that is fetched ahead may never be shown.
        let is_shown = || request.method() == Method::Get && request.named("sec-purpose").is_none();
        if is_live && live.injected.len() < Self::INJECTED_MAX && is_shown() {
            let path = String::from_utf8_lossy(request.path().unwrap_or_default());
            live.injected.push(path.into());
        }
        self.live = Some(live);
        match &mut reply {
            Some(reply) => reply.cost = cost + self.cost,
            None => self.cost = cost,
        }
        reply
    }

    /// The answer with the script, made from a whole answer. The same answer, if the script makes no
    /// difference to it; `None`, if the answer must be made from the request as it is.
    fn with_script(
        &mut self,
        live: &mut Live,
        whole: Reply<F::File>,
        request: &RequestHead<'_>,
    ) -> Option<Reply<F::File>> {
        let known = live.pages.get(&whole.head);
        if let Some(page) = &known {
            let bytes = page.whole_bytes(&whole.body);
            let coding = self.coding_of_page(page, bytes, &whole, request);
            if let Some(ready) = page.ready(coding) {
                return Some(self.respond_with(page, ready, coding, whole, request));
            }
        }
        let head = match self.policy.has_changes() {
            true => edit_head(&whole.head, self.policy.changes()).into(),
            false => Rc::clone(&whole.head),
        };
        if !is_page(whole.status, &head) {
            // The usual answer to a request for an image.
            let is_same = !request.has_any(CONDITIONAL) && !varies_by_coding(&whole.head);
            return is_same.then_some(whole);
        }
        let policy = match live.policy_for(&head, request, || self.next_boundary()) {
            Allowed::AsItIs => None,
            Allowed::By(policy) => Some(policy),
            Allowed::Never => return None,
        };
        live.tell_of_caching(&head);
        let nonce = policy.as_ref().and_then(|policy| policy.nonce.as_deref());
        let tag = live.tag(nonce);
        let parts = HeadParts {
            head: &head,
            policy: policy.as_ref().map(|policy| &*policy.policy),
        };
        if field_values(&head, "Transfer-Encoding").next().is_some()
            || matches!(&whole.body, Body::Stream(stream) if stream.ends_with_connection())
        {
            return Some(list_with_script(whole, &parts, tag));
        }
        // A page with a nonce is never the same again.
        let validators = match nonce {
            Some(_) => None,
            None => own_validators(&head, &live.mark),
        };
        let is_kept = validators.as_ref().is_some_and(|v| !v.tag.is_weak());
        let page = match known.filter(|_| is_kept) {
            Some(page) => page,
            None => {
                let page = Rc::new(self.make_page(&whole.body, &tag, &head)?);
                self.cost += 1 + (page.begin.len() / Self::PAGE_BYTES_PER_WORK) as u32;
                if is_kept {
                    live.pages.insert(&whole.head, &page);
                }
                page
            }
        };
        let bytes = page.whole_bytes(&whole.body);
        let coding = self.coding_of_page(&page, bytes, &whole, request);
        let length = self.length_of_page(&page, bytes, coding);
        let validators = validators.map(|validators| validators_in(validators, coding));
        let is_constant = is_kept && policy.is_none() && length != Length::Chunked;
        let ready = Ready {
            ok: parts.join(validators.as_ref(), length, coding).into(),
            not_modified: parts.join_not_modified(validators.as_ref()).into(),
            validators,
        };
        let reply = self.respond_with(&page, &ready, coding, whole, request);
        if is_constant {
            page.make_ready(coding, ready);
        }
        Some(reply)
    }

    /// Answers with a page in a coding. `whole` is the answer without the script.
    fn respond_with(
        &mut self,
        page: &Rc<Page>,
        ready: &Ready,
        coding: Coding,
        whole: Reply<F::File>,
        request: &RequestHead<'_>,
    ) -> Reply<F::File> {
        let is_found = whole.status == Status::Ok;
        let holds = match &ready.validators {
            Some(validators) if is_found => precondition(request, validators),
            Some(_) | None => Precondition::Holds { ranges: false },
        };
        let (status, head, body) = match holds {
            Precondition::Holds { .. } => {
                let body = self.body_of_page(page, coding, whole.body, request);
                (whole.status, &ready.ok, body)
            }
            Precondition::NotModified => (Status::NotModified, &ready.not_modified, Body::empty()),
            Precondition::Failed => {
                let sentence = "the page is not the one that was meant";
                return Reply::plain(Status::PreconditionFailed, sentence);
            }
        };
        Reply {
            status,
            head: Rc::clone(head),
            body,
            is_live: true,
            ..whole
        }
    }

    /// The page with the tag, made from the body of the answer without it. `None` if the file cannot be
    /// read.
    fn make_page(&self, body: &Body<F::File>, tag: &str, head: &[u8]) -> Option<Page> {
        let media_type = field_values(head, "Content-Type")
            .next()
            .unwrap_or_default();
        let charset = charset_of(media_type);
        match body {
            Body::Bytes(bytes) => {
                let place = TagPlace::find(bytes, charset);
                Some(Page::new(place.insert(tag, bytes), 0))
            }
            Body::Stream(Stream::File(stream)) => {
                let mut beginning = vec![0; TagPlace::SEARCHED_BYTES];
                let read = self.files.read_at(stream.file(), &mut beginning, 0).ok()?;
                beginning.truncate(read);
                let place = TagPlace::find(&beginning, charset);
                let begin = place.insert(tag, &beginning[..place.at]);
                Some(Page::new(begin, place.at as u64))
            }
            Body::Stream(_) | Body::Part(..) | Body::Parts(..) | Body::Owned(_) => None,
        }
    }

    /// The coding for a page of so many bytes. The rules are those for files, but for siblings.
    fn coding_of_page(
        &mut self,
        page: &Page,
        bytes: u64,
        reply: &Reply<F::File>,
        request: &RequestHead<'_>,
    ) -> Coding {
        let is_own_error = reply.form != Form::Text && reply.status != Status::Ok;
        let is_worth = self.encoded_sizes().contains(&bytes) && !is_own_error;
        if !is_worth || !request.has_any(&[Field::AcceptEncoding]) {
            return Coding::Identity;
        }
        let acceptable = self.acceptable(request);
        let path = request.path().unwrap_or_default();
        for coding in acceptable.in_order() {
            let is_gzip_better =
                coding == Coding::Brotli && acceptable.weighs_equally(coding, Coding::Gzip);
            if coding == Coding::Identity {
                break;
            }
            if !encoding::is_made_here(coding) || is_gzip_better {
                continue;
            }
            let is_needed = !acceptable.takes(Coding::Identity);
            if page.coded(coding).is_some()
                || is_coded_at_once(page, bytes)
                || (request.version() == Version::Http11
                    && self.may_encode(path, coding, is_needed))
            {
                return coding;
            }
        }
        Coding::Identity
    }

    /// The length of a page in a coding. A short page is encoded for that.
    fn length_of_page(&mut self, page: &Page, bytes: u64, coding: Coding) -> Length {
        if coding == Coding::Identity {
            return Length::Known(bytes);
        }
        if page.coded(coding).is_none() && is_coded_at_once(page, bytes) {
            self.cost += 1 + (bytes as usize / Self::CODED_BYTES_PER_WORK) as u32;
            page.keep(coding, self.encoders.whole(coding, &page.begin).into());
        }
        match page.coded(coding) {
            Some(coded) => Length::Known(coded.len() as u64),
            None => Length::Chunked,
        }
    }

    /// The body with a page in a coding. `plain` is the body without the tag.
    fn body_of_page(
        &mut self,
        page: &Rc<Page>,
        coding: Coding,
        plain: Body<F::File>,
        request: &RequestHead<'_>,
    ) -> Body<F::File> {
        let begin = page.begin.clone();
        if coding == Coding::Identity {
            return match plain {
                Body::Stream(Stream::File(file)) => Body::Stream(Stream::Page(Box::new(
                    PageStream::new(begin, page.rest, *file),
                ))),
                _ => Body::Bytes(begin),
            };
        }
        if let Some(coded) = page.coded(coding) {
            return Body::Bytes(coded);
        }
        if request.method() == Method::Head {
            return Body::empty();
        }
        let permit = Rc::new(());
        self.encoding.push(RunningEncoder {
            path: request.path().unwrap_or_default().into(),
            coding,
            permit: Rc::downgrade(&permit),
        });
        let size = page.whole_bytes(&plain);
        let encoding = Encoding {
            coding,
            content: match plain {
                Body::Stream(Stream::File(file)) => Original::Page {
                    begin,
                    from: page.rest,
                    open: file.open,
                },
                _ => Original::Memory(begin),
            },
            size,
            at: 0,
            encoder: Some(self.encoders.begin(coding)),
            kept: Some(Kept::page(page)),
            permit: Some(permit),
        };
        Body::Stream(Stream::Encoding(Box::new(encoding)))
    }
}

/// A long listing with the script. Its rows come later.
fn list_with_script<F>(list: Reply<F>, parts: &HeadParts<'_>, tag: String) -> Reply<F> {
    let mut body = list.body;
    if let Body::Stream(Stream::Listing(listing)) = &mut body {
        listing.tag = tag.into();
    }
    Reply {
        head: parts.join(None, Length::AsItIs, Coding::Identity).into(),
        body,
        is_live: true,
        ..list
    }
}

/// Whether a page is short enough to be encoded before the answer begins. A longer one would hold up the
/// loop.
fn is_coded_at_once(page: &Page, bytes: u64) -> bool {
    const AT_ONCE: u64 = 32 << 10;
    bytes == page.begin.len() as u64 && bytes <= AT_ONCE
}

impl Live {
    /// The tag, with the value of its attribute `nonce` if it needs one. Without `async`, so that the script
    /// has opened its connection before a policy in a `<meta>` of the page is read.
    fn tag(&self, nonce: Option<&str>) -> String {
        let src = &self.script;
        match nonce {
            Some(nonce) => format!("<script src=\"{src}\" nonce=\"{nonce}\"></script>"),
            None => format!("<script src=\"{src}\"></script>"),
        }
    }

    /// How the policy in a head lets the script run.
    fn policy_for(
        &mut self,
        head: &[u8],
        request: &RequestHead<'_>,
        nonce: impl FnOnce() -> String,
    ) -> Allowed {
        let values: Vec<_> = field_values(head, "Content-Security-Policy")
            .map(String::from_utf8_lossy)
            .collect();
        if values.is_empty() {
            return Allowed::AsItIs;
        }
        let value = values.join(", ");
        let is_own = value == ERROR_POLICY || value == LISTING_POLICY;
        let nonce = (!is_own).then(nonce);
        let authority = authority_of(request);
        let needs = Needs {
            nonce: nonce.as_deref(),
            authority: authority.as_deref(),
            scheme: request.scheme(),
        };
        match widen(&value, needs) {
            Widened::Enough => Allowed::AsItIs,
            Widened::Sandboxed => Allowed::Never,
            Widened::To {
                policy,
                has_nonce,
                directives,
            } => {
                if !is_own && !mem::replace(&mut self.is_widening_told, true) {
                    let names: Vec<_> = directives.iter().map(String::as_str).collect();
                    self.warnings.push(format!(
                        "live reload: the Content-Security-Policy of pages is widened when a browser opens \
                         them, in {}",
                        names.join(" and ")
                    ));
                }
                let nonce = nonce.filter(|_| has_nonce);
                Allowed::By(OwnPolicy { policy, nonce })
            }
        }
    }
}

/// Whether the policy of a page lets the script run.
enum Allowed {
    /// Without a policy, or with the policy as it is.
    AsItIs,
    By(OwnPolicy),
    Never,
}

/// A policy that was widened.
struct OwnPolicy {
    policy: String,
    /// The nonce that the tag must have.
    nonce: Option<String>,
}

#[cfg(test)]
mod tests;
