//! Properties that must hold for any bytes. The fuzz targets search for bytes that violate a
//! property, and `cargo test` replays the inputs that were worth keeping.

// A whole server in memory, the same as for the corpus of requests.
#[path = "../corpus/world.rs"]
#[allow(dead_code, reason = "the corpus uses more of it")]
mod world;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, UNIX_EPOCH};

use oneloop::config::Limits;
use oneloop::http::{
    Acceptable, Authority, BodyDecoder, BodyError, ByteRange, Coding, EntityTag, Field, Framing,
    HeadLimits, HeadParser, Method, Parsed, Precondition, Ranges, RequestHead, ResponseBody,
    ResponseParser, Scheme, SitePath, Target, Validators, Version, precondition,
};
use oneloop::site::{Guard, TagPlace};
use world::{Action, play_with};

/// A whole connection. For any bytes, the server comes to rest, keeps its invariants after every
/// turn, writes nothing after its end, and answers the same for every cut of the bytes. The low
/// bits of the first byte are the length of the pieces; its highest bit turns rooms on. After the
/// last byte the client half-closes.
pub fn connection(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let (size, rooms) = (usize::from(first & 0x7f), first & 0x80 != 0);
    let limits = Limits {
        head_bytes_max: 256,
        target_bytes_max: 64,
        fields_max: 8,
        body_bytes_max: 64,
        cached_file_bytes_max: 64,
        // More than a read has space for, so that messages always come in pieces; and less than the
        // amount that makes pongs wait, which would depend on when the write buffer is written.
        read_buffer_bytes: 256,
        message_bytes_max: 300,
        deflated_bytes_min: 4,
        deflated_bytes_max: 200,
        effects_max: 2,
        room_messages_max: 3,
        write_buffer_high: 600,
        turn_steps: 4,
        turn_rounds: 2,
        ..Limits::default()
    };
    let mut pieces: Vec<_> = bytes
        .chunks(size.max(1))
        .map(|piece| Action::Send(piece.to_vec()))
        .collect();
    pieces.push(Action::HalfClose);
    let play = |actions: &[Action]| play_with(actions, &limits, usize::MAX, rooms);
    let (whole, pieces) = (play(&[Action::SendLast(bytes.to_vec())]), play(&pieces));
    assert!(whole.is_closed, "the peer has half-closed: there is an end");
    let answers = whole.received.starts_with(b"HTTP/1.1 ") || whole.received.is_empty();
    assert!(answers, "not an answer");
    let [(answers, frames), (same, more)] =
        [&whole, &pieces].map(|seen| sent_by_websocket(&seen.received));
    assert_eq!(
        answers.escape_ascii().to_string(),
        same.escape_ascii().to_string()
    );
    if rooms {
        assert_eq!(whole.is_closed, pieces.is_closed);
        heard_in_rooms(&frames, &more);
    } else {
        assert_eq!(whole, pieces);
    }
}

/// Splits the output into the answers to requests and the frames after a 101. Checks that each
/// frame is valid for a server, and that a close comes last.
fn sent_by_websocket(sent: &[u8]) -> (&[u8], Vec<&[u8]>) {
    let place = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|w| w == what);
    // No echoed bytes can contain this text: it is longer than a body may be, and frames come after
    // it.
    let Some(head) = place(
        sent,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
    ) else {
        return (sent, Vec::new());
    };
    let end = head + 4 + place(&sent[head..], b"\r\n\r\n").expect("a whole head");
    let (answers, mut rest) = sent.split_at(end);
    let mut frames: Vec<&[u8]> = Vec::new();
    while let [first, second, more @ ..] = rest {
        assert!(
            frames.last().is_none_or(|f| f[0] != 0x88),
            "something behind a close"
        );
        let length = match second {
            0..126 => 2 + usize::from(*second),
            126 => 4 + usize::from(u16::from_be_bytes([more[0], more[1]])),
            127.. => panic!("a message that is too large, or masked"),
        };
        assert!(matches!(first, 0x81 | 0x82 | 0xc1 | 0xc2 | 0x88..=0x8a));
        assert!(*second < 126 || (*first < 0x88 || *first > 0xbf) && length >= 4 + 126);
        let (frame, behind) = rest.split_at(length);
        frames.push(frame);
        rest = behind;
    }
    assert!(rest.is_empty(), "half a frame");
    (answers, frames)
}

