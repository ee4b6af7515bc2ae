//! The access log, which must never block the server.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Resource, Signal};

use crate::harness::{BIG, Client, Folder, Process, Server, eventually, get, program};
use crate::peer::Peer;

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
            "json" => assert_eq!(shape(&line), expected),
            // Time, status, size with unit, duration with unit, and the rest.
            _ => {
                let mut words: Vec<_> = line.split_whitespace().collect();
                assert!(["µs", "ms", "s"].contains(&words[5]), "{line}");
                words.drain(4..6);
                assert_eq!(shape(words[0]), "9:9:9.9");
                assert_eq!(words[1..].join(" "), expected);
            }
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
    let rest = |reason: &str, fields: &str| {
        format!(r#""status":9,"reason":"{reason}","bytes":9,"complete":true,"ms":9.9,{fields}}}"#)
    };
    let said = r#""referer":"/r","user_agent":"\"ua\"""#;
    let none = r#""referer":"","user_agent":"""#;
    check(
        "json",
        &line("GET", "/a?q", &rest("", said)),
        &line("HEAD", "/none", &rest("there is no such file here", none)),
        &line(
            "",
            "",
            &rest(
                "the request line is not: method SP request-target SP HTTP-version",
                none,
            ),
        ),
    );
}

#[test]
fn pretty_is_for_people() {
    check(
        "pretty",
        "200 5 B GET /a?q",
        "404 0 B HEAD /none (there is no such file here)",
        "400 LENGTH B - - (the request line is not: method SP request-target SP HTTP-version)",
    );
}

