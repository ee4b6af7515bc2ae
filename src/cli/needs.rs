//! Flags that need another: alone they would have no effect, and the user would not know why.

use clap::ArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;

use super::Address;

/// A flag, as its name for `clap` and as it is written; the flag that it needs, likewise; and the argument to add.
const PAIRS: [[&str; 5]; 4] = [
    proxy("proxy_insecure", "--proxy-insecure"),
    proxy("proxy_wait", "--proxy-wait"),
    proxy("proxy_timeout", "--proxy-timeout"),
    [
        "trace_clock",
        "--trace-clock",
        "trace",
        "--trace",
        "--trace FILE",
    ],
];

const fn proxy(name: &'static str, flag: &'static str) -> [&'static str; 5] {
    [name, flag, "proxy", "--proxy", "--proxy PATH=URL"]
}

/// The flags that are about TCP, by name for `clap` and as they are written.
const OF_TCP: [[&str; 2]; 4] = [
    ["port", "--port"],
    ["tls", "--tls"],
    ["tls_cert", "--tls-cert"],
    ["open", "--open"],
];

/// Checks that each flag has what it needs.
///
/// # Errors
/// The first flag that has not, for [`explain`](super::explain).
pub(super) fn check(matches: &ArgMatches) -> Result<(), clap::Error> {
    let is_given = |name| matches.value_source(name) == Some(ValueSource::CommandLine);
    for [name, flag, needed, what, next] in PAIRS {
        if is_given(name) && !is_given(needed) {
            return Err(error(
                ErrorKind::MissingRequiredArgument,
                flag,
                what,
                &format!("add {next}"),
            ));
        }
    }
    let mut addresses = matches.get_many::<Address>("bind").into_iter().flatten();
    let is_unix = |address: &Address| matches!(address, Address::Unix(_));
    if is_given("bind") && addresses.all(is_unix) {
        for [name, flag] in OF_TCP {
            if is_given(name) {
                return Err(error(
                    ErrorKind::ArgumentConflict,
                    flag,
                    "a TCP address, and --bind names only Unix sockets",
                    "add localhost to --bind",
                ));
            }
        }
    }
    Ok(())
}

fn error(kind: ErrorKind, flag: &str, needed: &str, next: &str) -> clap::Error {
    let mut error = clap::Error::new(kind);
    for (context, text) in [
        (ContextKind::InvalidArg, flag),
        (ContextKind::PriorArg, needed),
        (ContextKind::Suggested, next),
    ] {
        error.insert(context, ContextValue::String(text.into()));
    }
    error
}

/// The sentence about a flag that lacks what it needs; `None`: the error is another one.
pub(super) fn explain(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    };
    let flag = text(ContextKind::InvalidArg)?;
    let needed = text(ContextKind::PriorArg)?;
    let next = text(ContextKind::Suggested)?;
    Some(format!(
        "{flag} needs {needed}; {next}, or leave {flag} out"
    ))
}
