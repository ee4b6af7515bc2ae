//! A toy of TLS: a transport with bytes of its own, and the client's end of it. It hides nothing. It has
//! what makes TLS difficult for a loop of edges:
//!
//! - a handshake in both directions before the first byte of either;
//! - records, which are of use only when they are whole: bytes wait inside that no event reports;
//! - output that is born from input while no other output is queued: answers of the handshake, tickets,
//!   answers to new keys;
//! - records that the socket takes in part;
//! - an end that is announced by a record, for which there may be no space.
//!
//! A record is a type, a length of one byte, and the content. In data, each byte is inverted.

use std::io::IoSlice;
use std::mem;

use oneloop::transport::{Calls, Io, Ready, Socket, Tcp, Transport};

use crate::files::SimFile;
use crate::world::SimSocket;

const HELLO: u8 = 1;
const HELLO_BACK: u8 = 2;
const FINISHED: u8 = 3;
const TICKET: u8 = 4;
const DATA: u8 = 5;
const NEW_KEY: u8 = 6;
const NEW_KEY_TOO: u8 = 7;
const CLOSE_NOTIFY: u8 = 8;

/// The largest content of a record, and the most that is taken for records at once.
const RECORD_BYTES: usize = 40;
const WRITE_BYTES: usize = 100;

/// The work of an answer to HELLO.
const HANDSHAKE_WORK: u32 = 200;

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("a record is short");
    [&[kind, length], content].concat()
}

/// Data in records.
fn records(bytes: &[u8]) -> Vec<u8> {
    let records = bytes.chunks(RECORD_BYTES).map(|content| {
        let inverted: Vec<u8> = content.iter().map(|b| !b).collect();
        record(DATA, &inverted)
    });
    records.collect::<Vec<_>>().concat()
}

/// Takes the first record, if it is whole.
fn take_record(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let whole = whole_record(bytes)?;
    let record: Vec<u8> = bytes.drain(..whole).collect();
    Some((record[0], record[2..].to_vec()))
}

/// The length of the first record, if it is whole.
fn whole_record(bytes: &[u8]) -> Option<usize> {
    let whole = 2 + usize::from(*bytes.get(1)?);
    (bytes.len() >= whole).then_some(whole)
}

fn inverted(content: &[u8]) -> impl Iterator<Item = u8> {
    content.iter().map(|b| !b)
}

// ── The server's end ───────────────────────────────────────────────────────────────────────────

/// A connection as the simulated driver hands it out.
#[derive(Debug)]
pub struct Toy {
    tcp: Tcp<SimSocket>,
    session: Option<Session>,
}

/// The server's end of the toy.
#[derive(Default, Debug)]
struct Session {
    /// Bytes from the socket.
    encoded: Vec<u8>,
    /// The content of one record.
    decoded: Vec<u8>,
    /// Records that wait to be sent.
    unsent: Vec<u8>,
    is_open: bool,
    ended: bool,
    finished: bool,
    shut: bool,
    work: u32,
}

impl Toy {
    pub fn new(tcp: Tcp<SimSocket>, is_secure: bool) -> Toy {
        let session = is_secure.then(Session::default);
        Toy { tcp, session }
    }

    pub fn socket_mut(&mut self) -> &mut SimSocket {
        self.tcp.socket_mut()
    }
}

impl Session {
    fn send(&mut self, tcp: &mut Tcp<SimSocket>) -> Io {
        if self.shut {
            self.unsent.clear();
        }
        let mut sent = 0;
        while !self.unsent.is_empty() {
            match tcp.write(&self.unsent) {
                Io::Done(n) => {
                    self.unsent.drain(..n);
                    sent += n;
                }
                Io::Blocked | Io::Eof => break,
                failed @ Io::Failed(_) => return failed,
            }
        }
        match sent {
            0 => Io::Blocked,
            n => Io::Done(n),
        }
    }

