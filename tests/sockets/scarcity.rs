//! Descriptors: none is ever lost, and the server survives when they run out.

use std::io::{self, Write};
use std::process::Stdio;

use rustix::fs::OFlags;
use rustix::process::Signal;

use crate::harness::{
    BIG, Client, Folder, Process, Server, at_rest, eventually, listening, program,
};

/// A server with counted descriptors.
struct Counted {
    server: Server,
    /// A client that has been answered. The server has then opened the last of its own descriptors.
    first: Client,
    /// The number of descriptors with this client.
    before: usize,
}

impl Counted {
    fn new(folder: &Folder) -> Counted {
        let server = Server::of(folder.path());
        let mut first = server.connect();
        assert_eq!(first.get("/a").status, 200);
        let before = server.descriptors();
        Counted {
            server,
            first,
            before,
        }
    }

    /// Checks that the server works, and that no descriptor was lost. Each of these tests has a
    /// large file, which the server may keep open: one descriptor more than before is allowed.
    fn check(mut self) {
        eventually("no descriptor is left behind", || {
            self.server.descriptors() <= self.before + 1
        });
        assert_eq!(self.first.get("/a").status, 200);
        assert_eq!(self.server.connect().get("/a").status, 200);
    }
}

#[test]
fn a_reset_in_the_middle_of_an_answer_costs_nothing() {
    let folder = Folder::with("a", "hello");
    folder.put_big_hole("big");
    let counted = Counted::new(&folder);
    let server = &counted.server;
    for _ in 0..10 {
        let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            match n % 4 {
                // In the middle of an answer's body, with or without having read its head.
                0 => client.request("/big"),
                1 => {
                    client.request("/big");
                    client.head();
                }
                // In the middle of a request's head, and before a request.
                2 => client.send("GET /a HTTP/1.1\r\nHo"),
                _ => {}
            }
        }
        clients.into_iter().for_each(Client::reset);
    }
    counted.check();
}

#[test]
fn orderly_ends_cost_nothing_either() {
    let folder = Folder::with("a", "hello");
    folder.put("large", vec![0; 1 << 20]);
    let counted = Counted::new(&folder);
    let server = &counted.server;
    for _ in 0..20 {
        let mut client = server.connect();
        assert_eq!(client.get("/a").status, 200);
        assert_eq!(client.get("/large").status, 200);
        let mut client = server.connect();
        client.send("hello\r\n\r\n");
        assert_eq!(client.answer().status, 400);
        client.assert_end();
    }
    counted.check();
}

