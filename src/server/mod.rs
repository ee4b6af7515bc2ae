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

mod delivery;
mod driver;
mod endpoints;
mod log;
mod rooms;
mod start;
mod timers;

pub use driver::{Driver, Event, MioDriver, Signal, Source};
pub use endpoints::{Echo, PostEcho, RoomsEndpoint};
pub use log::Log;
pub use rooms::Rooms;
pub use start::{StartError, Started};
pub use timers::Timers;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::config::Limits;
use crate::connection::{
    Budget, Connection, Context, Counters, Effects, Endpoint, Endpoints, Exchange, Key, Now,
    Transitions, Verdict,
};
use crate::http::{HeadLimits, HttpDate};
use crate::site::{Files, Site};
use crate::sys;
use crate::transport::{Pool, Transport};
use crate::websocket::deflate::{Deflater, Inflater};

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

/// What all connections share: lent to each in turn, while it is worked on.
struct Common<F: Files> {
    site: Site<F>,
    pool: Pool,
    date: HttpDate,
    limits: Limits,
    stopping: bool,
    /// Finished in this turn.
    exchanges: Vec<Exchange>,
    /// Somebody wants to know of exchanges.
    logging: bool,
    /// Left by connections, to be delivered.
    effects: Effects,
    endpoints: Endpoints,
    deflater: Deflater,
    inflaters: Vec<Inflater>,
    counters: Counters,
    transitions: Transitions,
}

impl<F: Files> Common<F> {
    fn context(&mut self, now: Now) -> Context<'_, F> {
        let limits = &self.limits;
        Context {
            now,
            site: &mut self.site,
            date: &self.date,
            pool: &mut self.pool,
            limits,
            head_limits: HeadLimits {
                head_bytes_max: limits.head_bytes_max,
                target_bytes_max: limits.target_bytes_max,
                fields_max: limits.fields_max,
            },
            budget: Budget::new(limits),
            stopping: self.stopping,
            exchanges: self.logging.then_some(&mut self.exchanges),
            effects: &mut self.effects,
            endpoints: &mut self.endpoints,
            deflater: &mut self.deflater,
            inflaters: &mut self.inflaters,
            throttled: false,
            counters: &mut self.counters,
            transitions: &mut self.transitions,
        }
    }
}

/// The server: a driver, a site, and the connections between them.
pub struct Server<D: Driver, F: Files<File = <D::Stream as Transport>::File>> {
    driver: D,
    common: Common<F>,
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

    /// Connections beyond the limit that are kept for as long as it takes to tell them so.
    const REJECTED_MAX: usize = 64;

