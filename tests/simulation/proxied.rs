//! Clients of the reverse proxy: what they ask [backends](crate::backend) for, what they get, and the
//! verdict over it.
//!
//! A backend names the request in its answer, and the content follows from the name and the length. In
//! any weather, therefore, an answer that looks whole can be checked: it is whole, and it belongs to the
//! request. An answer without a name is the server's own, in place of the backend.
//!
//! Bugs that were put in, one at a time, and the words in which each was noticed:

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use memchr::memmem;
use oneloop::config::Limits;
use oneloop::connection::Transitions;

use crate::backend::Backend;
use crate::clients::{Act, Client, Script, dechunked};
use crate::weather::{self, PATIENCE, PAUSE, Rng, Weather};
use crate::wire::Wire;
use crate::world::World;
use crate::{Finished, Replay, run};

use Act::{AwaitEnd, Close, Cut, Echo, GoAhead, HalfClose, Listen, Pause, Reply, Reset, TurnAway};

/// What a client asks a backend for.
#[derive(Clone, Debug)]
pub struct Call {
    method: &'static str,
    /// What the backend is to do.
    plan: &'static str,
    /// The length of the content of the answer.
    n: usize,
    /// The length of the body of the request, and whether it comes in chunks.
    body: Option<(usize, bool)>,
    fields: &'static str,
    is_old: bool,
}

/// The calls of a client.
#[derive(Default, Debug)]
pub struct Calls {
    /// How many were made so far.
    count: usize,
    /// Those without an answer, each with its name.
    pub waiting: VecDeque<(String, Call)>,
    /// The name of the latest.
    latest: String,
    /// The bytes that went through the tunnel.
    through: usize,
    /// What became of the others: the status.
    answered: Vec<Outcome>,
}

/// What became of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// The answer of the backend came, and is right.
    Right,
    /// The server has answered in place of the backend.
    Own(u16),
}

/// The content that belongs to a request or to its answer.
pub fn content(id: &str, n: usize) -> Vec<u8> {
    let seed: usize = id.bytes().map(usize::from).sum();
    let byte = |i: usize| b'a' + ((seed + 7 * i + i / 26 * 3) % 26) as u8;
    (0..n).map(byte).collect()
}

/// The bytes that a client sends through the tunnel of a call.
pub fn sent_through(id: &str, n: usize) -> Vec<u8> {
    content(&format!("through {id}"), n)
}

impl Calls {
    /// Forgets everything but the names that were used.
    pub fn begin_again(&mut self) {
        let count = self.count;
        *self = Calls {
            count,
            ..Calls::default()
        };
    }

    /// The next bytes for the tunnel.
    pub fn through(&mut self, n: usize) -> Vec<u8> {
        let all = sent_through(&self.latest, self.through + n);
        let bytes = all[self.through..].to_vec();
        self.through += n;
        bytes
    }
}

impl Call {
    fn body(&self, id: &str) -> Vec<u8> {
        match self.body {
            None => Vec::new(),
            Some((n, false)) => content(id, n),
            Some((n, true)) => {
                let mut body = Vec::new();
                for part in content(id, n).chunks(70) {
                    body.extend(format!("{:x}\r\n", part.len()).bytes());
                    body.extend_from_slice(part);
                    body.extend_from_slice(b"\r\n");
                }
                body.extend_from_slice(b"0\r\nSum: 1\r\n\r\n");
                body
            }
        }
    }

    fn expects_100(&self) -> bool {
        self.fields.contains("100-continue")
    }
}

impl Client {
    pub fn call(&mut self, call: &Call, wire: &mut Wire) {
        let id = format!("{}-{}", self.number, self.calls.count);
        self.calls.count += 1;
        let Call {
            method,
            plan,
            n,
            fields,
            ..
        } = *call;
        let minor = u8::from(!call.is_old);
        let mut request =
            format!("{method} /api/{plan}/{n}/{id} HTTP/1.{minor}\r\nHost: x\r\n{fields}");
        match call.body {
            None => {}
            Some((length, false)) => request += &format!("Content-Length: {length}\r\n"),
            Some((_, true)) => request += "Transfer-Encoding: chunked\r\n",
        }
        request += "\r\n";
        wire.client_send(request.as_bytes());
        if !call.expects_100() {
            wire.client_send(&call.body(&id));
        }
        self.calls.latest.clone_from(&id);
        self.calls.waiting.push_back((id, call.clone()));
    }

