//! Floor 0: what the server is told before it starts. Every bound of the crate is in [`Limits`],
//! with its unit, its default and the reason for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

/// What to serve, where, and how much of everything to allow.
#[derive(Clone, Debug)]
pub struct Config {
    /// A directory, or one file.
    pub root: PathBuf,
    /// Addresses to listen on, all with the same port.
    pub bind: Bind,
    /// The port.
    pub port: Port,
    /// How each request is logged.
    pub log: LogFormat,
    /// Follow symbolic links out of the root; within it they always work.
    pub follow_symlinks: bool,
    /// Host names to be served under, beside `localhost`, the names below it and all IP addresses; and
    /// origins whose pages may send unsafe requests and open WebSocket connections. A dot in front, as
    /// in `.example.org`, stands for that name and all below it; `*` is every name. They are compared
    /// without regard to case, ports do not count, and what is no name matches nothing.
    pub allow_hosts: Vec<String>,
    /// Serve the endpoints that exist to test clients and the server: `POST /_oneloop/echo`
    /// answers with the body it got.
    pub test_endpoints: bool,
    /// The bounds.
    pub limits: Limits,
}

impl Config {
    /// The configuration of `oneloop ROOT`: port 8080 (or the next that is free) on loopback, no
    /// log.
    pub fn new(root: impl Into<PathBuf>) -> Config {
        Config {
            root: root.into(),
            bind: Bind::Loopback,
            port: Port::Preferred(8080),
            log: LogFormat::Off,
            follow_symlinks: false,
            allow_hosts: Vec::new(),
            test_endpoints: false,
            limits: Limits::default(),
        }
    }
}

/// Where to listen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bind {
    /// 127.0.0.1, and ::1 where there is IPv6: the default, since a development server should
    /// not be open to the network by accident.
    Loopback,
    /// Just these; each must succeed.
    Addresses(Vec<IpAddr>),
}

impl Bind {
    /// The addresses that must be bound, and the ones that the server may start without.
    pub fn addresses(&self) -> (Vec<IpAddr>, Vec<IpAddr>) {
        match self {
            Bind::Loopback => (
                vec![Ipv4Addr::LOCALHOST.into()],
                vec![Ipv6Addr::LOCALHOST.into()],
            ),
            Bind::Addresses(list) => (list.clone(), Vec::new()),
        }
    }
}

/// Which port to listen on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Port {
    /// This one, or, when it is taken, one of the next [`Port::HOPS`].
    Preferred(u16),
    /// This one or none. 0 lets the kernel choose.
    Exactly(u16),
}

impl Port {
    /// How many ports after the preferred one are tried.
    pub const HOPS: u16 = 20;
}

/// The form of the access log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// `12:34:56.789 GET /app.js 200 78 B 0.2 ms #3`, for people.
    Pretty,
    /// The "combined" format of Apache httpd and nginx, for tools.
    Combined,
    /// One JSON object a line.
    Json,
    /// No log.
    Off,
}

/// What becomes of a member of a room that does not take what is said there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlowMember {
    /// It misses messages, which are counted.
    Drop,
    /// It is closed with the code 1013.
    Close,
}

