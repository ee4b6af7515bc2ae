//! Floor 1, http: a parsed request head (RFC 9110 §9, RFC 9112 §3). A [`Head`] holds offsets into
//! the bytes of the head. The bytes are not copied; they stay in the buffer of the caller.
//! [`HeadParser`](super::HeadParser) makes the `Head`.

use std::ops::Range;

use memchr::{memchr, memchr_iter};

use super::classes::position;
use super::field::Field;
use super::{Authority, FieldLines, Scheme, SitePath, Target};

/// A request method (RFC 9110 §9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// CONNECT
    Connect,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// PATCH (RFC 5789)
    Patch,
    /// A token that is the name of no method above.
    Unknown,
}

impl Method {
    /// The method with this name. Letter case matters (RFC 9110 §9.1).
    #[inline]
    pub(super) fn from_token(token: &[u8]) -> Method {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"CONNECT" => Method::Connect,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"PATCH" => Method::Patch,
            _ => Method::Unknown,
        }
    }
}

/// A version of HTTP/1. A minor version above 1 counts as 1.1 (RFC 9110 §2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// The way to find the end of a request body (RFC 9112 §6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// The request has no body.
    None,
    /// The body has the given number of bytes, at least one.
    Length(u64),
    /// The body has the chunked transfer coding.
    Chunked,
}

/// The start and end offset of a part of a head.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Span {
    pub start: u16,
    pub end: u16,
}

impl Span {
    pub fn new(start: usize, end: usize) -> Span {
        debug_assert!(start <= end && end <= usize::from(u16::MAX));
        Span {
            start: start as u16,
            end: end as u16,
        }
    }

    /// Whether the part of the head is present. 0..0 means "absent": no present part can end at
    /// offset 0, because the first part of a head, the method, has at least one byte.
    pub fn is_some(self) -> bool {
        self.end != 0
    }

    /// The bytes of the part, within the bytes of the whole head.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.range()]
    }

    /// The offsets of the part, in the head.
    pub fn range(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }
}

/// The expectation that a client has before sending the body (RFC 9110 §10.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expectation {
    /// The request has no expectation.
    None,
    /// `100-continue`: the client expects an interim response, or the final response if the server
    /// does not want the body.
    Continue,
    /// An expectation other than `100-continue`. No standard defines such an expectation.
    Unknown,
}

/// The result of parsing a head: offsets into the bytes of the head, which are not copied.
#[derive(Clone, Debug)]
pub struct Head {
    /// The offset after the empty line.
    pub(super) end: u16,
    /// The offset of the first field line.
    pub(super) lines: u16,
    pub(super) method: Method,
    pub(super) version: Version,
    pub(super) method_token: Span,
    pub(super) target: Span,
    /// The path in the target, without the query. Absent for `*` and for CONNECT.
    pub(super) path: Span,
    /// Whether the path needs no decoding.
    pub(super) has_plain_path: bool,
    /// The value of the first line of each known field.
    pub(super) first: [Span; Field::COUNT],
    /// A set of bits, one for each known field: the fields that came on more than one line.
    pub(super) repeated: u32,
    /// The host in the value of Host, without the port. Absent if Host is empty or absent.
    pub(super) host: Span,
    /// The port in Host; `None` if Host has no port.
    pub(super) port: Option<u16>,
    pub(super) framing: Framing,
    /// The scheme of the connection.
    pub(super) scheme: Scheme,
}

impl Default for Head {
    fn default() -> Head {
        Head {
            end: 0,
            lines: 0,
            method: Method::Unknown,
            version: Version::Http11,
            method_token: Span::default(),
            target: Span::default(),
            path: Span::default(),
            has_plain_path: false,
            first: [Span::default(); Field::COUNT],
            repeated: 0,
            host: Span::default(),
            port: None,
            framing: Framing::None,
            scheme: Scheme::Http,
        }
    }
}

impl Head {
    /// The offset after the empty line of the head. The body or the next request begins here.
    pub fn end(&self) -> usize {
        usize::from(self.end)
    }
}

/// A parsed head together with the bytes of the head.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    head: &'a Head,
    bytes: &'a [u8],
}

