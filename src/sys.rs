//! Floor 0, sys: the system calls that `std` and `mio` do not offer. The calls go through `rustix`
//! and `memmap2`, whose functions are safe Rust.
//!
//! Architecture invariant: only this module names `rustix` and `memmap2`.
//!
//! Architecture invariant: this module names no other module of the crate. The purpose of a call
//! must not be known here.
//!
//! No code of this crate ignores `SIGPIPE`, and the omission is deliberate: Rust's runtime ignores
//! the signal before `main` begins. The server depends on that, because `writev` and `sendfile`
//! have no flag like `MSG_NOSIGNAL`: with the default disposition of `SIGPIPE`, a reset by a peer
//! would end the process.

mod diag;
mod local;
mod memory;
#[cfg(feature = "cli")]
mod network;
mod output;
mod watch;

pub use diag::{AcceptQueue, Kernel, SocketDiag};
pub(crate) use local::{SocketFile, listen_at};
pub(crate) use memory::{FROM_SYSTEM_BYTES, SharedBytes, Storage, free};
#[cfg(feature = "cli")]
pub use network::{Interface, Link, Machine, default_sources, host_names, interfaces, machine};
pub use output::Output;
#[cfg(feature = "cli")]
pub use output::window;
pub(crate) use watch::{
    Inotified, Inotify, has_terminal, is_ignored, is_in_foreground, is_out_of_watches, is_silent,
    may_be_in_the_making, terminal_input,
};

use std::alloc::{self, Layout};
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memmap2::MmapMut;
use rustix::event::Timespec;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
pub(crate) use rustix::path::Arg as PathArg;
use rustix::process::Resource;

/// Blocks the thread for this time, or until a signal comes.
pub fn block(time: Duration) {
    if let Ok(time) = Timespec::try_from(time) {
        let _ = rustix::event::poll(&mut [], Some(&time));
    }
}

/// Whether the process may do everything.
pub(crate) fn is_superuser() -> bool {
    rustix::process::geteuid().is_root()
}

// ── Sockets ────────────────────────────────────────────────────────────────────────────────────

/// Opens a non-blocking listener at `address`, with a queue of at most `backlog` connections.
///
/// `TCP_NODELAY` is set on the listener because accepted sockets inherit the option on Linux,
/// which saves one system call for each connection. An IPv6 listener accepts only IPv6
/// (`IPV6_V6ONLY`), so that a second listener can bind the same port for IPv4.
///
/// # Errors
/// The errors of socket(2), setsockopt(2), bind(2) and listen(2).
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

