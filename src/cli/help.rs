//! The texts of `-h`, `--help` and `--version` beside those of the flags. `-h` has the flags that people use,
//! and fits a screen; `--help` has all of them, with examples. Lines have at most 80 columns.

use std::sync::LazyLock;

// The groups of the flags.
pub(super) const LISTEN: &str = "Address";
pub(super) const FILES: &str = "Files";
pub(super) const LIVE: &str = "Live reload";
pub(super) const PROXY: &str = "Proxy";
pub(super) const ACCESS: &str = "Access";
pub(super) const OUTPUT: &str = "Output";
pub(super) const LOOP: &str = "The loop";
pub(super) const BOUNDS: &str = "Bounds";

/// The last line of `-h`.
pub(super) const AFTER_SHORT: &str =
    "--help has all flags, with examples and the variables of the environment.";

/// The last lines of `--help`.
pub(super) const AFTER_LONG: &str = "\
Examples:
  oneloop                          serve ./www, or the working directory
  oneloop --demo -o                show what this server does, in a browser
  oneloop -o dist                  serve dist, and open it in a browser
  oneloop -s --watch src dist      a single-page app that reloads with src
  oneloop --proxy /api=http://localhost:3000 dist
                                   pass requests below /api on
  oneloop --lan --auth me:pw       for the local network, with a password
  oneloop --trace pretty           show what the loop does

Environment:
  Each flag has a variable: ONELOOP_MAX_AGE=60 stands for --max-age 60. Flags
  without a value take 1 or 0, and flags that may be repeated have one value in
  each line. The command line is stronger. An empty variable is unset, but for
  ONELOOP_AUTH. NO_COLOR=1 and TERM=dumb forbid colours.

Commands:
  oneloop trace FILE --chrome OUT  convert a trace for Perfetto
  oneloop cert                     tell how to trust the certificates of --tls
  oneloop completions SHELL        print completions for a shell
  oneloop man                      print a page for man(1)
  A directory with the name of a command is served as ./trace.

Exit codes: 0 after a stop by Ctrl-C, SIGTERM or the key q; 1 if the server
cannot start or go on; 2 for wrong flags.";

/// The version, with the features that are built in.
pub(super) static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let features = [
        ("recorder", cfg!(feature = "recorder")),
        ("manual", cfg!(feature = "manual")),
        ("demo", cfg!(feature = "demo")),
        ("tls", cfg!(feature = "tls")),
    ];
    let built_in = features.iter().filter(|(_, is_built_in)| *is_built_in);
    let built_in: Vec<_> = built_in.map(|(name, _)| *name).collect();
    let version = env!("CARGO_PKG_VERSION");
    match &built_in[..] {
        [] => format!("{version}\nfeatures: none"),
        names => format!("{version}\nfeatures: {}", names.join(", ")),
    }
});
