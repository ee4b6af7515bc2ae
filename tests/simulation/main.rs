//! The whole server in a simulated world: no sockets, no disk, no clock. Clients follow scripts
//! ([`scripts`]) through a network and a kernel ([`wire`], [`world`]) in a weather that a seed decides
//! ([`weather`]): bytes are cut anywhere, events are late, spurious or stale, connections are reset,
//! descriptors run out, files are edited, the clock jumps, and every limit is tiny. The same seed gives
//! the same run: a failure names it, and `ONELOOP_SEED=n cargo test --test simulation` plays it again
//! and says what happens.
//!
//! The edges are epoll's (`EPOLLET`): one for each arrival of bytes or of a FIN and for room after there
//! was none, coalesced until the next wait; registration reports what is ready then; a FIN comes with a
//! peer-closed hint. A simulator that is kinder hides the bugs that matter.
//!
//! # What must hold
//!
//! - What a client receives does not depend on the weather ([`verdict`]).
//! - The server never sleeps on what it was told of: unread input that nothing holds up, a client that
//!   could be accepted. Each such sleep is an edge that was lost.
//! - No connection of a cooperative client ends by a deadline; each such end is another.
//! - A direction that said EAGAIN is left alone until an event for this very connection.
//! - The server comes to rest: a bounded number of turns, no turns in which nothing happens, and nobody
//!   who stays for ever.
//! - Its invariants hold after every turn (`Server::check`), and in the end nothing is left: no
//!   stream, slot, timer, buffer, open file or byte on the account of memory.
//! - An answer shows its file as it was at some moment since the question was sent.
//! - After a stop, what was sent before arrives, what was begun is finished and what was read is
//!   answered. A second signal ends everything in its turn.
//! - Every transition between modes is in the table, and every row of the table is seen.
//!
//! # Bugs that were put back, one at a time, and what noticed them
//!
//! A script that notices in calm weather is left out of the storms that are counted.
//!
//! | bug | calm scripts | of 1,000 storms | in the words of |
//! |---|---|---|---|
//! | a short read clears readiness, peer-closed hint or not | 1 | 214 | an edge was lost: nobody reads |
//! | the offset of a partial write is lost | | 635 | the outbox's own books; a wrong answer |
//! | the same within a file | | 269 | a wrong answer; a stale answer |
//! | an end of file closes at once | 2 | 16 | an answer is missing |
//! | EMFILE clears the readiness of the listener | | 40 | an edge was lost: somebody waits to be accepted |
//! | a spent budget does not queue again | 1 | 523 | an edge was lost; a deadline passed; nothing will ever happen again |
//! | events overwrite readiness instead of adding to it | | 137 | an edge was lost; a deadline passed |
//! | a deadline that output has moved is not renewed | | 10 | a wrong answer: it is cut |
//! | a deadline that has moved is not asked for again | | 37 | a wrong answer: a 408, or nothing |
//! | lingering is skipped | 12 | 8 | an answer is missing: a reset destroyed it |
//! | lingering is skipped when nothing is unread yet | 1 | 149 | a wrong answer |
//! | a key reaches the next tenant of its slot | | 260 | a read, or a write, is tried although nothing was reported |
//! | a head is searched again with each byte | | | `a_trickling_head_is_not_searched_again` in `src/http/parser.rs`: how long things take is not simulated, so searching is counted there |
//!
//! And a few that are less classic:
//!
//! | bug | noticed by |
//! |---|---|
//! | a look at a file vouches for what is read later in the same pump | 11 of 200 restless runs: a stale answer |
//! | a look at a file vouches for later chunks | 32 storms and 115 restless runs |
//! | a file that may change unseen is kept | 7 storms and 21 restless runs |
//! | accepting rests without a deadline | 174 storms: an edge was lost |
//! | a stop closes at once what was answered a moment ago | 4 of 500 stops: an answer is missing |

#![forbid(unsafe_code)]

mod clients;
mod files;
mod scripts;
mod verdict;
mod weather;
mod wire;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::OnceLock;

use oneloop::config::Limits;
use oneloop::connection::{Cause, Counters, ModeName, TRANSITIONS, Transitions};
use oneloop::server::{Flow, Server};
use oneloop::site::{Guard, Site};

use clients::Script;
use files::SimFiles;
use verdict::judge;
use weather::{Rng, Weather};
use world::{LISTENERS, SimDriver, World};

/// How many runs there are in each season.
const STORMY_SEEDS: u64 = 1_000;
const RESTLESS_SEEDS: u64 = 200;
const ENDING_SEEDS: u64 = 500;

/// Turns in one run, at most. The longest of a hundred thousand had 18,000.
const TURNS_MAX: u32 = 30_000;

// ── The tests ──────────────────────────────────────────────────────────────────────────────────

/// What a script says of its answers is held against them as they come.
#[test]
fn in_calm_weather_every_script_gets_the_answers_it_expects() {
    let roles = roles();
    for (i, role) in roles.iter().enumerate() {
        let name = role.script.name;
        let same = |other: &Role| other.script.name == name;
        assert!(!roles[..i].iter().any(same), "two scripts: {name}");
    }
}

