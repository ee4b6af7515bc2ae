//! What is asked of every server: one row of data each.

use crate::site::{CODED, LARGE, MEDIUM, MODIFIED, PLAIN_TEXT, SMALL};

/// One kind of load.
pub struct Scenario {
    pub name: &'static str,
    pub path: &'static str,
    /// Header field lines beside `Host`, as wrk's `-H` takes them.
    pub fields: &'static [&'static str],
    /// The one status every reply must have.
    pub status: u16,
    /// The body of the limit's canned reply. Where servers word their own (a 404), about as long.
    pub body_bytes: usize,
    pub connections: u32,
    /// Requests sent in one go on each connection before any reply is read; 1 is no pipelining.
    pub pipelined: u32,
    /// The server closes after each reply.
    pub close: bool,
}

/// A field that asks for gzip, which an answer must then have.
pub const GZIP: &str = "Accept-Encoding: gzip";

/// What 200 KiB of the site's letters come to as gzip, about.
const CODED_BYTES: usize = 120 * 1024;

/// A kept-alive GET of the small file: what the rows below differ from.
const PLAIN: Scenario = Scenario {
    name: "",
    path: SMALL.path,
    fields: &[],
    status: 200,
    body_bytes: SMALL.bytes,
    connections: 64,
    pipelined: 1,
    close: false,
};

#[rustfmt::skip] // One row, one line.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "1 KiB, 1 connection", connections: 1, ..PLAIN },
    Scenario { name: "1 KiB, 64 connections", ..PLAIN },
    Scenario { name: "1 KiB, 512 connections", connections: 512, ..PLAIN },
    Scenario { name: "1 KiB, 64 connections, 16 pipelined", pipelined: 16, ..PLAIN },
    Scenario { name: "304, 64 connections", fields: &[MODIFIED.since], status: 304, body_bytes: 0, ..PLAIN },
    Scenario { name: "404, 64 connections", path: "/absent.txt", status: 404, body_bytes: 150, ..PLAIN },
    Scenario { name: "100 KiB, 64 connections", path: MEDIUM.path, body_bytes: MEDIUM.bytes, ..PLAIN },
    Scenario { name: "200 KiB text, .gz beside it, 64 connections", path: CODED.path, fields: &[GZIP], body_bytes: CODED_BYTES, ..PLAIN },
    Scenario { name: "200 KiB text, gzip on the fly, 64 connections", path: PLAIN_TEXT.path, fields: &[GZIP], body_bytes: CODED_BYTES, ..PLAIN },
    Scenario { name: "10 MiB, 8 connections", path: LARGE.path, body_bytes: LARGE.bytes, connections: 8, ..PLAIN },
    Scenario { name: "1 KiB, 64 connections, close", fields: &["Connection: close"], close: true, ..PLAIN },
];
