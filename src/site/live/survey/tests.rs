//! Floor 2, site: tests of the uses and of the survey, on a disk in memory.

mod bounds;
mod page;
mod tree;
mod writers;

use std::time::{Duration, Instant};

use super::Change;
use crate::http::Status;
use crate::site::Site;
use page::{Page, SITE, urls};
use tree::Tree;

#[test]
fn an_edit_of_what_a_page_uses_is_a_change_and_no_other_edit() {
    let mut page = Page::new(SITE);
    page.open("/about.html");
    page.load("/app.css", "/about.html");
    assert_eq!(page.survey(), [""; 0]);
    page.tree.save("index.html", b"<p>edited");
    page.tree.save("data.log", b"a line");
    assert_eq!(page.survey(), [""; 0]);
    page.tree.save("app.css", b"p { color: blue }");
    assert_eq!(page.survey(), ["/app.css"]);
    // It stays a change until it is told.
    assert_eq!(page.survey(), ["/app.css"]);
    page.settle(Instant::now());
    assert_eq!(page.survey(), [""; 0]);
    page.tree.overwrite("app.css", b"p { color: gold }");
    page.tree.save("about.html", b"<p>edited");
    let mut changes = page.survey();
    changes.sort();
    assert_eq!(changes, ["/about.html", "/app.css"]);
}

#[test]
fn the_same_bytes_are_no_change_however_they_are_written() {
    let mut page = Page::new(SITE);
    let large = vec![b'a'; 300_000];
    page.tree.save("large.js", &large);
    page.tree.pass(1_000);
    page.open("/");
    page.load("/app.css", "/");
    page.load("/large.js", "/");
    assert_eq!(page.survey(), [""; 0]);
    for _ in 0..2 {
        page.tree.save("index.html", b"<p>index");
        page.tree.overwrite("app.css", b"p { color: red }");
        page.tree.save("large.js", &large);
        // The second time, before the clock has ticked: the tags are weak.
        assert_eq!(page.survey(), [""; 0]);
        page.tree.save("app.css", b"p { color: red }");
        page.site.begin_survey();
        page.rest();
        assert_eq!(urls(&page.site.survey_outcome().changes), [""; 0]);
    }
    // A change that is taken back is none.
    page.tree.save("app.css", b"p { color: blue }");
    assert_eq!(page.survey(), ["/app.css"]);
    page.tree.save("app.css", b"p { color: red }");
    assert_eq!(page.survey(), [""; 0]);
    // One byte in the last slice.
    let mut edited = large.clone();
    edited[299_999] = b'b';
    page.tree.overwrite("large.js", &edited);
    assert_eq!(page.survey(), ["/large.js"]);
}

#[test]
fn only_a_browser_leaves_a_use() {
    let mut page = Page::new(SITE);
    for (path, fields) in [
        ("/app.css", "User-Agent: curl/8\r\nAccept: */*\r\n"),
        ("/app.css", "User-Agent: Mozilla/5.0\r\nAccept: */*\r\n"),
        ("/app.css", "Referer: http://elsewhere/\r\n"),
        (
            "/app.css",
            "Referer: http://elsewhere/\r\nSec-Fetch-Mode: no-cors\r\n",
        ),
        ("/app.css", "Referer: file:///here/\r\n"),
        ("/app.css.map", "Sec-Fetch-Mode: no-cors\r\n"),
        ("/_oneloop/x", "Sec-Fetch-Mode: no-cors\r\n"),
        ("POST /app.css", "Sec-Fetch-Mode: no-cors\r\n"),
        ("HEAD /app.css", "Sec-Fetch-Mode: no-cors\r\n"),
        ("OPTIONS *", "Sec-Fetch-Mode: no-cors\r\n"),
    ] {
        page.ask(path, fields);
        assert!(!page.site.is_surveying(), "{path} {fields}");
        assert_eq!(page.site.token("/app.css", false), None, "{path} {fields}");
    }
    for fields in [
        "Referer: http://HERE/about.html\r\n",
        "Sec-Fetch-Site: same-origin\r\n",
        "User-Agent: Mozilla/5.0\r\nUpgrade-Insecure-Requests: 1\r\nAccept: text/html\r\n\
         Accept-Encoding: gzip\r\n",
    ] {
        let mut page = Page::new(SITE);
        page.ask("/app.css?query", fields);
        page.rest();
        assert!(page.site.token("/app.css", false).is_some(), "{fields}");
    }
}

