//! Floor 2, site: tests of answers about files with coarse timestamps, coarser than on the disks
//! where the tests run.

use std::cell::{Cell, RefCell};
use std::io::Read;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::http::parsed;
use crate::sys::{FileKind, Stat};

/// A disk with a single file, `a.txt`.
#[derive(Clone)]
struct OneFile {
    file: Rc<RefCell<(Vec<u8>, Stat)>>,
    /// How many of the next reads are disturbed: the file is overwritten in the middle.
    disturbed: Rc<Cell<u32>>,
}

impl OneFile {
    fn new(content: &[u8], changed: SystemTime) -> OneFile {
        let stat = Stat {
            kind: FileKind::File,
            device: 1,
            inode: 1,
            size: content.len() as u64,
            modified: changed,
            changed,
        };
        OneFile {
            file: Rc::new(RefCell::new((content.to_vec(), stat))),
            disturbed: Rc::default(),
        }
    }

    /// Changes the content, and sets both times.
    fn edit(&self, content: &[u8], modified: SystemTime, changed: SystemTime) {
        let mut file = self.file.borrow_mut();
        file.0 = content.to_vec();
        let size = content.len() as u64;
        file.1 = Stat {
            size,
            modified,
            changed,
            ..file.1
        };
    }

    /// Changes the content in the same tick of the clock.
    fn overwrite(&self, content: &[u8]) {
        let mut file = self.file.borrow_mut();
        assert_eq!(file.0.len(), content.len(), "that would show");
        file.0 = content.to_vec();
    }
}

impl Files for OneFile {
    type File = ();

    fn open(&self, path: &[u8]) -> Result<((), Stat), FileError> {
        Ok(((), self.stat(path)?))
    }

    fn stat(&self, path: &[u8]) -> Result<Stat, FileError> {
        match path {
            b"a.txt" => Ok(self.file.borrow().1),
            _ => Err(FileError::Absent),
        }
    }

    fn fstat(&self, (): &()) -> Result<Stat, FileError> {
        self.stat(b"a.txt")
    }

    fn read_at(&self, (): &(), into: &mut [u8], at: u64) -> Result<usize, FileError> {
        let copy = |into: &mut [u8], at: usize| {
            let content = &self.file.borrow().0[at..];
            let n = content.len().min(into.len());
            into[..n].copy_from_slice(&content[..n]);
            n
        };
        let (first, second) = into.split_at_mut(into.len() / 2);
        let n = copy(first, at as usize);
        if let Some(left) = self.disturbed.get().checked_sub(1) {
            self.disturbed.set(left);
            let changed = self.file.borrow().1.changed + Duration::from_millis(100);
            self.edit(format!("edit {left}").as_bytes(), changed, changed);
        }
        Ok(n + copy(second, at as usize + n))
    }
}

