//! A server that keeps the log, as a model: a stream, its state, and keys.
//!
//! Owns what commands do, after the scripts of `encke_core::log::cluster::command`, and the ways in
//! which such a server forgets.

use std::collections::BTreeMap;
use std::sync::Arc;

use encke_core::log::cluster::{Command, OpenMode, Opened, Openness, Reply, Salt};
use encke_core::message::EntryId;

/// The state of the log beside its entries.
#[derive(Clone, Debug)]
struct Meta {
    term: u64,
    run: u64,
    salt: Salt,
}

/// A server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) run: u64,
    /// A number by which servers differ, below 64.
    pub(super) place: u64,
    /// The entries, oldest first; `None`: there is no stream.
    entries: Option<Vec<(EntryId, Arc<[u8]>)>>,
    last: EntryId,
    meta: Option<Meta>,
    once: BTreeMap<[u8; 16], EntryId>,
    /// When it was started.
    pub(super) started_at: u64,
    /// It does nothing until then.
    pub(super) stopped_until: u64,
    /// It has no memory for more.
    pub(super) is_full: bool,
}

impl Server {
    pub(super) fn new(run: u64) -> Server {
        Server {
            run,
            place: 0,
            entries: None,
            last: EntryId::ZERO,
            meta: None,
            once: BTreeMap::new(),
            started_at: 0,
            stopped_until: 0,
            is_full: false,
        }
    }

    /// Entries after an id, at most so many.
    pub(super) fn read(&self, after: EntryId, most: usize) -> Vec<(EntryId, Arc<[u8]>)> {
        let entries = self.entries.as_deref().unwrap_or_default();
        let start = entries.partition_point(|(id, _)| *id <= after);
        entries[start..].iter().take(most).cloned().collect()
    }

    pub(super) fn execute(&mut self, command: Command, unix_ms: u64) -> Reply {
        match command {
            Command::Open {
                mode,
                knows,
                salt,
                bytes,
                not_before,
            } => self.open((mode, not_before), knows, salt, bytes, unix_ms),
            Command::Append {
                term,
                keep_from,
                bytes,
                ..
            } => self.append(term, keep_from, bytes),
            Command::Once {
                term,
                keep_from,
                key,
                replaces,
                known,
                bytes,
                ..
            } => {
                let first = self.once.get(&key.0).copied();
                let first = first.filter(|&first| Some(first) != replaces).or(known);
                if let Some(id) = first {
                    if self.entries.is_none() {
                        return Reply::Gone;
                    }
                    self.once.insert(key.0, id);
                    let last = self.last;
                    return Reply::Earlier { id, last };
                }
                let reply = self.append(term, keep_from, bytes);
                if let Reply::Appended(id) = reply {
                    self.once.insert(key.0, id);
                }
                reply
            }
        }
    }

    fn open(
        &mut self,
        (mode, not_before): (OpenMode, u64),
        knows: EntryId,
        salt: Salt,
        mut bytes: Vec<u8>,
        unix_ms: u64,
    ) -> Reply {
        let last = if self.entries.is_some() {
            self.last
        } else {
            EntryId::ZERO
        };
        let term = self.meta.as_ref().map_or(0, |meta| meta.term);
        let is_changed = term == 0
            || last.term != term
            || self.meta.as_ref().is_none_or(|meta| meta.run != self.run)
            || term < knows.term
            || (term == knows.term && last.number < knows.number);
        let known_salt = self.meta.as_ref().map(|meta| meta.salt);
        let reply = |term, how, salt| {
            Reply::Opened(Opened {
                term,
                last,
                how,
                salt,
                time_ms: unix_ms,
            })
        };
        let is_doubt = mode == OpenMode::Doubt;
        if !is_changed && ((mode != OpenMode::Fence && !is_doubt) || term > knows.term) {
            return reply(term, Openness::GoesOn, known_salt);
        }
        if mode == OpenMode::Peek {
            return reply(term, Openness::IsDue, known_salt);
        }
        if self.is_full {
            return Reply::Full;
        }
        // Two servers never open a term in the same millisecond.
        let unix_ms = unix_ms & !63 | self.place;
        let known = term.max(last.term).max(knows.term);
        let opened = unix_ms.max(known + 1).max(not_before);
        let salt = known_salt.unwrap_or(salt);
        let is_known_run = self.meta.as_ref().is_some_and(|meta| meta.run == self.run);
        let has_less = last.term == term && term == knows.term && last.number < knows.number;
        let is_doubted = is_doubt && term <= knows.term;
        let (end, how) = match is_doubted || (is_known_run && has_less) {
            true => (EntryId::ZERO, " rolled"),
            false => (last, if is_changed { "" } else { " same" }),
        };
        if how == " rolled" {
            self.trim(0);
        }
        bytes.extend_from_slice(format!("{end} {:x}{how}", self.run).as_bytes());
        self.last = EntryId::new(opened, 0);
        self.entries
            .get_or_insert_default()
            .push((self.last, bytes.into()));
        self.meta = Some(Meta {
            term: opened,
            run: self.run,
            salt,
        });
        reply(opened, Openness::New, Some(salt))
    }

