//! The season of live reload: open pages, while writers are at work, in the weather of each other season.
//!
//! - An edit reaches each page that uses the file. Long after the last writer, a page has what is on the
//!   disk, because it was loaded since, or was told and has obeyed.
//! - Nothing is told of a file more often than its content has changed, and in calm weather only if it has
//!   changed since pages were told.
//! - A page is its file and the tag, and what it uses has no tag ([`pages`](crate::pages)).
//! - A server that waits for a missing document sleeps (`World::wait` counts the turns in which nothing
//!   happens), and so does one that has no watch left.
//!
//! Bugs that were put back, one at a time, and how they were noticed:
//!
//! | bug | runs | in the words of |
//! |---|---|---|
//! | a change in a watched directory is no reason to look | 133 of 400 | an edit was missed |
//! | there is no poll when no watch is left | 24 of 400 | an edit was missed |
//! | a hello is told of nothing | 25 of 400 | an edit was missed |
//! | lost changes are no reason to look | 3 of 120 | an edit was missed |
//! | the way to the root is not watched | 4 of 80 | an edit was missed |
//! | a page is not open before its hello | 1 of 2,000 | an edit was missed |
//! | the same content in another file counts | 8 of the first 17 | nothing has changed |
//! | the tag is put in twice | 113 of 120 | a wrong number of tags |
//! | the look goes on while a document is missing | 1 of 80 | the server spins |
//!
//! If the paths are not watched anew after a change, no run notices: the site offers a directory that is
//! another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::disk::URLS;
use crate::pages::Part;
use crate::scripts;
use crate::verdict::{Hardship, judge};
use crate::weather::{self, Rng, Weather};
use crate::world::World;
use crate::{Replay, Role, rehearse_in, run, scripts_of};

/// The longest time from the look at a file to the message, in calm weather.
const DELIVERY: Duration = Duration::from_millis(5);

/// Seeds beyond the usual number that have found a fault once.
pub const FAULTS: [u64; 2] = [7933, 9236];

/// What has come of a run.
pub struct Outcome {
    /// The pages that were told of a change.
    pub pages_told: u64,
}

/// The roles of other clients, on a server whose answers have the fields of live reload.
pub fn roles() -> Vec<Role> {
    let prepare = |world: &mut World| world.add_pages(0);
    let scripts = scripts::scripts().into_iter();
    scripts.map(|script| rehearse_in(script, prepare)).collect()
}

/// Pages, and perhaps other clients, in any weather.
pub fn season(seed: u64, roles: &[Role], is_talkative: bool) -> Outcome {
    let _replay = Replay(seed);
    let mut rng = Rng::new(seed);
    let (mut weather, mut limits) = match seed % 4 {
        0 => (Weather::calm(), weather::usual_limits()),
        1 => (Weather::restless(), weather::usual_limits()),
        2 => (Weather::drawn(&mut rng), weather::limits(&mut rng)),
        _ => (Weather::ending(&mut rng), weather::limits(&mut rng)),
    };
    if rng.chance(50) {
        weather.signals.clear();
    }
    // A page that reads too slowly may miss a message, as any member of a room. And a page cannot wait
    // through a night.
    (limits.write_buffer_max, limits.memory_bytes_max) = (1 << 20, 1 << 20);
    weather.jumps.retain(|(_, by)| !Weather::is_suspension(*by));
    if rng.chance(80) {
        (limits.connections_max, weather.descriptors_max) = (100, 100);
    }
    let cast: Vec<&Role> = (0..rng.below(3)).map(|_| rng.pick(roles)).collect();
    let pages = rng.within(1..=3);
    let most = limits.connections_max.min(weather.descriptors_max);
    let is_crowded = most < cast.len() + 2 * pages;
    // A page comes again and again until the kernel has a descriptor for its connection, and watches it.
    let is_refused = weather.unregistered > 0 || weather.exhausted > 0;
    let hardship = Hardship::of(&limits);
    let scripts = scripts_of(&cast, &weather, &limits, is_talkative);
    let mut world = World::new(rng, weather, &scripts, is_talkative);
    world.add_pages(pages);
    for client in &mut world.clients {
        client.is_excused |= is_crowded;
        client.may_miss = hardship.may_miss;
    }
    let world = run(world, limits).world;
    for (client, role) in world.clients.iter().zip(&cast) {
        judge(client, &role.expected, world.stops, hardship);
    }
    let disk = world.disk.as_ref().expect("there are pages");
    let is_calm_in_the_end = world.stops == 0 && !is_crowded && disk.ends_whole;
    let mut pushes: BTreeMap<u64, (Instant, BTreeSet<String>)> = BTreeMap::new();
    let mut pages_told = 0;
    let parts = world
        .clients
        .iter()
        .filter_map(|client| client.page.as_ref());
    for tab in parts.filter_map(Part::tab) {
        let tab = tab.borrow();
        pages_told += u64::from(!tab.pushes.is_empty());
        for (generation, (at, urls)) in &tab.pushes {
            let named = pushes.entry(*generation);
            let (first, named) = named.or_insert((*at, BTreeSet::new()));
            *first = (*first).min(*at);
            named.extend(urls.iter().cloned());
        }
        if is_calm_in_the_end && (tab.differences.is_some() || !is_refused) {
            let differences = tab.differences.as_ref();
            let differences = differences.expect("a page is not loaded, or not connected");
            assert!(
                differences.is_empty(),
                "an edit was missed: {differences:#?}"
            );
        }
    }
    for (url, _) in URLS {
        let times = pushes.values().filter(|(_, urls)| urls.contains(url));
        let times: Vec<Instant> = times.map(|(at, _)| *at).collect();
        if seed.is_multiple_of(4) {
            let before = times.iter().map(|at| Some(*at - DELIVERY));
            for (before, at) in [None].into_iter().chain(before).zip(&times) {
                assert!(
                    disk.has_changed(url, before, *at),
                    "nothing has changed: {url} was told without a change"
                );
            }
        }
        let told = times.len();
        let changes = disk.changes_of(url);
        assert!(
            told <= changes,
            "nothing has changed: {url} was told {told} times, and has changed {changes} times"
        );
    }
    Outcome { pages_told }
}
