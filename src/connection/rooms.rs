//! Floor 3, connection: the members and the history of each room. A room holds keys and frames, and
//! must not know [`Connection`](super::Connection). The server changes the rooms, when it carries out
//! effects; an endpoint reads them through its [`Hub`](super::Hub).
//!
//! Rooms and members are kept in the order of names and keys, because the order of delivery must
//! not depend on chance: the same events always give the same run.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use slab::Slab;

use super::{Audience, Broadcast, Key};
use crate::config::Limits;

/// Every room with a member or watcher, and the most recent empty rooms, kept for their history.
#[derive(Debug)]
pub(crate) struct Rooms {
    rooms: Slab<Room>,
    by_name: BTreeMap<Box<str>, usize>,
    /// The rooms of each connection, as a member or as a watcher.
    of: BTreeMap<Key, Vec<usize>>,
    /// The empty rooms, the first to become empty in front.
    empty: BTreeMap<u64, usize>,
    /// How often a room has become empty: the next key in `empty`.
    left_empty: u64,
    /// The rooms with a watcher that must be sent the number of members.
    changed: BTreeSet<usize>,
    messages_max: usize,
    bytes_max: usize,
    empty_max: usize,
}

#[derive(Default, Debug)]
struct Room {
    name: Box<str>,
    members: BTreeSet<Key>,
    /// The watchers, each with the text before its numbers; see [`Rooms::watch`].
    watchers: BTreeMap<Key, Box<str>>,
    /// The watchers that have not been sent a number yet.
    newcomers: Vec<Key>,
    /// The number of members that the other watchers were last sent.
    told: usize,
    history: VecDeque<Rc<Broadcast>>,
    /// The bytes of the plain frames in `history`.
    history_bytes: usize,
    /// The room's key in `empty`; `None` while the room has a member or watcher.
    empty_since: Option<u64>,
}

impl Rooms {
    /// Creates an empty set of rooms.
    pub fn new(limits: &Limits) -> Rooms {
        Rooms {
            rooms: Slab::new(),
            by_name: BTreeMap::new(),
            of: BTreeMap::new(),
            empty: BTreeMap::new(),
            left_empty: 0,
            changed: BTreeSet::new(),
            messages_max: limits.room_messages_max,
            bytes_max: limits.room_bytes_max,
            empty_max: limits.empty_rooms_max,
        }
    }

    /// The number of members in the room of this name.
    pub fn members(&self, name: &str) -> usize {
        let number = self.by_name.get(name);
        number.map_or(0, |number| self.rooms[*number].members.len())
    }

    /// The rooms with a member, by name, and the number of members of each.
    pub fn list(&self) -> impl Iterator<Item = (&str, usize)> {
        let rooms = self.by_name.iter();
        let rooms = rooms.map(|(name, number)| (&**name, self.rooms[*number].members.len()));
        rooms.filter(|(_, members)| *members > 0)
    }

    /// Adds a member. Returns at most `last` messages, the latest in the room's history, in order.
    pub(crate) fn join(&mut self, key: Key, name: &str, last: usize) -> Vec<Rc<Broadcast>> {
        let number = self.enter(key, name);
        let room = &mut self.rooms[number];
        if !room.members.insert(key) {
            return Vec::new();
        }
        if !room.watchers.is_empty() {
            self.changed.insert(number);
        }
        let skip = room.history.len().saturating_sub(last);
        room.history.iter().skip(skip).cloned().collect()
    }

    /// Adds a watcher, which will be sent the number of members, after `mark` and a space unless the mark
    /// is empty. A watcher keeps its first mark.
    pub(crate) fn watch(&mut self, key: Key, name: &str, mark: Box<str>) {
        let number = self.enter(key, name);
        let room = &mut self.rooms[number];
        if let Entry::Vacant(place) = room.watchers.entry(key) {
            place.insert(mark);
            room.newcomers.push(key);
            self.changed.insert(number);
        }
    }

    /// Returns the room of this name, and adds the room to those of the connection, which is about
    /// to become a member or a watcher.
    fn enter(&mut self, key: Key, name: &str) -> usize {
        let number = self.room(name);
        if let Some(since) = self.rooms[number].empty_since.take() {
            self.empty.remove(&since);
        }
        let list = self.of.entry(key).or_default();
        if !list.contains(&number) {
            list.push(number);
        }
        number
    }

