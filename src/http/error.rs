//! Floor 1, http: the status and the sentence for each error of the codecs. The codecs find an
//! error, this file explains the error, and a floor above answers the request.

use std::error::Error;
use std::fmt;

use super::{BodyError, HeadError, PathError, Status};

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

    /// A sentence for the author of the request.
    pub fn sentence(self) -> &'static str {
        use HeadError as E;
        match self {
            E::RequestLine => "the request line is not: method SP request-target SP HTTP-version",
            E::TargetByte => "the request target holds a byte that must be percent-encoded",
            E::TargetForm => "the request target has no form that fits its method",
            E::TargetScheme => "this connection is for http:// alone, without TLS",
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
