//! Large bodies, which an endpoint takes piece by piece.

use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use oneloop::http::{Method, Status};
use oneloop::{Answer, Endpoint, Hub, Intake, Key, Request, Uptake};

use super::{Program, next};
use crate::harness::{eventually, pattern};

/// The largest number of bytes in one piece: those of one read.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Takes a body in pieces: `wait` lets the client wait after some of them, `enough` refuses after a
/// MiB, and `none` refuses at the head.
struct Upload {
    received: Vec<u8>,
    waits: bool,
    is_waiting: bool,
    enough: usize,
    left: Sender<Key>,
    keys: Vec<Key>,
}

impl Upload {
    fn new(left: Sender<Key>) -> Upload {
        Upload {
            received: Vec::new(),
            waits: false,
            is_waiting: false,
            enough: usize::MAX,
            left,
            keys: Vec::new(),
        }
    }
}

impl Endpoint for Upload {
    fn methods(&self) -> &[Method] {
        &[Method::Put]
    }

    fn on_head(&mut self, _: &mut Hub<'_>, request: &Request<'_>) -> Intake {
        assert!(request.body().is_empty());
        self.received.clear();
        self.waits = request.query() == "wait";
        self.enough = match request.query() {
            "enough" => 1 << 20,
            _ => usize::MAX,
        };
        match request.query() {
            "none" => Intake::Refuse(Answer::text("no\n").status(Status::Forbidden)),
            "whole" => Intake::Whole,
            _ => Intake::Pieces,
        }
    }

    fn on_body(&mut self, hub: &mut Hub<'_>, key: Key, piece: &[u8]) -> Uptake {
        assert!(!self.is_waiting, "a piece while the client waits");
        assert!((1..=PIECE_BYTES_MAX).contains(&piece.len()));
        self.received.extend_from_slice(piece);
        if self.received.len() > self.enough {
            let answer = Answer::text("enough\n").status(Status::ContentTooLarge);
            return Uptake::Refuse(answer);
        }
        if self.waits && self.keys.len() < self.received.len() >> 20 {
            self.is_waiting = true;
            hub.after(Duration::from_millis(1), self.keys.len() as u64);
            self.keys.push(key);
            return Uptake::Wait;
        }
        Uptake::More
    }

    fn on_timer(&mut self, hub: &mut Hub<'_>, number: u64) {
        self.is_waiting = false;
        hub.resume(self.keys[number as usize]);
    }

    fn on_request(&mut self, _: &mut Hub<'_>, request: Request<'_>) -> Answer {
        assert!(request.body().is_empty(), "it went to on_body");
        let is_right = self.received == pattern(self.received.len());
        Answer::text(format!("{} {is_right}", self.received.len()))
    }

    fn on_leave(&mut self, _: &mut Hub<'_>, key: Key) {
        self.left.send(key).expect("the test listens");
    }
}

fn head(target: &str, length: usize, field: &str) -> String {
    format!("PUT {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{field}\r\n")
}

#[test]
fn an_upload_comes_in_pieces_at_the_pace_of_the_endpoint() {
    let (left, told) = mpsc::channel();
    let program = Program::of("/upload", Upload::new(left));
    let mut client = program.connect();
    let content = pattern(64 << 20);
    for target in ["/upload?wait", "/upload"] {
        client.send(head(target, content.len(), ""));
        client.send(&content);
        assert_eq!(client.answer().text(), "67108864 true", "{target}");
    }
    client.send("PUT /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in content[..1 << 20].chunks(70_001) {
        client.send([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().text(), "1048576 true");
    assert!(told.try_recv().is_err(), "no client has left");
}

#[test]
fn an_upload_may_be_refused_in_the_middle() {
    let (left, told) = mpsc::channel();
    let program = Program::of("/upload", Upload::new(left));
    let mut client = program.connect();
    client.send(head("/upload?enough", 3 << 20, ""));
    client.send(pattern(2 << 20));
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (413, "enough\n"));
    assert_eq!(answer.field("Connection"), Some("close"));
    client.finish();
    client.assert_end();
    assert!(told.try_recv().is_err(), "the endpoint knows already");
}

#[test]
fn a_client_that_asks_first_gets_100_only_if_the_body_is_taken() {
    let (left, _told) = mpsc::channel();
    let program = Program::of("/upload", Upload::new(left));
    let mut client = program.connect();
    for target in ["/upload", "/upload?wait"] {
        client.send(head(target, 5, "Expect: 100-continue\r\n"));
        assert_eq!(client.head().status, 100);
        client.send(pattern(5));
        assert_eq!(client.answer().text(), "5 true");
    }
    client.send(head("/upload?none", 5, "Expect: 100-continue\r\n"));
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (403, "no\n"));
    client.assert_end();
    // A body that is taken whole is bounded.
    let mut client = program.connect();
    client.send(head("/upload?whole", 2 << 20, "Expect: 100-continue\r\n"));
    assert_eq!(client.answer().status, 413);
}

#[test]
fn a_client_that_leaves_within_its_upload_is_told() {
    let (left, told) = mpsc::channel();
    let program = Program::of("/upload", Upload::new(left));
    for is_reset in [false, true] {
        let mut client = program.connect();
        client.send(head("/upload", 1 << 20, ""));
        client.send(pattern(1 << 10));
        match is_reset {
            true => client.reset(),
            false => drop(client),
        }
        next(&told);
    }
    eventually("no call is left", || told.try_recv().is_err());
}
