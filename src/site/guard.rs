//! Floor 2, site: the guard, which decides whether a request is let in. The decision depends on the
//! host that the request is for and on the web page that sends the request. The guard must not know
//! the files or the endpoints.
//!
//! A browser allows any web page to send requests to any server. The server may listen on loopback
//! and expect no client but its own user: pages of strangers can still reach it. In its requests,
//! the browser states three facts that no page can forge.
//!
//! **Host** is the name under which the browser reached the server. A check of Host stops *DNS
//! rebinding*. In this attack, the attacker's own host name resolves to 127.0.0.1 as soon as the
//! attacker's page is loaded. The browser then takes this server for the origin of the page, and
//! the page may read every answer. But `Host` still carries the attacker's name. `localhost` and
//! the names below it cannot be rebound, because no attacker can own such a name (RFC 6761 §6.3).
//! IP addresses cannot be rebound, because no DNS lookup takes place. Any other name must be
//! allowed by flag (`--allow-host`).
//!
//! **Origin** is the origin of the page that sends the request (RFC 6454 §7). The browser does not
//! show the answer to a page of another origin. But an unsafe request has had its effect by then,
//! and WebSocket connections are not restricted by the browser at all. (CVE-2025-24010 showed this
//! for a well-known development server.) The guard therefore lets in unsafe requests and WebSocket
//! handshakes only from
//!
//! - pages of this server,
//! - pages on this machine, with any port: on `localhost`, on a name below it, or on a loopback
//!   address such as 127.0.0.1 or ::1. Each port there belongs to a program of the developer,
//! - pages of allowed hosts,
//! - pages of allowed origins (`--allow-origin`), and
//! - clients without a page, such as curl, which send no Origin.
//!
//! Some pages have no host. Their origin is `null` (a sandboxed frame, a local file), or has a
//! scheme of its own: `file://` in a WebSocket handshake of a local file, `vscode-webview://…`,
//! `capacitor://localhost`, the extensions of browsers. Such pages need an allowed origin. Any page
//! can take on the origin `null` in a sandboxed frame, so the permission for `null` lets in all.
//!
//! **Sec-Fetch-Site** is the relation between that page and this server (W3C, *Fetch Metadata
//! Request Headers*, §2.3). The browser does not show a page the answer to a safe request either,
//! but runs it as a script, shows it as an image, and reveals its size and time. A page of another
//! site, or of another origin of the same site, must therefore be one of the pages above, unless it
//! only *navigates*: a link may lead here from anywhere (`Sec-Fetch-Mode: navigate`). Such a page
//! is known by `Origin` or else by `Referer`, which a page can leave out, but not forge. If both are
//! absent, the page counts as `null`, except that `same-site` says enough if the host of this
//! server is `localhost` or a loopback address: the page is on this machine then too.
//!
//! With CORS (`--cors`), the pages of every origin may read files, and so may embed them: only unsafe
//! requests and WebSocket handshakes are checked then.
//!
//! Browsers send the field to loopback addresses and by TLS only. A request without the field is
//! let in, because the client is another program or an old browser.
//!
//! | | Host | Origin, of an unsafe method or a WebSocket handshake; of another request, see above |
//! |---|---|---|
//! | absent | let in: HTTP/1.0, not a browser | let in: no page |
//! | the request's authority | | let in, but from `http` to `https`; a missing port is the default port of the scheme |
//! | `localhost`, `*.localhost`, a loopback address | let in | let in, with any port |
//! | an allowed name or address | let in | let in, with any port |
//! | another IP address | let in | refused |
//! | another name | refused | refused |
//! | `null`, an origin of another scheme | | refused, even if any name is allowed |
//! | an allowed origin, `null` among them | | let in |
//! | two lines, not an origin | | refused, even if any name and any origin is allowed |

use std::error::Error;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::http::{Authority, Field, Method, RequestHead, Scheme};