/// A message in a room is delivered after direct answers, and not to a connection that has closed.
/// A client that sends many messages at once therefore receives no more than with small pieces, and
/// is closed for the same reason.
fn heard_in_rooms(frames: &[&[u8]], more: &[&[u8]]) {
    let close = |frames: &[&[u8]]| {
        let last = frames.last().filter(|f| f[0] == 0x88);
        last.map(|close| close.escape_ascii().to_string())
    };
    assert_eq!(close(frames), close(more));
    let times = |frames: &[&[u8]], frame| frames.iter().filter(|f| **f == frame).count();
    for frame in frames {
        assert!(
            times(frames, *frame) <= times(more, *frame),
            "{}",
            frame.escape_ascii()
        );
    }
}

/// A head has the same result for every cut and lies within its bytes, and its target, if it has a
/// path, cannot lead out of the root.
pub fn head(bytes: &[u8]) {
    let limits = HeadLimits {
        head_bytes_max: 512,
        target_bytes_max: 128,
        fields_max: 16,
    };
    let mut fresh = HeadParser::default();
    let whole = fresh.parse(bytes, &limits);
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
    let request = RequestHead::new(head, bytes);
    let _ = (request.wants_persistence(), request.expectation());
    let (path, query) = match Target::parse(request.method(), request.target(), request.scheme()) {
        Ok(Target::Path {
            path: b"", query, ..
        }) => (Some(&b"/"[..]), query),
        Ok(Target::Path { path, query, .. }) => (Some(path), query),
        Ok(Target::Asterisk) => {
            assert_eq!(request.method(), Method::Options);
            (None, None)
        }
        Ok(Target::Authority(_)) => {
            assert_eq!(request.method(), Method::Connect);
            (None, None)
        }
        Err(error) => panic!("the parser took a target that has no form: {error:?}"),
    };
    assert_eq!((request.path(), request.query()), (path, query));
    if let Some(path) = path {
        contained(path);
    }
}

fn contained(path: &[u8]) {
    let Ok(path) = SitePath::decode(path) else {
        return;
    };
    let bytes = path.bytes();
    assert!(!bytes.starts_with(b"/") && !bytes.contains(&0));
    for segment in bytes.split(|b| *b == b'/') {
        assert!(!segment.starts_with(b".") || segment == b".well-known");
    }
}

/// Decodes a chunked body in pieces that end at `cuts`, and at the end. Returns the content, and
/// the length of the body if it ends within the bytes.
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

/// The head of a response has the same result for every cut, and lies within its bytes. Its fields are
/// lines without control bytes, and no field that frames the body stands twice.
pub fn response(bytes: &[u8]) {
    let limits = HeadLimits {
        head_bytes_max: 512,
        target_bytes_max: 0,
        fields_max: 8,
    };
    let parse = |cuts: &[usize]| {
        let mut parser = ResponseParser::default();
        for &cut in cuts {
            match parser.parse(&bytes[..cut], &limits) {
                Ok(None) => {}
                Ok(Some(head)) => return format!("{head:?}"),
                Err(error) => return format!("{error:?}"),
            }
        }
        String::new()
    };
    let whole = parse(&[bytes.len()]);
    assert_eq!(whole, parse(&(0..=bytes.len()).collect::<Vec<_>>()));
    for cut in (0..bytes.len()).step_by(7) {
        assert_eq!(whole, parse(&[cut, bytes.len()]));
    }
    let mut parser = ResponseParser::default();
    let Ok(Some(head)) = parser.parse(bytes, &limits) else {
        return;
    };
    assert!((100..=999).contains(&head.status()));
    assert!(head.end() <= limits.head_bytes_max && bytes[..head.end()].ends_with(b"\r\n\r\n"));
    assert!(head.lines().count() <= limits.fields_max);
    for (name, value) in head.lines() {
        let is_control = |b: &u8| b.is_ascii_control() && *b != b'\t';
        assert!(!name.is_empty() && name.iter().all(u8::is_ascii_graphic));
        assert!(!value.iter().any(is_control));
    }
    for field in [Field::ContentLength, Field::TransferEncoding] {
        assert!(head.members(field).count() <= 1);
    }
    assert_eq!(head.body(Method::Head), ResponseBody::None);
    if head.wants_persistence(Method::Get) {
        assert_ne!(head.body(Method::Get), ResponseBody::UntilClose);
    }
}

