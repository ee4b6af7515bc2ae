//! Floor 4, server: the pages with live reload. Each page has a WebSocket connection to `/_oneloop/live`,
//! over which it is told what has changed. What a page asks is answered by the server in its turn, because
//! the server knows the site.
//!
//! Messages are objects of JSON in text messages. From a page:
//!
//! - `{"hello":{"page":P,"age":MS,"instance":I,"generation":G,"used":{URL:TOKEN,…}}}` comes first. Of a page
//!   that no server has told anything, the last three are null.
//! - `{"used":[URL,…]}` names the URLs that the page uses, its own document first.
//!
//! From the server:
//!
//! - `{"instance":I,"generation":G,"changes":[…],"waiting":false}` is the answer to the hello.
//! - `{"tokens":{URL:TOKEN,…}}` is the answer to `used`.
//! - `{"generation":G,"changes":[{"url":URL,"from":[URL,…]},…]}` tells what has changed. `"any":true` means
//!   that any page may use the URL.
//! - `{"generation":G,"reload":true}`: the page is to be loaded again.
//! - `{"waiting":true}`: the document of an open page is missing, and the server waits for it.
//! - `{"beat":1}` tells now and then that the server is there.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::is_on_this_machine;
use crate::connection::{Answer, Endpoint, Hub, Key, Message, Request, Session};
use crate::http::{Method, Status};
use crate::websocket::CloseCode;

/// The state that the endpoints of live reload share with the server.
pub(in crate::server) type SharedPages = Rc<RefCell<Pages>>;

/// The open pages, and their questions.
#[derive(Default, Debug)]
pub(in crate::server) struct Pages {
    /// The URL path of each open page; `None` before its hello.
    open: BTreeMap<Key, Option<Box<str>>>,
    /// With the bytes of the message.
    questions: VecDeque<(Key, Question, usize)>,
    /// The bytes of the messages in `questions`.
    bytes: usize,
    /// Each page is to be loaded again, because the user has asked for it.
    is_reload_asked: bool,
    /// Whether anything has happened here that the server does not know yet.
    has_news: bool,
    is_beating: bool,
}

/// A question of a page.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::server) enum Question {
    /// Has anything changed that I use?
    Hello(Hello),
    /// A page asks for the tokens of the URLs that it uses: its own URL path, and those URLs.
    Used(Box<str>, Vec<Box<str>>),
}

impl Question {
    /// The number of URL paths that the page says to use.
    pub fn used(&self) -> usize {
        match self {
            Question::Hello(hello) => hello.used.len(),
            Question::Used(_, used) => used.len(),
        }
    }
}

/// The first message of a page.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::server) struct Hello {
    pub page: Box<str>,
    /// When the page was asked for, or a little earlier.
    pub asked_at: Instant,
    /// The instance and the generation that the page was told last.
    pub told: Option<(Box<str>, u64)>,
    /// The URLs that the page uses, with the tokens that the page was told.
    pub used: Vec<(Box<str>, Box<str>)>,
}

impl Pages {
    /// The bytes of a message. The names of five hundred files, and their tokens, are fewer.
    const MESSAGE_MAX: usize = 128 << 10;

    /// How far the age that a page tells may be below the true one. The clock of a browser goes in steps, and
    /// two messages of a page need different times to arrive. A page that was loaded so soon after a change
    /// may be told of the change once more, and one that has missed a change never.
    const AGE_GRAIN: Duration = Duration::from_millis(20);

    /// The bytes of the messages that wait for their answer.
    const BYTES_MAX: usize = 4 << 20;

    /// The bytes of the URL path of a page, which is kept as long as the page is open. No longer one is
    /// served.
    const PATH_MAX: usize = 8_000;

    /// The URL paths that are taken from a message.
    const USED_MAX: usize = 500;

    /// Whether no page is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The connections of all pages.
    pub fn keys(&self) -> Vec<Key> {
        self.open.keys().copied().collect()
    }