    /// Skips interim responses.
    fn skip_interim(&mut self) -> bool {
        let mut has_skipped = false;
        loop {
            let unseen = &self.received[self.seen..];
            let Some(end) = memmem::find(unseen, b"\r\n\r\n") else {
                return has_skipped;
            };
            let is_interim =
                unseen.starts_with(b"HTTP/1.1 100 ") || unseen.starts_with(b"HTTP/1.1 103 ");
            if !is_interim {
                return has_skipped;
            }
            self.seen += end + 4;
            has_skipped = true;
        }
    }

    pub fn go_ahead(&mut self, wire: &mut Wire) -> bool {
        let has_100 = self.skip_interim();
        if has_100 {
            let (id, call) = self
                .calls
                .waiting
                .back()
                .expect("a call comes before")
                .clone();
            wire.client_send(&call.body(&id));
        }
        has_100 || memmem::find(&self.received[self.seen..], b"\r\n\r\n").is_some()
    }

    pub fn await_reply(&mut self, wire: &Wire) -> bool {
        self.skip_interim();
        let (id, call) = self
            .calls
            .waiting
            .front()
            .expect("a call comes before")
            .clone();
        let unseen = &self.received[self.seen..];
        let Some(end) = memmem::find(unseen, b"\r\n\r\n").map(|at| at + 4) else {
            return false;
        };
        let head = str::from_utf8(&unseen[..end]).expect("heads are ASCII");
        let status: u16 = head["HTTP/1.1 ".len()..][..3].parse().expect("a status");
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.strip_prefix(name));
            lines.next().map(str::trim)
        };
        let name = field("X-Id:");
        assert!(
            name.is_none_or(|name| name == id),
            "an answer to another request: {id} gets {head}"
        );
        let length = field("Content-Length:").map(|n| n.parse::<usize>().expect("a number"));
        let rest = &unseen[end..];
        let is_chunked = field("Transfer-Encoding:") == Some("chunked");
        let (body, used) = match (status, length) {
            (101 | 204, _) => (&[][..], 0),
            _ if call.method == "HEAD" => (&[][..], 0),
            (_, Some(n)) if rest.len() >= n => (&rest[..n], n),
            (_, Some(_)) => return false,
            (_, None) if is_chunked => match dechunked(rest) {
                Some((body, n)) => {
                    return self.has_reply(&id, &call, name.is_some(), status, &body, end + n);
                }
                None => return false,
            },
            (_, None) => {
                // What was in the kernel when a reset came is lost, and the client knows of the reset.
                if !wire.is_over() || wire.is_reset() {
                    return false;
                }
                (rest, rest.len())
            }
        };
        let body = body.to_vec();
        self.has_reply(&id, &call, name.is_some(), status, &body, end + used)
    }

    fn has_reply(
        &mut self,
        id: &str,
        call: &Call,
        is_named: bool,
        status: u16,
        body: &[u8],
        len: usize,
    ) -> bool {
        let has_none = call.method == "HEAD" || matches!(status, 101 | 204);
        let expected = content(id, if has_none { 0 } else { call.n });
        let shown = body.escape_ascii();
        assert!(
            !is_named || *body == expected,
            "a broken answer looks whole: {id} {call:?} gets {shown}"
        );
        let is_broken = call.plan.starts_with("short") && is_named;
        assert!(!is_broken, "a broken answer looks whole: {id}, {status}");
        self.calls.answered.push(match is_named {
            true => Outcome::Right,
            false => Outcome::Own(status),
        });
        self.calls.waiting.pop_front();
        self.seen += len;
        self.answers += 1;
        true
    }

    /// Whether the connection has ended, but not after a whole answer.
    pub fn is_cut(&mut self, wire: &Wire) -> bool {
        if self.await_reply(wire) {
            let last = self.calls.answered.last();
            assert_ne!(last, Some(&Outcome::Right), "a broken answer looks whole");
            return true;
        }
        wire.is_over()
    }

    /// Whether the client waits for a backend.
    pub fn waits_for_backend(&self) -> bool {
        self.calls.count > 0
    }
}

