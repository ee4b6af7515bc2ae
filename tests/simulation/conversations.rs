//! The acts of clients that use WebSocket, as a table like [`scripts`](crate::scripts).

use std::time::Duration;

use crate::clients::{Act, Expected, Script};
use crate::endpoints::Fountain;
use crate::scripts::{cooperative, file, get, pause, repeat, request, status, text, uncooperative};
use crate::talk::deflated;
use crate::weather::{PATIENCE, PAUSE, Rng};

use Act::{
    AwaitClose, AwaitEnd, AwaitPong, Begin, Bye, Close, Expect, Frame, HalfClose, Hear, Listen,
    Mute, Open, Outstay, Pause, Ping, Post, Reset, Rest, Say, Switch, TurnAway,
};

/// A length that is over the limit of every message.
const TOO_MUCH: usize = 13_000;

/// All scripts.
pub fn conversations() -> Vec<Script> {
    let mut scripts = echoes();
    scripts.extend(violations());
    scripts.extend(fountains());
    scripts.extend(handshakes());
    scripts.extend(rooms());
    scripts.extend(hostile());
    scripts
}

/// Clients that receive their own messages.
fn echoes() -> Vec<Script> {
    vec![
        cooperative("talks", talk(false)),
        cooperative("talks and compresses", talk(true)),
        cooperative(
            "talks right behind its handshake, and leaves",
            [
                Open("/echo", true),
                Say(true, 40),
                Say(false, 700),
                Bye(None),
                Switch,
                Hear,
                AwaitClose(None),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "asks for a file first",
            [
                get("/large.bin"),
                get("/small.txt"),
                Open("/echo", true),
                Say(true, 100),
                file("large.bin"),
                file("small.txt"),
                Switch,
                Hear,
                Bye(Some(1000)),
                AwaitClose(Some(1000)),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "says nothing in many ways",
            within(
                "/echo",
                true,
                vec![
                    Expect(true, Vec::new()),
                    frame(0x81, b""),
                    Expect(false, Vec::new()),
                    frame(0x82, b""),
                    frame(0x01, b""),
                    Ping,
                    frame(0x00, b""),
                    Expect(true, Vec::new()),
                    frame(0x80, b""),
                    frame(0x42, b""),
                    Expect(false, Vec::new()),
                    frame(0x80, b"\0"),
                    Expect(true, Vec::new()),
                    frame(0xc1, b"\0"),
                    frame(0x8a, b"nobody has asked"),
                    Hear,
                    AwaitPong,
                    Say(true, 30),
                    Hear,
                ],
            ),
        ),
        cooperative(
            "says one thing in many pieces",
            within(
                "/echo",
                false,
                [
                    vec![Expect(true, vec![b'a'; 42]), frame(0x01, b"a")],
                    repeat(40, [frame(0x00, b"a")]),
                    vec![frame(0x80, b"a"), Hear],
                ]
                .concat(),
            ),
        ),
        cooperative(
            "thinks within frames",
            within(
                "/echo",
                true,
                vec![
                    Begin(true, 300),
                    pause(),
                    Rest,
                    Ping,
                    Begin(false, 2_000),
                    pause(),
                    Rest,
                    Say(true, 1),
                    Begin(true, 5),
                    pause(),
                    Rest,
                    Hear,
                    AwaitPong,
                ],
            ),
        ),
        cooperative(
            "talks and ends its direction",
            [
                Open("/echo", false),
                Say(true, 200),
                Say(false, 3_000),
                HalfClose,
                Switch,
                Hear,
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "ends its direction in the middle of a message",
            [
                Open("/echo", true),
                Switch,
                Say(true, 200),
                frame(0x41, b"\xf2\x48"),
                HalfClose,
                Hear,
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "says much and does not listen until later",
            within(
                "/echo",
                false,
                [
                    vec![TurnAway],
                    repeat(6, [Say(false, 1_500), Say(true, 20), Ping]),
                    vec![pause(), Listen, Hear, AwaitPong],
                ]
                .concat(),
            ),
        ),
        cooperative(
            "says many small things at once",
            within(
                "/echo",
                false,
                [repeat(60, [Say(true, 12)]), vec![Hear]].concat(),
            ),
        ),
        cooperative(
            "asks again and again whether anybody is there",
            within(
                "/echo",
                false,
                [
                    vec![TurnAway, Say(false, 5_900), Say(true, 900)],
                    repeat(30, [Ping]),
                    vec![pause(), Listen, AwaitPong, Say(true, 10), Hear],
                ]
                .concat(),
            ),
        ),
        // The silence is longer than every deadline, but the client answers pings.
        cooperative(
            "is silent for long",
            within(
                "/echo",
                true,
                vec![
                    Say(true, 10),
                    Hear,
                    Pause(4 * PATIENCE),
                    Say(true, 10),
                    Hear,
                ],
            ),
        ),
        cooperative(
            "is silent for long in the middle of a message",
            within(
                "/echo",
                true,
                vec![
                    frame(0x01, "grü".as_bytes()),
                    Pause(3 * PATIENCE),
                    Expect(true, "grüße".into()),
                    frame(0x80, "ße".as_bytes()),
                    Hear,
                ],
            ),
        ),
        cooperative(
            "leaves with a code of its own",
            [
                Open("/echo", false),
                Switch,
                Say(true, 10),
                Bye(Some(4_321)),
                Hear,
                AwaitClose(Some(4_321)),
                AwaitEnd,
                Close,
            ],
        ),
        Script {
            loses: true,
            ..cooperative(
                "is gone without a word",
                [
                    Open("/echo", true),
                    Switch,
                    Say(true, 500),
                    Say(false, 500),
                    Close,
                ],
            )
        },
        Script {
            loses: true,
            ..cooperative(
                "resets in the middle of a message",
                [
                    Open("/echo", true),
                    Say(true, 500),
                    frame(0x41, b"\xf2\x48"),
                    Reset,
                ],
            )
        },
    ]
}

/// Messages before a violation are answered before the close frame.
fn violations() -> Vec<Script> {
    let long = vec![b'a'; TOO_MUCH];
    let bomb = deflated(&long, &mut Rng::new(1));
    assert!(bomb.len() < 500, "it would not be a bomb");
    // A header without a payload.
    let header = |first: u8, length: u64| {
        let mut bytes = vec![first, 0xff];
        bytes.extend(length.to_be_bytes());
        Act::Send(bytes)
    };
    vec![
        broken("sets a reserved bit", false, vec![frame(0xa1, b"a")], 1002),
        broken("compresses unasked", false, vec![frame(0xc1, b"\0")], 1002),
        broken("compresses a ping", true, vec![frame(0xc9, b"\0")], 1002),
        broken(
            "compresses a continuation",
            true,
            vec![frame(0x41, b"\xf2\x48"), frame(0xc0, b"\xcd\xc9\xc9\x07\0")],
            1002,
        ),
        broken(
            "uses a reserved opcode",
            false,
            vec![frame(0x83, b"a")],
            1002,
        ),
        broken("fragments a ping", false, vec![frame(0x09, b"a")], 1002),
        broken(
            "sends a long ping",
            false,
            vec![frame(0x89, &[b'a'; 126])],
            1002,
        ),
        broken(
            "forgets its mask",
            false,
            vec![Act::Send(b"\x81\x01a".into())],
            1002,
        ),
        broken(
            "makes a length too long",
            false,
            vec![Act::Send(b"\x81\xfe\x00\x05keys\0\0\0\0\0".into())],
            1002,
        ),
        broken(
            "makes a length far too long",
            false,
            vec![header(0x82, 0xffff)],
            1002,
        ),
        broken(
            "makes a length negative",
            false,
            vec![header(0x82, 1 << 63)],
            1002,
        ),
        broken("continues nothing", false, vec![frame(0x80, b"a")], 1002),
        broken(
            "begins within a message",
            false,
            vec![frame(0x01, b"a"), Ping, frame(0x82, b"b")],
            1002,
        ),
        broken(
            "closes with half a code",
            false,
            vec![frame(0x88, b"\x03")],
            1002,
        ),
        broken(
            "closes with no code",
            false,
            vec![frame(0x88, b"\x03\xed")],
            1002,
        ),
        broken(
            "closes with noise",
            false,
            vec![frame(0x88, b"\x03\xe8\xff")],
            1007,
        ),
        broken(
            "sends noise as text",
            false,
            vec![frame(0x81, b"caf\xe9!")],
            1007,
        ),
        broken(
            "ends a text within a character",
            false,
            vec![frame(0x01, b"caf"), frame(0x80, b"\xc3")],
            1007,
        ),
        broken(
            "breaks a character between frames",
            true,
            vec![frame(0x01, b"caf\xc3"), Ping, frame(0x80, b"\x29")],
            1007,
        ),
        broken(
            "compresses noise as text",
            true,
            vec![frame(0xc1, &deflated(b"caf\xe9 caf\xe9", &mut Rng::new(1)))],
            1007,
        ),
        broken(
            "compresses half a character",
            true,
            vec![frame(0xc1, &deflated(b"caf\xc3", &mut Rng::new(2)))],
            1007,
        ),
        broken(
            "compresses nothing sensible",
            true,
            vec![frame(0xc2, &[0xff; 40])],
            1007,
        ),
        broken(
            "announces too much",
            false,
            vec![header(0x82, 1 << 40)],
            1009,
        ),
        broken(
            "says too much in pieces",
            false,
            vec![
                frame(0x02, &long[..5_000]),
                frame(0x00, b""),
                Act::Send(vec![0x80, 0xfe, 0x23, 0x28]),
            ],
            1009,
        ),
        broken("compresses too much", true, vec![frame(0xc1, &bomb)], 1009),
        broken(
            "compresses too much in pieces",
            true,
            vec![frame(0x42, &bomb[..10]), Ping, frame(0x80, &bomb[10..])],
            1009,
        ),
    ]
}

/// Clients that receive more than they send.
fn fountains() -> Vec<Script> {
    vec![
        cooperative("is shown the door", fountain("/fountain/0", 0, vec![])),
        cooperative("drinks", fountain("/fountain/300", 300, vec![])),
        cooperative(
            "drinks slowly",
            fountain("/fountain/250", 250, vec![TurnAway, pause(), Listen]),
        ),
    ]
}

/// Openings that are refused, or are no openings.
fn handshakes() -> Vec<Script> {
    let upgrade = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let open = |path: &str, rest: &str| {
        request(&format!("GET {path} HTTP/1.1"), &format!("{upgrade}{rest}"))
    };
    vec![
        cooperative(
            "opens badly, and then well",
            session(
                vec![
                    open("/echo", key),
                    open("/echo", version),
                    open("/echo", &format!("{version}Sec-WebSocket-Key: short\r\n")),
                    open("/small.txt", &format!("{version}{key}")),
                    get("/echo"),
                    status(426),
                    status(400),
                    status(400),
                    file("small.txt"),
                    status(426),
                ],
                "/echo",
                vec![Say(true, 9), Hear],
            ),
        ),
        cooperative(
            "opens with a body",
            [
                open("/echo", &format!("{version}{key}Content-Length: 5\r\n")),
                text(5),
                status(400),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "talks to one that does not listen",
            [
                Open("/bouncer", false),
                Switch,
                Ping,
                Frame(0x81, b"hello".into()),
                text(300),
                AwaitPong,
                AwaitClose(Some(1008)),
                AwaitEnd,
                Close,
            ],
        ),
    ]
}

/// Members of rooms. No member waits for another client, which may never come.
fn rooms() -> Vec<Script> {
    let chat = |times, length| repeat(times, [Say(true, length), Hear, Pause(PAUSE / 9)]);
    vec![
        cooperative("speaks in a room", within("/rooms/a", false, chat(4, 40))),
        cooperative(
            "speaks in a room and compresses",
            within("/rooms/a", true, chat(4, 400)),
        ),
        cooperative(
            "speaks in another room",
            within(
                "/rooms/b",
                true,
                [chat(2, 10), vec![Say(false, 3_000), Hear]].concat(),
            ),
        ),
        cooperative(
            "speaks much at once",
            within(
                "/rooms/a",
                false,
                [repeat(12, [Say(true, 90), Say(false, 30)]), vec![Hear]].concat(),
            ),
        ),
        cooperative(
            "speaks in a room right behind its handshake",
            [
                Open("/rooms/a?last=5", true),
                Say(true, 20),
                Say(false, 200),
                Switch,
                Hear,
                Bye(Some(1000)),
                AwaitClose(Some(1000)),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "comes later and asks what was said",
            within(
                "/rooms/a?last=3",
                true,
                vec![Say(true, 30), Hear, Pause(PATIENCE), Hear],
            ),
        ),
        cooperative(
            "posts and listens",
            [
                vec![Post("b", 30), status(200), Post("b", 900), status(200)],
                vec![Post("b", 50), status(200)],
                within("/rooms/b?last=2", false, vec![Say(true, 30), Hear]),
            ]
            .concat(),
        ),
        cooperative(
            "posts a lot",
            [
                repeat(4, [Post("a", 30), Post("b", 30)]),
                repeat(8, [status(200)]),
                vec![get("/small.txt"), file("small.txt"), Close],
            ]
            .concat(),
        ),
        cooperative(
            "only listens",
            within("/rooms/a?last=100", true, vec![Pause(2 * PATIENCE)]),
        ),
        cooperative(
            "listens now and then",
            within(
                "/rooms/a",
                false,
                [
                    repeat(
                        3,
                        [TurnAway, Say(true, 300), pause(), Listen, Pause(PAUSE / 3)],
                    ),
                    vec![Hear],
                ]
                .concat(),
            ),
        ),
        cooperative(
            "looks up only now and then",
            within(
                "/rooms/a?last=9",
                false,
                [
                    repeat(
                        5,
                        [TurnAway, pause(), Listen, Say(true, 30), Pause(PAUSE / 9)],
                    ),
                    vec![Hear],
                ]
                .concat(),
            ),
        ),
        cooperative(
            "watches",
            within("/rooms/a?presence", false, vec![Pause(2 * PATIENCE)]),
        ),
        cooperative(
            "watches another and speaks to nobody",
            within(
                "/rooms/b?presence",
                true,
                vec![frame(0x81, b"hello?"), Pause(PATIENCE)],
            ),
        ),
        cooperative(
            "speaks and breaks the protocol",
            // The messages before the violation are for the members that stay.
            [
                Open("/rooms/a", false),
                Switch,
                Say(true, 50),
                Hear,
                Say(true, 60),
                frame(0x80, b"a"),
                text(600),
                AwaitClose(Some(1002)),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "speaks and ends its direction",
            [
                Open("/rooms/b", false),
                Switch,
                Say(true, 50),
                HalfClose,
                AwaitEnd,
                Close,
            ],
        ),
        Script {
            loses: true,
            ..cooperative(
                "is gone from a room without a word",
                [
                    Open("/rooms/a", true),
                    Switch,
                    Say(true, 500),
                    Say(true, 50),
                    Close,
                ],
            )
        },
        Script {
            loses: true,
            ..cooperative(
                "resets in a room",
                [Open("/rooms/b?last=1", true), Say(true, 500), Reset],
            )
        },
    ]
}

/// A day in a room, to be played in calm weather: each client comes two [`PATIENCE`]s after the
/// client before.
pub fn day_in_a_room() -> Vec<Script> {
    let hears = |words: &str| Act::Answer(Expected::Content(words.into()));
    let stays = |seconds| Pause(seconds * PATIENCE);
    vec![
        cooperative(
            "watches",
            within("/rooms/a?presence", true, vec![stays(22)]),
        ),
        cooperative(
            "speaks first",
            within(
                "/rooms/a",
                true,
                [repeat(2, [Say(true, 90)]), vec![Hear, stays(12)]].concat(),
            ),
        ),
        cooperative(
            "posts",
            [Post("a", 30), hears("1 member hears it\n"), Close],
        ),
        cooperative(
            "comes later",
            within(
                "/rooms/a?last=2",
                false,
                vec![Say(false, 9), Hear, stays(6)],
            ),
        ),
        cooperative(
            "posts again",
            [Post("a", 200), hears("2 members hear it\n"), Close],
        ),
        cooperative(
            "speaks in another room",
            within("/rooms/b?last=9", true, vec![Say(true, 5), Hear, stays(8)]),
        ),
        cooperative(
            "speaks to others and is gone at once",
            [
                vec![Open("/rooms/b", true), Say(true, 80), Say(false, 8)],
                vec![
                    Bye(Some(1000)),
                    Switch,
                    AwaitClose(Some(1000)),
                    AwaitEnd,
                    Close,
                ],
            ]
            .concat(),
        ),
        cooperative(
            "speaks to others, and is gone behind its last words",
            within(
                "/rooms/b",
                false,
                vec![Say(true, 80), Hear, pause(), Say(false, 8)],
            ),
        ),
        cooperative(
            "speaks to others and is gone without a word",
            [Open("/rooms/b", false), Say(true, 80), Close],
        ),
        cooperative(
            "comes when all are gone",
            within("/rooms/a?last=3", true, vec![stays(1)]),
        ),
    ]
}

/// A client that sends `count` messages in a room, and a member that does not read meanwhile, with
/// a session that ends with this code.
pub fn deaf_member(count: usize, code: u16) -> [Script; 2] {
    let say = repeat(count, [Say(false, 300), Hear]);
    let meanwhile = vec![Switch, TurnAway, Pause(5 * PATIENCE), Listen];
    let deaf = [
        vec![Open("/rooms/a", false)],
        meanwhile,
        vec![Bye(Some(code)), AwaitClose(Some(code)), AwaitEnd, Close],
    ];
    [
        cooperative("does not listen", deaf.concat()),
        cooperative("speaks meanwhile", within("/rooms/a", false, say)),
    ]
}

/// A client that sends `count` messages at once, and receives them.
pub fn burst(count: usize) -> Script {
    let say = repeat(count, [Say(false, 300)]);
    let acts = within("/rooms/a", false, [say, vec![Hear]].concat());
    cooperative("speaks at once", acts)
}

/// One of several clients that come together, send `count` messages at once, and receive the
/// messages of every member.
pub fn one_of_many(count: usize) -> Script {
    let wait = [Pause(PATIENCE)];
    let say = repeat(count, [Say(false, 300)]);
    let acts = [&wait[..], &say, &[Hear], &wait].concat();
    cooperative("speaks with others", within("/rooms/a", false, acts))
}

/// A client that queues no effects.
pub fn aside() -> Script {
    let acts = vec![Say(false, 300), Ping, Hear, AwaitPong];
    cooperative("speaks to an echo", within("/echo", false, acts))
}

/// A client that keeps its slot without a word.
pub fn lodger() -> Script {
    uncooperative("stays", within("/echo", false, vec![Pause(3 * PATIENCE)]))
}

/// A client that stops in the middle of a message of this length, and leaves later.
pub fn half_a_message(length: usize) -> Script {
    let acts = [
        Open("/echo", false),
        Switch,
        Begin(false, length),
        Pause(2 * PATIENCE),
        Reset,
    ];
    uncooperative("stops in the middle of a message", acts)
}

/// A client that thinks in the middle of a message of this length, and then finishes the message.
pub fn hesitant(length: usize) -> Script {
    let acts = vec![Begin(false, length), Pause(4 * PAUSE), Rest, Hear];
    cooperative("thinks within a message", within("/echo", false, acts))
}

/// Clients that stop reading for longer than the time to answer a ping: the first reads again
/// later, the second never.
pub fn turned_away() -> [Script; 2] {
    let speak = |acts: Vec<Act>| {
        let said = repeat(4, [Say(false, 3_000), Ping]);
        [vec![TurnAway], said, vec![Pause(6 * PATIENCE)], acts].concat()
    };
    let listens = within("/echo", false, speak(vec![Listen, Hear, AwaitPong]));
    let never = speak(vec![Outstay, Close]);
    let never = [vec![Open("/echo", false)], never].concat();
    [
        cooperative("turns away for long", listens),
        uncooperative("turns away for ever", never),
    ]
}

/// Clients that the server has to end on its own.
fn hostile() -> Vec<Script> {
    vec![
        uncooperative(
            "answers no pings",
            [
                Open("/echo", false),
                Switch,
                Say(true, 30),
                Hear,
                Mute,
                AwaitClose(Some(1011)),
                AwaitEnd,
                Close,
            ],
        ),
        uncooperative(
            "answers no pings in a room",
            [
                Open("/rooms/a", true),
                Switch,
                Mute,
                AwaitClose(Some(1011)),
                AwaitEnd,
                Close,
            ],
        ),
        Script {
            loses: true,
            ..uncooperative(
                "never listens to its echo",
                [
                    vec![Open("/echo", true), TurnAway],
                    repeat(20, [Say(false, 3_000), Ping]),
                    vec![Outstay, Close],
                ]
                .concat(),
            )
        },
        Script {
            loses: true,
            ..uncooperative(
                "never listens in a room",
                [
                    vec![Open("/rooms/a?last=64", false), TurnAway],
                    repeat(10, [Say(true, 1_000)]),
                    vec![Outstay, Close],
                ]
                .concat(),
            )
        },
        uncooperative(
            "stays when it was closed",
            [
                Open("/echo", false),
                Switch,
                Bye(Some(1001)),
                AwaitClose(Some(1001)),
                Outstay,
                Close,
            ],
        ),
        uncooperative(
            "goes on when it has broken the protocol",
            [
                vec![Open("/echo", false), Switch, frame(0x80, b"")],
                vec![AwaitClose(Some(1002))],
                repeat(20, [text(1), Pause(Duration::from_millis(300))]),
                vec![Outstay, Close],
            ]
            .concat(),
        ),
    ]
}

// ── Short forms ────────────────────────────────────────────────────────────────────────────────

fn frame(first: u8, payload: &[u8]) -> Act {
    Frame(first, payload.into())
}

/// Opens a session, performs `acts`, and leaves with a closing handshake.
fn within(target: &'static str, offers: bool, acts: Vec<Act>) -> Vec<Act> {
    [
        vec![Open(target, offers), Switch],
        acts,
        vec![Bye(Some(1000)), AwaitClose(Some(1000)), AwaitEnd, Close],
    ]
    .concat()
}

/// Performs `before`, and then a whole session.
fn session(before: Vec<Act>, target: &'static str, acts: Vec<Act>) -> Vec<Act> {
    [before, within(target, true, acts)].concat()
}

fn talk(offers: bool) -> Vec<Act> {
    within(
        "/echo",
        offers,
        vec![
            Say(true, 10),
            Hear,
            Say(false, 125),
            Say(true, 126),
            Say(true, 1_500),
            Ping,
            Hear,
            pause(),
            Say(false, 6_000),
            Say(true, 6_000),
            AwaitPong,
            Hear,
        ],
    )
}

/// Sends two messages, breaks the protocol, and continues as if nothing had happened.
fn broken(name: &'static str, offers: bool, how: Vec<Act>, code: u16) -> Script {
    let target = match offers {
        true => "/echo",
        false => "/echo?deflate=off",
    };
    let acts = [
        vec![Open(target, offers)],
        vec![Say(true, 40), Say(false, 600)],
        how,
        vec![
            text(600),
            Switch,
            Hear,
            AwaitClose(Some(code)),
            AwaitEnd,
            Close,
        ],
    ];
    cooperative(name, acts.concat())
}

fn fountain(target: &'static str, drops: usize, acts: Vec<Act>) -> Vec<Act> {
    let drops = Fountain::drops(drops).map(|drop| Expect(false, drop));
    [
        vec![Open(target, true)],
        drops.collect(),
        acts,
        vec![Switch, Hear, AwaitClose(Some(4_000)), AwaitEnd, Close],
    ]
    .concat()
}
