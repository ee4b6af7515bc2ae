//! Peers that would cost more than their share, if the server let them: memory stays bounded, and
//! comes back.

use flate2::{Compress, Compression, FlushCompress};

use crate::harness::{Client, Folder, Server, at_rest, eventually, pattern};
use crate::peer::{BINARY, CONTINUATION, FIN, PING, PONG, Peer, RSV1, frame};

/// The largest growth of the server's memory, in bytes. The bound is above the share of a single
/// connection (a message of 16 MiB in a buffer that doubles, and its answer), and far below the
/// bytes that these peers send or that their messages inflate to.
const GROWTH_BYTES_MAX: usize = 96 << 20;

/// A server with watched memory, and a peer that must not be disturbed.
struct Watched {
    server: Server,
    other: Peer,
    before: usize,
}

impl Watched {
    fn new() -> Watched {
        let server = Server::of(Folder::new().path());
        let mut other = Peer::of(&server, "/echo");
        other.say("hello");
        assert_eq!(other.hear(), "hello");
        Watched {
            before: server.memory_bytes_peak(),
            server,
            other,
        }
    }

    /// Sends a message of the other peer and awaits its echo: the server has then had another turn.
    fn turn(&mut self) {
        self.other.say("still there?");
        assert_eq!(self.other.hear(), "still there?");
    }

    /// Checks that the server's memory never grew by more than this.
    fn check(mut self, growth_bytes_max: usize) {
        self.turn();
        let grown = self.server.memory_bytes_peak() - self.before;
        assert!(grown <= growth_bytes_max, "{grown} bytes more");
    }
}

/// RFC 6455 §5.5.3: only the newest ping needs an answer. The sender need not be slowed down for
/// pongs.
#[test]
fn a_flood_of_pings_whose_sender_reads_nothing_is_answered_by_few_pongs() {
    let mut watched = Watched::new();
    let mut peer = Peer::of(&watched.server, "/echo");
    const PINGS: u32 = 200_000;
    for batch in 0..PINGS / 1_000 {
        let numbers = (batch * 1_000..).take(1_000);
        let pings = numbers.map(|n| frame(FIN | PING, &[&n.to_be_bytes()[..], &[0; 121]].concat()));
        peer.send(pings.collect::<Vec<_>>().concat());
        watched.turn();
    }
    let (mut pongs, mut last) = (0, None);
    while last != Some(PINGS - 1) {
        let pong = peer.frame();
        assert_eq!(pong.first, FIN | PONG);
        let number = pong.payload[..4].try_into().expect("four");
        let number = u32::from_be_bytes(number);
        assert!(last < Some(number), "in order");
        (pongs, last) = (pongs + 1, Some(number));
    }
    assert!(pongs < PINGS, "each was answered");
    watched.check(4 << 20);
}

#[test]
fn who_sends_and_does_not_read_is_not_read_from() {
    let mut watched = Watched::new();
    let mut peer = Peer::of(&watched.server, "/echo");
    let message = pattern(100_000);
    let sent = frame(FIN | BINARY, &message);
    // Until no byte has gone through for a hundred turns.
    let (mut at, mut blocked) = (0, 0);
    while blocked < 100 {
        let n = peer.send_some(&sent[at % sent.len()..]);
        at += n;
        blocked = if n == 0 { blocked + 1 } else { 0 };
        assert!(at < 1 << 30, "it takes everything");
        watched.turn();
    }
    // Every message is still answered.
    for _ in 0..at / sent.len() {
        let got = peer.frame();
        assert!(got.first == FIN | BINARY && got.payload == message);
    }
    watched.check(4 << 20);
}

/// Zeros, compressed: a part of the stream that stands for 1 MiB of zeros and can be repeated.
fn mebibyte_of_nothing() -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut compress = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(8 << 10);
    // A full flush forgets the bytes before it, and ends with a whole byte.
    let status = compress.compress_vec(&zeros, &mut out, FlushCompress::Full);
    status.expect("there is room");
    assert_eq!(compress.total_in(), 1 << 20);
    assert!(out.len() < 2 << 10, "{}", out.len());
    out
}

#[test]
fn a_bomb_is_refused_before_it_has_grown() {
    let mut watched = Watched::new();
    // A gigabyte.
    let bomb = mebibyte_of_nothing().repeat(1 << 10);
    let piece = mebibyte_of_nothing().repeat(10);
    let deflate = ["Sec-WebSocket-Extensions: permessage-deflate"];
    for _ in 0..3 {
        let (mut peer, _) = Peer::with(&watched.server, "/echo", &deflate);
        peer.send(frame(FIN | RSV1 | BINARY, &bomb));
        peer.assert_closed(1009);
        watched.turn();

        // In fragments, each of which might pass alone.
        let (mut peer, _) = Peer::with(&watched.server, "/echo", &deflate);
        peer.send(frame(RSV1 | BINARY, &piece));
        for _ in 0..9 {
            peer.send(frame(CONTINUATION, &piece));
        }
        peer.assert_closed(1009);
        watched.turn();
    }
    // A message within the bound is inflated.
    let (mut peer, _) = Peer::with(&watched.server, "/echo", &deflate);
    let sixteen = mebibyte_of_nothing().repeat(16);
    peer.send(frame(FIN | RSV1 | BINARY, &sixteen[..sixteen.len() - 4]));
    assert!(peer.frame().payload == vec![0; 16 << 20]);
    watched.check(GROWTH_BYTES_MAX);
}

