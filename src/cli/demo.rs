//! The folder `www` of this repository, which the program carries along for `--demo`.
//!
//! The files are written to a temporary folder, which is removed when the server ends. So the demo is served
//! as any other folder: by sendfile(2), and with live reload after edits of the files. Files in memory
//! would need another implementation of the seam `Files`, and would show less.

use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The names and the contents of the files.
#[cfg(feature = "demo")]
const FILES: &[(&str, &[u8])] = &[
    ("chat.js", include_bytes!("../../www/chat.js")),
    ("dom.js", include_bytes!("../../www/dom.js")),
    ("echo.js", include_bytes!("../../www/echo.js")),
    ("favicon.svg", include_bytes!("../../www/favicon.svg")),
    ("index.html", include_bytes!("../../www/index.html")),
    ("inspector.png", include_bytes!("../../www/inspector.png")),
    ("link.js", include_bytes!("../../www/link.js")),
    ("live.png", include_bytes!("../../www/live.png")),
    ("main.js", include_bytes!("../../www/main.js")),
    ("oneloop.png", include_bytes!("../../www/oneloop.png")),
    ("style.css", include_bytes!("../../www/style.css")),
];
#[cfg(not(feature = "demo"))]
const FILES: &[(&str, &[u8])] = &[];

/// The folder of the demo. It is removed when the value is dropped.
#[derive(Debug)]
pub struct Demo {
    folder: PathBuf,
}

impl Demo {
    /// Writes the files to a new folder.
    ///
    /// # Errors
    /// A sentence, if there is no space for temporary files, or if the program has no demo.
    pub fn write() -> Result<Demo, String> {
        if FILES.is_empty() {
            return Err("this program has no demo; build it with the feature `demo`".into());
        }
        let temporary = std::env::temp_dir();
        Demo::write_in(&temporary).map_err(|error| {
            format!("cannot write the demo to {temporary:?}: {error}; TMPDIR names another place")
        })
    }

    fn write_in(temporary: &Path) -> io::Result<Demo> {
        // The name cannot be guessed, and a folder or link that is there already is an error.
        let random = RandomState::new().build_hasher().finish();
        let folder = temporary.join(format!("oneloop-demo-{random:016x}"));
        DirBuilder::new().mode(0o700).create(&folder)?;
        let demo = Demo { folder };
        for (name, content) in FILES {
            fs::write(demo.folder.join(name), content)?;
        }
        Ok(demo)
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(all(test, feature = "demo"))]
mod tests {
    use super::*;

    #[test]
    fn the_demo_is_the_whole_folder_www() {
        let www = Path::new(env!("CARGO_MANIFEST_DIR")).join("www");
        let names = fs::read_dir(&www).expect("it is there");
        let names = names.map(|entry| entry.expect("it is read").file_name());
        let mut names: Vec<_> = names
            .map(|name| name.into_string().expect("text"))
            .collect();
        names.sort();
        assert_eq!(
            names,
            FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>()
        );
        let demo = Demo::write().expect("there is space");
        let folder = demo.path().to_path_buf();
        for name in names {
            let (ours, copy) = (fs::read(www.join(&name)), fs::read(folder.join(&name)));
            assert_eq!(
                ours.expect("it is there"),
                copy.expect("it was written"),
                "{name}"
            );
        }
        drop(demo);
        assert!(!folder.exists());
    }
}
