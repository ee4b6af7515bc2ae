//! Floor 2, site: the answer when the server of a route does not answer: 502, 504 or 508, as a page, as
//! JSON or as plain text. It says which route, which addresses were tried, what went wrong and for how
//! long, and what to try next.
//!
//! The page asks again by itself, and loads itself anew when the server is back. The field `Proxy-Status`
//! (RFC 9209) tells the page whose answer it got: the proxy lets no such field of another server pass.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io;
use std::time::Duration;

use super::Asked;
use crate::config::{ProxyPlace, ProxyRoute};
use crate::http::{Form, Method, ResponseError, ResponseHead, Status};
use crate::site::pages::{self, Advice, JsonText};
use crate::site::{Body, Reply};

/// A request that the server of a route has not answered, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// The route of the request.
    pub route: &'a ProxyRoute,
    /// The cause.
    pub cause: FailureCause,
    /// The addresses that were tried last, in order. May be empty.
    pub tried: &'a [Attempt<'a>],
    /// The time since the first failure in a row; `None` if it is this one.
    pub lasts: Option<Duration>,
}

/// One address that was tried.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The address as text, such as `127.0.0.1:3000`.
    pub address: &'a str,
    /// The error in words; see [`in_words`]. Empty if the connection was made.
    pub error: &'a str,
}

/// The cause of a failure between this server and the server of a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureCause {
    /// No connection could be made, within the time for which a request waits.
    Unreachable,
    /// The server has closed the connection before its answer was there.
    Closed,
    /// The server has sent something that is no answer.
    Malformed(ResponseError),
    /// The server has switched to another protocol without being asked.
    UnaskedSwitch,
    /// The server has not begun its answer in this time.
    Silent(Duration),
    /// The request has come through this server before.
    Loop,
}

impl FailureCause {
    /// The status of the answer.
    pub fn status(self) -> Status {
        match self {
            FailureCause::Unreachable
            | FailureCause::Closed
            | FailureCause::Malformed(_)
            | FailureCause::UnaskedSwitch => Status::BadGateway,
            FailureCause::Silent(_) => Status::GatewayTimeout,
            FailureCause::Loop => Status::LoopDetected,
        }
    }

    /// The type of the error in `Proxy-Status` (RFC 9209 §2.3).
    fn name(self) -> &'static str {
        match self {
            FailureCause::Unreachable => "destination_unavailable",
            FailureCause::Closed => "connection_terminated",
            FailureCause::Malformed(_) | FailureCause::UnaskedSwitch => "http_protocol_error",
            FailureCause::Silent(_) => "http_response_timeout",
            FailureCause::Loop => "proxy_loop_detected",
        }
    }

    /// Whether the answer can be another one soon, without a change of the user. A server that is there
    /// would only get more work.
    fn may_pass(self) -> bool {
        matches!(self, FailureCause::Unreachable | FailureCause::Closed)
    }
}

/// An error of the system without its number: `Connection refused`.
pub fn in_words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// The sentence about the failure, for the answer and for the log.
impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.route.prefix() {
            "" => "/",
            prefix => prefix,
        };
        let target = self.route.target();
        // The addresses are told where they say more than the target.
        let addresses = self.tried.iter().map(|attempt| attempt.address);
        let addresses: Vec<_> = addresses
            .filter(|a| !target.to_string().contains(a))
            .collect();
        write!(f, "the server for {prefix}, {target}")?;
        if self.cause != FailureCause::Unreachable && !addresses.is_empty() {
            write!(f, " at {}", addresses.join(" and "))?;
        }
        match self.cause {
            FailureCause::Unreachable => {
                f.write_str(", cannot be reached")?;
                for (number, attempt) in self.tried.iter().enumerate() {
                    let separator = if number == 0 { ": " } else { "; " };
                    let Attempt { address, error } = attempt;
                    write!(f, "{separator}{address}: {error}")?;
                }
            }
            FailureCause::Closed => {
                f.write_str(", has closed the connection without an answer")?;
            }
            FailureCause::Malformed(error) => {
                write!(f, ", has sent no answer of HTTP/1.1: {error}")?
            }
            FailureCause::UnaskedSwitch => {
                f.write_str(", has switched to another protocol without being asked")?;
            }
            FailureCause::Silent(time) => {
                write!(f, ", has not begun its answer within {} s", time.as_secs())?;
            }
            FailureCause::Loop => {
                f.write_str(" leads back to this server; name another target for --proxy")?;
            }
        }
        match self.lasts.map(|time| time.as_secs()) {
            None | Some(0) => Ok(()),
            Some(seconds @ 1..120) => write!(f, " (for {seconds} s)"),
            Some(seconds) => write!(f, " (for {} min)", seconds / 60),
        }
    }
}

