//! Floor 5, server: the endpoints that come with it, on the same interface as anybody's.

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

/// `/rooms/NAME`: what one says all hear, whoever says it too, and whoever posts.
///
/// `?last=N` begins with the last messages; `?presence` hears how many are there instead.
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
        // What is no number is none.
        let last = route.parameter("last").and_then(|n| n.parse().ok());
        session.join(route.name, last.unwrap_or(0));
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        // Whoever only watches is in no room, and speaks to nobody.
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

/// `/_oneloop/echo`, to test clients and the server: answers with the body it got, and by WebSocket as
/// [`Echo`] does.
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