    /// A server with this number of listeners.
    pub fn new(driver: D, listeners: usize, site: Site<F>, limits: Limits) -> Self {
        let now = driver.now();
        let rooms = Rooms::new(&limits);
        Server {
            driver,
            common: Common {
                site,
                pool: Pool::new(
                    limits.read_buffer_bytes.max(limits.head_bytes_max),
                    limits.memory_bytes_max,
                ),
                date: HttpDate::new(now.wall),
                limits,
                stopping: false,
                exchanges: Vec::new(),
                logging: false,
                effects: Effects::default(),
                endpoints: Endpoints::default(),
                deflater: Deflater::default(),
                inflaters: Vec::new(),
                counters: Counters::default(),
                transitions: Transitions::default(),
            },
            connections: Slab::new(),
            generation: 0,
            runnable: VecDeque::new(),
            timers: Timers::new(now.instant),
            rooms,
            ticks: Vec::new(),
            // There may be connections since before the listeners were registered.
            acceptable: vec![true; listeners],
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
        let number = self.common.site.mount(path, endpoint.takes_posts());
        if let Some(every) = endpoint.interval() {
            self.ticks.push(Tick {
                endpoint: number,
                every,
                next: self.driver.now().instant + every,
            });
        }
        self.common.endpoints.add(Box::new(endpoint));
        self
    }

    /// Writes each exchange to `log`, and what befalls the server to standard error.
    #[must_use]
    pub fn with_log(mut self, log: Log) -> Self {
        self.common.logging = log.wants_exchanges();
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
        let now = self.driver.now();
        self.common.date.update(now.wall);
        let mut signalled = false;
        for event in events.drain(..) {
            signalled |= self.mark(event);
        }
        self.events = events;
        if signalled && self.signals(now) == Flow::Stopped {
            return Ok(Flow::Stopped);
        }
        self.accept(now);
        self.run_queued(now);
        self.deliver(now);
        self.expire(now);
        self.record();
        Ok(match self.stop_at {
            Some(at) if self.connections.is_empty() || at <= now.instant => Flow::Stopped,
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
        !self.common.effects.is_empty() || self.rooms.has_news()
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
    fn signals(&mut self, now: Now) -> Flow {
        while self.driver.signal().is_some() {
            if self.stop_at.is_some() {
                return Flow::Stopped;
            }
            self.stop(now);
        }
        Flow::Continue
    }

    /// Begins to stop: no new connections, no further requests, but what is in flight is finished.
    fn stop(&mut self, now: Now) {
        self.stop_at = Some(now.instant + self.common.limits.stop_time);
        self.common.stopping = true;
        // Whoever has connected already is served: their handshake was ours to complete. Closing a
        // listener resets those that are still in its backlog, so that is emptied first, however
        // many rounds of accepting that takes; more than it holds are not waited for.
        self.acceptable.fill(true);
        self.accept_paused_until = None;
        for _ in 0..=start::BACKLOG.unsigned_abs() / self.common.limits.accepts_per_turn {
            self.accept(now);
        }
        self.driver.close_listeners();
        self.acceptable.clear();
        for (_, slot) in &mut self.connections {
            enqueue(slot, &mut self.runnable);
        }
    }

    fn accept(&mut self, now: Now) {
        if self
            .accept_paused_until
            .is_some_and(|until| now.instant < until)
        {
            return;
        }
        self.accept_paused_until = None;
        self.idle = None;
        for listener in 0..self.acceptable.len() {
            for _ in 0..self.common.limits.accepts_per_turn {
                if !self.acceptable[listener] {
                    break;
                }
                match self.driver.accept(listener as u8) {
                    Ok((stream, peer)) => self.admit(stream, peer, now),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        self.acceptable[listener] = false;
                    }
                    Err(e) if is_passing(&e) => {}
                    Err(e) => {
                        // The flag stays: with edges, no event would come for those who wait.
                        self.accept_paused_until =
                            Some(now.instant + self.common.limits.accept_pause);
                        if sys::is_exhausted(&e) {
                            self.common.site.close_files();
                            self.driver.shed(listener as u8);
                        }
                        if let Some(log) = &mut self.log {
                            log.cannot_accept(&e, now.instant);
                        }
                        return;
                    }
                }
            }
        }
    }

    /// Takes in a new connection. It is pumped in this turn: its request is usually there already.
    /// At the limit, one that is idle has to go for it, or it is told that there is no room. When
    /// there are too many even of those, it is dropped.
    fn admit(&mut self, stream: D::Stream, peer: SocketAddr, now: Now) {
        self.common.counters.connections += 1;
        let open = self.connections.len();
        let max = self.common.limits.connections_max;
        let rejected = open >= max && !self.evict_one_idle();
        if rejected && open >= max + Self::REJECTED_MAX {
            self.common.counters.shed += 1;
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        let entry = self.connections.vacant_entry();
        let key = Key::new(entry.key(), self.generation);
        let slot = entry.insert(Slot {
            connection: Connection::new(key, stream, peer, now.instant),
            queued: false,
            pending_flush: false,
            registered: false,
        });
        if rejected {
            slot.connection
                .reject_overloaded(&mut self.common.context(now));
        }
        enqueue(slot, &mut self.runnable);
    }

    /// Tells the connection that has been idle longest to go; it does when it is pumped, in this
    /// turn. `false` if none is idle. All are looked at once a turn, and only at the limit.
    fn evict_one_idle(&mut self) -> bool {
        if self.idle.is_none() {
            let idle = |(_, slot): (usize, &Slot<_, _>)| {
                let since = slot.connection.idle_since()?;
                Some((since, slot.connection.key()))
            };
            let mut oldest: Vec<_> = self.connections.iter().filter_map(idle).collect();
            oldest.sort_unstable_by_key(|(since, key)| std::cmp::Reverse((*since, key.index())));
            self.idle = Some(oldest.into_iter().map(|(_, key)| key).collect());
        }
        let oldest = self.idle.as_mut().and_then(Vec::pop);
        let Some(slot) = oldest.and_then(|key| get(&mut self.connections, key)) else {
            return false;
        };
        slot.connection.evict_if_idle();
        enqueue(slot, &mut self.runnable);
        true
    }

    /// Pumps what is queued now; what is queued meanwhile is for the next turn.
    fn run_queued(&mut self, now: Now) {
        let mut left = self.runnable.len();
        let mut batch = mem::take(&mut self.batch);
        while left > 0 {
            let n = left.min(Self::BATCH);
            left -= n;
            batch.extend(self.runnable.drain(..n));
            for key in &batch {
                if let Some(slot) = get(&mut self.connections, *key) {
                    slot.queued = false;
                    slot.connection.fill(&mut self.common.context(now));
                }
            }
            self.common.site.begin_epoch();
            for key in batch.drain(..) {
                self.pump(key, now);
            }
        }
        self.batch = batch;
        // In front, in their order: whoever has had its say comes behind them.
        for key in self.throttled.drain(..).rev() {
            self.runnable.push_front(key);
        }
    }

    fn pump(&mut self, key: Key, now: Now) {
        let Some(slot) = get(&mut self.connections, key) else {
            return;
        };
        match slot.connection.pump(&mut self.common.context(now)) {
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
                        return self.remove(key, now);
                    }
                    slot.registered = true;
                }
            }
            Verdict::Close => return self.remove(key, now),
        }
        let deadline = slot.connection.deadline(&self.common.limits);
        self.timers.arm(key.index(), deadline);
    }

    fn remove(&mut self, key: Key, now: Now) {
        if let Some(slot) = get(&mut self.connections, key) {
            // It stays in its rooms until its last mail is delivered, which says that it is gone: what it
            // said before that is still to be heard.
            slot.connection.release(&mut self.common.context(now));
            let cause = slot.connection.cause().expect("released means closed");
            self.common.counters.count(cause);
            self.timers.disarm(key.index());
            self.connections.remove(key.index());
            // There is a descriptor again.
            self.accept_paused_until = None;
        }
    }

    fn expire(&mut self, now: Now) {
        let mut due = mem::take(&mut self.due);
        self.timers.advance(now.instant, &mut due);
        for index in due.drain(..) {
            // A closed connection is disarmed, so there is one.
            let Some(slot) = self.connections.get_mut(index) else {
                continue;
            };
            match slot.connection.deadline(&self.common.limits) {
                Some(at) if at > now.instant => self.timers.arm(index, Some(at)),
                Some(_) => {
                    slot.connection.expire(&mut self.common.context(now));
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
            log.record(&mut self.common.exchanges, now);
            self.common.logging = log.wants_exchanges();
        }
    }
}

/// What the simulation looks at.
impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// The open connections.
    pub fn connections(&self) -> impl Iterator<Item = &Connection<F, D::Stream>> {
        self.connections.iter().map(|(_, slot)| &slot.connection)
    }

    /// The transitions between modes that have been seen.
    pub fn transitions(&self) -> Transitions {
        self.common.transitions
    }

    /// The deadlines.
    pub fn timers(&self) -> &Timers {
        &self.timers
    }

    /// What has happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.common.counters
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
        assert_eq!(buffers, self.common.pool.buffers_out(), "a buffer was lost");
        assert!(
            self.timers.armed() <= self.connections.len(),
            "a deadline for nobody"
        );
        if self.connections.is_empty() && self.common.effects.is_empty() {
            let held = self.common.pool.account().used();
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

/// Whether an error of accept(2) concerns that one connection alone: it is gone, the next may be
/// fine.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
