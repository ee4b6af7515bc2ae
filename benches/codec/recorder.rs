//! The flight recorder: the records of a small GET request.

use std::hint::black_box;

use oneloop::connection::{Key, ModeName, Moved, Ring, TraceRecord};
use oneloop::transport::Ready;

use crate::operations::Operation;

/// The number of records of [`our_records`].
pub const RECORDS: u32 = 64;

/// An event, a read, a step and a write, as often as make [`RECORDS`]. The kinds of records are known where
/// they are made, as in the server; their values are not.
pub fn our_records() -> Operation {
    let mut ring = Ring::default();
    let key = Key::new(3, 17);
    let ready = Ready {
        readable: true,
        writable: true,
        peer_closed: false,
    };
    let mode = ModeName::ReadingHead;
    Box::new(move || {
        for _ in 0..RECORDS / 4 {
            let key = black_box(key);
            ring.push(TraceRecord::Mark {
                key,
                ready: black_box(ready),
            });
            ring.push(TraceRecord::Read {
                key,
                moved: Moved::Bytes(black_box(93)),
            });
            let (from, to, status) = black_box((mode, mode, 200));
            ring.push(TraceRecord::Step {
                key,
                from,
                to,
                status,
            });
            ring.push(TraceRecord::Send {
                key,
                moved: Moved::Bytes(black_box(893)),
                left: black_box(0),
            });
        }
        black_box(&ring);
    })
}
