//! Floor 2, site: the answers with the script of live reload, and those without it.

mod fields;
mod own_pages;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use super::super::{BodySlice, FileError};
use super::*;
use crate::config::Limits;
use crate::http::parsed;
use crate::sys::{FileKind, Stat};

const SCRIPT: &str = "/_oneloop/live-0a1b.js";
const TAG: &str = "<script src=\"/_oneloop/live-0a1b.js\"></script>";
/// The mark of the script in entity tags.
const MARK: &str = "-l8180afe6";
const NAVIGATION: &str =
    "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nAccept: text/html\r\n";
const VARY: &str =
    "Vary: Accept, Accept-Encoding, Sec-Fetch-Dest, Sec-Fetch-Mode, Upgrade-Insecure-Requests\r\n";
const PAGE: &str = "<!doctype html><html><head><title>x</title>";

/// The content and the inode number of a file.
type Content = (Vec<u8>, u64);

/// Files by their paths, in a single directory.
#[derive(Clone, Default)]
struct Tree(Rc<RefCell<BTreeMap<String, Content>>>);

impl Tree {
    fn put(&self, path: &str, content: impl AsRef<[u8]>) {
        let mut files = self.0.borrow_mut();
        let inode = 1 + files.len() as u64;
        files.insert(path.into(), (content.as_ref().to_vec(), inode));
    }
}

impl Files for Tree {
    type File = Content;

    fn open(&self, path: &[u8]) -> Result<(Self::File, Stat), FileError> {
        let files = self.0.borrow();
        let path = str::from_utf8(path).expect("text");
        if path.is_empty() {
            return Err(FileError::Directory);
        }
        let file = files.get(path).ok_or(FileError::Absent)?;
        Ok((file.clone(), self.fstat(file)?))
    }

    fn stat(&self, path: &[u8]) -> Result<Stat, FileError> {
        match path {
            b"" => Ok(Stat {
                kind: FileKind::Directory,
                ..self.fstat(&Default::default())?
            }),
            _ => Ok(self.open(path)?.1),
        }
    }

    fn fstat(&self, (content, inode): &Self::File) -> Result<Stat, FileError> {
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Ok(Stat {
            kind: FileKind::File,
            device: 1,
            inode: *inode,
            size: content.len() as u64,
            modified: time,
            changed: time,
        })
    }

    fn read_at(&self, file: &Self::File, into: &mut [u8], at: u64) -> Result<usize, FileError> {
        let rest = file.0.get(at as usize..).unwrap_or_default();
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn open_directory(&self, path: &[u8]) -> Result<Self::File, FileError> {
        match path {
            b"" => Ok((b"unread".to_vec(), 0)),
            _ => Err(FileError::Absent),
        }
    }

    fn read_names(&self, _: &Self::File, each: &mut dyn FnMut(&[u8])) -> Result<bool, FileError> {
        self.0
            .borrow()
            .keys()
            .for_each(|name| each(name.as_bytes()));
        Ok(false)
    }
}

/// A site with live reload, of these files.
fn site(files: &[(&str, &str)]) -> Site<Tree> {
    plain_site(files).with_live(SCRIPT)
}

fn plain_site(files: &[(&str, &str)]) -> Site<Tree> {
    let tree = Tree::default();
    for (path, content) in files {
        tree.put(path, content);
    }
    Site::new(tree, b"index.html", &Limits::default())
}

/// An answer: its head, and its body without chunks.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("text")
    }

    #[track_caller]
    fn value(&self, name: &str) -> &str {
        let mut values = field_values(self.head.as_bytes(), name);
        let value = values
            .next()
            .unwrap_or_else(|| panic!("{name}: {}", self.head));
        assert_eq!(values.next(), None, "{name} once");
        str::from_utf8(value).expect("text")
    }

    fn has(&self, name: &str) -> bool {
        field_values(self.head.as_bytes(), name).next().is_some()
    }

    /// The body, if it is in gzip as the head says.
    #[track_caller]
    fn unzipped(&self) -> String {
        assert_eq!(self.value("Content-Encoding"), "gzip");
        let mut text = String::new();
        let read = flate2::read::GzDecoder::new(&self.body[..]).read_to_string(&mut text);
        read.expect("gzip");
        text
    }
}

