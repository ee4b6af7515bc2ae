//! Floor 4, server: snapshots as JSON. A text message is one object:
//!
//! | member | |
//! |---|---|
//! | `turn`, `at_ms` | the number of the turn, and when it began, in milliseconds since the start |
//! | `skipped` | the snapshots that were left out for this watcher |
//! | `paused`, `pace` | whether the loop is paused; `run`, `paused` or `slow` |
//! | `watchers` | the number of watchers, which are not in `counters.open` and `modes` |
//! | `loop` | `utilization` since the start; `turn_us`, `service_us`: `p50`, `p99`, `p999`, `max`, or null; `hidden_wait_us` |
//! | `counters` | counts since the start |
//! | `memory` | `bytes`, `bytes_max` |
//! | `closed` | the ended connections by cause, in the order of `hello.causes` |
//! | `ways` | `[count, last]`, in the order of `hello.transitions` |
//! | `modes` | the open connections by letter; `R` includes those between two requests |
//! | `turns` | the newest turns since the last snapshot: `[number, waited_us, worked_us, events]` |
//! | `span` | all turns since the last snapshot |
//! | `slots` | `count`: the slots up to the last one in use; `from`, `list`: `[key, letter, peer, why, inbox, outbox]`, `next`: the slot to go on from |
//! | `picked` | the picked connection in detail, or null |
//! | `blocked` | the turn that was last blocked on purpose |
//!
//! The first message has the member `hello` alone, with the facts that do not change.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::watchers::{View, Watcher};
use super::{Inspect, Motion};
use crate::config::Limits;
use crate::connection::{self, Cause, Key, ModeName, Ring, TRANSITIONS, TraceRecord};
use crate::server::pace::Totals;
use crate::server::{Driver, Server, Slot};
use crate::site::Files;
use crate::sys::Kernel;
use crate::transport::Transport;

/// The part of a snapshot that is the same for all watchers.
pub(super) struct Common {
    /// The members, without the end of the object.
    text: String,
    /// The newest turns that are over, each with its number.
    turns: Vec<(u64, Value)>,
    pub totals: Totals,
    /// The connections of each view that was asked for, as JSON.
    pub lists: Vec<(View, String)>,
}

/// The turns of a snapshot.
const TURNS_MAX: usize = 64;

/// The records of the flight recorder that are searched for turns.
const RECORDS_MAX: u64 = 4_096;

/// The slots that are searched for connections that fit a filter.
const SEARCHED_MAX: usize = 4_096;

/// The first message to a watcher.
pub(super) fn hello(limits: &Limits, instance: u64, has_control: bool) -> Value {
    let modes = ModeName::ALL.map(|mode| format!("{mode:?}"));
    let ways = TRANSITIONS.iter();
    let ways = ways.map(|(from, to, why)| json!([format!("{from:?}"), format!("{to:?}"), why]));
    let causes = Cause::all().map(|cause| json!([cause.name(), cause.words()]));
    json!({
        "instance": format!("{instance:016x}"),
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "control": has_control,
        "modes": modes,
        "transitions": ways.collect::<Vec<_>>(),
        "causes": causes.collect::<Vec<_>>(),
        "recorder": cfg!(feature = "recorder"),
        "limits": {
            "connections_max": limits.connections_max,
            "memory_bytes_max": limits.memory_bytes_max,
            "write_buffer_high": limits.write_buffer_high,
            "write_buffer_max": limits.write_buffer_max,
            "head_bytes_max": limits.head_bytes_max,
            "head_ms": milliseconds(limits.head_time),
            "idle_ms": milliseconds(limits.idle_time),
            "stall_ms": milliseconds(limits.stall_time),
            "turn_work": limits.turn_work,
            "turn_bytes": limits.turn_bytes,
            "connection_work": limits.connection_work,
        },
    })
}

/// The letter of a connection: that of its mode, or a dot between two requests.
pub(super) fn letter(view: &connection::View) -> char {
    match view.is_idle {
        true => '·',
        false => letter_of(view.mode),
    }
}

