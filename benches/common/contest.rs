//! The rounds of one scenario, all contenders taking turns.

use std::fmt::Display;

use super::measure::{CpuTime, Meter, SystemCalls};
use super::options::Options;
use super::report::Row;
use super::scratch::Scratch;
use super::server::Server;
use super::tools::Tools;

/// One contender under one kind of load. Displayed, it names both.
pub trait Load: Display {
    fn contender(&self) -> &'static str;

    fn server(&self) -> &Server;

    /// Whether the contender answers as it should: a fast wrong answer is not worth timing.
    fn probe(&self) -> Result<(), String>;

    /// Loads the server for a while, with `meter` running from where the cost counts to where it ends.
    fn run(&self, meter: &mut dyn Meter) -> Result<Outcome, String>;
}

/// What a load generator counted in one run.
pub struct Outcome {
    /// Requests answered, or messages. Never zero.
    pub count: u64,
    /// What it had to object: a number that comes with a complaint is not to be believed.
    pub complaint: Option<String>,
}

pub struct Contest<'a> {
    pub options: &'a Options,
    pub tools: &'a Tools,
    pub scratch: &'a Scratch,
    pub scenario: &'static str,
}

impl Contest<'_> {
    /// Probes every contender, counts its system calls (which warms it), then measures it in rounds.
    /// Who answers wrongly is left out, and so is who does not last; that and what the load generator
    /// had to object is added to `complaints`.
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
            // Ratios need every round of both.
            entrants.retain(|(_, row)| row.nanoseconds.len() == round);
            let latest = entrants.iter().map(|(_, row)| row.latest());
            let latest = latest.collect::<Vec<_>>().join("; ");
            eprintln!("  round {round} of {rounds}: {latest}");
        }
        entrants.into_iter().map(|(_, row)| row).collect()
    }

    /// System calls per unit. `None` without strace, where the run is made all the same: it is also
    /// what warms the server.
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

/// Nanoseconds per unit.
fn cpu_time(load: &impl Load, complaints: &mut Vec<String>) -> Result<f64, String> {
    let mut meter = CpuTime::of(load.server().process());
    let count = run(load, &mut meter, complaints)?;
    Ok(meter.spent as f64 / count)
}

/// One run. Gives what it counted, with a complaint if that is not to be believed.
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

/// There and back: whoever comes first in one round comes last in the next.
fn order(count: usize, round: usize) -> Vec<usize> {
    let forward = 0..count;
    if round % 2 == 1 {
        forward.collect()
    } else {
        forward.rev().collect()
    }
}

/// At once for those who watch, and kept for the report.
fn complain(complaints: &mut Vec<String>, complaint: String) {
    eprintln!("  {complaint}");
    complaints.push(complaint);
}