/// The rules that decide which requests are let in; see the module's docs. The default guard has no
/// allowed names, and lets in only requests that need no permission.
///
/// ```
/// use oneloop::site::Guard;
/// # use oneloop::http::{HeadLimits, HeadParser, Parsed, RequestHead};
/// # let limits = HeadLimits { head_bytes_max: 1024, target_bytes_max: 256, fields_max: 10 };
/// # let bytes = b"GET / HTTP/1.1\r\nHost: app.example.org:8080\r\n\r\n";
/// # let mut parser = HeadParser::default();
/// # let parsed = parser.parse(bytes, &limits);
/// # let Ok(Parsed::Complete(head)) = parsed else { panic!() };
///
/// let request = RequestHead::new(head, bytes); // Host: app.example.org:8080
/// assert!(Guard::default().check(&request).is_err());
/// assert!(Guard::new([".example.org"]).check(&request).is_ok());
/// ```
#[derive(Clone, Default, Debug)]
pub struct Guard {
    /// The allowed names and addresses, without a dot at the end. A name with a dot in front also
    /// allows every name below.
    names: Vec<Box<[u8]>>,
    /// Whether every name is allowed.
    any: bool,
    /// The allowed origins, as browsers send them.
    origins: Vec<Box<[u8]>>,
    /// Whether every origin is allowed.
    any_origin: bool,
    /// Whether pages of every origin may read and embed files.
    any_may_read: bool,
    /// The host that was let in last, as written in the request. Nearly every request is for the
    /// same host, and the comparison with `last` costs a tenth of the full check.
    last: Vec<u8>,
}

/// The reason why a request is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Denial<'a> {
    /// The request is for this host, which is not allowed.
    Host(&'a [u8]),
    /// The request is sent by a page of this origin, which is not allowed.
    Origin(&'a [u8]),
    /// The request is sent by a page without an origin (a sandboxed frame, a local file).
    OriginNull,
    /// The value of Origin is not a single origin.
    OriginUnknown,
}

impl Guard {
    /// Creates a guard that also lets in `names`, in the syntax of
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

    /// Also lets in the pages of `origins`, in the syntax of
    /// [`Config::allow_origins`](crate::config::Config::allow_origins).
    #[must_use]
    pub fn with_origins<O: AsRef<str>>(mut self, origins: impl IntoIterator<Item = O>) -> Guard {
        for origin in origins {
            match origin.as_ref() {
                "*" => self.any_origin = true,
                origin => self.origins.push(origin.as_bytes().into()),
            }
        }
        self
    }

    /// Also lets in safe requests of the pages of every origin, as CORS means it. Unsafe requests and
    /// WebSocket handshakes are checked all the same.
    #[must_use]
    pub fn with_readers_anywhere(mut self) -> Guard {
        self.any_may_read = true;
        self
    }

    /// Whether the page that sends a request, if a page does, is one of those that may also send unsafe
    /// requests.
    pub(super) fn lets_page_in(&self, request: &RequestHead<'_>) -> bool {
        self.check_origin(request, request.authority()).is_ok()
    }

    /// Checks a request against the table in the module's docs. Nearly every request needs a single
    /// comparison of its host.
    ///
    /// # Errors
    /// [`Denial`], if the request is not let in.
    #[inline(always)]
    pub fn check<'a>(&mut self, request: &RequestHead<'a>) -> Result<(), Denial<'a>> {
        let authority = request.authority();
        if let Some(Authority { host, .. }) = authority
            && self.last != host
        {
            self.check_host(host)?;
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
            false if self.any_may_read => Ok(()),
            false => match request.value(Field::FetchSite) {
                None => Ok(()),
                Some(site) => self.check_fetch(site, request, authority),
            },
        }
    }

    /// Checks a host that is not the last one.
    fn check_host<'a>(&mut self, host: &'a [u8]) -> Result<(), Denial<'a>> {
        let name = without_dot(host);
        if !(is_local(name) || self.allows(name) || is_ip(name)) {
            return Err(Denial::Host(name));
        }
        host.clone_into(&mut self.last);
        Ok(())
    }

    /// Checks a safe request by `site`, the value of Sec-Fetch-Site. Values that are not known are
    /// ignored, as the specification asks.
    fn check_fetch<'a>(
        &self,
        site: &[u8],
        request: &RequestHead<'a>,
        authority: Option<Authority<'a>>,
    ) -> Result<(), Denial<'a>> {
        let is_same_site = site == b"same-site";
        let is_foreign = is_same_site || site == b"cross-site";
        if !is_foreign || request.value(Field::FetchMode) == Some(b"navigate") {
            return Ok(());
        }
        if request.value(Field::Origin).is_some() {
            return self.check_origin(request, authority);
        }
        match request.value(Field::Referer).and_then(origin_of) {
            Some(page) => self.check_page(page, request, authority),
            None if is_same_site && authority.is_some_and(|a| is_local(without_dot(a.host))) => {
                Ok(())
            }
            None => self.check_page(b"null", request, authority),
        }
    }

    fn check_origin<'a>(
        &self,
        request: &RequestHead<'a>,
        authority: Option<Authority<'a>>,
    ) -> Result<(), Denial<'a>> {
        let mut values = request.values(Field::Origin);
        match (values.next(), values.next()) {
            (None, _) => Ok(()),
            (Some(value), None) => self.check_page(value, request, authority),
            (Some(_), Some(_)) => Err(Denial::OriginUnknown),
        }
    }

    /// Checks the page of the origin `value` that sends a request for `authority`.
    fn check_page<'a>(
        &self,
        value: &'a [u8],
        request: &RequestHead<'a>,
        authority: Option<Authority<'a>>,
    ) -> Result<(), Denial<'a>> {
        let origin = Origin::parse(value).ok_or(Denial::OriginUnknown)?;
        if self.allows_origin(value, &origin) {
            return Ok(());
        }
        let page = match origin {
            Origin::Null => return Err(Denial::OriginNull),
            Origin::Other => return Err(Denial::Origin(value)),
            Origin::Web(page) => page,
        };
        let host = without_dot(page.authority.host);
        // Anybody on the network can make a page that was loaded without TLS. (A page that was loaded by
        // https may be ours without TLS here: a proxy in front may have it.)
        let is_safe = request.scheme() == Scheme::Http || page.is_https();
        let is_own = is_safe
            && authority.is_some_and(|authority| {
                let port = authority.port.unwrap_or(page.default_port);
                port == page.port() && is_same(without_dot(authority.host), host)
            });
        match is_own || is_local(host) || self.allows(host) {
            true => Ok(()),
            false => Err(Denial::Origin(value)),
        }
    }

    /// Whether this origin was allowed. Origins of http and https are compared by their parts;
    /// about others nothing is known, so they are compared byte by byte.
    fn allows_origin(&self, value: &[u8], origin: &Origin<'_>) -> bool {
        self.any_origin
            || self.origins.iter().any(|allowed| match origin {
                Origin::Web(page) => match Origin::parse(allowed) {
                    Some(Origin::Web(allowed)) => page.is_same(&allowed),
                    Some(Origin::Null | Origin::Other) | None => false,
                },
                Origin::Null | Origin::Other => **allowed == *value,
            })
    }

    /// Whether this host was allowed by name.
    fn allows(&self, host: &[u8]) -> bool {
        self.any
            || self.names.iter().any(|name| match name.strip_prefix(b".") {
                // Addresses with the same ending may belong to different owners.
                Some(domain) => is_at_or_below(domain, host) && !is_ip(host),
                None => is_same(name, host),
            })
    }
}

