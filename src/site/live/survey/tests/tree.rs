//! Floor 2, site: a disk in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::site::{FileError, Files};
use crate::sys::{FileKind, Stat};

/// A file or a directory, apart from its name. A directory has no content.
#[derive(Debug)]
struct Inode {
    content: Option<Vec<u8>>,
    stat: Stat,
}

/// A disk, and the events of its directories.
#[derive(Clone, Default)]
pub struct Tree {
    nodes: Rc<RefCell<BTreeMap<String, Rc<RefCell<Inode>>>>>,
    /// Milliseconds.
    clock: Rc<Cell<u64>>,
    inodes: Rc<Cell<u64>>,
    /// The bytes that were read.
    pub read: Rc<Cell<usize>>,
    /// The directories in which something has happened, by number, and at which name.
    pub events: Rc<RefCell<Vec<(u64, String)>>>,
}

impl Tree {
    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_700_000_000_123 + self.clock.get())
    }

    pub fn pass(&self, ms: u64) {
        self.clock.set(self.clock.get() + ms);
    }

    /// The number of a directory, if one is at the path.
    pub fn directory(&self, path: &str) -> Option<u64> {
        let stat = self.stat(path.as_bytes()).ok()?;
        (stat.kind == FileKind::Directory).then_some(stat.inode)
    }

    /// Puts a new file, or a directory if there is no content, in the place of what is at the path.
    pub fn put(&self, path: &str, content: Option<&[u8]>) {
        self.inodes.set(self.inodes.get() + 1);
        let stat = Stat {
            kind: match content {
                Some(_) => FileKind::File,
                None => FileKind::Directory,
            },
            device: 1,
            inode: self.inodes.get(),
            size: content.map_or(0, |content| content.len() as u64),
            modified: self.now(),
            changed: self.now(),
        };
        let content = content.map(<[u8]>::to_vec);
        let inode = Rc::new(RefCell::new(Inode { content, stat }));
        self.nodes.borrow_mut().insert(path.to_owned(), inode);
        self.touch_parent(path);
    }

    /// Notes a change of a name.
    fn touch_parent(&self, path: &str) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some(inode) = self.nodes.borrow().get(parent) {
            let stat = &mut inode.borrow_mut().stat;
            (stat.modified, stat.changed) = (self.now(), self.now());
            self.events.borrow_mut().push((stat.inode, name.to_owned()));
        }
    }

    /// Renames a new file over the old one, as most editors do.
    pub fn save(&self, path: &str, content: &[u8]) {
        self.put(path, Some(content));
    }

    /// Overwrites a file, which stays the same file.
    pub fn overwrite(&self, path: &str, content: &[u8]) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Some(inode) = self.nodes.borrow().get(path).cloned() else {
            return self.put(path, Some(content));
        };
        let mut inode = inode.borrow_mut();
        inode.content = Some(content.to_vec());
        inode.stat.size = content.len() as u64;
        (inode.stat.modified, inode.stat.changed) = (self.now(), self.now());
        if let Some(parent) = self.directory(parent) {
            self.events.borrow_mut().push((parent, name.to_owned()));
        }
    }

    /// Removes what is at the path, with all below.
    pub fn remove(&self, path: &str) {
        let below = format!("{path}/");
        let mut nodes = self.nodes.borrow_mut();
        nodes.retain(|other, _| other != path && !other.starts_with(&below));
        drop(nodes);
        self.touch_parent(path);
    }

    /// Renames what is at a path, with all below, over what is at the other path.
    pub fn rename(&self, from: &str, to: &str) {
        let below = format!("{from}/");
        let mut nodes = self.nodes.borrow_mut();
        let is_moved = |path: &String| path == from || path.starts_with(&below);
        let moved: Vec<_> = nodes.extract_if(.., |path, _| is_moved(path)).collect();
        for (path, inode) in moved {
            inode.borrow_mut().stat.changed = self.now();
            nodes.insert(format!("{to}{}", &path[from.len()..]), inode);
        }
        drop(nodes);
        self.touch_parent(from);
        self.touch_parent(to);
    }
}

#[derive(Debug)]
pub struct Open {
    path: String,
    inode: Rc<RefCell<Inode>>,
    is_listed: Cell<bool>,
}

impl Tree {
    fn find(&self, path: &[u8]) -> Result<Open, FileError> {
        let path = str::from_utf8(path).map_err(|_| FileError::Absent)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let inode = self.nodes.borrow().get(path).cloned();
        Ok(Open {
            path: path.to_owned(),
            inode: inode.ok_or(FileError::Absent)?,
            is_listed: Cell::new(false),
        })
    }
}

impl Files for Tree {
    type File = Open;

    fn open(&self, path: &[u8]) -> Result<(Open, Stat), FileError> {
        let open = self.find(path)?;
        let stat = open.inode.borrow().stat;
        match stat.kind {
            FileKind::File => Ok((open, stat)),
            _ => Err(FileError::Directory),
        }
    }

    fn stat(&self, path: &[u8]) -> Result<Stat, FileError> {
        let stat = self.find(path)?.inode.borrow().stat;
        Ok(stat)
    }

    fn fstat(&self, file: &Open) -> Result<Stat, FileError> {
        Ok(file.inode.borrow().stat)
    }

    fn read_at(&self, file: &Open, into: &mut [u8], at: u64) -> Result<usize, FileError> {
        let inode = file.inode.borrow();
        let content = inode.content.as_ref().ok_or(FileError::Directory)?;
        let rest = &content[content.len().min(at as usize)..];
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        self.read.set(self.read.get() + read);
        Ok(read)
    }

    fn open_directory(&self, path: &[u8]) -> Result<Open, FileError> {
        let open = self.find(path)?;
        let is_directory = open.inode.borrow().content.is_none();
        is_directory.then_some(open).ok_or(FileError::Absent)
    }

    fn read_names(&self, open: &Open, each: &mut dyn FnMut(&[u8])) -> Result<bool, FileError> {
        if open.is_listed.replace(true) {
            return Ok(false);
        }
        for path in self.nodes.borrow().keys().filter(|path| !path.is_empty()) {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            if parent == open.path {
                each(name.as_bytes());
            }
        }
        Ok(true)
    }
}
