//! A socket of the Unix domain in place of an address and a port.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::process::Signal;

use crate::harness::{Finished, Folder, Process, Server, program};

/// Sends a request and returns all that comes until the end.
fn ask(path: &Path, target: &str) -> String {
    let mut stream = UnixStream::connect(path).expect("it listens");
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn a_socket_has_the_permissions_that_were_asked_for_and_goes_with_the_server() {
    let folder = Folder::with("index.html", "hello");
    let path = folder.path().join("s.sock");
    let bind = format!("unix:{}?mode=660", path.display());
    let mut command = program();
    command
        .arg(folder.path())
        .args(["--log=off", "--metrics", "--bind", &bind]);
    let mut server = Server::from(&mut command);
    assert!(server.addresses.is_empty(), "{:?}", server.banner);
    let mode = fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(ask(&path, "/").ends_with("\r\n\r\nhello"));
    // Who can reach the socket is on this machine.
    assert!(ask(&path, "/_oneloop/health").starts_with("HTTP/1.1 200 "));
    server.signal(Signal::TERM);
    assert_eq!(server.process.code(), Some(0));
    assert!(!path.exists());
}

/// What is about TCP has no effect on a socket, and a route to the socket itself would go round in a circle.
#[test]
fn what_cannot_be_with_a_socket_alone_is_an_error() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("run")).expect("the folder is ours");
    let path = folder.path().join("run/s.sock");
    let bind = format!("--bind=unix:{}", path.display());
    let run = |flags: &[&str]| {
        let mut command = program();
        command.arg(folder.path()).arg(&bind).args(flags);
        let Finished { code, stderr, .. } = Process::start(&mut command).finish();
        assert!(!path.exists(), "{flags:?}");
        (code, stderr)
    };
    for flag in ["--port=8080", "--tls", "--open"] {
        let (code, said) = run(&[flag]);
        let flag = flag.split('=').next().expect("a name");
        let expected = format!(
            "error: {flag} needs a TCP address, and --bind names only Unix sockets; add localhost \
             to --bind, or leave {flag} out\n"
        );
        assert_eq!((code, said), (Some(2), expected));
    }
    let round = path.display().to_string().replace("/run/", "/run/../run/");
    let (code, said) = run(&[&format!("--proxy=/a=unix:{round}")]);
    let expected = format!(
        "error: --proxy /a=unix:{round} leads back to this server; name the socket of the backend\n"
    );
    assert_eq!((code, said), (Some(1), expected));
}

#[test]
fn an_address_and_a_socket_go_together_and_a_socket_in_use_is_an_error() {
    let folder = Folder::with("index.html", "hello");
    let path = folder.path().join("s.sock");
    let bind = format!("--bind=unix:{}", path.display());
    let server = Server::with(folder.path(), &["--log=off", "--bind=127.0.0.1", &bind]);
    assert!(ask(&path, "/").ends_with("hello"));
    assert_eq!(server.connect().get("/").text(), "hello");
    let second = program().arg(folder.path()).arg(&bind).output();
    let second = second.expect("it runs");
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).expect("text");
    assert!(said.contains("s.sock is in use, or is no socket"), "{said}");
}