/// A name or address as a Host field has it, without a dot at the end: an IPv6 address is in
/// brackets.
fn normal(name: &str) -> String {
    match name.parse::<Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]"),
        Err(_) => name.strip_suffix('.').unwrap_or(name).to_owned(),
    }
}

/// A host without a dot at the end. The dot marks a name as fully qualified, and to the guard every
/// name is.
pub(super) fn without_dot(host: &[u8]) -> &[u8] {
    host.strip_suffix(b".").unwrap_or(host)
}

/// Whether a host is an IP address. In an [`Authority`], brackets hold IPv6 addresses and nothing
/// else. For IPv4, only four decimal numbers count as an address. Browsers convert other forms
/// (`0x7f.1`) to four decimal numbers; from other clients, such a form is a name.
pub(super) fn is_ip(host: &[u8]) -> bool {
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

/// The IPv6 address in brackets; `None` for any other host.
fn ipv6(host: &[u8]) -> Option<Ipv6Addr> {
    let ip = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    str::from_utf8(ip).ok()?.parse().ok()
}

/// Whether a host is this machine: `localhost`, a name below it, or a loopback address. A page on
/// such a host was sent by a program on the machine of the browser, and browsers show one port
/// as `localhost:5173` or as `127.0.0.1:5173`.
pub(super) fn is_local(host: &[u8]) -> bool {
    is_at_or_below(b"localhost", host) || is_loopback(host)
}

/// Whether a host is an address of 127.0.0.0/8, or ::1 (RFC 6890 §2.2).
fn is_loopback(host: &[u8]) -> bool {
    match ipv6(host) {
        Some(ip) => ip.to_canonical().is_loopback(),
        None => is_ip(host) && host.starts_with(b"127."),
    }
}

fn is_at_or_below(domain: &[u8], host: &[u8]) -> bool {
    let Some(at) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    let (below, end) = host.split_at(at);
    let is_label = |below: &[u8]| matches!(below, [.., before, b'.'] if *before != b'.');
    end.eq_ignore_ascii_case(domain) && (below.is_empty() || is_label(below))
}

/// The origin of a page, as browsers send it.
///
/// ```text
/// origin            = "null" / serialized-origin
/// serialized-origin = scheme "://" host [ ":" port ]
/// ```
///
/// For other schemes than http and https, the part after `://` may be empty or any visible ASCII
/// without a slash, a comma or a quote.
enum Origin<'a> {
    /// `null`: the page has no origin, or does not tell it.
    Null,
    /// An origin of http or https.
    Web(WebOrigin<'a>),
    /// An origin of another scheme.
    Other,
}

/// The origin of a page that was loaded by http or https.
struct WebOrigin<'a> {
    authority: Authority<'a>,
    /// The default port of the scheme, which also tells one scheme from the other.
    default_port: u16,
}