/// Takes the listeners that systemd or a program like it has passed to this process (sd_listen_fds(3)):
/// `LISTEN_FDS` descriptors, from 3 on, if `LISTEN_PID` names this process. No program that this process
/// starts gets them or believes that they are its own. None, if nothing was passed.
///
/// To be called before other descriptors are opened, and once.
///
/// # Errors
/// A sentence, if one of the descriptors is not a TCP socket that listens, or is named `tls` although the
/// server does not speak TLS.
#[cfg(feature = "cli")]
pub fn inherited_listeners(speaks_tls: bool) -> io::Result<Vec<TcpListener>> {
    /// The driver counts listeners with a byte.
    const MOST: usize = 250;
    const FIRST: usize = 3;
    let variable = |name| std::env::var(name).unwrap_or_default();
    let (count, names) = (variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"));
    let Ok(count) = count.parse::<usize>() else {
        return Ok(Vec::new());
    };
    if count > MOST {
        let error =
            format!("LISTEN_FDS={count} in the environment: at most {MOST} sockets can be taken");
        return Err(io::Error::other(error));
    }
    let mut passed = listenfd::ListenFd::from_env();
    let count = passed.len();
    let take = |number: usize| {
        let name = names.split(':').nth(number).unwrap_or_default();
        let failed = |reason: &str| {
            let fd = FIRST + number;
            io::Error::other(format!("descriptor {fd} of LISTEN_FDS {reason}"))
        };
        if name == "tls" && !speaks_tls {
            return Err(failed("is named tls; start with --tls, or name it http"));
        }
        let not_tcp = "is not a TCP socket; let ListenStream= name an address and a port";
        let listener = passed.take_tcp_listener(number).ok().flatten();
        let listener = listener.ok_or_else(|| failed(not_tcp))?;
        if !sockopt::socket_acceptconn(&listener)? {
            return Err(failed("does not listen; with systemd, say Accept=no"));
        }
        listener.set_nonblocking(true)?;
        sockopt::set_tcp_nodelay(&listener, true)?;
        Ok(listener)
    };
    (0..count).map(take).collect()
}

/// Sends up to `count` bytes of `file`, from the offset `at`, by sendfile(2). Returns the number of
/// bytes that were sent. The offset of the file itself is neither used nor changed.
pub(crate) fn send_file(
    socket: &impl AsFd,
    file: &File,
    at: u64,
    count: usize,
) -> io::Result<usize> {
    let mut at = at;
    Ok(rustix::fs::sendfile(socket, file, Some(&mut at), count)?)
}

/// Lets close(2) send a reset and drop the bytes that the peer has not received: `SO_LINGER` with a
/// time of zero.
pub(crate) fn reset_at_close(socket: &impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

/// Whether a call failed because the kernel, the file system or a sandbox does not offer the call
/// for these files: another way to the same end may work.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM)
    )
}

/// The signal that a write beyond the limit on the size of files (`ulimit -f`) causes. By default
/// the signal ends the process; with a handler, the write fails with `EFBIG`.
pub(crate) const SIGXFSZ: i32 = rustix::process::Signal::XFSZ.as_raw();

/// Whether a call failed because the process or the system has no descriptor or no memory left. The
/// same call will fail again until a descriptor is closed or memory is freed. (If accept(2) failed,
/// the connection stays in the backlog.)
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}

/// Raises the soft limit of open descriptors to the hard limit. Returns the soft limit that is in
/// force afterwards; `None` means unlimited. The reason: shells start programs with a soft limit of
/// 1,024 by default, which a small load test already uses up.
pub fn raise_descriptor_limit() -> Option<u64> {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    let soft = limit.current;
    limit.current = limit.maximum;
    match rustix::process::setrlimit(Resource::Nofile, limit) {
        Ok(()) => limit.maximum,
        Err(_) => soft,
    }
}

/// Returns the memory in bytes that the process may use: the least of `RLIMIT_AS`, `RLIMIT_DATA` and
/// the limits of its cgroup and of the cgroups above (cgroups(7), version 2 or 1). `None` means
/// unlimited or unknown.
pub fn memory_limit() -> Option<u64> {
    let limits = [Resource::As, Resource::Data].map(|r| rustix::process::getrlimit(r).current);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let of_groups = cgroup_files(&groups)
        .filter_map(|path| fs::read_to_string(path).ok()?.trim_end().parse().ok());
    limits.into_iter().flatten().chain(of_groups).min()
}

/// How many connections the kernel has refused since the machine was started, because the backlog of a
/// listener was full (`ListenOverflows`, as `nstat` shows it). `None`: the kernel does not say.
pub(crate) fn backlog_overflows() -> Option<u64> {
    counter(
        &fs::read_to_string("/proc/net/netstat").ok()?,
        "ListenOverflows",
    )
}

/// A counter in the text of `/proc/net/netstat`: a line of names stands above each line of numbers.
fn counter(text: &str, name: &str) -> Option<u64> {
    let lines: Vec<&str> = text.lines().collect();
    lines.chunks_exact(2).find_map(|two| {
        let at = two[0].split_whitespace().position(|word| word == name)?;
        two[1].split_whitespace().nth(at)?.parse().ok()
    })
}

