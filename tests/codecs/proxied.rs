//! Messages made of the lines that the proxy treats in a special way, in any order.

use proptest::prelude::*;

use crate::proxy;

const REQUESTS: &[&str] = &[
    "GET /api/x?q HTTP/1.1",
    "GET /api/v2 HTTP/1.1",
    "HEAD /a HTTP/1.1",
    "POST http://a.test/api?q HTTP/1.1",
    "DELETE /api HTTP/1.0",
];

const FIELDS: &[&str] = &[
    "Connection: close, X-A, cookie, via, origin, transfer-encoding",
    "connection: keep-alive, Upgrade, TE",
    "Content-Length: 5",
    "Content-Length: 0",
    "Transfer-Encoding: chunked",
    "Upgrade: websocket",
    "Upgrade: h2c, websocket",
    "TE: trailers;q=0.5, Trailers",
    "Trailer: a",
    "Keep-Alive: timeout=5",
    "Proxy-Authorization: a",
    "Proxy-Authenticate: a",
    "Expect: 100-continue",
    "X-Forwarded-For: , 1.1.1.1",
    "X-Forwarded-Host: a\tb",
    "X-Forwarded-Proto:",
    "Origin: http://a.test",
    "Origin: https://a.test:443",
    "Referer: http://a.test/api/v2/x?y#z",
    "Authorization: Basic a",
    "Cookie: a=b; oneloop-80=c;; ",
    "Cookie: oneloop-80=c",
    "Via: 1.1 a",
    "X-A: b",
    "Accept-Encoding: gzip",
];

const STATUSES: &[&str] = &[
    "100",
    "101",
    "103",
    "200",
    "204",
    "205",
    "302 Found",
    "304",
    "426",
    "999",
];

const ANSWERS: &[&str] = &[
    "Location: http://localhost:3000/v1/x",
    "Location: https://example.org/v1?x",
    "Location: //example.org",
    "Content-Location: http://[",
    "Refresh: 0;url='https://example.org/v1'",
    "Refresh: ;url=",
    "Set-Cookie: a=b; Domain=example.org; Path=/v1/x; Secure; SameSite=none; Partitioned",
    "Set-Cookie: ;;;=; Path; Domain=.",
    "set-cookie: __Host-a=b; Path=/; Secure",
    "Strict-Transport-Security: max-age=1",
    "Content-Security-Policy: upgrade-insecure-requests",
    "Content-Security-Policy: ,;upgrade-insecure-requests,;a",
    "Date: a",
    "Alt-Svc: h3=\":443\"",
];

fn lines(of: Vec<&'static str>) -> impl Strategy<Value = String> {
    let lines = prop::collection::vec(prop::sample::select(of), 0..7);
    lines.prop_map(|lines| lines.iter().map(|line| format!("{line}\r\n")).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_048))]

    #[test]
    fn what_leaves_the_proxy_is_strict_and_framed_anew(
        request in prop::sample::select(REQUESTS),
        fields in lines(FIELDS.to_vec()),
        status in prop::sample::select(STATUSES),
        answers in lines([FIELDS, ANSWERS, ANSWERS].concat()),
    ) {
        let text = format!("{request}\r\nHost: a.test\r\n{fields}\r\nHTTP/1.1 {status}\r\n{answers}\r\n");
        proxy::proxy(text.as_bytes());
    }
}
