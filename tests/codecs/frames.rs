//! WebSocket frames and messages, with `tungstenite` as the oracle. `tungstenite` knows RFC 6455,
//! but no extensions. It differs from the server, on purpose or not:
//!
//! - It reads a frame to the end before judging it, and its verdict on an incomplete frame means
//!   nothing. Incomplete frames are therefore [completed] before the comparison.
//! - It accepts lengths in a longer form than necessary (against §5.2).
//! - It accepts a close with a code that must not be sent (against §7.4.1), and replaces the code
//!   with
//! 1002. It counts 1014 as such a code, but IANA has registered 1014.

use std::io::{self, Cursor, Read, Write};

use oneloop::websocket::{
    Close, CloseCode, FrameEvent, MessageKind, Opcode, ReaderConfig, Utf8, Violation, write_frame,
    write_header,
};
use proptest::prelude::*;
use proptest::sample::Index;
use tungstenite::protocol::frame::coding::OpCode;
use tungstenite::protocol::frame::{Frame, FrameHeader};
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::sorted;
use crate::websocket::{Got, read_frames};

/// A frame before encoding.
#[derive(Clone, Debug)]
struct Sent {
    opcode: Opcode,
    fin: bool,
    payload: Vec<u8>,
    key: [u8; 4],
}

impl Sent {
    /// Encodes the frame as a client does.
    fn write(&self, out: &mut Vec<u8>) {
        let header = FrameHeader {
            is_final: self.fin,
            opcode: OpCode::from(self.opcode as u8),
            mask: Some(self.key),
            ..FrameHeader::default()
        };
        let frame = Frame::from_payload(header, self.payload.clone().into());
        frame.format(out).expect("a vector takes it");
    }
}

/// The messages and control frames in a list of valid frames.
fn meant(frames: &[Sent]) -> Vec<Got> {
    let (mut got, mut message) = (Vec::new(), None);
    for frame in frames {
        let event = match frame.opcode {
            Opcode::Ping => FrameEvent::Ping,
            Opcode::Pong => FrameEvent::Pong,
            Opcode::Close => FrameEvent::Close,
            opcode => {
                let kind = match opcode {
                    Opcode::Text => MessageKind::Text,
                    _ => MessageKind::Binary,
                };
                let (_, content) = message.get_or_insert((kind, Vec::new()));
                content.extend_from_slice(&frame.payload);
                if frame.fin {
                    let (kind, content) = message.take().expect("it was put there");
                    got.push(Got::Message(kind, content));
                }
                continue;
            }
        };
        got.push(Got::Control(event, frame.payload.clone()));
    }
    got
}

/// About `length` bytes of text, with characters of all lengths.
fn text(length: usize) -> Vec<u8> {
    let mut text: String = "aä€𝄞".chars().cycle().take(length / 3).collect();
    while text.len() > length {
        text.pop();
    }
    text.extend(std::iter::repeat_n('.', length - text.len()));
    text.into_bytes()
}

fn control() -> impl Strategy<Value = Sent> {
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..10),
        prop::collection::vec(any::<u8>(), 124..=125),
    ];
    let opcode = prop_oneof![Just(Opcode::Ping), Just(Opcode::Pong)];
    (opcode, payload, any::<[u8; 4]>()).prop_map(|(opcode, payload, key)| Sent {
        opcode,
        fin: true,
        payload,
        key,
    })
}

