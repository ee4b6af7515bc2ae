//! The server as seen by curl, an independent client.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::{CURL_FLAGS, Finished, Folder, Process, Server, outside, set_modified};

/// Runs curl on a URL of `server`; `None` if curl is not installed.
pub fn curl(server: &Server, flags: &[&str], path: &str) -> Option<Finished> {
    let mut command = outside("curl")?;
    command.args(CURL_FLAGS).arg("--globoff");
    command.args(flags).arg(server.url(path));
    let finished = Process::start(&mut command).finish();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    Some(finished)
}

/// Checks the output of curl, with `-w` or without.
fn check(server: &Server, flags: &[&str], path: &str, expected: &str) {
    if let Some(finished) = curl(server, flags, path) {
        assert_eq!(finished.stdout, expected, "{flags:?} {path}");
    }
}

/// A time of modification whose second is over.
fn long_ago() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(784_111_777)
}

const CODE: [&str; 4] = ["-o", "/dev/null", "-w", "%{http_code}"];

#[test]
fn a_file_comes_with_its_fields() {
    let folder = Folder::new();
    let path = folder.put("page.html", "<p>hello");
    set_modified(&path, long_ago());
    let server = Server::plain(folder.path());
    let Some(shown) = curl(&server, &["-i"], "/page.html") else {
        return;
    };
    let (head, body) = shown.stdout.split_once("\r\n\r\n").expect("a head");
    assert_eq!(body, "<p>hello");
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("HTTP/1.1 200 OK"));
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a field line");
        match name {
            "Content-Type" => assert_eq!(value, "text/html; charset=utf-8"),
            "Content-Length" => assert_eq!(value, "8"),
            "Cache-Control" => assert_eq!(value, "no-cache"),
            "Vary" => assert_eq!(value, "Accept-Encoding"),
            "Accept-Ranges" => assert_eq!(value, "bytes"),
            "X-Content-Type-Options" => assert_eq!(value, "nosniff"),
            "ETag" => assert!(value.ends_with('"'), "{line}"),
            "Date" | "Last-Modified" => {
                assert!(httpdate::parse_http_date(value).is_ok(), "{line}");
            }
            _ => panic!("a field that nobody asked for: {line}"),
        }
    }
    assert_eq!(head.lines().count(), 10, "each of them once");
}

#[test]
fn the_head_alone_is_the_same_head() {
    let folder = Folder::new();
    set_modified(&folder.put("index.html", "<p>hello"), long_ago());
    let server = Server::of(folder.path());
    let fields = |flags: &[&str]| {
        let shown = curl(&server, flags, "/")?.stdout;
        let (head, body) = shown.split_once("\r\n\r\n")?;
        // The tag of a new file is weak for a moment.
        let moving = |l: &&str| l.starts_with("Date:") || l.starts_with("ETag:");
        let lines = head.lines().filter(|l| !moving(l));
        Some((lines.collect::<Vec<_>>().join("\n"), body.len()))
    };
    let (Some(whole), Some(alone)) = (fields(&["-i"]), fields(&["-I"])) else {
        return;
    };
    assert_eq!((&whole.0, 8, 0), (&alone.0, whole.1, alone.1));
}

#[test]
fn a_folder_redirect_keeps_the_query() {
    let folder = Folder::with("a folder/index.html", "inside");
    let server = Server::of(folder.path());
    let to = ["-o", "/dev/null", "-w", "%{http_code} %{redirect_url}"];
    let expected = format!("301 {}", server.url("/a%20folder/?x=1&y=%2f"));
    check(&server, &to, "/a%20folder?x=1&y=%2f", &expected);
    let as_is = [&["--path-as-is"][..], &to].concat();
    check(&server, &as_is, "/%2e/a%20folder?x=1&y=%2f", &expected);
    check(&server, &["-L"], "/a%20folder?x=1", "inside");
}

