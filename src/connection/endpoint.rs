//! Floor 4, connection: the third kind of answer beside files and refusals, an [`Endpoint`]. This is the
//! crate's interface for programs of one's own.
//!
//! An endpoint is one value for all the connections that are open to it; it is called from the loop, one
//! call for each message, and must not block: everybody waits for it. It is handed a [`Session`] with
//! which it answers the peer at once, or a [`Hub`] where there is no peer; what it says to others goes by
//! mail and is delivered in the same turn.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::Key;
use super::effect::{Audience, Effect, Effects};
use super::message::{Message, PlainFrame, deflate_if_worth_it};
use crate::config::Limits;
use crate::http::Status;
use crate::websocket::deflate::{Deflate, Deflater};
use crate::websocket::{Close, CloseCode, Protocols, write_frame};

/// Where under an endpoint's path a request went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RouteMatch<'a> {
    /// What stood for the `*` in the path, decoded; empty where there is none.
    pub name: &'a str,
    /// What was behind the question mark, as it was written.
    pub query: &'a str,
}

impl<'a> RouteMatch<'a> {
    /// The value of a parameter in the query, as it was written; empty for one without a value.
    ///
    /// ```
    /// let route = oneloop::connection::RouteMatch { name: "", query: "last=5&presence" };
    /// assert_eq!(route.parameter("last"), Some("5"));
    /// assert_eq!(route.parameter("presence"), Some(""));
    /// assert_eq!(route.parameter("first"), None);
    /// ```
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        let parameters = self.query.split('&');
        let mut pairs = parameters.map(|p| p.split_once('=').unwrap_or((p, "")));
        pairs.find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

/// What a server does for those who connect to a path by WebSocket, and with what is posted to it.
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
    /// The subprotocols it speaks (RFC 6455 §1.9): none, unless it says otherwise.
    fn protocols(&self) -> Protocols {
        Protocols::None
    }

    /// A connection is open. What is sent here comes right behind the handshake's answer.
    fn on_open(&mut self, session: &mut Session<'_>, route: RouteMatch<'_>) {
        let _ = (session, route);
    }

    /// A message has come whole.
    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>);

    /// What was queued for this peer has become little again, after it was
    /// [much](Session::has_room).
    fn on_room(&mut self, session: &mut Session<'_>) {
        let _ = session;
    }

    /// A connection that was opened is over, however that came: called once for each. The code is the
    /// one of the close frame that came or was sent first, if there was one with a code.
    fn on_close(&mut self, hub: &mut Hub<'_>, key: Key, code: Option<CloseCode>) {
        let _ = (hub, key, code);
    }

    /// Whether bodies may be posted to it.
    fn takes_posts(&self) -> bool {
        false
    }

    /// A body was posted, if the endpoint [takes posts](Endpoint::takes_posts).
    fn on_post(&mut self, hub: &mut Hub<'_>, post: Post<'_>) -> Answer {
        let _ = (hub, post);
        Answer::text(Status::NotFound, "nothing can be posted here\n".into())
    }

    /// How often it wants to be called although nothing happens; in steps of 100 ms.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// The [interval](Endpoint::interval) has passed.
    fn on_tick(&mut self, hub: &mut Hub<'_>) {
        let _ = hub;
    }
}

/// A POST request, with its whole body.
pub struct Post<'a> {
    /// Where under the endpoint's path the request went.
    pub route: RouteMatch<'a>,
    /// The body, of at most [`Limits::body_bytes_max`] bytes.
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

/// The answer to a post.
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
    /// An answer for people.
    pub fn text(status: Status, text: String) -> Answer {
        Answer {
            status,
            media_type: "text/plain; charset=utf-8",
            body: text.into_bytes(),
        }
    }
}

/// The write buffer of the peer is full; the message was not sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the write buffer of the peer is full, or the session is closed")
    }
}

impl Error for Full {}

/// Speaks to rooms. Whoever has joined a room hears what is said there from then on.
#[derive(Debug)]
pub struct Hub<'a> {
    effects: &'a mut Effects,
}

impl<'a> Hub<'a> {
    /// A hub over the server's mail.
    pub(crate) fn new(effects: &'a mut Effects) -> Hub<'a> {
        Hub { effects }
    }

    /// Says something to everybody in `room`.
    pub fn publish(&mut self, room: &str, message: Message<'_>) {
        publish(self.effects, Audience::Room(room.into()), message);
    }
}

fn publish(effects: &mut Effects, to: Audience, message: Message<'_>) {
    let frame = PlainFrame::new(message);
    effects.push(Effect::Publish { to, frame });
}

/// A WebSocket connection, as its endpoint sees it.
#[derive(Debug)]
pub struct Session<'a> {
    pub(super) key: Key,
    /// What is to be sent, to be appended to.
    pub(super) out: &'a mut Vec<u8>,
    /// Bytes in `out` when this began, and bytes that waited in all.
    pub(super) begin: usize,
    pub(super) waiting: u64,
    pub(super) deflate: Option<Deflate>,
    pub(super) deflater: &'a mut Deflater,
    pub(super) effects: &'a mut Effects,
    pub(super) limits: &'a Limits,
    /// It was closed here.
    pub(super) closed: Option<CloseCode>,
}

