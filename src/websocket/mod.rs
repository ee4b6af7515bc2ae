//! Floor 1, websocket: RFC 6455 and RFC 7692 as codecs, and nothing else. Bytes in, values out: no
//! clock, no socket, no HTTP, and no allocation that a peer could make grow: whoever gathers a message
//! brings the storage.
//!
//! A connection goes through three things here: [`Opening::accept`] holds its opening handshake against
//! the rules and gives the proof of it, an [`Accept`]; then a [`Reader`] takes its frames apart, in
//! place, and fails at the first byte that cannot be right; and in the end there is a [`Close`].
//! [`deflate`] has what permessage-deflate needs.

mod close;
pub mod deflate;
mod extensions;
mod frame;
mod handshake;
mod reader;
mod utf8;

pub use close::{Close, CloseCode};
pub use frame::{FrameHeader, Opcode, header_bytes, mask, write_frame, write_header};
pub use handshake::{Accept, Opening, OpeningError, Protocols};
pub use reader::{FrameEvent, FramePart, Reader, ReaderConfig};
pub use utf8::Utf8;

use std::error::Error;
use std::fmt;

/// What a message is made of (RFC 6455 §5.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl MessageKind {
    /// The opcode of a message's first frame.
    pub fn opcode(self) -> Opcode {
        match self {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        }
    }
}

/// What a peer did wrong. It ends the connection, with [`close_code`](Violation::close_code).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A reserved bit that no extension gives a meaning (§5.2).
    ReservedBit,
    /// An opcode that is reserved (§5.2).
    ReservedOpcode,
    /// A control frame that is fragmented or longer than 125 bytes (§5.5).
    ControlFrame,
    /// A frame that is not masked (§5.1).
    Unmasked,
    /// A length that is not in its shortest form, or has its top bit set (§5.2).
    Length,
    /// A continuation of nothing (§5.4).
    Continuation,
    /// A new message within another (§5.4).
    Interleaved,
    /// A close frame of one byte, or with a code that must not be sent (§7.4).
    Close,
    /// Text that is not UTF-8 (§8.1), be it a message or the reason of a close.
    Utf8,
    /// A compressed message that cannot be inflated (RFC 7692 §7.2.2).
    Deflate,
    /// A message over the bound.
    TooLarge,
}

impl Violation {
    /// The code that tells the peer (§7.4.1).
    pub fn close_code(self) -> CloseCode {
        use Violation as V;
        match self {
            V::ReservedBit
            | V::ReservedOpcode
            | V::ControlFrame
            | V::Unmasked
            | V::Length
            | V::Continuation
            | V::Interleaved
            | V::Close => CloseCode::PROTOCOL_ERROR,
            V::Utf8 | V::Deflate => CloseCode::INVALID_DATA,
            V::TooLarge => CloseCode::TOO_LARGE,
        }
    }

    /// A few words for whoever sent it: the reason of the close.
    pub fn reason(self) -> &'static str {
        match self {
            Violation::ReservedBit => "a reserved bit is set",
            Violation::ReservedOpcode => "the opcode is reserved",
            Violation::ControlFrame => "a control frame is fragmented or longer than 125 bytes",
            Violation::Unmasked => "a frame from a client must be masked",
            Violation::Length => "the length is not in its shortest form",
            Violation::Continuation => "there is no message to continue",
            Violation::Interleaved => "the message before is not finished",
            Violation::Close => "a close frame has a code that must not be sent, or half of one",
            Violation::Utf8 => "the text is not UTF-8",
            Violation::Deflate => "the compressed message cannot be inflated",
            Violation::TooLarge => "the message is too large",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl Error for Violation {}
