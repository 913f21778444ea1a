//! The threads, with a disk that fails and heals.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;

use rustix::io::Errno;

use super::super::faulty::*;
use super::super::saver::Saver;
use super::*;
use encke_core::log::LogEnding;
use encke_core::message::Seq;

/// How long a report may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A saver, and the reactor beside it.
struct World {
    saver: Saver,
    woken: mpsc::Receiver<()>,
    files: Arc<Faulty>,
    dir: TempDir,
}

impl World {
    fn new(sync: DataSync, full: DataFull) -> World {
        World::on(TempDir::new(), Faulty::new(), sync, full)
    }

    fn on(dir: TempDir, files: Arc<Faulty>, sync: DataSync, full: DataFull) -> World {
        let (opened, _) = open_on(files.clone(), &dir.0, &config(sync), BOOT);
        World::with(opened.store, dir, files, full, 1)
    }

    fn with(
        store: Store,
        dir: TempDir,
        files: Arc<Faulty>,
        full: DataFull,
        max_history_bytes: u64,
    ) -> World {
        let (wake, woken) = mpsc::channel();
        let wake = Box::new(move || {
            // The test may be over.
            let _ = wake.send(());
        });
        let saver = Saver::start(files.clone(), store, full, max_history_bytes, wake).unwrap();
        World {
            saver,
            woken,
            files,
            dir,
        }
    }

    /// Waits for a report of this kind.
    fn wait<T>(&mut self, what: &str, is: impl Fn(&Report) -> Option<T>) -> T {
        loop {
            let report = self.next(what);
            if let Some(found) = is(&report) {
                return found;
            }
        }
    }

    /// Waits for the next report.
    fn next(&mut self, what: &str) -> Report {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(report) = self.saver.next_report() {
                return report;
            }
            let left = until.saturating_duration_since(Instant::now());
            let waited = self.woken.recv_timeout(left);
            waited.unwrap_or_else(|error| panic!("no {what}: {error}"));
        }
    }

    /// Waits until the records that were handed over are saved.
    fn wait_saved(&mut self) {
        self.wait("answer", |report| match report.event {
            Event::Saved(_) => Some(()),
            _ => None,
        });
    }

    fn wait_health(&mut self, health: Health) {
        if self.saver.usage().health != health {
            self.wait(&format!("{health:?}"), |report| {
                (report.usage.health == health).then_some(())
            });
        }
    }

    fn hand_over(&mut self, first: u64, count: u64) {
        let records = records(&entries(first..first + count, 100));
        self.saver.hand_over(
            records,
            Seq(first + count - 1),
            HistoryBytes { used: 0, max: 1 },
        );
    }

    /// Waits until everything is at rest. Returns the reports until then.
    fn rest(&mut self) -> Vec<Report> {
        self.saver.rest(true);
        let mut reports = Vec::new();
        while !self.saver.is_at_rest() {
            reports.push(self.next("rest"));
        }
        reports
    }

    /// Another process goes on, after a rest; this one ends without a word.
    fn become_other(self, sync: DataSync, full: DataFull, max_history_bytes: u64) -> World {
        let World {
            mut saver,
            files,
            dir,
            ..
        } = self;
        let (frozen, lock) = saver.freeze().unwrap();
        // News that was not looked at yet.
        while let Some(report) = saver.next_report() {
            assert!(matches!(report.event, Event::Usage | Event::AtRest));
        }
        let before = content(&dir);
        let store = Store::thaw(
            files.clone(),
            frozen.store(),
            lock,
            &dir.0,
            sync,
            max_history_bytes,
            frozen.is_used(),
        );
        let (wake, woken) = mpsc::channel();
        let wake = Box::new(move || {
            let _ = wake.send(());
        });
        let store = store.unwrap();
        let max = max_history_bytes;
        let other = Saver::go_on(files.clone(), store, &frozen, full, max, wake).unwrap();
        assert_eq!(other.usage(), saver.usage());
        assert!(other.is_at_rest());
        assert!(content(&dir) == before, "nothing is written");
        drop(saver);
        other.rest(false);
        World {
            saver: other,
            woken,
            files,
            dir,
        }
    }

    /// Ends without a word, as by SIGKILL, and reads what is there.
    fn crash(self) -> (LogEnding, Vec<Vec<u8>>) {
        drop(self.saver);
        let (opened, read) = open(&self.dir, DataSync::Second);
        (opened.ending, read)
    }

    fn finish(self, newest: u64) -> (LogEnding, Vec<Vec<u8>>) {
        self.saver.finish(Vec::new(), Seq(newest));
        let (opened, read) = open(&self.dir, DataSync::Second);
        (opened.ending, read)
    }
}

