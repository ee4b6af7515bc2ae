//! Floor 3, site: which representation answers a request (RFC 9110 §12.1): the file as it is, a coding
//! of it that lies beside it (`app.js.br` beside `app.js`), one that was made before, or one to be made.

use std::rc::Rc;
use std::time::SystemTime;

use super::cache::{Entry, Lookup, Siblings};
use super::encoding;
use super::representation::{Content, Representation, Source, is_settled};
use super::{FileError, Files, Site, media_type};
use crate::http::{Acceptable, Coding, Field, RequestHead, Version};
use crate::sys::{FileKind, Stat};

/// What was selected.
#[derive(Debug)]
pub(super) enum Selected<F> {
    /// This.
    Available(Rc<Representation<F>>),
    /// The original in a coding that has to be made.
    NeedsEncoding(Rc<Representation<F>>, Coding),
    /// Nothing that the client takes.
    NotAcceptable,
    /// What the client takes could be made, but not now.
    Busy,
}

/// Files shorter than this are not worth encoding.
const ENCODED_BYTES_MIN: u64 = 1024;

impl<F: Files> Site<F> {
    /// Selects a representation of the file at `path`.
    pub(super) fn select(
        &mut self,
        path: &[u8],
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Result<Selected<F::File>, FileError> {
        let original = self.original(path, now)?;
        let acceptable = Acceptable::from_request(request);
        if !original.source.varies || !acceptable.wants_coding() {
            return Ok(match acceptable.takes(Coding::Identity) {
                true => Selected::Available(original),
                false => Selected::NotAcceptable,
            });
        }
        let siblings = self.siblings(path, now);
        let mut busy = false;
        for coding in acceptable.in_order() {
            if coding == Coding::Identity {
                return Ok(Selected::Available(original));
            }
            if siblings[coding as usize]
                && let Ok(sibling) = self.sibling(path, coding, &original, now)
            {
                return Ok(Selected::Available(sibling));
            }
            if self.is_worth_encoding(&original, coding, &acceptable, request) {
                // What is kept of a sibling that no longer counts is under the same key.
                if let Some(Lookup::Present(made)) = self.lookup(path, coding)
                    && *made.source.path == *path
                {
                    return Ok(Selected::Available(made));
                }
                if self.may_encode(path, coding) {
                    return Ok(Selected::NeedsEncoding(original, coding));
                }
                busy = true;
            }
        }
        Ok(match busy {
            true => Selected::Busy,
            false => Selected::NotAcceptable,
        })
    }

    /// Whether a coding of the original could be made, and would serve. For a range it would not: the
    /// parts of an encoding that is not there yet have no places. But a range may be ignored (§14.2),
    /// and is for who takes nothing else. HTTP/1.0 has no chunks to send it in.
    fn is_worth_encoding(
        &self,
        original: &Representation<F::File>,
        coding: Coding,
        acceptable: &Acceptable,
        request: &RequestHead<'_>,
    ) -> bool {
        let sizes = ENCODED_BYTES_MIN..=self.encoded_file_bytes_max;
        encoding::is_made_here(coding)
            && request.version() == Version::Http11
            && sizes.contains(&original.source.stat.size)
            && (request.value(Field::Range).is_none() || !acceptable.takes(Coding::Identity))
    }

    /// What is known of a path, if it was looked at in this round or is found unchanged now.
    fn lookup(&mut self, path: &[u8], coding: Coding) -> Option<Lookup<F::File>> {
        let entry = self.cache.get(path, coding)?;
        if entry.checked != self.epoch {
            let holds = match &entry.lookup {
                Lookup::Present(made) => self.files.stat(&made.source.path) == Ok(made.source.stat),
                Lookup::Absent => self.files.stat(path) == Err(FileError::Absent),
            };
            if !holds {
                self.cache.remove(path, coding);
                return None;
            }
            entry.checked = self.epoch;
        }
        Some(match &entry.lookup {
            Lookup::Present(made) => Lookup::Present(Rc::clone(made)),
            Lookup::Absent => Lookup::Absent,
        })
    }

    /// The file as it is.
    fn original(
        &mut self,
        path: &[u8],
        now: SystemTime,
    ) -> Result<Rc<Representation<F::File>>, FileError> {
        match self.lookup(path, Coding::Identity) {
            Some(Lookup::Present(made)) => return Ok(made),
            Some(Lookup::Absent) => return Err(FileError::Absent),
            None => {}
        }
        let loaded = self.load(path, Coding::Identity, None, now);
        if loaded.as_ref().err() == Some(&FileError::Absent) {
            // Looked at again in each round like everything, so nothing has to settle first. What
            // is absent to us, but not to stat(2), is looked for anew each time.
            let entry = Entry::new(path, Coding::Identity, Lookup::Absent, self.epoch);
            self.cache.insert(entry);
        }
        loaded
    }

    /// The coding of `path` that lies beside it.
    fn sibling(
        &mut self,
        path: &[u8],
        coding: Coding,
        original: &Representation<F::File>,
        now: SystemTime,
    ) -> Result<Rc<Representation<F::File>>, FileError> {
        let counts = |stat: &Stat| {
            stat.kind == FileKind::File && stat.modified >= original.source.stat.modified
        };
        // What was made by encoding is under the same key.
        if let Some(Lookup::Present(made)) = self.lookup(path, coding)
            && *made.source.path != *path
            && counts(&made.source.stat)
        {
            return Ok(made);
        }
        // PendingResponse before it is opened: one that is too old stays where it is, and what was made in its
        // place stays known.
        if !counts(&self.files.stat(&sibling_of(path, coding))?) {
            return Err(FileError::Absent);
        }
        let made = self.load(path, coding, Some(original), now)?;
        match counts(&made.source.stat) {
            true => Ok(made),
            false => Err(FileError::Absent),
        }
    }

    /// In which codings of `path` something lies beside it. That is decided once for each state of
    /// their directory, which changes with every name in it. Whether it counts is not decided here:
    /// it may be edited in place, and so may the original, and only their own stats tell.
    fn siblings(&mut self, path: &[u8], now: SystemTime) -> [bool; Coding::ALL.len()] {
        let entry = self.cache.get(path, Coding::Identity);
        let lookup = entry.and_then(|entry| entry.siblings);
        if let Some(lookup) = lookup
            && lookup.checked == self.epoch
        {
            return lookup.present;
        }
        let directory = match path.iter().rposition(|b| *b == b'/') {
            Some(slash) => &path[..slash],
            None => &[],
        };
        let directory = self.files.stat(directory).ok();
        let present = match lookup {
            Some(lookup) if Some(lookup.directory) == directory => lookup.present,
            _ => self.look_for_siblings(path),
        };
        if let Some(directory) = directory.filter(|stat| is_settled(stat, now))
            && let Some(entry) = self.cache.get(path, Coding::Identity)
        {
            entry.siblings = Some(Siblings {
                directory,
                checked: self.epoch,
                present,
            });
        }
        present
    }

    fn look_for_siblings(&mut self, path: &[u8]) -> [bool; Coding::ALL.len()] {
        self.cost += Coding::ALL.len() as u32;
        Coding::ALL.map(|coding| {
            coding != Coding::Identity && self.files.stat(&sibling_of(path, coding)).is_ok()
        })
    }

    /// Reads a file or opens it, as `path` itself or as the coding of `original` that lies beside it,
    /// and keeps what came of it.
    fn load(
        &mut self,
        path: &[u8],
        coding: Coding,
        original: Option<&Representation<F::File>>,
        now: SystemTime,
    ) -> Result<Rc<Representation<F::File>>, FileError> {
        /// In steps of the budget: this makes half a dozen system calls, a step of its own none.
        const COST: u32 = 8;
        self.cost += COST;
        let file = sibling_of(path, coding);
        let (open, stat) = match self.files.open(&file) {
            // Those that are only held open to be at hand make room for one that is needed.
            Err(FileError::Exhausted) if self.cache.has_open_files() => {
                self.cache.close_files();
                self.files.open(&file)?
            }
            opened => opened?,
        };
        let mut intact = true;
        let beginning = |peek: &mut [u8]| self.files.read_at(&open, peek, 0).unwrap_or(0);
        let media_type = match original {
            Some(original) => original.source.media_type.clone(),
            None => media_type::of(path, beginning),
        };
        let content = match stat.size > self.cached_file_bytes_max {
            true => Content::File(Rc::new(open)),
            false => {
                let mut bytes = vec![0; stat.size as usize];
                let read = self.files.read_at(&open, &mut bytes, 0)?;
                bytes.truncate(read);
                // One and the same file all the while?
                intact = self.files.fstat(&open) == Ok(stat);
                Content::Memory(bytes.into())
            }
        };
        let source = Source {
            path: file,
            stat,
            varies: original.is_some() || media_type::is_compressible(&media_type),
            media_type,
            coding,
            own_file: true,
            content,
        };
        let made = Rc::new(Representation::new(source, now));
        if intact && is_settled(&stat, now) {
            let lookup = Lookup::Present(Rc::clone(&made));
            self.cache
                .insert(Entry::new(path, coding, lookup, self.epoch));
        } else {
            // What was there is older than what we have just seen.
            self.cache.remove(path, coding);
        }
        Ok(made)
    }
}

/// The path of the file in which a coding lies beside `path`; `path` itself for identity.
fn sibling_of(path: &[u8], coding: Coding) -> Box<[u8]> {
    let ending: &[u8] = match coding {
        Coding::Brotli => b".br",
        Coding::Zstd => b".zst",
        Coding::Gzip => b".gz",
        Coding::Identity => b"",
    };
    [path, ending].concat().into()
}
