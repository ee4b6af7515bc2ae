//! The world around the server: clients, the network, the kernel's clock, the listeners and the
//! ready list, behind the server's seam [`Driver`].
//!
//! The world advances in *moves*: a client performs an act, some bytes arrive, some bytes are
//! taken, the editor saves a file. Moves happen while the server waits and, depending on the
//! weather, just before any system call, as on a machine with other processors at work. Time passes
//! only while the server waits: a little with each wait, and when no client can move, in one jump
//! to the moment when a client can move or the server's timeout ends. A minute of idling therefore
//! costs nothing, and a run is a function of its seed.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use oneloop::config::ProxyTarget;
use oneloop::connection::{Key, Now, View};
use oneloop::server::{Change, Driver, Event, Found, LiveOptions, Signal, Source, Waker, Watch};
use oneloop::transport::{Address, Ready, Socket, Tcp};

use crate::backend::Backend;
use crate::clients::{Client, Script};
use crate::disk::{Disk, ROOT};
use crate::endpoints::Oracle;
use crate::files::{SimFile, Tree};
use crate::pages::Part;
use crate::proxied::LOOKS_AGAIN;
use crate::scripts;
use crate::toy::Toy;
use crate::weather::{ACCEPT_PAUSE_MAX, Moment, PATIENCE, PAUSE, Rng, Weather};
use crate::wire::{ServerEnd, Wire};

/// The world, shared by the driver, the sockets and the files.
pub type Shared = Rc<RefCell<World>>;

/// The number of listeners of the server. Clients come to each.
pub const LISTENERS: usize = 2;

/// The longest time that a run may last, without jumps of the clock. The longest runs seen were
/// half as long: a client that does not leave is kept for its deadline at most.
const LONGEST: Duration = Duration::from_secs(60);

/// The time of day when every run begins.
const MORNING: Duration = Duration::from_secs(1_800_000_000);

/// The address of the backend (RFC 5737). Somebody listens at one port, and nobody at the other.
const BACKEND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const BACKEND_PORTS: [u16; 2] = [9000, 9001];

#[derive(Debug)]
pub struct World {
    pub rng: Rng,
    pub weather: Weather,
    pub tree: Tree,
    /// The disk of the pages, if there are pages.
    pub disk: Option<Disk>,
    /// The backend of the reverse proxy, if there is one.
    pub backend: Option<Backend>,
    pub clients: Vec<Client>,
    wires: Vec<Wire>,
    /// Connections that a page has left.
    orphans: Vec<usize>,
    began: Instant,
    now: Instant,
    /// The sum of the jumps of the clock so far.
    jumped: Duration,
    /// The same sum when the server last looked at the clock.
    jumped_before: Duration,
    /// The number of moves so far.
    moves: u64,
    listeners: [Listener; LISTENERS],
    /// The limit of the server. With one connection more than that, other clients have to wait.
    pub connections_max: usize,
    /// An accept was refused for lack of a descriptor: accepting may pause for a while.
    was_refused: bool,
    /// The number of signals not yet taken, and whether an event for them is due.
    signals: (usize, bool),
    /// The number of signals that the server has taken.
    pub stops: usize,
    /// Keys of closed connections.
    stale: Vec<Key>,
    /// The number of turns in a row in which the server neither wanted to wait nor did anything.
    barren_turns: u32,
    /// The number of writes of the server, short and refused ones included.
    pub writes: u64,
    /// A hash of every event, in order.
    trace: DefaultHasher,
    /// Whether every event is printed.
    is_talkative: bool,
}

/// A move: an act of a client, or of the network for the client.
#[derive(Clone, Copy)]
enum Move {
    /// The client connects, or performs the next act of its script.
    Act,
    /// Some of the bytes that the client has sent arrive.
    Arrive,
    /// The client takes some of the bytes that have come.
    Take,
}

impl Move {
    const ALL: [Move; 3] = [Move::Act, Move::Arrive, Move::Take];
}

#[derive(Default, Debug)]
struct Listener {
    backlog: VecDeque<usize>,
    /// Whether the listener is on epoll's ready list.
    on_ready_list: bool,
    is_closed: bool,
}

