//! The pages of the server in a browser: the list of a directory and the page of an error, on a phone and
//! on a desk, in light and dark and in forced colours, with the keyboard alone.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use crate::chromium::{Chromium, Scheme};
use crate::harness::{Folder, Server, set_modified};

/// A site with directories, and with names and sizes that tell one order from another.
fn site() -> Folder {
    let folder = Folder::new();
    let long = format!("{}.txt", "a-long-name-".repeat(12));
    let files = [
        ("alpha.txt", 30, 3),
        ("beta.txt", 1, 1),
        ("gamma.html", 200_000, 2),
        (&long, 5, 4),
        ("خط من اليمين.txt", 6, 5),
        ("sub/deep/leaf.txt", 1, 1),
        ("sub/other.txt", 1, 1),
        ("docs/x.txt", 1, 1),
    ];
    for (name, size, day) in files {
        let path = folder.put(name, vec![b'x'; size]);
        let time = Duration::from_secs(1_700_000_000 + 86_400 * day);
        set_modified(&path, UNIX_EPOCH + time);
    }
    folder
}

/// The colours of an element and of what lies behind it, as numbers from 0 to 1 that say how bright they
/// are, and their contrast (WCAG 2.2, "relative luminance" and "contrast ratio").
const COLOURS: &str = r#"
    (() => {
        const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
        const bright = (colour) => {
            const [r, g, b] = parts(colour).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = (element) => {
            for (; element; element = element.parentElement) {
                const colour = getComputedStyle(element).backgroundColor;
                if (parts(colour)[3] !== 0) return bright(colour);
            }
            return 1;
        };
        return (element) => {
            const [a, b] = [bright(getComputedStyle(element).color), ground(element)];
            return { ground: b, contrast: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) };
        };
    })()
"#;

/// Checks that the page that is open fits the window, and that each of these elements can be read.
#[track_caller]
pub fn check_look(chromium: &Chromium, scheme: Scheme, texts: &str) {
    let width = chromium.value("[document.documentElement.scrollWidth, innerWidth]");
    assert!(
        width[0].as_u64() <= width[1].as_u64(),
        "wider than the window: {width}"
    );
    let colours = chromium.value(&format!(
        "[...document.querySelectorAll({})].map({COLOURS})",
        json!(texts)
    ));
    let colours = colours.as_array().expect("a list");
    assert!(!colours.is_empty(), "nothing is {texts}");
    for colour in colours {
        let contrast = colour["contrast"].as_f64().expect("a number");
        assert!(contrast >= 4.5, "{texts}: {colour}");
        let ground = colour["ground"].as_f64().expect("a number");
        match scheme {
            Scheme::Light => assert!(ground > 0.7, "{ground}"),
            Scheme::Dark => assert!(ground < 0.1, "{ground}"),
            Scheme::Forced => {
                let is_forced = chromium.value("matchMedia('(forced-colors: active)').matches");
                assert_eq!(is_forced, json!(true));
            }
        }
    }
}

/// Every width that the pages were made for, with every choice of colours.
fn looks() -> impl Iterator<Item = (u32, Scheme)> {
    let schemes = [Scheme::Light, Scheme::Dark, Scheme::Forced];
    [390, 1280]
        .into_iter()
        .flat_map(move |width| schemes.map(|scheme| (width, scheme)))
}

#[test]
fn a_list_can_be_read_and_touched_in_every_window_and_colour() {
    let folder = site();
    let server = Server::of(folder.path());
    let Some(chromium) = Chromium::start() else {
        return;
    };
    for (width, scheme) in looks() {
        chromium.show(width, scheme);
        for path in ["/", "/sub/deep/"] {
            chromium.open(&server.url(path));
            let texts = "td a, td:nth-child(2), td:nth-child(3), th button, .path a, #count";
            check_look(&chromium, scheme, texts);
            // The whole row leads to the file, is high enough for a finger, and does not lie below the
            // head of the table when the browser scrolls to it.
            chromium.value("document.body.style.paddingBottom = '100vh'");
            let rows = chromium.value(
                "[...document.querySelectorAll('tbody tr')].map((row) => {
                    row.scrollIntoView();
                    const { left, right, top, bottom, height } = row.getBoundingClientRect();
                    const hit = (x) => document.elementFromPoint(x, (top + bottom) / 2)?.closest('tr') === row
                        && document.elementFromPoint(x, bottom - 3)?.tagName === 'A';
                    const is_right = height >= 44 && hit(left + 13) && hit(right - 13);
                    return is_right || [left, right, top, bottom, innerWidth, innerHeight, scrollY];
                })",
            );
            let rows = rows.as_array().expect("a list");
            assert!(
                rows.len() > 1 && rows.iter().all(|row| row == true),
                "{width} {scheme:?} {path} {rows:?}"
            );
        }
        // The pictures are masks over a ground, which forced colours take away.
        let pictures = chromium.value(
            "[...document.querySelectorAll('td a')].every((a) => {
                const ground = (...of) => getComputedStyle(...of).backgroundColor;
                return ground(a, '::before') !== ground(document.body);
            })",
        );
        assert_eq!(pictures, json!(true), "{scheme:?}");
        assert_eq!(chromium.complaints(), [""; 0]);
    }
}

