//! The command line: the output, the listening addresses, and failures.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::{
    Client, Finished, Folder, Process, Server, eventually, has_ipv6, listening, outside, program,
};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ALL_V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const ALL_V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// Checks that `command` fails with this code, prints nothing on standard output, and prints a
/// message with all of `words` on standard error.
fn check(command: &mut Command, code: i32, words: &[&str]) {
    let Finished {
        code: ended,
        stdout,
        stderr,
    } = Process::start(command).finish();
    assert_eq!((ended, &*stdout), (Some(code), ""), "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word} is not in: {stderr}");
    }
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_busy_port_is_an_error_when_it_was_asked_for() {
    let folder = Folder::with("a", "a");
    let server = Server::of(folder.path());
    let port = server.address().port().to_string();
    let address = format!("127.0.0.1:{port} is in use; try -p 0");
    check(
        program().arg(folder.path()).args(["-p", &port]),
        1,
        &[&address],
    );
    check(
        program().arg(folder.path()).env("PORT", &port),
        1,
        &[&address],
    );
    assert_eq!(
        server.connect().get("/a").status,
        200,
        "the first one serves on"
    );
}

#[test]
fn a_flag_may_be_in_the_environment() {
    let folder = Folder::with("a", "a");
    let mut command = program();
    command
        .arg(folder.path())
        .env("ONELOOP_HEADER", "X-A: 1\nX-B: 2");
    let server = Server::from(command.args(["-p", "0"]).env("ONELOOP_PORT", "1"));
    let answer = server.connect().get("/a");
    assert_eq!(
        (answer.field("X-A"), answer.field("X-B")),
        (Some("1"), Some("2"))
    );
    let mut command = program();
    command.arg(folder.path()).env("ONELOOP_MAX_AGE", "soon");
    check(
        &mut command,
        2,
        &["ONELOOP_MAX_AGE \"soon\": not a number of seconds"],
    );
}

#[test]
fn a_variable_without_a_meaning_is_a_warning() {
    let folder = Folder::with("a", "a");
    let mut command = program();
    command.arg(folder.path()).args(["-p", "0", "-q"]);
    let mut process = Process::start(command.env("ONELOOP_MAXAGE", "60"));
    let warning = process.stderr().find("warning: ");
    assert_eq!(
        warning,
        "\"ONELOOP_MAXAGE\" in the environment means nothing; did you mean ONELOOP_MAX_AGE?"
    );
}

#[test]
fn a_log_file_that_cannot_be_opened_is_an_error() {
    let folder = Folder::with("a", "a");
    for (name, reason) in [
        (
            "none/log",
            "no such file or directory; name a file in a directory",
        ),
        (".", "is a directory; name a file"),
    ] {
        let path = folder.path().join(name);
        let shown = format!("cannot write the log to {}", path.display());
        let mut command = program();
        command.arg(folder.path()).arg("--log-file").arg(&path);
        check(&mut command, 1, &[&shown, reason]);
    }
}

#[test]
fn the_short_help_fits_a_screen_and_the_long_one_has_all() {
    let print = |flag: &str| {
        let mut command = program();
        let process = Process::start(command.arg(flag).env("COLUMNS", "80"));
        let Finished { code, stdout, .. } = process.finish();
        assert_eq!(code, Some(0), "{flag}");
        assert!(!stdout.contains('\x1b'));
        let is_narrow = |line: &str| line.chars().count() <= 80;
        assert!(stdout.lines().all(is_narrow), "{stdout}");
        stdout
    };
    let (short, long) = (print("-h"), print("--help"));
    assert!((24..=50).contains(&short.lines().count()), "{short}");
    assert!(
        short.contains("--port") && !short.contains("--memory-max"),
        "{short}"
    );
    for words in [
        "--port",
        "--memory-max",
        "Examples:",
        "ONELOOP_MAX_AGE=60",
        "oneloop man",
    ] {
        assert!(long.contains(words), "{words}: {long}");
    }
    // Each flag is in a group.
    let options = long.split("Options:\n").nth(1).expect("a group");
    let options = options.split("\n\n  ").next().expect("its beginning");
    assert!(options.trim_start().starts_with("-h, --help"), "{options}");
    assert!(print("--version").contains("\nfeatures: "));
    assert_eq!(print("-V").lines().count(), 1);
}

