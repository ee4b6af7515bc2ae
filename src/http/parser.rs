//! Floor 1, http: the parser of the request line and the field lines (RFC 9112 §2 to §6). The bytes
//! are parsed in place.
//!
//! ```text
//! head         = [ CRLF ] request-line CRLF *( field-line CRLF ) CRLF
//! request-line = method SP request-target SP HTTP-version
//! field-line   = field-name ":" OWS field-value OWS
//! field-name   = method = 1*tchar
//! field-value  = *( HTAB / SP / VCHAR / obs-text )
//! ```
//!
//! RFC 9112 allows a recipient to be lenient, and request smuggling depends on lenient recipients.
//! The parser is therefore stricter in four points:
//!
//! - A line ends in CRLF and never in a bare LF (§2.2 permits a bare LF).
//! - Exactly one space separates the parts of the request line (§3 permits more white space).
//! - obs-fold is an error (§5.2 also permits replacing each fold with spaces).
//! - `Content-Length` is a single number without leading zeros (the grammar permits leading zeros)
//!   and never a list (§6.3 permits a list of equal numbers).
//!
//! The parser is laxer than the grammar of the RFC in one point: an empty line before the request
//! line is skipped (§2.2 asks for this).
//!
//! The parser works line by line and *resumes*: [`HeadParser`] remembers the offset of its search
//! and the results of the finished lines. A head that arrives byte by byte therefore costs no more
//! than a head that arrives whole, and the outcome does not depend on where the head was cut.

use std::mem;

use memchr::memchr;

use super::classes::{
    TOKEN, VALUE, all, first_control, first_outside, first_outside_table, is, is_plain_path,
    name_end, path_end, target_end,
};
use super::request::Span;
use super::{Authority, Field, Framing, Head, Method, RequestHead, Scheme, Target, Version};

/// The error in a request head. [`status`](HeadError::status) and [`sentence`](HeadError::sentence)
/// give the response to each error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadError {
    /// A first line that is not `method SP request-target SP HTTP-version`.
    RequestLine,
    /// A byte in the request target that must be percent-encoded.
    TargetByte,
    /// A request target with none of the four forms of §3.2, or with a form that the method does
    /// not allow.
    TargetForm,
    /// A request target in absolute-form with another scheme than that of the connection (RFC 9110 §7.4).
    TargetScheme,
    /// A request target longer than [`HeadLimits::target_bytes_max`].
    TargetTooLong,
    /// A major version of HTTP other than 1.
    Version,
    /// A line that ends in LF without CR.
    BareLineFeed,
    /// A field line that does not begin with a token and a colon.
    FieldName,
    /// A control byte in a field value.
    FieldValue,
    /// A field line that begins with white space: obs-fold, or white space before the first field
    /// line.
    Fold,
    /// A head longer than [`HeadLimits::head_bytes_max`].
    HeadTooLarge,
    /// More field lines than [`HeadLimits::fields_max`].
    TooManyFields,
    /// A missing Host field in HTTP/1.1, two Host fields, or a Host field that is neither empty nor
    /// a host with an optional port.
    Host,
    /// A Content-Length that is not a single decimal number without leading zeros, or a second
    /// Content-Length.
    ContentLength,
    /// Content-Length together with Transfer-Encoding, or Transfer-Encoding in HTTP/1.0.
    ConflictingFraming,
    /// A Transfer-Encoding whose last coding is not chunked, or with chunked more than once.
    TransferEncoding,
    /// A transfer coding that the server does not know.
    UnknownTransferCoding,
    /// The peer closed its sending direction before the end of the head.
    Incomplete,
}

/// The bounds of a head; see [`Limits`](crate::config::Limits).
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// The largest number of bytes in a head, the final empty line included. A larger value than
    /// 65,535 counts as 65,535, because offsets into a head have 16 bits.
    pub head_bytes_max: usize,
    /// The largest number of bytes in the request target.
    pub target_bytes_max: usize,
    /// The largest number of field lines.
    pub fields_max: usize,
}