#[test]
fn acknowledged_messages_survive_a_crash() {
    for sync in DataSync::ALL {
        let mut world = World::new(sync, DataFull::Refuse);
        for round in 0..20 {
            world.hand_over(round * 5, 5);
            world.wait_saved();
            assert!(world.saver.is_idle());
        }
        assert_eq!(world.crash(), (LogEnding::Crashed, entries(0..100, 100)));
    }
}

#[test]
fn end_saves_records_that_were_not_handed_over() {
    let mut world = World::new(DataSync::Second, DataFull::Refuse);
    world.hand_over(0, 5);
    let last = records(&entries(5..9, 100));
    world.saver.finish(last, Seq(30));
    let (opened, read) = open(&world.dir, DataSync::Second);
    assert_eq!(read, entries(0..9, 100));
    assert_eq!((opened.ending, opened.newest), (LogEnding::Clean, Seq(30)));
}

#[test]
fn failing_disk_is_told_and_retried_and_nothing_is_lost() {
    for errno in [Errno::NOSPC, Errno::IO, Errno::ROFS] {
        let mut world = World::new(DataSync::Second, DataFull::Refuse);
        world.hand_over(0, 5);
        world.wait_saved();
        world.files.fail_all(errno);
        world.hand_over(5, 5);
        world.wait_health(Health::Fails);
        assert!(!world.saver.is_idle());
        assert!(world.saver.usage().errors > 0);
        world.files.heal();
        world.wait_saved();
        world.wait_health(Health::Works);
        assert_eq!(world.finish(9), (LogEnding::Clean, entries(0..10, 100)));
    }
}

#[test]
fn start_on_a_full_disk_works_once_there_is_room() {
    let (dir, files) = (TempDir::new(), Faulty::new());
    let (opened, _) = open_on(files.clone(), &dir.0, &config(DataSync::Second), BOOT);
    files.fail_all(Errno::NOSPC);
    let mut world = World::with(opened.store, dir, files, DataFull::Refuse, 1);
    assert_eq!(world.saver.usage().health, Health::Fails);
    world.files.heal();
    world.wait_health(Health::Works);
    world.hand_over(0, 5);
    world.wait_saved();
    assert_eq!(world.finish(4), (LogEnding::Clean, entries(0..5, 100)));
}

#[test]
fn end_on_a_failing_disk_is_not_clean() {
    let mut world = World::new(DataSync::Second, DataFull::Refuse);
    world.hand_over(0, 5);
    world.wait_saved();
    world.files.fail_all(Errno::IO);
    world.hand_over(5, 5);
    world.wait_health(Health::Fails);
    assert_eq!(world.finish(9), (LogEnding::Crashed, entries(0..5, 100)));
}

#[test]
fn forgotten_directory_is_emptied_as_soon_as_that_works() {
    let mut world = World::new(DataSync::Second, DataFull::Forget);
    world.hand_over(0, 5);
    world.wait_saved();
    world.files.fail_all(Errno::IO);
    world.hand_over(5, 5);
    // It is in memory.
    world.wait_saved();
    world.wait_health(Health::Forgotten);
    world.hand_over(10, 5);
    world.wait_saved();
    world.files.heal();
    world.wait("empty directory", |report| {
        (report.usage.segments == 0).then_some(())
    });
    assert_eq!(world.finish(14), (LogEnding::Clean, Vec::new()));
}

