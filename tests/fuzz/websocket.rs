//! Properties that must hold for any bytes sent by WebSocket; and the naive readings that the
//! codecs are checked against, by the fuzz targets and by `cargo test`.

use oneloop::websocket::deflate::{Inflated, Inflater};
use oneloop::websocket::{
    Accept, MessageKind, Opening, OpeningError, Protocols, Reader, ReaderConfig,
};
use oneloop::websocket::{FrameEvent, Violation};

// ── Frames ─────────────────────────────────────────────────────────────────────────────────────

/// A complete message or control frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Got {
    /// An uncompressed message.
    Message(MessageKind, Vec<u8>),
    /// A compressed message, as it was sent.
    Compressed(MessageKind, Vec<u8>),
    /// A ping, a pong or a close, and its content.
    Control(FrameEvent, Vec<u8>),
}

/// The frames that were read, and the violation at the end, with the number of bytes read when it
/// was seen. Nothing is read after a close.
pub type Frames = (Vec<Got>, Option<(Violation, usize)>);

/// Reads frames in pieces that end at `cuts`, and at the end.
pub fn read_frames(
    bytes: &[u8],
    cuts: impl IntoIterator<Item = usize>,
    rules: &ReaderConfig,
) -> Frames {
    let (mut reader, mut read_buffer, mut from) = (Reader::default(), Vec::new(), 0);
    let (mut got, mut gathered) = (Vec::new(), Vec::new());
    for cut in cuts.into_iter().chain([bytes.len()]) {
        read_buffer.extend_from_slice(&bytes[from..cut]);
        from = cut;
        loop {
            let piece = match reader.read(&mut read_buffer, rules) {
                Ok(piece) => piece,
                Err(violation) => return (got, Some((violation, cut))),
            };
            let content = read_buffer[piece.at..piece.end].to_vec();
            read_buffer.drain(..piece.end);
            let (kind, compressed, first, last) = match piece.event {
                FrameEvent::Partial => break,
                FrameEvent::Ping | FrameEvent::Pong | FrameEvent::Close => {
                    got.push(Got::Control(piece.event, content));
                    match piece.event {
                        FrameEvent::Close => return (got, None),
                        _ => continue,
                    }
                }
                FrameEvent::Data {
                    kind,
                    compressed,
                    first,
                    last,
                } => (kind, compressed, first, last),
            };
            if kind == MessageKind::Text
                && !compressed
                && let Err(violation) = reader.check_text(&content, last)
            {
                return (got, Some((violation, cut)));
            }
            assert!(
                !first || gathered.is_empty(),
                "one message begins in another"
            );
            gathered.extend(content);
            if last {
                let content = std::mem::take(&mut gathered);
                got.push(match compressed {
                    true => Got::Compressed(kind, content),
                    false => Got::Message(kind, content),
                });
            }
        }
    }
    (got, None)
}

/// Frames are the same for every cut, messages have the announced kind and are within the bound,
/// and a violation is seen at the deciding byte: another byte in its place would not be that
/// violation. The first byte sets the rules.
pub fn frames(bytes: &[u8]) {
    let Some((rules, bytes)) = bytes.split_first() else {
        return;
    };
    let bounds = [0, 1, 125, 126, 127, 300, 1_000, 70_000];
    let rules = ReaderConfig {
        deflate: rules & 1 == 1,
        message_bytes_max: bounds[usize::from(rules >> 1) % bounds.len()],
    };
    let (got, end) = read_frames(bytes, 1..bytes.len(), &rules);
    let (half, kind) = (bytes.len() / 2, end.map(|(violation, _)| violation));
    for (all, end) in [
        read_frames(bytes, [], &rules),
        read_frames(bytes, [half], &rules),
        read_frames(bytes, (0..bytes.len()).step_by(7), &rules),
    ] {
        assert_eq!((all, end.map(|(v, _)| v)), (got.clone(), kind));
    }
    for got in &got {
        let (length, max) = match got {
            Got::Message(kind, content) => {
                assert!(*kind == MessageKind::Binary || str::from_utf8(content).is_ok());
                (content.len() as u64, rules.message_bytes_max)
            }
            // A message that cannot be compressed becomes larger.
            Got::Compressed(_, content) => {
                assert!(rules.deflate);
                (content.len() as u64, rules.message_bytes_max * 2 + 64)
            }
            Got::Control(_, content) => (content.len() as u64, 125),
        };
        assert!(length <= max);
    }
    match end {
        // An incomplete character may be known to be wrong before its last byte, and a length to be
        // too large: the reader sees these two violations a little later than possible.
        None | Some((Violation::Utf8 | Violation::TooLarge, _)) => {}
        Some((violation, at)) => {
            let mut other = bytes[..at].to_vec();
            let spared = (0..=u8::MAX).any(|byte| {
                other[at - 1] = byte;
                let end = read_frames(&other, [at - 1], &rules).1;
                end.is_none_or(|(another, _)| another != violation)
            });
            assert!(spared, "{violation:?} could have been seen before");
        }
    }
}

