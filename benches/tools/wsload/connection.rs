//! One connection: sends batches, hears answers.

use std::io::{self, ErrorKind::WouldBlock, Read, Write};

use mio::event::Event;
use mio::net::TcpStream;

use crate::answers::{Answers, Due};

/// What every connection sends and expects: the same for all.
pub struct Messages {
    /// The messages of one batch, masked, one behind the other.
    pub batch: Vec<u8>,
    /// How many those are.
    pub in_flight: usize,
    /// What is to be heard, so many times.
    pub due: Due,
}

pub struct Connection {
    pub stream: TcpStream,
    /// Messages that it has yet to hear.
    pub owed: usize,
    /// Bytes of the batch that are yet to be sent.
    unsent: usize,
    answers: Answers,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            owed: 0,
            unsent: 0,
            answers: Answers::default(),
        }
    }

    /// Begins to send a batch.
    pub fn send(&mut self, messages: &Messages) -> Result<(), String> {
        self.unsent = messages.batch.len();
        self.write(messages)
    }

    /// Does what the event allows: what was heard is no longer owed.
    pub fn proceed(
        &mut self,
        event: &Event,
        messages: &Messages,
        read_buffer: &mut [u8],
    ) -> Result<(), String> {
        if event.is_writable() {
            self.write(messages)?;
        }
        loop {
            match self.stream.read(read_buffer) {
                Ok(0) => return Err("closed by the server".into()),
                Ok(count) => {
                    self.hear(&read_buffer[..count], messages)?;
                    if count < read_buffer.len() && !event.is_read_closed() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Sends what is left until the socket is full; the edge on which it no longer is comes as an event.
    fn write(&mut self, messages: &Messages) -> Result<(), String> {
        let mut write = || -> io::Result<()> {
            while self.unsent > 0 {
                let rest = &messages.batch[messages.batch.len() - self.unsent..];
                self.unsent -= self.stream.write(rest)?;
            }
            let pong = &mut self.answers.pong;
            while !pong.is_empty() {
                let sent = self.stream.write(pong)?;
                pong.drain(..sent);
            }
            Ok(())
        };
        match write() {
            Err(error) if error.kind() != WouldBlock => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// Takes what came.
    pub fn hear(&mut self, bytes: &[u8], messages: &Messages) -> Result<(), String> {
        let heard = self.answers.hear(bytes, &messages.due)?;
        let owed = self.owed.checked_sub(heard);
        self.owed = owed.ok_or("more answers than messages")?;
        if self.answers.pong.is_empty() {
            return Ok(());
        }
        self.write(messages)
    }
}
