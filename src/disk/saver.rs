//! The reactor's side: it hands over what was published, and takes reports.
//!
//! Owns the rule that one hand-over is under way at a time, and the end of the threads.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use super::files::Files;
use super::keeper::{Keeper, Task};
use super::plan::{HistoryBytes, Plan};
use super::report::{Event, Health, Report, Usage};
use super::store::Store;
use super::writer::{Batch, Frozen, Job, Writer};
use encke_core::config::DataFull;
use encke_core::message::Seq;

/// Jobs that can be under way: a hand-over, the results of a sync and of another task, the end.
const JOBS: usize = 8;

/// Tasks that can be under way: a sync and another.
const TASKS: usize = 4;

/// Reports that can wait: of a hand-over, of records to judge, and news.
const REPORTS: usize = 16;

/// How long the end may take. A disk that takes longer hangs: then the process ends as in a crash,
/// which loses no acknowledged message.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Saves history, by threads of its own.
pub(crate) struct Saver {
    jobs: Sender<Job>,
    reports: Receiver<Report>,
    writer: Arc<Mutex<Writer>>,
    thread: Option<JoinHandle<()>>,
    /// Nothing comes here: it is closed when the thread has ended.
    ended: Receiver<Infallible>,
    /// Whether a hand-over is under way.
    is_busy: bool,
    /// Whether the panic of the thread was reported.
    is_lost: bool,
    /// Chunks that were judged, and those of which the writer knows.
    judged: u64,
    judged_before: u64,
    carried_bytes: u64,
    is_doubtful: bool,
    usage: Usage,
}

impl Saver {
    /// Starts the threads. `wake` wakes the reactor when there is a report.
    pub(super) fn start(
        files: Arc<dyn Files>,
        mut store: Store,
        full: DataFull,
        max_history_bytes: u64,
        wake: Box<dyn Fn() + Send>,
    ) -> io::Result<Saver> {
        let begun = store.begin();
        if let Err(error) = &begun {
            let dir = store.dir().display();
            log::error!("cannot write to {dir}: {error}; publishing is refused until that works");
        }
        let is_begun = begun.is_ok();
        let usage = Usage {
            health: match is_begun {
                true => Health::Works,
                false => Health::Fails,
            },
            bytes: store.bytes(),
            segments: store.segment_count(),
            errors: u64::from(!is_begun),
        };
        let plan = Plan::new(max_history_bytes, store.segment_bytes());
        Saver::start_threads(files, store.dir().clone(), usage, |queues| {
            Writer::new(store, full, plan, is_begun, queues, wake)
        })
    }

    /// Starts the threads where another process has left. They rest, so that nothing changes as
    /// long as that may come back.
    pub(super) fn go_on(
        files: Arc<dyn Files>,
        store: Store,
        frozen: &Frozen,
        full: DataFull,
        max_history_bytes: u64,
        wake: Box<dyn Fn() + Send>,
    ) -> io::Result<Saver> {
        let usage = frozen.usage(&store);
        let plan = Plan::new(max_history_bytes, store.segment_bytes());
        Saver::start_threads(files, store.dir().clone(), usage, |queues| {
            let mut writer = Writer::new(store, full, plan, true, queues, wake);
            writer.go_on_as(frozen);
            writer
        })
    }

    fn start_threads(
        files: Arc<dyn Files>,
        dir: PathBuf,
        usage: Usage,
        writer: impl FnOnce((Sender<Task>, Sender<Report>)) -> Writer,
    ) -> io::Result<Saver> {
        let (jobs, for_writer) = bounded(JOBS);
        let (tasks, for_keeper) = bounded::<Task>(TASKS);
        let (to_reactor, reports) = bounded(REPORTS);
        let keeper = Keeper { files, dir };
        let results = jobs.clone();
        let keeper = thread::Builder::new()
            .name("disk-keeper".into())
            .spawn(move || keeper.run(&for_keeper, &results, Job::Done))?;
        let writer = Arc::new(Mutex::new(writer((tasks, to_reactor))));
        let driven = Arc::clone(&writer);
        let (is_running, ended) = bounded(0);
        let running = Running {
            writer: Arc::clone(&writer),
            is_running: Some(is_running),
        };
        let thread = thread::Builder::new()
            .name("disk-writer".into())
            .spawn(move || {
                let _running = running;
                Writer::run(&driven, &for_writer);
                // The keeper's results are not taken any more, and must not block it.
                drop(for_writer);
                let _ = keeper.join();
            })?;
        Ok(Saver {
            jobs,
            reports,
            writer,
            thread: Some(thread),
            ended,
            is_busy: false,
            is_lost: false,
            judged: 0,
            judged_before: 0,
            carried_bytes: 0,
            is_doubtful: false,
            usage,
        })
    }

