//! Floor 1, transport: bytes in and bytes out.
//!
//! Architecture invariant: nothing here knows a protocol or a file tree. This module names neither
//! `http`, `websocket` or `site`, nor any module of a higher floor.
//!
//! [`Transport`] is the first of the three seams; the other two are on higher floors. The
//! difficulties of a non-blocking, edge-triggered socket are handled here: `EINTR` is retried,
//! `EAGAIN` becomes [`Io::Blocked`], and readiness is *sticky*: it is remembered until the result
//! of an operation ends it. The floors above only request "move some bytes" and receive the result.
//!
//! Readiness follows epoll(7) in edge-triggered mode, on which the whole crate relies: an event
//! reports a *change*, and reports it once. A program that forgets the event, or that stops reading
//! or writing before the socket has returned `EAGAIN` (or a short read, see [`Transport::mark`]),
//! gets no second event for the same bytes or the same space.

mod channel;
mod gathered;
mod handshake;
pub(crate) mod pool;
mod read_buffer;
mod stream;
mod tcp;
#[cfg(feature = "tls")]
pub mod tls;
mod write_buffer;

pub use channel::Channel;
pub(crate) use gathered::Gathered;
pub use handshake::FailedHandshake;
pub(crate) use pool::{ChargedBytes, Pool};
pub(crate) use read_buffer::ReadBuffer;
pub use stream::{Address, Stream, UNIX_PEER};
pub use tcp::{Socket, Tcp};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsConfig, Trusted};
pub(crate) use write_buffer::WriteBuffer;

use std::io::{self, IoSlice};

/// The readiness of a socket as an event reports it. The flags are hints only: a flag makes an
/// operation worth trying, and the result of the operation is the truth.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Bytes or an end of file may be waiting to be read.
    pub readable: bool,
    /// The send buffer of the kernel may have space.
    pub writable: bool,
    /// The peer has closed its direction (`EPOLLRDHUP`), or the connection has failed. A read will
    /// find the end of file after the bytes that are still waiting.
    pub peer_closed: bool,
}

/// Counts of the system calls for connections. A call that a signal has interrupted, and that was made
/// again, counts twice.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Calls {
    /// Calls of read(2).
    pub reads: u32,
    /// Those that found no byte (`EAGAIN`).
    pub read_blocks: u32,
    /// Calls of write(2), writev(2) and sendfile(2).
    pub writes: u32,
    /// Those that found no space (`EAGAIN`).
    pub write_blocks: u32,
}

/// The result of one attempt to move bytes. The errors `WouldBlock` and `Interrupted` are handled
/// before this result is made.
#[derive(Debug)]
pub enum Io {
    /// The number of bytes moved, at least 1. A FIN counts as one.
    Done(usize),
    /// No byte can be moved before an event reports new readiness.
    Blocked,
    /// The end of the peer's bytes was reached or, when sending a file, the end of the file.
    Eof,
    /// The connection failed and can no longer be used.
    Failed(io::Error),
}

/// The protocol of a connection below HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    /// Nothing: the bytes are those of HTTP.
    Plain,
    /// TLS, so the scheme of its URIs is `https`.
    Tls,
    /// Nothing, where TLS is expected: the client is to be told.
    PlainForTls,
}

/// A non-blocking byte stream that remembers its readiness: [`Tcp`], `Tls` around it, and [`Channel`], which
/// is either. The simulator stands in for the kernel one level lower, behind [`Socket`], so that the flags
/// of `Tcp` run in each test too.
///
/// A call is cheap while no byte can be moved: an operation whose readiness flag is clear returns
/// [`Io::Blocked`] without a system call.
///
/// A transport may send and read bytes of its own, such as a handshake, and may keep bytes that it has
/// decrypted or encrypted. The methods with a body are about these bytes; plain TCP has none, so the
/// bodies cost nothing.
pub trait Transport {
    /// The type of an open file that [`send_file`](Transport::send_file) can send.
    type File;