// ── The scripts ────────────────────────────────────────────────────────────────────────────────

fn call(method: &'static str, plan: &'static str, n: usize, body: usize) -> Act {
    let body = (body > 0).then_some((body, false));
    Act::Call(Call {
        method,
        plan,
        n,
        body,
        fields: "",
        is_old: false,
    })
}

fn chunked(method: &'static str, plan: &'static str, n: usize, body: usize) -> Act {
    let body = Some((body, true));
    Act::Call(Call {
        method,
        plan,
        n,
        body,
        fields: "",
        is_old: false,
    })
}

fn get(plan: &'static str, n: usize) -> Act {
    call("GET", plan, n, 0)
}

/// A request of HTTP/1.0.
fn old(plan: &'static str, n: usize) -> Act {
    Act::Call(Call {
        method: "GET",
        plan,
        n,
        body: None,
        fields: "",
        is_old: true,
    })
}

fn expecting(plan: &'static str, n: usize, body: usize) -> Act {
    let fields = "Expect: 100-continue\r\n";
    let body = Some((body, false));
    Act::Call(Call {
        method: "POST",
        plan,
        n,
        body,
        fields,
        is_old: false,
    })
}

fn switching(plan: &'static str, n: usize) -> Act {
    let fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    Act::Call(Call {
        method: "GET",
        plan,
        n,
        body: None,
        fields,
        is_old: false,
    })
}

fn pause() -> Act {
    Pause(PAUSE)
}

/// A script, and what becomes of its calls when nothing goes wrong.
#[derive(Debug)]
pub struct Role {
    script: Rc<Script>,
    /// The statuses with which the server answers by itself; 0: the backend answers.
    fates: Vec<u16>,
    /// The bytes that a backend must have from the tunnel.
    tunnelled: Option<usize>,
}

/// The fate of a call that must be answered by the backend.
const RIGHT: u16 = 0;

fn role(name: &'static str, fates: &[u16], acts: impl IntoIterator<Item = Act>) -> Role {
    let acts = acts.into_iter().collect();
    let script = Script {
        name,
        acts,
        is_cooperative: true,
        loses: false,
    };
    Role {
        script: Rc::new(script),
        fates: fates.to_vec(),
        tunnelled: None,
    }
}

/// A role whose fate depends on who is faster.
fn loser(name: &'static str, acts: impl IntoIterator<Item = Act>) -> Role {
    let acts = acts.into_iter().collect();
    let script = Script {
        name,
        acts,
        is_cooperative: false,
        loses: true,
    };
    Role {
        script: Rc::new(script),
        fates: Vec::new(),
        tunnelled: None,
    }
}

