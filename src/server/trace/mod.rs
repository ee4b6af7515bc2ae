//! Floor 4, server: the trace, which is the flight recorder as text. A trace is in logical time: a line has
//! the number of its turn. The same acts of the clients therefore give the same trace, on any machine.
//!
//! The loop never waits for the trace: [`Lines`] are gathered in a bounded buffer, and at the end of a turn
//! as many bytes are written as the output takes. Records without space are left out, and counted in the
//! trace. So are records that the ring has lost, because a single turn made more of them than it holds.

pub mod chrome;
pub mod jsonl;
mod pretty;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::lines::Lines;
use super::{Driver, Server};
use crate::connection::{Ring, TraceRecord};
use crate::site::Files;
use crate::sys::Output;
use crate::transport::Transport;
use jsonl::Jsonl;
use pretty::Pretty;

/// A trace on its way to a file or to standard error.
#[derive(Debug)]
pub struct Trace {
    lines: Lines,
    format: Format,
    /// Lines that are held back.
    held: Vec<u8>,
    /// The number in the ring of the first record that was not seen yet.
    next: u64,
    /// The number of records left out since the last line.
    lost: u64,
    /// The turn of the last record.
    turn: u32,
    /// Whether the end of the output was told.
    end_told: bool,
}

#[derive(Debug)]
enum Format {
    Jsonl(Jsonl),
    Pretty(Pretty),
}

impl Trace {
    /// How long to wait before a blocked output is tried again.
    const RETRY: Duration = Duration::from_millis(100);

    /// The bytes of lines that are held back.
    const HELD_MAX: usize = 64 << 10;

    /// A trace as JSON lines to this file, which is made or emptied. About `bytes_max` bytes wait for the
    /// disk at most. `clock` says whether to write times too.
    ///
    /// # Errors
    /// The errors of open(2).
    pub fn to_file(path: &Path, clock: bool, bytes_max: usize) -> io::Result<Trace> {
        let output = Output::create(path)?;
        let mut lines = Lines::new(output, bytes_max);
        Jsonl::header(lines.buffer(), false);
        Ok(Trace::new(lines, Format::Jsonl(Jsonl::new(clock))))
    }

    /// A trace for people to standard error, where the lines of the access log are not.
    pub fn to_stderr(colour: bool, clock: bool, bytes_max: usize) -> Trace {
        let lines = Lines::new(Output::stderr(), bytes_max);
        Trace::new(lines, Format::Pretty(Pretty::new(colour, clock)))
    }

    fn new(lines: Lines, format: Format) -> Trace {
        Trace {
            lines,
            format,
            held: Vec::new(),
            next: 0,
            lost: 0,
            turn: 0,
            end_told: false,
        }
    }

    /// Writes the records that are new in the ring. Returns a warning if the output has begun to fail.
    fn record(&mut self, ring: &Ring) -> Option<String> {
        if self.lines.has_ended() {
            let told = std::mem::replace(&mut self.end_told, true);
            return (!told).then(|| "the trace has no reader any more".to_owned());
        }
        let mut trouble = None;
        if self.lines.is_blocked() {
            trouble = self.lines.flush();
        }
        self.lost += ring.oldest().saturating_sub(self.next);
        for (turn, record) in ring.since(self.next) {
            if !self.lines.has_space() && !self.lines.is_blocked() {
                trouble = self.lines.flush().or(trouble);
            }
            self.turn = turn;
            match self.lines.has_space() {
                true => self.line(record),
                false => self.lost += 1,
            }
        }
        self.next = ring.written();
        if !self.lines.is_blocked() {
            trouble = self.lines.flush().or(trouble);
        }
        trouble.map(|error| {
            format!(
                "the trace cannot be written: {error}; records that find no space are counted in it"
            )
        })
    }

    /// Formats a record. The line of a turn is held back until something has happened in it, or in a later
    /// one. If the file is in a watched directory, each write to it is an event, which makes a turn: a line for
    /// that turn alone would be the next write.
    fn line(&mut self, record: TraceRecord) {
        if self.lost > 0 {
            self.let_go();
        }
        let turn = self.turn;
        let is_turn = matches!(record, TraceRecord::Turn { .. });
        let out = match is_turn {
            true => &mut self.held,
            false => {
                self.let_go();
                self.lines.buffer()
            }
        };
        match &mut self.format {
            Format::Jsonl(format) => format.line(out, turn, record),
            Format::Pretty(format) => format.line(out, turn, record),
        }
        if self.held.len() >= Trace::HELD_MAX {
            self.let_go();
        }
    }

    /// Adds the lines that were held back, and the number of those that are missing.
    fn let_go(&mut self) {
        self.lines.buffer().append(&mut self.held);
        self.say_lost();
    }

