//! The process of the load, and the few lines that it exchanges with the bench: `ready` when the
//! connections are open, an empty line to begin, an empty line to end, and the counts.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Instant;

use crate::common::tools::Tools;
use crate::scenario::{SCENARIOS, Scenario};

/// The first argument of a load. The others are the name of a scenario and the server's address.
pub const LOAD: &str = "--load";

const READY: &str = "ready";

/// What a load did.
pub struct Traffic {
    /// The number of connections, also before the beginning.
    pub opened: f64,
    /// Megabytes per second.
    pub sent: f64,
    /// Megabytes per second.
    pub received: f64,
}

/// A running load, as the bench sees it. The process is killed on drop.
pub struct Load {
    child: Child,
    orders: ChildStdin,
    said: BufReader<ChildStdout>,
    /// What the load cannot do as its name says.
    pub note: Option<String>,
}

impl Load {
    /// Starts the load, and returns when it is ready.
    ///
    /// # Errors
    /// A sentence, when the load cannot begin.
    pub fn start(tools: &Tools, scenario: &Scenario, server: SocketAddr) -> Result<Self, String> {
        let mut command = tools.on_load_core(this_program()?);
        command.args([LOAD, scenario.name, &server.to_string()]);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        let orders = child.stdin.take().expect("it was asked for above");
        let said = child.stdout.take().expect("it was asked for above");
        let mut load = Self {
            child,
            orders,
            said: BufReader::new(said),
            note: None,
        };
        let line = load.next_line()?;
        let note = line.strip_prefix(READY).ok_or_else(|| load.problem())?;
        load.note = Some(note.trim().to_string()).filter(|note| !note.is_empty());
        Ok(load)
    }

    /// The process id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Lets the load begin.
    ///
    /// # Errors
    /// A sentence, when the load has ended.
    pub fn go(&mut self) -> Result<(), String> {
        let told = self.orders.write_all(b"\n");
        told.map_err(|_| self.problem())
    }

    /// Ends the load.
    ///
    /// # Errors
    /// A sentence, when the load has ended before.
    pub fn finish(mut self) -> Result<Traffic, String> {
        self.go()?;
        let line = self.next_line()?;
        let numbers = line.split_whitespace().map(str::parse);
        match numbers.collect::<Result<Vec<_>, _>>().as_deref() {
            Ok(&[opened, sent, received]) => Ok(Traffic {
                opened,
                sent,
                received,
            }),
            _ => Err(self.problem()),
        }
    }

    fn next_line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let read = self.said.read_line(&mut line);
        read.map_err(|error| format!("the load says nothing: {error}"))?;
        Ok(line)
    }

    /// Returns the error with which the load has ended.
    fn problem(&mut self) -> String {
        let mut problem = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut problem);
        }
        format!("the load ended: {}", problem.trim())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // The process may have ended by itself. In both cases `wait` removes the zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the path of this bench, which is the program of its other processes too.
///
/// # Errors
/// A sentence, when the system does not tell the path.
pub fn this_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))
}

/// The counts of the load, in the process of the load.
pub static OPENED: AtomicU64 = AtomicU64::new(0);
pub static SENT: AtomicU64 = AtomicU64::new(0);
pub static RECEIVED: AtomicU64 = AtomicU64::new(0);

/// Runs a load. This is the `main` of its process.
pub fn run_load(name: &str, address: &str) -> ExitCode {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let (Some(scenario), Ok(address)) = (scenario, address.parse()) else {
        eprintln!("no load {name:?} for {address}");
        return ExitCode::from(2);
    };
    // A load runs until the bench ends it.
    if let Err(error) = (scenario.load)(address) {
        eprintln!("{error}");
    }
    ExitCode::FAILURE
}

/// Tells the bench that the load is ready, and waits for the beginning. `note` says what is not as
/// the name of the load says.
///
/// # Errors
/// The errors of the pipes to the bench.
pub fn ready(note: &str) -> io::Result<()> {
    let wait = || io::stdin().read_line(&mut String::new());
    println!("{READY} {note}");
    io::stdout().flush()?;
    wait()?;
    SENT.store(0, Relaxed);
    RECEIVED.store(0, Relaxed);
    let began = Instant::now();
    thread::spawn(move || {
        let _ = wait();
        let seconds = began.elapsed().as_secs_f64();
        let rate = |bytes: &AtomicU64| bytes.load(Relaxed) as f64 / 1e6 / seconds;
        println!(
            "{} {} {}",
            OPENED.load(Relaxed),
            rate(&SENT),
            rate(&RECEIVED)
        );
        std::process::exit(0);
    });
    Ok(())
}
