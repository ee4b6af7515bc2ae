//! The whole server in a simulated world: no sockets, no disk, no clock. Clients follow scripts
//! ([`scripts`]) through a network and a kernel ([`wire`], [`world`]) in a weather that a seed
//! decides ([`weather`]): bytes are cut anywhere, events are late, spurious or stale, connections
//! are reset, descriptors run out, files are edited, the clock jumps, and every limit is tiny.
//!
//! In the words of the field this is *swarm testing* with *fault injection* and an *oracle*. Swarm
//! testing: each run draws its own mix of clients, faults and limits, because with every fault in
//! every run one fault would hide the effects of another. Fault injection: the simulated kernel
//! fails system calls and cuts transfers, as a real kernel may. Oracle: a model of the right
//! outcome judges each client ([`verdict`]), here with the bytes that the same script gets in calm
//! weather.
//!
//! The vocabulary: the *weather* is the set of faults of a run; a *season* is a kind of run with
//! many seeds; a *script* is the list of acts of a client; the *cast* is the scripts of a run; a
//! *book* records the sessions of an endpoint ([`endpoints`]).
//!
//! The same seed gives the same run. A failure names the seed, and this command plays the run again
//! and prints every step:
//!
//! ```text
//! ONELOOP_SEED=n cargo test --test simulation -- --nocapture
//! ```
//!
//! With `ONELOOP_SEEDS=20000` every season has as many seeds.
//!
//! A seed names a run of *one commit* only: the cast is drawn from the list of scripts, so every new
//! script re-rolls all seeds. To look at a failure again, check out the commit that failed.
//!
//! Readiness is edge-triggered, as with epoll's `EPOLLET`. A connection gets one edge for each
//! arrival of bytes or of a FIN, and one when the send buffer has space after being full. Edges are
//! coalesced until the next wait; registration reports the readiness of the moment; a FIN comes
//! with a peer-closed hint. A kinder simulator would hide the bugs that matter.
//!
//! # What must hold
//!
//! - The bytes that a client receives do not depend on the weather ([`verdict`]).
//! - The server never sleeps on a reported event: not while input is unread without a reason, nor
//!   while a client could be accepted. Each such sleep is a lost edge. Nor does the server sleep on
//!   input that has been read, while the client waits for the answer.
//! - No connection of a cooperative client ends by a deadline; each such end is a lost edge too.
//! - A direction that said EAGAIN is left alone until an event for this very connection, or until a
//!   deadline passes that makes the server try a write once more.
//! - Nobody starves: each turn serves the first connection of each queue, however tiny the work of a
//!   turn is.
//! - The server comes to rest: the number of turns is bounded, the server does not spin through
//!   turns in which nothing happens, and no connection stays for ever.
//! - Each connection says why it is open, and it is so: nothing is unread where the peer is said to be
//!   silent, and the kernel has no space where the peer is said to be slow ([`reasons`]).
//! - The invariants of the server hold after every turn (`Server::check`). At the end nothing is
//!   left: no stream, slot, timer, buffer, open file or byte on the account of memory.
//! - An answer shows its file in a state that the file had at some moment since the request was
//!   sent.
//! - After a stop, bytes sent before arrive, work begun is finished, and requests read are
//!   answered. A second signal ends everything in the same turn.
//! - A WebSocket client receives its messages in order and once, then the close frame that the
//!   model predicts, then the end of the stream ([`talk`]). The messages of a room have one order
//!   for every member, and no more of them are missed than are counted ([`rooms`]).
//! - An endpoint is told of the beginning and the end of each session, once ([`endpoints`]).
//! - A page with live reload has, or was told of, what is on the disk, when the writers have rested. It
//!   is told of nothing else, and its script is all that is added to its file ([`live`]).
//! - Whatever backends do behind the reverse proxy: an answer that looks whole is whole, and belongs to the
//!   request. No POST reaches a backend twice, and no other request more often than twice. What goes into a
//!   tunnel comes out ([`backend`], [`proxied`]).
//! - Every transition between modes is in the table, and every row of the table is seen.
//!
//! # Bugs that were put back, one at a time, and how they were noticed
//!
//! A script that notices a bug in calm weather is left out of the storms that are counted. The last
//! column has the words of the failed assertion. As every new script re-rolls the seeds, the counts
//! are those of the commit at which they were taken.
//!
//! | bug | calm scripts | of 1,000 storms | in the words of |
//! |---|---|---|---|
//! | a short read clears readiness, peer-closed hint or not | 1 | 214 | an edge was lost: nobody reads |
//! | the offset of a partial write is lost | | 635 | the write buffer's own books; a wrong answer |
//! | the same within a file | | 269 | a wrong answer; a stale answer |
//! | an end of file closes at once | 2 | 16 | an answer is missing |
//! | EMFILE clears the readiness of the listener | | 40 | an edge was lost: somebody waits to be accepted |
//! | a spent budget does not queue the connection again | 1 | 523 | an edge was lost; a deadline passed; nothing will ever happen again |
//! | events overwrite readiness instead of adding to it | | 137 | an edge was lost; a deadline passed |
//! | a deadline that output has moved is not renewed | | 10 | a wrong answer: it is cut |
//! | a deadline that has moved is not asked for again | | 37 | a wrong answer: a 408, or nothing |
//! | lingering is skipped | 12 | 8 | an answer is missing: a reset destroyed it |
//! | lingering is skipped when nothing is unread yet | 1 | 149 | a wrong answer |
//! | a key reaches the next connection in its slot | | 260 | a read, or a write, is tried although nothing was reported |
//! | a head is searched again with each byte | | | `a_trickling_head_is_not_searched_again` in `src/http/parser.rs`: time spent is not simulated, so searching is counted there |
//!
//! And a few less classic bugs:
//!
//! | bug | noticed by |
//! |---|---|
//! | a look at a file vouches for requests that are read later in the same pump | 11 of 200 restless runs: a stale answer |
//! | a look at a file vouches for later batches | 32 storms and 115 restless runs |
//! | a file that may change unseen is kept | 7 storms and 21 restless runs |
//! | accepting pauses without a deadline | 174 storms: an edge was lost |
//! | a stop closes at once a connection that was answered a moment ago | 4 of 500 stops: an answer is missing |
//! | a connection with its whole answer counts as busy until its next turn | `who_has_its_whole_answer_makes_room_at_once` |
//!
//! Of WebSocket, with 500 conversations beside the storms:
//!
//! | bug | calm scripts | storms | conversations | in the words of |
//! |---|---|---|---|---|
//! | the masking key is not rotated for the bytes of the next read | 36 | 237 | 309 | a wrong message; a wrong close |
//! | a close frame precedes earlier answers | 29 | 206 | 121 | a wrong frame; the write buffer's own books |
//! | the UTF-8 state is forgotten between two frames of a text | 13 | 97 | 154 | a wrong close; an answer is missing |
//! | a pong clears nothing | | 26 | 11 | an answer is missing |
//! | a connection throttled by a full queue of effects is not queued again | | 1 | 7 | an edge was lost; the server sleeps on what it has read |
//! | `on_room` is called only if a step finds no space | | 28 | 9 | the server sleeps on what it has read; somebody stays for ever |
//! | `on_close` is not called if there was no code | 8 | 79 | 97 | an endpoint was not told of an end |
//! | no endpoint is told when the transport fails | 3 | 98 | 131 | an endpoint was not told of an end; somebody is in a room who is gone |
//! | the rooms are not told when a member is gone | 18 | | | somebody is in a room who is gone |
//! | a delayed pong is never sent | | 2 | | the server sleeps on what it has read |
//! | a step that has handled as many frames as it may reports no progress | 1 | | | the server sleeps on what it has read |
//! | missed messages are not counted | | | 2 | a message is missing; and `a_member_that_does_not_read_…` |
//! | a removed connection leaves its rooms at once | | | | `in_calm_weather_a_room_is_heard_…`: its last messages are lost |
//! | queued output is not sent before a message is dropped | | | | `a_member_that_reads_hears_a_burst_…` |
//!
//! Of transports with bytes of their own, with a [toy] of TLS:
//!
//! | bug | noticed by, of 200 storms |
//! |---|---|
//! | what a transport holds is not flushed | a storm: the server sleeps on what it has read |
//! | a close without a FIN before it | a storm: a wrong answer; in calm weather, a bare end |
//! | what a transport holds has no deadline | a storm: a wrong reason |
//! | the memory of a transport is not released | in calm weather: memory is held for nobody |
//! | an answer to input is sent behind the FIN | a storm: a write behind our own FIN |
//! | a handshake reads only when the mode wants input | none: all modes of a server want it then |
//!
//! One bug is not noticed, because the server makes up for it: the reader takes a text that ends
//! within a character for complete. The text is checked again when it is handed over.

