//! Floor 0, config: a route of the reverse proxy, as the user writes it: `/api=http://127.0.0.1:3000`.
//!
//! ```text
//! route   = prefix "=" target [ "?host=" ( "keep" / "target" ) ]
//! prefix  = "/" *( segments of a path, as browsers send them )
//! target  = ( "http" / "https" ) "://" host [ ":" port ] [ path ]
//!         / "unix:" socket [ ":" path ]
//! ```
//!
//! A target without a path keeps the path of the request; a target with a path, even `/` alone, replaces
//! the prefix. nginx has this rule too, but replaces bytes; here whole segments are replaced, so the
//! slash at the end of a prefix or of a target changes nothing but a request for the prefix itself:
//!
//! | prefix | target | a request for | becomes |
//! |---|---|---|---|
//! | `/api` | `http://h` | `/api` | `/api` |
//! | `/api` | `http://h` | `/api/` | `/api/` |
//! | `/api` | `http://h` | `/api/users?id=1` | `/api/users?id=1` |
//! | `/api` | `http://h/` | `/api` | `/` |
//! | `/api` | `http://h/` | `/api?id=1` | `/?id=1` |
//! | `/api` | `http://h/` | `/api/users?id=1` | `/users?id=1` |
//! | `/api` | `http://h/v1` | `/api` | `/v1` |
//! | `/api` | `http://h/v1` | `/api/` | `/v1/` |
//! | `/api` | `http://h/v1` | `/api/users` | `/v1/users` |
//! | `/api` | `http://h/v1/` | `/api` | `/v1/` |
//! | `/api/` | `http://h/v1/` | `/api/users` | `/v1/users` |
//! | `/` | `http://h` | `/users` | `/users` |
//! | `/` | `http://h/v1` | `/users` | `/v1/users` |
//! | `/` | `http://h/v1/` | `/` | `/v1/` |

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// A route of the reverse proxy: the paths that it is for, and the server that answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyRoute {
    /// The prefix without a slash at its end: `/api`, or empty for every path.
    prefix: Box<str>,
    target: ProxyTarget,
    /// The path that takes the place of the prefix, as the user wrote it; `None` keeps the prefix.
    path: Option<Box<str>>,
    keeps_host: bool,
}

/// The server that answers for a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyTarget {
    /// Whether the server speaks TLS.
    pub is_tls: bool,
    /// The place of the server.
    pub place: ProxyPlace,
}

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProxyPlace {
    /// A port of a host: a name, an IPv4 address, or an IPv6 address without brackets.
    Host(Box<str>, u16),
    /// A Unix-domain socket.
    Unix(PathBuf),
}

impl ProxyRoute {
    /// Reads a route.
    ///
    /// ```
    /// use oneloop::config::ProxyRoute;
    /// let route = ProxyRoute::parse("/api=http://localhost:3000/v1").unwrap();
    /// assert_eq!(route.to_string(), "/api=http://localhost:3000/v1");
    /// assert_eq!(route.prefix(), "/api");
    /// assert_eq!(route.path(), Some("/v1"));
    /// assert!(route.keeps_host());
    /// assert!(!ProxyRoute::parse("/=http://10.0.0.1:80").unwrap().keeps_host());
    /// assert!(ProxyRoute::parse("/api=localhost:3000").is_err());
    /// ```
    ///
    /// # Errors
    /// A sentence about the first mistake, with the next step.
    pub fn parse(text: &str) -> Result<ProxyRoute, String> {
        let (prefix, rest) = text
            .split_once('=')
            .ok_or("give a prefix and a target, such as /api=http://localhost:3000")?;
        check_path(prefix, "the prefix")?;
        let prefix = prefix.trim_end_matches('/');
        if prefix == RESERVED || prefix.starts_with(&format!("{RESERVED}/")) {
            return Err(format!(
                "{RESERVED} is for the server itself; take another prefix"
            ));
        }
        let (rest, option) = match rest.split_once('?') {
            Some((rest, option)) => (rest, Some(option)),
            None => (rest, None),
        };
        let (target, path) = match rest.split_once(':') {
            Some(("unix", socket)) => unix(socket)?,
            Some((scheme @ ("http" | "https"), rest)) => web(scheme == "https", rest)?,
            _ => {
                // The next step is the same text with a scheme, if that makes a target.
                let guess = match rest.bytes().all(|b| b.is_ascii_digit()) {
                    true if !rest.is_empty() => format!("http://localhost:{rest}"),
                    _ => format!("http://{rest}"),
                };
                let example = match web(false, &guess["http:".len()..]) {
                    Ok(_) => guess,
                    Err(_) => "http://localhost:3000".into(),
                };
                return Err(format!(
                    "a target begins with http://, https:// or unix:, such as {prefix}/={example}"
                )
                .replace("/=", if prefix.is_empty() { "/=" } else { "=" }));
            }
        };
        let keeps_host = match option {
            None => target.is_local(),
            Some("host=keep") => true,
            Some("host=target") => false,
            Some(_) => {
                return Err("a target has no query but ?host=keep or ?host=target; \
                     the query of each request is passed on"
                    .into());
            }
        };
        Ok(ProxyRoute {
            prefix: prefix.into(),
            target,
            path: path.map(Into::into),
            keeps_host,
        })
    }

