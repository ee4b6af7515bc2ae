//! Floor 3, connection: the sentences about connections that wait, tried.

use super::*;

#[test]
fn each_reason_is_a_sentence_with_its_numbers() {
    let begin = Instant::now();
    let ms = |ms| begin + Duration::from_millis(ms);
    let limit = |most| TimeLimit::new(begin, Duration::from_secs(most));
    let (received, queued) = (5_000, 183_000);
    for (wait, sentence, anchor) in [
        (
            Wait::FirstRequest(limit(30)),
            "opened ahead of need: 0 bytes in 4.0 s",
            "preconnect",
        ),
        (Wait::NextRequest(limit(30)), "idle 4.0 of 30 s", "idle"),
        (
            Wait::Handshake(limit(30)),
            "TLS handshake under way: 4.0 of 30 s",
            "handshake",
        ),
        (
            Wait::Head {
                received: 61,
                limit: limit(10),
            },
            "partial head: 61 B, 4.0 of 10 s",
            "partial-head",
        ),
        (
            Wait::Body {
                received,
                length: Some(9_000),
                limit: limit(30),
            },
            "receiving a body: 5.0 kB of 9.0 kB, under 16.4 kB in 4.0 of 30 s",
            "body",
        ),
        (
            Wait::Body {
                received,
                length: None,
                limit: limit(30),
            },
            "receiving a body: 5.0 kB, under 16.4 kB in 4.0 of 30 s",
            "body",
        ),
        (
            Wait::Uptake { taken: received },
            "an endpoint has taken 5.0 kB of a body, and pauses",
            "endpoint",
        ),
        (
            Wait::Answer {
                since: ms(2_800),
                ended: None,
            },
            "an endpoint has the request for 1.2 s",
            "endpoint",
        ),
        (
            Wait::Answer {
                since: begin,
                ended: Some(TimeLimit::new(ms(1_000), Duration::from_secs(30))),
            },
            "an endpoint has the request for 4.0 s; the peer has ended its direction, 3.0 of 30 s",
            "endpoint",
        ),
        (
            Wait::Piece {
                queued,
                since: ms(3_900),
            },
            "streaming: 183.0 kB so far, no piece from the endpoint for 0.1 s",
            "streaming",
        ),
        (
            Wait::Output {
                queued,
                unacknowledged: None,
                limit: limit(30),
            },
            "slow reader: 183.0 kB wait, the socket took under 16.4 kB in 4.0 of 30 s",
            "slow-reader",
        ),
        (
            Wait::Frame {
                partial: 0,
                limit: limit(20),
                is_pinged: false,
            },
            "WebSocket: silent for 4.0 s, a ping in 16.0 s",
            "websocket-idle",
        ),
        (
            Wait::Frame {
                partial: 3,
                limit: limit(20),
                is_pinged: true,
            },
            "WebSocket: 3 B of a message, no answer to a ping for 4.0 of 20 s",
            "websocket-idle",
        ),
        (
            Wait::Fin(TimeLimit::new(ms(2_000), Duration::from_millis(2_500))),
            "ending: the FIN was sent, waiting for the peer's, 2.0 of 2.5 s",
            "lingering",
        ),
        (
            Wait::Room,
            "throttled: the queue of effects is full",
            "throttled",
        ),
        (
            Wait::Gate,
            "held back: the loop is paused or slowed down",
            "queued",
        ),
        (
            Wait::Turn { is_heavy: true },
            "queued: served after others, when a turn has time left",
            "queued",
        ),
    ] {
        let why = Why {
            wait,
            now: ms(4_000),
        };
        assert_eq!(why.to_string(), sentence);
        assert_eq!(why.anchor(), anchor, "{sentence}");
    }
}

#[test]
fn the_kernel_adds_to_the_sentence_of_a_slow_reader_alone() {
    let now = Instant::now();
    let limit = TimeLimit::new(now, Duration::from_secs(30));
    let with = |wait| Why { wait, now }.with_unacknowledged(41_000).to_string();
    let reader = Wait::Output {
        queued: 183_000,
        unacknowledged: None,
        limit,
    };
    assert_eq!(
        with(reader),
        "slow reader: 183.0 kB wait, 41.0 kB unacknowledged, the socket took under 16.4 kB in 0.0 of 30 s"
    );
    assert_eq!(with(Wait::NextRequest(limit)), "idle 0.0 of 30 s");
}
