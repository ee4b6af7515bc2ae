//! Pages with live reload, each in two clients: one loads the page and what it uses, the other holds the
//! connection to `/_oneloop/live`. Together they do what a browser does with the script of the server:
//! say hello, late at times, tell what is used, come again with tokens, and obey.
//!
//! What a page has of each URL is compared with the disk in the end, long after the last writer.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use memchr::memmem;
use serde_json::{Value, json};

use crate::clients::{Answer, Client};
use crate::disk::{Disk, Shown, URLS};
use crate::talk::Talk;
use crate::weather::{PAUSE, Rng};
use crate::wire::Wire;

/// The script that the server is told to add to pages.
pub const SCRIPT: &str = "/_oneloop/live-0.js";
const TAG: &str = "<script src=\"/_oneloop/live-0.js\"></script>";

/// How long the pages stay after the last writer: longer than any quiet time, two looks at files that are
/// not watched, and the wait before another connection.
const QUIET: Duration = Duration::from_secs(12);

/// How long the script of the server collects what a page uses.
const REPORT: Duration = Duration::from_millis(250);

/// What a page uses, and what leads to it.
const USES: [(&str, &[(usize, usize)]); 3] = [
    ("/live/", &[(2, 0), (4, 0), (5, 2), (6, 0)]),
    ("/live/about", &[(2, 1), (5, 2)]),
    ("/live/dist/", &[(4, 3)]),
];

/// What one of the two clients of a page does.
#[derive(Clone, Debug)]
pub struct Part {
    tab: Rc<RefCell<Tab>>,
    is_listener: bool,
}

#[derive(Clone, Copy, Debug)]
struct Load {
    url: &'static str,
    from: Option<&'static str>,
    /// The number of the document that asks.
    document: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Line {
    Closed,
    Switching,
    Open,
}

/// A page in a browser.
#[derive(Debug)]
pub struct Tab {
    rng: Rng,
    url: &'static str,
    /// The number of documents that were loaded, the present one included.
    document: u32,
    asked_at: Option<Instant>,
    queue: VecDeque<Load>,
    /// The request on its way, and the moment of its URL when it was sent.
    pending: Option<(Load, usize)>,
    /// The request on its way is of a page that is gone.
    aborts: bool,
    /// What the page shows.
    pub has: BTreeMap<&'static str, Shown>,
    used: BTreeSet<String>,
    line: Line,
    /// When the page connects next.
    connects_at: Option<Instant>,
    /// The connection is of a page that is gone.
    drops: bool,
    failures: u32,
    report_at: Option<Instant>,
    is_greeted: bool,
    instance: Value,
    generation: Value,
    tokens: Value,
    /// The URLs that were named with each generation, and when.
    pub pushes: BTreeMap<u64, (Instant, BTreeSet<String>)>,
    /// What differs from the disk at the end; `None` if the page was not complete or not connected.
    pub differences: Option<Vec<String>>,
    has_left: bool,
}

impl Part {
    /// The two clients of a page that is opened at a time.
    pub fn pair(mut rng: Rng) -> [Part; 2] {
        let url = USES[rng.below(USES.len())].0;
        let mut tab = Tab {
            rng,
            url,
            document: 0,
            asked_at: None,
            queue: VecDeque::new(),
            pending: None,
            aborts: false,
            has: BTreeMap::new(),
            used: BTreeSet::new(),
            line: Line::Closed,
            connects_at: None,
            drops: false,
            failures: 0,
            report_at: None,
            is_greeted: false,
            instance: Value::Null,
            generation: Value::Null,
            tokens: Value::Null,
            pushes: BTreeMap::new(),
            differences: None,
            has_left: false,
        };
        tab.load();
        let tab = Rc::new(RefCell::new(tab));
        [false, true].map(|is_listener| Part {
            tab: Rc::clone(&tab),
            is_listener,
        })
    }

    /// The page, once: of its two clients, the one that listens knows it.
    pub fn tab(&self) -> Option<&Rc<RefCell<Tab>>> {
        self.is_listener.then_some(&self.tab)
    }

