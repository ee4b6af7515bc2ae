//! The backends behind the reverse proxy: the other end of the connections that the server makes.
//!
//! A request says what the backend is to do: `/api/chunked/300/2-0` asks for 300 bytes in chunks, and is
//! the first request (`0`) of the client `2`. A *visit* is a connection of the server to the backend. The
//! backend takes one request of a visit after the other, and turns it into a list of deeds.
//!
//! What must hold here:
//!
//! - The body of a request comes as the client has sent it, and never more of it.
//! - No POST comes twice. Another request comes twice at most, and the second time only because a
//!   connection was lost that had been kept.
//! - What goes into a tunnel comes out of it, in order.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use memchr::memmem;
use oneloop::http::{BodyDecoder, Framing};

use crate::proxied::{content, sent_through};
use crate::weather::{PAUSE, Rng};
use crate::wire::Wire;

/// The backend, which has two addresses. At one of them, nobody listens.
#[derive(Debug)]
pub struct Backend {
    pub visits: Vec<Visit>,
    /// Nobody listens before this time.
    pub up_at: Instant,
    /// Percent of occasions to move: the backend is started anew, and all its connections end.
    pub restarts: usize,
    /// Percent of answers after which the connection ends, although it may be kept.
    pub fickle: usize,
    /// The number of connections that will be refused.
    pub refusals: usize,
    /// The longest time that a connection takes to be made, if it takes any.
    pub distance: Option<Duration>,
    /// The longest time that an answer takes, if it takes any.
    pub slowness: Option<Duration>,
    /// How often the head of each request has come.
    pub seen: BTreeMap<String, u32>,
    /// What has come out of each tunnel, and whether its end came with a FIN.
    pub tunnels: BTreeMap<String, (Vec<u8>, bool)>,
    /// The weather may destroy answers.
    pub is_chaotic: bool,
}

/// A connection of the server to the backend.
#[derive(Debug)]
pub struct Visit {
    pub wire: usize,
    /// When the connection is made or refused.
    opens_at: Instant,
    is_refused: bool,
    is_open: bool,
    pub is_gone: bool,
    not_before: Instant,
    closes_at: Option<Instant>,
    /// Bytes that were taken and are not understood yet.
    heard: Vec<u8>,
    request: Option<Received>,
    deeds: VecDeque<Deed>,
}

/// A request that has come, as far as its head tells.
#[derive(Debug)]
struct Received {
    id: String,
    client: usize,
    body: Option<BodyDecoder>,
    /// Bytes of the body so far.
    length: usize,
}

/// What a backend does.
#[derive(Clone, Debug)]
enum Deed {
    Say(Vec<u8>),
    Pause(Duration),
    /// Reads the body of the request to its end.
    ReadBody,
    /// Ends the direction.
    Fin,
    Close,
    Reset,
    /// Does nothing until the server ends the connection.
    Never,
    /// Says what it hears, until the server ends its direction.
    Echo,
    /// Hears, until the server ends its direction.
    Swallow,
}

impl Backend {
    /// A backend without faults.
    pub fn calm(now: Instant) -> Backend {
        Backend {
            visits: Vec::new(),
            up_at: now,
            restarts: 0,
            fickle: 0,
            refusals: 0,
            distance: None,
            slowness: None,
            seen: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            is_chaotic: false,
        }
    }

    pub fn drawn(rng: &mut Rng, now: Instant) -> Backend {
        let restarts = *rng.pick(&[0, 0, 1, 4]);
        Backend {
            restarts,
            fickle: *rng.pick(&[0, 30, 90]),
            refusals: rng.below(4),
            distance: rng.chance(50).then_some(PAUSE / 4),
            slowness: rng.chance(50).then_some(PAUSE / 2),
            is_chaotic: restarts > 0,
            ..Backend::calm(now)
        }
    }

