//! Floor 0, sys: watches on directories, by inotify(7), and the questions about files and terminals that
//! go with them.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

/// An inotify instance.
#[derive(Debug)]
pub(crate) struct Inotify(OwnedFd);

/// An event of inotify(7), by its meaning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Inotified {
    /// A name was added: `IN_CREATE`.
    Created,
    /// A file was written to, and may still be open: `IN_MODIFY`.
    Written,
    /// Something else happened at a name: the file was closed after writing, moved, or removed, or its
    /// attributes have changed. Of a directory, each event counts as this one.
    Changed,
    /// The watched directory was moved, or removed, or its file system is gone.
    DirectoryLeft,
    /// The watch is removed already, and its number names nothing any more: `IN_IGNORED`.
    WatchEnded,
    /// The queue of the kernel was full, and events are lost.
    Overflowed,
}

impl Inotify {
    /// The bytes of one read: about a hundred events with short names.
    const BUFFER_BYTES: usize = 4 << 10;

    /// Makes an instance.
    ///
    /// # Errors
    /// The errors of inotify_init(2). `EMFILE` may mean that the user has too many instances.
    pub fn new() -> io::Result<Inotify> {
        let flags = CreateFlags::NONBLOCK | CreateFlags::CLOEXEC;
        Ok(Inotify(inotify::init(flags)?))
    }

    /// Watches the directory at `path`, links followed. The number is that of the directory: another path
    /// to the same directory gets the same number.
    ///
    /// # Errors
    /// The errors of inotify_add_watch(2). `ENOSPC` means that the user has too many watches.
    pub fn add(&self, path: &Path) -> io::Result<i32> {
        let events = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::MODIFY
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        Ok(inotify::add_watch(
            &self.0,
            path,
            events | WatchFlags::ONLYDIR,
        )?)
    }

    /// Ends a watch. A number that names no watch is no error: the directory may have been removed.
    pub fn remove(&self, number: i32) {
        let _ = inotify::remove_watch(&self.0, number);
    }

    /// Passes the events of one read to `each`: the number of the watch, the event, and the name in the
    /// directory, which is empty for an event of the directory itself. Returns `false` if no event waited.
    ///
    /// # Errors
    /// The errors of read(2) except `EAGAIN`.
    pub fn read(&self, each: &mut dyn FnMut(i32, Inotified, &[u8])) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); Inotify::BUFFER_BYTES];
        let mut reader = Reader::new(&self.0, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map_or(&[][..], |name| name.to_bytes());
                    let is_of_directory = name.is_empty();
                    if let Some(what) = meaning(event.events(), is_of_directory) {
                        each(event.wd(), what, name);
                    }
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if reader.is_buffer_empty() {
                return Ok(true);
            }
        }
    }
}

impl AsRawFd for Inotify {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The meaning of an event; `None` for one that tells nothing.
fn meaning(event: ReadFlags, is_of_directory: bool) -> Option<Inotified> {
    let has = |flags| event.intersects(flags);
    if has(ReadFlags::QUEUE_OVERFLOW) {
        Some(Inotified::Overflowed)
    } else if has(ReadFlags::IGNORED) {
        Some(Inotified::WatchEnded)
    } else if has(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT) {
        Some(Inotified::DirectoryLeft)
    } else if is_of_directory {
        // The attributes of the directory itself: who may read it counts for all names in it, but the
        // kernel also reports each change of its times.
        None
    } else if has(ReadFlags::ISDIR) {
        Some(Inotified::Changed)
    } else if has(ReadFlags::CREATE) {
        Some(Inotified::Created)
    } else if has(ReadFlags::MODIFY) {
        Some(Inotified::Written)
    } else {
        Some(Inotified::Changed)
    }
}

/// Whether inotify(7) is silent about changes in the directory at `path`, because they may be made
/// elsewhere: on the host of a virtual machine or of a container, or on another machine. `false` if the
/// file system is not known.
pub(crate) fn is_silent(path: &Path) -> bool {
    /// The values of `f_type` in statfs(2): FUSE, 9p, SMB, CIFS, SMB2, NFS, and the shared folders of
    /// VirtualBox and of Parallels.
    const SILENT: [u64; 8] = [
        0x6573_5546,
        0x0102_1997,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x6969,
        0x786f_4256,
        0x7c7c_6673,
    ];
    // The type of the field differs by architecture, and its upper half by the extension of the sign.
    let known = rustix::fs::statfs(path).map(|stat| stat.f_type as u64 & 0xffff_ffff);
    known.is_ok_and(|kind| SILENT.contains(&kind))
}

/// Whether a call failed because the user has as many watches as the user may have.
pub(crate) fn is_out_of_watches(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOSPC)
}

/// Whether the file at `path` may be in the making: a regular file with one name. A name that is added to
/// a file which has another is not written to.
pub(crate) fn may_be_in_the_making(path: &Path) -> bool {
    let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink == 1
    })
}

