//! Floor 1, certificates: the CA that signs the certificates of servers: mkcert's, or else ours.
//!
//! Ours is made once, and lasts ten years: what the user has told browsers and phones to trust stays the
//! same. It is a root that may sign no other CA (`pathlen` 0), and only for names and addresses that
//! public web sites do not have, so that a thief of the key could do little with it: `localhost`, `.local`,
//! the name of the machine, loopback, private and link-local addresses, and the hosts that the user allows
//! when the CA is made (*name constraints*, RFC 5280 §4.2.1.10).
//!
//! The file `ca.pem` holds the key and the certificate, so that the two cannot come apart. `ca.crt` is a
//! copy of the certificate, to be handed around.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, GeneralSubtree,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData as _,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::facts::Facts;
use super::leaf::{serial_number, set_validity};
use super::store::{self, Private};
use super::{DAY, Fault, Names, Places, Remark, date, plainly, to_pem};

/// The certificate of a CA, with its private key.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    facts: Facts,
    der: CertificateDer<'static>,
    pem: String,
    path: PathBuf,
    is_of_mkcert: bool,
    is_new: bool,
}

/// The names of the files of our CA.
const OWN: &str = "ca.pem";
const OWN_OLD: &str = "ca.old.pem";
const OWN_CERTIFICATE: &str = "ca.crt";
/// The names of the files of mkcert's CA.
const MKCERT_CERTIFICATE: &str = "rootCA.pem";
const MKCERT_KEY: &str = "rootCA-key.pem";

/// Ten years, in days.
const DAYS: u32 = 3_652;

/// Addresses that no public web site has: this machine, private networks (RFC 1918, 6598 and 4193), and the
/// link (RFC 3927 and 4291).
const RANGES: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

