//! The wall clock of a process, made wrong by libfaketime.
//!
//! Owns the file that says by how much it is wrong.

use std::fs;
use std::path::Path;

use crate::command::text;

/// The words before the command of a process whose wall clock is wrong by what a file says. The
/// library of libfaketime comes before `others`.
pub(super) fn fake(library: &Path, clock: &Path, others: &str) -> Vec<String> {
    vec![
        "env".into(),
        format!("LD_PRELOAD={}{others}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        "FAKETIME_NO_CACHE=1".into(),
        // The monotonic clock cannot be stepped.
        "FAKETIME_DONT_FAKE_MONOTONIC=1".into(),
    ]
}

/// Writes down by how many seconds a wall clock is wrong.
pub(super) fn step(file: &Path, seconds: i64) -> Result<(), String> {
    // In one step, as the file is read at any moment.
    let next = file.with_extension("next");
    fs::write(&next, format!("{seconds:+}\n")).map_err(text)?;
    fs::rename(next, file).map_err(text)
}
