//! Floor 1, websocket: the base framing (RFC 6455 §5.2) and masking (§5.3).
//!
//! ```text
//! frame = FIN RSV1 RSV2 RSV3 opcode(4)  MASK length(7)
//!         [length(16) / length(64)]  [key(32)]  payload
//! ```
//!
//! The parser is as strict as the RFC requires of a server: only masked frames are accepted,
//! lengths must be in the shortest form without the top bit, and control frames must have at most
//! 125 bytes and must not be fragmented.

use super::Violation;

/// The opcode of a frame (§5.2). The missing numbers are reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "they are named as in the RFC")]
#[repr(u8)]
pub enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn from_number(number: u8) -> Option<Opcode> {
        Some(match number {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    /// Whether this is the opcode of a control frame: close, ping or pong (§5.5).
    pub fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// The longest payload of a control frame.
const CONTROL_BYTES_MAX: u8 = 125;
/// This number and the next, as the seven bits of the length, announce a longer length field.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// The header of a frame from a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// Whether this is the last frame of a message.
    pub fin: bool,
    /// A bit for extensions. With permessage-deflate: whether the message is compressed.
    pub rsv1: bool,
    /// The opcode.
    pub opcode: Opcode,
    /// The masking key.
    pub key: [u8; 4],
    /// The length of the payload in bytes, below 2^63.
    pub payload_bytes: u64,
    /// The length of the header itself in bytes, 6 to 14.
    pub header_bytes: usize,
}

impl FrameHeader {
    /// Parses the header at the front of `bytes`; `None` means that more bytes are needed. An
    /// invalid header is rejected at the first byte that proves the error.
    ///
    /// The order of frames and the size of a message are rules of the caller. The caller checks
    /// such rules in `judge`, which is called after the first byte, and again when the length is
    /// known.
    ///
    /// ```
    /// use oneloop::websocket::{FrameHeader, Opcode};
    ///
    /// let bytes = b"\x81\x85\x01\x02\x03\x04hello";
    /// let header = FrameHeader::parse(bytes, |_, _, _| Ok(())).unwrap().unwrap();
    /// assert_eq!((header.opcode, header.fin), (Opcode::Text, true));
    /// assert_eq!((header.header_bytes, header.payload_bytes), (6, 5));
    /// assert_eq!(FrameHeader::parse(&bytes[..5], |_, _, _| Ok(())), Ok(None));
    /// ```
    ///
    /// # Errors
    /// The violations of the base framing, and the errors of `judge`. Its arguments are the opcode,
    /// RSV1 and, in the second call, the length of the payload.
    pub fn parse(
        bytes: &[u8],
        judge: impl Fn(Opcode, bool, Option<u64>) -> Result<(), Violation>,
    ) -> Result<Option<FrameHeader>, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        if first & RSV2_AND_3 != 0 {
            return Err(Violation::ReservedBit);
        }
        let opcode = Opcode::from_number(first & OPCODE).ok_or(Violation::ReservedOpcode)?;
        let (fin, rsv1) = (first & FIN != 0, first & RSV1 != 0);
        if opcode.is_control() && !fin {
            return Err(Violation::ControlFrame);
        }
        judge(opcode, rsv1, None)?;
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        if second & MASKED == 0 {
            return Err(Violation::Unmasked);
        }
        let short = second & LENGTH;
        if opcode.is_control() && short > CONTROL_BYTES_MAX {
            return Err(Violation::ControlFrame);
        }
        let Some((payload_bytes, length_bytes)) = length(short, &bytes[2..])? else {
            return Ok(None);
        };
        judge(opcode, rsv1, Some(payload_bytes))?;
        let Some(&key) = bytes[2 + length_bytes..].first_chunk() else {
            return Ok(None);
        };
        Ok(Some(FrameHeader {
            fin,
            rsv1,
            opcode,
            key,
            payload_bytes,
            header_bytes: 2 + length_bytes + key.len(),
        }))
    }
}

/// Returns the length of the payload, and the number of `bytes` in the longer length field (0, 2 or
/// 8). `short` has the seven bits; `None` means that more bytes are needed.
fn length(short: u8, bytes: &[u8]) -> Result<Option<(u64, usize)>, Violation> {
    match short {
        LENGTH_16 => match bytes {
            [a, b, ..] => {
                let length = u16::from_be_bytes([*a, *b]);
                match length < u16::from(LENGTH_16) {
                    true => Err(Violation::Length),
                    false => Ok(Some((u64::from(length), 2))),
                }
            }
            _ => Ok(None),
        },
        LENGTH_64 => {
            let top_bit = bytes.first().is_some_and(|b| b & 0x80 != 0);
            let would_fit = bytes.len() >= 6 && bytes[..6] == [0; 6];
            if top_bit || would_fit {
                return Err(Violation::Length);
            }
            Ok(bytes.first_chunk().map(|b| (u64::from_be_bytes(*b), 8)))
        }
        _ => Ok(Some((u64::from(short), 0))),
    }
}

/// Masks or unmasks `bytes` in place. Both are the same operation: XOR with the repeated key. The
/// first of `bytes` is combined with the first byte of the key, so the caller must rotate the key
/// before a later part of a payload.
pub fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let wide = u64::from_ne_bytes([
        key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3],
    ]);
    // The compiler turns this plain loop over words into vector instructions.
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// Returns the key for the part of a payload that follows after `n` bytes.
pub(super) fn rotated(mut key: [u8; 4], n: usize) -> [u8; 4] {
    key.rotate_left(n % 4);
    key
}

