//! Floor 1, http: byte ranges (RFC 9110 §14).
//!
//! ```text
//! ranges-specifier = "bytes" "=" #( first-pos "-" [ last-pos ] / "-" suffix-length )
//! ```
//!
//! A server may ignore a Range field (§14.2). This module ignores a field that breaks the grammar
//! or has another unit, and a field that asks for more than a server must accept: more than
//! [`Ranges::SPECIFIERS_MAX`] ranges. Ranges that overlap or touch are coalesced, so several ranges
//! together are always shorter than the representation.

/// The result of a Range field for a representation of known length.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ranges {
    /// The response is the whole representation, because the field is invalid or asks for too much.
    Ignored,
    /// The response is 416, because the representation has no byte of any range.
    Unsatisfiable,
    /// The response is 206 with these ranges. The list has at least one range; no range is empty,
    /// no two ranges overlap or touch, and the order is the order in the field.
    Satisfiable(Vec<ByteRange>),
}

/// The bytes from `start` up to, but not including, `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ByteRange {
    /// The offset of the first byte.
    pub start: u64,
    /// The offset after the last byte, greater than `start`.
    pub end: u64,
}

impl ByteRange {
    /// The number of bytes in the range, at least 1.
    pub fn bytes(&self) -> u64 {
        self.end - self.start
    }
}

impl Ranges {
    /// The largest number of ranges in a field, empty list members not counted. A field with more
    /// ranges is ignored. Media players and readers of archives ask for only a few.
    pub const SPECIFIERS_MAX: usize = 64;

    /// Reads the value of a Range field for a representation of `length` bytes.
    ///
    /// ```
    /// use oneloop::http::{Ranges, ByteRange};
    /// let spans = vec![ByteRange { start: 0, end: 1 }, ByteRange { start: 8, end: 10 }];
    /// assert_eq!(Ranges::parse(b"bytes=0-0, -2", 10), Ranges::Satisfiable(spans));
    /// assert_eq!(Ranges::parse(b"bytes=10-", 10), Ranges::Unsatisfiable);
    /// assert_eq!(Ranges::parse(b"lines=1-2", 10), Ranges::Ignored);
    /// ```
    pub fn parse(value: &[u8], length: u64) -> Ranges {
        let Some(set) = set_of_bytes(value) else {
            return Ranges::Ignored;
        };
        let mut spans: Vec<ByteRange> = Vec::new();
        let mut specifiers = 0;
        for member in set.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            if member.is_empty() {
                continue;
            }
            specifiers += 1;
            let Some(span) = specifier(member, length) else {
                return Ranges::Ignored;
            };
            if specifiers > Ranges::SPECIFIERS_MAX {
                return Ranges::Ignored;
            }
            spans.extend(span);
        }
        if specifiers == 0 {
            return Ranges::Ignored;
        }
        if spans.is_empty() {
            return Ranges::Unsatisfiable;
        }
        // Several coalesced ranges have gaps between them, so together they are shorter than the content.
        Ranges::Satisfiable(coalesced(spans))
    }
}

/// Returns the set of ranges after `bytes=`, or `None` for another unit. The name of a unit is
/// case-insensitive (§14.1).
fn set_of_bytes(value: &[u8]) -> Option<&[u8]> {
    let (unit, set) = value.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

/// Reads one range. `None` means that the range breaks the grammar, and `Some(None)` that the
/// representation has no byte of the range.
fn specifier(member: &[u8], length: u64) -> Option<Option<ByteRange>> {
    let dash = member.iter().position(|b| *b == b'-')?;
    let (first, last) = (&member[..dash], &member[dash + 1..]);
    let span = match (first, last) {
        (b"", _) => ByteRange {
            start: length.saturating_sub(number(last)?),
            end: length,
        },
        (_, b"") => ByteRange {
            start: number(first)?,
            end: length,
        },
        _ => {
            let (start, last) = (number(first)?, number(last)?);
            if last < start {
                return None;
            }
            ByteRange {
                start,
                end: last.saturating_add(1).min(length),
            }
        }
    };
    Some((span.start < span.end).then_some(span))
}

/// Reads `1*DIGIT`. A number above `u64::MAX` becomes `u64::MAX`, because such a number is larger
/// than any file.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |n: u64, d: &u8| n.saturating_mul(10).saturating_add(u64::from(d - b'0'));
    Some(digits.iter().fold(0, digit))
}