/// The files with a memory limit, for the content of `/proc/self/cgroup`. A file for which there is
/// no limit holds `max`, which is no number, or in version 1 a number near 2⁶³.
fn cgroup_files(groups: &str) -> impl Iterator<Item = String> {
    groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        let place = match controllers {
            "" => Some(("/sys/fs/cgroup", "memory.max")),
            list if list.split(',').any(|c| c == "memory") => {
                Some(("/sys/fs/cgroup/memory", "memory.limit_in_bytes"))
            }
            _ => None,
        };
        // In a container, the path may be that of the host. The root of the mount is then the
        // cgroup of the process, so the root is always asked too.
        let above = path.trim_matches('/').match_indices('/').map(|(at, _)| at);
        let whole = path.trim_matches('/').len();
        let ends: Vec<_> = std::iter::once(0).chain(above).chain([whole]).collect();
        place.into_iter().flat_map(move |(mount, file)| {
            let path = path.trim_matches('/');
            let ends = ends.clone().into_iter();
            ends.map(move |end| format!("{mount}/{}/{file}", &path[..end]))
        })
    })
}

/// Memory in whole pages, from mmap(2). When dropped, the pages go back to the system at once. An
/// allocator gives back what lies at the top of its heap only, and one small allocation above
/// megabytes of free memory keeps all of it resident.
#[derive(Debug)]
pub(crate) struct Pages(MmapMut);

impl Pages {
    /// The size of most pages. Memory that is not a multiple of it wastes the rest of a page.
    pub const PAGE_BYTES: usize = 4 << 10;

    /// Returns `bytes` bytes, all 0. `bytes` must not be 0. A page is in memory only when it has been
    /// written to.
    ///
    /// If the system has no memory, the process ends, as it does when an allocation fails.
    pub fn new(bytes: usize) -> Pages {
        let layout = Layout::array::<u8>(bytes).expect("as much as any memory");
        match MmapMut::map_anon(bytes) {
            Ok(pages) => Pages(pages),
            Err(_) => alloc::handle_alloc_error(layout),
        }
    }
}

impl Deref for Pages {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Pages {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

// ── Files ──────────────────────────────────────────────────────────────────────────────────────

/// The fields of stat(2) by which two states of a file can be told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// The kind of the file, from `st_mode`.
    pub kind: FileKind,
    /// The device of the file: `st_dev`.
    pub device: u64,
    /// The inode number: `st_ino`.
    pub inode: u64,
    /// The size in bytes: `st_size`. A negative size counts as 0.
    pub size: u64,
    /// The time of the last change of the content: `st_mtim`.
    pub modified: SystemTime,
    /// The time of the last change of content, name or mode: `st_ctim`. No program can set this
    /// time back.
    pub changed: SystemTime,
}

/// The kinds of file that the crate treats differently.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A FIFO, a device, a socket or a symbolic link.
    Other,
}

impl From<&rustix::fs::Stat> for Stat {
    #[inline]
    fn from(stat: &rustix::fs::Stat) -> Stat {
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

/// Converts a file time to a `SystemTime`. A time outside the range of `SystemTime` becomes the
/// epoch.
fn time(seconds: i64, nanoseconds: u64) -> SystemTime {
    let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
    let time = match u64::try_from(seconds) {
        Ok(seconds) => UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds)),
        Err(_) => UNIX_EPOCH
            .checked_sub(Duration::from_secs(seconds.unsigned_abs()))
            .and_then(|time| time.checked_add(Duration::new(0, nanoseconds))),
    };
    time.unwrap_or(UNIX_EPOCH)
}

/// Returns the state of the file at `path`, by stat(2). Symbolic links are followed.
pub(crate) fn stat(path: impl PathArg) -> io::Result<Stat> {
    looked(&rustix::fs::statat(CWD, path, AtFlags::empty()))
}

/// Returns the state of the file at `path`, by lstat(2): a symbolic link in the last component is
/// not followed, and its kind is [`FileKind::Other`].
pub(crate) fn lstat(path: impl PathArg) -> io::Result<Stat> {
    looked(&rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW))
}

