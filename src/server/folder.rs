//! Floor 4, server: whether the folder that is served is the one that was meant. People start a server
//! in the folder that they have open, which is often the source of a site and not the site.

use std::io::Read;
use std::path::Path;

use memchr::memmem;

use crate::sys::{self, FileKind, Handle};

/// The names that build tools give to the folder with the finished site.
const BUILDS: &[&str] = &["dist", "build", "out", "public", "_site", "www"];

/// The endings of files that a browser cannot run.
const SOURCES: &[&str] = &[".tsx", ".ts", ".jsx", ".vue", ".svelte"];

/// Returns a sentence about a folder that was hardly meant, with the folder that was meant; `None` if the folder
/// looks right.
pub(super) fn doubt(root: &Path, home: Option<&Path>, is_app: bool) -> Option<String> {
    if root == Path::new("/") {
        return Some("this is the root of the file system; name the folder of the site".into());
    }
    if home.is_some_and(|home| root == home) {
        return Some("this is your home folder; name the folder of the site".into());
    }
    let has_package = root.join("package.json").is_file();
    let index = beginning(&root.join("index.html"));
    let build = BUILDS
        .iter()
        .find(|name| root.join(name).join("index.html").is_file());
    match (index, build) {
        (Some(index), build) => {
            let source = source_in(&index).filter(|_| has_package)?;
            let sentence = format!("index.html loads {source}, which a browser cannot run: ");
            Some(match build {
                Some(build) => format!("{sentence}did you mean {build}/?"),
                None => {
                    format!("{sentence}build the site, and serve the folder that it is built into")
                }
            })
        }
        (None, Some(build)) if has_package => Some(format!(
            "there is no index.html here; did you mean {build}/?"
        )),
        (None, _) if is_app && root.is_dir() => {
            Some("there is no index.html here, which --spa needs".into())
        }
        (None, _) => None,
    }
}

/// Whether a directory has far more than a site: the root of the file system, the home folder, or a folder
/// above it, which has all home folders.
pub(super) fn is_private(root: &Path, home: Option<&Path>) -> bool {
    let real = home.and_then(|home| home.canonicalize().ok());
    let holds = |home: Option<&Path>| home.is_some_and(|home| home.starts_with(root));
    root == Path::new("/") || holds(home) || holds(real.as_deref())
}

/// The first 64 KiB of a regular file; `None` if there is none, or if it cannot be read. Never waits, as
/// for the writer of a FIFO.
fn beginning(path: &Path) -> Option<Vec<u8>> {
    let file = sys::open(path, Handle::Readable).ok()?;
    if sys::fstat(&file).ok()?.kind != FileKind::File {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(64 << 10).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The first script of a page that is written in a language which a browser cannot run.
fn source_in(page: &[u8]) -> Option<String> {
    memmem::find_iter(page, "src=").find_map(|at| {
        let rest = &page[at + 4..];
        let quote = *rest.first().filter(|b| matches!(b, b'"' | b'\''))?;
        let value = rest[1..].split(|b| *b == quote).next()?;
        let value = str::from_utf8(value).ok().filter(|v| v.len() < 100)?;
        let is_shown = value.bytes().all(|b| b.is_ascii_graphic());
        let is_source = SOURCES.iter().any(|ending| value.ends_with(ending));
        (is_source && is_shown).then(|| value.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_home_folder_and_those_above_are_private() {
        let home = std::env::temp_dir().join(format!("oneloop-home-{}", std::process::id()));
        let (real, link) = (home.join("real"), home.join("link"));
        fs::create_dir_all(real.join("site")).expect("the folder is ours");
        std::os::unix::fs::symlink(&real, &link).expect("the folder is ours");
        let real = real.canonicalize().expect("it is there");
        for (root, expected) in [
            (Path::new("/"), true),
            (&real, true),
            (real.parent().expect("it has one"), true),
            (&real.join("site"), false),
        ] {
            assert_eq!(is_private(root, Some(&link)), expected, "{root:?}");
        }
        assert!(!is_private(&real, None));
        fs::remove_dir_all(&home).expect("the folder is ours");
    }

    #[test]
    fn the_source_of_a_site_is_told_from_the_site() {
        let folder = std::env::temp_dir().join(format!("oneloop-folder-{}", std::process::id()));
        let put = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("it is in the folder")).expect("it is ours");
            fs::write(path, text).expect("the folder is ours");
        };
        put(
            "index.html",
            "<script type=module src=\"/src/main.tsx\"></script>",
        );
        assert_eq!(doubt(&folder, None, false), None);
        put("package.json", "{}");
        let said = doubt(&folder, None, false).expect("it is a source");
        assert!(said.starts_with("index.html loads /src/main.tsx"), "{said}");
        put("dist/index.html", "built");
        assert!(
            doubt(&folder, None, false)
                .expect("still")
                .ends_with("did you mean dist/?")
        );
        assert_eq!(doubt(&folder.join("dist"), None, false), None);
        put("index.html", "<script src='/app.js'></script>");
        assert_eq!(doubt(&folder, None, false), None);
        fs::remove_file(folder.join("index.html")).expect("it is there");
        assert!(
            doubt(&folder, None, false)
                .expect("no index")
                .contains("did you mean dist/?")
        );
        assert!(
            doubt(&folder, Some(&folder), false)
                .expect("it is home")
                .contains("home folder")
        );
        assert!(doubt(Path::new("/"), None, false).is_some());
        assert!(doubt(&folder.join("dist"), None, true).is_none());
        fs::remove_file(folder.join("dist/index.html")).expect("it is there");
        let said = doubt(&folder.join("dist"), None, true);
        assert!(said.expect("an app needs one").contains("--spa"));
        fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
