//! Floor 2, site: the routes of the reverse proxy: which server answers for a path, and the path that
//! the server is asked for. [`ProxyRoute`] has the syntax, and the table of
//! paths.
//!
//! A prefix ends at the boundary of a segment: `/api` is for `/api`, `/api/…` and `/api?…`, and not for
//! `/apis`. The longest prefix wins. The prefix `/` is for paths that no endpoint and no file answers.
//!
//! Paths are compared byte by byte, as the client wrote them. `/%61pi` is therefore not `/api`, and
//! is looked for on the disk: two ways to write a path lead to two servers only if the user has named
//! both ways.
//!
//! A path with the segment `.` or `..`, however encoded, is for no route: `/api/../admin` would lead the
//! server of `/api=http://h/v1` to `/admin`, which the user has not opened. Browsers never send such a path.

mod cookies;
mod failure;
mod gateway;
mod request;
mod response;

pub use failure::{Attempt, Failure, FailureCause, in_words};
pub(crate) use gateway::{Gateway, Origin};
use request::forwards_left;
pub use request::{Asked, Onward, has_passed, push_request};
pub use response::{
    Back, BackFraming, Noted, is_unasked_switch, push_chunk_size, push_interim, push_last_chunk,
    push_response,
};

use super::guard::{is_ip, is_local};
use crate::config::{ProxyPlace, ProxyRoute, ProxyTarget};

/// The routes of the reverse proxy.
#[derive(Clone, Default, Debug)]
pub struct Routes {
    /// The routes with a prefix, the longest first.
    below: Vec<ProxyRoute>,
    /// The route for paths that are not found.
    rest: Option<ProxyRoute>,
}

impl Routes {
    /// Orders the routes. `has_tls` says whether the program can speak TLS to a server.
    ///
    /// # Errors
    /// A sentence with the next step, if two routes have the same prefix, or if a target needs TLS and
    /// the program has none.
    pub fn new(routes: &[ProxyRoute], has_tls: bool) -> Result<Routes, String> {
        let mut below: Vec<ProxyRoute> = routes.to_vec();
        // Not by length alone: two routes with the same prefix must be neighbours.
        below.sort_by(|a, b| {
            let (a, b) = (a.prefix(), b.prefix());
            b.len().cmp(&a.len()).then_with(|| a.cmp(b))
        });
        if let Some([one, other]) = below
            .windows(2)
            .find(|pair| pair[0].prefix() == pair[1].prefix())
        {
            return Err(format!(
                "--proxy {one} and --proxy {other} have the same prefix; leave one of them out"
            ));
        }
        if let Some(route) = below.iter().find(|route| route.target().is_tls && !has_tls) {
            return Err(format!(
                "--proxy {route}: this program was built without TLS; \
                 build it with the feature tls, or name a target with http://"
            ));
        }
        let rest = below.pop_if(|last| last.prefix().is_empty());
        Ok(Routes { below, rest })
    }

    /// Whether there is no route.
    pub fn is_empty(&self) -> bool {
        self.below.is_empty() && self.rest.is_none()
    }

    /// All routes, the one with the longest prefix first.
    pub fn iter(&self) -> impl Iterator<Item = &ProxyRoute> {
        self.below.iter().chain(&self.rest)
    }

    /// The route for a path, as [`RequestHead::path`](crate::http::RequestHead::path) has it. `None` also
    /// for a path that only the prefix `/` is for: see [`for_absent`](Routes::for_absent).
    pub fn for_path(&self, path: &[u8]) -> Option<&ProxyRoute> {
        let mut routes = self.below.iter();
        let route = routes.find(|route| is_below(path, route.prefix()));
        route.filter(|_| !has_dot_segment(path))
    }

    /// The route for a path that no endpoint and no file answers.
    pub fn for_absent(&self) -> Option<&ProxyRoute> {
        self.rest.as_ref()
    }

    /// The number of a route, for [`get`](Routes::get).
    pub fn number_of(&self, route: &ProxyRoute) -> u16 {
        let at = self.iter().position(|one| one == route);
        at.unwrap_or_default() as u16
    }

    /// The route of this number, in the order of [`iter`](Routes::iter).
    pub fn get(&self, number: u16) -> Option<&ProxyRoute> {
        self.iter().nth(number.into())
    }

