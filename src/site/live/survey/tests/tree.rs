//! Floor 2, site: a disk in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::site::{FileError, Files};
use crate::sys::{FileKind, Stat};

/// The content, unless it is a directory, and the stat.
type Node = (Option<Vec<u8>>, Stat);

/// A disk: each path with its content and stat. A directory has no content.
#[derive(Clone, Default)]
pub struct Tree {
    nodes: Rc<RefCell<BTreeMap<String, Node>>>,
    /// Milliseconds.
    clock: Rc<Cell<u64>>,
    inodes: Rc<Cell<u64>>,
    /// The bytes that were read.
    pub read: Rc<Cell<usize>>,
}

impl Tree {
    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_700_000_000_123 + self.clock.get())
    }

    pub fn pass(&self, ms: u64) {
        self.clock.set(self.clock.get() + ms);
    }

    /// A later moment, at which a change shows.
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
        let node = (content.map(<[u8]>::to_vec), stat);
        let is_new = self
            .nodes
            .borrow_mut()
            .insert(path.to_owned(), node)
            .is_none();
        if is_new {
            self.touch_parent(path);
        }
    }

    fn touch_parent(&self, path: &str) {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if let Some((_, stat)) = self.nodes.borrow_mut().get_mut(parent) {
            (stat.modified, stat.changed) = (self.now(), self.now());
        }
    }

    /// Renames a new file over the old one, as most editors do.
    pub fn save(&self, path: &str, content: &[u8]) {
        self.put(path, Some(content));
        self.touch_parent(path);
    }

    /// Overwrites a file, which stays the same file.
    pub fn overwrite(&self, path: &str, content: &[u8]) {
        let mut nodes = self.nodes.borrow_mut();
        let node = nodes.get_mut(path).expect("it is there");
        node.0 = Some(content.to_vec());
        node.1.size = content.len() as u64;
        (node.1.modified, node.1.changed) = (self.now(), self.now());
    }

    pub fn remove(&self, path: &str) {
        let below = format!("{path}/");
        let mut nodes = self.nodes.borrow_mut();
        nodes.retain(|other, _| other != path && !other.starts_with(&below));
        drop(nodes);
        self.touch_parent(path);
    }
}

#[derive(Debug)]
pub struct Open {
    path: String,
    content: Vec<u8>,
    listed: Cell<bool>,
}

impl Files for Tree {
    type File = Open;

    fn open(&self, path: &[u8]) -> Result<(Open, Stat), FileError> {
        let stat = self.stat(path)?;
        let path = str::from_utf8(path).expect("text").to_owned();
        let content = self.nodes.borrow()[&path].0.clone();
        let content = content.ok_or(FileError::Directory)?;
        let listed = Cell::new(false);
        Ok((
            Open {
                path,
                content,
                listed,
            },
            stat,
        ))
    }

    fn stat(&self, path: &[u8]) -> Result<Stat, FileError> {
        let path = str::from_utf8(path).map_err(|_| FileError::Absent)?;
        let nodes = self.nodes.borrow();
        let path = path.strip_suffix('/').unwrap_or(path);
        nodes.get(path).map(|node| node.1).ok_or(FileError::Absent)
    }

    fn fstat(&self, file: &Open) -> Result<Stat, FileError> {
        self.stat(file.path.as_bytes())
    }

    fn read_at(&self, file: &Open, into: &mut [u8], at: u64) -> Result<usize, FileError> {
        let rest = &file.content[file.content.len().min(at as usize)..];
        let read = rest.len().min(into.len());
        into[..read].copy_from_slice(&rest[..read]);
        self.read.set(self.read.get() + read);
        Ok(read)
    }

    fn open_directory(&self, path: &[u8]) -> Result<Open, FileError> {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        match self.stat(path)?.kind {
            FileKind::Directory => Ok(Open {
                path: String::from_utf8(path.to_vec()).expect("text"),
                content: Vec::new(),
                listed: Cell::new(false),
            }),
            _ => Err(FileError::Absent),
        }
    }

    fn read_names(&self, open: &Open, each: &mut dyn FnMut(&[u8])) -> Result<bool, FileError> {
        if open.listed.replace(true) {
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