#[test]
fn the_demo_is_in_the_program_and_leaves_nothing() {
    let temporary = Folder::new();
    let elsewhere = Folder::new();
    let mut command = program();
    command.args(["--demo", "--port", "0", "--log", "off"]);
    command
        .current_dir(elsewhere.path())
        .env("TMPDIR", temporary.path());
    let mut server = Server::from(&mut command);
    let www = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("www");
    for name in ["index.html", "main.js", "oneloop.png"] {
        let expected = fs::read(www.join(name)).expect("it is there");
        let answer = server.connect().get(&format!("/{name}"));
        assert!(answer.body == expected, "{name}");
    }
    let left = || fs::read_dir(temporary.path()).expect("ours").count();
    assert_eq!(left(), 1);
    server.signal(Signal::TERM);
    assert_eq!(server.process.code(), Some(0));
    assert_eq!(left(), 0);
    let nowhere = temporary.path().join("nowhere");
    let mut command = program();
    command.arg("--demo").env("TMPDIR", nowhere);
    check(&mut command, 1, &["cannot write the demo to", "TMPDIR"]);
}

#[test]
fn completions_and_a_manual_page_are_printed() {
    let print = |args: &[&str]| {
        let Finished {
            code,
            stdout,
            stderr,
        } = Process::start(program().args(args)).finish();
        assert_eq!((code, &*stderr), (Some(0), ""), "{args:?}");
        stdout
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = print(&["completions", shell]);
        assert!(
            text.contains("max-connections") && text.contains("chrome"),
            "{shell}"
        );
    }
    let page = print(&["man"]);
    assert!(page.contains(".TH oneloop 1"), "{page}");
    assert!(page.contains("max\\-connections"), "{page}");
    // The tools themselves know best.
    for (tool, args, text) in [
        ("bash", &["-n"][..], print(&["completions", "bash"])),
        ("zsh", &["-n"], print(&["completions", "zsh"])),
        ("fish", &["--no-execute"], print(&["completions", "fish"])),
        ("man", &["--warnings", "-l", "-"], page),
    ] {
        let is_here = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|folder| folder.join(tool).is_file());
        if is_here {
            let folder = Folder::with("text", &text);
            let input = fs::File::open(folder.path().join("text")).expect("we wrote it");
            let mut command = Command::new(tool);
            command.args(args).env("MANPAGER", "cat").stdin(input);
            let output = command.output().expect("it is here");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{tool}: {said}");
        }
    }
    let mut command = program();
    let advice = "give one of bash, elvish, fish, powershell, zsh";
    check(
        command.args(["completions", "tcsh"]),
        2,
        &["\"tcsh\"", advice],
    );
    check(program().args(["man", "ls"]), 2, &["one argument too many"]);
}

#[test]
fn a_root_that_cannot_be_served_is_an_error() {
    let folder = Folder::new();
    let nothing = folder.path().join("nothing");
    let advice = "name a directory, or one file";
    let shown = nothing.display().to_string();
    check(
        program().arg(&nothing),
        1,
        &[&shown, "no such file or directory", advice],
    );
    check(program().arg("/dev/null"), 1, &["/dev/null", advice]);
}

#[test]
fn a_directory_that_cannot_be_watched_is_an_error() {
    let folder = Folder::with("file", "x");
    let advice = "name a directory that is there";
    for (name, reason) in [
        ("nothing", "no such file or directory"),
        ("file", "not a directory"),
    ] {
        let path = folder.path().join(name);
        let shown = path.display().to_string();
        let mut command = program();
        command.arg(folder.path()).arg("--watch").arg(&path);
        check(&mut command, 1, &[&shown, reason, advice]);
    }
}

/// Every request would be answered with 403. The superuser may read everything, so the program runs
/// as another user then, from a place where that user finds it.
#[test]
fn a_root_that_the_server_may_not_read_is_an_error() {
    let folder = Folder::new();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).expect("the folder is ours");
    let file = folder.put("file", "x");
    let copy = folder.path().join("oneloop");
    fs::copy(env!("CARGO_BIN_EXE_oneloop"), &copy).expect("the folder is ours");
    for path in [&closed, &file] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o0)).expect("it is ours");
        let mut command = Command::new(&copy);
        command.arg(path).args(["--port", "0"]);
        if rustix::process::geteuid().is_root() {
            command.uid(65_534);
        }
        let shown = path.display().to_string();
        let advice = "permission denied; the server must be allowed to read it";
        check(&mut command, 1, &[&shown, advice]);
    }
}

