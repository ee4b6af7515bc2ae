//! A single-threaded, readiness-based HTTP/1.1 and WebSocket server: one poll loop moves a slab of
//! connection state machines. It serves a folder to browsers and load generators, carries messages
//! between them, and it is written to be read: this page leads through it, from the bottom up.
//!
//! # The idea in a page
//!
//! A thread for each connection spends its life waiting. One thread for *all* connections must
//! never wait for any single one, so it asks the kernel (epoll(7), through [`mio`]) which of them
//! can move, moves each as far as it goes, and asks again. Whatever a connection was in the middle
//! of has to be written down somewhere other than a call stack: in a state machine. This crate is
//! that loop and that state machine, with every difficulty of the method in one place:
//!
//! | difficulty | where it is dealt with |
//! |---|---|
//! | readiness is told once, as an edge | [`transport`]: sticky flags in [`Tcp`](transport::Tcp) |
//! | a read ends in the middle of a request | [`ReadBuffer`](transport::ReadBuffer); the parser resumes: [`HeadParser`](http::HeadParser) |
//! | a write takes only part | [`WriteBuffer`](transport::WriteBuffer) |
//! | a peer does not read what it asked for | `WriteBuffer::has_room`: no room, no step, no read, and TCP holds the peer back |
//! | a peer asks too much at once | [`Budget`](connection::context::Budget): bytes, rounds and steps of one turn |
//! | a peer does nothing at all | deadlines, asked of the mode, kept in [`Timers`](server::timers::Timers) |
//! | a peer has closed one direction | the end of file is an input like bytes; see [`Mode`](connection::Mode) |
//! | closing destroys what the peer has not read | [`Lingering`](connection::mode::Lingering) |
//! | an event comes for a connection that is gone | [`Key`](connection::Key): slot and generation |
//! | the next request begins where a body ends | [`BodyDecoder`](http::BodyDecoder), [`ReadingBody`](connection::mode::ReadingBody) |
//! | a message comes in a hundred thousand pieces, or compressed a thousandfold | [`Reader`](websocket::Reader), [`Inflater`](websocket::deflate::Inflater): bounded at each step |
//! | one message is for a thousand peers | mail, delivered in [`server`]; one [`Broadcast`](connection::Broadcast), encoded once |
//! | a peer is there no more and does not say so | [`WebSocket`](connection::mode::WebSocket): a ping, and a deadline for the pong |
//! | many peers together hold too much memory | one [`Account`](transport::pool::Account) for all |
//! | there are no more descriptors | `Server::accept` rests, and sheds with a reserve |
//! | a file changes under us | [`site`]: looked at for each request, by one stat(2) for many, and again with each piece |
//! | compressing takes long | a slice in each turn: [`Site::next_slice`](site::Site::next_slice) |
//! | a page of a stranger asks, in the user's browser | [`Guard`](site::Guard): for whom a request is, and whose page makes it |
//! | a terminal stops reading the log | [`Log`](server::Log): bounded, never waited for |
//!
//! # The floors
//!
//! Imports point down only; a test holds them to it.
//!
//! ```text
//!                main     flags -> Config -> Server -> exit code
//!  5  server      all connections: the loop, accept, deadlines, rooms, the log
//!  4  connection  one connection: the pump, the budget, the modes; what an endpoint is
//!  3  site        what answers a request: files, fresh and cached
//!  1  http        RFC 9110 and 9112, pure    │    transport   bytes in and out, sticky readiness
//!     websocket   RFC 6455 and 7692, pure    │
//!  0  config      the bounds                 │    sys         system calls that std lacks
//! ```
//!
//! *Pure* means bytes in, values out: no clock, no disk, no socket. `http` and `websocket` do not know
//! each other, nor do `site` and `transport`; `connection` joins them. Nothing below floor 5 names `mio`, but for
//! `transport::tcp`; nothing but `sys` names `rustix`.
//!
//! # The seams
//!
//! At three places the crate is cut, with traits that are resolved at compile time:
//! [`Transport`](transport::Transport) (bytes; TCP's system calls are the narrower
//! [`Socket`](transport::Socket)), [`Driver`](server::Driver) (readiness, time, new connections,
//! signals) and [`Files`](site::Files). `mio` and the disk are behind them when it runs; in
//! `tests/simulation` a simulated kernel is, which cuts bytes anywhere, loses descriptors, resets
//! connections and lets the clock jump, from a seed. The same seed gives the same run, so a bug
//! found once is found again.
//!
//! # Where to begin reading
//!
//! 1. [`server`]: one turn of the loop, and `Server::turn`, which is that list as code.
//! 2. [`connection`]: `Connection::pump`, the dozen lines that everything goes through.
//! 3. `connection::mode`: the state machine, drawn, as methods and as a table.
//! 4. [`transport`]: what edge-triggered readiness demands, in `Tcp::read`.
//! 5. [`http`]: a resumable parser.
//! 6. [`websocket`]: frames, taken apart where they lie.
//! 7. [`connection::Endpoint`]: the interface for programs of one's own, and its three examples in
//!    `benches/examples`: `echo`, `chat` and `ticker`. `/echo` and `/rooms/NAME` are made with it.
//!
//! # What else is needed
//!
//! The loop, the protocols and the state machines are this crate's own, on [`mio`], `slab` and
//! `memchr`, with `sha1` and `base64` for the opening handshake. What is not its subject comes from
//! libraries, none of which starts a thread: `rustix` (system calls, safely), `clap` (the command line), `httpdate` (the three forms of an
//! HTTP-date), `flate2` on `zlib-rs` (gzip and permessage-deflate) and `brotli` (content codings), `jiff` (local time in the log),
//! `mime_guess` (media types), `percent-encoding` (the `Location` of a redirect), `signal-hook-mio`
//! (signals as events).

#![forbid(unsafe_code)]
#![warn(missing_docs)]
// The book is for readers of the source: it is built with private items, and leads to them.
#![allow(rustdoc::private_intra_doc_links)]

#[cfg(not(target_os = "linux"))]
compile_error!(
    "oneloop runs on Linux alone for now: its loop relies on epoll's edges, sendfile and openat2"
);

pub mod cli;
pub mod config;
pub mod connection;
pub mod http;
pub mod server;
pub mod site;
pub mod sys;
pub mod transport;
pub mod websocket;
