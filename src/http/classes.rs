//! Floor 1, http: classes of bytes. A class is the set of bytes that may stand in one element of
//! the grammar; each class is one bit.

/// The bytes of a token (RFC 9110 §5.6.2).
pub const TOKEN: u8 = 1;
/// The bytes of a request target: visible ASCII without `#`, because a client never sends a
/// fragment (RFC 3986 §3.5).
pub const TARGET: u8 = 2;
/// The bytes of a field value (RFC 9110 §5.5).
pub const VALUE: u8 = 4;
/// The bytes of a host name: the reg-name of RFC 3986 §3.2.2 without `%` and without the comma.
pub const NAME: u8 = 8;
/// The bytes that stand for themselves in a segment of a path: every byte except the slash, `%`,
/// backslash and NUL. `%` begins an encoded byte, and no file of a site has a backslash or a NUL in
/// its name.
pub const PLAIN: u8 = 16;

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
        if !matches!(b, b'/' | b'%' | b'\\' | 0) {
            classes[byte] |= PLAIN;
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

/// A byte in each of the eight bytes of a word.
const fn each(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The top bits of the eight bytes of a word.
const TOPS: u64 = each(0x80);

/// The eight bytes from `at` on as one integer, the first byte lowest; `None` near the end.
#[inline]
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*word))
}

/// The offset of the first control byte at or after `from`: a byte below 0x20 that is no tab, or 0x7f.
/// `None` if there is none.
///
/// Every byte of a field value belongs to [`VALUE`], and control bytes are the only bytes that do not.
/// So the first control byte of a valid line is the CR at the end of the line, and one search finds the
/// end of the line and checks the value. The search compares eight bytes at a time.
#[inline]
pub fn first_control(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<16>())
        .is_some_and(|chunk| !chunk.iter().fold(false, |found, b| found | is_control(*b)))
    {
        at += 16;
    }
    while let Some(word) = word(bytes, at) {
        // The subtraction sets the top bit of each byte below 0x20, and the XOR turns each 0x7f into
        // 0. A borrow can set a wrong bit, but only above a byte whose bit is right: the lowest bit
        // that is set is always right.
        let low = word.wrapping_sub(each(0x20)) & !word;
        let delete = word ^ each(0x7f);
        let delete = delete.wrapping_sub(each(1)) & !delete;
        match (low | delete) & TOPS {
            0 => at += 8,
            found => {
                at += found.trailing_zeros() as usize / 8;
                // A tab is below 0x20, and allowed.
                if is_control(bytes[at]) {
                    return Some(at);
                }
                at += 1;
            }
        }
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|b| is_control(*b)).map(|n| at + n)
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

/// The offset of the first byte at or after `from` that does not belong to `class`, which must contain
/// the letters and `-`; `bytes.len()` if every byte belongs.
///
/// Names are mostly letters and `-`. Eight of these at a time are passed over without the table.
#[inline]
pub fn first_outside(class: u8, bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        if let Some(word) = word(bytes, at) {
            let found = !letters_and_hyphens(word) & TOPS;
            if found == 0 {
                at += 8;
                continue;
            }
            at += found.trailing_zeros() as usize / 8;
        }
        match bytes.get(at) {
            Some(byte) if is(class, *byte) => at += 1,
            Some(_) | None => return at,
        }
    }
}

/// Sets the top bit of each byte of `word` that is a letter or `-`. Other bits of the result mean
/// nothing.
#[inline]
fn letters_and_hyphens(word: u64) -> u64 {
    let ascii = word & !TOPS;
    // Each sum stays below 0x100, so no byte disturbs the next. Its top bit compares.
    let small = ascii | each(0x20);
    let from_a = small + each(0x80 - b'a');
    let above_z = small + each(0x7f - b'z');
    let hyphen = (ascii ^ each(b'-')) + each(0x7f);
    ((from_a & !above_z) | !hyphen) & !word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_outside_of_a_class_is_found_wherever_it_stands() {
        for odd in 0..=u8::MAX {
            for other in [
                b'a', b'Z', b'-', b'z', b'A', b'5', b'@', b'[', b'`', b'{', 0xe1, 0xad,
            ] {
                for at in 0..18 {
                    let mut bytes = [other; 18];
                    bytes[at] = odd;
                    for class in [TOKEN, TARGET, VALUE, NAME, PLAIN] {
                        for from in 0..=18 {
                            let expected = (from..18).find(|n| !is(class, bytes[*n]));
                            let got = first_outside(class, &bytes, from);
                            assert_eq!(got, expected.unwrap_or(18), "{class} {bytes:x?} {from}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_control_byte_is_found_wherever_it_stands() {
        for control in 0..=u8::MAX {
            for other in [b' ', b'\t', b'~', 0x80, 0xff, b'a', 0x1f_u8.wrapping_add(1)] {
                for at in 0..20 {
                    let mut bytes = [other; 20];
                    bytes[at] = control;
                    for from in 0..=20 {
                        let expected = (from..20).find(|n| !is(VALUE, bytes[*n]));
                        assert_eq!(first_control(&bytes, from), expected, "{bytes:x?} {from}");
                    }
                }
            }
        }
    }

    #[test]
    fn control_bytes_side_by_side_do_not_hide_each_other() {
        for a in [0, b'\t', 0x1f, b' ', 0x7e, 0x7f, 0x80, 0xff] {
            for b in [0, b'\t', 0x1f, b' ', 0x7e, 0x7f, 0x80, 0xff] {
                for c in [0, b'\t', b'\r', b'a', 0x7f, 0x80] {
                    let bytes = [a, b, c, a, b, c, a, b, c, b'\n', a, b];
                    let expected = bytes.iter().position(|b| !is(VALUE, *b));
                    assert_eq!(first_control(&bytes, 0), expected, "{bytes:x?}");
                }
            }
        }
    }
}
