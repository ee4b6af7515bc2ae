//! The counts of a run, and their text.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

/// The counts of a run.
#[derive(Default)]
pub struct Tally {
    /// The number of answers, or in a room the number of deliveries.
    pub messages: u64,
    pub elapsed: Duration,
    /// Each error, with the number of connections on which it occurred.
    pub errors: BTreeMap<String, usize>,
    /// The times from the sending of a batch to its last answer.
    pub latencies: Latencies,
}

impl Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = self.messages as f64 / seconds.max(f64::MIN_POSITIVE);
        let messages = self.messages;
        write!(
            f,
            "{messages} messages in {seconds:.2} s: {rate:.0} per second"
        )?;
        if let Some([median, high, most]) = self.latencies.quantiles([0.5, 0.99, 1.0]) {
            write!(
                f,
                "\nlatency: {median:.2?} median, {high:.2?} at 99 %, {most:.2?} at most"
            )?;
        }
        for (error, connections) in &self.errors {
            write!(f, "\nerror on {connections} connections: {error}")?;
        }
        Ok(())
    }
}

/// A histogram with steps that grow by 5 %. The histogram needs little memory and no sorting.
pub struct Latencies([u64; 600]);

/// The number of steps in which a latency grows by the factor e.
const STEPS: f64 = 20.0;

impl Latencies {
    /// Adds a latency.
    pub fn add(&mut self, latency: Duration) {
        let step = (latency.as_nanos().max(1) as f64).ln() * STEPS;
        self.0[(step as usize).min(599)] += 1;
    }

    /// Returns the latencies below which these shares of the values lie, or `None` without values.
    fn quantiles<const N: usize>(&self, shares: [f64; N]) -> Option<[Duration; N]> {
        let total: u64 = self.0.iter().sum();
        let quantile = |share: f64| {
            let mut below = 0;
            let step = self.0.iter().position(|count| {
                below += count;
                below as f64 >= total as f64 * share
            });
            let end = (step.unwrap_or_default() + 1) as f64 / STEPS;
            Duration::from_nanos(end.exp() as u64)
        };
        (total > 0).then(|| shares.map(quantile))
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self([0; 600])
    }
}
