//! The instructions of an operation, counted by callgrind.
//!
//! The program starts itself again under valgrind. There it repeats each operation, first 200 times
//! and then 400 times, each within a call of [`repeat`]. Callgrind writes the count of each call of
//! `repeat` to a file of its own, and the difference of two counts is that of 200 repetitions: the
//! cost of `repeat` itself and of its caller cancels out.

use std::fs;
use std::hint::black_box;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use super::options::Options;
use super::scratch::Scratch;
use super::{Operation, Prepare, Row};

const CALLS: u32 = 200;

/// The functions whose calls callgrind counts, as a pattern.
const REPEAT: &str = "*::count::repeat";

/// Returns the instructions per unit for each of `rows`: ours and, unless `options` leave it out,
/// the library's. `None` when valgrind is not installed.
///
/// # Errors
/// A sentence, when valgrind fails.
pub fn instructions(rows: &[&Row], options: &Options) -> Result<Option<Vec<Vec<f64>>>, String> {
    let scratch = Scratch::create("count")?;
    let out = scratch.path().join("out");
    let program = std::env::current_exe().map_err(|error| format!("no path to itself: {error}"))?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind"]);
    valgrind.arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(format!("--zero-before={REPEAT}"));
    valgrind.arg(format!("--dump-after={REPEAT}"));
    valgrind.arg(program).args(["--bench", "--work"]);
    if options.ours_only {
        valgrind.arg("--ours");
    }
    if !options.filter.is_empty() {
        valgrind.arg(&options.filter);
    }
    match valgrind.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{valgrind:?} failed: {said}"));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot run {valgrind:?}: {error}")),
    }
    let mut file = 0;
    let mut next = || {
        file += 1;
        total(&out.with_extension(file.to_string()))
    };
    let mut counts = Vec::new();
    for row in rows {
        let mut sides = Vec::new();
        for _ in operations(row, !options.ours_only) {
            let (once, twice) = (next()?, next()?);
            let units = f64::from(CALLS) * f64::from(row.units);
            sides.push((twice - once) / units);
        }
        counts.push(sides);
    }
    Ok(Some(counts))
}

/// Repeats the operations while callgrind counts.
pub fn work(rows: &[&Row], with_theirs: bool) {
    for prepare in rows.iter().flat_map(|row| operations(row, with_theirs)) {
        let mut operation = prepare();
        // The first call makes buffers grow.
        operation();
        repeat(&mut operation, CALLS);
        repeat(&mut operation, 2 * CALLS);
    }
}

/// The operations of a row, in the order of the counts.
fn operations(row: &Row, with_theirs: bool) -> impl Iterator<Item = Prepare> {
    let theirs = row.theirs.filter(|_| with_theirs);
    std::iter::once(row.ours).chain(theirs.map(|(_, prepare)| prepare))
}

/// A function of its own, which callgrind finds by its name.
#[inline(never)]
fn repeat(operation: &mut Operation, calls: u32) {
    for _ in 0..black_box(calls) {
        operation();
    }
}

/// Reads the sum from a file of callgrind, whose line is `totals: 12345`.
fn total(path: &Path) -> Result<f64, String> {
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| format!("no count in {}: {error}", path.display()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("totals: "))
        .and_then(|sum| sum.trim().parse().ok())
        .ok_or_else(|| format!("no count in {}", path.display()))
}
