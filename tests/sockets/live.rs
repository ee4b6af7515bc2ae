//! Live reload: what open pages are told when files change, and what they are not told. A page is a client
//! of WebSocket that we did not write, and asks for its files as a browser does.
//!
//! That nothing is told of a change cannot be waited for. So another change follows, of a *marker*, and the
//! page must be told of the marker alone.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::process::Command;

use rustix::fs::OFlags;
use rustix::process::Signal;
use rustix::pty::OpenptFlags;
use serde_json::{Value, json};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};

use crate::harness::{self, Folder, Server};
use crate::tcp::Stream;

/// Asks for a page as a navigation does. Returns the status.
fn navigate(server: &Server, path: &str) -> u16 {
    request(
        server,
        path,
        "Accept: text/html\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\n",
    )
}

/// Asks for a part of a page, as the page does.
fn fetch(server: &Server, path: &str, page: &str) -> u16 {
    let fields = format!(
        "Accept: */*\r\nSec-Fetch-Dest: style\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: same-origin\r\nReferer: {}\r\n",
        server.url(page)
    );
    request(server, path, &fields)
}

fn request(server: &Server, path: &str, fields: &str) -> u16 {
    let mut client = server.connect();
    let host = server.address();
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
    ));
    client.answer().status
}

/// An open page.
struct Page {
    socket: WebSocket<Stream>,
    path: String,
}

impl Page {
    /// Loads a page with its parts, and says hello. The page is up to date.
    fn open(server: &Server, path: &str, parts: &[&str]) -> Page {
        navigate(server, path);
        let mut page = Page::connect(server, path);
        let answer = page.greet(&json!({ "page": path, "age": 0 }));
        assert_eq!(answer["changes"], json!([]));
        for part in parts {
            fetch(server, part, path);
        }
        page.tokens(parts);
        page
    }

    fn connect(server: &Server, path: &str) -> Page {
        let stream = Stream::to(server.address());
        let url = server.url("/_oneloop/live").replacen("http", "ws", 1);
        let config = WebSocketConfig::default().accept_unmasked_frames(false);
        let opened = tungstenite::client::client_with_config(url, stream, Some(config));
        let (socket, _) = opened.expect("the handshake is answered");
        let path = path.to_owned();
        Page { socket, path }
    }

    fn say(&mut self, message: &Value) {
        let text = Message::text(message.to_string());
        self.socket.send(text).expect("it is taken");
    }

    fn hear(&mut self) -> Value {
        let Message::Text(text) = self.socket.read().expect("something is told") else {
            panic!("no text");
        };
        serde_json::from_str(&text).expect("it is JSON")
    }

    fn greet(&mut self, hello: &Value) -> Value {
        self.say(&json!({ "hello": hello }));
        self.hear()
    }

    /// Names what the page uses. After the answer, all of it is watched.
    fn tokens(&mut self, parts: &[&str]) -> Value {
        let used: Vec<&str> = [&*self.path]
            .into_iter()
            .chain(parts.iter().copied())
            .collect();
        self.say(&json!({ "used": used }));
        self.hear()["tokens"].take()
    }

    /// The URL paths of the changes that are told next.
    fn changed(&mut self) -> Vec<String> {
        let message = self.hear();
        let changes = message["changes"].as_array();
        let changes = changes.unwrap_or_else(|| panic!("no changes: {message}"));
        let url = |change: &Value| change["url"].as_str().expect("a path").to_owned();
        let mut urls: Vec<_> = changes.iter().map(url).collect();
        urls.sort();
        urls
    }
}

/// A site with a page, two style sheets and a marker, and the server.
fn site() -> (Folder, Server) {
    let folder = Folder::with("site/index.html", "<p>one");
    for name in ["a.css", "b.css", "marker.css"] {
        folder.put(&format!("site/{name}"), "p { color: red }");
    }
    let server = Server::of(folder.path().join("site"));
    (folder, server)
}

const PARTS: [&str; 3] = ["/a.css", "/b.css", "/marker.css"];

