//! The WebSocket messages of a client: frames made and parsed without the server's codec, and a
//! small model of a session. Each frame from the server is checked against the model on arrival.
//!
//! A message carries the number of its sender, and the number of messages that the sender has sent
//! before: a receiver can tell the origin of the message. The form of a message is drawn: the
//! frames, the compression, the control frames in between. The answer must not depend on the form.

use std::collections::VecDeque;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::weather::Rng;

/// The place of a session.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// An endpoint with known messages: an echo of the client's own, or messages known by other
    /// means.
    Known,
    /// A room: every member receives the client's messages.
    Room(String),
    /// The presence of a room: the client receives the number of members.
    Presence(String),
    /// The pages with live reload.
    Pages,
}

impl Place {
    fn of(target: &str) -> Place {
        if target == "/_oneloop/live" {
            return Place::Pages;
        }
        let Some(room) = target.strip_prefix("/rooms/") else {
            return Place::Known;
        };
        let (name, query) = room.split_once('?').unwrap_or((room, ""));
        match query.contains("presence") {
            true => Place::Presence(name.into()),
            false => Place::Room(name.into()),
        }
    }
}

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub is_text: bool,
    pub bytes: Vec<u8>,
}

/// The sender of a message, and how many messages the sender has sent before.
pub type Id = (usize, usize);

impl Message {
    /// A message of this length, or the length of the message's name if that is longer.
    fn new((speaker, count): Id, is_text: bool, length: usize) -> Message {
        let mut bytes = format!("{speaker}.{count} ").into_bytes();
        let mut rng = Rng::new(count as u64);
        while bytes.len() < length {
            let room = length - bytes.len();
            match is_text {
                // Characters of all lengths: a cut may fall into a character.
                true => {
                    let letter = *rng.pick(&["a", "ä", "あ", "𝄞", " the same again ", "."]);
                    let fits = letter.len() <= room;
                    bytes.extend_from_slice(if fits { letter } else { "." }.as_bytes());
                }
                false => bytes.push(rng.below(256) as u8),
            }
        }
        Message { is_text, bytes }
    }

    /// The sender's number and count in the message.
    pub fn id(&self) -> Option<Id> {
        let end = self.bytes.iter().position(|b| *b == b' ')?;
        let (speaker, count) = str::from_utf8(&self.bytes[..end]).ok()?.split_once('.')?;
        Some((speaker.parse().ok()?, count.parse().ok()?))
    }
}

/// A session, as a client knows it.
#[derive(Debug)]
pub struct Talk {
    number: usize,
    rng: Rng,
    pub place: Option<Place>,
    /// The client has offered permessage-deflate. The server never refuses the offer.
    pub offers: bool,
    /// The handshake was answered.
    pub is_on: bool,
    /// Every message that the client has sent, and the place.
    pub said: Vec<(Place, Message)>,
    /// Every message that the client has received.
    pub heard: Vec<Message>,
    /// The pings of the client, each with the number of messages sent before.
    pings: Vec<(Vec<u8>, usize)>,
    /// How many pings have been answered, by their own pong or the pong of a newer ping.
    ponged: usize,
    /// Pongs, in answer to the server, not yet sent.
    pub pongs: VecDeque<Vec<u8>>,
    /// The server's close frame, with its code.
    pub close: Option<Option<u16>>,
    /// The client has announced that it sends no more.
    pub is_mute: bool,
    /// The sum of the lengths of the client's frames.
    pub sent_bytes: usize,
    /// The rest of a message that was sent in part.
    pub rest: VecDeque<u8>,
}

impl Talk {
    pub fn new(number: usize) -> Talk {
        Talk {
            number,
            rng: Rng::new(number as u64),
            place: None,
            offers: false,
            is_on: false,
            said: Vec::new(),
            heard: Vec::new(),
            pings: Vec::new(),
            ponged: 0,
            pongs: VecDeque::new(),
            close: None,
            is_mute: false,
            sent_bytes: 0,
            rest: VecDeque::new(),
        }
    }

    // ── Sending ────────────────────────────────────────────────────────────────────────────────

