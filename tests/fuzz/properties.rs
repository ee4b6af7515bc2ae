//! What must hold for any bytes at all. The fuzz targets look for bytes for which it does not, and
//! `cargo test` replays those that were found worth keeping.

// A whole server in memory, the one that plays the corpus of requests.
#[path = "../corpus/world.rs"]
#[allow(dead_code, reason = "the corpus uses more of it")]
mod world;

use std::time::{Duration, UNIX_EPOCH};

use oneloop::config::Limits;
use oneloop::http::{
    Acceptable, BodyDecoder, BodyError, ByteRange, Coding, EntityTag, Field, Framing, HeadLimits,
    HeadParser, Method, Parsed, Precondition, Ranges, RequestHead, SitePath, Target, Validators,
    precondition,
};
use world::{Action, play};

/// A whole connection: whatever comes, the server comes to rest, keeps its invariants after every
/// turn, writes nothing behind its end, and answers the same however the bytes are cut. The first
/// byte says how long the pieces are; behind the others the client half-closes.
pub fn connection(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else {
        return;
    };
    let limits = Limits {
        head_bytes_max: 256,
        target_bytes_max: 64,
        fields_max: 8,
        body_bytes_max: 64,
        cached_file_bytes_max: 64,
        outbox_high: 600,
        turn_steps: 4,
        turn_rounds: 2,
        ..Limits::default()
    };
    let mut pieces: Vec<_> = bytes
        .chunks(usize::from(*size).max(1))
        .map(|piece| Action::Send(piece.to_vec()))
        .collect();
    pieces.push(Action::HalfClose);
    let whole = play(&[Action::SendLast(bytes.to_vec())], &limits);
    assert_eq!(whole, play(&pieces, &limits));
    assert!(whole.is_closed, "the peer has half-closed: there is an end");
    let answers = whole.received.starts_with(b"HTTP/1.1 ") || whole.received.is_empty();
    assert!(answers, "not an answer");
}

/// A head has the same outcome however it is cut, lies within its bytes, and its target, if it has
/// a path, cannot lead out of the root.
pub fn head(bytes: &[u8]) {
    let limits = HeadLimits {
        head_bytes_max: 512,
        target_bytes_max: 128,
        fields_max: 16,
    };
    let whole = HeadParser::default().parse(bytes, &limits);
    let mut parser = HeadParser::default();
    let mut bytewise = Ok(Parsed::Partial);
    for n in 0..=bytes.len() {
        bytewise = parser.parse(&bytes[..n], &limits);
        if !matches!(bytewise, Ok(Parsed::Partial)) {
            break;
        }
    }
    assert_eq!(format!("{whole:?}"), format!("{bytewise:?}"));
    let Ok(Parsed::Complete(head)) = whole else {
        return;
    };
    assert!(head.end() <= bytes.len() && bytes[..head.end()].ends_with(b"\r\n\r\n"));
    let request = RequestHead::new(&head, bytes);
    let _ = (request.wants_persistence(), request.expectation());
    match Target::parse(request.method(), request.target()) {
        Ok(Target::Path { path, .. }) => contained(path),
        Ok(Target::Asterisk) => assert_eq!(request.method(), Method::Options),
        Ok(Target::Authority(_)) => assert_eq!(request.method(), Method::Connect),
        Err(error) => panic!("the parser took a target that has no form: {error:?}"),
    }
}

fn contained(path: &[u8]) {
    let Ok(path) = SitePath::decode(path) else {
        return;
    };
    let bytes = path.bytes();
    assert!(!bytes.starts_with(b"/") && !bytes.contains(&0) && !bytes.contains(&b'\\'));
    for segment in bytes.split(|b| *b == b'/') {
        assert!(!segment.starts_with(b".") || segment == b".well-known");
    }
}

