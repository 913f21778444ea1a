//! The directory of saved history, as it is written: segments, the mark and the head.
//!
//! Owns the files and their sizes. It is told what to write and when; it knows no thread and no
//! time.
//!
//! Invariants:
//! - *A record is whole or not there.* Where a write fails, the segment ends at its last good
//!   record, and the next write begins there.
//! - *Head before numbers.* No number is given before the head says that a process runs, and the
//!   mark after which number it goes on.
//! - *Records before the mark*: see `mark`.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use super::files::{Files, write_all};
use super::head::{End, Head, NO_BOOT};
use super::mark::{self, Mark};
use super::segment::{self, Segment, TITLE};
use encke_core::config::DataSync;
use encke_core::message::{Epoch, Seq};

/// The largest segment, unless one write is larger.
const MAX_SEGMENT_BYTES: u64 = 16 << 20;
const MIN_SEGMENT_BYTES: u64 = 64 << 10;

/// Segments for the bytes that history may have.
const SEGMENTS: u64 = 8;

/// The directory.
pub(super) struct Store {
    files: Arc<dyn Files>,
    dir: PathBuf,
    /// Holds the lock for as long as it is open, here or in another process.
    lock: File,
    segment_bytes: u64,
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// The newest segment, once something is written to it.
    current: Option<Arc<File>>,
    mark: Option<File>,
    is_marked: bool,
    newest: Seq,
    head: Head,
    is_head_written: bool,
    /// Files with bytes that may not be on the medium.
    unsynced: Vec<Arc<File>>,
}

/// The directory as a start has found it, or made it.
pub(super) struct Found {
    pub(super) dir: PathBuf,
    pub(super) lock: File,
    /// Oldest first.
    pub(super) segments: VecDeque<Segment>,
    /// The newest number that was given.
    pub(super) newest: Seq,
    /// The head to be written.
    pub(super) head: Head,
}

