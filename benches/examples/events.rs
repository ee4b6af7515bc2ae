//! Server-sent events: one clock for many clients. A browser that lost the connection comes back by itself,
//! and is told how many seconds it has missed. Run `cargo run --example events`, then
//! `curl -N http://127.0.0.1:8080/events`, or `new EventSource("/events")` in a page.

use std::{collections::BTreeSet, error::Error, time::Duration};

use oneloop::http::Method;
use oneloop::{Answer, Config, Endpoint, Event, Hub, Key, Request, Server};

#[derive(Default)]
struct Clock {
    seconds: u64,
    listeners: BTreeSet<Key>,
    /// Listeners that have come back, and the last event of each.
    returning: Vec<(Key, u64)>,
}

impl Endpoint for Clock {
    fn methods(&self) -> &[Method] {
        &[Method::Get]
    }

    fn interval(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    fn on_request(&mut self, _: &mut Hub<'_>, request: Request<'_>) -> Answer {
        self.listeners.insert(request.key());
        let last = request.field("Last-Event-ID").unwrap_or("").parse().ok();
        self.returning.extend(last.map(|id| (request.key(), id)));
        Answer::events()
    }

    fn on_tick(&mut self, hub: &mut Hub<'_>) {
        self.seconds += 1;
        for (key, last) in self.returning.drain(..) {
            let missed = self.seconds.saturating_sub(last).saturating_sub(1);
            let _ = hub.write(key, Event::data(&format!("{missed} missed")));
        }
        let seconds = self.seconds.to_string();
        let event = Event::data(&seconds).id(&seconds);
        let bytes: Vec<u8> = event.expect("a number is one line").into();
        for key in &self.listeners {
            // A listener that reads too slowly misses a second.
            let _ = hub.write(*key, bytes.clone());
        }
    }

    fn on_leave(&mut self, _: &mut Hub<'_>, key: Key) {
        self.listeners.remove(&key);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let bound = Server::bind(&Config::new("www"))?;
    println!("http://{}/events", bound.addresses[0]);
    bound.with_endpoint("/events", Clock::default()).run()?;
    Ok(())
}