impl Authority {
    /// Finds mkcert's CA or ours, or makes ours.
    ///
    /// # Errors
    /// [`Fault`], if our CA can neither be read nor be made.
    pub fn find_or_make(
        places: &Places,
        names: &Names,
        now: SystemTime,
        remarks: &mut Vec<Remark>,
    ) -> Result<Authority, Fault> {
        if let Some((directory, is_named)) = &places.mkcert {
            match Authority::of_mkcert(directory, *is_named, now) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(fault) => remarks.push(Remark::warning(
                    &fault.path,
                    format!("{}; the CA of oneloop is used instead", fault.text),
                )),
            }
        }
        Authority::own(&places.own, names, now, remarks)
    }

    /// mkcert's CA; `None`, if there is none, or if this user may not use its key.
    fn of_mkcert(
        directory: &Path,
        is_named: bool,
        now: SystemTime,
    ) -> Result<Option<Authority>, Fault> {
        let (path, key_path) = (
            directory.join(MKCERT_CERTIFICATE),
            directory.join(MKCERT_KEY),
        );
        // A machine may trust the CA, and have no key to sign.
        let read = store::read(&path).and_then(|pem| Ok((pem, store::read(&key_path)?)));
        let (pem, key) = match read {
            Ok(read) => read,
            Err(_) if !is_named => return Ok(None),
            Err(error) => {
                let text = format!("CAROOT has no CA that can be used ({})", plainly(&error));
                return Err(Fault::new(directory, text));
            }
        };
        let mut found = Authority::parse(&pem, &key, &path)?;
        if found.facts.ends <= now {
            let text = format!("it has expired on {}", date(found.facts.ends));
            return Err(Fault::new(&path, text));
        }
        found.is_of_mkcert = true;
        Ok(Some(found))
    }

    /// Our CA, which is made if there is none that can be used.
    fn own(
        directory: &Path,
        names: &Names,
        now: SystemTime,
        remarks: &mut Vec<Remark>,
    ) -> Result<Authority, Fault> {
        let cannot = |what: &'static str| {
            move |error: io::Error| {
                let next = "set XDG_DATA_HOME to a directory of yours, or give --tls-cert";
                Fault::new(
                    directory,
                    format!("cannot {what} ({}); {next}", plainly(&error)),
                )
            }
        };
        store::make_directory(directory).map_err(cannot("be made to keep a CA"))?;
        if store::is_open_to_others(directory).map_err(cannot("be looked at"))? {
            let text = "other users can change what is in it, and a CA is to be kept there; \
                        chmod 700 it";
            return Err(Fault::new(directory, text));
        }
        // Of two programs that start at once, the second finds the CA of the first.
        let _lock = store::lock(directory);
        let path = directory.join(OWN);
        let read = store::read_private(&path).map_err(|error| {
            let next = "let this user read it, or set XDG_DATA_HOME to another directory";
            Fault::new(
                &path,
                format!("cannot be read ({}); {next}", plainly(&error)),
            )
        })?;
        let certificate_path = directory.join(OWN_CERTIFICATE);
        let unusable = match read {
            Private::Absent => None,
            Private::Shared => {
                let text = "other users can read the private key of the CA; chmod 600 it if none \
                            has, or else remove it, and remove the CA where it is trusted";
                return Err(Fault::new(&path, text));
            }
            Private::Content(content) => {
                match Authority::parse(&content, &content, &certificate_path) {
                    Ok(found) if found.facts.ends > now + DAY => {
                        if found.facts.begins > now {
                            let begin = date(found.facts.begins);
                            let text = format!(
                                "it is valid from {begin} on, so no client takes it now; \
                                 is the clock of this machine right?"
                            );
                            remarks.push(Remark::warning(&certificate_path, text));
                        }
                        found.write_certificate(remarks);
                        return Ok(found);
                    }
                    Ok(found) => Some(format!("expired on {}", date(found.facts.ends))),
                    Err(fault) => Some(format!("cannot be used: {}", fault.text)),
                }
            }
        };
        if let Some(reason) = unusable {
            let old = directory.join(OWN_OLD);
            fs::rename(&path, &old).map_err(cannot("be changed"))?;
            let text = format!(
                "the CA {reason}; it is {OWN_OLD} now, and there is a new one, which browsers do \
                 not trust yet: `oneloop cert` tells how"
            );
            remarks.push(Remark::warning(&path, text));
        }
        let (content, mut made) = Authority::make(names, now, &certificate_path)?;
        store::write(&path, content.as_bytes(), 0o600).map_err(cannot("be written to"))?;
        made.is_new = true;
        made.write_certificate(remarks);
        Ok(made)
    }

    /// Makes a CA. The text is for the file.
    fn make(
        names: &Names,
        now: SystemTime,
        certificate_path: &Path,
    ) -> Result<(String, Authority), Fault> {
        let failed =
            |error: rcgen::Error| Fault::new(certificate_path, format!("cannot be made: {error}"));
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // In the list of a trust store, the user looks for this name. Two CAs have different ones.
        let host = names.machine.get(1).map_or("this machine", String::as_str);
        let host: String = host.chars().take(32).collect();
        let common = format!("oneloop CA of {host}, {}", date(now));
        params.distinguished_name.push(DnType::CommonName, common);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "oneloop development CA");
        set_validity(&mut params, now, now + DAY * DAYS);
        params.serial_number = Some(serial_number());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: permitted(names),
            excluded_subtrees: Vec::new(),
        });
        let certificate = params.self_signed(&key).map_err(failed)?;
        let content = format!("{}{}", key.serialize_pem(), certificate.pem());
        let made = Authority::parse(content.as_bytes(), content.as_bytes(), certificate_path)?;
        Ok((content, made))
    }

    /// Reads the certificate of a CA and its key, of which both are PEM.
    fn parse(pem: &[u8], key: &[u8], path: &Path) -> Result<Authority, Fault> {
        let fault = |text: &str| Fault::new(path, text);
        let der = CertificateDer::from_pem_slice(pem)
            .map_err(|_| fault("it holds no certificate that can be read"))?;
        let facts = Facts::of(&der).ok_or_else(|| fault("its certificate cannot be read"))?;
        // The library for this reads one section of PEM, and takes the first.
        let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| fault("its private key cannot be read"))?;
        let key = KeyPair::try_from(&key).map_err(|_| fault("its private key cannot be used"))?;
        if key.subject_public_key_info() != facts.key {
            return Err(fault("its private key is that of another certificate"));
        }
        if !facts.is_ca {
            return Err(fault("its certificate is not that of a CA"));
        }
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .map_err(|_| fault("its certificate cannot be used to sign"))?;
        let pem = to_pem(&der);
        Ok(Authority {
            issuer,
            facts,
            der,
            pem,
            path: path.into(),
            is_of_mkcert: false,
            is_new: false,
        })
    }

    /// Writes the copy of the certificate, unless it is there. Nothing depends on the copy.
    fn write_certificate(&self, remarks: &mut Vec<Remark>) {
        if store::read(&self.path).is_ok_and(|content| content == self.pem.as_bytes()) {
            return;
        }
        if let Err(error) = store::write(&self.path, self.pem.as_bytes(), 0o644) {
            let text = format!(
                "the certificate of the CA cannot be written there ({})",
                plainly(&error)
            );
            remarks.push(Remark::warning(&self.path, text));
        }
    }

    /// Says for which of the names the CA may not sign, with the next step; `None`: it may sign for all.
    pub fn refuses(&self, names: &Names) -> Option<String> {
        let constraints = &self.facts.constraints;
        let is_refused = |name: &String| match name.parse() {
            Ok(ip) => !constraints.allow_address(ip),
            Err(_) => !constraints.allow_name(name),
        };
        let others: Vec<_> = names.asked().into_iter().filter(is_refused).collect();
        (!others.is_empty()).then(|| self.refuses_these(&others, names))
    }

    pub(super) fn refuses_these(&self, others: &[String], names: &Names) -> String {
        let next = match self.is_of_mkcert {
            true => "use --tls-cert".to_owned(),
            false => {
                let directory = self.path.parent().unwrap_or(&self.path);
                // A new CA takes the place of the old one, for the names that it may sign for too.
                let is_to_be_told = |name: &String| match name.parse() {
                    Ok(ip) => !is_in_ranges(ip),
                    Err(_) => !name.ends_with(".local") && !name.ends_with(".localhost"),
                };
                let all = names.asked().into_iter().filter(is_to_be_told);
                let flags: String = all.map(|name| format!(" --allow-host {name}")).collect();
                format!(
                    "remove {directory:?} and run `oneloop cert{flags}` for a CA that may, \
                     or use --tls-cert"
                )
            }
        };
        format!("this CA may not sign for {}; {next}", others.join(", "))
    }

    /// The certificate, as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate, as DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The file with the certificate.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether mkcert has made the CA.
    pub fn is_of_mkcert(&self) -> bool {
        self.is_of_mkcert
    }

    /// Whether the CA was made just now.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// The names and addresses that our CA may sign.
