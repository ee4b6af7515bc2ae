//! Bytes in and out: the ways in which they are cut, the speed of the readers, and other
//! connections at the same time.

use std::path::Path;

use crate::harness::{BIG, Client, Folder, Server, get, pattern};

/// Checks a 200 with this body.
fn check(client: &mut Client, target: &str, body: &[u8]) {
    let answer = client.get(target);
    assert_eq!(answer.status, 200, "{target}");
    // Not assert_eq, which would print megabytes.
    assert!(answer.body == body, "{target}: another body");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let folder = Folder::new();
    let names: Vec<_> = (0..16).map(|n| format!("/{n}.txt")).collect();
    for name in &names {
        folder.put(&name[1..], name);
    }
    let server = Server::of(folder.path());
    let mut client = server.connect();
    client.send(names.iter().map(|n| get(n)).collect::<String>());
    for name in &names {
        assert_eq!(client.answer().text(), name);
    }
}

#[test]
fn answers_large_and_small_do_not_overtake_each_other() {
    let folder = Folder::with("small", "small");
    let large = pattern(3 << 20);
    folder.put("large", &large);
    let server = Server::of(folder.path());
    let mut client = server.connect();
    client.send(
        ["/large", "/small", "/none", "/large", "/small"]
            .map(get)
            .concat(),
    );
    assert!(client.answer().body == large);
    assert_eq!(client.answer().text(), "small");
    assert_eq!(client.answer().status, 404);
    assert!(client.answer().body == large);
    assert_eq!(client.answer().text(), "small");
}

/// If each answer were sent alone, each would need a write, a segment and a wake-up.
#[test]
fn small_answers_to_pipelined_requests_arrive_together() {
    // An old file, which the server keeps in memory: a new file would cost more of a turn.
    let server = Server::of(Path::new(env!("CARGO_MANIFEST_DIR")).join("www"));
    let mut client = server.connect();
    let one = client.get("/favicon.svg");
    client.send(get("/favicon.svg").repeat(16));
    let expected = 16 * (one.head.len() + one.body.len());
    assert_eq!(client.receive().expect("they come"), expected);
}

#[test]
fn a_request_may_come_one_byte_at_a_time() {
    let folder = Folder::with("a", "hello");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    for byte in get("/a").as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.answer().text(), "hello");
    // Each byte is read alone: another connection has had a turn since the byte before.
    let mut other = server.connect();
    for byte in get("/a").as_bytes() {
        client.send([*byte]);
        assert_eq!(other.get("/a").status, 200);
    }
    assert_eq!(client.answer().text(), "hello");
}

#[test]
fn a_half_closing_client_gets_its_whole_answer() {
    let folder = Folder::with("small", "small");
    let large = pattern(5 << 20);
    folder.put("large", &large);
    let server = Server::of(folder.path());
    for (target, body) in [("/small", &b"small"[..]), ("/large", &large)] {
        let mut client = server.connect();
        client.request(target);
        client.finish();
        assert!(client.answer().body == body, "{target}");
        client.assert_end();
    }
    // Request and FIN arrive before the server looks, and there is more than one answer.
    let mut client = server.connect();
    client.send([get("/small"), get("/large"), get("/small")].concat());
    client.finish();
    for body in [&b"small"[..], &large, b"small"] {
        assert!(client.answer().body == body);
    }
    client.assert_end();
}

#[test]
fn a_slow_reader_holds_nobody_up() {
    let folder = Folder::with("small", "small");
    let big = pattern(BIG);
    folder.put("big", &big);
    let mut server = Server::with(folder.path(), &["--log", "json"]);
    let mut slow = server.connect();
    slow.request("/big");
    assert_eq!(slow.head().len(), BIG);
    // The slow client takes a little between the requests of another client, and never rests for
    // long.
    let mut taken = Vec::new();
    let mut fast = server.connect();
    const REQUESTS: usize = 200;
    for _ in 0..REQUESTS {
        taken.extend(slow.bytes(16 << 10));
        check(&mut fast, "/small", b"small");
    }
    taken.extend(slow.bytes(BIG - taken.len()));
    assert!(taken == big, "byte for byte");
    // The log has the exchanges in the order in which their last bytes left the server.
    for _ in 0..REQUESTS {
        let line = server.stdout.next().expect("a line for each");
        assert!(line.contains("\"/small\""), "{line}");
    }
    let line = server.stdout.next().expect("the last");
    assert!(
        line.contains("\"/big\"") && line.contains("\"complete\":true"),
        "{line}"
    );
    // The connection can still be used.
    check(&mut slow, "/small", b"small");
}

#[test]
fn many_slow_readers_get_their_own_bytes() {
    let folder = Folder::new();
    let bodies: Vec<_> = (0..8).map(|n| pattern((2 << 20) + n * 4099)).collect();
    for (n, body) in bodies.iter().enumerate() {
        folder.put(&n.to_string(), body);
    }
    let server = Server::of(folder.path());
    let mut clients: Vec<_> = bodies.iter().map(|_| server.connect()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.request(&format!("/{n}"));
    }
    for (client, body) in clients.iter_mut().zip(&bodies).rev() {
        assert!(client.answer().body == *body);
    }
}

/// Browsers open connections ahead of need. A server that waited for the first request on such a
/// connection would be blocked.
#[test]
fn an_idle_preconnect_disturbs_nobody() {
    let folder = Folder::with("a", "hello");
    let server = Server::of(folder.path());
    let mut idle: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for _ in 0..20 {
        check(&mut server.connect(), "/a", b"hello");
    }
    // The idle connections still work.
    for client in &mut idle {
        check(client, "/a", b"hello");
    }
}

#[test]
fn http_1_0_ends_after_an_answer_unless_it_asks_to_go_on() {
    let folder = Folder::with("a", "hello");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    client.send("GET /a HTTP/1.0\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.field("Connection"), Some("close"));
    client.assert_end();

    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        let answer = client.answer();
        assert_eq!(answer.text(), "hello");
        assert_eq!(answer.field("Connection"), Some("keep-alive"));
    }
}

#[test]
fn http_1_1_goes_on_unless_it_is_told_to_close() {
    let folder = Folder::with("a", "hello");
    folder.put("large", pattern(1 << 20));
    let server = Server::of(folder.path());
    for target in ["/a", "/large", "/none"] {
        let mut client = server.connect();
        for _ in 0..3 {
            assert_eq!(client.get(target).field("Connection"), None);
        }
        let last = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        // Bytes after the last request are not a request.
        client.send(last + &get("/a"));
        assert_eq!(client.answer().field("Connection"), Some("close"));
        client.assert_end();
    }
}

#[test]
fn a_head_without_a_body_is_followed_by_the_next_answer() {
    let folder = Folder::with("a", "hello");
    folder.put_big_hole("big");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    for (target, len) in [("/a", 5), ("/big", BIG)] {
        client.send(format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client.request("/a");
        let head = client.head();
        assert_eq!((head.status, head.len()), (200, len));
        assert_eq!(client.answer().text(), "hello");
    }
}
