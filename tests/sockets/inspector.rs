//! The inspector: what it shows of scripted clients, who may look, and that watching costs little.
//!
//! Snapshots come ten times a second, so a test that waits for one reads snapshots until it comes.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::curl::curl;
use crate::harness::{BIG, Client, Folder, Server, eventually, get};
use crate::peer::{BINARY, FIN, Peer, assert_switched, frame, handshake};

const CONTROL: [&str; 3] = ["--log", "off", "--inspect=control"];

/// The paths of the inspector that answer without WebSocket.
const PATHS: [&str; 5] = [
    "/_oneloop/",
    "/_oneloop/report",
    "/_oneloop/status.json",
    "/_oneloop/ring",
    "/_oneloop/inspector.js",
];

/// The snapshots that a test reads at most: half a minute of them.
const SNAPSHOTS: usize = 300;

/// A client that watches.
pub struct Watcher {
    pub peer: Peer,
    pub hello: Value,
}

impl Watcher {
    pub fn of(address: SocketAddr) -> Watcher {
        let mut client = Client::to(address);
        client.send(handshake("/_oneloop/watch", &[]));
        assert_switched(&client.head());
        Watcher::over(Peer::over(client))
    }

    fn over(peer: Peer) -> Watcher {
        let hello = Value::Null;
        let mut watcher = Watcher { peer, hello };
        watcher.hello = watcher.hear()["hello"].take();
        watcher
    }

    pub fn hear(&mut self) -> Value {
        serde_json::from_str(&self.peer.hear()).expect("it is JSON")
    }

    pub fn say(&mut self, message: &Value) {
        self.peer.say(&message.to_string());
    }

    pub fn control(&mut self, control: &str) {
        self.say(&json!({ "control": control }));
    }

    /// Reads snapshots until one is as expected.
    pub fn await_snapshot(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..SNAPSHOTS {
            last = self.hear();
            if is(&last) {
                return last;
            }
        }
        panic!("no snapshot with {what}: {last}");
    }

    /// Reads snapshots until the loop has this pace.
    pub fn await_pace(&mut self, pace: &str) -> Value {
        self.await_snapshot(pace, |snapshot| snapshot["pace"] == pace)
    }
}

/// The row of a connection by the port of its client.
fn row(snapshot: &Value, client: &Client) -> Option<Value> {
    let address = client.local_address().to_string();
    let rows = snapshot["slots"]["list"].as_array().expect("rows");
    rows.iter().find(|row| row[2] == address).cloned()
}

/// The letter of a connection.
fn letter(snapshot: &Value, client: &Client) -> String {
    let row = row(snapshot, client);
    row.map_or(String::new(), |row| {
        row[1].as_str().expect("a letter").into()
    })
}

