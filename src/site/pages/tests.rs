//! Floor 2, site: the pages, tried.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

use super::*;

fn entry(name: &[u8], is_directory: bool) -> Listed {
    let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_690_506_999);
    Listed {
        name: name.into(),
        is_directory,
        size: 1_234,
        modified,
    }
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("pages are UTF-8")
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).expect(before);
    rest.split_once(after).expect(after).0
}

/// Checks that a row has the markup of a row and nothing else, and that its link leads to `name`.
/// Returns the name as it is shown.
fn check_row(name: &[u8]) -> String {
    let mut shown = String::new();
    for is_directory in [false, true] {
        let entry = entry(name, is_directory);
        let row = text(|out| listing_row(out, &entry, 1));
        let url = between(&row, "<a href=\"", "\">");
        shown = between(&row, "<bdi>", "</bdi>").to_owned();
        let (title, slash, size) = match is_directory {
            true => ("", "/", ""),
            false => (" title=\"1234 bytes\"", "", "1.2 kB"),
        };
        assert_eq!(
            row,
            format!(
                "<tr{title}><td><a href=\"{url}\"><bdi>{shown}</bdi>{slash}</a><td>{size}\
                 <td><time datetime=\"2026-11-26T10:55:06Z\">2026-11-26 10:55</time>\n"
            )
        );
        assert!(!shown.contains(['<', '>', '"', '\'']), "{shown}");
        assert!(!shown.contains(char::is_control), "{shown:?}");
        let entities = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        let bare = entities.iter().fold(shown.clone(), |s, e| s.replace(e, ""));
        assert!(!bare.contains('&'), "{shown}");
        check_url(url.strip_prefix("./").expect("relative"), slash, name);
        let json = text(|out| json_row(out, &entry, 0));
        assert_eq!(between(&json, "\"url\":\"", "\","), url);
        assert!(!json[1..].contains(char::is_control), "{json:?}");
    }
    shown
}

/// Checks that a percent-encoded segment has unreserved characters only, and decodes to `name`.
fn check_url(url: &str, slash: &str, name: &[u8]) {
    let segment = url.strip_suffix(slash).expect("the end of a URL");
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "-._~%".contains(c);
    assert!(segment.chars().all(is_safe), "{url}");
    let decoded: Vec<u8> = percent_decode_str(segment).collect();
    assert_eq!(decoded, name, "{url}");
}

#[test]
fn every_name_leads_back_to_its_file_and_is_only_text() {
    let names: &[(&[u8], &str)] = &[
        (b"plain.txt", "plain.txt"),
        (b"two  words", "two  words"),
        (b"100%", "100%"),
        (b"%41", "%41"),
        (b"#1", "#1"),
        (b"what?x=1", "what?x=1"),
        (b"a+b", "a+b"),
        (b"javascript:alert(1)", "javascript:alert(1)"),
        (b"it's", "it&#39;s"),
        (b"\"quoted\"", "&quot;quoted&quot;"),
        (b"<script>x</script>", "&lt;script&gt;x&lt;/script&gt;"),
        (b"&lt;", "&amp;lt;"),
        (b"{{css}}", "{{css}}"),
        (b"back\\slash", "back\\slash"),
        (b"a\nb\r\tc", "a\u{240a}b\u{240d}\u{2409}c"),
        (b"\x1b[31m\x7f", "\u{241b}[31m\u{2421}"),
        (b"\xffx\xc3", "\u{fffd}x\u{fffd}"),
        ("\u{9b}31m".as_bytes(), "\u{fffd}31m"),
        ("\u{2028}\u{2067}".as_bytes(), "\u{fffd}\u{fffd}"),
        ("exe.\u{202e}gpj".as_bytes(), "exe.\u{fffd}gpj"),
        (
            "\u{200f}\u{5d0}\u{5d1}.txt".as_bytes(),
            "\u{200f}\u{5d0}\u{5d1}.txt",
        ),
        ("naïve 日本語 🎉".as_bytes(), "naïve 日本語 🎉"),
        (b"-", "-"),
        (b"...", "..."),
    ];
    for (name, shown) in names {
        assert_eq!(check_row(name), *shown);
    }
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    let free = prop::collection::vec(1..=255_u8, 1..12);
    let similar = "[aA01<é]{1,3}".prop_map(String::into_bytes);
    let name = prop_oneof![free, similar];
    name.prop_filter("no separator", |name| !name.contains(&b'/'))
}

