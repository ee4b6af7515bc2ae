//! Floor 2, site: a look at the answer to a use. The answer is made anew by the site itself, with the same
//! selection as for a browser. So an index, a page without its ending, a coding that lies beside a file,
//! `404.html` and the rules count without being listed here.
//!
//! A coding beside a file is looked at by itself: the answer is made once without Accept-Encoding, and once
//! for each coding, while nothing is encoded.

use std::time::SystemTime;

use memchr::{memchr, memmem};

use super::digest::Digest;
use super::uses::Use;
use crate::http::{HeadLimits, HeadParser, Parsed, RequestHead, Status, field_values};
use crate::site::representation::is_settled;
use crate::site::stream::{BodySlice, Stream};
use crate::site::{Body, Files, Reply, Site};
use crate::sys::{FileKind, Stat};

/// The codings in which a file may lie beside the original.
const CODINGS: [&str; 3] = ["br", "gzip", "zstd"];

/// Files above this size are known by their stat alone.
const HASHED_BYTES_MAX: u64 = 16 << 20;

/// The known parts of an answer, as hashes; 0 stands for an unknown part.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Part {
    status: u16,
    /// Of the status and the fields, but for those that differ for each state of a file.
    head: u64,
    /// Of the entity tag, if the tag shows each change.
    tag: u64,
    /// Of the size and the time of a large file.
    stat: u64,
    pub content: u64,
}

impl Part {
    const fn is_complete(&self) -> bool {
        self.head == 0 || self.content != 0
    }

    fn differs_from(&self, known: &Part) -> bool {
        let content = match known.content != 0 && self.content != 0 {
            true => self.content != known.content,
            false => self.stat != known.stat,
        };
        self.head != known.head || content
    }
}

/// Where an answer comes from.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Origin {
    #[default]
    None,
    /// A file with another name, such as the page of a single-page app.
    Fallback,
    /// The file at the path, or the index of the directory.
    OwnFile,
}

/// The state of a use.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Seen {
    plain: Part,
    /// The siblings of the original, in the order of [`CODINGS`]; as last seen.
    coded: [Part; CODINGS.len()],
    pub origin: Origin,
    is_list: bool,
    /// Whether another part must be looked at for each coding.
    varies: bool,
}

impl Seen {
    /// The part with this number: the answer without a coding, and then one for each coding.
    pub fn part(&mut self, number: usize) -> &mut Part {
        match number.checked_sub(1) {
            None => &mut self.plain,
            Some(at) => &mut self.coded[at],
        }
    }

    /// The number of parts, once the first was looked at.
    pub fn parts(&self) -> usize {
        match self.varies {
            true => 1 + CODINGS.len(),
            false => 1,
        }
    }

    /// A hash of the status and the content.
    pub fn token(&self) -> u64 {
        let mut digest = Digest::default();
        digest.add(&self.plain.status.to_le_bytes());
        digest.add(&self.plain.content.to_le_bytes());
        for part in &self.coded {
            digest.add(&part.content.to_le_bytes());
        }
        digest.end()
    }

    pub fn is_list(&self) -> bool {
        self.is_list
    }

    /// Whether the content of each part is known.
    pub fn is_complete(&self) -> bool {
        self.plain.is_complete() && self.coded.iter().all(Part::is_complete)
    }

    /// Whether another state has another content than this one, or other fields. A coding that has gone
    /// is no change: the same content is sent in another way.
    pub fn differs_from(&self, known: &Seen) -> bool {
        let mut coded = self.coded.iter().zip(&known.coded);
        self.plain.differs_from(&known.plain)
            || coded.any(|(now, known)| now.head != 0 && now.differs_from(known))
    }

    /// Takes a later state in the place of this one.
    pub fn take(&mut self, later: Seen) {
        let known = std::mem::replace(self, later);
        for (now, known) in self.coded.iter_mut().zip(known.coded) {
            if now.head == 0 {
                *now = known;
            }
        }
    }

