//! A world without a kernel: clients and one file in memory, behind the three seams of the server.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oneloop::config::Limits;
use oneloop::connection::{Key, Now};
use oneloop::server::{Driver, Echo, Event, RoomsEndpoint, Server, Signal, Source, Waker};
use oneloop::site::{FileError, Files, Site};
use oneloop::sys::{FileKind, Stat};
use oneloop::transport::{Ready, Socket, Tcp};
use slab::Slab;

/// The path of the only file in a request, and the file.
pub const PATH: &str = "/small.txt";
const FILE: &[u8] = &[b'x'; 700];

/// A server, and its clients.
pub struct World {
    server: Server<Memory, OneFile>,
    net: Rc<RefCell<Net>>,
}

/// A client, as an index of its wire.
pub type Client = usize;

impl World {
    pub fn new() -> World {
        let net = Rc::new(RefCell::new(Net {
            began: Instant::now(),
            waits: 0,
            wires: Slab::new(),
            backlog: VecDeque::new(),
            events: Vec::new(),
            is_recording: true,
        }));
        let limits = Limits::default();
        let site = Site::new(OneFile, b"index.html", &limits);
        let server = Server::new(Memory(Rc::clone(&net)), 1, site, limits)
            .with_endpoint("/echo", Echo)
            .with_endpoint("/rooms/*", RoomsEndpoint);
        World { server, net }
    }

    /// Connects a client. The server accepts in its next turn.
    pub fn connect(&mut self) -> Client {
        let mut net = self.net.borrow_mut();
        let client = net.wires.insert(Wire::default());
        net.backlog.push_back(client);
        net.events.push(Event {
            source: Source::Listener(0),
            ready: Ready::default(),
        });
        client
    }

    /// Sends `bytes` from a client, all bytes of which the server has read before.
    pub fn send(&mut self, client: Client, bytes: &Rc<[u8]>) {
        let mut net = self.net.borrow_mut();
        let wire = &mut net.wires[client];
        wire.incoming = Rc::clone(bytes);
        wire.read = 0;
        net.report(client);
    }

    /// Ends the bytes of a client.
    pub fn hang_up(&mut self, client: Client) {
        let mut net = self.net.borrow_mut();
        net.wires[client].is_ended = true;
        net.report(client);
    }

    /// Forgets a client whose connection the server has closed.
    pub fn forget(&mut self, client: Client) {
        let wire = self.net.borrow_mut().wires.remove(client);
        assert!(wire.is_closed, "the server still holds the connection");
    }

    /// Runs turns until the server has nothing to do.
    pub fn run(&mut self) {
        loop {
            self.server.turn().expect("waiting does not fail");
            if self.server.is_quiet() {
                break;
            }
        }
    }

    /// Takes the bytes that the server has sent to a client.
    pub fn take(&mut self, client: Client) -> Vec<u8> {
        mem::take(&mut self.net.borrow_mut().wires[client].outgoing)
    }

    /// Drops all bytes that the server sends from now on, because copies of them would be a part of
    /// the figures.
    pub fn stop_recording(&mut self) {
        self.net.borrow_mut().is_recording = false;
    }
}

/// The clock, and all that is under way between the clients and the server.
struct Net {
    began: Instant,
    /// The clock moves by a microsecond at each wait.
    waits: u32,
    wires: Slab<Wire>,
    backlog: VecDeque<Client>,
    events: Vec<Event>,
    is_recording: bool,
}

/// The two directions of a connection.
#[derive(Default)]
struct Wire {
    /// `None` before the server registers the connection.
    key: Option<Key>,
    incoming: Rc<[u8]>,
    /// How many bytes of `incoming` the server has read.
    read: usize,
    is_ended: bool,
    outgoing: Vec<u8>,
    is_closed: bool,
}

