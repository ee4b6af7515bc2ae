//! Floor 4, server: lines of text on their way to standard output, standard error or a file. The loop
//! never waits for any of them: lines are gathered in a bounded buffer, and as many bytes are written as the
//! output takes. Over the bound, whole lines are dropped and counted.

use std::io;
use std::mem;

use crate::sys::Output;

/// A bounded buffer of lines before an output.
#[derive(Debug)]
pub(super) struct Lines {
    output: Output,
    /// Bytes waiting for the output. Written bytes are removed, so the first line may be partial.
    waiting: Vec<u8>,
    bytes_max: usize,
    /// The number of lines dropped and not yet [reported](Lines::take_dropped).
    dropped: u64,
    /// The number of lines dropped and reported since the start.
    reported: u64,
    /// Whether the last write was cut short.
    blocked: bool,
    /// Whether the output is a pipe without a reader (EPIPE): no further line can be read.
    ended: bool,
    /// Whether the last write failed with another error than `WouldBlock`.
    failing: bool,
    /// Whether the next call of [`Lines::flush`] does nothing. At a limit on the size of files, each write that
    /// fails sends a signal, and the signal makes the next turn: without a pause, this would go on for ever.
    rests: bool,
}

impl Lines {
    /// Lines to `output`, with about `bytes_max` bytes waiting at most: the line that reaches the
    /// bound is kept whole.
    pub(super) fn new(output: Output, bytes_max: usize) -> Lines {
        Lines {
            output,
            waiting: Vec::new(),
            bytes_max,
            dropped: 0,
            reported: 0,
            blocked: false,
            ended: false,
            failing: false,
            rests: false,
        }
    }

    /// Goes on with another output, as if it were new. Bytes that the old one does not take at once, the new one
    /// gets.
    pub(super) fn continue_in(&mut self, output: Output) {
        self.flush();
        self.output = output;
        (self.blocked, self.ended, self.failing) = (false, false, false);
    }

    /// Whether the buffer has space for another line.
    pub(super) fn has_space(&self) -> bool {
        self.waiting.len() < self.bytes_max
    }

    /// Counts a line that found no space.
    pub(super) fn drop_one(&mut self) {
        self.dropped += 1;
    }

    /// The buffer, to append a whole line.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.waiting
    }

    /// Appends `text`, which must end with a line end; without space, the text is dropped.
    pub(super) fn push(&mut self, text: &str) {
        debug_assert!(text.ends_with('\n'));
        match self.has_space() {
            true => self.waiting.extend_from_slice(text.as_bytes()),
            false => self.dropped += text.lines().count() as u64,
        }
    }

    /// Returns the number of lines dropped since the last call, for a report.
    pub(super) fn take_dropped(&mut self) -> u64 {
        self.reported += self.dropped;
        std::mem::take(&mut self.dropped)
    }

    /// Returns the number of lines dropped since the start.
    pub(super) fn dropped_in_all(&self) -> u64 {
        self.reported + self.dropped
    }

    /// Whether the output is gone for good.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether bytes are waiting.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether bytes are waiting for an output that did not take them at the last attempt.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked && self.is_waiting()
    }

    /// Whether the last write has failed, as on a full disk.
    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    /// Writes as many bytes as the output takes now. Returns the error if the output has begun to
    /// fail: a full disk, a quota, a limit on the size of files. The bytes stay in the buffer, and a
    /// later call tries again, because the disk may have space by then. The next byte written is
    /// therefore always the one that follows in its line.
    pub(super) fn flush(&mut self) -> Option<io::Error> {
        if mem::take(&mut self.rests) {
            return None;
        }
        let mut written = 0;
        let mut failure = None;
        self.blocked = false;
        while written < self.waiting.len() {
            match self.output.write(&self.waiting[written..]) {
                Ok(n) if n > 0 => written += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {
                    self.ended = true;
                    written = self.waiting.len();
                }
                other => {
                    self.blocked = true;
                    let would_block = |e: &io::Error| e.kind() == io::ErrorKind::WouldBlock;
                    failure = other.err().filter(|e| !would_block(e));
                    break;
                }
            }
        }
        self.waiting.drain(..written);
        let began = failure.is_some() && !self.failing;
        self.failing = failure.is_some();
        self.rests = self.failing;
        failure.filter(|_| began)
    }

    /// Gives up the bytes that still wait. Returns the number of lost lines: lines that are not
    /// written or only in part, and lines dropped before.
    pub(super) fn abandon(&mut self) -> u64 {
        let waiting = memchr::memchr_iter(b'\n', &self.waiting).count() as u64;
        self.waiting.clear();
        waiting + self.take_dropped()
    }
}
