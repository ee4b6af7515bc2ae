//! Floor 1, http: content codings and which of them a client takes (RFC 9110 §8.4.1, §12.5.3).
//!
//! ```text
//! Accept-Encoding = #( codings [ weight ] )
//! codings         = content-coding / "identity" / "*"
//! weight          = OWS ";" OWS "q=" qvalue
//! qvalue          = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
//! ```
//!
//! Weights are integer thousandths, as the grammar has them. A member that breaks it is passed over.

use super::{Field, RequestHead};

/// How content is coded, in our order of preference, the smallest result first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Coding {
    /// Brotli (RFC 7932)
    Brotli,
    /// Zstandard (RFC 8878)
    Zstd,
    /// gzip (RFC 1952)
    Gzip,
    /// As it is.
    Identity,
}

impl Coding {
    /// All of them, in our order of preference.
    pub const ALL: [Coding; 4] = [Coding::Brotli, Coding::Zstd, Coding::Gzip, Coding::Identity];

    /// The value of `Content-Encoding`; `None` for identity, which is never sent (§8.4.1).
    pub fn token(self) -> Option<&'static str> {
        match self {
            Coding::Brotli => Some("br"),
            Coding::Zstd => Some("zstd"),
            Coding::Gzip => Some("gzip"),
            Coding::Identity => None,
        }
    }

    fn from_token(token: &[u8]) -> Option<Coding> {
        let is = |known: &str| token.eq_ignore_ascii_case(known.as_bytes());
        match token {
            _ if is("br") => Some(Coding::Brotli),
            _ if is("zstd") => Some(Coding::Zstd),
            _ if is("gzip") || is("x-gzip") => Some(Coding::Gzip),
            _ if is("identity") => Some(Coding::Identity),
            _ => None,
        }
    }
}

/// What a client takes: a weight for each coding, in thousandths. 0 is not acceptable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acceptable {
    weights: [u16; Coding::ALL.len()],
}

impl Acceptable {
    /// Reads the Accept-Encoding of a request. Without one everything would be acceptable (§12.5.3),
    /// but who does not ask for a coding is not sent one: plain clients often cannot undo any.
    pub fn from_request(request: &RequestHead<'_>) -> Acceptable {
        let mut named = [None; Coding::ALL.len()];
        let mut star = None;
        for member in request.members(Field::AcceptEncoding) {
            let (token, weight) = match member.iter().position(|b| *b == b';') {
                Some(at) => (member[..at].trim_ascii_end(), weight(&member[at + 1..])),
                None => (member, Some(1000)),
            };
            let Some(weight) = weight else { continue };
            match (token, Coding::from_token(token)) {
                (b"*", _) => star = Some(weight),
                (_, Some(coding)) => named[coding as usize] = Some(weight),
                _ => {}
            }
        }
        let mut weights = named.map(|weight| weight.or(star).unwrap_or(0));
        // Identity is acceptable unless it is excluded, by name or by "*;q=0" (§12.5.3); when only
        // allowed that way, anything that was named goes before it.
        let identity = &mut weights[Coding::Identity as usize];
        *identity = match (named[Coding::Identity as usize], star) {
            (Some(weight), _) => weight,
            (None, Some(0)) => 0,
            (None, _) => 1,
        };
        Acceptable { weights }
    }

    /// Whether a coding other than identity may be sent.
    pub fn wants_coding(&self) -> bool {
        self.weights[..Coding::Identity as usize]
            .iter()
            .any(|w| *w > 0)
    }

    /// Whether the content may be sent like this.
    pub fn takes(&self, coding: Coding) -> bool {
        self.weights[coding as usize] > 0
    }

    /// The acceptable codings, best first: by weight, then by our own preference.
    pub fn in_order(&self) -> impl Iterator<Item = Coding> + use<> {
        let mut order = Coding::ALL;
        let weights = self.weights;
        order.sort_by_key(|coding| std::cmp::Reverse(weights[*coding as usize]));
        order
            .into_iter()
            .filter(move |coding| weights[*coding as usize] > 0)
    }
}

/// `OWS "q=" qvalue`, in thousandths.
fn weight(parameter: &[u8]) -> Option<u16> {
    let value = match parameter.trim_ascii() {
        [b'q' | b'Q', b'=', value @ ..] => value,
        _ => return None,
    };
    let (whole, fraction) = match value {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = [0, 1, 2].map(|at| fraction.get(at).map_or(0, |d| u16::from(d - b'0')));
    let thousandths = u16::from(whole - b'0') * 1000 + digits[0] * 100 + digits[1] * 10 + digits[2];
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::super::parsed;
    use super::*;

    fn check(fields: &str, expected: &[Coding]) {
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let head = parsed(&text);
        let request = RequestHead::new(&head, text.as_bytes());
        let acceptable = Acceptable::from_request(&request);
        assert_eq!(
            acceptable.in_order().collect::<Vec<_>>(),
            expected,
            "{text}"
        );
    }

    #[test]
    fn the_order_is_by_weight_and_then_ours() {
        use Coding::{Brotli, Gzip, Identity, Zstd};
        for (fields, expected) in [
            ("", &[Identity][..]),
            ("Accept-Encoding:\r\n", &[Identity]),
            (
                "Accept-Encoding: gzip, deflate, br, zstd\r\n",
                &[Brotli, Zstd, Gzip, Identity],
            ),
            (
                "Accept-Encoding: gzip;q=1.0, br;q=0.9\r\n",
                &[Gzip, Brotli, Identity],
            ),
            ("Accept-Encoding: gzip;q=0.001\r\n", &[Gzip, Identity]),
            ("Accept-Encoding: gzip;q=0\r\n", &[Identity]),
            (
                "Accept-Encoding: GZIP ; Q=0.5 , x-gzip;q=0.5\r\n",
                &[Gzip, Identity],
            ),
            (
                "Accept-Encoding: identity, gzip;q=0.5\r\n",
                &[Identity, Gzip],
            ),
            ("Accept-Encoding: identity;q=0, gzip\r\n", &[Gzip]),
            ("Accept-Encoding: identity;q=0\r\n", &[]),
            ("Accept-Encoding: *;q=0\r\n", &[]),
            ("Accept-Encoding: *;q=0, identity\r\n", &[Identity]),
            ("Accept-Encoding: *\r\n", &[Brotli, Zstd, Gzip, Identity]),
            ("Accept-Encoding: br;q=0, *\r\n", &[Zstd, Gzip, Identity]),
            (
                "Accept-Encoding: gzip\r\nAccept-Encoding: br\r\n",
                &[Brotli, Gzip, Identity],
            ),
            ("Accept-Encoding: compress, snappy\r\n", &[Identity]),
        ] {
            check(fields, expected);
        }
    }

    #[test]
    fn a_weight_that_is_none_is_passed_over_with_its_coding() {
        for q in [
            "2", "1.001", "0.1234", "-1", "", ".5", "0,5", "nan", "1e0", "0x1", "+1",
        ] {
            check(
                &format!("Accept-Encoding: gzip;q={q}\r\n"),
                &[Coding::Identity],
            );
        }
        for (q, thousandths) in [
            ("0", 0),
            ("0.", 0),
            ("0.5", 500),
            ("0.05", 50),
            ("0.999", 999),
            ("1", 1000),
            ("1.000", 1000),
        ] {
            assert_eq!(
                weight(format!("q={q}").as_bytes()),
                Some(thousandths),
                "{q}"
            );
        }
    }
}