impl Net {
    /// Reports a change to the server. Before the registration, the server tries by itself.
    fn report(&mut self, client: Client) {
        let wire = &self.wires[client];
        if let Some(key) = wire.key {
            let source = Source::Connection(key);
            let ready = Ready {
                readable: true,
                writable: true,
                peer_closed: wire.is_ended,
            };
            self.events.push(Event { source, ready });
        }
    }
}

struct Memory(Rc<RefCell<Net>>);

impl Driver for Memory {
    type Stream = Tcp<End>;

    fn now(&self) -> Now {
        let net = self.0.borrow();
        let elapsed = Duration::from_micros(net.waits.into());
        Now {
            instant: net.began + elapsed,
            wall: UNIX_EPOCH + Duration::from_secs(1_800_000_000) + elapsed,
        }
    }

    fn wait(&mut self, events: &mut Vec<Event>, _timeout: Option<Duration>) -> io::Result<()> {
        let mut net = self.0.borrow_mut();
        net.waits += 1;
        events.append(&mut net.events);
        Ok(())
    }

    fn accept(&mut self, _listener: u8) -> io::Result<(Tcp<End>, SocketAddr)> {
        let client = self.0.borrow_mut().backlog.pop_front();
        let client = client.ok_or(ErrorKind::WouldBlock)?;
        let end = End {
            net: Rc::clone(&self.0),
            client,
        };
        Ok((Tcp::new(end), (Ipv4Addr::LOCALHOST, 1).into()))
    }

    fn shed(&mut self, _listener: u8) {
        unreachable!("there are no descriptors that could run out")
    }

    fn register(&mut self, stream: &mut Tcp<End>, key: Key) -> io::Result<()> {
        let client = stream.socket_mut().client;
        self.0.borrow_mut().wires[client].key = Some(key);
        Ok(())
    }

    fn signal(&mut self) -> Option<Signal> {
        None
    }

    fn close_listeners(&mut self) {}

    fn waker(&mut self) -> io::Result<Waker> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The server's end of a connection.
struct End {
    net: Rc<RefCell<Net>>,
    client: Client,
}

impl Socket for End {
    type File = ();

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wire = &mut self.net.borrow_mut().wires[self.client];
        let rest = &wire.incoming[wire.read..];
        let n = rest.len().min(into.len());
        if n == 0 && !wire.is_ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        into[..n].copy_from_slice(&rest[..n]);
        wire.read += n;
        Ok(n)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut net = self.net.borrow_mut();
        if net.is_recording {
            net.wires[self.client].outgoing.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        slices.iter().map(|slice| self.write(slice)).sum()
    }

    fn send_file(&mut self, _file: &(), _at: u64, _count: usize) -> io::Result<usize> {
        unreachable!("the file is small and sent from memory")
    }

    fn read_file(&mut self, _file: &(), _into: &mut [u8], _at: u64) -> io::Result<usize> {
        unreachable!("the file is small and sent from memory")
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn reset_at_close(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let wire = &mut self.net.borrow_mut().wires[self.client];
        (wire.is_closed, wire.key) = (true, None);
    }
}

/// A site with one file.
struct OneFile;

impl Files for OneFile {
    type File = ();

    fn open(&self, path: &[u8]) -> Result<((), Stat), FileError> {
        Ok(((), self.stat(path)?))
    }

    fn stat(&self, path: &[u8]) -> Result<Stat, FileError> {
        match path == &PATH.as_bytes()[1..] {
            true => self.fstat(&()),
            false => Err(FileError::Absent),
        }
    }

    fn fstat(&self, (): &()) -> Result<Stat, FileError> {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Ok(Stat {
            kind: FileKind::File,
            device: 1,
            inode: 1,
            size: FILE.len() as u64,
            modified: time,
            changed: time,
        })
    }

    fn read_at(&self, (): &(), into: &mut [u8], at: u64) -> Result<usize, FileError> {
        let rest = &FILE[(at as usize).min(FILE.len())..];
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}
