//! Floor 2, site: a disk with writers. They act between the steps of the site, in every way in which
//! editors and builds write. A model of the server watches the directories that the site offers, and asks
//! for a survey only after an event there that concerns a use.
//!
//! What must hold, once the writers rest:
//!
//! - no edit is missed: what the page has is what is there, or the survey says that it has changed;
//! - nothing else is said: what has changed is another answer than one that the page had.
//!
//! The seed of a run that failed is in the message.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::page::{NAVIGATION, Page};
use super::tree::Tree;
use crate::config::Limits;
use crate::http::Form;
use crate::site::{Body, BodySlice, Files, Site};

const SEEDS: u64 = 100;

/// Random numbers: xorshift64*.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

/// One system call of a writer.
#[derive(Debug)]
enum Step {
    Put(String, Vec<u8>),
    Overwrite(String, Vec<u8>),
    MakeDirectory(String),
    Remove(String),
    Rename(String, String),
}

const URLS: [&str; 8] = [
    "/",
    "/about",
    "/app.css",
    "/dist/",
    "/dist/app.js",
    "/dist/deep/one.css",
    "/dist/deep/later.css",
    "/docs/",
];

const FILES: [&str; 6] = [
    "index.html",
    "about.html",
    "app.css",
    "dist/index.html",
    "dist/app.js",
    "dist/deep/one.css",
];

/// The content of a file in one of few versions: often the same as before.
fn content(path: &str, rng: &mut Rng) -> Vec<u8> {
    let version = rng.below(3);
    format!("{path}, version {version}\n")
        .repeat(5)
        .into_bytes()
}

/// A writer at work, in system calls.
fn writer(rng: &mut Rng) -> Vec<Step> {
    let path = FILES[rng.below(6) as usize].to_owned();
    let new = content(&path, rng);
    match rng.below(9) {
        0 | 1 => {
            let temporary = format!("{path}.tmp{}", rng.below(3));
            let put = Step::Put(temporary.clone(), new);
            vec![put, Step::Rename(temporary, path)]
        }
        2 => vec![Step::Overwrite(path, new)],
        3 => {
            let half = new[..new.len() / 2].to_vec();
            let steps = [Vec::new(), half, new];
            let overwrite = |content| Step::Overwrite(path.clone(), content);
            steps.into_iter().map(overwrite).collect()
        }
        4 => {
            // An editor that moves the old file away first.
            let backup = format!("{path}~");
            vec![Step::Rename(path.clone(), backup), Step::Put(path, new)]
        }
        5 => build("dist", rng),
        6 => {
            let mut steps = build("dist.new", rng);
            steps.push(Step::Rename("dist".into(), "dist.old".into()));
            steps.push(Step::Rename("dist.new".into(), "dist".into()));
            steps.push(Step::Remove("dist.old".into()));
            steps
        }
        7 => vec![Step::Put("dist/deep/later.css".into(), new)],
        _ => {
            let log = content("server.log", rng);
            vec![
                Step::Overwrite("server.log".into(), log),
                Step::Put(".index.html.swp".into(), new),
                Step::Remove("404.html".into()),
                Step::Put("docs/new.txt".into(), Vec::new()),
            ]
        }
    }
}

/// A build that makes a directory anew, with the index first or last.
fn build(directory: &str, rng: &mut Rng) -> Vec<Step> {
    let mut steps = vec![
        Step::Remove(directory.to_owned()),
        Step::MakeDirectory(directory.to_owned()),
    ];
    let mut files = vec!["app.js", "deep/one.css"];
    let at = if rng.below(2) == 0 { 0 } else { files.len() };
    files.insert(at, "index.html");
    for name in files {
        if name == "deep/one.css" {
            steps.push(Step::MakeDirectory(format!("{directory}/deep")));
        }
        let new = content(&format!("dist/{name}"), rng);
        let path = format!("{directory}/{name}");
        // A file is made first, and then written to.
        steps.push(Step::Put(path.clone(), Vec::new()));
        steps.push(Step::Overwrite(path, new));
    }
    steps
}

fn act(tree: &Tree, step: Step) {
    let parent = |path: &str| {
        path.rsplit_once('/')
            .map_or("", |(parent, _)| parent)
            .to_owned()
    };
    let has_place = |path: &str| tree.directory(&parent(path)).is_some();
    match step {
        Step::Put(path, content) if has_place(&path) => tree.put(&path, Some(&content)),
        Step::Overwrite(path, content) if has_place(&path) => tree.overwrite(&path, &content),
        Step::MakeDirectory(path) if has_place(&path) => tree.put(&path, None),
        Step::Remove(path) if tree.stat(path.as_bytes()).is_ok() => tree.remove(&path),
        Step::Rename(from, to) if tree.stat(from.as_bytes()).is_ok() => tree.rename(&from, &to),
        _ => {}
    }
}