    /// The server begins to connect.
    pub fn connect(&mut self, wire: usize, is_dead: bool, now: Instant, rng: &mut Rng) {
        let refuses = is_dead || now < self.up_at || (self.refusals > 0 && rng.chance(50));
        if refuses && !is_dead && now >= self.up_at {
            self.refusals -= 1;
        }
        let time = self.distance.filter(|_| rng.chance(50));
        let time = time.map_or(Duration::ZERO, |most| rng.time(Duration::ZERO, most));
        self.visits.push(Visit {
            wire,
            opens_at: now + time,
            is_refused: refuses,
            is_open: false,
            is_gone: false,
            not_before: now,
            closes_at: None,
            heard: Vec::new(),
            request: None,
            deeds: VecDeque::new(),
        });
    }

    /// The next moment when a visit does something although nothing has come.
    pub fn moments(&self) -> impl Iterator<Item = Instant> {
        let visits = self.visits.iter().filter(|visit| !visit.is_gone);
        visits.flat_map(|visit| {
            let opens = (!visit.is_open).then_some(visit.opens_at);
            [opens, Some(visit.not_before), visit.closes_at]
                .into_iter()
                .flatten()
        })
    }

    /// Whether the backend owes something to a client, or may.
    pub fn is_busy_for(&self, client: usize) -> bool {
        let mut visits = self.visits.iter().filter(|visit| !visit.is_gone);
        visits.any(|visit| match &visit.request {
            Some(request) => request.client == client,
            None => !visit.is_open,
        })
    }

    /// The next deed. `None`: there is none now.
    pub fn act(
        &mut self,
        number: usize,
        wire: &mut Wire,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<&'static str> {
        let visit = &mut self.visits[number];
        if visit.is_gone {
            return None;
        }
        if !visit.is_open {
            if now < visit.opens_at {
                return None;
            }
            visit.is_open = true;
            if visit.is_refused {
                visit.is_gone = true;
                wire.refuse(now);
                return Some("is refused");
            }
            wire.establish(now);
            return Some("is made");
        }
        if now < visit.not_before {
            return None;
        }
        let Some(deed) = visit.deeds.front().cloned() else {
            return self.begin(number, wire, now, rng);
        };
        let is_over = wire.is_over();
        let done = match deed {
            Deed::Say(bytes) => {
                wire.client_send(&bytes);
                true
            }
            Deed::Pause(time) => {
                visit.not_before = now + time;
                true
            }
            Deed::ReadBody => match visit.read_body() {
                Some(true) => true,
                Some(false) => return Some("reads of a body"),
                None => return visit.gives_up(is_over, wire, now),
            },
            Deed::Fin => {
                wire.client_shutdown();
                true
            }
            Deed::Close => {
                visit.is_gone = true;
                wire.client_close(now);
                true
            }
            Deed::Reset => {
                visit.is_gone = true;
                wire.client_reset(now);
                true
            }
            Deed::Never => return visit.gives_up(is_over, wire, now),
            Deed::Echo | Deed::Swallow => {
                let id = visit
                    .request
                    .as_ref()
                    .map(|r| r.id.clone())
                    .unwrap_or_default();
                let heard = std::mem::take(&mut visit.heard);
                let (all, ended) = self.tunnels.entry(id.clone()).or_default();
                if heard.is_empty() {
                    *ended |= is_over && !wire.is_reset();
                    return visit.gives_up(is_over, wire, now);
                }
                all.extend_from_slice(&heard);
                let whole = sent_through(&id, all.len());
                assert!(*all == whole, "a tunnel has changed its bytes");
                if matches!(deed, Deed::Echo) {
                    wire.client_send(&heard);
                }
                return Some("has something from a tunnel");
            }
        };
        if done {
            visit.deeds.pop_front();
            if visit.deeds.is_empty() {
                visit.request = None;
                if self.fickle > 0 && rng.chance(self.fickle) {
                    visit.closes_at = Some(now + rng.time(Duration::ZERO, PAUSE));
                }
            }
        }
        Some("a deed of the backend")
    }

