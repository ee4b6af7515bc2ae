//! What answers where no file is: pages without their ending, single-page apps, lists of directories
//! and pages for errors.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, Mode};

use crate::harness::{Answer, Client, Folder, Server, at_rest, eventually};

/// What browsers send when a page is opened, with TLS or on this machine.
const NAVIGATION: &str = "Accept: text/html,*/*;q=0.8\r\nSec-Fetch-Dest: document\r\n";

/// What they send for a page of another machine over plain HTTP.
const DISTANT: &str = "Accept: text/html,*/*;q=0.8\r\nUpgrade-Insecure-Requests: 1\r\n";

fn ask(client: &mut Client, target: &str, fields: &str) -> Answer {
    client.ask(target, &fields.lines().collect::<Vec<_>>())
}

/// Checks the status and the text of an answer.
#[track_caller]
fn check(client: &mut Client, target: &str, fields: &str, status: u16, text: &str) -> Answer {
    let answer = ask(client, target, fields);
    assert_eq!(answer.status, status, "{target} {fields}");
    assert!(answer.text().contains(text), "{target}: {}", answer.text());
    answer
}

#[test]
fn a_page_is_found_without_its_ending_and_wins_over_a_directory() {
    let folder = Folder::with("about.html", "the page");
    folder.put("about/team.html", "the team");
    folder.put("v1.2.html", "a version");
    folder.put("both", "no ending");
    folder.put("both.html", "an ending");
    eventually("the page is at rest", || {
        at_rest(&folder.path().join("about.html"))
    });
    let server = Server::of(folder.path());
    let client = &mut server.connect();
    check(client, "/about", "", 200, "the page");
    check(client, "/about?a=b", "", 200, "the page");
    check(client, "/about.html", "", 200, "the page");
    check(client, "/about/team", "", 200, "the team");
    check(client, "/v1.2", "", 200, "a version");
    check(client, "/both", "", 200, "no ending");
    check(
        client,
        "/about/",
        "Accept: application/json\r\n",
        200,
        "team.html",
    );
    check(client, "/about.html/", "", 404, "");
    let tag = ask(client, "/about", "").field("ETag").map(str::to_owned);
    let tag = tag.expect("it is a file");
    check(
        client,
        "/about",
        &format!("If-None-Match: {tag}\r\n"),
        304,
        "",
    );
}

#[test]
fn a_single_page_app_gets_navigations_and_nothing_else() {
    let folder = Folder::with("index.html", "the app");
    folder.put("app.js", "the script");
    folder.put("static/logo.svg", "<svg/>");
    eventually("the app is at rest", || {
        at_rest(&folder.path().join("index.html"))
    });
    let server = Server::with(folder.path(), &["--spa", "--log", "off"]);
    let client = &mut server.connect();
    for target in [
        "/",
        "/user/5",
        "/docs/v1.2/a.b",
        "/static/",
        "/static",
        "/index",
    ] {
        for fields in [NAVIGATION, DISTANT] {
            let answer = check(client, target, fields, 200, "the app");
            assert_eq!(answer.field("Cache-Control"), Some("no-cache"));
        }
    }
    let answer = ask(client, "/user/5", NAVIGATION);
    let varies = answer.field("Vary").map(str::to_owned);
    let varies = varies.expect("a script would get another answer");
    assert!(
        varies.contains("Sec-Fetch-Dest") && varies.contains("Accept"),
        "{varies}"
    );
    let tag = answer.field("ETag").expect("it is a file").to_owned();
    let again = format!("{NAVIGATION}If-None-Match: {tag}\r\n");
    check(client, "/user/5", &again, 304, "");
    for fields in [
        "",
        "Accept: */*\r\n",
        "Accept: */*\r\nSec-Fetch-Dest: script\r\nSec-Fetch-Mode: no-cors\r\n",
        "Accept: application/json\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\n",
        "Accept: text/event-stream\r\nSec-Fetch-Dest: empty\r\n",
        "Accept: text/html\r\n",
        "Accept: image/png\r\nSec-Fetch-Dest: image\r\nUpgrade-Insecure-Requests: 1\r\n",
    ] {
        let answer = check(client, "/user/5", fields, 404, "");
        let varies_too = answer.field("Vary").expect("a navigation gets the app");
        assert_eq!(varies_too, varies);
    }
    check(client, "/app.js", NAVIGATION, 200, "the script");
    check(client, "/echo", NAVIGATION, 426, "");
    check(client, "/.git/config", NAVIGATION, 404, "");
}