    /// The prefix without a slash at its end: `/api`, or empty for every path.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The server that answers.
    pub fn target(&self) -> &ProxyTarget {
        &self.target
    }

    /// The path that takes the place of the prefix, as the user wrote it. `None`: the path of a request
    /// is passed on as it is.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Whether the server gets the host that the client has asked for, and not its own: for a server on
    /// this machine, unless the route says otherwise. A program of the developer then makes URLs that
    /// lead back to the browser's address; a server elsewhere often knows only its own names.
    pub fn keeps_host(&self) -> bool {
        self.keeps_host
    }
}

/// The route as the user could have written it.
impl fmt::Display for ProxyRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.prefix.is_empty() {
            "/"
        } else {
            &self.prefix
        };
        write!(f, "{prefix}={}", self.target)?;
        if let Some(path) = &self.path {
            let colon = matches!(self.target.place, ProxyPlace::Unix(_));
            write!(f, "{}{path}", if colon { ":" } else { "" })?;
        }
        match (self.keeps_host, self.target.is_local()) {
            (true, false) => f.write_str("?host=keep"),
            (false, true) => f.write_str("?host=target"),
            _ => Ok(()),
        }
    }
}

impl ProxyTarget {
    /// Whether the server is on this machine: at a Unix-domain socket, a loopback address, `localhost`
    /// or a name below it.
    pub fn is_local(&self) -> bool {
        match &self.place {
            ProxyPlace::Unix(_) => true,
            ProxyPlace::Host(host, _) => match host.parse::<IpAddr>() {
                Ok(ip) => ip.to_canonical().is_loopback(),
                Err(_) => is_localhost(host),
            },
        }
    }

    /// The addresses of a host that needs no resolver: an IP address alone, and both loopback addresses
    /// for `localhost` and the names below it (RFC 6761 §6.3). `None` for another name, and for a
    /// Unix-domain socket.
    pub fn addresses(&self) -> Option<Vec<SocketAddr>> {
        let ProxyPlace::Host(host, port) = &self.place else {
            return None;
        };
        let ips = match host.parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) if is_localhost(host) => {
                vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            }
            Err(_) => return None,
        };
        Some(
            ips.into_iter()
                .map(|ip| SocketAddr::new(ip, *port))
                .collect(),
        )
    }

    /// The name of the scheme.
    pub fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }

    /// The value of `Host` for the server: the host, and the port unless it is the default port of the
    /// scheme. `localhost` for a Unix-domain socket.
    pub fn authority(&self) -> String {
        match &self.place {
            ProxyPlace::Unix(_) => "localhost".into(),
            ProxyPlace::Host(host, port) => {
                let (open, close) = if host.contains(':') {
                    ("[", "]")
                } else {
                    ("", "")
                };
                match *port == default_port(self.is_tls) {
                    true => format!("{open}{host}{close}"),
                    false => format!("{open}{host}{close}:{port}"),
                }
            }
        }
    }
}

/// The target without a path.
impl fmt::Display for ProxyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            ProxyPlace::Unix(socket) => write!(f, "unix:{}", socket.display()),
            ProxyPlace::Host(..) => write!(f, "{}://{}", self.scheme(), self.authority()),
        }
    }
}

/// The paths of the server itself.
const RESERVED: &str = "/_oneloop";

/// A target, and the path that takes the place of the prefix.
type Target<'a> = (ProxyTarget, Option<&'a str>);

