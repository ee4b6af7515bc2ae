//! The smallest world that a server can run in: one connection, a few files, the endpoints, and a
//! clock that moves on command.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oneloop::config::Limits;
use oneloop::connection::{Endpoint, Key, Now};
use oneloop::server::{
    Driver, Echo, Event, PostEcho, RoomsEndpoint, Server, Signal, Source, Waker,
};
use oneloop::site::{FileError, Files, Guard, Site};
use oneloop::sys::{FileKind, Stat};
use oneloop::transport::{Ready, Socket, Tcp};

/// The served files: one is answered from memory, and two are too large for memory.
pub const SMALL: &[u8] = b"hello\n";
pub const LARGE: &[u8] = &[b'x'; 100];
pub static HUGE: [u8; 400_000] = [b'x'; 400_000];

/// The pages of a server with live reload: one is answered from memory, and one is too large for that.
const PAGE: &[u8] = b"<!doctype html><head><title>page</title>";
const LARGE_PAGE: &[u8] = b"<!doctype html><html lang=en><body>\
    This page has more bytes than the site keeps in memory.";
const MISSING_PAGE: &[u8] = b"\xef\xbb\xbf<p>missing";
const VECTOR: &[u8] = b"<svg xmlns='http://www.w3.org/2000/svg'/>";

/// The names under which the files are served.
const ALLOWED_HOSTS: [&str; 3] = ["h", "a_b.c", ".site.test"];

/// The origins, other than those of hosts, whose pages are let in.
const ALLOWED_ORIGINS: [&str; 1] = ["vscode-webview://0a1b"];

/// An act of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    Send(Vec<u8>),
    /// Sends bytes that no event reports yet, as after a pause of the process, when more sockets have
    /// changed than one wait reports.
    SendUnseen(Vec<u8>),
    /// Sends bytes, and half-closes after them.
    SendLast(Vec<u8>),
    Wait(Duration),
    HalfClose,
    /// Resets the connection.
    Reset,
    /// Sends a signal to the server.
    Stop,
    /// Reads this many bytes. Without this action, a client reads everything at once.
    Take(usize),
}

/// The bytes and the end that a client has seen.
#[derive(PartialEq, Eq, Debug)]
pub struct Seen {
    pub received: Vec<u8>,
    pub is_closed: bool,
}

/// Plays `actions` to a server. Each action comes when the server has come to rest after the one
/// before.
pub fn play(actions: &[Action], limits: &Limits) -> Seen {
    play_with(actions, limits, usize::MAX, true)
}

/// Plays `actions` while at most `send_buffer` bytes wait to be taken, with rooms or without. A
/// message for a room is delivered a little later than an answer, and not to a connection that has
/// closed by then.
pub fn play_with(actions: &[Action], limits: &Limits, send_buffer: usize, rooms: bool) -> Seen {
    Visit::new(limits, send_buffer, rooms).play(actions)
}

/// Plays `actions` to a server with pages and with live reload.
pub fn play_live(actions: &[Action], limits: &Limits) -> Seen {
    Visit::live(limits).play(actions)
}

/// A client at a server.
pub struct Visit {
    world: Rc<RefCell<World>>,
    server: Server<TinyDriver, FewFiles>,
}

impl Visit {
    /// Starts a server, to which the client connects. At most `send_buffer` bytes wait to be taken.
    pub fn new(limits: &Limits, send_buffer: usize, rooms: bool) -> Visit {
        let world = Rc::new(RefCell::new(World::new(send_buffer)));
        let driver = TinyDriver(Rc::clone(&world));
        let guard = Guard::new(ALLOWED_HOSTS).with_origins(ALLOWED_ORIGINS);
        let site =
            Site::new(FewFiles { has_pages: false }, b"index.html", limits).with_guard(guard);
        let mut server = Server::new(driver, 1, site, limits.clone())
            .with_endpoint("/_oneloop/echo", PostEcho)
            .with_endpoint("/echo", Echo)
            .with_test_endpoints();
        if rooms {
            server = server.with_endpoint("/rooms/*", RoomsEndpoint);
        }
        Visit { world, server }
    }

    /// Starts a server with pages and with live reload.
    fn live(limits: &Limits) -> Visit {
        let world = Rc::new(RefCell::new(World::new(usize::MAX)));
        let driver = TinyDriver(Rc::clone(&world));
        let site = Site::new(FewFiles { has_pages: true }, b"index.html", limits)
            .with_guard(Guard::new(ALLOWED_HOSTS))
            .with_live("/s.js");
        let server = Server::new(driver, 1, site, limits.clone());
        Visit { world, server }
    }

