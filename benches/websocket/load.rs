//! The load generator wsload: starting a run, telling wsload when to send, and reading its counts
//! and errors.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::common::contest::{Load, Outcome};
use crate::common::measure::Meter;
use crate::common::server::Server;
use crate::common::tools::Tools;
use crate::scenario::{Audience, Scenario};

/// A contender under a kind of load.
pub struct Wsload<'a> {
    pub program: &'a Path,
    pub tools: &'a Tools,
    pub contender: &'static str,
    pub server: &'a Server,
    pub scenario: &'a Scenario,
    pub seconds: u32,
}

impl Load for Wsload<'_> {
    fn contender(&self) -> &'static str {
        self.contender
    }

    fn server(&self) -> &Server {
        self.server
    }

    /// Lets wsload probe the server, by a run of zero seconds.
    fn probe(&self) -> Result<(), String> {
        Run::start(self, 0).map(drop)
    }

    fn run(&self, meter: &mut dyn Meter) -> Result<Outcome, String> {
        let mut run = Run::start(self, self.seconds)?;
        meter.start()?;
        run.go_on()?;
        let first = run.next_line()?;
        meter.stop()?;
        run.go_on()?;
        let (messages, _) = first
            .split_once(" messages in ")
            .ok_or_else(|| format!("wsload said {first:?}"))?;
        let count = messages.parse().ok().filter(|count| *count > 0);
        let rest = run.rest()?;
        let errors = rest.lines().filter(|line| line.starts_with("error on "));
        let errors: Vec<_> = errors.collect();
        Ok(Outcome {
            count: count.ok_or_else(|| format!("no message was answered: {rest}"))?,
            complaint: (!errors.is_empty()).then(|| errors.join("; ")),
        })
    }
}

impl std::fmt::Display for Wsload<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}, {}", self.scenario.name, self.contender)
    }
}

/// A running wsload. The process is killed on drop.
struct Run {
    child: Child,
    orders: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Run {
    /// Starts wsload, and returns when all connections are open and the probe has succeeded.
    fn start(load: &Wsload, seconds: u32) -> Result<Self, String> {
        let scenario = load.scenario;
        let path = match scenario.audience {
            Audience::Echo => "/echo",
            Audience::Room => "/rooms/bench",
        };
        let mut command = load.tools.on_load_core(load.program);
        command.arg(format!("ws://{}{path}", load.server.address));
        command.arg("-c").arg(scenario.connections.to_string());
        command.arg("-n").arg(scenario.in_flight.to_string());
        command.arg("-s").arg(scenario.payload_bytes.to_string());
        command.arg("-d").arg(seconds.to_string()).arg("--hold");
        if scenario.audience == Audience::Room {
            command.arg("--room");
        }
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        let orders = child.stdin.take().expect("it was asked for above");
        let said = child.stdout.take().expect("it was asked for above");
        let mut run = Self {
            child,
            orders,
            said: BufReader::new(said),
        };
        match run.next_line()? {
            line if line.starts_with("ready: ") => Ok(run),
            _ => Err(run.problem()),
        }
    }

    /// Sends the line that wsload waits for.
    fn go_on(&mut self) -> Result<(), String> {
        let told = self.orders.write_all(b"\n");
        told.map_err(|error| format!("wsload is gone: {error}: {}", self.problem()))
    }

    fn next_line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let read = self.said.read_line(&mut line);
        read.map_err(|error| format!("wsload says nothing: {error}"))?;
        Ok(line)
    }

    /// Reads the rest of the output, up to the end of wsload.
    fn rest(&mut self) -> Result<String, String> {
        let mut rest = String::new();
        let read = self.said.read_to_string(&mut rest);
        read.map_err(|error| format!("wsload says nothing: {error}"))?;
        Ok(rest)
    }

    /// Returns the error that wsload printed on stderr before its end.
    fn problem(&mut self) -> String {
        let mut problem = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut problem);
        }
        let problem = problem.trim();
        problem.strip_prefix("wsload: ").unwrap_or(problem).into()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // The process may have ended by itself. In both cases `wait` removes the zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
