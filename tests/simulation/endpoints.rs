//! The simulation's own endpoints: one keeps a book over another endpoint, one has more to send
//! than fits, and one closes every session.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use oneloop::connection::{Answer, Endpoint, Hub, Key, Message, Post, RouteMatch, Session};
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

    fn on_open(&mut self, session: &mut Session<'_>, place: RouteMatch<'_>) {
        self.book.open(session.key());
        self.endpoint.on_open(session, place);
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

    fn takes_posts(&self) -> bool {
        self.endpoint.takes_posts()
    }

    fn on_post(&mut self, hub: &mut Hub<'_>, post: Post<'_>) -> Answer {
        self.endpoint.on_post(hub, post)
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
    fn on_open(&mut self, session: &mut Session<'_>, place: RouteMatch<'_>) {
        let count = place.name.parse().expect("a number");
        self.left.insert(session.key(), (0, count));
        self.flow(session);
    }

    fn on_message(&mut self, _: &mut Session<'_>, _: Message<'_>) {}

    fn on_room(&mut self, session: &mut Session<'_>) {
        self.flow(session);
    }

    fn on_close(&mut self, _: &mut Hub<'_>, key: Key, _: Option<CloseCode>) {
        self.left.remove(&key);
    }
}
