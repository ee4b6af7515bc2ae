//! The programs from elsewhere: their paths, their versions, and how to start a program on its own
//! core.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The tools of the system, and the two cores.
pub struct Tools {
    /// `None` when strace is not installed.
    pub strace: Option<PathBuf>,
    server_core: u32,
    /// The core of the load generator.
    pub load_core: u32,
    /// Whether `setpriv --pdeathsig` works here.
    leash: bool,
}

impl Tools {
    /// Looks for the tools and for two cores.
    ///
    /// # Errors
    /// A sentence, when `taskset` is missing or fewer than two cores are allowed.
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

    /// Returns a command that runs `program` on the core of the servers. `taskset` becomes the
    /// program by `exec`, so the process id stays.
    pub fn on_server_core(&self, program: impl AsRef<OsStr>) -> Command {
        self.pinned(self.server_core, program)
    }

    /// Returns a command that runs `program` on the core of the load generator.
    pub fn on_load_core(&self, program: impl AsRef<OsStr>) -> Command {
        self.pinned(self.load_core, program)
    }

    fn pinned(&self, core: u32, program: impl AsRef<OsStr>) -> Command {
        // `Drop` kills the children when the bench returns or panics. The parent-death signal kills
        // them when the bench itself is killed.
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

    /// Returns a line with the two cores.
    pub fn placement(&self) -> String {
        format!(
            "servers on core {}, the load on core {}",
            self.server_core, self.load_core
        )
    }

    /// Returns the version of strace, for the report.
    pub fn versions(&self) -> String {
        match &self.strace {
            Some(strace) => version(strace, "-V"),
            None => "no strace (system calls not counted)".into(),
        }
    }
}

/// Looks for a program in `PATH`, and in the directories outside of `PATH` that hold servers.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// Returns the printed version of `program`: the first words of its first line, on stdout or
/// stderr.
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
    // Such lines are: "lighttpd/1.4.69 (ssl) - a light and fast webserver", "wrk debian/4.1.0
    // [epoll] Copyright…", "strace -- version 6.1", "nginx version: nginx/1.22.1"
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

/// Returns the cores that this process may use. In the kernel's notation, they are like "0-3,8".
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
