//! The files in which processes of clients write their logs.
//!
//! Owns their form: entries, one after the other.

use std::fmt;
use std::fs;
use std::path::Path;

use encke_oracle::log::Entry;
use encke_oracle::run::Logs;

/// Reads the file that a process of clients wrote, and adds its entries to those of their clients.
///
/// # Errors
///
/// The file cannot be read, or ends within an entry.
pub(super) fn read(logs: &mut Logs, path: &Path, process: usize) -> Result<(), String> {
    let describe = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
    let bytes = fs::read(path).map_err(|error| describe(&error))?;
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (entry, after): (Entry, &[u8]) =
            postcard::take_from_bytes(rest).map_err(|error| describe(&error))?;
        rest = after;
        let client = entry.client as usize;
        if client >= logs.clients.len() {
            logs.clients.resize_with(client + 1, Vec::new);
            logs.processes.resize(client + 1, 0);
        }
        logs.processes[client] = process;
        logs.clients[client].push(entry);
    }
    Ok(())
}
