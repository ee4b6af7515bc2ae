//! Floor 2, site: the rules of `_redirects`, tried.

use super::*;

fn parse(text: &str) -> (Redirects, Vec<String>) {
    let mut notes = Notes::new("_redirects");
    let redirects = Redirects::parse(text, &mut notes);
    (redirects, notes.into_lines())
}

/// Finds the rule for a target, as `STATUS PLACE`, with `!` if it is forced.
fn find(rules: &Redirects, target: &str) -> Option<String> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.as_bytes())),
        None => (target, None),
    };
    let path = CanonicalPath::new(path.as_bytes())?;
    let found = rules.find(&path, query, 0)?;
    let mark = if found.is_forced { "!" } else { "" };
    Some(match found.outcome {
        Outcome::Redirect(status, place) => format!("{}{mark} {place}", status.code()),
        Outcome::Rewrite(place) => format!("200{mark} {place}"),
        Outcome::Missing(place) => format!("404{mark} {place}"),
    })
}

/// Checks what the rules, which are all valid, say about a target.
#[track_caller]
fn check(text: &str, target: &str, expected: Option<&str>) {
    let (rules, notes) = parse(text);
    assert_eq!(notes, [""; 0]);
    assert_eq!(find(&rules, target).as_deref(), expected);
}

#[test]
fn a_rule_redirects_or_rewrites() {
    check("/a /b", "/a", Some("302 /b"));
    check("/a /b", "/b", None);
    for status in [
        "200", "301", "302", "303", "307", "308", "404", "200!", "404!", "301!",
    ] {
        let expected = format!("{status} /b");
        check(&format!("/a /b {status}"), "/a", Some(&expected));
    }
    check("\t/a\t  /b  301 # moved\r\n", "/a", Some("301 /b"));
    check("# /a /c\n\n/a /b#top\n/a /d", "/a", Some("302 /b#top"));
    check(
        "/a https://example.com",
        "/a",
        Some("302 https://example.com/"),
    );
    check(
        "/a HTTP://h:81/b?c=d#e",
        "/a?x",
        Some("302 HTTP://h:81/b?c=d#e"),
    );
    check("/a/* 404!", "/a/b", Some("404! /a/b"));
    check("/a/* 200\n/* /b 200", "/a/b", Some("200 /a/b"));
}

#[test]
fn captures_go_into_the_place() {
    check("/n/* /b/:splat", "/n/x/y", Some("302 /b/x/y"));
    check("/n/* /b/:splat", "/n", Some("302 /b/"));
    check("/:y/:m /b-:y-:m.html 200", "/1/2", Some("200 /b-1-2.html"));
    check("/:x /b:80/:y/:x", "/1", Some("302 /b:80/:y/1"));
    check(
        "/n/* https://h/:splat?p=:splat",
        "/n/x&y",
        Some("302 https://h/x&y?p=x%26y"),
    );
    check(
        "/s id=:id tag=a /b/:id",
        "/s?tag=a&id=7%2f..",
        Some("302 /b/7%2F..?tag=a&id=7%2F.."),
    );
    check(
        "/s id=:id /b?x=:id",
        "/s?id=a+b%26c=d",
        Some("302 /b?x=a%20b%26c%3Dd"),
    );
}

#[test]
fn a_query_is_a_condition_and_is_passed_on() {
    let rules = "/s id=7 x=:y /seven 301\n/s id=:id /any/:id 301\n/s /none 301";
    check(rules, "/s?id=7&x=", Some("301 /seven?id=7&x="));
    check(rules, "/s?x=1&id=7", Some("301 /seven?x=1&id=7"));
    check(rules, "/s?id=8&id=7", Some("301 /any/8?id=8&id=7"));
    check(rules, "/s?ID=7", Some("301 /none?ID=7"));
    check(rules, "/s", Some("301 /none"));
    check("/s /b?c", "/s?d", Some("302 /b?c"));
    check("/s /b#c", "/s?d\"<>", Some("302 /b?d%22%3C%3E#c"));
}

