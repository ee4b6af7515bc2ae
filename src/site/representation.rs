//! Floor 2, site: representations. A representation is one form in which a file can be sent, with
//! everything that does not depend on the request: the media type, the content coding, the
//! validators (RFC 9110 §8) and ready-made response heads.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::fallback::VARY_BY_NAVIGATION;
use super::freshness::Freshness;
use crate::http::{Coding, EntityTag, HttpDate, ResponseHead, Status, Validators, whole_seconds};
use crate::sys::{SharedBytes, Stat};

/// A file in a content coding, with the parts of an answer that are the same for every request.
#[derive(Debug)]
pub(super) struct Representation<F> {
    pub source: Source<F>,
    pub validators: Validators,
    /// The head of a 200 response, without its end.
    pub ok: Rc<[u8]>,
    /// The head of a 304 response, without its end.
    pub not_modified: Rc<[u8]>,
}

/// The place of the content.
#[derive(Debug)]
pub(super) enum Content<F> {
    /// The whole content is in memory.
    Memory(SharedBytes),
    /// The content is in an open file: the first `stat.size` bytes of the [`Source`]. The sample was
    /// taken after the stat.
    File(Rc<F>, Sample),
}

/// A hash of the first KiB and of the last 4 KiB of a file, by which a file that was appended to can be
/// told from a file that was rewritten.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Sample(u64);

impl Sample {
    /// The number of bytes at the end that are sampled.
    pub const END_BYTES: usize = 4096;

    pub fn new(beginning: &[u8], end: &[u8]) -> Sample {
        Sample(hash(0, beginning.chunks(8).chain(end.chunks(8)).map(word)))
    }
}

/// The rules and flags that change the fields of answers, as a hash of their texts. It goes into each
/// entity tag: a 304 can renew the fields of the answer that a cache has, but cannot take one away
/// (RFC 9111 §3.2). With other rules, the same file is another representation, and is sent again.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Edition(pub u64);

impl Edition {
    /// The edition of these texts. Without any text, the tags are those of the files alone.
    pub fn new(rules: &[u8], flags: &[u8]) -> Edition {
        if rules.is_empty() && flags.is_empty() {
            return Edition::default();
        }
        let lengths = [rules.len() as u64, flags.len() as u64].into_iter();
        let words = rules.chunks(8).chain(flags.chunks(8)).map(word);
        Edition(hash(0, lengths.chain(words)))
    }
}

/// Up to eight bytes as a number.
pub(super) fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

impl<F> Content<F> {
    pub fn share(&self) -> Content<F> {
        match self {
            Content::Memory(bytes) => Content::Memory(bytes.clone()),
            Content::File(file, sample) => Content::File(Rc::clone(file), *sample),
        }
    }
}

/// Why another request for the same path might get another answer, so that `Vary` must be sent.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Varies {
    /// The answer might be in another coding.
    pub by_coding: bool,
    /// A navigation gets a page with the script of live reload.
    pub by_navigation: bool,
}

impl Varies {
    /// The value of `Vary`.
    pub fn field(self) -> Option<&'static str> {
        match self {
            Varies {
                by_navigation: true,
                ..
            } => Some(VARY_BY_NAVIGATION),
            Varies {
                by_coding: true, ..
            } => Some("Accept-Encoding"),
            Varies { .. } => None,
        }
    }
}

/// The facts that a representation is made from.
#[derive(Debug)]
pub(super) struct Source<F> {
    /// The path of the file that was read or encoded: for a sibling, the path of the sibling.
    pub path: Box<[u8]>,
    /// The stat of this file when it was opened.
    pub stat: Stat,
    /// The media type of the content, without its coding.
    pub media_type: Cow<'static, str>,
    /// The coding that the content is in. An original may be in one too: an `.svgz` is in gzip.
    pub coding: Coding,
    /// Whether the content is a whole file on the disk. If not, it is the output of an encoder.
    pub own_file: bool,
    pub varies: Varies,
    /// How long a cache may use the content without asking.
    pub freshness: Freshness,
    pub edition: Edition,
    pub content: Content<F>,
}

impl<F> Source<F> {
    fn share(&self) -> Source<F> {
        Source {
            path: self.path.clone(),
            media_type: self.media_type.clone(),
            content: self.content.share(),
            ..*self
        }
    }

