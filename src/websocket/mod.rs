//! Floor 1, websocket: RFC 6455 and RFC 7692 as codecs, and nothing else.
//!
//! Architecture invariant: nothing here knows HTTP or a socket. This module names neither `http` or
//! `transport`, nor any module of a higher floor.
//!
//! The codecs are pure: bytes in, values out. They read no clock, and a peer cannot make their
//! allocations grow, because a caller that gathers a message provides the storage.
//!
//! A connection passes through three stages. First [`Opening::accept`] checks the opening handshake
//! and returns an [`Accept`] as the proof. Then a [`Reader`] parses the frames in place, and fails
//! at the first byte that must be wrong. At the end a [`Close`] is exchanged. Compression
//! (permessage-deflate) is in [`deflate`].

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
pub use utf8::{TextPart, Utf8};

use std::error::Error;
use std::fmt;

/// The kind of a message (RFC 6455 §5.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// Text in UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl MessageKind {
    /// Returns the opcode of the first frame of such a message.
    pub fn opcode(self) -> Opcode {
        match self {
            MessageKind::Text => Opcode::Text,
            MessageKind::Binary => Opcode::Binary,
        }
    }
}

/// A violation of the protocol by the peer. Each violation ends the connection with the code that
/// [`close_code`](Violation::close_code) returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A reserved bit is set, and no negotiated extension defines a meaning (§5.2).
    ReservedBit,
    /// A reserved opcode (§5.2).
    ReservedOpcode,
    /// A control frame is fragmented or longer than 125 bytes (§5.5).
    ControlFrame,
    /// A frame is not masked (§5.1).
    Unmasked,
    /// A payload length is not in the shortest form, or the top bit is set (§5.2).
    Length,
    /// A continuation frame without a message to continue (§5.4).
    Continuation,
    /// A new message begins before the previous message has ended (§5.4).
    Interleaved,
    /// A close frame has a payload of one byte, or a code that must not be sent (§7.4).
    Close,
    /// A text is not UTF-8 (§8.1), either a message or the reason in a close frame.
    Utf8,
    /// A compressed message cannot be inflated (RFC 7692 §7.2.2).
    Deflate,
    /// A message is larger than the limit.
    TooLarge,
}

impl Violation {
    /// Returns the code for the close frame that reports this violation (§7.4.1).
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

    /// Returns a few words that explain the violation to the peer, as the reason in the close
    /// frame.
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
