//! Floor 4, server: the formats of the log, a function for each format and kind of line.
//!
//! Architecture invariant: the bytes of a peer reach a line only through [`Escaped`], [`Sentence`]
//! or [`JsonText`], so no peer can forge a line or send an escape sequence to a terminal.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::time::{Duration, SystemTime};

use jiff::tz::TimeZone;

use crate::connection::{Conversation, Exchange, Handshake};
use crate::site::Size;

/// `12:34:56.789  404     42 B    61 µs  GET /nope (there is no such file here)`. The columns whose
/// width is known come first, so that the lines are aligned.
pub(super) fn pretty(
    out: &mut Vec<u8>,
    exchange: &Exchange,
    took: Duration,
    time: &Time,
    colour: bool,
) -> io::Result<()> {
    let (method, target) = (or_dash(&exchange.method), or_dash(&exchange.target));
    write!(
        out,
        "{time} {} {:>8} {:>7}  {method} {target}",
        Code {
            code: exchange.status,
            colour
        },
        Size(exchange.body_bytes).to_string(),
        Took(took),
    )?;
    match &exchange.reason {
        Some(reason) if exchange.complete || reason.starts_with("cut off") => {
            writeln!(out, " ({})", Sentence(reason))
        }
        Some(reason) => writeln!(out, " (cut off: {})", Sentence(reason)),
        None if exchange.complete => writeln!(out),
        None => writeln!(out, " (cut off)"),
    }
}

/// `12:34:56.789 1000              4.2 s  WebSocket /echo closed: 3 messages in, 3 out`
pub(super) fn pretty_close(
    out: &mut Vec<u8>,
    conversation: &Conversation,
    took: Duration,
    time: &Time,
    colour: bool,
) -> io::Result<()> {
    let Conversation { received, sent, .. } = conversation;
    let plural = if *received == 1 { "" } else { "s" };
    writeln!(
        out,
        "{time} {} {:>8} {:>7}  WebSocket {} closed: {received} message{plural} in, {sent} out",
        Code {
            code: conversation.code.0,
            colour
        },
        "",
        Took(took),
        or_dash(&conversation.target),
    )
}

/// `12:34:56.789    -            12 ms  TLS with 192.168.1.7 has failed: the client does not speak TLS`
pub(super) fn pretty_handshake(
    out: &mut Vec<u8>,
    handshake: &Handshake,
    next: &str,
    took: Duration,
    time: &Time,
    colour: bool,
) -> io::Result<()> {
    writeln!(
        out,
        "{time} {} {:>8} {:>7}  TLS with {} has failed: {}{next}",
        Code { code: 0, colour },
        "",
        Took(took),
        handshake.peer.ip(),
        Sentence(&handshake.failed.reason),
    )
}

/// `12:34:56.789  200       × 126,000  GET /favicon.svg`, for requests that were left out because
/// there were so many.
pub(super) fn pretty_folded(
    out: &mut Vec<u8>,
    count: u64,
    what: Option<&Exchange>,
    time: &Time,
    colour: bool,
) -> io::Result<()> {
    let times = format!("× {}", Grouped(count));
    match what {
        Some(exchange) => writeln!(
            out,
            "{time} {} {times:>16}  {} {}",
            Code {
                code: exchange.status,
                colour
            },
            or_dash(&exchange.method),
            or_dash(&exchange.target),
        ),
        None => writeln!(out, "{time}      {times:>16}  other lines"),
    }
}

/// The "combined" format of Apache httpd: `%h - - [%t] "%r" %>s %b "%{Referer}i" "%{User-agent}i"`.
pub(super) fn combined(out: &mut Vec<u8>, exchange: &Exchange, time: &Time) -> io::Result<()> {
    write!(out, "{} - - [{}] \"", exchange.peer.ip(), time.date)?;
    match &*exchange.method {
        b"" => write!(out, "-")?,
        method => write!(
            out,
            "{} {} HTTP/1.{}",
            Escaped(method),
            Escaped(&exchange.target),
            exchange.minor_version
        )?,
    }
    writeln!(
        out,
        "\" {:03} {} \"{}\" \"{}\"",
        exchange.status,
        exchange.body_bytes,
        or_dash(&exchange.referer),
        or_dash(&exchange.user_agent),
    )
}

