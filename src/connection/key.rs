//! Floor 4, connection: names that are never used twice.

/// Names one connection for its whole life, and never the next tenant of its slab slot. Events,
/// timers and queues hold keys, so that whatever comes late finds nobody instead of a stranger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The largest generation: the top bit of a key's number is never set, which leaves numbers
    /// for sources that are no connections.
    const GENERATION_MAX: u32 = u32::MAX >> 1;

    /// The key of a slot's tenant. Generations count accepted connections and begin again after
    /// two thousand million: by then a stale event is long gone.
    pub fn new(index: usize, generation: u32) -> Key {
        Key {
            index: u32::try_from(index).expect("there are not that many descriptors"),
            generation: generation & Key::GENERATION_MAX,
        }
    }

    /// The slab slot.
    pub fn index(self) -> usize {
        self.index as usize
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
}
