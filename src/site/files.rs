//! Floor 2, site: the third seam, [`Files`], and its implementation for the disk. This file must
//! not know requests or sockets: it takes paths, and returns open files and their stats.
//!
//! Architecture invariant: nothing here names `rustix`; system calls that `std` lacks are in `sys`.

use std::cell::RefCell;
use std::error::Error;
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use crate::sys::{self, FileKind, Handle, PathArg, Stat};

/// The files of a site: a tree on the disk, or the simulator's stand-in.
///
/// A path is relative to the root, without a slash in front. The empty path is the root.
///
/// An implementation must guarantee:
///
/// - **Beneath the root.** [`open`](Files::open) opens regular files only, and no file outside of
///   the root. (A [`Disk`] can be told to follow symbolic links out of the root.) A FIFO or a device
///   is not opened for a moment either: a process that waits for a reader of the FIFO would go on,
///   and find none.
/// - **One file for each open file.** An open file stays the file that was opened, even if the file
///   is deleted or another file is renamed over it. [`fstat`](Files::fstat) and
///   [`read_at`](Files::read_at) concern this file, whatever is at the path by now.
/// - **Equal stats for an unchanged file.** As long as a file is unchanged, `open`,
///   [`stat`](Files::stat) and `fstat` return equal values in every field of [`Stat`]. The site
///   compares whole values.
/// - **Another stat after a change.** A change of the content, the size or the name of a file moves
///   the change time, and a change of the content also moves the modification time. A change may
///   keep a timestamp only within one tick of the clock: 20 ms, or 2 s if the change time has no
///   fraction of a second.
/// - **Directories have stats too.** The stat of a directory changes, within the same limits, with
///   each name that is added or removed.
/// - **Absence is an answer.** `stat` returns [`FileError::Absent`], and no other error, for a path
///   where nothing is.
/// - **No waiting.** Each call may take the time of a disk access, but must not wait for anything
///   else, such as the writer of a FIFO, a device or a lock. The whole server waits with the
///   caller.
/// - **Descriptors come back.** Dropping a file closes it. A lack of descriptors is reported as
///   [`FileError::Exhausted`]; the site then closes the files in its cache and tries once more.
///
/// The type of an open file must also be the type that
/// [`Transport::send_file`](crate::transport::Transport::send_file) takes.
pub trait Files {
    /// An open file.
    type File;

    /// Opens a regular file beneath the root for reading, and returns the file with its stat. Never
    /// waits for a FIFO or a device.
    ///
    /// # Errors
    /// [`FileError`]: `Directory` for a directory, `Absent` for any other file that is not regular,
    /// and `LeadsOut`, or `Absent`, for a file outside of the root.
    fn open(&self, path: &[u8]) -> Result<(Self::File, Stat), FileError>;

    /// The stat of the file or directory at `path` now. Must not find a file that `open` would not
    /// find: a file that was moved out of the root may still be reached by a symbolic link.
    ///
    /// # Errors
    /// [`FileError`].
    fn stat(&self, path: &[u8]) -> Result<Stat, FileError>;

    /// Makes a path ready for [`stat_at`](Files::stat_at), as the [`Place`] beneath a root without a path. An
    /// implementation for which another root is better has its own method.
    fn place(&self, path: &[u8]) -> Place {
        Place::new(b"", path)
    }

    /// Does the same as [`stat`](Files::stat). The cache looks at the same file again and again, and the path
    /// of the file is not put together each time.
    ///
    /// # Errors
    /// Those of [`stat`](Files::stat).
    fn stat_at(&self, place: &Place) -> Result<Stat, FileError> {
        self.stat(place.path())
    }

    /// Begins a new epoch of the site: a fact that was found out before proves nothing about the
    /// tree now. An implementation that remembers no facts has nothing to do.
    fn begin_epoch(&self) {}

    /// The stat of an open file now.
    ///
    /// # Errors
    /// [`FileError`].
    fn fstat(&self, file: &Self::File) -> Result<Stat, FileError>;

