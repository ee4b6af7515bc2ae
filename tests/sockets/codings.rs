//! Content codings: every coding decodes to the file's present content.

use std::io::{Read, Write};
use std::time::{Duration, SystemTime};

use crate::harness::{Answer, Client, Folder, Server, at_rest, eventually, pattern, set_modified};

/// Text that is worth compressing.
fn text(seed: &str, len: usize) -> Vec<u8> {
    let mut text: Vec<u8> = (0..=len / 8)
        .flat_map(|n| format!("{seed} {} ", n * n % 9973).into_bytes())
        .collect();
    text.truncate(len);
    text
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

fn brotli(content: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 1, 16);
    encoder.write_all(content).expect("a Vec takes all");
    encoder.into_inner()
}

/// The content of an answer without its coding.
fn decoded(answer: &Answer) -> Vec<u8> {
    let (body, mut content) = (&answer.body[..], Vec::new());
    let read = match answer.field("Content-Encoding") {
        None => return answer.body.clone(),
        Some("gzip") => flate2::read::GzDecoder::new(body).read_to_end(&mut content),
        Some("br") => brotli::Decompressor::new(body, 4096).read_to_end(&mut content),
        Some(other) => panic!("nothing makes {other} here"),
    };
    read.expect("it can be decoded");
    content
}

/// Checks the answer for `fields`: the status, the coding, and the decoded `content`.
fn check(
    client: &mut Client,
    target: &str,
    fields: &[&str],
    (status, coding): (u16, Option<&str>),
    content: &[u8],
) -> Answer {
    let answer = client.ask(target, fields);
    let got = (answer.status, answer.field("Content-Encoding"));
    assert_eq!(got, (status, coding), "{target} {fields:?}");
    if status == 200 {
        assert!(decoded(&answer) == content, "{target} {fields:?}");
    }
    answer
}

const GZIP: &[&str] = &["Accept-Encoding: gzip"];
const BROTLI: &[&str] = &["Accept-Encoding: br"];

/// A sibling stays on the disk, and known to the server, when its original is edited. From then on
/// the sibling is stale: a new compressed form must be sent instead.
#[test]
fn a_sibling_is_not_sent_once_its_original_was_edited() {
    let folder = Folder::new();
    let server = Server::of(folder.path());
    let mut client = server.connect();
    let first = text("first", 4000);
    let path = folder.put("a.js", &first);
    let siblings = [
        folder.put("a.js.gz", gzip(&first)),
        folder.put("a.js.br", brotli(&first)),
    ];
    eventually("all is at rest", || {
        check(&mut client, "/a.js", GZIP, (200, Some("gzip")), &first);
        check(&mut client, "/a.js", BROTLI, (200, Some("br")), &first);
        siblings.iter().all(|sibling| at_rest(sibling)) && at_rest(folder.path())
    });
    // In place: the directory does not change.
    let second = text("second", 4000);
    folder.put("a.js", &second);
    eventually("the edit is at rest", || {
        check(&mut client, "/a.js", GZIP, (200, Some("gzip")), &second);
        check(&mut client, "/a.js", BROTLI, (200, Some("br")), &second);
        at_rest(&path)
    });
}

#[test]
fn a_sibling_that_is_brought_up_to_date_in_place_is_sent_again() {
    let folder = Folder::new();
    let server = Server::of(folder.path());
    let mut client = server.connect();
    let content = text("content", 900);
    folder.put("a.js", &content);
    let sibling = folder.put("a.js.gz", gzip(b"an older edition"));
    set_modified(&sibling, SystemTime::now() - Duration::from_secs(60));
    eventually("all is at rest", || {
        check(&mut client, "/a.js", GZIP, (200, None), &content);
        at_rest(&sibling) && at_rest(folder.path())
    });
    folder.put("a.js.gz", gzip(&content));
    let answer = check(&mut client, "/a.js", GZIP, (200, Some("gzip")), &content);
    assert_eq!(answer.body, gzip(&content), "the very file");
}

/// The file is sent as it is, in one of the sizes that are answered from memory, that are worth
/// encoding, and that are sent from the disk.
#[test]
fn a_compressed_drawing_is_sent_in_its_coding_to_every_client() {
    let folder = Folder::new();
    let server = Server::of(folder.path());
    let mut client = server.connect();
    for size in [20, 5_000, 300_000] {
        let drawing = pattern(size);
        let file = gzip(&drawing);
        folder.put("a.svgz", &file);
        for accepted in ["gzip, br", "br", "identity", "gzip;q=0", "*;q=0"] {
            let field = format!("Accept-Encoding: {accepted}");
            let is = (200, Some("gzip"));
            let answer = check(&mut client, "/a.svgz", &[&field], is, &drawing);
            assert_eq!(answer.body, file, "the very file");
            assert_eq!(answer.field("Content-Type"), Some("image/svg+xml"));
            assert_eq!(answer.field("Vary"), None);
        }
        let range = ["Range: bytes=1-2"];
        let answer = check(&mut client, "/a.svgz", &range, (206, Some("gzip")), b"");
        assert_eq!(answer.body, file[1..=2]);
        folder.put("a.tgz", &file);
        let answer = client.ask("/a.tgz", GZIP);
        assert_eq!(answer.field("Content-Encoding"), None);
    }
}

