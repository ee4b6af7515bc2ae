//! The programs this leans on, where they are, and how to start one on a core of its own.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub struct Tools {
    pub strace: Option<PathBuf>,
    server_core: u32,
    load_core: u32,
    /// `setpriv --pdeathsig` works here.
    leash: bool,
}

impl Tools {
    pub fn find() -> Result<Self, String> {
        find("taskset").ok_or("taskset is missing; install util-linux")?;
        let strace = find("strace");
        let &[server_core, load_core, ..] = allowed_cores().as_slice() else {
            return Err("this needs two cores, one for the server and one for the load".into());
        };
        let leash = succeeds(Command::new("setpriv").args(["--pdeathsig", "KILL", "true"]));
        Ok(Self {
            strace,
            server_core,
            load_core,
            leash,
        })
    }

    /// A command that runs `program` on the servers' core. `taskset` becomes the program: the process
    /// id stays.
    pub fn on_server_core(&self, program: impl AsRef<OsStr>) -> Command {
        self.pinned(self.server_core, program)
    }

    /// A command that runs `program` on the other core.
    pub fn on_load_core(&self, program: impl AsRef<OsStr>) -> Command {
        self.pinned(self.load_core, program)
    }

    fn pinned(&self, core: u32, program: impl AsRef<OsStr>) -> Command {
        // Guards kill the children when we return or panic; the leash does when we are killed.
        let mut command = if self.leash {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "taskset"]);
            command
        } else {
            Command::new("taskset")
        };
        command.arg("--cpu-list").arg(core.to_string()).arg(program);
        command
    }

    /// One line on where everything ran.
    pub fn placement(&self) -> String {
        format!(
            "servers on core {}, the load on core {}",
            self.server_core, self.load_core
        )
    }

    pub fn versions(&self) -> String {
        match &self.strace {
            Some(strace) => version(strace, "-V"),
            None => "no strace (system calls not counted)".into(),
        }
    }
}

/// Looks through `PATH` and the places where distributions keep servers out of it.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// What `program` says of itself: the first words of its first line, on stdout or stderr.
pub fn version(program: impl AsRef<OsStr>, flag: &str) -> String {
    let Ok(output) = Command::new(&program)
        .arg(flag)
        .stdin(Stdio::null())
        .output()
    else {
        return format!("{} (did not start)", program.as_ref().display());
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().next().unwrap_or("no version");
    // "lighttpd/1.4.69 (ssl) - a light and fast webserver", "wrk debian/4.1.0 [epoll] Copyright…",
    // "strace -- version 6.1", "nginx version: nginx/1.22.1"
    let brief = line
        .split(" (")
        .next()
        .and_then(|line| line.split(" [").next())
        .unwrap_or(line);
    brief
        .replace("nginx version: ", "")
        .replace("-- version ", "")
        .replace('/', " ")
}

/// The cores this process may use, from the kernel's "0-3,8" notation.
fn allowed_cores() -> Vec<u32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let mut cores = Vec::new();
    for range in list.unwrap_or_default().trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse()) {
            cores.extend(first..=last);
        }
    }
    cores
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
