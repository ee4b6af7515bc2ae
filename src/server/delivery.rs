//! Floor 4, server: carrying out the effects of connections and endpoints. A message for a room is
//! encoded once and queued for each member.
//!
//! Deliveries go in rounds: first effects are carried out, and then each connection with new output
//! is written to once. Several messages for the same connection thus leave in a single write, which
//! costs ten times as much as queuing a message. A message for thousands of members takes several
//! turns, and so do the writes: a round goes on where the last turn stopped.

use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;

use super::{Driver, Server, Slot, get};
use crate::config::SlowMember;
use crate::connection::{
    Audience, Broadcast, Context, Effect, Key, Message, PlainFrame, TraceRecord, Verdict, Wish,
};
use crate::site::Files;
use crate::transport::Transport;

/// The deliveries of the present round.
#[derive(Default, Debug)]
pub(super) struct Deliveries {
    /// The message that is being queued for its recipients, and those that come later.
    sending: VecDeque<Sending>,
    /// The connections with new output, in order, each at most once.
    pending_flush: VecDeque<Key>,
    /// The number of deliveries in this round.
    made: usize,
    /// An empty list, whose memory is used again.
    spare: Vec<Key>,
    /// The effects of this round have been carried out, and the writes have begun.
    is_flushing: bool,
}

/// A message that waits for some of its recipients.
#[derive(Debug)]
struct Sending {
    broadcast: Rc<Broadcast>,
    /// The recipients that have not got it yet, the next one last.
    recipients: Vec<Key>,
    /// The fate of a recipient without space for the message.
    slow: SlowMember,
}

impl Deliveries {
    /// Whether nothing is left to do of this round.
    pub fn is_empty(&self) -> bool {
        self.sending.is_empty() && self.pending_flush.is_empty()
    }

    /// Whether a connection is among those with new output.
    pub fn has_output_of(&self, key: Key) -> bool {
        self.pending_flush.contains(&key)
    }

