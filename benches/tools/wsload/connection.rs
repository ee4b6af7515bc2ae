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
    /// Whether the messages go to a room, in which every connection hears every message.
    pub is_room: bool,
}

impl Messages {
    /// Subtracts `heard` answers from `owed`.
    ///
    /// # Errors
    /// A sentence, if there are more answers than messages.
    fn left(&self, owed: usize, heard: usize) -> Result<usize, String> {
        let cure = match self.is_room {
            true => "another client speaks in this room",
            false => "is this a room? add --room",
        };
        owed.checked_sub(heard)
            .ok_or_else(|| format!("more answers than messages: {cure}"))
    }

    /// Describes missing answers.
    pub fn missing(&self) -> &'static str {
        match self.is_room {
            true => "a message was not heard by all: is this no room? leave --room out",
            false => "not all messages were answered",
        }
    }
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
        self.owed = messages.left(self.owed, heard)?;
        if self.answers.pong.is_empty() {
            return Ok(());
        }
        self.write(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    #[test]
    fn a_wrong_number_of_answers_names_the_cure() {
        let messages = |is_room| Messages {
            batch: Vec::new(),
            in_flight: 1,
            due: Due {
                frame: wire::frame(1, None),
                payload_bytes: 1,
                is_probe: false,
            },
            is_room,
        };
        assert_eq!(messages(false).left(3, 2), Ok(1));
        let surplus = messages(false).left(1, 2).unwrap_err();
        assert!(surplus.ends_with("is this a room? add --room"));
        assert!(!messages(true).left(0, 1).unwrap_err().contains("add"));
        assert!(messages(true).missing().ends_with("leave --room out"));
    }
}
