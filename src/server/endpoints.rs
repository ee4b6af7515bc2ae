//! Floor 4, server: the built-in endpoints. The interface is the same as for endpoints of your own
//! program.

use crate::connection::{Answer, Endpoint, Hub, Message, Post, RouteMatch, Session};
use crate::http::Status;
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
    fn protocols(&self) -> Protocols {
        Protocols::Any
    }

    fn on_open(&mut self, session: &mut Session<'_>, route: RouteMatch<'_>) {
        if route.parameter("presence").is_some() {
            return session.watch(route.name);
        }
        // A missing or malformed number counts as 0.
        let last = route.parameter("last").and_then(|n| n.parse().ok());
        session.join(route.name, last.unwrap_or(0));
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        // The messages of a client that only watches reach no member.
        session.broadcast(message);
    }

    fn takes_posts(&self) -> bool {
        true
    }

    fn on_post(&mut self, hub: &mut Hub<'_>, post: Post<'_>) -> Answer {
        let room = post.route.name;
        let message = match str::from_utf8(&post.body) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Binary(&post.body),
        };
        hub.publish(room, message);
        let text = match post.members(room) {
            0 => "nobody is there\n".into(),
            1 => "1 member hears it\n".into(),
            n => format!("{n} members hear it\n"),
        };
        Answer::text(Status::Ok, text)
    }
}

/// `/_oneloop/echo`, for tests of clients and of the server: answers a POST request with the body,
/// and WebSocket messages as [`Echo`] does.
#[derive(Debug)]
pub struct PostEcho;

impl Endpoint for PostEcho {
    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        Echo.on_message(session, message);
    }

    fn takes_posts(&self) -> bool {
        true
    }

    fn on_post(&mut self, _: &mut Hub<'_>, post: Post<'_>) -> Answer {
        Answer {
            status: Status::Ok,
            media_type: "application/octet-stream",
            body: post.body,
        }
    }
}
