//! Programs of the system, and what a test says that is skipped without them.

use std::io::{self, Write};

/// Returns whether a program of a Debian package is there. If not, the test is to end.
///
/// # Panics
///
/// It is missing, in CI (`CI` is set).
pub fn needs(program: &str, package: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(program).is_file()) {
        return true;
    }
    let advice = format!("{program} is not installed: apt-get install {package}");
    assert!(std::env::var_os("CI").is_none(), "{advice}");
    say_skipped(&advice);
    false
}

/// Says why a test is skipped, on the standard error of the process: what a test prints that passes
/// is not shown.
pub(crate) fn say_skipped(why: &str) {
    // A standard error that is closed takes nothing.
    let _ = writeln!(io::stderr(), "skipped: {why}");
}
