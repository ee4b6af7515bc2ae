//! Floor 1, transport: TCP with sticky readiness.
//!
//! Architecture invariant: no other file below the driver names `mio`, and no code here knows the
//! meaning of the bytes.
//!
//! [`Tcp`] holds the readiness flags and updates them after each system call; [`Socket`] has the
//! bare system calls. The two are separate so that the simulator, which replaces the calls, still
//! runs the code of the flags.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::{Io, Ready, Transport};
use crate::sys;

/// The bare, non-blocking system calls of a connected socket, with the `errno` of each.
#[expect(
    clippy::missing_errors_doc,
    reason = "each returns what the call of its name returns"
)]
pub trait Socket {
    /// The type of an open file from which `sendfile` reads.
    type File;

    /// recv(2). `Ok(0)` means the end of file.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;
    /// send(2).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// writev(2).
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// sendfile(2) with an explicit offset; the offset of the open file is neither used nor
    /// changed. `Ok(0)` means that the file ends at or before `at`.
    fn send_file(&mut self, file: &Self::File, at: u64, count: usize) -> io::Result<usize>;
    /// shutdown(2) of the write direction.
    fn shutdown_write(&mut self) -> io::Result<()>;
}

impl Socket for TcpStream {
    type File = File;

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Read::read(self, into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Write::write_vectored(self, slices)
    }

    fn send_file(&mut self, file: &File, at: u64, count: usize) -> io::Result<usize> {
        sys::send_file(self, file, at, count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A socket and its known readiness.
#[derive(Debug)]
pub struct Tcp<S> {
    socket: S,
    /// Set at the start and by events. Cleared by `EAGAIN`, and by a short read, which proves that the socket was
    /// empty (but not while `peer_closed` is set).
    readable: bool,
    /// Set at the start, by events, and by a deadline, to try once more. Cleared by `EAGAIN`.
    writable: bool,
    /// Set by events. Never cleared.
    peer_closed: bool,
}

impl<S> Tcp<S> {
    /// Takes a connected, non-blocking socket. Both directions count as ready until a system call
    /// proves the opposite, because a new connection is tried first and registered for events
    /// afterwards.
    pub fn new(socket: S) -> Tcp<S> {
        Tcp {
            socket,
            readable: true,
            writable: true,
            peer_closed: false,
        }
    }

    /// Returns the socket itself, to register or deregister the socket for events.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Runs `send`, one of the three sending system calls, if the socket may be writable.
    fn sent(&mut self, send: impl FnMut(&mut S) -> io::Result<usize>) -> Io {
        if !self.writable {
            return Io::Blocked;
        }
        let moved = attempt(&mut self.socket, send);
        // A short write proves nothing: the kernel may have stopped at a signal, or at the memory of
        // one packet, with space left. Only EAGAIN clears the flag. (A short read is another matter:
        // the kernel returns fewer bytes than asked for only when it has no more.)
        self.writable = !matches!(moved, Io::Blocked);
        moved
    }
}

impl<S: Socket> Transport for Tcp<S> {
    type File = S::File;

    fn mark(&mut self, ready: Ready) {
        self.readable |= ready.readable;
        self.writable |= ready.writable;
        self.peer_closed |= ready.peer_closed;
    }

    fn is_drained(&self) -> bool {
        !self.readable
    }

    fn read(&mut self, into: &mut [u8]) -> Io {
        debug_assert!(!into.is_empty(), "a read of nothing looks like an eof");
        if !self.readable {
            return Io::Blocked;
        }
        let moved = attempt(&mut self.socket, |s| s.read(into));
        match moved {
            Io::Blocked => self.readable = false,
            // A short read emptied the socket: bytes that arrive later cause a new edge, and the
            // read that would only return EAGAIN is saved. The exception is a peer that has closed:
            // the edge of the FIN is already spent, and no later event would announce the end.
            Io::Done(n) if n < into.len() && !self.peer_closed => self.readable = false,
            Io::Done(_) | Io::Eof | Io::Failed(_) => {}
        }
        moved
    }

    fn write(&mut self, bytes: &[u8]) -> Io {
        debug_assert!(!bytes.is_empty());
        self.sent(|s| s.write(bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Io {
        self.sent(|s| s.write_vectored(slices))
    }

    fn send_file(&mut self, file: &S::File, at: u64, count: usize) -> Io {
        debug_assert!(count > 0);
        self.sent(|s| s.send_file(file, at, count))
    }

    fn finish_write(&mut self) -> io::Result<()> {
        self.socket.shutdown_write()
    }
}

/// Makes a system call, repeats an interrupted call (`EINTR`), and names the outcome.
fn attempt<S>(socket: &mut S, mut call: impl FnMut(&mut S) -> io::Result<usize>) -> Io {
    loop {
        return match call(socket) {
            Ok(0) => Io::Eof,
            Ok(n) => Io::Done(n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Io::Blocked,
            Err(e) => Io::Failed(e),
        };
    }
}
