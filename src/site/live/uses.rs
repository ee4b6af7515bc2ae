//! Floor 2, site: the *uses*, URLs that the pages of browsers ask for. A use is noted with each request of a
//! browser, whatever the answer: a file that is missing now may come. Clients such as curl leave none.
//!
//! A use is known by its URL path, as the browser wrote it and without the query, and by whether it was
//! asked for as a page to show. It remembers how it was asked for, what was answered, and which URL
//! paths referred to it. Whether the answer has changed is found out in `survey.rs`.
//!
//! The number of uses and the bytes that they hold are bounded. One that was not asked for lately goes
//! first.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use slab::Slab;

use super::interest::{Interests, begins_like};
use super::look::Seen;
use super::survey::Job;
use crate::http::SitePath;
use crate::site::rules::NAMES;
use crate::site::{Files, Site};
use crate::sys::{FileKind, Stat};

/// A URL path that a browser has asked for.
#[derive(Debug)]
pub(super) struct Use {
    pub path: Box<[u8]>,
    pub is_navigation: bool,
    /// The path beneath the root, decoded; `None` if no file can have the path.
    pub file: Option<Box<[u8]>>,
    /// The path of the file that a rule has named in its place; empty without such a rule.
    pub led_to: Box<[u8]>,
    /// The field lines of the request on which the answer may depend, with the end of the head.
    pub fields: Rc<[u8]>,
    /// The URL paths that referred to the use.
    referrers: Vec<Box<[u8]>>,
    /// Whether any page may use it: it was asked for without a referrer, or by too many.
    pub by_any: bool,
    /// Whether it is the data of an app, and no part of its program: fetched JSON.
    pub is_data: bool,
    /// Hashes of the last two heads that were served and belong to the state `known`.
    pub served: [u64; 2],
    /// The state that the pages have, or were told of.
    pub known: Seen,
    /// When a page was last given the state `known`.
    pub known_given_at: SystemTime,
    /// The state that was found since, if it differs.
    pub found: Option<Seen>,
    /// Other states than `known` that pages were given since, and when each was last given.
    pub given: Vec<(Seen, SystemTime)>,
    /// When the state changed last.
    pub changed: Option<Instant>,
    /// Whether the directories on the way were not looked for yet.
    pub needs_walk: bool,
    /// Whether the answer must be looked at.
    pub needs_look: bool,
    /// Whether it was asked for since the hand last passed.
    is_recent: bool,
}

impl Use {
    /// The most referrers of a use. One with more counts as used by any page.
    const REFERRERS_MAX: usize = 64;

    /// The bytes that count for the bound, with an allowance for the tables.
    fn bytes(&self) -> usize {
        let referrers: usize = self.referrers.iter().map(|path| path.len() + 40).sum();
        let file = self.file.as_ref().map_or(0, |file| file.len());
        2 * self.path.len() + file + self.fields.len() + referrers
    }

    /// Notes that a page was given a state.
    pub fn give(&mut self, seen: Seen, now: SystemTime) {
        /// A page that is loaded more often during a burst of writes is told of a change in any case, because
        /// two of these differ.
        const GIVEN_MAX: usize = 4;
        if !seen.differs_from(&self.known) {
            self.known_given_at = now;
            return;
        }
        self.given.retain(|(given, _)| seen.differs_from(given));
        if self.given.len() == GIVEN_MAX {
            self.given.remove(0);
        }
        self.given.push((seen, now));
    }

    /// Whether a page has another state than this one, so that it must be told.
    pub fn is_change(&self, seen: &Seen) -> bool {
        self.states().any(|(state, _)| seen.differs_from(state))
    }

    /// When a page was last given another state than this one.
    pub fn other_given_at(&self, seen: &Seen) -> Option<SystemTime> {
        let others = self.states().filter(|(state, _)| seen.differs_from(state));
        others.map(|(_, given_at)| given_at).max()
    }

