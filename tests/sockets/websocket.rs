//! WebSocket on the wire: the opening handshake, messages, and the closing handshake.

use std::io::{Read, Write};

use rustix::process::Signal;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::harness::{Folder, Server, eventually, get, pattern};
use crate::peer::{
    BINARY, CLOSE, CONTINUATION, FIN, Frame, PING, PONG, Peer, RSV1, TEXT, assert_switched, close,
    frame, handshake, header, text,
};
use crate::tcp::Stream;

/// The largest size of a message in bytes.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

fn server() -> Server {
    Server::of(Folder::new().path())
}

// ── The opening handshake ──────────────────────────────────────────────────────────────────────

#[test]
fn frames_may_come_right_behind_the_handshake_and_nothing_comes_before_its_answer() {
    let folder = Folder::with("a", "hello");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    let opening = handshake("/echo", &[]);
    let behind = [text("one"), text(""), close(1000)].concat();
    client.send([get("/a").into(), opening, behind].concat());
    assert_eq!(client.answer().text(), "hello");
    assert_switched(&client.head());
    let mut peer = Peer::over(client);
    assert_eq!(peer.hear(), "one");
    assert_eq!(peer.hear(), "");
    peer.assert_closed(1000);
    // On this path the server sends a message unasked.
    assert_eq!(Peer::of(&server, "/rooms/a?presence").hear(), "0");
}

#[test]
fn after_a_handshake_that_is_refused_a_better_one_may_follow() {
    let server = server();
    let mut client = server.connect();
    let opening = String::from_utf8(handshake("/echo", &[])).expect("it is ASCII");
    client.send(opening.replace("Version: 13", "Version: 8"));
    let answer = client.answer();
    assert_eq!(answer.status, 426);
    assert_eq!(answer.field("Sec-WebSocket-Version"), Some("13"));
    client.send(opening.replace("Key: ", "Key: x"));
    assert_eq!(client.answer().status, 400);
    client.request("/echo");
    assert_eq!(client.answer().status, 426);
    client.send(&opening);
    assert_switched(&client.head());
    let mut peer = Peer::over(client);
    peer.say("at last");
    assert_eq!(peer.hear(), "at last");
}

#[test]
fn a_subprotocol_is_passed_on_and_compression_can_be_declined() {
    let server = server();
    let fields = [
        "Sec-WebSocket-Protocol: mqtt, chat",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ];
    for (target, deflates) in [("/echo", true), ("/echo?deflate=off", false)] {
        let (mut peer, answer) = Peer::with(&server, target, &fields);
        assert_eq!(answer.field("Sec-WebSocket-Protocol"), Some("mqtt"));
        let extensions = answer.field("Sec-WebSocket-Extensions");
        assert_eq!(extensions.is_some(), deflates, "{target}");
        let long = "a message that is worth it ".repeat(100);
        peer.say(&long);
        let frame = peer.frame();
        assert_eq!(frame.first & RSV1 != 0, deflates, "{target}");
        match deflates {
            true => assert_eq!(inflate(&frame.payload), long.as_bytes()),
            false => assert_eq!(frame.payload, long.as_bytes()),
        }
    }
}

/// RFC 7692 §7.2.2: every message ends with the same four bytes, which are appended again.
fn inflate(payload: &[u8]) -> Vec<u8> {
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    let mut inflated = Vec::new();
    let mut decoder = flate2::read::DeflateDecoder::new(&whole[..]);
    // The stream has no last block: it ends in the middle.
    let _ = decoder.read_to_end(&mut inflated);
    inflated
}

// ── Messages ───────────────────────────────────────────────────────────────────────────────────

#[test]
fn messages_of_any_size_come_back_as_they_were_sent() {
    let server = server();
    let mut peer = Peer::of(&server, "/echo");
    // Around the points where the length takes another form, and the largest length.
    for len in [0, 1, 125, 126, 0xffff, 0x1_0000, 1 << 20, MESSAGE_BYTES_MAX] {
        let bytes = pattern(len);
        let ascii: Vec<u8> = bytes.iter().map(|byte| byte & 0x7f).collect();
        for (opcode, payload) in [(BINARY, bytes), (TEXT, ascii)] {
            peer.send(frame(FIN | opcode, &payload));
            let got = peer.frame();
            assert_eq!((got.first, got.payload.len()), (FIN | opcode, len));
            assert!(got.payload == payload, "{len} bytes come back changed");
        }
    }
}

