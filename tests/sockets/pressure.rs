//! WebSocket peers that cost more than they are due, if they are let: memory stays bounded.

use flate2::{Compress, Compression, FlushCompress};

use crate::harness::{Folder, Server, pattern};
use crate::peer::{BINARY, CONTINUATION, FIN, PING, PONG, Peer, RSV1, frame};

/// What a server may come to hold beside what it held, in bytes: above what is allowed a single
/// connection (a message of 16 MiB in a buffer that doubles, and its answer), and far below what these
/// peers send or make of it.
const GROWTH_BYTES_MAX: usize = 96 << 20;

/// A server whose memory is watched, and a peer that is not to be disturbed.
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

    /// Has the other peer answered: the server has had another turn.
    fn turn(&mut self) {
        self.other.say("still there?");
        assert_eq!(self.other.hear(), "still there?");
    }

    /// Checks that it never held more than this beside what it had before.
    fn check(mut self, growth_bytes_max: usize) {
        self.turn();
        let grown = self.server.memory_bytes_peak() - self.before;
        assert!(grown <= growth_bytes_max, "{grown} bytes more");
    }
}

/// RFC 6455 §5.5.3: only the newest needs an answer. Its sender need not be slowed down for that.
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
    // Until nothing has gone through for a hundred turns.
    let (mut at, mut blocked) = (0, 0);
    while blocked < 100 {
        let n = peer.send_some(&sent[at % sent.len()..]);
        at += n;
        blocked = if n == 0 { blocked + 1 } else { 0 };
        assert!(at < 1 << 30, "it takes everything");
        watched.turn();
    }
    // All of it is still answered.
    for _ in 0..at / sent.len() {
        let got = peer.frame();
        assert!(got.first == FIN | BINARY && got.payload == message);
    }
    watched.check(4 << 20);
}

/// Zeros, compressed: a stretch of the stream that stands for 1 MiB of them and can be repeated.
fn mebibyte_of_nothing() -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut compress = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(8 << 10);
    // A full flush forgets what was before it, and ends with a whole byte.
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

        // In fragments, each of which might pass.
        let (mut peer, _) = Peer::with(&watched.server, "/echo", &deflate);
        peer.send(frame(RSV1 | BINARY, &piece));
        for _ in 0..9 {
            peer.send(frame(CONTINUATION, &piece));
        }
        peer.assert_closed(1009);
        watched.turn();
    }
    // What may be inflated is.
    let (mut peer, _) = Peer::with(&watched.server, "/echo", &deflate);
    let sixteen = mebibyte_of_nothing().repeat(16);
    peer.send(frame(FIN | RSV1 | BINARY, &sixteen[..sixteen.len() - 4]));
    assert!(peer.frame().payload == vec![0; 16 << 20]);
    watched.check(GROWTH_BYTES_MAX);
}

/// Each may come to hold a message, but not all of them. A ping behind the bomb is answered by whoever
/// holds one in the end.
#[test]
fn bombs_of_many_are_held_to_what_all_may_hold() {
    let watched = Watched::new();
    let bomb = frame(RSV1 | BINARY, &mebibyte_of_nothing().repeat(15));
    let bytes = [bomb, frame(FIN | PING, b"")].concat();
    let deflate = ["Sec-WebSocket-Extensions: permessage-deflate"];
    let mut peers: Vec<Peer> = (0..60)
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
    // 900 MiB, if they were let.
    watched.check((256 << 20) + GROWTH_BYTES_MAX);
}

/// A message that is never finished, of frames that carry nothing.
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
