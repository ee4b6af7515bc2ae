//! Floor 3, connection: the [`Hub`], by which an endpoint reaches everything but the peer in front of
//! it: rooms, other connections, timers and the answers that it still owes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use super::effect::{Audience, Effect, Effects, Wish};
use super::message::{Message, PlainFrame};
use super::{Answer, Counters, Key, Rooms};
use crate::config::Limits;
use crate::transport::pool::Account;
use crate::websocket::CloseCode;

/// The world of an endpoint beside the peer of the call: rooms, connections, timers, and the answers
/// and streams that it owes.
///
/// A key of a request or of a WebSocket connection is good with every hub, not only with that of the
/// endpoint that got the key: an endpoint can complete an answer that another endpoint owes.
///
/// Each wish is queued, and carried out after the connections of this turn were pumped: usually still
/// in the same turn.
///
/// A room is a named group of WebSocket connections. A room needs no creation: the first message or
/// member creates the room. From the moment of [joining](super::Session::join), a member receives every
/// message to the room. If the write buffer of a member is full, [`Limits::slow_member`] decides.
///
/// Each room keeps a history: its last messages, up to [`Limits::room_messages_max`] and
/// [`Limits::room_bytes_max`]. A new member may ask for a part of the history. While memory is
/// short, no history is kept. At most [`Limits::empty_rooms_max`] rooms without members are kept,
/// for their history.
pub struct Hub<'a> {
    pub(super) effects: &'a mut Effects,
    pub(super) owed: &'a mut OwedAnswers,
    pub(super) alarms: &'a mut Alarms,
    pub(super) rooms: &'a Rooms,
    pub(super) counters: &'a Counters,
    pub(super) limits: &'a Limits,
    pub(super) now: Instant,
    pub(super) is_stopping: bool,
    pub(super) memory: Memory,
    pub(super) looked_up: [u64; 2],
    /// The number of the endpoint; `None` if the program calls from outside.
    pub(super) endpoint: Option<u16>,
}

impl fmt::Debug for Hub<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The memory that all connections hold together because of their peers, with the histories of the rooms.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Memory {
    /// The bytes that are held.
    pub bytes: usize,
    /// The bound, [`Limits::memory_bytes_max`].
    pub bytes_max: usize,
}

impl Memory {
    pub(super) fn of(account: &Account) -> Memory {
        Memory {
            bytes: account.used(),
            bytes_max: account.max(),
        }
    }
}

/// Why bytes or an answer were not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotTaken {
    /// No answer is owed to the connection: the client has left, or the answer was given already.
    Gone,
    /// Too much waits for the client, or for all clients together: try again in
    /// [`on_stream_room`](super::Endpoint::on_stream_room).
    Full,
    /// The bytes are more than the [length](Answer::length) that the head has announced.
    TooLong,
    /// The bytes are fewer than the length that the head has announced.
    TooShort,
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotTaken::Gone => "no answer is owed to this connection",
            NotTaken::Full => "too much waits for this client",
            NotTaken::TooLong => "the content is longer than its head says",
            NotTaken::TooShort => "the content is shorter than its head says",
        })
    }
}

impl Error for NotTaken {}

/// WebSocket.
impl Hub<'_> {
    /// Sends a message to every member of `room`.
    pub fn publish(&mut self, room: &str, message: Message<'_>) {
        self.push_message(Audience::Room(room.into()), message);
    }

    /// Sends a message to one WebSocket connection. If its write buffer is full, the message is missed
    /// as by a [slow member](Limits::slow_member); if the connection has ended, nothing happens.
    pub fn send(&mut self, key: Key, message: Message<'_>) {
        self.push_message(Audience::Connection(key), message);
    }

    /// Sends a message to each of these WebSocket connections. It is encoded once, as for a room, but it
    /// is in no history, and no list of rooms tells of it.
    pub(crate) fn send_each(&mut self, keys: Vec<Key>, message: Message<'_>) {
        self.push_message(Audience::Connections(keys), message);
    }

    /// Closes a WebSocket connection, after the messages that were sent before; see
    /// [`Session::close`](super::Session::close) for the code and the reason.
    pub fn close(&mut self, key: Key, code: CloseCode, reason: &str) {
        let reason = reason.into();
        self.wish(key, Wish::Close(code, reason));
    }

    /// The number of members of a room. Of connections that have joined or left in this turn, some may
    /// not be counted yet; an answer to a request counts all that came before.
    pub fn members(&self, room: &str) -> usize {
        self.rooms.members(room)
    }

    /// The rooms with at least one member, in the order of their names, and the numbers of members.
    pub fn rooms(&self) -> impl Iterator<Item = (&str, usize)> {
        self.rooms.list()
    }

    pub(super) fn push_message(&mut self, to: Audience, message: Message<'_>) {
        let frame = PlainFrame::new(message);
        self.effects.push(Effect::Publish { to, frame });
    }
}

