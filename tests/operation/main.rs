//! encke as it is operated: under systemd, watched by Prometheus, with a clock that is stepped. The
//! files of `tools/systemd`, `tools/prometheus` and `tools/grafana` are held to the programs that
//! read them, and to encke.
//!
//! A test that needs another program is skipped where that is missing, except in CI (`CI` is set),
//! where it fails.

mod child;
mod clock;
mod http;
mod metrics;
mod nodes;
mod reload;
mod systemd;
mod tokens;
mod traffic;
mod upgrade;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long anything may take that is to happen soon.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns whether a program of a Debian package is there. If not, the test is to end.
///
/// # Panics
///
/// It is missing, in CI.
fn needs(program: &str, package: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(program).is_file()) {
        return true;
    }
    let advice = format!("{program} is not installed: apt-get install {package}");
    assert!(std::env::var_os("CI").is_none(), "{advice}");
    eprintln!("skipped: {advice}");
    false
}

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

/// A directory of a test, removed at its end. Its path is short, as paths of unix sockets must be.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("encke-operation-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // An error leaves files in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
