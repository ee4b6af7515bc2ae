//! Floor 4, server: endpoints for tests of clients and of load generators. Each shows one behaviour of a
//! server: a large body, a late answer, a slow body, a broken one, or no answer at all.

mod grammar;
mod pattern;

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::time::Duration;

use crate::config::Limits;
use crate::connection::{Answer, Endpoint, Event, Hub, Key, Request};
use crate::http::{Method, Status};
use crate::server::{Driver, Server};
use crate::site::Files;
use crate::transport::Transport;
use grammar::{NUMBER, STATUS, TIME};
use pattern::Pattern;

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// Mounts the [test endpoints](TestEndpoint) below `/_oneloop/test/`.
    #[must_use]
    pub fn with_test_endpoints(mut self) -> Self {
        for (path, kind) in Kind::PATHS {
            let endpoint = TestEndpoint::new(kind, &self.turn.limits);
            self = self.with_endpoint(path, endpoint);
        }
        self
    }
}

/// The behaviour that a test endpoint shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Bytes,
    Chunked,
    Truncate,
    Delay,
    Status,
    Drip,
    Events,
    Hang,
    Reset,
    Echo,
    Head,
}

impl Kind {
    /// Every kind with its path.
    const PATHS: [(&str, Kind); 11] = [
        ("/_oneloop/test/bytes/*", Kind::Bytes),
        ("/_oneloop/test/chunked/*", Kind::Chunked),
        ("/_oneloop/test/truncate/*", Kind::Truncate),
        ("/_oneloop/test/delay/*", Kind::Delay),
        ("/_oneloop/test/status/*", Kind::Status),
        ("/_oneloop/test/drip", Kind::Drip),
        ("/_oneloop/test/sse", Kind::Events),
        ("/_oneloop/test/hang", Kind::Hang),
        ("/_oneloop/test/reset", Kind::Reset),
        ("/_oneloop/test/echo", Kind::Echo),
        ("/_oneloop/test/head", Kind::Head),
    ];
}

/// An endpoint below `/_oneloop/test/`, mounted by [`Server::with_test_endpoints`]:
///
/// - `bytes/N`: `N` bytes. Each line of 16 bytes is its own offset in hexadecimal digits, so a client can
///   check every byte. Large ones are made as the client takes them.
/// - `chunked/N?size=S`: the same bytes in chunks of `S` bytes (1,024 by default).
/// - `truncate/N`: announces `N` bytes, sends half of them, and ends the connection.
/// - `delay/MS`: an answer after `MS` milliseconds.
/// - `status/CODE`: an answer with this status, from 200 to 599.
/// - `drip?n=N&bytes=B&every=TIME`: `N` pieces of `B` bytes, one in each `TIME` (by default 10 pieces of
///   1 byte, every 100 ms).
/// - `sse?every=TIME&n=N`: server-sent events (every second, without an end). Their identifiers go on
///   after `Last-Event-ID`.
/// - `hang`: no answer; the connection ends after [`Limits::test_time_max`].
/// - `reset`: no answer, but a reset of the connection (RST).
/// - `echo`: the body of the request.
/// - `head`: the head of the request as it came, as a text.
///
/// A time is a number with `ms` or `s`. Any method will do. A parameter that makes no sense is answered
/// with 400 and a sentence.
///
/// Each path also takes the parameters `_delay=5ms:90,50ms:10`, which holds the answer back, and
/// `_status=503:2`, which gives an answer with this status in place of the usual one. After each colon is
/// the chance in percent; without a colon it is 100 %, and what is missing from 100 % is the usual answer
/// without delay. The chances are drawn from a generator that is seeded with the number of requests to
/// the path so far: the same requests in the same order get the same answers. `_seed=N` seeds it for
/// this request, whatever came before.
///
/// For HEAD, the head alone is sent. The bounds are [`Limits::test_time_max`],
/// [`Limits::test_bytes_max`] and [`Limits::test_waiting_max`].
pub struct TestEndpoint {
    kind: Kind,
    time_max: Duration,
    bytes_max: u64,
    /// More bytes are sent as a stream.
    whole_max: u64,
    waiting_max: usize,
    /// The number of requests so far.
    requests: u64,
    /// The deeds that are held back, by connection.
    held: BTreeMap<Key, Deed>,
    /// The streams that go on, by connection.
    streams: BTreeMap<Key, Stream>,
    /// The connections for which a timer runs, by the number of the timer. The timer of a client that
    /// has left runs on, and counts too.
    timers: BTreeMap<u64, Key>,
    timers_set: u64,
}

