//! Floor 5, server: all connections, and the loop. It knows everything below and decides when; what
//! to do is decided on the floors below.
//!
//! **One turn**: wait → mark → accept → run → deliver → expire → record.
//!
//! 1. *wait* until something happens or the next deadline; not at all while something is runnable.
//! 2. *mark*: an event only sets the readiness of its connection and queues it. Nothing else is
//!    done in reaction to an event, so a stale or spurious one can do no harm.
//! 3. *accept* a bounded number. It comes after marking, so that no event of this batch can meet
//!    a connection that was accepted in it. When descriptors run out, accepting rests.
//! 4. *run* what is queued, in chunks: first read for all of a chunk, then let them answer (why:
//!    see [`site`](crate::site)). A connection whose budget is spent is queued again.
//! 5. *deliver* the mail that connections have left: what is said in rooms, and bodies for endpoints.
//!    Each connection that has got something is then written to, once.
//! 6. *expire*: tell those whose deadline has passed.
//! 7. *record*: write the log.

mod accept;
mod delivery;
mod driver;
mod endpoints;
mod log;
mod rooms;
mod start;
pub(crate) mod timers;

pub use driver::{Driver, Event, MioDriver, Signal, Source};
pub use endpoints::{Echo, PostEcho, RoomsEndpoint};
pub use log::Log;
pub use start::{BoundServer, StartError};

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::config::Limits;
use crate::connection::{
    Connection, Context, Counters, Endpoint, Key, Shared, Tally, Transitions, Turn, Verdict,
};
use crate::site::{Files, Site};
use crate::transport::{Pool, Transport};
use rooms::Rooms;
use timers::Timers;

/// A connection in the slab.
struct Slot<F: Files, T: Transport<File = F::File>> {
    connection: Connection<F, T>,
    /// In `runnable`, once.
    queued: bool,
    /// In `pending_flush`, once.
    pending_flush: bool,
    /// The driver reports its events. A connection that is done before the first wait is spared
    /// the call.
    registered: bool,
}

/// What the caller of [`Server::turn`] does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Call it again.
    Continue,
    /// The server has stopped.
    Stopped,
}

/// The server: a driver, a site, and the connections between them.
pub struct Server<D: Driver, F: Files<File = <D::Stream as Transport>::File>> {
    driver: D,
    turn: Turn,
    shared: Shared<F>,
    tally: Tally,
    connections: Slab<Slot<F, D::Stream>>,
    /// Accepted connections so far.
    generation: u32,
    /// Those to be pumped, each once.
    runnable: VecDeque<Key>,
    timers: Timers,
    rooms: Rooms,
    /// The endpoints that want to be called now and then.
    ticks: Vec<Tick>,
    /// For each listener, whether there may be connections to accept.
    acceptable: Vec<bool>,
    /// Accepting rests until then: there were no descriptors.
    accept_paused_until: Option<Instant>,
    /// A signal has come: the time when what is not finished is dropped.
    stop_at: Option<Instant>,
    log: Option<Log>,
    /// The idle connections, those idle longest last; asked for at most once a turn.
    idle: Option<Vec<Key>>,
    /// Storage for one turn, kept to be used again.
    events: Vec<Event>,
    batch: Vec<Key>,
    due: Vec<usize>,
    throttled: Vec<Key>,
    recipients: Vec<Key>,
    pending_flush: Vec<Key>,
}

