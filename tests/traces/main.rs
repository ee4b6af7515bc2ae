//! The lives in `src/lives.rs` are true: the same acts of clients give the traces that stand there, and
//! give them again. `ONELOOP_BLESS=1 cargo test --test traces` writes the traces in the page anew.

mod inspector;
mod world;

use std::fs;
use std::path::Path;
use std::time::Duration;

use world::{Act, LARGE, SEND_BUFFER, Visit};

use Act::{Close, Connect, Send, Take, Wait};

/// The acts of a life. Each list comes at once, and its trace has a block in the page.
type Life = Vec<Vec<Act>>;

fn get(client: usize, path: &str) -> Act {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    Send(client, request.into_bytes())
}

/// A client asks for a small file twice, and leaves. Another one connects, and asks for nothing.
fn request() -> Life {
    vec![
        vec![Connect, get(0, "/hello.txt")],
        vec![get(0, "/hello.txt")],
        vec![Close(0)],
        vec![Connect],
        vec![Wait(Duration::from_secs(31))],
    ]
}

/// A client asks for a file that is larger than the buffers of the kernels, and reads all of it. The next
/// request comes before the end.
fn large_file() -> Life {
    vec![
        vec![Connect, get(0, "/large.bin")],
        vec![get(0, "/hello.txt")],
        vec![Take(0, SEND_BUFFER)],
        vec![Take(0, SEND_BUFFER)],
    ]
}

/// A client asks for the same file, and reads little of it, and then nothing. The first two lists have no
/// block: one is that of the large file, and the other has no trace.
fn slow_reader() -> Life {
    vec![
        vec![Connect, get(0, "/large.bin")],
        vec![Take(0, 10_000)],
        vec![Take(0, 50_000)],
        vec![Wait(Duration::from_secs(31))],
    ]
}

/// Three members of a room, of which one says hello. The acts before the last have no block.
fn room_message() -> Life {
    let join = |client: usize| {
        let request = "GET /rooms/a HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        vec![Connect, Send(client, request.into())]
    };
    // The example of RFC 6455 §5.7.
    let hello = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec();
    vec![join(0), join(1), join(2), vec![Send(0, hello)]]
}

/// Lives a life. Returns the trace of each list of acts.
fn live(life: &Life) -> Vec<String> {
    let mut visit = Visit::new();
    life.iter().map(|acts| visit.act(acts)).collect()
}

/// The traces in the order of the page.
fn all() -> Vec<String> {
    let slow = live(&slow_reader()).split_off(2);
    let room = live(&room_message()).split_off(3);
    [live(&request()), live(&large_file()), slow, room].concat()
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lives.rs");
    fs::read_to_string(path).expect("it is there")
}

const FENCE: &str = "//! ```text\n";
const END: &str = "//! ```\n";

/// The page with these traces in place of its blocks, which begin with a line of a trace or are empty.
fn page_with(page: &str, traces: &[String]) -> String {
    let mut traces = traces.iter();
    let mut out = String::new();
    let mut rest = page;
    while let Some(at) = rest.find(FENCE) {
        let (before, block) = rest.split_at(at + FENCE.len());
        let end = block.find(END).expect("a block has an end");
        out += before;
        match block[..end].starts_with("//! {") || end == 0 {
            true => {
                let trace = traces.next().expect("no more blocks than traces");
                out.extend(trace.lines().map(|line| format!("//! {line}\n")));
            }
            false => out += &block[..end],
        }
        rest = &block[end..];
    }
    assert_eq!(traces.next(), None, "a trace without a block");
    out + rest
}

#[test]
fn the_lives_in_the_docs_are_what_happens() {
    let (page, traces) = (page(), all());
    let expected = page_with(&page, &traces);
    if std::env::var_os("ONELOOP_BLESS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lives.rs");
        fs::write(path, &expected).expect("the folder is ours");
    } else {
        assert!(
            page == expected,
            "ONELOOP_BLESS=1 writes it anew:\n{expected}"
        );
    }
}

/// The beginning is not told twice, and a little space is no edge.
#[test]
fn a_slow_reader_begins_as_the_page_says() {
    let slow = live(&slow_reader());
    assert_eq!(slow[0], live(&large_file())[0]);
    assert_eq!(slow[1], "");
}

#[test]
fn the_same_acts_give_the_same_trace() {
    assert_eq!(all(), all());
}

/// The trace is in the order of events, so it shows how the bytes came.
#[test]
fn another_cut_gives_another_trace() {
    let whole = live(&vec![vec![Connect], vec![get(0, "/hello.txt")]]).concat();
    let Send(_, bytes) = get(0, "/hello.txt") else {
        unreachable!("it is sent")
    };
    for at in 1..bytes.len() {
        let (first, second) = bytes.split_at(at);
        let halves = [first, second].map(|half| vec![Send(0, half.to_vec())]);
        let cut = live(&[vec![vec![Connect]], halves.to_vec()].concat()).concat();
        assert_ne!(cut, whole, "cut at {at}");
        assert_eq!(cut.matches(r#""status":200"#).count(), 1, "cut at {at}");
    }
}

/// The table of the page: where each byte of the answer lies.
#[test]
fn the_bytes_of_a_slow_reader_lie_where_the_page_says() {
    let (page, mut visit) = (page(), Visit::new());
    let mut rows = [const { Vec::new() }; 4];
    let (mut sent, mut queued) = (0, 0);
    for acts in &slow_reader()[..3] {
        for line in visit.act(acts).lines() {
            if line.contains(r#""e":"send""#) {
                sent += number(line, "n");
                queued = number(line, "left");
            }
        }
        let taken = visit.taken(0);
        let all = LARGE.len() + HEAD;
        let places = [taken, sent - taken, queued, all - sent - queued];
        if acts != &slow_reader()[1] {
            rows.iter_mut().zip(places).for_each(|(row, n)| row.push(n));
        }
    }
    assert_eq!(rows[1], [SEND_BUFFER; 2], "the kernels are full");
    for row in rows {
        let [before, after] = [row[0], row[1]].map(grouped);
        let cells = format!("| {before} | {after} |");
        assert!(page.contains(&cells), "{cells}");
    }
}

/// The bytes of the head of the answer with the large file.
const HEAD: usize = 296;

/// The value of a member of a line.
fn number(line: &str, name: &str) -> usize {
    let (_, rest) = line.split_once(&format!("\"{name}\":")).expect("a member");
    let digits = rest.split([',', '}']).next().expect("a number");
    digits.parse().expect("a number")
}

/// A number with a comma after the thousands.
fn grouped(n: usize) -> String {
    match n / 1_000 {
        0 => n.to_string(),
        thousands => format!("{thousands},{:03}", n % 1_000),
    }
}