/// Answers and streams.
impl Hub<'_> {
    /// Gives the answer to a request that was answered with [`Answer::later`].
    ///
    /// # Errors
    /// [`NotTaken::Gone`]: the client has left, or the answer was given already.
    pub fn answer(&mut self, key: Key, answer: impl Into<Answer>) -> Result<(), NotTaken> {
        match self.owed.rows.get_mut(&key) {
            Some(owed @ Owed::Answer) => {
                let answer = Box::new(answer.into());
                *owed = match answer.is_whole() {
                    true => Owed::Given,
                    false => Owed::Underway,
                };
                self.wish(key, Wish::Answer(answer));
                Ok(())
            }
            _ => Err(NotTaken::Gone),
        }
    }

    /// Adds bytes to the content of a [stream](Answer::stream). A stream of an announced length ends by
    /// itself with its last byte.
    ///
    /// # Errors
    /// [`NotTaken`]. None of the bytes are then sent.
    pub fn write(&mut self, key: Key, bytes: impl Into<Vec<u8>>) -> Result<(), NotTaken> {
        let is_crowded = self.effects.is_full(self.limits);
        let stream = self.stream(key)?;
        let bytes = bytes.into();
        let len = bytes.len() as u64;
        if stream.left.is_some_and(|left| left < len) {
            return Err(NotTaken::TooLong);
        }
        if is_crowded || stream.waiting() >= self.limits.write_buffer_max {
            self.want_room(key, is_crowded);
            return Err(NotTaken::Full);
        }
        let high = self.limits.write_buffer_high;
        let stream = self.stream(key)?;
        stream.on_the_way += len;
        stream.wants_room |= stream.waiting() >= high;
        stream.left = stream.left.map(|left| left - len);
        let is_last = stream.left == Some(0);
        if len > 0 {
            self.wish(key, Wish::Write(bytes));
        }
        match is_last {
            true => self.finish(key),
            false => Ok(()),
        }
    }

    /// Whether the [stream](Answer::stream) has room: fewer than [`Limits::write_buffer_high`] bytes
    /// wait for the client. After `false`, the server calls
    /// [`on_stream_room`](super::Endpoint::on_stream_room) once there is room. `false` too if the client
    /// has left.
    pub fn has_room(&mut self, key: Key) -> bool {
        let is_crowded = self.effects.is_full(self.limits);
        let high = self.limits.write_buffer_high;
        let Ok(stream) = self.stream(key) else {
            return false;
        };
        let has_room = !is_crowded && stream.waiting() < high;
        if !has_room {
            self.want_room(key, is_crowded);
        }
        has_room
    }

    /// Notes that the endpoint of a stream must be told when there is room.
    fn want_room(&mut self, key: Key, is_crowded: bool) {
        if let Ok(stream) = self.stream(key)
            && !std::mem::replace(&mut stream.wants_room, true)
            && is_crowded
        {
            self.owed.crowded_out.push(key);
        }
    }

    /// Ends a stream: its content is complete. The connection goes on to the next request.
    ///
    /// # Errors
    /// [`NotTaken::Gone`], and [`NotTaken::TooShort`] if the head has announced more.
    pub fn finish(&mut self, key: Key) -> Result<(), NotTaken> {
        let stream = self.stream(key)?;
        if stream.left.is_some_and(|left| left > 0) {
            return Err(NotTaken::TooShort);
        }
        self.owed.rows.insert(key, Owed::Given);
        self.wish(key, Wish::Finish);
        Ok(())
    }

    /// Breaks an answer off, because it cannot be completed. The bytes written before are sent; then the
    /// connection ends, and the client sees from the framing that something is missing (RFC 9112 §8).
    /// An answer that has not begun is never given.
    pub fn cut_off(&mut self, key: Key) {
        let owed = self.owed.rows.get_mut(&key);
        if let Some(owed) = owed.filter(|owed| !matches!(owed, Owed::Given)) {
            *owed = Owed::Given;
            self.wish(key, Wish::CutOff);
        }
    }

    /// Resets the connection of a request that waits for its answer, or a WebSocket connection: the
    /// client gets the RST of TCP, and the bytes in the write buffer are lost. The endpoint is told
    /// only of the end of a WebSocket connection. This is for tests of clients: to break an answer off,
    /// [`cut_off`](Hub::cut_off) loses nothing.
    pub fn reset(&mut self, key: Key) {
        self.wish(key, Wish::Reset);
    }

    /// Goes on with a body, after [`Uptake::Wait`](super::Uptake::Wait).
    pub fn resume(&mut self, key: Key) {
        self.wish(key, Wish::Resume);
    }

    fn wish(&mut self, key: Key, wish: Wish) {
        self.effects.push(Effect::Wish(key, wish));
    }

    fn stream(&mut self, key: Key) -> Result<&mut OwedStream, NotTaken> {
        match self.owed.rows.get_mut(&key) {
            Some(Owed::Stream(stream)) => Ok(stream),
            _ => Err(NotTaken::Gone),
        }
    }
}