impl fmt::Debug for TestEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TestEndpoint").field(&self.kind).finish()
    }
}

/// The deed for a request.
#[derive(Debug)]
enum Deed {
    /// Gives an answer that is complete.
    Answer(Answer),
    /// Begins a stream.
    Stream(Answer, Stream),
    /// Resets the connection.
    Reset,
    /// Ends the connection without an answer.
    Leave,
}

/// The rest of a stream.
#[derive(Debug)]
struct Stream {
    content: Content,
    /// The bytes of each piece.
    piece: u64,
    /// The pieces that are left; `None` for a stream without an end.
    left: Option<u64>,
    /// The time between two pieces; `None`: as soon as there is room.
    every: Option<Duration>,
    /// Whether the first piece was due.
    has_begun: bool,
    /// Whether the connection ends after the last piece, in the middle of the announced content.
    is_cut: bool,
}

/// The content of a stream.
#[derive(Debug)]
enum Content {
    /// The pattern up to this length.
    Pattern(Pattern, u64),
    /// Events, and the identifier of the next one.
    Events(u64),
}

/// The reading of a request, or a sentence for the client.
type Parsed<T> = Result<T, String>;

/// The media type of bytes that mean nothing.
const OCTETS: &str = "application/octet-stream";

/// The bytes of a piece, unless the client asks for another size. A piece is queued whole, so a client
/// that stops reading holds this much more than [`Limits::write_buffer_high`].
const PIECE_BYTES: u64 = 8 << 10;

/// The most bytes of a piece that a client may ask for.
const PIECE_BYTES_MAX: u64 = 64 << 10;

fn check_piece(name: &str, bytes: u64) -> Parsed<()> {
    match (1..=PIECE_BYTES_MAX).contains(&bytes) {
        true => Ok(()),
        false => Err(format!("{name} must be from 1 to {PIECE_BYTES_MAX}")),
    }
}

/// An answer that says its status, unless an answer with the status has no content.
fn plain(status: Status) -> Answer {
    if status.has_no_content() {
        return Answer::empty(status);
    }
    let text = format!("{} {}", status.code(), status.reason());
    Answer::text(format!("{}\n", text.trim_end())).status(status)
}

impl TestEndpoint {
    fn new(kind: Kind, limits: &Limits) -> TestEndpoint {
        TestEndpoint {
            kind,
            time_max: limits.test_time_max,
            bytes_max: limits.test_bytes_max,
            whole_max: limits.cached_file_bytes_max as u64,
            waiting_max: limits.test_waiting_max,
            requests: 0,
            held: BTreeMap::new(),
            streams: BTreeMap::new(),
            timers: BTreeMap::new(),
            timers_set: 0,
        }
    }

    /// The deed that the request asks for, and the delay.
    fn deed(&mut self, request: &mut Request<'_>) -> Parsed<(Deed, Duration)> {
        let delays = TIME.chances(request, "_delay")?;
        for delay in delays.values() {
            self.check_time("_delay", delay)?;
        }
        let statuses = STATUS.chances(request, "_status")?;
        let seed = NUMBER.parameter(request, "_seed", self.requests)?;
        self.requests += 1;
        let (usual, own_delay) = self.usual(request)?;
        let delay = delays.draw(seed, 0).unwrap_or_default();
        Ok(match statuses.draw(seed, 1) {
            Some(status) => (Deed::Answer(plain(status)), delay),
            None => (usual, own_delay + delay),
        })
    }