    /// From now on, the pages have this state, or were told of it.
    pub fn know(&mut self, seen: Seen) {
        let same = self.states().filter(|(state, _)| !seen.differs_from(state));
        let given_at = same.map(|(_, given_at)| given_at).max();
        self.known_given_at = given_at.unwrap_or(SystemTime::UNIX_EPOCH);
        self.known.take(seen);
        self.given.clear();
    }

    /// The states that pages have, and when each was last given.
    fn states(&self) -> impl Iterator<Item = (&Seen, SystemTime)> {
        let given = self.given.iter().map(|(state, at)| (state, *at));
        given.chain([(&self.known, self.known_given_at)])
    }
}

/// How much of the paths that led to uses is told at once. A few uses with long paths may have led to
/// all others.
#[derive(Debug)]
pub(super) struct Allowance {
    names: usize,
    bytes: usize,
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance {
            names: 1 << 15,
            bytes: 1 << 18,
        }
    }
}

impl Allowance {
    /// Takes names that are to be searched. Returns `false` if too few are left.
    fn take_names(&mut self, names: usize) -> bool {
        take(&mut self.names, names)
    }

    fn take_bytes(&mut self, bytes: usize) -> bool {
        take(&mut self.bytes, bytes)
    }
}

fn take(left: &mut usize, amount: usize) -> bool {
    let rest = left.checked_sub(amount);
    *left = rest.unwrap_or(*left);
    rest.is_some()
}

/// The uses, and the work on them that is to be done.
#[derive(Debug)]
pub(in crate::site) struct Uses<F> {
    /// By path, and then by whether it is a navigation.
    by_path: BTreeMap<Box<[u8]>, [Option<usize>; 2]>,
    pub(super) all: Slab<Use>,
    interests: Interests,
    hand: usize,
    pub(super) bytes: usize,
    /// The field lines that were noted last. Most requests of a browser have the same.
    shapes: Vec<Rc<[u8]>>,
    /// The directories on the way to the uses, as they were last found, with the number of the survey.
    directories: BTreeMap<Box<[u8]>, (Stat, u64)>,
    /// Directories that were not taken yet.
    fresh: Vec<Box<[u8]>>,
    /// Files that were come by and not taken yet.
    walked: Vec<Box<[u8]>>,
    /// The number of the survey.
    pub(super) surveys: u64,
    /// Whether all directories are looked for once more, after new ones were taken.
    pub(super) walks_again: bool,
    /// How many uses need a walk, and how many need a look.
    pub(super) walks_due: usize,
    pub(super) looks_due: usize,
    /// Where the search for the next of them begins.
    pub(super) cursor: usize,
    /// Whether the rules are to be looked at first.
    pub(super) rules_due: bool,
    pub(super) job: Option<Job<F>>,
    /// Whether each look of the last survey came to an end.
    pub(super) is_certain: bool,
    /// Whether pages with live reload are open.
    pub(super) has_pages: bool,
    /// The pages that have sent something to be written, and when.
    writers: Vec<(Box<[u8]>, SystemTime)>,
}

impl<F> Default for Uses<F> {
    fn default() -> Uses<F> {
        Uses {
            by_path: BTreeMap::new(),
            all: Slab::new(),
            interests: Interests::default(),
            hand: 0,
            bytes: 0,
            shapes: Vec::new(),
            directories: BTreeMap::new(),
            fresh: Vec::new(),
            walked: Vec::new(),
            surveys: 0,
            walks_again: false,
            walks_due: 0,
            looks_due: 0,
            cursor: 0,
            rules_due: false,
            job: None,
            is_certain: true,
            has_pages: false,
            writers: Vec::new(),
        }
    }
}

impl<F> Uses<F> {
    const USES_MAX: usize = 4096;
    const BYTES_MAX: usize = 4 << 20;
    const SHAPES_MAX: usize = 32;
    const WRITERS_MAX: usize = 16;

    /// The files of so many walks wait for a caller that takes them after each call.
    const WALKED_MAX: usize = 4 * Self::USES_MAX;

    /// How long after a page has sent something its data may change without a reload.
    const WRITING: Duration = Duration::from_secs(1);