/// All roles.
pub fn roles() -> Vec<Role> {
    let broken = |name, act| role(name, &[], [act, Cut, Close]);
    let failing = |name, status, act| role(name, &[status], [act, Reply, Close]);
    vec![
        role(
            "asks a backend once",
            &[RIGHT],
            [get("length", 300), Reply, Close],
        ),
        role(
            "asks a backend in every way",
            &[RIGHT; 9],
            [
                get("length", 300),
                Reply,
                get("chunked", 700),
                Reply,
                get("empty", 0),
                Reply,
                get("close", 500),
                Reply,
                get("last", 20),
                Reply,
                call("HEAD", "length", 400, 0),
                Reply,
                get("hints", 30),
                Reply,
                get("half", 30),
                Reply,
                get("slow", 900),
                Reply,
                Close,
            ],
        ),
        role(
            "thinks between requests to a backend",
            &[RIGHT; 6],
            [
                get("length", 30),
                Reply,
                pause(),
                get("length", 30),
                Reply,
                pause(),
                call("PUT", "length", 30, 10),
                Reply,
                pause(),
                get("chunked", 30),
                Reply,
                pause(),
                call("POST", "length", 30, 10),
                Reply,
                pause(),
                call("DELETE", "length", 5, 0),
                Reply,
                Close,
            ],
        ),
        role(
            "gets more than it has asked for",
            &[RIGHT; 3],
            [
                get("extra", 30),
                Reply,
                get("length", 10),
                Reply,
                pause(),
                get("extra", 5),
                Reply,
                Close,
            ],
        ),
        role(
            "pipelines to a backend",
            &[RIGHT; 5],
            [
                get("length", 300),
                call("POST", "chunked", 200, 90),
                get("close", 900),
                chunked("PUT", "length", 20, 150),
                get("slow", 40),
                Reply,
                Reply,
                Reply,
                Reply,
                Reply,
                Close,
            ],
        ),
        role(
            "posts to a backend",
            &[RIGHT; 4],
            [
                call("POST", "length", 10, 700),
                Reply,
                chunked("POST", "chunked", 300, 900),
                Reply,
                call("POST", "close", 10, 9_000),
                Reply,
                chunked("PUT", "length", 9, 3_000),
                Reply,
                Close,
            ],
        ),
        role(
            "asks for much and looks away",
            &[RIGHT; 3],
            [
                get("length", 20_000),
                TurnAway,
                pause(),
                Listen,
                Reply,
                get("chunked", 9_000),
                TurnAway,
                pause(),
                Listen,
                Reply,
                get("close", 12_000),
                TurnAway,
                pause(),
                Listen,
                Reply,
                Close,
            ],
        ),
        role(
            "waits for a 100 of a backend",
            &[RIGHT; 2],
            [
                expecting("goes", 30, 600),
                GoAhead,
                Reply,
                expecting("goes", 30, 60),
                GoAhead,
                Reply,
                Close,
            ],
        ),
        role(
            "waits for a 100 that the server sends",
            &[RIGHT],
            [expecting("length", 30, 600), GoAhead, Reply, Close],
        ),
        role(
            "is answered before its body was read",
            &[RIGHT],
            [call("POST", "early", 30, 2_000), Reply, Close],
        ),
        role(
            "is answered before it sends its body",
            &[RIGHT],
            [expecting("early", 30, 600), GoAhead, Reply, Close],
        ),
        loser(
            "is answered rudely",
            [call("POST", "rude", 30, 9_000), Reply, AwaitEnd, Close],
        ),
        role(
            "asks a backend by HTTP/1.0",
            &[RIGHT],
            [old("length", 90), Reply, AwaitEnd, Close],
        ),
        role(
            "asks for chunks by HTTP/1.0",
            &[RIGHT],
            [old("chunked", 9_000), Reply, Close],
        ),
        role(
            "asks for all by HTTP/1.0",
            &[RIGHT],
            [old("close", 9_000), Reply, Close],
        ),
        role(
            "ends its direction and is answered by a backend",
            &[RIGHT; 2],
            [
                get("slow", 300),
                call("POST", "length", 30, 600),
                HalfClose,
                Reply,
                Reply,
                AwaitEnd,
                Close,
            ],
        ),
        broken("gets half a length", get("short", 900)),
        broken("gets half of the chunks", get("shortchunk", 900)),
        broken(
            "gets half of what ends with a close",
            get("shortclose", 900),
        ),
        broken("posts and gets half", call("POST", "short", 900, 300)),
        broken("gets half a length by HTTP/1.0", old("short", 900)),
        broken(
            "gets half of the chunks by HTTP/1.0",
            old("shortchunk", 900),
        ),
        broken("gets half of all by HTTP/1.0", old("shortclose", 900)),
        failing("gets half a head", 502, get("shorthead", 9)),
        failing("gets nothing", 502, get("silent", 9)),
        failing("posts and gets nothing", 502, call("POST", "silent", 9, 90)),
        failing("gets a reset", 502, get("reset", 9)),
        failing("posts and gets a reset", 502, call("POST", "reset", 9, 0)),
        failing("gets garbage", 502, get("garbage", 9)),
        failing("gets another protocol", 502, get("unasked", 9)),
        role(
            "gets nothing, and then something",
            &[502, RIGHT, 502, RIGHT],
            [
                get("silent", 9),
                get("length", 90),
                get("reset", 3),
                get("length", 90),
                Reply,
                Reply,
                Reply,
                Reply,
                Close,
            ],
        ),
        Role {
            script: Rc::new(Script {
                name: "is not answered in time",
                acts: vec![get("mute", 9), Reply, Close],
                is_cooperative: false,
                loses: false,
            }),
            fates: vec![504],
            tunnelled: None,
        },
        loser(
            "leaves a backend that is mute",
            [get("mute", 9), pause(), Close],
        ),
        loser("leaves with a reset", [get("slow", 9_000), pause(), Reset]),
        loser(
            "leaves in the middle of an answer",
            [get("slow", 9_000), Act::Sip(100), Close],
        ),
        loser(
            "leaves in the middle of a body",
            [
                expecting("goes", 9, 600),
                pause(),
                HalfClose,
                AwaitEnd,
                Close,
            ],
        ),
        loser(
            "ends its direction and waits for one who is mute",
            [get("mute", 9), HalfClose, AwaitEnd, Close],
        ),
        loser(
            "leaves before a backend is asked",
            [call("POST", "length", 9, 300), Close],
        ),
        loser(
            "does not read what a backend says",
            [get("length", 40_000), TurnAway, Act::Outstay, Close],
        ),
        Role {
            tunnelled: Some(1_200),
            ..role(
                "speaks through a tunnel",
                &[RIGHT],
                [
                    switching("tunnel", 500),
                    Reply,
                    Echo(500),
                    Act::Tunnel(400),
                    Act::Tunnel(800),
                    Echo(1_700),
                    HalfClose,
                    AwaitEnd,
                    Close,
                ],
            )
        },
        Role {
            tunnelled: Some(9_000),
            ..role(
                "speaks on after the backend has ended",
                &[RIGHT],
                [
                    switching("halftunnel", 300),
                    Reply,
                    Echo(300),
                    AwaitEnd,
                    Act::Tunnel(9_000),
                    HalfClose,
                    Close,
                ],
            )
        },
        role(
            "speaks through a tunnel before it may",
            &[RIGHT],
            [
                switching("tunnel", 5),
                Act::Tunnel(90),
                Reply,
                Echo(95),
                HalfClose,
                AwaitEnd,
                Close,
            ],
        ),
        loser(
            "leaves a tunnel",
            [switching("tunnel", 5_000), Reply, Act::Tunnel(90), Reset],
        ),
        loser(
            "is silent in a tunnel",
            [
                switching("tunnel", 50),
                Reply,
                pause(),
                HalfClose,
                AwaitEnd,
                Close,
            ],
        ),
    ]
}

