//! One TCP connection: what the two kernels and the network between them hold of it, and what
//! epoll(7) with `EPOLLET` says about the server's end.
//!
//! **The rules of the edge**, which everything depends on. The kernel keeps one bit for each
//! registered socket: *on the ready list*. The bit is set when bytes or a FIN arrive, when a reset
//! comes, and when the send buffer has room again after it had none. It is not set by what was
//! there before: nothing is repeated. epoll_wait(2) takes the bit away and reports what is true of
//! the socket at that moment, so that any number of arrivals become one event, and an event may
//! come for bytes that have been read meanwhile. Registration looks once, and sets the bit if
//! something is ready already.
//!
//! A FIN that arrives together with bytes is one edge with them. A server that reads the bytes and
//! thinks it has seen all is not told again.

use std::io::{self, ErrorKind};
use std::time::Instant;

use oneloop::connection::Key;
use oneloop::transport::Ready;

use crate::weather::PATIENCE;

/// Who holds the server's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerEnd {
    /// The kernel: nobody has accepted it yet.
    Backlog,
    /// The server.
    Open,
    /// The kernel again, for as long as there is something to send.
    Closed,
}

#[derive(Debug)]
pub struct Wire {
    /// Whose connection it is.
    pub client: usize,
    pub end: ServerEnd,
    /// It was closed because the server had no descriptor for it: the client tries again.
    pub is_shed: bool,
    /// The name under which epoll reports it.
    pub key: Option<Key>,
    /// It is on epoll's ready list.
    on_ready_list: bool,
    /// When something last came for the server: a connection, bytes, room, an end.
    pub touched: Instant,
    receive_buffer: usize,
    send_buffer: usize,

    /// Sent by the client and not arrived.
    in_flight: Vec<u8>,
    /// A FIN is behind these.
    fin_in_flight: bool,
    /// The server's receive queue: arrived and not read.
    received: Vec<u8>,
    /// A FIN is behind these.
    fin_received: bool,
    /// The server has been told so.
    fin_read: bool,

    /// The server's send queue, what is on its way, and the client's receive queue, in one: a
    /// reset destroys the first two everywhere, and on many systems the third.
    queue: Vec<u8>,
    /// How many bytes the server has ever sent.
    sent: usize,
    /// A FIN is behind these.
    fin_sent: bool,
    /// `SOCK_NOSPACE`: the server wanted more room than there was, so it is told when there is.
    no_space: bool,

    /// The client has called close(2): what still comes for it is answered with a reset.
    client_closed: bool,
    /// The client has sent a reset, or this has been answered with one.
    reset: bool,
    /// `SO_ERROR`: what the next call of the server reports, once.
    error: Option<ErrorKind>,
    /// The server's kernel has sent a reset.
    client_is_reset: bool,

    /// A read was told EAGAIN, and no event has said otherwise.
    read_blocked: bool,
    /// The same for writes.
    write_blocked: bool,
    /// From when on the server may try a write all the same.
    may_look: Instant,
}

impl Wire {
    pub fn new(client: usize, receive_buffer: usize, send_buffer: usize, now: Instant) -> Wire {
        Wire {
            client,
            end: ServerEnd::Backlog,
            is_shed: false,
            key: None,
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
            fin_sent: false,
            no_space: false,
            client_closed: false,
            reset: false,
            error: None,
            client_is_reset: false,
            read_blocked: false,
            write_blocked: false,
            may_look: now,
        }
    }

    fn edge(&mut self, now: Instant) {
        self.on_ready_list = true;
        self.touched = now;
    }

    // ── The client's system calls ──────────────────────────────────────────────────────────────

    pub fn client_send(&mut self, bytes: &[u8]) {
        if !self.reset && !self.client_is_reset {
            self.in_flight.extend_from_slice(bytes);
        }
    }

    pub fn client_shutdown(&mut self) {
        self.fin_in_flight = true;
    }

    /// Gives the client up to `n` bytes of what the server has sent, and says how many.
    pub fn client_recv(&mut self, n: usize, into: &mut Vec<u8>, now: Instant) -> usize {
        let n = n.min(self.queue.len());
        move_bytes(&mut self.queue, into, n);
        if self.no_space && self.has_space() {
            self.no_space = false;
            self.edge(now);
        }
        n
    }

    /// Whether the client has been told that nothing more will come.
    pub fn is_over(&self) -> bool {
        self.client_is_reset || (self.fin_sent && self.queue.is_empty())
    }

