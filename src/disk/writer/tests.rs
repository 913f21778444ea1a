//! The threads, with a disk that fails and heals.

use std::sync::Arc;
use std::sync::mpsc;

use rustix::io::Errno;

use super::super::faulty::*;
use super::super::open::Trust;
use super::super::saver::Saver;
use super::*;
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

    fn wait_saved(&mut self) -> Seq {
        self.wait("answer", |report| match report.event {
            Event::Saved { newest, .. } => Some(newest),
            _ => None,
        })
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

    /// Ends without a word, as by SIGKILL, and reads what is there.
    fn crash(self) -> (Trust, Vec<Vec<u8>>) {
        drop(self.saver);
        let (opened, read) = open(&self.dir, DataSync::Second);
        (opened.trust, read)
    }

    fn finish(self, newest: u64) -> (Trust, Vec<Vec<u8>>) {
        self.saver.finish(Vec::new(), Seq(newest));
        let (opened, read) = open(&self.dir, DataSync::Second);
        (opened.trust, read)
    }
}

#[test]
fn what_was_answered_for_is_there_after_a_crash() {
    for sync in DataSync::ALL {
        let mut world = World::new(sync, DataFull::Refuse);
        for round in 0..20 {
            world.hand_over(round * 5, 5);
            assert_eq!(world.wait_saved(), Seq(round * 5 + 4));
            assert!(world.saver.is_idle());
        }
        assert_eq!(world.crash(), (Trust::Answered, entries(0..100, 100)));
    }
}

#[test]
fn end_saves_what_was_not_handed_over() {
    let mut world = World::new(DataSync::Second, DataFull::Refuse);
    world.hand_over(0, 5);
    let last = records(&entries(5..9, 100));
    world.saver.finish(last, Seq(30));
    let (opened, read) = open(&world.dir, DataSync::Second);
    assert_eq!(read, entries(0..9, 100));
    assert_eq!((opened.trust, opened.newest), (Trust::All, Seq(30)));
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
        assert_eq!(world.wait_saved(), Seq(9));
        world.wait_health(Health::Works);
        assert_eq!(world.finish(9), (Trust::All, entries(0..10, 100)));
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
    assert_eq!(world.finish(4), (Trust::All, entries(0..5, 100)));
}

#[test]
fn end_on_a_failing_disk_is_not_clean() {
    let mut world = World::new(DataSync::Second, DataFull::Refuse);
    world.hand_over(0, 5);
    world.wait_saved();
    world.files.fail_all(Errno::IO);
    world.hand_over(5, 5);
    world.wait_health(Health::Fails);
    assert_eq!(world.finish(9), (Trust::Answered, entries(0..5, 100)));
}

#[test]
fn forgotten_directory_is_emptied_as_soon_as_that_works() {
    let mut world = World::new(DataSync::Second, DataFull::Forget);
    world.hand_over(0, 5);
    world.wait_saved();
    world.files.fail_all(Errno::IO);
    world.hand_over(5, 5);
    assert_eq!(world.wait_saved(), Seq(9), "it is in memory");
    world.wait_health(Health::Forgotten);
    world.hand_over(10, 5);
    assert_eq!(world.wait_saved(), Seq(14));
    world.files.heal();
    world.wait("empty directory", |report| {
        (report.usage.segments == 0).then_some(())
    });
    assert_eq!(world.finish(14), (Trust::All, Vec::new()));
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
    assert_eq!(world.finish(9), (Trust::Doubtful, entries(0..10, 100)));
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
    let (trust, read) = world.finish(4);
    assert_eq!((trust, read.len()), (Trust::Answered, 0));
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
    assert_eq!((opened.trust, read.len()), (Trust::Answered, 5));
}

/// The reactor's part of the bound: of the records that it is given, it hands over those that hold.
/// Messages hold until so many bytes of newer ones are there; some for ever.
#[test]
fn directory_is_bounded_and_keeps_what_holds() {
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
    let mut reports: Vec<Report> = Vec::new();
    while newest < 20_000 {
        let mut batch = entries(newest..newest + 40, BYTES);
        newest += 40;
        for report in reports.drain(..) {
            most = most.max(report.usage.bytes);
            let Event::Judge(old) = report.event else {
                continue;
            };
            let mut rest = &old[..];
            let mut carried = 0;
            while let encke_core::base::record::Read::Record { entry, rest: next } =
                encke_core::base::record::read(rest)
            {
                if holds(number(entry), newest) {
                    batch.push(entry.to_vec());
                    carried += record_bytes;
                }
                rest = next;
            }
            world.saver.judged(Some(carried));
        }
        world.saver.hand_over(
            records(&batch),
            Seq(newest),
            HistoryBytes {
                used: LIMIT,
                max: LIMIT,
            },
        );
        while !world.saver.is_idle() {
            reports.push(world.next("report"));
        }
    }
    let bound = 2 * LIMIT + 2 * segment_bytes;
    assert!(most <= bound, "{most} bytes of {bound}");
    assert!(most > LIMIT, "{most} bytes");
    let (trust, read) = world.finish(newest);
    assert_eq!(trust, Trust::All);
    let read: std::collections::BTreeSet<u64> = read.iter().map(|entry| number(entry)).collect();
    for number in (0..newest).filter(|number| holds(*number, newest)) {
        assert!(read.contains(&number), "{number}");
    }
}
