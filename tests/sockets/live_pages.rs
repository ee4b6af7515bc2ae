//! Live reload as a developer sees it: the real program, a real browser, and files that are saved as
//! editors and builds save them.
//!
//! Each page counts how often it was loaded, in the session storage of its tab. A stylesheet or an image
//! must change without a load, and an edit of a page must cost one load and not two.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::chromium::Chromium;
use crate::harness::{Folder, Server, outside, program};

/// A page that counts its loads, with this content in its body.
fn page(title: &str, head: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>{title}</title>\
         <link rel=icon href=data:,>\
         <script>sessionStorage.loads = (+sessionStorage.loads || 0) + 1</script>{head}</head>\
         <body>{body}</body></html>"
    )
}

/// The number of loads that the tab has counted since it was last asked.
fn loads(chromium: &Chromium) -> u64 {
    let loads = chromium.value(
        "(() => { const n = +sessionStorage.loads || 0; sessionStorage.loads = 0; return n })()",
    );
    loads.as_u64().expect("a number")
}

/// Waits until the page knows what its files were when it was loaded, after which it can compare.
fn await_tokens(chromium: &Chromium) {
    chromium.await_frame("\"tokens\"");
}

/// An image of this width.
fn image(width: u32) -> String {
    format!("<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='10'/>")
}

/// Saves as many editors do: another file takes the name.
fn save_by_rename(path: &Path, content: &str) {
    let beside = path.with_extension("tmp~");
    fs::write(&beside, content).unwrap();
    fs::rename(&beside, path).unwrap();
}

/// Saves as vim does with `backupcopy=no`: a probe, the old file to a backup, a new file, no backup.
fn save_like_vim(path: &Path, content: &str) {
    let probe = path.with_file_name("4913");
    fs::write(&probe, "").unwrap();
    fs::remove_file(&probe).unwrap();
    let mut backup = path.as_os_str().to_owned();
    backup.push("~");
    fs::rename(path, &backup).unwrap();
    fs::write(path, content).unwrap();
    fs::remove_file(&backup).unwrap();
}

/// Saves as the editors of JetBrains do: a new file beside, the old one away, the new one in its place.
fn save_like_jetbrains(path: &Path, content: &str) {
    let with = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        name
    };
    fs::write(with("___jb_tmp___"), content).unwrap();
    fs::rename(path, with("___jb_old___")).unwrap();
    fs::rename(with("___jb_tmp___"), path).unwrap();
    fs::remove_file(with("___jb_old___")).unwrap();
}

#[test]
fn a_stylesheet_and_an_image_change_without_a_load() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let folder = Folder::new();
    let head = "<link rel=stylesheet href=app.css><link rel=stylesheet href=base.css>";
    let body = "<div style='height: 3000px'><p>text</p><img src=logo.svg><div id=host></div></div>\
        <script>host.attachShadow({ mode: 'open' }).innerHTML = '<link rel=stylesheet href=part.css><b>b</b>'</script>";
    folder.put("index.html", page("one", head, body));
    folder.put("app.css", "p { color: rgb(1, 0, 0) }");
    folder.put(
        "base.css",
        "@import 'deep.css' layer(x) supports(display: block);",
    );
    folder.put("deep.css", "p { margin-left: 1px }");
    folder.put("part.css", "b { color: rgb(1, 0, 0) }");
    folder.put("logo.svg", image(10));
    let server = Server::of(folder.path());
    chromium.open(&server.url("/"));
    chromium.until("document.readyState === 'complete'");
    chromium.value("scrollTo(0, 700), window.mark = 1");
    loads(&chromium);

    folder.put("app.css", "p { color: rgb(2, 0, 0) }");
    chromium.until("getComputedStyle(document.querySelector('p')).color === 'rgb(2, 0, 0)'");
    save_like_vim(&folder.path().join("app.css"), "p { color: rgb(3, 0, 0) }");
    chromium.until("getComputedStyle(document.querySelector('p')).color === 'rgb(3, 0, 0)'");
    folder.put("deep.css", "p { margin-left: 2px }");
    chromium.until("getComputedStyle(document.querySelector('p')).marginLeft === '2px'");
    save_by_rename(&folder.path().join("part.css"), "b { color: rgb(2, 0, 0) }");
    chromium.until("getComputedStyle(host.shadowRoot.querySelector('b')).color === 'rgb(2, 0, 0)'");
    folder.put("logo.svg", image(20));
    chromium.until("document.querySelector('img').naturalWidth === 20");
    let kept = chromium.value("[window.mark, scrollY, document.querySelectorAll('link').length]");
    assert_eq!(kept, json!([1, 700, 3]));
    assert_eq!(loads(&chromium), 0);
    assert_eq!(chromium.complaints(), [""; 0]);
}

