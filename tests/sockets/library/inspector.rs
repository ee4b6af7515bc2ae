//! The inspector on the library, with short times.

use std::time::Duration;

use oneloop::config::Inspect;
use serde_json::json;

use super::Program;
use crate::inspector::Watcher;

#[test]
fn no_program_has_an_inspector_that_does_not_want_one() {
    let program = Program::with(|_| {}, |bound| bound);
    assert_eq!(program.connect().get("/_oneloop/status.json").status, 404);
}

/// The idle time passes several times over, if it were not for the pause.
#[test]
fn a_pause_makes_nobody_late() {
    let program = Program::with(
        |config| {
            config.inspect = Inspect::Control;
            config.limits.idle_time = Duration::from_millis(400);
        },
        |bound| bound,
    );
    let mut watcher = Watcher::of(program.address());
    watcher.control("pause");
    let first = watcher.await_pace("paused");
    let mut client = program.connect();
    client.send("GET /file HTT");
    let mut idle = program.connect();
    let late = |at: f64| at + 2_000.0;
    let at = |snapshot: &serde_json::Value| snapshot["at_ms"].as_f64().expect("a time");
    watcher.await_snapshot("a later time", |snapshot| at(snapshot) > late(at(&first)));
    watcher.say(&json!({ "control": "run" }));
    client.send("P/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(idle.get("/file").status, 200);
}
