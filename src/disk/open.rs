//! The start: the directory is locked and read, and what is damaged is cut off.
//!
//! Owns the decision how the log ended, from its segments, its mark and its head. It passes entries on and does not know
//! what they mean.
//!
//! Invariants:
//! - *Damage never keeps a server from starting*. What follows a damaged record in its segment is
//!   removed, the log says how much, and readers are told of a gap.
//! - *What cannot be read is not damaged.* An error of the system refuses the start, and no file is
//!   changed.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;

use super::files::Files;
use super::head::{End, FORMAT, Head, NO_BOOT, Unreadable};
use super::mark::Mark;
use super::segment::{self, Segment, Stop};
use super::store::{Found, Store};
use encke_core::config::{Config, DataSync};
use encke_core::log::{Identity, LogEnding};
use encke_core::message::{Epoch, Seq};

/// The name of the file that is locked.
pub(super) const LOCK: &str = "lock";

/// The reason for which a directory cannot be used. Each is one line.
#[derive(Debug, Error)]
pub enum DataError {
    /// Another process has the lock.
    #[error("{} is in use by another process; each encke needs a --data-dir of its own", .0.display())]
    InUse(PathBuf),
    /// A newer encke wrote it. Nothing was changed.
    #[error(
        "{} is of format {found}, and this encke knows formats up to {FORMAT}; start the newer encke, or give \
         another --data-dir",
        dir.display()
    )]
    Newer {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The directory, or a file in it that has to be readable, cannot be used.
    #[error("{}: {error}; give a --data-dir that encke can read and write", path.display())]
    Io {
        /// The path that was to be used.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

impl DataError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> DataError {
        let path = path.into();
        move |error| DataError::Io { path, error }
    }
}

/// The result of opening the directory. Before anything else is written, the head says how the log
/// goes on: see [`Store::begin`].
pub(crate) struct Opened {
    pub(super) store: Store,
    /// How the log of the last process ended; clean where there was none.
    pub(crate) ending: LogEnding,
    /// The newest number that is known to have been given.
    pub(crate) newest: Seq,
    pub(crate) read: ReadCounts,
}

/// How much a start has read, and how much it could not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadCounts {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Bytes that were cut off because they, or bytes before them, were damaged. The incomplete
    /// last write of a process that was killed is not damage.
    pub(crate) cut_bytes: u64,
}

/// A segment as it was read.
struct Part {
    number: u64,
    /// The bytes up to its last good record; 0 without its title.
    bytes: u64,
    /// The bytes that the file has.
    file_bytes: u64,
    /// Whether something is missing in it, or before it.
    is_faulty: bool,
}

/// A directory that is locked, and whose messages were not read yet.
pub(crate) struct Locked {
    files: Arc<dyn Files>,
    dir: PathBuf,
    lock: File,
    /// The head that the last process left.
    last: Option<Head>,
    identity: Identity,
    /// The epoch in which history goes on where the end of the log is missing.
    new_epoch: Epoch,
    boot: String,
    config: Config,
}

impl Locked {
    /// Creates the directory if there is none, locks it, and reads its head. `identity` is that of
    /// a new history; its epoch is also that in which an old one goes on whose end is missing.
    pub(super) fn new(
        files: Arc<dyn Files>,
        dir: &Path,
        config: &Config,
        boot: String,
        identity: Identity,
    ) -> Result<Locked, DataError> {
        let create = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        create.map_err(DataError::io(dir))?;
        let path = dir.join(LOCK);
        let lock = match files.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.create(&path),
            opened => opened,
        };
        let lock = lock.map_err(DataError::io(&path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(DataError::InUse(dir.into())),
            locked => locked.map_err(|error| DataError::io(&path)(error.into()))?,
        }
        let last = match Head::read(dir) {
            Ok(Some(Err(Unreadable::Newer(found)))) => {
                let dir = dir.into();
                return Err(DataError::Newer { dir, found });
            }
            Ok(Some(Ok(head))) => Some(head),
            Ok(Some(Err(Unreadable::Damaged))) => {
                log::error!(
                    "{}: the file head is damaged: ids begin anew",
                    dir.display()
                );
                None
            }
            Ok(None) => None,
            Err(error) => return Err(DataError::io(dir.join(super::head::NAME))(error)),
        };
        Ok(Locked {
            files,
            dir: dir.into(),
            lock,
            identity: last.as_ref().map_or(identity, |head| head.identity),
            new_epoch: identity.epoch,
            last,
            boot,
            config: config.clone(),
        })
    }

    /// The identity of the log.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Reads all entries in order, and passes them to `each`, which refuses what it cannot read.
    /// The segment is cut off at a refused or damaged entry.
    ///
    /// # Errors
    ///
    /// The directory cannot be listed, or a file not be read: then nothing is changed. Or a file
    /// cannot be changed.
    pub(crate) fn read(self, each: impl FnMut(&[u8]) -> bool) -> Result<Opened, DataError> {
        let mark = Mark::read(&self.dir).unwrap_or_else(|error| {
            log::error!("{}: {error}", self.dir.join(super::mark::NAME).display());
            None
        });
        let (parts, counts) = self.read_segments(mark, each)?;
        let ending = self.ending(&parts, mark);
        let segments = self.mend(parts)?;
        let newest = mark.map_or(Seq::ZERO, |mark| mark.newest);
        let head = Head {
            identity: self.identity,
            sync: self.config.saving.sync,
            end: End::Open(self.boot),
        };
        let is_unsynced = self.last.is_some_and(|head| head.end != End::Clean);
        let found = Found {
            dir: self.dir.clone(),
            lock: self.lock,
            segments,
            newest,
            head,
        };
        let mut store = Store::new(
            self.files,
            found,
            self.config.history.max_total_bytes as u64,
        );
        if is_unsynced && self.config.saving.sync == DataSync::Always {
            store.sync_all().map_err(DataError::io(self.dir))?;
        }
        Ok(Opened {
            store,
            ending,
            newest,
            read: counts,
        })
    }

