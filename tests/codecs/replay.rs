//! Replays the inputs that the fuzzers have kept: inputs that reach every corner, and every input
//! that ever failed.

use std::fs;
use std::path::Path;

use crate::{properties, proxy, websocket};

/// Runs `property` over the corpus of a target, which must not be empty.
fn replay(target: &str, property: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&folder).expect("a corpus") {
        let path = entry.expect("readable").path();
        eprintln!("{}", path.display());
        property(&fs::read(&path).expect("readable"));
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[test]
fn the_corpus_of_heads_holds() {
    replay("head", properties::head);
}

#[test]
fn the_corpus_of_responses_holds() {
    replay("response", properties::response);
}

#[test]
fn the_corpus_of_proxied_messages_holds() {
    replay("proxy", proxy::proxy);
}

#[test]
fn the_corpus_of_chunked_bodies_holds() {
    replay("chunked", properties::chunked);
}

#[test]
fn the_corpus_of_targets_holds() {
    replay("target", properties::target);
}

#[test]
fn the_corpus_of_ranges_holds() {
    replay("range", properties::range);
}

#[test]
fn the_corpus_of_pages_holds() {
    replay("tag-place", properties::tag_place);
}

#[test]
fn the_corpus_of_preconditions_holds() {
    replay("conditional", properties::conditional);
}

#[test]
fn the_corpus_of_codings_holds() {
    replay("negotiation", properties::negotiation);
}

#[test]
fn the_corpus_of_the_guard_holds() {
    replay("guard", properties::guard);
}

#[test]
fn the_corpus_of_connections_holds() {
    replay("connection", properties::connection);
}

#[test]
fn the_corpus_of_frames_holds() {
    replay("frames", websocket::frames);
}

#[test]
fn the_corpus_of_compressed_messages_holds() {
    replay("inflate", websocket::inflate);
}

#[test]
fn the_corpus_of_opening_handshakes_holds() {
    replay("handshake", websocket::handshake);
}
