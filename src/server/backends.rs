//! Floor 4, server: the backends of the reverse proxy: where each is, the connections that are kept for
//! the next request, and the requests whose backend cannot be reached now.
//!
//! A backend in the making is compiled and started anew all the time. A connection that is refused has
//! carried nothing, so a request of any method waits, and the connection is tried again.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{Duration, Instant};

use super::couple::BackendEnd;
use crate::config::{Limits, ProxyPlace, ProxyTarget};
use crate::connection::{Key, NoAnswer};
use crate::transport::Address;

/// The backends, and the state of the step *couple*.
#[derive(Debug)]
pub(super) struct Backends {
    list: Vec<Backend>,
    /// The clients whose backend could not be reached so far.
    attempts: BTreeMap<u64, Attempt>,
    /// The connections of pairs between which pieces may pass, each at most once.
    pub couples: VecDeque<Key>,
}

/// A backend.
#[derive(Debug)]
pub(super) struct Backend {
    pub target: ProxyTarget,
    /// The addresses, of which one is enough.
    addresses: Vec<Address>,
    /// The error of the last attempt at each address; empty if it was reached, or not tried.
    errors: Vec<String>,
    /// The address that was reached last.
    preferred: usize,
    /// The connections that wait for a request, the one used last at the end.
    pub idle: Vec<Key>,
    /// Since when no connection could be made.
    pub down_since: Option<Instant>,
    /// When the name was last resolved.
    resolved_at: Instant,
    /// The clients that wait, the one that waits longest first. Some may have left.
    waiting: VecDeque<Key>,
    /// When one of them tries again, for all. `None`: one is trying, or none waits.
    probe_at: Option<Instant>,
    /// The next pause.
    pause: Duration,
    /// Whether a client has waited in vain, and no connection was made since. No client waits then.
    is_given_up: bool,
}

/// The attempts to reach a backend for a client.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// The number of the backend.
    backend: u16,
    /// How many addresses were tried since the client waited last.
    tried: usize,
    /// How often the request was sent, and lost.
    losses: u8,
    /// When to give up.
    until: Instant,
}

/// The next step after a backend was not reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Try another address at once.
    TryAgain,
    /// Wait.
    Wait,
    /// Tell the client.
    GiveUp,
}

impl Backend {
    /// Lets a client wait that has just tried. It has waited longest.
    pub fn wait(&mut self, client: Key, now: Instant) {
        self.waiting.push_front(client);
        if self.probe_at.is_none() {
            self.probe_at = Some(now + self.pause);
            self.pause = (self.pause * 3 / 2).min(Backends::PAUSES.1);
        }
    }

    /// The addresses that were tried, each with the error.
    pub fn tried(&self) -> Vec<(String, &str)> {
        let all = self.addresses.iter().zip(&self.errors);
        let tried = all.filter(|(_, error)| !error.is_empty());
        tried
            .map(|(address, error)| (address.to_string(), &**error))
            .collect()
    }

    /// Replaces the addresses, of which there is at least one.
    pub fn set_addresses(&mut self, addresses: Vec<Address>) {
        if self.addresses != addresses {
            self.errors = vec![String::new(); addresses.len()];
            (self.addresses, self.preferred) = (addresses, 0);
        }
    }
}

