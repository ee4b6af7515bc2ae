//! Floor 4, connection: a message of WebSocket on its way out: as the endpoint writes it, framed, compressed
//! where that pays, and encoded once for many.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::config::Limits;
use crate::transport::{ChargedBytes, Pool};
use crate::websocket::deflate::{Deflate, Deflater};
use crate::websocket::{MessageKind, header_bytes, write_frame};

/// A message of WebSocket, whole, received or to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// UTF-8.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Which of the two.
    pub fn kind(&self) -> MessageKind {
        match self {
            Message::Text(_) => MessageKind::Text,
            Message::Binary(_) => MessageKind::Binary,
        }
    }

    /// The content.
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
    /// What it is made of.
    pub kind: MessageKind,
    /// The whole frame.
    pub bytes: Vec<u8>,
    /// Bytes of it that are header.
    pub header_bytes: usize,
}

impl PlainFrame {
    /// Frames a message.
    pub fn new(message: Message<'_>) -> PlainFrame {
        let (kind, payload) = (message.kind(), message.bytes());
        PlainFrame {
            kind,
            bytes: framed(kind, false, payload),
            header_bytes: header_bytes(payload.len()),
        }
    }
}

/// A message for many.
#[derive(Debug)]
pub(crate) struct Broadcast {
    kind: MessageKind,
    plain: Rc<ChargedBytes>,
    header_bytes: usize,
    /// Compressed, by the size of the window; the plain frame where that is not worth it.
    deflated: [OnceCell<Rc<ChargedBytes>>; 7],
}

impl Broadcast {
    /// Takes a frame.
    pub fn new(frame: PlainFrame, pool: &mut Pool) -> Broadcast {
        Broadcast {
            kind: frame.kind,
            plain: pool.share(frame.bytes),
            header_bytes: frame.header_bytes,
            deflated: Default::default(),
        }
    }

    /// Bytes of the plain frame.
    pub fn frame_bytes(&self) -> usize {
        self.plain.bytes().len()
    }

    /// Bytes that it holds, in all codings.
    pub fn charged_bytes(&self) -> usize {
        let deflated = self.deflated.iter().filter_map(OnceCell::get);
        let others = deflated.filter(|frame| !Rc::ptr_eq(frame, &self.plain));
        self.frame_bytes() + others.map(|frame| frame.bytes().len()).sum::<usize>()
    }

    /// The frame for a member with whom this was agreed on.
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

/// A frame in storage of exactly its size: a boxed slice is made from it, which copies whatever is larger.
fn framed(kind: MessageKind, compressed: bool, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(header_bytes(payload.len()) + payload.len());
    write_frame(&mut bytes, kind.opcode(), compressed, payload);
    bytes
}

/// A message compressed, unless it is too small to gain by it, so large that all would wait for it, or
/// not the smaller for it.
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