/// A chunked body has the same content and end for every cut.
pub fn chunked(bytes: &[u8]) {
    let whole = decode_chunked(bytes, []);
    assert_eq!(whole, decode_chunked(bytes, 0..bytes.len()));
    assert_eq!(whole, decode_chunked(bytes, (0..bytes.len()).step_by(3)));
}

/// The path of a target is decoded once, to the name that the disk is asked for. A second encoding
/// of the name leads to the same file.
pub fn target(bytes: &[u8]) {
    for method in [Method::Get, Method::Options, Method::Connect] {
        let Ok(Target::Path {
            authority, path, ..
        }) = Target::parse(method, bytes, Scheme::Http)
        else {
            continue;
        };
        assert!(!path.contains(&b'?'));
        if path.is_empty() && authority.is_some() {
            continue;
        }
        assert!(path.starts_with(b"/"));
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

/// Ranges lie within the length, do not touch each other, are not empty, and are few.
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
            // Ranges that touch are joined.
            assert!(n == 0 || span.start > free, "{spans:?}");
            free = span.end;
        }
        assert!(spans.len() == 1 || spans.iter().map(ByteRange::bytes).sum::<u64>() < length);
    }
}

/// Any page with a tag is the page, with the tag at one place. A comment at the beginning moves the place
/// by its length.
pub fn tag_place(page: &[u8]) {
    const TAG: &str = "<script></script>";
    const COMMENT: &[u8] = b" <!-- <head> -->\n";
    for charset in [None, Some("utf-16le"), Some("utf-16be")] {
        let place = TagPlace::find(page, charset);
        let inserted = place.insert(TAG, page);
        let tag = place.encode(TAG);
        assert!(tag.len() == TAG.len() || tag.len() == 2 * TAG.len());
        assert_eq!(inserted.len(), page.len() + tag.len());
        assert_eq!(inserted[..place.at], page[..place.at]);
        assert_eq!(inserted[place.at..][..tag.len()], tag);
        assert_eq!(inserted[place.at + tag.len()..], page[place.at..]);
    }
    let has_mark = page.starts_with(b"\xff\xfe")
        || page.starts_with(b"\xfe\xff")
        || page.starts_with(b"\xef\xbb\xbf");
    if !has_mark && page.len() + COMMENT.len() <= TagPlace::SEARCHED_BYTES {
        let moved = TagPlace::find(&[COMMENT, page].concat(), None).at;
        assert_eq!(moved, COMMENT.len() + TagPlace::find(page, None).at);
    }
}

/// Calls `check` with a request that has these bytes as field lines, if it is a valid request.
fn with_fields(bytes: &[u8], check: impl Fn(&RequestHead<'_>)) {
    let limits = HeadLimits {
        head_bytes_max: 4096,
        target_bytes_max: 128,
        fields_max: 32,
    };
    for method in ["GET", "PUT"] {
        let line = format!("{method} / HTTP/1.1\r\nHost: x\r\n");
        let text = [line.as_bytes(), bytes, b"\r\n\r\n"].concat();
        let mut parser = HeadParser::default();
        if let Ok(Parsed::Complete(head)) = parser.parse(&text, &limits) {
            check(&RequestHead::new(head, &text));
        }
    }
}

/// The outcome of preconditions is allowed for the method. Without the fields, it is the same as
/// without preconditions. A weak tag never counts as a strong match.
pub fn conditional(bytes: &[u8]) {
    let modified = Some(UNIX_EPOCH + Duration::from_secs(784_111_777));
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
        // Only If-Match tells strong and weak tags apart.
        if !has(Field::IfMatch) {
            let holds = |got| matches!(got, Precondition::Holds { .. });
            assert!(weak == strong || (holds(weak) && holds(strong)));
        }
    });
}

