//! An answer shows the content that the disk had when the request came, and only regular files
//! beneath the root are ever opened.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;

use crate::harness::{BIG, Client, Folder, Server, at_rest, eventually, pattern, set_modified};

/// Checks the present answer for `target`: the body of a 200, or `None` for a 404.
fn check(client: &mut Client, target: &str, expected: Option<&str>) {
    let answer = client.get(target);
    match expected {
        Some(body) => assert_eq!((answer.status, answer.text()), (200, body), "{target}"),
        None => assert_eq!(answer.status, 404, "{target}"),
    }
}

#[test]
fn a_rewritten_file_is_seen_by_the_next_request() {
    let folder = Folder::new();
    let server = Server::of(folder.path());
    let mut client = server.connect();
    for n in 0..200 {
        // The new content has the same length and comes within a tick of the clock for timestamps.
        let content = format!("edition {n:3}");
        folder.put("a", &content);
        check(&mut client, "/a", Some(&content));
        check(&mut client, "/a", Some(&content));
    }
}

/// Requests a file until it has been at rest for a while, and is therefore answered from memory.
fn ask_until_at_rest(client: &mut Client, target: &str, path: &Path) {
    eventually("the file is at rest", || {
        assert_eq!(client.get(target).status, 200);
        at_rest(path)
    });
}

#[test]
fn a_change_to_a_file_at_rest_is_seen() {
    let folder = Folder::with("a", "first");
    let path = folder.path().join("a");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    check(&mut client, "/a", Some("first"));
    let stamp = SystemTime::now() - Duration::from_secs(3600);
    for content in ["other", "again"] {
        ask_until_at_rest(&mut client, "/a", &path);
        // Length and time of modification stay the same.
        folder.put("a", content);
        set_modified(&path, stamp);
        check(&mut client, "/a", Some(content));
    }
    fs::remove_file(&path).expect("it is there");
    check(&mut client, "/a", None);
    folder.put("a/index.html", "a folder");
    assert_eq!(client.get("/a").status, 301);
    check(&mut client, "/a/", Some("a folder"));
}

#[test]
fn a_file_that_is_replaced_during_a_download_is_sent_as_it_was() {
    let folder = Folder::with("new", "new");
    let old = pattern(BIG);
    folder.put("a", &old);
    let server = Server::of(folder.path());
    let mut early = server.connect();
    early.request("/a");
    let len = early.head().len();
    fs::rename(folder.path().join("new"), folder.path().join("a")).expect("ours");
    check(&mut server.connect(), "/a", Some("new"));
    assert!(early.bytes(len) == old);
}

/// The promised length can no longer be sent. A close before the end is the only sign left.
#[test]
fn a_file_that_shrinks_during_a_download_ends_the_connection_early() {
    let folder = Folder::new();
    folder.put_big_hole("a");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    client.request("/a");
    let len = client.head().len();
    let file = fs::File::options()
        .write(true)
        .open(folder.path().join("a"));
    file.and_then(|f| f.set_len(1)).expect("ours");
    let mut received = 0;
    while let Ok(n @ 1..) = client.receive() {
        received += n;
    }
    assert!(received < len, "{received} of {len} bytes cannot be there");
    check(&mut server.connect(), "/a", Some("\0"));
}

/// The body would be framed well, but mixed. The close before the end is the sign.
#[test]
fn a_file_that_is_overwritten_during_a_download_ends_the_connection_early() {
    for range in ["", "Range: bytes=0-30000000,40000000-40000001\r\n"] {
        let folder = Folder::new();
        folder.put_big_hole("a");
        let server = Server::of(folder.path());
        let mut client = server.connect();
        client.send(format!("GET /a HTTP/1.1\r\nHost: localhost\r\n{range}\r\n"));
        let len = client.head().len();
        let file = fs::File::options()
            .write(true)
            .open(folder.path().join("a"));
        file.and_then(|f| f.write_all_at(b"x", 0)).expect("ours");
        let mut received = 0;
        while let Ok(n @ 1..) = client.receive() {
            received += n;
        }
        assert!(received < len, "{received} of {len} bytes");
    }
}