#[test]
fn the_nearest_page_for_what_is_missing_is_sent_with_404() {
    let folder = Folder::with("404.html", "nothing on this site");
    folder.put("docs/404.html", "nothing in the docs");
    folder.put("docs/deep/a.txt", "");
    let server = Server::of(folder.path());
    let client = &mut server.connect();
    for (target, text) in [
        ("/a", "on this site"),
        ("/a/b/c", "on this site"),
        ("/docs/a", "in the docs"),
        ("/docs/deep/b", "in the docs"),
        ("/docs/deep/b/c/", "in the docs"),
    ] {
        let answer = check(client, target, NAVIGATION, 404, text);
        assert_eq!(
            answer.field("Content-Type"),
            Some("text/html; charset=utf-8")
        );
    }
    check(
        client,
        "/a",
        "Range: bytes=0-3\r\nIf-None-Match: *\r\n",
        404,
        "nothing on this site",
    );
    check(client, "/404.html", "", 200, "nothing on this site");
    folder.put("docs/404.html", "edited");
    check(client, "/docs/a", "", 404, "edited");
}

#[test]
fn every_name_in_a_list_leads_to_its_file() {
    let folder = Folder::new();
    let names: [&[u8]; 15] = [
        b"back\\slash",
        b"plain.txt",
        b"a b",
        b"100%",
        b"a#b",
        b"what?",
        b"a+b",
        b"a:b",
        b"\"quoted\"",
        b"it's",
        b"<script>alert(1)<script>",
        b"line\nbreak",
        b"\xff\xfe",
        "\u{202e}txt.exe".as_bytes(),
        "&amp;".as_bytes(),
    ];
    for name in names {
        let path = folder.path().join(OsStr::from_bytes(name));
        fs::write(path, name).expect("the folder is ours");
    }
    folder.put("sub/x", "");
    folder.put(".hidden", "");
    symlink("/etc/passwd", folder.path().join("out")).expect("the folder is ours");
    symlink("plain.txt", folder.path().join("in")).expect("the folder is ours");
    let server = Server::of(folder.path());
    let client = &mut server.connect();
    let page = check(client, "/", NAVIGATION, 200, "plain.txt");
    let text = page.text();
    assert!(
        !text.contains("/.hidden")
            && !text.contains("\"./out\"")
            && !text.contains("<script>alert")
    );
    let hrefs = text.split("href=\"./").skip(1);
    let hrefs: Vec<&str> = hrefs
        .map(|rest| rest.split('"').next().expect("it ends"))
        .filter(|href| !href.is_empty())
        .collect();
    assert_eq!(hrefs[0], "sub/");
    let mut found = Vec::new();
    for href in &hrefs[1..] {
        let answer = ask(client, &format!("/{href}"), "");
        assert_eq!(answer.status, 200, "{href}");
        found.push(answer.body);
    }
    for name in names {
        assert!(
            found.iter().any(|body| body == name),
            "{}",
            name.escape_ascii()
        );
    }
    assert_eq!(found.len(), names.len() + 1);
    let json = check(
        client,
        "/",
        "Accept: application/json\r\n",
        200,
        "plain.txt",
    );
    assert_eq!(json.field("Content-Type"), Some("application/json"));
    check(client, "/sub", "", 301, "");
    let tag = page.field("ETag").expect("it is whole").to_owned();
    check(
        client,
        "/",
        &format!("{NAVIGATION}If-None-Match: {tag}\r\n"),
        304,
        "",
    );
    folder.put("new", "");
    check(
        client,
        "/",
        &format!("{NAVIGATION}If-None-Match: {tag}\r\n"),
        200,
        "./new",
    );
    let silent = Server::with(folder.path(), &["--no-listing", "--log", "off"]);
    check(&mut silent.connect(), "/", NAVIGATION, 404, "");
}

