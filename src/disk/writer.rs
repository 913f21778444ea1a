//! Changes of the directory: writes, retries, syncs and removals.
//!
//! Owns the order of these, in a state machine behind a lock. A thread drives it. The reactor
//! writes by itself where that takes a few microseconds: a small write to the page cache, while
//! nothing else is under way. To hand such a write to another thread and to wait for it takes
//! several times as long. Each hand-over is answered by a report, and there is one when writing
//! begins to fail and works again.
//!
//! Invariants:
//! - *The reactor waits for no sync.* It writes only if there is none under way that may make a
//!   write wait, and never with `--data-sync always`. A write of its own may still wait, where the
//!   system has no room in its page cache or the disk hangs: that is the price of its speed. After
//!   one that took long it leaves the next ones to the thread.
//! - *What was handed over is kept until it is written.* A write that fails is repeated, unless
//!   `--data-full` is `forget` or the process ends.
//! - *A segment goes after its records were judged*: they were read, handed to the reactor, and
//!   those that still hold are saved again, synced if `--data-sync` syncs.

use std::fs::File;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use super::keeper::{Done, Task};
use super::plan::{HistoryBytes, Plan};
use super::report::{Event, Health, Report, Usage};
use super::segment::{Segment, TITLE};
use super::store::Store;
use encke_core::config::{DataFull, DataSync};
use encke_core::message::Seq;

/// The first and the longest time after which a write that failed is tried again.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);

/// How often there is a sync, and a look whether the directory is still there, while something is
/// written.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How long the mark may be behind. It is written once for many writes, as each is a system call.
const MARK_INTERVAL: Duration = Duration::from_millis(20);

/// The largest write of the reactor.
const MAX_DIRECT_BYTES: usize = 256 << 10;

/// A write of the reactor that takes longer is the last one for a while: for so many times as long.
/// So on a disk that is slow it waits for no more than a small part of its time. One that hangs can
/// stop it once, for as long as it hangs.
const SLOW_WRITE: Duration = Duration::from_millis(1);
const PAUSE_FACTOR: u32 = 20;

/// A task of the writer.
pub(super) enum Job {
    /// Save what was published.
    Write(Batch),
    /// The result of a task of the keeper.
    Done(Done),
    /// There is a new time at which something is due.
    Look,
    /// Begin nothing any more, or go on.
    Rest(bool),
    /// End: cleanly, once the last records are written; or, without them, at once.
    End(Option<Batch>),
}

/// The records and tasks that the reactor hands over at a time.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<u8>,
    /// The newest number that was given when it was handed over.
    pub(super) newest: Seq,
    /// How many chunks of old records were judged by then, and the bytes of `records` that are
    /// theirs.
    pub(super) judged: u64,
    pub(super) carried_bytes: u64,
    /// Whether a chunk could not be judged.
    pub(super) is_doubtful: bool,
    pub(super) history: HistoryBytes,
}

/// The operations that fail at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Faults {
    write: bool,
    sync: bool,
}

/// An old segment that is about to be removed.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    segment: Segment,
    /// The place up to which it was read.
    at: u64,
    /// Whether the reactor has records of it to judge.
    is_with_reactor: bool,
    /// Whether something of it holds and is saved again.
    is_carried: bool,
}

/// Whether it rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It does not.
    No,
    /// It begins nothing any more.
    Wanted,
    /// Nothing is under way. It was reported.
    Here,
}

