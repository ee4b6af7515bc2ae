//! Floor 4, server: the trace as JSON lines, one object for each record.
//!
//! ```text
//! {"oneloop-trace":1,"version":"0.1.0"}
//! {"t":812,"e":"turn","events":1}
//! {"t":812,"e":"mark","c":"3#17","ready":"rw"}
//! {"t":812,"e":"read","c":"3#17","n":93}
//! {"t":812,"e":"step","c":"3#17","from":"ReadingHead","to":"ReadingHead","status":200}
//! {"t":812,"e":"send","c":"3#17","n":893,"left":0}
//! ```
//!
//! `t` is the number of the turn, `e` the kind of record, and `c` the connection: `3#17` is the seventeenth
//! connection of the server, in slot 3. The other members:
//!
//! | `e` | members |
//! |---|---|
//! | `turn` | `events`: how many the wait has returned |
//! | `accept` | `listener`: the number of the listener |
//! | `mark` | `ready`: the flags of the event: `r` readable, `w` writable, `c` closed by the peer |
//! | `read` | `n`: bytes; `end` if there are none: `blocked`, `eof` or `failed` |
//! | `step` | `from`, `to`: the mode; `status`: of the answer that the step gave, if any |
//! | `send` | `n` and `end` as in `read`; `left`: the bytes that still wait |
//! | `fin` | |
//! | `close` | `cause`: as in the metrics |
//! | `expire` | |
//! | `effect` | `what`: `ask`, `answer`, `end`, `room` or `publish`. In `c`, `3/5` is a request to an endpoint, by its number |
//! | `postponed` | `why`: `budget` or `throttled` |
//! | `signal` | `what`: `stop` or `other` |
//! | `lost` | `n`: the number of records that are missing here |
//! | `stop` | the end of the trace: the server has stopped |
//!
//! With the clock, a turn also has `at_us` (when it began, in microseconds since the start of the server),
//! `waited_us` (how long the wait before it was) and `worked_us` (how long the turn before it was), and
//! `accept` has the `port` of the peer.

use std::io::{self, Write as _};

use crate::connection::{EffectKind, Moved, TraceRecord};

/// The number of the format, which changes when a member gets another meaning.
pub const FORMAT: u32 = 1;

/// Writes records as lines.
#[derive(Debug)]
pub struct Jsonl {
    /// Whether to write the values that differ from run to run: times, and ports of peers.
    clock: bool,
    /// When the turn before began.
    began: Option<u64>,
}

impl Jsonl {
    /// A writer of lines, with times or without.
    pub fn new(clock: bool) -> Jsonl {
        Jsonl { clock, began: None }
    }

