//! Floor 4, server: the access log, and the warnings of the server. Logging must not block the
//! loop: [`Lines`] are gathered in bounded buffers, and once a turn as many bytes are written as the
//! outputs take. When a buffer is full, lines are dropped and counted. A terminal stopped with
//! Ctrl-S stops the log, but not the server; a full disk neither.

use std::fmt;
use std::io::{self, Write as _};
use std::time::{Duration, Instant, SystemTime};

use jiff::tz::TimeZone;

use super::lines::Lines;
use crate::config::LogFormat;
use crate::connection::{Counters, Exchange, Now};
use crate::sys::Output;

/// The access log on standard output, and warnings on standard error.
#[derive(Debug)]
pub struct Log {
    format: LogFormat,
    /// Standard output: the access log.
    log: Lines,
    /// Standard error: warnings.
    errors: Lines,
    /// Whether standard output is a terminal.
    terminal: bool,
    /// Whether [notices](Log::notice) are written.
    notices: bool,
    /// Whether the reader knows what a stop waits for.
    stop_told: bool,
    clock: Clock,
    /// When a failure to accept, or a crowd at the limit of connections, was last reported.
    reported: Option<Instant>,
}

impl Log {
    /// How long to wait before a blocked output is tried again. The outputs are not registered with
    /// the poll: epoll(7) does not take regular files, and a log is not worth an event source.
    const RETRY: Duration = Duration::from_millis(100);

    /// A log to standard output with at most `bytes_max` bytes waiting, and warnings to standard
    /// error with the same bound.
    pub fn new(format: LogFormat, bytes_max: usize) -> Log {
        Log {
            format,
            log: Lines::new(Output::stdout(), bytes_max),
            errors: Lines::new(Output::stderr(), bytes_max),
            terminal: false,
            notices: false,
            stop_told: false,
            clock: Clock::new(),
            reported: None,
        }
    }

    /// Also writes notices: the lines about the server itself, such as the summary at the end.
    #[must_use]
    pub fn with_notices(mut self) -> Log {
        self.notices = true;
        self
    }

    /// Standard output is a terminal, so a person reads the log. Notices then stand among the lines
    /// of the log.
    #[must_use]
    pub fn on_terminal(mut self) -> Log {
        self.terminal = true;
        self
    }

    /// Writes `text`, one line or several, each with a line end, unless no notices are wanted.
    /// Notices go to standard error if standard output is not a terminal: a program that reads the
    /// log must find the log there and nothing else.
    pub fn notice(&mut self, text: &str) {
        if self.notices {
            match self.terminal {
                true => self.log.push(text),
                false => self.errors.push(text),
            }
            self.flush();
        }
    }

    /// Writes a warning, which is one line, to standard error.
    pub fn warn(&mut self, text: impl fmt::Display) {
        self.errors.push(&format!("warning: {text}\n"));
        self.errors.flush();
    }

    /// Whether exchanges need to be collected.
    pub fn wants_exchanges(&self) -> bool {
        self.format != LogFormat::Off && !self.log.has_ended()
    }

    /// When to run a turn even if no event comes, because lines are waiting; `None` if no retry is
    /// needed.
    pub fn retry_at(&self, now: Instant) -> Option<Instant> {
        let blocked = self.log.is_blocked() || self.errors.is_blocked();
        blocked.then(|| now + Log::RETRY)
    }

    /// Formats `exchanges`, empties the list, and writes as much as standard output takes. The
    /// clock is read again only if a line is to be written: a service time ends here, not at the
    /// beginning of the turn.
    pub(super) fn record(&mut self, exchanges: &mut Vec<Exchange>, now: impl FnOnce() -> Now) {
        if exchanges.is_empty() && !self.log.is_waiting() && !self.errors.is_waiting() {
            return;
        }
        let now = now();
        for exchange in exchanges.drain(..) {
            if !self.log.has_space() {
                self.log.drop_one();
                continue;
            }
            self.note_dropped();
            self.line(&exchange, now);
        }
        self.flush();
    }

