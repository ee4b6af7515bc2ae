//! A disk with directories, links and writers, for live reload: the directory `live` of the site, with
//! the way to the root. The writers save, build and move things between the steps of the server, in every
//! way in which editors and builds write. The watches tell of the directories that are watched, and of no
//! other.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use oneloop::server::{Change, Found, Watch};
use oneloop::site::FileError;
use oneloop::sys::{FileKind, Stat};

use crate::files::Inode;
use crate::weather::Rng;

/// The root of the site, which may be a symbolic link.
pub const ROOT: &str = "/srv/www";

/// What pages ask for, and the file of each.
pub const URLS: [(&str, &str); 7] = [
    ("/live/", "index.html"),
    ("/live/about", "about.html"),
    ("/live/app.css", "app.css"),
    ("/live/dist/", "dist/index.html"),
    ("/live/dist/app.js", "dist/app.js"),
    ("/live/dist/deep/one.css", "dist/deep/one.css"),
    ("/live/dist/deep/later.css", "dist/deep/later.css"),
];

/// The files that are there at the beginning.
const FILES: usize = 6;

#[derive(Debug)]
enum Node {
    File(Rc<RefCell<Inode>>),
    Directory(Directory),
    Link(PathBuf),
}

#[derive(Debug)]
struct Directory {
    /// Never the same as of another directory, unlike the number of the inode.
    id: u64,
    inode: u64,
    changed: SystemTime,
    names: BTreeMap<String, Node>,
}

/// One system call of a writer. Paths are absolute.
#[derive(Clone, Debug)]
enum Step {
    /// Makes an empty file in the place of another.
    Make(String),
    /// Writes to a file in place.
    Write(String, Vec<u8>),
    /// Closes a file after writing.
    Shut(String),
    MakeDirectory(String),
    /// Removes a file or a directory, with all below.
    Remove(String),
    Rename(String, String),
    Link(String, &'static str),
}

impl Step {
    fn words(&self) -> String {
        match self {
            Step::Make(path) => format!("a writer makes {path}"),
            Step::Write(path, content) => {
                format!("a writer has {} bytes for {path}", content.len())
            }
            Step::Shut(path) => format!("a writer closes {path}"),
            Step::MakeDirectory(path) => format!("a writer makes the directory {path}"),
            Step::Remove(path) => format!("a writer removes {path}"),
            Step::Rename(from, to) => format!("a writer renames {from} to {to}"),
            Step::Link(path, target) => format!("a writer links {path} to {target}"),
        }
    }
}

/// What a URL of a page answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shown {
    Content(String),
    /// The list of a directory. Which names are in it, the page does not read.
    List,
    Status(u16),
}

#[derive(Debug)]
pub struct Disk {
    rng: Rng,
    top: Directory,
    next_number: u64,
    /// Numbers of inodes that are free again.
    free: Vec<u64>,
    watches: BTreeMap<Watch, u64>,
    next_watch: u32,
    pending: VecDeque<Change>,
    /// The driver has said that nothing is left; the next change causes an event.
    is_dry: bool,
    is_event_due: bool,
    /// The watches that may still be added; then the kernel has none left.
    watches_left: usize,
    /// Percent of changes at which the queue of the kernel overflows.
    overflows: usize,
    plan: VecDeque<(Step, Duration)>,
    next_at: Option<Instant>,
    /// The plan has its last steps.
    is_finishing: bool,
    /// When the last writer rested.
    pub rested: Option<Instant>,
    /// Whether the last of the writers leaves all files in place.
    pub ends_whole: bool,
    /// Whether nothing is written but what is there.
    pub is_idle: bool,
    versions: BTreeMap<String, usize>,
    /// What each URL has answered, one after the other.
    pub history: BTreeMap<&'static str, Vec<Shown>>,
    /// When each of these came.
    times: BTreeMap<&'static str, Vec<Instant>>,
    /// The names in the list of each URL, while it lists them.
    listed: BTreeMap<&'static str, Vec<String>>,
}

