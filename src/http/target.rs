//! Floor 1, http: the request target (RFC 9112 §3.2) and the path of a target (RFC 3986 §3.3).
//!
//! ```text
//! request-target = origin-form / absolute-form / authority-form / asterisk-form
//! origin-form    = absolute-path [ "?" query ]
//! absolute-form  = scheme "://" authority path-abempty [ "?" query ]
//! authority-form = uri-host ":" port
//! asterisk-form  = "*"
//! ```
//!
//! The scheme must be the one of the connection: a request for a target with the scheme `https` must be
//! rejected on a connection without TLS (RFC 9110 §7.4), since otherwise an attacker with control of the
//! network could make this server answer for a site behind TLS. The server has no authority for
//! another scheme either. A URI without an authority (`urn:a`, `http:/a`) is not accepted, because
//! the URI names no server.

use std::borrow::Cow;
use std::fmt;

use super::classes::{is_plain_path, position};
use super::{Authority, HeadError, Method};

/// The scheme of the URIs that a connection is for (RFC 9110 §4.2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Scheme {
    /// The connection has no TLS.
    #[default]
    Http,
    /// The connection has TLS.
    Https,
}

impl Scheme {
    /// The scheme as URIs have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port of a URI without a port.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request target in one of the four forms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target<'a> {
    /// A path with an optional query, from origin-form or absolute-form. Both are exactly as the
    /// client wrote them. The authority of absolute-form overrides the Host field (§3.2.2).
    Path {
        /// The authority of absolute-form; `None` in origin-form.
        authority: Option<Authority<'a>>,
        /// The path, which begins with a slash. After an authority the path may also be empty, with
        /// the same meaning as `/` (RFC 9110 §4.2.3).
        path: &'a [u8],
        /// The query after the question mark; `None` without a question mark.
        query: Option<&'a [u8]>,
    },
    /// `*`, which means the server as a whole (only for OPTIONS).
    Asterisk,
    /// `host:port` (only for CONNECT).
    Authority(&'a [u8]),
}

impl<'a> Target<'a> {
    /// Splits a target into its parts.
    ///
    /// # Errors
    /// [`HeadError::TargetForm`] if the target has none of the four forms, or has a form that the
    /// method does not allow, and [`HeadError::TargetScheme`] for absolute-form with another scheme
    /// than this one.
    pub fn parse(
        method: Method,
        target: &'a [u8],
        of_connection: Scheme,
    ) -> Result<Target<'a>, HeadError> {
        if method == Method::Connect {
            // In authority-form the port is required (RFC 9110 §9.3.6).
            return match Authority::parse(target) {
                Some(Authority { port: Some(_), .. }) => Ok(Target::Authority(target)),
                _ => Err(HeadError::TargetForm),
            };
        }
        match target {
            b"*" if method == Method::Options => Ok(Target::Asterisk),
            [b'/', ..] => Ok(Target::with_path(None, target)),
            _ => {
                let scheme_end = position(b':', target).ok_or(HeadError::TargetForm)?;
                let scheme = &target[..scheme_end];
                let rest = target[scheme_end + 1..]
                    .strip_prefix(b"//")
                    .filter(|_| is_scheme(scheme))
                    .ok_or(HeadError::TargetForm)?;
                let end = rest
                    .iter()
                    .position(|b| matches!(b, b'/' | b'?'))
                    .unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                let authority = Authority::parse(authority).ok_or(HeadError::TargetForm)?;
                match scheme.eq_ignore_ascii_case(of_connection.as_str().as_bytes()) {
                    true => Ok(Target::with_path(Some(authority), path)),
                    false => Err(HeadError::TargetScheme),
                }
            }
        }
    }

    /// Splits `rest`, a path with an optional query, at the first question mark.
    fn with_path(authority: Option<Authority<'a>>, rest: &'a [u8]) -> Target<'a> {
        let (path, query) = match position(b'?', rest) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        Target::Path {
            authority,
            path,
            query,
        }
    }
}

/// Whether the bytes are `ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )` (RFC 3986 §3.1).
fn is_scheme(bytes: &[u8]) -> bool {
    let may_follow = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.iter().all(may_follow)
}

/// The reason why a path cannot name a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PathError {
    /// A `%` that is not followed by two hexadecimal digits.
    Encoding,
    /// A well-formed path that no file of a site can have.
    Absent,
    /// A path with a hidden segment, which begins with a dot, such as `.git`.
    Hidden,
}

/// A decoded path without the first slash, safe to look up beneath a root directory.
///
/// The path has no `.` or `..` segment and no hidden segment such as `.git`, with two exceptions:
/// `.well-known` is allowed at the top (RFC 8615), and [`SitePath::decode_hidden`] allows every hidden
/// segment. The path has no empty segment (a slash may end
/// the path) and no NUL. A slash encoded as `%2F` is refused, because after decoding
/// the slash would separate segments, which the client did not mean. The default path is the root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct SitePath<'a> {
    bytes: Cow<'a, [u8]>,
}

