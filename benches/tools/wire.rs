//! What the load and the limit say to each other: whole, unfragmented binary messages (RFC 6455 §5.2)
//! with one and the same content, and the key of the opening handshake (§4.2.2).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

/// FIN, no reserved bits, and the opcode of a binary frame.
const FIN_BINARY: u8 = 0x82;
/// The bit that says a masking key follows.
const MASK: u8 = 0x80;

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub fn accept(key: &str) -> String {
    let key_and_guid = [key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    BASE64_STANDARD.encode(Sha1::digest(key_and_guid))
}

/// The payload of every message: bytes of all values, in a row that no power of two repeats.
pub fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

/// A frame of [`payload`], masked as a client's, or as a server sends it.
pub fn frame(payload_bytes: usize, masking_key: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![FIN_BINARY];
    // The shortest of the three ways to tell a length (§5.2).
    match payload_bytes {
        0..126 => frame.push(payload_bytes as u8),
        126..65536 => {
            frame.push(126);
            frame.extend((payload_bytes as u16).to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((payload_bytes as u64).to_be_bytes());
        }
    }
    let mut payload = payload(payload_bytes);
    if let Some(key) = masking_key {
        frame[1] |= MASK;
        frame.extend(key);
        let masks = key.iter().cycle();
        payload
            .iter_mut()
            .zip(masks)
            .for_each(|(byte, mask)| *byte ^= mask);
    }
    frame.extend(payload);
    frame
}
