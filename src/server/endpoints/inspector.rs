//! Floor 4, server: the endpoints of the [inspector](crate::server::inspect). Questions that need the view of the
//! server are answered by the server in its turn.
//!
//! | path | |
//! |---|---|
//! | `/_oneloop/` | the page, to browsers; to other clients the loop and its connections as text |
//! | `/_oneloop/status.json` | a snapshot |
//! | `/_oneloop/watch` | WebSocket: snapshots, as long as the client watches |
//! | `/_oneloop/report` | the report on everything since the start; `?times=service` and `?times=turns`: percentiles |
//! | `/_oneloop/ring` | the flight recorder, as JSON lines |
//!
//! In `?from=3&to=9&filter=W`, a client names the slots, and the letter of the only mode that it wants to see.
//!
//! With `--isolate`, the page gets the fields of isolated pages too, as every page does. It then cannot hand the
//! flight recorder to a viewer of another origin, which opens without an opener; the downloaded file is the way.
//!
//! A snapshot shows the addresses of all clients, so the guard is not enough: no page of another origin may
//! read one, even where such pages may read files (`--cors`).

use std::net::SocketAddr;
use std::rc::Rc;

use serde_json::{Value, json};

use super::is_on_this_machine;
use crate::config::Inspect;
use crate::connection::{Answer, Endpoint, Hub, Key, Message, Request, Session};
use crate::http::{Method, Status};
use crate::server::inspect::watchers::{Question, SharedWatchers, Told, View, parse};
use crate::server::report::Times;
use crate::websocket::CloseCode;

/// The policy of the page, which loads only files of this server and no inline script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("inspector/page.html");

/// The files of the page: each path, with the text.
const FILES: &[(&str, &str)] = &[
    (
        "/_oneloop/inspector.css",
        include_str!("inspector/inspector.css"),
    ),
    (
        "/_oneloop/inspector.js",
        include_str!("inspector/inspector.js"),
    ),
    ("/_oneloop/dom.js", include_str!("inspector/dom.js")),
    ("/_oneloop/ribbon.js", include_str!("inspector/ribbon.js")),
    ("/_oneloop/grid.js", include_str!("inspector/grid.js")),
    ("/_oneloop/pipe.js", include_str!("inspector/pipe.js")),
    ("/_oneloop/modes.js", include_str!("inspector/modes.js")),
    ("/_oneloop/figures.js", include_str!("inspector/figures.js")),
    ("/_oneloop/ring.js", include_str!("inspector/ring.js")),
    ("/_oneloop/replay.js", include_str!("inspector/replay.js")),
    ("/_oneloop/chrome.js", include_str!("inspector/chrome.js")),
];

/// The other paths of the inspector.
const PATHS: &[&str] = &[
    "/_oneloop",
    "/_oneloop/",
    "/_oneloop/status.json",
    "/_oneloop/watch",
    "/_oneloop/ring",
    "/_oneloop/report",
];

/// Whether a request-target is for the inspector.
pub(in crate::server) fn is_target(target: &[u8]) -> bool {
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    let mut files = FILES.iter().map(|(file, _)| file).chain(PATHS);
    files.any(|known| known.as_bytes() == path)
}

/// Whether a client at this address may look.
fn may_look(audience: Inspect, peer: SocketAddr) -> bool {
    match audience {
        Inspect::Off => false,
        Inspect::Loopback | Inspect::Control => is_on_this_machine(peer),
        Inspect::Any => true,
    }
}

/// The answer 403 to a client at the address of this request, unless it may look.
fn denial_of_peer(audience: Inspect, request: &Request<'_>) -> Option<Answer> {
    let sentence =
        "only clients on this machine may look at the loop; --inspect=any lets others look\n";
    // A proxy on this machine speaks for a client that may be anywhere.
    let proxied = ["Forwarded", "X-Forwarded-For"];
    let is_proxied = proxied.iter().any(|name| request.field(name).is_some());
    let may_look = match audience {
        Inspect::Any => true,
        _ => !is_proxied && may_look(audience, request.peer()),
    };
    (!may_look).then(|| Answer::text(sentence).status(Status::Forbidden))
}

/// The answer 403 to a request, unless the client may look.
fn denial(audience: Inspect, request: &Request<'_>) -> Option<Answer> {
    denial_of_peer(audience, request).or_else(|| {
        let sentence = "pages of other origins may not look at the loop\n";
        is_of_other_origin(request).then(|| Answer::text(sentence).status(Status::Forbidden))
    })
}

/// Whether a page of another origin sends the request. A link from elsewhere may lead here, and its page
/// cannot read the text that the browser then shows.
fn is_of_other_origin(request: &Request<'_>) -> bool {
    let site = request.field("Sec-Fetch-Site");
    let is_foreign = matches!(site, Some("cross-site" | "same-site"));
    let navigates = request.field("Sec-Fetch-Mode") == Some("navigate");
    let is_own = |origin: &str| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_some() && authority == request.field("Host")
    };
    (is_foreign && !navigates)
        || request
            .field("Origin")
            .is_some_and(|origin| !is_own(origin))
}

