//! A counter with two interfaces at one path: JSON for programs (GET reads, POST adds one), and
//! WebSocket for pages that want each change. Run `cargo run --example counter`, then
//! `curl -X POST http://127.0.0.1:8080/counter`, and connect to `ws://127.0.0.1:8080/counter`.

use std::error::Error;

use oneloop::http::Method;
use oneloop::{Answer, Config, Endpoint, Hub, Message, Request, Server, Session};

const ROOM: &str = "counter";

struct Counter(u64);

impl Counter {
    fn json(&self) -> String {
        format!("{{\"count\":{}}}\n", self.0)
    }

    fn add(&mut self, hub: &mut Hub<'_>) {
        self.0 += 1;
        hub.publish(ROOM, Message::Text(&self.json()));
    }
}

impl Endpoint for Counter {
    fn methods(&self) -> &[Method] {
        &[Method::Get, Method::Post]
    }

    fn takes_websocket(&self) -> bool {
        true
    }

    fn on_request(&mut self, hub: &mut Hub<'_>, request: Request<'_>) -> Answer {
        if request.method() == Method::Post {
            self.add(hub);
        }
        Answer::json(self.json())
    }

    fn on_open(&mut self, session: &mut Session<'_>, _: &Request<'_>) -> Result<(), Answer> {
        session.join(ROOM, 0);
        let _ = session.send(Message::Text(&self.json()));
        Ok(())
    }

    fn on_message(&mut self, session: &mut Session<'_>, _: Message<'_>) {
        self.add(session.hub());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let bound = Server::bind(&Config::new("www"))?;
    println!("http://{}/counter", bound.addresses[0]);
    bound.with_endpoint("/counter", Counter(0)).run()?;
    Ok(())
}
