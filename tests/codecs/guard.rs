//! The guard against its rules, written down a second time, with hosts, origins and methods that
//! are often nearly right.

use proptest::prelude::*;

use crate::properties;

/// Hosts of every kind, and pieces that turn one kind into another.
fn host() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "localhost",
        "LocalHost",
        "app.test",
        "example.org",
        "evil.example",
        "127.0.0.1",
        "10.0.0.1",
        "[::1]",
        "[2001:db8::1]",
        "[2001:DB8:0::1]",
        "0x7f.1",
        "a",
        ".",
        "..",
        "1",
        "%6c",
        "",
    ]);
    (prop::collection::vec(piece, 1..4)).prop_map(|pieces| pieces.concat())
}

fn port() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "", "", ":", ":80", ":443", ":8080", ":x"])
}

/// In an origin, stands for the server's own name, which chance alone would seldom produce.
const OWN: &str = "OWN";

fn origin() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec![
        "http://", "http://", "HTTP://", "https://", "ws://", "null", "file://", "",
    ]);
    let host = prop_oneof![Just(OWN.to_owned()), host()];
    let behind = prop::sample::select(vec!["", "", "", "", "/", " http://localhost"]);
    (scheme, host, port(), behind)
        .prop_map(|(scheme, host, port, behind)| format!("{scheme}{host}{port}{behind}"))
}

fn request() -> impl Strategy<Value = String> {
    let method = prop::sample::select(vec![
        "GET", "HEAD", "OPTIONS", "TRACE", "POST", "DELETE", "BREW",
    ]);
    let upgrade = prop::sample::select(vec![
        "",
        "",
        "Upgrade: websocket\r\n",
        "upgrade: h2c\r\nUpgrade: a, WebSocket\r\n",
        "Upgrade: websockets\r\n",
    ]);
    let target = prop_oneof![
        3 => Just("/".to_owned()),
        1 => (host(), port()).prop_map(|(host, port)| format!("http://{host}{port}/")),
        1 => host().prop_map(|host| format!("HTTP://{host}?http://localhost/")),
    ];
    let named = prop::option::weighted(0.9, (host(), port()));
    let origins = prop::collection::vec(origin(), 0..3);
    let fetch = prop::sample::select(vec![
        "",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n",
        "Sec-Fetch-Site: same-origin\r\n",
    ]);
    let path = prop::sample::select(vec!["", "/", "/a://b/", "?c", "#d"]);
    let referer = prop::option::of((origin(), path));
    (
        method,
        target,
        0..2_u8,
        named,
        origins,
        upgrade,
        fetch,
        referer,
    )
        .prop_map(
            |(method, target, minor, named, origins, upgrade, fetch, referer)| {
                let (name, port) = named.clone().unwrap_or_default();
                let host = named.map_or(String::new(), |_| format!("Host: {name}{port}\r\n"));
                let line = |origin: &String| format!("Origin: {}\r\n", origin.replace(OWN, &name));
                let origins: String = origins.iter().map(line).collect();
                let referer = referer.map_or(String::new(), |(page, path)| {
                    format!("Referer: {}{path}\r\n", page.replace(OWN, &name))
                });
                let fields = [&*origins, &host, upgrade, fetch, &referer].concat();
                format!("{method} {target} HTTP/1.{minor}\r\n{fields}\r\n")
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn the_guard_lets_in_what_its_rules_say(request in request()) {
        properties::guard(request.as_bytes());
    }
}