/// Each connection may hold a message, but not all connections at once. A connection that holds a
/// message at the end answers the ping after the bomb.
#[test]
fn bombs_of_many_are_held_to_what_all_may_hold() {
    let watched = Watched::new();
    let bomb = frame(RSV1 | BINARY, &mebibyte_of_nothing().repeat(15));
    let bytes = [bomb, frame(FIN | PING, b"")].concat();
    let deflate = ["Sec-WebSocket-Extensions: permessage-deflate"];
    let mut peers: Vec<Peer> = (0..90)
        .map(|_| {
            let (mut peer, _) = Peer::with(&watched.server, "/echo", &deflate);
            peer.send(&bytes);
            peer
        })
        .collect();
    let answers = peers.iter_mut().map(|peer| peer.frame());
    let (kept, refused): (Vec<_>, Vec<_>) = answers.partition(|f| f.first == FIN | PONG);
    assert!(!kept.is_empty() && !refused.is_empty());
    assert!(refused.iter().all(|f| f.payload.starts_with(&[0x03, 0xf5])));
    // The peers would take 900 MiB, if the server let them.
    watched.check((256 << 20) + GROWTH_BYTES_MAX);
}

/// A message that is never finished, in frames without content.
#[test]
fn empty_fragments_without_an_end_weigh_nothing() {
    let mut watched = Watched::new();
    let mut peer = Peer::of(&watched.server, "/echo");
    peer.send(frame(BINARY, b""));
    for _ in 0..200 {
        peer.send(frame(CONTINUATION, b"").repeat(1_000));
        watched.turn();
    }
    peer.send(frame(FIN | CONTINUATION, b"at last"));
    assert_eq!(peer.frame().payload, b"at last");
    watched.check(4 << 20);
}

/// The buffers are no longer used, and their memory is not that of the process any more: otherwise one
/// flood would cost the system for as long as the server runs.
#[test]
fn the_memory_of_a_flood_goes_back_to_the_system() {
    let folder = Folder::new();
    folder.put_big_hole("big");
    let server = Server::of(folder.path());
    assert_eq!(server.connect().get("/absent").status, 404);
    let before = server.memory_bytes();
    // A little less than a read buffer has space for. Only the first request is answered, in part.
    let requests = "GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1_700);
    let mut clients: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(&requests);
    }
    eventually("the server holds what was sent", || {
        server.memory_bytes() > before + (8 << 20)
    });
    drop(clients);
    // What is kept: 64 read buffers, and the tables of the server.
    eventually("the server holds little", || {
        server.memory_bytes() < before + (6 << 20)
    });
}

/// Bodies of many sizes, in waves: an allocator may have learned from the first wave, or from what was
/// compressed before, to take the next from a heap, in which each body leaves a gap that fits few others.
#[test]
fn the_memory_of_large_bodies_goes_back_to_the_system() {
    let folder = Folder::new();
    let text = folder.path().join("text.txt");
    let server = Server::with(folder.path(), &["--log", "off", "--test-endpoints"]);
    for version in 1..4_u64 {
        // The compressed text is kept until the file changes.
        let odd = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(version) | 1;
        let numbers = (0..200_000).map(|n: u64| n.wrapping_mul(odd) >> 32);
        let lines: String = numbers.map(|n| format!("{n:x}\n")).collect();
        folder.put("text.txt", &lines);
        eventually("it is at rest", || at_rest(&text));
        let mut client = server.connect();
        for is_kept in [false, true] {
            let answer = client.ask("/text.txt", &["Accept-Encoding: gzip"]);
            assert_eq!(answer.field("Content-Length").is_some(), is_kept);
        }
    }
    let before = server.memory_bytes();
    let body = vec![b'b'; 1 << 20];
    for wave in 0..4 {
        let mut clients: Vec<(Client, usize)> = (0..90)
            .map(|n| {
                let length = 150_000 + (n * 7_919 + wave * 31_337) * 131 % 850_000;
                let mut client = server.connect();
                client.send(format!(
                    "POST /_oneloop/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
                ));
                client.send(&body[1..length]);
                (client, length)
            })
            .collect();
        let sum: usize = clients.iter().map(|(_, length)| length).sum();
        eventually("the server holds what was sent", || {
            server.memory_bytes() > before + sum - sum / 8
        });
        // Every other is answered first.
        for rest in [1, 0] {
            for (client, length) in clients.iter_mut().skip(rest).step_by(2) {
                client.send("b");
                let answer = client.answer();
                assert!(answer.status == 200 && answer.body == body[..*length]);
            }
        }
        drop(clients);
        eventually("the server holds little", || {
            server.memory_bytes() < before + (8 << 20)
        });
    }
}