    fn read(&mut self, tcp: &mut Tcp<SimSocket>, into: &mut [u8]) -> Io {
        loop {
            if !self.decoded.is_empty() {
                let n = into.len().min(self.decoded.len());
                into[..n].copy_from_slice(&self.decoded[..n]);
                self.decoded.drain(..n);
                return Io::Done(n);
            }
            if self.ended {
                return Io::Eof;
            }
            if let Some((kind, content)) = take_record(&mut self.encoded) {
                if let failed @ Io::Failed(_) = self.take(kind, &content, tcp) {
                    return failed;
                }
                continue;
            }
            let mut bytes = [0; 150];
            match tcp.read(&mut bytes) {
                Io::Done(n) => self.encoded.extend_from_slice(&bytes[..n]),
                Io::Eof => self.ended = true,
                other => return other,
            }
        }
    }

    /// Takes a record, and sends the answer.
    fn take(&mut self, kind: u8, content: &[u8], tcp: &mut Tcp<SimSocket>) -> Io {
        let answer = match kind {
            HELLO => {
                self.work += HANDSHAKE_WORK;
                record(HELLO_BACK, &[0; 100])
            }
            FINISHED => {
                self.is_open = true;
                [(); 2].map(|()| record(TICKET, &[0; 20])).concat()
            }
            NEW_KEY => record(NEW_KEY_TOO, &[0; 5]),
            DATA => {
                assert!(self.is_open, "data before the end of the handshake");
                self.decoded.extend(inverted(content));
                return Io::Blocked;
            }
            CLOSE_NOTIFY => {
                self.ended = true;
                self.encoded.clear();
                return Io::Blocked;
            }
            other => panic!("no record of a client: {other}"),
        };
        self.unsent.extend(answer);
        self.send(tcp)
    }

    fn write(&mut self, tcp: &mut Tcp<SimSocket>, bytes: &[u8]) -> Io {
        if let failed @ Io::Failed(_) = self.send(tcp) {
            return failed;
        }
        if !self.unsent.is_empty() || !self.is_open {
            return Io::Blocked;
        }
        let n = bytes.len().min(WRITE_BYTES);
        assert!(n > 0 && !self.finished, "a write behind our own end");
        self.unsent = records(&bytes[..n]);
        self.work += 1;
        match self.send(tcp) {
            failed @ Io::Failed(_) => failed,
            Io::Done(_) | Io::Blocked | Io::Eof => Io::Done(n),
        }
    }
}

impl Transport for Toy {
    type File = SimFile;

    fn mark(&mut self, ready: Ready) {
        self.tcp.mark(ready);
    }

    fn is_drained(&self) -> bool {
        let holds_none = |session: &Session| {
            session.decoded.is_empty() && whole_record(&session.encoded).is_none() && !session.ended
        };
        self.session.as_ref().is_none_or(holds_none) && self.tcp.is_drained()
    }

    fn is_opening(&self) -> bool {
        let opens = |session: &Session| !session.is_open && !session.ended;
        self.session.as_ref().is_some_and(opens)
    }