    /// Adds the readiness reported by an event. This method only sets flags; operations clear
    /// flags, in two cases:
    ///
    /// - `EAGAIN`: a read clears `readable`; a write or [`send_file`](Transport::send_file) clears
    ///   `writable`.
    /// - A *short read*, which returns fewer bytes than `into` can hold: the read clears `readable`
    ///   too, unless `peer_closed` is set. On a stream-oriented file, a short read means that the
    ///   receive buffer is empty (epoll(7), "Questions and answers"), and later bytes cause a new
    ///   event. If `peer_closed` is set, the edge of the FIN may be spent already, and no later
    ///   event would announce the end of file. Then `readable` stays set, and the next read finds
    ///   the end.
    ///
    /// `peer_closed` is never cleared.
    fn mark(&mut self, ready: Ready);

    /// Whether the last read left the socket empty, and no event has reported `readable` since.
    /// Closing a socket with unread bytes turns the close into a reset (see `connection::mode`);
    /// the modes therefore ask this question before a close.
    ///
    /// The answer is true as of the last read, and is no proof for later moments: bytes may have
    /// arrived since, and their event may not have been delivered yet.
    ///
    /// Bytes that the transport has read from the socket and holds for the next read count as unread: no
    /// event will report them again.
    fn is_drained(&self) -> bool;

    /// Returns the protocol below HTTP. The answer is final when the first byte was read.
    #[inline]
    fn wire(&self) -> Wire {
        Wire::Plain
    }

    /// Whether a handshake is under way. Until its end, the transport takes no bytes to send, and must
    /// read even for a mode that wants no input.
    #[inline]
    fn is_opening(&self) -> bool {
        false
    }

    /// Whether the transport holds bytes that only a [`flush`](Transport::flush) sends when no output is
    /// queued: bytes of its own, or output that was taken and not sent whole.
    #[inline]
    fn wants_write(&self) -> bool {
        false
    }

    /// Sends the bytes that the transport holds, as the kernel takes them. A transport that
    /// [wants no write](Transport::wants_write) is not called.
    #[inline]
    fn flush(&mut self) -> Io {
        Io::Blocked
    }

    /// Whether the peer expects to be told of the end of our bytes, so that no part of them can be
    /// missing unnoticed. Then each orderly close comes after a [`finish_write`](Transport::finish_write).
    #[inline]
    fn announces_end(&self) -> bool {
        false
    }

    /// Takes the work since the last time, in units of about a microsecond, beyond the system calls and
    /// the bytes that the results tell: for signatures, encryption, and bytes copied from a file.
    #[inline]
    fn take_work(&mut self) -> u32 {
        0
    }

    /// Returns the number of bytes that the transport holds to be sent, at least 1 while it
    /// [wants a write](Transport::wants_write), for an observer.
    #[inline]
    fn unsent_bytes(&self) -> usize {
        0
    }

    /// Returns the number of bytes in memory that the transport holds because of its peer.
    #[inline]
    fn held_bytes(&self) -> usize {
        0
    }

    /// Takes the counts of the system calls since the last time. A transport without system calls has
    /// none.
    fn take_calls(&mut self) -> Calls {
        Calls::default()
    }

    /// Returns the readiness as it is remembered, for an observer.
    fn ready(&self) -> Ready;

    /// Reads bytes into `into`, which must not be empty.
    fn read(&mut self, into: &mut [u8]) -> Io;

    /// Writes as many of `bytes` as the kernel takes, or the transport keeps until the kernel does.
    /// `bytes` must not be empty. Bytes that the transport holds already are sent first, here and in the
    /// next two methods.
    fn write(&mut self, bytes: &[u8]) -> Io;

    /// Writes `slices` in order by one system call. At least one slice must not be empty.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Io;

    /// Sends at most `count` bytes of `file` from the offset `at` on. [`Io::Eof`] means that the
    /// file ends at or before `at`. A transport that has to copy the bytes tells the
    /// [work](Transport::take_work).
    fn send_file(&mut self, file: &Self::File, at: u64, count: usize) -> Io;

    /// Ends our direction (FIN), after the bytes that the transport holds. Over TCP alone the call never
    /// blocks. After [`Io::Blocked`], the transport [wants a write](Transport::wants_write), and then this
    /// call again; after [`Io::Done`] no further call is needed. [`Io::Failed`] has the error of
    /// shutdown(2), for example because the peer has reset the connection.
    fn finish_write(&mut self) -> Io;

    /// Lets the end of the connection, when this value is dropped, be a reset: bytes that the peer has
    /// not received are lost. If that cannot be had, the end is an ordinary one.
    fn reset_at_close(&mut self);
}