/// The result of [`HeadParser::parse`].
#[derive(Clone, Copy, Debug)]
pub enum Parsed<'a> {
    /// The head is complete. The bytes after [`Head::end`] belong to the body or to the next
    /// request.
    Complete(&'a Head),
    /// The head is not complete yet; the parser needs more bytes.
    Partial,
}

/// What [`HeadParser::next_line`] has found.
enum Line {
    /// The empty line at the end of the head.
    Last,
    /// Another line, which was taken.
    Other,
    /// A line that is not complete.
    Unfinished,
}

/// A parser for one request head; it keeps the state of an unfinished head between calls.
#[derive(Clone, Debug)]
pub struct HeadParser {
    head: Head,
    /// The offset of the first byte of the unfinished line.
    line: usize,
    /// The end of the search so far: the unfinished line has no line feed before this offset.
    searched: usize,
    /// Whether the unfinished line holds a control byte before `searched`.
    has_control: bool,
    /// The number of field lines so far.
    fields: usize,
    /// Whether the next line is the request line.
    at_request_line: bool,
}

impl Default for HeadParser {
    fn default() -> HeadParser {
        HeadParser {
            head: Head::default(),
            line: 0,
            searched: 0,
            has_control: false,
            fields: 0,
            at_request_line: true,
        }
    }
}

impl HeadParser {
    /// Tells the scheme of the connection. Without this call the scheme is `http`.
    #[inline]
    pub fn set_scheme(&mut self, scheme: Scheme) {
        self.head.scheme = scheme;
    }

    /// Continues the parse with `bytes`, which must hold every byte since the beginning of the
    /// head, including the bytes of earlier calls.
    ///
    /// ```
    /// use oneloop::http::{Field, HeadLimits, HeadParser, Method, Parsed, RequestHead};
    ///
    /// let limits = HeadLimits { head_bytes_max: 1024, target_bytes_max: 256, fields_max: 10 };
    /// let bytes = b"GET /a?b HTTP/1.1\r\nHost: example.org\r\n\r\nwhat follows";
    /// let mut parser = HeadParser::default();
    /// assert!(matches!(parser.parse(&bytes[..20], &limits), Ok(Parsed::Partial)));
    /// let Ok(Parsed::Complete(head)) = parser.parse(bytes, &limits) else { panic!() };
    /// let request = RequestHead::new(head, bytes);
    /// assert_eq!(request.method(), Method::Get);
    /// assert_eq!(request.target(), b"/a?b");
    /// assert_eq!(request.value(Field::Host), Some(&b"example.org"[..]));
    /// assert_eq!(&bytes[head.end()..], b"what follows");
    /// ```
    ///
    /// # Errors
    /// [`HeadError`] for the first error. The lines are checked in order, and the rules that need
    /// the whole head are checked last. After an error the connection cannot carry another request,
    /// because the beginning of the next request is unknown.
    ///
    /// # Panics
    /// If there are fewer bytes than in the call before.
    pub fn parse(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Parsed<'_>, HeadError> {
        if !self.take_lines(bytes, limits)? {
            return Ok(Parsed::Partial);
        }
        self.check(bytes)?;
        Ok(Parsed::Complete(&self.head))
    }