#[test]
fn a_redirect_to_itself_does_not_count() {
    check("/a /a/ 301", "/a/", None);
    check("/a /a/ 301", "/a", Some("301 /a/"));
    check("/:a/* /:a/b 301\n/* /c", "/a/b?x", Some("302 /c?x"));
    check("/* /b 302!", "/b?x", None);
    check("/* https://h/:splat", "/a", Some("302 https://h/a"));
}

/// A slash at the end of a pattern makes no difference to the paths that it matches, but to what its author
/// has in mind.
#[test]
fn a_rule_that_can_only_lead_to_itself_is_named() {
    for (text, is_skipped) in [
        ("/a /a", true),
        ("/a/ /a/ 301!", true),
        ("/ /", true),
        ("/* /:splat 301", true),
        ("/a/:b/c*d/e /a/:b/c:splatd/e", false),
        ("/a/:b/*/e /a/:b/:splat/e", true),
        ("/a /a/", false),
        ("/a/ /a", false),
        ("/a /a?x=1", false),
        ("/a x=1 /a", false),
        ("/a /a 200", false),
        ("/a http://h/a", false),
    ] {
        let (rules, notes) = parse(text);
        assert_eq!(
            (rules.is_empty(), notes.len()),
            (is_skipped, usize::from(is_skipped)),
            "{text}"
        );
        assert!(
            notes.iter().all(|note| note.contains("its own path")),
            "{notes:?}"
        );
    }
}

#[test]
fn no_request_leads_to_another_host_or_into_another_field() {
    for (rule, target, expected) in [
        ("/x/* /:splat", "/x//evil.com", "302 /evil.com"),
        ("/x/* /:splat", "/x/%2Fevil.com", "302 /%2Fevil.com"),
        ("/x/* /:splat", "/x/%5Cevil.com", "302 /%5Cevil.com"),
        ("/x/* /:splat", "/x/\\evil.com", "302 /%5Cevil.com"),
        ("/x* /:splat", "/x/evil.com", "302 /evil.com"),
        ("/x* /:splat/evil.com", "/x", "302 /evil.com"),
        (
            "/x p=:p /:p",
            "/x?p=/evil.com",
            "302 /%2Fevil.com?p=/evil.com",
        ),
        ("/x p=:p /:p//y", "/x?p=", "302 /y?p="),
        (
            "/x/* /:splat",
            "/x/https://evil.com",
            "302 /https:/evil.com",
        ),
        (
            "/x/* /y/:splat",
            "/x/%0d%0aSet-Cookie:a=b",
            "302 /y/%0D%0ASet-Cookie:a=b",
        ),
        ("/x/* /y?z=:splat", "/x/%0aa", "302 /y?z=%0Aa"),
        (
            "/x p=:p /y#:p",
            "/x?p=%0d%0a%00",
            "302 /y?p=%0D%0A%00#%0D%0A%00",
        ),
        ("/x /y", "/x?\r\na: b", "302 /y?%0D%0Aa:%20b"),
        (
            "/x/* https://h/:splat",
            "/x/@evil.com",
            "302 https://h/@evil.com",
        ),
    ] {
        check(rule, target, Some(expected));
    }
    for target in ["/x/../y", "/x/%2e%2e/y", "/x/%00", "/x/%"] {
        check("/x/* /:splat", target, None);
    }
    let long = format!("/x/* /{}", ":splat/".repeat(140));
    check(&long, &format!("/x/{}", "a".repeat(8000)), None);
}