/// Joins ranges that overlap or touch. A joined range takes the place of the earliest of its parts,
/// and the result keeps the order of the field (§15.3.7.2).
fn coalesced(spans: Vec<ByteRange>) -> Vec<ByteRange> {
    let mut joined: Vec<ByteRange> = Vec::with_capacity(spans.len());
    for mut span in spans {
        // There are at most SPECIFIERS_MAX ranges, so quadratic time is acceptable.
        let mut place = joined.len();
        let mut at = 0;
        while at < joined.len() {
            let other = joined[at];
            if span.start <= other.end && other.start <= span.end {
                span.start = span.start.min(other.start);
                span.end = span.end.max(other.end);
                joined.remove(at);
                place = place.min(at);
                // The range is wider now and may touch a range that was passed before.
                at = 0;
            } else {
                at += 1;
            }
        }
        joined.insert(place.min(joined.len()), span);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, length: u64, expected: &[(u64, u64)]) {
        let spans = expected
            .iter()
            .map(|&(start, end)| ByteRange { start, end });
        let expected = Ranges::Satisfiable(spans.collect());
        assert_eq!(Ranges::parse(value.as_bytes(), length), expected, "{value}");
    }

    #[test]
    fn ranges_are_first_to_last_open_or_from_the_end() {
        check("bytes=0-0", 10, &[(0, 1)]);
        check("bytes=2-5", 10, &[(2, 6)]);
        check("bytes=2-", 10, &[(2, 10)]);
        check("bytes=-3", 10, &[(7, 10)]);
        check("bytes=-30", 10, &[(0, 10)]);
        check("bytes=5-99", 10, &[(5, 10)]);
        check("BYTES=0-0", 10, &[(0, 1)]);
        check("bytes=0-99999999999999999999999", 10, &[(0, 10)]);
        check("bytes=0-18446744073709551615", 10, &[(0, 10)]);
        check(
            "bytes=5000000000-5000000001",
            6_000_000_000,
            &[(5_000_000_000, 5_000_000_002)],
        );
    }

    #[test]
    fn several_are_coalesced_and_keep_their_order() {
        check("bytes=0-0,5-5", 10, &[(0, 1), (5, 6)]);
        check("bytes=5-5, 0-0", 10, &[(5, 6), (0, 1)]);
        check("bytes=0-2,2-4", 10, &[(0, 5)]);
        check("bytes=0-2,3-4", 10, &[(0, 5)]);
        check("bytes=0-0,5-5,1-4", 10, &[(0, 6)]);
        check("bytes=8-8,0-0,5-5,1-4", 10, &[(8, 9), (0, 6)]);
        check("bytes=,0-0,,20-30 , ", 10, &[(0, 1)]);
    }

    #[test]
    fn what_is_invalid_or_too_much_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes 0-1",
            "bytes=a-b",
            "bytes=1",
            "bytes=2-1",
            "bytes=-",
            "bytes=--1",
            "bytes=0-0-0",
            "bytes=0-0;1-1",
            "bytes=+1-2",
            "bytes=0x0-1",
            "lines=0-1",
            "bytes = 0-1",
            "bytes=0- 1",
            "bytes=0-0,x",
            "bytes=0-4,6-9,5-5",
        ] {
            let expected = match value {
                // Too many bytes as a sum, but the ranges join into one range with every byte.
                "bytes=0-4,6-9,5-5" => Ranges::Satisfiable(vec![ByteRange { start: 0, end: 10 }]),
                _ => Ranges::Ignored,
            };
            assert_eq!(Ranges::parse(value.as_bytes(), 10), expected, "{value}");
        }
        let many = |n: usize| format!("bytes={}", vec!["0-0"; n].join(","));
        check(&many(Ranges::SPECIFIERS_MAX), 10, &[(0, 1)]);
        let more = many(Ranges::SPECIFIERS_MAX + 1);
        assert_eq!(Ranges::parse(more.as_bytes(), 10), Ranges::Ignored);
    }

    #[test]
    fn what_lies_outside_is_unsatisfiable() {
        for (value, length) in [
            ("bytes=10-", 10),
            ("bytes=10-20", 10),
            ("bytes=-0", 10),
            ("bytes=0-", 0),
            ("bytes=-1", 0),
            ("bytes=0-0,1-1", 0),
        ] {
            assert_eq!(
                Ranges::parse(value.as_bytes(), length),
                Ranges::Unsatisfiable,
                "{value}"
            );
        }
    }
}
