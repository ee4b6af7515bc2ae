//! wrk: starts it, and reads what it counted and what it complained of.

use crate::field::Contender;
use crate::scenario::Scenario;
use crate::tools::Tools;

const PIPELINED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/versus/pipelined.lua");

/// One contender under one kind of load.
pub struct Load<'a> {
    pub tools: &'a Tools,
    pub contender: &'a Contender<'a>,
    pub scenario: &'a Scenario,
    pub seconds: u32,
}

/// What wrk counted in one run.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// Never zero.
    pub requests: u64,
    /// Replies with a status of 400 or more.
    refused: u64,
    /// wrk's line on socket errors, if there were any.
    socket_errors: Option<String>,
}

impl Load<'_> {
    pub fn run(&self) -> Result<Outcome, String> {
        let mut wrk = self.tools.wrk();
        wrk.arg(format!("--connections={}", self.scenario.connections));
        wrk.arg(format!("--duration={}s", self.seconds));
        for field in self.scenario.fields {
            wrk.arg("--header").arg(field);
        }
        if self.scenario.pipelined > 1 {
            wrk.arg("--script").arg(PIPELINED);
        }
        let address = self.contender.server.address;
        wrk.arg(format!("http://{address}{}", self.scenario.path));
        wrk.arg("--").arg(self.scenario.pipelined.to_string());

        let output = wrk
            .output()
            .map_err(|error| format!("cannot run {wrk:?}: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        Outcome::parse(&said).ok_or_else(|| {
            let problem = String::from_utf8_lossy(&output.stderr);
            format!("{wrk:?} counted no request: {said}{problem}")
        })
    }

    /// What is wrong with `outcome`: a number that comes with a complaint is not to be believed.
    pub fn complaint(&self, outcome: &Outcome) -> Option<String> {
        let mut wrongs = Vec::from_iter(outcome.socket_errors.clone());
        let refusals_due = match self.contender.status_due(self.scenario) {
            400.. => outcome.requests,
            _ => 0,
        };
        if outcome.refused != refusals_due {
            wrongs.push(format!(
                "{} of {} replies were 400 or above, not {refusals_due}",
                outcome.refused, outcome.requests
            ));
        }
        (!wrongs.is_empty()).then(|| wrongs.join("; "))
    }
}

impl std::fmt::Display for Load<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}, {}", self.scenario.name, self.contender.name)
    }
}

impl Outcome {
    /// `None` when nothing was counted.
    fn parse(said: &str) -> Option<Self> {
        let lines = || said.lines().map(str::trim);
        let requests = lines().find_map(|line| line.split_once(" requests in "))?.0;
        let refused = lines().find_map(|line| line.strip_prefix("Non-2xx or 3xx responses: "));
        let socket_errors = lines().find(|line| line.starts_with("Socket errors: "));
        Some(Self {
            requests: requests.parse().ok().filter(|count| *count > 0)?,
            refused: refused.map_or(Some(0), |count| count.parse().ok())?,
            socket_errors: socket_errors.map(String::from),
        })
    }
}