    /// Takes lines up to the empty line at the end of the head. Returns whether the empty line was taken.
    #[inline(always)]
    fn take_lines(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<bool, HeadError> {
        let max = limits.head_bytes_max.min(usize::from(u16::MAX));
        while !self.valid_lines(&bytes[..bytes.len().min(max)], limits) {
            match self.next_line(bytes, max, limits)? {
                Line::Unfinished => return Ok(false),
                Line::Last => break,
                Line::Other => {}
            }
        }
        self.head.end = self.line as u16;
        Ok(true)
    }

    /// Whether a request has begun: whether `bytes` contain more than the empty line that is
    /// skipped before a request line.
    pub fn has_begun(bytes: &[u8]) -> bool {
        !matches!(bytes, b"" | b"\r" | b"\r\n")
    }

    /// Takes the next lines, as long as each is complete, valid and of the usual form, and was not
    /// searched before, as nearly every line is. Returns whether the empty line was taken.
    /// [`next_line`](HeadParser::next_line) then takes the next line, or finds the error. It accepts every
    /// line that is accepted here, and does the same with it. `bytes` end at the bound of the head, if not
    /// before.
    // Two parsers call this, and the call would be made for each head.
    #[inline(always)]
    fn valid_lines(&mut self, bytes: &[u8], limits: &HeadLimits) -> bool {
        if self.searched != self.line || (self.at_request_line && !self.usual_line(bytes, limits)) {
            return false;
        }
        let (mut begin, mut fields) = (self.line, self.fields);
        let is_last = loop {
            let mut colon = name_end(bytes, begin);
            if bytes.get(colon) != Some(&b':') {
                colon = first_outside_table(TOKEN, bytes, colon);
                if bytes.get(colon) != Some(&b':') {
                    break false;
                }
            }
            if colon == begin || fields == limits.fields_max {
                break false;
            }
            let end = first_control(bytes, colon + 1);
            let behind = &bytes[end..];
            if !behind.starts_with(b"\r\n") {
                break false;
            }
            if let Some(field) = Field::from_name(&bytes[begin..colon]) {
                self.note_field(field, bytes, colon + 1, end);
            }
            fields += 1;
            begin = end + 2;
            // The empty line is looked for here, because the search for the end of a name costs more.
            if behind.starts_with(b"\r\n\r\n") {
                begin += 2;
                break true;
            }
        };
        (self.line, self.searched, self.fields) = (begin, begin, fields);
        is_last
    }

    /// Takes a request line of HTTP/1.1, if it is complete and valid.
    #[inline(always)]
    fn usual_line(&mut self, bytes: &[u8], limits: &HeadLimits) -> bool {
        const BEHIND: &[u8] = b" HTTP/1.1\r\n";
        let begin = self.line;
        let (method, space) = match bytes[begin..].starts_with(b"GET ") {
            true => (Method::Get, begin + 3),
            false => {
                let space = first_outside(TOKEN, bytes, begin);
                (Method::from_token(&bytes[begin..space]), space)
            }
        };
        if space == begin || bytes.get(space) != Some(&b' ') {
            return false;
        }
        let start = space + 1;
        let (path_end, is_plain) = path_end(bytes, start);
        let end = match bytes.get(path_end) {
            Some(b'?') => target_end(bytes, path_end),
            Some(_) | None => path_end,
        };
        let length = end - start;
        if !(1..=limits.target_bytes_max).contains(&length) || !bytes[end..].starts_with(BEHIND) {
            return false;
        }
        let (method_token, target) = (Span::new(begin, space), Span::new(start, end));
        self.note_request_line(method, method_token, target, Version::Http11);
        // In origin-form, the path is known already. CONNECT has another form.
        if bytes[start] == b'/' && method != Method::Connect {
            self.head.path = Span::new(start, path_end);
            self.head.has_plain_path = is_plain;
        }
        let next = end + BEHIND.len();
        (self.line, self.searched, self.head.lines) = (next, next, next as u16);
        true
    }

    /// Remembers the parts of the request line.
    #[inline]
    fn note_request_line(
        &mut self,
        method: Method,
        method_token: Span,
        target: Span,
        version: Version,
    ) {
        self.head.method = method;
        self.head.method_token = method_token;
        self.head.target = target;
        self.head.version = version;
        self.at_request_line = false;
    }

    /// Remembers where the value of a known field is: between `start` and `end`, offsets in the head,
    /// without the white space on both sides.
    #[inline(always)]
    fn note_field(&mut self, field: Field, bytes: &[u8], start: usize, end: usize) {
        let first = &mut self.head.first[field as usize];
        if first.is_some() {
            self.head.repeated |= 1 << field as u32;
            return;
        }
        *first = match bytes[start..end] {
            // One space before the value, and none behind it, as nearly every client writes. (Of the bytes
            // up to the space, a value has the space and the tab alone.)
            [b' ', first, .., last] if first > b' ' && last > b' ' => Span::new(start + 1, end),
            _ => trimmed(bytes, start, end),
        };
    }

    /// Takes the next line, of any form, if it is complete. A function of its own, because few heads need
    /// it: the search in [`valid_lines`](HeadParser::valid_lines) is faster alone.
    #[inline(never)]
    fn next_line(
        &mut self,
        bytes: &[u8],
        max: usize,
        limits: &HeadLimits,
    ) -> Result<Line, HeadError> {
        let found = self.line_feed(bytes);
        let within = found.unwrap_or(bytes.len()).min(max);
        if self.at_request_line && has_long_target(&bytes[self.line..within], limits) {
            return Err(HeadError::TargetTooLong);
        }
        let Some(end) = found else {
            self.check_unfinished(bytes, max)?;
            return Ok(Line::Unfinished);
        };
        if end >= max {
            return Err(self.too_large(bytes));
        }
        let line = Span::new(self.line, end);
        let is_clean = !mem::take(&mut self.has_control);
        (self.line, self.searched) = (end + 1, end + 1);
        let Some((b'\r', text)) = line.of(bytes).split_last() else {
            return Err(self.bare_line_feed(line.of(bytes)));
        };
        if self.at_request_line {
            if text.is_empty() && line.start == 0 {
                return Ok(Line::Other);
            }
            self.request_line(bytes, usize::from(line.start), end - 1)?;
            self.head.lines = (end + 1) as u16;
        } else if text.is_empty() {
            return Ok(Line::Last);
        } else {
            self.fields += 1;
            if self.fields > limits.fields_max {
                return Err(HeadError::TooManyFields);
            }
            self.field_line(bytes, usize::from(line.start), end - 1, is_clean)?;
        }
        Ok(Line::Other)
    }

    /// Returns the offset of the line feed that ends the unfinished line, and notes whether a control
    /// byte comes before its CR LF. `None` if the line feed has not come yet.
    fn line_feed(&mut self, bytes: &[u8]) -> Option<usize> {
        if !self.has_control {
            let control = first_control(bytes, self.searched);
            match bytes[control..] {
                [] => {
                    self.searched = control;
                    return None;
                }
                [b'\r', b'\n', ..] => return Some(control + 1),
                // The next byte decides.
                [b'\r'] => {
                    self.searched = control;
                    return None;
                }
                [..] => (self.searched, self.has_control) = (control, true),
            }
        }
        let found = memchr(b'\n', &bytes[self.searched..]).map(|at| self.searched + at);
        self.searched = found.unwrap_or(bytes.len());
        found
    }

    /// Decides about bytes without a further line feed: an error, or the need for more bytes.
    fn check_unfinished(&self, bytes: &[u8], max: usize) -> Result<(), HeadError> {
        if bytes.len() >= max {
            return Err(self.too_large(bytes));
        }
        // Of the request line, only the first byte and the length of the target are checked before the
        // line is complete: a client that speaks TLS or another protocol to this port would otherwise
        // wait for the deadline.
        match bytes.get(self.line) {
            Some(b'\r') => Ok(()),
            Some(&first) if self.at_request_line && !is(TOKEN, first) => {
                Err(HeadError::RequestLine)
            }
            _ => Ok(()),
        }
    }

    /// Returns the error for a head that exceeds its bound. If the bytes had arrived in smaller pieces,
    /// `check_unfinished` would have refused the first byte of a line that is no request line.
    fn too_large(&self, bytes: &[u8]) -> HeadError {
        let is_wrong = |first: &u8| *first != b'\r' && !is(TOKEN, *first);
        match self.at_request_line && bytes.get(self.line).is_some_and(is_wrong) {
            true => HeadError::RequestLine,
            false => HeadError::HeadTooLarge,
        }
    }

    /// Returns the error for a line that ends in LF without CR. If the line stands in the place of
    /// the request line and does not begin with a token, [`HeadError::RequestLine`] describes the
    /// error better, and `check_unfinished` returns the same error if the line arrives in pieces.
    fn bare_line_feed(&self, line: &[u8]) -> HeadError {
        match self.at_request_line && line.first().is_some_and(|b| !is(TOKEN, *b)) {
            true => HeadError::RequestLine,
            false => HeadError::BareLineFeed,
        }
    }

    /// Parses the request line between the offsets `begin` and `end`, without its CRLF.
    fn request_line(&mut self, bytes: &[u8], begin: usize, end: usize) -> Result<(), HeadError> {
        let line = &bytes[..end];
        let space = first_outside(TOKEN, line, begin);
        if space == begin || line.get(space) != Some(&b' ') {
            return Err(HeadError::RequestLine);
        }
        let start = space + 1;
        // The end of a valid target is the first byte that cannot stand in a target.
        let end = target_end(line, start);
        let is_valid = line.get(end) == Some(&b' ');
        let end = match is_valid {
            true => end,
            false => start + memchr(b' ', &line[start..]).ok_or(HeadError::RequestLine)?,
        };
        if start == end {
            return Err(HeadError::RequestLine);
        }
        let version = match &line[end + 1..] {
            b"HTTP/1.1" => Version::Http11,
            b"HTTP/1.0" => Version::Http10,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                match major {
                    b'1' => Version::Http11,
                    _ => return Err(HeadError::Version),
                }
            }
            _ => return Err(HeadError::RequestLine),
        };
        if !is_valid {
            return Err(HeadError::TargetByte);
        }
        let (method_token, target) = (Span::new(begin, space), Span::new(start, end));
        let method = Method::from_token(method_token.of(bytes));
        self.note_request_line(method, method_token, target, version);
        Ok(())
    }

