//! The program: flags to a [`Config`], a server, an exit code. Nothing is decided here.
//!
//! Exit codes: 0 after a clean stop, 1 when the server could not start or go on, 2 for flags that
//! make no sense (clap's).

#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use oneloop::cli::Cli;
use oneloop::config::Config;
use oneloop::server::{BoundServer, Log, Server};
use oneloop::sys::{self, Output};

fn main() -> ExitCode {
    let began = Instant::now();
    let cli = Cli::parse();
    let terminal = io::stdout().is_terminal();
    let config = cli.config(terminal, sys::raise_descriptor_limit());
    match run(&config, cli.quiet, terminal, began) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(
    config: &Config,
    quiet: bool,
    terminal: bool,
    began: Instant,
) -> Result<(), Box<dyn std::error::Error>> {
    let bound = Server::bind(config)?;
    for (ip, error) in &bound.missing {
        // Not eprintln, which panics when nobody hears it.
        let _ = writeln!(
            io::stderr(),
            "warning: not listening on {ip} ({error}); going on without it"
        );
    }
    if !quiet {
        // A closed pipe is no reason not to serve.
        let _ = banner(&bound, terminal, began);
    }
    let log = Log::new(config.log, config.limits.log_bytes_max);
    let mut server = bound.server.with_log(log);
    server.run()?;
    if !quiet {
        // As the log writes: whoever has stopped reading must not hold up the end.
        let summary = format!("stopped: {}\n", server.counters());
        let _ = Output::stdout().write(summary.as_bytes());
    }
    Ok(())
}

/// Says where the server is and what it shows: plain lines, or a little more on a terminal.
fn banner(bound: &BoundServer, terminal: bool, began: Instant) -> io::Result<()> {
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let (bold, cyan, off) = match colour {
        true => ("\x1b[1m", "\x1b[36m", "\x1b[0m"),
        false => ("", "", ""),
    };
    let indent = if terminal { "  " } else { "" };
    let version = env!("CARGO_PKG_VERSION");
    let ms = began.elapsed().as_secs_f64() * 1e3;
    let out = &mut io::stdout().lock();
    if terminal {
        writeln!(out)?;
    }
    writeln!(
        out,
        "{indent}{bold}oneloop {version}{off} ready in {ms:.0} ms"
    )?;
    for address in &bound.addresses {
        writeln!(out, "{indent}{cyan}http://{address}/{off}")?;
    }
    writeln!(out, "{indent}serving {}", bound.root.display())?;
    let local = bound.addresses.iter().all(|a| a.ip().is_loopback());
    match local {
        true => writeln!(
            out,
            "{indent}reachable from this machine alone; Ctrl-C stops it"
        )?,
        false => writeln!(
            out,
            "{indent}everything there is readable by whoever reaches these addresses; Ctrl-C stops it"
        )?,
    }
    if terminal {
        writeln!(out)?;
    }
    out.flush()
}
