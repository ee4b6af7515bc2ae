//! Floor 1, transport: a connection as the driver hands it out: plain, or with TLS.
//!
//! A listener decides which of the two its connections are. Above this file no code asks; the questions
//! that matter there, such as [`Transport::wire`], are methods of the seam.

use std::io::IoSlice;

#[cfg(feature = "tls")]
use super::Tls;
use super::{Calls, Io, Ready, Socket, Tcp, Transport, Wire};

/// A plain connection, or one with TLS.
#[derive(Debug)]
pub enum Channel<S> {
    /// The bytes on the wire are those of HTTP.
    Plain(Tcp<S>),
    /// The bytes on the wire are records of TLS. In a box, so that a plain connection is no larger.
    #[cfg(feature = "tls")]
    Tls(Box<Tls<S>>),
}

/// Calls a method of the transport itself.
macro_rules! on_channel {
    ($channel:expr, $transport:ident => $call:expr) => {
        match $channel {
            Channel::Plain($transport) => $call,
            #[cfg(feature = "tls")]
            Channel::Tls($transport) => $call,
        }
    };
}

impl<S> Channel<S> {
    /// Returns the socket itself, for questions.
    pub fn socket(&self) -> &S {
        on_channel!(self, transport => transport.socket())
    }

    /// Returns the socket itself, to register or deregister the socket for events.
    pub fn socket_mut(&mut self) -> &mut S {
        on_channel!(self, transport => transport.socket_mut())
    }
}

impl<S: Socket> Transport for Channel<S> {
    type File = S::File;

    #[inline]
    fn mark(&mut self, ready: Ready) {
        on_channel!(self, transport => transport.mark(ready));
    }

    #[inline]
    fn is_drained(&self) -> bool {
        on_channel!(self, transport => transport.is_drained())
    }

    #[inline]
    fn wire(&self) -> Wire {
        on_channel!(self, transport => transport.wire())
    }

    #[inline]
    fn is_opening(&self) -> bool {
        on_channel!(self, transport => transport.is_opening())
    }

    #[inline]
    fn wants_write(&self) -> bool {
        on_channel!(self, transport => transport.wants_write())
    }

    fn flush(&mut self) -> Io {
        on_channel!(self, transport => transport.flush())
    }

    #[inline]
    fn announces_end(&self) -> bool {
        on_channel!(self, transport => transport.announces_end())
    }

    #[inline]
    fn take_work(&mut self) -> u32 {
        on_channel!(self, transport => transport.take_work())
    }

    fn unsent_bytes(&self) -> usize {
        on_channel!(self, transport => transport.unsent_bytes())
    }

    #[inline]
    fn held_bytes(&self) -> usize {
        on_channel!(self, transport => transport.held_bytes())
    }

    #[inline]
    fn take_calls(&mut self) -> Calls {
        on_channel!(self, transport => transport.take_calls())
    }

    fn ready(&self) -> Ready {
        on_channel!(self, transport => transport.ready())
    }

    #[inline(always)]
    fn read(&mut self, into: &mut [u8]) -> Io {
        on_channel!(self, transport => transport.read(into))
    }

    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> Io {
        on_channel!(self, transport => transport.write(bytes))
    }

    #[inline]
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Io {
        on_channel!(self, transport => transport.write_vectored(slices))
    }

    #[inline]
    fn send_file(&mut self, file: &S::File, at: u64, count: usize) -> Io {
        on_channel!(self, transport => transport.send_file(file, at, count))
    }

    fn finish_write(&mut self) -> Io {
        on_channel!(self, transport => transport.finish_write())
    }

    fn reset_at_close(&mut self) {
        on_channel!(self, transport => transport.reset_at_close());
    }
}