/// An answer with the fields of the page and of its files.
fn guarded(answer: Answer) -> Answer {
    let fields = [
        ("Content-Security-Policy", POLICY),
        ("Cache-Control", "no-cache"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
    ];
    let mut answers = fields.into_iter();
    let answer = answers.try_fold(answer, |answer, (name, value)| answer.field(name, value));
    answer.into()
}

/// The answer to a client for which there is no room now.
fn busy(sentence: &str) -> Answer {
    Answer::text(sentence).status(Status::ServiceUnavailable)
}

/// The view that the parameters of a request ask for.
fn view_of(request: &Request<'_>) -> View {
    let number = |name| request.parameter(name).and_then(|value| value.parse().ok());
    let filter = request.parameter("filter").unwrap_or_default();
    View::new(number("from").unwrap_or(0), number("to"), &filter)
}

/// `/_oneloop`: leads to the page.
#[derive(Debug)]
pub(in crate::server) struct ToThePage;

impl Endpoint for ToThePage {
    fn methods(&self) -> &[Method] {
        &[Method::Get]
    }

    fn on_request(&mut self, _: &mut Hub<'_>, _: Request<'_>) -> Answer {
        Answer::redirect("/_oneloop/").into()
    }
}

/// A file of the page.
#[derive(Debug)]
pub(in crate::server) struct PageFile {
    audience: Inspect,
    media_type: &'static str,
    text: &'static str,
}

impl PageFile {
    /// Every file, with its path.
    pub fn all(audience: Inspect) -> impl Iterator<Item = (&'static str, PageFile)> {
        FILES.iter().map(move |(path, text)| {
            let media_type = match path.ends_with(".css") {
                true => "text/css; charset=utf-8",
                false => "text/javascript; charset=utf-8",
            };
            let file = PageFile {
                audience,
                media_type,
                text,
            };
            (*path, file)
        })
    }
}

impl Endpoint for PageFile {
    fn methods(&self) -> &[Method] {
        &[Method::Get]
    }

    fn on_request(&mut self, _: &mut Hub<'_>, request: Request<'_>) -> Answer {
        if let Some(denial) = denial(self.audience, &request) {
            return denial;
        }
        guarded(Answer::bytes(self.media_type, self.text))
    }
}

/// `/_oneloop/`, `/_oneloop/status.json` and `/_oneloop/report`.
#[derive(Debug)]
pub(in crate::server) struct Inspector {
    audience: Inspect,
    watchers: SharedWatchers,
    shows: Shows,
}

/// The answer of an endpoint of the inspector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shows {
    /// The page, or a table.
    Page,
    /// A snapshot as JSON.
    Status,
    /// The report.
    Report,
}

impl Inspector {
    /// The page, or a table.
    pub fn page(audience: Inspect, watchers: &SharedWatchers) -> Inspector {
        Inspector::new(Shows::Page, audience, watchers)
    }

    /// A snapshot as JSON.
    pub fn status(audience: Inspect, watchers: &SharedWatchers) -> Inspector {
        Inspector::new(Shows::Status, audience, watchers)
    }

    /// The report.
    pub fn report(audience: Inspect, watchers: &SharedWatchers) -> Inspector {
        Inspector::new(Shows::Report, audience, watchers)
    }

    fn new(shows: Shows, audience: Inspect, watchers: &SharedWatchers) -> Inspector {
        Inspector {
            audience,
            watchers: Rc::clone(watchers),
            shows,
        }
    }

    /// The question to the server for a request; `None`: none, because a browser gets the page.
    fn question(&self, request: &Request<'_>) -> Option<Question> {
        let accept = request.field("Accept").unwrap_or_default();
        let is_browser = accept.split(',').any(|range| {
            let name = range.split(';').next().unwrap_or_default();
            name.trim().eq_ignore_ascii_case("text/html")
        });
        let times = request.parameter("times");
        match self.shows {
            Shows::Page if is_browser => None,
            Shows::Page => Some(Question::Table(view_of(request))),
            Shows::Status => Some(Question::Status(view_of(request))),
            Shows::Report => Some(match times.as_deref() {
                Some("service") => Question::Percentiles(Times::Service),
                Some("turns") => Question::Percentiles(Times::Turns),
                Some(_) | None => Question::Report,
            }),
        }
    }
}

impl Endpoint for Inspector {
    fn methods(&self) -> &[Method] {
        &[Method::Get]
    }

    fn on_request(&mut self, _: &mut Hub<'_>, request: Request<'_>) -> Answer {
        if let Some(denial) = denial(self.audience, &request) {
            return denial;
        }
        let Some(question) = self.question(&request) else {
            let page = guarded(Answer::html(PAGE));
            return page.field("Vary", "Accept").into();
        };
        match self.watchers.borrow_mut().ask(request.key(), question) {
            true => Answer::later(),
            false => busy("too many clients ask at once\n"),
        }
    }

    fn on_leave(&mut self, _: &mut Hub<'_>, key: Key) {
        self.watchers.borrow_mut().forget(key);
    }
}

