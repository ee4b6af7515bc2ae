//! Floor 4, server: live reload. It decides when the open pages are told that their files have changed.
//!
//! The kernel tells that something has happened at a name in a watched directory. If the name may matter
//! to a page, the server waits until it is quiet ([`quiet`]), and then looks at the disk: the
//! [site](crate::site) makes the answer to each use again, and compares. An event is no more than a reason
//! to look, so a stale, spurious or missing name does no harm.
//!
//! ```text
//! quiet ──change──▶ dirty ──quiet time──▶ watch all paths again ──▶ survey ──▶ tell the pages ──▶ quiet
//!                     ▲                                               │
//!                     └──── files are missing, or another change ─────┘
//! ```
//!
//! While the document of an open page is missing, nothing is told but that the server waits: a build will
//! write it, and a reload would show an error.
//!
//! Where the kernel tells nothing (network file systems, the shared folders of virtual machines), or has no
//! watch left, the same survey is made twice a second while pages are open. What two surveys in a row find
//! alike is believed.

mod ignored;
pub(crate) mod quiet;
mod tell;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::endpoints::{LivePages, Question, ReloadRequest, SharedPages};
use super::{Change, Driver, Server, Shown};
use crate::connection::Key;
use crate::site::Files;
use crate::sys;
use crate::transport::Transport;
use ignored::Ignored;
use quiet::{Next, Quiet};
use watches::{Sense, Watches};

/// The settings of live reload.
#[derive(Debug)]
pub struct LiveOptions {
    /// The absolute path of the served directory.
    pub root: PathBuf,
    /// Directories in which any change reloads all pages, with those below.
    pub watch: Vec<PathBuf>,
    /// The patterns of names and paths that do not count.
    pub ignore: Vec<String>,
    /// The files are looked at twice a second, and no directory of the site is watched.
    pub poll: bool,
    /// The name of this run of the server, which no other run has.
    pub instance: u64,
}

/// The state of live reload.
#[derive(Debug)]
pub(super) struct Reload {
    pages: SharedPages,
    instance: Box<str>,
    /// The number of times that pages were told of a change.
    generation: u64,
    quiet: Quiet,
    watches: Watches,
    ignored: Ignored,
    /// Whether changes may wait in the driver.
    has_changes: bool,
    /// The present phase.
    phase: Phase,
    /// A change in a directory of which each change counts.
    is_all: bool,
    /// The document of an open page is missing, and the pages were told so.
    is_waiting: bool,
    /// Whether the site was told that pages are open.
    has_pages: bool,
    /// When to look at the files again without any event, if they are polled.
    poll_at: Option<Instant>,
    is_polling: bool,
    /// The findings of the last poll.
    polled: Vec<(String, Option<String>)>,
    /// The pages that were sent with the script, and when to give up waiting for their hello.
    expected: BTreeMap<Box<str>, Instant>,
    /// The pages that were complained about.
    silent: BTreeSet<Box<str>>,
    /// A question of a page that waits until the site has looked at the files in question, and how many of
    /// these are noted.
    question: Option<(Key, Question, usize)>,
    /// Changes that were taken from the driver and not looked at yet, the last first.
    changes: Vec<Change>,
    /// When there is something to do without any event, as was found at the end of the last look.
    due: Option<Instant>,
}

/// A step between a change and the message to the pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Nothing is under way. (New uses may be looked at for the first time.)
    Resting,
    /// All paths are watched again.
    Watching,
    /// The uses are looked at.
    Surveying,
}

impl Reload {
    /// How often files are looked at that are not watched.
    const POLL: Duration = Duration::from_millis(500);

    /// How soon a page says hello.
    const HELLO: Duration = Duration::from_secs(5);

    /// The URL paths that are remembered for complaints.
    const PAGES_MAX: usize = 256;

    /// The work of a survey before the turn is asked whether it has time for more.
    const SURVEY_WORK: u32 = 32;

    fn new(options: &LiveOptions, pages: SharedPages, now: Instant) -> Reload {
        let mut watches = Watches::new(options.root.clone(), options.watch.clone());
        if options.poll {
            watches.leave_site_out();
        }
        Reload {
            pages,
            instance: format!("{:016x}", options.instance).into(),
            generation: 1,
            quiet: Quiet::default(),
            watches,
            ignored: Ignored::new(&options.ignore),
            has_changes: false,
            phase: Phase::Resting,
            is_all: false,
            is_waiting: false,
            has_pages: false,
            poll_at: options.poll.then_some(now),
            is_polling: options.poll,
            polled: Vec::new(),
            expected: BTreeMap::new(),
            silent: BTreeSet::new(),
            question: None,
            changes: Vec::new(),
            due: Some(now),
        }
    }

    /// When there is something to do without any event.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A change may wait in the driver.
    pub fn note(&mut self) {
        self.has_changes = true;
    }

    /// Each page is to be loaded again.
    pub fn ask(&mut self) {
        self.pages.borrow_mut().ask_to_reload();
    }

