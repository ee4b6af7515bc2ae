//! Floor 1, certificates: tests of the certificates that clients get, by handshakes in memory.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::ClientConnection;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::{Scratch, names, self_signed};
use crate::certificates::{Certificates, DAY, Names};

/// The clock of a client.
#[derive(Debug)]
struct At(SystemTime);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.0.duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

/// A client that trusts one CA.
struct Client {
    ca: Vec<u8>,
    version: &'static SupportedProtocolVersion,
    now: SystemTime,
}

impl Client {
    fn new(certificates: &Certificates, now: SystemTime) -> Client {
        use rustls::pki_types::pem::PemObject as _;
        let pem = certificates.authority_pem().expect("there is a CA");
        let ca = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
        Client {
            ca: ca.to_vec(),
            version: &TLS13,
            now,
        }
    }

    /// Connects to a server by a name or an address. Returns the certificate of the server, or the error
    /// of the client.
    fn connect(&self, server: &Arc<ServerConfig>, name: &str) -> Result<Vec<u8>, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.clone().into()).expect("a certificate");
        let provider = Arc::new(ring::default_provider());
        let time = Arc::new(At(self.now));
        let config = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(&[self.version])
            .expect("a version")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name)?;
        let mut server = ServerConnection::new(server.clone())?;
        let mut bytes = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            bytes.clear();
            client.write_tls(&mut bytes).expect("memory");
            server.read_tls(&mut &bytes[..]).expect("memory");
            server.process_new_packets()?;
            bytes.clear();
            server.write_tls(&mut bytes).expect("memory");
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).expect("memory");
                client.process_new_packets()?;
            }
        }
        assert_eq!(client.protocol_version(), Some(self.version.version));
        let chain = client.peer_certificates().expect("the handshake is done");
        assert_eq!(chain.len(), 1);
        Ok(chain[0].to_vec())
    }
}

/// A server with these certificates.
fn serve(certificates: &Certificates) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for both versions")
        .with_no_client_auth()
        .with_cert_resolver(certificates.resolver());
    Arc::new(config)
}

fn make(scratch: &Scratch, hosts: &[&str], now: SystemTime) -> Certificates {
    Certificates::make(&scratch.places(), names(hosts), now).expect("a CA")
}

#[test]
fn a_client_that_trusts_the_ca_reaches_each_name_and_address() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let hosts = ["app.test", ".example.org", "203.0.113.7", "[2001:db8::7]"];
    let mut certificates = make(&scratch, &hosts, now);
    assert_eq!(certificates.take_remarks(), []);
    let mut client = Client::new(&certificates, now);
    let server = serve(&certificates);
    let mut common = Vec::new();
    for name in [
        "localhost",
        "127.0.0.1",
        "::1",
        "app.test",
        "example.org",
        "203.0.113.7",
        "2001:db8::7",
        "LocalHost",
    ] {
        let got = client.connect(&server, name).expect(name);
        if common.is_empty() {
            common = got.clone();
        }
        assert!(got == common, "{name} has a certificate of its own");
    }
    for name in ["app.localhost", "a.b.localhost", "www.example.org"] {
        for version in [&TLS13, &TLS12] {
            client.version = version;
            let got = client.connect(&server, name).expect(name);
            assert_ne!(got, common, "{name}");
            assert_eq!(client.connect(&server, name), Ok(got), "it is made once");
        }
    }
    for name in [
        "other.test",
        "example.com",
        "192.168.1.20",
        "wwwexample.org",
        "box",
        "box.local",
    ] {
        client.connect(&server, name).expect_err(name);
    }
    assert_eq!(TLS13.version, ProtocolVersion::TLSv1_3);
}

#[test]
fn a_certificate_has_what_browsers_and_phones_ask_for() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let certificates = make(&scratch, &[], now);
    let client = Client::new(&certificates, now);
    let server = serve(&certificates);
    let mut numbers = Vec::new();
    for name in ["localhost", "a.localhost", "b.localhost"] {
        let der = client.connect(&server, name).expect(name);
        let (_, certificate) = X509Certificate::from_der(&der).expect("a certificate");
        let purposes = certificate.extended_key_usage().expect("one");
        assert!(purposes.expect("one").value.server_auth);
        assert!(!certificate.is_ca());
        let validity = certificate.validity();
        let span = validity.not_after.timestamp() - validity.not_before.timestamp();
        assert_eq!(span as u64, 91 * DAY.as_secs());
        let begin = UNIX_EPOCH + Duration::from_secs(validity.not_before.timestamp() as u64);
        assert!(begin <= now - DAY && begin > now - 2 * DAY);
        assert_eq!(
            certificate
                .public_key()
                .parsed()
                .expect("it is known")
                .key_size(),
            256
        );
        numbers.push(certificate.raw_serial().to_vec());
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(
        numbers.len(),
        3,
        "Firefox refuses a number that comes twice"
    );
}

#[test]
fn a_new_address_of_the_machine_is_in_a_new_certificate_by_the_same_ca() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let mut certificates = make(&scratch, &[], now);
    let client = Client::new(&certificates, now);
    let lan = "192.168.7.7";
    let server = serve(&certificates);
    client.connect(&server, lan).expect_err("it is not known");
    let mut at = |local: &str| {
        let local = local.parse().expect("an address");
        certificates.meet(Some(local), now);
    };
    at(lan);
    let first = client.connect(&server, lan).expect("it is known");
    at(lan);
    // The IPv4 client of an IPv6 socket.
    at("::ffff:192.168.7.7");
    assert_eq!(client.connect(&server, lan), Ok(first.clone()));
    // The CA may not sign for a public address, and the certificate stays good for the others.
    at("8.8.8.8");
    at("8.8.8.8");
    assert_eq!(client.connect(&server, lan), Ok(first));
    // However often the address changes, the certificate stays small.
    for n in 0..300_u32 {
        at(&format!("10.0.{}.{}", n / 100, n % 100 + 1));
    }
    let last = client.connect(&server, "10.0.2.100").expect("the last one");
    assert!(last.len() < 2_000, "{}", last.len());
    client
        .connect(&server, "127.0.0.1")
        .expect("this one is kept");
    client
        .connect(&server, lan)
        .expect_err("the oldest is gone");
}