    /// The use of a path, as a navigation or not.
    pub(super) fn get(&self, path: &[u8], is_navigation: bool) -> Option<&Use> {
        let slot = self.by_path.get(path)?[usize::from(is_navigation)]?;
        self.all.get(slot)
    }

    /// The slot of a use, and whether the use is new.
    pub(super) fn find_or_add(
        &mut self,
        path: &[u8],
        is_navigation: bool,
        fields: impl FnOnce() -> Vec<u8>,
        decode: impl FnOnce() -> Option<Box<[u8]>>,
    ) -> (usize, bool) {
        let slots = self.by_path.get(path);
        if let Some(slot) = slots.and_then(|slots| slots[usize::from(is_navigation)]) {
            self.all[slot].is_recent = true;
            return (slot, false);
        }
        while self.all.len() >= Self::USES_MAX || self.bytes > Self::BYTES_MAX {
            self.evict();
        }
        let fields = self.share(fields());
        let new = Use {
            path: path.into(),
            is_navigation,
            file: decode(),
            led_to: Box::default(),
            fields,
            referrers: Vec::new(),
            by_any: false,
            is_data: false,
            served: [0; 2],
            known: Seen::default(),
            known_given_at: SystemTime::UNIX_EPOCH,
            found: None,
            given: Vec::new(),
            changed: None,
            needs_walk: false,
            needs_look: false,
            is_recent: false,
        };
        self.bytes += new.bytes();
        self.interests.forget();
        let slot = self.all.insert(new);
        let slots = self.by_path.entry(path.into()).or_default();
        slots[usize::from(is_navigation)] = Some(slot);
        (slot, true)
    }

    /// The same field lines, shared with other uses.
    fn share(&mut self, fields: Vec<u8>) -> Rc<[u8]> {
        if let Some(shape) = self.shapes.iter().find(|shape| ***shape == *fields) {
            return Rc::clone(shape);
        }
        if self.shapes.len() == Self::SHAPES_MAX {
            self.shapes.remove(0);
        }
        let shape: Rc<[u8]> = fields.into();
        self.shapes.push(Rc::clone(&shape));
        shape
    }

    /// Forgets a use that was not asked for since the hand last passed.
    fn evict(&mut self) {
        loop {
            self.hand = match self.hand < self.all.capacity() {
                true => self.hand,
                false => 0,
            };
            let slot = self.hand;
            self.hand += 1;
            match self.all.get_mut(slot) {
                Some(one) if one.is_recent => one.is_recent = false,
                Some(_) => return self.remove(slot),
                None => {}
            }
        }
    }

    fn remove(&mut self, slot: usize) {
        if self.job.as_ref().is_some_and(|job| job.slot == slot) {
            self.job = None;
        }
        self.interests.forget();
        let gone = self.all.remove(slot);
        self.bytes -= gone.bytes();
        self.walks_due -= usize::from(gone.needs_walk);
        self.looks_due -= usize::from(gone.needs_look);
        if let Some(slots) = self.by_path.get_mut(&gone.path) {
            slots[usize::from(gone.is_navigation)] = None;
            if *slots == [None; 2] {
                self.by_path.remove(&gone.path);
            }
        }
    }

    /// Notes the path that a rule led to.
    pub(super) fn lead(&mut self, slot: usize, led_to: &[u8]) {
        let one = &mut self.all[slot];
        if *one.led_to != *led_to {
            one.led_to = led_to.into();
            self.interests.forget();
        }
    }

    /// Adds the referrer of a use: a URL path, or, with `None`, anything.
    pub(super) fn refer(&mut self, slot: usize, referrer: Option<&[u8]>) {
        let one = &mut self.all[slot];
        match referrer {
            Some(path) if *path == *one.path => {}
            Some(path) if one.referrers.iter().any(|known| **known == *path) => {}
            Some(path)
                if one.referrers.len() < Use::REFERRERS_MAX && self.bytes <= Self::BYTES_MAX =>
            {
                self.bytes -= one.bytes();
                one.referrers.push(path.into());
                self.bytes += one.bytes();
            }
            Some(_) | None => one.by_any = true,
        }
    }