/// An object for a request and its answer.
pub(super) fn json(
    out: &mut Vec<u8>,
    exchange: &Exchange,
    took: Duration,
    wall: SystemTime,
) -> io::Result<()> {
    writeln!(
        out,
        "{{\"time\":{},\"peer\":\"{}\",\"slot\":{},\"method\":\"{}\",\"target\":\"{}\",\
         \"status\":{},\"reason\":\"{}\",\"bytes\":{},\"complete\":{},\"ms\":{:.3},\
         \"referer\":\"{}\",\"user_agent\":\"{}\"}}",
        Unix(wall),
        exchange.peer,
        exchange.key.index(),
        JsonText(&exchange.method),
        JsonText(&exchange.target),
        exchange.status,
        JsonText(exchange.reason.as_deref().unwrap_or_default().as_bytes()),
        exchange.body_bytes,
        exchange.complete,
        took.as_secs_f64() * 1e3,
        JsonText(&exchange.referer),
        JsonText(&exchange.user_agent),
    )
}

/// An object for the end of a WebSocket connection, which has a `close_code` in place of a `status`.
pub(super) fn json_close(
    out: &mut Vec<u8>,
    conversation: &Conversation,
    took: Duration,
    wall: SystemTime,
) -> io::Result<()> {
    writeln!(
        out,
        "{{\"time\":{},\"peer\":\"{}\",\"slot\":{},\"target\":\"{}\",\"close_code\":{},\
         \"received\":{},\"sent\":{},\"ms\":{:.3}}}",
        Unix(wall),
        conversation.peer,
        conversation.key.index(),
        JsonText(&conversation.target),
        conversation.code.0,
        conversation.received,
        conversation.sent,
        took.as_secs_f64() * 1e3,
    )
}

/// An object for a handshake of TLS that has failed, which has a `handshake` in place of a `status`.
pub(super) fn json_handshake(
    out: &mut Vec<u8>,
    handshake: &Handshake,
    took: Duration,
    wall: SystemTime,
) -> io::Result<()> {
    writeln!(
        out,
        "{{\"time\":{},\"peer\":\"{}\",\"slot\":{},\"handshake\":\"failed\",\"reason\":\"{}\",\
         \"ms\":{:.3}}}",
        Unix(wall),
        handshake.peer,
        handshake.key.index(),
        JsonText(handshake.failed.reason.as_bytes()),
        took.as_secs_f64() * 1e3,
    )
}

/// Seconds since 1970, with milliseconds.
struct Unix(SystemTime);

impl fmt::Display for Unix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default();
        write!(f, "{}.{:03}", since.as_secs(), since.subsec_millis())
    }
}

/// A status or a close code, in the colour of its class. 0, for no answer, is a dash.
struct Code {
    code: u16,
    colour: bool,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (red, green, yellow, cyan) = (31, 32, 33, 36);
        let text = match self.code {
            0 => Cow::Borrowed("-"),
            code => code.to_string().into(),
        };
        let colour = match self.code {
            300..400 => cyan,
            400..500 => yellow,
            100..300 | 1000..=1001 | 1005 => green,
            _ => red,
        };
        match self.colour {
            true => write!(f, "\x1b[{colour}m{text:>4}\x1b[0m"),
            false => write!(f, "{text:>4}"),
        }
    }
}

fn or_dash(bytes: &[u8]) -> Escaped<'_> {
    Escaped(if bytes.is_empty() { b"-" } else { bytes })
}

/// A peer's bytes, made harmless: no quote, line end or terminal escape gets through.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' | 0..0x20 | 0x7f.. => write!(f, "\\x{byte:02x}")?,
                _ => f.write_char(char::from(byte))?,
            }
        }
        Ok(())
    }
}

/// A sentence of the server, which may quote bytes of a peer. Its quotation marks stay.
struct Sentence<'a>(&'a str);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                0..0x20 | 0x7f.. => write!(f, "\\x{byte:02x}")?,
                _ => f.write_char(char::from(byte))?,
            }
        }
        Ok(())
    }
}

