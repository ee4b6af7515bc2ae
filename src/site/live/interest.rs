//! Floor 2, site: which names in a directory may concern a use. The question is asked of each event in a
//! watched directory, and a build makes thousands at once, so what is at stake in a directory is
//! collected when it is first asked about.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use slab::Slab;

use super::uses::Use;

/// The interest of the uses in one directory.
#[derive(Default, Debug)]
struct Names {
    /// The next segments of the paths that lead on from the directory, as [`folded`].
    next: BTreeSet<Box<[u8]>>,
    /// The slots of the uses whose path is that of the directory.
    own: Vec<usize>,
}

/// The interest of the uses in the directories that were asked about, as long as the uses stay the same.
#[derive(Default, Debug)]
pub(super) struct Interests(BTreeMap<Box<[u8]>, Names>);

impl Interests {
    /// The uses that are searched with one unit of work.
    const USES_PER_WORK: u32 = 32;

    /// The uses have become others.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// Whether a change at `name` in `directory` may concern a use, and the work. `index` is the name of
    /// index pages.
    pub fn has(
        &mut self,
        uses: &Slab<Use>,
        (directory, name): (&[u8], &[u8]),
        index: &[u8],
    ) -> (bool, u32) {
        let mut work = 1;
        if !self.0.contains_key(directory) {
            work += uses.len() as u32 / Self::USES_PER_WORK;
            self.0.insert(directory.into(), Names::of(uses, directory));
        }
        let names = &self.0[directory];
        let is_used = !names.next.is_empty() || !names.own.is_empty();
        let is_of_own = || {
            let is_list = |slot: &usize| uses.get(*slot).is_some_and(|one| one.known.is_list());
            !names.own.is_empty() && (begins_like(name, index) || names.own.iter().any(is_list))
        };
        let is_concerned = is_used && begins_like(name, b"404.html");
        (is_concerned || is_of_own() || names.has_next(name), work)
    }
}

impl Names {
    fn of(uses: &Slab<Use>, directory: &[u8]) -> Names {
        let mut names = Names::default();
        for (slot, one) in uses {
            let led_to = one.led_to.strip_prefix(b"/");
            for file in [one.file.as_deref(), led_to].into_iter().flatten() {
                let rest = match (directory, file.strip_prefix(directory)) {
                    ([], _) => file,
                    (_, Some([b'/', rest @ ..])) => rest,
                    // The path of a directory, without its slash.
                    (_, Some([])) => &[],
                    _ => continue,
                };
                match rest.split(|b| *b == b'/').next().unwrap_or_default() {
                    [] => names.own.push(slot),
                    segment => {
                        names.next.insert(folded(segment).into());
                    }
                }
            }
        }
        names
    }

    /// Whether `name` begins like one of the next segments.
    fn has_next(&self, name: &[u8]) -> bool {
        let folded = folded(name);
        let mut beginnings = (0..=folded.len()).map(|end| &folded[..end]);
        // What follows a byte that is not ASCII does not count.
        let is_cut = folded.len() < name.len();
        beginnings.any(|beginning| self.next.contains(beginning))
            || is_cut && {
                let from = (Bound::Included(&*folded), Bound::Unbounded);
                let mut following = self.next.range::<[u8], _>(from);
                following
                    .next()
                    .is_some_and(|next| next.starts_with(&folded))
            }
    }
}

/// A name up to its first byte that is not ASCII, in lower case: as far as one can tell without knowing
/// how the file system compares names.
fn folded(name: &[u8]) -> Vec<u8> {
    let ascii = name.iter().take_while(|b| b.is_ascii());
    ascii.map(u8::to_ascii_lowercase).collect()
}

/// Whether a name begins like `beginning`, which is ASCII.
pub(super) fn begins_like(name: &[u8], beginning: &[u8]) -> bool {
    let folded = folded(name);
    let length = folded.len().min(beginning.len());
    let is_cut = folded.len() < name.len();
    (length == beginning.len() || is_cut)
        && folded[..length].eq_ignore_ascii_case(&beginning[..length])
}
