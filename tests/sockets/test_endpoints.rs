//! The endpoints for tests of clients.

use std::io::ErrorKind;

use rustix::process::Signal;

use crate::curl::curl;
use crate::harness::{CURL_FLAGS, Client, Folder, Process, Server, outside};

fn server() -> Server {
    Server::with(Folder::new().path(), &["--test-endpoints"])
}

fn get(client: &mut Client, path: &str) -> (u16, String) {
    let answer = client.get(&format!("/_oneloop/test/{path}"));
    (answer.status, answer.text().into())
}

#[test]
fn nothing_is_there_unless_asked_for() {
    let server = Server::of(Folder::new().path());
    let mut client = server.connect();
    for path in ["bytes/5", "hang", "reset", "head"] {
        assert_eq!(get(&mut client, path).0, 404, "{path}");
    }
}

/// The bytes are made as the client takes them.
#[test]
fn many_bytes_take_no_memory() {
    const BYTES: usize = 64 << 20;
    let server = server();
    let mut client = server.connect();
    let before = server.memory_bytes_peak();
    client.request(&format!("/_oneloop/test/bytes/{BYTES}"));
    let head = client.head();
    assert_eq!(head.field("Content-Length"), Some(&*BYTES.to_string()));
    let mut at = 0;
    while at < BYTES {
        let bytes = client.bytes(1 << 20);
        for line in bytes.chunks(16) {
            let expected = format!("{at:015x}\n");
            assert!(line == expected.as_bytes(), "at {at}");
            at += 16;
        }
    }
    assert_eq!(get(&mut client, "bytes/20").1, "000000000000000\n0000");
    let more = server.memory_bytes_peak() - before;
    assert!(more < 8 << 20, "{more} bytes of memory were needed");
}

#[test]
fn a_reset_is_seen_as_one() {
    let server = server();
    let mut client = server.connect();
    client.request("/_oneloop/test/reset");
    let error = client.receive().expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let mut client = server.connect();
    client.request("/_oneloop/test/reset?_delay=1ms");
    let error = client.receive().expect_err("a reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn what_is_cut_off_shows_as_such_to_curl() {
    let server = server();
    let failing = |path: &str| {
        let mut command = outside("curl")?;
        let url = server.url(path);
        command.args(CURL_FLAGS).arg(&url);
        Some(Process::start(&mut command).finish())
    };
    let Some(shown) = failing("/_oneloop/test/truncate/100") else {
        return;
    };
    // CURLE_PARTIAL_FILE
    assert_eq!((shown.code, shown.stdout.len()), (Some(18), 50));
    let shown = curl(&server, &[], "/_oneloop/test/chunked/40?size=3").expect("it is there");
    assert_eq!(shown.stdout, "000000000000000\n000000000000010\n00000000");
    let shown = curl(&server, &["-N"], "/_oneloop/test/sse?every=1ms&n=2").expect("it is there");
    assert_eq!(shown.stdout, ":\n\nid:0\ndata:0\n\nid:1\ndata:1\n\n");
    // CURLE_RECV_ERROR
    let shown = failing("/_oneloop/test/reset").expect("it is there");
    assert_eq!(shown.code, Some(56));
}

#[test]
fn the_same_requests_in_the_same_order_get_the_same_answers() {
    let statuses = || {
        let server = server();
        let mut client = server.connect();
        let path = "bytes/1?_status=503:50&_delay=1ms:10";
        (0..40)
            .map(|_| get(&mut client, path).0)
            .collect::<Vec<_>>()
    };
    let first = statuses();
    assert!(first.contains(&200) && first.contains(&503));
    assert_eq!(statuses(), first);
    let server = server();
    let mut client = server.connect();
    let seeded = |client: &mut Client, seed: usize| {
        get(client, &format!("bytes/1?_status=503:50&_seed={seed}")).0
    };
    for (seed, status) in first.iter().enumerate().rev() {
        assert_eq!(seeded(&mut client, seed), *status, "{seed}");
    }
}

#[test]
fn what_never_answers_ends_with_the_server() {
    let mut server = server();
    let mut client = server.connect();
    client.request("/_oneloop/test/hang");
    let mut other = server.connect();
    assert_eq!(get(&mut other, "delay/3"), (200, "3 ms\n".into()));
    server.signal(Signal::TERM);
    server.await_closed_door();
    server.signal(Signal::TERM);
    assert!(client.receive().map_or(true, |n| n == 0));
    assert_eq!(server.process.code(), Some(0));
}