/// A peer's bytes, escaped for a JSON string. A byte beyond ASCII becomes the character of the same
/// number.
struct JsonText<'a>(&'a [u8]);

impl fmt::Display for JsonText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                0..0x20 | 0x7f.. => write!(f, "\\u{byte:04x}")?,
                _ => f.write_char(char::from(byte))?,
            }
        }
        Ok(())
    }
}

/// A time, formatted for human readers: `61 µs`, `6.1 ms`, `61 ms`, `6.1 s`.
pub(super) struct Took(pub Duration);

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (us, s) = (self.0.as_micros(), self.0.as_secs_f64());
        f.pad(&match us {
            0..1_000 => format!("{us} µs"),
            1_000..10_000 => format!("{:.1} ms", s * 1e3),
            10_000..1_000_000 => format!("{:.0} ms", s * 1e3),
            1_000_000..60_000_000 => format!("{s:.1} s"),
            _ => format!("{s:.0} s"),
        })
    }
}

/// A number with a comma after each three digits: `126,000`.
pub(super) struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.char_indices() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// The local time of day, formatted once a second.
#[derive(Debug)]
pub(super) struct Clock {
    zone: TimeZone,
    second: Option<i64>,
    time: Time,
}

#[derive(Default, Debug)]
pub(super) struct Time {
    /// `12:34:56`
    clock: String,
    /// `23/Nov/2026:12:34:56 +0100`
    date: String,
    millisecond: u32,
}

