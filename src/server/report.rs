//! Floor 4, server: the report, which is the server's half of a load test. A load generator sees that a
//! read failed; only the server knows why it closed the connection. The legend at the end uses the words
//! of wrk for facts that wrk cannot know.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::formats::{Grouped, Took};
use super::pace::Pace;
use super::{Driver, Server};
use crate::connection::{Cause, Counters};
use crate::site::{Files, Size};
use crate::sys::AcceptQueue;
use crate::transport::Transport;

/// Everything that the report is made from.
pub(super) struct Report<'a> {
    counters: &'a Counters,
    pace: &'a Pace,
    /// The time since the start.
    uptime: Duration,
    /// Answers that are still on their way.
    in_flight: usize,
    /// Look-ups in the cache of files that found a valid entry, and all others.
    cache: (u64, u64),
    /// The connections in the kernel that wait for accept(2), and how many may wait.
    queue: Option<AcceptQueue>,
    /// The connections that the kernel of this machine has refused since the start, because a backlog
    /// was full.
    overflows: Option<u64>,
}

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// The report on everything since the start, in lines.
    pub fn report(&mut self) -> String {
        let listeners = 0..self.acceptable.len();
        let queues = listeners.filter_map(|n| self.driver.accept_queue(u8::try_from(n).ok()?));
        let queue = queues.max_by_key(|queue| queue.waiting);
        let slots = self.connections.iter();
        let in_flight = slots.filter(|(_, slot)| slot.connection.is_answering());
        let [misses, hits] = self.shared.site.looked_up();
        let report = Report {
            counters: &self.tally.counters,
            pace: &self.pace,
            uptime: self.uptime(),
            in_flight: in_flight.count(),
            cache: (hits, misses),
            queue,
            overflows: self.driver.backlog_overflows(),
        };
        report.to_string()
    }

    /// The time since the start, without the present turn.
    pub(super) fn uptime(&self) -> Duration {
        let (waited, worked) = self.pace.totals();
        waited + worked
    }

    /// The lengths of turns, or the service times, as a table of percentiles in the text format of
    /// HdrHistogram. Times are in microseconds.
    pub(super) fn percentiles(&self, which: Times) -> String {
        percentiles(&match which {
            Times::Service => self.pace.service(),
            Times::Turns => self.pace.turns(),
        })
    }
}

/// The times that have a histogram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Times {
    /// Service times of requests.
    Service,
    /// Lengths of turns.
    Turns,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.counters;
        let (requests, connections) = (c.requests, c.connections);
        let (waited, worked) = self.pace.totals();
        let each = self.pace.worked_for_clients().as_nanos() as u64 / requests.max(1);
        writeln!(f, "the loop after {}", Took(self.uptime))?;
        writeln!(
            f,
            "  requests       {} on {}: {:.1} per connection, {:.1} per turn, {} of work for each",
            Grouped(requests),
            plural(connections, "connection"),
            ratio(requests, connections),
            ratio(requests, c.turns),
            Took(Duration::from_nanos(each)),
        )?;
        write!(f, "  answers       ")?;
        list(
            f,
            (1..=5).map(|class| (c.responses(class), format!("with {class}xx"))),
        )?;
        writeln!(
            f,
            "  bytes          {} received, {} sent",
            Size(c.received_bytes),
            Size(c.sent_bytes)
        )?;
        let all = (waited + worked).as_secs_f64();
        writeln!(
            f,
            "  loop           worked {:.1} % of the time and waited for events the rest; {}, {:.1} events per turn",
            100.0 * worked.as_secs_f64() / all.max(1e-9),
            plural(c.turns, "turn"),
            ratio(c.events, c.turns),
        )?;
        writeln!(
            f,
            "  system calls   {:.2} reads, writes and waits per request ({:.2}, {:.2}, {:.2}); {} reads and {} writes in vain (EAGAIN)",
            ratio(c.reads + c.writes + c.turns, requests),
            ratio(c.reads, requests),
            ratio(c.writes, requests),
            ratio(c.turns, requests),
            Grouped(c.read_blocks),
            Grouped(c.write_blocks),
        )?;
        writeln!(f, "  service time   {}", Spread(&self.pace.service()))?;
        writeln!(
            f,
            "  turn           {}; at most {} units of work",
            Spread(&self.pace.turns()),
            Grouped(c.turn_work_most),
        )?;
        writeln!(
            f,
            "  hidden wait    {} in the kernel before the loop looks, on average, whenever bytes arrive",
            Took(self.pace.hidden_wait()),
        )?;
        let (hits, misses) = self.cache;
        writeln!(
            f,
            "  put off        {} times by a spent share of a turn, {} by a full queue of effects; cache: {} hits, {} misses",
            Grouped(c.budgets_spent),
            Grouped(c.throttled),
            Grouped(hits),
            Grouped(misses),
        )?;
        write!(f, "  closed        ")?;
        let closed = Cause::all().map(|cause| (c.closed(cause), cause.words().to_owned()));
        list(f, closed)?;
        self.legend(f)
    }
}

