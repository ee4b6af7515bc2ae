//! Rooms: every member receives each message, and watchers receive the number of members.

use rustix::process::{Resource, Signal};

use crate::curl::curl;
use crate::harness::{Client, Folder, Server};
use crate::peer::{BINARY, CLOSE, FIN, Peer, TEXT, close, frame, handshake, text};

fn server() -> Server {
    Server::of(Folder::new().path())
}

/// Publishes by plain HTTP. Returns the text of the answer.
fn post(client: &mut Client, room: &str, body: &str) -> String {
    let len = body.len();
    client.send(format!(
        "POST /rooms/{room} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n\r\n{body}"
    ));
    let answer = client.answer();
    assert_eq!(answer.status, 200, "{}", answer.head);
    answer.text().into()
}

/// Waits until a watcher receives this number. Other numbers may come before.
fn await_number(watcher: &mut Peer, number: usize) {
    while watcher.hear() != number.to_string() {}
}

#[test]
fn what_is_said_in_a_room_is_heard_by_all_in_it_and_nobody_else() {
    let server = server();
    let mut others: Vec<_> = ["/rooms/b", "/echo", "/rooms/a?presence"]
        .map(|target| Peer::of(&server, target))
        .into();
    let mut members: Vec<_> = (0..3).map(|_| Peer::of(&server, "/rooms/a")).collect();
    await_number(&mut others[2], 3);
    members[1].say("hällo");
    members[1].send(frame(FIN | BINARY, b"\xff"));
    for member in &mut members {
        assert_eq!(member.hear(), "hällo");
        let got = member.frame();
        assert_eq!((got.first, &got.payload[..]), (FIN | BINARY, &b"\xff"[..]));
    }
    // The message of a watcher reaches no member.
    others[2].say("hello?");
    // Each of these messages would come after a message that must not have arrived.
    post(&mut server.connect(), "b", "only here");
    assert_eq!(others[0].hear(), "only here");
    others[1].say("alone");
    assert_eq!(others[1].hear(), "alone");
    members[0].say("next");
    assert_eq!(members[2].hear(), "next");
    members.clear();
    await_number(&mut others[2], 0);
}

#[test]
fn what_curl_posts_is_heard_and_curl_is_told_by_how_many() {
    let server = server();
    let check = |body: &str, members: &str| {
        let shown = curl(&server, &["--data-binary", body], "/rooms/a");
        let Some(shown) = shown else {
            return false;
        };
        assert_eq!(shown.stdout, members);
        true
    };
    if !check("nobody?", "nobody is there\n") {
        return;
    }
    let mut one = Peer::of(&server, "/rooms/a");
    assert!(check("one", "1 member hears it\n"));
    let mut other = Peer::of(&server, "/rooms/a?last=1");
    assert!(check("two", "2 members hear it\n"));
    assert_eq!([one.hear(), one.hear()], ["one", "two"]);
    assert_eq!([other.hear(), other.hear()], ["one", "two"]);
}

/// A message sent just before a close is published like any other.
#[test]
fn who_speaks_and_leaves_at_once_is_heard() {
    let server = server();
    let mut there = Peer::of(&server, "/rooms/a");
    let mut peer = Peer::of(&server, "/rooms/a");
    peer.send([text("so long"), close(1000)].concat());
    assert_eq!(there.hear(), "so long");
    let mut peer = Peer::of(&server, "/rooms/a");
    peer.send(text("farewell"));
    peer.finish();
    assert_eq!(there.hear(), "farewell");
    // The whole session comes at once, with its end.
    let whole = [handshake("/rooms/a", &[]), text("hi and bye"), close(1000)].concat();
    let mut client = server.connect();
    client.send(&whole);
    assert_eq!(there.hear(), "hi and bye");
    let mut client = server.connect();
    client.send(&whole[..whole.len() - close(1000).len()]);
    client.reset();
    // A reset destroys unread bytes: the message may have been published or not, but the member is
    // gone.
    let mut watcher = Peer::of(&server, "/rooms/a?presence");
    await_number(&mut watcher, 1);
}