    /// Reads from the offset `at` until `into` is full, and returns the number of bytes read. The
    /// number is smaller than the length of `into` only if the file ends there.
    ///
    /// # Errors
    /// [`FileError`].
    fn read_at(&self, file: &Self::File, into: &mut [u8], at: u64) -> Result<usize, FileError>;

    /// Opens the directory at `path` beneath the root, for [`read_names`](Files::read_names). A tree
    /// without directories to be listed has nothing to do.
    ///
    /// # Errors
    /// [`FileError`]: `Absent` for what is not a directory.
    fn open_directory(&self, path: &[u8]) -> Result<Self::File, FileError> {
        let _ = path;
        Err(FileError::Absent)
    }

    /// Passes some more names in an open directory to `each`, of not more than 32 KiB, in no order,
    /// without `.` and `..`. Returns `false` if there was none left. A name that is added or removed
    /// meanwhile may be passed or not; every other name is passed once.
    ///
    /// # Errors
    /// [`FileError`].
    fn read_names(
        &self,
        directory: &Self::File,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, FileError> {
        let _ = (directory, each);
        Ok(false)
    }
}

/// A path that is ready to be looked at: with the path of the root in front, and with the NUL that the kernel
/// asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    whole: Box<CStr>,
    /// Where the path beneath the root begins, in `whole`.
    begin: usize,
    /// The end of the directory above the file, in the path beneath the root. `None`: the file is in the root.
    directory_end: Option<usize>,
}

impl Place {
    /// The place of `path` behind `root`, which ends in a slash unless it is empty. No file has a NUL in its
    /// path: such a path becomes the empty one.
    pub fn new(root: &[u8], path: &[u8]) -> Place {
        match CString::new([root, path].concat()) {
            Ok(whole) => Place {
                whole: whole.into(),
                begin: root.len(),
                directory_end: path.iter().rposition(|b| *b == b'/'),
            },
            Err(_) => Place {
                whole: CString::default().into(),
                begin: 0,
                directory_end: None,
            },
        }
    }

    /// The path beneath the root.
    pub fn path(&self) -> &[u8] {
        &self.whole.to_bytes()[self.begin..]
    }

    /// The path of the directory above the file, beneath the root. `None`: that is the root.
    fn directory(&self) -> Option<&[u8]> {
        self.directory_end.map(|end| &self.path()[..end])
    }

    /// The number of bytes that the place holds in memory, beside itself.
    pub(super) fn bytes(&self) -> usize {
        self.whole.count_bytes() + 1
    }
}

/// The reason why no file can answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileError {
    /// No file beneath the root has this name, or the file is neither regular nor a directory.
    Absent,
    /// A symbolic link in the path leads out of the root.
    LeadsOut,
    /// The path leads to a directory.
    Directory,
    /// The server has no permission to read the file.
    Denied,
    /// No descriptor or memory is left to open the file now.
    Exhausted,
    /// The file was changed during each of several attempts to read it.
    Changing,
    /// The disk failed.
    Failed,
}

