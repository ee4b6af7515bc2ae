//! Sockets that are passed to the program, as systemd does: sd_listen_fds(3).

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::harness::{Client, Finished, Folder, Process, Server, outside, program};

/// The program with `socket` as its descriptor 3, perhaps by means of `starter`. `variables` are assignments of a shell.
fn passed(
    starter: &str,
    socket: OwnedFd,
    root: &Folder,
    variables: &str,
    flags: &str,
) -> (Command, Stdio) {
    let mut command = program();
    let shell = format!(
        "export {variables}; exec {starter} '{}' '{}' --log off {flags} 3<&0 0</dev/null",
        command.get_program().display(),
        root.path().display()
    );
    let plain = std::mem::replace(&mut command, Command::new("sh"));
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["-c", &shell]);
    (command, socket.into())
}

const OURS: &str = "LISTEN_FDS=1 LISTEN_PID=$$";

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    (listener, address)
}

#[test]
fn a_socket_that_is_passed_outlives_the_server() {
    let folder = Folder::with("a", "hello");
    let (ours, address) = listener();
    for _ in 0..2 {
        let socket = ours.try_clone().expect("a descriptor is left").into();
        let (mut command, stdin) = passed("", socket, &folder, OURS, "");
        // This client comes before the server.
        let mut client = Client::to(address);
        let mut server = Server::with_input(&mut command, stdin);
        assert_eq!(server.addresses, [address]);
        assert_eq!(server.listening(), [address]);
        assert_eq!(client.get("/a").text(), "hello");
        server.signal(Signal::TERM);
        assert_eq!(server.process.code(), Some(0));
    }
    TcpStream::connect(address).expect("the socket still listens");
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let folder = Folder::with("a", "hello");
    let (ours, address) = listener();
    for variables in [
        "LISTEN_FDS=1 LISTEN_PID=1",
        "LISTEN_FDS=0 LISTEN_PID=$$",
        "LISTEN_FDS=",
    ] {
        let socket = ours.try_clone().expect("a descriptor is left").into();
        let (mut command, stdin) = passed("", socket, &folder, variables, "-p 0");
        let server = Server::with_input(&mut command, stdin);
        assert_ne!(server.address(), address);
    }
}

#[test]
fn a_descriptor_that_does_not_listen_is_an_error() {
    let folder = Folder::new();
    let (ours, address) = listener();
    let connected = TcpStream::connect(address).expect("it listens");
    let file = File::open("/dev/null").expect("it is there");
    let unix = folder.path().join("socket");
    let unix = std::os::unix::net::UnixListener::bind(unix).expect("the folder is ours");
    let tls = format!("{OURS} LISTEN_FDNAMES=tls");
    let many = "LISTEN_FDS=1000000000 LISTEN_PID=$$";
    for (socket, variables, flags, code, said) in [
        (
            connected.into(),
            OURS,
            "",
            1,
            "descriptor 3 of LISTEN_FDS does not listen",
        ),
        (
            file.into(),
            OURS,
            "",
            1,
            "descriptor 3 of LISTEN_FDS is not a TCP socket",
        ),
        (
            unix.into(),
            OURS,
            "",
            1,
            "descriptor 3 of LISTEN_FDS is not a TCP socket",
        ),
        (
            listener().0.into(),
            &tls,
            "",
            1,
            "descriptor 3 of LISTEN_FDS is named tls",
        ),
        (listener().0.into(), many, "", 1, "LISTEN_FDS=1000000000"),
        (
            listener().0.into(),
            OURS,
            "-p 80",
            2,
            "the sockets to listen on are passed",
        ),
        (
            OwnedFd::from(ours),
            OURS,
            "--bind ::1",
            2,
            "the sockets to listen on are passed",
        ),
    ] {
        let (mut command, stdin) = passed("", socket, &folder, variables, flags);
        let process = Process::with_streams(&mut command, stdin, Stdio::piped(), Stdio::piped());
        let Finished {
            code: ended,
            stderr,
            ..
        } = process.finish();
        assert_eq!(ended, Some(code), "{stderr}");
        assert!(stderr.starts_with(&format!("error: {said}")), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn a_route_that_leads_back_is_an_error_by_whatever_address() {
    let folder = Folder::new();
    let anywhere = TcpListener::bind("0.0.0.0:0").expect("a port is free");
    let anywhere = (anywhere.local_addr().expect("it has an address"), anywhere);
    let (here, address) = listener();
    for ((address, socket), hosts) in [
        ((address, here), ["127.0.0.1", "localhost", "0.0.0.0"]),
        (anywhere, ["127.0.0.2", "localhost", "0.0.0.0"]),
    ] {
        for host in hosts {
            let socket = socket.try_clone().expect("a descriptor is left").into();
            let route = format!("--proxy /a=http://{host}:{}", address.port());
            let (mut command, stdin) = passed("", socket, &folder, OURS, &route);
            let process =
                Process::with_streams(&mut command, stdin, Stdio::piped(), Stdio::piped());
            let Finished { code, stderr, .. } = process.finish();
            assert_eq!(code, Some(1), "{host} {stderr}");
            assert!(stderr.contains("leads back to this server"), "{stderr}");
        }
    }
}

#[test]
fn a_socket_with_the_name_tls_is_for_a_server_with_tls() {
    let (folder, home) = (Folder::with("a", "hello"), Folder::new());
    let (ours, address) = listener();
    let variables = format!(
        "{OURS} LISTEN_FDNAMES=tls XDG_DATA_HOME={} CAROOT=/none",
        home.path().display()
    );
    let (mut command, stdin) = passed("", ours.into(), &folder, &variables, "--tls");
    let server = Server::with_input(&mut command, stdin);
    assert_eq!(server.addresses, [address]);
}

/// The program of systemd starts the server when the first client comes. It takes no port of 0, but it
/// hands on what it was passed itself.
#[test]
fn systemd_passes_a_socket() {
    if outside("systemd-socket-activate").is_none() {
        return;
    }
    let folder = Folder::with("a", "hello");
    let (ours, address) = listener();
    let (mut command, stdin) = passed("systemd-socket-activate", ours.into(), &folder, OURS, "");
    let mut process = Process::with_streams(&mut command, stdin, Stdio::piped(), Stdio::piped());
    let mut client = Client::to(address);
    assert_eq!(client.get("/a").text(), "hello");
    process.signal(Signal::TERM);
    assert_eq!(process.code(), Some(0));
}
