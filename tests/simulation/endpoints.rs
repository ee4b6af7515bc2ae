//! The simulation's own endpoints: one keeps a book over another endpoint, one has more to send
//! than fits, one closes every session, and one answers requests in every way there is.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use oneloop::connection::{Answer, Endpoint, Hub, Intake, Key, Message, Request, Session, Uptake};
use oneloop::http::{Method, Status};
use oneloop::websocket::{CloseCode, Protocols};

/// The sessions of an endpoint, past and present; `true` means that a session is over.
#[derive(Clone, Default, Debug)]
pub struct Book(Rc<RefCell<BTreeMap<Key, bool>>>);

impl Book {
    /// Wraps an endpoint, so that this book records its sessions.
    pub fn over<E: Endpoint>(&self, endpoint: E) -> Counted<E> {
        let book = self.clone();
        Counted { endpoint, book }
    }

    fn open(&self, key: Key) {
        let before = self.0.borrow_mut().insert(key, false);
        assert!(before.is_none(), "an endpoint was told twice of an opening");
    }

    fn is_open(&self, key: Key) {
        let stay = self.0.borrow().get(&key).copied();
        assert!(stay == Some(false), "an endpoint is told of a stranger");
    }

    fn close(&self, key: Key) {
        self.is_open(key);
        self.0.borrow_mut().insert(key, true);
    }

    /// Whether the end of every session was reported.
    pub fn is_closed(&self) -> bool {
        self.0.borrow().values().all(|over| *over)
    }
}

/// An endpoint that checks its calls: each session opens once, before any other call, and closes
/// once, after every other call.
#[derive(Debug)]
pub struct Counted<E> {
    endpoint: E,
    book: Book,
}

impl<E: Endpoint> Endpoint for Counted<E> {
    fn protocols(&self) -> Protocols {
        self.endpoint.protocols()
    }

    fn on_open(&mut self, session: &mut Session<'_>, request: &Request<'_>) -> Result<(), Answer> {
        self.endpoint.on_open(session, request)?;
        self.book.open(session.key());
        Ok(())
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        self.book.is_open(session.key());
        self.endpoint.on_message(session, message);
    }

    fn on_room(&mut self, session: &mut Session<'_>) {
        self.book.is_open(session.key());
        self.endpoint.on_room(session);
    }

    fn on_close(&mut self, hub: &mut Hub<'_>, key: Key, code: Option<CloseCode>) {
        self.book.close(key);
        self.endpoint.on_close(hub, key, code);
    }

    fn methods(&self) -> &[Method] {
        self.endpoint.methods()
    }

    fn takes_websocket(&self) -> bool {
        self.endpoint.takes_websocket()
    }

    fn on_request(&mut self, hub: &mut Hub<'_>, request: Request<'_>) -> Answer {
        self.endpoint.on_request(hub, request)
    }

    fn on_head(&mut self, hub: &mut Hub<'_>, request: &Request<'_>) -> Intake {
        self.endpoint.on_head(hub, request)
    }

    fn on_body(&mut self, hub: &mut Hub<'_>, key: Key, piece: &[u8]) -> Uptake {
        self.endpoint.on_body(hub, key, piece)
    }

    fn on_stream_room(&mut self, hub: &mut Hub<'_>, key: Key) {
        self.endpoint.on_stream_room(hub, key);
    }

    fn on_leave(&mut self, hub: &mut Hub<'_>, key: Key) {
        self.endpoint.on_leave(hub, key);
    }

    fn on_timer(&mut self, hub: &mut Hub<'_>, number: u64) {
        self.endpoint.on_timer(hub, number);
    }

    fn interval(&self) -> Option<Duration> {
        self.endpoint.interval()
    }

    fn on_tick(&mut self, hub: &mut Hub<'_>) {
        self.endpoint.on_tick(hub);
    }
}

/// `/bouncer`: closes every session that sends a message.
#[derive(Debug)]
pub struct Bouncer;

impl Endpoint for Bouncer {
    fn on_message(&mut self, session: &mut Session<'_>, _: Message<'_>) {
        session.close(CloseCode::POLICY, "not here");
    }
}

/// `/fountain/N`: sends `N` messages, as far as there is space for them, and closes the session.
#[derive(Default, Debug)]
pub struct Fountain {
    /// For each session, the number of messages sent and the number to send in all.
    left: BTreeMap<Key, (usize, usize)>,
}

impl Fountain {
    /// The messages that a client receives.
    pub fn drops(count: usize) -> impl Iterator<Item = Vec<u8>> {
        (0..count).map(move |n| format!("{n} of {count} drops").into_bytes())
    }

    fn flow(&mut self, session: &mut Session<'_>) {
        let (said, count) = self.left.get_mut(&session.key()).expect("it is open");
        for drop in Self::drops(*count).skip(*said) {
            if !session.has_room() {
                return;
            }
            let sent = session.send(Message::Binary(&drop));
            sent.expect("there is room");
            *said += 1;
        }
        session.close(CloseCode(4_000), "it is dry");
    }
}

