//! Floor 4, server: the bytes that the test endpoints send.

/// Bytes that depend on their offset alone: each line has 16 bytes, which are the offset of the line in
/// 15 hexadecimal digits and the line end.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Pattern {
    at: u64,
}

impl Pattern {
    const LINE: u64 = 16;

    /// The offset of the next byte.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: u64) -> Vec<u8> {
        let end = self.at + len;
        let skipped = self.at % Self::LINE;
        let mut line = self.at - skipped;
        let mut bytes = Vec::with_capacity((len + 2 * Self::LINE) as usize);
        while line < end {
            bytes.extend_from_slice(&text(line));
            line += Self::LINE;
        }
        bytes.drain(..skipped as usize);
        bytes.truncate(len as usize);
        self.at = end;
        bytes
    }
}

/// The line at an offset.
fn text(mut offset: u64) -> [u8; 16] {
    let mut line = [b'\n'; 16];
    for digit in line[..15].iter_mut().rev() {
        *digit = b"0123456789abcdef"[(offset & 15) as usize];
        offset >>= 4;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_do_not_change_the_bytes() {
        let whole = Pattern::default().take(1_000);
        assert!(whole.starts_with(b"000000000000000\n000000000000010\n"));
        assert!(whole.ends_with(b"0000000003d0\n00000000"));
        for piece in [1, 7, 15, 16, 17, 333] {
            let (mut pattern, mut pieces) = (Pattern::default(), Vec::new());
            while pattern.at() < 1_000 {
                pieces.extend(pattern.take(piece.min(1_000 - pattern.at())));
            }
            assert_eq!(pieces, whole, "{piece}");
        }
        assert!(Pattern::default().take(0).is_empty());
    }
}
