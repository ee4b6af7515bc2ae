//! Floor 1, http: what a byte may be part of.

/// A token (RFC 9110 §5.6.2).
pub const TOKEN: u8 = 1;
/// A request target: visible ASCII without `#`, since a fragment is never sent (RFC 3986 §3.5).
pub const TARGET: u8 = 2;
/// A field value (RFC 9110 §5.5).
pub const VALUE: u8 = 4;
/// A name of a host: what RFC 3986 §3.2.2 has in a reg-name, but for `%` and the comma.
pub const NAME: u8 = 8;
/// A path that is the same decoded: anything but `%`, and what no file of a site has in its name.
pub const PLAIN: u8 = 16;

/// One look-up answers for all classes.
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

/// Whether a byte may be part of what the class is named after.
pub fn is(class: u8, byte: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

/// Whether all bytes are of a class. A fold over the table without an early end, which the
/// compiler can unroll.
pub fn all(class: u8, bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(class, |so_far, byte| so_far & CLASSES[usize::from(*byte)])
        != 0
}
