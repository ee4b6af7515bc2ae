//! Floor 4, server: the second seam, [`Driver`]. A driver waits,
//! accepts and reads the clocks. A driver must not know HTTP, and must not decide anything.
//!
//! Architecture invariant: `mio` is named by the file of [`MioDriver`] and by `transport::stream` alone.

mod mio_driver;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::ProxyTarget;
use crate::connection::{Key, Now};
use crate::sys::{AcceptQueue, Kernel};
use crate::transport::{Address, Ready, Transport};

pub use mio_driver::MioDriver;
#[cfg(test)]
pub(super) use mio_driver::found;

/// The source of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A connection.
    Connection(Key),
    /// The listener of this number.
    Listener(u8),
    /// A [signal](Driver::signal) is pending.
    Signals,
    /// A [change](Driver::changes) in a watched directory waits to be taken.
    Watch,
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

/// The world outside the loop: time, readiness, new connections, signals and changes in directories. [`MioDriver`] is the
/// implementation for real sockets; the tests have simulated ones.
///
/// Events are edges, as from epoll(7) with `EPOLLET`: an event for each change, and none for a
/// lasting state.
pub trait Driver {
    /// The transport of a connection.
    type Stream: Transport;

    /// Reads the clocks, for decisions: deadlines, dates and the age of files.
    fn now(&self) -> Now;

    /// Reads the monotonic clock only to measure. The result decides nothing, so that the same inputs
    /// cause the same run, whatever is measured.
    fn measure(&self) -> Instant {
        self.now().instant
    }

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

    /// Begins to connect to a backend. The result is known when the stream becomes writable.
    ///
    /// # Errors
    /// The errors of socket(2) and connect(2). A driver without a network reaches nothing.
    fn connect(&mut self, address: &Address) -> io::Result<Self::Stream> {
        let _ = address;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Looks up the addresses of a backend. A name that is in no file is asked of the network, and all
    /// connections wait meanwhile.
    ///
    /// # Errors
    /// The errors of getaddrinfo(3).
    fn resolve(&mut self, target: &ProxyTarget) -> io::Result<Vec<Address>> {
        let _ = target;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Closes a waiting connection for which no descriptor is left. The peer then sees a close at
    /// once instead of waiting for an answer.
    fn shed(&mut self, listener: u8);

    /// Registers a connection for events in both directions. The registration lasts until the
    /// connection is closed.
    ///
    /// # Errors
    /// The errors of epoll_ctl(2).
    fn register(&mut self, stream: &mut Self::Stream, key: Key) -> io::Result<()>;

    /// The address of this machine to which a client has connected. `None`: there is none, or no kernel.
    fn local_ip(&self, stream: &Self::Stream) -> Option<IpAddr> {
        let _ = stream;
        None
    }

    /// The kernel's side of a connection. `None`: it does not say, or there is no kernel.
    fn kernel(&mut self, stream: &Self::Stream, peer: SocketAddr) -> Option<Kernel> {
        let _ = (stream, peer);
        None
    }

    /// The connections that wait to be accepted from the listener of this number. `None`: the kernel does
    /// not say, or there is none.
    fn accept_queue(&mut self, listener: u8) -> Option<AcceptQueue> {
        let _ = listener;
        None
    }

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

    /// How many connections the kernel has refused since the driver was made, because the backlog of a
    /// listener was full; of any listener of this machine. `None`: the kernel does not say.
    fn backlog_overflows(&self) -> Option<u64> {
        None
    }

    /// Blocks the thread for some time on purpose, to show how all connections stand still meanwhile. A
    /// signal ends the time early. A driver without a thread of its own does nothing.
    fn block(&mut self, time: Duration) {
        let _ = time;
    }

    /// Opens a page in a browser, without waiting for it. A failure that is known only later is a
    /// [`Signal::NotOpened`].
    ///
    /// # Errors
    /// A sentence. A driver without other programs opens nothing.
    fn open(&mut self, url: &str) -> io::Result<()> {
        let _ = url;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Watches the directory at this path; symbolic links in the path are followed. From now on until the
    /// end of the watch, each [`Change`] in the directory is told.
    ///
    /// - The watch is on the directory, not on the path: it goes with a directory that is moved. Another
    ///   path to a directory that is watched already gives the same [`Watch`].
    /// - The files and directories below are not watched, only their names in this directory.
    /// - Of a file system that is elsewhere (a network, the host of a container), changes may go untold.
    ///
    /// # Errors
    /// The errors of inotify_init(2) and inotify_add_watch(2): no such directory, or no watch or
    /// descriptor is left. `Unsupported`: the file system is known not to tell of changes. A driver
    /// without a disk has no directory, here and below.
    fn watch(&mut self, directory: &Path) -> io::Result<Watch> {
        let _ = directory;
        Err(io::ErrorKind::NotFound.into())
    }

    /// Ends a watch. Changes that wait already may still be told. A watch that has ended is no error.
    fn unwatch(&mut self, watch: Watch) {
        let _ = watch;
    }

    /// Appends some of the changes that wait to `changes`, in the order in which they happened: a bounded
    /// number. Returns whether more may wait; only after `false` does the next change cause an event of
    /// [`Source::Watch`].
    ///
    /// A change may be told several times, and equal changes that follow each other may be told once. A
    /// change says nothing about the file that is at the name by now.
    fn changes(&mut self, changes: &mut Vec<Change>) -> bool {
        let _ = changes;
        false
    }

    /// The kind of file at this path. Symbolic links on the way are followed, and one at the end is not.
    ///
    /// # Errors
    /// The errors of lstat(2) and readlink(2).
    fn found(&self, path: &Path) -> io::Result<Found> {
        let _ = path;
        Err(io::ErrorKind::NotFound.into())
    }

    /// The paths of the directories in a directory, in no order; none if it cannot be read. Symbolic links
    /// are left out: they may lead in a circle.
    fn directories(&self, directory: &Path) -> Vec<PathBuf> {
        let _ = directory;
        Vec::new()
    }
}

/// The kind of file at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// A directory.
    Directory,
    /// A symbolic link with this target.
    Link(PathBuf),
    /// A file of another kind.
    Other,
}

/// A demand on the server from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGINT, SIGTERM or the key `q`: the server is to stop.
    Stop,
    /// SIGHUP: the file of the log is to be opened again, and each open page to be loaded again.
    Hangup,
    /// The key `r` at the terminal: each open page is to be loaded again.
    Reload,
    /// SIGUSR1 or the key `s`: a [report](super::Server::report) is asked for.
    Report,
    /// The key `u`: the addresses are to be shown.
    Urls,
    /// The key `l`: the address for other devices is to be shown.
    Lan,
    /// The key `o`: a browser is to be opened.
    Open,
    /// A program that should have opened a browser has failed, with this exit code.
    NotOpened(i32),
    /// The key `c`: the screen is to be cleared.
    Clear,
    /// The key `h`: the keys are to be shown.
    Help,
}

/// The name of a watched directory. The name of a watch that has ended comes again only after two
/// thousand million watches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Watch(pub u32);

/// A change in a watched directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Something has happened at this name, and it is over: a file was closed after writing, moved to or
    /// from the name, or removed; or a directory, a link, or another name of a file was made. Changed attributes count
    /// too.
    Done(Watch, Box<[u8]>),
    /// The file at this name is being written: it was made or written to, and may still be open. `Done`
    /// follows when it is closed.
    Begun(Watch, Box<[u8]>),
    /// The watch has ended, because the directory was moved or removed, or its file system is gone.
    Ended(Watch),
    /// Changes were lost: anything may have happened in any watched directory.
    Lost,
}
