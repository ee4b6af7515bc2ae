//! Floor 2, site: replies with content that an endpoint has made: the content coding, the precondition
//! and the fields that describe the content.

use std::rc::Rc;

use super::stream::{Encoding, Original};
use super::{Body, Files, Reply, RunningEncoder, Site, Stream, media_type};
use crate::http::{
    Coding, EntityTag, Method, Precondition, RequestHead, ResponseHead, Status, Validators,
    Version, precondition,
};

/// The product of an endpoint.
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
    /// The least size, in bytes, of content that is compressed. Smaller content gains nothing.
    const MADE_BYTES_MIN: usize = 512;

    /// The largest size, in bytes, of content that is compressed at once. Larger content would hold up
    /// the loop, and is compressed slice by slice, as files are.
    const MADE_AT_ONCE: usize = 32 << 10;

    /// The number of bytes that the encoder takes with one unit of work.
    const MADE_BYTES_PER_WORK: usize = 40;

    /// Makes the reply to a request from the product of an endpoint.
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
        let coding = match varies && content.len() >= Self::MADE_BYTES_MIN {
            true => self.coding_for(content.len(), request),
            false => Coding::Identity,
        };
        let is_read = matches!(request.method(), Method::Get | Method::Head);
        if varies && is_read {
            head = head.text("Vary", "Accept-Encoding");
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
            head = head.text("ETag", validators.tag.as_str());
            // Of another method the endpoint has carried out the request already.
            if is_read && precondition(request, &validators) == Precondition::NotModified {
                let status = Status::NotModified;
                return Reply::new(status, head.with_status(status), Body::empty());
            }
        }
        let Some(token) = coding.token() else {
            let head = head.number("Content-Length", content.len() as u64);
            return Reply::new(status, head, Body::Owned(content));
        };
        head = head.text("Content-Encoding", token);
        if content.len() > Self::MADE_AT_ONCE {
            return self.encode_made(content, coding, status, head, request);
        }
        let cost = 1 + (content.len() / Self::MADE_BYTES_PER_WORK) as u32;
        let coded = self.encoders.whole(coding, &content);
        let head = head.number("Content-Length", coded.len() as u64);
        Reply {
            cost,
            ..Reply::new(status, head, Body::Owned(coded))
        }
    }

    /// Begins to encode large content while the response is sent.
    #[inline(never)]
    fn encode_made(
        &mut self,
        content: Vec<u8>,
        coding: Coding,
        status: Status,
        head: ResponseHead,
        request: &RequestHead<'_>,
    ) -> Reply<F::File> {
        let head = head.field("Transfer-Encoding", "chunked");
        if request.method() == Method::Head {
            return Reply::new(status, head, Body::empty());
        }
        let permit = Rc::new(());
        self.encoding.push(RunningEncoder {
            path: Box::default(),
            coding,
            permit: Rc::downgrade(&permit),
        });
        let encoding = Encoding {
            coding,
            size: content.len() as u64,
            content: Original::Memory(content.into()),
            at: 0,
            encoder: Some(self.encoders.begin(coding)),
            kept: None,
            permit: Some(permit),
        };
        let body = Body::Stream(Stream::Encoding(Box::new(encoding)));
        Reply::new(status, head, body)
    }

    /// The coding for content of so many bytes that is compressed for this request alone. HTTP/1.0 has no
    /// chunks to send a coding in that is made slice by slice.
    fn coding_for(&mut self, bytes: usize, request: &RequestHead<'_>) -> Coding {
        let is_sliced = bytes > Self::MADE_AT_ONCE;
        let may_gzip = !is_sliced
            || (request.version() == Version::Http11 && self.may_encode(b"", Coding::Gzip, true));
        let mut codings = self.acceptable(request).in_order();
        let coding = codings.find(|coding| match coding {
            Coding::Gzip => may_gzip,
            Coding::Identity => true,
            Coding::Brotli | Coding::Zstd => false,
        });
        coding.unwrap_or(Coding::Identity)
    }
}
