//! Floor 4, server: a browser is opened by another program, which is never waited for. The program has no
//! input, and its output is not ours.
//!
//! The programs that are tried: those in `$BROWSER`, with a colon between them; under WSL, which runs on
//! Windows, `wslview`, `xdg-open` and `explorer.exe`; else `xdg-open`.

use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use crate::sys;

/// A program that opens a browser, or the browser itself.
#[derive(Debug)]
pub(super) struct Opener {
    child: Child,
    /// `explorer.exe` tells of failures when there are none.
    is_trusted: bool,
}

impl Opener {
    /// Starts the first program that is there. The superuser's browser would run with all rights, so the
    /// superuser has none.
    ///
    /// # Errors
    /// A sentence: no program is there, none may be started, or the process may do too much.
    pub fn start(url: &str) -> io::Result<Opener> {
        if sys::is_superuser() {
            return Err(io::Error::other("the server runs as root"));
        }
        let browser = env::var("BROWSER").unwrap_or_default();
        let is_wsl = env::var_os("WSL_DISTRO_NAME").is_some();
        let mut failure = None;
        for words in programs(&browser, is_wsl, url) {
            match start(&words) {
                Ok(child) => {
                    let is_trusted = words[0] != EXPLORER;
                    return Ok(Opener { child, is_trusted });
                }
                Err(error) => failure = failure.or(Some((words[0].clone(), error))),
            }
        }
        Err(match failure {
            Some((program, error)) if error.kind() == io::ErrorKind::NotFound => {
                io::Error::other(format!("there is no {program}"))
            }
            Some((program, error)) => io::Error::other(format!("{program}: {error}")),
            None => io::Error::other("$BROWSER asks for none"),
        })
    }

    /// Whether the program has ended: `None` if not, and else whether it failed, with its exit code. The
    /// kernel forgets a program that has ended only after this call.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.code().filter(|code| *code != 0 && self.is_trusted)),
            Err(_) => Some(None),
        }
    }
}

const EXPLORER: &str = "explorer.exe";

/// The programs to try, each with its arguments.
fn programs(browser: &str, is_wsl: bool, url: &str) -> Vec<Vec<String>> {
    let browsers = browser.split(':').filter_map(|command| {
        let words = command.split_whitespace();
        let mut words: Vec<_> = words.map(|word| word.replace("%s", url)).collect();
        if !command.contains("%s") {
            words.push(url.into());
        }
        (words.len() > 1).then_some(words)
    });
    let usual: &[&str] = match (browser.trim(), is_wsl) {
        // A custom of other development servers.
        ("none", _) => return Vec::new(),
        (_, true) => &["wslview", "xdg-open", EXPLORER],
        (_, false) => &["xdg-open"],
    };
    let usual = usual.iter().map(|name| vec![(*name).into(), url.into()]);
    browsers.chain(usual).collect()
}

/// Starts a program in a process group of its own, so that Ctrl-C does not end the browser.
fn start(words: &[String]) -> io::Result<Child> {
    let mut command = Command::new(&words[0]);
    let command = command.args(&words[1..]).process_group(0);
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn()
}

#[cfg(test)]
mod tests {
    use super::programs;

    #[test]
    fn the_user_names_a_browser_or_the_system_does() {
        for (browser, is_wsl, expected) in [
            ("", false, &["xdg-open U"][..]),
            ("", true, &["wslview U", "xdg-open U", "explorer.exe U"]),
            ("firefox -P dev", false, &["firefox -P dev U", "xdg-open U"]),
            ("a --app=%s::b", false, &["a --app=U", "b U", "xdg-open U"]),
            ("none", true, &[]),
        ] {
            let programs = programs(browser, is_wsl, "U");
            let programs: Vec<_> = programs.iter().map(|words| words.join(" ")).collect();
            assert_eq!(programs, expected, "{browser}");
        }
    }
}