impl World {
    /// A world with a client for each script.
    pub fn new(
        mut rng: Rng,
        weather: Weather,
        scripts: &[Rc<Script>],
        is_talkative: bool,
    ) -> World {
        // An `Instant` can be had in no other way; only differences matter.
        let began = Instant::now();
        let tree = Tree::new(&mut rng);
        let client = |(number, script): (usize, &Rc<Script>)| {
            let arrival = rng.time(Duration::ZERO, PATIENCE);
            let resets = rng.chance(weather.resets);
            let resets_after = resets.then(|| rng.below(40) as u32);
            Client::new(number, Rc::clone(script), began + arrival, resets_after)
        };
        World {
            clients: scripts.iter().enumerate().map(client).collect(),
            rng,
            weather,
            tree,
            disk: None,
            backend: None,
            wires: Vec::new(),
            orphans: Vec::new(),
            began,
            now: began,
            jumped: Duration::ZERO,
            jumped_before: Duration::ZERO,
            moves: 0,
            listeners: Default::default(),
            connections_max: usize::MAX,
            was_refused: false,
            signals: (0, false),
            stops: 0,
            stale: Vec::new(),
            barren_turns: 0,
            trace: DefaultHasher::new(),
            writes: 0,
            is_talkative,
        }
    }

    /// Gives the world a disk with writers, and two clients for each page.
    pub fn add_pages(&mut self, count: usize) {
        let script = Rc::new(scripts::page());
        let seed = self.rng.below(usize::MAX) as u64;
        let wall = self.tree.timestamp(self.wall());
        self.disk = Some(Disk::new(Rng::new(seed), self.now, wall));
        for _ in 0..count {
            let arrival = self.rng.time(Duration::ZERO, PATIENCE);
            let seed = self.rng.below(usize::MAX) as u64;
            for part in Part::pair(Rng::new(seed)) {
                let resets = self.rng.chance(self.weather.resets);
                let resets_after = resets.then(|| self.rng.below(400) as u32);
                let number = self.clients.len();
                let at = self.now + arrival;
                let mut client = Client::new(number, Rc::clone(&script), at, resets_after);
                client.page = Some(part);
                self.clients.push(client);
            }
        }
    }

    /// Gives the world a backend.
    pub fn add_backend(&mut self, new: impl FnOnce(Instant) -> Backend) {
        self.backend = Some(new(self.now));
    }

    /// Gives the world any backend. Returns whether it may destroy answers.
    pub fn add_backend_drawn(&mut self) -> bool {
        let backend = Backend::drawn(&mut self.rng, self.now);
        self.backend.insert(backend).is_chaotic
    }

    /// The number of clients and visits.
    fn peers(&self) -> usize {
        let visits = self.backend.as_ref().map(|backend| backend.visits.len());
        self.clients.len() + visits.unwrap_or_default()
    }

    /// How the server is to be told of live reload, if there are pages.
    pub fn live_options(&mut self) -> Option<LiveOptions> {
        self.disk.as_ref()?;
        Some(LiveOptions {
            root: ROOT.into(),
            watch: Vec::new(),
            ignore: Vec::new(),
            poll: self.rng.chance(15),
            instance: 7,
        })
    }

    /// Lets the writers go on, if it is time.
    fn write_on(&mut self) -> bool {
        let wall = self.tree.timestamp(self.wall());
        let disk = self.disk.as_mut();
        let written = disk.and_then(|disk| disk.write_on(self.now, wall));
        if let Some(what) = &written {
            self.note(what, 0, 0);
        }
        written.is_some()
    }

    /// Lets bytes arrive from a client that has another connection by now.
    fn arrive_late(&mut self) -> bool {
        (0..self.orphans.len()).any(|number| self.arrive(self.orphans[number]))
    }

    /// Whether all clients have left.
    pub fn is_over(&self) -> bool {
        self.clients.iter().all(|client| client.is_done)
    }

    /// Whether the server has accepted and closed every connection.
    pub fn is_forgotten(&self) -> bool {
        self.wires.iter().all(|wire| wire.end == ServerEnd::Closed)
    }

    /// The connection of this number, which is the port of the peer.
    pub fn wire(&self, number: u16) -> &Wire {
        &self.wires[usize::from(number)]
    }

    /// The connection of a view. `None`: the server has not waited for it yet.
    pub fn wire_of(&self, view: &View) -> Option<&Wire> {
        match view.peer.ip() == BACKEND {
            false => Some(self.wire(view.peer.port())),
            true => {
                let mut open = self.wires.iter().filter(|w| w.end == ServerEnd::Open);
                open.find(|wire| wire.key == Some(view.key))
            }
        }
    }

    /// The client of a connection.
    pub fn client_of(&self, wire: &Wire) -> &Client {
        &self.clients[wire.client]
    }

    /// How long the run has lasted.
    fn age(&self) -> Duration {
        self.now - self.began
    }

