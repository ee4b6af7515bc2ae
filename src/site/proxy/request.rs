//! Floor 2, site: the head of a request as the proxy passes it on to the server of a route (RFC 9110
//! §7.6, RFC 9112 §3.2 and §6). The functions are pure: they append to a buffer.
//!
//! Nothing of the framing is copied. A field belongs either to the connection, and is left out or made
//! anew, or to the message, and is copied byte by byte:
//!
//! | field | to the server |
//! |---|---|
//! | Host | as the client has it, or the target's own; see [`ProxyRoute::keeps_host`] |
//! | Content-Length, Transfer-Encoding | made anew |
//! | Connection, Keep-Alive, Proxy-…, Trailer, and what Connection names | left out, or made anew |
//! | Upgrade | `websocket` in a handshake, else left out |
//! | TE | `trailers` or nothing |
//! | Expect | copied |
//! | Via | one more member |
//! | Max-Forwards | one less, with OPTIONS and TRACE |
//! | X-Forwarded-For | the address of the client at the end |
//! | X-Forwarded-Host, -Proto, -Port | made anew, or copied from a proxy on this machine |
//! | Forwarded | copied from a proxy on this machine, else left out |
//! | Origin, Referer | copied; if Host is the target's own, the origin of this server becomes the target's |
//! | Authorization, Cookie | copied, but for what the password of this server has put there |

use std::io::Write as _;
use std::net::IpAddr;

use super::push_target;
use crate::config::ProxyRoute;
use crate::http::{
    Authority, Expectation, Field, Form, Framing, Method, Persistence, RequestHead, Version,
};
use crate::site::auth;
use crate::site::guard::{is_ip, is_local, without_dot};

/// The facts about a request beyond its head.
#[derive(Clone, Copy, Debug)]
pub struct Onward<'a> {
    /// The route of the request.
    pub route: &'a ProxyRoute,
    /// The address of the client; `None` at a Unix-domain socket.
    pub client: Option<IpAddr>,
    /// Whether the client speaks TLS to this server.
    pub is_tls: bool,
    /// The name of this run of the server in `Via`: a token that no other server has.
    pub via: &'a str,
    /// How the body of the request is framed for the target.
    pub framing: Framing,
    /// Whether the connection to the target may carry another request.
    pub persistence: Persistence,
    /// Whether this server asks for a password, which is not for the target.
    pub hides_credentials: bool,
    /// Whether the target is asked for content without a coding, so that a script can be added to a page.
    pub wants_identity: bool,
}

/// The facts about a request that the way back of its response needs.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method of the request.
    pub method: Method,
    /// The version of the client.
    pub version: Version,
    /// Whether the client speaks TLS to this server.
    pub is_tls: bool,
    /// Whether the client takes trailers.
    pub takes_trailers: bool,
    /// Whether the request is the opening handshake of WebSocket.
    pub is_websocket: bool,
    /// Whether the client waits for 100 before it sends the body.
    pub expects_continue: bool,
    /// The form in which the client wants the answer of this server, if the target does not answer.
    pub form: Form,
    /// The host that the client has asked for, and the port with a colon in front; empty if the client
    /// named none.
    authority: Box<[u8]>,
    /// The length of the host in `authority`.
    host_len: usize,
    port: Option<u16>,
}

impl Asked {
    /// Remembers the facts that the response to a request needs.
    pub fn new(request: &RequestHead<'_>, is_tls: bool) -> Asked {
        let (authority, host_len, port) = match request.authority() {
            None => (Vec::new(), 0, None),
            Some(authority) => {
                let mut text = Vec::new();
                push_authority(&mut text, authority);
                (text, authority.host.len(), authority.port)
            }
        };
        Asked {
            method: request.method(),
            version: request.version(),
            is_tls,
            takes_trailers: takes_trailers(request),
            is_websocket: request.wants_websocket(),
            expects_continue: request.expectation() == Expectation::Continue,
            form: Form::from_request(request),
            authority: authority.into(),
            host_len,
            port,
        }
    }

    /// The host and the port that the client has asked for, as a client writes them; `None` if it named
    /// none.
    pub fn authority(&self) -> Option<&[u8]> {
        (!self.authority.is_empty()).then_some(&self.authority)
    }

