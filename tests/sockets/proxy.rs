//! The reverse proxy: a request of a client, a backend whose part the test plays, and the server between
//! the two.

mod backend;

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;

use backend::Backend;

use crate::harness::{Answer, Client, Folder, Server, eventually, get};

/// A chunked request with this target and no body yet.
fn chunked(method: &str, target: &str, fields: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n{fields}\r\n"
    )
}

#[test]
fn a_request_goes_to_its_backend_and_the_connection_is_used_again() {
    let (backend, folder) = (Backend::new(), Folder::with("index.html", "own"));
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    client.request("/api/users?id=1");
    let mut peer = backend.accept();
    let head = peer.head();
    assert!(head.starts_with("GET /api/users?id=1 HTTP/1.1\r\nHost: localhost\r\n"));
    assert!(
        head.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"),
        "{head}"
    );
    peer.answer("from the backend");
    assert_eq!(client.answer().text(), "from the backend");
    assert_eq!(client.get("/").text(), "own");
    assert_eq!(client.get("/apis").status, 404, "another segment");
    client.request("/api");
    assert!(peer.head().starts_with("GET /api HTTP/1.1\r\n"));
    peer.answer("again");
    assert_eq!(client.answer().text(), "again");
    assert!(backend.is_quiet(), "one connection is enough");
}

#[test]
fn a_body_keeps_its_kind_of_framing_and_its_trailers() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    client.send("POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhel");
    let mut peer = backend.accept();
    assert!(peer.head().contains("\r\nContent-Length: 5\r\n"));
    assert_eq!(peer.bytes(3), b"hel", "before the rest has come");
    client.send("lo");
    assert_eq!(peer.bytes(2), b"lo");
    peer.answer("one");
    assert_eq!(client.answer().text(), "one");

    client.send(chunked("PUT", "/api", "Trailer: Sum\r\n"));
    client.send("3;a=b\r\nabc\r\n");
    let mut peer = backend.accept();
    let head = peer.head();
    assert!(
        head.contains("\r\nTransfer-Encoding: chunked\r\n"),
        "{head}"
    );
    assert_eq!(peer.bytes(8), b"3\r\nabc\r\n", "without the extension");
    client.send("0\r\nSum: 7\r\n\r\n");
    assert_eq!(peer.bytes(13), b"0\r\nSum: 7\r\n\r\n");
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n");
    let answer = client.head();
    assert_eq!(answer.field("Transfer-Encoding"), Some("chunked"));
    assert_eq!(client.chunks(), b"four");
}

#[test]
fn requests_that_come_together_are_answered_in_order() {
    let (backend, folder) = (Backend::new(), Folder::with("a", "a file"));
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    client.send([get("/api/1"), get("/a"), get("/api/2")].concat());
    let mut peer = backend.accept();
    assert!(peer.head().starts_with("GET /api/1 "));
    peer.answer("first");
    assert_eq!(client.answer().text(), "first");
    assert_eq!(client.answer().text(), "a file");
    assert!(peer.head().starts_with("GET /api/2 "));
    peer.answer("second");
    assert_eq!(client.answer().text(), "second");
}

/// A kept connection may end at its other end while a request is on its way.
#[test]
fn a_get_that_a_closing_connection_has_lost_is_sent_again() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    let mut kept = backend.kept(&mut client);
    client.request("/api/2");
    kept.head();
    kept.reset();
    let mut peer = backend.accept();
    assert!(peer.head().starts_with("GET /api/2 "));
    peer.reset();
    let answer = client.answer();
    assert_eq!(answer.status, 502);
    assert_eq!(
        answer.field("Proxy-Status"),
        Some("oneloop; error=connection_terminated")
    );
    assert!(backend.is_quiet());
}

/// A backend that is being stopped takes connections to the last, and answers none.
#[test]
fn a_get_that_a_new_connection_has_lost_is_sent_again() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    let peer = backend.asked(&mut client, "/api");
    peer.reset();
    let mut peer = backend.accept();
    peer.head();
    peer.answer("whole");
    assert_eq!(client.answer().text(), "whole");
}

/// The backend has acted on it.
#[test]
fn a_request_is_not_sent_again_when_a_part_of_an_answer_has_come() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    for part in [
        "HTTP/1.1 201 Created\r\nSet-Cookie: order=1\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
    ] {
        let mut client = server.connect();
        let mut peer = backend.asked(&mut client, "/api");
        peer.send(part);
        // The server has it when a later connection was served.
        server.connect().get("/");
        peer.reset();
        let mut answer = client.head();
        if answer.status == 103 {
            answer = client.answer();
        }
        assert_eq!(answer.status, 502);
        assert!(backend.is_quiet(), "it is not sent again");
    }
}

