//! Floor 2, site: replies with content that an endpoint has made: the content coding, the precondition
//! and the fields that describe the content.

use super::{Body, Files, Reply, Site, encoding, media_type};
use crate::http::{
    Acceptable, Coding, EntityTag, Method, Precondition, RequestHead, ResponseHead, Status,
    Validators, precondition,
};

/// What an endpoint has made.
#[derive(Debug)]
pub(crate) struct Made<'a> {
    pub status: Status,
    /// The status line and the fields of the endpoint, with `Content-Type` but without a field for the
    /// coding, the tag or the length.
    pub head: ResponseHead,
    pub media_type: &'a str,
    pub tag: Option<EntityTag>,
    pub content: Vec<u8>,
}

impl<F: Files> Site<F> {
    /// The sizes, in bytes, of content that is compressed. Smaller content gains nothing. Larger content
    /// would hold up the loop, because it is compressed at once.
    const COMPRESSED_BYTES: std::ops::RangeInclusive<usize> = 512..=64 << 10;

    /// The number of bytes that the encoder takes with one unit of work.
    const COMPRESSED_BYTES_PER_WORK: usize = 40;

    /// Makes the reply to a request from what an endpoint has made.
    pub(crate) fn made(&mut self, made: Made<'_>, request: &RequestHead<'_>) -> Reply<F::File> {
        let Made {
            status,
            mut head,
            media_type,
            tag,
            content,
        } = made;
        if status.has_no_content() {
            if status == Status::ResetContent {
                head = head.field("Content-Length", 0);
            }
            return Reply::new(status, head, Body::empty());
        }
        // The media type alone decides whether the answer varies, so that each answer of a path does.
        let varies = media_type::is_compressible(media_type) && status == Status::Ok;
        let coding = match varies && Self::COMPRESSED_BYTES.contains(&content.len()) {
            true => coding_for(&self.acceptable(request)),
            false => Coding::Identity,
        };
        let is_read = matches!(request.method(), Method::Get | Method::Head);
        if varies && is_read {
            head = head.field("Vary", "Accept-Encoding");
        }
        if let Some(tag) = tag.filter(|_| status == Status::Ok) {
            let validators = Validators {
                // Each coding is a representation of its own (RFC 9110 §8.8.3.3).
                tag: match coding.token() {
                    Some(token) => EntityTag::new(&format!("{}-{token}", tag.opaque()), false),
                    None => tag,
                },
                modified: None,
            };
            head = head.field("ETag", validators.tag.as_str());
            // Of another method the endpoint has carried out the request already.
            if is_read && precondition(request, &validators) == Precondition::NotModified {
                return Reply::new(
                    Status::NotModified,
                    head.with_status(Status::NotModified),
                    Body::empty(),
                );
            }
        }
        let mut cost = 1;
        let content = match coding.token() {
            Some(token) => {
                head = head.field("Content-Encoding", token);
                cost += (content.len() / Self::COMPRESSED_BYTES_PER_WORK) as u32;
                encoding::whole(coding, &content)
            }
            None => content,
        };
        let head = head.field("Content-Length", content.len());
        Reply {
            cost,
            ..Reply::new(status, head, Body::Owned(content))
        }
    }
}

/// The coding for content that is compressed once, and not kept.
fn coding_for(acceptable: &Acceptable) -> Coding {
    let mut codings = acceptable.in_order();
    codings
        .find(|coding| matches!(coding, Coding::Gzip | Coding::Identity))
        .unwrap_or(Coding::Identity)
}
