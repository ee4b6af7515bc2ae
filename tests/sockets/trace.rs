//! The trace of the loop, as a file and for people, and its conversion for a viewer.

use std::fs;
use std::process::Stdio;

use rustix::process::{Resource, Signal};
use serde_json::Value;

use crate::harness::{Client, Finished, Folder, Lines, Process, Server, get, program};
use crate::live::terminal;

/// The members that each kind of line has, and those that it may have.
const MEMBERS: &[(&str, &[&str], &[&str])] = &[
    ("turn", &["events"], &["at_us", "waited_us", "worked_us"]),
    ("accept", &["c", "listener"], &["port"]),
    ("mark", &["c", "ready"], &[]),
    ("read", &["c", "n"], &["end"]),
    ("step", &["c", "from", "to"], &["status"]),
    ("send", &["c", "n", "left"], &["end"]),
    ("fin", &["c"], &[]),
    ("close", &["c", "cause"], &[]),
    ("expire", &["c"], &[]),
    ("effect", &["what"], &["c"]),
    ("postponed", &["c", "why"], &[]),
    ("signal", &["what"], &[]),
    ("lost", &["n"], &[]),
    ("stop", &[], &[]),
];

/// The lines of a trace after the first, each an object with the documented members.
fn checked(text: &str) -> Vec<Value> {
    assert!(text.ends_with('\n'), "the last line is cut");
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    let header = lines.next().expect("a header");
    assert_eq!(header["oneloop-trace"], 1);
    assert_eq!(header["version"], env!("CARGO_PKG_VERSION"));
    let lines: Vec<Value> = lines.collect();
    for line in &lines {
        let kind = line["e"].as_str().expect("a kind");
        let (_, has, may) = MEMBERS
            .iter()
            .find(|(name, ..)| *name == kind)
            .unwrap_or_else(|| panic!("{line}"));
        let members = line.as_object().expect("an object");
        for name in has.iter().chain(&["t", "e"]) {
            assert!(members.contains_key(*name), "no {name}: {line}");
        }
        for name in members.keys() {
            let known = has.iter().chain(*may).chain(&["t", "e"]);
            assert!(known.clone().any(|n| n == name), "{name}: {line}");
        }
    }
    let turns = lines.iter().map(|line| line["t"].as_u64());
    assert!(turns.is_sorted(), "turns in order");
    lines
}

/// Makes two requests, the second for what is not there, and stops the server.
fn visit(mut server: Server) -> Finished {
    let mut client = server.connect();
    assert_eq!(client.get("/a").status, 200);
    assert_eq!(client.get("/none").status, 404);
    drop(client);
    server.signal(Signal::TERM);
    Finished {
        code: server.process.code(),
        stdout: server.stdout.rest(),
        stderr: server.stderr.rest(),
    }
}

