//! The rounds of a scenario, in which the contenders take turns.

use std::fmt::Display;

use super::measure::{CpuTime, Meter, SystemCalls};
use super::options::Options;
use super::report::Row;
use super::scratch::Scratch;
use super::server::Server;
use super::tools::Tools;

/// A contender under a kind of load. `Display` names both.
pub trait Load: Display {
    /// The contender's name.
    fn contender(&self) -> &'static str;

    /// The contender's server.
    fn server(&self) -> &Server;

    /// Checks one answer of the contender, because the time of a wrong answer means nothing.
    ///
    /// # Errors
    /// A sentence that says how the answer is wrong.
    fn probe(&self) -> Result<(), String>;

    /// Loads the server for a while. `meter` runs during the part of the load whose cost counts.
    ///
    /// # Errors
    /// A sentence, when the run gave no count.
    fn run(&self, meter: &mut dyn Meter) -> Result<Outcome, String>;
}

/// The result of a run, counted by the load generator.
pub struct Outcome {
    /// The number of answered requests or messages. Never zero.
    pub count: u64,
    /// The errors that the load generator reports. A count with a complaint is not reliable.
    pub complaint: Option<String>,
}

/// A scenario, and the means to run every contender in it.
pub struct Contest<'a> {
    pub options: &'a Options,
    pub tools: &'a Tools,
    pub scratch: &'a Scratch,
    pub scenario: &'static str,
}

impl Contest<'_> {
    /// Probes every contender, counts its system calls (which also warms the server), then measures
    /// its CPU time in rounds. A contender that answers wrongly or fails in a run is left out. Each
    /// omission and each error of the load generator is added to `complaints`.
    pub fn run<L: Load>(&self, candidates: Vec<L>, complaints: &mut Vec<String>) -> Vec<Row> {
        eprintln!("{}", self.scenario);
        let mut entrants = Vec::new();
        for load in candidates {
            if let Err(wrong) = load.probe() {
                complain(complaints, format!("LEFT OUT: {load}: {wrong}"));
                continue;
            }
            match self.system_calls(&load, complaints) {
                Ok(calls) => {
                    let row = Row::new(self.scenario, load.contender(), calls);
                    entrants.push((load, row));
                }
                Err(problem) => complain(complaints, format!("NOT FINISHED: {load}: {problem}")),
            }
        }
        let rounds = self.options.rounds;
        for round in 1..=rounds {
            for index in order(entrants.len(), round) {
                let (load, row) = &mut entrants[index];
                match cpu_time(load, complaints) {
                    Ok(cost) => row.nanoseconds.push(cost),
                    Err(problem) => {
                        complain(complaints, format!("NOT FINISHED: {load}: {problem}"));
                    }
                }
            }
            // A ratio needs both contenders in every round.
            entrants.retain(|(_, row)| row.nanoseconds.len() == round);
            let latest = entrants.iter().map(|(_, row)| row.latest());
            let latest = latest.collect::<Vec<_>>().join("; ");
            eprintln!("  round {round} of {rounds}: {latest}");
        }
        entrants.into_iter().map(|(_, row)| row).collect()
    }

    /// Returns the number of system calls per unit, or `None` without strace. The run takes place
    /// in both cases, because the run also warms the server.
    fn system_calls(
        &self,
        load: &impl Load,
        complaints: &mut Vec<String>,
    ) -> Result<Option<f64>, String> {
        let process = load.server().process();
        let mut meter = SystemCalls::of(process, self.tools, self.scratch);
        let count = run(load, &mut meter, complaints)?;
        Ok(meter.calls.map(|calls| calls as f64 / count))
    }
}

/// Returns the nanoseconds of CPU time per unit.
fn cpu_time(load: &impl Load, complaints: &mut Vec<String>) -> Result<f64, String> {
    let mut meter = CpuTime::of(load.server().process());
    let count = run(load, &mut meter, complaints)?;
    Ok(meter.spent as f64 / count)
}

/// Makes a run and returns its count. An unreliable count is also noted in `complaints`.
fn run(
    load: &impl Load,
    meter: &mut impl Meter,
    complaints: &mut Vec<String>,
) -> Result<f64, String> {
    let outcome = load.run(meter)?;
    if let Some(wrong) = outcome.complaint {
        complain(complaints, format!("ERRORS: {load}: {wrong}"));
    }
    Ok(outcome.count as f64)
}

/// The order of the contenders in a round: forward in odd rounds, in reverse in even ones.
fn order(count: usize, round: usize) -> Vec<usize> {
    let forward = 0..count;
    if round % 2 == 1 {
        forward.collect()
    } else {
        forward.rev().collect()
    }
}

/// Prints a complaint at once, and keeps it for the report.
fn complain(complaints: &mut Vec<String>, complaint: String) {
    eprintln!("  {complaint}");
    complaints.push(complaint);
}
