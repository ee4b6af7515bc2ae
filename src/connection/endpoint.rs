//! Floor 3, connection: the [`Endpoint`], the third kind of answer beside files and refusals. The
//! trait is the interface between the crate and your own program.
//!
//! A single endpoint serves every connection to its path. The server calls the endpoint from the
//! loop, once for each event, such as a message. A method must not block, because every other
//! connection waits until the method returns.
//!
//! A method gets a [`Session`] to answer the peer at once, or a [`Hub`] where no peer is present. A
//! message to a room is queued, and delivered after the connections of this turn were pumped:
//! usually still in the same turn.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::mem;
use std::ptr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::Key;
use super::effect::{Audience, Effect, Effects};
use super::message::{Message, PlainFrame, deflate_if_worth_it};
use crate::config::Limits;
use crate::http::Status;
use crate::transport::ChargedBytes;
use crate::websocket::deflate::{Deflate, Deflater};
use crate::websocket::{Close, CloseCode, Protocols, write_frame, write_header};

/// The variable parts of a request-target to an endpoint: a name and a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteMatch<'a> {
    /// The segment in place of the `*` in the path of the endpoint, decoded; empty if the path has
    /// no `*`.
    pub name: &'a str,
    /// The query: the part after the question mark, not decoded. [`parameter`](Self::parameter)
    /// decodes.
    pub query: &'a str,
}

impl<'a> RouteMatch<'a> {
    /// Returns the value of the first parameter with this name in the query; empty for a parameter
    /// without a value. `None`: the query does not have the parameter.
    ///
    /// Names and values are decoded as a browser encodes the fields of a form
    /// (`application/x-www-form-urlencoded`, WHATWG URL §5.1): `+` stands for a space, and `%`
    /// with two hexadecimal digits for a byte. A `%` without two digits stands for itself. Bytes
    /// that are not UTF-8 become U+FFFD.
    ///
    /// ```
    /// let query = "last=5&presence&who=J%C3%BCrgen+Klopp";
    /// let route = oneloop::connection::RouteMatch { name: "", query };
    /// assert_eq!(route.parameter("last").as_deref(), Some("5"));
    /// assert_eq!(route.parameter("presence").as_deref(), Some(""));
    /// assert_eq!(route.parameter("who").as_deref(), Some("Jürgen Klopp"));
    /// assert_eq!(route.parameter("first"), None);
    /// ```
    pub fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        let parameters = self.query.split('&');
        let mut pairs = parameters.map(|p| p.split_once('=').unwrap_or((p, "")));
        pairs
            .find(|(n, _)| decoded(n) == name)
            .map(|(_, value)| decoded(value))
    }
}

/// Decodes a name or a value of a query. Plain text is borrowed.
fn decoded(text: &str) -> Cow<'_, str> {
    match text.contains('+') {
        true => {
            let spaced = text.replace('+', " ");
            let decoded = percent_decode_str(&spaced).decode_utf8_lossy();
            Cow::Owned(decoded.into_owned())
        }
        false => percent_decode_str(text).decode_utf8_lossy(),
    }
}

/// The behaviour of a path: how your program serves WebSocket connections to the path, and bodies
/// posted to the path.
///
/// Of the nine methods only [`on_message`](Endpoint::on_message) is required:
///
/// - `on_open`, `on_message`, `on_room` and `on_close` follow the life of a WebSocket connection;
/// - `takes_posts` and `on_post` serve POST requests;
/// - `interval` and `on_tick` are a timer;
/// - `protocols` names the subprotocols.
///
/// All methods run on the loop and must return soon: no other connection moves meanwhile. Do slow
/// work in a thread of your own program, and publish the result in `on_tick`. (`on_post` must return
/// its answer at once.)
///
/// This endpoint answers each text in capitals:
///
/// ```
/// use oneloop::connection::{Endpoint, Message, Session};
///
/// struct Shout;
///
/// impl Endpoint for Shout {
///     fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
///         if let Message::Text(text) = message {
///             let _ = session.send(Message::Text(&text.to_uppercase()));
///         }
///     }
/// }
/// ```
pub trait Endpoint {
    /// Returns the subprotocols of the endpoint (RFC 6455 §1.9). The default is none.
    fn protocols(&self) -> Protocols {
        Protocols::None
    }

    /// A connection is open. A message sent in this method follows directly after the answer to the
    /// opening handshake.
    fn on_open(&mut self, session: &mut Session<'_>, route: RouteMatch<'_>) {
        let _ = (session, route);
    }