#[test]
fn nothing_is_there_when_it_is_off() {
    let server = Server::with(Folder::new().path(), &["--log", "off", "--inspect=off"]);
    let mut client = server.connect();
    for path in PATHS {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    client.send(handshake("/_oneloop/watch", &[]));
    assert_eq!(client.head().status, 404);
}

#[test]
fn browsers_get_a_page_that_loads_only_files_of_this_server() {
    let server = Server::of(Folder::new().path());
    let mut client = server.connect();
    let answer = client.get("/_oneloop");
    let moved = (answer.status, answer.field("Location"));
    assert_eq!(moved, (303, Some("/_oneloop/")));
    let page = client.ask("/_oneloop/", &["Accept: text/html,*/*;q=0.8"]);
    assert_eq!(page.status, 200);
    assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
    let policy = page.field("Content-Security-Policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.ends_with("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.field("Cross-Origin-Opener-Policy"), None);
    // The page is sent as it is, without the script of live reload.
    assert!(!page.text().contains("live-"), "{}", page.text());
    for file in page.text().split(['"', '\'']) {
        let media_type = match file.rsplit_once('.') {
            Some((_, "js")) => "text/javascript; charset=utf-8",
            Some((_, "css")) => "text/css; charset=utf-8",
            _ => continue,
        };
        let answer = client.get(&format!("/_oneloop/{}", file.trim_start_matches("./")));
        assert_eq!(answer.status, 200, "{file}");
        assert_eq!(answer.field("Content-Type"), Some(media_type), "{file}");
        assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"));
    }
}

#[test]
fn curl_gets_a_table_that_fits_a_terminal() {
    let server = Server::of(Folder::new().path());
    let mut part = server.connect();
    part.send("GET / HTTP/1.1\r\nHo");
    let mut peer = Peer::of(&server, "/echo");
    peer.say("hello");
    assert_eq!(peer.hear(), "hello");
    let Some(shown) = curl(&server, &[], "/_oneloop/") else {
        return;
    };
    let table = shown.stdout;
    assert!(
        table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );
    for (client, letter) in [(&part, "R"), (&peer, "W")] {
        let address = client.local_address().to_string();
        let mut lines = table.lines();
        let line = lines.find(|line| line.contains(&address));
        let line = line.unwrap_or_else(|| panic!("{address}: {table}"));
        assert_eq!(line.split_whitespace().nth(1), Some(letter), "{line}");
    }
    assert!(table.contains("3 open, 0 watching"), "{table}");
    let shown = curl(&server, &[], "/_oneloop/?filter=W").expect("it is there");
    let rows = shown.stdout.lines().filter(|line| line.contains('#'));
    assert_eq!(rows.count(), 1, "{}", shown.stdout);
}

#[test]
fn a_report_is_there_and_a_signal_adds_the_connections() {
    let mut server = Server::of(Folder::new().path());
    let mut client = server.connect();
    let report = client.get("/_oneloop/report");
    assert!(
        report.text().starts_with("the loop after "),
        "{}",
        report.text()
    );
    for times in ["service", "turns"] {
        let table = client.get(&format!("/_oneloop/report?times={times}"));
        assert!(table.text().contains("Percentile"), "{}", table.text());
    }
    server.signal(rustix::process::Signal::USR1);
    server.stderr.find("the loop after ");
    server.stderr.find("key ");
    let row = server.stderr.next().expect("a row");
    assert!(row.contains(&client.local_address().to_string()), "{row}");
}

/// The slots before the last 256 are empty, and the table goes on to the last ones.
#[test]
fn a_table_goes_on_until_it_is_full() {
    let server = Server::of(Folder::new().path());
    let early: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    let mut late = server.connect();
    let full = late.get("/_oneloop/");
    let rows = full.text().lines().filter(|line| line.contains('#'));
    assert_eq!(rows.count(), 256);
    assert!(full.text().contains("?from=256"), "{}", full.text());
    early.into_iter().for_each(Client::reset);
    eventually("the others are gone", || {
        let table = late.get("/_oneloop/");
        let rows = table.text().lines().filter(|line| line.contains('#'));
        rows.count() == 1 && !table.text().contains("?from")
    });
}

/// A slow reader, a connection that was opened ahead of need, a part of a head, and a WebSocket connection.
#[test]
fn a_snapshot_shows_each_client_as_it_is() {
    let folder = Folder::new();
    folder.put_big_hole("big");
    let server = Server::of(folder.path());
    let mut slow = server.connect();
    slow.request("/big");
    slow.await_something();
    let ahead = server.connect();
    let mut part = server.connect();
    part.send("GET / HTTP/1.1\r\n");
    let mut echo = Peer::of(&server, "/echo");
    echo.say("hello");
    assert_eq!(echo.hear(), "hello");
    let mut watcher = Watcher::of(server.address());
    let snapshot = watcher.await_snapshot("four clients", |snapshot| {
        let letters = [&slow, &ahead, &part, &echo].map(|client| letter(snapshot, client));
        letters == ["S", "·", "R", "W"] && row(snapshot, &slow).is_some_and(|row| row[5] != 0)
    });
    let part_row = row(&snapshot, &part).expect("it is open");
    assert_eq!((&part_row[4], &part_row[5]), (&json!(16), &json!(0)));
    assert_eq!(row(&snapshot, &ahead).expect("it is open")[4], 0);
    // The watcher is in the list, and is not counted.
    let you = letter(&snapshot, &watcher.peer);
    assert_eq!((you.as_str(), &snapshot["watchers"]), ("W", &json!(1)));
    let own = row(&snapshot, &watcher.peer).expect("it is open");
    assert_eq!(own[0], watcher.hello["you"]);
    assert_eq!(snapshot["counters"]["open"], 4);
    let modes = json!({
        "R": 2, "B": 0, "A": 0, "F": 0, "S": 1, "W": 1, "U": 0, "T": 0, "L": 0
    });
    assert_eq!(snapshot["modes"], modes);
    // The ways that they have taken, and who took them last.
    let ways = watcher.hello["transitions"].as_array().expect("ways");
    let at = |from: &str, to: &str| {
        let found = ways.iter().position(|way| way[0] == from && way[1] == to);
        snapshot["ways"][found.expect("a way")].clone()
    };
    let slow_key = row(&snapshot, &slow).expect("it is open")[0].clone();
    assert_eq!(at("ReadingHead", "Streaming"), json!([1, slow_key]));
    assert_eq!(at("ReadingHead", "WebSocket")[0], 2);
    assert_eq!(at("Lingering", "Closed"), json!([0, null]));
    // One of them in detail.
    watcher.say(&json!({ "pick": slow_key }));
    let snapshot = watcher.await_snapshot("the picked", |s| s["picked"]["key"] == slow_key);
    let picked = &snapshot["picked"];
    assert_eq!(picked["mode"], "Streaming");
    assert!(picked["outbox"].as_u64() > Some(0), "{picked}");
    assert!(picked["sent"].as_u64() < Some(BIG as u64), "{picked}");
    assert_eq!(picked["ready"]["writable"], false, "{picked}");
    // In a sandbox, the kernel may not say.
    if let Some(queue) = picked["kernel"]["send_queue"].as_u64() {
        assert!(queue > 0, "{picked}");
    }
    // A filter leaves the others out.
    watcher.say(&json!({ "view": { "from": 0, "filter": "S" } }));
    let is_filtered = |s: &Value| s["slots"]["list"].as_array().is_some_and(|l| l.len() == 1);
    let snapshot = watcher.await_snapshot("the filter", is_filtered);
    assert_eq!(snapshot["slots"]["list"][0][0], slow_key);
    // What is closed is told as such, and counted by its cause.
    slow.reset();
    let snapshot = watcher.await_snapshot("the end", |s| s["picked"]["mode"] == "Closed");
    assert_eq!(snapshot["picked"]["cause"], "reset");
    let causes = watcher.hello["causes"].as_array().expect("causes");
    let reset = causes.iter().position(|cause| cause[0] == "reset");
    assert_eq!(snapshot["closed"][reset.expect("a cause")], 1);
}

#[test]
fn snapshots_come_ten_times_a_second_at_most_and_their_turns_add_up() {
    let server = Server::of(Folder::new().path());
    let mut watcher = Watcher::of(server.address());
    let mut before = watcher.hear();
    for _ in 0..10 {
        // Wishes cause no snapshot.
        for _ in 0..20 {
            watcher.say(&json!({ "view": { "from": 0, "to": 10, "filter": "" } }));
        }
        let snapshot = watcher.hear();
        let at = |snapshot: &Value| snapshot["at_ms"].as_f64().expect("a time");
        assert!(at(&snapshot) - at(&before) >= 100.0, "{before} {snapshot}");
        let turn = |snapshot: &Value| snapshot["turn"].as_u64().expect("a number");
        let span = &snapshot["span"];
        assert_eq!(span["turns"], turn(&snapshot) - turn(&before));
        let turns = snapshot["turns"].as_array().expect("turns");
        let shown = span["turns"].as_u64().expect("a number").min(64);
        assert_eq!(turns.len() as u64, shown, "{snapshot}");
        assert_eq!(turns.last().expect("a turn")[0], turn(&snapshot) - 1);
        before = snapshot;
    }
}

/// A client whose last request is being answered, while the kernel holds nearly as much for it as it can:
/// the client has taken only a part of the answers before.
fn clogged(server: &Server, request: &[u8], mut is_there: impl FnMut() -> bool) -> Client {
    let mut client = server.connect();
    client.narrow();
    client.send([get("/chunk").repeat(CHUNKS).as_bytes(), request].concat());
    client.await_something();
    for _ in 0..CHUNKS / 10 {
        if is_there() {
            return client;
        }
        (0..10).for_each(|_| assert_eq!(client.answer().status, 200));
    }
    panic!("all of it fits into the kernel");
}

/// The number of answers that are more than the kernel holds, and the bytes of each.
const CHUNKS: usize = 400;
const CHUNK_BYTES: usize = 32 << 10;

/// The others see that no more than a snapshot waits for a watcher that does not read.
#[test]
fn a_watcher_that_does_not_read_misses_snapshots_and_holds_little() {
    let folder = Folder::with("chunk", vec![0; CHUNK_BYTES]);
    let server = Server::of(folder.path());
    let others: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    let mut watcher = Watcher::of(server.address());
    let request = handshake("/_oneloop/watch", &[]);
    let mut silent = clogged(&server, &request, || watcher.hear()["watchers"] == 2);
    let key = row(&watcher.hear(), &silent).expect("it is open")[0].clone();
    watcher.say(&json!({ "pick": key }));
    let outbox = |s: &Value| s["picked"]["outbox"].as_u64().unwrap_or(0);
    let mut waiting = outbox(&watcher.await_snapshot("a full buffer", |s| outbox(s) > 0));
    for _ in 0..5 {
        let now = outbox(&watcher.hear());
        assert!(now <= waiting, "{now} bytes wait, and {waiting} did before");
        waiting = now;
    }
    assert!(waiting < 128 << 10, "{waiting} bytes");
    let mut answer = silent.head();
    while answer.status == 200 {
        silent.bytes(answer.len());
        answer = silent.head();
    }
    assert_switched(&answer);
    let mut silent = Watcher::over(Peer::over(silent));
    assert_eq!(silent.hello["you"], key);
    let late = silent.await_snapshot("a gap", |s| s["skipped"].as_u64() > Some(0));
    assert!(late["span"]["turns"].as_u64() > Some(0));
    drop(others);
}

#[test]
fn what_is_no_message_of_a_watcher_changes_nothing() {
    let server = Server::of(Folder::new().path());
    let mut watcher = Watcher::of(server.address());
    for text in [
        "",
        "[",
        "null",
        "{\"view\":7}",
        "{\"pick\":{}}",
        "{\"control\":\"x\"}",
    ] {
        watcher.peer.say(text);
    }
    watcher.peer.say(&"[".repeat(4_000));
    watcher.peer.send(frame(FIN | BINARY, b"\xff"));
    // Controls need their flag.
    assert_eq!(watcher.hello["control"], false);
    watcher.control("pause");
    watcher.control("block");
    watcher.say(&json!({ "pick": watcher.hello["you"] }));
    let snapshot = watcher.await_snapshot("the picked", |s| s["picked"] != Value::Null);
    assert_eq!(
        (&snapshot["pace"], snapshot.get("blocked")),
        (&json!("run"), None)
    );
    watcher.peer.say(&" ".repeat(5_000));
    for _ in 0..SNAPSHOTS {
        if watcher.peer.frame().first == FIN | crate::peer::CLOSE {
            return;
        }
    }
    panic!("a large message is not refused");
}

#[test]
fn only_so_many_may_watch() {
    let server = Server::of(Folder::new().path());
    let mut watchers: Vec<_> = (0..16).map(|_| Watcher::of(server.address())).collect();
    let mut client = server.connect();
    client.send(handshake("/_oneloop/watch", &[]));
    assert_eq!(client.answer().status, 503);
    let last = watchers.pop().expect("there are some");
    drop(last);
    watchers[0].await_snapshot("fifteen", |s| s["watchers"] == 15);
    Watcher::of(server.address());
}

#[test]
fn the_flight_recorder_is_sent_whole_while_the_loop_goes_on() {
    let folder = Folder::with("a", "hello");
    let server = Server::of(folder.path());
    let address = server.address();
    let mut traffic = server.connect();
    let (pipelined, count) = (get("/a").repeat(100), 100);
    let mut rounds = |n: usize| {
        for _ in 0..n {
            traffic.send(&pipelined);
            (0..count).for_each(|_| assert_eq!(traffic.answer().status, 200));
        }
    };
    rounds(200);
    let mut client = Client::to(address);
    client.request("/_oneloop/ring");
    client.await_something();
    rounds(20);
    let mut answer = client.head();
    assert_eq!(answer.field("Content-Type"), Some("application/jsonl"));
    answer.body = client.chunks();
    let lines = answer
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    assert_eq!(
        (&lines[0]["oneloop-trace"], &lines[0]["wrapped"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(lines.len() - 1, 1 << 14);
    let turns = lines.iter().filter_map(|line| line["t"].as_u64());
    assert!(turns.is_sorted(), "they are in order");
    let times = lines.iter().filter(|line| line["e"] == "turn");
    let times: Vec<_> = times
        .map(|line| line["at_us"].as_u64().expect("a time"))
        .collect();
    assert!(times.len() > 10 && times.is_sorted());
    // The connection goes on.
    assert_eq!(client.get("/a").text(), "hello");
}

#[test]
fn pages_of_others_and_names_of_others_are_refused() {
    let server = Server::with(Folder::new().path(), &["--log", "off", "--cors=any"]);
    let ask = |target: &str, host: &str, fields: &str| {
        let mut client = server.connect();
        client.send(format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
        ));
        client.head().status
    };
    for path in PATHS {
        assert_eq!(ask(path, "localhost", ""), 200, "{path}");
        // A name that rebinds to this machine.
        assert_eq!(ask(path, "evil.example", ""), 403, "{path}");
        for fields in [
            "Origin: http://evil.example\r\n",
            "Origin: http://localhost:5173\r\n",
            "Origin: null\r\n",
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
            "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors\r\n",
        ] {
            assert_eq!(ask(path, "localhost", fields), 403, "{path} {fields}");
        }
        for fields in [
            "Origin: http://localhost\r\n",
            "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n",
            // A link may lead here.
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n",
        ] {
            assert_eq!(ask(path, "localhost", fields), 200, "{path} {fields}");
        }
    }
    for (field, status) in [
        ("Origin: http://evil.example", 403),
        ("Origin: null", 403),
        ("Origin: http://localhost", 101),
    ] {
        let mut client = server.connect();
        client.send(handshake("/_oneloop/watch", &[field]));
        assert_eq!(client.head().status, status, "{field}");
    }
    let mut client = server.connect();
    let request = String::from_utf8(handshake("/_oneloop/watch", &[])).expect("text");
    client.send(request.replace("localhost", "evil.example"));
    assert_eq!(client.head().status, 403);
}

#[test]
fn the_password_is_for_the_inspector_too() {
    let server = Server::with(Folder::new().path(), &["--log", "off", "--auth", "a:b"]);
    let mut client = server.connect();
    for path in PATHS {
        assert_eq!(client.get(path).status, 401, "{path}");
        let known = client.ask(path, &["Authorization: Basic YTpi"]);
        assert_eq!(known.status, 200, "{path}");
    }
    client.send(handshake("/_oneloop/watch", &[]));
    assert_eq!(client.head().status, 401);
}

#[test]
fn a_paused_loop_serves_the_inspector_alone() {
    let folder = Folder::with("a", "hello");
    let server = Server::with(folder.path(), &CONTROL);
    let mut client = server.connect();
    assert_eq!(client.get("/a").text(), "hello");
    let mut watcher = Watcher::of(server.address());
    assert_eq!(watcher.hello["control"], true);
    watcher.control("pause");
    assert_eq!(watcher.await_pace("paused")["paused"], true);
    client.request("/a");
    // The request of a new client is held back too, unless it is for the inspector.
    let mut late = server.connect();
    late.request("/a");
    let mut other = server.connect();
    let status = other.get("/_oneloop/status.json");
    let status: Value = serde_json::from_str(status.text()).expect("JSON");
    assert_eq!(status["pace"], "paused");
    let unread = get("/a").len() as u64;
    watcher.await_snapshot("both requests", |snapshot| {
        let rows = [&client, &late].map(|client| row(snapshot, client));
        rows.iter()
            .all(|row| row.as_ref().is_some_and(|row| row[4] == unread))
    });
    let why = watcher.hear();
    let why = &row(&why, &client).expect("it is open")[3];
    assert!(
        why.as_str()
            .is_some_and(|why| why.starts_with("held back: ")),
        "{why}"
    );
    assert!(client.is_silent() && late.is_silent());
    assert_eq!(other.ask("/_oneloop/ring", &[]).status, 200);
    // A step is a turn for the others.
    watcher.control("step");
    assert_eq!(
        [&mut client, &mut late].map(|c| c.answer().status),
        [200; 2]
    );
    client.request("/a");
    watcher.await_snapshot("the next request", |snapshot| {
        row(snapshot, &client).is_some_and(|row| row[4] == unread)
    });
    assert!(client.is_silent());
    watcher.control("run");
    assert_eq!(client.answer().status, 200);
    assert_eq!(watcher.await_pace("run")["paused"], false);
    watcher.control("slow");
    watcher.await_pace("slow");
    assert_eq!(client.get("/a").status, 200);
}

#[test]
fn a_loop_that_nobody_watches_runs() {
    let folder = Folder::with("a", "hello");
    let server = Server::with(folder.path(), &CONTROL);
    let mut client = server.connect();
    for how in ["pause", "slow"] {
        let mut watcher = Watcher::of(server.address());
        watcher.control(how);
        watcher.await_snapshot(how, |snapshot| snapshot["pace"] != "run");
        client.request("/a");
        drop(watcher);
        assert_eq!(client.answer().status, 200);
    }
    // Nor does a pause hold up a stop.
    let mut watcher = Watcher::of(server.address());
    watcher.control("pause");
    watcher.await_pace("paused");
    server.signal(rustix::process::Signal::TERM);
    client.assert_end();
}

#[test]
fn a_blocked_loop_stands_still_and_then_shows_it() {
    let folder = Folder::with("a", "hello");
    let server = Server::with(folder.path(), &CONTROL);
    let mut clients: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    let mut watcher = Watcher::of(server.address());
    watcher.control("block");
    clients.iter_mut().for_each(|client| client.request("/a"));
    let snapshot = watcher.await_snapshot("the block", |s| s.get("blocked").is_some());
    let blocked = &snapshot["blocked"];
    assert!(blocked["worked_us"].as_f64() >= Some(2e6), "{blocked}");
    assert!(
        snapshot["span"]["longest_us"].as_f64() >= Some(2e6),
        "{snapshot}"
    );
    clients
        .iter_mut()
        .for_each(|client| assert_eq!(client.answer().status, 200));
}

/// Another page of this machine may open other WebSocket connections here, and not this one. A proxy on this
/// machine may speak for a client from anywhere.
#[test]
fn only_this_server_s_own_pages_may_watch() {
    let folder = Folder::with("a", "hello");
    let server = Server::with(folder.path(), &["--inspect=control"]);
    let opening = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    let host = format!("localhost:{}", server.address().port());
    let own = format!("Origin: http://{host}");
    for (field, status) in [
        (&*own, 101),
        ("Origin: http://localhost:1", 403),
        ("X-Forwarded-For: 192.0.2.1", 403),
        ("Forwarded: for=192.0.2.1", 403),
    ] {
        let mut client = server.connect();
        let line = "GET /_oneloop/watch HTTP/1.1";
        client.send(format!(
            "{line}\r\nHost: {host}\r\n{field}\r\n{opening}\r\n\r\n"
        ));
        assert_eq!(client.head().status, status, "{field}");
    }
    let mut client = server.connect();
    let status = client
        .ask("/_oneloop/status.json", &["X-Forwarded-For: 192.0.2.1"])
        .status;
    assert_eq!(status, 403);
}
