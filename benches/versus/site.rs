//! The directory every server serves: a few files in a temporary place, gone when dropped.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::common::scratch::Scratch;

pub struct Entry {
    /// As requests name it: from the root, with the slash.
    pub path: &'static str,
    pub bytes: usize,
}

pub const SMALL: Entry = Entry {
    path: "/small.txt",
    bytes: 1024,
};
pub const MEDIUM: Entry = Entry {
    path: "/medium.bin",
    bytes: 100 * 1024,
};
pub const LARGE: Entry = Entry {
    path: "/large.bin",
    bytes: 10 * 1024 * 1024,
};

/// Text that has its gzip coding beside it.
pub const CODED: Entry = Entry {
    path: "/coded.txt",
    bytes: 200 * 1024,
};
/// The same text without.
pub const PLAIN_TEXT: Entry = Entry {
    path: "/plain.txt",
    bytes: 200 * 1024,
};

/// When all files were last modified, twice. A constant, so that a scenario can ask for a 304 as data.
pub const MODIFIED: Modified = Modified {
    since: "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT",
    unix_seconds: 1_704_067_200,
};

pub struct Modified {
    pub since: &'static str,
    unix_seconds: u64,
}

pub struct Site {
    /// Holds the root, and beside it configuration, error logs and the like.
    pub scratch: Scratch,
    created: SystemTime,
}

impl Site {
    pub fn create() -> Result<Self, String> {
        let site = Self {
            scratch: Scratch::create("versus")?,
            created: SystemTime::now(),
        };
        site.fill().map_err(|error| {
            format!(
                "cannot write the files to serve in {}: {error}",
                site.scratch.path().display()
            )
        })?;
        Ok(site)
    }

    fn fill(&self) -> std::io::Result<()> {
        fs::create_dir_all(self.root())?;
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(MODIFIED.unix_seconds);
        let write = |path: PathBuf, bytes: &[u8]| {
            fs::write(&path, bytes)?;
            File::options()
                .write(true)
                .open(&path)?
                .set_modified(modified)
        };
        for entry in [SMALL, MEDIUM, LARGE, CODED, PLAIN_TEXT] {
            let text = letters(entry.bytes);
            write(self.file(entry.path), &text)?;
            if entry.path == CODED.path {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                encoder.write_all(&text)?;
                write(self.file("/coded.txt.gz"), &encoder.finish()?)?;
            }
        }
        Ok(())
    }

    pub fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    /// The file a request for `path` is answered from.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Waits until the files are three seconds old. A server that is careful about validators does not
    /// cache a file whose last change is too recent for its timestamp to be trusted.
    pub fn settle(&self) {
        let age = self.created.elapsed().unwrap_or_default();
        thread::sleep(Duration::from_secs(3).saturating_sub(age));
    }
}

/// Letters without a pattern a compressor could live on, different in every run: a stranger who took
/// our port between its choice and the server's start cannot serve them.
fn letters(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ u64::from(std::process::id());
    let mut letter = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'a' + (state % 26) as u8
    };
    (0..count).map(|_| letter()).collect()
}
