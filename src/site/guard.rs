//! Floor 3, site: the guard, which lets requests in by whom they are for and by which page makes them.
//! It must not know what they ask for.
//!
//! A browser lets the pages of strangers send requests to any server, also to one that listens on
//! loopback and takes itself to be alone with its user. Two things it tells, and no page can forge.
//!
//! **Host** says by which name the server was reached. It closes the door to *DNS rebinding*: a stranger
//! has a name of his own resolve to 127.0.0.1 once his page is loaded; to the browser we are then the
//! server that the page came from, and all we answer is the page's to read. But the name is still his.
//! `localhost` and the names below it are nobody's (RFC 6761 §6.3) and IP addresses are never resolved;
//! whatever else we are called, we must have been told.
//!
//! **Origin** says which page asks (RFC 6454 §7). What is answered to a page of a stranger, the
//! browser does not show to it; but by then an unsafe request has had its effect, and a WebSocket
//! connection is held back by nothing at all (as CVE-2025-24010 showed for a well-known development
//! server). So such requests come from our own pages, from pages on `localhost`, whose ports are all
//! the developer's, from those we were told of, or from no page, as those of curl do.
//!
//! | | Host | Origin, of an unsafe method or a WebSocket handshake |
//! |---|---|---|
//! | absent | let in: HTTP/1.0, no browser | let in: no page |
//! | the request's authority | | let in, the scheme's port filled in |
//! | `localhost`, `*.localhost` | let in | let in, whatever its port |
//! | a name or an address that was allowed | let in | let in, whatever its port |
//! | another IP address | let in | refused |
//! | another name | refused | refused |
//! | `null`, two lines, no origin of http or https | | refused, also where any name is allowed |
//!
//! What it does not keep from strangers is what the web lets them have of everybody: to show our images
//! and to run our scripts in their pages.

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::http::{Authority, Field, Method, RequestHead};

/// Who may ask; see the module's docs. The default one lets in what needs no permission.
///
/// ```
/// use oneloop::site::Guard;
/// # use oneloop::http::{HeadLimits, HeadParser, Parsed, RequestHead};
/// # let limits = HeadLimits { head_bytes_max: 1024, target_bytes_max: 256, fields_max: 10 };
/// # let bytes = b"GET / HTTP/1.1\r\nHost: app.example.org:8080\r\n\r\n";
/// # let Ok(Parsed::Complete(head)) = HeadParser::default().parse(bytes, &limits) else { panic!() };
///
/// let request = RequestHead::new(&head, bytes); // Host: app.example.org:8080
/// assert!(Guard::default().check(&request).is_err());
/// assert!(Guard::new([".example.org"]).check(&request).is_ok());
/// ```
#[derive(Clone, Default, Debug)]
pub struct Guard {
    /// Each without a dot at its end; one with a dot in front stands for the names below it too.
    names: Vec<Box<[u8]>>,
    any: bool,
    /// The host that was let in last, as it was written. Nearly every request is for the same one, and to
    /// see that costs a tenth of looking at it.
    last: Vec<u8>,
}