mod backend;
mod clients;
mod conversations;
mod disk;
mod endpoints;
mod files;
mod live;
mod pages;
mod proxied;
mod reasons;
mod rooms;
mod scripts;
mod talk;
mod toy;
mod verdict;
mod weather;
mod wire;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Duration;

use memchr::memmem;
use oneloop::config::{Limits, ProxyRoute, SlowMember};
use oneloop::connection::{Cause, Counters, ModeName, TRANSITIONS, Transitions};
use oneloop::server::{Echo, Flow, PostEcho, RoomsEndpoint, Server};
use oneloop::site::proxy::Routes;
use oneloop::site::{Guard, Site};

use clients::{Act, Client, Script};
use endpoints::{Book, Bouncer, Fountain, Oracle};
use files::{MOVIE, SimFiles};
use talk::Message;
use verdict::{Hardship, judge};
use weather::{Rng, Weather};
use world::{LISTENERS, SimDriver, World};

/// The number of runs in each season.
const STORMY_SEEDS: u64 = 1_000;
const RESTLESS_SEEDS: u64 = 200;
const ENDING_SEEDS: u64 = 500;
const TALKING_SEEDS: u64 = 500;
const LIVE_SEEDS: u64 = 500;
const PROXIED_SEEDS: u64 = 60;

/// The largest number of turns in a run. The longest of a hundred thousand runs had 40,000.
const TURNS_MAX: u32 = 60_000;

// ── The tests ──────────────────────────────────────────────────────────────────────────────────

/// The expectations of a script are checked against its answers as the answers come.
#[test]
fn in_calm_weather_every_script_gets_the_answers_it_expects() {
    let roles = roles();
    for (i, role) in roles.iter().enumerate() {
        let name = role.script.name;
        let same = |other: &Role| other.script.name == name;
        assert!(!roles[..i].iter().any(same), "two scripts: {name}");
    }
}

/// Whatever is between HTTP and the wire: the answers are the same, and the end is announced.
#[test]
fn in_calm_weather_every_script_gets_the_same_by_records() {
    for role in roles() {
        let scripts = [Rc::clone(&role.script)];
        let weather = Weather {
            secure: vec![0, 1],
            ..Weather::calm()
        };
        let world = World::new(Rng::new(0), weather, &scripts, false);
        let finished = run(world, weather::usual_limits());
        let world = &finished.world;
        let client = &world.clients[0];
        assert!(!client.was_cut_short, "{}", client.status());
        // Of an answer that is not read to its end, more or less is on the way.
        let (got, expected) = (client.answered(), &role.expected[..]);
        let is_cut =
            !role.script.is_cooperative && (got.starts_with(expected) || expected.starts_with(got));
        assert!(got == expected || is_cut, "{}", client.status());
        let wire = world.wire(0);
        assert!(!wire.has_bare_end(), "a bare end: {}", client.status());
    }
}

