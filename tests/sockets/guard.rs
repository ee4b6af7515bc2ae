//! The guard: the names and pages that the program admits without flags, and those that need a
//! flag.

use crate::harness::{Answer, CURL_FLAGS, Client, Folder, Process, Server, outside};

const LOG_OFF: [&str; 2] = ["--log", "off"];

/// Sends a request to `server` and checks the status. `PORT` in the request stands for the server's
/// port.
fn check(server: &Server, request: &str, status: u16) -> Answer {
    let port = server.address().port().to_string();
    let mut client = server.connect();
    client.send(request.replace("PORT", &port) + "\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, status, "{request}: {}", answer.text());
    goes_on(answer.field("Connection"), client);
    answer
}

/// Like any answer, a refusal announces whether another request may follow.
fn goes_on(connection: Option<&str>, mut client: Client) {
    match connection {
        Some(_) => client.assert_end(),
        None => assert_eq!(client.get("/a").status, 200),
    }
}

#[test]
fn a_name_that_rebinds_to_the_server_is_refused() {
    let folder = Folder::with("a", "secret");
    let server = Server::of(folder.path());
    for host in [
        "127.0.0.1:PORT",
        "[::1]:PORT",
        "localhost:PORT",
        "app.localhost",
        "",
    ] {
        let answer = check(&server, &format!("GET /a HTTP/1.1\r\nHost: {host}"), 200);
        assert_eq!(answer.text(), "secret");
    }
    for host in [
        "evil.example:PORT",
        "127.0.0.1.evil.example",
        "0x7f.1:PORT",
        "2130706433",
    ] {
        for target in ["/a", "/none", "/_oneloop/echo"] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}");
            let answer = check(&server, &request, 403);
            assert_eq!(
                answer.field("Content-Type"),
                Some("text/plain; charset=utf-8")
            );
            let name = host.strip_suffix(":PORT").unwrap_or(host);
            let expected = format!(
                "403 Forbidden: the host \"{name}\" is not served here; \
                 if it should be, start with --allow-host {name}\n"
            );
            assert_eq!(answer.text(), expected);
        }
    }
}

#[test]
fn the_authority_of_the_target_overrides_host() {
    let folder = Folder::with("a", "a");
    let server = Server::of(folder.path());
    let evil = "GET http://evil.example/a HTTP/1.1\r\nHost: localhost";
    check(&server, evil, 403);
    let good = "GET http://localhost/a HTTP/1.1\r\nHost: evil.example";
    check(&server, good, 200);
}

#[test]
fn a_client_of_http_1_0_need_not_name_the_server() {
    let folder = Folder::with("a", "a");
    let server = Server::of(folder.path());
    check(&server, "GET /a HTTP/1.0", 200);
    check(&server, "GET /a HTTP/1.0\r\nHost: evil.example", 403);
}

