//! Floor 4, server: the way to the server for other devices, such as a phone: the URL that they can open, and
//! a QR code of it. A machine has many addresses, and most of them lead nowhere: a bridge of containers, a
//! VPN. So the address of the default route comes first.

use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use qrcodegen::{QrCode, QrCodeEcc};

use super::Hint;
use super::https::AUTHORITY_PATH;
use crate::sys::{self, Interface, Link, Machine};

/// The listeners of a server, as other devices may reach them.
#[derive(Clone, Debug)]
pub struct Lan {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The addresses of the listeners.
    pub listeners: Vec<SocketAddr>,
    /// Whether a QR code can be drawn: on a terminal that understands escape sequences.
    pub draws: bool,
    /// Whether the terminal shows colour.
    pub colour: bool,
}

impl Lan {
    /// The URLs that other devices can open, the best first. They are looked for each time, because the
    /// machine may have moved to another network.
    pub fn urls(&self) -> Vec<String> {
        let interfaces = sys::interfaces().unwrap_or_default();
        self.urls_of(&reachable(&interfaces, sys::default_sources()))
    }

    /// The URL at which another device gets the certificate of the CA before it trusts the CA: by plain HTTP.
    pub fn authority_url(&self) -> Option<String> {
        let interfaces = sys::interfaces().unwrap_or_default();
        let addresses = self.addresses_of(&reachable(&interfaces, sys::default_sources()));
        let first = addresses.first()?;
        Some(format!("http://{first}{AUTHORITY_PATH}"))
    }

    fn urls_of(&self, ips: &[IpAddr]) -> Vec<String> {
        let url = |address| format!("{}://{address}/", self.scheme);
        self.addresses_of(ips).into_iter().map(url).collect()
    }

    fn addresses_of(&self, ips: &[IpAddr]) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for listener in &self.listeners {
            let all = listener.ip().is_unspecified();
            let is_same_family = |ip: &&IpAddr| ip.is_ipv4() == listener.is_ipv4();
            let ips = match all {
                true => ips.iter().filter(is_same_family).copied().collect(),
                false => vec![listener.ip()],
            };
            let ips = ips.into_iter().filter(|ip| !ip.is_loopback());
            addresses.extend(ips.map(|ip| SocketAddr::new(ip, listener.port())));
        }
        addresses
    }

    /// The QR code of a URL, in lines; `None` if the terminal cannot show it.
    pub fn code(&self, url: &str) -> Option<String> {
        if !self.draws || !is_utf8(&["LC_ALL", "LC_CTYPE", "LANG"].map(env::var_os)) {
            return None;
        }
        let (columns, rows) = sys::window()?;
        let lines = draw(url, self.colour)?;
        // The URL stands above the code, and the cursor below.
        let fits = lines.len() + 2 <= usize::from(rows) && 2 * lines.len() <= usize::from(columns);
        fits.then(|| lines.iter().map(|line| format!("{line}\n")).collect())
    }

    /// The obstacle between other devices and this machine, with the remedy; `None` if there is none.
    pub fn obstacle(&self) -> Option<String> {
        let interfaces = sys::interfaces().unwrap_or_default();
        let port = self.listeners.first().map_or(0, SocketAddr::port);
        obstacle(sys::machine(), &interfaces, port)
    }

    /// The answer to the key `l`.
    pub fn text(&self) -> String {
        let urls = self.urls();
        let Some(first) = urls.first() else {
            return match self.listeners.iter().all(|a| a.ip().is_loopback()) {
                true => "only this machine can reach the server; --lan opens it to the network\n",
                false => "this machine is in no network now\n",
            }
            .into();
        };
        let mut text: String = urls.iter().map(|url| format!("{url}\n")).collect();
        match self.obstacle() {
            Some(obstacle) => text += &format!("{obstacle}\n"),
            None => text += &self.code(first).unwrap_or_default(),
        }
        text
    }

    /// The hint if no other device comes.
    pub fn hint(&self) -> Hint {
        let port = self.listeners.first().map_or(0, SocketAddr::port);
        let interfaces = sys::interfaces().unwrap_or_default();
        let text = format!(
            "no other device has connected yet; a firewall may be in the way (sudo ufw allow {port}/tcp, \
             or sudo firewall-cmd --add-port={port}/tcp), or a network that keeps its devices apart\n"
        );
        Hint::new(text, interfaces.into_iter().map(|i| i.ip).collect())
    }

    /// Whether a network beyond the local one may reach the server: an address is public.
    pub fn is_public(&self) -> bool {
        let interfaces = sys::interfaces().unwrap_or_default();
        let reachable = reachable(&interfaces, sys::default_sources());
        reachable.iter().any(is_public)
    }
}