impl<'a> Origin<'a> {
    /// Parses the value of an Origin field. `None` for any value but a single origin: the grammar
    /// of RFC 6454 §7.1 also allows a list of origins.
    fn parse(value: &'a [u8]) -> Option<Origin<'a>> {
        if value == b"null" {
            return Some(Origin::Null);
        }
        let colon = value.iter().position(|b| *b == b':')?;
        let (scheme, rest) = (&value[..colon], value[colon..].strip_prefix(b"://")?);
        let default_port = match scheme {
            _ if scheme.eq_ignore_ascii_case(b"http") => 80,
            _ if scheme.eq_ignore_ascii_case(b"https") => 443,
            _ => {
                let in_scheme =
                    |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
                let in_host = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'/' | b',' | b'"');
                let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
                    && scheme.iter().all(in_scheme);
                return (is_scheme && rest.iter().all(in_host)).then_some(Origin::Other);
            }
        };
        let authority = Authority::parse(rest)?;
        Some(Origin::Web(WebOrigin {
            authority,
            default_port,
        }))
    }
}

/// The origin in the URL of a page, as [`Origin`] parses it. `None` if the URL has none.
fn origin_of(url: &[u8]) -> Option<&[u8]> {
    let host = url.iter().position(|b| *b == b':')? + b"://".len();
    let is_end = |b: &u8| matches!(b, b'/' | b'?' | b'#');
    let end = url.get(host..)?.iter().position(is_end);
    let origin = &url[..end.map_or(url.len(), |end| host + end)];
    Origin::parse(origin).map(|_| origin)
}

impl WebOrigin<'_> {
    fn is_https(&self) -> bool {
        self.default_port == Scheme::Https.default_port()
    }

    fn port(&self) -> u16 {
        self.authority.port.unwrap_or(self.default_port)
    }

    fn is_same(&self, other: &WebOrigin<'_>) -> bool {
        self.default_port == other.default_port
            && self.port() == other.port()
            && is_same(
                without_dot(self.authority.host),
                without_dot(other.authority.host),
            )
    }
}

/// A sentence for the person who sent the request, with the flag that would let the request in.
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
            Denial::OriginNull => f.write_str(
                "pages that do not tell their origin may not ask for this; \
                 if they should, start with --allow-origin null",
            ),
            Denial::Origin(origin) => match shown_origin(origin) {
                Some(origin) => {
                    // A shell may take brackets for a pattern.
                    let quote = if origin.contains('[') { "'" } else { "" };
                    write!(
                        f,
                        "pages of \"{origin}\" may not ask for this; \
                         if they should, start with --allow-origin {quote}{origin}{quote}"
                    )
                }
                None => f.write_str("pages of this origin may not ask for this"),
            },
            Denial::OriginUnknown => f.write_str("Origin must be one origin, or not be there"),
        }
    }
}

impl Error for Denial<'_> {}

/// A host as written on the command line after `--allow-host`. `None` if no user can mean this
/// host: if it is too long for a name (RFC 1035 §2.3.4), or has characters that names do not have.
/// Users paste advice into a shell, and `$(reboot)` is a valid host by the grammar.
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

/// An origin as written on the command line after `--allow-origin`. `None` for an origin that a shell would
/// read otherwise, or that is long.
fn shown_origin(origin: &[u8]) -> Option<&str> {
    const ORIGIN_BYTES_MAX: usize = 300;
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"+-_.:/[]".contains(b);
    let is_shown = origin.len() <= ORIGIN_BYTES_MAX && origin.iter().all(is_plain);
    str::from_utf8(origin).ok().filter(|_| is_shown)
}

#[cfg(test)]
mod tests;
