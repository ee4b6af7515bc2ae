//! Floor 1, http: the parser of response heads, tried.

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 200,
    target_bytes_max: 0,
    fields_max: 4,
};

/// The parts of a head that was taken: status, version, end, and whether the connection stays open after a GET.
type Taken = (u16, Version, usize, ResponseBody, bool);

/// Parses `bytes` whole, then cut at every byte, then byte by byte: the outcome is the same.
fn parse(bytes: &[u8]) -> Result<Option<Taken>, ResponseError> {
    let outcome = |cuts: &[usize]| {
        let mut parser = ResponseParser::default();
        for &cut in cuts {
            if let Some(head) = parser.parse(&bytes[..cut], &LIMITS)? {
                let (body, stays) = (head.body(Method::Get), head.wants_persistence(Method::Get));
                return Ok(Some((
                    head.status(),
                    head.version(),
                    head.end(),
                    body,
                    stays,
                )));
            }
        }
        Ok(None)
    };
    let whole = outcome(&[bytes.len()]);
    for cut in 0..bytes.len() {
        assert_eq!(outcome(&[cut, bytes.len()]), whole, "cut at {cut}");
    }
    let bytewise: Vec<_> = (0..=bytes.len()).collect();
    assert_eq!(outcome(&bytewise), whole, "{}", bytes.escape_ascii());
    whole
}

#[track_caller]
fn check(bytes: impl AsRef<[u8]>, expected: Result<(u16, ResponseBody, bool), ResponseError>) {
    let bytes = bytes.as_ref();
    let got = parse(bytes).map(|head| head.expect("a whole head"));
    let got = got.map(|(status, _, _, body, stays)| (status, body, stays));
    assert_eq!(got, expected, "{}", bytes.escape_ascii());
}

#[test]
fn a_head_is_taken_apart_in_place() {
    let bytes = b"HTTP/1.0 999 what \xff is\r\nconnection:a , Keep-Alive\r\nX: \t y \r\n\r\nHTTP";
    let taken = parse(bytes).unwrap().unwrap();
    let expected = (
        999,
        Version::Http10,
        bytes.len() - 4,
        ResponseBody::UntilClose,
        false,
    );
    assert_eq!(taken, expected);
    let mut parser = ResponseParser::default();
    let head = parser.parse(bytes, &LIMITS).unwrap().unwrap();
    assert_eq!(head.named("x"), Some(&b"y"[..]));
    let lines: Vec<_> = head.lines().collect();
    assert_eq!(lines[0], (&b"connection"[..], &b"a , Keep-Alive"[..]));
    assert_eq!(lines[1..], [(&b"X"[..], &b"y"[..])]);
    let options: Vec<_> = head.members(Field::Connection).collect();
    assert_eq!(options, [&b"a"[..], b"Keep-Alive"]);
}

#[test]
fn what_is_not_a_status_line_is_refused() {
    for line in [
        "",
        "\r\nHTTP/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1 2000",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 OK\r",
        "HTTP/1.1 200 \x7f",
        "HTTP/11 200 OK",
        "HTTP/1.x 200 OK",
        "http/1.1 200 OK",
        "HTTP",
        "ICY 200 OK",
        "SSH-2.0-OpenSSH_9.9",
        "\x15\x03\x03\0\x02\x02\x46",
        "GET / HTTP/1.1",
    ] {
        check(format!("{line}\r\n\r\n"), Err(ResponseError::StatusLine));
    }
    for version in ["0.9", "2.0"] {
        check(
            format!("HTTP/{version} 200 OK\r\n\r\n"),
            Err(HeadError::Version.into()),
        );
    }
    // A server of another protocol is not heard out.
    assert_eq!(parse(b"220 mail"), Err(ResponseError::StatusLine));
    for (line, status) in [
        ("HTTP/1.1 200", 200),
        ("HTTP/1.1 100 ", 100),
        ("HTTP/1.7 999 \t\u{e9}", 999),
        ("HTTP/1.1 600 6", 600),
    ] {
        let taken = parse(format!("{line}\r\n\r\n").as_bytes())
            .unwrap()
            .unwrap();
        assert_eq!(taken.0, status, "{line:?}");
    }
}

#[test]
fn what_is_not_a_field_line_is_refused() {
    for (line, error) in [
        ("A : x", HeadError::FieldName),
        (": x", HeadError::FieldName),
        ("A", HeadError::FieldName),
        ("A: x\r\n y", HeadError::Fold),
        ("\tA: x", HeadError::Fold),
        ("A: x\ry", HeadError::FieldValue),
        ("A: x\0y", HeadError::FieldValue),
        ("A: x\r", HeadError::FieldValue),
        ("A: x\nB: y", HeadError::BareLineFeed),
    ] {
        check(
            format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"),
            Err(error.into()),
        );
    }
    check("HTTP/1.1 200 OK\n\r\n", Err(HeadError::BareLineFeed.into()));
}

