//! The rounds of one scenario, all contenders taking turns.

use crate::field::Contender;
use crate::load::Load;
use crate::measure::{self, Measured};
use crate::options::Options;
use crate::probe;
use crate::report::{self, Row};
use crate::scenario::Scenario;
use crate::site::Site;
use crate::tools::Tools;

pub struct Contest<'a> {
    pub options: &'a Options,
    pub tools: &'a Tools,
    pub site: &'a Site,
    pub scenario: &'static Scenario,
}

impl Contest<'_> {
    /// Probes every contender, counts its system calls (which warms it), then measures it in rounds.
    /// Who answers wrongly is left out; that and what wrk had to object is added to `complaints`.
    pub fn run(
        &self,
        contenders: &[Contender],
        complaints: &mut Vec<String>,
    ) -> Result<Vec<Row>, String> {
        let mut loads = Vec::new();
        let mut rows = Vec::new();
        for contender in contenders {
            let load = self.load(contender);
            if let Err(wrong) = probe::check(&load, self.site) {
                complain(complaints, format!("LEFT OUT: {load}: {wrong}"));
                continue;
            }
            let counted = measure::system_calls(&load, self.site)?;
            let calls = counted.map(|counted| accept(&load, counted, complaints));
            rows.push(Row::new(self.scenario, contender.name, calls));
            loads.push(load);
        }
        let rounds = self.options.rounds;
        for round in 1..=rounds {
            for index in order(loads.len(), round) {
                let cost = accept(&loads[index], measure::cpu_time(&loads[index])?, complaints);
                rows[index].nanoseconds.push(cost);
            }
            eprintln!("  round {round} of {rounds}: {}", report::latest(&rows));
        }
        Ok(rows)
    }

    fn load<'a>(&'a self, contender: &'a Contender) -> Load<'a> {
        let Self {
            tools, scenario, ..
        } = self;
        Load {
            tools,
            contender,
            scenario,
            seconds: self.options.seconds,
        }
    }
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

/// Takes the number, with a complaint if it is not to be believed.
fn accept(load: &Load, measured: Measured, complaints: &mut Vec<String>) -> f64 {
    if let Some(wrong) = load.complaint(&measured.outcome) {
        complain(complaints, format!("ERRORS: {load}: {wrong}"));
    }
    measured.per_request
}

/// At once for those who watch, and kept for the report.
pub fn complain(complaints: &mut Vec<String>, complaint: String) {
    eprintln!("  {complaint}");
    complaints.push(complaint);
}
