//! The fairness of the loop: how long does a small request wait while other peers load the server,
//! and how long is the longest turn of the loop?
//!
//! `cargo bench --bench fairness` prints a table and takes about six minutes. For each row of
//! [`SCENARIOS`], each round starts a server, and measures twice with the same [`Probe`]: *alone*,
//! and *beside* the load. The ratio is formed between the two measurements of a round, so that
//! other work on the machine affects both sides of the division.
//!
//! The probe asks for a small file 50 times a second on a kept connection. A request is sent when
//! it is due, even if earlier answers are missing, and its latency counts from the time when it was
//! due. A stall of the server is therefore seen by every request that was due meanwhile.
//!
//! A latency carries the noise of the machine. The length of a turn carries less: it is the CPU time
//! that the server's process used from one `epoll_wait` to the next. `perf` records it, if `perf`
//! is installed and may trace system calls. Otherwise these columns are empty. The first row has no
//! server: it shows the same for pieces of work that are all equal ([`control`]).
//!
//! # Processes
//!
//! The server has one core. The probe is in this process, on the other core. The load is a process
//! of its own on the core of the probe: this program again, with the argument `--load`.
//!
//! The probe must never wait for the load, and neither the probe nor the server should wait for
//! other programs. So the two have a real-time priority, and the load is preferred to other
//! programs. Without the privilege for this, the load has the lowest priority instead, and the
//! latencies say as much about the machine as about the server.
//!
//! # The files
//!
//! `scenario` the rows of the table · `load` a function for each row · `clients` the loop of the
//! load's connections · `process` the process of the load · `probe` the small requests · `turns`
//! the lengths of turns · `work` the longest of them by its work · `control` the noise of the
//! machine · `site` the served files · `../common` the measurements and the report, shared with the
//! comparisons · `../common/frames.rs` frames of WebSocket.
mod clients;
#[path = "../common/mod.rs"]
#[expect(
    dead_code,
    reason = "the rounds and the report of a comparison are not needed"
)]
mod common;
mod control;
#[path = "../common/frames.rs"]
mod frames;
mod load;
mod probe;
mod process;
mod scenario;
mod site;
mod turns;
mod work;

use std::fs::{File, TryLockError};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use common::figures::{Spread, machine, ratios, table};
use common::options::{self, Options};
use common::programs;
use common::scratch::Scratch;
use common::tools::{self, Tools};
use control::Control;
use probe::Probe;
use process::{Load, Traffic};
use rustix::process::{Pid, Resource, getrlimit, setpriority_process, setrlimit};
use scenario::{SCENARIOS, Scenario};
use turns::Recorder;
use work::Work;

const USAGE: &str = "\
usage: cargo bench --bench fairness -- [--rounds N] [--seconds N] [--quick] [FILTER]
  --rounds N   rounds per row, each with a new server (3)
  --seconds N  how long the probe asks alone, and again beside the load (2)
  --quick      2 rounds
  FILTER       only rows whose name contains this, such as `echo` or `9,000`
environment:
  ONELOOP_BIN  another oneloop binary to measure, such as the one of yesterday";

/// The niceness of the load beside a probe with a real-time priority, and beside another one.
const PREFERRED: i32 = -10;
const LOWEST: i32 = 19;

