//! Floor 1, certificates: the certificates of HTTPS. For each handshake, a resolver of `rustls` chooses one by
//! the name that the client asks for. This module knows files, and no sockets.
//!
//! There are two sources. Without files of the user, each certificate is made in memory, and is signed by a
//! CA of this machine: that of mkcert if there is one, or else a small one of ours ([`authority`]). With
//! files of the user ([`given`]), those are sent, and are read again when they change.
//!
//! Architecture invariant: no private key leaves this module, and no certificate of a server is written to
//! the disk. No trust store is touched: [`instructions`] has the commands for the user.
//!
//! Floor 1 is the lowest on which this module can stand, because it asks `sys` for the state of files.
//! `transport` does not know it: the server hands the [resolver](Certificates::resolver) from one to the other.

mod authority;
mod facts;
mod form;
mod given;
mod leaf;
mod names;
mod places;
mod resolver;
mod store;
#[cfg(test)]
mod tests;
mod trust;
mod trusted;

pub use authority::Authority;
pub use names::Names;
pub use places::Places;
pub use trust::instructions;
pub(crate) use trusted::client_config;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::ResolvesServerCert;

use given::Given;
use resolver::Resolver;

/// The reason why certificates cannot be had, about one file or directory, with the next step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The file or the directory.
    pub path: PathBuf,
    /// The rest of the sentence.
    pub text: String,
}

impl Fault {
    fn new(path: &Path, text: impl Into<String>) -> Fault {
        Fault {
            path: path.into(),
            text: text.into(),
        }
    }
}

/// A line about a file for the user. There is no hurry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// The file.
    pub path: PathBuf,
    /// The rest of the sentence.
    pub text: String,
    /// Whether something is wrong.
    pub is_warning: bool,
}

impl Remark {
    fn warning(path: &Path, text: impl Into<String>) -> Remark {
        Remark {
            path: path.into(),
            text: text.into(),
            is_warning: true,
        }
    }
}

/// The certificates of a server.
#[derive(Debug)]
pub struct Certificates {
    resolver: Arc<Resolver>,
    source: Source,
    looked_at: SystemTime,
    remarks: Vec<Remark>,
}

/// The origin of the certificates.
#[derive(Debug)]
enum Source {
    /// They are made here. The text is the certificate of the CA.
    Made {
        pem: String,
        path: PathBuf,
        is_of_mkcert: bool,
        is_new: bool,
    },
    /// They are in files of the user.
    Given(Box<Given>),
}

impl Certificates {
    /// The shortest time between two looks at files and at the ends of certificates.
    const LOOK_EVERY: Duration = Duration::from_millis(250);

    /// Makes certificates for these names, signed by a CA of this machine.
    ///
    /// # Errors
    /// [`Fault`], if there is no CA of mkcert, and ours can neither be read nor made.
    pub fn make(places: &Places, names: Names, now: SystemTime) -> Result<Certificates, Fault> {
        let mut remarks = Vec::new();
        let authority = Authority::find_or_make(places, &names, now, &mut remarks)?;
        let source = Source::Made {
            pem: authority.pem().into(),
            path: authority.path().into(),
            is_of_mkcert: authority.is_of_mkcert(),
            is_new: authority.is_new(),
        };
        let resolver = Resolver::made(authority, names, now, &mut remarks)?;
        Ok(Certificates::new(resolver, source, remarks, now))
    }

    /// Takes the certificate and the private key from files of the user, which may be one file.
    ///
    /// # Errors
    /// [`Fault`], if the files do not hold a certificate and its key.
    pub fn give(certificate: &Path, key: &Path, now: SystemTime) -> Result<Certificates, Fault> {
        let mut remarks = Vec::new();
        let (given, pair) = Given::read(certificate, key, now, &mut remarks)?;
        let source = Source::Given(Box::new(given));
        Ok(Certificates::new(
            Resolver::given(pair),
            source,
            remarks,
            now,
        ))
    }

    fn new(
        resolver: Resolver,
        source: Source,
        remarks: Vec<Remark>,
        now: SystemTime,
    ) -> Certificates {
        Certificates {
            resolver: Arc::new(resolver),
            source,
            looked_at: now,
            remarks,
        }
    }

    /// The choice of the certificate for each handshake, for the configuration of TLS. It stays the same for
    /// the whole run, and the certificates change within.
    pub fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.resolver) as _
    }

    /// A connection has come to the address `local` of this machine. Certificates that have changed or
    /// that end soon are replaced, and from now on the certificate names the address.
    pub fn meet(&mut self, local: Option<IpAddr>, now: SystemTime) {
        let is_due = match now.duration_since(self.looked_at) {
            Ok(passed) => passed >= Certificates::LOOK_EVERY,
            // The clock was set back.
            Err(_) => true,
        };
        if is_due {
            self.looked_at = now;
            self.look(now);
        }
        if let (Source::Made { .. }, Some(local)) = (&self.source, local) {
            self.remarks.extend(self.resolver.add_address(local, now));
        }
    }

    fn look(&mut self, now: SystemTime) {
        match &mut self.source {
            Source::Made { .. } => self.resolver.renew(now),
            Source::Given(given) => {
                if let Some(pair) = given.look(now, &mut self.remarks) {
                    self.resolver.replace(pair);
                }
            }
        }
    }

    /// Hands out the lines for the user that have come up since the last call.
    pub fn take_remarks(&mut self) -> Vec<Remark> {
        std::mem::take(&mut self.remarks)
    }

    /// The certificate of the CA that signs, as PEM; `None` if the certificates are in files of the user.
    pub fn authority_pem(&self) -> Option<&str> {
        match &self.source {
            Source::Made { pem, .. } => Some(pem),
            Source::Given(_) => None,
        }
    }

    /// The origin of the certificates: words for the user, and the file to name after them.
    pub fn origin(&self) -> (&'static str, &Path) {
        match &self.source {
            Source::Made {
                path,
                is_of_mkcert: true,
                ..
            } => ("certificate by your mkcert CA", path),
            Source::Made { path, is_new, .. } => match is_new {
                true => (
                    "certificate by a new CA; `oneloop cert` tells how to trust it",
                    path,
                ),
                false => (
                    "certificate by the CA of oneloop; `oneloop cert` tells how to trust it",
                    path,
                ),
            },
            Source::Given(given) => ("certificate from", given.path()),
        }
    }
}

/// The cryptography. It is passed on as a value, and not installed for the process, which may have another.
fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// The SHA-256 hash of bytes.
fn sha256(bytes: &[u8]) -> Vec<u8> {
    let suite = ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13();
    let suite = suite.expect("it is a suite of TLS 1.3");
    suite.common.hash_provider.hash(bytes).as_ref().into()
}

/// A certificate as PEM (RFC 7468).
fn to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(str::from_utf8(line).expect("base64 is ASCII"));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// The text of an error without "(os error 2)" at the end.
fn plainly(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// A day of the calendar, in UTC.
fn date(time: SystemTime) -> String {
    match jiff::Timestamp::try_from(time) {
        Ok(time) => time.strftime("%Y-%m-%d").to_string(),
        Err(_) => "the end of time".into(),
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
