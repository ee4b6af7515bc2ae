//! The program `oneloop`: translates the flags to a [`Config`], runs a server and returns an exit
//! code. The decisions are made in the modules that this file calls.
//!
//! Architecture invariant: of the crate's modules, this file names only `cli`, `config`, `server`
//! and `sys`.
//!
//! Exit codes: 0 after a clean stop; 1 if the server could not start or could not go on; 2 for
//! wrong flags.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, IsTerminal, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::Instant;

use oneloop::cli::{CertificateQuestion, Cli, Command, Conversion, Demo};
use oneloop::config::{Config, Https, Live, SocketPath, TraceTo};
use oneloop::server::trace::{Trace, chrome};
use oneloop::server::{self, BoundServer, Console, Lan, Server, Shown};
use oneloop::sys::{self, Output};

fn main() -> ExitCode {
    let began = Instant::now();
    let cli = match Command::from_process() {
        Ok(Command::Serve(cli)) => cli,
        Ok(Command::Convert(conversion)) => {
            return match convert(&conversion) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(1, &error),
            };
        }
        Ok(Command::Certificate(question)) => {
            return match of_authority(&question) {
                Ok(text) => print(text.as_bytes()),
                Err(error) => fail(1, &error),
            };
        }
        Ok(Command::Print(text)) => return print(&text),
        Err(error) => return fail(2, &error),
    };
    let inherited = match sys::inherited_listeners(cli.https.config() != Https::Off) {
        Ok(listeners) => listeners,
        Err(error) => return fail(1, &error.to_string()),
    };
    if !inherited.is_empty() && (cli.port.is_some() || !cli.bind.is_empty() || cli.lan) {
        return fail(
            2,
            "the sockets to listen on are passed by LISTEN_FDS; leave the port and the address out",
        );
    }
    let screen = Screen::of(&io::stdout());
    let mut config = cli.config(
        screen.terminal,
        sys::raise_descriptor_limit(),
        sys::memory_limit(),
    );
    if cli.lan {
        config.allow_hosts.extend(sys::host_names());
    }
    // The demo lasts as long as the server.
    let demo = match cli.demo.then(Demo::write).transpose() {
        Ok(demo) => demo,
        Err(error) => return fail(1, &error),
    };
    let config = match &demo {
        Some(demo) => Config {
            root: demo.path().into(),
            ..config
        },
        None => config,
    };
    match run(&config, &cli, inherited, screen, began) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error.to_string()),
    }
}