/// Each way in which programs save a file.
#[test]
fn each_way_to_save_a_file_is_told_once() {
    let (folder, server) = site();
    let mut page = Page::open(&server, "/", &PARTS);
    let path = folder.path().join("site/a.css");
    let aside = |name: &str| folder.path().join("site").join(name);
    type Save<'a> = &'a dyn Fn(&str);
    let ways: [(&str, Save<'_>); 9] = [
        ("in place", &|text| fs::write(&path, text).expect("ours")),
        ("appended to", &|text| {
            let mut file = fs::File::options().append(true).open(&path).expect("ours");
            file.write_all(text.as_bytes()).expect("ours");
        }),
        ("a rename over it, as gedit does", &|text| {
            let new = aside(".goutputstream-X");
            fs::write(&new, text).expect("ours");
            fs::rename(&new, &path).expect("ours");
        }),
        ("vim: a test file, a backup, a new file", &|text| {
            fs::write(aside("4913"), "").expect("ours");
            fs::remove_file(aside("4913")).expect("ours");
            fs::write(aside(".a.css.swp"), "swap").expect("ours");
            fs::rename(&path, aside("a.css~")).expect("ours");
            fs::write(&path, text).expect("ours");
            fs::remove_file(aside("a.css~")).expect("ours");
            fs::remove_file(aside(".a.css.swp")).expect("ours");
        }),
        ("JetBrains: a new file, and the old one away", &|text| {
            fs::write(aside("a.css___jb_tmp___"), text).expect("ours");
            fs::rename(&path, aside("a.css___jb_old___")).expect("ours");
            fs::rename(aside("a.css___jb_tmp___"), &path).expect("ours");
            fs::remove_file(aside("a.css___jb_old___")).expect("ours");
        }),
        ("emacs: a backup that is moved", &|text| {
            fs::rename(&path, aside("a.css~")).expect("ours");
            fs::write(&path, text).expect("ours");
        }),
        ("sed -i", &|text| {
            let script = format!("1s|^|{text}|");
            let done = Command::new("sed")
                .arg("-i")
                .arg(script)
                .arg(&path)
                .status();
            assert!(done.expect("sed is there").success());
        }),
        ("a hard link over it", &|text| {
            fs::write(aside("store"), text).expect("ours");
            fs::remove_file(&path).expect("ours");
            fs::hard_link(aside("store"), &path).expect("ours");
        }),
        ("a symbolic link in its place", &|text| {
            fs::write(aside("target"), text).expect("ours");
            fs::remove_file(&path).expect("ours");
            symlink("target", &path).expect("ours");
        }),
    ];
    for (at, (way, save)) in ways.iter().enumerate() {
        save(&format!("p {{ margin: {at}px }}"));
        assert_eq!(page.changed(), ["/a.css"], "{way}");
        // Once: the next is the marker's.
        folder.put("site/marker.css", format!("p {{ margin: {at}px }}"));
        assert_eq!(page.changed(), ["/marker.css"], "after {way}");
    }
}

#[test]
fn an_edit_without_a_change_is_not_told() {
    let (folder, server) = site();
    let mut page = Page::open(&server, "/", &PARTS);
    folder.put("site/a.css", "p { color: red }");
    let touched = Command::new("touch")
        .arg(folder.path().join("site/b.css"))
        .status();
    assert!(touched.expect("touch is there").success());
    folder.put("site/nobody-uses-it.json", "{}");
    folder.put("site/.git/index", "x");
    folder.put("site/a.css.map", "{}");
    folder.put("site/marker.css", "p {}");
    assert_eq!(page.changed(), ["/marker.css"]);
}

#[test]
fn a_burst_is_told_in_one_message() {
    let (folder, server) = site();
    let mut page = Page::open(&server, "/", &PARTS);
    folder.put("site/a.css", "p {}");
    folder.put("site/b.css", "q {}");
    folder.put("site/index.html", "<p>two");
    assert_eq!(page.changed(), ["/", "/a.css", "/b.css"]);
    folder.put("site/marker.css", "p {}");
    assert_eq!(page.changed(), ["/marker.css"]);
}

#[test]
fn a_missing_file_that_comes_is_told_with_who_asked_for_it() {
    let (folder, server) = site();
    let mut page = Page::open(&server, "/", &["/deep/er/late.css", "/marker.css"]);
    folder.put("site/deep/er/late.css", "p {}");
    let message = page.hear();
    let expected = json!([{ "url": "/deep/er/late.css", "from": ["/"] }]);
    assert_eq!(message["changes"], expected);
    // And changes of it too, in a directory that was not there.
    folder.put("site/deep/er/late.css", "q {}");
    assert_eq!(page.changed(), ["/deep/er/late.css"]);
}

#[test]
fn a_root_that_is_built_anew_is_followed() {
    let folder = Folder::with("dist/index.html", "<p>one");
    folder.put("dist/a.css", "p {}");
    let server = Server::of(folder.path().join("dist"));
    let mut page = Page::open(&server, "/", &["/a.css"]);
    let dist = folder.path().join("dist");
    // A new one is renamed to its place.
    folder.put("dist.new/index.html", "<p>two");
    folder.put("dist.new/a.css", "p {}");
    fs::rename(&dist, folder.path().join("dist.old")).expect("ours");
    fs::rename(folder.path().join("dist.new"), &dist).expect("ours");
    assert_eq!(page.changed(), ["/"]);
    folder.put("dist/a.css", "q {}");
    assert_eq!(page.changed(), ["/a.css"]);
    // Removed, and made anew: the page is told that it is waited for.
    fs::remove_dir_all(&dist).expect("ours");
    assert_eq!(page.hear(), json!({ "waiting": true }));
    folder.put("dist/a.css", "q {}");
    folder.put("dist/index.html", "<p>three");
    assert_eq!(page.hear(), json!({ "waiting": false }));
    assert_eq!(page.changed(), ["/"]);
}

#[test]
fn a_link_on_the_way_to_the_root_that_is_turned_is_followed() {
    let folder = Folder::with("releases/1/dist/index.html", "<p>one");
    folder.put("releases/2/dist/index.html", "<p>two");
    let current = folder.path().join("current");
    symlink("releases/1", &current).expect("ours");
    let server = Server::of(current.join("dist"));
    let mut page = Page::open(&server, "/", &[]);
    let turn = |target: &str| {
        let new = folder.path().join("current.new");
        symlink(target, &new).expect("ours");
        fs::rename(&new, &current).expect("ours");
    };
    turn("releases/2");
    assert_eq!(page.changed(), ["/"]);
    folder.put("releases/2/dist/index.html", "<p>edited");
    assert_eq!(page.changed(), ["/"]);
    // The old release is nothing to the page any more.
    folder.put("releases/1/dist/index.html", "<p>old");
    turn("releases/1");
    assert_eq!(page.changed(), ["/"]);
}

#[test]
fn what_a_link_leads_to_is_watched_too() {
    let folder = Folder::with("site/index.html", "<p>one");
    folder.put("site/src/deep/app.js", "1");
    folder.put("store/x", "1");
    for (target, link) in [
        ("src/deep/app.js", "app.js"),
        ("src/deep", "lib"),
        ("../store/x", "out.js"),
    ] {
        symlink(target, folder.path().join("site").join(link)).expect("ours");
    }
    let server = with(&folder, &["--follow-symlinks"]);
    let mut page = Page::open(&server, "/", &["/app.js", "/lib/app.js", "/out.js"]);
    folder.put("site/src/deep/app.js", "2");
    assert_eq!(page.changed(), ["/app.js", "/lib/app.js"]);
    folder.put("store/x", "2");
    assert_eq!(page.changed(), ["/out.js"]);
    folder.put("store/x", "3");
    assert_eq!(page.changed(), ["/out.js"]);
}

#[test]
fn links_with_the_names_that_the_server_adds_are_watched_too() {
    let folder = Folder::with("site/x", "");
    for (name, link) in [
        ("home", "index.html"),
        ("about", "about.html"),
        ("error", "404.html"),
        ("rules", "_headers"),
    ] {
        folder.put(&format!("site/src/{name}"), "/*\n");
        let target = format!("src/{name}");
        symlink(target, folder.path().join("site").join(link)).expect("ours");
    }
    let server = with(&folder, &[]);
    let mut home = Page::open(&server, "/", &["/gone.css"]);
    let mut about = Page::open(&server, "/about", &[]);
    for (name, changed) in [
        ("home", &["/"][..]),
        ("about", &["/about"]),
        ("error", &["/gone.css"]),
        ("rules", &["/", "/about", "/gone.css"]),
    ] {
        folder.put(&format!("site/src/{name}"), "/*\n  X-A: 1\n");
        assert_eq!(home.changed(), changed, "{name}");
        assert_eq!(about.changed(), changed, "{name}");
    }
}

#[test]
fn reloads_can_be_asked_for() {
    let (folder, server) = site();
    let mut pages = [
        Page::open(&server, "/", &PARTS),
        Page::open(&server, "/", &[]),
    ];
    let mut hear = |generation: u64| {
        for page in &mut pages {
            let expected = json!({ "generation": generation, "reload": true });
            assert_eq!(page.hear(), expected);
        }
    };
    let mut client = server.connect();
    client.send("POST /_oneloop/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.head().status, 204);
    hear(2);
    server.signal(Signal::HUP);
    hear(3);
    drop(folder);
}

#[test]
fn a_page_that_comes_back_is_told_what_it_has_missed() {
    let (folder, server) = site();
    let mut page = Page::open(&server, "/", &PARTS);
    let tokens = page.tokens(&PARTS);
    assert_eq!(tokens.as_object().expect("an object").len(), 4, "{tokens}");
    folder.put("site/marker.css", "p {}");
    assert_eq!(page.changed(), ["/marker.css"]);
    let again = |server: &Server, hello: Value| {
        let mut page = Page::connect(server, "/");
        page.greet(&hello)
    };
    let first = again(&server, json!({ "page": "/", "age": 0 }));
    let (instance, generation) = (&first["instance"], &first["generation"]);
    let hello = |generation: Value, used: &Value| json!({ "page": "/", "age": 9e9, "instance": instance, "generation": generation, "used": used });
    let urls = |answer: &Value| -> Vec<String> {
        let changes = answer["changes"].as_array().expect("a list");
        let url = |change: &Value| change["url"].as_str().expect("a path").to_owned();
        changes.iter().map(url).collect()
    };
    // The same generation: nothing.
    let answer = again(&server, hello(generation.clone(), &tokens));
    assert_eq!(answer["changes"], json!([]));
    // An older one: what has another token.
    let answer = again(&server, hello(json!(1), &tokens));
    assert_eq!(urls(&answer), ["/marker.css"]);
    let answer = again(&server, hello(json!(1), &Value::Null));
    assert_eq!(answer["reload"], json!(true));
    // Another run of the server.
    let root = folder.path().join("site");
    let restarted = Server::of(&root);
    let answer = again(&restarted, hello(generation.clone(), &tokens));
    assert_eq!(urls(&answer), ["/marker.css"]);
    assert_ne!(answer["instance"], *instance);
    folder.put("site/marker.css", "p { color: red }");
    let restarted = Server::of(&root);
    let answer = again(&restarted, hello(generation.clone(), &tokens));
    assert_eq!((urls(&answer), answer.get("reload")), (vec![], None));
}

#[test]
fn a_change_between_the_request_and_the_hello_is_told() {
    let (folder, server) = site();
    let mut other = Page::open(&server, "/", &PARTS);
    navigate(&server, "/");
    folder.put("site/a.css", "p {}");
    assert_eq!(other.changed(), ["/a.css"]);
    let mut page = Page::connect(&server, "/");
    let answer = page.greet(&json!({ "page": "/", "age": 60_000 }));
    assert_eq!(answer["changes"][0]["url"], json!("/a.css"));
    let answer = page.greet(&json!({ "page": "/", "age": 0 }));
    assert_eq!(answer["changes"], json!([]));
}

#[test]
fn what_is_no_message_is_ignored_and_what_is_too_large_closes() {
    let (_folder, server) = site();
    let mut page = Page::open(&server, "/", &[]);
    for text in ["", "x", "{}", "{\"used\":7}", "{\"hello\":{}}", "[[[["] {
        page.socket.send(Message::text(text)).expect("it is taken");
    }
    page.socket
        .send(Message::binary(vec![0; 9]))
        .expect("it is taken");
    assert!(page.tokens(&[]).is_object());
    let long = " ".repeat(200_000);
    page.socket.send(Message::text(long)).expect("it is taken");
    let Message::Close(Some(said)) = page.socket.read().expect("it is answered") else {
        panic!("no close");
    };
    assert_eq!(u16::from(said.code), 1008);
    let end = page.socket.read().expect_err("it is over");
    assert!(matches!(end, Error::ConnectionClosed), "{end}");
    let mut page = Page::open(&server, "/", &[]);
    assert!(page.tokens(&[]).is_object());
}

fn with(folder: &Folder, flags: &[&str]) -> Server {
    let root = folder.path().join("site");
    let flags = [&["--log", "off"], flags].concat();
    Server::with(root, &flags)
}

#[test]
fn ignored_files_are_not_told_of() {
    let (folder, _) = site();
    let server = with(&folder, &["--ignore", "a.*", "--ignore", "sub/**"]);
    let mut page = Page::open(&server, "/", &["/a.css", "/sub/x.css", "/marker.css"]);
    folder.put("site/a.css", "p {}");
    folder.put("site/sub/x.css", "p {}");
    folder.put("site/marker.css", "p {}");
    assert_eq!(page.changed(), ["/marker.css"]);
}

#[test]
fn any_change_reloads_if_all_counts() {
    let (folder, _) = site();
    folder.put("site/sub/dir/x", "x");
    folder.put("src/deep/x", "x");
    let source = folder.path().join("src");
    let source = source.to_str().expect("it is text");
    for (flags, names) in [
        (
            &["--live=all"][..],
            &["site/nobody", "site/sub/dir/x", "site/new/x"][..],
        ),
        (&["--watch", source], &["src/x", "src/deep/x"]),
    ] {
        let server = with(&folder, flags);
        let mut page = Page::open(&server, "/", &[]);
        for (at, name) in names.iter().enumerate() {
            folder.put(name, format!("{flags:?}"));
            let expected = json!({ "generation": at + 2, "reload": true });
            assert_eq!(page.hear(), expected, "{name}");
        }
    }
}

#[test]
fn a_tree_that_is_too_large_is_named_once() {
    let (folder, _) = site();
    let many = folder.path().join("many");
    for number in 0..4_100 {
        fs::create_dir_all(many.join(number.to_string())).expect("ours");
    }
    let mut server = with(&folder, &["--watch", many.to_str().expect("it is text")]);
    let told = server.stderr.find("warning: not all of ");
    assert!(
        told.starts_with(&format!("{} is", many.display())),
        "{told}"
    );
    let mut page = Page::open(&server, "/", &[]);
    for name in ["new", "newer"] {
        fs::create_dir(many.join(name)).expect("ours");
        assert_eq!(page.hear()["reload"], json!(true));
        let line = server.stderr.next().expect("a line");
        assert!(line.starts_with("reloaded 1 page"), "{line}");
    }
}

#[test]
fn files_are_polled_if_that_is_asked_for() {
    let (folder, _) = site();
    let server = with(&folder, &["--poll"]);
    let mut page = Page::open(&server, "/", &PARTS);
    folder.put("site/a.css", "p {}");
    assert_eq!(page.changed(), ["/a.css"]);
    folder.put("site/b.css", "p { color: red }");
    folder.put("site/marker.css", "p {}");
    assert_eq!(page.changed(), ["/marker.css"]);
}

#[test]
fn files_are_polled_if_no_descriptor_is_left_to_watch_them() {
    let (folder, _) = site();
    let mut server = with(&folder, &[]);
    let mut client = server.connect();
    client.get("/none");
    server.allow_descriptors(5);
    let idle: Vec<_> = (0..5)
        .map(|_| {
            let mut idle = server.connect();
            idle.get("/none");
            idle
        })
        .collect();
    client.ask(
        "/",
        &["Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
    );
    let said = server
        .stderr
        .find("warning: live reload looks at the files twice a second, because ");
    assert!(said.contains("max_user_instances"), "{said}");
    drop(idle);
    let mut page = Page::open(&server, "/", &PARTS);
    folder.put("site/a.css", "p {}");
    assert_eq!(page.changed(), ["/a.css"]);
}

#[test]
fn without_live_reload_nothing_is_there_and_a_hangup_ends_the_server() {
    let (folder, _) = site();
    let mut server = with(&folder, &["--no-live"]);
    assert_eq!(navigate(&server, "/_oneloop/live"), 404);
    fetch(&server, "/a.css", "/");
    let folder = format!("/proc/{}/fd", server.process.pid().as_raw_pid());
    let links = fs::read_dir(folder).expect("it runs").flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    for target in targets {
        assert_ne!(target.to_str(), Some("anon_inode:inotify"));
    }
    server.signal(Signal::HUP);
    assert_eq!(server.process.code(), None);
}

#[test]
fn people_read_in_the_log_what_was_reloaded() {
    let (folder, _) = site();
    let mut server = with(&folder, &[]);
    let mut pages = [
        Page::open(&server, "/", &PARTS),
        Page::open(&server, "/", &PARTS),
    ];
    folder.put("site/a.css", "p {}");
    for page in &mut pages {
        assert_eq!(page.changed(), ["/a.css"]);
    }
    assert_eq!(server.stderr.find("reloaded "), "2 pages: a.css");
}

#[test]
fn pages_that_say_nothing_and_service_workers_are_named_once() {
    let (folder, _) = site();
    folder.put("site/worker.js", "1");
    let mut server = with(&folder, &[]);
    let fields = "Service-Worker: script\r\nSec-Fetch-Dest: serviceworker\r\nSec-Fetch-Mode: same-origin\r\n";
    for _ in 0..2 {
        request(&server, "/worker.js", fields);
    }
    let told = server.stderr.find("warning: a browser installs ");
    assert!(told.starts_with("the service worker /worker.js"), "{told}");
    request(&server, "/no-file.js", fields);
    let told = server.stderr.find("warning: a browser has ");
    let expected = "the service worker /no-file.js of another site";
    assert!(told.starts_with(expected), "{told}");
    let mut page = Page::open(&server, "/", &PARTS);
    navigate(&server, "/none");
    navigate(&server, "/none");
    // The next line is not about the worker, nor about the page that has said hello.
    let told = server.stderr.next().expect("a line");
    assert!(
        told.starts_with("warning: live reload did not start on /none "),
        "{told}"
    );
    folder.put("site/a.css", "p {}");
    assert_eq!(page.changed(), ["/a.css"]);
    assert_eq!(
        server.stderr.next().expect("a line"),
        "reloaded 1 page: a.css"
    );
}

/// A terminal that is controlled by the test: what a person types, and the standard input of a program.
pub fn terminal() -> (fs::File, fs::File) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let person = rustix::pty::openpt(flags).expect("a terminal is left");
    rustix::pty::unlockpt(&person).expect("it is ours");
    let name = rustix::pty::ptsname(&person, Vec::new()).expect("it has a name");
    let mut options = fs::File::options();
    let name = name.to_str().expect("it is text");
    let options = options.read(true).write(true);
    let input = options
        .custom_flags(OFlags::NOCTTY.bits() as i32)
        .open(name);
    (person.into(), input.expect("it is ours"))
}

#[test]
fn a_line_at_the_terminal_reloads_and_its_end_stops_the_server() {
    let (folder, _) = site();
    let (mut person, input) = terminal();
    // The program becomes the leader of a session with this terminal, as a shell is.
    let mut command = Command::new("setsid");
    let program = harness::program();
    let root = folder.path().join("site");
    command.arg("--ctty").arg(program.get_program()).arg(root);
    command.args(["--port", "0", "--log", "off"]);
    let mut server = Server::with_input(&mut command, input.into());
    let mut page = Page::open(&server, "/", &PARTS);
    person.write_all(b"x\nrr\n r\n").expect("it is taken");
    assert_eq!(page.hear(), json!({ "generation": 2, "reload": true }));
    server.signal(Signal::HUP);
    assert_eq!(page.hear(), json!({ "generation": 3, "reload": true }));
    // The end of the input is not the end of the server.
    person.write_all(b"\x04").expect("it is taken");
    folder.put("site/a.css", "p {}");
    assert_eq!(page.changed(), ["/a.css"]);
    // The terminal is closed.
    drop(person);
    assert_eq!(server.process.code(), Some(0));
}
