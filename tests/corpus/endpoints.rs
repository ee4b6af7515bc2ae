//! Endpoints that do what few do: they answer twice, give a stream a status without content, or
//! meet a full queue. The framing must stay right, and the endpoint must be told the truth.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use oneloop::config::Limits;
use oneloop::connection::{Answer, Endpoint, Hub, Intake, Key, Message, NotTaken, Request, Uptake};
use oneloop::http::{Method, Status};

use crate::world::{Action, Visit};

/// What an endpoint was told and has found, in order.
type Notes = Rc<RefCell<Vec<String>>>;

/// Answers as the query says.
#[derive(Default)]
struct Probe {
    notes: Notes,
    keys: Vec<Key>,
}

impl Probe {
    fn note(&self, text: impl Into<String>) {
        self.notes.borrow_mut().push(text.into());
    }
}

impl Endpoint for Probe {
    fn methods(&self) -> &[Method] {
        &[Method::Get, Method::Put]
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn on_head(&mut self, _: &mut Hub<'_>, _: &Request<'_>) -> Intake {
        Intake::Pieces
    }

    fn on_body(&mut self, hub: &mut Hub<'_>, key: Key, _: &[u8]) -> Uptake {
        // A wish for an earlier request must not let this one go on.
        self.keys.iter().for_each(|key| hub.resume(*key));
        self.keys.push(key);
        Uptake::Wait
    }

    fn on_request(&mut self, hub: &mut Hub<'_>, request: Request<'_>) -> Answer {
        let stream = Answer::stream("text/plain");
        self.keys.push(request.key());
        match request.query() {
            "late" | "never" | "flows" => {
                if request.query() != "never" {
                    let number = self.keys.len() as u64 - 1;
                    hub.after(Duration::from_millis(10 + number), number);
                    hub.after(Duration::from_millis(20), 100 + number);
                }
                Answer::later()
            }
            "busy" => {
                hub.after(Duration::from_millis(10), 200);
                stream
            }
            "long" => {
                hub.after(Duration::MAX, 0);
                Answer::text("long")
            }

            "counted" => Answer::events().length(5),
            "nothing" => stream.length(0),
            code => {
                let status = match code.parse() {
                    Ok(101) => Some(Status::SwitchingProtocols),
                    Ok(code) => Status::from_code(code),
                    Err(_) => None,
                };
                stream.status(status.expect("it is a status"))
            }
        }
    }

    fn on_stream_room(&mut self, hub: &mut Hub<'_>, key: Key) {
        self.note("room");
        // The first note is that of a stream with nothing to send yet.
        let _ = match self.notes.borrow().len() {
            1 => hub.write(key, *b"hello"),
            _ => hub.finish(key),
        };
    }

    fn on_timer(&mut self, hub: &mut Hub<'_>, number: u64) {
        match number {
            200 => {
                while hub.has_room(self.keys[0]) {
                    hub.publish("room", Message::Text("hello"));
                }
                self.note("full");
            }
            100.. => {
                let answered = hub.answer(self.keys[number as usize - 100], Answer::text("again"));
                self.note(format!("{answered:?}"));
            }
            _ => {
                let answer = Answer::text(format!("answer {number}"));
                assert_eq!(hub.answer(self.keys[number as usize], answer), Ok(()));
            }
        }
    }

    fn on_leave(&mut self, _: &mut Hub<'_>, _: Key) {
        self.note("left");
    }
}

fn get(query: &str) -> Action {
    Action::Send(format!("GET /x?{query} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes())
}

/// Plays `actions`, and returns what the client has received and what the endpoint has noted.
fn play(actions: &[Action], limits: &Limits) -> (String, Vec<String>) {
    let notes = Notes::default();
    let probe = Probe {
        notes: Rc::clone(&notes),
        ..Probe::default()
    };
    let mut visit = Visit::to(limits, probe);
    actions.iter().for_each(|action| visit.act(action));
    let received = String::from_utf8(visit.received().clone()).expect("it is text");
    (received, notes.take())
}

/// The content of each answer, by the empty line before it.
fn contents(received: &str) -> Vec<&str> {
    let answers = received.split("HTTP/1.1 ").skip(1);
    let parts = answers.map(|answer| answer.split_once("\r\n\r\n").expect("there is a head").1);
    parts.collect()
}

/// The timeout of a program answers, and then the thread with the right answer comes, while the
/// connection waits for another answer.
#[test]
fn a_second_answer_is_not_taken_for_the_next_request() {
    let actions = [
        get("late"),
        Action::Wait(Duration::from_millis(15)),
        get("never"),
        Action::Wait(Duration::from_secs(1)),
    ];
    let (received, notes) = play(&actions, &Limits::default());
    assert_eq!(contents(&received), ["answer 0"]);
    assert_eq!(notes, [format!("{:?}", Err::<(), _>(NotTaken::Gone))]);
}

#[test]
fn a_stream_with_a_status_without_content_has_none() {
    for code in ["204", "205", "304"] {
        let actions = [get(code), get("long")];
        let (received, notes) = play(&actions, &Limits::default());
        assert_eq!(contents(&received), ["", "long"], "{received}");
        assert!(!received.contains("chunked"), "{received}");
        assert_eq!(notes, ["left"]);
    }
    let (received, _) = play(&[get("101")], &Limits::default());
    assert!(received.starts_with("HTTP/1.1 500 "), "{received}");
}

#[test]
fn a_stream_has_the_length_that_was_announced() {
    let actions = [get("counted"), get("long")];
    let (received, _) = play(&actions, &Limits::default());
    assert_eq!(contents(&received), ["hello", "long"], "{received}");
    let actions = [get("nothing"), get("long")];
    let (received, _) = play(&actions, &Limits::default());
    assert_eq!(contents(&received), ["", "long"], "{received}");
}

/// Nothing of the stream is on its way, so no event of its connection tells of room.
#[test]
fn a_stream_that_meets_a_full_queue_is_told_of_room() {
    let limits = Limits {
        effects_max: 10,
        ..Limits::default()
    };
    let actions = [get("busy"), Action::Wait(Duration::from_secs(1))];
    let (received, notes) = play(&actions, &limits);
    assert_eq!(notes, ["room", "full", "room"]);
    assert_eq!(contents(&received), ["5\r\nhello\r\n0\r\n\r\n"]);
}

/// Longer than a turn can carry out.
const MANY: usize = 20_000;

/// The head of a stream is queued behind messages, and the client leaves.
#[test]
fn an_endpoint_is_told_if_the_client_leaves_before_the_head_of_a_late_stream() {
    struct Late(Notes);

    impl Endpoint for Late {
        fn methods(&self) -> &[Method] {
            &[Method::Get]
        }

        fn on_request(&mut self, hub: &mut Hub<'_>, request: Request<'_>) -> Answer {
            hub.after(Duration::ZERO, u64::from(request.key()));
            Answer::later()
        }

        fn on_timer(&mut self, hub: &mut Hub<'_>, number: u64) {
            (0..MANY).for_each(|_| hub.publish("room", Message::Text("hello")));
            assert_eq!(hub.answer(Key::from(number), Answer::events()), Ok(()));
            self.0.borrow_mut().push("answered".into());
        }

        fn on_leave(&mut self, _: &mut Hub<'_>, _: Key) {
            self.0.borrow_mut().push("left".into());
        }
    }

    let notes = Notes::default();
    let mut visit = Visit::to(&Limits::default(), Late(Rc::clone(&notes)));
    visit.act_until(&get(""), || !notes.borrow().is_empty());
    visit.act(&Action::Reset);
    assert_eq!(*notes.borrow(), ["answered", "left"]);
    assert!(visit.received().is_empty(), "the stream had not begun");
}

/// A chunk may have a single byte, and lead to a message of any size.
#[test]
fn pieces_of_a_body_wait_while_the_queue_of_effects_is_full() {
    struct Teller(Rc<RefCell<(usize, usize)>>);

    impl Endpoint for Teller {
        fn methods(&self) -> &[Method] {
            &[Method::Put]
        }

        fn on_head(&mut self, _: &mut Hub<'_>, _: &Request<'_>) -> Intake {
            Intake::Pieces
        }

        fn on_body(&mut self, hub: &mut Hub<'_>, _: Key, _: &[u8]) -> Uptake {
            hub.publish("room", Message::Text("a piece"));
            let (pieces, queued) = &mut *self.0.borrow_mut();
            (*pieces, *queued) = (*pieces + 1, hub.queued_effects().max(*queued));
            Uptake::More
        }
    }

    let limits = Limits {
        effects_max: 10,
        ..Limits::default()
    };
    let seen = Rc::default();
    let mut visit = Visit::to(&limits, Teller(Rc::clone(&seen)));
    let head = "PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let text = format!("{head}{}0\r\n\r\n", "1\r\na\r\n".repeat(1_000));
    visit.act(&Action::Send(text.into_bytes()));
    assert!(
        visit.received().starts_with(b"HTTP/1.1 404 "),
        "all was read"
    );
    assert_eq!(*seen.borrow(), (1_000, 10));
}

/// A client that half-closes is answered, but nothing tells the server whether a client has
/// half-closed or gone.
#[test]
fn a_client_that_ends_its_direction_is_not_kept_for_ever() {
    let limits = Limits::default();
    let wait = |time| [get("never"), Action::HalfClose, Action::Wait(time)];
    let (_, notes) = play(&wait(limits.stall_time / 2), &limits);
    assert!(notes.is_empty());
    let (received, notes) = play(&wait(limits.stall_time * 2), &limits);
    assert_eq!((&*received, notes), ("", vec!["left".into()]));
}

#[test]
fn a_server_that_stops_sleeps_although_an_endpoint_has_an_interval() {
    let actions = [
        get("never"),
        Action::Stop,
        Action::Wait(Duration::from_secs(5)),
    ];
    let (received, notes) = play(&actions, &Limits::default());
    assert_eq!((&*received, notes.len()), ("", 0));
}
