//! Floor 4, server: the trace for people. Each connection has a line of the colour of its slot, below the
//! line of the turn. A turn in which nothing happened has no line.

use std::io::{self, Write as _};

use super::jsonl::effect;
use crate::connection::{Key, Moved, TraceRecord};
use crate::transport::Ready;

/// Writes records as lines for people.
#[derive(Debug)]
pub(super) struct Pretty {
    colour: bool,
    clock: bool,
    /// The line of a turn in which nothing has happened yet.
    turn: Vec<u8>,
}

/// The colours of slots, one after the other: those that can be read on dark and on light ground.
const COLOURS: [&str; 6] = ["36", "33", "32", "35", "34", "31"];

impl Pretty {
    pub(super) fn new(colour: bool, clock: bool) -> Pretty {
        Pretty {
            colour,
            clock,
            turn: Vec::new(),
        }
    }

    /// Appends the line of a record of this turn.
    pub(super) fn line(&mut self, out: &mut Vec<u8>, turn: u32, record: TraceRecord) {
        let done = match record {
            TraceRecord::Turn {
                events,
                began,
                waited_from,
            } => self.begin(out, turn, events, (began, waited_from)),
            _ => {
                out.append(&mut self.turn);
                self.indented(out, record)
            }
        };
        done.expect("a Vec takes all");
    }

    /// Appends a line that says how many records are missing.
    pub(super) fn lost(&mut self, out: &mut Vec<u8>, count: u64) {
        out.append(&mut self.turn);
        writeln!(out, "{count} records are missing: the output was too slow")
            .expect("a Vec takes all");
    }

    /// Appends the last line.
    pub(super) fn stop(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"the loop has stopped\n");
    }

    /// A turn without an event is a line only if something happens in it.
    fn begin(
        &mut self,
        out: &mut Vec<u8>,
        turn: u32,
        events: u32,
        (began, waited_from): (u64, u64),
    ) -> io::Result<()> {
        self.turn.clear();
        let to = if events > 0 { out } else { &mut self.turn };
        let plural = if events == 1 { "" } else { "s" };
        let (bold, off) = if self.colour {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        write!(to, "{bold}turn {turn}{off}  {events} event{plural}")?;
        if self.clock {
            let at = began as f64 / 1e9;
            let waited = began.saturating_sub(waited_from) as f64 / 1e6;
            write!(to, " at {at:.6} s, after a wait of {waited:.3} ms")?;
        }
        writeln!(to)
    }

    fn indented(&mut self, out: &mut Vec<u8>, record: TraceRecord) -> io::Result<()> {
        let key = record.key().map(|key| key.to_string()).unwrap_or_default();
        let colour = record.key().filter(|_| self.colour).map(colour_of);
        if let Some(colour) = colour {
            write!(out, "\x1b[{colour}m")?;
        }
        write!(out, "{key:>10}  ")?;
        self.words(out, record)?;
        if colour.is_some() {
            write!(out, "\x1b[0m")?;
        }
        writeln!(out)
    }

    fn words(&self, out: &mut Vec<u8>, record: TraceRecord) -> io::Result<()> {
        match record {
            // It has a line of its own.
            TraceRecord::Turn { .. } => Ok(()),
            TraceRecord::Accept { listener, port, .. } => {
                write!(out, "accepted by listener {listener}")?;
                match self.clock {
                    true => write!(out, " from port {port}"),
                    false => Ok(()),
                }
            }
            TraceRecord::Mark { ready, .. } => write!(out, "event: {}", flags(ready)),
            TraceRecord::Read { moved, .. } => write!(out, "read {}", amount(moved)),
            TraceRecord::Step {
                from, to, status, ..
            } => {
                write!(out, "{from:?} -> {to:?}")?;
                match status {
                    0 => Ok(()),
                    status => write!(out, ", answers {status}"),
                }
            }
            TraceRecord::Send { moved, left, .. } => {
                write!(out, "sent {}, {left} B left", amount(moved))
            }
            TraceRecord::Fin { .. } => write!(out, "FIN sent"),
            TraceRecord::Expire { .. } => write!(out, "deadline passed"),
            TraceRecord::Effect { kind, .. } => write!(out, "effect: {}", effect(kind)),
            TraceRecord::Postponed { throttled, .. } => write!(
                out,
                "goes on in a later turn: {}",
                match throttled {
                    true => "the queue of effects is full",
                    false => "its share of this turn is spent",
                }
            ),
            TraceRecord::Close { cause, .. } => write!(out, "closed: {}", cause.words()),
            TraceRecord::Signal { stop: true } => write!(out, "signal to stop"),
            TraceRecord::Signal { stop: false } => write!(out, "signal"),
        }
    }
}

fn colour_of(key: Key) -> &'static str {
    COLOURS[key.index() % COLOURS.len()]
}

fn flags(ready: Ready) -> String {
    let flags = [
        (ready.readable, "readable"),
        (ready.writable, "writable"),
        (ready.peer_closed, "closed by the peer"),
    ];
    let set = flags.iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
}

fn amount(moved: Moved) -> String {
    match moved {
        Moved::Bytes(n) => format!("{n} B"),
        Moved::Blocked => "nothing (would block)".to_owned(),
        Moved::End => "nothing (end of file)".to_owned(),
        Moved::Failed => "nothing (failed)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::ModeName;

    fn text(colour: bool, records: &[TraceRecord]) -> String {
        let (mut out, mut format) = (Vec::new(), Pretty::new(colour, false));
        for (turn, record) in records.iter().enumerate() {
            format.line(&mut out, turn as u32, *record);
        }
        String::from_utf8(out).expect("UTF-8")
    }

    fn turn(events: u32) -> TraceRecord {
        TraceRecord::Turn {
            events,
            began: 0,
            waited_from: 0,
        }
    }

    #[test]
    fn a_turn_in_which_nothing_happened_has_no_line() {
        let key = Key::new(3, 17);
        let (from, to) = (ModeName::ReadingHead, ModeName::Streaming);
        let step = TraceRecord::Step {
            key,
            from,
            to,
            status: 200,
        };
        let expire = TraceRecord::Expire { key };
        let records = [turn(1), step, turn(0), turn(0), turn(0), expire];
        assert_eq!(
            text(false, &records),
            "turn 0  1 event\n      3#17  ReadingHead -> Streaming, answers 200\n\
             turn 4  0 events\n      3#17  deadline passed\n"
        );
    }

    #[test]
    fn the_colour_is_that_of_the_slot() {
        let fin = |slot| TraceRecord::Fin {
            key: Key::new(slot, 1),
        };
        let text = text(true, &[fin(0), fin(1), fin(6)]);
        let colours: Vec<_> = text.lines().map(|line| &line[..5]).collect();
        assert_eq!(colours, ["\x1b[36m", "\x1b[33m", "\x1b[36m"]);
        assert!(text.lines().all(|line| line.ends_with("FIN sent\x1b[0m")));
    }
}
