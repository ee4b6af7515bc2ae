//! The files `_redirects` and `_headers` in the root of the site rule its answers.

use rustix::process::Signal;

use crate::harness::{Answer, Client, Folder, Server, at_rest, eventually};

/// A site with some files and these rules.
fn site(redirects: &str, headers: &str) -> Folder {
    let folder = Folder::new();
    folder.put("index.html", "<p>home");
    folder.put("about.txt", "about");
    folder.put("dir/index.html", "<p>dir");
    folder.put("404.page.html", "<p>lost");
    for (name, text) in [("_redirects", redirects), ("_headers", headers)] {
        if !text.is_empty() {
            folder.put(name, text);
        }
    }
    folder
}

/// The status, and the place of a redirect or the content of a page.
fn short(answer: &Answer) -> String {
    let place = answer.field("Location");
    let text = place.unwrap_or_else(|| answer.text().lines().next().unwrap_or_default());
    format!("{} {text}", answer.status)
}

const ABSENT: &str = "404 404 Not Found: there is no such file here";

#[test]
fn redirects_and_rewrites_come_after_the_files() {
    let folder = site(
        "/old/* /new/:splat 301\n/about.txt /elsewhere\n/dir /elsewhere\n/app/* /index.html 200\n\
         /d /dir 200\n/gone /404.page.html 404\n/_x /_redirects 200\n/hidden /.git/config 200\n\
         /self/* /self/:splat 200\n/two /app/x 200\n/about.txt/x /y 307\n/up /../etc/passwd 200\n",
        "",
    );
    let server = Server::of(folder.path());
    let mut client = server.connect();
    for (target, expected) in [
        ("/old/a%20b/?q", "301 /new/a%20b/?q"),
        ("/old//evil.com", "301 /new/evil.com"),
        ("/about.txt", "200 about"),
        ("/dir", "301 /dir/"),
        ("/dir/", "200 <p>dir"),
        ("/app/a/b%2Fc", "200 <p>home"),
        ("/d", "200 <p>dir"),
        ("/gone", "404 <p>lost"),
        ("/about.txt/x", "307 /y"),
        ("/self/x", ABSENT),
        ("/two", ABSENT),
        ("/up", ABSENT),
        ("/hidden", ABSENT),
        ("/nothing", ABSENT),
    ] {
        assert_eq!(short(&client.get(target)), expected, "{target}");
    }
    let answer = client.get("/old/");
    assert_eq!(answer.field("Cache-Control"), Some("no-store"));
    let answer = client.get("/about.txt/x");
    assert_eq!(answer.field("Cache-Control"), Some("no-cache"));
    let answer = client.ask("/gone", &["Range: bytes=0-0", "If-None-Match: *"]);
    assert_eq!(short(&answer), "404 <p>lost");
    let answer = client.ask("/app/x", &["Range: bytes=0-2"]);
    assert_eq!(short(&answer), "206 <p>");
    client.send("HEAD /old/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.head().field("Location"), Some("/new/x"));
    client.send("POST /old/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 404);
}

#[test]
fn a_forced_rule_comes_before_the_files() {
    let folder = site("/about.txt /x 301!\n/* /index.html 200!\n", "");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    assert_eq!(short(&client.get("/about.txt")), "301 /x");
    assert_eq!(short(&client.get("/dir/")), "200 <p>home");
    assert_eq!(short(&client.get("/_redirects")), "200 <p>home");
}

#[test]
fn fields_are_set_on_files_and_not_on_redirects() {
    let folder = site(
        "/old /new\n",
        "/*\n  X-All: 1\n  Cache-Control: max-age=60\n/about.txt\n  ! ETag\n  ! Last-Modified\n  \
         Content-Type: text/x-about\n  Set-Cookie: a=1\n  Set-Cookie: b=2\n/:name.txt\n  X-Name: :name\n\
         /dir/\n ! Cache-Control\n",
    );
    let server = Server::of(folder.path());
    let mut client = server.connect();
    let answer = client.get("/about.txt");
    assert_eq!((answer.status, answer.text()), (200, "about"));
    assert_eq!(answer.field("X-All"), Some("1"));
    assert_eq!(answer.field("Cache-Control"), Some("max-age=60"));
    assert_eq!(answer.field("Content-Type"), Some("text/x-about"));
    assert_eq!(answer.field("Set-Cookie"), Some("a=1"));
    assert_eq!(answer.field("X-Name"), Some("about"));
    assert_eq!(answer.field("Last-Modified"), None);
    eventually("the tag is strong", || {
        at_rest(&folder.path().join("about.txt"))
    });
    let answer = client.get("/about.txt");
    let tag = answer
        .field("ETag")
        .expect("the server keeps it")
        .to_owned();
    let answer = client.ask("/about.txt", &[&format!("If-None-Match: {tag}")]);
    assert_eq!((answer.status, answer.field("X-All")), (304, Some("1")));
    assert_eq!(answer.field("Content-Type"), None);
    let answer = client.ask("/about.txt", &["Range: bytes=0-0,2-2"]);
    assert_eq!((answer.status, answer.field("X-All")), (206, Some("1")));
    let kind = answer.field("Content-Type").expect("it has one");
    assert!(kind.starts_with("multipart/byteranges"), "{kind}");
    let answer = client.get("/nothing.txt");
    assert_eq!(
        (answer.status, answer.field("X-Name")),
        (404, Some("nothing"))
    );
    let answer = client.get("/%0d%0aX-Evil:%201.txt");
    assert_eq!(answer.field("X-Name"), Some("%0D%0AX-Evil:%201"));
    assert_eq!(answer.field("X-Evil"), None);
    assert_eq!(client.get("/dir/").field("Cache-Control"), None);
    let answer = client.get("/old");
    assert_eq!((answer.status, answer.field("X-All")), (302, None));
}

/// A 304 renews the fields of the answer that a cache has, and takes none away. So an answer with other
/// fields has another tag.
#[test]
fn a_cache_learns_of_a_field_that_was_removed() {
    let folder = site("", "/*\n X: 1\n");
    let list = folder.put("list/file", "");
    eventually("the files are at rest", || at_rest(&list));
    let server = Server::of(folder.path());
    let mut client = server.connect();
    let targets = ["/about.txt", "/list/", "/dir/"];
    let tags = targets.map(|target| {
        let answer = client.get(target);
        assert_eq!(answer.field("X"), Some("1"), "{target}");
        let tag = answer.field("ETag").expect("it is a file, or a list");
        format!("If-None-Match: {tag}")
    });
    for (target, tag) in targets.iter().zip(&tags) {
        let answer = client.ask(target, &[tag]);
        assert_eq!((answer.status, answer.field("X")), (304, Some("1")));
    }
    std::fs::remove_file(folder.path().join("_headers")).expect("it is there");
    for (target, tag) in targets.iter().zip(&tags) {
        eventually("the answer is sent anew", || {
            let answer = client.ask(target, &[tag]);
            (answer.status, answer.field("X")) == (200, None)
        });
    }
    // Flags of the next run may change the fields too.
    let answer = client.get("/about.txt");
    let tag = answer.field("ETag").expect("it is a file").to_owned();
    let flags = ["--header", "X: 2", "--log", "off"];
    for (flags, status) in [(&flags[2..], 304), (&flags[..], 200)] {
        let server = Server::with(folder.path(), flags);
        let answer = server
            .connect()
            .ask("/about.txt", &[&format!("If-None-Match: {tag}")]);
        assert_eq!(answer.status, status, "{flags:?}");
    }
}

#[test]
fn a_rule_that_leads_in_a_circle_is_passed_over() {
    let folder = site(
        "/self /self\n/me/* /me/:splat\n/a /b\n/b /c?x=1\n/c /a\n/x/* /y/:splat\n/y/* /x/:splat\n\
         /x/* /about.txt\n/grow/* /grow/a/:splat\n/dir/ /dir\n/to /about 302\n/about /to\n\
         /on /about.txt\n/about.txt /on\n/f/* /index.html 302!\n/index.html /f/ 302!\n",
        "",
    );
    folder.put("about.html", "<p>about");
    let mut server = Server::of(folder.path());
    let mut client = server.connect();
    for (target, expected) in [
        ("/self", ABSENT),
        ("/me/1", ABSENT),
        ("/a", ABSENT),
        ("/b", ABSENT),
        ("/c", ABSENT),
        ("/x/1", "302 /about.txt"),
        ("/y/1", ABSENT),
        ("/grow/1", ABSENT),
        ("/dir", "301 /dir/"),
        ("/dir/", "200 <p>dir"),
        ("/to", "302 /about"),
        ("/on", "302 /about.txt"),
        ("/about.txt", "200 about"),
        ("/f/1", ABSENT),
        ("/index.html", "200 <p>home"),
    ] {
        assert_eq!(short(&client.get(target)), expected, "{target}");
    }
    server.signal(Signal::TERM);
    let said = server.stderr.rest();
    let lines = said.lines().filter_map(|line| {
        let rest = line.strip_prefix("warning: _redirects:")?;
        rest.split(": ").next()?.parse::<usize>().ok()
    });
    let mut lines: Vec<usize> = lines.collect();
    lines.sort_unstable();
    assert_eq!(lines, [1, 2, 3, 4, 5, 6, 7, 9, 15, 16], "{said}");
}

/// Asks until the answer is as expected: the files of rules are looked at every quarter of a second.
fn await_answer(client: &mut Client, target: &str, expected: &str) {
    eventually("the rules are read again", || {
        short(&client.get(target)) == expected
    });
}

#[test]
fn an_edit_of_the_rules_is_seen() {
    let folder = site("", "");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    assert_eq!(short(&client.get("/x")), ABSENT);
    for place in ["/1", "/2", "/3"] {
        folder.put("_redirects", format!("/x {place}"));
        await_answer(&mut client, "/x", &format!("302 {place}"));
    }
    folder.put("_headers", "/*\n X: 1");
    eventually("the fields are sent", || {
        client.get("/about.txt").field("X") == Some("1")
    });
    for name in ["_redirects", "_headers"] {
        std::fs::remove_file(folder.path().join(name)).expect("it is there");
    }
    await_answer(&mut client, "/x", ABSENT);
    eventually("the fields are gone", || {
        client.get("/about.txt").field("X").is_none()
    });
}

#[test]
fn the_files_of_rules_are_never_sent() {
    let folder = site("/x /_headers 200\n/y /_redirects 404\n", "/*\n X: 1\n");
    folder.put("dir/_headers", "not rules");
    let server = Server::of(folder.path());
    let mut client = server.connect();
    for target in [
        "/_headers",
        "/_redirects",
        "/%5fheaders",
        "//_headers",
        "/x",
        "/y",
    ] {
        let answer = client.get(target);
        assert_eq!(answer.status, 404, "{target}");
        assert!(!answer.text().contains("X: 1"), "{target}");
    }
    // A peer on this machine learns why.
    assert!(client.get("/_headers").text().contains("follows the rules"));
    client.send("POST /_headers HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status, 404);
    assert_eq!(short(&client.get("/dir/_headers")), "200 not rules");
    let server = Server::of(folder.path().join("_headers"));
    assert_eq!(server.connect().get("/_headers").status, 200);
}

#[test]
fn a_line_without_effect_is_warned_of_once() {
    let folder = site(
        "/x /y\n/a /b Country=de\n/p https://h/ 200\n",
        "/*\n Strict-Transport-Security: max-age=1\n Cache-Control: max-age=1, immutable\n \
         Content-Length: 7\n",
    );
    let mut server = Server::of(folder.path());
    let mut client = server.connect();
    for _ in 0..3 {
        let answer = client.get("/");
        assert_eq!((answer.status, answer.text()), (200, "<p>home"));
        assert_eq!(answer.field("Strict-Transport-Security"), None);
        assert_eq!(answer.field("Cache-Control"), Some("max-age=1, immutable"));
        assert_eq!(client.get("/about.txt").status, 200);
    }
    server.signal(Signal::TERM);
    let said = server.stderr.rest();
    let warnings: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("warning: "))
        .filter(|line| line.starts_with('_'))
        .collect();
    let beginnings: Vec<&str> = warnings
        .iter()
        .map(|line| line.split(": ").next().unwrap_or_default())
        .collect();
    assert_eq!(
        beginnings,
        [
            "_redirects:2",
            "_redirects:3",
            "_headers:2",
            "_headers:4",
            "_headers:3"
        ],
        "{warnings:#?}"
    );
}
