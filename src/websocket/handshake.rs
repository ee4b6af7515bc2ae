//! Floor 1, websocket: the opening handshake on the side of the server (RFC 6455 §4.2).
//!
//! The parts of the handshake that belong to HTTP (method and version, `Host`, `Upgrade` and
//! `Connection`) must be checked before this code is called.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest, Sha1};

use super::deflate::Deflate;
use super::extensions::{is_token_byte, negotiate};

/// The field values of an opening handshake. Each list has the values of all lines of one field.
#[derive(Clone, Default, Debug)]
pub struct Opening<'a> {
    /// Sec-WebSocket-Key
    pub keys: Vec<&'a [u8]>,
    /// Sec-WebSocket-Version
    pub versions: Vec<&'a [u8]>,
    /// Sec-WebSocket-Protocol
    pub protocols: Vec<&'a [u8]>,
    /// Sec-WebSocket-Extensions
    pub extensions: Vec<&'a [u8]>,
}

/// An error in an opening handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpeningError {
    /// The version is missing or is not 13. The response is 426 with the supported version (§4.4).
    Version,
    /// The number of keys is not exactly one, or the key is not 16 bytes in base64.
    Key,
    /// The name of a subprotocol is not a token.
    Protocols,
    /// The extensions do not follow the grammar (§9.1).
    Extensions,
}

impl OpeningError {
    /// Returns an explanation for the author of the request.
    pub fn sentence(self) -> &'static str {
        match self {
            OpeningError::Version => "the version of WebSocket spoken here is 13",
            OpeningError::Key => "one Sec-WebSocket-Key is needed, of 16 bytes in base64",
            OpeningError::Protocols => "Sec-WebSocket-Protocol is a list of tokens",
            OpeningError::Extensions => {
                "Sec-WebSocket-Extensions is a list of extensions with parameters"
            }
        }
    }
}

impl fmt::Display for OpeningError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl Error for OpeningError {}

/// The subprotocols of an endpoint (§1.9).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocols {
    /// No subprotocol: offers are ignored.
    None,
    /// The first subprotocol of the offer, because the endpoint passes messages on without reading
    /// them.
    Any,
    /// Only the subprotocols in this list.
    Of(&'static [&'static str]),
}

/// The proof that an opening handshake is valid, with the results of the negotiation.
///
/// Architecture invariant: only [`Opening::accept`] creates this value, and a WebSocket connection
/// cannot be created without such a value. The compiler enforces both rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accept {
    key: String,
    protocol: Option<String>,
    deflate: Option<Deflate>,
}

impl Opening<'_> {
    /// Checks the handshake against the rules of §4.2.1, and negotiates the subprotocol and the
    /// extensions.
    ///
    /// ```
    /// use oneloop::websocket::{Opening, Protocols};
    ///
    /// let opening = Opening {
    ///     keys: vec![b"dGhlIHNhbXBsZSBub25jZQ=="],
    ///     versions: vec![b"13"],
    ///     ..Opening::default()
    /// };
    /// let accept = opening.accept(Protocols::None).unwrap();
    /// let fields: Vec<_> = accept.fields().collect();
    /// assert_eq!(fields, [("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into())]);
    /// ```
    ///
    /// # Errors
    /// The first [`OpeningError`]; the version is checked first.
    pub fn accept(&self, spoken: Protocols) -> Result<Accept, OpeningError> {
        if self.versions != [b"13"] {
            return Err(OpeningError::Version);
        }
        let &[key] = &self.keys[..] else {
            return Err(OpeningError::Key);
        };
        let mut decoded = [0; 18];
        match KEY.decode_slice(key, &mut decoded) {
            Ok(16) => {}
            Ok(_) | Err(_) => return Err(OpeningError::Key),
        }
        Ok(Accept {
            key: BASE64_STANDARD
                .encode(Sha1::new().chain_update(key).chain_update(GUID).finalize()),
            protocol: self.choose(spoken)?,
            deflate: negotiate(self.extensions.iter().copied())?,
        })
    }

    /// Chooses the first subprotocol of the client that is in `spoken`. The client lists its
    /// subprotocols in the order of preference.
    fn choose(&self, spoken: Protocols) -> Result<Option<String>, OpeningError> {
        let mut chosen = None;
        for member in self.protocols.iter().flat_map(|l| l.split(|b| *b == b',')) {
            let member = member.trim_ascii();
            if !member.iter().all(|b| is_token_byte(*b)) {
                return Err(OpeningError::Protocols);
            }
            let name = str::from_utf8(member).expect("tokens are ASCII");
            let fits = match spoken {
                Protocols::None => false,
                Protocols::Any => true,
                Protocols::Of(names) => names.contains(&name),
            };
            if fits && chosen.is_none() && !name.is_empty() {
                chosen = Some(name.to_string());
            }
        }
        Ok(chosen)
    }
}

