//! Floor 2, site: the rules that lie in the root of a site: `_redirects` and `_headers`, as hosts of
//! static sites know them. A preview with this server then behaves as the site will on its host.
//!
//! The files are read again after each change. A line that is not understood is skipped, and a warning
//! names the file, the line and the reason: a rule never keeps the server from serving.

mod answer;
mod headers;
mod pattern;
mod redirects;

use std::collections::BTreeSet;
use std::mem;
use std::ops::Range;
use std::time::{Duration, SystemTime};

pub(super) use answer::Moment;
use headers::{Edit, Headers};
use pattern::CanonicalPath;
use redirects::{Found, Outcome, Redirects};

use super::representation::is_settled;
use super::{FileError, Files};
use crate::sys::{FileKind, Stat};

/// The rules of a site, as its files said when they were last looked at.
#[derive(Debug)]
pub(super) struct Rules {
    pub redirects: Redirects,
    pub headers: Headers,
    redirects_file: RulesFile,
    headers_file: RulesFile,
    /// The time in which the last look at the files counts.
    fresh: Range<SystemTime>,
    /// Warnings for the log.
    warnings: Vec<String>,
    /// Whether a page that browsers may keep for ever was noted.
    is_immutable_told: bool,
    /// The lines of `_redirects` that were noted because they lead in a circle.
    circles: BTreeSet<usize>,
}

/// What is known about one of the files.
#[derive(Debug)]
struct RulesFile {
    name: &'static str,
    /// The stat of the file that was read, unless another change could keep it.
    stat: Option<Stat>,
    text: Vec<u8>,
    /// The last reason why the file could not be read.
    error: Option<FileError>,
}

/// The paths of the files.
pub(super) const NAMES: [&[u8]; 2] = [b"_headers", b"_redirects"];

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            redirects: Redirects::default(),
            headers: Headers::default(),
            redirects_file: RulesFile::new("_redirects"),
            headers_file: RulesFile::new("_headers"),
            fresh: SystemTime::UNIX_EPOCH..SystemTime::UNIX_EPOCH,
            warnings: Vec::new(),
            is_immutable_told: false,
            circles: BTreeSet::new(),
        }
    }
}

impl Rules {
    /// How long a look at the files counts. A person who edits a file and reloads a page takes longer.
    const FRESH: Duration = Duration::from_millis(250);

    /// Whether the last look at the files counts at the time `now`. A clock that was set back asks for a
    /// new look as well.
    #[inline]
    pub fn are_fresh(&self, now: SystemTime) -> bool {
        self.fresh.contains(&now)
    }

    /// Looks at both files, and reads a file that has changed. Returns whether `_redirects` has.
    #[cold]
    pub fn look<F: Files>(&mut self, files: &F, now: SystemTime) -> bool {
        self.fresh = now..now.checked_add(Rules::FRESH).unwrap_or(now);
        let mut notes = Notes::new(self.redirects_file.name);
        let has_other_redirects = self.redirects_file.look(files, now, &mut notes);
        if has_other_redirects {
            let text = as_text(&self.redirects_file.text, &mut notes);
            self.redirects = Redirects::parse(&text, &mut notes);
            self.circles.clear();
        }
        self.warnings.append(&mut notes.into_lines());
        let mut notes = Notes::new(self.headers_file.name);
        if self.headers_file.look(files, now, &mut notes) {
            let text = as_text(&self.headers_file.text, &mut notes);
            self.headers = Headers::parse(&text, &mut notes);
            self.is_immutable_told = false;
        }
        self.warnings.append(&mut notes.into_lines());
        // Without a log, the warnings stay.
        self.warnings.truncate(2 * Notes::LINES_MAX);
        has_other_redirects
    }

    /// Warns, once for each state of `_redirects`, of a rule that leads in a circle.
    pub fn note_circle(&mut self, line: usize) {
        if self.circles.len() < Notes::LINES_MAX && self.circles.insert(line) {
            let text = as_text(&self.redirects_file.text, &mut Notes::new(""));
            let rule = text.lines().nth(line - 1).unwrap_or_default();
            let mut notes = Notes::new(self.redirects_file.name);
            notes.skipped(line, rule.trim(), "the rules lead in a circle from there");
            self.warnings.append(&mut notes.into_lines());
        }
    }

    /// Warns, once for each state of `_headers`, of a page that browsers may keep after it has changed.
    pub fn note_immutable(&mut self, line: usize) {
        if !mem::replace(&mut self.is_immutable_told, true) {
            let mut notes = Notes::new(self.headers_file.name);
            let text = "`immutable` is sent with a page: browsers keep the page after it has changed; \
                        it is for files with a hash in their name";
            notes.add(line, text.into());
            self.warnings.append(&mut notes.into_lines());
        }
    }

    /// The text of `_headers`, as it was last read.
    pub fn headers_text(&self) -> &[u8] {
        &self.headers_file.text
    }

    /// Whether a warning waits.
    #[inline]
    pub fn has_warnings(&self) -> bool {
        !self.warnings.is_empty()
    }

    /// Takes the warnings since the last call.
    pub fn take_warnings(&mut self) -> Vec<String> {
        mem::take(&mut self.warnings)
    }
}

impl RulesFile {
    /// The bytes of a file that are read.
    const BYTES_MAX: usize = 256 * 1024;

