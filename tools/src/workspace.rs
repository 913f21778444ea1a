//! The workspace that the tools are part of: its programs, and the descriptions of servers that
//! come with it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds all programs of the workspace as this one was built.
pub fn build() -> Result<(), String> {
    let profile = if cfg!(debug_assertions) {
        "dev"
    } else {
        "release"
    };
    run_cargo(&["--workspace", "--bins", "--profile", profile])
}

/// Builds encke and swarm so that they can be profiled, and returns the path of swarm.
pub fn build_to_profile() -> Result<PathBuf, String> {
    // perf finds its way from frame to frame by these; Rust's own library has them too.
    let pointers = "build.rustflags=[\"-Cforce-frame-pointers=yes\"]";
    let programs = ["--workspace", "--bin", "encke", "--bin", "swarm"];
    run_cargo(
        &[
            &programs[..],
            &["--profile", "profiling", "--config", pointers],
        ]
        .concat(),
    )?;
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = this.ancestors().nth(2).unwrap_or(Path::new("."));
    Ok(target.join("profiling/swarm"))
}

fn run_cargo(arguments: &[&str]) -> Result<(), String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let status = Command::new(cargo)
        .arg("build")
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status();
    match status {
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