    /// Whether the client connects now. A page that is to be closed is closed instead.
    pub fn wants_connection(&self, client: &mut Client, disk: &Disk, now: Instant) -> bool {
        let mut tab = self.tab.borrow_mut();
        if tab.is_to_leave(disk, now) {
            tab.leave(disk);
            client.is_done = true;
            return false;
        }
        match self.is_listener {
            true => tab.connects_at.is_some_and(|at| at <= now),
            false => !tab.queue.is_empty(),
        }
    }

    /// When the client has something to do without anything else happening.
    pub fn wakes_at(&self, client: &Client, disk: &Disk, now: Instant) -> Option<Instant> {
        let tab = self.tab.borrow();
        let own = match self.is_listener {
            true => [tab.connects_at, tab.report_at],
            false => [Some(client.not_before), None],
        };
        let leaves = disk.rested.map(|at| at + QUIET);
        let times = own.into_iter().chain([leaves, Some(client.not_before)]);
        times.flatten().filter(|at| *at > now).min()
    }

    /// Does what can be done now. Returns whether anything was done.
    pub fn act(&self, client: &mut Client, wire: &mut Wire, disk: &Disk, now: Instant) -> bool {
        let tab = &mut *self.tab.borrow_mut();
        if tab.is_to_leave(disk, now) {
            tab.leave(disk);
            client.is_done = true;
            wire.client_close(now);
            return true;
        }
        if client.is_fed_up() {
            client.resets_after = None;
            wire.client_reset(now);
            self.lose(tab, client, now);
            return true;
        }
        match self.is_listener {
            true => self.listen(tab, client, wire, now),
            false => self.load(tab, client, wire, disk, now),
        }
    }

    /// The connection is gone.
    fn lose(&self, tab: &mut Tab, client: &mut Client, now: Instant) {
        client.received.clear();
        (client.seen, client.frames_from, client.wire) = (0, None, None);
        client.talk = Talk::new(client.number);
        if self.is_listener {
            tab.failures += 1;
            (tab.line, tab.is_greeted) = (Line::Closed, false);
            let wait = Duration::from_millis((125 << tab.failures.min(6)).min(5_000));
            tab.connects_at = Some(now + wait);
            return;
        }
        if let Some((load, _)) = tab.pending.take() {
            client.not_before = now + PAUSE / 2;
            if load.document == tab.document {
                tab.queue.push_front(load);
            }
        }
        tab.aborts = false;
    }

    // ── Loading ────────────────────────────────────────────────────────────────────────────────

    fn load(
        &self,
        tab: &mut Tab,
        client: &mut Client,
        wire: &mut Wire,
        disk: &Disk,
        now: Instant,
    ) -> bool {
        if tab.aborts {
            wire.client_close(now);
            self.lose(tab, client, now);
            return true;
        }
        if let Some((load, moment)) = tab.pending {
            if let Some(answer) = Answer::parse(&client.received[client.seen..], false) {
                let (status, body, len) = (answer.status, answer.body.into_owned(), answer.len);
                if !matches!(status, 200 | 404) {
                    // The server has no time, or no slot.
                    wire.client_close(now);
                    self.lose(tab, client, now);
                    return true;
                }
                client.seen += len;
                tab.pending = None;
                tab.take(load, moment, status, &body, disk, now);
                return true;
            }
        } else if let Some(load) = tab.queue.pop_front() {
            if wire.is_over() {
                tab.queue.push_front(load);
                self.lose(tab, client, now);
                return true;
            }
            tab.pending = Some((load, disk.history[load.url].len() - 1));
            wire.client_send(tab.request(load, now).as_bytes());
            return true;
        }
        let is_idle = tab.pending.is_none();
        if wire.is_over() || (is_idle && tab.rng.chance(20)) {
            wire.client_close(now);
            self.lose(tab, client, now);
            return true;
        }
        false
    }