/// The buffers of both kernels hold a part of the file; the rest is looked at before it is sent.
#[test]
fn a_slow_client_gets_no_slice_of_a_file_that_was_overwritten_in_place() {
    const LEN: usize = 24 << 20;
    let folder = Folder::new();
    let path = folder.put("a", vec![b'o'; LEN]);
    eventually("it is at rest", || at_rest(&path));
    let server = Server::of(folder.path());
    let mut client = server.connect();
    client.request("/a");
    assert_eq!(client.head().len(), LEN);
    let mut received = client.bytes(1 << 20).len();
    let file = fs::File::options().write(true).open(&path);
    file.and_then(|f| f.write_all_at(&vec![b'n'; LEN], 0))
        .expect("ours");
    while let Ok(n @ 1..) = client.receive() {
        received += n;
    }
    assert!(received < LEN - (1 << 20), "{received} bytes");
    assert!(server.connect().get("/a").body == vec![b'n'; LEN]);
}

/// Editors of all kinds write while four clients keep asking, with conditions from earlier answers.
/// No answer may be older than the file was when the request was sent.
#[test]
fn no_answer_is_older_than_its_request_while_files_are_written() {
    const EDITIONS: usize = 300;
    let folder = Folder::new();
    let edition = |n: usize| format!("{n:09} ").repeat(300);
    folder.put("a.js", edition(0));
    let server = Server::of(folder.path());
    let written = AtomicUsize::new(0);
    let begun = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let ask = || {
            let mut client = server.connect();
            let mut have: Option<(String, usize)> = None;
            while written.load(SeqCst) < EDITIONS {
                let oldest = written.load(SeqCst);
                let condition = have
                    .as_ref()
                    .map(|(tag, _)| format!("If-None-Match: {tag}"));
                let answer = client.ask("/a.js", condition.as_deref().as_slice());
                let newest = begun.load(SeqCst);
                let got = match answer.status {
                    304 => have.as_ref().expect("a condition").1,
                    _ => answer.text()[..9].parse().expect("a number"),
                };
                assert!(
                    (oldest..=newest).contains(&got),
                    "{got} of {oldest} to {newest}"
                );
                if answer.status == 200 {
                    have = Some((answer.field("ETag").expect("a tag").to_owned(), got));
                }
            }
        };
        (0..4).for_each(|_| drop(scope.spawn(ask)));
        let path = folder.path().join("a.js");
        for n in 1..=EDITIONS {
            begun.store(n, SeqCst);
            match n % 2 {
                0 => {
                    let next = folder.put("next", edition(n));
                    fs::rename(next, &path).expect("ours");
                }
                _ => {
                    let file = fs::File::options().write(true).open(&path);
                    let text = edition(n);
                    file.and_then(|f| f.write_all_at(text.as_bytes(), 0))
                        .expect("ours");
                }
            }
            written.store(n, SeqCst);
            if n % 50 == 0 {
                eventually("it is at rest", || at_rest(&path));
            }
        }
    });
}

#[test]
fn a_root_that_is_deleted_and_made_again_is_seen() {
    let folder = Folder::with("dist/index.html", "first");
    let root = folder.path().join("dist");
    let server = Server::of(&root);
    let mut client = server.connect();
    check(&mut client, "/", Some("first"));
    for content in ["second", "third"] {
        ask_until_at_rest(&mut client, "/", &root.join("index.html"));
        fs::remove_dir_all(&root).expect("ours");
        check(&mut client, "/", None);
        folder.put("dist/index.html", content);
        check(&mut client, "/", Some(content));
        // The directory is replaced without a request in between, and while the old one may still
        // be open.
        fs::rename(&root, folder.path().join(format!("before {content}"))).expect("ours");
        folder.put("dist/index.html", "between");
        check(&mut client, "/", Some("between"));
    }
}

/// Releases are often made like this: a link is turned, and the whole site changes at once.
#[test]
fn a_root_that_is_a_link_is_followed_when_it_is_turned() {
    let folder = Folder::with("1/public/index.html", "first");
    folder.put("2/public/index.html", "second");
    let (link, next) = (folder.path().join("current"), folder.path().join("next"));
    symlink("1", &link).expect("ours");
    symlink(link.join("public"), folder.path().join("1/public/self")).expect("ours");
    let server = Server::of(link.join("public"));
    let mut client = server.connect();
    ask_until_at_rest(&mut client, "/", &folder.path().join("1/public/index.html"));
    check(&mut client, "/self/", Some("first"));
    symlink("2", &next).expect("ours");
    fs::rename(&next, &link).expect("ours");
    check(&mut client, "/", Some("second"));
    check(&mut client, "/self/", None);
}

