//! Floor 4, server: the loop, and the slab of connections. The server knows every floor below. The
//! server decides *when* a connection is moved; the floors below decide *how* the connection moves.
//!
//! Architecture invariant: no module below floor 4 names `server`.
//!
//! # One turn
//!
//! A turn is one trip of the loop: wait → mark → accept → run → couple → deliver → expire → record.
//!
//! 1. *wait* until an event comes or the next deadline passes. Do not wait while a connection is
//!    runnable or an effect is queued: work is left from the turn before.
//! 2. *mark* each event: set the readiness of its connection, and queue the connection. Nothing
//!    more is done in reaction to an event, so a stale or spurious event can do no harm: at
//!    worst, a system call returns EAGAIN. A signal is acted on after the last event is marked.
//! 3. *accept* a bounded number of connections from each listener: a storm of new connections must not
//!    starve the open connections. Accepting comes after marking, because a new connection may get the
//!    slot of a closed one, and must not receive an event of the wait that came before (the generation
//!    in the key is a second defence against the same). When the process runs out of descriptors,
//!    accepting pauses.
//! 4. *run* the queued connections, first the light and then the heavy ones, as far as the turn has
//!    time for them ([`schedule`] tells the two apart). Light connections are run in batches: first
//!    read for each connection of a batch, then answer for each. One look at a file then vouches for
//!    every request of the batch (the reason is told in [`site`](crate::site)). A connection with a
//!    spent budget is queued again, as a heavy one.
//! 5. *couple*: send new requests for backends on, and carry pieces of requests and answers between the
//!    two connections of each pair in which something has changed ([`couple`]).
//! 6. *deliver*: carry out the queued effects. Effects are messages for rooms, changes of who is in
//!    a room, and bodies for endpoints. Only the server may touch two connections, so this work is
//!    the server's. Then each connection with new output is written to once: several messages leave
//!    in a single system call.
//! 7. *expire*: notify the connections whose deadline has passed, and close the files that no
//!    request has asked for lately. See whether files have changed that open pages use ([`reload`]), and send snapshots to
//!    the watchers of the loop ([`inspect`]). Expiring comes late in the turn,
//!    because input that arrived in time must be dealt with before the deadline is looked at.
//! 8. *record*: write the log, with a single write for the turn's records, and the trace if one is
//!    written.
//!
//! While a watcher has paused the loop, part 4 leaves out all connections but those of the watcher
//! ([`inspect`]).
//!
//! Each of the parts 4 to 7 may leave work for the next turn: a turn is short, whatever there is to
//! do.

mod accept;
mod backends;
mod browser;
mod clock;
mod console;
mod couple;
mod deadlines;
mod delivery;
mod driver;
mod endpoints;
mod flood;
mod folder;
mod formats;
mod handle;
mod https;
mod inspect;
#[cfg(feature = "cli")]
mod lan;
mod lines;
mod log;
mod memory;
mod pace;
pub(crate) mod reload;
mod report;
pub(crate) mod schedule;
mod start;
mod stop;
pub(crate) mod timers;
pub mod trace;
mod view;

pub use console::{Console, Hint};
pub use driver::{Change, Driver, Event, Found, MioDriver, Signal, Source, Waker, Watch};
pub use endpoints::{
    Echo, Health, MetricsEndpoint, PostEcho, RoomList, RoomsEndpoint, TestEndpoint,
};
pub use handle::{Handle, Stopped};
pub use https::about_authority;
#[cfg(feature = "cli")]
pub use lan::Lan;
pub use log::Log;
pub use reload::LiveOptions;
pub use start::{BoundServer, Shown, StartError};
pub use trace::Trace;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::config::Limits;
use crate::connection::{
    Connection, Context, Endpoint, Key, Now, Shared, Stopwatch, Tally, TraceRecord, Turn, Verdict,
};
use crate::site::{Files, Site, Takes};
use crate::transport::{Pool, Transport};
use accept::Crowd;
use backends::Backends;
use clock::Clock;
use couple::BackendEnd;
use delivery::Deliveries;
use handle::Jobs;
use inspect::Inspect;
use pace::Pace;
use reload::Reload;
use schedule::{Debt, Runnable, Work};
use timers::Timers;