    /// The length of the content in bytes.
    fn len(&self) -> u64 {
        match &self.content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(..) => self.stat.size,
        }
    }
}

impl<F> Representation<F> {
    pub fn new(source: Source<F>, now: SystemTime) -> Representation<F> {
        let encoding = match source.own_file {
            true => Coding::Identity,
            false => source.coding,
        };
        let validators = validators(&source.stat, encoding, source.edition, now);
        let (media_type, coding, varies) = (&source.media_type, source.coding, source.varies);
        let not_modified = validated(Status::NotModified, &validators, varies, source.freshness);
        let ok = describe(not_modified.with_status(Status::Ok), media_type, coding)
            .field("Content-Length", source.len())
            .field("Accept-Ranges", "bytes");
        Representation {
            ok: ok.into_bytes().into(),
            not_modified: not_modified.into_bytes().into(),
            validators,
            source,
        }
    }

    /// The beginning of a head for a response with one range of the content or with several.
    pub fn described(&self, status: Status, media_type: &str) -> ResponseHead {
        let validators = &self.validators;
        let head = validated(
            status,
            validators,
            self.source.varies,
            self.source.freshness,
        );
        describe(head, media_type, self.source.coding)
    }

    /// The length of the content in bytes.
    pub fn len(&self) -> u64 {
        self.source.len()
    }

    /// The same representation with a date, if it has none and may have one by `now`.
    pub fn dated(&self, now: SystemTime) -> Option<Representation<F>> {
        if self.validators.modified.is_some() {
            return None;
        }
        last_modified(&self.source.stat, now)?;
        Some(Representation::new(self.source.share(), now))
    }
}

/// A head with the fields that every answer about a representation carries, including 304
/// (§15.4.5): the validators, and the fields for caches.
pub(super) fn validated(
    status: Status,
    validators: &Validators,
    varies: Varies,
    freshness: Freshness,
) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    if let Some(modified) = validators.modified {
        head = head.field("Last-Modified", HttpDate::new(modified));
    }
    head = head
        .field("ETag", validators.tag.as_str())
        .field("Cache-Control", freshness);
    if let Some(vary) = varies.field() {
        head = head.field("Vary", vary);
    }
    head
}

/// Adds the fields that say how to read the content.
pub(super) fn describe(head: ResponseHead, media_type: &str, coding: Coding) -> ResponseHead {
    let mut head = head
        .field("Content-Type", media_type)
        .field("X-Content-Type-Options", "nosniff");
    if let Some(token) = coding.token() {
        head = head.field("Content-Encoding", token);
    }
    head
}

/// The validators of a file, or of the output when the file is encoded in `coding`.
///
/// The entity tag is a hash of the device, the inode number, the size and both timestamps of the
/// file, in 16 hexadecimal digits. The tag does not tell these facts to the client, and is the same
/// in each run of the program. The tag is strong if the file [is settled](is_settled), and weak if
/// not (§8.8.1).
///
/// If the last change of the file is too recent, the current time goes into the hash too, because a
/// second change within the clock's tick would keep the same stat, and the new content would get
/// the old tag.
///
/// Each coding has its own tag, because its bytes differ (§8.8.3.3), and so has each [`Edition`].
pub(super) fn validators(
    stat: &Stat,
    coding: Coding,
    edition: Edition,
    now: SystemTime,
) -> Validators {
    // Only the low 64 bits of a time count: they repeat after 584 years.
    let nanoseconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_nanos() as u64
    };
    let seen_at = match shows_changes(stat, now) {
        true => 0,
        false => nanoseconds(now),
    };
    let facts = [
        stat.device,
        stat.inode,
        stat.size,
        nanoseconds(stat.modified),
        nanoseconds(stat.changed),
        coding as u64,
        seen_at,
    ];
    let opaque = hash(edition.0, facts);
    Validators {
        tag: EntityTag::new(&format!("{opaque:016x}"), !is_settled(stat, now)),
        modified: last_modified(stat, now),
    }
}

/// The date for `Last-Modified`, or `None` if a date would not tell this content from another:
///
/// - The second of the modification is not over, so the file may change once more with the same
///   date. A client that asks with the date alone would get 304 for ever.
/// - The time is at most one second after the epoch. Tools that build the same bytes from the same
///   sources give every file such a time, in each build.
/// - The time is in the future. Such a date must not be sent (§8.8.2.1), and the current time in
///   its place would be another date for each request.
fn last_modified(stat: &Stat, now: SystemTime) -> Option<SystemTime> {
    const SECOND: Duration = Duration::from_secs(1);
    let second = whole_seconds(stat.modified);
    let is_over = now
        .duration_since(second)
        .is_ok_and(|since| since > SECOND + tick(stat));
    (is_over && second > SystemTime::UNIX_EPOCH + SECOND).then_some(second)
}