/// When an endpoint is called although nothing happens.
struct Tick {
    endpoint: u16,
    every: Duration,
    next: Instant,
}

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// Connections in one chunk. Reading for many before the first is answered lets one look at a
    /// file serve them all; reading for too many would need as many buffers.
    const BATCH: usize = 64;

    /// A server with this number of listeners.
    pub fn new(driver: D, listeners: usize, site: Site<F>, limits: Limits) -> Self {
        let now = driver.now();
        let rooms = Rooms::new(&limits);
        Server {
            driver,
            shared: Shared::new(
                site,
                Pool::new(
                    limits.read_buffer_bytes.max(limits.head_bytes_max),
                    limits.memory_bytes_max,
                ),
            ),
            tally: Tally::default(),
            connections: Slab::new(),
            generation: 0,
            runnable: VecDeque::new(),
            timers: Timers::new(now.instant),
            rooms,
            ticks: Vec::new(),
            // There may be connections since before the listeners were registered.
            acceptable: vec![true; listeners],
            turn: Turn::new(now, limits),
            accept_paused_until: None,
            stop_at: None,
            log: None,
            idle: None,
            events: Vec::new(),
            batch: Vec::new(),
            due: Vec::new(),
            throttled: Vec::new(),
            recipients: Vec::new(),
            pending_flush: Vec::new(),
        }
    }

    /// Lets `endpoint` answer at `path`, by WebSocket and, if it likes, to POST. A `*` at the end of the
    /// path stands for any one segment. Of two endpoints for a path, the one that was added last answers.
    ///
    /// # Panics
    /// If the path does not begin with a slash.
    #[must_use]
    pub fn with_endpoint(mut self, path: &str, endpoint: impl Endpoint + 'static) -> Self {
        let number = self.shared.site.mount(path, endpoint.takes_posts());
        if let Some(every) = endpoint.interval() {
            self.ticks.push(Tick {
                endpoint: number,
                every,
                next: self.driver.now().instant + every,
            });
        }
        self.shared.endpoints.add(Box::new(endpoint));
        self
    }

    /// Writes each exchange to `log`, and what befalls the server to standard error.
    #[must_use]
    pub fn with_log(mut self, log: Log) -> Self {
        self.tally.is_logging = log.wants_exchanges();
        self.log = Some(log);
        self
    }

    /// Turns until it is told to stop.
    ///
    /// # Errors
    /// Those of [`Driver::wait`].
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn()? == Flow::Continue {}
        Ok(())
    }

    /// One turn of the loop.
    ///
    /// # Errors
    /// Those of [`Driver::wait`].
    pub fn turn(&mut self) -> io::Result<Flow> {
        let timeout = self.timeout(self.driver.now().instant);
        let mut events = mem::take(&mut self.events);
        self.driver.wait(&mut events, timeout)?;
        self.turn.begin(self.driver.now());
        let mut signalled = false;
        for event in events.drain(..) {
            signalled |= self.mark(event);
        }
        self.events = events;
        if signalled && self.signals() == Flow::Stopped {
            return Ok(Flow::Stopped);
        }
        self.accept();
        self.run_queued();
        self.deliver();
        self.expire();
        self.record();
        Ok(match self.stop_at {
            Some(at) if self.connections.is_empty() || at <= self.turn.now.instant => Flow::Stopped,
            _ => Flow::Continue,
        })
    }

    /// How long to wait: not at all while there is something to do, else until the next deadline.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let accepting = self.acceptable.contains(&true);
        let busy = !self.runnable.is_empty() || self.has_effects();
        if busy || (accepting && self.accept_paused_until.is_none()) {
            return Some(Duration::ZERO);
        }
        let tick = self.ticks.iter().map(|tick| tick.next).min();
        let log = self.log.as_ref().and_then(|log| log.retry_at(now));
        let resume = self.accept_paused_until.filter(|_| accepting);
        [self.timers.next(), resume, self.stop_at, log, tick]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.saturating_duration_since(now))
    }

    /// Whether something is left to be delivered.
    fn has_effects(&self) -> bool {
        !self.shared.effects.is_empty() || self.rooms.has_news()
    }

    /// Remembers what an event said. `true` if it was about signals.
    fn mark(&mut self, event: Event) -> bool {
        match event.source {
            Source::Connection(key) => {
                // None: an event for a connection that was closed after the kernel reported it.
                if let Some(slot) = get(&mut self.connections, key) {
                    slot.connection.mark(event.ready);
                    enqueue(slot, &mut self.runnable);
                }
            }
            Source::Listener(number) => {
                if let Some(flag) = self.acceptable.get_mut(usize::from(number)) {
                    *flag = true;
                }
            }
            Source::Signals => return true,
        }
        false
    }

    /// The first signal begins a graceful stop, the second ends everything.
    fn signals(&mut self) -> Flow {
        while self.driver.signal().is_some() {
            if self.stop_at.is_some() {
                return Flow::Stopped;
            }
            self.stop();
        }
        Flow::Continue
    }

    /// Begins to stop: no new connections, no further requests, but what is in flight is finished.
    fn stop(&mut self) {
        self.stop_at = Some(self.turn.now.instant + self.turn.limits.stop_time);
        self.turn.stopping = true;
        // Whoever has connected already is served: their handshake was ours to complete. Closing a
        // listener resets those that are still in its backlog, so that is emptied first, however
        // many rounds of accepting that takes; more than it holds are not waited for.
        self.acceptable.fill(true);
        self.accept_paused_until = None;
        for _ in 0..=start::BACKLOG.unsigned_abs() / self.turn.limits.accepts_per_turn {
            self.accept();
        }
        self.driver.close_listeners();
        self.acceptable.clear();
        for (_, slot) in &mut self.connections {
            enqueue(slot, &mut self.runnable);
        }
    }

    /// Pumps what is queued now; what is queued meanwhile is for the next turn.
    fn run_queued(&mut self) {
        let mut left = self.runnable.len();
        let mut batch = mem::take(&mut self.batch);
        while left > 0 {
            let n = left.min(Self::BATCH);
            left -= n;
            batch.extend(self.runnable.drain(..n));
            let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
            for key in &batch {
                if let Some(slot) = get(&mut self.connections, *key) {
                    slot.queued = false;
                    cx.renew_budget();
                    slot.connection.fill(cx);
                }
            }
            self.shared.site.begin_epoch();
            for key in batch.drain(..) {
                self.pump(key);
            }
        }
        self.batch = batch;
        // In front, in their order: whoever has had its say comes behind them.
        for key in self.throttled.drain(..).rev() {
            self.runnable.push_front(key);
        }
    }

    fn pump(&mut self, key: Key) {
        let Some(slot) = get(&mut self.connections, key) else {
            return;
        };
        let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
        match slot.connection.pump(cx) {
            Verdict::Again => enqueue(slot, &mut self.runnable),
            Verdict::Throttled => {
                slot.queued = true;
                self.throttled.push(key);
            }
            Verdict::Wait => {
                // Once, and only if it is to be waited for. The kernel then reports what has
                // come since the last read, so nothing is missed in between.
                if !slot.registered {
                    let stream = slot.connection.transport_mut();
                    if self.driver.register(stream, key).is_err() {
                        return self.remove(key);
                    }
                    slot.registered = true;
                }
            }
            Verdict::Close => return self.remove(key),
        }
        let deadline = slot.connection.deadline(&self.turn.limits);
        self.timers.arm(key.index(), deadline);
    }

    fn remove(&mut self, key: Key) {
        if let Some(slot) = get(&mut self.connections, key) {
            // It stays in its rooms until its last mail is delivered, which says that it is gone: what it
            // said before that is still to be heard.
            let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
            slot.connection.release(cx);
            let cause = slot.connection.cause().expect("released means closed");
            self.tally.counters.count(cause);
            self.timers.disarm(key.index());
            self.connections.remove(key.index());
            // There is a descriptor again.
            self.accept_paused_until = None;
        }
    }

    fn expire(&mut self) {
        let mut due = mem::take(&mut self.due);
        let now = self.turn.now.instant;
        self.timers.advance(now, &mut due);
        for index in due.drain(..) {
            // A closed connection is disarmed, so there is one.
            let Some(slot) = self.connections.get_mut(index) else {
                continue;
            };
            match slot.connection.deadline(&self.turn.limits) {
                Some(at) if at > now => self.timers.arm(index, Some(at)),
                Some(_) => {
                    let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
                    slot.connection.expire(cx);
                    enqueue(slot, &mut self.runnable);
                }
                None => {}
            }
        }
        self.due = due;
    }

    /// Hands the turn's exchanges to the log.
    fn record(&mut self) {
        if let Some(log) = &mut self.log {
            let now = || self.driver.now();
            log.record(&mut self.tally.exchanges, now);
            self.tally.is_logging = log.wants_exchanges();
        }
    }
}

