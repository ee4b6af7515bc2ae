//! Floor 4, server: the flood of lines that a load test makes. A terminal draws some ten thousand
//! lines a second, and a person reads a few. So a terminal shows the first lines of each second, and
//! then one line for all further requests of a kind.

use std::time::{Duration, Instant};

use crate::connection::{Exchange, Record};

/// The lines of one second.
#[derive(Default, Debug)]
pub(super) struct Flood {
    /// When the second began.
    since: Option<Instant>,
    /// Lines shown in this second.
    shown: u32,
    /// The kinds of requests that were left out, in the order of their first, with their number.
    folded: Vec<(Box<Exchange>, u64)>,
    /// Lines left out that are of no kind in `folded`.
    others: u64,
}

impl Flood {
    const SECOND: Duration = Duration::from_secs(1);

    /// Lines shown in a second. A page with all its files is below.
    const SHOWN_MAX: u32 = 200;

    /// Kinds of requests that are told apart in a second.
    const KINDS_MAX: usize = 8;

    /// Whether the record is to be shown. Otherwise it is left out, and counted.
    pub(super) fn passes(&mut self, record: &Record, now: Instant) -> bool {
        self.since.get_or_insert(now);
        if self.shown < Flood::SHOWN_MAX {
            self.shown += 1;
            return true;
        }
        let Record::Exchange(exchange) = record else {
            self.others += 1;
            return false;
        };
        let same = |(other, _): &&mut (Box<Exchange>, u64)| {
            other.status == exchange.status
                && other.target == exchange.target
                && other.method == exchange.method
        };
        let kinds = self.folded.len();
        match self.folded.iter_mut().find(same) {
            Some((_, count)) => *count += 1,
            None if kinds < Flood::KINDS_MAX => self.folded.push((exchange.clone(), 1)),
            None => self.others += 1,
        }
        false
    }

    /// When the lines that were left out are to be told; `None` if none was.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since
            .filter(|_| self.has_folded())
            .map(|at| at + Flood::SECOND)
    }

    /// Whether lines were left out that are still to be told.
    #[inline]
    pub(super) fn has_folded(&self) -> bool {
        !self.folded.is_empty() || self.others > 0
    }

    /// Ends the second if its time is over, or at once with `at_once`. Returns the kinds of requests
    /// that were left out, and the number of the other lines.
    pub(super) fn end(&mut self, now: Instant, at_once: bool) -> (Vec<(Box<Exchange>, u64)>, u64) {
        match self.since {
            Some(at) if at_once || at + Flood::SECOND <= now => {
                let Flood { folded, others, .. } = std::mem::take(self);
                (folded, others)
            }
            _ => (Vec::new(), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Key;

    fn exchange(target: &str, began: Instant) -> Record {
        Record::Exchange(Box::new(Exchange {
            key: Key::new(1, 1),
            peer: "127.0.0.1:5".parse().unwrap(),
            method: (*b"GET").into(),
            target: target.as_bytes().into(),
            minor_version: 1,
            referer: [].into(),
            user_agent: [].into(),
            status: 200,
            body_bytes: 5,
            began,
            reason: None,
            complete: true,
        }))
    }

    #[test]
    fn the_first_lines_of_a_second_are_shown_and_the_others_are_counted_by_kind() {
        let now = Instant::now();
        let mut flood = Flood::default();
        let mut shown = 0;
        for n in 0..1_000 {
            let target = ["/a", "/b"][n % 2];
            shown += u32::from(flood.passes(&exchange(target, now), now));
        }
        for n in 0..10 {
            assert!(!flood.passes(&exchange(&format!("/{n}"), now), now));
        }
        assert_eq!(shown, Flood::SHOWN_MAX);
        assert_eq!(flood.due(), Some(now + Flood::SECOND));
        assert!(flood.end(now, false).0.is_empty(), "the second goes on");
        let (folded, others) = flood.end(now + Flood::SECOND, false);
        let counts: Vec<_> = folded.iter().map(|(_, n)| *n).collect();
        assert_eq!((counts, others), (vec![400, 400, 1, 1, 1, 1, 1, 1], 4));
        assert_eq!(flood.due(), None);
        let later = now + Flood::SECOND;
        assert!(flood.passes(&exchange("/a", later), later));
    }
}