    /// Performs all actions, and returns what the client has seen.
    fn play(mut self, actions: &[Action]) -> Seen {
        actions.iter().for_each(|action| self.act(action));
        let received = std::mem::take(&mut *self.received());
        Seen {
            received,
            is_closed: self.world.borrow().is_ended,
        }
    }

    /// Starts a server with `endpoint` at `/x`, to which the client connects.
    pub fn to(limits: &Limits, endpoint: impl Endpoint + 'static) -> Visit {
        let visit = Visit::new(limits, usize::MAX, false);
        Visit {
            server: visit.server.with_endpoint("/x", endpoint),
            ..visit
        }
    }

    /// The bytes that the client has received.
    pub fn received(&self) -> RefMut<'_, Vec<u8>> {
        RefMut::map(self.world.borrow_mut(), |world| &mut world.sent)
    }

    /// Performs an action, and lets the server come to rest.
    pub fn act(&mut self, action: &Action) {
        self.act_until(action, || false);
    }

    /// Performs an action, and lets the server come to rest, or take turns until `is_enough`.
    pub fn act_until(&mut self, action: &Action, is_enough: impl Fn() -> bool) {
        self.world.borrow_mut().act(action);
        // A server that never comes to rest spins.
        for turn in 0.. {
            assert!(turn < 10_000, "it spins");
            self.server.turn().expect("waiting does not fail");
            self.server.check();
            let is_at_rest = self.server.is_quiet() && self.world.borrow().is_at_rest();
            if is_at_rest || is_enough() {
                break;
            }
        }
    }
}

#[derive(Debug)]
struct World {
    began: Instant,
    elapsed: Duration,
    /// The time until which the client waits.
    until: Duration,
    /// The connection was accepted.
    is_accepted: bool,
    key: Option<Key>,
    /// The socket has changed, and no event has reported the change.
    has_news: bool,
    /// Bytes on their way to the server.
    incoming: VecDeque<u8>,
    half_closed: bool,
    is_reset: bool,
    /// A signal was sent, and no event has reported it.
    is_signalled: bool,
    /// The bytes that the server has sent.
    sent: Vec<u8>,
    /// How many of these bytes wait to be taken, if the client takes bytes itself.
    waiting: usize,
    send_buffer: usize,
    /// A write has found no space, and no event has reported any since.
    wants_room: bool,
    /// The server has ended its direction.
    is_ended: bool,
}

impl World {
    fn new(send_buffer: usize) -> World {
        World {
            // An `Instant` can be had in no other way; only differences matter.
            began: Instant::now(),
            elapsed: Duration::ZERO,
            until: Duration::ZERO,
            is_accepted: false,
            key: None,
            has_news: false,
            incoming: VecDeque::new(),
            half_closed: false,
            is_reset: false,
            is_signalled: false,
            sent: Vec::new(),
            waiting: 0,
            send_buffer,
            wants_room: false,
            is_ended: false,
        }
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Send(bytes) => self.incoming.extend(bytes),
            Action::SendUnseen(bytes) => return self.incoming.extend(bytes),
            Action::SendLast(bytes) => {
                self.incoming.extend(bytes);
                self.half_closed = true;
            }
            Action::HalfClose => self.half_closed = true,
            Action::Reset => self.is_reset = true,
            Action::Stop => return self.is_signalled = true,
            Action::Take(n) => {
                self.waiting = self.waiting.saturating_sub(*n);
                let has_room = self.wants_room && self.has_room();
                self.has_news |= has_room;
                self.wants_room &= !has_room;
                return;
            }
            Action::Wait(time) => {
                self.until = self.elapsed + *time;
                return;
            }
        }
        self.has_news = true;
    }

    /// Linux calls a socket writable when a third of its send buffer is free.
    fn has_room(&self) -> bool {
        self.send_buffer - self.waiting >= self.send_buffer / 3
    }

    fn is_at_rest(&self) -> bool {
        self.is_accepted && self.elapsed == self.until && !(self.has_news && self.key.is_some())
    }
}

struct TinyDriver(Rc<RefCell<World>>);

impl Driver for TinyDriver {
    type Stream = Tcp<TinySocket>;

    fn now(&self) -> Now {
        let world = self.0.borrow();
        Now {
            instant: world.began + world.elapsed,
            wall: UNIX_EPOCH + Duration::from_secs(1_800_000_000) + world.elapsed,
        }
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let mut world = self.0.borrow_mut();
        if world.is_signalled {
            let (source, ready) = (Source::Signals, Ready::default());
            events.push(Event { source, ready });
        }
        if let Some(key) = world.key.filter(|_| world.has_news) {
            world.has_news = false;
            let ready = Ready {
                readable: true,
                writable: world.has_room(),
                peer_closed: world.half_closed,
            };
            let source = Source::Connection(key);
            events.push(Event { source, ready });
        } else {
            let left = world.until - world.elapsed;
            world.elapsed += timeout.unwrap_or(left).min(left);
        }
        Ok(())
    }

