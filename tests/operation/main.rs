//! encke as it is operated: under systemd, watched by Prometheus, with a clock that is stepped. The
//! files of `tools/systemd`, `tools/prometheus` and `tools/grafana` are held to the programs that
//! read them, and to encke.
//!
//! A test that needs another program is skipped where that is missing, except in CI (`CI` is set),
//! where it fails.

mod clock;
mod http;
mod metrics;
mod nodes;
mod reload;
mod systemd;
mod tokens;
mod traffic;
mod upgrade;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// The program that is operated.
const ENCKE: &str = env!("CARGO_BIN_EXE_encke");

/// Runs a program and returns what it printed.
///
/// # Panics
///
/// It fails.
fn run(program: impl AsRef<OsStr>, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
    text
}

/// A file of this repository.
fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Notes the highest value of each series, by the text of `/metrics`.
fn note_highest(highest: &mut BTreeMap<String, f64>, metrics: &str) {
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let highest = highest.entry(series.to_owned()).or_insert(value);
        *highest = highest.max(value);
    }
}
