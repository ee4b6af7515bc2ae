//! The comparison of WebSocket servers: the cost of a message in oneloop, in other servers, and in
//! the limit.
//!
//! The limit (`benches/tools/wslimit.rs`) is a server that parses nothing, so its cost is the
//! kernel's share of a message. `cargo bench --bench websocket` runs oneloop, the limit,
//! fastwebsockets and tungstenite (`benches/peers`). Each server is a single process on a core, and
//! the load generator (`benches/tools/wsload`) has another core. The bench prints the table of
//! `benches/README.md`. A slow server does not make the bench fail.
//!
//! # Measurements
//!
//! As in `benches/versus`, whose main file gives the reasons: **CPU time per message, as a paired
//! ratio**, and **system calls per message**. Both leave out the opening handshakes and everything
//! after the last answer. The load generator connects, probes, and reports that it is ready. Then
//! the measurement begins, and it ends when all sent messages are answered. In an echo, a message
//! counts when it comes back. In a room, each delivery to a member counts as a message.
//!
//! The load generator begins every run with a probe. Each answer must have the sent payload,
//! without a mask, in one binary frame. A server with another answer is left out, and the report
//! says this in capitals under the table.
//!
//! # The files
//!
//! `scenario` the messages, a table that grows by rows · `field` the servers · `load` runs wsload ·
//! `../common` the rounds, the measurements and the report, shared with the other comparison.
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

/// Runs the scenarios that `options` chose, and returns the whole report.
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

/// Raises the limit on descriptors. The servers inherit it, and not every server raises it itself.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
