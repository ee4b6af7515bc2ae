//! Preconditions and ranges: the answer has exactly the requested bytes, or the whole content.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use crate::harness::{Client, Folder, Server, at_rest, eventually, pattern, set_modified};

/// A file in each relevant size: answered from memory, and sent from the disk.
const SIZES: [usize; 2] = [50_000, 3 << 20];

/// Seconds since 1970, and the three forms of the date in a field.
const MODIFIED: u64 = 784_111_777;
const FORMS: [&str; 3] = [
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
];
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

/// A server of `a.bin`, modified at [`MODIFIED`] and at rest, a client, and the file's tag.
fn serve(folder: &Folder, content: &[u8]) -> (Server, Client, String) {
    let path = folder.put("a.bin", content);
    set_modified(&path, UNIX_EPOCH + Duration::from_secs(MODIFIED));
    eventually("it is at rest", || at_rest(&path));
    let server = Server::of(folder.path());
    let mut client = server.connect();
    let answer = client.get("/a.bin");
    assert_eq!(answer.field("Last-Modified"), Some(FORMS[0]));
    let tag = answer.field("ETag").expect("it has one").to_owned();
    assert!(tag.starts_with('"'), "strong: {tag}");
    (server, client, tag)
}

#[test]
fn preconditions_are_evaluated_in_their_order() {
    for size in SIZES {
        let folder = Folder::new();
        let content = pattern(size);
        let (_server, mut client, tag) = serve(&folder, &content);
        let mut check = |fields: &[&str], expected: u16| {
            let fields: Vec<_> = fields.iter().map(|f| f.replace("TAG", &tag)).collect();
            let fields: Vec<_> = fields.iter().map(String::as_str).collect();
            let answer = client.ask("/a.bin", &fields);
            assert_eq!(answer.status, expected, "{fields:?}");
            if expected != 412 {
                assert_eq!(answer.field("ETag"), Some(&tag[..]));
                assert_eq!(answer.field("Cache-Control"), Some("no-cache"));
                assert!(answer.field("Date").is_some());
            }
            let body: &[u8] = if expected == 200 { &content } else { b"" };
            assert!(expected == 412 || answer.body == body, "{fields:?}");
        };
        check(&["If-Match: TAG"], 200);
        check(&["If-Match: *"], 200);
        check(&["If-Match: \"x\", TAG"], 200);
        check(&["If-Match: \"x\""], 412);
        check(&["If-Match: W/TAG"], 412);
        check(&["If-None-Match: TAG"], 304);
        check(&["If-None-Match: W/TAG"], 304);
        check(&["If-None-Match: *"], 304);
        check(&["If-None-Match: \"x\",, \"y,z\" , TAG"], 304);
        check(&["If-None-Match: \"x\""], 200);
        check(&["If-Match: \"x\"", "If-None-Match: TAG"], 412);
        check(&["If-Match: TAG", "If-None-Match: TAG"], 304);
        for date in FORMS {
            check(&[&format!("If-Modified-Since: {date}")], 304);
            check(&[&format!("If-Unmodified-Since: {date}")], 200);
        }
        let [modified_before, modified_after, unmodified_before] = [
            format!("If-Modified-Since: {BEFORE}"),
            format!("If-Modified-Since: {AFTER}"),
            format!("If-Unmodified-Since: {BEFORE}"),
        ];
        check(&[&modified_before], 200);
        check(&[&modified_after], 304);
        check(&[&unmodified_before], 412);
        check(&["If-Modified-Since: yesterday"], 200);
        check(&["If-Unmodified-Since: yesterday"], 200);
        // A tag takes precedence over a date, whatever the date is.
        check(&["If-None-Match: \"x\"", &modified_after], 200);
        check(&["If-None-Match: TAG", &modified_before], 304);
        check(&["If-Match: TAG", &unmodified_before], 200);
        check(&[&unmodified_before, "If-None-Match: TAG"], 412);
        // Every precondition comes before the range.
        check(&["Range: bytes=0-1", "If-None-Match: TAG"], 304);
    }
}

#[test]
fn a_range_is_resumed_only_from_the_very_same_bytes() {
    for size in SIZES {
        let folder = Folder::new();
        let content = pattern(size);
        let (_server, mut client, tag) = serve(&folder, &content);
        for (condition, holds) in [
            (tag.clone(), true),
            (FORMS[0].to_owned(), true),
            (FORMS[1].to_owned(), true),
            (format!("W/{tag}"), false),
            ("\"x\"".to_owned(), false),
            (BEFORE.to_owned(), false),
            (AFTER.to_owned(), false),
        ] {
            let field = format!("If-Range: {condition}");
            let answer = client.ask("/a.bin", &["Range: bytes=7-", &field]);
            let (status, body) = match holds {
                true => (206, &content[7..]),
                false => (200, &content[..]),
            };
            assert_eq!(answer.status, status, "{condition}");
            assert!(answer.body == body, "{condition}");
        }
    }
}

/// The parts of a multipart body: the announced offset of each part, and its bytes.
fn parts(kind: &str, body: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=");
    let boundary = format!("--{}", boundary.expect("it is multipart"));
    let starts: Vec<_> = memchr::memmem::find_iter(body, &boundary).collect();
    let mut parts = Vec::new();
    for pair in starts.windows(2) {
        let part = &body[pair[0] + boundary.len()..pair[1]];
        let end = memchr::memmem::find(part, b"\r\n\r\n").expect("a part has a head");
        let head = str::from_utf8(&part[..end]).expect("ASCII");
        let at = head.split_once("Content-Range: bytes ").expect("a range").1;
        let start = at.split('-').next().expect("a number").parse();
        let content = part[end + 4..].strip_suffix(b"\r\n").expect("a line end");
        parts.push((start.expect("a number"), content.to_vec()));
    }
    let last = starts.last().expect("a boundary") + boundary.len();
    assert_eq!(&body[last..], b"--\r\n", "the end");
    parts
}

