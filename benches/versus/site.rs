//! The directory that every server serves: a few files in a temporary directory.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::common::scratch::Scratch;

/// A served file.
pub struct Entry {
    /// The path in a request, with the leading slash.
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

/// A text with its gzip coding in a file beside it.
pub const CODED: Entry = Entry {
    path: "/coded.txt",
    bytes: 200 * 1024,
};
/// The same text without such a file.
pub const PLAIN_TEXT: Entry = Entry {
    path: "/plain.txt",
    bytes: 200 * 1024,
};

/// The modification time of all files. It is a constant, so that a scenario can ask for a 304 with
/// plain data.
pub const MODIFIED: Modified = Modified {
    since: "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT",
    unix_seconds: 1_704_067_200,
};

/// A time in two forms: as a conditional field line, and in seconds since 1970.
pub struct Modified {
    pub since: &'static str,
    unix_seconds: u64,
}

/// The served files. The files are deleted on drop.
pub struct Site {
    /// Holds the root and, beside the root, the configurations, error logs and other files of
    /// servers.
    pub scratch: Scratch,
    created: SystemTime,
}

impl Site {
    /// Writes the files.
    ///
    /// # Errors
    /// A sentence, when a file cannot be written.
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

    /// The served directory.
    pub fn root(&self) -> PathBuf {
        self.scratch.path().join("root")
    }

    /// Returns the file for the request path `path`.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// Waits until the files are three seconds old. A server with careful validators does not cache
    /// a file that changed a moment ago, because a second change could keep the same timestamp.
    pub fn settle(&self) {
        let age = self.created.elapsed().unwrap_or_default();
        thread::sleep(Duration::from_secs(3).saturating_sub(age));
    }
}

/// Returns random letters, which a compressor can shrink by little. The letters differ in every
/// run, so a foreign process that took our port before the server's start cannot serve them.
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
