//! Floor 2, site: the paths at which an endpoint answers instead of a file. The endpoints
//! themselves are not known here: the server has a table of endpoints, and a mount holds the number
//! of a row.

use crate::http::{Method, RequestHead, SitePath};

/// The methods and connections that an endpoint takes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Takes {
    /// A bit for each method.
    methods: u16,
    /// Whether the endpoint takes WebSocket connections.
    pub websocket: bool,
}

impl Takes {
    /// HEAD comes with GET. A method that the server does not know cannot be taken, and a tunnel
    /// (CONNECT) neither.
    pub fn new(methods: &[Method], websocket: bool) -> Takes {
        let mut takes = Takes {
            methods: 0,
            websocket,
        };
        for method in methods {
            takes.methods |= match method {
                Method::Get => bit(Method::Get) | bit(Method::Head),
                Method::Unknown | Method::Connect => 0,
                other => bit(*other),
            };
        }
        takes
    }

    /// Whether requests with the method are for the endpoint.
    pub fn has(self, method: Method) -> bool {
        self.methods & bit(method) != 0
    }
}

fn bit(method: Method) -> u16 {
    1 << method as u16
}

/// The endpoint that a request leads to, with the parts of the target that the endpoint is told.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct Mount {
    /// The number of the endpoint in the server's table.
    pub number: u16,
    /// The requests that the endpoint takes.
    pub takes: Takes,
    /// The segment of the path in place of the `*`, decoded; empty if the mount has no `*`.
    pub name: Box<str>,
    /// The query (after the question mark) as written; empty if the target has none.
    pub query: Box<str>,
}

/// The paths of all endpoints.
#[derive(Debug)]
pub(super) struct Mounts {
    points: Vec<Point>,
    /// Whether a path may lead to a point, by the first byte after its first slash.
    begins: [bool; 256],
    /// Whether a path with nothing after its first slash may lead to a point.
    is_root_taken: bool,
}

#[derive(Debug)]
struct Point {
    /// The path without its first slash and without the `*`.
    path: Box<str>,
    /// Whether the path ended in `/*`, so that any single segment may follow.
    is_open: bool,
    takes: Takes,
}

impl Point {
    /// The segment in place of the `*`, or an empty name if the point has no `*`. `None` if the
    /// decoded `path` does not lead here.
    fn name<'a>(&self, path: &'a [u8]) -> Option<&'a str> {
        let rest = path.strip_prefix(self.path.as_bytes())?;
        let name = str::from_utf8(rest).ok()?;
        let fits = match self.is_open {
            true => (1..=Mounts::NAME_BYTES_MAX).contains(&name.len()) && !name.contains('/'),
            false => name.is_empty(),
        };
        fits.then_some(name)
    }
}

impl Default for Mounts {
    fn default() -> Mounts {
        Mounts {
            points: Vec::new(),
            begins: [false; 256],
            is_root_taken: false,
        }
    }
}

impl Mounts {
    /// The maximum length of a name in bytes.
    const NAME_BYTES_MAX: usize = 128;

    /// Adds a path such as `/echo` or `/rooms/*`, and returns its number, counted from zero.
    pub fn add(&mut self, path: &str, takes: Takes) -> u16 {
        let number = u16::try_from(self.points.len()).expect("there are not so many endpoints");
        let path = path.strip_prefix('/').expect("a path begins with a slash");
        let open = path
            .strip_suffix('*')
            .filter(|p| p.is_empty() || p.ends_with('/'));
        let path = open.unwrap_or(path);
        match path.as_bytes().first() {
            Some(first) => self.begins[usize::from(*first)] = true,
            // Every path begins with nothing.
            None => (self.begins, self.is_root_taken) = ([true; 256], true),
        }
        self.points.push(Point {
            path: path.into(),
            is_open: open.is_some(),
            takes,
        });
        number
    }

    /// The point that a decoded path leads to. If several fit, the point added last.
    fn find<'a>(&self, path: &'a [u8]) -> Option<(u16, &Point, &'a str)> {
        let points = self.points.iter().enumerate().rev();
        let mut found = points.filter_map(|(number, p)| Some((number as u16, p, p.name(path)?)));
        found.next()
    }

    /// The requests that the endpoint at a decoded path takes. `None` if no endpoint is mounted there.
    pub fn takes(&self, path: &[u8]) -> Option<Takes> {
        self.find(path).map(|(_, point, _)| point.takes)
    }

    /// The mount that a request leads to. Most requests lead to none, and for most of these the
    /// first byte of the path shows that already: only other paths are decoded.
    #[inline]
    pub fn of(&self, request: &RequestHead<'_>) -> Option<Mount> {
        let path = request.path()?;
        let may_lead_here = match path.get(1) {
            // After decoding, the path may begin with another byte.
            Some(b'%' | b'/' | b'.') => true,
            Some(first) => self.begins[usize::from(*first)],
            None => self.is_root_taken,
        };
        match may_lead_here {
            true => self.mount_of(path, request),
            false => None,
        }
    }

    /// The mount at a path as written, if any is there.
    fn mount_of(&self, path: &[u8], request: &RequestHead<'_>) -> Option<Mount> {
        let path = SitePath::decode(path).ok()?;
        let (number, point, name) = self.find(path.bytes())?;
        Some(Mount {
            number,
            takes: point.takes,
            name: name.into(),
            query: String::from_utf8_lossy(request.query().unwrap_or_default()).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parsed;

    #[test]
    fn a_path_leads_to_the_endpoint_that_was_mounted_there_last() {
        let mut mounts = Mounts::default();
        for path in ["/echo", "/rooms/*", "/rooms/own", "/echo"] {
            mounts.add(path, Takes::default());
        }
        let long = format!("/rooms/{}", "a".repeat(Mounts::NAME_BYTES_MAX));
        for (target, expected) in [
            ("/echo", Some((3, "", ""))),
            ("/%65cho?a=%20&b", Some((3, "", "a=%20&b"))),
            ("//echo", Some((3, "", ""))),
            ("/./echo", Some((3, "", ""))),
            ("/rooms/./a", Some((1, "a", ""))),
            ("/rooms/%2e/a", Some((1, "a", ""))),
            ("/rooms/.", None),
            ("http://x/echo", Some((3, "", ""))),
            ("/echo/", None),
            ("/echoes", None),
            ("/Echo", None),
            ("/rooms/a%20b", Some((1, "a b", ""))),
            ("/rooms/%c3%a4?", Some((1, "ä", ""))),
            ("/rooms/own", Some((2, "", ""))),
            (&long, Some((1, &long[7..], ""))),
            (&format!("{long}a"), None),
            ("/rooms/%ff", None),
            ("/rooms/", None),
            ("/rooms", None),
            ("/rooms/a/b", None),
            ("/rooms/.a", None),
            ("/rooms/a%2fb", None),
            ("/%zz", None),
            ("/", None),
            ("/index.html", None),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
            let mount = mounts.of(&RequestHead::new(&parsed(&text), text.as_bytes()));
            let got = mount.as_ref().map(|m| (m.number, &*m.name, &*m.query));
            assert_eq!(got, expected, "{target}");
        }
    }
}
