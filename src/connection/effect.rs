//! Floor 4, connection: what a connection leaves for the server to deliver. Connections never touch
//! each other, nor anything that all of them share.

use std::collections::VecDeque;

use super::Key;
use super::endpoint::Message;
use crate::config::Limits;
use crate::site::Mount;
use crate::websocket::{MessageKind, write_frame};

/// A message from a connection, or from an endpoint.
#[derive(Debug)]
pub enum Effect {
    /// A request with a body for an endpoint. The sender waits for the answer.
    Post {
        /// Who asks.
        from: Key,
        /// What is asked.
        to: Mount,
        /// The whole body, in storage of the pool's.
        body: Vec<u8>,
    },
    /// From now on, `who` hears what is said in `room`, after the last so many messages.
    Join {
        /// A WebSocket connection.
        key: Key,
        /// The room's name.
        room: Box<str>,
        /// How many of the messages that the room remembers are to be heard first.
        last: usize,
    },
    /// From now on, `who` hears how many are in `room`.
    WatchPresence {
        /// A WebSocket connection.
        key: Key,
        /// The room's name.
        room: Box<str>,
    },
    /// `who` is in `room` no longer.
    Leave {
        /// A WebSocket connection.
        key: Key,
        /// The room's name.
        room: Box<str>,
    },
    /// This connection is in no room any more, since it is no WebSocket connection any more. Nothing comes
    /// from it behind this, and nothing but this takes it out of all its rooms.
    Disconnected(Key),
    /// Something is said.
    Publish {
        /// Where.
        to: Audience,
        /// What.
        frame: PlainFrame,
    },
}

/// Who hears what is said.
#[derive(Debug)]
pub enum Audience {
    /// Everybody in the room of this name.
    Room(Box<str>),
    /// Everybody in the rooms that this connection is in, the connection too.
    RoomsOf(Key),
}

/// A message as one frame, not compressed.
#[derive(Debug)]
pub struct PlainFrame {
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
        let payload = message.bytes();
        let mut bytes = Vec::with_capacity(payload.len() + 10);
        write_frame(&mut bytes, message.kind().opcode(), false, payload);
        PlainFrame {
            kind: message.kind(),
            header_bytes: bytes.len() - payload.len(),
            bytes,
        }
    }
}

/// Effect in the order in which it was left.
#[derive(Default, Debug)]
pub struct Effects {
    queue: VecDeque<Effect>,
    /// Bytes of the frames in it.
    bytes: usize,
}

impl Effects {
    /// Leaves a piece of mail.
    pub fn push(&mut self, effects: Effect) {
        self.bytes += frame_bytes(&effects);
        self.queue.push_back(effects);
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<Effect> {
        let effects = self.queue.pop_front()?;
        self.bytes -= frame_bytes(&effects);
        Some(effects)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether those who would leave more have to wait.
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.queue.len() >= limits.effects_max || self.bytes >= limits.effects_bytes_max
    }
}

fn frame_bytes(effects: &Effect) -> usize {
    match effects {
        Effect::Publish { frame, .. } => frame.bytes.len(),
        Effect::Post { .. }
        | Effect::Join { .. }
        | Effect::WatchPresence { .. }
        | Effect::Leave { .. }
        | Effect::Disconnected(_) => 0,
    }
}
