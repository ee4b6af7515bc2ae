//! Floor 3, connection: the names of the modes, every legal transition between two of them, and how often
//! each was taken.

use crate::connection::Key;

/// The names of the modes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "they are the variants of Mode")]
pub enum ModeName {
    ReadingHead,
    ReadingBody,
    AwaitingEndpoint,
    Forwarding,
    Streaming,
    WebSocket,
    Upstream,
    Tunnel,
    Lingering,
    Closed,
}

/// Every legal transition from one mode to another, and the event that causes the transition.
pub const TRANSITIONS: &[(ModeName, ModeName, &str)] = {
    use ModeName::{
        AwaitingEndpoint, Closed, Forwarding, Lingering, ReadingBody, ReadingHead, Streaming,
        Tunnel, Upstream, WebSocket,
    };
    &[
        (ReadingHead, ReadingHead, "a small answer was queued whole"),
        (
            ReadingHead,
            ReadingBody,
            "the head is complete, and a body follows",
        ),
        (
            ReadingHead,
            Streaming,
            "an answer with a large body has begun",
        ),
        (ReadingHead, AwaitingEndpoint, "an endpoint has the request"),
        (ReadingHead, Forwarding, "the request is for a backend"),
        (ReadingHead, WebSocket, "an opening handshake was accepted"),
        (
            ReadingHead,
            Lingering,
            "last answer, refusal, end of file, deadline or stop",
        ),
        (
            ReadingHead,
            Closed,
            "the transport failed, the peer stalled, or memory was short",
        ),
        (ReadingBody, ReadingBody, "a part of the body was consumed"),
        (
            ReadingBody,
            ReadingHead,
            "the body is complete, and a small answer was queued",
        ),
        (
            ReadingBody,
            Streaming,
            "the body is complete, and a large answer has begun",
        ),
        (
            ReadingBody,
            AwaitingEndpoint,
            "the body is complete, and an endpoint has it",
        ),
        (
            ReadingBody,
            Lingering,
            "last answer, or the body was refused",
        ),
        (
            ReadingBody,
            Closed,
            "the transport failed, the peer stalled, or memory was short",
        ),
        (
            AwaitingEndpoint,
            AwaitingEndpoint,
            "the endpoint has begun or continued its answer",
        ),
        (AwaitingEndpoint, ReadingHead, "the endpoint has answered"),
        (
            AwaitingEndpoint,
            Streaming,
            "the endpoint has given a large answer",
        ),
        (
            AwaitingEndpoint,
            Lingering,
            "last answer, or the answer was broken off",
        ),
        (
            AwaitingEndpoint,
            Closed,
            "the transport failed, the peer stalled, or memory was short",
        ),
        (
            Forwarding,
            Forwarding,
            "the answer of the backend has begun",
        ),
        (
            Forwarding,
            ReadingHead,
            "the last byte was sent, or the server has answered instead",
        ),
        (Forwarding, Tunnel, "the backend has switched protocols"),
        (
            Forwarding,
            Lingering,
            "last answer, refusal, or the answer was broken off",
        ),
        (
            Forwarding,
            Closed,
            "the transport failed, the peer stalled, or memory was short",
        ),
        (Streaming, Streaming, "another slice was queued"),
        (Streaming, ReadingHead, "the last byte was sent"),
        (
            Streaming,
            Lingering,
            "the last answer was sent, or the file has changed",
        ),
        (
            Streaming,
            Closed,
            "the transport failed, the peer stalled, memory was short, or the file ended early",
        ),
        (
            WebSocket,
            WebSocket,
            "frames were handled, or a ping was sent",
        ),
        (
            WebSocket,
            Lingering,
            "a close frame came or was queued, or end of file",
        ),
        (
            WebSocket,
            Closed,
            "the transport failed, the peer stalled, or memory was short",
        ),
        (Upstream, Upstream, "no answer came in time"),
        (Upstream, Tunnel, "the backend has switched protocols"),
        (Upstream, Lingering, "the connection is of no further use"),
        (
            Upstream,
            Closed,
            "the client has left, the transport failed, or memory was short",
        ),
        (
            Tunnel,
            Lingering,
            "both directions have ended, deadline or stop",
        ),
        (
            Tunnel,
            Closed,
            "the transport failed, the peer stalled, or memory was short",
        ),
        (
            Lingering,
            Closed,
            "the peer has closed, no byte can be lost, time is up, or memory was short",
        ),
    ]
};