    /// Appends the first line. `wrapped` says that older records are gone.
    pub fn header(out: &mut Vec<u8>, wrapped: bool) {
        let version = env!("CARGO_PKG_VERSION");
        let wrapped = if wrapped { r#","wrapped":true"# } else { "" };
        append(
            out,
            format_args!(r#"{{"oneloop-trace":{FORMAT},"version":"{version}"{wrapped}}}"#),
        );
    }

    /// Appends the line of a record of this turn.
    pub fn line(&mut self, out: &mut Vec<u8>, turn: u32, record: TraceRecord) {
        self.write(out, turn, record).expect("a Vec takes all");
    }

    /// Appends a line that says how many records are missing.
    pub fn lost(&mut self, out: &mut Vec<u8>, turn: u32, count: u64) {
        // The turn before the next one may be among them.
        self.began = None;
        append(
            out,
            format_args!(r#"{{"t":{turn},"e":"lost","n":{count}}}"#),
        );
    }

    /// Appends the last line, after the last turn.
    pub fn stop(out: &mut Vec<u8>, turn: u32) {
        append(out, format_args!(r#"{{"t":{turn},"e":"stop"}}"#));
    }

    fn write(&mut self, out: &mut Vec<u8>, turn: u32, record: TraceRecord) -> io::Result<()> {
        let e = name(&record);
        write!(out, r#"{{"t":{turn},"e":"{e}""#)?;
        if let Some(key) = record.key() {
            write!(out, r#","c":"{key}""#)?;
        }
        match record {
            TraceRecord::Turn {
                events,
                began,
                waited_from,
            } => {
                write!(out, r#","events":{events}"#)?;
                if self.clock {
                    let waited = began.saturating_sub(waited_from) / 1_000;
                    write!(out, r#","at_us":{},"waited_us":{waited}"#, began / 1_000)?;
                    if let Some(before) = self.began.replace(began) {
                        let worked = waited_from.saturating_sub(before) / 1_000;
                        write!(out, r#","worked_us":{worked}"#)?;
                    }
                }
            }
            TraceRecord::Accept { listener, port, .. } => {
                write!(out, r#","listener":{listener}"#)?;
                if self.clock {
                    write!(out, r#","port":{port}"#)?;
                }
            }
            TraceRecord::Mark { ready, .. } => {
                let flags = [
                    (ready.readable, "r"),
                    (ready.writable, "w"),
                    (ready.peer_closed, "c"),
                ];
                let [r, w, c] = flags.map(|(is_set, letter)| if is_set { letter } else { "" });
                write!(out, r#","ready":"{r}{w}{c}""#)?;
            }
            TraceRecord::Read { moved, .. } => write_moved(out, moved)?,
            TraceRecord::Step {
                from, to, status, ..
            } => {
                write!(out, r#","from":"{from:?}","to":"{to:?}""#)?;
                if status > 0 {
                    write!(out, r#","status":{status}"#)?;
                }
            }
            TraceRecord::Send { moved, left, .. } => {
                write_moved(out, moved)?;
                write!(out, r#","left":{left}"#)?;
            }
            TraceRecord::Effect { kind, .. } => write!(out, r#","what":"{}""#, effect(kind))?,
            TraceRecord::Postponed { throttled, .. } => {
                let why = if throttled { "throttled" } else { "budget" };
                write!(out, r#","why":"{why}""#)?;
            }
            TraceRecord::Close { cause, .. } => write!(out, r#","cause":"{}""#, cause.name())?,
            TraceRecord::Signal { stop } => {
                let what = if stop { "stop" } else { "other" };
                write!(out, r#","what":"{what}""#)?;
            }
            TraceRecord::Fin { .. } | TraceRecord::Expire { .. } => {}
        }
        out.write_all(b"}\n")
    }
}

/// The kind of record, in one word.
pub(super) fn name(record: &TraceRecord) -> &'static str {
    match record {
        TraceRecord::Turn { .. } => "turn",
        TraceRecord::Accept { .. } => "accept",
        TraceRecord::Mark { .. } => "mark",
        TraceRecord::Read { .. } => "read",
        TraceRecord::Step { .. } => "step",
        TraceRecord::Send { .. } => "send",
        TraceRecord::Fin { .. } => "fin",
        TraceRecord::Expire { .. } => "expire",
        TraceRecord::Effect { .. } => "effect",
        TraceRecord::Postponed { .. } => "postponed",
        TraceRecord::Close { .. } => "close",
        TraceRecord::Signal { .. } => "signal",
    }
}

/// The kind of effect, in one word.
pub(super) fn effect(kind: EffectKind) -> &'static str {
    match kind {
        EffectKind::Ask => "ask",
        EffectKind::Answer => "answer",
        EffectKind::End => "end",
        EffectKind::Room => "room",
        EffectKind::Publish => "publish",
    }
}

fn write_moved(out: &mut Vec<u8>, moved: Moved) -> io::Result<()> {
    match moved {
        Moved::Bytes(n) => write!(out, r#","n":{n}"#),
        Moved::Blocked => write!(out, r#","n":0,"end":"blocked""#),
        Moved::End => write!(out, r#","n":0,"end":"eof""#),
        Moved::Failed => write!(out, r#","n":0,"end":"failed""#),
    }
}

fn append(out: &mut Vec<u8>, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("a Vec takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Cause, Key, ModeName};
    use crate::transport::Ready;

    fn lines(clock: bool, records: &[TraceRecord]) -> Vec<String> {
        let (mut out, mut format) = (Vec::new(), Jsonl::new(clock));
        for record in records {
            format.line(&mut out, 812, *record);
        }
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_record_is_an_object_with_the_documented_members() {
        let key = Key::new(3, 17);
        let ready = Ready {
            readable: true,
            writable: false,
            peer_closed: true,
        };
        let (bytes, blocked) = (Moved::Bytes(93), Moved::Blocked);
        let (from, to) = (ModeName::ReadingHead, ModeName::Lingering);
        let step = |status| TraceRecord::Step {
            key,
            from,
            to,
            status,
        };
        let turn = TraceRecord::Turn {
            events: 4,
            began: 5_000,
            waited_from: 2_000,
        };
        let accept = TraceRecord::Accept {
            key,
            listener: 1,
            port: 50_312,
        };
        let (key_only, none) = (Some(key), None);
        let cases = [
            (turn, r#""e":"turn","events":4"#),
            (accept, r#""e":"accept","c":"3#17","listener":1"#),
            (
                TraceRecord::Mark { key, ready },
                r#""e":"mark","c":"3#17","ready":"rc""#,
            ),
            (
                TraceRecord::Read { key, moved: bytes },
                r#""e":"read","c":"3#17","n":93"#,
            ),
            (
                TraceRecord::Read {
                    key,
                    moved: Moved::End,
                },
                r#""e":"read","c":"3#17","n":0,"end":"eof""#,
            ),
            (
                step(400),
                r#""e":"step","c":"3#17","from":"ReadingHead","to":"Lingering","status":400"#,
            ),
            (
                step(0),
                r#""e":"step","c":"3#17","from":"ReadingHead","to":"Lingering""#,
            ),
            (
                TraceRecord::Send {
                    key,
                    moved: bytes,
                    left: 7,
                },
                r#""e":"send","c":"3#17","n":93,"left":7"#,
            ),
            (
                TraceRecord::Send {
                    key,
                    moved: blocked,
                    left: 7,
                },
                r#""e":"send","c":"3#17","n":0,"end":"blocked","left":7"#,
            ),
            (
                TraceRecord::Send {
                    key,
                    moved: Moved::Failed,
                    left: 7,
                },
                r#""e":"send","c":"3#17","n":0,"end":"failed","left":7"#,
            ),
            (TraceRecord::Fin { key }, r#""e":"fin","c":"3#17""#),
            (TraceRecord::Expire { key }, r#""e":"expire","c":"3#17""#),
            (
                TraceRecord::Effect {
                    key: key_only,
                    kind: EffectKind::Room,
                },
                r#""e":"effect","c":"3#17","what":"room""#,
            ),
            (
                TraceRecord::Effect {
                    key: none,
                    kind: EffectKind::Publish,
                },
                r#""e":"effect","what":"publish""#,
            ),
            (
                TraceRecord::Postponed {
                    key,
                    throttled: false,
                },
                r#""e":"postponed","c":"3#17","why":"budget""#,
            ),
            (
                TraceRecord::Close {
                    key,
                    cause: Cause::PeerClosed,
                },
                r#""e":"close","c":"3#17","cause":"peer_closed""#,
            ),
            (
                TraceRecord::Signal { stop: true },
                r#""e":"signal","what":"stop""#,
            ),
        ];
        for (record, expected) in cases {
            let line = &lines(false, &[record])[0];
            assert_eq!(*line, format!(r#"{{"t":812,{expected}}}"#));
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert!(value.is_object());
        }
    }

    #[test]
    fn the_clock_adds_what_differs_from_run_to_run() {
        let turn = |began, waited_from| TraceRecord::Turn {
            events: 1,
            began,
            waited_from,
        };
        let accept = TraceRecord::Accept {
            key: Key::new(0, 1),
            listener: 0,
            port: 50_312,
        };
        let records = [
            turn(5_000_000, 4_000_000),
            accept,
            turn(9_999_999, 5_061_000),
        ];
        let expected = [
            r#"{"t":812,"e":"turn","events":1,"at_us":5000,"waited_us":1000}"#,
            r#"{"t":812,"e":"accept","c":"0#1","listener":0,"port":50312}"#,
            r#"{"t":812,"e":"turn","events":1,"at_us":9999,"waited_us":4938,"worked_us":61}"#,
        ];
        assert_eq!(lines(true, &records), expected);
    }

    #[test]
    fn the_other_lines_are_objects_too() {
        let mut out = Vec::new();
        Jsonl::header(&mut out, false);
        Jsonl::header(&mut out, true);
        Jsonl::new(false).lost(&mut out, 7, 3);
        Jsonl::stop(&mut out, 8);
        let text = String::from_utf8(out).expect("JSON is UTF-8");
        let header = format!(
            r#"{{"oneloop-trace":1,"version":"{}""#,
            env!("CARGO_PKG_VERSION")
        );
        let expected = [
            format!("{header}}}"),
            format!(r#"{header},"wrapped":true}}"#),
            r#"{"t":7,"e":"lost","n":3}"#.to_owned(),
            r#"{"t":8,"e":"stop"}"#.to_owned(),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
