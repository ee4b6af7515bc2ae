//! The opening handshakes (RFC 6455 §4.1), one after the other. The calls block, because the
//! measurement begins only afterwards.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::wire;

/// The timeout of each step of a handshake.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest accepted head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Opens a connection. Returns the stream, which is non-blocking from now on, and the bytes after
/// the head of the answer.
///
/// # Errors
/// A sentence, when the handshake fails.
pub fn open(
    address: SocketAddr,
    authority: &str,
    path: &str,
) -> Result<(TcpStream, Vec<u8>), String> {
    let key = BASE64_STANDARD.encode([random(), random()].map(u64::to_ne_bytes).concat());
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    let answered = || {
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(request.as_bytes())?;
        let answer = read_head(&mut stream)?;
        stream.set_nonblocking(true)?;
        Ok((stream, answer))
    };
    let (stream, (head, rest)) = answered()
        .map_err(|error: std::io::Error| format!("no opening handshake with {address}: {error}"))?;
    check(&head, &wire::accept(&key))?;
    Ok((stream, rest))
}

/// Reads the head of the answer. Returns the head as text, and the bytes after the head.
fn read_head(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut received = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        received.extend(&buffer[..count]);
        if let Some(end) = memchr::memmem::find(&received, b"\r\n\r\n") {
            let rest = received.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&received).into_owned(), rest));
        }
        if received.len() > HEAD_BYTES_MAX {
            return Err(std::io::Error::other("the answer has no end of head"));
        }
    }
}

/// Checks the answer as a client must (§4.1, the numbered list at its end).
fn check(head: &str, accept: &str) -> Result<(), String> {
    let status_line = head.lines().next().unwrap_or_default();
    if !status_line.starts_with("HTTP/1.1 101 ") {
        return Err(format!("answered {status_line:?} to the opening handshake"));
    }
    let value = |name: &str| {
        head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let has = |name, token: &str| {
        let tokens = value(name).unwrap_or_default().split(',');
        tokens.map(str::trim).any(|t| t.eq_ignore_ascii_case(token))
    };
    if !has("Upgrade", "websocket") || !has("Connection", "upgrade") {
        return Err("the 101 upgrades to something else".into());
    }
    if value("Sec-WebSocket-Accept") != Some(accept) {
        return Err("the 101 has not the Sec-WebSocket-Accept of our key".into());
    }
    if value("Sec-WebSocket-Extensions").is_some() {
        return Err("the 101 has an extension we did not offer".into());
    }
    Ok(())
}

/// Returns a random number. The only random numbers of the standard library are the keys of its
/// hash maps.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
