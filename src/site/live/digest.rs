//! Floor 2, site: a hash of content that comes in pieces. The hash is the same however the content is
//! cut, and the same in each run of the program.

use crate::site::representation::{hash, word};

/// The hash of the bytes so far.
#[derive(Default, Debug)]
pub(super) struct Digest {
    state: u64,
    /// The last bytes, if they are no whole word yet.
    rest: [u8; 8],
    bytes: u64,
}

impl Digest {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut digest = Digest::default();
        digest.add(bytes);
        digest.end()
    }

    /// Adds the next bytes of the content.
    pub fn add(&mut self, mut bytes: &[u8]) {
        let held = (self.bytes % 8) as usize;
        self.bytes += bytes.len() as u64;
        if held > 0 {
            let taken = bytes.len().min(8 - held);
            self.rest[held..held + taken].copy_from_slice(&bytes[..taken]);
            if held + taken < 8 {
                return;
            }
            self.state = hash(self.state, [u64::from_le_bytes(self.rest)]);
            bytes = &bytes[taken..];
        }
        let (words, rest) = bytes.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        self.state = hash(self.state, words);
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    /// The hash of the whole content. Never 0, which stands for an unknown hash.
    pub fn end(self) -> u64 {
        let rest = &self.rest[..(self.bytes % 8) as usize];
        hash(self.state, [word(rest), self.bytes]).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_does_not_depend_on_the_cuts() {
        let bytes: Vec<u8> = (0..100).collect();
        for cut in 0..bytes.len() {
            for more in [0, 1, 7, 8, 9] {
                let (first, second) = bytes.split_at(cut);
                let (second, third) = second.split_at(more.min(second.len()));
                let mut digest = Digest::default();
                for part in [first, second, third] {
                    digest.add(part);
                }
                assert_eq!(digest.end(), Digest::of(&bytes), "{cut} {more}");
            }
        }
    }

    #[test]
    fn each_content_has_a_hash_of_its_own() {
        let contents: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"a", b"b", b"12345678", b"12345678\0"];
        let mut hashes = contents.map(Digest::of).to_vec();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), contents.len());
        assert_eq!(Digest::of(b"a"), 1_303_865_553_363_498_507);
    }
}