impl FileError {
    /// A sentence for the person who sent the request.
    pub fn sentence(self) -> &'static str {
        match self {
            FileError::Absent | FileError::Directory => "there is no such file here",
            FileError::LeadsOut => {
                "a symbolic link leads out of the folder; --follow-symlinks allows it"
            }
            FileError::Denied => "this file may not be read by the server",
            FileError::Exhausted => "no file can be opened now, try again",
            FileError::Changing => "this file is being written, try again",
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
    /// An absolute path. Symbolic links in the path stay unresolved, because a link may lead to
    /// another directory later.
    path: PathBuf,
    /// The directory at `path` when the root was last opened, and the stat of the directory.
    root: RefCell<(OwnedFd, Stat)>,
    /// The name of the only file to be served; `None` to serve the whole directory. The name may be
    /// a symbolic link to a file anywhere, because the user has named the file.
    only: Option<Vec<u8>>,
    /// Whether symbolic links may lead out of the root.
    follow_symlinks: bool,
    /// The path of the last stat(2) without a [`Place`], and the number of its bytes that name the root, with
    /// a slash. Kept because a request must not allocate.
    looked_at: RefCell<(Vec<u8>, usize)>,
    /// A directory beneath the root that was found in this epoch, with no symbolic link in its
    /// path; empty if none was found.
    plain_directory: RefCell<Vec<u8>>,
}

impl Disk {
    /// Serves `path`: everything beneath a directory, or one file.
    ///
    /// # Errors
    /// If `path` is neither a directory nor a regular file, or if the process may not look for files
    /// in the directory, or read the file.
    pub fn new(path: &Path) -> io::Result<Disk> {
        sys::check_readable(path)?;
        let (path, only) = match sys::stat(path)?.kind {
            FileKind::Directory => (absolute(path)?, None),
            FileKind::File => {
                // A link stays a link: the file is served under the name that the user gave, and
                // the next open follows the link to another file if the link was turned.
                let name = path.file_name().expect("a file has a name");
                let folder = match path.parent() {
                    Some(folder) if folder != Path::new("") => folder,
                    _ => Path::new("."),
                };
                (absolute(folder)?, Some(name.as_bytes().to_vec()))
            }
            FileKind::Other => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let root = RefCell::new(open_root(&path)?);
        let looked_at = [path.as_os_str().as_bytes(), b"/"].concat();
        let looked_at = RefCell::new((looked_at.clone(), looked_at.len()));
        Ok(Disk {
            path,
            root,
            only,
            follow_symlinks: false,
            looked_at,
            plain_directory: RefCell::default(),
        })
    }

    /// Also follows symbolic links that lead out of the root.
    #[must_use]
    pub fn following_symlinks(mut self) -> Disk {
        self.follow_symlinks = true;
        self
    }

    /// The directory that is served, or the directory of the single file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the single file; `None` if a directory is served.
    pub fn only(&self) -> Option<&[u8]> {
        self.only.as_deref()
    }

    /// Calls `look` with the absolute path of `path`.
    fn look_at<R>(&self, path: &[u8], look: impl FnOnce(&Path) -> R) -> R {
        let (looked_at, root_bytes) = &mut *self.looked_at.borrow_mut();
        looked_at.truncate(*root_bytes);
        looked_at.extend_from_slice(path);
        look(Path::new(OsStr::from_bytes(looked_at)))
    }

    /// Opens the root again if another directory is at its path now, and returns whether it is. Build
    /// tools delete their output directory and create a new one: the old directory would stay empty
    /// for ever. Releases are published by pointing a symbolic link to another directory.
    fn follow_root(&self) -> io::Result<bool> {
        let now = sys::stat(&self.path)?;
        let is_another = !is_same(&now, &self.root.borrow().1);
        if is_another {
            self.root.replace(open_root(&self.path)?);
        }
        Ok(is_another)
    }

    /// Opens a file beneath the root, and returns the file with its stat. A file that is neither
    /// regular nor a directory is not opened for reading.
    fn open_beneath(&self, path: &[u8]) -> Result<(File, Stat), FileError> {
        // One call for two questions: what kind of file is at the path, and is it a file of the root
        // that is open, or is another directory at the path of the root?
        let looked = self
            .look_at(path, |whole| sys::lstat(whole))
            .map_err(FileError::from);
        if looked.is_ok_and(|stat| stat.kind == FileKind::Other) {
            // A symbolic link may lead to any kind of file.
            let stat = self.find(path)?;
            return match stat.kind {
                FileKind::File | FileKind::Directory => self.open_any(path, Handle::Readable),
                FileKind::Other => Err(FileError::Absent),
            };
        }
        let opened = self.open_any(path, Handle::Readable);
        let is_expected = match (&looked, &opened) {
            (Ok(looked), Ok((_, stat))) => is_same(looked, stat),
            (Err(looked), Err(error)) => looked == error,
            _ => false,
        };
        match is_expected || !self.follow_root()? {
            true => opened,
            false => self.open_any(path, Handle::Readable),
        }
    }

    /// The stat of the file of any kind at a path, links followed as far as the root allows.
    fn find(&self, path: &[u8]) -> Result<Stat, FileError> {
        self.follow_root()?;
        Ok(self.open_any(path, Handle::PathOnly)?.1)
    }

    /// Opens a file of any kind beneath the open root, and returns the file with its stat.
    fn open_any(&self, path: &[u8], handle: Handle) -> Result<(File, Stat), FileError> {
        let opened = sys::open_beneath(&self.root.borrow().0, path, handle);
        let file = match opened {
            Err(e) if sys::leads_out(&e) => self.open_resolved(path, handle)?,
            opened => opened?,
        };
        let stat = sys::fstat(&file)?;
        Ok((file, stat))
    }

    /// The stat of the file at `whole`, which is the absolute path of `path`. `directory` is the one above.
    #[inline]
    fn look(
        &self,
        path: &[u8],
        directory: Option<&[u8]>,
        whole: impl PathArg + Copy,
    ) -> Result<Stat, FileError> {
        // By the absolute path, not beneath the open root: one call notices another file at the
        // path as well as another root.
        if self.only.is_some() || self.follow_symlinks {
            return Ok(sys::stat(whole)?);
        }
        // stat(2) knows no limit for symbolic links, and openat2(2) costs three calls in its place.
        // A path without links needs no limit.
        let is_plain = match directory {
            Some(directory) => self.is_plain(directory)?,
            None => true,
        };
        if is_plain {
            let stat = sys::lstat(whole)?;
            if stat.kind != FileKind::Other {
                return Ok(stat);
            }
        }
        self.find(path)
    }

    /// Whether a directory and every directory above it is one, and no symbolic link. Each
    /// directory is looked at once in an epoch, if all requests of the epoch are for files in it.
    fn is_plain(&self, directory: &[u8]) -> io::Result<bool> {
        let mut plain = self.plain_directory.borrow_mut();
        if let Some([] | [b'/', ..]) = plain.strip_prefix(directory) {
            return Ok(true);
        }
        let slashes = (0..directory.len()).filter(|at| directory[*at] == b'/');
        for end in slashes.chain([directory.len()]) {
            let above = self.path.join(OsStr::from_bytes(&directory[..end]));
            if sys::lstat(&above)?.kind != FileKind::Directory {
                return Ok(false);
            }
        }
        plain.clear();
        plain.extend_from_slice(directory);
        Ok(true)
    }

    /// Opens a path that the kernel refuses to resolve beneath the root because of a symbolic link,
    /// usually an absolute one. The link may still point into the root. The path is therefore
    /// resolved here and checked against the root, and the rest of the resolved path, free of
    /// links, is opened beneath the root. If such a link appears there in the meantime, the kernel
    /// refuses the path again, and the refusal is final.
    fn open_resolved(&self, path: &[u8], handle: Handle) -> Result<File, FileError> {
        let path = self.path.join(OsStr::from_bytes(path));
        if self.follow_symlinks {
            return Ok(sys::open(&path.canonicalize()?, handle)?);
        }
        let root = self.path.canonicalize()?;
        let resolved = path.canonicalize().map_err(|error| {
            // A link that leads out is to be told from a link to nothing.
            let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
            match folder.is_none_or(|folder| folder.starts_with(&root)) {
                true => error.into(),
                false => FileError::LeadsOut,
            }
        })?;
        match resolved.strip_prefix(root) {
            Ok(beneath) => {
                // The root itself has no name beneath it.
                let beneath = Path::new(".").join(beneath);
                let beneath = beneath.as_os_str().as_bytes();
                let root = &self.root.borrow().0;
                Ok(sys::open_beneath(root, beneath, handle)?)
            }
            Err(_) => Err(FileError::LeadsOut),
        }
    }
}

/// Makes `path` absolute and leaves its symbolic links unresolved. A path with `..` is resolved
/// completely: `..` after a link means the parent of the link's target, and the path as written
/// would mislead a reader.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    match path.components().any(|c| c == Component::ParentDir) {
        true => path.canonicalize(),
        false => std::path::absolute(path),
    }
}