impl<'a> RequestHead<'a> {
    /// Joins a head with the bytes from which the head was parsed. More bytes may follow.
    ///
    /// # Panics
    /// If `bytes` are shorter than the head.
    pub fn new(head: &'a Head, bytes: &'a [u8]) -> RequestHead<'a> {
        RequestHead {
            head,
            bytes: &bytes[..head.end()],
        }
    }

    /// The bytes of the whole head.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The request method.
    pub fn method(&self) -> Method {
        self.head.method
    }

    /// The name of the method, exactly as the client wrote the name.
    pub fn method_token(&self) -> &'a [u8] {
        self.head.method_token.of(self.bytes)
    }

    /// The scheme of the connection, and so of the URI of the target.
    pub fn scheme(&self) -> Scheme {
        self.head.scheme
    }

    /// The version of HTTP.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The request target, exactly as the client wrote the target.
    #[inline]
    pub fn target(&self) -> &'a [u8] {
        self.head.target.of(self.bytes)
    }

    /// The path in the target, exactly as the client wrote the path. The path begins with a slash;
    /// an empty path after an authority is returned as `/`. `None` if the target has no path: `*`,
    /// and the target of CONNECT.
    #[inline]
    pub fn path(&self) -> Option<&'a [u8]> {
        let path = self.head.path;
        path.is_some().then(|| match path.of(self.bytes) {
            b"" => b"/",
            path => path,
        })
    }

    /// The [path](RequestHead::path), if it needs no decoding, as nearly every path. The parser has seen that when
    /// it looked for the end of the path.
    #[inline(always)]
    pub fn plain_path(&self) -> Option<SitePath<'a>> {
        let path = self.path().filter(|_| self.head.has_plain_path);
        path.map(SitePath::plain)
    }

    /// The query after the question mark in the target; `None` without a question mark.
    pub fn query(&self) -> Option<&'a [u8]> {
        let (path, target) = (self.head.path, self.head.target);
        let has_query = path.is_some() && path.end < target.end;
        has_query
            .then(|| Span::new(usize::from(path.end) + 1, usize::from(target.end)).of(self.bytes))
    }

    /// The host and port that the request is for (RFC 9112 §3.3). The authority of a target in
    /// absolute-form overrides Host (§3.2.2); for other targets the authority is the value of Host.
    /// `None` if the request names no host: Host is empty, or absent, as HTTP/1.0 allows.
    ///
    /// The target of CONNECT is not used: CONNECT names the server at the other end of a tunnel,
    /// not the server that receives the request.
    #[inline]
    pub fn authority(&self) -> Option<Authority<'a>> {
        // Nearly every target is in origin-form and needs no parsing.
        if self.target().first() != Some(&b'/')
            && let Ok(Target::Path { authority, .. }) =
                Target::parse(self.method(), self.target(), self.scheme())
            && authority.is_some()
        {
            return authority;
        }
        let (host, port) = (self.head.host, self.head.port);
        host.is_some().then(|| Authority {
            host: host.of(self.bytes),
            port,
        })
    }

    /// Whether the client asks for the opening handshake of a WebSocket connection (RFC 6455
    /// §4.2.1): a GET whose Upgrade field names `websocket`, alone or together with other
    /// protocols. The handshake may still be invalid. In HTTP/1.0, Upgrade has no meaning (RFC 9110
    /// §7.8).
    #[inline]
    pub fn wants_websocket(&self) -> bool {
        self.has_any(&[Field::Upgrade]) && self.asks_for_websocket()
    }

    fn asks_for_websocket(&self) -> bool {
        self.method() == Method::Get
            && self.version() == Version::Http11
            && self
                .members(Field::Upgrade)
                .any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
    }

    /// The framing of the body after the head.
    pub fn framing(&self) -> Framing {
        self.head.framing
    }

    /// The value of the first line of the field, without white space around the value. `None` if
    /// the field is absent.
    #[inline(always)]
    pub fn value(&self, field: Field) -> Option<&'a [u8]> {
        let span = self.head.first[field as usize];
        span.is_some().then(|| span.of(self.bytes))
    }

    /// The value of a field that came on a single line.
    #[inline]
    fn only_value(&self, field: Field) -> Option<&'a [u8]> {
        match self.head.repeated & (1 << field as u32) {
            0 => self.value(field),
            _ => None,
        }
    }

    /// The values of a field, one for each line, in the order of the lines. The head is searched
    /// again only for a field with several lines.
    #[inline(always)]
    pub fn values(&self, field: Field) -> Values<'a> {
        match self.head.repeated & (1 << field as u32) {
            0 => Values {
                only: self.value(field),
                field,
                lines: b"",
            },
            _ => Values {
                only: None,
                field,
                lines: &self.bytes[usize::from(self.head.lines)..],
            },
        }
    }

    /// The values of the fields of this name, one for each line, in the order of the lines. Letter case
    /// does not matter. The head is searched each time: this is for a field that a request needs only
    /// with certain flags, and which the parser therefore does not look for.
    pub fn values_named(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let lines = &self.bytes[usize::from(self.head.lines)..];
        lines.split(|b| *b == b'\n').filter_map(move |line| {
            let (this, rest) = line.split_at_checked(name.len())?;
            let value = rest.strip_prefix(b":")?;
            this.eq_ignore_ascii_case(name.as_bytes())
                .then(|| value.trim_ascii())
        })
    }

    /// The members of a field whose value is a comma-separated list (RFC 9110 §5.6.1). The members
    /// on every line of the field are returned; empty members are skipped.
    pub fn members(&self, field: Field) -> Members<'a> {
        Members {
            values: self.values(field),
            rest: None,
        }
    }

    /// The value of the first line of a field that [`Field`] does not know, without white space around
    /// the value. Letter case in the name does not matter. The head is searched, so this is for
    /// requests that are rare.
    pub fn named(&self, name: &str) -> Option<&'a [u8]> {
        let lines = &self.bytes[usize::from(self.head.lines)..usize::from(self.head.end)];
        let mut begin = 0;
        memchr_iter(b'\n', lines).find_map(|end| {
            let line = &lines[begin..end];
            begin = end + 1;
            let value = line.get(name.len() + 1..)?;
            let is_named = line[name.len()] == b':'
                && line[..name.len()].eq_ignore_ascii_case(name.as_bytes());
            is_named.then(|| value.trim_ascii())
        })
    }

    /// The field lines, in order.
    pub fn lines(&self) -> FieldLines<'a> {
        FieldLines::new(&self.bytes[usize::from(self.head.lines)..])
    }

    /// Whether the head has any of the given fields.
    pub fn has_any(&self, fields: &[Field]) -> bool {
        fields
            .iter()
            .any(|field| self.head.first[*field as usize].is_some())
    }

    /// The same head without some of its known fields, for [`RequestHead::new`] with the same bytes.
    /// [`named`](RequestHead::named) still finds them.
    pub fn without(&self, fields: &[Field]) -> Head {
        let mut head = self.head.clone();
        for field in fields {
            head.first[*field as usize] = Span::default();
            head.repeated &= !(1 << *field as u32);
        }
        head
    }

    /// Whether the client wants to keep the connection open after the response (RFC 9112 §9.3).
    #[inline]
    pub fn wants_persistence(&self) -> bool {
        // Nearly every request has one of these, and no list to take apart. (A match on the bytes would
        // compare them one by one.)
        match self.only_value(Field::Connection) {
            None if !self.has_any(&[Field::Connection]) => self.version() == Version::Http11,
            Some(value) if value == b"keep-alive" || value == b"Keep-Alive" => true,
            Some(value) if value == b"close" => false,
            Some(_) | None => self.asks_for_persistence(),
        }
    }

    fn asks_for_persistence(&self) -> bool {
        let mut keep_alive = false;
        for option in self.members(Field::Connection) {
            if option.eq_ignore_ascii_case(b"close") {
                return false;
            }
            keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
        keep_alive || self.version() == Version::Http11
    }

    /// Whether the Connection field has the given option. Letter case does not matter.
    pub fn has_connection_option(&self, option: &str) -> bool {
        self.members(Field::Connection)
            .any(|member| member.eq_ignore_ascii_case(option.as_bytes()))
    }

    /// The expectation of the client. HTTP/1.0 has no expectations, so the server ignores an Expect
    /// field in an HTTP/1.0 request.
    #[inline]
    pub fn expectation(&self) -> Expectation {
        match self.version() == Version::Http11 && self.has_any(&[Field::Expect]) {
            true => self.read_expectation(),
            false => Expectation::None,
        }
    }

    fn read_expectation(&self) -> Expectation {
        let mut expectation = Expectation::None;
        for member in self.members(Field::Expect) {
            match member.eq_ignore_ascii_case(b"100-continue") {
                true => expectation = Expectation::Continue,
                false => return Expectation::Unknown,
            }
        }
        expectation
    }
}

