//! A database, whose calls block, in a thread of its own. The loop hands each request to the thread, and the
//! answer comes back by the handle; meanwhile every other connection goes on. Run
//! `cargo run --example worker`, then `curl -d 'hello' http://127.0.0.1:8080/notes` a few times.

use std::error::Error;
use std::sync::mpsc::{Receiver, Sender, channel};

use oneloop::http::{Method, Status};
use oneloop::{Answer, Config, Endpoint, Handle, Hub, Key, Request, Server};
use rusqlite::Connection;

/// A note to be stored, and the connection that gets all notes.
type Job = (Key, String);

struct Notes(Sender<Job>);

impl Endpoint for Notes {
    fn methods(&self) -> &[Method] {
        &[Method::Post]
    }

    fn on_request(&mut self, _: &mut Hub<'_>, mut request: Request<'_>) -> Answer {
        let Ok(note) = String::from_utf8(request.take_body()) else {
            return Answer::text("a note is text\n").status(Status::BadRequest);
        };
        match self.0.send((request.key(), note)) {
            Ok(()) => Answer::later(),
            Err(_) => Answer::empty(Status::ServiceUnavailable),
        }
    }
}

fn store(database: &Connection, note: &str) -> rusqlite::Result<String> {
    database.execute("INSERT INTO notes VALUES (?)", [note])?;
    let sql = "SELECT group_concat(text, char(10)) FROM notes";
    database.query_row(sql, [], |row| row.get(0))
}

fn work(database: &Connection, jobs: Receiver<Job>, handle: Handle) {
    for (key, note) in jobs {
        let answer = match store(database, &note) {
            Ok(notes) => Answer::text(notes + "\n"),
            Err(error) => Answer::text(format!("{error}\n")).status(Status::InternalServerError),
        };
        // A client that has left gets no answer.
        let _ = handle.run(move |hub| hub.answer(key, answer).unwrap_or_default());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let database = Connection::open_in_memory()?;
    database.execute("CREATE TABLE notes (text TEXT)", [])?;
    let mut bound = Server::bind(&Config::new("www"))?;
    println!("http://{}/notes", bound.addresses[0]);
    let (handle, (send, jobs)) = (bound.handle()?, channel());
    std::thread::spawn(move || work(&database, jobs, handle));
    bound.with_endpoint("/notes", Notes(send)).run()?;
    Ok(())
}
