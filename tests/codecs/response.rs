//! Heads of responses from other servers, with `httparse` as the oracle.

use oneloop::http::{Field, HeadLimits, ResponseError, ResponseParser, Version};
use proptest::prelude::*;

use crate::sorted;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 4096,
    target_bytes_max: 0,
    fields_max: 32,
};

/// What a head says: its end, version and status, and its field lines.
#[derive(PartialEq, Debug)]
struct Said {
    end: usize,
    version: u8,
    status: u16,
    lines: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Parses the first bytes up to each of `cuts`, and then all bytes.
fn parse(bytes: &[u8], cuts: &[usize]) -> Result<Option<Said>, ResponseError> {
    let mut parser = ResponseParser::default();
    for &cut in cuts.iter().chain([&bytes.len()]) {
        if let Some(head) = parser.parse(&bytes[..cut], &LIMITS)? {
            let lines = head
                .lines()
                .map(|(name, value)| (name.to_vec(), value.to_vec()));
            return Ok(Some(Said {
                end: head.end(),
                version: u8::from(head.version() == Version::Http11),
                status: head.status(),
                lines: lines.collect(),
            }));
        }
    }
    Ok(None)
}

/// What `httparse` reads in a head. `None`: the head is not whole.
fn oracle(bytes: &[u8]) -> Result<Option<Said>, httparse::Error> {
    let mut fields = [httparse::EMPTY_HEADER; 40];
    let mut head = httparse::Response::new(&mut fields);
    Ok(match head.parse(bytes)? {
        httparse::Status::Partial => None,
        httparse::Status::Complete(end) => Some(Said {
            end,
            version: head.version.expect("whole"),
            status: head.code.expect("whole"),
            lines: head
                .headers
                .iter()
                .map(|h| (h.name.as_bytes().to_vec(), h.value.trim_ascii().to_vec()))
                .collect(),
        }),
    })
}

/// A head that RFC 9112 allows.
fn valid_head() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}".prop_filter("these have rules", |name| {
            let name = name.to_ascii_lowercase();
            !["content-length", "transfer-encoding"].contains(&name.as_str())
        }),
        Just("Connection".to_owned()),
        Just("upgrade".to_owned()),
        Just("Set-Cookie".to_owned()),
        Just("Content-encoding".to_owned()),
    ];
    let value = "[\t !-~]{0,20}";
    let field = (name, "[ \t]{0,2}", value).prop_map(|(n, space, v)| format!("{n}:{space}{v}\r\n"));
    let framing = prop::sample::select(vec![
        "",
        "Content-Length: 12\r\n",
        "transfer-encoding:chunked\r\n",
    ]);
    (
        100..1000_u16,
        "( [\t -~]{0,12})?",
        framing,
        prop::collection::vec(field, 0..12),
    )
        .prop_map(|(status, reason, framing, fields)| {
            let fields = fields.concat();
            format!("HTTP/1.1 {status}{reason}\r\n{framing}{fields}\r\n")
        })
}

/// A head with any fault: a valid head with a few bytes changed.
fn damaged_head() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(&b"\r\n\0 \t:,/.0129\x7f\xff"[..])
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
    fn a_valid_response_says_what_httparse_reads_in_it(head in valid_head(), rest in "[ -~\r\n]{0,20}") {
        let bytes = [head.as_bytes(), rest.as_bytes()].concat();
        let said = parse(&bytes, &[]).expect("valid");
        prop_assert!(said.is_some());
        prop_assert_eq!(&said, &oracle(&bytes).expect("valid"));
        let mut parser = ResponseParser::default();
        let head = parser.parse(&bytes, &LIMITS).unwrap().unwrap();
        for (field, name) in [
            (Field::Connection, "connection"),
            (Field::Upgrade, "upgrade"),
            (Field::TransferEncoding, "transfer-encoding"),
        ] {
            let lines = said.iter().flat_map(|said| &said.lines);
            let mut same = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
            prop_assert_eq!(head.value(field), same.next().map(|(_, value)| &value[..]));
        }
    }

    /// The proxy may refuse a head that httparse accepts. A head that the proxy accepts must mean the
    /// same to httparse: response splitting needs two recipients that disagree about the end of a head.
    #[test]
    fn a_response_that_is_taken_means_the_same_to_httparse(bytes in damaged_head()) {
        if let Ok(Some(said)) = parse(&bytes, &[]) {
            match oracle(&bytes) {
                Ok(expected) => prop_assert_eq!(Some(said), expected, "{}", bytes.escape_ascii()),
                // httparse knows no minor version except 0 and 1.
                Err(httparse::Error::Version) => {}
                other => prop_assert!(false, "{other:?} for {}", bytes.escape_ascii()),
            }
        }
    }

    #[test]
    fn no_cut_changes_the_outcome_of_a_response(
        bytes in damaged_head(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let cuts = sorted(&cuts, bytes.len());
        prop_assert_eq!(parse(&bytes, &cuts), parse(&bytes, &[]));
    }
}