#[test]
fn a_put_with_content_is_not_risked_on_a_kept_connection() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    let _kept = backend.kept(&mut client);
    client.send("PUT /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx");
    let mut peer = backend.accept();
    assert!(peer.head().starts_with("PUT /api "));
    peer.answer("2");
    assert_eq!(client.answer().text(), "2");
}

#[test]
fn a_post_is_not_risked_on_a_kept_connection() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    let _kept = backend.kept(&mut client);
    client.send("POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    let mut peer = backend.accept();
    assert!(peer.head().starts_with("POST /api "));
    // The backend may have acted on it before it went.
    drop(peer);
    assert_eq!(client.answer().status, 502);
    assert!(backend.is_quiet(), "it is not sent again");
}

/// A 404 may be of this server or of another.
#[test]
fn the_log_tells_whose_error_an_answer_is() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let address = backend.address();
    let route = format!("--proxy=/api=http://{address}");
    let mut server = Server::with(folder.path(), &["--log=json", "--no-live", &route]);
    let mut client = server.connect();
    for (status, reason) in [
        (
            "404 Not Found",
            format!("\"the answer of http://{address}\""),
        ),
        ("200 OK", "\"\"".into()),
    ] {
        let mut peer = backend.asked(&mut client, "/api/a");
        peer.send(format!(
            "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ));
        drop(peer);
        client.head();
        let line = server.stdout.next().expect("a line");
        assert!(line.contains(&format!("\"reason\":{reason}")), "{line}");
    }
}

/// The bytes are gone from this server, so a method that allows it is not enough.
#[test]
fn a_request_is_not_sent_again_when_content_of_it_was() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    client.send("PUT /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nabc");
    let mut peer = backend.accept();
    peer.head();
    peer.bytes(3);
    peer.reset();
    assert_eq!(client.answer().status, 502);
    assert!(backend.is_quiet(), "the rest is for nobody");
}

/// The answer to the next request could not be told from such bytes.
#[test]
fn a_connection_on_which_more_came_than_the_answer_is_not_used_again() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    client.request("/api/1");
    let mut first = backend.accept();
    first.head();
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    assert_eq!(client.answer().text(), "1");
    client.request("/api/2");
    let mut second = backend.accept();
    assert!(second.head().starts_with("GET /api/2 "));
    second.answer("2");
    assert_eq!(client.answer().text(), "2");
    first.assert_gone();
}

#[test]
fn a_request_waits_for_a_backend_that_is_being_started() {
    let folder = Folder::new();
    let backend = Backend::new();
    let address = backend.address();
    let server = backend.server(&folder, &[]);
    drop(backend);
    let mut client = server.connect();
    client.send("POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi");
    client.send(get("/none"));
    // Others wait too, and one attempt is for all.
    let mut others = [server.connect(), server.connect()];
    others.iter_mut().for_each(|other| other.request("/api/2"));
    let backend = Backend::at(address);
    let mut peer = backend.accept();
    assert!(peer.head().starts_with("POST /api "));
    assert_eq!(peer.bytes(2), b"hi");
    peer.answer("here again");
    assert_eq!(client.answer().text(), "here again");
    assert_eq!(client.answer().status, 404);
    for other in &mut others {
        let mut peer = backend.accept();
        assert!(peer.head().starts_with("GET /api/2 "));
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n2");
        drop(peer);
        assert_eq!(other.answer().text(), "2");
    }
}

/// A page must not wait for each of its requests when the server is known to be away.
#[test]
fn after_one_wait_in_vain_nobody_waits() {
    let folder = Folder::new();
    let backend = Backend::new();
    let address = backend.address();
    let server = backend.server(&folder, &["--proxy-wait", "1"]);
    drop(backend);
    let mut client = server.connect();
    assert_eq!(client.get("/api").status, 502);
    // Within the patience of a test, so many waits would not end.
    for _ in 0..100 {
        assert_eq!(client.get("/api").status, 502);
    }
    let backend = Backend::at(address);
    let mut peer = backend.asked(&mut client, "/api");
    peer.answer("back");
    assert_eq!(client.answer().text(), "back");
}

