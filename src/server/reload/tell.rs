//! Floor 4, server: the messages to the pages. A finished survey becomes a message to all pages, and the
//! questions of single pages are answered.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Next, Phase, Reload};
use crate::connection::{Key, Message};
use crate::server::endpoints::{Hello, Question};
use crate::server::{Driver, Server, Shown};
use crate::site::{Files, LiveChange};
use crate::transport::Transport;

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// Decides after a survey, or after the first look at new uses.
    pub(super) fn conclude(&mut self, reload: &mut Reload) {
        let now = self.turn.now.instant;
        let was_survey = reload.phase == Phase::Surveying;
        reload.phase = Phase::Resting;
        let outcome = self.shared.site.survey_outcome();
        if reload.is_polling && was_survey {
            reload.poll_at = Some(now + Reload::POLL);
            let mut found = Vec::new();
            for url in outcome.changes.iter().map(|change| &change.url) {
                let token = self.shared.site.token(url, false);
                found.push((url.to_string(), token));
            }
            found.extend(outcome.missing.iter().map(|url| (url.to_string(), None)));
            let is_same = reload.polled == found;
            reload.polled = found;
            // Perhaps they are being written.
            if !is_same && !reload.polled.is_empty() {
                return;
            }
        }
        let changed_at = reload.quiet.last().unwrap_or(now);
        let is_missing = !outcome.missing.is_empty() || !outcome.is_certain;
        // The first look at new uses comes in the middle of a burst, perhaps, or between two polls of which
        // the second is to confirm the changes that the first has found.
        let is_unsettled = reload.quiet.last().is_some() || !reload.polled.is_empty();
        match was_survey {
            true if reload.quiet.looked(is_missing, now) == Next::LookAgain => return,
            false if is_unsettled => return,
            _ => {}
        }
        let mut pages = Vec::new();
        pages.extend(reload.pages.borrow().paths().map(Box::<str>::from));
        let is_open = |url: &&String| pages.iter().any(|page| **page == ***url);
        let awaited = outcome.missing.iter().find(is_open);
        if let Some(url) = awaited {
            self.set_waiting(reload, Some(url));
            return;
        }
        self.set_waiting(reload, None);
        let is_all = std::mem::take(&mut reload.is_all);
        let mut changes = outcome.changes;
        changes.retain(|change| !reload.ignored.has_url(&change.url));
        let wall = self.turn.now.wall;
        self.shared.site.settle(changed_at, now, wall);
        reload.polled.clear();
        if is_all {
            return self.tell_all_to_reload(reload, "something has changed");
        }
        if changes.is_empty() {
            return;
        }
        reload.generation += 1;
        let message = match as_json(&changes) {
            Some(changes) => json!({ "generation": reload.generation, "changes": changes }),
            None => json!({ "generation": reload.generation, "reload": true }),
        };
        self.tell_all(reload, &message);
        let is_concerned = |page: &str| {
            changes.iter().any(|change| {
                change.any || change.url == page || change.from.iter().any(|from| from == page)
            })
        };
        let concerned = pages.iter().filter(|page| is_concerned(page)).count();
        self.say_reloaded(concerned, &listed(&changes));
    }

    /// Tells each page to load itself again.
    pub(super) fn tell_all_to_reload(&mut self, reload: &mut Reload, why: &str) {
        reload.generation += 1;
        let message = json!({ "generation": reload.generation, "reload": true });
        self.tell_all(reload, &message);
        let pages = reload.pages.borrow().paths().count();
        self.say_reloaded(pages, why);
    }

    /// Tells the pages that the document of one is missing, or no longer so.
    fn set_waiting(&mut self, reload: &mut Reload, missing: Option<&str>) {
        if std::mem::replace(&mut reload.is_waiting, missing.is_some()) == missing.is_some() {
            return;
        }
        self.tell_all(reload, &json!({ "waiting": missing.is_some() }));
        if let (Some(url), Some(log)) = (missing, &mut self.log) {
            log.notice(&format!("waiting for {}: it is missing\n", shown(url)));
        }
    }

    fn tell_all(&mut self, reload: &Reload, message: &Value) {
        let keys = reload.pages.borrow().keys();
        if !keys.is_empty() {
            let mut hub = self.shared.hub(&self.turn, &self.tally.counters);
            hub.send_each(keys, Message::Text(&message.to_string()));
        }
    }

    fn tell(&mut self, key: Key, message: &Value) {
        let mut hub = self.shared.hub(&self.turn, &self.tally.counters);
        hub.send(key, Message::Text(&message.to_string()));
    }

    fn say_reloaded(&mut self, pages: usize, what: &str) {
        if let Some(log) = self.log.as_mut().filter(|_| pages > 0) {
            let s = if pages == 1 { "" } else { "s" };
            log.notice(&format!("reloaded {pages} page{s}: {what}\n"));
        }
    }

    /// Answers the questions of pages, while no survey is under way.
    pub(super) fn answer_pages(&mut self, reload: &mut Reload) {
        while reload.phase == Phase::Resting
            && self.work.is_left()
            && !self.shared.effects.is_full(&self.turn.limits)
        {
            // The files that a page uses are looked at first: the tokens must be those of the present files.
            let question = reload.question.take();
            let Some((key, question, noted)) = question.or_else(|| {
                let (key, question) = reload.pages.borrow_mut().next_question()?;
                Some((key, question, 0))
            }) else {
                return;
            };
            let noted = self.note_uses(&question, noted);
            if noted < question.used() || self.shared.site.is_surveying() {
                reload.question = Some((key, question, noted));
                return;
            }
            let answer = match question {
                Question::Hello(hello) => {
                    reload.expected.remove(&hello.page);
                    self.greet(reload, &hello)
                }
                Question::Used(page, urls) => json!({ "tokens": self.tokens(&page, &urls) }),
            };
            self.tell(key, &answer);
        }
    }

    /// Notes the URLs that a page says to use, from the given number on, as far as the turn has time.
    /// Returns how many are noted now. The page may have been loaded before the server was started.
    fn note_uses(&mut self, question: &Question, from: usize) -> usize {
        let wall = self.turn.now.wall;
        let mut noted = from;
        while noted < question.used() && self.work.is_left() {
            let (page, url) = match question {
                Question::Used(page, used) => (page, &used[noted]),
                Question::Hello(hello) => (&hello.page, &hello.used[noted].0),
            };
            let work = self.shared.site.note_use_of(page, url, wall);
            self.work.spend(work.max(1));
            noted += 1;
        }
        noted
    }

    fn tokens(&mut self, page: &str, urls: &[Box<str>]) -> Map<String, Value> {
        let mut tokens = Map::new();
        for url in urls {
            self.work.spend(1);
            if let Some(token) = self.shared.site.token(url, **url == *page) {
                tokens.insert(url.to_string(), token.into());
            }
        }
        tokens
    }

    /// The answer to the first message of a page.
    fn greet(&mut self, reload: &Reload, hello: &Hello) -> Value {
        let is_told = |(instance, generation): &(Box<str>, u64)| {
            (&**instance, *generation) == (&*reload.instance, reload.generation)
        };
        let (changes, reloads) = match &hello.told {
            None => {
                let changes = self.shared.site.changed_since(hello.asked_at);
                self.work.spend(Reload::SURVEY_WORK);
                (changes, false)
            }
            Some(told) if is_told(told) => (Vec::new(), false),
            Some(_) if hello.used.is_empty() => (Vec::new(), true),
            Some(_) => (self.compared(reload, hello), false),
        };
        self.work.spend(changes.len() as u32);
        let changes = as_json(&changes);
        let mut answer = json!({
            "instance": &*reload.instance,
            "generation": reload.generation,
            "waiting": reload.is_waiting,
        });
        if reloads || changes.is_none() {
            answer["reload"] = true.into();
        }
        answer["changes"] = changes.unwrap_or_default().into();
        answer
    }

    /// The URLs that a page uses and whose tokens are others now.
    fn compared(&mut self, reload: &Reload, hello: &Hello) -> Vec<LiveChange> {
        let mut changes = Vec::new();
        for (url, token) in &hello.used {
            self.work.spend(1);
            let now = self.shared.site.token(url, url == &hello.page);
            if now.as_deref() != Some(&**token) && !reload.ignored.has_url(url) {
                changes.push(LiveChange {
                    url: url.to_string(),
                    from: vec![hello.page.to_string()],
                    any: false,
                });
            }
        }
        changes
    }
}