    /// Ends a run: the server is gone, and the clients take the remaining bytes.
    pub fn finish(&mut self) {
        self.close_listeners();
        for wire in self
            .wires
            .iter_mut()
            .filter(|w| w.end == ServerEnd::Backlog)
        {
            wire.close();
        }
        while !self.is_over() {
            if !self.move_anybody() {
                let next = self.next_move();
                self.now = next.unwrap_or_else(|| self.despair());
            }
        }
        // The backend takes what is on the way.
        while self.backend.is_some() {
            match self.next_move() {
                _ if self.move_anybody() => {}
                Some(at) => self.now = at,
                None => break,
            }
        }
    }

    /// A number that stands for every event of the run.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// Adds an event to the trace.
    fn note(&mut self, what: &str, wire: usize, n: usize) {
        if self.is_talkative {
            let ms = self.age().as_secs_f64() * 1e3;
            eprintln!("{ms:>12.3} ms  #{wire:<3} {what} {n}");
        }
        (what, wire, n).hash(&mut self.trace);
        self.barren_turns = 0;
    }

    /// Adds a system call and its outcome to the trace.
    fn note_call(
        &mut self,
        name: &str,
        wire: usize,
        outcome: io::Result<usize>,
    ) -> io::Result<usize> {
        match &outcome {
            Ok(n) => self.note(name, wire, *n),
            Err(error) => self.note(&format!("{name}: {}", error.kind()), wire, 0),
        }
        outcome
    }

    // ── Moves ──────────────────────────────────────────────────────────────────────────────────

    /// Makes moves just before a system call, if the weather says so.
    pub fn hurry(&mut self) {
        if self.rng.chance(self.weather.haste) {
            self.move_some();
        }
    }

    /// Makes moves before a call for a connection. The client of this connection may have a faster
    /// processor, and perform every move it can.
    fn hurry_on(&mut self, wire: usize) {
        self.hurry();
        if self.rng.chance(self.weather.haste / 2) {
            let client = match self.wires[wire].visit {
                Some(visit) => self.clients.len() + visit,
                None => self.wires[wire].client,
            };
            while Move::ALL.iter().any(|kind| self.make_move(client, *kind)) {}
        }
    }

    /// Makes some moves of some clients; in calm weather, every possible move of every client.
    fn move_some(&mut self) {
        if self.weather.calm {
            while self.move_anybody() {}
            return;
        }
        for _ in 0..self.rng.below(2 * self.peers() + 4) {
            let client = self.rng.below(self.peers());
            let kind = *self.rng.pick(&Move::ALL);
            self.make_move(client, kind);
        }
        if self.rng.chance(self.weather.edits) {
            self.edit();
        }
        if let Some(restarts) = self.backend.as_ref().map(|backend| backend.restarts)
            && self.rng.chance(restarts)
        {
            self.restart_backend();
        }
        if self.disk.is_some() {
            if self.rng.chance(50) {
                self.write_on();
            }
            if self.rng.chance(50) {
                self.arrive_late();
            }
        }
    }

    /// Edits a file, if the weather says so.
    pub fn meddle(&mut self) {
        if self.rng.chance(10 * self.weather.edits) {
            self.edit();
        }
    }

    /// A change in the middle of a read must show in the times of the file: no server could notice
    /// another.
    pub fn meddle_with_a_read(&mut self) {
        if self.tree.shows_changes(self.wall()) {
            self.meddle();
        }
    }

    fn edit(&mut self) {
        let wall = self.wall();
        self.tree.edit(&mut self.rng, wall);
        self.note("a file is edited", 0, 0);
    }

    /// Makes one move, if any is possible.
    fn move_anybody(&mut self) -> bool {
        let count = self.peers();
        let first = self.rng.below(count);
        let mut clients = (first..count).chain(0..first);
        if self.write_on() || self.arrive_late() {
            return true;
        }
        clients.any(|client| Move::ALL.iter().any(|kind| self.make_move(client, *kind)))
    }

    /// The earliest moment when a client that now waits can move, or a signal comes.
    fn next_move(&self) -> Option<Instant> {
        let waiting = self.clients.iter().filter(|c| !c.is_done);
        let signals = self
            .weather
            .signals
            .iter()
            .filter_map(|moment| match moment {
                Moment::Moves(_) => None,
                Moment::Time(at) => Some(self.began + *at),
            });
        let writer = self.disk.as_ref().and_then(Disk::next);
        let moments = waiting.filter_map(|client| match (&client.page, &self.disk) {
            (Some(part), Some(disk)) => part.wakes_at(client, disk, self.now),
            _ => Some(client.not_before),
        });
        let visits = self.backend.iter().flat_map(Backend::moments);
        let moments = moments.chain(signals).chain(writer).chain(visits);
        moments.filter(|at| *at > self.now).min()
    }

