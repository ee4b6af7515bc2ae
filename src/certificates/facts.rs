//! Floor 1, certificates: the fields of a certificate that this program needs (RFC 5280).

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, GeneralSubtree};
use x509_parser::prelude::FromDer as _;

/// Fields of a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Facts {
    /// The name of the owner, as DER.
    pub subject: Vec<u8>,
    /// The name of the owner for people.
    pub common_name: String,
    /// The name of the CA that has signed, as DER.
    pub issuer: Vec<u8>,
    /// The public key with its algorithm (`SubjectPublicKeyInfo`), as DER.
    pub key: Vec<u8>,
    /// The first moment at which the certificate is valid.
    pub begins: SystemTime,
    /// The last moment at which the certificate is valid.
    pub ends: SystemTime,
    /// Whether the certificate is that of a CA.
    pub is_ca: bool,
    /// Whether the certificate has the version 3, which alone can have names.
    pub is_of_version_3: bool,
    /// Whether the certificate has names or addresses (`subjectAltName`).
    pub has_names: bool,
    /// The names and addresses that a CA may sign.
    pub constraints: Constraints,
}

impl Facts {
    /// Reads a certificate that is DER, and nothing else; `None`: it is none.
    pub fn of(der: &[u8]) -> Option<Facts> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let validity = certificate.validity();
        let names = certificate.subject_alternative_name().ok().flatten();
        let mut common = certificate.subject().iter_common_name();
        let common = common.next().and_then(|name| name.as_str().ok());
        Some(Facts {
            subject: certificate.subject().as_raw().into(),
            common_name: common.unwrap_or_default().into(),
            issuer: certificate.issuer().as_raw().into(),
            key: certificate.public_key().raw.into(),
            begins: time(validity.not_before.timestamp()),
            ends: time(validity.not_after.timestamp()),
            is_ca: certificate.is_ca(),
            is_of_version_3: certificate.version().0 == 2,
            has_names: names.is_some_and(|names| !names.value.general_names.is_empty()),
            constraints: Constraints::of(&certificate),
        })
    }

    /// Whether the owner has signed the certificate.
    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }
}

fn time(seconds: i64) -> SystemTime {
    let span = Duration::from_secs(seconds.unsigned_abs());
    let time = match seconds < 0 {
        true => UNIX_EPOCH.checked_sub(span),
        false => UNIX_EPOCH.checked_add(span),
    };
    time.unwrap_or(UNIX_EPOCH)
}

/// The names and the addresses for which a CA may sign (RFC 5280 §4.2.1.10). `None` in place of a list:
/// any.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Constraints {
    names: Option<Vec<String>>,
    /// Each an address and a mask.
    addresses: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    other_names: Vec<String>,
    other_addresses: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Constraints {
    fn of(certificate: &X509Certificate<'_>) -> Constraints {
        let mut found = Constraints::default();
        let Ok(Some(extension)) = certificate.name_constraints() else {
            return found;
        };
        let split = |subtrees: &[GeneralSubtree<'_>]| {
            let (mut names, mut addresses) = (Vec::new(), Vec::new());
            for subtree in subtrees {
                match &subtree.base {
                    GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                    GeneralName::IPAddress(bytes) => {
                        let (address, mask) = bytes.split_at(bytes.len() / 2);
                        addresses.push((address.into(), mask.into()));
                    }
                    _ => {}
                }
            }
            (names, addresses)
        };
        if let Some(permitted) = &extension.value.permitted_subtrees {
            let (names, addresses) = split(permitted);
            found.names = Some(names).filter(|list| !list.is_empty());
            found.addresses = Some(addresses).filter(|list| !list.is_empty());
        }
        if let Some(excluded) = &extension.value.excluded_subtrees {
            (found.other_names, found.other_addresses) = split(excluded);
        }
        found
    }

    /// The names for which, and for the names below which, the CA may sign; `None`: any.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// Whether the CA may sign for a name.
    pub fn allow_name(&self, name: &str) -> bool {
        let covers = |tree: &String| {
            let tree = tree.strip_prefix('.').unwrap_or(tree);
            let rest = name.strip_suffix(tree);
            rest.is_some_and(|rest| rest.is_empty() || tree.is_empty() || rest.ends_with('.'))
        };
        let is_permitted = self.names.as_ref().is_none_or(|n| n.iter().any(covers));
        is_permitted && !self.other_names.iter().any(covers)
    }

    /// Whether the CA may sign for an address.
    pub fn allow_address(&self, ip: IpAddr) -> bool {
        let bytes = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let covers = |(address, mask): &(Vec<u8>, Vec<u8>)| {
            let mut bits = address.iter().zip(mask).zip(&bytes);
            address.len() == bytes.len() && bits.all(|((a, m), b)| a & m == b & m)
        };
        let is_permitted = self.addresses.as_ref().is_none_or(|a| a.iter().any(covers));
        is_permitted && !self.other_addresses.iter().any(covers)
    }
}
