//! The requests to every server: a row of data for each scenario.

use crate::site::{CODED, LARGE, MEDIUM, MODIFIED, PLAIN_TEXT, SMALL};

/// A kind of load.
pub struct Scenario {
    pub name: &'static str,
    pub path: &'static str,
    /// Field lines beside `Host`, in the form that `-H` of wrk takes.
    pub fields: &'static [&'static str],
    /// The status of a right reply.
    pub status: u16,
    /// The length of the body in the limit's canned reply. Where each server writes its own body (a
    /// 404), a typical length.
    pub body_bytes: usize,
    pub connections: u32,
    /// The number of requests that are sent together on each connection before a reply is read. 1
    /// means no pipelining.
    pub pipelined: u32,
    /// Whether the server closes the connection after each reply.
    pub close: bool,
}

/// A field line that asks for gzip. The reply must then be compressed.
pub const GZIP: &str = "Accept-Encoding: gzip";

/// The approximate size of 200 KiB of the site's letters after gzip.
const CODED_BYTES: usize = 120 * 1024;

/// A GET of the small file with keep-alive. The rows below name their differences from `PLAIN`.
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
