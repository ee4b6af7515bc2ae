//! The process of the server, from outside: its memory, its descriptors, and its stops.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Random, World};

/// The use of memory and descriptors at a moment.
#[derive(Clone, Copy)]
pub struct Usage {
    /// Bytes of resident memory.
    pub resident: u64,
    pub descriptors: usize,
}

impl Usage {
    /// Reads the use of a process.
    ///
    /// # Errors
    /// A sentence, when the process has ended.
    pub fn of(process: u32) -> Result<Self, String> {
        let read = || -> Option<Self> {
            let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
            let mut lines = status.lines();
            let resident = lines.find_map(|line| line.strip_prefix("VmRSS:"))?;
            let kilobytes = resident.trim().strip_suffix(" kB")?;
            Some(Self {
                resident: kilobytes.parse::<u64>().ok()? * 1024,
                descriptors: fs::read_dir(format!("/proc/{process}/fd")).ok()?.count(),
            })
        };
        read().ok_or_else(|| "the server has ended".into())
    }

    /// Returns the greater values of the two.
    pub fn or(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

/// The time between two looks at the server.
const INTERVAL: Duration = Duration::from_millis(200);
/// The time in which idle connections and unused files must be closed.
const SETTLING: Duration = Duration::from_secs(60);

/// Looks at the use of the server.
pub struct Watch;

impl Watch {
    /// Watches for `time`, then ends the clients, and returns the greatest values.
    ///
    /// # Errors
    /// A sentence, when the server has ended. The clients are ended too.
    pub fn run(process: u32, world: &World, time: Duration) -> Result<Usage, String> {
        let began = Instant::now();
        let mut peak = Usage::of(process);
        while began.elapsed() < time && peak.is_ok() {
            thread::sleep(INTERVAL);
            peak = peak.and_then(|peak| Ok(peak.or(Usage::of(process)?)));
        }
        world.end();
        peak
    }

    /// Waits until there are no more descriptors than in the beginning, or for a minute. Returns
    /// the last values.
    ///
    /// # Errors
    /// A sentence, when the server has ended.
    pub fn settle(process: u32, fresh: Usage) -> Result<Usage, String> {
        let began = Instant::now();
        loop {
            let now = Usage::of(process)?;
            if now.descriptors <= fresh.descriptors || began.elapsed() > SETTLING {
                return Ok(now);
            }
            thread::sleep(INTERVAL);
        }
    }
}

/// Stops the server for up to two seconds, as Ctrl-Z or a paused machine would.
///
/// # Errors
/// A sentence, when the server has ended.
pub fn stop(process: u32, world: &World, random: &mut Random) -> Result<(), String> {
    for _ in 0..5 + random.below(10) {
        thread::sleep(Duration::from_secs(1));
        if !world.is_running() {
            return Ok(());
        }
    }
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    let process = process.ok_or("the server has no process id")?;
    let gone = |error| format!("cannot stop the server: {error}");
    kill_process(process, Signal::STOP).map_err(gone)?;
    thread::sleep(Duration::from_millis(random.below(2000) as u64));
    kill_process(process, Signal::CONT).map_err(gone)?;
    world.count("server stopped", 0);
    Ok(())
}