/// How long the probe asks before the first measurement.
const WARMING: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [first, name, address] = &arguments[..]
        && first == process::LOAD
    {
        return process::run_load(name, address);
    }
    if arguments == [control::CONTROL] {
        return control::run();
    }
    // Only `cargo bench` passes this argument. `cargo test --all-targets` runs benches too.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("fairness: nothing done; run it as `cargo bench --bench fairness`");
        return ExitCode::SUCCESS;
    }
    // The last value of an option counts.
    let defaults = ["--rounds", "3", "--seconds", "2"].map(String::from);
    let options = match Options::parse(defaults.into_iter().chain(arguments)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("fairness: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match measure(&options) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("fairness: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the chosen rows, and returns the whole report.
fn measure(options: &Options) -> Result<String, String> {
    let scenarios = options::matching(&options.filter, SCENARIOS, |scenario| scenario.name)?;
    let tools = Tools::find()?;
    let _lock = wait_for_other_runs()?;
    raise_descriptor_limit();
    take_the_second_core(&tools)?;
    let privileged = set_real_time(std::process::id());
    let scratch = site::create()?;
    let mut bench = Bench {
        options,
        tools: &tools,
        scratch: &scratch,
        privileged,
        complaints: Vec::new(),
    };
    let heading = [
        "load",
        "p99 alone",
        "p99 beside",
        "÷ alone",
        "p99 turn",
        "longest turn",
        "by its work",
        "opened",
        "sent",
        "received",
    ];
    let mut cells = vec![heading.map(String::from).to_vec()];
    cells.push(bench.control_row());
    for scenario in scenarios {
        cells.extend(bench.row(scenario));
    }
    let perf = match tools::find("perf") {
        Some(perf) => tools::version(perf, "--version"),
        None => "no perf (turns not measured)".into(),
    };
    let priority = match privileged {
        true => "server and probe with a real-time priority",
        false => "the load with the lowest priority",
    };
    let mut report = format!(
        "- {}; {}, {priority}\n- {}, {perf}\n- `cargo bench --bench fairness -- \
         {options}`; medians over the rounds, least and most in brackets; latencies in µs, turns in \
         ms of CPU time\n\n{}",
        machine(),
        tools.placement(),
        programs::oneloop_version(),
        table(&cells, 1)
    );
    for complaint in &bench.complaints {
        report += &format!("\n**{complaint}**\n");
    }
    Ok(report)
}

/// The means to run a scenario.
struct Bench<'a> {
    options: &'a Options,
    tools: &'a Tools,
    scratch: &'a Scratch,
    /// Whether processes may get a real-time priority.
    privileged: bool,
    complaints: Vec<String>,
}

/// The figures of one round.
struct Round {
    /// The 99th percentile of the latency without the load, in microseconds.
    alone: f64,
    /// The same beside the load.
    beside: f64,
    /// The 99th percentile and the longest of the turns, in milliseconds. `None` without perf.
    turns: Option<(f64, f64)>,
    /// The turn with the most work: its units, and its length in milliseconds. `None` of a server that does
    /// not count its work.
    work: Option<(u64, f64)>,
    traffic: Traffic,
}

impl Bench<'_> {
    /// Runs the rounds of the row `name`, and returns the figures of those that succeed. Each round also has
    /// a summary, for a user who waits for the report.
    fn rounds<R>(
        &mut self,
        name: &str,
        mut round: impl FnMut(&mut Self) -> Result<(String, R), String>,
    ) -> Vec<R> {
        eprintln!("{name}");
        let mut rounds = Vec::new();
        for number in 1..=self.options.rounds {
            match round(self) {
                Ok((summary, figures)) => {
                    eprintln!("  round {number} of {}: {summary}", self.options.rounds);
                    rounds.push(figures);
                }
                Err(problem) => self.complain(format!("NOT FINISHED: {name}: {problem}")),
            }
        }
        rounds
    }

    /// Runs the rounds of a scenario, and returns its row, or nothing if no round succeeded.
    fn row(&mut self, scenario: &Scenario) -> Option<Vec<String>> {
        let rounds = self.rounds(scenario.name, |bench| {
            let round = bench.round(scenario)?;
            Ok((round.summary(), round))
        });
        if rounds.is_empty() {
            return None;
        }
        let of = |figure: fn(&Round) -> f64| rounds.iter().map(figure).collect::<Vec<_>>();
        let (alone, beside) = (of(|round| round.alone), of(|round| round.beside));
        let turns: Vec<_> = rounds.iter().filter_map(|round| round.turns).collect();
        let [high, longest] = turn_cells(&turns);
        let work = rounds.iter().filter_map(|round| round.work);
        let by_work = cell(work.map(|(_, longest)| longest).collect());
        let median = |values| Spread::of(values).median;
        let whole = |spread: Spread| {
            let Spread {
                least,
                median,
                most,
            } = spread;
            format!("{median:.0} ({least:.0}–{most:.0})")
        };
        Some(vec![
            scenario.name.into(),
            format!("{:.0}", median(alone.clone())),
            whole(Spread::of(beside.clone())),
            tenths(&Spread::of(ratios(&beside, &alone))),
            high,
            longest,
            by_work,
            format!("{:.0}", median(of(|round| round.traffic.opened))),
            format!("{:.0} MB/s", median(of(|round| round.traffic.sent))),
            format!("{:.0} MB/s", median(of(|round| round.traffic.received))),
        ])
    }

    /// Measures alone and beside the load, with a new server.
    fn round(&mut self, scenario: &Scenario) -> Result<Round, String> {
        let time = Duration::from_secs(self.options.seconds.into());
        let root = site::root(self.scratch);
        let flags = ["--quiet", "--test-endpoints", "--metrics"];
        let server = programs::start_oneloop_with(self.tools, &root, &flags)?;
        if self.privileged {
            set_real_time(server.process());
        }
        let mut probe = Probe::open(server.address)?;
        probe.run(WARMING)?;
        let alone = high(probe.run(time)?);
        let mut load = Load::start(self.tools, scenario, server.address)?;
        let niceness = if self.privileged { PREFERRED } else { LOWEST };
        set_niceness(load.process(), niceness);
        if let Some(note) = load.note.take() {
            self.complain(format!("{}: {note}", scenario.name));
        }
        let recorder = Recorder::start(self.tools, self.scratch, server.process());
        let recorder = match recorder {
            Ok(recorder) => recorder,
            Err(problem) => {
                self.complain(format!("NO TURNS: {problem}"));
                None
            }
        };
        let before = Work::of(&server);
        load.go()?;
        thread::sleep(scenario.lead);
        let beside = high(probe.run(time)?);
        let traffic = load.finish()?;
        let work = match (before, Work::of(&server)) {
            (Ok(before), Ok(after)) => Some((after.most, after.longest(&before))),
            (Err(problem), _) | (_, Err(problem)) => {
                self.complain(format!("NO WORK: {problem}"));
                None
            }
        };
        let turns = match recorder.map(Recorder::stop).transpose() {
            Ok(turns) => turns.filter(|turns| !turns.is_empty()),
            Err(problem) => {
                self.complain(format!("NO TURNS: {}: {problem}", scenario.name));
                None
            }
        };
        Ok(Round {
            alone: alone / 1e3,
            beside: beside / 1e3,
            turns: turns.map(high_and_longest),
            work,
            traffic,
        })
    }

    /// Runs the rounds of the control, and returns their row.
    fn control_row(&mut self) -> Vec<String> {
        const NAME: &str = "no server: pieces of 1 ms";
        let rounds = self.rounds(NAME, |bench| {
            let turns = bench.control_round()?;
            let summary = match turns {
                Some((high, longest)) => format!("p99 {high:.2} ms, longest {longest:.2} ms"),
                None => "not measured".into(),
            };
            Ok((summary, turns))
        });
        let turns: Vec<_> = rounds.into_iter().flatten().collect();
        let [high, longest] = turn_cells(&turns);
        let none = || "–".to_string();
        let mut row = vec![NAME.into(), none(), none(), none(), high, longest];
        row.resize_with(10, none);
        row
    }

    /// Measures the pieces of the control, where the server will run. `None` without perf.
    fn control_round(&self) -> Result<Option<(f64, f64)>, String> {
        let control = Control::start(self.tools)?;
        if self.privileged {
            set_real_time(control.process());
        }
        let recorder = Recorder::start(self.tools, self.scratch, control.process())?;
        thread::sleep(Duration::from_secs(self.options.seconds.into()));
        let turns = recorder.map(Recorder::stop).transpose()?;
        Ok(turns
            .filter(|turns| !turns.is_empty())
            .map(high_and_longest))
    }

    /// Prints a complaint at once, and keeps it for the report, once.
    fn complain(&mut self, complaint: String) {
        eprintln!("  {complaint}");
        if !self.complaints.contains(&complaint) {
            self.complaints.push(complaint);
        }
    }
}

