//! Answers whose content comes piece by piece.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use oneloop::http::Method;
use oneloop::{Answer, Endpoint, Event, Hub, Key, NotTaken, Request};

use super::{Asks, Program, next};
use crate::harness::{Client, get, pattern};

/// Sends a content in pieces, as far as there is room; `?counted` announces the length.
struct Flow {
    content: Vec<u8>,
    piece: usize,
    /// Bytes written for each stream.
    written: BTreeMap<Key, usize>,
    /// Bytes written for the last stream.
    total: Arc<AtomicUsize>,
    left: Sender<Key>,
}

impl Flow {
    fn new(content: Vec<u8>, piece: usize, left: Sender<Key>) -> Flow {
        let (written, total) = (BTreeMap::new(), Arc::default());
        Flow {
            content,
            piece,
            written,
            total,
            left,
        }
    }
}

impl Endpoint for Flow {
    fn methods(&self) -> &[Method] {
        &[Method::Get]
    }

    fn on_request(&mut self, _: &mut Hub<'_>, request: Request<'_>) -> Answer {
        self.written.insert(request.key(), 0);
        let stream = Answer::stream("application/octet-stream");
        match request.query() {
            "counted" => stream.length(self.content.len() as u64),
            _ => stream,
        }
    }

    fn on_stream_room(&mut self, hub: &mut Hub<'_>, key: Key) {
        let written = self.written.get_mut(&key).expect("it has begun");
        while hub.has_room(key) {
            let rest = &self.content[*written..];
            if rest.is_empty() {
                hub.finish(key).expect("it is whole");
                assert_eq!(hub.write(key, "more"), Err(NotTaken::Gone));
                return;
            }
            let piece = &rest[..self.piece.min(rest.len())];
            hub.write(key, piece).expect("there is room");
            *written += piece.len();
            self.total.store(*written, Ordering::Relaxed);
        }
    }

    fn on_leave(&mut self, hub: &mut Hub<'_>, key: Key) {
        assert_eq!(hub.write(key, "more"), Err(NotTaken::Gone));
        self.left.send(key).expect("the test listens");
    }
}

