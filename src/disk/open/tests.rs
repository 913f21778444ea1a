//! Starts on directories that are damaged, locked, or of another time.

use super::super::faulty::*;
use super::super::files::System;
use super::super::mark;
use super::*;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

/// A directory after a crash or a clean end, and the entries in it.
fn written(sync: DataSync, is_clean: bool) -> (TempDir, Vec<Vec<u8>>) {
    let dir = TempDir::new();
    let mut store = open(&dir, sync).0.store;
    store.begin().unwrap();
    let all = entries(1..201, 90);
    for (index, batch) in all.chunks(7).enumerate() {
        let newest = Seq((index as u64 + 1) * 7);
        store.write(&records(batch), newest.min(Seq(200))).unwrap();
    }
    match is_clean {
        true => store.end(Seq(200)).unwrap(),
        false => store.mark().unwrap(),
    }
    (dir, all)
}

fn only_segment(dir: &TempDir) -> PathBuf {
    segment::path(&dir.0, 1)
}

/// Each of the last 4,096 bytes is cut and flipped. After a crash as after a clean end it is
/// noticed, what is before it is read, and the next start finds nothing wrong.
#[test]
fn every_cut_and_every_flip_of_the_tail_is_noticed() {
    for is_clean in [true, false] {
        let (dir, all) = written(DataSync::Second, is_clean);
        let whole = fs::read(only_segment(&dir)).unwrap();
        let copy = dir.copy();
        let check = |bytes: &[u8], what: &str| {
            fs::write(only_segment(&copy), bytes).unwrap();
            for name in [super::super::head::NAME, mark::NAME] {
                fs::copy(dir.0.join(name), copy.0.join(name)).unwrap();
            }
            let (opened, read) = open(&copy, DataSync::Second);
            assert_eq!(opened.ending, tail_lost(), "{what}");
            assert!(
                read.len() < all.len() && read[..] == all[..read.len()],
                "{what}"
            );
            let cut = bytes.len() as u64 - opened.store.bytes();
            assert_eq!(opened.read.cut_bytes, cut, "{what}");
            drop(opened);
            let again = open(&copy, DataSync::Second);
            assert_eq!((again.0.read.cut_bytes, again.1), (0, read), "{what}");
        };
        for back in 1..=4_096 {
            let at = whole.len() - back;
            check(&whole[..at], &format!("cut at -{back}"));
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (back % 8);
            check(&flipped, &format!("flipped at -{back}"));
        }
    }
}

#[test]
fn what_a_killed_write_left_behind_the_mark_is_no_damage() {
    let (dir, all) = written(DataSync::Second, false);
    let more = records(&entries(201..203, 90));
    for cut in 1..more.len() {
        let copy = dir.copy();
        let mut bytes = fs::read(only_segment(&dir)).unwrap();
        bytes.extend_from_slice(&more[..cut]);
        fs::write(only_segment(&copy), bytes).unwrap();
        let (opened, read) = open(&copy, DataSync::Second);
        assert_eq!(opened.ending, LogEnding::Crashed, "{cut}");
        assert_eq!(opened.read.cut_bytes, 0, "{cut}");
        assert_eq!(read.len(), all.len() + usize::from(cut >= more.len() / 2));
    }
}

#[test]
fn only_the_same_boot_or_synced_answers_are_believed_after_a_crash() {
    for (sync, boot, is_clean, ending) in [
        (DataSync::Second, BOOT, false, LogEnding::Crashed),
        (DataSync::Never, BOOT, false, LogEnding::Crashed),
        (DataSync::Always, BOOT, false, LogEnding::Crashed),
        (DataSync::Second, "boot-2", false, tail_lost()),
        (DataSync::Never, "boot-2", false, tail_lost()),
        (DataSync::Always, "boot-2", false, LogEnding::Crashed),
        (DataSync::Second, "boot-2", true, LogEnding::Clean),
        (DataSync::Never, "boot-2", true, LogEnding::Clean),
        (DataSync::Second, NO_BOOT, false, tail_lost()),
    ] {
        let (dir, all) = written(sync, is_clean);
        // What counts is how it was saved, not how it is to be.
        let config = config(DataSync::Second);
        let (opened, read) = open_on(Arc::new(System), &dir.0, &config, boot);
        assert_eq!(opened.ending, ending, "{sync:?} {boot} {is_clean}");
        assert_eq!((opened.newest, read), (Seq(200), all));
    }
}

