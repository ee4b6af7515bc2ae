//! The whole server without a kernel: the cost of a request or a message in user space, in
//! instructions and in time.
//!
//! `cargo bench --bench turns` prints a table of `benches/README.md`. With `--check`, only
//! instructions are counted, and the program fails if a number is over the ceiling in [`ROWS`]. The
//! server, its loop and its state machines are those of the program. Sockets, clock and disk are
//! stand-ins in memory ([`world`]), which copy bytes as the kernel would and cost little else. The
//! work of the stand-ins is in the figures.
//!
//! # The files
//!
//! `world` the stand-ins and the clients · `../common/heads.rs` the request heads ·
//! `../tools/wire.rs` the frames · `../operations` the measurements and the table,
//! shared with `codec`.
#[path = "../common/heads.rs"]
mod heads;
#[path = "../operations/mod.rs"]
mod operations;
#[path = "../tools/wire.rs"]
mod wire;
mod world;

use std::process::ExitCode;
use std::rc::Rc;

use operations::{Operation, Row};
use world::{Client, PATH, World};

const MASKING_KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[rustfmt::skip] // One row, two lines.
const ROWS: &[Row] = &[
    Row { name: "connection with one GET", units: 1, ceiling: 8_300, theirs: None,
        ours: connection },
    Row { name: "GET, 4 fields", units: 1, ceiling: 4_450, theirs: None,
        ours: || gets(1, heads::program(PATH, 4), 1) },
    Row { name: "GET, a browser's 15 fields", units: 1, ceiling: 7_300, theirs: None,
        ours: || gets(1, heads::browser(PATH), 1) },
    Row { name: "GET, 64 connections at once", units: 64, ceiling: 3_350, theirs: None,
        ours: || gets(64, heads::program(PATH, 4), 1) },
    Row { name: "GET, 10,000 connections in turn", units: 1, ceiling: 4_450, theirs: None,
        ours: || gets_in_turn(10_000) },
    Row { name: "GET, 16 pipelined", units: 16, ceiling: 2_400, theirs: None,
        ours: || gets(1, heads::program(PATH, 4), 16) },
    Row { name: "echo, 20 bytes", units: 1, ceiling: 3_100, theirs: None,
        ours: || echo(20, 1) },
    Row { name: "echo, 20 bytes, 16 at once", units: 16, ceiling: 960, theirs: None,
        ours: || echo(20, 16) },
    Row { name: "echo, 16 KiB", units: 1, ceiling: 44_250, theirs: None,
        ours: || echo(16 << 10, 1) },
    Row { name: "room, 20 bytes to each of 64", units: 64, ceiling: 770, theirs: None,
        ours: || rooms(1, 64) },
    Row { name: "room, 20 bytes to each of 2", units: 2, ceiling: 2_950, theirs: None,
        ours: || rooms(1, 2) },
    Row { name: "the same, 1,000 rooms in turn", units: 2, ceiling: 3_100, theirs: None,
        ours: || rooms(1_000, 2) },
];

fn main() -> ExitCode {
    operations::main("turns", ROWS)
}

/// A client connects, gets the file, and hangs up.
fn connection() -> Operation {
    let mut world = World::new();
    world.stop_recording();
    let request = heads::program(PATH, 4).into();
    Box::new(move || {
        let client = world.connect();
        exchange(&mut world, &[client], &request);
        world.hang_up(client);
        world.run();
        world.forget(client);
    })
}

/// Each of `clients` sends `pipelined` requests at once.
fn gets(clients: usize, request: Vec<u8>, pipelined: usize) -> Operation {
    let mut world = World::new();
    let clients: Vec<_> = (0..clients).map(|_| world.connect()).collect();
    let requests = request.repeat(pipelined).into();
    exchange(&mut world, &clients, &requests);
    for client in &clients {
        let answers = world.take(*client);
        let right = answers.windows(17).filter(|w| w == b"HTTP/1.1 200 OK\r\n");
        assert_eq!(right.count(), pipelined);
    }
    world.stop_recording();
    Box::new(move || exchange(&mut world, &clients, &requests))
}

/// One of many clients sends a request, and in the next repetition the next client.
fn gets_in_turn(clients: usize) -> Operation {
    let mut world = World::new();
    world.stop_recording();
    let clients: Vec<_> = (0..clients).map(|_| world.connect()).collect();
    let request = heads::program(PATH, 4).into();
    exchange(&mut world, &clients, &request);
    let mut next = 0;
    Box::new(move || {
        next = (next + 1) % clients.len();
        exchange(&mut world, &clients[next..=next], &request);
    })
}

/// A client sends `messages` messages at once, and each comes back.
fn echo(payload_bytes: usize, messages: usize) -> Operation {
    let mut world = World::new();
    let client = open(&mut world, "/echo");
    let frames = wire::frame(payload_bytes, Some(MASKING_KEY)).repeat(messages);
    let frames = frames.into();
    exchange(&mut world, &[client], &frames);
    let due = wire::frame(payload_bytes, None).repeat(messages);
    assert_eq!(world.take(client), due);
    world.stop_recording();
    Box::new(move || exchange(&mut world, &[client], &frames))
}

/// A member of a room sends a message, and each of `members` hears it. In the next repetition it is
/// the turn of the next room.
fn rooms(rooms: usize, members: usize) -> Operation {
    let mut world = World::new();
    let frame = wire::frame(20, Some(MASKING_KEY)).into();
    let mut speakers = Vec::new();
    for room in 0..rooms {
        let path = format!("/rooms/{room}");
        let members: Vec<_> = (0..members).map(|_| open(&mut world, &path)).collect();
        exchange(&mut world, &members[..1], &frame);
        for member in &members {
            assert_eq!(world.take(*member), wire::frame(20, None));
        }
        speakers.push(members[0]);
    }
    world.stop_recording();
    let mut next = 0;
    Box::new(move || {
        next = (next + 1) % speakers.len();
        exchange(&mut world, &speakers[next..=next], &frame);
    })
}

/// Each of `clients` sends `bytes`, and then the server works.
fn exchange(world: &mut World, clients: &[Client], bytes: &Rc<[u8]>) {
    for client in clients {
        world.send(*client, bytes);
    }
    world.run();
}

/// Opens a WebSocket connection to `path`.
fn open(world: &mut World, path: &str) -> Client {
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    let opening = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    let client = world.connect();
    exchange(world, &[client], &opening.into_bytes().into());
    let answer = world.take(client);
    assert!(String::from_utf8_lossy(&answer).contains(&wire::accept(KEY)));
    client
}