#[test]
fn a_change_names_what_led_to_it() {
    let mut page = Page::new(SITE);
    page.open("/about.html");
    page.load("/base.css", "/about.html");
    page.load("/base.css", "/");
    page.load("/app.css", "/base.css");
    page.load("/base.css", "/app.css");
    page.survey();
    page.tree.save("app.css", b"another");
    page.tree.save("about.html", b"another");
    page.survey();
    let mut changes = page.site.survey_outcome().changes;
    changes.sort_by(|a, b| a.url.cmp(&b.url));
    changes.iter_mut().for_each(|change| change.from.sort());
    let change = |url: &str, from: &[&str], any| Change {
        url: url.to_owned(),
        from: from.iter().map(|path| (*path).to_owned()).collect(),
        any,
    };
    let from = ["/", "/about.html", "/base.css"];
    let of_page = change("/about.html", &[], false);
    assert_eq!(changes, [of_page, change("/app.css", &from, false)]);
    // Without a referrer, or with too many, any page may use it.
    page.ask("/base.css", "Sec-Fetch-Mode: cors\r\n");
    assert!(
        page.site
            .survey_outcome()
            .changes
            .iter()
            .any(|change| change.any)
    );
    for number in 0..100 {
        page.load("/docs/logo.svg", &format!("/{number}"));
    }
    page.settle(Instant::now());
    page.tree.save("docs/logo.svg", b"another");
    assert_eq!(page.survey(), ["/docs/logo.svg"]);
    let change = page.site.survey_outcome().changes.remove(0);
    assert_eq!((change.from.len(), change.any), (0, true));
}

#[test]
fn what_is_missing_may_come_and_what_was_there_may_go() {
    let mut page = Page::new(SITE);
    assert_eq!(page.open("/later/x.html"), Status::NotFound);
    assert_eq!(page.open("/about"), Status::Ok);
    assert_eq!(page.open("/"), Status::Ok);
    assert_eq!(page.survey(), [""; 0]);
    // Names that are like it may be suggested, and this is no change.
    page.tree.put("later", None);
    page.tree.save("later/y.html", b"y");
    assert_eq!(page.survey(), [""; 0]);
    page.tree.save("later/x.html", b"x");
    assert_eq!(page.survey(), ["/later/x.html"]);
    assert_eq!(page.missing(), [""; 0]);
    page.settle(Instant::now());
    page.tree.remove("about.html");
    // The root is then listed, with 200.
    page.tree.remove("index.html");
    let mut changes = page.survey();
    changes.sort();
    assert_eq!(changes, ["/", "/about"]);
    let mut missing = page.missing();
    missing.sort();
    assert_eq!(missing, ["/", "/about"]);
    page.tree.save("about.html", b"<p>about");
    page.tree.save("index.html", b"<p>index");
    assert_eq!(page.survey(), [""; 0]);
    assert_eq!(page.missing(), [""; 0]);
    page.tree.save("404.html", b"not here");
    page.open("/nowhere");
    assert_eq!(page.survey(), [""; 0]);
    page.tree.save("404.html", b"nowhere");
    assert_eq!(page.survey(), ["/nowhere"]);
}

#[test]
fn a_part_that_a_new_page_has_left_behind_is_not_missing() {
    let mut page = Page::new(SITE);
    page.tree.save("app-1.js", b"import './part-1.js'");
    page.tree.save("part-1.js", b"one");
    page.open("/");
    page.load("/app-1.js", "/");
    page.load("/part-1.js", "/app-1.js");
    assert_eq!(page.survey(), [""; 0]);
    page.tree.remove("app-1.js");
    page.tree.remove("part-1.js");
    page.survey();
    let mut missing = page.missing();
    missing.sort();
    assert_eq!(missing, ["/app-1.js", "/part-1.js"]);
    page.tree.save("index.html", b"<p>another");
    page.survey();
    assert_eq!(page.missing(), [""; 0]);
    // A page that is gone is not new.
    page.tree.remove("index.html");
    page.survey();
    assert_eq!(page.missing().len(), 3);
    // Another page that is still the same uses the part.
    page.tree.save("index.html", b"<p>another");
    page.open("/about.html");
    page.load("/part-1.js", "/about.html");
    page.survey();
    assert_eq!(page.missing(), ["/part-1.js"]);
}