#[test]
fn a_message_may_come_one_byte_at_a_time() {
    let server = server();
    let mut peer = Peer::of(&server, "/echo");
    let mut other = Peer::of(&server, "/echo");
    for byte in text("hällo") {
        peer.send([byte]);
        // Each piece is read alone.
        other.say("turn");
        assert_eq!(other.hear(), "turn");
    }
    assert_eq!(peer.hear(), "hällo");
}

#[test]
fn a_message_of_a_hundred_thousand_fragments_is_one_message() {
    let server = server();
    let mut peer = Peer::of(&server, "/echo");
    let bytes = pattern(99_998);
    let mut sent = frame(BINARY, b"");
    for byte in &bytes {
        sent.extend(frame(CONTINUATION, &[*byte]));
    }
    sent.extend(frame(FIN | CONTINUATION, b""));
    peer.send(sent);
    let Frame { first, payload } = peer.frame();
    assert_eq!(first, FIN | BINARY);
    assert!(payload == bytes, "byte for byte");
}

#[test]
fn a_ping_is_answered_with_what_it_carries_even_within_a_message() {
    let server = server();
    let mut peer = Peer::of(&server, "/echo");
    for payload in [&b""[..], b"ping", &[0xff; 125]] {
        peer.send(frame(FIN | PING, payload));
        let payload = payload.to_vec();
        let first = FIN | PONG;
        assert_eq!(peer.frame(), Frame { first, payload });
    }
    peer.send(frame(TEXT, b"in "));
    peer.send(frame(FIN | PING, b"between"));
    assert_eq!(peer.frame().payload, b"between");
    // An unasked pong has no effect.
    peer.send(frame(FIN | PONG, b"by the way"));
    peer.send(frame(FIN | CONTINUATION, b"pieces"));
    assert_eq!(peer.hear(), "in pieces");
}

// ── The closing handshake ──────────────────────────────────────────────────────────────────────

/// RFC 6455 §7.1.1: the server closes TCP first.
#[test]
fn a_close_is_answered_with_its_code_and_the_server_ends_the_connection() {
    let server = server();
    for code in [&b""[..], &[3, 232], &[11, 184], &[19, 135]] {
        let mut peer = Peer::of(&server, "/echo");
        let bye = [code, if code.is_empty() { b"" } else { b"bye" }].concat();
        peer.send([text("before"), frame(FIN | CLOSE, &bye)].concat());
        assert_eq!(peer.hear(), "before");
        let first = FIN | CLOSE;
        let payload = code.to_vec();
        assert_eq!(peer.frame(), Frame { first, payload });
        peer.assert_end();
    }
}

/// Checks that messages before `wrong` are answered, that the connection is closed with `code`, and
/// that bytes after `wrong`, still on their way, do not turn the end into a reset.
fn check(server: &Server, wrong: &[u8], code: u16) {
    let mut peer = Peer::of(server, "/echo");
    let behind = text("behind").repeat(10_000);
    peer.send([&text("before"), wrong, &behind].concat());
    assert_eq!(peer.hear(), "before", "{wrong:x?}");
    peer.assert_closed(code);
}