/// `/_oneloop/ring`: the flight recorder.
#[derive(Debug)]
pub(in crate::server) struct RingEndpoint {
    audience: Inspect,
    watchers: SharedWatchers,
}

impl RingEndpoint {
    pub fn new(audience: Inspect, watchers: &SharedWatchers) -> RingEndpoint {
        let watchers = Rc::clone(watchers);
        RingEndpoint { audience, watchers }
    }
}

impl Endpoint for RingEndpoint {
    fn methods(&self) -> &[Method] {
        &[Method::Get]
    }

    fn on_request(&mut self, _: &mut Hub<'_>, request: Request<'_>) -> Answer {
        if let Some(denial) = denial(self.audience, &request) {
            return denial;
        }
        let key = request.key();
        match self.watchers.borrow_mut().ask(key, Question::Ring) {
            true => Answer::later(),
            false => busy("the flight recorder is sent to two clients already\n"),
        }
    }

    fn on_stream_room(&mut self, hub: &mut Hub<'_>, key: Key) {
        let downloads = &mut self.watchers.borrow_mut().downloads;
        if let Some(download) = downloads.get_mut(&key)
            && download.go_on(hub, key)
        {
            downloads.remove(&key);
        }
    }

    fn on_leave(&mut self, _: &mut Hub<'_>, key: Key) {
        self.watchers.borrow_mut().forget(key);
    }
}

/// `/_oneloop/watch`: the WebSocket connections of watchers.
#[derive(Debug)]
pub(in crate::server) struct WatchEndpoint {
    audience: Inspect,
    watchers: SharedWatchers,
    hello: Rc<Value>,
}

impl WatchEndpoint {
    /// The bytes of a message. The longest one that makes sense is much shorter.
    const MESSAGE_MAX: usize = 4 << 10;

    pub fn new(audience: Inspect, watchers: &SharedWatchers, hello: &Rc<Value>) -> WatchEndpoint {
        WatchEndpoint {
            audience,
            watchers: Rc::clone(watchers),
            hello: Rc::clone(hello),
        }
    }
}

impl Endpoint for WatchEndpoint {
    fn on_open(&mut self, session: &mut Session<'_>, request: &Request<'_>) -> Result<(), Answer> {
        if let Some(denial) = denial(self.audience, request) {
            return Err(denial);
        }
        let key = session.key();
        if !self.watchers.borrow_mut().add(key) {
            return Err(busy("too many clients watch already\n"));
        }
        let mut hello = (*self.hello).clone();
        hello["you"] = key.to_string().into();
        let hello = json!({ "hello": hello }).to_string();
        // Nothing waits on a new connection.
        let _ = session.send(Message::Text(&hello));
        Ok(())
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        let Message::Text(text) = message else {
            return;
        };
        if text.len() > Self::MESSAGE_MAX {
            return session.close(CloseCode::POLICY, "the message is too large");
        }
        match parse(text) {
            Some(Told::Control(_)) if self.audience != Inspect::Control => {}
            Some(told) => self.watchers.borrow_mut().take(session.key(), told),
            None => {}
        }
    }

    fn on_close(&mut self, _: &mut Hub<'_>, key: Key, _: Option<CloseCode>) {
        self.watchers.borrow_mut().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_of_the_inspector_are_told_from_others() {
        for (target, expected) in [
            ("/_oneloop/", true),
            ("/_oneloop", true),
            ("/_oneloop/?from=3", true),
            ("/_oneloop/status.json?a", true),
            ("/_oneloop/grid.js", true),
            ("/_oneloop/watch?deflate=off", true),
            ("/_oneloop/wat", false),
            ("/_oneloop/live", false),
            ("/", false),
            ("", false),
        ] {
            assert_eq!(is_target(target.as_bytes()), expected, "{target}");
        }
    }

    #[test]
    fn only_clients_on_this_machine_may_look_unless_all_may() {
        for (address, is_local) in [
            ("127.0.0.1:5", true),
            ("[::1]:5", true),
            ("[::ffff:127.0.0.1]:5", true),
            ("192.0.2.1:5", false),
            ("[::ffff:192.0.2.1]:5", false),
            ("[2001:db8::1]:5", false),
        ] {
            let peer = address.parse().expect("an address");
            for audience in [Inspect::Loopback, Inspect::Control] {
                assert_eq!(may_look(audience, peer), is_local, "{address}");
            }
            assert!(may_look(Inspect::Any, peer) && !may_look(Inspect::Off, peer));
        }
    }

    /// A path without a file would answer nothing, and a file that the page does not load is dead.
    #[test]
    fn the_page_loads_its_files_and_no_others() {
        let texts: Vec<&str> = FILES.iter().map(|(_, text)| *text).chain([PAGE]).collect();
        for (path, _) in FILES {
            let name = path.strip_prefix("/_oneloop/").expect("it begins so");
            let named = |text: &&str| {
                text.contains(&format!("\"{name}\"")) || text.contains(&format!("./{name}"))
            };
            assert!(texts.iter().any(named), "{path} is not loaded");
        }
        assert!(
            !PAGE.contains("<script>") && !PAGE.contains("style="),
            "the policy forbids it"
        );
    }
}