    /// Parses the field line between the offsets `begin` and `end`, without its CRLF. The line must not
    /// be empty. `is_clean` says that the line is known to hold no control byte.
    fn field_line(
        &mut self,
        bytes: &[u8],
        begin: usize,
        end: usize,
        is_clean: bool,
    ) -> Result<(), HeadError> {
        let line = &bytes[..end];
        if matches!(line[begin], b' ' | b'\t') {
            return Err(HeadError::Fold);
        }
        let colon = first_outside(TOKEN, line, begin);
        if colon == begin || line.get(colon) != Some(&b':') {
            return Err(HeadError::FieldName);
        }
        if !is_clean && !all(VALUE, &line[colon + 1..]) {
            return Err(HeadError::FieldValue);
        }
        if let Some(field) = Field::from_name(&bytes[begin..colon]) {
            self.note_field(field, bytes, colon + 1, end);
        }
        Ok(())
    }

    /// Checks the rules that need the whole head: Host (RFC 9112 §3.2), the form of the request
    /// target, and the framing of the body (§6).
    fn check(&mut self, bytes: &[u8]) -> Result<(), HeadError> {
        let request = RequestHead::new(&self.head, bytes);
        let host = self.host(&request)?;
        let (path, is_plain) = match self.head.path {
            known if known.is_some() => (known, self.head.has_plain_path),
            _ => {
                let path = self.path(&request)?;
                (path, is_plain_path(path.of(bytes)))
            }
        };
        let framing = self.framing(&request)?;
        if let Some(Authority { host, port }) = host {
            let start = usize::from(self.head.first[Field::Host as usize].start);
            (self.head.host, self.head.port) = (Span::new(start, start + host.len()), port);
        }
        (self.head.path, self.head.has_plain_path) = (path, is_plain);
        self.head.framing = framing;
        Ok(())
    }