/// A way to save a file: its path, and its new content.
type Way<'a> = &'a dyn Fn(&Path, &str);

#[test]
fn an_edit_of_a_page_is_one_load_however_it_is_saved() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let folder = Folder::new();
    let body = "<form><input name=a><input name=b></form><div style='height: 3000px'></div>";
    let path = folder.put("index.html", page("0", "", body));
    folder.put("other.txt", "never asked for");
    let server = Server::of(folder.path());
    chromium.open(&server.url("/"));
    chromium.until("document.readyState === 'complete'");
    chromium
        .value("document.forms[0].a.value = 'half', document.forms[0].a.focus(), scrollTo(0, 500)");
    loads(&chromium);
    let in_place = |path: &Path, content: &str| fs::write(path, content).unwrap();
    let by_sed = |path: &Path, content: &str| {
        let title = content.split_once("<title>").unwrap().1;
        let title = title.split_once('<').unwrap().0;
        let mut sed = outside("sed").expect("every Linux has it");
        sed.arg("-i")
            .arg(format!("s|<title>.*</title>|<title>{title}</title>|"));
        let status = sed.arg(path).stdin(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()));
    };
    let ways: [Way; 5] = [
        &in_place,
        &save_by_rename,
        &save_like_vim,
        &save_like_jetbrains,
        &by_sed,
    ];
    for (n, save) in ways.into_iter().enumerate() {
        // A file that no page has asked for makes no difference.
        folder.put("other.txt", n.to_string());
        save(&path, &page(&format!("edit {n}"), "", body));
        chromium.until(&format!("document.title === 'edit {n}' && scrollY === 500"));
        chromium.until("document.readyState === 'complete'");
        assert_eq!(loads(&chromium), 1, "way {n}");
        let kept = "[document.forms[0].a.value, document.activeElement.name]";
        assert_eq!(chromium.value(kept), json!(["half", "a"]), "way {n}");
    }
    // The same bytes again are no edit: the next edit is told alone.
    save_by_rename(&path, &fs::read_to_string(&path).unwrap());
    chromium.value("window.mark = 1");
    folder.put("index.html", page("last", "", body));
    chromium.until("document.title === 'last'");
    chromium.until("document.readyState === 'complete'");
    assert_eq!(loads(&chromium), 1);
}

/// A build that rests so long may be over: the server waits 150 ms.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Removes all that a build has made, and makes it anew: the page first, and its parts after it, or
/// the other way round. Returns whether the build went on without a pause that could be taken for its end:
/// on a machine with much else to do, it may not.
fn build(root: &Path, n: usize) -> bool {
    let (mut last, mut is_steady) = (Instant::now(), true);
    let mut goes_on = || {
        is_steady &= last.elapsed() < PAUSE_MAX;
        last = Instant::now();
    };
    let assets = root.join("assets");
    if root.exists() {
        fs::remove_dir_all(root).unwrap();
    }
    fs::create_dir_all(&assets).unwrap();
    let head = format!("<script type=module src=assets/app-{n}.js></script>");
    let write_page = || fs::write(root.join("index.html"), page("built", &head, "")).unwrap();
    goes_on();
    if n.is_multiple_of(2) {
        write_page();
    }
    for part in 0..50 {
        goes_on();
        fs::write(
            assets.join(format!("part-{part}-{n}.js")),
            vec![b' '; 20_000],
        )
        .unwrap();
    }
    let script = format!("import './part-7-{n}.js'; document.title = 'build {n}'");
    fs::write(assets.join(format!("app-{n}.js")), script).unwrap();
    if !n.is_multiple_of(2) {
        write_page();
    }
    goes_on();
    is_steady
}

