//! A TCP connection: the state of both kernels and of the network in between, and the readiness
//! that epoll(7) with `EPOLLET` reports for the server's end.
//!
//! **The rules of the edge.** Everything depends on these rules. The kernel keeps a bit for each
//! registered socket: *on the ready list*. The bit is set when bytes or a FIN arrive, when a reset
//! arrives, and when the send buffer has space again after being full. An old state does not set
//! the bit: nothing is repeated. epoll_wait(2) clears the bit and reports the present state of the
//! socket, so any number of arrivals become one event, and an event may come for bytes that have
//! been read meanwhile. Registration looks once, and sets the bit if the socket is ready already.
//!
//! A FIN that arrives together with bytes makes a single edge with the bytes. A server that reads
//! the bytes and takes them for everything gets no second event.

use std::io::{self, ErrorKind};
use std::time::Instant;

use oneloop::connection::Key;
use oneloop::transport::Ready;

use crate::toy::ClientEnd;
use crate::weather::PATIENCE;

/// The owner of the server's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerEnd {
    /// The kernel: the server has not accepted the connection yet.
    Backlog,
    /// The server.
    Open,
    /// The kernel again, for as long as bytes are left to send.
    Closed,
}

/// How a script ends its direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Shutdown,
    Close,
}

#[derive(Debug)]
pub struct Wire {
    /// The client of the connection. Without a meaning if the peer is a backend.
    pub client: usize,
    /// The number of the visit, if the peer is a [backend](crate::backend).
    pub visit: Option<usize>,
    /// The backend has not taken the connection yet.
    is_connecting: bool,
    pub end: ServerEnd,
    /// The connection was closed because the server had no descriptor: the client tries again.
    pub is_shed: bool,
    /// The key under which epoll reports the connection.
    pub key: Option<Key>,
    /// The client's end of the [toy](crate::toy) of TLS; `None` if the wire is plain.
    toy: Option<ClientEnd>,
    /// An end of the script that waits for the handshake of the toy.
    ends: Option<End>,
    /// The end of the script was announced in the toy: the FIN behind it need not be read.
    has_announced: bool,
    /// Whether the connection is on epoll's ready list.
    on_ready_list: bool,
    /// When a connection, bytes, space or an end last came for the server.
    pub touched: Instant,
    receive_buffer: usize,
    send_buffer: usize,

    /// Sent by the client and not arrived.
    in_flight: Vec<u8>,
    /// A FIN follows the bytes in flight.
    fin_in_flight: bool,
    /// The server's receive queue: arrived and not read.
    received: Vec<u8>,
    /// A FIN follows the received bytes.
    fin_received: bool,
    /// The server has read the end of file.
    fin_read: bool,

    /// The server's send queue, the bytes on their way, and the client's receive queue, in one: a
    /// reset destroys the first two on every system, and the third on many.
    queue: Vec<u8>,
    /// The number of bytes that the server has ever sent.
    sent: usize,
    /// The number of bytes that the server has ever read.
    taken: usize,
    /// A FIN follows the queue.
    fin_sent: bool,
    /// `SOCK_NOSPACE`: the server wanted more space than was free, so an event comes when space is
    /// free.
    no_space: bool,

    /// The client has left after an end of the server that was not announced in the toy.
    had_bare_end: bool,
    /// The client has called close(2): bytes that still arrive are answered with a reset.
    client_closed: bool,
    /// The client has sent a reset, or its kernel has answered with a reset.
    reset: bool,
    /// `SO_ERROR`: the error that the next call of the server reports, once.
    error: Option<ErrorKind>,
    /// The server's kernel has sent a reset.
    client_is_reset: bool,
    /// `SO_LINGER` with a time of zero.
    resets_at_close: bool,

    /// A read has failed with EAGAIN, and no readable event has come since.
    read_blocked: bool,
    /// A write has failed with EAGAIN, and no writable event has come since.
    write_blocked: bool,
    /// The time from which the server may try a write without an event.
    may_look: Instant,
    /// The time from which on the server may read although nothing was reported.
    may_read: Instant,
}

