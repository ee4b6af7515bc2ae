//! A temporary directory of our own, gone when dropped.

use std::fs;
use std::path::{Path, PathBuf};

pub struct Scratch(PathBuf);

impl Scratch {
    pub fn create(bench: &str) -> Result<Self, String> {
        let name = format!("oneloop-{bench}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
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
        // Nothing to be done about a failure, and it is the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}