    /// A whole message has come.
    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>);

    /// The write buffer of this peer has room again. The server calls this method after
    /// [`has_room`](Session::has_room) was `false`, or after broadcasts had filled the write
    /// buffer. An endpoint with much to send stops at `false` and goes on here.
    fn on_room(&mut self, session: &mut Session<'_>) {
        let _ = session;
    }

    /// An opened connection has ended, for any cause. The server calls this method once for each
    /// opened connection, unless the program ends first. `code` is the code of the first close
    /// frame, received or sent. `None`: the connection ended without a close frame, or the close
    /// frame had no code.
    fn on_close(&mut self, hub: &mut Hub<'_>, key: Key, code: Option<CloseCode>) {
        let _ = (hub, key, code);
    }

    /// Whether clients may post bodies to the endpoint. The server asks once, when the endpoint is
    /// added.
    fn takes_posts(&self) -> bool {
        false
    }

    /// A whole body was posted. The server calls this method only if the endpoint [takes
    /// posts](Endpoint::takes_posts), and answers a body in a content coding (`Content-Encoding:
    /// gzip`) with 415 itself. The default answers 404.
    fn on_post(&mut self, hub: &mut Hub<'_>, post: Post<'_>) -> Answer {
        let _ = (hub, post);
        Answer::text(Status::NotFound, "nothing can be posted here\n".into())
    }

    /// Returns the interval of [`on_tick`](Endpoint::on_tick); `None`: never called. The server
    /// asks once, when the endpoint is added. A tick may be late, but never early; a zero interval
    /// would keep the loop busy.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// The [interval](Endpoint::interval) has passed. A missed tick is not made up for. A server
    /// that is stopping does not call this method.
    fn on_tick(&mut self, hub: &mut Hub<'_>) {
        let _ = hub;
    }
}

/// A POST request, with the whole body.
pub struct Post<'a> {
    /// The variable parts of the request-target.
    pub route: RouteMatch<'a>,
    /// The body, of at most [`Limits::body_bytes_max`] bytes; empty for a request without a body.
    pub body: Vec<u8>,
    pub(crate) members: &'a dyn Fn(&str) -> usize,
}

impl Post<'_> {
    /// Returns how many members a room has now.
    pub fn members(&self, room: &str) -> usize {
        (self.members)(room)
    }
}

impl fmt::Debug for Post<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post")
            .field("route", &self.route)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// The answer to a POST request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The status.
    pub status: Status,
    /// The media type of the body.
    pub media_type: &'static str,
    /// The content.
    pub body: Vec<u8>,
}

impl Answer {
    /// Creates an answer with a plain text, in UTF-8.
    pub fn text(status: Status, text: String) -> Answer {
        Answer {
            status,
            media_type: "text/plain; charset=utf-8",
            body: text.into_bytes(),
        }
    }
}

/// The message was not sent: the write buffer of the peer is full, or the session is closed.
///
/// The server keeps no copy of the message. To send the message later, your endpoint must keep it,
/// and try again in [`on_room`](Endpoint::on_room). After [`Session::close`] no message can be sent
/// any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the write buffer of the peer is full, or the session is closed")
    }
}

impl Error for Full {}

/// Publishes messages to rooms.
///
/// A room is a named group of WebSocket connections. A room needs no creation: the first message or
/// member creates the room. From the moment of [joining](Session::join), a member receives every
/// message to the room. If the write buffer of a member is full, [`Limits::slow_member`] decides.
///
/// Each room keeps a history: its last messages, up to [`Limits::room_messages_max`] and
/// [`Limits::room_bytes_max`]. A new member may ask for a part of the history. While memory is
/// short, no history is kept. At most [`Limits::empty_rooms_max`] rooms without members are kept,
/// for their history.
#[derive(Debug)]
pub struct Hub<'a> {
    effects: &'a mut Effects,
}

impl<'a> Hub<'a> {
    /// Creates a hub on the queue of effects.
    pub(crate) fn new(effects: &'a mut Effects) -> Hub<'a> {
        Hub { effects }
    }

    /// Sends a message to every member of `room`.
    pub fn publish(&mut self, room: &str, message: Message<'_>) {
        publish(self.effects, Audience::Room(room.into()), message);
    }
}

fn publish(effects: &mut Effects, to: Audience, message: Message<'_>) {
    let frame = PlainFrame::new(message);
    effects.push(Effect::Publish { to, frame });
}

/// A WebSocket connection as the endpoint sees it, valid during a single call.
#[derive(Debug)]
pub struct Session<'a> {
    pub(super) key: Key,
    /// The tail of the write buffer, to which frames are appended.
    pub(super) out: &'a mut Vec<u8>,
    /// Bytes in `out` when the session began.
    pub(super) begin: usize,
    /// Bytes in the whole write buffer when the session began.
    pub(super) waiting: u64,
    pub(super) deflate: Option<Deflate>,
    pub(super) deflater: &'a mut Deflater,
    pub(super) effects: &'a mut Effects,
    pub(super) limits: &'a Limits,
    /// The bytes of the message that this call is about, if they are so many that they are not copied
    /// when the endpoint sends the message back.
    pub(super) received: Option<&'a ChargedBytes>,
    /// Whether `out` ends with the header of a frame whose payload is `received`.
    pub(super) returns: bool,
    /// Messages sent in this call.
    pub(super) sent: u64,
    /// The close code, if the endpoint has closed the session.
    pub(super) closed: Option<CloseCode>,
}

