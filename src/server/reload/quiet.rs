//! Floor 4, server: when it is quiet again after a change. An editor saves in several steps, and a build
//! writes many files: a look at the disk in the middle would find half of them.
//!
//! The quiet time is *trailing*: it begins anew with each change. It has a bound, counted from the first
//! change, so that edits which come faster are seen too. This file reads no clock and knows no file.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::server::Watch;

/// The changes since the last quiet time.
#[derive(Debug)]
struct Burst {
    first: Instant,
    last: Instant,
    /// The place of the first change.
    place: (Watch, Box<[u8]>),
    /// Whether there were changes at several names.
    is_of_several: bool,
    /// The last look found that used files are missing: wait for the next change, or for the end.
    is_patient: bool,
    /// A change came after the last look began.
    is_touched: bool,
}

/// The next action after a look at the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Believe the findings.
    Believe,
    /// Look again later, see [`Quiet::look_at`].
    LookAgain,
}

/// The state between two looks.
#[derive(Default, Debug)]
pub(super) struct Quiet {
    burst: Option<Burst>,
    /// The files that were begun and not closed, and when each was last written to.
    begun: BTreeMap<(Watch, Box<[u8]>), Instant>,
}

impl Quiet {
    /// The quiet time after changes at one name: an editor that has moved its file away makes the new one
    /// sooner.
    const AFTER_ONE: Duration = Duration::from_millis(30);

    /// The quiet time after changes at several names. Builds and generators make pauses of some dozen
    /// milliseconds.
    const AFTER_SEVERAL: Duration = Duration::from_millis(150);

    /// The longest time from the first change to the look, while files keep coming or are missing.
    const LONGEST: Duration = Duration::from_millis(1_500);

    /// The files that are remembered as begun. Of more, the first to be closed ends the wait.
    const BEGUN_MAX: usize = 64;

    /// Something that counts has happened at a name, and is over.
    pub fn done(&mut self, watch: Watch, name: &[u8], now: Instant) {
        let place = (watch, Box::from(name));
        self.begun.remove(&place);
        match &mut self.burst {
            Some(burst) => {
                burst.is_of_several |= burst.place != place;
                burst.last = now;
                (burst.is_patient, burst.is_touched) = (false, true);
            }
            none => {
                *none = Some(Burst {
                    first: now,
                    last: now,
                    place,
                    is_of_several: false,
                    is_patient: false,
                    is_touched: true,
                });
            }
        }
    }

    /// A file that counts is being written. This alone is no change: a log that is appended to for hours
    /// is never closed.
    pub fn begun(&mut self, watch: Watch, name: &[u8], now: Instant) {
        let place = (watch, Box::from(name));
        if self.begun.len() < Self::BEGUN_MAX || self.begun.contains_key(&place) {
            self.begun.insert(place, now);
        }
        self.stirred(now);
    }

    /// Something has happened that does not count by itself, but shows that a program is at work.
    pub fn stirred(&mut self, now: Instant) {
        if let Some(burst) = &mut self.burst {
            burst.last = now;
            burst.is_patient = false;
        }
    }

    /// Anything may have happened.
    pub fn anything(&mut self, now: Instant) {
        self.begun.clear();
        // No watch has this number, so that a change at any name makes several.
        self.done(Watch(0), b"", now);
    }

    /// When to look at the disk; `None` if nothing has changed.
    pub fn look_at(&self) -> Option<Instant> {
        let burst = self.burst.as_ref()?;
        let end = burst.first + Self::LONGEST;
        let since = burst.first.checked_sub(Self::LONGEST);
        let is_written = |at: &Instant| since.is_none_or(|since| *at > since);
        if burst.is_patient || self.begun.values().any(is_written) {
            return Some(end);
        }
        let quiet = match burst.is_of_several {
            true => Self::AFTER_SEVERAL,
            false => Self::AFTER_ONE,
        };
        Some(end.min(burst.last + quiet))
    }

    /// When the last change came; `None` if nothing has changed.
    pub fn last(&self) -> Option<Instant> {
        self.burst.as_ref().map(|burst| burst.last)
    }

    /// A look begins.
    pub fn look(&mut self) {
        if let Some(burst) = &mut self.burst {
            burst.is_touched = false;
        }
    }