#[test]
fn failed_sync_is_told_and_the_next_start_doubts() {
    let mut world = World::new(DataSync::Second, DataFull::Refuse);
    world.hand_over(0, 5);
    world.wait_saved();
    world.files.fail_syncs(Errno::IO);
    world.wait_health(Health::Fails);
    world.files.heal();
    world.wait_health(Health::Works);
    world.hand_over(5, 5);
    world.wait_saved();
    assert_eq!(world.finish(9), (tail_lost(), entries(0..10, 100)));
}

#[test]
fn removed_directory_is_noticed() {
    for sync in DataSync::ALL {
        let mut world = World::new(sync, DataFull::Refuse);
        world.hand_over(0, 5);
        world.wait_saved();
        let moved = TempDir::new();
        std::fs::rename(&world.dir.0, &moved.0).unwrap();
        world.hand_over(5, 5);
        world.wait_saved();
        world.wait_health(Health::Fails);
        std::fs::rename(&moved.0, &world.dir.0).unwrap();
        world.wait_health(Health::Works);
    }
}

#[test]
fn thread_that_panics_is_told_once() {
    let mut world = World::new(DataSync::Always, DataFull::Refuse);
    world.files.fail_one(0, Fault::Panic);
    world.hand_over(0, 5);
    world.wait_health(Health::Fails);
    assert!(world.saver.next_report().is_none());
    let (ending, read) = world.finish(4);
    assert_eq!((ending, read.len()), (LogEnding::Crashed, 0));
}

#[test]
fn keeper_that_panics_is_told_once() {
    let mut world = World::new(DataSync::Second, DataFull::Refuse);
    world.files.panic_at_syncs();
    world.hand_over(0, 5);
    world.wait_saved();
    world.wait_health(Health::Fails);
    assert!(world.saver.next_report().is_none());
    world.files.heal();
    let (ending, read) = world.finish(4);
    assert_eq!((ending, read), (LogEnding::Crashed, entries(0..5, 100)));
}

#[test]
fn end_does_not_wait_for_a_disk_that_hangs() {
    let mut world = World::new(DataSync::Second, DataFull::Refuse);
    world.hand_over(0, 5);
    world.wait_saved();
    let copy = {
        let release = world.files.hang_syncs();
        world.saver.finish(Vec::new(), Seq(4));
        let copy = world.dir.copy();
        // The thread goes on, in a directory that is about to be removed.
        drop(release);
        copy
    };
    let (opened, read) = open(&copy, DataSync::Second);
    assert_eq!((opened.ending, read.len()), (LogEnding::Crashed, 5));
}

/// The names of the files and what is in them.
fn content(dir: &TempDir) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(&dir.0).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn another_process_goes_on_where_one_was() {
    for sync in DataSync::ALL {
        for is_crash in [false, true] {
            let mut world = World::new(sync, DataFull::Refuse);
            for round in 0..40 {
                world.hand_over(round * 5, 5);
                world.wait_saved();
                if round % 3 == 0 {
                    world.rest();
                    world = world.become_other(sync, DataFull::Refuse, 1);
                }
            }
            let (ending, read) = match is_crash {
                true => world.crash(),
                false => world.finish(199),
            };
            let expected = match is_crash {
                true => LogEnding::Crashed,
                false => LogEnding::Clean,
            };
            assert_eq!((ending, read), (expected, entries(0..200, 100)), "{sync:?}");
        }
    }
}

