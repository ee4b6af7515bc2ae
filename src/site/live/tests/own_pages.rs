//! Floor 2, site: listings and the pages of errors, with the script of live reload.

use super::*;
use crate::http::{Change, edit_head};

#[test]
fn pages_of_the_server_get_the_script_and_a_policy_for_it() {
    let mut site = site(&[("a.txt", "")]);
    for target in ["/", "/missing"] {
        let page = ask(&mut site, target, NAVIGATION);
        let at = page.text().find("<head>").expect("a head") + 6;
        assert!(page.text()[at..].starts_with(TAG), "{target}");
        assert_eq!(page.text().matches(TAG).count(), 1);
        let policy = page.value("Content-Security-Policy");
        let connect = "; connect-src 'self' ws://localhost:8080";
        assert!(
            policy.contains(" 'self'") && policy.contains(connect),
            "{policy}"
        );
        assert!(policy.contains("script-src") && policy.starts_with("default-src 'none'"));
        assert!(!policy.contains("nonce"));
        let plain = ask(&mut site, target, "Accept: text/html\r\n");
        assert!(!plain.text().contains(TAG), "{target}");
        assert!(
            !plain
                .value("Content-Security-Policy")
                .contains("connect-src")
        );
        for answer in [&page, &plain] {
            assert_eq!(answer.value("Vary"), &VARY[6..VARY.len() - 2], "{target}");
        }
    }
    let list = ask(&mut site, "/", NAVIGATION);
    let same = format!("{NAVIGATION}If-None-Match: {}\r\n", list.value("ETag"));
    assert!(ask(&mut site, "/", &same).head.starts_with("HTTP/1.1 304"));
    let gzip = format!("{NAVIGATION}Accept-Encoding: gzip\r\n");
    assert!(ask(&mut site, "/", &gzip).unzipped().contains(TAG));
    assert!(site.take_warnings().is_empty(), "it is all ours");
    let json = ask(&mut site, "/missing", "Accept: application/json\r\n");
    assert_eq!(json.value("Vary"), &VARY[6..VARY.len() - 2]);
    let text = ask(&mut site, "/missing", "");
    assert_eq!(text.value("Vary"), &VARY[6..VARY.len() - 2]);
}

#[test]
fn a_long_listing_gets_the_script() {
    let tree = Tree::default();
    (0..100).for_each(|n| tree.put(&format!("{n}.txt"), "x"));
    let limits = Limits {
        listed_at_once: 0,
        ..Limits::default()
    };
    let mut site = Site::new(tree, b"index.html", &limits).with_live(SCRIPT);
    let list = ask(&mut site, "/", NAVIGATION);
    assert_eq!(list.value("Transfer-Encoding"), "chunked");
    assert_eq!(list.text().matches(TAG).count(), 1);
    assert!(list.text().contains("99.txt") && list.text().ends_with("</html>\n"));
    assert!(
        list.value("Content-Security-Policy")
            .contains("connect-src")
    );
    let head = ask_by("HEAD", &mut site, "/", NAVIGATION);
    assert_eq!(head.head, list.head);
    assert!(
        !ask(&mut site, "/", "Accept: text/html\r\n")
            .text()
            .contains(TAG)
    );
}

#[test]
fn a_page_that_tells_a_reason_to_this_machine_keeps_the_script() {
    let mut site = site(&[(".env", "secret")]);
    let text = format!("GET /.env HTTP/1.1\r\nHost: localhost\r\n{NAVIGATION}\r\n");
    let head = parsed(&text);
    let mut reply = site.answer(&RequestHead::new(&head, text.as_bytes()), UNIX_EPOCH);
    assert!(reply.is_discreet && reply.is_live);
    let before = reply.head.clone();
    reply.tell_reason();
    let Body::Bytes(page) = &reply.body else {
        panic!("a page of ours")
    };
    let page = String::from_utf8(page.to_vec()).expect("text");
    assert!(
        page.contains("dot") && page.matches(TAG).count() == 1,
        "{page}"
    );
    let fields = |head: &[u8]| edit_head(head, [Change::Remove("Content-Length")].into_iter());
    assert_eq!(fields(&reply.head), fields(&before));
}