    /// A look has ended, which may have found that used files are missing.
    pub fn looked(&mut self, is_missing: bool, now: Instant) -> Next {
        let Some(burst) = &mut self.burst else {
            return Next::Believe;
        };
        let is_early = now < burst.first + Self::LONGEST;
        if is_early && (burst.is_touched || is_missing) {
            burst.is_patient = !burst.is_touched;
            return Next::LookAgain;
        }
        match burst.is_touched {
            // The look may have missed the change: it begins the next burst.
            true => {
                burst.first = burst.last;
                burst.is_patient = false;
            }
            false => {
                self.burst = None;
                self.begun.clear();
            }
        }
        Next::Believe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event of a test, at a time in milliseconds.
    enum Step {
        /// A change at the name is over.
        Done(&'static str),
        /// A file is being written.
        Begun(&'static str),
        /// Another name.
        Other,
        Lost,
        /// A look that is due, and whether it finds files missing.
        Look(bool, Next),
        /// A change while the look is under way.
        LookWhile(&'static str, Next),
    }
    use Next::{Believe, LookAgain};
    use Step::{Begun, Done, Look, LookWhile, Lost, Other};

    /// Plays the steps, and returns when the next look is due.
    fn play(steps: &[(u64, Step)]) -> Option<u64> {
        let zero = Instant::now();
        let mut quiet = Quiet::default();
        let watch = Watch(1);
        for (ms, step) in steps {
            let now = zero + Duration::from_millis(*ms);
            if let Look(..) | LookWhile(..) = step {
                assert!(quiet.look_at().is_some_and(|at| at <= now), "not yet: {ms}");
                quiet.look();
            } else {
                assert!(
                    quiet.look_at().is_none_or(|at| at > now),
                    "a look is due: {ms}"
                );
            }
            match step {
                Done(name) => quiet.done(watch, name.as_bytes(), now),
                Begun(name) => quiet.begun(watch, name.as_bytes(), now),
                Other => quiet.stirred(now),
                Lost => quiet.anything(now),
                Look(is_missing, next) => assert_eq!(quiet.looked(*is_missing, now), *next, "{ms}"),
                LookWhile(name, next) => {
                    quiet.done(watch, name.as_bytes(), now);
                    assert_eq!(quiet.looked(false, now), *next, "{ms}");
                }
            }
        }
        let due = quiet.look_at()?.duration_since(zero);
        Some(due.as_millis() as u64)
    }

    #[test]
    fn a_look_comes_when_it_is_quiet_and_at_the_latest_after_a_second_and_a_half() {
        for (case, steps, due) in [
            ("nothing", &[][..], None),
            ("one save", &[(0, Done("a"))], Some(30)),
            (
                "a save in steps at one name",
                &[(0, Done("a")), (20, Done("a"))],
                Some(50),
            ),
            ("other names alone", &[(0, Other), (5, Other)], None),
            (
                "vim: other names around the save",
                &[
                    (0, Other),
                    (1, Done("a")),
                    (2, Begun("a")),
                    (3, Done("a")),
                    (9, Other),
                ],
                Some(39),
            ),
            ("a build", &[(0, Done("a")), (5, Done("b"))], Some(155)),
            (
                "a log that is appended to",
                &[(0, Begun("log")), (9, Begun("log"))],
                None,
            ),
            (
                "a file that is being written beside one that is done",
                &[(0, Begun("a")), (5, Done("b"))],
                Some(1_505),
            ),
            (
                "which is closed",
                &[(0, Begun("a")), (5, Done("b")), (300, Done("a"))],
                Some(450),
            ),
            (
                "a file that was begun long ago",
                &[(0, Begun("log")), (1_500, Done("b"))],
                Some(1_530),
            ),
            (
                "changes faster than the quiet time",
                &[
                    (0, Done("a")),
                    (25, Done("a")),
                    (50, Done("b")),
                    (190, Done("a")),
                    (330, Done("b")),
                    (470, Done("a")),
                    (610, Done("b")),
                    (750, Done("a")),
                    (890, Done("b")),
                    (1_030, Done("a")),
                    (1_170, Done("b")),
                    (1_310, Done("a")),
                    (1_450, Done("b")),
                ],
                Some(1_500),
            ),
            ("lost", &[(0, Lost)], Some(30)),
            ("lost and more", &[(0, Lost), (1, Done("a"))], Some(151)),
        ] {
            assert_eq!(play(steps), due, "{case}");
        }
    }

    #[test]
    fn a_look_is_believed_unless_files_are_missing_or_more_has_come() {
        for (case, steps, due) in [
            (
                "one save",
                &[(0, Done("a")), (30, Look(false, Believe))][..],
                None,
            ),
            (
                "a file is away for a moment",
                &[(0, Done("a")), (30, Look(true, LookAgain)), (90, Done("a"))],
                Some(120),
            ),
            (
                "and for long",
                &[
                    (0, Done("a")),
                    (30, Look(true, LookAgain)),
                    (1_500, Look(true, Believe)),
                ],
                None,
            ),
            (
                "a missing file and other names",
                &[(0, Done("a")), (30, Look(true, LookAgain)), (90, Other)],
                Some(120),
            ),
            (
                "a change during a look",
                &[(0, Done("a")), (30, LookWhile("a", LookAgain))],
                Some(60),
            ),
            (
                "a change during the last look",
                &[(0, Done("a")), (1_500, LookWhile("a", Believe))],
                Some(1_530),
            ),
            (
                "the next save",
                &[(0, Done("a")), (30, Look(false, Believe)), (40, Done("b"))],
                Some(70),
            ),
        ] {
            assert_eq!(play(steps), due, "{case}");
        }
    }
}
