//! A chat with names. A single value holds the state of every guest, because a single thread serves
//! them. Run `cargo run --example chat`, then connect twice to `ws://127.0.0.1:8080/chat/garden`.
//! "garden" is the name of a room.

use std::collections::BTreeMap;
use std::error::Error;

use oneloop::config::Config;
use oneloop::connection::{Answer, Endpoint, Hub, Key, Message, Request, Session};
use oneloop::server::Server;
use oneloop::websocket::CloseCode;

/// The guests, each with a name and a room. The first message of a guest is the name.
#[derive(Default)]
struct Chat {
    guests: BTreeMap<Key, (Option<String>, String)>,
}

impl Endpoint for Chat {
    fn on_open(&mut self, session: &mut Session<'_>, request: &Request<'_>) -> Result<(), Answer> {
        let _ = session.send(Message::Text("What is your name?"));
        let guest = (None, request.name().to_string());
        self.guests.insert(session.key(), guest);
        Ok(())
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        let (Message::Text(text), Some((name, room))) =
            (message, self.guests.get_mut(&session.key()))
        else {
            return session.close(CloseCode(1003), "this is a chat, it is about text");
        };
        let line = match name {
            Some(name) => format!("{name}: {text}"),
            None => {
                *name = Some(text.to_string());
                session.join(room, 10);
                format!("{text} is here now")
            }
        };
        session.publish(room, Message::Text(&line));
    }

    fn on_close(&mut self, hub: &mut Hub<'_>, key: Key, _: Option<CloseCode>) {
        if let Some((Some(name), room)) = self.guests.remove(&key) {
            hub.publish(&room, Message::Text(&format!("{name} has left")));
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let bound = Server::bind(&Config::new("www"))?;
    println!("ws://{}/chat/garden", bound.addresses[0]);
    bound
        .server
        .with_endpoint("/chat/*", Chat::default())
        .run()?;
    Ok(())
}
