//! The servers that take part, each with its fastest settings: a single worker, no log, no limit on
//! the number of requests per connection, a backlog of 4096.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::common::LIMIT;
use crate::common::programs;
use crate::common::server::{Server, free_address};
use crate::common::tools::{self, Tools};
use crate::scenario::Scenario;
use crate::site::Site;

/// The contender by which the report divides, beside the limit.
pub const NGINX: &str = "nginx";

/// The running servers. Dropping this value ends their processes.
pub struct Field {
    oneloop: Server,
    /// The limit parses nothing, so each kind of reply needs a process.
    limits: Vec<(Canned, Server)>,
    peers: Vec<(&'static str, Server)>,
    /// Names and versions, for the report.
    pub versions: Vec<String>,
    /// A sentence for each server that is not installed.
    pub absent: Vec<String>,
}

/// A kind of canned reply of the limit.
#[derive(Clone, Copy, PartialEq)]
struct Canned {
    body_bytes: usize,
    close: bool,
}

/// A server in a scenario.
pub struct Contender<'a> {
    pub name: &'static str,
    pub server: &'a Server,
    /// Whether the server sends the same canned reply to every request. The probe then cannot
    /// expect the bytes of the file.
    pub canned: bool,
}

impl Contender<'_> {
    /// Returns the status of a right reply.
    pub fn status_due(&self, scenario: &Scenario) -> u16 {
        if self.canned { 200 } else { scenario.status }
    }
}

impl Field {
    /// Starts the servers for `scenarios`.
    ///
    /// # Errors
    /// A sentence, when a server does not start. A missing nginx or lighttpd is no error.
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
            // Large files cost nginx least with `sendfile`, small files without, because head and
            // body then leave in one piece. Each setting has a row, so that every comparison can be
            // made with the better one.
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

    /// Finds an optional server, and notes its version or its absence.
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

    /// Returns the contenders of `scenario`, in the order of the report.
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

/// Returns nginx's configuration. With `master_process off`, the started process is the worker.
/// `open_file_cache` saves three system calls per request, but may answer with metadata that is a
/// minute old. `tcp_nopush` stays off, because with `tcp_nopush` and `sendfile` nginx stalls for
/// some 40 ms on every pipelined batch.
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

/// Returns lighttpd's configuration. lighttpd counts requests to 65535 at most, and the cost of a
/// new connection after 65535 requests is negligible.
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
