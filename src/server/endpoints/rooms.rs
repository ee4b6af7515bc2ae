//! Floor 4, server: the rooms, and the list of them.

use std::fmt::Write as _;

use crate::connection::{Answer, Endpoint, Hub, Message, Request, Session};
use crate::http::{Method, Status};
use crate::websocket::Protocols;

/// `/rooms/NAME`: sends each message to every member of the room, the sender included. The body of
/// a POST request is sent to the members likewise.
///
/// The query of the opening handshake may have these parameters:
///
/// - `last=N`: a new member first gets the last `N` messages of the room's history.
/// - `echo=off`: the member does not get its own messages back.
/// - `presence`: the client is not a member, but gets the number of members, now and after each change.
/// - `members=MARK`: the member gets the number of members too, in text messages of the form `MARK 3`.
///   The member chooses the mark, from 1 to 64 bytes, and no other client learns of it. So with a mark
///   that cannot be guessed, such as a random UUID, no message of another client can pass for a number.
///   (The boundary of a multipart body, RFC 2046 §5.1.1, does the same.) A page that trusts the other
///   members may take a short mark.
#[derive(Debug)]
pub struct RoomsEndpoint;

impl RoomsEndpoint {
    /// The maximum length of a mark in bytes.
    const MARK_BYTES_MAX: usize = 64;
}

/// The mark of a member that does not want its own messages back.
struct WithoutEcho;

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
        let room = request.name();
        if request.parameter("presence").is_some() {
            session.watch(room);
            return Ok(());
        }
        let mark = request.parameter("members");
        if let Some(mark) = &mark
            && !(1..=Self::MARK_BYTES_MAX).contains(&mark.len())
        {
            let sentence = "members=MARK needs a mark of 1 to 64 bytes\n";
            return Err(Answer::text(sentence).status(Status::BadRequest));
        }
        if request.parameter("echo").as_deref() == Some("off") {
            session.keep(WithoutEcho);
        }
        // A missing or malformed number counts as 0.
        let last = request.parameter("last").and_then(|n| n.parse().ok());
        session.join(room, last.unwrap_or(0));
        if let Some(mark) = mark {
            session.watch_marked(room, &mark);
        }
        Ok(())
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        // The messages of a client that only watches reach no member.
        match session.kept::<WithoutEcho>() {
            None => session.broadcast(message),
            Some(_) => session.broadcast_to_others(message),
        }
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

/// `/rooms`: the rooms with a member and the number of members of each, as JSON, in the order of the
/// names: `{"rooms":[{"name":"a","members":2}]}`.
#[derive(Debug)]
pub struct RoomList;

impl Endpoint for RoomList {
    fn methods(&self) -> &[Method] {
        &[Method::Get]
    }

    fn on_request(&mut self, hub: &mut Hub<'_>, _: Request<'_>) -> Answer {
        let mut json = String::from("{\"rooms\":[");
        for (at, (name, members)) in hub.rooms().enumerate() {
            json.push_str(if at == 0 { "{\"name\":" } else { ",{\"name\":" });
            push_json_string(&mut json, name);
            let _ = write!(json, ",\"members\":{members}}}");
        }
        json.push_str("]}\n");
        Answer::json(json)
    }
}

/// Appends a string of JSON (RFC 8259 §7). U+2028 and U+2029 are escaped too, because a string of
/// JavaScript could not have them before ECMAScript 2019.
fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..='\x1f' | '\x7f' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_string_whatever_it_has() {
        for (name, expected) in [
            ("a b", r#""a b""#),
            ("\"]}\\", r#""\"]}\\""#),
            ("\n\0\x1f\x7f", r#""\u000a\u0000\u001f\u007f""#),
            ("ä😀</script>\u{2028}", "\"ä😀</script>\\u2028\""),
        ] {
            let mut out = String::new();
            push_json_string(&mut out, name);
            assert_eq!(out, expected);
        }
    }
}
