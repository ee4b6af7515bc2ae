//! Floor 3, connection: the flight recorder, which always keeps the last acts of the loop. The records are
//! in logical time: a record has the number of its turn, and no clock of its own. Only the record of a
//! turn has times.
//!
//! A record costs a few stores into memory that is used again and again, so recording never stops. No
//! decision depends on a record.

use super::{Cause, Key, ModeName};
use crate::transport::Ready;

/// The flight recorder: a ring of the last [`Ring::RECORDS`] records.
///
/// Without the feature `recorder` the ring stays empty.
pub struct Ring {
    /// As whole numbers, because memory of zeros is not touched before its first use.
    words: Box<[[u64; 4]; Ring::LENGTH]>,
    /// The number of records since the start.
    written: u64,
    /// The number of the present turn, in the upper half.
    turn: u64,
}

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TraceRecord {
    /// A turn begins. Times are in nanoseconds since the start of the server.
    Turn {
        /// The number of events that the wait has returned.
        events: u32,
        /// When the wait ended.
        began: u64,
        /// When the wait began, which is the end of the turn before.
        waited_from: u64,
    },
    /// A connection was accepted.
    Accept {
        /// The new connection.
        key: Key,
        /// The number of the listener.
        listener: u8,
        /// The port of the peer.
        port: u16,
    },
    /// An event has set readiness flags.
    Mark {
        /// The connection.
        key: Key,
        /// The flags of the event.
        ready: Ready,
    },
    /// A read from the socket.
    Read {
        /// The connection.
        key: Key,
        /// The outcome.
        moved: Moved,
    },
    /// A step of the mode.
    Step {
        /// The connection.
        key: Key,
        /// The mode before the step.
        from: ModeName,
        /// The mode after the step.
        to: ModeName,
        /// The status code of the answer that the step gave; 0 for none.
        status: u16,
    },
    /// A write to the socket, or a part of a file that was sent.
    Send {
        /// The connection.
        key: Key,
        /// The outcome.
        moved: Moved,
        /// The bytes of output that are left.
        left: u64,
    },
    /// The direction of the server was ended.
    Fin {
        /// The connection.
        key: Key,
    },
    /// The deadline of a connection has passed.
    Expire {
        /// The connection.
        key: Key,
    },
    /// An effect was carried out.
    Effect {
        /// The connection or the request, if the effect has one.
        key: Option<Key>,
        /// The kind of effect.
        kind: EffectKind,
    },
    /// A connection has something left to do, and waits for a later turn.
    Postponed {
        /// The connection.
        key: Key,
        /// The queue of effects is full. Otherwise, the share of the turn was spent.
        throttled: bool,
    },
    /// A connection was closed.
    Close {
        /// The connection.
        key: Key,
        /// The cause.
        cause: Cause,
    },
    /// A signal has come: to stop, or for something else.
    Signal {
        /// Whether the server is to stop.
        stop: bool,
    },
}

/// The outcome of an attempt to move bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moved {
    /// This number of bytes was moved.
    Bytes(u64),
    /// No byte could be moved (`EAGAIN`, or the readiness flag was clear).
    Blocked,
    /// The peer has ended its direction.
    End,
    /// The connection has failed.
    Failed,
}

/// The kinds of effects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EffectKind {
    /// A request is handed to its endpoint.
    Ask,
    /// An answer, or a part of one, or its end.
    Answer,
    /// A connection is ended by an endpoint.
    End,
    /// A connection joins a room, watches a room, or leaves one.
    Room,
    /// A message for one connection or for many.
    Publish,
}

/// Every kind of effect, in order.
const EFFECTS: [EffectKind; 5] = [
    EffectKind::Ask,
    EffectKind::Answer,
    EffectKind::End,
    EffectKind::Room,
    EffectKind::Publish,
];