/// Each acceptable coding is listed once, in the server's order if the client has no preference.
/// Without Accept-Encoding, the content goes without a coding.
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

/// The guard admits the requests that its rules admit. The rules are written out here a second
/// time, slowly. The bytes are a request head.
pub fn guard(bytes: &[u8]) {
    let limits = HeadLimits {
        head_bytes_max: 1024,
        target_bytes_max: 256,
        fields_max: 16,
    };
    let mut parser = HeadParser::default();
    let Ok(Parsed::Complete(head)) = parser.parse(bytes, &limits) else {
        return;
    };
    let request = RequestHead::new(head, bytes);
    for (names, origins) in [
        (&[][..], &[][..]),
        (&["app.test"], &["null", "http://app.test:80"]),
        (
            &[
                "App.Test.",
                ".Example.org",
                ".0.0.1",
                "10.0.0.1",
                "2001:DB8::1",
            ],
            &["ws://app.test", "https://[2001:db8::1]:8080"],
        ),
        (&["*"], &[]),
        (&[], &["*"]),
    ] {
        let outcome = Guard::new(names).with_origins(origins).check(&request);
        let expected = is_admitted(&request, names, origins);
        assert_eq!(
            outcome.is_ok(),
            expected,
            "{names:?}, {origins:?}: {outcome:?}"
        );
        // The sentence of a refusal fits in a line.
        if let Err(refusal) = outcome {
            let sentence = refusal.to_string();
            assert!(sentence.len() < 700 && !sentence.contains(char::is_control));
        }
    }
}

/// The guard, naively.
fn is_admitted(request: &RequestHead<'_>, names: &[&str], allowed: &[&str]) -> bool {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let target = text(request.target());
    let absolute = target
        .strip_prefix("http://")
        .filter(|_| request.method() != Method::Connect);
    let authority = match absolute {
        Some(rest) => rest.split(['/', '?']).next().unwrap().to_owned(),
        None => request.value(Field::Host).map(text).unwrap_or_default(),
    };
    let own = HostAndPort::of(&authority);
    let is_stranger = own.ip.is_none() && !is_local(&own) && !is_known(&own, names);
    if !authority.is_empty() && is_stranger {
        return false;
    }
    let upgrade: Vec<_> = request.values(Field::Upgrade).map(text).collect();
    let websocket = upgrade
        .iter()
        .flat_map(|line| line.split(','))
        .any(|protocol| protocol.trim_ascii() == "websocket");
    match request.method_token() {
        b"GET" if websocket && request.version() == Version::Http11 => {}
        b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" => {
            let navigates = request.value(Field::FetchMode) == Some(b"navigate");
            let same_site = request.value(Field::FetchSite) == Some(b"same-site");
            let cross_site = request.value(Field::FetchSite) == Some(b"cross-site");
            if navigates || !(same_site || cross_site) {
                return true;
            }
            if request.value(Field::Origin).is_none() {
                let url = request.value(Field::Referer).unwrap_or_default();
                let url = String::from_utf8_lossy(url);
                let host = |rest: &str| rest.split(['/', '?', '#']).next().unwrap().to_owned();
                let page = url
                    .split_once("://")
                    .map(|(scheme, rest)| (scheme, host(rest)));
                let page = page.map(|(scheme, host)| format!("{scheme}://{host}"));
                let page = page.filter(|page| is_page_admitted(page, &own, names, &["*"]));
                return match page {
                    Some(page) => is_page_admitted(&page, &own, names, allowed),
                    None if same_site && is_local(&own) => true,
                    None => is_page_admitted("null", &own, names, allowed),
                };
            }
        }
        _ => {}
    }
    let origins: Vec<_> = request.values(Field::Origin).collect();
    match origins[..] {
        [] => true,
        [origin] => is_page_admitted(&String::from_utf8_lossy(origin), &own, names, allowed),
        [_, _, ..] => false,
    }
}