#[test]
fn a_page_of_an_app_is_missing_if_the_app_is_or_if_its_own_file_is() {
    let fallbacks = crate::site::Fallbacks {
        single_page: true,
        listing: true,
    };
    let mut page = Page::with(SITE, |site| site.with_fallbacks(fallbacks));
    page.open("/about.html");
    page.open("/route");
    assert_eq!(page.survey(), [""; 0]);
    page.tree.remove("about.html");
    assert_eq!(page.survey(), ["/about.html"]);
    assert_eq!(page.missing(), ["/about.html"]);
    page.settle(Instant::now());
    page.tree.remove("index.html");
    page.survey();
    let mut missing = page.missing();
    missing.sort();
    assert_eq!(missing, ["/about.html", "/route"]);
}

#[test]
fn of_a_list_the_names_count() {
    let mut page = Page::new(&[("docs/", ""), ("docs/a.log", "1")]);
    page.open("/docs/");
    page.open("/docs");
    assert_eq!(page.survey(), [""; 0]);
    assert!(page.site.concerns(b"docs", b"b.txt").0);
    page.tree.overwrite("docs/a.log", b"1 2");
    page.tree.save("docs/.hidden", b"");
    assert_eq!(page.survey(), [""; 0]);
    page.tree.save("docs/b.txt", b"");
    assert_eq!(page.survey(), ["/docs/"]);
    assert_eq!(page.missing(), [""; 0]);
}

#[test]
fn the_rules_and_the_codings_beside_a_file_count() {
    let mut page = Page::new(SITE);
    page.open("/about.html");
    page.load("/app.css", "/about.html");
    page.tree.save("app.css.br", b"br, first edition");
    assert_eq!(page.survey(), ["/app.css"]);
    page.settle(Instant::now());
    page.tree.overwrite("app.css.br", b"br, other edition");
    assert_eq!(page.survey(), ["/app.css"]);
    page.settle(Instant::now());
    // The original is touched, and the sibling is too old to count, until it is made again.
    page.tree.save("app.css", b"p { color: red }");
    assert_eq!(page.survey(), [""; 0]);
    page.tree.save("app.css.br", b"br, other edition");
    assert_eq!(page.survey(), [""; 0]);
    // Another path is not concerned by a rule.
    page.tree.save("_headers", b"/app.css\n  X-Made-By: hand\n");
    assert_eq!(page.survey(), ["/app.css"]);
    page.settle(Instant::now());
    page.tree.save("_redirects", b"/about.html /docs/ 302!\n");
    assert_eq!(page.survey(), ["/about.html"]);
    page.settle(Instant::now());
    // The file that a rule names lies elsewhere.
    page.tree
        .save("_redirects", b"/app/* /docs/index.html 200\n");
    page.rest();
    page.tree.pass(1_000);
    page.open("/app/route");
    page.rest();
    assert!(page.site.concerns(b"docs", b"index.html").0);
    assert!(page.site.take_directories().contains(&b"docs"[..].into()));
    page.tree.save("docs/index.html", b"<p>edited");
    let mut changes = page.survey();
    changes.sort();
    assert_eq!(changes, ["/about.html", "/app/route"]);
}

#[test]
fn an_edit_between_the_answer_and_the_first_look_is_seen() {
    let large = "a".repeat(200_000);
    let files = [("small.js", "first edition"), ("large.js", &large)];
    // At the same tick as the change before, too.
    for pause in [0, 1, 100] {
        for (path, edited) in [("small.js", "other edition"), ("large.js", &large[1..])] {
            let mut page = Page::new(&files);
            page.tree.save(
                path,
                files
                    .iter()
                    .find(|file| file.0 == path)
                    .expect("one")
                    .1
                    .as_bytes(),
            );
            page.load(&format!("/{path}"), "/");
            page.tree.pass(pause);
            page.tree.overwrite(path, edited.as_bytes());
            page.site.begin_survey();
            page.rest();
            let changes = page.site.survey_outcome().changes;
            assert_eq!(urls(&changes), [format!("/{path}")], "{pause} ms");
        }
    }
}