impl Backends {
    /// The first pause before another attempt, and the longest. Each pause is half as long again as the
    /// one before.
    const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));

    /// How often a request is sent again that was sent, and lost.
    const LOSSES_MAX: u8 = 1;

    /// The number of clients that are told in a turn that their backend has not come.
    const OVER_MAX: usize = 64;

    /// How often the name of a backend is resolved at most. The look-up blocks all connections.
    const RESOLVED_AT_MOST_EVERY: Duration = Duration::from_secs(5);

    pub fn new(list: Vec<(ProxyTarget, Vec<Address>)>, now: Instant) -> Backends {
        let backend = |(target, addresses): (_, Vec<_>)| Backend {
            errors: vec![String::new(); addresses.len()],
            target,
            addresses,
            preferred: 0,
            idle: Vec::new(),
            down_since: None,
            resolved_at: now,
            waiting: VecDeque::new(),
            probe_at: None,
            pause: Self::PAUSES.0,
            is_given_up: false,
        };
        Backends {
            list: list.into_iter().map(backend).collect(),
            attempts: BTreeMap::new(),
            couples: VecDeque::new(),
        }
    }

    /// The backend of this number.
    pub fn get(&mut self, number: u16) -> &mut Backend {
        &mut self.list[usize::from(number)]
    }

    /// The address to try next for this client.
    pub fn address(&mut self, number: u16, client: Key) -> Option<(usize, Address)> {
        let attempt = self.attempts.get(&client.into());
        let tried = attempt.map_or(0, |attempt| attempt.tried);
        let backend = self.get(number);
        let at = (backend.preferred + tried) % backend.addresses.len().max(1);
        Some((at, backend.addresses.get(at)?.clone()))
    }

    /// Whether it was tried before to get an answer for this client.
    pub fn has_tried(&self, client: Key) -> bool {
        self.attempts.contains_key(&client.into())
    }

    /// Lets a client wait, if others do so already: one attempt is enough for all.
    pub fn joins_others(
        &mut self,
        number: u16,
        client: Key,
        now: Instant,
        limits: &Limits,
    ) -> bool {
        let backend = &mut self.list[usize::from(number)];
        if backend.waiting.is_empty() {
            return false;
        }
        backend.waiting.push_back(client);
        self.attempts
            .entry(client.into())
            .or_insert(Attempt::new(number, now, limits));
        true
    }

    /// Notes that a connection was made. Returns the clients that have waited.
    pub fn reached(&mut self, end: BackendEnd) -> VecDeque<Key> {
        let backend = &mut self.list[usize::from(end.number)];
        let address = usize::from(end.address);
        let is_known = backend.preferred == address && backend.down_since.is_none();
        if is_known && backend.waiting.is_empty() {
            return VecDeque::new();
        }
        (backend.preferred, backend.down_since) = (address, None);
        backend.is_given_up = false;
        backend.errors.iter_mut().for_each(String::clear);
        (backend.pause, backend.probe_at) = (Self::PAUSES.0, None);
        std::mem::take(&mut backend.waiting)
    }

    /// Notes that no connection was made, and returns the next step.
    pub fn missed(
        &mut self,
        end: BackendEnd,
        client: Key,
        failure: NoAnswer,
        (now, is_stopping): (Instant, bool),
        limits: &Limits,
    ) -> Next {
        let number = end.number;
        let backend = &mut self.list[usize::from(number)];
        if let Some(error) = backend.errors.get_mut(usize::from(end.address)) {
            *error = failure.in_words();
        }
        backend.down_since.get_or_insert(now);
        let attempt = self
            .attempts
            .entry(client.into())
            .or_insert(Attempt::new(number, now, limits));
        attempt.tried += 1;
        if attempt.tried < backend.addresses.len() {
            return Next::TryAgain;
        }
        attempt.tried = 0;
        if now >= attempt.until || backend.is_given_up || is_stopping || !may_pass(failure) {
            backend.is_given_up |= now >= attempt.until;
            self.settled(client, now);
            return Next::GiveUp;
        }
        backend.wait(client, now);
        Next::Wait
    }

    /// Notes that the request of a client was sent, and that its connection has ended without an answer.
    /// Returns whether the request may be sent again: once.
    pub fn may_repeat(&mut self, number: u16, client: Key, now: Instant, limits: &Limits) -> bool {
        let attempt = self
            .attempts
            .entry(client.into())
            .or_insert(Attempt::new(number, now, limits));
        attempt.losses += 1;
        let may = attempt.losses <= Self::LOSSES_MAX;
        if !may {
            self.settled(client, now);
        }
        may
    }

    /// Whether the name of a backend that was not reached should be resolved again.
    pub fn should_resolve(&mut self, number: u16, now: Instant) -> bool {
        let backend = self.get(number);
        let is_due = now >= backend.resolved_at + Self::RESOLVED_AT_MOST_EVERY;
        let has_name = matches!(backend.target.place, ProxyPlace::Host(..))
            && backend.target.addresses().is_none();
        if is_due && has_name {
            backend.resolved_at = now;
        }
        is_due && has_name
    }

    /// When something is to be done without an event.
    pub fn due(&self) -> Option<Instant> {
        let due = |backend: &Backend| {
            let first = backend.waiting.front()?;
            let until = self.attempts.get(&(*first).into()).map(|a| a.until);
            // A client that has left is forgotten at once.
            let until = until.or(backend.probe_at);
            match (until, backend.probe_at) {
                (Some(until), Some(probe)) => Some(until.min(probe)),
                (until, probe) => until.or(probe),
            }
        };
        self.list.iter().filter_map(due).min()
    }

    /// The clients that try again, one for each backend, and those whose time is over, a bounded number.
    /// At a stop, the time of all is over.
    pub fn take_due(&mut self, now: Instant, is_stopping: bool) -> (Vec<Key>, Vec<(Key, u16)>) {
        let (mut tries, mut over) = (Vec::new(), Vec::new());
        for (number, backend) in self.list.iter_mut().enumerate() {
            while over.len() < Self::OVER_MAX
                && let Some(client) = backend.waiting.front()
            {
                let key = u64::from(*client);
                match self.attempts.get(&key) {
                    Some(attempt) if attempt.until > now && !is_stopping => break,
                    Some(_) => {
                        backend.is_given_up = true;
                        over.push((*client, number as u16));
                        self.attempts.remove(&key);
                    }
                    None => {}
                }
                backend.waiting.pop_front();
            }
            if backend.probe_at.is_some_and(|at| at <= now) {
                backend.probe_at = None;
                // Some have left.
                while let Some(client) = backend.waiting.pop_front() {
                    if self.attempts.contains_key(&client.into()) {
                        tries.push(client);
                        break;
                    }
                }
            }
        }
        (tries, over)
    }

    /// Forgets a client that has left, or a connection to the backend of this number that has ended.
    pub fn forget(&mut self, key: Key, number: Option<u16>, now: Instant) {
        match number {
            // A request that cannot be sent again takes no connection from the list, but adds one.
            Some(number) => self.get(number).idle.retain(|kept| *kept != key),
            None => self.settled(key, now),
        }
    }

    /// Forgets the attempts for a client whose request was answered. If it was the client that tried for
    /// all, another one does.
    pub fn settled(&mut self, client: Key, now: Instant) {
        if let Some(attempt) = self.attempts.remove(&client.into()) {
            let backend = &mut self.list[usize::from(attempt.backend)];
            if !backend.waiting.is_empty() {
                backend.probe_at.get_or_insert(now);
            }
        }
    }

    /// Checks the invariants that hold between turns. `is_kept` says whether a connection waits for a
    /// request, and `waits` whether a client waits for a backend.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn check(&self, is_kept: impl Fn(Key) -> bool, waits: impl Fn(Key) -> bool) {
        for backend in &self.list {
            let are_kept = backend.idle.iter().all(|key| is_kept(*key));
            assert!(are_kept, "a connection is in the list that is not kept");
        }
        let all_wait = self.attempts.keys().all(|key| waits(Key::from(*key)));
        assert!(all_wait, "a backend is tried for nobody");
    }
}

impl Attempt {
    fn new(backend: u16, now: Instant, limits: &Limits) -> Attempt {
        Attempt {
            backend,
            tried: 0,
            losses: 0,
            until: now + limits.proxy_wait,
        }
    }
}

/// Whether a failure may be over in a moment: the backend is not there yet, or something is short.
fn may_pass(failure: NoAnswer) -> bool {
    use io::ErrorKind as E;
    match failure {
        NoAnswer::Io(kind) => !matches!(
            kind,
            E::PermissionDenied | E::InvalidInput | E::NetworkUnreachable | E::Unsupported
        ),
        NoAnswer::ConnectTimeout => false,
        NoAnswer::NoTls
        | NoAnswer::Untrusted
        | NoAnswer::Closed
        | NoAnswer::Malformed(_)
        | NoAnswer::UnaskedSwitch
        | NoAnswer::Stalled
        | NoAnswer::HeadTimeout => false,
    }
}
