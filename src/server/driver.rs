//! Floor 4, server: the second seam, [`Driver`], and the implementation with `mio`. A driver waits,
//! accepts and reads the clocks. A driver must not know HTTP, and must not decide anything.
//!
//! Architecture invariant: `mio` is named by `server::driver` and `transport::stream` alone, and
//! `signal_hook_mio` by `server::driver` alone.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::net::{TcpListener, UnixListener};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use signal_hook_mio::v1_0::Signals;

use super::browser::Opener;
use super::console::{Asked, Keyboard};
use crate::config::{ProxyPlace, ProxyTarget, SocketPath};
use crate::connection::{Key, Now};
use crate::sys::{self, AcceptQueue, Inotified, Inotify, Kernel, SIGXFSZ, SocketDiag, SocketFile};
use crate::transport::{Address, Channel, Ready, Stream, Tcp, Transport, UNIX_PEER};
#[cfg(feature = "tls")]
use crate::transport::{Tls, TlsConfig, Trusted};

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
    /// change says nothing about what is at the name by now.
    fn changes(&mut self, changes: &mut Vec<Change>) -> bool {
        let _ = changes;
        false
    }

    /// What is at this path. Symbolic links on the way are followed, and one at the end is not.
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

/// What is at a path.
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

/// What has happened in a watched directory.
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

/// The driver for real sockets.
pub struct MioDriver {
    poll: Poll,
    events: Events,
    listeners: Vec<Listener>,
    signals: Signals,
    asked: Asked,
    /// [`Driver::backlog_overflows`] when the driver was made.
    overflows_before: Option<u64>,
    /// A spare descriptor, given up for a moment when descriptors run out; see [`Driver::shed`].
    reserve: Option<File>,
    watching: Option<Watching>,
    /// The socket for questions about other sockets.
    diag: SocketDiag,
    /// The terminal at standard input, whose lines are commands.
    keys: Option<Keyboard>,
    /// The programs that open a browser and have not ended.
    openers: Vec<Opener>,
    /// The certificates of each listener, by its number; beyond the end and for `None`, connections are
    /// plain.
    #[cfg(feature = "tls")]
    tls: Vec<Option<TlsConfig>>,
    /// Which backends are trusted that speak TLS.
    #[cfg(feature = "tls")]
    trusted: Option<Trusted>,
    /// Whether the process had a terminal when it began to take SIGHUP for [`Signal::Hangup`].
    had_terminal: bool,
}

/// A socket that accepts connections.
#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix {
        /// Removed before the listener is closed: fields are dropped in this order.
        _file: SocketFile,
        listener: UnixListener,
    },
}

impl Listener {
    fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        match self {
            Listener::Tcp(listener) => {
                let accepted = listener.accept();
                accepted.map(|(socket, peer)| (Stream::Tcp(socket), peer))
            }
            Listener::Unix { listener, .. } => {
                let accepted = listener.accept();
                accepted.map(|(socket, _)| (Stream::Unix(socket), UNIX_PEER))
            }
        }
    }
}

/// The watched directories.
#[derive(Debug)]
struct Watching {
    inotify: Inotify,
    /// A path to each directory, to find out what was made at a name.
    directories: BTreeMap<i32, PathBuf>,
}

// Keys use the lower half of the tokens (the top bit of a key is clear), listeners and signals the
// upper end.
const _: () = assert!(usize::BITS == 64, "a key is a token");
const SIGNALS: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const WATCH: Token = Token(usize::MAX - 2);
const KEYS: Token = Token(usize::MAX - 3);
const LISTENERS: usize = usize::MAX - 259;

impl MioDriver {
    /// The largest number of events taken from the kernel in a turn. More would only make turns
    /// longer.
    const EVENTS: usize = 1024;

    /// The largest number of programs that open a browser at a time. A browser that is such a program
    /// lasts long.
    const OPENERS: usize = 16;

