//! Floor 2, site: several ranges of a content in one body, as `multipart/byteranges` (RFC 9110
//! §14.6).
//!
//! ```text
//! body = 1*( [ CRLF ] "--" boundary CRLF
//!            "Content-Type: " media-type CRLF
//!            "Content-Range: bytes " first "-" last "/" complete-length CRLF
//!            CRLF range ) CRLF "--" boundary "--" CRLF
//! ```

use std::borrow::Cow;
use std::io::Write;
use std::vec;

use crate::http::ByteRange;

/// The parts of a body that are still to be sent. The text before a part is made when the part is sent: a
/// slow reader of many ranges holds 16 bytes for each.
#[derive(Debug)]
pub(crate) struct Parts {
    boundary: String,
    media_type: Cow<'static, str>,
    /// The length of the whole content in bytes.
    whole: u64,
    ranges: vec::IntoIter<ByteRange>,
    /// Whether no part was begun.
    is_new: bool,
    /// Whether the end was written.
    is_ended: bool,
}

impl Parts {
    /// Creates the parts for `ranges` of a content with `whole` bytes.
    pub(super) fn new(
        boundary: String,
        media_type: Cow<'static, str>,
        whole: u64,
        ranges: Vec<ByteRange>,
    ) -> Parts {
        Parts {
            boundary,
            media_type,
            whole,
            ranges: ranges.into_iter(),
            is_new: true,
            is_ended: false,
        }
    }

    /// The length of the rest of the body in bytes.
    pub(super) fn len(&self) -> u64 {
        let mut text = Vec::new();
        let mut bytes = 0;
        for (number, range) in self.ranges.as_slice().iter().enumerate() {
            self.write_head(range, self.is_new && number == 0, &mut text);
            bytes += text.len() as u64 + range.bytes();
            text.clear();
        }
        self.write_end(&mut text);
        bytes + text.len() as u64
    }

    /// Appends the text before the next part, and returns the range of the part. Returns `None` after
    /// the last part: the end of the body was appended.
    pub fn begin_next(&mut self, out: &mut Vec<u8>) -> Option<ByteRange> {
        let range = self.ranges.next();
        match &range {
            Some(range) => self.write_head(range, self.is_new, out),
            None => self.write_end(out),
        }
        (self.is_new, self.is_ended) = (false, range.is_none());
        range
    }

    /// Whether the end of the body was appended.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_ended
    }

    fn write_head(&self, range: &ByteRange, is_first: bool, out: &mut Vec<u8>) {
        let Parts {
            boundary,
            media_type,
            whole,
            ..
        } = self;
        let before = if is_first { "" } else { "\r\n" };
        let (start, last) = (range.start, range.end - 1);
        let head = format_args!(
            "{before}--{boundary}\r\nContent-Type: {media_type}\r\n\
             Content-Range: bytes {start}-{last}/{whole}\r\n\r\n"
        );
        out.write_fmt(head).expect("a vector takes everything");
    }

    fn write_end(&self, out: &mut Vec<u8>) {
        for text in ["\r\n--", &self.boundary, "--\r\n"] {
            out.extend_from_slice(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_that_of_the_text_and_the_ranges() {
        let ranges = [(0, 1), (9, 10), (98, 1_000)];
        let ranges = ranges.map(|(start, end)| ByteRange { start, end });
        let mut parts = Parts::new("xyz".into(), "text/css".into(), 1_000, ranges.into());
        let (mut text, mut bytes) = (Vec::new(), 0);
        let mut left = parts.len();
        while let Some(range) = parts.begin_next(&mut text) {
            bytes += range.bytes();
            assert_eq!(parts.len(), left - text.len() as u64 - bytes);
        }
        assert!(parts.is_at_end());
        left -= text.len() as u64 + bytes;
        assert_eq!(left, 0);
        let text = String::from_utf8(text).expect("text");
        let head = |range| {
            format!("--xyz\r\nContent-Type: text/css\r\nContent-Range: bytes {range}/1000\r\n\r\n")
        };
        let heads = ["0-0", "9-9", "98-999"].map(head).join("\r\n");
        assert_eq!(text, format!("{heads}\r\n--xyz--\r\n"));
    }
}