#[test]
fn who_comes_late_hears_the_last_messages_it_asks_for() {
    let server = server();
    let mut client = server.connect();
    for n in 0..70 {
        assert_eq!(post(&mut client, "a", &n.to_string()), "nobody is there\n");
    }
    for (target, first) in [
        ("/rooms/a?last=3", 67),
        ("/rooms/a?last=64", 6),
        ("/rooms/a?deflate=off&last=99999", 6),
        ("/rooms/a?last=0", 70),
        ("/rooms/a?last=-1", 70),
        ("/rooms/a?last=", 70),
        ("/rooms/a", 70),
    ] {
        let mut peer = Peer::of(&server, target);
        for n in first..70 {
            assert_eq!(peer.hear(), n.to_string(), "{target}");
        }
        peer.say("and");
        assert_eq!(peer.hear(), "and", "{target}: nothing more");
        // The next peer must not receive the message of this one.
        peer.send(close(1000));
        peer.assert_closed(1000);
        for n in 0..70 {
            post(&mut client, "a", &n.to_string());
        }
    }
}

#[test]
fn presence_counts_those_who_are_there_however_they_leave() {
    let server = server();
    let mut watcher = Peer::of(&server, "/rooms/a?presence");
    assert_eq!(watcher.hear(), "0");
    let mut members = Vec::new();
    for n in 1..=4 {
        members.push(Peer::of(&server, "/rooms/a"));
        assert_eq!(watcher.hear(), n.to_string());
    }
    let mut next = || members.pop().expect("there are four");
    next().reset();
    assert_eq!(watcher.hear(), "3");
    next().finish();
    assert_eq!(watcher.hear(), "2");
    let mut peer = next();
    peer.send(close(1000));
    assert_eq!(watcher.hear(), "1");
    let mut peer = next();
    // A frame without a mask.
    peer.send([FIN | TEXT, 0]);
    assert_eq!(watcher.hear(), "0");
}

/// The message of another member cannot pass for a number, because only the server knows the mark.
#[test]
fn a_member_that_chose_a_mark_is_told_the_number_of_members_after_it() {
    let server = server();
    let mut member = Peer::of(&server, "/rooms/a?members=5%20e&last=9");
    assert_eq!(member.hear(), "5 e 1");
    let mut other = Peer::of(&server, "/rooms/a?members=%23");
    assert_eq!([member.hear(), other.hear()], ["5 e 2", "# 2"]);
    other.say("# 7");
    assert_eq!([member.hear(), other.hear()], ["# 7", "# 7"]);
    other.reset();
    assert_eq!(member.hear(), "5 e 1");
    member.say("alone");
    assert_eq!(member.hear(), "alone");
    let long = format!("/rooms/a?members={}", "a".repeat(65));
    for target in ["/rooms/a?members", &long] {
        let mut client = server.connect();
        client.send(handshake(target, &[]));
        let answer = client.answer();
        assert_eq!(answer.status, 400, "{target}");
        assert_eq!(
            answer.text(),
            "members=MARK needs a mark of 1 to 64 bytes\n"
        );
    }
}

#[test]
fn a_member_without_echo_hears_the_others_alone() {
    let server = server();
    let mut quiet = Peer::of(&server, "/rooms/a?echo=off");
    let mut other = Peer::of(&server, "/rooms/a?echo=on");
    quiet.say("from me");
    assert_eq!(other.hear(), "from me");
    other.say("from the other");
    assert_eq!([other.hear(), quiet.hear()], ["from the other"; 2]);
    // The history has the message all the same.
    let mut late = Peer::of(&server, "/rooms/a?echo=off&last=2");
    assert_eq!([late.hear(), late.hear()], ["from me", "from the other"]);
}

#[test]
fn the_list_has_each_room_with_a_member() {
    let server = server();
    let mut client = server.connect();
    let list = |client: &mut Client| {
        let answer = client.get("/rooms");
        assert_eq!(answer.field("Content-Type"), Some("application/json"));
        answer.text().to_owned()
    };
    assert_eq!(list(&mut client), "{\"rooms\":[]}\n");
    post(&mut client, "empty", "nobody hears it");
    let mut peers = [
        "/rooms/b",
        "/rooms/%22%5C%0a%c3%a4",
        "/rooms/b",
        "/rooms/w?presence",
    ]
    .map(|target| Peer::of(&server, target));
    // A member that hears itself has joined.
    peers[2].say("here");
    assert_eq!(peers[2].hear(), "here");
    let expected = r#"{"rooms":[{"name":"\"\\\u000aä","members":1},{"name":"b","members":2}]}"#;
    assert_eq!(list(&mut client), format!("{expected}\n"));
}

