//! Each codec of oneloop beside the library that a program would use in its place, in instructions
//! and in time.
//!
//! `cargo bench --bench codec` prints a table of `benches/README.md`. With `--check`, only our
//! instructions are counted, and the program fails if a number is over the ceiling in [`ROWS`]. An
//! instruction count hardly depends on the machine or on other load, so a change of a few percent
//! shows, as a change of the time does not.
//!
//! The two sides do not always do the same work:
//!
//! - `httparse` splits a head into lines, names and values. Our parser also finds the fields that
//!   the server knows, and checks Host, the request target and the framing of the body.
//! - The opening handshake of `tungstenite` is the hash alone; ours also checks the fields.
//! - `tungstenite` owns its buffers and allocates each message. Our reader unmasks in the buffer of
//!   the caller, and our side copies the frame into this buffer first, as a `recv` does.
//!
//! # The files
//!
//! `http`, `websocket` and `recorder` the operations · `../common/heads.rs` the request heads ·
//! `../tools/wire.rs` the frames · `../operations` the measurements and the table,
//! shared with `turns`.
#[path = "../common/heads.rs"]
mod heads;
mod http;
#[path = "../operations/mod.rs"]
mod operations;
mod recorder;
mod websocket;
#[path = "../tools/wire.rs"]
mod wire;

use std::process::ExitCode;

use operations::Row;

#[rustfmt::skip] // One row, three lines.
const ROWS: &[Row] = &[
    Row { name: "request head, 4 fields", units: 1, ceiling: 1_100,
        ours: || http::our_head(heads::program("/small.txt", 4)),
        theirs: Some(("httparse", || http::their_head(heads::program("/small.txt", 4)))) },
    Row { name: "request head, a browser's 15 fields", units: 1, ceiling: 2_650,
        ours: || http::our_head(heads::browser("/small.txt")),
        theirs: Some(("httparse", || http::their_head(heads::browser("/small.txt")))) },
    Row { name: "request head, 60 fields", units: 1, ceiling: 7_900,
        ours: || http::our_head(heads::program("/small.txt", 60)),
        theirs: Some(("httparse", || http::their_head(heads::program("/small.txt", 60)))) },
    Row { name: "chunked body, 16 chunks of 1 KiB", units: 1, ceiling: 5_000,
        ours: http::our_chunks,
        theirs: Some(("httparse", http::their_chunks)) },
    Row { name: "response head", units: 1, ceiling: 140,
        ours: http::our_response,
        theirs: Some(("write!", http::their_response)) },
    Row { name: "opening handshake", units: 1, ceiling: 4_700,
        ours: websocket::our_opening,
        theirs: Some(("tungstenite", websocket::their_opening)) },
    Row { name: "unmask 16 KiB", units: 1, ceiling: 5_150,
        ours: websocket::our_mask,
        theirs: Some(("bytewise loop", websocket::their_mask)) },
    Row { name: "UTF-8, 16 KiB in 17 pieces", units: 1, ceiling: 123_500,
        ours: websocket::our_utf8,
        theirs: Some(("std, in one piece", websocket::their_utf8)) },
    Row { name: "read a frame, 20 bytes of text", units: 1, ceiling: 540,
        ours: || websocket::our_read(0x81, 20),
        theirs: Some(("tungstenite", || websocket::their_read(0x81, 20))) },
    Row { name: "read a frame, 16 KiB", units: 1, ceiling: 23_500,
        ours: || websocket::our_read(0x82, 16 << 10),
        theirs: Some(("tungstenite", || websocket::their_read(0x82, 16 << 10))) },
    Row { name: "write a frame, 20 bytes", units: 1, ceiling: 80,
        ours: || websocket::our_write(20),
        theirs: Some(("tungstenite", || websocket::their_write(20))) },
    Row { name: "write a frame, 16 KiB", units: 1, ceiling: 18_100,
        ours: || websocket::our_write(16 << 10),
        theirs: Some(("tungstenite", || websocket::their_write(16 << 10))) },
    // Not a codec, but as small as one. The time is to stay below 5 ns.
    Row { name: "record in the flight recorder", units: recorder::RECORDS, ceiling: 20,
        ours: recorder::our_records,
        theirs: None },
];

fn main() -> ExitCode {
    operations::main("codec", ROWS)
}
