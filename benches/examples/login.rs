//! A login with a cookie. Run `cargo run --example login`, then open <http://127.0.0.1:8080/login>.
//! `curl -d ada http://127.0.0.1:8080/login -i` shows the cookie. A WebSocket connection to `/private`
//! is refused without it.

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::{cell::RefCell, rc::Rc};

use oneloop::http::{Method, Status};
use oneloop::{Answer, Config, Endpoint, Hub, Message, Request, Server, Session};

/// The names of the users, by the secret in their cookies. Both endpoints are called from one thread.
type Users = Rc<RefCell<BTreeMap<String, String>>>;

struct Login(Users);
struct Private(Users);

const PAGE: &str = "<form onsubmit=\"fetch('', {method: 'POST', body: n.value}).then(() => \
    new WebSocket('/private').onmessage = e => n.value = e.data); return false\"><input id=n></form>";

impl Endpoint for Login {
    fn methods(&self) -> &[Method] {
        &[Method::Get, Method::Post]
    }

    fn on_request(&mut self, _: &mut Hub<'_>, request: Request<'_>) -> Answer {
        let name = String::from_utf8_lossy(request.body()).into_owned();
        if request.method() != Method::Post {
            return Answer::html(PAGE);
        }
        // Of std alone. A real program takes a secret from a library for cryptography.
        let secret = format!("{:016x}", RandomState::new().hash_one(&name));
        let cookie = format!("user={secret}; HttpOnly; SameSite=Strict; Path=/");
        self.0.borrow_mut().insert(secret, name);
        Answer::empty(Status::NoContent)
            .field("Set-Cookie", cookie)
            .into()
    }
}

impl Endpoint for Private {
    fn on_open(&mut self, session: &mut Session<'_>, request: &Request<'_>) -> Result<(), Answer> {
        let users = self.0.borrow();
        let name = request.cookie("user").and_then(|secret| users.get(secret));
        let name = name.ok_or(Answer::text("log in first\n").status(Status::Forbidden))?;
        let _ = session.send(Message::Text(&format!("welcome, {name}")));
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let (bound, users) = (Server::bind(&Config::new("www"))?, Users::default());
    println!("http://{}/login", bound.addresses[0]);
    let bound = bound.with_endpoint("/login", Login(users.clone()));
    bound.with_endpoint("/private", Private(users)).run()?;
    Ok(())
}
