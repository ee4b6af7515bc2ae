//! The canned answers of a limit: the same bytes over and over.

use std::io::{self, ErrorKind::WouldBlock, Write};

use mio::net::TcpStream;

/// Copies of an answer, enough for the answers to a batch to leave in a single `send`.
pub struct Copies {
    bytes: Vec<u8>,
    /// The length of an answer.
    pub bytes_each: usize,
}

impl Copies {
    /// Repeats `once` 64 times, or as often as it fits into 1 MiB, but at least once.
    pub fn of(once: &[u8]) -> Self {
        Self {
            bytes: once.repeat((1024 * 1024 / once.len()).clamp(1, 64)),
            bytes_each: once.len(),
        }
    }

    /// Sends `owed` bytes and counts them down. No caller reads from the socket before this is
    /// done, and that is the back-pressure.
    ///
    /// # Errors
    /// `WouldBlock` when the socket is full, and all errors of send(2).
    pub fn send(&self, owed: &mut usize, stream: &mut TcpStream) -> io::Result<()> {
        while *owed > 0 {
            let rest = self.rest(*owed);
            let sent = stream.write(rest)?;
            *owed -= sent;
            if sent < rest.len() {
                // The socket is full, and the kernel will report the edge when it has space again.
                return Err(WouldBlock.into());
            }
        }
        Ok(())
    }

    /// Returns the next bytes to send, as many as are contiguous. `owed` says how many bytes are
    /// left of an endless row of answers, and so where in an answer the next byte lies.
    fn rest(&self, owed: usize) -> &[u8] {
        let start = (self.bytes_each - owed % self.bytes_each) % self.bytes_each;
        &self.bytes[start..self.bytes.len().min(start + owed)]
    }
}