#[test]
fn crash_before_the_first_record_is_no_clean_end() {
    let dir = TempDir::new();
    open(&dir, DataSync::Second).0.store.begin().unwrap();
    assert_eq!(open(&dir, DataSync::Second).0.ending, LogEnding::Crashed);
    let config = config(DataSync::Second);
    let (opened, _) = open_on(Arc::new(System), &dir.0, &config, "boot-2");
    assert_eq!(opened.ending, tail_lost());
}

/// No write that was cut short leaves bytes that are no record.
#[test]
fn damage_behind_the_mark_is_told() {
    let (dir, all) = written(DataSync::Second, false);
    let whole = fs::read(only_segment(&dir)).unwrap();
    let more = records(&entries(201..203, 90));
    // With a longer length the rest would be a cut.
    for at in (0..more.len() / 2).filter(|at| !(1..4).contains(at)) {
        let copy = dir.copy();
        let mut bytes = [&whole[..], &more[..]].concat();
        bytes[whole.len() + at] ^= 1;
        fs::write(only_segment(&copy), bytes).unwrap();
        let (opened, read) = open(&copy, DataSync::Second);
        assert_eq!(opened.read.cut_bytes, more.len() as u64, "{at}");
        // Also by a start after one that has mended the directory, and done no more.
        for ending in [opened.ending, {
            drop(opened);
            open(&copy, DataSync::Second).0.ending
        }] {
            assert_eq!((ending, &read), (tail_lost(), &all), "{at}");
        }
    }
}

/// A directory of six segments of 60 entries each.
fn with_six_segments() -> TempDir {
    let dir = TempDir::new();
    let mut store = open(&dir, DataSync::Second).0.store;
    for number in 0..6 {
        let batch = records(&entries(number * 60..number * 60 + 60, 1_000));
        store.write(&batch, Seq(number * 60 + 59)).unwrap();
    }
    store.end(Seq(359)).unwrap();
    assert_eq!(store.segment_count(), 6);
    dir
}

#[test]
fn segments_behind_damage_or_a_missing_one_are_read() {
    for fault in ["missing", "title", "record", "cut"] {
        let dir = with_six_segments();
        let path = segment::path(&dir.0, 3);
        let mut bytes = fs::read(&path).unwrap();
        match fault {
            "missing" => fs::remove_file(path).unwrap(),
            "title" => fs::write(path, "nonsense").unwrap(),
            "record" => {
                bytes[40] ^= 1;
                fs::write(path, bytes).unwrap();
            }
            _ => fs::write(path, &bytes[..bytes.len() - 1]).unwrap(),
        }
        let left = match fault {
            "cut" => 120..179,
            _ => 120..120,
        };
        let expected = [entries(0..120, 1_000), entries(left, 1_000)].concat();
        let expected = [expected, entries(180..360, 1_000)].concat();
        let (opened, read) = open(&dir, DataSync::Second);
        assert!(read == expected, "{fault}");
        assert_eq!(opened.ending, tail_lost(), "{fault}");
        assert_eq!(opened.read.cut_bytes > 0, fault != "missing", "{fault}");
        // What is written next is read next, and the next start finds nothing wrong.
        let mut store = opened.store;
        store
            .write(&records(&entries(360..361, 8)), Seq(500))
            .unwrap();
        store.end(Seq(500)).unwrap();
        drop(store);
        let (opened, read) = open(&dir, DataSync::Second);
        assert_eq!(opened.ending, LogEnding::Clean, "{fault}");
        assert!(read == [expected, entries(360..361, 8)].concat(), "{fault}");
    }
}

/// Files of which one segment cannot be read, as on a bad medium.
struct Unreadable(AtomicU64);

impl Files for Unreadable {
    fn read_at(&self, file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            5 => Err(Errno::IO.into()),
            _ => System.read_at(file, bytes, at),
        }
    }
}

