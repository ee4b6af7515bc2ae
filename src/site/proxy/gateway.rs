//! Floor 2, site: the reverse proxy as a part of the site: which requests are for a backend, and what
//! becomes of their heads on the way there and back.

use std::mem;
use std::net::IpAddr;

use super::{
    Asked, Back, BackFraming, Noted, Onward, Routes, forwards_left, has_dot_segment, has_passed,
    push_interim, push_request, push_response,
};
use crate::config::ProxyRoute;
use crate::http::{HttpDate, Persistence, ReceivedHead, RequestHead};

/// The routes, and the facts that the site remembers of them.
#[derive(Debug)]
pub(crate) struct Gateway {
    routes: Routes,
    /// The name of this run of the server in `Via`.
    via: String,
    /// For each route, the changes that the user was told of.
    told: Vec<Noted>,
    warnings: Vec<String>,
}

/// The facts about a client that the head of its request does not tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The address; `None` at a Unix-domain socket.
    pub ip: Option<IpAddr>,
    /// Whether the client speaks TLS to this server.
    pub is_tls: bool,
    /// Whether this server asks for a password, which is not for a backend.
    pub has_password: bool,
}

impl Gateway {
    /// Creates a gateway. `token` is a name for this run that no other server has.
    pub fn new(routes: Routes, token: &str) -> Gateway {
        Gateway {
            told: routes.iter().map(|_| Noted::default()).collect(),
            routes,
            via: format!("oneloop-{token}"),
            warnings: Vec::new(),
        }
    }

    /// The number of the route for a request, if its path is below a prefix. A request that may pass no
    /// other server is answered here (RFC 9110 §7.6.2).
    pub fn below_prefix(&self, request: &RequestHead<'_>) -> Option<u16> {
        if forwards_left(request) == Some(0) {
            return None;
        }
        let route = self.routes.for_path(request.path()?)?;
        Some(self.routes.number_of(route))
    }

    /// Whether a backend may answer a request.
    pub fn may_answer(&self, request: &RequestHead<'_>) -> bool {
        self.is_for_absent() || self.below_prefix(request).is_some()
    }

    /// Whether there is a route for paths that are not found.
    pub fn is_for_absent(&self) -> bool {
        self.routes.for_absent().is_some()
    }

    /// The number of the route for paths that are not found.
    pub fn for_absent(&self, request: &RequestHead<'_>) -> Option<u16> {
        if has_dot_segment(request.path()?) || forwards_left(request) == Some(0) {
            return None;
        }
        let route = self.routes.for_absent()?;
        Some(self.routes.number_of(route))
    }

    /// Whether the request has come through this server before.
    pub fn is_in_circle(&self, request: &RequestHead<'_>) -> bool {
        has_passed(request, &self.via)
    }

    /// The route of this number.
    pub fn route(&self, number: u16) -> &ProxyRoute {
        let route = self.routes.get(number);
        route.expect("a number comes from the routes")
    }

    /// Makes the head of a request for the backend of its route.
    pub fn onward(
        &self,
        number: u16,
        request: &RequestHead<'_>,
        origin: Origin,
    ) -> (Vec<u8>, Asked) {
        let onward = Onward {
            route: self.route(number),
            client: origin.ip,
            is_tls: origin.is_tls,
            via: &self.via,
            framing: request.framing(),
            persistence: Persistence::KeepAlive,
            hides_credentials: origin.has_password,
            wants_identity: false,
        };
        let mut head = Vec::with_capacity(request.bytes().len() + Self::ADDED_BYTES);
        push_request(&mut head, request, &onward);
        (head, Asked::new(request, origin.is_tls))
    }

    /// About as many bytes are added to the head of a request.
    const ADDED_BYTES: usize = 256;

    /// Appends the head of an answer for the client.
    pub fn back(
        &mut self,
        number: u16,
        head: &ReceivedHead<'_>,
        asked: &Asked,
        (framing, persistence): (BackFraming, Persistence),
        date: &HttpDate,
        out: &mut Vec<u8>,
    ) {
        let back = Back {
            route: self.route(number),
            asked,
            framing,
            persistence,
            date,
        };
        let noted = push_response(out, head, &back);
        if noted != Noted::default() {
            self.note(number, noted);
        }
    }

    /// Appends an interim response for the client.
    pub fn interim(head: &ReceivedHead<'_>, out: &mut Vec<u8>) {
        push_interim(out, head);
    }

    /// Says once for each route that fields of answers were changed.
    fn note(&mut self, number: u16, noted: Noted) {
        let Some(told) = self.told.get_mut(usize::from(number)) else {
            return;
        };
        let route = self.routes.get(number).map(ToString::to_string);
        let route = route.unwrap_or_default();
        if noted.strict_transport && !mem::replace(&mut told.strict_transport, true) {
            self.warnings.push(format!(
                "--proxy {route}: Strict-Transport-Security is not passed on for localhost: \
                 browsers would remember it for every port"
            ));
        }
        if noted.secure_cookie && !mem::replace(&mut told.secure_cookie, true) {
            self.warnings.push(format!(
                "--proxy {route}: a cookie whose name begins with __Host- or __Secure- needs HTTPS; \
                 start with --tls if the browser drops it"
            ));
        }
    }

    /// Takes the warnings since the last call.
    pub fn take_warnings(&mut self) -> Vec<String> {
        mem::take(&mut self.warnings)
    }
}