fn permitted(names: &Names) -> Vec<GeneralSubtree> {
    // A name stands for itself and for those below.
    let mut trees: Vec<_> = ["localhost", "local"].map(String::from).into();
    let all = names.machine.iter().chain(&names.names);
    for name in all.chain(&names.parents) {
        if !trees.contains(name) {
            trees.push(name.clone());
        }
    }
    let names_of = trees.into_iter().map(GeneralSubtree::DnsName);
    let others = names.addresses.iter().filter(|ip| !is_in_ranges(**ip));
    let addresses = ranges().into_iter().chain(others.map(single));
    let addresses: Vec<_> = addresses.map(GeneralSubtree::IpAddress).collect();
    names_of.chain(addresses).collect()
}

fn ranges() -> [CidrSubnet; RANGES.len()] {
    RANGES.map(|range| range.parse().expect("a range of our table"))
}

/// The range of a single address.
fn single(ip: &IpAddr) -> CidrSubnet {
    match ip {
        IpAddr::V4(_) => CidrSubnet::from_addr_prefix(*ip, 32),
        IpAddr::V6(_) => CidrSubnet::from_addr_prefix(*ip, 128),
    }
}

/// Whether every CA of ours may sign for an address.
fn is_in_ranges(ip: IpAddr) -> bool {
    ranges().iter().any(|range| covers(range, &single(&ip)))
}

/// Whether a range covers a single address.
fn covers(range: &CidrSubnet, ip: &CidrSubnet) -> bool {
    fn equal<const N: usize>(a: &[u8; N], b: &[u8; N], mask: &[u8; N]) -> bool {
        (0..N).all(|at| a[at] & mask[at] == b[at] & mask[at])
    }
    match (range, ip) {
        (CidrSubnet::V4(a, mask), CidrSubnet::V4(b, _)) => equal(a, b, mask),
        (CidrSubnet::V6(a, mask), CidrSubnet::V6(b, _)) => equal(a, b, mask),
        _ => false,
    }
}
