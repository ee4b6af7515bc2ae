//! Floor 4, server: the endpoints that send a message or a body back.

use crate::connection::{Answer, Endpoint, Hub, Message, Request, Session};
use crate::http::Method;
use crate::websocket::Protocols;

/// `/echo`: sends every message back.
#[derive(Debug)]
pub struct Echo;

impl Endpoint for Echo {
    fn protocols(&self) -> Protocols {
        Protocols::Any
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        let sent = session.send(message);
        debug_assert!(sent.is_ok(), "there is always room for an answer");
    }
}

/// `/_oneloop/echo`, for tests of clients and of the server: answers a POST request with the body,
/// and WebSocket messages as [`Echo`] does.
#[derive(Debug)]
pub struct PostEcho;

impl Endpoint for PostEcho {
    fn methods(&self) -> &[Method] {
        &[Method::Post]
    }

    fn takes_websocket(&self) -> bool {
        true
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        Echo.on_message(session, message);
    }

    fn on_request(&mut self, _: &mut Hub<'_>, mut request: Request<'_>) -> Answer {
        Answer::bytes("application/octet-stream", request.take_body())
    }
}
