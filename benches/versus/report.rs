//! Medians of paired ratios, and the Markdown they are told in.

use std::fmt::Write;
use std::fs;

use crate::field::{Field, LIMIT, NGINX};
use crate::options::Options;
use crate::scenario::Scenario;
use crate::tools::Tools;

/// One contender in one scenario.
pub struct Row {
    scenario: &'static str,
    contender: &'static str,
    /// CPU time per request, one for each round.
    pub nanoseconds: Vec<f64>,
    /// `None` without strace.
    calls: Option<f64>,
}

impl Row {
    pub fn new(scenario: &Scenario, contender: &'static str, calls: Option<f64>) -> Self {
        Self {
            scenario: scenario.name,
            contender,
            nanoseconds: Vec::new(),
            calls,
        }
    }
}

/// How a round went, for those who wait: the latest of each row.
pub fn latest(rows: &[Row]) -> String {
    let latest = rows.iter().map(|row| {
        let cost = row.nanoseconds.last().copied().unwrap_or(f64::NAN);
        format!("{} {}", row.contender, microseconds(cost))
    });
    latest.collect::<Vec<_>>().join("; ")
}

/// Where and how it was measured, the table, and the complaints.
pub fn render(
    tools: &Tools,
    field: &Field,
    options: &Options,
    rows: &[Row],
    complaints: &[String],
) -> String {
    let mut report = heading(tools, field, options);
    report.push('\n');
    report += &table(&cells(rows));
    for complaint in complaints {
        let _ = write!(report, "\n**{complaint}**\n");
    }
    report
}

fn heading(tools: &Tools, field: &Field, options: &Options) -> String {
    format!(
        "\
- {}; {}
- {}; {}
- `cargo bench --bench versus -- {options}`; medians over the rounds, least and most in brackets
",
        machine(),
        tools.placement(),
        field.versions.join(", "),
        tools.versions(),
    )
}

/// Processor, cores, kernel, and how busy others kept them.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let named = |name| {
        processors
            .lines()
            .filter(move |line| line.starts_with(name))
    };
    let model = named("model name").find_map(|line| line.split_once(": "));
    let (_, model) = model.unwrap_or(("", "unknown processor"));
    let cores = named("processor").count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let kernel = kernel.trim();
    format!("{model}, {cores} cores, Linux {kernel}, load average at the end {load}")
}

/// The table as text, heading included.
fn cells(rows: &[Row]) -> Vec<[String; 6]> {
    let heading = [
        "scenario",
        "server",
        "CPU per request",
        "÷ limit",
        "÷ nginx",
        "system calls per request",
    ];
    let mut cells = vec![heading.map(String::from)];
    let mut above = "";
    for row in rows {
        let against = |name: &str| {
            let is_meant = |other: &&Row| other.scenario == row.scenario && other.contender == name;
            match rows.iter().find(is_meant) {
                Some(other) if std::ptr::eq(other, row) => "1".into(),
                Some(other) => Spread::of_ratios(row, other).to_string(),
                None => "–".into(),
            }
        };
        let median = Spread::of(row.nanoseconds.clone()).median;
        cells.push([
            // Once for its group is enough.
            if row.scenario == above {
                String::new()
            } else {
                row.scenario.into()
            },
            row.contender.into(),
            microseconds(median),
            against(LIMIT),
            against(NGINX),
            row.calls.map_or("–".into(), |calls| format!("{calls:.2}")),
        ]);
        above = row.scenario;
    }
    cells
}

/// Markdown whose columns line up in plain text too: words to the left, numbers to the right.
fn table(cells: &[[String; 6]]) -> String {
    let is_number = |column: usize| column >= 2;
    let widths: [usize; 6] = std::array::from_fn(|column| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    });
    let line = |row: &[String; 6]| {
        let mut line = String::from("|");
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            line += &match is_number(column) {
                true => format!(" {cell:>width$} |"),
                false => format!(" {cell:<width$} |"),
            };
        }
        line
    };
    let mut rule = String::from("|");
    for (column, width) in widths.iter().enumerate() {
        let end = if is_number(column) { ':' } else { '-' };
        rule += &format!("{:-<width$}-{end}|", "");
    }
    let mut lines: Vec<_> = cells.iter().map(line).collect();
    lines.insert(1, rule);
    lines.join("\n") + "\n"
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    /// `values` has at least one element.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self {
            least: values[0],
            median,
            most: values[values.len() - 1],
        }
    }

    /// Round by round: what was noisy for one was noisy for both.
    fn of_ratios(row: &Row, other: &Row) -> Self {
        let pairs = row.nanoseconds.iter().zip(&other.nanoseconds);
        Self::of(pairs.map(|(ours, theirs)| ours / theirs).collect())
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.least, self.most)
    }
}

fn microseconds(nanoseconds: f64) -> String {
    format!("{:.2} µs", nanoseconds / 1000.0)
}