/// Returns a hash of `words`, from the state `start`, that is the same in each run, unlike the hash of
/// a `HashMap`.
///
/// Each word is added to the state, and the state goes through the finalizer of SplitMix64 (Steele,
/// Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). The finalizer is
/// a bijection, so two lists that differ in a single word never have the same hash.
pub(super) fn hash(start: u64, words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(start, |state: u64, word| {
        let z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Whether the stat of a file identifies the content: any later change of the file must show in the
/// stat, and the modification time is not in the future. Directories are judged in the same way.
///
/// In the words of git, a settled file is a file that is not *racily clean*. Git compares files
/// with the stats in its index, and calls a file racily clean if the stat is the same but too
/// recent: the file may have changed once more within the same tick of the clock (see `racy-git` in
/// git's technical documentation). Only a settled file is cached, and only a settled file gets a
/// strong entity tag.
pub(super) fn is_settled(stat: &Stat, now: SystemTime) -> bool {
    shows_changes(stat, now) && stat.modified < now
}

/// Whether the last change of a file is so long ago that another change must show in the
/// timestamps.
fn shows_changes(stat: &Stat, now: SystemTime) -> bool {
    now.duration_since(stat.changed).unwrap_or_default() > tick(stat)
}

/// An upper bound of the time in which a timestamp of this file stays the same. Timestamps come
/// from a clock that ticks every 1 to 10 ms, so 20 ms are enough. On some file systems the clock
/// ticks every one or two seconds. Their timestamps have no fraction of a second, and for such
/// timestamps the bound is 2 s.
fn tick(stat: &Stat) -> Duration {
    let since = stat.changed.duration_since(SystemTime::UNIX_EPOCH);
    match since.is_ok_and(|t| t.subsec_nanos() == 0) {
        true => Duration::from_secs(2),
        false => Duration::from_millis(20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::FileKind;

    fn at(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
    }

    /// A file that was made at 1,700,000,000.123 s after the epoch.
    fn stat() -> Stat {
        Stat {
            kind: FileKind::File,
            device: 1,
            inode: 2,
            size: 3,
            modified: at(1_700_000_000_123),
            changed: at(1_700_000_000_123),
        }
    }

    const LATER: u64 = 1_700_000_060_000;

    fn tag(stat: &Stat, coding: Coding, now: u64) -> String {
        let validators = validators(stat, coding, Edition::default(), at(now));
        validators.tag.as_str().to_owned()
    }

    #[test]
    fn a_tag_is_short_and_the_same_in_each_run() {
        assert_eq!(
            tag(&stat(), Coding::Identity, LATER),
            "\"58794a6bdf20d57e\""
        );
        assert_eq!(
            tag(&stat(), Coding::Identity, LATER),
            tag(&stat(), Coding::Identity, LATER + 1)
        );
    }

    #[test]
    fn a_tag_changes_with_each_fact_about_the_file() {
        let mut tags = vec![tag(&stat(), Coding::Identity, LATER)];
        let edits: [fn(&mut Stat); 5] = [
            |stat| stat.device = 9,
            |stat| stat.inode = 9,
            |stat| stat.size = 9,
            |stat| stat.modified = at(9),
            |stat| stat.changed = at(9),
        ];
        for edit in edits {
            let mut stat = stat();
            edit(&mut stat);
            tags.push(tag(&stat, Coding::Identity, LATER));
        }
        tags.push(tag(&stat(), Coding::Gzip, LATER));
        tags.push(tag(&stat(), Coding::Brotli, LATER));
        for (rules, flags) in [
            ("a", ""),
            ("b", ""),
            ("", "a"),
            ("a", "b"),
            ("ab", ""),
            ("", "ab"),
        ] {
            let edition = Edition::new(rules.as_bytes(), flags.as_bytes());
            let validators = validators(&stat(), Coding::Identity, edition, at(LATER));
            tags.push(validators.tag.as_str().to_owned());
        }
        let all = tags.len();
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), all, "{tags:?}");
    }
}
