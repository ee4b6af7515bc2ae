//! The operations of HTTP: request heads, chunked bodies, response heads.

use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use oneloop::http::{
    BodyDecoder, Framing, HeadLimits, HeadParser, HttpDate, Parsed, Persistence, ResponseHead,
    Status, Version, finish_head,
};

use crate::operations::Operation;

/// The default limits of the server.
const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 16 << 10,
    target_bytes_max: 8_000,
    fields_max: 100,
};

pub fn our_head(bytes: Vec<u8>) -> Operation {
    Box::new(move || {
        let mut parser = HeadParser::default();
        let parsed = parser.parse(black_box(&bytes), &LIMITS);
        let Ok(Parsed::Complete(head)) = parsed else {
            panic!("the head is complete and right");
        };
        assert_eq!(black_box(head).end(), bytes.len());
    })
}

/// The fields are written to an array that is filled once, which is the cheapest way.
pub fn their_head(bytes: Vec<u8>) -> Operation {
    // The array borrows the bytes, so they must outlive the closure.
    let bytes: &'static [u8] = bytes.leak();
    let mut headers = [httparse::EMPTY_HEADER; 64];
    Box::new(move || {
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(black_box(bytes));
        assert_eq!(parsed, Ok(httparse::Status::Complete(bytes.len())));
        black_box(&request);
    })
}

const CHUNKS: usize = 16;
const CHUNK_BYTES: usize = 1 << 10;

fn chunked() -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..CHUNKS {
        body.extend(format!("{CHUNK_BYTES:x}\r\n").bytes());
        body.extend([b'x'; CHUNK_BYTES]);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    body
}

pub fn our_chunks() -> Operation {
    let body = chunked();
    Box::new(move || {
        let mut decoder = BodyDecoder::new(Framing::Chunked).expect("a chunked body is a body");
        let (mut rest, mut content) = (black_box(&body[..]), 0);
        loop {
            let part = decoder.decode(rest).expect("the body is right");
            content += part.content;
            rest = &rest[part.framing + part.content..];
            if part.last {
                break;
            }
        }
        assert_eq!(content, CHUNKS * CHUNK_BYTES);
    })
}

/// The library parses the lines with a size, and leaves the rest to the caller.
pub fn their_chunks() -> Operation {
    let body = chunked();
    Box::new(move || {
        let (mut rest, mut content) = (black_box(&body[..]), 0);
        loop {
            let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(rest)
            else {
                panic!("the body is right");
            };
            let end = line + size as usize;
            assert_eq!(&rest[end..end + 2], b"\r\n");
            content += size as usize;
            rest = &rest[end + 2..];
            if size == 0 {
                break;
            }
        }
        assert_eq!(content, CHUNKS * CHUNK_BYTES);
    })
}

const FIELDS: [(&str, &str); 7] = [
    ("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT"),
    ("ETag", "\"6-6-17979cfe362a0000-17979cfe362a0000\""),
    ("Cache-Control", "no-cache"),
    ("Vary", "Accept-Encoding"),
    ("Content-Type", "text/plain; charset=utf-8"),
    ("X-Content-Type-Options", "nosniff"),
    ("Accept-Ranges", "bytes"),
];
const CONTENT_LENGTH: usize = 700;

fn date() -> HttpDate {
    HttpDate::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

/// A response from the cache: the first part of the head is kept with the file, and a second part
/// is added.
pub fn our_response() -> Operation {
    let mut head = ResponseHead::new(Status::Ok);
    for (name, value) in FIELDS {
        head = head.field(name, value);
    }
    let head = head.field("Content-Length", CONTENT_LENGTH).into_bytes();
    let (date, mut out) = (date(), Vec::new());
    Box::new(move || {
        out.clear();
        out.extend_from_slice(black_box(&head));
        finish_head(&mut out, &date, Version::Http11, Persistence::KeepAlive);
        black_box(&out);
    })
}

/// The same head, formatted for each response. The date is formatted once.
pub fn their_response() -> Operation {
    let (date, mut out) = (date().to_string(), Vec::new());
    let mut write = move || -> std::io::Result<()> {
        out.clear();
        write!(out, "HTTP/1.1 {} OK\r\n", black_box(200))?;
        for (name, value) in black_box(FIELDS) {
            write!(out, "{name}: {value}\r\n")?;
        }
        write!(out, "Content-Length: {}\r\n", black_box(CONTENT_LENGTH))?;
        write!(out, "Date: {date}\r\n\r\n")?;
        black_box(&out);
        Ok(())
    };
    Box::new(move || write().expect("a Vec takes all"))
}
