//! `--tls`, `--tls-cert`, `--tls-key`, and `oneloop cert`, to curl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::harness::{
    CURL_FLAGS, Client, Finished, Folder, Process, Server, at_home, ca, eventually, outside,
};

/// Serves `site` with these flags.
fn serve(home: &Folder, site: &Folder, flags: &[&str]) -> Server {
    let mut command = at_home(home);
    command.arg(site.path()).args(["--port", "0"]).args(flags);
    Server::from(&mut command)
}

/// A file for tests, of which everybody knows the key.
fn known(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/certificates")
        .join(name)
}

/// Asks for a path with curl, which trusts this CA alone. `None`: there is no curl.
fn curl(server: &Server, ca: &Path, url: &str) -> Option<Finished> {
    let mut command = outside("curl")?;
    let address = server.address();
    let (ip, port) = (address.ip(), address.port());
    command
        .args(CURL_FLAGS)
        .arg("--cacert")
        .arg(ca)
        .args(["--connect-to", &format!("::{ip}:{port}")])
        .arg(url.replace("PORT", &port.to_string()));
    Some(Process::start(&mut command).finish())
}

#[test]
fn a_client_that_trusts_the_ca_reaches_the_server_by_each_name() {
    let (home, site) = (Folder::new(), Folder::with("a", "by TLS"));
    let server = serve(&home, &site, &["--tls", "--allow-host", "app.test"]);
    let banner = server.banner.join("\n");
    assert!(banner.contains("\nhttps://127.0.0.1:"), "{banner}");
    let told = "certificate by a new CA; `oneloop cert` tells how to trust it";
    assert!(banner.contains(told), "{banner}");
    for name in ["localhost", "a.b.localhost", "app.test", "127.0.0.1"] {
        let url = format!("https://{name}:PORT/a");
        let Some(got) = curl(&server, &ca(&home), &url) else {
            return;
        };
        assert_eq!(
            (got.code, &*got.stdout),
            (Some(0), "by TLS"),
            "{name}: {}",
            got.stderr
        );
    }
    // The guard lets in no name of the machine without --lan, so no certificate has one.
    for name in oneloop::sys::host_names() {
        let url = format!("https://{name}:PORT/a");
        let other = curl(&server, &ca(&home), &url).expect("there is one");
        assert!(other.stderr.contains("certificate"), "{}", other.stderr);
    }
    let other = curl(&server, &known("root.pem"), "https://localhost:PORT/a");
    assert_ne!(other.expect("there is one").code, Some(0));

    // After a restart, the CA is the same.
    drop(server);
    let server = serve(&home, &site, &["--tls"]);
    let banner = server.banner.join("\n");
    assert!(
        banner.contains("certificate by the CA of oneloop"),
        "{banner}"
    );
}

/// The user of a phone sees little more than that the connection has ended.
#[test]
fn the_log_says_why_a_handshake_has_failed() {
    let (home, site) = (Folder::new(), Folder::with("a", "by TLS"));
    let flags = ["--tls", "--metrics", "--log"];
    let pretty = [&flags[..], &["pretty"]].concat();
    let mut server = serve(&home, &site, &pretty);
    // A browser opens connections ahead of need.
    drop(server.connect());
    server.connect().send([0]);
    let line = server.stdout.next().expect("a line");
    let expected = "TLS with 127.0.0.1 has failed: the client does not speak TLS";
    assert!(line.ends_with(expected), "{line}");
    // A message of a handshake that makes no sense.
    server.connect().send([22, 3, 1, 0, 4, 99, 0, 0, 0]);
    let line = server.stdout.next().expect("a line");
    let expected = "TLS with 127.0.0.1 has failed: the client breaks the rules of TLS (";
    assert!(line.contains(expected), "{line}");
    let url = "https://localhost:PORT/_oneloop/metrics";
    if curl(&server, &known("root.pem"), url).is_none() {
        return;
    }
    let line = server.stdout.next().expect("a line");
    let expected = "TLS with 127.0.0.1 has failed: the client does not trust the certificate \
                    (alert unknown_ca); `oneloop cert` tells how to trust it";
    assert!(line.ends_with(expected), "{line}");
    let metrics = curl(&server, &ca(&home), url).expect("there is one").stdout;
    let count = "oneloop_connections_closed_total{cause=\"handshake\"} 3\n";
    assert!(metrics.contains(count), "{metrics}");

    // `oneloop cert` tells nothing of a certificate of the user, and a client may want another protocol.
    let both = known("both.pem");
    let both = both.to_str().expect("text");
    let flags = ["--log=json", "--tls-cert", both];
    let mut server = serve(&home, &site, &flags);
    curl(&server, &ca(&home), "https://localhost:PORT/a");
    let line = server.stdout.next().expect("a line");
    let expected = r#""handshake":"failed","reason":"the client does not trust the certificate (alert unknown_ca)","ms":"#;
    assert!(line.contains(expected), "{line}");
}

