//! Floor 5, server: the second seam, [`Driver`], and `mio` behind it. It must not know HTTP, nor
//! decide anything: it waits, accepts and tells the time.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use signal_hook_mio::v1_0::Signals;

use crate::connection::{Key, Now};
use crate::transport::{Ready, Tcp, Transport};

/// What an event is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A connection.
    Connection(Key),
    /// The listener of this number.
    Listener(u8),
    /// SIGINT or SIGTERM came.
    Signals,
}

/// Something changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// Where.
    pub source: Source,
    /// What, for a connection.
    pub ready: Ready,
}

/// The world outside the loop: time, readiness, new connections, signals. `mio`, or the simulator.
///
/// Events are edges, as epoll(7) gives them with `EPOLLET`: one for each change, none for a state.
pub trait Driver {
    /// A connection's transport.
    type Stream: Transport;

    /// Reads the clocks.
    fn now(&self) -> Now;

    /// Waits for events and adds them to `events`; returns without any when `timeout` has passed
    /// or a signal came.
    ///
    /// # Errors
    /// Those that leave no way to go on.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()>;

    /// Accepts a connection from the listener of this number.
    ///
    /// # Errors
    /// Those of accept(2); `WouldBlock` when there is none.
    fn accept(&mut self, listener: u8) -> io::Result<(Self::Stream, SocketAddr)>;

    /// Closes one waiting connection when there is no descriptor to accept it with, so that its
    /// peer sees a close and need not wait.
    fn shed(&mut self, listener: u8);

    /// Asks for the events of a connection, both directions, for good.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    fn register(&mut self, stream: &mut Self::Stream, key: Key) -> io::Result<()>;

    /// Takes the next signal that has come.
    fn signal(&mut self) -> Option<Signal>;

    /// Closes the listeners: the server is stopping.
    fn close_listeners(&mut self);
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
    /// Held to be given up for a moment when descriptors run out; see [`Driver::shed`].
    reserve: Option<File>,
}

// Keys use the lower half of the tokens (their top bit is clear), other sources the upper end.
const _: () = assert!(usize::BITS == 64, "a key is a token");
const SIGNALS: Token = Token(usize::MAX);
const LISTENERS: usize = usize::MAX - 256;

impl MioDriver {
    /// Events taken from the kernel in one turn, at most. More would only make turns longer.
    const EVENTS: usize = 1024;

    /// Takes non-blocking listeners, and SIGINT and SIGTERM.
    ///
    /// # Errors
    /// Those of epoll_create(2), epoll_ctl(2) and sigaction(2).
    pub fn new(listeners: Vec<std::net::TcpListener>) -> io::Result<MioDriver> {
        let poll = Poll::new()?;
        let mut listeners: Vec<_> = listeners.into_iter().map(TcpListener::from_std).collect();
        for (number, listener) in listeners.iter_mut().enumerate() {
            let token = Token(LISTENERS + number);
            poll.registry()
                .register(listener, token, Interest::READABLE)?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
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
        // Dropped at once: the peer gets a FIN, or a reset if it has sent something.
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
        self.signals.pending().next().map(|_| Signal::Stop)
    }

    fn close_listeners(&mut self) {
        self.listeners.clear();
    }
}

/// Translates an event. What mio knows of closes and errors is hints, differing by platform: they
/// make both directions worth trying, and the calls report what is true.
fn event(event: &mio::event::Event) -> Event {
    let source = match event.token() {
        SIGNALS => Source::Signals,
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