/// A process that does not go on leaves everything as it is.
#[test]
fn rest_that_is_over_changes_nothing() {
    let mut world = World::new(DataSync::Second, DataFull::Refuse);
    for round in (0..39).filter(|round| round % 3 != 1) {
        world.hand_over(round * 5, 5);
        world.wait_saved();
        world.rest();
        assert!(world.saver.freeze().is_ok());
        if round % 3 == 0 {
            // What is handed over ends it, until that is written.
            world.hand_over(round * 5 + 5, 5);
            world.wait_saved();
            world.rest();
        }
        world.saver.rest(false);
    }
    assert_eq!(world.finish(194), (LogEnding::Clean, entries(0..195, 100)));
}

#[test]
fn rest_waits_for_a_sync_and_publishers_do_not() {
    let mut world = World::new(DataSync::Second, DataFull::Refuse);
    world.hand_over(0, 5);
    world.wait_saved();
    let release = world.files.hang_syncs();
    world.hand_over(5, 5);
    world.wait_saved();
    // The second sync is due a second after the first.
    while !world.saver.is_syncing() {
        std::thread::yield_now();
    }
    world.saver.rest(true);
    world.hand_over(10, 5);
    world.wait_saved();
    assert!(!world.saver.is_at_rest() && world.saver.freeze().is_err());
    drop(release);
    world.rest();
    let world = world.become_other(DataSync::Second, DataFull::Refuse, 1);
    assert_eq!(world.finish(14), (LogEnding::Clean, entries(0..15, 100)));
}

#[test]
fn other_sync_is_noted_before_the_next_write() {
    let mut world = World::new(DataSync::Second, DataFull::Refuse);
    world.hand_over(0, 5);
    world.wait_saved();
    world.rest();
    let mut world = world.become_other(DataSync::Always, DataFull::Refuse, 1);
    assert_eq!(head(&world.dir).sync, DataSync::Second);
    world.hand_over(5, 5);
    world.wait_saved();
    assert_eq!(head(&world.dir).sync, DataSync::Always);
    assert_eq!(world.crash(), (LogEnding::Crashed, entries(0..10, 100)));
}

#[test]
fn directory_that_is_forgotten_stays_so() {
    let mut world = World::new(DataSync::Second, DataFull::Forget);
    world.hand_over(0, 5);
    world.wait_saved();
    world.files.fail_all(Errno::IO);
    world.hand_over(5, 5);
    world.wait_saved();
    world.wait_health(Health::Forgotten);
    world.rest();
    let mut world = world.become_other(DataSync::Second, DataFull::Forget, 1);
    assert_eq!(world.saver.usage().health, Health::Forgotten);
    world.files.heal();
    world.wait("empty directory", |report| {
        (report.usage.segments == 0).then_some(())
    });
    assert_eq!(world.finish(9), (LogEnding::Clean, Vec::new()));
}

#[test]
fn failing_disk_does_not_come_to_rest() {
    let mut world = World::new(DataSync::Second, DataFull::Refuse);
    world.files.fail_all(Errno::IO);
    world.hand_over(0, 5);
    world.wait_health(Health::Fails);
    world.saver.rest(true);
    assert!(!world.saver.is_at_rest() && world.saver.freeze().is_err());
    world.files.heal();
    world.wait_saved();
    world.rest();
    let world = world.become_other(DataSync::Second, DataFull::Refuse, 1);
    assert_eq!(world.finish(4), (LogEnding::Clean, entries(0..5, 100)));
}

#[test]
fn directory_that_is_not_as_it_was_is_refused() {
    let mut world = World::new(DataSync::Second, DataFull::Refuse);
    world.hand_over(0, 5);
    world.wait_saved();
    world.rest();
    let (frozen, lock) = world.saver.freeze().unwrap();
    let thaw = |dir: &std::path::Path| {
        let files = world.files.clone();
        let lock = lock.try_clone().unwrap();
        Store::thaw(files, frozen.store(), lock, dir, DataSync::Second, 1, true)
    };
    assert!(thaw(&world.dir.0).is_ok());
    let other = World::new(DataSync::Second, DataFull::Refuse);
    assert!(thaw(&other.dir.0).is_err(), "another directory");
    let path = super::super::segment::path(&world.dir.0, 1);
    let bytes = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(bytes - 1).unwrap();
    assert!(thaw(&world.dir.0).is_err(), "a segment that is cut");
    std::fs::remove_file(path).unwrap();
    assert!(thaw(&world.dir.0).is_err(), "a segment that is gone");
}

