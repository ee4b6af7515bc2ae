//! Frames of a WebSocket client, and the request of its opening handshake.

use flate2::{Compress, Compression, FlushCompress};

/// The first byte of a text in one frame: FIN and the opcode (RFC 6455 §5.2).
pub const TEXT: u8 = 0x81;
/// The first byte of a ping.
pub const PING: u8 = 0x89;
/// The bit of a compressed message in the first byte (RFC 7692 §6).
pub const RSV1: u8 = 0x40;
/// The bytes at the end of a flush, which a compressed message leaves out (RFC 7692 §7.2.1).
pub const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Returns a request for an opening handshake (RFC 6455 §4.1), with an offer of an extension unless
/// `offer` is empty.
pub fn opening(path: &str, offer: &str) -> Vec<u8> {
    let extensions = match offer {
        "" => String::new(),
        offer => format!("Sec-WebSocket-Extensions: {offer}\r\n"),
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         {extensions}\r\n"
    )
    .into_bytes()
}

/// Whether `head` is the answer to [`opening`]: the protocol was changed, with compression exactly
/// if it was offered.
pub fn is_opened(head: &str, offer: &str) -> bool {
    let extended = head.contains("permessage-deflate");
    head.starts_with("HTTP/1.1 101 ") && extended != offer.is_empty()
}

/// Returns a masked frame. `first` has the opcode and the bits before it.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASKING_KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        medium @ 126..65536 => {
            frame.push(0x80 | 126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(MASKING_KEY);
    let masks = MASKING_KEY.iter().cycle();
    frame.extend(payload.iter().zip(masks).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Returns the frame of a compressed text.
pub fn deflated(text: &[u8]) -> Vec<u8> {
    let mut deflated = Vec::with_capacity(text.len() + 64);
    Compress::new(Compression::default(), false)
        .compress_vec(text, &mut deflated, FlushCompress::Sync)
        .expect("the capacity is enough");
    assert!(
        deflated.ends_with(&TAIL),
        "a flush ends with an empty block"
    );
    deflated.truncate(deflated.len() - TAIL.len());
    frame(TEXT | RSV1, &deflated)
}
