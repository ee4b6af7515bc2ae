//! Floor 2, site: the cache of representations and of absent files, with a bound on its total
//! weight. The cache must not know the disk: [`Site`](super::Site) checks whether an entry still
//! holds.

use std::collections::BTreeMap;
use std::mem;
use std::rc::Rc;

use slab::Slab;

use super::Place;
use super::representation::{Content, Representation};
use crate::http::Coding;
use crate::sys::Stat;

/// The cached outcome for one path in one coding.
#[derive(Debug)]
pub(super) struct Entry<F> {
    /// The path of the original file, also if the entry is for a sibling.
    path: Box<[u8]>,
    coding: Coding,
    pub lookup: Lookup<F>,
    /// Where the file of the lookup is, or is absent.
    pub place: Place,
    /// The last epoch that found the file unchanged; see the docs of [`site`](super).
    pub checked: u64,
    /// The siblings of the path, as last found in its directory; in entries for identity alone.
    pub siblings: Option<Siblings>,
    /// The siblings that are not in the coding of their name, each with its stat when last read; in
    /// entries for identity alone.
    pub unfit: Vec<(Coding, Stat)>,
    /// Whether the entry was used since the hand last passed.
    used: bool,
    /// Whether the entry was used since the last call of [`Cache::close_unused_files`].
    used_lately: bool,
}

/// The outcome of looking for the file at a path.
#[derive(Debug)]
pub(super) enum Lookup<F> {
    /// The file is present, in this representation.
    Present(Rc<Representation<F>>),
    /// No file is at the path.
    Absent,
}

/// The codings in which a file lies beside the original (`app.js.br` beside `app.js`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Siblings {
    /// The stat of the directory at the time. Each name that is added or removed changes the stat.
    pub directory: Stat,
    /// The last epoch that found the directory unchanged.
    pub checked: u64,
    /// Indexed by coding.
    pub present: [bool; Coding::ALL.len()],
}

impl<F> Entry<F> {
    /// `checked` is the epoch in which the file of the lookup was looked at, at this place.
    pub fn new(
        path: &[u8],
        coding: Coding,
        lookup: Lookup<F>,
        (place, checked): (Place, u64),
    ) -> Entry<F> {
        Entry {
            path: path.into(),
            coding,
            lookup,
            place,
            checked,
            siblings: None,
            unfit: Vec::new(),
            used: false,
            used_lately: true,
        }
    }

    /// Whether the entry holds a file open.
    fn is_open_file(&self) -> bool {
        match &self.lookup {
            Lookup::Present(representation) => {
                matches!(representation.source.content, Content::File(..))
            }
            Lookup::Absent => false,
        }
    }

    /// The weight of the entry in bytes, with an allowance for the tables of the cache. An open
    /// file weighs 256 KiB, which keeps the number of descriptors held by the cache small: at most
    /// 64 with the default bound.
    ///
    /// A cache that is full of other entries adds up to 13 % more, or 5 % less, than their weight to the
    /// resident memory (measured with files of 27 to 10,000 bytes, with names of 10 and 160 bytes, and
    /// with absent files).
    fn bytes(&self) -> usize {
        const TABLES: usize = 300;
        const OPEN_FILE: usize = 256 << 10;
        /// Two counters of an `Rc`, and a word of the allocator.
        const ALLOCATION: usize = 24;
        let lookup = match &self.lookup {
            Lookup::Absent => 0,
            Lookup::Present(representation) => {
                let content = match &representation.source.content {
                    Content::Memory(bytes) => bytes.len(),
                    Content::File(..) => OPEN_FILE,
                };
                let heads = representation.ok.len() + representation.not_modified.len();
                // The representation, its path, its content and two heads.
                size_of::<Representation<F>>() + content + heads + 5 * ALLOCATION
            }
        };
        lookup + 3 * self.path.len() + self.place.bytes() + ALLOCATION + TABLES
    }
}

