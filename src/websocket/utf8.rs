//! Floor 1, websocket: UTF-8 as it arrives (RFC 6455 §8.1), in pieces that are cut anywhere.

use super::Violation;

/// Checks text piece by piece, and fails with the first byte after which no text could follow.
#[derive(Clone, Copy, Default, Debug)]
pub struct Utf8 {
    /// The beginning of a character that has not come whole.
    begun: [u8; 4],
    length: u8,
}

impl Utf8 {
    /// Goes on with the next piece.
    ///
    /// # Errors
    /// [`Violation::Utf8`].
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
                // It may still become one. That takes four bytes at most, so there is room.
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

    /// The text ends here.
    ///
    /// # Errors
    /// [`Violation::Utf8`] if that is within a character.
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

    /// How many bytes are taken before it fails, however they are cut; `Ok` with whether it is whole.
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
        check(b"\xe0\x80\x80", Err(2)); // longer than it need be
        check(b"\xe3\x81a", Err(3));
        check(b"\xf5", Err(1));
        check(b"\x80", Err(1));
    }
}
