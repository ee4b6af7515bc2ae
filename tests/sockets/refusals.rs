//! Refused requests: the status, and whether the refusal reaches a client that is still sending.

use crate::harness::{Answer, Folder, Server, get};

/// Sends `request` on a connection of its own and checks the status, and whether the connection
/// survives: after a request that could not be parsed, the next request cannot be found.
fn check(server: &Server, request: &str, status: u16, survives: bool) -> Answer {
    let shown = &request[..request.len().min(60)];
    let mut client = server.connect();
    client.send(request);
    let answer = client.answer();
    assert_eq!(answer.status, status, "{shown:?}");
    let code = status.to_string();
    assert!(answer.text().starts_with(&code), "says what is wrong");
    match survives {
        true => {
            assert_eq!(answer.field("Connection"), None, "{shown:?}");
            assert_eq!(client.get("/a").status, 200, "{shown:?}");
        }
        false => {
            assert_eq!(answer.field("Connection"), Some("close"), "{shown:?}");
            client.assert_end();
        }
    }
    answer
}

#[test]
fn each_offence_has_its_status() {
    let folder = Folder::with("a", "a");
    let server = Server::of(folder.path());
    let long = "x".repeat(8_000);
    let with = |fields: &str| format!("GET /a HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    let is = |request: &str, status, survives| {
        check(&server, request, status, survives);
    };
    // Parsed, and refused: the next request may follow.
    is(&get("/none"), 404, true);
    is(&get("/%zz"), 400, true);
    is("BREW /a HTTP/1.1\r\nHost: localhost\r\n\r\n", 501, true);
    is(
        "CONNECT test:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        501,
        true,
    );
    is(&with("Expect: tea\r\n"), 417, true);
    is(&get(&long[1..]).replace(" x", " /x"), 404, true);
    // Not parsed.
    is("hello\r\n\r\n", 400, false);
    is("\x16\x03\x01\x02", 400, false);
    is("GET /a HTTP/1.1\n\n", 400, false);
    is("GET  /a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, false);
    is("GET a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, false);
    is("GET /a HTTP/1.1\r\n\r\n", 400, false);
    is(&with("Host: again\r\n"), 400, false);
    is(&with(" folded\r\n"), 400, false);
    is(&with("Name : value\r\n"), 400, false);
    is(&with("Content-Length: 1, 1\r\n"), 400, false);
    is(
        &with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
        400,
        false,
    );
    is(&with("Transfer-Encoding: gzip, chunked\r\n"), 501, false);
    is("GET /a HTTP/2.0\r\nHost: localhost\r\n\r\n", 505, false);
    is("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, false);
    // Too large.
    is(&get(&format!("/{long}")), 414, false);
    is(&format!("GET /{}", long.repeat(5)), 414, false);
    is(
        &with(&format!("Cookie: {}\r\n", long.repeat(5))),
        431,
        false,
    );
    is(&with(&"A: b\r\n".repeat(100)), 431, false);
    is(&with("Content-Length: 1048577\r\n"), 413, false);
    let chunked = with("Transfer-Encoding: chunked\r\n");
    is(
        &format!("{chunked}100001\r\n{}", "x".repeat(0x100001)),
        413,
        false,
    );
    // A body that breaks on the way.
    is(&format!("{chunked}five\r\n"), 400, false);
    is(&format!("{chunked}1\r\nxx"), 400, false);
}

/// Every server on localhost gets the cookies of every other: ports do not matter to cookies.
#[test]
fn a_head_may_have_32_kib_and_no_byte_more() {
    let folder = Folder::with("a", "a");
    let server = Server::of(folder.path());
    let head = |n: usize| {
        let cookies = "x".repeat(n);
        format!("GET /a HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n")
    };
    let most = (32 << 10) - head(0).len();
    let mut client = server.connect();
    client.send([head(17_000), head(most), head(most), head(most)].concat());
    for _ in 0..4 {
        assert_eq!(client.answer().text(), "a");
    }
    check(&server, &head(most + 1), 431, false);
}

#[test]
fn a_method_that_is_not_allowed_says_which_are() {
    let folder = Folder::with("a", "a");
    let server = Server::of(folder.path());
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        let request = format!("{method} /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = check(&server, &request, 405, true);
        assert_eq!(answer.field("Allow"), Some("GET, HEAD, OPTIONS"));
    }
    for target in ["*", "/a"] {
        let mut client = server.connect();
        client.send(format!(
            "OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        let answer = client.head();
        assert_eq!(answer.status, 204);
        assert_eq!(answer.field("Allow"), Some("GET, HEAD, OPTIONS"));
        assert_eq!(client.get("/a").text(), "a");
    }
}

/// A method that no file has is answered by what is there: a file, a folder, an endpoint, both, or
/// nothing.
#[test]
fn what_is_allowed_is_what_is_there() {
    let folder = Folder::with("a", "a");
    folder.put("echo", "a file where an endpoint is");
    folder.put("rooms/a", "a file where a room is");
    folder.put("full/index.html", "an index");
    folder.put("empty/nothing.txt", "no index");
    let server = Server::of(folder.path());
    for (target, allowed) in [
        ("/a", Some("GET, HEAD, OPTIONS")),
        ("/full/", Some("GET, HEAD, OPTIONS")),
        ("/full", Some("GET, HEAD, OPTIONS")),
        ("/empty", Some("GET, HEAD, OPTIONS")),
        ("/echo", Some("GET, HEAD, OPTIONS")),
        ("/rooms/a", Some("GET, HEAD, POST, OPTIONS")),
        ("/rooms/b", Some("GET, POST, OPTIONS")),
        ("/empty/", Some("GET, HEAD, OPTIONS")),
        ("/", Some("GET, HEAD, OPTIONS")),
        ("/none/", None),
        ("/none", None),
        ("/.git/a", None),
        ("/a/b", None),
    ] {
        let status = if allowed.is_some() { 405 } else { 404 };
        for method in ["PUT", "DELETE", "PATCH", "TRACE"] {
            let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let answer = check(&server, &request, status, true);
            assert_eq!(answer.field("Allow"), allowed, "{method} {target}");
        }
        let mut client = server.connect();
        client.send(format!(
            "OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        let answer = client.head();
        assert_eq!(answer.status, if allowed.is_some() { 204 } else { 404 });
        assert_eq!(answer.field("Allow"), allowed, "{target}");
    }
}

/// The next request begins where the body ends, even if the server does not want the body.
#[test]
fn a_request_may_follow_a_body() {
    let folder = Folder::with("a", "a");
    let server = Server::with(folder.path(), &["--log", "off", "--test-endpoints"]);
    let mut client = server.connect();
    let large = "x".repeat(1 << 20);
    for (target, status) in [("/a", 405), ("/_oneloop/echo", 200)] {
        for content in ["hello", &large] {
            let len = content.len();
            for body in [
                format!("Content-Length: {len}\r\n\r\n{content}"),
                format!("Transfer-Encoding: chunked\r\n\r\n{len:x}\r\n{content}\r\n0\r\n\r\n"),
            ] {
                let next = get("/a");
                client.send(format!(
                    "POST {target} HTTP/1.1\r\nHost: localhost\r\n{body}{next}"
                ));
                let answer = client.answer();
                assert_eq!(answer.status, status, "{target}");
                assert!(status != 200 || answer.text() == content, "another body");
                assert_eq!(client.answer().text(), "a");
            }
        }
    }
}

#[test]
fn half_a_head_and_then_nothing_is_400() {
    let folder = Folder::with("a", "a");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    client.send("GET /a HTTP/1.1\r\nHo");
    client.finish();
    assert_eq!(client.answer().status, 400);
    client.assert_end();
}

/// A close with unread input is a reset, and a reset destroys the bytes that the peer has not read
/// yet: the very answer that would explain the refusal.
#[test]
fn who_sends_a_body_first_and_then_reads_gets_the_whole_refusal() {
    let folder = Folder::with("a", "a");
    let server = Server::of(folder.path());
    let body = "x".repeat(3 << 20);
    let len = body.len();
    for (framing, refused_after) in [
        // Refused by the head, and by the first byte that is too much.
        (format!("Content-Length: {len}\r\n\r\n"), 0),
        (
            format!("Transfer-Encoding: chunked\r\n\r\n{len:x}\r\n"),
            (1 << 20) + 1,
        ),
    ] {
        let mut client = server.connect();
        client.send(format!("POST /a HTTP/1.1\r\nHost: localhost\r\n{framing}"));
        client.send(&body[..refused_after]);
        // A server that does not linger has closed by now.
        client.await_something();
        client.send(&body[refused_after..]);
        let answer = client.answer();
        assert_eq!(answer.status, 413);
        assert_eq!(answer.field("Connection"), Some("close"));
        client.assert_end();
    }
}

#[test]
fn a_body_without_an_end_is_not_read_for_ever() {
    let folder = Folder::with("a", "a");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    let length = 1_u64 << 40;
    client.send(format!(
        "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    ));
    let chunk = vec![b'x'; 1 << 20];
    // Far more than the server reads while it lingers and than the socket buffers take.
    let refused = (0..256).any(|_| client.try_send(&chunk).is_err());
    assert!(refused, "256 MiB were taken");
    assert_eq!(server.connect().get("/a").status, 200);
}