    pub(super) fn wants_walk(&mut self, slot: usize) {
        self.walks_due += usize::from(!self.all[slot].needs_walk);
        self.all[slot].needs_walk = true;
    }

    /// Begins to look for the directories on the way to all uses.
    pub(super) fn begin_walk(&mut self) {
        self.surveys += 1;
        self.walks_again = false;
        self.walks_due = self.all.len();
        self.all
            .iter_mut()
            .for_each(|(_, one)| one.needs_walk = true);
    }

    pub(super) fn wants_look(&mut self, slot: usize) {
        self.looks_due += usize::from(!self.all[slot].needs_look);
        self.all[slot].needs_look = true;
    }

    /// The URL paths that led to a use; `None` if any page may have been led to it. So it is, too, if
    /// there are too many paths, or if there were in other answers from the same `allowance`.
    pub(super) fn led_from(&self, one: &Use, allowance: &mut Allowance) -> Option<Vec<String>> {
        const NAMES_MAX: usize = 64;
        let mut names: Vec<&[u8]> = one.referrers.iter().map(|path| &**path).collect();
        let mut by_any = one.by_any;
        let mut at = 0;
        while !by_any && at < names.len() {
            if let Some(above) = self.get(names[at], false) {
                by_any = above.by_any || !allowance.take_names(above.referrers.len());
                for path in &above.referrers {
                    if !names.contains(&&**path) && **path != *one.path {
                        names.push(path);
                    }
                }
            }
            at += 1;
            by_any |= names.len() > NAMES_MAX;
        }
        let bytes = names.iter().map(|name| name.len()).sum();
        by_any = by_any || !allowance.take_bytes(bytes);
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        (!by_any).then(|| names.into_iter().map(text).collect())
    }

    /// Notes that a page has sent something to be written.
    pub(super) fn note_writer(&mut self, page: &[u8], now: SystemTime) {
        self.writers.retain(|(other, _)| **other != *page);
        if self.writers.len() == Self::WRITERS_MAX {
            self.writers.remove(0);
        }
        self.writers.push((page.into(), now));
    }

    /// Whether a use is the data of a page that has just sent something.
    pub(super) fn is_being_written(&self, one: &Use, now: SystemTime) -> bool {
        one.is_data
            && self.writers.iter().any(|(page, since)| {
                let has_just_sent = now
                    .duration_since(*since)
                    .is_ok_and(|past| past <= Self::WRITING);
                has_just_sent && one.referrers.contains(page)
            })
    }

    /// Notes a directory that is there. Unless its stat is the same as before, it may be another, which
    /// is to be watched. (The number of an inode may come again at once.)
    fn note_directory(&mut self, path: &[u8], stat: Stat) {
        let now = (stat, self.surveys);
        let before = self.directories.insert(path.into(), now);
        if before.is_none_or(|before| before.0 != stat) {
            self.fresh.push(path.into());
        }
        // No event told of files that were made in the directory before.
        let number = |stat: &Stat| (stat.device, stat.inode);
        self.walks_again |= before.is_none_or(|before| number(&before.0) != number(&stat));
    }

    /// Forgets the directories that the survey has not come by.
    pub(super) fn forget_directories(&mut self) {
        self.interests.forget();
        let survey = self.surveys;
        self.directories.retain(|_, known| known.1 == survey);
    }

    pub(super) fn has_fresh_directories(&self) -> bool {
        !self.fresh.is_empty()
    }
}

impl<F: Files> Site<F> {
    /// The path beneath the root of a URL path; `None` if no file can have it.
    pub(super) fn file_of(&self, path: &[u8]) -> Option<Box<[u8]>> {
        let decoded = self.decode(path).ok()?;
        Some(decoded.bytes().into())
    }

