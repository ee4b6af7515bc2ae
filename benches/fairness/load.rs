//! The loads, a function for each. A function opens the connections that exist before the
//! measurement, calls [`ready`], and then loads the server until the process is ended.
//!
//! A load does not check answers, but for those of opening handshakes: without these, it would be
//! another load.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use crate::clients::{Crowd, Pattern, Renewed, Script};
use crate::frames::{self, frame, opening};
use crate::process::ready;
use crate::site::{LARGE, SMALL, TEXT, letters};

/// The offer of compression. Without context takeover, the same compressed bytes can be sent again.
const DEFLATE: &str = "permessage-deflate; client_no_context_takeover";

/// The interval for 20 messages or joins a second.
const TWENTIETH: Duration = Duration::from_millis(50);

/// 9,000 connections, each after one request.
pub fn idle(address: SocketAddr) -> io::Result<()> {
    let mut crowd = Crowd::new(address)?;
    let count = many();
    for _ in 0..count {
        let (stream, _) = crowd.ask(&get(SMALL.path, ""))?;
        crowd.add(stream, Script::default())?;
    }
    ready(&fewer(count))?;
    crowd.run()
}

/// 256 clients that connect, send a request, and reset the connection after the answer, again and
/// again.
pub fn accept_storm(address: SocketAddr) -> io::Result<()> {
    let script = Script {
        first: get(SMALL.path, "").into(),
        renewed: Renewed::AfterAnswer,
        ..Script::default()
    };
    http(address, 256, &script)
}

/// 64 bodies in chunks of 16 KiB that do not end. The server refuses them at `body_bytes_max`, and
/// throws away what still comes, up to `linger_bytes_max`. Then the client connects again.
pub fn endless_bodies(address: SocketAddr) -> io::Result<()> {
    let head = post_head(SMALL.path, "Transfer-Encoding: chunked");
    let chunk = [b"4000\r\n", &letters(0x4000)[..], b"\r\n"].concat();
    let script = Script {
        first: head.into(),
        again: Some(Pattern::new(&chunk)?),
        renewed: Renewed::AfterReset,
    };
    http(address, 64, &script)
}

/// 64 clients that send a head of 40 KiB, which is refused with 431, and connect again after the
/// answer.
pub fn refused_heads(address: SocketAddr) -> io::Result<()> {
    let script = Script {
        first: [b"GET / HTTP/1.1\r\nX: ", &letters(40 << 10)[..]]
            .concat()
            .into(),
        renewed: Renewed::AfterAnswer,
        ..Script::default()
    };
    http(address, 64, &script)
}

/// 64 heads that do not end. The server refuses them with 431, and throws away what still comes, up
/// to `linger_bytes_max`. Then the client connects again.
pub fn endless_heads(address: SocketAddr) -> io::Result<()> {
    let script = Script {
        first: (*b"GET / HTTP/1.1\r\nX: ").into(),
        again: Some(Pattern::new(&letters(64 << 10))?),
        renewed: Renewed::AfterReset,
    };
    http(address, 64, &script)
}

/// 64 clients that post 1 MiB again and again, and read each body back.
pub fn posts(address: SocketAddr) -> io::Result<()> {
    let body = letters(1 << 20);
    let length = format!("Content-Length: {}", body.len());
    let post = [post_head("/_oneloop/echo", &length), body].concat();
    let script = Script {
        again: Some(Pattern::new(&post)?),
        renewed: Renewed::AfterClose,
        ..Script::default()
    };
    http(address, 64, &script)
}

/// 512 clients that download a file of 10 MiB again and again, each time with a new connection.
pub fn downloads(address: SocketAddr) -> io::Result<()> {
    let script = Script {
        first: get(LARGE.path, "Connection: close\r\n").into(),
        renewed: Renewed::AfterClose,
        ..Script::default()
    };
    http(address, 512, &script)
}

/// 64 WebSocket clients that send pings without a pause, and read the pongs.
pub fn ping_floods(address: SocketAddr) -> io::Result<()> {
    flood(address, 64, "", &frame(frames::PING, &letters(100)))
}

/// 64 clients that send messages of 200 bytes without a pause, and read the echoes.
pub fn echo_floods(address: SocketAddr) -> io::Result<()> {
    flood(address, 64, "", &frame(frames::TEXT, &prose(200)))
}

/// 128 clients that send compressed messages of 200 bytes without a pause, and read the echoes,
/// which are compressed too.
pub fn compressed_small(address: SocketAddr) -> io::Result<()> {
    flood(address, 128, DEFLATE, &frames::deflated(&prose(200)))
}

/// The same with 32 clients and messages of 16 KiB.
pub fn compressed_large(address: SocketAddr) -> io::Result<()> {
    flood(address, 32, DEFLATE, &frames::deflated(&prose(16 << 10)))
}

/// 4 clients that send messages of 16 MiB, and read the echoes.
pub fn huge_echoes(address: SocketAddr) -> io::Result<()> {
    flood(address, 4, "", &frame(frames::TEXT, &prose(16 << 20)))
}

/// A room of 9,000 members, in which one of them says 200 bytes 20 times a second.
pub fn large_room(address: SocketAddr) -> io::Result<()> {
    let mut crowd = Crowd::new(address)?;
    let count = many();
    for _ in 0..count {
        join(&mut crowd, "/rooms/fair", "", Script::default())?;
    }
    ready(&fewer(count))?;
    let message = frame(frames::TEXT, &prose(200));
    crowd.run_with(TWENTIETH, |crowd| crowd.send(0, &message))
}

