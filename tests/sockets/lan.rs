//! The server in the local network: what `--lan` opens, for whom, and what it shows. A device of the network is
//! this machine, by an address that is not loopback: no packet leaves it.

use std::io::Read as _;
use std::net::IpAddr;
use std::process::Stdio;

use rustix::process::Signal;
use rustix::termios::Winsize;

#[cfg(feature = "tls")]
use crate::harness::{CURL_FLAGS, at_home, ca};
use crate::harness::{Client, Finished, Folder, Process, Server, outside, program, skip};
use crate::live::terminal;
use crate::tcp::Stream;

/// Whether this machine is in a network; with the banner of a server that is open to it.
fn is_in_network(server: &Server) -> bool {
    let is = !server.addresses.is_empty();
    if !is {
        let said = "this machine is in no network now";
        assert!(
            server.banner.iter().any(|line| line == said),
            "{:?}",
            server.banner
        );
        skip(said);
    }
    is
}

/// The hosts by which a device may ask for the server: an address, and the names of the machine.
fn hosts(server: &Server) -> Vec<String> {
    let port = server.address().port();
    let names = oneloop::sys::host_names().into_iter();
    let names = names.map(|name| format!("{name}:{port}"));
    [server.address().to_string()]
        .into_iter()
        .chain(names)
        .collect()
}

fn status(client: &mut Client, host: &str, fields: &str) -> u16 {
    client.send(format!(
        "GET /none HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n"
    ));
    client.answer().status
}

/// A navigation by plain HTTP: browsers send no Sec-Fetch fields there.
const NAVIGATION: &str = "Accept: text/html\r\nAccept-Encoding: identity\r\nUpgrade-Insecure-Requests: 1\r\n\
                          User-Agent: Mozilla/5.0\r\n";

#[test]
fn a_device_gets_pages_that_reload_by_address_and_by_name() {
    let folder = Folder::with("index.html", "<!doctype html><title>a</title>");
    let server = Server::with(folder.path(), &["--lan", "--spa", "--log", "off"]);
    if !is_in_network(&server) {
        return;
    }
    assert!(!server.address().ip().is_loopback());
    for host in hosts(&server) {
        let mut client = server.connect();
        client.send(format!(
            "GET /a/view HTTP/1.1\r\nHost: {host}\r\n{NAVIGATION}\r\n"
        ));
        let page = client.answer();
        assert_eq!(page.status, 200, "{host}");
        assert!(page.text().contains("/_oneloop/live"), "{}", page.text());
        assert_eq!(status(&mut client, &host, ""), 404);

        let open = |page: &str| {
            let request = tungstenite::http::Request::builder()
                .uri(format!("ws://{host}/_oneloop/live"))
                .header("Host", &host)
                .header("Origin", page)
                .header("Connection", "Upgrade")
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Version", "13")
                .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
            let request = request.body(()).expect("a request");
            tungstenite::client(request, Stream::to(server.address())).is_ok()
        };
        assert!(open(&format!("http://{host}")), "{host}");
        assert!(!open("http://stranger.example"), "{host}");
    }
    let mut client = server.connect();
    assert_eq!(status(&mut client, "stranger.example", ""), 403);
    assert_eq!(status(&mut server.connect(), "stranger.local", ""), 403);
}

#[test]
fn a_device_is_asked_for_the_password() {
    let folder = Folder::with("none", "secret");
    let flags = ["--lan", "--auth", "me:pw", "--log", "off"];
    let server = Server::with(folder.path(), &flags);
    let last = server.banner.last().expect("a line");
    assert!(last.starts_with("anyone with the password"), "{last}");
    if !is_in_network(&server) {
        return;
    }
    for host in hosts(&server) {
        let mut client = server.connect();
        assert_eq!(status(&mut client, &host, ""), 401, "{host}");
        let mut client = server.connect();
        let password = "Authorization: Basic bWU6cHc=\r\n";
        assert_eq!(status(&mut client, &host, password), 200, "{host}");
    }
}

/// Serves a folder to the network by TLS, with a CA below `home`.
#[cfg(feature = "tls")]
fn serve_by_tls(home: &Folder, folder: &Folder, flags: &[&str]) -> Server {
    let mut command = at_home(home);
    command
        .arg(folder.path())
        .args(["--lan", "--tls", "-p", "0", "--log=off"]);
    Server::from(command.args(flags))
}