/// Every rule with every target: whatever a peer writes, the form of the place stays.
#[test]
fn a_place_is_a_reference_to_this_site_or_to_the_host_of_the_rule() {
    let from = [
        "/*", "/x*", "/x/*", "/:a", "/x/:a", "/*.b", "/x/*/y", "/x p=:p", "/* p=:p",
    ];
    let to = [
        "/:splat",
        "/:a",
        "/:p",
        "/y:splat:a:p?q=:p#:splat",
        ":origin/:splat",
        ":origin?:p",
    ];
    let parts = [
        "",
        "/",
        "//",
        "x",
        "y",
        ".b",
        "%2f",
        "%5c",
        "\\",
        "%0d%0a",
        "%00",
        "%09",
        "..",
        ".",
        "@h",
        ":",
        "%",
        "%25",
        "%e2%80%ae",
        "\x7f",
        "?p=",
        "?p=//h",
        "&p=%0a",
        "<\">",
        "http://h",
    ];
    let mut places = 0;
    for (from, to) in from.iter().flat_map(|from| to.map(|to| (from, to))) {
        let origin = if to.starts_with(":origin") {
            "https://o.example"
        } else {
            ""
        };
        let to = to.replace(":origin", "https://o.example");
        let (rules, _) = parse(&format!("{from} {to}"));
        let pairs = parts.iter().flat_map(|a| parts.map(|b| format!("{a}{b}")));
        for target in pairs.flat_map(|pair| ["/", "/x", "/x/"].map(|s| format!("{s}{pair}"))) {
            let Some(found) = find(&rules, &target) else {
                continue;
            };
            places += 1;
            let place = found.strip_prefix("302 ").expect("a redirect");
            let rest = place.strip_prefix(origin).expect("the origin of the rule");
            assert!(
                rest.starts_with('/') && !rest.starts_with("//"),
                "{from} {to} {target:?}: {place}"
            );
            let is_safe = |b: u8| b.is_ascii_graphic() && !b"\\<>\"".contains(&b);
            assert!(
                place.bytes().all(is_safe),
                "{from} {to} {target:?}: {place}"
            );
        }
    }
    assert!(places > 10_000, "{places}");
}

#[test]
fn a_line_that_is_no_rule_is_skipped_with_a_reason() {
    for (line, reason) in [
        ("/a", "no place"),
        ("/a 301", "no place"),
        ("a /b", "slash"),
        ("https://h/a /b", "one host"),
        ("//h/a /b", "one host"),
        ("/a //h/b", "http://"),
        ("/a https://h/b 200", "proxy"),
        ("/a/* https://:splat/b", "choose the host"),
        ("/a/* https://h:splat/b", "choose the host"),
        ("/a/* https://h.:splat", "choose the host"),
        ("/a https:///b", "host is not valid"),
        ("/a https://u@h/b", "host is not valid"),
        ("/a /b 302 Country=de", "only the host"),
        ("/a /b Language=de", "only the host"),
        ("/a /b 200! Role=admin", "only the host"),
        ("/a /b 410", "status"),
        ("/a /b 302!!", "status"),
        ("/a /b /c", "status"),
        ("/a x /b", "key=value"),
        ("/a =x /b", "key=value"),
        ("/:x id=:x /b", "same name"),
        ("/a /b 301 x", "nothing is known"),
        ("/a?b /c", "condition"),
        ("/*/* /b", "one `*`"),
        ("/a /.netlify/functions/f 200", ".netlify"),
    ] {
        let (rules, notes) = parse(&format!("/x /y\n{line}\n"));
        assert_eq!(rules.len(), 1, "{line}");
        assert!(notes[0].starts_with("_redirects:2: "), "{notes:?}");
        assert!(notes[0].contains(reason), "{line}: {notes:?}");
    }
}

#[test]
fn what_a_host_would_ignore_is_noted_and_done() {
    let many = "/:a /b\n".repeat(101) + &"/a /b\n".repeat(2001);
    let (rules, notes) = parse(&many);
    assert_eq!((rules.len(), notes.len()), (2102, 2), "{notes:?}");
    assert!(
        notes[0].starts_with("_redirects:101: Cloudflare"),
        "{notes:?}"
    );
    assert!(
        notes[1].starts_with("_redirects:2102: Cloudflare"),
        "{notes:?}"
    );
    let (rules, notes) = parse(&format!("/a /{}", "é".repeat(1000)));
    assert_eq!((rules.len(), notes.len()), (1, 1));
    let (rules, notes) = parse(&"/a /b\n".repeat(10_001));
    assert_eq!((rules.len(), notes.len()), (10_000, 2), "{notes:?}");
}
