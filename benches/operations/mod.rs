//! The shared parts of `codec` and `turns`: the cost of an operation that needs no kernel, in
//! instructions and in time.
//!
//! `count` counts instructions, with callgrind · `time` measures in short rounds · `report` the
//! tables · `options` the command line · `../common/figures.rs` medians and tables ·
//! `../common/scratch.rs` a temporary directory.
mod count;
#[path = "../common/figures.rs"]
mod figures;
mod options;
mod report;
#[path = "../common/scratch.rs"]
mod scratch;
mod time;

use std::process::ExitCode;

use options::{Options, Task};

/// An operation to be repeated. Everything that a repetition needs is prepared.
pub type Operation = Box<dyn FnMut()>;

/// Prepares an operation.
pub type Prepare = fn() -> Operation;

/// A row of the table: an operation of oneloop.
pub struct Row {
    pub name: &'static str,
    /// The number of requests or messages in one call of the operation. The figures are for a
    /// single request or message.
    pub units: u32,
    /// The largest number of instructions that `--check` allows: about 1.1 times the number at the
    /// time of writing.
    pub ceiling: u64,
    pub ours: Prepare,
    /// The same operation of a library, with the name of the library.
    pub theirs: Option<(&'static str, Prepare)>,
}

/// Runs the whole program `bench`.
pub fn main(bench: &str, rows: &[Row]) -> ExitCode {
    // Only `cargo bench` passes this argument. `cargo test --all-targets` runs benches too.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("{bench}: nothing done; run it as `cargo bench --bench {bench}`");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{bench}: {problem}\n{}", options::usage(bench));
            return ExitCode::from(2);
        }
    };
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row.name.contains(&options.filter))
        .collect();
    if rows.is_empty() {
        eprintln!("{bench}: no operation contains {:?}", options.filter);
        return ExitCode::from(2);
    }
    let done = match options.task {
        Task::Help => Ok(options::usage(bench)),
        Task::Work => {
            count::work(&rows, !options.ours_only);
            return ExitCode::SUCCESS;
        }
        Task::Check => report::check(&rows, &options),
        Task::Report => report::report(bench, &rows, &options),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{bench}: {problem}");
            ExitCode::FAILURE
        }
    }
}