impl<'a> SitePath<'a> {
    /// Decodes `path`, the path of a target, which must begin with a slash. The path is decoded
    /// only once: `%252e` becomes `%2e`, not a dot. Repeated slashes count as a single slash, and a
    /// `.` segment, which means the directory that holds it, is dropped (RFC 3986 §5.2.4), even if
    /// the dot is encoded (§6.2.2). A `..` segment is not resolved: clients resolve it before they
    /// send a path, so a path that still has one is meant to lead out. A path as links usually have
    /// it, without `%`, NUL, `//` and `/.`, is borrowed and not copied.
    ///
    /// ```
    /// use oneloop::http::{PathError, SitePath};
    /// assert_eq!(SitePath::decode(b"/a%20b//c/./d").unwrap().bytes(), b"a b/c/d");
    /// assert_eq!(SitePath::decode(b"/%2e%2e/etc/passwd"), Err(PathError::Absent));
    /// assert_eq!(SitePath::decode(b"/%zz"), Err(PathError::Encoding));
    /// ```
    ///
    /// # Errors
    /// [`PathError::Encoding`] if a `%` is not followed by two hexadecimal digits,
    /// [`PathError::Hidden`] if a segment is hidden, and [`PathError::Absent`] if no file of a site
    /// can have the path for another reason.
    #[inline]
    pub fn decode(path: &'a [u8]) -> Result<SitePath<'a>, PathError> {
        debug_assert_eq!(path.first(), Some(&b'/'));
        match is_plain_path(path) {
            true => Ok(SitePath::plain(path)),
            false => SitePath::decode_unusual(path, false),
        }
    }

    /// The path as written, which [needs no decoding](is_plain_path).
    #[inline]
    pub(super) fn plain(path: &'a [u8]) -> SitePath<'a> {
        debug_assert!(is_plain_path(path));
        let bytes = Cow::Borrowed(&path[1..]);
        SitePath { bytes }
    }

    /// Decodes `path` as [`decode`](SitePath::decode) does, but allows hidden segments. A `..` segment
    /// is refused all the same.
    ///
    /// ```
    /// use oneloop::http::{PathError, SitePath};
    /// assert_eq!(SitePath::decode(b"/.env"), Err(PathError::Hidden));
    /// assert_eq!(SitePath::decode_hidden(b"/.env").unwrap().bytes(), b".env");
    /// assert_eq!(SitePath::decode_hidden(b"/.git/../x"), Err(PathError::Absent));
    /// ```
    ///
    /// # Errors
    /// [`PathError::Encoding`] and [`PathError::Absent`], as for `decode`.
    pub fn decode_hidden(path: &[u8]) -> Result<SitePath<'static>, PathError> {
        debug_assert_eq!(path.first(), Some(&b'/'));
        SitePath::decode_unusual(path, true)
    }

    fn decode_unusual(path: &[u8], may_be_hidden: bool) -> Result<SitePath<'static>, PathError> {
        let bytes = unescape(path)?;
        let segments = || bytes.split(|b| *b == b'/').enumerate();
        if segments().any(|(_, s)| matches!(s, b"." | b"..")) || bytes.contains(&0) {
            return Err(PathError::Absent);
        }
        let hidden = |(depth, s): (usize, &[u8])| {
            s.first() == Some(&b'.') && !(depth == 0 && s == b".well-known")
        };
        if !may_be_hidden && segments().any(hidden) {
            return Err(PathError::Hidden);
        }
        let bytes = Cow::Owned(bytes);
        Ok(SitePath { bytes })
    }

    /// The decoded path, relative to the root.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the path names a directory: the path is empty or ends in a slash.
    pub fn is_directory(&self) -> bool {
        matches!(*self.bytes, [] | [.., b'/'])
    }

    /// The same path, copied if it was borrowed.
    pub fn into_owned(self) -> SitePath<'static> {
        SitePath {
            bytes: Cow::Owned(self.bytes.into_owned()),
        }
    }

    /// The path of `name` in this directory. The path must name a directory.
    pub fn join(&self, name: &[u8]) -> SitePath<'static> {
        debug_assert!(self.is_directory());
        SitePath {
            bytes: Cow::Owned([&self.bytes, name].concat()),
        }
    }
}

/// Decodes percent-encoding, and drops repeated slashes and `.` segments. The first slash is
/// dropped too.
fn unescape(path: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(&byte) = rest.next() {
        let decoded = match byte {
            b'%' => {
                let mut digit = || (*rest.next()? as char).to_digit(16);
                let (high, low) = (digit(), digit());
                let (high, low) = high.zip(low).ok_or(PathError::Encoding)?;
                let decoded = (high * 16 + low) as u8;
                if decoded == b'/' {
                    return Err(PathError::Absent);
                }
                decoded
            }
            b'/' => {
                drop_dot_segment(&mut out);
                if matches!(out.last(), None | Some(b'/')) {
                    continue;
                }
                byte
            }
            _ => byte,
        };
        out.push(decoded);
    }
    drop_dot_segment(&mut out);
    Ok(out)
}

