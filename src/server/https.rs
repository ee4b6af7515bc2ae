//! Floor 4, server: the certificates of a server that speaks TLS, on their way from the configuration to the
//! connections; and `/_oneloop/ca.crt`.

use super::start::StartError;

#[cfg(feature = "tls")]
pub(super) use with_tls::Certificate;

/// The path of the certificate of the CA, for a device that is to trust it.
#[cfg(any(feature = "tls", feature = "cli"))]
pub(super) const AUTHORITY_PATH: &str = "/_oneloop/ca.crt";

/// Tells of the CA that signs for [`Https::Made`](crate::config::Https::Made), which is made if there is none:
/// the text of `oneloop cert`, and lines for standard error.
///
/// # Errors
/// [`StartError`], if the CA can neither be read nor made, or may not sign for all the hosts, or if the program was
/// built without TLS.
pub fn about_authority(allow_hosts: &[String]) -> Result<(String, Vec<String>), StartError> {
    #[cfg(feature = "tls")]
    let told = with_tls::about_authority(allow_hosts);
    #[cfg(not(feature = "tls"))]
    let told = {
        let _ = allow_hosts;
        Err(StartError::NoTls)
    };
    told
}

#[cfg(feature = "tls")]
mod with_tls {
    use std::net::{IpAddr, SocketAddr};
    use std::path::Path;
    use std::sync::Arc;
    use std::time::SystemTime;
    use std::{env, fs, io};

    use super::super::start::{Shown, StartError};
    use super::super::{Driver, Log, MioDriver, Server};
    use super::AUTHORITY_PATH;
    use crate::certificates::{
        Authority, Certificates, Fault, Names, Places, Remark, instructions,
    };
    use crate::config::{Config, Https};
    use crate::connection::{Answer, Endpoint, Hub, Request};
    use crate::http::Method;
    use crate::site::{Disk, Files};
    use crate::transport::tls::server_config;
    use crate::transport::{TlsConfig, Transport};

    /// The certificate of a server, and what is to be said about it.
    #[derive(Debug)]
    pub(in crate::server) struct Certificate(Certificates);

    impl Certificate {
        /// The certificate that the configuration asks for; `None`: connections are plain.
        pub fn of(
            config: &Config,
            addresses: &[SocketAddr],
        ) -> Result<Option<Certificate>, StartError> {
            let now = SystemTime::now();
            let certificates = match &config.https {
                Https::Off => return Ok(None),
                Https::Made => {
                    let listeners: Vec<_> = addresses.iter().map(SocketAddr::ip).collect();
                    // A listener on every address: this one is shown to other devices.
                    #[cfg(feature = "cli")]
                    let best = super::super::lan::best_address(&listeners);
                    #[cfg(not(feature = "cli"))]
                    let best = None;
                    let ips: Vec<_> = listeners.into_iter().chain(best).collect();
                    Certificates::make(&places()?, names(&config.allow_hosts, &ips), now)?
                }
                Https::Given { certificate, key } => Certificates::give(certificate, key, now)?,
            };
            Ok(Some(Certificate(certificates)))
        }

        /// The origin of the certificate, for a line to the user.
        pub fn origin(&self) -> String {
            let (words, path) = self.0.origin();
            match self.0.authority_pem() {
                Some(_) => words.into(),
                None => format!("{words} {}", Shown(path)),
            }
        }

        /// Hands out the lines for the user.
        pub fn take_warnings(&mut self) -> Vec<String> {
            self.0.take_remarks().iter().map(line).collect()
        }
    }

    fn line(remark: &Remark) -> String {
        format!("{}: {}", Shown(&remark.path), remark.text)
    }

    pub(super) fn about_authority(
        allow_hosts: &[String],
    ) -> Result<(String, Vec<String>), StartError> {
        let (places, names) = (places()?, names(allow_hosts, &[]));
        let mut remarks = Vec::new();
        let now = SystemTime::now();
        let authority = Authority::find_or_make(&places, &names, now, &mut remarks)?;
        if let Some(text) = authority.refuses(&names) {
            return Err(StartError::Authority(authority.path().into(), text));
        }
        Ok((instructions(&authority), remarks.iter().map(line).collect()))
    }

    fn places() -> Result<Places, StartError> {
        Places::from_environment(&|name| env::var_os(name)).ok_or(StartError::NoHome)
    }

    fn names(allow_hosts: &[String], addresses: &[IpAddr]) -> Names {
        let name = fs::read_to_string(Path::new("/proc/sys/kernel/hostname"));
        Names::new(name.ok().as_deref(), allow_hosts, addresses)
    }

    impl Server<MioDriver, Disk> {
        /// Lets the connections of all `listeners` speak TLS with this certificate.
        pub(in crate::server) fn with_certificate(
            mut self,
            certificate: Certificate,
            listeners: usize,
        ) -> Result<Self, StartError> {
            let random = |error| StartError::Driver(io::Error::other(error));
            let rules = server_config(certificate.0.resolver()).map_err(random)?;
            let tls = TlsConfig::new(Arc::new(rules));
            for listener in 0..listeners {
                self.set_tls(listener as u8, tls.clone());
            }
            if let Some(pem) = certificate.0.authority_pem() {
                let pem = pem.to_owned();
                self.log.iter_mut().for_each(Log::set_authority);
                self = self
                    .with_endpoint(AUTHORITY_PATH, AuthorityFile { pem })
                    .with_plain_path(AUTHORITY_PATH);
            }
            self.certificate = Some(Box::new(certificate));
            Ok(self)
        }
    }

    impl<D, F> Server<D, F>
    where
        D: Driver,
        F: Files<File = <D::Stream as Transport>::File>,
    {
        /// Looks whether the certificate has changed, because a connection has come. Its handshake is later
        /// in the turn.
        pub(in crate::server) fn look_at_certificate(&mut self, stream: &D::Stream) {
            let Some(certificate) = &mut self.certificate else {
                return;
            };
            let local = self.driver.local_ip(stream);
            certificate.0.meet(local, self.turn.now.wall);
            let remarks = certificate.0.take_remarks();
            if let Some(log) = &mut self.log {
                for remark in remarks {
                    let line = line(&remark);
                    match remark.is_warning {
                        true => log.warn(line),
                        false => log.notice(&format!("{line}\n")),
                    }
                }
            }
        }
    }

    impl From<Fault> for StartError {
        fn from(fault: Fault) -> StartError {
            StartError::Certificate(fault.path, fault.text)
        }
    }

    /// `/_oneloop/ca.crt`: the certificate of the CA, for a phone that is to trust it. Everybody may have
    /// it: a certificate has no secret.
    #[derive(Debug)]
    struct AuthorityFile {
        pem: String,
    }

    impl Endpoint for AuthorityFile {
        fn methods(&self) -> &[Method] {
            &[Method::Get, Method::Head]
        }

        fn on_request(&mut self, _: &mut Hub<'_>, _: Request<'_>) -> Answer {
            // With this type, a phone offers to install it.
            Answer::bytes("application/x-x509-ca-cert", self.pem.clone())
                .field("Cache-Control", "no-store")
                .into()
        }
    }
}
