//! Floor 3, connection: the [`Session`], a WebSocket connection as its endpoint sees it.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::mem;
use std::ptr;

use super::effect::{Audience, Effect};
use super::message::{Message, deflate_if_worth_it};
use super::{Hub, Key};
use crate::transport::ChargedBytes;
use crate::websocket::deflate::{Deflate, Deflater};
use crate::websocket::{Close, CloseCode, write_frame, write_header};

/// The message was not sent: the write buffer of the peer is full, or the session is closed.
///
/// The server keeps no copy of the message. To send the message later, your endpoint must keep it, and
/// try again in [`on_room`](super::Endpoint::on_room). After [`Session::close`] no message can be sent
/// any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the write buffer of the peer is full, or the session is closed")
    }
}

impl Error for Full {}

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
    pub(super) hub: Hub<'a>,
    /// A value of the endpoint's own for this connection.
    pub(super) state: &'a mut Option<Box<dyn Any>>,
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

impl<'a> Session<'a> {
    /// Returns the key, which names this connection and never another one.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Returns the hub: other connections, rooms, timers.
    pub fn hub(&mut self) -> &mut Hub<'a> {
        &mut self.hub
    }

    /// Keeps a value of the endpoint's own with this connection, in place of the last one. The value is
    /// dropped with the connection.
    pub fn keep(&mut self, value: impl Any) {
        *self.state = Some(Box::new(value));
    }

    /// Returns the value that the endpoint [keeps](Session::keep) with this connection. `None`: there is
    /// none, or it has another type.
    pub fn kept<T: Any>(&mut self) -> Option<&mut T> {
        self.state.as_mut()?.downcast_mut()
    }

    /// Sends a message to the peer. The frame is appended to the write buffer, and sent together
    /// with the rest of the output of the turn.
    ///
    /// # Errors
    /// [`Full`] if [`Limits::write_buffer_max`](crate::config::Limits::write_buffer_max) bytes or more
    /// are waiting for the peer already, or if the session was [closed](Session::close). The message is
    /// then not sent. Below the limit, a message of any size is taken.
    pub fn send(&mut self, message: Message<'_>) -> Result<(), Full> {
        if self.queued() >= self.hub.limits.write_buffer_max || self.closed.is_some() {
            return Err(Full);
        }
        let (opcode, payload) = (message.kind().opcode(), message.bytes());
        let deflated = self.deflate.and_then(|agreed| {
            deflate_if_worth_it(agreed, payload, self.deflater, self.hub.limits)
        });
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

    /// Whether the write buffer has room: fewer than
    /// [`Limits::write_buffer_high`](crate::config::Limits::write_buffer_high) bytes wait for the peer.
    ///
    /// While the write buffer has no room, no message is read from the peer. Therefore an endpoint
    /// that only answers, once for each message, never meets [`Full`]. An endpoint that sends more
    /// must stop at `false`, and go on in [`on_room`](super::Endpoint::on_room).
    pub fn has_room(&self) -> bool {
        self.queued() < self.hub.limits.write_buffer_high
    }

    /// Makes the connection a member of a room, which begins to exist if necessary. The peer
    /// receives at most `last` messages of the history of the room, and then each message to the
    /// room. A second call for the same room changes nothing. [`Hub`] describes rooms and their
    /// history.
    pub fn join(&mut self, room: &str, last: usize) {
        let (key, room) = (self.key, room.into());
        self.hub.effects.push(Effect::Join { key, room, last });
    }

    /// Watches a room. The peer receives the number of members, as a decimal number in a text
    /// message: now, and again after each turn in which the number has changed. A watcher that has not
    /// joined the room is not a member, and is not counted.
    pub fn watch(&mut self, room: &str) {
        self.watch_marked(room, "");
    }

    /// Watches a room as [`watch`](Session::watch) does, but each number comes with a mark and a space in
    /// front (`MARK 3`), unless the mark is empty. A member can watch too: a mark that only this peer
    /// knows tells the numbers from the messages of others.
    pub fn watch_marked(&mut self, room: &str, mark: &str) {
        let (key, room, mark) = (self.key, room.into(), mark.into());
        self.hub
            .effects
            .push(Effect::WatchPresence { key, room, mark });
    }

    /// Leaves a room, as a member and as a watcher.
    pub fn leave(&mut self, room: &str) {
        let (key, room) = (self.key, room.into());
        self.hub.effects.push(Effect::Leave { key, room });
    }

    /// Sends a message to every member of each room that this connection has joined, including this
    /// connection itself. A member of two such rooms receives two copies.
    pub fn broadcast(&mut self, message: Message<'_>) {
        self.hub.push_message(Audience::RoomsOf(self.key), message);
    }

    /// Sends a message as [`broadcast`](Session::broadcast) does, but not to this connection. The message
    /// is in the history of the rooms like any other.
    pub fn broadcast_to_others(&mut self, message: Message<'_>) {
        let to = Audience::OthersInRoomsOf(self.key);
        self.hub.push_message(to, message);
    }

    /// Sends a message to every member of `room`. This connection need not be a member.
    pub fn publish(&mut self, room: &str, message: Message<'_>) {
        self.hub.publish(room, message);
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::Limits;
    use crate::connection::effect::Effects;
    use crate::connection::{Alarms, Counters, Memory, OwedAnswers, Rooms};
    use crate::transport::Pool;
    use crate::websocket::Opcode;

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
            let limits = Limits::default();
            let hub = Hub {
                effects: &mut Effects::default(),
                owed: &mut OwedAnswers::default(),
                alarms: &mut Alarms::default(),
                rooms: &Rooms::new(&limits),
                counters: &Counters::default(),
                limits: &limits,
                now: Instant::now(),
                is_stopping: false,
                memory: Memory::default(),
                looked_up: [0; 2],
                endpoint: Some(0),
            };
            let mut session = Session {
                key: Key::new(0, 0),
                begin: out.len(),
                out: &mut out,
                waiting: 6,
                deflate: None,
                deflater: &mut Deflater::default(),
                hub,
                state: &mut None,
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