#[test]
fn a_request_that_is_refused_is_logged_with_its_target() {
    let folder = Folder::with("a", "hello");
    let mut server = Server::with(folder.path(), &["--log", "combined"]);
    for (request, logged) in [
        (
            &b"GET /na\xc3\xafve HTTP/1.1\r\n\r\n"[..],
            r"GET /na\xc3\xafve HTTP/1.1",
        ),
        (
            b"\r\nPOST /\x1b[31m\" HTTP/1.0\r\n\r\n",
            r"POST /\x1b[31m\x22 HTTP/1.0",
        ),
        (b"GET /a HTTP/1.1\r\nBad Name: x\r\n\r\n", "GET /a HTTP/1.1"),
        (b"GET /a HTTP/1.1\r\n\r\n", "GET /a HTTP/1.1"),
        (b"GET /a HTTP/1.1\n\n", "GET /a HTTP/1.1"),
        (b"GET /a HTTP/1.1 \r\n\r\n", "-"),
        (b"GET  HTTP/1.1\r\n\r\n", "-"),
        (b"G(T /a HTTP/1.1\r\n\r\n", "-"),
        (b"\x16\x03\x01\x02\r\n", "-"),
    ] {
        let mut client = server.connect();
        client.send(request);
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{logged}");
        let line = server.stdout.next().expect("a line");
        let shown = format!("] \"{logged}\" 400 {} ", answer.len());
        assert!(line.contains(&shown), "{line} is not {shown}");
    }
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

/// Each answer is queued whole, and the last waits for a peer that does not read.
#[test]
fn a_small_answer_that_is_cut_off_is_logged_as_such() {
    const BYTES: usize = 60_000;
    let folder = Folder::with("a", "x".repeat(BYTES));
    folder.put("b", "b");
    let mut server = Server::with(folder.path(), &["--log", "json"]);
    let (mut client, mut other) = (server.connect(), server.connect());
    let requests = get("/a").repeat(100).into_bytes();
    // Until no byte has gone through for a hundred turns.
    let (mut at, mut blocked) = (0, 0);
    while blocked < 100 {
        let n = client.send_some(&requests[at % requests.len()..]);
        at += n;
        blocked = if n == 0 { blocked + 1 } else { 0 };
        assert_eq!(other.get("/b").status, 200);
        while server.stdout.is_waiting() {
            let line = server.stdout.next().expect("a line");
            assert!(line.contains(r#""complete":true"#), "{line}");
        }
    }
    client.reset();
    let mut lines = std::iter::from_fn(|| server.stdout.next());
    let cut = lines.find(|line| line.contains(r#""complete":false"#));
    let cut = cut.expect("a line");
    let (_, bytes) = cut.split_once(r#""bytes":"#).expect("a number of bytes");
    let (bytes, _) = bytes.split_once(',').expect("and what follows");
    assert!(bytes.parse::<usize>().is_ok_and(|n| n < BYTES), "{cut}");
}

/// A person who looks for the file on the disk finds it. The body tells the reason to a peer on this
/// machine alone.
#[test]
fn a_file_that_a_rule_hides_is_told_from_one_that_is_not_there() {
    let folder = Folder::with("root/.env", "secret");
    folder.put("outside", "outside");
    symlink("../outside", folder.path().join("root/link")).expect("the folder is ours");
    symlink("..", folder.path().join("root/up")).expect("the folder is ours");
    let root = folder.path().join("root");
    let mut server = Server::with(&root, &["--log", "json"]);
    let mut client = server.connect();
    let out = "a symbolic link leads out of the folder; --follow-symlinks allows it";
    let hidden = "names that begin with a dot are not served; --hidden allows them";
    for (target, reason) in [
        ("/link", out),
        ("/up/outside", out),
        ("/up/", out),
        ("/.env", hidden),
        ("/a/.git/config", hidden),
        ("/none", "there is no such file here"),
    ] {
        let answer = client.get(target);
        assert_eq!(answer.status, 404);
        assert_eq!(answer.text(), format!("404 Not Found: {reason}\n"));
        let line = server.stdout.next().expect("a line");
        assert!(line.contains(&format!(r#""reason":"{reason}""#)), "{line}");
    }
}

/// The body is sent in chunks. Their sizes are not content.
#[test]
fn the_framing_of_chunks_is_not_counted() {
    let folder = Folder::with("a.txt", "hello, hello. ".repeat(1_000));
    let mut server = Server::with(folder.path(), &["--log", "json"]);
    let answer = server.connect().ask("/a.txt", &["Accept-Encoding: gzip"]);
    assert_eq!(answer.field("Transfer-Encoding"), Some("chunked"));
    let bytes = format!(r#""bytes":{},"#, answer.body.len());
    let line = server.stdout.next().expect("a line");
    assert!(line.contains(&bytes), "{bytes} {line}");
}

#[test]
fn the_end_of_a_websocket_connection_has_a_line() {
    let folder = Folder::new();
    for (format, beginning, end) in [
        (
            "json",
            r#"{"time":"#,
            r#","target":"/echo?x","close_code":1001,"received":2,"sent":2,"ms":"#,
        ),
        (
            "pretty",
            "",
            " WebSocket /echo?x closed: 2 messages in, 2 out",
        ),
    ] {
        let mut server = Server::with(folder.path(), &["--log", format]);
        let mut peer = Peer::of(&server, "/echo?x");
        for word in ["one", "two"] {
            peer.say(word);
            assert_eq!(peer.hear(), word);
        }
        server.signal(Signal::TERM);
        peer.assert_closed(1001);
        let opened = server.stdout.next().expect("the opening handshake");
        assert!(opened.contains("101"), "{opened}");
        let line = server.stdout.next().expect("the end");
        assert!(line.starts_with(beginning) && line.contains(end), "{line}");
        assert_eq!(server.process.code(), Some(0));
    }
}

/// Every browser asks every site for its icon, and every page has a connection for live reload.
#[test]
fn people_are_not_told_of_what_browsers_ask_of_every_site() {
    let folder = Folder::with("a", "hello");
    for (format, lines) in [("pretty", 1), ("json", 4)] {
        let mut server = Server::with(folder.path(), &["--log", format]);
        let mut client = server.connect();
        assert_eq!(client.get("/favicon.ico").status, 404);
        assert_eq!(client.get("/a").status, 200);
        client.send(
            "GET /_oneloop/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        );
        assert_eq!(client.head().status, 101);
        drop(client);
        server.signal(Signal::TERM);
        assert_eq!(server.process.code(), Some(0));
        let rest = server.stdout.rest();
        assert_eq!(rest.lines().count(), lines, "{rest}");
    }
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
    // The test begins to read. Standard output holds lines of the format alone, so the number of
    // dropped lines is reported on standard error, before the next line that fits.
    let (mut long_lines, mut first, mut dropped) = (0, None, None);
    let mut asked = VecDeque::new();
    for n in 0.. {
        let target = format!("/after/{n}");
        assert_eq!(client.get(&target).status, 404);
        asked.push_back(target);
        while dropped.is_none() && server.stdout.is_waiting() {
            let line = server.stdout.next().expect("it goes on");
            match line.contains(&long) {
                true => long_lines += 1,
                false => {
                    first = Some(line);
                    let said = server.stderr.find("warning: ");
                    let end = " lines of the log dropped: the log was not read in time";
                    let count = said.strip_suffix(end).expect("nothing else is wrong");
                    dropped = count.parse::<usize>().ok();
                }
            }
        }
        if dropped.is_some() {
            break;
        }
    }
    // The count has every request that was made while the buffer was full, and no other.
    let line = first.expect("it came with the number");
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

/// A limit on the size of files stands for the full disk. The limit is later lifted, as if files had
/// been deleted.
#[test]
fn a_full_disk_costs_whole_lines_which_are_counted() {
    let folder = Folder::with("a", "hello");
    let path = folder.put("log", "");
    let file = fs::File::options().append(true).open(&path);
    let file = file.expect("it was just made");
    let mut process = Process::with_outputs(
        program()
            .arg(folder.path())
            .args(["--port", "0", "--log", "json"]),
        file.into(),
        Stdio::piped(),
    );
    let mut stderr = process.stderr();
    let address = stderr.find("http://").replace('/', "");
    let mut client = Client::to(address.parse().expect("an address"));
    process.limit(Resource::Fsize, Some(1_000), None);
    let long = format!("/{}", "x".repeat(4_000));
    let mut requests = 0;
    for _ in 0..50 {
        assert_eq!(client.get(&long).status, 404);
        requests += 1;
    }
    stderr.find("warning: the log cannot be written: ");
    process.limit(Resource::Fsize, None, None);
    let log = || fs::read_to_string(&path).expect("it is text");
    eventually("the lines that found space are written", || {
        log().len() > 64 << 10
    });
    assert_eq!(client.get("/a").status, 200);
    requests += 1;
    process.signal(Signal::TERM);
    assert_eq!(process.code(), Some(0));
    let mut counted = 0;
    for line in log().lines() {
        parse_json(line);
        let dropped = line.strip_prefix(r#"{"dropped":"#);
        counted += dropped.map_or(1, |n| n.trim_end_matches('}').parse().expect("a number"));
    }
    assert_eq!(counted, requests);
    assert!(
        log().contains(r#"{"dropped":"#),
        "the test fills the buffer"
    );
}

/// `jq`, goaccess and the like read standard output, and stumble over any line that is not of the
/// format: the banner, a notice, the summary.
#[test]
fn standard_output_holds_the_log_and_nothing_else() {
    for format in ["combined", "json"] {
        let folder = Folder::with("a", "hello");
        let mut server = Server::with(folder.path(), &["--log", format]);
        let mut client = server.connect();
        for target in ["/a", "/none", "/%22%5c", "/a"] {
            client.get(target);
        }
        let mut refused = server.connect();
        refused.send("hello\r\n\r\n");
        assert_eq!(refused.answer().status, 400);
        let mut peer = Peer::of(&server, "/echo");
        peer.say("hello");
        assert_eq!(peer.hear(), "hello");
        server.signal(Signal::TERM);
        assert_eq!(server.process.code(), Some(0));
        let lines = server.stdout.rest();
        assert!(lines.lines().count() >= 6, "{lines}");
        for line in lines.lines() {
            match format {
                "json" => parse_json(line),
                _ => parse_combined(line),
            }
        }
        server.stderr.find("stopped: 5 requests on 3 connections");
    }
}

/// Checks that the line is an object of strings, numbers, `true` and `false` (RFC 8259).
fn parse_json(line: &str) {
    let mut rest = line.strip_prefix('{').expect(line);
    loop {
        rest = parse_json_string(rest).strip_prefix(':').expect(line);
        rest = match rest.strip_prefix(['t', 'f']) {
            Some(word) => word.strip_prefix("rue").or(word.strip_prefix("alse")),
            None if rest.starts_with('"') => Some(parse_json_string(rest)),
            None => {
                let end = rest.find([',', '}']).expect(line);
                rest[..end].parse::<f64>().expect(line);
                Some(&rest[end..])
            }
        }
        .expect(line);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return assert_eq!(rest, "}", "{line}"),
        }
    }
}

/// Checks the string at the beginning, and returns the text after it.
fn parse_json_string(text: &str) -> &str {
    let mut chars = text.char_indices();
    assert_eq!(chars.next(), Some((0, '"')), "{text}");
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return &text[at + 1..],
            '\\' => match chars.next().expect("an escape").1 {
                'u' => {
                    let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                    u16::from_str_radix(&digits, 16).expect("four digits");
                }
                c => assert!("\"\\/bfnrt".contains(c), "{text}"),
            },
            c => assert!(!c.is_control(), "{text}"),
        }
    }
    panic!("no end: {text}");
}

/// Checks `%h - - [%t] "%r" %>s %b "%{Referer}i" "%{User-agent}i"`.
fn parse_combined(line: &str) {
    let (host, rest) = line.split_once(" - - [").expect(line);
    host.parse::<std::net::IpAddr>().expect(line);
    let (time, rest) = rest.split_once("] \"").expect(line);
    jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", time).expect(line);
    let quoted: Vec<_> = rest.split('"').collect();
    let [_request, numbers, _referer, " ", _agent, ""] = quoted[..] else {
        panic!("{line}");
    };
    let numbers: Vec<_> = numbers.trim().split(' ').collect();
    let [status, bytes] = numbers[..] else {
        panic!("{line}");
    };
    assert!(status.len() == 3 && status.parse::<u16>().is_ok(), "{line}");
    assert!(bytes.parse::<u64>().is_ok(), "{line}");
}

/// An answer that is cut off has the cause in the log, and what the connection was waiting for.
#[test]
fn the_log_says_why_an_answer_was_cut_off() {
    let folder = Folder::new();
    folder.put_big_hole("big");
    let mut server = Server::with(folder.path(), &["--log", "json"]);
    let mut download = server.connect();
    download.request("/big");
    assert_eq!(download.head().len(), BIG);
    download.reset();
    let line = server.stdout.next().expect("a line for the download");
    let begin = r#""reason":"reset by the peer; slow reader: "#;
    assert!(
        line.contains(begin) && line.contains(r#""complete":false"#),
        "{line}"
    );
}

/// As logrotate does: the file is renamed, and then the server gets SIGHUP.
#[test]
fn a_log_file_is_opened_again_on_sighup() {
    let folder = Folder::with("site/a", "hello");
    let logs = Folder::with("log", "before\n");
    let (log, old) = (logs.path().join("log"), logs.path().join("old"));
    let flag = format!("--log-file={}", log.display());
    let lines = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    for live in ["--live", "--no-live"] {
        fs::write(&log, "before\n").expect("the folder is ours");
        let mut server = Server::with(folder.path().join("site"), &[&flag, live]);
        let mut client = server.connect();
        assert_eq!(client.get("/a").status, 200);
        eventually("the line is written", || lines(&log).lines().count() == 2);
        fs::rename(&log, &old).expect("the folder is ours");
        assert_eq!(client.get("/a?2").status, 200);
        eventually("the old file goes on", || lines(&old).contains("/a?2"));
        server.signal(Signal::HUP);
        eventually("a new file is there", || log.exists());
        assert_eq!(client.get("/a?3").status, 200);
        eventually("the line is written", || lines(&log).contains("/a?3"));
        // A file that cannot be opened: the log goes on in the old one.
        fs::rename(&log, logs.path().join("older")).expect("the folder is ours");
        fs::create_dir(&log).expect("the folder is ours");
        server.signal(Signal::HUP);
        let warning = server.stderr.find("warning: cannot open");
        assert!(warning.ends_with("again: is a directory; the log goes on in the old file"));
        assert_eq!(client.get("/a?4").status, 200);
        let older = logs.path().join("older");
        eventually("the line is written", || lines(&older).contains("/a?4"));
        fs::remove_dir(&log).expect("the folder is ours");
        server.signal(Signal::TERM);
        assert_eq!(server.process.code(), Some(0));
        assert_eq!(server.stdout.rest(), "");
        assert_eq!(lines(&older).lines().count(), 2);
    }
}
