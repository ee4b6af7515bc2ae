//! Floor 4, server: the step *couple* of a turn, which carries pieces between the two connections of a
//! pair: a client's, and one to the backend that answers. Only the server may touch two connections.
//!
//! A pair is looked at after one of its connections was pumped. Pieces pass as long as the taker has
//! room; then both are pumped, and the pair is looked at again, until nothing passes or the turn has no
//! time left. A connection that is not rid of its bytes stops reading.

use std::io;
use std::net::SocketAddr;

use super::backends::{Backends, Next};
use super::start::plainly;
use super::{Driver, Server, Slot, get};
use crate::connection::{Cause, Connection, Context, Key, NoAnswer, Piece, ReplyStage};
use crate::site::proxy::{Attempt, Failure, FailureCause, Routes};
use crate::site::{Files, Gateway};
use crate::transport::Transport;

/// The end of a pair that a backend has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BackendEnd {
    /// The number of the backend.
    pub number: u16,
    /// The place of the address in the list of the backend.
    pub address: u16,
    /// Whether it is known that the connection was made. Only the news of it is a sign of life.
    pub is_known: bool,
}

/// The facts about a connection to a backend that has failed.
#[derive(Clone, Copy, Debug)]
struct Loss {
    end: BackendEnd,
    failure: NoAnswer,
    /// No byte of the request has left.
    has_sent_nothing: bool,
    /// A byte of an answer has come: the backend has acted on the request.
    has_heard: bool,
    /// An earlier request was answered on the connection.
    is_reused: bool,
}

