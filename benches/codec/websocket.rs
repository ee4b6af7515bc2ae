//! The operations of WebSocket: the opening handshake, masks, UTF-8, and frames in both directions.

use std::hint::black_box;
use std::io::{self, Read, Write};

use oneloop::websocket::{
    FrameEvent, MessageKind, Opcode, Opening, Protocols, Reader, ReaderConfig, Utf8, mask,
    write_frame,
};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Bytes, WebSocket};

use crate::operations::Operation;
use crate::wire;

const MASKING_KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const KIB_16: usize = 16 << 10;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The check of the handshake, and the field values of the answer.
pub fn our_opening() -> Operation {
    let due = wire::accept(KEY);
    Box::new(move || {
        let opening = Opening {
            keys: vec![black_box(KEY.as_bytes())],
            versions: vec![b"13"],
            ..Opening::default()
        };
        let accept = opening.accept(Protocols::None).expect("a right handshake");
        let (_, value) = accept.fields().next().expect("a field");
        assert_eq!(value, due);
    })
}

/// Only the value of `Sec-WebSocket-Accept`.
pub fn their_opening() -> Operation {
    Box::new(|| drop(black_box(derive_accept_key(black_box(KEY.as_bytes())))))
}

pub fn our_mask() -> Operation {
    let mut bytes = vec![b'x'; KIB_16];
    Box::new(move || mask(black_box(&mut bytes), black_box(MASKING_KEY)))
}

/// The loop of RFC 6455 §5.3.
pub fn their_mask() -> Operation {
    let mut bytes = vec![b'x'; KIB_16];
    Box::new(move || {
        let key = black_box(MASKING_KEY);
        for (index, byte) in black_box(&mut bytes).iter_mut().enumerate() {
            *byte ^= key[index % 4];
        }
    })
}

/// A text with characters of one to four bytes.
fn text() -> String {
    let mut text = "The quick brown fox; größer, 日本語, 𝄞. ".repeat(KIB_16 / 40);
    text.truncate(text.floor_char_boundary(KIB_16));
    text
}

/// Pieces of 1,000 bytes, some of which end within a character.
pub fn our_utf8() -> Operation {
    let text = text();
    Box::new(move || {
        let mut utf8 = Utf8::default();
        for piece in black_box(text.as_bytes()).chunks(1_000) {
            utf8.check(piece).expect("it is UTF-8");
        }
        utf8.finish().expect("it ends with a whole character");
    })
}

/// The text in one piece, because the standard library has no check that continues.
pub fn their_utf8() -> Operation {
    let text = text();
    Box::new(move || {
        let checked = str::from_utf8(black_box(text.as_bytes()));
        black_box(checked.expect("it is UTF-8"));
    })
}

/// A frame of a client with `first` as its first byte.
fn masked(first: u8, payload_bytes: usize) -> Vec<u8> {
    let mut frame = wire::frame(payload_bytes, Some(MASKING_KEY));
    frame[0] = first;
    frame
}

/// Each repetition copies the frame to the buffer, as a `recv` does, because the reader unmasks it
/// there.
pub fn our_read(first: u8, payload_bytes: usize) -> Operation {
    let frame = masked(first, payload_bytes);
    let config = ReaderConfig {
        message_bytes_max: 1 << 20,
        deflate: false,
    };
    let (mut reader, mut buffer) = (Reader::default(), frame.clone());
    let kind = match first & 0x0f {
        1 => MessageKind::Text,
        _ => MessageKind::Binary,
    };
    Box::new(move || {
        buffer.copy_from_slice(black_box(&frame));
        let part = reader.read(&mut buffer, &config).expect("a right frame");
        assert_eq!(part.end, frame.len());
        assert!(matches!(part.event, FrameEvent::Data { kind: k, last: true, .. } if k == kind));
        let content = black_box(&buffer[part.at..part.end]);
        if kind == MessageKind::Text {
            black_box(reader.check_text(content, true).expect("it is UTF-8"));
        }
    })
}

/// The library fills its read buffer with zeros before each read, so the buffer is as small as the
/// library's docs propose, or large enough for the frame.
pub fn their_read(first: u8, payload_bytes: usize) -> Operation {
    let frame = masked(first, payload_bytes);
    let buffer_bytes = frame.len().next_multiple_of(4 << 10);
    let config = WebSocketConfig::default().read_buffer_size(buffer_bytes);
    let mut socket = WebSocket::from_raw_socket(Wire { frame, at: 0 }, Role::Server, Some(config));
    Box::new(move || {
        let message = socket.read().expect("a right frame");
        assert_eq!(black_box(message).len(), payload_bytes);
    })
}

/// A stream on which the same frame arrives again and again.
struct Wire {
    frame: Vec<u8>,
    /// How many bytes of the frame were read.
    at: usize,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let rest = &black_box(&self.frame)[self.at..];
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        self.at = (self.at + n) % self.frame.len();
        Ok(n)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn our_write(payload_bytes: usize) -> Operation {
    let (payload, mut out) = (vec![b'x'; payload_bytes], Vec::new());
    Box::new(move || {
        out.clear();
        write_frame(&mut out, Opcode::Binary, false, black_box(&payload));
        black_box(&out);
    })
}

/// The payload is shared with the frame by reference, and copied once.
pub fn their_write(payload_bytes: usize) -> Operation {
    let (payload, mut out) = (Bytes::from(vec![b'x'; payload_bytes]), Vec::new());
    Box::new(move || {
        out.clear();
        let payload = black_box(&payload).clone();
        let frame = Frame::message(payload, OpCode::Data(Data::Binary), true);
        frame.format(&mut out).expect("a Vec takes all");
        black_box(&out);
    })
}
