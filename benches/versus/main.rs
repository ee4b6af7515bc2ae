//! The comparison: what a request costs here, in other servers, and at the limit.
//!
//! `cargo bench --bench versus` runs oneloop, the limit (`benches/tools/limit.rs`: the kernel's
//! share and nothing else), nginx and lighttpd over the same files, each as one worker on a core of
//! its own with wrk on another, and prints a table for the README. It reports; it does not judge:
//! nothing here fails because something was slow.
//!
//! # What is measured, and why not requests per second
//!
//! On a shared machine, requests per second swing by 20-200 %, and with the generator on the second
//! core they measure wrk as much as the server. Two things hold still:
//!
//! - **CPU time per request as a paired ratio.** The kernel's count of nanoseconds the server ran,
//!   divided by the requests wrk counted. All servers stay up; every round runs each of them for a
//!   moment, every second round in reverse order, and ratios are taken inside a round, so that a noisy
//!   neighbour hits both sides of the division. The table has the median over the rounds, and the
//!   least and the most in brackets.
//! - **System calls per request**, counted by `strace -c` in a run of its own, which also warms the
//!   server. Tracing slows a server down, so with many connections each wake-up finds more of them
//!   ready than it would in the field; the setting up of the connections is in the number.
//!
//! Every server first answers the scenario's request under the eyes of [`probe`]: the right status
//! and, but for the limit, the right bytes; who does not is left out. That, and the errors wrk met, is
//! said in capitals under the table.
//!
//! # The files
//!
//! `scenario` what is asked, a table to add rows to · `site` the files served · `field` who takes part,
//! with which settings · `probe` one checked request · `load` wrk · `../common` the rounds, what is
//! measured and the report, in common with the other comparisons.

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

/// Runs what `options` chose, and gives the whole report.
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
