//! Floor 3, site: the third seam, [`Files`], and the disk behind it. It must not know of requests
//! or sockets: paths in, open files and what stat(2) says of them out.

use std::cell::RefCell;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use crate::sys::{self, FileKind, Stat};

/// Where the files of a site come from: the disk, or the simulator's stand-in. Paths are relative
/// to the root, without a slash in front.
pub trait Files {
    /// An open file.
    type File;

    /// Opens a regular file beneath the root for reading. Never waits for a FIFO or a device.
    ///
    /// # Errors
    /// [`FileError`], `Directory` among them.
    fn open(&self, path: &[u8]) -> Result<(Self::File, Stat), FileError>;

    /// What is at `path` now. Follows symbolic links wherever they lead: the answer is only ever
    /// compared with that of [`open`](Files::open), which does not.
    ///
    /// # Errors
    /// [`FileError`].
    fn stat(&self, path: &[u8]) -> Result<Stat, FileError>;

    /// What an open file is like now.
    ///
    /// # Errors
    /// [`FileError`].
    fn fstat(&self, file: &Self::File) -> Result<Stat, FileError>;

    /// Reads from the offset `at`; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// [`FileError`].
    fn read_at(&self, file: &Self::File, into: &mut [u8], at: u64) -> Result<usize, FileError>;
}

/// Why there is no file to answer with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileError {
    /// Nothing of that name beneath the root, or nothing that is a file.
    Absent,
    /// A directory.
    Directory,
    /// Not ours to read.
    Denied,
    /// No descriptor or memory is left for it now.
    Exhausted,
    /// The disk failed.
    Failed,
}

impl FileError {
    /// A sentence for the author of the request.
    pub fn sentence(self) -> &'static str {
        match self {
            FileError::Absent | FileError::Directory => "there is no such file here",
            FileError::Denied => "this file may not be read by the server",
            FileError::Exhausted => "no file can be opened now, try again",
            FileError::Failed => "the file could not be read",
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl Error for FileError {}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> FileError {
        match error.kind() {
            io::ErrorKind::NotFound => FileError::Absent,
            io::ErrorKind::PermissionDenied => FileError::Denied,
            io::ErrorKind::IsADirectory => FileError::Directory,
            _ if sys::is_absent(&error) => FileError::Absent,
            _ if sys::is_exhausted(&error) => FileError::Exhausted,
            _ => FileError::Failed,
        }
    }
}

/// A directory of the disk, or a single file in one.
#[derive(Debug)]
pub struct Disk {
    /// Absolute. Links in it are not resolved for good: they may lead elsewhere tomorrow.
    path: PathBuf,
    /// The directory that `path` led to when it was last opened, and what it was.
    root: RefCell<(OwnedFd, Stat)>,
    /// If set, no other file is served.
    only: Option<Vec<u8>>,
    /// Symbolic links may lead out of the root.
    follow_symlinks: bool,
}

impl Disk {
    /// Serves `path`: everything beneath a directory, or one file.
    ///
    /// # Errors
    /// If it is neither, or cannot be opened.
    pub fn new(path: &Path) -> io::Result<Disk> {
        let (path, only) = match sys::stat(path)?.kind {
            FileKind::Directory => (absolute(path)?, None),
            FileKind::File => {
                let path = path.canonicalize()?;
                let name = path.file_name().expect("a file has a name");
                let only = Some(name.as_bytes().to_vec());
                (path.parent().expect("and a folder").to_path_buf(), only)
            }
            FileKind::Other => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let root = RefCell::new(open_root(&path)?);
        Ok(Disk {
            path,
            root,
            only,
            follow_symlinks: false,
        })
    }

    /// Follows symbolic links wherever they lead, not only within the root.
    #[must_use]
    pub fn following_symlinks(mut self) -> Disk {
        self.follow_symlinks = true;
        self
    }

    /// The directory that is served, or the one the single file is in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The single file's name, if that is all there is.
    pub fn only(&self) -> Option<&[u8]> {
        self.only.as_deref()
    }

    /// Opens the root again if another directory is at its path now: build tools delete their
    /// output directory and make a new one, and the old one would stay empty for ever. Releases are
    /// made by turning a link.
    fn follow_root(&self) -> io::Result<()> {
        let now = sys::stat(&self.path)?;
        let then = self.root.borrow().1;
        if (now.device, now.inode) != (then.device, then.inode) {
            self.root.replace(open_root(&self.path)?);
        }
        Ok(())
    }

    /// Opens a path that the kernel does not resolve beneath the root: through an absolute link,
    /// which may well point inside. So it is resolved here, the result is held against the root,
    /// and the rest of it, which has no links any more, is opened beneath. Should it get one in that
    /// very moment, it is refused after all.
    fn open_resolved(&self, path: &[u8]) -> io::Result<File> {
        let resolved = self.path.join(OsStr::from_bytes(path)).canonicalize()?;
        if self.follow_symlinks {
            return sys::open(&resolved);
        }
        match resolved.strip_prefix(self.path.canonicalize()?) {
            Ok(beneath) => {
                // The root itself has no name beneath it.
                let beneath = Path::new(".").join(beneath);
                sys::open_beneath(&self.root.borrow().0, beneath.as_os_str().as_bytes())
            }
            Err(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn allows(&self, path: &[u8]) -> Result<(), FileError> {
        match &self.only {
            Some(only) if path != only => Err(FileError::Absent),
            _ => Ok(()),
        }
    }
}

/// `path` from the root of the file system, with its links. `..` behind a link is resolved: to
/// read, the path would be a riddle.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    match path.components().any(|c| c == Component::ParentDir) {
        true => path.canonicalize(),
        false => std::path::absolute(path),
    }
}

fn open_root(path: &Path) -> io::Result<(OwnedFd, Stat)> {
    let root = sys::open_directory(path)?;
    let stat = sys::fstat(&root)?;
    Ok((root, stat))
}

impl Files for Disk {
    type File = File;

    fn open(&self, path: &[u8]) -> Result<(File, Stat), FileError> {
        self.allows(path)?;
        self.follow_root()?;
        let opened = sys::open_beneath(&self.root.borrow().0, path);
        let file = match opened {
            Err(e) if sys::leads_out(&e) => self.open_resolved(path)?,
            opened => opened?,
        };
        let stat = sys::fstat(&file)?;
        match stat.kind {
            FileKind::File => Ok((file, stat)),
            FileKind::Directory => Err(FileError::Directory),
            FileKind::Other => Err(FileError::Absent),
        }
    }

    fn stat(&self, path: &[u8]) -> Result<Stat, FileError> {
        // By the absolute path, not beneath the open root: one call notices both another file
        // and another root.
        Ok(sys::stat(&self.path.join(OsStr::from_bytes(path)))?)
    }

    fn fstat(&self, file: &File) -> Result<Stat, FileError> {
        Ok(sys::fstat(file)?)
    }

    fn read_at(&self, file: &File, into: &mut [u8], at: u64) -> Result<usize, FileError> {
        let mut done = 0;
        while done < into.len() {
            match file.read_at(&mut into[done..], at + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(done)
    }
}