/// A connection in the slab, with the server's marks.
struct Slot<F: Files, T: Transport<File = F::File>> {
    connection: Connection<F, T>,
    /// Whether the connection is in `runnable`. A connection is never queued twice.
    queued: bool,
    /// Whether the connection is in the queue of the throttled.
    throttled: bool,
    /// Whether the connection is behind the gate.
    held: bool,
    /// Whether the connection used much when it was last pumped.
    heavy: bool,
    /// The work beyond its share that the connection used when it was last pumped.
    debt: Debt,
    /// Whether the connection is in `pending_flush` of the deliveries. A connection is never queued
    /// twice.
    pending_flush: bool,
    /// Whether the connection is in the list of the couples to be looked at.
    is_coupled: bool,
    /// The other connection of the pair, if the connection has one.
    partner: Option<Key>,
    /// The backend, if the connection leads to one.
    backend: Option<BackendEnd>,
    /// Whether the driver reports events for the connection. A connection that ends before its
    /// first wait is never registered, which saves a system call.
    registered: bool,
}

impl<F: Files, T: Transport<File = F::File>> Slot<F, T> {
    /// A slot for a connection in no queue. `backend`: the connection leads there.
    fn new(connection: Connection<F, T>, backend: Option<BackendEnd>) -> Slot<F, T> {
        Slot {
            connection,
            queued: false,
            throttled: false,
            held: false,
            heavy: false,
            debt: Debt::default(),
            pending_flush: false,
            is_coupled: false,
            partner: None,
            backend,
            registered: false,
        }
    }
}

/// The next step for the caller of [`Server::turn`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Call [`Server::turn`] again.
    Continue,
    /// Stop calling: the server has stopped.
    Stopped,
}

/// The server: a driver, a site, and the connections between the two.
pub struct Server<D: Driver, F: Files<File = <D::Stream as Transport>::File>> {
    driver: D,
    turn: Turn,
    shared: Shared<F>,
    tally: Tally,
    connections: Slab<Slot<F, D::Stream>>,
    /// The number of connections accepted so far, which makes each [`Key`] unique.
    generation: u32,
    /// The connections to be pumped, each at most once.
    runnable: Runnable,
    /// The work that is left of this turn.
    work: Work,
    timers: Timers,
    clock: Clock,
    /// How the loop spends its time.
    pace: Pace,
    /// The endpoints with an interval, and when each is called next.
    ticks: Vec<Tick>,
    /// When the site closes unused files, if it holds files open.
    close_files_at: Option<Instant>,
    /// When to free the large buffers in stock. `None`: there is none.
    free_stock_at: Option<Instant>,
    /// For each listener, whether connections may be waiting to be accepted.
    acceptable: Vec<bool>,
    /// When accepting resumes, if it is paused for lack of descriptors or of slots.
    accept_paused_until: Option<Instant>,
    /// After the first signal, the time when unfinished work is dropped.
    stop_at: Option<Instant>,
    log: Option<Log>,
    /// The trace, unless it is off.
    trace: Option<Box<Trace>>,
    /// The jobs of other threads, if there is a handle.
    jobs: Option<Jobs>,
    /// The backends of the reverse proxy, if there are any.
    backends: Option<Box<Backends>>,
    /// Live reload, unless it is off.
    reload: Option<Box<Reload>>,
    /// The inspector, unless it is off.
    inspect: Option<Box<Inspect>>,
    /// The certificate, if the configuration asks for TLS.
    #[cfg(feature = "tls")]
    certificate: Option<Box<https::Certificate>>,
    /// The texts for the keys at the terminal.
    console: Option<Box<Console>>,
    /// The memory in use after the last search for memory, if the search did not find enough.
    searched_at: Option<usize>,
    /// The slots of the connections whose deadline has passed, and which were not notified yet.
    due: VecDeque<usize>,
    /// The messages that wait for some of their recipients.
    deliveries: Deliveries,
    /// New connections that wait for a slot.
    crowd: Crowd<D::Stream>,
    /// Storage for a turn, kept because the next turn uses the allocations again.
    events: Vec<Event>,
    batch: Vec<Key>,
}

