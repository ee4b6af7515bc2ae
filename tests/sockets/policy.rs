//! The flags that change what is served, and with which fields.

use std::io::Write;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::{Answer, Client, Folder, Server, at_rest, eventually, program};

#[test]
fn hidden_files_are_served_on_demand_and_nothing_above_the_root() {
    let folder = Folder::with("root/.env", "secret");
    folder.put("root/.git/config", "secret");
    folder.put("root/.well-known/a", "open");
    folder.put("b", "outside");
    let root = folder.path().join("root");
    for (flags, hidden) in [
        (&["--log", "off"][..], 404),
        (&["--log", "off", "--hidden"], 200),
    ] {
        let server = Server::with(&root, flags);
        let mut client = server.connect();
        for (target, status) in [
            ("/.env", hidden),
            ("/%2eenv", hidden),
            ("/.git/config", hidden),
            ("/.well-known/a", 200),
            ("/.git/../../b", 404),
            ("/.git/%2e%2e/%2e%2e/b", 404),
            ("/../b", 404),
            ("/..", 404),
        ] {
            assert_eq!(client.get(target).status, status, "{target} {flags:?}");
        }
    }
}

#[test]
fn files_and_nothing_else_may_be_used_without_asking_for_a_time() {
    let text = "a line of text\n".repeat(200);
    let folder = Folder::with("a.txt", &text);
    folder.put("app-5d3f9a1b.js", &text);
    folder.put("app-5d3f9a1b.css", &text);
    folder.put("d/index.html", "page");
    let mut coded = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    coded.write_all(text.as_bytes()).expect("a Vec takes all");
    let coded = coded.finish().expect("a Vec takes all");
    let last = folder.put("app-5d3f9a1b.css.gz", coded);
    // A file that was just changed gets a new tag each time.
    eventually("the files are at rest", || at_rest(&last));
    let asked = "no-cache";
    for (flags, file, hashed) in [
        (&["--log", "off"][..], asked, asked),
        (
            &["--log", "off", "--max-age", "60"],
            "max-age=60",
            "max-age=31536000, immutable",
        ),
    ] {
        let server = Server::with(folder.path(), flags);
        let mut client = server.connect();
        let mut check = |target: &str, fields: &[&str], status: u16, expected: Option<&str>| {
            let answer = client.ask(target, fields);
            assert_eq!(answer.status, status, "{target} {fields:?}");
            let value = answer.field("Cache-Control");
            assert_eq!(value, expected, "{target} {fields:?} {flags:?}");
            answer.field("ETag").map(str::to_owned)
        };
        let tag = check("/a.txt", &[], 200, Some(file)).expect("a tag");
        check("/d/", &[], 200, Some(file));
        check("/a.txt", &["Range: bytes=0-1"], 206, Some(file));
        check("/a.txt", &["Range: bytes=0-1,5-6"], 206, Some(file));
        check("/app-5d3f9a1b.js", &[], 200, Some(hashed));
        // Encoded for the first answer, and sent from the cache for the second.
        for _ in 0..2 {
            let tag = check(
                "/app-5d3f9a1b.js",
                &["Accept-Encoding: gzip"],
                200,
                Some(hashed),
            );
            let condition = format!("If-None-Match: {}", tag.expect("a tag"));
            let fields = ["Accept-Encoding: gzip", &condition];
            check("/app-5d3f9a1b.js", &fields, 304, Some(hashed));
        }
        check(
            "/app-5d3f9a1b.css",
            &["Accept-Encoding: gzip"],
            200,
            Some(hashed),
        );
        check(
            "/a.txt",
            &[&format!("If-None-Match: {tag}")],
            304,
            Some(file),
        );
        check("/a.txt", &["If-Match: \"x\""], 412, Some(asked));
        check("/d", &[], 301, Some(asked));
        check("/app-00000000.js", &[], 404, None);
    }
}

/// Sends a request and reads the answer, which may have no body.
fn send(client: &mut Client, request: &str) -> Answer {
    client.send(format!("{request}\r\n\r\n"));
    let mut answer = client.head();
    answer.body = match answer.field("Content-Length") {
        Some(_) if !request.starts_with("HEAD") => client.bytes(answer.len()),
        Some(_) | None => Vec::new(),
    };
    answer
}

