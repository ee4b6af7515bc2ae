//! Floor 2, site: the question whether the answers to the uses have changed. It is put to the site itself:
//! see `look.rs`.
//!
//! If the entity tags are equal, nothing has changed. If not, the other fields and a hash of the content
//! decide: a build that writes the same bytes again changes nothing. Of a list, the names count; of an
//! error that the server has written itself, the status; of a redirect, where it leads.
//!
//! A survey goes on a piece at a time, because the server must not keep other clients waiting. Before
//! the answers, the directories on the way to the uses are looked for, and the caller takes and watches
//! them, until no other is found: a later change is announced, and an earlier one is seen.

use std::mem;
use std::time::{Instant, SystemTime};

use super::look::{Hashing, Seen};
use super::uses::{Allowance, Use, Uses};
use crate::site::{Files, Site};

/// The findings of a survey.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub changes: Vec<Change>,
    /// The URL paths that were answered from a file, and are not now, while a page is there that used
    /// them and is still the same.
    pub missing: Vec<String>,
    /// Whether each answer could be looked at. A file that was being written all the time could not.
    pub is_certain: bool,
}

/// A URL path that is answered in another way than before.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Change {
    pub url: String,
    /// The URL paths that led to it, in no order; none if `any`.
    pub from: Vec<String>,
    /// Whether pages that `from` does not name may use it too.
    pub any: bool,
}

/// A use that is being looked at.
#[derive(Debug)]
pub(super) struct Job<F> {
    pub slot: usize,
    /// The number of parts that were looked at.
    parts: usize,
    seen: Seen,
    hashing: Option<Hashing<F>>,
    attempts: u32,
}

impl<F: Files> Site<F> {
    /// How often a use is looked at again, if its file changes meanwhile.
    const ATTEMPTS_MAX: u32 = 3;

    /// Goes on with the use that is being looked at.
    fn go_on(&mut self, uses: &mut Uses<F::File>, mut job: Job<F::File>, now: SystemTime) -> u32 {
        let one = &uses.all[job.slot];
        if let Some(hashing) = &mut job.hashing {
            let (is_end, work) = self.hash_more(hashing, now);
            match is_end {
                Some(false) => {}
                Some(true) => {
                    let hashing = job.hashing.take().expect("it was there");
                    job.seen.part(job.parts - 1).content = hashing.end();
                }
                None => return work + self.try_again(uses, job),
            }
            uses.job = Some(job);
            return work;
        }
        if job.parts == job.seen.parts() {
            self.finish(uses, &job, now);
            return 1;
        }
        if job.parts == 0 {
            self.led_to.clear();
        }
        let mut known = one.known;
        let known = known.part(job.parts);
        let looked = self.look_at_part(one, job.parts, known, &mut job.seen, now);
        let Some((hashing, work)) = looked else {
            return 1 + self.try_again(uses, job);
        };
        if job.parts == 0 {
            uses.lead(job.slot, &self.led_to);
        }
        job.parts += 1;
        job.hashing = hashing;
        uses.job = Some(job);
        work
    }

    /// Looks at a use again that could not be looked at, a few times.
    fn try_again(&self, uses: &mut Uses<F::File>, job: Job<F::File>) -> u32 {
        let attempts = job.attempts + 1;
        if attempts < Self::ATTEMPTS_MAX {
            uses.job = Some(Job {
                attempts,
                ..Job::new(job.slot)
            });
        } else {
            uses.is_certain = false;
        }
        1
    }

    /// Notes the state of a use that was looked at.
    fn finish(&mut self, uses: &mut Uses<F::File>, job: &Job<F::File>, now: SystemTime) {
        let one = &uses.all[job.slot];
        let is_change = one.is_change(&job.seen) && !uses.is_being_written(one, now);
        let one = &mut uses.all[job.slot];
        match is_change {
            true => one.found = Some(job.seen),
            false => {
                one.found = None;
                one.know(job.seen);
            }
        }
    }

    /// Goes on with the survey, or with the first look at new uses, for about `work` units, and returns
    /// the work. The caller takes the directories before it calls again.
    pub(crate) fn survey(&mut self, now: SystemTime, work: u32) -> u32 {
        if !self.is_surveying() {
            return 0;
        }
        let Some(mut uses) = self.uses.take() else {
            return 0;
        };
        self.begin_epoch();
        let mut done = 1;
        if mem::take(&mut uses.rules_due) {
            self.look_at_rules(now);
            done += 4;
        }
        let mut has_walked = false;
        while done < work {
            if uses.walks_due > 0 {
                let slot = uses.next_due(|one| mem::take(&mut one.needs_walk));
                uses.walks_due -= 1;
                done += self.walk(&mut uses, slot);
                has_walked = true;
            } else if has_walked && uses.has_fresh_directories() {
                break;
            } else if mem::take(&mut uses.walks_again) {
                // A caller that takes no directories does not watch any.
                if !uses.has_fresh_directories() {
                    uses.begin_walk();
                }
            } else if let Some(job) = uses.job.take() {
                done += self.go_on(&mut uses, job, now);
            } else if uses.looks_due > 0 {
                let slot = uses.next_due(|one| mem::take(&mut one.needs_look));
                uses.looks_due -= 1;
                uses.job = Some(Job::new(slot));
            } else {
                break;
            }
        }
        self.uses = Some(uses);
        done
    }
}

impl<F> Job<F> {
    fn new(slot: usize) -> Job<F> {
        Job {
            slot,
            parts: 0,
            seen: Seen::default(),
            hashing: None,
            attempts: 0,
        }
    }
}