fn ask(site: &mut Site<Tree>, target: &str, fields: &str) -> Answer {
    ask_by("GET", site, target, fields)
}

fn ask_by(method: &str, site: &mut Site<Tree>, target: &str, fields: &str) -> Answer {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    site.begin_epoch();
    let text = format!("{method} {target} HTTP/1.1\r\nHost: localhost:8080\r\n{fields}\r\n");
    let head = parsed(&text);
    let request = RequestHead::new(&head, text.as_bytes());
    let mut reply = site.answer(&request, now);
    if let Some(fields) = site.reply_fields(&request) {
        fields.put_on(&mut reply);
    }
    let mut body = Vec::new();
    let is_chunked = field_values(&reply.head, "Transfer-Encoding")
        .next()
        .is_some();
    match reply.body {
        Body::Bytes(bytes) => body.extend_from_slice(&bytes),
        Body::Owned(bytes) => body = bytes,
        Body::Part(bytes, part) => body.extend_from_slice(&bytes[part]),
        Body::Parts(..) => unreachable!("no test asks for several ranges"),
        Body::Stream(mut stream) => {
            while !stream.is_at_end() {
                let (slice, _) = site.next_slice(&mut stream, 10_000, &mut body, now);
                match slice {
                    BodySlice::Written(_) => {}
                    BodySlice::File { file, at, len } => {
                        body.extend_from_slice(&file.0[at as usize..][..len as usize]);
                    }
                    BodySlice::Broken => panic!("the file is as it was"),
                }
            }
        }
    }
    if is_chunked && !body.is_empty() {
        body = without_chunks(&body);
    }
    let head = String::from_utf8(reply.head.to_vec()).expect("text");
    let answer = Answer { head, body };
    if answer.has("Content-Length") && method == "GET" {
        assert_eq!(
            answer.value("Content-Length"),
            answer.body.len().to_string()
        );
    }
    answer
}

fn without_chunks(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = bytes.iter().position(|b| *b == b'\r').expect("a size");
        let size = str::from_utf8(&bytes[..end]).expect("text");
        let size = usize::from_str_radix(size, 16).expect("a number");
        out.extend_from_slice(&bytes[end + 2..][..size]);
        bytes = &bytes[end + 2 + size + 2..];
        if size == 0 {
            assert!(bytes.is_empty());
            return out;
        }
    }
}

fn with_tag(page: &str) -> String {
    page.replacen("<head>", &format!("<head>{TAG}"), 1)
}

#[test]
fn a_navigation_gets_the_script_and_every_other_request_the_file() {
    let mut site = site(&[("a.html", PAGE)]);
    let browser = "Accept: text/html,*/*;q=0.8\r\nAccept-Encoding: gzip\r\n";
    for (fields, is_navigation) in [
        (
            "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n",
            true,
        ),
        (
            "sec-fetch-dest: iframe\r\nsec-fetch-mode: navigate\r\n",
            true,
        ),
        (
            "Sec-Fetch-Dest: frame\r\nSec-Fetch-Mode: navigate\r\n",
            true,
        ),
        ("Sec-Fetch-Dest: document\r\n", true),
        (
            "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Purpose: prefetch\r\n",
            true,
        ),
        // A service worker passes the request on.
        (
            "Sec-Fetch-Dest: empty\r\nSec-Fetch-Mode: navigate\r\n",
            true,
        ),
        // In a local network, without a trustworthy origin.
        (&format!("{browser}Upgrade-Insecure-Requests: 1\r\n"), true),
        (browser, false),
        ("Accept: text/html\r\n", false),
        // curl, wrk, fetch, htmx, and parts of pages.
        ("", false),
        ("Accept: */*\r\nUser-Agent: curl/8.0\r\n", false),
        (
            "Accept: */*\r\nAccept-Encoding: gzip\r\nUser-Agent: curl/8.0\r\n",
            false,
        ),
        (
            "Sec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\nAccept: text/html\r\n",
            false,
        ),
        (
            "Sec-Fetch-Dest: empty\r\nSec-Fetch-Mode: same-origin\r\nHX-Request: true\r\n",
            false,
        ),
        (
            "Sec-Fetch-Dest: object\r\nSec-Fetch-Mode: navigate\r\n",
            false,
        ),
        (
            "Sec-Fetch-Dest: embed\r\nSec-Fetch-Mode: navigate\r\n",
            false,
        ),
        (
            "Sec-Fetch-Dest: image\r\nSec-Fetch-Mode: no-cors\r\n",
            false,
        ),
    ] {
        let answer = ask(&mut site, "/a.html", fields);
        let expected = match is_navigation {
            true => with_tag(PAGE),
            false => PAGE.to_owned(),
        };
        assert_eq!(answer.text(), expected, "{fields}");
    }
    let mut plain = plain_site(&[("a.html", PAGE)]);
    let answer = ask(&mut plain, "/a.html", NAVIGATION);
    assert_eq!(answer.text(), PAGE);
    assert_eq!(answer.value("Vary"), "Accept-Encoding");
}