#[test]
fn a_list_of_many_is_sent_in_chunks_and_in_order() {
    let folder = Folder::new();
    for number in 0..2_000 {
        folder.put(&format!("file{number}.txt"), "");
    }
    let server = Server::of(folder.path());
    let client = &mut server.connect();
    let answer = ask(client, "/", "Accept: application/json\r\n");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("Transfer-Encoding"), Some("chunked"));
    let text = answer.text();
    let places = (0..2_000).map(|number| text.find(&format!("\"file{number}.txt\"")));
    let places: Vec<usize> = places.map(|place| place.expect("it is listed")).collect();
    assert!(places.is_sorted());
    check(client, "/file7.txt", "", 200, "");
}

/// HTTP/1.0 has no chunks, so the end of the connection is the end of a body whose length is not known.
#[test]
fn a_list_of_many_ends_with_the_connection_for_http_1_0() {
    let folder = Folder::new();
    for number in 0..1_000 {
        folder.put(&format!("file{number}.txt"), "");
    }
    let server = Server::of(folder.path());
    for option in ["", "Connection: keep-alive\r\n"] {
        let mut client = server.connect();
        client.send(format!(
            "HEAD / HTTP/1.0\r\nAccept: application/json\r\nConnection: keep-alive\r\n\r\n\
             GET / HTTP/1.0\r\nAccept: application/json\r\n{option}\r\n"
        ));
        let (described, answer) = (client.head(), client.head());
        assert_eq!((described.status, answer.status), (200, 200));
        assert_eq!(answer.field("Connection"), Some("close"));
        for field in ["Transfer-Encoding", "Content-Length"] {
            assert_eq!(answer.field(field), None);
            assert_eq!(described.field(field), None);
        }
        while client.receive().expect("it ends in an orderly way") > 0 {}
        let text = client.received();
        assert_eq!(text.matches("\"name\"").count(), 1_000);
        assert!(text.ends_with("\n]}\n"), "{text}");
    }
}

/// The names of a list that is not sent yet count as memory that its peer holds.
#[test]
fn a_list_that_takes_more_memory_than_there_is_for_all_is_broken_off() {
    let folder = Folder::new();
    for number in 0..8_000 {
        folder.put(&format!("file{number}.txt"), "");
    }
    for number in 0..1_500 {
        folder.put(&format!("sub/file{number}.txt"), "");
    }
    let server = Server::with(folder.path(), &["--memory-max", "1M", "--log", "off"]);
    let mut client = server.connect();
    client.request("/");
    while client.receive().is_ok_and(|n| n > 0) {}
    assert!(!client.received().contains("file7.txt"));
    // The memory is free again: a list of less is sent.
    check(&mut server.connect(), "/sub/", "", 200, "file1499.txt");
}

#[test]
fn an_error_is_a_page_for_browsers_and_a_line_for_programs() {
    let folder = Folder::with("about-us.html", "");
    folder.put("index.html", "");
    let server = Server::plain(folder.path());
    let client = &mut server.connect();
    let page = check(client, "/abuot-us.html", NAVIGATION, 404, "/about-us.html");
    assert_eq!(page.field("Content-Type"), Some("text/html; charset=utf-8"));
    let policy = page
        .field("Content-Security-Policy")
        .expect("the page is ours");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    check(client, "/user/5", NAVIGATION, 404, "oneloop --spa");
    check(client, "/<b>'%22&", NAVIGATION, 404, "404");
    let json = check(
        client,
        "/abuot-us",
        "Accept: application/json\r\n",
        404,
        "about-us.html",
    );
    assert_eq!(json.field("Content-Type"), Some("application/json"));
    let line = ask(client, "/nothing", "");
    assert_eq!(line.text().lines().count(), 1);
    // A cache must not give the line of one program to a browser.
    for answer in [&page, &json, &line] {
        assert_eq!(answer.field("Vary"), Some("Accept"));
    }
    let hidden = ask(client, "/.git/config", "");
    assert_eq!(hidden.field("Vary"), Some("Accept"));
    let refused = ask(
        client,
        "/about-us",
        &format!("{NAVIGATION}Accept-Encoding: identity;q=0\r\n"),
    );
    assert_eq!(
        (refused.status, refused.field("Vary")),
        (406, Some("Accept-Encoding, Accept"))
    );
    // The reason is for this machine alone, in each form.
    check(client, "/.git/config", NAVIGATION, 404, "begin with a dot");
}

