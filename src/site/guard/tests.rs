//! Floor 2, site: the rules of the guard, tried.

use super::*;
use crate::http::parsed;

/// Checks a request with a guard that allows `names`, which are separated by commas.
fn check(names: &str, request: &str) -> Result<(), String> {
    check_with(names, &[], request)
}

/// The same with a guard that also allows `origins`.
fn check_with(names: &str, origins: &[&str], request: &str) -> Result<(), String> {
    let names = names.split(',').filter(|name| !name.is_empty());
    let mut guard = Guard::new(names).with_origins(origins);
    let text = format!("{request}\r\n\r\n");
    let head = parsed(&text);
    let outcome = guard.check(&RequestHead::new(&head, text.as_bytes()));
    outcome.map_err(|refusal| format!("{refusal:?}"))
}

/// Whether a request for `host` is let in when `names` are allowed.
fn host(names: &str, host: &str) -> bool {
    let refused = |host: &str| Err(format!("{:?}", Denial::Host(host.as_bytes())));
    let got = check(names, &format!("GET / HTTP/1.1\r\nHost: {host}"));
    let authority = Authority::parse(host.as_bytes());
    let name = authority.map_or("", |a| str::from_utf8(a.host).expect("ASCII"));
    let expected = refused(name.strip_suffix('.').unwrap_or(name));
    assert!(got.is_ok() || got == expected, "{host}: {got:?}");
    // As the authority of an absolute target, `host` gives the same result, and the Host field
    // does not count.
    if !host.is_empty() {
        for other in ["localhost", "evil.example"] {
            let absolute = format!("GET http://{host}/ HTTP/1.1\r\nHost: {other}");
            assert_eq!(check(names, &absolute), got, "{absolute}");
        }
    }
    got.is_ok()
}

#[test]
fn a_host_is_an_address_localhost_or_a_name_that_was_allowed() {
    for name in [
        "",
        "localhost",
        "LocalHost:8080",
        "localhost.",
        "localhost.:80",
        "a.localhost",
        "a.b.LOCALHOST.",
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.0.0.1.",
        "192.168.1.1",
        "0.0.0.0:1",
        "[::1]",
        "[::1]:8080",
        "[2001:db8::1]",
        "[::ffff:127.0.0.1]",
    ] {
        for names in ["", "app.test", "*"] {
            assert!(host(names, name), "{name}");
        }
    }
    for name in [
        "evil.example",
        "x",
        "localhost.evil.example",
        "evillocalhost",
        ".localhost",
        "a..localhost",
        "localhost..",
        "127.0.0.1.evil.example",
        "127.0.0.1..",
        "127.1",
        "127.0.0.01",
        "0127.0.0.1",
        "0x7f.1",
        "0x7f.0.0.1",
        "2130706433",
        "127.0.0.256",
        "127.0.0.1.1",
        "%6cocalhost",
        "local%68ost",
        ".",
        "127.0.0.1%00",
    ] {
        assert!(!host("", name), "{name}");
        assert!(!host("app.test,.example.org,10.0.0.1", name), "{name}");
        assert!(host("*", name), "{name}");
    }
}

#[test]
fn an_allowed_name_is_itself_and_with_a_dot_in_front_all_below_it() {
    for (names, name, allowed) in [
        ("app.test", "app.test", true),
        ("app.test", "APP.Test.:81", true),
        ("App.Test.", "app.test", true),
        ("app.test", "www.app.test", false),
        ("app.test", "wwwapp.test", false),
        ("app.test", "app.tes", false),
        ("app.test", "test", false),
        (".example.org", "example.org", true),
        (".example.org", "www.example.org:1", true),
        (".Example.ORG.", "a.b.example.org.", true),
        (".example.org", "wwwexample.org", false),
        (".example.org", ".example.org", false),
        (".example.org", "org", false),
        ("a.test,b.test", "b.test", true),
        ("a.test,*", "c.test", true),
    ] {
        assert_eq!(
            host(names, name),
            allowed,
            "{name} where {names} is allowed"
        );
    }
}

#[test]
fn who_was_let_in_before_does_not_matter() {
    let hosts = [
        "",
        "localhost",
        "localhos",
        "localhost.",
        "localhostx",
        "xlocalhost",
        "LOCALHOST",
        "x",
        "127.0.0.1",
        "127.0.0.11",
        "[::1]",
        "a.app.test",
        "app.test",
        "app.test.x",
    ];
    let texts = hosts.map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    let new_guard = || Guard::new([".app.test"]);
    for before in &texts {
        for text in &texts {
            let (head_before, head) = (parsed(before), parsed(text));
            let request = RequestHead::new(&head, text.as_bytes());
            let mut guard = new_guard();
            let _ = guard.check(&RequestHead::new(&head_before, before.as_bytes()));
            assert_eq!(
                guard.check(&request),
                new_guard().check(&request),
                "{before}{text}"
            );
        }
    }
}