    /// How the log ended, as far as its segments show it.
    fn ending(&self, parts: &[Part], mark: Option<Mark>) -> LogEnding {
        let tail_lost = LogEnding::TailLost(self.new_epoch);
        let Some(last) = &self.last else {
            // A new directory, or one without its head: no cursor is of this epoch.
            return LogEnding::Clean;
        };
        // Wherever the damage is, readers get a gap.
        if parts.iter().any(|part| part.is_faulty) {
            return tail_lost;
        }
        // A segment without its title has nothing in it.
        let mut good = parts.iter().filter(|part| part.bytes > 0);
        let end = good.next_back();
        let end = end.map_or((0, 0), |last| (last.number, last.bytes));
        // The mark is written with the first record.
        let mark = mark.or((end == (0, 0)).then(Mark::default));
        let Some(mark) = mark else {
            return tail_lost;
        };
        if end < (mark.segment, mark.bytes) {
            return tail_lost;
        }
        let is_this_boot = |boot: &String| *boot == self.boot && boot != NO_BOOT;
        match &last.end {
            End::Clean if end == (mark.segment, mark.bytes) => LogEnding::Clean,
            End::Open(boot) if is_this_boot(boot) => LogEnding::Crashed,
            End::Open(boot) if boot != NO_BOOT && last.sync == DataSync::Always => {
                LogEnding::Crashed
            }
            // Something was written behind a clean end.
            End::Clean | End::Open(_) => tail_lost,
        }
    }

    /// Reads the segments. Nothing is changed before all are read: an error of the system is no
    /// damage.
    fn read_segments(
        &self,
        mark: Option<Mark>,
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(Vec<Part>, ReadCounts), DataError> {
        let names = self
            .files
            .list(&self.dir)
            .map_err(DataError::io(&self.dir))?;
        let numbers: BTreeSet<u64> = names
            .iter()
            .filter_map(|name| segment::number(name))
            .collect();
        let last = numbers.last().copied();
        let mut counts = ReadCounts::default();
        let mut parts: Vec<Part> = Vec::new();
        for number in numbers {
            let path = segment::path(&self.dir, number);
            let counted = |entry: &[u8]| {
                counts.records += 1;
                each(entry)
            };
            let read = || {
                let file = self.files.open(&path)?;
                let (bytes, stop) = segment::read(&*self.files, &file, counted)?;
                Ok((bytes, stop, self.files.len(&file)?))
            };
            let (bytes, stop, file_bytes) = read().map_err(DataError::io(&path))?;
            // The rest of an interrupted write, behind the mark, was not acknowledged. Such a write
            // leaves no other bytes than its own.
            let is_unanswered = Some(number) == last
                && mark.is_some_and(|mark| (mark.segment, mark.bytes) <= (number, bytes));
            let is_next = parts.last().is_none_or(|part| part.number + 1 == number);
            let fault = match stop {
                Stop::Damaged => Some("is damaged"),
                Stop::Cut if !is_unanswered => Some("is cut"),
                Stop::Cut | Stop::End if !is_next => Some("does not follow the segment before it"),
                Stop::Cut | Stop::End => None,
            };
            counts.bytes += bytes;
            if let Some(fault) = fault {
                let cut_bytes = file_bytes - bytes;
                counts.cut_bytes += cut_bytes;
                log::error!(
                    "{}: segment {number} {fault}: cut off {cut_bytes} bytes; readers will be told of a gap",
                    self.dir.display(),
                );
            }
            parts.push(Part {
                number,
                bytes,
                file_bytes,
                is_faulty: fault.is_some(),
            });
        }
        Ok((parts, counts))
    }

    /// Cuts segments behind their last good records, and closes the gaps between their numbers, so
    /// that the next start finds nothing wrong.
    fn mend(&self, parts: Vec<Part>) -> Result<VecDeque<Segment>, DataError> {
        let mut good = VecDeque::new();
        if parts.iter().any(|part| part.is_faulty)
            && let Some(last) = &self.last
        {
            // The cut removes the evidence, so the head records the doubt first: this process may
            // be killed before its start is over.
            let end = End::Open(NO_BOOT.into());
            let head = Head {
                end,
                ..last.clone()
            };
            if let Err(error) = head.write(&*self.files, &self.dir) {
                log::warn!("cannot write to {}: {error}", self.dir.display());
            }
        }
        for part in parts {
            let path = segment::path(&self.dir, part.number);
            match part.bytes {
                // Not even its title is there.
                0 => {
                    self.files.remove(&path).map_err(DataError::io(&path))?;
                    continue;
                }
                bytes if bytes < part.file_bytes => {
                    let file = self.files.open(&path);
                    let cut = file.and_then(|file| self.files.set_len(&file, bytes));
                    cut.map_err(DataError::io(&path))?;
                }
                _ => {}
            }
            let before = good.back().map(|before: &Segment| before.number);
            let number = before.map_or(part.number, |before| before + 1);
            if number != part.number {
                let renamed = self.files.rename(&path, &segment::path(&self.dir, number));
                renamed.map_err(DataError::io(&path))?;
            }
            let bytes = part.bytes;
            good.push_back(Segment { number, bytes });
        }
        Ok(good)
    }
}

#[cfg(test)]
mod tests;