impl Report<'_> {
    /// The causes of the errors of wrk, as far as the server saw them.
    fn legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.counters;
        writeln!(f, "\"Socket errors\" of wrk, seen from here")?;
        write!(f, "  connect        ")?;
        let overflows = match self.overflows {
            Some(n) => format!("{} on this machine found one full, ", Grouped(n)),
            None => String::new(),
        };
        if let Some(queue) = self.queue {
            let (waiting, most) = (queue.waiting.into(), queue.most.into());
            write!(f, "backlog {} of {} now, ", Grouped(waiting), Grouped(most))?;
        }
        writeln!(
            f,
            "{overflows}{} pauses for want of descriptors, {} dropped at the limit",
            Grouped(c.accepts_failed),
            Grouped(c.shed),
        )?;
        write!(f, "  read           answers that were cut off:")?;
        let unexpected = || Cause::all().filter(|cause| !is_by_client(*cause));
        let cut = unexpected().map(|cause| (c.interrupted(cause), cause.words().to_owned()));
        list(f, cut)?;
        write!(
            f,
            "                 and at most, if wrk had just asked again:"
        )?;
        let others = unexpected().filter(|cause| *cause != Cause::LastAnswer);
        let between = |cause| c.closed(cause) - c.interrupted(cause);
        list(
            f,
            others.map(|cause| (between(cause), cause.words().to_owned())),
        )?;
        writeln!(
            f,
            "  write          the same ends, met while wrk was sending"
        )?;
        let service = self.pace.service();
        let late = service.count_between(2_000_000_000, u64::MAX);
        writeln!(
            f,
            "  timeout        {} took 2 s or more, {} under way now; the longest turn took {}",
            answers(late),
            answers(self.in_flight as u64),
            Took(Duration::from_nanos(self.pace.turns().max())),
        )?;
        let errors = c.responses(4) + c.responses(5);
        writeln!(
            f,
            "  non-2xx or 3xx {} with 4xx or 5xx; the access log has the reason of each",
            answers(errors),
        )
    }
}

/// Whether an end is the work of the client. At the end of its time, wrk resets its connections. A handshake
/// that fails has no request.
fn is_by_client(cause: Cause) -> bool {
    matches!(cause, Cause::PeerClosed | Cause::Reset | Cause::Handshake)
}

/// The percentiles of times in nanoseconds.
struct Spread<'a>(&'a Histogram<u64>);

impl fmt::Display for Spread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |quantile| Took(Duration::from_nanos(self.0.value_at_quantile(quantile)));
        if self.0.is_empty() {
            return f.write_str("none yet");
        }
        write!(f, "p50 {}, p99 {}, ", at(0.5), at(0.99))?;
        write!(f, "p99.9 {}, max {}", at(0.999), at(1.0))
    }
}

/// The counts that are not zero, with their words, to the end of the line.
fn list(f: &mut fmt::Formatter<'_>, counts: impl Iterator<Item = (u64, String)>) -> fmt::Result {
    let mut separator = " ";
    for (count, words) in counts.filter(|(count, _)| *count > 0) {
        write!(f, "{separator}{} {words}", Grouped(count))?;
        separator = ", ";
    }
    if separator == " " {
        f.write_str(" none")?;
    }
    writeln!(f)
}

fn plural(n: u64, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {noun}{s}", Grouped(n))
}

fn answers(n: u64) -> String {
    plural(n, "answer")
}

fn ratio(part: u64, of: u64) -> f64 {
    part as f64 / (of.max(1)) as f64
}