/// A message in fragments, with control frames in between.
fn message(length: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<Sent>> {
    (
        (length, any::<bool>()),
        prop::collection::vec(any::<Index>(), 0..4),
        prop::collection::vec((any::<Index>(), control()), 0..3),
        any::<[u8; 4]>(),
    )
        .prop_map(|((length, is_text), cuts, controls, mut key)| {
            let (mut opcode, content) = match is_text {
                true => (Opcode::Text, text(length)),
                false => (Opcode::Binary, (0..length).map(|n| n as u8).collect()),
            };
            let cuts = sorted(&cuts, length).into_iter();
            let (mut frames, mut from) = (Vec::new(), 0);
            for (n, cut) in cuts.map(Some).chain([None]).enumerate() {
                let payload = content[from..cut.unwrap_or(length)].to_vec();
                from += payload.len();
                key[0] = key[0].wrapping_add(n as u8);
                frames.push(Sent {
                    opcode,
                    fin: cut.is_none(),
                    payload,
                    key,
                });
                opcode = Opcode::Continuation;
            }
            for (at, control) in controls {
                frames.insert(at.index(frames.len() + 1), control);
            }
            frames
        })
}

fn close() -> impl Strategy<Value = Option<Sent>> {
    let content = prop_oneof![
        Just(Vec::new()),
        (any::<u16>(), "[ -~ä€]{0,20}").prop_map(|(n, reason)| {
            let codes = [1000, 1001, 1002, 1003, 1007, 1011, 1013, 3000, 3999, 4999];
            let code: u16 = codes[usize::from(n) % codes.len()];
            [&code.to_be_bytes(), reason.as_bytes()].concat()
        }),
    ];
    prop::option::of((content, any::<[u8; 4]>()).prop_map(|(payload, key)| Sent {
        opcode: Opcode::Close,
        fin: true,
        payload,
        key,
    }))
}

fn conversation(length: impl Strategy<Value = usize>) -> impl Strategy<Value = Vec<Sent>> {
    (prop::collection::vec(message(length), 0..4), close())
        .prop_map(|(messages, close)| messages.into_iter().flatten().chain(close).collect())
}

/// Lengths around the points where the form of the header changes.
fn any_length() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0..20_usize,
        4 => 120..130_usize,
        1 => 65_534..=65_537_usize,
        1 => 0..100_000_usize,
    ]
}

/// Lengths that [`RULES`] allow, up to the bound.
fn short_length() -> impl Strategy<Value = usize> {
    prop_oneof![0..20_usize, 120..130_usize, 290..=300_usize]
}

const RULES: ReaderConfig = ReaderConfig {
    message_bytes_max: 300,
    deflate: false,
};

/// Encoded lengths: none, or a length in a right or wrong form.
const LENGTHS: &[&[u8]] = &[
    b"",
    b"\x7e\0\x05",
    b"\x7e\0\x7e",
    b"\x7e\x01\x2c",
    b"\x7e\x01\x2d",
    b"\x7f\0\0\0\0\0\x01\0\0",
    b"\x7f\x80\0\0\0\0\0\0\x01",
    b"\x7f\0\0\0\0\0\0\0\x01",
];

/// Bytes to be read; written bytes are thrown away.
struct Wire(Cursor<Vec<u8>>);

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The messages that tungstenite reads, and the final error; `None` after a close.
fn theirs(bytes: &[u8], role: Role, max: u64) -> (Vec<Got>, Option<Error>) {
    let max = Some(max as usize);
    let config = WebSocketConfig::default()
        .read_buffer_size(1 << 12)
        .max_message_size(max)
        .max_frame_size(max);
    let wire = Wire(Cursor::new(bytes.to_vec()));
    let mut socket = WebSocket::from_raw_socket(wire, role, Some(config));
    let mut got = Vec::new();
    loop {
        got.push(match socket.read() {
            Ok(Message::Text(text)) => Got::Message(MessageKind::Text, text.as_bytes().into()),
            Ok(Message::Binary(bytes)) => Got::Message(MessageKind::Binary, bytes.into()),
            Ok(Message::Ping(content)) => Got::Control(FrameEvent::Ping, content.into()),
            Ok(Message::Pong(content)) => Got::Control(FrameEvent::Pong, content.into()),
            Ok(Message::Close(close)) => {
                let content = close.map(|close| {
                    let code = u16::from(close.code).to_be_bytes();
                    [&code, close.reason.as_bytes()].concat()
                });
                got.push(Got::Control(FrameEvent::Close, content.unwrap_or_default()));
                return (got, None);
            }
            Ok(Message::Frame(_)) => unreachable!("it is never read"),
            Err(error) => return (got, Some(error)),
        });
    }
}

/// The bytes, and after them the missing part of the last frame.
fn completed(bytes: &[u8]) -> Vec<u8> {
    let (mut bytes, mut at) = (bytes.to_vec(), 0);
    while at < bytes.len() {
        // For a missing length, 126 is filled in: too long for a control frame.
        let header: &[u8] = match bytes.get(at + 1).map(|second| second & 0x7f) {
            Some(126) => b"\0\x80\0\x7e\0\0\0\0",
            Some(127) => b"\0\x80\0\0\0\0\0\0\0\x7e\0\0\0\0",
            Some(_) | None => b"\0\x80\0\0\0\0",
        };
        let here = (bytes.len() - at).min(header.len());
        bytes.extend_from_slice(&header[here..]);
        let length = match bytes[at + 1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]])),
            127 => u64::from_be_bytes(*bytes[at + 2..].first_chunk().expect("eight bytes")),
            short => u64::from(short),
        };
        if length > 1_000 {
            break;
        }
        at += header.len() + length as usize;
        bytes.resize(bytes.len().max(at), 0);
    }
    bytes
}