    /// The scheme of the client.
    pub fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }

    /// The host, without the port.
    pub(super) fn host(&self) -> &[u8] {
        &self.authority[..self.host_len]
    }

    /// Whether an authority in a URL of this scheme names this server, as the client knows it. A server
    /// behind TLS that does not know of it writes `http` in front of the Host that it got.
    pub(super) fn is_named(&self, other: Authority<'_>, is_tls: bool) -> bool {
        let port = |port: Option<u16>, is_tls| port.unwrap_or(if is_tls { 443 } else { 80 });
        let same_port = port(other.port, is_tls) == port(self.port, self.is_tls);
        let same_text = other.port == self.port && self.is_tls && !is_tls;
        !self.authority.is_empty()
            && other.host.eq_ignore_ascii_case(self.host())
            && (same_port || same_text)
    }

    /// Whether the host can be that of another server tomorrow: `localhost`, a name below it, or an IP
    /// address. Also `true` if the host is not known.
    pub(super) fn is_fleeting(&self) -> bool {
        let host = without_dot(self.host());
        host.is_empty() || is_local(host) || is_ip(host)
    }
}

/// Whether a request has come through this server before, by the token in `Via` (RFC 9110 §7.6.3). Such
/// a request would run in a circle; the answer is 508.
pub fn has_passed(request: &RequestHead<'_>, via: &str) -> bool {
    let values = request.values_named("Via");
    values
        .flat_map(|value| value.split(|b| matches!(b, b',' | b' ' | b'\t')))
        .any(|word| word == via.as_bytes())
}

/// How many servers a request may pass still, by its field Max-Forwards; `None`: the request has no bound.
/// Only OPTIONS and TRACE can have one (RFC 9110 §7.6.2).
pub(super) fn forwards_left(request: &RequestHead<'_>) -> Option<u64> {
    if !matches!(request.method(), Method::Options | Method::Trace) {
        return None;
    }
    let digit = |n: u64, d: &u8| n.saturating_mul(10).saturating_add(u64::from(d - b'0'));
    let values = request.values_named("Max-Forwards");
    values
        .filter(|value| !value.is_empty() && value.iter().all(u8::is_ascii_digit))
        .map(|value| value.iter().fold(0, digit))
        .min()
}

/// Whether trailers of the response may be passed on to the client (RFC 9110 §6.5.1).
fn takes_trailers(request: &RequestHead<'_>) -> bool {
    request.version() == Version::Http11
        && request
            .values_named("TE")
            .flat_map(|value| value.split(|b| *b == b','))
            .any(|member| member.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Appends the head of a request for the target of its route.
///
/// # Panics
/// If the request has no path: such a request has no route.
pub fn push_request(out: &mut Vec<u8>, request: &RequestHead<'_>, onward: &Onward<'_>) {
    let route = onward.route;
    let path = request.path().expect("a route is found by its path");
    out.extend_from_slice(request.method_token());
    out.push(b' ');
    push_target(out, route, path, request.query());
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    let authority = request.authority();
    match authority {
        Some(authority) if route.keeps_host() => push_authority(out, authority),
        _ => out.extend_from_slice(route.target().authority().as_bytes()),
    }
    out.extend_from_slice(b"\r\n");

    // A proxy in front of this server that is not on this machine could be anybody.
    let trusts_client = onward
        .client
        .is_none_or(|ip| ip.to_canonical().is_loopback());
    let [mut has_host, mut has_proto, mut has_port] = [false; 3];
    let forwards_left = forwards_left(request);
    for (name, value) in request.lines() {
        let copy = match Kind::of(name) {
            Kind::OfConnection => false,
            Kind::Expect => request.version() == Version::Http11,
            Kind::Address => match push_own_address(out, name, value, request, onward) {
                true => continue,
                false => true,
            },
            Kind::ForwardedFor => false,
            Kind::Forwarded => trusts_client,
            Kind::ForwardedHost => keep(&mut has_host, trusts_client && !is_named(request, name)),
            Kind::ForwardedProto => keep(&mut has_proto, trusts_client && !is_named(request, name)),
            Kind::ForwardedPort => keep(&mut has_port, trusts_client && !is_named(request, name)),
            Kind::AcceptEncoding => !onward.wants_identity,
            Kind::MaxForwards => forwards_left.is_none(),
            Kind::Authorization => !onward.hides_credentials,
            Kind::Cookie if onward.hides_credentials => {
                push_cookies(out, name, value);
                continue;
            }
            Kind::Cookie | Kind::Other => true,
        };
        if copy && !is_named(request, name) {
            push_line(out, name, value);
        }
    }

    if onward.wants_identity {
        push_line(out, b"Accept-Encoding", b"identity");
    }
    if let Some(left) = forwards_left {
        write(
            out,
            format_args!("Max-Forwards: {}\r\n", left.saturating_sub(1)),
        );
    }
    push_forwarded_for(out, request, onward.client);
    if let Some(authority) = authority.filter(|_| !has_host) {
        out.extend_from_slice(b"X-Forwarded-Host: ");
        push_authority(out, authority);
        out.extend_from_slice(b"\r\n");
    }
    let (scheme, default_port) = if onward.is_tls {
        ("https", 443)
    } else {
        ("http", 80)
    };
    if !has_proto {
        push_line(out, b"X-Forwarded-Proto", scheme.as_bytes());
    }
    if let Some(authority) = authority.filter(|_| !has_port) {
        let port = authority.port.unwrap_or(default_port);
        write(out, format_args!("X-Forwarded-Port: {port}\r\n"));
    }
    let version = if request.version() == Version::Http11 {
        "1.1"
    } else {
        "1.0"
    };
    write(out, format_args!("Via: {version} {}\r\n", onward.via));
    push_framing(out, request, onward.framing);
    push_connection(out, request, onward.persistence);
    out.extend_from_slice(b"\r\n");
}

/// How the proxy treats a field of a request.
#[derive(Clone, Copy)]
enum Kind {
    /// Fields of the connection, and fields that are made anew.
    OfConnection,
    Expect,
    /// Origin and Referer.
    Address,
    Forwarded,
    ForwardedFor,
    ForwardedHost,
    ForwardedProto,
    ForwardedPort,
    AcceptEncoding,
    MaxForwards,
    Authorization,
    Cookie,
    Other,
}

impl Kind {
    fn of(name: &[u8]) -> Kind {
        const KINDS: [(&[u8], Kind); 18] = [
            (b"Host", Kind::OfConnection),
            (b"Content-Length", Kind::OfConnection),
            (b"Upgrade", Kind::OfConnection),
            (b"TE", Kind::OfConnection),
            (b"HTTP2-Settings", Kind::OfConnection),
            (b"Expect", Kind::Expect),
            (b"Origin", Kind::Address),
            (b"Referer", Kind::Address),
            (b"Forwarded", Kind::Forwarded),
            (b"X-Forwarded-For", Kind::ForwardedFor),
            (b"X-Forwarded-Host", Kind::ForwardedHost),
            (b"X-Forwarded-Proto", Kind::ForwardedProto),
            (b"X-Forwarded-Port", Kind::ForwardedPort),
            (b"Accept-Encoding", Kind::AcceptEncoding),
            (b"Max-Forwards", Kind::MaxForwards),
            (b"Authorization", Kind::Authorization),
            (b"Cookie", Kind::Cookie),
            (b"Trailer", Kind::OfConnection),
        ];
        if is_of_connection(name) {
            return Kind::OfConnection;
        }
        let known = KINDS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map_or(Kind::Other, |(_, kind)| *kind)
    }
}

/// Whether a field belongs to one connection, in a request and in a response (RFC 9110 §7.6.1). Upgrade,
/// TE and Trailer belong to one connection too, but may be made anew.
pub(super) fn is_of_connection(name: &[u8]) -> bool {
    const FIELDS: [&[u8]; 4] = [
        b"Connection",
        b"Keep-Alive",
        b"Transfer-Encoding",
        b"Proxy-Connection",
    ];
    let is_listed = FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name));
    let of_proxy = name
        .get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"Proxy-"));
    is_listed || of_proxy
}

