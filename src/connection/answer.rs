//! Floor 3, connection: the answer of an endpoint, and how it becomes a reply.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use super::Context;
use crate::http::{
    EntityTag, RequestHead, ResponseHead, Status, fixed_field, is_field_name, is_field_value,
};
use crate::site::{Files, Made, Reply};

/// The answer to a request.
///
/// An answer has a status, fields and content. The server adds the framing, `Date`, and unless the
/// endpoint has set them, `Cache-Control: no-store` and `X-Content-Type-Options: nosniff`.
///
/// ```
/// use oneloop::http::Status;
/// use oneloop::Answer;
///
/// let page = Answer::html("<p>Hello</p>");
/// let missing = Answer::text("there is no such book\n").status(Status::NotFound);
/// let moved = Answer::redirect("/books/2?page=1")?;
/// let welcome = Answer::json("{\"name\":\"Ada\"}").field("Set-Cookie", "id=7; HttpOnly")?;
/// # Ok::<(), oneloop::FieldError>(())
/// ```
#[derive(Debug)]
pub struct Answer {
    pub(super) status: Status,
    media_type: Option<Cow<'static, str>>,
    fields: Vec<(Cow<'static, str>, String)>,
    tag: Option<EntityTag>,
    pub(super) content: Content,
}

/// The content of an answer.
#[derive(Debug)]
pub(super) enum Content {
    /// All of it.
    Whole(Vec<u8>),
    /// The first bytes. The rest comes through [`Hub::write`](super::Hub::write).
    Stream {
        first: Vec<u8>,
        /// The length in bytes of the whole content, if it is known in advance.
        length: Option<u64>,
        /// Whether the stream has no end of its own.
        is_endless: bool,
    },
    /// Nothing yet, not even a head: [`Hub::answer`](super::Hub::answer) brings the answer.
    Later,
}

/// A field that an answer or an event cannot have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldError {
    name: String,
    reason: &'static str,
}

impl FieldError {
    pub(super) fn new(name: &str, reason: &'static str) -> FieldError {
        let name = name.into();
        FieldError { name, reason }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the field {:?}: {}", self.name, self.reason)
    }
}

impl Error for FieldError {}

/// The answer 500 in place of an answer with a field that it cannot have. The log tells the reason.
impl From<FieldError> for Answer {
    fn from(_: FieldError) -> Answer {
        Answer::text("an answer could not be made\n").status(Status::InternalServerError)
    }
}

/// Either the answer or, for an error, the answer 500: for a chain of calls with
/// [`field`](Answer::field) at its end.
impl From<Result<Answer, FieldError>> for Answer {
    fn from(result: Result<Answer, FieldError>) -> Answer {
        result.unwrap_or_else(Answer::from)
    }
}

impl Answer {
    /// The answer 200 with a plain text, in UTF-8.
    pub fn text(text: impl Into<String>) -> Answer {
        Answer::bytes("text/plain; charset=utf-8", text.into())
    }

    /// The answer 200 with a page, in UTF-8. Text from elsewhere must have been escaped.
    pub fn html(page: impl Into<String>) -> Answer {
        Answer::bytes("text/html; charset=utf-8", page.into())
    }

    /// The answer 200 with JSON that has been written out already.
    pub fn json(json: impl Into<String>) -> Answer {
        Answer::bytes("application/json", json.into())
    }

    /// The answer 200 with content of any media type.
    pub fn bytes(media_type: &'static str, content: impl Into<Vec<u8>>) -> Answer {
        Answer::new(Some(media_type), Content::Whole(content.into()))
    }

    /// An answer without content.
    pub fn empty(status: Status) -> Answer {
        Answer::new(None, Content::Whole(Vec::new())).status(status)
    }