fn letter_of(mode: ModeName) -> char {
    match mode {
        ModeName::ReadingHead => 'R',
        ModeName::ReadingBody => 'B',
        ModeName::AwaitingEndpoint => 'A',
        ModeName::Forwarding => 'F',
        ModeName::Streaming => 'S',
        ModeName::WebSocket => 'W',
        ModeName::Upstream => 'U',
        ModeName::Tunnel => 'T',
        ModeName::Lingering => 'L',
        ModeName::Closed => 'C',
    }
}

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// A whole snapshot, for a client that does not watch.
    pub(super) fn status(&self, inspect: &Inspect, view: View) -> String {
        let mut object = (*inspect.hello).clone();
        let watchers = inspect.watchers.borrow().open.len();
        let mut common = self.common(inspect, watchers);
        let watcher = Watcher {
            view,
            longest: self.pace.turns().max(),
            ..Watcher::default()
        };
        let snapshot = self.snapshot(&mut common, &watcher, None);
        if let (Some(object), Ok(Value::Object(snapshot))) =
            (object.as_object_mut(), serde_json::from_str(&snapshot))
        {
            object.extend(snapshot);
        }
        format!("{object}\n")
    }

    /// The part of a snapshot that is the same for each of the `watchers`.
    pub(super) fn common(&self, inspect: &Inspect, watchers: usize) -> Common {
        let (counters, pace) = (&self.tally.counters, &self.pace);
        let motion = inspect.gate.motion();
        let totals = pace.finished(counters);
        let (waited, worked) = pace.totals();
        let at = (waited + worked).as_nanos() as f64;
        let utilization = totals.worked as f64 / at.max(1.0);
        let account = self.shared.pool.account();
        let ways = TRANSITIONS.iter().map(|(from, to, _)| {
            let last = self.tally.transitions.last(*from, *to);
            let count = self.tally.transitions.count(*from, *to);
            json!([count, last.map(|key| key.to_string())])
        });
        let blocked = inspect.blocked.as_ref().and_then(|blocked| {
            let (worked, events) = blocked.found?;
            let worked = microseconds(worked);
            Some(json!({ "turn": blocked.turn, "worked_us": worked, "events_after": events }))
        });
        let responses = [1, 2, 3, 4, 5].map(|class| counters.responses(class));
        let mut object = json!({
            "turn": counters.turns,
            "at_ms": at / 1e6,
            "paused": motion == Motion::Paused,
            "pace": match motion {
                Motion::Run => "run",
                Motion::Paused => "paused",
                Motion::Slow => "slow",
            },
            "watchers": watchers,
            "loop": {
                "utilization": utilization,
                "turns": counters.turns,
                "events": counters.events,
                "turn_us": spread(&pace.turns()),
                "service_us": spread(&pace.service()),
                "hidden_wait_us": microseconds(pace.hidden_wait().as_nanos() as u64),
            },
            "counters": {
                "connections": counters.connections,
                "open": counters.open().saturating_sub(watchers as u64),
                "requests": counters.requests,
                "received_bytes": counters.received_bytes,
                "sent_bytes": counters.sent_bytes,
                "reads": counters.reads,
                "read_blocks": counters.read_blocks,
                "writes": counters.writes,
                "write_blocks": counters.write_blocks,
                "budgets_spent": counters.budgets_spent,
                "throttled": counters.throttled,
                "asked": counters.asked,
                "messages_received": counters.messages_received,
                "messages_sent": counters.messages_sent,
                "responses": responses,
                "missed": counters.missed,
                "shed": counters.shed,
            },
            "memory": { "bytes": account.used(), "bytes_max": account.max() },
            "closed": counters.closed_by_cause().map(|(_, count)| count).collect::<Vec<_>>(),
            "interrupted": Cause::all().map(|cause| counters.interrupted(cause)).collect::<Vec<_>>(),
            "ways": ways.collect::<Vec<_>>(),
            "modes": self.modes(watchers),
        });
        if let Some(blocked) = blocked {
            object["blocked"] = blocked;
        }
        let mut text = object.to_string();
        text.pop();
        Common {
            text,
            turns: newest_turns(&self.tally.ring, counters.turns),
            totals,
            lists: Vec::new(),
        }
    }

    /// The snapshot of a watcher.
    pub(super) fn snapshot(
        &self,
        common: &mut Common,
        watcher: &Watcher,
        kernel: Option<Kernel>,
    ) -> String {
        let (now, told) = (common.totals, watcher.told);
        let turns = common.turns.iter();
        let turns = turns.filter(|(number, _)| *number > told.turns);
        let span = json!({
            "turns": now.turns - told.turns,
            "waited_us": microseconds(now.waited - told.waited),
            "worked_us": microseconds(now.worked - told.worked),
            "events": now.events - told.events,
            "longest_us": microseconds(watcher.longest),
        });
        let picked = watcher.picked.map(|key| self.detail(key, kernel));
        let members = [
            ("skipped", watcher.skipped.into()),
            ("turns", turns.map(|(_, turn)| turn.clone()).collect()),
            ("span", span),
            ("picked", picked.unwrap_or_default()),
        ];
        let list = match common.lists.iter().find(|(view, _)| *view == watcher.view) {
            Some((_, list)) => list,
            None => {
                let list = self.list(watcher.view);
                common.lists.push((watcher.view, list));
                &common.lists[common.lists.len() - 1].1
            }
        };
        let mut text = format!("{},\"slots\":{list}", common.text);
        for (name, value) in members {
            write!(text, ",\"{name}\":{value}").expect("a String takes all");
        }
        text.push('}');
        text
    }

    /// The open connections by the letter of their mode. Their numbers follow from those of the transitions,
    /// so that no slot is looked at.
    fn modes(&self, watchers: usize) -> Value {
        let taken = &self.tally.transitions;
        let mut modes = serde_json::Map::new();
        for mode in ModeName::ALL {
            let others = || ModeName::ALL.into_iter().filter(|other| *other != mode);
            let begun = match mode {
                ModeName::ReadingHead => self.tally.counters.connections,
                ModeName::Upstream => self.tally.counters.backend_connections,
                _ => 0,
            };
            let came: u64 = others().map(|from| taken.count(from, mode)).sum();
            let left: u64 = others().map(|to| taken.count(mode, to)).sum();
            let own = if mode == ModeName::WebSocket {
                watchers
            } else {
                0
            };
            let count = (begun + came).saturating_sub(left + own as u64);
            if mode != ModeName::Closed {
                modes.insert(letter_of(mode).into(), count.into());
            }
        }
        modes.into()
    }

    /// The connections of a view, with the slot to go on from.
    pub(super) fn rows(&self, view: View) -> (Vec<connection::View>, Option<usize>) {
        let (mut rows, mut slot) = (Vec::new(), view.from);
        let searched = view.from.saturating_add(SEARCHED_MAX);
        let last = view.to.map_or(searched, |to| to.saturating_add(1));
        let end = self.slots_used().min(searched).min(last);
        while slot < end && rows.len() < View::SLOTS_MAX {
            let row = self.connections.get(slot).map(|slot| self.view_of(slot));
            rows.extend(row.filter(|row| view.filter.is_none_or(|c| c == letter(row))));
            slot += 1;
        }
        let next = (slot < self.slots_used()).then_some(slot);
        (rows, next)
    }

    /// The number of slots up to the last one that is in use.
    fn slots_used(&self) -> usize {
        let last = self.connections.iter().next_back();
        last.map_or(0, |(index, _)| index + 1)
    }

    /// The connections of a view as JSON, which is written out: there are many, and no tree of values is needed.
    fn list(&self, view: View) -> String {
        let (rows, next) = self.rows(view);
        let mut text =
            json!({ "count": self.slots_used(), "from": view.from, "next": next }).to_string();
        text.pop();
        text.push_str(",\"list\":[");
        for (at, row) in rows.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let connection::View {
                key,
                peer,
                why,
                inbox,
                outbox,
                ..
            } = row;
            // No key, address or reason has a character that needs an escape.
            let letter = letter(row);
            write!(
                text,
                "{comma}[\"{key}\",\"{letter}\",\"{peer}\",\"{why}\",{inbox},{outbox}]"
            )
            .expect("a String takes all");
        }
        text.push_str("]}");
        text
    }

    /// The cause for which a connection has ended; `None` if it ended too long ago.
    fn cause_of(&self, connection: Key) -> Option<Cause> {
        newest(&self.tally.ring).find_map(|(_, record)| match record {
            TraceRecord::Close { key, cause } if key == connection => Some(cause),
            _ => None,
        })
    }

    /// A connection in detail. One that is closed is told as such.
    fn detail(&self, key: Key, kernel: Option<Kernel>) -> Value {
        let slot = self.connections.get(key.index());
        let slot = slot.filter(|slot| slot.connection.key() == key);
        let Some(view) = slot.map(|slot: &Slot<F, D::Stream>| self.view_of(slot)) else {
            let cause = self.cause_of(key).map(Cause::name);
            return json!({ "key": key.to_string(), "mode": "Closed", "cause": cause });
        };
        let why = match kernel {
            Some(kernel) => view.why.with_unacknowledged(kernel.unacked_bytes().into()),
            None => view.why,
        };
        let left = |at: std::time::Instant| {
            milliseconds(at.saturating_duration_since(self.turn.now.instant))
        };
        json!({
            "key": key.to_string(),
            "mode": format!("{:?}", view.mode),
            "letter": letter(&view),
            "peer": view.peer.to_string(),
            "why": why.to_string(),
            "see": why.anchor(),
            "deadline_ms": view.deadline.map(left),
            "inbox": view.inbox,
            "outbox": view.outbox,
            "outbox_max": self.turn.limits.write_buffer_max,
            "received": view.received,
            "sent": view.sent,
            "ready": {
                "readable": view.ready.readable,
                "writable": view.ready.writable,
                "peer_closed": view.ready.peer_closed,
            },
            "queued": view.is_queued,
            "kernel": kernel.map(as_json),
        })
    }
}