impl Default for Ring {
    fn default() -> Ring {
        let words = vec![[0; 4]; Ring::LENGTH].into_boxed_slice();
        Ring {
            words: words.try_into().expect("of this length"),
            written: 0,
            turn: 0,
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// The number of records that are kept, a power of two. A record has 32 bytes, so all have 512 KiB.
    pub const RECORDS: usize = 1 << 14;

    /// The number of records for which there is memory.
    const LENGTH: usize = match cfg!(feature = "recorder") {
        true => Ring::RECORDS,
        // A remainder of a division by 1 would look like a mistake.
        false => 2,
    };

    /// Begins a turn, with its record.
    pub(crate) fn begin_turn(&mut self, events: usize, began: u64, waited_from: u64) {
        self.turn = self.turn.wrapping_add(1 << 32);
        self.push(TraceRecord::Turn {
            events: events as u32,
            began,
            waited_from,
        });
    }

    /// Adds a record, in place of the oldest.
    #[inline(always)]
    pub fn push(&mut self, record: TraceRecord) {
        if cfg!(feature = "recorder") {
            self.words[self.written as usize % Ring::LENGTH] = record.encoded(self.turn);
            self.written += 1;
        }
    }

    /// The number of records since the start. The records of the ring are the last of these.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The number of the oldest record that is kept; records are numbered from 0.
    pub fn oldest(&self) -> u64 {
        self.written.saturating_sub(Ring::LENGTH as u64)
    }

    /// The records from this number on, as far as they are kept, each with the number of its turn.
    pub fn since(&self, number: u64) -> impl Iterator<Item = (u32, TraceRecord)> {
        (number.max(self.oldest())..self.written)
            .filter_map(|number| decoded(self.words[number as usize % Ring::LENGTH]))
    }

    /// A copy of the ring, which stays as it is while the server goes on.
    pub fn snapshot(&self) -> Ring {
        Ring {
            words: self.words.clone(),
            ..*self
        }
    }
}

// The kinds of records as numbers.
const TURN: u8 = 1;
const ACCEPT: u8 = 2;
const MARK: u8 = 3;
const READ: u8 = 4;
const STEP: u8 = 5;
const SEND: u8 = 6;
const FIN: u8 = 7;
const EXPIRE: u8 = 8;
const EFFECT: u8 = 9;
const POSTPONED: u8 = 10;
const CLOSE: u8 = 11;
const SIGNAL: u8 = 12;

/// Stands for an effect without a connection. No connection has such a number.
const NO_KEY: u64 = u64::MAX;

impl TraceRecord {
    /// The connection of the record, if it has one.
    pub fn key(self) -> Option<Key> {
        match self {
            TraceRecord::Accept { key, .. }
            | TraceRecord::Mark { key, .. }
            | TraceRecord::Read { key, .. }
            | TraceRecord::Step { key, .. }
            | TraceRecord::Send { key, .. }
            | TraceRecord::Fin { key }
            | TraceRecord::Expire { key }
            | TraceRecord::Postponed { key, .. }
            | TraceRecord::Close { key, .. } => Some(key),
            TraceRecord::Effect { key, .. } => key,
            TraceRecord::Turn { .. } | TraceRecord::Signal { .. } => None,
        }
    }

    /// The record as four numbers: the turn with the kind and two small values, the key, and two values.
    #[inline(always)]
    fn encoded(self, turn: u64) -> [u64; 4] {
        let (kind, small, large, key, value, more) = match self {
            TraceRecord::Turn {
                events,
                began,
                waited_from,
            } => (TURN, 0, 0, events.into(), began, waited_from),
            TraceRecord::Accept {
                key,
                listener,
                port,
            } => (ACCEPT, listener, port, key.into(), 0, 0),
            TraceRecord::Mark { key, ready } => {
                let flags = [ready.readable, ready.writable, ready.peer_closed];
                let flags = flags
                    .into_iter()
                    .rev()
                    .fold(0, |bits, flag| bits << 1 | u8::from(flag));
                (MARK, flags, 0, key.into(), 0, 0)
            }
            TraceRecord::Read { key, moved } => {
                let (outcome, bytes) = moved.encoded();
                (READ, outcome, 0, key.into(), bytes, 0)
            }
            TraceRecord::Step {
                key,
                from,
                to,
                status,
            } => (STEP, from as u8, status, key.into(), to as u64, 0),
            TraceRecord::Send { key, moved, left } => {
                let (outcome, bytes) = moved.encoded();
                (SEND, outcome, 0, key.into(), bytes, left)
            }
            TraceRecord::Fin { key } => (FIN, 0, 0, key.into(), 0, 0),
            TraceRecord::Expire { key } => (EXPIRE, 0, 0, key.into(), 0, 0),
            TraceRecord::Effect { key, kind } => {
                (EFFECT, kind as u8, 0, key.map_or(NO_KEY, u64::from), 0, 0)
            }
            TraceRecord::Postponed { key, throttled } => {
                (POSTPONED, throttled.into(), 0, key.into(), 0, 0)
            }
            TraceRecord::Close { key, cause } => (CLOSE, cause as u8, 0, key.into(), 0, 0),
            TraceRecord::Signal { stop } => (SIGNAL, stop.into(), 0, NO_KEY, 0, 0),
        };
        let first = turn | u64::from(large) << 16 | u64::from(small) << 8 | u64::from(kind);
        [first, key, value, more]
    }
}

/// The record in four numbers, with its turn; `None` if there is none.
fn decoded([first, key, value, more]: [u64; 4]) -> Option<(u32, TraceRecord)> {
    let (small, large) = ((first >> 8) as u8, (first >> 16) as u16);
    let number = key;
    let key = Key::from(number);
    let record = match first as u8 {
        TURN => TraceRecord::Turn {
            events: number as u32,
            began: value,
            waited_from: more,
        },
        ACCEPT => TraceRecord::Accept {
            key,
            listener: small,
            port: large,
        },
        MARK => TraceRecord::Mark {
            key,
            ready: Ready {
                readable: small & 1 != 0,
                writable: small & 2 != 0,
                peer_closed: small & 4 != 0,
            },
        },
        READ => TraceRecord::Read {
            key,
            moved: Moved::decoded(small, value),
        },
        STEP => TraceRecord::Step {
            key,
            from: ModeName::from_number(small.into())?,
            to: ModeName::from_number(value as usize)?,
            status: large,
        },
        SEND => TraceRecord::Send {
            key,
            moved: Moved::decoded(small, value),
            left: more,
        },
        FIN => TraceRecord::Fin { key },
        EXPIRE => TraceRecord::Expire { key },
        EFFECT => TraceRecord::Effect {
            key: (number != NO_KEY).then_some(key),
            kind: *EFFECTS.get(usize::from(small))?,
        },
        POSTPONED => TraceRecord::Postponed {
            key,
            throttled: small != 0,
        },
        CLOSE => TraceRecord::Close {
            key,
            cause: Cause::from_number(small.into())?,
        },
        SIGNAL => TraceRecord::Signal { stop: small != 0 },
        _ => return None,
    };
    Some(((first >> 32) as u32, record))
}

impl Moved {
    #[inline(always)]
    fn encoded(self) -> (u8, u64) {
        match self {
            Moved::Bytes(bytes) => (0, bytes),
            Moved::Blocked => (1, 0),
            Moved::End => (2, 0),
            Moved::Failed => (3, 0),
        }
    }

    fn decoded(outcome: u8, bytes: u64) -> Moved {
        match outcome {
            0 => Moved::Bytes(bytes),
            1 => Moved::Blocked,
            2 => Moved::End,
            _ => Moved::Failed,
        }
    }
}

#[cfg(all(test, feature = "recorder"))]
mod tests {
    use super::*;

    /// A record of every kind, with values that fill their fields.
    fn every_kind() -> Vec<TraceRecord> {
        let key = Key::new(u32::MAX as usize, u32::MAX >> 1);
        let ready = Ready {
            readable: true,
            writable: false,
            peer_closed: true,
        };
        let mut records = vec![
            TraceRecord::Turn {
                events: u32::MAX,
                began: u64::MAX,
                waited_from: 7,
            },
            TraceRecord::Accept {
                key,
                listener: 255,
                port: 65_535,
            },
            TraceRecord::Mark { key, ready },
            TraceRecord::Step {
                key,
                from: ModeName::Lingering,
                to: ModeName::Closed,
                status: 599,
            },
            TraceRecord::Fin { key },
            TraceRecord::Expire { key },
            TraceRecord::Effect {
                key: None,
                kind: EffectKind::Publish,
            },
            TraceRecord::Postponed {
                key,
                throttled: true,
            },
            TraceRecord::Close {
                key,
                cause: Cause::Idle,
            },
            TraceRecord::Signal { stop: true },
        ];
        let outcomes = [Moved::Blocked, Moved::End, Moved::Failed];
        for moved in outcomes.into_iter().chain([Moved::Bytes(u64::MAX)]) {
            records.push(TraceRecord::Read { key, moved });
            let left = u64::MAX;
            records.push(TraceRecord::Send { key, moved, left });
        }
        for kind in EFFECTS {
            let key = Some(key);
            records.push(TraceRecord::Effect { key, kind });
        }
        records
    }

    #[test]
    fn every_record_comes_back_as_it_was() {
        let mut ring = Ring::default();
        for record in every_kind() {
            ring.push(record);
        }
        let back: Vec<_> = ring.since(0).map(|(_, record)| record).collect();
        assert_eq!(back, every_kind());
    }

    #[test]
    fn a_full_ring_keeps_the_last_records_with_their_turns() {
        let mut ring = Ring::default();
        let turns = Ring::RECORDS as u64 + 3;
        for turn in 0..turns {
            ring.begin_turn(turn as usize, 0, 0);
        }
        assert_eq!((ring.written(), ring.oldest()), (turns, 3));
        let mut records = ring.since(0);
        let (turn, record) = records.next().expect("the oldest");
        assert_eq!(turn, 4);
        assert!(matches!(record, TraceRecord::Turn { events: 3, .. }));
        assert_eq!(records.count(), Ring::RECORDS - 1);
        assert_eq!(ring.since(turns - 2).count(), 2);
        let copy = ring.snapshot();
        ring.begin_turn(0, 0, 0);
        assert_eq!((copy.oldest(), ring.oldest()), (3, 4));
    }
}
