//! HTTPS, to a client of `rustls` and to curl and openssl.

use std::io::{self, Read, Write};
use std::sync::{Arc, mpsc};

use oneloop::http::Method;
use oneloop::transport::TlsConfig;
use oneloop::transport::tls::server_config;
use oneloop::{Answer, BoundServer};
use rcgen::{CertificateParams, CertifiedKey, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey as ServedKey;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned,
};

use super::{Asks, Program};
use crate::harness::{CURL_FLAGS, Folder, PATIENCE, Process, outside, pattern};
use crate::peer::{FIN, TEXT, handshake, text};
use crate::tcp::Stream;

/// A certificate for `localhost`, and the key.
struct Identity {
    made: CertifiedKey<KeyPair>,
}

impl Identity {
    fn new() -> Identity {
        let key = KeyPair::generate().expect("random numbers");
        let params = CertificateParams::new(["localhost".into()]).expect("a name");
        let cert = params.self_signed(&key).expect("it can be signed");
        let made = CertifiedKey {
            cert,
            signing_key: key,
        };
        Identity { made }
    }

    /// What the server speaks with.
    fn served(&self) -> Arc<rustls::ServerConfig> {
        let key = PrivateKeyDer::try_from(self.made.signing_key.serialize_der()).expect("a key");
        let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("a known kind");
        let one = One(Arc::new(ServedKey::new(
            vec![self.made.cert.der().clone()],
            key,
        )));
        Arc::new(server_config(Arc::new(one)).expect("random numbers"))
    }

    /// What a client trusts.
    fn trusted(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.made.cert.der().clone())
            .expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("they are there");
        builder.with_root_certificates(roots).with_no_client_auth()
    }
}

#[derive(Debug)]
struct One(Arc<ServedKey>);

impl ResolvesServerCert for One {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<ServedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A server that speaks TLS.
struct Secure {
    program: Program,
    identity: Identity,
    tls: TlsConfig,
}

impl Secure {
    fn new() -> Secure {
        Secure::with(|bound| bound)
    }

    fn with(add: impl FnOnce(BoundServer) -> BoundServer + Send + 'static) -> Secure {
        let identity = Identity::new();
        let tls = TlsConfig::new(identity.served());
        let given = tls.clone();
        let program = Program::with(|_| {}, move |bound| add(bound.with_tls(&given)));
        Secure {
            program,
            identity,
            tls,
        }
    }

    fn client(&self) -> Client {
        Client::of(self, Arc::new(self.identity.trusted()))
    }
}

/// A client that speaks TLS.
struct Client(StreamOwned<ClientConnection, Stream>);

impl Client {
    fn of(server: &Secure, config: Arc<ClientConfig>) -> Client {
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(config, name).expect("a fit name");
        Client(StreamOwned::new(
            connection,
            Stream::to(server.program.address()),
        ))
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("it is taken");
        self.0.flush().expect("it is taken");
    }

    /// Reads until these bytes have come; returns what came before and with them.
    fn until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut got = Vec::new();
        while !got.ends_with(end) {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("more comes");
            got.push(byte[0]);
        }
        got
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.0.read_exact(&mut bytes).expect("they come");
        bytes
    }

    /// Sends a request, and reads an answer with a length. Returns the head and the body.
    fn ask(&mut self, request: &str) -> (String, Vec<u8>) {
        self.send(format!("{request}\r\nHost: localhost\r\n\r\n"));
        self.answer()
    }

    fn answer(&mut self) -> (String, Vec<u8>) {
        let head = String::from_utf8(self.until(b"\r\n\r\n")).expect("a head is ASCII");
        let lines = head.lines();
        let length = lines.filter_map(|line| line.strip_prefix("Content-Length: "));
        let length = length
            .map(|n| n.parse().expect("a number"))
            .next()
            .unwrap_or(0);
        let body = self.bytes(length);
        (head, body)
    }

    /// Reads to the end, which must be announced by close_notify.
    fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest);
        read.expect("the end is announced");
        rest
    }
}

fn is_ok(head: &str) -> bool {
    head.starts_with("HTTP/1.1 200 ")
}

