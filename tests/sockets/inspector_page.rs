//! The page of the inspector in a browser, while the server has work: on a desk and on a phone, live, frozen,
//! and with the controls.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use serde_json::json;

use crate::chromium::{Chromium, Scheme};
use crate::harness::{Folder, Server};
use crate::pages::check_look;

/// Asks for a small file again and again, on two connections, while `test` runs.
fn under_load(server: &Server, test: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            let mut client = server.connect();
            let over = &over;
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    assert_eq!(client.get("/small").status, 200);
                }
            });
        }
        // Also ends the clients if the test fails.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        let _end = End(&over);
        test();
    });
}

fn site() -> Folder {
    let folder = Folder::with("small", "hello");
    folder.put_big_hole("big");
    folder
}

/// The cell of a connection that waits for its peer to read.
const SLOW: &str = "[...document.querySelectorAll('#grid [role=option]')].find((c) => c.getAttribute('aria-label')?.includes('slow reader'))";

/// The text of an element.
fn text(chromium: &Chromium, selector: &str) -> String {
    let text = chromium.value(&format!(
        "document.querySelector({}).textContent",
        json!(selector)
    ));
    text.as_str().expect("a text").to_owned()
}

#[test]
fn the_loop_can_be_watched_and_gone_through_turn_by_turn() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let folder = site();
    let server = Server::of(folder.path());
    let mut slow = server.connect();
    slow.request("/big");
    slow.head();
    under_load(&server, || {
        for (width, scheme) in [
            (1280, Scheme::Light),
            (390, Scheme::Dark),
            (390, Scheme::Forced),
        ] {
            chromium.show(width, scheme);
            chromium.open(&server.url("/_oneloop/"));
            chromium.until("document.querySelector('#state').dataset.is === 'live'");
            chromium.until(&format!("{SLOW} !== undefined"));
            check_look(&chromium, scheme, "h2, .fine, #state, #util-says");
            // A link to a part of the page leads below the header, at each width.
            let link = "document.querySelector('.top a[href=\"#help\"]')";
            assert_ne!(chromium.value(&format!("{link}.offsetHeight")), json!(0));
            chromium.value(&format!("{link}.click()"));
            chromium.until(
                "(([help, top]) => top > 0 && help >= top && help < top + 40)(['#help', '.top'].map((part, i) => document.querySelector(part).getBoundingClientRect()[i ? 'bottom' : 'top']))",
            );
        }
        chromium.show(1280, Scheme::Light);
        // The connection is picked with the keyboard, and drawn as a pipe.
        chromium.value(&format!("{SLOW}.click()"));
        chromium.until("document.querySelector('#k-why').textContent.includes('slow reader')");
        chromium.until("location.hash.includes('slot=')");
        assert!(text(&chromium, "#k-bytes").contains("outbox"));

        chromium.value("document.querySelector('#freeze').focus()");
        chromium.press("Enter");
        chromium.until("/\\d/.test(document.querySelector('#r-turn').textContent)");
        let turn = || -> u64 {
            let digits = text(&chromium, "#r-turn").replace(|c: char| !c.is_ascii_digit(), "");
            digits.parse().expect("the number of a turn")
        };
        let last = turn();
        chromium.value("document.querySelector('#r-back').click()");
        chromium.until(&format!(
            "+document.querySelector('#r-turn').textContent.replace(/\\D/g, '') < {last}"
        ));
        assert!(!text(&chromium, "#r-list").is_empty());
        // Meanwhile the server goes on, and the page knows.
        let before = server_turns(&server);
        assert!(server_turns(&server) > before);
        chromium.until("location.hash.includes('turn=')");
        let before = turn();
        chromium.value("document.querySelector('#r-next').click()");
        chromium.until(&format!(
            "+document.querySelector('#r-turn').textContent.replace(/\\D/g, '') > {before}"
        ));
        chromium.value("document.querySelector('#freeze').click()");
        chromium.until("document.querySelector('#replay').hidden");
        chromium.until("document.querySelector('#state').dataset.is === 'live'");
        let is_hidden = chromium.value("document.querySelector('#control').hidden");
        assert_eq!(is_hidden, json!(true), "no controls without the flag");
    });
    assert_eq!(chromium.complaints(), Vec::<String>::new());
}

/// The number of turns so far.
fn server_turns(server: &Server) -> u64 {
    let status = server.connect().get("/_oneloop/status.json");
    let status: serde_json::Value = serde_json::from_slice(&status.body).expect("JSON");
    status["loop"]["turns"].as_u64().expect("a number")
}

#[test]
fn the_loop_can_be_stopped_stepped_and_blocked_from_the_page() {
    let Some(chromium) = Chromium::start() else {
        return;
    };
    let folder = site();
    let server = Server::with(folder.path(), &["--inspect=control"]);
    let mut client = server.connect();
    assert_eq!(client.get("/small").status, 200);
    chromium.show(1280, Scheme::Light);
    chromium.open(&server.url("/_oneloop/"));
    chromium.until("!document.querySelector('#control').hidden");
    let press = |what: &str| {
        let button = format!("document.querySelector('[data-control={what}]').click()");
        chromium.value(&button);
    };
    press("pause");
    chromium.until("document.querySelector('#state').dataset.is === 'paused'");
    // The request is held back, and a cell says so. A step lets it through.
    client.request("/small");
    let cells = "[...document.querySelectorAll('#grid [role=option]')].map((c) => c.getAttribute('aria-label'))";
    chromium.until(&format!(
        "{cells}.some((label) => label?.includes('held back'))"
    ));
    press("step");
    assert_eq!(client.answer().status, 200);
    chromium.until("document.querySelector('#control-said').textContent.includes('answered 200')");
    press("slow");
    chromium.until("document.querySelector('#state').dataset.is === 'slow'");
    press("run");
    chromium.until("document.querySelector('#state').dataset.is === 'live'");
    assert_eq!(client.get("/small").status, 200);
    press("block");
    chromium.until("document.querySelector('#control-said').textContent.includes('took 2')");
    assert_eq!(client.get("/small").status, 200);
    assert_eq!(chromium.complaints(), Vec::<String>::new());
}
