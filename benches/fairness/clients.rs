//! The connections of a load. A client must cost less than the server, or else the server would wait
//! for the load. So what is sent again and again comes from a file in memory, which sendfile(2) does
//! not copy, and nothing that is received is copied from the kernel. The send buffers of the kernel
//! fill up, and keep every connection readable for the server while the load does not run.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{RecvFlags, recv};

use crate::process::{OPENED, RECEIVED, SENT};

/// The bytes that a client sends.
#[derive(Clone, Default)]
pub struct Script {
    /// Sent once, at the beginning of a connection.
    pub first: Rc<[u8]>,
    /// Sent afterwards, again and again. `None`: nothing more is sent.
    pub again: Option<Rc<Pattern>>,
    /// The end of a connection, after which the client opens another one.
    pub renewed: Renewed,
}

/// Bytes that are sent again and again.
pub struct Pattern {
    file: File,
    bytes: usize,
}

impl Pattern {
    /// Copies `bytes` into memory of the kernel, several times if they are few.
    pub fn new(bytes: &[u8]) -> io::Result<Rc<Self>> {
        let copies = (PATTERN_BYTES / bytes.len()).max(1);
        let mut file = File::from(memfd_create("pattern", MemfdFlags::CLOEXEC)?);
        for _ in 0..copies {
            file.write_all(bytes)?;
        }
        let bytes = copies * bytes.len();
        Ok(Rc::new(Self { file, bytes }))
    }
}

/// The usual size of a pattern. A larger pattern needs fewer system calls.
const PATTERN_BYTES: usize = 1 << 20;

/// When a client opens a new connection in place of the old one.
#[derive(Clone, Copy, Default, PartialEq)]
pub enum Renewed {
    #[default]
    Never,
    /// After the server has closed the connection.
    AfterClose,
    /// After the server has reset the connection. The client goes on sending although the server
    /// has closed its side.
    AfterReset,
    /// After the first bytes of an answer. The client resets the old connection.
    AfterAnswer,
}

/// All clients of a load.
pub struct Crowd {
    address: SocketAddr,
    poll: Poll,
    clients: Vec<Client>,
    /// The clients that could go on without waiting.
    runnable: VecDeque<usize>,
    /// Space for received bytes, which stays unused: the kernel throws them away.
    space: Vec<u8>,
}

struct Client {
    stream: TcpStream,
    script: Script,
    /// The number of bytes sent of the script.
    at: usize,
    readable: bool,
    writable: bool,
    /// Whether the server has closed its side.
    ended: bool,
}

/// The number of reads and writes of a client before the next one has its turn.
const ROUNDS: usize = 4;

impl Crowd {
    pub fn new(address: SocketAddr) -> io::Result<Self> {
        Ok(Self {
            address,
            poll: Poll::new()?,
            clients: Vec::new(),
            runnable: VecDeque::new(),
            space: vec![0; 1 << 20],
        })
    }

