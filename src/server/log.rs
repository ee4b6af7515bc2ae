//! Floor 4, server: the access log, and the warnings of the server. Logging must not block the
//! loop: [`Lines`] are gathered in bounded buffers, and once a turn as many bytes are written as the
//! outputs take. When a buffer is full, lines are dropped and counted. A terminal stopped with
//! Ctrl-S stops the log, but not the server; a full disk neither.

use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::flood::Flood;
use super::formats::{self, Clock};
use super::lines::Lines;
use super::start::{Shown, StartError, plainly};
use crate::config::{Config, LogFormat};
use crate::connection::{Counters, Exchange, Now, Record};
use crate::sys::Output;

/// The access log on standard output, and warnings on standard error.
#[derive(Debug)]
pub struct Log {
    format: LogFormat,
    /// The access log, to standard output or to the file.
    log: Lines,
    file: Option<PathBuf>,
    /// Standard error: warnings.
    errors: Lines,
    /// Whether the access log goes to a terminal.
    terminal: bool,
    /// Whether a person sees the notices at a terminal.
    is_seen: bool,
    /// Whether the terminal wants colour.
    colour: bool,
    /// The lines of this second, on a terminal.
    flood: Flood,
    /// Whether [notices](Log::notice) are written.
    notices: bool,
    /// Whether the report is written at the end, however few the requests were.
    reports: bool,
    /// Whether `oneloop cert` tells how to trust the certificate.
    has_authority: bool,
    /// Whether the reader was told the reason of a long stop.
    stop_told: bool,
    clock: Clock,
    /// When a failure to accept, or a crowd at the limit of connections, was last reported.
    reported: Option<Instant>,
}

impl Log {
    /// How long to wait before a blocked output is tried again. The outputs are not registered with
    /// the poll: epoll(7) does not take regular files, and a log is not worth an event source.
    const RETRY: Duration = Duration::from_millis(100);

    /// After this many requests, the report is of interest although it was not asked for.
    const MANY_REQUESTS: u64 = 1_000;

    /// A log to standard output with at most `bytes_max` bytes waiting, and warnings to standard
    /// error with the same bound.
    pub fn new(format: LogFormat, bytes_max: usize) -> Log {
        Log {
            format,
            log: Lines::new(Output::stdout(), bytes_max),
            file: None,
            errors: Lines::new(Output::stderr(), bytes_max),
            terminal: false,
            is_seen: false,
            colour: false,
            flood: Flood::default(),
            notices: false,
            reports: false,
            has_authority: false,
            stop_told: false,
            clock: Clock::new(),
            reported: None,
        }
    }

    /// The log that a configuration asks for.
    ///
    /// # Errors
    /// [`StartError::Log`] if the file of the log cannot be opened.
    pub fn of(config: &Config) -> Result<Log, StartError> {
        let mut log = Log::new(config.log, config.limits.log_bytes_max);
        if let Some(path) = &config.log_file {
            let output = Output::append(path);
            let output = output.map_err(|error| StartError::Log(path.clone(), error))?;
            log.log.continue_in(output);
            log.file = Some(path.clone());
        }
        Ok(log)
    }

    /// Opens the file of the log again, which may have been renamed. If the file cannot be opened, the log
    /// goes on in the old one.
    pub(super) fn open_again(&mut self) {
        let Some(path) = &self.file else { return };
        match Output::append(path) {
            Ok(output) => self.log.continue_in(output),
            Err(error) => {
                let (path, reason) = (Shown(path), plainly(&error));
                let warning =
                    format!("cannot open {path} again: {reason}; the log goes on in the old file");
                self.warn(warning);
            }
        }
    }

    /// Also writes notices: the lines about the server itself, such as the summary at the end.
    #[must_use]
    pub fn with_notices(mut self) -> Log {
        self.notices = true;
        self
    }

    /// Also writes the [report](super::Server::report) at the end, among the notices. After a thousand requests,
    /// the report is written anyway.
    #[must_use]
    pub fn with_report(mut self) -> Log {
        self.reports = true;
        self
    }