impl Session<'_> {
    /// Returns the key, which names this connection and never another one.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Sends a message to the peer. The frame is appended to the write buffer, and sent together
    /// with the rest of the output of the turn.
    ///
    /// # Errors
    /// [`Full`] if [`Limits::write_buffer_max`] bytes or more are waiting for the peer already, or
    /// if the session was [closed](Session::close). The message is then not sent. Below the limit,
    /// a message of any size is taken.
    pub fn send(&mut self, message: Message<'_>) -> Result<(), Full> {
        if self.queued() >= self.limits.write_buffer_max || self.closed.is_some() {
            return Err(Full);
        }
        let (opcode, payload) = (message.kind().opcode(), message.bytes());
        let deflated = self
            .deflate
            .and_then(|agreed| deflate_if_worth_it(agreed, payload, self.deflater, self.limits));
        let compressed = deflated.is_some();
        let payload = deflated.unwrap_or(payload);
        copy_returned(self.out, &mut self.returns, self.received);
        self.returns = self.received.is_some_and(|r| ptr::eq(r.bytes(), payload));
        match self.returns {
            true => write_header(self.out, opcode, true, compressed, payload.len()),
            false => write_frame(self.out, opcode, compressed, payload),
        }
        self.sent += 1;
        Ok(())
    }

    /// Returns the number of bytes waiting in the write buffer.
    pub fn queued(&self) -> u64 {
        let returned = self.received.filter(|_| self.returns);
        let returned = returned.map_or(0, |r| r.bytes().len());
        self.waiting + (self.out.len() - self.begin + returned) as u64
    }

    /// Whether the write buffer has room: fewer than [`Limits::write_buffer_high`] bytes wait for
    /// the peer.
    ///
    /// While the write buffer has no room, no message is read from the peer. Therefore an endpoint
    /// that only answers, once for each message, never meets [`Full`]. An endpoint that sends more
    /// must stop at `false`, and go on in [`on_room`](Endpoint::on_room).
    pub fn has_room(&self) -> bool {
        self.queued() < self.limits.write_buffer_high
    }

    /// Makes the connection a member of a room, which begins to exist if necessary. The peer
    /// receives at most `last` messages of the history of the room, and then each message to the
    /// room. A second call for the same room changes nothing. [`Hub`] describes rooms and their
    /// history.
    pub fn join(&mut self, room: &str, last: usize) {
        let (key, room) = (self.key, room.into());
        self.effects.push(Effect::Join { key, room, last });
    }

    /// Watches a room. The peer receives the number of members, as a decimal number in a text
    /// message: now, and again after each turn in which the number has changed. A watcher is not a
    /// member, and is not counted.
    pub fn watch(&mut self, room: &str) {
        let (key, room) = (self.key, room.into());
        self.effects.push(Effect::WatchPresence { key, room });
    }

    /// Leaves a room, as a member and as a watcher.
    pub fn leave(&mut self, room: &str) {
        let (key, room) = (self.key, room.into());
        self.effects.push(Effect::Leave { key, room });
    }

    /// Sends a message to every member of each room that this connection has joined, including this
    /// connection itself. A member of two such rooms receives two copies.
    pub fn broadcast(&mut self, message: Message<'_>) {
        publish(self.effects, Audience::RoomsOf(self.key), message);
    }

    /// Sends a message to every member of `room`. This connection need not be a member.
    pub fn publish(&mut self, room: &str, message: Message<'_>) {
        publish(self.effects, Audience::Room(room.into()), message);
    }

    /// Closes the connection after the messages sent before. A code not allowed in a frame becomes
    /// 1000; a reason is cut after 123 bytes (RFC 6455 §5.5 and §7.4). A second call changes
    /// nothing.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        if self.closed.is_none() {
            let code = match code.may_be_sent() {
                true => code,
                false => CloseCode::NORMAL,
            };
            self.closed = Some(code);
            let code = Some(code);
            copy_returned(self.out, &mut self.returns, self.received);
            Close { code, reason }.write(self.out);
        }
    }
}