/// Requests `a.txt`, and returns the head of the answer and the body with its framing.
fn ask(site: &mut Site<OneFile>, fields: &str, now: SystemTime) -> (String, Vec<u8>) {
    site.begin_epoch();
    let text = format!("GET /a.txt HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let head = parsed(&text);
    let reply = site.answer(&RequestHead::new(&head, text.as_bytes()), now);
    let mut body = Vec::new();
    match reply.body {
        Body::Bytes(bytes) => body.extend_from_slice(&bytes),
        Body::Part(bytes, part) => body.extend_from_slice(&bytes[part]),
        Body::Parts(bytes, mut parts) => {
            while let Some(part) = parts.begin_next(&mut body) {
                body.extend_from_slice(&bytes[part.start as usize..part.end as usize]);
            }
        }
        Body::Owned(bytes) => body = bytes,
        // The client is slow: the body is sent 10 s later, when the file is settled.
        Body::Stream(mut stream) => {
            let later = now + Duration::from_secs(10);
            while !stream.is_at_end() {
                let (slice, _) = site.next_slice(&mut stream, 1 << 20, &mut body, later);
                assert!(matches!(slice, BodySlice::Written(_)));
            }
        }
    }
    let head = String::from_utf8(reply.head.to_vec()).expect("it is ASCII");
    (head, body)
}

fn tag(head: &str) -> &str {
    let line = head.lines().find_map(|line| line.strip_prefix("ETag: "));
    line.expect("it has one")
}

/// Requests the first edition and then overwrites it, both within one tick of the clock. Returns
/// the site, the entity tag of the answer, and the time of the change.
fn first_then_second(accepted: &str) -> (Site<OneFile>, String, SystemTime) {
    let changed = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
    let disk = OneFile::new(&b"first edition. ".repeat(200), changed);
    let mut site = Site::new(disk.clone(), b"index.html", &Limits::default());
    let (head, _) = ask(&mut site, accepted, changed + Duration::from_millis(1));
    disk.overwrite(&b"other edition. ".repeat(200));
    (site, tag(&head).to_owned(), changed)
}

#[test]
fn the_tag_of_what_may_have_changed_unseen_matches_nothing_later() {
    for (accepted, after_ms) in [
        ("", 2),
        ("", 60_000),
        ("Accept-Encoding: gzip\r\n", 2),
        ("Accept-Encoding: gzip\r\n", 60_000),
    ] {
        let (mut site, tag, changed) = first_then_second(accepted);
        assert!(tag.starts_with("W/"), "{tag}");
        let fields = format!("{accepted}If-None-Match: {tag}\r\n");
        let now = changed + Duration::from_millis(after_ms);
        let (head, _) = ask(&mut site, &fields, now);
        assert!(head.starts_with("HTTP/1.1 200"), "{after_ms} ms: {head}");
    }
}

#[test]
fn what_was_encoded_of_an_edition_that_may_be_gone_is_not_kept() {
    let gzip = "Accept-Encoding: gzip\r\n";
    let (mut site, _, changed) = first_then_second(gzip);
    let (head, _) = ask(&mut site, gzip, changed + Duration::from_secs(60));
    assert!(head.contains("Transfer-Encoding: chunked"), "{head}");
    let (head, body) = ask(&mut site, gzip, changed + Duration::from_secs(61));
    assert!(head.contains("Content-Length"), "now it is kept: {head}");
    let mut content = String::new();
    let read = flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut content);
    read.expect("it can be decoded");
    assert_eq!(content, "other edition. ".repeat(200));
}

/// A client that has no tag asks with the date alone. Two editions of one second have one date.
#[test]
fn no_date_is_sent_while_the_second_of_the_change_is_not_over() {
    let changed = |ms: u64| UNIX_EPOCH + Duration::from_millis(784_111_777_000 + ms);
    let since = "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let disk = OneFile::new(b"first", changed(100));
    let mut site = Site::new(disk.clone(), b"index.html", &Limits::default());
    for now in [101, 300, 301] {
        let (head, _) = ask(&mut site, since, changed(now));
        assert!(head.starts_with("HTTP/1.1 200"), "{now}: {head}");
        assert!(!head.contains("Last-Modified"), "{now}: {head}");
    }
    disk.edit(b"other", changed(500), changed(500));
    for now in [600, 999, 1_001] {
        let (head, body) = ask(&mut site, since, changed(now));
        assert_eq!(body, b"other", "{now}");
        assert!(!head.contains("Last-Modified"), "{now}: {head}");
    }
    let (head, _) = ask(&mut site, "", changed(1_100));
    let date = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    assert!(head.contains(date), "{head}");
    let (head, _) = ask(&mut site, since, changed(1_101));
    assert!(head.starts_with("HTTP/1.1 304"), "{head}");
    assert!(head.contains(date), "{head}");
}