    /// Looks for the directories on the way to a use, and returns the work.
    pub(super) fn walk(&mut self, uses: &mut Uses<F::File>, slot: usize) -> u32 {
        /// As many levels as are searched for a page for what is missing.
        const DEPTH_MAX: usize = 32;
        let one = &uses.all[slot];
        let led_to = match &*one.led_to {
            [] => None,
            path => SitePath::decode(path).ok(),
        };
        let led_to = led_to.map(|path| path.bytes().into());
        let files = [Some(one.file.clone().unwrap_or_default()), led_to];
        let mut work = 1;
        for file in files.into_iter().flatten() {
            let mut is_directory = false;
            let slashes = (0..file.len()).filter(|at| file[*at] == b'/');
            let ends = [0].into_iter().chain(slashes).chain([file.len()]);
            for end in ends.take(DEPTH_MAX) {
                let path = &file[..end];
                let path = path.strip_suffix(b"/").unwrap_or(path);
                let known = uses.directories.get(path);
                is_directory = known.is_some_and(|known| known.1 == uses.surveys);
                if is_directory {
                    continue;
                }
                work += 2;
                match self.files.stat(path) {
                    Ok(stat) if stat.kind == FileKind::Directory => {
                        is_directory = true;
                        uses.note_directory(path, stat);
                        uses.walked.push(join(path, b"404.html"));
                        if path.is_empty() {
                            uses.walked
                                .extend(NAMES.iter().map(|name| Box::from(*name)));
                        }
                    }
                    Ok(_) | Err(_) => {
                        uses.directories.remove(path);
                        break;
                    }
                }
            }
            // The file that answers has one of these names.
            let path = file.strip_suffix(b"/").unwrap_or(&file);
            uses.walked.push(match is_directory {
                true => join(path, &self.index),
                false => [path, b".html"].concat().into(),
            });
            uses.walked.push(file);
        }
        uses.walked.truncate(Uses::<F::File>::WALKED_MAX);
        work
    }
}

/// The path of a name in a directory; the empty path is the root.
fn join(directory: &[u8], name: &[u8]) -> Box<[u8]> {
    let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    [directory, slash, name].concat().into()
}

/// The questions of the server. Without the uses, nothing is known, and there is nothing to do.
impl<F: Files> Site<F> {
    /// Takes the directories that have become of interest since the last call, relative to the root, which
    /// is the empty path. A directory that was made anew comes again.
    pub(crate) fn take_directories(&mut self) -> Vec<Box<[u8]>> {
        let uses = self.uses.as_mut();
        uses.map_or_else(Vec::new, |uses| std::mem::take(&mut uses.fresh))
    }

    /// Takes the files that the survey has come by since the last call, whether they are there or not. One
    /// may be a symbolic link, whose target is to be watched too.
    pub(crate) fn take_walked_files(&mut self) -> Vec<Box<[u8]>> {
        let uses = self.uses.as_mut();
        uses.map_or_else(Vec::new, |uses| std::mem::take(&mut uses.walked))
    }

    /// Whether a change at `name` in `directory`, relative to the root, may change the answer of a use.
    /// Returns the work too.
    pub(crate) fn concerns(&mut self, directory: &[u8], name: &[u8]) -> (bool, u32) {
        if self.uses.is_none() {
            return (false, 1);
        }
        let is_root = directory.is_empty();
        let of_root = [&*self.index, b"404.html"];
        let is_of_root = |name| of_root.iter().any(|one| begins_like(name, one));
        if is_root && (self.is_of_rules(name) || is_of_root(name)) {
            return (true, 1);
        }
        let is_hidden = name.starts_with(b".") && !(is_root && name == b".well-known");
        if is_hidden && !self.serves_hidden && !begins_like(name, &self.index) {
            return (false, 1);
        }
        self.uses.as_mut().map_or((false, 1), |uses| {
            let place = (directory, name);
            uses.interests.has(&uses.all, place, &self.index)
        })
    }

    /// Says whether pages with live reload are open. Without them, an answer that is another than before
    /// is the first, and no change.
    pub(crate) fn set_open_pages(&mut self, are_open: bool) {
        if let Some(uses) = &mut self.uses {
            uses.has_pages = are_open;
        }
    }
}
