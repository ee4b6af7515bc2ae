//! Floor 5, server: the mail that connections leave for each other, and its delivery. What is said is
//! framed once, queued for everybody whom it concerns, and sent when all is queued.

use std::mem;
use std::rc::Rc;

use super::{Common, Driver, Server, Slot, enqueue, get};
use crate::connection::{
    Audience, Broadcast, Hub, Key, Mail, Message, Now, Place, PlainFrame, Verdict,
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
            let Some(mail) = self.common.mail.pop() else {
                break;
            };
            left = left.saturating_sub(self.deliver_one(mail, now));
        }
        for (members, watchers) in self.rooms.news() {
            let frame = PlainFrame::new(Message::Text(&members.to_string()));
            let news = Broadcast::new(frame, &mut self.common.pool);
            watchers
                .into_iter()
                .for_each(|key| self.tell(key, &news, now));
        }
        let mut touched = mem::take(&mut self.touched);
        for key in touched.drain(..) {
            self.push(key, now);
        }
        self.touched = touched;
    }

    /// Delivers one piece of mail, and says how many have got it, itself included.
    fn deliver_one(&mut self, mail: Mail, now: Now) -> usize {
        match mail {
            Mail::Post { from, to, body } => self.post(from, &to, body, now),
            // It may be gone by now, and was a member when it said what follows: that it has left is told
            // behind that.
            Mail::Join { who, room, last } => {
                let said = self.rooms.join(who, &room, last);
                said.iter().for_each(|said| self.tell(who, said, now));
                return 1 + said.len();
            }
            Mail::Watch { who, room } => self.rooms.watch(who, &room),
            Mail::Leave { who, room } => self.rooms.leave(who, &room),
            Mail::Gone(key) => self.rooms.leave_all(key),
            Mail::Say { to, frame } => return self.say(&to, frame, now),
        }
        1
    }

    /// Hands a body to its endpoint, and the answer to whoever has sent it.
    fn post(&mut self, from: Key, to: &Mount, body: Vec<u8>, now: Now) {
        let Some(slot) = get(&mut self.connections, from) else {
            return self.common.pool.release_vec(body);
        };
        let place = Place {
            name: &to.name,
            query: &to.query,
        };
        let Common {
            pool,
            endpoints,
            mail,
            ..
        } = &mut self.common;
        // From here on the storage is the endpoint's, and what comes back may be another.
        pool.account_mut().release(body.capacity());
        let members = |room: &str| self.rooms.members(room);
        let hub = &mut Hub::new(mail);
        let answer = endpoints.get(to.number).on_post(hub, place, body, &members);
        pool.account_mut().charge(answer.body.capacity());
        let reply = Reply::made(answer.status, answer.media_type, answer.body);
        slot.connection.deliver(reply, &mut self.common.lend(now));
        touch(slot, &mut self.touched);
    }

    /// Says something to an audience, and gives the size of that.
    fn say(&mut self, to: &Audience, frame: PlainFrame, now: Now) -> usize {
        let broadcast = Rc::new(Broadcast::new(frame, &mut self.common.pool));
        let mut hearers = mem::take(&mut self.hearers);
        let is_short = self.common.pool.account().is_over();
        for room in self.rooms.of_audience(to) {
            self.rooms.list_members(room, &mut hearers);
            self.rooms.remember(room, &broadcast, is_short);
        }
        let size = 1 + hearers.len();
        for key in hearers.drain(..) {
            self.tell(key, &broadcast, now);
        }
        self.hearers = hearers;
        size
    }

    /// Lets one connection hear something, which is sent later in this turn.
    fn tell(&mut self, key: Key, broadcast: &Broadcast, now: Now) {
        if let Some(slot) = get(&mut self.connections, key) {
            slot.connection.hear(broadcast, &mut self.common.lend(now));
            touch(slot, &mut self.touched);
        }
    }

    /// Writes what a connection has got.
    fn push(&mut self, key: Key, now: Now) {
        let Some(slot) = get(&mut self.connections, key) else {
            return;
        };
        slot.touched = false;
        match slot.connection.push(&mut self.common.lend(now)) {
            Verdict::Again | Verdict::Held => enqueue(slot, &mut self.runnable),
            // Its mode may have more to do, for which there is the next turn.
            Verdict::Wait if !slot.connection.listens() => enqueue(slot, &mut self.runnable),
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
                endpoint.on_tick(&mut Hub::new(&mut self.common.mail));
            }
        }
    }
}

fn touch<F: Files, T: Transport<File = F::File>>(slot: &mut Slot<F, T>, touched: &mut Vec<Key>) {
    if !mem::replace(&mut slot.touched, true) {
        touched.push(slot.connection.key());
    }
}
