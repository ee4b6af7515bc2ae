//! The environment: each flag has a variable, `ONELOOP_MAX_AGE` for `--max-age`. A variable becomes an
//! argument in front of those of the command line, so that both are checked by the same rules.
//!
//! - An empty variable is unset, because Compose files and CI systems export empty variables.
//! - The command line is stronger: a variable does not count if its flag is given, or a flag that
//!   excludes it.
//! - A flag that may be repeated has one value in each line of its variable. No other character is left
//!   as a separator: fields and patterns may have commas and spaces.
//! - A flag without a value is set by 1, true, yes or on, and is not set by 0, false, no or off. A flag
//!   whose value may be left out understands these too.
//!
//! `ONELOOP_AUTH` is not read here: an empty one is an error. A variable with an unknown name is a mistake of
//! another day, perhaps of long ago, and only a warning.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use super::{Cli, explain, needs};

/// Reads a variable of the environment.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Parses the arguments and the variables. Does not return after `--help` and `--version`.
///
/// # Errors
/// A sentence about the first wrong argument, or about the first wrong variable.
pub(super) fn parse(mut args: Vec<OsString>, variables: Variables<'_>) -> Result<Cli, String> {
    let said = |error: clap::Error| match error.use_stderr() {
        true => explain(&error),
        false => error.exit(),
    };
    let command = Cli::command();
    let flags: Vec<_> = command.get_arguments().collect();
    let is_set = |flag: &Arg| {
        variable(flag)
            .and_then(|name| value(&name, variables))
            .is_some()
    };
    if !flags.iter().any(|flag| is_set(flag)) {
        return read(&command, &args).map_err(said);
    }
    // Mistakes on the command line are told first. A missing flag may be in a variable.
    let given = command.clone().ignore_errors(true);
    let given = given.try_get_matches_from(&args).map_err(said)?;
    let lacks = match read(&command, &args) {
        Ok(_) => false,
        Err(error) if error.kind() == ErrorKind::MissingRequiredArgument => true,
        Err(error) => return Err(said(error)),
    };
    let mut from_variables = Vec::new();
    for flag in flags.iter().filter(|flag| counts(flag, &command, &given)) {
        if let Some(name) = variable(flag)
            && let Some(value) = value(&name, variables)
        {
            from_variables.extend(arguments(flag, &name, &value)?);
        }
    }
    args.splice(args.len().min(1)..args.len().min(1), from_variables);
    read(&command, &args).map_err(|error| {
        let mut said = said(error);
        for flag in &flags {
            if let (Some(long), Some(name)) = (flag.get_long(), variable(flag))
                && counts(flag, &command, &given)
                && is_set(flag)
            {
                said = renamed(&said, &format!("--{long}"), &name);
            }
        }
        match lacks || said.contains(PREFIX) {
            true => said,
            false => format!("{said} (a variable {PREFIX}... in the environment asks for it)"),
        }
    })
}

const PREFIX: &str = "ONELOOP_";

fn read(command: &Command, args: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command.clone().try_get_matches_from(args)?;
    needs::check(&matches)?;
    Cli::from_arg_matches(&matches)
}

/// Returns a sentence about each of these variables that looks like one of ours and is not, with the name that was
/// perhaps meant.
pub(super) fn unknown(names: impl Iterator<Item = OsString>) -> Vec<String> {
    let command = Cli::command();
    let flags: Vec<_> = command.get_arguments().filter_map(variable).collect();
    let is_known = |name: &str| {
        let others = ["ONELOOP_AUTH", "ONELOOP_ROOT"];
        others.contains(&name) || flags.iter().any(|flag| flag == name)
    };
    let names = names.filter_map(|name| name.into_string().ok());
    let unknown = names.filter(|name| name.starts_with(PREFIX) && !is_known(name));
    let meant = |name: &str| {
        let upper = Some(name.to_ascii_uppercase()).filter(|upper| is_known(upper));
        upper.or_else(|| similar(&command, name))
    };
    let said = unknown.map(|name| match meant(&name) {
        Some(similar) => {
            format!("{name:?} in the environment means nothing; did you mean {similar}?")
        }
        None => format!(
            "{name:?} in the environment means nothing; --help lists the flags, each of which has a variable"
        ),
    });
    said.collect()
}

