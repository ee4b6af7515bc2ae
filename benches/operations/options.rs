//! The command line of `codec` and `turns`.

/// Returns the usage message.
pub fn usage(bench: &str) -> String {
    format!(
        "\
usage: cargo bench --bench {bench} -- [--check] [--quick] [FILTER]
  --check   only count instructions, and fail if a number is over its ceiling
  --quick   200 rounds instead of 2000
  FILTER    only the rows whose name contains this"
    )
}

/// The options of a bench.
pub struct Options {
    pub task: Task,
    pub rounds: usize,
    /// Whether the libraries beside oneloop are left out.
    pub ours_only: bool,
    /// A part of the names of the chosen rows. The empty string chooses every row.
    pub filter: String,
}

/// The task of the program.
pub enum Task {
    Help,
    Check,
    Report,
    /// Repeats the operations for callgrind, which counts meanwhile.
    Work,
}

impl Options {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            task: Task::Report,
            rounds: 2000,
            ours_only: false,
            filter: String::new(),
        };
        for argument in arguments {
            match argument.as_str() {
                "--bench" => {} // Cargo adds this one.
                "--help" | "-h" => options.task = Task::Help,
                "--check" => (options.task, options.ours_only) = (Task::Check, true),
                "--quick" => options.rounds = 200,
                // `count` adds these two arguments.
                "--work" => options.task = Task::Work,
                "--ours" => options.ours_only = true,
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                _ if options.filter.is_empty() => options.filter = argument,
                _ => return Err(format!("one filter is enough: {argument}")),
            }
        }
        Ok(options)
    }
}
