//! The script of live reload, in Chromium. The server is real, and the endpoint of the pages is a
//! stand-in: each test says itself what the server tells the pages.

mod connection;
mod narrowing;
mod reload;
mod styles;

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use oneloop::config::LogFormat;
use oneloop::http::{Method, Status};
use oneloop::websocket::CloseCode;
use oneloop::{Answer, Endpoint, Hub, Key, Message, Request, Session};
use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::harness::{PATIENCE, eventually};
use crate::library::{Asks, Program};

/// The element that the server adds to a page.
const TAG: &str = r#"<script src="/_oneloop/live-1a2b3c.js"></script>"#;

const SCRIPT: &str = "/_oneloop/live-1a2b3c.js";

/// The script as a browser gets it: without comments and indentation.
fn script() -> String {
    let source = include_str!("../../../src/site/live/client.js");
    let lines = source.lines().map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The tests see what is in the closed shadow tree of the badge.
const SEE_BADGE: &str = "{
    const attach = Element.prototype.attachShadow;
    Element.prototype.attachShadow = function (options) {
        return (this.tree = attach.call(this, options));
    };
}";

/// The button in the badge.
const BADGE: &str = "document.querySelector('html > div')?.tree.firstChild";

/// What the stand-in has heard from a page.
#[derive(Debug)]
enum Heard {
    Message(Value),
    End,
}

/// What the stand-in answers.
struct Part {
    instance: &'static str,
    generation: u64,
    /// Members of the answer to the next hello.
    extra: Value,
    /// Whether new connections are refused.
    is_gone: bool,
    open: BTreeSet<Key>,
}

/// The endpoint of the pages.
struct StandIn {
    part: Arc<Mutex<Part>>,
    tell: Sender<Heard>,
}

impl Endpoint for StandIn {
    fn on_open(&mut self, session: &mut Session<'_>, _: &Request<'_>) -> Result<(), Answer> {
        let mut part = self.part.lock().expect("no panic");
        if part.is_gone {
            return Err(Answer::empty(Status::ServiceUnavailable));
        }
        part.open.insert(session.key());
        session.join("pages", 0);
        Ok(())
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        let Message::Text(text) = message else {
            panic!("the script sends text");
        };
        let message: Value = serde_json::from_str(text).expect("JSON");
        let mut part = self.part.lock().expect("no panic");
        let mut answer = json!({});
        if message["hello"].is_object() {
            answer = json!({
                "instance": part.instance, "generation": part.generation,
                "changes": [], "waiting": false, "a member of a later version": [{}],
            });
            if let Value::Object(extra) = part.extra.take() {
                answer.as_object_mut().expect("it is one").extend(extra);
            }
        } else if let Some(used) = message["used"].as_array() {
            let token = |url: &Value| {
                let url = url.as_str().expect("a path");
                (url.to_owned(), json!(format!("{} {url}", part.generation)))
            };
            answer = json!({ "tokens": Value::Object(used.iter().map(token).collect()) });
        }
        let sent = session.send(Message::Text(&answer.to_string()));
        sent.expect("there is room");
        // The test may have ended.
        let _ = self.tell.send(Heard::Message(message));
    }

    fn on_close(&mut self, _: &mut Hub<'_>, key: Key, _: Option<CloseCode>) {
        self.part.lock().expect("no panic").open.remove(&key);
        let _ = self.tell.send(Heard::End);
    }
}

/// A browser, and a server with a stand-in for the endpoint of the pages.
struct Live {
    chromium: Chromium,
    program: Program,
    part: Arc<Mutex<Part>>,
    heard: Receiver<Heard>,
}

impl Live {
    /// Tries cases one after the other in one browser, because the start of a browser takes longer than
    /// most cases.
    fn try_all(cases: &[fn(&Live)]) {
        let Some(live) = Live::start() else { return };
        for case in cases {
            live.chromium.prepare(SEE_BADGE);
            case(&live);
            live.chromium.open("about:blank");
            eventually("no page is left", || live.part().open.is_empty());
            live.part().generation = 0;
            live.part().extra = Value::Null;
            live.chromium.forget_prepared();
        }
    }

    /// `None` if there is no Chromium here, which is reported.
    fn start() -> Option<Live> {
        let chromium = Chromium::start()?;
        let part = Arc::new(Mutex::new(Part {
            instance: "first",
            generation: 0,
            extra: Value::Null,
            is_gone: false,
            open: BTreeSet::new(),
        }));
        let (tell, heard) = mpsc::channel();
        let stand_in = StandIn {
            part: Arc::clone(&part),
            tell,
        };
        let client = Asks::new(&[Method::Get], |_: &mut Hub<'_>, _: Request<'_>| {
            let answer = Answer::bytes("text/javascript; charset=utf-8", script());
            let kept = answer.field("Cache-Control", "max-age=31536000, immutable");
            kept.expect("a field that may be set")
        });
        let program = Program::with(
            |config| config.log = LogFormat::Off,
            |bound| {
                bound
                    .with_endpoint("/_oneloop/live", stand_in)
                    .with_endpoint(SCRIPT, client)
            },
        );
        Some(Live {
            chromium,
            program,
            part,
            heard,
        })
    }

