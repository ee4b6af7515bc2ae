//! Floor 1, certificates: the forms in which files hold certificates and private keys. A file that does not
//! hold what is looked for gets a sentence about what it does hold, and about the next step.
//!
//! Keys are PKCS#8 (RFC 5958), SEC1 (RFC 5915) or PKCS#1 (RFC 8017), in PEM (RFC 7468) or DER.

use std::path::Path;

use rustls::pki_types::pem::{PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::facts::Facts;
use super::{Fault, plainly, store};

/// The content of a file.
#[derive(Debug)]
pub(super) struct Held {
    pub certificates: Vec<(CertificateDer<'static>, Facts)>,
    pub keys: Vec<PrivateKeyDer<'static>>,
    /// The other contents.
    others: Vec<Other>,
}

/// A thing that a file may hold in place of a certificate or a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Other {
    EncryptedKey,
    OpenSshKey,
    PublicKey,
    Request,
    Archive,
    Pkcs7,
    /// PEM that cannot be decoded.
    Broken,
    Unknown,
    Nothing,
}

/// Reads a file.
///
/// # Errors
/// [`Fault`], if the file cannot be read, or if a certificate in it cannot.
pub(super) fn read(path: &Path) -> Result<Held, Fault> {
    let bytes = store::read(path).map_err(|error| {
        let next = "name a file that this user may read";
        let error = plainly(&error);
        Fault::new(path, format!("it cannot be read ({error}); {next}"))
    })?;
    hold(&bytes).map_err(|text| Fault::new(path, text))
}

fn hold(bytes: &[u8]) -> Result<Held, &'static str> {
    let mut held = Held {
        certificates: Vec::new(),
        keys: Vec::new(),
        others: Vec::new(),
    };
    // Editors of Windows put a byte order mark in front.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        held.others.push(Other::Nothing);
        return Ok(held);
    }
    match memchr::memmem::find(bytes, b"-----BEGIN ") {
        Some(_) => held.take_pem(bytes)?,
        None => held.take_der(bytes),
    }
    Ok(held)
}

impl Held {
    fn take_pem(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        for line in bytes.split(|b| *b == b'\n' || *b == b'\r') {
            let label = line.strip_prefix(b"-----BEGIN ").unwrap_or_default();
            let other = match label.trim_ascii_end() {
                b"ENCRYPTED PRIVATE KEY-----" => Other::EncryptedKey,
                b"OPENSSH PRIVATE KEY-----" => Other::OpenSshKey,
                b"PUBLIC KEY-----" => Other::PublicKey,
                b"CERTIFICATE REQUEST-----" | b"NEW CERTIFICATE REQUEST-----" => Other::Request,
                b"PKCS7-----" => Other::Pkcs7,
                // The old form of an encrypted key has the label of a plain one (RFC 1421).
                _ if line.starts_with(b"Proc-Type: 4,ENCRYPTED") => Other::EncryptedKey,
                _ => continue,
            };
            self.others.push(other);
        }
        let is_encrypted = self.others.contains(&Other::EncryptedKey);
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            let (kind, der) = match section {
                Ok(section) => section,
                Err(_) if is_encrypted => continue,
                Err(_) => {
                    self.others.push(Other::Broken);
                    continue;
                }
            };
            match kind {
                SectionKind::Certificate => {
                    let text = "one of its certificates cannot be read; is it damaged?";
                    let facts = Facts::of(&der).ok_or(text)?;
                    self.certificates.push((der.into(), facts));
                }
                SectionKind::PrivateKey
                | SectionKind::EcPrivateKey
                | SectionKind::RsaPrivateKey => {
                    self.keys.extend(PrivateKeyDer::from_pem(kind, der));
                }
                _ => {}
            }
        }
        let is_nothing_known = self.certificates.is_empty() && self.keys.is_empty();
        if is_nothing_known && self.others.is_empty() {
            self.others.push(Other::Unknown);
        }
        Ok(())
    }

    fn take_der(&mut self, bytes: &[u8]) {
        if let Some(facts) = Facts::of(bytes) {
            self.certificates.push((bytes.to_vec().into(), facts));
        } else if is_archive(bytes) {
            self.others.push(Other::Archive);
        } else if let Ok(key) = PrivateKeyDer::try_from(bytes) {
            self.keys.push(key.clone_key());
        } else {
            self.others.push(Other::Unknown);
        }
    }

    /// Says that there is no certificate, and the next step. `is_single`: the file is also that of the key.
    pub fn lacks_certificate(&self, is_single: bool) -> String {
        let next = match self.others.first() {
            Some(Other::Archive) => "`openssl pkcs12 -nodes -in OLD -out NEW` writes both as PEM",
            Some(Other::Pkcs7) => "`openssl pkcs7 -print_certs -in OLD -out NEW` writes it as PEM",
            Some(Other::Request) => "name the certificate that the CA has made from it",
            Some(Other::Broken) => "copy the file again",
            _ if is_single => "name the file of the certificate with --tls-cert",
            _ if self.keys.is_empty() => "name the file of the certificate",
            _ => "are --tls-cert and --tls-key the wrong way round?",
        };
        format!("it holds {}, and no certificate; {next}", self.what())
    }

    /// Says that there is no private key that can be read, and the next step.
    pub fn lacks_key(&self, is_single: bool) -> String {
        let next = match self.others.first() {
            Some(Other::EncryptedKey) => {
                return "its private key is encrypted; `openssl pkey -in KEY -out PLAIN` writes it \
                        without a passphrase"
                    .into();
            }
            Some(Other::OpenSshKey) => {
                return "its private key is in OpenSSH's own form; `ssh-keygen -p -m pem -f FILE` \
                        puts it into PEM"
                    .into();
            }
            Some(Other::Archive) => "`openssl pkcs12 -nodes -in OLD -out NEW` writes both as PEM",
            Some(Other::Broken) => "copy the file again",
            _ if is_single => "name the file of the key with --tls-key",
            _ => "name the file of the key",
        };
        format!("it holds {}, and no private key; {next}", self.what())
    }

    /// The contents of the file.
    fn what(&self) -> String {
        let mut all = Vec::new();
        match self.certificates.len() {
            0 => {}
            1 => all.push("a certificate".into()),
            n => all.push(format!("{n} certificates")),
        }
        match self.keys.len() {
            0 => {}
            1 => all.push("a private key".into()),
            n => all.push(format!("{n} private keys")),
        }
        for other in &self.others {
            let text = match other {
                Other::EncryptedKey => "an encrypted private key",
                Other::OpenSshKey => "a private key in OpenSSH's own form",
                Other::PublicKey => "a public key",
                Other::Request => "a request for a certificate",
                Other::Archive => "a PKCS#12 archive",
                Other::Pkcs7 => "certificates as PKCS#7",
                Other::Broken => "PEM that cannot be decoded",
                Other::Unknown => "neither PEM nor DER that is known here",
                Other::Nothing => "nothing",
            };
            if !all.iter().any(|known| known == text) {
                all.push(text.into());
            }
        }
        all.join(" and ")
    }
}

/// Whether bytes are a PKCS#12 archive (RFC 7292 §4): a sequence that begins with the version 3, and a
/// sequence after that.
fn is_archive(bytes: &[u8]) -> bool {
    let header = match bytes {
        [0x30, length, ..] if *length >= 0x80 => 2 + usize::from(length & 0x7f),
        [0x30, _, ..] => 2,
        _ => return false,
    };
    let rest = bytes.get(header..).unwrap_or_default();
    rest.starts_with(&[0x02, 0x01, 0x03, 0x30])
}
