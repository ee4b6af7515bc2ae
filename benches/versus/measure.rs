//! What one run cost the server's process: CPU time by the scheduler, system calls by strace.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::load::{Load, Outcome};
use crate::site::Site;

/// A run, and what one of its requests cost.
pub struct Measured {
    pub per_request: f64,
    pub outcome: Outcome,
}

/// Nanoseconds of CPU time per request, in user space and kernel together.
///
/// Replies that wrk no longer waited for at its end are in the time but not in the count: about a
/// hundredth of a second's 10 MiB replies, nothing of the small ones, and the same for every server.
pub fn cpu_time(load: &Load) -> Result<Measured, String> {
    let process = load.contender.server.process();
    let before = cpu_nanoseconds(process)?;
    let outcome = load.run()?;
    // The scheduler brings its sum up to date when the process goes to sleep, and the closing of wrk's
    // connections is part of the run that opened them.
    thread::sleep(Duration::from_millis(20));
    let spent = cpu_nanoseconds(process)? - before;
    let per_request = spent as f64 / outcome.requests as f64;
    Ok(Measured {
        per_request,
        outcome,
    })
}

/// The time all threads of `process` ran, from the first field of `schedstat`: to the nanosecond,
/// where `/proc/PID/stat` counts hundredths of a second. A thread that has ended took its time along;
/// these servers have one thread, and it stays.
fn cpu_nanoseconds(process: u32) -> Result<u64, String> {
    let tasks = format!("/proc/{process}/task");
    let unreadable = |error| format!("no CPU time in {tasks}/*/schedstat: {error}");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).map_err(unreadable)? {
        let path = task.map_err(unreadable)?.path().join("schedstat");
        let text = fs::read_to_string(path).map_err(unreadable)?;
        let first = text
            .split(' ')
            .next()
            .and_then(|field| field.parse::<u64>().ok());
        sum += first.ok_or_else(|| format!("{tasks}/*/schedstat says {text:?}"))?;
    }
    Ok(sum)
}

/// System calls per request, all threads together. Without strace the run is made all the same, since
/// it is also what warms the server, and `None` given.
pub fn system_calls(load: &Load, site: &Site) -> Result<Option<Measured>, String> {
    let Some(strace) = &load.tools.strace else {
        return load.run().map(|_| None);
    };
    let summary = site.directory().join("strace.txt");
    let tracer = Tracer::attach(load, strace, &summary)?;
    let outcome = load.run()?;
    tracer.detach()?;
    let text = fs::read_to_string(&summary).unwrap_or_default();
    let calls = total_calls(&text).ok_or_else(|| format!("strace gave no total: {text:?}"))?;
    let per_request = calls as f64 / outcome.requests as f64;
    Ok(Some(Measured {
        per_request,
        outcome,
    }))
}

/// The `calls` column of the `total` line. The columns around it may be blank or absent, but numbers
/// end where their heading ends.
fn total_calls(summary: &str) -> Option<u64> {
    let heading = summary.lines().find(|line| line.starts_with("% time"))?;
    let end = heading.find("calls ")? + "calls".len();
    let total = summary.lines().rfind(|line| line.ends_with(" total"))?;
    total.get(..end)?.split_whitespace().last()?.parse().ok()
}

/// A strace that counts, killed when dropped: the server then runs on untraced.
struct Tracer {
    child: Child,
    /// Held open: what strace says at its end must not end it before the summary is written.
    said: BufReader<ChildStderr>,
}

impl Tracer {
    /// Returns once strace is attached.
    fn attach(load: &Load, strace: &Path, summary: &Path) -> Result<Self, String> {
        // Where the server runs: the two take turns anyway, and beside wrk strace would starve it.
        let mut command = load.tools.on_server_core(strace);
        command.args(["-c", "-f", "-o"]).arg(summary);
        command.args(["-p", &load.contender.server.process().to_string()]);
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        let said = child.stderr.take().expect("it was asked for a line above");
        let mut tracer = Self {
            child,
            said: BufReader::new(said),
        };
        let mut line = String::new();
        match tracer.said.read_line(&mut line) {
            Ok(_) if line.contains("attached") => Ok(tracer),
            _ => Err(format!("{command:?} did not attach: {line}")),
        }
    }

    /// Interrupted, strace lets go of the server and writes its summary.
    fn detach(mut self) -> Result<(), String> {
        let stopped = kill_process(Pid::from_child(&self.child), Signal::INT)
            .map_err(std::io::Error::from)
            .and_then(|()| self.child.wait());
        stopped
            .map(drop)
            .map_err(|error| format!("cannot stop strace: {error}"))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
