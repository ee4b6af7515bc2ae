//! Floor 2, site: the head of a response as the proxy passes it back to the client (RFC 9110 §7.6, RFC
//! 9112 §6), interim responses, chunks and trailers. The functions are pure: they append to a buffer.
//!
//! | field | to the client |
//! |---|---|
//! | Content-Length | copied if the framing is kept, also to HEAD and with 304; left out with 1xx and 204 |
//! | Transfer-Encoding, Connection | made anew |
//! | Keep-Alive, Proxy-…, and what Connection names | left out |
//! | Upgrade | copied with 101 and 426 |
//! | Trailer | copied if the client takes trailers |
//! | Alt-Svc | left out: it names another port of the target, not of this server |
//! | Set-Cookie | each on its own line, for this server; see [`cookies`](super::cookies) |
//! | Location, Content-Location, Refresh | the target's address becomes that of this server |
//! | Strict-Transport-Security | left out for `localhost` and IP addresses, where it would lock out later projects |
//! | Content-Security-Policy | without `upgrade-insecure-requests`, if the client has no TLS |
//! | Date | copied, or added |

use memchr::memmem;

use super::cookies::push_set_cookie;
use super::request::{Asked, Url, is_of_connection, push_line, split_path, write};
use super::{is_authority_of, push_path_back};
use crate::config::ProxyRoute;
use crate::http::{
    Field, FieldLines, HttpDate, Persistence, ReceivedHead, ResponseBody, Status, Version,
};

/// How the body of a response is framed for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BackFraming {
    /// As the server has framed it: by Content-Length, or there is no body.
    Kept,
    /// In chunks, which [`push_chunk_size`] and [`push_last_chunk`] frame.
    Chunked,
    /// By the end of the connection, for a client of HTTP/1.0.
    UntilClose,
}

impl BackFraming {
    /// The framing for the client that has asked.
    pub fn of(body: ResponseBody, version: Version) -> BackFraming {
        match (body, version) {
            (ResponseBody::None | ResponseBody::Length(_), _) => BackFraming::Kept,
            (ResponseBody::Chunked | ResponseBody::UntilClose, Version::Http11) => {
                BackFraming::Chunked
            }
            (ResponseBody::Chunked | ResponseBody::UntilClose, Version::Http10) => {
                BackFraming::UntilClose
            }
        }
    }
}

/// The facts about a response beyond its head.
#[derive(Clone, Copy, Debug)]
pub struct Back<'a> {
    /// The route of the request.
    pub route: &'a ProxyRoute,
    /// The request, as far as it matters.
    pub asked: &'a Asked,
    /// How the body is framed for the client.
    pub framing: BackFraming,
    /// Whether the connection to the client may carry another request. With
    /// [`BackFraming::UntilClose`] it cannot.
    pub persistence: Persistence,
    /// The time, for a response without Date.
    pub date: &'a HttpDate,
}

/// Changes that the user of the program may want to be told of, once for each route.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Noted {
    /// Strict-Transport-Security was left out.
    pub strict_transport: bool,
    /// A cookie with the prefix `__Host-` or `__Secure-` goes to a client without TLS. Some browsers
    /// take it from `localhost`, and none takes it from another host.
    pub secure_cookie: bool,
}

/// Whether the head is a 101 that no handshake has asked for: the answer to the client is 502.
pub fn is_unasked_switch(head: &ReceivedHead<'_>, asked: &Asked) -> bool {
    head.status() == 101 && !asked.is_websocket
}

