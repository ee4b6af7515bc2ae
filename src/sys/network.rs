//! Floor 0, sys: the networks that this machine is in, and the kind of machine that it is. The list of
//! interfaces comes from getifaddrs(3), by `if-addrs`; the rest from the files of the kernel.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::Path;

/// An address of a network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface {
    /// The name, such as `eth0`.
    pub name: String,
    /// The address.
    pub ip: IpAddr,
    /// The thing at the other end.
    pub link: Link,
}

/// The thing at the other end of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// This machine.
    Loopback,
    /// A network, by a device of this machine.
    Device,
    /// A network, without a device that the kernel names: as a container has it.
    Other,
    /// Containers or virtual machines on this machine: a bridge or its like.
    Bridge,
    /// A single peer, or a VPN.
    Tunnel,
}

/// Returns the addresses of all interfaces.
///
/// # Errors
/// The errors of getifaddrs(3).
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let all = if_addrs::get_if_addrs()?.into_iter();
    let interface = |found: if_addrs::Interface| Interface {
        ip: found.ip(),
        link: match found.is_loopback() {
            true => Link::Loopback,
            false => link(&found.name, found.is_p2p(), Path::new("/sys/class/net")),
        },
        name: found.name,
    };
    Ok(all.map(interface).collect())
}

/// The kind of an interface, by what the kernel says of it below `devices`. Names count too: a sandbox may
/// hide the kernel's files.
fn link(name: &str, is_point_to_point: bool, devices: &Path) -> Link {
    /// Names that docker, podman, libvirt, LXC, Kubernetes, VMware and VirtualBox give their ends.
    const BRIDGES: &[&str] = &[
        "docker", "br-", "veth", "podman", "cni", "virbr", "vnet", "lxc", "lxd", "flannel", "cali",
        "vmnet", "vboxnet",
    ];
    /// OpenVPN, WireGuard, Tailscale, ZeroTier.
    const TUNNELS: &[&str] = &["tun", "tap", "wg", "tailscale", "zt"];
    let has = |file: &str| devices.join(name).join(file).exists();
    let is_one_of = |names: &[&str]| names.iter().any(|begin| name.starts_with(begin));
    // A virtual machine is behind a tap without an address, so a tap with one is a VPN.
    if is_point_to_point || has("tun_flags") || is_one_of(TUNNELS) {
        Link::Tunnel
    } else if has("bridge") || is_one_of(BRIDGES) {
        Link::Bridge
    } else if has("device") {
        Link::Device
    } else {
        Link::Other
    }
}

/// Returns the address from which this machine would send to the internet, of IPv4 and of IPv6: that of the
/// default route, if there is one. No packet is sent: connect(2) of a UDP socket only looks for the route.
pub fn default_sources() -> [Option<IpAddr>; 2] {
    // Addresses for documentation (RFC 5737, RFC 3849), which no route but the default one is for.
    let everywhere: [(IpAddr, IpAddr); 2] = [
        (
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(203, 0, 113, 1).into(),
        ),
        (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        ),
    ];
    everywhere.map(|(any, far)| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((far, 9)).ok()?;
        let ip = socket.local_addr().ok()?.ip();
        Some(ip).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
    })
}

/// Returns the names by which other devices may know this machine: its host name, the first label of it, and
/// that label with `.local`, as multicast DNS has it (RFC 6762 §3). None, if the name is not one that a
/// browser would send.
pub fn host_names() -> Vec<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    names(name.trim())
}

fn names(name: &str) -> Vec<String> {
    let is_label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !label.is_empty() && label.bytes().all(plain)
    };
    // A name of digits alone would be read as an address.
    let is_number = name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if name == "localhost" || name.len() > 253 || is_number || !name.split('.').all(is_label) {
        return Vec::new();
    }
    let first = name.split('.').next().unwrap_or(name);
    let mut names = vec![name.to_owned(), first.to_owned(), format!("{first}.local")];
    names.dedup();
    names
}

/// The kind of the machine, as far as it decides who can reach it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Machine {
    /// Nothing stands between the machine and its network.
    Plain,
    /// A virtual machine of the Windows Subsystem for Linux, version 2, with a network of its own.
    Wsl,
    /// A container.
    Container,
}

/// Returns the kind of this machine.
pub fn machine() -> Machine {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let marks = ["/.dockerenv", "/run/.containerenv"];
    // With mirrored networking, the virtual machine has the addresses of Windows, and this interface.
    let is_mirrored = Path::new("/sys/class/net/loopback0").exists();
    if kernel.contains("microsoft") {
        match is_mirrored {
            true => Machine::Plain,
            false => Machine::Wsl,
        }
    } else if marks.iter().any(|mark| Path::new(mark).exists())
        || ["container", "KUBERNETES_SERVICE_HOST"]
            .iter()
            .any(|name| std::env::var_os(name).is_some())
    {
        Machine::Container
    } else {
        Machine::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_told_by_the_kernel_or_by_its_name() {
        let devices = std::env::temp_dir().join(format!("oneloop-links-{}", std::process::id()));
        for file in ["eth0/device", "br0/bridge", "office/tun_flags"] {
            fs::create_dir_all(devices.join(file)).expect("the folder is ours");
        }
        for (name, is_point_to_point, expected) in [
            ("eth0", false, Link::Device),
            ("br0", false, Link::Bridge),
            ("br-0a1b2c", false, Link::Bridge),
            ("docker0", false, Link::Bridge),
            ("office", false, Link::Tunnel),
            ("wg0", false, Link::Tunnel),
            ("ppp0", true, Link::Tunnel),
            ("brutus", false, Link::Other),
        ] {
            assert_eq!(link(name, is_point_to_point, &devices), expected, "{name}");
        }
        fs::remove_dir_all(&devices).expect("the folder is ours");
    }

    #[test]
    fn a_machine_has_the_names_that_a_browser_may_send() {
        for (name, expected) in [
            ("desk", &["desk", "desk.local"][..]),
            (
                "desk.example.org",
                &["desk.example.org", "desk", "desk.local"],
            ),
            ("localhost", &[]),
            ("192.168.1.1", &[]),
            ("", &[]),
            ("a b", &[]),
            ("a..b", &[]),
        ] {
            assert_eq!(names(name), expected, "{name}");
        }
    }

    /// Whatever the machine, the source of a route is an address of an interface.
    #[test]
    fn the_default_route_begins_at_an_interface() {
        let interfaces = interfaces().expect("getifaddrs(3)");
        for source in default_sources().into_iter().flatten() {
            assert!(
                interfaces.iter().any(|i| i.ip == source),
                "{source} {interfaces:?}"
            );
        }
    }
}