/// The page of a stranger may make a browser send any request, but cannot read the answers. The
/// guard must prevent the effects of such a request.
#[test]
fn an_unsafe_request_of_a_strangers_page_is_refused() {
    let folder = Folder::with("a", "a");
    let flags = [&LOG_OFF[..], &["--test-endpoints"]].concat();
    let server = Server::with(folder.path(), &flags);
    for (origin, status) in [
        ("http://127.0.0.1:PORT", 200),
        ("http://localhost:5173", 200),
        ("https://app.localhost", 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1.evil.example:PORT", 403),
        // The page of another program on this machine.
        ("http://127.0.0.1:1", 200),
        ("http://[::1]:PORT", 200),
        ("https://127.0.0.1", 200),
        ("http://10.0.0.1:PORT", 403),
        ("null", 403),
        ("localhost", 403),
        ("http://localhost\r\nOrigin: http://localhost", 403),
    ] {
        let fields = format!("HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nOrigin: {origin}");
        check(&server, &format!("POST /_oneloop/echo {fields}"), status);
        for method in ["PUT", "DELETE", "PATCH"] {
            let status = if status == 200 { 405 } else { status };
            check(&server, &format!("{method} /a {fields}"), status);
        }
        check(&server, &format!("GET /a {fields}"), 200);
        let websocket = format!("GET /a {fields}\r\nConnection: Upgrade\r\nUpgrade: websocket");
        check(&server, &websocket, status);
    }
    // A request without a page.
    check(
        &server,
        "POST /_oneloop/echo HTTP/1.1\r\nHost: 127.0.0.1",
        200,
    );
}

#[test]
fn the_default_ports_are_those_of_the_origins_scheme() {
    let folder = Folder::with("a", "a");
    let flags = [&LOG_OFF[..], &["--test-endpoints"]].concat();
    let server = Server::with(folder.path(), &flags);
    for (host, origin, status) in [
        ("192.168.1.1", "http://192.168.1.1", 200),
        ("192.168.1.1:80", "http://192.168.1.1", 200),
        ("192.168.1.1", "https://192.168.1.1:443", 200),
        ("192.168.1.1:443", "https://192.168.1.1", 200),
        ("192.168.1.1:443", "http://192.168.1.1", 403),
        ("192.168.1.1:80", "https://192.168.1.1", 403),
    ] {
        let request = format!("POST /_oneloop/echo HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}");
        check(&server, &request, status);
    }
}

#[test]
fn names_that_the_server_was_told_of_are_let_in() {
    let folder = Folder::with("a", "a");
    let flags = [
        "--test-endpoints",
        "--allow-host",
        "App.test",
        "--allow-host",
        ".example.org",
    ];
    let server = Server::with(folder.path(), &[&LOG_OFF[..], &flags].concat());
    for (name, allowed) in [
        ("app.test", true),
        ("APP.TEST.", true),
        ("www.app.test", false),
        ("example.org", true),
        ("a.b.example.org", true),
        ("evilexample.org", false),
    ] {
        let status = if allowed { 200 } else { 403 };
        check(
            &server,
            &format!("GET /a HTTP/1.1\r\nHost: {name}:PORT"),
            status,
        );
        let echo = "POST /_oneloop/echo HTTP/1.1\r\nHost: localhost:PORT";
        check(
            &server,
            &format!("{echo}\r\nOrigin: https://{name}:1"),
            status,
        );
    }
}

#[test]
fn with_a_star_any_name_is_let_in_but_no_page_without_one() {
    let folder = Folder::with("a", "a");
    let flags = ["--test-endpoints", "--allow-host", "*"];
    let server = Server::with(folder.path(), &[&LOG_OFF[..], &flags].concat());
    for (origin, status) in [
        ("http://evil.example", 200),
        ("http://127.0.0.1:1", 200),
        ("null", 403),
        ("evil.example", 403),
    ] {
        let request = "POST /_oneloop/echo HTTP/1.1\r\nHost: other.example";
        check(&server, &format!("{request}\r\nOrigin: {origin}"), status);
    }
}

#[test]
fn a_page_without_a_host_is_let_in_by_its_origin() {
    let folder = Folder::with("a", "a");
    let origins = ["--allow-origin", "null", "--allow-origin", "file://"];
    let flags = [&LOG_OFF[..], &["--test-endpoints"], &origins].concat();
    let server = Server::with(folder.path(), &flags);
    for (origin, status) in [
        ("null", 200),
        ("file://", 200),
        ("vscode-webview://0a1b", 403),
        ("http://evil.example", 403),
    ] {
        let fields = format!("HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nOrigin: {origin}");
        check(&server, &format!("POST /_oneloop/echo {fields}"), status);
        let mut client = server.connect();
        let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let port = server.address().port().to_string();
        client.send(format!("GET /echo {fields}\r\n{handshake}").replace("PORT", &port));
        let status = if status == 200 { 101 } else { 403 };
        assert_eq!(client.head().status, status, "{origin}");
    }
}

/// The test follows the advice in the refusal, and the request is then admitted.
#[test]
fn the_advice_of_a_refusal_works() {
    let folder = Folder::with("a", "a");
    let flags = [&LOG_OFF[..], &["--test-endpoints"]].concat();
    let strict = Server::with(folder.path(), &flags);
    for fields in [
        "Host: app.test:PORT",
        "Host: 0x7f.1",
        "Host: a_b.-c.test.",
        "Host: localhost\r\nOrigin: http://app.test",
        "Host: localhost\r\nOrigin: http://10.0.0.1:1",
        "Host: localhost\r\nOrigin: https://[2001:DB8:0::1]",
        "Host: localhost\r\nOrigin: null",
        "Host: localhost\r\nOrigin: vscode-webview://0a1b",
    ] {
        let request = format!("POST /_oneloop/echo HTTP/1.1\r\n{fields}");
        let refusal = check(&strict, &request, 403);
        let (_, advice) = refusal.text().split_once("start with ").expect("advice");
        let advice = advice.replace('\'', "");
        let flags = flags.iter().copied().chain(advice.split_whitespace());
        let server = Server::with(folder.path(), &flags.collect::<Vec<_>>());
        check(&server, &request, 200);
    }
}

/// A refused request is answered before its body is read. The connection ends, and the answer
/// arrives all the same.
#[test]
fn nobody_reads_the_body_of_a_stranger() {
    let folder = Folder::with("a", "a");
    let server = Server::of(folder.path());
    let start = "POST /a HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1048576\r\n";
    for (fields, sent) in [("Expect: 100-continue\r\n", 0), ("", 1 << 20)] {
        let mut client = server.connect();
        client.send(format!("{start}{fields}\r\n"));
        client.await_something();
        client.send("x".repeat(sent));
        let answer = client.answer();
        assert_eq!(answer.status, 403);
        assert_eq!(answer.field("Connection"), Some("close"));
        client.assert_end();
    }
}

/// Like a browser, curl is led to the server by a name that resolves to its address.
#[test]
fn curl_is_led_here_by_a_strangers_name() {
    let folder = Folder::with("a", "a");
    let server = Server::of(folder.path());
    let port = server.address().port();
    for (name, code) in [("evil.example", "403"), ("app.localhost", "200")] {
        let Some(mut curl) = outside("curl") else {
            return;
        };
        curl.args(CURL_FLAGS);
        curl.args(["-o", "/dev/null", "-w", "%{http_code}"]);
        curl.args(["--resolve", &format!("{name}:{port}:127.0.0.1")]);
        curl.arg(format!("http://{name}:{port}/a"));
        let finished = Process::start(&mut curl).finish();
        assert_eq!(
            (finished.code, &*finished.stdout),
            (Some(0), code),
            "{}",
            finished.stderr
        );
    }
}
