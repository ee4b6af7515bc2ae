//! Floor 2, site: the list of a directory that has no index. A list of few entries is a
//! representation like a file, with an entity tag, a length, and a coding if one is asked for.
//! A list of many is read, sorted and sent slice by slice, and other clients do not wait.
//!
//! Names that begin with a dot are not listed, and neither are links that lead out of the root:
//! a request for one of them finds nothing either.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};

use sha1::{Digest, Sha1};

use super::pages::{self, Listed};
use super::{Body, FileError, Files, Reply, Site, Stream, TagPlace};
use crate::http::{
    Coding, EntityTag, Form, Method, Precondition, RequestHead, ResponseHead, SitePath, Status,
    Validators, Version, precondition,
};
use crate::sys::FileKind;

/// A list in the middle of being read and sent.
#[derive(Debug)]
pub(crate) struct Listing<F> {
    /// The path of the directory, beneath the root, with a slash at the end; empty for the root.
    path: Box<[u8]>,
    form: Form,
    /// The tag that a page has for live reload; empty for none.
    pub(super) tag: Box<str>,
    /// `None` after the last name.
    directory: Option<F>,
    /// The names that were read, and not looked at yet.
    names: Vec<Box<[u8]>>,
    /// The entries so far, in the order of the list.
    entries: BTreeSet<Listed>,
    /// The number of entries sent so far; `None` after the last slice.
    sent: Option<usize>,
    /// Whether each slice is a chunk. The end of the connection is the end of the body otherwise.
    is_chunked: bool,
    /// The number of names and entries, which the site adds up for all long lists at work.
    held: Rc<Cell<usize>>,
}

/// In the order of the list. Two entries of a directory differ in their names.
impl PartialOrd for Listed {
    fn partial_cmp(&self, other: &Listed) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Listed {
    fn cmp(&self, other: &Listed) -> Ordering {
        pages::order(self, other)
    }
}

impl<F> Listing<F> {
    /// Whether the last slice has been returned.
    pub fn is_at_end(&self) -> bool {
        self.sent.is_none()
    }

    /// The memory of the names and entries, in bytes, as an estimate.
    pub fn held_bytes(&self) -> usize {
        /// For a name of the usual length, with its place in the order.
        const ENTRY_BYTES: usize = 200;
        self.held.get() * ENTRY_BYTES
    }

    /// The path of the directory, beneath the root.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Whether the end of the connection is the end of the body.
    pub fn ends_with_connection(&self) -> bool {
        !self.is_chunked
    }

    /// Whether every entry is known.
    fn is_complete(&self) -> bool {
        self.directory.is_none() && self.names.is_empty()
    }

    /// A reply that is about the list, and known as a page of the server.
    fn reply(&self, status: Status, head: ResponseHead, body: Body<F>) -> Reply<F> {
        Reply {
            form: self.form,
            ..Reply::new(status, head, body)
        }
    }

    fn note_held(&self) {
        self.held.set(self.names.len() + self.entries.len());
    }

    /// Appends the part before the entries.
    fn begin(&self, out: &mut Vec<u8>) {
        match self.form {
            Form::Json => pages::json_begin(out, &self.path),
            Form::Html | Form::Text => {
                pages::listing_begin(out, &self.path);
                if !self.tag.is_empty() {
                    *out = TagPlace::find(out, None).insert(&self.tag, out);
                }
            }
        }
    }

    /// Appends the next `most` entries, and the part behind the last one.
    fn append(&mut self, most: usize, out: &mut Vec<u8>) {
        let mut number = self.sent.unwrap_or_default();
        let end = number.saturating_add(most);
        while number < end
            && let Some(entry) = self.entries.pop_first()
        {
            match self.form {
                Form::Json => pages::json_row(out, &entry, number),
                Form::Html | Form::Text => pages::listing_row(out, &entry, number),
            }
            number += 1;
        }
        self.sent = match self.entries.is_empty() {
            true => None,
            false => Some(number),
        };
        if self.is_at_end() {
            match self.form {
                Form::Json => pages::json_end(out),
                Form::Html | Form::Text => pages::listing_end(out, number),
            }
        }
    }
}

impl<F: Files> Site<F> {
    /// The number of entries that a slice looks at, or sends. Each look takes one to three system calls.
    const LISTED_PER_SLICE: usize = 64;

    /// The cost of a look at an entry, in units of work. Half of it is for its place in the order.
    const LOOK_WORK: u32 = 5;

    /// While long lists hold more entries than these, no other one is begun.
    /// Over twice as many, all but the oldest are broken off.
    const LISTED_MAX: usize = 100_000;

    /// The number of reads beyond those for [`Limits::listed_at_once`](crate::config::Limits), before a
    /// list counts as long: a directory may have many names that are not listed.
    const READS_MAX: usize = 8;