/// Drops the last segment if the segment is `.`, and keeps the slash before it.
fn drop_dot_segment(out: &mut Vec<u8>) {
    if matches!(out[..], [b'.'] | [.., b'/', b'.']) {
        out.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_known_by_its_look() {
        let path = |authority: Option<&'static [u8]>, path, query| {
            Ok(Target::Path {
                authority: authority.and_then(Authority::parse),
                path,
                query,
            })
        };
        let bad = Err(HeadError::TargetForm);
        let foreign = Err(HeadError::TargetScheme);
        for (method, target, expected) in [
            (
                Method::Get,
                "/a?b?c",
                path(None, &b"/a"[..], Some(&b"b?c"[..])),
            ),
            (Method::Get, "//a", path(None, b"//a", None)),
            (Method::Get, "http://h:1/a", path(Some(b"h:1"), b"/a", None)),
            (
                Method::Get,
                "HTTP://[::1]?q",
                path(Some(b"[::1]"), b"", Some(b"q")),
            ),
            (Method::Options, "*", Ok(Target::Asterisk)),
            (Method::Connect, "h:1", Ok(Target::Authority(b"h:1"))),
            (Method::Get, "*", bad),
            (Method::Get, "a", bad),
            (Method::Get, "h:1", bad),
            (Method::Get, "https://h/", foreign),
            (Method::Get, "HTTPS://[::1]?q", foreign),
            (Method::Options, "https://h", foreign),
            (Method::Get, "ftp://h/", foreign),
            (Method::Get, "ws://h/", foreign),
            (Method::Get, "a+b-c.1://h:1/x", foreign),
            (Method::Get, "1a://h/", bad),
            (Method::Get, "a_b://h/", bad),
            (Method::Get, "://h/", bad),
            (Method::Get, "https:/h", bad),
            (Method::Get, "https://u@h/", bad),
            (Method::Get, "urn:a", bad),
            (Method::Get, "/https://h/", path(None, b"/https://h/", None)),
            (Method::Get, "http:/a", bad),
            (Method::Get, "http:///a", bad),
            (Method::Get, "http://:80/a", bad),
            (Method::Get, "http://u@h/a", bad),
            (Method::Connect, "/", bad),
            (Method::Connect, "h", bad),
            (Method::Connect, "h:", bad),
            (Method::Connect, ":1", bad),
        ] {
            assert_eq!(
                Target::parse(method, target.as_bytes(), Scheme::Http),
                expected,
                "{target}"
            );
        }
    }

    #[test]
    fn a_path_is_decoded_once_and_cannot_lead_out() {
        let absent = Err(PathError::Absent);
        let hidden = Err(PathError::Hidden);
        let bad = Err(PathError::Encoding);
        for (path, expected) in [
            ("/", Ok(&b""[..])),
            ("/a/b.txt", Ok(b"a/b.txt")),
            ("/a/", Ok(b"a/")),
            ("//a///b//", Ok(b"a/b/")),
            ("/%61%2Eb", Ok(b"a.b")),
            ("/%252e%252e/x", Ok(b"%2e%2e/x")),
            ("/%ff", Ok(b"\xff")),
            ("/.well-known/x", Ok(b".well-known/x")),
            ("/a..b/c.", Ok(b"a..b/c.")),
            ("/..", absent),
            ("/a/../b", absent),
            ("/%2e%2e/x", absent),
            ("/.%2e/x", absent),
            // A `.` segment means its parent, and vanishes.
            ("/./x", Ok(b"x")),
            ("/a/././b/./", Ok(b"a/b/")),
            ("/a/%2e/x", Ok(b"a/x")),
            ("/a/%2E//./x", Ok(b"a/x")),
            ("/.", Ok(b"")),
            ("/a/.", Ok(b"a/")),
            ("/a/%2e", Ok(b"a/")),
            ("//./", Ok(b"")),
            ("/./.well-known/x", Ok(b".well-known/x")),
            ("/a/./../b", absent),
            ("/./.git/config", hidden),
            ("/./...", hidden),
            ("/a./.b", hidden),
            ("/a./b", Ok(b"a./b")),
            ("/.%2f", absent),
            ("/.git/config", hidden),
            ("/a/.well-known/x", hidden),
            ("/%2egit/config", hidden),
            ("/.git/../x", absent),
            ("/a%2fb", absent),
            ("/a%5cb", Ok(b"a\\b")),
            ("/a\\b", Ok(b"a\\b")),
            ("/a%00b", absent),
            ("/%", bad),
            ("/%4", bad),
            ("/%4g", bad),
            ("/%%34", bad),
        ] {
            let decoded = SitePath::decode(path.as_bytes());
            let got = decoded.as_ref().map(SitePath::bytes).map_err(|e| *e);
            assert_eq!(got, expected, "{path}");
        }
    }

    #[test]
    fn an_ordinary_path_is_not_copied() {
        let path = SitePath::decode(b"/assets/app.js").unwrap();
        assert!(matches!(path.bytes, Cow::Borrowed(_)));
    }
}
