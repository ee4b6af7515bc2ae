//! Floor 1, certificates: the certificates that the server sends. They live in memory alone: whenever the
//! names change, or the end comes near, there is a new one, and clients trust it because they trust the CA.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;

use super::facts::Facts;
use super::{Authority, DAY, provider};

/// A certificate with its key.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub pair: Arc<CertifiedKey>,
    pub ends: SystemTime,
}

impl Leaf {
    /// The time for which a certificate is valid. Apple's systems take no more than 825 days, and for some
    /// CAs no more than 398.
    const VALID: Duration = Duration::from_secs(90 * DAY.as_secs());

    /// The time before the end at which there is a new certificate.
    const RENEWED: Duration = Duration::from_secs(30 * DAY.as_secs());

    /// Makes a certificate, which is valid from a day before `now` on: the clock of a client may be slow.
    /// The CA must be allowed to sign for all names.
    ///
    /// # Errors
    /// A sentence: the CA cannot sign.
    pub fn issue(
        authority: &Authority,
        names: &[String],
        addresses: &[IpAddr],
        now: SystemTime,
    ) -> Result<Leaf, String> {
        let said = |error: rcgen::Error| error.to_string();
        let mut params = CertificateParams::default();
        for name in names {
            let name = name.as_str().try_into().map_err(said)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let addresses = addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "oneloop development certificate");
        let ends = (now + Leaf::VALID).min(authority.facts().ends);
        set_validity(&mut params, now, ends);
        params.serial_number = Some(serial_number());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // ECDSA with P-256: small, fast, and known to every client.
        let key = KeyPair::generate().map_err(said)?;
        let certificate = params.signed_by(&key, authority.issuer()).map_err(said)?;
        let is_of_authority = Facts::of(certificate.der())
            .is_some_and(|facts| facts.issuer == authority.facts().subject);
        if !is_of_authority {
            return Err("the name of the CA has parts that this program cannot write".into());
        }
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::from(key);
        let pair = CertifiedKey::from_der(chain, key, &provider());
        Ok(Leaf {
            pair: Arc::new(pair.map_err(|error| error.to_string())?),
            ends,
        })
    }

    /// Whether it is time for a new certificate. The end of the CA cannot be put off.
    pub fn is_due(&self, now: SystemTime, authority: &Authority) -> bool {
        self.ends < now + Leaf::RENEWED && self.ends < authority.facts().ends
    }
}

/// Sets the time for which a certificate is valid: from a day before `now` on.
pub(super) fn set_validity(params: &mut CertificateParams, now: SystemTime, ends: SystemTime) {
    let since_epoch = |time: SystemTime| {
        let span = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(span.as_secs())
    };
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(now).saturating_sub(DAY);
    params.not_after = epoch + since_epoch(ends);
}

/// A random number. Firefox refuses two certificates of one CA with the same number.
pub(super) fn serial_number() -> SerialNumber {
    let mut bytes = [0; 16];
    let filled = provider().secure_random.fill(&mut bytes);
    filled.expect("the kernel has random numbers");
    // A positive number of 16 bytes (RFC 5280 §4.1.2.2).
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from(bytes.to_vec())
}