impl<F> Uses<F> {
    /// The slot of the next use, after the last, for which `takes` is true. There must be one.
    fn next_due(&mut self, takes: impl Fn(&mut Use) -> bool) -> usize {
        let slots = self.all.capacity();
        for _ in 0..slots {
            self.cursor = (self.cursor + 1) % slots;
            if self.all.get_mut(self.cursor).is_some_and(&takes) {
                return self.cursor;
            }
        }
        unreachable!("the uses that are due are counted")
    }

    /// Whether each page that led to a use has other content now. A build that puts a hash of the content
    /// into names leaves the old names behind, and they never come again.
    fn is_left_behind(
        &self,
        one: &Use,
        is_missing: impl Fn(&Use) -> bool,
        allowance: &mut Allowance,
    ) -> bool {
        let Some(from) = self.led_from(one, allowance) else {
            return false;
        };
        let mut pages = from
            .iter()
            .filter_map(|path| self.get(path.as_bytes(), true));
        let has_page = pages.clone().next().is_some();
        let is_new = |page: &Use| page.found.is_some() && !is_missing(page);
        has_page && !one.is_navigation && pages.all(is_new)
    }

    fn change(&self, one: &Use, allowance: &mut Allowance) -> Change {
        let from = self.led_from(one, allowance);
        let url = String::from_utf8_lossy(&one.path).into_owned();
        Change {
            url,
            any: from.is_none(),
            from: from.unwrap_or_default(),
        }
    }

    /// The changes of the uses that `is_meant`, one for each URL path.
    fn changes(&self, is_meant: impl Fn(&Use) -> bool) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        let mut allowance = Allowance::default();
        for (_, one) in self.all.iter().filter(|(_, one)| is_meant(one)) {
            // The use as a part of pages is the one that knows where it is used.
            let is_there = one.is_navigation && self.get(&one.path, false).is_some_and(&is_meant);
            if !is_there {
                changes.push(self.change(one, &mut allowance));
            }
        }
        changes
    }
}

/// The questions of the server about changes.
impl<F: Files> Site<F> {
    /// Begins to look at every use again; a survey that is under way begins anew.
    pub(crate) fn begin_survey(&mut self) {
        let Some(uses) = &mut self.uses else {
            return;
        };
        uses.forget_directories();
        uses.begin_walk();
        uses.all
            .iter_mut()
            .for_each(|(_, one)| one.needs_look = true);
        uses.looks_due = uses.all.len();
        (uses.rules_due, uses.is_certain, uses.job) = (true, true, None);
    }

    /// Whether new uses wait for their first look, or a survey is under way.
    pub(crate) fn is_surveying(&self) -> bool {
        self.uses.as_ref().is_some_and(|uses| {
            let is_walking = uses.walks_due > 0 || uses.walks_again;
            is_walking || uses.looks_due > 0 || uses.job.is_some() || uses.rules_due
        })
    }

    /// Whether there is work for the survey, or pages were sent that were not
    /// [taken](Site::take_injected).
    #[inline]
    pub(crate) fn has_live_news(&self) -> bool {
        self.is_surveying() || self.has_injected()
    }

    /// The outcome of the finished survey. Nothing is forgotten until [`settle`](Site::settle).
    pub(crate) fn survey_outcome(&self) -> Outcome {
        let Some(uses) = &self.uses else {
            return Outcome {
                changes: Vec::new(),
                missing: Vec::new(),
                is_certain: true,
            };
        };
        let is_missing = |one: &Use| {
            let found = one.found.map(|found| found.origin);
            found.is_some_and(|found| found < one.known.origin)
        };
        let mut allowance = Allowance::default();
        let missing = uses.all.iter().map(|(_, one)| one);
        let missing = missing
            .filter(|one| is_missing(one) && !uses.is_left_behind(one, is_missing, &mut allowance));
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        Outcome {
            changes: uses.changes(|one| one.found.is_some()),
            missing: missing.map(|one| text(&one.path)).collect(),
            is_certain: uses.is_certain,
        }
    }

    /// Takes the findings of the last survey as the state that pages are told of. `at` is when the last
    /// event of a change came; `now` and `wall` are the present time.
    ///
    /// No event tells of a change in a directory that is not watched yet. What was given last to a page, and
    /// is another state now, was changed after this.
    pub(crate) fn settle(&mut self, at: Instant, now: Instant, wall: SystemTime) {
        let instant_of = |given_at| {
            let ago = wall.duration_since(given_at).unwrap_or_default();
            now.checked_sub(ago)
        };
        let uses = self.uses.iter_mut().flat_map(|uses| &mut uses.all);
        for (_, one) in uses {
            if let Some(found) = one.found.take() {
                let given_at = one.other_given_at(&found).and_then(instant_of);
                one.changed = Some(given_at.map_or(at, |given_at| at.max(given_at)));
                one.know(found);
                one.served = [0; 2];
            }
        }
    }

    /// The uses that changed after `since`.
    pub(crate) fn changed_since(&self, since: Instant) -> Vec<Change> {
        let has_changed = |one: &Use| one.changed.is_some_and(|at| at > since);
        let uses = self.uses.as_ref();
        uses.map_or_else(Vec::new, |uses| uses.changes(has_changed))
    }

    /// The token of a URL path: a hash of the status and the content as last looked at, the same in each
    /// run of the program. `None` if the path is not in use, or was not looked at yet.
    pub(crate) fn token(&self, url: &str, is_document: bool) -> Option<String> {
        let uses = self.uses.as_ref()?;
        let path = url.as_bytes();
        let one = uses.get(path, is_document);
        let one = one.or_else(|| uses.get(path, !is_document))?;
        let seen = one.found.as_ref().unwrap_or(&one.known);
        if !seen.is_complete() {
            return None;
        }
        Some(format!("{:016x}", seen.token()))
    }
}

#[cfg(test)]
mod tests;
