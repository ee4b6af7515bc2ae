//! Floor 4, server: the loop and its connections as text, for a terminal of a hundred columns.

use std::fmt::Write as _;
use std::time::Duration;

use super::Inspect;
use super::frame::letter;
use super::watchers::View;
use crate::connection;
use crate::server::formats::Took;
use crate::server::{Driver, Server};
use crate::site::{Files, Size};
use crate::transport::Transport;

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// The loop, and the connections of a view.
    pub(super) fn table(&self, inspect: &Inspect, view: View) -> String {
        let (counters, pace) = (&self.tally.counters, &self.pace);
        let watchers = inspect.watchers.borrow().open.len();
        let up = self.uptime().as_secs_f64();
        let worked = pace.totals().1.as_secs_f64();
        let mut text = String::new();
        let mut line = |label: &str, rest: std::fmt::Arguments<'_>| {
            writeln!(text, "{label:<9}{rest}").expect("a String takes all");
        };
        let busy = 100.0 * worked / up.max(1e-9);
        line(
            "loop",
            format_args!(
                "turn {} after {up:.1} s, busy {busy:.1} % of the time",
                counters.turns,
            ),
        );
        for (label, times) in [("turns", pace.turns()), ("service", pace.service())] {
            let took = |ns| Took(Duration::from_nanos(ns));
            let at = |share| took(times.value_at_quantile(share));
            match times.is_empty() {
                true => line(label, format_args!("none yet")),
                false => line(
                    label,
                    format_args!(
                        "p50 {}, p99 {}, p99.9 {}, max {}",
                        at(0.5),
                        at(0.99),
                        at(0.999),
                        took(times.max())
                    ),
                ),
            }
        }
        line(
            "calls",
            format_args!(
                "{} reads, {} found nothing; {} writes, {} found no space",
                counters.reads, counters.read_blocks, counters.writes, counters.write_blocks
            ),
        );
        let account = self.shared.pool.account();
        let (used, most) = (Size(account.used() as u64), Size(account.max() as u64));
        let open = counters.open().saturating_sub(watchers as u64);
        line(
            "now",
            format_args!(
                "{open} open, {watchers} watching, {} requests so far, {used} of {most} of memory",
                counters.requests
            ),
        );
        text.push('\n');
        self.write_table(&mut text, view);
        text
    }

    /// The first connections, for the report.
    pub(in crate::server) fn slots_table(&self) -> String {
        let mut text = String::new();
        self.write_table(&mut text, View::default());
        text
    }

    /// Appends a table of the connections of a view.
    fn write_table(&self, text: &mut String, view: View) {
        let (rows, next) = self.rows(view);
        let head = ["key", "", "peer", "inbox", "outbox", "why"].map(String::from);
        let mut cells = vec![head];
        cells.extend(rows.iter().map(cells_of));
        let mut widths = [0; 5];
        for row in &cells {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let [key, letter, peer, unread, unsent] = widths;
        for [k, l, p, i, o, why] in &cells {
            let row = format!("{k:<key$} {l:<letter$} {p:<peer$} {i:>unread$} {o:>unsent$} {why}");
            let row = row.trim_end();
            match row.char_indices().nth(COLUMNS) {
                None => text.push_str(row),
                Some(_) => {
                    text.extend(row.chars().take(COLUMNS - 1));
                    text.push('…');
                }
            }
            text.push('\n');
        }
        if let Some(next) = next {
            let _ = writeln!(text, "more from slot {next}: ?from={next}");
        }
    }
}

/// The columns of a line. A sentence is cut, and never wrapped.
const COLUMNS: usize = 100;

fn cells_of(row: &connection::View) -> [String; 6] {
    [
        row.key.to_string(),
        letter(row).to_string(),
        row.peer.to_string(),
        Size(row.inbox as u64).to_string(),
        Size(row.outbox).to_string(),
        row.why.to_string(),
    ]
}
