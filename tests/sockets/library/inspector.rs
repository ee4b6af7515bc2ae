//! The inspector on the library, with short times.

use std::time::Duration;

use oneloop::config::Inspect;
use serde_json::Value;

use super::Program;
use crate::inspector::Watcher;

#[test]
fn no_program_has_an_inspector_that_does_not_want_one() {
    let program = Program::with(|_| {}, |bound| bound);
    assert_eq!(program.connect().get("/_oneloop/status.json").status, 404);
}

/// The idle time and the time for a head pass, if it were not for the pause.
#[test]
fn a_pause_makes_nobody_late() {
    let time = Duration::from_secs(3);
    let program = Program::with(
        move |config| {
            config.inspect = Inspect::Control;
            (config.limits.idle_time, config.limits.head_time) = (time, time);
        },
        |bound| bound,
    );
    let mut watcher = Watcher::of(program.address());
    let [mut idle, mut late] = [(); 2].map(|()| program.connect());
    for client in [&mut idle, &mut late] {
        assert_eq!(client.get("/file").status, 200);
    }
    late.send("GET /file HTT");
    watcher.control("pause");
    let at = |snapshot: &Value| snapshot["at_ms"].as_f64().expect("a time");
    let until = at(&watcher.await_pace("paused")) + 1_000.0 * (time.as_secs_f64() + 1.0);
    watcher.await_snapshot("a later time", |snapshot| at(snapshot) > until);
    watcher.control("run");
    late.send("P/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(late.answer().status, 200);
    assert_eq!(idle.get("/file").status, 200);
}
