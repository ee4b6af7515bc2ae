//! Raw requests and their exact answers, as text files. Each request is sent to the server whole,
//! cut at every byte, and byte by byte; the answer must be the same each time.
//!
//! A file of the corpus consists of cases, and a case of a title and lines:
//!
//! ```text
//! = the behaviour to be seen, as a sentence
//! > bytes that the client sends, and CRLF
//! >- bytes without CRLF after them
//! > escapes: \r \n \t \0 \xff \\, and {200*ab} for two hundred times ab
//! opening TARGET   the request line and the fields of the opening handshake in RFC 6455 §1.3
//! ~ wait 9 s
//! ~ half-close
//! < a line that the client receives, with CRLF; <- without
//! small            the answer 200 with the small file
//! echo TEXT        the answer 200 with the body that was sent to the echo
//! plain STATUS: SENTENCE   an answer in plain text, with all its fields
//! varied STATUS: SENTENCE  the same, but another Accept gets another form of it
//! last ...         any of the four above, with Connection: close
//! switch           the answer 101 to that opening handshake, or
//! switch FIELD: VALUE | FIELD: VALUE       the same with more fields
//! open             the connection is still open, or
//! closed           the server has ended the connection
//! ```
//!
//! Lines that begin with `#` are comments. Every date is `NOW`. The bounds are small, which keeps
//! the cases short: they are in [`limits`].

mod endpoints;
mod pressure;
#[allow(dead_code, reason = "the test of allocations uses more of it")]
mod world;

use std::fs;
use std::path::Path;
use std::time::Duration;

use oneloop::config::Limits;

use world::{Action, SMALL, Seen, play, play_live};

/// The usual limits, except for sizes.
fn limits() -> Limits {
    Limits {
        head_bytes_max: 512,
        target_bytes_max: 100,
        fields_max: 8,
        body_bytes_max: 40,
        cached_file_bytes_max: 64,
        message_bytes_max: 300,
        ..Limits::default()
    }
}

/// The fields of an answer with the small file.
const SMALL_FIELDS: &str = "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n\
    ETag: \"f6daa5bb50c461e8\"\r\n\
    Cache-Control: no-cache\r\nVary: Accept-Encoding\r\n\
    Content-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
    Content-Length: 6\r\nAccept-Ranges: bytes\r\n";

struct Case {
    title: String,
    actions: Vec<Action>,
    expected: Seen,
}

#[test]
fn connections_that_last_and_end() {
    check("connections");
}

#[test]
fn request_lines() {
    check("request-lines");
}

#[test]
fn field_lines() {
    check("field-lines");
}

#[test]
fn hosts() {
    check("hosts");
}

#[test]
fn whom_a_request_is_for_and_who_makes_it() {
    check("guard");
}

#[test]
fn framing() {
    check("framing");
}

#[test]
fn chunks() {
    check("chunks");
}

#[test]
fn expectations() {
    check("expectations");
}

#[test]
fn websocket() {
    check("websocket");
}

#[test]
fn test_endpoints() {
    check("test-endpoints");
}

#[test]
fn bounds_and_deadlines() {
    check("bounds");
}

#[test]
fn live_reload() {
    check_with("live", play_live);
}

/// A laptop was closed, or the process was stopped, for longer than a connection may be idle.
#[test]
fn what_came_during_a_pause_of_the_process_is_answered_after_the_pause() {
    let limits = limits();
    let get = b"GET /small.txt HTTP/1.1\r\nHost: h\r\n\r\n".to_vec();
    let pause = Action::Wait(limits.idle_time + Duration::from_secs(1));
    let answers = |actions: &[Action]| {
        let received = play(actions, &limits).received;
        let answers = received.windows(5).filter(|bytes| bytes == b"hello");
        answers.count()
    };
    assert_eq!(answers(&[Action::Send(get.clone()), pause.clone()]), 1);
    let first = || Action::Send(get.clone());
    let unseen = Action::SendUnseen(get.clone());
    assert_eq!(answers(&[first(), unseen, pause.clone()]), 2);
    // The first half came in time, so the time of the second half begins with it.
    let (half, rest) = get.split_at(20);
    let unseen = Action::SendUnseen(half.to_vec());
    let rest = Action::Send(rest.to_vec());
    assert_eq!(answers(&[first(), unseen, pause, rest]), 2);
}