#[test]
fn who_names_no_host_is_let_in() {
    for request in [
        "GET / HTTP/1.0",
        "POST / HTTP/1.0",
        "GET / HTTP/1.1\r\nHost:",
    ] {
        assert_eq!(check("", request), Ok(()), "{request}");
    }
    let absolute = "GET http://evil.example/ HTTP/1.0";
    assert!(check("", absolute).is_err(), "this one does");
}

#[test]
fn an_unsafe_request_comes_from_a_page_of_ours_or_from_none() {
    const OK: Result<(), Denial<'_>> = Ok(());
    const NULL: Result<(), Denial<'_>> = Err(Denial::OriginNull);
    const UNKNOWN: Result<(), Denial<'_>> = Err(Denial::OriginUnknown);
    let of = |origin: &'static str| Err(Denial::Origin(origin.as_bytes()));
    for (host, origin, names, expected) in [
        // The page comes from this server.
        ("127.0.0.1:8080", "http://127.0.0.1:8080", "", OK),
        ("[::1]:8080", "http://[::1]:8080", "", OK),
        ("[0:0::A]", "http://[::a]", "", OK),
        ("10.0.0.1", "http://10.0.0.1", "", OK),
        ("10.0.0.1", "http://10.0.0.1:80", "", OK),
        ("10.0.0.1:80", "http://10.0.0.1", "", OK),
        ("10.0.0.1:", "HTTP://10.0.0.1:", "", OK),
        ("10.0.0.1", "https://10.0.0.1", "", OK),
        ("10.0.0.1:443", "https://10.0.0.1", "", OK),
        ("10.0.0.1", "HttpS://10.0.0.1:443", "", OK),
        (
            "10.0.0.1",
            "https://10.0.0.1:80",
            "",
            of("https://10.0.0.1:80"),
        ),
        ("10.0.0.1:443", "http://10.0.0.1", "", of("http://10.0.0.1")),
        ("10.0.0.1:81", "http://10.0.0.1", "", of("http://10.0.0.1")),
        (
            "10.0.0.1",
            "http://10.0.0.1:81",
            "",
            of("http://10.0.0.1:81"),
        ),
        ("", "http://10.0.0.1", "", of("http://10.0.0.1")),
        // The page comes from another address.
        ("127.0.0.1:80", "http://10.0.0.1", "", of("http://10.0.0.1")),
        (
            "localhost:80",
            "http://[2001:db8::1]",
            "",
            of("http://[2001:db8::1]"),
        ),
        ("localhost", "http://10.0.0.1:81", "10.0.0.1", OK),
        (
            "localhost",
            "http://10.0.0.1:81",
            ".0.0.1",
            of("http://10.0.0.1:81"),
        ),
        ("localhost", "http://[2001:db8::1]", "[2001:DB8:0::1]", OK),
        // The page comes from this machine, with any port.
        ("127.0.0.1:80", "http://127.0.0.1:81", "", OK),
        ("localhost:8000", "http://127.0.0.1:5173", "", OK),
        ("10.0.0.1", "https://127.1.2.3", "", OK),
        ("127.0.0.1:80", "http://[::1]:81", "", OK),
        ("localhost", "http://[0:0::1]", "", OK),
        ("localhost", "http://[::ffff:127.0.0.1]", "", OK),
        ("localhost", "http://127.1", "", of("http://127.1")),
        ("localhost", "http://128.0.0.1", "", of("http://128.0.0.1")),
        ("localhost", "http://[::2]", "", of("http://[::2]")),
        (
            "localhost",
            "http://127.evil.example",
            "",
            of("http://127.evil.example"),
        ),
        ("127.0.0.1:8080", "http://localhost:5173", "", OK),
        ("127.0.0.1:8080", "https://App.LocalHost", "", OK),
        ("", "http://localhost", "", OK),
        (
            "localhost",
            "http://evillocalhost",
            "",
            of("http://evillocalhost"),
        ),
        // The page comes from a name, allowed or not.
        (
            "localhost",
            "http://evil.example",
            "",
            of("http://evil.example"),
        ),
        ("localhost", "http://app.test.:81", "app.test", OK),
        ("localhost", "https://a.b.test", ".b.test", OK),
        ("app.test", "http://app.test:81", "app.test", OK),
        (
            "app.test",
            "http://evil.test",
            "app.test",
            of("http://evil.test"),
        ),
        ("app.test", "http://app.test:81", "*", OK),
        ("localhost", "http://evil.example", "*", OK),
        ("localhost", "http://10.0.0.1:81", "*", OK),
        // The value is not an origin of a host, or not an origin.
        ("localhost", "null", "", NULL),
        ("localhost", "null", "*", NULL),
        ("localhost", "NULL", "*", UNKNOWN),
        ("localhost", "", "*", UNKNOWN),
        ("localhost", "localhost", "*", UNKNOWN),
        ("localhost", "http:localhost", "*", UNKNOWN),
        ("localhost", "file://", "*", of("file://")),
        ("localhost", "file:///", "*", UNKNOWN),
        ("localhost", "1a://localhost", "*", UNKNOWN),
        ("localhost", "://localhost", "*", UNKNOWN),
        ("localhost", "a b://localhost", "*", UNKNOWN),
        ("localhost", "http://", "*", UNKNOWN),
        ("localhost", "http://localhost/", "*", UNKNOWN),
        ("localhost", "http://u@localhost", "*", UNKNOWN),
        ("localhost", "http://localhost:80:80", "*", UNKNOWN),
        ("localhost", "http://localhost:99999", "*", UNKNOWN),
        ("localhost", "ws://localhost", "*", of("ws://localhost")),
        ("localhost", "file://localhost", "*", of("file://localhost")),
        (
            "localhost",
            "chrome-extension://localhost",
            "*",
            of("chrome-extension://localhost"),
        ),
        (
            "localhost",
            "http://localhost http://localhost",
            "*",
            UNKNOWN,
        ),
        (
            "localhost",
            "http://localhost, http://localhost",
            "*",
            UNKNOWN,
        ),
        ("localhost", "null\r\nOrigin: null", "*", UNKNOWN),
        (
            "localhost",
            "http://localhost\r\nOrigin: http://localhost",
            "*",
            UNKNOWN,
        ),
    ] {
        let expected = expected.map_err(|refusal| format!("{refusal:?}"));
        for begin in [
            "POST / HTTP/1.1",
            "PUT / HTTP/1.1",
            "DELETE / HTTP/1.1",
            "PATCH / HTTP/1.1",
            "BREW / HTTP/1.1",
            "CONNECT localhost:80 HTTP/1.1",
            "GET / HTTP/1.1\r\nUpgrade: h2c, WebSocket",
        ] {
            let request = format!("{begin}\r\nHost: {host}\r\nOrigin: {origin}");
            assert_eq!(check(names, &request), expected, "{request} with {names}");
            let request = format!("{begin}\r\nHost: {host}");
            assert_eq!(check(names, &request), Ok(()), "{request}, no page");
        }
        for begin in [
            "GET / HTTP/1.1",
            "HEAD / HTTP/1.1",
            "TRACE / HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET / HTTP/1.1\r\nUpgrade: h2c",
        ] {
            let request = format!("{begin}\r\nHost: {host}\r\nOrigin: {origin}");
            assert_eq!(check(names, &request), Ok(()), "{request} is safe");
        }
    }
}

