//! The report of a comparison: medians of paired ratios, in a table.

use std::fmt::Write;

use super::Comparison;
use super::figures::{Spread, machine, ratios, table};
use super::options::Options;
use super::tools::Tools;

/// The results of a contender in a scenario.
pub struct Row {
    scenario: &'static str,
    contender: &'static str,
    /// CPU time per unit, one element for each round.
    pub nanoseconds: Vec<f64>,
    /// System calls per unit. `None` without strace.
    calls: Option<f64>,
}

impl Row {
    pub fn new(scenario: &'static str, contender: &'static str, calls: Option<f64>) -> Self {
        Self {
            scenario,
            contender,
            nanoseconds: Vec::new(),
            calls,
        }
    }

    /// Describes the last round, for a user who waits for the report.
    pub fn latest(&self) -> String {
        let cost = self.nanoseconds.last().copied().unwrap_or(f64::NAN);
        format!("{} {}", self.contender, microseconds(cost))
    }
}

/// Returns the report: the machine and the command, the table, and the complaints. `versions` names
/// the versions of the servers and of the load generator.
pub fn render(
    comparison: &Comparison,
    tools: &Tools,
    versions: &[String],
    options: &Options,
    rows: &[Row],
    complaints: &[String],
) -> String {
    let mut report = format!(
        "\
- {}; {}
- {}, {}
- `cargo bench --bench {} -- {options}`; medians over the rounds, least and most in brackets

",
        machine(),
        tools.placement(),
        versions.join(", "),
        tools.versions(),
        comparison.bench,
    );
    report += &table(&cells(comparison, rows), 2);
    for complaint in complaints {
        let _ = write!(report, "\n**{complaint}**\n");
    }
    report
}

/// Returns the cells of the table, the heading first.
fn cells(comparison: &Comparison, rows: &[Row]) -> Vec<Vec<String>> {
    let divisors = comparison.divisors;
    let mut heading = vec![
        "scenario".into(),
        "server".into(),
        format!("CPU per {}", comparison.unit),
    ];
    heading.extend(divisors.iter().map(|name| format!("÷ {name}")));
    heading.push("system calls".into());
    let mut cells = vec![heading];
    let mut above = "";
    for row in rows {
        let against = |name: &&str| {
            let is_meant =
                |other: &&Row| other.scenario == row.scenario && other.contender == *name;
            match rows.iter().find(is_meant) {
                Some(other) if std::ptr::eq(other, row) => "1".into(),
                Some(other) => Spread::of(ratios(&row.nanoseconds, &other.nanoseconds)).to_string(),
                None => "–".into(),
            }
        };
        let median = Spread::of(row.nanoseconds.clone()).median;
        // Only the first row of a scenario names it.
        let scenario = if row.scenario == above {
            ""
        } else {
            row.scenario
        };
        let server = match row.contender {
            "oneloop" => "**oneloop**",
            other => other,
        };
        let mut line = vec![scenario.into(), server.into(), microseconds(median)];
        line.extend(divisors.iter().map(against));
        line.push(row.calls.map_or("–".into(), |calls| format!("{calls:.2}")));
        cells.push(line);
        above = row.scenario;
    }
    cells
}

fn microseconds(nanoseconds: f64) -> String {
    format!("{:.2} µs", nanoseconds / 1000.0)
}