impl Failure<'_> {
    /// A command that shows more: the program that listens, or the answer of the server.
    fn command(&self) -> Option<String> {
        let target = self.route.target();
        Some(match (self.cause, &target.place) {
            (FailureCause::Loop, _) => return None,
            (FailureCause::Unreachable, ProxyPlace::Unix(socket)) => {
                format!("ls -l {}", shell_word(&socket.to_string_lossy()))
            }
            (FailureCause::Unreachable, ProxyPlace::Host(_, port))
                if target.is_local() && !target.is_tls =>
            {
                format!("ss -ltnp 'sport = :{port}'")
            }
            (_, ProxyPlace::Unix(socket)) => {
                let socket = socket.to_string_lossy();
                format!(
                    "curl -v --unix-socket {} http://localhost/",
                    shell_word(&socket)
                )
            }
            (_, ProxyPlace::Host(..)) => format!("curl -v {target}/"),
        })
    }

    /// The answer to the request.
    pub(crate) fn reply<F>(&self, asked: &Asked) -> Reply<F> {
        let status = self.cause.status();
        let (code, reason) = (status.code(), status.reason());
        let (sentence, command) = (self.to_string(), self.command());
        let retries = self.cause.may_pass() && asked.method == Method::Get;
        let advice = Advice {
            sentence: &sentence,
            command: command.as_deref(),
            near: &[],
            retries,
        };
        let mut body = Vec::new();
        match asked.form {
            Form::Html => pages::error_page(&mut body, code, reason, &advice),
            Form::Json => body = self.json(&sentence, command.as_deref()).into_bytes(),
            Form::Text => {
                let command = command.map(|command| format!("try: {command}\n"));
                let command = command.unwrap_or_default();
                body = format!("{code} {reason}: {sentence}\n{command}").into_bytes();
            }
        }
        let mut head = ResponseHead::new(status)
            .field(
                "Proxy-Status",
                format_args!("oneloop; error={}", self.cause.name()),
            )
            .field("Cache-Control", "no-store")
            .field("Vary", "Accept")
            .field("Content-Type", asked.form.media_type())
            .field("X-Content-Type-Options", "nosniff")
            .field("Content-Length", body.len());
        if asked.form == Form::Html {
            let policy = match retries {
                true => pages::RETRY_POLICY,
                false => pages::ERROR_POLICY,
            };
            head = head.field("Content-Security-Policy", policy);
        }
        Reply {
            reason: Some(Cow::Owned(sentence)),
            form: asked.form,
            ..Reply::new(status, head, Body::Bytes(body.into()))
        }
    }

    fn json(&self, sentence: &str, command: Option<&str>) -> String {
        let status = self.cause.status();
        let (code, reason, sentence) = (status.code(), status.reason(), JsonText(sentence));
        let route = self.route.to_string();
        let mut text = String::new();
        let mut push = |part: fmt::Arguments<'_>| {
            text.write_fmt(part).expect("a String takes everything");
        };
        push(format_args!(
            "{{\"status\":{code},\"reason\":\"{reason}\",\"sentence\":\"{sentence}\","
        ));
        if let Some(command) = command {
            push(format_args!("\"command\":\"{}\",", JsonText(command)));
        }
        push(format_args!(
            "\"error\":\"{}\",\"route\":\"{}\",\"seconds\":{},\"tried\":[",
            self.cause.name(),
            JsonText(&route),
            self.lasts.unwrap_or_default().as_secs(),
        ));
        for (number, Attempt { address, error }) in self.tried.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let (address, error) = (JsonText(address), JsonText(error));
            push(format_args!(
                "{comma}{{\"address\":\"{address}\",\"error\":\"{error}\"}}"
            ));
        }
        push(format_args!("]}}\n"));
        text
    }
}

/// A word of a command for the shell, in quotes if it needs them.
fn shell_word(word: &str) -> Cow<'_, str> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    match word.bytes().all(is_plain) && !word.starts_with('-') {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', "'\\''")).into(),
    }
}

#[cfg(test)]
mod tests;
