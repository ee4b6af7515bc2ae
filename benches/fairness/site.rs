//! The served files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::common::scratch::Scratch;

/// A served file.
pub struct Entry {
    pub path: &'static str,
    pub bytes: usize,
}

/// The file of the probe.
pub const SMALL: Entry = Entry {
    path: "/small.txt",
    bytes: 700,
};
/// A file that is sent as it is.
pub const LARGE: Entry = Entry {
    path: "/large.bin",
    bytes: 10 << 20,
};
/// The largest file that is compressed on the fly. Its letters are random, so that the result is
/// too large for the cache.
pub const TEXT: Entry = Entry {
    path: "/text.txt",
    bytes: 8 << 20,
};

/// Writes the files. A file system in memory takes the disk out of the measurement.
///
/// # Errors
/// A sentence, when a file cannot be written.
pub fn create() -> Result<Scratch, String> {
    let memory = Path::new("/dev/shm");
    let scratch = match memory.is_dir() {
        true => Scratch::create_in(memory, "fairness")?,
        false => Scratch::create("fairness")?,
    };
    let root = root(&scratch);
    let write = |entry: Entry| -> io::Result<()> {
        let path = root.join(&entry.path[1..]);
        fs::write(&path, letters(entry.bytes))?;
        // A file that changed a moment ago would not be cached.
        let an_hour_ago = SystemTime::now() - Duration::from_secs(3600);
        let file = File::options().write(true).open(path)?;
        file.set_modified(an_hour_ago)
    };
    fs::create_dir_all(&root)
        .and_then(|()| [SMALL, LARGE, TEXT].into_iter().try_for_each(write))
        .map_err(|error| format!("cannot write to {}: {error}", root.display()))?;
    Ok(scratch)
}

/// The served directory.
pub fn root(scratch: &Scratch) -> PathBuf {
    scratch.path().join("root")
}

/// Returns random letters, the same in every run.
pub fn letters(count: usize) -> Vec<u8> {
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut letter = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + (state % 26) as u8
    };
    (0..count).map(|_| letter()).collect()
}
