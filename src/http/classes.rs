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
/// The bytes that stand for themselves in a path: every byte except `%`, backslash and NUL. `%`
/// begins an encoded byte, and no file of a site has a backslash or a NUL in its name.
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
        if !matches!(b, b'%' | b'\\' | 0) {
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