fn entries() -> impl Strategy<Value = Listed> {
    (names(), any::<bool>()).prop_map(|(name, is_directory)| entry(&name, is_directory))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_name_leads_back_to_its_file(name in names()) {
        check_row(&name);
    }

    #[test]
    fn the_order_is_total(a in entries(), b in entries(), c in entries()) {
        prop_assert_eq!(order(&a, &b), order(&b, &a).reverse());
        prop_assert_eq!(order(&a, &b) == Ordering::Equal, a == b);
        if a.is_directory == b.is_directory {
            let (text, other) = (text_of(&a.name), text_of(&b.name));
            let whole = Tokens(&text).cmp(Tokens(&other)).then_with(|| a.name.cmp(&b.name));
            prop_assert_eq!(order(&a, &b), whole, "without the common beginning");
        }
        let mut sorted = [&a, &b, &c];
        sorted.sort_by(|a, b| order(a, b));
        let [a, b, c] = sorted;
        prop_assert!(order(a, b).is_le() && order(b, c).is_le() && order(a, c).is_le());
    }
}

#[test]
fn directories_come_first_and_numbers_are_ordered_by_value() {
    let expected: [(&[u8], bool); 19] = [
        (b"Src", true),
        (b"tests", true),
        (b"-", false),
        (b"00", false),
        (b"01.txt", false),
        (b"1.txt", false),
        (b"20000000000000000000000.txt", false),
        (b"_", false),
        (b"IMG", false),
        (b"img", false),
        (b"img1x", false),
        (b"img2.png", false),
        (b"Img10.png", false),
        (b"img10b.png", false),
        (b"readme", false),
        ("éb".as_bytes(), false),
        ("Émile".as_bytes(), false),
        ("été".as_bytes(), false),
        ("Öa".as_bytes(), false),
    ];
    let expected = expected.map(|(name, is_directory)| entry(name, is_directory));
    for (at, entry) in expected.iter().enumerate() {
        for (place, other) in expected.iter().enumerate() {
            let (name, other_name) = (text_of(&entry.name), text_of(&other.name));
            assert_eq!(order(entry, other), at.cmp(&place), "{name} {other_name}");
        }
    }
}

#[test]
fn a_path_has_a_link_for_each_directory_on_the_way() {
    let links = |path: &[u8]| {
        let page = text(|out| listing_begin(out, path));
        let nav = between(&page, "<h1 class=\"path\">", "</h1>").to_owned();
        let links: Vec<String> = nav
            .split("<a href=\"")
            .skip(1)
            .map(|link| {
                let (url, rest) = link.split_once('"').expect("a URL");
                let current = if rest.contains("aria-current") {
                    "*"
                } else {
                    ""
                };
                let name = rest.split_once("<bdi>").map_or("root", |(_, name)| {
                    name.split_once("</bdi>").expect("a name").0
                });
                format!("{current}{url} {name}")
            })
            .collect();
        (
            links.join(", "),
            page.contains("<a href=\"../\">Parent folder</a>"),
        )
    };
    assert_eq!(links(b""), ("*./ root".into(), false));
    assert_eq!(links(b"a/"), ("../ root, *./ a".into(), true));
    assert_eq!(
        links(b"<a>/b c/\xff/"),
        (
            "../../../ root, ../../ &lt;a&gt;, ../ b c, *./ \u{fffd}".into(),
            true
        )
    );
    let page = text(|out| listing_begin(out, b"a&b/</title>/"));
    assert_eq!(
        between(&page, "<title>", "</title>"),
        "/a&amp;b/&lt;/title&gt;/"
    );
}

#[test]
fn only_an_empty_listing_says_so() {
    for rows in [0, 1, 1_000] {
        let end = text(|out| listing_end(out, rows));
        assert_eq!(end.contains("This folder is empty."), rows == 0);
    }
}

#[test]
fn rows_are_in_groups_of_the_number_that_the_style_and_the_script_have() {
    let file = entry(b"a", false);
    for number in [0, 1, 255, 256, 257, 512] {
        let row = text(|out| listing_row(out, &file, number));
        assert_eq!(row.starts_with("<tbody>"), number % 256 == 0, "{number}");
    }
    assert!(LISTING_STYLE.contains(&format!("--rows: {GROUP};")));
    assert!(LISTING_SCRIPT.contains(&format!("at += {GROUP}")));
    assert!(LISTING_SCRIPT.contains(&format!("slice(at, at + {GROUP})")));
}

#[test]
fn a_listing_in_json_is_exact() {
    let found = text(|out| {
        json_begin(out, b"a \"b\"/");
        json_row(out, &entry(b"c d", true), 0);
        json_row(out, &entry(b"\xff\\\n\"", false), 1);
        json_end(out);
    });
    let expected = r#"{"path":"/a \"b\"/","entries":[
{"name":"c d","url":"./c%20d/","type":"directory","modified":"2026-11-26T10:55:06Z"},
{"name":"\ufffd\\\u000a\"","url":"./%FF%5C%0A%22","type":"file","size":1234,"modified":"2026-11-26T10:55:06Z"}
]}
"#;
    assert_eq!(found, expected.replace("\\ufffd", "\u{fffd}"));
}