/// Reads the rest of a URL after `http:` or `https:`.
fn web(is_tls: bool, rest: &str) -> Result<Target<'_>, String> {
    let scheme = if is_tls { "https" } else { "http" };
    let rest = rest
        .strip_prefix("//")
        .ok_or_else(|| format!("two slashes follow the scheme: {scheme}://localhost:3000"))?;
    let (authority, path) = match rest.find('/') {
        Some(at) => (&rest[..at], Some(&rest[at..])),
        None => (rest, None),
    };
    if authority.contains('@') {
        return Err("a target has no user and no password; the client sends its own".into());
    }
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => {
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        _ => (authority, None),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let in_brackets = bare.is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
    let is_name = host.split('.').all(|label| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        !label.is_empty() && label.bytes().all(plain)
    });
    // A name of digits would be an address in a form that resolvers take in different ways.
    let is_number = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if !in_brackets
        && (!is_name || host.len() > 253 || is_number && host.parse::<Ipv4Addr>().is_err())
    {
        return Err(match host {
            "" => format!("the host is missing; such as {scheme}://localhost:3000"),
            _ if authority.parse::<Ipv6Addr>().is_ok() => {
                format!("an IPv6 address stands in brackets: {scheme}://[{authority}]")
            }
            _ => format!("{host:?} is not a host name or an IP address"),
        });
    }
    let port = match port {
        None => default_port(is_tls),
        Some(digits) => {
            let number = digits.parse().ok().filter(|n| *n > 0);
            let is_plain = digits.bytes().all(|b| b.is_ascii_digit());
            number.filter(|_| is_plain).ok_or_else(|| {
                format!("{digits:?} is not a port; a port is a number from 1 to 65535")
            })?
        }
    };
    if let Some(path) = path {
        check_path(path, "the path of a target")?;
    }
    let place = ProxyPlace::Host(bare.unwrap_or(host).to_ascii_lowercase().into(), port);
    Ok((ProxyTarget { is_tls, place }, path))
}

/// Reads the rest of a target after `unix:`.
fn unix(rest: &str) -> Result<Target<'_>, String> {
    /// The bytes of a path in `sockaddr_un`, of which the last is NUL (unix(7)).
    const SOCKET_BYTES_MAX: usize = 107;
    let (socket, path) = match rest.find(":/") {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    if socket.is_empty() || socket.contains('\0') {
        return Err("the path of a socket follows unix:, such as unix:/run/app.sock".into());
    }
    if socket.len() > SOCKET_BYTES_MAX {
        return Err(format!(
            "the path of a socket has at most {SOCKET_BYTES_MAX} bytes; link it from a shorter path"
        ));
    }
    if let Some(path) = path {
        check_path(path, "the path of a target")?;
    }
    let place = ProxyPlace::Unix(socket.into());
    Ok((
        ProxyTarget {
            is_tls: false,
            place,
        },
        path,
    ))
}

/// Checks that a path is one that browsers send.
fn check_path(path: &str, what: &str) -> Result<(), String> {
    let wrong = |c: char| !c.is_ascii_graphic() || matches!(c, '#' | '?' | '"' | '<' | '>' | '\\');
    if !path.starts_with('/') {
        return Err(format!("{what} begins with a slash, such as /api"));
    }
    if let Some(c) = path.chars().find(|c| wrong(*c)) {
        let mut bytes = [0; 4];
        let bytes = c.encode_utf8(&mut bytes).bytes();
        let encoded: String = bytes.map(|byte| format!("%{byte:02X}")).collect();
        return Err(format!(
            "{what} is as browsers send it: write {c:?} as {encoded}"
        ));
    }
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if matches!(segment, "." | "..") || segment.is_empty() && segments.peek().is_some() {
            return Err(format!("{what} has no empty segment, no . and no .."));
        }
    }
    Ok(())
}