/// Time, and the view of the server.
impl Hub<'_> {
    /// Lets the server call [`on_timer`](super::Endpoint::on_timer) of this endpoint after `delay`,
    /// once, with `number`. A timer may be late, by a millisecond or by the length of a turn, but is
    /// never early; a delay so long that the clock cannot tell its end never passes. In
    /// [`Handle::run`](crate::server::Handle::run) there is no endpoint to be called, and nothing
    /// happens.
    pub fn after(&mut self, delay: Duration, number: u64) {
        if let Some(endpoint) = self.endpoint
            && let Some(at) = self.now.checked_add(delay)
        {
            self.alarms.add(at, endpoint, number);
        }
    }

    /// The time of this turn, by the monotonic clock.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The counts of events since the start.
    pub fn counters(&self) -> &Counters {
        self.counters
    }

    /// Whether the server is stopping: it takes no new connections, and completes the answers in flight.
    pub fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// The memory of all connections, when the call of the endpoint began.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// The look-ups in the cache of files since the start: how many found a valid entry, and how many did
    /// not. An entry may also say that there is no file.
    pub fn cache_lookups(&self) -> (u64, u64) {
        let [misses, hits] = self.looked_up;
        (hits, misses)
    }

    /// The number of effects that wait for delivery: messages to rooms, and other wishes of endpoints.
    pub fn queued_effects(&self) -> usize {
        self.effects.len()
    }

    /// The number of open connections.
    pub fn connections(&self) -> u64 {
        self.counters.open()
    }
}

/// The answers that endpoints owe, by request. A connection waits for its answer, so it is owed one
/// at the most.
#[derive(Default, Debug)]
pub(crate) struct OwedAnswers {
    rows: BTreeMap<Key, Owed>,
    /// The streams that found the queue of effects full. Perhaps nothing of them is on its way, so
    /// that no event of their connections would tell of room.
    crowded_out: Vec<Key>,
    /// The number of requests to endpoints up to now.
    requests: u32,
}

#[derive(Debug)]
enum Owed {
    /// The head, and everything after it.
    Answer,
    /// Everything after an effect that is queued: the request of a body that was taken in pieces, or
    /// the head of an answer that comes piece by piece.
    Underway,
    /// The rest of the content.
    Stream(OwedStream),
    /// Nothing more: the effect that completes the answer is queued.
    Given,
}

/// A stream that an endpoint writes to.
#[derive(Debug)]
struct OwedStream {
    /// The bytes that are queued as effects.
    on_the_way: u64,
    /// The bytes in the write buffer, when its connection was last stepped.
    buffered: u64,
    /// The bytes that must still be written, if the head has announced a length.
    left: Option<u64>,
    /// Whether the endpoint must be told when there is room.
    wants_room: bool,
}

