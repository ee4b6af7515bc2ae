//! Floor 1, http: the field lines of a head or of a trailer section, one after the other (RFC 9112
//! §5). The parser has checked them before.

use memchr::memchr;

/// An iterator over field lines: the name as the sender wrote it, and the value without the white
/// space around it. The iterator ends at the empty line, or where the bytes end.
#[derive(Clone, Default, Debug)]
pub struct FieldLines<'a> {
    rest: &'a [u8],
}

impl<'a> FieldLines<'a> {
    /// The lines at the front of `bytes`, which must be valid field lines, each with CRLF.
    pub(super) fn new(bytes: &'a [u8]) -> FieldLines<'a> {
        FieldLines { rest: bytes }
    }
}

impl<'a> Iterator for FieldLines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let end = memchr(b'\n', self.rest)?;
        let colon = memchr(b':', &self.rest[..end])?;
        let (line, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    }
}
