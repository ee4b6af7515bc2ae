//! Floor 2, site: the part of the server that answers a request: the files, an endpoint or a backend. The
//! guard and the question for credentials come first.

use std::time::SystemTime;

use super::{Asked, Files, Gateway, Mount, Reply, Site, fallback, proxy};
use crate::http::{Method, RequestHead, Status};

/// The part of the server that answers a request.
#[derive(Debug)]
pub(crate) enum Route<F> {
    /// The guard denies the request, or credentials are missing; this is the answer.
    Denied(Reply<F>),
    /// An endpoint is mounted at the path. The mount says what the endpoint takes; any other request
    /// is for the files.
    Endpoint(Mount),
    /// The route of this number leads to a backend.
    Backend(u16),
    /// The files answer: see [`Site::answer`].
    Files,
}

impl<F: Files> Site<F> {
    /// Decides which part of the server answers a request. The [`Guard`](super::Guard) comes first, and then the
    /// question for credentials. A browser sends none with a preflight, and the certificate of a CA is for
    /// all. No other place asks the guard, and every request comes through here once, when its head is complete.
    pub(crate) fn route(&mut self, request: &RequestHead<'_>) -> Route<F::File> {
        if let Err(denial) = self.guard.check(request) {
            let reply = Reply::plain(Status::Forbidden, denial.to_string());
            return Route::Denied(fallback::in_form_for(reply, request));
        }
        if let Some(auth) = &self.auth
            && !self.policy.is_preflight(request)
            && !self.is_for_all(request)
            && let Err(reply) = auth.check(request, self.is_for_program(request))
        {
            return Route::Denied(fallback::in_form_for(reply, request));
        }
        if let Some(gateway) = &self.gateway
            && let Some(number) = gateway.below_prefix(request)
        {
            return self.to_backend(number, request);
        }
        match self.mounts.of(request) {
            Some(mount) => Route::Endpoint(mount),
            None => Route::Files,
        }
    }

    /// Whether a request is for an endpoint or for a backend. A page may not be able to send credentials
    /// with its handshake of WebSocket.
    fn is_for_program(&self, request: &RequestHead<'_>) -> bool {
        let backend = |gateway: &Gateway| gateway.may_answer(request);
        self.mounts.of(request).is_some() || self.gateway.as_deref().is_some_and(backend)
    }

    /// The route to a backend, unless the request would run in a circle.
    fn to_backend(&self, number: u16, request: &RequestHead<'_>) -> Route<F::File> {
        match self
            .gateway
            .as_ref()
            .is_some_and(|gateway| gateway.is_in_circle(request))
        {
            false => Route::Backend(number),
            true => Route::Denied(self.circle(number, request)),
        }
    }

    /// The answer to a request that has come through this server before: 508.
    fn circle(&self, number: u16, request: &RequestHead<'_>) -> Reply<F::File> {
        let gateway = self.gateway.as_ref();
        let failure = proxy::Failure {
            route: gateway.expect("the caller has asked it").route(number),
            cause: proxy::FailureCause::Loop,
            tried: &[],
            lasts: None,
        };
        failure.reply(&Asked::new(request, false))
    }

    /// The route to the backend for everything that is not found here, if there is such a backend and the
    /// request is for it: one that the files do not answer. `reply` is the answer of the files.
    pub(crate) fn route_absent(
        &mut self,
        request: &RequestHead<'_>,
        now: SystemTime,
    ) -> Route<F::File> {
        let number = self
            .gateway
            .as_ref()
            .and_then(|gateway| gateway.for_absent(request));
        let Some(number) = number else {
            return Route::Files;
        };
        if matches!(request.method(), Method::Get | Method::Head) && !request.wants_websocket() {
            // A look alone: the page of a backend has no script of ours, and says no hello.
            self.is_looking = true;
            self.cost = 0;
            let is_absent = self.answer_plainly(request, now).status == Status::NotFound;
            self.is_looking = false;
            if !is_absent {
                return Route::Files;
            }
        }
        self.to_backend(number, request)
    }

    /// The reverse proxy.
    ///
    /// # Panics
    /// If the site has none.
    pub(crate) fn gateway(&mut self) -> &mut Gateway {
        let gateway = self.gateway.as_deref_mut();
        gateway.expect("a route to a backend is from the gateway")
    }
}
