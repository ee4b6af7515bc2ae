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
}

/// The attempts to reach a backend for a client.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// The number of the backend.
    backend: u16,
    /// How many addresses were tried since the last pause.
    tried: usize,
    /// When to try again. `None`: a connection is being made.
    next: Option<Instant>,
    /// The next pause.
    pause: Duration,
    /// When to give up.
    until: Instant,
}

/// What to do about a backend that was not reached.
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
        let tried = match self.attempts.get_mut(&client.into()) {
            Some(attempt) => {
                attempt.next = None;
                attempt.tried
            }
            None => 0,
        };
        let backend = self.get(number);
        let at = (backend.preferred + tried) % backend.addresses.len().max(1);
        Some((at, backend.addresses.get(at)?.clone()))
    }

    /// Notes that a connection was made to an address.
    pub fn reached(&mut self, number: u16, address: usize, client: Key) {
        self.attempts.remove(&client.into());
        let backend = &mut self.list[usize::from(number)];
        if backend.preferred == address && backend.down_since.is_none() {
            return;
        }
        (backend.preferred, backend.down_since) = (address, None);
        backend.errors.iter_mut().for_each(String::clear);
    }

    /// Notes that no connection was made, and says what to do.
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
        let addresses = backend.addresses.len();
        let attempt = self.attempts.entry(client.into()).or_insert(Attempt {
            backend: number,
            tried: 0,
            next: None,
            pause: Self::PAUSES.0,
            until: now + limits.proxy_wait,
        });
        attempt.tried += 1;
        if attempt.tried < addresses {
            return Next::TryAgain;
        }
        if now >= attempt.until || is_stopping || !may_pass(failure) {
            self.attempts.remove(&client.into());
            return Next::GiveUp;
        }
        attempt.tried = 0;
        attempt.next = Some(now + attempt.pause);
        attempt.pause = (attempt.pause * 3 / 2).min(Self::PAUSES.1);
        Next::Wait
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

    /// When the next attempt is due.
    pub fn due(&self) -> Option<Instant> {
        self.attempts.values().filter_map(|a| a.next).min()
    }

    /// The clients whose next attempt is due, each with its backend. All of them at a stop.
    pub fn take_due(&mut self, now: Instant, is_stopping: bool) -> Vec<(Key, u16)> {
        let mut due = Vec::new();
        for (client, attempt) in &mut self.attempts {
            if attempt.next.is_some_and(|at| at <= now || is_stopping) {
                attempt.next = None;
                due.push((Key::from(*client), attempt.backend));
            }
        }
        due
    }

    /// Forgets a client that has left, or a connection to the backend of this number that has ended.
    pub fn forget(&mut self, key: Key, number: Option<u16>) {
        match number {
            // A request that cannot be sent again takes no connection from the list, but adds one.
            Some(number) => self.get(number).idle.retain(|kept| *kept != key),
            None => self.settled(key),
        }
    }

    /// Forgets the attempts for a client whose request was answered.
    pub fn settled(&mut self, client: Key) {
        self.attempts.remove(&client.into());
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

/// Whether a failure may be over in a moment: the backend is not there yet, or something is short.
fn may_pass(failure: NoAnswer) -> bool {
    use io::ErrorKind as E;
    match failure {
        NoAnswer::Io(kind) => !matches!(
            kind,
            E::PermissionDenied
                | E::InvalidData
                | E::InvalidInput
                | E::NetworkUnreachable
                | E::Unsupported
        ),
        NoAnswer::ConnectTimeout => false,
        NoAnswer::Closed
        | NoAnswer::Malformed(_)
        | NoAnswer::UnaskedSwitch
        | NoAnswer::HeadTimeout => false,
    }
}
