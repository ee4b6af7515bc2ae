//! A load of WebSocket messages: what wrk is for requests.
//!
//! ```sh
//! cargo run --release --example wsload -- ws://127.0.0.1:8080/echo -c 64 -n 16 -s 20 -d 5
//! ```
//!
//! opens 64 connections, keeps sending 16 binary messages of 20 bytes on each in one go, the next 16
//! when those are answered, for 5 seconds, and says how many were answered. With `--room` the first
//! connection sends, and the next messages follow when every connection, its own too, has heard the last.
//!
//! The first messages are a probe: their answers must have the right bytes, unmasked, each in one
//! binary frame. Later answers are held against their heads only, so as to spare the core that this runs
//! on; then the frames are prepared and masked once for all (a client that talks to strangers draws
//! a new masking key for each: RFC 6455 §5.3). It is one thread over mio, as the server is, and ends by
//! itself: what is not answered [in time](load::PATIENCE) is an error.
//!
//! `options` the command line · `opening` the opening handshakes · `answers` what a server sends ·
//! `connection` one connection · `load` all of them, in turns · `tally` what is counted · `../wire.rs` the frames.

mod answers;
mod connection;
mod load;
mod opening;
mod options;
mod tally;
#[path = "../wire.rs"]
mod wire;

use std::io;
use std::process::ExitCode;

use load::Load;
use options::Options;
use rustix::process::{Resource, getrlimit, setrlimit};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("wsload: {problem}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("wsload: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// False when there were errors.
fn run(options: &Options) -> Result<bool, String> {
    raise_descriptor_limit();
    let mut load = Load::open(options)?;
    load.probe()?;
    println!("ready: {options}");
    if options.hold {
        wait_for_a_line();
    }
    let tally = load.run(options.duration)?;
    println!("{tally}");
    if options.hold {
        wait_for_a_line();
    }
    Ok(tally.errors.is_empty())
}

/// Or for the end of the input: whoever would have said more is gone.
fn wait_for_a_line() {
    let _ = io::stdin().read_line(&mut String::new());
}

/// As far as is allowed: a connection is a descriptor, and 1,024 is a common limit to begin with. When it
/// does not suffice, connecting says so.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
