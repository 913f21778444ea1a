//! Saved history: the directory, and the threads that write it.
//!
//! Owns the files of `--data-dir`: what is written when, what is read at the start, and what is
//! removed. It moves the bytes of records and decides nothing about messages: which of them still
//! hold is for the log to say.
//!
//! ```text
//! open      lock, head, mark; segments are read, damage is cut off
//! store     the directory as it is written
//! saver     what the reactor calls
//! writer    what is written when, retries, and what else is to be done: for the reactor's thread, which
//!           writes what is small, and for a thread of its own
//! keeper    the thread for slow operations: syncs, reads old segments, removes them
//! ```
//!
//! The reactor hands over the records of a tick, and gets a report when they are written. At most
//! one hand-over is under way; the next one takes all that has gathered meanwhile.

#[cfg(test)]
mod faulty;
mod files;
mod head;
mod keeper;
mod mark;
mod open;
mod plan;
mod report;
mod saver;
mod segment;
mod store;
mod writer;

#[cfg(test)]
pub(crate) use faulty::TempDir;
pub use open::DataError;
pub(crate) use open::{Locked, Opened};
pub(crate) use plan::HistoryBytes;
pub(crate) use report::{Event, Health, Usage};
pub(crate) use saver::Saver;
pub(crate) use writer::Frozen;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use encke_core::config::Config;
use encke_core::log::Identity;
use encke_core::message::{Epoch, Seq};
use files::System;
use store::Store;

/// Locks the directory, which is created if there is none, and reads how it stands. `identity` is
/// that of a new history.
///
/// # Errors
///
/// See [`DataError`].
pub(crate) fn lock(dir: &Path, config: &Config, identity: Identity) -> Result<Locked, DataError> {
    Locked::new(Arc::new(System), dir, config, head::this_boot(), identity)
}

/// Starts to save in a directory that was read. The log goes on in this epoch, after this number.
/// `wake` wakes the reactor when there is a report.
///
/// # Errors
///
/// A thread cannot be started.
pub(crate) fn start(
    mut opened: Opened,
    (epoch, newest): (Epoch, Seq),
    config: &Config,
    wake: impl Fn() + Send + 'static,
) -> io::Result<Saver> {
    opened.store.go_on(epoch, newest);
    let (full, max_bytes) = (config.saving.full, config.history.max_total_bytes as u64);
    Saver::start(
        Arc::new(System),
        opened.store,
        full,
        max_bytes,
        Box::new(wake),
    )
}

/// Goes on in a directory where another process has left, whose lock is handed over. It rests, so
/// that nothing changes as long as that may come back. `wake` wakes the reactor when there is a
/// report.
///
/// # Errors
///
/// It is another directory, or not as it was left; or a thread cannot be started.
pub(crate) fn go_on(
    frozen: &Frozen,
    lock: File,
    dir: &Path,
    config: &Config,
    wake: impl Fn() + Send + 'static,
) -> io::Result<Saver> {
    let (full, sync) = (config.saving.full, config.saving.sync);
    let max_bytes = config.history.max_total_bytes as u64;
    let files = Arc::new(System);
    let store = Store::thaw(
        files.clone(),
        frozen.store(),
        lock,
        dir,
        sync,
        max_bytes,
        frozen.is_used(),
    )?;
    Saver::go_on(files, store, frozen, full, max_bytes, Box::new(wake))
}