/// An interrupted build leaves siblings that are empty, cut short, or in no coding.
#[test]
fn a_sibling_that_is_not_in_its_coding_is_passed_over() {
    let content = text("content", 4000);
    let folder = Folder::with("a.js", &content);
    let server = Server::of(folder.path());
    let mut client = server.connect();
    for broken in [&b""[..], &gzip(&content)[..9], &content] {
        // In place, so that the directory stays the same.
        let sibling = folder.put("a.js.gz", broken);
        folder.put("a.js.zst", broken);
        if broken.is_empty() {
            folder.put("a.js.br", broken);
        }
        eventually("all is at rest", || {
            check(&mut client, "/a.js", GZIP, (200, Some("gzip")), &content);
            let zstd = ["Accept-Encoding: zstd"];
            check(&mut client, "/a.js", &zstd, (200, None), &content);
            if broken.is_empty() {
                check(&mut client, "/a.js", BROTLI, (200, Some("br")), &content);
            }
            at_rest(&sibling) && at_rest(folder.path())
        });
        // The output of the encoder is kept, and stays in the cache beside the broken sibling.
        check(&mut client, "/a.js", GZIP, (200, Some("gzip")), &content);
        let answer = check(&mut client, "/a.js", GZIP, (200, Some("gzip")), &content);
        assert_eq!(answer.field("Transfer-Encoding"), None);
    }
    folder.put("a.js.gz", gzip(&content));
    let answer = check(&mut client, "/a.js", GZIP, (200, Some("gzip")), &content);
    assert_eq!(answer.body, gzip(&content), "the very file");
    let mut server = server;
    let warning = "warning: a.js.gz is not in the coding of its name";
    server.stderr.find(warning);
}

/// Ranges may be ignored; a refusal would be the last resort.
#[test]
fn who_takes_no_identity_gets_a_coding_in_place_of_a_range() {
    let content = text("content", 5000);
    let folder = Folder::with("a.js", &content);
    let server = Server::of(folder.path());
    let mut client = server.connect();
    let only_gzip = ["Accept-Encoding: gzip, identity;q=0", "Range: bytes=0-9"];
    check(
        &mut client,
        "/a.js",
        &only_gzip,
        (200, Some("gzip")),
        &content,
    );
    let either = ["Accept-Encoding: gzip", "Range: bytes=0-9"];
    let answer = check(&mut client, "/a.js", &either, (206, None), b"");
    assert_eq!(answer.body, content[..10]);
}

/// What an answer with this status varies by: the sentence of an error may get another form too.
fn vary_of(status: u16) -> &'static str {
    match status {
        406 => "Accept-Encoding, Accept",
        _ => "Accept-Encoding",
    }
}

#[test]
fn http_1_0_gets_identity_or_hears_that_there_is_none() {
    let content = text("content", 5000);
    let folder = Folder::with("a.js", &content);
    let server = Server::plain(folder.path());
    // Made and kept for another client.
    check(
        &mut server.connect(),
        "/a.js",
        GZIP,
        (200, Some("gzip")),
        &content,
    );
    for (accepted, status) in [("gzip", 200), ("gzip, identity;q=0", 406)] {
        let mut client = server.connect();
        client.send(format!(
            "GET /a.js HTTP/1.0\r\nAccept-Encoding: {accepted}\r\n\r\n"
        ));
        let answer = client.answer();
        assert_eq!(answer.status, status, "{accepted}");
        assert_eq!(answer.field("Content-Encoding"), None);
        assert_eq!(answer.field("Transfer-Encoding"), None);
        assert_eq!(answer.field("Vary"), Some(vary_of(status)));
    }
}

/// Sizes around each bound: of files worth encoding, of a slice, of files answered from memory, and
/// of files encoded at all.
#[test]
fn every_coding_decodes_to_the_true_bytes_at_every_size() {
    const SIZES: [usize; 10] = [
        0,
        1023,
        1024,
        (16 << 10) - 1,
        16 << 10,
        (16 << 10) + 1,
        64 << 10,
        (64 << 10) + 1,
        200_001,
        (8 << 20) + 1,
    ];
    let folder = Folder::new();
    let server = Server::of(folder.path());
    let mut client = server.connect();
    for size in SIZES {
        for (name, content) in [("text", text("line", size)), ("noise", pattern(size))] {
            let target = format!("/{name}-{size}.txt");
            folder.put(&target[1..], &content);
            let coded = (1024..=8 << 20).contains(&size);
            let of = |coding| (200, coded.then_some(coding));
            check(&mut client, &target, GZIP, of("gzip"), &content);
            check(&mut client, &target, BROTLI, of("br"), &content);
            check(&mut client, &target, &[], (200, None), &content);
        }
    }
}

