//! Bodies and messages that come back: posts, echoes, and rooms.

use crate::client::Client;
use crate::files::Files;
use crate::frames::{self, frame};
use crate::world::{Random, World};

/// The number of exchanges on a connection.
const EXCHANGES: usize = 200;
/// The members of a room.
const MEMBERS: usize = 12;
/// The messages that are sent before the members read.
const BURST: usize = 20;

/// Posts bodies, and compares the answers.
pub fn post(world: &World, _: &Files, random: &mut Random) -> Result<(), String> {
    let mut client = Client::connect(world)?;
    for _ in 0..EXCHANGES {
        let bytes = size(random, 300 << 10);
        let body = random.text(bytes);
        let length = body.len();
        let head = format!(
            "POST /_oneloop/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        );
        client.send(&[head.as_bytes(), &body].concat())?;
        let answer = client.answer(false);
        let answer = answer.map_err(|fault| format!("post of {length} bytes: {fault}"))?;
        answer.expect(200)?;
        if answer.body != body {
            return Err(format!("post of {length} bytes: another body came back"));
        }
        world.count("POST", length);
    }
    Ok(())
}

/// Sends messages to `/echo`, some of them in two fragments, and compares the answers.
pub fn echo(world: &World, _: &Files, random: &mut Random) -> Result<(), String> {
    let mut client = Client::open(world, "/echo", "")?;
    for _ in 0..EXCHANGES {
        let bytes = size(random, 200 << 10);
        let text = random.text(bytes);
        match random.below(4) {
            0 => {
                let (front, back) = text.split_at(random.below(text.len()));
                // Without FIN, and a continuation with FIN (RFC 6455 §5.4).
                client.send(&frame(0x01, front))?;
                client.send(&frame(0x80, back))?;
            }
            _ => client.send(&frame(frames::TEXT, &text))?,
        }
        is_back(&mut client, &text)?;
        world.count("echo", text.len());
    }
    Ok(())
}

/// Sends compressed messages to `/echo`, and compares the answers.
pub fn echo_compressed(world: &World, _: &Files, random: &mut Random) -> Result<(), String> {
    // Each message can be decompressed alone.
    let offer = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
    let mut client = Client::open(world, "/echo", offer)?;
    for _ in 0..EXCHANGES {
        let bytes = size(random, 300 << 10);
        let text = random.text(bytes);
        client.send(&frames::deflated(&text))?;
        is_back(&mut client, &text)?;
        world.count("echo, compressed", text.len());
    }
    Ok(())
}

/// Opens a room with some members. One after the other sends a burst of messages, and all members
/// must receive all of them in order.
pub fn room(world: &World, _: &Files, random: &mut Random) -> Result<(), String> {
    let path = format!("/rooms/{:016x}", random.next());
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(Client::open(world, &path, "")?);
    }
    // Every member hears every message: the server carries out joins and messages in order.
    for speaker in 0..EXCHANGES {
        let texts: Vec<_> = (0..BURST)
            .map(|number| {
                let bytes = size(random, 2 << 10);
                let mut text = format!("{speaker} {number} ").into_bytes();
                text.extend(random.text(bytes));
                text
            })
            .collect();
        let burst = texts.iter().flat_map(|text| frame(frames::TEXT, text));
        let burst: Vec<_> = burst.collect();
        members[speaker % MEMBERS].send(&burst)?;
        for member in &mut members {
            for text in &texts {
                is_back(member, text).map_err(|fault| format!("room: {fault}"))?;
                world.count("room, delivery", text.len());
            }
        }
        if !world.is_running() {
            break;
        }
    }
    Ok(())
}

/// Reads a message, and compares it.
fn is_back(client: &mut Client, text: &[u8]) -> Result<(), String> {
    let length = text.len();
    let message = client.message();
    let message = message.map_err(|fault| format!("message of {length} bytes: {fault}"))?;
    match message == text {
        true => Ok(()),
        false => Err(format!(
            "message of {length} bytes: another message of {} bytes came",
            message.len()
        )),
    }
}

/// Returns a size from 1 to `most`. Half of the sizes are below 200 bytes.
fn size(random: &mut Random, most: usize) -> usize {
    match random.below(2) {
        0 => 1 + random.below(200),
        _ => 1 + random.below(most),
    }
}
