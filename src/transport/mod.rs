//! Floor 1, transport: bytes in and bytes out. It knows no protocol and no file tree.
//!
//! [`Transport`] is the first of the three seams; the others are higher up. Everything awkward
//! about a non-blocking, edge-triggered socket ends here: `EINTR` is retried, `EAGAIN` becomes
//! [`Io::Blocked`], and readiness is *sticky*, so the floors above only ever ask "move some bytes"
//! and are told what came of it.
//!
//! Readiness follows epoll(7) in edge-triggered mode, which this crate relies on throughout: an
//! event says that something *changed*, once. Whoever does not remember it, or stops before the
//! socket said `EAGAIN`, is never told again.

pub(crate) mod pool;
mod read_buffer;
mod tcp;
mod write_buffer;

pub(crate) use pool::{ChargedBytes, Pool};
pub(crate) use read_buffer::ReadBuffer;
pub use tcp::{Socket, Tcp};
pub(crate) use write_buffer::WriteBuffer;

use std::io::{self, IoSlice};

/// What an event said about a socket. Hints only: they make an operation worth trying, and the
/// operation itself reports what is true.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Bytes or an end of file may be waiting.
    pub readable: bool,
    /// The send buffer may have room.
    pub writable: bool,
    /// The peer has closed its direction (`EPOLLRDHUP`), or the connection failed. A read will
    /// find the end of file behind the bytes.
    pub peer_closed: bool,
}

/// What one attempt to move bytes came to. `WouldBlock` and `Interrupted` end here.
#[derive(Debug)]
pub enum Io {
    /// This many bytes, at least one, were moved.
    Done(usize),
    /// Nothing can move until an event says so.
    Blocked,
    /// The end of the peer's bytes, or, when sending a file, of the file.
    Eof,
    /// The connection is of no more use.
    Failed(io::Error),
}

/// A non-blocking byte stream that remembers its readiness: TCP, or the simulator's stand-in.
///
/// Calls are cheap when nothing can move: an operation whose readiness is clear answers
/// [`Io::Blocked`] without a system call.
pub trait Transport {
    /// What [`send_file`](Transport::send_file) sends from.
    type File;

    /// Adds what an event said. Readiness is only ever *added* here; an operation that was told
    /// `EAGAIN` takes it away.
    fn mark(&mut self, ready: Ready);

    /// Whether a read is known to find nothing now: the proof that closing cannot destroy
    /// unread input (which would turn the close into a reset, see `connection::mode`).
    fn is_drained(&self) -> bool;

    /// Reads into `into`, which must not be empty.
    fn read(&mut self, into: &mut [u8]) -> Io;

    /// Writes from `bytes`, which must not be empty.
    fn write(&mut self, bytes: &[u8]) -> Io;

    /// Gathers `slices`, together not empty, into one write.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Io;

    /// Sends at most `count` bytes of `file` from the offset `at`. [`Io::Eof`] means that the
    /// file ends at or before `at`.
    fn send_file(&mut self, file: &Self::File, at: u64, count: usize) -> Io;

    /// Ends our direction (FIN). Never blocks over TCP; `Ok` when there is nothing left to do.
    fn finish_write(&mut self) -> io::Result<()>;
}
