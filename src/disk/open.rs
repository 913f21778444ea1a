//! The start: the directory is locked and read, and what is damaged is cut off.
//!
//! Owns the decision how far what was read can be believed. It passes entries on and does not know
//! what they mean.
//!
//! Invariant: *damage never keeps a server from starting*. What follows the first damaged record is
//! removed, the log says how much, and readers are told of a gap.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, DirBuilder, File};
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
use encke_core::log::Identity;
use encke_core::message::Seq;

/// The name of the file that is locked.
const LOCK: &str = "lock";

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
        /// What was to be used.
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

/// How far what was read can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It is all that there was: the last process ended cleanly, or there was none.
    All,
    /// Every message that was answered for is there. Readers may have seen others.
    Answered,
    /// Messages that were answered for may be missing.
    Doubtful,
}

/// What a start has read. It is saved how the log goes on before anything else is: see
/// [`Store::begin`].
pub(crate) struct Opened {
    pub(super) store: Store,
    pub(crate) trust: Trust,
    /// The newest number that is known to have been given.
    pub(crate) newest: Seq,
    pub(crate) read: ReadCounts,
}

/// How much a start has read, and how much it could not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadCounts {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Bytes that were cut off because they, or bytes before them, were damaged.
    pub(crate) cut_bytes: u64,
}

/// A directory that is locked, and whose messages were not read yet.
pub(crate) struct Locked {
    files: Arc<dyn Files>,
    dir: PathBuf,
    lock: File,
    /// What the last process left.
    last: Option<Head>,
    identity: Identity,
    boot: String,
    config: Config,
}

impl Locked {
    /// Creates the directory if there is none, locks it, and reads its head. `identity` is that of a
    /// new history.
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
            last,
            boot,
            config: config.clone(),
        })
    }

    /// The identity of the log.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// Reads all entries in order, and passes them to `each`, which refuses what it cannot read. What
    /// follows a refused or damaged one is cut off.
    ///
    /// # Errors
    ///
    /// The directory cannot be listed, or a file not be changed.
    pub(crate) fn read(self, each: impl FnMut(&[u8]) -> bool) -> Result<Opened, DataError> {
        let mark = Mark::read(&self.dir).unwrap_or_else(|error| {
            log::error!("{}: {error}", self.dir.join(super::mark::NAME).display());
            None
        });
        let (segments, counts) = self.read_segments(mark, each)?;
        let trust = self.trust(&segments, mark);
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
            trust,
            newest,
            read: counts,
        })
    }

    /// How far the segments can be believed, of which those in `segments` are good.
    fn trust(&self, segments: &VecDeque<Segment>, mark: Option<Mark>) -> Trust {
        let Some(last) = &self.last else {
            // A new directory, or one without its head: no cursor is of this epoch.
            return Trust::All;
        };
        let end = segments.back();
        let end = end.map_or((0, 0), |last| (last.number, last.bytes));
        // The mark is written with the first record.
        let mark = mark.or(segments.is_empty().then(Mark::default));
        let Some(mark) = mark else {
            return Trust::Doubtful;
        };
        if end < (mark.segment, mark.bytes) {
            return Trust::Doubtful;
        }
        let is_this_boot = |boot: &String| *boot == self.boot && boot != NO_BOOT;
        match &last.end {
            End::Clean if end == (mark.segment, mark.bytes) => Trust::All,
            End::Open(boot) if is_this_boot(boot) => Trust::Answered,
            End::Open(boot) if boot != NO_BOOT && last.sync == DataSync::Always => Trust::Answered,
            // Something was written behind a clean end.
            End::Clean | End::Open(_) => Trust::Doubtful,
        }
    }

    /// Reads segments up to the first damage, and removes what follows.
    fn read_segments(
        &self,
        mark: Option<Mark>,
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<(VecDeque<Segment>, ReadCounts), DataError> {
        let names = self
            .files
            .list(&self.dir)
            .map_err(DataError::io(&self.dir))?;
        let numbers: BTreeSet<u64> = names
            .iter()
            .filter_map(|name| segment::number(name))
            .collect();
        let mut counts = ReadCounts::default();
        let mut good = VecDeque::new();
        let mut damage: Option<(u64, &str)> = None;
        for number in numbers {
            let path = segment::path(&self.dir, number);
            let is_next = good
                .back()
                .is_none_or(|last: &Segment| last.number + 1 == number);
            let fault = match (damage, is_next) {
                (Some(_), _) => Some("follows damage"),
                (None, false) => Some("does not follow the segment before it"),
                (None, true) => None,
            };
            if let Some(fault) = fault {
                damage = damage.or(Some((number, fault)));
                counts.cut_bytes += self.remove(&path)?;
                continue;
            }
            let (bytes, stop) = match self.files.open(&path) {
                Ok(file) => {
                    let counted = |entry: &[u8]| {
                        counts.records += 1;
                        each(entry)
                    };
                    let (bytes, stop) = segment::read(&*self.files, &file, counted);
                    if stop != Stop::End {
                        counts.cut_bytes += self.cut(&file, &path, bytes)?;
                    }
                    (bytes, stop)
                }
                Err(error) => return Err(DataError::io(path)(error)),
            };
            counts.bytes += bytes;
            match bytes {
                // Its title was cut short.
                0 => drop(self.remove(&path)?),
                bytes => good.push_back(Segment { number, bytes }),
            }
            // What a write that was cut short has left behind the mark was not answered for.
            let is_unanswered =
                mark.is_some_and(|mark| (mark.segment, mark.bytes) <= (number, bytes));
            if stop == Stop::Damaged || stop == Stop::Cut && !is_unanswered {
                damage = Some((number, "is damaged"));
            }
        }
        if let Some((number, what)) = damage {
            log::error!(
                "{}: segment {number} {what}: cut off {} bytes; readers will be told of a gap",
                self.dir.display(),
                counts.cut_bytes
            );
        }
        Ok((good, counts))
    }

    /// Cuts a segment behind its last good record, and returns the number of bytes cut off.
    fn cut(&self, file: &File, path: &Path, bytes: u64) -> Result<u64, DataError> {
        let is = self.files.len(file).map_err(DataError::io(path))?;
        let cut = self.files.set_len(file, bytes);
        cut.map_err(DataError::io(path))?;
        Ok(is - bytes)
    }

    fn remove(&self, path: &Path) -> Result<u64, DataError> {
        let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
        self.files.remove(path).map_err(DataError::io(path))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