/// The state machine.
pub(super) struct Writer {
    store: Store,
    full: DataFull,
    plan: Plan,
    /// `None`: it has ended.
    tasks: Option<Sender<Task>>,
    reports: Sender<Report>,
    /// Whether the reactor drives it now, and needs not be woken.
    is_direct: bool,
    /// Before then the reactor does not write.
    direct_from: Option<Instant>,
    mark_at: Option<Instant>,
    wake: Box<dyn Fn() + Send>,
    /// The batch that is handed over and not written.
    pending: Option<Batch>,
    faults: Faults,
    is_forgotten: bool,
    /// Whether the directory could not be emptied when it was forgotten.
    is_stale: bool,
    errors: u64,
    retry_at: Option<Instant>,
    retry_after: Duration,
    sync_at: Option<Instant>,
    last_sync: Option<Instant>,
    /// Whether the keeper syncs, for whatever reason.
    is_syncing: bool,
    /// Whether the keeper was asked to sync, rather than syncing as a part of another task.
    sync_is_sent: bool,
    leaving: Option<Leaving>,
    /// Chunks that were given to the reactor to judge.
    given: u64,
    rest: Rest,
}

impl Writer {
    /// `is_begun` says whether the head could be written. `wake` wakes the reactor.
    pub(super) fn new(
        store: Store,
        full: DataFull,
        plan: Plan,
        is_begun: bool,
        (tasks, reports): (Sender<Task>, Sender<Report>),
        wake: Box<dyn Fn() + Send>,
    ) -> Writer {
        Writer {
            store,
            full,
            plan,
            tasks: Some(tasks),
            reports,
            is_direct: false,
            direct_from: None,
            mark_at: None,
            wake,
            pending: None,
            faults: Faults {
                write: !is_begun,
                sync: false,
            },
            is_forgotten: false,
            is_stale: false,
            errors: u64::from(!is_begun),
            retry_at: (!is_begun).then(|| Instant::now() + FIRST_RETRY),
            retry_after: FIRST_RETRY,
            sync_at: None,
            last_sync: None,
            is_syncing: false,
            sync_is_sent: false,
            leaving: None,
            given: 0,
            rest: Rest::No,
        }
    }

    /// Runs the writer on the present thread, until the end.
    pub(super) fn run(writer: &Mutex<Writer>, jobs: &Receiver<Job>) {
        // A thread that panicked has said so; what it left is no worse than after a crash.
        let lock = || writer.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let due = lock().next_due();
            let job = match due {
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => jobs.recv_deadline(due),
            };
            let mut writer = lock();
            match job {
                Ok(Job::Write(batch)) => writer.take(batch),
                Ok(Job::Done(done)) => writer.done(done),
                Ok(Job::Look) => {}
                Ok(Job::Rest(is_wanted)) => writer.set_rest(is_wanted),
                Ok(Job::End(last)) => {
                    writer.end(last);
                    writer.tasks = None;
                    return;
                }
                Err(RecvTimeoutError::Timeout) => writer.due(Instant::now()),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            writer.come_to_rest();
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let due = [self.retry_at, self.sync_at, self.mark_at];
        due.into_iter().flatten().min()
    }

    /// Writes on the thread of the reactor, if that takes a few microseconds; the report is there
    /// then. Returns whether something is due that the thread does not know of.
    ///
    /// # Errors
    ///
    /// The batch is handed back, for the thread.
    pub(super) fn write_directly(&mut self, batch: Batch) -> Result<bool, Batch> {
        if !self.can_write_directly(batch.records.len()) {
            return Err(batch);
        }
        let before = self.next_due();
        self.is_direct = true;
        let started = Instant::now();
        self.take(batch);
        self.is_direct = false;
        let took = started.elapsed();
        if took > SLOW_WRITE {
            self.direct_from = Some(Instant::now() + took * PAUSE_FACTOR);
        }
        let next = self.next_due();
        if self.rest != Rest::No {
            return Ok(true);
        }
        Ok(next.is_some_and(|next| before.is_none_or(|before| next < before)))
    }

    fn can_write_directly(&mut self, bytes: usize) -> bool {
        if self.direct_from.is_some_and(|from| from > Instant::now()) {
            return false;
        }
        self.direct_from = None;
        let is_full = self.plan.is_full(self.store.bytes() + bytes as u64);
        let may_wait = self.is_syncing || is_full && self.leaving.is_some();
        let is_fine =
            self.faults == Faults::default() && !self.is_forgotten && self.tasks.is_some();
        is_fine
            && !may_wait
            && bytes <= MAX_DIRECT_BYTES
            && self.store.sync_mode() != DataSync::Always
            && self.store.has_room(bytes as u64)
    }

    fn take(&mut self, batch: Batch) {
        debug_assert!(self.pending.is_none(), "one hand-over at a time");
        self.end_rest();
        if batch.is_doubtful {
            self.doubt();
        }
        self.plan.follow(batch.history);
        self.pending = Some(batch);
        self.write_pending();
    }

    /// Records that messages may be missing without a trace: the next start tells every reader of a
    /// gap.
    fn doubt(&mut self) {
        self.store.doubt();
        // If it fails, the next write tries again.
        let _ = self.store.begin();
    }

    /// Writes what is pending, unless it has to wait: for the time of the next attempt while
    /// writing fails, or for a segment that is about to go where there would be too many bytes.
    fn write_pending(&mut self) {
        let Some(batch) = &self.pending else {
            return;
        };
        let is_going = self.leaving.is_some_and(|leaving| !leaving.is_with_reactor);
        let bytes = self.store.bytes() + batch.records.len() as u64;
        if !(self.faults.write || is_going && self.plan.is_full(bytes)) {
            self.write();
        }
    }

    fn due(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            match self.is_forgotten {
                true => self.clear(),
                false => self.write(),
            }
        }
        if self.mark_at.is_some_and(|at| at <= now) {
            self.mark_at = None;
            if let Err(error) = self.store.mark() {
                self.failed("write to", &error, |faults| faults.write = true);
            }
        }
        if self.sync_at.is_some_and(|at| at <= now) {
            self.sync_at = None;
            self.sync(now);
        }
    }

