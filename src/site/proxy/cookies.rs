//! Floor 2, site: a cookie of the server of a route as a cookie of this server (RFC 6265 §5.2). A browser
//! knows only this server, so attributes that fit the other one alone would make it drop the cookie.
//!
//! - `Domain` is left out, unless it covers the host that the client has asked for. The cookie is then
//!   for that host alone.
//! - `Path` follows a prefix that was replaced. A path that covers the prefix already, such as `/`,
//!   stays: scripts of pages beside the prefix may need to read the cookie.
//! - Without TLS to the client, `Secure` and `Partitioned` are left out, and `SameSite=None` becomes
//!   `SameSite=Lax`, because browsers take it with `Secure` alone.
//! - A cookie whose name begins with `__Host-` or `__Secure-` is not changed: without its attributes, no
//!   browser would take it, and with them some browsers take it from `localhost`.

use super::request::Asked;
use super::{is_below, push_path_back};
use crate::config::ProxyRoute;
use crate::site::guard::without_dot;

/// Appends the value of a Set-Cookie field for the client. Returns whether the name of the cookie asks for
/// TLS that the client does not have.
pub(super) fn push_set_cookie(
    out: &mut Vec<u8>,
    value: &[u8],
    route: &ProxyRoute,
    asked: &Asked,
) -> bool {
    let is_prefixed = [b"__Host-".as_slice(), b"__Secure-"].iter().any(|prefix| {
        let start = value.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    });
    if is_prefixed {
        out.extend_from_slice(value);
        return !asked.is_tls;
    }
    for (number, part) in value.split(|b| *b == b';').enumerate() {
        if number == 0 {
            out.extend_from_slice(part.trim_ascii_end());
            continue;
        }
        let part = part.trim_ascii();
        let at = part.iter().position(|b| *b == b'=');
        let name = part[..at.unwrap_or(part.len())].trim_ascii();
        let text = at.map_or(&b""[..], |at| part[at + 1..].trim_ascii());
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        let is_kept = !is(b"Domain") || covers(text, asked.host());
        let is_kept = is_kept && (asked.is_tls || !(is(b"Secure") || is(b"Partitioned")));
        if !is_kept {
            continue;
        }
        out.extend_from_slice(b"; ");
        if is(b"Path") && is_moved(route, text) {
            out.extend_from_slice(name);
            out.push(b'=');
            push_path_back(out, route, text);
        } else if is(b"SameSite") && !asked.is_tls && text.eq_ignore_ascii_case(b"None") {
            out.extend_from_slice(name);
            out.extend_from_slice(b"=Lax");
        } else {
            out.extend_from_slice(part);
        }
    }
    false
}

/// Whether a path moves with the prefix of a route that is replaced.
fn is_moved(route: &ProxyRoute, path: &[u8]) -> bool {
    let covered = str::from_utf8(path).map(|path| path.trim_end_matches('/'));
    let covers_prefix = covered.is_ok_and(|path| is_below(route.prefix().as_bytes(), path));
    route.path().is_some() && !covers_prefix
}

/// Whether a cookie for this domain is sent to the host too (RFC 6265 §5.1.3).
fn covers(domain: &[u8], host: &[u8]) -> bool {
    let domain = domain.strip_prefix(b".").unwrap_or(domain);
    let host = without_dot(host);
    let Some(at) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    let (before, end) = host.split_at(at);
    let is_name = !super::is_ip(host);
    !domain.is_empty()
        && end.eq_ignore_ascii_case(domain)
        && (before.is_empty() || is_name && before.ends_with(b"."))
}
