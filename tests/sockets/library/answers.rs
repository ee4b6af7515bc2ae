//! Requests, and answers that are given at once or later.

use std::io::Read;
use std::sync::mpsc;

use oneloop::http::{Method, Status};
use oneloop::{Answer, FieldError, NotTaken};

use super::{Asks, Program, next};
use crate::harness::{self, Client};

/// Sends a request without a body, or with one.
fn ask(client: &mut Client, method: &str, target: &str, fields: &str, body: &str) {
    let length = match body.len() {
        0 => String::new(),
        n => format!("Content-Length: {n}\r\n"),
    };
    client.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: localhost\r\n{fields}{length}\r\n{body}"
    ));
}

/// The answer to GET. A HEAD request must have the same head.
fn got(client: &mut Client, target: &str, fields: &str) -> harness::Answer {
    ask(client, "GET", target, fields, "");
    let mut answer = client.head();
    let length = answer.field("Content-Length").map(|l| l.parse());
    answer.body = client.bytes(length.map_or(0, |l| l.expect("a number")));
    ask(client, "HEAD", target, fields, "");
    let dateless = |head: &str| {
        let lines = head.lines().filter(|line| !line.starts_with("Date:"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(dateless(&client.head().head), dateless(&answer.head));
    answer
}

#[test]
fn each_method_reaches_the_endpoint_and_another_gets_405() {
    use Method::{Delete, Get, Post, Put};
    let endpoint = Asks::new(&[Get, Post, Put, Delete], |_, request| {
        let body = String::from_utf8_lossy(request.body());
        Answer::text(format!("{:?} {body}", request.method()))
    });
    let program = Program::of("/thing", endpoint);
    let mut client = program.connect();
    for (method, body, expected) in [
        ("GET", "", "Get "),
        ("POST", "one", "Post one"),
        ("PUT", "two", "Put two"),
        ("PUT", "", "Put "),
        ("DELETE", "", "Delete "),
    ] {
        ask(&mut client, method, "/thing", "", body);
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (200, expected));
    }
    ask(&mut client, "HEAD", "/thing", "", "");
    let head = client.head();
    assert_eq!((head.status, head.len()), (200, "Head ".len()));
    let allowed = Some("GET, HEAD, POST, PUT, DELETE, OPTIONS");
    ask(&mut client, "PATCH", "/thing", "", "x");
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("Allow")), (405, allowed));
    ask(&mut client, "OPTIONS", "/thing", "", "");
    let answer = client.head();
    assert_eq!((answer.status, answer.field("Allow")), (204, allowed));
}

#[test]
fn a_request_tells_what_the_client_has_sent() {
    let endpoint = Asks::new(&[Method::Get], |_, request| {
        let parameters: Vec<_> = request.parameters().collect();
        let cookies: Vec<_> = request.cookies().collect();
        Answer::text(format!(
            "{} {} {parameters:?} {cookies:?} {:?} {:?} {}",
            request.path(),
            request.name(),
            request.cookie("b"),
            request.field("x-name"),
            request.peer().ip(),
        ))
    });
    let program = Program::of("/things/*", endpoint);
    let fields = ["Cookie: a=1; b=\"2\"", "X-NAME:  value "];
    let answer = program
        .connect()
        .ask("/things/a%20b?x=1+2&y=%C3%A4&x", &fields);
    assert_eq!(
        answer.text(),
        "/things/a b a b [(\"x\", \"1 2\"), (\"y\", \"ä\"), (\"x\", \"\")] \
         [(\"a\", \"1\"), (\"b\", \"2\")] Some(\"2\") Some(\"value\") 127.0.0.1"
    );
}

#[test]
fn each_kind_of_answer_has_its_fields_and_head_has_them_too() {
    let endpoint = Asks::new(&[Method::Get], |_, request| match request.name() {
        "text" => Answer::text("ä"),
        "html" => Answer::html("<p>"),
        "json" => Answer::json("[]"),
        "bytes" => Answer::bytes("image/x-none", [0, 1, 2]),
        "empty" => Answer::empty(Status::NoContent),
        "status" => Answer::text("gone\n").status(Status::Gone),
        "number" => Answer::text("").status(Status::from_code(299).expect("it is final")),
        "moved" => Answer::redirect("/text?a=1#b").into(),
        "own" => Answer::bytes("text/plain", "x")
            .field("cache-control", "max-age=1")
            .and_then(|a| a.field("CONTENT-TYPE", "text/markdown"))
            .and_then(|a| a.field("X-A", "1"))
            .and_then(|a| a.field("X-A", "2"))
            .and_then(|a| a.field("Set-Cookie", "a=1"))
            .and_then(|a| a.field("Set-Cookie", "b=2"))
            .into(),
        _ => Answer::text("a").field("X-A", "1\r\nX-Forged: 2").into(),
    });
    let program = Program::of("/*", endpoint);
    let mut client = program.connect();
    for (name, status, media_type, body) in [
        ("text", 200, Some("text/plain; charset=utf-8"), "ä"),
        ("html", 200, Some("text/html; charset=utf-8"), "<p>"),
        ("json", 200, Some("application/json"), "[]"),
        ("bytes", 200, Some("image/x-none"), "\0\u{1}\u{2}"),
        ("empty", 204, None, ""),
        ("status", 410, Some("text/plain; charset=utf-8"), "gone\n"),
        ("number", 299, Some("text/plain; charset=utf-8"), ""),
        ("moved", 303, None, ""),
    ] {
        let answer = got(&mut client, &format!("/{name}"), "");
        assert_eq!((answer.status, answer.text()), (status, body), "{name}");
        assert_eq!(answer.field("Content-Type"), media_type, "{name}");
        assert_eq!(answer.field("Cache-Control"), Some("no-store"), "{name}");
        let sniffed = media_type.map(|_| "nosniff");
        assert_eq!(answer.field("X-Content-Type-Options"), sniffed, "{name}");
        let location = answer.field("Location");
        assert_eq!(location, Some("/text?a=1#b").filter(|_| status == 303));
    }
    let own = got(&mut client, "/own", "");
    assert_eq!(own.field("Cache-Control"), Some("max-age=1"));
    assert_eq!(own.field("Content-Type"), Some("text/markdown"));
    assert_eq!(own.field("X-A"), Some("2"));
    for (line, count) in [("X-A:", 1), ("Set-Cookie: a=1", 1), ("Set-Cookie: b=2", 1)] {
        assert_eq!(own.head.matches(line).count(), count, "{}", own.head);
    }
    let forged = got(&mut client, "/forged", "");
    assert_eq!((forged.status, forged.field("X-Forged")), (500, None));
}