/// Completes a frame whose payload is the received message, because another frame follows.
fn copy_returned(out: &mut Vec<u8>, returns: &mut bool, received: Option<&ChargedBytes>) {
    if let Some(received) = received.filter(|_| mem::take(returns)) {
        out.extend_from_slice(received.bytes());
    }
}

/// The endpoints of a server. The number of an endpoint is in its [mount](crate::site::Mount).
#[derive(Default)]
pub(crate) struct Endpoints {
    rows: Vec<Row>,
}

struct Row {
    endpoint: Box<dyn Endpoint>,
    /// Whether a message to this endpoint has ever led to an effect. An endpoint without effects
    /// cannot fill the queue of effects, and need not wait while the queue is full.
    publishes: bool,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoints({})", self.rows.len())
    }
}

impl Endpoints {
    /// Adds an endpoint. The first endpoint has the number 0, the next 1, and so on.
    pub fn add(&mut self, endpoint: Box<dyn Endpoint>) {
        let publishes = false;
        self.rows.push(Row {
            endpoint,
            publishes,
        });
    }

    /// Returns the endpoint with this number.
    ///
    /// # Panics
    /// If no endpoint has this number. Numbers come from the site, which mounts each endpoint when
    /// it is added.
    pub fn get(&mut self, number: u16) -> &mut dyn Endpoint {
        &mut *self.rows[usize::from(number)].endpoint
    }

    /// Whether messages to the endpoint have led to effects.
    pub(super) fn publishes(&self, number: u16) -> bool {
        self.rows[usize::from(number)].publishes
    }

    /// Records that a message to the endpoint has led to an effect.
    pub(super) fn mark_as_publisher(&mut self, number: u16) {
        self.rows[usize::from(number)].publishes = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Pool;
    use crate::websocket::Opcode;

    #[test]
    fn parameters_are_decoded_as_a_form_is_encoded() {
        for (query, expected) in [
            ("a=1&a=2", Some("1")),
            ("b&a", Some("")),
            ("%61=x", Some("x")),
            ("a=b+c%2Bd%20e", Some("b c+d e")),
            ("a=%C3%A4", Some("ä")),
            ("a=%26%3D&b", Some("&=")),
            ("a=b=c", Some("b=c")),
            ("a=100%&b=%zz", Some("100%")),
            ("a=%ff", Some("\u{fffd}")),
            ("A=1&aa=2&+a=3", None),
            ("", None),
        ] {
            let route = RouteMatch { name: "", query };
            assert_eq!(route.parameter("a").as_deref(), expected, "{query}");
        }
    }

    /// The output is the same as if the message were copied, whatever the endpoint sends before and
    /// after, and only a frame that nothing follows has its payload outside the output.
    #[test]
    fn a_message_that_is_sent_back_is_copied_only_if_more_follows() {
        let bytes = vec![b'x'; 70_000];
        let received = Pool::new(8, usize::MAX).share(bytes.clone());
        let text = Message::Text(str::from_utf8(received.bytes()).expect("it is ASCII"));
        let framed = |payload: &[u8]| {
            let mut out = Vec::new();
            write_frame(&mut out, Opcode::Text, false, payload);
            out
        };
        let sent = |messages: &[Message<'_>], closes: bool| {
            let mut out = b"before".to_vec();
            let mut session = Session {
                key: Key::new(0, 0),
                begin: out.len(),
                out: &mut out,
                waiting: 6,
                deflate: None,
                deflater: &mut Deflater::default(),
                effects: &mut Effects::default(),
                limits: &Limits::default(),
                received: Some(&received),
                returns: false,
                sent: 0,
                closed: None,
            };
            messages
                .iter()
                .for_each(|message| session.send(*message).expect("there is room"));
            if closes {
                session.close(CloseCode::NORMAL, "");
            }
            let (queued, returns) = (session.queued(), session.returns);
            let returned = if returns { received.bytes() } else { &[] };
            out.extend_from_slice(returned);
            assert_eq!(queued, out.len() as u64);
            (out.split_off(6), returns)
        };
        let (message, other) = (framed(&bytes), framed(b"other"));
        let (short, copy) = (Message::Text("other"), bytes.clone());
        let copy = Message::Text(str::from_utf8(&copy).expect("it is ASCII"));
        for (messages, closes, expected, returns) in [
            (&[text][..], false, vec![&message[..]], true),
            (&[short, text], false, vec![&other, &message], true),
            (&[text, short], false, vec![&message, &other], false),
            (&[text, text], false, vec![&message, &message], true),
            (&[text], true, vec![&message, b"\x88\x02\x03\xe8"], false),
            (&[copy], false, vec![&message], false),
        ] {
            assert!(sent(messages, closes) == (expected.concat(), returns));
        }
    }
}