    /// The certificates are signed by a CA of this machine: a client that does not trust them can be told to.
    #[cfg(feature = "tls")]
    pub(super) fn set_authority(&mut self) {
        self.has_authority = true;
    }

    /// Standard output is a terminal, so a person reads the log, unless it goes to a file. Notices then
    /// stand among the lines of the log, and a flood of pretty lines is folded, because a terminal is slow.
    #[must_use]
    pub fn on_terminal(mut self, colour: bool) -> Log {
        self.is_seen = true;
        self.terminal = self.file.is_none();
        self.colour = self.terminal && colour;
        self
    }

    /// Writes `text`, one line or several, each with a line end, unless no notices are wanted.
    /// Notices go to standard error if standard output is not a terminal: a program that reads the
    /// log must find the log there and nothing else.
    pub fn notice(&mut self, text: &str) {
        if self.notices {
            self.answer(text);
        }
    }

    /// Writes the answer to a key, one line or several, each with a line end, where notices are written.
    pub(super) fn answer(&mut self, text: &str) {
        match self.terminal {
            true => self.log.push(text),
            false => self.tell(text),
        }
        self.flush();
    }

    /// Clears the terminal, if the log is shown there: with the lines above that are out of sight.
    pub(super) fn clear(&mut self) {
        if self.terminal && self.log.has_space() {
            self.log.buffer().extend_from_slice(b"\x1b[H\x1b[2J\x1b[3J");
            self.flush();
        }
    }

    /// Writes a warning, which is one line, to standard error.
    pub fn warn(&mut self, text: impl fmt::Display) {
        self.tell(&format!("warning: {text}\n"));
        self.errors.flush();
    }

    /// Adds text to standard error, after the number of lines that found no space there before.
    fn tell(&mut self, text: &str) {
        if self.errors.has_space() {
            let dropped = self.errors.take_dropped();
            if dropped > 0 {
                let said = "warning: lines of standard error dropped:";
                self.errors.push(&format!("{said} {dropped}\n"));
            }
        }
        self.errors.push(text);
    }

    /// Whether records need to be collected.
    pub fn wants_records(&self) -> bool {
        self.format != LogFormat::Off && !self.log.has_ended()
    }

    /// The number of lines dropped since the start, by both outputs.
    pub(super) fn lines_dropped(&self) -> u64 {
        self.log.dropped_in_all() + self.errors.dropped_in_all()
    }

    /// When to run a turn even if no event comes, because lines are waiting; `None` if none are.
    #[inline]
    pub fn retry_at(&self, now: Instant) -> Option<Instant> {
        match self.is_idle() {
            true => None,
            false => self.next_try(now),
        }
    }

    /// Whether no line waits, for an output or for the end of a flood: so it is in nearly every turn.
    #[inline]
    fn is_idle(&self) -> bool {
        !self.log.is_waiting() && !self.errors.is_waiting() && !self.flood.has_folded()
    }

    #[cold]
    fn next_try(&self, now: Instant) -> Option<Instant> {
        let blocked = self.log.is_blocked() || self.errors.is_blocked();
        let retry = blocked.then(|| now + Log::RETRY);
        retry.into_iter().chain(self.flood.due()).min()
    }

    /// Formats `records`, and writes as much as the outputs take. The clock is
    /// read again only if a line is to be written: a service time ends here, not at the beginning of
    /// the turn.
    #[inline]
    pub(super) fn record(&mut self, records: &[Record], now: impl FnOnce() -> Now) {
        if !records.is_empty() || !self.is_idle() {
            self.write(records, now());
        }
    }

    fn write(&mut self, records: &[Record], now: Now) {
        self.unfold(now, false);
        let is_for_people = self.format == LogFormat::Pretty && self.terminal;
        for record in records {
            if !is_for_people || self.flood.passes(record, now.instant) {
                self.line(record, now);
            }
        }
        self.flush();
    }