impl Disk {
    pub fn new(mut rng: Rng, now: Instant, wall: SystemTime) -> Disk {
        let top = Directory {
            id: 1,
            inode: 1_000,
            changed: wall,
            names: BTreeMap::new(),
        };
        let mut disk = Disk {
            top,
            next_number: 1,
            free: Vec::new(),
            watches: BTreeMap::new(),
            next_watch: 1,
            pending: VecDeque::new(),
            is_dry: true,
            is_event_due: false,
            watches_left: match rng.below(4) {
                0 => rng.below(8),
                _ => usize::MAX,
            },
            overflows: *rng.pick(&[0, 0, 3, 50]),
            plan: VecDeque::new(),
            next_at: None,
            is_finishing: false,
            rested: None,
            ends_whole: !rng.chance(10),
            is_idle: rng.chance(15),
            versions: BTreeMap::new(),
            history: BTreeMap::new(),
            times: BTreeMap::new(),
            listed: BTreeMap::new(),
            rng,
        };
        let mut steps = vec![Step::MakeDirectory("/srv".into())];
        match disk.rng.chance(40) {
            true => {
                steps.push(Step::MakeDirectory("/srv/releases".into()));
                steps.push(Step::MakeDirectory("/srv/releases/1".into()));
                steps.push(Step::Link(ROOT.into(), "releases/1"));
            }
            false => steps.push(Step::MakeDirectory(ROOT.into())),
        }
        disk.site(&format!("{ROOT}/live"), &mut steps);
        let long_ago = wall - Duration::from_secs(1_000);
        steps.iter().for_each(|step| disk.act(step, long_ago));
        disk.note_history(now);
        disk.make_plan();
        disk.next_at = Some(now + disk.rng.time(Duration::ZERO, Duration::from_secs(2)));
        disk
    }

    // ── The writers ────────────────────────────────────────────────────────────────────────────

    /// The content of a file, in another version than before, or in the same.
    fn content(&mut self, file: &str) -> Vec<u8> {
        let changes = !self.is_idle && self.rng.chance(60);
        let version = self.versions.entry(file.to_owned()).or_default();
        *version += usize::from(changes);
        format!("file {file}, version {version}\n")
            .repeat(3)
            .into_bytes()
    }

    /// The steps that make all files in a directory.
    fn site(&mut self, at: &str, steps: &mut Vec<Step>) {
        steps.push(Step::MakeDirectory(at.to_owned()));
        let mut files: Vec<&str> = URLS[..FILES].iter().map(|(_, file)| *file).collect();
        if self.rng.chance(50) {
            files.reverse();
        }
        self.files(at, &files, steps);
    }

    fn files(&mut self, at: &str, files: &[&str], steps: &mut Vec<Step>) {
        for file in files {
            for (slash, _) in file.match_indices('/') {
                let made = Step::MakeDirectory(format!("{at}/{}", &file[..slash]));
                steps.push(made);
            }
            let content = self.content(file);
            let path = format!("{at}/{file}");
            steps.push(Step::Make(path.clone()));
            steps.push(Step::Write(path.clone(), content));
            steps.push(Step::Shut(path));
        }
    }

    fn make_plan(&mut self) {
        let writers = self.rng.within(1..=6);
        for _ in 0..writers {
            let steps = self.writer();
            // Slow builds and fast ones.
            let most = *self.rng.pick(&[1, 10, 60, 400]);
            let last = steps.len() - 1;
            for (number, step) in steps.into_iter().enumerate() {
                let pause = match number == last {
                    true => *self.rng.pick(&[5, 100, 1_000, 3_000]),
                    false => self.rng.below(most * 1_000) as u64 / 1_000,
                };
                self.plan.push_back((step, Duration::from_millis(pause)));
            }
        }
    }

    /// The last steps: the documents that the writers have left out, or the removal of some.
    fn finish_plan(&mut self) {
        let site = format!("{ROOT}/live");
        let mut steps = Vec::new();
        if self.ends_whole {
            let is_missing = |file: &&str| self.read(&format!("{site}/{file}")).is_none();
            let files = URLS[..FILES].iter().map(|(_, file)| *file);
            let files: Vec<&str> = files.filter(is_missing).collect();
            self.files(&site, &files, &mut steps);
        } else {
            steps.push(Step::Remove(format!("{site}/index.html")));
            steps.push(Step::Remove(format!("{site}/about.html")));
        }
        let fast = |step| (step, Duration::from_millis(1));
        self.plan.extend(steps.into_iter().map(fast));
    }

