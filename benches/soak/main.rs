//! The endurance of the server: many clients of every kind at once, for minutes, and every answer
//! is checked.
//!
//! `cargo bench --bench soak -- --minutes 10` runs the clients, prints how many of each exchange
//! succeeded, and the memory and the descriptors of the server at the start, at the most, and at
//! the end. The exit code is 1 if there was a fault: a wrong byte, a message that is missing or out
//! of order, an old version of a file, an unexpected status, or a connection that ended or gave no
//! answer.
//!
//! Healthy clients get files, post bodies, send messages to `/echo`, and speak in rooms. Meanwhile
//! the files are replaced, hostile clients reset connections, send garbage or do not read, and the
//! server is stopped by SIGSTOP for up to two seconds at a time. Each client is a thread, which
//! begins again after a fault.
//!
//! # The files
//!
//! `world` the counts, the faults, and random numbers · `client` a blocking client of HTTP and
//! WebSocket · `files` the files, their replacement, and their readers · `messages` echoes, rooms
//! and posts · `hostile` the other clients · `server` the memory, the descriptors and the stops of
//! the server · `../common` the start of the server, shared with the comparisons.
mod client;
#[path = "../common/mod.rs"]
#[expect(
    dead_code,
    reason = "the rounds and the report of a comparison are not needed"
)]
mod common;
mod files;
#[path = "../common/frames.rs"]
mod frames;
mod hostile;
mod messages;
mod server;
mod world;

use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use common::figures::table;
use common::programs;
use common::scratch::Scratch;
use common::tools::Tools;
use files::Files;
use server::{Usage, Watch};
use world::World;

const USAGE: &str = "\
usage: cargo bench --bench soak -- [--minutes N]
  --minutes N  how long the clients run; a fraction is possible (2)
environment:
  ONELOOP_BIN  another oneloop binary to test, such as the one of yesterday";

fn main() -> ExitCode {
    // Only `cargo bench` passes this argument. `cargo test --all-targets` runs benches too.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("soak: nothing done; run it as `cargo bench --bench soak`");
        return ExitCode::SUCCESS;
    }
    let time = match minutes(std::env::args().skip(1)) {
        Ok(Some(minutes)) => minutes,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("soak: {problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match soak(time) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("soak: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Reads the options, and returns how long the clients run. `None` means that the user asked for
/// help.
fn minutes(mut arguments: impl Iterator<Item = String>) -> Result<Option<Duration>, String> {
    let mut minutes = 2.0;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {} // Cargo adds this one.
            "--help" | "-h" => return Ok(None),
            "--minutes" => {
                minutes = arguments
                    .next()
                    .and_then(|text| text.parse().ok())
                    .filter(|minutes| *minutes > 0.0)
                    .ok_or("--minutes takes a number above zero")?;
            }
            other => return Err(format!("unknown option {other}")),
        }
    }
    let time = Duration::try_from_secs_f64(minutes * 60.0);
    time.map(Some)
        .map_err(|error| format!("--minutes: {error}"))
}

/// Runs all clients for `time`, prints the report, and returns the number of faults.
fn soak(time: Duration) -> Result<u64, String> {
    let tools = Tools::find()?;
    let memory = Path::new("/dev/shm");
    let scratch = match memory.is_dir() {
        true => Scratch::create_in(memory, "soak")?,
        false => Scratch::create("soak")?,
    };
    let files = Files::create(scratch.path().join("root"))?;
    let flags = ["--quiet", "--test-endpoints"];
    let server = programs::start_oneloop_with(&tools, files.root(), &flags)?;
    let world = World::new(server.address);
    let process = server.process();
    world.check_answer()?;
    let fresh = Usage::of(process)?;

    let peak = thread::scope(|scope| {
        for (number, client) in CLIENTS.iter().enumerate() {
            let (world, files) = (&world, &files);
            scope.spawn(move || world.run(number, |random| client(world, files, random)));
        }
        scope.spawn(|| {
            world.run(CLIENTS.len(), |random| {
                server::stop(process, &world, random)
            })
        });
        Watch::run(process, &world, time)
    })?;

    // The connections of the clients are closed. Those that linger end within seconds, and the
    // files that no request has asked for are closed within 20 s.
    let end = Watch::settle(process, fresh)?;
    if let Err(problem) = world.check_answer() {
        world.fault(format!("after the end: {problem}"));
    }
    let peak = peak.or(end);
    if end.descriptors > fresh.descriptors {
        let (fresh, end) = (fresh.descriptors, end.descriptors);
        world.fault(format!("{end} descriptors are open, not {fresh}"));
    }
    let row = |name: &str, figure: fn(Usage) -> String| {
        vec![name.into(), figure(fresh), figure(peak), figure(end)]
    };
    let heading = ["server", "fresh", "peak", "end"]
        .map(String::from)
        .to_vec();
    let usage = [
        heading,
        row("resident memory", |usage| {
            format!("{:.1} MB", usage.resident as f64 / 1e6)
        }),
        row("descriptors", |usage| usage.descriptors.to_string()),
    ];
    println!(
        "- {}, {:.1} minutes\n\n{}\n{}",
        programs::oneloop_version(),
        time.as_secs_f64() / 60.0,
        world.table(),
        table(&usage, 1)
    );
    Ok(world.report_faults())
}

/// A client makes one exchange or a few, and reports a fault as a sentence.
type Client = fn(&World, &Files, &mut world::Random) -> Result<(), String>;

/// The clients, each in a thread of its own.
const CLIENTS: &[Client] = &[
    files::replace,
    files::get,
    files::get,
    files::get,
    files::get_slowly,
    files::get_slowly,
    messages::post,
    messages::echo,
    messages::echo,
    messages::echo_compressed,
    messages::room,
    messages::room,
    hostile::reset,
    hostile::garbage,
    hostile::deaf_reader,
    hostile::deaf_member,
];
