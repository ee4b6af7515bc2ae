//! What one run cost the server's process: CPU time by the scheduler, system calls by strace.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::scratch::Scratch;
use super::tools::Tools;

/// What is read off a server's process while it is under load. Started and stopped once.
pub trait Meter {
    fn start(&mut self) -> Result<(), String>;
    fn stop(&mut self) -> Result<(), String>;
}

/// Nanoseconds of CPU time, in user space and kernel together.
pub struct CpuTime {
    process: u32,
    before: u64,
    /// Once it is stopped.
    pub spent: u64,
}

impl CpuTime {
    pub fn of(process: u32) -> Self {
        Self {
            process,
            before: 0,
            spent: 0,
        }
    }
}

impl Meter for CpuTime {
    fn start(&mut self) -> Result<(), String> {
        self.before = cpu_nanoseconds(self.process)?;
        Ok(())
    }

    fn stop(&mut self) -> Result<(), String> {
        // The scheduler brings its sum up to date when the process goes to sleep, and what it still has
        // to do for the load that has just ended is part of the load.
        thread::sleep(Duration::from_millis(20));
        self.spent = cpu_nanoseconds(self.process)? - self.before;
        Ok(())
    }
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

/// System calls, all threads together.
pub struct SystemCalls<'a> {
    process: u32,
    tools: &'a Tools,
    /// What strace writes at its end.
    summary: PathBuf,
    tracer: Option<Tracer>,
    /// Once it is stopped; `None` without strace.
    pub calls: Option<u64>,
}

impl<'a> SystemCalls<'a> {
    pub fn of(process: u32, tools: &'a Tools, scratch: &Scratch) -> Self {
        Self {
            process,
            tools,
            summary: scratch.path().join("strace.txt"),
            tracer: None,
            calls: None,
        }
    }
}

impl Meter for SystemCalls<'_> {
    fn start(&mut self) -> Result<(), String> {
        if let Some(strace) = &self.tools.strace {
            let tracer = Tracer::attach(self.process, self.tools, strace, &self.summary)?;
            self.tracer = Some(tracer);
        }
        Ok(())
    }

    fn stop(&mut self) -> Result<(), String> {
        if let Some(tracer) = self.tracer.take() {
            tracer.detach()?;
            let text = fs::read_to_string(&self.summary).unwrap_or_default();
            let calls = total_calls(&text);
            self.calls = Some(calls.ok_or_else(|| format!("strace gave no total: {text:?}"))?);
        }
        Ok(())
    }
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
    fn attach(process: u32, tools: &Tools, strace: &Path, summary: &Path) -> Result<Self, String> {
        // Where the server runs: the two take turns anyway, and beside the load strace would starve it.
        let mut command = tools.on_server_core(strace);
        command.args(["-c", "-f", "-o"]).arg(summary);
        command.args(["-p", &process.to_string()]);
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
