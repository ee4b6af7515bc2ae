//! The load: the connections, and their loop.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::answers::Due;
use crate::connection::{Connection, Messages};
use crate::opening;
use crate::options::Options;
use crate::tally::Tally;
use crate::wire;

/// The time that the last answers may take after the end of sending.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The connections, after their opening handshakes.
pub struct Load {
    poll: Poll,
    /// `None` in place of a connection that has failed. In a room, the first remaining connection
    /// sends.
    connections: Vec<Option<Connection>>,
    messages: Messages,
    /// The number of missing answers on every connection together.
    awaited: usize,
}

impl Load {
    /// Opens the connections.
    ///
    /// # Errors
    /// A sentence, when an opening handshake fails.
    pub fn open(options: &Options) -> Result<Self, String> {
        let Options {
            authority, path, ..
        } = options;
        let address = resolve(authority)?;
        // Each message has a different key, so the messages of a batch differ.
        let masked = (0..options.in_flight).map(|_| {
            let key = (opening::random() as u32)
                .to_ne_bytes()
                .map(|byte| byte | 1);
            wire::frame(options.payload_bytes, Some(key))
        });
        let messages = Messages {
            batch: masked.collect::<Vec<_>>().concat(),
            in_flight: options.in_flight,
            due: Due {
                frame: wire::frame(options.payload_bytes, None),
                payload_bytes: options.payload_bytes,
                is_probe: true,
            },
            is_room: options.is_room,
        };
        let poll = Poll::new().map_err(|error| format!("cannot poll: {error}"))?;
        let mut connections = Vec::new();
        for index in 0..options.connections {
            let (stream, rest) = opening::open(address, authority, path)?;
            let mut connection = Connection::new(TcpStream::from_std(stream));
            connection.hear(&rest, &messages)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut connection.stream, Token(index), both)
                .map_err(|error| format!("cannot poll: {error}"))?;
            connections.push(Some(connection));
        }
        Ok(Self {
            poll,
            connections,
            messages,
            awaited: 0,
        })
    }

    /// Sends a batch on every connection, or in a room a single batch, and checks every byte of the
    /// answers.
    ///
    /// # Errors
    /// A sentence, when an answer is wrong or missing.
    pub fn probe(&mut self) -> Result<(), String> {
        self.messages.due.is_probe = true;
        let tally = self.run(Duration::ZERO)?;
        self.messages.due.is_probe = false;
        match tally.errors.into_iter().next() {
            None => Ok(()),
            Some((error, connections)) => Err(format!("{error} (on {connections} connections)")),
        }
    }

    /// Sends batches for `duration`, at least one, and waits for the answers.
    ///
    /// # Errors
    /// A sentence, when polling fails. Errors of connections are in the tally.
    pub fn run(&mut self, duration: Duration) -> Result<Tally, String> {
        let mut tally = Tally::default();
        let mut events = Events::with_capacity(1024);
        let mut read_buffer = vec![0; 64 * 1024];
        let begin = Instant::now();
        // The time when each connection sent its batch.
        let mut sent = vec![begin; self.connections.len()];
        if self.messages.is_room {
            self.publish(&mut tally);
        } else {
            for index in 0..self.connections.len() {
                self.send(index, &mut tally);
            }
        }
        while self.awaited > 0 {
            let left = (duration + PATIENCE).saturating_sub(begin.elapsed());
            if left.is_zero() {
                self.give_up(&mut tally);
                break;
            }
            match self.poll.poll(&mut events, Some(left)) {
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                    return Err(format!("cannot poll: {error}"));
                }
                _ => {}
            }
            let goes_on = begin.elapsed() < duration;
            for event in &events {
                let index = event.token().0;
                let Some(connection) = &mut self.connections[index] else {
                    continue;
                };
                let owed = connection.owed;
                let outcome = connection.proceed(event, &self.messages, &mut read_buffer);
                let heard = owed - connection.owed;
                let is_answered = heard > 0 && connection.owed == 0;
                self.awaited -= heard;
                tally.messages += heard as u64;
                if let Err(error) = outcome {
                    self.fail(index, error, &mut tally);
                } else if is_answered && !self.messages.is_room {
                    let now = Instant::now();
                    tally.latencies.add(now - sent[index]);
                    sent[index] = now;
                    if goes_on {
                        self.send(index, &mut tally);
                    }
                }
            }
            if self.awaited == 0 && self.messages.is_room {
                let now = Instant::now();
                tally.latencies.add(now - sent[0]);
                sent[0] = now;
                if goes_on {
                    self.publish(&mut tally);
                }
            }
        }
        tally.elapsed = begin.elapsed();
        Ok(tally)
    }

    /// Sends a batch whose answers go to this connection only.
    fn send(&mut self, index: usize, tally: &mut Tally) {
        let Some(connection) = &mut self.connections[index] else {
            return;
        };
        connection.owed = self.messages.in_flight;
        self.awaited += self.messages.in_flight;
        if let Err(error) = connection.send(&self.messages) {
            self.fail(index, error, tally);
        }
    }

    /// Sends a batch to the room. Every connection expects the answers.
    fn publish(&mut self, tally: &mut Tally) {
        for connection in self.connections.iter_mut().flatten() {
            connection.owed = self.messages.in_flight;
            self.awaited += self.messages.in_flight;
        }
        let publisher = self.connections.iter().position(Option::is_some);
        let Some(index) = publisher else { return };
        let connection = self.connections[index].as_mut();
        let connection = connection.expect("it was found a moment ago");
        if let Err(error) = connection.send(&self.messages) {
            self.fail(index, error, tally);
        }
    }

    /// Closes a connection and counts its error.
    fn fail(&mut self, index: usize, error: String, tally: &mut Tally) {
        if let Some(connection) = self.connections[index].take() {
            self.awaited -= connection.owed;
            *tally.errors.entry(error).or_default() += 1;
        }
    }

    /// Fails every connection with a missing answer.
    fn give_up(&mut self, tally: &mut Tally) {
        for index in 0..self.connections.len() {
            let waits = |connection: &Connection| connection.owed > 0;
            if self.connections[index].as_ref().is_some_and(waits) {
                self.fail(index, self.messages.missing().into(), tally);
            }
        }
    }
}

fn resolve(authority: &str) -> Result<SocketAddr, String> {
    let mut addresses = authority
        .to_socket_addrs()
        .map_err(|error| format!("cannot find {authority}: {error}"))?;
    addresses
        .next()
        .ok_or_else(|| format!("{authority} has no address"))
}
