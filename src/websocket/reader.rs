//! Floor 1, websocket: the sequence of frames (RFC 6455 §5.4 to §5.6), parsed in place.
//!
//! A [`Reader`] looks at the received bytes and describes one [`FramePart`] at a time: either a
//! part of a message, already unmasked, or a control frame. The reader stores no bytes. The caller
//! has the storage and gathers a message that arrives in parts; a message that arrives complete
//! need not be gathered. Of a text message, the caller passes each part to
//! [`check_text`](Reader::check_text), once it is inflated.
//!
//! The parts depend on how the bytes were cut. The messages do not depend on the cuts, and neither
//! does the violation with which the bytes may end.

use std::mem;

use super::frame::rotated;
use super::{Close, FrameHeader, MessageKind, Opcode, TextPart, Utf8, Violation, mask};

/// The negotiated extension, and the limit for messages.
#[derive(Clone, Copy, Debug)]
pub struct ReaderConfig {
    /// The largest size of a message in bytes, all frames together. The compressed form of a
    /// message may be slightly larger, because data that cannot be compressed grows.
    pub message_bytes_max: u64,
    /// Whether permessage-deflate was negotiated. Then RSV1 in the first frame of a message means
    /// that the message is compressed.
    pub deflate: bool,
}

/// A description of the front of the received bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FramePart {
    /// The offset at which the content begins.
    pub at: usize,
    /// The offset after the content, at which the next part begins.
    pub end: usize,
    /// The meaning of the content.
    pub event: FrameEvent,
}

/// The meaning of the content of a [`FramePart`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameEvent {
    /// No part is available yet: more bytes are needed.
    Partial,
    /// A part of a message. The part may be empty.
    Data {
        /// The kind of the message.
        kind: MessageKind,
        /// Whether the message is compressed.
        compressed: bool,
        /// Whether the message begins with this part.
        first: bool,
        /// Whether the message ends with this part.
        last: bool,
    },
    /// A ping, which must be answered with a pong of the same content.
    Ping,
    /// The answer to a ping, or an unsolicited pong.
    Pong,
    /// A close frame. Its content has passed [`Close::parse`] already, so a second call succeeds.
    Close,
}

/// The position of the peer in the sequence of frames.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// The number of bytes of payload missing from the current data frame.
    left: u64,
    /// The masking key of the current data frame, rotated for the next missing byte.
    key: [u8; 4],
    fin: bool,
    /// The message that has begun and not ended.
    message: Option<Message>,
    utf8: Utf8,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    kind: MessageKind,
    compressed: bool,
    /// The bytes of payload announced by the frames of the message, as a sum.
    announced: u64,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            left: 0,
            key: [0; 4],
            fin: true,
            message: None,
            utf8: Utf8::default(),
        }
    }
}

impl Reader {
    /// Describes the part at the front of `bytes`, and unmasks its content in place.
    ///
    /// For the next call, drop the bytes before [`end`](FramePart::end), because a part must not be
    /// passed twice. After [`FrameEvent::Partial`] call again with the same bytes and more.
    ///
    /// ```
    /// use oneloop::websocket::{MessageKind, FramePart, Reader, ReaderConfig, FrameEvent};
    ///
    /// let config = ReaderConfig { message_bytes_max: 1000, deflate: false };
    /// let mut bytes = *b"\x81\x82kkkk\x03\x02";
    /// let part = Reader::default().read(&mut bytes, &config).unwrap();
    /// let (kind, compressed) = (MessageKind::Text, false);
    /// let event = FrameEvent::Data { kind, compressed, first: true, last: true };
    /// assert_eq!(part, FramePart { at: 6, end: 8, event });
    /// assert_eq!(&bytes[part.at..part.end], b"hi");
    /// ```
    ///
    /// # Errors
    /// The first violation, at the byte that proves the violation. The bytes after this point have
    /// no meaning.
    pub fn read(
        &mut self,
        bytes: &mut [u8],
        config: &ReaderConfig,
    ) -> Result<FramePart, Violation> {
        if self.left > 0 {
            return Ok(self.data(bytes, 0, false));
        }
        let header = FrameHeader::parse(bytes, |opcode, rsv1, length| {
            self.judge(opcode, rsv1, length, config)
        })?;
        let Some(header) = header else {
            return Ok(PARTIAL);
        };
        if header.opcode.is_control() {
            return control(bytes, &header);
        }
        let first = self.message.is_none();
        let message = self.message.get_or_insert(Message {
            kind: match header.opcode {
                Opcode::Text => MessageKind::Text,
                _ => MessageKind::Binary,
            },
            compressed: header.rsv1,
            announced: 0,
        });
        message.announced += header.payload_bytes;
        (self.left, self.key, self.fin) = (header.payload_bytes, header.key, header.fin);
        Ok(self.data(bytes, header.header_bytes, first))
    }

