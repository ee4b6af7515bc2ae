//! The verdict over rooms, when a run is over: whether there is an order of all that was said in which each
//! member has heard it, and whether nobody has missed more than was counted.

use std::collections::{BTreeMap, BTreeSet};

use crate::clients::Client;
use crate::talk::{Id, Place};

/// Holds what the clients have heard in rooms against each other, and against what was said.
pub fn judge(clients: &[Client], missed: u64) {
    let mut rooms: BTreeMap<&str, Room> = BTreeMap::new();
    for client in clients {
        match &client.talk.place {
            Some(Place::Room(name)) => {
                let room = rooms.entry(name).or_default();
                room.heard.push(heard(client, clients));
            }
            Some(Place::Presence(_)) => judge_numbers(client, clients.len()),
            Some(Place::Known) | None => {}
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

/// What a member has heard, all of it said here.
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

/// Watchers hear how many there are, which are not more than there can be.
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

/// What has happened in a room.
#[derive(Default)]
struct Room {
    /// What each member has heard.
    heard: Vec<Vec<Id>>,
    /// What each has said, in this order, as far as it was heard at all.
    said: BTreeMap<usize, Vec<Id>>,
}

impl Room {
    /// Judges what the members have heard, and says how much they have missed at least.
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

/// Whether all lists are parts of one: what nobody has heard behind something else is taken away again
/// and again.
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

/// How much somebody else has heard between two messages that this member has heard, and this one not.
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