/// A histogram of nanoseconds as a table of percentiles, in microseconds, which the plotter of
/// HdrHistogram takes.
fn percentiles(times: &Histogram<u64>) -> String {
    use fmt::Write as _;
    let mut text = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n".to_owned();
    let us = |ns: u64| ns as f64 / 1e3;
    let mut before = 0;
    for step in times.iter_quantiles(5) {
        before += step.count_since_last_iteration();
        let (value, quantile) = (us(step.value_iterated_to()), step.quantile_iterated_to());
        let _ = write!(text, "{value:12.3} {quantile:14.12} {before:10}");
        let _ = match quantile < 1.0 {
            true => writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(text),
        };
    }
    let (mean, deviation) = (times.mean() / 1e3, times.stdev() / 1e3);
    let (max, count) = (us(times.max()), times.len());
    let _ = writeln!(
        text,
        "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]"
    );
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    text
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::connection::Tally;
    use crate::http::Status;

    /// A server that worked 1 ms in each of 100 turns, and waited 3 ms before each.
    fn pace(tally: &mut Tally) -> Pace {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        for _ in 0..100 {
            pace.begin_wait(now, tally);
            now += Duration::from_millis(3);
            pace.begin_turn(now, 2, tally);
            now += Duration::from_millis(1);
            tally.served.in_turn = 4;
        }
        tally.served.after.push((Duration::from_secs(3), 1));
        pace.begin_wait(now, tally);
        pace
    }

    fn text(tally: &Tally, pace: &Pace) -> String {
        let (waited, worked) = pace.totals();
        let report = Report {
            counters: &tally.counters,
            pace,
            uptime: waited + worked,
            in_flight: 3,
            cache: (9, 1),
            queue: Some(AcceptQueue {
                waiting: 2,
                most: 4096,
            }),
            overflows: Some(0),
        };
        report.to_string()
    }

    #[test]
    fn a_report_has_ten_lines_and_a_legend() {
        let mut tally = Tally::default();
        let pace = pace(&mut tally);
        let c = &mut tally.counters;
        (c.requests, c.connections, c.reads, c.writes) = (1_000, 4, 1_000, 1_010);
        (0..999).for_each(|_| c.count_response(Status::Ok));
        c.count_response(Status::NotFound);
        c.count(Cause::PeerClosed, false);
        c.count(Cause::Reset, true);
        c.count(Cause::Late, true);
        c.count(Cause::Idle, false);
        let text = text(&tally, &pace);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "the loop after 400 ms");
        assert_eq!(lines.len(), 1 + 10 + 1 + 6, "{text}");
        assert!(
            lines.iter().all(|line| line.chars().count() <= 140),
            "{text}"
        );
        for part in [
            "1,000 on 4 connections: 250.0 per connection, 10.0 per turn, 100 µs of work for each",
            "answers        999 with 2xx, 1 with 4xx\n",
            "worked 25.0 % of the time and waited for events the rest; 100 turns, 2.0 events per turn",
            "2.11 reads, writes and waits per request (1.00, 1.01, 0.10); 0 reads and 0 writes in vain",
            "hidden wait    125 µs in the kernel",
            "connect        backlog 2 of 4,096 now, 0 on this machine found one full, 0 pauses",
            "closed         1 closed by the peer, 1 idle, 1 timed out, 1 reset by the peer\n",
            "cut off: 1 timed out\n",
            "asked again: 1 idle\n",
            "timeout        1 answer took 2 s or more, 3 answers under way now",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_report_on_nothing_is_a_report() {
        let pace = Pace::new(Instant::now());
        let text = text(&Tally::default(), &pace);
        assert!(text.contains("service time   none yet"), "{text}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(percentiles(&pace.service()).contains("Total count    =            0"));
    }

    #[test]
    fn percentiles_go_up_to_the_longest_time() {
        let mut tally = Tally::default();
        let text = percentiles(&pace(&mut tally).service());
        let rows: Vec<Vec<f64>> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().flat_map(str::parse).collect())
            .filter(|row: &Vec<f64>| row.len() >= 3)
            .collect();
        assert!(
            rows.windows(2)
                .all(|two| two[0][0] <= two[1][0] && two[0][1] <= two[1][1])
        );
        let last = rows.last().expect("rows");
        assert!((2.95e6..3.05e6).contains(&last[0]), "{text}");
        assert_eq!((last[1], last[2]), (1.0, 401.0));
    }
}