    /// Takes over non-blocking listeners, and installs handlers for SIGINT, SIGTERM and SIGUSR1, and one for
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
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGXFSZ])?;
        poll.registry()
            .register(&mut signals, SIGNALS, Interest::READABLE)?;
        let listeners = listeners.into_iter().map(Listener::Tcp).collect();
        Ok(MioDriver {
            poll,
            events: Events::with_capacity(MioDriver::EVENTS),
            listeners,
            signals,
            asked: Asked::default(),
            overflows_before: sys::backlog_overflows(),
            reserve: reserve(),
            watching: None,
            diag: SocketDiag::default(),
            keys: None,
            openers: Vec::new(),
            #[cfg(feature = "tls")]
            tls: Vec::new(),
            #[cfg(feature = "tls")]
            trusted: None,
            had_terminal: false,
        })
    }

    /// Listens at a path of the file system too. The listener gets the next number.
    ///
    /// # Errors
    /// `AddrInUse`: a program listens there, or there is a file of another kind. Otherwise the errors of
    /// bind(2), chmod(2) and epoll_ctl(2).
    pub fn listen_at(&mut self, socket: &SocketPath) -> io::Result<()> {
        let (listener, file) = sys::listen_at(&socket.path, socket.mode)?;
        let mut listener = UnixListener::from_std(listener);
        let token = Token(LISTENERS + self.listeners.len());
        let registry = self.poll.registry();
        registry.register(&mut listener, token, Interest::READABLE)?;
        self.listeners.push(Listener::Unix {
            listener,
            _file: file,
        });
        Ok(())
    }

    /// Says which backends are trusted that speak TLS. Before, none is reached.
    #[cfg(feature = "tls")]
    pub fn set_trusted(&mut self, trusted: Trusted) {
        self.trusted = Some(trusted);
    }

    /// Begins TLS with the server of this name.
    #[cfg(feature = "tls")]
    fn tls_channel(&self, tcp: Tcp<Stream>, name: &str) -> io::Result<Channel<Stream>> {
        let Some(trusted) = &self.trusted else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let tls = Tls::to_server(tcp, trusted, name)?;
        Ok(Channel::Tls(Box::new(tls)))
    }

    #[cfg(not(feature = "tls"))]
    #[expect(
        clippy::unused_self,
        reason = "with TLS, the driver knows whom to trust"
    )]
    fn tls_channel(&self, _: Tcp<Stream>, _: &str) -> io::Result<Channel<Stream>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Lets the connections of the listener of this number speak TLS from now on.
    #[cfg(feature = "tls")]
    pub fn set_tls(&mut self, listener: u8, tls: TlsConfig) {
        let listener = usize::from(listener);
        if self.tls.len() <= listener {
            self.tls.resize_with(listener + 1, || None);
        }
        self.tls[listener] = Some(tls);
    }

    /// The transport of a new connection of the listener of this number.
    #[cfg(feature = "tls")]
    fn channel(&self, listener: u8, tcp: Tcp<Stream>) -> Channel<Stream> {
        match self.tls.get(usize::from(listener)) {
            Some(Some(tls)) => Channel::Tls(Box::new(Tls::accept(tcp, tls.current()))),
            Some(None) | None => Channel::Plain(tcp),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn channel(&self, _: u8, tcp: Tcp<Stream>) -> Channel<Stream> {
        Channel::Plain(tcp)
    }

    /// Takes SIGHUP for [`Signal::Hangup`] from now on. Under nohup(1), SIGHUP stays ignored.
    ///
    /// When its terminal is closed, the process gets SIGHUP too, and is to end then as it does without a
    /// handler.
    ///
    /// # Errors
    /// The errors of sigaction(2).
    pub fn take_hangups(&mut self) -> io::Result<()> {
        self.had_terminal = sys::has_terminal();
        if !sys::is_ignored(SIGHUP) {
            self.signals.add_signal(SIGHUP)?;
        }
        Ok(())
    }

    /// Takes the [keys](super::Console) at the terminal from now on, if standard input is one.
    pub fn take_keys(&mut self) {
        // A terminal that cannot be registered gives no commands.
        let terminal = sys::terminal_input().filter(|terminal| {
            let registry = self.poll.registry();
            let fd = terminal.as_raw_fd();
            registry
                .register(&mut SourceFd(&fd), KEYS, Interest::READABLE)
                .is_ok()
        });
        self.keys = terminal.map(|terminal| Keyboard { terminal });
    }

    /// Looks which programs that open a browser have ended.
    fn reap(&mut self) {
        self.openers.retain_mut(|opener| match opener.ended() {
            None => true,
            Some(failed) => {
                if let Some(code) = failed {
                    self.asked.add(Signal::NotOpened(code));
                }
                false
            }
        });
    }
}

/// The numbers are the same on every architecture (signal(7)).
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGUSR1: i32 = 10;
const SIGTERM: i32 = 15;
const SIGCHLD: i32 = 17;

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}