impl Round {
    /// Describes the round, for a user who waits for the report.
    fn summary(&self) -> String {
        let turns = match self.turns {
            Some((high, longest)) => format!("; turns {high:.2} ms, longest {longest:.2} ms"),
            None => String::new(),
        };
        let work = match self.work {
            Some((units, longest)) => format!("; most work {units} units, {longest:.2} ms"),
            None => String::new(),
        };
        let Traffic {
            opened,
            sent,
            received,
        } = self.traffic;
        format!(
            "p99 {:.0} µs alone, {:.0} µs beside{turns}{work}; {opened} opened, {sent:.0} MB/s sent, \
             {received:.0} MB/s received",
            self.alone, self.beside
        )
    }
}

/// Returns the 99th percentile and the longest of some turns, at least one, in milliseconds.
fn high_and_longest(turns: Vec<u64>) -> (f64, f64) {
    let longest = turns.iter().copied().max().unwrap_or_default();
    (high(turns) / 1e6, longest as f64 / 1e6)
}

/// Writes the two cells about the turns of some rounds.
fn turn_cells(rounds: &[(f64, f64)]) -> [String; 2] {
    let (high, longest) = rounds.iter().copied().unzip();
    [cell(high), cell(longest)]
}

/// Writes the spread of the values of some rounds, if there are any.
fn cell(values: Vec<f64>) -> String {
    match values.is_empty() {
        true => "–".into(),
        false => Spread::of(values).to_string(),
    }
}