    /// Makes a move. Returns `false` if the move is impossible.
    fn make_move(&mut self, client: usize, kind: Move) -> bool {
        let moved = match (kind, self.clients.get(client).map(|client| client.wire)) {
            (kind, None) => self.move_visit(client - self.clients.len(), kind),
            (Move::Act, Some(None)) => self.connect(client),
            (Move::Act, Some(Some(wire))) => self.act(client, wire),
            (Move::Arrive, Some(Some(wire))) => self.arrive(wire),
            (Move::Take, Some(Some(wire))) => self.take(client, wire),
            (Move::Arrive | Move::Take, Some(None)) => false,
        };
        if moved {
            self.moves += 1;
            self.change_weather();
        }
        moved
    }

    /// Makes a move of the backend for a visit.
    fn move_visit(&mut self, visit: usize, kind: Move) -> bool {
        let most = self.piece(self.weather.take_max);
        let Some(backend) = &mut self.backend else {
            return false;
        };
        let number = backend.visits[visit].wire;
        let wire = &mut self.wires[number];
        match kind {
            Move::Act => {
                let done = backend.act(visit, wire, self.now, &mut self.rng);
                done.is_some_and(|what| {
                    self.note(what, number, visit);
                    true
                })
            }
            Move::Arrive => backend.is_open(visit) && self.arrive(number),
            Move::Take => {
                let taken = backend.take(visit, most, wire, self.now);
                taken.is_some_and(|n| {
                    self.note("the backend takes", number, n);
                    true
                })
            }
        }
    }

    /// The backend is started anew.
    fn restart_backend(&mut self) {
        let Some(backend) = &mut self.backend else {
            return;
        };
        for (wire, is_busy) in backend.restart(self.now, &mut self.rng) {
            // A FIN would be the end of an answer that ends with its connection.
            match is_busy || self.rng.chance(50) {
                true => self.wires[wire].client_reset(self.now),
                false => self.wires[wire].client_close(self.now),
            }
        }
        self.note("the backend is started anew", 0, 0);
    }

    /// connect(2) to a backend, which is finished later.
    fn connect_to(&mut self, address: &Address) -> io::Result<usize> {
        const EMFILE: i32 = 24;
        self.hurry();
        if self.is_full() {
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let is_dead = address.peer().port() != BACKEND_PORTS[0];
        if is_dead && self.rng.chance(50) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        let Some(backend) = &mut self.backend else {
            return Err(ErrorKind::Unsupported.into());
        };
        let (wire, now) = (self.wires.len(), self.now);
        let visit = backend.visits.len();
        backend.connect(wire, is_dead, now, &mut self.rng);
        let (receive_buffer, send_buffer) = (self.weather.receive_buffer, self.weather.send_buffer);
        // The machine may have slept since the turn began, which is the time that the server knows.
        let begun = now - (self.jumped - self.jumped_before);
        let to_backend = Wire::to_backend(visit, receive_buffer, send_buffer, begun);
        self.wires.push(to_backend);
        self.note("a connection is begun", wire, visit);
        if self.rng.chance(30) {
            self.move_visit(visit, Move::Act);
        }
        Ok(wire)
    }

    fn connect(&mut self, client: usize) -> bool {
        let state = &mut self.clients[client];
        if state.is_done || state.not_before > self.now {
            return false;
        }
        if let (Some(part), Some(disk)) = (state.page.clone(), &self.disk)
            && !part.wants_connection(state, disk, self.now)
        {
            // Perhaps the page has just been closed.
            return state.is_done;
        }
        let listener = &mut self.listeners[client % LISTENERS];
        if listener.is_closed {
            state.is_done = true;
            state.was_cut_short = true;
            return true;
        }
        let wire = self.wires.len();
        state.wire = Some(wire);
        // The machine has slept since the turn began: for the server, the connection began long
        // ago.
        state.is_excused |= Weather::is_suspension(self.jumped - self.jumped_before);
        listener.backlog.push_back(wire);
        listener.on_ready_list = true;
        let (receive_buffer, send_buffer) = (self.weather.receive_buffer, self.weather.send_buffer);
        let wire_of_client = Wire::new(client, receive_buffer, send_buffer, self.now);
        self.wires.push(match self.is_secure(client) {
            true => wire_of_client.secure(),
            false => wire_of_client,
        });
        self.note("connects", wire, client);
        // Often the first bytes come right after the handshake, before the server has looked.
        for _ in 0..self.rng.below(3) * self.rng.below(3) {
            self.make_move(client, Move::Act);
            self.make_move(client, Move::Arrive);
        }
        true
    }

    /// Whether a client speaks the toy of TLS. Pages do not.
    fn is_secure(&self, client: usize) -> bool {
        let listener = client % LISTENERS;
        self.weather.secure.contains(&listener) && self.clients[client].page.is_none()
    }

    fn act(&mut self, client: usize, wire: usize) -> bool {
        let wall = self.wall();
        let state = &mut self.clients[client];
        if state.is_done {
            return false;
        }
        if self.wires[wire].is_shed && state.page.is_none() {
            state.try_again(self.now + PAUSE);
            return true;
        }
        let disk = self.disk.as_ref();
        let acted = state.act(&mut self.wires[wire], &mut self.tree, disk, self.now, wall);
        if self.clients[client].wire != Some(wire) {
            self.orphans.push(wire);
        }
        if acted {
            self.note("acts", wire, client);
        }
        acted
    }

    fn arrive(&mut self, wire: usize) -> bool {
        let most = self.piece(self.weather.arrival_max);
        let arrived = self.wires[wire].arrive(most, self.now);
        if let Some(n) = arrived {
            self.note("arrival", wire, n);
        }
        arrived.is_some()
    }

    fn take(&mut self, client: usize, wire: usize) -> bool {
        let most = self.piece(self.weather.take_max);
        let taken = self.clients[client].take(most, &mut self.wires[wire], self.now);
        if let Some(n) = taken {
            self.note("is taken", wire, n);
        }
        taken.is_some()
    }

    fn piece(&mut self, max: usize) -> usize {
        match self.weather.calm {
            true => max,
            false => self.rng.within(1..=max),
        }
    }

    /// Performs the changes that are due: the clock jumps, a signal comes.
    fn change_weather(&mut self) {
        while let Some((_, by)) = self.weather.jumps.pop_if(|(at, _)| *at <= self.moves) {
            self.now += by;
            self.jumped += by;
            self.note("the clock jumps", 0, by.as_micros() as usize);
            if Weather::is_suspension(by) {
                let connected = self.clients.iter_mut().filter(|c| c.wire.is_some());
                connected.for_each(|client| client.is_excused = true);
            }
        }
        let (moves, age) = (self.moves, self.age());
        let is_due = |moment: &Moment| match *moment {
            Moment::Moves(at) => at <= moves,
            Moment::Time(at) => at <= age,
        };
        let before = self.weather.signals.len();
        self.weather.signals.retain(|moment| !is_due(moment));
        let came = before - self.weather.signals.len();
        if came > 0 {
            self.signals = (self.signals.0 + came, true);
            self.note("SIGTERM", 0, came);
        }
    }

    // ── The driver's calls ─────────────────────────────────────────────────────────────────────

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + MORNING + self.age()
    }