    /// Writes a line for each kind of requests that was left out, if their second is over.
    fn unfold(&mut self, now: Now, at_once: bool) {
        let (folded, others) = self.flood.end(now.instant, at_once);
        let folded = folded.into_iter().map(|(kind, n)| (Some(kind), n));
        let others = Some((None, others)).filter(|(_, n)| *n > 0);
        for (kind, n) in folded.chain(others) {
            let (time, colour) = (self.clock.at(now.wall), self.colour);
            formats::pretty_folded(self.log.buffer(), n, kind.as_deref(), time, colour)
                .expect("a Vec takes all");
        }
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

    fn line(&mut self, record: &Record, now: Now) {
        if !self.log.has_space() {
            return self.log.drop_one();
        }
        self.note_dropped();
        let out = self.log.buffer();
        let (time, colour) = (self.clock.at(now.wall), self.colour);
        let took = |began| now.instant.saturating_duration_since(began);
        match record {
            Record::Exchange(e) => match self.format {
                LogFormat::Pretty if is_noise(e) => Ok(()),
                LogFormat::Pretty => formats::pretty(out, e, took(e.began), time, colour),
                LogFormat::Combined => formats::combined(out, e, time),
                LogFormat::Json => formats::json(out, e, took(e.began), now.wall),
                LogFormat::Off => Ok(()),
            },
            Record::Conversation(c) => match self.format {
                LogFormat::Pretty if is_of_live_reload(&c.target) => Ok(()),
                LogFormat::Pretty => formats::pretty_close(out, c, took(c.began), time, colour),
                LogFormat::Json => formats::json_close(out, c, took(c.began), now.wall),
                // The combined format has lines for requests alone.
                LogFormat::Combined | LogFormat::Off => Ok(()),
            },
            Record::Handshake(h) => match self.format {
                LogFormat::Pretty => {
                    let next = match h.failed.is_distrust && self.has_authority {
                        true => "; `oneloop cert` tells how to trust it",
                        false => "",
                    };
                    formats::pretty_handshake(out, h, next, took(h.began), time, colour)
                }
                LogFormat::Json => formats::json_handshake(out, h, took(h.began), now.wall),
                LogFormat::Combined | LogFormat::Off => Ok(()),
            },
        }
        .expect("a Vec takes all");
    }

    /// Writes as much as the outputs take now.
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
        if self.is_seen {
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

    /// Writes a report, which was asked for, to standard error.
    pub(super) fn report(&mut self, text: &str) {
        self.tell(text);
        self.errors.flush();
    }

    /// Whether the end of the server is to be [finished](Log::finish) with a report.
    pub(super) fn wants_report(&self, counters: &Counters) -> bool {
        self.notices && (self.reports || counters.requests >= Log::MANY_REQUESTS)
    }

    /// Writes the last lines: the report if there is one, the summary, and the number of lines that are
    /// lost. An output that takes nothing must not delay the end of the program.
    pub(super) fn finish(&mut self, counters: &Counters, report: Option<&str>, now: Now) {
        self.unfold(now, true);
        self.note_dropped();
        if let Some(report) = report {
            self.notice(report);
        }
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

    /// Warns that a file is not sent, because it is in another coding than its name says.
    pub(super) fn unfit(&mut self, path: &[u8]) {
        let path = path.escape_ascii();
        self.warn(format_args!(
            "{path} is not in the coding of its name and is not sent; make it anew"
        ));
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

/// Whether a person does not want to see the line: browsers ask every site for this file, and each page
/// for live reload.
fn is_noise(exchange: &Exchange) -> bool {
    let is_icon = exchange.status == 404 && *exchange.target == *b"/favicon.ico";
    is_icon || (exchange.status < 400 && is_of_live_reload(&exchange.target))
}

/// Whether a target is the script of live reload or the place of its connections.
fn is_of_live_reload(target: &[u8]) -> bool {
    target.starts_with(b"/_oneloop/live")
}
