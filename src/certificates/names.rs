//! Floor 1, certificates: the names and the addresses by which clients reach the server.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The names and the addresses of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    /// The names that the common certificate has, in lower case.
    pub(super) names: Vec<String>,
    /// The addresses that the common certificate has.
    pub(super) addresses: Vec<IpAddr>,
    /// A name below one of these, which are among `names`, gets a certificate of its own. `localhost` is one: `*.localhost` in a
    /// certificate would not do, because OpenSSL takes no wildcard below a name of one label.
    pub(super) parents: Vec<String>,
    /// Whether any name gets a certificate of its own.
    pub(super) is_any: bool,
    /// The names of this machine. A new CA may sign for them; only those that are allowed as hosts are in a
    /// certificate, as only those are let in.
    pub(super) machine: Vec<String>,
}

impl Names {
    /// The addresses that a certificate has at most. The addresses of the machine come and go.
    const ADDRESSES_MAX: usize = 64;

    /// The names of a server on the machine `host_name`, with the entries of
    /// [`Config::allow_hosts`](crate::Config::allow_hosts) and with addresses that the server listens on.
    pub fn new(host_name: Option<&str>, allow_hosts: &[String], addresses: &[IpAddr]) -> Names {
        let mut machine = vec!["localhost".to_owned()];
        if let Some(name) = host_name.and_then(plain) {
            // mDNS has the first label alone (RFC 6762, section 3).
            let first = name.split('.').next().unwrap_or_default();
            let local = format!("{first}.local");
            for name in [name.clone(), first.to_owned(), local] {
                if !machine.contains(&name) {
                    machine.push(name);
                }
            }
        }
        let mut all = Names {
            names: vec!["localhost".into()],
            addresses: Vec::new(),
            parents: vec!["localhost".into()],
            is_any: false,
            machine,
        };
        all.add_address(Ipv4Addr::LOCALHOST.into());
        all.add_address(Ipv6Addr::LOCALHOST.into());
        addresses.iter().for_each(|ip| {
            all.add_address(*ip);
        });
        for host in allow_hosts {
            let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
            if host == "*" {
                all.is_any = true;
            } else if let Ok(ip) = bare.unwrap_or(host).parse() {
                all.add_address(ip);
            } else if let Some(name) = plain(host.strip_prefix('.').unwrap_or(host)) {
                if host.starts_with('.') && !all.parents.contains(&name) {
                    all.parents.push(name.clone());
                }
                if !all.names.contains(&name) {
                    all.names.push(name);
                }
            }
        }
        all
    }

    /// Adds an address. Returns whether it is new. An address that stands for all is none that clients ask
    /// for.
    pub(super) fn add_address(&mut self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        if ip.is_unspecified() || ip.is_multicast() || self.addresses.contains(&ip) {
            return false;
        }
        if self.addresses.len() == Names::ADDRESSES_MAX {
            // The first two are the loopback addresses.
            self.addresses.remove(2);
        }
        self.addresses.push(ip);
        true
    }

    /// The names and the addresses that the user has allowed or that the server listens on, without those of
    /// this machine.
    pub(super) fn asked(&self) -> Vec<String> {
        // A container has another name at each start, for which nobody has asked.
        let is_asked = |name: &&String| !self.machine.contains(name);
        let names = self.names.iter().filter(is_asked).cloned();
        let addresses = self.addresses.iter().filter(|ip| !ip.is_loopback());
        names.chain(addresses.map(IpAddr::to_string)).collect()
    }

    /// Whether a name that a client asks for gets a certificate of its own. The name is in lower case.
    pub(super) fn has_own(&self, name: &str) -> bool {
        let is_below = |parent: &String| {
            let rest = name.strip_suffix(parent.as_str());
            rest.is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
        };
        let is_common = self.names.iter().any(|common| common == name);
        !is_common && (self.is_any || self.parents.iter().any(is_below))
    }
}

/// A host name in lower case, without the dot at its end; `None` if it is none.
pub(super) fn plain(name: &str) -> Option<String> {
    const NAME_BYTES_MAX: usize = 253;
    const LABEL_BYTES_MAX: usize = 63;
    let name = name.trim().strip_suffix('.').unwrap_or(name.trim());
    let in_label = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let is_label = |label: &str| {
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(in_label)
            // Verifiers take no such name, and refuse the whole certificate.
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_name = name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label);
    // A name whose last label is a number would be an IPv4 address (WHATWG URL, "ends in a number").
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|b| b.is_ascii_digit());
    (is_name && !is_number).then(|| name.to_ascii_lowercase())
}