#[test]
fn when_descriptors_run_out_the_next_is_shut_out_and_later_let_in() {
    let folder = Folder::with("a", "hello");
    let counted = Counted::new(&folder);
    let server = &counted.server;
    server.allow_descriptors(8);
    let mut inside = Vec::new();
    let outside = loop {
        let mut client = server.connect();
        client.request("/a");
        // The last accepted connection took the descriptor that its file would have needed.
        match client.try_head() {
            Ok(answer) => {
                assert!(matches!(answer.status, 200 | 503), "{}", answer.head);
                client.bytes(answer.len());
            }
            // The connection does not wait: it is closed, in one way or another.
            Err(_) => break client,
        }
        inside.push(client);
        assert!(inside.len() <= 8, "there is no room for so many");
    };
    assert_eq!(inside.len(), 8);
    // Accepted connections are served as before.
    let mut last = inside.pop().expect("eight");
    inside.truncate(4);
    for client in &mut inside {
        assert_eq!(client.get("/a").status, 200);
    }
    drop((inside, outside));
    eventually("there is room for a file", || last.get("/a").status == 200);
    drop(last);
    // A client that comes while the server still lacks descriptors may be closed once more.
    eventually("somebody is let in", || {
        let mut client = server.connect();
        client
            .try_send("GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .is_ok()
            && client.try_head().is_ok_and(|answer| answer.status == 200)
    });
    counted.check();
}

#[test]
fn that_descriptors_ran_out_is_said_or_not_but_ends_nothing() {
    let folder = Folder::with("a", "hello");
    for heard in [true, false] {
        let Counted {
            server, mut first, ..
        } = Counted::new(&folder);
        server.allow_descriptors(0);
        let mut outside = server.connect();
        let Server {
            mut process,
            stderr,
            ..
        } = server;
        // Without a reader, standard error is a closed pipe.
        let mut stderr = heard.then_some(stderr);
        assert!(outside.try_head().is_err(), "there is no room");
        // The open connection is answered, perhaps only with the news that no file can be opened.
        let status = first.get("/a").status;
        assert!(matches!(status, 200 | 503), "{status}");
        let stop = rustix::process::kill_process(process.pid(), Signal::TERM);
        stop.expect("it is our child");
        assert_eq!(process.code(), Some(0));
        if let Some(stderr) = &mut stderr {
            stderr.find("warning: cannot accept connections: ");
        }
    }
}

/// A terminal that was stopped with Ctrl-S takes no byte, like this pipe, and no warning either.
#[test]
fn a_standard_error_that_takes_nothing_stops_nobody() {
    let folder = Folder::with("a", "hello");
    let (_reader, writer) = io::pipe().expect("there is a descriptor");
    let blocking = |yes| {
        let flags = rustix::fs::fcntl_getfl(&writer).expect("it is open");
        let flags = match yes {
            true => flags - OFlags::NONBLOCK,
            false => flags | OFlags::NONBLOCK,
        };
        rustix::fs::fcntl_setfl(&writer, flags).expect("it is a pipe");
    };
    blocking(false);
    while (&writer).write(&[b'x'; 4096]).is_ok() {}
    blocking(true);
    let mut process = Process::with_outputs(
        program()
            .arg(folder.path())
            .args(["--bind", "127.0.0.1", "--port", "0"]),
        Stdio::piped(),
        writer.into(),
    );
    eventually("it listens", || !listening(process.pid()).is_empty());
    let address = listening(process.pid())[0];
    let mut inside = Client::to(address);
    assert_eq!(inside.get("/a").status, 200);
    process.allow_descriptors(0);
    let mut outside = Client::to(address);
    assert!(outside.try_head().is_err(), "there is no descriptor");
    // The open connection is answered, perhaps only with the news that no file can be opened.
    let status = inside.get("/a").status;
    assert!(matches!(status, 200 | 503), "{status}");
    process.signal(Signal::TERM);
    assert_eq!(process.code(), Some(0));
}

/// Large files stay open for later requests, but are closed rather than refuse a request.
#[test]
fn without_descriptors_a_file_at_hand_makes_room_for_one_that_is_needed() {
    let folder = Folder::with("a", "hello");
    let large = folder.put("large", vec![0; 1 << 20]);
    let server = Server::of(folder.path());
    let mut client = server.connect();
    assert_eq!(client.get("/a").status, 200);
    let before = server.descriptors();
    eventually("it is at rest", || at_rest(&large));
    assert_eq!(client.get("/large").status, 200);
    assert!(server.descriptors() > before, "it stays open");
    server.allow_descriptors(0);
    folder.put("new", "new");
    assert_eq!(client.get("/new").text(), "new");
    assert_eq!(server.descriptors(), before);
}

#[test]
fn over_the_limit_those_idle_longest_make_room() {
    let folder = Folder::with("a", "hello");
    let server = Server::with(folder.path(), &["--log", "off", "--max-connections", "3"]);
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    // Each connection is accepted before the next is used: their order is certain.
    for client in &mut clients {
        assert_eq!(client.get("/a").status, 200);
    }
    // The newcomer waits until the first client has been idle for a second.
    let mut newcomer = server.connect();
    assert_eq!(newcomer.get("/a").status, 200);
    clients.remove(0).assert_end();
    clients.push(newcomer);
    for client in &mut clients {
        assert_eq!(client.get("/a").status, 200);
    }
    let mut server = server;
    server
        .stderr
        .find("warning: at the limit of 3 connections: ");
}

#[test]
fn over_the_limit_with_nobody_idle_the_next_is_told_503() {
    let folder = Folder::with("a", "hello");
    folder.put_big_hole("big");
    let server = Server::with(folder.path(), &["--log", "off", "--max-connections", "2"]);
    let mut busy: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for client in &mut busy {
        client.request("/big");
        client.head();
    }
    let mut client = server.connect();
    client.request("/a");
    let answer = client.answer();
    assert_eq!(answer.status, 503);
    assert_eq!(answer.field("Connection"), Some("close"));
    client.assert_end();
    // No busy connection was closed, and a slot is free as soon as a client is done.
    let mut done = busy.pop().expect("two");
    done.bytes(BIG);
    assert_eq!(server.connect().get("/a").status, 200);
    busy[0].bytes(BIG);
}