#[test]
fn what_was_encoded_is_kept_and_has_a_length_and_a_tag_of_its_own() {
    let content = text("content", 100_000);
    let folder = Folder::with("a.js", &content);
    let server = Server::of(folder.path());
    let mut client = server.connect();
    eventually("it is at rest", || at_rest(&folder.path().join("a.js")));
    let mut tags = vec![client.get("/a.js").field("ETag").map(str::to_owned)];
    for (accepted, coding) in [(GZIP, "gzip"), (BROTLI, "br")] {
        let is = (200, Some(coding));
        let first = check(&mut client, "/a.js", accepted, is, &content);
        assert_eq!(first.field("Transfer-Encoding"), Some("chunked"));
        let kept = check(&mut client, "/a.js", accepted, is, &content);
        assert_eq!(kept.len(), kept.body.len());
        assert_eq!(first.body, kept.body, "a strong tag means the same bytes");
        let tag = kept.field("ETag").expect("it has one").to_owned();
        assert_eq!(first.field("ETag"), Some(&tag[..]));
        assert!(!tag.starts_with("W/"), "{tag}");
        let condition = format!("If-None-Match: {tag}");
        let again = client.ask("/a.js", &[accepted[0], &condition]);
        assert_eq!(again.status, 304);
        assert_eq!(again.field("ETag"), Some(&tag[..]));
        assert_eq!(again.field("Vary"), Some("Accept-Encoding"));
        // The tag of another coding is no match for this coding.
        assert_eq!(client.ask("/a.js", &[&condition]).status, 200);
        tags.push(Some(tag));
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "{tags:?}");
}

#[test]
fn what_the_client_takes_is_what_it_gets() {
    let content = text("content", 5000);
    let folder = Folder::with("a.js", &content);
    let noise = pattern(5000);
    folder.put("a.png", &noise);
    let server = Server::plain(folder.path());
    let mut client = server.connect();
    for (accepted, expected) in [
        // As made here, gzip is smaller than brotli, and costs less.
        ("gzip, deflate, br, zstd", (200, Some("gzip"))),
        ("br, deflate", (200, Some("br"))),
        ("br, gzip;q=0.9", (200, Some("br"))),
        ("gzip;q=1, br;q=0.999", (200, Some("gzip"))),
        ("identity, gzip;q=0.999", (200, None)),
        ("gzip;q=0", (200, None)),
        ("zstd", (200, None)),
        ("*", (200, Some("gzip"))),
        ("*;q=0, gzip", (200, Some("gzip"))),
        ("*;q=0", (406, None)),
        ("identity;q=0, zstd", (406, None)),
    ] {
        let field = format!("Accept-Encoding: {accepted}");
        let answer = check(&mut client, "/a.js", &[&field], expected, &content);
        let vary = Some(vary_of(expected.0));
        assert_eq!(answer.field("Vary"), vary, "{accepted}");
        let expected = (expected.0, None);
        if accepted != "*;q=0, gzip" {
            check(&mut client, "/a.png", &[&field], expected, &noise);
        }
    }
}

/// Encoders are few. Other clients do not wait for one.
#[test]
fn while_the_encoders_are_at_work_others_get_identity_unless_they_refuse_it() {
    let folder = Folder::new();
    let noise = pattern(8 << 20);
    for n in 0..4 {
        folder.put(&format!("{n}.txt"), &noise);
    }
    let content = text("content", 5000);
    folder.put("a.js", &content);
    folder.put("b.js", &content);
    let server = Server::of(folder.path());
    let mut slow: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for (n, client) in slow.iter_mut().enumerate() {
        let lines = "Host: localhost\r\nAccept-Encoding: gzip\r\n";
        client.send(format!("GET /{n}.txt HTTP/1.1\r\n{lines}\r\n"));
        assert_eq!(client.head().field("Content-Encoding"), Some("gzip"));
    }
    let mut client = server.connect();
    check(&mut client, "/a.js", GZIP, (200, None), &content);
    let only_gzip = ["Accept-Encoding: gzip, identity;q=0"];
    check(
        &mut client,
        "/b.js",
        &only_gzip,
        (200, Some("gzip")),
        &content,
    );
    slow.clear();
    eventually("there is an encoder again", || {
        let answer = client.ask("/a.js", GZIP);
        assert!(decoded(&answer) == content);
        answer.field("Content-Encoding") == Some("gzip")
    });
}

/// The last chunk marks the body as complete. It must not come after an incomplete body.
#[test]
fn a_file_that_is_overwritten_while_it_is_encoded_has_no_last_chunk() {
    let folder = Folder::with("a.txt", pattern(8 << 20));
    let server = Server::of(folder.path());
    let mut client = server.connect();
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(client.head().field("Transfer-Encoding"), Some("chunked"));
    folder.put("a.txt", vec![b'x'; 8 << 20]);
    let mut received = Vec::new();
    while let Ok(n @ 1..) = client.receive() {
        received.extend(client.bytes(n));
    }
    assert!(received.len() < 8 << 20 && !received.ends_with(b"\r\n0\r\n\r\n"));
}