#[test]
fn in_calm_weather_a_room_is_heard_remembered_and_counted() {
    let scripts = conversations::day_in_a_room();
    let world = in_turn(scripts, Weather::calm(), weather::usual_limits()).world;
    let whole = |client: &Client| assert!(!client.was_cut_short, "{}", client.status());
    world.clients.iter().for_each(whole);
    let heard = |client: usize| world.clients[client].talk.heard.iter();
    let ids = |client: usize| heard(client).filter_map(Message::id).collect::<Vec<_>>();
    assert_eq!(ids(1), [(1, 0), (1, 1), (2, 0), (3, 0), (4, 0)]);
    assert_eq!(ids(3), [(1, 1), (2, 0), (3, 0), (4, 0)]);
    assert_eq!(ids(5), [(5, 0), (6, 0), (6, 1), (7, 0), (7, 1), (8, 0)]);
    assert_eq!(ids(9), [(2, 0), (3, 0), (4, 0)]);
    let numbers: Vec<&[u8]> = heard(0).map(|number| &*number.bytes).collect();
    assert_eq!(numbers, [b"0", b"1", b"2", b"1", b"0", b"1", b"0"]);
}

#[test]
fn a_member_that_does_not_read_misses_what_it_has_no_room_for_or_is_closed() {
    const COUNT: usize = 30;
    for (slow_member, code) in [(SlowMember::Drop, 1000), (SlowMember::Close, 1013)] {
        let limits = Limits {
            write_buffer_max: 3_000,
            slow_member,
            ..weather::usual_limits()
        };
        let weather = Weather {
            send_buffer: 500,
            ..Weather::calm()
        };
        let scripts = conversations::deaf_member(COUNT, code);
        let finished = in_turn(scripts, weather, limits);
        let [deaf, speaks] = &finished.world.clients[..] else {
            panic!("there are two");
        };
        assert!(!deaf.was_cut_short && !speaks.was_cut_short);
        assert_eq!(speaks.talk.heard.len(), COUNT);
        // The bytes in the write buffer, and in the kernel's buffer.
        let heard = deaf.talk.heard.len();
        assert!((9..=12).contains(&heard), "{heard} were heard");
        let missed = match slow_member {
            SlowMember::Drop => COUNT - heard,
            SlowMember::Close => 0,
        };
        assert_eq!(finished.counters.missed, missed as u64);
        rooms::judge(&finished.world.clients, missed as u64);
    }
}

/// However many messages are published in a turn, no member may miss one for that reason: the
/// messages queued before can be sent first.
#[test]
fn a_member_that_reads_hears_a_burst_that_is_larger_than_its_write_buffer() {
    let limits = Limits {
        write_buffer_max: 1_000,
        // All messages are there at once, and the queue of effects gets full.
        effects_max: 10,
        head_bytes_max: 20_000,
        ..weather::usual_limits()
    };
    let finished = in_turn([conversations::burst(30)], Weather::calm(), limits);
    assert_eq!(finished.world.clients[0].talk.heard.len(), 30);
    assert_eq!(finished.counters.missed, 0);
}

/// A connection that adds no effects is not throttled when the queue of effects is full.
#[test]
fn an_echo_is_heard_however_full_the_queue_of_effects_is() {
    let limits = Limits {
        effects_max: 0,
        ..weather::usual_limits()
    };
    let finished = in_turn([conversations::aside()], Weather::calm(), limits);
    assert_eq!(finished.world.clients[0].talk.heard.len(), 1);
}

/// The slot of a connection is free from the moment when the peer can know so: the peer has the end
/// of its answer, with which the budget of the turn was spent.
#[test]
fn who_has_its_whole_answer_makes_room_at_once() {
    let limits = Limits {
        connections_max: 1,
        eviction_idle_time: Duration::ZERO,
        turn_bytes: 1_000,
        ..weather::usual_limits()
    };
    for scripts in scripts::lodgers() {
        let scripts = scripts.map(Rc::new);
        let run_with = |comes_after: Duration| {
            let mut world = World::new(Rng::new(0), Weather::calm(), &scripts, false);
            let begin = world.clients[0].not_before;
            world.clients[1].not_before = begin + comes_after;
            let finished = run(world, limits.clone());
            let [stays, comes] = &finished.world.clients[..] else {
                panic!("there are two");
            };
            assert!(!stays.was_cut_short && !comes.was_cut_short);
            stays.not_before - weather::PAUSE - begin
        };
        let answered = run_with(2 * weather::PATIENCE);
        assert_eq!(run_with(answered), answered);
    }
}

/// A busy client is not closed between two requests in favour of a newcomer: the client would lose
/// the request that is on its way, and come again, and the two would only evict each other.
#[test]
fn over_the_limit_newcomers_wait_until_a_slot_is_free() {
    let limits = Limits {
        connections_max: 1,
        turnover_time: 10 * weather::PATIENCE,
        newcomer_time: 10 * weather::PATIENCE,
        ..weather::usual_limits()
    };
    let scripts = [(); 3].map(|()| Rc::new(scripts::busy(100)));
    let finished = run(together(&scripts), limits);
    for client in &finished.world.clients {
        assert!(!client.was_cut_short, "{}", client.status());
    }
    assert_eq!(finished.counters.closed(Cause::Overloaded), 0);
}

#[test]
fn whoever_asks_without_a_pause_is_told_to_give_way_to_a_newcomer() {
    let limits = Limits {
        connections_max: 1,
        ..weather::usual_limits()
    };
    let scripts = [1_000, 1].map(|requests| Rc::new(scripts::busy(requests)));
    let finished = run(together(&scripts), limits);
    let [stays, comes] = &finished.world.clients[..] else {
        panic!("there are two");
    };
    assert!(!comes.was_cut_short, "{}", comes.status());
    let told = memmem::find_iter(&stays.received, "\r\nConnection: close\r\n");
    assert!(stays.was_cut_short && stays.answers > 1);
    assert_eq!(told.count(), 1, "the last answer says so, and no other");
    assert_eq!(finished.counters.requests, stays.answers as u64 + 1);
}

