//! A TCP connection for tests. Its calls neither wait for ever nor fail because the machine was
//! paused.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;

use crate::harness::PATIENCE;

/// A stream with calls that wait for [`PATIENCE`] at most.
///
/// If a process was stopped and continued, or frozen with the whole machine, a waiting call on a
/// socket with a timeout is not resumed by the kernel: the call fails with `EINTR`, even without a
/// signal handler (signal(7)). The stream makes such a call again.
pub struct Stream(TcpStream);

impl Stream {
    pub fn to(address: SocketAddr) -> Stream {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_nodelay(true).expect("it is TCP");
        Stream(stream)
    }

    /// Copies as many received bytes as fit, and leaves them in the queue.
    pub fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        again(|| self.0.peek(into))
    }
}

/// Calls that never wait go to the socket itself.
impl Deref for Stream {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.0
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        again(|| self.0.read(into))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        again(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Repeats a call until no signal interrupts the call.
fn again(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
