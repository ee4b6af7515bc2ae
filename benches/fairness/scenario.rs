//! The loads: a row of the table for each.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::load;

/// A load beside which the probe asks.
pub struct Scenario {
    pub name: &'static str,
    /// Runs the load against the server at the address, in a process of its own. Returns only with
    /// an error.
    pub load: fn(SocketAddr) -> io::Result<()>,
    /// The time from the beginning of the load to the beginning of the measurement.
    pub lead: Duration,
}

const fn row(name: &'static str, load: fn(SocketAddr) -> io::Result<()>) -> Scenario {
    let lead = Duration::from_millis(300);
    Scenario { name, load, lead }
}

pub const SCENARIOS: &[Scenario] = &[
    row("9,000 idle connections", load::idle),
    row("accept storm", load::accept_storm),
    row("64 endless chunked bodies", load::endless_bodies),
    row("64 heads too large, refused", load::refused_heads),
    row("64 endless heads", load::endless_heads),
    row("64 posts of 1 MiB", load::posts),
    row("512 downloads of 10 MiB", load::downloads),
    row("64 ping floods", load::ping_floods),
    row("64 echo floods, 200 B", load::echo_floods),
    row("128 compressed echoes, 200 B", load::compressed_small),
    row("32 compressed echoes, 16 KiB", load::compressed_large),
    row("4 echoes of 16 MiB", load::huge_echoes),
    row("room of 9,000, 20 messages/s", load::large_room),
    row("room of 1,000, compressed", load::compressed_room),
    row("1,000 presence watchers, 20 joins/s", load::presence),
    Scenario {
        name: "9,000 deadlines at once",
        load: load::deadlines,
        // Soon afterwards, the time for a request head is over: `Limits::head_time`.
        lead: Duration::from_millis(9_700),
    },
    row("32 encodings on the fly, 8 MiB", load::encodings),
];
