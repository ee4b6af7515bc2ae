//! A tree of files in memory behind the seam [`Files`], an editor that changes some files at the
//! worst moments, and a record of every state of each file.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oneloop::site::{FileError, Files};
use oneloop::sys::{FileKind, Stat};

use crate::weather::Rng;
use crate::world::Shared;

/// The files that are never edited, with their sizes: every byte of an answer from them is known.
/// The largest file makes a client that reads in sips outlast every deadline.
const STABLE: &[(&str, usize)] = &[
    ("index.html", 120),
    ("small.txt", 80),
    ("medium.css", 900),
    ("large.bin", 6_000),
    ("huge.bin", 60_000),
    ("empty.txt", 0),
    ("docs/index.html", 60),
    ("page.html", 1_500),
    ("page.html.gz", 300),
    ("pair/one.txt", 10),
    ("pair/two.txt", 20),
    ("many/1.txt", 1),
    ("many/2.txt", 2),
    ("many/3.txt", 3),
    ("many/4.txt", 4),
    ("many/5.txt", 5),
    ("many/deep/6.txt", 6),
];

/// The directories of the stable files. Those without an index are listed.
const DIRECTORIES: &[&str] = &["", "docs", "pair", "many", "many/deep"];

/// Another stable file. An encoder needs two slices for it, and saves few bytes.
pub const PROGRAM: &str = "app.js";
static PROGRAM_TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = Rng::new(0);
    (0..20_000).map(|_| rng.within(33..=126) as u8).collect()
});

/// Edited all the time, in every way that a small file can be edited.
pub const NEWS: &str = "news.txt";
/// Edited like [`NEWS`], and every call on the file may fail; sometimes the file does not exist.
pub const FLAKY: &str = "flaky.txt";
/// Replaced by other files, and cut short while it is being sent.
pub const MOVIE: &str = "movie.bin";
/// Edited like [`MOVIE`], and worth compressing.
pub const NOTES: &str = "notes.txt";

/// The name of each file on the disk of the pages.
const ON_DISK: &str = "live";

/// The tick of a kernel's clock, on many systems.
const TICK: Duration = Duration::from_millis(4);

/// The time when the files were made.
fn long_ago() -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)
}

/// A file, apart from its name.
#[derive(Debug)]
pub struct Inode {
    pub number: u64,
    pub content: Rc<[u8]>,
    modified: SystemTime,
    changed: SystemTime,
}

impl Inode {
    pub fn of(number: u64, content: Rc<[u8]>, now: SystemTime) -> Inode {
        Inode {
            number,
            content,
            modified: now,
            changed: now,
        }
    }

    /// Changes the content in place.
    pub fn write(&mut self, content: Rc<[u8]>, now: SystemTime) {
        self.content = content;
        (self.modified, self.changed) = (now, now);
    }

    /// Notes a change of the name.
    pub fn touch(&mut self, now: SystemTime) {
        self.changed = now;
    }

    pub fn stat(&self) -> Stat {
        Stat {
            kind: FileKind::File,
            device: 1,
            inode: self.number,
            size: self.content.len() as u64,
            modified: self.modified,
            changed: self.changed,
        }
    }
}

/// A possible result of a request for a file.
#[derive(Clone, Debug)]
enum State {
    Content(Rc<[u8]>),
    Failing(FileError),
}

#[derive(Debug)]
struct Entry {
    inode: Rc<RefCell<Inode>>,
    /// The error with which opening fails, if it fails.
    refused: Option<FileError>,
    /// Every state since the beginning; the last is the present state.
    history: Vec<State>,
    /// The moments in `history` when the file was changed in place, under every open handle.
    disturbances: Vec<usize>,
}

impl Entry {
    fn state(&self) -> State {
        match self.refused {
            Some(error) => State::Failing(error),
            None => State::Content(Rc::clone(&self.inode.borrow().content)),
        }
    }
}

/// The file system.
#[derive(Debug)]
pub struct Tree {
    files: BTreeMap<&'static str, Entry>,
    /// For each directory, when a name was last added or removed.
    directories: BTreeMap<&'static str, SystemTime>,
    /// The tick of the clock behind the timestamps.
    granularity: Duration,
    inodes: u64,
    versions: usize,
    /// The number of open files.
    open: Rc<Cell<usize>>,
}