/// The changes for a message; `None` if there are so many that each page is to be loaded again.
fn as_json(changes: &[LiveChange]) -> Option<Vec<Value>> {
    const BYTES_MAX: usize = 1 << 19;
    let bytes = |change: &LiveChange| {
        let from: usize = change.from.iter().map(String::len).sum();
        change.url.len() + from
    };
    let one = |change: &LiveChange| match change.any {
        true => json!({ "url": &*change.url, "any": true }),
        false => json!({ "url": &*change.url, "from": change.from }),
    };
    let bytes: usize = changes.iter().map(bytes).sum();
    (bytes <= BYTES_MAX).then(|| changes.iter().map(one).collect())
}

/// The first of the changed URL paths, and how many more there are.
fn listed(changes: &[LiveChange]) -> String {
    const NAMED: usize = 3;
    let mut text = String::new();
    for (at, change) in changes.iter().take(NAMED).enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        let url = change.url.strip_prefix('/').filter(|url| !url.is_empty());
        let _ = write!(text, "{comma}{}", shown(url.unwrap_or(&change.url)));
    }
    if changes.len() > NAMED {
        let _ = write!(text, " and {} more", changes.len() - NAMED);
    }
    text
}

fn shown(url: &str) -> Shown<'_> {
    Shown(Path::new(url))
}