    /// Whether there is work that needs no further event. `is_surveying` is of the site.
    fn is_busy(&self, is_surveying: bool) -> bool {
        let pages = self.pages.borrow();
        self.has_changes
            || !self.changes.is_empty()
            || self.watches.is_busy()
            || is_surveying
            || self.phase != Phase::Resting
            || pages.has_question()
            || self.question.is_some()
            || pages.has_news()
    }

    /// When there is something to do without any event; `now` if there is now.
    fn next(&self, is_surveying: bool, now: Instant) -> Option<Instant> {
        if self.is_busy(is_surveying) {
            return Some(now);
        }
        let polls = self.poll_at.filter(|_| self.has_pages);
        let looks = self.quiet.look_at();
        let hellos = self.expected.values().min().copied();
        [polls, looks, hellos].into_iter().flatten().min()
    }
}

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// Tells open pages when their files change. The site must be one [with
    /// uses](crate::site::Site::with_uses).
    #[must_use]
    pub fn with_live_reload(self, options: &LiveOptions) -> Self {
        let pages = SharedPages::default();
        let now = self.driver.now().instant;
        let mut server = self
            .with_endpoint("/_oneloop/live", LivePages(Rc::clone(&pages)))
            .with_endpoint("/_oneloop/reload", ReloadRequest(Rc::clone(&pages)));
        server.reload = Some(Box::new(Reload::new(options, pages, now)));
        server
    }

    /// Goes on with live reload, as far as the turn has time.
    #[inline]
    pub(super) fn look_for_changes(&mut self) {
        let Some(reload) = self.reload.as_ref().filter(|_| !self.turn.stopping) else {
            return;
        };
        let now = self.turn.now.instant;
        let is_due = reload.due.is_some_and(|at| at <= now);
        let has_news = || reload.has_changes || reload.pages.borrow().has_news();
        if is_due || has_news() || self.shared.site.has_live_news() {
            self.go_on_with_reload(now);
        }
    }

    /// Does the present work of live reload. A function of its own, because nearly every turn has none.
    #[inline(never)]
    fn go_on_with_reload(&mut self, now: Instant) {
        // Moved out for the call, because the whole server is used meanwhile.
        if let Some(mut reload) = self.reload.take() {
            self.work.begin_part();
            self.take_news(&mut reload);
            self.watch_directories(&mut reload);
            self.survey(&mut reload);
            self.answer_pages(&mut reload);
            self.miss_hellos(&mut reload);
            reload.due = reload.next(self.shared.site.has_live_news(), now);
            self.reload = Some(reload);
        }
    }

    /// Takes the changes from the driver, and the wishes of pages and of the site.
    fn take_news(&mut self, reload: &mut Reload) {
        let now = self.turn.now.instant;
        while self.work.is_left() {
            if let Some(change) = reload.changes.pop() {
                self.take_change(reload, &change, now);
            } else if reload.has_changes {
                reload.has_changes = self.driver.changes(&mut reload.changes);
                reload.changes.reverse();
                self.work.spend(4);
            } else {
                break;
            }
        }
        for url in self.shared.site.take_injected() {
            let is_new =
                reload.expected.len() < Reload::PAGES_MAX && !reload.silent.contains(&*url);
            if is_new {
                let until = now + Reload::HELLO;
                reload.expected.entry(url).or_insert(until);
            }
        }
        // A page that was sent is open, before it says so.
        let has_pages = !reload.pages.borrow().is_empty() || !reload.expected.is_empty();
        if has_pages != reload.has_pages {
            reload.has_pages = has_pages;
            self.shared.site.set_open_pages(has_pages);
            if !has_pages {
                reload.is_waiting = false;
            }
        }
        if reload.pages.borrow_mut().take_reload_asked() {
            self.tell_all_to_reload(reload, "as asked");
        }
    }

    fn take_change(&mut self, reload: &mut Reload, change: &Change, now: Instant) {
        let site = &mut self.shared.site;
        let mut work = 1;
        let concerns = |directory: &[u8], name: &[u8]| {
            let (is_concerned, cost) = site.concerns(directory, name);
            work += cost;
            is_concerned
        };
        match change {
            Change::Done(watch, name) | Change::Begun(watch, name) => {
                let ignored = &reload.ignored;
                let sense = reload
                    .watches
                    .sense(*watch, name, &self.driver, ignored, concerns);
                let is_done = matches!(change, Change::Done(..));
                match sense {
                    Sense::None => {}
                    Sense::Beside => reload.quiet.stirred(now),
                    Sense::Use | Sense::All if is_done => {
                        reload.is_all |= sense == Sense::All;
                        reload.quiet.done(*watch, name, now);
                    }
                    Sense::Use | Sense::All => reload.quiet.begun(*watch, name, now),
                }
            }
            Change::Ended(watch) => {
                if reload.watches.ended(*watch) {
                    reload.quiet.anything(now);
                }
            }
            Change::Lost => {
                self.warn(
                    "so many files have changed that events were lost; looking at all of them",
                );
                reload.quiet.anything(now);
            }
        }
        self.work.spend(work);
    }

    /// Watches the directories that are in use and not watched yet.
    fn watch_directories(&mut self, reload: &mut Reload) {
        let now = self.turn.now.instant;
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if reload.phase == Phase::Resting {
            if is_due(reload.quiet.look_at()) {
                // Before the look at the disk, so that the new watches tell of each later change.
                reload.quiet.look();
                reload.watches.begin_anew(&self.driver);
                reload.phase = Phase::Watching;
            } else if reload.has_pages && is_due(reload.poll_at) {
                reload.poll_at = None;
                reload.phase = Phase::Watching;
            }
        }
        self.go_on_watching(reload);
        if reload.phase == Phase::Watching && !reload.watches.is_busy() {
            self.shared.site.begin_survey();
            reload.phase = Phase::Surveying;
        }
    }

    /// Watches the directories that have become of interest.
    fn go_on_watching(&mut self, reload: &mut Reload) {
        for directory in self.shared.site.take_directories() {
            if !reload.watches.add(directory, &self.driver) {
                let error = io::ErrorKind::QuotaExceeded.into();
                self.poll_instead(reload, &error);
            }
        }
        for file in self.shared.site.take_walked_files() {
            let work = reload.watches.add_file(&file, &self.driver);
            self.work.spend(work);
        }
        while reload.watches.is_busy() && self.work.is_left() {
            self.work.spend(Watches::WORK);
            let stepped = reload.watches.step(&mut self.driver, &reload.ignored);
            if let Err((path, is_of_site, error)) = stepped {
                match is_of_site {
                    true => self.poll_instead(reload, &error),
                    false => self.cannot_watch(&path, &error),
                }
            }
        }
    }

    /// Goes on with the survey, or with the first look at new uses.
    fn survey(&mut self, reload: &mut Reload) {
        if reload.phase == Phase::Watching {
            return;
        }
        let mut has_looked = reload.phase == Phase::Surveying;
        while self.shared.site.is_surveying() && !reload.watches.is_busy() && self.work.is_left() {
            let wall = self.turn.now.wall;
            let used = self.shared.site.survey(wall, Reload::SURVEY_WORK);
            self.work.spend(used.max(1));
            has_looked = true;
            // A survey finds the directories first. What changes after they are watched is told, and what
            // has changed before is seen by the rest of the survey.
            self.go_on_watching(reload);
        }
        if has_looked && !self.shared.site.is_surveying() {
            self.conclude(reload);
        }
    }

    /// Falls back to polling, because not all directories can be watched.
    fn poll_instead(&mut self, reload: &mut Reload, error: &io::Error) {
        if std::mem::replace(&mut reload.is_polling, true) {
            return;
        }
        reload.watches.end_of_site(&mut self.driver);
        reload.poll_at = Some(self.turn.now.instant);
        let reason = reason(error);
        self.warn(&format!(
            "live reload looks at the files twice a second, because {reason}"
        ));
    }

    /// Says that a directory in which each change counts is not watched.
    fn cannot_watch(&mut self, path: &Path, error: &io::Error) {
        let (path, reason) = (Shown(path), reason(error));
        self.warn(&format!("not all of {path} is watched, because {reason}"));
    }

    /// Says once of each page that it has not said hello.
    fn miss_hellos(&mut self, reload: &mut Reload) {
        let now = self.turn.now.instant;
        while let Some((url, _)) = reload.expected.iter().find(|(_, until)| **until <= now) {
            let url = url.clone();
            reload.expected.remove(&url);
            // Its question may still wait.
            if reload.pages.borrow().paths().any(|path| *path == *url) {
                continue;
            }
            if reload.silent.len() < Reload::PAGES_MAX && reload.silent.insert(url.clone()) {
                let url = Shown(Path::new(OsStr::from_bytes(url.as_bytes())));
                self.warn(&format!(
                    "live reload did not start on {url} (a Content-Security-Policy, an extension, or \
                     no scripts?)"
                ));
            }
        }
    }

    fn warn(&mut self, text: &str) {
        if let Some(log) = &mut self.log {
            log.warn(text);
        }
    }
}

/// Why directories cannot be watched, with the next step.
fn reason(error: &io::Error) -> String {
    if sys::is_out_of_watches(error) {
        return "this user has no inotify watch left; \
                `sysctl fs.inotify.max_user_watches=524288` allows more"
            .into();
    }
    if sys::is_exhausted(error) {
        return "no descriptor or inotify instance is left; `ulimit -n` and \
                `sysctl fs.inotify.max_user_instances` allow more"
            .into();
    }
    match error.kind() {
        io::ErrorKind::Unsupported => {
            "this file system does not tell of changes; --poll says that this is known".into()
        }
        io::ErrorKind::QuotaExceeded => {
            "it has more directories than are watched; --ignore leaves some out".into()
        }
        _ => error.to_string(),
    }
}
