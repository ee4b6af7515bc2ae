//! Floor 1, http: the host and port that a request is for, as written in `Host` or in the request
//! target (RFC 9110 §7.2, RFC 3986 §3.2).
//!
//! ```text
//! authority = uri-host [ ":" port ]
//! uri-host  = "[" IPv6address "]" / IPv4address / reg-name
//! port      = *DIGIT
//! ```
//!
//! This grammar is stricter than RFC 3986 in five points:
//!
//! - No userinfo: a sender must not put userinfo in an http URI (RFC 9110 §4.2.4).
//! - No empty host (RFC 9110 §4.2.1).
//! - No IPvFuture: no such address was ever defined.
//! - No comma in a name: a value with a comma is a list of hosts.
//! - A port fits in 16 bits and has at most five digits.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::classes::{NAME, first_outside, is};

/// A host with an optional port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authority<'a> {
    /// A name, an IPv4 address, or an IPv6 address in brackets, exactly as the client wrote the
    /// host.
    pub host: &'a [u8],
    /// The port. `None` means the default port of the scheme: the value has no colon, or no digits
    /// after the colon.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Splits a value into host and port. Returns `None` if the value breaks the grammar at the
    /// head of this file.
    ///
    /// ```
    /// use oneloop::http::Authority;
    ///
    /// let authority = Authority::parse(b"[::1]:8080").unwrap();
    /// assert_eq!((authority.host, authority.port), (&b"[::1]"[..], Some(8080)));
    /// assert_eq!(Authority::parse(b"user@example.org"), None);
    /// ```
    pub fn parse(value: &'a [u8]) -> Option<Authority<'a>> {
        Authority::parse_within(value, 0..value.len())
    }

    /// [`parse`](Authority::parse) for the value at `range` in a head. The byte behind the value must not
    /// be allowed in a name, so that the search for the end of a name need not stop at the end of the value.
    // Called for each head.
    #[inline(always)]
    pub(super) fn parse_within(head: &'a [u8], range: Range<usize>) -> Option<Authority<'a>> {
        // A name or an IPv4 address ends at the colon before the port. Everything else takes longer.
        let end = first_outside(NAME, head, range.start) - range.start;
        let value = &head[range];
        let (host, digits) = match value.get(end) {
            None => (value, &b""[..]),
            Some(b':') => (&value[..end], &value[end + 1..]),
            Some(_) => split(value),
        };
        let port = match digits {
            b"" => None,
            _ => Some(port(digits)?),
        };
        let is_host =
            !host.is_empty() && (host.len() == end || is_ip_literal(host) || is_encoded_name(host));
        is_host.then_some(Authority { host, port })
    }
}

/// Returns the host, and the bytes after the last colon. A colon before a `]` belongs to an IPv6
/// address and does not count. The second part is empty if no colon counts.
fn split(value: &[u8]) -> (&[u8], &[u8]) {
    match value.iter().rposition(|b| matches!(b, b':' | b']')) {
        Some(colon) if value[colon] == b':' => (&value[..colon], &value[colon + 1..]),
        Some(_) | None => (value, b""),
    }
}

/// Reads a port of at most five digits; `None` if the digits are not a number below 65,536.
fn port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 {
        return None;
    }
    let mut number = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u32::from(digit);
    }
    u16::try_from(number).ok()
}

/// Whether the host is `"[" IPv6address "]"`.
fn is_ip_literal(host: &[u8]) -> bool {
    let inner = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]"));
    inner
        .and_then(|ip| str::from_utf8(ip).ok())
        .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
}

/// Whether the host is `*( unreserved / pct-encoded / sub-delims )` without the comma. This grammar
/// includes IPv4 addresses.
fn is_encoded_name(host: &[u8]) -> bool {
    let mut rest = host.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next(), rest.next()];
                if !digits.iter().all(|d| d.is_some_and(u8::is_ascii_hexdigit)) {
                    return false;
                }
            }
            byte if is(NAME, *byte) => {}
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_told_apart() {
        for (value, expected) in [
            ("x", Some(("x", None))),
            ("x:", Some(("x", None))),
            ("x:0", Some(("x", Some(0)))),
            ("A_b.c:00080", Some(("A_b.c", Some(80)))),
            ("127.0.0.1:65535", Some(("127.0.0.1", Some(65_535)))),
            ("[::1]", Some(("[::1]", None))),
            ("[::ffff:1.2.3.4]:80", Some(("[::ffff:1.2.3.4]", Some(80)))),
            ("%41(b)", Some(("%41(b)", None))),
            ("~!$&'()*+;=-._", Some(("~!$&'()*+;=-._", None))),
            ("", None),
            (":", None),
            (":80", None),
            ("::1", None),
            ("x:65536", None),
            ("x:000080", None),
            ("x:+1", None),
            ("x:1:2", None),
            ("x:80]", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[::g]", None),
            ("[v1.x]", None),
            ("[]", None),
            ("u@x", None),
            ("a,b", None),
            ("a b", None),
            ("a%4", None),
            ("a/", None),
        ] {
            let got = Authority::parse(value.as_bytes());
            let got = got.map(|a| (str::from_utf8(a.host).expect("ASCII"), a.port));
            assert_eq!(got, expected, "{value}");
        }
    }
}
