//! Floor 1, websocket: close frames and their codes (RFC 6455 §5.5.1 and §7.4).

use super::{Opcode, Utf8, Violation, write_frame};

/// The status code in a close frame (§7.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The connection has fulfilled its purpose.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server is stopping.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer has violated the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// Never sent: the close frame had no code.
    pub const NO_STATUS: CloseCode = CloseCode(1005);
    /// Never sent: the connection ended without a close frame.
    pub const ABNORMAL: CloseCode = CloseCode(1006);
    /// A text is not UTF-8, or a message cannot be inflated.
    pub const INVALID_DATA: CloseCode = CloseCode(1007);
    /// A message violates the policy of the server.
    pub const POLICY: CloseCode = CloseCode(1008);
    /// A message is larger than the limit.
    pub const TOO_LARGE: CloseCode = CloseCode(1009);
    /// The server has no space for the connection now (registered by IANA after the RFC).
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);

    /// Whether the code may be sent in a close frame (§7.4).
    ///
    /// - 1004 is reserved.
    /// - 1005, 1006 and 1015 must not be sent. The three codes stand for a close without a code, a
    ///   close without a close frame, and a failed TLS handshake.
    /// - 1012 to 1014 were registered by IANA after the RFC.
    /// - The other codes below 3000 are for future versions of the protocol (§7.4.2).
    /// - 3000 to 4999 are free for libraries, applications and private use (§7.4.2).
    pub fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    fn from_bytes(high: u8, low: u8) -> CloseCode {
        CloseCode(u16::from_be_bytes([high, low]))
    }
}

/// The content of a close frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Close<'a> {
    /// The status code; `None` for a frame without content.
    pub code: Option<CloseCode>,
    /// An explanation for people; may be empty.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    /// The largest length of a reason in bytes: a control frame has at most 125 bytes of payload,
    /// and the code takes two.
    pub const REASON_BYTES_MAX: usize = 123;

    /// Parses the complete payload of a close frame.
    ///
    /// # Errors
    /// [`Violation::Close`] if the payload is only half a code, or if the code must not be sent;
    /// [`Violation::Utf8`] if the reason is not UTF-8.
    pub fn parse(payload: &'a [u8]) -> Result<Close<'a>, Violation> {
        let (code, reason) = match payload {
            [] => return Ok(Close::EMPTY),
            [_] => return Err(Violation::Close),
            [a, b, reason @ ..] => (CloseCode::from_bytes(*a, *b), reason),
        };
        if !code.may_be_sent() {
            return Err(Violation::Close);
        }
        let reason = str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
        let code = Some(code);
        Ok(Close { code, reason })
    }

    /// Checks the beginning of the payload of a close frame, before the rest has arrived.
    pub(super) fn check_beginning(payload: &[u8]) -> Result<(), Violation> {
        match payload {
            [] => Ok(()),
            [a] => match (0..=u8::MAX).any(|b| CloseCode::from_bytes(*a, b).may_be_sent()) {
                true => Ok(()),
                false => Err(Violation::Close),
            },
            [a, b, reason @ ..] => match CloseCode::from_bytes(*a, *b).may_be_sent() {
                true => Utf8::default().check(reason).map(|_| ()),
                false => Err(Violation::Close),
            },
        }
    }

    const EMPTY: Close<'static> = Close {
        code: None,
        reason: "",
    };

    /// Appends the close frame. A reason that is too long is cut between two characters. Without a
    /// code, the payload is empty and the reason is not sent.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Some(code) = self.code else {
            return write_frame(out, Opcode::Close, false, &[]);
        };
        let mut payload = [0; 2 + Close::REASON_BYTES_MAX];
        let longest = self.reason.len().min(Close::REASON_BYTES_MAX);
        let mut ends = (0..=longest).rev();
        let end = ends.find(|end| self.reason.is_char_boundary(*end));
        let end = end.expect("the beginning is a boundary");
        payload[..2].copy_from_slice(&code.0.to_be_bytes());
        payload[2..2 + end].copy_from_slice(&self.reason.as_bytes()[..end]);
        write_frame(out, Opcode::Close, false, &payload[..2 + end]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_that_may_be_sent_are_those_of_the_registry() {
        let allowed = (0..=u16::MAX).filter(|code| CloseCode(*code).may_be_sent());
        let expected = (1000..=1003).chain(1007..=1014).chain(3000..=4999);
        assert!(allowed.eq(expected));
    }

    #[test]
    fn a_close_is_judged_with_the_byte_that_decides_it() {
        let check = |payload: &[u8], expected: Result<Option<u16>, Violation>, at: usize| {
            let whole = Close::parse(payload).map(|c| c.code.map(|code| code.0));
            assert_eq!(whole, expected, "{payload:?}");
            for n in 0..=payload.len() {
                let early = Close::check_beginning(&payload[..n]).is_err();
                assert_eq!(early, n >= at, "{n} of {payload:?}");
            }
        };
        let never = usize::MAX;
        check(b"", Ok(None), never);
        check(b"\x03", Err(Violation::Close), never);
        check(b"\x03\xe8", Ok(Some(1000)), never);
        check(b"\x03\xe8bye \xc3\xa4", Ok(Some(1000)), never);
        check(b"\x03\xe8bye \xc3", Err(Violation::Utf8), never);
        check(b"\x03\xe8bye \xff.", Err(Violation::Utf8), 7);
        check(b"\x03\xedbye", Err(Violation::Close), 2);
        check(b"\x3c\x00bye", Err(Violation::Close), 1);
    }

    #[test]
    fn a_close_that_is_written_can_be_read() {
        let long = "ä".repeat(100);
        for (code, reason, kept) in [
            (None, "", ""),
            (Some(CloseCode::NORMAL), "bye", "bye"),
            (Some(CloseCode(4999)), &long, &long[..122]),
        ] {
            let mut out = Vec::new();
            Close { code, reason }.write(&mut out);
            let close = Close::parse(&out[2..]).unwrap();
            assert_eq!((close.code, close.reason), (code, kept));
            assert_eq!(out[..2], [0x88, out.len() as u8 - 2]);
        }
    }
}
