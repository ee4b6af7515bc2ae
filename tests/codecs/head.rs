//! Request heads, with `httparse` as the oracle.

use oneloop::http::{Field, HeadError, HeadLimits, HeadParser, Parsed, RequestHead, Version};
use proptest::prelude::*;

use crate::sorted;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 4096,
    target_bytes_max: 2048,
    fields_max: 32,
};

/// Parses the first bytes up to each of `cuts`, and then all bytes.
fn parse(bytes: &[u8], cuts: &[usize]) -> Result<Option<oneloop::http::Head>, HeadError> {
    let mut parser = HeadParser::default();
    for &cut in cuts.iter().chain([&bytes.len()]) {
        if let Parsed::Complete(head) = parser.parse(&bytes[..cut], &LIMITS)? {
            return Ok(Some(head.clone()));
        }
    }
    Ok(None)
}

/// A head that RFC 9112 allows. Field names with a meaning for the server appear in many spellings.
fn valid_head() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}".prop_filter("these have rules", |name| {
            let name = name.to_ascii_lowercase();
            !["host", "content-length", "transfer-encoding"].contains(&name.as_str())
        }),
        Just("Connection".to_owned()),
        Just("uSER-aGENT".to_owned()),
        Just("EXPECT".to_owned()),
        Just("Origin".to_owned()),
        Just("upgrade".to_owned()),
        Just("Sec-Fetch-Site".to_owned()),
        Just("sec-fetch-MODE".to_owned()),
        Just("Sec-Fetch-Dest".to_owned()),
        Just("Content-encoding".to_owned()),
    ];
    let value = "[\t !-~]{0,20}";
    let field = (name, "[ \t]{0,2}", value).prop_map(|(n, space, v)| format!("{n}:{space}{v}\r\n"));
    (
        "(GET|HEAD|POST|BREW)",
        "/[!-\"$-~]{0,40}",
        "1\\.[01]",
        prop::collection::vec(field, 0..12),
    )
        .prop_map(|(method, target, version, fields)| {
            let fields = fields.concat();
            format!("{method} {target} HTTP/{version}\r\nHost: x\r\n{fields}\r\n")
        })
}

/// A head with any fault: a valid head with a few bytes changed.
fn damaged_head() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(&b"\r\n\0 \t:,/.%\x7f\xff"[..])
    ];
    let change = (any::<prop::sample::Index>(), byte, 0..3_u8);
    (valid_head(), prop::collection::vec(change, 1..4)).prop_map(|(head, changes)| {
        let mut bytes = head.into_bytes();
        for (at, byte, kind) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn a_valid_head_says_what_httparse_reads_in_it(head in valid_head(), rest in "[ -~\r\n]{0,20}") {
        let bytes = [head.as_bytes(), rest.as_bytes()].concat();
        let parsed = parse(&bytes, &[]).expect("valid").expect("whole");
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut oracle = httparse::Request::new(&mut fields);
        let length = oracle.parse(&bytes).expect("valid").unwrap();
        prop_assert_eq!(parsed.end(), length);
        let request = RequestHead::new(&parsed, &bytes);
        prop_assert_eq!(request.method_token(), oracle.method.unwrap().as_bytes());
        prop_assert_eq!(request.target(), oracle.path.unwrap().as_bytes());
        prop_assert_eq!(request.version() as u8, oracle.version.unwrap());
        for (field, name) in [
            (Field::Host, "host"),
            (Field::Connection, "connection"),
            (Field::UserAgent, "user-agent"),
            (Field::Expect, "expect"),
            (Field::Origin, "origin"),
            (Field::Upgrade, "upgrade"),
            (Field::ContentEncoding, "content-encoding"),
            (Field::FetchSite, "sec-fetch-site"),
            (Field::FetchMode, "sec-fetch-mode"),
        ] {
            let same = oracle.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
            let expected: Vec<_> = same.map(|h| h.value.trim_ascii()).collect();
            let got: Vec<_> = request.values(field).collect();
            prop_assert_eq!(&got, &expected);
            prop_assert_eq!(request.value(field), expected.first().copied());
        }
        let close = request
            .members(Field::Connection)
            .any(|option| option.eq_ignore_ascii_case(b"close"));
        prop_assert!(!(close && request.wants_persistence()));
        prop_assert!(close || request.version() == Version::Http10 || request.wants_persistence());
    }

    /// The server may refuse a head that httparse accepts. A head that the server accepts, httparse
    /// must accept too, with the same last byte: request smuggling needs two servers in a row that
    /// disagree about the end of a head.
    #[test]
    fn a_head_that_is_taken_ends_where_httparse_says(bytes in damaged_head()) {
        if let Ok(Some(parsed)) = parse(&bytes, &[]) {
            let mut fields = [httparse::EMPTY_HEADER; 40];
            let mut oracle = httparse::Request::new(&mut fields);
            match oracle.parse(&bytes) {
                Ok(httparse::Status::Complete(length)) => prop_assert_eq!(parsed.end(), length),
                // httparse knows no minor version except 0 and 1.
                Err(httparse::Error::Version) => {}
                other => prop_assert!(false, "{other:?} for {}", bytes.escape_ascii()),
            }
        }
    }

    #[test]
    fn no_cut_changes_the_outcome(
        bytes in damaged_head(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let cuts = sorted(&cuts, bytes.len());
        let whole = parse(&bytes, &[]);
        let in_pieces = parse(&bytes, &cuts);
        prop_assert_eq!(format!("{whole:?}"), format!("{in_pieces:?}"));
    }
}