/// A room of 1,000 members with seven sizes of the window of compression, so that each message is
/// compressed seven times. One of the members says 16 KiB 20 times a second.
pub fn compressed_room(address: SocketAddr) -> io::Result<()> {
    let mut crowd = Crowd::new(address)?;
    for number in 0..1000 {
        let offer = format!("{DEFLATE}; server_max_window_bits={}", 9 + number % 7);
        join(&mut crowd, "/rooms/fair", &offer, Script::default())?;
    }
    ready("")?;
    let message = frames::deflated(&prose(16 << 10));
    crowd.run_with(TWENTIETH, |crowd| crowd.send(0, &message))
}

/// 1,000 watchers of the number of members. 20 times a second, a visitor comes as a browser does,
/// with a connection that watches and a connection that joins.
pub fn presence(address: SocketAddr) -> io::Result<()> {
    const WATCH: &str = "/rooms/fair?presence";
    let mut crowd = Crowd::new(address)?;
    for _ in 0..1000 {
        join(&mut crowd, WATCH, "", Script::default())?;
    }
    ready("")?;
    let visit = |path| Script {
        first: opening(path, "").into(),
        ..Script::default()
    };
    crowd.run_with(TWENTIETH, |crowd| {
        crowd.connect(visit(WATCH))?;
        crowd.connect(visit("/rooms/fair"))
    })
}

/// 9,000 connections that send the first byte of a request together, and nothing more. After
/// `Limits::head_time`, their deadlines pass together.
pub fn deadlines(address: SocketAddr) -> io::Result<()> {
    let mut crowd = Crowd::new(address)?;
    let count = many();
    for _ in 0..count {
        let stream = std::net::TcpStream::connect(address)?;
        crowd.add(stream, Script::default())?;
    }
    ready(&fewer(count))?;
    for number in 0..crowd.len() {
        crowd.send(number, b"G")?;
    }
    crowd.run()
}

/// 32 clients that download a text of 8 MiB, half of them with gzip and half with brotli. There are
/// only `encoders_max` encoders, so the others get the text as it is.
pub fn encodings(address: SocketAddr) -> io::Result<()> {
    let mut crowd = Crowd::new(address)?;
    ready("")?;
    for number in 0..32 {
        let coding = ["gzip", "br"][number % 2];
        let fields = format!("Accept-Encoding: {coding}\r\nConnection: close\r\n");
        crowd.connect(Script {
            first: get(TEXT.path, &fields).into(),
            renewed: Renewed::AfterClose,
            ..Script::default()
        })?;
    }
    crowd.run()
}

/// Runs `count` clients of HTTP with the same script. They connect after the beginning.
fn http(address: SocketAddr, count: usize, script: &Script) -> io::Result<()> {
    let mut crowd = Crowd::new(address)?;
    ready("")?;
    for _ in 0..count {
        crowd.connect(script.clone())?;
    }
    crowd.run()
}

/// Runs `count` clients of the endpoint `/echo` that send the same frame without a pause.
fn flood(address: SocketAddr, count: usize, offer: &str, frame: &[u8]) -> io::Result<()> {
    let mut crowd = Crowd::new(address)?;
    let script = Script {
        again: Some(Pattern::new(frame)?),
        ..Script::default()
    };
    for _ in 0..count {
        join(&mut crowd, "/echo", offer, script.clone())?;
    }
    ready("")?;
    crowd.run()
}

/// Adds an open WebSocket connection.
///
/// # Errors
/// Those of the connection; a sentence, when the server refuses the handshake or the extension.
fn join(crowd: &mut Crowd, path: &str, offer: &str, script: Script) -> io::Result<()> {
    let (stream, head) = crowd.ask(&opening(path, offer))?;
    match frames::is_opened(&head, offer) {
        true => crowd.add(stream, script),
        false => Err(io::Error::other(format!("no opening handshake: {head}"))),
    }
}

/// Returns a GET with some field lines.
fn get(path: &str, fields: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

/// Returns the head of a POST with a field line.
fn post_head(path: &str, field: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n\r\n").into_bytes()
}

/// Returns text that a compressor shrinks to about a third: words of a vocabulary of 256.
fn prose(bytes: usize) -> Vec<u8> {
    let vocabulary = letters(256 * 6);
    let choices = letters(bytes);
    let mut text = Vec::with_capacity(bytes + 8);
    for pair in choices.chunks(2) {
        let number = pair
            .iter()
            .fold(0, |sum, b| sum * 26 + usize::from(b - b'a'));
        let word = &vocabulary[number % 256 * 6..][..6];
        text.extend_from_slice(&word[..3 + number % 4]);
        text.push(b' ');
        if text.len() >= bytes {
            break;
        }
    }
    text.resize(bytes, b'.');
    text
}

/// Returns the number of connections of a load with 9,000, or fewer if the descriptors do not
/// suffice. The server takes connections for three quarters of its descriptors.
fn many() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = descriptors.saturating_mul(3) / 4;
    most.saturating_sub(100).min(9_000) as usize
}

/// Says that there are fewer connections than 9,000.
fn fewer(count: usize) -> String {
    match count {
        9_000 => String::new(),
        _ => format!("only {count} connections, because of RLIMIT_NOFILE"),
    }
}
