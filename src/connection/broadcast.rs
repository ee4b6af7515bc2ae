//! Floor 4, connection: a message for many, encoded once for each coding in which somebody wants it.

use std::cell::OnceCell;
use std::rc::Rc;

use super::effect::PlainFrame;
use super::endpoint::deflate_if_worth_it;
use crate::config::Limits;
use crate::transport::{ChargedBytes, Pool};
use crate::websocket::deflate::{Deflate, Deflater};
use crate::websocket::{MessageKind, write_frame};

/// A message for many.
#[derive(Debug)]
pub struct Broadcast {
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
            let mut bytes = Vec::with_capacity(deflated.len() + 10);
            write_frame(&mut bytes, self.kind.opcode(), true, deflated);
            pool.share(bytes)
        })
    }
}
