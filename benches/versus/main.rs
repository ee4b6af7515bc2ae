//! The comparison: what a request costs here, in other servers, and at the limit.
//!
//! `cargo bench --bench versus` runs oneloop, the limit (`benches/examples/limit.rs`: the kernel's
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
//! `options` the command line · `scenario` what is asked, a table to add rows to · `site` the files
//! served · `field` who takes part, with which settings · `contest` the rounds · `server` one running
//! process · `probe` one checked request · `load` wrk · `measure` a process's CPU time and system
//! calls · `report` medians and the table · `tools` the programs this leans on.
#![forbid(unsafe_code)]

mod contest;
mod field;
mod load;
mod measure;
mod options;
mod probe;
mod report;
mod scenario;
mod server;
mod site;
mod tools;

use std::process::ExitCode;

use contest::Contest;
use field::Field;
use options::Options;
use site::Site;
use tools::Tools;

fn main() -> ExitCode {
    // Only `cargo bench` passes this. `cargo test --all-targets` runs benches too, and minutes of load
    // are not what it is asked for.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("versus: nothing done; run it as `cargo bench --bench versus`");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("versus: {problem}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match compare(&options) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("versus: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what `options` chose, and gives the whole report.
fn compare(options: &Options) -> Result<String, String> {
    let scenarios = scenario::matching(&options.filter)?;
    let tools = Tools::find()?;
    let site = Site::create()?;
    let field = Field::start(&tools, &site, &scenarios)?;
    site.settle();

    let mut rows = Vec::new();
    let mut complaints = field.absent.clone();
    for scenario in &scenarios {
        eprintln!("{}", scenario.name);
        let contest = Contest {
            options,
            tools: &tools,
            site: &site,
            scenario,
        };
        match contest.run(&field.contenders(scenario), &mut complaints) {
            Ok(more) => rows.extend(more),
            // The other scenarios are still worth having.
            Err(problem) => {
                let complaint = format!("NOT FINISHED: {}: {problem}", scenario.name);
                contest::complain(&mut complaints, complaint);
            }
        }
    }
    Ok(report::render(&tools, &field, options, &rows, &complaints))
}
