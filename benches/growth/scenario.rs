//! What grows: a row of data for each scenario.

/// The subject of a scenario, whose number is the size.
#[derive(Clone, Copy, PartialEq)]
pub enum Subject {
    /// Connections that send the same request in turn.
    Connections,
    /// Files that are requested in turn, on one connection.
    Files,
    /// Rooms of two members. The members speak in turn.
    Rooms,
    /// Field lines of each request, on one connection.
    Fields,
}

/// A kind of growth.
pub struct Scenario {
    pub name: &'static str,
    pub subject: Subject,
    /// The sizes. The first is the smallest, by whose cost the others are divided.
    pub sizes: &'static [usize],
    /// The number of requests that are sent before an answer is read.
    pub at_once: usize,
}

#[rustfmt::skip] // One row, two lines.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "connections", subject: Subject::Connections, at_once: 1,
        sizes: &[1, 10, 100, 1_000, 10_000] },
    Scenario { name: "connections, 64 requests at once", subject: Subject::Connections, at_once: 64,
        sizes: &[64, 1_000, 10_000] },
    Scenario { name: "files", subject: Subject::Files, at_once: 1,
        sizes: &[10, 100, 1_000, 10_000, 100_000] },
    Scenario { name: "rooms of two", subject: Subject::Rooms, at_once: 1,
        sizes: &[1, 10, 100, 1_000] },
    Scenario { name: "fields", subject: Subject::Fields, at_once: 1,
        sizes: &[5, 15, 30, 60] },
];
