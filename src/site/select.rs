//! Floor 2, site: the selection of a representation for a request (RFC 9110 §12.1). The candidates
//! are the original file, a *sibling* (a coding that lies beside the original, such as `app.js.br`
//! beside `app.js`), and the output of an encoder, made for an earlier request or for this request.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::SystemTime;

use super::cache::{Entry, Lookup, Siblings};
use super::encoding;
use super::freshness::Freshness;
use super::representation::{Content, Representation, Sample, Source, Varies, is_settled};
use super::{FileError, Files, Site, media_type};
use crate::http::{Acceptable, Coding, Field, RequestHead, Version};
use crate::sys::{FileKind, Stat};

/// The outcome of a selection.
#[derive(Debug)]
pub(super) enum Selected<F> {
    /// This representation is selected, and available.
    Available(Rc<Representation<F>>),
    /// The original must be encoded in this coding first.
    NeedsEncoding(Rc<Representation<F>>, Coding),
    /// The client accepts no available coding (406).
    NotAcceptable,
    /// The client accepts a coding that could be made, but no encoder may be started now (503).
    Busy,
}

/// Files shorter than this are not worth encoding.
const ENCODED_BYTES_MIN: u64 = 1024;

/// The number of siblings in another coding that are remembered for the log.
const UNFIT_MAX: usize = 16;