    /// Returns how many bytes of payload are still to come of the present message. `None`: unknown,
    /// because another frame follows the present one.
    pub fn rest(&self) -> Option<u64> {
        self.fin.then_some(self.left)
    }

    /// Checks whether such a frame may come at this position.
    fn judge(
        &self,
        opcode: Opcode,
        rsv1: bool,
        length: Option<u64>,
        config: &ReaderConfig,
    ) -> Result<(), Violation> {
        let begins = matches!(opcode, Opcode::Text | Opcode::Binary);
        if rsv1 && !(config.deflate && begins) {
            return Err(Violation::ReservedBit);
        }
        if begins && self.message.is_some() {
            return Err(Violation::Interleaved);
        }
        if opcode == Opcode::Continuation && self.message.is_none() {
            return Err(Violation::Continuation);
        }
        let (announced, compressed) = match self.message {
            Some(message) => (message.announced, message.compressed),
            None => (0, rsv1),
        };
        let max = match compressed {
            // DEFLATE adds five bytes to each block that cannot be compressed. A block has 16 KiB,
            // or less if a fast encoder ends blocks early.
            true => config.message_bytes_max + config.message_bytes_max / 256 + 64,
            false => config.message_bytes_max,
        };
        match length {
            Some(1) if opcode == Opcode::Close => Err(Violation::Close),
            Some(n) if !opcode.is_control() && n > max - announced => Err(Violation::TooLarge),
            _ => Ok(()),
        }
    }

    /// Unmasks and describes the available payload of the current data frame, which begins at
    /// `at`.
    fn data(&mut self, bytes: &mut [u8], at: usize, first: bool) -> FramePart {
        let here = self.left.min((bytes.len() - at) as u64) as usize;
        if here == 0 && at == 0 {
            return PARTIAL;
        }
        let end = at + here;
        mask(&mut bytes[at..end], self.key);
        self.key = rotated(self.key, here);
        self.left -= here as u64;
        let last = self.left == 0 && self.fin;
        let message = self.message.expect("its frame has begun");
        if last {
            self.message = None;
        }
        let (kind, compressed) = (message.kind, message.compressed);
        let event = FrameEvent::Data {
            kind,
            compressed,
            first,
            last,
        };
        FramePart { at, end, event }
    }

    /// Checks the next part of a text message, which is the last part if `last` is true, and returns
    /// its characters. Of a compressed message, the text is the inflated bytes.
    ///
    /// # Errors
    /// [`Violation::Utf8`].
    pub fn check_text<'a>(
        &mut self,
        text: &'a [u8],
        last: bool,
    ) -> Result<TextPart<'a>, Violation> {
        let part = self.utf8.check(text)?;
        if last {
            mem::take(&mut self.utf8).finish()?;
        }
        Ok(part)
    }

    /// Returns the number of bytes of a character that has begun and not ended.
    pub fn begun_bytes(&self) -> usize {
        self.utf8.begun_bytes()
    }
}

const PARTIAL: FramePart = FramePart {
    at: 0,
    end: 0,
    event: FrameEvent::Partial,
};

