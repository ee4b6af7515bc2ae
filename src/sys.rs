//! Floor 0: the system calls that `std` and `mio` do not offer, by way of `rustix`, which makes
//! them safe. Nothing else in the crate names `rustix`, and nothing here knows what it is for.
//!
//! One thing is *absent* on purpose: nothing here or anywhere ignores `SIGPIPE`, because Rust's
//! runtime does so before `main`. `writev` and `sendfile` have no `MSG_NOSIGNAL`; without that
//! disposition a peer's reset would end the process.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::process::Resource;

// ── Sockets ────────────────────────────────────────────────────────────────────────────────────

/// A non-blocking listener. `TCP_NODELAY` is set on it because accepted sockets inherit it on
/// Linux: one system call less for each connection. An IPv6 listener takes IPv6 alone, so that
/// the same port can be bound for IPv4 beside it.
///
/// # Errors
/// Whatever socket(2), bind(2) or listen(2) say.
pub fn listen(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, backlog)?;
    Ok(TcpListener::from(socket))
}

/// sendfile(2) from the offset `at`; the file's own offset is neither used nor changed.
pub(crate) fn send_file(
    socket: &impl AsFd,
    file: &File,
    at: u64,
    count: usize,
) -> io::Result<usize> {
    let mut at = at;
    Ok(rustix::fs::sendfile(socket, file, Some(&mut at), count)?)
}

/// Whether a call failed for want of a descriptor or of memory: it will fail again until something
/// is closed. (After accept(2) the connection stays in the backlog.)
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

/// Raises the soft limit of open descriptors to the hard one, and says what it is then. Shells
/// start programs with 1,024 by default, which is one small load test.
pub fn raise_descriptor_limit() -> Option<u64> {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    match rustix::process::setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.maximum,
        Err(_) => soft,
    }
}

// ── Files ──────────────────────────────────────────────────────────────────────────────────────

/// What tells one state of a file from another, from stat(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// What it is.
    pub kind: FileKind,
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// `st_size`, in bytes.
    pub size: u64,
    /// `st_mtim`.
    pub modified: SystemTime,
    /// `st_ctim`: changes with every change of content, name or mode, and cannot be set back.
    pub changed: SystemTime,
}

/// The kinds of file that make a difference here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A FIFO, a device, a socket.
    Other,
}

impl From<rustix::fs::Stat> for Stat {
    fn from(stat: rustix::fs::Stat) -> Stat {
        Stat {
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => FileKind::File,
                FileType::Directory => FileKind::Directory,
                _ => FileKind::Other,
            },
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// A time of a file. One that the clock cannot hold counts as the epoch.
fn time(seconds: i64, nanoseconds: u64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = match seconds >= 0 {
        true => UNIX_EPOCH.checked_add(whole),
        false => UNIX_EPOCH.checked_sub(whole),
    };
    base.and_then(|t| t.checked_add(Duration::from_nanos(nanoseconds)))
        .unwrap_or(UNIX_EPOCH)
}

/// stat(2) of a path.
pub(crate) fn stat(path: &Path) -> io::Result<Stat> {
    Ok(rustix::fs::statat(CWD, path, AtFlags::empty())?.into())
}

/// fstat(2).
pub(crate) fn fstat(file: &impl AsFd) -> io::Result<Stat> {
    Ok(rustix::fs::fstat(file)?.into())
}

/// Opens a directory to resolve paths beneath. It is not opened for reading: that permission is
/// not needed.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens `path`, which must be relative, for reading. The kernel refuses (`EXDEV`) whatever
/// leads out of `root`, by `..` or by a symbolic link, however the tree is changed meanwhile.
/// Nothing that is not a file can block the caller (`O_NONBLOCK`: a FIFO without a writer).
pub(crate) fn open_beneath(root: &OwnedFd, path: &[u8]) -> io::Result<File> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    // EAGAIN here means that a rename raced with the resolution of a `..`: try again. The bound
    // is for a tree that never stops changing.
    for _ in 0..16 {
        match rustix::fs::openat2(root, path, READ, Mode::empty(), beneath) {
            Ok(file) => return Ok(File::from(file)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Linux before 5.6, or a sandbox that knows no openat2.
            Err(Errno::NOSYS | Errno::PERM) => return open_by_walking(root, path),
            Err(e) => return Err(e.into()),
        }
    }
    Err(Errno::BUSY.into())
}

/// Opens a path for reading, wherever it leads.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    Ok(File::from(rustix::fs::open(path, READ, Mode::empty())?))
}

const READ: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// The same without openat2: one component after the other, following no symbolic link at all.
fn open_by_walking(root: &OwnedFd, path: &[u8]) -> io::Result<File> {
    let mut components = path.split(|b| *b == b'/').filter(|c| !c.is_empty());
    let mut name = components.next().unwrap_or(b".");
    let mut directory: Option<OwnedFd> = None;
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for next in components {
        if name == b".." {
            return Err(Errno::XDEV.into());
        }
        let at = directory.as_ref().unwrap_or(root);
        let below = rustix::fs::openat(at, name, step, Mode::empty())?;
        (directory, name) = (Some(below), next);
    }
    if name == b".." {
        return Err(Errno::XDEV.into());
    }
    let at = directory.as_ref().unwrap_or(root);
    let file = rustix::fs::openat(at, name, READ | OFlags::NOFOLLOW, Mode::empty())?;
    Ok(File::from(file))
}

/// Whether [`open_beneath`] was refused by the kernel because the path leads out of the root, or
/// may: an absolute link counts, wherever it points. So does any link for the walk.
pub(crate) fn leads_out(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::XDEV | Errno::LOOP))
}