    /// Opens a blocking connection, sends a request, and returns the connection with the head of
    /// the answer.
    pub fn ask(&self, request: &[u8]) -> io::Result<(std::net::TcpStream, String)> {
        let mut stream = std::net::TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request)?;
        let mut head = Vec::new();
        let mut buffer = [0; 2048];
        while memchr::memmem::find(&head, b"\r\n\r\n").is_none() {
            match stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => head.extend(&buffer[..count]),
            }
        }
        Ok((stream, String::from_utf8_lossy(&head).into_owned()))
    }

    /// Adds an open connection, whose script then begins.
    pub fn add(&mut self, stream: std::net::TcpStream, script: Script) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        self.push(TcpStream::from_std(stream), script)
    }

    /// Adds a new connection, without waiting for it.
    pub fn connect(&mut self, script: Script) -> io::Result<()> {
        let stream = TcpStream::connect(self.address)?;
        self.push(stream, script)
    }

    fn push(&mut self, stream: TcpStream, script: Script) -> io::Result<()> {
        let mut client = Client {
            stream,
            script,
            at: 0,
            readable: false,
            writable: false,
            ended: false,
        };
        client.register(&self.poll, self.clients.len())?;
        self.clients.push(client);
        Ok(())
    }

    /// Sends `bytes` on the connection of this number, beside its script. The bytes must be few.
    pub fn send(&mut self, number: usize, bytes: &[u8]) -> io::Result<()> {
        self.clients[number].stream.write_all(bytes)?;
        SENT.fetch_add(bytes.len() as u64, Relaxed);
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Lets all clients follow their scripts for ever.
    ///
    /// # Errors
    /// The errors of epoll(7), and of a new connection.
    pub fn run(&mut self) -> io::Result<()> {
        self.run_with(Duration::from_secs(3600), |_| Ok(()))
    }

    /// Does the same, and calls `tick` at regular times.
    ///
    /// # Errors
    /// The same, and the errors of `tick`.
    pub fn run_with(
        &mut self,
        interval: Duration,
        mut tick: impl FnMut(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut due = Instant::now() + interval;
        loop {
            let timeout = match self.runnable.is_empty() {
                true => due.saturating_duration_since(Instant::now()),
                false => Duration::ZERO,
            };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => other?,
            }
            for event in &events {
                let Token(number) = event.token();
                let client = &mut self.clients[number];
                client.readable |= event.is_readable();
                client.writable |= event.is_writable();
                client.ended |= event.is_read_closed() || event.is_error();
                self.runnable.push_back(number);
            }
            for _ in 0..self.runnable.len() {
                let Some(number) = self.runnable.pop_front() else {
                    break;
                };
                if self.pump(number)? {
                    self.runnable.push_back(number);
                }
            }
            if due <= Instant::now() {
                due += interval;
                tick(self)?;
            }
        }
    }

    /// Moves a client on. Returns whether it could go on at once.
    fn pump(&mut self, number: usize) -> io::Result<bool> {
        let client = &mut self.clients[number];
        match client.pump(&mut self.space) {
            Ok(Progress::Waiting) => Ok(false),
            Ok(Progress::Going) => Ok(true),
            Ok(Progress::Over) | Err(_) => {
                if client.script.renewed == Renewed::Never {
                    (client.readable, client.writable) = (false, false);
                    return Ok(false);
                }
                // The old connection is closed by the assignment.
                client.stream = TcpStream::connect(self.address)?;
                (client.at, client.ended) = (0, false);
                (client.readable, client.writable) = (false, false);
                client.register(&self.poll, number)?;
                Ok(false)
            }
        }
    }
}

enum Progress {
    Waiting,
    Going,
    Over,
}

impl Client {
    fn register(&mut self, poll: &Poll, number: usize) -> io::Result<()> {
        OPENED.fetch_add(1, Relaxed);
        // A reset at the end leaves no port in TIME_WAIT.
        set_socket_linger(&self.stream, Some(Duration::ZERO))?;
        self.stream.set_nodelay(true)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut self.stream, Token(number), both)
    }

    fn pump(&mut self, space: &mut [u8]) -> io::Result<Progress> {
        for _ in 0..ROUNDS {
            if self.writable {
                self.write()?;
            }
            if self.readable {
                match self.read(space)? {
                    0 if self.script.renewed == Renewed::AfterReset => {
                        (self.readable, self.ended) = (false, false);
                    }
                    0 => return Ok(Progress::Over),
                    _ if self.script.renewed == Renewed::AfterAnswer => return Ok(Progress::Over),
                    _ => {}
                }
            }
            if !self.readable && !self.writable {
                return Ok(Progress::Waiting);
            }
        }
        Ok(Progress::Going)
    }

    /// Sends a part of the script.
    fn write(&mut self) -> io::Result<()> {
        let first = &self.script.first;
        let (sent, wanted) = match &self.script.again {
            _ if self.at < first.len() => {
                let rest = &first[self.at..];
                (self.stream.write(rest), rest.len())
            }
            None => {
                self.writable = false;
                return Ok(());
            }
            Some(pattern) => {
                let mut offset = ((self.at - first.len()) % pattern.bytes) as u64;
                let rest = pattern.bytes - offset as usize;
                let sent = sendfile(&self.stream, &pattern.file, Some(&mut offset), rest);
                (sent.map_err(io::Error::from), rest)
            }
        };
        match sent {
            Ok(count) => {
                // After a partial write, an event will say when there is space again.
                self.writable = count == wanted;
                self.at += count;
                SENT.fetch_add(count as u64, Relaxed);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.writable = false;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Throws received bytes away, and returns their number. Zero: the server has closed.
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        // For TCP, this flag discards the bytes without a copy (tcp(7)).
        match recv(&self.stream, &mut *space, RecvFlags::TRUNC) {
            Ok((_, count)) => {
                // After a short read, an event will announce the next bytes, but not the end.
                self.readable = count == space.len() || self.ended;
                RECEIVED.fetch_add(count as u64, Relaxed);
                Ok(count)
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                Ok(usize::MAX)
            }
            Err(error) => Err(error.into()),
        }
    }
}
