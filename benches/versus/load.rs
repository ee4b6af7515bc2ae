//! The load generator wrk: starts a run, and reads the counts and errors that wrk prints.

use std::path::Path;

use crate::common::contest::{Load, Outcome};
use crate::common::measure::Meter;
use crate::common::server::Server;
use crate::common::tools::Tools;
use crate::field::Contender;
use crate::probe;
use crate::scenario::Scenario;
use crate::site::Site;

const PIPELINED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/versus/pipelined.lua");

/// A contender under a kind of load.
pub struct Wrk<'a> {
    pub program: &'a Path,
    pub tools: &'a Tools,
    pub site: &'a Site,
    pub contender: Contender<'a>,
    pub scenario: &'a Scenario,
    pub seconds: u32,
}

/// The counts of a run of wrk.
#[derive(Debug, PartialEq)]
struct Counted {
    /// Answered requests. Never zero.
    requests: u64,
    /// Replies with a status of 400 or more.
    refused: u64,
    /// The line in which wrk reports socket errors. `None` without errors.
    socket_errors: Option<String>,
}

impl Load for Wrk<'_> {
    fn contender(&self) -> &'static str {
        self.contender.name
    }

    fn server(&self) -> &Server {
        self.contender.server
    }

    fn probe(&self) -> Result<(), String> {
        probe::check(&self.contender, self.scenario, self.site)
    }

    /// Measures the whole run of wrk, with the opening and closing of its connections.
    ///
    /// At its end, wrk does not wait for the last replies. They are in the cost but not in the
    /// count. Of the 10 MiB replies of one second these are about a hundredth, of the small replies
    /// hardly any, and the share is the same for every server.
    fn run(&self, meter: &mut dyn Meter) -> Result<Outcome, String> {
        let mut wrk = self.tools.on_load_core(self.program);
        wrk.arg("--threads=1");
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

        meter.start()?;
        let output = wrk
            .output()
            .map_err(|error| format!("cannot run {wrk:?}: {error}"))?;
        meter.stop()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let counted = Counted::parse(&said).ok_or_else(|| {
            let problem = String::from_utf8_lossy(&output.stderr);
            format!("{wrk:?} counted no request: {said}{problem}")
        })?;
        Ok(Outcome {
            count: counted.requests,
            complaint: self.complaint(&counted),
        })
    }
}

impl Wrk<'_> {
    /// Describes the socket errors and the wrong statuses of a run. `None` without either.
    fn complaint(&self, counted: &Counted) -> Option<String> {
        let mut wrongs = Vec::from_iter(counted.socket_errors.clone());
        let refusals_due = match self.contender.status_due(self.scenario) {
            400.. => counted.requests,
            _ => 0,
        };
        if counted.refused != refusals_due {
            wrongs.push(format!(
                "{} of {} replies were 400 or above, not {refusals_due}",
                counted.refused, counted.requests
            ));
        }
        (!wrongs.is_empty()).then(|| wrongs.join("; "))
    }
}

impl std::fmt::Display for Wrk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}, {}", self.scenario.name, self.contender.name)
    }
}

impl Counted {
    /// Reads the output of wrk. `None` when wrk counted no request.
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
