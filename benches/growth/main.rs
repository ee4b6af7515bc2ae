//! The growth of the cost of a request: with more connections, files, rooms or fields, does the
//! server work more for each request?
//!
//! `cargo bench --bench growth` prints a table of `benches/README.md` and takes about 80 s. For
//! each size of a [`Scenario`], a server is started. Each round loads every server for a moment,
//! every second round in reverse order, and the CPU time per request is divided by that of the
//! smallest size in the same round. Other work on the machine then hits both sides of the division.
//! System calls are counted by strace in a run of its own. `benches/versus` gives the reasons for
//! these two measurements.
//!
//! The clients are in this process, on the second core. Most scenarios send one request at a time
//! and wait for its answer, so that a request costs the same system calls at every size: with many
//! requests at a time, one `epoll_wait` finds many of them, and a large size would look cheap.
//!
//! # The files
//!
//! `scenario` the sizes, a table that grows by rows · `load` the clients · `../common` the
//! measurements, shared with the comparisons · `../tools/wire.rs` the frames.
#[path = "../common/mod.rs"]
#[expect(
    dead_code,
    reason = "the rounds and the report of a comparison are not needed"
)]
mod common;
#[path = "../common/heads.rs"]
#[expect(
    dead_code,
    reason = "a browser also asks for content codings, which would be a second difference"
)]
mod heads;
mod load;
mod scenario;
#[path = "../tools/wire.rs"]
mod wire;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use common::figures::{Spread, machine, ratios, table};
use common::measure::{CpuTime, Meter, SystemCalls};
use common::programs;
use common::scratch::Scratch;
use common::tools::Tools;
use load::Load;
use rustix::process::{Resource, getrlimit, setrlimit};
use scenario::{SCENARIOS, Scenario};

const USAGE: &str = "\
usage: cargo bench --bench growth -- [--quick] [FILTER]
  --quick  2 rounds, and no size above 10,000: does it work at all?
  FILTER   only scenarios whose name contains this, such as `files`
environment:
  ONELOOP_BIN  another oneloop binary to measure, such as the one of yesterday";

/// How long a run lasts.
const RUN: Duration = Duration::from_millis(300);

struct Options {
    rounds: usize,
    size_max: usize,
    filter: String,
}

fn main() -> ExitCode {
    // Only `cargo bench` passes this argument. `cargo test --all-targets` runs benches too.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("growth: nothing done; run it as `cargo bench --bench growth`");
        return ExitCode::SUCCESS;
    }
    let mut options = Options {
        rounds: 9,
        size_max: usize::MAX,
        filter: String::new(),
    };
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--bench" => {} // Cargo adds this one.
            "--quick" => (options.rounds, options.size_max) = (2, 10_000),
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            flag if flag.starts_with('-') => {
                eprintln!("growth: unknown option {flag}\n{USAGE}");
                return ExitCode::from(2);
            }
            _ => options.filter = argument,
        }
    }
    match measure(&options) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("growth: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the chosen scenarios, and returns the whole report.
fn measure(options: &Options) -> Result<String, String> {
    let tools = Tools::find()?;
    // On a disk, 100,000 files may take minutes to write and to delete.
    let memory = Path::new("/dev/shm");
    let scratch = match memory.is_dir() {
        true => Scratch::create_in(memory, "growth")?,
        false => Scratch::create("growth")?,
    };
    take_the_second_core(&tools)?;
    raise_descriptor_limit();
    let heading = [
        "scenario",
        "size",
        "CPU per request",
        "÷ smallest",
        "growth",
        "system calls",
    ];
    let mut cells = vec![heading.map(String::from).to_vec()];
    for scenario in SCENARIOS {
        if scenario.name.contains(&options.filter) {
            cells.extend(rows(scenario, &tools, &scratch, options)?);
        }
    }
    Ok(format!(
        "- {}; {}\n- {}, {}\n- `cargo bench --bench growth`; medians of {} rounds of {} ms, least \
         and most in brackets\n\n{}",
        machine(),
        tools.placement(),
        programs::oneloop_version(),
        tools.versions(),
        options.rounds,
        RUN.as_millis(),
        table(&cells, 1)
    ))
}

/// Runs a scenario, and returns a row of the table for each size.
fn rows(
    scenario: &Scenario,
    tools: &Tools,
    scratch: &Scratch,
    options: &Options,
) -> Result<Vec<Vec<String>>, String> {
    eprintln!("{}", scenario.name);
    let sizes = scenario.sizes.iter().copied();
    let sizes: Vec<_> = sizes.filter(|size| *size <= options.size_max).collect();
    let mut loads = Vec::new();
    for size in &sizes {
        load::write_files(scenario, *size, scratch)?;
    }
    // The largest comes first, because it takes long, and an idle connection is closed after 30 s.
    for size in sizes.iter().rev() {
        loads.push(Load::start(scenario, *size, tools, scratch)?);
    }
    loads.reverse();
    let mut calls = Vec::new();
    for load in &mut loads {
        let mut meter = SystemCalls::of(load.process(), tools, scratch);
        let requests = run(load, &mut meter)?;
        calls.push(meter.calls.map(|calls| calls as f64 / requests));
    }
    let mut nanoseconds = vec![Vec::new(); sizes.len()];
    for round in 0..options.rounds {
        let mut order: Vec<_> = (0..sizes.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let mut meter = CpuTime::of(loads[index].process());
            let requests = run(&mut loads[index], &mut meter)?;
            nanoseconds[index].push(meter.spent as f64 / requests);
        }
    }
    let row = |index: usize| {
        let ratio = Spread::of(ratios(&nanoseconds[index], &nanoseconds[0]));
        let median = Spread::of(nanoseconds[index].clone()).median;
        let (name, ratio, verdict) = match index {
            0 => (scenario.name, "1".into(), String::new()),
            _ => ("", ratio.to_string(), verdict(&ratio)),
        };
        vec![
            name.into(),
            sizes[index].to_string(),
            format!("{:.2} µs", median / 1000.0),
            ratio,
            verdict,
            calls[index].map_or("–".into(), |calls| format!("{calls:.2}")),
        ]
    };
    Ok((0..sizes.len()).map(row).collect())
}

/// Names a ratio: within a tenth, the cost is flat.
fn verdict(ratio: &Spread) -> String {
    match ratio.median {
        ..1.1 => "flat".into(),
        median => format!("× {median:.1}"),
    }
}

/// Loads a server for the time of a run, and returns the number of requests.
fn run(load: &mut Load, meter: &mut impl Meter) -> Result<f64, String> {
    meter.start()?;
    let requests = load.run(RUN)?;
    meter.stop()?;
    Ok(requests as f64)
}

/// Moves this process to the core of the load, away from the servers.
fn take_the_second_core(tools: &Tools) -> Result<(), String> {
    let mut taskset = Command::new("taskset");
    taskset.args(["--cpu-list", "--pid", &tools.load_core.to_string()]);
    taskset.arg(std::process::id().to_string());
    match taskset.stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        problem => Err(format!("{taskset:?} failed: {problem:?}")),
    }
}

/// Raises the limit on descriptors, because all clients are in this process.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