#[test]
fn an_allowed_origin_is_let_in_and_no_origin_beside_it() {
    for (origins, origin, allowed) in [
        (&["null"][..], "null", true),
        (&["null"], "NULL", false),
        (&["null"], "file://", false),
        (&["file://"], "file://", true),
        (&["file://"], "null", false),
        (&["file://"], "file://x", false),
        (&["vscode-webview://0a1b"], "vscode-webview://0a1b", true),
        (&["vscode-webview://0a1b"], "vscode-webview://0a1c", false),
        (&["vscode-webview://0a1b"], "vscode-webview://0a1", false),
        (
            &["a://x", "capacitor://localhost"],
            "capacitor://localhost",
            true,
        ),
        (&["app://."], "app://.", true),
        (&["http://app.test"], "http://app.test", true),
        (&["http://App.test.:80"], "HTTP://app.TEST", true),
        (&["http://app.test"], "http://app.test:81", false),
        (&["http://app.test"], "https://app.test", false),
        (&["http://app.test:443"], "https://app.test", false),
        (&["http://app.test"], "http://www.app.test", false),
        (
            &["https://[2001:DB8:0::1]:8"],
            "https://[2001:db8::1]:8",
            true,
        ),
        (&["http://10.0.0.1:3000"], "http://10.0.0.1:3000", true),
        (&["http://10.0.0.1:3000"], "http://10.0.0.1:3001", false),
        (&["*"], "null", true),
        (&["*"], "moz-extension://x", true),
        (&["*"], "http://evil.example", true),
        (&["*"], "http://a, http://b", false),
        (&["*"], "http://a\r\nOrigin: http://a", false),
        (&["*"], "", false),
        (&["nonsense"], "nonsense", false),
    ] {
        for begin in ["POST / HTTP/1.1", "GET / HTTP/1.1\r\nUpgrade: websocket"] {
            let request = format!("{begin}\r\nHost: localhost\r\nOrigin: {origin}");
            let got = check_with("", origins, &request);
            assert_eq!(got.is_ok(), allowed, "{origin} with {origins:?}: {got:?}");
        }
    }
    let evil = "POST / HTTP/1.1\r\nHost: evil.example\r\nOrigin: null";
    assert!(
        check_with("", &["*"], evil).is_err(),
        "Host has its own rule"
    );
}

