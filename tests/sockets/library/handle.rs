//! The handle: other threads of the program reach the loop.

use std::collections::BTreeMap;
use std::thread;

use oneloop::http::Method;
use oneloop::{Answer, Endpoint, Hub, Message, Request, Session, Stopped};

use super::{Asks, Program};
use crate::harness::{BIG, eventually};

/// Makes each session a member of the room `news`.
struct News;

impl Endpoint for News {
    fn on_open(&mut self, session: &mut Session<'_>, _: &Request<'_>) -> Result<(), Answer> {
        session.join("news", 0);
        // In the same queue as the messages that follow, so that the peer knows when it is a member.
        session.publish("news", Message::Text("in"));
        Ok(())
    }
}

#[test]
fn threads_publish_to_a_room_each_in_its_order() {
    const THREADS: usize = 4;
    const MESSAGES: usize = 500;
    let program = Program::of("/news", News);
    let mut peer = program.peer("/news");
    assert_eq!(peer.hear(), "in");
    let threads = [0; THREADS].map(|_| program.handle.clone());
    let threads = threads.into_iter().enumerate().map(|(number, handle)| {
        thread::spawn(move || {
            for n in 0..MESSAGES {
                let text = format!("{number} {n}");
                let published = handle.publish("news", Message::Text(&text));
                published.expect("it runs");
            }
        })
    });
    let threads: Vec<_> = threads.collect();
    let mut heard = BTreeMap::<String, usize>::new();
    for _ in 0..THREADS * MESSAGES {
        let message = peer.hear();
        let (number, n) = message.split_once(' ').expect("two numbers");
        let next = heard.entry(number.into()).or_default();
        assert_eq!(n, next.to_string(), "of thread {number}");
        *next += 1;
    }
    assert!(heard.len() == THREADS && heard.values().all(|n| *n == MESSAGES));
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
}

#[test]
fn a_stop_lets_a_download_end() {
    let endpoint = Asks::new(&[Method::Get], |hub: &mut Hub<'_>, _| {
        Answer::text(hub.connections().to_string())
    });
    let mut program = Program::of("/connections", endpoint);
    program.folder.put_big_hole("big");
    let mut client = program.connect();
    client.request("/big");
    assert_eq!(client.head().len(), BIG);
    let mut other = program.connect();
    assert_eq!(other.get("/connections").text(), "2");
    program.handle.stop().expect("it runs");
    // An idle connection ends at once.
    other.assert_end();
    assert_eq!(client.bytes(BIG).len(), BIG);
    client.assert_end();
    program.await_end();
    let handle = &program.handle;
    assert_eq!(handle.stop(), Err(Stopped));
    assert_eq!(handle.publish("news", Message::Text("late")), Err(Stopped));
    assert_eq!(handle.run(|_| panic!("it has stopped")), Err(Stopped));
}

#[test]
fn a_stop_breaks_off_a_stream_without_an_end_between_two_events() {
    let endpoint = Asks::new(&[Method::Get], |_, _| Answer::events());
    let mut program = Program::of("/events", endpoint);
    let mut client = program.connect();
    client.request("/events");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.bytes(8), b"3\r\n:\n\n\r\n");
    program.handle.stop().expect("it runs");
    client.assert_end();
    program.await_end();
    eventually("nobody listens", || program.handle.stop() == Err(Stopped));
}