/// Whether Connection names the field.
fn is_named(request: &RequestHead<'_>, name: &[u8]) -> bool {
    request
        .members(Field::Connection)
        .any(|option| option.eq_ignore_ascii_case(name))
}

/// Whether a line is copied: the first of its name, from a client that is trusted.
fn keep(has: &mut bool, is_trusted: bool) -> bool {
    is_trusted && !std::mem::replace(has, true)
}

/// Appends an Origin or a Referer that names this server, with the origin of the target in its place, if
/// Host is the target's too: a server compares them. Returns whether the line was appended. The guard has
/// let the request in before, so a foreign origin is one that the user allows, and stays foreign.
fn push_own_address(
    out: &mut Vec<u8>,
    name: &[u8],
    value: &[u8],
    request: &RequestHead<'_>,
    onward: &Onward<'_>,
) -> bool {
    let route = onward.route;
    let own = match request.authority() {
        Some(own) if !route.keeps_host() => own,
        _ => return false,
    };
    let Some(url) = Url::parse(value) else {
        return false;
    };
    let port = |authority: Authority<'_>| {
        let default = if onward.is_tls { 443 } else { 80 };
        authority.port.unwrap_or(default)
    };
    let is_own = url.is_tls == Some(onward.is_tls)
        && url.authority.host.eq_ignore_ascii_case(own.host)
        && port(url.authority) == port(own)
        && !is_named(request, name);
    if is_own {
        out.extend_from_slice(name);
        let target = route.target();
        write(
            out,
            format_args!(": {}://{}", target.scheme(), target.authority()),
        );
        match super::is_below(url.path, route.prefix()) && !url.path.is_empty() {
            true => push_target(out, route, url.path, None),
            false => out.extend_from_slice(url.path),
        }
        out.extend_from_slice(url.rest);
        out.extend_from_slice(b"\r\n");
    }
    is_own
}

