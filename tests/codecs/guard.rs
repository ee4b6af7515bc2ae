//! The guard against its rules, written down a second time: hosts, origins and methods that are often
//! nearly right.

use proptest::prelude::*;

use crate::properties;

/// Hosts of every kind, and pieces that make one of another kind of them.
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

fn authority() -> impl Strategy<Value = String> {
    let port = prop::sample::select(vec!["", "", "", ":", ":80", ":443", ":8080", ":x"]);
    (host(), port).prop_map(|(host, port)| host + port)
}

fn origin() -> impl Strategy<Value = String> {
    let scheme = prop::sample::select(vec![
        "http://", "http://", "HTTP://", "https://", "ws://", "null", "",
    ]);
    let behind = prop::sample::select(vec!["", "", "", "", "/", " http://localhost"]);
    (scheme, authority(), behind).prop_map(|(scheme, a, behind)| format!("{scheme}{a}{behind}"))
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
        1 => authority().prop_map(|authority| format!("http://{authority}/")),
        1 => authority().prop_map(|authority| format!("HTTPS://{authority}?http://localhost/")),
    ];
    let minor = 0..2_u8;
    let hosts = prop::collection::vec(authority(), 0..2);
    let origins = prop::collection::vec(origin(), 0..3);
    (
        method,
        target,
        minor,
        hosts,
        origins,
        upgrade,
        any::<bool>(),
    )
        .prop_map(
            |(method, target, minor, hosts, mut origins, upgrade, own)| {
                // A page of the server's own is too rare by chance.
                if let (true, [host], [origin, ..]) = (own, &hosts[..], &mut origins[..]) {
                    *origin = format!("http://{host}");
                }
                let line = |name: &str, value: &String| format!("{name}: {value}\r\n");
                let hosts: String = hosts.iter().map(|host| line("Host", host)).collect();
                let origins: String = origins
                    .iter()
                    .map(|origin| line("Origin", origin))
                    .collect();
                format!("{method} {target} HTTP/1.{minor}\r\n{origins}{hosts}{upgrade}\r\n")
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