/// Appends the header of an unmasked frame, because a server must not mask (§5.1).
pub fn write_header(
    out: &mut Vec<u8>,
    opcode: Opcode,
    fin: bool,
    rsv1: bool,
    payload_bytes: usize,
) {
    let first = opcode as u8 | if fin { FIN } else { 0 } | if rsv1 { RSV1 } else { 0 };
    match payload_bytes {
        0..126 => out.extend_from_slice(&[first, payload_bytes as u8]),
        126..0x1_0000 => {
            let [a, b] = (payload_bytes as u16).to_be_bytes();
            out.extend_from_slice(&[first, LENGTH_16, a, b]);
        }
        _ => {
            out.extend_from_slice(&[first, LENGTH_64]);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
}

/// Returns the length in bytes of the header that [`write_header`] appends.
pub fn header_bytes(payload_bytes: usize) -> usize {
    match payload_bytes {
        0..126 => 2,
        126..0x1_0000 => 4,
        _ => 10,
    }
}

/// Appends a complete, unmasked frame. `rsv1` means that `payload` is compressed.
pub fn write_frame(out: &mut Vec<u8>, opcode: Opcode, rsv1: bool, payload: &[u8]) {
    write_header(out, opcode, true, rsv1, payload.len());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Option<FrameHeader>, Violation> {
        FrameHeader::parse(bytes, |_, _, _| Ok(()))
    }

    /// Checks the outcome, and that exactly the last byte brings the outcome.
    fn check(bytes: &[u8], expected: Result<u64, Violation>) {
        for n in 0..bytes.len() {
            assert_eq!(parse(&bytes[..n]), Ok(None), "{n} of {bytes:x?}");
        }
        let got = parse(bytes).map(|h| h.expect("whole").payload_bytes);
        assert_eq!(got, expected, "{bytes:x?}");
    }

    #[test]
    fn a_header_is_judged_with_the_byte_that_decides_it() {
        check(b"\x82\x80kkkk", Ok(0));
        check(b"\x82\xfdkkkk", Ok(125));
        check(b"\x82\xfe\x00\x7ekkkk", Ok(126));
        check(b"\x82\xfe\xff\xffkkkk", Ok(0xffff));
        check(b"\x82\xff\0\0\0\0\0\x01\0\0kkkk", Ok(0x1_0000));
        let most = [&b"\x82\xff\x7f"[..], &[0xff; 7], b"kkkk"].concat();
        check(&most, Ok(u64::MAX >> 1));
        check(b"\x92", Err(Violation::ReservedBit));
        check(b"\xa2", Err(Violation::ReservedBit));
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            check(&[0x80 | opcode], Err(Violation::ReservedOpcode));
        }
        for opcode in [8, 9, 10] {
            check(&[opcode], Err(Violation::ControlFrame));
            check(&[0x80 | opcode, 0xfe], Err(Violation::ControlFrame));
            check(&[0x80 | opcode, 0xff], Err(Violation::ControlFrame));
        }
        check(b"\x82\x00", Err(Violation::Unmasked));
        check(b"\x82\x7f", Err(Violation::Unmasked));
        check(b"\x82\xfe\x00\x7d", Err(Violation::Length));
        check(b"\x82\xff\x80", Err(Violation::Length));
        check(b"\x82\xff\0\0\0\0\0\0", Err(Violation::Length));
    }

    #[test]
    fn masking_twice_is_nothing_and_may_be_done_in_pieces() {
        let key = [1, 20, 0, 255];
        let plain: Vec<u8> = (0..100).collect();
        for length in 0..plain.len() {
            let mut naive = plain[..length].to_vec();
            for (at, byte) in naive.iter_mut().enumerate() {
                *byte ^= key[at % 4];
            }
            for cut in 0..=length {
                let mut bytes = plain[..length].to_vec();
                let (a, b) = bytes.split_at_mut(cut);
                mask(a, key);
                mask(b, rotated(key, cut));
                assert_eq!(bytes, naive, "{length} cut at {cut}");
            }
        }
    }

    #[test]
    fn headers_are_written_in_the_shortest_form() {
        for (length, header) in [
            (0, &b"\x81\x00"[..]),
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\x00\x7e"),
            (65_535, b"\x81\x7e\xff\xff"),
            (65_536, b"\x81\x7f\0\0\0\0\0\x01\0\0"),
        ] {
            let mut out = Vec::new();
            write_header(&mut out, Opcode::Text, true, false, length);
            assert_eq!(out, header);
        }
        let mut out = Vec::new();
        write_header(&mut out, Opcode::Continuation, false, true, 1);
        assert_eq!(out, b"\x40\x01");
    }
}