impl Tree {
    pub fn new(rng: &mut Rng) -> Tree {
        let mut tree = Tree {
            files: BTreeMap::new(),
            directories: DIRECTORIES.iter().map(|name| (*name, long_ago())).collect(),
            // Some file systems count in seconds.
            granularity: *rng.pick(&[TICK, TICK, Duration::from_secs(1)]),
            inodes: 0,
            versions: 0,
            open: Rc::default(),
        };
        for &(name, size) in STABLE {
            tree.create(name, content(name, 0, size));
        }
        tree.create(PROGRAM, PROGRAM_TEXT.as_slice().into());
        for (name, size) in [(NEWS, 100), (FLAKY, 100), (MOVIE, 5_000), (NOTES, 1_500)] {
            tree.create(name, content(name, 0, size));
        }
        tree
    }

    fn create(&mut self, name: &'static str, content: Rc<[u8]>) {
        let inode = self.inode(content, long_ago(), long_ago());
        let mut entry = Entry {
            inode: Rc::new(RefCell::new(inode)),
            refused: None,
            history: Vec::new(),
            disturbances: Vec::new(),
        };
        entry.history.push(entry.state());
        self.files.insert(name, entry);
    }

    fn inode(&mut self, content: Rc<[u8]>, modified: SystemTime, changed: SystemTime) -> Inode {
        self.inodes += 1;
        Inode {
            number: self.inodes,
            content,
            modified,
            changed,
        }
    }

    /// The number of files that the server has open.
    pub fn open_files(&self) -> usize {
        self.open.get()
    }

    /// The present content of a file.
    pub fn content(&self, name: &str) -> Rc<[u8]> {
        Rc::clone(&self.files[name].inode.borrow().content)
    }

    // ── Looking back ───────────────────────────────────────────────────────────────────────────

    /// The present moment of a file, for a later call of [`since`](Tree::since).
    pub fn moment(&self, name: &str) -> usize {
        self.files[name].history.len() - 1
    }

    /// The moments of a file from `then` until now, both included.
    pub fn since(&self, name: &str, then: usize) -> Range<usize> {
        then..self.files[name].history.len()
    }

    /// Whether an answer shows the file's state at one of the moments.
    pub fn was(&self, name: &str, moments: Range<usize>, status: u16, body: &[u8]) -> bool {
        let shows = |state: &State| match state {
            State::Content(content) => status == 200 && **content == *body,
            State::Failing(FileError::Absent | FileError::LeadsOut | FileError::Directory) => {
                status == 404
            }
            State::Failing(FileError::Denied) => status == 403,
            State::Failing(FileError::Exhausted | FileError::Changing) => status == 503,
            State::Failing(FileError::Failed) => status == 500,
        };
        self.files[name].history[moments].iter().any(shows)
    }

    /// Whether a file was changed in place at one of the moments. The promised bytes of the file
    /// can then not be sent.
    pub fn was_disturbed(&self, name: &str, moments: Range<usize>) -> bool {
        let disturbances = &self.files[name].disturbances;
        disturbances.iter().any(|at| moments.contains(at))
    }

    // ── Editing ────────────────────────────────────────────────────────────────────────────────

