//! Floor 4, server: carrying out the effects of connections and endpoints. A message for a room is
//! encoded once and queued for each member. The bytes are sent after the last effect of the turn
//! has been carried out.

use std::mem;
use std::rc::Rc;

use super::{Driver, Server, Slot, enqueue, get};
use crate::connection::{
    Audience, Broadcast, Context, Effect, Hub, Key, Message, PlainFrame, Post, RouteMatch, Shared,
    Verdict,
};
use crate::site::{Files, Mount, Reply};
use crate::transport::Transport;

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// Carries out as many effects as a turn may; the rest is left for the next turn. Connections
    /// with new output are written to at the end: several messages then leave in a single write. No
    /// connection is read from here. Only endpoints that answer a post, and connections that end, add
    /// effects meanwhile.
    pub(super) fn deliver(&mut self) {
        self.tick();
        let mut left = self.turn.limits.turn_deliveries;
        while left > 0 {
            let Some(effect) = self.shared.effects.pop() else {
                break;
            };
            left = left.saturating_sub(self.deliver_one(effect));
        }
        for (members, watchers) in self.rooms.news() {
            let frame = PlainFrame::new(Message::Text(&members.to_string()));
            let presence = Broadcast::new(frame, &mut self.shared.pool);
            self.send_broadcast(watchers, &presence);
        }
        let mut pending_flush = mem::take(&mut self.pending_flush);
        for key in pending_flush.drain(..) {
            self.flush_connection(key);
        }
        self.pending_flush = pending_flush;
        self.free_memory();
    }

    /// Carries out an effect. Returns the cost in deliveries: 1, plus 1 for each message queued for
    /// a connection.
    fn deliver_one(&mut self, effect: Effect) -> usize {
        match effect {
            Effect::Post { from, to, body } => self.post(from, &to, body),
            // The connection may have closed since, but was a member while it queued the effects
            // that follow. Its `Disconnected` comes after all of them.
            Effect::Join { key, room, last } => {
                let history = self.rooms.join(key, &room, last);
                for broadcast in &history {
                    self.send_broadcast([key], broadcast);
                }
                return 1 + history.len();
            }
            Effect::WatchPresence { key, room } => self.rooms.watch(key, &room),
            Effect::Leave { key, room } => self.rooms.leave(key, &room),
            Effect::Disconnected(key) => self.rooms.leave_all(key),
            Effect::Publish { to, frame } => return self.publish(&to, frame),
        }
        1
    }

    /// Hands a body to the endpoint, and the answer to the waiting connection.
    fn post(&mut self, from: Key, to: &Mount, body: Vec<u8>) {
        let Some(slot) = get(&mut self.connections, from) else {
            return self.shared.pool.release_vec(body);
        };
        let Shared {
            pool,
            endpoints,
            effects,
            ..
        } = &mut self.shared;
        // From here on the endpoint owns the storage of the body. The answer may come in different
        // storage.
        pool.account_mut().release(body.capacity());
        let post = Post {
            route: RouteMatch {
                name: &to.name,
                query: &to.query,
            },
            body,
            members: &|room| self.rooms.members(room),
        };
        let answer = endpoints
            .get(to.number)
            .on_post(&mut Hub::new(effects), post);
        pool.account_mut().charge(answer.body.capacity());
        let reply = Reply::made(answer.status, answer.media_type, answer.body);
        let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
        slot.connection.endpoint_answered(reply, cx);
        mark_pending_flush(slot, &mut self.pending_flush);
    }

    /// Publishes a message to an audience. Returns the cost in deliveries.
    fn publish(&mut self, to: &Audience, frame: PlainFrame) -> usize {
        let broadcast = Rc::new(Broadcast::new(frame, &mut self.shared.pool));
        let mut recipients = mem::take(&mut self.recipients);
        let is_short = self.shared.pool.account().is_over();
        for room in self.rooms.of_audience(to) {
            self.rooms.list_members(room, &mut recipients);
            self.rooms.remember(room, &broadcast, is_short);
        }
        let cost = 1 + recipients.len();
        self.send_broadcast(recipients.drain(..), &broadcast);
        self.recipients = recipients;
        cost
    }

    /// Queues a broadcast for each recipient. The bytes are sent at the end of the turn's
    /// deliveries.
    fn send_broadcast(&mut self, recipients: impl IntoIterator<Item = Key>, broadcast: &Broadcast) {
        let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
        for key in recipients {
            if let Some(slot) = get(&mut self.connections, key) {
                cx.renew_budget();
                slot.connection.enqueue_broadcast(broadcast, cx);
                mark_pending_flush(slot, &mut self.pending_flush);
            }
        }
    }

    /// Writes the output queued for a connection in this turn.
    fn flush_connection(&mut self, key: Key) {
        let Some(slot) = get(&mut self.connections, key) else {
            return;
        };
        slot.pending_flush = false;
        let cx = &mut Context::new(&self.turn, &mut self.shared, &mut self.tally);
        match slot.connection.flush(cx) {
            Verdict::Again | Verdict::Throttled => enqueue(slot, &mut self.runnable),
            // Another mode than WebSocket may have more to do. The next turn does the rest.
            Verdict::Wait if !slot.connection.is_websocket() => enqueue(slot, &mut self.runnable),
            Verdict::Wait => {}
            // The connection is queued: the next turn pumps and then removes the connection.
            Verdict::Close if slot.queued => {}
            Verdict::Close => return self.remove(key),
        }
        let deadline = slot.connection.deadline(&self.turn.limits);
        self.timers.arm(key.index(), deadline);
    }

    /// Calls the endpoints whose interval has passed. A missed tick is not made up for.
    fn tick(&mut self) {
        let now = self.turn.now.instant;
        for tick in &mut self.ticks {
            if tick.next <= now && !self.turn.stopping {
                tick.next = now + tick.every;
                let endpoint = self.shared.endpoints.get(tick.endpoint);
                endpoint.on_tick(&mut Hub::new(&mut self.shared.effects));
            }
        }
    }
}

fn mark_pending_flush<F: Files, T: Transport<File = F::File>>(
    slot: &mut Slot<F, T>,
    pending_flush: &mut Vec<Key>,
) {
    if !mem::replace(&mut slot.pending_flush, true) {
        pending_flush.push(slot.connection.key());
    }
}
