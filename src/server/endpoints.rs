//! Floor 4, server: the built-in endpoints. The interface is the same as for endpoints of your own
//! program.

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

/// `/rooms/NAME`: sends each message to every member of the room, the sender included. The body of
/// a POST request is sent to the members likewise.
///
/// With `?last=N` a new member first gets the last `N` messages of the room's history. With
/// `?presence` a client is not a member, but gets the number of members, now and after each change.
#[derive(Debug)]
pub struct RoomsEndpoint;

impl Endpoint for RoomsEndpoint {
    fn methods(&self) -> &[Method] {
        &[Method::Post]
    }

    fn takes_websocket(&self) -> bool {
        true
    }

    fn protocols(&self) -> Protocols {
        Protocols::Any
    }

    fn on_open(&mut self, session: &mut Session<'_>, request: &Request<'_>) -> Result<(), Answer> {
        match request.parameter("presence") {
            Some(_) => session.watch(request.name()),
            None => {
                // A missing or malformed number counts as 0.
                let last = request.parameter("last").and_then(|n| n.parse().ok());
                session.join(request.name(), last.unwrap_or(0));
            }
        }
        Ok(())
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        // The messages of a client that only watches reach no member.
        session.broadcast(message);
    }

    fn on_request(&mut self, hub: &mut Hub<'_>, request: Request<'_>) -> Answer {
        let room = request.name();
        let message = match str::from_utf8(request.body()) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Binary(request.body()),
        };
        hub.publish(room, message);
        Answer::text(match hub.members(room) {
            0 => "nobody is there\n".into(),
            1 => "1 member hears it\n".into(),
            n => format!("{n} members hear it\n"),
        })
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
