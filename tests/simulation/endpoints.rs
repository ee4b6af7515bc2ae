//! Endpoints of the simulation's own: one that keeps books over another, one that has more to say than
//! there is room for, and one that listens to nobody.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use oneloop::connection::{Answer, Endpoint, Hub, Key, Message, Post, RouteMatch, Session};
use oneloop::websocket::{CloseCode, Protocols};

/// Who is with an endpoint, and who was: `true` means that it is over.
#[derive(Clone, Default, Debug)]
pub struct Book(Rc<RefCell<BTreeMap<Key, bool>>>);

impl Book {
    /// An endpoint that this book is kept over.
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

    /// Whether everybody's end was told.
    pub fn is_closed(&self) -> bool {
        self.0.borrow().values().all(|over| *over)
    }
}

/// An endpoint that is told of everyone once, before anything else and after everything else.
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

/// `/bouncer`: closes whoever speaks.
#[derive(Debug)]
pub struct Bouncer;

impl Endpoint for Bouncer {
    fn on_message(&mut self, session: &mut Session<'_>, _: Message<'_>) {
        session.close(CloseCode::POLICY, "not here");
    }
}

/// `/fountain/N`: says so much, as far as there is room, and goes.
#[derive(Default, Debug)]
pub struct Fountain {
    /// What each still has to hear, and what it hears in all.
    left: BTreeMap<Key, (usize, usize)>,
}

impl Fountain {
    /// What is heard.
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