#[test]
fn a_part_of_another_sites_page_is_refused_unless_the_page_is_allowed() {
    const CROSS: &str = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors";
    const SAME: &str = "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors";
    let ok = Ok(());
    let null = Err(Denial::OriginNull);
    let of = |origin: &'static str| Err(Denial::Origin(origin.as_bytes()));
    for (host, fetch, page, names, origins, expected) in [
        // The browser says that the page is of this server, or that there is none.
        ("x", "", "Referer: http://evil.example/", "x", &[][..], ok),
        ("localhost", "Sec-Fetch-Site: none", "", "", &[], ok),
        ("localhost", "Sec-Fetch-Site: same-origin", "", "", &[], ok),
        // A value that no specification has is ignored.
        ("localhost", "Sec-Fetch-Site: CROSS-site", "", "", &[], ok),
        ("localhost", "Sec-Fetch-Site:", "", "", &[], ok),
        // A link may lead here from anywhere.
        (
            "localhost",
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate",
            "Referer: http://evil.example/",
            "",
            &[],
            ok,
        ),
        ("localhost", "Sec-Fetch-Site: cross-site", "", "", &[], null),
        // The page tells nothing about itself.
        ("localhost", CROSS, "", "", &[], null),
        ("localhost", CROSS, "", "*", &[], null),
        ("localhost", CROSS, "", "", &["null"], ok),
        ("localhost", CROSS, "", "", &["*"], ok),
        ("localhost", CROSS, "Referer: about:blank", "", &[], null),
        ("localhost", CROSS, "Referer: http://u@x/", "*", &[], null),
        ("localhost", CROSS, "Referer: /a", "", &[], null),
        // The page is told by Referer.
        (
            "localhost",
            CROSS,
            "Referer: http://evil.example/",
            "",
            &[],
            of("http://evil.example"),
        ),
        (
            "localhost",
            CROSS,
            "Referer: http://evil.example",
            "",
            &[],
            of("http://evil.example"),
        ),
        (
            "localhost",
            CROSS,
            "Referer: http://evil.example?a=://localhost/",
            "",
            &[],
            of("http://evil.example"),
        ),
        (
            "localhost",
            CROSS,
            "Referer: http://evil.example#localhost",
            "",
            &[],
            of("http://evil.example"),
        ),
        (
            "localhost",
            CROSS,
            "Referer: http://app.test:81/a/b?c",
            "app.test",
            &[],
            ok,
        ),
        (
            "localhost",
            CROSS,
            "Referer: http://app.test:81/a",
            "",
            &["http://app.test:81"],
            ok,
        ),
        (
            "localhost",
            CROSS,
            "Referer: http://app.test:82/a",
            "",
            &["http://app.test:81"],
            of("http://app.test:82"),
        ),
        (
            "localhost",
            CROSS,
            "Referer: http://evil.example/",
            "*",
            &[],
            ok,
        ),
        (
            "127.0.0.1:8080",
            CROSS,
            "Referer: http://localhost:5173/",
            "",
            &[],
            ok,
        ),
        ("10.0.0.1", CROSS, "Referer: http://10.0.0.1/a", "", &[], ok),
        // Origin counts more than Referer.
        (
            "localhost",
            CROSS,
            "Referer: http://localhost/\r\nOrigin: null",
            "",
            &[],
            null,
        ),
        (
            "localhost",
            CROSS,
            "Referer: http://localhost/\r\nOrigin: http://evil.example",
            "",
            &[],
            of("http://evil.example"),
        ),
        (
            "localhost",
            CROSS,
            "Origin: http://app.test",
            "app.test",
            &[],
            ok,
        ),
        ("localhost", CROSS, "Origin: app://x", "", &["app://x"], ok),
        (
            "localhost",
            CROSS,
            "Origin: a\r\nOrigin: a",
            "*",
            &["*"],
            Err(Denial::OriginUnknown),
        ),
        // Only pages of this machine are of the same site as this machine.
        ("localhost:8080", SAME, "", "", &[], ok),
        (
            "app.localhost",
            SAME,
            "Referer: http://app.localhost:1/",
            "",
            &[],
            ok,
        ),
        ("127.0.0.1:8080", SAME, "", "", &[], ok),
        (
            "127.0.0.1:8080",
            SAME,
            "Referer: http://127.0.0.1:1/",
            "",
            &[],
            ok,
        ),
        ("10.0.0.1:8080", SAME, "", "", &[], null),
        (
            "10.0.0.1:8080",
            SAME,
            "Referer: http://10.0.0.1:1/",
            "",
            &[],
            of("http://10.0.0.1:1"),
        ),
        (
            "10.0.0.1:8080",
            SAME,
            "Referer: http://10.0.0.1:1/",
            "10.0.0.1",
            &[],
            ok,
        ),
        (
            "a.app.test",
            SAME,
            "Referer: http://b.app.test/",
            "a.app.test",
            &[],
            of("http://b.app.test"),
        ),
        (
            "a.app.test",
            SAME,
            "Referer: http://b.app.test/",
            ".app.test",
            &[],
            ok,
        ),
    ] {
        let expected = expected.map_err(|denial| format!("{denial:?}"));
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            let lines = [&format!("{method} / HTTP/1.1\r\nHost: {host}"), fetch, page];
            let request = lines.into_iter().filter(|line| !line.is_empty());
            let request = request.collect::<Vec<_>>().join("\r\n");
            let got = check_with(names, origins, &request);
            assert_eq!(got, expected, "{request} with {names} and {origins:?}");
        }
    }
    let post = format!("POST / HTTP/1.1\r\nHost: localhost\r\n{CROSS}");
    assert_eq!(
        check("", &post),
        Ok(()),
        "Origin alone decides about an unsafe method"
    );
}

