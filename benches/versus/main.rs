//! The comparison of HTTP servers: the cost of a request in oneloop, in other servers, and in the
//! limit.
//!
//! The limit (`benches/tools/limit.rs`) is a server that parses nothing, so its cost is the
//! kernel's share of a request. `cargo bench --bench versus` runs oneloop, the limit, nginx and
//! lighttpd with the same files. Each server is a single worker on a core, and wrk has another
//! core. The bench prints the table of `benches/README.md`. A slow server does not make the bench
//! fail.
//!
//! # Measurements
//!
//! Requests per second are not measured. On a shared machine they swing by 20 to 200 %, and with
//! the load generator on the second core they depend on wrk as much as on the server. Two other
//! figures hold still:
//!
//! - **CPU time per request, as a paired ratio.** The nanoseconds that the server ran, as the
//!   kernel counts them, are divided by the number of requests that wrk counted. The servers stay
//!   up. Every round runs each server for a moment, every second round in reverse order, and a
//!   ratio is formed between two runs of one round. Other work on the machine then hits both sides
//!   of the division. The table has the median over the rounds, with the least and the greatest
//!   value in brackets.
//! - **System calls per request**, counted by `strace -c` in a separate run, which also warms the
//!   server. Tracing slows a server down, so with many connections a wake-up finds more ready
//!   connections than without strace. The calls that open the connections are in the number.
//!
//! Before a scenario, [`probe`] checks one answer of every server: the status and, except for the
//! limit, the bytes. A server with a wrong answer is left out. The report says this in capitals
//! under the table, and also names the errors that wrk met.
//!
//! # The files
//!
//! `scenario` the requests, a table that grows by rows · `site` the served files · `field` the
//! servers and their settings · `probe` a checked request · `load` wrk · `../common` the rounds,
//! the measurements and the report, shared with the other comparison.
#[path = "../common/mod.rs"]
mod common;
mod field;
mod load;
mod probe;
mod scenario;
mod site;

use std::process::ExitCode;

use common::contest::Contest;
use common::options::{self, Options};
use common::tools::{self, Tools};
use common::{Comparison, LIMIT, report};
use field::{Field, NGINX};
use load::Wrk;
use scenario::SCENARIOS;
use site::Site;

const VERSUS: Comparison = Comparison {
    bench: "versus",
    unit: "request",
    divisors: &[LIMIT, NGINX],
    filters: "`64` or `close`",
};

fn main() -> ExitCode {
    VERSUS.main(compare)
}

/// Runs the scenarios that `options` chose, and returns the whole report.
fn compare(options: &Options) -> Result<String, String> {
    let scenarios = options::matching(&options.filter, SCENARIOS, |scenario| scenario.name)?;
    let tools = Tools::find()?;
    let wrk = tools::find("wrk").ok_or("wrk is missing; install it (`apt install wrk`)")?;
    let site = Site::create()?;
    let mut field = Field::start(&tools, &site, &scenarios)?;
    field.versions.push(tools::version(&wrk, "-v"));
    site.settle();

    let mut rows = Vec::new();
    let mut complaints = field.absent.clone();
    for scenario in &scenarios {
        let contest = Contest {
            options,
            tools: &tools,
            scratch: &site.scratch,
            scenario: scenario.name,
        };
        let loads = field.contenders(scenario).into_iter().map(|contender| Wrk {
            program: &wrk,
            tools: &tools,
            site: &site,
            contender,
            scenario,
            seconds: options.seconds,
        });
        rows.extend(contest.run(loads.collect(), &mut complaints));
    }
    Ok(report::render(
        &VERSUS,
        &tools,
        &field.versions,
        options,
        &rows,
        &complaints,
    ))
}
