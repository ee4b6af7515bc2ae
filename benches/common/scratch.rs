//! A temporary directory for a bench.

use std::fs;
use std::path::{Path, PathBuf};

/// A temporary directory, which is deleted on drop.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn create(bench: &str) -> Result<Self, String> {
        Self::create_in(&std::env::temp_dir(), bench)
    }

    pub fn create_in(directory: &Path, bench: &str) -> Result<Self, String> {
        let path = directory.join(format!("oneloop-{bench}-{}", std::process::id()));
        fs::create_dir_all(&path)
            .map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A failure has no remedy, and the files are in the system's temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}
