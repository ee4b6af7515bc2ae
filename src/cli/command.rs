//! The commands of the program: `oneloop [ROOT]` serves, `oneloop trace FILE` converts a trace, and `oneloop
//! completions SHELL` and `oneloop man` print what a package of the program has beside it, and `oneloop cert`
//! tells of the CA of HTTPS.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;

use super::{CertificateQuestion, Cli, explain};

/// The task of the program.
#[derive(Debug)]
pub enum Command {
    /// Serve files.
    Serve(Box<Cli>),
    /// Convert a trace.
    Convert(Conversion),
    /// Tell of the CA of HTTPS.
    Certificate(CertificateQuestion),
    /// Print this text.
    Print(Vec<u8>),
}

/// Prints a page for man(1).
///
/// `oneloop man | man -l -` shows the page.
#[derive(Parser, Debug)]
#[command(name = "oneloop man", bin_name = "oneloop man", max_term_width = 100)]
struct Man {}

/// Prints the completions for a shell.
///
/// For this user: `oneloop completions bash > ~/.local/share/bash-completion/completions/oneloop`,
/// `oneloop completions fish > ~/.config/fish/completions/oneloop.fish`, and for zsh a file `_oneloop` in a
/// directory of $fpath.
#[derive(Parser, Debug)]
#[command(
    name = "oneloop completions",
    bin_name = "oneloop completions",
    max_term_width = 100,
    arg_required_else_help = true
)]
struct Completions {
    /// The shell
    #[cfg(feature = "manual")]
    shell: clap_complete::Shell,
    /// The shell
    #[cfg(not(feature = "manual"))]
    shell: String,
}

/// The flags and the commands, as one command of `clap`.
#[cfg(feature = "manual")]
fn whole() -> clap::Command {
    use clap::CommandFactory as _;
    Cli::command()
        .disable_help_subcommand(true)
        .subcommand(Conversion::command().name("trace"))
        .subcommand(CertificateQuestion::command().name("cert"))
        .subcommand(Completions::command().name("completions"))
        .subcommand(Man::command().name("man"))
}

#[cfg(feature = "manual")]
fn completions(Completions { shell }: &Completions) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    clap_complete::generate(*shell, &mut whole(), "oneloop", &mut text);
    Ok(text)
}

#[cfg(feature = "manual")]
fn man(Man {}: &Man) -> Result<Vec<u8>, String> {
    use clap::CommandFactory as _;
    let mut text = Vec::new();
    let written = clap_mangen::Man::new(Cli::command()).render(&mut text);
    written.map_err(|error| error.to_string())?;
    Ok(text)
}

#[cfg(not(feature = "manual"))]
fn completions(Completions { shell: _ }: &Completions) -> Result<Vec<u8>, String> {
    Err(NO_MANUAL.into())
}

#[cfg(not(feature = "manual"))]
fn man(Man {}: &Man) -> Result<Vec<u8>, String> {
    Err(NO_MANUAL.into())
}

#[cfg(not(feature = "manual"))]
const NO_MANUAL: &str = "this program has no manual; build it with the feature `manual`";

/// Converts a trace that `oneloop --trace=FILE` has written.
///
/// The turns of the loop become slices of one track, and each slot of the table of connections has a
/// track with its connections and their modes. Arrows lead from the event of a request to the read and
/// to the last write of the answer. Open OUT at `https://ui.perfetto.dev` or in `chrome://tracing`. Times are
/// those of --trace-clock; without them, a turn takes a millisecond.
#[derive(Parser, Debug)]
#[command(
    name = "oneloop trace",
    bin_name = "oneloop trace",
    max_term_width = 100,
    arg_required_else_help = true
)]
pub struct Conversion {
    /// The trace to convert
    pub file: PathBuf,

    /// The file to write, in the JSON format of Chrome's tracing
    #[arg(long, value_name = "OUT")]
    pub chrome: PathBuf,
}

impl Command {
    /// Parses the arguments of the program. Does not return after `--help` and `--version`.
    ///
    /// # Errors
    /// A sentence about the first wrong argument, or about a wrong value in the environment.
    pub fn from_process() -> Result<Command, String> {
        let args: Vec<_> = std::env::args_os().skip(1).collect();
        match args.first().and_then(|first| first.to_str()) {
            Some("trace") => parsed(args).map(Command::Convert),
            Some("cert") => parsed(args).map(Command::Certificate),
            Some("completions") => Ok(Command::Print(completions(&parsed(args)?)?)),
            Some("man") => Ok(Command::Print(man(&parsed(args)?)?)),
            _ => Cli::from_process().map(|cli| Command::Serve(Box::new(cli))),
        }
    }
}

/// Parses the arguments of a command, of which the first is its name.
fn parsed<T: Parser>(args: Vec<OsString>) -> Result<T, String> {
    T::try_parse_from(args).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.exit()
        }
        _ => explain(&error),
    })
}
