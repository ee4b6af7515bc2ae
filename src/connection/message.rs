//! Floor 3, connection: WebSocket messages on their way to the peers: the text or bytes from an
//! endpoint, the frame, the compressed frame (if compression saves bytes), and the broadcast, which
//! is encoded once for many recipients.
//!
//! The payload of a message is copied into a frame: for [`Session::send`](super::Session::send)
//! directly in the write buffer, and for a broadcast in memory shared by the recipients. A shared
//! frame of up to 4 KiB is then copied into the tail of the write buffer of each recipient, because
//! a small copy costs less than a segment. A larger frame is shared: each write buffer holds a
//! reference to the same bytes.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::config::Limits;
use crate::transport::{ChargedBytes, Pool};
use crate::websocket::deflate::{Deflate, Deflater};
use crate::websocket::{MessageKind, header_bytes, write_frame};

/// A whole WebSocket message, received or to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// A text message, in UTF-8.
    Text(&'a str),
    /// A binary message: any bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Returns the kind of the message: text or binary.
    pub fn kind(&self) -> MessageKind {
        match self {
            Message::Text(_) => MessageKind::Text,
            Message::Binary(_) => MessageKind::Binary,
        }
    }

    /// Returns the content.
    pub fn bytes(&self) -> &'a [u8] {
        match *self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }
}

/// A message as one frame, not compressed.
#[derive(Debug)]
pub(crate) struct PlainFrame {
    /// The kind of the message.
    pub kind: MessageKind,
    /// The whole frame: the header, then the payload.
    pub bytes: Vec<u8>,
    /// The number of bytes in the header.
    pub header_bytes: usize,
}

impl PlainFrame {
    /// Encodes a message as a frame. The payload is copied.
    pub fn new(message: Message<'_>) -> PlainFrame {
        let (kind, payload) = (message.kind(), message.bytes());
        PlainFrame {
            kind,
            bytes: framed(kind, false, payload),
            header_bytes: header_bytes(payload.len()),
        }
    }
}

/// One message for many connections, encoded once.
#[derive(Debug)]
pub(crate) struct Broadcast {
    kind: MessageKind,
    plain: Rc<ChargedBytes>,
    header_bytes: usize,
    /// The compressed frames by the size of the window (2⁹ to 2¹⁵ bytes). The first recipient with
    /// a window makes the entry. Where compressing does not pay, the entry is the plain frame.
    deflated: [OnceCell<Rc<ChargedBytes>>; 7],
}

impl Broadcast {
    /// Creates a broadcast from a frame. The account of memory is charged for the bytes until the
    /// last reference is dropped.
    pub fn new(frame: PlainFrame, pool: &mut Pool) -> Broadcast {
        Broadcast {
            kind: frame.kind,
            plain: pool.share(frame.bytes),
            header_bytes: frame.header_bytes,
            deflated: Default::default(),
        }
    }

    /// Returns the number of bytes of the plain frame.
    pub fn frame_bytes(&self) -> usize {
        self.plain.bytes().len()
    }

    /// Returns the total size in bytes of the frames, plain and compressed.
    pub fn charged_bytes(&self) -> usize {
        let deflated = self.deflated.iter().filter_map(OnceCell::get);
        let others = deflated.filter(|frame| !Rc::ptr_eq(frame, &self.plain));
        self.frame_bytes() + others.map(|frame| frame.bytes().len()).sum::<usize>()
    }

    /// Returns the frame for a recipient, compressed with the `agreed` parameters of
    /// permessage-deflate (RFC 7692). `None`: compression was not agreed on, and the frame is
    /// plain.
    pub(super) fn frame(
        &self,
        agreed: Option<Deflate>,
        deflater: &mut Deflater,
        pool: &mut Pool,
        limits: &Limits,
    ) -> &Rc<ChargedBytes> {
        let Some(agreed) = agreed else {
            return &self.plain;
        };
        self.deflated[usize::from(agreed.window_bits() - 9)].get_or_init(|| {
            let payload = &self.plain.bytes()[self.header_bytes..];
            let Some(deflated) = deflate_if_worth_it(agreed, payload, deflater, limits) else {
                return Rc::clone(&self.plain);
            };
            pool.share(framed(self.kind, true, deflated))
        })
    }
}

/// Writes a frame into a vector with exactly the needed capacity. The frame later becomes a boxed
/// slice, which would copy the bytes again if the capacity were larger.
fn framed(kind: MessageKind, compressed: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(header_bytes(payload.len()) + payload.len());
    write_frame(&mut bytes, kind.opcode(), compressed, payload);
    bytes
}

/// Compresses a payload. Returns `None` if the payload is too small to gain by compression, too
/// large (every connection would wait for the work), or not smaller after compression.
pub(super) fn deflate_if_worth_it<'a>(
    agreed: Deflate,
    payload: &[u8],
    deflater: &'a mut Deflater,
    limits: &Limits,
) -> Option<&'a [u8]> {
    let sizes = limits.deflated_bytes_min..=limits.deflated_bytes_max;
    let deflated = sizes
        .contains(&payload.len())
        .then(|| deflater.deflate(agreed, payload));
    deflated.filter(|deflated| deflated.len() < payload.len())
}