/// The fixed text appended to the key; the accept value is the hash of both (§1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The decoder for keys. The last character of a key stands for two bits of the key and four bits
/// that should be zero. The decoder ignores the four bits, because some clients choose 22 random
/// characters instead of 16 random bytes.
const KEY: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

impl Accept {
    /// Returns the fields of the 101 response that depend on the request.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, String)> {
        let protocol = self.protocol.clone();
        let extensions = self.deflate.map(|deflate| deflate.to_string());
        [
            ("Sec-WebSocket-Accept", Some(self.key.clone())),
            ("Sec-WebSocket-Protocol", protocol),
            ("Sec-WebSocket-Extensions", extensions),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// Returns the chosen subprotocol, if any.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Returns the negotiated parameters of compression; `None` for no compression.
    pub fn deflate(&self) -> Option<Deflate> {
        self.deflate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening<'a>(keys: &[&'a str], versions: &[&'a str]) -> Opening<'a> {
        let bytes = |values: &[&'a str]| values.iter().map(|v| v.as_bytes()).collect();
        Opening {
            keys: bytes(keys),
            versions: bytes(versions),
            ..Opening::default()
        }
    }

    const SAMPLE: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn one_key_of_sixteen_bytes_is_needed() {
        for keys in [
            &[][..],
            &[""][..],
            &["dGhlIHNhbXBsZSBub25jZQ"],
            &["dGhlIHNhbXBsZSBub25jZQ="],
            &["dGhlIHNhbXBsZSBub25j"],
            &["dGhlIHNhbXBsZSBub25jZSBh"],
            &["dGhlIHNhbXBsZSBub25jZQ=="; 2],
            &["dGhlIHNhbXBsZSBub25jZ!=="],
            &["dGhlIHNhbXBsZSBub25jZQ==, a"],
        ] {
            let got = opening(keys, &["13"]).accept(Protocols::None);
            assert_eq!(got, Err(OpeningError::Key), "{keys:?}");
        }
        for key in [
            SAMPLE,
            "AAAAAAAAAAAAAAAAAAAAAA==",
            "abcdefghijklmnopqrstuv==",
        ] {
            assert!(opening(&[key], &["13"]).accept(Protocols::None).is_ok());
        }
    }

    #[test]
    fn there_is_one_version() {
        for versions in [
            &[][..],
            &["8"][..],
            &["14"],
            &["13, 8"],
            &["13", "13"],
            &["013"],
        ] {
            let got = opening(&[SAMPLE], versions).accept(Protocols::None);
            assert_eq!(got, Err(OpeningError::Version), "{versions:?}");
        }
    }

    #[test]
    fn the_first_subprotocol_that_is_spoken_is_chosen() {
        let ours = Protocols::Of(&["chat", "soap"]);
        for (lines, spoken, chosen) in [
            (&["soap, chat"][..], ours, Ok(Some("soap"))),
            (&["mqtt", " chat"], ours, Ok(Some("chat"))),
            (&["mqtt"], ours, Ok(None)),
            (&["Chat"], ours, Ok(None)),
            (&["mqtt, chat"], Protocols::Any, Ok(Some("mqtt"))),
            (&["mqtt"], Protocols::None, Ok(None)),
            (&[], Protocols::Any, Ok(None)),
            (&[", ,"], Protocols::Any, Ok(None)),
            (&["a b"], Protocols::None, Err(OpeningError::Protocols)),
            (&["chat, é"], ours, Err(OpeningError::Protocols)),
        ] {
            let mut opening = opening(&[SAMPLE], &["13"]);
            opening.protocols = lines.iter().map(|line| line.as_bytes()).collect();
            let got = opening.accept(spoken);
            let got = got.as_ref().map(Accept::protocol).map_err(|e| *e);
            assert_eq!(got, chosen, "{lines:?}");
        }
    }
}
