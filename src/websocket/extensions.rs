//! Floor 1, websocket: the negotiation of extensions (RFC 6455 §9.1, RFC 7692 §5 and §7.1).
//!
//! ```text
//! Sec-WebSocket-Extensions = 1#extension
//! extension                = extension-token *( ";" extension-param )
//! extension-token          = token
//! extension-param          = token [ "=" ( token / quoted-string ) ]
//!                            ; the content of a quoted-string must be a token
//! ```
//!
//! All lines of the field form one list (RFC 9110 §5.3). Empty elements are ignored, as in every
//! list (RFC 9110 §5.6.1).

use std::borrow::Cow;

use super::OpeningError;
use super::deflate::Deflate;

/// Chooses the first offer of permessage-deflate that the server can accept unchanged.
///
/// # Errors
/// [`OpeningError::Extensions`] if the field does not follow its grammar.
pub(super) fn negotiate<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<Deflate>, OpeningError> {
    let (mut chosen, mut lines_seen, mut members) = (None, 0, 0);
    for line in lines {
        lines_seen += 1;
        let mut rest = Scanner(line);
        loop {
            rest.skip_spaces();
            if rest.skip(b',') {
                continue;
            }
            if rest.0.is_empty() {
                break;
            }
            members += 1;
            let offer = rest.extension()?;
            if chosen.is_none() {
                chosen = offer;
            }
        }
    }
    match lines_seen > 0 && members == 0 {
        true => Err(OpeningError::Extensions),
        false => Ok(chosen),
    }
}

/// The rest of a field value that is not parsed yet.
struct Scanner<'a>(&'a [u8]);

impl<'a> Scanner<'a> {
    /// Parses one extension with its parameters, up to a comma or the end. `None` if the extension
    /// is not permessage-deflate, or if the server cannot keep to the parameters of the offer.
    fn extension(&mut self) -> Result<Option<Deflate>, OpeningError> {
        let name = self.token()?;
        let mut offer = name
            .eq_ignore_ascii_case(b"permessage-deflate")
            .then(Offer::default);
        loop {
            self.skip_spaces();
            if self.0.is_empty() || self.0[0] == b',' {
                return Ok(offer.and_then(Offer::accepted));
            }
            if !self.skip(b';') {
                return Err(OpeningError::Extensions);
            }
            self.skip_spaces();
            let name = self.token()?;
            self.skip_spaces();
            let value = match self.skip(b'=') {
                true => {
                    self.skip_spaces();
                    Some(self.value()?)
                }
                false => None,
            };
            offer = offer.and_then(|offer| offer.with(name, value.as_deref()));
        }
    }

    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn skip(&mut self, byte: u8) -> bool {
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn token(&mut self) -> Result<&'a [u8], OpeningError> {
        let length = self.0.iter().take_while(|b| is_token_byte(**b)).count();
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        match token {
            [] => Err(OpeningError::Extensions),
            _ => Ok(token),
        }
    }

    /// Parses the value of a parameter: a token, with or without quotes.
    fn value(&mut self) -> Result<Cow<'a, [u8]>, OpeningError> {
        if !self.skip(b'"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = Vec::new();
        loop {
            let (mut byte, mut rest) = self.0.split_first().ok_or(OpeningError::Extensions)?;
            if *byte == b'"' {
                self.0 = rest;
                break;
            }
            if *byte == b'\\' {
                (byte, rest) = rest.split_first().ok_or(OpeningError::Extensions)?;
            }
            if !is_token_byte(*byte) {
                return Err(OpeningError::Extensions);
            }
            value.push(*byte);
            self.0 = rest;
        }
        match value.is_empty() {
            true => Err(OpeningError::Extensions),
            false => Ok(Cow::Owned(value)),
        }
    }
}

/// Whether a byte may be part of a token (RFC 9110 §5.6.2). The codec of HTTP has a similar
/// function, but the two codecs are on the same floor and do not know each other.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// An offer of permessage-deflate (RFC 7692 §7.1). Each parameter may occur at most once.
#[derive(Clone, Copy, Default, Debug)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: bool,
}

