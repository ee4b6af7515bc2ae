//! The bytes from a server: the expected answers, and control frames between them.

/// The expected answer, which is always the same.
pub struct Due {
    /// The complete frame.
    pub frame: Vec<u8>,
    pub payload_bytes: usize,
    /// Whether the payload is compared too, and not only the head.
    pub is_probe: bool,
}

/// The answers on a connection. A read may end anywhere in a frame.
#[derive(Default)]
pub struct Answers {
    /// The number of received bytes of an incomplete answer.
    at: usize,
    /// An incomplete control frame (RFC 6455 §5.5). A server may send Ping at any time.
    control: Vec<u8>,
    /// The answer to a Ping, which must be sent between two batches.
    pub pong: Vec<u8>,
}

impl Answers {
    /// Counts the answers whose last byte is in `bytes`.
    ///
    /// # Errors
    /// A sentence about the first unexpected byte, or about a Close.
    pub fn hear(&mut self, mut bytes: &[u8], due: &Due) -> Result<usize, String> {
        let mut heard = 0;
        let head_bytes = due.frame.len() - due.payload_bytes;
        while let Some(first) = bytes.first() {
            let is_control = !self.control.is_empty() || (self.at == 0 && first & 0x08 != 0);
            if is_control {
                bytes = self.hear_control(bytes)?;
                continue;
            }
            let rest = &due.frame[self.at..];
            let (part, behind) = bytes.split_at(rest.len().min(bytes.len()));
            let compared = match due.is_probe {
                true => part.len(),
                false => part.len().min(head_bytes.saturating_sub(self.at)),
            };
            if part[..compared] != rest[..compared] {
                let differ = |(ours, theirs)| ours != theirs;
                let same = part.iter().zip(rest).position(differ).unwrap_or(0);
                return Err(objection(self.at + same, part[same], head_bytes));
            }
            self.at += part.len();
            if self.at == due.frame.len() {
                self.at = 0;
                heard += 1;
            }
            bytes = behind;
        }
        Ok(heard)
    }

    /// Takes a control frame, or the received part of a control frame, and returns the bytes after
    /// it.
    fn hear_control<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], String> {
        // Two bytes, then the payload. The second byte is its length, at most 125, because a server
        // sets no mask bit.
        let whole = |control: &[u8]| 2 + control.get(1).map_or(0, |length| usize::from(*length));
        let mut taken = 0;
        while self.control.len() < whole(&self.control) {
            let Some(byte) = bytes.get(taken) else {
                return Ok(&[]);
            };
            self.control.push(*byte);
            taken += 1;
        }
        let control = std::mem::take(&mut self.control);
        match control[..] {
            [0x89, length @ 0..126, ref payload @ ..] => {
                // With several unanswered Pings, an answer to the last is enough (§5.5.3).
                self.pong = [&[0x8A, length | 0x80, 1, 1, 1, 1], payload].concat();
                self.pong[6..].iter_mut().for_each(|byte| *byte ^= 1);
            }
            [0x8A, 0..126, ..] => {}
            [0x88, 2..126, high, low, ref reason @ ..] => {
                let code = u16::from_be_bytes([high, low]);
                let reason = String::from_utf8_lossy(reason);
                return Err(format!("closed by the server with {code} {reason}"));
            }
            [0x88, 0] => return Err("closed by the server without a code".into()),
            _ => return Err(objection(0, control[0], 2)),
        }
        Ok(&bytes[taken..])
    }
}

/// Describes the error when the byte at position `at` of an answer is wrong.
fn objection(at: usize, byte: u8, head_bytes: usize) -> String {
    match at {
        0 => format!("answered a frame that begins with {byte:#04x}, not FIN and binary"),
        1 if byte & 0x80 != 0 => "answered a masked frame".into(),
        _ if at < head_bytes => "answered with another length".into(),
        _ => {
            let index = at - head_bytes;
            format!("answered with {byte:#04x} at byte {index}, which was not sent")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire;

    fn due(payload_bytes: usize, is_probe: bool) -> Due {
        Due {
            frame: wire::frame(payload_bytes, None),
            payload_bytes,
            is_probe,
        }
    }

    /// Checks the number of answers in `bytes`, or the error, with the bytes cut at every position.
    fn check(bytes: &[u8], due: &Due, expected: Result<usize, &str>) {
        for cut in 0..=bytes.len() {
            let mut answers = Answers::default();
            let (front, back) = bytes.split_at(cut);
            let heard = answers
                .hear(front, due)
                .and_then(|count| Ok(count + answers.hear(back, due)?));
            assert_eq!(heard, expected.map_err(String::from), "cut at {cut}");
        }
    }

    #[test]
    fn whole_answers_are_counted_in_all_three_forms_of_length() {
        for payload_bytes in [0, 20, 125, 126, 300] {
            let due = due(payload_bytes, true);
            check(&due.frame.repeat(3), &due, Ok(3));
            check(&due.frame[..due.frame.len() - 1], &due, Ok(0));
        }
        let due = due(65536, true);
        let mut answers = Answers::default();
        assert_eq!(answers.hear(&due.frame.repeat(2), &due), Ok(2));
    }

    #[test]
    fn what_is_not_due_is_objected_to() {
        let due = due(20, true);
        let with = |at: usize, byte: u8| {
            let mut frame = due.frame.clone();
            frame[at] = byte;
            frame
        };
        let begins = |byte| format!("answered a frame that begins with {byte}, not FIN and binary");
        check(&with(0, 0x81), &due, Err(&begins("0x81")));
        check(&with(0, 0x02), &due, Err(&begins("0x02")));
        check(&with(0, 0xC2), &due, Err(&begins("0xc2")));
        check(&with(1, 19), &due, Err("answered with another length"));
        check(
            &with(21, 7),
            &due,
            Err("answered with 0x07 at byte 19, which was not sent"),
        );
        let masked = wire::frame(20, Some([1; 4]));
        check(&masked, &due, Err("answered a masked frame"));
    }

    #[test]
    fn after_the_probe_only_heads_are_looked_at() {
        let due = due(20, false);
        let mut other = due.frame.clone();
        other[21] = 7;
        check(&[&due.frame[..], &other].concat(), &due, Ok(2));
        other[1] = 19;
        check(&other, &due, Err("answered with another length"));
    }

    #[test]
    fn a_ping_between_answers_is_answered_with_its_payload_masked() {
        let due = due(20, true);
        let bytes = [&due.frame[..], b"\x89\x02hi", &due.frame].concat();
        check(&bytes, &due, Ok(2));
        let mut answers = Answers::default();
        assert_eq!(answers.hear(&bytes, &due), Ok(2));
        // The masking key of ones turns h into i, and i into h.
        assert_eq!(answers.pong, b"\x8A\x82\x01\x01\x01\x01ih");
    }

    #[test]
    fn a_close_says_why() {
        let due = due(20, true);
        let bytes = b"\x88\x06\x03\xF3late";
        check(bytes, &due, Err("closed by the server with 1011 late"));
        check(
            b"\x88\x00",
            &due,
            Err("closed by the server without a code"),
        );
    }
}