    /// close(2), which is a reset if the client leaves something unread.
    pub fn client_close(&mut self, now: Instant) {
        if !self.queue.is_empty() {
            return self.client_reset(now);
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

    /// Lets up to `n` bytes arrive at the server, or the FIN behind them, and says how many; `None`
    /// if nothing can.
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
            // There is no socket any more: RFC 9293 §3.10.7.1.
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

    /// Whether all that the client has sent so far has arrived.
    pub fn has_arrived(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether the server has read it, too.
    pub fn is_all_read(&self) -> bool {
        self.has_arrived() && self.received.is_empty()
    }

    /// Whether the server has read all, and the client too.
    pub fn is_quiet(&self) -> bool {
        self.is_all_read() && self.queue.is_empty() && !self.fin_sent && !self.fin_in_flight
    }

    // ── The server's system calls ──────────────────────────────────────────────────────────────

    pub fn accept(&mut self, now: Instant) {
        self.end = ServerEnd::Open;
        (self.touched, self.may_look) = (now, now + PATIENCE);
    }

    /// recv(2). What has arrived is given as far as it fits: a shorter answer than that would be
    /// one that no kernel gives, and a server may conclude from a short read that there is no more.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        assert!(
            !self.read_blocked,
            "a read is tried although nothing was reported since EAGAIN"
        );
        let n = into.len().min(self.received.len());
        if n > 0 {
            into[..n].copy_from_slice(&self.received[..n]);
            self.received.drain(..n);
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
        Err(ErrorKind::WouldBlock.into())
    }

    /// send(2), cut after `n` bytes, as a signal would.
    pub fn write(&mut self, bytes: &[u8], n: usize, now: Instant) -> io::Result<usize> {
        // Linux tells of room only when there is much. Before a server gives up on a peer, it may look
        // whether there is a little, and go on looking as long as there is.
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
        let (wanted, space) = (bytes.len().min(n), self.send_buffer - self.queue.len());
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
            // Taken by our kernel, and refused by the client's.
            true => self.client_reset(now),
            false => self.queue.extend_from_slice(&bytes[..n]),
        }
        self.sent += n;
        Ok(n)
    }

    /// How many bytes the server has sent so far.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// shutdown(2) of the write direction.
    pub fn shutdown(&mut self) -> io::Result<()> {
        if self.reset {
            return Err(ErrorKind::NotConnected.into());
        }
        self.fin_sent = true;
        Ok(())
    }

    /// close(2). With unread input it sends a reset instead of a FIN, and the answer is lost.
    pub fn close(&mut self) {
        self.end = ServerEnd::Closed;
        match self.received.is_empty() {
            true => self.fin_sent = true,
            false => self.reset_client(),
        }
    }

    // ── epoll ──────────────────────────────────────────────────────────────────────────────────

    /// epoll_ctl(2), `EPOLL_CTL_ADD`: looks once at what is there already.
    pub fn register(&mut self, key: Key) {
        self.key = Some(key);
        self.on_ready_list = self.poll() != Ready::default();
    }

    /// Takes it from the ready list; `None` if it was not on it, or if nothing is ready any more.
    pub fn take_event(&mut self) -> Option<Ready> {
        let reported = std::mem::take(&mut self.on_ready_list) && self.is_reported();
        let ready = reported.then(|| self.poll())?;
        (ready != Ready::default()).then_some(ready)
    }

    /// Whether there are events for this connection: it is registered, and open.
    pub fn is_reported(&self) -> bool {
        self.key.is_some() && self.end == ServerEnd::Open
    }

    /// Whether there is something to read, of which the server was told, and no reason to leave it:
    /// output that is held up is one.
    pub fn is_neglected(&self) -> bool {
        let unread = !self.received.is_empty() || (self.fin_received && !self.fin_read);
        let waits = unread && !self.write_blocked;
        self.is_reported() && !self.on_ready_list && (waits || self.error.is_some())
    }

    /// Notes that the server has been told this, true or not: it may try what it was told.
    pub fn told(&mut self, ready: Ready) {
        self.read_blocked &= !ready.readable;
        self.write_blocked &= !ready.writable;
    }

    /// What is true now, of both directions, whatever brought the event about.
    fn poll(&mut self) -> Ready {
        let writable = self.reset || self.has_space();
        self.no_space |= !writable;
        Ready {
            readable: self.reset || self.fin_received || !self.received.is_empty(),
            writable,
            peer_closed: self.reset || self.fin_received,
        }
    }

    /// Linux calls a socket writable when a third of its send buffer is free: a byte is not worth
    /// an event.
    fn has_space(&self) -> bool {
        3 * (self.send_buffer - self.queue.len()) >= self.send_buffer
    }
}

/// Moves the first `n` bytes of a queue to the end of another.
fn move_bytes(from: &mut Vec<u8>, to: &mut Vec<u8>, n: usize) {
    to.extend_from_slice(&from[..n]);
    from.drain(..n);
}