#[test]
fn a_large_file_is_hashed_a_piece_at_a_time_and_a_huge_one_not_at_all() {
    let mut page = Page::new(&[]);
    page.tree.save("large.bin", &vec![0; 3_000_000]);
    page.tree.save("huge.bin", &vec![0; (16 << 20) + 1]);
    page.tree.pass(1_000);
    page.load("/large.bin", "/");
    page.work = 200;
    let turns = page.rest();
    assert!((15..40).contains(&turns), "{turns} turns");
    page.tree.read.set(0);
    page.load("/huge.bin", "/");
    page.rest();
    assert!(page.tree.read.get() < 100_000, "{}", page.tree.read.get());
    assert_eq!(page.survey(), [""; 0]);
    assert!(page.tree.read.get() < 100_000, "the tags are equal");
    page.tree.overwrite("huge.bin", &vec![0; (16 << 20) + 2]);
    assert_eq!(page.survey(), ["/huge.bin"]);
}

#[test]
fn each_directory_on_the_way_is_offered_and_again_if_it_is_another() {
    let mut page = Page::new(SITE);
    page.load("/docs/api/x.js", "/");
    page.load("/docs/logo.svg", "/");
    assert_eq!(page.site.take_directories().len(), 0);
    let taken = |page: &mut Page| {
        page.rest();
        let mut taken = page.site.take_directories();
        taken.sort();
        let text = |path: Box<[u8]>| String::from_utf8(path.into()).expect("text");
        taken.into_iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(taken(&mut page), ["", "docs"]);
    assert_eq!(page.survey(), [""; 0]);
    assert_eq!(taken(&mut page), [""; 0]);
    page.tree.put("docs/api", None);
    assert_eq!(page.survey(), [""; 0]);
    assert_eq!(taken(&mut page), ["docs", "docs/api"]);
    page.tree.remove("docs");
    assert_eq!(page.survey(), ["/docs/logo.svg"]);
    assert_eq!(taken(&mut page), [""]);
    page.tree.put("docs", None);
    page.tree.save("docs/logo.svg", b"<svg/>");
    // The directory is watched before what is in it is looked at.
    page.site.begin_survey();
    page.site.survey(page.tree.now(), 10_000);
    assert!(page.site.is_surveying());
    assert_eq!(page.site.take_directories().len(), 2);
    assert_eq!(page.survey(), [""; 0]);
}

#[test]
fn a_name_concerns_a_use_if_the_answer_may_hang_on_it() {
    let mut page = Page::new(SITE);
    page.open("/about");
    page.open("/docs/");
    page.load("/assets/App%20one.js", "/about");
    page.load("/caf%C3%A9.css", "/about");
    for (directory, name, is_concerned) in [
        ("", "about.html", true),
        ("", "about.html.br", true),
        ("", "ABOUT.html", true),
        ("", "abou", false),
        ("", "app.css", false),
        ("", "index.html", true),
        ("", "404.html", true),
        ("", "_headers", true),
        ("", "_redirects", true),
        ("", "docs", true),
        ("", "assets", true),
        ("", "cafe\u{301}.css", true),
        ("", ".about.html.swp", false),
        ("docs", "index.html.gz", true),
        ("docs", "404.html", true),
        ("docs", "logo.svg", false),
        ("docs", "_headers", false),
        ("doc", "index.html", false),
        ("assets", "app one.js~", true),
        ("assets", "app.js", false),
        ("elsewhere", "404.html", false),
    ] {
        let (concerns, _) = page.site.concerns(directory.as_bytes(), name.as_bytes());
        assert_eq!(concerns, is_concerned, "{directory}/{name}");
    }
}

#[test]
fn the_data_that_a_page_has_just_sent_does_not_reload_it() {
    let fetched = "Sec-Fetch-Dest: empty\r\nReferer: http://here/\r\n";
    let mut page = Page::new(&[("data.json", "[]"), ("app.js", "0")]);
    page.ask("/data.json", fetched);
    page.ask("/app.js", fetched);
    page.rest();
    page.ask("POST /data", "Referer: http://here/\r\n");
    page.tree.save("data.json", b"[1]");
    page.tree.save("app.js", b"1");
    assert_eq!(page.survey(), ["/app.js"]);
    page.settle(Instant::now());
    page.tree.pass(2_000);
    page.tree.save("data.json", b"[1, 2]");
    assert_eq!(page.survey(), ["/data.json"]);
    page.settle(Instant::now());
    // An endpoint may write the file as well.
    for (method, changes) in [("GET", &["/data.json"][..]), ("POST", &[])] {
        page.tree.pass(2_000);
        let (request, referrer) = (format!("{method} /save"), "Referer: http://here/\r\n");
        page.request(&request, referrer, |site, request, now| {
            site.note_writer(request, now);
        });
        page.tree.save("data.json", method.as_bytes());
        assert_eq!(page.survey(), changes, "{method}");
        page.settle(Instant::now());
    }
}

#[test]
fn a_token_is_the_same_in_another_run_and_another_after_a_change() {
    let mut page = Page::new(SITE);
    page.open("/");
    page.load("/app.css", "/");
    page.rest();
    let tokens = |page: &Page| {
        [("/", true), ("/app.css", false)]
            .map(|(url, is_document)| page.site.token(url, is_document).expect("it is in use"))
    };
    let first = tokens(&page);
    // The server is started again, and the page tells what it uses.
    let mut again = Page::new(SITE);
    let now = again.tree.now();
    for url in [
        "/",
        "/app.css",
        "no path",
        "/no path",
        "/app.css?query",
        "/a.map",
    ] {
        again.site.note_use_of("/", url, now);
    }
    again.rest();
    assert_eq!(tokens(&again), first);
    again.tree.save("app.css", b"another");
    assert_eq!(again.survey(), ["/app.css"]);
    let [index, css] = tokens(&again);
    assert!(index == first[0] && css != first[1]);
    assert_eq!(again.site.token("/nowhere", false), None);
}

#[test]
fn a_page_that_comes_late_is_told_what_changed_meanwhile() {
    let mut page = Page::new(SITE);
    page.load("/app.css", "/");
    page.survey();
    let begin = Instant::now();
    page.tree.save("app.css", b"another");
    page.survey();
    assert_eq!(page.site.changed_since(begin), []);
    let at = begin + Duration::from_secs(5);
    page.settle(at);
    assert_eq!(urls(&page.site.changed_since(begin)), ["/app.css"]);
    assert_eq!(page.site.changed_since(at), []);
}

#[test]
fn a_change_that_no_event_told_of_is_later_than_what_a_page_was_given_before_it() {
    let mut page = Page::new(SITE);
    let second = Duration::from_secs(1);
    let event = Instant::now();
    page.tree.save("app.css", b"");
    page.load("/app.css", "/");
    page.rest();
    // Another state than the known one counts as well.
    for (empty, whole) in [(&b""[..], &b"p { color: red }"[..]), (b"/**/", b"/*p*/")] {
        page.tree.save("app.css", empty);
        page.load("/app.css", "/");
        page.tree.pass(1_000);
        page.tree.save("app.css", whole);
        page.load("/app.css", "/about");
        page.survey();
        let wall = page.tree.now();
        page.site.settle(event, event + 10 * second, wall);
        let since = |seconds| page.site.changed_since(event + seconds * second);
        assert_eq!(urls(&since(8)), ["/app.css"]);
        // The page that was given the new state need not load again.
        assert_eq!(since(9), []);
    }
}

#[test]
fn what_changed_while_no_page_was_open_is_no_change() {
    for are_open in [true, false] {
        let mut page = Page::new(SITE);
        page.load("/app.css", "/");
        page.rest();
        page.site.set_open_pages(are_open);
        page.tree.save("app.css", b"another");
        page.tree.pass(1_000);
        page.load("/app.css", "/");
        assert_eq!(page.survey().len(), usize::from(are_open));
    }
}

/// A policy of the site may ask for a nonce, which is another for each answer.
#[test]
fn the_script_in_a_page_is_no_change() {
    let live = |site: Site<Tree>| site.with_live("/_oneloop/live.js");
    let mut page = Page::with(SITE, live);
    page.tree.save(
        "_headers",
        b"/*\n  Content-Security-Policy: script-src 'none'\n",
    );
    page.tree.pass(1_000);
    page.open("/");
    page.open("/docs");
    page.open("/nowhere");
    assert_eq!(page.survey(), [""; 0]);
    page.tree.save("index.html", b"<p>index");
    assert_eq!(page.survey(), [""; 0]);
    page.tree.save("index.html", b"<p>another");
    assert_eq!(page.survey(), ["/"]);
    assert_eq!(page.missing(), [""; 0]);
}