    /// Checks the form of the target, and returns the place of the path; absent if the target has no path.
    fn path(&self, request: &RequestHead<'_>) -> Result<Span, HeadError> {
        Ok(
            match Target::parse(request.method(), request.target(), request.scheme())? {
                Target::Path { path, query, .. } => {
                    // The query is at the end of the target, and the path is before the query.
                    let behind = query.map_or(0, |query| 1 + query.len());
                    let end = usize::from(self.head.target.end) - behind;
                    Span::new(end - path.len(), end)
                }
                Target::Asterisk | Target::Authority(_) => Span::default(),
            },
        )
    }

    /// Checks Host. `None` means that the request names no host: Host is empty, or absent in
    /// HTTP/1.0.
    fn host<'a>(&self, request: &RequestHead<'a>) -> Result<Option<Authority<'a>>, HeadError> {
        match request.value(Field::Host) {
            Some(_) if self.is_repeated(Field::Host) => Err(HeadError::Host),
            // A client sends an empty Host if the URI has no authority (RFC 9112 §3.2).
            Some(b"") => Ok(None),
            Some(_) => {
                let place = self.head.first[Field::Host as usize];
                let authority = Authority::parse_within(request.bytes(), place.range());
                authority.map(Some).ok_or(HeadError::Host)
            }
            None if self.head.version == Version::Http11 => Err(HeadError::Host),
            None => Ok(None),
        }
    }

    /// Determines the framing of the body. A request without Content-Length and Transfer-Encoding
    /// has no body (RFC 9112 §6.3).
    #[inline(always)]
    fn framing(&self, request: &RequestHead<'_>) -> Result<Framing, HeadError> {
        let length = request.value(Field::ContentLength);
        if request.value(Field::TransferEncoding).is_some() {
            if length.is_some() || self.head.version == Version::Http10 {
                return Err(HeadError::ConflictingFraming);
            }
            return transfer_codings(request);
        }
        match length {
            None => Ok(Framing::None),
            Some(_) if self.is_repeated(Field::ContentLength) => Err(HeadError::ContentLength),
            Some(digits) => match content_length(digits).ok_or(HeadError::ContentLength)? {
                0 => Ok(Framing::None),
                n => Ok(Framing::Length(n)),
            },
        }
    }

    /// Whether the field came on more than one line.
    fn is_repeated(&self, field: Field) -> bool {
        self.head.repeated & (1 << field as u32) != 0
    }
}