/// Whether a failed open or stat means that there is no such file beneath the root: none of that
/// name, one that only a way out of the root leads to, or one that cannot be opened for reading
/// by its kind (a socket).
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::NOENT
                | Errno::NOTDIR
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::XDEV
                | Errno::NXIO
                | Errno::NODEV
        )
    )
}

// ── Standard output ────────────────────────────────────────────────────────────────────────────

/// A way to write to standard output that never waits for whoever reads it: a terminal stopped
/// with Ctrl-S, or a pager at the end of a pipe, must not stop the loop.
#[derive(Debug)]
pub struct Output {
    kind: OutputKind,
}

#[derive(Debug)]
enum OutputKind {
    /// A regular file: never blocks for long.
    File,
    /// A pipe or a terminal, opened a second time. `O_NONBLOCK` belongs to the open file
    /// description, which our parent shares: setting it on the one we got would change theirs.
    Reopened(File),
    /// A socket: `MSG_DONTWAIT` does it call by call.
    Socket,
    /// What could not be opened again: asked before each write, and given little at a time.
    Polled,
}

impl Output {
    /// Finds out what standard output is.
    pub fn stdout() -> Output {
        let kind = match rustix::fs::fstat(stdout()).map(|s| FileType::from_raw_mode(s.st_mode)) {
            Ok(FileType::RegularFile) => OutputKind::File,
            Ok(FileType::Socket) => OutputKind::Socket,
            _ => {
                let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                match rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()) {
                    Ok(file) => OutputKind::Reopened(File::from(file)),
                    Err(_) => OutputKind::Polled,
                }
            }
        };
        Output { kind }
    }

    /// Writes what fits now. `WouldBlock` when nothing does.
    ///
    /// # Errors
    /// Those of write(2), `EAGAIN` among them.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        /// POSIX's least `PIPE_BUF` on Linux: a pipe that polls writable takes this much.
        const PIPE_BUF: usize = 4096;
        match &self.kind {
            OutputKind::File => Ok(rustix::io::write(stdout(), bytes)?),
            OutputKind::Reopened(file) => Ok(rustix::io::write(file, bytes)?),
            OutputKind::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                Ok(rustix::net::send(stdout(), bytes, flags)?)
            }
            OutputKind::Polled => {
                let out = stdout();
                let mut polled = [PollFd::new(&out, PollFlags::OUT)];
                let at_once = Timespec::default();
                match rustix::event::poll(&mut polled, Some(&at_once))? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(rustix::io::write(out, &bytes[..bytes.len().min(PIPE_BUF)])?),
                }
            }
        }
    }
}

fn stdout() -> BorrowedFd<'static> {
    rustix::stdio::stdout()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The walk stands in for openat2 where that is missing, so it is tried here by name.
    #[test]
    fn the_walk_opens_what_is_beneath_and_nothing_else() {
        let root = open_directory(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("our own folder");
        assert!(open_by_walking(&root, b"src/sys.rs").is_ok());
        assert!(open_by_walking(&root, b"src//sys.rs").is_ok());
        for outside in [&b"../x"[..], b"src/../../x", b".."] {
            let error = open_by_walking(&root, outside).expect_err("leads out");
            assert_eq!(Errno::from_io_error(&error), Some(Errno::XDEV));
        }
    }

    #[test]
    fn times_before_the_epoch_and_beyond_the_clock_are_times_all_the_same() {
        assert_eq!(time(1, 5), UNIX_EPOCH + Duration::new(1, 5));
        assert_eq!(time(-1, 0), UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(time(i64::MAX, 1_000_000_000), UNIX_EPOCH);
    }
}
