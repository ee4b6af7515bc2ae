//! Pages with the script of live reload, and the script.

use std::io::Read;

use flate2::read::GzDecoder;
use oneloop::config::Live;

use super::Program;
use crate::harness::{Answer, pattern};

const NAVIGATION: [&str; 2] = ["Sec-Fetch-Dest: document", "Sec-Fetch-Mode: navigate"];

fn program() -> Program {
    Program::with(|config| config.live = Live::Used, |bound| bound)
}

fn unzipped(answer: &Answer) -> Vec<u8> {
    assert_eq!(answer.field("Content-Encoding"), Some("gzip"));
    let mut bytes = Vec::new();
    let read = GzDecoder::new(&answer.body[..]).read_to_end(&mut bytes);
    read.expect("gzip");
    bytes
}

/// The path of the script in a page.
fn script_of(page: &str) -> &str {
    let (_, rest) = page.split_once("<script src=\"").expect("a script");
    rest.split_once("\"></script>").expect("its end").0
}

#[test]
fn a_page_leads_to_its_script() {
    let program = program();
    program.folder.put("page.html", "<!doctype html><p>text");
    let mut client = program.connect();
    let page = client.ask("/page.html", &NAVIGATION);
    let path = script_of(page.text());
    let expected = format!("<!doctype html><script src=\"{path}\"></script><p>text");
    assert_eq!(page.text(), expected);
    let script = client.ask(path, &[]);
    assert_eq!(script.status, 200);
    let kind = script.field("Content-Type");
    assert_eq!(kind, Some("text/javascript; charset=utf-8"));
    let lifetime = "public, max-age=31536000, immutable";
    assert_eq!(script.field("Cache-Control"), Some(lifetime));
    assert!(script.text().contains("currentScript"));
    assert!(!script.text().contains("\n//") && !script.text().contains("\n "));
    let short = client.ask(path, &["Accept-Encoding: gzip"]);
    if short.field("Content-Encoding").is_some() {
        assert_eq!(unzipped(&short), script.body);
    }
    // A page of the server leads to the same script.
    let missing = client.ask(
        "/missing",
        &[NAVIGATION[0], NAVIGATION[1], "Accept: text/html"],
    );
    assert_eq!((missing.status, script_of(missing.text())), (404, path));
}

#[test]
fn a_page_of_a_mebibyte_comes_whole() {
    let program = program();
    let head = b"<!doctype html><html><head>";
    let page = [&head[..], &pattern(1 << 20)].concat();
    program.folder.put("page.html", &page);
    let mut client = program.connect();
    assert!(client.ask("/page.html", &[]).body == page);
    for _ in 0..2 {
        let got = client.ask("/page.html", &NAVIGATION);
        let start = String::from_utf8_lossy(&got.body[..200]).into_owned();
        let tag = format!("<script src=\"{}\"></script>", script_of(&start));
        let expected = [head, tag.as_bytes(), &page[head.len()..]].concat();
        assert!(got.body == expected);
        let fields = [NAVIGATION[0], NAVIGATION[1], "Accept-Encoding: gzip"];
        assert!(unzipped(&client.ask("/page.html", &fields)) == expected);
        let tag = got.field("ETag").expect("a tag");
        let known = format!("If-None-Match: {tag}");
        let again = client.ask("/page.html", &[NAVIGATION[0], NAVIGATION[1], &known]);
        // The tag of a file that has just changed matches nothing.
        let expected = if tag.starts_with("W/") { 200 } else { 304 };
        assert_eq!(again.status, expected);
    }
}

#[test]
fn without_live_reload_a_page_is_the_file() {
    let program = Program::with(|_| {}, |bound| bound);
    program.folder.put("page.html", "<!doctype html><p>text");
    let page = program.connect().ask("/page.html", &NAVIGATION);
    assert_eq!(page.text(), "<!doctype html><p>text");
}