    /// Writes what is pending, or the head if even that is not written yet.
    fn write(&mut self) {
        let started = Instant::now();
        let written = match &self.pending {
            Some(batch) if self.is_forgotten || batch.records.is_empty() => Ok(()),
            Some(batch) => self.store.write(&batch.records, batch.newest),
            None => self.store.begin(),
        };
        if let Err(error) = written {
            return self.failed("write to", &error, |faults| faults.write = true);
        }
        self.retry_after = FIRST_RETRY;
        self.works(|faults| faults.write = false);
        if let Some(batch) = self.pending.take() {
            let bytes = batch.records.len() as u64;
            self.report(Event::Saved(started.elapsed()));
            let new_bytes = bytes.saturating_sub(batch.carried_bytes);
            self.plan.saved(new_bytes);
            let is_back =
                |leaving: &&mut Leaving| leaving.is_with_reactor && batch.judged == self.given;
            if let Some(leaving) = self.leaving.as_mut().filter(is_back) {
                leaving.is_with_reactor = false;
                leaving.is_carried |= batch.carried_bytes > 0;
                match leaving.at < leaving.segment.bytes {
                    true => self.read_on(),
                    false => self.remove(),
                }
            }
            self.sync_later(started);
            if self.mark_at.is_none() && self.store.has_unmarked() {
                self.mark_at = Some(started + MARK_INTERVAL);
            }
        }
        self.let_go();
    }

    /// Plans the next sync, if there is something to sync or to look at.
    fn sync_later(&mut self, now: Instant) {
        if self.sync_at.is_none() && !self.sync_is_sent && !self.is_forgotten {
            let next = self.last_sync.map_or(now, |last| last) + SYNC_INTERVAL;
            self.sync_at = Some(next.max(now));
        }
    }

    fn sync(&mut self, now: Instant) {
        if self.is_forgotten || self.sync_is_sent || self.rest != Rest::No {
            return;
        }
        self.last_sync = Some(now);
        let task = Task::Sync {
            files: self.take_unsynced(),
            newest: self.store.current(),
        };
        self.is_syncing = self.send(task);
        self.sync_is_sent = self.is_syncing;
    }