// ── permessage-deflate ─────────────────────────────────────────────────────────────────────────

/// Why a message was not inflated to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// The bytes are invalid.
    Violation(Violation),
    /// The content becomes too large.
    TooLarge,
}

/// Inflates a message in pieces, as a connection does: with limited space at a time, up to a byte
/// more than `max`. Returns the content so far, and why inflating stopped before the end.
pub fn inflate_pieces(
    inflater: &mut Inflater,
    pieces: &[&[u8]],
    room: usize,
    max: usize,
) -> (Vec<u8>, Option<Stopped>) {
    let mut out = Vec::new();
    inflater.begin();
    for (n, piece) in pieces.iter().enumerate() {
        let (mut rest, last) = (*piece, n + 1 == pieces.len());
        loop {
            let before = out.len();
            let room = room.min(max + 1 - before);
            let done = inflater.inflate(rest, last, &mut out, room);
            assert!(out.len() <= before + room, "more than there is room for");
            if out.len() > max {
                return (out, Some(Stopped::TooLarge));
            }
            match done {
                Ok(Inflated::Full(used)) => {
                    assert!(used > 0 || out.len() > before, "it spins");
                    rest = &rest[used..];
                }
                Ok(Inflated::All) => break,
                Err(violation) => {
                    assert_eq!(before, out.len(), "it fails before what it gives");
                    return (out, Some(Stopped::Violation(violation)));
                }
            }
        }
    }
    (out, None)
}

/// A message has the same content for every cut and every amount of space, within the bound. The
/// first byte sets the space, the second the cuts.
pub fn inflate(bytes: &[u8]) {
    let [room, size, bytes @ ..] = bytes else {
        return;
    };
    const MAX: usize = 20_000;
    let room = 1 + usize::from(*room) * usize::from(*room);
    let mut inflater = Inflater::default();
    let whole = inflate_pieces(&mut inflater, &[bytes], usize::MAX, MAX);
    let mut check = |pieces: &[&[u8]], room| {
        let again = inflate_pieces(&mut inflater, pieces, room, MAX);
        assert!(
            whole == again,
            "{} and {} bytes",
            whole.0.len(),
            again.0.len()
        );
    };
    check(&[bytes], room);
    check(&[b"", bytes, b""], room);
    if !bytes.is_empty() {
        let pieces: Vec<_> = bytes.chunks(1 + usize::from(*size)).collect();
        check(&pieces, room);
        check(&bytes.chunks(1).collect::<Vec<_>>(), usize::MAX);
    }
}

// ── The opening handshake ──────────────────────────────────────────────────────────────────────

/// The outcome of an opening handshake: the subprotocol, and the answer about extensions.
pub type Opened = (Option<String>, Option<String>);

/// The outcome as `accept` has computed it.
pub fn opened(accept: &Accept) -> Opened {
    let field = |name| {
        let mut fields = accept.fields().filter(|(n, _)| *n == name);
        fields.next().map(|(_, value)| value)
    };
    let protocol = field("Sec-WebSocket-Protocol");
    assert_eq!(protocol.as_deref(), accept.protocol());
    let extensions = field("Sec-WebSocket-Extensions");
    assert_eq!(extensions, accept.deflate().map(|d| d.to_string()));
    (protocol, extensions)
}

/// The outcome by the letter of the RFCs, computed slowly.
pub fn naively_opened(opening: &Opening<'_>, spoken: Protocols) -> Result<Opened, OpeningError> {
    match opening.versions[..] {
        [b"13"] => {}
        _ => return Err(OpeningError::Version),
    }
    let base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    match opening.keys[..] {
        [key] if key.len() == 24 && key[..22].iter().all(base64) && key.ends_with(b"==") => {}
        _ => return Err(OpeningError::Key),
    }
    let lists = opening
        .protocols
        .iter()
        .flat_map(|l| l.split(|b| *b == b','));
    let members = lists.map(|m| {
        String::from_utf8_lossy(m)
            .trim_matches([' ', '\t'])
            .to_string()
    });
    let members: Vec<_> = members.filter(|member| !member.is_empty()).collect();
    if !members.iter().all(|member| member.chars().all(is_token)) {
        return Err(OpeningError::Protocols);
    }
    let protocol = members.iter().find(|member| match spoken {
        Protocols::None => false,
        Protocols::Any => true,
        Protocols::Of(names) => names.contains(&member.as_str()),
    });
    let mut extensions = Vec::new();
    for line in &opening.extensions {
        let symbols = symbols(line).ok_or(OpeningError::Extensions)?;
        for member in symbols.split(|s| *s == Symbol::Mark(',')) {
            match extension(member) {
                _ if member.is_empty() => {}
                Some(extension) => extensions.push(extension),
                None => return Err(OpeningError::Extensions),
            }
        }
    }
    if extensions.is_empty() && !opening.extensions.is_empty() {
        return Err(OpeningError::Extensions);
    }
    Ok((protocol.cloned(), extensions.iter().find_map(answer)))
}

