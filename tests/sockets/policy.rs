//! The flags that change what is served, and with which fields.

use std::io::Write;

use crate::harness::{Folder, Server, at_rest, eventually};

#[test]
fn hidden_files_are_served_on_demand_and_nothing_above_the_root() {
    let folder = Folder::with("root/.env", "secret");
    folder.put("root/.git/config", "secret");
    folder.put("root/.well-known/a", "open");
    folder.put("b", "outside");
    let root = folder.path().join("root");
    for (flags, hidden) in [
        (&["--log", "off"][..], 404),
        (&["--log", "off", "--hidden"], 200),
    ] {
        let server = Server::with(&root, flags);
        let mut client = server.connect();
        for (target, status) in [
            ("/.env", hidden),
            ("/%2eenv", hidden),
            ("/.git/config", hidden),
            ("/.well-known/a", 200),
            ("/.git/../../b", 404),
            ("/.git/%2e%2e/%2e%2e/b", 404),
            ("/../b", 404),
            ("/..", 404),
        ] {
            assert_eq!(client.get(target).status, status, "{target} {flags:?}");
        }
    }
}

#[test]
fn files_and_nothing_else_may_be_used_without_asking_for_a_time() {
    let text = "a line of text\n".repeat(200);
    let folder = Folder::with("a.txt", &text);
    folder.put("app-5d3f9a1b.js", &text);
    folder.put("app-5d3f9a1b.css", &text);
    folder.put("d/index.html", "page");
    let mut coded = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    coded.write_all(text.as_bytes()).expect("a Vec takes all");
    let coded = coded.finish().expect("a Vec takes all");
    let last = folder.put("app-5d3f9a1b.css.gz", coded);
    // A file that was just changed gets a new tag each time.
    eventually("the files are at rest", || at_rest(&last));
    let asked = "no-cache";
    for (flags, file, hashed) in [
        (&["--log", "off"][..], asked, asked),
        (
            &["--log", "off", "--max-age", "60"],
            "max-age=60",
            "max-age=31536000, immutable",
        ),
    ] {
        let server = Server::with(folder.path(), flags);
        let mut client = server.connect();
        let mut check = |target: &str, fields: &[&str], status: u16, expected: Option<&str>| {
            let answer = client.ask(target, fields);
            assert_eq!(answer.status, status, "{target} {fields:?}");
            let value = answer.field("Cache-Control");
            assert_eq!(value, expected, "{target} {fields:?} {flags:?}");
            answer.field("ETag").map(str::to_owned)
        };
        let tag = check("/a.txt", &[], 200, Some(file)).expect("a tag");
        check("/d/", &[], 200, Some(file));
        check("/a.txt", &["Range: bytes=0-1"], 206, Some(file));
        check("/a.txt", &["Range: bytes=0-1,5-6"], 206, Some(file));
        check("/app-5d3f9a1b.js", &[], 200, Some(hashed));
        // Encoded for the first answer, and sent from the cache for the second.
        for _ in 0..2 {
            let tag = check(
                "/app-5d3f9a1b.js",
                &["Accept-Encoding: gzip"],
                200,
                Some(hashed),
            );
            let condition = format!("If-None-Match: {}", tag.expect("a tag"));
            let fields = ["Accept-Encoding: gzip", &condition];
            check("/app-5d3f9a1b.js", &fields, 304, Some(hashed));
        }
        check(
            "/app-5d3f9a1b.css",
            &["Accept-Encoding: gzip"],
            200,
            Some(hashed),
        );
        check(
            "/a.txt",
            &[&format!("If-None-Match: {tag}")],
            304,
            Some(file),
        );
        check("/a.txt", &["If-Match: \"x\""], 412, Some(asked));
        check("/d", &[], 301, Some(asked));
        check("/app-00000000.js", &[], 404, None);
    }
}
