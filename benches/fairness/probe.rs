//! The probe: a small request at regular times, on a kept connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::site::SMALL;

/// The time from one request to the next: 50 requests a second.
const INTERVAL: Duration = Duration::from_millis(20);
/// The time that the last answers may take.
const PATIENCE: Duration = Duration::from_secs(10);
const OK: &[u8] = b"HTTP/1.1 200 ";

/// A connection for small requests.
pub struct Probe {
    stream: TcpStream,
    request: Vec<u8>,
    /// The length of an answer, which is the same for every request.
    answer_bytes: usize,
    /// The bytes of an answer that is not complete yet.
    partial: Vec<u8>,
}

impl Probe {
    /// Opens the connection, and makes the first request.
    ///
    /// # Errors
    /// A sentence, when the answer is not the small file.
    pub fn open(address: SocketAddr) -> Result<Self, String> {
        let request = format!("GET {} HTTP/1.1\r\nHost: {address}\r\n\r\n", SMALL.path);
        let opened = || -> io::Result<Self> {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request.as_bytes())?;
            let mut answer = Vec::new();
            let mut buffer = [0; 4096];
            let head_bytes = loop {
                let count = stream.read(&mut buffer)?;
                answer.extend(&buffer[..count]);
                if let Some(at) = memchr::memmem::find(&answer, b"\r\n\r\n") {
                    break at + 4;
                }
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            };
            let answer_bytes = head_bytes + SMALL.bytes;
            let mut rest = vec![0; answer_bytes.saturating_sub(answer.len())];
            stream.read_exact(&mut rest)?;
            match answer.starts_with(OK) {
                true => Ok(Self {
                    stream,
                    request: request.into_bytes(),
                    answer_bytes,
                    partial: Vec::new(),
                }),
                false => Err(io::Error::other("the status is not 200")),
            }
        };
        opened().map_err(|error| format!("the probe got no answer: {error}"))
    }

    /// Asks for `time`. Returns the latency of each request in nanoseconds, from the time when the
    /// request was due to the end of its answer.
    ///
    /// # Errors
    /// A sentence, when an answer is wrong or does not come.
    pub fn run(&mut self, time: Duration) -> Result<Vec<u64>, String> {
        let asked = self.ask(time);
        asked.map_err(|error| format!("the probe's connection failed: {error}"))
    }

    fn ask(&mut self, time: Duration) -> io::Result<Vec<u64>> {
        let count = (time.as_nanos() / INTERVAL.as_nanos()).max(1) as u32;
        let begin = Instant::now() + INTERVAL;
        let due = |number: u32| begin + INTERVAL * number;
        let end = due(count) + PATIENCE;
        let mut latencies = Vec::new();
        let mut sent = 0;
        let mut buffer = [0; 16 * 1024];
        while latencies.len() < count as usize {
            // A late answer does not delay the next request: requests are pipelined then.
            while sent < count && due(sent) <= Instant::now() {
                self.stream.write_all(&self.request)?;
                sent += 1;
            }
            let next = if sent < count { due(sent) } else { end };
            if !self.is_readable_before(next)? {
                if sent == count && Instant::now() >= end {
                    let missing = count as usize - latencies.len();
                    return Err(io::Error::other(format!(
                        "{missing} of {count} answers did not come"
                    )));
                }
                continue;
            }
            let received = self.stream.read(&mut buffer)?;
            let now = Instant::now();
            if received == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.partial.extend(&buffer[..received]);
            while self.partial.len() >= self.answer_bytes {
                if !self.partial.starts_with(OK) {
                    let line = self.partial.split(|byte| *byte == b'\r').next();
                    let line = String::from_utf8_lossy(line.unwrap_or_default());
                    return Err(io::Error::other(format!("answered {line}")));
                }
                self.partial.drain(..self.answer_bytes);
                let latency = now - due(latencies.len() as u32);
                latencies.push(latency.as_nanos() as u64);
            }
        }
        Ok(latencies)
    }

    /// Waits for bytes until `end`.
    fn is_readable_before(&self, end: Instant) -> io::Result<bool> {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut sockets = [PollFd::new(&self.stream, PollFlags::IN)];
        match poll(&mut sockets, Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
