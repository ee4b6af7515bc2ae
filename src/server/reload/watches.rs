//! Floor 4, server: the watched directories, and the meaning of a change in one of them.
//!
//! A watch is on a directory, and the site has paths. What is at a path may become another directory: one
//! is renamed over it, or a link on the way is turned. So after each change all paths are watched again,
//! which costs a call for each and gives the same [`Watch`] where nothing has changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::Ignored;
use crate::server::{Driver, Found, Watch};

/// Why a directory is watched.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    /// It is in the site, at this path relative to the root.
    Site(Box<[u8]>),
    /// Another file or directory can come to a path by a change at this name.
    Way(PathBuf),
    /// Each change in it counts.
    Whole(PathBuf),
}

/// The reasons for a watch.
#[derive(Default, Debug)]
struct Places {
    /// The names of the ways. A directory may have a thousand links.
    names: BTreeSet<OsString>,
    /// The directories of the site and of `whole`.
    directories: BTreeSet<Place>,
}

impl Places {
    fn add(&mut self, place: &Place) {
        match place {
            Place::Way(path) => {
                if let Some(name) = path.file_name().filter(|name| !self.names.contains(*name)) {
                    self.names.insert(name.into());
                }
            }
            Place::Site(_) | Place::Whole(_) => {
                self.directories.insert(place.clone());
            }
        }
    }

    /// Those of `whole` alone.
    fn wholes(&self) -> Option<Places> {
        let wholes = self.directories.iter().filter(|p| is_whole(p)).cloned();
        let places = Places {
            names: BTreeSet::new(),
            directories: wholes.collect(),
        };
        (!places.directories.is_empty()).then_some(places)
    }
}

fn is_whole(place: &Place) -> bool {
    matches!(place, Place::Whole(_))
}

/// The meaning of a change at a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sense {
    /// Nothing.
    None,
    /// A program is at work beside the files of the pages.
    Beside,
    /// The answer to a use may have changed.
    Use,
    /// Each page is to be loaded again.
    All,
}

/// The watched directories.
#[derive(Default, Debug)]
pub(super) struct Watches {
    root: PathBuf,
    /// Directories of which each change counts, with all below them.
    whole: Vec<PathBuf>,
    /// The directories of the site that pages use.
    used: BTreeSet<Box<[u8]>>,
    /// The paths that each watch is for. Several paths may lead to one directory.
    places: BTreeMap<Watch, Places>,
    /// While all is watched again: the places that were reached.
    reached: Option<BTreeMap<Watch, Places>>,
    /// The places that are still to be watched.
    queue: VecDeque<Place>,
    /// The watched directories of `whole`.
    wholes: usize,
    /// Whether `whole` has more directories than are watched, which is said once.
    is_full: bool,
    /// `false` once nothing but `whole` is watched, because the files are polled.
    watches_site: bool,
}

impl Watches {
    /// The directories of the site that are watched: more are not used by open pages.
    const USED_MAX: usize = 4_096;

    /// The directories in which each change counts.
    const WHOLE_MAX: usize = 4_096;

    /// The work of watching a directory.
    pub const WORK: u32 = 6;

    pub fn new(root: PathBuf, whole: Vec<PathBuf>) -> Watches {
        let mut watches = Watches {
            root,
            whole,
            watches_site: true,
            ..Watches::default()
        };
        watches.queue_whole();
        watches
    }

    fn queue_whole(&mut self) {
        self.queue
            .extend(self.whole.iter().cloned().map(Place::Whole));
    }

    /// Watches a directory of the site from now on. Returns `false` if there are too many.
    pub fn add<D: Driver>(&mut self, directory: Box<[u8]>, driver: &D) -> bool {
        if self.watches_site && !self.used.contains(&directory) {
            if self.used.len() == Self::USED_MAX {
                return false;
            }
            let is_first = self.used.is_empty();
            self.used.insert(directory.clone());
            if is_first {
                self.queue_ways(&self.root.clone(), driver);
            }
        }
        if self.watches_site {
            self.queue.push_back(Place::Site(directory));
        }
        true
    }

    /// Watches the target of a file of the site, if the file is a symbolic link. Returns the work.
    pub fn add_file<D: Driver>(&mut self, file: &[u8], driver: &D) -> u32 {
        let path = self.root.join(OsStr::from_bytes(file));
        let is_link = self.watches_site
            && matches!(driver.found(&path), Ok(Found::Link(_)))
            && self.queue.len() < Self::USED_MAX;
        if !is_link {
            return 1;
        }
        self.queue_ways(&path, driver);
        20
    }

    fn queue_ways<D: Driver>(&mut self, path: &Path, driver: &D) {
        let ways = ways(path, |path| driver.found(path));
        self.queue.extend(ways.into_iter().map(Place::Way));
    }