    /// The meaning of the path, without the parameters that each path takes.
    fn usual(&self, request: &mut Request<'_>) -> Parsed<(Deed, Duration)> {
        let name = request.name();
        let deed = match self.kind {
            Kind::Bytes => {
                let len = self.length(name)?;
                match len <= self.whole_max {
                    true => {
                        let content = Pattern::default().take(len);
                        Deed::Answer(Answer::bytes(OCTETS, content))
                    }
                    false => {
                        let head = Answer::stream(OCTETS).length(len);
                        Deed::Stream(head, Stream::pattern(len, PIECE_BYTES))
                    }
                }
            }
            Kind::Chunked => {
                let len = self.length(name)?;
                let size = NUMBER.parameter(request, "size", 1_024)?;
                check_piece("size", size)?;
                Deed::Stream(Answer::stream(OCTETS), Stream::pattern(len, size))
            }
            Kind::Truncate => {
                let len = self.length(name)?;
                if len == 0 {
                    return Err("nothing can be missing from 0 bytes".into());
                }
                let head = Answer::stream(OCTETS).length(len);
                let mut stream = Stream::pattern(len / 2, PIECE_BYTES);
                stream.is_cut = true;
                Deed::Stream(head, stream)
            }
            Kind::Delay => {
                let ms = NUMBER.value("the number of milliseconds", name)?;
                let delay = Duration::from_millis(ms);
                self.check_time("the delay", delay)?;
                let answer = Answer::text(format!("{ms} ms\n"));
                return Ok((Deed::Answer(answer), delay));
            }
            Kind::Status => Deed::Answer(plain(STATUS.value("the name", name)?)),
            Kind::Drip => self.drip(request)?,
            Kind::Events => self.events(request)?,
            Kind::Hang => return Ok((Deed::Leave, self.time_max)),
            Kind::Reset => Deed::Reset,
            Kind::Echo => Deed::Answer(Answer::bytes(OCTETS, request.take_body())),
            Kind::Head => {
                let head = String::from_utf8_lossy(request.head_bytes());
                Deed::Answer(Answer::text(head))
            }
        };
        Ok((deed, Duration::ZERO))
    }

    fn drip(&self, request: &Request<'_>) -> Parsed<Deed> {
        let pieces = NUMBER.parameter(request, "n", 10)?;
        let bytes = NUMBER.parameter(request, "bytes", 1)?;
        let every = TIME.parameter(request, "every", Duration::from_millis(100))?;
        check_piece("bytes", bytes)?;
        self.check_pace(every)?;
        if pieces == 0 || every.as_millis() * u128::from(pieces) > self.time_max.as_millis() {
            let max = self.time_max;
            return Err(format!(
                "n must be at least 1, and all pieces take at most {max:?}"
            ));
        }
        let len = pieces.checked_mul(bytes);
        let len = len.filter(|len| *len <= self.bytes_max);
        let len = len.ok_or_else(|| format!("the most bytes are {}", self.bytes_max))?;
        let mut stream = Stream::pattern(len, bytes);
        stream.every = Some(every);
        Ok(Deed::Stream(Answer::stream(OCTETS).length(len), stream))
    }

    fn events(&self, request: &Request<'_>) -> Parsed<Deed> {
        let every = TIME.parameter(request, "every", Duration::from_secs(1))?;
        self.check_pace(every)?;
        let count = request.parameter("n");
        let count = count.map(|n| NUMBER.value("n", &n)).transpose()?;
        let last = request.field("Last-Event-ID").and_then(NUMBER.read);
        let stream = Stream {
            content: Content::Events(last.map_or(0, |last| last.saturating_add(1))),
            piece: 0,
            left: count,
            every: Some(every),
            has_begun: false,
            is_cut: false,
        };
        Ok(Deed::Stream(Answer::events(), stream))
    }

    fn check_time(&self, name: &str, time: Duration) -> Parsed<()> {
        match time > self.time_max {
            true => Err(format!("{name} is {:?} at most", self.time_max)),
            false => Ok(()),
        }
    }

    fn check_pace(&self, every: Duration) -> Parsed<()> {
        match every.is_zero() {
            true => Err("every must be at least 1ms".into()),
            false => self.check_time("every", every),
        }
    }

    /// A number of bytes within the bound.
    fn length(&self, name: &str) -> Parsed<u64> {
        let len = NUMBER.value("the number of bytes", name)?;
        match len > self.bytes_max {
            true => Err(format!("the most bytes are {}", self.bytes_max)),
            false => Ok(len),
        }
    }

    fn set_timer(&mut self, hub: &mut Hub<'_>, key: Key, delay: Duration) {
        hub.after(delay, self.timers_set);
        self.timers.insert(self.timers_set, key);
        self.timers_set += 1;
    }

