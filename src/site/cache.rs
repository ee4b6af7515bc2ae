//! Floor 3, site: small answers, ready-made, bounded in all. It must not know the disk: whether an
//! entry still holds is asked by [`Site`](super::Site).

use std::collections::BTreeMap;
use std::rc::Rc;

use slab::Slab;

use crate::sys::Stat;

/// An answer in memory, and what it was made from.
#[derive(Debug)]
pub(super) struct Entry {
    /// The path it answers.
    name: Box<[u8]>,
    /// The file it was made from, if that is not the path itself: the index of a directory.
    pub file: Option<Box<[u8]>>,
    /// What that file was like.
    pub stat: Stat,
    /// The last round of checks that found it unchanged; see [`Site`](super::Site).
    pub checked: u64,
    /// The head, without its end.
    pub head: Rc<[u8]>,
    /// The whole body.
    pub body: Rc<[u8]>,
    /// Used since the hand last came by.
    used: bool,
}

impl Entry {
    pub fn new(name: &[u8], stat: Stat, checked: u64, head: Rc<[u8]>, body: Rc<[u8]>) -> Entry {
        Entry {
            name: name.into(),
            file: None,
            stat,
            checked,
            head,
            body,
            used: false,
        }
    }

    /// The path of the file.
    pub fn path(&self) -> &[u8] {
        self.file.as_deref().unwrap_or(&self.name)
    }

    /// What it weighs, with an allowance for the tables.
    fn bytes(&self) -> usize {
        const TABLES: usize = 200;
        self.head.len() + self.body.len() + 2 * self.name.len() + TABLES
    }
}

/// Answers by path, with the clock algorithm for what has to go: an entry that was used since the
/// hand last passed is passed over once more.
#[derive(Debug)]
pub(super) struct Cache {
    names: BTreeMap<Box<[u8]>, usize>,
    entries: Slab<Entry>,
    bytes: usize,
    bytes_max: usize,
    hand: usize,
}

impl Cache {
    pub fn new(bytes_max: usize) -> Cache {
        Cache {
            names: BTreeMap::new(),
            entries: Slab::new(),
            bytes: 0,
            bytes_max,
            hand: 0,
        }
    }

    pub fn get(&mut self, name: &[u8]) -> Option<&mut Entry> {
        let entry = &mut self.entries[*self.names.get(name)?];
        entry.used = true;
        Some(entry)
    }

    pub fn remove(&mut self, name: &[u8]) {
        if let Some(at) = self.names.remove(name) {
            self.bytes -= self.entries.remove(at).bytes();
        }
    }

    /// Keeps an entry, in place of what had its name, if it fits at all.
    pub fn insert(&mut self, entry: Entry) {
        self.remove(&entry.name);
        if entry.bytes() > self.bytes_max {
            return;
        }
        while self.bytes + entry.bytes() > self.bytes_max {
            self.evict();
        }
        self.bytes += entry.bytes();
        let name = entry.name.clone();
        self.names.insert(name, self.entries.insert(entry));
    }

    /// Moves the hand on to the first entry that was not used, two rounds at most.
    fn evict(&mut self) {
        for _ in 0..=2 * self.entries.capacity() {
            self.hand = (self.hand + 1) % self.entries.capacity();
            match self.entries.get_mut(self.hand) {
                Some(entry) if entry.used => entry.used = false,
                Some(entry) => {
                    let name = entry.name.clone();
                    return self.remove(&name);
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

    use super::*;
    use crate::sys::Kind;

    fn entry(name: &str, bytes: usize) -> Entry {
        let stat = Stat {
            kind: Kind::File,
            device: 0,
            inode: 0,
            size: 0,
            modified: SystemTime::UNIX_EPOCH,
            changed: SystemTime::UNIX_EPOCH,
        };
        let body = vec![0; bytes].into();
        Entry::new(name.as_bytes(), stat, 0, Rc::from([]), body)
    }

    #[test]
    fn the_least_used_goes_first_and_the_bound_holds() {
        let mut cache = Cache::new(4_000);
        for name in ["a", "b", "c"] {
            cache.insert(entry(name, 1_000));
        }
        for turn in 0..100 {
            assert!(cache.get(b"a").is_some(), "used in every turn");
            cache.insert(entry(&format!("x{turn}"), 1_000));
            assert!(cache.bytes <= 4_000);
            assert_eq!(cache.entries.len(), 3);
            assert_eq!(cache.names.len(), 3);
        }
        cache.insert(entry("huge", 5_000));
        assert!(cache.get(b"huge").is_none());
        cache.insert(entry("a", 10));
        for name in ["a", "x97", "x98", "x99"] {
            cache.remove(name.as_bytes());
        }
        assert_eq!((cache.bytes, cache.entries.len()), (0, 0));
    }
}