/// All properties are asserted on the way, each where it can be seen.
#[test]
fn no_weather_takes_from_a_client_what_it_is_owed() {
    match replayed() {
        Some(seed) => drop(stormy(seed, &roles(), true)),
        None => drop(stormy_season()),
    }
}

#[test]
fn what_has_changed_before_it_was_asked_for_is_never_answered_as_it_was() {
    let roles = roles();
    match replayed() {
        Some(seed) => drop(restless(seed, &roles, true)),
        None => (0..RESTLESS_SEEDS).for_each(|seed| drop(restless(seed, &roles, false))),
    }
}

#[test]
fn a_stop_finishes_what_was_begun_and_answers_what_was_read() {
    let roles = roles();
    match replayed() {
        Some(seed) => drop(ending(seed, &roles, true)),
        None => (0..ENDING_SEEDS).for_each(|seed| drop(ending(seed, &roles, false))),
    }
}

#[test]
fn every_transition_in_the_table_is_seen_and_no_other() {
    if replayed().is_some() {
        return;
    }
    let seen = stormy_season();
    let rows = TRANSITIONS.iter();
    let modes: Vec<ModeName> = rows.flat_map(|(from, to, _)| [*from, *to]).collect();
    for from in &modes {
        for to in &modes {
            let legal = TRANSITIONS.iter().any(|(a, b, _)| (a, b) == (from, to));
            assert_eq!(seen.has(*from, *to), legal, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn the_same_seed_is_the_same_run_and_another_is_another() {
    let roles = roles();
    let trace = |seed| stormy(seed, &roles, false).world.trace();
    let mut traces: Vec<u64> = (0..25).map(trace).collect();
    let again: Vec<u64> = (0..25).map(trace).collect();
    assert_eq!(traces, again);
    traces.sort_unstable();
    traces.dedup();
    assert_eq!(traces.len(), again.len());
}

/// To be run with a defect in the server: a property that nothing ever violates says nothing. Says
/// how many scripts and seeds notice, and which properties they see violated.
/// `ONELOOP_COUNT=1 cargo test --test simulation how_many -- --nocapture`
#[test]
fn how_many_seeds_notice() {
    if env::var_os("ONELOOP_COUNT").is_none() {
        return;
    }
    panic::set_hook(Box::new(|_| {}));
    let (mut calm, mut storms, mut restlessness, mut ends) = Default::default();
    let mut roles = Vec::new();
    for script in scripts::scripts() {
        count(&mut calm, || roles.push(rehearse(script)));
    }
    println!("in calm weather: {calm:?}");
    for seed in 0..STORMY_SEEDS {
        count(&mut storms, || drop(stormy(seed, &roles, false)));
    }
    println!("in {STORMY_SEEDS} storms: {storms:?}");
    for seed in 0..RESTLESS_SEEDS {
        count(&mut restlessness, || drop(restless(seed, &roles, false)));
    }
    println!("in {RESTLESS_SEEDS} restless runs: {restlessness:?}");
    for seed in 0..ENDING_SEEDS {
        count(&mut ends, || drop(ending(seed, &roles, false)));
    }
    println!("in {ENDING_SEEDS} stops: {ends:?}");
}

/// Counts a run that fails under what its assertion says before the colon.
fn count(violations: &mut BTreeMap<String, u32>, run: impl FnOnce()) {
    if let Err(words) = panic::catch_unwind(AssertUnwindSafe(run)) {
        let text = words.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| words.downcast_ref::<&str>().copied());
        let property = text.unwrap_or_default().split(':').next();
        let property = property.unwrap_or_default().to_string();
        *violations.entry(property).or_default() += 1;
    }
}

// ── The seasons ────────────────────────────────────────────────────────────────────────────────

/// Any scripts in any weather, with tiny limits.
fn stormy(seed: u64, roles: &[Role], is_talkative: bool) -> Finished {
    let mut rng = Rng::new(seed);
    let weather = Weather::drawn(&mut rng);
    let limits = weather::limits(&mut rng);
    let cast: Vec<&Role> = (0..rng.within(1..=7)).map(|_| rng.pick(roles)).collect();
    perform(seed, rng, weather, limits, &cast, is_talkative)
}

/// Clients that watch files which somebody edits all the while. The limits are the usual ones: with
/// tiny ones, a turn ends before a client can have its answer and ask again within it.
fn restless(seed: u64, roles: &[Role], is_talkative: bool) -> Finished {
    let mut rng = Rng::new(seed);
    let watching = roles.iter().filter(|role| role.script.watches());
    let watching: Vec<&Role> = watching.collect();
    let cast: Vec<&Role> = (0..rng.within(1..=3))
        .map(|_| *rng.pick(&watching))
        .collect();
    let limits = weather::usual_limits();
    perform(seed, rng, Weather::restless(), limits, &cast, is_talkative)
}

/// Any scripts, and an early stop.
fn ending(seed: u64, roles: &[Role], is_talkative: bool) -> Finished {
    let mut rng = Rng::new(seed);
    let weather = Weather::ending(&mut rng);
    let limits = weather::limits(&mut rng);
    let cast: Vec<&Role> = (0..rng.within(1..=4)).map(|_| rng.pick(roles)).collect();
    perform(seed, rng, weather, limits, &cast, is_talkative)
}

/// The transitions that all stormy seeds together have seen. Two tests ask, and they are run once.
fn stormy_season() -> Transitions {
    static SEEN: OnceLock<Transitions> = OnceLock::new();
    *SEEN.get_or_init(|| {
        let roles = roles();
        let mut seen = Transitions::default();
        for seed in 0..STORMY_SEEDS {
            seen.add(stormy(seed, &roles, false).transitions);
        }
        seen
    })
}

/// The seed that somebody wants to see again.
fn replayed() -> Option<u64> {
    let seed = env::var("ONELOOP_SEED").ok()?;
    Some(seed.parse().expect("ONELOOP_SEED is a number"))
}

/// Says how to see a run again, if it fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "seed {seed}: ONELOOP_SEED={seed} cargo test --test simulation shows the run"
            );
        }
    }
}