fn check(file: &str) {
    check_with(file, play);
}

/// Plays every case of a file, once for each way of cutting it.
fn check_with(file: &str, play: fn(&[Action], &Limits) -> Seen) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/corpus/http/{file}.txt"));
    let text = fs::read_to_string(&path).expect("a file of the corpus");
    let limits = limits();
    let cases = parse(&text);
    assert!(!cases.is_empty(), "{file} is empty");
    for case in cases {
        for actions in cuts(&case.actions) {
            let mut seen = play(&actions, &limits);
            seen.received = undated(&seen.received);
            assert!(
                seen == case.expected,
                "{file}: {}\nplayed: {}\nexpected ({}):\n{}\nseen ({}):\n{}",
                case.title,
                shown(&actions),
                end(case.expected.is_closed),
                readable(&case.expected.received),
                end(seen.is_closed),
                readable(&seen.received),
            );
        }
    }
}

/// The actions as written, with each piece of bytes cut in two at each place, and byte by byte; and
/// with an end of file that arrives before the bytes before it were read.
fn cuts(actions: &[Action]) -> Vec<Vec<Action>> {
    let mut all = vec![actions.to_vec()];
    if let [before @ .., Action::Send(bytes), Action::HalfClose] = actions {
        all.push([before, &[Action::SendLast(bytes.clone())]].concat());
    }
    let mut bytewise = Vec::new();
    for (at, action) in actions.iter().enumerate() {
        let Action::Send(bytes) = action else {
            bytewise.push(action.clone());
            continue;
        };
        bytewise.extend(bytes.iter().map(|byte| Action::Send(vec![*byte])));
        for cut in 1..bytes.len() {
            let halves = [&bytes[..cut], &bytes[cut..]].map(|half| Action::Send(half.to_vec()));
            all.push([&actions[..at], &halves, &actions[at + 1..]].concat());
        }
    }
    all.push(bytewise);
    all
}

// ── The language ───────────────────────────────────────────────────────────────────────────────

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix("= ") {
            cases.push(Case {
                title: format!("{title} (line {})", number + 1),
                actions: Vec::new(),
                expected: Seen {
                    received: Vec::new(),
                    is_closed: false,
                },
            });
            continue;
        }
        let case = cases.last_mut().expect("a title comes first");
        case.line(line)
            .unwrap_or_else(|| panic!("line {} means nothing: {line}", number + 1));
    }
    cases
}

impl Case {
    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let received = &mut self.expected.received;
        match word {
            ">" => self.send([unescape(rest), b"\r\n".to_vec()].concat()),
            ">-" => self.send(unescape(rest)),
            "opening" => self.send(
                format!(
                    "GET {rest} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                )
                .into_bytes(),
            ),
            "<" => received.extend([unescape(rest), b"\r\n".to_vec()].concat()),
            "<-" => received.extend(unescape(rest)),
            "~" if rest == "half-close" => self.actions.push(Action::HalfClose),
            "~" => {
                let seconds = rest.strip_prefix("wait ")?.strip_suffix(" s")?;
                let time = Duration::from_secs(seconds.parse().ok()?);
                self.actions.push(Action::Wait(time));
            }
            "last" => received.extend(answer(rest, "Connection: close\r\n")?),
            "open" => self.expected.is_closed = false,
            "closed" => self.expected.is_closed = true,
            _ => received.extend(answer(line, "")?),
        }
        Some(())
    }

    /// Adds bytes to be sent. Bytes without another action between them are a single piece.
    fn send(&mut self, more: Vec<u8>) {
        match self.actions.last_mut() {
            Some(Action::Send(bytes)) => bytes.extend(more),
            _ => self.actions.push(Action::Send(more)),
        }
    }
}

/// The only answer 426 that names the supported version (RFC 6455 §4.4).
const VERSION: &str = "426 Upgrade Required: the version of WebSocket spoken here is 13";

