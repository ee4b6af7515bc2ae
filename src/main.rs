//! The program `oneloop`: translates the flags to a [`Config`], runs a server and returns an exit
//! code. The decisions are made in the modules that this file calls.
//!
//! Architecture invariant: of the crate's modules, this file names only `cli`, `config`, `server`
//! and `sys`.
//!
//! Exit codes: 0 after a clean stop; 1 if the server could not start or could not go on; 2 for
//! wrong flags (`clap` returns this code).

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use oneloop::cli::Cli;
use oneloop::config::Config;
use oneloop::server::{BoundServer, Server};
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
        // eprintln would panic if standard error is closed.
        let _ = writeln!(
            io::stderr(),
            "warning: not listening on {ip} ({error}); going on without it"
        );
    }
    if !quiet {
        // The server goes on if standard output is a closed pipe.
        let _ = banner(&bound, terminal, began);
    }
    let mut server = bound.server;
    server.run()?;
    if !quiet {
        // The summary is written like the log: a reader that has stopped reading must not delay the
        // end of the program.
        let summary = format!("stopped: {}\n", server.counters());
        let _ = Output::stdout().write(summary.as_bytes());
    }
    Ok(())
}

/// Prints the addresses of the server and the path that is served. On a terminal, the lines are
/// indented, with an empty line before and after, and in colour unless `NO_COLOR` forbids colour.
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
            "{indent}reachable from this machine only; Ctrl-C stops it"
        )?,
        false => writeln!(
            out,
            "{indent}anyone who can reach these addresses can read the files; Ctrl-C stops it"
        )?,
    }
    if terminal {
        writeln!(out)?;
    }
    out.flush()
}
