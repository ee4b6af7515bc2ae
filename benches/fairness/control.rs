//! The control: what the machine itself makes of a turn.
//!
//! A virtual core is not always as fast as it was a millisecond ago: the host may serve others, slow the core
//! down, or fetch memory from elsewhere, and the guest counts all of this as its own CPU time. So before the
//! loads, a process without any connections does the same piece of work again and again, where the server will run,
//! and with an `epoll_wait` after each piece. Its "turns" are recorded like those of the server. The longest of
//! them says how much of a longest turn in the table may be the machine's. Meanwhile, a second such process
//! keeps the core of the load busy.

use std::hint::black_box;
use std::io::{self, BufRead};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::common::tools::Tools;
use crate::process::this_program;

/// The only argument of a control.
pub const CONTROL: &str = "--control";

/// The length of a piece of work on an undisturbed core.
const PIECE: Duration = Duration::from_millis(1);

/// The processes of the control, which are killed on drop: that on the core of the server, and that on the
/// core of the load.
pub struct Control([Child; 2]);

impl Control {
    /// Starts the processes, and returns when both are at work.
    ///
    /// # Errors
    /// A sentence, when this program cannot be started again.
    pub fn start(tools: &Tools) -> Result<Self, String> {
        let program = this_program()?;
        let start = |mut command: Command| {
            let command = command.arg(CONTROL).stdout(Stdio::piped());
            let child = command.spawn();
            child.map_err(|error| format!("cannot run {command:?}: {error}"))
        };
        let mut control = Self([
            start(tools.on_server_core(&program))?,
            start(tools.on_load_core(&program))?,
        ]);
        for child in &mut control.0 {
            let output = child.stdout.take().expect("it was asked for above");
            let line = io::BufReader::new(output).lines().next();
            line.ok_or("the control has ended")?
                .map_err(|error| format!("the control says nothing: {error}"))?;
        }
        Ok(control)
    }

    /// The process id of the one on the core of the server.
    pub fn process(&self) -> u32 {
        self.0[0].id()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Works until the process is killed. This is the `main` of its process.
pub fn run() -> ExitCode {
    match work() {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> io::Result<std::convert::Infallible> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1);
    // The fastest of many trials was not disturbed.
    let trials = (0..200).map(|_| time_of(10_000));
    let fastest = trials.min().unwrap_or(PIECE).max(Duration::from_nanos(1));
    let steps = (10_000 * PIECE.as_nanos() / fastest.as_nanos()) as u64;
    println!("ready");
    loop {
        time_of(steps);
        poll.poll(&mut events, Some(Duration::ZERO))?;
    }
}

/// Does a piece of work of so many steps, and returns the time that it took.
fn time_of(steps: u64) -> Duration {
    let begun = Instant::now();
    black_box((0..steps).fold(1_u64, |value, step| {
        black_box(value.wrapping_mul(6_364_136_223_846_793_005) ^ step)
    }));
    begun.elapsed()
}