/// The fields of an answer that have to do with other origins.
fn shared(answer: &Answer) -> Vec<&str> {
    let names = [
        "Access-Control-Allow-Origin",
        "Access-Control-Allow-Credentials",
        "Vary",
    ];
    let values = names.map(|name| answer.field(name).unwrap_or("-"));
    values.to_vec()
}

const FOREIGN: &str =
    "Host: localhost\r\nSec-Fetch-Site: cross-site\r\nOrigin: http://evil.example";

#[test]
fn pages_of_every_origin_read_files_with_cors_and_write_nothing() {
    let folder = Folder::with("a.txt", "a");
    folder.put("b.png", "b");
    let page = format!("HTTP/1.1\r\n{FOREIGN}");
    let local = "HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:5173";
    for (flag, local_credentials) in [("--cors", "-"), ("--cors=credentials", "true")] {
        let flags = ["--log", "off", "--no-live", "--test-endpoints", flag];
        let server = Server::with(folder.path(), &flags);
        let mut client = server.connect();
        let evil = ["http://evil.example", "-"];
        let own = ["http://localhost:5173", local_credentials];
        for (request, status, [origin, credentials], vary) in [
            (
                format!("GET /a.txt {page}"),
                200,
                evil,
                "Accept-Encoding, Origin",
            ),
            (
                format!("HEAD /a.txt {page}"),
                200,
                evil,
                "Accept-Encoding, Origin",
            ),
            (
                format!("GET /b.png {page}\r\nRange: bytes=0-0"),
                206,
                evil,
                "Origin",
            ),
            (format!("GET /none {page}"), 404, evil, "Accept, Origin"),
            // A sentence that the peer gets because it is on this machine.
            (format!("GET /.env {page}"), 404, evil, "Accept, Origin"),
            (format!("OPTIONS /b.png {page}"), 204, evil, "Origin"),
            (format!("DELETE /b.png {page}"), 403, evil, "Accept, Origin"),
            (format!("GET /b.png {local}"), 200, own, "Origin"),
            (format!("POST /_oneloop/echo {local}"), 200, own, "Origin"),
            (format!("DELETE /b.png {local}"), 405, own, "Accept, Origin"),
            (
                "GET /b.png HTTP/1.1\r\nHost: localhost".into(),
                200,
                ["-", "-"],
                "Origin",
            ),
        ] {
            let answer = send(&mut client, &request);
            assert_eq!(answer.status, status, "{request}");
            assert_eq!(shared(&answer), [origin, credentials, vary], "{request}");
        }
        // The other name of an attack by DNS is refused.
        let rebound = "GET /a.txt HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example";
        assert_eq!(send(&mut client, rebound).status, 403);
        // The connection ends after these.
        let post = format!("POST /_oneloop/echo {page}\r\nContent-Length: 1");
        let answer = send(&mut server.connect(), &post);
        assert_eq!((answer.status, shared(&answer)[0]), (403, evil[0]));
        let handshake = format!("GET /echo {page}\r\nConnection: Upgrade\r\nUpgrade: websocket");
        assert_eq!(send(&mut server.connect(), &handshake).status, 403);
    }
    let server = Server::of(folder.path());
    let answer = send(&mut server.connect(), &format!("GET /a.txt {page}"));
    assert_eq!(
        (answer.status, shared(&answer)),
        (403, vec!["-", "-", "Accept"])
    );
}

#[test]
fn a_preflight_is_answered_with_cors() {
    let folder = Folder::with("a.txt", "a");
    let ask = "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a,x-b";
    let request = |target: &str| format!("OPTIONS {target} HTTP/1.1\r\n{FOREIGN}\r\n{ask}");
    let server = Server::with(folder.path(), &["--log", "off", "--cors"]);
    let mut client = server.connect();
    for target in ["/a.txt", "/none", "/rooms/a", "/%zz", "*"] {
        let answer = send(&mut client, &request(target));
        assert_eq!(answer.status, 204, "{target}");
        for (name, value) in [
            ("Access-Control-Allow-Origin", "http://evil.example"),
            ("Access-Control-Allow-Methods", "PUT"),
            ("Access-Control-Allow-Headers", "x-a, x-b"),
            ("Access-Control-Max-Age", "600"),
            (
                "Vary",
                "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
            ),
        ] {
            assert_eq!(answer.field(name), Some(value), "{target} {name}");
        }
        assert_eq!(answer.field("Content-Length"), None);
    }
    let server = Server::of(folder.path());
    let answer = send(
        &mut server.connect(),
        &request("/a.txt").replace("cross-site", "none"),
    );
    assert_eq!(answer.field("Allow"), Some("GET, HEAD, OPTIONS"));
    assert_eq!(answer.field("Access-Control-Allow-Methods"), None);
}