#[test]
fn a_backend_that_does_not_come_is_a_502_with_the_address_and_the_reason() {
    let folder = Folder::new();
    let backend = Backend::new();
    let address = backend.address();
    let server = backend.server(&folder, &["--proxy-wait", "0"]);
    drop(backend);
    let mut client = server.connect();
    let answer = client.get("/api");
    assert_eq!(answer.status, 502);
    let said = format!("cannot be reached: {address}: connection refused");
    assert!(answer.text().contains(&said), "{}", answer.text());
    let answer = client.ask("/api", &["Accept: application/json"]);
    assert!(
        answer
            .text()
            .contains(r#""error":"destination_unavailable""#)
    );
    let answer = client.ask("/api", &["Accept: text/html"]);
    assert!(answer.text().contains("<!doctype html>"));
}

#[test]
fn localhost_is_each_loopback_address() {
    let folder = Folder::new();
    let backend = Backend::at("[::1]:0".parse().expect("an address"));
    let port = backend.address().port();
    let route = format!("/api=http://localhost:{port}");
    let server = Server::with(folder.path(), &["--log", "off", "--proxy", &route]);
    let mut client = server.connect();
    let mut peer = backend.asked(&mut client, "/api");
    peer.answer("by IPv6");
    assert_eq!(client.answer().text(), "by IPv6");
}

const HANDSHAKE: &str = "GET /api/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

#[test]
fn after_a_switch_of_protocols_bytes_pass_as_they_are_and_each_direction_ends_by_itself() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    client.send(format!("{HANDSHAKE}early"));
    let mut peer = backend.accept();
    let head = peer.head();
    assert!(head.contains("\r\nUpgrade: websocket\r\n"), "{head}");
    peer.send(format!("{SWITCH}first frame"));
    assert_eq!(client.head().status, 101);
    assert_eq!(client.bytes(11), b"first frame");
    assert_eq!(peer.bytes(5), b"early");
    peer.end_writing();
    assert_eq!(client.receive().expect("a FIN"), 0);
    client.send("still heard");
    assert_eq!(peer.bytes(11), b"still heard");
    drop(client);
    peer.assert_gone();
}

#[test]
fn a_tunnel_that_is_reset_ends_at_the_other_side_too() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    client.send(HANDSHAKE);
    let mut peer = backend.accept();
    peer.head();
    peer.send(SWITCH);
    client.head();
    peer.reset();
    client.assert_end();
}

#[test]
fn a_refused_upgrade_and_an_unasked_switch() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    client.send(HANDSHAKE);
    let mut peer = backend.accept();
    peer.head();
    peer.send(
        "HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    );
    assert_eq!(client.head().status, 401);
    assert_eq!(client.chunks(), b"no");
    client.request("/api");
    peer.head();
    peer.send(SWITCH);
    assert_eq!(client.answer().status, 502);
    peer.assert_gone();
}

#[test]
fn events_pass_at_once_and_a_client_that_leaves_is_told_to_the_backend() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    let mut peer = backend.asked(&mut client, "/api/events");
    peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    let answer = client.head();
    assert_eq!(answer.field("Transfer-Encoding"), Some("chunked"));
    for n in 0..3 {
        peer.send(format!("data: {n}\n\n"));
        assert_eq!(
            client.bytes(14),
            format!("9\r\ndata: {n}\n\n\r\n").as_bytes()
        );
    }
    client.reset();
    peer.assert_gone();
}

#[test]
fn a_client_that_leaves_before_the_answer_is_told_to_the_backend() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    let peer = backend.asked(&mut client, "/api/slow");
    client.reset();
    peer.assert_gone();
}

/// The client must not take a part of an answer for the whole.
/// The end is behind requests for which the server has no room.
#[test]
fn a_client_that_leaves_behind_many_requests_is_told_to_the_backend() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    let peer = backend.asked(&mut client, "/api");
    client.send_some(get("/api/next").repeat(10_000).as_bytes());
    client.reset();
    peer.assert_gone();
}