#[test]
fn a_file_comes_by_tls_as_without() {
    let server = Secure::new();
    let mut client = server.client();
    for _ in 0..3 {
        let (head, body) = client.ask("GET /file HTTP/1.1");
        assert!(is_ok(&head), "{head}");
        assert_eq!(body, b"a file\n");
    }
    let connection = &client.0.conn;
    assert_eq!(
        connection.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
}

#[test]
fn http_1_1_is_what_alpn_finds_and_h2_alone_is_refused() {
    let server = Secure::new();
    for (offered, found) in [
        (&[&b"h2"[..], b"http/1.1"][..], true),
        (&[], true),
        (&[&b"h2"[..]], false),
    ] {
        let mut config = server.identity.trusted();
        config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
        let mut client = Client::of(&server, Arc::new(config));
        let sent = client.0.write_all(b"GET /file HTTP/1.0\r\n\r\n");
        assert_eq!(sent.is_ok(), found, "{offered:?}: {sent:?}");
        if found && !offered.is_empty() {
            assert_eq!(client.0.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        }
        if let Err(error) = sent {
            // An alert, not a bare end.
            assert!(
                error.to_string().contains("NoApplicationProtocol"),
                "{error}"
            );
        }
    }
}

#[test]
fn an_answer_that_ends_with_the_connection_ends_with_close_notify() {
    let server = Secure::new();
    let mut client = server.client();
    client.send("GET /file HTTP/1.0\r\n\r\n");
    assert!(client.rest().ends_with(b"\r\n\r\na file\n"));
}

#[test]
fn a_large_file_comes_whole_to_a_client_that_reads_late() {
    let server = Secure::new();
    let content = pattern(20 << 20);
    server.program.folder.put("large", &content);
    let mut client = server.client();
    client.send("GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    // Another client is served meanwhile.
    assert!(is_ok(&server.client().ask("GET /file HTTP/1.1").0));
    let (head, body) = client.answer();
    assert!(is_ok(&head) && body == content, "{head}");
    assert_eq!(client.rest(), b"");
}

#[test]
fn a_large_body_comes_whole_to_an_endpoint() {
    let (told, sizes) = mpsc::channel();
    let server = Secure::with(move |bound| {
        bound.with_endpoint(
            "/in",
            Asks::new(&[Method::Post], move |_, request| {
                assert_eq!(request.scheme().as_str(), "https");
                told.send(request.body().to_vec()).expect("it is awaited");
                Answer::text("taken")
            }),
        )
    });
    let body = pattern(900_000);
    let mut client = server.client();
    let length = body.len();
    client.send(format!(
        "POST /in HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    ));
    client.send(&body);
    assert_eq!(client.answer().1, b"taken");
    assert!(sizes.recv_timeout(PATIENCE).expect("it is told") == body);
}

#[test]
fn requests_that_came_in_one_record_are_all_answered() {
    let server = Secure::new();
    let mut client = server.client();
    // More than the buffer of decrypted bytes holds, and one system call reads.
    let one = "GET /file HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(one.repeat(1_000));
    for _ in 0..1_000 {
        assert_eq!(client.answer().1, b"a file\n");
    }
}

#[test]
fn websocket_works_over_tls() {
    let server = Secure::new();
    let mut client = server.client();
    client.send(handshake("/echo", &["Origin: https://localhost"]));
    assert!(client.answer().0.starts_with("HTTP/1.1 101 "));
    client.send(text("over TLS"));
    let mut expected = vec![FIN | TEXT, 8];
    expected.extend(b"over TLS");
    assert_eq!(client.bytes(10), expected);
}

#[test]
fn a_page_without_tls_is_another_origin() {
    let server = Secure::new();
    let mut client = server.client();
    let request = |origin: &str| {
        let fields = ["Host: app.local", origin, "Sec-WebSocket-Version: 13"].join("\r\n");
        format!("GET /echo HTTP/1.1\r\n{fields}\r\n\r\n")
    };
    client.send(request("Origin: https://app.local"));
    assert!(client.answer().0.starts_with("HTTP/1.1 403 "));
    let mut own = server.client();
    let by = |scheme: &str| {
        format!(
            "POST /echo HTTP/1.1\r\nHost: 192.0.2.1\r\nOrigin: {scheme}://192.0.2.1\r\n\
             Content-Length: 0\r\n\r\n"
        )
    };
    own.send(by("http"));
    assert!(own.answer().0.starts_with("HTTP/1.1 403 "));
    own.send(by("https"));
    assert!(own.answer().0.starts_with("HTTP/1.1 405 "));
}

#[test]
fn a_target_with_a_scheme_needs_the_scheme_of_the_connection() {
    let server = Secure::new();
    let mut client = server.client();
    assert!(is_ok(&client.ask("GET https://localhost/file HTTP/1.1").0));
    let (head, _) = client.ask("GET http://localhost/file HTTP/1.1");
    assert!(head.starts_with("HTTP/1.1 421 "), "{head}");
}

#[test]
fn a_client_that_comes_again_needs_no_signature() {
    let server = Secure::new();
    for versions in [
        rustls::ALL_VERSIONS,
        &[&rustls::version::TLS13],
        &[&rustls::version::TLS12],
    ] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        let certificate = server.identity.made.cert.der().clone();
        roots.add(certificate).expect("a certificate");
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("they are there");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        let kinds = [(); 2].map(|()| {
            let mut client = Client::of(&server, Arc::clone(&config));
            assert!(is_ok(&client.ask("GET /file HTTP/1.1").0));
            client.0.conn.handshake_kind()
        });
        assert_eq!(
            kinds,
            [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)],
            "{versions:?}"
        );
    }
}

#[test]
fn new_certificates_are_for_the_next_connection() {
    let server = Secure::new();
    let mut before = server.client();
    assert!(is_ok(&before.ask("GET /file HTTP/1.1").0));
    let next = Identity::new();
    server.tls.replace(next.served());
    assert!(is_ok(&before.ask("GET /file HTTP/1.1").0));
    let mut after = Client::of(&server, Arc::new(next.trusted()));
    assert!(is_ok(&after.ask("GET /file HTTP/1.1").0));
    // Who trusts the old one only is told so.
    let mut late = server.client();
    let refused = late
        .0
        .write_all(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
        .is_err();
    assert!(refused);
}

#[test]
fn a_client_that_ends_its_direction_still_gets_its_answer() {
    let server = Secure::new();
    let content = pattern(3 << 20);
    server.program.folder.put("large", &content);
    for with_notice in [true, false] {
        let mut client = server.client();
        client.send("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if with_notice {
            client.0.conn.send_close_notify();
            client.0.flush().expect("it is taken");
        }
        let ended = client.0.sock.shutdown(std::net::Shutdown::Write);
        ended.expect("it is connected");
        let (head, body) = client.answer();
        assert!(is_ok(&head) && body == content, "{head}");
        assert_eq!(client.rest(), b"");
    }
}

#[test]
fn an_idle_client_that_is_closed_at_a_stop_is_told_of_the_end() {
    let server = Secure::new();
    let mut client = server.client();
    assert!(is_ok(&client.ask("GET /file HTTP/1.1").0));
    server.program.handle.stop().expect("it runs");
    assert_eq!(client.rest(), b"");
}

#[test]
fn plain_http_is_led_to_https() {
    let server = Secure::with(|bound| {
        BoundServer {
            server: bound.server.with_plain_path("/open"),
            ..bound
        }
        .with_endpoint(
            "/open",
            Asks::new(&[Method::Get], |_, request| {
                Answer::text(request.scheme().as_str())
            }),
        )
    });
    for (request, expected) in [
        (
            "GET /a%20b?c=d HTTP/1.1\r\nHost: localhost:8443",
            "307 Temporary Redirect\r\nLocation: https://localhost:8443/a%20b?c=d\r\n",
        ),
        (
            "HEAD http://localhost/a HTTP/1.1\r\nHost: localhost",
            "307 Temporary Redirect\r\nLocation: https://localhost/a\r\n",
        ),
        ("POST / HTTP/1.1\r\nHost: localhost", "400 Bad Request\r\n"),
        ("GET / HTTP/1.0", "400 Bad Request\r\n"),
        ("GET / HTTP/1.1\r\nHost: evil.example", "403 Forbidden\r\n"),
        ("GET https://localhost/ HTTP/1.1\r\nHost: localhost", "421 "),
    ] {
        let mut client = server.program.connect();
        client.send(format!("{request}\r\n\r\n"));
        let answer = client.head();
        let got = &answer.head["HTTP/1.1 ".len()..];
        assert!(got.starts_with(expected), "{request}: {got}");
        assert_eq!(answer.field("Connection"), Some("close"), "{request}");
    }
    let mut client = server.program.connect();
    assert_eq!(client.get("/open").text(), "http");
    assert_eq!(client.get("/open").text(), "http");
    assert_eq!(client.get("/file").status, 307);
    // The same port, by TLS.
    assert_eq!(server.client().ask("GET /open HTTP/1.1").1, b"https");
}

#[test]
fn what_is_neither_is_closed_and_a_broken_record_is_told() {
    let server = Secure::new();
    let mut other = server.program.connect();
    other.send([0x80, 0x2e, 1, 0, 2]);
    assert!(matches!(other.receive(), Ok(0) | Err(_)));
    let mut broken = server.program.connect();
    // A ClientHello of one byte.
    broken.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00");
    // A fatal alert.
    let alert = broken.bytes(7);
    assert_eq!((alert[0], alert[5]), (0x15, 2), "{alert:?}");
    assert!(is_ok(&server.client().ask("GET /file HTTP/1.1").0));
}

/// The socket of a client that gives the server one byte at a time.
struct Dribble(Stream);

impl Read for Dribble {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Dribble {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..1.min(bytes.len())])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[test]
fn a_handshake_may_come_in_single_bytes_while_others_are_served() {
    let server = Secure::new();
    let name = ServerName::try_from("localhost").expect("a name");
    let config = Arc::new(server.identity.trusted());
    let connection = ClientConnection::new(config, name).expect("a fit name");
    let stream = Dribble(Stream::to(server.program.address()));
    let mut slow = StreamOwned::new(connection, stream);
    // A half of the first message.
    for _ in 0..100 {
        let sent = slow.conn.write_tls(&mut slow.sock);
        assert_eq!(sent.expect("it is taken"), 1);
    }
    assert!(is_ok(&server.client().ask("GET /file HTTP/1.1").0));
    slow.write_all(b"GET /file HTTP/1.0\r\n\r\n")
        .expect("it is taken");
    let mut answer = Vec::new();
    slow.read_to_end(&mut answer).expect("the end is announced");
    assert!(answer.ends_with(b"a file\n"));
}

#[test]
fn new_keys_are_answered_while_nothing_else_is_said() {
    let server = Secure::new();
    let mut client = server.client();
    assert!(is_ok(&client.ask("GET /file HTTP/1.1").0));
    for _ in 0..3 {
        let updated = client.0.conn.refresh_traffic_keys();
        updated.expect("the handshake is over");
        assert!(is_ok(&client.ask("GET /file HTTP/1.1").0));
    }
}

#[test]
fn many_clients_that_come_at_once_are_all_served() {
    let server = Secure::new();
    let config = Arc::new(server.identity.trusted());
    let mut clients: Vec<_> = (0..40)
        .map(|_| {
            let mut client = Client::of(&server, Arc::clone(&config));
            while client.0.conn.wants_write() {
                let sent = client.0.conn.write_tls(&mut client.0.sock);
                sent.expect("it is taken");
            }
            client
        })
        .collect();
    for client in &mut clients {
        assert!(is_ok(&client.ask("GET /file HTTP/1.1").0));
    }
}

/// Runs a program of others, with the certificate of the server in a file; `None` if it is not installed.
fn run(
    server: &Secure,
    name: &str,
    args: impl FnOnce(&str, &str) -> Vec<String>,
) -> Option<String> {
    let mut command = outside(name)?;
    let folder = Folder::with("ca.pem", server.identity.made.cert.pem());
    let ca = folder.path().join("ca.pem");
    let port = server.program.address().port().to_string();
    command.args(args(ca.to_str().expect("it is UTF-8"), &port));
    let finished = Process::start(&mut command).finish();
    assert_eq!(
        finished.code,
        Some(0),
        "{}{}",
        finished.stdout,
        finished.stderr
    );
    Some(finished.stdout)
}

#[test]
fn curl_gets_files_and_sees_the_version() {
    let server = Secure::new();
    server.program.folder.put("large", pattern(10 << 20));
    for (version, shown) in [("1.2", "1.2"), ("1.3", "1.3")] {
        let stdout = run(&server, "curl", |ca, port| {
            let url = format!("https://localhost:{port}/large");
            let flags = [
                "--cacert",
                ca,
                &format!("--tlsv{version}"),
                "--tls-max",
                version,
                "-o",
                "/dev/null",
                "-w",
                "%{http_code} %{size_download} %{ssl_verify_result}",
                &url,
            ];
            let all = CURL_FLAGS.into_iter().chain(flags);
            all.map(String::from).collect()
        });
        if let Some(stdout) = stdout {
            assert_eq!(stdout, "200 10485760 0", "{shown}");
        }
    }
}

#[test]
fn openssl_finds_no_fault() {
    let server = Secure::new();
    let stdout = run(&server, "openssl", |ca, port| {
        let to = format!("localhost:{port}");
        [
            "s_client",
            "-connect",
            &to,
            "-CAfile",
            ca,
            "-verify_return_error",
            "-alpn",
            "http/1.1",
            "-no_ign_eof",
        ]
        .map(String::from)
        .into()
    });
    if let Some(stdout) = stdout {
        for line in ["Verify return code: 0 (ok)", "ALPN protocol: http/1.1"] {
            assert!(stdout.contains(line), "{line}: {stdout}");
        }
    }
}

#[test]
fn a_peer_that_vanishes_in_a_handshake_is_forgotten() {
    let server = Secure::new();
    let mut client = server.client();
    let sent = client.0.conn.write_tls(&mut client.0.sock);
    sent.expect("it is taken");
    drop(client);
    assert!(is_ok(&server.client().ask("GET /file HTTP/1.1").0));
    let gone = server.program.connect();
    drop(gone);
    assert!(is_ok(&server.client().ask("GET /file HTTP/1.1").0));
}
