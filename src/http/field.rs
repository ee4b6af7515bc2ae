//! Floor 1, http: the names of the fields that have a meaning for the server (RFC 9110 §5.1), and how a
//! name is recognised.

/// A field name with a meaning for the server. The parser checks the lines of other fields and then
/// skips them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// Host (RFC 9110 §7.2)
    Host,
    /// Connection (RFC 9110 §7.6.1)
    Connection,
    /// Content-Encoding (RFC 9110 §8.4)
    ContentEncoding,
    /// Content-Length (RFC 9110 §8.6)
    ContentLength,
    /// Transfer-Encoding (RFC 9112 §6.1)
    TransferEncoding,
    /// Expect (RFC 9110 §10.1.1)
    Expect,
    /// If-Match (RFC 9110 §13.1.1)
    IfMatch,
    /// If-None-Match (RFC 9110 §13.1.2)
    IfNoneMatch,
    /// If-Modified-Since (RFC 9110 §13.1.3)
    IfModifiedSince,
    /// If-Unmodified-Since (RFC 9110 §13.1.4)
    IfUnmodifiedSince,
    /// If-Range (RFC 9110 §13.1.5)
    IfRange,
    /// Range (RFC 9110 §14.2)
    Range,
    /// Accept-Encoding (RFC 9110 §12.5.3)
    AcceptEncoding,
    /// Upgrade (RFC 9110 §7.8)
    Upgrade,
    /// Sec-WebSocket-Key (RFC 6455 §11.3.1)
    WebSocketKey,
    /// Sec-WebSocket-Version (RFC 6455 §11.3.5)
    WebSocketVersion,
    /// Sec-WebSocket-Protocol (RFC 6455 §11.3.4)
    WebSocketProtocol,
    /// Sec-WebSocket-Extensions (RFC 6455 §11.3.2)
    WebSocketExtensions,
    /// Origin (RFC 6454 §7)
    Origin,
    /// Sec-Fetch-Site (Fetch Metadata Request Headers §2.3)
    FetchSite,
    /// Sec-Fetch-Mode (Fetch Metadata Request Headers §2.2)
    FetchMode,
    /// Sec-Fetch-Dest (Fetch Metadata Request Headers §2.1)
    FetchDest,
    /// Referer (RFC 9110 §10.1.3)
    Referer,
    /// User-Agent (RFC 9110 §10.1.5), for the log
    UserAgent,
}

impl Field {
    /// The number of known fields.
    pub(super) const COUNT: usize = Field::UserAgent as usize + 1;

    /// The known field with this name. Letter case does not matter (RFC 9110 §5.1).
    #[inline(always)]
    pub(super) fn from_name(name: &[u8]) -> Option<Field> {
        // The length and at most two letters leave a single name for the comparison.
        let (field, is_same) = match (name.len(), name.first()? | 0x20) {
            (4, _) => (Field::Host, is_same(name, b"host")),
            (5, _) => (Field::Range, is_same(name, b"range")),
            (6, b'o') => (Field::Origin, is_same(name, b"origin")),
            (6, _) => (Field::Expect, is_same(name, b"expect")),
            (7, b'u') => (Field::Upgrade, is_same(name, b"upgrade")),
            (7, _) => (Field::Referer, is_same(name, b"referer")),
            (8, b'i') => match name[3] | 0x20 {
                b'm' => (Field::IfMatch, is_same(name, b"if-match")),
                _ => (Field::IfRange, is_same(name, b"if-range")),
            },
            (10, b'c') => (Field::Connection, is_same(name, b"connection")),
            (10, _) => (Field::UserAgent, is_same(name, b"user-agent")),
            (13, _) => (Field::IfNoneMatch, is_same(name, b"if-none-match")),
            (14, b'c') => (Field::ContentLength, is_same(name, b"content-length")),
            (14, _) => match name[10] | 0x20 {
                b's' => (Field::FetchSite, is_same(name, b"sec-fetch-site")),
                b'd' => (Field::FetchDest, is_same(name, b"sec-fetch-dest")),
                _ => (Field::FetchMode, is_same(name, b"sec-fetch-mode")),
            },
            (15, _) => (Field::AcceptEncoding, is_same(name, b"accept-encoding")),
            (16, _) => (Field::ContentEncoding, is_same(name, b"content-encoding")),
            (17, b'i') => (Field::IfModifiedSince, is_same(name, b"if-modified-since")),
            (17, b's') => (Field::WebSocketKey, is_same(name, b"sec-websocket-key")),
            (17, _) => (Field::TransferEncoding, is_same(name, b"transfer-encoding")),
            (19, _) => (
                Field::IfUnmodifiedSince,
                is_same(name, b"if-unmodified-since"),
            ),
            (21, _) => (
                Field::WebSocketVersion,
                is_same(name, b"sec-websocket-version"),
            ),
            (22, _) => (
                Field::WebSocketProtocol,
                is_same(name, b"sec-websocket-protocol"),
            ),
            (24, _) => (
                Field::WebSocketExtensions,
                is_same(name, b"sec-websocket-extensions"),
            ),
            _ => return None,
        };
        is_same.then_some(field)
    }
}

/// Whether a field name is the one that `known` spells in lower case. The name must be a token.
///
/// Setting bit 0x20 turns a capital letter into a small one. Of the other bytes of a token only `^` and
/// `_` change, to bytes that no known name has. So the names are compared eight bytes at a time; the
/// last eight overlap with the bytes before.
fn is_same<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    const SMALL: u64 = u64::from_le_bytes([0x20; 8]);
    let Ok(name) = <&[u8; N]>::try_from(name) else {
        return false;
    };
    let word = |bytes: &[u8; N], at: usize| {
        let mut word = [0; 8];
        let len = N.min(8);
        word[..len].copy_from_slice(&bytes[at..at + len]);
        u64::from_le_bytes(word)
    };
    let differs = |at| (word(name, at) | SMALL) ^ (word(known, at) | SMALL);
    let mut difference = differs(N.saturating_sub(8));
    let mut at = 0;
    while at + 8 < N {
        difference |= differs(at);
        at += 8;
    }
    difference == 0
}
