//! Floor 4, server: the state that the endpoints of the inspector share with the server: the watchers, and
//! the wishes of watchers and other clients. The state has a bound, whatever clients send.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use serde_json::Value;

use super::download::Download;
use crate::connection::Key;
use crate::server::pace::Totals;
use crate::server::report::Times;

/// The shared state.
pub(in crate::server) type SharedWatchers = Rc<RefCell<Watchers>>;

/// The watchers, the questions of clients, and the downloads of the flight recorder.
#[derive(Default, Debug)]
pub(in crate::server) struct Watchers {
    /// The open WebSocket connections of the inspector.
    pub open: BTreeMap<Key, Watcher>,
    /// The requests that the server is to answer.
    questions: VecDeque<(Key, Question)>,
    /// The wishes of watchers for the loop.
    controls: VecDeque<(Key, Control)>,
    /// The downloads of the flight recorder, by request.
    pub downloads: BTreeMap<Key, Download>,
    /// Whether anything has happened that the server has not looked at.
    has_news: bool,
}

/// A client that watches the loop.
#[derive(Default, Debug)]
pub(in crate::server) struct Watcher {
    pub view: View,
    /// The connection to be shown in detail.
    pub picked: Option<Key>,
    /// When the next snapshot is due.
    pub next_at: Option<Instant>,
    /// The snapshots that were left out because the watcher had not taken the last one.
    pub skipped: u64,
    /// Those since the last one that was sent.
    pub in_a_row: u32,
    /// The loop's totals at the last snapshot.
    pub told: Totals,
    /// The longest turn since the last snapshot, in nanoseconds.
    pub longest: u64,
}

/// The connections that a snapshot shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::server) struct View {
    /// The first slot.
    pub from: usize,
    /// The last slot. With a filter there is none, and the view goes on until it is full.
    pub to: Option<usize>,
    /// The letter of the only mode that is shown.
    pub filter: Option<char>,
}

/// A request that only the server can answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::server) enum Question {
    /// A snapshot as JSON.
    Status(View),
    /// A snapshot as text.
    Table(View),
    /// The flight recorder.
    Ring,
    /// The report.
    Report,
    /// The percentiles of these times.
    Percentiles(Times),
}

/// A wish of a watcher for the loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::server) enum Control {
    /// Hold all other connections back.
    Pause,
    /// Let all connections go.
    Run,
    /// Run the other connections for one turn.
    Step,
    /// Run the other connections a few times a second.
    Slow,
    /// Block the loop for a while.
    Block,
}

/// A message of a watcher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::server) enum Told {
    View(View),
    Pick(Option<Key>),
    Control(Control),
}

impl Watchers {
    /// The number of watchers. Each costs the loop as much as a few dozen small requests a second.
    pub const OPEN_MAX: usize = 16;

    /// The number of questions that wait. The server answers them within a turn or two.
    const QUESTIONS_MAX: usize = 64;

    /// The number of snapshots in a row that are left out for a watcher before it counts as gone: ten seconds.
    const IN_A_ROW_MAX: u32 = 100;

    /// The number of controls that wait.
    const CONTROLS_MAX: usize = 16;

    /// The number of downloads of the flight recorder at a time: each holds a copy.
    const DOWNLOADS_MAX: usize = 2;

    /// Adds a watcher. Returns `false` if there are too many.
    pub fn add(&mut self, key: Key) -> bool {
        if self.open.len() >= Self::OPEN_MAX {
            return false;
        }
        self.open.insert(key, Watcher::default());
        self.has_news = true;
        true
    }

    /// Removes a watcher.
    pub fn remove(&mut self, key: Key) {
        self.open.remove(&key);
        self.controls.retain(|(owner, _)| *owner != key);
        self.has_news = true;
    }

    /// Takes a message of a watcher.
    pub fn take(&mut self, key: Key, told: Told) {
        let Some(watcher) = self.open.get_mut(&key) else {
            return;
        };
        match told {
            Told::View(view) => watcher.view = view,
            Told::Pick(picked) => watcher.picked = picked,
            Told::Control(control) => {
                // The loop can be blocked once at a time, and runs or rests whatever was asked before.
                let is_block = |other: &(Key, Control)| other.1 == Control::Block;
                if matches!(control, Control::Run | Control::Pause) {
                    self.controls.clear();
                }
                if control == Control::Block && self.controls.iter().any(is_block) {
                    return;
                }
                if self.controls.len() < Self::CONTROLS_MAX {
                    self.controls.push_back((key, control));
                    self.has_news = true;
                }
            }
        }
    }

    /// Keeps a request that the server is to answer. Returns `false` if there are too many.
    pub fn ask(&mut self, request: Key, question: Question) -> bool {
        let rings = self.questions.iter().filter(|(_, q)| *q == Question::Ring);
        let is_many = match question {
            Question::Ring => self.downloads.len() + rings.count() >= Self::DOWNLOADS_MAX,
            Question::Status(_)
            | Question::Table(_)
            | Question::Report
            | Question::Percentiles(_) => self.questions.len() >= Self::QUESTIONS_MAX,
        };
        if !is_many {
            self.questions.push_back((request, question));
            self.has_news = true;
        }
        !is_many
    }

    /// Forgets a request, because its client has left.
    pub fn forget(&mut self, request: Key) {
        self.questions.retain(|(key, _)| *key != request);
        self.downloads.remove(&request);
    }

    /// Takes the next question.
    pub fn next_question(&mut self) -> Option<(Key, Question)> {
        self.questions.pop_front()
    }

    /// Takes the next control.
    pub fn next_control(&mut self) -> Option<(Key, Control)> {
        self.controls.pop_front()
    }