#[test]
fn an_origin_that_a_shell_would_read_otherwise_is_not_repeated() {
    for (origin, is_shown) in [
        ("vscode-webview://0a1b", true),
        ("http://evil.example:8080", true),
        ("https://a.test", true),
        ("file://", true),
        ("app://.", true),
        ("a://$(reboot)", false),
        ("a://b;reboot", false),
        ("a://b'", false),
        ("a://*", false),
    ] {
        let sentence = Denial::Origin(origin.as_bytes()).to_string();
        assert_eq!(sentence.contains(origin), is_shown, "{sentence}");
        let advice = format!("start with --allow-origin {origin}");
        assert_eq!(sentence.ends_with(&advice), is_shown, "{sentence}");
    }
    assert_eq!(
        shown_origin(format!("a://{}", "b".repeat(300)).as_bytes()),
        None
    );
}

#[test]
fn the_authority_of_the_target_is_the_one_that_an_origin_is_held_against() {
    for (origin, expected) in [
        ("http://10.0.0.1:8080", Ok(())),
        ("http://10.0.0.2", Err(Denial::Origin(b"http://10.0.0.2"))),
    ] {
        let request = "POST http://10.0.0.1:8080/ HTTP/1.1\r\nHost: 10.0.0.2";
        let request = format!("{request}\r\nOrigin: {origin}");
        let expected = expected.map_err(|refusal| format!("{refusal:?}"));
        assert_eq!(check("", &request), expected, "{origin}");
    }
}

#[test]
fn a_host_that_a_shell_would_read_otherwise_is_not_repeated() {
    for (host, expected) in [
        ("evil.example", Some("evil.example")),
        ("0x7f.1", Some("0x7f.1")),
        ("[2001:db8::1]", Some("2001:db8::1")),
        ("127.0.0.1", Some("127.0.0.1")),
        ("$(reboot)", None),
        ("a;reboot", None),
        ("a'", None),
        ("--help", None),
        ("*", None),
        ("a..b", None),
        ("", None),
    ] {
        let sentence = Denial::Host(host.as_bytes()).to_string();
        let advice = sentence.split_once("; if ").map(|(_, advice)| advice);
        let name = advice.and_then(|a| Some(a.split_once("--allow-host ")?.1));
        assert_eq!(name, expected, "{sentence}");
        assert!(expected.is_some() || !sentence.contains(host) || host.is_empty());
    }
    let long = "a.".repeat(127) + "a";
    assert_eq!(shown(long.as_bytes()), None);
    assert!(shown(&long.as_bytes()[2..]).is_some());
}