/// Whether two stats are of the same file.
fn is_same(a: &Stat, b: &Stat) -> bool {
    (a.device, a.inode) == (b.device, b.inode)
}

fn open_root(path: &Path) -> io::Result<(OwnedFd, Stat)> {
    let root = sys::open_directory(path)?;
    let stat = sys::fstat(&root)?;
    Ok((root, stat))
}

impl Files for Disk {
    type File = File;

    fn open(&self, path: &[u8]) -> Result<(File, Stat), FileError> {
        let (file, stat) = match &self.only {
            Some(only) if path == only => {
                let path = self.path.join(OsStr::from_bytes(path));
                if sys::stat(&path)?.kind == FileKind::Other {
                    return Err(FileError::Absent);
                }
                let file = sys::open(&path, Handle::Readable)?;
                let stat = sys::fstat(&file)?;
                (file, stat)
            }
            Some(_) => return Err(FileError::Absent),
            None => self.open_beneath(path)?,
        };
        match stat.kind {
            FileKind::File => Ok((file, stat)),
            FileKind::Directory => Err(FileError::Directory),
            FileKind::Other => Err(FileError::Absent),
        }
    }

    fn stat(&self, path: &[u8]) -> Result<Stat, FileError> {
        let end = path.iter().rposition(|b| *b == b'/');
        self.look_at(path, |whole| {
            self.look(path, end.map(|end| &path[..end]), whole)
        })
    }

