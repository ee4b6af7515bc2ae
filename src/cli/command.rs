//! The commands of the program: `oneloop [ROOT]` serves, and `oneloop trace FILE` converts a trace.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::Parser;
use clap::error::ErrorKind;

use super::{Cli, explain};

/// The last lines of `--help`.
pub(super) const AFTER_HELP: &str = "\
`oneloop trace FILE --chrome OUT` converts a trace for Perfetto and chrome://tracing. A directory with the
name trace is served as ./trace.

Each flag has a variable in the environment: ONELOOP_MAX_AGE=60 stands for --max-age 60. Flags without a value
take 1 or 0, and flags that may be repeated have one value in each line. The command line is stronger. An
empty variable is unset, but for ONELOOP_AUTH.";

/// What the program is to do.
#[derive(Debug)]
pub enum Command {
    /// Serve files.
    Serve(Box<Cli>),
    /// Convert a trace.
    Convert(Conversion),
}

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
        let mut args = std::env::args_os().skip(1).peekable();
        match args.peek().map(|first| first == OsStr::new("trace")) {
            Some(true) => Conversion::try_parse_from(args)
                .map(Command::Convert)
                .map_err(|error| match error.kind() {
                    ErrorKind::DisplayHelp
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
                    _ => explain(&error),
                }),
            _ => Cli::from_process().map(|cli| Command::Serve(Box::new(cli))),
        }
    }
}