/// `12:34:56.789`
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.clock, self.millisecond)
    }
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock {
            zone: TimeZone::system(),
            second: None,
            time: Time::default(),
        }
    }

    pub(super) fn at(&mut self, wall: SystemTime) -> &Time {
        let timestamp = jiff::Timestamp::try_from(wall).unwrap_or_default();
        self.time.millisecond = timestamp.subsec_millisecond().unsigned_abs();
        if self.second != Some(timestamp.as_second()) {
            self.second = Some(timestamp.as_second());
            let local = timestamp.to_zoned(self.zone.clone());
            self.time.clock = local.strftime("%H:%M:%S").to_string();
            self.time.date = local.strftime("%d/%b/%Y:%H:%M:%S %z").to_string();
        }
        &self.time
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    use crate::connection::Key;
    use crate::transport::FailedHandshake;
    use crate::websocket::CloseCode;

    fn exchange() -> Exchange {
        Exchange {
            key: Key::new(3, 1),
            peer: "127.0.0.1:5".parse().unwrap(),
            method: (*b"GET").into(),
            target: (*b"/a\"\x1b[31m\xe9").into(),
            minor_version: 1,
            referer: [].into(),
            user_agent: (*b"curl\\8").into(),
            status: 200,
            body_bytes: 1_234_567,
            began: Instant::now(),
            reason: None,
            complete: true,
        }
    }

    fn time() -> Time {
        Time {
            clock: "12:34:56".into(),
            date: "23/Nov/2026:12:34:56 +0100".into(),
            millisecond: 7,
        }
    }

    fn shown(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_cannot_be_forged_by_what_a_peer_sends() {
        let took = Duration::from_micros(240);
        assert_eq!(
            shown(|out| pretty(out, &exchange(), took, &time(), false)),
            "12:34:56.007  200   1.2 MB  240 µs  GET /a\\x22\\x1b[31m\\xe9\n"
        );
        assert_eq!(
            shown(|out| combined(out, &exchange(), &time())),
            "127.0.0.1 - - [23/Nov/2026:12:34:56 +0100] \"GET /a\\x22\\x1b[31m\\xe9 HTTP/1.1\" \
             200 1234567 \"-\" \"curl\\x5c8\"\n"
        );
        assert_eq!(
            shown(|out| json(out, &exchange(), took, SystemTime::UNIX_EPOCH)),
            "{\"time\":0.000,\"peer\":\"127.0.0.1:5\",\"slot\":3,\"method\":\"GET\",\
             \"target\":\"/a\\\"\\u001b[31m\\u00e9\",\"status\":200,\"reason\":\"\",\"bytes\":1234567,\
             \"complete\":true,\"ms\":0.240,\"referer\":\"\",\"user_agent\":\"curl\\\\8\"}\n"
        );
    }

    #[test]
    fn bytes_that_are_no_request_have_a_line_too() {
        let mut exchange = exchange();
        (exchange.method, exchange.target) = ([].into(), [].into());
        (exchange.status, exchange.body_bytes, exchange.complete) = (400, 10, false);
        exchange.reason = Some("no \"\x1b[1m\"".into());
        assert_eq!(
            shown(|out| pretty(out, &exchange, Duration::ZERO, &time(), true)),
            "12:34:56.007 \x1b[33m 400\x1b[0m     10 B    0 µs  - - (cut off: no \"\\x1b[1m\")\n"
        );
        assert!(shown(|out| combined(out, &exchange, &time())).contains("\"-\" 400 10"));
    }

    #[test]
    fn a_request_without_an_answer_has_no_status() {
        let mut exchange = exchange();
        (exchange.status, exchange.complete) = (0, false);
        let line = shown(|out| pretty(out, &exchange, Duration::ZERO, &time(), false));
        assert!(line.starts_with("12:34:56.007    - "), "{line}");
        // Readers of the combined format expect three digits.
        assert!(shown(|out| combined(out, &exchange, &time())).contains("\" 000 1234567 "));
    }

    #[test]
    fn the_end_of_a_websocket_connection_is_told_with_its_numbers() {
        let conversation = Conversation {
            key: Key::new(3, 1),
            peer: "127.0.0.1:5".parse().unwrap(),
            target: (*b"/echo").into(),
            began: Instant::now(),
            received: 1,
            sent: 2,
            code: CloseCode::NORMAL,
        };
        let took = Duration::from_millis(4_240);
        assert_eq!(
            shown(|out| pretty_close(out, &conversation, took, &time(), false)),
            "12:34:56.007 1000            4.2 s  WebSocket /echo closed: 1 message in, 2 out\n"
        );
        assert_eq!(
            shown(|out| json_close(out, &conversation, took, SystemTime::UNIX_EPOCH)),
            "{\"time\":0.000,\"peer\":\"127.0.0.1:5\",\"slot\":3,\"target\":\"/echo\",\
             \"close_code\":1000,\"received\":1,\"sent\":2,\"ms\":4240.000}\n"
        );
    }

    #[test]
    fn a_handshake_that_has_failed_has_a_line_with_its_reason() {
        let handshake = Handshake {
            key: Key::new(3, 1),
            peer: "192.168.1.7:5".parse().unwrap(),
            began: Instant::now(),
            failed: FailedHandshake::new("no \"\x1b[1m\""),
        };
        let took = Duration::from_millis(12);
        assert_eq!(
            shown(|out| pretty_handshake(out, &handshake, "; next", took, &time(), false)),
            "12:34:56.007    -            12 ms  TLS with 192.168.1.7 has failed: no \"\\x1b[1m\"; next\n"
        );
        assert_eq!(
            shown(|out| json_handshake(out, &handshake, took, SystemTime::UNIX_EPOCH)),
            "{\"time\":0.000,\"peer\":\"192.168.1.7:5\",\"slot\":3,\"handshake\":\"failed\",\
             \"reason\":\"no \\\"\\u001b[1m\\\"\",\"ms\":12.000}\n"
        );
    }

    #[test]
    fn a_time_has_the_unit_that_suits_it() {
        for (us, expected) in [
            (0, "0 µs"),
            (999, "999 µs"),
            (1_000, "1.0 ms"),
            (12_345, "12 ms"),
            (1_500_000, "1.5 s"),
            (90_000_000, "90 s"),
        ] {
            assert_eq!(Took(Duration::from_micros(us)).to_string(), expected);
        }
    }

    #[test]
    fn folded_lines_are_counted() {
        assert_eq!(
            shown(|out| pretty_folded(out, 126_000, Some(&exchange()), &time(), false)),
            "12:34:56.007  200        × 126,000  GET /a\\x22\\x1b[31m\\xe9\n"
        );
        assert_eq!(
            shown(|out| pretty_folded(out, 12, None, &time(), false)),
            "12:34:56.007                  × 12  other lines\n"
        );
    }
}