/// WebSocket connections have no last answer, and may never end.
#[test]
fn newcomers_are_told_503_when_no_slot_becomes_free_for_a_while() {
    let limits = Limits {
        connections_max: 1,
        eviction_idle_time: 10 * weather::PATIENCE,
        newcomer_time: weather::PATIENCE,
        ..weather::usual_limits()
    };
    let mut scripts = vec![Rc::new(conversations::lodger())];
    scripts.resize(6, Rc::new(scripts::turned_down()));
    let finished = run(together(&scripts), limits);
    for client in &finished.world.clients {
        assert!(!client.was_cut_short, "{}", client.status());
    }
    assert_eq!(finished.counters.closed(Cause::Overloaded), 5);
}

/// A peer of WebSocket that has been silent for a while makes room, if nobody else can, and is told.
#[test]
fn an_idle_websocket_connection_makes_room_with_1001() {
    let limits = Limits {
        connections_max: 1,
        eviction_idle_time: weather::PAUSE,
        newcomer_time: 10 * weather::PATIENCE,
        ..weather::usual_limits()
    };
    let scripts = [conversations::lodger(), scripts::busy(1)].map(Rc::new);
    let finished = run(together(&scripts), limits);
    let [stays, comes] = &finished.world.clients[..] else {
        panic!("there are two");
    };
    assert!(!comes.was_cut_short, "{}", comes.status());
    assert_eq!(stays.talk.close, Some(Some(1001)));
    assert_eq!(finished.counters.closed(Cause::Overloaded), 1);
}

/// A stream without an end does not keep others out. (A browser comes back for its events.)
#[test]
fn an_endless_stream_makes_room_between_two_pieces() {
    let limits = Limits {
        connections_max: 1,
        eviction_idle_time: weather::PAUSE,
        newcomer_time: 10 * weather::PATIENCE,
        ..weather::usual_limits()
    };
    let scripts = [scripts::listener(), scripts::busy(1)].map(Rc::new);
    let finished = run(together(&scripts), limits);
    let [stays, comes] = &finished.world.clients[..] else {
        panic!("there are two");
    };
    assert!(!comes.was_cut_short, "{}", comes.status());
    assert!(stays.received.ends_with(b"1 of 2 drops\r\n"));
    assert_eq!(finished.counters.closed(Cause::Overloaded), 1);
}

/// A client that does not read holds no encoder, unless memory is short.
#[test]
fn an_encoder_works_at_the_pace_of_the_loop_and_not_of_its_reader() {
    // The head of the answer alone is too much for the buffers.
    let weather = Weather {
        send_buffer: 100,
        ..Weather::calm()
    };
    for (memory_bytes_max, is_encoded) in [(1 << 20, true), (0, false)] {
        let limits = Limits {
            encoders_max: 1,
            write_buffer_high: 8,
            memory_bytes_max,
            ..weather::usual_limits()
        };
        let finished = in_turn(scripts::readers(), weather.clone(), limits);
        let [late, prompt] = &finished.world.clients[..] else {
            panic!("there are two");
        };
        assert!(!late.was_cut_short && !prompt.was_cut_short);
        let coding = memmem::find(&prompt.received, b"\r\nContent-Encoding: gzip\r\n");
        assert_eq!(coding.is_some(), is_encoded);
    }
}

/// Requests that wait behind a large answer are kept in as much memory as they need. When memory is
/// tight, only a few of them are read.
#[test]
fn many_who_ask_for_much_and_take_nothing_leave_memory_for_others() {
    let deaf = Rc::new(scripts::deaf(2_000));
    let mut scripts = vec![deaf; 60];
    scripts.push(Rc::new(scripts::latecomer(20_000)));
    let weather = Weather {
        send_buffer: 100,
        ..Weather::calm()
    };
    let limits = Limits {
        read_buffer_bytes: 10_000,
        body_bytes_max: 20_000,
        memory_bytes_max: 300_000,
        ..weather::usual_limits()
    };
    let world = World::new(Rng::new(0), weather, &scripts, false);
    let finished = run(world, limits);
    assert_eq!(finished.counters.closed(Cause::Stalled), 60);
    let latecomer = finished.world.clients.last().expect("it came");
    assert!(!latecomer.was_cut_short, "{}", latecomer.status());
    let most = finished.most_memory;
    assert!(most < 300_000, "{most} bytes were held");
}

/// Memory for all is short because of a few. The few are ended, and not those who come next, nor
/// those who hold less.
#[test]
fn over_the_bound_of_memory_those_who_hold_most_are_ended() {
    const MAX: usize = 400_000;
    let mut scripts = vec![Rc::new(conversations::hesitant(40_000))];
    scripts.resize(12, Rc::new(conversations::half_a_message(120_000)));
    scripts.push(Rc::new(scripts::latecomer(20_000)));
    let limits = Limits {
        message_bytes_max: 120_000,
        body_bytes_max: 20_000,
        memory_bytes_max: MAX,
        ..weather::usual_limits()
    };
    let finished = run(together(&scripts), limits);
    let [hesitant, many @ .., latecomer] = &finished.world.clients[..] else {
        panic!("there are more than two");
    };
    for client in [hesitant, latecomer] {
        assert!(!client.was_cut_short, "{}", client.status());
    }
    let closed = many
        .iter()
        .filter(|client| client.talk.close == Some(Some(1013)))
        .count();
    // Eleven halves are more than the bound, and an eighth of the bound is free afterwards.
    assert!((5..=8).contains(&closed), "{closed} were ended");
    // While each holds little, nobody is ended.
    let most = finished.most_memory;
    assert!(most <= MAX + MAX / 8, "{most} bytes were held");
}

/// A body with a known length needs no more memory than that, whole or in part.
#[test]
fn a_body_takes_as_much_memory_as_it_has_bytes() {
    let limits = Limits {
        body_bytes_max: 100_000,
        ..weather::usual_limits()
    };
    let scripts = [
        (scripts::latecomer(100_000), 100_000),
        (scripts::half_a_body(100_000, 30_000), 2 * 30_000),
        (scripts::half_a_body(100_000, 1), 1_000),
    ];
    for (script, needed) in scripts {
        let finished = in_turn([script], Weather::calm(), limits.clone());
        let most = finished.most_memory;
        assert!(most <= needed + 1_000, "{most} bytes were held");
    }
}