#[test]
fn a_link_to_the_root_itself_is_a_directory() {
    let folder = Folder::with("index.html", "index");
    symlink(folder.path(), folder.path().join("absolute")).expect("ours");
    symlink(".", folder.path().join("relative")).expect("ours");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    for link in ["/absolute", "/relative"] {
        assert_eq!(client.get(link).status, 301, "{link}");
        check(&mut client, &format!("{link}/"), Some("index"));
    }
}

#[test]
fn a_link_may_lead_anywhere_within_the_root_and_nowhere_else() {
    let folder = Folder::with("secret", "secret");
    folder.put("root/real/page", "page");
    let root = folder.path().join("root");
    let secret = folder.path().join("secret");
    for (name, to) in [
        ("inside", "real/page"),
        ("folder", "real"),
        ("real/up", "../real/page"),
        ("outside", "../secret"),
        ("above", ".."),
        ("round", "round"),
        ("dangling", "nothing"),
        ("absolute", secret.to_str().expect("we named it")),
        ("magic", "/proc/self/root"),
    ] {
        symlink(to, root.join(name)).expect("ours");
    }
    let server = Server::of(&root);
    let mut client = server.connect();
    for inside in ["/inside", "/folder/page", "/real/up"] {
        check(&mut client, inside, Some("page"));
    }
    for outside in [
        "/outside",
        "/above/secret",
        "/round",
        "/dangling",
        "/absolute",
    ] {
        check(&mut client, outside, None);
    }
    check(&mut client, "/magic/etc/passwd", None);
}

#[test]
fn a_file_that_becomes_a_link_to_the_outside_is_not_answered_from_memory() {
    let folder = Folder::with("secret", "secret");
    let page = folder.put("root/page", "page");
    let server = Server::of(folder.path().join("root"));
    let mut client = server.connect();
    ask_until_at_rest(&mut client, "/page", &page);
    fs::remove_file(&page).expect("ours");
    symlink("../secret", &page).expect("ours");
    check(&mut client, "/page", None);
}

/// The file stays the same, with the same stat. A look at it must not follow the link either.
#[test]
fn a_folder_that_becomes_a_link_to_the_outside_is_not_answered_from_memory() {
    for large in [false, true] {
        let folder = Folder::new();
        let content = pattern(if large { 300_000 } else { 1_000 });
        let path = folder.put("root/docs/en/page.bin", &content);
        symlink("docs/en", folder.path().join("root/short")).expect("ours");
        let server = Server::of(folder.path().join("root"));
        let mut client = server.connect();
        let targets = ["/docs/en/page.bin", "/short/page.bin"];
        let mut check = |status| {
            for target in targets {
                for _ in 0..2 {
                    let answer = client.get(target);
                    assert_eq!(answer.status, status, "{target}");
                    assert!(status == 404 || answer.body == content, "{target}");
                }
            }
        };
        eventually("the file is at rest", || {
            check(200);
            at_rest(&path)
        });
        for inner in ["docs", "docs/en"] {
            let inner = folder.path().join("root").join(inner);
            let outside = folder.path().join("docs");
            fs::rename(&inner, &outside).expect("ours");
            symlink(&outside, &inner).expect("ours");
            check(404);
            fs::remove_file(&inner).expect("ours");
            fs::rename(&outside, &inner).expect("ours");
            check(200);
        }
    }
}

/// To open a FIFO is to wait for a process at the other end, and no process comes.
#[test]
fn what_is_no_file_is_404_and_waits_for_nobody() {
    let folder = Folder::with("a", "a");
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("ours");
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(socket).expect("ours");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    for target in ["/fifo", "/socket"] {
        check(&mut client, target, None);
        check(&mut client, "/a", Some("a"));
    }
}

