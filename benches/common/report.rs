//! The report: medians of paired ratios, in a table of Markdown.

use std::fmt::Write;
use std::fs;

use super::Comparison;
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
    report += &table(&cells(comparison, rows));
    for complaint in complaints {
        let _ = write!(report, "\n**{complaint}**\n");
    }
    report
}

/// Describes the processor, its cores, the kernel, and the load average, which shows other work.
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
                Some(other) => Spread::of_ratios(row, other).to_string(),
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

/// Returns the table as Markdown. Its columns are aligned in plain text too: words to the left,
/// numbers to the right.
fn table(cells: &[Vec<String>]) -> String {
    let is_number = |column: usize| column >= 2;
    let width = |column: usize| {
        let widths = cells.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..cells[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
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

/// The median of some values, with the least and the greatest of them.
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    /// Sorts `values`, which must have at least one element.
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

    /// Divides round by round, because other load on the machine hits both runs of a round.
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