    fn append(&mut self, term: u64, keep_from: EntryId, bytes: Vec<u8>) -> Reply {
        if self.is_full {
            return Reply::Full;
        }
        let Some(entries) = &mut self.entries else {
            return Reply::Gone;
        };
        if term < self.last.term {
            return Reply::Stale;
        }
        self.last = match term == self.last.term {
            true => self.last.next(),
            false => EntryId::new(term, 0),
        };
        entries.push((self.last, bytes.into()));
        let start = entries.partition_point(|(id, _)| *id < keep_from);
        // Approximately, as a stream is trimmed by nodes of many entries.
        entries.drain(..start / 8 * 8);
        Reply::Appended(self.last)
    }

    /// Starts again with another run, and what it has.
    pub(super) fn restart(&mut self, run: u64, now: u64) {
        self.run = run;
        self.started_at = now;
        self.stopped_until = 0;
        self.is_full = false;
    }

    /// Forgets all.
    pub(super) fn flush(&mut self) {
        *self = Server {
            stopped_until: self.stopped_until,
            started_at: self.started_at,
            place: self.place,
            ..Server::new(self.run)
        };
    }

    /// Forgets the stream alone.
    pub(super) fn delete_log(&mut self) {
        self.entries = None;
        self.last = EntryId::ZERO;
    }

    /// Forgets the newest entries, and all that came with them.
    pub(super) fn lose_tail(&mut self, count: usize) {
        let Some(entries) = &mut self.entries else {
            return;
        };
        entries.truncate(entries.len().saturating_sub(count));
        let Some(&(last, _)) = entries.last() else {
            return self.flush();
        };
        self.last = last;
        self.once.retain(|_, id| *id <= last);
        if let Some(meta) = self.meta.as_mut().filter(|meta| meta.term != last.term) {
            // As it was when that term was the newest.
            meta.term = last.term;
            meta.run = 0;
        }
    }

    /// An older log is put in the place of this one, while the server runs on. Returns its last id.
    pub(super) fn roll_back(&mut self, count: usize) -> Option<EntryId> {
        let (Some(entries), Some(meta)) = (&mut self.entries, &self.meta) else {
            return None;
        };
        // Older than this term is an older `meta` too, which is another fault.
        let of_term = entries.partition_point(|(id, _)| id.term < meta.term);
        entries.truncate((entries.len().saturating_sub(count)).max(of_term + 1));
        self.last = entries.last().map_or(self.last, |&(last, _)| last);
        Some(self.last)
    }

    /// Somebody who is no node appends an entry, with a term of its own.
    pub(super) fn append_foreign(&mut self, unix_ms: u64, bytes: &[u8]) {
        let Some(entries) = &mut self.entries else {
            return;
        };
        // A term that is opened above it is not one that another server opens above a copy of it.
        let term = (unix_ms & !63) - 64;
        if term > self.last.term {
            self.last = EntryId::new(term, 0);
            entries.push((self.last, bytes.into()));
        }
    }

    /// Removes the oldest entries.
    pub(super) fn trim(&mut self, keep: usize) {
        if let Some(entries) = &mut self.entries {
            entries.drain(..entries.len().saturating_sub(keep));
        }
    }

    /// Removes an entry, counted from the newest.
    pub(super) fn remove(&mut self, place: usize) {
        if let Some(entries) = &mut self.entries
            && let Some(place) = entries.len().checked_sub(place + 1)
        {
            entries.remove(place);
        }
    }

    /// Forgets everything about keys of messages.
    pub(super) fn forget_keys(&mut self) {
        self.once.clear();
    }
}
