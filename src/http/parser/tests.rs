//! Floor 1, http: the parser of request heads, tried.

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 200,
    target_bytes_max: 40,
    fields_max: 4,
};

/// Parses `bytes` whole, then cut at every byte, then byte by byte: the outcome is the same.
fn parse(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
    let outcome = |cuts: &[usize]| {
        let mut parser = HeadParser::default();
        for &cut in cuts {
            match parser.parse(&bytes[..cut], &LIMITS)? {
                Parsed::Complete(head) => return Ok(Some(head.clone())),
                Parsed::Partial => {}
            }
        }
        Ok(None)
    };
    let same = |a: &Result<Option<Head>, _>, b: &Result<Option<Head>, _>| match (a, b) {
        (Ok(Some(a)), Ok(Some(b))) => format!("{a:?}") == format!("{b:?}"),
        (Ok(None), Ok(None)) => true,
        (Err(a), Err(b)) => a == b,
        _ => false,
    };
    let whole = outcome(&[bytes.len()]);
    for cut in 0..bytes.len() {
        let halves = outcome(&[cut, bytes.len()]);
        assert!(same(&whole, &halves), "cut at {cut}: {whole:?} {halves:?}");
    }
    let bytewise = outcome(&(0..=bytes.len()).collect::<Vec<_>>());
    assert!(same(&whole, &bytewise), "{whole:?} {bytewise:?}");
    whole
}

fn check(bytes: impl AsRef<[u8]>, expected: Result<Framing, HeadError>) {
    let bytes = bytes.as_ref();
    let got = parse(bytes).map(|head| head.expect("a whole head").framing);
    assert_eq!(got, expected, "{}", bytes.escape_ascii());
}

#[test]
fn a_head_is_taken_apart_in_place() {
    let bytes = b"\r\nHEAD /a HTTP/1.0\r\nhOST:x:1\r\nConnection: \t a , Keep-Alive \r\nconnection: b\r\n\r\nGET";
    let head = parse(bytes).unwrap().unwrap();
    let request = RequestHead::new(&head, bytes);
    assert_eq!(request.method(), Method::Head);
    assert_eq!(request.method_token(), b"HEAD");
    assert_eq!(request.target(), b"/a");
    assert_eq!(request.version(), Version::Http10);
    assert_eq!(request.value(Field::Host), Some(&b"x:1"[..]));
    assert_eq!(request.value(Field::UserAgent), None);
    let options: Vec<_> = request.members(Field::Connection).collect();
    assert_eq!(options, [&b"a"[..], b"Keep-Alive", b"b"]);
    assert!(request.wants_persistence());
    assert_eq!(head.end(), bytes.len() - 3);
}

#[test]
fn what_is_not_a_request_line_is_refused() {
    for line in [
        "GET",
        "GET ",
        "GET /",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "G@T / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.10",
        "GET / HTTP/11",
        "GET / HTP/1.1",
        "GET\t/ HTTP/1.1",
    ] {
        check(
            format!("{line}\r\nHost: x\r\n\r\n"),
            Err(HeadError::RequestLine),
        );
    }
    check("\r\n\r\n", Err(HeadError::RequestLine));
    check("GET /\x7f HTTP/1.1\r\n\r\n", Err(HeadError::TargetByte));
    check("GET /\u{e9} HTTP/1.1\r\n\r\n", Err(HeadError::TargetByte));
    check("GET / HTTP/2.0\r\n\r\n", Err(HeadError::Version));
    check("GET / HTTP/0.9\r\n\r\n", Err(HeadError::Version));
    check("GET / HTTP/1.7\r\nHost: x\r\n\r\n", Ok(Framing::None));
    assert_eq!(
        parse(b"\x16\x03\x01 a TLS client says hello").unwrap_err(),
        HeadError::RequestLine,
    );
}

#[test]
fn what_is_not_a_field_line_is_refused() {
    for (line, error) in [
        ("Host : x", HeadError::FieldName),
        (": x", HeadError::FieldName),
        ("Host", HeadError::FieldName),
        ("Ho st: x", HeadError::FieldName),
        ("H\u{e9}: x", HeadError::FieldName),
        (" Host: x", HeadError::Fold),
        ("\tHost: x", HeadError::Fold),
        ("A: x\ry", HeadError::FieldValue),
        ("A: x\0y", HeadError::FieldValue),
        ("A: x\x7f", HeadError::FieldValue),
        ("A: x\r", HeadError::FieldValue),
    ] {
        check(format!("GET / HTTP/1.1\r\n{line}\r\n\r\n"), Err(error));
    }
    check("GET / HTTP/1.1\nHost: x\n\n", Err(HeadError::BareLineFeed));
    check(
        "GET / HTTP/1.1\r\nHost: x\n\r\n",
        Err(HeadError::BareLineFeed),
    );
    check(
        "GET / HTTP/1.1\r\nHost: x\r\nA: \u{e9}\r\n\r\n",
        Ok(Framing::None),
    );
}

