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
//!     bound.with_endpoint("/shout", Shout).run()?;
//!     Ok(())
//! }
//! ```
//!
//! [Your own program](#your-own-program) has the rules and more examples.
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
//! # Readiness in ten lines
//!
//! epoll reports readiness here as an *edge*: an event when bytes arrive, or when a full send buffer has
//! space again, and no reminder of bytes or space that were there before. A loop that forgets an event
//! is never told again. So each socket has three *sticky* flags ([`Tcp`](transport::Tcp)). `readable` and
//! `writable` start as set, since a new connection is tried before it is registered:
//!
//! | flag | is set | is cleared |
//! |---|---|---|
//! | `readable` | at the start; by an event; by [`Connection::expire`](connection::Connection::expire), to try once more | by a read that gets EAGAIN, or at least one byte but fewer than asked for (unless `peer_closed`) |
//! | `writable` | at the start; by an event; by [`Connection::expire`](connection::Connection::expire), to try once more | by a write that gets EAGAIN |
//! | `peer_closed` | by an event | never |
//!
//! A short read proves that the receive buffer is empty (epoll(7) says so of stream sockets), and saves
//! the read that would return EAGAIN. A short write proves nothing. After the FIN of a peer a short read
//! proves nothing either: the edge of the FIN is spent, and only another read finds the end of file.
//!
//! # Lexicon
//!
//! One word has one meaning, in the code and in these pages. The words of RFC 9110, 9112 and 6455 and
//! of POSIX come first; these are ours:
//!
//! | word | meaning |
//! |---|---|
//! | edge, sticky | an event that is reported once; a flag that stays set until a system call clears it |
//! | slab, slot | the table of connections; one place in the table |
//! | turn | one trip of the loop, in seven parts: wait, mark, accept, run, deliver, expire, record |
//! | batch | up to 64 connections that are all read from before the first is pumped |
//! | pump | moves one connection as far as its budget goes: step, write, read, and again |
//! | step, round | one action of a mode: some input becomes some output, or another mode; one trip of the pump through step, write and read |
//! | mode | the state of a connection, such as reading a head. RFC 9293 has a *state* of TCP already |
//! | budget | bytes, rounds, steps and work that one connection may use when it is read from, pumped or flushed in a turn |
//! | verdict | the result of a pump: wait, pump again, throttled, or close |
//! | plan | the decision about a request, made from its head alone |
//! | work, cost | what the processor has to do, in units of about a microsecond; the work of an answer |
//! | key | the name of one connection: its slot and a generation; a name comes again after two thousand million connections |
//! | read buffer, write buffer | bytes that came and were not consumed; bytes that wait to be sent |
//! | segment, tail | parts of a write buffer: a file or shared bytes by reference; small output, copied |
//! | drained | of a socket: the last read left it empty, and no event has announced bytes since |
//! | back-pressure | a peer that does not read is not read from either, until TCP makes it wait |
//! | pool, account | a stock of buffers for all connections; the sum of the memory that all connections hold because of their peers |
//! | tight, over | of memory: more than half of the bound is charged to the account; more than the whole bound |
//! | charge, release | adds memory to the account; takes it off again |
//! | effect | a wish of a connection that the server carries out, because it concerns other connections |
//! | endpoint | a value of the program that answers requests and messages at a path |
//! | mount | the path of an endpoint |
//! | room | a named group of WebSocket connections; its *history* is the last messages. In the names `has_room`, `on_room` and `WithRoom`, and in "no room, no step", the word means space in a write buffer |
//! | broadcast | one message for many connections, encoded once |
//! | site | the tree of files, and how they become answers |
//! | representation | a file in one content coding, with the heads of its answers (RFC 9110 §3.2) |
//! | rule, pattern, capture | a line of `_redirects`, or a group of lines of `_headers`; the paths that a rule is for; the part of a path that a name in a pattern stands for |
//! | use, survey | what a page has asked for, with the answer that it got; a look at all of them, which makes each answer again |
//! | quiet time | the time without a change after which the disk is looked at |
//! | generation (of a page), instance | the number of changes that the pages were told of; one run of the server |
//! | epoch | a stretch of time without a read: a stat(2) in an epoch is later than each request that the epoch answers |
//! | slice | a stretch of a large body that is queued at once |
//! | settled | of a file: it was changed so long ago that another change would show in its times (in git's words, not *racily clean*) |
//! | exchange | a request and its answer, for the log |
//! | pending response | the duty to answer one request, as a value that the answer consumes |
//! | refusal, denial | an error status for a request that is wrong; one for a request that the guard does not let in |
//! | cause | why a connection ended. RFC 6455 calls the text in a close frame its *reason* |
//! | must linger | the peer may still be sending, so a plain close could destroy the last answer |
//! | light, heavy | of a connection: it used little when it was last pumped, and is served first; it used much, and gets what the turn has left |
//! | share, debt | of a heavy connection: the work that it may do when it is pumped; what it did beyond, for which it is passed over |
//! | throttled | paused because the queue of effects is full |
//! | round of deliveries | effects are carried out, then each recipient is written to once; it may take several turns. (The pump has rounds too.) |
//! | watcher, snapshot | a client to which the inspector shows the loop; the state of the loop at one moment, as JSON |
//! | gate, held back | while a watcher has paused the loop, the place at which the other connections wait; waiting there |
//! | newcomer, crowd | a new connection without a slot; all newcomers at the limit of connections |
//! | evict, reject, shed | ends an idle connection to make space; answers 503 to a new one; closes a new one unanswered |
//! | give way | of a busy connection: to end with its next answer, because newcomers wait |
//! | `after(…)` | a constructor of a mode: its way in, which takes the mode before it by value |
//!
//! # The life of a request
//!
//! The second request of a kept connection, for a small file, from `epoll_wait` back to it. Each row
//! names the function that does the work. The page [`lives`] tells this life and three others beside their
//! traces.
//!
//! | function | step | system call |
//! |---|---|---|
//! | `server/mod.rs` `Server::turn` | waits for events, or for the next deadline | `epoll_wait` |
//! | `server/mod.rs` `Server::mark` | sets the readiness of the connection, and queues its key | |
//! | `server/mod.rs` `Server::run_light` | takes up to 64 queued connections as a batch; this one is light, because it used little last time | |
//! | `connection/mod.rs` `Connection::fill` | reads once for each connection of the batch | |
//! | `transport/tcp.rs` `Tcp::read` | clears `readable` if the kernel had less than asked for | `recv` |
//! | `site/mod.rs` `Site::begin_epoch` | declares each earlier look at a file too old | |
//! | `server/mod.rs` `Server::pump` | then, connection by connection: lends the [context](connection::Context) | |
//! | `connection/mod.rs` `Connection::pump` | steps, writes and reads until no byte moves | |
//! | `connection/mode/reading_head.rs` `ReadingHead::step` | parses the bytes in the read buffer | |
//! | `http/parser.rs` `HeadParser::parse` | finds the end of the head; an incomplete head goes on from there after the next read | |
//! | `connection/mode/reading_head.rs` `ReadingHead::serve` | makes a plan from the head, then carries it out | |
//! | `site/route.rs` `Site::route` | asks the guard, and for a password if there is one, then looks for an endpoint at the path | |
//! | `site/answer.rs` `Site::answer` | decodes the path, selects a representation, checks conditions | |
//! | `site/select.rs` `Site::lookup` | trusts a cached file only if its stat(2) is unchanged | `newfstatat` |
//! | `connection/mode/pending_response.rs` `PendingResponse::answer` | appends head and body to the write buffer | |
//! | `connection/output.rs` `Connection::flush_once` | hands the write buffer to the transport, by `WriteBuffer::flush` | |
//! | `transport/tcp.rs` `Tcp::write` | clears `writable` only if the kernel says EAGAIN | `send` |
//! | `server/timers.rs` `Timers::arm` | a deadline that moved later leaves the old alarm in place; when it rings, the server asks for the present one | |
//! | `server/log.rs` `Log::record` | formats the exchanges of the turn, for one write | `write` |
//!
//! `strace` shows this request, made by curl, of `oneloop /srv/www --log combined` (strace cuts long
//! strings). The number in the event, 2³² here, is the key: generation 1, slot 0. Without a log, the
//! call of `write` is not made:
//!
//! ```text
//! epoll_wait(5, [{events=EPOLLIN|EPOLLOUT, data={u32=0, u64=4294967296}}], 1024, 30040) = 1
//! recvfrom(9, "GET /favicon.svg HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n"..., 65536, 0, NULL, NULL) = 90
//! newfstatat(AT_FDCWD, "/srv/www/favicon.svg", {st_mode=S_IFREG|0644, st_size=392, ...}, AT_SYMLINK_NOFOLLOW) = 0
//! sendto(9, "HTTP/1.1 200 OK\r\nLast-Modified: Thu, 26 Nov 2026 0"..., 673, MSG_NOSIGNAL, NULL, 0) = 673
//! write(12, "127.0.0.1 - - [26/Nov/2026:02:49:38 +0000] \"GET /f"..., 97) = 97
//! epoll_wait(5, ...
//! ```
//!
//! Variations: four times a second at most, a request looks at the stats of `_redirects` and `_headers`
//! first. Other requests of the batch for the same file share the stat. A file in a folder costs one
//! more stat for each folder above it, to see that none is a link, shared by the batch too. If the
//! client accepts codings and the media type is worth compressing, the directory is looked at too, and
//! the sibling or the original of the encoding that is sent. A body above 4 KiB leaves by `writev`,
//! with its head. A file above 64 KiB leaves by `send` and `sendfile`, in slices of at most 256 KiB,
//! each after an `fstat`, but for a first slice that leaves at once. Before the rest of a last slice
//! that did not leave at once, the file is looked at again. A slice is queued only while fewer than 64
//! KiB wait, and until the last byte of the body has left, nothing is read from the client. The bytes
//! that `sendfile` sends never enter this process, so such a download holds a few hundred bytes here:
//! the connection, an open file and an offset.
//!
//! # The life of a room message
//!
//! One member of a room of three sends `hello`, uncompressed.
//!
//! | function | step | system call |
//! |---|---|---|
//! | `connection/mod.rs` `Connection::fill` | reads the masked frame of the sender | `recv` |
//! | `connection/mode/websocket.rs` `WebSocket::step` | takes frames, unless the queue of effects is full | |
//! | `websocket/reader.rs` `Reader::read` | finds the frame, and unmasks it where it lies | |
//! | `connection/mode/websocket/messages.rs` `State::deliver_message` | hands the message to the endpoint | |
//! | `connection/session.rs` `Session::broadcast` | frames the message, and leaves an effect | |
//! | `connection/effect.rs` `Effects::push` | queues the effect for the server | |
//! | `server/delivery.rs` `Server::carry_out_effects` | takes effects from the queue, in order | |
//! | `server/delivery.rs` `Server::publish` | lists the members, and adds to the room's history | |
//! | `server/delivery.rs` `Server::send_to` | takes the recipients in order, as far as the turn has time | |
//! | `connection/inputs.rs` `Connection::enqueue_broadcast` | appends the frame to each write buffer | |
//! | `connection/message.rs` `Broadcast::frame` | compresses once for each window size, if agreed | |
//! | `server/delivery.rs` `Server::flush_connection` | writes to each member, after all effects | `send` × 3 |
//!
//! ```text
//! epoll_wait(5, [{events=EPOLLIN|EPOLLOUT, data={u32=0, u64=8589934592}}], 1024, 20058) = 1
//! recvfrom(11, "\201\205\3303\205\227\260V\351\373\267", 65536, 0, NULL, NULL) = 11
//! sendto(11, "\201\5hello", 7, MSG_NOSIGNAL, NULL, 0) = 7
//! sendto(12, "\201\5hello", 7, MSG_NOSIGNAL, NULL, 0) = 7
//! sendto(13, "\201\5hello", 7, MSG_NOSIGNAL, NULL, 0) = 7
//! epoll_wait(5, ...
//! ```
//!
//! The costs for a room of *n* members: the message is copied once into a frame, and a frame of up to
//! 4 KiB once more into each write buffer, because such a copy is cheaper than a segment of its own; a
//! larger frame is shared by reference, and leaves by `writev`. About four allocations are made for the
//! message. Of the write buffers that are empty, 64 take a buffer that the pool has kept, and each other
//! one allocates: for 1,000 idle members 1,001 copies, about 940 allocations and 1,000 calls. Several
//! messages of one round of deliveries leave in the same calls.
//!
//! # The life of an edit
//!
//! A page that a browser opens has one more element, a script, which keeps a WebSocket connection to
//! the server. The developer saves `app.css`, which the page uses:
//!
//! | function | step | system call |
//! |---|---|---|
//! | `server/mod.rs` `Server::mark` | notes that the watch has something to tell | |
//! | `server/reload/mod.rs` `Server::take_news` | reads the changes, each at a name | `read` |
//! | `server/reload/quiet.rs` `Quiet::done` | waits 30 ms for the end of the saving, or longer for that of a build | |
//! | `server/reload/watches.rs` `Watches::step` | watches all paths again, because a directory may be another one | `statx`, `inotify_add_watch` |
//! | `site/live/survey.rs` `Site::survey` | takes each use in turn | |
//! | `site/live/look.rs` `Site::look_at_part` | makes the answer to the use again; another stat makes it read and compare the content | `newfstatat`, `openat2`, `pread64` |
//! | `server/reload/tell.rs` `Server::conclude` | writes one message about all that has changed | |
//! | `server/delivery.rs` `Server::send_to` | appends the message for each page | `send` |
//!
//! The page finds the path among those that it has loaded, and puts a copy of the stylesheet beside the
//! old one (`src/site/live/client.js`). No part of this trusts the kernel's word for what a file is: an
//! event is only a reason to look. So a late event, one too many, or a lost one does no harm.
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
//! | a peer asks for too much at once | [`Budget`](connection::context::Budget): bytes, rounds, steps and work of one turn |
//! | many peers ask for much, and others for little | a turn ends when it has done enough, and serves the light first: [`schedule`](server::schedule) |
//! | TLS keeps bytes that no event reports, in both directions | `transport::tls`: decrypted bytes are read first, and what is born from input is sent at once |
//! | a peer does nothing at all | deadlines, asked of the mode, kept in [`Timers`](server::timers::Timers) |
//! | a peer has closed one direction | the end of file is an input like bytes; see [`Mode`](connection::Mode) |
//! | closing destroys the bytes that the peer has not read | [`Lingering`](connection::mode::Lingering) |
//! | an event comes for a connection that is gone | [`Key`]: slot and generation |
//! | the next request begins where a body ends | [`BodyDecoder`](http::BodyDecoder), [`ReadingBody`](connection::mode::ReadingBody) |
//! | a message comes in a hundred thousand frames, or compressed a thousandfold | [`Reader`](websocket::Reader), [`Inflater`](websocket::deflate::Inflater): bounded at each step |
//! | one message is for a thousand peers | effects, carried out by the [`server`]; one [`Broadcast`](connection::Broadcast), encoded once |
//! | a client waits for another server, and either may be slow, leave or fail | a pair of connections; the server carries pieces from one to the other: `server::couple` |
//! | a backend is started anew all the time | `server::backends`: nothing was sent, so the request waits |
//! | a peer is gone and has sent no FIN | [`WebSocket`](connection::mode::WebSocket): a ping, and a deadline for the pong |
//! | many peers together hold too much memory | one [`Account`](transport::pool::Account) for all |
//! | more connections come than are allowed | [`Server::accept`](server::Server): they wait, idle connections are evicted, and busy ones give way |
//! | the process has no descriptors left | [`Server::accept`](server::Server) rests, and sheds one connection with a reserve |
//! | a file changes while it is served | [`site`]: a stat(2) after the request was read, shared by a batch, and an fstat(2) before each slice and before the last bytes, but for a first slice at once |
//! | a file changes while a page shows it, and perhaps while a build is at work | [`quiet`](server::reload::quiet) waits, the [site](site::live) looks, [`reload`](server::reload) tells |
//! | compressing takes long | one slice in each turn: [`Site::next_slice`](site::Site::next_slice) |
//! | a page of a stranger sends requests, in the user's browser | [`Guard`](site::Guard): `Host`, `Origin` and `Sec-Fetch-Site` of each request |
//! | a terminal stops reading the log, or the disk is full | [`Log`](server::Log): bounded, and never waited for |
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
//!     websocket   RFC 6455 and 7692, pure    │    certificates  of HTTPS, in memory and in files
//!  0  config      the bounds                 │    sys         system calls that std lacks
//! ```
//!
//! Architecture invariant: *pure* means bytes in, values out: `http` and `websocket` have no clock, no
//! disk and no socket.
//!
//! Architecture invariant: `http`, `websocket` and `transport` do not know each other, and neither do
//! `site` and `transport`. `connection` joins them.
//!
//! Architecture invariant: below floor 4 only `transport::stream` names `mio`, and only `sys` names `rustix`
//! and `memmap2`, and only `certificates` names `rcgen`.
//!
//! Architecture invariant: no threads, no `unsafe` code, and no `HashMap`, whose order differs from run
//! to run.
//!
//! # The seams
//!
//! At three places the crate is cut, with traits that are resolved at compile time:
//! [`Transport`](transport::Transport) (bytes; the system calls of TCP are behind the narrower
//! [`Socket`](transport::Socket)), [`Driver`](server::Driver) (readiness, time, new connections in both
//! directions, signals, changes in directories) and [`Files`](site::Files). In the program, `mio` and the disk are
//! behind the seams. In `tests/simulation`, a simulated kernel is, which cuts bytes anywhere, loses
//! descriptors, resets connections and lets the clock jump, all from a seed. The same seed of the same
//! commit gives the same run, so a bug that a seed has found is found again at that commit. A failure
//! prints the seed; `ONELOOP_SEED=n cargo test --test simulation -- --nocapture` plays it again with every step. The
//! next commit may draw other runs from the seed: to keep the case, write a script and play it with fixed
//! weather and limits, as the directed tests in `tests/simulation/main.rs` do.
//!
//! # Your own program
//!
//! A program on the crate is an [`Endpoint`] at a path: one value for all connections to the path. The
//! state of the program lies in the fields of the value, without a lock, because one thread calls all
//! methods. Five programs of sixty lines, in `benches/examples`, show the abilities of an endpoint. The
//! core of each:
//!
//! `counter` has two interfaces at one path. A GET request reads the number as JSON, a POST request
//! adds one, and each WebSocket client is told of the change:
//!
//! ```
//! use oneloop::http::Method;
//! use oneloop::{Answer, Hub, Message, Request};
//!
//! fn on_request(count: &mut u64, hub: &mut Hub<'_>, request: Request<'_>) -> Answer {
//!     if request.method() == Method::Post {
//!         *count += 1;
//!         hub.publish("counter", Message::Text(&count.to_string()));
//!     }
//!     Answer::json(format!("{{\"count\":{count}}}"))
//! }
//! ```
//!
//! `events` sends server-sent events to many clients. `on_request` returns [`Answer::events`] and keeps
//! the key of the connection, `on_tick` writes to each key, and `on_leave` removes the key. The bytes
//! of an [`Event`] are made once:
//!
//! ```
//! use oneloop::{Event, FieldError, Hub, Key};
//!
//! fn on_tick(hub: &mut Hub<'_>, listeners: &[Key], seconds: &str) -> Result<(), FieldError> {
//!     let bytes: Vec<u8> = Event::data(seconds).id(seconds)?.into();
//!     for key in listeners {
//!         // A listener that reads too slowly misses a second.
//!         let _ = hub.write(*key, bytes.clone());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! `upload` writes a body of any size to the disk, and holds one piece at a time:
//!
//! ```
//! use std::{fs::File, io::Write};
//! use oneloop::http::Status;
//! use oneloop::{Answer, Uptake};
//!
//! fn on_body(file: &mut File, piece: &[u8]) -> Uptake {
//!     match file.write_all(piece) {
//!         Ok(()) => Uptake::More,
//!         Err(_) => Uptake::Refuse(Answer::empty(Status::InsufficientStorage)),
//!     }
//! }
//! ```
//!
//! `login` gives out a cookie, and refuses an opening handshake without it:
//!
//! ```
//! use oneloop::http::Status;
//! use oneloop::{Answer, Request};
//!
//! fn on_open(request: &Request<'_>, secret: &str) -> Result<(), Answer> {
//!     match request.cookie("user") {
//!         Some(value) if value == secret => Ok(()),
//!         _ => Err(Answer::text("log in first\n").status(Status::Forbidden)),
//!     }
//! }
//! ```
//!
//! `worker` has a database, whose calls block, in a thread of its own. `on_request` hands the key and
//! the question to the thread, and returns [`Answer::later`]. The thread comes back by the [`Handle`]:
//!
//! ```
//! use oneloop::{Answer, Handle, Key, Stopped};
//!
//! fn done(handle: &Handle, key: Key, result: String) -> Result<(), Stopped> {
//!     handle.run(move |hub| {
//!         // An error tells that the client has left.
//!         let _ = hub.answer(key, Answer::text(result));
//!     })
//! }
//! ```
//!
//! The server calls these methods:
//!
//! | when | method |
//! |---|---|
//! | the endpoint is added | `methods`, `takes_websocket`, `interval` |
//! | a request without a body has come | `on_request` |
//! | a request with a body has come | `on_head`; then `on_request` with the whole body, or `on_body` for each piece and `on_request` at the end |
//! | the head of a stream was queued, or a stream has room again | `on_stream_room` |
//! | a client has left before the end of its upload, or of its answer | `on_leave` |
//! | an opening handshake has come | `protocols`, `on_open` |
//! | a WebSocket message has come; the peer has room again; the connection has ended | `on_message`; `on_room`; `on_close` |
//! | a time has come | `on_tick`, `on_timer` |
//!
//! And these are the rules:
//!
//! - *A method must not block.* All connections wait for it. Work of more than about a millisecond
//!   belongs to a thread. A write to a file is at the edge: it waits for a slow disk.
//! - *An error is at the call.* A field with a line ending, a second answer, or more bytes than a head
//!   has announced gives an error to the endpoint, and no byte of it reaches the peer.
//! - *Memory is bounded by back-pressure.* Stop writing when [`Hub::has_room`] or [`Session::has_room`]
//!   says `false`, and go on in `on_stream_room` or `on_room`. Return [`Uptake::Wait`] when an upload
//!   comes too fast, and call [`Hub::resume`] later. The memory of your own value has the bound that
//!   you give it: forget a key in `on_leave` or `on_close`.
//! - *A key names one connection, and never another.* A call for a connection that has ended does
//!   nothing, or gives an error. A key may be kept in a map, or sent to a thread.
//! - *A client may leave while an answer is to come later.* `on_leave` tells of a reset. A client that
//!   only ends its own direction may still read, so it gets its answer.
//! - *The handle is the only way in from another thread.* It can be cloned and sent. [`Handle::stop`]
//!   ends the work in flight in an orderly way, and then [`Server::run`] returns.
//! - *A panic in a method ends the program*, or the thread of the loop: there is no other state to go
//!   on with.
//!
//! # The order of reading
//!
//! From the top down, with the lines of the functions that matter most:
//!
//! 1. [`server`]: one turn of the loop; `Server::turn` is that list as code (with the signals), in 34 lines.
//! 2. [`connection`]: `Connection::pump`, through which every byte goes, in 34 lines.
//! 3. [`connection::mode`]: the state machine, drawn, as methods and as a table of 38 transitions.
//! 4. [`transport`]: the demands of edge-triggered readiness; `Tcp::read`, in 19 lines.
//! 5. [`http`]: a resumable parser; `HeadParser::take_lines`, in 12 lines.
//! 6. [`websocket`]: frames, taken apart where they lie; `Reader::read`, in 30 lines.
//! 7. [`site`]: a file that is fresh for each request, and nearly free.
//! 8. [`server::reload`]: live reload, from an event of the kernel to a message for each page.
//! 9. [`Endpoint`]: the interface for your own program, with eight examples in `benches/examples`
//!    (`echo`, `chat` and `ticker` are the shortest). `/echo` and `/rooms/NAME` are made with it.
//!
//! # To extend it
//!
//! *A mode*: a file in `connection/mode` with a struct, its way in, `step`, `wants`, and if need be a
//! deadline and `abandon`; a variant of [`Mode`](connection::Mode), where the compiler then asks for each
//! answer; rows in [`TRANSITIONS`](connection::TRANSITIONS); a script in the simulation.
//!
//! *A thing that concerns two connections*: an [`Effect`](connection::Effect), which the server carries
//! out in *deliver*. A connection must not reach another one in any other way.
//!
//! *A transport below HTTP*, such as another library for TLS: an implementation of
//! [`Transport`](transport::Transport) around [`Tcp`](transport::Tcp), not of `Socket`, because `Tcp` takes a short read as proof of
//! an empty socket, which a record of TLS is not; and a variant of [`Channel`](transport::Channel). `Tls` is the example.
//!
//! # Dependencies
//!
//! The loop, the protocols and the state machines are this crate's own, on `mio`, `slab` and `memchr`,
//! with `wide` to compare sixteen bytes at a time in safe code, and with `sha1` and `base64` for the
//! opening handshake (and `sha1` for boundaries; both for passwords). Everything else comes from
//! libraries, of which none starts a thread: `rustix` (safe system calls), `memmap2` (memory that goes
//! back to the system), `clap` (the command line, by the feature `cli`, which is on by default),
//! `clap_complete` and `clap_mangen` (completions and a page for man(1), by the feature `manual`), `listenfd` (sockets from
//! systemd, with the feature `cli`), `if-addrs` and `qrcodegen` (the addresses of this machine and a QR code of one, with
//! the feature `cli`), `glob` (the patterns of `--ignore`), `hdrhistogram` (the spread of times), `httpdate` (the three forms of an HTTP-date), `serde_json` (the
//! messages of live reload and of the inspector), `flate2` on `zlib-rs` (gzip and permessage-deflate),
//! `brotli` (a content coding), `jiff` (local time in the log, dates in a listing), `mime_guess` (media
//! types), `rustls` on `ring` (TLS, by the feature `tls`, which is on by default; `ring` needs a C compiler), `rcgen`
//! and `x509-parser` (certificates, with the feature `tls`), `percent-encoding` (queries, links, and the `Location` of a redirect) and `signal-hook-mio`
//! (signals as events).

#[cfg(not(target_os = "linux"))]
compile_error!(
    "oneloop runs on Linux alone for now: its loop relies on epoll's edges, sendfile and openat2"
);

#[cfg(feature = "tls")]
pub mod certificates;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod connection;
pub mod http;
pub mod lives;
pub mod server;
pub mod site;
pub mod sys;
pub mod transport;
pub mod websocket;

pub use config::Config;
pub use connection::{
    Answer, Endpoint, Event, FieldError, Full, Hub, Intake, Key, Memory, Message, NotTaken,
    Request, Session, Uptake,
};
pub use server::{BoundServer, Handle, Server, StartError, Stopped};
pub use websocket::{CloseCode, Protocols};
