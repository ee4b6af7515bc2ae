//! Floor 4, server: a trace in the JSON format of Chrome's tracing, which Perfetto shows. Pure: lines in,
//! objects out, one turn in memory at a time.
//!
//! | in the trace | for the viewer |
//! |---|---|
//! | a turn | a slice of the track `loop`; inside it the parts of the turn, each connection that was moved, and each record |
//! | a slot | a track with its connections, one after the other; inside each the modes |
//! | a request | an arrow from the event (or the accept) to the read, and to the last write of the answer |
//! | the numbers of connections and of events | two counters |
//!
//! Rules that the viewers have: slices of a track must nest; an end of an arrow must lie in a slice that
//! exists at its time; identifiers of arrows are whole numbers. So each slice is written when its end is
//! known, and all moments of a turn are different. Times are in nanoseconds here and in microseconds for
//! the viewer. A record has no time of its own: the records of a turn are spread evenly over it, and a turn
//! of a trace without a clock takes a millisecond.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufRead, Read as _, Write};

use serde_json::{Value, json};

use super::jsonl::FORMAT;

/// Why a conversion has failed.
#[derive(Debug)]
pub enum Error {
    /// The trace cannot be read.
    Read(io::Error),
    /// The output cannot be written.
    Write(io::Error),
    /// The line with this number, from 1, is not a line of a trace, for this reason.
    Line(u64, String),
}

/// The result of a conversion, as a sentence.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Converted {
    /// The number of turns.
    pub turns: u64,
    /// The number of records that the trace says are missing.
    pub lost: u64,
    /// Whether the last line was cut, and left out.
    pub is_cut: bool,
}

impl fmt::Display for Converted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} turns converted", self.turns)?;
        if self.lost > 0 {
            write!(f, ", {} records are missing", self.lost)?;
        }
        if self.is_cut {
            f.write_str(", the last line is cut and was left out")?;
        }
        Ok(())
    }
}

/// The longest line that is taken for one. Our lines have about a hundred bytes.
const LINE_MAX: u64 = 4096;

/// The track of the loop. The track of a slot is `SLOTS` and its number.
const LOOP: u64 = 1;
const SLOTS: u64 = 100;

/// The length of a turn without a clock, in nanoseconds.
const TURN: u64 = 1_000_000;

/// Converts a trace.
///
/// # Errors
/// [`Error`]. The output is then incomplete.
pub fn convert(mut trace: impl BufRead, out: impl Write) -> Result<Converted, Error> {
    let mut done = Converted::default();
    let mut view = View::new(out).map_err(Error::Write)?;
    let mut turn: Option<Turn> = None;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = trace.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
        if read.map_err(Error::Read)? == 0 {
            break;
        }
        let wrong = |what: String| Error::Line(number, what);
        let value = match serde_json::from_slice::<Value>(&line) {
            Ok(value) => value,
            Err(_) if number > 1 && !line.ends_with(b"\n") && (line.len() as u64) < LINE_MAX => {
                done.is_cut = true;
                break;
            }
            Err(error) => return Err(wrong(format!("not an object in JSON: {error}"))),
        };
        if number == 1 {
            check_header(&value).map_err(wrong)?;
            continue;
        }
        let record = Record::of(value).map_err(wrong)?;
        match record.kind.as_str() {
            "turn" => {
                let next = Turn::begin(&record, turn.as_mut()).map_err(wrong)?;
                let end = next.waited_from;
                if let Some(before) = turn.replace(next) {
                    view.turn(&before, end).map_err(Error::Write)?;
                }
                done.turns += 1;
            }
            "stop" => {}
            kind => {
                if kind == "lost" {
                    done.lost += record.number("n").unwrap_or(0);
                }
                // The ring may begin in the middle of a turn.
                let turn = turn.get_or_insert_with(|| Turn::cut(record.turn));
                turn.records.push(record);
            }
        }
    }
    if let Some(last) = turn {
        let end = last.begin + last.length_without_end();
        view.turn(&last, end).map_err(Error::Write)?;
    }
    view.finish().map_err(Error::Write)?;
    Ok(done)
}