/// What has passed between the two connections of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Passed {
    Nothing,
    Something,
    /// Nothing, because the budget of the step was spent: the rest is for the next turn.
    BudgetSpent,
}

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// Passes requests on to backends, as `routes` say. `token` names this run of the server in the field
    /// `Via`; no other server may have the same.
    ///
    /// # Errors
    /// A sentence: the name of a backend was not found.
    pub fn with_proxy(mut self, routes: Routes, token: &str) -> Result<Self, String> {
        let mut list = Vec::new();
        for route in routes.iter() {
            let target = route.target();
            let found = match self.driver.resolve(target) {
                Ok(addresses) if addresses.is_empty() => Err(io::ErrorKind::NotFound.into()),
                found => found,
            };
            let told = |error: io::Error| {
                let error = plainly(&error);
                let next = "check it, or write the address";
                format!("--proxy {route}: the name was not found: {error}; {next}")
            };
            list.push((target.clone(), found.map_err(told)?));
        }
        let now = self.driver.now().instant;
        self.backends = Some(Box::new(Backends::new(list, now)));
        self.shared.site.set_gateway(Gateway::new(routes, token));
        Ok(self)
    }

    /// The work of making a connection: three system calls, and the work of the kernel for two sockets.
    const CONNECT_WORK: u32 = 40;

    /// Whether the step has something to do without an event.
    pub(super) fn has_couples(&self) -> bool {
        let has_pairs = |backends: &Backends| !backends.couples.is_empty();
        !self.shared.errands.is_empty() || self.backends.as_deref().is_some_and(has_pairs)
    }

    /// Sends new requests to their backends, and lets pieces pass between the pairs.
    #[inline(never)]
    pub(super) fn couple(&mut self) {
        let Some(backends) = &mut self.backends else {
            return;
        };
        let (now, is_stopping) = (self.turn.now.instant, self.turn.stopping);
        let (tries, over) = match backends.due() {
            Some(at) if at <= now || is_stopping => backends.take_due(now, is_stopping),
            _ => (Vec::new(), Vec::new()),
        };
        self.work.begin_part();
        for client in tries {
            self.connect(client);
        }
        for (client, number) in over {
            self.answer_for_backend(client, number, FailureCause::Unreachable);
        }
        while self.work.is_left()
            && let Some(client) = self.shared.errands.pop_front()
        {
            self.send_errand(client);
        }
        while self.work.is_left() {
            let next = self.backends.as_mut().and_then(|b| b.couples.pop_front());
            let Some(key) = next else {
                return;
            };
            self.couple_pair(key);
        }
    }

    /// Notes that pieces may pass between a connection and its partner.
    #[cold]
    pub(super) fn note_couple(&mut self, key: Key) {
        if let Some(slot) = get(&mut self.connections, key)
            && !std::mem::replace(&mut slot.is_coupled, true)
            && let Some(backends) = &mut self.backends
        {
            backends.couples.push_back(key);
        }
    }

    /// Sends the request of a client to its backend, on a connection that was kept or on a new one.
    ///
    /// A kept connection may just be closing at the other end. Only a request that can be sent again in any
    /// case is risked there; any other gets a new connection.
    fn send_errand(&mut self, client: Key) {
        let Some(backends) = &mut self.backends else {
            return;
        };
        let Some(slot) = get(&mut self.connections, client) else {
            return;
        };
        let Some(errand) = slot.connection.errand() else {
            return;
        };
        let number = errand.backend;
        // A request that was lost once is not risked again.
        if errand.can_be_risked() && !backends.has_tried(client) {
            while let Some(kept) = backends.get(number).idle.pop() {
                let slot = get(&mut self.connections, kept);
                if slot.is_some_and(|slot| slot.connection.is_idle_backend()) {
                    self.tally.counters.backend_reuses += 1;
                    return self.pair(client, kept);
                }
            }
        }
        let now = self.turn.now.instant;
        if backends.joins_others(number, client, now, &self.turn.limits) {
            return;
        }
        self.connect(client);
    }

    /// Makes a new connection to the backend of a client.
    fn connect(&mut self, client: Key) {
        let errand = get(&mut self.connections, client).and_then(|slot| slot.connection.errand());
        let (Some(errand), Some(backends)) = (errand, &mut self.backends) else {
            return;
        };
        let number = errand.backend;
        let Some((at, address)) = backends.address(number, client) else {
            return;
        };
        let end = BackendEnd {
            number,
            address: at as u16,
            is_known: false,
        };
        self.work.spend(Self::CONNECT_WORK);
        match self.driver.connect(&address) {
            Ok(stream) => {
                let key = self.insert_backend(stream, address.peer(), end);
                self.pair(client, key);
            }
            Err(error) => self.missed(client, end, NoAnswer::Io(error.kind())),
        }
    }

    /// Puts a connection to a backend into the slab.
    fn insert_backend(&mut self, stream: D::Stream, peer: SocketAddr, end: BackendEnd) -> Key {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.connections.vacant_entry();
        let key = Key::new(entry.key(), self.generation);
        self.tally.counters.backend_connections += 1;
        entry.insert(Slot::new(
            Connection::to_backend(key, stream, peer, &self.turn),
            Some(end),
        ));
        key
    }

    /// Makes a pair of a client and a connection to its backend, and sends the head of the request.
    fn pair(&mut self, client: Key, backend: Key) {
        let Some(slot) = get(&mut self.connections, client) else {
            return;
        };
        slot.partner = Some(backend);
        let Some(errand) = slot.connection.errand().cloned() else {
            return;
        };
        if let Some(slot) = get(&mut self.connections, backend) {
            slot.partner = Some(client);
            let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
            slot.connection.ask(&errand, cx);
            self.pump(backend);
        }
    }

    /// Takes a pair apart. Returns the keys of the client and of the connection to the backend, whichever
    /// of the two `key` is.
    fn part(&mut self, key: Key) -> Option<(Key, Key)> {
        let slot = get(&mut self.connections, key)?;
        let partner = slot.partner.take()?;
        let is_client = slot.backend.is_none();
        if let Some(slot) = get(&mut self.connections, partner) {
            slot.partner = None;
        }
        Some(match is_client {
            true => (key, partner),
            false => (partner, key),
        })
    }

    /// Lets pieces pass between the two connections of a pair, and goes on as they have come to stand.
    fn couple_pair(&mut self, key: Key) {
        let Some((client, backend)) = self.pair_of(key) else {
            return;
        };
        let passed = self.pass(client, backend);
        self.note_news(client, backend);
        let slot = get(&mut self.connections, client);
        let is_wanted = slot.is_some_and(|slot| slot.connection.is_forwarding());
        let slot = get(&mut self.connections, backend);
        let stage = slot.map(|slot| slot.connection.reply_stage());
        match stage {
            // The client learns of the end when the connection is removed.
            Some(ReplyStage::Gone) => return self.pump(backend),
            Some(ReplyStage::Failed(failure)) if is_wanted => return self.lost(key, failure),
            Some(ReplyStage::Awaited | ReplyStage::Begun) if is_wanted => {
                return match passed {
                    Passed::Something => {
                        self.pump(backend);
                        self.pump(client);
                    }
                    Passed::BudgetSpent => self.note_couple(key),
                    Passed::Nothing => {}
                };
            }
            _ => {}
        }
        // The client has its answer, or wants none any more.
        self.part(key);
        match stage {
            Some(ReplyStage::Over) => self.keep(backend),
            _ => self.abandon(backend),
        }
        self.pump(client);
    }

    /// Finds the pair of a connection: the keys of the client and of the connection to the backend. From
    /// now on the connection can be noted again.
    fn pair_of(&mut self, key: Key) -> Option<(Key, Key)> {
        let slot = get(&mut self.connections, key)?;
        slot.is_coupled = false;
        let partner = slot.partner?;
        Some(match slot.backend {
            None => (key, partner),
            Some(_) => (partner, key),
        })
    }

    /// Carries pieces from each connection of a pair to the other, as long as there is room and the budget
    /// lasts.
    fn pass(&mut self, client: Key, backend: Key) -> Passed {
        let slots = self.connections.get2_mut(client.index(), backend.index());
        let Some((client, backend)) = slots else {
            return Passed::Nothing;
        };
        let (c, b) = (&mut client.connection, &mut backend.connection);
        let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
        let mut has_moved = false;
        while cx.has_steps() && b.takes_pieces(cx) && c.give(cx, &mut |piece, cx| b.take(piece, cx))
        {
            has_moved = true;
        }
        while cx.has_steps() && c.takes_pieces(cx) && b.give(cx, &mut |piece, cx| c.take(piece, cx))
        {
            has_moved = true;
        }
        self.work.spend(1 + cx.used_work());
        match (has_moved, cx.has_steps()) {
            (true, _) => Passed::Something,
            (false, false) => Passed::BudgetSpent,
            (false, true) => Passed::Nothing,
        }
    }

    /// Tells the backends of a connection that was made, and of an answer that has begun.
    fn note_news(&mut self, client: Key, backend: Key) {
        let (Some(slot), Some(backends)) =
            (get(&mut self.connections, backend), &mut self.backends)
        else {
            return;
        };
        if let Some(end) = &mut slot.backend
            && !slot.connection.has_sent_nothing()
            && !std::mem::replace(&mut end.is_known, true)
        {
            self.shared.errands.extend(backends.reached(*end));
        }
        if slot.connection.has_answered() {
            backends.settled(client, self.turn.now.instant);
        }
    }

    /// Keeps a connection to a backend for the next request, or lets it end.
    fn keep(&mut self, key: Key) {
        self.pump(key);
        let Some(slot) = get(&mut self.connections, key) else {
            return;
        };
        if let (Some(end), Some(backends)) = (slot.backend, &mut self.backends)
            && slot.connection.is_idle_backend()
        {
            backends.get(end.number).idle.push(key);
        }
    }

    /// Ends a connection to a backend at once. The backend sees a reset: no client waits for the answer.
    fn abandon(&mut self, key: Key) {
        if let Some(slot) = get(&mut self.connections, key) {
            let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
            slot.connection.abandon(cx);
            self.remove(key);
        }
    }

    /// The connection to the backend has failed. `key` is either of the pair.
    fn lost(&mut self, key: Key, failure: NoAnswer) {
        let Some((client, backend)) = self.part(key) else {
            return;
        };
        let Some(slot) = get(&mut self.connections, backend) else {
            return;
        };
        let Some(end) = slot.backend else {
            return;
        };
        let loss = Loss {
            end,
            failure,
            has_sent_nothing: slot.connection.has_sent_nothing(),
            has_heard: slot.connection.has_heard(),
            is_reused: slot.connection.is_reused_backend(),
        };
        self.abandon(backend);
        self.settle(client, loss);
    }

    /// Goes on after a loss: sends the request again, waits, or tells the client.
    fn settle(&mut self, client: Key, loss: Loss) {
        let Some(slot) = get(&mut self.connections, client) else {
            return;
        };
        let number = loss.end.number;
        let Some(errand) = slot.connection.errand() else {
            // The answer has begun.
            let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
            slot.connection.take(Piece::Broken, cx);
            return self.pump(client);
        };
        let is_over = matches!(loss.failure, NoAnswer::Closed | NoAnswer::Io(_));
        if is_over && loss.is_reused && loss.has_sent_nothing {
            return self.connect(client);
        }
        let can_repeat = errand.is_idempotent() && slot.connection.can_repeat() && !loss.has_heard;
        let now = self.turn.now.instant;
        if is_over
            && can_repeat
            && !loss.has_sent_nothing
            && let Some(backends) = &mut self.backends
            && !self.turn.stopping
            && backends.may_repeat(number, client, now, &self.turn.limits)
        {
            // A backend that is being stopped takes connections to the last, and answers none: after the loss
            // of a new connection, the request waits.
            return match loss.is_reused {
                true => self.connect(client),
                false => backends.get(number).wait(client, now),
            };
        }
        match loss.has_sent_nothing && loss.failure.is_of_connection() {
            true => self.missed(client, loss.end, loss.failure),
            false => {
                let cause = loss.failure.cause(loss.has_sent_nothing, &self.turn.limits);
                self.answer_for_backend(client, number, cause);
            }
        }
    }

    /// No connection to the backend was made.
    fn missed(&mut self, client: Key, end: BackendEnd, failure: NoAnswer) {
        let number = end.number;
        let Some(backends) = &mut self.backends else {
            return;
        };
        let now = self.turn.now.instant;
        let moment = (now, self.turn.stopping);
        match backends.missed(end, client, failure, moment, &self.turn.limits) {
            Next::TryAgain => self.connect(client),
            Next::GiveUp => {
                self.answer_for_backend(client, number, FailureCause::Unreachable);
            }
            Next::Wait => {
                if backends.should_resolve(number, now) {
                    let backend = backends.get(number);
                    // The old addresses may be right, and the resolver away.
                    if let Ok(addresses) = self.driver.resolve(&backend.target)
                        && !addresses.is_empty()
                    {
                        backend.set_addresses(addresses);
                    }
                }
            }
        }
    }

    /// Answers a client in place of its backend.
    fn answer_for_backend(&mut self, client: Key, number: u16, cause: FailureCause) {
        self.tally.counters.backend_failures += 1;
        let Some(backends) = &mut self.backends else {
            return;
        };
        backends.settled(client, self.turn.now.instant);
        let backend = backends.get(number);
        let now = self.turn.now.instant;
        let lasts = backend.down_since.map(|at| now - at);
        let tried = backend.tried();
        let tried: Vec<_> = tried
            .iter()
            .map(|(address, error)| Attempt { address, error })
            .collect();
        let route = self.shared.site.gateway().route(number).clone();
        let failure = Failure {
            route: &route,
            cause,
            tried: &tried,
            lasts,
        };
        if let Some(slot) = get(&mut self.connections, client) {
            let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
            slot.connection.answer_for_backend(&failure, cx);
            self.pump(client);
        }
    }

    /// One connection of a pair was removed: its partner goes on alone, or ends.
    pub(super) fn widowed(&mut self, partner: Key, end: Option<BackendEnd>, cause: Cause) {
        let Some(slot) = get(&mut self.connections, partner) else {
            return;
        };
        slot.partner = None;
        let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
        if slot.connection.is_tunnel() {
            slot.connection.take(Piece::Broken, cx);
            return self.pump(partner);
        }
        match end {
            None => self.abandon(partner),
            Some(end) => {
                let loss = Loss {
                    end,
                    failure: match cause {
                        Cause::Stalled => NoAnswer::Stalled,
                        _ => NoAnswer::Closed,
                    },
                    has_sent_nothing: false,
                    has_heard: true,
                    is_reused: false,
                };
                self.settle(partner, loss);
            }
        }
    }
}