/// An answer that has a name in the corpus.
fn answer(line: &str, connection: &str) -> Option<Vec<u8>> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (status, fields, body) = match word {
        "small" => ("200 OK", SMALL_FIELDS.to_string(), SMALL.to_vec()),
        "echo" => {
            let body = unescape(rest);
            let fields = format!(
                "Content-Type: application/octet-stream\r\nX-Content-Type-Options: nosniff\r\n\
                 Cache-Control: no-store\r\nContent-Length: {}\r\n",
                body.len()
            );
            ("200 OK", fields, body)
        }
        "switch" => {
            let mut fields = "Upgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                .to_string();
            for field in rest.split(" | ").filter(|field| !field.is_empty()) {
                fields += &format!("{field}\r\n");
            }
            ("101 Switching Protocols", fields, Vec::new())
        }
        "plain" | "varied" => {
            let (status, _) = rest.split_once(':')?;
            let body = format!("{rest}\n").into_bytes();
            let more = match rest {
                VERSION => "Sec-WebSocket-Version: 13\r\n",
                _ => "",
            };
            let special = match status {
                "405 Method Not Allowed" => "Allow: GET, HEAD, OPTIONS\r\n",
                "426 Upgrade Required" => "Upgrade: websocket\r\nConnection: Upgrade\r\n",
                _ => "",
            };
            const VARY: &str = "Vary: Accept\r\n";
            // The usual answer 404 is made once, with the field in front.
            let (before, after) = match (word, rest) {
                ("varied", "404 Not Found: there is no such file here") => (VARY, ""),
                ("varied", _) => ("", VARY),
                _ => ("", ""),
            };
            let fields = format!(
                "{before}{more}{special}Content-Type: text/plain; charset=utf-8\r\n\
                 X-Content-Type-Options: nosniff\r\nContent-Length: {}\r\n{after}",
                body.len()
            );
            (status, fields, body)
        }
        _ => return None,
    };
    let head = format!("HTTP/1.1 {status}\r\n{fields}Date: NOW\r\n{connection}\r\n");
    Some([head.into_bytes(), body].concat())
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => out.push(match rest.next().expect("something is escaped") {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'0' => 0,
                b'x' => {
                    let digits = [rest.next(), rest.next()].map(|d| d.expect("two digits"));
                    let digits = str::from_utf8(&digits).expect("ASCII");
                    u8::from_str_radix(digits, 16).expect("hexadecimal")
                }
                other => other,
            }),
            b'{' => {
                let inner: Vec<u8> = rest.by_ref().take_while(|b| *b != b'}').collect();
                let inner = str::from_utf8(&inner).expect("text");
                let (times, what) = inner.split_once('*').expect("a number and a star");
                out.extend(unescape(what).repeat(times.parse().expect("a number")));
            }
            other => out.push(other),
        }
    }
    out
}

/// The same bytes, with `NOW` for each date.
fn undated(bytes: &[u8]) -> Vec<u8> {
    const DATE: &[u8] = b"\r\nDate: ";
    const LENGTH: usize = b"Fri, 15 Jan 2027 08:00:00 GMT".len();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while let Some(found) = out[at..].windows(DATE.len()).position(|w| w == DATE) {
        at += found + DATE.len();
        let end = (at + LENGTH).min(out.len());
        out.splice(at..end, *b"NOW");
    }
    out
}

// ── Output for failures ────────────────────────────────────────────────────────────────────────

fn end(is_closed: bool) -> &'static str {
    if is_closed { "closed" } else { "open" }
}

fn readable(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    text.replace("\\r\\n", "\n").replace("\\n", "\n")
}

fn shown(actions: &[Action]) -> String {
    let show = |action: &Action| match action {
        Action::Send(bytes) | Action::SendUnseen(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Action::SendLast(bytes) => format!("\"{}\" and HalfClose", bytes.escape_ascii()),
        Action::Wait(_) | Action::HalfClose | Action::Reset | Action::Stop | Action::Take(_) => {
            format!("{action:?}")
        }
    };
    actions.iter().map(show).collect::<Vec<_>>().join(", ")
}
