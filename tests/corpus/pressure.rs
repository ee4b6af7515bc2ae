//! Cases that a file of requests cannot express: the speed at which a client reads its answer, and
//! a shortage of memory.

use std::time::Duration;

use oneloop::config::Limits;

use crate::world::{Action, HUGE, play, play_with};

/// Requests a file that is larger than the send buffer, takes `bytes` of the answer in every 29 s
/// for six minutes, and checks whether the client is cut off.
fn check(bytes: usize, is_cut_off: bool) {
    let request = b"GET /huge.txt HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut actions = vec![Action::Send(request.to_vec())];
    for _ in 0..12 {
        actions.extend([Action::Wait(Duration::from_secs(29)), Action::Take(bytes)]);
    }
    let seen = play_with(&actions, &Limits::default(), 300_000, false);
    let is_whole = seen.received.len() > HUGE.len();
    assert_eq!(!is_whole, is_cut_off, "{bytes} bytes in 29 s");
}

/// The kernel's buffer is full, and the peer takes 17 KB of it in every 29 s. The kernel calls the
/// socket writable only when a third of the buffer is free: no event comes in 30 s.
#[test]
fn a_reader_is_not_cut_off_because_the_kernel_does_not_tell_of_it() {
    check(17_000, false);
}

#[test]
fn a_reader_that_takes_less_than_16_kib_in_30_s_is_cut_off() {
    check(1_000, true);
    check(0, true);
}

/// Memory for a small head. A read buffer is released when a head is taken from it, but a head is
/// kept until the end of its body.
#[test]
fn a_large_head_that_is_kept_for_the_end_of_its_body_weighs_as_memory() {
    let limits = Limits {
        head_bytes_max: 40_000,
        memory_bytes_max: 20_000,
        ..Limits::default()
    };
    for (bytes, is_refused) in [(15_000, false), (25_000, true)] {
        let head = format!(
            "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX: {}\r\n\r\n",
            "x".repeat(bytes)
        );
        let seen = play(&[Action::Send(head.into_bytes())], &limits);
        let refused = seen.received.starts_with(b"HTTP/1.1 503 ");
        assert_eq!((refused, seen.is_closed), (is_refused, is_refused));
    }
}