impl Wire {
    pub fn new(client: usize, receive_buffer: usize, send_buffer: usize, now: Instant) -> Wire {
        Wire {
            client,
            visit: None,
            is_connecting: false,
            end: ServerEnd::Backlog,
            is_shed: false,
            key: None,
            toy: None,
            ends: None,
            has_announced: false,
            on_ready_list: false,
            touched: now,
            receive_buffer,
            send_buffer,
            in_flight: Vec::new(),
            fin_in_flight: false,
            received: Vec::new(),
            fin_received: false,
            fin_read: false,
            queue: Vec::new(),
            sent: 0,
            taken: 0,
            fin_sent: false,
            no_space: false,
            had_bare_end: false,
            client_closed: false,
            reset: false,
            error: None,
            client_is_reset: false,
            resets_at_close: false,
            read_blocked: false,
            write_blocked: false,
            may_look: now,
            may_read: now,
        }
    }

    /// A connection that the server makes. What is called the client here is the backend.
    pub fn to_backend(
        visit: usize,
        receive_buffer: usize,
        send_buffer: usize,
        now: Instant,
    ) -> Wire {
        let mut wire = Wire::new(0, receive_buffer, send_buffer, now);
        wire.accept(now);
        (wire.visit, wire.is_connecting) = (Some(visit), true);
        wire
    }

    /// The backend takes the connection.
    pub fn establish(&mut self, now: Instant) {
        self.is_connecting = false;
        self.edge(now);
    }

    /// The connection is refused.
    pub fn refuse(&mut self, now: Instant) {
        self.is_connecting = false;
        self.client_reset(now);
        self.error = Some(ErrorKind::ConnectionRefused);
    }

    /// Whether the connection was ended by a reset of either end.
    pub fn is_reset(&self) -> bool {
        self.reset || self.client_is_reset
    }

    /// Lets both ends speak the toy of TLS. The client begins.
    pub fn secure(mut self) -> Wire {
        self.toy = Some(ClientEnd::default());
        self.put(&ClientEnd::hello());
        self
    }

    pub fn is_secure(&self) -> bool {
        self.toy.is_some()
    }

    /// Whether a handshake of the toy is under way, as the client knows.
    fn is_opening(&self) -> bool {
        self.toy.as_ref().is_some_and(|toy| !toy.is_open())
    }

    /// Whether the end of the server came to a client that was not told of it, before the client has left.
    pub fn has_bare_end(&self) -> bool {
        let left = self.client_closed || self.reset;
        self.had_bare_end || (!left && self.is_bare_end())
    }

    fn is_bare_end(&self) -> bool {
        let is_told = self.toy.as_ref().is_none_or(|toy| toy.is_told);
        self.is_over() && !is_told && !self.client_is_reset
    }

    fn edge(&mut self, now: Instant) {
        self.on_ready_list = true;
        self.touched = now;
    }

    // ── The client's system calls ──────────────────────────────────────────────────────────────

