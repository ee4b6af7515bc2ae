//! Floor 1, certificates: the files of our CA. A file is either whole or absent, and no other user can read
//! the key.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The bytes of a file with keys and certificates that are read at most. Chains have some thousands.
pub(super) const BYTES_MAX: u64 = 1 << 20;

/// Makes the directory of the CA, which no other user can look into.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path)
}

/// Keeps other starts of the program out of a directory, as long as the value lives. `None`: the file
/// system has no locks.
///
/// The wait for a lock blocks. It is done before the loop begins, and another start of the program holds
/// the lock for some milliseconds.
pub(super) fn lock(directory: &Path) -> Option<File> {
    let directory = File::open(directory).ok()?;
    directory.lock().ok()?;
    Some(directory)
}

/// Whether other users can change a file, or the files in a directory.
pub(super) fn is_open_to_others(directory: &Path) -> io::Result<bool> {
    Ok(fs::metadata(directory)?.mode() & 0o022 != 0)
}

/// A file with a private key.
pub(super) enum Private {
    Absent,
    /// Other users can read the file.
    Shared,
    Content(Vec<u8>),
}

/// Reads a file with a private key.
pub(super) fn read_private(path: &Path) -> io::Result<Private> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Private::Absent),
        Err(error) => return Err(error),
    };
    // Of the file that is read, and not of one that takes its name meanwhile.
    if file.metadata()?.mode() & 0o077 != 0 {
        return Ok(Private::Shared);
    }
    read_all(&file).map(Private::Content)
}

/// Reads a file, which must have a reasonable size.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A directory can be opened, and a named pipe would block.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    read_all(&File::open(path)?)
}

fn read_all(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > BYTES_MAX {
        true => Err(io::Error::other("it is too large")),
        false => Ok(bytes),
    }
}

/// Writes a file whole, in the place of one with the same name: a new file is written beside, and takes the
/// name then.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // The name cannot be guessed, and a file or link that is there already is an error.
    let random = RandomState::new().build_hasher().finish();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}-{random:016x}"));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