    /// The URL paths of the pages that have said hello.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.open.values().flatten().map(|path| &**path)
    }

    /// Whether a question waits.
    pub fn has_question(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Each page is to be loaded again.
    pub fn ask_to_reload(&mut self) {
        (self.is_reload_asked, self.has_news) = (true, true);
    }

    /// Whether anything has happened since the last call of [`take_reload_asked`](Pages::take_reload_asked).
    pub fn has_news(&self) -> bool {
        self.has_news
    }

    /// Whether a reload is asked for, once.
    pub fn take_reload_asked(&mut self) -> bool {
        self.has_news = false;
        std::mem::take(&mut self.is_reload_asked)
    }

    /// Takes the next question of a page that is still open.
    pub fn next_question(&mut self) -> Option<(Key, Question)> {
        loop {
            let (key, question, bytes) = self.questions.pop_front()?;
            self.bytes -= bytes;
            if self.open.contains_key(&key) {
                return Some((key, question));
            }
        }
    }
}

/// Reads the message of a page. `None`: it is no such message.
fn parse(text: &str, page: Option<&str>, now: Instant) -> Option<Question> {
    let message: Value = serde_json::from_str(text).ok()?;
    let string = |value: &Value| value.as_str().map(Box::from);
    if let Some(hello) = message.get("hello") {
        let age = hello.get("age").and_then(Value::as_f64).unwrap_or(0.0);
        let age = Duration::try_from_secs_f64(age.max(0.0) / 1_000.0).unwrap_or_default();
        let instance = hello.get("instance").and_then(string);
        let generation = hello.get("generation").and_then(Value::as_u64);
        let used = hello.get("used").and_then(Value::as_object);
        let used = used.into_iter().flatten().take(Pages::USED_MAX);
        return Some(Question::Hello(Hello {
            page: hello
                .get("page")
                .and_then(Value::as_str)
                .filter(|page| page.len() <= Pages::PATH_MAX)?
                .into(),
            asked_at: now.checked_sub(age + Pages::AGE_GRAIN).unwrap_or(now),
            told: instance.zip(generation),
            used: used
                .filter_map(|(url, token)| Some((Box::from(&**url), string(token)?)))
                .collect(),
        }));
    }
    let used = message.get("used")?.as_array()?;
    let used = used.iter().take(Pages::USED_MAX).filter_map(string);
    Some(Question::Used(page?.into(), used.collect()))
}

/// `/_oneloop/live`: the WebSocket connections of the pages.
#[derive(Debug)]
pub(in crate::server) struct LivePages(pub SharedPages);

impl LivePages {
    /// How often pages are told that the server is there.
    const BEAT: Duration = Duration::from_secs(20);
}

impl Endpoint for LivePages {
    fn on_open(&mut self, session: &mut Session<'_>, _: &Request<'_>) -> Result<(), Answer> {
        let mut pages = self.0.borrow_mut();
        pages.open.insert(session.key(), None);
        pages.has_news = true;
        if !std::mem::replace(&mut pages.is_beating, true) {
            session.hub().after(Self::BEAT, 0);
        }
        Ok(())
    }

    fn on_message(&mut self, session: &mut Session<'_>, message: Message<'_>) {
        let pages = &mut *self.0.borrow_mut();
        let Message::Text(text) = message else {
            return;
        };
        if text.len() > Pages::MESSAGE_MAX {
            return session.close(CloseCode::POLICY, "the message is too large");
        }
        let (key, now) = (session.key(), session.hub().now());
        let Some(page) = pages.open.get_mut(&key) else {
            return;
        };
        let Some(question) = parse(text, page.as_deref(), now) else {
            return;
        };
        if pages.bytes + text.len() > Pages::BYTES_MAX {
            return session.close(CloseCode::TRY_AGAIN_LATER, "too many pages ask");
        }
        if let Question::Hello(hello) = &question {
            *page = Some(hello.page.clone());
        }
        pages.bytes += text.len();
        pages.questions.push_back((key, question, text.len()));
        pages.has_news = true;
    }