    /// Writes a file.
    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        self.program.folder.put(name, content);
    }

    /// Writes a page. The tag stands at the start of the head.
    fn put_page(&self, name: &str, head: &str, body: &str) {
        let page = format!(
            "<!DOCTYPE html><html><head>{TAG}<meta charset=utf-8><link rel=icon href=data:,><meta name=viewport content=width=device-width>{head}</head><body>{body}</body></html>"
        );
        self.put(name, page);
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.program.address())
    }

    /// Opens a page, and waits until it tells what it uses.
    fn open(&self, path: &str) {
        self.forget();
        self.chromium.open(&self.url(path));
        self.await_report();
        self.mark();
    }

    /// Leaves a mark in the page that a reload removes.
    fn mark(&self) {
        self.chromium.value("self.stayed = true");
    }

    #[track_caller]
    fn assert_stayed(&self) {
        assert_eq!(self.chromium.value("self.stayed"), json!(true), "a reload");
    }

    /// Waits until a page has loaded in place of the marked one.
    fn await_reload(&self) {
        self.until("!self.stayed && document.readyState == 'complete'");
    }

    fn until(&self, expression: &str) {
        self.chromium.until(expression);
    }

    fn value(&self, expression: &str) -> Value {
        self.chromium.value(expression)
    }

    fn part(&self) -> std::sync::MutexGuard<'_, Part> {
        self.part.lock().expect("no panic")
    }

    /// The next message of a page, with the connection that it came from.
    #[track_caller]
    fn hear(&self) -> Heard {
        let heard = self.heard.recv_timeout(PATIENCE);
        heard.expect("the page says something")
    }

    /// Waits for a hello, and returns it.
    #[track_caller]
    fn hello(&self) -> Value {
        loop {
            if let Heard::Message(mut message) = self.hear()
                && message["hello"].is_object()
            {
                return message["hello"].take();
            }
        }
    }

    /// Waits until a page tells what it uses.
    #[track_caller]
    fn await_report(&self) -> Vec<String> {
        loop {
            if let Heard::Message(message) = self.hear()
                && let Some(used) = message["used"].as_array()
            {
                let path = |used: &Value| used.as_str().expect("a path").to_owned();
                return used.iter().map(path).collect();
            }
        }
    }

    /// Waits until a page has ended its connection and has said hello on another, in any order.
    #[track_caller]
    fn await_other_connection(&self) {
        let (mut has_ended, mut is_there) = (false, false);
        while !(has_ended && is_there) {
            match self.hear() {
                Heard::End => has_ended = true,
                Heard::Message(message) => is_there |= message["hello"].is_object(),
            }
        }
    }

    /// Forgets what the pages have said.
    fn forget(&self) {
        while self.heard.try_recv().is_ok() {}
    }

    /// Waits until a connection has ended.
    #[track_caller]
    fn await_end(&self) {
        while !matches!(self.hear(), Heard::End) {}
    }

    /// Sends a message to all pages.
    fn publish(&self, message: Value) {
        let text = message.to_string();
        let published = self.program.handle.publish("pages", Message::Text(&text));
        published.expect("it runs");
    }

    /// Tells the pages that URLs have changed that were asked for by `from`.
    fn change(&self, urls: &[&str], from: &[&str]) {
        let changes = urls
            .iter()
            .map(|url| json!({ "url": url, "from": from }))
            .collect();
        self.publish_changes(changes);
    }

    fn publish_changes(&self, changes: Value) {
        let generation = {
            let mut part = self.part();
            part.generation += 1;
            part.generation
        };
        self.publish(json!({ "generation": generation, "changes": changes }));
    }

    /// Lets the page take all that was published. What has no effect cannot be waited for itself.
    fn settle(&self) {
        self.publish(json!({ "waiting": true }));
        self.await_badge("waiting for the build");
        self.publish(json!({ "waiting": false }));
        self.await_badge("");
    }

    /// Waits until the badge says what matches, or is gone.
    fn await_badge(&self, pattern: &str) {
        self.until(&format!("/^{pattern}$/.test({BADGE}?.textContent ?? '')"));
    }

    /// The number of requests that the server has answered with an error of the client.
    fn refused(&self) -> u64 {
        let (tell, told) = mpsc::channel();
        let asked = self.program.handle.run(move |hub| {
            let _ = tell.send(hub.counters().responses(4));
        });
        asked.expect("it runs");
        told.recv_timeout(PATIENCE).expect("it runs")
    }

    /// Closes the connections of all pages.
    fn cut(&self) {
        let open = self.part().open.clone();
        let cut = self.program.handle.run(move |hub| {
            for key in open {
                hub.close(key, CloseCode::NORMAL, "");
            }
        });
        cut.expect("it runs");
    }
}
