//! WebSocket sessions: refused, kept, and reached from elsewhere; and timers.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use oneloop::http::{Method, Status};
use oneloop::websocket::CloseCode;
use oneloop::{Answer, Endpoint, Hub, Key, Message, Request, Session};

use super::{Program, next};
use crate::harness::eventually;
use crate::peer::handshake;

/// A room for those with a cookie. A GET request asks how many are in the room.
struct Club;

impl Endpoint for Club {
    fn methods(&self) -> &[Method] {
        &[Method::Get]
    }

    fn takes_websocket(&self) -> bool {
        true
    }

    fn on_request(&mut self, hub: &mut Hub<'_>, _: Request<'_>) -> Answer {
        let rooms: Vec<_> = hub.rooms().map(|(name, n)| format!("{name}:{n}")).collect();
        Answer::text(format!("{} [{}]", hub.members("club"), rooms.join(" ")))
    }

    fn on_open(&mut self, session: &mut Session<'_>, request: &Request<'_>) -> Result<(), Answer> {
        session.join("club", 0);
        let _ = session.send(Message::Text("welcome"));
        match request.cookie("member") {
            Some("yes") => Ok(()),
            _ => Err(Answer::text("no member\n")
                .status(Status::Unauthorized)
                .field("WWW-Authenticate", "Cookie")
                .into()),
        }
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        session.broadcast(message);
    }

    fn on_close(&mut self, hub: &mut Hub<'_>, _: Key, _: Option<CloseCode>) {
        hub.publish("club", Message::Text("one less"));
    }
}

#[test]
fn a_handshake_may_be_refused_and_leaves_nothing_behind() {
    let program = Program::of("/club", Club);
    let mut member = program.connect();
    member.send(handshake("/club", &["Cookie: member=yes"]));
    assert_eq!(member.head().status, 101);
    let mut member = crate::peer::Peer::over(member);
    assert_eq!(member.hear(), "welcome");
    let mut client = program.connect();
    client.send(handshake("/club", &["Cookie: member=no"]));
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (401, "no member\n"));
    assert_eq!(answer.field("WWW-Authenticate"), Some("Cookie"));
    assert_eq!(answer.field("Upgrade"), None);
    // The connection goes on, and is in no room.
    assert_eq!(client.get("/club").text(), "1 [club:1]");
    drop(client);
    member.say("alone?");
    assert_eq!(member.hear(), "alone?");
}

/// Counts the messages of each session, in the session.
struct Counts(Sender<u32>);

/// Tells the last count when the connection is over.
struct Count(u32, Sender<u32>);

impl Drop for Count {
    fn drop(&mut self) {
        let _ = self.1.send(self.0);
    }
}

impl Endpoint for Counts {
    fn on_open(&mut self, session: &mut Session<'_>, _: &Request<'_>) -> Result<(), Answer> {
        assert!(session.kept::<Count>().is_none());
        session.keep(Count(0, self.0.clone()));
        Ok(())
    }

    fn on_message(&mut self, session: &mut Session<'_>, _: Message<'_>) {
        assert!(session.kept::<String>().is_none(), "another type");
        let count = session.kept::<Count>().expect("it is kept");
        count.0 += 1;
        let text = count.0.to_string();
        let _ = session.send(Message::Text(&text));
    }
}

#[test]
fn a_session_keeps_a_value_as_long_as_its_connection() {
    let (told, counts) = mpsc::channel();
    let program = Program::of("/counts", Counts(told));
    let (mut one, mut two) = (program.peer("/counts"), program.peer("/counts"));
    for (expected, peers) in [("1", 2), ("2", 2), ("3", 1)] {
        for peer in [&mut one, &mut two].into_iter().take(peers) {
            peer.say("");
            assert_eq!(peer.hear(), expected);
        }
    }
    assert!(counts.try_recv().is_err(), "both are open");
    two.reset();
    assert_eq!(next(&counts), 2);
    drop(one);
    assert_eq!(next(&counts), 3);
}

/// `NAME: TEXT` is for the session of that name alone; `NAME!` ends it.
#[derive(Default)]
struct Post(BTreeMap<String, Key>);

impl Endpoint for Post {
    fn on_open(&mut self, session: &mut Session<'_>, request: &Request<'_>) -> Result<(), Answer> {
        self.0.insert(request.name().into(), session.key());
        Ok(())
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        let Message::Text(text) = message else { return };
        match (text.split_once(": "), text.split_once('!')) {
            (Some((name, text)), _) => session.hub().send(self.0[name], Message::Text(text)),
            (_, Some((name, _))) => session
                .hub()
                .close(self.0[name], CloseCode(4_001), "asked to"),
            _ => panic!("{text}"),
        }
    }
}

#[test]
fn a_key_reaches_one_session() {
    let program = Program::of("/post/*", Post::default());
    let [mut ada, mut bob] = ["/post/ada", "/post/bob"].map(|target| program.peer(target));
    ada.say("bob: hello");
    assert_eq!(bob.hear(), "hello");
    bob.say("ada: and you");
    assert_eq!(ada.hear(), "and you");
    ada.say("ada: a note");
    assert_eq!(ada.hear(), "a note");
    // What was sent before comes before the end.
    ada.say("bob: the last");
    ada.say("bob!");
    assert_eq!(bob.hear(), "the last");
    bob.await_close(4_001);
    bob.send(crate::peer::close(4_001));
    bob.assert_end();
    // A key names no other connection later.
    let mut carl = program.peer("/post/carl");
    ada.say("bob: are you there?");
    ada.say("carl: you are not bob");
    assert_eq!(carl.hear(), "you are not bob");
}

/// Sets timers of these milliseconds, and answers with their numbers in the order of the calls.
struct Timers {
    set: Option<(Key, Instant)>,
    called: Vec<u64>,
}

const DELAYS_MS: [u64; 6] = [40, 10, 30, 10, 0, 20];

impl Endpoint for Timers {
    fn methods(&self) -> &[Method] {
        &[Method::Get]
    }

    fn on_request(&mut self, hub: &mut Hub<'_>, request: Request<'_>) -> Answer {
        self.set = Some((request.key(), hub.now()));
        for (number, delay) in (0..).zip(DELAYS_MS) {
            hub.after(Duration::from_millis(delay), number);
        }
        Answer::later()
    }

    fn on_timer(&mut self, hub: &mut Hub<'_>, number: u64) {
        let (key, since) = self.set.expect("it was set");
        let delay = Duration::from_millis(DELAYS_MS[number as usize]);
        let now = Instant::now();
        assert!(now >= since + delay && hub.now() >= since + delay, "early");
        self.called.push(number);
        if self.called.len() == DELAYS_MS.len() {
            let answered = hub.answer(key, Answer::text(format!("{:?}", self.called)));
            answered.expect("it is owed");
        }
    }
}

#[test]
fn timers_come_in_order_and_never_early() {
    let (set, called) = (None, Vec::new());
    let program = Program::of("/timers", Timers { set, called });
    let answer = program.connect().get("/timers");
    assert_eq!(answer.text(), "[4, 1, 3, 5, 2, 0]");
}

#[test]
fn a_session_that_ends_is_out_of_its_rooms() {
    let program = Program::of("/club", Club);
    let mut client = program.connect();
    let mut opening = program.connect();
    opening.send(handshake("/club", &["Cookie: member=yes"]));
    assert_eq!(opening.head().status, 101);
    assert_eq!(client.get("/club").text(), "1 [club:1]");
    opening.reset();
    eventually("the room is empty", || client.get("/club").text() == "0 []");
}