/// Checks by faccessat(2) that the process may look for names in the directory at `path`, or read
/// the file at `path`.
pub(crate) fn check_readable(path: &Path) -> io::Result<()> {
    let access = match stat(path)?.kind {
        FileKind::Directory => Access::EXEC_OK,
        FileKind::File | FileKind::Other => Access::READ_OK,
    };
    match rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS) {
        // Linux before 5.8 has no flags for the call. The first request will tell.
        Err(Errno::NOSYS | Errno::INVAL) => Ok(()),
        checked => Ok(checked?),
    }
}

/// Makes the state of a file from the kernel's. By reference, because the kernel's has 144 bytes, and each move
/// is a copy.
#[inline]
fn looked(found: &rustix::io::Result<rustix::fs::Stat>) -> io::Result<Stat> {
    match found {
        Ok(stat) => Ok(stat.into()),
        Err(errno) => Err((*errno).into()),
    }
}

/// Returns the state of an open file, by fstat(2).
pub(crate) fn fstat(file: &impl AsFd) -> io::Result<Stat> {
    looked(&rustix::fs::fstat(file))
}

/// Opens a directory as the starting point for [`open_beneath`]. The flag is `O_PATH`, which needs
/// no permission to read the directory.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Passes the next names in an open directory to `each`, without `.` and `..`: those that one call of
/// getdents64(2) returns in 32 KiB. Returns `false` if there was no name left. The position in the
/// directory is that of the open file.
pub(crate) fn read_names(directory: &File, each: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); 32 << 10];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut any = false;
    while let Some(entry) = entries.next() {
        any = true;
        match entry?.file_name().to_bytes() {
            b"." | b".." => {}
            name => each(name),
        }
        if entries.is_buffer_empty() {
            break;
        }
    }
    Ok(any)
}

/// What an open file is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Handle {
    /// For reading. The flag `O_NONBLOCK` is set, so the open does not block on a FIFO without a
    /// writer or on another file that is not a regular file.
    Readable,
    /// For [`fstat`] alone (`O_PATH`). The file itself is not touched: a process that waits for a
    /// reader of a FIFO goes on waiting, and a device notices nothing.
    PathOnly,
}

impl Handle {
    fn flags(self) -> OFlags {
        match self {
            Handle::Readable => OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
            Handle::PathOnly => OFlags::PATH | OFlags::CLOEXEC,
        }
    }
}

/// Opens the relative path `path`, beneath the directory `root`, by openat2(2).
///
/// The kernel refuses (`EXDEV`) a path that leads out of `root`, by `..` or by a symbolic link,
/// even if another program changes the tree at the same time.
pub(crate) fn open_beneath(root: &OwnedFd, path: &[u8], handle: Handle) -> io::Result<File> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    // EAGAIN from openat2 means that a rename raced with the resolution of a `..`, so the call is
    // tried again. The bound of 16 is for a tree that never stops changing.
    for _ in 0..16 {
        match rustix::fs::openat2(root, path, handle.flags(), Mode::empty(), beneath) {
            Ok(file) => return Ok(File::from(file)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Linux before 5.6 has no openat2, and some sandboxes forbid the call.
            Err(Errno::NOSYS | Errno::PERM) => return open_by_walking(root, path, handle),
            Err(e) => return Err(e.into()),
        }
    }
    Err(Errno::BUSY.into())
}

/// Opens `path`. Symbolic links are followed, also out of the root.
pub(crate) fn open(path: &Path, handle: Handle) -> io::Result<File> {
    let opened = rustix::fs::open(path, handle.flags(), Mode::empty())?;
    Ok(File::from(opened))
}

