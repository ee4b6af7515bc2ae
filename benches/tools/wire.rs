//! The messages between `wsload` and `wslimit`: unfragmented binary messages (RFC 6455 §5.2) with
//! always the same content, and the key of the opening handshake (§4.2.2).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

/// FIN, no reserved bits, and the opcode of a binary frame.
const FIN_BINARY: u8 = 0x82;
/// The bit for a frame with a masking key.
const MASK: u8 = 0x80;

/// Returns the `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
pub fn accept(key: &str) -> String {
    let key_and_guid = [key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    BASE64_STANDARD.encode(Sha1::digest(key_and_guid))
}

/// Returns the payload of every message: bytes from 0 to 250, again and again. 251 is prime, so a
/// position that is wrong by a power of two shows.
pub fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index % 251) as u8).collect()
}

/// Returns a frame with [`payload`]: with `masking_key` the frame of a client, without a key the
/// frame of a server.
pub fn frame(payload_bytes: usize, masking_key: Option<[u8; 4]>) -> Vec<u8> {
    let mut frame = vec![FIN_BINARY];
    // The shortest of the three forms of a length, as §5.2 demands.
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
