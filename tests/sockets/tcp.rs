//! A TCP connection of a test's, which neither waits for ever nor minds that the machine was paused.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;

use crate::harness::PATIENCE;

/// A stream whose calls wait for [`PATIENCE`] at most.
///
/// Where a socket has a timeout, the kernel does not go on with a call that it waited in when the process
/// was stopped and continued, or frozen with all of its machine: the call fails with `EINTR`, although
/// nobody handles a signal here (signal(7)). Such a call is made again.
pub struct Stream(TcpStream);

impl Stream {
    pub fn to(address: SocketAddr) -> Stream {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_nodelay(true).expect("it is TCP");
        Stream(stream)
    }

    /// What has come, as much as fits, which stays where it is.
    pub fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        again(|| self.0.peek(into))
    }
}

/// What has nothing to wait for is called on the socket itself.
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

/// Makes a call until it was not interrupted.
fn again(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