fn print(text: &[u8]) -> ExitCode {
    match io::stdout().write_all(text) {
        // A pager that was left has read enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(1, &format!("cannot write to standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Says why the program ends. Not by `eprintln`, which panics when standard error is closed, and waits
/// for a reader.
fn fail(code: u8, reason: &str) -> ExitCode {
    let _ = Output::stderr().write(format!("error: {reason}\n").as_bytes());
    ExitCode::from(code)
}

/// Converts a trace. The output is complete, or the conversion has failed and a file that was there before is
/// as it was.
fn convert(Conversion { file, chrome }: &Conversion) -> Result<(), String> {
    let cannot = |what, path, error: io::Error| format!("cannot {what} {}: {error}", Shown(path));
    let input = File::open(file).map_err(|e| cannot("read", file, e))?;
    let place = |file: io::Result<std::fs::Metadata>| file.ok().map(|m| (m.dev(), m.ino()));
    let is_same =
        place(std::fs::metadata(chrome)).is_some_and(|out| Some(out) == place(input.metadata()));
    if is_same {
        let chrome = Shown(chrome);
        return Err(format!(
            "{chrome} is the trace itself; name another file for the output"
        ));
    }
    let draft = Draft::of(chrome);
    let out = draft.open().map_err(|e| cannot("write", chrome, e))?;
    let mut out = BufWriter::new(out);
    let done = chrome::convert(BufReader::new(input), &mut out).map_err(|error| match error {
        chrome::Error::Read(e) => cannot("read", file, e),
        chrome::Error::Write(e) => cannot("write", chrome, e),
        chrome::Error::Line(number, what) => format!("{}: line {number}: {what}", Shown(file)),
    })?;
    out.flush()
        .and_then(|()| draft.keep())
        .map_err(|e| cannot("write", chrome, e))?;
    let said = format!(
        "{done}; open {} at https://ui.perfetto.dev\n",
        Shown(chrome)
    );
    let _ = Output::stderr().write(said.as_bytes());
    Ok(())
}

/// A file that is written beside the place where it is to be, and moved there when it is complete. What is not
/// moved is removed. A pipe or a device is written to as it is.
struct Draft {
    place: PathBuf,
    beside: Option<PathBuf>,
}

impl Draft {
    fn of(path: &Path) -> Draft {
        // A file that replaces a link would leave the target as it was.
        let place = fs::canonicalize(path).unwrap_or_else(|_| path.into());
        let is_file = fs::metadata(&place).map_or(true, |at| at.is_file());
        let beside = (is_file && place.file_name().is_some()).then(|| {
            let mut name = place.as_os_str().to_owned();
            name.push(format!(".{}", process::id()));
            name.into()
        });
        Draft { place, beside }
    }

    fn open(&self) -> io::Result<File> {
        match &self.beside {
            Some(beside) => File::create_new(beside),
            None => File::options().write(true).open(&self.place),
        }
    }

    fn keep(&self) -> io::Result<()> {
        match &self.beside {
            Some(beside) => fs::rename(beside, &self.place),
            None => Ok(()),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            // After a move, there is nothing to remove.
            let _ = fs::remove_file(beside);
        }
    }
}

/// The text about the CA of HTTPS. Notes go to standard error.
fn of_authority(question: &CertificateQuestion) -> Result<String, String> {
    let (text, remarks) =
        server::about_authority(&question.allow_host).map_err(|e| e.to_string())?;
    for remark in remarks {
        let _ = Output::stderr().write(format!("warning: {remark}\n").as_bytes());
    }
    Ok(text)
}

/// The kind of standard output or standard error.
#[derive(Clone, Copy)]
struct Screen {
    /// A terminal: a person reads the lines.
    terminal: bool,
    /// A terminal that shows colour.
    colour: bool,
}

impl Screen {
    /// Asks for the kind of output. `NO_COLOR` with any value forbids colour, and so does a terminal
    /// that calls itself `dumb`.
    fn of(output: &impl IsTerminal) -> Screen {
        let terminal = output.is_terminal();
        let forbidden = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Screen {
            terminal,
            colour: terminal && !forbidden && !Screen::is_dumb(),
        }
    }

    /// Whether the terminal understands no escape sequences.
    fn is_dumb() -> bool {
        std::env::var_os("TERM").is_some_and(|v| v == "dumb")
    }
}

fn run(
    config: &Config,
    cli: &Cli,
    inherited: Vec<TcpListener>,
    screen: Screen,
    began: Instant,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut bound = match inherited.is_empty() {
        true => Server::bind(config)?,
        false => Server::bind_to(config, inherited)?,
    };
    let mut log = bound
        .server
        .take_log()
        .expect("a server that is bound has a log");
    if screen.terminal {
        log = log.on_terminal(screen.colour);
    }
    if !cli.quiet {
        log = log.with_notices();
    }
    if cli.report {
        log = log.with_report();
    }
    for (ip, error) in &bound.missing {
        log.warn(format_args!(
            "not listening on {ip} ({error}); going on without it"
        ));
    }
    let lan = Lan {
        scheme: bound.scheme.as_str(),
        listeners: bound.addresses.clone(),
        draws: screen.terminal && !Screen::is_dumb(),
        colour: screen.colour,
    };
    let opened = cli.lan.then_some(&lan);
    for doubt in &cli.doubts {
        log.warn(doubt);
    }
    for warning in &bound.warnings {
        log.warn(warning);
    }
    log.notice(&banner(&bound, config, opened, screen, began));
    let mut console = Console {
        urls: urls(&bound, opened)
            .into_iter()
            .chain(config.sockets.iter().map(of_socket))
            .map(|url| format!("{url}\n"))
            .collect(),
        page: page(&bound, cli.open.as_deref().unwrap_or("/")),
        clears: screen.terminal && !Screen::is_dumb(),
        ..Console::default()
    };
    console.hint = opened.map(Lan::hint);
    console.lan = Some(lan);
    let mut server = bound.server.with_log(log).with_console(console);
    if config.trace == TraceTo::Pretty && Screen::of(&io::stderr()).colour {
        let (clock, bytes_max) = (config.trace_clock, config.limits.log_bytes_max);
        server = server.with_trace(Trace::to_stderr(true, clock, bytes_max));
    }
    if cli.open.is_some() {
        // The connections of the browser wait in the backlog until the loop runs.
        server.open_page();
    }
    server.run()?;
    Ok(())
}

/// The addresses of the server as URLs. For a server that is open to the local network, those that other devices
/// can open come first.
fn urls(bound: &BoundServer, lan: Option<&Lan>) -> Vec<String> {
    match lan {
        Some(lan) => lan.urls().into_iter().chain([page(bound, "/")]).collect(),
        None => {
            let urls = bound.addresses.iter();
            urls.map(|address| format!("{}://{address}/", bound.scheme))
                .collect()
        }
    }
}

/// A socket of the Unix domain, as --bind names it.
fn of_socket(socket: &SocketPath) -> String {
    format!("unix:{}", Shown(&socket.path))
}

/// The page of the server, as a browser on this machine reaches it. An address that stands for all is not
/// one that a browser can open, and `localhost` is the host that tools and the guard expect.
fn page(bound: &BoundServer, path: &str) -> String {
    let usual = |address: &&SocketAddr| {
        let ip = address.ip();
        ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST
    };
    let scheme = bound.scheme;
    match (bound.addresses.iter().find(usual), bound.addresses.first()) {
        (Some(address), _) => format!("{scheme}://localhost:{}{path}", address.port()),
        (None, Some(address)) => format!("{scheme}://{address}{path}"),
        (None, None) => String::new(),
    }
}

/// Returns the addresses of the server and the path that is served, in lines. On a terminal, the
/// lines are indented, with an empty line before and after.
fn banner(
    bound: &BoundServer,
    config: &Config,
    lan: Option<&Lan>,
    screen: Screen,
    began: Instant,
) -> String {
    let Screen { terminal, colour } = screen;
    let (bold, cyan, off) = match colour {
        true => ("\x1b[1m", "\x1b[36m", "\x1b[0m"),
        false => ("", "", ""),
    };
    let indent = if terminal { "  " } else { "" };
    let version = env!("CARGO_PKG_VERSION");
    let took = match began.elapsed() {
        t if t.as_millis() == 0 => format!("{} µs", t.as_micros()),
        t => format!("{} ms", t.as_millis()),
    };
    let mut out = String::new();
    let mut line = |text: &str| writeln!(out, "{indent}{text}").expect("a String takes all");
    line(&format!("{bold}oneloop {version}{off} ready in {took}"));
    let urls = urls(bound, lan);
    for url in &urls {
        line(&format!("{cyan}{url}{off}"));
    }
    for socket in &config.sockets {
        line(&format!("{cyan}{}{off}", of_socket(socket)));
    }
    if let (Some(port), Some(taken)) = (bound.port_in_use, bound.addresses.first()) {
        line(&format!("port {port} is in use, took {}", taken.port()));
    }
    line(&format!("serving {}", Shown(&bound.root)));
    for route in &config.proxies {
        let prefix = if route.prefix().is_empty() {
            "what is not found"
        } else {
            route.prefix()
        };
        line(&format!("{prefix} is passed on to {}", route.target()));
    }
    if let Some(certificate) = &bound.certificate {
        line(certificate);
    }
    if config.https == Https::Made
        && let Some(url) = lan.and_then(Lan::authority_url)
    {
        line(&format!("another device gets the CA at {url}"));
    }
    if let Some(doubt) = &bound.doubt {
        line(&format!("{bold}but {doubt}{off}"));
    }
    if lan.is_some() && urls.len() == 1 {
        line("this machine is in no network now");
    }
    let obstacle = lan.and_then(Lan::obstacle);
    if let Some(obstacle) = &obstacle {
        line(obstacle);
    }
    let local = bound.addresses.iter().all(|a| a.ip().is_loopback());
    if terminal && config.live != Live::Off {
        line("a page reloads when its files change");
    }
    if terminal && io::stdin().is_terminal() {
        line("h and Enter list the keys");
    }
    if config.auth.is_some() {
        line("a user name and a password are asked for");
    }
    let who = match lan.map(Lan::is_public) {
        None => "anyone who can reach these addresses",
        Some(false) => "anyone in this network",
        Some(true) => "anyone in this network, and in the internet if no firewall is in the way,",
    };
    line(&match (local, &config.auth) {
        (true, _) => "reachable from this machine only; Ctrl-C stops it".into(),
        (false, None) => format!("{who} can read the files and use the rooms; Ctrl-C stops it"),
        (false, Some(_)) if config.https != Https::Off => {
            "anyone with the password can read the files; Ctrl-C stops it".into()
        }
        (false, Some(_)) => {
            "anyone with the password can read the files, and the network can read the password; \
             Ctrl-C stops it"
                .into()
        }
    });
    // The first URL is for other devices, if there is more than that for this machine.
    let code = match (lan, &urls[..], obstacle) {
        (Some(lan), [first, _, ..], None) => lan.code(first),
        _ => None,
    };
    match (terminal, code) {
        (true, Some(code)) => format!("\n{out}\n{code}\n"),
        (true, None) => format!("\n{out}\n"),
        (false, _) => out,
    }
}