    /// The answer 303, which leads to another place by GET, whatever the method was (RFC 9110
    /// §15.4.4). With [`status`](Answer::status) it becomes another redirect.
    ///
    /// # Errors
    /// If `location` is no value of a field. A space, and each character outside ASCII, must be
    /// percent-encoded.
    pub fn redirect(location: impl Into<String>) -> Result<Answer, FieldError> {
        let location = location.into();
        let is_uri = location.bytes().all(|b| b.is_ascii_graphic());
        let mut answer = Answer::empty(Status::SeeOther);
        if !is_uri || location.is_empty() {
            return Err(FieldError::new("Location", "the place is no URI"));
        }
        answer.fields.push(("Location".into(), location));
        Ok(answer)
    }

    /// The answer 200 whose content comes piece by piece: the head is sent now, and the endpoint
    /// [writes](super::Hub::write) the content in this turn or in any later one. HTTP/1.1 clients get
    /// chunks (RFC 9112 §7.1); for HTTP/1.0 clients the content ends with the connection.
    ///
    /// When the head is queued, the server calls
    /// [`on_stream_room`](super::Endpoint::on_stream_room).
    pub fn stream(media_type: &'static str) -> Answer {
        let content = Content::Stream {
            first: Vec::new(),
            length: None,
            is_endless: false,
        };
        Answer::new(Some(media_type), content)
    }

    /// A stream of server-sent events (HTML §9.2): give each [`Event`](super::Event) to
    /// [`Hub::write`](super::Hub::write). A browser that loses the connection comes back, and tells the
    /// last [`id`](super::Event::id) in the field `Last-Event-ID`.
    ///
    /// A browser opens at most six connections to a server over HTTP/1.1, in all of its tabs together,
    /// and each event source holds one of them. A page that may be open in many tabs is better off
    /// with WebSocket.
    pub fn events() -> Answer {
        let content = Content::Stream {
            // The head alone tells a browser that the stream is open; some wait for a byte.
            first: b":\n\n".to_vec(),
            length: None,
            is_endless: true,
        };
        Answer::new(Some("text/event-stream"), content)
    }

    /// No answer yet. [`Hub::answer`](super::Hub::answer) gives the answer later: in a timer, or after a
    /// thread of your program has done the work. Meanwhile the client waits, and further requests of
    /// the connection wait in the kernel.
    pub fn later() -> Answer {
        Answer::new(None, Content::Later)
    }

    fn new(media_type: Option<&'static str>, content: Content) -> Answer {
        Answer {
            status: Status::Ok,
            media_type: media_type.map(Cow::Borrowed),
            fields: Vec::new(),
            tag: None,
            content,
        }
    }

    /// The same answer with another status. Content of a status [without
    /// content](Status::has_no_content) is not sent.
    #[must_use]
    pub fn status(self, status: Status) -> Answer {
        Answer { status, ..self }
    }

    /// The same answer, with a length in bytes announced for a [stream](Answer::stream): the bytes that
    /// the endpoint writes, and no others.
    #[must_use]
    pub fn length(mut self, bytes: u64) -> Answer {
        if let Content::Stream { length, first, .. } = &mut self.content {
            *length = Some(bytes);
            first.clear();
        }
        self
    }

    /// The same answer with one more field. `Set-Cookie` may come several times; any other field
    /// replaces one of the same name.
    ///
    /// # Errors
    /// If the name is not a token, if the value has a control character or white space around (RFC 9110
    /// §5.5), or if the field is one that the server alone can know, such as `Content-Length`. Nothing
    /// of it reaches the peer.
    pub fn field(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<String>,
    ) -> Result<Answer, FieldError> {
        let (name, value) = (name.into(), value.into());
        let reason = match fixed_field(&name) {
            _ if !is_field_name(&name) => Some("the name is not a token"),
            _ if !is_field_value(&value) => Some("the value would be more than one line"),
            Some(_) if name.eq_ignore_ascii_case("Location") => None,
            Some(_) if name.eq_ignore_ascii_case("ETag") => {
                Some("`Answer::entity_tag` sets the tag")
            }
            fixed => fixed,
        };
        if let Some(reason) = reason {
            return Err(FieldError::new(&name, reason));
        }
        if name.eq_ignore_ascii_case("Content-Type") {
            self.media_type = Some(value.into());
            return Ok(self);
        }
        if !name.eq_ignore_ascii_case("Set-Cookie") {
            self.fields.retain(|(n, _)| !n.eq_ignore_ascii_case(&name));
        }
        self.fields.push((name, value));
        Ok(self)
    }

