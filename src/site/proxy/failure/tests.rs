//! Floor 2, site: the answers for a server that does not answer, tried.

use super::*;
use crate::http::{HeadError, RequestHead, parsed};

fn asked(method: &str, accept: &str) -> Asked {
    let text = format!("{method} /api/x HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n");
    Asked::new(&RequestHead::new(&parsed(&text), text.as_bytes()), false)
}

const REFUSED: [Attempt<'_>; 2] = [
    Attempt {
        address: "127.0.0.1:3000",
        error: "Connection refused",
    },
    Attempt {
        address: "[::1]:3000",
        error: "Connection refused",
    },
];

fn answer(
    route: &str,
    cause: FailureCause,
    tried: &[Attempt<'_>],
    asked: &Asked,
) -> (String, String) {
    let route = ProxyRoute::parse(route).expect("a route");
    let failure = Failure {
        route: &route,
        cause,
        tried,
        lasts: Some(Duration::from_millis(12_900)),
    };
    let reply = failure.reply::<()>(asked);
    assert_eq!(reply.status, cause.status());
    assert_eq!(reply.reason.as_deref(), Some(failure.to_string().as_str()));
    let Body::Bytes(body) = &reply.body else {
        panic!("a body in memory");
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let (head, body) = (text(&reply.head), text(body));
    assert!(
        head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())),
        "{head}"
    );
    assert!(head.contains("\r\nCache-Control: no-store\r\n"), "{head}");
    (head, body)
}

#[test]
fn each_cause_has_a_status_a_sentence_and_a_next_step() {
    use FailureCause::{Closed, Loop, Malformed, Silent, UnaskedSwitch, Unreachable};
    let local = "/api=http://localhost:3000";
    let remote = "/=http://example.org/v1";
    let unix = "/api=unix:/run/my app.sock";
    let one = &REFUSED[..1];
    let absent = [Attempt {
        address: "/run/my app.sock",
        error: "No such file or directory",
    }];
    for (route, cause, tried, expected, error) in [
        (
            local,
            Unreachable,
            &REFUSED[..],
            "502 Bad Gateway: the server for /api, http://localhost:3000, cannot be reached: \
             127.0.0.1:3000: Connection refused; [::1]:3000: Connection refused (for 12 s)\n\
             try: ss -ltnp 'sport = :3000'\n",
            "destination_unavailable",
        ),
        (
            unix,
            Unreachable,
            &absent,
            "502 Bad Gateway: the server for /api, unix:/run/my app.sock, cannot be reached: \
             /run/my app.sock: No such file or directory (for 12 s)\n\
             try: ls -l '/run/my app.sock'\n",
            "destination_unavailable",
        ),
        (
            remote,
            Unreachable,
            &[],
            "502 Bad Gateway: the server for /, http://example.org, cannot be reached (for 12 s)\n\
             try: curl -v http://example.org/\n",
            "destination_unavailable",
        ),
        (
            local,
            Closed,
            one,
            "502 Bad Gateway: the server for /api, http://localhost:3000 at 127.0.0.1:3000, has closed \
             the connection without an answer (for 12 s)\ntry: curl -v http://localhost:3000/\n",
            "connection_terminated",
        ),
        (
            unix,
            Malformed(ResponseError::Head(HeadError::ContentLength)),
            &absent,
            "502 Bad Gateway: the server for /api, unix:/run/my app.sock, has sent no answer of HTTP/1.1: \
             Content-Length must be one plain number (for 12 s)\n\
             try: curl -v --unix-socket '/run/my app.sock' http://localhost/\n",
            "http_protocol_error",
        ),
        (
            remote,
            UnaskedSwitch,
            &[],
            "502 Bad Gateway: the server for /, http://example.org, has switched to another protocol \
             without being asked (for 12 s)\ntry: curl -v http://example.org/\n",
            "http_protocol_error",
        ),
        (
            remote,
            Silent(Duration::from_secs(120)),
            &[],
            "504 Gateway Timeout: the server for /, http://example.org, has not begun its answer \
             within 120 s (for 12 s)\ntry: curl -v http://example.org/\n",
            "http_response_timeout",
        ),
        (
            remote,
            Loop,
            &[],
            "508 Loop Detected: the server for /, http://example.org leads back to this server; \
             name another target for --proxy (for 12 s)\n",
            "proxy_loop_detected",
        ),
    ] {
        let (head, body) = answer(route, cause, tried, &asked("POST", "*/*"));
        assert_eq!(body, expected);
        let status = format!("\r\nProxy-Status: oneloop; error={error}\r\n");
        assert!(head.contains(&status), "{head}");
        assert!(!head.contains("Security-Policy"), "{head}");
    }
}

