//! The shared parts of the comparisons: the rounds, the measurements, the report.
//!
//! `contest` the rounds of a scenario, and the trait of a load generator · `measure` CPU time and
//! system calls of a process · `report` the table of a comparison · `figures` medians and tables ·
//! `options` the command line · `server` a running process · `programs` the programs of this
//! package · `tools` the programs from elsewhere · `scratch` a temporary directory.

pub mod contest;
pub mod figures;
pub mod measure;
pub mod options;
pub mod programs;
pub mod report;
pub mod scratch;
pub mod server;
pub mod tools;

use std::process::ExitCode;

use options::Options;

/// The name of the contender by whose CPU time the report divides the others.
pub const LIMIT: &str = "limit";

/// The name and the unit of a comparison.
pub struct Comparison {
    /// The name for `cargo bench --bench`.
    pub bench: &'static str,
    /// The unit of the costs: a request or a message.
    pub unit: &'static str,
    /// The contenders by whose costs the report divides. The limit comes first.
    pub divisors: &'static [&'static str],
    /// Examples of filters, for the usage message.
    pub filters: &'static str,
}

impl Comparison {
    /// Runs the whole program. `compare` runs the chosen scenarios and returns the report.
    pub fn main(&self, compare: impl FnOnce(&Options) -> Result<String, String>) -> ExitCode {
        let Self { bench, filters, .. } = self;
        // Only `cargo bench` passes this argument. `cargo test --all-targets` runs benches too, and
        // a test run must not load the machine for minutes.
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
