//! Floor 4, server: the driver for real sockets, on `mio`.
//!
//! Architecture invariant: on this floor, no other file names `mio` or `signal_hook_mio`.

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

use super::{Change, Driver, Event, Found, Signal, Source, Waker, Watch};
use crate::config::{ProxyPlace, ProxyTarget, SocketPath};
use crate::connection::{Key, Now};
use crate::server::browser::Opener;
use crate::server::console::{Asked, Keyboard};
use crate::sys::{self, AcceptQueue, Inotified, Inotify, Kernel, SIGXFSZ, SocketDiag, SocketFile};
use crate::transport::{Address, Channel, Ready, Stream, Tcp, UNIX_PEER};
#[cfg(feature = "tls")]
use crate::transport::{Tls, TlsConfig, Trusted};

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
    /// A path to each directory, to look at the file that was made at a name.
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

    /// Takes the [keys](crate::server::Console) at the terminal from now on, if standard input is one.
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
fn resolve(target: &ProxyTarget) -> io::Result<Vec<Address>> {
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

/// The kind of file at a path of the disk; see [`Driver::found`].
pub(in crate::server) fn found(path: &Path) -> io::Result<Found> {
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
