//! Floor 1, http: classes of bytes. A class is the set of bytes that may stand in one element of
//! the grammar; each class is one bit. A table answers for a single byte; searches compare sixteen bytes
//! at a time.

use wide::u8x16;

/// The bytes of a token (RFC 9110 §5.6.2).
pub const TOKEN: u8 = 1;
/// The bytes of a request target: visible ASCII without `#`, because a client never sends a
/// fragment (RFC 3986 §3.5).
pub const TARGET: u8 = 2;
/// The bytes of a field value (RFC 9110 §5.5).
pub const VALUE: u8 = 4;
/// The bytes of a host name: the reg-name of RFC 3986 §3.2.2 without `%` and without the comma.
pub const NAME: u8 = 8;

/// The classes of each byte as a set of bits: a single table look-up tests any class.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() {
            classes[byte] |= TOKEN | NAME;
        }
        if b.is_ascii_graphic() && b != b'#' {
            classes[byte] |= TARGET;
        }
        if b == b'\t' || b == b' ' || b.is_ascii_graphic() || b >= 0x80 {
            classes[byte] |= VALUE;
        }
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        classes[marks[at] as usize] |= TOKEN;
        at += 1;
    }
    let marks = b"-._~!$&'()*+;=";
    let mut at = 0;
    while at < marks.len() {
        classes[marks[at] as usize] |= NAME;
        at += 1;
    }
    classes
};

