//! What must hold for any bytes at all. The fuzz targets look for bytes for which it does not, and
//! `cargo test` replays those that were found worth keeping.

use oneloop::http::{
    BodyDecoder, BodyError, Framing, HeadLimits, HeadParser, Method, Parsed, RequestHead, SitePath,
    Target,
};

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

/// A chunked body has the same content and end however it is cut.
pub fn chunked(bytes: &[u8]) {
    let decode = |sizes: &mut dyn Iterator<Item = usize>| -> Result<_, BodyError> {
        let mut decoder = BodyDecoder::new(Framing::Chunked).expect("a body");
        let (mut content, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let until = bytes
                .len()
                .min(at.saturating_add(sizes.next().unwrap_or(usize::MAX)));
            while at < until {
                let piece = decoder.decode(&bytes[at..until])?;
                at += piece.framing;
                content.extend_from_slice(&bytes[at..at + piece.content]);
                at += piece.content;
                if piece.last {
                    return Ok((content, Some(at)));
                }
            }
        }
        Ok((content, None))
    };
    let whole = decode(&mut std::iter::empty());
    let bytewise = decode(&mut std::iter::repeat(1));
    let by_threes = decode(&mut std::iter::repeat(3));
    assert_eq!(whole, bytewise);
    assert_eq!(whole, by_threes);
}