#[test]
fn a_stream_is_chunked_or_counted_or_ends_with_the_connection() {
    let content = pattern(1 << 20);
    let (left, told) = mpsc::channel();
    let program = Program::of("/flow", Flow::new(content.clone(), 10_000, left));
    let mut client = program.connect();
    for target in ["/flow", "/flow?counted"] {
        let answer = client.ask(target, &[]);
        let is_chunked = answer.field("Transfer-Encoding") == Some("chunked");
        assert_eq!(is_chunked, !target.ends_with("counted"));
        assert_eq!(answer.field("Content-Length").is_some(), !is_chunked);
        assert!(answer.body == content, "{target}");
        client.send(get(target).replace("GET", "HEAD"));
        let head = client.head();
        assert_eq!(head.field("Content-Length"), answer.field("Content-Length"));
        // The endpoint is told that nothing more is wanted.
        next(&told);
    }
    client.send("GET /flow HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = client.head();
    assert_eq!(answer.field("Transfer-Encoding"), None);
    assert_eq!(answer.field("Connection"), Some("close"));
    assert!(client.bytes(content.len()) == content);
    client.assert_end();
    let mut client = program.connect();
    client.send("GET /flow?counted HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.field("Connection"), Some("keep-alive"));
    assert!(answer.body == content);
    assert!(told.try_recv().is_err(), "no client has left");
}

#[test]
fn bytes_that_the_head_did_not_announce_are_an_error() {
    let (told, results) = mpsc::channel();
    let endpoint = Asks::new(&[Method::Get], move |hub, request| {
        let key = request.key();
        let later = hub.write(key, "x");
        hub.after(Duration::ZERO, 0);
        told.send((key, later)).expect("the test listens");
        Answer::stream("text/plain").length(3)
    });
    let program = Program::of("/three", endpoint);
    let mut client = program.connect();
    client.request("/three");
    assert_eq!(client.head().len(), 3);
    let (key, early) = next(&results);
    assert_eq!(early, Err(NotTaken::Gone), "no stream has begun");
    let (told, results) = mpsc::channel();
    let run = program.handle.run(move |hub| {
        let calls = [
            hub.write(key, "four"),
            hub.write(key, "12"),
            hub.finish(key),
            hub.write(key, "34"),
            hub.write(key, "3"),
            hub.finish(key),
        ];
        told.send(calls).expect("the test listens");
    });
    run.expect("it runs");
    let (long, short) = (Err(NotTaken::TooLong), Err(NotTaken::TooShort));
    let expected = [long, Ok(()), short, long, Ok(()), Err(NotTaken::Gone)];
    assert_eq!(next(&results), expected);
    assert_eq!(client.bytes(3), b"123");
    assert_eq!(client.get("/file").status, 200);
}

#[test]
fn a_client_that_leaves_is_told_at_once() {
    let (left, told) = mpsc::channel();
    let program = Program::with(
        |_| {},
        move |bound| {
            let quiet = |answer: fn() -> Answer| Quiet {
                answer,
                left: left.clone(),
            };
            bound
                .with_endpoint("/endless", quiet(Answer::events))
                .with_endpoint("/later", quiet(Answer::later))
        },
    );
    for (target, has_head) in [("/endless", true), ("/later", false)] {
        let leave: [fn(Client) -> Option<Client>; 3] = [
            |client| {
                client.reset();
                None
            },
            |_| None,
            // Of a stream, a half-closed connection is the end too.
            |client| {
                client.finish();
                Some(client)
            },
        ];
        // Before its answer a client may end its direction, and only a reset shows that it has left.
        let count = if has_head { 3 } else { 1 };
        for leave in &leave[..count] {
            let mut client = program.connect();
            client.request(target);
            if has_head {
                assert_eq!(client.head().status, 200);
            }
            let asked = next(&told);
            let client = leave(client);
            assert_eq!(next(&told), asked, "{target}");
            drop(client);
        }
    }
}

/// Tells the key of each request, and of each client that has left.
struct Quiet {
    answer: fn() -> Answer,
    left: Sender<Key>,
}

impl Endpoint for Quiet {
    fn methods(&self) -> &[Method] {
        &[Method::Get]
    }

    fn on_request(&mut self, _: &mut Hub<'_>, request: Request<'_>) -> Answer {
        self.left.send(request.key()).expect("the test listens");
        (self.answer)()
    }

    fn on_leave(&mut self, _: &mut Hub<'_>, key: Key) {
        self.left.send(key).expect("the test listens");
    }
}

#[test]
fn a_stream_is_never_far_ahead_of_a_slow_reader() {
    /// What the kernel may hold in both socket buffers, and the server in the write buffer.
    const AHEAD_MAX: usize = 48 << 20;
    let content = pattern(160 << 20);
    let (left, _told) = mpsc::channel();
    let flow = Flow::new(content.clone(), 64 << 10, left);
    let total = flow.total.clone();
    let program = Program::of("/flow", flow);
    let mut client = program.connect();
    client.request("/flow?counted");
    assert_eq!(client.head().len(), content.len());
    for (n, expected) in content.chunks(1 << 20).enumerate() {
        assert!(client.bytes(expected.len()) == expected);
        let written = total.load(Ordering::Relaxed);
        assert!(written <= (n << 20) + AHEAD_MAX, "{written} after {n} MiB");
    }
}

#[test]
fn a_browser_that_comes_back_tells_the_last_event() {
    let (ask, asked) = mpsc::channel();
    let endpoint = Asks::new(&[Method::Get], move |_, request| {
        let last = request.field("Last-Event-ID").map(str::to_owned);
        ask.send((request.key(), last)).expect("the test listens");
        Answer::events()
    });
    let program = Program::of("/events", endpoint);
    for (fields, expected) in [("", None), ("Last-Event-ID: 7\r\n", Some("7"))] {
        let mut client = program.connect();
        client.send(format!(
            "GET /events HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
        ));
        let head = client.head();
        assert_eq!(head.field("Content-Type"), Some("text/event-stream"));
        assert_eq!(head.field("Cache-Control"), Some("no-store"));
        let (key, last) = next(&asked);
        assert_eq!(last.as_deref(), expected);
        // A comment, so that a browser knows at once that the stream is open.
        assert_eq!(client.bytes(8), b"3\r\n:\n\n\r\n");
        let run = program.handle.run(move |hub| {
            let event = Event::data("one\ntwo")
                .event("news")
                .and_then(|e| e.id("8"));
            let written = hub.write(key, event.expect("each is one line"));
            written.expect("there is room");
        });
        run.expect("it runs");
        let event = "event:news\nid:8\ndata:one\ndata:two\n\n";
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        assert_eq!(client.bytes(chunk.len()), chunk.as_bytes());
    }
}

#[test]
fn one_call_may_write_to_many_streams() {
    const CLIENTS: usize = 200;
    let (ask, asked) = mpsc::channel();
    let endpoint = Asks::new(&[Method::Get], move |_, request| {
        ask.send(request.key()).expect("the test listens");
        Answer::events()
    });
    let program = Program::of("/events", endpoint);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| program.connect()).collect();
    for client in &mut clients {
        client.request("/events");
        assert_eq!(client.head().status, 200);
        assert_eq!(client.bytes(8), b"3\r\n:\n\n\r\n");
    }
    let keys: Vec<_> = (0..CLIENTS).map(|_| next(&asked)).collect();
    let run = program.handle.run(move |hub| {
        for key in keys {
            hub.write(key, Event::data("x")).expect("there is room");
        }
    });
    run.expect("it runs");
    for client in &mut clients {
        assert_eq!(client.bytes(13), b"8\r\ndata:x\n\n\r\n");
    }
}
