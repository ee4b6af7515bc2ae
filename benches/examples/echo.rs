//! The smallest endpoint: every message goes back to its sender. Run `cargo run --example echo`,
//! then connect to `ws://127.0.0.1:8080/mirror`.

use std::error::Error;

use oneloop::config::Config;
use oneloop::connection::{Endpoint, Message, Session};
use oneloop::server::Server;

struct Mirror;

impl Endpoint for Mirror {
    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        // The write buffer has space: while much output waits for a peer, the server does not read
        // from this peer.
        let _ = session.send(message);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let bound = Server::bind(&Config::new("www"))?;
    println!("ws://{}/mirror", bound.addresses[0]);
    bound.server.with_endpoint("/mirror", Mirror).run()?;
    Ok(())
}
