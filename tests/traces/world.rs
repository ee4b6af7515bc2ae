//! A world for traces: clients that act on command, and kernels that tell of edges as epoll does. Nothing
//! here is left to chance, and the clock moves on command.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oneloop::config::Limits;
use oneloop::connection::{Key, Now, View};
use oneloop::server::{Driver, Event, RoomsEndpoint, Server, Signal, Source, Trace, Waker};
use oneloop::site::{FileError, Files, Guard, Site};
use oneloop::sys::{FileKind, Stat};
use oneloop::transport::{Ready, Socket, Tcp};

/// The served files.
const HELLO: &[u8] = b"hello\n";
pub static LARGE: [u8; 400_000] = [b'x'; 400_000];

/// How many bytes the kernels take between the server and a client that does not read.
pub const SEND_BUFFER: usize = 150_000;

/// An act of a client, which is named by its number, or of the clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    Connect,
    Send(usize, Vec<u8>),
    /// Reads this many bytes. Without this act, a client reads nothing.
    Take(usize, usize),
    /// Ends the client's direction.
    Close(usize),
    Wait(Duration),
}

pub type TinyServer = Server<TinyDriver, FewFiles>;

/// A server, its clients, and the trace that grows in a file.
pub struct Visit {
    world: Rc<RefCell<World>>,
    server: TinyServer,
    file: PathBuf,
    seen: usize,
}

impl Visit {
    pub fn new() -> Visit {
        Visit::with(|server| server.with_endpoint("/rooms/*", RoomsEndpoint))
    }

    /// A server with these endpoints.
    pub fn with(add: impl FnOnce(TinyServer) -> TinyServer) -> Visit {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("oneloop-life-{}-{number}.jsonl", std::process::id());
        let file = std::env::temp_dir().join(name);
        let limits = Limits::default();
        let world = Rc::new(RefCell::new(World::new()));
        let site =
            Site::new(FewFiles, b"index.html", &limits).with_guard(Guard::new(["localhost"]));
        let trace = Trace::to_file(&file, false, 1 << 20).expect("the folder is ours");
        let server = Server::new(TinyDriver(Rc::clone(&world)), 1, site, limits);
        let server = add(server).with_trace(trace);
        let mut visit = Visit {
            world,
            server,
            file,
            seen: 0,
        };
        visit.rest();
        // The first turns, before anybody comes.
        visit.news();
        visit
    }

    /// Performs acts that come together, and lets the server come to rest. Returns the lines of the trace.
    pub fn act(&mut self, acts: &[Act]) -> String {
        for act in acts {
            self.world.borrow_mut().act(act);
        }
        self.rest();
        self.news()
    }

    /// The connections, in the order of their slots.
    pub fn views(&self) -> Vec<View> {
        self.server.views().collect()
    }

    /// The number of bytes that a client has taken.
    pub fn taken(&self, client: usize) -> usize {
        self.world.borrow().peers[client].taken
    }

    fn rest(&mut self) {
        for turn in 0.. {
            assert!(turn < 10_000, "it spins");
            if self.server.is_quiet() && self.world.borrow().is_at_rest() {
                break;
            }
            self.server.turn().expect("waiting does not fail");
            self.server.check();
        }
    }