#[test]
fn ten_builds_are_ten_loads_and_never_an_error() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let folder = Folder::new();
    let root = folder.path().join("dist");
    build(&root, 0);
    let server = Server::of(&root);
    chromium.open(&server.url("/"));
    chromium.until("document.title === 'build 0'");
    chromium.until("document.readyState === 'complete'");
    loads(&chromium);
    let mut was_steady = true;
    for n in 1..=10 {
        let is_steady = build(&root, n);
        // The second load of a build that has rested may come late.
        let is_judged = std::mem::replace(&mut was_steady, is_steady) && is_steady;
        chromium.until(&format!("document.title === 'build {n}'"));
        chromium.until("document.readyState === 'complete'");
        let loads = loads(&chromium);
        assert!(loads == 1 || !is_judged, "build {n}: {loads} loads");
    }
    assert_eq!(chromium.complaints(), [""; 0]);
}

#[test]
fn a_root_that_is_moved_or_linked_anew_is_followed() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let folder = Folder::new();
    for release in ["a", "b", "c"] {
        folder.put(
            &format!("releases/{release}/index.html"),
            page(release, "", ""),
        );
    }
    let current = folder.path().join("current");
    symlink("releases/a", &current).unwrap();
    let server = Server::of(&current);
    chromium.open(&server.url("/"));
    chromium.until("document.readyState === 'complete'");
    loads(&chromium);
    // A new link takes the name of the old one.
    let next = folder.path().join("next");
    symlink("releases/b", &next).unwrap();
    fs::rename(&next, &current).unwrap();
    chromium.until("document.title === 'b'");
    chromium.until("document.readyState === 'complete'");
    assert_eq!(loads(&chromium), 1);
    // The directory behind the link is changed for another one.
    let b = folder.path().join("releases/b");
    fs::rename(&b, folder.path().join("releases/old")).unwrap();
    fs::rename(folder.path().join("releases/c"), &b).unwrap();
    chromium.until("document.title === 'c'");
    chromium.until("document.readyState === 'complete'");
    assert_eq!(loads(&chromium), 1);
    // And the files in it are watched.
    folder.put("releases/b/index.html", page("edit", "", ""));
    chromium.until("document.title === 'edit'");
}

/// The program on a port that it had before.
fn again(root: &Path, port: u16) -> Server {
    let mut command = program();
    command
        .arg(root)
        .args(["--port", &port.to_string(), "--log", "off"]);
    Server::from(&mut command)
}

#[test]
fn a_server_that_comes_back_reloads_only_what_has_changed() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let folder = Folder::new();
    folder.put(
        "index.html",
        page("one", "<link rel=stylesheet href=app.css>", ""),
    );
    folder.put("app.css", "body { color: rgb(1, 0, 0) }");
    let server = Server::of(folder.path());
    let port = server.address().port();
    chromium.open(&server.url("/"));
    await_tokens(&chromium);
    loads(&chromium);
    drop(server);
    let server = again(folder.path(), port);
    chromium.value("window.dispatchEvent(new Event('focus'))");
    chromium.await_frame("\"instance\"");
    assert_eq!(loads(&chromium), 0);
    drop(server);
    folder.put("index.html", page("two", "", ""));
    let _server = again(folder.path(), port);
    chromium.value("window.dispatchEvent(new Event('focus'))");
    chromium.until("document.title === 'two'");
    assert_eq!(loads(&chromium), 1);
}

