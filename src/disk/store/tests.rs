//! The store under faults at each of its operations.

use rustix::io::Errno;

use super::super::faulty::*;
use super::*;
use encke_core::log::LogEnding;

const FAULTS: [Fault; 4] = [
    Fault::Errno(Errno::NOSPC),
    Fault::Errno(Errno::IO),
    Fault::Short,
    Fault::Torn(Errno::NOSPC),
];

/// More than one segment of entries, in batches with the newest number of each.
fn batches() -> Vec<(Vec<Vec<u8>>, Seq)> {
    let batch = |first: u64| (entries(first..first + 10, 900), Seq(first + 9));
    (0..9).map(|index| batch(1 + index * 10)).collect()
}

/// Repeats what fails, as the writer does.
fn insist(mut attempt: impl FnMut() -> io::Result<()>) -> u32 {
    for failed in 0..5 {
        if attempt().is_ok() {
            return failed;
        }
    }
    panic!("one fault is over");
}

#[test]
fn every_operation_may_fail_once_and_all_is_saved_in_order() {
    for sync in DataSync::ALL {
        for fault in FAULTS {
            let mut number = 0;
            loop {
                let (dir, files) = (TempDir::new(), Faulty::new());
                let (opened, _) = open_on(files.clone(), &dir.0, &config(sync), BOOT);
                let mut store = opened.store;
                files.fail_one(number, fault);
                let mut failed = insist(|| store.begin());
                for (entries, newest) in batches() {
                    let records = records(&entries);
                    failed += insist(|| store.write(&records, newest));
                    failed += insist(|| store.mark());
                }
                failed += insist(|| store.end(Seq(90)));
                let is_over = files.done() <= number;
                drop(store);

                let (opened, read) = open(&dir, sync);
                assert_eq!(read, entries(1..91, 900), "{sync:?} {fault:?} at {number}");
                assert_eq!((opened.ending, opened.newest), (LogEnding::Clean, Seq(90)));
                assert!(opened.store.segment_count() > 1);
                assert!(failed > 0 || is_over || fault == Fault::Short || number > 3);
                if is_over {
                    break;
                }
                number += 1;
            }
            assert!(number > 30, "{number} operations");
        }
    }
}

/// The process is killed where an operation fails: what was answered for is there, and what follows
/// it is a beginning of what was to be written.
#[test]
fn crash_at_every_operation_loses_no_acknowledged_message() {
    for sync in DataSync::ALL {
        for fault in FAULTS {
            let mut number = 0;
            loop {
                let (dir, files) = (TempDir::new(), Faulty::new());
                let (opened, _) = open_on(files.clone(), &dir.0, &config(sync), BOOT);
                let mut store = opened.store;
                files.fail_one(number, fault);
                let mut answered = Seq::ZERO;
                let all = store.begin().is_ok()
                    && batches().into_iter().all(|(entries, newest)| {
                        let is_written = store.write(&records(&entries), newest).is_ok();
                        answered = if is_written { newest } else { answered };
                        is_written && store.mark().is_ok()
                    });
                drop(store);

                let (opened, read) = open(&dir, sync);
                assert!(read.len() as u64 >= answered.0, "{fault:?} at {number}");
                assert_eq!(read, entries(1..1 + read.len() as u64, 900));
                // A mark of which a part is written says nothing. No crash of a process leaves one.
                let is_torn = matches!(fault, Fault::Torn(_)) && opened.ending == tail_lost();
                if answered > Seq::ZERO && !is_torn {
                    assert_eq!(opened.ending, LogEnding::Crashed, "{fault:?} at {number}");
                    assert!(opened.newest <= answered);
                }
                if all {
                    break;
                }
                number += 1;
            }
            assert!(number > 0 || fault == Fault::Short, "{number} operations");
        }
    }
}

#[test]
fn cleared_directory_is_as_new() {
    let dir = TempDir::new();
    let (opened, _) = open(&dir, DataSync::Second);
    let mut store = opened.store;
    store
        .write(&records(&entries(1..100, 900)), Seq(99))
        .unwrap();
    store.clear().unwrap();
    assert_eq!((store.bytes(), store.segment_count()), (0, 0));
    drop(store);
    let (opened, read) = open(&dir, DataSync::Second);
    assert_eq!(
        (opened.ending, opened.newest, read.len()),
        (LogEnding::Clean, Seq::ZERO, 0)
    );
}

#[test]
fn doubt_outlives_a_clean_end() {
    let dir = TempDir::new();
    let mut store = open(&dir, DataSync::Second).0.store;
    store.write(&records(&entries(1..3, 9)), Seq(2)).unwrap();
    store.doubt();
    store.end(Seq(2)).unwrap();
    drop(store);
    let mut opened = open(&dir, DataSync::Second).0;
    assert_eq!(opened.ending, tail_lost());
    // Until the log goes on in another epoch.
    opened.store.go_on(Epoch::from_seed(9), Seq(2));
    opened.store.begin().unwrap();
    drop(opened.store);
    assert_eq!(open(&dir, DataSync::Second).0.ending, LogEnding::Crashed);
    assert!(head(&dir).identity.epoch == Epoch::from_seed(9));
}