/// An endpoint with an interval, and the time of the next call.
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
    /// The number of connections in a batch. A batch reads for every connection before the first
    /// connection answers, and a single look at a file then serves the whole batch. A larger batch
    /// would need more read buffers at the same time.
    const BATCH: usize = 64;

    /// The work of closing a connection.
    const CLOSE_WORK: u32 = 20;

    /// Creates a server with `listeners` listeners.
    pub fn new(driver: D, listeners: usize, site: Site<F>, limits: Limits) -> Self {
        let now = driver.now();
        Server {
            driver,
            shared: Shared::new(
                site,
                Pool::new(
                    limits.read_buffer_bytes.max(limits.head_bytes_max),
                    limits.memory_bytes_max,
                ),
                &limits,
            ),
            tally: Tally::default(),
            connections: Slab::new(),
            generation: 0,
            runnable: Runnable::default(),
            work: Work::default(),
            timers: Timers::new(now.instant),
            clock: Clock::new(now.instant),
            pace: Pace::new(now.instant),
            ticks: Vec::new(),
            close_files_at: None,
            free_stock_at: None,
            // Connections may have come before the listeners were registered, so each listener
            // is tried.
            acceptable: vec![true; listeners],
            turn: Turn::new(now, limits),
            accept_paused_until: None,
            stop_at: None,
            log: None,
            trace: None,
            jobs: None,
            backends: None,
            reload: None,
            inspect: None,
            #[cfg(feature = "tls")]
            certificate: None,
            console: None,
            searched_at: None,
            due: VecDeque::new(),
            deliveries: Deliveries::default(),
            crowd: Crowd::default(),
            events: Vec::new(),
            batch: Vec::new(),
        }
    }

    /// Mounts `endpoint` at `path`, for WebSocket connections and for requests, as the endpoint says. A
    /// `*` at the end of the path stands for any single segment. When two endpoints have the same path,
    /// the endpoint added last answers.
    ///
    /// # Panics
    /// If the path does not begin with a slash.
    #[must_use]
    pub fn with_endpoint(mut self, path: &str, endpoint: impl Endpoint + 'static) -> Self {
        let takes = Takes::new(endpoint.methods(), endpoint.takes_websocket());
        let number = self.shared.site.mount(path, takes);
        // An interval so long that the clock cannot tell its end never passes.
        if let Some(every) = endpoint.interval()
            && let Some(next) = self.driver.now().instant.checked_add(every)
        {
            self.ticks.push(Tick {
                endpoint: number,
                every,
                next,
            });
        }
        self.shared.endpoints.add(Box::new(endpoint));
        self
    }

    /// Tells in each answer the work of the server for it, and the time, with the field
    /// `Server-Timing`: the number of the turn, the place in the turn, the parser, the look for the file or the
    /// endpoint, and the writes of the answer before. A browser shows the times. Clocks are read several times for
    /// each request then.
    #[must_use]
    pub fn with_server_timing(mut self) -> Self {
        self.shared.stopwatch = Some(Stopwatch::new(Instant::now));
        self
    }

    /// Writes each exchange to `log`, and warnings of the server to standard error.
    #[must_use]
    pub fn with_log(mut self, log: Log) -> Self {
        self.tally.is_logging = log.wants_records();
        self.log = Some(log);
        self
    }

    /// Hands out the log, to be changed and given back.
    pub fn take_log(&mut self) -> Option<Log> {
        self.log.take()
    }

    /// Writes the records of the flight recorder to `trace` at the end of each turn.
    #[must_use]
    pub fn with_trace(mut self, trace: Trace) -> Self {
        self.trace = Some(Box::new(trace));
        self
    }

    /// Runs turns until the server is told to stop.
    ///
    /// # Errors
    /// The errors of [`Driver::wait`].
    pub fn run(&mut self) -> io::Result<()> {
        while self.turn()? == Flow::Continue {}
        let counters = &self.tally.counters;
        let wants_report = self.log.as_ref().is_some_and(|l| l.wants_report(counters));
        let report = wants_report.then(|| self.report());
        self.finish_trace();
        if let Some(log) = &mut self.log {
            log.finish(&self.tally.counters, report.as_deref(), self.turn.now);
        }
        Ok(())
    }

    /// Runs a turn of the loop.
    ///
    /// # Errors
    /// The errors of [`Driver::wait`].
    pub fn turn(&mut self) -> io::Result<Flow> {
        // Counted from the beginning of the last turn: a look at the clock for each turn would cost
        // more than the length of a turn, which is all that a deadline can be late by.
        let timeout = self.timeout(self.turn.now.instant);
        let mut events = mem::take(&mut self.events);
        self.pace.begin_wait(self.driver.measure(), &mut self.tally);
        self.driver.wait(&mut events, timeout)?;
        let now = self.driver.now();
        self.turn.begin(self.clock.take(now));
        self.pace
            .begin_turn(now.instant, events.len(), &mut self.tally);
        let mut signalled = false;
        for event in events.drain(..) {
            signalled |= self.mark(event);
        }
        self.events = events;
        if signalled && self.signals() == Flow::Stopped {
            return Ok(self.cut_off());
        }
        self.work.begin_turn(self.turn.limits.turn_work);
        self.accept();
        self.run_queued();
        if self.backends.is_some() {
            self.couple();
        }
        self.deliver();
        self.expire();
        self.tally.counters.add_work(self.work.done());
        self.record();
        if self.is_stop_over() {
            return Ok(self.cut_off());
        }
        Ok(Flow::Continue)
    }

    /// Whether an effect, a number of members or a message waits to be delivered.
    fn has_effects(&self) -> bool {
        !self.shared.effects.is_empty()
            || self.shared.rooms.has_news()
            || !self.deliveries.is_empty()
    }

    /// Remembers an event. Returns `true` if a signal has come.
    fn mark(&mut self, event: Event) -> bool {
        match event.source {
            Source::Connection(key) => {
                // No slot: the event is late, for a connection that is closed. epoll forgets a socket
                // when it is closed, so only the simulation sends such events; no rule of epoll says
                // that they cannot come.
                if let Some(slot) = get(&mut self.connections, key) {
                    let ready = event.ready;
                    self.tally.ring.push(TraceRecord::Mark { key, ready });
                    slot.connection.mark(ready);
                    self.runnable.enqueue(slot);
                }
            }
            Source::Listener(number) => {
                if let Some(flag) = self.acceptable.get_mut(usize::from(number)) {
                    *flag = true;
                }
            }
            Source::Signals => return true,
            Source::Watch => self.reload.iter_mut().for_each(|reload| reload.note()),
            Source::Waker => self.jobs.iter_mut().for_each(Jobs::note),
        }
        false
    }

    /// Pumps the queued connections, as far as the turn has time for them. Connections queued meanwhile
    /// wait for the next turn.
    fn run_queued(&mut self) {
        self.hold_back();
        let (light, heavy) = (self.runnable.light.len(), self.runnable.heavy.len());
        self.work.begin_part();
        self.run_light(light);
        self.work.begin_part();
        self.run_throttled();
        self.run_heavy(heavy);
    }

    /// Runs the first `waiting` light connections in batches. The rest of a batch for which no time is
    /// left keeps its place, with the bytes that were read.
    fn run_light(&mut self, mut waiting: usize) {
        let mut batch = mem::take(&mut self.batch);
        while waiting > 0 && self.work.is_left() {
            self.fill_batch(&mut batch, waiting.min(Self::BATCH));
            waiting -= batch.len();
            self.shared.site.begin_epoch();
            let mut pumped = 0;
            for key in &batch {
                if pumped > 0 && !self.work.is_left() {
                    break;
                }
                self.pump(*key);
                pumped += 1;
            }
            self.runnable.served[0] += pumped as u64;
            for key in batch.drain(pumped..).rev() {
                // The end of a partner may have queued the connection meanwhile.
                if let Some(slot) = get(&mut self.connections, key)
                    && !mem::replace(&mut slot.queued, true)
                {
                    self.runnable.light.push_front(key);
                }
            }
            batch.clear();
            self.free_memory();
        }
        self.batch = batch;
    }

    /// Takes up to `most` light connections out of the queue, and reads once for each.
    fn fill_batch(&mut self, batch: &mut Vec<Key>, most: usize) {
        let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
        while batch.len() < most && self.work.is_left() {
            let Some(key) = self.runnable.light.pop_front() else {
                return;
            };
            if let Some(slot) = get(&mut self.connections, key) {
                slot.queued = false;
                cx.renew_budget();
                slot.connection.fill(cx);
                self.work.spend(cx.used_work());
            }
            batch.push(key);
        }
    }

    /// Runs the throttled connections, one after the other, until the queue of effects is full.
    fn run_throttled(&mut self) {
        while self.work.is_left() && !self.shared.effects.is_full(&self.turn.limits) {
            let Some(key) = self.runnable.throttled.pop_front() else {
                return;
            };
            self.run_one(key);
        }
    }

    /// Runs up to `waiting` heavy connections, one after the other, and at least one. A connection in
    /// debt pays a share of the debt instead, and is queued again.
    fn run_heavy(&mut self, waiting: usize) {
        let mut run = 0;
        while run < waiting && (run == 0 || self.work.is_left()) {
            let Some(key) = self.runnable.heavy.pop_front() else {
                return;
            };
            let slot = get(&mut self.connections, key);
            if slot.is_some_and(|slot| slot.debt.pay()) {
                self.work.spend(1);
                self.runnable.heavy.push_back(key);
            } else {
                self.run_one(key);
                self.runnable.served[1] += 1;
                run += 1;
            }
        }
    }

    /// Runs a connection that is in no queue any more.
    fn run_one(&mut self, key: Key) {
        if let Some(slot) = get(&mut self.connections, key) {
            (slot.queued, slot.throttled) = (false, false);
            let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
            slot.connection.fill(cx);
            self.work.spend(cx.used_work());
            self.shared.site.begin_epoch();
            self.pump(key);
            self.free_memory();
        }
    }

    fn pump(&mut self, key: Key) {
        let Some(slot) = get(&mut self.connections, key) else {
            return;
        };
        let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
        let verdict = slot.connection.pump(cx);
        slot.connection.count_calls(cx);
        let used = 1 + cx.used_work();
        self.work.spend(used);
        Runnable::judge(slot, used, verdict, &self.turn.limits);
        match verdict {
            Verdict::Again => {
                self.tally.postpone(key, false);
                self.runnable.enqueue(slot);
            }
            Verdict::Throttled => {
                self.tally.postpone(key, true);
                // In the step *couple*, the connection may be queued already.
                if !mem::replace(&mut slot.queued, true) {
                    slot.throttled = true;
                    self.runnable.throttled.push_back(key);
                }
            }
            Verdict::Wait => {
                // A connection is registered once, at the first wait. Registration reports the
                // readiness of the moment: bytes that came after the last read are not missed.
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
        let is_paired = slot.partner.is_some();
        let deadline = slot.connection.deadline(&self.turn.limits);
        self.timers.arm(key.index(), deadline);
        if is_paired {
            self.note_couple(key);
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(slot) = get(&mut self.connections, key) {
            // The connection stays a member of its rooms until the last effect, `Disconnected`, is
            // carried out: the messages published before must still reach the rooms.
            let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
            slot.connection.release(cx);
            let cause = slot.connection.cause().expect("released means closed");
            slot.connection.count_calls(cx);
            let interrupted = slot.connection.was_interrupted(cause);
            let (partner, backend) = (slot.partner, slot.backend);
            if slot.queued {
                self.runnable.forget(key);
            }
            if backend.is_none() {
                self.tally.counters.count(cause, interrupted);
            }
            self.tally.ring.push(TraceRecord::Close { key, cause });
            self.timers.disarm(key.index());
            self.connections.remove(key.index());
            self.work.spend(Self::CLOSE_WORK);
            // The close has made a descriptor and a slot available.
            self.accept_paused_until = None;
            if let Some(backends) = &mut self.backends {
                backends.forget(key, backend.map(|end| end.number), self.turn.now.instant);
            }
            if let Some(partner) = partner {
                self.widowed(partner, backend, cause);
            }
        }
    }

    /// Hands the turn's records to the trace and the log, and says once what a stop waits for.
    fn record(&mut self) {
        if self.trace.is_some() {
            self.write_trace();
        }
        if let Some(log) = &mut self.log {
            let now = || Now {
                instant: self.clock.of_loop(self.driver.measure()),
                wall: self.turn.now.wall,
            };
            log.record(&self.tally.records, now);
            if !self.tally.records.is_empty() {
                self.tally.counters.lines_dropped = log.lines_dropped();
                self.tally.clear_records();
            }
            if self.shared.site.may_have_warnings() {
                for path in self.shared.site.take_unfit() {
                    log.unfit(&path);
                }
                for warning in self.shared.site.take_warnings() {
                    log.warn(warning);
                }
            }
            self.tally.is_logging = log.wants_records();
            if self.turn.stopping && !self.connections.is_empty() {
                let slots = self.connections.iter();
                let owing = slots.filter(|(_, slot)| slot.connection.owes_answer());
                let time = self.turn.limits.stop_time;
                log.stopping(owing.count(), self.connections.len(), time);
            }
        }
    }
}

/// The slot of the connection with this key; `None` if the connection has gone.
fn get<F: Files, T: Transport<File = F::File>>(
    slots: &mut Slab<Slot<F, T>>,
    key: Key,
) -> Option<&mut Slot<F, T>> {
    slots
        .get_mut(key.index())
        .filter(|slot| slot.connection.key() == key)
}