impl Offer {
    /// Adds one parameter to the offer. `None` if the parameter is unknown, occurs twice, or has an
    /// invalid value: the offer is declined, and the next offer is considered (§5.1).
    fn with(mut self, name: &[u8], value: Option<&[u8]>) -> Option<Offer> {
        let before = match name.to_ascii_lowercase().as_slice() {
            b"server_no_context_takeover" if value.is_none() => {
                std::mem::replace(&mut self.server_no_context_takeover, true)
            }
            b"client_no_context_takeover" if value.is_none() => {
                std::mem::replace(&mut self.client_no_context_takeover, true)
            }
            b"server_max_window_bits" => {
                let bits = window_bits(value?)?;
                self.server_max_window_bits.replace(bits).is_some()
            }
            b"client_max_window_bits" => {
                if let Some(value) = value {
                    window_bits(value)?;
                }
                std::mem::replace(&mut self.client_max_window_bits, true)
            }
            _ => return None,
        };
        (!before).then_some(self)
    }

    /// Returns the parameters for the answer; `None` if the server cannot keep to the offer.
    fn accepted(self) -> Option<Deflate> {
        match self.server_max_window_bits {
            // No encoder here supports such a small window. (Nor does zlib, which uses 9 instead.)
            Some(8) => None,
            bits => Some(Deflate::with_window_bits(bits)),
        }
    }
}

/// Parses a window size: 8 to 15 without leading zeros (§7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the outcome of a negotiation: `Ok` has the answer to the client.
    fn check(lines: &[&str], expected: Result<Option<&str>, OpeningError>) {
        let got = negotiate(lines.iter().map(|line| line.as_bytes()));
        let got = got.map(|deflate| deflate.map(|deflate| deflate.to_string()));
        let got = got.as_ref().map(Option::as_deref).map_err(|e| *e);
        assert_eq!(got, expected, "{lines:?}");
    }

    const PLAIN: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    fn with_bits(bits: u8) -> String {
        format!("{PLAIN}; server_max_window_bits={bits}")
    }

    #[test]
    fn the_first_offer_that_can_be_taken_is() {
        let ten = with_bits(10);
        for (lines, answer) in [
            (&[][..], None),
            (&["permessage-deflate"][..], Some(PLAIN)),
            (
                &["Permessage-Deflate ; Client_Max_Window_Bits"],
                Some(PLAIN),
            ),
            (
                &["permessage-deflate; client_max_window_bits=8"],
                Some(PLAIN),
            ),
            (
                &["permessage-deflate;client_no_context_takeover;server_no_context_takeover"],
                Some(PLAIN),
            ),
            (
                &["permessage-deflate; server_max_window_bits=10"],
                Some(&ten),
            ),
            (
                &["permessage-deflate; server_max_window_bits=\"1\\0\""],
                Some(&ten),
            ),
            (&["permessage-deflate; server_max_window_bits=8"], None),
            (
                &["permessage-deflate; server_max_window_bits=8, permessage-deflate"],
                Some(PLAIN),
            ),
            (
                &[
                    "x-webkit-deflate-frame, foo; a=b; c=\"d\"",
                    "permessage-deflate",
                ],
                Some(PLAIN),
            ),
            (&[" ,, permessage-deflate ,"], Some(PLAIN)),
        ] {
            check(lines, Ok(answer));
        }
        for bits in 9..=15 {
            let offer = format!("permessage-deflate; server_max_window_bits={bits}");
            check(&[&offer], Ok(Some(&with_bits(bits))));
        }
    }

    #[test]
    fn an_offer_with_what_cannot_be_kept_to_is_declined() {
        for parameters in [
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=09",
            "server_max_window_bits=+9",
            "client_max_window_bits=16",
            "client_max_window_bits=0",
            "client_max_window_bits=150",
            "server_no_context_takeover=1",
            "client_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "client_max_window_bits; client_max_window_bits=10",
            "server_max_window_bits=10; server_max_window_bits=10",
            "brotli",
        ] {
            let offer = format!("permessage-deflate; {parameters}");
            check(&[&offer], Ok(None));
            check(&[&offer, "permessage-deflate"], Ok(Some(PLAIN)));
        }
    }

    #[test]
    fn what_is_no_list_of_extensions_is_an_error() {
        for line in [
            "",
            " , ",
            "permessage-deflate;",
            "permessage-deflate; =1",
            "permessage-deflate; a=",
            "permessage-deflate a",
            "permessage-deflate; a b",
            "permessage-deflate; a=\"",
            "permessage-deflate; a=\"b",
            "permessage-deflate; a=\"b c\"",
            "permessage-deflate; a=\"\"",
            "permessage-deflate; a=\"b\\",
            "perme(ssage",
            "permessage-deflate, ;",
            "foo; @",
        ] {
            check(&[line], Err(OpeningError::Extensions));
        }
    }
}
