//! The report on the loop: at the end, and by SIGUSR1 while the server goes on.

use rustix::process::Signal;

use crate::harness::{Folder, Server, eventually};

/// The lines of the report on standard error, up to the last.
fn report(server: &mut Server) -> Vec<String> {
    let mut lines = vec![server.stderr.find("the loop after ")];
    while !lines
        .last()
        .is_some_and(|line| line.starts_with("  non-2xx"))
    {
        lines.push(server.stderr.next().expect("another line of the report"));
    }
    lines
}

/// The line of a report that begins with this word.
fn line<'a>(report: &'a [String], word: &str) -> &'a str {
    let mut lines = report.iter().map(|line| line.trim_start());
    lines.find(|line| line.starts_with(word)).expect("a line")
}

#[test]
fn sigusr1_reports_and_the_server_goes_on() {
    let folder = Folder::with("a", "hello");
    let mut server = Server::of(folder.path());
    let mut client = server.connect();
    assert_eq!(client.get("/a").status, 200);
    assert_eq!(client.get("/missing").status, 404);
    let broken = server.connect();
    broken.reset();
    server.signal(Signal::USR1);
    let lines = report(&mut server);
    assert!(line(&lines, "requests").contains(" 2 on "), "{lines:?}");
    assert!(
        line(&lines, "answers").ends_with("1 with 2xx, 1 with 4xx"),
        "{lines:?}"
    );
    assert!(line(&lines, "service time").contains("p50"), "{lines:?}");
    assert_eq!(client.get("/a").status, 200);
    // A reset is told apart from other ends.
    eventually("the reset is reported", || {
        server.signal(Signal::USR1);
        line(&report(&mut server), "closed").contains("1 reset by the peer")
    });
}

#[test]
fn a_report_is_written_at_the_end_when_it_is_wanted() {
    let folder = Folder::with("a", "hello");
    for (flags, expected) in [(&["--report"][..], true), (&[], false)] {
        let mut server = Server::with(folder.path(), flags);
        assert_eq!(server.connect().get("/a").status, 200);
        server.signal(Signal::INT);
        assert_eq!(server.process.code(), Some(0));
        let text = server.stderr.rest();
        assert_eq!(
            text.contains("\"Socket errors\" of wrk"),
            expected,
            "{text}"
        );
        assert!(
            text.trim_end()
                .lines()
                .last()
                .is_some_and(|l| l.starts_with("stopped: ")),
            "{text}"
        );
    }
}

/// As many answers are counted as cut off as a client has seen, and no other ends among them.
#[test]
fn the_report_counts_what_wrk_calls_read_errors() {
    let folder = Folder::with("a", "hello");
    let mut server = Server::with(folder.path(), &["--test-endpoints"]);
    for target in [
        "/_oneloop/test/reset",
        "/_oneloop/test/truncate/5",
        "/_oneloop/test/reset",
    ] {
        let mut client = server.connect();
        client.request(target);
        while client.receive().is_ok_and(|n| n > 0) {}
    }
    // An answer with `Connection: close`, and a refusal, are whole.
    let mut last = server.connect();
    assert_eq!(last.ask("/a", &["Connection: close"]).status, 200);
    last.assert_end();
    let mut refused = server.connect();
    refused.send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n");
    assert_eq!(refused.answer().status, 400);
    refused.assert_end();
    eventually("all ends are counted", || {
        server.signal(Signal::USR1);
        let lines = report(&mut server);
        let closed = line(&lines, "closed");
        closed.contains("3 closed by an endpoint") && closed.contains("1 refused")
    });
    server.signal(Signal::USR1);
    let lines = report(&mut server);
    let read = line(&lines, "read ");
    assert!(
        read.ends_with("cut off: 3 closed by an endpoint"),
        "{lines:?}"
    );
    assert!(
        line(&lines, "and at most").ends_with(": 1 refused"),
        "{lines:?}"
    );
}
