//! The time of an operation, in many short rounds.

use std::time::{Duration, Instant};

use super::{Operation, Row};

/// How long an operation is repeated in a round. The scheduler gives a core to a program for some
/// milliseconds, so other programs interrupt few rounds of this length, and the quartiles ignore
/// the few.
const ROUND: Duration = Duration::from_micros(100);

/// Returns the nanoseconds per unit, of ours and of theirs if there is a library: an element for
/// each round. The two take turns, so that other load on the machine hits both.
pub fn rounds(row: &Row, rounds: usize) -> Vec<Vec<f64>> {
    let theirs = row.theirs.map(|(_, prepare)| prepare);
    let mut sides: Vec<_> = std::iter::once(row.ours)
        .chain(theirs)
        .map(|prepare| {
            let mut operation = prepare();
            let calls = calls_of_a_round(&mut operation);
            (operation, calls, Vec::new())
        })
        .collect();
    for _ in 0..rounds {
        for (operation, calls, nanoseconds) in &mut sides {
            let units = f64::from(*calls) * f64::from(row.units);
            nanoseconds.push(time(operation, *calls).as_nanos() as f64 / units);
        }
    }
    sides.into_iter().map(|(_, _, all)| all).collect()
}

/// Returns how many calls fill a round. This also warms caches and branch predictors.
fn calls_of_a_round(operation: &mut Operation) -> u32 {
    let mut calls = 1;
    while time(operation, calls) < ROUND {
        calls *= 2;
    }
    calls
}

fn time(operation: &mut Operation, calls: u32) -> Duration {
    let began = Instant::now();
    for _ in 0..calls {
        operation();
    }
    began.elapsed()
}