/// The parts of a URL with an authority.
pub(super) struct Url<'a> {
    /// Whether the scheme is https, and not http; `None` for a reference without a scheme (`//host/`).
    pub is_tls: Option<bool>,
    pub authority: Authority<'a>,
    /// The path, perhaps empty.
    pub path: &'a [u8],
    /// The query and the fragment, with the mark in front.
    pub rest: &'a [u8],
}

impl<'a> Url<'a> {
    /// Splits a URL with the scheme http or https, or without a scheme. `None` for others.
    pub fn parse(text: &'a [u8]) -> Option<Url<'a>> {
        let prefixed = |scheme: &[u8]| {
            let (start, rest) = text.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        };
        let (is_tls, rest) = match (prefixed(b"http://"), prefixed(b"https://"), prefixed(b"//")) {
            (Some(rest), _, _) => (Some(false), rest),
            (_, Some(rest), _) => (Some(true), rest),
            (_, _, Some(rest)) => (None, rest),
            _ => return None,
        };
        let is_end = |b: &u8| matches!(b, b'/' | b'?' | b'#');
        let (authority, rest) = rest.split_at(rest.iter().position(is_end).unwrap_or(rest.len()));
        let (path, rest) = split_path(rest);
        Some(Url {
            is_tls,
            authority: Authority::parse(authority)?,
            path,
            rest,
        })
    }
}

/// Splits a path from the query and the fragment.
pub(super) fn split_path(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| matches!(b, b'?' | b'#'));
    text.split_at(end.unwrap_or(text.len()))
}

/// Appends a line with cookies, but without those of this server.
fn push_cookies(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let begin = out.len();
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    let mut separator: &[u8] = b"";
    for pair in value.split(|b| *b == b';').map(<[u8]>::trim_ascii) {
        if !pair.starts_with(auth::COOKIE.as_bytes()) {
            out.extend_from_slice(separator);
            out.extend_from_slice(pair);
            separator = b"; ";
        }
    }
    match separator {
        b"" => out.truncate(begin),
        _ => out.extend_from_slice(b"\r\n"),
    }
}

/// Appends X-Forwarded-For: the addresses of the proxies before this one, and the address of the client.
fn push_forwarded_for(out: &mut Vec<u8>, request: &RequestHead<'_>, client: Option<IpAddr>) {
    let begin = out.len();
    out.extend_from_slice(b"X-Forwarded-For: ");
    let mut separator: &[u8] = b"";
    let before = request.values_named("X-Forwarded-For");
    for value in before.filter(|value| !value.is_empty()) {
        out.extend_from_slice(separator);
        out.extend_from_slice(value);
        separator = b", ";
    }
    if let Some(client) = client {
        out.extend_from_slice(separator);
        // A socket of IPv6 shows clients of IPv4 in the form ::ffff:1.2.3.4.
        write(out, format_args!("{}", client.to_canonical()));
        separator = b", ";
    }
    match separator {
        b"" => out.truncate(begin),
        _ => out.extend_from_slice(b"\r\n"),
    }
}

fn push_framing(out: &mut Vec<u8>, request: &RequestHead<'_>, framing: Framing) {
    match framing {
        Framing::Length(length) => write(out, format_args!("Content-Length: {length}\r\n")),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // Some servers want to be told that the body of a POST is empty.
        Framing::None if request.value(Field::ContentLength).is_some() => {
            out.extend_from_slice(b"Content-Length: 0\r\n");
        }
        Framing::None => {}
    }
}

fn push_connection(out: &mut Vec<u8>, request: &RequestHead<'_>, persistence: Persistence) {
    let is_websocket = request.wants_websocket();
    let takes_trailers = takes_trailers(request);
    if is_websocket {
        out.extend_from_slice(b"Upgrade: websocket\r\n");
    }
    if takes_trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    let options = [
        ("Upgrade", is_websocket),
        // The connection becomes the tunnel, or is closed.
        ("close", persistence == Persistence::Close && !is_websocket),
        ("TE", takes_trailers),
    ];
    let mut separator = "Connection: ";
    for (option, _) in options.iter().filter(|(_, is_there)| *is_there) {
        write(out, format_args!("{separator}{option}"));
        separator = ", ";
    }
    if separator == ", " {
        out.extend_from_slice(b"\r\n");
    }
}

pub(super) fn push_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn push_authority(out: &mut Vec<u8>, authority: Authority<'_>) {
    out.extend_from_slice(authority.host);
    if let Some(port) = authority.port {
        write(out, format_args!(":{port}"));
    }
}

pub(super) fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes everything");
}

#[cfg(test)]
mod tests;