// ── The season ─────────────────────────────────────────────────────────────────────────────────

/// The limits that concern backends.
fn with_backends(limits: Limits, rng: &mut Rng) -> Limits {
    let mut deadline = |most: u32| rng.time(2 * PATIENCE, most * PATIENCE);
    Limits {
        half_close_time: deadline(4),
        tunnel_end_time: deadline(4),
        proxy_wait: deadline(4),
        proxy_timeout: deadline(4),
        continue_time: PAUSE / 3,
        ..limits
    }
}

/// A role alone in calm weather.
pub fn rehearse(role: &Role) -> Finished {
    let scripts = [Rc::clone(&role.script)];
    let mut world = World::new(Rng::new(0), Weather::calm(), &scripts, false);
    world.add_backend(Backend::calm);
    let finished = run(
        world,
        with_backends(weather::usual_limits(), &mut Rng::new(0)),
    );
    judge(&finished, &[role]);
    finished
}

/// Any roles in any weather, with tiny limits.
pub fn season(seed: u64, roles: &[Role], is_talkative: bool) -> Finished {
    let _replay = Replay(seed);
    let mut rng = Rng::new(seed);
    let mut weather = Weather::drawn(&mut rng);
    let limits = weather::limits(&mut rng);
    let idle = rng.time(PAUSE / 2, PATIENCE);
    let mut limits = with_backends(limits, &mut rng);
    limits.backend_idle_time = idle;
    if rng.chance(80) {
        (
            weather.descriptors_max,
            weather.unregistered,
            limits.connections_max,
        ) = (100, 0, 100);
    }
    let cast: Vec<&Role> = (0..rng.within(1..=5)).map(|_| rng.pick(roles)).collect();
    let scripts: Vec<_> = cast.iter().map(|role| Rc::clone(&role.script)).collect();
    if is_talkative {
        eprintln!("{weather:#?}\n{limits:#?}");
        scripts
            .iter()
            .for_each(|script| eprintln!("{:?}", script.name));
    }
    let is_crowded =
        weather.descriptors_max < 100 || weather.unregistered > 0 || limits.connections_max < 100;
    let mut world = World::new(rng, weather, &scripts, is_talkative);
    let is_chaotic = world.add_backend_drawn();
    for client in &mut world.clients {
        client.is_excused |= is_crowded || is_chaotic;
    }
    let finished = run(world, limits);
    judge(&finished, &cast);
    finished
}

