//! What the comparisons have in common: the rounds, what is measured, the report.
//!
//! `contest` the rounds of one scenario, and what a load generator must be able to do · `measure` a
//! process's CPU time and system calls · `report` medians and the table · `options` the command line ·
//! `server` one running process · `programs` those of this package · `tools` those it leans on ·
//! `scratch` a directory for what comes up.

pub mod contest;
pub mod measure;
pub mod options;
pub mod programs;
pub mod report;
pub mod scratch;
pub mod server;
pub mod tools;

use std::process::ExitCode;

use options::Options;

/// The contender everybody is divided by.
pub const LIMIT: &str = "limit";

/// What one comparison is called and what it counts.
pub struct Comparison {
    /// As `cargo bench --bench` has it.
    pub bench: &'static str,
    /// What a cost is the cost of: a request, a message.
    pub unit: &'static str,
    /// The contenders the report divides by, the limit first.
    pub divisors: &'static [&'static str],
    /// Examples of a filter, for the usage.
    pub filters: &'static str,
}

impl Comparison {
    /// The whole program: `compare` runs what the options chose, and gives the report.
    pub fn main(&self, compare: impl FnOnce(&Options) -> Result<String, String>) -> ExitCode {
        let Self { bench, filters, .. } = self;
        // Only `cargo bench` passes this. `cargo test --all-targets` runs benches too, and minutes of
        // load are not what it is asked for.
        if !std::env::args().any(|argument| argument == "--bench") {
            println!("{bench}: nothing done; run it as `cargo bench --bench {bench}`");
            return ExitCode::SUCCESS;
        }
        let options = match Options::parse(std::env::args().skip(1)) {
            Ok(Some(options)) => options,
            Ok(None) => {
                println!("{}", options::usage(bench, filters));
                return ExitCode::SUCCESS;
            }
            Err(problem) => {
                eprintln!("{bench}: {problem}\n{}", options::usage(bench, filters));
                return ExitCode::from(2);
            }
        };
        match compare(&options) {
            Ok(report) => {
                println!("{report}");
                ExitCode::SUCCESS
            }
            Err(problem) => {
                eprintln!("{bench}: {problem}");
                ExitCode::FAILURE
            }
        }
    }
}