/// A process that writes to a FIFO waits for a reader. If the server were the reader for a moment, the
/// process would go on, and fail because nobody reads any more.
#[test]
fn the_writer_of_a_fifo_is_not_disturbed_by_a_request_for_it() {
    let folder = Folder::new();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("ours");
    symlink("fifo", folder.path().join("link")).expect("ours");
    let alone = Server::of(folder.path());
    let flags = ["--log", "off", "--follow-symlinks"];
    let anywhere = Server::with(folder.path(), &flags);
    let opened = inotify::init(CreateFlags::NONBLOCK).expect("Linux has it");
    inotify::add_watch(&opened, &fifo, WatchFlags::OPEN).expect("ours");
    // Not a scope, which would wait for the writer if an assertion fails.
    let path = fifo.clone();
    let writer = std::thread::spawn(|| fs::write(path, "hello"));
    for client in [&mut alone.connect(), &mut anywhere.connect()] {
        for target in ["/fifo", "/link", "/fifo"] {
            check(client, target, None);
        }
    }
    let events = rustix::io::read(&opened, &mut [0; 4096]);
    assert_eq!(events, Err(Errno::AGAIN), "somebody has opened the FIFO");
    assert_eq!(fs::read_to_string(&fifo).expect("ours"), "hello");
    writer.join().expect("no panic").expect("it was read");
}

#[test]
fn an_empty_file_has_an_empty_answer() {
    let folder = Folder::with("empty", "");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    check(&mut client, "/empty", Some(""));
    check(&mut client, "/empty", Some(""));
}

#[test]
fn a_single_file_is_the_whole_site() {
    let folder = Folder::with("page.html", "page");
    folder.put("beside.html", "beside");
    let server = Server::of(folder.path().join("page.html"));
    let mut client = server.connect();
    check(&mut client, "/", Some("page"));
    check(&mut client, "/page.html", Some("page"));
    check(&mut client, "/beside.html", None);
    folder.put("page.html", "rewritten");
    check(&mut client, "/", Some("rewritten"));
}

#[test]
fn a_single_file_answers_under_the_name_that_was_given() {
    let folder = Folder::with("1.html", "first");
    folder.put("elsewhere/2.html", "second");
    folder.put("site/.draft.html", "draft");
    let link = folder.path().join("site/latest.html");
    symlink("../1.html", &link).expect("ours");
    let server = Server::of(&link);
    let mut client = server.connect();
    for target in ["/", "/latest.html"] {
        ask_until_at_rest(&mut client, target, &folder.path().join("1.html"));
        check(&mut client, target, Some("first"));
    }
    check(&mut client, "/1.html", None);
    check(&mut client, "/.draft.html", None);
    let next = folder.path().join("site/next");
    symlink("../elsewhere/2.html", &next).expect("ours");
    fs::rename(&next, &link).expect("ours");
    for target in ["/", "/latest.html"] {
        check(&mut client, target, Some("second"));
    }
    fs::remove_file(&link).expect("ours");
    check(&mut client, "/latest.html", None);

    let server = Server::of(folder.path().join("site/../site/.draft.html"));
    let mut client = server.connect();
    for target in ["/", "/.draft.html", "/%2Edraft.html"] {
        check(&mut client, target, Some("draft"));
    }
    check(&mut client, "/.draft", None);
    check(&mut client, "/.draft.html/", None);
}

/// A name may contain any character. A redirect must stay on this host and on one line.
#[test]
fn a_redirect_leads_to_the_same_folder_whatever_its_name() {
    let folder = Folder::new();
    for name in ["plain", "a b%?#\"<\r\nX: y", "\u{e9}", "evil.com"] {
        folder.put(&format!("{name}/index.html"), "index");
    }
    // The target below needs an allowed host to be redirected.
    let flags = ["--log", "off", "--allow-host", "evil.com"];
    let server = Server::with(folder.path(), &flags);
    let mut client = server.connect();
    for (target, expected) in [
        ("/plain?a=b?c&d=%41", "/plain/?a=b?c&d=%41"),
        ("/%70lain?", "/plain/?"),
        ("//evil.com", "/evil.com/"),
        ("///evil.com", "/evil.com/"),
        ("http://evil.com/plain", "/plain/"),
        ("/%C3%A9", "/%C3%A9/"),
        (
            "/a%20b%25%3f%23%22%3c%0d%0aX:%20y",
            "/a%20b%25%3F%23%22%3C%0D%0AX:%20y/",
        ),
    ] {
        let answer = client.get(target);
        assert_eq!(answer.status, 301, "{target}");
        assert_eq!(answer.field("Location"), Some(expected));
        assert_eq!(answer.field("Cache-Control"), Some("no-cache"));
        assert_eq!(answer.field("X"), None);
        check(&mut client, expected, Some("index"));
    }
    for target in [
        "/\\evil.com",
        "/%5cevil.com",
        "/%2fevil.com",
        "/plain%0d%0aX:y",
    ] {
        assert_eq!(client.get(target).status, 404, "{target}");
    }
}