/// Describes a control frame, after all of the frame has arrived.
fn control(bytes: &mut [u8], header: &FrameHeader) -> Result<FramePart, Violation> {
    let (at, length) = (header.header_bytes, header.payload_bytes as usize);
    let end = at + length;
    let Some(payload) = bytes.get_mut(at..end) else {
        // An incomplete frame stays masked in place, but the first bytes may be wrong already.
        if header.opcode == Opcode::Close {
            let mut begun = [0; 125];
            let here = &bytes[at..];
            begun[..here.len()].copy_from_slice(here);
            mask(&mut begun, header.key);
            Close::check_beginning(&begun[..here.len()])?;
        }
        return Ok(PARTIAL);
    };
    mask(payload, header.key);
    let event = match header.opcode {
        Opcode::Ping => FrameEvent::Ping,
        Opcode::Pong => FrameEvent::Pong,
        _ => {
            Close::parse(payload)?;
            FrameEvent::Close
        }
    };
    Ok(FramePart { at, end, event })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: ReaderConfig = ReaderConfig {
        message_bytes_max: 300,
        deflate: false,
    };

    /// Builds a masked frame whose key depends on the content.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let key = [first, 0x5a, payload.len() as u8, 0xff];
        let mut bytes = vec![first];
        match payload.len() {
            n @ 0..126 => bytes.push(0x80 | n as u8),
            n => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(n as u16).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&key);
        let begin = bytes.len();
        bytes.extend_from_slice(payload);
        mask(&mut bytes[begin..], key);
        bytes
    }

    fn frames(frames: &[(u8, &[u8])]) -> Vec<u8> {
        let frames = frames.iter().map(|(first, payload)| frame(*first, payload));
        frames.collect::<Vec<_>>().concat()
    }

    #[derive(PartialEq, Debug)]
    enum Got {
        Message(MessageKind, Vec<u8>),
        Control(FrameEvent, Vec<u8>),
    }

    /// Reads `bytes` in pieces that end at `cuts`. Returns the messages and control frames, the
    /// violation at the end, and the number of bytes available when the violation was found.
    fn read_cut(
        bytes: &[u8],
        cuts: impl IntoIterator<Item = usize>,
        config: &ReaderConfig,
    ) -> (Vec<Got>, Option<(Violation, usize)>) {
        let (mut reader, mut read_buffer, mut got) = (Reader::default(), Vec::new(), Vec::new());
        let (mut gathered, mut from) = (Vec::new(), 0);
        for cut in cuts.into_iter().chain([bytes.len()]) {
            read_buffer.extend_from_slice(&bytes[from..cut]);
            from = cut;
            loop {
                let part = match reader.read(&mut read_buffer, config) {
                    Ok(part) => part,
                    Err(violation) => return (got, Some((violation, cut))),
                };
                let content = read_buffer[part.at..part.end].to_vec();
                read_buffer.drain(..part.end);
                match part.event {
                    FrameEvent::Partial => break,
                    FrameEvent::Data {
                        kind,
                        compressed,
                        first,
                        last,
                    } => {
                        let is_text = kind == MessageKind::Text && !compressed;
                        let checked = is_text.then(|| reader.check_text(&content, last));
                        if let Some(Err(violation)) = checked {
                            return (got, Some((violation, cut)));
                        }
                        assert!(!first || gathered.is_empty());
                        gathered.extend(content);
                        if last {
                            got.push(Got::Message(kind, std::mem::take(&mut gathered)));
                        }
                    }
                    event => got.push(Got::Control(event, content)),
                }
            }
        }
        (got, None)
    }

    /// Checks that the bytes have the same meaning for every cut, and that reading byte by byte
    /// finds the violation at the last byte.
    fn check(bytes: &[u8], config: &ReaderConfig, expected: &[Got], violation: Option<Violation>) {
        let (got, end) = read_cut(bytes, [], config);
        assert_eq!(got, expected, "{bytes:x?}");
        assert_eq!(end.map(|(v, _)| v), violation, "{bytes:x?}");
        for cut in 0..bytes.len() {
            let (halves, end) = read_cut(bytes, [cut], config);
            assert_eq!(
                (&halves, end.map(|(v, _)| v)),
                (&got, violation),
                "at {cut}"
            );
        }
        let (bytewise, end) = read_cut(bytes, 0..bytes.len(), config);
        assert_eq!((bytewise, end), (got, violation.map(|v| (v, bytes.len()))));
    }

    fn text(text: &str) -> Got {
        Got::Message(MessageKind::Text, text.into())
    }

    fn binary(bytes: &[u8]) -> Got {
        Got::Message(MessageKind::Binary, bytes.into())
    }

    #[test]
    fn messages_are_put_together_and_control_frames_come_between() {
        let bytes = frames(&[
            (0x81, "grüße".as_bytes()),
            (0x01, b"gr\xc3"),
            (0x89, b"are you there?"),
            (0x00, b"\xbc"),
            (0x8a, b""),
            (0x80, "ße".as_bytes()),
            (0x82, &[7; 130]),
            (0x02, b""),
            (0x80, b""),
            (0x81, b""),
            (0x88, b"\x03\xe8bye"),
        ]);
        let expected = [
            text("grüße"),
            Got::Control(FrameEvent::Ping, b"are you there?".into()),
            Got::Control(FrameEvent::Pong, b"".into()),
            text("grüße"),
            binary(&[7; 130]),
            binary(b""),
            text(""),
            Got::Control(FrameEvent::Close, b"\x03\xe8bye".into()),
        ];
        check(&bytes, &RULES, &expected, None);
    }

    #[test]
    fn what_is_not_allowed_here_fails_with_its_first_byte() {
        use Violation as V;
        for (before, first, violation) in [
            (&[][..], 0x80, V::Continuation),
            (&[], 0x00, V::Continuation),
            (&[], 0xc1, V::ReservedBit),
            (&[], 0x91, V::ReservedBit),
            (&[], 0x83, V::ReservedOpcode),
            (&[], 0x09, V::ControlFrame),
            (&[0x01], 0x81, V::Interleaved),
            (&[0x01], 0x02, V::Interleaved),
            (&[0x81], 0x80, V::Continuation),
        ] {
            let mut bytes: Vec<u8> = before.iter().flat_map(|b| frame(*b, b"a")).collect();
            bytes.push(first);
            let whole = matches!(before, [0x81]).then(|| text("a"));
            let expected: Vec<_> = whole.into_iter().collect();
            check(&bytes, &RULES, &expected, Some(violation));
        }
    }

    #[test]
    fn rsv1_is_for_the_first_frame_of_a_message_and_only_with_the_extension() {
        let config = ReaderConfig {
            deflate: true,
            ..RULES
        };
        let is_compressed = |mut bytes: Vec<u8>| {
            let part = Reader::default().read(&mut bytes, &config).unwrap();
            matches!(
                part.event,
                FrameEvent::Data {
                    compressed: true,
                    ..
                }
            )
        };
        assert!(is_compressed(frame(0xc1, b"\xff")));
        assert!(!is_compressed(frame(0x81, b"a")));
        for first in [0xc9, 0xc8, 0xca] {
            check(&[first], &config, &[], Some(Violation::ReservedBit));
        }
        let mut bytes = frame(0x41, b"a");
        bytes.push(0xc0);
        check(&bytes, &config, &[], Some(Violation::ReservedBit));
    }

    #[test]
    fn a_message_over_the_bound_is_refused_by_the_length_of_the_frame_that_crosses_it() {
        let most = frames(&[(0x02, &[1; 200]), (0x80, &[1; 100])]);
        check(&most, &RULES, &[binary(&[1; 300])], None);
        check(b"\x82\xfe\x01\x2d", &RULES, &[], Some(Violation::TooLarge));
        let mut bytes = frame(0x02, &[1; 200]);
        bytes.extend_from_slice(b"\x80\xe5");
        check(&bytes, &RULES, &[], Some(Violation::TooLarge));
        let config = ReaderConfig {
            deflate: true,
            ..RULES
        };
        // The size of 300 bytes of noise after compression into several blocks.
        assert!(
            Reader::default()
                .read(&mut frame(0xc2, &[1; 365]), &config)
                .is_ok()
        );
        check(b"\xc2\xfe\x01\x6e", &config, &[], Some(Violation::TooLarge));
        let huge = [&b"\x82\xff\x7f"[..], &[0xff; 7]].concat();
        check(&huge, &RULES, &[], Some(Violation::TooLarge));
    }

    #[test]
    fn text_fails_with_the_byte_that_spoils_it() {
        // With a key of zeros, the masked bytes are the same as the plain bytes.
        let bytes = b"\x81\x85\0\0\0\0ab\xff";
        check(bytes, &RULES, &[], Some(Violation::Utf8));
        let bytes = b"\x01\x83\0\0\0\0ab\xe3\x00\x82\0\0\0\0\x81a";
        check(bytes, &RULES, &[], Some(Violation::Utf8));
        let whole = frames(&[(0x81, b"ab\xe3\x81")]);
        check(&whole, &RULES, &[], Some(Violation::Utf8));
        let whole = frames(&[(0x01, b"ab\xe3\x81"), (0x80, b"")]);
        check(&whole, &RULES, &[], Some(Violation::Utf8));
    }

    #[test]
    fn a_close_frame_fails_with_the_byte_that_spoils_it() {
        check(b"\x88\x81", &RULES, &[], Some(Violation::Close));
        check(
            b"\x88\x85\0\0\0\0\x03\xed",
            &RULES,
            &[],
            Some(Violation::Close),
        );
        check(
            b"\x88\x86\0\0\0\0\x03\xe8\xc0",
            &RULES,
            &[],
            Some(Violation::Utf8),
        );
        let bytes = frame(0x88, b"\x03\xe8\xc3");
        check(&bytes, &RULES, &[], Some(Violation::Utf8));
        let empty = frame(0x88, b"");
        check(
            &empty,
            &RULES,
            &[Got::Control(FrameEvent::Close, vec![])],
            None,
        );
    }
}
