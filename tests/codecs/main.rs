//! The codecs against independent parsers and against themselves: an accepted input means the same
//! to an independent parser, and no cut changes the result. The inputs are random, from proptest,
//! which shrinks a failing input.

mod body;
mod conditional;
mod deflate;
mod frames;
mod guard;
mod head;
mod negotiation;
mod opening;
mod pages;
#[path = "../fuzz/properties.rs"]
mod properties;
mod proxied;
#[path = "../fuzz/proxy.rs"]
mod proxy;
mod range;
mod replay;
mod response;
#[path = "../fuzz/websocket.rs"]
mod websocket;

use oneloop::http::{HeadLimits, HeadParser, Parsed, RequestHead};
use proptest::sample::Index;

/// Calls `ask` with a request that has these field lines.
fn with_request<T>(method: &str, fields: &str, ask: impl Fn(&RequestHead<'_>) -> T) -> T {
    let text = format!("{method} / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    let limits = HeadLimits {
        head_bytes_max: 4096,
        target_bytes_max: 100,
        fields_max: 20,
    };
    let mut parser = HeadParser::default();
    let Ok(Parsed::Complete(head)) = parser.parse(text.as_bytes(), &limits) else {
        panic!("no request: {text}");
    };
    ask(&RequestHead::new(head, text.as_bytes()))
}

/// Places in a sequence of this length, in order.
fn sorted(places: &[Index], length: usize) -> Vec<usize> {
    let mut places: Vec<_> = places.iter().map(|at| at.index(length + 1)).collect();
    places.sort_unstable();
    places
}
