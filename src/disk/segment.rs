//! A segment: a file of records, in the order in which they were saved.
//!
//! Owns the names of segments, their first bytes, and reading them. Segments are numbered from 1;
//! the numbers that exist are not dense, because the oldest segments are removed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{Files, read_full};
use encke_core::base::record::{self, Read};

/// The first bytes of every segment.
pub(super) const TITLE: &[u8; 16] = b"encke segment 1\n";

/// Bytes that are read at a time, unless a record is longer.
pub(super) const READ_BYTES: usize = 256 << 10;

/// A segment that is in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Its bytes, the title included.
    pub(super) bytes: u64,
}

/// The path of a segment.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:010}.log"))
}

/// The number of a segment of this name; `None` if it is the name of something else.
pub(super) fn number(name: &OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(".log")?;
    let number = digits.parse().ok().filter(|number| *number > 0)?;
    (format!("{number:010}") == digits).then_some(number)
}

/// How the records of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// With its last byte.
    End,
    /// In the middle of a record: bytes are missing.
    Cut,
    /// With bytes that are no record.
    Damaged,
}

/// Passes the entries of a segment to `each`, which refuses what it cannot read. Returns the bytes
/// up to the last good record, and what follows.
///
/// # Errors
///
/// The file cannot be read. That says nothing about what is in it.
pub(super) fn read(
    files: &dyn Files,
    file: &File,
    mut each: impl FnMut(&[u8]) -> bool,
) -> io::Result<(u64, Stop)> {
    let mut buffer = vec![0; READ_BYTES];
    let mut filled = 0;
    // The place in the file of the first byte of the buffer.
    let mut at = 0;
    let mut has_title = false;
    loop {
        filled += read_full(files, file, &mut buffer[filled..], at + filled as u64)?;
        let is_last = filled < buffer.len();
        let mut rest = &buffer[..filled];
        if !has_title {
            match rest.strip_prefix(TITLE) {
                Some(records) => rest = records,
                None if TITLE.starts_with(rest) => return Ok((0, Stop::Cut)),
                None => return Ok((0, Stop::Damaged)),
            }
            has_title = true;
        }
        let stop = loop {
            match record::read(rest) {
                Read::Record { entry, rest: next } => {
                    if !each(entry) {
                        break Some(Stop::Damaged);
                    }
                    rest = next;
                }
                Read::End if is_last => break Some(Stop::End),
                Read::Cut { .. } if is_last => break Some(Stop::Cut),
                Read::End | Read::Cut { .. } => break None,
                Read::Damaged => break Some(Stop::Damaged),
            }
        };
        let read = filled - rest.len();
        at += read as u64;
        if let Some(stop) = stop {
            return Ok((at, stop));
        }
        buffer.copy_within(read..filled, 0);
        filled -= read;
        // It grows with what is read, not with what a damaged length asks for.
        if filled * 2 > buffer.len() {
            buffer.resize(buffer.len() * 2, 0);
        }
    }
}

/// Whole records of a segment from a place on, up to [`READ_BYTES`] or one record. Empty: there is
/// none before `end`. Checksums are not compared: the reader of the entries does that.
///
/// # Errors
///
/// The file cannot be read, or is shorter.
pub(super) fn chunk(files: &dyn Files, file: &File, at: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut wanted = READ_BYTES as u64;
    loop {
        let mut bytes = vec![0; wanted.min(end - at) as usize];
        let read = read_full(files, file, &mut bytes, at)?;
        bytes.truncate(read);
        let mut whole = 0;
        while let Some(length) =
            record::length(&bytes[whole..]).filter(|length| whole + length <= read)
        {
            whole += length;
        }
        match whole {
            0 if at == end => return Ok(bytes),
            0 if (read as u64) < wanted => return Err(io::Error::other("a record is cut")),
            0 => wanted *= 2,
            _ => {
                bytes.truncate(whole);
                return Ok(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests;
