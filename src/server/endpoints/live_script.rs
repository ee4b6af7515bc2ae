//! Floor 4, server: the script of live reload.

use crate::connection::{Answer, Endpoint, Hub, Request};
use crate::http::Method;

/// `/_oneloop/live-HASH.js`: the script that pages get while live reload is on. The path has a hash of the
/// script, so a browser need not ask again.
#[derive(Debug)]
pub struct LiveScript {
    text: String,
}

impl LiveScript {
    /// Sends this text.
    pub(crate) fn new(text: String) -> LiveScript {
        LiveScript { text }
    }
}

impl Endpoint for LiveScript {
    fn methods(&self) -> &[Method] {
        &[Method::Get, Method::Head]
    }

    fn on_request(&mut self, _: &mut Hub<'_>, _: Request<'_>) -> Answer {
        // Without a charset, a browser would read the script in the encoding of the page.
        Answer::bytes("text/javascript; charset=utf-8", self.text.clone())
            .field("Cache-Control", "public, max-age=31536000, immutable")
            .into()
    }
}