    /// epoll_wait(2), and the passing of time.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) {
        self.now += Duration::from_micros(self.rng.within(1..=20) as u64);
        self.barren_turns += u32::from(timeout == Some(Duration::ZERO));
        let awake = self.age() - self.jumped;
        assert!(
            awake < LONGEST,
            "somebody stays for ever: {:#?}",
            self.waiting()
        );
        // Filling a write buffer in the smallest steps takes 150 turns without a system call, and a turn
        // may have time for a single connection.
        assert!(self.barren_turns < 10_000, "the server spins");
        let until = timeout.map(|time| self.now + time);
        loop {
            self.move_some();
            self.change_weather();
            self.report(events);
            let interrupted = self.rng.chance(self.weather.interrupted);
            if !events.is_empty() || interrupted || until.is_some_and(|at| at <= self.now) {
                return;
            }
            if self.move_anybody() {
                continue;
            }
            self.check_sleep(until);
            match self.next_move().into_iter().chain(until).min() {
                Some(at) => self.now = at,
                None if self.is_over() && self.is_forgotten() => return,
                None => self.despair(),
            }
        }
    }

    /// Checks that the server may sleep, because time is about to pass. With edges, an event that
    /// the server was told of and has not dealt with will never be reported again.
    fn check_sleep(&self, until: Option<Instant>) {
        let waits = |l: &Listener| !l.backlog.is_empty() && !l.on_ready_list;
        let wakes_soon = until.is_some_and(|at| at - self.now <= ACCEPT_PAUSE_MAX);
        let rests = self.was_refused && wakes_soon;
        let is_crowded = self.open() > self.connections_max;
        if self.listeners.iter().any(waits) && !self.is_full() && !is_crowded && !rests {
            panic!("an edge was lost: somebody waits to be accepted");
        }
        if let Some(wire) = self.wires.iter().find(|wire| wire.is_neglected()) {
            let is_held = match wire.visit {
                // One end of a pair may hold back the other.
                Some(_) => self
                    .wires
                    .iter()
                    .any(|w| w.visit.is_none() && w.is_write_blocked()),
                None => {
                    let waits = self.clients[wire.client].waits_for_backend();
                    let mut visits = self.wires.iter().filter(|w| w.visit.is_some());
                    let looks_again = until.is_some_and(|at| at - self.now <= LOOKS_AGAIN);
                    let is_busy = |b: &Backend| b.is_busy_for(wire.client);
                    // Requests behind the present one wait in the kernel.
                    let is_busy = self.backend.as_ref().is_some_and(is_busy);
                    waits
                        && (looks_again
                            || is_busy
                            || visits.any(|w| w.is_write_blocked() || w.is_reset()))
                }
            };
            if !is_held {
                self.panic_neglected(wire);
            }
        }
        self.check_silence(until);
    }

    fn panic_neglected(&self, wire: &Wire) -> ! {
        match wire.visit {
            Some(visit) => panic!("an edge was lost: nobody reads from the backend: {visit}"),
            None => {
                let client = &self.clients[wire.client];
                panic!("an edge was lost: nobody reads from {}", client.status());
            }
        }
    }

    /// Checks that no client waits for what the server knows.
    fn check_silence(&self, until: Option<Instant>) {
        // An endpoint that is in no hurry wakes the server.
        let wakes_for_oracle = until.is_some_and(|at| at - self.now <= Oracle::DELAY);
        let silent = |wire: &&Wire| {
            let client = &self.clients[wire.client];
            let may_wait = wakes_for_oracle && client.script.asks_oracle();
            let looks_again = until.is_some_and(|at| at - self.now <= LOOKS_AGAIN);
            let is_busy = |backend: &Backend| looks_again || backend.is_busy_for(client.number);
            let is_with_backend =
                client.waits_for_backend() && self.backend.as_ref().is_some_and(is_busy);
            wire.is_reported()
                && wire.visit.is_none()
                && !may_wait
                && !is_with_backend
                && wire.is_quiet()
                && self.clients[wire.client].is_owed_something(self.now)
        };
        if let Some(wire) = self.wires.iter().find(silent) {
            let client = &self.clients[wire.client];
            panic!("the server sleeps on what it has read: {}", client.status());
        }
    }

    /// Whether the server has as many open connections as descriptors.
    fn is_full(&self) -> bool {
        self.open() >= self.weather.descriptors_max
    }

    /// The number of connections that the server has accepted and not closed.
    fn open(&self) -> usize {
        let open = self.wires.iter().filter(|w| w.end == ServerEnd::Open);
        open.count()
    }

    /// The server waits for ever, and no client will ever move.
    fn despair(&self) -> ! {
        panic!("nothing will ever happen again: {:#?}", self.waiting());
    }

    /// The clients that have not left.
    fn waiting(&self) -> Vec<String> {
        let waiting = self.clients.iter().filter(|c| !c.is_done);
        waiting.map(Client::status).collect()
    }

    /// Reports the ready list, or a part of it, and, depending on the weather, false events.
    fn report(&mut self, events: &mut Vec<Event>) {
        if self.disk.as_mut().is_some_and(Disk::take_event) {
            events.push(event(Source::Watch, Ready::default()));
        }
        if std::mem::take(&mut self.signals.1) {
            events.push(event(Source::Signals, Ready::default()));
        }
        for (number, listener) in self.listeners.iter_mut().enumerate() {
            if std::mem::take(&mut listener.on_ready_list) && !listener.backlog.is_empty() {
                events.push(event(Source::Listener(number as u8), Ready::default()));
            }
        }
        let count = self.wires.len();
        let (first, most) = (self.rng.below(count), self.piece(6));
        for wire in (first..count).chain(0..first) {
            if events.len() >= most {
                break;
            }
            if let Some(ready) = self.wires[wire].take_event() {
                self.tell(wire, ready, events);
            }
        }
        if self.rng.chance(self.weather.spurious)
            && self.wires.get(first).is_some_and(Wire::is_reported)
        {
            let ready = self.any_ready();
            self.tell(first, ready, events);
        }
        if self.rng.chance(self.weather.stale) && !self.stale.is_empty() {
            let key = *self.rng.pick(&self.stale);
            events.push(event(Source::Connection(key), self.any_ready()));
        }
    }

    fn tell(&mut self, wire: usize, ready: Ready, events: &mut Vec<Event>) {
        let what = match (ready.readable, ready.writable) {
            (true, true) => "event: readable, writable",
            (true, false) => "event: readable",
            (false, true) => "event: writable",
            (false, false) => "event: nothing",
        };
        self.note(what, wire, usize::from(ready.peer_closed));
        let wire = &mut self.wires[wire];
        wire.told(ready);
        let key = wire.key.expect("only what is registered is reported");
        events.push(event(Source::Connection(key), ready));
    }

    fn any_ready(&mut self) -> Ready {
        Ready {
            readable: self.rng.chance(50),
            writable: self.rng.chance(50),
            peer_closed: self.rng.chance(10),
        }
    }

    /// accept(2). Linux looks for a descriptor first, and only then for a connection.
    fn accept(&mut self, listener: u8) -> io::Result<usize> {
        /// "Too many open files": in this process, and in the whole system.
        const EMFILE: i32 = 24;
        const ENFILE: i32 = 23;
        self.hurry();
        let error = match (self.is_full(), self.rng.chance(self.weather.exhausted)) {
            (true, _) => Some(EMFILE),
            (false, true) => Some(ENFILE),
            (false, false) => None,
        };
        if let Some(error) = error {
            self.was_refused = true;
            self.note("accept: too many open files", 0, usize::from(listener));
            return Err(io::Error::from_raw_os_error(error));
        }
        if self.rng.chance(self.weather.interrupted) {
            return Err(ErrorKind::Interrupted.into());
        }
        if self.rng.chance(self.weather.aborted) {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        let backlog = &mut self.listeners[usize::from(listener)].backlog;
        let wire = backlog.pop_front().ok_or(ErrorKind::WouldBlock)?;
        self.wires[wire].accept(self.now);
        self.was_refused = false;
        self.note("is accepted", wire, 0);
        Ok(wire)
    }

    fn shed(&mut self, listener: u8) {
        let backlog = &mut self.listeners[usize::from(listener)].backlog;
        if let Some(wire) = backlog.pop_front() {
            self.wires[wire].close();
            self.wires[wire].is_shed = true;
            self.note("is shed", wire, 0);
        }
    }

    fn register(&mut self, wire: usize, key: Key) -> io::Result<()> {
        /// More sockets are watched than `fs.epoll.max_user_watches` allows.
        const ENOSPC: i32 = 28;
        self.hurry();
        if self.rng.chance(self.weather.unregistered) {
            match self.wires[wire].visit {
                Some(_) => self
                    .clients
                    .iter_mut()
                    .for_each(|client| client.is_excused = true),
                None => self.clients[self.wires[wire].client].is_excused = true,
            }
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        self.wires[wire].register(key);
        self.note("is registered", wire, key.index());
        Ok(())
    }

    fn signal(&mut self) -> Option<Signal> {
        self.signals.0 = self.signals.0.checked_sub(1)?;
        self.stops += 1;
        if self.stops == 1 {
            for client in self.clients.iter_mut().filter(|c| !c.is_done) {
                if let Some(wire) = client.wire {
                    client.note_stop(&self.wires[wire]);
                }
            }
        }
        Some(Signal::Stop)
    }

    fn close_listeners(&mut self) {
        for listener in &mut self.listeners {
            listener.is_closed = true;
            for wire in listener.backlog.drain(..) {
                self.wires[wire].close();
            }
        }
    }

    // ── The sockets' calls ─────────────────────────────────────────────────────────────────────

    fn close(&mut self, wire: usize) {
        self.note("is closed", wire, 0);
        let Wire {
            key,
            touched,
            client,
            ..
        } = self.wires[wire];
        self.wires[wire].close();
        self.stale.extend(key);
        if self.wires[wire].visit.is_some() {
            return;
        }
        let client = &self.clients[client];
        let idle = self.now - touched;
        assert!(
            idle < PATIENCE || !client.script.is_cooperative || client.is_excused || self.stops > 0,
            "a deadline passed: the connection was ended {idle:?} after anything had happened to \
             it, so an edge was lost, or a deadline not renewed. {}",
            client.status()
        );
    }
}

fn event(source: Source, ready: Ready) -> Event {
    Event { source, ready }
}

/// The driver.
#[derive(Debug)]
pub struct SimDriver {
    pub world: Shared,
}

impl Driver for SimDriver {
    type Stream = Toy;

    fn now(&self) -> Now {
        let mut world = self.world.borrow_mut();
        world.jumped_before = world.jumped;
        Now {
            instant: world.now,
            wall: world.wall(),
        }
    }

    fn measure(&self) -> Instant {
        self.world.borrow().now
    }

    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        self.world.borrow_mut().wait(events, timeout);
        Ok(())
    }

    fn accept(&mut self, listener: u8) -> io::Result<(Self::Stream, SocketAddr)> {
        let wire = self.world.borrow_mut().accept(listener)?;
        let world = Rc::clone(&self.world);
        // An address for documentation (RFC 5737).
        let peer = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), wire as u16));
        let is_secure = world.borrow().wires[wire].is_secure();
        Ok((
            Toy::new(Tcp::new(SimSocket { world, wire }), is_secure),
            peer,
        ))
    }

    fn connect(&mut self, address: &Address) -> io::Result<Self::Stream> {
        let wire = self.world.borrow_mut().connect_to(address)?;
        let world = Rc::clone(&self.world);
        Ok(Toy::new(Tcp::new(SimSocket { world, wire }), false))
    }

    fn resolve(&mut self, _: &ProxyTarget) -> io::Result<Vec<Address>> {
        let mut ports = BACKEND_PORTS;
        if self.world.borrow_mut().rng.chance(50) {
            ports.reverse();
        }
        let address = |port| Address::Ip(SocketAddr::from((BACKEND, port)));
        Ok(ports.map(address).to_vec())
    }

    fn shed(&mut self, listener: u8) {
        self.world.borrow_mut().shed(listener);
    }

    fn register(&mut self, stream: &mut Self::Stream, key: Key) -> io::Result<()> {
        let wire = stream.socket_mut().wire;
        self.world.borrow_mut().register(wire, key)
    }

    fn signal(&mut self) -> Option<Signal> {
        self.world.borrow_mut().signal()
    }

    fn close_listeners(&mut self) {
        self.world.borrow_mut().close_listeners();
    }

    fn waker(&mut self) -> io::Result<Waker> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn watch(&mut self, directory: &Path) -> io::Result<Watch> {
        self.with_disk(|disk| disk.watch(directory))
            .unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }

    fn unwatch(&mut self, watch: Watch) {
        self.with_disk(|disk| disk.unwatch(watch));
    }

    fn changes(&mut self, changes: &mut Vec<Change>) -> bool {
        self.with_disk(|disk| disk.changes(changes))
            .unwrap_or(false)
    }

    fn found(&self, path: &Path) -> io::Result<Found> {
        self.with_disk(|disk| disk.found(path))
            .unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()))
    }

    fn directories(&self, directory: &Path) -> Vec<PathBuf> {
        self.with_disk(|disk| disk.directories(directory))
            .unwrap_or_default()
    }
}

