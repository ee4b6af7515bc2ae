//! Floor 1, http: the status codes of responses (RFC 9110 §15).

/// Declares the codes of the registry once: as variants, as numbers and as reason phrases.
macro_rules! registry {
    ($($name:ident = $code:literal, $reason:literal;)*) => {
        /// A status code of a final response, or 101: the codes of IANA's registry of HTTP status codes,
        /// and any other number.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[expect(missing_docs, reason = "they are named after their reason phrases")]
        pub enum Status {
            $($name,)*
            /// A code that the registry does not have; see [`Status::from_code`].
            Other(OtherStatus),
        }

        impl Status {
            /// The status code as a number.
            pub const fn code(self) -> u16 {
                match self {
                    $(Status::$name => $code,)*
                    Status::Other(OtherStatus(code)) => code,
                }
            }

            /// The reason phrase of the registry; empty for a code that the registry does not have
            /// (RFC 9112 §4).
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Status::$name => $reason,)*
                    Status::Other(_) => "",
                }
            }

            /// The status with this code. `None`: no answer can have the code, because the number is
            /// not from 200 to 599 (RFC 9110 §15).
            ///
            /// ```
            /// use oneloop::http::Status;
            /// assert_eq!(Status::from_code(404), Some(Status::NotFound));
            /// assert_eq!(Status::from_code(299).map(Status::code), Some(299));
            /// assert_eq!(Status::from_code(100), None);
            /// ```
            pub const fn from_code(code: u16) -> Option<Status> {
                if code < 200 || code > 599 {
                    return None;
                }
                match code {
                    $($code => Some(Status::$name),)*
                    code => Some(Status::Other(OtherStatus(code))),
                }
            }
        }
    };
}

/// The number of a status that the registry does not have, from 200 to 599.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct OtherStatus(u16);

registry! {
    SwitchingProtocols = 101, "Switching Protocols";
    EarlyHints = 103, "Early Hints";
    Ok = 200, "OK";
    Created = 201, "Created";
    Accepted = 202, "Accepted";
    NonAuthoritativeInformation = 203, "Non-Authoritative Information";
    NoContent = 204, "No Content";
    ResetContent = 205, "Reset Content";
    PartialContent = 206, "Partial Content";
    MultiStatus = 207, "Multi-Status";
    AlreadyReported = 208, "Already Reported";
    ImUsed = 226, "IM Used";
    MultipleChoices = 300, "Multiple Choices";
    MovedPermanently = 301, "Moved Permanently";
    Found = 302, "Found";
    SeeOther = 303, "See Other";
    NotModified = 304, "Not Modified";
    UseProxy = 305, "Use Proxy";
    TemporaryRedirect = 307, "Temporary Redirect";
    PermanentRedirect = 308, "Permanent Redirect";
    BadRequest = 400, "Bad Request";
    Unauthorized = 401, "Unauthorized";
    PaymentRequired = 402, "Payment Required";
    Forbidden = 403, "Forbidden";
    NotFound = 404, "Not Found";
    MethodNotAllowed = 405, "Method Not Allowed";
    NotAcceptable = 406, "Not Acceptable";
    ProxyAuthenticationRequired = 407, "Proxy Authentication Required";
    RequestTimeout = 408, "Request Timeout";
    Conflict = 409, "Conflict";
    Gone = 410, "Gone";
    LengthRequired = 411, "Length Required";
    PreconditionFailed = 412, "Precondition Failed";
    ContentTooLarge = 413, "Content Too Large";
    UriTooLong = 414, "URI Too Long";
    UnsupportedMediaType = 415, "Unsupported Media Type";
    RangeNotSatisfiable = 416, "Range Not Satisfiable";
    ExpectationFailed = 417, "Expectation Failed";
    MisdirectedRequest = 421, "Misdirected Request";
    UnprocessableContent = 422, "Unprocessable Content";
    Locked = 423, "Locked";
    FailedDependency = 424, "Failed Dependency";
    TooEarly = 425, "Too Early";
    UpgradeRequired = 426, "Upgrade Required";
    PreconditionRequired = 428, "Precondition Required";
    TooManyRequests = 429, "Too Many Requests";
    RequestHeaderFieldsTooLarge = 431, "Request Header Fields Too Large";
    UnavailableForLegalReasons = 451, "Unavailable For Legal Reasons";
    InternalServerError = 500, "Internal Server Error";
    NotImplemented = 501, "Not Implemented";
    BadGateway = 502, "Bad Gateway";
    ServiceUnavailable = 503, "Service Unavailable";
    GatewayTimeout = 504, "Gateway Timeout";
    HttpVersionNotSupported = 505, "HTTP Version Not Supported";
    VariantAlsoNegotiates = 506, "Variant Also Negotiates";
    InsufficientStorage = 507, "Insufficient Storage";
    LoopDetected = 508, "Loop Detected";
    NetworkAuthenticationRequired = 511, "Network Authentication Required";
}

impl Status {
    /// Whether a response with this status has no content, whatever its fields say (RFC 9110 §6.4.1):
    /// 1xx, 204 and 304. A response with 205 must have none either (§15.3.6).
    pub const fn has_no_content(self) -> bool {
        matches!(self.code(), ..200 | 204 | 205 | 304)
    }
}