#[test]
fn an_error_can_be_read_in_every_window_and_colour() {
    let folder = site();
    folder.put("index.html", "home");
    let server = Server::of(folder.path());
    let Some(chromium) = Chromium::start() else {
        return;
    };
    for (width, scheme) in looks() {
        chromium.show(width, scheme);
        for (path, sentence) in [
            ("/user/5", "oneloop --spa"),
            ("/alhpa.txt", "Did you mean"),
            (&format!("/{}", "long".repeat(60)), "There is no such file"),
        ] {
            let url = server.url(path);
            chromium.open(&url);
            check_look(&chromium, scheme, "h1, h1 b, .say, .home a");
            let text = chromium.value("document.body.innerText");
            let text = text.as_str().expect("text").to_lowercase();
            assert!(text.contains(&sentence.to_lowercase()), "{text}");
            // The browser itself notes each page with such a status.
            let complaints = chromium.complaints();
            let is_status = |line: &String| line.starts_with(&url) && line.contains("404");
            assert!(
                complaints.len() == 1 && complaints.iter().all(is_status),
                "{complaints:?}"
            );
        }
    }
}

/// The names of the rows in order, separated by spaces.
fn names(chromium: &Chromium) -> String {
    let names = chromium.value(
        "[...document.querySelectorAll('tbody:not(.up) td a')]
            .map((a) => a.textContent.slice(0, 10)).filter((name) => /^[a-z]/.test(name)).join(' ')",
    );
    names.as_str().expect("text").to_owned()
}

#[test]
fn a_list_is_sorted_and_filtered_by_keyboard() {
    let folder = site();
    let server = Server::of(folder.path());
    let Some(chromium) = Chromium::start() else {
        return;
    };
    chromium.show(1280, Scheme::Light);
    chromium.open(&server.url("/"));
    let by_name = "docs/ sub/ a-long-nam alpha.txt beta.txt gamma.html";
    assert_eq!(names(&chromium), by_name);

    let sort = |column: u32, key: &str| {
        chromium.tab_to(&format!("th:nth-child({column}) button"));
        chromium.press(key);
        let order = format!("document.querySelector('th:nth-child({column})').ariaSort");
        let order = chromium.value(&order);
        (
            names(&chromium),
            order.as_str().expect("it is sorted").to_owned(),
        )
    };
    // Folders stay first. A number is sorted from the largest first, and the other way the second time.
    let by_size = "docs/ sub/ gamma.html alpha.txt a-long-nam beta.txt";
    assert_eq!(sort(2, "Enter"), (by_size.into(), "descending".into()));
    chromium.press(" ");
    let by_size = "docs/ sub/ beta.txt a-long-nam alpha.txt gamma.html";
    assert_eq!(names(&chromium), by_size);
    let by_date = "docs/ sub/ a-long-nam alpha.txt gamma.html beta.txt";
    assert_eq!(sort(3, " ").0, by_date);
    chromium.press("Enter");
    chromium.press("Enter");
    assert_eq!(names(&chromium), by_date);
    assert_eq!(sort(1, "Enter"), (by_name.into(), "ascending".into()));

    let count = || chromium.value("document.getElementById('count').textContent");
    assert_eq!(count(), json!("2 folders, 5 files"));
    chromium.press("/");
    let focus = "document.activeElement.id";
    assert_eq!(chromium.value(focus), json!("filter"));
    chromium.type_text("TA.t");
    assert_eq!(names(&chromium), "beta.txt");
    assert_eq!(count(), json!("1 of 7 names"));
    chromium.press("Escape");
    assert_eq!(names(&chromium), by_name);
    chromium.type_text("nothing like it");
    assert_eq!(
        (names(&chromium), count()),
        (String::new(), json!("0 of 7 names"))
    );
    chromium.press("Enter");
    chromium.press("Escape");
    chromium.type_text("bet");
    // A text has no icon, and the browser may look for one.
    assert_eq!(chromium.complaints(), [""; 0]);
    chromium.press("Enter");
    chromium.until("location.pathname === '/beta.txt' && document.readyState === 'complete'");
}

#[test]
fn the_way_through_the_folders_is_found_by_keyboard_and_without_scripts() {
    let folder = site();
    let server = Server::of(folder.path());
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let follow = |selector: &str, path: &str| {
        chromium.tab_to(selector);
        let outline = chromium.value(
            "[null, '::after'].some((part) => getComputedStyle(document.activeElement, part).outlineStyle !== 'none')",
        );
        assert_eq!(outline, json!(true), "the focus on {selector} shows");
        chromium.press("Enter");
        let is_there =
            format!("location.pathname === '{path}' && document.readyState === 'complete'");
        chromium.until(&is_there);
    };
    for scripts in [true, false] {
        chromium.allow_scripts(scripts);
        chromium.show(390, Scheme::Dark);
        chromium.open(&server.url("/sub/deep/"));
        follow(".path a:nth-of-type(2)", "/sub/");
        follow("td a[href='./deep/']", "/sub/deep/");
        follow(".up a", "/sub/");
        follow(".path a[aria-label='Root folder']", "/");
        follow("td a[href='./docs/']", "/docs/");
        let is_filter_shown = chromium.value("!document.getElementById('filter').hidden");
        assert_eq!(is_filter_shown, json!(scripts));
        chromium.open(&server.url("/alhpa.txt"));
        follow(".error li a", "/alpha.txt");
        chromium.open(&server.url("/nothing"));
        follow(".home a", "/");
    }
}