impl Driver for MioDriver {
    type Stream = Channel<Stream>;

    fn now(&self) -> Now {
        Now {
            instant: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn measure(&self) -> Instant {
        Instant::now()
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
            Some(socket) => {
                let (stream, peer) = socket.accept()?;
                Ok((self.channel(listener, Tcp::new(stream)), peer))
            }
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn connect(&mut self, address: &Address) -> io::Result<Self::Stream> {
        let tcp = Tcp::new(Stream::connect(address)?);
        let Address::Tls(_, name) = address else {
            return Ok(Channel::Plain(tcp));
        };
        self.tls_channel(tcp, name)
    }

    fn resolve(&mut self, target: &ProxyTarget) -> io::Result<Vec<Address>> {
        resolve(target)
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

    fn local_ip(&self, stream: &Self::Stream) -> Option<IpAddr> {
        stream.socket().local_addr().map(|local| local.ip())
    }

    fn kernel(&mut self, stream: &Self::Stream, peer: SocketAddr) -> Option<Kernel> {
        let local = stream.socket().local_addr()?;
        self.diag.ask(local, peer).unwrap_or(None)
    }

    fn accept_queue(&mut self, listener: u8) -> Option<AcceptQueue> {
        let Listener::Tcp(listener) = self.listeners.get(usize::from(listener))? else {
            return None;
        };
        let address = listener.local_addr();
        self.diag.accept_queue(address.ok()?).unwrap_or(None)
    }

    fn signal(&mut self) -> Option<Signal> {
        let mut has_child_ended = false;
        for number in self.signals.pending() {
            let is_hangup = number == SIGHUP && (!self.had_terminal || sys::has_terminal());
            match number {
                SIGXFSZ => {}
                SIGCHLD => has_child_ended = true,
                SIGUSR1 => self.asked.add(Signal::Report),
                _ if is_hangup => self.asked.add(Signal::Hangup),
                _ => self.asked.add(Signal::Stop),
            }
        }
        if has_child_ended {
            self.reap();
        }
        if let Some(keys) = &mut self.keys
            && !keys.read(&mut self.asked)
        {
            self.keys = None;
        }
        self.asked.take()
    }

    fn backlog_overflows(&self) -> Option<u64> {
        Some(sys::backlog_overflows()?.saturating_sub(self.overflows_before?))
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

    fn block(&mut self, time: Duration) {
        sys::block(time);
    }

    fn open(&mut self, url: &str) -> io::Result<()> {
        if self.openers.len() >= MioDriver::OPENERS {
            return Err(io::Error::other("the programs for that do not end"));
        }
        if self.openers.is_empty() {
            self.signals.add_signal(SIGCHLD)?;
        }
        self.openers.push(Opener::start(url)?);
        Ok(())
    }

    fn watch(&mut self, directory: &Path) -> io::Result<Watch> {
        if sys::is_silent(directory) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // The instance is made with the first watch: most servers need none when they start.
        let watching = match &mut self.watching {
            Some(watching) => watching,
            none => {
                let inotify = Inotify::new()?;
                let fd = inotify.as_raw_fd();
                let registry = self.poll.registry();
                registry.register(&mut SourceFd(&fd), WATCH, Interest::READABLE)?;
                none.insert(Watching {
                    inotify,
                    directories: BTreeMap::new(),
                })
            }
        };
        let number = watching.inotify.add(directory)?;
        watching.directories.insert(number, directory.into());
        // The numbers of inotify(7) begin at 1.
        Ok(Watch(number.unsigned_abs()))
    }

    fn unwatch(&mut self, watch: Watch) {
        if let Some(watching) = &mut self.watching {
            let number = watch.0.cast_signed();
            if watching.directories.remove(&number).is_some() {
                watching.inotify.remove(number);
            }
        }
    }

    fn changes(&mut self, changes: &mut Vec<Change>) -> bool {
        let Some(Watching {
            inotify,
            directories,
        }) = &mut self.watching
        else {
            return false;
        };
        let mut left = Vec::new();
        let mut note = |number: i32, what, name: &[u8]| {
            let watch = Watch(number.unsigned_abs());
            changes.push(match what {
                Inotified::Overflowed => Change::Lost,
                // The rest concerns watched directories alone.
                _ if !directories.contains_key(&number) => return,
                Inotified::Created => {
                    let path = directories[&number].join(OsStr::from_bytes(name));
                    match sys::may_be_in_the_making(&path) {
                        true => Change::Begun(watch, name.into()),
                        false => Change::Done(watch, name.into()),
                    }
                }
                Inotified::Written => Change::Begun(watch, name.into()),
                Inotified::Changed => Change::Done(watch, name.into()),
                Inotified::DirectoryLeft => {
                    left.push(number);
                    directories.remove(&number);
                    Change::Ended(watch)
                }
                Inotified::WatchEnded => {
                    directories.remove(&number);
                    Change::Ended(watch)
                }
            });
        };
        let more = inotify.read(&mut note);
        // A directory that was moved is still watched, and one that was removed is not.
        for number in left {
            inotify.remove(number);
        }
        more.unwrap_or_else(|_| {
            // No read fails but for a lack of memory. The next event comes with the next change.
            changes.push(Change::Lost);
            false
        })
    }

    fn found(&self, path: &Path) -> io::Result<Found> {
        found(path)
    }

    fn directories(&self, directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let directories = entries.filter(is_directory);
        directories.map(|entry| entry.path()).collect()
    }
}

/// The addresses of a backend; see [`Driver::resolve`].
pub(super) fn resolve(target: &ProxyTarget) -> io::Result<Vec<Address>> {
    let addresses = match &target.place {
        ProxyPlace::Unix(path) => return Ok(vec![Address::Unix(path.clone())]),
        ProxyPlace::Host(host, port) => match target.addresses() {
            Some(addresses) => addresses,
            None => (&**host, *port).to_socket_addrs()?.collect(),
        },
    };
    let address = |address| match &target.place {
        ProxyPlace::Host(host, _) if target.is_tls => Address::Tls(address, host.clone()),
        _ => Address::Ip(address),
    };
    Ok(addresses.into_iter().map(address).collect())
}

/// What is at a path of the disk; see [`Driver::found`].
pub(super) fn found(path: &Path) -> io::Result<Found> {
    let kind = fs::symlink_metadata(path)?.file_type();
    Ok(match (kind.is_symlink(), kind.is_dir()) {
        (true, _) => Found::Link(fs::read_link(path)?),
        (false, true) => Found::Directory,
        (false, false) => Found::Other,
    })
}

/// Translates an event. Closes and errors are hints in `mio`, and differ by platform. A hint makes
/// both directions worth trying, and the system calls then report the truth.
fn event(event: &mio::event::Event) -> Event {
    let source = match event.token() {
        SIGNALS | KEYS => Source::Signals,
        WATCH => Source::Watch,
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