    /// Reports the lines dropped so far, if any, in the format of the log.
    fn note_dropped(&mut self) {
        let dropped = self.log.take_dropped();
        if dropped == 0 {
            return;
        }
        let out = self.log.buffer();
        match self.format {
            LogFormat::Json => writeln!(out, "{{\"dropped\":{dropped}}}").expect("a Vec takes all"),
            LogFormat::Pretty => {
                writeln!(out, "{dropped} lines dropped: {UNREAD}").expect("a Vec takes all");
            }
            // The combined format has no such line, and a reader would stumble over it.
            LogFormat::Combined | LogFormat::Off => {
                self.warn(format_args!("{dropped} lines of the log dropped: {UNREAD}"));
            }
        }
    }

    fn line(&mut self, exchange: &Exchange, now: Now) {
        let out = self.log.buffer();
        let took = now.instant.saturating_duration_since(exchange.began);
        let time = self.clock.at(now.wall);
        match self.format {
            LogFormat::Pretty => pretty(out, exchange, took, time),
            LogFormat::Combined => combined(out, exchange, time),
            LogFormat::Json => json(out, exchange, took, now.wall),
            LogFormat::Off => Ok(()),
        }
        .expect("a Vec takes all");
    }

    /// Writes what the outputs take now.
    fn flush(&mut self) {
        if let Some(error) = self.log.flush() {
            self.warn(format_args!(
                "the log cannot be written: {error}; lines that find no space in memory are counted"
            ));
        }
        self.errors.flush();
    }

    /// Notes that a signal has come. On a terminal, `^C` stands at the beginning of the line, and the
    /// next text must not follow it there.
    pub(super) fn signalled(&mut self) {
        if self.terminal {
            self.notice("\n");
        }
    }

    /// Says once what a stop waits for: `owing` answers, or only the ends of `open` connections.
    pub(super) fn stopping(&mut self, owing: usize, open: usize, time: Duration) {
        if std::mem::replace(&mut self.stop_told, true) {
            return;
        }
        let what = match (owing, open) {
            (0, 1) => "1 connection is still closing".to_owned(),
            (0, n) => format!("{n} connections are still closing"),
            (1, _) => "1 answer is still on its way".to_owned(),
            (n, _) => format!("{n} answers are still on their way"),
        };
        let s = time.as_secs_f64();
        self.notice(&format!(
            "stopping: {what}, {s} s at most; Ctrl-C again stops now\n"
        ));
    }

    /// Writes the last lines: the summary, and the number of lines that are lost. An output that
    /// takes nothing must not delay the end of the program.
    pub(super) fn finish(&mut self, counters: &Counters) {
        self.note_dropped();
        self.notice(&format!("stopped: {counters}\n"));
        self.flush();
        let lost = self.log.abandon();
        if lost > 0 && !self.log.has_ended() {
            self.warn(format_args!("{lost} lines of the log were not written"));
        }
    }

    /// Warns about a failure to accept.
    pub(super) fn cannot_accept(&mut self, error: &io::Error, now: Instant) {
        self.warn_now_and_then(
            format_args!("cannot accept connections: {error}; if this persists, raise `ulimit -n`"),
            now,
        );
    }

    /// Warns that new connections wait, because `max` connections are open.
    pub(super) fn at_the_limit(&mut self, max: usize, now: Instant) {
        self.warn_now_and_then(
            format_args!(
                "at the limit of {max} connections: new ones wait until others end; \
                 --max-connections sets the limit"
            ),
            now,
        );
    }

    /// Warns at most once a second.
    fn warn_now_and_then(&mut self, warning: fmt::Arguments<'_>, now: Instant) {
        let often = |at| now.saturating_duration_since(at) < Duration::from_secs(1);
        if !self.reported.is_some_and(often) {
            self.reported = Some(now);
            self.warn(warning);
        }
    }
}

/// Why lines of the log were dropped.
const UNREAD: &str = "the log was not read in time";

/// `12:34:56.789 GET /app.js 200 78 B 0.2 ms #3`
fn pretty(out: &mut Vec<u8>, exchange: &Exchange, took: Duration, time: &Time) -> io::Result<()> {
    let (method, target) = (or_dash(&exchange.method), or_dash(&exchange.target));
    let cut = if exchange.complete { "" } else { " (cut off)" };
    writeln!(
        out,
        "{}.{:03} {method} {target} {} {}{cut} {:.1} ms #{}",
        time.clock,
        time.millisecond,
        exchange.status,
        Size(exchange.body_bytes),
        took.as_secs_f64() * 1e3,
        exchange.key.index(),
    )
}