fn check_header(value: &Value) -> Result<(), String> {
    match value.get("oneloop-trace").and_then(Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => Ok(()),
        Some(format) => Err(format!(
            "a trace of the format {format}, and this program knows {FORMAT}"
        )),
        None => Err("not the beginning of a trace; oneloop --trace=FILE writes one".to_owned()),
    }
}

/// A line of the trace.
#[derive(Clone, Debug)]
struct Record {
    turn: u32,
    kind: String,
    /// The connection or the request, with its slot.
    key: Option<(u64, String)>,
    value: Value,
}

impl Record {
    fn of(value: Value) -> Result<Record, String> {
        let turn = value.get("t").and_then(Value::as_u64);
        let turn = turn.and_then(|turn| u32::try_from(turn).ok());
        let turn = turn.ok_or("no turn in \"t\"")?;
        let kind = value.get("e").and_then(Value::as_str);
        let kind = kind.ok_or("no kind of record in \"e\"")?.to_owned();
        let key = match value.get("c") {
            None => None,
            Some(key) => {
                let text = key.as_str().unwrap_or_default();
                let slot = text
                    .split_once(['#', '/'])
                    .map(|(slot, _)| slot.parse::<u32>());
                match slot {
                    Some(Ok(slot)) => Some((slot.into(), text.to_owned())),
                    _ => return Err(format!("no connection in \"c\": {key}")),
                }
            }
        };
        Ok(Record {
            turn,
            kind,
            key,
            value,
        })
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.value.get(name).and_then(Value::as_u64)
    }