/// A client that has not ended its handshake cannot read, and is no slow reader.
#[test]
fn a_handshake_that_is_under_way_is_told_as_one() {
    let (home, site) = (Folder::new(), Folder::new());
    let flags = ["--tls", "--log=off", "--max-connections", "1"];
    let mut server = serve(&home, &site, &flags);
    let told = |server: &mut Server, client: &Client| {
        let address = client.local_address().to_string();
        eventually("the handshake is told", || {
            server.signal(Signal::USR1);
            server.stderr.find("key ");
            // The table ends where the next report begins.
            server.signal(Signal::USR1);
            let lines = std::iter::from_fn(|| server.stderr.next());
            let mut rows = lines.take_while(|line| !line.starts_with("the loop after"));
            let rows = rows.by_ref().collect::<Vec<_>>();
            let row = rows.iter().find(|row| row.contains(&address));
            row.is_some_and(|row| row.contains("TLS handshake under way: "))
        });
    };
    let mut begun = server.connect();
    begun.send([22, 3, 1]);
    told(&mut server, &begun);
    begun.reset();
    // At the limit of connections, the 503 waits for the end of the handshake.
    let mut busy = server.connect();
    busy.send("GET /a HTTP/1.1\r\n");
    let waiting = server.connect();
    told(&mut server, &waiting);
}

#[test]
fn the_certificate_of_the_ca_is_handed_out_without_tls_too() {
    let (home, site) = (Folder::new(), Folder::new());
    let server = serve(&home, &site, &["--tls"]);
    let expected = fs::read_to_string(ca(&home)).expect("it was made");
    for scheme in ["https", "http"] {
        let url = format!("{scheme}://localhost:PORT/_oneloop/ca.crt");
        let Some(got) = curl(&server, &ca(&home), &url) else {
            return;
        };
        assert_eq!(got.stdout, expected, "{scheme}");
    }
    let answer = server.connect().get("/_oneloop/ca.crt");
    let kind = answer.field("Content-Type");
    assert_eq!(kind, Some("application/x-x509-ca-cert"));
    // Without TLS there is none, nor with a certificate of the user.
    let both = known("both.pem");
    let both = both.to_str().expect("text");
    let plain = Server::of(site.path());
    assert_eq!(plain.connect().get("/_oneloop/ca.crt").status, 404);
    let given = serve(&home, &site, &["--tls-cert", both]);
    assert_eq!(given.connect().get("/_oneloop/ca.crt").status, 307);
}