#[test]
fn a_missing_page_that_appears_is_shown() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let folder = Folder::with("index.html", "home");
    let server = Server::of(folder.path());
    chromium.open(&server.url("/new/page.html"));
    chromium.until("document.body.innerText.includes('404')");
    chromium.until("document.readyState === 'complete'");
    folder.put("new/page.html", page("it is here", "", ""));
    chromium.until("document.title === 'it is here'");
}

#[test]
fn a_policy_of_the_site_does_not_stop_live_reload() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    for (header, meta) in [
        ("default-src 'self'", ""),
        ("default-src 'none'; style-src 'self'", ""),
        (
            "script-src 'sha256-AAAA'; connect-src https://example.org",
            "",
        ),
        ("", "default-src 'none'; connect-src 'none'"),
    ] {
        let folder = Folder::new();
        let meta = match meta {
            "" => String::new(),
            meta => format!("<meta http-equiv=Content-Security-Policy content=\"{meta}\">"),
        };
        folder.put(
            "index.html",
            format!("<!doctype html><title>one</title>{meta}<p>x"),
        );
        if !header.is_empty() {
            folder.put(
                "_headers",
                format!("/*\n  Content-Security-Policy: {header}\n"),
            );
        }
        let server = Server::of(folder.path());
        chromium.open(&server.url("/"));
        chromium.until("document.readyState === 'complete'");
        folder.put("index.html", "<!doctype html><title>two</title><p>x");
        chromium.until("document.title === 'two'");
    }
}

/// Opens a page, and waits until the server knows what the page uses.
fn open(chromium: &Chromium, url: &str) {
    chromium.open(url);
    await_tokens(chromium);
    loads(chromium);
}

#[test]
fn a_page_that_the_browser_has_kept_is_new_when_the_user_goes_back() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let folder = Folder::new();
    // Such a page is not kept as it was, but loaded from the cache of the browser without a question.
    let unloads = "<script>onunload = () => 0</script>";
    folder.put("index.html", page("one", "", unloads));
    folder.put("other.html", page("other", "", ""));
    let server = Server::of(folder.path());
    open(&chromium, &server.url("/"));
    let go_back = || {
        chromium.value("history.back()");
        chromium.until("document.title !== 'other' && document.readyState === 'complete'");
    };
    open(&chromium, &server.url("/other.html"));
    go_back();
    await_tokens(&chromium);
    assert_eq!(chromium.value("performance.navigation.type"), json!(2));
    assert_eq!(loads(&chromium), 1, "nothing has changed");
    open(&chromium, &server.url("/other.html"));
    folder.put("index.html", page("two", "", unloads));
    chromium.await_frame("\"changes\":[{");
    go_back();
    chromium.until("document.title === 'two'");
}

#[test]
fn a_reload_shows_all_files_new_though_browsers_may_keep_them() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    for (flags, rules) in [
        (&["--max-age", "3600"][..], ""),
        (&["--header", "Cache-Control: max-age=3600"], ""),
        (&[], "/*\n  Cache-Control: max-age=3600, immutable\n"),
    ] {
        let folder = Folder::new();
        let head = "<link rel=stylesheet href=app.css><script src=app.js></script>\
            <script type=module src=main.js></script>";
        folder.put("index.html", page("one", head, ""));
        folder.put("app.css", "body { color: rgb(1, 0, 0) }");
        folder.put("app.js", "var app = 1");
        folder.put(
            "main.js",
            "import { part } from './part.js'; self.main = part",
        );
        folder.put("part.js", "export const part = 1");
        folder.put("_headers", rules);
        let server = Server::with(folder.path(), &[flags, &["--log", "off"]].concat());
        open(&chromium, &server.url("/"));
        folder.put("app.js", "var app = 2");
        chromium.until("window.app === 2");
        await_tokens(&chromium);
        folder.put("part.js", "export const part = 2");
        chromium.until("window.main === 2");
        await_tokens(&chromium);
        folder.put("app.css", "body { color: rgb(2, 0, 0) }");
        chromium.until("getComputedStyle(document.body).color === 'rgb(2, 0, 0)'");
        folder.put("index.html", page("two", head, ""));
        chromium.until("document.title === 'two' && document.readyState === 'complete'");
        let shown = "[app, main, getComputedStyle(document.body).color]";
        assert_eq!(chromium.value(shown), json!([2, 2, "rgb(2, 0, 0)"]));
        chromium.open("about:blank");
    }
}

