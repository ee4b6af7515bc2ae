//! Floor 4, server: the keys at the terminal. A person types a letter and Enter: the terminal stays in its
//! usual mode, so that Ctrl-C, Ctrl-Z and Ctrl-D keep their meaning. The driver turns each letter into a
//! [`Signal`], and the server answers.

use std::fs::File;
use std::io::{self, Read as _};

use super::{Driver, Log, Server, Signal};
use crate::site::Files;
use crate::sys;
use crate::transport::Transport;

/// What the keys at the terminal show.
#[derive(Clone, Default, Debug)]
pub struct Console {
    /// The answer to `u`: a line for each address, each with a line end.
    pub urls: String,
    /// The page that `o` opens.
    pub page: String,
    /// Whether the terminal can be cleared.
    pub clears: bool,
}

/// The answer to `h`.
const HELP: &str = "\
keys, each with Enter:
  r  reload the open pages
  u  show the URLs
  o  open the page in a browser
  c  clear the screen
  s  show the report on the loop and the connections
  h  show the keys
  q  quit
";

/// The demands that wait to be told to the server. Each demand waits once at most, so the number is bounded.
#[derive(Default, Debug)]
pub(super) struct Asked(Vec<Signal>);

impl Asked {
    pub fn add(&mut self, signal: Signal) {
        if !self.0.contains(&signal) {
            self.0.push(signal);
        }
    }

    /// Takes a demand: the stop first, and the others in the order in which they came.
    pub fn take(&mut self) -> Option<Signal> {
        let stop = self.0.iter().position(|signal| *signal == Signal::Stop);
        (!self.0.is_empty()).then(|| self.0.remove(stop.unwrap_or(0)))
    }
}

/// The terminal at standard input.
#[derive(Debug)]
pub(super) struct Keyboard {
    pub terminal: File,
}

impl Keyboard {
    /// Reads the lines that wait, and adds the demand of each line that is a key. Returns whether more may
    /// come: the end of the input is not the end of the server.
    pub fn read(&mut self, asked: &mut Asked) -> bool {
        let mut chunk = [0; 256];
        // What is typed while another program is in the foreground is for that program.
        while sys::is_in_foreground(&self.terminal) {
            match self.terminal.read(&mut chunk) {
                Ok(0) => return false,
                Ok(n) => {
                    let lines = chunk[..n].split(|b| *b == b'\n');
                    lines
                        .filter_map(demand)
                        .for_each(|signal| asked.add(signal));
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return e.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }
}

/// What a line asks for.
fn demand(line: &[u8]) -> Option<Signal> {
    Some(match line.trim_ascii() {
        b"r" => Signal::Reload,
        b"u" => Signal::Urls,
        b"o" => Signal::Open,
        b"c" => Signal::Clear,
        b"s" => Signal::Report,
        b"h" | b"?" => Signal::Help,
        b"q" => Signal::Stop,
        _ => return None,
    })
}

impl<D, F> Server<D, F>
where
    D: Driver,
    F: Files<File = <D::Stream as Transport>::File>,
{
    /// Answers the keys at the terminal with these texts.
    #[must_use]
    pub fn with_console(mut self, console: Console) -> Self {
        self.console = Some(Box::new(console));
        self
    }

    /// Carries out a demand that does not end the server.
    pub(super) fn demand(&mut self, signal: Signal) {
        if signal == Signal::Open {
            return self.open_page();
        }
        let console = self.console.as_deref();
        let mut say = |text: &str| self.log.iter_mut().for_each(|log| log.answer(text));
        match signal {
            Signal::Stop | Signal::Open => {}
            Signal::Hangup => {
                self.log.iter_mut().for_each(Log::open_again);
                self.reload.iter_mut().for_each(|reload| reload.ask());
            }
            Signal::Reload => match &mut self.reload {
                Some(reload) => reload.ask(),
                None => say("pages are not reloaded: live reload is off\n"),
            },
            Signal::Report => {
                let report = format!("{}\n{}", self.report(), self.slots_table());
                self.log.iter_mut().for_each(|log| log.report(&report));
            }
            Signal::Help => say(HELP),
            Signal::Urls => say(console.map_or("", |console| &console.urls)),
            Signal::Clear if console.is_some_and(|console| console.clears) => {
                self.log.iter_mut().for_each(Log::clear);
            }
            Signal::Clear => {}
            Signal::NotOpened(code) => {
                let page = console.map_or("the page", |console| &console.page);
                let warning =
                    format!("the browser ended with exit code {code}; open {page} by hand");
                self.log.iter_mut().for_each(|log| log.warn(&warning));
            }
        }
    }

    /// Opens the page of the console in a browser. A failure is a warning.
    pub fn open_page(&mut self) {
        let page = self.console.as_ref().map_or("", |console| &console.page);
        if let Err(error) = self.driver.open(page) {
            let warning = format!("no browser is opened: {error}; open {page} by hand");
            self.log.iter_mut().for_each(|log| log.warn(&warning));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_taken_first_and_each_demand_once() {
        let mut asked = Asked::default();
        for line in ["h", " u ", "x", "", "rr", "h", "q", "r"] {
            demand(line.as_bytes())
                .into_iter()
                .for_each(|signal| asked.add(signal));
        }
        let mut taken = Vec::new();
        while let Some(signal) = asked.take() {
            taken.push(signal);
        }
        let expected = [Signal::Stop, Signal::Help, Signal::Urls, Signal::Reload];
        assert_eq!(taken, expected);
    }
}