    /// Corrects a state that was seen just after a reply was made by what the reply itself says. A
    /// file that has just changed may have changed in between.
    pub fn take_served<F>(&mut self, reply: &Reply<F>, is_same_target: bool) {
        let status = class(reply.status);
        if is_same_target && status != self.plain.status {
            // The next look finds a difference.
            self.plain.content = 0;
            self.plain.head = u64::from(status);
        }
        if status != 200 || self.plain.tag != 0 || self.is_list {
            return;
        }
        let is_coded = field_values(&reply.head, "Content-Encoding")
            .next()
            .is_some();
        match &reply.body {
            Body::Bytes(bytes) if !is_coded => self.plain.content = Digest::of(bytes),
            Body::Owned(bytes) if !is_coded => self.plain.content = Digest::of(bytes),
            Body::Stream(stream) => {
                if let Some(bytes) = stream.original() {
                    self.plain.content = Digest::of(bytes);
                }
                if let Some(stat) = stream.stat().filter(|_| self.plain.content == 0) {
                    self.plain.stat = hash_of(stat);
                }
            }
            Body::Bytes(_) | Body::Owned(_) | Body::Part(..) | Body::Parts(..) => {}
        }
    }
}

/// Content that is being hashed.
#[derive(Debug)]
pub(super) struct Hashing<F> {
    stream: Stream<F>,
    digest: Digest,
    /// The sum of the hashes of names, for a list.
    names: u64,
    /// Of the directory, for a list, as it was before the names were read.
    stat: u64,
}

impl<F> Hashing<F> {
    /// The hash of the whole.
    pub fn end(self) -> u64 {
        match self.stream {
            Stream::Listing(_) => self.names.max(1),
            _ => self.digest.end(),
        }
    }
}

/// The status of a reply; of a part of a file, or of one that the client has, as of the whole file.
fn class(status: Status) -> u16 {
    match status {
        Status::PartialContent | Status::NotModified => 200,
        status => status.code(),
    }
}

/// A hash by which a reply is recognised, and whether the same hash means the same content.
pub(super) fn served<F>(reply: &Reply<F>) -> (u64, bool) {
    // The site itself has written the field, and no rule can change it.
    const NAME: &[u8] = b"\nETag: ";
    let tag = memmem::find(&reply.head, NAME).map(|at| {
        let value = &reply.head[at + NAME.len()..];
        &value[..memchr(b'\r', value).unwrap_or(value.len())]
    });
    let is_strong = !tag.is_some_and(|tag| tag.starts_with(b"W/"));
    let mut digest = Digest::default();
    digest.add(&class(reply.status).to_le_bytes());
    digest.add(tag.unwrap_or_default());
    (digest.end(), is_strong)
}

fn hash_of(stat: &Stat) -> u64 {
    let since = stat.modified.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.unwrap_or_default().as_nanos() as u64;
    let mut digest = Digest::default();
    digest.add(&stat.size.to_le_bytes());
    digest.add(&since.to_le_bytes());
    digest.end()
}

/// A hash of the status and the fields of a head, but for those that differ for each state of a file.
fn hash_of_head(head: &[u8]) -> u64 {
    const OF_STATE: [&[u8]; 4] = [
        b"etag:",
        b"last-modified:",
        b"content-length:",
        b"transfer-encoding:",
    ];
    let mut digest = Digest::default();
    for line in head.split(|b| *b == b'\n') {
        let begins = |name: &&[u8]| {
            line.get(..name.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(name))
        };
        if !OF_STATE.iter().any(begins) {
            digest.add(line);
        }
    }
    digest.end()
}

impl<F: Files> Site<F> {
    /// The bytes of content whose hash costs one unit of work.
    const BYTES_PER_WORK: usize = 1024;

    /// The bytes of a file that are read and hashed at once.
    const HASHED_AT_ONCE: u64 = 32 << 10;

