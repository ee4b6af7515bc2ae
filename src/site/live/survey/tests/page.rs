//! Floor 2, site: a site that browsers use, for the tests of the survey.

use std::time::{Instant, SystemTime};

use super::tree::Tree;
use crate::config::Limits;
use crate::http::{HeadLimits, HeadParser, Parsed, RequestHead, Status};
use crate::site::Site;
use crate::site::live::survey::Change;

/// A site that browsers use, with the work of each turn.
pub struct Page {
    pub site: Site<Tree>,
    pub tree: Tree,
    pub work: u32,
}

pub const NAVIGATION: &str = "Accept: text/html\r\nSec-Fetch-Dest: document\r\n\
    Sec-Fetch-Mode: navigate\r\n";

impl Page {
    pub fn new(files: &[(&str, &str)]) -> Page {
        Page::with(files, |site| site)
    }

    pub fn with(files: &[(&str, &str)], set_up: impl FnOnce(Site<Tree>) -> Site<Tree>) -> Page {
        let tree = Tree::default();
        tree.put("", None);
        for (path, content) in files {
            match path.strip_suffix('/') {
                Some(path) => tree.put(path, None),
                None => tree.put(path, Some(content.as_bytes())),
            }
        }
        tree.pass(10_000);
        let site = Site::new(tree.clone(), b"index.html", &Limits::default()).with_uses();
        let mut site = set_up(site);
        site.set_open_pages(true);
        Page {
            site,
            tree,
            work: 10_000,
        }
    }

    pub fn ask(&mut self, path: &str, fields: &str) -> Status {
        self.request(path, fields, |site, request, now| {
            site.answer(request, now).status
        })
    }

    pub fn request<T>(
        &mut self,
        path: &str,
        fields: &str,
        act: impl FnOnce(&mut Site<Tree>, &RequestHead<'_>, SystemTime) -> T,
    ) -> T {
        let method = if path.starts_with('/') { "GET " } else { "" };
        let text = format!("{method}{path} HTTP/1.1\r\nHost: here\r\n{fields}\r\n");
        let limits = HeadLimits {
            head_bytes_max: 60_000,
            target_bytes_max: 60_000,
            fields_max: 20,
        };
        let mut parser = HeadParser::default();
        let head = match parser.parse(text.as_bytes(), &limits) {
            Ok(Parsed::Complete(head)) => head,
            other => panic!("{text}: {other:?}"),
        };
        self.site.begin_epoch();
        let request = RequestHead::new(head, text.as_bytes());
        act(&mut self.site, &request, self.tree.now())
    }

    /// A browser shows a page.
    pub fn open(&mut self, path: &str) -> Status {
        self.ask(path, NAVIGATION)
    }

    /// A browser loads a part of a page.
    pub fn load(&mut self, path: &str, from: &str) -> Status {
        let fields = format!(
            "Accept: */*\r\nSec-Fetch-Dest: style\r\nSec-Fetch-Mode: no-cors\r\n\
            Accept-Encoding: gzip, deflate, br\r\nReferer: http://here{from}?query\r\n"
        );
        self.ask(path, &fields)
    }

    /// Does the work that waits, and returns the number of turns.
    pub fn rest(&mut self) -> u32 {
        let mut turns = 0;
        while self.site.is_surveying() {
            let now = self.tree.now();
            let work = self.site.survey(now, self.work);
            assert!(work <= self.work + 100, "{work} in one turn");
            turns += 1;
            assert!(turns < 10_000, "it comes to no end");
        }
        turns
    }

    /// The URL paths that have changed, after a survey.
    pub fn survey(&mut self) -> Vec<String> {
        self.rest();
        self.tree.pass(100);
        self.site.begin_survey();
        self.rest();
        let outcome = self.site.survey_outcome();
        assert!(outcome.is_certain);
        urls(&outcome.changes)
    }

    /// Tells the pages of what was found. `at` is when the last event of a change came.
    pub fn settle(&mut self, at: Instant) {
        let wall = self.tree.now();
        self.site.settle(at, at, wall);
    }

    pub fn missing(&self) -> Vec<String> {
        self.site.survey_outcome().missing
    }
}

pub fn urls(changes: &[Change]) -> Vec<String> {
    changes.iter().map(|change| change.url.clone()).collect()
}

pub const SITE: &[(&str, &str)] = &[
    ("index.html", "<p>index"),
    ("about.html", "<p>about"),
    ("app.css", "p { color: red }"),
    ("docs/", ""),
    ("docs/index.html", "<p>docs"),
    ("docs/logo.svg", "<svg/>"),
];
