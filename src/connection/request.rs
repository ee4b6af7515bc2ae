//! Floor 3, connection: a request as an endpoint sees it.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use percent_encoding::percent_decode_str;

use super::Key;
use crate::http::{Field, Framing, Head, Method, RequestHead, Scheme, SitePath};
use crate::site::Mount;
use crate::transport::Pool;

/// A request to an endpoint, valid during a single call.
///
/// The head is where it came in: each question searches the bytes of the head, and nothing is copied
/// that is not asked for.
pub struct Request<'a> {
    pub(super) head: RequestHead<'a>,
    pub(super) mount: &'a Mount,
    pub(super) key: Key,
    pub(super) peer: SocketAddr,
    pub(super) body: Vec<u8>,
}

impl<'a> Request<'a> {
    /// The key of the request, by which a later [answer](super::Hub::answer) finds the way back. The next
    /// request of the same connection has another key. The key of an opening handshake is that of the
    /// [session](super::Session::key).
    pub fn key(&self) -> Key {
        self.key
    }

    /// The method, which is one of the [methods](super::Endpoint::methods) of the endpoint, or HEAD
    /// where GET is one of them. For an opening handshake of WebSocket the method is GET.
    pub fn method(&self) -> Method {
        self.head.method()
    }

    /// The scheme of the request: `https` if the connection has TLS.
    pub fn scheme(&self) -> Scheme {
        self.head.scheme()
    }

    /// The path, decoded, with the slash in front. Bytes that are not UTF-8 become U+FFFD.
    pub fn path(&self) -> Cow<'a, str> {
        let path = self.head.path().unwrap_or(b"/");
        match SitePath::decode_hidden(path) {
            Ok(path) => format!("/{}", String::from_utf8_lossy(path.bytes())).into(),
            Err(_) => String::from_utf8_lossy(path),
        }
    }

    /// The segment in place of the `*` in the path of the endpoint, decoded; empty if the path has no
    /// `*`.
    pub fn name(&self) -> &'a str {
        &self.mount.name
    }

    /// The query: the part after the question mark, not decoded; empty if there is none.
    pub fn query(&self) -> &'a str {
        &self.mount.query
    }

    /// The parameters in the query, in order: names and values, decoded as for
    /// [`parameter`](Request::parameter).
    pub fn parameters(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        parameters(&self.mount.query).map(|(name, value)| (decoded(name), decoded(value)))
    }

    /// The value of the first parameter with this name in the query; empty for a parameter without a
    /// value. `None`: the query does not have the parameter.
    ///
    /// Names and values are decoded as a browser encodes the fields of a form
    /// (`application/x-www-form-urlencoded`, WHATWG URL §5.1): `+` stands for a space, and `%`
    /// with two hexadecimal digits for a byte. A `%` without two digits stands for itself. Bytes
    /// that are not UTF-8 become U+FFFD.
    pub fn parameter(&self, name: &str) -> Option<Cow<'a, str>> {
        parameter(&self.mount.query, name)
    }

    /// The value of the first field with this name, without white space around. Letter case in the
    /// name does not matter (RFC 9110 §5.1). `None`: there is no such field, or the value is not
    /// UTF-8.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        self.head
            .named(name)
            .and_then(|value| str::from_utf8(value).ok())
    }

    /// The value of the first cookie with this name (RFC 6265 §4.2), without the quotes that some
    /// clients put around. `None`: there is no such cookie.
    pub fn cookie(&self, name: &str) -> Option<&'a str> {
        self.cookies()
            .find_map(|(n, value)| (n == name).then_some(value))
    }

    /// The cookies, in order: names and values. A cookie that is not UTF-8 is left out.
    pub fn cookies(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let values = self.head.values_named("Cookie");
        let pairs = values.flat_map(|value| value.split(|b| *b == b';'));
        pairs.filter_map(|pair| {
            let (name, value) = str::from_utf8(pair).ok()?.split_once('=')?;
            let value = value.trim();
            let inner = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
            Some((name.trim(), inner.unwrap_or(value)))
        })
    }

    /// The address of the peer.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The head as it came: the request line, the field lines and the empty line, each with its line
    /// end.
    pub fn head_bytes(&self) -> &'a [u8] {
        self.head.bytes()
    }

    /// The length in bytes of the body, as the head announces it. `None`: the body is chunked, and
    /// its end is not known in advance.
    pub fn content_length(&self) -> Option<u64> {
        match self.head.framing() {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked => None,
        }
    }

    /// The whole body, of at most [`Limits::body_bytes_max`](crate::config::Limits::body_bytes_max)
    /// bytes. Empty for a request without a body, in [`on_head`](super::Endpoint::on_head), and if the
    /// body went to [`on_body`](super::Endpoint::on_body).
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Takes the body out of the request, without a copy.
    pub fn take_body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.body)
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("key", &self.key)
            .field("method", &self.method())
            .field("path", &self.path())
            .field("peer", &self.peer)
            .field("body", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The pairs of a query, not decoded. A parameter without `=` has an empty value.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// The decoded value of the first parameter with this name; see [`Request::parameter`].
pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    parameters(query)
        .find(|(n, _)| decoded(n) == name)
        .map(|(_, value)| decoded(value))
}

