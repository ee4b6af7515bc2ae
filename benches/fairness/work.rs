//! The length of the longest turn, without the noise of the machine.
//!
//! The server counts the work of each turn in units, and never with a clock: the same events always cost the
//! same. So the turn with the most work is known whatever the machine did meanwhile. A unit takes about 1 µs;
//! how long it took in this run is the CPU time of the whole load divided by its units, and the mean over
//! seconds of load carries little noise. The product of the two is the length of the turn with the most work.
//! A piece of work that the server does not count would be missing from the product, and is in the measured turns.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::common::measure::cpu_nanoseconds;
use crate::common::server::Server;

/// The counts of a server at one time.
pub struct Work {
    /// The units of all turns so far.
    units: u64,
    /// The most units of a turn.
    pub most: u64,
    /// The CPU time so far, in nanoseconds.
    cpu: u64,
}

impl Work {
    /// Asks the server for its counts.
    ///
    /// # Errors
    /// A sentence, when the server does not tell them.
    pub fn of(server: &Server) -> Result<Self, String> {
        let metrics = metrics(server.address);
        let metrics = metrics.map_err(|error| format!("the server tells no metrics: {error}"))?;
        let value = |name: &str| {
            let mut lines = metrics.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            value.ok_or_else(|| format!("the metrics have no {name}"))
        };
        Ok(Self {
            units: value("oneloop_work_units_total ")?,
            most: value("oneloop_turn_work_units_most ")?,
            cpu: cpu_nanoseconds(server.process())?,
        })
    }

    /// The length of the turn with the most work, in milliseconds, with the mean time of a unit since
    /// `before`.
    pub fn longest(&self, before: &Self) -> f64 {
        let units = (self.units - before.units).max(1);
        self.most as f64 * (self.cpu - before.cpu) as f64 / units as f64 / 1e6
    }
}

fn metrics(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let request =
        format!("GET /_oneloop/metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