    /// Begins to watch all paths again.
    pub fn begin_anew<D: Driver>(&mut self, driver: &D) {
        if !self.watches_site || self.used.is_empty() {
            return;
        }
        self.queue.retain(is_whole);
        let whole = self.places.iter();
        let whole = whole.filter_map(|(watch, places)| Some((*watch, places.wholes()?)));
        self.reached = Some(whole.collect());
        self.queue_ways(&self.root.clone(), driver);
        let used = self.used.iter().cloned();
        self.queue.extend(used.map(Place::Site));
    }

    /// Whether paths are still to be watched.
    pub fn is_busy(&self) -> bool {
        !self.queue.is_empty() || self.reached.is_some()
    }

    /// Goes on with the next path.
    ///
    /// # Errors
    /// If the path cannot be watched although it is there: the path, and whether the site needs it.
    pub fn step<D: Driver>(
        &mut self,
        driver: &mut D,
        ignored: &Ignored,
    ) -> Result<(), (PathBuf, bool, io::Error)> {
        let Some(place) = self.queue.pop_front() else {
            if let Some(reached) = self.reached.take() {
                let gone = self.places.keys().filter(|w| !reached.contains_key(w));
                gone.for_each(|watch| driver.unwatch(*watch));
                self.places = reached;
            }
            return Ok(());
        };
        let path = match &place {
            Place::Site(path) => self.root.join(OsStr::from_bytes(path)),
            Place::Way(path) => path.parent().unwrap_or(path).to_path_buf(),
            Place::Whole(path) => path.clone(),
        };
        let watch = match driver.watch(&path) {
            Ok(watch) => watch,
            // The watch on the directory above tells when the path is there.
            Err(e) if is_absence(&e) => {
                if let Place::Site(path) = &place {
                    self.used.remove(path);
                }
                return match &place {
                    Place::Whole(path) if self.whole.contains(path) && *path != self.root => {
                        Err((path.clone(), false, e))
                    }
                    _ => Ok(()),
                };
            }
            // The root cannot be replaced by another, as far as one can tell.
            Err(_) if matches!(place, Place::Way(_)) => return Ok(()),
            Err(error) => return Err((path, matches!(place, Place::Site(_)), error)),
        };
        if let Place::Whole(path) = &place {
            let places = self.places.get(&watch);
            if places.is_none_or(|places| !places.directories.contains(&place)) {
                if self.wholes == Self::WHOLE_MAX {
                    if places.is_none() {
                        driver.unwatch(watch);
                    }
                    self.queue.retain(|place| !is_whole(place));
                    let mut roots = self.whole.iter();
                    let root = roots.find(|root| path.starts_with(root)).unwrap_or(path);
                    let error = io::ErrorKind::QuotaExceeded.into();
                    return match std::mem::replace(&mut self.is_full, true) {
                        true => Ok(()),
                        false => Err((root.clone(), false, error)),
                    };
                }
                self.wholes += 1;
            }
            self.queue_below(path, driver, ignored);
        }
        let tables = [Some(&mut self.places), self.reached.as_mut()];
        for table in tables.into_iter().flatten() {
            table.entry(watch).or_default().add(&place);
        }
        Ok(())
    }

    /// Queues the directories in a directory of which each change counts.
    fn queue_below<D: Driver>(&mut self, path: &Path, driver: &D, ignored: &Ignored) {
        for directory in driver.directories(path) {
            let name = directory.file_name().unwrap_or_default();
            if !is_aside(name.as_bytes()) && !self.is_ignored(&directory, ignored) {
                self.queue.push_back(Place::Whole(directory));
            }
        }
    }

    fn is_ignored(&self, path: &Path, ignored: &Ignored) -> bool {
        let mut roots = self.whole.iter().chain([&self.root]);
        let beneath = roots.find_map(|root| path.strip_prefix(root).ok());
        ignored.has(beneath.unwrap_or(path).as_os_str().as_bytes())
    }