impl ModeName {
    /// The number of modes.
    const COUNT: usize = ModeName::Closed as usize + 1;

    /// Every mode, in the order of their declaration.
    pub const ALL: [ModeName; ModeName::COUNT] = [
        ModeName::ReadingHead,
        ModeName::ReadingBody,
        ModeName::AwaitingEndpoint,
        ModeName::Forwarding,
        ModeName::Streaming,
        ModeName::WebSocket,
        ModeName::Upstream,
        ModeName::Tunnel,
        ModeName::Lingering,
        ModeName::Closed,
    ];

    /// The mode with this number in the order of their declaration.
    pub(in crate::connection) fn from_number(number: usize) -> Option<ModeName> {
        ModeName::ALL.get(number).copied()
    }
}

/// How often each transition was taken, and which connection took it last.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Transitions([[Taken; ModeName::COUNT]; ModeName::COUNT]);

/// How often a transition was taken.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Taken {
    count: u64,
    /// The number of the key of the last connection.
    last: u64,
}

impl Transitions {
    /// Counts one transition.
    #[inline]
    pub(in crate::connection) fn note(&mut self, from: ModeName, to: ModeName, key: Key) {
        let taken = &mut self.0[from as usize][to as usize];
        taken.count += 1;
        taken.last = key.into();
    }

    /// Returns how often the transition was taken.
    pub fn count(&self, from: ModeName, to: ModeName) -> u64 {
        self.0[from as usize][to as usize].count
    }

    /// Returns the connection that took the transition last; `None` if no connection ever has.
    pub fn last(&self, from: ModeName, to: ModeName) -> Option<Key> {
        let taken = self.0[from as usize][to as usize];
        (taken.count > 0).then(|| Key::from(taken.last))
    }

    /// Whether the transition was taken.
    pub fn has(&self, from: ModeName, to: ModeName) -> bool {
        self.count(from, to) > 0
    }

    /// Adds the transitions of another server.
    pub fn add(&mut self, other: &Transitions) {
        for (taken, others) in self.0.iter_mut().flatten().zip(other.0.iter().flatten()) {
            taken.count += others.count;
            if others.count > 0 {
                taken.last = others.last;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All transitions as a drawing: for each mode, the modes that may follow.
    fn tree() -> String {
        let mut lines = Vec::new();
        let mut left = TRANSITIONS;
        while let [(from, ..), ..] = left {
            let count = left.iter().take_while(|row| row.0 == *from).count();
            let (rows, rest) = left.split_at(count);
            left = rest;
            for (n, (_, to, reason)) in rows.iter().enumerate() {
                let name = if n == 0 {
                    format!("{from:?}")
                } else {
                    String::new()
                };
                let branch = match (n, rows.len() - 1) {
                    (0, 0) => "───▶",
                    (0, _) => "─┬─▶",
                    (n, last) if n == last => " └─▶",
                    _ => " ├─▶",
                };
                let to = format!("{to:?}");
                lines.push(format!("//! {name:<16} {branch} {to:<16} {reason}"));
            }
        }
        lines.join("\n")
    }

    #[test]
    fn the_drawing_of_the_modes_shows_every_transition() {
        let tree = tree();
        assert!(
            include_str!("mod.rs").contains(&format!("//! ```text\n{tree}\n//! ```\n")),
            "the module docs need this drawing:\n{tree}"
        );
    }
}
