//! Who takes part, each with the settings it is best at: one worker, no log, no limit on the requests
//! of a connection, a backlog of 4096.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::common::LIMIT;
use crate::common::programs;
use crate::common::server::{Server, free_address};
use crate::common::tools::{self, Tools};
use crate::scenario::Scenario;
use crate::site::Site;

/// What the report divides by, beside the limit.
pub const NGINX: &str = "nginx";

/// The servers, all running.
pub struct Field {
    oneloop: Server,
    /// The limit parses nothing, so each reply has a process of its own.
    limits: Vec<(Canned, Server)>,
    peers: Vec<(&'static str, Server)>,
    pub versions: Vec<String>,
    /// Who is not installed, in words.
    pub absent: Vec<String>,
}

/// Which canned reply.
#[derive(Clone, Copy, PartialEq)]
struct Canned {
    body_bytes: usize,
    close: bool,
}

/// One server in one scenario.
pub struct Contender<'a> {
    pub name: &'static str,
    pub server: &'a Server,
    /// It answers the same whatever is asked: the probe cannot expect the file's bytes.
    pub canned: bool,
}

impl Contender<'_> {
    /// The status it is to answer with.
    pub fn status_due(&self, scenario: &Scenario) -> u16 {
        if self.canned { 200 } else { scenario.status }
    }
}

impl Field {
    pub fn start(tools: &Tools, site: &Site, scenarios: &[&Scenario]) -> Result<Self, String> {
        let limit = programs::build_example("limit")?;
        let mut field = Self {
            oneloop: programs::start_oneloop(tools, &site.root())?,
            limits: Vec::new(),
            peers: Vec::new(),
            versions: vec![programs::oneloop_version()],
            absent: Vec::new(),
        };
        for scenario in scenarios {
            let canned = Canned::of(scenario);
            if !field.limits.iter().any(|(known, _)| *known == canned) {
                let server = start_limit(tools, &limit, canned)?;
                field.limits.push((canned, server));
            }
        }
        if let Some(program) = field.invite("nginx") {
            // Large files cost it least by `sendfile`, small ones without: head and body then leave in
            // one piece. One row each, so that nobody is compared with nginx at its second best.
            for (name, sendfile) in [(NGINX, "on"), ("nginx (sendfile off)", "off")] {
                let server = start_nginx(tools, site, &program, sendfile)?;
                field.peers.push((name, server));
            }
        }
        if let Some(program) = field.invite("lighttpd") {
            let server = start_lighttpd(tools, site, &program)?;
            field.peers.push(("lighttpd", server));
        }
        Ok(field)
    }

    /// Finds a server that is welcome but not required.
    fn invite(&mut self, name: &str) -> Option<PathBuf> {
        let program = tools::find(name);
        match &program {
            Some(program) => self.versions.push(tools::version(program, "-v")),
            None => self
                .absent
                .push(format!("{name} is not installed and was left out")),
        }
        program
    }

    /// Those who take part in `scenario`, in the order of the report.
    pub fn contenders(&self, scenario: &Scenario) -> Vec<Contender<'_>> {
        let canned = Canned::of(scenario);
        let limits = self.limits.iter().filter(|(known, _)| *known == canned);
        let limits = limits.map(|(_, server)| Contender {
            name: LIMIT,
            server,
            canned: true,
        });
        let others = std::iter::once(("oneloop", &self.oneloop))
            .chain(self.peers.iter().map(|(name, server)| (*name, server)))
            .map(|(name, server)| Contender {
                name,
                server,
                canned: false,
            });
        limits.chain(others).collect()
    }
}

impl Canned {
    fn of(scenario: &Scenario) -> Self {
        Self {
            body_bytes: scenario.body_bytes,
            close: scenario.close,
        }
    }
}

fn start_limit(tools: &Tools, program: &Path, canned: Canned) -> Result<Server, String> {
    let address = free_address()?;
    let mut command = tools.on_server_core(program);
    command.arg("--port").arg(address.port().to_string());
    command.arg("--bytes").arg(canned.body_bytes.to_string());
    if canned.close {
        command.arg("--close");
    }
    Server::start(command, address)
}

fn start_nginx(
    tools: &Tools,
    site: &Site,
    program: &Path,
    sendfile: &str,
) -> Result<Server, String> {
    let address = free_address()?;
    let text = nginx_configuration(&site.root(), address, sendfile);
    let file = write_configuration(site, &format!("nginx-{sendfile}.conf"), &text)?;
    let mut command = tools.on_server_core(program);
    command
        .arg("-p")
        .arg(site.scratch.path())
        .arg("-c")
        .arg(file);
    command.args(["-e", "nginx.log"]);
    Server::start(command, address)
}

/// `master_process off` makes the process that we start the one that works. `open_file_cache` saves
/// three system calls per request, and may answer with metadata a minute old. `tcp_nopush` stays off:
/// with it and `sendfile`, nginx stalls for some 40 ms on every pipelined batch.
fn nginx_configuration(root: &Path, address: SocketAddr, sendfile: &str) -> String {
    let root = root.display();
    format!(
        "daemon off;
master_process off;
worker_processes 1;
pid nginx-{sendfile}.pid;
error_log nginx.log crit;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    sendfile {sendfile};
    tcp_nodelay on;
    open_file_cache max=1000;
    keepalive_requests 1000000000;
    gzip on;
    gzip_types text/plain;
    gzip_comp_level 6;
    gzip_static on;
    types {{ text/plain txt; application/octet-stream bin; }}
    client_body_temp_path nginx.body;
    proxy_temp_path nginx.proxy;
    fastcgi_temp_path nginx.fastcgi;
    uwsgi_temp_path nginx.uwsgi;
    scgi_temp_path nginx.scgi;
    server {{ listen {address} backlog=4096; root \"{root}\"; }}
}}
"
    )
}

fn start_lighttpd(tools: &Tools, site: &Site, program: &Path) -> Result<Server, String> {
    let address = free_address()?;
    let text = lighttpd_configuration(site, address);
    let file = write_configuration(site, "lighttpd.conf", &text)?;
    let mut command = tools.on_server_core(program);
    command.arg("-D").arg("-f").arg(file);
    Server::start(command, address)
}

/// 65535 is the most lighttpd can count to: a reconnection every 65535 requests is no cost.
fn lighttpd_configuration(site: &Site, address: SocketAddr) -> String {
    let root = site.root();
    let log = site.scratch.path().join("lighttpd.log");
    format!(
        "server.document-root = \"{}\"
server.errorlog = \"{}\"
server.bind = \"{}\"
server.port = {}
server.listen-backlog = 4096
server.max-fds = 16384
server.max-keep-alive-requests = 65535
mimetype.assign = ( \".txt\" => \"text/plain\", \".bin\" => \"application/octet-stream\" )
",
        root.display(),
        log.display(),
        address.ip(),
        address.port()
    )
}

fn write_configuration(site: &Site, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = site.scratch.path().join(name);
    fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}
