//! A connection, which sends batches and receives answers.

use std::io::{self, ErrorKind::WouldBlock, Read, Write};

use mio::event::Event;
use mio::net::TcpStream;

use crate::answers::{Answers, Due};

/// The messages and the expected answers, equal for every connection.
pub struct Messages {
    /// The frames of a batch, masked, one after the other.
    pub batch: Vec<u8>,
    /// The number of messages in a batch.
    pub in_flight: usize,
    /// The expected answer to each message.
    pub due: Due,
}

pub struct Connection {
    pub stream: TcpStream,
    /// The number of answers that are still missing.
    pub owed: usize,
    /// The number of bytes of the batch that are not sent yet.
    unsent: usize,
    answers: Answers,
}

impl Connection {
    /// Takes a stream after the opening handshake.
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            owed: 0,
            unsent: 0,
            answers: Answers::default(),
        }
    }

    /// Begins to send a batch.
    ///
    /// # Errors
    /// A sentence, when the connection has failed.
    pub fn send(&mut self, messages: &Messages) -> Result<(), String> {
        self.unsent = messages.batch.len();
        self.write(messages)
    }

    /// Writes and reads as far as the event allows, and subtracts the received answers from `owed`.
    ///
    /// # Errors
    /// A sentence, when the connection has failed or an answer is wrong.
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

    /// Sends the rest of the batch until the socket is full. An event will report when the socket
    /// has space again.
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

    /// Takes received bytes.
    ///
    /// # Errors
    /// A sentence, when an answer is wrong or was not expected.
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