/// Why a request is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial<'a> {
    /// It is for this host, which is none of ours.
    Host(&'a [u8]),
    /// It is made by a page of this host, which is a stranger's.
    Origin(&'a [u8]),
    /// It is made by a page that has no origin (a sandboxed frame, a file).
    OriginNull,
    /// It is made by something else than one page of http or https.
    OriginUnknown,
}

impl Guard {
    /// A guard that also lets in `names`, which are as in
    /// [`Config::allow_hosts`](crate::config::Config::allow_hosts).
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Guard {
        let mut guard = Guard::default();
        for name in names {
            match name.as_ref() {
                "*" => guard.any = true,
                name => guard.names.push(normal(name).into_bytes().into()),
            }
        }
        guard
    }

    /// Holds a request against the table above. For nearly all requests it is one look at Host.
    ///
    /// # Errors
    /// [`Denial`].
    pub fn check<'a>(&mut self, request: &RequestHead<'a>) -> Result<(), Denial<'a>> {
        let authority = request.authority();
        if let Some(Authority { host, .. }) = authority
            && self.last != host
        {
            let name = without_dot(host);
            if !(is_local(name) || self.allows(name) || is_ip(name)) {
                return Err(Denial::Host(name));
            }
            host.clone_into(&mut self.last);
        }
        let from_pages_of_ours = match request.method() {
            Method::Get => request.wants_websocket(),
            Method::Head | Method::Options | Method::Trace => false,
            Method::Post
            | Method::Put
            | Method::Delete
            | Method::Patch
            | Method::Connect
            | Method::Unknown => true,
        };
        match from_pages_of_ours {
            true => self.check_origin(request, authority),
            false => Ok(()),
        }
    }

    fn check_origin<'a>(
        &self,
        request: &RequestHead<'a>,
        authority: Option<Authority<'a>>,
    ) -> Result<(), Denial<'a>> {
        let mut values = request.values(Field::Origin);
        let origin = match (values.next(), values.next()) {
            (None, _) => return Ok(()),
            (Some(b"null"), None) => return Err(Denial::OriginNull),
            (Some(value), None) => Origin::parse(value).ok_or(Denial::OriginUnknown)?,
            (Some(_), Some(_)) => return Err(Denial::OriginUnknown),
        };
        let host = without_dot(origin.authority.host);
        let is_own = authority.is_some_and(|authority| {
            let port = authority.port.unwrap_or(origin.default_port);
            port == origin.port() && is_same(without_dot(authority.host), host)
        });
        match is_own || is_local(host) || self.allows(host) {
            true => Ok(()),
            false => Err(Denial::Origin(host)),
        }
    }

    /// Whether we were told of this host.
    fn allows(&self, host: &[u8]) -> bool {
        self.any
            || self.names.iter().any(|name| match name.strip_prefix(b".") {
                // What an address ends in says nothing about whose it is.
                Some(domain) => is_at_or_below(domain, host) && !is_ip(host),
                None => is_same(name, host),
            })
    }
}

/// A name as hosts are written: an IPv6 address in its brackets.
fn normal(name: &str) -> String {
    match name.parse::<Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]"),
        Err(_) => name.strip_suffix('.').unwrap_or(name).to_owned(),
    }
}

/// A dot at the end of a name says that it is whole, which all names here are.
fn without_dot(host: &[u8]) -> &[u8] {
    host.strip_suffix(b".").unwrap_or(host)
}

/// Whether a host is an address. An [`Authority`] has nothing in brackets but those of IPv6. Of IPv4
/// there is one form: browsers make it of others (`0x7f.1`), and to the rest these are names.
fn is_ip(host: &[u8]) -> bool {
    match host.first() {
        Some(b'[') => true,
        Some(first) if first.is_ascii_digit() => {
            str::from_utf8(host).is_ok_and(|host| host.parse::<Ipv4Addr>().is_ok())
        }
        Some(_) | None => false,
    }
}

/// Whether two hosts are the same name or the same address.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b) || ipv6(a).is_some_and(|ip| ipv6(b) == Some(ip))
}

/// The address in brackets.
fn ipv6(host: &[u8]) -> Option<Ipv6Addr> {
    let ip = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    str::from_utf8(ip).ok()?.parse().ok()
}

/// Whether a host is `localhost` or a name below it.
fn is_local(host: &[u8]) -> bool {
    is_at_or_below(b"localhost", host)
}

fn is_at_or_below(domain: &[u8], host: &[u8]) -> bool {
    let Some(at) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    let (below, end) = host.split_at(at);
    let is_label = |below: &[u8]| matches!(below, [.., before, b'.'] if *before != b'.');
    end.eq_ignore_ascii_case(domain) && (below.is_empty() || is_label(below))
}

/// The origin of a page that came by HTTP.
///
/// ```text
/// serialized-origin = scheme "://" host [ ":" port ]
/// ```
struct Origin<'a> {
    authority: Authority<'a>,
    default_port: u16,
}

impl<'a> Origin<'a> {
    /// `None` for whatever else there may be, a list of origins among it (RFC 6454 §7.1).
    fn parse(value: &'a [u8]) -> Option<Origin<'a>> {
        let schemes = [(&b"http://"[..], 80), (b"https://", 443)];
        schemes.into_iter().find_map(|(scheme, default_port)| {
            let (begin, rest) = value.split_at_checked(scheme.len())?;
            let authority = Authority::parse(rest)?;
            begin.eq_ignore_ascii_case(scheme).then_some(Origin {
                authority,
                default_port,
            })
        })
    }

    fn port(&self) -> u16 {
        self.authority.port.unwrap_or(self.default_port)
    }
}

/// A sentence for the author of the request, with the flag that would let the request in.
impl fmt::Display for Denial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Denial::Host(host) => match shown(host) {
                Some(host) => write!(
                    f,
                    "the host \"{host}\" is not served here; \
                     if it should be, start with --allow-host {host}"
                ),
                None => f.write_str("a host of this name is not served here"),
            },
            Denial::Origin(host) => match shown(host) {
                Some(host) => write!(
                    f,
                    "pages of \"{host}\" may not ask for this; \
                     if they should, start with --allow-host {host}"
                ),
                None => f.write_str("pages of this origin may not ask for this"),
            },
            Denial::OriginNull => f.write_str("pages without an origin may not ask for this"),
            Denial::OriginUnknown => {
                f.write_str("Origin must be one origin of http or https, or not be there")
            }
        }
    }
}