#[test]
fn the_time_is_told_if_there_is_one() {
    let route = ProxyRoute::parse("/=http://h").unwrap();
    for (lasts, end) in [
        (None, "answer"),
        (Some(0), "answer"),
        (Some(1), "answer (for 1 s)"),
        (Some(119), "answer (for 119 s)"),
        (Some(120), "answer (for 2 min)"),
    ] {
        let failure = Failure {
            route: &route,
            cause: FailureCause::Closed,
            tried: &[],
            lasts: lasts.map(Duration::from_secs),
        };
        assert!(failure.to_string().ends_with(end), "{failure}");
    }
}

#[test]
fn a_page_loads_itself_again_when_the_server_is_back() {
    let local = "/api=http://localhost:3000";
    let browser = "text/html,*/*;q=0.8";
    let page = |method, cause| answer(local, cause, &REFUSED, &asked(method, browser));
    for cause in [FailureCause::Unreachable, FailureCause::Closed] {
        let (head, body) = page("GET", cause);
        assert!(
            head.contains("\r\nContent-Type: text/html; charset=utf-8\r\n"),
            "{head}"
        );
        assert!(head.contains("connect-src 'self'"), "{head}");
        assert!(body.contains("<script>") && body.contains("502"), "{body}");
        assert!(body.contains("<pre><code>"), "{body}");
    }
    // A form would be sent again, and a server that is there would get more work.
    let silent = FailureCause::Silent(Duration::from_secs(1));
    for (method, cause) in [("POST", FailureCause::Closed), ("GET", silent)] {
        let (head, body) = page(method, cause);
        assert!(
            !head.contains("connect-src") && !body.contains("<script>"),
            "{head}{body}"
        );
        assert!(head.contains("Content-Security-Policy"), "{head}");
    }
}

#[test]
fn a_program_gets_json() {
    let tried = [Attempt {
        address: "/a\"b",
        error: "no\nway",
    }];
    let json = asked("GET", "application/json");
    let (head, body) = answer("/api=unix:/a\"b", FailureCause::Unreachable, &tried, &json);
    assert!(
        head.contains("\r\nContent-Type: application/json\r\n"),
        "{head}"
    );
    let value: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(value["status"], 502);
    assert_eq!(value["error"], "destination_unavailable");
    assert_eq!(value["route"], "/api=unix:/a\"b");
    assert_eq!(value["seconds"], 12);
    assert_eq!(value["command"], "ls -l '/a\"b'");
    assert_eq!(value["tried"][0]["address"], "/a\"b");
    assert_eq!(value["tried"][0]["error"], "no\nway");
    let looped = answer("/=http://h", FailureCause::Loop, &[], &json).1;
    let value: serde_json::Value = serde_json::from_str(&looped).expect("JSON");
    assert!(value.get("command").is_none() && value["tried"].as_array().unwrap().is_empty());
}

#[test]
fn an_error_of_the_system_is_words() {
    let error = io::Error::from_raw_os_error(111);
    assert_eq!(in_words(&error), "Connection refused");
    assert_eq!(in_words(&io::Error::other("no name")), "no name");
    assert_eq!(shell_word("/a-b_c.d"), "/a-b_c.d");
    assert_eq!(shell_word("-a"), "'-a'");
    assert_eq!(shell_word("a'b"), "'a'\\''b'");
}