/// Whether `line`, the beginning of a request line or all of it without its LF, has a target over the
/// bound. The answer is the same for each beginning that is long enough, so a target is refused as soon as
/// it is too long, and with the same error if it arrives whole.
fn has_long_target(line: &[u8], limits: &HeadLimits) -> bool {
    // Nearly every line is too short as a whole.
    if line.len() <= limits.target_bytes_max {
        return false;
    }
    let space = first_outside(TOKEN, line, 0);
    if space == 0 || line.get(space) != Some(&b' ') {
        return false;
    }
    let rest = &line[space + 1..];
    // The CR of the end of the line may be the last byte.
    let rest = rest.strip_suffix(b"\r").unwrap_or(rest);
    let beginning = rest.get(..=limits.target_bytes_max);
    beginning.is_some_and(|target| memchr(b' ', target).is_none())
}

/// The part between two offsets, without the white space on both sides.
fn trimmed(bytes: &[u8], mut start: usize, mut end: usize) -> Span {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t');
    while start < end && is_space(bytes[start]) {
        start += 1;
    }
    while start < end && is_space(bytes[end - 1]) {
        end -= 1;
    }
    Span::new(start, end)
}

/// Reads `Content-Length = 1*DIGIT`. `None` for a leading zero and for a number above `u64::MAX`.
fn content_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        n.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Checks that the transfer codings are `chunked` alone. `chunked` must come once and last (RFC
/// 9112 §6.1 and §7), and the server decodes no other coding.
fn transfer_codings(request: &RequestHead<'_>) -> Result<Framing, HeadError> {
    let (mut chunked, mut last, mut other) = (0, false, false);
    for coding in request.members(Field::TransferEncoding) {
        last = coding.eq_ignore_ascii_case(b"chunked");
        match last {
            true => chunked += 1,
            false => other = true,
        }
    }
    if chunked != 1 || !last {
        return Err(HeadError::TransferEncoding);
    }
    match other {
        true => Err(HeadError::UnknownTransferCoding),
        false => Ok(Framing::Chunked),
    }
}

/// Parses a request head, which must be complete and valid, for tests of code that reads heads.
#[cfg(test)]
pub(crate) fn parsed(text: &str) -> Head {
    let limits = HeadLimits {
        head_bytes_max: 4096,
        target_bytes_max: 300,
        fields_max: 10,
    };
    match HeadParser::default().parse(text.as_bytes(), &limits) {
        Ok(Parsed::Complete(head)) => head.clone(),
        other => panic!("{text}: {other:?}"),
    }
}

mod response;

pub use response::{ReceivedHead, ResponseBody, ResponseError, ResponseParser};

#[cfg(test)]
mod tests;
