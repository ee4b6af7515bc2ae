//! The figures of a report: the machine, the spread of a value, and a table of Markdown.

use std::fs;

/// Describes the processor, its cores, the kernel, and the load average, which shows other work.
pub fn machine() -> String {
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

/// Returns the table as Markdown, whose first row is the heading. The columns are aligned in plain
/// text too: the first `words` columns to the left, and the numbers after them to the right.
pub fn table(cells: &[Vec<String>], words: usize) -> String {
    let is_number = |column: usize| column >= words;
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
pub struct Spread {
    pub least: f64,
    pub median: f64,
    pub most: f64,
}

impl Spread {
    /// Sorts `values`, which must have at least one element.
    pub fn of(mut values: Vec<f64>) -> Self {
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
}

/// Divides round by round, because other load on the machine hits both runs of a round.
pub fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(a, b)| a / b).collect()
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.least, self.most)
    }
}