#[test]
fn any_markup_in_any_encoding_is_followed() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let wide = |text: &str, mark: u16, bytes: fn(u16) -> [u8; 2]| {
        let units = [mark].into_iter().chain(text.encode_utf16());
        units.flat_map(bytes).collect::<Vec<u8>>()
    };
    let narrow = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<u8>>();
    let words = page("gr\u{f6}\u{df}e", "", "");
    let declared = words.replace("charset=utf-8", "charset=windows-1252");
    let pages: [(&str, Vec<u8>); 10] = [
        ("utf-16le", wide(&words, 0xfeff, u16::to_le_bytes)),
        ("utf-16be", wide(&words, 0xfeff, u16::to_be_bytes)),
        ("windows-1252", narrow(&declared)),
        ("no-tags", b"a text".to_vec()),
        ("empty", Vec::new()),
        (
            "string",
            b"<!doctype html><script>s = '</body></head></html>'</script><p>".to_vec(),
        ),
        ("comment", b"<!doctype html><!-- <head> --><p>x<!-- ".to_vec()),
        ("textarea", b"<p><textarea><div><svg><select>".to_vec()),
        ("script", b"<script>if (".to_vec()),
        (
            "written",
            b"<script>onload = () => { document.open(); document.write('<p>new'); document.close() }</script>"
                .to_vec(),
        ),
    ];
    let folder = Folder::new();
    let server = Server::of(folder.path());
    for (name, content) in pages {
        folder.put(&format!("{name}.html"), &content);
        open(&chromium, &server.url(&format!("/{name}.html")));
        if matches!(name, "utf-16le" | "utf-16be" | "windows-1252") {
            assert_eq!(chromium.value("document.title"), json!("gr\u{f6}\u{df}e"));
        }
        if name == "string" {
            assert_eq!(chromium.value("s.length"), json!(21));
        }
        folder.put(&format!("{name}.html"), page("edited", "", ""));
        chromium.until("document.title === 'edited'");
        chromium.until("document.readyState === 'complete'");
        assert_eq!(loads(&chromium), 1, "{name}");
    }
}

#[test]
fn pages_that_answer_for_other_paths_are_followed() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let folder = Folder::new();
    let field = "<input id=field>";
    folder.put("index.html", page("app", "", field));
    let flags = ["--spa", "--isolate", "--cors", "--log", "off"];
    let server = Server::with(folder.path(), &flags);
    open(&chromium, &server.url("/users/42"));
    folder.put("index.html", page("app 2", "", field));
    chromium.until("document.title === 'app 2' && document.readyState === 'complete'");
    await_tokens(&chromium);
    // The path of the page is another than the one that it was loaded from.
    chromium.value("history.pushState(0, '', '/about'), field.value = 'typed'");
    folder.put("index.html", page("app 3", "", field));
    chromium.until("document.title === 'app 3' && document.readyState === 'complete'");
    chromium.until("self.field?.value === 'typed'");
    assert_eq!(chromium.value("location.pathname"), json!("/about"));
    assert_eq!(loads(&chromium), 2);

    // A list of files, and then an index in its place.
    let folder = Folder::with("a.txt", "a");
    let server = Server::of(folder.path());
    open(&chromium, &server.url("/"));
    folder.put("new.txt", "");
    chromium.until("document.body?.innerText.includes('new.txt')");
    await_tokens(&chromium);
    folder.put("index.html", page("index", "", ""));
    chromium.until("document.title === 'index'");

    // The page for what is missing.
    let folder = Folder::with("404.html", page("missing", "", ""));
    let server = Server::of(folder.path());
    open(&chromium, &server.url("/no/such/page"));
    folder.put("404.html", page("missing 2", "", ""));
    chromium.until("document.title === 'missing 2'");
}