/// With `--lan`, the guard lets the names of the machine in, and the certificate has them.
#[cfg(feature = "tls")]
#[test]
fn a_device_that_trusts_the_ca_reaches_the_machine_by_name() {
    let (home, folder) = (Folder::new(), Folder::with("a", "by TLS"));
    let server = serve_by_tls(&home, &folder, &[]);
    let port = server.listening()[0].port();
    for name in oneloop::sys::host_names() {
        let Some(mut curl) = outside("curl") else {
            return;
        };
        curl.args(CURL_FLAGS)
            .arg("--cacert")
            .arg(ca(&home))
            .args(["--connect-to", &format!("::127.0.0.1:{port}")])
            .arg(format!("https://{name}:{port}/a"));
        let got = Process::start(&mut curl).finish();
        assert_eq!(got.stdout, "by TLS", "{name}: {}", got.stderr);
    }
}

/// The CA may sign for private addresses. A public one that the machine had when the CA was made is one more.
#[cfg(feature = "tls")]
#[test]
fn an_address_for_which_the_ca_may_not_sign_is_told_at_the_start() {
    let (home, folder) = (Folder::new(), Folder::with("a", "a"));
    let serve = || serve_by_tls(&home, &folder, &[]);
    assert_eq!(
        Process::start(at_home(&home).arg("cert")).finish().code,
        Some(0)
    );
    let server = serve();
    if !is_in_network(&server) {
        return;
    }
    let ip = server.address().ip();
    let is_private = match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    let directory = home.path().join("data/oneloop");
    let told = format!(
        "warning: {}: this CA may not sign for {ip}; remove {directory:?} and run `oneloop cert \
         --allow-host {ip}` for a CA that may, or use --tls-cert",
        directory.join("ca.crt").display()
    );
    assert_eq!(
        server.banner.contains(&told),
        !is_private,
        "{:?}",
        server.banner
    );
    drop(server);
    std::fs::remove_dir_all(&directory).expect("it is there");
    let server = serve();
    assert!(!server.banner.iter().any(|line| line.contains("may not")));
}

/// Before a phone trusts the CA, it can ask by plain HTTP alone, and a password would be read by everybody.
#[cfg(feature = "tls")]
#[test]
fn a_device_gets_the_ca_without_tls_and_without_a_password() {
    let (home, folder) = (Folder::new(), Folder::with("a", "secret"));
    let server = serve_by_tls(&home, &folder, &["--auth", "me:pw"]);
    if !is_in_network(&server) {
        return;
    }
    let address = server.address();
    let told = format!("another device gets the CA at http://{address}/_oneloop/ca.crt");
    assert!(server.banner.contains(&told), "{:?}", server.banner);
    let ask = |method: &str, path: &str, host: &str| {
        let mut client = server.connect();
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.answer()
    };
    let path = "/_oneloop/ca.crt";
    for host in hosts(&server) {
        let answer = ask("GET", path, &host);
        assert_eq!(answer.status, 200, "{host}");
        assert!(answer.text().starts_with("-----BEGIN CERTIFICATE-----"));
    }
    let own = address.to_string();
    assert_eq!(ask("GET", path, "stranger.example").status, 403);
    assert_eq!(ask("POST", path, &own).status, 400);
    let other = ask("GET", "/a", &own);
    assert_eq!(other.status, 307);
    assert_eq!(other.field("WWW-Authenticate"), None);
}

#[test]
fn without_the_flag_the_name_of_the_machine_is_one_of_a_stranger() {
    let folder = Folder::with("none", "a");
    let server = Server::of(folder.path());
    for name in oneloop::sys::host_names() {
        assert_eq!(status(&mut server.connect(), &name, ""), 403, "{name}");
    }
}

#[test]
fn the_variable_opens_the_server_too_and_the_page_of_this_machine_is_named_last() {
    let folder = Folder::with("a", "a");
    let mut command = program();
    command
        .arg(folder.path())
        .args(["-p", "0"])
        .env("ONELOOP_LAN", "1");
    let server = Server::from(&mut command);
    let listening = server.listening();
    let port = listening[0].port();
    assert!(
        listening.contains(&([0, 0, 0, 0], port).into()),
        "{listening:?}"
    );
    let is_url = |line: &&String| line.starts_with("http://");
    let last = server.banner.iter().rfind(is_url).expect("a URL");
    assert_eq!(*last, format!("http://localhost:{port}/"));
}