#[test]
fn both_answers_say_what_they_are() {
    let mut site = site(&[("a.html", PAGE)]);
    let plain = ask(&mut site, "/a.html", "");
    assert_eq!(
        plain.head,
        format!(
            "HTTP/1.1 200 OK\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n\
             ETag: \"{PLAIN}\"\r\nCache-Control: no-cache\r\n{VARY}\
             Content-Type: text/html; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Length: 43\r\nAccept-Ranges: bytes\r\n"
        )
    );
    let page = ask(&mut site, "/a.html", NAVIGATION);
    let length = 43 + TAG.len();
    let expected = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\
         X-Content-Type-Options: nosniff\r\nETag: \"{PLAIN}{MARK}\"\r\n{VARY}\
         Accept-Ranges: none\r\nCache-Control: no-cache\r\nContent-Length: {length}\r\n"
    );
    assert_eq!(page.head, expected);
    let head = ask_by("HEAD", &mut site, "/a.html", NAVIGATION);
    assert_eq!(head.head, expected);
    // The script is a part of the tag: another script, and the page is sent again.
    let mut other = plain_site(&[("a.html", PAGE)]).with_live("/_oneloop/live-2.js");
    let other = ask(&mut other, "/a.html", NAVIGATION);
    assert_ne!(other.value("ETag"), page.value("ETag"));
    assert!(other.value("ETag").starts_with(&format!("\"{PLAIN}-l")));
}

/// The entity tag of the only file of a tree with [`PAGE`] in it.
const PLAIN: &str = "f12dfa80257ccd06";

#[test]
fn each_answer_is_not_modified_by_its_own_tag_alone() {
    let mut site = site(&[("a.html", PAGE)]);
    let plain = ask(&mut site, "/a.html", "");
    let page = ask(&mut site, "/a.html", NAVIGATION);
    let date = format!("If-Modified-Since: {}\r\n", plain.value("Last-Modified"));
    let status = |site: &mut Site<Tree>, fields: &str| {
        let answer = ask(site, "/a.html", fields);
        let status = answer.head[9..12].to_owned();
        (status, answer)
    };
    for (tag, is_navigation, expected) in [
        (plain.value("ETag"), false, "304"),
        (page.value("ETag"), true, "304"),
        (plain.value("ETag"), true, "200"),
        (page.value("ETag"), false, "200"),
    ] {
        let fields = if is_navigation { NAVIGATION } else { "" };
        let (got, answer) = status(&mut site, &format!("{fields}If-None-Match: {tag}\r\n"));
        assert_eq!(got, expected, "{tag} {is_navigation}");
        if got == "304" && is_navigation {
            let expected = format!(
                "HTTP/1.1 304 Not Modified\r\nETag: {tag}\r\n{VARY}Cache-Control: no-cache\r\n"
            );
            assert_eq!(answer.head, expected);
            assert!(answer.body.is_empty());
        }
    }
    assert_eq!(status(&mut site, &date).0, "304");
    assert_eq!(status(&mut site, &format!("{NAVIGATION}{date}")).0, "200");
    assert_eq!(
        status(&mut site, &format!("{NAVIGATION}If-Match: \"x\"\r\n")).0,
        "412"
    );
    let matches = format!("{NAVIGATION}If-Match: {}\r\n", page.value("ETag"));
    assert_eq!(status(&mut site, &matches).0, "200");
}

