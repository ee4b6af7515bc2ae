//! Signals: the first signal finishes the work in flight, the second ends it.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{BIG, Folder, Server, pattern};

/// Checks that the signal finishes a download, and that no other connection is accepted meanwhile
/// or later.
fn check(signal: Signal) {
    let folder = Folder::with("a", "hello");
    let big = pattern(BIG);
    folder.put("big", &big);
    let mut server = Server::of(folder.path());
    let mut idle = server.connect();
    assert_eq!(idle.get("/a").status, 200);
    let mut download = server.connect();
    download.request("/big");
    assert_eq!(download.head().len(), BIG);

    server.signal(signal);
    server.await_closed_door();
    let refused = TcpStream::connect(server.address()).map_err(|e| e.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
    idle.assert_end();

    assert!(download.bytes(BIG) == big, "byte for byte");
    download.assert_end();
    assert_eq!(server.process.code(), Some(0));
    let refused = TcpStream::connect(server.address()).map_err(|e| e.kind());
    assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
}

#[test]
fn sigterm_finishes_what_is_in_flight() {
    check(Signal::TERM);
}

#[test]
fn sigint_finishes_what_is_in_flight() {
    check(Signal::INT);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = Folder::new();
    folder.put_big_hole("big");
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT)] {
        let mut server = Server::of(folder.path());
        let mut download = server.connect();
        download.request("/big");
        assert_eq!(download.head().len(), BIG);
        server.signal(first);
        server.await_closed_door();
        server.signal(second);
        // Without the second signal, the unread download would delay the end by ten seconds.
        let at_once = Duration::from_secs(5);
        assert_eq!(server.process.code_within(at_once), Some(0));
    }
}

/// The download at the end of the stop is not whole. The log and the summary say so.
#[test]
fn what_a_stop_waits_for_is_said_and_what_it_cuts_off_is_counted() {
    let folder = Folder::with("a", "hello");
    folder.put_big_hole("big");
    let mut server = Server::with(folder.path(), &["--log", "json"]);
    let mut download = server.connect();
    download.request("/big");
    assert_eq!(download.head().len(), BIG);
    server.signal(Signal::INT);
    let waits = "1 answer is still on its way, 10 s at most; Ctrl-C again stops now";
    assert_eq!(server.stderr.find("stopping: "), waits);
    server.signal(Signal::INT);
    assert_eq!(server.process.code(), Some(0));
    let line = server.stdout.next().expect("a line for the download");
    assert!(line.contains(r#""target":"/big""#), "{line}");
    assert!(line.contains(r#""complete":false"#), "{line}");
    let reason = r#""reason":"cut off at the stop; slow reader: "#;
    assert!(line.contains(reason), "{line}");
    let summary = "1 request on 1 connection: 1 cut off at the stop";
    assert_eq!(server.stderr.find("stopped: "), summary);
}

/// A client that has got its answer and does not end its direction.
#[test]
fn a_stop_that_waits_for_a_close_says_so() {
    let folder = Folder::with("a", "hello");
    let mut server = Server::of(folder.path());
    let mut client = server.connect();
    assert_eq!(client.get("/a").status, 200);
    server.signal(Signal::TERM);
    let waits = "1 connection is still closing, 10 s at most; Ctrl-C again stops now";
    assert_eq!(server.stderr.find("stopping: "), waits);
    client.assert_end();
    assert_eq!(server.process.code(), Some(0));
}

#[test]
fn a_request_that_has_begun_is_still_answered() {
    let folder = Folder::with("a", "hello");
    let mut server = Server::of(folder.path());
    let mut client = server.connect();
    client.send("GET /a HTTP/1.1\r\nHo");
    server.signal(Signal::TERM);
    server.await_closed_door();
    client.send("st: localhost\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert_eq!(answer.field("Connection"), Some("close"));
    client.assert_end();
    assert_eq!(server.process.code(), Some(0));
}

/// The kernel has completed the handshakes and told the clients so. The server must serve them.
#[test]
fn who_was_connected_before_the_signal_is_answered() {
    let folder = Folder::with("a", "hello");
    let mut server = Server::of(folder.path());
    // The server is stopped, so that every request and the signal come in the same turn.
    server.signal(Signal::STOP);
    let mut clients: Vec<_> = (0..200).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| client.request("/a"));
    server.signal(Signal::TERM);
    server.signal(Signal::CONT);
    for client in &mut clients {
        assert_eq!(client.answer().text(), "hello");
    }
    clients.into_iter().for_each(|client| client.assert_end());
    assert_eq!(server.process.code(), Some(0));
}

#[test]
fn with_nobody_there_it_stops_at_once() {
    let folder = Folder::new();
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Server::of(folder.path());
        server.signal(signal);
        assert_eq!(server.process.code_within(Duration::from_secs(5)), Some(0));
    }
}

#[test]
fn a_stop_ends_with_a_summary() {
    let folder = Folder::with("a", "hello");
    let mut server = Server::of(folder.path());
    let mut client = server.connect();
    for _ in 0..3 {
        assert_eq!(client.get("/a").status, 200);
    }
    let mut refused = server.connect();
    refused.send("hello\r\n\r\n");
    assert_eq!(refused.answer().status, 400);
    refused.assert_end();
    server.signal(Signal::TERM);
    client.assert_end();
    let summary = "3 requests on 2 connections: 1 refused, 1 stopped";
    assert_eq!(server.stderr.find("stopped: "), summary);
    assert_eq!(server.stderr.next(), None);
    assert_eq!(server.process.code(), Some(0));
}
