//! Floor 1, certificates: the choice of a certificate, by the name that a client asks for.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::leaf::Leaf;
use super::names::plain;
use super::{Authority, Fault, Names, Remark};

/// The certificates to choose from. `rustls` wants a value that may be shared between threads; there is one
/// thread, so the lock is always free.
#[derive(Debug)]
pub(super) struct Resolver(Mutex<Pairs>);

#[derive(Debug)]
enum Pairs {
    /// Certificates that are made here.
    Made(Box<Made>),
    /// The certificate of the user, whatever the client asks for.
    Given(Arc<CertifiedKey>),
}

#[derive(Debug)]
struct Made {
    authority: Authority,
    names: Names,
    /// The certificate with all names and addresses.
    common: Leaf,
    /// The certificates with a single name, the last used at the end.
    own: VecDeque<(String, Leaf)>,
    now: SystemTime,
}

impl Resolver {
    /// Chooses among certificates that are made here. A name for which the CA may not sign is left out,
    /// with a remark.
    pub fn made(
        authority: Authority,
        mut names: Names,
        now: SystemTime,
        remarks: &mut Vec<Remark>,
    ) -> Result<Resolver, Fault> {
        let text = authority.refuses(&names);
        remarks.extend(text.map(|text| Remark::warning(authority.path(), text)));
        let constraints = &authority.facts().constraints;
        names.names.retain(|name| constraints.allow_name(name));
        names.parents.retain(|name| constraints.allow_name(name));
        let common = common(&authority, &names, now)
            .map_err(|error| Fault::new(authority.path(), format!("it cannot sign: {error}")))?;
        Ok(Resolver(Mutex::new(Pairs::Made(Box::new(Made {
            authority,
            names,
            common,
            own: VecDeque::new(),
            now,
        })))))
    }

    /// Sends this certificate.
    pub fn given(pair: Arc<CertifiedKey>) -> Resolver {
        Resolver(Mutex::new(Pairs::Given(pair)))
    }

    /// Sends another certificate from now on.
    pub fn replace(&self, pair: Arc<CertifiedKey>) {
        *self.pairs() = Pairs::Given(pair);
    }

    /// Adds an address of this machine to the common certificate. A remark, if the CA may not sign for it.
    pub fn add_address(&self, ip: IpAddr, now: SystemTime) -> Option<Remark> {
        match &mut *self.pairs() {
            Pairs::Made(made) => made.add_address(ip, now),
            Pairs::Given(_) => None,
        }
    }

    /// Makes a new common certificate if the end of the old one is near.
    pub fn renew(&self, now: SystemTime) {
        if let Pairs::Made(made) = &mut *self.pairs() {
            made.now = now;
            if made.common.is_due(now, &made.authority) {
                made.issue_common();
            }
        }
    }

    fn pairs(&self) -> MutexGuard<'_, Pairs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The certificate for a client that asks for `name`; without a name, it has connected to an address.
    pub fn choose(&self, name: Option<&str>) -> Arc<CertifiedKey> {
        match &mut *self.pairs() {
            Pairs::Given(pair) => pair.clone(),
            Pairs::Made(made) => made.choose(name),
        }
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()))
    }
}

impl Made {
    /// The certificates with a single name that are kept. A project has few names; a stranger who asks for
    /// many must not fill the memory.
    const OWN_MAX: usize = 64;

    fn choose(&mut self, name: Option<&str>) -> Arc<CertifiedKey> {
        let name = name.and_then(plain).filter(|name| {
            let constraints = &self.authority.facts().constraints;
            self.names.has_own(name) && constraints.allow_name(name)
        });
        let own = name.and_then(|name| self.own(name));
        own.unwrap_or_else(|| self.common.pair.clone())
    }

    /// The certificate for a single name.
    fn own(&mut self, name: String) -> Option<Arc<CertifiedKey>> {
        let kept = self.own.iter().position(|(kept, _)| *kept == name);
        let kept = kept.and_then(|at| self.own.remove(at));
        let kept = kept.filter(|(_, leaf)| !leaf.is_due(self.now, &self.authority));
        let leaf = match kept {
            Some((_, leaf)) => leaf,
            None => {
                let names = std::slice::from_ref(&name);
                Leaf::issue(&self.authority, names, &[], self.now).ok()?
            }
        };
        if self.own.len() == Made::OWN_MAX {
            self.own.pop_front();
        }
        let pair = leaf.pair.clone();
        self.own.push_back((name, leaf));
        Some(pair)
    }

    fn add_address(&mut self, ip: IpAddr, now: SystemTime) -> Option<Remark> {
        let ip = ip.to_canonical();
        if !self.names.add_address(ip) {
            return None;
        }
        if !self.authority.facts().constraints.allow_address(ip) {
            let text = self.authority.refuses_these(&[ip.to_string()], &self.names);
            return Some(Remark::warning(self.authority.path(), text));
        }
        self.now = now;
        self.issue_common();
        None
    }

    fn issue_common(&mut self) {
        // A CA that could sign at the start still can.
        if let Ok(leaf) = common(&self.authority, &self.names, self.now) {
            self.common = leaf;
        }
    }
}

/// The certificate with all names and addresses for which the CA may sign.
fn common(authority: &Authority, names: &Names, now: SystemTime) -> Result<Leaf, String> {
    let constraints = &authority.facts().constraints;
    let addresses = names.addresses.iter().copied();
    let addresses: Vec<_> = addresses
        .filter(|ip| constraints.allow_address(*ip))
        .collect();
    Leaf::issue(authority, &names.names, &addresses, now)
}