/// The kernel's side of a connection.
fn as_json(kernel: Kernel) -> Value {
    json!({
        "receive_queue": kernel.receive_queue,
        "send_queue": kernel.send_queue,
        "not_sent": kernel.not_sent,
        "unacked_bytes": kernel.unacked_bytes(),
        "unacked_segments": kernel.unacked_segments,
        "rtt_us": kernel.rtt_us,
        "congestion_window": kernel.congestion_window,
        "segment_bytes": kernel.segment_bytes,
        "retransmits": kernel.retransmits,
        "peer_limited_us": kernel.peer_limited_us,
        "buffer_limited_us": kernel.buffer_limited_us,
        "peer_window": kernel.peer_window,
    })
}

/// The newest records of the flight recorder.
fn newest(ring: &Ring) -> impl Iterator<Item = (u32, TraceRecord)> {
    ring.since(ring.written().saturating_sub(RECORDS_MAX))
}

/// The newest turns that are over, oldest first. `present` is the number of the present turn.
fn newest_turns(ring: &Ring, present: u64) -> Vec<(u64, Value)> {
    let mut turns = Vec::new();
    let mut last: Option<(u64, u64, u64, u32)> = None;
    for (turn, record) in newest(ring) {
        if let TraceRecord::Turn {
            events,
            began,
            waited_from,
        } = record
        {
            if let Some((number, began, waited, events)) = last {
                let worked = waited_from.saturating_sub(began);
                let row = json!([number, waited / 1_000, worked / 1_000, events]);
                turns.push((number, row));
            }
            // The recorder keeps the lower half of the number.
            let number = present - u64::from((present as u32).wrapping_sub(turn));
            last = Some((number, began, began.saturating_sub(waited_from), events));
        }
    }
    let surplus = turns.len().saturating_sub(TURNS_MAX);
    turns.split_off(surplus)
}

/// The spread of times in microseconds; null before the first one.
fn spread(times: &Histogram<u64>) -> Value {
    if times.is_empty() {
        return Value::Null;
    }
    let at = |share| times.value_at_quantile(share) as f64 / 1_000.0;
    let (p50, p99, p999) = (at(0.5), at(0.99), at(0.999));
    json!({ "p50": p50, "p99": p99, "p999": p999, "max": times.max() as f64 / 1_000.0 })
}

/// A number of nanoseconds in microseconds.
fn microseconds(time: u64) -> f64 {
    time as f64 / 1_000.0
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
