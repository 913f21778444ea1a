//! Records: entries as bytes of a file, one after another.
//!
//! Owns the frame around an entry, `length u32 | CRC-32 u32 | entry`, both numbers little-endian.
//! The checksum (CRC-32 of IEEE 802.3) is that of the length and the entry, so that a length that
//! was damaged is noticed too. It never looks into an entry, and knows no file.

use crc32fast::Hasher;

/// The bytes of a record beyond its entry.
pub const HEAD_BYTES: usize = 8;

/// The most bytes of an entry. A longer length is damage, so that a reader never waits for
/// gigabytes that were not written.
pub const MAX_ENTRY_BYTES: usize = 1 << 30;

/// The next record of a file, as far as its bytes are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read<'b> {
    /// A whole record.
    Record {
        /// The entry in it.
        entry: &'b [u8],
        /// The bytes after it.
        rest: &'b [u8],
    },
    /// Nothing: the bytes end here.
    End,
    /// The beginning of a record. The rest is missing: it follows in the file, or was never
    /// written.
    Cut {
        /// The bytes that the whole record has; [`HEAD_BYTES`] where not even its head is there.
        needed: usize,
    },
    /// Bytes that are no record.
    Damaged,
}

/// The bytes of the record at the beginning of `bytes`, as its head says, which may be damaged.
/// `None`: not even its head is there.
pub fn length(bytes: &[u8]) -> Option<usize> {
    let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let [a, b, c, d, ..] = *head;
    Some(HEAD_BYTES + u32::from_le_bytes([a, b, c, d]) as usize)
}

/// Reads the record at the beginning of `bytes`.
pub fn read(bytes: &[u8]) -> Read<'_> {
    if bytes.is_empty() {
        return Read::End;
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Read::Cut { needed: HEAD_BYTES };
    };
    let [a, b, c, d, checksum @ ..] = *head;
    let length = u32::from_le_bytes([a, b, c, d]);
    // No entry is empty: a file that was extended with zeros is damaged.
    if length == 0 || length as usize > MAX_ENTRY_BYTES {
        return Read::Damaged;
    }
    let Some((entry, rest)) = rest.split_at_checked(length as usize) else {
        return Read::Cut {
            needed: HEAD_BYTES + length as usize,
        };
    };
    match checksum_of(length, entry) == u32::from_le_bytes(checksum) {
        true => Read::Record { entry, rest },
        false => Read::Damaged,
    }
}

/// Appends the record of an entry that `write` appends. Returns the bytes of the record.
pub fn append(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    write(out);
    let record = &mut out[start..];
    let (head, entry) = record.split_at_mut(HEAD_BYTES);
    debug_assert!((1..=MAX_ENTRY_BYTES).contains(&entry.len()));
    let length = entry.len() as u32;
    let (head_length, head_checksum) = head.split_at_mut(size_of::<u32>());
    head_length.copy_from_slice(&length.to_le_bytes());
    head_checksum.copy_from_slice(&checksum_of(length, entry).to_le_bytes());
    record.len()
}

fn checksum_of(length: u32, entry: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(entry);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in entries {
            append(&mut out, |out| out.extend_from_slice(entry));
        }
        out
    }

    /// The entries before the bytes end, and how they end.
    fn read_all(mut bytes: &[u8]) -> (Vec<Vec<u8>>, Read<'_>) {
        let mut entries = Vec::new();
        loop {
            match read(bytes) {
                Read::Record { entry, rest } => {
                    entries.push(entry.to_vec());
                    bytes = rest;
                }
                end => return (entries, end),
            }
        }
    }

    fn entries() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let entry = proptest::collection::vec(any::<u8>(), 1..40);
        proptest::collection::vec(entry, 0..6)
    }

    #[test]
    fn zeros_and_lengths_out_of_range_are_damage() {
        assert_eq!(read(&[]), Read::End);
        assert_eq!(read(&[0; 7]), Read::Cut { needed: 8 });
        assert_eq!(read(&[0; 8]), Read::Damaged);
        assert_eq!(read(&[0xff; 100]), Read::Damaged);
        let long = [0, 0, 0, 0x40, 0, 0, 0, 0];
        let needed = HEAD_BYTES + MAX_ENTRY_BYTES;
        assert_eq!(read(&long), Read::Cut { needed });
        let longer = [1, 0, 0, 0x40, 0, 0, 0, 0];
        assert_eq!(read(&longer), Read::Damaged);
    }

    /// The format must not change: directories of earlier versions are read.
    #[test]
    fn record_has_these_bytes() {
        let mut out = b"before".to_vec();
        let bytes = append(&mut out, |out| out.extend_from_slice(b"entry"));
        let expected = b"before\x05\0\0\0\x8c;\x9dAentry";
        assert_eq!(
            out.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
        assert_eq!(bytes, out.len() - b"before".len());
    }

    proptest! {
        #[test]
        fn written_entries_are_read(entries in entries()) {
            let bytes = written(&entries);
            prop_assert_eq!(read_all(&bytes), (entries, Read::End));
        }

        #[test]
        fn cut_anywhere_whole_records_remain(entries in entries(), cut: prop::sample::Index) {
            let bytes = written(&entries);
            let cut = cut.index(bytes.len() + 1);
            let (read, end) = read_all(&bytes[..cut]);
            prop_assert!(entries.starts_with(&read));
            let read_bytes = written(&read).len();
            match end {
                Read::End => prop_assert_eq!(read_bytes, cut),
                Read::Cut { needed } => {
                    // What is there may not say yet how long the record is.
                    let record = written(&entries[read.len()..read.len() + 1]).len();
                    prop_assert!(needed == record || cut - read_bytes < HEAD_BYTES);
                    prop_assert!(read_bytes + needed > cut);
                }
                end => prop_assert!(false, "{end:?}"),
            }
        }

        #[test]
        fn flipped_bit_is_damage_or_a_cut(
            entries in entries().prop_filter("some", |entries| !entries.is_empty()),
            flipped: prop::sample::Index,
            bit in 0..8u32,
        ) {
            let mut bytes = written(&entries);
            let flipped = flipped.index(bytes.len());
            bytes[flipped] ^= 1u8 << bit;
            let (read, end) = read_all(&bytes);
            prop_assert!(entries.starts_with(&read) && read.len() < entries.len());
            prop_assert!(written(&read).len() <= flipped);
            prop_assert!(matches!(end, Read::Damaged | Read::Cut { .. }), "{end:?}");
        }

        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            read_all(&bytes);
        }
    }
}