/// Whether both sides read the same in any bytes.
fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    const REPLACED: &[u8] = b"\x03\xeaProtocol violation";
    let max = RULES.message_bytes_max;
    let (mut ours, end) = read_frames(bytes, 1..bytes.len(), &RULES);
    let Some((violation, at)) = end else {
        let (theirs, error) = theirs(bytes, Role::Server, max);
        if let Some(Got::Control(FrameEvent::Close, content)) = ours.last_mut()
            && content.starts_with(&1014_u16.to_be_bytes())
        {
            *content = REPLACED.into();
        }
        prop_assert_eq!(ours, theirs);
        use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake as Missing;
        let is_partial = matches!(error, None | Some(Error::Protocol(Missing)));
        prop_assert!(is_partial, "{:?}", error);
        return Ok(());
    };
    let (theirs, error) = theirs(&completed(&bytes[..at]), Role::Server, max);
    if violation == Violation::Length {
        prop_assert!(theirs.starts_with(&ours));
        return Ok(());
    }
    if violation == Violation::Close && error.is_none() {
        ours.push(Got::Control(FrameEvent::Close, REPLACED.into()));
        prop_assert_eq!(ours, theirs);
        return Ok(());
    }
    prop_assert_eq!(ours, theirs);
    let code = match error {
        Some(Error::Protocol(_)) => CloseCode::PROTOCOL_ERROR,
        Some(Error::Utf8(_)) => CloseCode::INVALID_DATA,
        Some(Error::Capacity(_)) => CloseCode::TOO_LARGE,
        other => panic!("{other:?} instead of {violation:?}"),
    };
    // With a wrong code, the rest of the close reason may be wrong too.
    if violation != Violation::Close {
        prop_assert_eq!(code, violation.close_code(), "{:?}", violation);
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_tungstenite_writes_is_read_however_it_is_cut(
        frames in conversation(any_length()),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes));
        let rules = ReaderConfig { message_bytes_max: 100_000, deflate: false };
        let expected = (meant(&frames), None);
        prop_assert!(read_frames(&bytes, [], &rules) == expected);
        prop_assert!(read_frames(&bytes, sorted(&cuts, bytes.len()), &rules) == expected);
        if bytes.len() < 2_000 {
            prop_assert_eq!(read_frames(&bytes, 1..bytes.len(), &rules), expected);
        }
    }

    #[test]
    fn what_is_written_tungstenite_reads(frames in conversation(any_length())) {
        let mut bytes = Vec::new();
        for frame in &frames {
            let Sent { opcode, fin, payload, .. } = frame;
            match (opcode, fin) {
                (Opcode::Close, _) => Close::parse(payload).expect("valid").write(&mut bytes),
                (_, true) => write_frame(&mut bytes, *opcode, false, payload),
                (_, false) => {
                    write_header(&mut bytes, *opcode, false, false, payload.len());
                    bytes.extend_from_slice(payload);
                }
            }
        }
        let (theirs, _) = theirs(&bytes, Role::Client, 100_000);
        prop_assert!(theirs == meant(&frames));
    }

    #[test]
    fn a_close_that_is_written_tungstenite_reads(code in 1000..5000_u16, reason in "\\PC{0,60}") {
        let code = CloseCode(code);
        prop_assume!(code.may_be_sent() && code != CloseCode(1014));
        let mut bytes = Vec::new();
        Close { code: Some(code), reason: &reason }.write(&mut bytes);
        let (theirs, _) = theirs(&bytes, Role::Client, 125);
        let [Got::Control(FrameEvent::Close, content)] = &theirs[..] else {
            panic!("no close: {theirs:?}");
        };
        let close = Close::parse(content).expect("valid");
        prop_assert_eq!(close.code, Some(code));
        prop_assert!(reason.starts_with(close.reason));
        prop_assert!(close.reason == reason || close.reason.len() > Close::REASON_BYTES_MAX - 4);
    }

    #[test]
    fn damaged_frames_are_refused_where_tungstenite_refuses_them(
        frames in conversation(short_length()),
        changes in prop::collection::vec((any::<Index>(), any::<u8>(), 0..4_u8), 1..4),
        // With a zero key, a changed byte is the same change in the unmasked payload.
        masked in any::<bool>(),
    ) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for mut frame in frames {
            if !masked {
                frame.key = [0; 4];
            }
            starts.push(bytes.len());
            frame.write(&mut bytes);
        }
        for (at, byte, kind) in changes {
            if bytes.is_empty() || starts.is_empty() {
                continue;
            }
            match kind {
                0 => {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                // A change to a header does the most.
                1 => {
                    let start = starts[at.index(starts.len())] + usize::from(byte & 1);
                    if let Some(place) = bytes.get_mut(start) {
                        *place ^= 1 << (byte >> 5);
                    }
                }
                2 => drop(bytes.remove(at.index(bytes.len()))),
                _ => bytes.truncate(at.index(bytes.len())),
            }
        }
        agree(&bytes)?;
    }

    #[test]
    fn random_frames_are_refused_where_tungstenite_refuses_them(
        frames in prop::collection::vec((
            prop::sample::select(&b"\x00\x01\x02\x80\x81\x82\x88\x89\x8a\x08\x0a\xc1\x91\x83\x8b"[..]),
            prop::collection::vec(any::<u8>(), 0..8),
            prop::sample::select(LENGTHS),
            prop::bool::weighted(0.95),
        ), 0..8),
        plain in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        for (first, payload, length, masked) in frames {
            bytes.push(first);
            let at = bytes.len();
            match plain || length.is_empty() {
                true => bytes.push(payload.len() as u8),
                false => bytes.extend(length),
            }
            if masked {
                bytes[at] |= 0x80;
                bytes.extend([0; 4]);
            }
            bytes.extend(payload);
        }
        agree(&bytes)?;
    }

    #[test]
    fn close_frames_are_refused_where_tungstenite_refuses_them(
        code in prop_oneof![any::<u16>(), 990..1020_u16, 2990..3010_u16, 4990..5010_u16],
        reason in prop_oneof![
            "[a-z]{0,5}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..5),
        ],
        kept in 0..20_usize,
        key in any::<[u8; 4]>(),
    ) {
        let (opcode, fin) = (Opcode::Close, true);
        let mut payload = [&code.to_be_bytes(), &reason[..]].concat();
        payload.truncate(kept);
        let mut bytes = Vec::new();
        Sent { opcode, fin, payload, key }.write(&mut bytes);
        agree(&bytes)?;
    }

    #[test]
    fn random_bytes_are_refused_where_tungstenite_refuses_them(
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        agree(&bytes)?;
    }

    /// The oracle is the standard library, which is asked for the shortest prefix that no text
    /// begins with.
    #[test]
    fn text_is_judged_as_std_judges_it_however_it_is_cut(
        text in "[\\x00-\\x7f\u{80}-\u{7ff}\u{800}-\u{ffff}\u{10000}-\u{10ffff}]{0,12}",
        changes in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3_u8), 0..3),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let mut bytes = text.into_bytes();
        for (at, byte, kind) in changes {
            let at = at.index(bytes.len() + 1);
            match kind {
                0 => bytes.insert(at, byte),
                _ if at == bytes.len() => {}
                1 => bytes[at] = byte,
                _ => drop(bytes.remove(at)),
            }
        }
        let is_hopeless = |n: &usize| {
            str::from_utf8(&bytes[..*n]).is_err_and(|e| e.error_len().is_some())
        };
        let hopeless = (0..=bytes.len()).find(is_hopeless);
        let (mut utf8, mut from) = (Utf8::default(), 0);
        for cut in sorted(&cuts, bytes.len()).into_iter().chain([bytes.len()]) {
            let checked = utf8.check(&bytes[from..cut]);
            prop_assert_eq!(checked.is_err(), hopeless.is_some_and(|n| n <= cut));
            if checked.is_err() {
                return Ok(());
            }
            from = cut;
        }
        prop_assert_eq!(utf8.finish().is_ok(), str::from_utf8(&bytes).is_ok());
    }
}
