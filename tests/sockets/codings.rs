//! Content codings: whatever is chosen decodes to what is on the disk now.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::harness::{Answer, Client, Folder, Server, at_rest, eventually};

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

/// Checks what comes for `fields`: the status, the coding, and that it is `content`.
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

fn set_modified(path: &Path, time: SystemTime) {
    let file = fs::File::options().append(true).open(path);
    file.and_then(|f| f.set_modified(time)).expect("ours");
}

/// A sibling stays on the disk when its original is edited, and stays known to the server; it must
/// not be sent in place of what would be compressed anew.
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

#[test]
fn http_1_0_gets_identity_or_hears_that_there_is_none() {
    let content = text("content", 5000);
    let folder = Folder::with("a.js", &content);
    let server = Server::of(folder.path());
    // Made and kept for somebody else.
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
        assert_eq!(answer.field("Vary"), Some("Accept-Encoding"));
    }
}