#[test]
fn segment_that_cannot_be_read_refuses_the_start_and_changes_nothing() {
    let dir = with_six_segments();
    // Damage before it is not cut off either.
    let damaged = segment::path(&dir.0, 1);
    let whole = fs::read(&damaged).unwrap();
    fs::write(&damaged, &whole[..whole.len() - 1]).unwrap();
    let content = || {
        let paths = fs::read_dir(&dir.0)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = paths.map(|path| (fs::read(&path).unwrap(), path)).collect();
        all.sort();
        all
    };
    let before = content();
    let config = config(DataSync::Second);
    let files = Arc::new(Unreadable(AtomicU64::new(0)));
    let locked = Locked::new(files, &dir.0, &config, BOOT.into(), identity(5)).unwrap();
    let line = locked.read(|_| true).err().unwrap().to_string();
    assert!(line.contains(".log: Input/output error"), "{line}");
    assert!(content() == before);
    drop(before);
    assert_eq!(open(&dir, DataSync::Second).1.len(), 359);
}

#[test]
fn refused_entry_is_damage() {
    let (dir, all) = written(DataSync::Second, true);
    let config = config(DataSync::Second);
    let locked = Locked::new(Arc::new(System), &dir.0, &config, BOOT.into(), identity(5)).unwrap();
    let mut left = 50;
    let opened = locked.read(|_| {
        left -= 1;
        left > 0
    });
    assert_eq!(opened.unwrap().ending, tail_lost());
    assert_eq!(open(&dir, DataSync::Second).1, all[..49]);
}

#[test]
fn damaged_head_begins_a_new_epoch_and_keeps_messages() {
    let (dir, all) = written(DataSync::Second, true);
    fs::write(dir.0.join("head"), "nonsense").unwrap();
    let config = config(DataSync::Second);
    let locked = Locked::new(Arc::new(System), &dir.0, &config, BOOT.into(), identity(77)).unwrap();
    assert!(locked.identity() == identity(77));
    let mut count = 0;
    let opened = locked.read(|_| {
        count += 1;
        true
    });
    assert_eq!((opened.unwrap().newest, count), (Seq(200), all.len()));
}

#[test]
fn lost_or_damaged_mark_is_doubt() {
    for mark in [None, Some("segment 1")] {
        let (dir, all) = written(DataSync::Second, true);
        match mark {
            None => fs::remove_file(dir.0.join(mark::NAME)).unwrap(),
            Some(text) => fs::write(dir.0.join(mark::NAME), text).unwrap(),
        }
        let (opened, read) = open(&dir, DataSync::Second);
        assert_eq!((opened.ending, read), (tail_lost(), all));
    }
}

#[test]
fn second_process_is_refused_until_the_first_is_gone() {
    let dir = TempDir::new();
    let (first, _) = open(&dir, DataSync::Second);
    let config = config(DataSync::Second);
    let attempt = || Locked::new(Arc::new(System), &dir.0, &config, BOOT.into(), identity(5));
    let error = attempt().err().unwrap();
    assert!(matches!(error, DataError::InUse(_)));
    assert!(!error.to_string().contains('\n'), "{error}");
    drop(first);
    assert!(attempt().is_ok());
}

#[test]
fn newer_format_is_refused_and_left_as_it_is() {
    let (dir, _) = written(DataSync::Second, true);
    let head = "encke-history 2\nwhatever\n";
    fs::write(dir.0.join("head"), head).unwrap();
    let before = fs::read(only_segment(&dir)).unwrap();
    let config = config(DataSync::Second);
    let error = Locked::new(Arc::new(System), &dir.0, &config, BOOT.into(), identity(5)).err();
    let line = error.unwrap().to_string();
    assert!(
        line.contains("is of format 2") && !line.contains('\n'),
        "{line}"
    );
    assert_eq!(fs::read(only_segment(&dir)).unwrap(), before);
    assert_eq!(fs::read_to_string(dir.0.join("head")).unwrap(), head);
}

#[test]
fn directory_is_for_its_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, _) = written(DataSync::Second, true);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir.0), 0o700);
    for entry in fs::read_dir(&dir.0).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn path_that_is_no_directory_is_refused_in_one_line() {
    let file = TempDir::new();
    fs::write(&file.0, "x").unwrap();
    let config = config(DataSync::Second);
    let error = Locked::new(Arc::new(System), &file.0, &config, BOOT.into(), identity(5)).err();
    let line = error.unwrap().to_string();
    assert!(
        line.contains("--data-dir") && !line.contains('\n'),
        "{line}"
    );
    fs::remove_file(&file.0).unwrap();
}