/// Whether a byte belongs to a class.
pub fn is(class: u8, byte: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Whether every byte belongs to a class; an empty slice passes. The function folds over the table
/// without an early exit, because the compiler can unroll such a loop.
pub fn all(class: u8, bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(class, |so_far, byte| so_far & CLASSES[usize::from(*byte)])
        != 0
}

/// The offset of the first control byte at or after `from`: a byte below 0x20 that is no tab, or 0x7f.
/// `bytes.len()` if there is none.
///
/// Every byte of a field value belongs to [`VALUE`], and control bytes are the only bytes that do not.
/// So the first control byte of a valid line is the CR at the end of the line, and one search finds the
/// end of the line and checks the value.
#[inline]
pub fn first_control(bytes: &[u8], from: usize) -> usize {
    first(bytes, from, |chunk| {
        let low = chunk.min(each(0x1f)).simd_eq(chunk);
        let tab = chunk.simd_eq(each(b'\t'));
        (low & !tab) | chunk.simd_eq(each(0x7f))
    })
}

/// The offset of the first byte at or after `from` that does not belong to [`TARGET`]; `bytes.len()` if
/// every byte belongs.
#[inline]
pub fn target_end(bytes: &[u8], from: usize) -> usize {
    first(bytes, from, not_in_target)
}

/// Marks the bytes that do not belong to [`TARGET`].
fn not_in_target(chunk: u8x16) -> u8x16 {
    let low = chunk.min(each(b' ')).simd_eq(chunk);
    let high = chunk.max(each(0x7f)).simd_eq(chunk);
    low | high | chunk.simd_eq(each(b'#'))
}

/// The offset of the first question mark, or byte that does not belong to [`TARGET`], at or after `from`;
/// `bytes.len()` if there is none. Also whether the path before it [is plain](is_plain_path), which the same
/// comparisons find out, if the path begins with a slash.
#[inline]
pub fn path_end(bytes: &[u8], from: usize) -> (usize, bool) {
    let (mut at, mut rest) = (from, &bytes[from..]);
    let (mut odd, mut after_slash) = (0, 0);
    while let Some((chunk, behind)) = rest.split_first_chunk::<16>() {
        let chunk = u8x16::new(*chunk);
        let ends = (not_in_target(chunk) | chunk.simd_eq(each(b'?'))).to_bitmask();
        let found = odd_in_path(chunk, &mut after_slash);
        if ends != 0 {
            let before = ends.trailing_zeros();
            odd |= found & ((1 << before) - 1);
            return (at + before as usize, odd == 0);
        }
        odd |= found;
        at += 16;
        rest = behind;
    }
    let end = first_of_few(bytes, at, |chunk| {
        not_in_target(chunk) | chunk.simd_eq(each(b'?'))
    });
    (end, is_plain_path(&bytes[from..end]))
}

/// A bit for each byte of a part of a path that makes the path not plain, but for NUL. `after_slash` is 1 if the
/// byte before the chunk is a slash, and is moved on to the next chunk.
#[inline]
fn odd_in_path(chunk: u8x16, after_slash: &mut u32) -> u32 {
    let slash = chunk.simd_eq(each(b'/'));
    let dot_or_slash = (slash | chunk.simd_eq(each(b'.'))).to_bitmask();
    // One bit for each byte: moved by one, the slashes mark the bytes behind them.
    let behind_slashes = slash.to_bitmask() << 1 | *after_slash;
    *after_slash = behind_slashes >> 16;
    (behind_slashes & dot_or_slash) | chunk.simd_eq(each(b'%')).to_bitmask()
}

/// The offset of the first byte at or after `from` that does not belong to `class`, which must contain
/// letters, digits, `-` and `.`; `bytes.len()` if every byte belongs.
///
/// Nearly every name consists of these bytes alone. The search passes over them, and the table answers for
/// the bytes behind.
#[inline]
pub fn first_outside(class: u8, bytes: &[u8], from: usize) -> usize {
    let at = first(bytes, from, |chunk| {
        // From `-` to `9` the bytes are `-`, `.`, the slash, and the digits.
        let digit = chunk - each(b'-');
        let digit = digit.min(each(b'9' - b'-')).simd_eq(digit);
        !(letters(chunk) | (digit & !chunk.simd_eq(each(b'/'))))
    });
    match bytes.get(at) {
        Some(byte) if is(class, *byte) => first_outside_table(class, bytes, at + 1),
        Some(_) | None => at,
    }
}

/// The offset of the first byte at or after `from` that is neither a letter nor `-`; `bytes.len()` if there
/// is none. Nearly every field name consists of these bytes alone, and to look for no others saves a third
/// of the comparisons of [`first_outside`].
#[inline]
pub fn name_end(bytes: &[u8], from: usize) -> usize {
    first(bytes, from, |chunk| {
        !(letters(chunk) | chunk.simd_eq(each(b'-')))
    })
}

/// Marks the letters.
fn letters(chunk: u8x16) -> u8x16 {
    // Of all bytes, 0x20 turns only the 26 capital letters into small letters. The subtraction wraps
    // around, so that one comparison finds a range.
    let letter = (chunk | each(0x20)) - each(b'a');
    letter.min(each(b'z' - b'a')).simd_eq(letter)
}

/// [`first_outside`], by the table alone.
#[cold]
#[inline(never)]
pub fn first_outside_table(class: u8, bytes: &[u8], from: usize) -> usize {
    let found = bytes[from..].iter().position(|byte| !is(class, *byte));
    found.map_or(bytes.len(), |at| from + at)
}

/// Whether a path needs no decoding: it has no `%` and no NUL, no empty segment, and no segment
/// that begins with a dot. `path` begins with a slash.
pub fn is_plain_path(path: &[u8]) -> bool {
    // Whether the last byte of the chunk before was a slash.
    let mut after_slash = 0;
    let mut rest = path;
    while !rest.is_empty() {
        let (bytes, behind) = match rest.split_first_chunk::<16>() {
            Some((bytes, behind)) => (*bytes, behind),
            None => (padded(rest), &[][..]),
        };
        let present = (1_u32 << rest.len().min(16)) - 1;
        let chunk = u8x16::new(bytes);
        let odd = odd_in_path(chunk, &mut after_slash) | chunk.simd_eq(each(0)).to_bitmask();
        if odd & present != 0 {
            return false;
        }
        rest = behind;
    }
    true
}

/// The offset of the first `byte` in `bytes`; `None` if there is none. For short texts this is faster than
/// [`memchr`](memchr::memchr), which first decides on the widest vectors that the processor has.
#[inline]
pub fn position(byte: u8, bytes: &[u8]) -> Option<usize> {
    let at = first(bytes, 0, |chunk| chunk.simd_eq(each(byte)));
    (at < bytes.len()).then_some(at)
}

/// The same byte sixteen times.
fn each(byte: u8) -> u8x16 {
    u8x16::splat(byte)
}

/// The offset of the first byte at or after `from` that is marked; `bytes.len()` if no byte is.
///
/// `mark` sets each byte of a chunk to 0xff or to 0. The bytes are compared sixteen at a time, which takes
/// the processor no longer than a single byte.
#[inline]
fn first(bytes: &[u8], from: usize, mark: impl Fn(u8x16) -> u8x16) -> usize {
    let mut at = from;
    let mut rest = &bytes[from..];
    while let Some((chunk, behind)) = rest.split_first_chunk::<16>() {
        let marks = mark(u8x16::new(*chunk)).to_bitmask();
        if marks != 0 {
            return at + marks.trailing_zeros() as usize;
        }
        at += 16;
        rest = behind;
    }
    first_of_few(bytes, at, mark)
}

/// [`first`], when fewer than sixteen bytes follow `at`. They are compared together with the bytes before
/// them. Most heads need this once, for their last line. It is kept apart, as code that is seldom used, so
/// that the loop above stays short where it is inlined, and keeps its constants in registers.
#[cold]
#[inline(never)]
fn first_of_few(bytes: &[u8], at: usize, mark: impl Fn(u8x16) -> u8x16) -> usize {
    let (chunk, start) = match bytes.last_chunk::<16>() {
        Some(chunk) => (*chunk, bytes.len() - 16),
        None => (padded(bytes), 0),
    };
    let marks = mark(u8x16::new(chunk)).to_bitmask() >> (at - start);
    bytes.len().min(at + marks.trailing_zeros() as usize)
}

/// Fewer than sixteen bytes, with zeros behind them.
#[inline]
fn padded(bytes: &[u8]) -> [u8; 16] {
    let word = |chunk: &[u8; 8]| u128::from(u64::from_le_bytes(*chunk));
    let padded = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        // The bytes in the middle are in both words, and in the same place after the shift.
        (Some(first), Some(last)) => word(first) | word(last) << (8 * (bytes.len() - 8)),
        _ => bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u128::from(*byte)),
    };
    padded.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts each byte at each place among many copies of another byte, and searches from each place on.
    fn check(others: &[u8], search: impl Fn(&[u8], usize) -> usize, is_found: impl Fn(u8) -> bool) {
        for odd in 0..=u8::MAX {
            for other in others {
                for (len, at) in [3, 9, 19]
                    .into_iter()
                    .flat_map(|n| (0..n).map(move |at| (n, at)))
                {
                    let mut bytes = vec![*other; len];
                    bytes[at] = odd;
                    for from in [0, 1, at, at + 1, len] {
                        let expected = (from..len).find(|n| is_found(bytes[*n]));
                        let got = search(&bytes, from);
                        assert_eq!(got, expected.unwrap_or(len), "{bytes:x?} {from}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_byte_outside_of_a_class_is_found_wherever_it_stands() {
        let others = [b'a', b'Z', b'-', b'9', b'/', b'`', b'{', 0xad];
        for class in [TOKEN, TARGET, VALUE, NAME] {
            check(
                &others,
                |bytes, from| first_outside(class, bytes, from),
                |b| !is(class, b),
            );
        }
    }

    #[test]
    fn the_end_of_a_name_of_letters_is_found_wherever_it_stands() {
        let others = [b'a', b'Z', b'-', b'{', b'`', b'@', b'[', 0xe1];
        check(&others, name_end, |b| {
            !(b.is_ascii_alphabetic() || b == b'-')
        });
    }

    #[test]
    fn the_first_control_byte_is_found_wherever_it_stands() {
        let others = [b' ', b'\t', b'~', 0x80, 0xff, b'a', 0x1f, 0x7f];
        check(&others, first_control, |b| !is(VALUE, b));
    }

    #[test]
    fn the_end_of_a_target_and_the_parts_of_a_path_are_found_wherever_they_stand() {
        let others = [b'a', b'!', b'~', b'?', b'.', b' ', 0xff, 0];
        check(&others, target_end, |b| !is(TARGET, b));
        check(
            &others,
            |bytes, from| path_end(bytes, from).0,
            |b| b == b'?' || !is(TARGET, b),
        );
        check(
            &others,
            |bytes, from| match position(b'?', &bytes[from..]) {
                Some(at) => from + at,
                None => bytes.len(),
            },
            |b| b == b'?',
        );
    }

    #[test]
    fn a_path_is_plain_if_nothing_in_it_needs_a_second_look() {
        let slow = |path: &[u8]| {
            let is_odd = |pair: &[u8]| matches!(pair, [b'/', b'/' | b'.']);
            !path.windows(2).any(is_odd) && !path.iter().any(|b| matches!(b, b'%' | 0))
        };
        for len in [1, 2, 7, 8, 9, 15, 16, 17, 18, 33] {
            for at in 0..len {
                for first in 0..=u8::MAX {
                    for second in [b'a', b'.', b'/', b'%', b'-'] {
                        let mut path = vec![b'a'; len];
                        path[at] = first;
                        if let Some(next) = path.get_mut(at + 1) {
                            *next = second;
                        }
                        path[0] = b'/';
                        assert_eq!(is_plain_path(&path), slow(&path), "{path:?}");
                        // In a request line, the path begins somewhere and ends at a space.
                        let line = [b"GET ", &path[..], b" HTTP/1.1/.%"].concat();
                        let (end, is_plain) = path_end(&line, 4);
                        assert_eq!(is_plain, slow(&line[4..end]), "{path:?}");
                    }
                }
            }
        }
    }
}