#[test]
fn the_end_of_a_body_is_certain_or_the_head_is_refused() {
    use ResponseBody::{Chunked, Length, UntilClose};
    for (fields, expected) in [
        ("", Ok((200, UntilClose, false))),
        ("Content-Length: 0\r\n", Ok((200, Length(0), true))),
        ("Content-Length: 7\r\n", Ok((200, Length(7), true))),
        (
            "Content-Length: 7\r\nConnection: close\r\n",
            Ok((200, Length(7), false)),
        ),
        ("Transfer-Encoding: Chunked\r\n", Ok((200, Chunked, true))),
        (
            "Content-Length: 7\r\nContent-Length: 8\r\n",
            Err(HeadError::ContentLength),
        ),
        (
            "Content-Length: 7\r\nContent-Length: 7\r\n",
            Err(HeadError::ContentLength),
        ),
        ("Content-Length: 7, 7\r\n", Err(HeadError::ContentLength)),
        ("Content-Length: 07\r\n", Err(HeadError::ContentLength)),
        ("Content-Length: -1\r\n", Err(HeadError::ContentLength)),
        ("Content-Length:\r\n", Err(HeadError::ContentLength)),
        (
            "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n",
            Err(HeadError::ConflictingFraming),
        ),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            Err(HeadError::UnknownTransferCoding),
        ),
        (
            "Transfer-Encoding: gzip\r\n",
            Err(HeadError::TransferEncoding),
        ),
        (
            "Transfer-Encoding: identity\r\n",
            Err(HeadError::TransferEncoding),
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            Err(HeadError::TransferEncoding),
        ),
    ] {
        let expected = expected.map_err(ResponseError::Head);
        check(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), expected);
    }
    check(
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        Err(HeadError::ConflictingFraming.into()),
    );
    check(
        "HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\n",
        Ok((200, Length(7), false)),
    );
    check(
        "HTTP/1.0 200 OK\r\nContent-Length: 7\r\nConnection: keep-alive\r\n\r\n",
        Ok((200, Length(7), true)),
    );
}

#[test]
fn some_responses_have_no_body_whatever_their_fields_say() {
    use ResponseBody::{Length, None};
    let length = "Content-Length: 7\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    for (status, fields, expected) in [
        (100, "", (None, true)),
        (101, "", (None, false)),
        (103, length, (None, true)),
        (204, "", (None, true)),
        (204, "Content-Length: 0\r\n", (None, true)),
        (204, length, (None, false)),
        (204, chunked, (None, false)),
        (304, length, (None, true)),
        (304, chunked, (None, true)),
        (205, "Content-Length: 0\r\n", (Length(0), true)),
        (205, length, (Length(7), true)),
    ] {
        let (body, stays) = expected;
        check(
            format!("HTTP/1.1 {status}\r\n{fields}\r\n"),
            Ok((status, body, stays)),
        );
    }
    let bytes = b"HTTP/1.1 200\r\nContent-Length: 7\r\n\r\n";
    let mut parser = ResponseParser::default();
    let head = parser.parse(bytes, &LIMITS).unwrap().unwrap();
    assert_eq!(head.body(Method::Head), None);
    assert_eq!(head.content_length(), Some(7));
    assert!(head.wants_persistence(Method::Head));
    let bytes = b"HTTP/1.1 200\r\n\r\n";
    let mut parser = ResponseParser::default();
    let head = parser.parse(bytes, &LIMITS).unwrap().unwrap();
    assert!(head.wants_persistence(Method::Head) && !head.wants_persistence(Method::Get));
}

#[test]
fn the_bounds_hold_to_the_byte() {
    let head = |n: usize| format!("HTTP/1.1 200\r\nA: {}\r\n\r\n", "a".repeat(n));
    let fits = LIMITS.head_bytes_max - head(0).len();
    check(head(fits), Ok((200, ResponseBody::UntilClose, false)));
    check(head(fits + 1), Err(HeadError::HeadTooLarge.into()));
    let line = |n: usize| format!("HTTP/1.1 200 {}\r\n\r\n", "a".repeat(n));
    let fits = LIMITS.head_bytes_max - line(0).len();
    check(line(fits), Ok((200, ResponseBody::UntilClose, false)));
    for more in [1, 2, 3, 500] {
        check(line(fits + more), Err(HeadError::HeadTooLarge.into()));
    }
    check(
        "HTTP/".to_owned() + &"\0".repeat(500),
        Err(HeadError::HeadTooLarge.into()),
    );
    let fields = |n| format!("HTTP/1.1 200\r\n{}\r\n", "A:\r\n".repeat(n));
    check(fields(4), Ok((200, ResponseBody::UntilClose, false)));
    check(fields(5), Err(HeadError::TooManyFields.into()));
}

#[test]
fn a_server_tells_how_long_it_keeps_a_connection() {
    for (field, seconds) in [
        ("Keep-Alive: timeout=5", Some(5)),
        ("keep-alive: max=100, Timeout = 5 ", Some(5)),
        ("Keep-Alive: timeout=0", Some(0)),
        ("Keep-Alive: timeout=x", None),
        ("Keep-Alive: timeout=99999999999", None),
        ("Keep-Alive: 300", None),
        ("X: timeout=5", None),
    ] {
        let bytes = format!("HTTP/1.1 200\r\n{field}\r\n\r\n");
        let mut parser = ResponseParser::default();
        let head = parser.parse(bytes.as_bytes(), &LIMITS).unwrap().unwrap();
        assert_eq!(
            head.idle_timeout(),
            seconds.map(Duration::from_secs),
            "{field}"
        );
    }
}

#[test]
fn a_body_is_decoded_by_the_decoder_of_requests() {
    assert!(ResponseBody::None.decoder().is_none() && ResponseBody::None.is_empty());
    assert!(ResponseBody::Length(0).decoder().is_none() && ResponseBody::Length(0).is_empty());
    assert!(ResponseBody::UntilClose.decoder().is_none() && !ResponseBody::UntilClose.is_empty());
    for (body, bytes) in [
        (ResponseBody::Length(2), &b"ab"[..]),
        (ResponseBody::Chunked, b"2\r\nab\r\n0\r\n\r\n"),
    ] {
        let mut decoder = body.decoder().expect("a body with an end");
        let first = decoder.decode(bytes).unwrap();
        assert_eq!(&bytes[first.framing..][..first.content], b"ab");
        let rest = &bytes[first.framing + 2..];
        assert!(first.last || decoder.decode(rest).unwrap().last);
    }
}
