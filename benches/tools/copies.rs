//! What a limit answers with: the same bytes over and over.

use std::io::{self, ErrorKind::WouldBlock, Write};

use mio::net::TcpStream;

/// One answer, repeated so that those to a batch leave in one `send`.
pub struct Copies {
    bytes: Vec<u8>,
    /// Bytes of one answer.
    pub bytes_each: usize,
}

impl Copies {
    pub fn of(once: &[u8]) -> Self {
        Self {
            bytes: once.repeat((1024 * 1024 / once.len()).clamp(1, 64)),
            bytes_each: once.len(),
        }
    }

    /// Sends all that is owed, or fails with `WouldBlock`. Nothing is read meanwhile, which is all
    /// the back-pressure there is.
    pub fn send(&self, owed: &mut usize, stream: &mut TcpStream) -> io::Result<()> {
        while *owed > 0 {
            let rest = self.rest(*owed);
            let sent = stream.write(rest)?;
            *owed -= sent;
            if sent < rest.len() {
                // The socket is full, and the kernel has noted that we want its next edge.
                return Err(WouldBlock.into());
            }
        }
        Ok(())
    }

    /// As much of the last `owed` bytes of an endless row of answers as lies in one piece.
    fn rest(&self, owed: usize) -> &[u8] {
        let start = (self.bytes_each - owed % self.bytes_each) % self.bytes_each;
        &self.bytes[start..self.bytes.len().min(start + owed)]
    }
}