    /// Takes the next request.
    fn begin(
        &mut self,
        number: usize,
        wire: &mut Wire,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<&'static str> {
        let visit = &mut self.visits[number];
        if visit.closes_at.is_some_and(|at| at <= now) {
            visit.is_gone = true;
            wire.client_close(now);
            return Some("the backend closes a connection");
        }
        let Some(end) = memmem::find(&visit.heard, b"\r\n\r\n") else {
            return visit.gives_up(wire.is_over(), wire, now);
        };
        let head: Vec<u8> = visit.heard.drain(..end + 4).collect();
        let head = String::from_utf8(head).expect("heads are ASCII");
        let mut words = head.split(' ');
        let (method, target) = (words.next(), words.next());
        let (method, target) = method.zip(target).expect("a request line");
        let mut parts = target.split('/').skip(2);
        let mut next = || parts.next().expect("a target of a call");
        let (plan, n, id) = (
            next(),
            next().parse().expect("a number"),
            next().to_string(),
        );
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        let framing = match (field("Content-Length: "), field("Transfer-Encoding: ")) {
            (Some(n), None) => Framing::Length(n.parse().expect("a number")),
            (None, Some("chunked")) => Framing::Chunked,
            (None, None) => Framing::None,
            other => panic!("a wrong framing: {other:?}"),
        };
        let seen = self.seen.entry(id.clone()).or_default();
        *seen += 1;
        // Lost once on a kept connection, and once on a new one.
        let most = if method == "POST" { 1 } else { 3 };
        assert!(*seen <= most, "a request comes again: {method} {target}");
        visit.request = Some(Received {
            client: id
                .split('-')
                .next()
                .and_then(|n| n.parse().ok())
                .expect("a client"),
            body: BodyDecoder::new(framing),
            length: 0,
            id: id.clone(),
        });
        let pause = self.slowness.filter(|_| rng.chance(50));
        let pause = pause.map_or(Duration::ZERO, |most| rng.time(Duration::ZERO, most));
        visit.deeds = deeds(plan, n, &id, method == "HEAD", pause).into();
        Some("has a request")
    }

    /// Takes bytes from the server.
    pub fn take(
        &mut self,
        number: usize,
        n: usize,
        wire: &mut Wire,
        now: Instant,
    ) -> Option<usize> {
        let visit = &mut self.visits[number];
        // Who does not read holds back the server.
        let reads = !matches!(visit.deeds.front(), Some(Deed::Pause(_) | Deed::Say(_)))
            && now >= visit.not_before;
        if !visit.is_open || visit.is_gone || !reads {
            return None;
        }
        Some(wire.client_recv(n, &mut visit.heard, now)).filter(|n| *n > 0)
    }

    /// Whether bytes arrive from the backend.
    pub fn is_open(&self, number: usize) -> bool {
        self.visits[number].is_open
    }

    /// Ends all connections, and takes none for a while.
    ///
    /// Whether each was at a request is told too.
    pub fn restart(&mut self, now: Instant, rng: &mut Rng) -> Vec<(usize, bool)> {
        self.up_at = now + rng.time(Duration::ZERO, 3 * PAUSE);
        let mut ended = Vec::new();
        for visit in self.visits.iter_mut().filter(|visit| visit.is_open) {
            if !std::mem::replace(&mut visit.is_gone, true) {
                ended.push((visit.wire, visit.request.is_some()));
            }
        }
        ended
    }
}

impl Visit {
    /// Ends the visit if the server has ended it.
    fn gives_up(&mut self, is_over: bool, wire: &mut Wire, now: Instant) -> Option<&'static str> {
        if !is_over {
            return None;
        }
        self.is_gone = true;
        wire.client_close(now);
        Some("the backend closes too")
    }

    /// Reads of the body. Returns whether the body is whole; `None`: no more of it has come.
    fn read_body(&mut self) -> Option<bool> {
        let request = self.request.as_mut().expect("a deed for a request");
        let Some(decoder) = &mut request.body else {
            return Some(true);
        };
        let part = decoder.decode(&self.heard).expect("a valid body");
        let used = part.framing + part.content;
        let expected = content(&request.id, request.length + part.content);
        assert!(
            self.heard[part.framing..used] == expected[request.length..],
            "the body of a request was changed: {}",
            request.id
        );
        request.length += part.content;
        self.heard.drain(..used);
        match part.last {
            true => {
                request.body = None;
                Some(true)
            }
            false => (used > 0).then_some(false),
        }
    }
}