/// What the simulation looks at.
impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.connections.len()
    }

    /// The transitions between modes that have been seen.
    pub fn transitions(&self) -> Transitions {
        self.tally.transitions
    }

    /// How many deadlines are armed.
    pub fn armed_deadlines(&self) -> usize {
        self.timers.armed()
    }

    /// What has happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.tally.counters
    }

    /// The seam to the world.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    /// Whether nothing will happen until an event or a deadline.
    pub fn is_quiet(&self) -> bool {
        self.runnable.is_empty() && !self.has_effects() && !self.acceptable.contains(&true)
    }

    /// Checks what must hold between turns.
    ///
    /// # Panics
    /// If it does not.
    pub fn check(&self) {
        let mut queued = 0;
        let mut buffers = 0;
        for (index, slot) in &self.connections {
            slot.connection.check();
            assert_eq!(slot.connection.key().index(), index);
            queued += usize::from(slot.queued);
            buffers += usize::from(slot.connection.holds_buffer());
            assert!(
                slot.queued || slot.registered,
                "nobody will ever call this connection again"
            );
        }
        assert_eq!(queued, self.runnable.len(), "queued once each, and alive");
        assert_eq!(buffers, self.shared.pool.buffers_out(), "a buffer was lost");
        assert!(
            self.timers.armed() <= self.connections.len(),
            "a deadline for nobody"
        );
        if self.connections.is_empty() && self.shared.effects.is_empty() {
            let held = self.shared.pool.account().used();
            let remembered = self.rooms.charged_bytes();
            assert_eq!(held, remembered, "memory is held for nobody");
            assert!(
                self.rooms.is_deserted(),
                "somebody is in a room who is gone"
            );
        }
    }
}

/// The tenant that a key names, if it is still there.
fn get<F: Files, T: Transport<File = F::File>>(
    slots: &mut Slab<Slot<F, T>>,
    key: Key,
) -> Option<&mut Slot<F, T>> {
    slots
        .get_mut(key.index())
        .filter(|slot| slot.connection.key() == key)
}

fn enqueue<F: Files, T: Transport<File = F::File>>(
    slot: &mut Slot<F, T>,
    runnable: &mut VecDeque<Key>,
) {
    if !mem::replace(&mut slot.queued, true) {
        runnable.push_back(slot.connection.key());
    }
}
