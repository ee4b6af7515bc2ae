//! Floor 1, certificates: a certificate and a private key in files of the user, of any usual form. The
//! files are read again when they change, as programs do that renew certificates. While new files cannot be
//! used, the old certificate stays in use.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};

use super::facts::Facts;
use super::form::{Held, read};
use super::{Fault, Remark, date, provider};
use crate::sys::{self, Stat};

/// The files, and the state in which they were read.
#[derive(Debug)]
pub(super) struct Given {
    certificate: PathBuf,
    key: PathBuf,
    stats: Stats,
    /// The state of files that cannot be used.
    trouble: Option<Trouble>,
    /// The certificate in use.
    leaf: CertificateDer<'static>,
    ends: SystemTime,
    /// Whether the user was told that the certificate has expired.
    is_end_told: bool,
}

/// The states of the two files; `None` for a file that is missing.
type Stats = [Option<Stat>; 2];

#[derive(Debug)]
struct Trouble {
    stats: Stats,
    since: SystemTime,
    is_told: bool,
}

/// A certificate with its key, as it was read.
struct Read {
    pair: CertifiedKey,
    facts: Facts,
    warnings: Vec<String>,
}

impl Given {
    /// The time for which files may be unusable before the user is told. Two files are not replaced at the
    /// same moment.
    const GRACE: Duration = Duration::from_secs(1);

    /// Reads the files.
    ///
    /// # Errors
    /// [`Fault`], if they do not hold a certificate and its key.
    pub fn read(
        certificate: &Path,
        key: &Path,
        now: SystemTime,
        remarks: &mut Vec<Remark>,
    ) -> Result<(Given, Arc<CertifiedKey>), Fault> {
        let stats = stats(certificate, key);
        let read = pair(certificate, key)?;
        let mut given = Given {
            certificate: certificate.into(),
            key: key.into(),
            stats,
            trouble: None,
            leaf: read.pair.cert[0].clone(),
            ends: read.facts.ends,
            is_end_told: false,
        };
        given.remark(&read, now, remarks);
        Ok((given, Arc::new(read.pair)))
    }

    /// The file with the certificate.
    pub fn path(&self) -> &Path {
        &self.certificate
    }

    /// Looks whether the files have changed. Returns the new certificate.
    pub fn look(
        &mut self,
        now: SystemTime,
        remarks: &mut Vec<Remark>,
    ) -> Option<Arc<CertifiedKey>> {
        let stats = stats(&self.certificate, &self.key);
        if stats == self.stats {
            self.trouble = None;
            self.tell_end(now, remarks);
            return None;
        }
        let known = self.trouble.take().filter(|known| known.stats == stats);
        let mut trouble = known.unwrap_or(Trouble {
            stats,
            since: now,
            is_told: false,
        });
        if !trouble.is_told {
            match pair(&self.certificate, &self.key) {
                Ok(read) => {
                    self.stats = stats;
                    let is_another = read.pair.cert[0] != self.leaf;
                    (self.leaf, self.ends) = (read.pair.cert[0].clone(), read.facts.ends);
                    self.is_end_told = false;
                    if is_another {
                        remarks.push(Remark {
                            path: self.certificate.clone(),
                            text: format!("a new certificate, valid to {}", date(self.ends)),
                            is_warning: false,
                        });
                    }
                    self.remark(&read, now, remarks);
                    return Some(Arc::new(read.pair));
                }
                Err(fault) => {
                    let passed = now.duration_since(trouble.since);
                    // The error: the clock was set back.
                    if passed.is_err() || passed.is_ok_and(|passed| passed >= Given::GRACE) {
                        trouble.is_told = true;
                        let text = format!("{}; the old certificate stays in use", fault.text);
                        remarks.push(Remark::warning(&fault.path, text));
                    }
                }
            }
        }
        self.trouble = Some(trouble);
        self.tell_end(now, remarks);
        None
    }

    /// Tells the faults of a certificate for which browsers will refuse it.
    fn remark(&mut self, read: &Read, now: SystemTime, remarks: &mut Vec<Remark>) {
        let mut warn = |text: String| remarks.push(Remark::warning(&self.certificate, text));
        if read.facts.begins > now {
            let begin = date(read.facts.begins);
            warn(format!(
                "the certificate is valid from {begin} on, and clients refuse it before"
            ));
        }
        read.warnings
            .iter()
            .for_each(|warning| warn(warning.clone()));
        self.tell_end(now, remarks);
    }

