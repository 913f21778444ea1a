//! The directory as it is handed over: what a process knows of it.
//!
//! Owns the check that it is the same directory, as it was left. Nothing of it is read again.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::files::Files;
use super::super::head::Head;
use super::super::open::LOCK;
use super::super::segment::{self, Segment};
use super::{Found, Store};
use encke_core::config::DataSync;
use encke_core::message::Seq;

/// The state of a store as it is handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Frozen {
    /// The text of the head.
    head: String,
    is_head_written: bool,
    /// Number and bytes of each segment, oldest first.
    segments: Vec<(u64, u64)>,
    newest: u64,
    /// Whether bytes may not be on the medium.
    has_unsynced: bool,
}

impl Store {
    /// The state for a process that takes over, and a duplicate of the file that holds the lock.
    /// The mark must have been written.
    pub(in crate::disk) fn freeze(&self) -> io::Result<(Frozen, File)> {
        let segments = self.segments.iter();
        let frozen = Frozen {
            head: self.head.text(),
            is_head_written: self.is_head_written,
            segments: segments
                .map(|segment| (segment.number, segment.bytes))
                .collect(),
            newest: self.newest.0,
            has_unsynced: self.has_unsynced(),
        };
        Ok((frozen, self.lock.try_clone()?))
    }

    /// Goes on where another process was. Nothing is written. If the directory is not used any
    /// more, its files may be anything.
    ///
    /// # Errors
    ///
    /// The lock is that of another directory, or a file is not as it was left.
    pub(in crate::disk) fn thaw(
        files: Arc<dyn Files>,
        frozen: &Frozen,
        lock: File,
        dir: &Path,
        sync: DataSync,
        max_history_bytes: u64,
        is_used: bool,
    ) -> io::Result<Store> {
        let here = std::fs::metadata(dir.join(LOCK))?;
        let handed = lock.metadata()?;
        if (here.dev(), here.ino()) != (handed.dev(), handed.ino()) {
            return Err(io::Error::other("the lock is that of another directory"));
        }
        let head = Head::parse(&frozen.head);
        let head = head.map_err(|_| io::Error::other("the head cannot be read"))?;
        let is_head_written = frozen.is_head_written && head.sync == sync;
        let segments = frozen.segments.iter();
        let segments = segments.map(|&(number, bytes)| Segment { number, bytes });
        let found = Found {
            dir: dir.to_owned(),
            lock,
            segments: segments.collect(),
            newest: Seq(frozen.newest),
            head: Head { sync, ..head },
        };
        let mut store = Store::new(Arc::clone(&files), found, max_history_bytes);
        store.is_head_written = is_head_written;
        let is_unsynced = frozen.has_unsynced && sync != DataSync::Never;
        for segment in store.segments.clone() {
            if !is_used {
                break;
            }
            let file = files.open(&segment::path(dir, segment.number))?;
            if files.len(&file)? < segment.bytes {
                return Err(io::Error::other("a segment is shorter than it was"));
            }
            if is_unsynced {
                store.note_unsynced(Arc::new(file));
            }
        }
        Ok(store)
    }
}
