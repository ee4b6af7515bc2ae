//! Floor 4, server: the second seam, [`Driver`], and the implementation with `mio`. A driver waits,
//! accepts and reads the clocks. A driver must not know HTTP, and must not decide anything.
//!
//! Architecture invariant: `mio` is named by `server::driver` and `transport::tcp` alone, and
//! `signal_hook_mio` by `server::driver` alone.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use signal_hook_mio::v1_0::Signals;

use crate::connection::{Key, Now};
use crate::sys::SIGXFSZ;
use crate::transport::{Ready, Tcp, Transport};

/// The source of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A connection.
    Connection(Key),
    /// The listener of this number.
    Listener(u8),
    /// SIGINT or SIGTERM.
    Signals,
    /// Another thread has called the [waker](Driver::waker).
    Waker,
}

/// Wakes the loop, from any thread.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// A change, as the driver reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// The changed source.
    pub source: Source,
    /// The readiness of a connection. Unused for other sources.
    pub ready: Ready,
}

/// The world outside the loop: time, readiness, new connections and signals. [`MioDriver`] is the
/// implementation for real sockets; the tests have simulated ones.
///
/// Events are edges, as from epoll(7) with `EPOLLET`: an event for each change, and none for a
/// lasting state.
pub trait Driver {
    /// The transport of a connection.
    type Stream: Transport;

    /// Reads the clocks.
    fn now(&self) -> Now;

    /// Waits for events and appends them to `events`. Returns without an event when `timeout` has
    /// passed or a signal has interrupted the wait.
    ///
    /// # Errors
    /// The errors of epoll_wait(2) except EINTR: without events, the server cannot continue.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()>;

    /// Accepts a connection from the listener of this number.
    ///
    /// # Errors
    /// The errors of accept(2); `WouldBlock` if no connection is waiting.
    fn accept(&mut self, listener: u8) -> io::Result<(Self::Stream, SocketAddr)>;

    /// Closes a waiting connection for which no descriptor is left. The peer then sees a close at
    /// once instead of waiting for an answer.
    fn shed(&mut self, listener: u8);

    /// Registers a connection for events in both directions. The registration lasts until the
    /// connection is closed.
    ///
    /// # Errors
    /// The errors of epoll_ctl(2).
    fn register(&mut self, stream: &mut Self::Stream, key: Key) -> io::Result<()>;

    /// Takes the next pending signal, if any.
    fn signal(&mut self) -> Option<Signal>;

    /// Closes the listeners, because the server is stopping.
    fn close_listeners(&mut self);

    /// Returns a function that wakes the loop: the present or the next [`wait`](Driver::wait) returns
    /// with an event of [`Source::Waker`]. The server calls this method once at the most.
    ///
    /// # Errors
    /// The errors of eventfd(2) and epoll_ctl(2).
    fn waker(&mut self) -> io::Result<Waker>;
}

/// A request to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGINT or SIGTERM.
    Stop,
}

/// The driver for real sockets.
pub struct MioDriver {
    poll: Poll,
    events: Events,
    listeners: Vec<TcpListener>,
    signals: Signals,
    /// A spare descriptor, given up for a moment when descriptors run out; see [`Driver::shed`].
    reserve: Option<File>,
}

// Keys use the lower half of the tokens (the top bit of a key is clear), listeners and signals the
// upper end.
const _: () = assert!(usize::BITS == 64, "a key is a token");
const SIGNALS: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const LISTENERS: usize = usize::MAX - 257;

impl MioDriver {
    /// The largest number of events taken from the kernel in a turn. More would only make turns
    /// longer.
    const EVENTS: usize = 1024;

    /// Takes over non-blocking listeners, and installs handlers for SIGINT and SIGTERM, and one for
    /// SIGXFSZ, so that a log file at the limit of its size does not end the process.
    ///
    /// # Errors
    /// The errors of epoll_create(2), epoll_ctl(2) and sigaction(2).
    pub fn new(listeners: Vec<std::net::TcpListener>) -> io::Result<MioDriver> {
        let poll = Poll::new()?;
        let mut listeners: Vec<_> = listeners.into_iter().map(TcpListener::from_std).collect();
        for (number, listener) in listeners.iter_mut().enumerate() {
            let token = Token(LISTENERS + number);
            poll.registry()
                .register(listener, token, Interest::READABLE)?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGXFSZ])?;
        poll.registry()
            .register(&mut signals, SIGNALS, Interest::READABLE)?;
        Ok(MioDriver {
            poll,
            events: Events::with_capacity(MioDriver::EVENTS),
            listeners,
            signals,
            reserve: reserve(),
        })
    }
}

/// The numbers are the same on every architecture (signal(7)).
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Driver for MioDriver {
    type Stream = Tcp<TcpStream>;

    fn now(&self) -> Now {
        Now {
            instant: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        events.extend(self.events.iter().map(event));
        Ok(())
    }

    fn accept(&mut self, listener: u8) -> io::Result<(Self::Stream, SocketAddr)> {
        match self.listeners.get(usize::from(listener)) {
            Some(listener) => listener.accept().map(|(s, peer)| (Tcp::new(s), peer)),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn shed(&mut self, listener: u8) {
        self.reserve = None;
        // The connection is dropped at once: the peer gets a FIN, or a reset if it has sent bytes
        // already.
        drop(self.accept(listener));
        self.reserve = reserve();
    }

    fn register(&mut self, stream: &mut Self::Stream, key: Key) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        let token = Token(u64::from(key) as usize);
        self.poll
            .registry()
            .register(stream.socket_mut(), token, both)
    }

    fn signal(&mut self) -> Option<Signal> {
        let mut pending = self.signals.pending();
        pending.find(|n| *n != SIGXFSZ).map(|_| Signal::Stop)
    }

    fn close_listeners(&mut self) {
        self.listeners.clear();
    }

    fn waker(&mut self) -> io::Result<Waker> {
        let waker = mio::Waker::new(self.poll.registry(), WAKER)?;
        Ok(Arc::new(move || {
            // An eventfd can only fail when its count is full, and then the loop wakes anyway.
            let _ = waker.wake();
        }))
    }
}

/// Translates an event. Closes and errors are hints in `mio`, and differ by platform. A hint makes
/// both directions worth trying, and the system calls then report the truth.
fn event(event: &mio::event::Event) -> Event {
    let source = match event.token() {
        SIGNALS => Source::Signals,
        WAKER => Source::Waker,
        Token(n) if n >= LISTENERS => Source::Listener((n - LISTENERS) as u8),
        Token(n) => Source::Connection(Key::from(n as u64)),
    };
    let failed = event.is_error();
    let ready = Ready {
        readable: event.is_readable() || event.is_read_closed() || failed,
        writable: event.is_writable() || event.is_write_closed() || failed,
        peer_closed: event.is_read_closed() || failed,
    };
    Event { source, ready }
}