    /// A writer at work, in system calls.
    fn writer(&mut self) -> Vec<Step> {
        let site = format!("{ROOT}/live");
        let file = URLS[self.rng.below(URLS.len())].1;
        let path = format!("{site}/{file}");
        let mut steps = Vec::new();
        match self.rng.below(11) {
            0 | 1 => {
                let temporary = format!("{path}.tmp{}", self.rng.below(3));
                let new = self.content(file);
                steps.push(Step::Make(temporary.clone()));
                steps.push(Step::Write(temporary.clone(), new));
                steps.push(Step::Shut(temporary.clone()));
                steps.push(Step::Rename(temporary, path));
            }
            2 => {
                let new = self.content(file);
                steps.extend([Step::Write(path.clone(), new), Step::Shut(path)]);
            }
            3 => {
                let new = self.content(file);
                let half = new[..new.len() / 2].to_vec();
                for content in [Vec::new(), half, new] {
                    steps.push(Step::Write(path.clone(), content));
                }
                steps.push(Step::Shut(path));
            }
            4 => {
                let backup = format!("{path}~");
                let new = self.content(file);
                steps.push(Step::Rename(path.clone(), backup));
                steps.push(Step::Make(path.clone()));
                steps.push(Step::Write(path.clone(), new));
                steps.push(Step::Shut(path));
            }
            5 => {
                let dist = format!("{site}/dist");
                steps.push(Step::Remove(dist));
                let mut files = vec!["dist/app.js", "dist/deep/one.css"];
                let at = if self.rng.chance(50) { 0 } else { files.len() };
                files.insert(at, "dist/index.html");
                self.files(&site, &files, &mut steps);
            }
            6 => {
                let (old, new) = (format!("{site}/old"), format!("{site}/new"));
                steps.push(Step::MakeDirectory(new.clone()));
                self.files(&new, &["dist/app.js", "dist/index.html"], &mut steps);
                self.files(&new, &["dist/deep/one.css"], &mut steps);
                steps.push(Step::Rename(format!("{site}/dist"), old.clone()));
                steps.push(Step::Rename(format!("{new}/dist"), format!("{site}/dist")));
                steps.extend([Step::Remove(old), Step::Remove(new)]);
            }
            7 => {
                // A release: a link is turned, or the root is replaced.
                let is_link = matches!(self.found(Path::new(ROOT)), Ok(Found::Link(_)));
                let new = match is_link {
                    true => "/srv/releases/2",
                    false => "/srv/new",
                };
                steps.push(Step::Remove(new.to_owned()));
                steps.push(Step::MakeDirectory(new.to_owned()));
                self.site(&format!("{new}/live"), &mut steps);
                match is_link {
                    true => {
                        steps.push(Step::Link("/srv/link".into(), "releases/2"));
                        steps.push(Step::Rename("/srv/link".into(), ROOT.into()));
                    }
                    false => {
                        steps.push(Step::Rename(ROOT.into(), "/srv/old".into()));
                        steps.push(Step::Rename(new.into(), ROOT.into()));
                        steps.push(Step::Remove("/srv/old".into()));
                    }
                }
            }
            8 => {
                // The same files once more, in place.
                steps.push(Step::Write(format!("{site}/server.log"), b"line\n".into()));
                for (_, file) in &URLS[..FILES] {
                    let path = format!("{site}/{file}");
                    let Some(content) = self.read(&path) else {
                        continue;
                    };
                    let temporary = format!("{path}.new");
                    steps.push(Step::Make(temporary.clone()));
                    steps.push(Step::Write(temporary.clone(), content));
                    steps.push(Step::Shut(temporary.clone()));
                    steps.push(Step::Rename(temporary, path));
                }
            }
            9 => self.files(&site, &["dist/deep/later.css"], &mut steps),
            _ => {
                steps.push(Step::MakeDirectory(format!("{site}/aside")));
                steps.push(Step::Make(format!("{site}/aside/x.txt")));
                steps.push(Step::Make(format!("{site}/.index.html.swp")));
                steps.push(Step::Remove(format!("{site}/.index.html.swp")));
                steps.push(Step::Remove(format!("{site}/aside")));
            }
        }
        steps
    }

    /// When the next step of a writer is due.
    pub fn next(&self) -> Option<Instant> {
        self.next_at
    }