    /// Adds a connection to those with new output.
    fn add_output<F: Files, T: Transport<File = F::File>>(&mut self, slot: &mut Slot<F, T>) {
        if !mem::replace(&mut slot.pending_flush, true) {
            self.pending_flush.push_back(slot.connection.key());
        }
    }
}

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// The work of queuing a message for a recipient. With many recipients, the state of each must come
    /// from memory.
    const RECIPIENT_WORK: u32 = 2;

    /// The work of writing to a recipient, besides the write.
    const FLUSH_WORK: u32 = 4;

    /// Goes on with the present round of deliveries, as far as the turn has time. No connection is
    /// read from here. Only endpoints that answer a post, and connections that end, add effects
    /// meanwhile.
    #[inline]
    pub(super) fn deliver(&mut self) {
        self.work.begin_part();
        if !self.ticks.is_empty() || self.shared.alarms.next().is_some() {
            self.tick();
        }
        if self.jobs.is_some() {
            self.do_jobs();
        }
        if self.has_effects() || self.deliveries.is_flushing {
            self.go_on_with_round();
        }
        if self.shared.owed.has_crowded_out() {
            self.call_crowded_out();
        }
        self.free_memory();
    }

    /// Goes on with the present round. A function of its own, because most turns deliver nothing.
    #[inline(never)]
    fn go_on_with_round(&mut self) {
        if !self.deliveries.is_flushing {
            self.carry_out_effects();
        }
        if self.deliveries.is_flushing {
            self.flush_recipients();
        }
    }

    /// Queues the connections whose streams found the queue of effects full. They tell their endpoints
    /// when there is room.
    fn call_crowded_out(&mut self) {
        for key in self.shared.owed.take_crowded_out() {
            // The key is that of a request. To pump a connection with another request does no harm.
            if let Some(slot) = self.connections.get_mut(key.index()) {
                self.runnable.enqueue(slot);
            }
        }
    }

    /// Carries out effects until none is left, or the round has enough deliveries, or the turn has no
    /// time left. The last message of a round is queued for all of its recipients: if some had to wait
    /// for the next round, fewer messages would share a write. The numbers of members come last, and
    /// so do not wait although effects may never run out.
    fn carry_out_effects(&mut self) {
        while self.work.is_left() {
            if let Some(mut sending) = self.deliveries.sending.pop_front() {
                self.send_to(&mut sending);
                match sending.recipients.is_empty() {
                    true => self.deliveries.spare = sending.recipients,
                    false => self.deliveries.sending.push_front(sending),
                }
            } else if let Some(effect) = self.next_effect() {
                self.deliveries.made += 1;
                self.work.spend(1);
                self.carry_out(effect);
            } else if self.shared.rooms.has_news() {
                self.send_news();
            } else {
                self.deliveries.is_flushing = true;
                return;
            }
        }
    }

    /// Takes the next effect of the round; `None` if none is left, or the round has enough deliveries.
    fn next_effect(&mut self) -> Option<Effect> {
        let has_enough = self.deliveries.made >= self.turn.limits.deliveries_per_flush;
        (!has_enough).then(|| self.shared.effects.pop()).flatten()
    }

    /// Begins to send the numbers of members that have changed.
    fn send_news(&mut self) {
        for (text, watchers) in self.shared.rooms.news() {
            let frame = PlainFrame::new(Message::Text(&text));
            let presence = Broadcast::new(frame, &mut self.shared.pool);
            self.work.spend(1);
            self.send(Rc::new(presence), watchers, self.turn.limits.slow_member);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let (key, kind) = effect.traced();
        self.tally.ring.push(TraceRecord::Effect { key, kind });
        match effect {
            Effect::Wish(key, wish) => self.grant(key, wish),
            // The connection may have closed since, but was a member while it queued the effects
            // that follow. Its `Disconnected` comes after all of them.
            Effect::Join { key, room, last } => {
                for broadcast in self.shared.rooms.join(key, &room, last) {
                    self.send(broadcast, vec![key], self.turn.limits.slow_member);
                }
            }
            Effect::WatchPresence { key, room, mark } => self.shared.rooms.watch(key, &room, mark),
            Effect::Leave { key, room } => self.shared.rooms.leave(key, &room),
            Effect::Disconnected(key) => self.shared.rooms.leave_all(key),
            Effect::Publish { to, frame } => self.publish(&to, frame),
        }
    }

    /// Lets a connection carry out the wish of an endpoint.
    fn grant(&mut self, key: Key, wish: Wish) {
        // The key may be that of a request, and the connection knows its request. A connection that has
        // ended waits for the next turn to be removed.
        let slot = self.connections.get_mut(key.index());
        let Some(slot) = slot.filter(|slot| slot.connection.cause().is_none()) else {
            return;
        };
        let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
        slot.connection.carry_out((key, wish), cx);
        self.work.spend(cx.used_work());
        self.deliveries.add_output(slot);
    }

    /// Publishes a message to an audience.
    fn publish(&mut self, to: &Audience, frame: PlainFrame) {
        let broadcast = Rc::new(Broadcast::new(frame, &mut self.shared.pool));
        let mut recipients = mem::take(&mut self.deliveries.spare);
        let is_short = self.shared.pool.account().is_over();
        match to {
            Audience::Connection(key) => recipients.push(*key),
            Audience::Connections(keys) => recipients.extend_from_slice(keys),
            _ => {}
        }
        for room in self.shared.rooms.of_audience(to) {
            self.shared.rooms.list_members(room, &mut recipients);
            self.shared.rooms.remember(room, &broadcast, is_short);
        }
        if let Audience::OthersInRoomsOf(sender) = to {
            recipients.retain(|key| key != sender);
        }
        let slow = match to {
            // A page of live reload that missed a message would show an old file. A closed one comes
            // back and asks.
            Audience::Connections(_) => SlowMember::Close,
            _ => self.turn.limits.slow_member,
        };
        self.send(broadcast, recipients, slow);
    }

    /// Begins to send a broadcast to its recipients, after all others.
    fn send(&mut self, broadcast: Rc<Broadcast>, mut recipients: Vec<Key>, slow: SlowMember) {
        recipients.reverse();
        self.deliveries.sending.push_back(Sending {
            broadcast,
            recipients,
            slow,
        });
    }

    /// Queues a broadcast for its recipients, beginning with the last, as far as the turn has time.
    fn send_to(&mut self, sending: &mut Sending) {
        let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
        while self.work.is_left()
            && let Some(key) = sending.recipients.pop()
        {
            self.deliveries.made += 1;
            cx.renew_budget();
            if let Some(slot) = get(&mut self.connections, key) {
                let (broadcast, slow) = (&sending.broadcast, sending.slow);
                slot.connection.enqueue_broadcast(broadcast, slow, cx);
                self.deliveries.add_output(slot);
            }
            self.work.spend(Self::RECIPIENT_WORK + cx.used_work());
        }
    }

    /// Writes the output of the round, as far as the turn has time. Begins a new round if all is
    /// written.
    fn flush_recipients(&mut self) {
        while self.work.is_left() {
            match self.deliveries.pending_flush.pop_front() {
                Some(key) => self.flush_connection(key),
                None => {
                    (self.deliveries.made, self.deliveries.is_flushing) = (0, false);
                    return;
                }
            }
        }
    }

    /// Writes the output that was queued for a connection.
    fn flush_connection(&mut self, key: Key) {
        let Some(slot) = get(&mut self.connections, key) else {
            return;
        };
        slot.pending_flush = false;
        let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
        let verdict = slot.connection.flush(cx);
        slot.connection.count_calls(cx);
        self.work.spend(Self::FLUSH_WORK + cx.used_work());
        match verdict {
            Verdict::Again | Verdict::Throttled => self.runnable.enqueue_heavy(slot),
            // Another mode than WebSocket may have more to do. The next turn does the rest.
            Verdict::Wait if !slot.connection.is_websocket() => self.runnable.enqueue(slot),
            Verdict::Wait => {}
            // The connection is queued: the next turn pumps and then removes the connection.
            Verdict::Close if slot.queued => {}
            Verdict::Close => return self.remove(key),
        }
        let deadline = slot.connection.deadline(&self.turn.limits);
        self.timers.arm(key.index(), deadline);
    }

    /// Calls the endpoints whose interval has passed, and those whose timers have. A missed tick is not
    /// made up for.
    #[inline(never)]
    fn tick(&mut self) {
        let now = self.turn.now.instant;
        for tick in &mut self.ticks {
            if tick.next <= now && !self.turn.stopping {
                tick.next = now + tick.every;
                let counters = &self.tally.counters;
                let (endpoint, mut hub) = self.shared.endpoint(tick.endpoint, &self.turn, counters);
                endpoint.on_tick(&mut hub);
            }
        }
        while self.work.is_left()
            && let Some((number, timer)) = self.shared.alarms.pop_due(now)
        {
            let counters = &self.tally.counters;
            let (endpoint, mut hub) = self.shared.endpoint(number, &self.turn, counters);
            endpoint.on_timer(&mut hub, timer);
            self.work.spend(1);
        }
    }
}
