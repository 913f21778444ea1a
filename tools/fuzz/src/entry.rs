//! Entries and records of a saved log: any bytes are read without harm, and what is read is written
//! as it was.
//!
//! The bytes are read as an entry, as the records of a file, and as entries of a history, which
//! goes on from them.

use encke_core::base::record;
use encke_core::config::Config;
use encke_core::engine::Engine;
use encke_core::log::entry::Entry;
use encke_core::log::{History, Identity, LogEnding};

const MAX_CONNECTIONS: usize = 1;
const UNIX_MS: u64 = 1_800_000_000_000;

/// Reads bytes as an entry, and as a file.
pub fn entry(bytes: &[u8]) {
    comes_back(bytes);
    let entries = file(bytes);
    restore(entries.into_iter().chain([bytes]));
}

/// An entry is written as the bytes that it was read from.
fn comes_back(bytes: &[u8]) {
    if let Ok(entry) = Entry::read(bytes) {
        let mut written = Vec::new();
        entry.write(&mut written);
        assert_eq!(written, bytes, "{entry:?}");
    }
}

/// The entries of records, which are written as the bytes that they were read from.
fn file(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut entries = Vec::new();
    while let record::Read::Record { entry, rest } = record::read(bytes) {
        let mut written = Vec::new();
        record::append(&mut written, |out| out.extend_from_slice(entry));
        assert_eq!(written, bytes[..bytes.len() - rest.len()]);
        comes_back(entry);
        entries.push(entry);
        bytes = rest;
    }
    entries
}

/// A history of entries, twice each and backwards the second time, is that of them once.
fn restore<'b>(entries: impl Iterator<Item = &'b [u8]> + Clone) {
    let all: Vec<&[u8]> = entries.collect();
    let once = kept(&all);
    let again: Vec<&[u8]> = all.iter().chain(all.iter().rev()).copied().collect();
    assert_eq!(once, kept(&again));
}

/// How many messages and channels there are, and how many bytes are written at the start.
fn kept(entries: &[&[u8]]) -> (usize, usize, usize) {
    let config = Config {
        max_channels: 100,
        ..Config::default()
    };
    let identity = Identity::new([1, 2, 3]);
    let mut history = History::new(identity, &config, MAX_CONNECTIONS, UNIX_MS);
    for entry in entries {
        let _ = history.replay(entry);
    }
    let mut engine = Engine::with_history(&config, MAX_CONNECTIONS, 1, history, LogEnding::Crashed);
    engine.check();
    let unsaved = engine
        .take_unsaved()
        .map_or(0, |unsaved| unsaved.records.len());
    let hub = engine.hub();
    (hub.message_count(), hub.channel_count(), unsaved)
}
