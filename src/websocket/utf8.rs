//! Floor 1, websocket: a check of UTF-8 (RFC 6455 §8.1) in pieces that may be cut anywhere.

use super::Violation;

/// Checks text piece by piece, and fails at the first byte after which the text can no longer
/// become valid.
#[derive(Clone, Copy, Default, Debug)]
pub struct Utf8 {
    /// The first bytes of a character that has not arrived completely.
    begun: [u8; 4],
    length: u8,
}

/// The whole characters of a piece of text.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct TextPart<'a> {
    /// The character that began in an earlier piece and ended in this one.
    pub begun: Option<char>,
    /// The characters after it. A character that has only begun comes with a later piece.
    pub rest: &'a str,
}

impl Utf8 {
    /// Checks the next piece of the text.
    ///
    /// # Errors
    /// [`Violation::Utf8`] if no valid text has this beginning.
    pub fn check<'a>(&mut self, mut bytes: &'a [u8]) -> Result<TextPart<'a>, Violation> {
        let mut part = TextPart::default();
        while self.length > 0 {
            let Some((first, rest)) = bytes.split_first() else {
                return Ok(part);
            };
            self.begun[usize::from(self.length)] = *first;
            self.length += 1;
            bytes = rest;
            match str::from_utf8(&self.begun[..usize::from(self.length)]) {
                Ok(whole) => (part.begun, self.length) = (whole.chars().next(), 0),
                // The character may still become valid. `begun` has enough space, because no
                // character has more than four bytes.
                Err(e) if e.error_len().is_none() => {}
                Err(_) => return Err(Violation::Utf8),
            }
        }
        let (whole, begun) = bytes.split_at(bytes.len() - begun_bytes(bytes));
        part.rest = str::from_utf8(whole).map_err(|_| Violation::Utf8)?;
        if str::from_utf8(begun).is_err_and(|e| e.error_len().is_some()) {
            return Err(Violation::Utf8);
        }
        self.begun[..begun.len()].copy_from_slice(begun);
        self.length = begun.len() as u8;
        Ok(part)
    }

    /// Returns the number of bytes, at most 3, of a character that has begun and not ended.
    pub fn begun_bytes(&self) -> usize {
        usize::from(self.length)
    }

    /// Ends the text.
    ///
    /// # Errors
    /// [`Violation::Utf8`] if the text ends within a character.
    pub fn finish(self) -> Result<(), Violation> {
        match self.length {
            0 => Ok(()),
            _ => Err(Violation::Utf8),
        }
    }
}

/// The number of bytes at the end that are the beginning of a longer character. If the bytes before
/// are not valid, the number has no meaning.
fn begun_bytes(bytes: &[u8]) -> usize {
    let mut last = bytes.iter().rev().take(3);
    let Some(back) = last.position(|b| !is_continuation(*b)) else {
        return 0;
    };
    let needed = match bytes[bytes.len() - 1 - back] {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
        _ => 1,
    };
    match needed > back + 1 {
        true => back + 1,
        false => 0,
    }
}

/// Whether a byte continues a character that began before.
fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the outcome for every cut: `Err` has the number of bytes up to the failure, and `Ok`
    /// tells whether the text ends with a complete character.
    fn check(bytes: &[u8], expected: Result<bool, usize>) {
        let mut bytewise = Utf8::default();
        let failed = bytes.iter().position(|b| bytewise.check(&[*b]).is_err());
        let outcome = failed.map_or(Ok(bytewise.finish().is_ok()), |at| Err(at + 1));
        assert_eq!(outcome, expected, "{bytes:x?}");
        for cut in 0..=bytes.len() {
            let mut halves = Utf8::default();
            let (a, b) = bytes.split_at(cut);
            let mut text = String::new();
            let checked = [a, b].iter().try_for_each(|piece| {
                let part = halves.check(piece)?;
                text.extend(part.begun);
                text.push_str(part.rest);
                Ok::<_, Violation>(())
            });
            let same = match checked {
                Ok(()) => Ok(halves.finish().is_ok()) == expected,
                Err(_) => expected.is_err(),
            };
            assert!(same, "{bytes:x?} cut at {cut}");
            if checked.is_ok() {
                let whole = bytes.len() - halves.begun_bytes();
                assert_eq!(text.as_bytes(), &bytes[..whole], "cut at {cut}");
            }
        }
    }

    #[test]
    fn text_fails_with_the_first_byte_that_spoils_it() {
        check(b"", Ok(true));
        check("aäあ𝄞".as_bytes(), Ok(true));
        check(&"aäあ𝄞".as_bytes()[..9], Ok(false));
        check(b"ab\xffc", Err(3));
        check(b"\xc0\x80", Err(1));
        check(b"\xed\xa0\x80", Err(2)); // a surrogate
        check(b"\xf4\x90\x80\x80", Err(2)); // beyond U+10FFFF
        check(b"\xe0\x80\x80", Err(2)); // not the shortest form
        check(b"\xe3\x81a", Err(3));
        check(b"\xf5", Err(1));
        check(b"\x80", Err(1));
    }
}