/// Appends the head of a final response, or of a 101.
pub fn push_response(out: &mut Vec<u8>, head: &ReceivedHead<'_>, back: &Back<'_>) -> Noted {
    let mut noted = Noted::default();
    let status = head.status();
    let has_trailers = back.framing == BackFraming::Chunked && back.asked.takes_trailers;
    let keeps_length = back.framing == BackFraming::Kept && status >= 200 && status != 204;
    let keeps_upgrade = matches!(status, 101 | 426);
    let mut has_date = false;
    push_status_line(out, status);
    for (name, value) in head.lines() {
        let kind = Kind::of(name);
        let is_kept = match kind {
            Kind::OfConnection => false,
            Kind::Length => keeps_length,
            Kind::Upgrade => keeps_upgrade,
            Kind::Trailer => has_trailers,
            Kind::StrictTransport => {
                let is_kept = !back.asked.is_fleeting();
                noted.strict_transport |= !is_kept;
                is_kept
            }
            Kind::Date
            | Kind::Location
            | Kind::Refresh
            | Kind::Cookie
            | Kind::Policy
            | Kind::Other => true,
        };
        // Connection names Upgrade too, and cannot name the length.
        let is_named = !matches!(kind, Kind::Upgrade | Kind::Length) && is_named(head, name);
        if !is_kept || is_named {
            continue;
        }
        has_date |= matches!(kind, Kind::Date);
        match kind {
            Kind::Location => push_edited(out, name, value, |out| push_location(out, value, back)),
            Kind::Refresh => push_edited(out, name, value, |out| push_refresh(out, value, back)),
            Kind::Policy if !back.asked.is_tls => push_policy(out, name, value),
            Kind::Cookie => push_edited(out, name, value, |out| {
                noted.secure_cookie |= push_set_cookie(out, value, back.route, back.asked);
            }),
            _ => push_line(out, name, value),
        }
    }
    if !has_date && status != 101 {
        write(out, format_args!("Date: {}\r\n", back.date));
    }
    if back.framing == BackFraming::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    let closes = back.persistence == Persistence::Close || back.framing == BackFraming::UntilClose;
    let option = match (status, closes, back.asked.version) {
        (101, _, _) => Some("Upgrade"),
        (426, true, _) => Some("Upgrade, close"),
        (426, false, Version::Http11) => Some("Upgrade"),
        (_, true, _) => Some("close"),
        (_, false, Version::Http10) => Some("keep-alive"),
        (_, false, Version::Http11) => None,
    };
    if let Some(option) = option {
        push_line(out, b"Connection", option.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    noted
}

/// Appends an interim response, such as 103, whose fields are stripped like those of a final one. A
/// client of HTTP/1.0 cannot take one (RFC 9110 §15.2), and a 100 is for a client that expects it: both
/// are up to the caller, and so is a 102, which no client needs.
pub fn push_interim(out: &mut Vec<u8>, head: &ReceivedHead<'_>) {
    push_status_line(out, head.status());
    for (name, value) in head.lines() {
        if matches!(Kind::of(name), Kind::Other) && !is_named(head, name) {
            push_line(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the line before the content of a chunk, which must have at least one byte. After the
/// content comes CRLF.
pub fn push_chunk_size(out: &mut Vec<u8>, length: u64) {
    debug_assert!(length > 0, "a chunk without content ends the body");
    write(out, format_args!("{length:x}\r\n"));
}

/// Appends the end of a chunked body, with the trailers that may be passed on: no field that frames or
/// routes a message, or that a recipient must know before the content (RFC 9110 §6.5.1).
pub fn push_last_chunk(out: &mut Vec<u8>, trailers: Option<FieldLines<'_>>) {
    const FORBIDDEN: [&str; 31] = [
        "Accept-Encoding",
        "Age",
        "Authorization",
        "Cache-Control",
        "Content-Encoding",
        "Content-Length",
        "Content-Location",
        "Content-Range",
        "Content-Security-Policy",
        "Content-Type",
        "Cookie",
        "Date",
        "Expect",
        "Expires",
        "Forwarded",
        "Host",
        "Location",
        "Max-Forwards",
        "Origin",
        "Set-Cookie",
        "Strict-Transport-Security",
        "TE",
        "Trailer",
        "Upgrade",
        "Vary",
        "Via",
        "WWW-Authenticate",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Proto",
    ];
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        let is_forbidden = |known: &&str| known.as_bytes().eq_ignore_ascii_case(name);
        if !is_of_connection(name) && !FORBIDDEN.iter().any(is_forbidden) {
            push_line(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// How the proxy treats a field of a response.
#[derive(Clone, Copy)]
enum Kind {
    OfConnection,
    Length,
    Upgrade,
    Trailer,
    Date,
    Location,
    Refresh,
    Cookie,
    StrictTransport,
    Policy,
    Other,
}

impl Kind {
    fn of(name: &[u8]) -> Kind {
        const KINDS: [(&[u8], Kind); 13] = [
            (b"Content-Length", Kind::Length),
            (b"Date", Kind::Date),
            (b"Set-Cookie", Kind::Cookie),
            (b"Location", Kind::Location),
            (b"Content-Location", Kind::Location),
            (b"Refresh", Kind::Refresh),
            (b"Upgrade", Kind::Upgrade),
            (b"Trailer", Kind::Trailer),
            (b"TE", Kind::OfConnection),
            (b"Alt-Svc", Kind::OfConnection),
            (b"Strict-Transport-Security", Kind::StrictTransport),
            (b"Content-Security-Policy", Kind::Policy),
            (b"Content-Security-Policy-Report-Only", Kind::Policy),
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

/// Whether Connection names the field.
fn is_named(head: &ReceivedHead<'_>, name: &[u8]) -> bool {
    head.members(Field::Connection)
        .any(|option| option.eq_ignore_ascii_case(name))
}

fn push_status_line(out: &mut Vec<u8>, status: u16) {
    let reason = match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        status => Status::from_code(status).map_or("", Status::reason),
    };
    write(out, format_args!("HTTP/1.1 {status} {reason}\r\n"));
}

/// Appends a line whose value is written by `push`.
fn push_edited(out: &mut Vec<u8>, name: &[u8], value: &[u8], push: impl FnOnce(&mut Vec<u8>)) {
    debug_assert!(!value.contains(&b'\n'), "the parser has checked the line");
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    push(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a URL of the server as a URL of this server. A URL that leads elsewhere is not changed.
fn push_location(out: &mut Vec<u8>, value: &[u8], back: &Back<'_>) {
    let (route, asked) = (back.route, back.asked);
    if let Some(url) = Url::parse(value) {
        let target = route.target();
        let leads_to_target = url.is_tls.unwrap_or(target.is_tls) == target.is_tls
            && is_authority_of(target, url.authority.host, url.authority.port);
        // A server that got the client's Host makes URLs with it, and may guess the scheme wrong.
        let leads_here = asked.is_named(url.authority, url.is_tls.unwrap_or(asked.is_tls));
        if !leads_to_target && !leads_here {
            return out.extend_from_slice(value);
        }
        if let Some(authority) = asked.authority() {
            if url.is_tls.is_some() {
                write(out, format_args!("{}:", asked.scheme()));
            }
            out.extend_from_slice(b"//");
            out.extend_from_slice(authority);
        }
        match (url.path, asked.authority()) {
            // Without an authority, an empty path would mean the page that the client has asked for.
            (b"", None) => push_path_back(out, route, b"/"),
            (b"", Some(_)) if route.path().is_none() => {}
            (b"", Some(_)) => push_path_back(out, route, b"/"),
            (path, _) => push_path_back(out, route, path),
        }
        return out.extend_from_slice(url.rest);
    }
    match value {
        [b'/', ..] => {
            let (path, rest) = split_path(value);
            push_path_back(out, route, path);
            out.extend_from_slice(rest);
        }
        _ => out.extend_from_slice(value),
    }
}

/// Appends the value of Refresh: a number of seconds, perhaps with `; url=` and a URL, perhaps in quotes.
fn push_refresh(out: &mut Vec<u8>, value: &[u8], back: &Back<'_>) {
    let skip = |at: usize, is_skipped: fn(&u8) -> bool| {
        let rest = &value[at..];
        at + rest
            .iter()
            .position(|b| !is_skipped(b))
            .unwrap_or(rest.len())
    };
    let seconds = skip(0, |b| !b.is_ascii_whitespace() && !matches!(b, b';' | b','));
    let begin = skip(seconds, |b| {
        b.is_ascii_whitespace() || matches!(b, b';' | b',')
    });
    // The key may be left out (HTML, shared declarative refresh steps).
    let has_key = value[begin..]
        .get(..3)
        .is_some_and(|key| key.eq_ignore_ascii_case(b"url"));
    let equals = skip(begin + 3 * usize::from(has_key), u8::is_ascii_whitespace);
    let begin = match value.get(equals) {
        Some(b'=') if has_key => skip(equals + 1, u8::is_ascii_whitespace),
        _ => begin,
    };
    let (before, url) = value.split_at(begin);
    out.extend_from_slice(before);
    match url {
        [quote @ (b'"' | b'\''), inner @ .., end] if quote == end => {
            out.push(*quote);
            push_location(out, inner, back);
            out.push(*quote);
        }
        url => push_location(out, url, back),
    }
}

/// Appends a policy without the directive that sends a browser to https, where no server listens. Without
/// another directive, the line is left out.
fn push_policy(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    const DIRECTIVE: &[u8] = b"upgrade-insecure-requests";
    let has_directive = memmem::find(&value.to_ascii_lowercase(), DIRECTIVE).is_some();
    if !has_directive {
        return push_line(out, name, value);
    }
    let begin = out.len();
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    let mut is_empty = true;
    for part in value.split_inclusive(|b| matches!(b, b';' | b',')) {
        let (text, end) = match part {
            [text @ .., end @ (b';' | b',')] => (text, Some(*end)),
            text => (text, None),
        };
        if text.trim_ascii().eq_ignore_ascii_case(DIRECTIVE) {
            // A comma parts two policies.
            out.extend(end.filter(|end| *end == b','));
            continue;
        }
        out.extend_from_slice(match is_empty {
            true => part.trim_ascii_start(),
            false => part,
        });
        is_empty &= text.trim_ascii().is_empty();
    }
    match is_empty {
        true => out.truncate(begin),
        false => out.extend_from_slice(b"\r\n"),
    }
}

#[cfg(test)]
mod tests;