#[test]
fn ranges_are_the_true_bytes() {
    for size in SIZES {
        let folder = Folder::new();
        let content = pattern(size);
        let (_server, mut client, _) = serve(&folder, &content);
        let end = size - 1;
        for (value, expected) in [
            ("0-0".to_owned(), vec![(0, 1)]),
            ("10-19".to_owned(), vec![(10, 20)]),
            (format!("{end}-"), vec![(end, size)]),
            ("-5".to_owned(), vec![(size - 5, size)]),
            (format!("-{}", size + 1), vec![(0, size)]),
            (format!("40-{}", u64::MAX), vec![(40, size)]),
            ("0-0,99999999999999999999999-".to_owned(), vec![(0, 1)]),
            ("0-9, 5-14 ,15-15".to_owned(), vec![(0, 16)]),
            ("0-9,100-199".to_owned(), vec![(0, 10), (100, 200)]),
            (
                format!("-7,{}-{},1-1", 900, 999),
                vec![(size - 7, size), (900, 1000), (1, 2)],
            ),
        ] {
            let answer = client.ask("/a.bin", &[&format!("Range: bytes={value}")]);
            assert_eq!(answer.status, 206, "{value}");
            let got = match expected[..] {
                [(start, end)] => {
                    let range = format!("bytes {start}-{}/{size}", end - 1);
                    assert_eq!(answer.field("Content-Range"), Some(&range[..]));
                    vec![(start, answer.body)]
                }
                _ => {
                    assert_eq!(answer.field("Content-Range"), None);
                    parts(answer.field("Content-Type").expect("a type"), &answer.body)
                }
            };
            let expected = expected.iter().map(|r| (r.0, content[r.0..r.1].to_vec()));
            assert!(got == expected.collect::<Vec<_>>(), "{value}");
        }
    }
}

/// The file's writer knows the first boundary of another run of the program.
#[test]
fn each_run_draws_its_own_boundaries() {
    let folder = Folder::with("a", "abc");
    let kind = || {
        let server = Server::of(folder.path());
        let answer = server.connect().ask("/a", &["Range: bytes=0-0,2-2"]);
        answer.field("Content-Type").expect("a type").to_owned()
    };
    assert_ne!(kind(), kind());
}

#[test]
fn what_is_no_range_of_this_file_is_all_of_it_or_416() {
    let folder = Folder::with("empty", "");
    let content = pattern(SIZES[0]);
    let (_server, mut client, _) = serve(&folder, &content);
    for value in [
        "bytes",
        "bytes=",
        "bytes=x-",
        "bytes=2-1",
        "lines=0-1",
        "bytes=0-0;1-1",
        "bytes=--1",
        "bytes=0-30000,20000-,1-1,60000-,-49999",
    ] {
        let answer = client.ask("/a.bin", &[&format!("Range: {value}")]);
        let whole = answer.status == 200 || answer.field("Content-Range").is_some();
        assert!(whole && answer.body == content, "{value}: {}", answer.head);
    }
    let many = format!("Range: bytes={}", vec!["0-0"; 1000].join(","));
    assert_eq!(client.ask("/a.bin", &[&many]).status, 200);
    for (target, value, range) in [
        ("/a.bin", "bytes=50000-", "bytes */50000"),
        ("/a.bin", "bytes=-0", "bytes */50000"),
        ("/a.bin", "bytes=99999999999999999999-", "bytes */50000"),
        ("/empty", "bytes=0-", "bytes */0"),
        ("/empty", "bytes=-1", "bytes */0"),
    ] {
        let answer = client.ask(target, &[&format!("Range: {value}")]);
        assert_eq!(answer.status, 416, "{target} {value}");
        assert_eq!(answer.field("Content-Range"), Some(range));
    }
    // HEAD has no ranges (§14.2).
    client.send("HEAD /a.bin HTTP/1.1\r\nHost: localhost\r\nRange: bytes=0-1\r\n\r\n");
    let head = client.head();
    assert_eq!((head.status, head.len()), (200, content.len()));
}

#[test]
fn offsets_beyond_32_bits_are_offsets() {
    use std::os::unix::fs::FileExt;
    let folder = Folder::new();
    let file = fs::File::create(folder.path().join("a")).expect("ours");
    file.set_len(6 << 30).expect("a file may have holes");
    file.write_all_at(b"hello", 5 << 30).expect("ours");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    let at = 5_u64 << 30;
    let several = format!("Range: bytes={at}-{},0-0,-1", at + 4);
    let answer = client.ask("/a", &[&several]);
    let kind = answer.field("Content-Type").expect("a type");
    let expected = [(at as usize, "hello"), (0, "\0"), ((6 << 30) - 1, "\0")];
    let expected = expected.map(|(at, text)| (at, text.as_bytes().to_vec()));
    assert_eq!(parts(kind, &answer.body), expected);
    let beyond = format!("Range: bytes={}-", 6_u64 << 30);
    assert_eq!(client.ask("/a", &[&beyond]).status, 416);
}