// ── A run ──────────────────────────────────────────────────────────────────────────────────────

/// A script, and what it receives when nothing goes wrong.
struct Role {
    script: Rc<Script>,
    expected: Vec<u8>,
}

fn roles() -> Vec<Role> {
    scripts::scripts().into_iter().map(rehearse).collect()
}

/// Plays a script alone and in calm weather.
fn rehearse(script: Script) -> Role {
    let script = Rc::new(script);
    let scripts = [Rc::clone(&script)];
    let world = World::new(Rng::new(0), Weather::calm(), &scripts, false);
    let mut finished = run(world, weather::usual_limits());
    let client = &mut finished.world.clients[0];
    let status = client.status();
    assert!(!client.was_cut_short, "an answer is missing: {status}");
    Role {
        script,
        expected: std::mem::take(&mut client.received),
    }
}

/// Runs a cast, and holds what every client has received against what it should have.
fn perform(
    seed: u64,
    rng: Rng,
    weather: Weather,
    limits: Limits,
    cast: &[&Role],
    is_talkative: bool,
) -> Finished {
    let _replay = Replay(seed);
    let scripts: Vec<_> = cast.iter().map(|role| Rc::clone(&role.script)).collect();
    if is_talkative {
        eprintln!("{weather:#?}\n{limits:#?}");
        scripts
            .iter()
            .for_each(|script| eprintln!("{:?}", script.name));
    }
    let is_crowded = limits.connections_max < cast.len();
    let mut world = World::new(rng, weather, &scripts, is_talkative);
    for client in &mut world.clients {
        client.is_excused |= is_crowded;
    }
    let finished = run(world, limits);
    let clients = &finished.world.clients;
    for (client, role) in clients.iter().zip(cast) {
        judge(client, &role.expected, finished.world.stops);
    }
    if clients
        .iter()
        .all(|c| c.script.is_cooperative && !c.is_excused)
    {
        for late in [Cause::Idle, Cause::Late, Cause::Stalled] {
            assert_eq!(
                finished.counters.closed(late),
                0,
                "a deadline passed: {late:?}"
            );
        }
    }
    finished
}

/// How a run ended.
struct Finished {
    world: World,
    transitions: Transitions,
    counters: Counters,
}

/// Runs a server in a world until all clients have left, or until it is stopped.
fn run(world: World, limits: Limits) -> Finished {
    let world = Rc::new(RefCell::new(world));
    let files = SimFiles {
        world: Rc::clone(&world),
    };
    let driver = SimDriver {
        world: Rc::clone(&world),
    };
    let site = Site::new(files, b"index.html", &limits)
        .with_guard(Guard::new(["x"]))
        .with_test_endpoints();
    let mut server = Server::new(driver, LISTENERS, site, limits);
    let mut turns = 0;
    loop {
        turns += 1;
        assert!(turns < TURNS_MAX, "the server does not come to rest");
        let flow = server.turn().expect("the simulated wait does not fail");
        server.check();
        let world = world.borrow();
        let stopped = flow == Flow::Stopped;
        assert!(stopped || world.stops < 2, "a second signal stops at once");
        assert!(!stopped || world.stops > 0, "nobody has asked it to stop");
        if stopped {
            break;
        }
        if world.is_over() && world.is_forgotten() && server.is_quiet() {
            assert_eq!(server.connections().count(), 0, "a connection is left");
            assert_eq!(server.timers().armed(), 0, "a deadline is left");
            break;
        }
    }
    let (transitions, counters) = (server.transitions(), server.counters().clone());
    drop(server);
    let world = Rc::into_inner(world).expect("a socket is left");
    let mut world = world.into_inner();
    world.finish();
    assert_eq!(world.tree.open_files(), 0, "a file is left open");
    Finished {
        world,
        transitions,
        counters,
    }
}