    /// Forgets the controls, because the server stops.
    pub fn forget_controls(&mut self) {
        self.controls.clear();
    }

    /// Whether a watcher is there and takes its snapshots.
    pub fn is_watching(&self, key: Key) -> bool {
        let watcher = self.open.get(&key);
        watcher.is_some_and(|watcher| watcher.in_a_row < Self::IN_A_ROW_MAX)
    }

    /// Whether anything has happened that the server has not looked at.
    pub fn has_news(&self) -> bool {
        self.has_news
    }

    /// Whether a question waits.
    pub fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Whether a control waits.
    pub fn has_controls(&self) -> bool {
        !self.controls.is_empty()
    }

    /// Notes that the server has looked.
    pub fn looked(&mut self) {
        self.has_news = false;
    }

    /// Whether a connection belongs to the inspector now: it watches, or is owed an answer.
    pub fn has(&self, connection: Key) -> bool {
        let is_of = |request: &Key| request.index() == connection.index();
        self.open.contains_key(&connection)
            || self.questions.iter().any(|(request, _)| is_of(request))
            || self.downloads.keys().any(is_of)
    }
}

impl Default for View {
    fn default() -> View {
        View::new(0, None, "")
    }
}

impl View {
    /// The number of slots of a view, and of the connections that are shown.
    pub const SLOTS_MAX: usize = 256;

    /// The modes by their letters. The dot stands for a connection between two requests.
    const LETTERS: &str = "·RBAFSWUTL";

    /// A view of these slots. An unknown filter is none.
    pub fn new(from: usize, to: Option<usize>, filter: &str) -> View {
        let mut letters = filter.chars();
        let letter = letters.next().filter(|c| Self::LETTERS.contains(*c));
        let filter = letter.filter(|_| letters.next().is_none());
        let to = to.filter(|_| filter.is_none());
        View { from, to, filter }
    }
}

/// Reads a message of a watcher. `None`: it is no such message.
pub(in crate::server) fn parse(text: &str) -> Option<Told> {
    let message: Value = serde_json::from_str(text).ok()?;
    if let Some(view) = message.get("view") {
        let number = |name| view.get(name).and_then(Value::as_u64);
        let number = |name| number(name).and_then(|n| usize::try_from(n).ok());
        let filter = view
            .get("filter")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let (from, to) = (number("from").unwrap_or(0), number("to"));
        return Some(Told::View(View::new(from, to, filter)));
    }
    if let Some(picked) = message.get("pick") {
        return match picked {
            Value::Null => Some(Told::Pick(None)),
            picked => Some(Told::Pick(Some(parse_key(picked.as_str()?)?))),
        };
    }
    let control = match message.get("control")?.as_str()? {
        "pause" => Control::Pause,
        "run" => Control::Run,
        "step" => Control::Step,
        "slow" => Control::Slow,
        "block" => Control::Block,
        _ => return None,
    };
    Some(Told::Control(control))
}

/// The key of a connection as it is shown: `3#17`.
fn parse_key(text: &str) -> Option<Key> {
    let (index, generation) = text.split_once('#')?;
    let index: u32 = index.parse().ok()?;
    Some(Key::new(index as usize, generation.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_and_what_is_none_is_ignored() {
        for (text, told) in [
            (
                r#"{"view":{"from":512,"to":600,"filter":"W"}}"#,
                Told::View(View {
                    from: 512,
                    to: None,
                    filter: Some('W'),
                }),
            ),
            (
                r#"{"view":{"from":5,"to":1e9,"filter":"no"}}"#,
                Told::View(View::new(5, None, "")),
            ),
            (
                r#"{"view":{"from":18446744073709551615}}"#,
                Told::View(View::new(usize::MAX, None, "")),
            ),
            (
                r#"{"view":{"filter":"·","from":-1}}"#,
                Told::View(View::new(0, None, "·")),
            ),
            (r#"{"pick":"3#17"}"#, Told::Pick(Some(Key::new(3, 17)))),
            (r#"{"pick":null}"#, Told::Pick(None)),
            (r#"{"control":"step"}"#, Told::Control(Control::Step)),
        ] {
            assert_eq!(parse(text), Some(told), "{text}");
        }
        let deep = "[".repeat(4_000);
        for text in [
            "",
            "[]",
            "null",
            "{}",
            &deep,
            r#"{"pick":"3"}"#,
            r#"{"pick":3}"#,
            r##"{"pick":"#"}"##,
            r#"{"pick":"99999999999#1"}"#,
            r#"{"pick":"1#99999999999"}"#,
            r#"{"control":"stop"}"#,
            r#"{"control":{}}"#,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn questions_controls_watchers_and_downloads_are_bounded() {
        let mut watchers = Watchers::default();
        let key = |n| Key::new(n, 1);
        assert_eq!((0..100).filter(|n| watchers.add(key(*n))).count(), 16);
        (0..100).for_each(|_| watchers.take(key(0), Told::Control(Control::Step)));
        assert_eq!(watchers.controls.len(), 16);
        // One that is not there asks for nothing.
        watchers.take(key(99), Told::Control(Control::Step));
        let status = Question::Status(View::default());
        let asked = (0..100).filter(|n| watchers.ask(key(*n), status));
        assert_eq!(asked.count(), 64);
        while watchers.next_question().is_some() {}
        assert_eq!(
            (0..9)
                .filter(|n| watchers.ask(key(*n), Question::Ring))
                .count(),
            2
        );
        watchers.forget(key(0));
        assert!(watchers.ask(key(5), Question::Ring) && !watchers.ask(key(6), Question::Ring));
    }
}
