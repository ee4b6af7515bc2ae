//! The first page in a browser.

use std::path::Path;

use crate::harness::{Folder, Process, Server, outside};

/// The page fills itself with the browser's own record of loading. The filled document proves that
/// page, style sheet and module came, whole and with types that a browser accepts: a module with a
/// wrong type would not run.
#[test]
fn the_first_page_runs_in_a_browser() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("www");
    let mut server = Server::with(root, &["--log", "combined"]);
    let Some(dom) = dom_of(&server.url("/")) else {
        return;
    };

    let address = server.address();
    assert!(dom.contains(r#"<div id="measured">"#), "not hidden: {dom}");
    assert!(dom.contains(&format!("from {address}: ")), "{dom}");
    for name in ["style.css", "main.js", "favicon.svg"] {
        assert!(
            dom.contains(&format!("<span>{name}</span>")),
            "{name}: {dom}"
        );
    }
    assert!(
        dom.contains(&format!("http://{address}")),
        "in the commands: {dom}"
    );

    rustix::process::kill_process(server.process.pid(), rustix::process::Signal::TERM)
        .expect("it is our child");
    let mut lines = Vec::new();
    while let Some(line) = server.stdout.next() {
        lines.push(line);
    }
    let targets = [
        "/",
        "/style.css",
        "/dom.js",
        "/link.js",
        "/main.js",
        "/echo.js",
        "/chat.js",
        "/favicon.svg",
    ];
    for target in targets {
        let request = format!("\"GET {target} HTTP/1.1\" 200 ");
        let found = lines.iter().any(|line| line.contains(&request));
        assert!(found, "{target} was not asked for: {lines:#?}");
    }
}

/// A page on another origin embeds a script of the server. The browser tells the server so, in
/// fields that no page can forge.
#[test]
fn a_script_is_not_for_the_pages_of_strangers() {
    let ours = Folder::with("x.js", "document.documentElement.id = 'ran';");
    let ours = Server::of(ours.path());
    let port = ours.address().port();
    let page = format!(
        "<!DOCTYPE html><script src=http://localhost:{port}/x.js \
         onerror=\"document.documentElement.id = 'refused'\"></script>"
    );
    let theirs = Folder::with("index.html", page);
    let flags = ["--allow-host", "stranger.example", "--log", "off"];
    let theirs = Server::with(theirs.path(), &flags);
    let by_address = theirs.url("/");
    let by_name = |name| by_address.replace("127.0.0.1", name);
    for (url, id) in [
        (by_name("stranger.example"), "refused"),
        (by_name("localhost"), "ran"),
        (by_address.clone(), "ran"),
    ] {
        let Some(dom) = dom_of(&url) else {
            return;
        };
        assert!(dom.contains(&format!("<html id=\"{id}\">")), "{url}: {dom}");
    }
}

/// Loads a page in Chromium, and returns the document after its scripts have run. `None` if there
/// is no Chromium.
fn dom_of(url: &str) -> Option<String> {
    let mut chromium = outside("chromium")?;
    let profile = Folder::new();
    chromium.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        // A page of a stranger whose server is on this machine too.
        "--host-resolver-rules=MAP stranger.example 127.0.0.1",
    ]);
    let mut flag = std::ffi::OsString::from("--user-data-dir=");
    flag.push(profile.path());
    chromium.args([flag.as_os_str(), "--dump-dom".as_ref()]);
    chromium.arg(url);
    // Chromium writes to its home, besides the profile.
    chromium.env("HOME", profile.path());
    let shown = Process::start(&mut chromium).finish();
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    Some(shown.stdout)
}