/// A peer that takes nothing of a large answer is not told why its connection ends.
#[test]
fn output_that_is_not_taken_is_memory_too() {
    let deaf = Rc::new(scripts::posts_and_takes_nothing(60_000));
    let mut scripts = vec![deaf; 8];
    scripts.push(Rc::new(scripts::latecomer(20_000)));
    let weather = Weather {
        send_buffer: 100,
        ..Weather::calm()
    };
    let limits = Limits {
        body_bytes_max: 60_000,
        memory_bytes_max: 400_000,
        ..weather::usual_limits()
    };
    let finished = run(World::new(Rng::new(0), weather, &scripts, false), limits);
    let latecomer = finished.world.clients.last().expect("it came");
    assert!(!latecomer.was_cut_short, "{}", latecomer.status());
    let closed = finished.counters.closed(Cause::Overloaded);
    assert!((1..8).contains(&closed), "{closed} were ended");
    assert!(finished.most_memory <= 400_000);
}

/// While the queue of effects is always full, no connection gets ahead by more messages than fit
/// into the queue.
#[test]
fn connections_that_fill_the_queue_of_effects_come_after_those_that_found_it_full() {
    const COUNT: usize = 20;
    let limits = Limits {
        effects_max: 2,
        head_bytes_max: 20_000,
        ..weather::usual_limits()
    };
    let script = Rc::new(conversations::one_of_many(COUNT));
    let scripts = [(); 5].map(|()| Rc::clone(&script));
    let mut world = World::new(Rng::new(0), Weather::calm(), &scripts, false);
    let begin = world.clients[0].not_before;
    let clients = world.clients.iter_mut();
    clients.for_each(|client| client.not_before = begin);
    let finished = run(world, limits);
    let heard = &finished.world.clients[0].talk.heard;
    let mut counts = [0; 5];
    for (speaker, _) in heard.iter().filter_map(Message::id) {
        counts[speaker] += 1;
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(
            most.zip(least).is_some_and(|(m, l)| m - l <= 2),
            "{counts:?}"
        );
    }
    assert_eq!(counts, [COUNT; 5]);
}

/// Messages that come faster than they can be written leave together, however short a turn is.
#[test]
fn a_round_of_deliveries_has_whole_messages_however_many_turns_it_takes() {
    const MEMBERS: usize = 5;
    const COUNT: usize = 20;
    let limits = Limits {
        // One message does not reach this bound, and two do.
        deliveries_per_flush: MEMBERS + 2,
        turn_work: 1,
        head_bytes_max: 20_000,
        ..weather::usual_limits()
    };
    let script = Rc::new(conversations::one_of_many(COUNT));
    let scripts = [(); MEMBERS].map(|()| Rc::clone(&script));
    let mut world = World::new(Rng::new(0), Weather::calm(), &scripts, false);
    let begin = world.clients[0].not_before;
    let clients = world.clients.iter_mut();
    clients.for_each(|client| client.not_before = begin);
    let world = run(world, limits).world;
    let heard = world.clients.iter().map(|client| client.talk.heard.len());
    let heard: usize = heard.sum();
    assert_eq!(heard, MEMBERS * MEMBERS * COUNT);
    let writes = world.writes as usize;
    assert!(writes < heard * 6 / 10, "{writes} writes");
}

/// Plays a client that does not look until two small answers, and any part of a large one, have left the
/// server. Meanwhile the large file, which is sent in one slice, is edited in place.
fn overtaken(fields: &'static str, edits: &[Act], check: impl Fn(&Client, usize)) {
    let limits = Limits {
        cached_file_bytes_max: 100,
        ..weather::usual_limits()
    };
    for send_buffer in (100..2_500).step_by(50) {
        let weather = Weather {
            send_buffer,
            ..Weather::calm()
        };
        let script = scripts::overtaken(fields, edits);
        let finished = in_turn([script], weather, limits.clone());
        check(&finished.world.clients[0], send_buffer);
    }
}

/// A mixture of two versions must not be framed like a whole answer. The answers before it are whole.
#[test]
fn a_file_that_is_overwritten_before_its_last_bytes_have_left_is_cut_off() {
    for fields in ["", "Range: bytes=0-1999, 2500-4999\r\n"] {
        for edits in [
            &[Act::Overwrite(MOVIE)][..],
            &[Act::Overwrite(MOVIE), Act::Append(MOVIE)],
        ] {
            overtaken(fields, edits, |client, send_buffer| {
                assert!(client.was_cut_short, "{send_buffer}: {}", client.status());
                assert_eq!(client.answers, 2, "{send_buffer}: the answers before");
            });
        }
    }
}

/// The promised bytes are all there. A log that grows can be downloaded.
#[test]
fn a_file_that_is_appended_to_is_sent_as_far_as_it_was_promised() {
    overtaken("", &[Act::Append(MOVIE)], |client, send_buffer| {
        assert!(!client.was_cut_short, "{send_buffer}: {}", client.status());
        assert_eq!(client.answers, 3, "{send_buffer}");
    });
}

/// While the server does not read from a connection, because the peer does not read, the pong may
/// be among the unread bytes.
#[test]
fn whoever_does_not_read_is_not_closed_for_want_of_a_pong() {
    let limits = Limits {
        write_buffer_high: 1_000,
        ping_time: weather::PATIENCE,
        pong_time: weather::PATIENCE,
        stall_time: 10 * weather::PATIENCE,
        ..weather::usual_limits()
    };
    let weather = Weather {
        send_buffer: 500,
        receive_buffer: 500,
        ..Weather::calm()
    };
    for script in conversations::turned_away() {
        let listens_again = script.is_cooperative;
        let finished = in_turn([script], weather.clone(), limits.clone());
        let client = &finished.world.clients[0];
        assert!(!client.was_cut_short, "{}", client.status());
        let closed = |cause| finished.counters.closed(cause);
        assert_eq!(closed(Cause::Unresponsive), 0);
        assert_eq!(closed(Cause::Stalled), u64::from(!listens_again));
    }
}

