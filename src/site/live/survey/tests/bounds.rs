//! Floor 2, site: the bounds of what is kept of uses, of what is told of them, and of the work.

use super::page::{Page, SITE};

#[test]
fn the_uses_are_bounded_and_what_is_asked_for_stays() {
    let mut page = Page::new(SITE);
    for number in 0..5_000 {
        page.load(&format!("/{number}{}", "x".repeat(number % 1_000)), "/");
        if number % 100 == 0 {
            page.load("/app.css", "/");
        }
    }
    page.rest();
    assert!(page.site.token("/app.css", false).is_some());
    assert!(page.site.token("/0", false).is_none());
    page.tree.save("app.css", b"another");
    assert_eq!(page.survey(), ["/app.css"]);
    let uses = page.site.uses.as_ref().expect("it has some");
    let bytes: usize = uses.all.iter().map(|(_, one)| one.path.len()).sum();
    assert!(uses.all.len() <= 4096 && bytes < 3 << 20, "{bytes}");
}

#[test]
fn the_files_that_nobody_takes_are_bounded() {
    let mut page = Page::new(SITE);
    for number in 0..100 {
        page.load(&format!("/{number}.css"), "/");
    }
    for _ in 0..400 {
        page.survey();
    }
    let walked = page.site.take_walked_files().len();
    assert!((1_000..20_000).contains(&walked), "{walked}");
}

#[test]
fn referrers_hold_no_more_memory_than_the_uses_may() {
    let mut page = Page::new(SITE);
    page.load("/app.css", "/");
    for n in 0..1_000 {
        page.load(&format!("/{n}.css"), "/");
    }
    // No use is added any more.
    for k in 0..20 {
        let from = format!("/{k}{}", "a".repeat(7_000));
        for n in 0..1_000 {
            page.load(&format!("/{n}.css"), &from);
        }
    }
    let uses = page.site.uses.as_ref().expect("there are uses");
    assert!(uses.bytes < 5 << 20, "{}", uses.bytes);
    assert!(uses.all.iter().any(|(_, one)| one.by_any));
}

#[test]
fn what_is_told_of_referrers_is_bounded() {
    let mut page = Page::new(SITE);
    // Each of a few pages with long paths has led to a style sheet, and that to all others.
    for k in 0..50 {
        page.load("/app.css", &format!("/{k}{}", "a".repeat(7_000)));
    }
    for n in 0..500 {
        page.load(&format!("/{n}.css"), "/app.css");
    }
    page.rest();
    for n in 0..500 {
        page.tree.save(&format!("{n}.css"), b"p {}");
    }
    assert_eq!(page.survey().len(), 500);
    let changes = page.site.survey_outcome().changes;
    let names = changes.iter().flat_map(|change| &change.from);
    let bytes: usize = names.map(String::len).sum();
    assert!(bytes < 1 << 20, "{bytes}");
    // What is not told in full is told as concerning all.
    assert!(
        changes
            .iter()
            .all(|change| change.any || change.from.len() == 51)
    );
}

#[test]
fn a_name_in_a_directory_is_judged_without_a_look_at_each_use() {
    let mut page = Page::new(SITE);
    for n in 0..1_000 {
        page.load(&format!("/docs/{n}.css"), "/");
    }
    let (is_concerned, work) = page.site.concerns(b"docs", b"7.css");
    assert!(is_concerned && work > 1_000 / 64, "{work}");
    for (name, expected) in [("7.css~", true), ("999.css", true), ("a.css", false)] {
        let judged = page.site.concerns(b"docs", name.as_bytes());
        assert_eq!(judged, (expected, 1), "{name}");
    }
    // A new use counts at once.
    page.load("/docs/a.css", "/");
    assert!(page.site.concerns(b"docs", b"a.css").0);
}
