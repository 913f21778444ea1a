//! Segments of records of all sizes.

use proptest::prelude::*;

use super::super::faulty::{TempDir, records};
use super::super::files::System;
use super::*;

fn with_segment<T>(bytes: &[u8], read: impl FnOnce(&File) -> T) -> T {
    let dir = TempDir::new();
    std::fs::create_dir(&dir.0).unwrap();
    let path = path(&dir.0, 1);
    std::fs::write(&path, bytes).unwrap();
    read(&System.open(&path).unwrap())
}

fn entry() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![8 => 1..200usize, 2 => 1..100_000usize, 1 => 200_000..700_000usize];
    (length, any::<u8>()).prop_map(|(length, byte)| vec![byte; length])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_records_are_read_and_those_before_a_cut(
        entries in proptest::collection::vec(entry(), 0..20),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = TITLE.to_vec();
        let mut ends = vec![bytes.len()];
        for entry in &entries {
            bytes.extend(records(std::slice::from_ref(entry)));
            ends.push(bytes.len());
        }
        for end in [bytes.len(), cut.index(bytes.len() + 1)] {
            let mut read_entries = Vec::new();
            let (good, stop) = with_segment(&bytes[..end], |file| {
                read(&System, file, |entry| {
                    read_entries.push(entry.to_vec());
                    true
                })
                .unwrap()
            });
            let expected = ends.iter().rev().find(|one| **one <= end).copied();
            prop_assert_eq!(good, expected.unwrap_or(0) as u64);
            let is_whole = expected == Some(end);
            prop_assert_eq!(stop, if is_whole { Stop::End } else { Stop::Cut });
            let count = ends.iter().filter(|one| **one <= end).count().saturating_sub(1);
            prop_assert_eq!(&read_entries[..], &entries[..count]);
        }
    }

    #[test]
    fn chunks_are_whole_records_and_all_of_them(
        entries in proptest::collection::vec(entry(), 0..20),
    ) {
        let bytes = [&TITLE[..], &records(&entries)].concat();
        let longest = entries.iter().map(Vec::len).max().unwrap_or(0) + record::HEAD_BYTES;
        let mut at = TITLE.len();
        loop {
            let chunk = with_segment(&bytes, |file| {
                chunk(&System, file, at as u64, bytes.len() as u64).unwrap()
            });
            if chunk.is_empty() {
                break;
            }
            prop_assert!(chunk.len() <= READ_BYTES.max(2 * longest));
            prop_assert_eq!(&chunk[..], &bytes[at..at + chunk.len()]);
            at += chunk.len();
        }
        prop_assert_eq!(at, bytes.len());
    }
}

#[test]
fn chunk_of_a_file_that_has_become_shorter_is_an_error() {
    let bytes = [&TITLE[..], &records(&[vec![1; 50], vec![2; 50]])].concat();
    let end = bytes.len() as u64;
    let read = |at| with_segment(&bytes[..90], |file| chunk(&System, file, at, end));
    assert_eq!(read(16).unwrap().len(), 58);
    assert!(read(16 + 58).is_err());
}

#[test]
fn names_are_told_from_others() {
    for (name, expected) in [
        ("0000000001.log", Some(1)),
        ("9999999999.log", Some(9_999_999_999)),
        ("10000000000.log", Some(10_000_000_000)),
        ("0000000000.log", None),
        ("1.log", None),
        ("+000000001.log", None),
        ("00000000001.log", None),
        ("0000000001.log.old", None),
        ("head", None),
    ] {
        assert_eq!(number(OsStr::new(name)), expected, "{name}");
    }
    assert_eq!(path(Path::new("/d"), 7), Path::new("/d/0000000007.log"));
}