    fn on_close(&mut self, _: &mut Hub<'_>, key: Key, _: Option<CloseCode>) {
        let mut pages = self.0.borrow_mut();
        pages.open.remove(&key);
        pages.has_news = true;
    }

    fn on_timer(&mut self, hub: &mut Hub<'_>, _: u64) {
        let mut pages = self.0.borrow_mut();
        // Without a page, the server sleeps.
        pages.is_beating = !pages.is_empty();
        if pages.is_beating {
            hub.send_each(pages.keys(), Message::Text("{\"beat\":1}"));
            hub.after(Self::BEAT, 0);
        }
    }
}

/// `POST /_oneloop/reload`: each open page is loaded again. For programs on this machine.
#[derive(Debug)]
pub(in crate::server) struct ReloadRequest(pub SharedPages);

impl Endpoint for ReloadRequest {
    fn methods(&self) -> &[Method] {
        &[Method::Post]
    }

    fn on_request(&mut self, _: &mut Hub<'_>, request: Request<'_>) -> Answer {
        // An IPv4 client of an IPv6 socket has the address ::ffff:127.0.0.1.
        if !is_on_this_machine(request.peer()) {
            let sentence = "only programs on this machine may reload pages\n";
            return Answer::text(sentence).status(Status::Forbidden);
        }
        self.0.borrow_mut().ask_to_reload();
        Answer::empty(Status::NoContent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_of_a_page_is_ignored() {
        let now = Instant::now();
        let deep = "[".repeat(100_000);
        let long = format!("{{\"hello\":{{\"page\":\"/{}\"}}}}", "a".repeat(8_000));
        for text in [
            "",
            "{",
            "null",
            "[]",
            "{\"hello\":1}",
            "{\"hello\":{}}",
            "{\"hello\":{\"page\":7}}",
            "{\"used\":{}}",
            "{\"used\":null}",
            &deep,
            &long,
        ] {
            assert_eq!(
                parse(text, Some("/"), now),
                None,
                "{}",
                &text[..text.len().min(50)]
            );
        }
        // Before the hello, the page has no name.
        assert_eq!(parse("{\"used\":[]}", None, now), None);
        let used = parse("{\"used\":[\"/a\",1,\"/b\"],\"x\":{}}", Some("/"), now);
        let expected = vec!["/a".into(), "/b".into()];
        assert_eq!(used, Some(Question::Used("/".into(), expected)));
    }

    #[test]
    fn a_hello_may_lack_all_but_the_page() {
        let now = Instant::now();
        let hello = |text: &str| match parse(text, None, now) {
            Some(Question::Hello(hello)) => hello,
            other => panic!("{text}: {other:?}"),
        };
        let told = |text| hello(text).told;
        let new =
            hello("{\"hello\":{\"page\":\"/a\",\"age\":1500,\"instance\":null,\"used\":null}}");
        assert_eq!((&*new.page, new.told, new.used), ("/a", None, vec![]));
        assert_eq!(now - new.asked_at, Duration::from_millis(1_520));
        for age in ["-5", "1e300", "null", "\"x\""] {
            let text = format!("{{\"hello\":{{\"page\":\"/a\",\"age\":{age}}}}}");
            let ago = now - hello(&text).asked_at;
            assert!(ago <= Pages::AGE_GRAIN, "{age}");
        }
        let known = "{\"hello\":{\"page\":\"/\",\"instance\":\"i\",\"generation\":7,\"used\":{\"/a\":\"t\",\"/b\":1}}}";
        assert_eq!(told(known), Some(("i".into(), 7)));
        assert_eq!(hello(known).used, [("/a".into(), "t".into())]);
        assert_eq!(
            told("{\"hello\":{\"page\":\"/\",\"instance\":\"i\"}}"),
            None
        );
    }
}