    /// The least length of a list that is compressed.
    const COMPRESSED_BYTES_MIN: usize = 1024;

    /// Answers with the list of the directory at `path`, which ends in a slash.
    ///
    /// # Errors
    /// [`FileError`], `Absent` if no directory is there.
    pub(super) fn list(
        &mut self,
        path: &SitePath<'_>,
        request: &RequestHead<'_>,
    ) -> Result<Reply<F::File>, FileError> {
        let directory = self.files.open_directory(path.bytes())?;
        let mut listing = Listing {
            path: path.bytes().into(),
            form: match Form::from_request(request) {
                Form::Json => Form::Json,
                Form::Html | Form::Text => Form::Html,
            },
            tag: Box::default(),
            directory: Some(directory),
            names: Vec::new(),
            entries: BTreeSet::new(),
            sent: Some(0),
            is_chunked: request.version() == Version::Http11,
            held: Rc::default(),
        };
        if self.is_looking {
            // Of a list, only the names are looked at.
            let head = described(list_head(Status::Ok), listing.form);
            let mut reply = listing.reply(Status::Ok, head, Body::empty());
            reply.body = Body::Stream(Stream::Listing(Box::new(listing)));
            return Ok(reply);
        }
        for _ in 0..Self::READS_MAX + self.listed_at_once / Self::LISTED_PER_SLICE {
            if listing.is_complete() || listing.entries.len() > self.listed_at_once {
                break;
            }
            self.cost += self.read_entries(&mut listing)?;
        }
        match listing.is_complete() {
            true => Ok(self.whole_list(listing, request)),
            false => Ok(self.long_list(listing, request)),
        }
    }

    /// Passes some more names of a list that was just begun to `each`, in no order. Returns whether there
    /// may be others.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(super) fn next_names(
        &self,
        listing: &Listing<F::File>,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, FileError> {
        let is_root = listing.path.is_empty();
        let Some(directory) = &listing.directory else {
            return Ok(false);
        };
        self.files.read_names(directory, &mut |name| {
            if self.is_listed(name, is_root) {
                each(name);
            }
        })
    }

    /// Looks at some names of the directory, or reads some if there is none left. Returns the work.
    ///
    /// # Errors
    /// If the directory cannot be read.
    fn read_entries(&self, listing: &mut Listing<F::File>) -> Result<u32, FileError> {
        if listing.names.is_empty()
            && let Some(directory) = &listing.directory
        {
            let (names, is_root) = (&mut listing.names, listing.path.is_empty());
            let more = self.files.read_names(directory, &mut |name| {
                if self.is_listed(name, is_root) {
                    names.push(name.into());
                }
            })?;
            if !more {
                listing.directory = None;
            }
            return Ok(1 + listing.names.len() as u32 / 8);
        }
        let mut looks = 0;
        let mut path = listing.path.to_vec();
        while looks < Self::LISTED_PER_SLICE
            && let Some(name) = listing.names.pop()
        {
            looks += 1;
            path.truncate(listing.path.len());
            path.extend_from_slice(&name);
            // A link that leads out, a device, or a file that has just gone.
            let Ok(stat) = self.files.stat(&path) else {
                continue;
            };
            if stat.kind != FileKind::Other {
                listing.entries.insert(Listed {
                    name,
                    is_directory: stat.kind == FileKind::Directory,
                    size: stat.size,
                    modified: stat.modified,
                });
            }
        }
        Ok(looks as u32 * Self::LOOK_WORK)
    }

    /// Whether an entry of this name is listed: a request for the name may find it.
    pub(super) fn is_listed(&self, name: &[u8], is_root: bool) -> bool {
        let is_well_known = is_root && name == b".well-known";
        let is_shown = self.serves_hidden || !name.starts_with(b".") || is_well_known;
        is_shown && !(is_root && self.is_of_rules(name))
    }

