//! Floor 3, site: one form in which a file can be sent, with everything about it that does not depend
//! on the request: its media type, its coding, its validators (RFC 9110 §8), its ready-made heads.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::http::{Coding, EntityTag, HttpDate, ResponseHead, Status, Validators, whole_seconds};
use crate::sys::Stat;

/// A file in a coding, with everything that its answers need and that no request changes.
#[derive(Debug)]
pub(super) struct Representation<F> {
    pub source: Source<F>,
    pub validators: Validators,
    /// The heads of 200 and 304, without their ends.
    pub ok: Rc<[u8]>,
    pub not_modified: Rc<[u8]>,
}

/// Where the bytes are.
#[derive(Debug)]
pub(super) enum Content<F> {
    /// In memory, all of them.
    Memory(Rc<[u8]>),
    /// In an open file, from its beginning: as many bytes as its size was.
    File(Rc<F>),
}

impl<F> Content<F> {
    pub fn share(&self) -> Content<F> {
        match self {
            Content::Memory(bytes) => Content::Memory(Rc::clone(bytes)),
            Content::File(file) => Content::File(Rc::clone(file)),
        }
    }
}

/// The facts that a representation is made from.
#[derive(Debug)]
pub(super) struct Source<F> {
    /// The path of the file that was read or encoded: for a sibling, the path of the sibling.
    pub path: Box<[u8]>,
    /// What stat(2) said of this file.
    pub stat: Stat,
    /// The media type of the content, without its coding.
    pub media_type: Cow<'static, str>,
    pub coding: Coding,
    /// The bytes are a file of their own, and not the result of encoding one.
    pub own_file: bool,
    /// Another coding might be chosen for another request: `Vary` is sent.
    pub varies: bool,
    pub content: Content<F>,
}

impl<F> Source<F> {
    /// The length of the content in bytes.
    fn len(&self) -> u64 {
        match &self.content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(_) => self.stat.size,
        }
    }
}

impl<F> Representation<F> {
    pub fn new(source: Source<F>, now: SystemTime) -> Representation<F> {
        let encoding = match source.own_file {
            true => Coding::Identity,
            false => source.coding,
        };
        let validators = validators(&source.stat, encoding, now);
        let (media_type, coding, varies) = (&source.media_type, source.coding, source.varies);
        let ok = described(Status::Ok, media_type, coding, &validators, varies)
            .field("Content-Length", source.len())
            .field("Accept-Ranges", "bytes");
        let not_modified = validated(Status::NotModified, &validators, varies);
        Representation {
            ok: ok.into_bytes().into(),
            not_modified: not_modified.into_bytes().into(),
            validators,
            source,
        }
    }

    /// The beginning of a head for part of the content, or for all of it in parts.
    pub fn described(&self, status: Status, media_type: &str) -> ResponseHead {
        let Source { coding, varies, .. } = self.source;
        described(status, media_type, coding, &self.validators, varies)
    }

    /// The length of the content in bytes.
    pub fn len(&self) -> u64 {
        self.source.len()
    }
}

/// A head with what every answer about a representation carries (§15.4.5): validators, and what
/// caches need.
pub(super) fn validated(status: Status, validators: &Validators, varies: bool) -> ResponseHead {
    let mut head = ResponseHead::new(status)
        .field("Last-Modified", HttpDate::new(validators.modified))
        .field("ETag", validators.tag.as_str())
        .field("Cache-Control", "no-cache");
    if varies {
        head = head.field("Vary", "Accept-Encoding");
    }
    head
}

/// The same with what says how to read the content.
pub(super) fn described(
    status: Status,
    media_type: &str,
    coding: Coding,
    validators: &Validators,
    varies: bool,
) -> ResponseHead {
    let mut head = validated(status, validators, varies)
        .field("Content-Type", media_type)
        .field("X-Content-Type-Options", "nosniff");
    if let Some(token) = coding.token() {
        head = head.field("Content-Encoding", token);
    }
    head
}

/// The validators of a file, or of what encoding it gives.
///
/// The tag is made of what stat(2) says and changes whenever that does. It is strong, unless the file
/// was changed so lately that it could change again without that showing (§8.8.1). Then the moment is
/// part of it too, so that it is nobody else's: after such a change, it would have been taken for the
/// tag of the new content. A coding has a tag of its own: its bytes are others (§8.8.3.3).
pub(super) fn validators(stat: &Stat, coding: Coding, now: SystemTime) -> Validators {
    let nanoseconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_nanos()
    };
    let (modified, changed) = (nanoseconds(stat.modified), nanoseconds(stat.changed));
    let opaque = format!("{:x}-{:x}-{modified:x}-{changed:x}", stat.inode, stat.size);
    let opaque = match coding.token() {
        Some(token) => format!("{opaque}-{token}"),
        None => opaque,
    };
    let opaque = match shows_changes(stat, now) {
        true => opaque,
        false => format!("{opaque}-at-{:x}", nanoseconds(now)),
    };
    Validators {
        tag: EntityTag::new(&opaque, !is_settled(stat, now)),
        // A time in the future must not be sent (§8.8.2.1).
        modified: whole_seconds(stat.modified.min(now)),
    }
}

/// Whether a file may be known by its stat: another change must show, and its time of modification
/// is not one to come.
pub(super) fn is_settled(stat: &Stat, now: SystemTime) -> bool {
    shows_changes(stat, now) && stat.modified < now
}

/// Whether a file was last changed so long ago that another change must show in its timestamps.
/// They come from a clock that ticks every 1 to 10 ms, or, on some file systems, every one or two
/// seconds, which shows in times without a fraction.
fn shows_changes(stat: &Stat, now: SystemTime) -> bool {
    let whole = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH)
            .is_ok_and(|t| t.subsec_nanos() == 0)
    };
    let tick = match whole(stat.changed) {
        true => Duration::from_secs(2),
        false => Duration::from_millis(20),
    };
    now.duration_since(stat.changed).unwrap_or_default() > tick
}
