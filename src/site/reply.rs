//! Floor 2, site: replies, the answers to requests: a status, a response head and a body.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::mount::Takes;
use super::{Parts, Stream};
use crate::http::{Form, Method, ResponseHead, SitePath, Status};
use crate::sys::SharedBytes;

/// The answer to a request: a head without its end (see
/// [`finish_head`](crate::http::finish_head)), and the source of the body. The framing in the head
/// describes the body, also if the body will not be sent (HEAD).
#[derive(Debug)]
pub(crate) struct Reply<F> {
    /// The status, for the log.
    pub status: Status,
    /// The status line and the fields, without the end of the head.
    pub head: Rc<[u8]>,
    /// The content.
    pub body: Body<F>,
    /// The sentence that gives the reason of an error status, for the log; `None` otherwise.
    pub reason: Option<Cow<'static, str>>,
    /// Whether the body does not tell the reason, because not every peer may learn of it.
    pub is_discreet: bool,
    /// Whether the body is the status and the reason as a sentence. The site may put it into another
    /// form.
    pub is_sentence: bool,
    /// Whether the content is that of another path, so that a cache must always ask.
    pub is_fallback: bool,
    /// Whether the content is a page with the script of live reload. The head has the fields of the flags
    /// already.
    pub is_live: bool,
    /// The form of a page that the server itself has written; `Text` for everything else.
    pub form: Form,
    /// The cost of making the reply, in units of the budget's work; at least one.
    pub cost: u32,
}

/// A reply with a plain text that is given often: the text is made once.
#[derive(Debug)]
pub(super) struct Prepared {
    status: Status,
    head: Rc<[u8]>,
    body: SharedBytes,
    sentence: &'static str,
}

impl Prepared {
    /// Makes the text of a reply with an error status. A request with other fields, of those that `vary`
    /// names, may get another form.
    pub fn plain(status: Status, sentence: &'static str, vary: &str) -> Prepared {
        let head = ResponseHead::new(status).field("Vary", vary);
        let (head, body) = plain_text(head, status, sentence);
        Prepared {
            status,
            head: head.into_bytes().into(),
            body,
            sentence,
        }
    }

    /// The reply, without a copy of the text.
    pub fn reply<F>(&self) -> Reply<F> {
        let body = Body::Bytes(self.body.clone());
        Reply {
            reason: Some(Cow::Borrowed(self.sentence)),
            is_sentence: true,
            ..Reply::with(self.status, Rc::clone(&self.head), body)
        }
    }
}

/// The status and a sentence for people as a body, after a head with the fields that describe the body.
fn plain_text(head: ResponseHead, status: Status, sentence: &str) -> (ResponseHead, SharedBytes) {
    let body = format!("{} {}: {sentence}\n", status.code(), status.reason());
    let head = head
        .field("Content-Type", "text/plain; charset=utf-8")
        .field("X-Content-Type-Options", "nosniff")
        .field("Content-Length", body.len());
    (head, body.into_bytes().into())
}

/// The content of a reply.
#[derive(Debug)]
pub(crate) enum Body<F> {
    /// Bytes in memory, shared with the cache or other replies; may be empty.
    Bytes(SharedBytes),
    /// A range of such bytes.
    Part(SharedBytes, Range<usize>),
    /// Several ranges of such bytes, as `multipart/byteranges`.
    Parts(SharedBytes, Box<Parts>),
    /// Bytes in a buffer that belongs to the transport's pool; may be empty.
    Owned(Vec<u8>),
    /// A body that is sent slice by slice.
    Stream(Stream<F>),
}

impl<F> Body<F> {
    /// An empty body, made without an allocation.
    pub fn empty() -> Body<F> {
        Body::Owned(Vec::new())
    }
}

impl<F> Reply<F> {
    /// A reply with the ordinary cost of one step.
    pub(super) fn new(status: Status, head: ResponseHead, body: Body<F>) -> Reply<F> {
        Reply::with(status, head.into_bytes().into(), body)
    }

    /// The same, with a head that was made before. Inlined, because nearly every request is answered
    /// with such a reply.
    #[inline(always)]
    pub(super) fn with(status: Status, head: Rc<[u8]>, body: Body<F>) -> Reply<F> {
        Reply {
            status,
            head,
            body,
            reason: None,
            is_discreet: false,
            is_sentence: false,
            is_fallback: false,
            is_live: false,
            form: Form::Text,
            cost: 1,
        }
    }

    /// A reply with a plain text: the status and a sentence for people.
    pub fn plain(status: Status, sentence: impl Into<Cow<'static, str>>) -> Reply<F> {
        Reply::plain_with(ResponseHead::new(status), status, sentence)
    }

    /// The same reply, with a reason that the body does not tell.
    pub(super) fn because(self, reason: &'static str) -> Reply<F> {
        Reply {
            reason: Some(reason.into()),
            is_discreet: true,
            ..self
        }
    }

    /// The same text after a head with additional fields.
    pub(super) fn plain_with(
        head: ResponseHead,
        status: Status,
        sentence: impl Into<Cow<'static, str>>,
    ) -> Reply<F> {
        let sentence = sentence.into();
        let (head, body) = plain_text(head, status, &sentence);
        Reply {
            reason: (status.code() >= 400).then_some(sentence),
            is_sentence: status.code() >= 400,
            ..Reply::new(status, head, Body::Bytes(body))
        }
    }

    /// The head of an answer whose content comes by itself.
    pub fn begun(status: Status, head: ResponseHead) -> Reply<F> {
        Reply::new(status, head, Body::empty())
    }