    /// The opening handshake.
    pub fn open(&mut self, target: &str, offers: bool) -> Vec<u8> {
        (self.place, self.offers) = (Some(Place::of(target)), offers);
        let extensions = match offers {
            true => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            false => "",
        };
        format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{extensions}\r\n"
        )
        .into_bytes()
    }

    /// Checks the answer to the handshake.
    pub fn switched(&mut self, head: &str) {
        assert!(head.contains(ACCEPT), "a wrong handshake: {head}");
        let agreed = head.contains("permessage-deflate; server_no_context_takeover");
        assert_eq!(agreed, self.offers, "a wrong handshake: {head}");
        self.is_on = true;
    }

    /// Adds an expected message, sent by an endpoint.
    pub fn expect(&mut self, is_text: bool, bytes: Vec<u8>) {
        self.said.push((Place::Known, Message { is_text, bytes }));
    }

    /// A message of the client, in one or more frames.
    pub fn say(&mut self, is_text: bool, length: usize) -> Vec<u8> {
        let place = self.place.clone().expect("the handshake comes before");
        let message = Message::new((self.number, self.said.len()), is_text, length);
        let frames = self.dress(&message);
        self.said.push((place, message));
        frames
    }

    /// A text message of a page.
    pub fn tell(&mut self, text: &str) -> Vec<u8> {
        self.dress(&Message {
            is_text: true,
            bytes: text.into(),
        })
    }

    /// A message for a room by POST.
    pub fn post(&mut self, room: &str, length: usize) -> Vec<u8> {
        let message = Message::new((self.number, self.said.len()), true, length);
        let length = message.bytes.len();
        let head =
            format!("POST /rooms/{room} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        let bytes = [head.as_bytes(), &message.bytes].concat();
        self.said.push((Place::Room(room.into()), message));
        bytes
    }

    fn dress(&mut self, message: &Message) -> Vec<u8> {
        let is_deflated = self.offers && self.rng.chance(60);
        let payload = match is_deflated {
            true => deflated(&message.bytes, &mut self.rng),
            false => message.bytes.clone(),
        };
        let count = *self.rng.pick(&[1, 1, 2, 3, 5]);
        let mut cuts: Vec<usize> = (1..count)
            .map(|_| self.rng.below(payload.len() + 1))
            .collect();
        cuts.extend([0, payload.len()]);
        cuts.sort_unstable();
        let mut out = Vec::new();
        for (n, ends) in cuts.windows(2).enumerate() {
            let opcode = match n {
                0 => 2 - u8::from(message.is_text) + if is_deflated { RSV1 } else { 0 },
                _ => 0,
            };
            let fin = if n + 1 == count { FIN } else { 0 };
            out.extend(self.frame(opcode | fin, &payload[ends[0]..ends[1]]));
            if n + 1 < count && self.rng.chance(30) {
                let ping = self.ping();
                out.extend(ping);
            }
            if self.rng.chance(10) {
                out.extend(self.frame(0x8a, b"unasked"));
            }
        }
        out
    }

    /// A well-formed frame with a drawn masking key.
    pub fn frame(&mut self, first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            n @ 0..126 => out.push(0x80 | n as u8),
            n @ 126..0x1_0000 => {
                out.push(0x80 | 126);
                out.extend((n as u16).to_be_bytes());
            }
            n => {
                out.push(0x80 | 127);
                out.extend((n as u64).to_be_bytes());
            }
        }
        let key: [u8; 4] = std::array::from_fn(|_| self.rng.below(256) as u8);
        out.extend(key);
        let masked = payload.iter().zip(key.iter().cycle());
        out.extend(masked.map(|(byte, key)| byte ^ key));
        self.sent_bytes += out.len();
        out
    }

    /// A ping with a content of its own.
    pub fn ping(&mut self) -> Vec<u8> {
        let mut content = format!("ping {}", self.pings.len()).into_bytes();
        content.resize(self.rng.within(content.len()..=125), b'.');
        self.pings.push((content.clone(), self.said.len()));
        self.frame(0x89, &content)
    }

    /// A close frame.
    pub fn bye(&mut self, code: Option<u16>) -> Vec<u8> {
        self.is_mute = true;
        match code {
            Some(code) => self.frame(0x88, &[&code.to_be_bytes(), "tschüß".as_bytes()].concat()),
            None => self.frame(0x88, b""),
        }
    }

    // ── Receiving ──────────────────────────────────────────────────────────────────────────────

    /// Parses the first frame from the server. Returns the length of the frame; `None` if the frame
    /// is incomplete.
    pub fn hear(&mut self, bytes: &[u8]) -> Option<usize> {
        let (first, second) = (*bytes.first()?, *bytes.get(1)?);
        assert!(self.close.is_none(), "a wrong frame: one behind a close");
        let (length, at) = match second {
            0..126 => (usize::from(second), 2),
            126 => (number(bytes.get(2..4)?), 4),
            127 => (number(bytes.get(2..10)?), 10),
            128.. => panic!("a wrong frame: a server does not mask"),
        };
        let is_shortest = match at {
            2 => true,
            4 => length >= 126,
            _ => length >= 0x1_0000,
        };
        assert!(is_shortest, "a wrong frame: the length is too long");
        let payload = bytes.get(at..at + length)?;
        match first {
            0x81 | 0x82 => self.hear_message(first == 0x81, payload.to_vec()),
            0xc1 | 0xc2 if self.offers => self.hear_message(first == 0xc1, inflated(payload)),
            0x88 => self.hear_close(payload),
            0x89 if length <= 125 => self.pongs.push_back(payload.to_vec()),
            0x8a if length <= 125 => self.hear_pong(payload),
            _ => panic!("a wrong frame: it begins with {first:#x} and has {length} bytes"),
        }
        Some(at + length)
    }

    fn hear_message(&mut self, is_text: bool, bytes: Vec<u8>) {
        let message = Message { is_text, bytes };
        assert!(!is_text || str::from_utf8(&message.bytes).is_ok());
        if self.place == Some(Place::Known) {
            let expected = self.said.get(self.heard.len());
            assert!(
                expected.is_some_and(|(_, said)| *said == message),
                "a wrong message: {message:?} and not {expected:?}"
            );
        }
        self.heard.push(message);
    }

    fn hear_pong(&mut self, payload: &[u8]) {
        let unanswered = &self.pings[self.ponged..];
        let place = unanswered.iter().position(|(ping, _)| ping == payload);
        let place =
            self.ponged + place.expect("a wrong pong: nobody has asked, or it was answered");
        // Messages sent before a ping are answered before the pong.
        let is_late = self.heard.len() >= self.pings[place].1;
        assert!(
            is_late || self.place != Some(Place::Known),
            "a wrong pong: it has overtaken a message"
        );
        self.ponged = place + 1;
    }

    fn hear_close(&mut self, payload: &[u8]) {
        assert!(payload.len() != 1 && payload.len() <= 125, "a wrong close");
        let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        let reason = payload.get(2..).unwrap_or_default();
        assert!(str::from_utf8(reason).is_ok(), "a wrong close");
        self.close = Some(code);
    }

    /// Whether every ping was answered, the last by its own pong.
    pub fn is_ponged(&self) -> bool {
        self.ponged == self.pings.len()
    }

    /// Whether the client is in a room, with messages of other members.
    pub fn is_in_room(&self) -> bool {
        matches!(self.place, Some(Place::Room(_)))
    }

    /// Whether the client receives messages that it has not asked for.
    pub fn hears_others(&self) -> bool {
        self.place.is_some() && self.place != Some(Place::Known)
    }

    /// Whether the client has received every message that it has sent to its place.
    pub fn has_heard_itself(&self) -> bool {
        let here = |(place, _): &&(Place, Message)| Some(place) == self.place.as_ref();
        match &self.place {
            Some(Place::Known) => self.heard.len() == self.said.len(),
            Some(Place::Room(_)) => {
                let last = self.said.iter().rfind(here).and_then(|(_, m)| m.id());
                let mut heard = self.heard.iter().rev().map(Message::id);
                last.is_none() || heard.any(|id| id == last)
            }
            Some(Place::Presence(_) | Place::Pages) | None => true,
        }
    }
}

