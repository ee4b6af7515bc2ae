//! The served files, their replacement by other versions, and the clients that get them.
//!
//! The content of a file follows from its number and its version, so a client can compare every
//! byte. A client notes the versions before its request and after the response: the response must
//! be one of the versions between the two, as a whole.

use std::fs;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;

use crate::client::Client;
use crate::world::{Random, World};

const FILES: usize = 48;
/// The pause before a file is replaced.
const REPLACED_EVERY: Duration = Duration::from_millis(20);
/// The number of requests on a connection.
const REQUESTS: usize = 50;

pub struct Files {
    root: PathBuf,
    versions: Vec<Versions>,
}

/// The versions of a file.
#[derive(Default)]
struct Versions {
    /// The version that is certainly in place, or was replaced meanwhile.
    placed: AtomicU64,
    /// The newest version that may be in place.
    begun: AtomicU64,
}

impl Files {
    /// Writes the first version of each file.
    ///
    /// # Errors
    /// A sentence, when a file cannot be written.
    pub fn create(root: PathBuf) -> Result<Self, String> {
        let mut versions = Vec::new();
        versions.resize_with(FILES, Versions::default);
        fs::create_dir_all(&root)
            .and_then(|()| {
                (0..FILES).try_for_each(|file| fs::write(root.join(name(file)), content(file, 0)))
            })
            .map_err(|error| format!("cannot write to {}: {error}", root.display()))?;
        Ok(Self { root, versions })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the number of a version that a request from now on may not be older than.
    fn placed(&self, file: usize) -> u64 {
        self.versions[file].placed.load(SeqCst)
    }

    /// Returns the version for which `is_right` holds, among those that a response to a request
    /// since `placed` may have.
    fn check(
        &self,
        file: usize,
        placed: u64,
        is_right: impl Fn(&[u8]) -> bool,
    ) -> Result<(), String> {
        let possible: RangeInclusive<u64> = placed..=self.versions[file].begun.load(SeqCst);
        match possible
            .clone()
            .any(|version| is_right(&content(file, version)))
        {
            true => Ok(()),
            false => Err(format!("wrong bytes: none of the versions {possible:?}")),
        }
    }
}

/// Replaces a file by its next version, with a rename.
pub fn replace(world: &World, files: &Files, random: &mut Random) -> Result<(), String> {
    thread::sleep(REPLACED_EVERY);
    let file = random.below(FILES);
    let versions = &files.versions[file];
    let version = versions.placed.load(SeqCst) + 1;
    // Names with a leading dot are not served.
    let new = files.root.join(".new");
    versions.begun.store(version, SeqCst);
    fs::write(&new, content(file, version))
        .and_then(|()| fs::rename(&new, files.root.join(name(file))))
        .map_err(|error| format!("cannot replace a file: {error}"))?;
    versions.placed.store(version, SeqCst);
    world.count("file replaced", 0);
    Ok(())
}

/// Gets files on one connection: whole, in part, compressed, and only the heads.
pub fn get(world: &World, files: &Files, random: &mut Random) -> Result<(), String> {
    let mut client = Client::connect(world)?;
    for _ in 0..REQUESTS {
        let file = random.below(FILES);
        let one = match random.below(8) {
            0..4 => whole(world, files, &mut client, file),
            4 => part(world, files, &mut client, file, random),
            5 => compressed(world, files, &mut client, file),
            6 => head(world, files, &mut client, file),
            _ => absent(world, &mut client),
        };
        one.map_err(|fault| format!("file {file}: {fault}"))?;
    }
    Ok(())
}

/// Gets a large file, and reads it slowly.
pub fn get_slowly(world: &World, files: &Files, random: &mut Random) -> Result<(), String> {
    let mut client = Client::connect(world)?;
    client.slow_down(Duration::from_millis(1 + random.below(5) as u64));
    let file = random.below(FILES / KINDS) * KINDS;
    let placed = files.placed(file);
    let answer = client.request("GET", &path(file), "")?;
    answer.expect(200)?;
    files
        .check(file, placed, |content| content == answer.body)
        .map_err(|fault| format!("file {file}, read slowly: {fault}"))?;
    world.count("GET, read slowly", answer.body.len());
    Ok(())
}

fn whole(world: &World, files: &Files, client: &mut Client, file: usize) -> Result<(), String> {
    let placed = files.placed(file);
    let answer = client.request("GET", &path(file), "")?;
    answer.expect(200)?;
    files.check(file, placed, |content| content == answer.body)?;
    world.count("GET", answer.body.len());
    Ok(())
}

fn part(
    world: &World,
    files: &Files,
    client: &mut Client,
    file: usize,
    random: &mut Random,
) -> Result<(), String> {
    // Every version of a file has this length at least.
    let length = bytes_min(file);
    let first = random.below(length);
    let last = first + random.below(length - first);
    let placed = files.placed(file);
    let field = format!("Range: bytes={first}-{last}\r\n");
    let answer = client.request("GET", &path(file), &field)?;
    answer.expect(206)?;
    files.check(file, placed, |content| content[first..=last] == answer.body)?;
    world.count("GET, a range", answer.body.len());
    Ok(())
}

fn compressed(
    world: &World,
    files: &Files,
    client: &mut Client,
    file: usize,
) -> Result<(), String> {
    let placed = files.placed(file);
    let answer = client.request("GET", &path(file), "Accept-Encoding: gzip\r\n")?;
    answer.expect(200)?;
    // Small files, and all files while other encoders are at work, come as they are.
    let body = match answer.field("Content-Encoding") {
        Some("gzip") => {
            let mut body = Vec::new();
            let decoded = GzDecoder::new(&answer.body[..]).read_to_end(&mut body);
            decoded.map_err(|error| format!("gzip: {error}"))?;
            world.count("GET, of these compressed", 0);
            body
        }
        _ => answer.body,
    };
    files.check(file, placed, |content| content == body)?;
    world.count("GET, with gzip", body.len());
    Ok(())
}

fn head(world: &World, files: &Files, client: &mut Client, file: usize) -> Result<(), String> {
    let placed = files.placed(file);
    let answer = client.request("HEAD", &path(file), "")?;
    answer.expect(200)?;
    files.check(file, placed, |content| {
        answer.length() == Some(content.len())
    })?;
    world.count("HEAD", 0);
    Ok(())
}

fn absent(world: &World, client: &mut Client) -> Result<(), String> {
    client.request("GET", "/absent.txt", "")?.expect(404)?;
    world.count("404", 0);
    Ok(())
}

/// The number of kinds of files: a large one, three of a medium size, and four small ones.
const KINDS: usize = 8;

/// Returns the least length of the versions of a file.
fn bytes_min(file: usize) -> usize {
    match file % KINDS {
        0 => 3 << 20,
        1..4 => 100 << 10,
        _ => 100,
    }
}

/// Returns the content of a version of a file.
fn content(file: usize, version: u64) -> Vec<u8> {
    let mut random = Random::new(version * FILES as u64 + file as u64);
    let bytes = bytes_min(file) + random.below(1000);
    random.text(bytes)
}

fn name(file: usize) -> String {
    let extension = ["txt", "bin"][file % 2];
    format!("{file}.{extension}")
}

fn path(file: usize) -> String {
    format!("/{}", name(file))
}
