//! Clients that follow a script: the bytes they send and when, the answers they wait for, and the
//! way they leave.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::Read;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use flate2::read::GzDecoder;
use memchr::memmem;
use oneloop::http::{BodyDecoder, BodyPart, Framing};

use crate::disk::Disk;
use crate::files::Tree;
use crate::pages::Part;
use crate::proxied::{Call, Calls};
use crate::talk::Talk;
use crate::weather::PAUSE;
use crate::wire::{ServerEnd, Wire};

/// An act of a client. Most acts are done at once; some wait.
#[derive(Clone, Debug)]
pub enum Act {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Does nothing for a while.
    Pause(Duration),
    /// Waits for a whole answer.
    Answer(Expected),
    /// Sends a GET with these fields for a file that is being edited.
    Ask(&'static str, &'static str),
    /// Waits for the answer to the first [`Ask`](Act::Ask) without an answer, and judges its
    /// freshness.
    Witness,
    /// Overwrites a file in place: the length stays the same.
    Overwrite(&'static str),
    /// Appends to a file.
    Append(&'static str),
    /// Waits until this many more bytes have come.
    Sip(usize),
    /// Takes no bytes from now on, until the client [listens](Act::Listen) again.
    TurnAway,
    /// Takes bytes as they come, as at the beginning.
    Listen,
    /// Ends the client's direction: shutdown(2).
    HalfClose,
    /// Waits for the server to end its direction.
    AwaitEnd,
    /// Waits for the server to close, without any sign that the client would notice.
    Outstay,
    /// Sends an opening handshake for this target; `true` offers permessage-deflate.
    Open(&'static str, bool),
    /// Waits for the answer to the handshake.
    Switch,
    /// Sends a message of this length: text if `true`, otherwise binary.
    Say(bool, usize),
    /// Sends the first half of a message, and keeps back the rest.
    Begin(bool, usize),
    /// Sends the rest.
    Rest,
    /// Posts a message of this length to a room.
    Post(&'static str, usize),
    /// Sends a frame with this first byte, masked and with the right length.
    Frame(u8, Vec<u8>),
    /// Adds a message to the expected ones: text if `true`, otherwise binary.
    Expect(bool, Vec<u8>),
    /// Waits until every expected message has come, at least the client's own.
    Hear,
    /// Sends a ping.
    Ping,
    /// Waits until the last ping is answered.
    AwaitPong,
    /// Sends a close frame.
    Bye(Option<u16>),
    /// Waits for the server's close frame, with this code.
    AwaitClose(Option<u16>),
    /// Answers no ping from here on.
    Mute,
    /// Sends a request that a backend is to answer, and its body unless a 100 is to come first.
    Call(Call),
    /// Waits for a 100, or for an answer, and sends the body of the latest call in the first case.
    GoAhead,
    /// Waits for the answer to the first call without one.
    Reply,
    /// Waits for the end of the connection, which must not come after a whole answer of the backend.
    Cut,
    /// Sends this many bytes through the tunnel that the latest call has opened.
    Tunnel(usize),
    /// Waits until this many bytes have come through it.
    Echo(usize),
    /// Leaves. Every script ends with this act or the next.
    Close,
    /// Waits until every byte has arrived, and leaves with a reset.
    Reset,
}

impl Act {
    /// Whether the act waits for bytes from the server.
    fn wants_more(&self) -> bool {
        use Act::{
            Answer, AwaitClose, AwaitPong, Echo, GoAhead, Hear, Reply, Sip, Switch, Witness,
        };
        matches!(
            self,
            Answer(_)
                | Witness
                | Sip(_)
                | Switch
                | Hear
                | AwaitPong
                | AwaitClose(_)
                | GoAhead
                | Reply
                | Echo(_)
        )
    }
}

/// The right answer to a request.
#[derive(Clone, Debug)]
pub enum Expected {
    /// This status, with any content.
    Status(u16),
    /// 200 with these bytes.
    Content(Vec<u8>),
    /// 200 with the content of this file.
    File(&'static str),
    /// The head of an answer with this file.
    HeadOf(&'static str),
    /// 206 with this range of the file.
    Part(&'static str, Range<usize>),
    /// 200 with the content of this file, in any coding.
    Decoded(&'static str),
    /// 200 with these bytes, in any coding.
    DecodedContent(Vec<u8>),
}

/// The acts of a client from beginning to end.
#[derive(Debug)]
pub struct Script {
    pub name: &'static str,
    pub acts: Vec<Act>,
    /// The client never lets a deadline pass. In no weather may a deadline end its connection.
    pub is_cooperative: bool,
    /// The client does something by which it loses a part of the answer.
    pub loses: bool,
}

impl Script {
    /// Whether the client asks for a file that is being edited.
    pub fn watches(&self) -> bool {
        self.acts.iter().any(|act| matches!(act, Act::Ask(..)))
    }

    /// Whether the client asks the endpoint that may let it wait.
    pub fn asks_oracle(&self) -> bool {
        let has = |bytes: &[u8], path: &str| memmem::find(bytes, path.as_bytes()).is_some();
        let asks =
            |act: &Act| matches!(act, Act::Send(b) if has(b, " /oracle/") || has(b, "/test/"));
        self.acts.iter().any(asks)
    }

    /// Whether the client uses WebSocket, or posts messages to WebSocket clients.
    pub fn talks(&self) -> bool {
        let talks = |act: &Act| matches!(act, Act::Open(..) | Act::Post(..));
        self.acts.iter().any(talks)
    }

    /// Whether the client goes to a room with other clients.
    pub fn gathers(&self) -> bool {
        self.acts.iter().any(|act| match act {
            Act::Open(target, _) => target.starts_with("/rooms/"),
            Act::Post(..) => true,
            _ => false,
        })
    }

    /// The code of the close frame that the script waits for, if any.
    pub fn close(&self) -> Option<Option<u16>> {
        self.acts.iter().find_map(|act| match act {
            Act::AwaitClose(code) => Some(*code),
            _ => None,
        })
    }

    /// Whether every byte of the answers is known beforehand.
    pub fn is_exact(&self) -> bool {
        use Expected::{Decoded, DecodedContent};
        let varies = |act: &Act| {
            matches!(
                act,
                Act::Answer(Decoded(_) | DecodedContent(_)) | Act::Post(..)
            )
        };
        !self.watches() && !self.acts.iter().any(varies)
    }
}

#[derive(Debug)]
pub struct Client {
    pub script: Rc<Script>,
    pub number: usize,
    next: usize,
    /// What the client does for a page, if it does so instead of its script.
    pub page: Option<Part>,
    /// The client's latest connection.
    pub wire: Option<usize>,
    /// What the client has asked backends for.
    pub calls: Calls,
    /// The client has left.
    pub is_done: bool,
    /// The client does nothing before this time.
    pub not_before: Instant,
    listens: bool,
    /// Every byte that the client has received.
    pub received: Vec<u8>,
    /// How many bytes of `received` the client has parsed.
    pub seen: usize,
    /// The length of `received` when the client last looked for more and found nothing.
    in_vain: Option<usize>,
    /// How many bytes went by in sips.
    sipped: usize,
    /// The client's WebSocket session.
    pub talk: Talk,
    /// Where in `received` the frames begin.
    pub frames_from: Option<usize>,
    /// The client may miss messages of other clients.
    pub may_miss: bool,
    /// The number of whole answers so far.
    pub answers: usize,
    /// The requests without an answer: the file, and the file's moment when the request was sent.
    asked: VecDeque<(&'static str, usize)>,
    /// The client resets its connection after this many more attempts to act.
    pub resets_after: Option<u32>,
    /// The server ended the connection before the script did.
    pub was_cut_short: bool,
    /// The server is not to blame for the client's fate: the client has reset its connection, or
    /// the machine has slept, or the kernel refused to watch the socket.
    pub is_excused: bool,
    /// The promise at the moment when the server was told to stop: this many answers, and this many
    /// bytes.
    pub promised: (usize, usize),
}

impl Client {
    pub fn new(
        number: usize,
        script: Rc<Script>,
        not_before: Instant,
        resets_after: Option<u32>,
    ) -> Client {
        Client {
            script,
            number,
            next: 0,
            page: None,
            wire: None,
            calls: Calls::default(),
            is_done: false,
            not_before,
            listens: true,
            received: Vec::new(),
            seen: 0,
            in_vain: None,
            sipped: 0,
            talk: Talk::new(number),
            frames_from: None,
            may_miss: false,
            answers: 0,
            asked: VecDeque::new(),
            resets_after,
            was_cut_short: false,
            is_excused: false,
            promised: (0, 0),
        }
    }

    /// Begins again from the start, because the server had no descriptor for the client.
    pub fn try_again(&mut self, not_before: Instant) {
        assert!(self.received.is_empty(), "nobody has accepted it");
        self.asked.clear();
        self.calls.begin_again();
        self.talk = Talk::new(self.number);
        (self.next, self.wire, self.listens) = (0, None, true);
        self.not_before = not_before;
    }

    /// Takes up to `n` of the bytes that have come. Returns their number; `None` if the client
    /// takes none.
    pub fn take(&mut self, n: usize, wire: &mut Wire, now: Instant) -> Option<usize> {
        let listens = self.listens && !self.is_done;
        let n = if listens { n } else { 0 };
        let taken = Some(wire.client_recv(n, &mut self.received, now)).filter(|n| *n > 0);
        self.hear(wire);
        if taken.is_some() && self.is_called_away() {
            self.not_before = self.not_before.min(now);
        }
        taken
    }

    fn think(&mut self, time: Duration, now: Instant) -> bool {
        if !self.is_called_away() {
            self.not_before = now + time;
        }
        true
    }

    /// Whether the session is over. A cooperative client then stops thinking.
    fn is_called_away(&self) -> bool {
        self.talk.close.is_some() && self.script.is_cooperative
    }

    /// Parses frames, and answers pings.
    pub fn hear(&mut self, wire: &mut Wire) {
        if !self.talk.is_on {
            return;
        }
        while let Some(n) = self.talk.hear(&self.received[self.seen..]) {
            self.seen += n;
        }
        // A pong cannot be sent in the middle of a frame.
        while self.talk.rest.is_empty()
            && let Some(pong) = self.talk.pongs.pop_front()
        {
            if !self.talk.is_mute {
                let pong = self.talk.frame(0x8a, &pong);
                wire.client_send(&pong);
            }
        }
    }

    /// The part of the received bytes that is HTTP.
    pub fn answered(&self) -> &[u8] {
        &self.received[..self.frames_from.unwrap_or(self.received.len())]
    }

    /// Whether a received frame is incomplete.
    pub fn has_half_a_frame(&self) -> bool {
        self.talk.is_on && self.seen < self.received.len()
    }

    /// Performs the next act, if possible now. Returns whether the act was performed.
    pub fn act(
        &mut self,
        wire: &mut Wire,
        tree: &mut Tree,
        disk: Option<&Disk>,
        now: Instant,
        wall: SystemTime,
    ) -> bool {
        if now < self.not_before {
            return false;
        }
        if let (Some(part), Some(disk)) = (self.page.clone(), disk) {
            return part.act(self, wire, disk, now);
        }
        if self.is_fed_up() {
            wire.client_reset(now);
            self.is_excused = true;
            self.is_done = true;
            return true;
        }
        let script = Rc::clone(&self.script);
        let act = &script.acts[self.next];
        let wants_more = act.wants_more();
        if wants_more && self.in_vain == Some(self.received.len()) && !wire.is_over() {
            return false;
        }
        let done = match act {
            Act::Send(bytes) => {
                wire.client_send(bytes);
                true
            }
            Act::Pause(time) => self.think(*time, now),
            Act::Answer(expected) => self.await_answer(expected, tree),
            Act::Ask(name, fields) => {
                // From here on, no older state of the file is a right answer.
                self.asked.push_back((name, tree.moment(name)));
                let request = format!("GET /{name} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
                wire.client_send(request.as_bytes());
                true
            }
            Act::Witness => self.bear_witness(wire, tree),
            Act::Overwrite(name) => {
                tree.overwrite(name, wall);
                true
            }
            Act::Append(name) => {
                tree.append(name, wall);
                true
            }
            Act::Sip(n) => {
                let enough = self.received.len() >= self.sipped + n;
                self.sipped += if enough { *n } else { 0 };
                enough
            }
            Act::TurnAway => {
                self.listens = false;
                true
            }
            Act::Listen => {
                self.listens = true;
                true
            }
            Act::HalfClose => {
                self.talk.is_mute = true;
                wire.client_shutdown();
                true
            }
            Act::Open(target, offers) => {
                wire.client_send(&self.talk.open(target, *offers));
                true
            }
            Act::Switch => self.await_switch(wire),
            Act::Say(is_text, length) => {
                wire.client_send(&self.talk.say(*is_text, *length));
                true
            }
            Act::Begin(is_text, length) => {
                let frames = self.talk.say(*is_text, *length);
                let (now, later) = frames.split_at(frames.len() / 2);
                wire.client_send(now);
                self.talk.rest.extend(later);
                true
            }
            Act::Rest => {
                wire.client_send(self.talk.rest.make_contiguous());
                self.talk.rest.clear();
                self.hear(wire);
                true
            }
            Act::Post(room, length) => {
                wire.client_send(&self.talk.post(room, *length));
                true
            }
            Act::Frame(first, payload) => {
                wire.client_send(&self.talk.frame(*first, payload));
                true
            }
            Act::Expect(is_text, bytes) => {
                self.talk.expect(*is_text, bytes.clone());
                true
            }
            Act::Hear => self.has_heard(now),
            Act::Ping => {
                wire.client_send(&self.talk.ping());
                true
            }
            Act::AwaitPong => self.talk.is_ponged(),
            Act::Bye(code) => {
                wire.client_send(&self.talk.bye(*code));
                true
            }
            Act::AwaitClose(code) => self.talk.close == Some(*code),
            Act::Mute => {
                self.talk.is_mute = true;
                true
            }
            Act::Call(call) => {
                self.call(call, wire);
                true
            }
            Act::GoAhead => self.go_ahead(wire),
            Act::Reply => self.await_reply(wire),
            Act::Cut => self.is_cut(wire),
            Act::Tunnel(length) => {
                wire.client_send(&self.calls.through(*length));
                true
            }
            Act::Echo(length) => self.received.len() - self.seen >= *length,
            Act::AwaitEnd => wire.is_over(),
            Act::Outstay => wire.end == ServerEnd::Closed,
            Act::Reset => {
                let arrived = wire.has_arrived();
                if arrived {
                    self.is_done = true;
                    wire.client_reset(now);
                }
                arrived
            }
            Act::Close => {
                self.is_done = true;
                wire.client_close(now);
                true
            }
        };
        self.in_vain = (!done).then_some(self.received.len());
        let gives_up = !done && wants_more && wire.is_over();
        if gives_up {
            self.was_cut_short = true;
            self.is_done = true;
            wire.client_close(now);
        }
        self.next += usize::from(done);
        done || gives_up
    }

    fn await_switch(&mut self, wire: &mut Wire) -> bool {
        let unseen = &self.received[self.seen..];
        let Some(answer) = Answer::parse(unseen, false) else {
            return false;
        };
        let head = str::from_utf8(&unseen[..answer.len]).expect("heads are ASCII");
        if answer.status != 101 {
            assert!(self.is_excused, "a wrong handshake: {head}");
            return false;
        }
        self.talk.switched(head);
        self.seen += answer.len;
        self.frames_from = Some(self.seen);
        self.answers += 1;
        self.hear(wire);
        true
    }

    /// Where messages may be missed, the client cannot know which will come: it waits for a while.
    fn has_heard(&mut self, now: Instant) -> bool {
        if self.may_miss && self.talk.is_in_room() {
            return self.think(PAUSE, now);
        }
        self.talk.has_heard_itself()
    }

    pub fn is_fed_up(&mut self) -> bool {
        match &mut self.resets_after {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    fn await_answer(&mut self, expected: &Expected, tree: &Tree) -> bool {
        let is_head = matches!(expected, Expected::HeadOf(_));
        let unseen = &self.received[self.seen..];
        let Some(answer) = Answer::parse(unseen, is_head) else {
            return false;
        };
        let fits = match expected {
            Expected::Status(status) => answer.status == *status,
            Expected::Content(content) => answer.status == 200 && *answer.body == **content,
            Expected::File(name) => answer.status == 200 && *answer.body == *tree.content(name),
            Expected::HeadOf(name) => {
                answer.status == 200 && answer.content_length == Some(tree.content(name).len())
            }
            Expected::Part(name, range) => {
                answer.status == 206 && *answer.body == tree.content(name)[range.clone()]
            }
            Expected::Decoded(name) => {
                answer.status == 200 && *answer.decoded() == *tree.content(name)
            }
            Expected::DecodedContent(content) => {
                answer.status == 200 && *answer.decoded() == **content
            }
        };
        let shown = unseen.escape_ascii();
        assert!(
            fits || self.is_excused,
            "a wrong answer: {} expects {expected:?} and gets {shown}",
            self.script.name
        );
        self.seen += answer.len;
        self.answers += 1;
        true
    }

    /// Freshness: an answer shows the file as it was at some moment since the request was sent.
    fn bear_witness(&mut self, wire: &Wire, tree: &Tree) -> bool {
        let (name, then) = *self.asked.front().expect("a question comes before");
        let moments = tree.since(name, then);
        let unseen = &self.received[self.seen..];
        let Some(answer) = Answer::parse(unseen, false) else {
            // A file that was changed in place cannot be sent as promised.
            self.is_excused |= wire.is_over() && tree.was_disturbed(name, moments);
            return false;
        };
        assert!(
            tree.was(name, moments.clone(), answer.status, &answer.decoded()) || self.is_excused,
            "a stale answer: {} asks for {name}, which was not like this at any of the moments \
             {moments:?}: {}",
            self.script.name,
            unseen[..answer.len].escape_ascii()
        );
        self.seen += answer.len;
        self.answers += 1;
        self.asked.pop_front();
        true
    }

    /// Notes the promise when the server is told to stop. The client will receive the bytes that
    /// the server has sent already. If the server has read every byte of the client, and the client
    /// waits for an answer, the answer will come too.
    pub fn note_stop(&mut self, wire: &Wire) {
        let act = &self.script.acts[self.next];
        let waits = matches!(act, Act::Answer(_) | Act::Witness | Act::Switch);
        let waits = waits && wire.is_all_read();
        self.promised = (self.answers + usize::from(waits), wire.sent());
    }

    /// Whether the client has received as much as was promised.
    pub fn has_what_was_promised(&self) -> bool {
        let (answers, bytes) = self.promised;
        self.answers >= answers && self.received.len() >= bytes
    }

    /// Whether the client can do nothing until bytes come from the server.
    pub fn is_owed_something(&self, now: Instant) -> bool {
        let patient = self.script.is_cooperative && !self.is_excused && !self.is_done;
        patient && now >= self.not_before && self.script.acts[self.next].wants_more()
    }

    /// The act that the client waits in, for an error message.
    pub fn status(&self) -> String {
        let act = self.script.acts.get(self.next);
        format!(
            "{:?}, connection {:?}, is at {act:?}",
            self.script.name, self.wire
        )
    }
}

/// An answer as a client understands it.
pub struct Answer<'a> {
    pub status: u16,
    content_length: Option<usize>,
    is_gzip: bool,
    pub body: Cow<'a, [u8]>,
    /// The length of the whole answer, with head and framing.
    pub len: usize,
}

impl<'a> Answer<'a> {
    /// Parses the first answer; `None` if it is incomplete. With `is_head` no content follows,
    /// whatever the length in the head.
    pub fn parse(bytes: &'a [u8], is_head: bool) -> Option<Answer<'a>> {
        let head_len = memmem::find(bytes, b"\r\n\r\n")? + 4;
        let (head, rest) = bytes.split_at(head_len);
        let head = str::from_utf8(head).expect("heads are ASCII");
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.strip_prefix(name));
            lines.next().map(str::trim)
        };
        let status = head["HTTP/1.1 ".len()..][..3].parse().expect("a status");
        let content_length = field("Content-Length:").map(|n| n.parse().expect("a number"));
        let (body, body_len) = match (is_head, status, content_length) {
            (true, ..) | (_, 100..200 | 204 | 304, _) => (Cow::default(), 0),
            (_, _, Some(n)) => (rest.get(..n)?.into(), n),
            (_, _, None) => dechunked(rest)?,
        };
        Some(Answer {
            status,
            content_length,
            is_gzip: field("Content-Encoding:") == Some("gzip"),
            body,
            len: head_len + body_len,
        })
    }

    /// The content without its coding.
    fn decoded(&self) -> Cow<'_, [u8]> {
        if !self.is_gzip {
            return Cow::Borrowed(&self.body);
        }
        let mut decoded = Vec::new();
        let mut decoder = GzDecoder::new(&*self.body);
        decoder.read_to_end(&mut decoded).expect("valid gzip");
        Cow::Owned(decoded)
    }
}

/// The content of a chunked body, and the length of the body with its framing.
pub fn dechunked<'a>(bytes: &[u8]) -> Option<(Cow<'a, [u8]>, usize)> {
    let mut decoder = BodyDecoder::new(Framing::Chunked)?;
    let (mut content, mut at) = (Vec::new(), 0);
    loop {
        let piece = decoder.decode(&bytes[at..]).expect("valid chunks");
        at += piece.framing;
        content.extend_from_slice(&bytes[at..][..piece.content]);
        at += piece.content;
        match piece {
            BodyPart { last: true, .. } => return Some((content.into(), at)),
            BodyPart {
                framing: 0,
                content: 0,
                ..
            } => return None,
            _ => {}
        }
    }
}
