//! The servers that take part, each as one process without a log.

use std::path::{Path, PathBuf};

use crate::common::LIMIT;
use crate::common::programs;
use crate::common::scratch::Scratch;
use crate::common::server::{Server, free_address};
use crate::common::tools::Tools;
use crate::scenario::{Audience, Scenario};

const PEERS: [&str; 2] = ["fastwebsockets", "tungstenite"];
const PEERS_MANIFEST: &str = "benches/peers/Cargo.toml";

/// The running servers. Dropping this value ends their processes.
pub struct Field {
    /// The limit parses nothing, so each size of message needs a process.
    limits: Vec<(Canned, Server)>,
    /// `None` when oneloop did not start.
    oneloop: Option<Server>,
    /// A peer process is either an echo or a room.
    peers: Vec<(&'static str, Audience, Server)>,
    /// Names and versions, for the report.
    pub versions: Vec<String>,
    /// A sentence for each server that does not take part.
    pub absent: Vec<String>,
}

/// The kind of messages that a limit sends.
#[derive(Clone, Copy, PartialEq)]
struct Canned {
    payload_bytes: usize,
    audience: Audience,
}

impl Field {
    /// Starts the servers for `scenarios`.
    ///
    /// # Errors
    /// A sentence, when a limit does not start. oneloop and the peers may be absent.
    pub fn start(
        tools: &Tools,
        scratch: &Scratch,
        scenarios: &[&Scenario],
    ) -> Result<Self, String> {
        let mut field = Self {
            limits: Vec::new(),
            oneloop: None,
            peers: Vec::new(),
            versions: vec![programs::oneloop_version()],
            absent: Vec::new(),
        };
        let limit = programs::build_example("wslimit")?;
        for scenario in scenarios {
            let canned = Canned::of(scenario);
            if !field.limits.iter().any(|(known, _)| *known == canned) {
                let server = start_limit(tools, &limit, canned)?;
                field.limits.push((canned, server));
            }
        }
        // Beside its endpoints, oneloop serves an empty directory.
        match programs::start_oneloop(tools, scratch.path()) {
            Ok(server) => field.oneloop = Some(server),
            Err(problem) => field.absent.push(format!("LEFT OUT: oneloop: {problem}")),
        }
        if let Err(problem) = field.invite_peers(tools, scenarios) {
            field.absent.push(format!("LEFT OUT: the peers: {problem}"));
        }
        Ok(field)
    }

    /// Builds and starts the peers, which are optional.
    fn invite_peers(&mut self, tools: &Tools, scenarios: &[&Scenario]) -> Result<(), String> {
        let programs = build_peers()?;
        for name in PEERS {
            let program = programs.join(format!("peer-{name}"));
            for audience in [Audience::Echo, Audience::Room] {
                if scenarios.iter().any(|wanted| wanted.audience == audience) {
                    let server = start_peer(tools, &program, audience)?;
                    self.peers.push((name, audience, server));
                }
            }
            self.versions.extend(locked_version(name));
        }
        Ok(())
    }

    /// Returns the names and servers of `scenario`, in the order of the report.
    pub fn contenders(&self, scenario: &Scenario) -> Vec<(&'static str, &Server)> {
        let canned = Canned::of(scenario);
        let limits = self.limits.iter().filter(|(known, _)| *known == canned);
        let limits = limits.map(|(_, server)| (LIMIT, server));
        let oneloop = self.oneloop.iter().map(|server| ("oneloop", server));
        let peers = self.peers.iter().filter_map(|(name, audience, server)| {
            (*audience == scenario.audience).then_some((*name, server))
        });
        limits.chain(oneloop).chain(peers).collect()
    }
}

impl Canned {
    fn of(scenario: &Scenario) -> Self {
        Self {
            payload_bytes: scenario.payload_bytes,
            audience: scenario.audience,
        }
    }
}

fn start_limit(tools: &Tools, program: &Path, canned: Canned) -> Result<Server, String> {
    let address = free_address()?;
    let mut command = tools.on_server_core(program);
    command.arg("--port").arg(address.port().to_string());
    command.arg("--bytes").arg(canned.payload_bytes.to_string());
    if canned.audience == Audience::Room {
        command.arg("--room");
    }
    Server::start(command, address)
}

/// Builds the peers with cargo, in a separate target directory, and returns the directory of the
/// binaries.
fn build_peers() -> Result<PathBuf, String> {
    eprintln!("building the peers");
    let target = programs::target_directory()?.join("peers");
    let mut build = programs::cargo_build(Path::new(PEERS_MANIFEST), &target);
    build.arg("--locked");
    programs::run(build)?;
    Ok(target.join("release"))
}

fn start_peer(tools: &Tools, program: &Path, audience: Audience) -> Result<Server, String> {
    let address = free_address()?;
    let mut command = tools.on_server_core(program);
    command.arg("--port").arg(address.port().to_string());
    if audience == Audience::Room {
        command.arg("--room");
    }
    Server::start(command, address)
}

/// Returns the name and version of a peer from the lock file of the peers.
fn locked_version(name: &str) -> Option<String> {
    let lock = include_str!("../peers/Cargo.lock");
    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    let (version, _) = rest.split_once('"')?;
    Some(format!("{name} {version}"))
}