/// Every bound. The simulation draws them tiny, so that each one is met.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request head, from the request line to the empty line, 16 KiB; over it 431.
    /// Browsers send a few hundred; cookies are what grows. At most 65,535: offsets into a head
    /// are 16 bits wide.
    pub head_bytes_max: usize,
    /// Bytes of a request target, 8,000; over it 414. RFC 9112 §3 asks for at least 8,000.
    pub target_bytes_max: usize,
    /// Field lines in a head, 100; over it 431. As many as nginx and httpd allow or more.
    pub fields_max: usize,
    /// Bytes of content in a request body, 1 MiB; over it 413. Bodies within the bound are read on
    /// any request, so that the connection can go on.
    pub body_bytes_max: usize,
    /// Bytes that are read from a connection at a time, 64 KiB, and at least `head_bytes_max`. A buffer
    /// of this size is lent while there is something in it.
    pub read_buffer_bytes: usize,
    /// Bytes of a WebSocket message, 16 MiB, as it is sent and inflated; over it the close code 1009.
    pub message_bytes_max: usize,
    /// Bytes of a message that is compressed before it is sent, 256 KiB, which takes a millisecond or so
    /// of a turn. Larger ones are sent as they are, and so are those below `deflated_bytes_min`.
    pub deflated_bytes_max: usize,
    /// The same from below, 64: there is nothing to be gained.
    pub deflated_bytes_min: usize,
    /// Connections open at once, 10,000. Over it those idle longest are closed, and when none is
    /// idle, new ones are told 503. The program lowers it to what the descriptors allow.
    pub connections_max: usize,
    /// Bytes of all read buffers, bodies and write buffers together, 256 MiB. Over it those with much queued
    /// get no more room, and bodies and large heads are refused with 503.
    pub memory_bytes_max: usize,
    /// Bytes waiting in a write buffer above which nothing more is answered or read, 64 KiB: enough
    /// to keep a fast reader busy for a turn.
    pub write_buffer_high: u64,
    /// Bytes in the write buffer of a WebSocket connection above which nobody else may add to them, 1 MiB: what
    /// a room says is dropped for this member, or costs it its place. One message is always taken.
    pub write_buffer_max: u64,
    /// What becomes of a member whose write buffer is full.
    pub slow_member: SlowMember,
    /// Messages that a room remembers for those who come later, 64.
    pub room_messages_max: usize,
    /// Their bytes, 64 KiB.
    pub room_bytes_max: usize,
    /// Rooms without anybody in them that are kept for what they remember, 256.
    pub empty_rooms_max: usize,
    /// Pieces of mail that wait to be delivered, 128; over it nobody who would leave more is heard until
    /// it is less, and then one after the other. In a room of a thousand, 128 messages take a dozen turns.
    pub effects_max: usize,
    /// Bytes of mail that wait to be delivered, 1 MiB, likewise.
    pub effects_bytes_max: usize,
    /// Deliveries of mail in one turn, 10,000: a message for a thousand members is a thousand.
    pub turn_deliveries: usize,
    /// Bytes one connection may move in one turn, 256 KiB: about the time of a hundred small
    /// requests, the most that one peer can make the others wait.
    pub turn_bytes: usize,
    /// Rounds of the pump for one connection in one turn, 8.
    pub turn_rounds: u32,
    /// Steps of one connection in one turn, 64. Bytes and rounds alone let a few peers that
    /// pipeline tiny requests hold everybody up (measured: 57 ms against 1.5 ms).
    pub turn_steps: u32,
    /// Connections accepted from one listener in one turn, 64, so that a storm of them does not
    /// starve those that are open.
    pub accepts_per_turn: u32,
    /// How long accepting rests when there are no descriptors, 100 ms, unless a connection
    /// closes first.
    pub accept_pause: Duration,
    /// From the first byte of a request to the end of its head, 10 s; over it 408. Trickling
    /// does not renew it.
    pub head_time: Duration,
    /// With no request begun, on a fresh or a kept connection, 30 s; over it closed silently.
    pub idle_time: Duration,
    /// While output waits: for each 16 KiB drained, 30 s; over it closed. For each 16 KiB of a
    /// request body the same; over it 408. A transfer as a whole has no limit.
    pub stall_time: Duration,
    /// A WebSocket peer that has said nothing for so long is sent a ping, 20 s.
    pub ping_time: Duration,
    /// For anything to come after that, 20 s; over it closed. While we do not read, because the peer does
    /// not, it does not pass.
    pub pong_time: Duration,
    /// For a peer that we are done with to close its side: 2 s since it last sent something.
    pub linger_idle_time: Duration,
    /// The same, in all: 30 s.
    pub linger_time: Duration,
    /// Bytes of such a peer that are read and thrown away, 64 MiB; over it the connection is
    /// closed with a reset.
    pub linger_bytes_max: usize,
    /// After the first SIGINT or SIGTERM, for requests in flight to finish, 10 s.
    pub stop_time: Duration,
    /// Size of a file that is answered from memory, 64 KiB; larger ones go by sendfile(2), which
    /// is cheaper from about there on.
    pub cached_file_bytes_max: usize,
    /// Bytes of all answers kept in memory, 16 MiB; a file that is kept open counts as 256 KiB.
    pub cache_bytes_max: usize,
    /// Encoders at work at once, 4: each may take a millisecond or so of a turn. While none is to
    /// be had, the file is sent as it is.
    pub encoders_max: usize,
    /// Size of a file up to which it is compressed on the fly, 8 MiB. Results up to a quarter of
    /// that are kept.
    pub encoded_file_bytes_max: u64,
    /// Bytes of the access log that wait for a slow terminal, 64 KiB; over it lines are dropped
    /// and counted.
    pub log_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes_max: 16 << 10,
            target_bytes_max: 8_000,
            fields_max: 100,
            body_bytes_max: 1 << 20,
            read_buffer_bytes: 64 << 10,
            message_bytes_max: 16 << 20,
            deflated_bytes_max: 256 << 10,
            deflated_bytes_min: 64,
            connections_max: 10_000,
            memory_bytes_max: 256 << 20,
            write_buffer_high: 64 << 10,
            write_buffer_max: 1 << 20,
            slow_member: SlowMember::Drop,
            room_messages_max: 64,
            room_bytes_max: 64 << 10,
            empty_rooms_max: 256,
            effects_max: 128,
            effects_bytes_max: 1 << 20,
            turn_deliveries: 10_000,
            turn_bytes: 256 << 10,
            turn_rounds: 8,
            turn_steps: 64,
            accepts_per_turn: 64,
            accept_pause: Duration::from_millis(100),
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(30),
            stall_time: Duration::from_secs(30),
            ping_time: Duration::from_secs(20),
            pong_time: Duration::from_secs(20),
            linger_idle_time: Duration::from_secs(2),
            linger_time: Duration::from_secs(30),
            linger_bytes_max: 64 << 20,
            stop_time: Duration::from_secs(10),
            cached_file_bytes_max: 64 << 10,
            cache_bytes_max: 16 << 20,
            encoders_max: 4,
            encoded_file_bytes_max: 8 << 20,
            log_bytes_max: 64 << 10,
        }
    }
}
