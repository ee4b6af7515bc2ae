//! Clients that do not behave. Nothing is expected of the answers to them, but the other clients
//! must not notice them.

use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::files::Files;
use crate::frames::{self, frame};
use crate::world::{Random, World};

/// How long a deaf client keeps its connection.
const DEAF: Duration = Duration::from_secs(3);

/// Resets a connection: new, in the middle of a request or a response, or of WebSocket.
pub fn reset(world: &World, _: &Files, random: &mut Random) -> Result<(), String> {
    let mut client = match random.below(4) {
        0 => Client::open(world, "/rooms/reset", "")?,
        _ => Client::connect(world)?,
    };
    match random.below(4) {
        0 => {}
        1 => client.send(b"GET /0.txt HTTP/1.1\r\nHos")?,
        2 => client.send(b"GET /0.txt HTTP/1.1\r\nHost: localhost\r\n\r\n")?,
        _ => client
            .send(b"POST /_oneloop/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n1")?,
    }
    thread::sleep(Duration::from_millis(random.below(3) as u64));
    client.reset();
    world.count("hostile: reset", 0);
    Ok(())
}

/// Sends random bytes, as a request or as frames.
pub fn garbage(world: &World, _: &Files, random: &mut Random) -> Result<(), String> {
    let mut client = match random.below(2) {
        0 => Client::open(world, "/echo", "")?,
        _ => Client::connect(world)?,
    };
    let words = random.below(300);
    let bytes: Vec<_> = (0..words)
        .flat_map(|_| random.next().to_le_bytes())
        .collect();
    client.send_within(&bytes, Duration::from_secs(1));
    client.drain(Duration::from_millis(10));
    world.count("hostile: garbage", 0);
    Ok(())
}

/// Sends requests or messages without reading the answers.
pub fn deaf_reader(world: &World, _: &Files, random: &mut Random) -> Result<(), String> {
    let time = Duration::from_secs(1);
    let mut client;
    if random.below(2) == 0 {
        client = Client::connect(world)?;
        let request = b"GET /0.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";
        client.send_within(&request.repeat(10_000), time);
    } else {
        client = Client::open(world, "/echo", "")?;
        let message = frame(frames::TEXT, &random.text(10_000));
        client.send_within(&message.repeat(2_000), time);
    }
    thread::sleep(DEAF);
    if random.below(2) == 0 {
        client.reset();
    }
    world.count("hostile: deaf reader", 0);
    Ok(())
}

/// Joins a room and does not read, while another member speaks and hears itself.
pub fn deaf_member(world: &World, _: &Files, random: &mut Random) -> Result<(), String> {
    let path = format!("/rooms/{:016x}", random.next());
    let deaf = Client::open(world, &path, "")?;
    let mut speaker = Client::open(world, &path, "")?;
    let message = frame(frames::TEXT, &random.text(20_000));
    // More bytes than the buffers of the kernel and of the server hold together.
    for _ in 0..500 {
        speaker.send(&message)?;
        let heard = speaker.message();
        heard.map_err(|fault| format!("beside a deaf member: {fault}"))?;
    }
    drop(deaf);
    world.count("hostile: deaf member", 0);
    Ok(())
}
