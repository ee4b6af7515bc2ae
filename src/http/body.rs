//! Floor 1, http: the content and the end of a body (RFC 9112 §6 and §7).
//!
//! ```text
//! chunked-body    = *chunk last-chunk trailer-section CRLF
//! chunk           = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
//! chunk-size      = 1*HEXDIG
//! last-chunk      = 1*("0") [ chunk-ext ] CRLF
//! chunk-ext       = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
//! chunk-ext-name  = token
//! chunk-ext-val   = token / quoted-string
//! trailer-section = *( field-line CRLF )
//! ```
//!
//! Chunk extensions and trailers have no meaning here. The decoder skips extensions, and keeps
//! trailers only if it is asked to, for a proxy that passes them on. Each must be
//! well-formed, because request smuggling depends on recipients that take malformed extensions in
//! different ways. Their total length is bounded: otherwise a body could consist of framing without
//! content. No trailer is ever merged into the head, so a trailer cannot smuggle a field
//! into the head (§7.1.2).
//!
//! These are errors: a bare LF, a bare CR, white space before a chunk size, white space at the end
//! of a line with a chunk size, and a chunk size of more than 16 digits.

use super::classes::{TOKEN, VALUE, is};
use super::{FieldLines, Framing};

/// The error in a body; [`sentence`](BodyError::sentence) explains each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyError {
    /// A chunk size that is not a hexadecimal number or has more than 16 digits, or a line with a
    /// chunk size that does not end in CRLF.
    ChunkSize,
    /// A chunk extension that is not a token, perhaps with `=` and a token or a quoted string.
    ChunkExtension,
    /// A chunk without CRLF after the data.
    ChunkEnd,
    /// A trailer that is not a field line, or a last line of the body that is not CRLF.
    Trailer,
    /// Too many bytes of chunk extensions and trailers.
    TooMuchFraming,
}

/// The result of one call of [`BodyDecoder::decode`]: at the front of the given bytes are first
/// framing, which the caller can drop, and then content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyPart {
    /// The number of bytes of framing.
    pub framing: usize,
    /// The number of bytes of content after the framing.
    pub content: usize,
    /// Whether the body ends after this part. The bytes after the body belong to the next request.
    pub last: bool,
}

/// Finds the content of a body whose bytes arrive in parts of any size.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    /// The number of bytes of content until the end of the body or of the chunk. Within a chunk
    /// size, the value of the digits so far.
    left: u64,
    /// The number of bytes of extensions and trailers so far.
    skipped: u16,
    /// The lines of the trailer section so far, each with its CRLF. `None` if the trailers are not wanted.
    trailers: Option<Vec<u8>>,
}

/// The element of the grammar to which the next byte belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The content of a body with a Content-Length.
    Content,
    /// A chunk size, after the given number of digits.
    Size(u8),
    /// White space after a chunk size: a semicolon must follow.
    SizeSpace,
    /// White space after a semicolon: the name of an extension must follow.
    Semicolon,
    ExtensionName,
    /// White space after a name: `=` or a semicolon must follow.
    NameSpace,
    /// White space after `=`: a value must follow.
    Equals,
    ExtensionToken,
    ExtensionQuoted,
    /// The byte after a backslash in a quoted string.
    QuotedPair,
    /// After the closing quote of a value.
    ValueEnd,
    /// White space after a value: a semicolon must follow.
    ValueSpace,
    SizeLf,
    ChunkContent,
    ChunkCr,
    ChunkLf,
    /// The first byte of a trailer, or of the CRLF at the end of the body.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl State {
    /// Whether the next byte belongs to a trailer, or is the CR at the end of the body.
    fn is_trailer(self) -> bool {
        use State as S;
        matches!(
            self,
            S::Trailer | S::TrailerName | S::TrailerValue | S::TrailerLf
        )
    }
}

impl BodyDecoder {
    /// The largest number of bytes of chunk extensions and trailers in one body, CRLF not counted:
    /// 16 KiB, half the default bound of a head: no cookie makes this part of a request grow.
    const SKIPPED_MAX: u16 = 16 << 10;

    /// Returns a decoder for a body with this framing, or `None` if the request has no body.
    pub fn new(framing: Framing) -> Option<BodyDecoder> {
        let (state, left) = match framing {
            Framing::None => return None,
            Framing::Length(length) => (State::Content, length),
            Framing::Chunked => (State::Size(0), 0),
        };
        Some(BodyDecoder {
            state,
            left,
            skipped: 0,
            trailers: None,
        })
    }

