//! Floor 1, transport: TCP with sticky readiness, and the only file below the driver that names
//! `mio`. It must not know what the bytes mean.
//!
//! [`Tcp`] holds the readiness flags and decides what each result of a system call says about
//! them; [`Socket`] is the bare system calls. They are apart so that the simulator, which
//! replaces the calls, still runs the flags.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;

use mio::net::TcpStream;

use super::{Io, Ready, Transport};
use crate::sys;

/// The bare, non-blocking system calls of a connected socket, with their `errno`s.
#[expect(
    clippy::missing_errors_doc,
    reason = "each returns what the call of its name returns"
)]
pub trait Socket {
    /// What `sendfile` reads from.
    type File;

    /// recv(2). `Ok(0)` is the end of file.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;
    /// send(2).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// writev(2).
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
    /// sendfile(2) with an offset of its own. `Ok(0)`: the file ends at or before `at`.
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

/// A socket and what is known of its readiness.
#[derive(Debug)]
pub struct Tcp<S> {
    socket: S,
    /// Set by events, cleared by `EAGAIN` and by a short read that proves the socket empty.
    readable: bool,
    /// Set by events, cleared by `EAGAIN`.
    writable: bool,
    /// Set by events, never cleared.
    peer_closed: bool,
}

impl<S> Tcp<S> {
    /// Takes a connected, non-blocking socket. Both directions count as ready until a call says
    /// otherwise: a fresh connection is tried first and asked about later.
    pub fn new(socket: S) -> Tcp<S> {
        Tcp {
            socket,
            readable: true,
            writable: true,
            peer_closed: false,
        }
    }

    /// The socket itself, for registration.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// One send, in whichever form; `wanted` is how many bytes it was given.
    fn sent(&mut self, send: impl FnMut(&mut S) -> io::Result<usize>) -> Io {
        if !self.writable {
            return Io::Blocked;
        }
        let moved = attempt(&mut self.socket, send);
        // A short write says nothing certain (a signal may have cut it), so only EAGAIN clears.
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
            // A short read emptied the socket: what comes later brings an edge of its own, and
            // the read that would only say EAGAIN is saved. Unless the peer has closed: the FIN
            // came with an edge that is already spent, and nobody would tell us of it again.
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

/// Makes a system call until it is not interrupted, and names its outcome.
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