    /// Saves, touches, moves or removes a file.
    pub fn edit(&mut self, rng: &mut Rng, wall: SystemTime) {
        let name = *rng.pick(&[NEWS, NEWS, FLAKY, MOVIE, NOTES]);
        let is_small = [NEWS, FLAKY].contains(&name);
        let now = self.timestamp(wall);
        self.versions += 1;
        let length = match is_small {
            true => rng.within(30..=150),
            false => rng.within(1_100..=8_000),
        };
        let new = content(name, self.versions, length);
        // An archive restores old times; a clock that was wrong leaves times in the future.
        let modified = match rng.below(4) {
            0 => UNIX_EPOCH + Duration::from_secs(1_000_000_000),
            1 => now + Duration::from_secs(5_000),
            _ => now,
        };
        let replacement = self.inode(new, modified, now);
        let entry = self.files.get_mut(name).expect("the editor knows them");
        let old = Rc::clone(&entry.inode.borrow().content);
        let in_place = match rng.below(6) {
            // Changes only the times.
            0 => Some(old),
            1 => Some(old[..old.len() / 2].into()),
            // Keeps the length, but only of a small file: with a large file open, the server would
            // send a mixture.
            2 if is_small => Some(content(name, self.versions, old.len())),
            _ => None,
        };
        match in_place {
            Some(content) => {
                let mut inode = entry.inode.borrow_mut();
                inode.content = content;
                (inode.modified, inode.changed) = (modified, now);
                entry.disturbances.push(entry.history.len());
            }
            // The new file is written beside the old one and renamed, as editors do: an open handle
            // keeps the old file.
            None => {
                entry.inode = Rc::new(RefCell::new(replacement));
                self.directories.insert("", now);
            }
        }
        // An open handle shows the new content, even if the name is gone.
        let content = Rc::clone(&entry.inode.borrow().content);
        entry.history.push(State::Content(content));
        if name == FLAKY {
            let was_absent = entry.refused == Some(FileError::Absent);
            entry.refused = match rng.below(5) {
                0 => Some(FileError::Absent),
                1 => Some(FileError::Denied),
                _ => None,
            };
            if was_absent != (entry.refused == Some(FileError::Absent)) {
                self.directories.insert("", now);
            }
            entry.history.push(entry.state());
        }
    }

    /// Overwrites a file in place, with another content of the same length.
    pub fn overwrite(&mut self, name: &'static str, wall: SystemTime) {
        self.versions += 1;
        let length = self.content(name).len();
        self.write(name, content(name, self.versions, length), wall);
    }

    /// Appends a line to a file.
    pub fn append(&mut self, name: &'static str, wall: SystemTime) {
        let longer = [&*self.content(name), b"and so on\n"].concat();
        self.write(name, longer.into(), wall);
    }

    fn write(&mut self, name: &'static str, content: Rc<[u8]>, wall: SystemTime) {
        let now = self.timestamp(wall);
        let entry = self.files.get_mut(name).expect("it is there");
        let mut inode = entry.inode.borrow_mut();
        inode.content = Rc::clone(&content);
        (inode.modified, inode.changed) = (now, now);
        entry.disturbances.push(entry.history.len());
        entry.history.push(State::Content(content));
    }

    /// Whether another change of any file would show in the times of the file.
    pub fn shows_changes(&self, wall: SystemTime) -> bool {
        let now = self.timestamp(wall);
        let mut files = self.files.values();
        files.all(|file| file.inode.borrow().changed < now)
    }

    pub fn timestamp(&self, wall: SystemTime) -> SystemTime {
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let tick = self.granularity.as_nanos();
        let ticks = since.as_nanos() / tick;
        UNIX_EPOCH + Duration::from_nanos((ticks * tick) as u64)
    }

    // ── The server's system calls ──────────────────────────────────────────────────────────────

    fn open(&self, path: &[u8]) -> Result<(SimFile, Stat), FileError> {
        let (name, entry) = self.find(path)?;
        if let Some(error) = entry.refused {
            return Err(error);
        }
        self.open.set(self.open.get() + 1);
        let file = SimFile {
            name,
            inode: Rc::clone(&entry.inode),
            open: Rc::clone(&self.open),
            position: Cell::default(),
            names: None,
        };
        let stat = entry.inode.borrow().stat();
        Ok((file, stat))
    }

    fn open_directory(&self, path: &[u8]) -> Result<SimFile, FileError> {
        let path = str::from_utf8(path).map_err(|_| FileError::Absent)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let (name, made) = self
            .directories
            .get_key_value(path)
            .ok_or(FileError::Absent)?;
        self.open.set(self.open.get() + 1);
        let inode = Inode {
            number: 0,
            content: [].into(),
            modified: *made,
            changed: *made,
        };
        Ok(SimFile {
            name,
            inode: Rc::new(RefCell::new(inode)),
            open: Rc::clone(&self.open),
            position: Cell::default(),
            names: None,
        })
    }

