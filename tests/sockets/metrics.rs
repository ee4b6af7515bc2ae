//! The health and the metrics of the server.

use rustix::process::Signal;

use crate::harness::{Folder, Server, at_rest, eventually};
use crate::peer::{Peer, assert_switched, handshake};

/// The value of a sample in the metrics.
fn value(text: &str, sample: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let found = lines.find(|(name, _)| *name == sample);
    let (_, value) = found.unwrap_or_else(|| panic!("{sample} is not in: {text}"));
    value.parse().expect("a number")
}

#[test]
fn nothing_is_there_unless_asked_for() {
    let server = Server::of(Folder::new().path());
    let mut client = server.connect();
    for path in ["/_oneloop/health", "/_oneloop/metrics"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_server_is_healthy_until_it_stops() {
    let server = Server::with(Folder::new().path(), &["--metrics"]);
    let mut client = server.connect();
    // The second request has begun when the first is answered: both come in one read.
    let request = "GET /_oneloop/health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send([request, &request[..30]].concat());
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, "ok\n"));
    server.signal(Signal::TERM);
    server.await_closed_door();
    client.send(&request[30..]);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (503, "stopping\n"));
}

#[test]
fn the_metrics_count_what_has_happened() {
    let folder = Folder::with("a", "hello");
    // A file that has just changed is not cached.
    eventually("it is at rest", || at_rest(&folder.path().join("a")));
    let server = Server::with(folder.path(), &["--metrics=any"]);
    let mut client = server.connect();
    let mut metrics = || {
        let answer = client.get("/_oneloop/metrics");
        let media_type = "text/plain; version=0.0.4; charset=utf-8";
        assert_eq!(answer.field("Content-Type"), Some(media_type));
        answer.text().to_owned()
    };
    let before = metrics();
    let mut other = server.connect();
    for (target, status) in [("/a", 200), ("/a", 200), ("/none", 404)] {
        assert_eq!(other.get(target).status, status);
    }
    other.send(handshake("/echo", &[]));
    assert_switched(&other.head());
    let mut peer = Peer::over(other);
    peer.say("twice");
    assert_eq!(peer.hear(), "twice");
    let after = metrics();
    for (sample, more) in [
        ("oneloop_requests_total", 5),
        ("oneloop_responses_total{class=\"1xx\"}", 1),
        // The answer to the first question had not been counted when it was made.
        ("oneloop_responses_total{class=\"2xx\"}", 3),
        ("oneloop_responses_total{class=\"4xx\"}", 1),
        ("oneloop_responses_total{class=\"5xx\"}", 0),
        ("oneloop_connections_accepted_total", 1),
        ("oneloop_connections", 1),
        ("oneloop_messages_received_total", 1),
        ("oneloop_messages_sent_total", 1),
        ("oneloop_endpoint_requests_total", 1),
    ] {
        let change = value(&after, sample) - value(&before, sample);
        assert_eq!(change, more, "{sample}");
    }
    assert!(value(&after, "oneloop_cache_lookups_total{result=\"hit\"}") >= 1);
    assert!(value(&after, "oneloop_cache_lookups_total{result=\"miss\"}") >= 2);
    let most = value(&after, "oneloop_turn_work_units_most");
    assert!((1..1_000).contains(&most), "{most}");
    for (sample, least) in [
        ("oneloop_received_bytes_total", before.len() as u64 / 100),
        ("oneloop_sent_bytes_total", before.len() as u64),
        ("oneloop_turns_total", 5),
        // A unit for each of the answers, and more for the bytes.
        ("oneloop_work_units_total", 5),
    ] {
        let change = value(&after, sample) - value(&before, sample);
        assert!(change >= least, "{sample}: {change}");
    }
}

#[test]
fn a_large_text_is_the_work_of_many_turns() {
    const LARGEST: usize = 16 << 20;
    let server = Server::with(Folder::new().path(), &["--metrics"]);
    let mut peer = Peer::of(&server, "/echo");
    // Each character needs three bytes, so pieces of it end within characters.
    let text = "文".repeat(LARGEST / 3);
    peer.say(&text);
    assert!(peer.hear() == text, "byte for byte");
    let mut client = server.connect();
    let metrics = client.get("/_oneloop/metrics").text().to_owned();
    // A turn has 500 units, and goes on until it has none: the last piece may be larger than the rest.
    let most = value(&metrics, "oneloop_turn_work_units_most");
    assert!(most < 1_000, "{most}");
    assert!(value(&metrics, "oneloop_work_units_total") > 16_000);
}