/// Whether a page with this origin may do everything. `own` is the authority of the request.
fn is_page_admitted(raw: &str, own: &HostAndPort, names: &[&str], allowed: &[&str]) -> bool {
    let origin = raw.to_ascii_lowercase();
    let has_any = allowed.contains(&"*");
    let is_listed = allowed.contains(&raw);
    let Some((scheme @ ("http" | "https"), place)) = origin.split_once("://") else {
        let is_one = raw == "null"
            || origin.split_once("://").is_some_and(|(scheme, rest)| {
                let plain = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
                let first = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
                let visible = |c: char| c.is_ascii_graphic() && !"/,\"".contains(c);
                first && scheme.chars().all(plain) && rest.chars().all(visible)
            });
        return is_one && (is_listed || has_any);
    };
    // The parser decides about the form of an authority: it accepts no other as Host.
    if Authority::parse(place.as_bytes()).is_none() {
        return false;
    }
    let default = |scheme| if scheme == "http" { 80 } else { 443 };
    let is_listed = allowed.iter().any(|allowed| {
        let Some((of, listed)) = allowed.split_once("://") else {
            return false;
        };
        let (listed, place) = (HostAndPort::of(listed), HostAndPort::of(place));
        let same_host = listed.host == place.host || (listed.ip.is_some() && listed.ip == place.ip);
        let port = |place: &HostAndPort| place.port.unwrap_or(default(scheme));
        of == scheme && same_host && port(&listed) == port(&place)
    });
    if is_listed || has_any {
        return true;
    }
    let default = default(scheme);
    let place = HostAndPort::of(place);
    let same_host = place.host == own.host || (place.ip.is_some() && place.ip == own.ip);
    let same_port = place.port.unwrap_or(default) == own.port.unwrap_or(default);
    let is_own = !own.host.is_empty() && same_host && same_port;
    is_own || is_local(&place) || is_known(&place, names)
}

fn is_local(place: &HostAndPort) -> bool {
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    place.is_within("localhost") || place.ip.is_some_and(is_loopback)
}

fn is_known(place: &HostAndPort, names: &[&str]) -> bool {
    names.iter().any(|name| {
        let name = name.to_lowercase();
        let name = name.trim_end_matches('.');
        let same_ip = name
            .parse()
            .is_ok_and(|name: IpAddr| Some(name) == place.ip);
        match name.strip_prefix('.') {
            Some(domain) => place.ip.is_none() && place.is_within(domain),
            None => name == "*" || same_ip || name == place.host,
        }
    })
}

/// The parts of an authority.
struct HostAndPort {
    host: String,
    ip: Option<IpAddr>,
    port: Option<u16>,
}

impl HostAndPort {
    fn of(authority: &str) -> HostAndPort {
        let (host, port) = match authority.rfind(':') {
            Some(colon) if !authority.ends_with(']') => authority.split_at(colon),
            _ => (authority, ""),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let v6 = host.trim_matches(['[', ']']).parse::<Ipv6Addr>();
        let v4 = host.parse::<Ipv4Addr>();
        HostAndPort {
            host: host.to_owned(),
            ip: v4.map(IpAddr::from).or(v6.map(IpAddr::from)).ok(),
            port: port.trim_start_matches(':').parse().ok(),
        }
    }

    /// Compares labels, from the last on.
    fn is_within(&self, domain: &str) -> bool {
        let mut labels = self.host.split('.').rev();
        let at_end = domain.split('.').rev().all(|l| labels.next() == Some(l));
        at_end && labels.next() != Some("")
    }
}