#[test]
fn a_page_with_the_script_has_no_ranges_and_a_file_has() {
    let mut site = site(&[("a.html", PAGE), ("a.txt", "hello")]);
    let range = format!("{NAVIGATION}Range: bytes=0-3\r\n");
    let answer = ask(&mut site, "/a.html", &range);
    assert!(answer.head.starts_with("HTTP/1.1 200"));
    assert_eq!(answer.text(), with_tag(PAGE));
    let with_condition = format!("{range}If-Range: {}\r\n", answer.value("ETag"));
    assert_eq!(
        ask(&mut site, "/a.html", &with_condition).text(),
        with_tag(PAGE)
    );
    assert_eq!(
        ask(&mut site, "/a.html", "Range: bytes=0-3\r\n").text(),
        "<!do"
    );
    assert_eq!(ask(&mut site, "/a.txt", &range).text(), "hell");
}

#[test]
fn codings_are_made_of_the_page_with_the_script() {
    let text = format!("{PAGE}{}", "<p>text".repeat(300));
    let mut site = site(&[("a.html", &text), ("a.html.gz", "\x1f\u{0}sibling")]);
    let gzip = format!("{NAVIGATION}Accept-Encoding: gzip, br\r\n");
    let first = ask(&mut site, "/a.html", &gzip);
    assert_eq!(first.unzipped(), with_tag(&text));
    assert!(first.value("ETag").ends_with(&format!("{MARK}-gzip\"")));
    let again = ask(&mut site, "/a.html", &gzip);
    assert_eq!(
        (again.head, again.body),
        (first.head.clone(), first.body.clone())
    );
    let same = format!("{gzip}If-None-Match: {}\r\n", first.value("ETag"));
    assert!(
        ask(&mut site, "/a.html", &same)
            .head
            .starts_with("HTTP/1.1 304")
    );
    let plain = ask(&mut site, "/a.html", "Accept-Encoding: gzip\r\n");
    assert_eq!(plain.unzipped(), text);
    // Both are there, and neither takes the place of the other.
    assert_eq!(ask(&mut site, "/a.html", &gzip).unzipped(), with_tag(&text));
    assert_eq!(
        ask(&mut site, "/a.html", NAVIGATION).text(),
        with_tag(&text)
    );
    let br = format!("{NAVIGATION}Accept-Encoding: br\r\n");
    assert_eq!(
        ask(&mut site, "/a.html", &br).value("Content-Encoding"),
        "br"
    );
    let small = ask(
        &mut site,
        "/a.html",
        &format!("{NAVIGATION}Accept-Encoding: zstd\r\n"),
    );
    assert!(!small.has("Content-Encoding"));
}

#[test]
fn a_page_of_any_size_gets_the_script() {
    for size in [10, 40 << 10, (64 << 10) - PAGE.len(), 64 << 10, 300 << 10] {
        let text = format!("{PAGE}{}", "x ".repeat(size / 2));
        let mut site = site(&[("a.html", &text)]);
        let answer = ask(&mut site, "/a.html", NAVIGATION);
        assert!(answer.text() == with_tag(&text), "{size}");
        assert!(
            ask(&mut site, "/a.html", NAVIGATION).text() == with_tag(&text),
            "{size}"
        );
        if size > 1024 {
            let gzip = format!("{NAVIGATION}Accept-Encoding: gzip\r\n");
            let first = ask(&mut site, "/a.html", &gzip);
            assert!(first.unzipped() == with_tag(&text), "{size}");
            assert_eq!(first.has("Transfer-Encoding"), size > 32 << 10, "{size}");
            let again = ask(&mut site, "/a.html", &gzip);
            assert!(again.has("Content-Length") && again.unzipped() == with_tag(&text));
            let head = ask_by("HEAD", &mut site, "/a.html", &gzip);
            assert_eq!(head.value("ETag"), first.value("ETag"));
        }
    }
}

