//! The verdict over rooms, at the end of a run: whether the messages of a room have one order that
//! agrees with every member, and whether no more messages were missed than were counted.

use std::collections::{BTreeMap, BTreeSet};

use crate::clients::Client;
use crate::talk::{Id, Place};

/// Compares the messages that the clients have received in rooms with each other, and with the sent
/// ones.
pub fn judge(clients: &[Client], missed: u64) {
    let mut rooms: BTreeMap<&str, Room> = BTreeMap::new();
    for client in clients {
        match &client.talk.place {
            Some(Place::Room(name)) => {
                let room = rooms.entry(name).or_default();
                room.heard.push(heard(client, clients));
            }
            Some(Place::Presence(_)) => judge_numbers(client, clients.len()),
            Some(Place::Known | Place::Pages) | None => {}
        }
        for (place, message) in &client.talk.said {
            if let (Place::Room(name), Some(id)) = (place, message.id()) {
                let room = rooms.entry(name).or_default();
                room.said.entry(id.0).or_default().push(id);
            }
        }
    }
    let holes: usize = rooms.values().map(Room::judge).sum();
    assert!(
        holes as u64 <= missed,
        "a message is missing: {holes} were not heard, and {missed} counted"
    );
}

/// The messages that a member has received, each of which must have been sent to this room.
fn heard(client: &Client, clients: &[Client]) -> Vec<Id> {
    let heard = client.talk.heard.iter().map(|message| {
        let id = message.id();
        let said = id.and_then(|(who, n)| clients.get(who)?.talk.said.get(n));
        let is_true = said.is_some_and(|(place, said)| {
            Some(place) == client.talk.place.as_ref() && said == message
        });
        assert!(is_true, "a wrong message: nobody has said {message:?} here");
        id.expect("it was found")
    });
    heard.collect()
}

/// Checks the numbers that a watcher has received: a room cannot have more members than there are
/// clients.
fn judge_numbers(client: &Client, most: usize) {
    for message in &client.talk.heard {
        let number = str::from_utf8(&message.bytes).ok();
        let number: Option<usize> = number.and_then(|n| n.parse().ok());
        assert!(
            number.is_some_and(|n| n < most) && message.is_text,
            "a wrong number: {message:?}"
        );
    }
}

/// The events of a room.
#[derive(Default)]
struct Room {
    /// The messages that each member has received.
    heard: Vec<Vec<Id>>,
    /// The messages that each client has sent, in order, as far as any member received them.
    said: BTreeMap<usize, Vec<Id>>,
}

impl Room {
    /// Judges the messages that the members have received. Returns how many they have missed at
    /// least.
    fn judge(&self) -> usize {
        for list in &self.heard {
            let once: BTreeSet<&Id> = list.iter().collect();
            assert_eq!(once.len(), list.len(), "a message came twice: {list:?}");
        }
        let lists: Vec<&[Id]> = self
            .heard
            .iter()
            .chain(self.said.values())
            .map(Vec::as_slice)
            .collect();
        assert!(
            has_common_order(lists.clone()),
            "a wrong order: members disagree on it: {lists:?}"
        );
        self.heard.iter().map(|list| holes(list, &lists)).sum()
    }
}

/// Whether all lists are parts of a single list. Again and again, a message that stands in no list
/// after another message is taken away from the front.
fn has_common_order(mut lists: Vec<&[Id]>) -> bool {
    loop {
        lists.retain(|list| !list.is_empty());
        if lists.is_empty() {
            return true;
        }
        let behind: BTreeSet<&Id> = lists.iter().flat_map(|list| &list[1..]).collect();
        let Some(first) = lists
            .iter()
            .map(|list| list[0])
            .find(|id| !behind.contains(id))
        else {
            return false;
        };
        for list in &mut lists {
            *list = list.strip_prefix(&[first]).unwrap_or(list);
        }
    }
}

/// How many messages another member has received between two messages of this member, but this
/// member has not.
fn holes(list: &[Id], lists: &[&[Id]]) -> usize {
    let mine: BTreeSet<&Id> = list.iter().collect();
    let between = lists.iter().map(|other| {
        let first = other.iter().position(|id| mine.contains(id));
        let last = other.iter().rposition(|id| mine.contains(id));
        let (Some(first), Some(last)) = (first, last) else {
            return 0;
        };
        let between = other[first..=last].iter();
        between.filter(|id| !mine.contains(id)).count()
    });
    between.max().unwrap_or_default()
}
