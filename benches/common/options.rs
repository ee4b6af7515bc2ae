//! The command line of a comparison.

/// Returns the usage message.
pub fn usage(bench: &str, filters: &str) -> String {
    format!(
        "\
usage: cargo bench --bench {bench} -- [--rounds N] [--seconds N] [--quick] [FILTER]
  --rounds N   rounds per scenario, each running every server once (7)
  --seconds N  how long each run lasts, in whole seconds (1)
  --quick      2 rounds: does it work at all?
  FILTER       only scenarios whose name contains this, such as {filters}
environment:
  ONELOOP_BIN  another oneloop binary to measure, such as the one of yesterday"
    )
}

/// The options of a comparison.
#[derive(Debug, PartialEq)]
pub struct Options {
    pub rounds: usize,
    pub seconds: u32,
    /// A part of the names of the chosen scenarios. The empty string chooses every scenario.
    pub filter: String,
}

impl Options {
    /// Reads the options. `None` means that the user asked for help.
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            rounds: 7,
            seconds: 1,
            filter: String::new(),
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {} // Cargo adds this one.
                "--help" | "-h" => return Ok(None),
                "--quick" => options.rounds = 2,
                "--rounds" => options.rounds = positive(&argument, arguments.next())?,
                "--seconds" => options.seconds = positive(&argument, arguments.next())?,
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                _ if options.filter.is_empty() => options.filter = argument,
                _ => return Err(format!("one filter is enough: {argument}")),
            }
        }
        Ok(Some(options))
    }
}

/// Returns the scenarios whose names contain `filter`, at least one.
///
/// # Errors
/// A sentence with all names, when no name contains `filter`.
pub fn matching<S>(
    filter: &str,
    scenarios: &'static [S],
    name: impl Fn(&S) -> &str,
) -> Result<Vec<&'static S>, String> {
    let chosen: Vec<_> = scenarios
        .iter()
        .filter(|scenario| name(scenario).contains(filter))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = scenarios.iter().map(name).collect();
        return Err(format!(
            "no scenario contains {filter:?}; there are: {}",
            names.join("; ")
        ));
    }
    Ok(chosen)
}

impl std::fmt::Display for Options {
    /// Writes the options as on a command line.
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "--rounds {} --seconds {}", self.rounds, self.seconds)?;
        match self.filter.as_str() {
            "" => Ok(()),
            filter => write!(f, " '{filter}'"),
        }
    }
}

fn positive<N: std::str::FromStr + PartialOrd + Default>(
    flag: &str,
    value: Option<String>,
) -> Result<N, String> {
    value
        .and_then(|text| text.parse().ok())
        .filter(|number| *number > N::default())
        .ok_or_else(|| format!("{flag} takes a number above zero"))
}