impl<F: Files> Site<F> {
    /// Selects a representation of the file at another path than the one of the request. Never inlined,
    /// because nearly every request needs [`select`](Site::select) alone.
    #[inline(never)]
    pub(super) fn select_other(
        &mut self,
        path: &[u8],
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Result<Selected<F::File>, FileError> {
        self.select(path, request, now)
    }

    /// Selects a representation of the file at `path`.
    #[inline(always)]
    pub(super) fn select(
        &mut self,
        path: &[u8],
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Result<Selected<F::File>, FileError> {
        let original = self.original(path, now)?;
        if original.source.coding != Coding::Identity {
            // The file itself is in a coding, and there is no other form. A client that does not
            // take the coding gets the file all the same, which RFC 9110 §12.5.3 allows.
            return Ok(Selected::Available(original));
        }
        if !request.has_any(&[Field::AcceptEncoding]) {
            return Ok(Selected::Available(original));
        }
        self.negotiate(path, original, request, now)
    }

    /// Selects among the codings that a request accepts.
    fn negotiate(
        &mut self,
        path: &[u8],
        original: Rc<Representation<F::File>>,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Result<Selected<F::File>, FileError> {
        let acceptable = self.acceptable(request);
        if !original.source.varies.by_coding || !acceptable.wants_coding() {
            return Ok(match acceptable.takes(Coding::Identity) {
                true => Selected::Available(original),
                false => Selected::NotAcceptable,
            });
        }
        let siblings = self.siblings(path, now);
        // Without a sibling and an encoder, the order of the codings makes no difference.
        if !siblings.contains(&true)
            && !self.is_encodable(&original)
            && acceptable.takes(Coding::Identity)
        {
            return Ok(Selected::Available(original));
        }
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
                // The output of an earlier encoder may be cached. The same key may also hold a
                // sibling that is too old to count, so the path must match.
                if let Some(Lookup::Present(made)) = self.lookup(path, coding, now)
                    && *made.source.path == *path
                {
                    return Ok(Selected::Available(made));
                }
                let is_needed = !acceptable.takes(Coding::Identity);
                if self.may_encode(path, coding, is_needed) {
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

    /// The codings that a request accepts. Nearly every request has the same Accept-Encoding as the one
    /// before, and the comparison costs a twentieth of the reading.
    pub(super) fn acceptable(&mut self, request: &RequestHead<'_>) -> Acceptable {
        let mut values = request.values(Field::AcceptEncoding);
        let (Some(value), None) = (values.next(), values.next()) else {
            return Acceptable::from_request(request);
        };
        let (last, acceptable) = &mut self.last_acceptable;
        if last != value {
            *acceptable = Acceptable::from_request(request);
            value.clone_into(last);
        }
        *acceptable
    }

    /// Whether an encoder could make a coding of the original, and the coding would serve this
    /// request. Of brotli and gzip with the same weight, only gzip is made, because it takes less
    /// time and gives about the same size (see [`encoding`]). For a range request it would not: before a coding is complete, the place of a range
    /// in it is unknown. But Range is optional (§14.2): the field is ignored for a client that
    /// refuses identity. HTTP/1.0 has no chunks to send the coding in.
    fn is_worth_encoding(
        &self,
        original: &Representation<F::File>,
        coding: Coding,
        acceptable: &Acceptable,
        request: &RequestHead<'_>,
    ) -> bool {
        let is_gzip_better =
            coding == Coding::Brotli && acceptable.weighs_equally(coding, Coding::Gzip);
        encoding::is_made_here(coding)
            && !is_gzip_better
            && request.version() == Version::Http11
            && self.is_encodable(original)
            && (request.value(Field::Range).is_none() || !acceptable.takes(Coding::Identity))
    }

    /// Whether the size of the original is worth an encoder.
    fn is_encodable(&self, original: &Representation<F::File>) -> bool {
        self.encoded_sizes().contains(&original.source.stat.size)
    }

    /// The sizes in bytes that are worth an encoder.
    pub(super) fn encoded_sizes(&self) -> RangeInclusive<u64> {
        ENCODED_BYTES_MIN..=self.encoded_file_bytes_max
    }

    /// The cached outcome for a path, if the entry was checked in this epoch or is checked now with
    /// success. An entry that no longer holds is removed.
    #[inline(never)]
    fn lookup(&mut self, path: &[u8], coding: Coding, now: SystemTime) -> Option<Lookup<F::File>> {
        self.look_up(path, coding, now)
    }

    /// Does the same for nearly every request, and is inlined.
    #[inline(always)]
    fn look_up(&mut self, path: &[u8], coding: Coding, now: SystemTime) -> Option<Lookup<F::File>> {
        let found = self.checked(path, coding, now);
        self.looked_up[usize::from(found.is_some())] += 1;
        found
    }

    #[inline(always)]
    fn checked(&mut self, path: &[u8], coding: Coding, now: SystemTime) -> Option<Lookup<F::File>> {
        let entry = self.cache.get(path, coding)?;
        if entry.checked != self.epoch {
            let stat = self.files.stat_at(&entry.place);
            let holds = match &entry.lookup {
                Lookup::Present(made) => stat == Ok(made.source.stat),
                Lookup::Absent => stat == Err(FileError::Absent),
            };
            if !holds {
                self.cache.remove(path, coding);
                return None;
            }
            entry.checked = self.epoch;
            // The entry was made before the second of the file's modification was over.
            if let Lookup::Present(made) = &entry.lookup
                && let Some(dated) = made.dated(now)
            {
                let dated = Rc::new(dated);
                let lookup = Lookup::Present(Rc::clone(&dated));
                self.remember(path, coding, lookup, self.epoch);
                return Some(Lookup::Present(dated));
            }
        }
        Some(match &entry.lookup {
            Lookup::Present(made) => Lookup::Present(Rc::clone(made)),
            Lookup::Absent => Lookup::Absent,
        })
    }

    /// The file itself, without a coding.
    #[inline]
    pub(super) fn original(
        &mut self,
        path: &[u8],
        now: SystemTime,
    ) -> Result<Rc<Representation<F::File>>, FileError> {
        match self.look_up(path, Coding::Identity, now) {
            Some(Lookup::Present(made)) => Ok(made),
            Some(Lookup::Absent) => Err(FileError::Absent),
            None => self.load_original(path, now),
        }
    }

    /// Loads a file that is not cached. If no file is there, that is cached.
    #[cold]
    #[inline(never)]
    fn load_original(
        &mut self,
        path: &[u8],
        now: SystemTime,
    ) -> Result<Rc<Representation<F::File>>, FileError> {
        let loaded = self.load(path, Coding::Identity, None, now);
        if loaded.as_ref().err() == Some(&FileError::Absent) {
            // The absence is checked in each epoch like every entry, so nothing has to be settled
            // first. If `open` reports a file as absent and stat(2) finds one (a link that leads
            // out of the root, a device), the check fails, and the file is opened anew.
            self.remember(path, Coding::Identity, Lookup::Absent, self.epoch);
        }
        loaded
    }

    /// Puts the outcome for a path into the cache. `checked` is the epoch in which the file was looked at.
    pub(super) fn remember(
        &mut self,
        path: &[u8],
        coding: Coding,
        lookup: Lookup<F::File>,
        checked: u64,
    ) {
        let place = match &lookup {
            Lookup::Present(made) => self.files.place(&made.source.path),
            Lookup::Absent => self.files.place(path),
        };
        let entry = Entry::new(path, coding, lookup, (place, checked));
        self.cache.insert(entry);
    }

    /// The sibling of `path` in this coding. A sibling counts only if it is a regular file, not
    /// older than the original, and [may be in the coding](encoding::may_be_in).
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
        // The same key may hold the output of an encoder, so the path must differ.
        if let Some(Lookup::Present(made)) = self.lookup(path, coding, now)
            && *made.source.path != *path
            && counts(&made.source.stat)
        {
            return Ok(made);
        }
        // The stat is taken before the sibling is opened. Loading a sibling that is too old would
        // replace the output of an encoder that is cached in its place.
        let stat = self.files.stat(&sibling_of(path, coding))?;
        let entry = self.cache.get(path, Coding::Identity);
        let is_unfit = entry.is_some_and(|entry| entry.unfit.contains(&(coding, stat)));
        if !counts(&stat) || is_unfit {
            return Err(FileError::Absent);
        }
        let made = self.load(path, coding, Some(original), now)?;
        match counts(&made.source.stat) {
            true => Ok(made),
            false => Err(FileError::Absent),
        }
    }

    /// The codings in which a sibling of `path` exists. The directory is searched once for each of
    /// its states: its stat changes with each name that is added or removed. Whether a sibling
    /// counts is not decided here: an edit in place, of the sibling or of the original, shows only
    /// in the stat of the edited file.
    fn siblings(&mut self, path: &[u8], now: SystemTime) -> [bool; Coding::ALL.len()] {
        let entry = self.cache.get(path, Coding::Identity);
        let mut lookup = entry.and_then(|entry| entry.siblings.as_mut());
        if let Some(lookup) = &lookup
            && lookup.checked == self.epoch
        {
            return lookup.present;
        }
        let directory = match path.iter().rposition(|b| *b == b'/') {
            Some(slash) => &path[..slash],
            None => &[],
        };
        let directory = self.files.stat(directory).ok();
        if let Some(lookup) = &mut lookup
            && Some(lookup.directory) == directory
        {
            lookup.checked = self.epoch;
            return lookup.present;
        }
        let present = self.look_for_siblings(path);
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

    /// Opens the file at `path`, or its sibling in `coding` if an `original` is given. A small file
    /// is read into memory, and read again if it changed meanwhile. The representation is cached,
    /// unless the file is not settled. A sibling that is not in its coding counts as absent.
    fn load(
        &mut self,
        path: &[u8],
        coding: Coding,
        original: Option<&Representation<F::File>>,
        now: SystemTime,
    ) -> Result<Rc<Representation<F::File>>, FileError> {
        /// In steps of the budget. Loading a file makes half a dozen system calls; an ordinary step
        /// makes none.
        const COST: u32 = 8;
        /// The number of times that a small file is read. A file that changes during each read, of
        /// a few microseconds, is written all the time.
        const READS_MAX: u32 = 8;
        self.cost += COST;
        let file = sibling_of(path, coding);
        let (open, mut stat) = match self.files.open(&file) {
            // The files held open by the cache make room for the file that is needed now.
            Err(FileError::Exhausted) if self.cache.has_open_files() => {
                self.cache.close_files();
                self.files.open(&file)?
            }
            opened => opened?,
        };
        let mut reads = 0;
        let mut content = loop {
            if stat.size > self.cached_file_bytes_max {
                break Content::File(Rc::new(open), Sample::default());
            }
            if reads == READS_MAX {
                return Err(FileError::Changing);
            }
            reads += 1;
            let mut bytes = vec![0; stat.size as usize];
            let read = self.files.read_at(&open, &mut bytes, 0)?;
            bytes.truncate(read);
            // If the file has changed since its stat was taken, the bytes may be half of each
            // version, and the stat is not the stat of these bytes.
            match self.files.fstat(&open) {
                Ok(after) if after == stat => break Content::Memory(bytes.into()),
                Ok(after) => stat = after,
                Err(_) => {}
            }
            self.cost += COST;
        };
        let mut buffer = [0; media_type::BEGINNING_BYTES];
        let beginning = match &mut content {
            Content::Memory(bytes) => &bytes[..bytes.len().min(buffer.len())],
            Content::File(open, sample) => {
                let read = self.files.read_at(open, &mut buffer, 0)?;
                *sample = self.sample(open, &buffer[..read], stat.size)?;
                &buffer[..read]
            }
        };
        if original.is_some() && !encoding::may_be_in(coding, stat.size, beginning) {
            // Remembered with its stat, because a look at each request would read the file again.
            if is_settled(&stat, now)
                && let Some(entry) = self.cache.get(path, Coding::Identity)
            {
                entry.unfit.retain(|(other, _)| *other != coding);
                entry.unfit.push((coding, stat));
                self.unfit.push(file);
                self.unfit.truncate(UNFIT_MAX);
            }
            return Err(FileError::Absent);
        }
        let media_type = match original {
            Some(original) => original.source.media_type.clone(),
            None => media_type::of(path, beginning),
        };
        let own_coding = match original {
            Some(_) => coding,
            None => media_type::coding_of(path, stat.size, beginning),
        };
        let varies = Varies {
            by_coding: match (original, own_coding) {
                (None, Coding::Identity) => media_type::is_compressible(&media_type),
                (None, _) => false,
                (Some(_), _) => true,
            },
            by_navigation: self.live.is_some() && media_type.starts_with("text/html"),
        };
        let source = Source {
            path: file,
            stat,
            varies,
            freshness: Freshness::of(path, self.max_age),
            edition: self.edition,
            media_type,
            coding: own_coding,
            own_file: true,
            content,
        };
        let made = Rc::new(Representation::new(source, now));
        if is_settled(&stat, now) {
            let lookup = Lookup::Present(Rc::clone(&made));
            self.remember(path, coding, lookup, self.epoch);
        } else {
            // The file just read is newer than the cached entry, if any.
            self.cache.remove(path, coding);
        }
        Ok(made)
    }
}

/// The path of the sibling of `path` in this coding; for identity, `path` itself.
fn sibling_of(path: &[u8], coding: Coding) -> Box<[u8]> {
    let ending: &[u8] = match coding {
        Coding::Brotli => b".br",
        Coding::Zstd => b".zst",
        Coding::Gzip => b".gz",
        Coding::Identity => b"",
    };
    [path, ending].concat().into()
}
