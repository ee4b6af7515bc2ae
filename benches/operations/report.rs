//! The tables: all figures of the rows, or the instructions beside their ceilings.

use super::figures::{Spread, machine, ratios, table};
use super::options::Options;
use super::{Row, count, time};

/// The figures of a row.
struct Figures {
    /// The instructions of ours and of theirs. Empty when they were not counted.
    instructions: Vec<f64>,
    /// The nanoseconds of ours and of theirs, an element for each round.
    nanoseconds: Vec<Vec<f64>>,
}

/// Measures everything and returns the table.
pub fn report(bench: &str, rows: &[&Row], options: &Options) -> Result<String, String> {
    let counts = count::instructions(rows, options)?;
    let counter = match &counts {
        Some(_) => "instructions by callgrind",
        None => "no valgrind (instructions not counted; `apt install valgrind`)",
    };
    let mut counts = counts.unwrap_or_default().into_iter();
    let mut cells = vec![heading(rows)];
    for row in rows {
        let figures = Figures {
            instructions: counts.next().unwrap_or_default(),
            nanoseconds: time::rounds(row, options.rounds),
        };
        cells.push(figures.cells(row, rows));
    }
    Ok(format!(
        "- {}\n- `cargo bench --bench {bench}`; {counter}; times are medians of {} rounds, \
         quartiles in brackets\n\n{}",
        machine(),
        options.rounds,
        table(&cells, 1 + usize::from(any_beside(rows)))
    ))
}

/// Counts our instructions and compares them with the ceilings.
///
/// # Errors
/// The table, when a number is larger than its ceiling.
pub fn check(rows: &[&Row], options: &Options) -> Result<String, String> {
    let counts = count::instructions(rows, options)?;
    let counts = counts.ok_or("valgrind is missing; install it (`apt install valgrind`)")?;
    let heading = ["operation", "instructions", "ceiling", ""];
    let mut cells = vec![heading.map(String::from).to_vec()];
    let mut exceeded = 0;
    for (row, count) in rows.iter().zip(counts) {
        let count = count[0].round();
        let verdict = match count > row.ceiling as f64 {
            true => "EXCEEDED",
            false => "",
        };
        exceeded += usize::from(!verdict.is_empty());
        let (count, ceiling) = (count.to_string(), row.ceiling.to_string());
        cells.push(vec![row.name.into(), count, ceiling, verdict.into()]);
    }
    match exceeded {
        0 => Ok(table(&cells, 1)),
        n => Err(format!("{n} over the ceiling\n{}", table(&cells, 1))),
    }
}

/// Whether a row has a library beside it, and the table columns for the library.
fn any_beside(rows: &[&Row]) -> bool {
    rows.iter().any(|row| row.theirs.is_some())
}

fn heading(rows: &[&Row]) -> Vec<String> {
    let columns: &[&str] = match any_beside(rows) {
        true => &[
            "operation",
            "beside",
            "instructions",
            "theirs",
            "÷ theirs",
            "time",
            "theirs",
            "÷ theirs",
        ],
        false => &["operation", "instructions", "time"],
    };
    columns.iter().map(|column| String::from(*column)).collect()
}

impl Figures {
    fn cells(&self, row: &Row, rows: &[&Row]) -> Vec<String> {
        let count = |side: usize| {
            let count = self.instructions.get(side);
            count.map_or("–".into(), |count| format!("{count:.0}"))
        };
        let time = |side: usize| {
            let time = self
                .nanoseconds
                .get(side)
                .map(|all| middle_half(all.clone()));
            time.map_or("–".into(), |all| nanoseconds(&Spread::of(all)))
        };
        if !any_beside(rows) {
            return vec![row.name.into(), count(0), time(0)];
        }
        let fewer = match self.instructions[..] {
            [ours, theirs] => format!("{:.2}", ours / theirs),
            _ => "–".into(),
        };
        let faster = match &self.nanoseconds[..] {
            [ours, theirs] => Spread::of(middle_half(ratios(ours, theirs))).to_string(),
            _ => "–".into(),
        };
        let beside = row.theirs.map_or("–", |(library, _)| library);
        let (name, beside) = (row.name.into(), beside.into());
        vec![
            name,
            beside,
            count(0),
            count(1),
            fewer,
            time(0),
            time(1),
            faster,
        ]
    }
}

/// Returns the values between the quartiles. Of many short rounds, the first and the last quarter
/// show the interruptions by other work on the machine.
fn middle_half(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    let quarter = values.len() / 4;
    values[quarter..values.len() - quarter].to_vec()
}

fn nanoseconds(time: &Spread) -> String {
    let Spread {
        least,
        median,
        most,
    } = time;
    match *median {
        ..100.0 => format!("{median:.1} ({least:.1}–{most:.1}) ns"),
        _ => format!("{median:.0} ({least:.0}–{most:.0}) ns"),
    }
}