#[test]
fn a_time_that_says_nothing_about_the_change_is_not_sent() {
    let changed = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let now = changed + Duration::from_secs(60);
    let disk = OneFile::new(b"first", changed);
    for (modified, is_sent) in [
        (UNIX_EPOCH, false),
        (UNIX_EPOCH - Duration::from_secs(9), false),
        (UNIX_EPOCH + Duration::from_millis(1_999), false),
        (UNIX_EPOCH + Duration::from_secs(2), true),
        (now + Duration::from_secs(9), false),
        (changed, true),
    ] {
        disk.edit(b"second", modified, changed);
        let mut site = Site::new(disk.clone(), b"index.html", &Limits::default());
        for _ in 0..2 {
            let (head, _) = ask(&mut site, "", now);
            assert_eq!(head.contains("Last-Modified"), is_sent, "{modified:?}");
        }
        let since = "If-Modified-Since: Sat, 06 Nov 2094 08:49:37 GMT\r\n";
        let (head, _) = ask(&mut site, since, now);
        assert_eq!(head.starts_with("HTTP/1.1 304"), is_sent, "{modified:?}");
    }
}

/// A file may contain any text, also the boundaries of earlier answers and of a counter.
#[test]
fn no_boundary_can_be_guessed_from_another() {
    let changed = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let now = changed + Duration::from_secs(60);
    let disk = OneFile::new(b"a\r\n--00000000000000000001\r\nb", changed);
    let mut boundaries = Vec::new();
    for seed in [[0, 0], [1, 0], [0, 1]] {
        let site = Site::new(disk.clone(), b"index.html", &Limits::default());
        let mut site = site.with_boundary_seed(seed);
        for _ in 0..2 {
            let (head, body) = ask(&mut site, "Range: bytes=0-0,2-25\r\n", now);
            let boundary = head.split("boundary=").nth(1).expect("it has one");
            let boundary = boundary.lines().next().expect("a line").to_owned();
            let digits = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
            assert!(boundary.len() == 20 && digits(&boundary), "{boundary}");
            let body = String::from_utf8(body).expect("text");
            assert_eq!(body.matches(&boundary).count(), 3, "{body}");
            boundaries.push(boundary);
        }
    }
    let all = boundaries.len();
    boundaries.sort();
    boundaries.dedup();
    assert_eq!(boundaries.len(), all, "{boundaries:?}");
}

/// Otherwise the answer would be half of each version, under the strong tag of the first.
#[test]
fn a_file_that_is_overwritten_while_it_is_read_is_read_again() {
    let changed = UNIX_EPOCH + Duration::from_millis(1_700_000_000_500);
    let now = changed + Duration::from_secs(60);
    let disk = OneFile::new(b"edit 9", changed);
    let mut site = Site::new(disk.clone(), b"index.html", &Limits::default());
    disk.disturbed.set(7);
    let (head, body) = ask(&mut site, "", now);
    assert_eq!(body, b"edit 0", "{head}");
    let condition = format!("If-None-Match: {}\r\n", tag(&head));
    let (head, _) = ask(&mut site, &condition, now);
    assert!(head.starts_with("HTTP/1.1 304"), "{head}");
    // A file that is written all the time cannot be read.
    disk.edit(b"edit 9", changed, changed);
    disk.disturbed.set(1_000);
    let (head, _) = ask(&mut site, "", now);
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
    assert_eq!(disk.disturbed.get(), 1_000 - 8);
    disk.disturbed.set(0);
    let (head, body) = ask(&mut site, "", now);
    assert_eq!(body, disk.file.borrow().0, "{head}");
}

/// A client that asks for ranges and does not read must not cost a copy of them.
#[test]
fn ranges_of_a_file_in_memory_share_its_bytes() {
    let changed = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let now = changed + Duration::from_secs(60);
    let disk = OneFile::new(&[b'a'; 9_000], changed);
    let mut site = Site::new(disk, b"index.html", &Limits::default());
    let bodies = ["", "bytes=1-", "bytes=-8000", "bytes=0-0,9-8999"].map(|range| {
        let text = format!("GET /a.txt HTTP/1.1\r\nHost: x\r\nRange: {range}\r\n\r\n");
        let head = parsed(&text);
        site.begin_epoch();
        match site
            .answer(&RequestHead::new(&head, text.as_bytes()), now)
            .body
        {
            Body::Bytes(bytes) | Body::Part(bytes, _) | Body::Parts(bytes, _) => bytes,
            body => panic!("{range}: {body:?}"),
        }
    });
    let first = bodies[0].address();
    assert!(bodies.iter().all(|bytes| bytes.address() == first));
}
