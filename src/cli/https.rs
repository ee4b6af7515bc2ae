//! The flags for HTTPS, and the command `oneloop cert`.

use std::path::PathBuf;

use clap::{Args, Parser};

use super::environment::Variables;
use super::help::LISTEN;
use super::values::host_name;
use crate::config::Https;

/// The flags for HTTPS.
#[derive(Args, Debug)]
pub struct HttpsFlags {
    /// Speak HTTPS, with a certificate made here
    ///
    /// It is signed by mkcert's CA if this machine has one, or else by a CA of oneloop, which `oneloop cert`
    /// tells how to trust. Plain HTTP at the same port leads to https://. For pages on this machine,
    /// http://localhost will do.
    #[arg(help_heading = LISTEN, long)]
    pub tls: bool,

    /// Speak HTTPS with the certificate in FILE, and with those of its CAs
    ///
    /// PEM or DER. The file and that of the key are read again when they change.
    #[arg(hide_short_help = true, help_heading = LISTEN, long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The private key for --tls-cert [default: in the same file]
    ///
    /// PEM or DER, as PKCS#8, SEC1 or PKCS#1, without a passphrase: ECDSA, RSA or Ed25519.
    #[arg(hide_short_help = true, help_heading = LISTEN, long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

impl HttpsFlags {
    /// Checks that a key has a certificate.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn check(&self, variables: Variables<'_>) -> Result<(), String> {
        match (&self.tls_cert, &self.tls_key) {
            (None, Some(key)) => {
                const VARIABLE: &str = "ONELOOP_TLS_KEY";
                let is_variable = variables(VARIABLE).as_deref() == Some(key.as_os_str());
                let name = if is_variable { VARIABLE } else { "--tls-key" };
                Err(format!(
                    "{name} needs --tls-cert with the file of the certificate"
                ))
            }
            (_, None) | (Some(_), _) => Ok(()),
        }
    }

    /// HTTPS as the flags want it.
    pub fn config(&self) -> Https {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), key) => Https::Given {
                certificate: certificate.clone(),
                key: key.as_ref().unwrap_or(certificate).clone(),
            },
            (None, _) if self.tls => Https::Made,
            (None, _) => Https::Off,
        }
    }
}

/// Prints where the CA is that signs for --tls, and how to trust it.
///
/// The CA is made if there is none. It may sign for this machine, for names below localhost and local, and
/// for private addresses.
#[derive(Parser, Debug)]
#[command(name = "oneloop cert", bin_name = "oneloop cert", max_term_width = 100)]
pub struct CertificateQuestion {
    /// Another host for which a new CA may sign; repeatable
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub allow_host: Vec<String>,
}