    /// Answers with a list that is complete, as with a file.
    fn whole_list(
        &mut self,
        mut listing: Listing<F::File>,
        request: &RequestHead<'_>,
    ) -> Reply<F::File> {
        let mut page = Vec::new();
        listing.begin(&mut page);
        let rows = listing.entries.len();
        listing.append(usize::MAX, &mut page);
        self.cost += rows as u32;
        let acceptable = self.acceptable(request);
        let is_long = page.len() >= Self::COMPRESSED_BYTES_MIN;
        let coding = acceptable.in_order().find(|coding| match coding {
            Coding::Gzip => is_long,
            Coding::Identity => true,
            Coding::Brotli | Coding::Zstd => false,
        });
        let coding = coding.unwrap_or(Coding::Identity);
        if coding == Coding::Gzip {
            self.cost += (page.len() / 128) as u32;
            page = self.encoders.whole(coding, &page);
        }
        let edition = self.edition.0.to_le_bytes();
        let digest = Sha1::new().chain_update(&page).chain_update(edition);
        let digest = digest.finalize();
        let tag: String = digest[..8].iter().map(|b| format!("{b:02x}")).collect();
        let validators = Validators {
            tag: EntityTag::new(&tag, false),
            modified: None,
        };
        match precondition(request, &validators) {
            // A part of a list is of no use, so there are no ranges.
            Precondition::Holds { .. } => {}
            Precondition::NotModified => {
                let head = list_head(Status::NotModified).field("ETag", validators.tag.as_str());
                return listing.reply(Status::NotModified, head, Body::empty());
            }
            Precondition::Failed => {
                let status = Status::PreconditionFailed;
                return Reply::plain(status, "the list is not the one that was meant");
            }
        }
        let mut head =
            described(list_head(Status::Ok), listing.form).field("ETag", validators.tag.as_str());
        if let Some(token) = coding.token() {
            head = head.field("Content-Encoding", token);
        }
        let head = head.field("Content-Length", page.len());
        listing.reply(Status::Ok, head, Body::Bytes(page.into()))
    }

    /// Begins to answer with a list that is not complete: in chunks, because the length is not known
    /// in advance. HTTP/1.0 has no chunks, and the end of the connection ends the body there (RFC 9112
    /// §6.3, rule 8).
    fn long_list(
        &mut self,
        listing: Listing<F::File>,
        request: &RequestHead<'_>,
    ) -> Reply<F::File> {
        self.listing.retain(|held| held.strong_count() > 0);
        let held = self.listing.iter().filter_map(Weak::upgrade);
        if held.map(|held| held.get()).sum::<usize>() > Self::LISTED_MAX {
            let sentence = "too many long lists are being made now, try again";
            return Reply::plain(Status::ServiceUnavailable, sentence);
        }
        listing.note_held();
        let mut head = described(list_head(Status::Ok), listing.form);
        if listing.is_chunked {
            head = head.field("Transfer-Encoding", "chunked");
        }
        if request.method() == Method::Head {
            return listing.reply(Status::Ok, head, Body::empty());
        }
        self.listing.push(Rc::downgrade(&listing.held));
        let mut reply = listing.reply(Status::Ok, head, Body::empty());
        reply.body = Body::Stream(Stream::Listing(Box::new(listing)));
        reply
    }

    /// Reads some more of a directory, or, when every entry is known, appends some to `out`, as a chunk
    /// (RFC 9112 §7.1) if the client knows chunks. Returns the length of the content, and the work.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub(super) fn next_of_list(
        &self,
        listing: &mut Listing<F::File>,
        out: &mut Vec<u8>,
    ) -> Result<(usize, u32), FileError> {
        if !listing.is_complete() {
            // Lists that were small when they were begun may grow together. The oldest may go on.
            let held = || self.listing.iter().filter_map(Weak::upgrade);
            let is_oldest = held()
                .next()
                .is_some_and(|held| Rc::ptr_eq(&held, &listing.held));
            let sum: usize = held().map(|held| held.get()).sum();
            if sum > 2 * Self::LISTED_MAX && !is_oldest {
                return Err(FileError::Exhausted);
            }
            let work = self.read_entries(listing)?;
            listing.note_held();
            return Ok((0, work));
        }
        let mut rows = Vec::new();
        if listing.sent == Some(0) {
            listing.begin(&mut rows);
        }
        listing.append(Self::LISTED_PER_SLICE, &mut rows);
        listing.note_held();
        if !listing.is_chunked {
            out.extend_from_slice(&rows);
            return Ok((rows.len(), Self::LISTED_PER_SLICE as u32));
        }
        out.extend_from_slice(format!("{:x}\r\n", rows.len()).as_bytes());
        out.extend_from_slice(&rows);
        out.extend_from_slice(b"\r\n");
        if listing.is_at_end() {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        Ok((rows.len(), Self::LISTED_PER_SLICE as u32))
    }
}

/// A head with the fields for caches. Another Accept may get another form, and another Accept-Encoding
/// another coding.
fn list_head(status: Status) -> ResponseHead {
    ResponseHead::new(status)
        .field("Cache-Control", "no-cache")
        .field("Vary", "Accept, Accept-Encoding")
}

/// Adds the fields that say how to read a list.
fn described(head: ResponseHead, form: Form) -> ResponseHead {
    let head = head
        .field("Content-Type", form.media_type())
        .field("X-Content-Type-Options", "nosniff");
    match form {
        Form::Html => head.field("Content-Security-Policy", pages::LISTING_POLICY),
        Form::Json | Form::Text => head,
    }
}