/// The deeds for a request.
fn deeds(plan: &str, n: usize, id: &str, is_head: bool, pause: Duration) -> Vec<Deed> {
    use Deed::{Close, Echo, Fin, Never, Pause, ReadBody, Reset, Say, Swallow};
    let all = content(id, n);
    let head = |status: &str, fields: &str| -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\nX-Id: {id}\r\n{fields}\r\n").into_bytes()
    };
    let length = format!("Content-Length: {n}\r\n");
    let with = |fields: &str, content: &[u8]| {
        let content = if is_head { &[][..] } else { content };
        [&head("200 OK", fields), content].concat()
    };
    let chunks = |content: &[u8]| {
        let chunk = |part: &[u8]| {
            [
                format!("{:x};x=y\r\n", part.len()).as_bytes(),
                part,
                b"\r\n",
            ]
            .concat()
        };
        content.chunks(37).map(chunk).collect::<Vec<_>>().concat()
    };
    let chunked = "Transfer-Encoding: chunked\r\nTrailer: Sum\r\n";
    let last: &[u8] = b"0\r\nSum: 1\r\n\r\n";
    let answer = with(&length, &all);
    let switch = head(
        "101 Switching Protocols",
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
    );
    let half = &all[..n / 2];
    let wait = Pause(pause);
    match plan {
        "length" => vec![ReadBody, wait, Say(answer)],
        "chunked" if is_head => vec![ReadBody, Say(with(chunked, &[]))],
        "chunked" => vec![
            ReadBody,
            wait,
            Say([with(chunked, &chunks(&all)), last.to_vec()].concat()),
        ],
        "close" => vec![ReadBody, wait, Say(with("", &all)), Close],
        "last" => vec![
            ReadBody,
            Say(with(&format!("Connection: close\r\n{length}"), &all)),
            Close,
        ],
        "empty" => vec![ReadBody, wait, Say(head("204 No Content", ""))],
        "early" => vec![Say(answer), ReadBody],
        "rude" => vec![Say(answer), Close],
        "goes" => vec![
            Say(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
            ReadBody,
            wait,
            Say(answer),
        ],
        "hints" => vec![
            Say(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n".to_vec()),
            ReadBody,
            wait,
            Say(answer),
        ],
        "slow" => {
            let (one, other) = answer.split_at(answer.len() - n / 2);
            vec![
                ReadBody,
                wait,
                Say(one.to_vec()),
                Pause(PAUSE / 2),
                Say(other.to_vec()),
            ]
        }
        "half" => vec![ReadBody, Say(answer), Fin],
        "extra" => vec![
            ReadBody,
            Say([
                &answer[..],
                b"HTTP/1.1 200 OK\r\nX-Id: no\r\nContent-Length: 1\r\n\r\nx",
            ]
            .concat()),
        ],
        "short" => vec![ReadBody, Say(with(&length, half)), wait, Close],
        "shortchunk" => vec![ReadBody, Say(with(chunked, &chunks(half))), wait, Close],
        "shortclose" => vec![ReadBody, Say(with("", half)), Pause(PAUSE / 2), Reset],
        "shorthead" => vec![ReadBody, Say(answer[..20].to_vec()), wait, Close],
        "silent" => vec![ReadBody, wait, Close],
        "reset" => vec![ReadBody, Reset],
        "garbage" => vec![ReadBody, Say(b"SSH-2.0-x\r\n\r\n".to_vec()), Close],
        "unasked" => vec![ReadBody, Say(switch), Never],
        "mute" => vec![ReadBody, Never],
        "tunnel" => vec![ReadBody, wait, Say([switch, all].concat()), Echo],
        "halftunnel" => vec![ReadBody, Say([switch, all].concat()), Fin, Swallow],
        other => panic!("no plan: {other}"),
    }
}