#[test]
fn a_page_that_was_edited_is_sent_anew() {
    let mut site = site(&[("a.html", PAGE)]);
    let first = ask(&mut site, "/a.html", NAVIGATION);
    site.files.put("a.html", PAGE.replace('x', "y"));
    let second = ask(&mut site, "/a.html", NAVIGATION);
    assert_eq!(second.text(), with_tag(&PAGE.replace('x', "y")));
    assert_ne!(second.value("ETag"), first.value("ETag"));
}

#[test]
fn only_html_gets_the_script() {
    let svg = "<svg xmlns='http://www.w3.org/2000/svg'/>";
    for name in [
        "a.svg", "a.xhtml", "a.xml", "a.txt", "a.js", "a.json", "a.png", "a",
    ] {
        let mut site = site(&[(name, svg)]);
        let answer = ask(&mut site, &format!("/{name}"), NAVIGATION);
        assert_eq!(answer.text(), svg, "{name}");
        let vary = field_values(answer.head.as_bytes(), "Vary").next();
        assert!(vary.is_none_or(|vary| vary == b"Accept-Encoding"), "{name}");
    }
    for name in ["a.html", "a.htm", "A.HTML"] {
        let mut site = site(&[(name, PAGE)]);
        let answer = ask(&mut site, &format!("/{name}"), NAVIGATION);
        assert_eq!(answer.text(), with_tag(PAGE), "{name}");
    }
}

#[test]
fn the_encoding_of_a_page_stays() {
    let mut site = site(&[("utf-8.html", "\u{feff}<!doctype html><head>\u{e4}")]);
    let gbk = b"<html><head><meta charset=gbk><title>\xc4\xe3\xba\xc3</title>";
    site.files.put("gbk.html", gbk);
    let wide = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    site.files.put("utf-16.html", wide("\u{feff}<head>\u{e4}"));
    let answer = ask(&mut site, "/utf-8.html", NAVIGATION);
    assert_eq!(
        answer.text(),
        format!("\u{feff}<!doctype html><head>{TAG}\u{e4}")
    );
    let answer = ask(&mut site, "/gbk.html", NAVIGATION);
    assert_eq!(
        answer.body,
        [&gbk[..12], TAG.as_bytes(), &gbk[12..]].concat()
    );
    assert_eq!(answer.value("Content-Type"), "text/html");
    let answer = ask(&mut site, "/utf-16.html", NAVIGATION);
    assert_eq!(answer.body, wide(&format!("\u{feff}<head>{TAG}\u{e4}")));
    assert_eq!(answer.value("Content-Type"), "text/html");
}

#[test]
fn a_page_that_answers_for_another_path_gets_the_script() {
    let files = [
        ("index.html", PAGE),
        ("about.html", PAGE),
        ("404.html", PAGE),
    ];
    let mut site = site(&files);
    for target in ["/", "/about", "/index.html?x"] {
        assert_eq!(
            ask(&mut site, target, NAVIGATION).text(),
            with_tag(PAGE),
            "{target}"
        );
        assert_eq!(ask(&mut site, target, "").text(), PAGE, "{target}");
    }
    let missing = ask(&mut site, "/missing", NAVIGATION);
    assert!(missing.head.starts_with("HTTP/1.1 404"));
    assert_eq!(missing.text(), with_tag(PAGE));
    assert!(!missing.has("ETag"));
    let plain = ask(&mut site, "/missing", "");
    assert_eq!(
        (plain.text(), plain.value("Vary")),
        (PAGE, &VARY[6..VARY.len() - 2])
    );
    site.fallbacks.single_page = true;
    let route = ask(&mut site, "/a/route", NAVIGATION);
    assert!(route.head.starts_with("HTTP/1.1 200"));
    assert_eq!(route.text(), with_tag(PAGE));
    let same = format!("{NAVIGATION}If-None-Match: {}\r\n", route.value("ETag"));
    let same = ask(&mut site, "/a/route", &same);
    assert!(same.head.starts_with("HTTP/1.1 304"), "{}", same.head);
}
