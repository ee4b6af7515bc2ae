//! Floor 1, http: the status and the sentence for each error of the codecs. The codecs find an
//! error, this file explains the error, and a floor above answers the request.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use memchr::{memchr, memmem, memrchr};

use super::classes::{TARGET, TOKEN, all, is};
use super::{BodyError, HeadError, PathError, Status, Version};

impl HeadError {
    /// The status of the response to a request with this error.
    pub fn status(self) -> Status {
        use HeadError as E;
        match self {
            E::RequestLine
            | E::TargetByte
            | E::TargetForm
            | E::BareLineFeed
            | E::FieldName
            | E::FieldValue
            | E::Fold
            | E::Host
            | E::ContentLength
            | E::ConflictingFraming
            | E::TransferEncoding
            | E::Incomplete => Status::BadRequest,
            E::TargetScheme => Status::MisdirectedRequest,
            E::TargetTooLong => Status::UriTooLong,
            E::Version => Status::HttpVersionNotSupported,
            E::HeadTooLarge | E::TooManyFields => Status::RequestHeaderFieldsTooLarge,
            E::UnknownTransferCoding => Status::NotImplemented,
        }
    }

    /// The same sentence as [`sentence`](HeadError::sentence), or a better one if `bytes`, which
    /// begin with the head, tell more: the byte that a target must not hold, or a client that
    /// speaks TLS to a port without TLS.
    ///
    /// ```
    /// use oneloop::http::HeadError;
    /// let sentence = HeadError::TargetByte.explain("GET /na\u{ef}ve HTTP/1.1\r\n".as_bytes());
    /// assert_eq!(sentence, "the request target holds the byte 0xC3, which must be sent as %C3");
    /// ```
    pub fn explain(self, bytes: &[u8]) -> Cow<'static, str> {
        /// The type of the record with which a TLS handshake begins (RFC 8446 §5.1).
        const TLS_HANDSHAKE: u8 = 22;
        match (self, RefusedLine::find(bytes)) {
            (HeadError::TargetByte, Some(line)) => {
                let wrong = line.target.iter().find(|byte| !is(TARGET, **byte));
                wrong.map_or(self.sentence().into(), |byte| {
                    let sentence = "the request target holds the byte";
                    format!("{sentence} 0x{byte:02X}, which must be sent as %{byte:02X}").into()
                })
            }
            (HeadError::RequestLine, _) if bytes.first() == Some(&TLS_HANDSHAKE) => {
                "TLS handshake on a plain port: use http://".into()
            }
            _ => self.sentence().into(),
        }
    }

    /// A sentence for the author of the request.
    pub fn sentence(self) -> &'static str {
        use HeadError as E;
        match self {
            E::RequestLine => "the request line is not: method SP request-target SP HTTP-version",
            E::TargetByte => "the request target holds a byte that must be percent-encoded",
            E::TargetForm => "the request target has no form that fits its method",
            E::TargetScheme => "the scheme of the request target is not that of this connection",
            E::TargetTooLong => "the request target is too long",
            E::Version => "this server speaks HTTP/1.1 and HTTP/1.0",
            E::BareLineFeed => "a line must end in CR LF",
            E::FieldName => {
                "a field line must begin with a token and a colon, with nothing between them"
            }
            E::FieldValue => "a field value holds a control byte",
            E::Fold => "a field line must not begin with white space",
            E::HeadTooLarge => "the request head is too large",
            E::TooManyFields => "the request has too many field lines",
            E::Host => "one Host field with a host and perhaps a port is needed",
            E::ContentLength => "Content-Length must be one plain number",
            E::ConflictingFraming => {
                "Transfer-Encoding beside Content-Length, or in HTTP/1.0, is refused"
            }
            E::TransferEncoding => "the last transfer coding of a request must be chunked, once",
            E::UnknownTransferCoding => "chunked is the only transfer coding known here",
            E::Incomplete => "the connection was closed within the request head",
        }
    }
}

/// The request line of a head that has an error, for the log. Nothing about the target is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefusedLine<'a> {
    /// The method, a token.
    pub method: &'a [u8],
    /// The bytes between the two spaces, at least one.
    pub target: &'a [u8],
    /// The version.
    pub version: Version,
}

impl<'a> RefusedLine<'a> {
    /// Finds the request line at the front of `bytes`. `None` if the first line, after an empty
    /// line, is not whole, or does not look like the request line of a version of HTTP/1.
    pub fn find(bytes: &'a [u8]) -> Option<RefusedLine<'a>> {
        let bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
        let line = &bytes[..memchr(b'\n', bytes)?];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (method, rest) = line.split_at(memchr(b' ', line)?);
        let (target, version) = rest[1..].split_at(memchr(b' ', &rest[1..])?);
        let version = match version {
            b" HTTP/1.0" => Version::Http10,
            [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => {
                Version::Http11
            }
            _ => return None,
        };
        let is_line = !method.is_empty() && all(TOKEN, method) && !target.is_empty();
        is_line.then_some(RefusedLine {
            method,
            target,
            version,
        })
    }

    /// The target with `***` in place of userinfo, which may hold a password. A target with userinfo is
    /// always refused (RFC 9110 §4.2.4).
    pub fn target_without_userinfo(&self) -> Cow<'a, [u8]> {
        let target = self.target;
        let start = memmem::find(target, b"://").map_or(0, |at| at + 3);
        let is_end = |b: &u8| matches!(b, b'/' | b'?' | b'#');
        let end = target[start..].iter().position(is_end);
        let authority = &target[start..end.map_or(target.len(), |end| start + end)];
        match memrchr(b'@', authority) {
            None => target.into(),
            Some(at) => [&target[..start], b"***", &target[start + at..]]
                .concat()
                .into(),
        }
    }
}

impl BodyError {
    /// The status of the response to a request with this error: 400 for every error of a body.
    pub fn status(self) -> Status {
        Status::BadRequest
    }

    /// A sentence for the author of the request.
    pub fn sentence(self) -> &'static str {
        match self {
            BodyError::ChunkSize => {
                "a chunk size is one hexadecimal number that ends with its line"
            }
            BodyError::ChunkExtension => "a chunk extension is a name, or name=value",
            BodyError::ChunkEnd => "a chunk is not as long as its size says",
            BodyError::Trailer => "a trailer is not a field line",
            BodyError::TooMuchFraming => "there are too many chunk extensions or trailers",
        }
    }
}

impl PathError {
    /// A sentence for the author of the request.
    pub fn sentence(self) -> &'static str {
        match self {
            PathError::Encoding => "a % in the path lacks its two digits",
            PathError::Absent => "no file of a site can have this path",
            PathError::Hidden => "names that begin with a dot are not served; --hidden allows them",
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl Error for HeadError {}
impl Error for BodyError {}
impl Error for PathError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_target_is_not_for_the_log() {
        for (target, told) in [
            ("http://user:pass@host/a@b", "http://***@host/a@b"),
            ("http://user:p@ss@host:8080", "http://***@host:8080"),
            ("user:pass@host:443", "***@host:443"),
            ("http://host/a@b", "http://host/a@b"),
            ("http://host?a@b", "http://host?a@b"),
            ("/a@b", "/a@b"),
            ("/login?to=http://u:p@host/", "/login?to=http://***@host/"),
            ("*", "*"),
        ] {
            let line = format!("GET {target} HTTP/1.1\r\n");
            let line = RefusedLine::find(line.as_bytes()).expect("a line");
            assert_eq!(line.target_without_userinfo(), told.as_bytes());
        }
    }
}