    /// A route whose target is one of the addresses that this server is bound to. Requests would run in a
    /// circle.
    pub fn to_itself(&self, is_own: impl Fn(&ProxyPlace) -> bool) -> Option<&ProxyRoute> {
        self.iter().find(|route| is_own(&route.target().place))
    }
}

/// Whether a path is the prefix, or continues it with another segment.
fn is_below(path: &[u8], prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix.as_bytes());
    rest.is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

/// Whether a path has the segment `.` or `..`. A dot may be percent-encoded (RFC 3986 §6.2.2.2). A segment
/// also ends at what some servers take for its end: a backslash, a semicolon, and an encoded slash or
/// backslash.
fn has_dot_segment(path: &[u8]) -> bool {
    let is_dots = |segment: &[u8]| {
        let (mut rest, mut dots) = (segment, 0);
        loop {
            rest = match rest {
                [] => return matches!(dots, 1 | 2),
                [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
                [b'%', b'2', b'f' | b'F', ..] | [b'%', b'5', b'c' | b'C', ..] => {
                    return matches!(dots, 1 | 2);
                }
                _ => return false,
            };
            dots += 1;
        }
    };
    let ends = |at: usize| match &path[at..] {
        [b'/' | b'\\' | b';', ..] => Some(at + 1),
        [b'%', b'2', b'f' | b'F', ..] | [b'%', b'5', b'c' | b'C', ..] => Some(at + 3),
        _ => None,
    };
    let begins = (0..path.len()).filter_map(ends);
    begins.into_iter().any(|at| {
        let rest = &path[at..];
        let end = rest.iter().position(|b| matches!(b, b'/' | b'\\' | b';'));
        is_dots(&rest[..end.unwrap_or(rest.len())])
    })
}

/// Appends the target that the server is asked for: `path` with the prefix kept or replaced, and the
/// query. The path must be one that the route is for.
pub fn push_target(out: &mut Vec<u8>, route: &ProxyRoute, path: &[u8], query: Option<&[u8]>) {
    debug_assert!(is_below(path, route.prefix()));
    match route.path() {
        None => out.extend_from_slice(path),
        Some(replaced) => {
            let rest = &path[route.prefix().len().min(path.len())..];
            match rest {
                [] => out.extend_from_slice(replaced.as_bytes()),
                // The root of a route for every path has no rest beyond its slash.
                b"/" if route.prefix().is_empty() => out.extend_from_slice(replaced.as_bytes()),
                rest => {
                    out.extend_from_slice(replaced.trim_end_matches('/').as_bytes());
                    out.extend_from_slice(rest);
                }
            }
        }
    }
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query);
    }
}

/// Appends the path of the client for a path of the server: the way back of [`push_target`], for the
/// fields of a response. A path that the server is never asked for stays as it is.
pub fn push_path_back(out: &mut Vec<u8>, route: &ProxyRoute, path: &[u8]) {
    let back = route.path().and_then(|replaced| {
        let replaced = replaced.trim_end_matches('/');
        is_below(path, replaced).then(|| &path[replaced.len()..])
    });
    match back {
        None => out.extend_from_slice(path),
        Some(rest) => {
            out.extend_from_slice(route.prefix().as_bytes());
            out.extend_from_slice(match rest {
                b"" if route.prefix().is_empty() => b"/",
                rest => rest,
            });
        }
    }
}

/// Whether an authority names the target of a route. For a target on this machine, each name of this
/// machine counts: a server that is asked by 127.0.0.1 may call itself `localhost`.
pub fn is_authority_of(target: &ProxyTarget, host: &[u8], port: Option<u16>) -> bool {
    let default = if target.is_tls { 443 } else { 80 };
    match &target.place {
        ProxyPlace::Unix(_) => host.eq_ignore_ascii_case(b"localhost") && port.is_none(),
        ProxyPlace::Host(own, own_port) => {
            let bare = host
                .strip_prefix(b"[")
                .and_then(|host| host.strip_suffix(b"]"));
            let is_same = bare.unwrap_or(host).eq_ignore_ascii_case(own.as_bytes())
                || target.is_local() && is_local(host);
            is_same && port.unwrap_or(default) == *own_port
        }
    }
}

#[cfg(test)]
mod tests;