#[test]
fn a_certificate_of_the_user_is_read_again_when_it_changes() {
    let (home, site) = (Folder::new(), Folder::with("a", "by TLS"));
    let copy = |from: &str, to: &str| home.put(to, fs::read(known(from)).expect("a file"));
    let certificate = copy("chain.pem", "cert.pem");
    let key = copy("ec.sec1.pem", "key.pem");
    let flags = [
        "--tls-cert",
        certificate.to_str().expect("text"),
        "--tls-key",
        key.to_str().expect("text"),
    ];
    let mut server = serve(&home, &site, &flags);
    let told = format!("certificate from {}", certificate.display());
    assert!(server.banner.contains(&told), "{:?}", server.banner);
    let trusts = |server: &Server, ca: &str| {
        let got = curl(server, &known(ca), "https://site.test:PORT/a");
        got.map(|got| (got.code, got.stdout) != (Some(60), String::new()))
    };
    // The guard does not let the name in, but the certificate has it.
    let Some(is_trusted) = trusts(&server, "root.pem") else {
        return;
    };
    assert!(is_trusted);

    // Half of the new pair. The old one stays, and the user is told.
    copy("rsa.pem", "cert.pem");
    let mut told = None;
    eventually("a warning", || {
        assert_eq!(trusts(&server, "root.pem"), Some(true));
        if server.stderr.is_waiting() {
            told = server.stderr.next();
        }
        told.is_some()
    });
    let told = told.expect("it came");
    let begin = format!(
        "warning: {}: its private key does not belong",
        key.display()
    );
    assert!(told.starts_with(&begin), "{told}");
    copy("rsa.pkcs1.pem", "key.pem");
    eventually("the new certificate", || {
        trusts(&server, "rsa.pem") == Some(true)
    });
    let told = server.stderr.next().expect("a line");
    let begin = format!("{}: a new certificate, valid to 21", certificate.display());
    assert!(told.starts_with(&begin), "{told}");
    assert_eq!(trusts(&server, "root.pem"), Some(false));
}

#[test]
fn programs_that_start_at_once_end_with_one_ca() {
    for content in [None, Some("not a CA")] {
        let home = Folder::new();
        if let Some(content) = content {
            use std::os::unix::fs::PermissionsExt as _;
            let path = home.put("data/oneloop/ca.pem", content);
            let private = |path: &Path, mode| {
                let mode = fs::Permissions::from_mode(mode);
                fs::set_permissions(path, mode).expect("it is ours");
            };
            private(&path, 0o600);
            private(path.parent().expect("it has one"), 0o700);
        }
        let all: Vec<_> = (0..6)
            .map(|_| Process::start(at_home(&home).arg("cert")))
            .collect();
        let all: Vec<_> = all.into_iter().map(Process::finish).collect();
        let hash = |text: &str| {
            let hash = text.lines().find_map(|line| line.strip_prefix("  SHA-256"));
            hash.map(str::to_owned).expect("a line with the hash")
        };
        let first = hash(&all[0].stdout);
        let mut warnings = 0;
        for one in &all {
            assert_eq!(one.code, Some(0), "{}", one.stderr);
            assert_eq!(hash(&one.stdout), first);
            warnings += one.stderr.lines().count();
        }
        assert_eq!(warnings, usize::from(content.is_some()));
    }
}

/// The steps for a CA that cannot do what is asked would lead nowhere.
#[test]
fn a_ca_that_may_not_sign_for_a_host_is_an_error_of_cert() {
    let home = Folder::new();
    let cert = |flags: &[&str]| Process::start(at_home(&home).arg("cert").args(flags)).finish();
    let made = cert(&["--allow-host", "app.test"]);
    assert!(made.stdout.contains("app.test"), "{}", made.stdout);
    for flags in [
        &["--allow-host", "app.test"][..],
        &["--allow-host", "192.168.1.7"],
    ] {
        let again = cert(flags);
        assert_eq!((again.code, &*again.stderr), (Some(0), ""), "{flags:?}");
    }
    let hosts = ["app.test", "late.test", "203.0.113.7"];
    let flags = hosts.map(|host| format!("--allow-host={host}"));
    let late = cert(&flags.each_ref().map(String::as_str));
    let expected = format!(
        "error: {}: this CA may not sign for late.test, 203.0.113.7; remove {:?} and run `oneloop \
         cert --allow-host app.test --allow-host late.test --allow-host 203.0.113.7` for a CA \
         that may, or use --tls-cert\n",
        ca(&home).display(),
        home.path().join("data/oneloop")
    );
    assert_eq!(
        (late.code, &*late.stdout, late.stderr),
        (Some(1), "", expected)
    );
}