    fn accept(&mut self, _listener: u8) -> io::Result<(Tcp<TinySocket>, SocketAddr)> {
        let mut world = self.0.borrow_mut();
        if std::mem::replace(&mut world.is_accepted, true) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let socket = TinySocket(Rc::clone(&self.0));
        Ok((Tcp::new(socket), (Ipv4Addr::LOCALHOST, 1).into()))
    }

    fn shed(&mut self, _listener: u8) {
        unreachable!("there are no descriptors that could run out")
    }

    fn register(&mut self, _stream: &mut Tcp<TinySocket>, key: Key) -> io::Result<()> {
        self.0.borrow_mut().key = Some(key);
        Ok(())
    }

    fn signal(&mut self) -> Option<Signal> {
        let is_signalled = std::mem::take(&mut self.0.borrow_mut().is_signalled);
        is_signalled.then_some(Signal::Stop)
    }

    fn close_listeners(&mut self) {}

    fn waker(&mut self) -> io::Result<Waker> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The server's end of the connection.
struct TinySocket(Rc<RefCell<World>>);

impl Socket for TinySocket {
    type File = &'static [u8];

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut world = self.0.borrow_mut();
        if world.is_reset {
            return Err(ErrorKind::ConnectionReset.into());
        }
        if world.incoming.is_empty() {
            return match world.half_closed {
                true => Ok(0),
                false => Err(ErrorKind::WouldBlock.into()),
            };
        }
        io::Read::read(&mut world.incoming, into)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.0.borrow_mut();
        assert!(!world.is_ended, "an answer after the end");
        let n = bytes.len().min(world.send_buffer - world.waiting);
        if n == 0 {
            world.wants_room = true;
            return Err(ErrorKind::WouldBlock.into());
        }
        world.sent.extend_from_slice(&bytes[..n]);
        if world.send_buffer < usize::MAX {
            world.waiting += n;
        }
        Ok(n)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut n = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match self.write(slice) {
                Ok(more) => n += more,
                Err(_) if n > 0 => break,
                Err(e) => return Err(e),
            }
        }
        Ok(n)
    }

    fn send_file(&mut self, file: &&'static [u8], at: u64, count: usize) -> io::Result<usize> {
        let rest = &file[at as usize..];
        self.write(&rest[..count.min(rest.len())])
    }

    fn read_file(&mut self, _: &&'static [u8], _: &mut [u8], _: u64) -> io::Result<usize> {
        unreachable!("sendfile works here")
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.0.borrow_mut().is_ended = true;
        Ok(())
    }

    fn reset_at_close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TinySocket {
    fn drop(&mut self) {
        let mut world = self.0.borrow_mut();
        (world.is_ended, world.key) = (true, None);
    }
}

/// Three files, and pages for a server with live reload.
struct FewFiles {
    has_pages: bool,
}

impl Files for FewFiles {
    type File = &'static [u8];

    fn open(&self, path: &[u8]) -> Result<(&'static [u8], Stat), FileError> {
        let file = match path {
            b"small.txt" => SMALL,
            b"large.txt" => LARGE,
            b"huge.txt" => &HUGE,
            b"page.html" if self.has_pages => PAGE,
            b"large.html" if self.has_pages => LARGE_PAGE,
            b"404.html" if self.has_pages => MISSING_PAGE,
            b"image.svg" if self.has_pages => VECTOR,
            _ => return Err(FileError::Absent),
        };
        Ok((file, self.fstat(&file)?))
    }

    fn stat(&self, path: &[u8]) -> Result<Stat, FileError> {
        match path {
            b"" => self.fstat(&SMALL).map(|stat| Stat {
                kind: FileKind::Directory,
                ..stat
            }),
            _ => self.open(path).map(|(_, stat)| stat),
        }
    }

    fn fstat(&self, file: &&'static [u8]) -> Result<Stat, FileError> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Ok(Stat {
            kind: FileKind::File,
            device: 1,
            inode: file.len() as u64,
            size: file.len() as u64,
            modified: time,
            changed: time,
        })
    }

    fn read_at(&self, file: &&'static [u8], into: &mut [u8], at: u64) -> Result<usize, FileError> {
        let rest = &file[(at as usize).min(file.len())..];
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}