/// The server and an open page.
struct Run {
    page: Page,
    rng: Rng,
    /// The directories that are watched, by number, with their paths.
    watched: BTreeMap<u64, String>,
    is_dirty: bool,
    /// Whether files are read a slice at a time, as large ones are.
    has_large_files: bool,
    /// What the page has of each URL path, and what it had since it was last told.
    has: BTreeMap<&'static str, Vec<Vec<u8>>>,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut page = Page::new(&[("dist/", ""), ("dist/deep/", ""), ("docs/", "")]);
        let has_large_files = rng.below(2) == 0;
        let mut limits = Limits::default();
        if has_large_files {
            limits.cached_file_bytes_max = 10;
        }
        page.site = Site::new(page.tree.clone(), b"index.html", &limits).with_uses();
        page.site.set_open_pages(true);
        for path in FILES {
            let content = content(path, &mut rng);
            page.tree.put(path, Some(&content));
        }
        Run {
            page,
            rng,
            watched: BTreeMap::new(),
            is_dirty: false,
            has_large_files,
            has: BTreeMap::new(),
        }
    }

    /// What the site answers to a browser, noted or not.
    fn answer(&mut self, url: &str, is_noted: bool) -> Vec<u8> {
        let fields = match (url.ends_with(['s', 'g']), is_noted) {
            (_, false) => "",
            (true, true) => "Sec-Fetch-Mode: no-cors\r\nReferer: http://here/\r\n",
            (false, true) => NAVIGATION,
        };
        let now = self.page.tree.now();
        let page = &mut self.page;
        let reply = page.request(url, fields, |site, request, now| site.answer(request, now));
        let site = &mut page.site;
        if reply.status.code() >= 400 {
            return reply.status.code().to_string().into_bytes();
        }
        if reply.form != Form::Text {
            let mut names = Vec::new();
            let path = url.trim_matches('/').as_bytes();
            let open = site.files.open_directory(path).expect("it was listed");
            let listed = |name: &[u8]| !name.starts_with(b".");
            let read = site.files.read_names(&open, &mut |name| {
                if listed(name) {
                    names.push(name.to_vec());
                }
            });
            assert!(read.expect("it can be read"));
            names.sort();
            return names.concat();
        }
        let mut body = Vec::new();
        match reply.body {
            Body::Bytes(bytes) => body.extend_from_slice(&bytes),
            Body::Stream(mut stream) => {
                while !stream.is_at_end() {
                    match site.next_slice(&mut stream, 1 << 20, &mut body, now).0 {
                        BodySlice::File { file, at, len } => {
                            body.resize(len as usize, 0);
                            let read = site.files.read_at(&file, &mut body, at);
                            assert_eq!(read, Ok(len as usize));
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            other => panic!("{other:?}"),
        }
        body
    }

    /// The page is loaded, with all that it uses.
    fn load(&mut self) {
        for url in URLS {
            let content = self.answer(url, true);
            self.has.entry(url).or_default().push(content);
        }
    }

    /// Takes the events, as far as a watched directory tells of them.
    fn listen(&mut self) {
        let events = self.page.tree.events.take();
        for (directory, name) in events {
            if let Some(path) = self.watched.get(&directory) {
                let concerns = self.page.site.concerns(path.as_bytes(), name.as_bytes());
                self.is_dirty |= concerns.0;
            }
        }
    }

    /// Watches what the site offers.
    fn watch(&mut self) {
        for path in self.page.site.take_directories() {
            let path = String::from_utf8(path.into()).expect("text");
            if let Some(number) = self.page.tree.directory(&path) {
                self.watched.insert(number, path);
            }
        }
    }

    /// A step of the server.
    fn step(&mut self) {
        self.listen();
        self.watch();
        if self.page.site.is_surveying() {
            let work = 1 + self.rng.below(60) as u32;
            self.page.site.survey(self.page.tree.now(), work);
        } else if self.is_dirty && self.rng.below(4) == 0 {
            self.is_dirty = false;
            self.page.site.begin_survey();
        }
    }

    /// The writers have rested, and so has the server: what is the page told?
    fn judge(&mut self) {
        self.page.tree.pass(5_000);
        for _ in 0..3 {
            loop {
                self.step();
                if !self.is_dirty && !self.page.site.is_surveying() {
                    break;
                }
            }
        }
        let outcome = self.page.site.survey_outcome();
        assert!(outcome.is_certain);
        let changes = super::urls(&outcome.changes);
        self.page.settle(Instant::now());
        for url in URLS {
            let now = self.answer(url, false);
            let had = self.has.get_mut(url).expect("it was loaded");
            let is_told = changes.iter().any(|change| change == url);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            if had.last() != Some(&now) {
                let last = had.last().map(|last| text(last));
                assert!(is_told, "{url}: {last:?} is {:?} now", text(&now));
            }
            if is_told {
                let has_changed = had.iter().any(|had| *had != now);
                let had: Vec<_> = had.iter().map(|had| text(had)).collect();
                assert!(has_changed, "{url} has not changed: {had:?}");
            }
            *had = vec![now];
        }
    }
}

#[test]
fn no_edit_is_missed_and_none_is_made_up() {
    for seed in 0..SEEDS {
        let run = std::panic::catch_unwind(|| play(seed));
        assert!(run.is_ok(), "seed {seed}");
    }
}

fn play(seed: u64) {
    let mut run = Run::new(seed);
    run.page.tree.pass(5_000);
    run.load();
    if run.has_large_files {
        // Until the first look, a large file is known by its stat alone.
        run.judge();
    }
    for _ in 0..4 {
        let mut steps = VecDeque::new();
        for _ in 0..=run.rng.below(3) {
            steps.extend(writer(&mut run.rng));
        }
        while let Some(step) = steps.pop_front() {
            let pause = run.rng.below(3) * run.rng.below(30);
            run.page.tree.pass(pause);
            act(&run.page.tree, step);
            for _ in 0..run.rng.below(4) {
                run.step();
            }
            if run.rng.below(12) == 0 {
                run.load();
            }
        }
        run.judge();
    }
}
