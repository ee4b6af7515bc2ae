//! Floor 2, site: the response from a representation that was selected: the preconditions, the ranges,
//! and the body, which may have to be encoded first.

use std::rc::Rc;
use std::time::SystemTime;

use sha1::{Digest, Sha1};

use super::freshness::Freshness;
use super::representation::{
    self, Content, Representation, Varies, describe, is_settled, validated,
};
use super::stream::{Encoding, FileStream, Kept, Multipart, OpenFile, Original};
use super::{Body, Files, Parts, Reply, RunningEncoder, Site, Stream};
use crate::http::{
    ByteRange, Coding, Field, Method, Precondition, Ranges, RequestHead, ResponseHead, Status,
    Validators, precondition,
};

impl<F: Files> Site<F> {
    /// Answers from an available representation: with the whole content, with a part of the
    /// content, with 304 if the client has the same content already, or with 412 or 416. Always inlined,
    /// into [`file`](Site::file) for nearly every request, and into [`selected`](Site::selected).
    #[inline(always)]
    pub(super) fn respond(
        &mut self,
        representation: &Representation<F::File>,
        request: &RequestHead<'_>,
    ) -> Reply<F::File> {
        let ranges = match precondition(request, &representation.validators) {
            Precondition::Holds { ranges } => ranges,
            Precondition::NotModified => {
                let head = Rc::clone(&representation.not_modified);
                return Reply::with(Status::NotModified, head, Body::empty());
            }
            Precondition::Failed => {
                let varies = representation.source.varies;
                return precondition_failed(&representation.validators, varies);
            }
        };
        // Range is defined for GET alone (§14.2), and as a single field: two fields are ignored.
        let mut values = request.values(Field::Range);
        let range = match (request.method(), values.next(), values.next()) {
            (Method::Get, Some(value), None) if ranges => {
                Ranges::parse(value, representation.len())
            }
            _ => Ranges::Ignored,
        };
        match range {
            Ranges::Ignored => {
                let head = Rc::clone(&representation.ok);
                Reply::with(Status::Ok, head, self.part_of(representation, None))
            }
            Ranges::Unsatisfiable => {
                let status = Status::RangeNotSatisfiable;
                let head = ResponseHead::new(status).field(
                    "Content-Range",
                    format_args!("bytes */{}", representation.len()),
                );
                Reply::plain_with(head, status, "the file has none of the bytes asked for")
            }
            Ranges::Satisfiable(ranges) => match ranges[..] {
                [range] => self.one_range(representation, range),
                _ => self.several_ranges(representation, ranges),
            },
        }
    }

    /// The body with one range of the content, or with all of the content if `range` is `None`.
    #[inline(always)]
    pub(super) fn part_of(
        &self,
        representation: &Representation<F::File>,
        range: Option<ByteRange>,
    ) -> Body<F::File> {
        let whole = ByteRange {
            start: 0,
            end: representation.len(),
        };
        match (&representation.source.content, range) {
            (Content::Memory(bytes), None) => Body::Bytes(bytes.clone()),
            (Content::Memory(bytes), Some(range)) => {
                Body::Part(bytes.clone(), range.start as usize..range.end as usize)
            }
            (Content::File(file, sample), range) => {
                let open = OpenFile::new(file, representation.source.stat, *sample, self.epoch);
                let left = range.unwrap_or(whole);
                Body::Stream(Stream::File(Box::new(FileStream { open, left })))
            }
        }
    }

    fn one_range(
        &self,
        representation: &Representation<F::File>,
        range: ByteRange,
    ) -> Reply<F::File> {
        let (start, last, whole) = (range.start, range.end - 1, representation.len());
        let status = Status::PartialContent;
        let head = representation
            .described(status, &representation.source.media_type)
            .field("Content-Length", range.bytes())
            .field(
                "Content-Range",
                format_args!("bytes {start}-{last}/{whole}"),
            );
        Reply::new(status, head, self.part_of(representation, Some(range)))
    }