#[test]
fn a_refusal_is_a_page_for_browsers_too() {
    let folder = Folder::with("a.txt", "");
    let server = Server::with(folder.path(), &["--auth", "me:secret", "--log", "off"]);
    let client = &mut server.connect();
    for (fields, host) in [(NAVIGATION, "localhost"), (NAVIGATION, "evil.example")] {
        client.send(format!(
            "GET /a.txt HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
        ));
        let answer = client.answer();
        let media_type = answer.field("Content-Type");
        assert_eq!(media_type, Some("text/html; charset=utf-8"), "{host}");
        assert!([401, 403].contains(&answer.status), "{host}");
    }
    let line = ask(client, "/a.txt", "Accept: */*\r\n");
    assert_eq!((line.status, line.text().lines().count()), (401, 1));
}

/// A rule for every path does not let a cache keep what is not at the path.
#[test]
fn a_fallback_is_never_kept_by_a_cache() {
    let folder = Folder::with("index.html", "the app");
    folder.put("404.html", "nothing");
    folder.put("sub/x", "");
    folder.put(
        "_headers",
        "/*\n  Cache-Control: max-age=600\n/sub/*\n  Content-Security-Policy: x\n",
    );
    folder.put("_redirects", "/app/* /index.html 200\n");
    let flags = ["--spa", "--max-age", "60", "--log", "off"];
    let server = Server::with(folder.path(), &flags);
    let client = &mut server.connect();
    eventually("the app is at rest", || {
        at_rest(&folder.path().join("index.html"))
    });
    for target in ["/user/5", "/sub/"] {
        // Another answer without a change, which renews the fields in the cache.
        let fields = if target == "/sub/" {
            "Accept: text/html\r\n"
        } else {
            NAVIGATION
        };
        let answer = ask(client, target, fields);
        let tag = answer
            .field("ETag")
            .expect("it is a file, or a list")
            .to_owned();
        let again = ask(client, target, &format!("{fields}If-None-Match: {tag}\r\n"));
        assert_eq!(
            (again.status, again.field("Cache-Control")),
            (304, Some("no-cache"))
        );
        assert_eq!(again.field("Content-Security-Policy"), None);
    }
    for (target, fields, expected) in [
        ("/", "", "max-age=600"),
        ("/user/5", NAVIGATION, "no-cache"),
        ("/app/5", "", "no-cache"),
        ("/nothing", "", "no-cache"),
        ("/sub/nothing", "Accept: application/json\r\n", "no-cache"),
        ("/sub/", "", "no-cache"),
    ] {
        let answer = ask(client, target, fields);
        assert_eq!(answer.field("Cache-Control"), Some(expected), "{target}");
    }
}

/// Names that are not listed are read in slices too.
#[test]
fn a_list_of_few_among_many_hidden_names_is_complete() {
    let folder = Folder::with("shown.txt", "");
    for number in 0..3_000 {
        folder.put(&format!(".hidden-with-a-long-name-{number}"), "");
    }
    let server = Server::of(folder.path());
    let answer = ask(&mut server.connect(), "/", "Accept: application/json\r\n");
    assert_eq!(answer.text().matches("\"name\"").count(), 1);
}

/// What may be written for ever, or by nobody, is not waited for.
#[test]
fn a_fifo_in_place_of_a_page_holds_up_nobody() {
    let folder = Folder::with("a.txt", "here");
    for name in ["index.html", "404.html", "_headers", "_redirects"] {
        let path = folder.path().join(name);
        rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("the folder is ours");
    }
    let server = Server::of(folder.path());
    let client = &mut server.connect();
    check(client, "/a.txt", "", 200, "here");
    check(client, "/nothing", "", 404, "");
    check(client, "/", "Accept: application/json\r\n", 200, "a.txt");
}

#[test]
fn the_methods_of_what_is_found_without_a_file_are_told() {
    let folder = Folder::with("about.html", "");
    folder.put("sub/x", "");
    let server = Server::of(folder.path());
    for (target, status) in [
        ("/about", 405),
        ("/sub/", 405),
        ("/", 405),
        ("/nothing", 404),
    ] {
        let client = &mut server.connect();
        client.send(format!(
            "DELETE {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ));
        let answer = client.answer();
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(answer.field("Allow").is_some(), status == 405, "{target}");
    }
}
