//! The number of allocations of a request and of a message on an open connection, once every buffer
//! and cache has been filled by those before: none. The world of `tests/corpus` allocates nothing
//! either, so whole turns of the loop are counted.

#[path = "corpus/world.rs"]
#[expect(dead_code, reason = "the corpus needs more of the world")]
mod world;

use std::path::Path;

use allocation_counter::measure;
use oneloop::config::Limits;
use oneloop::site::{Disk, Files};

use world::{Action, Visit};

/// The opening handshake of RFC 6455 §1.3.
const OPENING: &str = "GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// A request as a browser sends it for an image. (The error for a page is a page.)
fn get(target: &str, fields: &str) -> Action {
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: image/avif,*/*;q=0.8\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\nSec-Fetch-Site: same-origin\r\n{fields}\r\n"
    );
    Action::Send(request.into_bytes())
}

/// A masked text message of `length` bytes. The masking key is zero.
fn say(length: u8) -> Action {
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.resize(frame.len() + usize::from(length), b'a');
    Action::Send(frame)
}

/// Performs the action again and again on a connection on which `before` was done, and checks how
/// many allocations each takes.
fn check(before: &[Action], action: &Action, expected: u64) {
    const TIMES: u64 = 50;
    let mut visit = Visit::new(&Limits::default(), usize::MAX, true);
    before.iter().for_each(|action| visit.act(action));
    // The client keeps what it receives, in a vector that must not grow.
    let mut bytes = 0;
    for _ in 0..TIMES {
        bytes = visit.received().len();
        visit.act(action);
        bytes = visit.received().len() - bytes;
    }
    assert!(bytes > 0, "there is no answer");
    visit.received().reserve(2 * TIMES as usize * bytes);
    let info = measure(|| (0..TIMES).for_each(|_| visit.act(action)));
    let each = info.count_total as f64 / TIMES as f64;
    assert_eq!(info.count_total, expected * TIMES, "{each} each");
}

#[test]
fn a_small_file_on_an_open_connection_is_sent_without_an_allocation() {
    check(&[], &get("/small.txt", ""), 0);
    check(&[], &get("/small.txt?version=2", ""), 0);
    check(&[], &get("/", ""), 0);
}

#[test]
fn that_a_file_is_absent_is_said_without_an_allocation() {
    check(&[], &get("/absent.txt", ""), 0);
}

#[test]
fn that_a_file_has_not_changed_is_said_without_an_allocation() {
    let since = "If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT\r\n";
    check(&[], &get("/small.txt", since), 0);
}

/// The world has no disk. A cached file is looked at for each batch of requests.
#[test]
fn a_look_at_a_file_is_made_without_an_allocation() {
    let disk = Disk::new(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("it is here");
    let look = || assert!(disk.stat(b"tests/allocations.rs").is_ok() && disk.stat(b"").is_ok());
    look();
    assert_eq!(measure(look).count_total, 0);
}

#[test]
fn a_message_is_echoed_without_an_allocation() {
    let opening = [Action::Send(OPENING.into())];
    check(&opening, &say(20), 0);
    check(&opening, &say(125), 0);
}