    fn wants_write(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| !session.unsent.is_empty())
    }

    fn flush(&mut self) -> Io {
        match &mut self.session {
            Some(session) => session.send(&mut self.tcp),
            None => Io::Blocked,
        }
    }

    fn announces_end(&self) -> bool {
        self.session.is_some()
    }

    fn take_work(&mut self) -> u32 {
        let session = self.session.as_mut();
        session.map_or(0, |session| mem::take(&mut session.work))
    }

    fn unsent_bytes(&self) -> usize {
        let session = self.session.as_ref();
        session.map_or(0, |session| session.unsent.len())
    }

    fn held_bytes(&self) -> usize {
        self.session.as_ref().map_or(0, |session| {
            session.encoded.len() + session.decoded.len() + session.unsent.len()
        })
    }

    fn take_calls(&mut self) -> Calls {
        self.tcp.take_calls()
    }

    fn ready(&self) -> Ready {
        self.tcp.ready()
    }

    fn read(&mut self, into: &mut [u8]) -> Io {
        match &mut self.session {
            Some(session) => session.read(&mut self.tcp, into),
            None => self.tcp.read(into),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Io {
        match &mut self.session {
            Some(session) => session.write(&mut self.tcp, bytes),
            None => self.tcp.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> Io {
        match &mut self.session {
            Some(session) => {
                let bytes: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
                session.write(&mut self.tcp, &bytes.concat())
            }
            None => self.tcp.write_vectored(slices),
        }
    }

    fn send_file(&mut self, file: &SimFile, at: u64, count: usize) -> Io {
        let Some(session) = &mut self.session else {
            return self.tcp.send_file(file, at, count);
        };
        let mut bytes = [0; WRITE_BYTES];
        let into = &mut bytes[..count.min(WRITE_BYTES)];
        match self.tcp.socket_mut().read_file(file, into, at) {
            Ok(0) => Io::Eof,
            Ok(n) => session.write(&mut self.tcp, &bytes[..n]),
            Err(error) => Io::Failed(error),
        }
    }

    fn finish_write(&mut self) -> Io {
        let Some(session) = &mut self.session else {
            return self.tcp.finish_write();
        };
        if !mem::replace(&mut session.finished, true) {
            session.unsent.extend(record(CLOSE_NOTIFY, &[]));
        }
        let moved = match session.send(&mut self.tcp) {
            failed @ Io::Failed(_) => failed,
            _ if !session.unsent.is_empty() => Io::Blocked,
            _ => self.tcp.finish_write(),
        };
        let moved = match moved {
            Io::Failed(_) if session.ended => Io::Done(1),
            moved => moved,
        };
        session.shut |= matches!(moved, Io::Done(_));
        moved
    }

    fn reset_at_close(&mut self) {
        self.tcp.reset_at_close();
    }
}

// ── The client's end ───────────────────────────────────────────────────────────────────────────

/// The client's end of the toy, between a script and the wire.
#[derive(Default, Debug)]
pub struct ClientEnd {
    encoded: Vec<u8>,
    /// Bytes of the script that wait for the handshake.
    waiting: Vec<u8>,
    is_open: bool,
    /// The number of pieces that were sent.
    pieces: usize,
    /// The server has announced its end.
    pub is_told: bool,
}

impl ClientEnd {
    pub fn hello() -> Vec<u8> {
        record(HELLO, &[0; 30])
    }

    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// What goes on the wire for bytes of the script: for some, a new key is told before.
    pub fn send(&mut self, bytes: &[u8]) -> Vec<u8> {
        if !self.is_open {
            self.waiting.extend_from_slice(bytes);
            return Vec::new();
        }
        self.pieces += 1;
        let mut sent = match self.pieces % 4 {
            2 => record(NEW_KEY, &[0; 3]),
            _ => Vec::new(),
        };
        sent.extend(records(bytes));
        sent
    }

    pub fn end() -> Vec<u8> {
        record(CLOSE_NOTIFY, &[])
    }

    /// Takes bytes from the wire, and appends the content to `into`. Returns the answer.
    pub fn receive(&mut self, bytes: &[u8], into: &mut Vec<u8>) -> Vec<u8> {
        self.encoded.extend_from_slice(bytes);
        let mut answer = Vec::new();
        while let Some((kind, content)) = take_record(&mut self.encoded) {
            match kind {
                _ if self.is_told => {}
                HELLO_BACK => {
                    self.is_open = true;
                    answer.extend(record(FINISHED, &[0; 10]));
                    let waiting = mem::take(&mut self.waiting);
                    answer.extend(self.send(&waiting));
                }
                TICKET | NEW_KEY_TOO => {}
                DATA => into.extend(inverted(&content)),
                CLOSE_NOTIFY => self.is_told = true,
                other => panic!("no record of a server: {other}"),
            }
        }
        answer
    }

    /// Whether these bytes have nothing for the script.
    pub fn is_idle_talk(&self, bytes: &[u8]) -> bool {
        let mut encoded = [&self.encoded, bytes].concat();
        while let Some((kind, _)) = take_record(&mut encoded) {
            if kind == DATA {
                return false;
            }
        }
        encoded.is_empty()
    }
}
