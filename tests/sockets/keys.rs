//! The keys at the terminal, each with Enter.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::harness::{Folder, Server, eventually, program};
use crate::live::terminal;

/// Starts the program as the leader of a session with this terminal, as a shell is, with a user that is
/// not the superuser. That user finds the program in `folder`.
fn start(folder: &Folder, input: fs::File, browser: &Path, flags: &[&str]) -> Server {
    let copy = folder.path().join("oneloop");
    // By another process: a child of another test would inherit the descriptor that writes the copy, and
    // nobody can execute a file that is open for writing.
    let mut copying = Command::new("cp");
    let copying = copying.arg(env!("CARGO_BIN_EXE_oneloop")).arg(&copy);
    assert!(copying.status().is_ok_and(|status| status.success()));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    let mut command = Command::new("setsid");
    let plain = program();
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .arg("--ctty")
        .arg(copy)
        .arg(folder.path())
        .env("BROWSER", browser);
    command
        .args(["--port", "0", "--log", "off", "--no-live"])
        .args(flags);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534);
    }
    Server::with_input(&mut command, input.into())
}

/// A program that writes its arguments to a file, and then ends with this code.
fn browser(folder: &Folder, code: u8) -> std::path::PathBuf {
    let opened = folder.path().join("opened");
    let text = format!(
        "#!/bin/sh\necho noise; echo \"$@\" >'{}'; exit {code}\n",
        opened.display()
    );
    let path = folder.put("browser", text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path
}

/// The children of a process that have not ended, or whose end was not taken.
fn children(server: &Server) -> String {
    let pid = server.process.pid().as_raw_nonzero();
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it runs")
}

#[test]
fn a_letter_and_enter_are_a_command() {
    let folder = Folder::with("a", "a");
    let (mut person, input) = terminal();
    let mut server = start(&folder, input, &browser(&folder, 0), &[]);
    let mut press = |keys: &str| person.write_all(keys.as_bytes()).expect("it is taken");
    press("x\n\nhh\nh\n");
    assert_eq!(
        server.stderr.next().as_deref(),
        Some("keys, each with Enter:")
    );
    server.stderr.find("  q  quit");
    press("u\n");
    let address = server.address();
    assert_eq!(server.stderr.find("http://"), format!("{address}/"));
    press("l\n");
    server
        .stderr
        .find("only this machine can reach the server; --lan opens it");
    press("r\n");
    server
        .stderr
        .find("pages are not reloaded: live reload is off");
    press("s\n");
    server.stderr.find("key ");
    press("o\n");
    let opened = folder.path().join("opened");
    let url = format!("http://localhost:{}/\n", address.port());
    eventually("the page is open", || {
        fs::read_to_string(&opened).is_ok_and(|o| o == url)
    });
    eventually("its end is taken", || children(&server).is_empty());
    press("q\n");
    assert_eq!(server.process.code(), Some(0));
    let rest = server.stderr.rest();
    assert!(
        rest.contains("stopped: ") && !rest.contains("noise"),
        "{rest}"
    );
}

#[test]
fn a_page_is_opened_at_the_start() {
    let folder = Folder::with("a", "a");
    for (flag, address, host) in [
        ("--open=/a?b", "0.0.0.0", "localhost"),
        ("-o=a?b", "127.0.0.1", "localhost"),
        ("--open=a?b", "127.0.0.2", "127.0.0.2"),
    ] {
        let (_person, input) = terminal();
        let flags = [flag, "--bind", address];
        let mut server = start(&folder, input, &browser(&folder, 0), &flags);
        let opened = folder.path().join("opened");
        let url = format!("http://{host}:{}/a?b\n", server.address().port());
        eventually("the page is open", || {
            fs::read_to_string(&opened).is_ok_and(|o| o == url)
        });
        server.signal(Signal::TERM);
        assert_eq!(server.process.code(), Some(0));
    }
}

#[test]
fn a_browser_that_fails_is_told_in_a_line() {
    let folder = Folder::with("a", "a");
    let (mut person, input) = terminal();
    let mut server = start(&folder, input, &browser(&folder, 3), &[]);
    person.write_all(b"o\n").expect("it is taken");
    let url = format!("http://localhost:{}/", server.address().port());
    let told = server.stderr.find("warning: ");
    assert_eq!(
        told,
        format!("the browser ended with exit code 3; open {url} by hand")
    );
    server.signal(Signal::TERM);
    assert_eq!(server.process.code(), Some(0));
}

/// The browser of the superuser would have all rights.
#[test]
fn the_superuser_opens_no_browser() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = Folder::with("a", "a");
    let (mut person, input) = terminal();
    let mut command = Command::new("setsid");
    command
        .arg("--ctty")
        .arg(program().get_program())
        .arg(folder.path());
    command
        .args(["--port", "0"])
        .env("BROWSER", browser(&folder, 0));
    let mut server = Server::with_input(&mut command, input.into());
    person.write_all(b"o\n").expect("it is taken");
    let told = server.stderr.find("warning: no browser is opened: ");
    assert!(
        told.starts_with("the server runs as root; open http://localhost:"),
        "{told}"
    );
    assert!(!folder.path().join("opened").exists());
    server.signal(Signal::TERM);
    assert_eq!(server.process.code(), Some(0));
}
