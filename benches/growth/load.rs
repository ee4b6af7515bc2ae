//! The clients of a server: blocking sockets in this process.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::common::programs;
use crate::common::scratch::Scratch;
use crate::common::server::Server;
use crate::common::tools::Tools;
use crate::heads;
use crate::scenario::{Scenario, Subject};
use crate::wire;

const MASKING_KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MESSAGE_BYTES: usize = 20;
const FILE_BYTES: usize = 700;
/// The number of requests that are sent at once to warm a server.
const WARMING: usize = 64;

/// A server, and the exchanges with it.
pub struct Load {
    server: Server,
    clients: Vec<BufReader<TcpStream>>,
    /// The exchanges, which come in turn for ever.
    exchanges: Vec<Exchange>,
    next: usize,
    at_once: usize,
}

/// A request or message, and the clients that hear the answer.
struct Exchange {
    bytes: Vec<u8>,
    sender: usize,
    hearers: Range<usize>,
    answer: Answer,
}

#[derive(Clone, Copy)]
enum Answer {
    /// A response with the status 200 and a body of `FILE_BYTES`.
    Response,
    /// A frame with the message.
    Frame,
}

impl Load {
    /// Starts a server, opens the connections, and makes each exchange once. This warms the server.
    ///
    /// # Errors
    /// A sentence, when the server does not start or answers wrongly.
    pub fn start(
        scenario: &Scenario,
        size: usize,
        tools: &Tools,
        scratch: &Scratch,
    ) -> Result<Self, String> {
        let server = programs::start_oneloop(tools, &root(scenario, size, scratch))?;
        let mut load = Self {
            server,
            clients: Vec::new(),
            exchanges: Vec::new(),
            next: 0,
            at_once: WARMING,
        };
        let prepared = match scenario.subject {
            Subject::Connections => load.connections(size),
            Subject::Files => load.files(size),
            Subject::Rooms => load.rooms(size),
            Subject::Fields => load.fields(size),
        };
        let warmed = prepared.and_then(|()| {
            while load.next < load.exchanges.len() {
                load.exchange()?;
            }
            Ok(())
        });
        warmed.map_err(|error| format!("{}, {size}: {error}", scenario.name))?;
        (load.next, load.at_once) = (0, scenario.at_once);
        Ok(load)
    }

    fn connections(&mut self, size: usize) -> io::Result<()> {
        for client in 0..size {
            self.connect()?;
            self.get(client, heads::program(&path(0), 4));
        }
        Ok(())
    }

    fn files(&mut self, size: usize) -> io::Result<()> {
        self.connect()?;
        for file in 0..size {
            self.get(0, heads::program(&path(file), 4));
        }
        Ok(())
    }

    fn fields(&mut self, size: usize) -> io::Result<()> {
        self.connect()?;
        self.get(0, heads::program(&path(0), size));
        Ok(())
    }

    fn rooms(&mut self, size: usize) -> io::Result<()> {
        for client in 0..2 * size {
            self.open(&format!("/rooms/{}", client / 2))?;
        }
        for client in 0..2 * size {
            let first = client / 2 * 2;
            self.exchanges.push(Exchange {
                bytes: wire::frame(MESSAGE_BYTES, Some(MASKING_KEY)),
                sender: client,
                hearers: first..first + 2,
                answer: Answer::Frame,
            });
        }
        Ok(())
    }

    fn get(&mut self, client: usize, bytes: Vec<u8>) {
        self.exchanges.push(Exchange {
            bytes,
            sender: client,
            hearers: client..client + 1,
            answer: Answer::Response,
        });
    }

    /// Connects a client.
    fn connect(&mut self) -> io::Result<()> {
        let stream = TcpStream::connect(self.address())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        self.clients.push(BufReader::with_capacity(1 << 10, stream));
        Ok(())
    }

    /// Connects a client, and opens a WebSocket connection to `path`.
    fn open(&mut self, path: &str) -> io::Result<()> {
        const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
        self.connect()?;
        let opening = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
            self.address()
        );
        let client = self.clients.last_mut().expect("it was connected above");
        client.get_mut().write_all(opening.as_bytes())?;
        let head = read_head(client)?;
        match head.contains(&wire::accept(KEY)) {
            true => Ok(()),
            false => Err(io::Error::other(head)),
        }
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The process of the server.
    pub fn process(&self) -> u32 {
        self.server.process()
    }

    /// Makes exchanges for `time`, and returns their number.
    ///
    /// # Errors
    /// A sentence, when an answer is wrong or does not come.
    pub fn run(&mut self, time: Duration) -> Result<usize, String> {
        let (began, mut count) = (Instant::now(), 0);
        while began.elapsed() < time {
            count += self
                .exchange()
                .map_err(|error| format!("a wrong answer: {error}"))?;
        }
        Ok(count)
    }

    /// Sends the next requests at once, and reads the answers. Returns the number of requests.
    fn exchange(&mut self) -> io::Result<usize> {
        let first = self.next % self.exchanges.len();
        let end = (first + self.at_once).min(self.exchanges.len());
        for exchange in &self.exchanges[first..end] {
            let sender = self.clients[exchange.sender].get_mut();
            sender.write_all(&exchange.bytes)?;
        }
        for exchange in &self.exchanges[first..end] {
            for hearer in &mut self.clients[exchange.hearers.clone()] {
                exchange.answer.read(hearer)?;
            }
        }
        self.next = end;
        Ok(end - first)
    }
}

impl Answer {
    /// Reads an answer and checks it.
    fn read(self, client: &mut impl BufRead) -> io::Result<()> {
        let mut bytes = [0; FILE_BYTES];
        match self {
            Answer::Response => {
                let head = read_head(client)?;
                client.read_exact(&mut bytes)?;
                let length = format!("\r\nContent-Length: {FILE_BYTES}\r\n");
                if head.starts_with("HTTP/1.1 200 ") && head.contains(&length) {
                    return Ok(());
                }
                Err(io::Error::other(head))
            }
            Answer::Frame => {
                let due = wire::frame(MESSAGE_BYTES, None);
                let bytes = &mut bytes[..due.len()];
                client.read_exact(bytes)?;
                match bytes == due {
                    true => Ok(()),
                    false => Err(ErrorKind::InvalidData.into()),
                }
            }
        }
    }
}

/// Reads the head of a response.
fn read_head(client: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if client.read_line(&mut head)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// The request path of a file.
fn path(file: usize) -> String {
    format!("/{file}.txt")
}

/// The directory that a server serves.
fn root(scenario: &Scenario, size: usize, scratch: &Scratch) -> PathBuf {
    scratch.path().join(format!("{}-{size}", scenario.name))
}

/// Writes the files for a server, each of `FILE_BYTES`.
///
/// # Errors
/// A sentence, when a file cannot be written.
pub fn write_files(scenario: &Scenario, size: usize, scratch: &Scratch) -> Result<(), String> {
    let root = root(scenario, size, scratch);
    let count = match scenario.subject {
        Subject::Files => size,
        Subject::Connections | Subject::Rooms | Subject::Fields => 1,
    };
    let write = |file: usize| fs::write(root.join(&path(file)[1..]), [b'x'; FILE_BYTES]);
    fs::create_dir_all(&root)
        .and_then(|()| (0..count).try_for_each(write))
        .map_err(|error| format!("cannot write to {}: {error}", root.display()))
}