    fn tell_end(&mut self, now: SystemTime, remarks: &mut Vec<Remark>) {
        if self.ends < now && !self.is_end_told {
            self.is_end_told = true;
            let text = format!(
                "the certificate has expired on {}, and clients refuse it; a new one in the same \
                 file is taken at once",
                date(self.ends)
            );
            remarks.push(Remark::warning(&self.certificate, text));
        }
    }
}

fn stats(certificate: &Path, key: &Path) -> Stats {
    [certificate, key].map(|path| sys::stat(path).ok())
}

/// Reads the certificate and the key of two files, or of one.
fn pair(certificate: &Path, key: &Path) -> Result<Read, Fault> {
    let chain_file = read(certificate)?;
    let key_file = match certificate == key {
        true => None,
        false => Some(read(key)?),
    };
    let is_single = key_file.is_none();
    let keys = key_file.as_ref().unwrap_or(&chain_file);
    if chain_file.certificates.is_empty() {
        return Err(Fault::new(
            certificate,
            chain_file.lacks_certificate(is_single),
        ));
    }
    if keys.keys.is_empty() {
        return Err(Fault::new(key, keys.lacks_key(is_single)));
    }
    let (leaf, signer) = fitting(certificate, &chain_file, key, keys)?;
    let (chain, others) = chain(&chain_file.certificates, leaf);
    let facts = chain_file.certificates[leaf].1.clone();
    let mut warnings = Vec::new();
    if others > 0 {
        warnings.push(format!(
            "{others} of the certificates in it are not of the same chain, and are left out"
        ));
    }
    if !facts.is_of_version_3 || !facts.has_names {
        let text = "the certificate has no names (subjectAltName), and browsers refuse it";
        warnings.push(text.into());
    }
    Ok(Read {
        pair: CertifiedKey::new(chain, signer),
        facts,
        warnings,
    })
}

/// Finds the key that can be used, and the certificate to which it belongs.
fn fitting(
    certificate: &Path,
    chain: &Held,
    key: &Path,
    keys: &Held,
) -> Result<(usize, Arc<dyn SigningKey>), Fault> {
    let provider = provider();
    let load = |key: &rustls::pki_types::PrivateKeyDer<'static>| {
        provider.key_provider.load_private_key(key.clone_key()).ok()
    };
    let usable: Vec<_> = keys.keys.iter().filter_map(load).collect();
    if usable.is_empty() {
        let text = "its private key cannot be used here; use one of ECDSA (P-256 or P-384), \
                    RSA (2048 to 8192 bits) or Ed25519";
        return Err(Fault::new(key, text));
    }
    for signer in usable {
        let public = signer.public_key();
        let owner = chain
            .certificates
            .iter()
            .position(|(_, facts)| public.as_ref().is_some_and(|key| **key == facts.key[..]));
        if let Some(leaf) = owner {
            return Ok((leaf, signer));
        }
    }
    Err(match certificate == key {
        true => Fault::new(
            key,
            "its private key does not belong to its certificate; put the two that belong \
             together into it",
        ),
        false => Fault::new(
            key,
            format!(
                "its private key does not belong to the certificate in {certificate:?}; name the \
                 two files that belong together"
            ),
        ),
    })
}

/// The certificates from the leaf up, each signed by the next, whatever their order was (RFC 8446
/// §4.4.2). Also returns the number of those that do not belong there.
fn chain(
    all: &[(CertificateDer<'static>, Facts)],
    leaf: usize,
) -> (Vec<CertificateDer<'static>>, usize) {
    let mut order = vec![leaf];
    while let Some(last) = order.last()
        && !all[*last].1.is_self_signed()
        && let Some(next) = (0..all.len()).find(|next| {
            let is_new = order.iter().all(|known| all[*known].0 != all[*next].0);
            is_new && all[*next].1.subject == all[*last].1.issuer
        })
    {
        order.push(next);
    }
    let is_other = |(der, _): &&(CertificateDer<'static>, Facts)| {
        order.iter().all(|known| all[*known].0 != *der)
    };
    let others = all.iter().filter(is_other).count();
    let chain = order.iter().map(|at| all[*at].0.clone()).collect();
    (chain, others)
}