/// An iterator over the values of a field, line by line. Most look-ups are for absent fields and
/// cost almost nothing.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    /// The value of a field with a single line, until the iterator has returned the value.
    only: Option<&'a [u8]>,
    field: Field,
    /// The field lines that are still to be searched for a field with several lines. Empty for a
    /// field with a single line and for an absent field.
    lines: &'a [u8],
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match self.lines {
            [] => self.only.take(),
            _ => self.search(),
        }
    }
}

impl<'a> Values<'a> {
    /// Searches the remaining field lines for the next line of the field.
    fn search(&mut self) -> Option<&'a [u8]> {
        while let Some(end) = memchr(b'\n', self.lines) {
            let line = &self.lines[..end];
            self.lines = &self.lines[end + 1..];
            if let Some(colon) = memchr(b':', line)
                && Field::from_name(&line[..colon]) == Some(self.field)
            {
                return Some(line[colon + 1..].trim_ascii());
            }
        }
        None
    }
}

/// An iterator over the members of a list, line by line.
#[derive(Clone, Debug)]
pub struct Members<'a> {
    values: Values<'a>,
    /// The rest of the current line, after the last comma that was reached. `None` if the line is
    /// used up.
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let list = match self.rest.take() {
                Some(rest) => rest,
                None => self.values.next()?,
            };
            let member = match position(b',', list) {
                Some(comma) => {
                    self.rest = Some(&list[comma + 1..]);
                    &list[..comma]
                }
                None => list,
            };
            let member = member.trim_ascii();
            if !member.is_empty() {
                return Some(member);
            }
        }
    }
}

#[cfg(test)]
mod tests;
