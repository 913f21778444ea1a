//! The thread for slow operations: it syncs files, reads old segments and removes them.
//!
//! Owns nothing but its queue: the writer says what to do, and gets the result. So a publish never
//! waits for a sync, unless `--data-sync always` says so.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::files::Files;
use super::segment::{self, Segment};

/// A task.
pub(super) enum Task {
    /// Sync files, and see whether the newest segment is still at its path.
    Sync {
        files: Vec<Arc<File>>,
        newest: Option<(Arc<File>, PathBuf)>,
    },
    /// Read records of a segment from a place on.
    Read { segment: Segment, at: u64 },
    /// Sync files, then remove a segment whose records are in them.
    Remove { number: u64, files: Vec<Arc<File>> },
}

/// The result of a task.
pub(super) enum Done {
    /// The files, where they could not be synced.
    Synced(Result<(), (io::Error, Vec<Arc<File>>)>),
    /// Whole records; none at the end of the segment.
    Read(io::Result<Vec<u8>>),
    /// The segment was removed; or the files, where they could not be synced.
    Removed(u64, Result<(), (io::Error, Vec<Arc<File>>)>),
    /// The thread has panicked, and does nothing more.
    Lost,
}

/// The thread.
pub(super) struct Keeper {
    pub(super) files: Arc<dyn Files>,
    pub(super) dir: PathBuf,
}

impl Keeper {
    /// Runs tasks until their queue is closed, or until it panics. `job` makes a job for the writer
    /// of each result.
    pub(super) fn run<J>(self, tasks: &Receiver<Task>, jobs: &Sender<J>, job: impl Fn(Done) -> J) {
        for task in tasks {
            // What a task leaves half done is what a crash would leave. The hook has said why.
            let done = catch_unwind(AssertUnwindSafe(|| self.carry_out(task)));
            let is_lost = done.is_err();
            let is_told = jobs.send(job(done.unwrap_or(Done::Lost))).is_ok();
            if is_lost || !is_told {
                return;
            }
        }
    }

    fn carry_out(&self, task: Task) -> Done {
        match task {
            Task::Sync { files, newest } => {
                let synced = self.sync(&files).and_then(|()| match &newest {
                    Some((file, path)) => self.is_there(file, path),
                    None => Ok(()),
                });
                Done::Synced(synced.map_err(|error| (error, files)))
            }
            Task::Read { segment, at } => {
                let path = segment::path(&self.dir, segment.number);
                let file = self.files.open(&path);
                let read = |file| segment::chunk(&*self.files, &file, at, segment.bytes);
                Done::Read(file.and_then(read))
            }
            Task::Remove { number, files } => {
                let path = segment::path(&self.dir, number);
                let removed = self.sync(&files).and_then(|()| self.remove(&path));
                Done::Removed(number, removed.map_err(|error| (error, files)))
            }
        }
    }

    /// Syncs files, and with them the names of those that are new.
    fn sync(&self, files: &[Arc<File>]) -> io::Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        for file in files {
            self.files.sync(file)?;
        }
        self.files.sync_dir(&self.dir)
    }

    /// Removes a file. It is no error if it is gone already.
    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.files.remove(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn is_there(&self, file: &File, path: &Path) -> io::Result<()> {
        match self.files.is_at(file, path)? {
            true => Ok(()),
            false => Err(io::Error::other("a file was replaced")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::faulty::{Fault, Faulty, TempDir};
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn segment_that_is_gone_counts_as_removed() {
        let dir = TempDir::new();
        std::fs::create_dir(&dir.0).unwrap();
        let files = Faulty::new();
        let keeper = Keeper {
            files: files.clone(),
            dir: dir.0.clone(),
        };
        let remove = || {
            keeper.carry_out(Task::Remove {
                number: 3,
                files: Vec::new(),
            })
        };
        assert!(matches!(remove(), Done::Removed(3, Ok(()))));
        files.fail_one(0, Fault::Errno(Errno::IO));
        assert!(matches!(remove(), Done::Removed(3, Err(_))));
    }
}