fn is_localhost(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_and_written() {
        for (text, prefix, target, path, keeps_host) in [
            (
                "/api=http://127.0.0.1:3000",
                "/api",
                "http://127.0.0.1:3000",
                None,
                true,
            ),
            (
                "/api/=http://LocalHost:3000/",
                "/api",
                "http://localhost:3000",
                Some("/"),
                true,
            ),
            ("/=http://a.localhost", "", "http://a.localhost", None, true),
            (
                "/a/b=http://[::1]:80/v1/",
                "/a/b",
                "http://[::1]",
                Some("/v1/"),
                true,
            ),
            (
                "/a=http://example.org",
                "/a",
                "http://example.org",
                None,
                false,
            ),
            (
                "/a=http://example.org?host=keep",
                "/a",
                "http://example.org",
                None,
                true,
            ),
            (
                "/a=http://[::1]?host=target",
                "/a",
                "http://[::1]",
                None,
                false,
            ),
            (
                "/a=https://h:443/x=y",
                "/a",
                "https://h",
                Some("/x=y"),
                false,
            ),
            ("/a=https://h:80", "/a", "https://h:80", None, false),
            ("/a=unix:/run/a.sock", "/a", "unix:/run/a.sock", None, true),
            (
                "/a=unix:a.sock:/v1?host=target",
                "/a",
                "unix:a.sock",
                Some("/v1"),
                false,
            ),
            (
                "/%C3%A9=http://10.0.0.1",
                "/%C3%A9",
                "http://10.0.0.1",
                None,
                false,
            ),
        ] {
            let route = ProxyRoute::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(route.prefix(), prefix, "{text}");
            assert_eq!(route.target().to_string(), target, "{text}");
            assert_eq!(route.path(), path, "{text}");
            assert_eq!(route.keeps_host(), keeps_host, "{text}");
            assert_eq!(ProxyRoute::parse(&route.to_string()), Ok(route), "{text}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_the_next_step() {
        for (text, said) in [
            (
                "/api",
                "give a prefix and a target, such as /api=http://localhost:3000",
            ),
            (
                "api=http://h",
                "the prefix begins with a slash, such as /api",
            ),
            ("=http://h", "the prefix begins with a slash, such as /api"),
            (
                "/a b=http://h",
                "the prefix is as browsers send it: write ' ' as %20",
            ),
            (
                "/\u{e9}=http://h",
                "the prefix is as browsers send it: write '\u{e9}' as %C3%A9",
            ),
            (
                "/a//b=http://h",
                "the prefix has no empty segment, no . and no ..",
            ),
            (
                "/a/..=http://h",
                "the prefix has no empty segment, no . and no ..",
            ),
            (
                "/_oneloop/x=http://h",
                "/_oneloop is for the server itself; take another prefix",
            ),
            (
                "/api=localhost:3000",
                "a target begins with http://, https:// or unix:, such as /api=http://localhost:3000",
            ),
            (
                "/api=3000",
                "a target begins with http://, https:// or unix:, such as /api=http://localhost:3000",
            ),
            (
                "/=ftp://h",
                "a target begins with http://, https:// or unix:, such as /=http://localhost:3000",
            ),
            (
                "/a=http:h",
                "two slashes follow the scheme: http://localhost:3000",
            ),
            (
                "/a=https:///x",
                "the host is missing; such as https://localhost:3000",
            ),
            (
                "/a=http://:80",
                "the host is missing; such as http://localhost:3000",
            ),
            (
                "/a=http://::1",
                "an IPv6 address stands in brackets: http://[::1]",
            ),
            (
                "/a=http://u:p@h",
                "a target has no user and no password; the client sends its own",
            ),
            (
                "/a=http://a..b",
                "\"a..b\" is not a host name or an IP address",
            ),
            (
                "/a=http://127.1",
                "\"127.1\" is not a host name or an IP address",
            ),
            (
                "/a=http://h:0",
                "\"0\" is not a port; a port is a number from 1 to 65535",
            ),
            (
                "/a=http://h:+80",
                "\"+80\" is not a port; a port is a number from 1 to 65535",
            ),
            (
                "/a=http://h:",
                "\"\" is not a port; a port is a number from 1 to 65535",
            ),
            (
                "/a=http://h:70000",
                "\"70000\" is not a port; a port is a number from 1 to 65535",
            ),
            (
                "/a=http://h/?q=1",
                "a target has no query but ?host=keep or ?host=target; \
                 the query of each request is passed on",
            ),
            (
                "/a=http://h/a#b",
                "the path of a target is as browsers send it: write '#' as %23",
            ),
            (
                "/a=unix:",
                "the path of a socket follows unix:, such as unix:/run/app.sock",
            ),
        ] {
            assert_eq!(ProxyRoute::parse(text), Err(said.into()), "{text}");
        }
        let long = format!("/a=unix:/{}", "x".repeat(107));
        assert!(
            ProxyRoute::parse(&long)
                .unwrap_err()
                .contains("at most 107 bytes")
        );
    }

    #[test]
    fn some_hosts_need_no_resolver() {
        let addresses = |text: &str| {
            let route = ProxyRoute::parse(&format!("/={text}")).expect("valid");
            let list = route.target().addresses()?;
            Some(list.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let both = ["127.0.0.1:3000", "[::1]:3000"].map(String::from).to_vec();
        assert_eq!(addresses("http://localhost:3000"), Some(both.clone()));
        assert_eq!(addresses("http://app.localhost:3000"), Some(both));
        assert_eq!(addresses("https://[::2]"), Some(vec!["[::2]:443".into()]));
        assert_eq!(
            addresses("http://10.0.0.1"),
            Some(vec!["10.0.0.1:80".into()])
        );
        assert_eq!(addresses("http://example.org"), None);
        assert_eq!(addresses("unix:/a"), None);
    }
}