    /// A handle of a file, or of a directory with these names, on the disk of the pages.
    fn handle(&self, inode: Rc<RefCell<Inode>>, names: Option<Vec<String>>) -> SimFile {
        self.open.set(self.open.get() + 1);
        SimFile {
            name: ON_DISK,
            inode,
            open: Rc::clone(&self.open),
            position: Cell::default(),
            names: names.map(RefCell::new),
        }
    }

    fn stat(&self, path: &[u8]) -> Result<Stat, FileError> {
        match self.find(path) {
            // stat(2) needs no permission on the file itself.
            Ok((_, entry)) => match entry.refused {
                Some(FileError::Denied) | None => Ok(entry.inode.borrow().stat()),
                Some(error) => Err(error),
            },
            Err(FileError::Directory) => {
                let path = str::from_utf8(path).expect("it was found");
                let path = path.strip_suffix('/').unwrap_or(path);
                let changed = self.directories[path];
                Ok(Stat {
                    kind: FileKind::Directory,
                    device: 1,
                    inode: u64::MAX - path.len() as u64,
                    size: 0,
                    modified: changed,
                    changed,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// The name in the directory behind the name `after`, in any order that stays the same.
    fn name_after(&self, directory: &str, after: Option<&str>) -> Option<&'static str> {
        let files = self.files.keys().chain(self.directories.keys());
        let names = files.filter_map(|path| match directory {
            "" => Some(*path),
            _ => path.strip_prefix(directory)?.strip_prefix('/'),
        });
        let names = names.map(|name| name.split('/').next().unwrap_or(name));
        let names =
            names.filter(|name| !name.is_empty() && after.is_none_or(|after| *name > after));
        names.min()
    }

    fn find(&self, path: &[u8]) -> Result<(&'static str, &Entry), FileError> {
        let path = str::from_utf8(path).map_err(|_| FileError::Absent)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        match self.files.get_key_value(path) {
            Some((name, entry)) => Ok((name, entry)),
            None if self.directories.contains_key(path) => Err(FileError::Directory),
            None => Err(FileError::Absent),
        }
    }

    /// Notes that a call on a file has failed once, for no lasting reason.
    fn failed_once(&mut self, name: &str, error: FileError) {
        let entry = self.files.get_mut(name).expect("it was found");
        entry.history.push(State::Failing(error));
        entry.history.push(entry.state());
    }
}

/// Text with the name and the version of its file, so that an answer shows its origin. A sibling
/// begins like a file in its coding.
fn content(name: &str, version: usize, length: usize) -> Rc<[u8]> {
    let line = format!("{name}, version {version}\n");
    let mut bytes = line.repeat(length / line.len() + 1).into_bytes();
    if name.ends_with(".gz") {
        bytes[..3].copy_from_slice(&[0x1f, 0x8b, 8]);
    }
    bytes[..length].into()
}

/// An open file. A handle keeps the file that was opened, even if another file is renamed over it.
#[derive(Debug)]
pub struct SimFile {
    name: &'static str,
    inode: Rc<RefCell<Inode>>,
    open: Rc<Cell<usize>>,
    /// The last name that was read, of a directory.
    position: Cell<Option<&'static str>>,
    /// The names that are left, of a directory on the disk of the pages.
    names: Option<RefCell<Vec<String>>>,
}

impl SimFile {
    /// At most `count` bytes from the offset `at`; none after the end.
    pub fn slice(&self, at: u64, count: usize) -> Vec<u8> {
        let content = &self.inode.borrow().content;
        let at = (at as usize).min(content.len());
        let end = at.saturating_add(count).min(content.len());
        content[at..end].to_vec()
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

/// The server's view of the tree.
#[derive(Debug)]
pub struct SimFiles {
    pub world: Shared,
}

impl SimFiles {
    /// The path, if it is on the disk of the pages.
    fn path_on_disk<'a>(&self, path: &'a [u8]) -> Option<&'a str> {
        self.world.borrow().disk.as_ref()?;
        let is_there = path == b"live" || path.starts_with(b"live/");
        let path = str::from_utf8(path).ok().filter(|_| is_there)?;
        Some(path.strip_suffix('/').unwrap_or(path))
    }

    /// Whether a call on a file fails this time. A failure that goes into an answer is recorded.
    fn fails(&self, name: &[u8], error: FileError, is_answered: bool) -> Result<(), FileError> {
        let mut world = self.world.borrow_mut();
        world.hurry();
        let percent = world.weather.disk_errors;
        if name != FLAKY.as_bytes() || !world.rng.chance(percent) {
            return Ok(());
        }
        if is_answered {
            world.tree.failed_once(FLAKY, error);
        }
        Err(error)
    }
}

impl Files for SimFiles {
    type File = SimFile;

    fn open(&self, path: &[u8]) -> Result<(SimFile, Stat), FileError> {
        if let Some(path) = self.path_on_disk(path) {
            let world = &mut *self.world.borrow_mut();
            world.hurry();
            let disk = world.disk.as_ref().expect("it was asked for");
            let inode = disk.open(path)?;
            let stat = inode.borrow().stat();
            return Ok((world.tree.handle(inode, None), stat));
        }
        let error = match self.world.borrow_mut().rng.below(3) {
            0 => FileError::Absent,
            1 => FileError::Failed,
            _ => FileError::Exhausted,
        };
        self.fails(path, error, true)?;
        self.world.borrow().tree.open(path)
    }

    fn stat(&self, path: &[u8]) -> Result<Stat, FileError> {
        if let Some(path) = self.path_on_disk(path) {
            let world = &mut *self.world.borrow_mut();
            world.hurry();
            let disk = world.disk.as_ref().expect("it was asked for");
            return disk.stat(path);
        }
        self.fails(path, FileError::Failed, false)?;
        let stat = self.world.borrow().tree.stat(path);
        // The worst moment for a change is just after a look, which vouches for nothing later.
        self.world.borrow_mut().meddle();
        stat
    }

    fn open_directory(&self, path: &[u8]) -> Result<SimFile, FileError> {
        if let Some(path) = self.path_on_disk(path) {
            let world = &mut *self.world.borrow_mut();
            let disk = world.disk.as_ref().expect("it was asked for");
            let names = disk.names(path).ok_or(FileError::Absent)?;
            let inode = Inode::of(0, [].into(), long_ago());
            let inode = Rc::new(RefCell::new(inode));
            return Ok(world.tree.handle(inode, Some(names)));
        }
        self.world.borrow().tree.open_directory(path)
    }

    fn read_names(
        &self,
        directory: &SimFile,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, FileError> {
        if let Some(names) = &directory.names {
            let name = names.borrow_mut().pop();
            name.iter().for_each(|name| each(name.as_bytes()));
            return Ok(name.is_some());
        }
        for number in 0..2 {
            let tree = &self.world.borrow().tree;
            let Some(name) = tree.name_after(directory.name, directory.position.get()) else {
                return Ok(number > 0);
            };
            directory.position.set(Some(name));
            each(name.as_bytes());
        }
        // A file may be gone before the server looks at it, and is then not listed.
        let mut world = self.world.borrow_mut();
        let edits = world.weather.edits;
        if world.rng.chance(edits) {
            each(b"gone");
        }
        Ok(true)
    }

    fn fstat(&self, file: &SimFile) -> Result<Stat, FileError> {
        self.fails(file.name.as_bytes(), FileError::Failed, false)?;
        let stat = file.inode.borrow().stat();
        Ok(stat)
    }

    fn read_at(&self, file: &SimFile, into: &mut [u8], at: u64) -> Result<usize, FileError> {
        self.fails(file.name.as_bytes(), FileError::Failed, true)?;
        // A read takes a while, and an edit in place may come in the middle.
        let (first, second) = into.split_at_mut(into.len() / 2);
        let mut read = 0;
        for part in [first, second] {
            let bytes = file.slice(at + read as u64, part.len());
            part[..bytes.len()].copy_from_slice(&bytes);
            read += bytes.len();
            if bytes.len() < part.len() {
                break;
            }
            self.world.borrow_mut().meddle_with_a_read();
        }
        Ok(read)
    }
}
