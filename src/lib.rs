//! A single-threaded, readiness-based HTTP/1.1 and WebSocket server. One poll loop moves a slab of
//! connection state machines. The crate serves a folder to browsers and load generators, carries
//! messages between WebSocket clients, and is written to be read: this page is the way in.
//!
//! A program on the crate adds endpoints to the server. This one serves the folder `www`, and sends
//! each text message back in upper case:
//!
//! ```no_run
//! use oneloop::{Config, Endpoint, Message, Server, Session};
//!
//! struct Shout;
//!
//! impl Endpoint for Shout {
//!     fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
//!         if let Message::Text(text) = message {
//!             // Never full: while much output waits for this peer, no message is read from it.
//!             let _ = session.send(Message::Text(&text.to_uppercase()));
//!         }
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let bound = Server::bind(&Config::new("www"))?;
//!     println!("connect to ws://{}/shout", bound.addresses[0]);
//!     bound.server.with_endpoint("/shout", Shout).run()?;
//!     Ok(())
//! }
//! ```
//!
//! A program needs the types at the root of the crate, and for tests of its own perhaps the three
//! [seams](#the-seams). The codecs in [`http`] and [`websocket`] are public for readers and for the
//! tests; other items are private, and these pages show them all the same.
//!
//! # The idea
//!
//! A thread for each connection spends its life waiting. One thread for *all* connections must never
//! wait for a single one. So the loop asks the kernel (epoll(7), through `mio`) which connections can
//! move, moves each as far as it goes, and asks again. The state of a half-read request cannot lie on
//! a call stack then; it lies in a state machine, one for each connection. This crate is that loop and
//! that state machine. Before the real loop, read the same idea in a hundred lines:
//! `benches/examples/tiny.rs`.
//!
//! # The life of a request
//!
//! The second request of a kept connection, for a small file, from `epoll_wait` back to it. Each row
//! names the function that does the work.
//!
//! | function | step | system call |
//! |---|---|---|
//! | `server/mod.rs` `Server::turn` | waits for events, or for the next deadline | `epoll_wait` |
//! | `server/mod.rs` `Server::mark` | sets the readiness of the connection, and queues its key | |
//! | `server/mod.rs` `Server::run_queued` | takes up to 64 queued connections as a batch | |
//! | `connection/mod.rs` `Connection::fill` | reads once for each connection of the batch | |
//! | `transport/tcp.rs` `Tcp::read` | clears `readable` if the kernel had less than asked for | `recv` |
//! | `server/mod.rs` `Server::pump` | then, connection by connection: lends the context | |
//! | `connection/mod.rs` `Connection::pump` | steps, writes and reads until no byte moves | |
//! | `connection/mode/reading_head.rs` `ReadingHead::step` | parses the bytes in the read buffer | |
//! | `http/parser.rs` `HeadParser::parse` | finds the end of the head; resumes when it has not come | |
//! | `connection/mode/reading_head.rs` `ReadingHead::serve` | decides on a plan, then acts on it | |
//! | `site/mod.rs` `Site::route` | asks the guard, then looks for an endpoint at the path | |
//! | `site/mod.rs` `Site::answer` | decodes the path, selects a representation, checks conditions | |
//! | `site/select.rs` `Site::lookup` | trusts a cached file only if its stat(2) is unchanged | `newfstatat` |
//! | `connection/mode/pending_response.rs` `PendingResponse::answer` | appends head and body to the write buffer | |
//! | `connection/mod.rs` `Connection::flush_once` | hands the write buffer to the transport | |
//! | `transport/tcp.rs` `Tcp::write` | clears `writable` if the kernel took less than offered | `send` |
//! | `server/timers.rs` `Timers::arm` | leaves the deadline where it is, because the new one is later | |
//! | `server/log.rs` `Log::record` | formats the exchanges of the turn and writes them at once | `write` |
//!
//! `strace` shows this very request, of curl, to `oneloop www --log combined` (cut to 100 columns).
//! The log line is the one call that a server without a log does not make:
//!
//! ```text
//! epoll_wait(5, [{events=EPOLLIN|EPOLLOUT, data={u32=0, u64=4294967296}}], 1024, 30076) = 1
//! recvfrom(9, "GET / HTTP/1.1\r\nHost: 127.0.0.1:18080\r\nUser-Agent: curl/7.88.1\r\nAcc"..., 65536) = 79
//! newfstatat(AT_FDCWD, "www/index.html", {st_mode=S_IFREG|0644, st_size=11, ...}, 0) = 0
//! sendto(9, "HTTP/1.1 200 OK\r\nLast-Modified: Thu, 26 Nov 2026 00:03:26 GMT\r\nETa"..., 328) = 328
//! write(1, "127.0.0.1 - - [26/Nov/2026:01:03:27 +0000] \"GET / HTTP/1.1\" 200 11 "..., 85) = 85
//! epoll_wait(5, ...
//! ```
//!
//! # The life of a room message
//!
//! One member of a room of three sends `hello`, uncompressed. The message is framed once, and costs one
//! system call for each member.
//!
//! | function | step | system call |
//! |---|---|---|
//! | `connection/mod.rs` `Connection::fill` | reads the masked frame of the sender | `recv` |
//! | `connection/mode/websocket.rs` `WebSocket::step` | takes frames while there is room for answers | |
//! | `websocket/reader.rs` `Reader::read` | finds the frame, and unmasks it where it lies | |
//! | `connection/mode/websocket.rs` `State::deliver_message` | hands the message to the endpoint | |
//! | `connection/endpoint.rs` `Session::broadcast` | frames the message, and leaves an effect | |
//! | `connection/effect.rs` `Effects::push` | queues the effect; over a bound, senders are throttled | |
//! | `server/delivery.rs` `Server::deliver` | takes effects from the queue, in order | |
//! | `server/delivery.rs` `Server::publish` | lists the members, and adds to the room's history | |
//! | `connection/mod.rs` `Connection::enqueue_broadcast` | appends the frame to each write buffer | |
//! | `connection/message.rs` `Broadcast::frame` | compresses once for each window size, if agreed | |
//! | `server/delivery.rs` `Server::flush_connection` | writes to each member, after all effects | `send` × 3 |
//!
//! ```text
//! epoll_wait(5, [{events=EPOLLIN|EPOLLOUT, data={u32=0, u64=8589934592}}], 1024, 20045) = 1
//! recvfrom(9, "\201\205Fe\232\32.\0\366v)", 65536, 0, NULL, NULL) = 11
//! sendto(9, "\201\5hello", 7, MSG_NOSIGNAL, NULL, 0) = 7
//! sendto(11, "\201\5hello", 7, MSG_NOSIGNAL, NULL, 0) = 7
//! sendto(12, "\201\5hello", 7, MSG_NOSIGNAL, NULL, 0) = 7
//! epoll_wait(5, ...
//! ```
//!
//! A frame of up to 4 KiB is copied into each write buffer, because a copy is cheaper than a segment of
//! its own; a larger frame is shared by reference.
//!
//! # The difficulties
//!
//! Each difficulty of the method has one place in the source:
//!
//! | difficulty | where it is dealt with |
//! |---|---|
//! | the kernel reports readiness once, as an edge | [`transport`]: sticky flags in [`Tcp`](transport::Tcp) |
//! | a read ends in the middle of a request | [`ReadBuffer`](transport::ReadBuffer); the parser resumes: [`HeadParser`](http::HeadParser) |
//! | a write takes only a part | [`WriteBuffer`](transport::WriteBuffer) |
//! | a peer does not read the answers that it asked for | [`WriteBuffer::has_room`](transport::WriteBuffer::has_room): no room, no step, no read, and TCP holds the peer back |
//! | a peer asks for too much at once | [`Budget`](connection::context::Budget): bytes, rounds and steps of one turn |
//! | a peer does nothing at all | deadlines, asked of the mode, kept in [`Timers`](server::timers::Timers) |
//! | a peer has closed one direction | the end of file is an input like bytes; see [`Mode`](connection::Mode) |
//! | closing destroys the bytes that the peer has not read | [`Lingering`](connection::mode::Lingering) |
//! | an event comes for a connection that is gone | [`Key`]: slot and generation |
//! | the next request begins where a body ends | [`BodyDecoder`](http::BodyDecoder), [`ReadingBody`](connection::mode::ReadingBody) |
//! | a message comes in a hundred thousand frames, or compressed a thousandfold | [`Reader`](websocket::Reader), [`Inflater`](websocket::deflate::Inflater): bounded at each step |
//! | one message is for a thousand peers | effects, carried out by the [`server`]; one [`Broadcast`](connection::Broadcast), encoded once |
//! | a peer is gone and has sent no FIN | [`WebSocket`](connection::mode::WebSocket): a ping, and a deadline for the pong |
//! | many peers together hold too much memory | one [`Account`](transport::pool::Account) for all |
//! | the process has no descriptors left | [`Server::accept`](server::Server) rests, and sheds one connection with a reserve |
//! | a file changes while it is served | [`site`]: one stat(2) for each batch of requests, and one fstat(2) for each slice |
//! | compressing takes long | one slice in each turn: [`Site::next_slice`](site::Site::next_slice) |
//! | a page of a stranger sends requests, in the user's browser | [`Guard`](site::Guard): the `Host` and the `Origin` of each request |
//! | a terminal stops reading the log | [`Log`](server::Log): bounded, and never waited for |
//!
//! # The floors
//!
//! Architecture invariant: imports point down only, and never sideways. `tests/architecture.rs` reads
//! every path in the source and fails if one does not.
//!
//! ```text
//!                main        flags -> Config -> Server -> exit code
//!  4  server      all connections: the loop, accept, deadlines, rooms, the log
//!  3  connection  one connection: the pump, the budget, the modes; the endpoint interface
//!  2  site        files as answers: fresh, cached, encoded, guarded
//!  1  http        RFC 9110 and 9112, pure    │    transport   bytes in and out, sticky readiness
//!     websocket   RFC 6455 and 7692, pure    │
//!  0  config      the bounds                 │    sys         system calls that std lacks
//! ```
//!
//! Architecture invariant: *pure* means bytes in, values out: `http` and `websocket` have no clock, no
//! disk and no socket.
//!
//! Architecture invariant: `http`, `websocket` and `transport` do not know each other, and neither do
//! `site` and `transport`. `connection` joins them.
//!
//! Architecture invariant: below floor 4 only `transport::tcp` names `mio`, and only `sys` names `rustix`.
//!
//! Architecture invariant: no threads, no `unsafe` code, and no `HashMap`, whose order differs from run
//! to run.
//!
//! # The seams
//!
//! At three places the crate is cut, with traits that are resolved at compile time:
//! [`Transport`](transport::Transport) (bytes; the system calls of TCP are behind the narrower
//! [`Socket`](transport::Socket)), [`Driver`](server::Driver) (readiness, time, new connections,
//! signals) and [`Files`](site::Files). In the program, `mio` and the disk are behind the seams. In
//! `tests/simulation`, a simulated kernel is, which cuts bytes anywhere, loses descriptors, resets
//! connections and lets the clock jump, all from a seed. The same seed of the same commit gives the
//! same run, so a bug that was found once is found again.
//!
//! # Lexicon
//!
//! One word has one meaning, in the code and in these pages. The words of RFC 9110, 9112 and 6455 and
//! of POSIX come first; these are ours:
//!
//! | word | meaning |
//! |---|---|
//! | turn | one trip of the loop: wait, mark, accept, run, deliver, expire, record |
//! | batch | up to 64 connections that are all read from before the first is pumped |
//! | pump | moves one connection as far as its budget goes: step, write, read, and again |
//! | step | one action of a mode: some input becomes some output, or another mode |
//! | mode | the state of a connection: what it is doing. RFC 9293 has a *state* of TCP already |
//! | budget | bytes, rounds and steps that one connection may use in one turn |
//! | cost | the price of an answer, in steps |
//! | key | the name of one connection: its slot in the slab and a generation, never used twice |
//! | read buffer, write buffer | bytes that came and were not consumed; bytes that wait to be sent |
//! | segment, tail | parts of a write buffer: a file or shared bytes by reference; small output, copied |
//! | charge, release | adds memory to the account of all connections; takes it off again |
//! | effect | a wish of a connection that the server carries out, because it concerns other connections |
//! | endpoint | a value of the program that answers messages and POST requests at a path |
//! | mount | the path of an endpoint |
//! | room | a named group of WebSocket connections; its *history* is the last messages. In `has_room` and `on_room` alone, the word means space in a write buffer |
//! | broadcast | one message for many connections, encoded once |
//! | site | the tree of files, and how they become answers |
//! | representation | a file in one content coding, with the heads of its answers (RFC 9110 §3.2) |
//! | epoch | the time between two reads: a stat(2) vouches for the requests of its epoch alone |
//! | slice | a stretch of a large body that is queued at once |
//! | settled | of a file: it was changed so long ago that another change would show in its times (in git's words, not *racily clean*) |
//! | pending response | the duty to answer one request, as a value that the answer consumes |
//! | refusal, denial | an error status for a request that is wrong; one for a request that the guard does not let in |
//! | cause | why a connection ended. RFC 6455 calls the text in a close frame its *reason* |
//! | must linger | the peer may still be sending, so a plain close could destroy the last answer |
//! | throttled | paused because the queue of effects is full |
//! | evict, reject, shed | ends an idle connection to make space; answers 503 to a new one; closes a new one unanswered |
//! | `after(…)` | a constructor of a mode: its way in, which takes the mode before it by value |
//!
//! # The order of reading
//!
//! From the top down, with the lines of the functions that matter most:
//!
//! 1. [`server`]: one turn of the loop; `Server::turn` is that list as code, in 23 lines.
//! 2. [`connection`]: `Connection::pump`, through which every byte goes, in 34 lines.
//! 3. [`connection::mode`]: the state machine, drawn, as methods and as a table of 23 transitions.
//! 4. [`transport`]: the demands of edge-triggered readiness; `Tcp::read`, in 16 lines.
//! 5. [`http`]: a resumable parser; `HeadParser::parse`, in 36 lines.
//! 6. [`websocket`]: frames, taken apart where they lie; `Reader::read`, in 30 lines.
//! 7. [`site`]: a file that is fresh for each request, and nearly free.
//! 8. [`Endpoint`]: the interface for your own program, with three examples in `benches/examples`
//!    (`echo`, `chat` and `ticker`). `/echo` and `/rooms/NAME` are made with it.
//!
//! # Dependencies
//!
//! The loop, the protocols and the state machines are this crate's own, on `mio`, `slab` and `memchr`,
//! with `sha1` and `base64` for the opening handshake. Everything else comes from libraries, of which
//! none starts a thread: `rustix` (safe system calls), `clap` (the command line), `httpdate` (the three
//! forms of an HTTP-date), `flate2` on `zlib-rs` (gzip and permessage-deflate), `brotli` (a content
//! coding), `jiff` (local time in the log), `mime_guess` (media types), `percent-encoding` (the
//! `Location` of a redirect) and `signal-hook-mio` (signals as events).

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

pub use config::Config;
pub use connection::{Answer, Endpoint, Full, Hub, Key, Message, Post, RouteMatch, Session};
pub use server::{BoundServer, Server, StartError};
pub use websocket::{CloseCode, Protocols};
