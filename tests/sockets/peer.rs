//! A WebSocket client that can break the rules: frames as bytes on the wire (RFC 6455 §5.2). The
//! client shares no code with the server.

use std::ops::{Deref, DerefMut};

use crate::harness::{Answer, Client, Server};

pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// The first bit of a frame: this frame is the last of its message.
pub const FIN: u8 = 0x80;
/// The second bit: the message is compressed (RFC 7692 §6).
pub const RSV1: u8 = 0x40;

/// The fields of an example of the opening handshake in the RFC, and the answer (§1.3).
const HANDSHAKE: [&str; 4] = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The opening handshake, encoded.
pub fn handshake(target: &str, fields: &[&str]) -> Vec<u8> {
    let fields = [&HANDSHAKE, fields].concat().join("\r\n");
    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n").into()
}

/// Checks the answer to the handshake.
pub fn assert_switched(answer: &Answer) {
    assert_eq!(answer.status, 101, "{}", answer.head);
    assert_eq!(answer.field("Sec-WebSocket-Accept"), Some(ACCEPT));
}

/// An encoded frame: this first byte, the shortest length, masked.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    let mask = KEY.iter().cycle();
    bytes.extend(payload.iter().zip(mask).map(|(byte, key)| byte ^ key));
    bytes
}

/// The header of a frame, with the masking key.
pub fn header(first: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match len {
        0..=125 => bytes.push(0x80 | len as u8),
        126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(len.to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes
}

/// A whole message in one frame.
pub fn text(text: &str) -> Vec<u8> {
    frame(FIN | TEXT, text.as_bytes())
}

/// A close frame.
pub fn close(code: u16) -> Vec<u8> {
    frame(FIN | CLOSE, &code.to_be_bytes())
}

/// No byte of the key may be zero: the payload of a frame that was never unmasked would pass.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A received frame.
#[derive(PartialEq, Eq, Debug)]
pub struct Frame {
    /// The first byte: FIN, the reserved bits and the opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

/// A client after the opening handshake.
pub struct Peer {
    client: Client,
}

impl Peer {
    /// Opens a new connection to `target`, with a WebSocket handshake.
    pub fn of(server: &Server, target: &str) -> Peer {
        Peer::with(server, target, &[]).0
    }

    /// Opens a connection with further fields in the handshake. Also returns the answer.
    pub fn with(server: &Server, target: &str, fields: &[&str]) -> (Peer, Answer) {
        let mut client = server.connect();
        client.send(handshake(target, fields));
        let answer = client.head();
        assert_switched(&answer);
        (Peer { client }, answer)
    }

    /// A peer on a connection with a completed handshake.
    pub fn over(client: Client) -> Peer {
        Peer { client }
    }

    /// Sends a whole message of text.
    pub fn say(&mut self, message: &str) {
        self.client.send(text(message));
    }

    /// The next frame. A single ping from the server is answered and skipped, because the peer may
    /// have been silent while the test was busy elsewhere.
    pub fn frame(&mut self) -> Frame {
        let frame = self.any_frame();
        if frame.first != FIN | PING {
            return frame;
        }
        self.client.send(self::frame(FIN | PONG, &frame.payload));
        self.any_frame()
    }

    fn any_frame(&mut self) -> Frame {
        let head = self.client.bytes(2);
        assert_eq!(head[1] & 0x80, 0, "a server does not mask (§5.1)");
        let len = match head[1] {
            126 => {
                let bytes = self.client.bytes(2).try_into().expect("two");
                u64::from(u16::from_be_bytes(bytes))
            }
            127 => u64::from_be_bytes(self.client.bytes(8).try_into().expect("eight")),
            short => short.into(),
        };
        Frame {
            first: head[0],
            payload: self.client.bytes(len as usize),
        }
    }

    /// The next frame, which must be a whole message of text.
    pub fn hear(&mut self) -> String {
        let Frame { first, payload } = self.frame();
        let text = String::from_utf8(payload).expect("it is text");
        assert_eq!(first, FIN | TEXT, "{text}");
        text
    }

    /// Checks that the server closes with this code, and that the server ends the connection.
    pub fn assert_closed(mut self, code: u16) {
        self.await_close(code);
        self.client.assert_end();
    }

    /// Checks that the next frame is a close with this code.
    pub fn await_close(&mut self, code: u16) {
        let Frame { first, payload } = self.frame();
        assert_eq!(first, FIN | CLOSE, "{payload:?}");
        let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
        assert_eq!(payload[..2], code.to_be_bytes(), "{code}: {reason}");
    }

    /// Checks that the server ends the connection here, with a FIN.
    pub fn assert_end(self) {
        self.client.assert_end();
    }

    /// Closes the connection with a reset.
    pub fn reset(self) {
        self.client.reset();
    }
}

/// A peer is a client, too.
impl Deref for Peer {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
