//! Floor 4, connection: what a connection leaves for the server to deliver. Connections never touch
//! each other, nor anything that all of them share.

use std::collections::VecDeque;

use super::Key;
use super::message::PlainFrame;
use crate::config::Limits;
use crate::site::Mount;

/// A message from a connection, or from an endpoint.
#[derive(Debug)]
pub(crate) enum Effect {
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
pub(crate) enum Audience {
    /// Everybody in the room of this name.
    Room(Box<str>),
    /// Everybody in the rooms that this connection is in, the connection too.
    RoomsOf(Key),
}

/// Effects in the order in which connections left them.
#[derive(Default, Debug)]
pub(crate) struct Effects {
    queue: VecDeque<Effect>,
    /// Bytes of the frames in it.
    bytes: usize,
}

impl Effects {
    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.bytes += frame_bytes(&effect);
        self.queue.push_back(effect);
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<Effect> {
        let effect = self.queue.pop_front()?;
        self.bytes -= frame_bytes(&effect);
        Some(effect)
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

fn frame_bytes(effect: &Effect) -> usize {
    match effect {
        Effect::Publish { frame, .. } => frame.bytes.len(),
        Effect::Post { .. }
        | Effect::Join { .. }
        | Effect::WatchPresence { .. }
        | Effect::Leave { .. }
        | Effect::Disconnected(_) => 0,
    }
}
