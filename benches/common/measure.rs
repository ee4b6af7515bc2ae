//! The cost of one run for the server's process: CPU time from the scheduler, and system calls from
//! strace.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::scratch::Scratch;
use super::tools::Tools;

/// A measurement of a server's process under load. It is started once and stopped once.
pub trait Meter {
    fn start(&mut self) -> Result<(), String>;
    fn stop(&mut self) -> Result<(), String>;
}

/// CPU time in nanoseconds, in user space and kernel together.
pub struct CpuTime {
    process: u32,
    before: u64,
    /// The result, after `stop`.
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
        // The scheduler updates its sum when the process goes to sleep. Besides, the work that the
        // server still does for the finished load is a part of the load.
        thread::sleep(Duration::from_millis(20));
        self.spent = cpu_nanoseconds(self.process)? - self.before;
        Ok(())
    }
}

/// Returns the time that the threads of `process` have run, from the first field of `schedstat`.
/// This field counts nanoseconds, `/proc/PID/stat` only hundredths of a second. The time of a
/// finished thread is missing from the sum. The measured servers have a single thread.
pub fn cpu_nanoseconds(process: u32) -> Result<u64, String> {
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

/// The number of system calls of the whole process.
pub struct SystemCalls<'a> {
    process: u32,
    tools: &'a Tools,
    /// The file for the summary of strace.
    summary: PathBuf,
    tracer: Option<Tracer>,
    /// The result, after `stop`. `None` without strace.
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

/// Returns the number in column `calls` of the line `total`. Other columns may be blank or absent,
/// but each number ends below the end of its heading.
fn total_calls(summary: &str) -> Option<u64> {
    let heading = summary.lines().find(|line| line.starts_with("% time"))?;
    let end = heading.find("calls ")? + "calls".len();
    let total = summary.lines().rfind(|line| line.ends_with(" total"))?;
    total.get(..end)?.split_whitespace().last()?.parse().ok()
}

/// A running `strace -c`. On drop strace is killed, and the server goes on without a tracer.
struct Tracer {
    child: Child,
    /// The standard error of strace. It stays open, because strace prints a line when it is
    /// interrupted, and a closed pipe would end strace before the summary is written.
    said: BufReader<ChildStderr>,
}

impl Tracer {
    /// Starts strace, and returns when it is attached to `process`.
    fn attach(process: u32, tools: &Tools, strace: &Path, summary: &Path) -> Result<Self, String> {
        // On the server's core, because strace and the server take turns anyway. On the other core,
        // strace would take the time of the load generator.
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

    /// Interrupts strace, which then detaches from the server and writes its summary.
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
