//! Floor 2, site: the heads of requests that are passed on, tried.

use std::net::Ipv4Addr;

use super::*;
use crate::http::{HeadLimits, HeadParser, Parsed};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 7));

/// The usual facts, for a route of the path `/api`.
struct Facts {
    route: ProxyRoute,
    client: Option<IpAddr>,
    is_tls: bool,
    framing: Framing,
    persistence: Persistence,
    hides_credentials: bool,
    wants_identity: bool,
}

impl Facts {
    fn new(target: &str) -> Facts {
        Facts {
            route: ProxyRoute::parse(&format!("/api={target}")).expect("a route"),
            client: Some(LOOPBACK),
            is_tls: false,
            framing: Framing::None,
            persistence: Persistence::KeepAlive,
            hides_credentials: false,
            wants_identity: false,
        }
    }
}

/// Parses a request of this text, and lets `ask` look at it.
fn with_request<T>(text: &str, ask: impl FnOnce(&RequestHead<'_>) -> T) -> T {
    let limits = HeadLimits {
        head_bytes_max: 4096,
        target_bytes_max: 300,
        fields_max: 20,
    };
    let mut parser = HeadParser::default();
    match parser.parse(text.as_bytes(), &limits) {
        Ok(Parsed::Complete(head)) => ask(&RequestHead::new(head, text.as_bytes())),
        other => panic!("{text}: {other:?}"),
    }
}

fn forwarded(text: &str, facts: &Facts) -> String {
    with_request(text, |request| {
        let onward = Onward {
            route: &facts.route,
            client: facts.client,
            is_tls: facts.is_tls,
            via: "oneloop-1",
            framing: facts.framing,
            persistence: facts.persistence,
            hides_credentials: facts.hides_credentials,
            wants_identity: facts.wants_identity,
        };
        let mut out = b"before".to_vec();
        push_request(&mut out, request, &onward);
        let head = out.strip_prefix(b"before").expect("it appends");
        // What goes to the server is a request that this server would take.
        let head = String::from_utf8(head.to_vec()).expect("text");
        with_request(&head, |sent| assert_eq!(sent.framing(), facts.framing));
        head
    })
}

/// Forwards a GET with these lines, and compares the lines that are sent, without the request line, Host,
/// Via and the fields that tell of the client.
#[track_caller]
fn check(lines: &str, facts: &Facts, expected: &str) {
    let text = format!("GET /api/x?q HTTP/1.1\r\nHost: localhost:8080\r\n{lines}\r\n");
    let sent = forwarded(&text, facts);
    let is_usual = |line: &&str| {
        ["GET ", "Host:", "Via:", "X-Forwarded-"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let lines: Vec<_> = sent
        .split_inclusive("\r\n")
        .filter(|line| !is_usual(line))
        .collect();
    assert_eq!(lines.concat(), format!("{expected}\r\n"), "{sent}");
}

#[test]
fn a_request_is_passed_on() {
    let text = "GET /api/users?id=1 HTTP/1.1\r\nhost: LocalHost:8080\r\nAccept: */*\r\n\
                X-A:  b \r\nUser-Agent: c\r\n\r\n";
    assert_eq!(
        forwarded(text, &Facts::new("http://127.0.0.1:3000")),
        "GET /api/users?id=1 HTTP/1.1\r\nHost: LocalHost:8080\r\nAccept: */*\r\nX-A: b\r\n\
         User-Agent: c\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: LocalHost:8080\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Port: 8080\r\nVia: 1.1 oneloop-1\r\n\r\n"
    );
    // The target is in absolute-form, the version is 1.0, and no host is named elsewhere.
    let text = "BREW http://a.test/api HTTP/1.0\r\n\r\n";
    let facts = Facts {
        is_tls: true,
        client: None,
        ..Facts::new("unix:/a:/v1")
    };
    assert_eq!(
        forwarded(text, &facts),
        "BREW /v1 HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Host: a.test\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\nVia: 1.0 oneloop-1\r\n\r\n"
    );
}

#[test]
fn host_is_kept_or_the_targets_own() {
    for (target, host) in [
        ("http://127.0.0.1:3000", "a.test:81"),
        ("http://localhost:3000", "a.test:81"),
        ("unix:/a", "a.test:81"),
        ("http://10.0.0.1:3000", "10.0.0.1:3000"),
        ("http://example.org", "example.org"),
        ("http://[2001:db8::1]:81", "[2001:db8::1]:81"),
        ("http://example.org?host=keep", "a.test:81"),
        ("http://localhost:3000?host=target", "localhost:3000"),
        ("unix:/a?host=target", "localhost"),
    ] {
        let sent = forwarded(
            "GET /api HTTP/1.1\r\nHost: a.test:81\r\n\r\n",
            &Facts::new(target),
        );
        assert!(
            sent.contains(&format!("\r\nHost: {host}\r\n")),
            "{target}: {sent}"
        );
        assert!(
            sent.contains("\r\nX-Forwarded-Host: a.test:81\r\n"),
            "{target}: {sent}"
        );
    }
    // A client of HTTP/1.0 may name no host.
    let sent = forwarded("GET /api HTTP/1.0\r\n\r\n", &Facts::new("http://[::1]:81"));
    assert!(
        sent.contains("\r\nHost: [::1]:81\r\n") && !sent.contains("-Host"),
        "{sent}"
    );
}

#[test]
fn the_client_is_told_of_and_only_a_proxy_here_may_tell_more() {
    let lines = "X-Forwarded-For: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2, 3.3.3.3\r\n\
                 X-Forwarded-Host: a.test\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\
                 Forwarded: for=1.1.1.1\r\n";
    let text = format!("GET /api HTTP/1.1\r\nHost: b.test\r\n{lines}\r\n");
    for (client, expected) in [
        (Some(LOOPBACK), ["127.0.0.1", "a.test", "https", "443"]),
        (
            Some("::ffff:127.0.0.1".parse().unwrap()),
            ["127.0.0.1", "a.test", "https", "443"],
        ),
        (Some(ELSEWHERE), ["192.168.0.7", "b.test", "http", "80"]),
    ] {
        let sent = forwarded(
            &text,
            &Facts {
                client,
                ..Facts::new("http://localhost")
            },
        );
        let [ip, host, proto, port] = expected;
        for (name, value) in [
            (
                "X-Forwarded-For",
                format!("1.1.1.1, 2.2.2.2, 3.3.3.3, {ip}"),
            ),
            ("X-Forwarded-Host", host.into()),
            ("X-Forwarded-Proto", proto.into()),
            ("X-Forwarded-Port", port.into()),
        ] {
            let line = format!("\r\n{name}: {value}\r\n");
            assert!(sent.contains(&line), "{line} {sent}");
            assert_eq!(sent.matches(name).count(), 1, "{name} {sent}");
        }
        let is_told = sent.contains("\r\nForwarded: for=1.1.1.1\r\n");
        assert_eq!(is_told, ip == "127.0.0.1", "{sent}");
    }
    let sent = forwarded(
        &text,
        &Facts {
            client: None,
            ..Facts::new("http://localhost")
        },
    );
    assert!(
        sent.contains("X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3\r\n"),
        "{sent}"
    );
}

#[test]
fn what_belongs_to_the_connection_stays() {
    let facts = Facts::new("http://localhost:3000");
    check(
        "Connection: close, X-Secret , cookie\r\nKeep-Alive: timeout=5\r\nproxy-connection: a\r\n\
         Proxy-Authorization: b\r\nTrailer: c\r\nx-secret: d\r\nCookie: e\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: f\r\nTE: gzip\r\nX-Kept: g\r\nExpect: 100-continue\r\n",
        &facts,
        "X-Kept: g\r\nExpect: 100-continue\r\n",
    );
    let facts = Facts {
        persistence: Persistence::Close,
        ..facts
    };
    check(
        "Connection: keep-alive\r\n",
        &facts,
        "Connection: close\r\n",
    );
    check(
        "TE: gzip, Trailers\r\nConnection: TE\r\n",
        &facts,
        "TE: trailers\r\nConnection: close, TE\r\n",
    );
    let sent = forwarded(
        "GET /api HTTP/1.0\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n",
        &facts,
    );
    assert!(!sent.contains("Expect") && !sent.contains("TE:"), "{sent}");
}

#[test]
fn an_upgrade_is_passed_on_for_websocket_alone() {
    let facts = Facts {
        persistence: Persistence::Close,
        ..Facts::new("http://localhost:3000")
    };
    check(
        "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n",
        &facts,
        "Sec-WebSocket-Key: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    check(
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        &facts,
        "Connection: close\r\n",
    );
    let post = "POST /api HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(!forwarded(post, &facts).contains("Upgrade"));
}

#[test]
fn the_framing_is_made_anew() {
    let post = |fields: &str, framing| {
        let text = format!("POST /api HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let facts = Facts {
            framing,
            ..Facts::new("http://localhost:3000")
        };
        let sent = forwarded(&text, &facts);
        let is_framing =
            |line: &&str| line.starts_with("Content-") || line.starts_with("Transfer-");
        sent.lines()
            .filter(is_framing)
            .collect::<Vec<_>>()
            .join("; ")
    };
    let length = "Content-Length: 5\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    assert_eq!(post("", Framing::None), "");
    assert_eq!(
        post("Content-Length: 0\r\n", Framing::None),
        "Content-Length: 0"
    );
    assert_eq!(post(length, Framing::Length(5)), "Content-Length: 5");
    assert_eq!(post(length, Framing::Chunked), "Transfer-Encoding: chunked");
    assert_eq!(
        post(chunked, Framing::Chunked),
        "Transfer-Encoding: chunked"
    );
    assert_eq!(post(chunked, Framing::Length(7)), "Content-Length: 7");
}

#[test]
fn an_origin_of_ours_becomes_the_targets_with_host() {
    let page = "Origin: http://LOCALHOST:8080\r\nReferer: http://localhost:8080/api/a?b\r\n";
    check(page, &Facts::new("http://localhost:3000"), page);
    check(
        page,
        &Facts::new("https://example.org"),
        "Origin: https://example.org\r\nReferer: https://example.org/api/a?b\r\n",
    );
    check(
        page,
        &Facts::new("http://example.org:81/v1"),
        "Origin: http://example.org:81\r\nReferer: http://example.org:81/v1/a?b\r\n",
    );
    // A page beside the prefix, and a Referer of the origin alone.
    check(
        "Referer: http://localhost:8080/apis\r\nOrigin: http://localhost:8080\r\n",
        &Facts::new("http://example.org/v1"),
        "Referer: http://example.org/apis\r\nOrigin: http://example.org\r\n",
    );
    let everything = Facts {
        route: ProxyRoute::parse("/=http://example.org/v1").unwrap(),
        ..Facts::new("http://example.org")
    };
    check(
        "Origin: http://localhost:8080\r\nReferer: http://localhost:8080\r\n",
        &everything,
        "Origin: http://example.org\r\nReferer: http://example.org\r\n",
    );
    for foreign in [
        "Origin: http://localhost:5173\r\n",
        "Origin: https://localhost:8080\r\n",
        "Origin: http://127.0.0.1:8080\r\n",
        "Origin: http://evil.test\r\nReferer: http://evil.test/http://localhost:8080/\r\n",
        "Origin: null\r\n",
        "Origin: vscode-webview://localhost:8080\r\n",
        "Referer: /api\r\n",
    ] {
        check(foreign, &Facts::new("http://example.org"), foreign);
    }
}

#[test]
fn the_password_of_this_server_stays_here() {
    let facts = Facts {
        hides_credentials: true,
        ..Facts::new("http://localhost:3000")
    };
    check(
        "Authorization: Basic YTpi\r\nCookie: a=b; oneloop-8080=token;c=d\r\nCookie: oneloop-80=e\r\n",
        &facts,
        "Cookie: a=b; c=d\r\n",
    );
    let open = Facts {
        hides_credentials: false,
        ..facts
    };
    let lines = "Authorization: Basic YTpi\r\nCookie: a=b; oneloop-8080=token;c=d\r\n";
    check(lines, &open, lines);
}

#[test]
fn a_request_may_be_bound_to_a_number_of_servers() {
    let facts = Facts::new("http://127.0.0.1:3000");
    for (method, lines, expected) in [
        ("OPTIONS", "Max-Forwards: 7\r\n", Some("6")),
        ("TRACE", "max-forwards: 1\r\n", Some("0")),
        (
            "OPTIONS",
            "Max-Forwards: 9\r\nMax-Forwards: 3\r\n",
            Some("2"),
        ),
        (
            "OPTIONS",
            "Max-Forwards: 99999999999999999999\r\n",
            Some("18446744073709551614"),
        ),
        // Nobody is told to drop it on the way.
        (
            "TRACE",
            "Connection: Max-Forwards\r\nMax-Forwards: 2\r\n",
            Some("1"),
        ),
        ("TRACE", "Max-Forwards: two\r\n", Some("two")),
        ("GET", "Max-Forwards: 7\r\n", Some("7")),
        ("OPTIONS", "", None),
    ] {
        let sent = forwarded(
            &format!("{method} /api HTTP/1.1\r\nHost: a\r\n{lines}\r\n"),
            &facts,
        );
        let mut values = sent.split("\r\n").filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("Max-Forwards").then_some(value)
        });
        assert_eq!(values.next(), expected, "{method} {lines}");
        assert_eq!(values.next(), None, "{method} {lines}");
    }
}

#[test]
fn a_page_that_gets_a_script_is_asked_for_without_a_coding() {
    let facts = Facts {
        wants_identity: true,
        ..Facts::new("http://localhost:3000")
    };
    check(
        "Accept-Encoding: gzip\r\n",
        &facts,
        "Accept-Encoding: identity\r\n",
    );
}

#[test]
fn a_request_that_comes_round_is_known() {
    for (lines, expected) in [
        ("Via: 1.1 oneloop-1\r\n", true),
        ("Via: 1.0 a, 1.1 oneloop-1 (x)\r\n", true),
        ("Via: 1.1 a\r\nvia: HTTP/1.1\toneloop-1,1.1 b\r\n", true),
        ("Via: 1.1 oneloop-12\r\n", false),
        ("X-Via: 1.1 oneloop-1\r\n", false),
        ("", false),
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(
            with_request(&text, |request| has_passed(request, "oneloop-1")),
            expected
        );
    }
    // What this server sends comes round.
    let text = "GET /api HTTP/1.1\r\nHost: a\r\nVia: 1.1 a\r\n\r\n";
    let sent = forwarded(text, &Facts::new("http://localhost:3000"));
    assert!(with_request(&sent, |request| has_passed(
        request,
        "oneloop-1"
    )));
    assert_eq!(sent.matches("Via: ").count(), 2);
}

#[test]
fn the_way_back_knows_the_request() {
    let asked = |text: &str| with_request(text, |request| Asked::new(request, false));
    let first = asked(
        "GET /a HTTP/1.1\r\nHost: [::1]:81\r\nTE: trailers\r\nUpgrade: websocket\r\n\
         Expect: 100-continue\r\n\r\n",
    );
    assert_eq!(first.authority(), Some(&b"[::1]:81"[..]));
    assert_eq!(first.host(), b"[::1]");
    assert!(first.takes_trailers && first.is_websocket && first.expects_continue);
    let second = asked("POST http://a.test/ HTTP/1.0\r\nHost: b\r\nTE: trailers\r\n\r\n");
    assert_eq!(second.authority(), Some(&b"a.test"[..]));
    assert!(!second.takes_trailers && !second.is_websocket && !second.expects_continue);
    assert_eq!(
        (second.method, second.version),
        (Method::Post, Version::Http10)
    );
    assert_eq!(asked("GET / HTTP/1.0\r\n\r\n").authority(), None);
    for (host, is_fleeting) in [
        ("localhost", true),
        ("a.localhost:80", true),
        ("localhost.", true),
        ("192.168.0.7", true),
        ("[2001:db8::1]:80", true),
        ("dev.example.org", false),
        ("notlocalhost", false),
    ] {
        let asked = asked(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(asked.is_fleeting(), is_fleeting, "{host}");
    }
}
