//! Floor 3, connection: keys, which name connections, and requests to endpoints. A key is used again
//! only after two thousand million connections or requests.

use std::fmt;

/// Names a WebSocket connection, or a single request to an endpoint. A later connection in the same
/// slot of the slab gets another key, and so does the next request of the same connection. Events and
/// queues hold keys: a late event finds no connection, instead of a wrong one. (Timers hold slots, and
/// are disarmed when the connection is removed.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The largest generation. The top bit of a key's number is never set, which leaves numbers for
    /// sources other than connections.
    const GENERATION_MAX: u32 = u32::MAX >> 1;

    /// Creates the key of the connection in the slot `index`. Generations count accepted
    /// connections and begin again after two thousand million (2³¹); no stale event lives that
    /// long.
    ///
    /// # Panics
    /// If `index` does not fit into 32 bits.
    pub fn new(index: usize, generation: u32) -> Key {
        Key {
            index: u32::try_from(index).expect("there are not that many descriptors"),
            generation: generation & Key::GENERATION_MAX,
        }
    }

    /// Returns the key of a request that this connection has brought. Serial numbers count the requests
    /// to endpoints, and begin again as generations do. No connection has such a key.
    pub(super) fn of_request(self, serial: u32) -> Key {
        Key {
            index: self.index,
            generation: serial | !Key::GENERATION_MAX,
        }
    }

    /// Returns the index of the slot in the slab.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// `3#17` is the connection of generation 17 in slot 3, and `3/5` is the request number 5 that came in
/// slot 3.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.generation & Key::GENERATION_MAX;
        let mark = if self.generation == number { '#' } else { '/' };
        write!(f, "{}{mark}{number}", self.index)
    }
}

impl From<Key> for u64 {
    fn from(key: Key) -> u64 {
        u64::from(key.generation) << 32 | u64::from(key.index)
    }
}

impl From<u64> for Key {
    fn from(number: u64) -> Key {
        Key {
            index: number as u32,
            generation: (number >> 32) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_being_a_number_whose_top_bit_is_clear() {
        for generation in [0, 1, u32::MAX] {
            let key = Key::new(7, generation);
            let number = u64::from(key);
            assert_eq!((Key::from(number), number >> 63), (key, 0));
        }
    }

    #[test]
    fn a_request_has_a_key_of_its_own_in_the_slot_of_its_connection() {
        let connection = Key::new(7, 1);
        let (first, second) = (connection.of_request(1), connection.of_request(2));
        assert!(first != connection && second != connection && first != second);
        assert_eq!((first.index(), second.index()), (7, 7));
        let texts = [connection, first, second].map(|key| key.to_string());
        assert_eq!(texts, ["7#1", "7/1", "7/2"]);
    }
}