impl Error for Denial<'_> {}

/// A host as it is written on the command line. `None` if it is none that can be meant: too long for a
/// name (RFC 1035 §2.3.4), or with something in it that names do not have. People paste what they are
/// told into a shell, and `$(reboot)` is a host by its grammar.
fn shown(host: &[u8]) -> Option<&str> {
    const NAME_BYTES_MAX: usize = 253;
    let text = str::from_utf8(host).ok()?;
    if ipv6(host).is_some() {
        return Some(text.trim_matches(['[', ']']));
    }
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let is_name = text.len() <= NAME_BYTES_MAX
        && text.bytes().all(is_plain)
        && text.split('.').all(|label| !label.is_empty())
        && !text.starts_with('-');
    is_name.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parsed;

    /// What a guard that allows `names`, with commas between them, says to a request.
    fn check(names: &str, request: &str) -> Result<(), String> {
        let mut guard = Guard::new(names.split(',').filter(|name| !name.is_empty()));
        let text = format!("{request}\r\n\r\n");
        let head = parsed(&text);
        let outcome = guard.check(&RequestHead::new(&head, text.as_bytes()));
        outcome.map_err(|refusal| format!("{refusal:?}"))
    }

    /// Asks for `host` where `names` are allowed.
    fn host(names: &str, host: &str) -> bool {
        let refused = |host: &str| Err(format!("{:?}", Denial::Host(host.as_bytes())));
        let got = check(names, &format!("GET / HTTP/1.1\r\nHost: {host}"));
        let authority = Authority::parse(host.as_bytes());
        let name = authority.map_or("", |a| str::from_utf8(a.host).expect("ASCII"));
        let expected = refused(name.strip_suffix('.').unwrap_or(name));
        assert!(got.is_ok() || got == expected, "{host}: {got:?}");
        // It is no different as the authority of the target, and then Host does not count.
        if !host.is_empty() {
            for other in ["localhost", "evil.example"] {
                let absolute = format!("GET http://{host}/ HTTP/1.1\r\nHost: {other}");
                assert_eq!(check(names, &absolute), got, "{absolute}");
            }
        }
        got.is_ok()
    }

    #[test]
    fn a_host_is_an_address_localhost_or_a_name_that_was_allowed() {
        for name in [
            "",
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "localhost.:80",
            "a.localhost",
            "a.b.LOCALHOST.",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.0.0.1.",
            "192.168.1.1",
            "0.0.0.0:1",
            "[::1]",
            "[::1]:8080",
            "[2001:db8::1]",
            "[::ffff:127.0.0.1]",
        ] {
            for names in ["", "app.test", "*"] {
                assert!(host(names, name), "{name}");
            }
        }
        for name in [
            "evil.example",
            "x",
            "localhost.evil.example",
            "evillocalhost",
            ".localhost",
            "a..localhost",
            "localhost..",
            "127.0.0.1.evil.example",
            "127.0.0.1..",
            "127.1",
            "127.0.0.01",
            "0127.0.0.1",
            "0x7f.1",
            "0x7f.0.0.1",
            "2130706433",
            "127.0.0.256",
            "127.0.0.1.1",
            "%6cocalhost",
            "local%68ost",
            ".",
            "127.0.0.1%00",
        ] {
            assert!(!host("", name), "{name}");
            assert!(!host("app.test,.example.org,10.0.0.1", name), "{name}");
            assert!(host("*", name), "{name}");
        }
    }

    #[test]
    fn an_allowed_name_is_itself_and_with_a_dot_in_front_all_below_it() {
        for (names, name, allowed) in [
            ("app.test", "app.test", true),
            ("app.test", "APP.Test.:81", true),
            ("App.Test.", "app.test", true),
            ("app.test", "www.app.test", false),
            ("app.test", "wwwapp.test", false),
            ("app.test", "app.tes", false),
            ("app.test", "test", false),
            (".example.org", "example.org", true),
            (".example.org", "www.example.org:1", true),
            (".Example.ORG.", "a.b.example.org.", true),
            (".example.org", "wwwexample.org", false),
            (".example.org", ".example.org", false),
            (".example.org", "org", false),
            ("a.test,b.test", "b.test", true),
            ("a.test,*", "c.test", true),
        ] {
            assert_eq!(
                host(names, name),
                allowed,
                "{name} where {names} is allowed"
            );
        }
    }

    #[test]
    fn who_was_let_in_before_does_not_matter() {
        let hosts = [
            "",
            "localhost",
            "localhos",
            "localhost.",
            "localhostx",
            "xlocalhost",
            "LOCALHOST",
            "x",
            "127.0.0.1",
            "127.0.0.11",
            "[::1]",
            "a.app.test",
            "app.test",
            "app.test.x",
        ];
        let texts = hosts.map(|host| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let new_guard = || Guard::new([".app.test"]);
        for before in &texts {
            for text in &texts {
                let (head_before, head) = (parsed(before), parsed(text));
                let request = RequestHead::new(&head, text.as_bytes());
                let mut guard = new_guard();
                let _ = guard.check(&RequestHead::new(&head_before, before.as_bytes()));
                assert_eq!(
                    guard.check(&request),
                    new_guard().check(&request),
                    "{before}{text}"
                );
            }
        }
    }

    #[test]
    fn who_names_no_host_is_let_in() {
        for request in [
            "GET / HTTP/1.0",
            "POST / HTTP/1.0",
            "GET / HTTP/1.1\r\nHost:",
        ] {
            assert_eq!(check("", request), Ok(()), "{request}");
        }
        let absolute = "GET http://evil.example/ HTTP/1.0";
        assert!(check("", absolute).is_err(), "this one does");
    }

    #[test]
    fn an_unsafe_request_comes_from_a_page_of_ours_or_from_none() {
        const OK: Result<(), Denial<'_>> = Ok(());
        const NULL: Result<(), Denial<'_>> = Err(Denial::OriginNull);
        const UNKNOWN: Result<(), Denial<'_>> = Err(Denial::OriginUnknown);
        let of = |host: &'static str| Err(Denial::Origin(host.as_bytes()));
        for (host, origin, names, expected) in [
            // The page's own server.
            ("127.0.0.1:8080", "http://127.0.0.1:8080", "", OK),
            ("[::1]:8080", "http://[::1]:8080", "", OK),
            ("[0:0::A]", "http://[::a]", "", OK),
            ("10.0.0.1", "http://10.0.0.1", "", OK),
            ("10.0.0.1", "http://10.0.0.1:80", "", OK),
            ("10.0.0.1:80", "http://10.0.0.1", "", OK),
            ("10.0.0.1:", "HTTP://10.0.0.1:", "", OK),
            ("10.0.0.1", "https://10.0.0.1", "", OK),
            ("10.0.0.1:443", "https://10.0.0.1", "", OK),
            ("10.0.0.1", "HttpS://10.0.0.1:443", "", OK),
            ("10.0.0.1", "https://10.0.0.1:80", "", of("10.0.0.1")),
            ("10.0.0.1:443", "http://10.0.0.1", "", of("10.0.0.1")),
            ("10.0.0.1:81", "http://10.0.0.1", "", of("10.0.0.1")),
            ("10.0.0.1", "http://10.0.0.1:81", "", of("10.0.0.1")),
            ("", "http://10.0.0.1", "", of("10.0.0.1")),
            // Addresses of others.
            ("127.0.0.1:80", "http://127.0.0.1:81", "", of("127.0.0.1")),
            ("localhost:80", "http://127.0.0.1", "", of("127.0.0.1")),
            ("localhost:80", "http://[::1]", "", of("[::1]")),
            ("localhost", "http://127.0.0.1:81", "127.0.0.1", OK),
            (
                "localhost",
                "http://127.0.0.1:81",
                ".0.0.1",
                of("127.0.0.1"),
            ),
            ("localhost", "http://[::1]:81", "::1", OK),
            ("localhost", "http://[2001:db8::1]", "[2001:DB8:0::1]", OK),
            // localhost, on all its ports.
            ("127.0.0.1:8080", "http://localhost:5173", "", OK),
            ("127.0.0.1:8080", "https://App.LocalHost", "", OK),
            ("", "http://localhost", "", OK),
            ("localhost", "http://evillocalhost", "", of("evillocalhost")),
            // Names that were allowed, and others.
            ("localhost", "http://evil.example", "", of("evil.example")),
            ("localhost", "http://app.test.:81", "app.test", OK),
            ("localhost", "https://a.b.test", ".b.test", OK),
            ("app.test", "http://app.test:81", "app.test", OK),
            ("app.test", "http://evil.test", "app.test", of("evil.test")),
            ("app.test", "http://app.test:81", "*", OK),
            ("localhost", "http://evil.example", "*", OK),
            ("localhost", "http://127.0.0.1:81", "*", OK),
            // What is no origin.
            ("localhost", "null", "", NULL),
            ("localhost", "null", "*", NULL),
            ("localhost", "NULL", "*", UNKNOWN),
            ("localhost", "", "*", UNKNOWN),
            ("localhost", "localhost", "*", UNKNOWN),
            ("localhost", "http:localhost", "*", UNKNOWN),
            ("localhost", "http://", "*", UNKNOWN),
            ("localhost", "http://localhost/", "*", UNKNOWN),
            ("localhost", "http://u@localhost", "*", UNKNOWN),
            ("localhost", "http://localhost:80:80", "*", UNKNOWN),
            ("localhost", "http://localhost:99999", "*", UNKNOWN),
            ("localhost", "ws://localhost", "*", UNKNOWN),
            ("localhost", "file://localhost", "*", UNKNOWN),
            ("localhost", "chrome-extension://localhost", "*", UNKNOWN),
            (
                "localhost",
                "http://localhost http://localhost",
                "*",
                UNKNOWN,
            ),
            (
                "localhost",
                "http://localhost, http://localhost",
                "*",
                UNKNOWN,
            ),
            ("localhost", "null\r\nOrigin: null", "*", UNKNOWN),
            (
                "localhost",
                "http://localhost\r\nOrigin: http://localhost",
                "*",
                UNKNOWN,
            ),
        ] {
            let expected = expected.map_err(|refusal| format!("{refusal:?}"));
            for begin in [
                "POST / HTTP/1.1",
                "PUT / HTTP/1.1",
                "DELETE / HTTP/1.1",
                "PATCH / HTTP/1.1",
                "BREW / HTTP/1.1",
                "CONNECT localhost:80 HTTP/1.1",
                "GET / HTTP/1.1\r\nUpgrade: h2c, WebSocket",
            ] {
                let request = format!("{begin}\r\nHost: {host}\r\nOrigin: {origin}");
                assert_eq!(check(names, &request), expected, "{request} with {names}");
                let request = format!("{begin}\r\nHost: {host}");
                assert_eq!(check(names, &request), Ok(()), "{request}, no page");
            }
            for begin in [
                "GET / HTTP/1.1",
                "HEAD / HTTP/1.1",
                "TRACE / HTTP/1.1",
                "OPTIONS * HTTP/1.1",
                "GET / HTTP/1.1\r\nUpgrade: h2c",
            ] {
                let request = format!("{begin}\r\nHost: {host}\r\nOrigin: {origin}");
                assert_eq!(check(names, &request), Ok(()), "{request} is safe");
            }
        }
    }

    #[test]
    fn the_authority_of_the_target_is_the_one_that_an_origin_is_held_against() {
        for (origin, expected) in [
            ("http://10.0.0.1:8080", Ok(())),
            ("http://10.0.0.2", Err(Denial::Origin(b"10.0.0.2"))),
        ] {
            let request = "POST http://10.0.0.1:8080/ HTTP/1.1\r\nHost: 10.0.0.2";
            let request = format!("{request}\r\nOrigin: {origin}");
            let expected = expected.map_err(|refusal| format!("{refusal:?}"));
            assert_eq!(check("", &request), expected, "{origin}");
        }
    }

    #[test]
    fn a_host_that_a_shell_would_read_otherwise_is_not_repeated() {
        for (host, expected) in [
            ("evil.example", Some("evil.example")),
            ("0x7f.1", Some("0x7f.1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("$(reboot)", None),
            ("a;reboot", None),
            ("a'", None),
            ("--help", None),
            ("*", None),
            ("a..b", None),
            ("", None),
        ] {
            for refusal in [
                Denial::Host(host.as_bytes()),
                Denial::Origin(host.as_bytes()),
            ] {
                let sentence = refusal.to_string();
                let advice = sentence.split_once("; if ").map(|(_, advice)| advice);
                let name = advice.and_then(|a| Some(a.split_once("--allow-host ")?.1));
                assert_eq!(name, expected, "{sentence}");
                assert!(expected.is_some() || !sentence.contains(host) || host.is_empty());
            }
        }
        let long = "a.".repeat(127) + "a";
        assert_eq!(shown(long.as_bytes()), None);
        assert!(shown(&long.as_bytes()[2..]).is_some());
    }
}
