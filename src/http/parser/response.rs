//! Floor 1, http: the parser of the status line and the field lines of a response (RFC 9112 §4 to
//! §6), for a proxy that reads the answers of another server.
//!
//! ```text
//! head         = status-line CRLF *( field-line CRLF ) CRLF
//! status-line  = HTTP-version SP status-code [ SP reason-phrase ]
//! status-code  = ( "1" / … / "9" ) 2DIGIT
//! ```
//!
//! The field lines are parsed by the [`HeadParser`], with the same strictness: a head that two
//! recipients could take in two ways is an error, because the next response on the connection could
//! then go to another client (response splitting). Two rules differ from the RFC:
//!
//! - The space before an empty reason phrase may be absent (§4 demands it, and many servers leave it
//!   out).
//! - Transfer-Encoding in a response of HTTP/1.0, and a last coding other than chunked, are errors
//!   (§6.1 and §6.3 permit to read until the connection is closed).
//!
//! The reason phrase has no meaning, and is checked and skipped. The fields that belong to a
//! connection, such as Upgrade, are for the caller.

use std::error::Error;
use std::fmt;
use std::mem;
use std::time::Duration;

use super::{HeadError, HeadLimits, HeadParser};
use crate::http::classes::{VALUE, all};
use crate::http::request::Members;
use crate::http::{BodyDecoder, Field, FieldLines, Framing, Method, RequestHead, Version};

/// The error in the head of a response. The answer to the client is always 502.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResponseError {
    /// A first line that is not `HTTP-version SP status-code [ SP reason-phrase ]`.
    StatusLine,
    /// One of the errors that a request head can have too.
    Head(HeadError),
}

/// A parser for one response head; it keeps the state of an unfinished head between calls.
#[derive(Clone, Default, Debug)]
pub struct ResponseParser {
    /// The parser of the field lines. After the status line, it goes on as after a request line.
    lines: HeadParser,
    /// The status code; 0 before the status line was parsed.
    status: u16,
}

/// The end of the body of a response (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResponseBody {
    /// The response has no body, whatever its fields say.
    None,
    /// The body has the given number of bytes, perhaps none.
    Length(u64),
    /// The body has the chunked transfer coding.
    Chunked,
    /// The body ends when the connection is closed.
    UntilClose,
}

/// The head of a response from another server, together with the bytes of the head.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedHead<'a> {
    status: u16,
    /// The version and the fields, which are stored and found as those of a request.
    lines: RequestHead<'a>,
    framing: Framing,
}

impl ResponseParser {
    /// Continues the parse with `bytes`, which must hold every byte since the beginning of the head,
    /// including the bytes of earlier calls. `None`: the head is not complete yet. The bytes after
    /// [`ReceivedHead::end`] belong to the body, or to the response after an interim one.
    ///
    /// ```
    /// use oneloop::http::{HeadLimits, Method, ResponseBody, ResponseParser};
    ///
    /// let limits = HeadLimits { head_bytes_max: 1024, target_bytes_max: 0, fields_max: 10 };
    /// let bytes = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone";
    /// let mut parser = ResponseParser::default();
    /// assert!(parser.parse(&bytes[..30], &limits).unwrap().is_none());
    /// let head = parser.parse(bytes, &limits).unwrap().expect("a whole head");
    /// assert_eq!(head.status(), 404);
    /// assert_eq!(head.body(Method::Get), ResponseBody::Length(4));
    /// assert_eq!(head.body(Method::Head), ResponseBody::None);
    /// assert_eq!(&bytes[head.end()..], b"gone");
    /// ```
    ///
    /// # Errors
    /// [`ResponseError`] for the first error. The connection cannot carry another response then.
    ///
    /// # Panics
    /// If there are fewer bytes than in the call before.
    pub fn parse<'a>(
        &'a mut self,
        bytes: &'a [u8],
        limits: &HeadLimits,
    ) -> Result<Option<ReceivedHead<'a>>, ResponseError> {
        let is_whole = self.status_line(bytes, limits)? && self.lines.take_lines(bytes, limits)?;
        if !is_whole {
            return Ok(None);
        }
        let lines = RequestHead::new(&self.lines.head, bytes);
        let framing = match self.lines.framing(&lines)? {
            Framing::None if lines.has_any(&[Field::ContentLength]) => Framing::Length(0),
            framing => framing,
        };
        Ok(Some(ReceivedHead {
            status: self.status,
            lines,
            framing,
        }))
    }

    /// Takes the status line. Returns whether it is complete.
    fn status_line(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<bool, ResponseError> {
        const START: &[u8] = b"HTTP/";
        if self.status != 0 {
            return Ok(true);
        }
        // A server of another protocol is told at once, and not at the end of a line that may never come.
        if bytes.iter().zip(START).any(|(byte, start)| byte != start) {
            return Err(ResponseError::StatusLine);
        }
        let max = limits.head_bytes_max.min(usize::from(u16::MAX));
        let found = self.lines.line_feed(bytes);
        if found.unwrap_or(bytes.len()) >= max {
            return Err(HeadError::HeadTooLarge.into());
        }
        let Some(end) = found else {
            return Ok(false);
        };
        let Some((b'\r', line)) = bytes[..end].split_last() else {
            return Err(HeadError::BareLineFeed.into());
        };
        (self.lines.head.version, self.status) = version_and_status(&line[START.len()..])?;
        mem::take(&mut self.lines.has_control);
        (self.lines.line, self.lines.searched) = (end + 1, end + 1);
        self.lines.head.lines = (end + 1) as u16;
        self.lines.at_request_line = false;
        Ok(true)
    }
}