impl SimDriver {
    /// A call on the disk, just before which the world may move.
    fn with_disk<T>(&self, call: impl FnOnce(&mut Disk) -> T) -> Option<T> {
        let mut world = self.world.borrow_mut();
        world.hurry();
        world.disk.as_mut().map(call)
    }
}

/// The server's end of a connection.
#[derive(Debug)]
pub struct SimSocket {
    world: Shared,
    wire: usize,
}

impl SimSocket {
    /// Begins a system call: the world may move first, or a signal may interrupt the call.
    fn call(&self) -> io::Result<RefMut<'_, World>> {
        let mut world = self.world.borrow_mut();
        world.hurry_on(self.wire);
        let percent = world.weather.interrupted;
        match world.rng.chance(percent) {
            true => Err(ErrorKind::Interrupted.into()),
            false => Ok(world),
        }
    }

    fn send(&self, name: &str, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.call()?;
        world.writes += 1;
        let (percent, now) = (world.weather.short_writes, world.now);
        let n = match world.rng.chance(percent) {
            true => world.rng.within(1..=bytes.len()),
            false => bytes.len(),
        };
        let sent = world.wires[self.wire].write(bytes, n, now);
        world.note_call(name, self.wire, sent)
    }
}

impl Socket for SimSocket {
    type File = SimFile;

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut world = self.call()?;
        let now = world.now;
        let received = world.wires[self.wire].read(into, now);
        world.note_call("recv", self.wire, received)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send("send", bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<&[u8]> = slices.iter().map(|slice| &**slice).collect();
        self.send("writev", &bytes.concat())
    }

    fn send_file(&mut self, file: &SimFile, at: u64, count: usize) -> io::Result<usize> {
        match file.slice(at, count) {
            bytes if bytes.is_empty() => Ok(0),
            bytes => self.send("sendfile", &bytes),
        }
    }

    fn read_file(&mut self, file: &SimFile, into: &mut [u8], at: u64) -> io::Result<usize> {
        let bytes = file.slice(at, into.len());
        into[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.hurry_on(self.wire);
        world.note("shutdown", self.wire, 0);
        world.wires[self.wire].shutdown()
    }

    fn reset_at_close(&mut self) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.note("lingers for no time", self.wire, 0);
        world.wires[self.wire].reset_at_close();
        Ok(())
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        // After a property has failed, a second panic would hide the first.
        if !std::thread::panicking() {
            self.world.borrow_mut().close(self.wire);
        }
    }
}