    /// The meaning of a change at `name` in a watched directory. `concerns` knows the uses of the site.
    pub fn sense<D: Driver>(
        &mut self,
        watch: Watch,
        name: &[u8],
        driver: &D,
        ignored: &Ignored,
        mut concerns: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Sense {
        let reached = self.reached.as_ref().and_then(|table| table.get(&watch));
        let places = [self.places.get(&watch), reached].into_iter().flatten();
        let mut names = places.clone().map(|places| &places.names);
        let is_of_way = names.any(|names| names.contains(OsStr::from_bytes(name)));
        let mut sense = match is_of_way {
            true => Sense::Use,
            false => Sense::None,
        };
        let mut below = None;
        for place in places.flat_map(|places| &places.directories) {
            let next = match place {
                // Its name has counted.
                Place::Way(_) => Sense::None,
                Place::Site(directory) => {
                    let path = Path::new(OsStr::from_bytes(directory));
                    let path = path.join(OsStr::from_bytes(name));
                    match ignored.has(path.as_os_str().as_bytes()) {
                        true => Sense::None,
                        false if concerns(directory, name) => Sense::Use,
                        false => Sense::Beside,
                    }
                }
                Place::Whole(directory) => {
                    let path = directory.join(OsStr::from_bytes(name));
                    match is_aside(name) || self.is_ignored(&path, ignored) {
                        true => Sense::None,
                        false => {
                            below = Some(path);
                            Sense::All
                        }
                    }
                }
            };
            if next as u8 > sense as u8 {
                sense = next;
            }
        }
        // Perhaps a directory was made.
        let is_directory = |path: &PathBuf| matches!(driver.found(path), Ok(Found::Directory));
        if let Some(path) = below.filter(is_directory) {
            self.queue.push_back(Place::Whole(path));
        }
        if is_of_way && self.whole.contains(&self.root) {
            self.queue.push_back(Place::Whole(self.root.clone()));
        }
        sense
    }

    /// A watch has ended. Returns whether its directory was one of the site, or on the way to the root.
    pub fn ended(&mut self, watch: Watch) -> bool {
        let places = self.places.remove(&watch).unwrap_or_default();
        if let Some(reached) = &mut self.reached {
            reached.remove(&watch);
        }
        let wholes = places.directories.iter().filter(|p| is_whole(p));
        self.wholes -= wholes.count().min(self.wholes);
        for place in &places.directories {
            if let Place::Whole(path) = place
                && self.whole.contains(path)
            {
                self.queue.push_back(place.clone());
            }
        }
        !places.names.is_empty() || places.directories.iter().any(|place| !is_whole(place))
    }

    /// Watches nothing of the site from the start.
    pub fn leave_site_out(&mut self) {
        self.watches_site = false;
    }

    /// Ends the watches on the site, because its files are polled from now on.
    pub fn end_of_site<D: Driver>(&mut self, driver: &mut D) {
        self.watches_site = false;
        (self.used, self.reached) = (BTreeSet::new(), None);
        self.queue.retain(is_whole);
        self.places.retain(|watch, places| {
            match places.wholes() {
                Some(wholes) => *places = wholes,
                None => {
                    driver.unwatch(*watch);
                    return false;
                }
            }
            true
        });
    }
}

/// Whether an error says that no directory is at the path.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Whether a name is left out where each change counts: the files of editors and of version control, and
/// the packages of others.
fn is_aside(name: &[u8]) -> bool {
    name.starts_with(b".") || name.ends_with(b"~") || matches!(name, b"node_modules" | b"4913")
}

/// The paths whose files decide which file is at `path`: `path` itself, each symbolic link on the way, and
/// the path without links, or the first name on the way that is not there.
fn ways(path: &Path, found: impl Fn(&Path) -> io::Result<Found>) -> Vec<PathBuf> {
    /// The bound of the kernel (path_resolution(7)).
    const LINKS_MAX: usize = 40;
    let mut ways = vec![path.to_path_buf()];
    let mut links = 0;
    // The part that is walked already, and the names that follow, the next one last.
    let mut walked = PathBuf::from("/");
    let names = |path: &Path| -> Vec<PathBuf> {
        let names = path.components().rev();
        names.map(|name| PathBuf::from(name.as_os_str())).collect()
    };
    let mut rest = names(path);
    while let Some(name) = rest.pop() {
        if name.as_os_str() == ".." {
            walked.pop();
            continue;
        }
        let next = walked.join(&name);
        match found(&next) {
            Ok(Found::Link(target)) if links < LINKS_MAX => {
                links += 1;
                rest.extend(names(&target));
                ways.push(next);
            }
            Ok(_) => walked = next,
            Err(_) => {
                walked = next;
                break;
            }
        }
    }
    ways.push(walked);
    ways.dedup();
    ways
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::server::driver::found;

    #[test]
    fn the_way_to_the_root_has_its_links_and_what_is_missing() {
        let folder = std::env::temp_dir().join(format!("oneloop-ways-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("releases/42/dist")).expect("the folder is ours");
        let folder = folder.canonicalize().expect("it is there");
        symlink("releases/newest", folder.join("current")).expect("the folder is ours");
        symlink("42", folder.join("releases/newest")).expect("the folder is ours");
        symlink("loop", folder.join("loop")).expect("the folder is ours");
        for (path, expected) in [
            ("releases/42", &["releases/42"][..]),
            ("current", &["current", "releases/newest", "releases/42"]),
            (
                "current/dist",
                &[
                    "current/dist",
                    "current",
                    "releases/newest",
                    "releases/42/dist",
                ],
            ),
            ("gone", &["gone"]),
            ("gone/dist", &["gone/dist", "gone"]),
        ] {
            let mut expected: Vec<_> = expected.iter().map(|path| folder.join(path)).collect();
            expected.dedup();
            assert_eq!(ways(&folder.join(path), found), expected, "{path}");
        }
        // It ends.
        ways(&folder.join("loop"), found);
        fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
