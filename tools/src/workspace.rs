//! The workspace that the tools are part of: its programs, and the descriptions of servers that
//! come with it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds all programs of the workspace as this one was built.
pub fn build() -> Result<(), String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--workspace", "--bins"]);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cargo build: {status}")),
        Err(error) => Err(format!("cargo cannot be run: {error}")),
    }
}

/// The file of a server's description. A name stands for one that comes with the tools.
pub fn description(name: &str) -> PathBuf {
    match name.contains(['/', '.']) {
        true => name.into(),
        false => Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("servers/{name}.toml")),
    }
}