impl Store {
    /// Goes on where the directory ends. `max_history_bytes` is the limit on history.
    pub(super) fn new(files: Arc<dyn Files>, found: Found, max_history_bytes: u64) -> Store {
        Store {
            files,
            dir: found.dir,
            lock: found.lock,
            segment_bytes: (max_history_bytes / SEGMENTS)
                .clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES),
            segments: found.segments,
            current: None,
            mark: None,
            is_marked: true,
            newest: found.newest,
            head: found.head,
            is_head_written: false,
            unsynced: Vec::new(),
        }
    }

    pub(super) fn dir(&self) -> &PathBuf {
        &self.dir
    }

    pub(super) fn sync_mode(&self) -> DataSync {
        self.head.sync
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The bytes of all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    pub(super) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The oldest segment, if nothing is written to it any more.
    pub(super) fn oldest_closed(&self) -> Option<Segment> {
        self.segments
            .front()
            .copied()
            .filter(|_| self.segments.len() > 1)
    }

    /// Sets how the log goes on: in this epoch, after this number.
    pub(super) fn go_on(&mut self, epoch: Epoch, newest: Seq) {
        self.head.identity.epoch = epoch;
        self.newest = newest;
        self.is_head_written = false;
    }

    /// Writes the head and the mark, if that is still to be done: the head first, so that the mark
    /// never hides damage from a start that does not know of it. No number may be given before: a
    /// start after a crash would give it again.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        if !self.is_head_written {
            self.head.write(&*self.files, &self.dir)?;
            self.write_mark(self.end_mark(self.newest))?;
            if let Some(mark) = &self.mark {
                self.files.sync(mark)?;
            }
            self.files.sync_dir(&self.dir)?;
            self.is_head_written = true;
        }
        Ok(())
    }

    /// The mark of all that is there.
    fn end_mark(&self, newest: Seq) -> Mark {
        let last = self.segments.back();
        Mark {
            segment: last.map_or(0, |last| last.number),
            bytes: last.map_or(0, |last| last.bytes),
            newest,
        }
    }

    /// Writes records, and notes that `newest` is the newest number up to here. With
    /// [`DataSync::Always`] they are on the medium then.
    ///
    /// # Errors
    ///
    /// No record was written: the same records may be written again.
    pub(super) fn write(&mut self, records: &[u8], newest: Seq) -> io::Result<()> {
        self.begin()?;
        let (file, segment) = self.segment_for(records.len() as u64)?;
        if let Err(error) = self.append(&file, segment, records, newest) {
            // If that fails too, the next write overwrites what is behind the end.
            let _ = self.files.set_len(&file, segment.bytes);
            return Err(error);
        }
        Ok(())
    }

    fn append(
        &mut self,
        file: &Arc<File>,
        mut segment: Segment,
        records: &[u8],
        newest: Seq,
    ) -> io::Result<()> {
        write_all(&*self.files, file, records, segment.bytes)?;
        if self.head.sync != DataSync::Never {
            self.note_unsynced(Arc::clone(file));
        }
        if self.head.sync == DataSync::Always {
            self.sync()?;
        }
        segment.bytes += records.len() as u64;
        self.newest = newest;
        if let Some(last) = self.segments.back_mut() {
            *last = segment;
        }
        self.is_marked = false;
        Ok(())
    }

    /// Whether the mark is behind what is written.
    pub(super) fn has_unmarked(&self) -> bool {
        !self.is_marked
    }

    /// Writes the mark, if it is behind.
    pub(super) fn mark(&mut self) -> io::Result<()> {
        if !self.is_marked {
            self.write_mark(self.end_mark(self.newest))?;
            self.is_marked = true;
        }
        Ok(())
    }

    /// Whether so many bytes more fit into the newest segment, which is open.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        let last = self.segments.back();
        let fits = last.is_some_and(|last| last.bytes + bytes <= self.segment_bytes);
        fits && self.current.is_some() && self.is_head_written
    }

    fn write_mark(&mut self, mark: Mark) -> io::Result<()> {
        if self.mark.is_none() {
            let path = self.dir.join(mark::NAME);
            let opened = match self.files.open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.files.create(&path),
                opened => opened,
            };
            self.mark = Some(opened?);
        }
        let file = self.mark.as_ref().expect("it was opened above");
        write_all(&*self.files, file, &mark.line(), 0)
    }

    /// The segment that takes so many bytes more, and its file.
    fn segment_for(&mut self, bytes: u64) -> io::Result<(Arc<File>, Segment)> {
        let last = self.segments.back().copied();
        let title_bytes = TITLE.len() as u64;
        let fits =
            |last: &Segment| last.bytes == title_bytes || last.bytes + bytes <= self.segment_bytes;
        if let Some(last) = last.filter(fits) {
            let file = match &self.current {
                Some(file) => Arc::clone(file),
                None => {
                    let path = segment::path(&self.dir, last.number);
                    Arc::new(self.files.open(&path)?)
                }
            };
            self.current = Some(Arc::clone(&file));
            return Ok((file, last));
        }
        let segment = Segment {
            number: last.map_or(1, |last| last.number + 1),
            bytes: title_bytes,
        };
        let path = segment::path(&self.dir, segment.number);
        let file = Arc::new(self.files.create(&path)?);
        let titled = write_all(&*self.files, &file, TITLE, 0);
        let titled = titled.and_then(|()| match self.head.sync {
            DataSync::Always => self.files.sync_dir(&self.dir),
            DataSync::Second | DataSync::Never => Ok(()),
        });
        if let Err(error) = titled {
            // If it stays, the next attempt empties it.
            let _ = self.files.remove(&path);
            return Err(error);
        }
        self.current = Some(Arc::clone(&file));
        self.segments.push_back(segment);
        Ok((file, segment))
    }

    /// Writes to the medium whatever an earlier process may have left, too.
    pub(super) fn sync_all(&mut self) -> io::Result<()> {
        for segment in &self.segments {
            let path = segment::path(&self.dir, segment.number);
            match self.files.open(&path) {
                // The keeper has removed it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                opened => self.files.sync(&opened?)?,
            }
        }
        self.unsynced.clear();
        self.files.sync_dir(&self.dir)
    }

    /// Writes to the medium what may not be there yet.
    fn sync(&mut self) -> io::Result<()> {
        for file in &self.unsynced {
            self.files.sync(file)?;
        }
        self.unsynced.clear();
        Ok(())
    }

    /// Takes the files with bytes that may not be on the medium, for another thread to sync.
    pub(super) fn take_unsynced(&mut self) -> Vec<Arc<File>> {
        mem::take(&mut self.unsynced)
    }

    /// Takes back files that could not be synced.
    pub(super) fn give_back_unsynced(&mut self, files: Vec<Arc<File>>) {
        files.into_iter().for_each(|file| self.note_unsynced(file));
    }

    fn note_unsynced(&mut self, file: Arc<File>) {
        if !self.unsynced.iter().any(|other| Arc::ptr_eq(other, &file)) {
            self.unsynced.push(file);
        }
    }

    pub(super) fn has_unsynced(&self) -> bool {
        !self.unsynced.is_empty()
    }

    /// The newest segment and its path, if something was written to it.
    pub(super) fn current(&self) -> Option<(Arc<File>, PathBuf)> {
        let last = self.segments.back()?;
        let file = Arc::clone(self.current.as_ref()?);
        Some((file, segment::path(&self.dir, last.number)))
    }

    /// Forgets a segment, whose file was removed.
    pub(super) fn removed(&mut self, number: u64) {
        self.segments.retain(|segment| segment.number != number);
    }

    /// Notes that saved records may be missing on the medium: after the next start every reader
    /// gets a gap.
    pub(super) fn doubt(&mut self) {
        if self.head.end != End::Open(NO_BOOT.into()) {
            self.head.end = End::Open(NO_BOOT.into());
            self.is_head_written = false;
        }
    }

    /// Ends cleanly: everything is on the medium, and the head says so. `newest` is the newest
    /// number that was given.
    pub(super) fn end(&mut self, newest: Seq) -> io::Result<()> {
        self.sync_all()?;
        self.newest = self.newest.max(newest);
        self.write_mark(self.end_mark(self.newest))?;
        if self.head.end != End::Open(NO_BOOT.into()) {
            self.head.end = End::Clean;
            self.is_head_written = false;
        }
        self.begin()
    }

    /// Empties the directory, because it is out of date. The head goes first: without it, a start
    /// trusts no segment.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        let is_gone = |removed: io::Result<()>| match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        };
        is_gone(self.files.remove(&self.dir.join(super::head::NAME)))?;
        self.current = None;
        self.mark = None;
        self.unsynced.clear();
        is_gone(self.files.remove(&self.dir.join(mark::NAME)))?;
        while let Some(oldest) = self.segments.front() {
            is_gone(self.files.remove(&segment::path(&self.dir, oldest.number)))?;
            self.segments.pop_front();
        }
        Ok(())
    }
}

mod frozen;
#[cfg(test)]
mod tests;

pub(crate) use frozen::Frozen;
