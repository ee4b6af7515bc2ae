//! The programs of this package: the server, and the examples, which cargo builds when asked.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::{Server, free_address};
use super::tools::Tools;

/// oneloop, or what `ONELOOP_BIN` names, serving `root` without a log.
pub fn start_oneloop(tools: &Tools, root: &Path) -> Result<Server, String> {
    let binary =
        std::env::var_os("ONELOOP_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_oneloop").into());
    let address = free_address()?;
    let mut command = tools.on_server_core(binary);
    command.arg("--port").arg(address.port().to_string());
    command.args(["--log", "off"]).arg(root);
    Server::start(command, address)
}

pub fn oneloop_version() -> String {
    match std::env::var("ONELOOP_BIN") {
        Ok(path) => format!("oneloop from {path}"),
        Err(_) => concat!("oneloop ", env!("CARGO_PKG_VERSION")).into(),
    }
}

/// Has cargo build an example, and says where it lies: cargo tells a bench where the package's binaries
/// are, but not its examples.
pub fn build_example(name: &str) -> Result<PathBuf, String> {
    let target = target_directory()?;
    let mut build = cargo_build(Path::new("Cargo.toml"), target);
    build.args(["--example", name]);
    run(build)?;
    Ok(target.join("release/examples").join(name))
}

/// Where cargo puts what it builds.
pub fn target_directory() -> Result<&'static Path, String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_oneloop"));
    binary
        .ancestors()
        .nth(2)
        .ok_or_else(|| "the oneloop binary is in no target directory".into())
}

/// `cargo build --release` of the manifest at this path within the package.
pub fn cargo_build(manifest: &Path, target: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "--manifest-path"]);
    build.arg(manifest).arg("--target-dir").arg(target);
    build
}

/// Waits for a build to end well.
pub fn run(mut build: Command) -> Result<(), String> {
    match build.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{build:?} ended with {status}")),
        Err(error) => Err(format!("cannot run {build:?}: {error}")),
    }
}