    // ── Listening ──────────────────────────────────────────────────────────────────────────────

    fn listen(&self, tab: &mut Tab, client: &mut Client, wire: &mut Wire, now: Instant) -> bool {
        if tab.drops {
            wire.client_close(now);
            let connects_at = tab.connects_at;
            self.lose(tab, client, now);
            (tab.drops, tab.connects_at, tab.failures) = (false, connects_at, 0);
            return true;
        }
        match tab.line {
            Line::Closed => {
                let offers = tab.rng.chance(50);
                wire.client_send(&client.talk.open("/_oneloop/live", offers));
                (tab.line, tab.connects_at) = (Line::Switching, None);
                return true;
            }
            Line::Switching => {
                let unseen = &client.received[client.seen..];
                if let Some(answer) = Answer::parse(unseen, false)
                    && answer.status == 101
                {
                    let head = str::from_utf8(&unseen[..answer.len]).expect("heads are ASCII");
                    client.talk.switched(head);
                    client.seen += answer.len;
                    client.frames_from = Some(client.seen);
                    client.hear(wire);
                    let hello = tab.hello(now);
                    wire.client_send(&client.talk.tell(&hello.to_string()));
                    (tab.line, tab.report_at) = (Line::Open, Some(now + REPORT));
                    return true;
                }
            }
            Line::Open => {
                if !client.talk.heard.is_empty() {
                    for message in client.talk.heard.drain(..) {
                        let message = serde_json::from_slice(&message.bytes);
                        tab.obey(&message.expect("it is JSON"), now);
                    }
                    return true;
                }
                if tab.report_at.is_some_and(|at| at <= now) {
                    tab.report_at = None;
                    let used: Vec<&String> = tab.used.iter().collect();
                    let used = json!({ "used": used }).to_string();
                    wire.client_send(&client.talk.tell(&used));
                    return true;
                }
            }
        }
        if wire.is_over() || client.talk.close.is_some() {
            wire.client_close(now);
            self.lose(tab, client, now);
            return true;
        }
        false
    }
}

impl Tab {
    fn is_to_leave(&self, disk: &Disk, now: Instant) -> bool {
        self.has_left || disk.rested.is_some_and(|at| at + QUIET <= now)
    }

    fn leave(&mut self, disk: &Disk) {
        if std::mem::replace(&mut self.has_left, true) {
            return;
        }
        let is_complete = self.pending.is_none() && self.queue.is_empty() && self.is_greeted;
        let differs = |(url, shown): (&&'static str, &Shown)| {
            let now = disk.shown(url);
            (now != *shown).then(|| format!("{} has of {url}: {shown:?}, now {now:?}", self.url))
        };
        self.differences = is_complete.then(|| self.has.iter().filter_map(differs).collect());
    }

    /// Loads the page, the first time or anew.
    fn load(&mut self) {
        self.document += 1;
        self.aborts = self.pending.is_some();
        self.drops = self.line != Line::Closed;
        (self.asked_at, self.connects_at, self.report_at) = (None, None, None);
        (self.instance, self.generation, self.tokens) = (Value::Null, Value::Null, Value::Null);
        self.is_greeted = false;
        self.has.clear();
        self.used = [self.url.to_owned()].into();
        self.queue.clear();
        self.ask(self.url, None);
    }

    fn ask(&mut self, url: &'static str, from: Option<&'static str>) {
        let document = self.document;
        self.queue.push_back(Load {
            url,
            from,
            document,
        });
    }

