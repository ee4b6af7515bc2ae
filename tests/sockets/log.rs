//! The access log, which must never block the server.

use std::collections::VecDeque;

use rustix::process::Signal;

use crate::harness::{BIG, Folder, Server, get};

/// A line with 9 in place of each number: the form of the line, whatever the clock says.
fn shape(line: &str) -> String {
    let mut shape = String::new();
    for c in line.chars() {
        match c.is_ascii_digit() {
            true if shape.ends_with('9') => {}
            true => shape.push('9'),
            false => shape.push(c),
        }
    }
    shape
}

/// Checks the lines for a file, an absent file and bytes that are no request.
fn check(format: &str, file: &str, absent: &str, broken: &str) {
    let folder = Folder::with("a", "hello");
    let mut server = Server::with(folder.path(), &["--log", format]);
    let mut client = server.connect();
    client
        .send("GET /a?q HTTP/1.1\r\nHost: localhost\r\nReferer: /r\r\nUser-Agent: \"ua\"\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.send("HEAD /none HTTP/1.0\r\n\r\n");
    assert_eq!(client.head().status, 404);
    let mut client = server.connect();
    client.send("hello\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 400);
    let broken = broken.replace("LENGTH", &answer.len().to_string());
    for expected in [file, absent, &broken] {
        let line = server.stdout.next().expect("a line");
        match format {
            "combined" => {
                let (host, rest) = line.split_once(" - - [").expect("no identity, no user");
                let (time, rest) = rest.split_once("] ").expect("a time");
                let time = jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", time);
                assert!(time.is_ok(), "{line}");
                assert_eq!((host, rest), ("127.0.0.1", expected));
            }
            _ => assert_eq!(shape(&line), expected),
        }
    }
}

#[test]
fn combined_is_what_tools_expect() {
    check(
        "combined",
        r#""GET /a?q HTTP/1.1" 200 5 "/r" "\x22ua\x22""#,
        r#""HEAD /none HTTP/1.0" 404 0 "-" "-""#,
        r#""-" 400 LENGTH "-" "-""#,
    );
}

#[test]
fn json_is_one_object_a_line() {
    let line = |method, target, complete_and_rest: &str| {
        format!(
            r#"{{"time":9.9,"peer":"9.9.9.9:9","slot":9,"method":"{method}","target":"{target}","#
        ) + complete_and_rest
    };
    let said =
        r#""status":9,"bytes":9,"complete":true,"ms":9.9,"referer":"/r","user_agent":"\"ua\""}"#;
    let none = r#""status":9,"bytes":9,"complete":true,"ms":9.9,"referer":"","user_agent":""}"#;
    check(
        "json",
        &line("GET", "/a?q", said),
        &line("HEAD", "/none", none),
        &line("", "", none),
    );
}

#[test]
fn pretty_is_for_people() {
    check(
        "pretty",
        "9:9:9.9 GET /a?q 9 9 B 9.9 ms #9",
        "9:9:9.9 HEAD /none 9 9 B 9.9 ms #9",
        "9:9:9.9 - - 9 9 B 9.9 ms #9",
    );
}

#[test]
fn a_pipe_gets_the_combined_format_and_off_gets_nothing() {
    let folder = Folder::with("a", "hello");
    let mut server = Server::with(folder.path(), &[]);
    assert_eq!(server.connect().get("/a").status, 200);
    let line = server.stdout.next().expect("a line");
    assert!(
        line.ends_with(r#""GET /a HTTP/1.1" 200 5 "-" "-""#),
        "{line}"
    );

    let server = Server::of(folder.path());
    assert_eq!(server.connect().get("/a").status, 200);
    // The second answer comes after the turn that would have logged the first.
    assert_eq!(server.connect().get("/a").status, 200);
    assert!(!server.stdout.is_waiting());
}

#[test]
fn a_download_that_is_cut_off_is_logged_as_such() {
    let folder = Folder::new();
    folder.put_big_hole("big");
    let mut server = Server::with(folder.path(), &["--log", "json"]);
    let mut client = server.connect();
    client.request("/big");
    client.head();
    client.reset();
    let line = server.stdout.next().expect("a line");
    assert!(line.contains(r#""complete":false"#), "{line}");
    let (_, bytes) = line.split_once(r#""bytes":"#).expect("a number of bytes");
    let (bytes, _) = bytes.split_once(',').expect("and what follows");
    assert!(bytes.parse::<usize>().is_ok_and(|n| n < BIG), "{line}");
}

/// The pipe fills, then the log's own buffer. From then on lines are dropped, and counted.
#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let folder = Folder::with("a", "hello");
    let mut server = Server::with(folder.path(), &["--log", "combined"]);
    let mut client = server.connect();
    let long = format!("/{}", "x".repeat(4_000));
    const REQUESTS: usize = 200;
    for _ in 0..REQUESTS {
        assert_eq!(client.get(&long).status, 404);
    }
    // The test begins to read. The number of dropped lines is reported in the place where the lines
    // are missing, before the next line that fits.
    let (mut long_lines, mut dropped) = (0, None);
    let mut asked = VecDeque::new();
    for n in 0.. {
        let target = format!("/after/{n}");
        assert_eq!(client.get(&target).status, 404);
        asked.push_back(target);
        while dropped.is_none() && server.stdout.is_waiting() {
            let line = server.stdout.next().expect("it goes on");
            match line.strip_prefix("# ").and_then(|l| l.split_once(' ')) {
                Some((count, "lines dropped: the log was not read in time")) => {
                    dropped = count.parse::<usize>().ok();
                }
                Some(_) => panic!("{line}"),
                None => long_lines += usize::from(line.contains(&long)),
            }
        }
        if dropped.is_some() {
            break;
        }
    }
    // The count has every request that was made while the buffer was full, and no other.
    let line = server.stdout.next().expect("what was noted before");
    let kept = asked
        .iter()
        .position(|a| line.contains(&format!("{a} ")))
        .expect("one of ours");
    assert_eq!(dropped, Some(REQUESTS - long_lines + kept));
}

/// An unread log does not keep the server from ending either.
#[test]
fn a_log_that_nobody_reads_does_not_hold_up_a_stop() {
    let folder = Folder::with("a", "hello");
    let mut server = Server::with(folder.path(), &["--log", "combined"]);
    let mut client = server.connect();
    let long = format!("/{}", "x".repeat(4_000));
    for _ in 0..100 {
        assert_eq!(client.get(&long).status, 404);
    }
    server.signal(Signal::TERM);
    assert_eq!(server.process.code(), Some(0));
}

#[test]
fn a_log_whose_reader_is_gone_stops_nobody() {
    let folder = Folder::with("a", "hello");
    let server = Server::with(folder.path(), &["--log", "combined"]);
    let mut client = server.connect();
    assert_eq!(client.get("/a").status, 200);
    let Server {
        stdout,
        mut process,
        ..
    } = server;
    drop(stdout);
    for _ in 0..100 {
        client.send(get("/a"));
        assert_eq!(client.answer().status, 200);
    }
    let stop = rustix::process::kill_process(process.pid(), Signal::TERM);
    stop.expect("it is our child");
    assert_eq!(process.code(), Some(0));
}