    /// The files that the keeper is to sync.
    fn take_unsynced(&mut self) -> Vec<Arc<File>> {
        match self.store.sync_mode() {
            DataSync::Second => self.store.take_unsynced(),
            DataSync::Always | DataSync::Never => Vec::new(),
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Synced(result) => {
                (self.is_syncing, self.sync_is_sent) = (false, false);
                self.synced(result);
                if self.faults.sync || self.store.has_unsynced() {
                    self.sync_later(Instant::now());
                }
            }
            Done::Read(result) => self.read(result),
            Done::Removed(number, result) => {
                self.is_syncing = self.sync_is_sent;
                if result.is_ok() {
                    self.store.removed(number);
                    self.report(Event::Usage);
                }
                self.leaving = None;
                self.synced(result);
                self.let_go();
            }
            // Nothing is synced or removed any more, so this thread ends in the same way, which
            // refuses publishes.
            Done::Lost => panic!("the thread that syncs saved history has panicked"),
        }
        self.write_pending();
    }

    /// Takes the result of a sync.
    fn synced(&mut self, result: Result<(), (io::Error, Vec<Arc<File>>)>) {
        match result {
            Ok(()) => self.works(|faults| faults.sync = false),
            Err((error, files)) => {
                // The system may have dropped what it could not write: a later sync that succeeds
                // does not show that.
                if !files.is_empty() {
                    self.doubt();
                    self.store.give_back_unsynced(files);
                }
                self.failed("sync", &error, |faults| faults.sync = true);
                self.sync_later(Instant::now());
            }
        }
    }

    /// Begins with the oldest segment, if the plan says so.
    fn let_go(&mut self) {
        let is_busy = self.leaving.is_some() || self.rest != Rest::No;
        if is_busy || self.faults != Faults::default() || self.is_forgotten {
            return;
        }
        let Some(segment) = self.store.oldest_closed() else {
            return;
        };
        if self.plan.lets_go(segment.bytes, self.store.bytes()) {
            let at = TITLE.len() as u64;
            self.leaving = Some(Leaving {
                segment,
                at,
                is_with_reactor: false,
                is_carried: false,
            });
            self.read_on();
        }
    }

    /// Reads the next records of the segment that is about to be removed.
    fn read_on(&mut self) {
        if let Some(Leaving { segment, at, .. }) = self.leaving {
            self.send(Task::Read { segment, at });
        }
    }