#[test]
fn what_came_before_a_violation_is_answered_and_the_end_is_no_reset() {
    let server = server();
    let frames = |frames: &[(u8, &[u8])]| {
        let frames = frames.iter().map(|(first, payload)| frame(*first, payload));
        frames.collect::<Vec<_>>().concat()
    };
    for (wrong, code) in [
        (b"\x81\x05hello".to_vec(), 1002),
        (frames(&[(FIN | RSV1 | TEXT, b"a")]), 1002),
        (frames(&[(FIN | 0x20 | TEXT, b"a")]), 1002),
        (frames(&[(FIN | 0x10 | TEXT, b"a")]), 1002),
        (frames(&[(FIN | 3, b"a")]), 1002),
        (frames(&[(FIN | 11, b"a")]), 1002),
        (frames(&[(FIN | CONTINUATION, b"a")]), 1002),
        (frames(&[(TEXT, b"a"), (FIN | TEXT, b"b")]), 1002),
        (frames(&[(PING, b"a")]), 1002),
        (frames(&[(FIN | PING, &[0; 126])]), 1002),
        (frames(&[(FIN | CLOSE, &[3])]), 1002),
        (close(999), 1002),
        (close(1005), 1002),
        (close(1006), 1002),
        (close(5000), 1002),
        (frames(&[(FIN | CLOSE, b"\x03\xe8\xff")]), 1007),
        (frames(&[(FIN | TEXT, b"\xff")]), 1007),
        (frames(&[(FIN | TEXT, "ä".as_bytes())])[..7].to_vec(), 1007),
        (frames(&[(TEXT, b"\xc3"), (FIN | CONTINUATION, b"a")]), 1007),
    ] {
        check(&server, &wrong, code);
    }
}

#[test]
fn who_is_closed_in_the_middle_of_something_may_finish_it() {
    let server = server();
    let mut peer = Peer::of(&server, "/echo");
    let large = frame(FIN | BINARY, &vec![0; MESSAGE_BYTES_MAX + 1]);
    peer.send(&large[..1_000]);
    peer.await_close(1009);
    // A closed socket would answer the first of these pieces with a reset.
    large[1_000..]
        .chunks(1 << 20)
        .for_each(|chunk| peer.send(chunk));
    peer.assert_end();
}

#[test]
fn a_message_that_is_too_large_is_refused_by_its_header_alone() {
    let server = server();
    let mut peer = Peer::of(&server, "/echo");
    let header_of = |first, len: usize| header(first, len as u64);
    peer.send(header_of(FIN | BINARY, MESSAGE_BYTES_MAX + 1));
    peer.assert_closed(1009);

    let mut peer = Peer::of(&server, "/echo");
    peer.send(header(FIN | BINARY, u64::MAX >> 1));
    peer.assert_closed(1009);

    // Every frame of a message counts.
    let mut peer = Peer::of(&server, "/echo");
    peer.send(frame(BINARY, &vec![0; MESSAGE_BYTES_MAX - 10]));
    peer.send(header_of(FIN | CONTINUATION, 11));
    peer.assert_closed(1009);

    // A client that sends the whole message first and reads only then is told, too.
    let mut peer = Peer::of(&server, "/echo");
    peer.send(frame(FIN | BINARY, &vec![0; MESSAGE_BYTES_MAX + 1]));
    peer.assert_closed(1009);
}

#[test]
fn who_only_listens_any_more_gets_all_answers() {
    let server = server();
    let mut peer = Peer::of(&server, "/echo");
    let messages: Vec<_> = (0..100).map(|n| pattern(100 * n)).collect();
    let all = messages.iter().map(|m| frame(FIN | BINARY, m));
    peer.send(all.collect::<Vec<_>>().concat());
    // The beginning of another message, which is never completed.
    peer.send(frame(TEXT, b"and"));
    peer.finish();
    for message in &messages {
        assert!(peer.frame().payload == *message);
    }
    peer.assert_end();
}

#[test]
fn a_reset_in_the_middle_of_a_message_costs_nothing() {
    let server = server();
    let mut first = Peer::of(&server, "/echo");
    first.say("there");
    assert_eq!(first.hear(), "there");
    let before = server.descriptors();
    let deflate = ["Sec-WebSocket-Extensions: permessage-deflate"];
    for n in 0..40 {
        let (mut peer, _) = Peer::with(&server, "/echo", &deflate);
        match n % 4 {
            // In a frame, between two frames, in a compressed frame, in a header.
            0 => peer.send(&frame(FIN | BINARY, &[0; 50_000])[..40_000]),
            1 => peer.send(frame(TEXT, b"and")),
            2 => peer.send(frame(RSV1 | TEXT, &[0xf2, 0x48, 0xcd])),
            _ => peer.send([FIN | TEXT]),
        }
        peer.reset();
    }
    eventually("no descriptor is left behind", || {
        server.descriptors() <= before
    });
    first.say("still there");
    assert_eq!(first.hear(), "still there");
}