/// Whether the process has a terminal that controls it.
pub(crate) fn has_terminal() -> bool {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open("/dev/tty", flags, Mode::empty()).is_ok()
}

/// The terminal at standard input, to be read without waiting; `None` if standard input is none.
///
/// The terminal is opened a second time: `O_NONBLOCK` belongs to the open file description, which the
/// shell shares. After su(1), the terminal belongs to another user, and only `/dev/tty` can be opened.
pub(crate) fn terminal_input() -> Option<File> {
    let stdin = rustix::stdio::stdin();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = |path| rustix::fs::open(path, flags, Mode::empty()).ok();
    // Only the terminal that controls the process has a foreground.
    let controls = || rustix::termios::tcgetpgrp(stdin).is_ok();
    rustix::termios::isatty(stdin)
        .then(|| open("/proc/self/fd/0").or_else(|| controls().then(|| open("/dev/tty"))?))
        .flatten()
        .map(File::from)
}

/// Whether this process is in the foreground of the terminal. A process in the background that reads from
/// its terminal is stopped by SIGTTIN.
pub(crate) fn is_in_foreground(terminal: &impl AsFd) -> bool {
    let foreground = rustix::termios::tcgetpgrp(terminal);
    foreground.is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Whether the process ignores the signal of this number, from `/proc/self/status`: nohup(1) starts
/// programs that ignore SIGHUP.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| {
        let digits = line.strip_prefix("SigIgn:")?;
        u64::from_str_radix(digits.trim(), 16).ok()
    });
    ignored.is_some_and(|signals| signals >> (signal - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_apart_by_what_they_mean() {
        for (event, is_of_directory, expected) in [
            (ReadFlags::CREATE, false, Some(Inotified::Created)),
            (
                ReadFlags::CREATE | ReadFlags::ISDIR,
                false,
                Some(Inotified::Changed),
            ),
            (ReadFlags::MODIFY, false, Some(Inotified::Written)),
            (ReadFlags::CLOSE_WRITE, false, Some(Inotified::Changed)),
            (ReadFlags::MOVED_FROM, false, Some(Inotified::Changed)),
            (ReadFlags::MOVED_TO, false, Some(Inotified::Changed)),
            (ReadFlags::DELETE, false, Some(Inotified::Changed)),
            (ReadFlags::ATTRIB, false, Some(Inotified::Changed)),
            (ReadFlags::ATTRIB | ReadFlags::ISDIR, true, None),
            (ReadFlags::DELETE_SELF, true, Some(Inotified::DirectoryLeft)),
            (ReadFlags::MOVE_SELF, true, Some(Inotified::DirectoryLeft)),
            (ReadFlags::UNMOUNT, true, Some(Inotified::DirectoryLeft)),
            (ReadFlags::IGNORED, true, Some(Inotified::WatchEnded)),
            (ReadFlags::QUEUE_OVERFLOW, true, Some(Inotified::Overflowed)),
        ] {
            assert_eq!(meaning(event, is_of_directory), expected, "{event:?}");
        }
    }

    /// The kernel itself is asked: an atomic save, another path to the same directory, and a removal.
    #[test]
    fn the_kernel_tells_of_names_and_of_the_directory_itself() {
        let folder = std::env::temp_dir().join(format!("oneloop-watch-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let inner = folder.join("inner");
        std::fs::create_dir_all(&inner).expect("the folder is ours");
        std::os::unix::fs::symlink("inner", folder.join("link")).expect("the folder is ours");
        let inotify = Inotify::new().expect("inotify is there");
        let number = inotify.add(&inner).expect("it is a directory");
        let again = inotify.add(&folder.join("link")).expect("it leads there");
        assert_eq!(number, again);
        std::fs::write(inner.join(".new"), "x").expect("the folder is ours");
        std::fs::rename(inner.join(".new"), inner.join("a")).expect("the folder is ours");
        std::fs::remove_dir_all(&inner).expect("the folder is ours");
        let mut seen = Vec::new();
        let mut note = |watch, what, name: &[u8]| {
            assert_eq!(watch, number);
            seen.push((what, String::from_utf8_lossy(name).into_owned()));
        };
        while inotify.read(&mut note).expect("it can be read") {}
        let expected = [
            (Inotified::Created, ".new"),
            (Inotified::Written, ".new"),
            (Inotified::Changed, ".new"),
            (Inotified::Changed, ".new"),
            (Inotified::Changed, "a"),
            (Inotified::Changed, "a"),
            (Inotified::DirectoryLeft, ""),
            (Inotified::WatchEnded, ""),
        ];
        let expected = expected.map(|(what, name)| (what, name.to_owned()));
        assert_eq!(seen, expected);
        assert!(inotify.add(&inner).is_err());
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