/// The address by which other devices reach listeners best; `None` if none of them listens on every address.
pub(super) fn best_address(listeners: &[IpAddr]) -> Option<IpAddr> {
    let [v4, v6] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    if !listeners.contains(&v4) && !listeners.contains(&v6) {
        return None;
    }
    // A listener for IPv6 takes IPv4 too, if it is alone.
    let is_heard = |ip: &IpAddr| ip.is_ipv4() || listeners.contains(&v6);
    let interfaces = sys::interfaces().unwrap_or_default();
    let mut found = reachable(&interfaces, sys::default_sources()).into_iter();
    found.find(is_heard)
}

/// The addresses that other devices may reach, the best first: those of the default route; then, of IPv4, those of
/// other networks. IPv6 gives an interface many addresses, of which the system chooses one. If there is no
/// network but a VPN or a bridge, their addresses are better than none.
fn reachable(interfaces: &[Interface], sources: [Option<IpAddr>; 2]) -> Vec<IpAddr> {
    let link = |ip: &IpAddr| interfaces.iter().find(|i| i.ip == *ip).map(|i| i.link);
    // A bridge with the default route is the way of the machine itself to its network.
    let [v4, v6] = sources.map(|ip| ip.filter(|ip| link(ip).is_some_and(|l| l != Link::Tunnel)));
    let of = |links: &'static [Link]| {
        let usable = |i: &&Interface| match i.ip {
            IpAddr::V4(ip) => !ip.is_link_local() && links.contains(&i.link),
            IpAddr::V6(_) => false,
        };
        interfaces.iter().filter(usable).map(|i| i.ip)
    };
    let mut found: Vec<IpAddr> = v4.into_iter().collect();
    found.extend(of(&[Link::Device, Link::Other]).filter(|ip| v4 != Some(*ip)));
    found.extend(v6);
    match found.is_empty() {
        true => of(&[Link::Tunnel, Link::Bridge]).collect(),
        false => found,
    }
}

fn obstacle(machine: Machine, interfaces: &[Interface], port: u16) -> Option<String> {
    match machine {
        Machine::Plain => None,
        Machine::Wsl => Some(format!(
            "inside WSL2, other devices reach Windows only: forward port {port} there (netsh interface \
             portproxy), or set networkingMode=mirrored in .wslconfig"
        )),
        // A container with the network of its host has devices.
        Machine::Container if interfaces.iter().any(|i| i.link == Link::Device) => None,
        Machine::Container => Some(format!(
            "inside a container, other devices reach its host only: publish port {port} there (docker run \
             -p {port}:{port}), and open an address of the host"
        )),
    }
}

/// Whether an address is one of the internet: not of a private network (RFC 1918, RFC 6598, RFC 4193), a link,
/// or a document.
fn is_public(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            let is_local = ip.is_private() || ip.is_link_local() || ip.is_loopback();
            !is_local && !is_shared && !ip.is_documentation()
        }
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            a & 0xe000 == 0x2000 && (a, b) != (0x2001, 0xdb8)
        }
    }
}

/// Whether a terminal takes UTF-8, by the first of these variables that is set (locale(7)).
fn is_utf8(variables: &[Option<std::ffi::OsString>]) -> bool {
    let set = variables.iter().flatten().find(|value| !value.is_empty());
    set.is_some_and(|value| {
        let value = value.to_string_lossy().to_ascii_lowercase();
        value.contains("utf-8") || value.contains("utf8")
    })
}

