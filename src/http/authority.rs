//! Floor 1, http: whom a request is for, as `Host` and the request target say it (RFC 9110 §7.2,
//! RFC 3986 §3.2).
//!
//! ```text
//! authority = uri-host [ ":" port ]
//! uri-host  = "[" IPv6address "]" / IPv4address / reg-name
//! port      = *DIGIT
//! ```
//!
//! Stricter than RFC 3986: no userinfo, which http URIs must not have (RFC 9110 §4.2.4), no empty
//! host (§4.2.1), no IPvFuture, which has no future, and no comma in a name: what comes with one is a
//! list of hosts. A port fits in 16 bits.

use std::net::Ipv6Addr;

use super::classes::{NAME, all, is};

/// A host and perhaps a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authority<'a> {
    /// A name, an IPv4 address, or an IPv6 address in its brackets, as it was written.
    pub host: &'a [u8],
    /// `None` is the default one of the scheme: there is no colon, or nothing behind it.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Takes a value apart, if it is one host and perhaps a port.
    ///
    /// ```
    /// use oneloop::http::Authority;
    ///
    /// let authority = Authority::parse(b"[::1]:8080").unwrap();
    /// assert_eq!((authority.host, authority.port), (&b"[::1]"[..], Some(8080)));
    /// assert_eq!(Authority::parse(b"user@example.org"), None);
    /// ```
    pub fn parse(value: &'a [u8]) -> Option<Authority<'a>> {
        let (host, digits) = split(value);
        let port = match digits {
            b"" => None,
            _ => Some(port(digits)?),
        };
        let is_host = !host.is_empty() && (is_ip_literal(host) || is_reg_name(host));
        is_host.then_some(Authority { host, port })
    }
}

/// The host and the digits behind the last colon, if that is not part of an IPv6 address.
fn split(value: &[u8]) -> (&[u8], &[u8]) {
    match value.iter().rposition(|b| matches!(b, b':' | b']')) {
        Some(colon) if value[colon] == b':' => (&value[..colon], &value[colon + 1..]),
        Some(_) | None => (value, b""),
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 {
        return None;
    }
    digits.iter().try_fold(0_u16, |n, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        n.checked_mul(10)?.checked_add(u16::from(digit))
    })
}

/// `"[" IPv6address "]"`.
fn is_ip_literal(host: &[u8]) -> bool {
    let inner = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]"));
    inner
        .and_then(|ip| str::from_utf8(ip).ok())
        .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok())
}

/// `*( unreserved / pct-encoded / sub-delims )`, which holds IPv4 addresses too, without the comma.
fn is_reg_name(host: &[u8]) -> bool {
    // Nearly all have nothing encoded in them.
    all(NAME, host) || is_encoded_name(host)
}

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
