//! The lengths of the turns of a server, recorded by `perf` from outside of the server.
//!
//! A turn is one trip of the server's loop, from one `epoll_wait` to the next. `perf` notes the CPU
//! clock of the server's thread at each entry into `epoll_wait`. The difference between two notes
//! is the CPU time of one turn, with the cost of `epoll_wait` itself and of the note, but without
//! the time for which the thread was waiting or another process had the core.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::common::scratch::Scratch;
use crate::common::tools::{self, Tools};

/// The entry into the system call that `epoll_wait` of libc makes.
const WAIT: &str = if cfg!(target_arch = "x86_64") {
    "syscalls:sys_enter_epoll_wait"
} else {
    "syscalls:sys_enter_epoll_pwait"
};

/// A running `perf record`, which is killed on drop.
pub struct Recorder {
    child: Child,
    /// `cat` runs under perf, and ends when its input ends. So does perf.
    input: Option<ChildStdin>,
    perf: PathBuf,
    data: PathBuf,
}

impl Recorder {
    /// Starts perf, and returns when it is recording. `None`: perf is not installed.
    ///
    /// # Errors
    /// A sentence, when perf may not record.
    pub fn start(tools: &Tools, scratch: &Scratch, process: u32) -> Result<Option<Self>, String> {
        let Some(perf) = tools::find("perf") else {
            return Ok(None);
        };
        let data = scratch.path().join("perf.data");
        let mut command = tools.on_load_core(&perf);
        // Each note of the first event has the value of the second.
        let events = format!("{{{WAIT},task-clock}}:S");
        command.args(["record", "--quiet", "--count", "1", "--mmap-pages", "16M"]);
        command
            .args(["--event", &events, "--pid", &process.to_string()])
            .arg("--output")
            .arg(&data)
            .args(["--", "cat"]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        let mut input = child.stdin.take().expect("it was asked for above");
        let output = child.stdout.take().expect("it was asked for above");
        let mut recorder = Self {
            child,
            input: None,
            perf,
            data,
        };
        // The echo of cat says that perf has begun.
        let mut echo = String::new();
        let begun = input
            .write_all(b"begun\n")
            .and_then(|()| BufReader::new(output).read_line(&mut echo));
        if begun.is_err() || echo.is_empty() {
            return Err(format!("perf record: {}", recorder.problem()));
        }
        recorder.input = Some(input);
        Ok(Some(recorder))
    }

    /// Stops perf, and returns the lengths of the turns in nanoseconds.
    ///
    /// # Errors
    /// A sentence, when perf gave no record or lost a part of it.
    pub fn stop(mut self) -> Result<Vec<u64>, String> {
        drop(self.input.take());
        let ended = self.child.wait();
        if !ended.is_ok_and(|status| status.success()) {
            return Err(format!("perf record: {}", self.problem()));
        }
        let mut script = Command::new(&self.perf);
        script.args(["script", "--show-lost-events", "-F", "event,period", "-i"]);
        let output = script
            .arg(&self.data)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run {script:?}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        // A lost note would make one long turn of two.
        if text.contains("PERF_RECORD_LOST") {
            return Err("perf lost a part of the record".into());
        }
        let clocks = text.lines().filter_map(|line| {
            let (period, event) = line.trim().split_once(' ')?;
            let is_clock = event.trim_start().starts_with("task-clock");
            is_clock.then(|| period.parse().ok()).flatten()
        });
        // The first value is the time since the beginning of the record.
        Ok(clocks.skip(1).collect())
    }

    /// Returns the error that perf printed.
    fn problem(&mut self) -> String {
        let mut problem = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut problem);
        }
        let mut lines = problem.lines().map(str::trim);
        let line = lines.find(|line| line.len() > "Error:".len());
        line.unwrap_or("no record").into()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // The process may have ended by itself. In both cases `wait` removes the zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
