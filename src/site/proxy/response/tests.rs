//! Floor 2, site: the heads of responses that are passed back, tried.

use std::time::UNIX_EPOCH;

use super::*;
use crate::http::{
    BodyDecoder, Framing, HeadLimits, HeadParser, Parsed, RequestHead, ResponseParser,
};

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 4096,
    target_bytes_max: 300,
    fields_max: 20,
};

fn asked(text: &str, is_tls: bool) -> Asked {
    let mut parser = HeadParser::default();
    match parser.parse(text.as_bytes(), &LIMITS) {
        Ok(Parsed::Complete(head)) => Asked::new(&RequestHead::new(head, text.as_bytes()), is_tls),
        other => panic!("{text}: {other:?}"),
    }
}

/// A GET by a browser that knows this server by the host.
fn get(host: &str, is_tls: bool) -> Asked {
    asked(
        &format!("GET /api/x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        is_tls,
    )
}

fn route(text: &str) -> ProxyRoute {
    ProxyRoute::parse(text).expect("a route")
}

fn respond(
    text: &str,
    route: &ProxyRoute,
    asked: &Asked,
    framing: BackFraming,
    persistence: Persistence,
) -> (String, Noted) {
    let mut parser = ResponseParser::default();
    let head = parser
        .parse(text.as_bytes(), &LIMITS)
        .expect("valid")
        .expect("whole");
    let date = HttpDate::new(UNIX_EPOCH);
    let back = Back {
        route,
        asked,
        framing,
        persistence,
        date: &date,
    };
    let mut out = b"before".to_vec();
    let noted = push_response(&mut out, &head, &back);
    let sent = out.strip_prefix(b"before").expect("it appends");
    // What goes to the client is a response that this server would take.
    let mut parser = ResponseParser::default();
    let again = parser.parse(sent, &LIMITS).expect("valid").expect("whole");
    assert_eq!(again.end(), sent.len());
    (String::from_utf8(sent.to_vec()).expect("text"), noted)
}

/// The lines of a response with this status and these lines, but for the status line and Date.
fn lines(status: &str, fields: &str, asked: &Asked, framing: BackFraming) -> String {
    let text = format!("HTTP/1.1 {status}\r\n{fields}\r\n");
    let route = route("/api=http://localhost:3000");
    let (sent, _) = respond(&text, &route, asked, framing, Persistence::KeepAlive);
    let lines = sent.split_inclusive("\r\n").skip(1);
    let lines = lines.filter(|line| !line.starts_with("Date: "));
    lines
        .collect::<String>()
        .strip_suffix("\r\n")
        .expect("an empty line")
        .into()
}

#[test]
fn a_response_is_passed_back() {
    let text =
        "HTTP/1.1 200 Fine\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nX-A:  b \r\n\r\n";
    let (sent, noted) = respond(
        text,
        &route("/api=http://localhost:3000"),
        &get("localhost:8080", false),
        BackFraming::Kept,
        Persistence::KeepAlive,
    );
    assert_eq!(
        sent,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nX-A: b\r\n\
         Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"
    );
    assert_eq!(noted, Noted::default());
    let (sent, _) = respond(
        "HTTP/1.0 799 x\r\nDate: then\r\n\r\n",
        &route("/api=http://localhost:3000"),
        &get("localhost:8080", false),
        BackFraming::Chunked,
        Persistence::Close,
    );
    assert_eq!(
        sent,
        "HTTP/1.1 799 \r\nDate: then\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn what_belongs_to_the_connection_is_left_out() {
    let asked = get("localhost:8080", false);
    let fields = "Connection: keep-alive, X-Secret, date\r\nKeep-Alive: timeout=5\r\nx-secret: a\r\n\
                  Proxy-Authenticate: b\r\nTransfer-Encoding: chunked\r\nTrailer: c\r\n\
                  Upgrade: h2c\r\nAlt-Svc: h3=\":443\"\r\nX-Kept: d\r\n";
    assert_eq!(
        lines("200 OK", fields, &asked, BackFraming::Chunked),
        "X-Kept: d\r\nTransfer-Encoding: chunked\r\n"
    );
    // The length frames the message, whatever Connection says.
    assert_eq!(
        lines(
            "200 OK",
            "Connection: content-length\r\nContent-Length: 2\r\n",
            &asked,
            BackFraming::Kept
        ),
        "Content-Length: 2\r\n"
    );
    // A Date that Connection names was for one connection; the client gets another.
    let (sent, _) = respond(
        "HTTP/1.1 200 OK\r\nConnection: date\r\nDate: a\r\nContent-Length: 0\r\n\r\n",
        &route("/api=http://localhost"),
        &asked,
        BackFraming::Kept,
        Persistence::KeepAlive,
    );
    assert!(
        sent.contains("\r\nDate: Thu, ") && !sent.contains("Date: a"),
        "{sent}"
    );
}

#[test]
fn the_framing_fits_the_status_and_the_client() {
    use BackFraming::{Chunked, Kept, UntilClose};
    let new = get("localhost:8080", false);
    let old = asked("GET /api HTTP/1.0\r\nHost: a\r\n\r\n", false);
    let length = "Content-Length: 7\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (status, fields, asked, framing, expected) in [
        ("200", length, &new, Kept, length),
        ("304", length, &new, Kept, length),
        ("304", chunked, &new, Kept, ""),
        ("204", length, &new, Kept, ""),
        ("204", chunked, &new, Kept, ""),
        (
            "205",
            "Content-Length: 0\r\n",
            &new,
            Kept,
            "Content-Length: 0\r\n",
        ),
        ("200", length, &new, Chunked, chunked),
        ("200", "", &new, Chunked, chunked),
        ("200", chunked, &old, UntilClose, "Connection: close\r\n"),
        (
            "200",
            length,
            &old,
            Kept,
            "Content-Length: 7\r\nConnection: keep-alive\r\n",
        ),
    ] {
        assert_eq!(
            lines(status, fields, asked, framing),
            expected,
            "{status} {fields}"
        );
    }
    for (body, version, framing) in [
        (ResponseBody::None, Version::Http11, Kept),
        (ResponseBody::Length(0), Version::Http10, Kept),
        (ResponseBody::Chunked, Version::Http11, Chunked),
        (ResponseBody::UntilClose, Version::Http11, Chunked),
        (ResponseBody::Chunked, Version::Http10, UntilClose),
        (ResponseBody::UntilClose, Version::Http10, UntilClose),
    ] {
        assert_eq!(BackFraming::of(body, version), framing);
    }
}

#[test]
fn an_upgrade_is_passed_back() {
    let handshake = asked(
        "GET /api HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
        false,
    );
    let fields = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: a\r\n";
    assert_eq!(
        lines("101 x", fields, &handshake, BackFraming::Kept),
        "Upgrade: websocket\r\nSec-WebSocket-Accept: a\r\nConnection: Upgrade\r\n"
    );
    let text = format!("HTTP/1.1 101\r\n{fields}\r\n");
    let mut parser = ResponseParser::default();
    let head = parser.parse(text.as_bytes(), &LIMITS).unwrap().unwrap();
    assert!(!is_unasked_switch(&head, &handshake));
    assert!(is_unasked_switch(&head, &get("a", false)));
    let (sent, _) = respond(
        &text,
        &route("/api=http://localhost"),
        &handshake,
        BackFraming::Kept,
        Persistence::Close,
    );
    assert!(sent.starts_with("HTTP/1.1 101 Switching Protocols\r\n") && !sent.contains("Date"));
    // An upgrade that is refused is an ordinary response.
    assert_eq!(
        lines(
            "426",
            "Upgrade: websocket\r\nContent-Length: 0\r\n",
            &handshake,
            BackFraming::Kept
        ),
        "Upgrade: websocket\r\nContent-Length: 0\r\nConnection: Upgrade\r\n"
    );
    assert_eq!(
        lines(
            "401",
            "Upgrade: a\r\nContent-Length: 0\r\n",
            &handshake,
            BackFraming::Kept
        ),
        "Content-Length: 0\r\n"
    );
}

#[test]
fn interim_responses_are_stripped() {
    let interim = |text: &str| {
        let mut parser = ResponseParser::default();
        let head = parser.parse(text.as_bytes(), &LIMITS).unwrap().unwrap();
        assert!(head.is_interim());
        let mut out = Vec::new();
        push_interim(&mut out, &head);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(
        interim(
            "HTTP/1.1 103 x\r\nLink: </a.css>; rel=preload\r\nConnection: X-A\r\nX-A: b\r\n\
             Keep-Alive: c\r\nContent-Length: 4\r\nSet-Cookie: d\r\nLink: </b.js>; rel=preload\r\n\r\n"
        ),
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n\r\n"
    );
    assert_eq!(
        interim("HTTP/1.1 100\r\n\r\n"),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
}

#[test]
fn trailers_go_to_those_who_take_them() {
    let takes = asked(
        "GET /api HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
        false,
    );
    let fields = "Transfer-Encoding: chunked\r\nTrailer: Checksum\r\n";
    assert_eq!(
        lines("200", fields, &takes, BackFraming::Chunked),
        "Trailer: Checksum\r\nTransfer-Encoding: chunked\r\n"
    );
    assert!(!lines("200", fields, &get("a", false), BackFraming::Chunked).contains("Trailer"));
    let mut decoder = BodyDecoder::new(Framing::Chunked).unwrap().with_trailers();
    let body =
        b"0\r\nChecksum: 7a\r\nContent-Length: 5\r\nset-cookie: a\r\nTransfer-Encoding: b\r\n\
                 Connection: c\r\nServer-Timing: d\r\n\r\n";
    assert!(decoder.decode(body).unwrap().last);
    let mut out = Vec::new();
    push_chunk_size(&mut out, 255);
    out.extend_from_slice(b"...\r\n");
    push_last_chunk(&mut out, Some(decoder.trailers()));
    push_last_chunk(&mut out, None);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "ff\r\n...\r\n0\r\nChecksum: 7a\r\nServer-Timing: d\r\n\r\n0\r\n\r\n"
    );
}

/// The value that a field comes to.
#[track_caller]
fn check(route: &str, asked: &Asked, field: (&str, &str), expected: Option<&str>) -> Noted {
    let (name, value) = field;
    let text = format!("HTTP/1.1 302\r\n{name}: {value}\r\nContent-Length: 0\r\n\r\n");
    let (sent, noted) = respond(
        &text,
        &self::route(route),
        asked,
        BackFraming::Kept,
        Persistence::KeepAlive,
    );
    let found = sent
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}: ")));
    assert_eq!(found, expected, "{route} {name}: {value}");
    noted
}

#[test]
fn a_redirect_to_the_target_leads_to_this_server() {
    let here = get("localhost:8080", false);
    let kept = "/api=http://127.0.0.1:3000";
    let replaced = "/api=http://127.0.0.1:3000/v1";
    let elsewhere = "/api=https://example.org/";
    for (route, value, expected) in [
        (
            kept,
            "http://127.0.0.1:3000/login?a#b",
            "http://localhost:8080/login?a#b",
        ),
        (kept, "HTTP://LocalHost:3000/", "http://localhost:8080/"),
        (kept, "http://127.0.0.1:3000", "http://localhost:8080"),
        (kept, "http://127.0.0.1:3000?a", "http://localhost:8080?a"),
        (kept, "//127.0.0.1:3000/x", "//localhost:8080/x"),
        (kept, "http://127.0.0.1:3001/", "http://127.0.0.1:3001/"),
        (kept, "https://127.0.0.1:3000/", "https://127.0.0.1:3000/"),
        (kept, "http://localhost:8080/x", "http://localhost:8080/x"),
        (kept, "https://localhost:8080/x", "http://localhost:8080/x"),
        (kept, "https://localhost/x", "https://localhost/x"),
        (kept, "http://u@127.0.0.1:3000/", "http://u@127.0.0.1:3000/"),
        (kept, "/login", "/login"),
        (kept, "login", "login"),
        (kept, "?a", "?a"),
        (kept, "", ""),
        (kept, "mailto:a@b", "mailto:a@b"),
        (replaced, "/v1/login?a=/v1/", "/api/login?a=/v1/"),
        (replaced, "/v1", "/api"),
        (replaced, "/v2/login", "/v2/login"),
        (replaced, "login", "login"),
        (
            replaced,
            "http://localhost:3000/v1/x",
            "http://localhost:8080/api/x",
        ),
        (
            replaced,
            "http://localhost:8080/v1/x",
            "http://localhost:8080/api/x",
        ),
        (
            elsewhere,
            "https://example.org/x",
            "http://localhost:8080/api/x",
        ),
        (
            elsewhere,
            "https://example.org:443",
            "http://localhost:8080/api/",
        ),
        (elsewhere, "http://example.org/x", "http://example.org/x"),
        (
            elsewhere,
            "https://www.example.org/x",
            "https://www.example.org/x",
        ),
        (elsewhere, "//example.org/x", "//localhost:8080/api/x"),
    ] {
        check(route, &here, ("Location", value), Some(expected));
        check(route, &here, ("Content-Location", value), Some(expected));
    }
    let tls = get("dev.test", true);
    let location = ("Location", "http://dev.test:443/x");
    check(kept, &tls, location, Some("https://dev.test/x"));
    // The server does not know of TLS.
    check(
        kept,
        &tls,
        ("Location", "http://dev.test/x"),
        Some("https://dev.test/x"),
    );
    let nameless = asked("GET /api HTTP/1.0\r\n\r\n", false);
    check(
        kept,
        &nameless,
        ("Location", "http://[::1]:3000/x"),
        Some("/x"),
    );
    check(
        kept,
        &nameless,
        ("Location", "http://[::1]:3000"),
        Some("/"),
    );
}

#[test]
fn a_refresh_leads_to_this_server() {
    let here = get("localhost:8080", false);
    let route = "/api=http://127.0.0.1:3000/v1";
    for (value, expected) in [
        ("5", "5"),
        (
            "5;url=http://127.0.0.1:3000/v1/x",
            "5;url=http://localhost:8080/api/x",
        ),
        ("0; URL='/v1/x'", "0; URL='/api/x'"),
        ("0,url=\"/v1/x\"", "0,url=\"/api/x\""),
        ("0, url = /v1/x", "0, url = /api/x"),
        (
            "0;http://127.0.0.1:3000/v1/x",
            "0;http://localhost:8080/api/x",
        ),
        ("0 /v1/x", "0 /api/x"),
        ("0; url", "0; url"),
        ("0; urls", "0; urls"),
        ("0; url=http://other.test/", "0; url=http://other.test/"),
        ("0; x", "0; x"),
        ("0;url='", "0;url='"),
        ("", ""),
    ] {
        check(route, &here, ("Refresh", value), Some(expected));
    }
}

#[test]
fn a_policy_for_other_hosts_does_not_lock_this_one() {
    let plain = get("localhost:8080", false);
    let route = "/api=http://127.0.0.1:3000";
    let transport = ("Strict-Transport-Security", "max-age=31536000");
    for host in [
        "localhost:8080",
        "127.0.0.1",
        "[::1]:80",
        "a.localhost",
        "192.168.0.7:8080",
    ] {
        for is_tls in [false, true] {
            assert!(check(route, &get(host, is_tls), transport, None).strict_transport);
        }
    }
    let named = get("dev.example.org", true);
    let noted = check(route, &named, transport, Some("max-age=31536000"));
    assert!(!noted.strict_transport);
    for (value, expected) in [
        ("default-src 'self'", Some("default-src 'self'")),
        (
            "default-src 'self'; upgrade-insecure-requests",
            Some("default-src 'self';"),
        ),
        ("Upgrade-Insecure-Requests; img-src *", Some("img-src *")),
        ("a; upgrade-insecure-requests ;b", Some("a;b")),
        ("upgrade-insecure-requests", None),
        (" upgrade-insecure-requests; ", None),
        ("a; upgrade-insecure-requests, b", Some("a;, b")),
        (
            "report-uri /upgrade-insecure-requests",
            Some("report-uri /upgrade-insecure-requests"),
        ),
    ] {
        for name in [
            "Content-Security-Policy",
            "Content-Security-Policy-Report-Only",
        ] {
            let trimmed = expected.map(|text| text.trim_start());
            check(route, &plain, (name, value), trimmed);
            check(route, &named, (name, value), Some(value.trim()));
        }
    }
}

#[test]
fn a_cookie_is_for_this_server() {
    let kept = "/api=http://127.0.0.1:3000";
    let replaced = "/api=http://127.0.0.1:3000/v1";
    let plain = get("localhost:8080", false);
    let tls = get("dev.example.org:8443", true);
    for (route, asked, value, expected) in [
        (kept, &plain, "a=b", "a=b"),
        (kept, &plain, "a=b;Path=/;HttpOnly", "a=b; Path=/; HttpOnly"),
        (
            kept,
            &plain,
            "a=b; Domain=127.0.0.1; Max-Age=5",
            "a=b; Max-Age=5",
        ),
        (kept, &plain, "a=b; domain=.example.org", "a=b"),
        (kept, &plain, "a=b; Domain=localhost:3000", "a=b"),
        (
            kept,
            &plain,
            "a=b; Domain=localhost",
            "a=b; Domain=localhost",
        ),
        (kept, &plain, "a=b; Domain=", "a=b"),
        (kept, &plain, "a=b; Domain", "a=b"),
        (
            kept,
            &plain,
            "a=b; Secure; SameSite=None; Partitioned",
            "a=b; SameSite=Lax",
        ),
        (
            kept,
            &plain,
            "a=b; samesite=strict; SECURE",
            "a=b; samesite=strict",
        ),
        (
            kept,
            &plain,
            "a=\"b c\"; Expires=Thu, 01 Jan 2026",
            "a=\"b c\"; Expires=Thu, 01 Jan 2026",
        ),
        (kept, &plain, "Secure=Secure; Domain", "Secure=Secure"),
        (kept, &plain, "", ""),
        (kept, &plain, "; Secure", ""),
        (
            kept,
            &tls,
            "a=b; Secure; SameSite=None; Partitioned",
            "a=b; Secure; SameSite=None; Partitioned",
        ),
        (
            kept,
            &tls,
            "a=b; Domain=example.org",
            "a=b; Domain=example.org",
        ),
        (
            kept,
            &tls,
            "a=b; Domain=.DEV.example.org",
            "a=b; Domain=.DEV.example.org",
        ),
        (kept, &tls, "a=b; Domain=ample.org", "a=b"),
        (kept, &tls, "a=b; Domain=x.dev.example.org", "a=b"),
        (replaced, &plain, "a=b; Path=/v1", "a=b; Path=/api"),
        (replaced, &plain, "a=b; path=/v1/x", "a=b; path=/api/x"),
        (replaced, &plain, "a=b; Path=/", "a=b; Path=/"),
        (replaced, &plain, "a=b; Path=/v10", "a=b; Path=/v10"),
        (
            "/=http://127.0.0.1:3000/v1",
            &plain,
            "a=b; Path=/v1",
            "a=b; Path=/",
        ),
        (kept, &plain, "a=b; Path=/v1", "a=b; Path=/v1"),
    ] {
        let noted = check(route, asked, ("Set-Cookie", value), Some(expected));
        assert!(!noted.secure_cookie, "{value}");
    }
    for value in [
        "__Host-a=b; Path=/; Secure",
        "__secure-a=b; Secure; SameSite=None",
    ] {
        assert!(check(kept, &plain, ("Set-Cookie", value), Some(value)).secure_cookie);
        assert!(!check(kept, &tls, ("Set-Cookie", value), Some(value)).secure_cookie);
    }
    let address = get("127.0.0.1:8080", false);
    check(kept, &address, ("Set-Cookie", "a; Domain=0.0.1"), Some("a"));
    check(
        kept,
        &address,
        ("Set-Cookie", "a; Domain=127.0.0.1"),
        Some("a; Domain=127.0.0.1"),
    );
    // Each on its own line.
    let fields = "Set-Cookie: a=b\r\nset-cookie: c=d\r\nContent-Length: 0\r\n";
    assert_eq!(lines("200", fields, &plain, BackFraming::Kept), fields);
}
