//! A property of the messages that the proxy passes on, for any request and any response: the fuzz
//! target searches for bytes that violate it, and `cargo test` replays the inputs that were worth keeping.

use std::net::{IpAddr, Ipv4Addr};
use std::time::UNIX_EPOCH;

use oneloop::config::ProxyRoute;
use oneloop::http::{
    Field, Framing, HeadLimits, HeadParser, HttpDate, Method, Parsed, Persistence, ReceivedHead,
    RequestHead, ResponseBody, ResponseParser, Version,
};
use oneloop::site::proxy::{
    Asked, Back, BackFraming, Onward, Routes, has_passed, push_interim, push_request, push_response,
};

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 1 << 10,
    target_bytes_max: 256,
    fields_max: 16,
};

/// A head grows on its way, by the length of the target and by what the proxy adds.
const LIMITS_BEHIND: HeadLimits = HeadLimits {
    head_bytes_max: 1 << 15,
    target_bytes_max: 512,
    fields_max: 64,
};

/// Passes on the request at the front of the bytes, and passes back the response behind it. What leaves
/// the proxy is a message that the strict parsers take, with the framing that was meant, and without the
/// fields of the connection on which it came.
pub fn proxy(bytes: &[u8]) {
    let routes = [
        "/api=http://127.0.0.1:3000",
        "/=https://example.org/v1",
        "/api/v2=unix:/run/app.sock:/",
    ];
    let routes = routes.map(|text| ProxyRoute::parse(text).expect("a route"));
    let table = Routes::new(&routes, true).expect("routes");
    let mut parser = HeadParser::default();
    let Ok(Parsed::Complete(head)) = parser.parse(bytes, &LIMITS) else {
        return;
    };
    let request = RequestHead::new(head, bytes);
    let Some(path) = request.path() else {
        return;
    };
    let found = table
        .for_path(path)
        .or(table.for_absent())
        .expect("for all paths");
    for route in [found, &routes[1]] {
        for is_tls in [false, true] {
            forward(&request, route, is_tls);
            let asked = Asked::new(&request, is_tls);
            let rest = &bytes[head.end()..];
            let mut parser = ResponseParser::default();
            if let Ok(Some(head)) = parser.parse(rest, &LIMITS) {
                back(&head, route, &asked, request.method());
            }
        }
    }
}

fn forward(request: &RequestHead<'_>, route: &ProxyRoute, is_tls: bool) {
    let via = "oneloop-1";
    let facts = [
        (request.framing(), Persistence::KeepAlive, false),
        (Framing::Chunked, Persistence::Close, true),
    ];
    for (framing, persistence, is_careful) in facts {
        let mut sent = Vec::new();
        let onward = Onward {
            route,
            client: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))),
            is_tls,
            via,
            framing,
            persistence,
            hides_credentials: is_careful,
            wants_identity: is_careful,
        };
        push_request(&mut sent, request, &onward);
        let mut parser = HeadParser::default();
        let Ok(Parsed::Complete(head)) = parser.parse(&sent, &LIMITS_BEHIND) else {
            panic!("no request: {}", sent.escape_ascii());
        };
        assert_eq!(head.end(), sent.len());
        let again = RequestHead::new(head, &sent);
        assert_eq!(again.framing(), framing);
        assert_eq!(again.method_token(), request.method_token());
        assert_eq!(again.version(), Version::Http11);
        assert_eq!(again.query(), request.query());
        assert!(has_passed(&again, via));
        assert_eq!(again.wants_websocket(), request.wants_websocket());
        assert_eq!(
            again.value(Field::Upgrade).is_some(),
            request.wants_websocket()
        );
        let closes = persistence == Persistence::Close && !request.wants_websocket();
        assert_eq!(again.wants_persistence(), !closes);
        for name in ["keep-alive", "proxy-authorization", "trailer"] {
            assert_eq!(again.named(name), None, "{name}");
        }
        for name in ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"] {
            let lines = again
                .lines()
                .filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
            assert!(lines.count() <= 1, "{name}");
        }
        if is_careful {
            assert_eq!(again.named("authorization"), None);
        }
    }
}

fn back(head: &ReceivedHead<'_>, route: &ProxyRoute, asked: &Asked, method: Method) {
    let mut sent = Vec::new();
    if head.is_interim() {
        push_interim(&mut sent, head);
        let mut parser = ResponseParser::default();
        let again = parser
            .parse(&sent, &LIMITS_BEHIND)
            .expect("valid")
            .expect("whole");
        assert!(again.is_interim() && again.end() == sent.len());
        assert!(again.lines().count() <= head.lines().count());
        return;
    }
    let date = HttpDate::new(UNIX_EPOCH);
    let body = head.body(method);
    let framing = BackFraming::of(body, asked.version);
    push_response(
        &mut sent,
        head,
        &Back {
            route,
            asked,
            framing,
            persistence: Persistence::KeepAlive,
            date: &date,
        },
    );
    let mut parser = ResponseParser::default();
    let again = parser
        .parse(&sent, &LIMITS_BEHIND)
        .expect("valid")
        .expect("whole");
    assert_eq!(again.end(), sent.len());
    assert_eq!(again.status(), head.status());
    let expected = match (body, framing) {
        (body, BackFraming::Kept) => body,
        (_, BackFraming::Chunked) => ResponseBody::Chunked,
        (_, BackFraming::UntilClose) => ResponseBody::UntilClose,
    };
    assert_eq!(again.body(method), expected);
    if expected == ResponseBody::None && !matches!(head.status(), ..200 | 204) {
        assert_eq!(again.content_length(), head.content_length());
    }
    for name in ["keep-alive", "proxy-authenticate", "alt-svc"] {
        assert_eq!(again.named(name), None, "{name}");
    }
    let count = |head: &ReceivedHead<'_>| {
        let cookies = head
            .lines()
            .filter(|(n, _)| n.eq_ignore_ascii_case(b"Set-Cookie"));
        cookies.count()
    };
    assert!(count(&again) <= count(head));
}