    /// Says how many records are missing, if any are.
    fn say_lost(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            let (out, turn) = (self.lines.buffer(), self.turn);
            match &mut self.format {
                Format::Jsonl(format) => format.lost(out, turn, lost),
                Format::Pretty(format) => format.lost(out, lost),
            }
        }
    }

    /// When to run a turn even if no event comes, because lines wait for a reader. Nothing is tried for
    /// the sake of a full disk alone: each turn that was made for it would be another record.
    fn retry_at(&self, now: Instant) -> Option<Instant> {
        let waits = self.lines.is_blocked() && !self.lines.is_failing();
        waits.then(|| now + Trace::RETRY)
    }

    /// Writes the last line, which is the end of the last turn. Returns the number of lines that an output
    /// which takes nothing has kept out of the trace.
    fn finish(&mut self) -> u64 {
        self.let_go();
        match &mut self.format {
            Format::Jsonl(_) => Jsonl::stop(self.lines.buffer(), self.turn),
            Format::Pretty(format) => format.stop(self.lines.buffer()),
        }
        self.lines.flush();
        match self.lines.has_ended() {
            true => 0,
            false => self.lines.abandon(),
        }
    }
}

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// When the trace wants a turn.
    pub(super) fn retry_trace_at(&self, now: Instant) -> Option<Instant> {
        self.trace.as_ref().and_then(|trace| trace.retry_at(now))
    }

    /// Writes the turn's records to the trace, if there is one.
    #[cold]
    pub(super) fn write_trace(&mut self) {
        let trace = self.trace.as_mut();
        let warning = trace.and_then(|trace| trace.record(&self.tally.ring));
        if let (Some(warning), Some(log)) = (warning, &mut self.log) {
            log.warn(warning);
        }
    }

    /// Ends the trace, if there is one.
    pub(super) fn finish_trace(&mut self) {
        let lost = self.trace.as_mut().map_or(0, |trace| trace.finish());
        if let (1.., Some(log)) = (lost, &mut self.log) {
            log.warn(format_args!("{lost} lines of the trace were not written"));
        }
    }
}

#[cfg(all(test, feature = "recorder"))]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::connection::Key;

    /// A file that is removed when the value is dropped.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let name = format!("oneloop-trace-{}-{name}", std::process::id());
            Scratch(std::env::temp_dir().join(name))
        }

        fn lines(&self) -> Vec<String> {
            let text = fs::read_to_string(&self.0).expect("it was made");
            assert!(text.ends_with('\n'), "a line was cut");
            text.lines().skip(1).map(str::to_owned).collect()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn turn_with_ends(ring: &mut Ring, count: usize) {
        ring.begin_turn(0, 0, 0);
        for slot in 0..count {
            let key = Key::new(slot, 1);
            ring.push(TraceRecord::Fin { key });
        }
    }

    #[test]
    fn each_turn_writes_what_is_new() {
        let file = Scratch::new("new");
        let mut ring = Ring::default();
        let mut trace = Trace::to_file(&file.0, false, 100).expect("a file");
        turn_with_ends(&mut ring, 1);
        assert_eq!(trace.record(&ring), None);
        let first = [
            r#"{"t":1,"e":"turn","events":0}"#,
            r#"{"t":1,"e":"fin","c":"0#1"}"#,
        ];
        assert_eq!(file.lines(), first);
        turn_with_ends(&mut ring, 0);
        assert_eq!(trace.record(&ring), None);
        assert_eq!(trace.finish(), 0);
        let rest = [r#"{"t":2,"e":"turn","events":0}"#, r#"{"t":2,"e":"stop"}"#];
        assert_eq!(file.lines(), [first, rest].concat());
    }

    /// However many bytes one turn makes, a disk takes them all.
    #[test]
    fn a_turn_with_more_records_than_the_ring_holds_says_how_many_are_missing() {
        let file = Scratch::new("wrap");
        let mut ring = Ring::default();
        let mut trace = Trace::to_file(&file.0, false, 1_000).expect("a file");
        turn_with_ends(&mut ring, Ring::RECORDS + 6);
        assert_eq!(trace.record(&ring), None);
        let lines = file.lines();
        assert_eq!(lines.len(), 1 + Ring::RECORDS);
        assert_eq!(lines[0], r#"{"t":1,"e":"lost","n":7}"#);
        assert_eq!(lines[1], r#"{"t":1,"e":"fin","c":"6#1"}"#);
    }

    #[test]
    fn a_full_disk_is_told_once_and_the_trace_counts_what_is_missing() {
        let mut ring = Ring::default();
        let mut trace = Trace::to_file(Path::new("/dev/full"), false, 100).expect("a device");
        turn_with_ends(&mut ring, 10);
        let warning = trace.record(&ring).expect("a warning");
        assert!(warning.contains("No space left"), "{warning}");
        let now = Instant::now();
        assert_eq!(trace.retry_at(now), None, "no turn is made for a full disk");
        for _ in 0..3 {
            turn_with_ends(&mut ring, 10);
            assert_eq!(trace.record(&ring), None, "one warning");
        }
        // The header and the first lines found space, and wait.
        let kept = memchr::memchr_iter(b'\n', trace.lines.buffer()).count();
        assert_eq!(trace.lost as usize, 4 * 11 - (kept - 1));
        // The disk has space again.
        let file = Scratch::new("full");
        let output = Output::create(&file.0).expect("a file");
        let waiting = std::mem::take(trace.lines.buffer());
        trace.lines = Lines::new(output, 1_000);
        trace.lines.buffer().extend(waiting);
        turn_with_ends(&mut ring, 1);
        assert_eq!(trace.record(&ring), None);
        let lost = format!(r#"{{"t":5,"e":"lost","n":{}}}"#, 4 * 11 - (kept - 1));
        let lines = file.lines();
        assert_eq!(lines.len(), kept + 2);
        assert_eq!(
            lines[kept - 1..=kept],
            [&lost, r#"{"t":5,"e":"turn","events":0}"#]
        );
    }
}
