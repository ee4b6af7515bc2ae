//! The programs of this package: the server, and the tools, which cargo builds as examples.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::{Server, free_address};
use super::tools::Tools;

/// Starts oneloop, or the binary that `ONELOOP_BIN` names, with the files of `root` and without a
/// log.
pub fn start_oneloop(tools: &Tools, root: &Path) -> Result<Server, String> {
    start_oneloop_with(tools, root, &[])
}

/// Does the same with some more flags.
pub fn start_oneloop_with(tools: &Tools, root: &Path, flags: &[&str]) -> Result<Server, String> {
    let binary =
        std::env::var_os("ONELOOP_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_oneloop").into());
    let address = free_address()?;
    let mut command = tools.on_server_core(binary);
    command.arg("--port").arg(address.port().to_string());
    command.args(["--log", "off"]).args(flags).arg(root);
    // The server would warn of a variable that it does not know.
    command.env_remove("ONELOOP_BIN");
    Server::start(command, address)
}

/// Returns the name and version of the measured oneloop, for the report.
pub fn oneloop_version() -> String {
    match std::env::var("ONELOOP_BIN") {
        Ok(path) => format!("oneloop from {path}"),
        Err(_) => concat!("oneloop ", env!("CARGO_PKG_VERSION")).into(),
    }
}

/// Builds an example with cargo and returns its path. Cargo tells a bench the paths of the
/// package's binaries, but not the paths of its examples.
pub fn build_example(name: &str) -> Result<PathBuf, String> {
    let target = target_directory()?;
    let mut build = cargo_build(Path::new("Cargo.toml"), target);
    build.args(["--example", name]);
    run(build)?;
    Ok(target.join("release/examples").join(name))
}

/// Returns cargo's target directory.
pub fn target_directory() -> Result<&'static Path, String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_oneloop"));
    binary
        .ancestors()
        .nth(2)
        .ok_or_else(|| "the oneloop binary is in no target directory".into())
}

/// Returns the command `cargo build --release` for a manifest, whose path is relative to the
/// package.
pub fn cargo_build(manifest: &Path, target: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(manifest);
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "--manifest-path"]);
    build.arg(manifest).arg("--target-dir").arg(target);
    build
}

/// Runs a build to its end.
///
/// # Errors
/// A sentence, when the build fails.
pub fn run(mut build: Command) -> Result<(), String> {
    match build.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{build:?} ended with {status}")),
        Err(error) => Err(format!("cannot run {build:?}: {error}")),
    }
}