/// Whether each client has what it is owed.
fn judge(finished: &Finished, cast: &[&Role]) {
    let world = &finished.world;
    let backend = world.backend.as_ref().expect("there is one");
    for (client, role) in world.clients.iter().zip(cast) {
        let (status, calls) = (client.status(), &client.calls);
        let is_tunnel = role
            .script
            .acts
            .iter()
            .any(|act| matches!(act, Act::Tunnel(_)));
        if calls.waiting.is_empty() && !is_tunnel && !client.was_cut_short && !role.script.loses {
            let more = client.received[client.seen..].escape_ascii();
            assert!(
                client.seen == client.received.len(),
                "more came than was asked for: {status}: {more}"
            );
        }
        if role.script.loses || client.is_excused || world.stops > 0 {
            continue;
        }
        let fates = role.fates.iter().map(|fate| match fate {
            0 => Outcome::Right,
            status => Outcome::Own(*status),
        });
        let is_broken = role.fates.is_empty();
        if !is_broken {
            assert_eq!(
                calls.answered,
                fates.collect::<Vec<_>>(),
                "an answer is missing or wrong: {status}"
            );
            assert!(!client.was_cut_short, "an answer is missing: {status}");
        }
        if let Some(n) = role.tunnelled {
            let through = backend
                .tunnels
                .get(&calls.latest)
                .map(|(bytes, ended)| (bytes.len(), *ended));
            assert_eq!(
                through,
                Some((n, true)),
                "a tunnel has lost something: {status}"
            );
        }
        if is_tunnel {
            let mut whole = content(&calls.latest, tunnel_length(role));
            if role.tunnelled != Some(9_000) {
                whole.extend(sent_through(&calls.latest, calls.through));
            }
            assert!(
                client.received[client.seen..] == whole,
                "a tunnel has lost something: {status}"
            );
        }
    }
}

/// The bytes that the backend says first in a tunnel.
fn tunnel_length(role: &Role) -> usize {
    let mut lengths = role.script.acts.iter().filter_map(|act| match act {
        Act::Call(call) => Some(call.n),
        _ => None,
    });
    lengths.next_back().unwrap_or_default()
}

/// Seeds beyond the usual number that have found a fault once.
const FAULTS: [u64; 3] = [1308, 2700, 7986];

/// The transitions that the calm runs and the season have seen.
pub fn add_seen(seen: &mut Transitions, seeds: u64) {
    let roles = roles();
    for role in &roles {
        seen.add(&rehearse(role).transitions);
    }
    for seed in (0..seeds).chain(FAULTS) {
        seen.add(&season(seed, &roles, false).transitions);
    }
}

/// The longest time after which a server that waits for a backend looks again by itself.
pub const LOOKS_AGAIN: Duration = Duration::from_millis(500);
