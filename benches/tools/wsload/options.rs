//! The command line of wsload.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

/// The usage message.
pub const USAGE: &str = "\
usage: wsload [-c N] [-n N] [-s BYTES] [-d SECONDS] [--room] [--hold] ws://HOST[:PORT]/PATH
  -c N        connections (64)
  -n N        messages sent in one go on a connection before any is answered (1)
  -s BYTES    size of a message's payload (20)
  -d SECONDS  how long; 0 does nothing but the probe (5)
  --room      the first connection sends, and all hear it
  --hold      wait for a line of input when ready, and for another before closing";

/// The options, with the defaults of the usage message.
#[derive(Debug)]
pub struct Options {
    /// `host:port`
    pub authority: String,
    pub path: String,
    pub connections: usize,
    pub in_flight: usize,
    pub payload_bytes: usize,
    pub duration: Duration,
    pub is_room: bool,
    pub hold: bool,
}

impl Options {
    /// Reads the options. `None` means that the user asked for help.
    ///
    /// # Errors
    /// A sentence about the first wrong argument.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            authority: String::new(),
            path: String::new(),
            connections: 64,
            in_flight: 1,
            payload_bytes: 20,
            duration: Duration::from_secs(5),
            is_room: false,
            hold: false,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--room" => options.is_room = true,
                "--hold" => options.hold = true,
                "-c" => options.connections = positive(&argument, arguments.next())?,
                "-n" => options.in_flight = positive(&argument, arguments.next())?,
                "-s" => options.payload_bytes = value(&argument, arguments.next())?,
                "-d" => {
                    let seconds = value(&argument, arguments.next())?;
                    options.duration = Duration::try_from_secs_f64(seconds)
                        .map_err(|error| format!("-d {seconds}: {error}"))?;
                }
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                _ if !options.authority.is_empty() => {
                    return Err(format!("one address is enough: {argument}"));
                }
                url => (options.authority, options.path) = split(url)?,
            }
        }
        if options.authority.is_empty() {
            return Err("where to? An address such as ws://127.0.0.1:8080/echo is missing".into());
        }
        Ok(Some(options))
    }
}

impl Display for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let Self {
            authority,
            path,
            connections,
            in_flight,
            payload_bytes,
            ..
        } = self;
        let each = if self.is_room { "the first" } else { "each" };
        write!(
            f,
            "connections to ws://{authority}{path}: {connections}; in flight on {each}: {in_flight}; \
             bytes per message: {payload_bytes}"
        )
    }
}

/// Splits a URL into its authority, completed by a port, and its path.
fn split(url: &str) -> Result<(String, String), String> {
    let rest = url
        .strip_prefix("ws://")
        .ok_or_else(|| format!("{url} does not begin with ws://"))?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = if has_port { "" } else { ":80" };
    let path = if path.is_empty() { "/" } else { path };
    Ok((format!("{authority}{port}"), path.into()))
}

fn positive(flag: &str, text: Option<String>) -> Result<usize, String> {
    match value(flag, text)? {
        0 => Err(format!("{flag} takes a number above zero")),
        number => Ok(number),
    }
}

fn value<N: FromStr>(flag: &str, text: Option<String>) -> Result<N, String> {
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| format!("{flag} takes a number"))
}