/// Each property is asserted along the way, where it can be seen.
#[test]
fn no_weather_takes_from_a_client_what_it_is_owed() {
    match replayed() {
        Some(seed) => drop(stormy(seed, &roles(), true)),
        None => drop(stormy_season()),
    }
}

#[test]
fn what_has_changed_before_it_was_asked_for_is_never_answered_as_it_was() {
    let roles = roles();
    match replayed() {
        Some(seed) => drop(restless(seed, &roles, true)),
        None => (0..seeds(RESTLESS_SEEDS)).for_each(|seed| drop(restless(seed, &roles, false))),
    }
}

#[test]
fn a_stop_finishes_what_was_begun_and_answers_what_was_read() {
    let roles = roles();
    match replayed() {
        Some(seed) => drop(ending(seed, &roles, true)),
        None => (0..seeds(ENDING_SEEDS)).for_each(|seed| drop(ending(seed, &roles, false))),
    }
}

#[test]
fn whoever_talks_is_heard_once_and_in_one_order() {
    let roles = roles();
    match replayed() {
        Some(seed) => drop(talking(seed, &roles, true)),
        None => (0..seeds(TALKING_SEEDS)).for_each(|seed| drop(talking(seed, &roles, false))),
    }
}

#[test]
fn an_open_page_has_what_is_on_the_disk_and_is_told_of_nothing_else() {
    let roles = live::roles();
    if let Some(seed) = replayed() {
        live::season(seed, &roles, true);
        return;
    }
    let count = seeds(LIVE_SEEDS);
    let all = (0..count).chain(live::FAULTS);
    let runs = all.map(|seed| live::season(seed, &roles, false));
    let told: u64 = runs.map(|outcome| outcome.pages_told).sum();
    // Where nobody is told anything, nothing is proved.
    assert!(told > count / 2, "{told} pages were told something");
}

#[test]
fn in_calm_weather_a_client_gets_what_the_backend_means() {
    proxied::roles()
        .iter()
        .for_each(|role| drop(proxied::rehearse(role)));
}

#[test]
fn whatever_backends_do_an_answer_that_looks_whole_is_whole_and_its_own() {
    match replayed() {
        Some(seed) => drop(proxied::season(seed, &proxied::roles(), true)),
        None => drop(proxied_season()),
    }
}

#[test]
fn every_transition_in_the_table_is_seen_and_no_other() {
    if replayed().is_some() {
        return;
    }
    let mut seen = stormy_season().clone();
    seen.add(proxied_season());
    let modes = ModeName::ALL;
    for from in &modes {
        for to in &modes {
            let legal = TRANSITIONS.iter().any(|(a, b, _)| (a, b) == (from, to));
            assert_eq!(seen.has(*from, *to), legal, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    let roles = roles();
    let trace = |seed| stormy(seed, &roles, false).world.trace();
    let mut traces: Vec<u64> = (0..25).map(trace).collect();
    let again: Vec<u64> = (0..25).map(trace).collect();
    assert_eq!(traces, again);
    traces.sort_unstable();
    traces.dedup();
    // Runs that a signal ends before a client comes are alike.
    assert!(traces.len() + 3 > again.len());
}

/// Counts how many scripts and seeds notice a defect in the server, and which properties they see
/// violated. To be run with a defect put into the server: a property that is never violated proves
/// nothing. `ONELOOP_COUNT=1 cargo test --test simulation how_many -- --nocapture`
#[test]
fn how_many_seeds_notice() {
    if env::var_os("ONELOOP_COUNT").is_none() {
        return;
    }
    panic::set_hook(Box::new(|_| {}));
    let (mut calm, mut storms, mut restlessness, mut ends) = Default::default();
    let (mut talks, mut pages) = Default::default();
    let mut roles = Vec::new();
    for script in scripts::scripts() {
        count(&mut calm, || roles.push(rehearse(script)));
    }
    println!("in calm weather: {calm:?}");
    for seed in 0..STORMY_SEEDS {
        count(&mut storms, || drop(stormy(seed, &roles, false)));
    }
    println!("in {STORMY_SEEDS} storms: {storms:?}");
    for seed in 0..RESTLESS_SEEDS {
        count(&mut restlessness, || drop(restless(seed, &roles, false)));
    }
    println!("in {RESTLESS_SEEDS} restless runs: {restlessness:?}");
    for seed in 0..ENDING_SEEDS {
        count(&mut ends, || drop(ending(seed, &roles, false)));
    }
    println!("in {ENDING_SEEDS} stops: {ends:?}");
    for seed in 0..TALKING_SEEDS {
        count(&mut talks, || drop(talking(seed, &roles, false)));
    }
    println!("in {TALKING_SEEDS} conversations: {talks:?}");
    let roles = live::roles();
    for seed in 0..LIVE_SEEDS {
        count(&mut pages, || {
            live::season(seed, &roles, false);
        });
    }
    println!("in {LIVE_SEEDS} runs with pages: {pages:?}");
}

/// The same for the runs with backends.
#[test]
fn how_many_proxied_seeds_notice() {
    if env::var_os("ONELOOP_COUNT").is_none() {
        return;
    }
    panic::set_hook(Box::new(|_| {}));
    let (mut rehearsals, mut proxies) = (BTreeMap::new(), BTreeMap::new());
    let roles = proxied::roles();
    for role in &roles {
        count(&mut rehearsals, || drop(proxied::rehearse(role)));
    }
    println!("in calm weather with backends: {rehearsals:?}");
    let seeds = seeds(PROXIED_SEEDS);
    for seed in 0..seeds {
        count(&mut proxies, || drop(proxied::season(seed, &roles, false)));
    }
    println!("in {seeds} runs with backends: {proxies:?}");
}

/// Counts a failed run under the words of its assertion before the colon.
fn count(violations: &mut BTreeMap<String, u32>, run: impl FnOnce()) {
    if let Err(words) = panic::catch_unwind(AssertUnwindSafe(run)) {
        let text = words.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| words.downcast_ref::<&str>().copied());
        let inner = text.and_then(|t| t.strip_prefix("assertion `left == right` failed: "));
        let property = inner.or(text).unwrap_or_default().split([':', '\n']).next();
        let property = property.unwrap_or_default().to_string();
        *violations.entry(property).or_default() += 1;
    }
}

// ── The seasons ────────────────────────────────────────────────────────────────────────────────

/// Any scripts in any weather, with tiny limits.
fn stormy(seed: u64, roles: &[Role], is_talkative: bool) -> Finished {
    let mut rng = Rng::new(seed);
    let weather = Weather::drawn(&mut rng);
    let limits = weather::limits(&mut rng);
    let cast: Vec<&Role> = (0..rng.within(1..=7)).map(|_| rng.pick(roles)).collect();
    perform(seed, rng, weather, limits, &cast, is_talkative)
}

/// Clients that watch files while an editor changes them all the time. The limits are the usual
/// ones: with tiny limits, a turn ends before a client can have its answer and ask again within the
/// turn.
fn restless(seed: u64, roles: &[Role], is_talkative: bool) -> Finished {
    let mut rng = Rng::new(seed);
    let watching = roles.iter().filter(|role| role.script.watches());
    let watching: Vec<&Role> = watching.collect();
    let cast: Vec<&Role> = (0..rng.within(1..=3))
        .map(|_| *rng.pick(&watching))
        .collect();
    let limits = weather::usual_limits();
    perform(seed, rng, Weather::restless(), limits, &cast, is_talkative)
}

/// Any scripts, and an early stop.
fn ending(seed: u64, roles: &[Role], is_talkative: bool) -> Finished {
    let mut rng = Rng::new(seed);
    let weather = Weather::ending(&mut rng);
    let limits = weather::limits(&mut rng);
    let cast: Vec<&Role> = (0..rng.within(1..=4)).map(|_| rng.pick(roles)).collect();
    perform(seed, rng, weather, limits, &cast, is_talkative)
}

/// Clients that talk, mostly to each other. In half of the runs the buffers take everything that
/// the clients send, and no message may be missed.
fn talking(seed: u64, roles: &[Role], is_talkative: bool) -> Finished {
    let mut rng = Rng::new(seed);
    let weather = Weather::drawn(&mut rng);
    let mut limits = weather::limits(&mut rng);
    if rng.chance(50) {
        (limits.write_buffer_max, limits.memory_bytes_max) = (1 << 20, 1 << 20);
    }
    let talking = roles.iter().filter(|role| role.script.talks());
    let (gathering, alone): (Vec<&Role>, Vec<&Role>) =
        talking.partition(|role| role.script.gathers());
    let cast: Vec<&Role> = (0..rng.within(2..=7))
        .map(|_| match rng.chance(80) {
            true => *rng.pick(&gathering),
            false => *rng.pick(&alone),
        })
        .collect();
    perform(seed, rng, weather, limits, &cast, is_talkative)
}

/// The transitions that the stormy seeds together have seen. Two tests need the set, but the runs
/// are made once.
fn stormy_season() -> &'static Transitions {
    static SEEN: OnceLock<Transitions> = OnceLock::new();
    SEEN.get_or_init(|| {
        let roles = roles();
        let mut seen = Transitions::default();
        for seed in 0..seeds(STORMY_SEEDS) {
            seen.add(&stormy(seed, &roles, false).transitions);
        }
        seen
    })
}

/// The transitions that the runs with backends have seen. The runs are made once, as the stormy ones.
fn proxied_season() -> &'static Transitions {
    static SEEN: OnceLock<Transitions> = OnceLock::new();
    SEEN.get_or_init(|| {
        let mut seen = Transitions::default();
        proxied::add_seen(&mut seen, seeds(PROXIED_SEEDS));
        seen
    })
}