#[test]
fn a_trace_in_a_file_has_the_documented_lines_up_to_the_stop() {
    let (folder, out) = (Folder::with("a", "hello"), Folder::new());
    let file = out.put("trace.jsonl", "older text, which is longer than nothing");
    let flag = format!("--trace={}", file.display());
    for clock in [false, true] {
        let mut flags = vec![&*flag, "--log=combined", "--no-live"];
        flags.extend(clock.then_some("--trace-clock"));
        let finished = visit(Server::with(folder.path(), &flags));
        assert_eq!(finished.code, Some(0));
        // The access log is what it was.
        let log: Vec<_> = finished.stdout.lines().collect();
        assert!(log[0].contains(r#""GET /a HTTP/1.1" 200 "#), "{log:?}");
        assert_eq!(log.len(), 2);
        let lines = checked(&fs::read_to_string(&file).expect("it was written"));
        let count = |kind: &str| lines.iter().filter(|line| line["e"] == kind).count();
        assert_eq!((count("accept"), count("close")), (1, 1));
        assert_eq!((count("signal"), count("stop"), count("lost")), (1, 1, 0));
        assert_eq!(lines.last().expect("a line")["e"], "stop");
        let statuses = lines.iter().filter_map(|line| line["status"].as_u64());
        assert_eq!(statuses.collect::<Vec<_>>(), [200, 404]);
        for line in &lines {
            let times = ["at_us", "waited_us", "port"].map(|name| line.get(name).is_some());
            let expected = match line["e"].as_str() {
                Some("turn") => [clock, clock, false],
                Some("accept") => [false, false, clock],
                _ => [false; 3],
            };
            assert_eq!(times, expected, "{line}");
        }
    }
}

#[test]
fn a_trace_for_people_is_on_standard_error_without_colour() {
    let folder = Folder::with("a", "hello");
    let server = Server::with(folder.path(), &["--trace=pretty", "--log=combined"]);
    let finished = visit(server);
    assert_eq!(finished.code, Some(0));
    assert_eq!(finished.stdout.lines().count(), 2, "{}", finished.stdout);
    for words in [
        "turn ",
        "0#1  accepted by listener 0\n",
        "0#1  ReadingHead -> ReadingHead, answers 200\n",
        "0#1  ReadingHead -> ReadingHead, answers 404\n",
        "0#1  closed: closed by the peer\n",
        "signal to stop\n",
        "the loop has stopped\n",
    ] {
        assert!(finished.stderr.contains(words), "{}", finished.stderr);
    }
    assert!(!finished.stderr.contains('\x1b'));
}

#[test]
fn a_trace_has_colour_on_a_terminal_that_shows_colour() {
    let folder = Folder::with("a", "hello");
    for (name, value, colour) in [
        ("TERM", "xterm", true),
        ("TERM", "dumb", false),
        ("NO_COLOR", "1", false),
    ] {
        let (person, terminal) = terminal();
        let mut command = program();
        command.env("TERM", "xterm").env(name, value);
        command.arg(folder.path());
        command.args(["-p", "0", "--trace=pretty", "--log=off"]);
        let _process = Process::with_outputs(&mut command, Stdio::null(), terminal.into());
        let mut lines = Lines::of(person.into());
        let address = lines.find("http://").replace(['/', '\r'], "");
        let mut client = Client::to(address.parse().expect("an address"));
        assert_eq!(client.get("/a").status, 200);
        let line = std::iter::from_fn(|| lines.next()).find(|line| line.contains("answers 200"));
        let line = line.expect("a line");
        assert_eq!(line.starts_with("\x1b[36m"), colour, "{line}");
        assert_eq!(line.contains('\x1b'), colour, "{line}");
    }
}

#[test]
fn a_trace_that_cannot_be_made_is_an_error_at_the_start() {
    let folder = Folder::with("a", "hello");
    let absent = folder.path().join("none/trace");
    for (file, words) in [
        (absent.as_path(), "name a file in a directory that is there"),
        (folder.path(), "name a file, or a pipe that is read already"),
    ] {
        let command = &mut program();
        command.arg(folder.path()).arg("--trace").arg(file);
        let finished = Process::start(command.args(["-p", "0"])).finish();
        assert_eq!(finished.code, Some(1));
        let said = format!("error: cannot write the trace to {}: ", file.display());
        assert!(finished.stderr.starts_with(&said), "{}", finished.stderr);
        assert!(finished.stderr.ends_with(&format!("; {words}\n")));
        assert_eq!(finished.stderr.lines().count(), 1);
    }
}

#[test]
fn a_full_disk_is_told_once_and_stops_nobody() {
    let folder = Folder::with("a", "hello");
    let server = Server::with(folder.path(), &["--trace=/dev/full", "--log=off"]);
    let finished = visit(server);
    assert_eq!(finished.code, Some(0));
    let said = "warning: the trace cannot be written: No space left on device";
    assert_eq!(finished.stderr.matches(said).count(), 1);
    let end = "lines of the trace were not written\n";
    assert!(finished.stderr.contains(end), "{}", finished.stderr);
}

/// The file reaches its largest size in the middle of a line, and may grow again later.
#[test]
fn a_trace_that_may_grow_again_has_whole_lines_and_says_how_many_are_missing() {
    let (folder, out) = (Folder::with("a", "hello"), Folder::new());
    let file = out.path().join("trace");
    let flag = format!("--trace={}", file.display());
    let mut server = Server::with(folder.path(), &[&flag, "--log=off", "--no-live"]);
    server.process.limit(Resource::Fsize, Some(5_000), None);
    let mut client = server.connect();
    // Each request makes some three hundred bytes, and 64 KiB wait in memory.
    for _ in 0..500 {
        assert_eq!(client.get("/a").status, 200);
    }
    let size = fs::metadata(&file).expect("it was made").len();
    assert_eq!(size, 5_000);
    server.process.limit(Resource::Fsize, None, None);
    assert_eq!(client.get("/a").status, 200);
    drop(client);
    server.signal(Signal::TERM);
    assert_eq!(server.process.code(), Some(0));
    let text = fs::read_to_string(&file).expect("it was written");
    let lines = checked(&text);
    let lost = lines.iter().filter(|line| line["e"] == "lost");
    let lost: u64 = lost.map(|line| line["n"].as_u64().expect("a number")).sum();
    assert!(lost > 0, "{} lines", lines.len());
    assert_eq!(lines.last().expect("a line")["e"], "stop");
}

#[test]
fn a_trace_that_nobody_reads_stops_nobody() {
    let folder = Folder::with("a", "hello");
    let mut server = Server::with(folder.path(), &["--trace=pretty", "--log=off", "--no-live"]);
    let mut client = server.connect();
    // The pipe and the buffer have 64 KiB each, and a request makes some two hundred bytes.
    for _ in 0..1_500 {
        assert_eq!(client.get("/a").status, 200);
    }
    let missing = " records are missing: the output was too slow";
    let mut said = None;
    while said.is_none() {
        assert_eq!(client.get("/a").status, 200);
        while said.is_none() && server.stderr.is_waiting() {
            let line = server.stderr.next().expect("it goes on");
            said = line.strip_suffix(missing).map(str::to_owned);
        }
    }
    let count = said.and_then(|count| count.parse::<u64>().ok());
    assert!(count > Some(0), "{count:?}");
}

#[test]
fn a_trace_is_converted_for_a_viewer() {
    let (folder, out) = (Folder::with("a", "hello"), Folder::new());
    let file = out.path().join("trace.jsonl");
    let flag = format!("--trace={}", file.display());
    visit(Server::with(folder.path(), &[&flag, "--trace-clock"]));
    let chrome = out.path().join("chrome.json");
    let convert = |text: Option<&str>| {
        if let Some(text) = text {
            fs::write(&file, text).expect("the folder is ours");
        }
        let mut command = program();
        let command = command.arg("trace").arg(&file).arg("--chrome").arg(&chrome);
        Process::start(command).finish()
    };
    let finished = convert(None);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains(" turns converted; open "));
    let text = fs::read_to_string(&chrome).expect("it was written");
    let objects: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    for name in ["turn 1", "slot 0", "0#1", "ReadingHead"] {
        let has = |o: &Value| o["name"] == name || o["args"]["name"] == name;
        assert!(objects.iter().any(has), "{name}");
    }
    let ends = objects.iter().filter(|o| o["ph"] == "f").count();
    assert_eq!(ends, 2, "two requests");

    let text = fs::read_to_string(&file).expect("it was written");
    let cut = convert(Some(&text[..text.len() - 5]));
    assert_eq!(cut.code, Some(0));
    assert!(
        cut.stderr.contains("the last line is cut"),
        "{}",
        cut.stderr
    );
    let before = fs::read(&chrome).expect("it was written");
    let broken = convert(Some(&text.replacen("\"e\"", "e", 3)));
    assert_eq!(broken.code, Some(1));
    assert!(broken.stderr.contains(": line 2: "), "{}", broken.stderr);
    // The last conversion that was complete is still there, and nothing else.
    assert!(fs::read(&chrome).expect("it was written") == before);
    assert_eq!(fs::read_dir(out.path()).expect("ours").count(), 2);
    fs::write(&file, &text).expect("the folder is ours");
    let mut command = program();
    command
        .arg("trace")
        .arg(&file)
        .args(["--chrome", "/dev/stdout"]);
    let piped = Process::start(&mut command).finish();
    assert_eq!(piped.code, Some(0), "{}", piped.stderr);
    assert!(serde_json::from_str::<Value>(&piped.stdout).is_ok());

    let same = Process::start(program().arg("trace").arg(&file).arg("--chrome").arg(&file));
    let same = same.finish();
    assert_eq!(same.code, Some(1));
    assert!(
        same.stderr.contains("is the trace itself"),
        "{}",
        same.stderr
    );
}

#[test]
fn the_word_trace_alone_explains_and_a_folder_of_that_name_is_served() {
    let finished = Process::start(program().arg("trace")).finish();
    assert_eq!(finished.code, Some(2));
    assert!(
        finished
            .stderr
            .contains("oneloop trace --chrome <OUT> <FILE>")
    );
    let folder = Folder::new();
    folder.put("trace/a", "hello");
    let mut command = program();
    command.current_dir(folder.path());
    command.args(["./trace", "-p", "0", "--log", "off"]);
    let server = Server::with_input(&mut command, Stdio::null());
    let mut client = server.connect();
    client.send(get("/a"));
    assert_eq!(client.answer().status, 200);
}

/// Each write to a file in a watched directory is an event, and each event makes a turn: the record of that turn
/// must not be the next write.
#[test]
fn a_trace_in_the_served_folder_does_not_feed_itself() {
    let folder = Folder::with("index.html", "<!doctype html><title>a</title>");
    let trace = folder.path().join("trace.jsonl");
    let flag = format!("--trace={}", trace.display());
    let server = Server::with(folder.path(), &["--live", &flag]);
    let page = [
        "Sec-Fetch-Dest: document",
        "Sec-Fetch-Mode: navigate",
        "Accept: text/html",
    ];
    assert_eq!(server.connect().ask("/", &page).status, 200);
    let turns = || {
        let status = server.connect().get("/_oneloop/status.json");
        let status: serde_json::Value = serde_json::from_slice(&status.body).expect("JSON");
        status["loop"]["turns"].as_u64().expect("a number")
    };
    let before = turns();
    let asked = 100;
    let made = (0..asked).fold(before, |_, _| turns()) - before;
    assert!(made < 20 * asked, "{made} turns for {asked} requests");
}
