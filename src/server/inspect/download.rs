//! Floor 4, server: a download of the flight recorder. The recorder is copied once, and the loop goes on;
//! the copy becomes text slice by slice, as the client takes it, so that no turn gets long.

use crate::connection::{Hub, Key, NotTaken, Ring};
use crate::server::trace::jsonl::Jsonl;

/// A copy of the recorder that is being sent.
#[derive(Debug)]
pub(in crate::server) struct Download {
    ring: Ring,
    /// The number of the next record.
    next: u64,
    lines: Jsonl,
    has_begun: bool,
}

impl Download {
    /// The records that become text at a time.
    const SLICE: u64 = 128;

    pub fn new(ring: &Ring) -> Download {
        let ring = ring.snapshot();
        Download {
            next: ring.oldest(),
            ring,
            lines: Jsonl::new(true),
            has_begun: false,
        }
    }

    /// Writes as much as there is room for. Returns whether the download is over.
    pub fn go_on(&mut self, hub: &mut Hub<'_>, request: Key) -> bool {
        while hub.has_room(request) {
            let mut text = Vec::new();
            if !std::mem::replace(&mut self.has_begun, true) {
                Jsonl::header(&mut text, self.ring.oldest() > 0);
            } else if self.next >= self.ring.written() {
                let _ = hub.finish(request);
                return true;
            }
            let records = self.ring.since(self.next).take(Self::SLICE as usize);
            for (turn, record) in records {
                self.lines.line(&mut text, turn, record);
            }
            self.next += Self::SLICE;
            match hub.write(request, text) {
                Ok(()) => {}
                Err(NotTaken::Gone | NotTaken::TooLong | NotTaken::TooShort) => return true,
                // There was room, but for the queue of effects: nothing may be lost.
                Err(NotTaken::Full) => {
                    hub.cut_off(request);
                    return true;
                }
            }
        }
        false
    }
}
