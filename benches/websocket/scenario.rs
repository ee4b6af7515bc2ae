//! What is sent to every server: one row of data each.

/// One kind of load.
pub struct Scenario {
    pub name: &'static str,
    pub payload_bytes: usize,
    pub connections: usize,
    /// Messages sent in one go before any answer is read.
    pub in_flight: usize,
    /// Who hears what one connection sends.
    pub audience: Audience,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Audience {
    /// The sender alone.
    Echo,
    /// All connections, the sender too.
    Room,
}

/// A small message there and back: what the rows below differ from.
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