    fn new(name: &'static str) -> RulesFile {
        RulesFile {
            name,
            stat: None,
            text: Vec::new(),
            error: None,
        }
    }

    /// Looks at the file, and returns whether the text is another than before.
    fn look<F: Files>(&mut self, files: &F, now: SystemTime, notes: &mut Notes) -> bool {
        let stat = files.stat(self.name.as_bytes());
        if stat.is_ok() && stat.ok() == self.stat {
            return false;
        }
        self.stat = None;
        let read = stat.and_then(|stat| match stat.kind {
            FileKind::File => self.read(files),
            FileKind::Directory | FileKind::Other => Err(FileError::Absent),
        });
        let text = match read {
            Ok((text, stat)) => {
                self.error = None;
                self.stat = Some(stat).filter(|stat| is_settled(stat, now));
                text
            }
            Err(FileError::Absent | FileError::Directory) => {
                self.error = None;
                Vec::new()
            }
            // The rules stay as they are, and the next look tries again.
            Err(FileError::Changing | FileError::Exhausted) => return false,
            Err(error @ (FileError::LeadsOut | FileError::Denied | FileError::Failed)) => {
                if self.error.replace(error) != Some(error) {
                    notes.about_file(error.sentence());
                }
                Vec::new()
            }
        };
        let is_another = text != self.text;
        self.text = text;
        is_another
    }

    /// Reads the file, at most one byte more than the bound.
    fn read<F: Files>(&self, files: &F) -> Result<(Vec<u8>, Stat), FileError> {
        let (open, stat) = files.open(self.name.as_bytes())?;
        let size = stat.size.min(RulesFile::BYTES_MAX as u64 + 1);
        let mut text = vec![0; size as usize];
        let read = files.read_at(&open, &mut text, 0)?;
        text.truncate(read);
        // If the file has changed meanwhile, the text may be half of each version.
        match files.fstat(&open)? == stat {
            true => Ok((text, stat)),
            false => Err(FileError::Changing),
        }
    }
}

/// The text of a file, as far as the file is read: up to the last whole line within the bound.
fn as_text(bytes: &[u8], notes: &mut Notes) -> String {
    let mut bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.len() > RulesFile::BYTES_MAX {
        let kept = &bytes[..RulesFile::BYTES_MAX];
        let end = kept.iter().rposition(|b| *b == b'\n').unwrap_or(0);
        bytes = &bytes[..end];
        let max = RulesFile::BYTES_MAX / 1024;
        notes.about_file(&format!("only the first {max} KiB of the file are read"));
    }
    // Bytes that are not UTF-8 become a character that is in no path.
    String::from_utf8_lossy(bytes).into_owned()
}

/// Warnings about the lines of a file, a bounded number.
#[derive(Debug)]
pub(super) struct Notes {
    file: &'static str,
    lines: Vec<String>,
    more: usize,
}

impl Notes {
    /// More warnings than this are counted.
    const LINES_MAX: usize = 20;
    /// The characters of a line that a warning shows.
    const SHOWN_CHARS: usize = 60;

    pub fn new(file: &'static str) -> Notes {
        Notes {
            file,
            lines: Vec::new(),
            more: 0,
        }
    }

    pub fn add(&mut self, line: usize, text: String) {
        match self.lines.len() < Notes::LINES_MAX {
            true => self.lines.push(format!("{}:{line}: {text}", self.file)),
            false => self.more += 1,
        }
    }

    /// Notes that a line has no effect.
    pub fn skipped(&mut self, line: usize, text: &str, reason: &str) {
        let shown: String = text.chars().take(Notes::SHOWN_CHARS).collect();
        let more = match shown.len() < text.len() {
            true => "…",
            false => "",
        };
        // A control character of the file must not reach the terminal.
        self.add(
            line,
            format!("`{}{more}` is skipped: {reason}", shown.escape_debug()),
        );
    }

    fn about_file(&mut self, text: &str) {
        self.lines.push(format!("{}: {text}", self.file));
    }

    pub fn into_lines(mut self) -> Vec<String> {
        if self.more > 0 {
            self.about_file(&format!("{} more lines have a warning", self.more));
        }
        self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_read_up_to_a_whole_line() {
        let mut notes = Notes::new("_redirects");
        let text = "/a /b\n".repeat(100_000);
        let kept = as_text(text.as_bytes(), &mut notes);
        assert!(kept.len() > RulesFile::BYTES_MAX - 10 && kept.ends_with("\n/a /b"));
        assert_eq!(notes.into_lines().len(), 1);
        let mut notes = Notes::new("_redirects");
        assert_eq!(as_text(&[b'a'; 300_000], &mut notes), "");
        assert_eq!(as_text(b"\xef\xbb\xbf/a \xff", &mut notes), "/a \u{fffd}");
    }

    #[test]
    fn warnings_are_bounded_and_harmless() {
        let mut notes = Notes::new("_redirects");
        for line in 1..100 {
            notes.skipped(line, &"\u{1b}[31m".repeat(100), "x");
        }
        let lines = notes.into_lines();
        assert_eq!(lines.len(), 21);
        let is_plain = |line: &String| line.len() < 500 && !line.contains('\u{1b}');
        assert!(lines.iter().all(is_plain), "{lines:?}");
        assert_eq!(lines[20], "_redirects: 79 more lines have a warning");
    }
}