    fn read(&mut self, result: io::Result<Vec<u8>>) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let number = leaving.segment.number;
        match result {
            Ok(records) if !records.is_empty() => {
                leaving.at += records.len() as u64;
                leaving.is_with_reactor = true;
                self.given += 1;
                self.report(Event::Judge(records));
            }
            // A segment without a record.
            Ok(_) => self.remove(),
            Err(error) => {
                self.doubt();
                let what = format!("read all of segment {number} of");
                self.failed(&what, &error, |_| {});
                self.remove();
            }
        }
    }

    /// Lets the keeper remove the segment that is about to be removed.
    fn remove(&mut self) {
        let Some(leaving) = self.leaving else {
            return;
        };
        let files = match leaving.is_carried {
            true => self.take_unsynced(),
            false => Vec::new(),
        };
        self.is_syncing |= !files.is_empty();
        let number = leaving.segment.number;
        self.send(Task::Remove { number, files });
    }

    /// Gives the keeper a task. Returns whether the keeper runs.
    fn send(&self, task: Task) -> bool {
        let tasks = self.tasks.as_ref();
        tasks.is_some_and(|tasks| tasks.send(task).is_ok())
    }

    /// Counts a failure, says so if it is the first, and forgets the directory if that is wanted.
    fn failed(&mut self, what: &str, error: &io::Error, note: impl FnOnce(&mut Faults)) {
        self.errors += 1;
        let before = self.faults;
        note(&mut self.faults);
        let dir = self.store.dir().display();
        let is_new = before == Faults::default();
        if self.faults.write {
            self.retry_at = Some(Instant::now() + self.retry_after);
            self.retry_after = (self.retry_after * 2).min(LAST_RETRY);
        }
        if self.faults == Faults::default() {
            log::error!("cannot {what} {dir}: {error}");
        } else if self.full == DataFull::Forget {
            log::error!(
                "cannot {what} {dir}: {error}; history is in memory only from now on, and the next start \
                 begins without it (--data-full forget)"
            );
            return self.forget();
        } else if is_new {
            log::error!(
                "cannot {what} {dir}: {error}; publishing is refused until that works again (--data-full \
                 refuse)"
            );
        }
        self.report(Event::Usage);
    }

    /// Notes that something works, and says so if nothing fails any more.
    fn works(&mut self, note: impl FnOnce(&mut Faults)) {
        let before = self.faults;
        note(&mut self.faults);
        if before != self.faults && self.faults == Faults::default() {
            let dir = self.store.dir().display();
            log::info!("{dir} can be written again");
            self.report(Event::Usage);
        }
    }

    /// Stops using the directory, and empties it, so that the next start does not read old history.
    fn forget(&mut self) {
        self.is_forgotten = true;
        self.faults = Faults::default();
        self.leaving = None;
        self.sync_at = None;
        self.mark_at = None;
        // What is pending counts as saved: it is in memory, like all that follows.
        if self.pending.is_some() {
            self.write();
        }
        self.report(Event::Usage);
        self.clear();
    }

    fn clear(&mut self) {
        let bytes = self.store.bytes();
        if let Err(error) = self.store.clear() {
            self.errors += 1;
            let dir = self.store.dir().display();
            if !mem::replace(&mut self.is_stale, true) {
                log::error!(
                    "cannot empty {dir}: {error}; unless the log says that it is empty, remove {dir} before \
                     the next start, which reads old history otherwise"
                );
            }
            self.retry_at = Some(Instant::now() + LAST_RETRY);
        } else if mem::take(&mut self.is_stale) {
            log::info!("{} is empty", self.store.dir().display());
        }
        if bytes != self.store.bytes() {
            self.report(Event::Usage);
        }
    }

    fn end(&mut self, last: Option<Batch>) {
        let Some(last) = last else {
            return;
        };
        if self.is_forgotten {
            return self.clear();
        }
        let dir = self.store.dir().display().to_string();
        let newest = last.newest;
        for batch in self.pending.take().into_iter().chain([last]) {
            if !batch.records.is_empty()
                && let Err(error) = self.store.write(&batch.records, batch.newest)
            {
                return log::error!(
                    "cannot write to {dir}: {error}; the last messages are not saved"
                );
            }
        }
        match self.store.end(newest) {
            Ok(()) => log::info!("history is saved in {dir}"),
            Err(error) => log::error!("cannot end {dir} cleanly: {error}"),
        }
    }

    fn report(&self, event: Event) {
        let health = match (self.is_forgotten, self.faults == Faults::default()) {
            (true, _) => Health::Forgotten,
            (false, true) => Health::Works,
            (false, false) => Health::Fails,
        };
        let usage = Usage {
            health,
            bytes: self.store.bytes(),
            segments: self.store.segment_count(),
            errors: self.errors,
        };
        let is_needed = !matches!(event, Event::Usage);
        let report = Report { event, usage };
        // Of reports of usage only the last matters, and there is always a next one: at the latest
        // with the next hand-over.
        match is_needed {
            true => drop(self.reports.send(report)),
            false => drop(self.reports.try_send(report)),
        }
        if !self.is_direct {
            self.wake();
        }
    }

    /// Wakes the reactor.
    pub(super) fn wake(&self) {
        (self.wake)();
    }
}

mod rest;
#[cfg(test)]
mod tests;

pub(crate) use rest::Frozen;