#[test]
fn fields_of_the_user_are_on_every_reply() {
    let folder = Folder::with("a.txt", "a".repeat(100));
    let flags = [
        "--log",
        "off",
        "--test-endpoints",
        "--isolate",
        "--header",
        "cache-control: no-store",
        "--header",
        "!X-Content-Type-Options",
        "--header",
        "X-A: 1",
        "--header",
        "Content-Type: text/x",
    ];
    let server = Server::with(folder.path(), &flags);
    let mut client = server.connect();
    for (request, status, kind) in [
        ("GET /a.txt HTTP/1.1", 200, "text/x"),
        ("GET /a.txt HTTP/1.1\r\nRange: bytes=0-0", 206, "text/x"),
        (
            "GET /a.txt HTTP/1.1\r\nRange: bytes=0-0,50-50",
            206,
            "multipart/byteranges; boundary=",
        ),
        ("GET /none HTTP/1.1", 404, "text/x"),
        ("POST /_oneloop/echo HTTP/1.1", 200, "text/x"),
    ] {
        let answer = send(&mut client, &format!("{request}\r\nHost: localhost"));
        assert_eq!(answer.status, status, "{request}");
        for (name, value) in [
            ("Cache-Control", Some("no-store")),
            ("X-Content-Type-Options", None),
            ("X-A", Some("1")),
            ("Cross-Origin-Opener-Policy", Some("same-origin")),
            ("Cross-Origin-Embedder-Policy", Some("require-corp")),
        ] {
            assert_eq!(answer.field(name), value, "{request}");
        }
        let seen = answer.field("Content-Type").expect("a type");
        assert!(seen.starts_with(kind), "{request}: {seen}");
    }
}

/// `u:sesame` in base64.
const RIGHT: &str = "Authorization: Basic dTpzZXNhbWU=";
const WRONG: &str = "Authorization: Basic dTpTZXNhbWU=";
const PAGE: &str = "Accept: text/html";
const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

#[test]
fn files_rooms_and_endpoints_are_for_those_who_know_the_password() {
    let folder = Folder::with("a.html", "page");
    let secrets = Folder::with("auth", "u:sesame\n");
    let secret = secrets.path().join("auth");
    let flags = ["--port", "0", "--log", "combined", "--test-endpoints"];
    let start = |change: &dyn Fn(&mut Command)| {
        let mut command = program();
        command.arg(folder.path()).args(flags);
        change(&mut command);
        Server::from(&mut command)
    };
    let starts: [&dyn Fn(&mut Command); 3] = [
        &|command| {
            command.args(["--auth", "u:sesame"]);
        },
        &|command| {
            command.arg("--auth-file").arg(&secret);
        },
        &|command| {
            command.env("ONELOOP_AUTH", "u:sesame");
        },
    ];
    for change in starts {
        let mut server = start(change);
        let asked = "a user name and a password are asked for";
        assert!(
            server.banner.iter().any(|line| line == asked),
            "{:?}",
            server.banner
        );
        let mut client = server.connect();
        for target in ["/a.html", "/none", "/echo", "/.env", "/"] {
            for fields in ["", WRONG, "Cookie: oneloop-80=0"] {
                let request =
                    format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nX: 1\r\n{fields}");
                let answer = send(&mut client, request.trim_end());
                let challenge = "Basic realm=\"oneloop\", charset=\"UTF-8\"";
                assert_eq!(answer.status, 401, "{request}");
                assert_eq!(answer.field("WWW-Authenticate"), Some(challenge));
                assert_eq!(answer.field("Set-Cookie"), None);
            }
        }
        let post = "POST /_oneloop/echo HTTP/1.1\r\nHost: localhost";
        assert_eq!(send(&mut client, post).status, 401);
        assert_eq!(send(&mut client, &format!("{post}\r\n{RIGHT}")).status, 200);
        // The guard comes first.
        let rebound = format!("GET /a.html HTTP/1.1\r\nHost: evil.example\r\n{RIGHT}");
        assert_eq!(send(&mut client, &rebound).status, 403);
        assert_eq!(client.ask("/a.html", &[RIGHT]).text(), "page");
        drop(client);
        server.signal(Signal::TERM);
        assert_eq!(server.process.code(), Some(0));
        let said = server.stdout.rest() + &server.stderr.rest() + &server.banner.concat();
        assert!(!said.contains("sesame") && !said.contains("dTpz"), "{said}");
    }
}