/// Reads a status line without the `HTTP/` at its front.
fn version_and_status(line: &[u8]) -> Result<(Version, u16), ResponseError> {
    let [major, b'.', minor, b' ', code @ ..] = line else {
        return Err(ResponseError::StatusLine);
    };
    let Some((code, reason)) = code.split_first_chunk::<3>() else {
        return Err(ResponseError::StatusLine);
    };
    let is_line = [major, minor]
        .into_iter()
        .chain(code)
        .all(u8::is_ascii_digit)
        && code[0] != b'0'
        && matches!(reason, [] | [b' ', ..])
        && all(VALUE, reason);
    if !is_line {
        return Err(ResponseError::StatusLine);
    }
    let version = match (major, minor) {
        (b'1', b'0') => Version::Http10,
        (b'1', _) => Version::Http11,
        _ => return Err(HeadError::Version.into()),
    };
    let number = code
        .iter()
        .fold(0, |n, digit| n * 10 + u16::from(digit - b'0'));
    Ok((version, number))
}

impl<'a> ReceivedHead<'a> {
    /// The status code, from 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether another response follows: a status of 1xx, except 101 (RFC 9110 §15.2).
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..200)
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.lines.version()
    }

    /// The offset after the empty line of the head.
    pub fn end(&self) -> usize {
        self.lines.bytes().len()
    }

    /// The field lines, in order.
    pub fn lines(&self) -> FieldLines<'a> {
        self.lines.lines()
    }

    /// The value of the first line of the field; see [`RequestHead::value`].
    pub fn value(&self, field: Field) -> Option<&'a [u8]> {
        self.lines.value(field)
    }

    /// The value of the first line of a field that [`Field`] does not know; see [`RequestHead::named`].
    pub fn named(&self, name: &str) -> Option<&'a [u8]> {
        self.lines.named(name)
    }

    /// The members of a field whose value is a list; see [`RequestHead::members`].
    pub fn members(&self, field: Field) -> Members<'a> {
        self.lines.members(field)
    }

    /// How the body ends, if the response is to a request with this method (RFC 9112 §6.3). A 2xx to
    /// CONNECT, after which there is a tunnel, is not known here.
    pub fn body(&self, request: Method) -> ResponseBody {
        if request == Method::Head || matches!(self.status, ..200 | 204 | 304) {
            return ResponseBody::None;
        }
        match self.framing {
            Framing::Length(length) => ResponseBody::Length(length),
            Framing::Chunked => ResponseBody::Chunked,
            Framing::None => ResponseBody::UntilClose,
        }
    }

    /// The length that the head tells, also of a response without a body: to HEAD, or with 304.
    pub fn content_length(&self) -> Option<u64> {
        match self.framing {
            Framing::Length(length) => Some(length),
            Framing::None | Framing::Chunked => None,
        }
    }

    /// Whether the connection can carry another request after this response. A 204 that announces
    /// content is followed by bytes of unknown meaning at some servers, so it counts as the last.
    pub fn wants_persistence(&self, request: Method) -> bool {
        let is_doubtful =
            self.status == 204 && !matches!(self.framing, Framing::None | Framing::Length(0));
        let ends = self.body(request) != ResponseBody::UntilClose;
        ends && !is_doubtful && self.status != 101 && self.lines.wants_persistence()
    }

    /// The time for which the server keeps the connection without a request: `timeout` in Keep-Alive,
    /// in seconds. `None`: the server does not tell.
    pub fn idle_timeout(&self) -> Option<Duration> {
        let value = str::from_utf8(self.named("Keep-Alive")?).ok()?;
        let mut parameters = value.split(',').filter_map(|part| part.split_once('='));
        let (_, seconds) =
            parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
        seconds
            .trim()
            .parse()
            .ok()
            .map(|seconds: u32| Duration::from_secs(seconds.into()))
    }
}

impl ResponseBody {
    /// The decoder of a body that has an end of its own. `None`: no byte of a body comes, or all bytes
    /// until the close belong to it.
    pub fn decoder(self) -> Option<BodyDecoder> {
        match self {
            ResponseBody::None | ResponseBody::Length(0) | ResponseBody::UntilClose => None,
            ResponseBody::Length(length) => BodyDecoder::new(Framing::Length(length)),
            ResponseBody::Chunked => BodyDecoder::new(Framing::Chunked),
        }
    }

    /// Whether the response ends with its head.
    pub fn is_empty(self) -> bool {
        matches!(self, ResponseBody::None | ResponseBody::Length(0))
    }
}

impl From<HeadError> for ResponseError {
    fn from(error: HeadError) -> ResponseError {
        ResponseError::Head(error)
    }
}

impl ResponseError {
    /// A sentence for the author of the other server.
    pub fn sentence(self) -> &'static str {
        use HeadError as E;
        match self {
            ResponseError::StatusLine => {
                "the status line is not: HTTP-version SP status-code SP reason-phrase"
            }
            ResponseError::Head(error) => match error {
                E::Version => "the response has another version than HTTP/1.1 or HTTP/1.0",
                E::HeadTooLarge => "the response head is too large",
                E::TooManyFields => "the response has too many field lines",
                E::TransferEncoding => {
                    "the last transfer coding of a response must be chunked, once"
                }
                E::Incomplete => "the connection was closed within the response head",
                other => other.sentence(),
            },
        }
    }
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl Error for ResponseError {}

#[cfg(test)]
mod tests;