#[test]
fn one_host_that_is_a_host_is_needed() {
    for host in ["x", "x:80", "[::1]:8080", "127.0.0.1", "a.b-c_d~", "", "x:"] {
        check(
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            Ok(Framing::None),
        );
    }
    for host in [
        "a b", "u@x", "x/y", "x,y", "x:y", "x:80:80", "x:99999", "[::1", "::1", "x?",
    ] {
        check(
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            Err(HeadError::Host),
        );
    }
    check("GET / HTTP/1.1\r\n\r\n", Err(HeadError::Host));
    check(
        "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        Err(HeadError::Host),
    );
    check("GET / HTTP/1.0\r\n\r\n", Ok(Framing::None));
}

#[test]
fn the_framing_of_a_body_is_certain_or_refused() {
    for (fields, expected) in [
        ("Content-Length: 0", Ok(Framing::None)),
        ("Content-Length:  12 ", Ok(Framing::Length(12))),
        (
            "Content-Length: 18446744073709551615",
            Ok(Framing::Length(u64::MAX)),
        ),
        ("Transfer-Encoding: Chunked", Ok(Framing::Chunked)),
        ("Transfer-Encoding: , chunked ,", Ok(Framing::Chunked)),
        (
            "Transfer-Encoding: gzip, chunked",
            Err(HeadError::UnknownTransferCoding),
        ),
        ("Transfer-Encoding: gzip", Err(HeadError::TransferEncoding)),
        ("Transfer-Encoding:", Err(HeadError::TransferEncoding)),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Err(HeadError::TransferEncoding),
        ),
        (
            "Transfer-Encoding: xchunked",
            Err(HeadError::TransferEncoding),
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 1",
            Err(HeadError::ConflictingFraming),
        ),
    ] {
        check(
            format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n"),
            expected,
        );
    }
    for length in [
        "+1",
        "-1",
        "0x1",
        "",
        "1 1",
        "1,1",
        "01",
        "1.0",
        "18446744073709551616",
        "\u{661}",
    ] {
        check(
            format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"),
            Err(HeadError::ContentLength),
        );
    }
    check(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        Err(HeadError::ContentLength),
    );
    check(
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        Err(HeadError::ConflictingFraming),
    );
}

#[test]
fn the_bounds_hold_to_the_byte() {
    let head = |n: usize| format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(n));
    let fits = LIMITS.head_bytes_max - head(0).len();
    check(head(fits), Ok(Framing::None));
    check(head(fits + 1), Err(HeadError::HeadTooLarge));
    check(head(fits + 500), Err(HeadError::HeadTooLarge));
    let line = |n: usize| format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(n));
    check(line(LIMITS.target_bytes_max - 1), Ok(Framing::None));
    check(line(LIMITS.target_bytes_max), Err(HeadError::TargetTooLong));
    check(line(1000), Err(HeadError::TargetTooLong));
    check("a".repeat(1000), Err(HeadError::HeadTooLarge));
    check("\x16".repeat(1000), Err(HeadError::RequestLine));
    check(
        format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A:\r\n".repeat(4)),
        Err(HeadError::TooManyFields),
    );
}

/// A client that sends a target without an end is not heard out up to the bound of the head.
#[test]
fn a_target_is_refused_with_the_first_byte_that_is_too_much() {
    let line = |n: usize| format!("GET /{}", "a".repeat(n));
    let fits = LIMITS.target_bytes_max - 1;
    for behind in ["", "\r", " ", " HTTP/1.1", " HTTP/1.1\r\nHost: x\r\n"] {
        let bytes = line(fits) + behind;
        assert!(matches!(parse(bytes.as_bytes()), Ok(None)), "{behind:?}");
    }
    check(line(fits) + "\r\n", Err(HeadError::RequestLine));
    check(line(fits) + "\n", Err(HeadError::BareLineFeed));
    // Whatever comes behind, also if it comes at once.
    for behind in [
        "",
        "\r",
        "\n",
        "\r\n",
        " ",
        " HTTP/0.9\r\n",
        "\u{e9}",
        "\0 HTTP/1.1\r\n",
    ] {
        check(line(fits + 1) + behind, Err(HeadError::TargetTooLong));
        check(
            "\r\n".to_owned() + &line(fits + 1) + behind,
            Err(HeadError::TargetTooLong),
        );
    }
    // A byte that is not allowed in a target counts too, and two spaces end an empty target.
    check(line(fits) + "\r a", Err(HeadError::TargetTooLong));
    for start in ["GET  ", "G@T ", "GET\t"] {
        let bytes = format!("{start}{}\r\n", "a".repeat(fits + 9));
        check(bytes, Err(HeadError::RequestLine));
    }
}

/// A head that arrives byte by byte is searched once, not once for each byte.
#[test]
fn a_trickling_head_is_not_searched_again() {
    let bytes = [b'a'; 100];
    let mut parser = HeadParser::default();
    for n in 0..=bytes.len() {
        assert!(matches!(
            parser.parse(&bytes[..n], &LIMITS),
            Ok(Parsed::Partial)
        ));
        assert_eq!(parser.searched, n);
    }
}

#[test]
fn a_request_has_begun_with_its_first_byte_that_is_no_empty_line() {
    for (bytes, begun) in [
        ("", false),
        ("\r", false),
        ("\r\n", false),
        ("\r\nG", true),
        ("G", true),
    ] {
        assert_eq!(HeadParser::has_begun(bytes.as_bytes()), begun, "{bytes:?}");
    }
}