#[test]
fn an_address_of_another_machine_is_an_error() {
    let folder = Folder::new();
    // 192.0.2.0/24 is for documentation (RFC 5737): no machine has such an address.
    let mut command = program();
    command
        .arg(folder.path())
        .args(["-p", "0", "-b", "192.0.2.1"]);
    check(
        &mut command,
        1,
        &["192.0.2.1:0", "not an address of this machine"],
    );
}

#[test]
fn flags_that_make_no_sense_are_a_usage_error() {
    for (flags, word) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--port", "70000"], "70000"),
        (&["--port", "eighty"], "eighty"),
        (&["--bind", "example.org"], "not an IP address"),
        (&["--log", "loud"], "pretty"),
        (&["--allow-host", "http://app.test"], "without scheme"),
        (&["--allow-host", "app.test:8080"], "without a port"),
        (&["--header", "ETag: 1"], "the server makes the tag"),
        (
            &["--header", "Strict-Transport-Security: max-age=1"],
            "could not reach any server without TLS",
        ),
        (&["--max-age", "1h"], "not a number of seconds"),
        (&["--cors=all"], "credentials"),
        (&["--auth", "sesame"], "--auth: give USER:PASS"),
        (&["--auth-file", "/none/file"], "No such file"),
        (&["one", "two"], "two"),
        (&["--max-age", "-1"], "not a number of seconds"),
        (&["--port"], "--port needs a value"),
        (&["--log", "\n\x1b[2J"], r"\n\u{1b}"),
    ] {
        check(program().args(flags), 2, &[word]);
    }
    let bytes = OsStr::from_bytes(b"\xff\n");
    check(program().arg("--header").arg(bytes), 2, &["not UTF-8"]);
    check(program().arg("--log").arg(bytes), 2, &[r"\n"]);
}

#[test]
fn a_port_in_the_environment_is_blamed_on_the_environment() {
    let folder = Folder::with("a", "hello");
    let error = r#"PORT="abc" in the environment is not a port"#;
    check(program().arg(folder.path()).env("PORT", "abc"), 2, &[error]);
    for flags in [&["-p", "abc"], &["--max-connections", "abc"]] {
        check(program().args(flags), 2, &["not a "]);
        // The words of Rust's parsers do not help.
        let said = Process::start(program().args(flags)).finish().stderr;
        assert!(!said.contains("digit"), "{said}");
    }
}

#[test]
fn the_banner_says_where_and_what() {
    let folder = Folder::with("page.html", "page");
    let version = env!("CARGO_PKG_VERSION");
    let root = fs::canonicalize(folder.path()).expect("it is there");
    for (root, bind, exposed) in [
        (
            root.clone(),
            "127.0.0.1",
            "reachable from this machine only; Ctrl-C stops it",
        ),
        (
            root.join("page.html"),
            "0.0.0.0",
            "anyone who can reach these addresses can read the files and use the rooms; Ctrl-C stops it",
        ),
    ] {
        let server = Server::with(&root, &["--bind", bind]);
        let [name, url, what, reachable] = &server.banner[..] else {
            panic!("{:?}", server.banner);
        };
        assert!(
            name.starts_with(&format!("oneloop {version} ready in ")),
            "{name}"
        );
        assert_eq!(*url, format!("http://{bind}:{}/", server.address().port()));
        assert_eq!(*what, format!("serving {}", root.display()));
        assert_eq!(reachable, exposed);
    }
}