    fn news(&mut self) -> String {
        let text = fs::read_to_string(&self.file).expect("it is ours");
        let news = &text[self.seen..];
        self.seen = text.len();
        // The last turn may be only the end of the time of a wait, which a real server sleeps through.
        let last = news.trim_end().rfind('\n').map_or(0, |end| end + 1);
        match news[last..].ends_with("\"e\":\"turn\",\"events\":0}\n") {
            true => news[..last].to_owned(),
            false => news.to_owned(),
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

struct World {
    began: Instant,
    elapsed: Duration,
    /// The time until which the clients wait.
    until: Duration,
    peers: Vec<Peer>,
    /// The number of clients that were accepted.
    accepted: usize,
    /// The listener is on epoll's ready list.
    has_newcomer: bool,
}

/// A client, and the kernels between it and the server.
#[derive(Default)]
struct Peer {
    key: Option<Key>,
    /// The socket is on epoll's ready list: something has changed since the last event.
    is_listed: bool,
    /// The receive queue of the server.
    arrived: VecDeque<u8>,
    fin_arrived: bool,
    /// The number of bytes that the server has sent and the client has not taken.
    queued: usize,
    taken: usize,
    /// A write has found no space, and no event has told of any since.
    wants_space: bool,
}

impl Peer {
    /// Linux calls a socket writable when a third of its send buffer is free.
    fn has_space(&self) -> bool {
        3 * (SEND_BUFFER - self.queued) >= SEND_BUFFER
    }

    fn ready(&self) -> Ready {
        Ready {
            readable: self.fin_arrived || !self.arrived.is_empty(),
            writable: self.has_space(),
            peer_closed: self.fin_arrived,
        }
    }
}

impl World {
    fn new() -> World {
        World {
            // An `Instant` can be had in no other way; only differences matter.
            began: Instant::now(),
            elapsed: Duration::ZERO,
            until: Duration::ZERO,
            peers: Vec::new(),
            accepted: 0,
            has_newcomer: false,
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Connect => {
                self.peers.push(Peer::default());
                self.has_newcomer = true;
            }
            Act::Send(client, bytes) => {
                let peer = &mut self.peers[*client];
                peer.arrived.extend(bytes);
                peer.is_listed = true;
            }
            Act::Take(client, n) => {
                let peer = &mut self.peers[*client];
                let n = peer.queued.min(*n);
                peer.queued -= n;
                peer.taken += n;
                if peer.wants_space && peer.has_space() {
                    peer.wants_space = false;
                    peer.is_listed = true;
                }
            }
            Act::Close(client) => {
                let peer = &mut self.peers[*client];
                peer.fin_arrived = true;
                peer.is_listed = true;
            }
            Act::Wait(time) => self.until = self.elapsed + *time,
        }
    }

    fn is_at_rest(&self) -> bool {
        let has_event = |peer: &Peer| peer.is_listed && peer.key.is_some();
        let all_accepted = self.accepted == self.peers.len();
        all_accepted && self.elapsed == self.until && !self.peers.iter().any(has_event)
    }
}

pub struct TinyDriver(Rc<RefCell<World>>);

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
        let world = &mut *self.0.borrow_mut();
        if std::mem::take(&mut world.has_newcomer) {
            let (source, ready) = (Source::Listener(0), Ready::default());
            events.push(Event { source, ready });
        }
        for peer in &mut world.peers {
            if let Some(key) = peer.key
                && std::mem::take(&mut peer.is_listed)
            {
                let (source, ready) = (Source::Connection(key), peer.ready());
                peer.wants_space |= !ready.writable;
                events.push(Event { source, ready });
            }
        }
        if events.is_empty() {
            let left = world.until - world.elapsed;
            world.elapsed += timeout.unwrap_or(left).min(left);
        }
        Ok(())
    }

    fn accept(&mut self, _listener: u8) -> io::Result<(Tcp<TinySocket>, SocketAddr)> {
        let mut world = self.0.borrow_mut();
        let peer = world.accepted;
        if peer == world.peers.len() {
            return Err(ErrorKind::WouldBlock.into());
        }
        world.accepted += 1;
        let world = Rc::clone(&self.0);
        let address = (Ipv4Addr::LOCALHOST, 50_000 + peer as u16).into();
        Ok((Tcp::new(TinySocket { world, peer }), address))
    }

    fn shed(&mut self, _listener: u8) {
        unreachable!("there are no descriptors that could run out")
    }

    /// epoll looks once at a socket that is added: what is ready by then is an event.
    fn register(&mut self, stream: &mut Tcp<TinySocket>, key: Key) -> io::Result<()> {
        let peer = stream.socket_mut().peer;
        let peer = &mut self.0.borrow_mut().peers[peer];
        peer.key = Some(key);
        peer.is_listed = peer.ready() != Ready::default();
        Ok(())
    }

    fn signal(&mut self) -> Option<Signal> {
        None
    }

    fn close_listeners(&mut self) {}

    fn waker(&mut self) -> io::Result<Waker> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// The server's end of a connection.
pub struct TinySocket {
    world: Rc<RefCell<World>>,
    peer: usize,
}

impl Socket for TinySocket {
    type File = &'static [u8];

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let peer = &mut self.world.borrow_mut().peers[self.peer];
        match (peer.arrived.is_empty(), peer.fin_arrived) {
            (true, true) => Ok(0),
            (true, false) => Err(ErrorKind::WouldBlock.into()),
            _ => io::Read::read(&mut peer.arrived, into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let peer = &mut self.world.borrow_mut().peers[self.peer];
        let n = bytes.len().min(SEND_BUFFER - peer.queued);
        peer.wants_space |= n < bytes.len();
        peer.queued += n;
        match n {
            0 => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        self.write(&bytes.concat())
    }

    fn send_file(&mut self, file: &&'static [u8], at: u64, count: usize) -> io::Result<usize> {
        let rest = &file[at as usize..];
        self.write(&rest[..count.min(rest.len())])
    }

    fn read_file(&mut self, _: &&'static [u8], _: &mut [u8], _: u64) -> io::Result<usize> {
        unreachable!("sendfile works here")
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset_at_close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TinySocket {
    fn drop(&mut self) {
        self.world.borrow_mut().peers[self.peer].key = None;
    }
}

/// Two files: one is answered from memory, and one is too large for that.
pub struct FewFiles;

impl Files for FewFiles {
    type File = &'static [u8];

    fn open(&self, path: &[u8]) -> Result<(&'static [u8], Stat), FileError> {
        let file: &'static [u8] = match path {
            b"hello.txt" => HELLO,
            b"large.bin" => &LARGE,
            _ => return Err(FileError::Absent),
        };
        Ok((file, self.fstat(&file)?))
    }

    fn stat(&self, path: &[u8]) -> Result<Stat, FileError> {
        self.open(path).map(|(_, stat)| stat)
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