/// The "combined" format of Apache httpd: `%h - - [%t] "%r" %>s %b "%{Referer}i" "%{User-agent}i"`.
fn combined(out: &mut Vec<u8>, exchange: &Exchange, time: &Time) -> io::Result<()> {
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
        "\" {} {} \"{}\" \"{}\"",
        exchange.status,
        exchange.body_bytes,
        or_dash(&exchange.referer),
        or_dash(&exchange.user_agent),
    )
}

fn json(
    out: &mut Vec<u8>,
    exchange: &Exchange,
    took: Duration,
    wall: SystemTime,
) -> io::Result<()> {
    let since = wall
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    writeln!(
        out,
        "{{\"time\":{}.{:03},\"peer\":\"{}\",\"slot\":{},\"method\":\"{}\",\"target\":\"{}\",\
         \"status\":{},\"bytes\":{},\"complete\":{},\"ms\":{:.3},\"referer\":\"{}\",\
         \"user_agent\":\"{}\"}}",
        since.as_secs(),
        since.subsec_millis(),
        exchange.peer,
        exchange.key.index(),
        JsonText(&exchange.method),
        JsonText(&exchange.target),
        exchange.status,
        exchange.body_bytes,
        exchange.complete,
        took.as_secs_f64() * 1e3,
        JsonText(&exchange.referer),
        JsonText(&exchange.user_agent),
    )
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
                _ => fmt::Write::write_char(f, char::from(byte))?,
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
                _ => fmt::Write::write_char(f, char::from(byte))?,
            }
        }
        Ok(())
    }
}

/// A number of bytes, formatted for human readers.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.0 as f64;
        match self.0 {
            0..1_000 => write!(f, "{} B", self.0),
            1_000..1_000_000 => write!(f, "{:.1} kB", n / 1e3),
            1_000_000..1_000_000_000 => write!(f, "{:.1} MB", n / 1e6),
            _ => write!(f, "{:.1} GB", n / 1e9),
        }
    }
}

/// The local time of day, formatted once a second.
#[derive(Debug)]
struct Clock {
    zone: TimeZone,
    second: Option<i64>,
    time: Time,
}

#[derive(Default, Debug)]
struct Time {
    /// `12:34:56`
    clock: String,
    /// `23/Nov/2026:12:34:56 +0100`
    date: String,
    millisecond: u32,
}

impl Clock {
    fn new() -> Clock {
        Clock {
            zone: TimeZone::system(),
            second: None,
            time: Time::default(),
        }
    }

    fn at(&mut self, wall: SystemTime) -> &Time {
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
    use crate::connection::Key;

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
            shown(|out| pretty(out, &exchange(), took, &time())),
            "12:34:56.007 GET /a\\x22\\x1b[31m\\xe9 200 1.2 MB 0.2 ms #3\n"
        );
        assert_eq!(
            shown(|out| combined(out, &exchange(), &time())),
            "127.0.0.1 - - [23/Nov/2026:12:34:56 +0100] \"GET /a\\x22\\x1b[31m\\xe9 HTTP/1.1\" \
             200 1234567 \"-\" \"curl\\x5c8\"\n"
        );
        assert_eq!(
            shown(|out| json(out, &exchange(), took, SystemTime::UNIX_EPOCH)),
            "{\"time\":0.000,\"peer\":\"127.0.0.1:5\",\"slot\":3,\"method\":\"GET\",\
             \"target\":\"/a\\\"\\u001b[31m\\u00e9\",\"status\":200,\"bytes\":1234567,\
             \"complete\":true,\"ms\":0.240,\"referer\":\"\",\"user_agent\":\"curl\\\\8\"}\n"
        );
    }

    #[test]
    fn bytes_that_are_no_request_have_a_line_too() {
        let mut exchange = exchange();
        (exchange.method, exchange.target) = ([].into(), [].into());
        (exchange.status, exchange.body_bytes, exchange.complete) = (400, 10, false);
        assert_eq!(
            shown(|out| pretty(out, &exchange, Duration::ZERO, &time())),
            "12:34:56.007 - - 400 10 B (cut off) 0.0 ms #3\n"
        );
        assert!(shown(|out| combined(out, &exchange, &time())).contains("\"-\" 400 10"));
    }
}
