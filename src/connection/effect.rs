//! Floor 3, connection: the effects, which connections and endpoints queue for the server to carry
//! out.
//!
//! Architecture invariant: a connection has no access to other connections, and changes no room. To reach
//! these, a connection queues an [`Effect`].

use std::collections::VecDeque;

use super::Key;
use super::message::PlainFrame;
use crate::config::Limits;
use crate::site::Mount;

/// An action for the server to carry out, requested by a connection or an endpoint.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Hand a request with a body to an endpoint. The connection waits for the answer.
    Post {
        /// The waiting connection.
        from: Key,
        /// The endpoint, with the name and the query from the request-target.
        to: Mount,
        /// The whole body, in storage of the pool.
        body: Vec<u8>,
    },
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

/// The recipients of a message.
#[derive(Debug)]
pub(crate) enum Audience {
    /// Every member of the room of this name.
    Room(Box<str>),
    /// Every member of each room that this connection has joined, including the connection itself.
    RoomsOf(Key),
}

/// The queue of effects, oldest first.
#[derive(Default, Debug)]
pub(crate) struct Effects {
    queue: VecDeque<Effect>,
    /// The total number of bytes of the frames in the queue.
    bytes: usize,
    /// The number of posts in the queue.
    posts: usize,
}

impl Effects {
    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.bytes += frame_bytes(&effect);
        self.posts += usize::from(is_post(&effect));
        self.queue.push_back(effect);
    }

    /// Takes the oldest effect.
    pub fn pop(&mut self) -> Option<Effect> {
        let effect = self.queue.pop_front()?;
        self.bytes -= frame_bytes(&effect);
        self.posts -= usize::from(is_post(&effect));
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
    /// wait. Posts do not count: a connection waits for the answer to a post, so there is at most one for
    /// each, and many of them must not silence those who speak in rooms.
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.queue.len() - self.posts >= limits.effects_max
            || self.bytes >= limits.effects_bytes_max
    }
}

fn is_post(effect: &Effect) -> bool {
    matches!(effect, Effect::Post { .. })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Message;

    #[test]
    fn posts_leave_the_queue_open_for_those_who_publish() {
        let limits = Limits {
            effects_max: 2,
            ..Limits::default()
        };
        let mut effects = Effects::default();
        let post = || Effect::Post {
            from: Key::new(0, 1),
            to: Mount {
                number: 0,
                takes_posts: true,
                name: "a".into(),
                query: "".into(),
            },
            body: Vec::new(),
        };
        let publish = || Effect::Publish {
            to: Audience::Room("a".into()),
            frame: PlainFrame::new(Message::Text("hello")),
        };
        (0..5).for_each(|_| effects.push(post()));
        effects.push(publish());
        assert!(!effects.is_full(&limits));
        effects.push(publish());
        assert!(effects.is_full(&limits) && effects.len() == 7);
        while effects.pop().is_some() {}
        assert!(effects.is_empty() && effects.posts == 0 && effects.bytes == 0);
    }
}