/// The number of seeds of a season, which is `usual` unless `ONELOOP_SEEDS` has another number.
fn seeds(usual: u64) -> u64 {
    let seeds = env::var("ONELOOP_SEEDS").ok();
    seeds.map_or(usual, |n| n.parse().expect("ONELOOP_SEEDS is a number"))
}

/// The seed of the run that `ONELOOP_SEED` asks to see again.
fn replayed() -> Option<u64> {
    let seed = env::var("ONELOOP_SEED").ok()?;
    Some(seed.parse().expect("ONELOOP_SEED is a number"))
}

/// Prints how to see a run again, if the run fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "seed {seed}: ONELOOP_SEED={seed} cargo test --test simulation -- --nocapture shows the run"
            );
        }
    }
}

// ── A run ──────────────────────────────────────────────────────────────────────────────────────

/// A script, and the bytes that its client receives when nothing goes wrong.
struct Role {
    script: Rc<Script>,
    expected: Vec<u8>,
}

fn roles() -> Vec<Role> {
    scripts::scripts().into_iter().map(rehearse).collect()
}

/// Plays a script alone and in calm weather.
fn rehearse(script: Script) -> Role {
    rehearse_in(script, |_| {})
}

fn rehearse_in(script: Script, prepare: impl Fn(&mut World)) -> Role {
    let script = Rc::new(script);
    let scripts = [Rc::clone(&script)];
    let mut world = World::new(Rng::new(0), Weather::calm(), &scripts, false);
    prepare(&mut world);
    let finished = run(world, weather::usual_limits());
    let client = &finished.world.clients[0];
    let status = client.status();
    assert!(!client.was_cut_short, "an answer is missing: {status}");
    let expected = client.answered().to_vec();
    Role { script, expected }
}

/// Runs a cast in which each client comes two [`PATIENCE`](weather::PATIENCE)s after the client
/// before.
fn in_turn(
    scripts: impl IntoIterator<Item = Script>,
    weather: Weather,
    limits: Limits,
) -> Finished {
    let scripts: Vec<Rc<Script>> = scripts.into_iter().map(Rc::new).collect();
    let mut world = World::new(Rng::new(0), weather, &scripts, false);
    for (number, client) in world.clients.iter_mut().enumerate() {
        client.not_before += 2 * number as u32 * weather::PATIENCE;
    }
    run(world, limits)
}

