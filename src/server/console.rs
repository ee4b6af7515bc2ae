//! Floor 4, server: the keys at the terminal. A person types a letter and Enter: the terminal stays in its
//! usual mode, so that Ctrl-C, Ctrl-Z and Ctrl-D keep their meaning. The driver turns each letter into a
//! [`Signal`], and the server answers.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

#[cfg(feature = "cli")]
use super::Lan;
use super::{Driver, Log, Server, Signal};
use crate::site::Files;
use crate::sys;
use crate::transport::Transport;

/// The texts that the keys at the terminal show.
#[derive(Clone, Default, Debug)]
pub struct Console {
    /// The answer to `u`: a line for each address, each with a line end.
    pub urls: String,
    /// The page that `o` opens; empty if there is none that a browser can reach.
    pub page: String,
    /// Whether the terminal can be cleared.
    pub clears: bool,
    /// The answer to `l`.
    #[cfg(feature = "cli")]
    pub lan: Option<Lan>,
    /// The hint if no other device connects within a minute of the start.
    pub hint: Option<Hint>,
}

/// A line about other devices, for the case that none connects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hint {
    text: String,
    own: Vec<IpAddr>,
    /// When to say it.
    at: Option<Instant>,
}

impl Hint {
    /// As long as it takes to find a phone and its camera.
    const TIME: Duration = Duration::from_secs(60);

    /// A hint with this line, which has its end. Connections of the machine itself, which has the addresses
    /// `own`, do not count.
    pub fn new(text: String, own: Vec<IpAddr>) -> Hint {
        let at = None;
        Hint { text, own, at }
    }

    /// Whether a client is on another device.
    fn is_other(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        !client.is_loopback() && !self.own.contains(&client)
    }
}

impl Console {
    /// When the hint is to be given, if at all.
    pub(super) fn due(&self) -> Option<Instant> {
        self.hint.as_ref()?.at
    }

    /// Notes that a client with this address has connected: one on another device makes the hint needless.
    pub(super) fn note(&mut self, client: IpAddr) {
        self.hint.take_if(|hint| hint.is_other(client));
    }

    /// Takes the hint, if its time has come.
    fn take_due(&mut self, now: Instant) -> Option<String> {
        let due = |hint: &mut Hint| hint.at.is_some_and(|at| at <= now);
        self.hint.take_if(due).map(|hint| hint.text)
    }

    #[cfg(feature = "cli")]
    fn lan(&self) -> String {
        self.lan.as_ref().map_or(String::new(), Lan::text)
    }

    #[cfg(not(feature = "cli"))]
    fn lan(&self) -> String {
        String::new()
    }
}

/// The answer to `h`.
const HELP: &str = "\
keys, each with Enter:
  r  reload the open pages
  u  show the URLs
  l  show the URL for a phone, with a QR code
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
        // A line that is typed while another program is in the foreground is for that program.
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

/// The demand of a line.
fn demand(line: &[u8]) -> Option<Signal> {
    Some(match line.trim_ascii() {
        b"r" => Signal::Reload,
        b"u" => Signal::Urls,
        b"l" => Signal::Lan,
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
    pub fn with_console(mut self, mut console: Console) -> Self {
        let now = self.driver.now().instant;
        if let Some(hint) = &mut console.hint {
            hint.at = Some(now + Hint::TIME);
        }
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
            Signal::Lan => say(&console.map_or(String::new(), Console::lan)),
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

    /// Gives the hint about other devices, if none has come.
    pub(super) fn give_hint(&mut self) {
        let now = self.turn.now.instant;
        if let Some(console) = &mut self.console
            && let Some(hint) = console.take_due(now)
        {
            self.log.iter_mut().for_each(|log| log.notice(&hint));
        }
    }

    /// Opens the page of the console in a browser. A failure is a warning.
    pub fn open_page(&mut self) {
        let page = self.console.as_ref().map_or("", |console| &console.page);
        let warning = match page {
            "" => "no browser is opened: it reaches no Unix socket; add localhost to --bind".into(),
            page => match self.driver.open(page) {
                Ok(()) => return,
                Err(error) => format!("no browser is opened: {error}; open {page} by hand"),
            },
        };
        self.log.iter_mut().for_each(|log| log.warn(&warning));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_taken_first_and_each_demand_once() {
        let mut asked = Asked::default();
        for line in ["h", " u ", "x", "", "rr", "h", "q", "l", "r"] {
            demand(line.as_bytes())
                .into_iter()
                .for_each(|signal| asked.add(signal));
        }
        let mut taken = Vec::new();
        while let Some(signal) = asked.take() {
            taken.push(signal);
        }
        let expected = [
            Signal::Stop,
            Signal::Help,
            Signal::Urls,
            Signal::Lan,
            Signal::Reload,
        ];
        assert_eq!(taken, expected);
    }

    #[test]
    fn the_hint_is_for_a_server_that_no_other_device_has_reached() {
        let at = Instant::now() + Hint::TIME;
        let soon = at - Duration::from_millis(1);
        let told = |clients: &[&str]| {
            let mut console = Console {
                hint: Some(Hint {
                    text: "told".into(),
                    own: vec![[192, 168, 1, 20].into()],
                    at: Some(at),
                }),
                ..Console::default()
            };
            for client in clients {
                console.note(client.parse().expect("an address"));
            }
            assert_eq!(console.take_due(soon), None);
            let told = console.take_due(at).is_some();
            assert_eq!((console.take_due(at), console.due()), (None, None));
            told
        };
        assert!(told(&[]));
        assert!(told(&[
            "127.0.0.1",
            "::1",
            "192.168.1.20",
            "::ffff:192.168.1.20"
        ]));
        assert!(!told(&["127.0.0.1", "192.168.1.7"]));
        assert!(!told(&["fd00::7"]));
    }
}
