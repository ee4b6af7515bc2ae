//! Floor 3, connection: the effects, which connections and endpoints queue for the server to carry
//! out.
//!
//! Architecture invariant: a connection has no access to other connections, and changes no room. To reach
//! these, a connection queues an [`Effect`].

use std::collections::VecDeque;

use super::message::PlainFrame;
use super::{Answer, EffectKind, Key};
use crate::config::Limits;
use crate::websocket::CloseCode;

/// An action for the server to carry out, requested by a connection or an endpoint.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Let a connection carry out the wish of an endpoint.
    Wish(Key, Wish),
    /// Make a connection a member of `room`. From now on the peer receives each message to the
    /// room; at most `last` messages of the history come first.
    Join {
        /// The WebSocket connection.
        key: Key,
        /// The name of the room.
        room: Box<str>,
        /// How many messages of the history the peer receives first, at most.
        last: usize,
    },
    /// Let a connection watch `room`. From now on the peer receives the number of members, and
    /// again after each change.
    WatchPresence {
        /// The WebSocket connection.
        key: Key,
        /// The name of the room.
        room: Box<str>,
        /// The text before each number; empty for a number alone.
        mark: Box<str>,
    },
    /// Take a connection out of `room`, as a member and as a watcher.
    Leave {
        /// The WebSocket connection.
        key: Key,
        /// The name of the room.
        room: Box<str>,
    },
    /// Take a connection out of every room, because the WebSocket connection has ended. This effect
    /// is the last of a connection, and the only effect to take the connection out of every room.
    Disconnected(Key),
    /// Send a message to an audience.
    Publish {
        /// The recipients.
        to: Audience,
        /// The message.
        frame: PlainFrame,
    },
}

/// The wish of an endpoint for one connection. A connection in another mode by then ignores the wish.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Hand the queued request to its endpoint.
    Ask,
    /// Send the answer that the endpoint has owed.
    Answer(Box<Answer>),
    /// Add bytes, without framing, to the content of a stream.
    Write(Vec<u8>),
    /// End a stream: its content is complete.
    Finish,
    /// Break the answer off.
    CutOff,
    /// Reset the connection, whatever it is doing.
    Reset,
    /// Go on with a body that is taken piece by piece.
    Resume,
    /// Close the WebSocket connection, with a code and a reason.
    Close(CloseCode, Box<str>),
}

impl Effect {
    /// The connection or the request, if the effect has one, and the kind, for the flight recorder.
    pub(crate) fn traced(&self) -> (Option<Key>, EffectKind) {
        match self {
            Effect::Wish(key, wish) => {
                let kind = match wish {
                    Wish::Ask => EffectKind::Ask,
                    Wish::Answer(_) | Wish::Write(_) | Wish::Finish | Wish::Resume => {
                        EffectKind::Answer
                    }
                    Wish::CutOff | Wish::Reset | Wish::Close(..) => EffectKind::End,
                };
                (Some(*key), kind)
            }
            Effect::Join { key, .. }
            | Effect::WatchPresence { key, .. }
            | Effect::Leave { key, .. }
            | Effect::Disconnected(key) => (Some(*key), EffectKind::Room),
            Effect::Publish { to, .. } => {
                let key = match to {
                    Audience::Connection(key)
                    | Audience::RoomsOf(key)
                    | Audience::OthersInRoomsOf(key) => Some(*key),
                    Audience::Connections(_) | Audience::Room(_) => None,
                };
                (key, EffectKind::Publish)
            }
        }
    }
}

/// The recipients of a message.
#[derive(Debug)]
pub(crate) enum Audience {
    /// One connection.
    Connection(Key),
    /// These connections.
    Connections(Vec<Key>),
    /// Every member of the room of this name.
    Room(Box<str>),
    /// Every member of each room that this connection has joined, including the connection itself.
    RoomsOf(Key),
    /// The same without the connection itself.
    OthersInRoomsOf(Key),
}

/// The queue of effects, oldest first.
#[derive(Default, Debug)]
pub(crate) struct Effects {
    queue: VecDeque<Effect>,
    /// The total number of bytes of the frames and pieces in the queue.
    bytes: usize,
    /// The number of effects in the queue that do not count.
    uncounted: usize,
}

impl Effects {
    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.bytes += bytes_of(&effect);
        self.uncounted += usize::from(!is_counted(&effect));
        self.queue.push_back(effect);
    }

    /// Takes the oldest effect.
    pub fn pop(&mut self) -> Option<Effect> {
        let effect = self.queue.pop_front()?;
        self.bytes -= bytes_of(&effect);
        self.uncounted -= usize::from(!is_counted(&effect));
        Some(effect)
    }

    /// Returns the number of effects in the queue.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether the queue holds no effect.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the queue has reached a limit. A connection whose endpoint may add effects must then
    /// wait.
    ///
    /// Requests do not count: a connection waits for the answer, so there is at most one for each, and
    /// many of them must not silence the speakers in rooms. Answers do not count for the same reason.
    /// Of the pieces of streams the bytes count, and not the number: an endpoint may have one for each of
    /// a thousand clients.
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.queue.len() - self.uncounted >= limits.effects_max
            || self.bytes >= limits.effects_bytes_max
    }
}

/// The least memory of a piece of a stream in the queue, beside the bytes of the piece.
const PIECE_BYTES: usize = 48;

fn is_counted(effect: &Effect) -> bool {
    let Effect::Wish(_, wish) = effect else {
        return true;
    };
    !matches!(
        wish,
        Wish::Ask | Wish::Answer(_) | Wish::Write(_) | Wish::Finish
    )
}

fn bytes_of(effect: &Effect) -> usize {
    match effect {
        Effect::Publish { frame, .. } => frame.bytes.len(),
        Effect::Wish(_, Wish::Write(bytes)) => PIECE_BYTES + bytes.len(),
        Effect::Wish(..)
        | Effect::Join { .. }
        | Effect::WatchPresence { .. }
        | Effect::Leave { .. }
        | Effect::Disconnected(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Message;

    #[test]
    fn requests_and_pieces_leave_the_queue_open_for_those_who_publish() {
        let limits = Limits {
            effects_max: 2,
            ..Limits::default()
        };
        let mut effects = Effects::default();
        let publish = || Effect::Publish {
            to: Audience::Room("a".into()),
            frame: PlainFrame::new(Message::Text("hello")),
        };
        let piece = |len| Effect::Wish(Key::new(0, 1), Wish::Write(vec![0; len]));
        (0..5).for_each(|_| effects.push(Effect::Wish(Key::new(0, 1), Wish::Ask)));
        (0..5).for_each(|_| effects.push(piece(10)));
        effects.push(publish());
        assert!(!effects.is_full(&limits));
        effects.push(publish());
        assert!(effects.is_full(&limits) && effects.len() == 12);
        while effects.pop().is_some() {}
        assert!(effects.is_empty() && effects.uncounted == 0 && effects.bytes == 0);
        effects.push(piece(limits.effects_bytes_max));
        assert!(effects.is_full(&limits), "their bytes count");
    }
}