/// Opens a path beneath `root` like [`open_beneath`], but without openat2: one component after the
/// other, of which no call follows a symbolic link. A link is read, and its target takes its place
/// in the path.
///
/// The walk cannot leave `root`, even if another program changes the tree at the same time: `..`
/// goes back to the directory from which the walk came, and is refused in `root`, and so is a link
/// whose target is an absolute path.
fn open_by_walking(root: &OwnedFd, path: &[u8], handle: Handle) -> io::Result<File> {
    /// The bound of the kernel (path_resolution(7)).
    const LINKS_MAX: u32 = 40;
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // The directories from the root down, and the rest of the path, the next component last.
    let mut parents: Vec<OwnedFd> = Vec::new();
    let mut rest = components(path);
    let mut links = 0;
    loop {
        let at = parents.last().unwrap_or(root);
        let name = match rest.pop() {
            Some(name) if name == b".." => {
                parents.pop().ok_or(Errno::XDEV)?;
                continue;
            }
            Some(name) => name,
            None => b".".to_vec(),
        };
        let flags = match rest.is_empty() {
            true => handle.flags() | OFlags::NOFOLLOW,
            false => step,
        };
        let opened = match rustix::fs::openat(at, &*name, flags, Mode::empty()) {
            // These flags open the link itself.
            Ok(file) if handle == Handle::PathOnly && is_link(&file) => Err(Errno::LOOP),
            opened => opened,
        };
        match opened {
            Ok(file) if rest.is_empty() => return Ok(File::from(file)),
            Ok(directory) => parents.push(directory),
            // A symbolic link fails with ELOOP, or as no directory with ENOTDIR.
            Err(error @ (Errno::LOOP | Errno::NOTDIR)) => {
                let Ok(target) = rustix::fs::readlinkat(at, &*name, Vec::new()) else {
                    return Err(error.into());
                };
                let target = target.as_bytes();
                links += 1;
                if target.starts_with(b"/") {
                    return Err(Errno::XDEV.into());
                }
                if links > LINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                rest.extend(components(target));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_link(file: &OwnedFd) -> bool {
    let stat = rustix::fs::fstat(file);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// The components of a relative path that name something, the last first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|b| *b == b'/').rev();
    let named = names.filter(|name| !name.is_empty() && *name != b".");
    named.map(<[u8]>::to_vec).collect()
}

/// Whether [`open_beneath`] failed because the path leads, or may lead, out of the root. An
/// absolute symbolic link counts as leading out even if the target is beneath the root. Too many
/// links count as leading out too.
pub(crate) fn leads_out(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::XDEV | Errno::LOOP))
}

/// Whether a failed open or stat means that no such file exists beneath the root. Four cases
/// count: the name does not exist, the file system cannot have such a name, the path leads out of
/// the root, or a file of this kind cannot be opened for reading (a socket).
///
/// A file system whose names are text refuses other bytes: with `EILSEQ` if the name is not valid
/// UTF-8, and with `EINVAL` if a character may not occur (vfat, ntfs).
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::NOENT
                | Errno::NOTDIR
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::ILSEQ
                | Errno::INVAL
                | Errno::XDEV
                | Errno::NXIO
                | Errno::NODEV
        )
    )
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    /// The walk is used only where openat2 is missing, so this test calls both, and compares.
    #[test]
    fn a_counter_is_below_its_name() {
        let text = "TcpExt: A ListenOverflows\nTcpExt: 1 23\nIpExt: B C\nIpExt: 4\n";
        assert_eq!(counter(text, "ListenOverflows"), Some(23));
        assert_eq!(counter(text, "B"), Some(4));
        assert_eq!(counter(text, "C"), None);
        assert_eq!(counter("TcpExt: A", "A"), None);
    }

    #[test]
    fn the_walk_opens_what_openat2_opens_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("oneloop-walk-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        let root = folder.join("root");
        fs::create_dir_all(root.join("a/b")).expect("the folder is ours");
        fs::write(folder.join("outside"), "outside").expect("the folder is ours");
        fs::write(root.join("file"), "file").expect("the folder is ours");
        fs::write(root.join("a/b/deep"), "deep").expect("the folder is ours");
        for (target, link) in [
            ("a/b", "to-folder"),
            ("file", "to-file"),
            ("to-folder/deep", "to-link"),
            ("../../file", "a/b/up"),
            ("../b/../../to-file", "a/b/around"),
            ("../outside", "out"),
            ("..", "parent"),
            ("loop", "loop"),
            ("nowhere", "dangling"),
            ("a/", "slash"),
        ] {
            symlink(target, root.join(link)).expect("the folder is ours");
        }
        symlink(root.join("file"), root.join("absolute")).expect("the folder is ours");
        let opened = open_directory(&root).expect("our own folder");
        let content = |file: io::Result<File>| {
            let mut content = String::new();
            let mut file = file.map_err(|e| Errno::from_io_error(&e))?;
            match file.metadata().expect("it is open").is_dir() {
                true => Ok("a folder".to_owned()),
                false => file
                    .read_to_string(&mut content)
                    .map(|_| content)
                    .map_err(|e| Errno::from_io_error(&e)),
            }
        };
        let found = |file: io::Result<File>| match file {
            Ok(file) => fstat(&file).map_err(|e| Errno::from_io_error(&e)),
            Err(error) => Err(Errno::from_io_error(&error)),
        };
        for path in [
            "file",
            "a/b/deep",
            "a//b/./deep",
            "to-folder/deep",
            "to-file",
            "to-link",
            "a/b/up",
            "a/b/around",
            "slash/b/deep",
            "a/../file",
            "a",
            "to-folder",
            ".",
            "",
            "out",
            "parent",
            "parent/outside",
            "to-folder/../../outside",
            "..",
            "../root/file",
            "a/../../outside",
            "loop",
            "loop/x",
            "dangling",
            "absolute",
            "file/x",
            "to-file/x",
            "nothing",
            "nothing/x",
        ] {
            // An empty path is an error of openat2. No caller asks for one.
            let beneath = if path.is_empty() { "." } else { path }.as_bytes();
            let walked = open_by_walking(&opened, path.as_bytes(), Handle::Readable);
            let expected = open_beneath(&opened, beneath, Handle::Readable);
            assert_eq!(content(walked), content(expected), "{path}");
            let walked = open_by_walking(&opened, path.as_bytes(), Handle::PathOnly);
            let expected = open_beneath(&opened, beneath, Handle::PathOnly);
            assert_eq!(found(walked), found(expected), "{path}");
        }
        fs::remove_dir_all(&folder).expect("the folder is ours");
    }

    #[test]
    fn a_name_that_a_file_system_cannot_have_is_absent() {
        for errno in [Errno::NOENT, Errno::NAMETOOLONG, Errno::ILSEQ, Errno::INVAL] {
            assert!(is_absent(&errno.into()), "{errno}");
        }
        for errno in [Errno::IO, Errno::ACCESS, Errno::MFILE, Errno::STALE] {
            assert!(!is_absent(&errno.into()), "{errno}");
        }
    }

    #[test]
    fn the_limit_of_memory_is_looked_for_in_each_cgroup_above() {
        let files = |groups: &str| cgroup_files(groups).collect::<Vec<_>>();
        let two = files("0::/user.slice/a.scope\n");
        for path in ["", "user.slice", "user.slice/a.scope"] {
            let file = format!("/sys/fs/cgroup/{path}/memory.max");
            assert!(two.contains(&file), "{file} is not in {two:?}");
        }
        let one = files("7:cpu,memory:/docker/x\n3:pids:/docker/x\n");
        let file = "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes";
        assert!(one.iter().any(|f| f == file), "{one:?}");
        assert!(one.iter().all(|f| f.starts_with("/sys/fs/cgroup/memory/")));
    }

    #[test]
    fn times_before_the_epoch_and_beyond_the_clock_are_times_all_the_same() {
        assert_eq!(time(1, 5), UNIX_EPOCH + Duration::new(1, 5));
        assert_eq!(time(-1, 0), UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(time(i64::MAX, 1_000_000_000), UNIX_EPOCH);
    }
}