#[test]
fn a_stop_tells_everybody_1001() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = server();
        let idle = Peer::of(&server, "/echo");
        let member = Peer::of(&server, "/rooms/a");
        let mut in_a_message = Peer::of(&server, "/echo");
        in_a_message.send(frame(TEXT, b"and"));
        // More bytes than the kernel takes: the message is on its way when the signal comes.
        let mut reading = Peer::of(&server, "/echo");
        let large = pattern(MESSAGE_BYTES_MAX);
        reading.send(frame(FIN | BINARY, &large));
        reading.await_something();

        server.signal(signal);
        server.await_closed_door();
        idle.assert_closed(1001);
        member.assert_closed(1001);
        in_a_message.assert_closed(1001);
        assert!(reading.frame().payload == large, "byte for byte");
        reading.assert_closed(1001);
        assert_eq!(server.process.code(), Some(0));
        let line = server.stderr.find("stopped: ");
        assert!(line.contains("4 requests on 4 connections"), "{line}");
    }
}

// ── An independent client ──────────────────────────────────────────────────────────────────────

/// A connection of tungstenite.
fn tungstenite(server: &Server, target: &str) -> WebSocket<Stream> {
    let stream = Stream::to(server.address());
    let url = server.url(target).replacen("http", "ws", 1);
    // The smallest deviation, even a masked frame, is an error.
    let config = WebSocketConfig::default().accept_unmasked_frames(false);
    let opened = tungstenite::client::client_with_config(url, stream, Some(config));
    opened.expect("the handshake is answered").0
}

#[test]
fn tungstenite_gets_back_what_it_sends() {
    let server = server();
    let mut socket = tungstenite(&server, "/echo");
    let ascii = "hello ".repeat((1 << 20) / 6);
    for message in [
        Message::text(""),
        Message::text("hällo"),
        Message::text(ascii),
        Message::binary(vec![]),
        Message::binary(pattern(1 << 20)),
        Message::binary(pattern(MESSAGE_BYTES_MAX)),
    ] {
        socket.send(message.clone()).expect("it is taken");
        assert!(socket.read().expect("it comes back") == message);
    }
    socket.send(Message::Ping("ping".into())).expect("taken");
    let pong = socket.read().expect("it is answered");
    assert_eq!(pong, Message::Pong("ping".into()));
}

#[test]
fn tungstenite_hears_the_code_it_closes_with() {
    let server = server();
    for code in [None, Some(1000), Some(3000), Some(4999)] {
        let frame = code.map(|code| CloseFrame {
            code: CloseCode::from(code),
            reason: "".into(),
        });
        let mut socket = tungstenite(&server, "/echo");
        socket.close(frame.clone()).expect("it is sent");
        let answer = socket.read().expect("it is answered");
        assert_eq!(answer, Message::Close(frame));
        let end = socket.read().expect_err("it is over");
        assert!(matches!(end, Error::ConnectionClosed), "{end}");
    }
}

#[test]
fn tungstenite_hears_why_it_is_closed() {
    let server = server();
    let mut socket = tungstenite(&server, "/echo");
    // Half a character, sent without the library's check.
    let wrong = frame(FIN | TEXT, b"\xc3");
    socket.get_mut().write_all(&wrong).expect("it is sent");
    let Ok(Message::Close(Some(said))) = socket.read() else {
        panic!("it is not closed");
    };
    assert_eq!(said.code, CloseCode::Invalid);
    assert_eq!(said.reason.as_str(), "the text is not UTF-8");
    let end = socket.read().expect_err("it is over");
    assert!(matches!(end, Error::ConnectionClosed), "{end}");
}
