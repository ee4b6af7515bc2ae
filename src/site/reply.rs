//! Floor 3, site: what a request is answered with.

use std::rc::Rc;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

use super::Stream;
use crate::http::{ResponseHead, SitePath, Status};

/// What answers a request: a head without its end (see
/// [`finish_head`](crate::http::finish_head)) and where the body comes from. The head's framing is
/// that of the body, also when the body will not be sent (HEAD).
#[derive(Debug)]
pub(crate) struct Reply<F> {
    /// The status, for the log.
    pub status: Status,
    /// The status line and the fields of the representation.
    pub head: Rc<[u8]>,
    /// The content.
    pub body: Body<F>,
    /// What making it cost, in steps of a connection's budget, at least one.
    pub cost: u32,
}

/// The content of a reply.
#[derive(Debug)]
pub(crate) enum Body<F> {
    /// In memory, shared with others, perhaps empty.
    Bytes(Rc<[u8]>),
    /// In storage of the transport's pool.
    Owned(Vec<u8>),
    /// Piece by piece.
    Stream(Stream<F>),
}

impl<F> Body<F> {
    /// No content, which needs no allocation either.
    pub fn empty() -> Body<F> {
        Body::Owned(Vec::new())
    }
}

impl<F> Reply<F> {
    /// A reply of the ordinary effort.
    pub(super) fn new(status: Status, head: ResponseHead, body: Body<F>) -> Reply<F> {
        Reply {
            status,
            head: head.into_bytes().into(),
            body,
            cost: 1,
        }
    }

    /// A status with a sentence for people.
    pub fn plain(status: Status, sentence: &str) -> Reply<F> {
        Reply::plain_with(ResponseHead::new(status), status, sentence)
    }

    /// The same with fields of its own.
    pub(super) fn plain_with(head: ResponseHead, status: Status, sentence: &str) -> Reply<F> {
        let body = format!("{} {}: {sentence}\n", status.code(), status.reason());
        let head = head
            .field("Content-Type", "text/plain; charset=utf-8")
            .field("X-Content-Type-Options", "nosniff")
            .field("Content-Length", body.len());
        Reply::new(status, head, Body::Bytes(body.into_bytes().into()))
    }

    /// What an endpoint says, in storage of the pool's.
    pub fn made(status: Status, media_type: &str, body: Vec<u8>) -> Reply<F> {
        let head = ResponseHead::new(status)
            .field("Content-Type", media_type)
            .field("X-Content-Type-Options", "nosniff")
            .field("Content-Length", body.len())
            .field("Cache-Control", "no-store");
        Reply::new(status, head, Body::Owned(body))
    }

    /// The answer to OPTIONS, for a path as for the server as a whole (RFC 9110 §9.3.7).
    pub(super) fn options(takes_posts: bool) -> Reply<F> {
        let head = ResponseHead::new(Status::NoContent).field("Allow", allowed(takes_posts));
        Reply::new(Status::NoContent, head, Body::empty())
    }

    pub(super) fn method_not_allowed(takes_posts: bool) -> Reply<F> {
        let status = Status::MethodNotAllowed;
        let head = ResponseHead::new(status).field("Allow", allowed(takes_posts));
        Reply::plain_with(head, status, "files can be read with GET and HEAD")
    }

    /// There is an endpoint here and no file of that name (RFC 9110 §15.5.22).
    pub(super) fn upgrade_required(takes_posts: bool) -> Reply<F> {
        let head = ResponseHead::new(Status::UpgradeRequired);
        Reply::not_upgraded(
            head,
            Status::UpgradeRequired,
            match takes_posts {
                true => "connect to this path by WebSocket (ws://), or POST to it",
                false => "connect to this path by WebSocket (ws://)",
            },
        )
    }

    /// An opening handshake of another version (RFC 6455 §4.4).
    pub fn version_required(sentence: &str) -> Reply<F> {
        let status = Status::UpgradeRequired;
        let head = ResponseHead::new(status).field("Sec-WebSocket-Version", "13");
        Reply::not_upgraded(head, status, sentence)
    }

    fn not_upgraded(head: ResponseHead, status: Status, sentence: &str) -> Reply<F> {
        let head = head
            .field("Upgrade", "websocket")
            .field("Connection", "Upgrade");
        Reply::plain_with(head, status, sentence)
    }

    /// To the same path with a slash, so that relative links in the index lead where they should.
    /// The decoded path has neither a second slash in front nor a backslash: this cannot lead to
    /// another host.
    pub(super) fn to_directory(path: &SitePath<'_>, query: Option<&[u8]>) -> Reply<F> {
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
        Reply::plain_with(
            head,
            status,
            "this is a directory: its name ends in a slash",
        )
    }
}

/// What can be asked of a path.
fn allowed(takes_posts: bool) -> &'static str {
    match takes_posts {
        true => "GET, HEAD, POST, OPTIONS",
        false => "GET, HEAD, OPTIONS",
    }
}