    /// Returns the answer to give now; `None` if the connection ends without one.
    fn act(&mut self, hub: &mut Hub<'_>, key: Key, deed: Deed) -> Option<Answer> {
        match deed {
            Deed::Answer(answer) => return Some(answer),
            Deed::Stream(head, stream) => {
                self.streams.insert(key, stream);
                return Some(head);
            }
            Deed::Reset => hub.reset(key),
            Deed::Leave => hub.cut_off(key),
        }
        None
    }

    /// Sends pieces of a stream: the next one, or as many as there is room for.
    fn flow(&mut self, hub: &mut Hub<'_>, key: Key) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let every = stream.every;
        while stream.left != Some(0) && hub.has_room(key) {
            // There is room, so the piece is taken.
            let _ = hub.write(key, stream.next_piece());
            if every.is_some() {
                break;
            }
        }
        match (stream.left, every) {
            (Some(0), _) => {
                match stream.is_cut {
                    true => hub.cut_off(key),
                    // A stream of an announced length has ended by itself.
                    false => drop(hub.finish(key)),
                }
                self.streams.remove(&key);
            }
            (_, Some(every)) => self.set_timer(hub, key, every),
            (_, None) => {}
        }
    }
}

impl Stream {
    fn pattern(len: u64, piece: u64) -> Stream {
        Stream {
            content: Content::Pattern(Pattern::default(), len),
            piece,
            left: Some(len.div_ceil(piece)),
            every: None,
            has_begun: false,
            is_cut: false,
        }
    }

    fn next_piece(&mut self) -> Vec<u8> {
        self.left = self.left.map(|left| left - 1);
        match &mut self.content {
            Content::Pattern(pattern, len) => {
                let piece = self.piece.min(*len - pattern.at());
                pattern.take(piece)
            }
            Content::Events(id) => {
                let text = id.to_string();
                *id = id.saturating_add(1);
                let event = Event::data(&text).id(&text);
                event.expect("a number is one line").into()
            }
        }
    }
}

impl Endpoint for TestEndpoint {
    fn methods(&self) -> &[Method] {
        const ANY: [Method; 5] = [
            Method::Get,
            Method::Post,
            Method::Put,
            Method::Patch,
            Method::Delete,
        ];
        &ANY
    }

    fn on_request(&mut self, hub: &mut Hub<'_>, mut request: Request<'_>) -> Answer {
        let (deed, delay) = match self.deed(&mut request) {
            Ok(deed) => deed,
            Err(sentence) => {
                return Answer::text(sentence + "\n").status(Status::BadRequest);
            }
        };
        let key = request.key();
        let waits = !delay.is_zero() || matches!(&deed, Deed::Stream(_, s) if s.every.is_some());
        if waits && self.timers.len() >= self.waiting_max {
            let sentence = "too many requests are held back already\n";
            return Answer::text(sentence).status(Status::ServiceUnavailable);
        }
        if delay.is_zero() {
            return self.act(hub, key, deed).unwrap_or_else(Answer::later);
        }
        self.held.insert(key, deed);
        self.set_timer(hub, key, delay);
        Answer::later()
    }

    fn on_stream_room(&mut self, hub: &mut Hub<'_>, key: Key) {
        // A stream at a pace begins here, and then goes on with its timer.
        let goes_on = |stream: &mut Stream| {
            stream.every.is_none() || !mem::replace(&mut stream.has_begun, true)
        };
        if self.streams.get_mut(&key).is_some_and(goes_on) {
            self.flow(hub, key);
        }
    }

    fn on_timer(&mut self, hub: &mut Hub<'_>, timer: u64) {
        let Some(key) = self.timers.remove(&timer) else {
            return;
        };
        match self.held.remove(&key) {
            Some(deed) => {
                if let Some(answer) = self.act(hub, key, deed) {
                    // The answer is owed, because the client has not left.
                    let _ = hub.answer(key, answer);
                }
            }
            None => self.flow(hub, key),
        }
    }

    fn on_leave(&mut self, _: &mut Hub<'_>, key: Key) {
        self.held.remove(&key);
        self.streams.remove(&key);
    }
}