/// A symbol of a list of extensions (RFC 6455 §9.1).
#[derive(PartialEq, Debug)]
enum Symbol {
    Token(String),
    Quoted(String),
    Mark(char),
}

/// tchar of RFC 9110 §5.6.2, which excludes the same characters as RFC 2616, to which RFC 6455
/// refers.
fn is_token(c: char) -> bool {
    c.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]{}".contains(c)
}

fn symbols(line: &[u8]) -> Option<Vec<Symbol>> {
    let line: String = line.iter().map(|b| char::from(*b)).collect();
    let (mut symbols, mut rest) = (Vec::new(), line.as_str());
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        symbols.push(match c {
            ' ' | '\t' => continue,
            ',' | ';' | '=' => Symbol::Mark(c),
            '"' => {
                let mut text = String::new();
                let mut chars = rest.chars();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => text.push(chars.next()?),
                        c => text.push(c),
                    }
                }
                rest = chars.as_str();
                Symbol::Quoted(text)
            }
            c if is_token(c) => {
                let end = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
                let token = format!("{c}{}", &rest[..end]);
                rest = &rest[end..];
                Symbol::Token(token)
            }
            _ => return None,
        });
    }
    Some(symbols)
}

/// A name and its parameters.
type Extension = (String, Vec<(String, Option<String>)>);

fn extension(member: &[Symbol]) -> Option<Extension> {
    let mut parts = member.split(|s| *s == Symbol::Mark(';'));
    let [Symbol::Token(name)] = parts.next()? else {
        return None;
    };
    let mut parameters = Vec::new();
    for part in parts {
        parameters.push(match part {
            [Symbol::Token(name)] => (name.clone(), None),
            [Symbol::Token(name), Symbol::Mark('='), Symbol::Token(value)] => {
                (name.clone(), Some(value.clone()))
            }
            [
                Symbol::Token(name),
                Symbol::Mark('='),
                Symbol::Quoted(value),
            ] if !value.is_empty() && value.chars().all(is_token) => {
                (name.clone(), Some(value.clone()))
            }
            _ => return None,
        });
    }
    Some((name.clone(), parameters))
}

/// The answer to an offer, if it is acceptable (RFC 7692 §7.1). The server always asks both sides
/// for no context takeover.
fn answer((name, parameters): &Extension) -> Option<String> {
    if !name.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let mut answer = format!(
        "permessage-deflate; {}; {}",
        "server_no_context_takeover", "client_no_context_takeover"
    );
    let bits: Vec<_> = (8..=15).map(|bits| bits.to_string()).collect();
    let mut names = Vec::new();
    for (name, value) in parameters {
        let name = name.to_ascii_lowercase();
        let fits = match (name.as_str(), value) {
            ("server_no_context_takeover" | "client_no_context_takeover", value) => value.is_none(),
            ("client_max_window_bits", value) => value.as_ref().is_none_or(|v| bits.contains(v)),
            ("server_max_window_bits", Some(value)) if bits[1..].contains(value) => {
                answer += &format!("; server_max_window_bits={value}");
                true
            }
            _ => false,
        };
        if !fits || names.contains(&name) {
            return None;
        }
        names.push(name);
    }
    Some(answer)
}

/// An opening handshake is accepted or refused by the letter of the RFCs. The first byte sets the
/// protocols; after it come lines, each with the initial of its field in front.
pub fn handshake(bytes: &[u8]) {
    let Some((spoken, lines)) = bytes.split_first() else {
        return;
    };
    let spoken = match spoken % 3 {
        0 => Protocols::None,
        1 => Protocols::Any,
        _ => Protocols::Of(&["chat", "soap"]),
    };
    let mut opening = Opening::default();
    for line in lines.split(|b| *b == b'\n') {
        // A field value has neither control characters nor white space around it (RFC 9110 §5.5).
        let in_value = |b: &u8| *b == b'\t' || (*b >= b' ' && *b != 0x7f);
        let Some((initial, value)) = line.split_first() else {
            continue;
        };
        if !value.iter().all(in_value) {
            continue;
        }
        match initial {
            b'K' => opening.keys.push(value.trim_ascii()),
            b'V' => opening.versions.push(value.trim_ascii()),
            b'P' => opening.protocols.push(value.trim_ascii()),
            b'E' => opening.extensions.push(value.trim_ascii()),
            _ => {}
        }
    }
    check_opening(&opening, spoken);
}

/// Compares both readings of an opening handshake.
pub fn check_opening(opening: &Opening<'_>, spoken: Protocols) {
    let accept = opening.accept(spoken);
    let got = accept.as_ref().map(opened).map_err(|e| *e);
    assert_eq!(got, naively_opened(opening, spoken), "{opening:?}");
}