#[test]
fn an_error_tells_the_advice_and_escapes_it() {
    let near = [b"about.html".to_vec(), b"a b/<x>/".to_vec()];
    let advice = Advice {
        sentence: "there is no <b> here",
        command: Some("oneloop --spa 'a&b'"),
        near: &near,
        retries: false,
    };
    let page = text(|out| error_page(out, 404, "Not Found", &advice));
    for part in [
        "<title>404 Not Found</title>",
        "<h1><b>404</b> Not Found</h1>",
        "<p class=\"say\">there is no &lt;b&gt; here.</p>",
        "<pre><code>oneloop --spa &#39;a&amp;b&#39;</code></pre>",
        "<li><a href=\"/about.html\">/<bdi>about.html</bdi></a>",
        "<li><a href=\"/a%20b/%3Cx%3E/\">/<bdi>a b/&lt;x&gt;/</bdi></a>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(
        text(|out| error_json(out, 404, "Not Found", &advice)),
        "{\"status\":404,\"reason\":\"Not Found\",\"sentence\":\"there is no <b> here\",\
         \"command\":\"oneloop --spa 'a&b'\",\"near\":[\
         {\"path\":\"/about.html\",\"url\":\"/about.html\"},\
         {\"path\":\"/a b/<x>/\",\"url\":\"/a%20b/%3Cx%3E/\"}]}\n"
    );

    let advice = Advice {
        sentence: "why not?",
        command: None,
        near: &[],
        retries: false,
    };
    let page = text(|out| error_page(out, 403, "Forbidden", &advice));
    assert!(page.contains("<p class=\"say\">why not?</p>"), "{page}");
    assert!(!page.contains("<pre>") && !page.contains("<h2>"), "{page}");
    assert_eq!(
        text(|out| error_json(out, 403, "Forbidden", &advice)),
        "{\"status\":403,\"reason\":\"Forbidden\",\"sentence\":\"why not?\",\"near\":[]}\n"
    );
}

#[test]
fn sizes_are_rounded_and_have_the_right_unit() {
    for (bytes, expected) in [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (999_950_000, "1.0 GB"),
        (u64::MAX, "18446744.1 TB"),
    ] {
        assert_eq!(Size(bytes).to_string(), expected);
    }
}

#[test]
fn every_time_of_the_disk_has_a_date() {
    let at = |seconds: i64| {
        let after = Duration::from_secs(seconds.unsigned_abs());
        let epoch = SystemTime::UNIX_EPOCH;
        let time = match seconds < 0 {
            true => epoch.checked_sub(after),
            false => epoch.checked_add(after),
        };
        let date = Date::of(time.expect("the kernel's times are of this type"));
        (date.to_string(), date.short().to_string())
    };
    let date = |long: &str, short: &str| (long.to_owned(), short.to_owned());
    assert_eq!(at(0), date("1970-01-01T00:00:00Z", "1970-01-01 00:00"));
    assert_eq!(at(-1), date("1969-12-31T23:59:59Z", "1969-12-31 23:59"));
    assert_eq!(at(i64::MAX), at(0));
    assert_eq!(at(i64::MIN), at(0));
}

/// A style or a script that was edited is not applied before its hash is in the policy.
#[test]
fn the_policies_have_the_hashes_of_the_style_and_the_script() {
    let hash = |page: &str, element: &str| {
        let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
        let hash = Sha256::digest(between(page, &begin, &end));
        format!("{element}-src 'sha256-{}'; ", STANDARD.encode(hash))
    };
    let listing = text(|out| {
        listing_begin(out, b"");
        listing_end(out, 0);
    });
    let advice = Advice {
        sentence: "no",
        command: Some("no"),
        near: &[],
        retries: false,
    };
    let error = text(|out| error_page(out, 404, "Not Found", &advice));
    let policy = |sources: &str| {
        format!(
            "default-src 'none'; {sources}img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'self'"
        )
    };
    let sources = hash(&listing, "style") + &hash(&listing, "script");
    assert_eq!(LISTING_POLICY, policy(&sources));
    assert_eq!(ERROR_POLICY, policy(&hash(&error, "style")));
    let advice = Advice {
        retries: true,
        ..advice
    };
    let retry = text(|out| error_page(out, 502, "Bad Gateway", &advice));
    let sources = hash(&retry, "style") + &hash(&retry, "script") + "connect-src 'self'; ";
    assert_eq!(RETRY_POLICY, policy(&sources));
    for page in [listing, error, retry] {
        assert!(page.len() < 10_000, "{} bytes", page.len());
        assert!(!page.contains("{{"), "{page}");
    }
}