impl Endpoint for Fountain {
    fn on_open(&mut self, session: &mut Session<'_>, request: &Request<'_>) -> Result<(), Answer> {
        let Ok(count) = request.name().parse() else {
            // What was done before the refusal must leave no trace.
            session.join("a", 9);
            let _ = session.send(Message::Text("welcome"));
            return Err(Answer::text("that is no number").status(Status::BadRequest));
        };
        self.left.insert(session.key(), (0, count));
        self.flow(session);
        Ok(())
    }

    fn on_message(&mut self, _: &mut Session<'_>, _: Message<'_>) {}

    fn on_room(&mut self, session: &mut Session<'_>) {
        self.flow(session);
    }

    fn on_close(&mut self, _: &mut Hub<'_>, key: Key, _: Option<CloseCode>) {
        self.left.remove(&key);
    }
}

/// `/oracle/N?way`: answers with the drops of `N`, as the way says: `whole` at once, `late` after
/// a while, `flow` as far as there is room, `drip` one by one, `counted` with a length in the head,
/// `short` without the last drop, and `still` without an end.
#[derive(Default, Debug)]
pub struct Oracle {
    /// For each stream, the number of drops sent, the number in all, and the way.
    streams: BTreeMap<Key, (usize, usize, Way)>,
    /// Whom each timer is for.
    timers: Vec<Key>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Late,
    Flow,
    Drip,
    Short,
    Still,
}

impl Oracle {
    /// How long the oracle lets a client wait.
    pub const DELAY: Duration = Duration::from_millis(300);

    /// The content of the right answer.
    pub fn says(count: usize) -> Vec<u8> {
        Fountain::drops(count).flatten().collect()
    }

    fn call_later(&mut self, hub: &mut Hub<'_>, key: Key) {
        hub.after(Oracle::DELAY, self.timers.len() as u64);
        self.timers.push(key);
    }

    fn flow(&mut self, hub: &mut Hub<'_>, key: Key) {
        let Some((said, count, way)) = self.streams.get_mut(&key) else {
            return;
        };
        let end = match way {
            Way::Drip => (*said + 1).min(*count),
            Way::Short => *count - 1,
            Way::Late | Way::Flow | Way::Still => *count,
        };
        for drop in Fountain::drops(*count).take(end).skip(*said) {
            if !hub.has_room(key) {
                return;
            }
            hub.write(key, drop).expect("there is room");
            *said += 1;
        }
        let (is_all, way) = (*said == *count, *way);
        match way {
            Way::Drip if !is_all => self.call_later(hub, key),
            Way::Still => {}
            Way::Short => {
                self.streams.remove(&key);
                hub.cut_off(key);
                assert!(hub.write(key, *b"more").is_err(), "it was broken off");
            }
            Way::Late | Way::Flow | Way::Drip => {
                self.streams.remove(&key);
                // A stream of an announced length has ended by itself.
                let _ = hub.finish(key);
                assert!(hub.finish(key).is_err(), "it has ended already");
            }
        }
    }
}

impl Endpoint for Oracle {
    fn methods(&self) -> &[Method] {
        &[Method::Get, Method::Post]
    }

    fn on_request(&mut self, hub: &mut Hub<'_>, request: Request<'_>) -> Answer {
        let count = request.name().parse().expect("a number");
        let key = request.key();
        assert!(
            hub.answer(key, Answer::text("early")).is_err(),
            "nothing is owed yet"
        );
        let is_head = request.method() == Method::Head;
        let stream = Answer::stream("text/plain");
        let length = Oracle::says(count).len() as u64;
        let (way, answer) = match request.query() {
            "late" => (Way::Late, Answer::later()),
            "flow" => (Way::Flow, stream),
            "counted" => (Way::Flow, stream.length(length)),
            "drip" => (Way::Drip, stream),
            "short" => (Way::Short, stream.length(length)),
            "still" => (Way::Still, stream.endless()),
            _ => return Answer::bytes("text/plain", Oracle::says(count)),
        };
        let before = self.streams.insert(key, (0, count, way));
        assert!(before.is_none(), "a connection has one answer at a time");
        if way == Way::Late {
            self.call_later(hub, key);
        }
        assert!(!is_head || way != Way::Late);
        answer
    }

    fn on_head(&mut self, _: &mut Hub<'_>, request: &Request<'_>) -> Intake {
        match request.query() {
            "refuse" => Intake::Refuse(Answer::text("no").status(Status::Forbidden)),
            _ => Intake::Whole,
        }
    }

    fn on_stream_room(&mut self, hub: &mut Hub<'_>, key: Key) {
        self.flow(hub, key);
    }

    fn on_timer(&mut self, hub: &mut Hub<'_>, number: u64) {
        let key = self.timers[number as usize];
        match self.streams.get(&key) {
            Some((_, count, Way::Late)) => {
                let answer = Answer::bytes("text/plain", Oracle::says(*count));
                self.streams.remove(&key);
                hub.answer(key, answer).expect("it is owed");
                assert!(hub.answer(key, Answer::text("again")).is_err());
            }
            Some(_) => self.flow(hub, key),
            None => {}
        }
    }

    fn on_leave(&mut self, hub: &mut Hub<'_>, key: Key) {
        let stream = self.streams.remove(&key);
        assert!(stream.is_some(), "an endpoint is told of a stranger");
        assert!(hub.write(key, *b"more").is_err(), "the client has left");
    }
}