#[test]
fn what_is_not_there_is_404() {
    let folder = Folder::with("here.txt", "here");
    let server = Server::of(folder.path());
    for path in ["/there.txt", "/here.txt/", "/here.txt/x"] {
        check(&server, &CODE, path, "404");
    }
    check(&server, &CODE, "/here.txt", "200");
}

#[test]
fn no_path_leads_out_of_the_root() {
    let folder = Folder::with("secret", "secret");
    folder.put("root/sub/page", "page");
    folder.put("root/.hidden", "secret");
    folder.put("root/.git/config", "secret");
    folder.put("root/.well-known/page", "page");
    let server = Server::of(folder.path().join("root"));
    let flags = [&["--path-as-is"][..], &CODE].concat();
    for path in [
        "/../secret",
        "/sub/../../secret",
        "/%2e%2e/secret",
        "/.%2E/secret",
        "/sub/..%2f..%2fsecret",
        "/..%5csecret",
        "/..\\secret",
        "/sub/%00",
        "/.hidden",
        "/%2ehidden",
        "/.git/config",
        "//../secret",
        "/%252e%252e/secret",
        "/sub/../sub/page",
    ] {
        check(&server, &flags, path, "404");
    }
    check(&server, &flags, "/%", "400");
    for path in [
        "/sub/page",
        "//sub//page",
        "/./sub/./page",
        "/sub/%2e/page",
        "/s%75b/page",
        "/.well-known/page",
    ] {
        check(&server, &flags, path, "200");
    }
}

#[test]
fn two_requests_need_one_connection() {
    let folder = Folder::with("a", "a");
    let server = Server::of(folder.path());
    let first = server.url("/a");
    let flags = [&first, "-o", "/dev/null", "-o", "/dev/null"];
    let flags = [&flags[..], &["-w", "%{num_connects} "]].concat();
    check(&server, &flags, "/a", "1 0 ");
}

#[test]
fn a_body_makes_no_difference_to_a_refusal() {
    let folder = Folder::with("a", "a");
    let body = folder.put("body", vec![b'x'; 300 << 10]);
    let large = folder.put("large", vec![b'x'; 3 << 20]);
    let (body, large) = (upload(&body), upload(&large));
    let server = Server::of(folder.path());
    let chunked = "Transfer-Encoding: chunked";
    for (flags, expected) in [
        (&["--data-binary", "small"][..], "405"),
        (&["--data-binary", &body], "405"),
        (&["--data-binary", &body, "-H", chunked], "405"),
        (
            &["--data-binary", &body, "-H", "Expect: 100-continue"],
            "405",
        ),
        (&["--data-binary", "small", "-H", "Expect: tea"], "417"),
        (&["--data-binary", &large, "-H", "Expect:"], "413"),
        (
            &["--data-binary", &large, "-H", "Expect:", "-H", chunked],
            "413",
        ),
        (&["-X", "DELETE"], "405"),
        (&["-X", "BREW"], "501"),
        (&["-X", "OPTIONS"], "204"),
    ] {
        check(&server, &[flags, &CODE].concat(), "/a", expected);
    }
}

#[test]
fn an_echo_is_what_was_sent() {
    let folder = Folder::new();
    // The body is text, because the harness reads standard output as text.
    let text: String = (0..100_000).map(|n| format!("{n} ")).collect();
    let body = upload(&folder.put("body", &text));
    let server = Server::with(folder.path(), &["--log", "off", "--test-endpoints"]);
    for field in [
        "Expect:",
        "Expect: 100-continue",
        "Transfer-Encoding: chunked",
    ] {
        let flags = ["--data-binary", &body, "-H", field];
        check(&server, &flags, "/_oneloop/echo", &text);
    }
    check(&server, &CODE, "/_oneloop/echo", "426");
    let flags = [&["--data-binary", "x"], &CODE[..]].concat();
    check(&Server::of(folder.path()), &flags, "/_oneloop/echo", "404");
}

/// A file as the value of `--data-binary`.
fn upload(path: &Path) -> String {
    format!("@{}", path.display())
}