    /// Makes the answer to a use anew, in the coding if one is given, without the script of live reload.
    /// Nothing is encoded for it, and nothing is noted.
    fn answer_again(
        &mut self,
        one: &Use,
        coding: Option<&str>,
        now: SystemTime,
    ) -> Option<Reply<F::File>> {
        const LIMITS: HeadLimits = HeadLimits {
            head_bytes_max: u16::MAX as usize,
            target_bytes_max: u16::MAX as usize,
            fields_max: 10,
        };
        let mut text = [b"GET ", &*one.path, b" HTTP/1.1\r\n", &one.fields].concat();
        if let Some(coding) = coding {
            text.extend_from_slice(format!("Accept-Encoding: {coding}\r\n").as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        let mut parser = HeadParser::default();
        let Ok(Parsed::Complete(head)) = parser.parse(&text, &LIMITS) else {
            return None;
        };
        let looked_up = self.looked_up;
        let encoded_file_bytes_max = std::mem::take(&mut self.encoded_file_bytes_max);
        self.is_looking = true;
        self.cost = 0;
        let reply = self.answer_plainly(&RequestHead::new(head, &text), now);
        self.is_looking = false;
        (self.looked_up, self.encoded_file_bytes_max) = (looked_up, encoded_file_bytes_max);
        Some(reply)
    }

    /// Looks at a part of a use, by its number, and puts it into `seen`. `known` is an earlier state, whose
    /// content is taken over if the tag is the same. Returns what is left to be hashed, and the work;
    /// `None` if there is no telling now.
    pub(super) fn look_at_part(
        &mut self,
        one: &Use,
        number: usize,
        known: &Part,
        seen: &mut Seen,
        now: SystemTime,
    ) -> Option<(Option<Hashing<F::File>>, u32)> {
        let coding = number.checked_sub(1).map(|at| CODINGS[at]);
        let reply = self.answer_again(one, coding, now)?;
        let mut work = reply.cost + 1;
        if reply.status == Status::ServiceUnavailable {
            return None;
        }
        let is_coded = field_values(&reply.head, "Content-Encoding").next();
        if coding.is_some_and(|coding| is_coded != Some(coding.as_bytes())) {
            return Some((None, work));
        }
        let is_strong = |tag: &&[u8]| !tag.starts_with(b"W/");
        let tag = field_values(&reply.head, "ETag").next().filter(is_strong);
        let mut looked = Part {
            status: class(reply.status),
            head: hash_of_head(&reply.head),
            tag: tag.map_or(0, Digest::of),
            ..Part::default()
        };
        if coding.is_none() {
            seen.origin = self.origin_of(one, &reply);
            // A page to show is sent with the script, and never as it lies beside the file in a coding.
            let vary = field_values(&reply.head, "Vary").next();
            let vary = vary.unwrap_or_default();
            let by_coding = memmem::find(vary, b"Accept-Encoding").is_some();
            seen.varies = by_coding && is_coded.is_none() && !one.is_navigation;
            seen.is_list = matches!(reply.body, Body::Stream(Stream::Listing(_)));
            work += 2;
        }
        let is_redirect = (300..400).contains(&looked.status);
        if reply.is_sentence || is_redirect {
            looked.content = 1;
            *seen.part(number) = looked;
            return Some((None, work));
        }
        match &reply.body {
            Body::Stream(Stream::Listing(list)) => {
                // A name that comes or goes shows in the stat of the directory.
                let stat = self.files.stat(list.path()).ok()?;
                looked.stat = hash_of(&stat);
                looked.tag = match is_settled(&stat, now) {
                    true => looked.stat,
                    false => 0,
                };
            }
            Body::Stream(stream) => {
                if let Some(stat) = stream.stat() {
                    looked.stat = hash_of(stat);
                    if stat.size > HASHED_BYTES_MAX {
                        looked.content = looked.stat;
                    }
                }
            }
            Body::Bytes(_) | Body::Owned(_) | Body::Part(..) | Body::Parts(..) => {}
        }
        if looked.tag != 0 && looked.tag == known.tag && looked.head == known.head {
            looked.content = known.content;
        }
        if looked.content != 0 {
            *seen.part(number) = looked;
            return Some((None, work));
        }
        let hashing = match reply.body {
            Body::Bytes(bytes) => {
                work += (bytes.len() / Self::BYTES_PER_WORK) as u32;
                looked.content = Digest::of(&bytes);
                None
            }
            Body::Owned(bytes) => {
                work += (bytes.len() / Self::BYTES_PER_WORK) as u32;
                looked.content = Digest::of(&bytes);
                None
            }
            // Only a request with a range gets these.
            Body::Part(..) | Body::Parts(..) => None,
            Body::Stream(stream) => Some(Hashing {
                stream,
                digest: Digest::default(),
                names: 0,
                stat: looked.stat,
            }),
        };
        *seen.part(number) = looked;
        Some((hashing, work))
    }

    /// Where an answer comes from. It is asked of the files and not of the status: without an index, a
    /// directory may be listed.
    fn origin_of(&self, one: &Use, reply: &Reply<F::File>) -> Origin {
        let is_file =
            |path: &[u8]| matches!(self.files.stat(path), Ok(stat) if stat.kind == FileKind::File);
        let has_file = one.file.as_ref().is_some_and(|file| match **file {
            [] | [.., b'/'] => is_file(&[file, &*self.index].concat()),
            _ => is_file(file) || is_file(&[file, &b".html"[..]].concat()),
        });
        match reply.is_fallback && reply.status.code() < 400 {
            _ if has_file => Origin::OwnFile,
            true => Origin::Fallback,
            false => Origin::None,
        }
    }

    /// Looks at a use. A file that is not in memory is hashed only as far as the work stays below `work_max`.
    /// Returns the state, the path that a rule led to, and the work.
    pub(super) fn glance(
        &mut self,
        one: &Use,
        work_max: u32,
        now: SystemTime,
    ) -> (Seen, Box<[u8]>, u32) {
        let (mut seen, mut work) = (Seen::default(), 0);
        self.led_to.clear();
        let none = Part::default();
        // The first part says whether there are others.
        let mut number = 0;
        while number == 0 || number < seen.parts() {
            let looked = self.look_at_part(one, number, &none, &mut seen, now);
            let (mut hashing, cost) = looked.unwrap_or((None, 1));
            work += cost;
            while work < work_max
                && let Some(mut content) = hashing.take()
            {
                let (is_end, cost) = self.hash_more(&mut content, now);
                work += cost;
                match is_end {
                    Some(true) => seen.part(number).content = content.end(),
                    Some(false) => hashing = Some(content),
                    None => {}
                }
            }
            number += 1;
        }
        (seen, self.led_to.as_slice().into(), work)
    }

    /// Hashes some more of a content. Returns whether that was all, or `None` if the file has changed
    /// meanwhile, and the work.
    pub(super) fn hash_more(
        &mut self,
        hashing: &mut Hashing<F::File>,
        now: SystemTime,
    ) -> (Option<bool>, u32) {
        if let Stream::Listing(list) = &hashing.stream {
            let (mut sum, mut names) = (hashing.names, 0);
            let more = self.next_names(list, &mut |name| {
                sum = sum.wrapping_add(Digest::of(name));
                names += 1;
            });
            hashing.names = sum;
            let stat = self.files.stat(list.path());
            let is_same = stat.is_ok_and(|stat| hash_of(&stat) == hashing.stat);
            let is_end = more.ok().map(|more| !more).filter(|_| is_same);
            return (is_end, 2 + names / 8);
        }
        let mut buffer = Vec::new();
        let stream = &mut hashing.stream;
        if stream.is_at_end() {
            return (Some(true), 1);
        }
        let (slice, work) = self.next_slice(stream, Self::HASHED_AT_ONCE, &mut buffer, now);
        match slice {
            BodySlice::Written(_) => {}
            BodySlice::File { file, at, len } => {
                buffer.resize(len as usize, 0);
                if self.files.read_at(&file, &mut buffer, at) != Ok(buffer.len()) {
                    return (None, work);
                }
            }
            BodySlice::Broken => return (None, work),
        }
        hashing.digest.add(&buffer);
        let work = work + (buffer.len() / Self::BYTES_PER_WORK) as u32;
        let is_end = hashing.stream.is_at_end();
        match is_end && !self.may_complete(&mut hashing.stream, true) {
            true => (None, work),
            false => (Some(is_end), work),
        }
    }
}
