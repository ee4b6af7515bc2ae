//! The comparison of WebSocket servers: what a message costs here, in other servers, and at the limit.
//!
//! `cargo bench --bench websocket` runs oneloop, the limit (`benches/tools/wslimit.rs`: the kernel's
//! share and nothing else), fastwebsockets and tungstenite (`benches/peers`), each as one process on a
//! core of its own with the load (`benches/tools/wsload`) on another, and prints a table for the
//! README. It reports; it does not judge: nothing here fails because something was slow.
//!
//! # What is measured
//!
//! As in `benches/versus`, whose main file says why: **CPU time per message as a paired ratio**, and
//! **system calls per message**. Here both leave out the opening handshakes and what comes after the
//! last answer: the load connects, probes, and says that it is ready; then the count begins, and it ends
//! when all that was sent is answered. A message is one that came back, in a room one that a member
//! heard.
//!
//! The load begins every run with a probe: the answers must be what was sent, unmasked, each in one
//! binary frame. Who answers otherwise is left out, which is said in capitals under the table.
//!
//! # The files
//!
//! `scenario` what is sent, a table to add rows to · `field` who takes part · `load` runs wsload ·
//! `../common` the rounds, what is measured and the report, in common with the other comparisons.

#[path = "../common/mod.rs"]
mod common;
mod field;
mod load;
mod scenario;

use std::process::ExitCode;

use common::contest::Contest;
use common::options::{self, Options};
use common::scratch::Scratch;
use common::tools::Tools;
use common::{Comparison, LIMIT, programs, report};
use field::Field;
use load::Wsload;
use rustix::process::{Resource, getrlimit, setrlimit};
use scenario::SCENARIOS;

const WEBSOCKET: Comparison = Comparison {
    bench: "websocket",
    unit: "message",
    divisors: &[LIMIT],
    filters: "`echo` or `room`",
};

fn main() -> ExitCode {
    WEBSOCKET.main(compare)
}

/// Runs what `options` chose, and gives the whole report.
fn compare(options: &Options) -> Result<String, String> {
    let scenarios = options::matching(&options.filter, SCENARIOS, |scenario| scenario.name)?;
    raise_descriptor_limit();
    let tools = Tools::find()?;
    let scratch = Scratch::create("websocket")?;
    let wsload = programs::build_example("wsload")?;
    let field = Field::start(&tools, &scratch, &scenarios)?;

    let mut rows = Vec::new();
    let mut complaints = field.absent.clone();
    for scenario in &scenarios {
        let contest = Contest {
            options,
            tools: &tools,
            scratch: &scratch,
            scenario: scenario.name,
        };
        let contenders = field.contenders(scenario).into_iter();
        let loads = contenders.map(|(contender, server)| Wsload {
            program: &wsload,
            tools: &tools,
            contender,
            server,
            scenario,
            seconds: options.seconds,
        });
        rows.extend(contest.run(loads.collect(), &mut complaints));
    }
    Ok(report::render(
        &WEBSOCKET,
        &tools,
        &field.versions,
        options,
        &rows,
        &complaints,
    ))
}

/// For the servers, which inherit it: not all of them see to that themselves.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
