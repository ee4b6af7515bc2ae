//! Floor 2, site: the reply to a client that speaks plain HTTP where TLS is expected.

use super::fallback;
use super::{Files, Reply, Site};
use crate::http::{Method, RequestHead, ResponseHead, Status};

impl<F: Files> Site<F> {
    /// Answers requests to this path by plain HTTP too, where TLS is expected, and asks for no credentials
    /// there: for the certificate that a client needs before it can trust TLS.
    pub(crate) fn set_plain_path(&mut self, path: &str) {
        self.plain_path = Some(path.into());
    }

    /// The reply to a request that came without TLS where TLS is expected; `None` if the path may be asked
    /// for so.
    ///
    /// GET and HEAD are led to the same target by `https`. The status 307 is not cached, so a server
    /// without TLS may take the port later. A client must not send another request again by itself, and
    /// a program may have sent secrets with it: such a request is refused. Credentials are not asked for,
    /// because everybody on the network could read them.
    pub(crate) fn by_https_alone(&mut self, request: &RequestHead<'_>) -> Option<Reply<F::File>> {
        if self.is_for_all(request) {
            return None;
        }
        let reply = match self.guard.check(request) {
            Err(denial) => Reply::plain(Status::Forbidden, denial.to_string()),
            Ok(()) => to_https(request),
        };
        Some(fallback::in_form_for(reply, request))
    }

    /// Whether a request is for the endpoint at the plain path, which may be read without credentials. The
    /// guard is asked all the same.
    pub(super) fn is_for_all(&self, request: &RequestHead<'_>) -> bool {
        let (path, plain) = (request.path(), self.plain_path.as_deref());
        let is_read = matches!(request.method(), Method::Get | Method::Head);
        let is_at = path.is_some() && path == plain.map(str::as_bytes);
        let has_endpoint = || self.mounts.of(request).is_some();
        let gateway = self.gateway.as_deref();
        let is_passed_on =
            || gateway.is_some_and(|gateway| gateway.below_prefix(request).is_some());
        is_at && is_read && !request.wants_websocket() && has_endpoint() && !is_passed_on()
    }
}

fn to_https<F>(request: &RequestHead<'_>) -> Reply<F> {
    let is_safe = matches!(request.method(), Method::Get | Method::Head);
    match location(request).filter(|_| is_safe && !request.wants_websocket()) {
        Some(location) => {
            let status = Status::TemporaryRedirect;
            let sentence = format!("this port speaks https: {location}");
            let head = ResponseHead::new(status).field("Location", location);
            Reply::plain_with(head, status, sentence)
        }
        None => Reply::plain(
            Status::BadRequest,
            "this port speaks TLS; ask by https:// (or wss://) instead",
        ),
    }
}

/// The same target by `https`. `None`: the request names no host, or nothing at it.
fn location(request: &RequestHead<'_>) -> Option<String> {
    let (authority, path) = (request.authority()?, request.path()?);
    let mut location = b"https://".to_vec();
    location.extend_from_slice(authority.host);
    if let Some(port) = authority.port {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    location.extend_from_slice(path);
    if let Some(query) = request.query() {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    // A target has no control byte, and other bytes than ASCII have no place in a URI.
    String::from_utf8(location)
        .ok()
        .filter(|url| url.is_ascii())
}