    /// Makes the next step of a writer, if it is due. Returns what was done.
    pub fn write_on(&mut self, now: Instant, wall: SystemTime) -> Option<String> {
        self.next_at.filter(|at| *at <= now)?;
        let (step, pause) = self.plan.pop_front().expect("a step is due");
        self.act(&step, wall);
        self.note_history(now);
        if self.plan.is_empty() && !std::mem::replace(&mut self.is_finishing, true) {
            self.finish_plan();
        }
        self.next_at = (!self.plan.is_empty()).then(|| now + pause);
        if self.next_at.is_none() {
            self.rested = Some(now);
        }
        Some(step.words())
    }

    /// Whether what a URL answers has become something else, after a time and until another.
    pub fn has_changed(&self, url: &str, after: Option<Instant>, until: Instant) -> bool {
        let mut changes = self.times[url][1..].iter();
        changes.any(|at| after.is_none_or(|after| *at > after) && *at <= until)
    }

    /// How often what a URL answers has become something else.
    pub fn changes_of(&self, url: &str) -> usize {
        self.history[url].len() - 1
    }

    fn note_history(&mut self, now: Instant) {
        for (url, _) in URLS {
            let shown = self.shown(url);
            let names = match shown {
                Shown::List => self.names_of(url),
                _ => Vec::new(),
            };
            let history = self.history.entry(url).or_default();
            let listed = self.listed.entry(url).or_default();
            if history.last() != Some(&shown) || *listed != names {
                history.push(shown);
                *listed = names;
                self.times.entry(url).or_default().push(now);
            }
        }
    }

    /// The directory that a URL lists, if it does not have a page of its own.
    fn directory_of(&self, url: &str) -> Option<&Directory> {
        let name = url.strip_prefix("/live/").filter(|_| url.ends_with('/'))?;
        self.directory(&format!("{ROOT}/live/{name}"))
    }

    /// The names in the list that a URL answers.
    fn names_of(&self, url: &str) -> Vec<String> {
        let directory = self.directory_of(url);
        directory.map_or_else(Vec::new, |listed| listed.names.keys().cloned().collect())
    }

    /// What a URL is to answer now.
    pub fn shown(&self, url: &str) -> Shown {
        let file = URLS.iter().find(|(other, _)| *other == url);
        let path = |name: &str| format!("{ROOT}/live/{name}");
        let content = file.and_then(|(_, file)| self.read(&path(file)));
        match content {
            Some(content) => Shown::Content(String::from_utf8(content).expect("it is text")),
            None if self.directory_of(url).is_some() => Shown::List,
            None => Shown::Status(404),
        }
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        match self.node(Path::new(path), true)? {
            Node::File(inode) => Some(inode.borrow().content.to_vec()),
            _ => None,
        }
    }

    // ── Steps ──────────────────────────────────────────────────────────────────────────────────

