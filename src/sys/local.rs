//! Floor 0, sys: listening at a path of the file system, by a socket of the Unix domain (unix(7)).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::umask;

/// The file of a socket that this process has made. The file is removed with this value, unless another
/// program has put a file of its own there. While a program listens, no other program can; the value is
/// therefore to be dropped before the listener.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// The device and the inode.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Listens at a path, with these permissions. A socket that a crashed program has left there is replaced:
/// nobody accepts its connections.
///
/// # Errors
/// `AddrInUse`: a program listens there, or there is a file of another kind. Otherwise the errors of bind(2)
/// and chmod(2).
pub(crate) fn listen_at(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    let listener = match bind(path) {
        Err(e) if e.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
            fs::remove_file(path)?;
            bind(path)?
        }
        bound => bound?,
    };
    let file = SocketFile {
        identity: identity(path)?,
        path: path.into(),
    };
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok((listener, file))
}

/// Makes the socket for its owner alone: the permissions that were asked for come afterwards.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let before = umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    umask(before);
    bound
}

/// Whether there is a socket at which no program listens.
fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = |e: io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).is_err_and(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path in a directory of its own, which is removed at the end.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Place {
            let directory =
                std::env::temp_dir().join(format!("oneloop-{}-{name}", std::process::id()));
            fs::create_dir_all(&directory).expect("it is writable");
            Place(directory)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("s")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_socket_that_was_left_is_replaced_and_one_in_use_is_not() {
        let place = Place::new("left");
        let path = place.socket();
        let (listener, file) = listen_at(&path, 0o660).expect("a new path");
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o660);
        let in_use = listen_at(&path, 0o600).expect_err("it is in use");
        assert_eq!(in_use.kind(), io::ErrorKind::AddrInUse);
        // As after a crash: the file is still there.
        std::mem::forget(file);
        drop(listener);
        let (_other, replaced) = listen_at(&path, 0o600).expect("nobody listens");
        drop(replaced);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_another_program_has_put_there_stays() {
        let place = Place::new("other");
        let (_listener, file) = listen_at(&place.socket(), 0o600).expect("a new path");
        // The socket is only moved: the number of its inode is still taken.
        fs::rename(place.socket(), place.0.join("moved")).expect("it is there");
        fs::write(place.socket(), "text").expect("it is writable");
        drop(file);
        assert_eq!(fs::read(place.socket()).expect("it is there"), b"text");
    }

    #[test]
    fn a_file_of_another_kind_is_left_alone() {
        let place = Place::new("file");
        fs::write(place.socket(), "text").expect("it is writable");
        let error = listen_at(&place.socket(), 0o600).expect_err("a file is there");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(place.socket()).expect("it is there"), b"text");
    }
}