/// The variable with the most similar name, by the measure that finds similar flags.
fn similar(command: &Command, name: &str) -> Option<String> {
    let flag = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
    let flag = OsString::from(format!("--{}", flag.replace('_', "-")));
    let error = command
        .clone()
        .try_get_matches_from([OsString::new(), flag]);
    match error.err()?.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(flag)) => {
            let name = flag.trim_start_matches('-').to_ascii_uppercase();
            Some(format!("{PREFIX}{}", name.replace('-', "_")))
        }
        _ => None,
    }
}

/// The name of the variable of a flag; `None` for the path, and for flags that only print something.
pub(super) fn variable(flag: &Arg) -> Option<String> {
    let long = flag.get_long()?;
    let prints = matches!(long, "help" | "version");
    let name = long.to_ascii_uppercase().replace('-', "_");
    (!prints && long != "auth").then(|| format!("{PREFIX}{name}"))
}

fn value(name: &str, variables: Variables<'_>) -> Option<OsString> {
    variables(name).filter(|value| !value.is_empty())
}

/// Whether the command line leaves the flag to its variable.
fn counts(flag: &Arg, command: &Command, given: &ArgMatches) -> bool {
    let is_given = |flag: &Arg| {
        let id = flag.get_id().as_str();
        given.value_source(id) == Some(ValueSource::CommandLine)
    };
    let excludes = |flag: &Arg, other: &Arg| {
        let others = command.get_arg_conflicts_with(flag);
        others
            .iter()
            .any(|excluded| excluded.get_id() == other.get_id())
    };
    let others = command.get_arguments().filter(|other| is_given(other));
    let mut others = others.filter(|other| excludes(flag, other) || excludes(other, flag));
    !is_given(flag) && others.next().is_none()
}

/// The arguments for the value of a variable.
fn arguments(flag: &Arg, name: &str, value: &OsStr) -> Result<Vec<OsString>, String> {
    let long = flag.get_long().expect("a variable is for a long flag");
    let alone = || vec![OsString::from(format!("--{long}"))];
    let with = |value: &[u8]| {
        let bytes = [b"--", long.as_bytes(), b"=", value].concat();
        OsString::from_vec(bytes)
    };
    let may_be_alone = flag.get_num_args().is_some_and(|n| n.min_values() == 0);
    let set = match value.to_ascii_lowercase().to_str() {
        Some("1" | "true" | "yes" | "on") => Some(true),
        Some("0" | "false" | "no") => Some(false),
        // Some flags have `off` among their values.
        Some("off") if !may_be_alone => Some(false),
        _ => None,
    };
    let lines = value.as_bytes().split(|b| *b == b'\n');
    match (flag.get_action(), set) {
        (ArgAction::SetTrue, None) => Err(format!(
            "{name} {:?}: give 1, true or yes to set it, and 0, false or no if not",
            value.to_string_lossy()
        )),
        (ArgAction::SetTrue, Some(set)) => Ok(if set { alone() } else { Vec::new() }),
        (ArgAction::Append, _) => {
            let lines = lines
                .map(<[u8]>::trim_ascii)
                .filter(|line| !line.is_empty());
            Ok(lines.map(with).collect())
        }
        (_, Some(true)) if may_be_alone => Ok(alone()),
        (_, Some(false)) if may_be_alone => Ok(Vec::new()),
        _ => Ok(vec![with(value.as_bytes())]),
    }
}

/// The sentence with the name of the variable in the place of the flag, where the flag is a whole word.
fn renamed(said: &str, flag: &str, name: &str) -> String {
    let word = |word: &str| match word.strip_prefix(flag) {
        Some(end @ ("" | ";")) => format!("{name}{end}"),
        _ => word.into(),
    };
    said.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