/// Entries by path and coding, evicted by the clock algorithm: the hand passes from entry to entry,
/// spares each entry that was used since the hand last passed, and evicts the first unused entry.
#[derive(Debug)]
pub(super) struct Cache<F> {
    // By path first: with the pair of path and coding as the key, each lookup would copy the path.
    paths: BTreeMap<Box<[u8]>, [Option<usize>; Coding::ALL.len()]>,
    entries: Slab<Entry<F>>,
    bytes: usize,
    bytes_max: usize,
    /// The number of entries that hold a file open.
    open_files: usize,
    hand: usize,
}

impl<F> Cache<F> {
    pub fn new(bytes_max: usize) -> Cache<F> {
        Cache {
            paths: BTreeMap::new(),
            entries: Slab::new(),
            bytes: 0,
            bytes_max,
            open_files: 0,
            hand: 0,
        }
    }

    /// The bound on the weight of all entries, in bytes.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub fn get(&mut self, path: &[u8], coding: Coding) -> Option<&mut Entry<F>> {
        let at = self.paths.get(path)?[coding as usize]?;
        let entry = &mut self.entries[at];
        entry.used = true;
        entry.used_lately = true;
        Some(entry)
    }

    pub fn remove(&mut self, path: &[u8], coding: Coding) {
        let Some(codings) = self.paths.get_mut(path) else {
            return;
        };
        if let Some(at) = codings[coding as usize].take() {
            let entry = self.entries.remove(at);
            self.bytes -= entry.bytes();
            self.open_files -= usize::from(entry.is_open_file());
        }
        if *codings == [None; Coding::ALL.len()] {
            self.paths.remove(path);
        }
    }

    /// Inserts an entry, in place of an earlier entry for the same path and coding. An entry that
    /// is heavier than the bound of the whole cache is dropped.
    pub fn insert(&mut self, entry: Entry<F>) {
        self.remove(&entry.path, entry.coding);
        if entry.bytes() > self.bytes_max {
            return;
        }
        while self.bytes + entry.bytes() > self.bytes_max {
            self.evict();
        }
        self.bytes += entry.bytes();
        self.open_files += usize::from(entry.is_open_file());
        let (path, coding) = (entry.path.clone(), entry.coding);
        let at = self.entries.insert(entry);
        self.paths.entry(path).or_default()[coding as usize] = Some(at);
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        *self = Cache::new(self.bytes_max);
    }

    /// Whether any entry holds a file open. A counter gives the answer without a search, because a
    /// server that is out of descriptors asks for each file that it cannot open.
    pub fn has_open_files(&self) -> bool {
        self.open_files > 0
    }

    /// Removes all entries that hold a file open, because descriptors are needed elsewhere.
    pub fn close_files(&mut self) {
        self.close_files_if(|_| true);
    }

    /// Removes the entries that hold a file open and were not used since the last call. An open
    /// file keeps its blocks on the disk after the file was deleted, and keeps the file system from
    /// being unmounted.
    pub fn close_unused_files(&mut self) {
        self.close_files_if(|entry| !mem::take(&mut entry.used_lately));
    }

    fn close_files_if(&mut self, mut is_closed: impl FnMut(&mut Entry<F>) -> bool) {
        let files = self.entries.iter_mut();
        let files = files.filter_map(|(_, e)| (e.is_open_file() && is_closed(e)).then_some(e));
        let files: Vec<_> = files.map(|e| (e.path.clone(), e.coding)).collect();
        for (path, coding) in files {
            self.remove(&path, coding);
        }
    }

    /// Moves the hand to the first unused entry and removes this entry. The first round marks every
    /// entry as unused, so two rounds are the most.
    fn evict(&mut self) {
        for _ in 0..=2 * self.entries.capacity() {
            self.hand = (self.hand + 1) % self.entries.capacity();
            match self.entries.get_mut(self.hand) {
                Some(entry) if entry.used => entry.used = false,
                Some(entry) => {
                    let (path, coding) = (entry.path.clone(), entry.coding);
                    return self.remove(&path, coding);
                }
                None => {}
            }
        }
        unreachable!("an entry has been passed twice, unused the second time");
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::representation::{Edition, Sample, Source, Varies};
    use super::*;
    use crate::site::freshness::Freshness;
    use crate::sys::FileKind;

    fn stat(size: u64) -> Stat {
        Stat {
            kind: FileKind::File,
            device: 0,
            inode: 0,
            size,
            modified: SystemTime::UNIX_EPOCH,
            changed: SystemTime::UNIX_EPOCH,
        }
    }

    fn entry(path: &str, content: Content<()>) -> Entry<()> {
        let source = Source {
            path: path.as_bytes().into(),
            stat: stat(5),
            media_type: "text/plain".into(),
            coding: Coding::Identity,
            own_file: true,
            varies: Varies::default(),
            freshness: Freshness::None,
            edition: Edition::default(),
            content,
        };
        let representation = Representation::new(source, SystemTime::UNIX_EPOCH);
        let lookup = Lookup::Present(Rc::new(representation));
        let place = Place::new(b"/root/", path.as_bytes());
        Entry::new(path.as_bytes(), Coding::Identity, lookup, (place, 0))
    }

    fn memory(path: &str, bytes: usize) -> Entry<()> {
        entry(path, Content::Memory(vec![0; bytes].into()))
    }

    #[test]
    fn the_least_used_goes_first_and_the_bound_holds() {
        let each = memory("a", 1_000).bytes();
        let mut cache = Cache::new(3 * each + each / 2);
        for path in ["a", "b", "c"] {
            cache.insert(memory(path, 1_000));
        }
        for turn in 0..100 {
            assert!(
                cache.get(b"a", Coding::Identity).is_some(),
                "used in every turn"
            );
            cache.insert(memory(&format!("x{turn}"), 900));
            assert!(cache.bytes <= cache.bytes_max);
            assert_eq!((cache.entries.len(), cache.paths.len()), (3, 3));
        }
        cache.insert(memory("huge", 4 * each));
        assert!(cache.get(b"huge", Coding::Identity).is_none());
        cache.insert(memory("a", 10));
        for path in ["a", "x97", "x98", "x99"] {
            cache.remove(path.as_bytes(), Coding::Identity);
        }
        assert_eq!(
            (cache.bytes, cache.entries.len(), cache.paths.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn codings_are_apart_and_open_files_can_be_closed() {
        let mut cache = Cache::new(1 << 20);
        cache.insert(memory("a", 10));
        let place = Place::new(b"/root/", b"a");
        cache.insert(Entry::new(b"a", Coding::Gzip, Lookup::Absent, (place, 0)));
        cache.insert(entry(
            "large",
            Content::File(Rc::new(()), Sample::default()),
        ));
        assert!(cache.get(b"a", Coding::Brotli).is_none());
        assert!(cache.has_open_files());
        cache.close_files();
        assert!(!cache.has_open_files());
        assert!(cache.get(b"large", Coding::Identity).is_none());
        assert!(cache.get(b"a", Coding::Gzip).is_some());
        cache.remove(b"a", Coding::Identity);
        assert!(cache.get(b"a", Coding::Gzip).is_some());
    }

    #[test]
    fn a_file_is_closed_when_it_is_not_used_between_two_calls() {
        let mut cache = Cache::new(1 << 20);
        cache.insert(memory("small", 10));
        cache.insert(entry(
            "first",
            Content::File(Rc::new(()), Sample::default()),
        ));
        cache.insert(entry(
            "second",
            Content::File(Rc::new(()), Sample::default()),
        ));
        cache.close_unused_files();
        assert!(cache.get(b"first", Coding::Identity).is_some());
        cache.close_unused_files();
        assert!(cache.get(b"first", Coding::Identity).is_some());
        assert!(cache.get(b"second", Coding::Identity).is_none());
        cache.close_unused_files();
        cache.close_unused_files();
        assert!(!cache.has_open_files());
        assert!(cache.get(b"small", Coding::Identity).is_some());
    }
}