/// The key and its answer in RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

/// The end of a compressed message, removed before sending.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

fn number(bytes: &[u8]) -> usize {
    let digits = bytes.iter();
    digits.fold(0, |n, byte| n << 8 | usize::from(*byte))
}

/// Compresses as any sender may: in any blocks, of which one may be marked as the last.
pub fn deflated(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let level = Compression::new(rng.below(10) as u32);
    let mut compress = Compress::new(level, false);
    let mut out = Vec::with_capacity(2 * bytes.len() + 100);
    let (head, rest) = bytes.split_at(rng.below(bytes.len() + 1));
    let says_so = rng.chance(20);
    let flush = match says_so {
        true => FlushCompress::Finish,
        false => FlushCompress::Sync,
    };
    for (part, flush) in [(head, FlushCompress::Sync), (rest, flush)] {
        let done = compress.compress_vec(part, &mut out, flush);
        done.expect("there is room");
    }
    match says_so {
        true => out.push(0),
        false => out.truncate(out.len() - TAIL.len()),
    }
    out
}

fn inflated(payload: &[u8]) -> Vec<u8> {
    let mut decompress = Decompress::new(false);
    let mut out = Vec::with_capacity(1 << 16);
    let bytes = [payload, &TAIL].concat();
    let done = decompress.decompress_vec(&bytes, &mut out, FlushDecompress::Sync);
    done.expect("a wrong frame: it cannot be inflated");
    assert_eq!(decompress.total_in() as usize, bytes.len(), "a wrong frame");
    out
}