    /// The same decoder, which keeps the trailers of the body: at most 16 KiB.
    ///
    /// ```
    /// use oneloop::http::{BodyDecoder, Framing};
    /// let mut decoder = BodyDecoder::new(Framing::Chunked).unwrap().with_trailers();
    /// assert!(decoder.decode(b"0\r\nChecksum: 7a \r\n\r\n").unwrap().last);
    /// assert_eq!(decoder.trailers().next(), Some((&b"Checksum"[..], &b"7a"[..])));
    /// ```
    pub fn with_trailers(mut self) -> BodyDecoder {
        self.trailers = Some(Vec::new());
        self
    }

    /// The trailers that were kept. They are whole when the last part of the body has come.
    pub fn trailers(&self) -> FieldLines<'_> {
        FieldLines::new(self.trailers.as_deref().unwrap_or_default())
    }

    /// Decodes the front of `bytes`, at most up to the end of one run of content. Drop
    /// [`BodyPart::framing`] bytes, take [`BodyPart::content`] bytes, and call again with the rest,
    /// until no bytes are left or the part is the last.
    ///
    /// ```
    /// use oneloop::http::{BodyDecoder, Framing};
    /// let mut decoder = BodyDecoder::new(Framing::Chunked).unwrap();
    /// let bytes = b"5;x=y\r\nhello\r\n0\r\n\r\nGET";
    /// let part = decoder.decode(bytes).unwrap();
    /// assert_eq!(&bytes[part.framing..][..part.content], b"hello");
    /// let rest = &bytes[part.framing + part.content..];
    /// let part = decoder.decode(rest).unwrap();
    /// assert!(part.last && part.content == 0);
    /// assert_eq!(&rest[part.framing..], b"GET");
    /// ```
    ///
    /// # Errors
    /// [`BodyError`] for the first byte that breaks the grammar or exceeds the bound. The
    /// connection cannot carry another request then, because the beginning of the next request is
    /// unknown.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<BodyPart, BodyError> {
        let mut framing = 0;
        while !matches!(self.state, State::Content | State::ChunkContent) {
            if self.state == State::End || framing == bytes.len() {
                return Ok(BodyPart {
                    framing,
                    content: 0,
                    last: self.state == State::End,
                });
            }
            let next = self.frame(bytes[framing])?;
            if let Some(trailers) = &mut self.trailers
                && self.state.is_trailer()
            {
                trailers.push(bytes[framing]);
            }
            self.state = next;
            framing += 1;
        }
        let here = (bytes.len() - framing) as u64;
        let content = here.min(self.left);
        self.left -= content;
        if self.left == 0 {
            self.state = match self.state {
                State::Content => State::End,
                _ => State::ChunkCr,
            };
        }
        Ok(BodyPart {
            framing,
            content: content as usize,
            last: self.state == State::End,
        })
    }

    /// The number of bytes of content that have been announced and have not come: the rest of a
    /// body with a Content-Length, or the rest of the current chunk. 0 between two chunks, and
    /// within the line of a chunk size, because the line may yet prove to be an error.
    pub fn announced(&self) -> u64 {
        let is_content = matches!(self.state, State::Content | State::ChunkContent);
        if is_content { self.left } else { 0 }
    }

    /// Takes one byte of framing and returns the next state.
    fn frame(&mut self, byte: u8) -> Result<State, BodyError> {
        let expect = |wanted: u8, next: State, error: BodyError| match byte == wanted {
            true => Ok(next),
            false => Err(error),
        };
        match self.state {
            State::Size(digits) => match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) if digits < 16 => {
                    self.left = self.left << 4 | u64::from(digit);
                    Ok(State::Size(digits + 1))
                }
                (None, b'\r') if digits > 0 => Ok(State::SizeLf),
                (None, b';') if digits > 0 => self.skip(State::Semicolon),
                (None, b' ' | b'\t') if digits > 0 => self.skip(State::SizeSpace),
                _ => Err(BodyError::ChunkSize),
            },
            State::SizeSpace => match byte {
                b' ' | b'\t' => self.skip(State::SizeSpace),
                b';' => self.skip(State::Semicolon),
                _ => Err(BodyError::ChunkSize),
            },
            State::Semicolon => match byte {
                b' ' | b'\t' => self.skip(State::Semicolon),
                _ if is(TOKEN, byte) => self.skip(State::ExtensionName),
                _ => Err(BodyError::ChunkExtension),
            },
            State::ExtensionName | State::NameSpace => match byte {
                b'=' => self.skip(State::Equals),
                b' ' | b'\t' => self.skip(State::NameSpace),
                b';' => self.skip(State::Semicolon),
                b'\r' if self.state == State::ExtensionName => Ok(State::SizeLf),
                _ if is(TOKEN, byte) && self.state == State::ExtensionName => {
                    self.skip(State::ExtensionName)
                }
                _ => Err(BodyError::ChunkExtension),
            },
            State::Equals => match byte {
                b' ' | b'\t' => self.skip(State::Equals),
                b'"' => self.skip(State::ExtensionQuoted),
                _ if is(TOKEN, byte) => self.skip(State::ExtensionToken),
                _ => Err(BodyError::ChunkExtension),
            },
            State::ExtensionQuoted => match byte {
                b'"' => self.skip(State::ValueEnd),
                b'\\' => self.skip(State::QuotedPair),
                _ if is(VALUE, byte) => self.skip(State::ExtensionQuoted),
                _ => Err(BodyError::ChunkExtension),
            },
            State::QuotedPair => match is(VALUE, byte) {
                true => self.skip(State::ExtensionQuoted),
                false => Err(BodyError::ChunkExtension),
            },
            State::ExtensionToken | State::ValueEnd | State::ValueSpace => match byte {
                b' ' | b'\t' => self.skip(State::ValueSpace),
                b';' => self.skip(State::Semicolon),
                b'\r' if self.state != State::ValueSpace => Ok(State::SizeLf),
                _ if is(TOKEN, byte) && self.state == State::ExtensionToken => {
                    self.skip(State::ExtensionToken)
                }
                _ => Err(BodyError::ChunkExtension),
            },
            State::SizeLf => {
                let next = match self.left {
                    0 => State::Trailer,
                    _ => State::ChunkContent,
                };
                expect(b'\n', next, BodyError::ChunkSize)
            }
            State::ChunkCr => expect(b'\r', State::ChunkLf, BodyError::ChunkEnd),
            State::ChunkLf => expect(b'\n', State::Size(0), BodyError::ChunkEnd),
            State::Trailer => match byte {
                b'\r' => Ok(State::EndLf),
                _ if is(TOKEN, byte) => self.skip(State::TrailerName),
                _ => Err(BodyError::Trailer),
            },
            State::TrailerName => match byte {
                b':' => self.skip(State::TrailerValue),
                _ if is(TOKEN, byte) => self.skip(State::TrailerName),
                _ => Err(BodyError::Trailer),
            },
            State::TrailerValue => match byte {
                b'\r' => Ok(State::TrailerLf),
                _ if is(VALUE, byte) => self.skip(State::TrailerValue),
                _ => Err(BodyError::Trailer),
            },
            State::TrailerLf => expect(b'\n', State::Trailer, BodyError::Trailer),
            State::EndLf => expect(b'\n', State::End, BodyError::Trailer),
            State::Content | State::ChunkContent | State::End => {
                unreachable!("these are not framing")
            }
        }
    }

    /// Counts a byte of an extension or a trailer.
    ///
    /// # Errors
    /// [`BodyError::TooMuchFraming`] if the byte is over the bound.
    fn skip(&mut self, next: State) -> Result<State, BodyError> {
        self.skipped += 1;
        match self.skipped > Self::SKIPPED_MAX {
            true => Err(BodyError::TooMuchFraming),
            false => Ok(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `bytes` in pieces that end at `cuts`. Returns the content and, if the body has
    /// ended, the offset after the body.
    fn outcome(
        framing: Framing,
        bytes: &[u8],
        cuts: &[usize],
    ) -> Result<(Vec<u8>, Option<usize>), BodyError> {
        let mut decoder = BodyDecoder::new(framing).expect("a body");
        let (mut content, mut at) = (Vec::new(), 0);
        for &cut in cuts {
            while at < cut {
                let part = decoder.decode(&bytes[at..cut])?;
                at += part.framing;
                content.extend_from_slice(&bytes[at..at + part.content]);
                at += part.content;
                if part.last {
                    return Ok((content, Some(at)));
                }
            }
        }
        Ok((content, None))
    }

    /// Decodes `bytes` whole, then cut at every byte, then byte by byte: the outcome is the same.
    fn decode(framing: Framing, bytes: &[u8]) -> Result<(Vec<u8>, Option<usize>), BodyError> {
        let whole = outcome(framing, bytes, &[bytes.len()]);
        for cut in 0..bytes.len() {
            assert_eq!(outcome(framing, bytes, &[cut, bytes.len()]), whole, "{cut}");
        }
        let bytewise: Vec<_> = (0..=bytes.len()).collect();
        assert_eq!(outcome(framing, bytes, &bytewise), whole);
        whole
    }

    fn check(bytes: impl AsRef<[u8]>, expected: Result<&str, BodyError>) {
        let bytes = bytes.as_ref();
        let followed = [bytes, b"GET"].concat();
        let expected = expected.map(|text| (text.as_bytes().to_vec(), Some(bytes.len())));
        assert_eq!(
            decode(Framing::Chunked, &followed),
            expected,
            "{}",
            bytes.escape_ascii()
        );
    }

    #[test]
    fn chunks_are_joined_and_framing_is_dropped() {
        check("0\r\n\r\n", Ok(""));
        check("5\r\nhello\r\n0\r\n\r\n", Ok("hello"));
        check("5\r\nhello\r\n1\r\n!\r\n000\r\n\r\n", Ok("hello!"));
        check("0000000000000005\r\nhello\r\n0\r\n\r\n", Ok("hello"));
        check("a\r\n0123456789\r\n0\r\n\r\n", Ok("0123456789"));
        check(
            "A\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n",
            Ok("\r\n\r\n\r\n\r\n\r\n"),
        );
        check("1;a\r\nx\r\n0;b=\"c;d\"\r\n\r\n", Ok("x"));
        check("1 \t;a = b\r\nx\r\n0\r\n\r\n", Ok("x"));
        for extension in [
            ";a;b",
            ";a=b;c",
            " ; a \t= b ; c",
            ";a=\"\"",
            ";a=\"b\";c=\"\\\"\\\\\";d",
            "; a\t=\t\"x y\t\u{e9}=;\" ;b",
            ";!#$%&'*+-.^_`|~=0",
        ] {
            check(
                format!("1{extension}\r\nx\r\n0{extension}\r\n\r\n"),
                Ok("x"),
            );
        }
        check("1\r\nx\r\n0\r\nA: b\r\nContent-Length: 9\r\n\r\n", Ok("x"));
    }

    #[test]
    fn what_is_not_chunked_is_refused() {
        use BodyError as E;
        for (bytes, error) in [
            ("\r\n", E::ChunkSize),
            ("g\r\n", E::ChunkSize),
            (" 1\r\n", E::ChunkSize),
            ("1 \r\n", E::ChunkSize),
            ("+1\r\n", E::ChunkSize),
            ("-1\r\n", E::ChunkSize),
            ("0x1\r\n", E::ChunkSize),
            ("1\n", E::ChunkSize),
            ("1\r\r\n", E::ChunkSize),
            ("00000000000000001\r\n", E::ChunkSize),
            (";a\r\n", E::ChunkSize),
            ("1;a\n", E::ChunkExtension),
            ("1;a\0\r\n", E::ChunkExtension),
            ("1;\r\n", E::ChunkExtension),
            ("1; \r\n", E::ChunkExtension),
            ("1;;a\r\n", E::ChunkExtension),
            ("1;a;\r\n", E::ChunkExtension),
            ("1;=x\r\n", E::ChunkExtension),
            ("1;[a=b\r\n", E::ChunkExtension),
            ("1;\u{e9}\r\n", E::ChunkExtension),
            ("1;\"a\"\r\n", E::ChunkExtension),
            ("1;a \r\n", E::ChunkExtension),
            ("1;a b\r\n", E::ChunkExtension),
            ("1;a=\r\n", E::ChunkExtension),
            ("1;a= \r\n", E::ChunkExtension),
            ("1;a=;b\r\n", E::ChunkExtension),
            ("1;a==b\r\n", E::ChunkExtension),
            ("1;a=b=c\r\n", E::ChunkExtension),
            ("1;a=b \r\n", E::ChunkExtension),
            ("1;a=b c\r\n", E::ChunkExtension),
            ("1;a=[\r\n", E::ChunkExtension),
            ("1;a=b\"c\"\r\n", E::ChunkExtension),
            ("1;a=\"b\r\n", E::ChunkExtension),
            ("1;a=\"b\n\"\r\n", E::ChunkExtension),
            ("1;a=\"b\0\"\r\n", E::ChunkExtension),
            ("1;a=\"b\\\r\n", E::ChunkExtension),
            ("1;a=\"b\"c\r\n", E::ChunkExtension),
            ("1;a=\"b\" \r\n", E::ChunkExtension),
            ("1;a=\"b\" c\r\n", E::ChunkExtension),
            ("1;a\rb\r\n", E::ChunkSize),
            ("1\r\nxy", E::ChunkEnd),
            ("1\r\nx\n", E::ChunkEnd),
            ("1\r\nx\r1", E::ChunkEnd),
            ("0\r\n\n", E::Trailer),
            ("0\r\nA\r\n\r\n", E::Trailer),
            ("0\r\n A: b\r\n\r\n", E::Trailer),
            ("0\r\nA : b\r\n\r\n", E::Trailer),
            ("0\r\nA: b\n\r\n", E::Trailer),
            ("0\r\nA: b\rc\r\n\r\n", E::Trailer),
            ("0\r\n: b\r\n\r\n", E::Trailer),
            ("0\r\n\rx", E::Trailer),
        ] {
            check(bytes, Err(error));
        }
    }

    #[test]
    fn framing_without_content_is_bounded() {
        let max = usize::from(BodyDecoder::SKIPPED_MAX);
        let extension = |n: usize| format!("0;{}\r\n\r\n", "x".repeat(n - 1));
        let trailer = |n: usize| format!("0\r\nA:{}\r\n\r\n", "x".repeat(n - 2));
        for make in [&extension as &dyn Fn(usize) -> String, &trailer] {
            let whole = |n| outcome(Framing::Chunked, make(n).as_bytes(), &[make(n).len()]);
            assert_eq!(whole(max), Ok((Vec::new(), Some(make(max).len()))));
            assert_eq!(whole(max + 1), Err(BodyError::TooMuchFraming));
        }
    }

    #[test]
    fn trailers_are_kept_for_a_caller_that_asks() {
        let bytes = b"1;a=b\r\nx\r\n0;c\r\nA: b \r\nc:\r\nA:\td\r\n\r\nGET";
        let expected: [(&[u8], &[u8]); 3] = [(b"A", b"b"), (b"c", b""), (b"A", b"d")];
        for cut in 0..=bytes.len() {
            let plain = BodyDecoder::new(Framing::Chunked).expect("a body");
            let mut decoder = plain.clone().with_trailers();
            let mut same = plain;
            let (mut at, mut is_whole) = (0, false);
            for end in [cut, bytes.len()] {
                while at < end && !is_whole {
                    let part = decoder.decode(&bytes[at..end]).expect("valid");
                    assert_eq!(same.decode(&bytes[at..end]), Ok(part));
                    at += part.framing + part.content;
                    is_whole = part.last;
                }
            }
            assert_eq!((at, is_whole), (bytes.len() - 3, true));
            assert_eq!(decoder.trailers().collect::<Vec<_>>(), expected);
            assert_eq!(same.trailers().count(), 0);
        }
    }

    #[test]
    fn a_length_is_counted() {
        let outcome = decode(Framing::Length(5), b"helloGET");
        assert_eq!(outcome, Ok((b"hello".to_vec(), Some(5))));
        let outcome = decode(Framing::Length(u64::MAX), b"hello");
        assert_eq!(outcome, Ok((b"hello".to_vec(), None)));
        assert!(BodyDecoder::new(Framing::None).is_none());
    }

    #[test]
    fn a_chunk_may_be_as_large_as_its_digits_say() {
        let mut decoder = BodyDecoder::new(Framing::Chunked).unwrap();
        let part = decoder.decode(b"ffffffffffffffff\r\nab").unwrap();
        assert_eq!((part.framing, part.content, part.last), (18, 2, false));
        assert_eq!(decoder.announced(), u64::MAX - 2);
    }

    #[test]
    fn a_size_is_announced_when_its_line_is_whole() {
        let mut decoder = BodyDecoder::new(Framing::Chunked).unwrap();
        for (bytes, announced) in [("", 0), ("f", 0), ("f;a=b\r", 0), ("\n", 255), ("abc", 252)] {
            decoder.decode(bytes.as_bytes()).unwrap();
            assert_eq!(decoder.announced(), announced, "{bytes:?}");
        }
        let mut decoder = BodyDecoder::new(Framing::Length(5)).unwrap();
        assert_eq!(decoder.announced(), 5);
        decoder.decode(b"hello").unwrap();
        assert_eq!(decoder.announced(), 0);
    }
}
