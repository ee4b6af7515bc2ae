//! The inspector by the traces: what the loop does while somebody watches, and while it is paused.

use std::time::Duration;

use oneloop::config::Inspect;
use oneloop::connection::ModeName;

use crate::get;
use crate::world::{Act, Visit};

use Act::{Close, Connect, Send, Take, Wait};

/// A server whose first client may control the loop. It has the key `0#1`.
fn watched() -> Visit {
    let mut visit = Visit::with(|server| server.with_inspector(Inspect::Control, 1));
    let handshake = "GET /_oneloop/watch HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    visit.act(&[Connect, Send(0, handshake.into())]);
    visit
}

/// A message of the first client, in a frame with a mask of zeros.
fn say(message: &str) -> Act {
    let len = u8::try_from(message.len()).expect("it is short");
    let header = [0x81, 0x80 | len, 0, 0, 0, 0];
    Send(0, [&header, message.as_bytes()].concat())
}

fn control(how: &str) -> Act {
    say(&format!("{{\"control\":\"{how}\"}}"))
}

/// The kinds of the records of a connection, in order.
fn kinds(trace: &str, key: &str) -> Vec<String> {
    let of_key = format!("\"c\":\"{key}\"");
    let lines = trace.lines().filter(|line| line.contains(&of_key));
    let kind = |line: &str| {
        line.split("\"e\":\"")
            .nth(1)?
            .split('"')
            .next()
            .map(str::to_owned)
    };
    lines.filter_map(kind).collect()
}

fn turns(trace: &str) -> usize {
    trace
        .lines()
        .filter(|line| line.contains("\"e\":\"turn\""))
        .count()
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn only_a_watched_loop_wakes_for_snapshots() {
    let mut visit = Visit::with(|server| server.with_inspector(Inspect::Loopback, 1));
    assert!(turns(&visit.act(&[Wait(MINUTE)])) <= 1);
    let mut visit = watched();
    let second = Duration::from_secs(1);
    let count = turns(&visit.act(&[Wait(second)]));
    // A snapshot is made in one turn and sent in the next.
    assert!((20..=25).contains(&count), "{count}");
    visit.act(&[Close(0)]);
    assert!(turns(&visit.act(&[Wait(second + MINUTE)])) <= 1);
}

#[test]
fn a_watcher_that_takes_nothing_holds_one_snapshot() {
    let mut visit = watched();
    // The buffers of the kernels are full by then.
    visit.act(&[Wait(Duration::from_secs(15))]);
    let outbox = |visit: &Visit| visit.views()[0].outbox;
    let waiting = outbox(&visit);
    assert!((1..20_000).contains(&waiting), "{waiting}");
    let trace = visit.act(&[Wait(Duration::from_secs(25))]);
    // A ping may have been added, and nothing is published.
    assert!(outbox(&visit) <= waiting + 10 && !trace.contains("\"effect\""));
    // It counts as stalled in the end, as any client does.
    let trace = visit.act(&[Wait(MINUTE)]);
    assert!(trace.contains("\"cause\":\"stalled\""), "{trace}");
}

#[test]
fn the_flight_recorder_is_sent_to_two_clients_at_a_time() {
    let mut visit = Visit::with(|server| server.with_inspector(Inspect::Loopback, 1));
    visit.act(&[Connect]);
    // The text of these records is more than the kernels and the write buffer take.
    for _ in 0..1_000 {
        visit.act(&[get(0, "/hello.txt"), Take(0, usize::MAX)]);
    }
    let ring = |client| vec![Connect, get(client, "/_oneloop/ring")];
    let statuses = |trace: &str| {
        let statuses = trace.match_indices("\"status\":");
        let status = |(at, name): (usize, &str)| trace[at + name.len()..][..3].to_owned();
        statuses.map(status).collect::<Vec<_>>()
    };
    let slow = visit.act(&[ring(1), ring(2)].concat());
    assert_eq!(statuses(&slow), ["200"; 2], "{slow}");
    let modes = visit.views().into_iter().map(|view| view.mode);
    let waiting = modes.filter(|mode| *mode == ModeName::AwaitingEndpoint);
    assert_eq!(waiting.count(), 2);
    let refused = visit.act(&ring(3));
    assert_eq!(statuses(&refused), ["503"]);
    // One is taken whole.
    while !visit.act(&[Take(1, usize::MAX)]).is_empty() {}
    assert_eq!(statuses(&visit.act(&[get(3, "/_oneloop/ring")])), ["200"]);
    assert_eq!(statuses(&visit.act(&ring(4))), ["503"]);
    // The other stalls.
    visit.act(&[Wait(MINUTE)]);
    assert_eq!(statuses(&visit.act(&ring(5))), ["200"]);
}

#[test]
fn a_paused_loop_reads_what_has_come_and_does_no_more() {
    let mut visit = watched();
    visit.act(&[Connect, get(1, "/hello.txt")]);
    visit.act(&[control("pause")]);
    // An old connection and two new ones.
    let trace = visit.act(&[get(1, "/hello.txt"), Connect, Connect, get(3, "/hello.txt")]);
    assert_eq!(kinds(&trace, "1#2"), ["mark", "read"]);
    // A new connection is registered, and epoll tells of what it finds.
    for key in ["2#3", "3#4"] {
        assert_eq!(kinds(&trace, key), ["accept", "read", "mark"], "{key}");
    }
    // Nobody is late, however long the pause is.
    let mut trace = String::new();
    for _ in 0..100 {
        trace += &visit.act(&[Take(0, usize::MAX), Wait(MINUTE / 10)]);
    }
    for key in ["1#2", "2#3", "3#4"] {
        assert_eq!(kinds(&trace, key), [""; 0], "{key}");
    }
    // What comes for the inspector is answered, on a connection of any age.
    let trace = visit.act(&[get(2, "/_oneloop/status.json")]);
    assert!(kinds(&trace, "2#3").contains(&"send".into()), "{trace}");
    // A step is one turn for all others.
    let trace = visit.act(&[control("step")]);
    for key in ["1#2", "3#4"] {
        assert_eq!(kinds(&trace, key)[..2], ["step", "send"], "{key}: {trace}");
    }
    let trace = visit.act(&[get(1, "/hello.txt")]);
    assert_eq!(kinds(&trace, "1#2"), ["mark", "read"]);
    // Without a watcher, the loop runs.
    let trace = visit.act(&[Close(0)]);
    assert_eq!(kinds(&trace, "1#2")[..2], ["step", "send"], "{trace}");
}

#[test]
fn in_slow_motion_the_others_are_run_four_times_a_second() {
    let mut visit = watched();
    visit.act(&[Connect, get(1, "/hello.txt"), control("slow")]);
    for _ in 0..5 {
        let trace = visit.act(&[get(1, "/hello.txt"), Wait(Duration::from_millis(250))]);
        let kinds = kinds(&trace, "1#2");
        assert!(kinds.contains(&"send".into()), "{trace}");
    }
}

/// A tab that its browser has put to sleep, or a process that was stopped.
#[test]
fn a_watcher_that_takes_no_snapshot_cannot_hold_the_loop_for_long() {
    let mut visit = watched();
    visit.act(&[Connect, get(1, "/hello.txt"), control("pause")]);
    let trace = visit.act(&[get(1, "/hello.txt")]);
    assert!(!kinds(&trace, "1#2").contains(&"send".into()), "{trace}");
    let trace = visit.act(&[Wait(MINUTE)]);
    assert!(kinds(&trace, "1#2").contains(&"send".into()), "{trace}");
}