/// Checks that the program fails with this code and this line.
fn check(command: &mut Command, code: i32, expected: &str) {
    let ended = Process::start(command).finish();
    assert_eq!(
        (ended.code, &*ended.stdout),
        (Some(code), ""),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.starts_with("error: "), "{}", ended.stderr);
    assert!(
        ended.stderr.contains(expected),
        "{expected}: {}",
        ended.stderr
    );
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[test]
fn a_certificate_that_cannot_be_had_is_one_line_with_the_next_step() {
    let (home, site) = (Folder::new(), Folder::new());
    let serve = || {
        let mut command = at_home(&home);
        command.arg(site.path()).args(["--port", "0"]);
        command
    };
    let (certificate, key) = (known("ec.pem"), known("ec.sec1.pem"));
    let wrong = format!(
        "cannot speak TLS: {}: it holds a private key, and no certificate; are --tls-cert and \
         --tls-key the wrong way round?",
        key.display()
    );
    let turned = ["--tls-cert".as_ref(), key.as_os_str(), "--tls-key".as_ref()];
    check(serve().args(turned).arg(&certificate), 1, &wrong);
    let alone = serve().arg("--tls-cert").arg(&certificate).output();
    let alone = alone.expect("it ends").stderr;
    let alone = String::from_utf8(alone).expect("text");
    assert!(
        alone.contains("name the file of the key with --tls-key"),
        "{alone}"
    );
    check(
        serve().arg("--tls-key").arg(&key),
        2,
        "--tls-key needs --tls-cert",
    );
    check(
        serve().env("ONELOOP_TLS_KEY", &key),
        2,
        "ONELOOP_TLS_KEY needs --tls-cert",
    );
    // The variables mean the same as the flags.
    let mut by_variables = serve();
    by_variables
        .env("ONELOOP_TLS_CERT", &certificate)
        .env("ONELOOP_TLS_KEY", &key);
    let server = Server::from(&mut by_variables);
    assert!(
        server
            .banner
            .iter()
            .any(|line| line.starts_with("https://"))
    );

    home.put("data/oneloop", "a file in the place of the directory");
    check(
        serve().arg("--tls"),
        1,
        "set XDG_DATA_HOME to a directory of yours",
    );
    check(
        at_home(&home).arg("cert"),
        1,
        "set XDG_DATA_HOME to a directory",
    );
    let mut homeless = serve();
    homeless.env_remove("XDG_DATA_HOME").env_remove("HOME");
    check(
        homeless.arg("--tls"),
        1,
        "there is no HOME; set XDG_DATA_HOME",
    );
}

/// A backend that speaks TLS must be trusted by this machine, or by `--proxy-insecure`.
#[test]
fn the_proxy_reaches_a_backend_by_https_if_its_certificate_is_trusted() {
    let (home, site) = (Folder::new(), Folder::with("api/a", "by two servers"));
    let backend = serve(&home, &site, &["--tls", "--log=off"]);
    let port = backend.address().port();
    let route = format!("--proxy=/api=https://localhost:{port}");
    let own = Folder::new();
    let front = |more: &[&str]| {
        let mut command = at_home(&home);
        command
            .arg(own.path())
            .args(["--port=0", "--log=off", &route]);
        // The authorities that this machine trusts: one of another purpose, and that of the backend.
        let file = if more.contains(&"--trusting") {
            ca(&home)
        } else {
            known("root.pem")
        };
        command
            .env("SSL_CERT_FILE", file)
            .env_remove("SSL_CERT_DIR");
        command.args(more.iter().filter(|flag| **flag != "--trusting"));
        Server::from(&mut command)
    };
    for more in ["--trusting", "--proxy-insecure"] {
        let answer = front(&[more]).connect().get("/api/a");
        assert_eq!(answer.text(), "by two servers", "{more}");
    }
    let distrust = front(&[]).connect().get("/api/a");
    assert!(distrust.text().contains("its certificate is not trusted"));
    let command = format!("\ntry: curl -v https://localhost:{port}/\n");
    assert!(distrust.text().contains(&command), "{}", distrust.text());
    let plain = serve(&home, &site, &["--log=off"]);
    let route = format!("--proxy=/api=https://{}", plain.address());
    let answer = Server::with(own.path(), &["--log=off", &route])
        .connect()
        .get("/api/a");
    assert_eq!(answer.status, 502);
    assert!(
        answer.text().contains(": it speaks no TLS of version"),
        "{}",
        answer.text()
    );
}
