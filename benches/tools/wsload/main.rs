//! A load generator for WebSocket messages, as wrk is for requests.
//!
//! ```sh
//! cargo run --release --example wsload -- ws://127.0.0.1:8080/echo -c 64 -n 16 -s 20 -d 5
//! ```
//!
//! opens 64 connections and sends for 5 seconds. On each connection, 16 binary messages of 20 bytes
//! leave together, and the next 16 follow when these are answered. At the end, the program prints
//! the number of answers. With `--room`, the first connection sends, and the next messages follow
//! when every connection, including the sender, has received the last message.
//!
//! The first messages are a probe: their answers must have the right bytes, without a mask, each in
//! a single binary frame. Of later answers only the heads are compared, which saves time on the
//! core of the load generator. For the same reason, the frames are built and masked only once. (A
//! real client needs a new masking key for each frame: RFC 6455 §5.3.) The program is a single
//! thread over mio, as the server is. It always ends: a message without an answer [in
//! time](load::PATIENCE) is an error.
//!
//! `options` the command line · `opening` the opening handshakes · `answers` the bytes from a
//! server · `connection` a connection · `load` all connections, and the loop · `tally` the counts ·
//! `../wire.rs` the frames.
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

/// Makes the run. Returns false when a connection had an error.
fn run(options: &Options) -> Result<bool, String> {
    raise_descriptor_limit();
    let mut load = Load::open(options)?;
    load.probe()?;
    println!("ready: {options}");
    if options.hold {
        wait_for_a_line();
    }
    let tally = load.run(options.duration)?;
    if let (0, Some(error)) = (tally.messages, tally.errors.keys().next()) {
        return Err(error.clone());
    }
    println!("{tally}");
    if options.hold {
        wait_for_a_line();
    }
    Ok(tally.errors.is_empty())
}

/// Waits for a line of input, or for the end of the input, which means that the caller has ended.
fn wait_for_a_line() {
    let _ = io::stdin().read_line(&mut String::new());
}

/// Raises the limit on descriptors as far as allowed. Each connection needs a descriptor, and 1,024
/// is a common limit at first. If the limit is still too low, connecting fails with an error.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