#[test]
fn a_home_folder_is_not_opened_to_a_network() {
    let folder = Folder::with("site/a", "a");
    for (root, code) in [
        (folder.path(), Some(1)),
        (std::path::Path::new("/"), Some(1)),
    ] {
        let mut command = program();
        command
            .arg(root)
            .args(["--lan", "-p", "0"])
            .env("HOME", folder.path());
        let Finished {
            code: ended,
            stderr,
            ..
        } = Process::start(&mut command).finish();
        assert_eq!(ended, code);
        assert!(
            stderr.contains("not a folder to open to the whole network; name the"),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    let mut command = program();
    command
        .arg(folder.path().join("site"))
        .args(["--lan", "-p", "0"]);
    Server::from(command.env("HOME", folder.path()));
}

#[test]
fn the_flag_takes_the_place_of_an_address() {
    let folder = Folder::with("a", "a");
    let mut command = program();
    command
        .arg(folder.path())
        .args(["--lan", "--bind", "127.0.0.1"]);
    let Finished { code, stderr, .. } = Process::start(&mut command).finish();
    assert_eq!(code, Some(2));
    assert_eq!(
        stderr,
        "error: --lan cannot be used with --bind; give one of them\n"
    );
}

/// What the program shows at the start on a terminal of this size.
fn shown(size: (u16, u16), variables: &[(&str, &str)], flags: &[&str]) -> String {
    let folder = Folder::with("a", "a");
    let (mut person, output) = terminal();
    let size = Winsize {
        ws_col: size.0,
        ws_row: size.1,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&output, size).expect("it is a terminal");
    let process = {
        let mut command = program();
        command.arg(folder.path()).args(["-p", "0"]).args(flags);
        command.env_remove("LC_ALL").env_remove("LC_CTYPE");
        command.env("LANG", "C.UTF-8").env("TERM", "xterm");
        command.envs(variables.iter().copied());
        let output = Stdio::from(output);
        Process::with_outputs(&mut command, output, Stdio::null())
    };
    let mut shown = Vec::new();
    let mut chunk = [0; 4096];
    let mut is_stopped = false;
    // The end of the other side is an error.
    while let Ok(n) = person.read(&mut chunk) {
        shown.extend_from_slice(&chunk[..n]);
        if !is_stopped && memchr::memmem::find(&shown, b"Ctrl-C stops it").is_some() {
            is_stopped = true;
            process.signal(Signal::TERM);
        }
    }
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn a_code_is_shown_on_a_terminal_that_can_show_it() {
    let folder = Folder::with("a", "a");
    if !is_in_network(&Server::with(folder.path(), &["--lan"])) {
        return;
    }
    let lan = &["--lan"][..];
    let inks = |text: &str| text.contains('▀') && text.contains('▄');
    let code = shown((100, 40), &[], lan);
    assert!(inks(&code) && code.contains("\x1b[30;107m"), "{code}");
    let plain = shown((100, 40), &[("NO_COLOR", "1")], lan);
    assert!(inks(&plain) && !plain.contains('\x1b'), "{plain}");
    for (size, variables, flags) in [
        ((100, 40), &[][..], &[][..]),
        ((100, 40), &[("TERM", "dumb")], lan),
        ((100, 40), &[("LANG", "C")], lan),
        ((100, 40), &[("LC_ALL", "POSIX")], lan),
        ((30, 40), &[], lan),
        ((100, 12), &[], lan),
    ] {
        let text = shown(size, variables, flags);
        assert!(
            text.contains("http://") && !inks(&text),
            "{size:?} {variables:?}: {text}"
        );
    }
    // A reader of codes that we did not write.
    if let Some(mut reader) = outside("zbarimg") {
        let url = code
            .lines()
            .find_map(|line| line.split_once("http://"))
            .expect("a URL")
            .1;
        let url = url.split('\x1b').next().expect("before the colour ends");
        let folder = Folder::with("code.pbm", picture(&plain));
        let output = reader.args(["-q", "--raw", "-Sdisable", "-Sqrcode.enable"]);
        let output = output
            .arg(folder.path().join("code.pbm"))
            .output()
            .expect("it is here");
        let read = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            read.starts_with("http://") && read.ends_with("/\n"),
            "{read}"
        );
        let host = |url: &str| url.rsplit_once(':').map(|(host, _)| host.to_owned());
        assert_eq!(host(read.trim_start_matches("http://")), host(url));
    }
}

/// The code within a text without colour, as a picture in the format PBM, where 1 is black.
fn picture(text: &str) -> String {
    const SCALE: usize = 4;
    let lines = text.lines().map(|line| line.trim_end_matches('\r'));
    let lines: Vec<Vec<char>> = lines
        .filter(|line| line.contains(['█', '▀', '▄']))
        .map(|line| line.chars().collect())
        .collect();
    let rows = lines.iter().flat_map(|line| {
        [['█', '▀'], ['█', '▄']].map(|light| {
            let modules = line
                .iter()
                .map(|c| if light.contains(c) { "0 " } else { "1 " });
            modules
                .map(|module| module.repeat(SCALE))
                .collect::<String>()
        })
    });
    let rows: Vec<String> = rows
        .flat_map(|row| std::iter::repeat_n(row, SCALE))
        .collect();
    let (width, height) = (lines[0].len() * SCALE, rows.len());
    format!("P1\n{width} {height}\n{}\n", rows.join("\n"))
}
