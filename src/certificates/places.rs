//! Floor 1, certificates: the directories of the CAs.

use std::ffi::OsString;
use std::path::PathBuf;

/// The directories in which CAs are looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// The directory of our CA.
    pub own: PathBuf,
    /// The directory of mkcert's CA, and whether the user has named it.
    pub mkcert: Option<(PathBuf, bool)>,
}

impl Places {
    /// Reads the variables `XDG_DATA_HOME`, `HOME` and `CAROOT` (of mkcert). `None`: there is no home
    /// directory.
    ///
    /// A relative `XDG_DATA_HOME` does not count (XDG Base Directory Specification, "Environment variables").
    pub fn from_environment(variable: &dyn Fn(&str) -> Option<OsString>) -> Option<Places> {
        let path = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let absolute = |name: &str| path(name).filter(|path| path.is_absolute());
        let data = absolute("XDG_DATA_HOME");
        let data = data.or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
        let mkcert = match path("CAROOT") {
            Some(named) => (named, true),
            None => (data.join("mkcert"), false),
        };
        Some(Places {
            own: data.join("oneloop"),
            mkcert: Some(mkcert),
        })
    }
}
