//! Floor 1, transport: TCP with sticky readiness.
//!
//! Architecture invariant: no code here knows the meaning of the bytes.
//!
//! [`Tcp`] holds the readiness flags and updates them after each system call; [`Socket`] has the
//! bare system calls, and [`Stream`](super::Stream) makes them. The two are separate so that the simulator, which replaces the calls, still
//! runs the code of the flags.

use std::io::{self, IoSlice};
use std::mem;

use super::{Calls, Io, Ready, Transport};
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
    /// pread(2) of a file, for files that `send_file` cannot send. `Ok(0)` means that the file ends
    /// at or before `at`.
    fn read_file(&mut self, file: &Self::File, into: &mut [u8], at: u64) -> io::Result<usize>;
    /// shutdown(2) of the write direction.
    fn shutdown_write(&mut self) -> io::Result<()>;
    /// setsockopt(2) of `SO_LINGER` with a time of zero: close(2) then sends RST (socket(7)).
    fn reset_at_close(&mut self) -> io::Result<()>;
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
    /// Whether sendfile(2) has refused to work for this connection: a file system or a sandbox does
    /// not allow the call. Files are then read and written.
    copies_files: bool,
    calls: Calls,
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
            copies_files: false,
            calls: Calls::default(),
        }
    }

    /// Returns the socket itself, for questions.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// Returns the socket itself, to register or deregister the socket for events.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Runs `send`, one of the three sending system calls, if the socket may be writable.
    #[inline(always)]
    fn sent(&mut self, send: impl FnMut(&mut S) -> io::Result<usize>) -> Io {
        if !self.writable {
            return Io::Blocked;
        }
        let moved = attempt(&mut self.socket, &mut self.calls.writes, send);
        // A short write proves nothing: the kernel may have stopped at a signal, or at the memory of
        // one packet, with space left. Only EAGAIN clears the flag. (A short read is another matter:
        // the kernel returns fewer bytes than asked for only when it has no more.)
        if matches!(moved, Io::Blocked) {
            self.writable = false;
            self.calls.write_blocks += 1;
        }
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

    fn ready(&self) -> Ready {
        Ready {
            readable: self.readable,
            writable: self.writable,
            peer_closed: self.peer_closed,
        }
    }

    #[inline(always)]
    fn read(&mut self, into: &mut [u8]) -> Io {
        debug_assert!(!into.is_empty(), "a read of nothing looks like an eof");
        if !self.readable {
            return Io::Blocked;
        }
        let moved = attempt(&mut self.socket, &mut self.calls.reads, |s| s.read(into));
        match moved {
            Io::Blocked => {
                self.readable = false;
                self.calls.read_blocks += 1;
            }
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
        if !self.copies_files {
            match self.sent(|s| s.send_file(file, at, count)) {
                Io::Failed(e) if sys::is_unsupported(&e) => self.copies_files = true,
                moved => return moved,
            }
        }
        self.sent(|s| copy_file(s, file, at, count))
    }

    fn take_calls(&mut self) -> Calls {
        mem::take(&mut self.calls)
    }

    fn finish_write(&mut self) -> Io {
        match self.socket.shutdown_write() {
            Ok(()) => Io::Done(1),
            Err(error) => Io::Failed(error),
        }
    }

    fn reset_at_close(&mut self) {
        let _ = self.socket.reset_at_close();
    }
}

/// Sends the beginning of a part of a file without sendfile(2). Bytes that the socket does not take
/// are read again later. Never inlined: the callers of each ordinary write would need the stack for the
/// bytes too, and a frame of so many pages is touched page by page.
#[inline(never)]
fn copy_file<S: Socket>(
    socket: &mut S,
    file: &S::File,
    at: u64,
    count: usize,
) -> io::Result<usize> {
    let mut bytes = [0; COPIED_BYTES_MAX];
    let into = &mut bytes[..count.min(COPIED_BYTES_MAX)];
    match socket.read_file(file, into, at)? {
        0 => Ok(0),
        n => socket.write(&into[..n]),
    }
}

/// The largest number of bytes that one call copies from a file.
const COPIED_BYTES_MAX: usize = 64 << 10;

/// Makes a system call and counts it, repeats an interrupted call (`EINTR`), and names the outcome.
#[inline(always)]
fn attempt<S>(
    socket: &mut S,
    calls: &mut u32,
    mut call: impl FnMut(&mut S) -> io::Result<usize>,
) -> Io {
    loop {
        *calls += 1;
        return match call(socket) {
            Ok(0) => Io::Eof,
            Ok(n) => Io::Done(n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Io::Blocked,
            Err(e) => Io::Failed(e),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A socket for which sendfile(2) fails with `errno`, and that takes 5 bytes in a write.
    struct Fake {
        errno: i32,
        file_calls: u32,
        taken: Vec<u8>,
    }

    impl Socket for Fake {
        type File = Vec<u8>;

        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            unreachable!("nothing is read from the peer")
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(5);
            self.taken.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn write_vectored(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
            unreachable!("a file is sent alone")
        }

        fn send_file(&mut self, _: &Vec<u8>, _: u64, _: usize) -> io::Result<usize> {
            self.file_calls += 1;
            Err(io::Error::from_raw_os_error(self.errno))
        }

        fn read_file(&mut self, file: &Vec<u8>, into: &mut [u8], at: u64) -> io::Result<usize> {
            let rest = file.get(at as usize..).unwrap_or_default();
            let n = rest.len().min(into.len());
            into[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }

        fn shutdown_write(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn reset_at_close(&mut self) -> io::Result<()> {
            unreachable!("nobody wants a reset")
        }
    }

    fn tcp(errno: i32) -> Tcp<Fake> {
        Tcp::new(Fake {
            errno,
            file_calls: 0,
            taken: Vec::new(),
        })
    }

    /// EPERM, EINVAL, ENOSYS and EOPNOTSUPP, which have the same numbers on every architecture that
    /// Rust supports but MIPS and SPARC.
    #[test]
    fn a_file_that_sendfile_refuses_is_read_and_written() {
        for errno in [1, 22, 38, 95] {
            let mut tcp = tcp(errno);
            let (file, mut at) = (b"0123456789abcdef".to_vec(), 2);
            while at < 13 {
                match tcp.send_file(&file, at, 13 - at as usize) {
                    Io::Done(n) => at += n as u64,
                    other => panic!("{errno}: {other:?}"),
                }
            }
            assert_eq!(tcp.socket.taken, b"23456789abc");
            assert_eq!(tcp.socket.file_calls, 1, "the refusal is remembered");
            assert!(matches!(tcp.send_file(&file, 16, 1), Io::Eof));
        }
    }

    /// EIO and EPIPE say something about the file and the peer.
    #[test]
    fn another_failure_of_sendfile_is_a_failure() {
        for errno in [5, 32] {
            let mut tcp = tcp(errno);
            let moved = tcp.send_file(&b"0123".to_vec(), 0, 4);
            assert!(matches!(moved, Io::Failed(_)), "{errno}");
            assert!(tcp.socket.taken.is_empty());
        }
    }
}