impl Session<'_> {
    /// Names the connection, and never another one.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Sends a message to the peer.
    ///
    /// # Errors
    /// [`Full`] if [`Limits::write_buffer_max`] bytes are waiting for the peer already, or the session was
    /// [closed](Session::close).
    pub fn send(&mut self, message: Message<'_>) -> Result<(), Full> {
        if self.queued() >= self.limits.write_buffer_max || self.closed.is_some() {
            return Err(Full);
        }
        let (opcode, payload) = (message.kind().opcode(), message.bytes());
        let deflated = self
            .deflate
            .and_then(|agreed| deflate_if_worth_it(agreed, payload, self.deflater, self.limits));
        let compressed = deflated.is_some();
        write_frame(self.out, opcode, compressed, deflated.unwrap_or(payload));
        Ok(())
    }

    /// Bytes that wait for the peer.
    pub fn queued(&self) -> u64 {
        self.waiting + (self.out.len() - self.begin) as u64
    }

    /// Whether little is waiting for the peer. While it is much, nothing is read from this peer, so
    /// that whoever only answers never meets [`Full`]; others stop here, until
    /// [`on_room`](Endpoint::on_room).
    pub fn has_room(&self) -> bool {
        self.queued() < self.limits.write_buffer_high
    }

    /// Joins a room: from now on the peer hears what is said there, after the last so many messages that
    /// the room remembers.
    pub fn join(&mut self, room: &str, last: usize) {
        let (key, room) = (self.key, room.into());
        self.effects.push(Effect::Join { key, room, last });
    }

    /// Watches a room: from now on the peer hears how many are in it, as a number in a text message, now
    /// and whenever that has changed. It does not count itself.
    pub fn watch(&mut self, room: &str) {
        let (key, room) = (self.key, room.into());
        self.effects.push(Effect::WatchPresence { key, room });
    }

    /// Leaves a room.
    pub fn leave(&mut self, room: &str) {
        let (key, room) = (self.key, room.into());
        self.effects.push(Effect::Leave { key, room });
    }

    /// Says something to everybody in the rooms that the peer is in, the peer too.
    pub fn broadcast(&mut self, message: Message<'_>) {
        publish(self.effects, Audience::RoomsOf(self.key), message);
    }

    /// Says something to everybody in `room`, be the peer in it or not.
    pub fn publish(&mut self, room: &str, message: Message<'_>) {
        publish(self.effects, Audience::Room(room.into()), message);
    }

    /// Closes the connection, once what was sent before has left. A code that must not be sent becomes
    /// 1000; a reason is cut after 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        if self.closed.is_none() {
            let code = match code.may_be_sent() {
                true => code,
                false => CloseCode::NORMAL,
            };
            self.closed = Some(code);
            let code = Some(code);
            Close { code, reason }.write(self.out);
        }
    }
}

/// The endpoints of a server, by the number of their [mount](crate::site::Mount).
#[derive(Default)]
pub(crate) struct Endpoints {
    rows: Vec<Row>,
}

struct Row {
    endpoint: Box<dyn Endpoint>,
    /// It has left mail for a message. One that never does has no part in there being too much.
    publishes: bool,
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoints({})", self.rows.len())
    }
}

impl Endpoints {
    /// Adds one; its number is how many there were before.
    pub fn add(&mut self, endpoint: Box<dyn Endpoint>) {
        let publishes = false;
        self.rows.push(Row {
            endpoint,
            publishes,
        });
    }

    /// The one of this number.
    ///
    /// # Panics
    /// If there is none: numbers come from the site, where endpoints are mounted when they are added.
    pub fn get(&mut self, number: u16) -> &mut dyn Endpoint {
        &mut *self.rows[usize::from(number)].endpoint
    }

    /// Whether it speaks to others than the peer whose message it is given.
    pub(super) fn publishes(&self, number: u16) -> bool {
        self.rows[usize::from(number)].publishes
    }

    /// Notes that it does.
    pub(super) fn mark_as_publisher(&mut self, number: u16) {
        self.rows[usize::from(number)].publishes = true;
    }
}