/// Decodes a name or a value of a query. Plain text is borrowed.
fn decoded(text: &str) -> Cow<'_, str> {
    match text.contains('+') {
        true => {
            let spaced = text.replace('+', " ");
            let decoded = percent_decode_str(&spaced).decode_utf8_lossy();
            Cow::Owned(decoded.into_owned())
        }
        false => percent_decode_str(text).decode_utf8_lossy(),
    }
}

/// A request that outlives the bytes in the read buffer, because its body has to come, or because its
/// answer comes later. The vectors are in storage of the pool.
#[derive(Debug)]
pub(super) struct KeptRequest {
    head: Head,
    bytes: Vec<u8>,
    /// The key of the request.
    pub key: Key,
    pub mount: Mount,
    pub body: Vec<u8>,
}

impl KeptRequest {
    /// Copies the head.
    pub fn new(
        head: &Head,
        request: &RequestHead<'_>,
        (key, mount): (Key, Mount),
        pool: &mut Pool,
    ) -> Self {
        let mut bytes = Vec::new();
        pool.append(&mut bytes, |kept| kept.extend_from_slice(request.bytes()));
        KeptRequest {
            head: head.clone(),
            bytes,
            key,
            mount,
            body: Vec::new(),
        }
    }

    /// The head of the request.
    pub fn head(&self) -> RequestHead<'_> {
        RequestHead::new(&self.head, &self.bytes)
    }

    /// Lends the request to an endpoint. The body goes with it: from here on the endpoint owns the
    /// storage of the body.
    pub fn lend(&mut self, peer: SocketAddr, pool: &mut Pool) -> Request<'_> {
        pool.account_mut().release(self.body.capacity());
        Request {
            head: RequestHead::new(&self.head, &self.bytes),
            mount: &self.mount,
            key: self.key,
            peer,
            body: std::mem::take(&mut self.body),
        }
    }

    /// The bytes that are held.
    pub fn held_bytes(&self) -> usize {
        self.bytes.len() + self.body.len()
    }

    /// Gives the storage back to the pool.
    pub fn release(self, pool: &mut Pool) {
        pool.release_vec(self.bytes);
        pool.release_vec(self.body);
    }
}

/// Whether the body has a content coding. `identity` is none, though clients should not send the
/// name (RFC 9110 §8.4.1).
pub(super) fn is_coded(request: &RequestHead<'_>) -> bool {
    let mut codings = request.members(Field::ContentEncoding);
    codings.any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parsed;

    #[test]
    fn parameters_are_decoded_as_a_form_is_encoded() {
        for (query, expected) in [
            ("a=1&a=2", Some("1")),
            ("b&a", Some("")),
            ("%61=x", Some("x")),
            ("a=b+c%2Bd%20e", Some("b c+d e")),
            ("a=%C3%A4", Some("ä")),
            ("a=%26%3D&b", Some("&=")),
            ("a=b=c", Some("b=c")),
            ("a=100%&b=%zz", Some("100%")),
            ("a=%ff", Some("\u{fffd}")),
            ("A=1&aa=2&+a=3", None),
            ("", None),
        ] {
            assert_eq!(parameter(query, "a").as_deref(), expected, "{query}");
        }
        let all: Vec<_> = parameters("a=1&&b&c=%20").collect();
        assert_eq!(all, [("a", "1"), ("b", ""), ("c", "%20")]);
    }

    #[test]
    fn a_request_tells_what_its_head_says() {
        let text = "POST /rooms/a%20b?x=1 HTTP/1.1\r\nHost: x\r\nX-Name:  value \r\n\
            Cookie: a=1; b=\"2\";c\r\ncookie: d = e=f ; a=3\r\nContent-Length: 3\r\n\r\n";
        let mount = Mount {
            name: "a b".into(),
            query: "x=1".into(),
            ..Mount::default()
        };
        let head = parsed(text);
        let request = Request {
            head: RequestHead::new(&head, text.as_bytes()),
            mount: &mount,
            key: Key::new(0, 1),
            peer: "127.0.0.1:5".parse().unwrap(),
            body: b"abc".to_vec(),
        };
        assert_eq!(request.method(), Method::Post);
        assert_eq!(request.path(), "/rooms/a b");
        assert_eq!((request.name(), request.query()), ("a b", "x=1"));
        assert_eq!(request.field("x-name"), Some("value"));
        assert_eq!(request.field("X-Nam"), None);
        let cookies: Vec<_> = request.cookies().collect();
        assert_eq!(cookies, [("a", "1"), ("b", "2"), ("d", "e=f"), ("a", "3")]);
        assert_eq!(request.cookie("b"), Some("2"));
        assert_eq!(request.content_length(), Some(3));
    }
}