    /// Returns the room of this name, creating the room if necessary. If no connection enters the
    /// room, call [`retire_if_empty`](Rooms::retire_if_empty) afterwards.
    fn room(&mut self, name: &str) -> usize {
        if let Some(number) = self.by_name.get(name) {
            return *number;
        }
        let number = self.rooms.insert(Room {
            name: name.into(),
            ..Room::default()
        });
        self.by_name.insert(name.into(), number);
        number
    }

    /// Takes a connection out of a room.
    pub(crate) fn leave(&mut self, key: Key, name: &str) {
        let Some(&number) = self.by_name.get(name) else {
            return;
        };
        if let Some(list) = self.of.get_mut(&key) {
            list.retain(|other| *other != number);
            if list.is_empty() {
                self.of.remove(&key);
            }
            self.take_out(key, number);
        }
    }

    /// Takes a connection out of every room.
    pub(crate) fn leave_all(&mut self, key: Key) {
        for number in self.of.remove(&key).unwrap_or_default() {
            self.take_out(key, number);
        }
    }

    fn take_out(&mut self, key: Key, number: usize) {
        let room = &mut self.rooms[number];
        if room.watchers.remove(&key).is_some() {
            room.newcomers.retain(|newcomer| *newcomer != key);
        }
        if room.members.remove(&key) && !room.watchers.is_empty() {
            self.changed.insert(number);
        }
        self.retire_if_empty(number);
    }

    /// Adds a room to the empty rooms if no member and no watcher is left. When too many rooms are
    /// empty, the rooms with the longest empty time are removed.
    fn retire_if_empty(&mut self, number: usize) {
        let room = &mut self.rooms[number];
        if room.empty_since.is_some() || !(room.members.is_empty() && room.watchers.is_empty()) {
            return;
        }
        room.empty_since = Some(self.left_empty);
        self.empty.insert(self.left_empty, number);
        self.left_empty += 1;
        while self.empty.len() > self.empty_max {
            let (_, number) = self.empty.pop_first().expect("there are some");
            let room = self.rooms.remove(number);
            self.by_name.remove(&room.name);
            self.changed.remove(&number);
        }
    }

    /// The rooms of an audience.
    pub(crate) fn of_audience(&mut self, audience: &Audience) -> Vec<usize> {
        match audience {
            Audience::Room(name) => {
                let number = self.room(name);
                self.retire_if_empty(number);
                vec![number]
            }
            Audience::Connection(_) | Audience::Connections(_) => Vec::new(),
            Audience::RoomsOf(key) | Audience::OthersInRoomsOf(key) => {
                let is_member = |number: &usize| self.rooms[*number].members.contains(key);
                let of = self.of.get(key).into_iter().flatten();
                of.copied().filter(is_member).collect()
            }
        }
    }

    /// Adds the members of a room to `keys`. Adds no key if the room has been removed at once, as
    /// an empty room is while `empty_rooms_max` is 0.
    pub(crate) fn list_members(&self, number: usize, keys: &mut Vec<Key>) {
        let room = self.rooms.get(number);
        keys.extend(room.iter().flat_map(|room| &room.members));
    }

    /// Adds a message to a room's history, for later members. When memory is short, the history is
    /// emptied instead.
    pub(crate) fn remember(&mut self, number: usize, message: &Rc<Broadcast>, is_short: bool) {
        let Some(room) = self.rooms.get_mut(number) else {
            return;
        };
        if is_short {
            room.history.clear();
            room.history_bytes = 0;
            return;
        }
        room.history.push_back(Rc::clone(message));
        room.history_bytes += message.frame_bytes();
        while room.history.len() > self.messages_max || room.history_bytes > self.bytes_max {
            let Some(oldest) = room.history.pop_front() else {
                break;
            };
            room.history_bytes -= oldest.frame_bytes();
        }
    }