    fn act(&mut self, step: &Step, wall: SystemTime) {
        match step {
            Step::Make(path) => {
                let inode = Inode::of(self.inode(), [].into(), wall);
                let node = Node::File(Rc::new(RefCell::new(inode)));
                if self.put(path, node, wall) {
                    self.tell(path, Change::Begun);
                }
            }
            Step::Write(path, content) => {
                if let Some(Node::File(inode)) = self.node(Path::new(path), true) {
                    inode.borrow_mut().write(content.as_slice().into(), wall);
                    self.tell(path, Change::Begun);
                } else {
                    // The file was made between two writes.
                    let inode = Inode::of(self.inode(), content.as_slice().into(), wall);
                    let node = Node::File(Rc::new(RefCell::new(inode)));
                    if self.put(path, node, wall) {
                        self.tell(path, Change::Begun);
                    }
                }
            }
            Step::Shut(path) => self.tell(path, Change::Done),
            Step::MakeDirectory(path) => {
                if self.directory(path).is_none() {
                    let directory = Directory {
                        id: self.number(),
                        inode: self.inode(),
                        changed: wall,
                        names: BTreeMap::new(),
                    };
                    if self.put(path, Node::Directory(directory), wall) {
                        self.tell(path, Change::Done);
                    }
                }
            }
            Step::Remove(path) => {
                if let Some(node) = self.take(path, wall) {
                    self.bury(node);
                    self.tell(path, Change::Done);
                }
            }
            Step::Rename(from, to) => {
                let Some(node) = self.take(from, wall) else {
                    return;
                };
                self.tell(from, Change::Done);
                match &node {
                    Node::Directory(directory) => self.end_watch(directory.id),
                    Node::File(inode) => inode.borrow_mut().touch(wall),
                    Node::Link(_) => {}
                }
                if self.put(to, node, wall) {
                    self.tell(to, Change::Done);
                }
            }
            Step::Link(path, target) => {
                if self.put(path, Node::Link(target.into()), wall) {
                    self.tell(path, Change::Done);
                }
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// The number of a new inode: often one that was given back just now.
    fn inode(&mut self) -> u64 {
        let old = self.free.pop().filter(|_| self.rng.chance(50));
        old.unwrap_or_else(|| 1_000 + self.number())
    }

    /// Puts something at a path. Returns `false` if the directory is not there.
    fn put(&mut self, path: &str, node: Node, wall: SystemTime) -> bool {
        let (parent, name) = path.rsplit_once('/').expect("it is absolute");
        let before = match self.directory_mut(parent) {
            Some(directory) => {
                directory.changed = wall;
                directory.names.insert(name.to_owned(), node)
            }
            None => {
                self.bury(node);
                return false;
            }
        };
        if let Some(before) = before {
            self.bury(before);
        }
        true
    }

    fn take(&mut self, path: &str, wall: SystemTime) -> Option<Node> {
        let (parent, name) = path.rsplit_once('/').expect("it is absolute");
        let directory = self.directory_mut(parent)?;
        let node = directory.names.remove(name)?;
        directory.changed = wall;
        Some(node)
    }

    /// What becomes of what is removed: the watches end, from the bottom up.
    fn bury(&mut self, node: Node) {
        match node {
            Node::Directory(directory) => {
                for (name, below) in directory.names {
                    self.bury(below);
                    self.tell_in(directory.id, &name, Change::Done);
                }
                self.end_watch(directory.id);
                self.free.push(directory.inode);
            }
            Node::File(inode) => self.free.push(inode.borrow().number),
            Node::Link(_) => {}
        }
    }

    fn tell(&mut self, path: &str, change: fn(Watch, Box<[u8]>) -> Change) {
        let (parent, name) = path.rsplit_once('/').expect("it is absolute");
        if let Some(id) = self.directory(parent).map(|directory| directory.id) {
            self.tell_in(id, name, change);
        }
    }

    fn tell_in(&mut self, id: u64, name: &str, change: fn(Watch, Box<[u8]>) -> Change) {
        if let Some(watch) = self.watch_on(id) {
            self.push(change(watch, name.as_bytes().into()));
        }
    }

    fn end_watch(&mut self, id: u64) {
        if let Some(watch) = self.watch_on(id) {
            self.watches.remove(&watch);
            self.push(Change::Ended(watch));
        }
    }

    fn watch_on(&self, id: u64) -> Option<Watch> {
        let mut watches = self.watches.iter();
        watches.find_map(|(watch, other)| (*other == id).then_some(*watch))
    }

    fn push(&mut self, change: Change) {
        // After a loss, there is no room until the queue is read.
        if self.pending.back() == Some(&Change::Lost) {
            return;
        }
        let is_lost = self.rng.chance(self.overflows);
        self.pending
            .push_back(if is_lost { Change::Lost } else { change });
        self.is_event_due |= std::mem::take(&mut self.is_dry);
    }

    // ── The calls of the driver ────────────────────────────────────────────────────────────────

    pub fn take_event(&mut self) -> bool {
        std::mem::take(&mut self.is_event_due)
    }

    pub fn watch(&mut self, path: &Path) -> io::Result<Watch> {
        let id = match self.node(path, true) {
            Some(Node::Directory(directory)) => directory.id,
            Some(_) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        if let Some(watch) = self.watch_on(id) {
            return Ok(watch);
        }
        if self.watches_left == 0 {
            /// No watch is left: inotify_add_watch(2).
            const ENOSPC: i32 = 28;
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        self.watches_left -= 1;
        let watch = Watch(self.next_watch);
        self.next_watch += 1;
        self.watches.insert(watch, id);
        Ok(watch)
    }

    pub fn unwatch(&mut self, watch: Watch) {
        self.watches.remove(&watch);
    }

    pub fn changes(&mut self, changes: &mut Vec<Change>) -> bool {
        let count = self.pending.len().min(self.rng.within(1..=20));
        changes.extend(self.pending.drain(..count));
        self.is_dry = self.pending.is_empty();
        !self.is_dry
    }

    pub fn found(&self, path: &Path) -> io::Result<Found> {
        match self.node(path, false) {
            Some(Node::Directory(_)) => Ok(Found::Directory),
            Some(Node::Link(target)) => Ok(Found::Link(target.clone())),
            Some(Node::File(_)) => Ok(Found::Other),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub fn directories(&self, path: &Path) -> Vec<PathBuf> {
        let Some(Node::Directory(directory)) = self.node(path, true) else {
            return Vec::new();
        };
        let names = directory.names.iter();
        let below = names.filter(|(_, node)| matches!(node, Node::Directory(_)));
        below.map(|(name, _)| path.join(name)).collect()
    }

    // ── The calls of the site ──────────────────────────────────────────────────────────────────

    /// The file at a path of the site.
    pub fn open(&self, path: &str) -> Result<Rc<RefCell<Inode>>, FileError> {
        match self.node(&Path::new(ROOT).join(path), true) {
            Some(Node::File(inode)) => Ok(Rc::clone(inode)),
            Some(_) => Err(FileError::Directory),
            None => Err(FileError::Absent),
        }
    }

    pub fn stat(&self, path: &str) -> Result<Stat, FileError> {
        match self.node(&Path::new(ROOT).join(path), true) {
            Some(Node::File(inode)) => Ok(inode.borrow().stat()),
            Some(Node::Directory(directory)) => Ok(Stat {
                kind: FileKind::Directory,
                device: 1,
                inode: directory.inode,
                size: 0,
                modified: directory.changed,
                changed: directory.changed,
            }),
            Some(Node::Link(_)) | None => Err(FileError::Absent),
        }
    }

    /// The names in a directory of the site.
    pub fn names(&self, path: &str) -> Option<Vec<String>> {
        match self.node(&Path::new(ROOT).join(path), true)? {
            Node::Directory(directory) => Some(directory.names.keys().cloned().collect()),
            _ => None,
        }
    }

    // ── Paths ──────────────────────────────────────────────────────────────────────────────────

    fn node(&self, path: &Path, follows: bool) -> Option<&Node> {
        let resolved = self.resolve(path, follows)?;
        let (name, parents) = resolved.split_last()?;
        let mut directory = &self.top;
        for parent in parents {
            match directory.names.get(parent)? {
                Node::Directory(below) => directory = below,
                _ => return None,
            }
        }
        directory.names.get(name)
    }

    fn directory(&self, path: &str) -> Option<&Directory> {
        let resolved = self.resolve(Path::new(path), true)?;
        let mut directory = &self.top;
        for name in &resolved {
            match directory.names.get(name)? {
                Node::Directory(below) => directory = below,
                _ => return None,
            }
        }
        Some(directory)
    }

    fn directory_mut(&mut self, path: &str) -> Option<&mut Directory> {
        let resolved = self.resolve(Path::new(path), true)?;
        let mut directory = &mut self.top;
        for name in &resolved {
            match directory.names.get_mut(name)? {
                Node::Directory(below) => directory = below,
                _ => return None,
            }
        }
        Some(directory)
    }

    /// The names of a path without links. The last need not be there.
    fn resolve(&self, path: &Path, follows: bool) -> Option<Vec<String>> {
        let names = |path: &Path| -> Vec<String> {
            let names = path
                .components()
                .filter(|c| matches!(c, Component::Normal(_)));
            let names = names.map(|c| c.as_os_str().to_string_lossy().into_owned());
            let mut names: Vec<String> = names.collect();
            names.reverse();
            names
        };
        let (mut rest, mut resolved) = (names(path), Vec::<String>::new());
        while let Some(name) = rest.pop() {
            let mut directory = &self.top;
            for above in &resolved {
                match directory.names.get(above)? {
                    Node::Directory(below) => directory = below,
                    _ => return None,
                }
            }
            match directory.names.get(&name) {
                Some(Node::Link(target)) if follows || !rest.is_empty() => {
                    rest.extend(names(target));
                }
                _ => resolved.push(name),
            }
        }
        Some(resolved)
    }
}
