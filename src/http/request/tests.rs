//! Floor 1, http: the tests of request heads.

use super::super::parsed;
use super::*;

#[test]
fn whom_a_request_is_for_is_in_its_target_or_in_host() {
    for (line, host, expected) in [
        ("GET / HTTP/1.1", "a:1", Some(("a", Some(1)))),
        ("GET http://b/ HTTP/1.1", "a:1", Some(("b", None))),
        (
            "GET HTTP://[::1]:2?q HTTP/1.1",
            "",
            Some(("[::1]", Some(2))),
        ),
        ("OPTIONS * HTTP/1.1", "a", Some(("a", None))),
        ("OPTIONS http://b:3 HTTP/1.1", "a", Some(("b", Some(3)))),
        ("CONNECT b:4 HTTP/1.1", "a", Some(("a", None))),
        ("GET / HTTP/1.1", "", None),
    ] {
        let text = format!("{line}\r\nHost: {host}\r\n\r\n");
        let head = parsed(&text);
        let got = RequestHead::new(&head, text.as_bytes()).authority();
        let got = got.map(|a| (str::from_utf8(a.host).expect("ASCII"), a.port));
        assert_eq!(got, expected, "{text}");
    }
    let text = "GET / HTTP/1.0\r\n\r\n";
    let head = parsed(text);
    assert_eq!(RequestHead::new(&head, text.as_bytes()).authority(), None);
}

#[test]
fn a_path_and_a_query_are_told_apart_whatever_is_before_them() {
    for (line, path, query) in [
        ("GET /a?b?c HTTP/1.1", Some("/a"), Some("b?c")),
        ("GET /? HTTP/1.1", Some("/"), Some("")),
        ("GET //a/ HTTP/1.1", Some("//a/"), None),
        ("GET http://b:1/a?b HTTP/1.1", Some("/a"), Some("b")),
        ("GET http://b?q HTTP/1.1", Some("/"), Some("q")),
        ("GET http://b HTTP/1.1", Some("/"), None),
        ("OPTIONS * HTTP/1.1", None, None),
        ("CONNECT b:4 HTTP/1.1", None, None),
    ] {
        let text = format!("{line}\r\nHost: a\r\n\r\n");
        let head = parsed(&text);
        let request = RequestHead::new(&head, text.as_bytes());
        let text =
            |bytes: Option<&[u8]>| bytes.map(|b| str::from_utf8(b).expect("ASCII").to_owned());
        let got = (text(request.path()), text(request.query()));
        assert_eq!(got, (path.map(Into::into), query.map(Into::into)), "{line}");
    }
}

#[test]
fn the_members_of_a_list_are_those_of_all_its_lines() {
    for (fields, expected) in [
        ("", &[][..]),
        ("Upgrade:\r\n", &[]),
        ("Upgrade: a\r\n", &["a"]),
        ("Upgrade: ,\t, a b ,c,, d ,\r\n", &["a b", "c", "d"]),
        (
            "Upgrade: a,\r\nRange: x\r\nupgrade: , \r\nUPGRADE:b,c\r\n",
            &["a", "b", "c"],
        ),
    ] {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let head = parsed(&text);
        let request = RequestHead::new(&head, text.as_bytes());
        let members = request.members(Field::Upgrade);
        let members: Vec<_> = members.map(|m| str::from_utf8(m).expect("ASCII")).collect();
        assert_eq!(members, expected, "{text}");
        let both = [Field::Origin, Field::Upgrade];
        assert_eq!(request.has_any(&both), !fields.is_empty());
        assert!(!request.has_any(&both[..1]));
    }
}

#[test]
fn a_websocket_handshake_is_known_by_its_upgrade() {
    for (method, fields, expected) in [
        ("GET", "Upgrade: websocket", true),
        ("GET", "uPGRADE: h2c , WebSocket", true),
        ("GET", "Upgrade: h2c\r\nUpgrade: websocket", true),
        ("GET", "Upgrade: websocket/13", false),
        ("GET", "Upgrade: h2c", false),
        ("GET", "Upgrade: websockets", false),
        ("GET", "Upgrade:", false),
        ("GET", "Referer: websocket", false),
        ("HEAD", "Upgrade: websocket", false),
    ] {
        let text = format!("{method} / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        let head = parsed(&text);
        let request = RequestHead::new(&head, text.as_bytes());
        assert_eq!(request.wants_websocket(), expected, "{text}");
    }
}