    /// For each room with another number of members than before: the text for the watchers, and the
    /// watchers. For a room with nothing but new watchers: the text, and the new watchers alone, so that
    /// many watchers can come without a message to all for each. The watchers with the same mark are
    /// together.
    pub(crate) fn news(&mut self) -> Vec<(String, Vec<Key>)> {
        if self.changed.is_empty() {
            return Vec::new();
        }
        let mut news = Vec::new();
        for number in std::mem::take(&mut self.changed) {
            let Some(room) = self.rooms.get_mut(number) else {
                continue;
            };
            let (members, mut recipients) =
                (room.members.len(), std::mem::take(&mut room.newcomers));
            if members != room.told {
                recipients = room.watchers.keys().copied().collect();
            }
            room.told = members;
            let mut by_mark = BTreeMap::<&str, Vec<Key>>::new();
            for key in recipients {
                by_mark.entry(&room.watchers[&key]).or_default().push(key);
            }
            news.extend(by_mark.into_iter().map(|(mark, keys)| match mark {
                "" => (members.to_string(), keys),
                mark => (format!("{mark} {members}"), keys),
            }));
        }
        news
    }

    /// Whether [`news`](Rooms::news) would return any room.
    pub(crate) fn has_news(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The bytes of the messages in every history, as charged to the account of memory.
    pub fn charged_bytes(&self) -> usize {
        let rooms = self.rooms.iter();
        let history = rooms.flat_map(|(_, room)| &room.history);
        // A message published to two rooms is in both histories, but is charged once.
        let once: BTreeMap<_, _> = history
            .map(|s| (Rc::as_ptr(s), s.charged_bytes()))
            .collect();
        once.values().sum()
    }

    /// Whether no connection is in any room.
    pub fn is_deserted(&self) -> bool {
        self.of.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::{Message, PlainFrame};
    use crate::transport::Pool;

    fn rooms() -> (Rooms, Pool) {
        let limits = Limits {
            room_messages_max: 3,
            room_bytes_max: 20,
            empty_rooms_max: 2,
            ..Limits::default()
        };
        (Rooms::new(&limits), Pool::new(1, 1_000))
    }

    fn key(n: u32) -> Key {
        Key::new(n as usize, n)
    }

    fn say(rooms: &mut Rooms, pool: &mut Pool, name: &str, text: &str) {
        let frame = PlainFrame::new(Message::Text(text));
        let message = Rc::new(Broadcast::new(frame, pool));
        for number in rooms.of_audience(&Audience::Room(name.into())) {
            rooms.remember(number, &message, pool.account().is_over());
        }
    }

    fn news(rooms: &mut Rooms) -> Vec<(usize, Vec<Key>)> {
        let news = rooms.news().into_iter();
        news.map(|(text, keys)| (text.parse().expect("a number alone"), keys))
            .collect()
    }

    fn sizes(history: &[Rc<Broadcast>]) -> Vec<usize> {
        history.iter().map(|s| s.frame_bytes() - 2).collect()
    }

    #[test]
    fn a_room_is_who_is_in_it_and_what_was_said_last() {
        let (mut rooms, mut pool) = rooms();
        assert!(rooms.join(key(1), "a", 9).is_empty());
        for text in ["1", "22", "333", "4444"] {
            say(&mut rooms, &mut pool, "a", text);
        }
        assert_eq!(sizes(&rooms.join(key(2), "a", 9)), [2, 3, 4]);
        assert_eq!(sizes(&rooms.join(key(3), "a", 1)), [4]);
        assert!(
            rooms.join(key(3), "a", 1).is_empty(),
            "it was there already"
        );
        say(&mut rooms, &mut pool, "a", "twelve bytes");
        assert_eq!(sizes(&rooms.join(key(4), "a", 9)), [4, 12]);
        say(&mut rooms, &mut pool, "a", &"b".repeat(20));
        assert!(rooms.join(key(5), "a", 9).is_empty(), "too much by itself");
        assert_eq!((rooms.members("a"), rooms.members("b")), (5, 0));
        rooms.leave(key(1), "a");
        rooms.leave(key(1), "b");
        rooms.leave_all(key(2));
        rooms.leave_all(key(2));
        assert_eq!(rooms.members("a"), 3);
        let mut keys = Vec::new();
        let number = rooms.of_audience(&Audience::RoomsOf(key(4)))[0];
        rooms.list_members(number, &mut keys);
        assert_eq!(keys, [key(3), key(4), key(5)]);
    }

    #[test]
    fn empty_rooms_are_kept_for_what_they_remember_and_the_oldest_are_forgotten() {
        let (mut rooms, mut pool) = rooms();
        for name in ["a", "b"] {
            say(&mut rooms, &mut pool, name, name);
        }
        assert_eq!(rooms.join(key(1), "a", 9).len(), 1);
        rooms.leave(key(1), "a");
        assert!(rooms.is_deserted());
        say(&mut rooms, &mut pool, "c", "c");
        assert_eq!(rooms.charged_bytes(), pool.account().used());
        assert_eq!(rooms.join(key(1), "b", 9).len(), 0, "it was the oldest");
        assert_eq!(rooms.join(key(1), "a", 9).len(), 1);
        assert_eq!(rooms.join(key(1), "c", 9).len(), 1);
    }

    #[test]
    fn a_watcher_is_told_how_many_there_are_and_is_not_one() {
        let (mut rooms, _) = rooms();
        rooms.watch(key(1), "a", "".into());
        assert_eq!(news(&mut rooms), [(0, vec![key(1)])]);
        rooms.join(key(2), "a", 0);
        rooms.join(key(3), "a", 0);
        rooms.join(key(3), "b", 0);
        assert_eq!(news(&mut rooms), [(2, vec![key(1)])]);
        assert!(!rooms.has_news());
        assert!(rooms.of_audience(&Audience::RoomsOf(key(1))).is_empty());
        rooms.leave_all(key(2));
        assert_eq!(news(&mut rooms), [(1, vec![key(1)])]);
        rooms.leave_all(key(1));
        assert!(news(&mut rooms).is_empty());
    }

    #[test]
    fn a_member_that_watches_is_told_after_its_mark_and_counted() {
        let (mut rooms, _) = rooms();
        for (n, mark) in [(1, "#"), (2, ""), (3, "#"), (4, "&")] {
            rooms.join(key(n), "a", 0);
            rooms.watch(key(n), "a", mark.into());
        }
        rooms.watch(key(2), "a", "late".into());
        let told = |number: usize| {
            [
                (format!("{number}"), vec![key(2)]),
                (format!("# {number}"), vec![key(1), key(3)]),
                (format!("& {number}"), vec![key(4)]),
            ]
        };
        assert_eq!(rooms.news(), told(4));
        rooms.join(key(5), "a", 0);
        assert_eq!(rooms.news(), told(5));
        rooms.leave(key(4), "a");
        assert_eq!(rooms.news(), told(4)[..2]);
        let others = Audience::OthersInRoomsOf(key(1));
        assert_eq!(rooms.of_audience(&others).len(), 1);
    }

    #[test]
    fn watchers_that_know_the_number_are_not_told_when_another_comes() {
        let (mut rooms, _) = rooms();
        rooms.join(key(9), "a", 0);
        rooms.watch(key(1), "a", "".into());
        assert_eq!(news(&mut rooms), [(1, vec![key(1)])]);
        rooms.watch(key(2), "a", "".into());
        rooms.watch(key(2), "a", "".into());
        assert_eq!(news(&mut rooms), [(1, vec![key(2)])]);
        rooms.watch(key(3), "a", "".into());
        rooms.join(key(8), "a", 0);
        assert_eq!(news(&mut rooms), [(2, vec![key(1), key(2), key(3)])]);
        // One came and went within a turn, and so did a watcher.
        rooms.join(key(7), "a", 0);
        rooms.leave_all(key(7));
        rooms.watch(key(4), "a", "".into());
        rooms.leave_all(key(4));
        assert!(news(&mut rooms).is_empty());
    }

    #[test]
    fn nothing_is_kept_while_memory_is_short() {
        let (mut rooms, mut pool) = rooms();
        say(&mut rooms, &mut pool, "a", "1");
        pool.account_mut().charge(2_000);
        say(&mut rooms, &mut pool, "a", "2");
        assert_eq!(pool.account().used(), 2_000);
    }
}
