//! The acts of the simulation's clients, as a table. To simulate a feature of the server, add a
//! row: every property is then checked for the row, in every weather.

use std::time::Duration;

use crate::clients::{Act, Expected, Script};
use crate::conversations::conversations;
use crate::endpoints::Oracle;
use crate::files::{FLAKY, MOVIE, NEWS, NOTES, PROGRAM};
use crate::weather::{PATIENCE, PAUSE};

use Act::{
    Answer, Ask, AwaitEnd, Close, HalfClose, Listen, Outstay, Pause, Reset, Send, Sip, TurnAway,
    Witness,
};

/// All scripts.
pub fn scripts() -> Vec<Script> {
    let mut scripts = polite();
    scripts.extend(uploading());
    scripts.extend(refused());
    scripts.extend(watching());
    scripts.extend(hostile());
    scripts.extend(conversations());
    scripts
}

/// What a client of a [page](crate::pages) follows instead, once it has no page any more.
pub fn page() -> Script {
    Script {
        name: "belongs to a page",
        acts: vec![Close],
        is_cooperative: false,
        loses: true,
    }
}

/// Clients that ask for existing files, and keep to the protocol.
fn polite() -> Vec<Script> {
    vec![
        cooperative(
            "asks an endpoint in every way",
            [
                get("/oracle/9"),
                told(9),
                get("/oracle/20?late"),
                told(20),
                get("/oracle/900?flow"),
                told(900),
                get("/oracle/5?drip"),
                told(5),
                get("/oracle/300?counted"),
                told(300),
                get("/small.txt"),
                file("small.txt"),
                Close,
            ],
        ),
        cooperative(
            "is refused by endpoints",
            [
                request(
                    "GET /fountain/none HTTP/1.1",
                    "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                ),
                status(400),
                request(
                    "POST /oracle/9?refuse HTTP/1.1",
                    "Host: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n",
                ),
                status(403),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "asks the test endpoints",
            [
                get("/_oneloop/test/status/418"),
                status(418),
                request(
                    "PUT /_oneloop/test/echo HTTP/1.1",
                    "Host: x\r\nContent-Length: 700\r\n",
                ),
                text(700),
                echoed(700),
                get("/_oneloop/test/head"),
                Answer(Expected::Content(
                    b"GET /_oneloop/test/head HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
                )),
                get("/_oneloop/test/status/200?_status=503"),
                status(503),
                Close,
            ],
        ),
        Script {
            // A stream of events is broken off at a stop.
            loses: true,
            ..cooperative(
                "listens to events",
                [
                    get("/_oneloop/test/sse?every=100ms&n=2"),
                    Answer(Expected::Content(
                        b":\n\nid:0\ndata:0\n\nid:1\ndata:1\n\n".to_vec(),
                    )),
                    Close,
                ],
            )
        },
        cooperative(
            "asks an endpoint without waiting",
            [
                get("/oracle/3?drip"),
                get("/oracle/4"),
                get("/oracle/60?flow"),
                get("/small.txt"),
                get("/oracle/5?late"),
                told(3),
                told(4),
                told(60),
                file("small.txt"),
                told(5),
                Close,
            ],
        ),
        cooperative(
            "reads what flows with pauses",
            [
                get("/oracle/2000?flow"),
                TurnAway,
                pause(),
                Listen,
                told(2000),
                Close,
            ],
        ),
        Script {
            // So much memory is freed if memory is short.
            loses: true,
            ..cooperative(
                "asks an endpoint for much, compressed",
                [
                    request("GET /oracle/3000 HTTP/1.1", &format!("Host: x\r\n{GZIP}")),
                    request(
                        "GET /oracle/3000?late HTTP/1.1",
                        &format!("Host: x\r\n{GZIP}"),
                    ),
                    get("/small.txt"),
                    Answer(Expected::DecodedContent(Oracle::says(3000))),
                    Answer(Expected::DecodedContent(Oracle::says(3000))),
                    file("small.txt"),
                    Close,
                ],
            )
        },
        cooperative(
            "posts to an endpoint that flows",
            [
                request(
                    "POST /oracle/40?flow HTTP/1.1",
                    "Host: x\r\nContent-Length: 700\r\n",
                ),
                text(700),
                told(40),
                Close,
            ],
        ),
        cooperative(
            "asks the test endpoints in every way",
            [
                get("/_oneloop/test/bytes/150"),
                lines(150),
                get("/_oneloop/test/bytes/11000"),
                lines(11_000),
                get("/_oneloop/test/chunked/2000?size=33"),
                lines(2_000),
                get("/_oneloop/test/drip?n=4&bytes=20&every=200ms"),
                lines(80),
                get("/_oneloop/test/delay/250"),
                Answer(Expected::Content(b"250 ms\n".to_vec())),
                get("/_oneloop/test/bytes/5000?_delay=100ms:50"),
                lines(5_000),
                get("/_oneloop/test/status/503"),
                status(503),
                get("/_oneloop/test/bytes/50000"),
                status(400),
                Close,
            ],
        ),
        cooperative(
            "reads many bytes with pauses",
            [
                get("/_oneloop/test/bytes/14999?_delay=9ms"),
                TurnAway,
                pause(),
                Listen,
                lines(14_999),
                TurnAway,
                get("/_oneloop/test/chunked/9000?size=700"),
                pause(),
                Listen,
                lines(9_000),
                Close,
            ],
        ),
        cooperative(
            "gets half of what was announced",
            [get("/_oneloop/test/truncate/900"), AwaitEnd, Close],
        ),
        Script {
            loses: true,
            ..cooperative("is reset", [get("/_oneloop/test/reset"), AwaitEnd, Close])
        },
        Script {
            loses: true,
            ..cooperative(
                "leaves while bytes drip",
                [get("/_oneloop/test/drip?n=9&every=100ms"), pause(), Close],
            )
        },
        Script {
            loses: true,
            ..cooperative(
                "leaves an endpoint that hangs",
                [get("/_oneloop/test/hang"), pause(), Close],
            )
        },
        cooperative("is cut short", [get("/oracle/30?short"), AwaitEnd, Close]),
        Script {
            loses: true,
            ..cooperative(
                "leaves an endpoint that drips",
                [get("/oracle/90?drip"), pause(), Close],
            )
        },
        cooperative(
            "leaves an endpoint that is late",
            [get("/oracle/90?late"), Close],
        ),
        Script {
            // A client of a stream that ends its direction has left.
            loses: true,
            ..cooperative(
                "ends its direction while an endpoint drips",
                [get("/oracle/90?drip"), pause(), HalfClose, AwaitEnd, Close],
            )
        },
        cooperative(
            "ends its direction while an endpoint is late",
            [get("/oracle/90?late"), HalfClose, told(90), Close],
        ),
        cooperative("asks once", [get("/small.txt"), file("small.txt"), Close]),
        cooperative("comes and goes without a word", [Close]),
        cooperative(
            "asks for a close",
            [
                request(
                    "GET /small.txt HTTP/1.1",
                    "Host: x\r\nConnection: close\r\n",
                ),
                file("small.txt"),
                AwaitEnd,
                Close,
            ],
        ),
        // The pauses together are longer than every deadline, each pause alone is not.
        cooperative(
            "keeps the connection and thinks between requests",
            [
                repeat(10, [get("/medium.css"), file("medium.css"), pause()]),
                vec![Close],
            ]
            .concat(),
        ),
        cooperative(
            "thinks in the middle of a head",
            [
                send("GET /small.txt HT"),
                pause(),
                send("TP/1.1\r\nHost: x\r\n\r\nGET /sm"),
                file("small.txt"),
                pause(),
                send("all.txt HTTP/1.1\r\nHost: x\r\n\r"),
                pause(),
                send("\n"),
                file("small.txt"),
                Close,
            ],
        ),
        cooperative(
            "asks for much and ends its direction at once",
            [
                get("/large.bin"),
                HalfClose,
                file("large.bin"),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "asks for this and that, then ends its direction",
            [
                get("/small.txt"),
                get("/large.bin"),
                get("/nothing"),
                HalfClose,
                file("small.txt"),
                file("large.bin"),
                status(404),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative("pipelines thirty requests", pipeline(30)),
        cooperative(
            "pipelines and does not look until later",
            [
                get("/large.bin"),
                get("/medium.css"),
                get("/large.bin"),
                TurnAway,
                pause(),
                Listen,
                file("large.bin"),
                file("medium.css"),
                file("large.bin"),
                Close,
            ],
        ),
        // Whenever the server is between two requests, there is an answer to lose.
        cooperative(
            "asks again and again before it looks",
            [
                vec![TurnAway],
                repeat(8, [get("/small.txt"), Pause(PAUSE / 3)]),
                vec![Listen],
                repeat(8, [file("small.txt")]),
                vec![Close],
            ]
            .concat(),
        ),
        // The client drains each 16 KiB in time, but not the whole.
        cooperative(
            "sips a huge file",
            [
                vec![get("/huge.bin")],
                repeat(8, [Sip(7_000), TurnAway, pause(), Listen]),
                vec![
                    file("huge.bin"),
                    get("/small.txt"),
                    file("small.txt"),
                    Close,
                ],
            ]
            .concat(),
        ),
        cooperative(
            "speaks HTTP/1.0",
            [
                request("GET /medium.css HTTP/1.0", ""),
                file("medium.css"),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "speaks HTTP/1.0 and stays",
            [
                request("GET /empty.txt HTTP/1.0", "Connection: keep-alive\r\n"),
                file("empty.txt"),
                request("GET /large.bin HTTP/1.0", ""),
                file("large.bin"),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "asks for heads",
            [
                request("HEAD /huge.bin HTTP/1.1", "Host: x\r\n"),
                request("HEAD /small.txt HTTP/1.1", "Host: x\r\n"),
                get("/small.txt"),
                Answer(Expected::HeadOf("huge.bin")),
                Answer(Expected::HeadOf("small.txt")),
                file("small.txt"),
                Close,
            ],
        ),
        cooperative(
            "asks for parts",
            [
                part("/large.bin", "bytes=5900-"),
                part("/small.txt", "bytes=-5, 0-3"),
                part("/large.bin", "bytes=0-99, 4000-4999"),
                part("/small.txt", "bytes=80-"),
                Answer(Expected::Part("large.bin", 5_900..6_000)),
                status(206),
                status(206),
                status(416),
                Close,
            ],
        ),
        cooperative(
            "asks for what has changed",
            [
                since("Mon, 13 Nov 2023 00:00:00 GMT"),
                since("Thu, 16 Nov 2023 00:00:00 GMT"),
                file("large.bin"),
                status(304),
                Close,
            ],
        ),
        cooperative(
            "takes what lies beside a file",
            [
                request("GET /page.html HTTP/1.1", &format!("Host: x\r\n{GZIP}")),
                request("HEAD /page.html HTTP/1.1", &format!("Host: x\r\n{GZIP}")),
                get("/page.html"),
                file("page.html.gz"),
                Answer(Expected::HeadOf("page.html.gz")),
                file("page.html"),
                Close,
            ],
        ),
        cooperative(
            "reads the lists of a small and of a large directory",
            [
                [get("/pair/"), status(200), get("/many/"), status(200)].to_vec(),
                // The second answer waits while the first is being made.
                vec![get("/many/"), get("/pair/"), status(200), status(200)],
                vec![get("/many/deep/"), status(200), Close],
            ]
            .concat(),
        ),
        cooperative(
            "takes the smallest form of a program",
            [
                repeat(
                    3,
                    [
                        request("GET /app.js HTTP/1.1", &format!("Host: x\r\n{GZIP}")),
                        Answer(Expected::Decoded(PROGRAM)),
                    ],
                ),
                vec![get("/small.txt"), file("small.txt"), Close],
            ]
            .concat(),
        ),
        cooperative(
            "asks for directories",
            [
                get("/"),
                get("/docs"),
                get("/docs/"),
                file("index.html"),
                status(301),
                file("docs/index.html"),
                Close,
            ],
        ),
        cooperative(
            "sends an empty line before its request and one behind it",
            [
                send("\r\n"),
                pause(),
                get("/small.txt"),
                file("small.txt"),
                send("\r\n"),
                HalfClose,
                AwaitEnd,
                Close,
            ],
        ),
    ]
}

/// Clients with a body in the request.
fn uploading() -> Vec<Script> {
    vec![
        cooperative(
            "has its body echoed",
            [
                echo("Content-Length: 1200"),
                text(1_200),
                echoed(1_200),
                echo("Content-Length: 9\r\nConnection: close"),
                text(9),
                echoed(9),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "has chunks echoed, and thinks within them",
            [
                echo("Transfer-Encoding: chunked"),
                send("5\r\n"),
                text(5),
                send("\r"),
                pause(),
                send("\n3; why=not\r\n"),
                text(3),
                send("\r\n0"),
                pause(),
                send("\r\nTrailer: x\r\n\r\n"),
                get("/small.txt"),
                Answer(Expected::Content([letters(5), letters(3)].concat())),
                file("small.txt"),
                Close,
            ],
        ),
        cooperative(
            "has a body echoed behind other answers",
            [
                get("/medium.css"),
                get("/medium.css"),
                echo("Content-Length: 10"),
                text(10),
                get("/medium.css"),
                file("medium.css"),
                file("medium.css"),
                echoed(10),
                file("medium.css"),
                Close,
            ],
        ),
        cooperative(
            "waits to be told to continue",
            [
                echo("Content-Length: 300\r\nExpect: 100-continue"),
                status(100),
                text(300),
                echoed(300),
                Close,
            ],
        ),
        Script {
            loses: true,
            ..cooperative(
                "resets when it has sent everything",
                [
                    TurnAway,
                    echo("Content-Length: 10\r\nExpect: 100-continue"),
                    text(10),
                    Reset,
                ],
            )
        },
        cooperative(
            "is not told to continue, and sends its body all the same",
            [
                request(
                    "GET /large.bin HTTP/1.1",
                    "Host: x\r\nContent-Length: 900\r\nExpect: 100-continue\r\n",
                ),
                TurnAway,
                pause(),
                text(900),
                pause(),
                Listen,
                file("large.bin"),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "sends a body to a file",
            [
                upload("Content-Length: 1000"),
                text(1_000),
                get("/small.txt"),
                status(405),
                file("small.txt"),
                Close,
            ],
        ),
        cooperative(
            "sends a body with a GET",
            [
                request(
                    "GET /large.bin HTTP/1.1",
                    "Host: x\r\nContent-Length: 4\r\n",
                ),
                pause(),
                text(4),
                file("large.bin"),
                get("/small.txt"),
                file("small.txt"),
                Close,
            ],
        ),
        cooperative(
            "uploads too much, and looks only when it has sent everything",
            [
                TurnAway,
                upload("Content-Length: 3600"),
                text(1_800),
                pause(),
                text(1_800),
                pause(),
                Listen,
                status(413),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "uploads too much in one chunk",
            [
                echo("Transfer-Encoding: chunked"),
                send("e00\r\n"),
                text(0xe00),
                send("\r\n0\r\n\r\n"),
                status(413),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "asks, then uploads too much",
            [
                get("/large.bin"),
                upload("Content-Length: 3100"),
                text(3_100),
                file("large.bin"),
                status(413),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "breaks a chunk",
            [
                upload("Transfer-Encoding: chunked"),
                send("5\r\nhello!"),
                text(3_000),
                status(400),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "ends its direction in the middle of a body",
            [
                get("/small.txt"),
                upload("Content-Length: 1000"),
                text(999),
                HalfClose,
                file("small.txt"),
                status(400),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative(
            "expects a miracle",
            [
                request(
                    "GET / HTTP/1.1",
                    "Host: x\r\nContent-Length: 20\r\nExpect: miracle\r\n",
                ),
                text(20),
                status(417),
                AwaitEnd,
                Close,
            ],
        ),
    ]
}

/// Clients whose request is refused. Each client must receive the refusal, even while it is
/// sending.
fn refused() -> Vec<Script> {
    vec![
        cooperative(
            "asks for what it cannot have",
            [
                get("/nothing"),
                request(
                    "POST /small.txt HTTP/1.1",
                    "Host: x\r\nContent-Length: 0\r\n",
                ),
                request("BREW /pot HTTP/1.1", "Host: x\r\n"),
                request("OPTIONS * HTTP/1.1", "Host: x\r\n"),
                get("/../etc/passwd"),
                get("/%zz"),
                status(404),
                status(405),
                status(501),
                status(204),
                status(404),
                status(400),
                Close,
            ],
        ),
        cooperative(
            "shows its user the pages of strangers",
            [
                request("GET /small.txt HTTP/1.1", "Host: evil.example\r\n"),
                request("GET /small.txt HTTP/1.1", "Host: x\r\nOrigin: null\r\n"),
                status(403),
                file("small.txt"),
                echo("Origin: http://evil.example\r\nContent-Length: 1000"),
                text(1000),
                status(403),
                AwaitEnd,
                Close,
            ],
        ),
        cooperative("talks nonsense", nonsense("how do you do\r\n\r\n", 400)),
        cooperative("speaks TLS", nonsense("\x16\x03\x01\x02\x00", 400)),
        cooperative(
            "speaks HTTP/2",
            nonsense("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ),
        cooperative(
            "sends a head without end",
            nonsense("GET / HTTP/1.1\r\nHost: x\r\nCookie: ", 431),
        ),
        cooperative("sends a target without end", nonsense("GET /", 414)),
        cooperative(
            "sends too many fields",
            nonsense(&format!("GET / HTTP/1.1\r\n{}", "A:\r\n".repeat(20)), 431),
        ),
        cooperative(
            "ends its direction in the middle of a head",
            [
                get("/small.txt"),
                send("GET / HTTP/1.1\r\nHo"),
                HalfClose,
                file("small.txt"),
                status(400),
                AwaitEnd,
                Close,
            ],
        ),
    ]
}

/// Clients that look for stale answers.
fn watching() -> Vec<Script> {
    vec![
        cooperative("watches the news", watch(12, NEWS, "")),
        cooperative("watches a film", watch(4, MOVIE, "")),
        cooperative("watches notes in the smallest form", watch(8, NOTES, GZIP)),
        cooperative("watches a file on a bad disk", watch(12, FLAKY, "")),
        cooperative(
            "watches the news through a pipeline",
            [
                (0..6).flat_map(|_| gulp(15, 10, NEWS)).collect(),
                vec![Close],
            ]
            .concat(),
        ),
    ]
}

/// Clients that the server has to end on its own.
fn hostile() -> Vec<Script> {
    vec![
        uncooperative("sends nothing", [AwaitEnd, Close]),
        uncooperative(
            "stays when it has its answer",
            [get("/small.txt"), file("small.txt"), AwaitEnd, Close],
        ),
        uncooperative(
            "stops in the middle of a head",
            [
                get("/small.txt"),
                file("small.txt"),
                send("GET /small.txt HTTP/1.1\r\nHo"),
                status(408),
                AwaitEnd,
                Close,
            ],
        ),
        uncooperative(
            "stops in the middle of a body",
            [
                upload("Content-Length: 1000"),
                text(500),
                status(408),
                AwaitEnd,
                Close,
            ],
        ),
        uncooperative(
            "trickles its head",
            [
                vec![send("GET / HTTP/1.1\r\nHost: x\r\n")],
                repeat(12, [Pause(PATIENCE / 3), send("X")]),
                vec![status(408), AwaitEnd, Close],
            ]
            .concat(),
        ),
        uncooperative(
            "never takes its answers",
            [
                vec![TurnAway],
                repeat(20, [get("/large.bin")]),
                vec![Outstay, Close],
            ]
            .concat(),
        ),
        Script {
            loses: true,
            ..uncooperative(
                "turns away in the middle of its answer",
                [get("/huge.bin"), Sip(1_000), TurnAway, Outstay, Close],
            )
        },
        uncooperative(
            "does not leave when it is told to",
            [upload("Content-Length: 99999"), status(413), Outstay, Close],
        ),
        uncooperative(
            "goes on sending for ever, a little",
            [
                vec![upload("Content-Length: 99999"), status(413)],
                repeat(20, [text(1), Pause(PATIENCE / 3)]),
                vec![Outstay, Close],
            ]
            .concat(),
        ),
        Script {
            loses: true,
            ..uncooperative(
                "goes on sending, a lot",
                [
                    upload("Content-Length: 99999"),
                    text(12_000),
                    status(413),
                    Outstay,
                    Close,
                ],
            )
        },
    ]
}

/// A client that asks without a pause.
pub fn busy(requests: usize) -> Script {
    let asks = repeat(requests, [get("/small.txt"), file("small.txt")]);
    cooperative("asks without a pause", [asks, vec![Close]].concat())
}

/// A client that asks for two small files and then for a large one, which is edited before the client
/// looks.
pub fn overtaken(fields: &'static str, edits: &[Act]) -> Script {
    let before = [
        TurnAway,
        get("/small.txt"),
        get("/small.txt"),
        Ask(MOVIE, fields),
        pause(),
    ];
    let after = [Listen, file("small.txt"), file("small.txt"), Witness, Close];
    let acts = [&before, edits, &after].concat();
    cooperative("asks for a film that is edited", acts)
}

/// Two clients that ask for compressed files: the first does not read before the second is done.
pub fn readers() -> [Script; 2] {
    let encoded = |path| {
        request(
            &format!("GET /{path} HTTP/1.1"),
            &format!("Host: x\r\n{GZIP}"),
        )
    };
    let whole = || Answer(Expected::Decoded(PROGRAM));
    let waits = Pause(4 * PATIENCE);
    [
        uncooperative(
            "reads much later",
            [encoded(PROGRAM), TurnAway, waits, Listen, whole(), Close],
        ),
        cooperative("reads at once", [encoded(NOTES), status(200), Close]),
    ]
}

/// A client that sends this many requests for a large file at once, and takes nothing of the answers.
pub fn deaf(requests: usize) -> Script {
    let one = b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n";
    uncooperative(
        "asks much and takes nothing",
        [TurnAway, Send(one.repeat(requests)), Outstay, Close],
    )
}

/// A client that announces a body of this length, and sends only a part of it.
pub fn half_a_body(length: usize, part: usize) -> Script {
    let fields = format!("Host: x\r\nContent-Length: {length}\r\n");
    let post = request("POST /_oneloop/echo HTTP/1.1", &fields);
    uncooperative(
        "sends a part of its body",
        [post, text(part), Pause(PATIENCE), Reset],
    )
}

/// A client that posts a body of this length, and takes nothing of the answer.
pub fn posts_and_takes_nothing(length: usize) -> Script {
    let fields = format!("Host: x\r\nContent-Length: {length}\r\n");
    let post = request("POST /_oneloop/echo HTTP/1.1", &fields);
    uncooperative(
        "posts and takes nothing",
        [TurnAway, post, text(length), Outstay, Close],
    )
}

/// A client that comes later than others, and posts a body of this length.
pub fn latecomer(length: usize) -> Script {
    let bytes = vec![b'l'; length];
    let fields = format!("Host: x\r\nContent-Length: {length}\r\n");
    cooperative(
        "posts",
        [
            Pause(PAUSE),
            request("POST /_oneloop/echo HTTP/1.1", &fields),
            Send(bytes.clone()),
            Answer(Expected::Content(bytes)),
            Close,
        ],
    )
}

/// A client that the server has no slot for.
pub fn turned_down() -> Script {
    uncooperative(
        "finds no slot",
        [get("/small.txt"), status(503), AwaitEnd, Close],
    )
}

/// Pairs of clients: the first asks for as much as a turn can give, in bytes or in steps, and
/// stays; the second asks for little.
pub fn lodgers() -> [[Script; 2]; 2] {
    let encoded = request("GET /app.js HTTP/1.1", &format!("Host: x\r\n{GZIP}"));
    let asked = [
        (get("/large.bin"), file("large.bin")),
        (encoded, Answer(Expected::Decoded(PROGRAM))),
    ];
    asked.map(|(asks, gets)| {
        let stays = [asks, gets, pause(), Close];
        let comes = [get("/small.txt"), file("small.txt"), Close];
        [
            uncooperative("stays after its answer", stays),
            cooperative("wants its place", comes),
        ]
    })
}

// ── Short forms ────────────────────────────────────────────────────────────────────────────────

pub fn cooperative(name: &'static str, acts: impl Into<Vec<Act>>) -> Script {
    Script {
        name,
        acts: acts.into(),
        is_cooperative: true,
        loses: false,
    }
}

pub fn uncooperative(name: &'static str, acts: impl Into<Vec<Act>>) -> Script {
    Script {
        is_cooperative: false,
        ..cooperative(name, acts)
    }
}

pub fn send(text: &str) -> Act {
    Send(text.as_bytes().to_vec())
}

pub fn request(line: &str, fields: &str) -> Act {
    send(&format!("{line}\r\n{fields}\r\n"))
}

pub fn get(path: &str) -> Act {
    request(&format!("GET {path} HTTP/1.1"), "Host: x\r\n")
}

const GZIP: &str = "Accept-Encoding: gzip\r\n";

fn part(path: &str, ranges: &str) -> Act {
    let fields = format!("Host: x\r\nRange: {ranges}\r\n");
    request(&format!("GET {path} HTTP/1.1"), &fields)
}

fn since(date: &str) -> Act {
    let fields = format!("Host: x\r\nIf-Modified-Since: {date}\r\n");
    request("GET /large.bin HTTP/1.1", &fields)
}

/// The head of a request with a body that the server does not want.
fn upload(fields: &str) -> Act {
    request(
        "POST /small.txt HTTP/1.1",
        &format!("Host: x\r\n{fields}\r\n"),
    )
}

/// The head of a request with a body that is echoed.
fn echo(fields: &str) -> Act {
    request(
        "POST /_oneloop/echo HTTP/1.1",
        &format!("Host: x\r\n{fields}\r\n"),
    )
}

fn letters(n: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(n).collect()
}

/// A part of a body, or bytes without meaning.
pub fn text(n: usize) -> Act {
    Send(letters(n))
}

fn echoed(n: usize) -> Act {
    Answer(Expected::Content(letters(n)))
}

pub fn file(name: &'static str) -> Act {
    Answer(Expected::File(name))
}

pub fn status(code: u16) -> Act {
    Answer(Expected::Status(code))
}

/// A client that listens to a stream without an end.
pub fn listener() -> Script {
    Script {
        loses: true,
        ..cooperative("listens", [get("/oracle/2?still"), AwaitEnd, Close])
    }
}

/// The right answer of the oracle.
fn told(count: usize) -> Act {
    Answer(Expected::Content(Oracle::says(count)))
}

/// The right answer of a test endpoint that sends bytes.
fn lines(count: usize) -> Act {
    let lines = (0..count).step_by(16).map(|at| format!("{at:015x}\n"));
    let mut bytes = lines.collect::<String>().into_bytes();
    bytes.truncate(count);
    Answer(Expected::Content(bytes))
}

pub fn pause() -> Act {
    Pause(PAUSE)
}

pub fn repeat<const N: usize>(times: usize, acts: [Act; N]) -> Vec<Act> {
    std::iter::repeat_n(acts, times).flatten().collect()
}

/// A request that is refused, with many bytes after it.
fn nonsense(beginning: &str, code: u16) -> Vec<Act> {
    vec![send(beginning), text(3_000), status(code), AwaitEnd, Close]
}

fn watch(times: usize, name: &'static str, fields: &'static str) -> Vec<Act> {
    let mut acts = repeat(
        times,
        [Ask(name, fields), Witness, Pause(Duration::from_millis(30))],
    );
    acts.push(Close);
    acts
}

/// Keeps `depth` requests on their way, more than a read buffer takes, until `more` requests have
/// followed. Then pauses until an answer for the file may be kept again.
fn gulp(depth: usize, more: usize, name: &'static str) -> Vec<Act> {
    let ask = Ask(name, "");
    [
        repeat(depth, [ask.clone()]),
        repeat(more, [Witness, ask]),
        repeat(depth, [Witness]),
        vec![Pause(Duration::from_millis(30))],
    ]
    .concat()
}

/// All requests at once, and only then the answers.
fn pipeline(n: usize) -> Vec<Act> {
    let names = ["small.txt", "medium.css", "empty.txt"]
        .iter()
        .cycle()
        .take(n);
    let requests = names.clone().map(|name| get(&format!("/{name}")));
    let answers = names.map(|name| file(name));
    requests.chain(answers).chain([Close]).collect()
}