/// Returns the 99th percentile of some values, at least one.
fn high(mut values: Vec<u64>) -> f64 {
    values.sort_unstable();
    values[(values.len() * 99).div_ceil(100) - 1] as f64
}

/// Writes a spread with one digit after the point.
fn tenths(spread: &Spread) -> String {
    let Spread {
        least,
        median,
        most,
    } = spread;
    format!("{median:.1} ({least:.1}–{most:.1})")
}

/// Waits until no other run of this bench is in progress on the machine. Two servers with the same
/// real-time priority on a core would wait for each other. The lock ends with the returned file.
///
/// # Errors
/// A sentence, when there can be no lock.
fn wait_for_other_runs() -> Result<File, String> {
    let path = std::env::temp_dir().join("oneloop-fairness.lock");
    let locked = || -> std::io::Result<File> {
        let file = File::create(&path)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            eprintln!("another run is in progress; waiting for its end");
        }
        file.lock()?;
        Ok(file)
    };
    locked().map_err(|error| format!("cannot lock {}: {error}", path.display()))
}

/// Moves this process, with the probe, to the core of the load, away from the server.
fn take_the_second_core(tools: &Tools) -> Result<(), String> {
    let mut taskset = Command::new("taskset");
    taskset.args(["--cpu-list", "--pid", &tools.load_core.to_string()]);
    taskset.arg(std::process::id().to_string());
    match taskset.stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        problem => Err(format!("{taskset:?} failed: {problem:?}")),
    }
}

/// Gives a real-time priority to a process, but not to its future children. Returns whether this is
/// allowed, and `chrt` is installed.
fn set_real_time(process: u32) -> bool {
    let mut chrt = Command::new("chrt");
    chrt.args(["--reset-on-fork", "--fifo", "--pid", "1"]);
    chrt.arg(process.to_string());
    let quiet = chrt.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

fn set_niceness(process: u32, niceness: i32) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    let _ = setpriority_process(process, niceness);
}

/// Raises the limit on descriptors. The load and the server inherit the limit.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
