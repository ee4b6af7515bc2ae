//! Floor 2, site: rules and flags that set fields of pages with the script of live reload.

use super::*;
use crate::config::{Config, FieldChange};
use crate::site::Policy;

#[test]
fn the_fields_of_the_answer_decide() {
    let page = |rules: &str| {
        let mut site = site(&[("a.html", PAGE), ("_headers", rules)]);
        let page = ask(&mut site, "/a.html", NAVIGATION);
        let warnings = site.take_warnings();
        let again = ask(&mut site, "/a.html", NAVIGATION);
        assert!(site.take_warnings().is_empty(), "each is said once");
        assert_eq!(again.has("ETag"), page.has("ETag"));
        (
            page,
            warnings
                .into_iter()
                .filter(|w| w.starts_with("live"))
                .collect::<Vec<_>>(),
        )
    };
    for rules in [
        "/*\n  Content-Type: text/plain\n",
        "/*\n  Content-Type: application/xhtml+xml\n",
        "/*\n  Content-Disposition: Attachment; filename=a.html\n",
        "/*\n  Content-Security-Policy: sandbox allow-scripts\n",
    ] {
        let (answer, warnings) = page(rules);
        assert_eq!((answer.text(), warnings.len()), (PAGE, 0), "{rules}");
        assert!(answer.has("Last-Modified"));
    }
    let (answer, warnings) = page("/*\n  Content-Disposition: inline\n  X-Own: 1\n");
    assert_eq!(
        (answer.text(), answer.value("X-Own")),
        (&*with_tag(PAGE), "1")
    );
    assert!(warnings.is_empty());
    let (answer, warnings) = page("/*\n  Cache-Control: max-age=600\n");
    assert_eq!(answer.value("Cache-Control"), "no-cache");
    assert!(
        warnings[0].ends_with("and not `max-age=600`"),
        "{warnings:?}"
    );
    let (answer, warnings) = page("/*\n  Cache-Control: no-store\n");
    assert_eq!(
        (answer.value("Cache-Control"), warnings.len()),
        ("no-store", 0)
    );
    let mut site = site(&[
        ("a.txt", PAGE),
        ("_headers", "/*\n  Content-Type: text/html\n"),
    ]);
    assert_eq!(ask(&mut site, "/a.txt", NAVIGATION).text(), with_tag(PAGE));
}

#[test]
fn a_browser_keeps_no_file_without_a_question() {
    const FETCH: &str = "Sec-Fetch-Dest: style\r\nSec-Fetch-Mode: no-cors\r\n";
    const LAN: &str = "User-Agent: Mozilla/5.0\r\nAccept-Encoding: gzip\r\n";
    let files = [("a.html", PAGE), ("a.css", "p {}"), ("a-5d3f9a1b.js", "1")];
    let rules = [("_headers", "/*\n  Cache-Control: public, immutable\n")];
    let none = [("_headers", "/*\n  ! Cache-Control\n")];
    let policy = |change: FieldChange| {
        let config = Config {
            fields: vec![change],
            ..Config::new(".")
        };
        Policy::new(&config)
    };
    let name = || "cache-control".to_owned();
    let flag = policy(FieldChange::Set(name(), "max-age=9".into()));
    let removed = policy(FieldChange::Remove(name()));
    for (mut site, expected, warnings) in [
        (site(&files).with_max_age(600), Some("max-age=600"), 1),
        (
            site(&[&files[..], &rules].concat()),
            Some("public, immutable"),
            1,
        ),
        (site(&[&files[..], &none].concat()), None, 0),
        (site(&files).with_policy(flag), Some("max-age=9"), 1),
        (site(&files).with_policy(removed), None, 0),
    ] {
        for (path, fields) in [
            ("/a.html", NAVIGATION),
            ("/a.css", NAVIGATION),
            ("/a.css", FETCH),
            ("/a.css", LAN),
            ("/a-5d3f9a1b.js", FETCH),
            ("/a.html", FETCH),
        ] {
            let answer = ask(&mut site, path, fields);
            assert_eq!(answer.value("Cache-Control"), "no-cache", "{path} {fields}");
            if let Some(tag) = field_values(answer.head.as_bytes(), "ETag").next() {
                let tag = str::from_utf8(tag).expect("text");
                let fields = format!("{fields}If-None-Match: {tag}\r\n");
                let answer = ask(&mut site, path, &fields);
                assert!(answer.head.starts_with("HTTP/1.1 304"), "{}", answer.head);
                assert_eq!(answer.value("Cache-Control"), "no-cache", "{path} {fields}");
            }
        }
        let answer = ask(&mut site, "/a.css", "");
        let values: Vec<_> = field_values(answer.head.as_bytes(), "Cache-Control").collect();
        assert_eq!(values, expected.map(str::as_bytes).as_slice());
        let told = site.take_warnings();
        let told = told.iter().filter(|warning| warning.starts_with("live"));
        assert_eq!(told.count(), warnings, "{expected:?}");
    }
}

#[test]
fn a_policy_is_widened_by_what_the_script_needs() {
    let with_policy = |policy: &str| {
        let config = Config {
            fields: vec![
                FieldChange::Set("Content-Security-Policy".into(), policy.into()),
                FieldChange::Set("X-Own".into(), "1".into()),
                FieldChange::Set("X-Own".into(), "2".into()),
            ],
            ..Config::new(".")
        };
        site(&[("a.html", PAGE)]).with_policy(Policy::new(&config))
    };
    let mut site = with_policy("default-src 'self'");
    let page = ask(&mut site, "/a.html", NAVIGATION);
    assert_eq!(page.text(), with_tag(PAGE));
    assert_eq!(page.value("Content-Security-Policy"), "default-src 'self'");
    assert!(page.has("ETag") && site.take_warnings().is_empty());
    let own: Vec<_> = field_values(page.head.as_bytes(), "X-Own").collect();
    assert_eq!(own, [b"1", b"2"]);

    let mut site = with_policy("default-src 'none'; script-src a.test");
    let page = ask(&mut site, "/a.html", NAVIGATION);
    let policy = page.value("Content-Security-Policy").to_owned();
    let start = "default-src 'none'; script-src a.test 'nonce-";
    let rest = policy.strip_prefix(start).expect("a nonce");
    let (nonce, rest) = rest.split_once('\'').expect("an end");
    assert_eq!(rest, "; connect-src 'self' ws://localhost:8080");
    let tag = format!("<head><script src=\"{SCRIPT}\" nonce=\"{nonce}\"></script>");
    assert_eq!(page.text(), PAGE.replacen("<head>", &tag, 1));
    assert!(!page.has("ETag"), "the next page has another nonce");
    let warnings = site.take_warnings();
    assert!(
        warnings[0].ends_with("in connect-src and script-src"),
        "{warnings:?}"
    );
    let next = ask(&mut site, "/a.html", NAVIGATION);
    assert!(!next.text().contains(nonce));
    assert!(site.take_warnings().is_empty(), "said once");
    let plain = ask(&mut site, "/a.html", "");
    assert_eq!(
        plain.value("Content-Security-Policy"),
        "default-src 'none'; script-src a.test"
    );

    let mut site = with_policy("connect-src 'none'");
    let page = ask(&mut site, "/a.html", NAVIGATION);
    assert_eq!(page.text(), with_tag(PAGE));
    assert!(page.has("ETag"));
    assert_eq!(
        page.value("Content-Security-Policy"),
        "connect-src 'self' ws://localhost:8080"
    );
}
