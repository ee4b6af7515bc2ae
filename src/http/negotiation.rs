//! Floor 1, http: content codings, and the codings that a client accepts (RFC 9110 §8.4.1,
//! §12.5.3).
//!
//! ```text
//! Accept-Encoding = #( codings [ weight ] )
//! codings         = content-coding / "identity" / "*"
//! weight          = OWS ";" OWS "q=" qvalue
//! qvalue          = ( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )
//! ```
//!
//! A weight has at most three decimals in the grammar, so the code counts in integer thousandths. A
//! list member that breaks the grammar is skipped.

use std::cmp::Reverse;

use super::{Field, RequestHead};

/// A content coding. The order is the order of preference of the server: the coding with the
/// smallest result comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Coding {
    /// Brotli (RFC 7932)
    Brotli,
    /// Zstandard (RFC 8878)
    Zstd,
    /// gzip (RFC 1952)
    Gzip,
    /// No coding: the content is sent unchanged.
    Identity,
}

impl Coding {
    /// Every coding, in the order of preference of the server.
    pub const ALL: [Coding; 4] = [Coding::Brotli, Coding::Zstd, Coding::Gzip, Coding::Identity];

    /// The value of `Content-Encoding`. `None` for identity, because `identity` is never sent in
    /// this field (§8.4.1).
    pub fn token(self) -> Option<&'static str> {
        match self {
            Coding::Brotli => Some("br"),
            Coding::Zstd => Some("zstd"),
            Coding::Gzip => Some("gzip"),
            Coding::Identity => None,
        }
    }

    /// The coding with this name; letter case does not matter, and `x-gzip` is another name of
    /// gzip.
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

/// The codings that a client accepts: a weight for each coding, in thousandths. The weight 0 means
/// "not acceptable".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acceptable {
    weights: [u16; Coding::ALL.len()],
    /// By weight, then by the preference of the server.
    order: [Coding; Coding::ALL.len()],
}

impl Acceptable {
    /// The codings of a request without Accept-Encoding: identity alone.
    pub const NOTHING_SAID: Acceptable = Acceptable {
        weights: [0, 0, 0, 1],
        order: [Coding::Identity, Coding::Brotli, Coding::Zstd, Coding::Gzip],
    };

    /// Reads the Accept-Encoding of a request. Without the field every coding would be acceptable
    /// (§12.5.3), but a client that does not ask for a coding gets identity only, because simple
    /// clients often cannot decode any coding.
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
        // Identity is acceptable unless excluded by name or by "*;q=0" (§12.5.3). If the client
        // does not name identity, the weight is the smallest possible, so that every other
        // acceptable coding comes first.
        let identity = &mut weights[Coding::Identity as usize];
        *identity = match (named[Coding::Identity as usize], star) {
            (Some(weight), _) => weight,
            (None, Some(0)) => 0,
            (None, _) => 1,
        };
        let mut order = Coding::ALL;
        order.sort_by_key(|coding| Reverse(weights[*coding as usize]));
        Acceptable { weights, order }
    }

    /// Whether the client accepts a coding other than identity.
    pub fn wants_coding(&self) -> bool {
        self.weights[..Coding::Identity as usize]
            .iter()
            .any(|w| *w > 0)
    }

    /// Whether the client accepts the coding.
    pub fn takes(&self, coding: Coding) -> bool {
        self.weights[coding as usize] > 0
    }

    /// Whether the client weighs two codings equally.
    pub fn weighs_equally(&self, one: Coding, other: Coding) -> bool {
        self.weights[one as usize] == self.weights[other as usize]
    }

    /// The acceptable codings, best first: by weight, then by the preference of the server.
    pub fn in_order(&self) -> impl Iterator<Item = Coding> + use<> {
        let Acceptable { weights, order } = *self;
        order
            .into_iter()
            .filter(move |coding| weights[*coding as usize] > 0)
    }
}

/// The form of an answer that the server writes itself, such as an error or the list of a directory.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Form {
    /// `text/plain`
    #[default]
    Text,
    /// `text/html`
    Html,
    /// `application/json`
    Json,
}

impl Form {
    /// The form that a request asks for in Accept (RFC 9110 §12.5.1): HTML or JSON if the type is named,
    /// and plain text otherwise. `*/*` names no type: every program that is not a browser sends it.
    pub fn from_request(request: &RequestHead<'_>) -> Form {
        let accept = request.named("accept").unwrap_or_default();
        let (mut html, mut json) = (0, 0);
        for member in accept.split(|b| *b == b',') {
            let mut parts = member.split(|b| *b == b';');
            let named = parts.next().unwrap_or_default().trim_ascii();
            let weight = parts.find_map(weight).unwrap_or(1000);
            match named {
                name if name.eq_ignore_ascii_case(b"text/html") => html = weight,
                name if name.eq_ignore_ascii_case(b"application/json") => json = weight,
                _ => {}
            }
        }
        match (html, json) {
            (0, 0) => Form::Text,
            (html, json) if html >= json => Form::Html,
            _ => Form::Json,
        }
    }

    /// The media type, with its charset.
    pub fn media_type(self) -> &'static str {
        match self {
            Form::Text => "text/plain; charset=utf-8",
            Form::Html => "text/html; charset=utf-8",
            Form::Json => "application/json",
        }
    }
}

/// Reads `OWS "q=" qvalue` and returns the weight in thousandths; `None` if the parameter breaks
/// the grammar.
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
    fn a_page_is_for_those_who_name_its_type() {
        for (accept, form) in [
            ("", Form::Text),
            ("*/*", Form::Text),
            ("text/html", Form::Html),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Form::Html,
            ),
            ("application/json", Form::Json),
            ("application/json, text/plain, */*", Form::Json),
            ("application/json;q=0.5, Text/HTML ; q=0.6", Form::Html),
            ("application/json, text/html;q=0.9", Form::Json),
            ("text/html;q=0, application/json;q=0", Form::Text),
            (
                "text/html;level=1;q=0.4, application/json;q=0.3",
                Form::Html,
            ),
        ] {
            let text = format!("GET / HTTP/1.1\r\nHost: x\r\nACCEPT: {accept}\r\n\r\n");
            let head = parsed(&text);
            let request = RequestHead::new(&head, text.as_bytes());
            assert_eq!(Form::from_request(&request), form, "{accept}");
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
