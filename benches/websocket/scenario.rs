//! The messages to every server: a row of data for each scenario.

/// A kind of load.
pub struct Scenario {
    pub name: &'static str,
    pub payload_bytes: usize,
    pub connections: usize,
    /// The number of messages that are sent together before an answer is read.
    pub in_flight: usize,
    /// The connections that receive a message.
    pub audience: Audience,
}

/// The connections that receive a message.
#[derive(Clone, Copy, PartialEq)]
pub enum Audience {
    /// Only the sender.
    Echo,
    /// Every connection, including the sender.
    Room,
}

/// An echo of a small message. The rows below name their differences from `PLAIN`.
const PLAIN: Scenario = Scenario {
    name: "",
    payload_bytes: 20,
    connections: 64,
    in_flight: 1,
    audience: Audience::Echo,
};

#[rustfmt::skip] // One row, one line.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "echo, 20 bytes, 64 connections", ..PLAIN },
    Scenario { name: "echo, 16 KiB, 64 connections", payload_bytes: 16 * 1024, ..PLAIN },
    Scenario { name: "echo, 20 bytes, 64 connections, 16 in flight", in_flight: 16, ..PLAIN },
    Scenario { name: "room, 20 bytes to each of 1,000", connections: 1000, audience: Audience::Room, ..PLAIN },
];
