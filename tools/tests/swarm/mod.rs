//! Running swarm as the tests need it.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const SWARM: &str = env!("CARGO_BIN_EXE_swarm");

/// encke lies beside swarm, where `swarm` looks for it too.
pub(crate) fn build_encke() {
    crate::support::build_encke(SWARM);
}

pub(crate) fn description(server: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("servers/{server}.toml"))
}

/// Runs swarm; it ends with an error by itself if anything is lost, twice, late or misrouted. What
/// it printed for programs.
pub(crate) fn line(server: &str, load: &str) -> String {
    build_encke();
    let output = Command::new(SWARM)
        .args(load.split(' '))
        .args(["--seconds", "0.2", "--warm-up", "0.05", "--json"])
        .arg("--server")
        .arg(description(server))
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{load} on {server}: {complaint} {text}"
    );
    text.into_owned()
}