#[test]
fn a_wrong_field_is_an_error_at_the_call() {
    let word = |result: Result<Answer, FieldError>| result.map_err(|e| e.to_string());
    for (name, value, reason) in [
        ("X-A", "1\r\nX-B: 2", "more than one line"),
        ("X-A", "1\n", "more than one line"),
        ("X-A", "\0", "more than one line"),
        ("X A", "1", "token"),
        ("X-A:", "1", "token"),
        ("X-A\r\nX-B", "1", "token"),
        ("", "1", "token"),
        ("content-length", "1", "frames"),
        ("Transfer-Encoding", "chunked", "frames"),
        ("Connection", "close", "frames"),
        ("Date", "now", "time"),
        ("ETag", "\"a\"", "entity_tag"),
        ("Content-Encoding", "gzip", "coding"),
    ] {
        let error = word(Answer::text("").field(name, value)).expect_err(name);
        assert!(error.contains(reason), "{name}: {error}");
    }
    for location in ["", "/a b", "/\r\nX-A: 1", "/ä"] {
        assert!(Answer::redirect(location).is_err(), "{location:?}");
    }
    for tag in ["a\"b", "a b", "a\n", "ä"] {
        assert!(Answer::text("").entity_tag(tag).is_err(), "{tag:?}");
    }
}

#[test]
fn a_large_json_is_compressed_and_each_coding_has_a_tag() {
    let json = format!("[{}1]", "1000000,".repeat(1_000));
    let content = json.clone();
    let endpoint = Asks::new(&[Method::Get, Method::Post], move |_, _| {
        Answer::json(content.clone()).entity_tag("v1").into()
    });
    let program = Program::of("/numbers", endpoint);
    let mut client = program.connect();
    let gzip = "Accept-Encoding: gzip, br\r\n";
    for (accepted, coding, tag) in [
        ("", None, "\"v1\""),
        (gzip, Some("gzip"), "\"v1-gzip\""),
        ("Accept-Encoding: gzip;q=0\r\n", None, "\"v1\""),
    ] {
        let answer = got(&mut client, "/numbers", accepted);
        assert_eq!(answer.field("Content-Encoding"), coding);
        assert_eq!(answer.field("ETag"), Some(tag));
        assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
        // With a tag, a client may keep the answer.
        assert_eq!(answer.field("Cache-Control"), None);
        let mut text = String::new();
        let read = match coding {
            Some(_) => flate2::read::GzDecoder::new(&answer.body[..]).read_to_string(&mut text),
            None => (&answer.body[..]).read_to_string(&mut text),
        };
        read.expect("it is whole");
        assert_eq!(text, json);
        assert!(coding.is_none() || answer.len() < json.len() / 10);
        for (named, status) in [(tag, 304), ("*", 304), ("\"v2\"", 200)] {
            let fields = format!("{accepted}If-None-Match: {named}\r\n");
            ask(&mut client, "HEAD", "/numbers", &fields, "");
            let answer = client.head();
            assert_eq!((answer.status, answer.field("ETag")), (status, Some(tag)));
        }
        let fields = format!("{accepted}If-None-Match: {tag}\r\n");
        ask(&mut client, "GET", "/numbers", &fields, "");
        assert_eq!(client.head().status, 304);
        // The endpoint has carried the request out already.
        ask(&mut client, "POST", "/numbers", &fields, "x");
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn an_answer_may_come_from_a_thread_and_only_once() {
    let (asked, keys) = mpsc::channel();
    let endpoint = Asks::new(&[Method::Get], move |hub, request| {
        let early = hub.answer(request.key(), Answer::text("early"));
        asked
            .send((request.key(), early))
            .expect("the test listens");
        Answer::later()
    });
    let program = Program::of("/later", endpoint);
    let mut client = program.connect();
    // The second request waits until the first is answered.
    client.send([harness::get("/later"), harness::get("/file")].concat());
    let (key, early) = next(&keys);
    assert_eq!(early, Err(NotTaken::Gone));
    let (told, again) = mpsc::channel();
    let answered = program.handle.run(move |hub| {
        let first = hub.answer(key, Answer::json("1"));
        let second = hub.answer(key, Answer::json("2"));
        told.send((first, second)).expect("the test listens");
    });
    answered.expect("it runs");
    assert_eq!(next(&again), (Ok(()), Err(NotTaken::Gone)));
    assert_eq!(client.answer().text(), "1");
    assert_eq!(client.answer().text(), "a file\n");
}
