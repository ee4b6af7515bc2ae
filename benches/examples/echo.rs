//! The smallest endpoint: whatever is sent to it comes back. `cargo run --example echo`, then connect to
//! `ws://127.0.0.1:8080/mirror`.

use std::error::Error;

use oneloop::config::Config;
use oneloop::connection::{Endpoint, Message, Session};
use oneloop::server::Server;

struct Mirror;

impl Endpoint for Mirror {
    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        // There is room: while much is waiting for this peer, nothing is read from it.
        let _ = session.send(message);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let bound = Server::bind(&Config::new("www"))?;
    println!("ws://{}/mirror", bound.addresses[0]);
    bound.server.with_endpoint("/mirror", Mirror).run()?;
    Ok(())
}