    /// The next report, if there is one.
    pub(crate) fn next_report(&mut self) -> Option<Report> {
        let report = self.reports.try_recv().ok().or_else(|| self.loss())?;
        self.usage = report.usage;
        self.is_busy &= !matches!(report.event, Event::Saved(_));
        Some(report)
    }

    /// A report, once, when the thread has ended by itself: nothing is saved any more.
    fn loss(&mut self) -> Option<Report> {
        if self.is_lost || self.ended.try_recv() != Err(TryRecvError::Disconnected) {
            return None;
        }
        self.is_lost = true;
        log::error!(
            "the thread that saves history has panicked: publishing is refused until encke is restarted"
        );
        let usage = Usage {
            health: Health::Fails,
            errors: self.usage.errors + 1,
            ..self.usage
        };
        let event = Event::Usage;
        Some(Report { event, usage })
    }

    /// The state of the directory, as of the last report.
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// Whether it takes a hand-over.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_busy
    }

    /// Whether the writer waits to hear that a chunk of old records was judged.
    pub(crate) fn has_judged(&self) -> bool {
        self.judged != self.judged_before
    }

    /// Notes that a chunk of old records was judged, and that so many of its bytes will be handed
    /// over again. `None`: it cannot be judged, so its records are lost.
    pub(crate) fn judged(&mut self, bytes: Option<u64>) {
        self.judged += 1;
        self.carried_bytes += bytes.unwrap_or(0);
        self.is_doubtful |= bytes.is_none();
    }

    /// Hands over records. `newest` is the newest number that was given, `history` how much
    /// there is in memory. Call it if [`Saver::is_idle`]. Returns whether they are written already,
    /// so that there is a report.
    pub(crate) fn hand_over(
        &mut self,
        records: Vec<u8>,
        newest: Seq,
        history: HistoryBytes,
    ) -> bool {
        debug_assert!(self.is_idle(), "one hand-over at a time");
        self.judged_before = self.judged;
        let batch = Batch {
            records,
            newest,
            judged: self.judged,
            carried_bytes: mem::take(&mut self.carried_bytes),
            is_doubtful: mem::take(&mut self.is_doubtful),
            history,
        };
        self.is_busy = true;
        let written = match self.writer.try_lock() {
            Ok(mut writer) => writer.write_directly(batch),
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => Err(batch),
        };
        let is_written = written.is_ok();
        let job = match written {
            Ok(false) => return true,
            Ok(true) => Job::Look,
            Err(batch) => Job::Write(batch),
        };
        // If there is no thread to take it, there is a report that says so.
        let is_lost = self.jobs.send(job).is_err();
        is_written || is_lost
    }

    /// Lets nothing begin any more, so that another process can take over, or lets it go on. There
    /// is a report when nothing is under way.
    pub(crate) fn rest(&self, is_wanted: bool) {
        // Where the thread has panicked, there is never such a report.
        let _ = self.jobs.send(Job::Rest(is_wanted));
    }

    #[cfg(test)]
    pub(super) fn is_syncing(&self) -> bool {
        let writer = self.writer.lock();
        writer.unwrap_or_else(PoisonError::into_inner).is_syncing()
    }

    /// Whether nothing is under way, as it was asked to rest.
    pub(crate) fn is_at_rest(&self) -> bool {
        let writer = || self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        !self.is_busy && writer().is_at_rest()
    }

    /// The state for a process that takes over, and the file that holds the lock of the directory.
    ///
    /// # Errors
    ///
    /// It is not at rest.
    pub(crate) fn freeze(&self) -> io::Result<(Frozen, File)> {
        let writer = self.writer.lock();
        writer.unwrap_or_else(PoisonError::into_inner).freeze()
    }

    /// Saves the last records, ends the directory cleanly, and waits for the threads, unless the
    /// disk hangs. `newest` is the newest number that was given.
    pub(crate) fn finish(mut self, records: Vec<u8>, newest: Seq) {
        let last = Batch {
            records,
            newest,
            ..Batch::default()
        };
        self.end(Some(last));
    }

    fn end(&mut self, last: Option<Batch>) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let until = Instant::now() + END_TIMEOUT;
        // If the thread has panicked, the job is not received.
        let _ = self.jobs.send_deadline(Job::End(last), until);
        match self.ended.recv_deadline(until) {
            // One that panicked has said so.
            Err(RecvTimeoutError::Disconnected) => drop(thread.join()),
            Err(RecvTimeoutError::Timeout) => log::error!(
                "saved history does not end cleanly: the disk has not answered for {} s; the next start \
                 is one after a crash",
                END_TIMEOUT.as_secs()
            ),
            Ok(never) => match never {},
        }
    }
}

/// Says when the thread has ended, and wakes the reactor if it has panicked.
struct Running {
    writer: Arc<Mutex<Writer>>,
    is_running: Option<Sender<Infallible>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.is_running = None;
        if thread::panicking() {
            let writer = self.writer.lock();
            writer.unwrap_or_else(PoisonError::into_inner).wake();
        }
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.end(None);
    }
}