#[test]
fn an_answer_that_breaks_off_has_no_end_that_looks_like_one() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    let mut peer = backend.asked(&mut client, "/api");
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    client.head();
    drop(peer);
    assert_eq!(client.bytes(9), b"4\r\nhalf\r\n");
    client.assert_end();

    // For a client of HTTP/1.0, the end of the connection is the end of the answer.
    let mut client = server.connect();
    client.send("GET /api HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let mut peer = backend.accept();
    peer.head();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    assert_eq!(client.head().field("Transfer-Encoding"), None);
    assert_eq!(client.bytes(4), b"half");
    drop(peer);
    let end = client.receive().expect_err("no FIN");
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn an_early_answer_ends_an_upload() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    client.send("POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n");
    let mut peer = backend.accept();
    peer.head();
    peer.send(
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
    );
    drop(peer);
    // As a browser does: it looks for an answer only after what it has to send.
    let piece = vec![b'x'; 64 << 10];
    for _ in 0..100 {
        client.send_some(&piece);
    }
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (413, "big"));
}

/// At a breakpoint of its debugger, for example.
#[test]
fn a_backend_that_does_not_read_on_has_the_time_that_the_user_gives() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &["--proxy-timeout=2", "--proxy-wait=1"]);
    let mut client = server.connect();
    client.send(chunked("POST", "/api", ""));
    let mut peer = backend.accept();
    peer.head();
    let piece = [b"100000\r\n", &vec![b'x'; 1 << 20][..], b"\r\n"].concat();
    // As much as fits on the way.
    eventually("the answer", || {
        client.send_some(&piece);
        !client.is_silent()
    });
    let answer = client.answer();
    assert_eq!(answer.status, 504);
    assert!(answer.text().contains("within 2 s"), "{}", answer.text());
}

#[test]
fn a_100_comes_from_the_backend_or_from_the_server_when_the_backend_is_silent() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    let request = "POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    client.send(request);
    let mut peer = backend.accept();
    assert!(peer.head().contains("\r\nExpect: 100-continue\r\n"));
    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.head().status, 100);
    client.send("hi");
    assert_eq!(peer.bytes(2), b"hi");
    peer.answer("done");
    assert_eq!(client.answer().text(), "done");

    client.send(request);
    let mut peer = backend.accept();
    peer.head();
    assert_eq!(client.head().status, 100, "the server's own");
    client.send("hi");
    assert_eq!(peer.bytes(2), b"hi");
    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    peer.answer("done");
    assert_eq!(client.answer().text(), "done", "one 100 is enough");

    client.send(request);
    let mut peer = backend.accept();
    peer.head();
    peer.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    let answer = client.answer();
    assert_eq!(
        (answer.status, answer.field("Connection")),
        (401, Some("close"))
    );
    client.assert_end();
}

#[test]
fn early_hints_pass_to_clients_that_know_them() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let hints =
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: X\r\nX: y\r\n\r\n";
    for (version, first) in [("1.1", 103), ("1.0", 200)] {
        let mut client = server.connect();
        client.send(format!(
            "GET /api HTTP/{version}\r\nHost: localhost\r\n\r\n"
        ));
        let mut peer = backend.accept();
        peer.head();
        peer.send(hints);
        peer.send("HTTP/1.1 102 Processing\r\n\r\n");
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let answer = client.head();
        assert_eq!(answer.status, first);
        if first == 103 {
            assert!(answer.head.contains("Link: </a.css>"));
            assert!(!answer.head.contains("X: y"), "{}", answer.head);
            assert_eq!(client.head().status, 200);
        }
    }
}

#[test]
fn an_answer_that_two_readers_would_frame_in_two_ways_is_a_502() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        let mut client = server.connect();
        let mut peer = backend.asked(&mut client, "/api");
        peer.send(answer);
        let answered: Answer = client.answer();
        assert_eq!(answered.status, 502, "{answer}");
        let status = answered.field("Proxy-Status");
        assert_eq!(status, Some("oneloop; error=http_protocol_error"));
        peer.assert_gone();
    }
}

/// As much as the kernel buffers hold, and a little more, is on its way.
#[test]
fn the_pressure_of_a_slow_reader_reaches_through_both_sockets() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    client.narrow();
    let mut peer = backend.asked(&mut client, "/api/large");
    let (size, piece) = (256 << 20, vec![b'x'; 1 << 20]);
    peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"));
    client.head();
    let before = server.memory_bytes();
    let (mut sent, mut received) = (0, 0);
    while received < size {
        // The backend sends as long as anything fits, and only then does the client read a little.
        if sent < size {
            let n = peer.send_some(&piece[..piece.len().min(size - sent)]);
            sent += n;
            if n > 0 {
                continue;
            }
        }
        received += client.receive().expect("it comes");
        client.forget();
        assert!(sent - received < 32 << 20, "somebody has taken it all");
    }
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < 2 << 20, "{grown} bytes more");
}