    fn place(&self, path: &[u8]) -> Place {
        let root = [self.path.as_os_str().as_bytes(), b"/"].concat();
        Place::new(&root, path)
    }

    fn stat_at(&self, place: &Place) -> Result<Stat, FileError> {
        self.look(place.path(), place.directory(), &*place.whole)
    }

    fn begin_epoch(&self) {
        self.plain_directory.borrow_mut().clear();
    }

    fn fstat(&self, file: &File) -> Result<Stat, FileError> {
        Ok(sys::fstat(file)?)
    }

    fn open_directory(&self, path: &[u8]) -> Result<File, FileError> {
        if self.only.is_some() {
            return Err(FileError::Absent);
        }
        // The root itself has no name beneath it.
        let path = if path.is_empty() { b"." } else { path };
        let (file, stat) = self.open_beneath(path)?;
        match stat.kind {
            FileKind::Directory => Ok(file),
            FileKind::File | FileKind::Other => Err(FileError::Absent),
        }
    }

    fn read_names(&self, directory: &File, each: &mut dyn FnMut(&[u8])) -> Result<bool, FileError> {
        Ok(sys::read_names(directory, each)?)
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder in which a folder is later moved out of the root, with a link in its place.
    #[test]
    fn a_place_is_looked_at_as_its_path_is() {
        let folder = std::env::temp_dir().join(format!("oneloop-place-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let root = folder.join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        for file in ["top", "a/file", "a/b/file"] {
            fs::write(root.join(file), file).unwrap();
        }
        symlink("top", root.join("link")).unwrap();
        let plain = Disk::new(&root).unwrap();
        let following = Disk::new(&root).unwrap().following_symlinks();
        let single = Disk::new(&root.join("top")).unwrap();
        let paths = [
            "", "top", "link", "a", "a/file", "a/b/file", "none", "a/none",
        ];
        let check = |expected: [&str; 3]| {
            for (disk, expected) in [&plain, &following, &single].into_iter().zip(expected) {
                let found = paths.map(|path| {
                    let (path, place) = (path.as_bytes(), disk.place(path.as_bytes()));
                    disk.begin_epoch();
                    let stat = disk.stat_at(&place);
                    disk.begin_epoch();
                    assert_eq!((place.path(), stat), (path, disk.stat(path)));
                    if stat.is_ok() { '+' } else { '-' }
                });
                assert_eq!(String::from_iter(found), expected);
            }
        };
        check(["++++++--"; 3]);
        fs::rename(root.join("a"), folder.join("a")).unwrap();
        symlink(folder.join("a"), root.join("a")).unwrap();
        // The files behind the link are outside of the root.
        check(["+++-----", "++++++--", "++++++--"]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_path_with_a_nul_has_no_place() {
        let disk = Disk::new(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let place = disk.place(b"Cargo.toml\0x");
        assert_eq!(disk.stat_at(&place), Err(FileError::Absent));
    }
}