#[test]
fn a_handshake_may_show_the_cookie_of_a_page_in_place_of_the_password() {
    let folder = Folder::with("index.html", "page");
    let server = Server::with(folder.path(), &["--log", "off", "--auth", "u:sesame"]);
    let host = format!("HTTP/1.1\r\nHost: {}", server.address());
    let page = send(
        &mut server.connect(),
        &format!("GET / {host}\r\n{RIGHT}\r\n{PAGE}"),
    );
    let cookie = page.field("Set-Cookie").expect("a cookie");
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict");
    let start = format!("oneloop-{}=", server.address().port());
    assert_eq!(pair.strip_prefix(&start).expect("our name").len(), 32);
    let wrong = format!("{}x", &pair[..pair.len() - 1]);
    for (fields, status) in [
        (format!("Cookie: {pair}"), 101),
        (RIGHT.to_owned(), 101),
        (format!("Cookie: {wrong}"), 401),
        ("X: 1".to_owned(), 401),
    ] {
        let handshake = format!("GET /rooms/a {host}\r\n{fields}\r\n{HANDSHAKE}\r\n\r\n");
        let mut client = server.connect();
        client.send(handshake);
        assert_eq!(client.head().status, status, "{fields}");
    }
    // For a file, the cookie does not do, not even with the fields of a handshake.
    for fields in ["", "\r\nConnection: upgrade\r\nUpgrade: websocket"] {
        let file = format!("GET / {host}\r\nCookie: {pair}{fields}");
        assert_eq!(send(&mut server.connect(), &file).status, 401);
    }
    // Another server, or the same one later, has another token.
    let other = Server::with(folder.path(), &["--log", "off", "--auth", "u:sesame"]);
    let fields = [RIGHT, PAGE, &format!("Cookie: {pair}")];
    let again = other.connect().ask("/", &fields);
    assert!(
        again
            .field("Set-Cookie")
            .is_some_and(|cookie| !cookie.contains(pair))
    );
}

#[test]
fn a_preflight_needs_no_password_and_a_page_can_read_that_it_is_missing() {
    let folder = Folder::with("a", "a");
    let origin = "HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:5173";
    let preflight = format!("OPTIONS /a {origin}\r\nAccess-Control-Request-Method: GET");
    for (flags, status) in [(&["--cors=credentials"][..], 204), (&[], 401)] {
        let flags = [&["--log", "off", "--auth", "u:sesame"], flags].concat();
        let server = Server::with(folder.path(), &flags);
        let mut client = server.connect();
        assert_eq!(send(&mut client, &preflight).status, status);
        let refused = send(&mut client, &format!("GET /a {origin}"));
        let permitted = (status == 204).then_some("http://localhost:5173");
        assert_eq!(refused.status, 401);
        assert_eq!(refused.field("Access-Control-Allow-Origin"), permitted);
    }
}

#[test]
fn a_reply_tells_its_times_if_it_is_to() {
    let folder = Folder::with("a", "hello");
    let server = Server::with(folder.path(), &["--server-timing"]);
    let mut client = server.connect();
    let first = client.get("/a");
    let times = first.field("Server-Timing").expect("times").to_owned();
    let names: Vec<&str> = times
        .split(", ")
        .filter_map(|t| t.split(';').next())
        .collect();
    assert_eq!(names, ["turn", "queue", "parse", "file"], "{times}");
    let turn = |times: &str| -> u64 {
        let number = times.split('"').nth(1).expect("a number");
        number.parse().expect("a number")
    };
    // The next answer knows how long the writes of the last one took. An endpoint is named.
    let second = client.get("/rooms");
    let more = second.field("Server-Timing").expect("times");
    assert!(
        more.contains(", endpoint;dur=") && more.contains(", send;dur="),
        "{more}"
    );
    assert!(turn(more) > turn(&times), "{times}, then {more}");
    let plain = Server::of(folder.path());
    assert_eq!(plain.connect().get("/a").field("Server-Timing"), None);
}