#[test]
fn a_backend_may_be_at_a_socket_of_the_unix_domain() {
    let folder = Folder::new();
    let path = folder.path().join("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let route = format!("/api=unix:{}:/v1", path.display());
    let server = Server::with(folder.path(), &["--log", "off", "--proxy", &route]);
    let mut client = server.connect();
    client.request("/api/users");
    let (mut peer, _) = listener.accept().expect("it connects");
    let mut head = [0; 4096];
    let n = std::io::Read::read(&mut peer, &mut head).expect("a head");
    assert!(head[..n].starts_with(b"GET /v1/users HTTP/1.1\r\n"));
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    std::io::Write::write_all(&mut peer, answer).expect("it reads");
    assert_eq!(client.answer().text(), "hi");
}

#[test]
fn the_root_as_a_prefix_is_for_what_is_not_found_here() {
    let backend = Backend::new();
    let folder = Folder::with("a.txt", "a file");
    fs::create_dir(folder.path().join("dir")).expect("it is writable");
    let route = format!("/=http://{}", backend.address());
    let server = Server::with(folder.path(), &["--log", "off", "--proxy", &route]);
    let mut client = server.connect();
    assert_eq!(client.get("/a.txt").text(), "a file");
    let mut peer = None;
    for request in [
        get("/"),
        get("/none"),
        get("/dir/"),
        "POST /a.txt HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".into(),
    ] {
        client.send(&request);
        if peer.is_none() || request.starts_with("POST") {
            peer = Some(backend.accept());
        }
        let peer = peer.as_mut().expect("it was accepted");
        let line = request.lines().next().expect("a line");
        assert!(peer.head().starts_with(line), "{line}");
        peer.answer("of the backend");
        assert_eq!(client.answer().text(), "of the backend", "{line}");
    }
}

#[test]
fn a_circle_of_two_servers_is_cut() {
    let (folder, first) = (Folder::new(), Backend::new());
    let address = first.address();
    let one = first.server(&folder, &[]);
    drop(first);
    // The second server is where the first one looks for its backend.
    let route = format!("/api=http://{}", one.address());
    let port = address.port().to_string();
    let mut command = crate::harness::program();
    command.arg(folder.path());
    command.args(["--bind", "127.0.0.1", "--port", &port]);
    let two = Server::from(command.args(["--log", "off", "--proxy", &route]));
    assert_eq!(two.address(), address);
    assert_eq!(one.connect().get("/api").status, 508);
}

#[test]
fn a_stop_finishes_the_answer_that_was_begun() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let mut server = backend.server(&folder, &[]);
    let mut client = server.connect();
    let mut peer = backend.asked(&mut client, "/api");
    server.signal(rustix::process::Signal::TERM);
    server.await_closed_door();
    peer.answer("whole");
    let answer = client.answer();
    assert_eq!(answer.text(), "whole");
    assert_eq!(answer.field("Connection"), Some("close"));
    drop(client);
    assert_eq!(server.process.code(), Some(0));
}

/// RFC 9110 §7.6.2.
#[test]
fn a_request_that_may_pass_no_other_server_is_answered_here() {
    let (backend, folder) = (Backend::new(), Folder::with("api", "a file"));
    let server = backend.server(&folder, &[]);
    let mut client = server.connect();
    let bound =
        |method| format!("{method} /api HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 0\r\n\r\n");
    client.send(bound("OPTIONS"));
    let answer = client.head();
    assert_eq!(
        (answer.status, answer.field("Allow").is_some()),
        (204, true)
    );
    client.send(bound("TRACE"));
    assert_eq!(client.answer().status, 405);
    assert!(backend.is_quiet(), "neither is for the backend");
    client.send(bound("GET"));
    let mut peer = backend.accept();
    assert!(peer.head().contains("\r\nMax-Forwards: 0\r\n"));
}

/// Another site's page cannot reach the backend through the server.
#[test]
fn the_guard_comes_before_the_backend() {
    let (backend, folder) = (Backend::new(), Folder::new());
    let server = backend.server(&folder, &[]);
    let mut client = Client::to(server.address());
    client.send("GET /api HTTP/1.1\r\nHost: attacker.example\r\n\r\n");
    assert_eq!(client.answer().status, 403);
    let address: SocketAddr = backend.address();
    assert!(backend.is_quiet(), "{address} was asked");
}