#[test]
fn a_name_cannot_forge_lines_of_the_banner_or_of_an_error() {
    let folder = Folder::new();
    let root = folder.path().join("a\n\x1b[31mb");
    let escaped = "a\\x0a\\x1b[31mb";
    let nothing = format!("{escaped}: no such file");
    check(program().arg(&root), 1, &[&nothing]);
    fs::create_dir(&root).expect("the folder is ours");
    let server = Server::of(&root);
    assert!(
        server.banner[1..]
            .iter()
            .any(|line| line.ends_with(escaped))
    );
    assert!(!server.banner.concat().contains('\x1b'));
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let folder = Folder::with("a", "a");
    let escape = '\x1b';
    let piped = Server::of(folder.path());
    assert!(!piped.banner.concat().contains(escape));
    // script(1) runs the program with a terminal for its standard output.
    for (no_color, term, coloured) in [
        (None, "xterm", true),
        (Some(""), "xterm", true),
        (Some("1"), "xterm", false),
        (None, "dumb", false),
    ] {
        let Some(mut script) = outside("script") else {
            return;
        };
        let line = format!(
            "exec {} {} --port 0",
            env!("CARGO_BIN_EXE_oneloop"),
            folder.path().display()
        );
        script.args(["--quiet", "--command", &line, "/dev/null"]);
        script.env_remove("NO_COLOR").env_remove("PORT");
        script.env("TERM", term);
        script.envs(no_color.map(|value| ("NO_COLOR", value)));
        let mut process = Process::start(&mut script);
        let mut stdout = process.stdout();
        let mut banner = String::new();
        while !banner.contains("Ctrl-C stops it") {
            banner += &stdout.next().expect("a banner");
        }
        assert_eq!(banner.contains(escape), coloured, "{banner}");
    }
}

#[test]
fn quiet_prints_nothing() {
    let folder = Folder::with("a", "hello");
    let mut command = program();
    command
        .arg(folder.path())
        .args(["--quiet", "--log", "json"]);
    // Missing IPv6 would be worth a warning, but --bind names an IPv4 address only.
    command.args(["--port", "0", "--bind", "127.0.0.1"]);
    let process = Process::start(&mut command);
    // The program does not print its address.
    eventually("it listens", || !listening(process.pid()).is_empty());
    let address = listening(process.pid())[0];
    assert_eq!(Client::to(address).get("/a").text(), "hello");
    let stop = rustix::process::kill_process(process.pid(), Signal::TERM);
    stop.expect("it is our child");
    let finished = process.finish();
    assert_eq!(finished.code, Some(0));
    assert_eq!((&*finished.stdout, &*finished.stderr), ("", ""));
}

#[test]
fn by_default_it_listens_on_both_loopback_addresses_and_one_port() {
    let folder = Folder::with("a", "hello");
    let server = Server::of(folder.path());
    let port = server.address().port();
    assert_eq!(server.address().ip(), V4);
    let mut expected = vec![(V4, port).into()];
    if has_ipv6() {
        expected.push((V6, port).into());
    }
    assert_eq!(server.addresses, expected);
    assert_eq!(server.listening(), expected, "and nowhere else");
    for address in expected {
        assert_eq!(Client::to(address).get("/a").text(), "hello");
    }
}

#[test]
fn it_listens_where_it_is_told_and_nowhere_else() {
    let folder = Folder::with("a", "hello");
    let mut cases = vec![(&["-b", "127.0.0.1"][..], &[V4][..])];
    if has_ipv6() {
        cases.push((&["-b", "::1"], &[V6]));
        cases.push((&["-b", "[::1]", "--host", "127.0.0.1"], &[V6, V4]));
        cases.push((&["-b", "localhost"], &[V4, V6]));
        // As in Node and Go, and for the same reason: a person who types this means "everywhere".
        cases.push((&["-b", "::"], &[ALL_V6, ALL_V4]));
        cases.push((&["-b", "::", "-b", "127.0.0.1"], &[ALL_V6, V4]));
    }
    for (flags, expected) in cases {
        let server = Server::with(folder.path(), flags);
        let ips: Vec<_> = server.addresses.iter().map(|a| a.ip()).collect();
        assert_eq!(ips, expected);
        let mut listening = server.listening();
        // The kernel lists the addresses in its own order.
        listening.sort_by_key(|a| expected.iter().position(|ip| *ip == a.ip()));
        assert_eq!(listening, server.addresses, "and nowhere else");
        for address in &server.addresses {
            assert_eq!(Client::to(*address).get("/a").text(), "hello");
        }
    }
}

#[test]
fn one_thread_does_it_all() {
    let folder = Folder::with("a", "hello");
    folder.put_big_hole("big");
    let server = Server::with(folder.path(), &["--log", "json"]);
    let mut slow = server.connect();
    slow.request("/big");
    slow.head();
    let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/a").status, 200);
    }
    let status = format!("/proc/{}/status", server.process.pid().as_raw_pid());
    let status = fs::read_to_string(status).expect("it runs");
    assert!(status.lines().any(|line| line == "Threads:\t1"), "{status}");
}