/// Draws a QR code with two modules in a character. Without colour, the terminal is taken for a dark one.
fn draw(text: &str, colour: bool) -> Option<Vec<String>> {
    /// The margin that ISO/IEC 18004 asks for.
    const QUIET: i32 = 4;
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let is_inked = |x, y| code.get_module(x, y) == colour;
    let line = |y| {
        let modules = (-QUIET..code.size() + QUIET).map(|x| {
            // Below the last row of an odd number, the terminal shows through.
            let below = y + 1 < code.size() + QUIET && is_inked(x, y + 1);
            match (is_inked(x, y), below) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            }
        });
        let modules: String = modules.collect();
        match colour {
            true => format!("\x1b[30;107m{modules}\x1b[0m"),
            false => modules,
        }
    };
    Some((-QUIET..code.size() + QUIET).step_by(2).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_address_of_the_default_route_comes_first_and_bridges_never() {
        let machine = |list: &[(&str, &str, Link)]| -> Vec<Interface> {
            let interface = |(name, at, link): &(&str, &str, Link)| Interface {
                name: (*name).into(),
                ip: ip(at),
                link: *link,
            };
            list.iter().map(interface).collect()
        };
        let laptop = machine(&[
            ("lo", "127.0.0.1", Link::Loopback),
            ("docker0", "172.17.0.1", Link::Bridge),
            ("eth0", "169.254.3.4", Link::Device),
            ("eth0", "10.0.0.5", Link::Device),
            ("wlan0", "192.168.1.20", Link::Device),
            ("wlan0", "fe80::1", Link::Device),
            ("wlan0", "2001:db8::20", Link::Device),
            ("tun0", "10.8.0.2", Link::Tunnel),
        ]);
        let found = |interfaces: &[Interface], v4: &str, v6: &str| {
            let sources = [v4, v6].map(|text| text.parse().ok());
            let found = reachable(interfaces, sources);
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            found(&laptop, "192.168.1.20", "2001:db8::20"),
            ["192.168.1.20", "10.0.0.5", "2001:db8::20"]
        );
        // All traffic goes through a VPN, which no phone is in.
        assert_eq!(found(&laptop, "10.8.0.2", ""), ["10.0.0.5", "192.168.1.20"]);
        let bridged = machine(&[("br0", "192.168.1.3", Link::Bridge)]);
        assert_eq!(found(&bridged, "192.168.1.3", ""), ["192.168.1.3"]);
        let tethered = machine(&[("ppp0", "10.64.0.9", Link::Tunnel)]);
        assert_eq!(found(&tethered, "10.64.0.9", ""), ["10.64.0.9"]);
        assert_eq!(found(&[], "", ""), [""; 0]);
    }

    #[test]
    fn a_url_is_for_a_listener_that_others_reach() {
        let lan = |listeners: &[&str]| Lan {
            scheme: "http",
            listeners: listeners.iter().map(|l| l.parse().expect("one")).collect(),
            draws: false,
            colour: false,
        };
        let ips = [ip("192.168.1.20"), ip("2001:db8::20")];
        for (listeners, expected) in [
            (
                &["0.0.0.0:80", "[::]:80"][..],
                &["http://192.168.1.20:80/", "http://[2001:db8::20]:80/"][..],
            ),
            (&["0.0.0.0:1"], &["http://192.168.1.20:1/"]),
            (&["10.0.0.5:1"], &["http://10.0.0.5:1/"]),
            (&["127.0.0.1:1", "[::1]:1"], &[]),
        ] {
            assert_eq!(lan(listeners).urls_of(&ips), expected, "{listeners:?}");
        }
        assert!(lan(&["127.0.0.1:1"]).text().contains("--lan"));
    }

    #[test]
    fn who_must_forward_is_said() {
        let interface = |link| Interface {
            name: "eth0".into(),
            ip: ip("172.17.0.2"),
            link,
        };
        let said = |machine, link| obstacle(machine, &[interface(link)], 8080);
        assert_eq!(said(Machine::Plain, Link::Device), None);
        let wsl = said(Machine::Wsl, Link::Device).expect("it is in the way");
        assert!(wsl.contains("forward port 8080"), "{wsl}");
        let container = said(Machine::Container, Link::Other).expect("it is in the way");
        assert!(container.contains("-p 8080:8080"), "{container}");
        assert_eq!(said(Machine::Container, Link::Device), None);
    }

    #[test]
    fn an_address_is_public_or_private() {
        for public in ["8.8.8.8", "100.128.0.1", "2a00::1"] {
            assert!(is_public(&ip(public)), "{public}");
        }
        for private in ["10.1.1.1", "100.64.0.1", "192.0.2.1", "fd00::2", "fe80::1"] {
            assert!(!is_public(&ip(private)), "{private}");
        }
    }

    #[test]
    fn a_code_has_two_modules_in_a_character_and_a_margin() {
        let modules = QrCode::encode_text("http://192.168.1.20:8080/", QrCodeEcc::Low);
        let modules = modules.expect("a short text");
        for colour in [true, false] {
            let lines = draw("http://192.168.1.20:8080/", colour).expect("a short text");
            assert_eq!(lines.len(), 17);
            for (row, line) in lines.iter().enumerate() {
                let line = line.trim_start_matches("\x1b[30;107m");
                let line: Vec<char> = line.trim_end_matches("\x1b[0m").chars().collect();
                assert_eq!(line.len(), 33);
                for (column, drawn) in line.iter().enumerate() {
                    let (x, y) = (column as i32 - 4, 2 * row as i32 - 4);
                    let inks = [matches!(drawn, '█' | '▀'), matches!(drawn, '█' | '▄')];
                    assert_eq!(inks[0], modules.get_module(x, y) == colour);
                    let is_in = y + 1 < 29;
                    assert_eq!(inks[1], is_in && modules.get_module(x, y + 1) == colour);
                }
            }
        }
    }

    #[test]
    fn a_terminal_takes_utf_8_if_its_locale_does() {
        for (variables, expected) in [
            (&[None, Some("en_US.UTF-8")][..], true),
            (&[Some(""), Some("C.utf8")], true),
            (&[Some("C"), Some("en_US.UTF-8")], false),
            (&[None, None], false),
        ] {
            let variables: Vec<_> = variables.iter().map(|v| v.map(Into::into)).collect();
            assert_eq!(is_utf8(&variables), expected, "{variables:?}");
        }
    }
}
