//! Floor 0, config: the bounds of a server on time, memory and work per turn, each with its unit, its
//! default and the reason for the default.

use std::time::Duration;

use super::SlowMember;

/// The bounds of the server. The comment on each field says: the bounded quantity and its unit; the
/// default; the consequence over the bound; and the reason for the default.
///
/// The simulation draws very small values for the bounds, so that a run reaches each of them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request head, from the request line to the empty line. Default: 32 KiB.
    ///
    /// Over the bound, the answer is 431, or 414 if the request target alone is over its own bound.
    ///
    /// Why 32 KiB: browsers send a few hundred bytes, and cookies are the part of a head that
    /// grows. Cookies do not know ports, so a browser sends the cookies of every server on
    /// `localhost` to each of them: 17 KB were seen. Two such heads fit into a read buffer. A value
    /// above 65,535 has the effect of 65,535, because offsets into a head are 16 bits wide.
    pub head_bytes_max: usize,
    /// Bytes of a request target. Default: 8,000.
    ///
    /// Over the bound, the answer is 414.
    ///
    /// Why 8,000: RFC 9110 §4.1 recommends support for URIs of 8,000 bytes or more, and RFC 9112 §3
    /// recommends the same length for a request line.
    pub target_bytes_max: usize,
    /// Field lines in a request head. Default: 100.
    ///
    /// Over the bound, the answer is 431.
    ///
    /// Why 100: Apache httpd has the same default (`LimitRequestFields`), so a client that works
    /// with httpd stays within the bound.
    pub fields_max: usize,
    /// Bytes of content in a request body. Default: 1 MiB.
    ///
    /// Over the bound, the answer is 413, and the connection ends. A body within the bound is read
    /// on any request, even if no endpoint wants the body: the next request begins after the body,
    /// so the connection can go on. (Exceptions: the body of a denied request or of a refused
    /// handshake, a body in a content coding for an endpoint, and an unwanted body for which the
    /// client first waits for a 100.)
    ///
    /// Why 1 MiB: a body for an endpoint is kept in memory until the last byte has come. nginx has
    /// the same default (`client_max_body_size`).
    pub body_bytes_max: usize,
    /// Bytes of a read buffer: as many bytes of a connection are read, and not yet consumed, at a
    /// time. Default: 64 KiB. A value below `head_bytes_max` has the effect of `head_bytes_max`,
    /// because a whole head must fit.
    ///
    /// With a full buffer, the server reads no more from the connection, and TCP holds the peer
    /// back.
    ///
    /// Why 64 KiB: a WebSocket message of 16 KiB comes with one read. The size costs idle
    /// connections nothing: a connection holds a buffer only while the buffer has bytes in it.
    pub read_buffer_bytes: usize,
    /// Bytes of a WebSocket message from a peer, counted on the wire and again after inflating.
    /// Default: 16 MiB.
    ///
    /// Over the bound, the connection is closed with the code 1009.
    ///
    /// Why 16 MiB: the largest message of the Autobahn conformance suite (case 9.1.6) has this
    /// size.
    pub message_bytes_max: usize,
    /// Bytes of a WebSocket message that the server compresses before sending. Default: 256 KiB.
    ///
    /// A larger message is sent uncompressed, and so is a message below `deflated_bytes_min`.
    ///
    /// Why 256 KiB: a message is compressed in one go, and compressing this many bytes takes a
    /// millisecond or so of a turn.
    pub deflated_bytes_max: usize,
    /// Bytes of the smallest WebSocket message that the server compresses. Default: 64.
    ///
    /// A smaller message is sent uncompressed.
    ///
    /// Why 64: compressing a smaller message gains nothing.
    pub deflated_bytes_min: usize,
    /// Connections that are open at once. Default: 10,000.
    ///
    /// Over the bound, the next connection waits unread until a slot is free, and further
    /// connections wait in the backlog. Slots become free in three ways: the connection that has
    /// been idle longest is closed, if that is at least `eviction_idle_time` (an idle WebSocket
    /// connection only if no other is idle, with the code 1001); connections are asked to end with
    /// their next answer, one in each `turnover_time`; and connections end as always. If no slot
    /// becomes free for `newcomer_time`, up to 64 of the waiting connections get a 503.
    ///
    /// Why 10,000: the round number of the "C10K problem"; an idle connection costs about
    /// 300 bytes. Descriptors are scarcer than memory, so the program lowers the bound to three
    /// quarters of the descriptors that it may open.
    pub connections_max: usize,
    /// The time for which a connection must have been idle before the server closes it to make
    /// space for another connection. Default: 1 s.
    ///
    /// Why 1 s: a client that has just read an answer may be sending its next request, which a
    /// close would destroy. With eviction at once, twice as many busy clients as `connections_max`
    /// only evicted each other (measured: a 200th of the throughput).
    pub eviction_idle_time: Duration,
    /// At `connections_max`, while a new connection waits: the time after which the server asks one
    /// more connection to end with its next answer (`Connection: close`). Default: 2 ms.
    ///
    /// Why 2 ms: at most 500 clients a second must connect again, which costs a few percent of the
    /// throughput, and a client that comes after a hundred others is answered within 0.2 s or so.
    pub turnover_time: Duration,
    /// At `connections_max`, the time that a new connection waits for a slot. Default: 5 s.
    ///
    /// Over the bound, the new connection and up to 63 others that wait after it get a 503. (Then
    /// the time begins anew, so a flood of new connections is not answered by a flood of 503s.)
    ///
    /// Why 5 s: slots that stay occupied for so long belong to WebSocket connections or slow
    /// downloads, and a person who waits for a page should be told.
    pub newcomer_time: Duration,
    /// Bytes that all connections hold together in read buffers, request bodies, messages and write
    /// buffers, with the histories of the rooms. Default: 256 MiB.
    ///
    /// Over half of the bound, connections are held back: a write buffer has room for an eighth of
    /// `write_buffer_high` only (for messages of rooms too), a connection reads at most an eighth of
    /// `read_buffer_bytes` ahead, and an encoder waits for its reader. Over the whole bound, the
    /// connections that hold most are ended until an eighth of the bound is free: while a request
    /// comes in with a 503, a WebSocket connection with the code 1013, and a connection whose memory is
    /// output that its peer does not take at once. A connection that holds at most 24 KiB goes on. A
    /// room drops its history with the next message. Within one batch of 64 connections, the bound may
    /// be exceeded by the bytes that these read in a turn.
    ///
    /// Why 256 MiB: about 26 KiB for each of 10,000 connections, and affordable on a developer's
    /// machine. The program lowers the bound to a quarter of the memory that it may use, which is
    /// the least of `RLIMIT_AS`, `RLIMIT_DATA` and the limits of its cgroups. The rest is needed
    /// because a failed allocation would end the process: the cache of files is not in this sum, a
    /// large message exists twice while it is copied, and an allocator cannot use every gap again.
    pub memory_bytes_max: usize,
    /// Bytes in the write buffer of a connection. Default: 64 KiB.
    ///
    /// At or above the bound, the connection answers no further request or message, and reads no
    /// further input, except for the body of a request and for input that is thrown away in
    /// `Lingering`. Below the bound, the next answer or the next
    /// slice of a body (of at most `turn_bytes`) is queued whole, so the buffer may then hold about
    /// the sum of the two bounds.
    ///
    /// Why 64 KiB: enough to keep a fast reader busy for a turn.
    pub write_buffer_high: u64,
    /// Bytes in the write buffer of a WebSocket connection up to which other connections and
    /// endpoints may add messages. Default: 1 MiB.
    ///
    /// Over the bound, a message of a room is not queued for this member (`slow_member` names the
    /// consequence), and an endpoint that sends a message gets the error `Full`. An empty write
    /// buffer takes one message of any size.
    ///
    /// Why 1 MiB: equal to `effects_bytes_max`, so a member with an empty write buffer can take all
    /// waiting messages.
    pub write_buffer_max: u64,
    /// The treatment of a room member whose write buffer is over `write_buffer_max`. Default:
    /// [`SlowMember::Drop`].
    ///
    /// Why: a member on a slow network stays in the room, and hears the room again as soon as there
    /// is space. The summary of the server says how many messages were missed.
    pub slow_member: SlowMember,
    /// Messages in the history of a room, which new members can ask for. Default: 64.
    ///
    /// Over the bound, the room drops its oldest message.
    ///
    /// Why 64: enough for a new member of a chat to see the context.
    pub room_messages_max: usize,
    /// Bytes of the messages in the history of a room. Default: 64 KiB.
    ///
    /// Over the bound, the room drops its oldest messages.
    ///
    /// Why 64 KiB: a new member gets the history at once, and this is far below `write_buffer_max`.
    /// For `room_messages_max` messages, the bound is 1 KiB each.
    pub room_bytes_max: usize,
    /// Empty rooms that are kept for their history. Default: 256.
    ///
    /// Over the bound, the room that has been empty longest is forgotten.
    ///
    /// Why 256: with histories of `room_bytes_max` bytes, the empty rooms then hold at most 16 MiB.
    pub empty_rooms_max: usize,
    /// Effects that wait for delivery. Default: 128.
    ///
    /// At the bound, WebSocket connections whose messages would queue more effects are paused, and
    /// go on one after the other when the queue has room again.
    ///
    /// Requests for an endpoint and answers to them do not count: there is at most one for each client.
    /// Of the pieces of streams, the bytes count.
    ///
    /// Why 128: in a room of a thousand members, 128 messages are delivered in a dozen rounds of writes.
    pub effects_max: usize,
    /// Bytes of the messages in the effects that wait for delivery. Default: 1 MiB.
    ///
    /// At the bound, connections are paused as for `effects_max`.
    ///
    /// Why 1 MiB: `effects_max` messages of 8 KiB each. A single larger message is always taken.
    pub effects_bytes_max: usize,
    /// Deliveries between two rounds of writes, where an effect counts once and a message counts once
    /// more for each recipient. Default: 20,000.
    ///
    /// Over the bound, the rest of the effects waits until each recipient has been written to. An
    /// effect is not split, so the last effect may exceed the bound.
    ///
    /// Why 20,000: a message for ten thousand members is as many deliveries. If messages come faster
    /// than they can be written one at a time, at least two leave with one write for each member, and
    /// twenty for a thousand members. Until then, each delivery of up to 4 KiB is a copy, 80 MiB in all.
    pub deliveries_per_flush: usize,
    /// Work of one turn, in units of about a microsecond of the processor. Default: 500.
    ///
    /// Over the bound, the rest of the work waits for the next turn, in order. Requests that ask
    /// little are served first. After them, each kind of work that can wait (connections that ask
    /// much, deliveries, and deadlines) gets what is left, but at least a quarter of the bound. A
    /// piece of work is not split, so the last piece of a turn may exceed the bound.
    ///
    /// Why 500: a request that comes in a turn waits for the end of the turn. With 1,000, the 99th
    /// percentile of a small request beside heavy work was about twice as long, and no load was served
    /// faster (measured). Much shorter turns would spend their time on the wait for events, a system call.
    pub turn_work: u32,
    /// Work of one connection when it is pumped, in the same unit. Default: 256.
    ///
    /// Over the bound, the connection goes on in the next turn in which there is time for it.
    ///
    /// Why 256: half a turn. Less would interrupt the small messages of one read.
    pub connection_work: u32,
    /// Bytes that one connection may read and write when it is pumped. Default: 256 KiB. The last
    /// write may exceed the bound, and the first read of a turn and the flush after a delivery have a
    /// budget of their own. A slice of a large body has at most this size too.
    ///
    /// Over the bound, the connection goes on in the next turn.
    ///
    /// Why 256 KiB: moving this many bytes takes about the time of a hundred small requests. A
    /// single peer cannot make other peers wait longer.
    pub turn_bytes: usize,
    /// Rounds of the pump for one connection in one turn; a round is one trip through step, write
    /// and read. Default: 8.
    ///
    /// Over the bound, the connection goes on in the next turn.
    ///
    /// Why 8: a round makes at most one read and one write of the socket. Bytes alone would let a
    /// peer that sends a few bytes at a time cause any number of system calls in one turn.
    pub turn_rounds: u32,
    /// Steps of one connection in one turn. Default: 64.
    ///
    /// Over the bound, the connection goes on in the next turn.
    ///
    /// Why a bound of steps: with bounds of bytes and rounds alone, a few peers that pipeline tiny
    /// requests make every other peer wait (measured: 57 ms against 1.5 ms).
    pub turn_steps: u32,
    /// Connections that are accepted from one listener in one turn. Default: 64.
    ///
    /// Over the bound, the remaining connections wait in the backlog for the next turn. So they do once
    /// accepting has taken a quarter of [`turn_work`](Limits::turn_work): each new connection is another that
    /// asks little, and a flood of them would stand before the requests of the open connections.
    ///
    /// Why 64: a batch of the step *run* has the same size.
    pub accepts_per_turn: u32,
    /// The time for which the server stops accepting after a failure of accept(2), such as having
    /// no descriptor left. Default: 100 ms. The pause ends earlier if a connection closes.
    ///
    /// Why 100 ms: ten failing system calls a second cost nothing, and a client hardly notices the
    /// delay.
    pub accept_pause: Duration,
    /// The time from the first byte of a request to the end of its head. Default: 10 s.
    ///
    /// Over the bound, the answer is 408, and the connection ends. Sending a byte now and then does
    /// not extend the time.
    ///
    /// Why 10 s: a head is one packet or a few, and 10 s leave time for three retransmissions of
    /// TCP (1 + 2 + 4 s, RFC 6298).
    pub head_time: Duration,
    /// The time that a connection may be open without a request, when new or after an answer.
    /// Default: 30 s.
    ///
    /// Over the bound, the connection is closed without an answer.
    ///
    /// Why 30 s: between the defaults of Apache httpd (5 s) and nginx (75 s). Idle connections cost
    /// little, and a browser saves a handshake by keeping one.
    pub idle_time: Duration,
    /// The time for each 16 KiB that a peer takes while output is waiting, and for each 16 KiB of a
    /// request body. Default: 30 s.
    ///
    /// Over the bound, a connection with waiting output is closed, and a late body gets a 408. A
    /// transfer as a whole has no limit of time.
    ///
    /// Why 30 s: the slowest peer that is served moves about 550 bytes a second. Counting in
    /// portions means that a peer cannot hold a connection open by moving single bytes.
    pub stall_time: Duration,
    /// The time after which a WebSocket peer that has sent nothing gets a ping. Default: 20 s.
    ///
    /// Why 20 s: proxies close a silent connection after a time, which is 60 s by default in nginx
    /// (`proxy_read_timeout`). The answer to the ping keeps the connection open.
    pub ping_time: Duration,
    /// The time after a ping for any bytes to come from the WebSocket peer. Default: 20 s. The time
    /// does not run while the connection is held back because its write buffer is full: the pong
    /// may be among the bytes that the server does not read then.
    ///
    /// Over the bound, the connection is closed with the code 1011.
    ///
    /// Why 20 s: a peer that has vanished is found out 40 s after its last byte, and a peer on a
    /// bad network has time to answer.
    pub pong_time: Duration,
    /// The time for which a connection to a backend is kept for the next request. Default: 2 s. A backend
    /// that tells a shorter time (`Keep-Alive: timeout=N`) gets half of that.
    ///
    /// Why 2 s: a server closes idle connections too, at a time of its own, and a request on its way is
    /// then lost. Node waits 5 s.
    pub backend_idle_time: Duration,
    /// The time that a backend has for its 100, before a client that waits for one gets a 100 from this
    /// server. Default: 1 s.
    ///
    /// Why 1 s: curl waits so long before it sends the body all the same.
    pub continue_time: Duration,
    /// How long the answer of a backend may make no progress after the client has ended its direction.
    /// Default: 5 s. Nothing tells a client that is gone from one that only ends its own direction.
    ///
    /// Over the bound, the connection is closed, and so is that to the backend.
    ///
    /// Why 5 s: a browser that leaves resets the connection at the next byte, so only a silent answer
    /// needs the bound.
    pub half_close_time: Duration,
    /// In a tunnel, how long a direction lasts without a byte after the other has ended. Default: 30 s.
    ///
    /// Over the bound, both connections are closed.
    ///
    /// Why 30 s: equal to `stall_time`.
    pub tunnel_end_time: Duration,
    /// In `Lingering`, the time since the peer last sent a byte, and since our FIN. Default: 2 s.
    ///
    /// Over the bound, the connection is closed although the peer has not closed its side. At a
    /// stop, the same time decides whether a connection between two requests lingers: a peer that
    /// got an answer within this time may be sending its next request.
    ///
    /// Why 2 s: the value of Apache httpd (`SECONDS_TO_LINGER`).
    pub linger_idle_time: Duration,
    /// In `Lingering`, the time since our FIN, even if the peer goes on sending. Default: 30 s.
    ///
    /// Over the bound, the connection is closed.
    ///
    /// Why 30 s: the value of Apache httpd (`MAX_SECS_TO_LINGER`) and of nginx (`lingering_time`).
    pub linger_time: Duration,
    /// In `Lingering`, the bytes of one peer that are read and thrown away. Default: 64 MiB.
    ///
    /// Over the bound, the connection is closed with a reset.
    ///
    /// Why 64 MiB: many clients send a whole upload before they read the answer. A client whose
    /// upload was refused can send up to this many bytes and still gets the refusal.
    pub linger_bytes_max: usize,
    /// The time that requests in flight have to finish after the first SIGINT or SIGTERM. Default:
    /// 10 s.
    ///
    /// Over the bound, the server ends, and the remaining connections with it.
    ///
    /// Why 10 s: as long as `head_time`, so a request head on its way can still come whole.
    pub stop_time: Duration,
    /// Bytes of a file that is kept in memory and answered from there. Default: 64 KiB.
    ///
    /// A larger file is kept open and sent by sendfile(2).
    ///
    /// Why 64 KiB: from about this size on, sendfile(2) is cheaper, for clients with large and with
    /// small receive buffers. At 32 KiB memory needs 0.87 to 1.0 times the CPU time of sendfile(2), at
    /// 64 KiB 0.95 to 1.07 times, and at 100 KiB 1.2 times.
    pub cached_file_bytes_max: usize,
    /// Bytes of the answers in the cache. Default: 16 MiB. A file that is kept open counts as 256
    /// KiB.
    ///
    /// Over the bound, the cache evicts answers that were not used lately (the clock algorithm).
    ///
    /// Why 16 MiB: the cache then keeps at most 64 files open, which spares descriptors for
    /// connections.
    pub cache_bytes_max: usize,
    /// The time for which a file is kept open without a request for it. Default: 20 s.
    ///
    /// Over the bound, the file is closed. The server looks twice in this time, so a file may be
    /// closed after half of the time.
    ///
    /// Why 20 s: a visitor of a site asks for the next page sooner. A deleted file that is held
    /// open still occupies the disk, and a disk with an open file cannot be unmounted.
    pub unused_file_time: Duration,
    /// Encoders of content codings at work at once. Default: 4.
    ///
    /// At the bound, a file is sent without a content coding. For clients that do not accept that,
    /// twice as many encoders may be at work; at that bound, the answer is 503.
    ///
    /// Why 4: each encoder may take a millisecond or so of a turn.
    pub encoders_max: usize,
    /// Bytes of a file that is compressed on the fly. Default: 8 MiB.
    ///
    /// A larger file is sent without a content coding. The encoded result is kept in the cache if
    /// the result is at most a quarter of the bound (2 MiB).
    ///
    /// Why 8 MiB: an encoder compresses 16 KiB a turn, so a file of this size occupies one of the
    /// few encoders for 512 turns. The encoder does not wait for its reader, so a slow reader holds
    /// at most this many bytes in its write buffer. The bytes are charged to the account of memory;
    /// over half of `memory_bytes_max`, encoders do wait.
    pub encoded_file_bytes_max: u64,
    /// The largest number of entries of a directory whose list is made at once. Default: 250.
    ///
    /// The list of a larger directory is read, sorted and sent slice by slice, in chunks, and has no
    /// entity tag.
    pub listed_at_once: usize,
    /// Bytes of the access log that wait for a slow reader of standard output, or for a full disk.
    /// Default: 64 KiB. Warnings that wait for standard error have the same bound.
    ///
    /// Over the bound, lines are dropped, and a later line says how many (on standard error if the
    /// format has no such line).
    ///
    /// Why 64 KiB: as much again as a pipe holds on Linux by default.
    pub log_bytes_max: usize,
    /// The time for which a test endpoint holds an answer back, and the time of a body that it sends
    /// slowly. Default: 60 s.
    ///
    /// Over the bound, the answer is 400.
    ///
    /// Why 60 s: longer than the usual deadlines of clients, which are to be tested.
    pub test_time_max: Duration,
    /// Bytes of a body that a test endpoint makes. Default: 1 GiB.
    ///
    /// Over the bound, the answer is 400.
    ///
    /// Why 1 GiB: a fast network takes some seconds for it. The bytes are made as the client takes them.
    pub test_bytes_max: u64,
    /// Timers of a test endpoint: answers that are held back, and bodies that are sent slowly. Default:
    /// 1,000.
    ///
    /// At the bound, the answer is 503. The timer of a client that has left counts until its time comes.
    ///
    /// Why 1,000: more clients at once are for endpoints that answer at once.
    pub test_waiting_max: usize,
    /// The time for which a request waits for the target of a proxy that refuses connections. Default:
    /// 10 s.
    ///
    /// Over the bound, the answer is 502.
    ///
    /// Why 10 s: a program that is built and started again after a save is gone for some seconds.
    pub proxy_wait: Duration,
    /// The time until the target of a proxy has sent the head of its answer, after the last byte of the
    /// request; and, but not below [`proxy_wait`](Limits::proxy_wait), until it has taken the next 16 KiB of
    /// the request. Default: 120 s.
    ///
    /// Over the bound, the answer is 504.
    ///
    /// Why 120 s: servers that ask a language model take a minute and more, and no person waits longer
    /// for a page.
    pub proxy_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes_max: 32 << 10,
            target_bytes_max: 8_000,
            fields_max: 100,
            body_bytes_max: 1 << 20,
            read_buffer_bytes: 64 << 10,
            message_bytes_max: 16 << 20,
            deflated_bytes_max: 256 << 10,
            deflated_bytes_min: 64,
            connections_max: 10_000,
            eviction_idle_time: Duration::from_secs(1),
            turnover_time: Duration::from_millis(2),
            newcomer_time: Duration::from_secs(5),
            memory_bytes_max: 256 << 20,
            write_buffer_high: 64 << 10,
            write_buffer_max: 1 << 20,
            slow_member: SlowMember::Drop,
            room_messages_max: 64,
            room_bytes_max: 64 << 10,
            empty_rooms_max: 256,
            effects_max: 128,
            effects_bytes_max: 1 << 20,
            deliveries_per_flush: 20_000,
            turn_work: 500,
            connection_work: 256,
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
            backend_idle_time: Duration::from_secs(2),
            continue_time: Duration::from_secs(1),
            half_close_time: Duration::from_secs(5),
            tunnel_end_time: Duration::from_secs(30),
            linger_idle_time: Duration::from_secs(2),
            linger_time: Duration::from_secs(30),
            linger_bytes_max: 64 << 20,
            stop_time: Duration::from_secs(10),
            cached_file_bytes_max: 64 << 10,
            cache_bytes_max: 16 << 20,
            unused_file_time: Duration::from_secs(20),
            encoders_max: 4,
            encoded_file_bytes_max: 8 << 20,
            listed_at_once: 250,
            log_bytes_max: 64 << 10,
            test_time_max: Duration::from_secs(60),
            test_bytes_max: 1 << 30,
            test_waiting_max: 1_000,
            proxy_wait: Duration::from_secs(10),
            proxy_timeout: Duration::from_secs(120),
        }
    }
}