#[test]
fn a_slow_member_delays_nobody_and_what_it_misses_is_counted() {
    let mut server = server();
    let mut watcher = Peer::of(&server, "/rooms/a?presence");
    let mut slow = Peer::of(&server, "/rooms/a");
    let mut fast = Peer::of(&server, "/rooms/a");
    await_number(&mut watcher, 2);
    // More than any pair of socket buffers and the write buffer take: 24 MiB.
    const MESSAGES: usize = 384;
    for n in 0..MESSAGES {
        let message = format!("{n} {}", "x".repeat(64 << 10));
        fast.say(&message);
        // The fast member receives its own message while the slow member reads nothing.
        assert!(fast.hear() == message);
    }
    // From now on the slow member reads, and is still a member.
    fast.say("still there?");
    assert_eq!(fast.hear(), "still there?");
    let mut heard = Vec::new();
    let mut last = None;
    while last != Some(MESSAGES - 1) {
        let Some(n) = number(&slow.hear()) else {
            continue;
        };
        heard.push(n);
        last = heard.last().copied();
        // Ten messages are enough: the next ones may have been dropped.
        if heard.len() == 10 {
            break;
        }
    }
    assert_eq!(heard, (0..10).collect::<Vec<_>>(), "the oldest first");

    server.signal(Signal::TERM);
    fast.assert_closed(1001);
    watcher.assert_closed(1001);
    let mut came = heard.len();
    loop {
        let frame = slow.frame();
        match frame.first {
            first if first == FIN | TEXT => came += 1,
            first => {
                assert_eq!(first, FIN | CLOSE);
                break;
            }
        }
    }
    slow.assert_end();
    let said = MESSAGES + 1;
    assert!(came < said, "it has missed something");
    let missed = format!("; {} messages missed by slow members", said - came);
    let summary = server.stderr.find("stopped: ");
    assert!(summary.ends_with(&missed), "{missed}: {summary}");
    assert_eq!(server.process.code(), Some(0));
}

/// The number at the beginning of a message.
fn number(message: &str) -> Option<usize> {
    message.split_once(' ')?.0.parse().ok()
}

#[test]
fn a_thousand_members_hear_one_message() {
    const MEMBERS: usize = 1_000;
    // A shell may allow only about as many descriptors, and the server starts with the same limit.
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    rustix::process::setrlimit(Resource::Nofile, limit)
        .expect("up to the maximum it may be raised");
    let server = server();
    let mut watcher = Peer::of(&server, "/rooms/a?presence");
    let mut members: Vec<_> = (0..MEMBERS)
        .map(|_| Peer::of(&server, "/rooms/a"))
        .collect();
    await_number(&mut watcher, MEMBERS);
    let answer = post(&mut server.connect(), "a", "hello");
    assert_eq!(answer, "1000 members hear it\n");
    for member in &mut members {
        assert_eq!(member.hear(), "hello");
    }
    members[500].say("and hello to you");
    for member in &mut members {
        assert_eq!(member.hear(), "and hello to you");
    }
    members.into_iter().for_each(Peer::reset);
    await_number(&mut watcher, 0);
}

/// If each message were sent alone, each would need a write, a segment and a wake-up.
#[test]
fn what_is_said_in_a_turn_arrives_together() {
    let server = server();
    let mut listener = Peer::of(&server, "/rooms/a");
    let mut speakers: Vec<_> = (0..8).map(|_| Peer::of(&server, "/rooms/a")).collect();
    // The server is stopped, so that every message comes in the same turn.
    server.signal(Signal::STOP);
    for speaker in &mut speakers {
        speaker.send(text("hello").repeat(2));
    }
    server.signal(Signal::CONT);
    let frame_bytes = 2 + "hello".len();
    let came = listener.receive().expect("they come");
    assert_eq!(came, 16 * frame_bytes);
}
