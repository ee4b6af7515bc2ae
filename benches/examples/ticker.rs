//! An endpoint that sends without being asked: every connection receives a number each second, and
//! the message is encoded once. Run `cargo run --example ticker`, then connect to
//! `ws://127.0.0.1:8080/ticker`.

use std::error::Error;
use std::time::Duration;

use oneloop::config::Config;
use oneloop::connection::{Answer, Endpoint, Hub, Message, Request, Session};
use oneloop::server::Server;

struct Ticker {
    seconds: u64,
}

const ROOM: &str = "ticker";

impl Endpoint for Ticker {
    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn on_tick(&mut self, hub: &mut Hub<'_>) {
        self.seconds += 1;
        hub.publish(ROOM, Message::Text(&self.seconds.to_string()));
    }

    fn on_open(&mut self, session: &mut Session<'_>, _: &Request<'_>) -> Result<(), Answer> {
        // The new member first receives the last number, if the room has had any.
        session.join(ROOM, 1);
        Ok(())
    }

    fn on_message(&mut self, session: &mut Session<'_>, _: Message<'_>) {
        let waiting = session.queued();
        let _ = session.send(Message::Text(&format!("{waiting} bytes wait for you")));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let bound = Server::bind(&Config::new("www"))?;
    println!("ws://{}/ticker", bound.addresses[0]);
    let ticker = Ticker { seconds: 0 };
    bound.server.with_endpoint("/ticker", ticker).run()?;
    Ok(())
}
