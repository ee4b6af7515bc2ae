//! Floor 5, server: the mail that connections leave for each other, and its delivery. What is said is
//! framed once, queued for everybody whom it concerns, and sent when all is queued.

use std::mem;
use std::rc::Rc;

use super::{Common, Driver, Server, Slot, enqueue, get};
use crate::connection::{
    Audience, Broadcast, Effect, Hub, Key, Message, Now, PlainFrame, RouteMatch, Verdict,
};
use crate::site::{Files, Mount, Reply};
use crate::transport::Transport;

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// Delivers mail, as much as a turn may: what is left is for the next. Whoever has got something is
    /// written to when all is delivered, so that what several have said leaves in one write. Nobody is
    /// read from here, so what there is to deliver does not grow meanwhile.
    pub(super) fn deliver(&mut self, now: Now) {
        self.tick(now);
        let mut left = self.common.limits.turn_deliveries;
        while left > 0 {
            let Some(effects) = self.common.effects.pop() else {
                break;
            };
            left = left.saturating_sub(self.deliver_one(effects, now));
        }
        for (members, watchers) in self.rooms.news() {
            let frame = PlainFrame::new(Message::Text(&members.to_string()));
            let news = Broadcast::new(frame, &mut self.common.pool);
            watchers
                .into_iter()
                .for_each(|key| self.send_broadcast(key, &news, now));
        }
        let mut pending_flush = mem::take(&mut self.pending_flush);
        for key in pending_flush.drain(..) {
            self.flush_connection(key, now);
        }
        self.pending_flush = pending_flush;
    }

    /// Delivers one piece of mail, and says how many have got it, itself included.
    fn deliver_one(&mut self, effects: Effect, now: Now) -> usize {
        match effects {
            Effect::Post { from, to, body } => self.post(from, &to, body, now),
            // It may be gone by now, and was a member when it said what follows: that it has left is told
            // behind that.
            Effect::Join { key, room, last } => {
                let said = self.rooms.join(key, &room, last);
                said.iter()
                    .for_each(|said| self.send_broadcast(key, said, now));
                return 1 + said.len();
            }
            Effect::WatchPresence { key, room } => self.rooms.watch(key, &room),
            Effect::Leave { key, room } => self.rooms.leave(key, &room),
            Effect::Disconnected(key) => self.rooms.leave_all(key),
            Effect::Publish { to, frame } => return self.publish(&to, frame, now),
        }
        1
    }

    /// Hands a body to its endpoint, and the answer to whoever has sent it.
    fn post(&mut self, from: Key, to: &Mount, body: Vec<u8>, now: Now) {
        let Some(slot) = get(&mut self.connections, from) else {
            return self.common.pool.release_vec(body);
        };
        let route = RouteMatch {
            name: &to.name,
            query: &to.query,
        };
        let Common {
            pool,
            endpoints,
            effects,
            ..
        } = &mut self.common;
        // From here on the storage is the endpoint's, and what comes back may be another.
        pool.account_mut().release(body.capacity());
        let members = |room: &str| self.rooms.members(room);
        let hub = &mut Hub::new(effects);
        let answer = endpoints.get(to.number).on_post(hub, route, body, &members);
        pool.account_mut().charge(answer.body.capacity());
        let reply = Reply::made(answer.status, answer.media_type, answer.body);
        slot.connection
            .endpoint_answered(reply, &mut self.common.context(now));
        mark_pending_flush(slot, &mut self.pending_flush);
    }

    /// Says something to an audience, and gives the size of that.
    fn publish(&mut self, to: &Audience, frame: PlainFrame, now: Now) -> usize {
        let broadcast = Rc::new(Broadcast::new(frame, &mut self.common.pool));
        let mut recipients = mem::take(&mut self.recipients);
        let is_short = self.common.pool.account().is_over();
        for room in self.rooms.of_audience(to) {
            self.rooms.list_members(room, &mut recipients);
            self.rooms.remember(room, &broadcast, is_short);
        }
        let size = 1 + recipients.len();
        for key in recipients.drain(..) {
            self.send_broadcast(key, &broadcast, now);
        }
        self.recipients = recipients;
        size
    }

    /// Lets one connection hear something, which is sent later in this turn.
    fn send_broadcast(&mut self, key: Key, broadcast: &Broadcast, now: Now) {
        if let Some(slot) = get(&mut self.connections, key) {
            slot.connection
                .enqueue_broadcast(broadcast, &mut self.common.context(now));
            mark_pending_flush(slot, &mut self.pending_flush);
        }
    }

    /// Writes what a connection has got.
    fn flush_connection(&mut self, key: Key, now: Now) {
        let Some(slot) = get(&mut self.connections, key) else {
            return;
        };
        slot.pending_flush = false;
        match slot.connection.flush(&mut self.common.context(now)) {
            Verdict::Again | Verdict::Throttled => enqueue(slot, &mut self.runnable),
            // Its mode may have more to do, for which there is the next turn.
            Verdict::Wait if !slot.connection.is_websocket() => enqueue(slot, &mut self.runnable),
            Verdict::Wait => {}
            // Or then, if it will be pumped anyway.
            Verdict::Close if slot.queued => {}
            Verdict::Close => return self.remove(key, now),
        }
        let deadline = slot.connection.deadline(&self.common.limits);
        self.timers.arm(key.index(), deadline);
    }

    /// Calls the endpoints whose time has come. One that was missed is not made up for.
    fn tick(&mut self, now: Now) {
        for tick in &mut self.ticks {
            if tick.next <= now.instant && !self.common.stopping {
                tick.next = now.instant + tick.every;
                let endpoint = self.common.endpoints.get(tick.endpoint);
                endpoint.on_tick(&mut Hub::new(&mut self.common.effects));
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