    /// The capacity in bytes of a body that belongs to this reply alone.
    pub fn owned_bytes(&self) -> usize {
        match &self.body {
            Body::Owned(bytes) => bytes.capacity(),
            Body::Bytes(_) | Body::Part(..) | Body::Parts(..) | Body::Stream(_) => 0,
        }
    }

    /// The answer to OPTIONS, for a path as for the server as a whole (RFC 9110 §9.3.7).
    pub(super) fn options(allowed: Allowed) -> Reply<F> {
        let head = ResponseHead::new(Status::NoContent).field("Allow", allowed.methods());
        Reply::new(Status::NoContent, head, Body::empty())
    }

    pub(super) fn method_not_allowed(allowed: Allowed) -> Reply<F> {
        let status = Status::MethodNotAllowed;
        let head = ResponseHead::new(status).field("Allow", allowed.methods());
        Reply::plain_with(head, status, allowed.sentence())
    }

    /// The reply if an endpoint is mounted at the path, and no file exists there (RFC 9110
    /// §15.5.22).
    pub(super) fn upgrade_required(allowed: Allowed) -> Reply<F> {
        let head = ResponseHead::new(Status::UpgradeRequired);
        Reply::not_upgraded(head, Status::UpgradeRequired, allowed.sentence())
    }

    /// The reply to an opening handshake with an unknown version (RFC 6455 §4.4).
    pub fn version_required(sentence: &'static str) -> Reply<F> {
        let status = Status::UpgradeRequired;
        let head = ResponseHead::new(status).field("Sec-WebSocket-Version", "13");
        Reply::not_upgraded(head, status, sentence)
    }

    /// The reply to a body in a content coding, for an endpoint (RFC 9110 §15.5.16).
    pub fn coding_not_taken() -> Reply<F> {
        let status = Status::UnsupportedMediaType;
        let head = ResponseHead::new(status).field("Accept-Encoding", "identity");
        Reply::plain_with(
            head,
            status,
            "a body is taken without a content coding here",
        )
    }

    fn not_upgraded(
        head: ResponseHead,
        status: Status,
        sentence: impl Into<Cow<'static, str>>,
    ) -> Reply<F> {
        let head = head
            .field("Upgrade", "websocket")
            .field("Connection", "Upgrade");
        Reply::plain_with(head, status, sentence)
    }

    /// A redirect to the place that a rule names. `location` must have the form of a URI reference. A
    /// browser would keep a permanent redirect for every site that is served on this port later.
    pub(super) fn to_place(status: Status, location: &str, line: usize) -> Reply<F> {
        let cache = match status {
            Status::MovedPermanently | Status::PermanentRedirect => "no-store",
            _ => "no-cache",
        };
        let head = ResponseHead::new(status)
            .field("Location", location)
            .field("Cache-Control", cache);
        let sentence = format!("line {line} of _redirects leads to another place");
        Reply::plain_with(head, status, sentence)
    }

    /// A redirect to the same path with a slash at the end, which makes relative links in the index
    /// file work. The decoded path has no second slash in front, and a backslash, which browsers take for a slash, is
    /// encoded, so the
    /// redirect cannot lead to another host.
    pub(super) fn to_directory(path: &SitePath<'_>, query: Option<&[u8]>) -> Reply<F> {
        /// The bytes that RFC 3986 does not allow in a path.
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
        Reply::plain_with(
            head,
            status,
            "this is a directory: its name ends in a slash",
        )
    }
}

/// What a path allows: a file, an endpoint, or both. At least one of them is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    pub has_file: bool,
    /// The requests that the endpoint takes, if there is one.
    pub endpoint: Option<Takes>,
}

impl Allowed {
    /// A file without an endpoint beside it.
    pub const FILE: Allowed = Allowed {
        has_file: true,
        endpoint: None,
    };

    /// The methods that an endpoint can take, in the order in which they are told.
    const METHODS: [(Method, &str); 8] = [
        (Method::Get, "GET"),
        (Method::Head, "HEAD"),
        (Method::Post, "POST"),
        (Method::Put, "PUT"),
        (Method::Patch, "PATCH"),
        (Method::Delete, "DELETE"),
        (Method::Options, "OPTIONS"),
        (Method::Trace, "TRACE"),
    ];

    /// The methods, for the `Allow` field. GET is the method of the opening handshake too.
    fn methods(self) -> String {
        let takes = self.endpoint.unwrap_or_default();
        let has = |method| match method {
            Method::Get => self.has_file || takes.websocket || takes.has(method),
            Method::Head => self.has_file || takes.has(method),
            Method::Options => true,
            method => takes.has(method),
        };
        let names = Allowed::METHODS.iter().filter(|(method, _)| has(*method));
        names.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    }

    /// A sentence with the same content.
    fn sentence(self) -> Cow<'static, str> {
        let Some(takes) = self.endpoint else {
            return "files can be read with GET and HEAD".into();
        };
        let names = Allowed::METHODS.iter();
        let names = names.filter(|(method, _)| takes.has(*method));
        let names: Vec<_> = names.map(|(_, name)| *name).collect();
        let mut ways = Vec::new();
        if self.has_file {
            ways.push("read this file with GET and HEAD".to_owned());
        }
        if takes.websocket {
            ways.push("connect to this path by WebSocket (ws://)".to_owned());
        }
        if let [first @ .., last] = &names[..] {
            ways.push(match first {
                [] => format!("send {last}"),
                first => format!("send {} or {last}", first.join(", ")),
            });
        }
        match &ways[..] {
            [first @ .., last] if !first.is_empty() => {
                format!("{}, or {last}", first.join(", ")).into()
            }
            ways => ways.concat().into(),
        }
    }
}