#[test]
fn a_certificate_is_replaced_before_its_end() {
    let (scratch, start) = (Scratch::new(), SystemTime::now());
    let mut certificates = make(&scratch, &[], start);
    let mut client = Client::new(&certificates, start);
    for name in ["localhost", "app.localhost"] {
        let server = serve(&certificates);
        let mut got = Vec::new();
        for (day, is_new) in [
            (0, true),
            (59, false),
            (61, true),
            (119, false),
            (150, true),
        ] {
            client.now = start + day * DAY;
            certificates.meet(None, client.now);
            let der = client.connect(&server, name).expect("it is valid");
            assert_eq!(der != got, is_new, "{name} on day {day}");
            got = der;
        }
        client.now = start + 500 * DAY;
        client.connect(&server, name).expect_err("it has expired");
    }
}

#[test]
fn a_certificate_does_not_outlast_the_ca() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let (certificate, key) = self_signed(true, now, now + 5 * DAY);
    scratch.write("data/mkcert/rootCA.pem", certificate);
    scratch.write("data/mkcert/rootCA-key.pem", key);
    let mut certificates = make(&scratch, &["example.com"], now);
    let client = Client::new(&certificates, now);
    let server = serve(&certificates);
    // The CA of mkcert signs for every name.
    let first = client.connect(&server, "example.com").expect("it is valid");
    let ends = crate::certificates::facts::Facts::of(&first)
        .expect("one")
        .ends;
    assert!(ends <= now + 5 * DAY);
    // A new one would end at the same time.
    certificates.meet(None, now + DAY);
    assert_eq!(client.connect(&server, "example.com"), Ok(first));
}

#[test]
fn a_host_for_which_the_ca_may_not_sign_is_told_and_left_out() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    make(&scratch, &[], now);
    let hosts = ["late.test", ".example.org", "203.0.113.7", "in.local", "*"];
    let mut certificates = make(&scratch, &hosts, now);
    let remarks = certificates.take_remarks();
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    let text = &remarks[0].text;
    let names = "may not sign for late.test, example.org, 203.0.113.7; remove ";
    assert!(text.contains(names), "{text}");
    let next =
        "`oneloop cert --allow-host late.test --allow-host example.org --allow-host 203.0.113.7`";
    assert!(text.contains(next), "{text}");
    let client = Client::new(&certificates, now);
    let server = serve(&certificates);
    for (name, is_reached) in [
        ("localhost", true),
        ("in.local", true),
        ("127.0.0.1", true),
        // Any name has a certificate of its own, but for the CA.
        ("other.local", true),
        ("late.test", false),
        ("www.example.org", false),
        ("203.0.113.7", false),
    ] {
        let got = client.connect(&server, name);
        assert_eq!(got.is_ok(), is_reached, "{name}: {got:?}");
    }
}

/// A certificate has the names that the guard lets in: those of the machine among them with `--lan`, which
/// allows them. The CA may sign for them from its beginning.
#[test]
fn a_name_of_the_machine_is_in_the_certificate_if_it_is_allowed() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    for (hosts, is_reached) in [(&[][..], false), (&["box", "box.local"], true)] {
        let mut certificates = make(&scratch, hosts, now);
        assert_eq!(certificates.take_remarks(), []);
        let client = Client::new(&certificates, now);
        let server = serve(&certificates);
        for name in ["box", "box.local"] {
            let got = client.connect(&server, name);
            assert_eq!(got.is_ok(), is_reached, "{name}: {got:?}");
        }
        client.connect(&server, "localhost").expect("it is let in");
    }
}

#[test]
fn another_name_of_the_machine_is_left_out_without_a_word() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    make(&scratch, &[], now);
    let allowed = ["renamed", "renamed.local"].map(String::from);
    let names = Names::new(Some("renamed"), &allowed, &[]);
    let made = Certificates::make(&scratch.places(), names, now);
    let mut certificates = made.expect("a CA");
    assert_eq!(certificates.take_remarks(), []);
    let client = Client::new(&certificates, now);
    let server = serve(&certificates);
    for (name, is_reached) in [("renamed.local", true), ("renamed", false), ("box", false)] {
        let got = client.connect(&server, name);
        assert_eq!(got.is_ok(), is_reached, "{name}: {got:?}");
    }
}

#[test]
fn names_that_strangers_ask_for_do_not_fill_the_memory() {
    let (scratch, now) = (Scratch::new(), SystemTime::now());
    let certificates = make(&scratch, &["*"], now);
    let choose = |name: &str| certificates.resolver.choose(Some(name)).cert[0].to_vec();
    let first = choose("first.localhost");
    for n in 0..50 {
        choose(&format!("a{n}.localhost"));
    }
    assert_eq!(choose("first.localhost"), first);
    for n in 0..64 {
        choose(&format!("b{n}.localhost"));
    }
    assert_ne!(choose("first.localhost"), first);
    // No name at all, and one that no certificate can have.
    let common = choose("localhost");
    for name in ["-.localhost", ".localhost", "127.0.0.1", "a..localhost", ""] {
        assert_eq!(choose(name), common, "{name}");
    }
}
