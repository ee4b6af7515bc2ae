//! Floor 3, connection: the times in the field `Server-Timing` (W3C Server Timing), for a server that shows
//! them. Clocks are read for each request then. Otherwise, no clock is read here.

use std::io::Write as _;
use std::time::{Duration, Instant};

/// Reads a clock to measure, and never to decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch {
    read: fn() -> Instant,
    /// When the parser of the present head was called.
    parsed_from: Option<Instant>,
}

impl Stopwatch {
    /// A stopwatch with this clock.
    pub(crate) fn new(read: fn() -> Instant) -> Stopwatch {
        Stopwatch {
            read,
            parsed_from: None,
        }
    }

    /// Reads the clock.
    pub(super) fn now(&self) -> Instant {
        (self.read)()
    }

    /// The parser is about to be called.
    pub(super) fn begin_parse(&mut self) {
        self.parsed_from = Some(self.now());
    }

    /// The head is complete, in the turn of this number that began at `turn_began`. The writes of the last
    /// answer on the connection took `sent`.
    pub(super) fn end_parse(
        &mut self,
        turn: u64,
        turn_began: Instant,
        sent: Duration,
    ) -> Box<Timing> {
        let now = self.now();
        let from = self.parsed_from.take().unwrap_or(now);
        Box::new(Timing {
            turn,
            queued: from.saturating_duration_since(turn_began),
            parse: now.saturating_duration_since(from),
            parsed: now,
            sent,
            by_endpoint: false,
        })
    }
}

/// The times of one request.
#[derive(Debug)]
pub(crate) struct Timing {
    /// The number of the turn in which the head was complete.
    turn: u64,
    /// From the beginning of the turn until the request had its place in it.
    queued: Duration,
    /// The time in the parser; of a head that came in pieces, for the last piece.
    parse: Duration,
    /// When the head was parsed.
    parsed: Instant,
    /// The time in the writes of the answer before.
    sent: Duration,
    /// An endpoint makes the answer.
    by_endpoint: bool,
}

impl Timing {
    /// An endpoint makes the answer, perhaps after a body and in a later turn.
    pub(super) fn by_endpoint(&mut self) {
        self.by_endpoint = true;
    }

    /// Adds the line of the field to a head. The answer was made `now`; its own writes come later, so
    /// only those of the answer before can be told.
    pub(super) fn write(&self, now: Instant, out: &mut Vec<u8>) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let maker = if self.by_endpoint { "endpoint" } else { "file" };
        let made = ms(now.saturating_duration_since(self.parsed));
        let (turn, queued, parse) = (self.turn, ms(self.queued), ms(self.parse));
        write!(
            out,
            "Server-Timing: turn;desc=\"{turn}\", queue;dur={queued:.3}, parse;dur={parse:.3}, \
             {maker};dur={made:.3}"
        )
        .expect("a Vec takes all");
        if self.sent > Duration::ZERO {
            let sent = ms(self.sent);
            write!(out, ", send;dur={sent:.3};desc=\"of the answer before\"")
                .expect("a Vec takes all");
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_the_times_of_its_request() {
        let mut watch = Stopwatch::new(Instant::now);
        let turn_began = watch.now();
        watch.begin_parse();
        let mut timing = watch.end_parse(812, turn_began, Duration::ZERO);
        (timing.queued, timing.parse) = (Duration::from_micros(20), Duration::from_micros(4));
        let line = |timing: &Timing| {
            let mut out = Vec::new();
            timing.write(timing.parsed + Duration::from_micros(12_500), &mut out);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(
            line(&timing),
            "Server-Timing: turn;desc=\"812\", queue;dur=0.020, parse;dur=0.004, file;dur=12.500\r\n"
        );
        timing.by_endpoint();
        timing.sent = Duration::from_millis(3);
        let text = line(&timing);
        let end = "endpoint;dur=12.500, send;dur=3.000;desc=\"of the answer before\"\r\n";
        assert!(text.ends_with(end), "{text}");
    }
}