#[test]
fn directory_is_bounded_and_keeps_valid_records() {
    bounded(None);
}

#[test]
fn directory_is_bounded_over_many_processes() {
    bounded(Some(1_000));
}

/// The reactor's part of the bound: of the records that it is given, it hands over those that hold.
/// Messages hold until so many bytes of newer ones are there; some for ever.
/// After each `handed_over` messages another process goes on.
fn bounded(handed_over: Option<u64>) {
    const LIMIT: u64 = 1 << 20;
    const BYTES: usize = 1_000;
    const FOR_EVER: u64 = 50;
    let (dir, files) = (TempDir::new(), Faulty::new());
    let mut config = config(DataSync::Second);
    config.history.max_total_bytes = LIMIT as usize;
    let (opened, _) = open_on(files.clone(), &dir.0, &config, BOOT);
    let segment_bytes = opened.store.segment_bytes();
    let mut world = World::with(opened.store, dir, files, DataFull::Refuse, LIMIT);
    let record_bytes = records(&entries(0..1, BYTES)).len() as u64;
    let kept = (LIMIT / record_bytes - 20_000 / FOR_EVER).max(1);
    let holds =
        |number: u64, newest: u64| number.is_multiple_of(FOR_EVER) || number + kept > newest;
    let number = |entry: &[u8]| u64::from_le_bytes(*entry.first_chunk().unwrap());

    let mut newest = 0;
    let mut most = 0;
    let mut carried: Vec<Vec<u8>> = Vec::new();
    while newest < 20_000 {
        let mut batch = entries(newest..newest + 40, BYTES);
        newest += 40;
        batch.append(&mut carried);
        let history = HistoryBytes {
            used: LIMIT,
            max: LIMIT,
        };
        world.saver.hand_over(records(&batch), Seq(newest), history);
        let mut reports: Vec<Report> = Vec::new();
        while !world.saver.is_idle() {
            reports.push(world.next("report"));
        }
        let is_handed_over = handed_over.is_some_and(|messages| newest.is_multiple_of(messages));
        world.saver.rest(is_handed_over);
        loop {
            for report in reports.drain(..) {
                most = most.max(report.usage.bytes);
                let Event::Judge(old) = report.event else {
                    continue;
                };
                let mut rest = &old[..];
                let before = carried.len();
                while let encke_core::base::record::Read::Record { entry, rest: next } =
                    encke_core::base::record::read(rest)
                {
                    if holds(number(entry), newest) {
                        carried.push(entry.to_vec());
                    }
                    rest = next;
                }
                let bytes = (carried.len() - before) as u64 * record_bytes;
                world.saver.judged(Some(bytes));
            }
            if !is_handed_over {
                break;
            }
            // What is on its way out goes before.
            if world.saver.is_at_rest() {
                world = world.become_other(DataSync::Second, DataFull::Refuse, LIMIT);
                break;
            }
            if world.saver.is_idle() && world.saver.has_judged() {
                let batch = std::mem::take(&mut carried);
                world.saver.hand_over(records(&batch), Seq(newest), history);
            }
            reports.push(world.next("rest"));
        }
    }
    let bound = 2 * LIMIT + 2 * segment_bytes;
    assert!(most <= bound, "{most} bytes of {bound}");
    assert!(most > LIMIT, "{most} bytes");
    let (ending, read) = world.finish(newest);
    assert_eq!(ending, LogEnding::Clean);
    let read: std::collections::BTreeSet<u64> = read.iter().map(|entry| number(entry)).collect();
    for number in (0..newest).filter(|number| holds(*number, newest)) {
        assert!(read.contains(&number), "{number}");
    }
}
