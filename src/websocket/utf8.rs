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

impl Utf8 {
    /// Checks the next piece of the text.
    ///
    /// # Errors
    /// [`Violation::Utf8`] if no valid text has this beginning.
    pub fn check(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while self.length > 0 {
            let Some((first, rest)) = bytes.split_first() else {
                return Ok(());
            };
            self.begun[usize::from(self.length)] = *first;
            self.length += 1;
            bytes = rest;
            match str::from_utf8(&self.begun[..usize::from(self.length)]) {
                Ok(_) => self.length = 0,
                // The character may still become valid. `begun` has enough space, because no
                // character has more than four bytes.
                Err(e) if e.error_len().is_none() => {}
                Err(_) => return Err(Violation::Utf8),
            }
        }
        let Err(error) = str::from_utf8(bytes) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(Violation::Utf8);
        }
        let begun = &bytes[error.valid_up_to()..];
        self.begun[..begun.len()].copy_from_slice(begun);
        self.length = begun.len() as u8;
        Ok(())
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
            let same = match halves.check(a).and_then(|()| halves.check(b)) {
                Ok(()) => Ok(halves.finish().is_ok()) == expected,
                Err(_) => expected.is_err(),
            };
            assert!(same, "{bytes:x?} cut at {cut}");
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