/// A calm world in which the first client comes first, and all others soon after it.
fn together(scripts: &[Rc<Script>]) -> World {
    let mut world = World::new(Rng::new(0), Weather::calm(), scripts, false);
    let begin = world.clients[0].not_before;
    for client in &mut world.clients[1..] {
        client.not_before = begin + Duration::from_micros(100);
    }
    world
}

/// The scripts of a cast. A talkative run begins with their names, the weather and the limits.
fn scripts_of(
    cast: &[&Role],
    weather: &Weather,
    limits: &Limits,
    is_talkative: bool,
) -> Vec<Rc<Script>> {
    let scripts: Vec<_> = cast.iter().map(|role| Rc::clone(&role.script)).collect();
    if is_talkative {
        eprintln!("{weather:#?}\n{limits:#?}");
        scripts
            .iter()
            .for_each(|script| eprintln!("{:?}", script.name));
    }
    scripts
}

/// Runs a cast, and checks the bytes that each client has received against the expected ones.
fn perform(
    seed: u64,
    rng: Rng,
    weather: Weather,
    limits: Limits,
    cast: &[&Role],
    is_talkative: bool,
) -> Finished {
    let _replay = Replay(seed);
    let scripts = scripts_of(cast, &weather, &limits, is_talkative);
    let hardship = Hardship::of(&limits);
    let is_crowded = limits.connections_max < cast.len();
    let mut world = World::new(rng, weather, &scripts, is_talkative);
    for client in &mut world.clients {
        client.is_excused |= is_crowded;
        client.may_miss = hardship.may_miss;
    }
    let finished = run(world, limits);
    let clients = &finished.world.clients;
    for (client, role) in clients.iter().zip(cast) {
        judge(client, &role.expected, finished.world.stops, hardship);
    }
    let missed = finished.counters.missed;
    assert!(hardship.may_miss || missed == 0, "a message was dropped");
    rooms::judge(clients, missed);
    if clients
        .iter()
        .all(|c| c.script.is_cooperative && !c.is_excused)
    {
        let ended = clients.iter().filter(|c| hardship.has_ended(c)).count() as u64;
        for (late, most) in [
            (Cause::Idle, 0),
            (Cause::Late, 0),
            (Cause::Stalled, ended),
            (Cause::Unresponsive, 0),
        ] {
            let count = finished.counters.closed(late);
            assert!(count <= most, "a deadline passed: {late:?}");
        }
    }
    finished
}

/// How a run ended.
struct Finished {
    world: World,
    transitions: Transitions,
    counters: Counters,
    /// The most bytes that the connections held together after a turn.
    most_memory: usize,
}

/// Runs a server in a world until all clients have left, or until the server is stopped.
fn run(mut world: World, limits: Limits) -> Finished {
    world.connections_max = limits.connections_max;
    let world = Rc::new(RefCell::new(world));
    let files = SimFiles {
        world: Rc::clone(&world),
    };
    let driver = SimDriver {
        world: Rc::clone(&world),
    };
    let mut site = Site::new(files, b"index.html", &limits).with_guard(Guard::new(["x"]));
    let has_backend = world.borrow().backend.is_some();
    let live = world.borrow_mut().live_options();
    if live.is_some() {
        site = site.with_live(pages::SCRIPT).with_uses();
    }
    let book = Book::default();
    let mut server = Server::new(driver, LISTENERS, site, limits)
        .with_endpoint("/_oneloop/echo", book.over(PostEcho))
        .with_endpoint("/echo", book.over(Echo))
        .with_endpoint("/rooms/*", book.over(RoomsEndpoint))
        .with_endpoint("/bouncer", book.over(Bouncer))
        .with_endpoint("/fountain/*", book.over(Fountain::default()))
        .with_endpoint("/oracle/*", book.over(Oracle::default()))
        .with_test_endpoints();
    if has_backend {
        let route = ProxyRoute::parse("/api=http://backend.test:9000").expect("a route");
        let routes = Routes::new(&[route], false).expect("one route");
        server = server.with_proxy(routes, "sim").expect("an address");
    }
    if let Some(options) = live {
        server = server.with_live_reload(&options);
    }
    let (mut turns, mut most_memory) = (0, 0);
    loop {
        turns += 1;
        // A backend may say a long answer byte by byte.
        let most = if has_backend {
            10 * TURNS_MAX
        } else {
            TURNS_MAX
        };
        assert!(turns < most, "the server does not come to rest");
        let before = server.queues();
        let flow = server.turn().expect("the simulated wait does not fail");
        server.check();
        // Each turn serves the first of each queue, and who comes later is queued behind. So nobody
        // waits for more turns than there are others before it.
        for ((waiting, before), (_, after)) in before.into_iter().zip(server.queues()) {
            let is_served = waiting == 0 || after > before || flow == Flow::Stopped;
            assert!(is_served, "the first in a queue was not served");
        }
        most_memory = most_memory.max(server.memory_bytes());
        let world = world.borrow();
        reasons::judge(&server, &world);
        let stopped = flow == Flow::Stopped;
        assert!(stopped || world.stops < 2, "a second signal stops at once");
        assert!(!stopped || world.stops > 0, "nobody has asked it to stop");
        if stopped {
            break;
        }
        // Files that no client asks for any more are closed in the end.
        let is_at_rest = world.is_forgotten() && world.tree.open_files() == 0;
        if world.is_over() && is_at_rest && server.is_quiet() {
            assert_eq!(server.open_connections(), 0, "a connection is left");
            assert_eq!(server.armed_deadlines(), 0, "a deadline is left");
            break;
        }
    }
    let is_empty = server.open_connections() == 0;
    assert!(
        !is_empty || book.is_closed(),
        "an endpoint was not told of an end"
    );
    let (transitions, counters) = (server.transitions().clone(), server.counters().clone());
    drop(server);
    let world = Rc::into_inner(world).expect("a socket is left");
    let mut world = world.into_inner();
    world.finish();
    assert_eq!(world.tree.open_files(), 0, "a file is left open");
    Finished {
        world,
        transitions,
        counters,
        most_memory,
    }
}