impl OwedStream {
    fn waiting(&self) -> u64 {
        self.on_the_way + self.buffered
    }
}

impl OwedAnswers {
    /// Returns the key of a new request of this connection. The key of an earlier request would be a
    /// trap: an answer that comes twice, or too late, would be taken for the answer to this request.
    pub(super) fn name_request(&mut self, connection: Key) -> Key {
        self.requests = self.requests.wrapping_add(1);
        connection.of_request(self.requests)
    }

    /// Begins to owe an answer.
    pub(super) fn owe_answer(&mut self, key: Key) {
        self.rows.insert(key, Owed::Answer);
    }

    /// Owes an answer to a request that is queued, and whose body the endpoint has taken in pieces.
    pub(super) fn owe_queued(&mut self, key: Key) {
        self.rows.insert(key, Owed::Underway);
    }

    /// Begins to owe the content of a stream, of which `left` bytes are announced and not queued yet.
    pub(super) fn owe_stream(&mut self, key: Key, left: Option<u64>) {
        let stream = OwedStream {
            on_the_way: 0,
            buffered: 0,
            left,
            wants_room: true,
        };
        self.rows.insert(key, Owed::Stream(stream));
    }

    /// Owes nothing any more. Returns whether the endpoint still had something to do.
    pub(super) fn settle(&mut self, key: Key) -> bool {
        !matches!(self.rows.remove(&key), None | Some(Owed::Given))
    }

    /// Notes that bytes have come from the effects into the write buffer.
    pub(super) fn arrived(&mut self, key: Key, bytes: u64) {
        if let Some(Owed::Stream(stream)) = self.rows.get_mut(&key) {
            stream.on_the_way -= bytes;
        }
    }

    /// Notes how much waits in the write buffer. Returns whether the endpoint must be told that there is
    /// room, once: fewer than `high` bytes wait.
    pub(super) fn tells_room(&mut self, key: Key, buffered: u64, high: u64) -> bool {
        let Some(Owed::Stream(stream)) = self.rows.get_mut(&key) else {
            return false;
        };
        stream.buffered = buffered;
        let has_room = stream.waiting() < high;
        has_room && std::mem::take(&mut stream.wants_room)
    }

    /// Whether the endpoint of a stream waits for room.
    pub(super) fn wants_room(&self, key: Key) -> bool {
        matches!(self.rows.get(&key), Some(Owed::Stream(stream)) if stream.wants_room)
    }

    /// Whether a stream of an announced length has all of its bytes, and was not ended. Only a stream of
    /// length 0 can be in this state.
    pub(super) fn is_complete(&self, key: Key) -> bool {
        matches!(self.rows.get(&key), Some(Owed::Stream(stream)) if stream.left == Some(0))
    }

    /// Whether no piece of a stream is on its way.
    pub(super) fn is_between_pieces(&self, key: Key) -> bool {
        matches!(self.rows.get(&key), Some(Owed::Stream(stream)) if stream.on_the_way == 0)
    }

    /// Whether a stream has found the queue of effects full.
    #[inline]
    pub(crate) fn has_crowded_out(&self) -> bool {
        !self.crowded_out.is_empty()
    }

    /// Takes the streams that found the queue of effects full, to be pumped.
    pub(crate) fn take_crowded_out(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.crowded_out)
    }

    /// Whether no answer is owed.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The timers of endpoints, the earliest first. Of those at the same time, the one set first comes
/// first.
#[derive(Default, Debug)]
pub(crate) struct Alarms {
    queue: BinaryHeap<Reverse<(Instant, u64, u16, u64)>>,
    set: u64,
}

impl Alarms {
    fn add(&mut self, at: Instant, endpoint: u16, number: u64) {
        self.set += 1;
        self.queue.push(Reverse((at, self.set, endpoint, number)));
    }

    /// The time of the next alarm.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((at, ..))| *at)
    }

    /// Takes the next alarm whose time has come: the endpoint and its number.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(u16, u64)> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, _, endpoint, number)) = self.queue.pop()?;
        Some((endpoint, number))
    }
}