    /// The same answer, with an entity tag: `opaque` between quotes (RFC 9110 §8.8.3). A client that
    /// names the tag in `If-None-Match` gets 304 without content. The tag must change with the content.
    ///
    /// # Errors
    /// If `opaque` has anything but visible ASCII without the double quote.
    pub fn entity_tag(mut self, opaque: &str) -> Result<Answer, FieldError> {
        if !opaque.bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
            let reason = "a tag has visible ASCII without the double quote";
            return Err(FieldError::new("ETag", reason));
        }
        self.tag = Some(EntityTag::new(opaque, false));
        Ok(self)
    }

    /// The same answer, as a [stream](Answer::stream) that has no end of its own. When the server stops,
    /// it does not wait for the end of such a stream, but breaks the stream off between two pieces.
    #[must_use]
    pub fn endless(mut self) -> Answer {
        if let Content::Stream { is_endless, .. } = &mut self.content {
            *is_endless = true;
        }
        self
    }

    /// Whether all of the answer is here.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.content, Content::Whole(_))
    }

    /// The media type; that of any bytes in place of one that would be more than a field value.
    fn media_type(&self) -> Option<&str> {
        let media_type = self.media_type.as_deref()?;
        match is_field_value(media_type) {
            true => Some(media_type),
            false => Some("application/octet-stream"),
        }
    }

    /// The head up to the fields that describe the content.
    fn head(&self) -> ResponseHead {
        let has = |name: &str| {
            let mut fields = self.fields.iter();
            fields.any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        let mut head = ResponseHead::new(self.status);
        if let Some(media_type) = self.media_type() {
            head = head.text("Content-Type", media_type);
            if !has("X-Content-Type-Options") {
                head = head.text("X-Content-Type-Options", "nosniff");
            }
        }
        if !has("Cache-Control") && self.tag.is_none() {
            head = head.text("Cache-Control", "no-store");
        }
        let fields = self.fields.iter();
        fields.fold(head, |head, (name, value)| head.text(name, value))
    }

    /// Makes the reply to `request`: in a content coding if that is worth it, 304 if the client has the
    /// content. A stream becomes a reply with the framing `framing`, and without content.
    pub(super) fn into_reply<S: Files>(
        self,
        request: &RequestHead<'_>,
        cx: &mut Context<'_, S>,
    ) -> Reply<S::File> {
        if self.status.code() < 200 {
            // Such a head would promise another one.
            return Reply::plain(
                Status::InternalServerError,
                "the answer of an endpoint must be final",
            );
        }
        let head = self.head();
        let content = match self.content {
            Content::Whole(content) => content,
            Content::Stream { .. } | Content::Later => Vec::new(),
        };
        let made = Made {
            status: self.status,
            head,
            media_type: self.media_type.as_deref().unwrap_or_default(),
            tag: self.tag,
            content,
        };
        let reply = cx.shared.site.made(made, request);
        cx.shared.pool.account_mut().charge(reply.owned_bytes());
        reply
    }

    /// Makes the reply that begins a stream: the head, with the fields that frame the content.
    pub(super) fn stream_head<F>(&self, is_chunked: bool) -> Reply<F> {
        let head = self.head();
        let head = match &self.content {
            Content::Stream {
                length: Some(length),
                ..
            } => head.field("Content-Length", length),
            _ if is_chunked => head.field("Transfer-Encoding", "chunked"),
            _ => head,
        };
        Reply::begun(self.status, head)
    }
}