    fn request(&mut self, load: Load, now: Instant) -> String {
        let url = load.url;
        let fields = match load.from {
            None => {
                self.asked_at.get_or_insert(now);
                "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n"
                    .into()
            }
            Some(from) => format!("Sec-Fetch-Mode: no-cors\r\nReferer: http://x{from}\r\n"),
        };
        format!("GET {url} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
    }

    /// Takes an answer. Of a page, what is not the tag is the file.
    fn take(
        &mut self,
        load: Load,
        moment: usize,
        status: u16,
        body: &[u8],
        disk: &Disk,
        now: Instant,
    ) {
        let (mut body, is_page) = (body.to_vec(), load.from.is_none());
        let tags: Vec<usize> = memmem::find_iter(&body, TAG).collect();
        assert_eq!(
            tags.len(),
            usize::from(is_page),
            "a wrong number of tags: {} {}",
            load.url,
            body.escape_ascii()
        );
        tags.iter()
            .for_each(|at| drop(body.drain(*at..*at + TAG.len())));
        let is_file = body.is_empty() || body.starts_with(b"file ") || b"file ".starts_with(&body);
        let shown = match status {
            200 if is_file => Shown::Content(String::from_utf8(body).expect("it is text")),
            200 => Shown::List,
            _ => Shown::Status(status),
        };
        if matches!(shown, Shown::Content(_)) {
            let history = &disk.history[load.url][moment..];
            assert!(
                history.contains(&shown),
                "a stale answer: {} is {shown:?}, and was {history:?}",
                load.url
            );
        }
        if load.document != self.document {
            return;
        }
        self.has.insert(load.url, shown);
        self.used.insert(load.url.to_owned());
        if self.line == Line::Open {
            self.report_at.get_or_insert(now + REPORT);
        }
        if is_page {
            let (_, uses) = USES
                .iter()
                .find(|(url, _)| *url == self.url)
                .expect("a page");
            for (url, from) in *uses {
                self.ask(URLS[*url].0, Some(URLS[*from].0));
            }
            // The script runs at once, or the browser is slow.
            let late = *self.rng.pick(&[1, 1, 300, 3_000]);
            let late = self.rng.time(Duration::ZERO, Duration::from_millis(late));
            self.connects_at = Some(now + late);
        }
    }

    fn hello(&self, now: Instant) -> Value {
        let age = now - self.asked_at.expect("it was loaded");
        json!({ "hello": {
            "page": self.url,
            "age": age.as_millis() as u64,
            "instance": self.instance,
            "generation": self.generation,
            "used": self.tokens,
        }})
    }

    fn obey(&mut self, message: &Value, now: Instant) {
        self.failures = 0;
        let is_greeting = message.get("instance").is_some();
        self.is_greeted |= is_greeting;
        for (name, kept) in [
            ("instance", &mut self.instance),
            ("generation", &mut self.generation),
            ("tokens", &mut self.tokens),
        ] {
            if let Some(value) = message.get(name) {
                *kept = value.clone();
            }
        }
        let reloads = message.get("reload").is_some();
        assert!(is_greeting || !reloads, "nobody has asked for a reload");
        let mut todo = BTreeSet::new();
        let changes = message.get("changes").and_then(Value::as_array);
        for change in changes.into_iter().flatten() {
            let url = change["url"].as_str().expect("a URL");
            if !is_greeting {
                let generation = self.generation.as_u64().expect("a number");
                let named = self.pushes.entry(generation);
                let (_, named) = named.or_insert((now, BTreeSet::new()));
                named.insert(url.to_owned());
            }
            let from = change.get("from").and_then(Value::as_array);
            let from = from.into_iter().flatten().filter_map(Value::as_str);
            let mut leading = from.chain([url]);
            let is_any = change.get("any").is_some();
            if is_any || leading.any(|path| self.used.contains(path)) {
                todo.insert(url.to_owned());
            }
        }
        if !reloads && todo.is_empty() {
            return;
        }
        let is_swapped = |url: &String| url.ends_with(".css") && self.has.contains_key(&**url);
        if reloads || !todo.iter().all(is_swapped) || self.rng.chance(20) {
            return self.load();
        }
        let (_, uses) = USES
            .iter()
            .find(|(url, _)| *url == self.url)
            .expect("a page");
        for (url, from) in *uses {
            if todo.contains(URLS[*url].0) {
                self.ask(URLS[*url].0, Some(URLS[*from].0));
            }
        }
    }
}
