//! A blocking client of HTTP and WebSocket, on one connection.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use flate2::{Decompress, FlushDecompress};
use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};

use crate::frames::{self, RSV1, TAIL, frame};
use crate::world::World;

/// The time that a single read or write may take. The server is stopped for 2 s at most.
const PATIENCE: Duration = Duration::from_secs(30);
const PONG: u8 = 0x8A;

pub struct Client {
    stream: TcpStream,
    /// Received bytes that are not used yet.
    buffer: Vec<u8>,
    /// The pause before each read of a slow reader.
    pause: Duration,
}

/// A response of HTTP.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Client {
    pub fn connect(world: &World) -> Result<Self, String> {
        let connected = || -> io::Result<TcpStream> {
            let stream = TcpStream::connect(world.address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream = connected().map_err(|error| format!("cannot connect: {error}"))?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
            pause: Duration::ZERO,
        })
    }

    /// Opens a WebSocket connection. With `offer`, the extension must be agreed on.
    pub fn open(world: &World, path: &str, offer: &str) -> Result<Self, String> {
        let mut client = Self::connect(world)?;
        client.send(&frames::opening(path, offer))?;
        let head = client.head()?;
        match frames::is_opened(&head, offer) {
            true => Ok(client),
            false => Err(format!("{path}: no opening handshake: {head}")),
        }
    }

    /// Makes the client a slow reader, with a small buffer in the kernel.
    pub fn slow_down(&mut self, pause: Duration) {
        self.pause = pause;
        let _ = set_socket_recv_buffer_size(&self.stream, 16 << 10);
    }

    /// Lets the connection end with a reset.
    pub fn reset(self) {
        let _ = set_socket_linger(&self.stream, Some(Duration::ZERO));
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = self.stream.write_all(bytes);
        sent.map_err(|error| format!("cannot send: {error}"))
    }

    /// Sends as much as the server takes within `time`.
    pub fn send_within(&mut self, bytes: &[u8], time: Duration) {
        let _ = self.stream.set_write_timeout(Some(time));
        let _ = self.stream.write_all(bytes);
    }

    /// Reads and drops what the server sends within `time`, or until the end.
    pub fn drain(&mut self, time: Duration) {
        let _ = self.stream.set_read_timeout(Some(time));
        let mut space = [0; 4096];
        while matches!(self.stream.read(&mut space), Ok(1..)) {}
    }

    /// Sends a request without a body, and reads the response.
    pub fn request(&mut self, method: &str, path: &str, fields: &str) -> Result<Answer, String> {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        self.send(request.as_bytes())?;
        let answer = self.answer(method == "HEAD");
        answer.map_err(|problem| format!("{method} {path} {fields:?}: {problem}"))
    }

    /// Reads a response. `headless`: without a body, whatever the head says.
    pub fn answer(&mut self, bodiless: bool) -> Result<Answer, String> {
        let head = self.head()?;
        let status = head.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.ok_or_else(|| format!("no status: {head:?}"))?;
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
        };
        if bodiless || status == 304 {
            return Ok(answer);
        }
        if answer.field("Transfer-Encoding") == Some("chunked") {
            answer.body = self.chunks()?;
        } else {
            let length = answer.length().ok_or("no Content-Length")?;
            answer.body = self.take(length)?;
        }
        Ok(answer)
    }

    fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n")?;
            let size = usize::from_str_radix(line.trim_end(), 16);
            let size = size.map_err(|_| format!("no size of a chunk: {line:?}"))?;
            let chunk = self.take(size)?;
            let end = self.take(2)?;
            if end != b"\r\n" {
                return Err(format!("a chunk of {size} bytes does not end"));
            }
            if size == 0 {
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    /// Reads the head of a response.
    fn head(&mut self) -> Result<String, String> {
        self.until(b"\r\n\r\n")
    }

    /// Reads a message, and answers pings. Returns the text, decompressed if necessary.
    pub fn message(&mut self) -> Result<Vec<u8>, String> {
        loop {
            let head = self.take(2)?;
            let length = match head[1] {
                short @ 0..126 => usize::from(short),
                126 => self
                    .take(2)?
                    .iter()
                    .fold(0, |sum, b| sum << 8 | usize::from(*b)),
                127 => self
                    .take(8)?
                    .iter()
                    .fold(0, |sum, b| sum << 8 | usize::from(*b)),
                _ => return Err("a masked frame".into()),
            };
            let payload = self.take(length)?;
            match head[0] {
                frames::TEXT => return Ok(payload),
                first if first == frames::TEXT | RSV1 => return inflate(payload),
                frames::PING => self.send(&frame(PONG, &payload))?,
                0x88 => {
                    let code = payload.iter().take(2);
                    let code = code.fold(0, |sum, b| sum << 8 | u32::from(*b));
                    return Err(format!("closed with the code {code}"));
                }
                other => return Err(format!("a frame that begins with {other:#04x}")),
            }
        }
    }

    /// Reads up to `end`, which is included.
    fn until(&mut self, end: &[u8]) -> Result<String, String> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, end) {
                let bytes = self.take(at + end.len())?;
                return Ok(String::from_utf8_lossy(&bytes).into_owned());
            }
            self.fill()?;
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.buffer.len() < count {
            let (have, want) = (self.buffer.len(), count);
            let filled = self.fill();
            filled.map_err(|problem| format!("{problem}, after {have} of {want} bytes"))?;
        }
        let rest = self.buffer.split_off(count);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn fill(&mut self) -> Result<(), String> {
        thread::sleep(self.pause);
        let mut bytes = [0; 64 << 10];
        match self.stream.read(&mut bytes) {
            Ok(0) => Err("the server has closed the connection".into()),
            Ok(count) => {
                self.buffer.extend(&bytes[..count]);
                Ok(())
            }
            Err(error) => Err(format!("cannot receive: {error}")),
        }
    }
}

impl Answer {
    /// Checks the status.
    pub fn expect(&self, status: u16) -> Result<(), String> {
        match self.status == status {
            true => Ok(()),
            false => Err(format!("the status is {}, not {status}", self.status)),
        }
    }

    /// Returns the value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Returns the length that the head announces.
    pub fn length(&self) -> Option<usize> {
        self.field("Content-Length")?.parse().ok()
    }
}

/// Decompresses a message (RFC 7692 §7.2.2) that needs no earlier message.
fn inflate(mut payload: Vec<u8>) -> Result<Vec<u8>, String> {
    payload.extend(TAIL);
    let mut inflater = Decompress::new(false);
    let mut text = Vec::with_capacity(64 << 10);
    loop {
        let read = inflater.total_in() as usize;
        let written = text.len();
        inflater
            .decompress_vec(&payload[read..], &mut text, FlushDecompress::Sync)
            .map_err(|error| format!("a compressed message: {error}"))?;
        let all = inflater.total_in() as usize == payload.len();
        if all && text.len() < text.capacity() {
            return Ok(text);
        }
        if text.len() == written && text.len() < text.capacity() {
            return Err("a compressed message does not end".into());
        }
        text.reserve(64 << 10);
    }
}
