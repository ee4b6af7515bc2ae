//! Floor 0, sys: standard output, standard error and files, written to without waiting.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::SendFlags;

/// Returns the size of the terminal at standard output, in columns and rows; `None` if standard output is no
/// terminal, or one that does not tell.
#[cfg(feature = "cli")]
pub fn window() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// Writes to standard output, standard error or a file without waiting for the reader. A terminal that
/// was stopped with Ctrl-S, or a pager at the end of a pipe, must not stop the loop.
#[derive(Debug)]
pub struct Output {
    kind: OutputKind,
}

#[derive(Debug)]
enum OutputKind {
    /// A regular file. Writing to a regular file never blocks for long.
    File(BorrowedFd<'static>),
    /// A file that we have opened, with `O_NONBLOCK`. A pipe or a terminal is opened a second time for
    /// that: the flag belongs to the open file description, and the parent process shares the description
    /// that we inherited. Setting the flag there would change the parent's output too.
    Opened(File),
    /// A socket. The flag `MSG_DONTWAIT` makes each single call non-blocking.
    Socket(BorrowedFd<'static>),
    /// An output that could not be opened again. Each write is preceded by poll(2) and is limited
    /// to `PIPE_BUF` bytes.
    Polled(BorrowedFd<'static>),
}

impl Output {
    const FLAGS: OFlags = OFlags::WRONLY
        .union(OFlags::NONBLOCK)
        .union(OFlags::NOCTTY)
        .union(OFlags::CLOEXEC);

    /// Returns an `Output` that suits the kind of file that standard output is.
    pub fn stdout() -> Output {
        Output::of(rustix::stdio::stdout(), "/proc/self/fd/1")
    }

    /// Returns an `Output` that suits the kind of file that standard error is.
    pub fn stderr() -> Output {
        Output::of(rustix::stdio::stderr(), "/proc/self/fd/2")
    }

    /// Makes a file, or empties the file that is there. A named pipe must have a reader.
    ///
    /// # Errors
    /// The errors of open(2), `ENXIO` for a named pipe without a reader.
    pub(crate) fn create(path: &Path) -> io::Result<Output> {
        Output::open(path, OFlags::CREATE | OFlags::TRUNC)
    }

    /// Makes a file, or goes on at the end of the file that is there. A named pipe must have a reader.
    ///
    /// # Errors
    /// The errors of open(2), `ENXIO` for a named pipe without a reader.
    pub(crate) fn append(path: &Path) -> io::Result<Output> {
        Output::open(path, OFlags::CREATE | OFlags::APPEND)
    }

    fn open(path: &Path, flags: OFlags) -> io::Result<Output> {
        let flags = Output::FLAGS | flags;
        let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o666))?;
        Ok(Output {
            kind: OutputKind::Opened(File::from(file)),
        })
    }

    /// `path` names the same file as `fd`, in proc(5).
    fn of(fd: BorrowedFd<'static>, path: &str) -> Output {
        let kind = match rustix::fs::fstat(fd).map(|s| FileType::from_raw_mode(s.st_mode)) {
            Ok(FileType::RegularFile) => OutputKind::File(fd),
            Ok(FileType::Socket) => OutputKind::Socket(fd),
            _ => match rustix::fs::open(path, Output::FLAGS, Mode::empty()) {
                Ok(file) => OutputKind::Opened(File::from(file)),
                Err(_) => OutputKind::Polled(fd),
            },
        };
        Output { kind }
    }

    /// Writes as many of `bytes` as the output takes now, and returns their number.
    ///
    /// # Errors
    /// `WouldBlock` if the output takes no byte now, and the other errors of write(2), send(2) and
    /// poll(2).
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        /// The value of POSIX's `PIPE_BUF` on Linux, in bytes. A pipe that poll(2) reports as
        /// writable takes at least this many bytes without blocking.
        const PIPE_BUF: usize = 4096;
        match &self.kind {
            OutputKind::File(fd) => Ok(rustix::io::write(fd, bytes)?),
            OutputKind::Opened(file) => Ok(rustix::io::write(file, bytes)?),
            OutputKind::Socket(fd) => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                Ok(rustix::net::send(fd, bytes, flags)?)
            }
            OutputKind::Polled(fd) => {
                let mut polled = [PollFd::new(fd, PollFlags::OUT)];
                let at_once = Timespec::default();
                match rustix::event::poll(&mut polled, Some(&at_once))? {
                    0 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(rustix::io::write(fd, &bytes[..bytes.len().min(PIPE_BUF)])?),
                }
            }
        }
    }
}