/// Decodes a chunked body that comes in pieces which end at `cuts`, and at the end: its content, and
/// how many of the bytes it has, if it ends in them.
pub fn decode_chunked(
    bytes: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> Result<(Vec<u8>, Option<usize>), BodyError> {
    let mut decoder = BodyDecoder::new(Framing::Chunked).expect("a body");
    let (mut content, mut at) = (Vec::new(), 0);
    for cut in cuts.into_iter().chain([bytes.len()]) {
        while at < cut {
            let piece = decoder.decode(&bytes[at..cut])?;
            at += piece.framing;
            content.extend_from_slice(&bytes[at..at + piece.content]);
            at += piece.content;
            if piece.last {
                return Ok((content, Some(at)));
            }
        }
    }
    Ok((content, None))
}

/// A chunked body has the same content and end however it is cut.
pub fn chunked(bytes: &[u8]) {
    let whole = decode_chunked(bytes, []);
    assert_eq!(whole, decode_chunked(bytes, 0..bytes.len()));
    assert_eq!(whole, decode_chunked(bytes, (0..bytes.len()).step_by(3)));
}

/// The path of a target is decoded to what the disk is asked for, once: what encodes that again
/// leads to the same.
pub fn target(bytes: &[u8]) {
    for method in [Method::Get, Method::Options, Method::Connect] {
        let Ok(Target::Path { path, .. }) = Target::parse(method, bytes) else {
            continue;
        };
        assert!(path.starts_with(b"/") && !path.contains(&b'?'));
        contained(path);
        if let Ok(decoded) = SitePath::decode(path) {
            let segments = decoded.bytes().split(|b| *b == b'/');
            let encoded: String = segments
                .map(|s| s.iter().fold("/".to_owned(), |s, b| format!("{s}%{b:02x}")))
                .collect();
            assert_eq!(SitePath::decode(encoded.as_bytes()), Ok(decoded));
        }
    }
}

/// Ranges lie within the length, apart from each other, none empty, and few.
pub fn range(bytes: &[u8]) {
    for length in [0, 1, 10, 1 << 32, u64::MAX] {
        let Ranges::Satisfiable(mut spans) = Ranges::parse(bytes, length) else {
            continue;
        };
        assert!((1..=Ranges::SPECIFIERS_MAX).contains(&spans.len()));
        spans.sort_by_key(|span| span.start);
        let mut free = 0;
        for (n, span) in spans.iter().enumerate() {
            assert!(span.start < span.end && span.end <= length);
            // What touches is one.
            assert!(n == 0 || span.start > free, "{spans:?}");
            free = span.end;
        }
        assert!(spans.len() == 1 || spans.iter().map(ByteRange::bytes).sum::<u64>() < length);
    }
}

/// A request with these bytes as field lines, if it is one.
fn with_fields(bytes: &[u8], check: impl Fn(&RequestHead<'_>)) {
    let limits = HeadLimits {
        head_bytes_max: 4096,
        target_bytes_max: 128,
        fields_max: 32,
    };
    for method in ["GET", "PUT"] {
        let line = format!("{method} / HTTP/1.1\r\nHost: x\r\n");
        let text = [line.as_bytes(), bytes, b"\r\n\r\n"].concat();
        if let Ok(Parsed::Complete(head)) = HeadParser::default().parse(&text, &limits) {
            check(&RequestHead::new(&head, &text));
        }
    }
}

/// Preconditions are answered with what the method allows, the same as without the fields if there
/// are none, and nothing weak ever counts as a strong match.
pub fn conditional(bytes: &[u8]) {
    let modified = UNIX_EPOCH + Duration::from_secs(784_111_777);
    with_fields(bytes, |request| {
        let [weak, strong] = [true, false].map(|weak| {
            let tag = EntityTag::new("a", weak);
            precondition(request, &Validators { tag, modified })
        });
        let read = request.method() == Method::Get;
        for got in [weak, strong] {
            assert!(read || got != Precondition::NotModified);
        }
        let has = |field| request.value(field).is_some();
        if has(Field::IfRange) {
            assert_ne!(weak, Precondition::Holds { ranges: true });
        }
        let conditions = [
            Field::IfMatch,
            Field::IfUnmodifiedSince,
            Field::IfNoneMatch,
            Field::IfModifiedSince,
        ];
        if !conditions.into_iter().any(has) {
            assert!(matches!(strong, Precondition::Holds { .. }));
        }
        // All that tells them apart is If-Match.
        if !has(Field::IfMatch) {
            let holds = |got| matches!(got, Precondition::Holds { .. });
            assert!(weak == strong || (holds(weak) && holds(strong)));
        }
    });
}

/// What is acceptable is listed once, in our order where the client has none; and without a word
/// about codings it is the content as it is.
pub fn negotiation(bytes: &[u8]) {
    with_fields(bytes, |request| {
        let acceptable = Acceptable::from_request(request);
        let order: Vec<_> = acceptable.in_order().collect();
        for coding in Coding::ALL {
            let times = order.iter().filter(|c| **c == coding).count();
            assert_eq!(times, usize::from(acceptable.takes(coding)));
        }
        let coded = order.iter().any(|coding| *coding != Coding::Identity);
        assert_eq!(acceptable.wants_coding(), coded);
        if request.value(Field::AcceptEncoding).is_none() {
            assert_eq!(order, [Coding::Identity]);
        }
    });
}