    fn word(&self, name: &str) -> &str {
        self.value
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The slot and the name of the connection; `None` for a request to an endpoint.
    fn connection(&self) -> Option<(u64, &str)> {
        let key = self.key.as_ref().filter(|(_, name)| name.contains('#'));
        key.map(|(slot, name)| (*slot, name.as_str()))
    }

    /// The part of the turn to which the record belongs, after a record of another part.
    fn part(&self, before: &'static str) -> &'static str {
        match (self.kind.as_str(), before) {
            ("mark" | "signal", _) => "mark",
            ("accept", _) => "accept",
            ("effect", _) => "deliver",
            ("expire", _) => "expire",
            (_, "deliver" | "expire") => before,
            _ => "run",
        }
    }

    /// The name of its slice.
    fn name(&self) -> String {
        let kind = &self.kind;
        let end = self.word("end");
        match kind.as_str() {
            "read" | "send" if !end.is_empty() => format!("{kind}: {end}"),
            "read" | "send" => format!("{kind} {} B", self.number("n").unwrap_or(0)),
            "step" => format!("{} to {}", self.word("from"), self.word("to")),
            "mark" => format!("event {}", self.word("ready")),
            "close" => format!("close: {}", self.word("cause")),
            "effect" | "signal" => format!("{kind}: {}", self.word("what")),
            "postponed" => format!("postponed: {}", self.word("why")),
            _ => kind.clone(),
        }
    }
}

/// A turn with its records.
struct Turn {
    number: u32,
    begin: u64,
    /// When the wait before the turn began, which is the end of the turn before it.
    waited_from: u64,
    events: u64,
    has_clock: bool,
    is_cut: bool,
    records: Vec<Record>,
}

impl Turn {
    fn begin(record: &Record, mut before: Option<&mut Turn>) -> Result<Turn, String> {
        let (number, events) = (record.turn, record.number("events").unwrap_or(0));
        if before
            .as_ref()
            .is_some_and(|before| before.number >= number)
        {
            return Err(format!("turn {number} comes after a later one"));
        }
        let ns = |us: u64| us.saturating_mul(1_000);
        let clock = record.number("at_us").map(|at| {
            let waited = record.number("waited_us").unwrap_or(0).min(at);
            (ns(at), ns(at - waited))
        });
        // A turn without its beginning ends where the clock begins.
        if let (Some((_, from)), Some(cut)) = (clock, before.as_mut().filter(|turn| turn.is_cut)) {
            cut.begin = from.saturating_sub(ns(cut.records.len() as u64));
        }
        // The clock has microseconds, and a short turn has fewer than its records need.
        let before = before.map(|before| (before.begin, before.begin + before.least_length()));
        let (begun, least) = before.unwrap_or((0, 0));
        let (begin, waited_from) = clock.unwrap_or_else(|| {
            let at = u64::from(number) * TURN;
            (at, at.min(begun + TURN))
        });
        Ok(Turn {
            number,
            begin: begin.max(least),
            waited_from: waited_from.max(least),
            events,
            has_clock: clock.is_some(),
            is_cut: false,
            records: Vec::new(),
        })
    }

    /// A turn whose beginning is not there.
    fn cut(number: u32) -> Turn {
        let begin = u64::from(number) * TURN;
        Turn {
            number,
            begin,
            waited_from: begin,
            events: 0,
            has_clock: false,
            is_cut: true,
            records: Vec::new(),
        }
    }

    /// The length that gives each record moments of its own.
    fn least_length(&self) -> u64 {
        64 * (self.records.len() as u64 + 1)
    }

    /// The length if no turn follows.
    fn length_without_end(&self) -> u64 {
        match self.has_clock {
            true => self.least_length().max(1_000 * self.records.len() as u64),
            false => self.least_length().max(TURN),
        }
    }
}

/// The connection in a slot.
struct Tenant {
    name: String,
    since: u64,
    /// The mode, and since when.
    mode: Option<(String, u64)>,
    /// The event or the accept after which nothing was read yet.
    edge: Option<u64>,
    request: Option<Request>,
}

/// A request whose arrow has no end yet.
struct Request {
    id: u64,
    answered: bool,
    /// The last write after which nothing waited.
    sent: Option<u64>,
}

impl Tenant {
    fn new(name: &str, since: u64) -> Tenant {
        Tenant {
            name: name.to_owned(),
            since,
            mode: None,
            edge: None,
            request: None,
        }
    }

    fn is_in(&self, modes: &[&str]) -> bool {
        self.mode
            .as_ref()
            .is_some_and(|(mode, _)| modes.contains(&mode.as_str()))
    }
}

/// The output.
struct View<W> {
    out: W,
    is_first: bool,
    tenants: BTreeMap<u64, Tenant>,
    /// The slots that have a track already.
    named: BTreeSet<u64>,
    requests: u64,
    /// The end of the last turn.
    end: u64,
}

impl<W: Write> View<W> {
    /// The least time between two slices, in nanoseconds.
    const GAP: u64 = 2;

    fn new(out: W) -> io::Result<View<W>> {
        let mut view = View {
            out,
            is_first: true,
            tenants: BTreeMap::new(),
            named: BTreeSet::new(),
            requests: 0,
            end: 0,
        };
        view.out.write_all(b"[")?;
        view.name("process_name", LOOP, "oneloop")?;
        view.track(LOOP, "loop")?;
        Ok(view)
    }

    fn object(&mut self, object: &Value) -> io::Result<()> {
        let separator: &[u8] = if self.is_first { b"\n" } else { b",\n" };
        self.is_first = false;
        self.out.write_all(separator)?;
        serde_json::to_writer(&mut self.out, object)?;
        Ok(())
    }

    fn name(&mut self, what: &str, tid: u64, name: &str) -> io::Result<()> {
        self.object(&json!({"ph": "M", "pid": 1, "tid": tid, "name": what, "args": {"name": name}}))
    }

    fn track(&mut self, tid: u64, name: &str) -> io::Result<()> {
        self.name("thread_name", tid, name)?;
        let args = json!({"sort_index": tid});
        self.object(
            &json!({"ph": "M", "pid": 1, "tid": tid, "name": "thread_sort_index", "args": args}),
        )
    }

    fn slice(
        &mut self,
        tid: u64,
        (begin, end): (u64, u64),
        name: &str,
        args: &Value,
    ) -> io::Result<()> {
        // A viewer may cut a nanosecond off each number, and the next slice must not begin before the end.
        let dur = end.saturating_sub(begin + Self::GAP);
        self.object(&json!({
            "ph": "X", "pid": 1, "tid": tid, "ts": us(begin), "dur": us(dur), "name": name, "args": args,
        }))
    }

    /// One end of an arrow, or a stop on its way.
    fn arrow(&mut self, ph: &str, id: u64, at: u64) -> io::Result<()> {
        let mut object = json!({
            "ph": ph, "pid": 1, "tid": LOOP, "ts": us(at), "id": id, "cat": "request", "name": "request",
        });
        if ph == "f" {
            // The end belongs to the slice around it, and not to the next one.
            object["bp"] = json!("e");
        }
        self.object(&object)
    }

    fn counter(&mut self, at: u64, name: &str, n: u64) -> io::Result<()> {
        self.object(&json!({"ph": "C", "pid": 1, "ts": us(at), "name": name, "args": {"n": n}}))
    }

    /// Writes a turn that ends at `end`. The slice of a record lies within that of the connection, this
    /// within that of the part, and this within that of the turn. Each begins a little later than the slice
    /// around it: viewers take slices that begin together for siblings.
    fn turn(&mut self, turn: &Turn, end: u64) -> io::Result<()> {
        let end = end.max(turn.begin + turn.least_length());
        self.end = end;
        let args = json!({"events": turn.events});
        let name = format!("turn {}", turn.number);
        self.slice(LOOP, (turn.begin, end), &name, &args)?;
        self.counter(turn.begin, "events", turn.events)?;
        let count = turn.records.len() as u64;
        let share = (end - turn.begin) / (count + 1);
        let at = |record: usize| turn.begin + share / 2 + record as u64 * share;
        let mut part = "";
        for (i, record) in turn.records.iter().enumerate() {
            let (begin, next) = (at(i), at(i + 1));
            let rest = &turn.records[i..];
            let is_new_part = record.part(part) != part;
            part = record.part(part);
            if is_new_part {
                let length = rest.iter().take_while(|other| other.part(part) == part);
                let span = (begin, at(i + length.count()));
                self.slice(LOOP, span, part, &json!({}))?;
            }
            let is_moved = matches!(part, "run" | "deliver" | "expire") && record.key.is_some();
            let before = i.checked_sub(1).map(|before| &turn.records[before]);
            let continues = before.is_some_and(|b| !is_new_part && b.key == record.key);
            if is_moved && !continues {
                let mut inner = part;
                let same = rest.iter().take_while(|other| {
                    inner = other.part(inner);
                    inner == part && other.key == record.key
                });
                let span = (begin + share / 8, at(i + same.count()) - share / 8);
                let (_, key) = record.key.as_ref().expect("it was asked for");
                self.slice(LOOP, span, key, &json!({}))?;
            }
            let span = (begin + share / 4, next - share / 4);
            self.slice(LOOP, span, &record.name(), &record.value)?;
            self.follow(record, span)?;
        }
        let open = self.tenants.len() as u64;
        self.counter(end, "connections", open)
    }

    /// Follows the connection of a record, whose slice this is.
    fn follow(&mut self, record: &Record, (begin, end): (u64, u64)) -> io::Result<()> {
        let Some((slot, name)) = record.connection() else {
            return Ok(());
        };
        if self.named.insert(slot) {
            self.track(SLOTS + slot, &format!("slot {slot}"))?;
        }
        let middle = begin + (end - begin) / 2;
        let mut tenant = match self.tenants.remove(&slot) {
            Some(tenant) if tenant.name == name => tenant,
            other => {
                // The end of the connection before was lost.
                if let Some(other) = other {
                    self.leave(
                        slot,
                        other,
                        (begin - 2 * Self::GAP, begin - Self::GAP),
                        &json!({}),
                    )?;
                }
                Tenant::new(name, begin)
            }
        };
        match record.kind.as_str() {
            "accept" => {
                tenant.mode = Some(("ReadingHead".to_owned(), middle));
                tenant.edge = Some(middle);
            }
            "mark" => tenant.edge = tenant.edge.or(Some(middle)),
            "read" if record.number("n") > Some(0) => self.read(&mut tenant, middle)?,
            "step" => {
                let to = record.word("to");
                if let Some(request) = &mut tenant.request {
                    request.answered |= record.number("status").is_some();
                }
                if !tenant.is_in(&[to]) {
                    let before = tenant.mode.replace((to.to_owned(), middle));
                    let before = before
                        .unwrap_or((record.word("from").to_owned(), tenant.since + Self::GAP));
                    self.slice(SLOTS + slot, (before.1, middle), &before.0, &json!({}))?;
                }
            }
            "send" => {
                if let Some(request) = &mut tenant.request {
                    let has_sent_all = record.number("left") == Some(0);
                    request.sent = (request.answered && has_sent_all).then_some(middle);
                }
            }
            "close" => return self.leave(slot, tenant, (middle, end), &record.value),
            _ => {}
        }
        self.tenants.insert(slot, tenant);
        Ok(())
    }

    /// Notes a read: the beginning of a request, or more of it.
    fn read(&mut self, tenant: &mut Tenant, at: u64) -> io::Result<()> {
        let is_next = tenant.is_in(&["ReadingHead", "WebSocket"]);
        self.end_request(tenant, is_next)?;
        if tenant.request.is_none() && !tenant.is_in(&["WebSocket", "Lingering"]) {
            self.requests += 1;
            let id = self.requests;
            if let Some(edge) = tenant.edge {
                self.arrow("s", id, edge)?;
            }
            let (answered, sent) = (false, None);
            tenant.request = Some(Request { id, answered, sent });
            // Without an event, the arrow begins here: the bytes came with those of the request before.
            let has_edge = tenant.edge.take().is_some();
            return self.arrow(if has_edge { "t" } else { "s" }, id, at);
        }
        tenant.edge = None;
        match &tenant.request {
            Some(request) => self.arrow("t", request.id, at),
            None => Ok(()),
        }
    }

    /// Ends the arrow of a request at its last write, if the request is over: only then is it known
    /// which write was the last.
    fn end_request(&mut self, tenant: &mut Tenant, is_over: bool) -> io::Result<()> {
        let Some(Request {
            id, sent: Some(at), ..
        }) = tenant.request
        else {
            return Ok(());
        };
        if is_over {
            tenant.request = None;
            self.arrow("f", id, at)?;
        }
        Ok(())
    }

    /// Ends a connection, and its mode a little earlier.
    fn leave(
        &mut self,
        slot: u64,
        mut tenant: Tenant,
        (mode_end, end): (u64, u64),
        args: &Value,
    ) -> io::Result<()> {
        self.end_request(&mut tenant, true)?;
        if let Some((mode, since)) = &tenant.mode {
            self.slice(
                SLOTS + slot,
                (*since, mode_end.max(*since)),
                mode,
                &json!({}),
            )?;
        }
        let end = end.max(tenant.since);
        self.slice(SLOTS + slot, (tenant.since, end), &tenant.name, args)
    }

    /// Ends the open slices.
    fn finish(mut self) -> io::Result<()> {
        let end = self.end;
        for (slot, tenant) in std::mem::take(&mut self.tenants) {
            self.leave(slot, tenant, (end - 2 * Self::GAP, end), &json!({}))?;
        }
        self.out.write_all(b"\n]\n")?;
        self.out.flush()
    }
}

/// Nanoseconds as the microseconds of the viewer: whole if possible.
fn us(ns: u64) -> Value {
    match ns % 1_000 {
        0 => json!(ns / 1_000),
        _ => json!(ns as f64 / 1e3),
    }
}

#[cfg(test)]
mod tests;