    pub fn client_send(&mut self, bytes: &[u8]) {
        match &mut self.toy {
            None => self.put(bytes),
            Some(toy) => {
                let bytes = toy.send(bytes);
                self.put(&bytes);
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        if !self.reset && !self.client_is_reset {
            self.in_flight.extend_from_slice(bytes);
        }
    }

    pub fn client_shutdown(&mut self) {
        if let Some(toy) = &self.toy {
            if !toy.is_open() {
                self.ends = Some(End::Shutdown);
                return;
            }
            self.announce();
        }
        self.fin_in_flight = true;
    }

    fn announce(&mut self) {
        self.put(&ClientEnd::end());
        self.has_announced = true;
    }

    /// Gives the client up to `n` of the bytes that the server has sent. Returns their number.
    pub fn client_recv(&mut self, n: usize, into: &mut Vec<u8>, now: Instant) -> usize {
        // A handshake goes on by itself.
        let n = match &self.toy {
            Some(toy) if !toy.is_open() => self.queue.len(),
            Some(_) | None => n.min(self.queue.len()),
        };
        match &mut self.toy {
            None => move_bytes(&mut self.queue, into, n),
            Some(toy) => {
                let bytes: Vec<u8> = self.queue.drain(..n).collect();
                let answer = toy.receive(&bytes, into);
                self.put(&answer);
            }
        }
        if self.no_space && self.has_space() {
            self.no_space = false;
            self.edge(now);
        }
        if self.toy.as_ref().is_some_and(ClientEnd::is_open) {
            match self.ends.take() {
                Some(End::Shutdown) => self.client_shutdown(),
                Some(End::Close) => self.client_close(now),
                None => {}
            }
        }
        n
    }

    /// Whether the client knows that no more bytes will come.
    pub fn is_over(&self) -> bool {
        self.client_is_reset || (self.fin_sent && self.queue.is_empty())
    }

    /// close(2), which is a reset if the client leaves bytes unread.
    pub fn client_close(&mut self, now: Instant) {
        self.had_bare_end |= self.is_bare_end();
        if let Some(toy) = &self.toy {
            if !toy.is_open() && !self.is_over() {
                self.ends = Some(End::Close);
                return;
            }
            if toy.is_idle_talk(&self.queue) {
                self.queue.clear();
            }
        }
        if !self.queue.is_empty() {
            return self.client_reset(now);
        }
        if self.toy.is_some() && !self.fin_in_flight {
            self.announce();
        }
        self.client_closed = true;
        self.fin_in_flight = true;
    }

    pub fn client_reset(&mut self, now: Instant) {
        self.in_flight.clear();
        self.queue.clear();
        if !self.reset {
            self.reset = true;
            self.error = Some(ErrorKind::ConnectionReset);
            self.edge(now);
        }
    }

    // ── The network ────────────────────────────────────────────────────────────────────────────

    /// Lets up to `n` bytes arrive at the server, or the FIN after the last byte. Returns the
    /// number of bytes; `None` if nothing can arrive.
    pub fn arrive(&mut self, n: usize, now: Instant) -> Option<usize> {
        if self.in_flight.is_empty() {
            if !self.fin_in_flight || self.fin_received || self.reset {
                return None;
            }
            self.fin_received = true;
            self.edge(now);
            return Some(0);
        }
        if self.end == ServerEnd::Closed {
            // The socket no longer exists: RFC 9293 §3.10.7.1.
            self.reset_client();
            return Some(0);
        }
        let window = self.receive_buffer - self.received.len();
        let n = n.min(self.in_flight.len()).min(window);
        if n == 0 {
            return None;
        }
        move_bytes(&mut self.in_flight, &mut self.received, n);
        self.edge(now);
        Some(n)
    }

    fn reset_client(&mut self) {
        self.client_is_reset = true;
        self.in_flight.clear();
        self.queue.clear();
    }

    /// Whether every byte that the client has sent so far has arrived.
    pub fn has_arrived(&self) -> bool {
        let has_begun = !self.is_opening() || self.is_over();
        self.in_flight.is_empty() && has_begun
    }

    /// Whether the server has also read every byte.
    pub fn is_all_read(&self) -> bool {
        self.has_arrived() && self.received.is_empty()
    }

    /// Whether the server has read every byte, and the client too.
    pub fn is_quiet(&self) -> bool {
        self.is_all_read() && self.queue.is_empty() && !self.fin_sent && !self.fin_in_flight
    }

    // ── The server's system calls ──────────────────────────────────────────────────────────────

    pub fn accept(&mut self, now: Instant) {
        self.end = ServerEnd::Open;
        (self.touched, self.may_look) = (now, now + PATIENCE);
    }

    /// recv(2) gives as many of the arrived bytes as fit. No kernel gives fewer, and a server may
    /// conclude from a short read that no more bytes have arrived.
    ///
    /// Before a server says that a peer is late, the server may look whether bytes have come that no
    /// event has reported.
    pub fn read(&mut self, into: &mut [u8], now: Instant) -> io::Result<usize> {
        let looks = self.read_blocked;
        assert!(
            !looks || now >= self.may_read,
            "a read is tried although nothing was reported since EAGAIN"
        );
        let n = into.len().min(self.received.len());
        if n > 0 {
            into[..n].copy_from_slice(&self.received[..n]);
            self.received.drain(..n);
            self.taken += n;
            return Ok(n);
        }
        if let Some(error) = self.error.take() {
            return Err(error.into());
        }
        if self.reset || self.fin_received {
            self.fin_read = true;
            return Ok(0);
        }
        self.read_blocked = true;
        if looks {
            // A deadline is reported at most once in a tick, and two ticks may be seen soon after each other.
            self.may_read = now + PATIENCE / 100;
        }
        Err(ErrorKind::WouldBlock.into())
    }

    /// send(2), cut after `n` bytes, as by a signal.
    pub fn write(&mut self, bytes: &[u8], n: usize, now: Instant) -> io::Result<usize> {
        // Linux reports space only when much is free. Before a server gives up on a peer, the
        // server may try whether a little is free, and try again as long as some is.
        let looks = self.write_blocked;
        assert!(
            !looks || now >= self.may_look,
            "a write is tried although no room was reported since EAGAIN"
        );
        assert!(!self.fin_sent, "a write behind our own FIN");
        if let Some(error) = self.error.take() {
            return Err(error.into());
        }
        if self.reset {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let space = match self.is_connecting {
            true => 0,
            false => self.send_buffer - self.queue.len(),
        };
        let wanted = bytes.len().min(n);
        self.no_space |= wanted > space;
        self.write_blocked = space == 0;
        if space == 0 {
            if looks {
                self.may_look = now + PATIENCE;
            }
            return Err(ErrorKind::WouldBlock.into());
        }
        let n = wanted.min(space);
        match self.client_closed {
            // Taken by the server's kernel, and refused by the client's.
            true => self.client_reset(now),
            false => self.queue.extend_from_slice(&bytes[..n]),
        }
        self.sent += n;
        Ok(n)
    }

    /// The number of bytes that the server has sent so far. The bytes of the toy are not the client's, and
    /// do not count.
    pub fn sent(&self) -> usize {
        match self.toy {
            None => self.sent,
            Some(_) => 0,
        }
    }

    /// The number of bytes that the server has read so far.
    pub fn taken(&self) -> usize {
        self.taken
    }

    /// shutdown(2) of the write direction.
    pub fn shutdown(&mut self) -> io::Result<()> {
        if self.reset {
            return Err(ErrorKind::NotConnected.into());
        }
        self.fin_sent = true;
        Ok(())
    }

    /// setsockopt(2) of `SO_LINGER`.
    pub fn reset_at_close(&mut self) {
        self.resets_at_close = true;
    }

    /// close(2). With unread input the kernel sends a reset instead of a FIN, and the answer is
    /// lost.
    pub fn close(&mut self) {
        self.end = ServerEnd::Closed;
        match self.received.is_empty() && !self.resets_at_close {
            true => self.fin_sent = true,
            false => self.reset_client(),
        }
    }

    // ── epoll ──────────────────────────────────────────────────────────────────────────────────

    /// epoll_ctl(2), `EPOLL_CTL_ADD`: looks once at the present readiness.
    pub fn register(&mut self, key: Key) {
        self.key = Some(key);
        self.on_ready_list = self.poll() != Ready::default();
    }

    /// Takes the connection from the ready list; `None` if it was not listed, or is not ready any
    /// more.
    pub fn take_event(&mut self) -> Option<Ready> {
        let reported = std::mem::take(&mut self.on_ready_list) && self.is_reported();
        let ready = reported.then(|| self.poll())?;
        (ready != Ready::default()).then_some(ready)
    }

    /// Whether events come for the connection: it is registered and open.
    pub fn is_reported(&self) -> bool {
        self.key.is_some() && self.end == ServerEnd::Open
    }

    /// Whether the server has left input unread without a reason, although an event was reported.
    /// Blocked output is a reason. After the end of the client's direction there is nothing to read, and
    /// the server finds an error with its next write.
    pub fn is_neglected(&self) -> bool {
        let is_failed = self.error.is_some() && !self.fin_read && !self.has_announced;
        (self.has_untold_input() && !self.write_blocked)
            || (is_failed && self.is_reported() && !self.on_ready_list)
    }

    /// Whether input of which no further event will tell waits to be read.
    pub fn has_untold_input(&self) -> bool {
        let unread_fin = self.fin_received && !self.fin_read && !self.has_announced;
        let unread = !self.received.is_empty() || unread_fin;
        unread && self.is_reported() && !self.on_ready_list
    }

    /// Whether a write has found no space, and no event has told of space since.
    pub fn is_write_blocked(&self) -> bool {
        self.write_blocked
    }

    /// Notes a reported event, true or false: the server may now try the reported directions.
    pub fn told(&mut self, ready: Ready) {
        self.read_blocked &= !ready.readable;
        self.write_blocked &= !ready.writable;
    }

    /// The present state of both directions, whatever caused the event.
    fn poll(&mut self) -> Ready {
        let writable = self.reset || self.has_space();
        self.no_space |= !writable;
        Ready {
            readable: self.reset || self.fin_received || !self.received.is_empty(),
            writable,
            peer_closed: self.reset || self.fin_received,
        }
    }

    /// Linux calls a socket writable when a third of its send buffer is free: a single free byte is
    /// not worth an event.
    fn has_space(&self) -> bool {
        3 * (self.send_buffer - self.queue.len()) >= self.send_buffer && !self.is_connecting
    }
}

/// Moves the first `n` bytes of a queue to the end of another queue.
fn move_bytes(from: &mut Vec<u8>, to: &mut Vec<u8>, n: usize) {
    to.extend_from_slice(&from[..n]);
    from.drain(..n);
}