    fn several_ranges(
        &mut self,
        representation: &Representation<F::File>,
        ranges: Vec<ByteRange>,
    ) -> Reply<F::File> {
        // The head of each part is formatted twice: for the length of the body, and for the body.
        self.cost += ranges.len() as u32 / 2;
        let boundary = self.next_boundary();
        let kind = format!("multipart/byteranges; boundary={boundary}");
        let media_type = representation.source.media_type.clone();
        let parts = Parts::new(boundary, media_type, representation.len(), ranges);
        let head = representation
            .described(Status::PartialContent, &kind)
            .field("Content-Length", parts.len());
        let body = match &representation.source.content {
            Content::Memory(bytes) => Body::Parts(bytes.clone(), Box::new(parts)),
            Content::File(file, sample) => {
                let open = OpenFile::new(file, representation.source.stat, *sample, self.epoch);
                let left = ByteRange { start: 0, end: 0 };
                Body::Stream(Stream::Multipart(Box::new(Multipart { open, parts, left })))
            }
        };
        Reply::new(Status::PartialContent, head, body)
    }

    /// Returns a boundary of 20 hexadecimal digits. A boundary must not occur in any part (RFC 2046
    /// §5.1.1). The files are not searched; instead, the boundary has 80 bits that a writer of files
    /// cannot guess, even one that knows all earlier boundaries: they are a hash of the secret seed.
    pub(super) fn next_boundary(&mut self) -> String {
        self.boundaries += 1;
        let [a, b] = self.boundary_seed;
        let words = [a, b, self.boundaries].map(u64::to_le_bytes);
        let digest = Sha1::digest(words.as_flattened());
        digest[..10].iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Answers with the original in a coding, encoded while the response is sent. The body is
    /// chunked, because the length of the encoded content is not known in advance.
    pub(super) fn respond_encoding(
        &mut self,
        original: &Representation<F::File>,
        coding: Coding,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Reply<F::File> {
        let freshness = original.source.freshness;
        let (stat, edition) = (&original.source.stat, original.source.edition);
        let validators = representation::validators(stat, coding, edition, now);
        let varies = original.source.varies;
        match precondition(request, &validators) {
            Precondition::Holds { .. } => {}
            Precondition::NotModified => {
                let head = validated(Status::NotModified, &validators, varies, freshness);
                return Reply::new(Status::NotModified, head, Body::empty());
            }
            Precondition::Failed => return precondition_failed(&validators, varies),
        }
        let media_type = &original.source.media_type;
        let head = validated(Status::Ok, &validators, varies, freshness);
        let head = describe(head, media_type, coding).field("Transfer-Encoding", "chunked");
        if request.method() == Method::Head {
            // The encoded content would be discarded, so nothing is encoded.
            return Reply::new(Status::Ok, head, Body::empty());
        }
        let permit = Rc::new(());
        self.encoding.push(RunningEncoder {
            path: original.source.path.clone(),
            coding,
            permit: Rc::downgrade(&permit),
        });
        let stat = original.source.stat;
        let encoding = Encoding {
            coding,
            content: match &original.source.content {
                Content::Memory(bytes) => Original::Memory(bytes.clone()),
                Content::File(file, sample) => {
                    let open = OpenFile::new(file, original.source.stat, *sample, self.epoch);
                    Original::File(open)
                }
            },
            size: stat.size,
            at: 0,
            encoder: Some(self.encoders.begin(coding)),
            // An unsettled file may have changed already and kept its stat. The result is then not
            // kept, even if the stat looks settled by the time the encoder is done.
            kept: is_settled(&stat, now).then(|| {
                let path = original.source.path.clone();
                Kept::file(path, media_type.clone(), varies, stat)
            }),
            permit: Some(permit),
        };
        let body = Body::Stream(Stream::Encoding(Box::new(encoding)));
        Reply::new(Status::Ok, head, body)
    }

    /// Whether another encoder may be started: fewer than `encoders_max` are at work, and none of
    /// them on the same path and coding. If the coding `is_needed`, because the client refuses
    /// identity, twice as many may be at work, and the same work may be done twice.
    pub(super) fn may_encode(&mut self, path: &[u8], coding: Coding, is_needed: bool) -> bool {
        self.encoding
            .retain(|other| other.permit.strong_count() > 0);
        let same = |other: &RunningEncoder| *other.path == *path && other.coding == coding;
        match is_needed {
            true => self.encoding.len() < 2 * self.encoders_max,
            false => self.encoding.len() < self.encoders_max && !self.encoding.iter().any(same),
        }
    }
}

fn precondition_failed<F>(validators: &Validators, varies: Varies) -> Reply<F> {
    let status = Status::PreconditionFailed;
    let head = validated(status, validators, varies, Freshness::None);
    Reply::plain_with(head, status, "the file is not the one that was meant")
}
