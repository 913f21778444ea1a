//! The operations on files that saved history needs.
//!
//! Owns the seam between the saved history and the system: a test replaces some of the operations
//! by ones that fail.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The mode of new files: other users may not read what is published.
const MODE: u32 = 0o600;

/// Operations on files. Each is that of the system.
pub(super) trait Files: Send + Sync {
    /// Opens a file that is there, to read and write it.
    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    /// Creates a file, or empties the one that is there.
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(path)
    }

    /// Reads at a place, perhaps fewer bytes than there are.
    fn read_at(&self, file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        file.read_at(bytes, at)
    }

    /// Writes at a place, perhaps fewer bytes than were given.
    fn write_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<usize> {
        file.write_at(bytes, at)
    }

    /// Cuts a file.
    fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        file.set_len(bytes)
    }

    /// The size of a file.
    fn len(&self, file: &File) -> io::Result<u64> {
        Ok(file.metadata()?.len())
    }

    /// Writes what the system has not written yet to the medium.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Writes the names of a directory to the medium.
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// Gives a file another name, in place of the file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// The names in a directory.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    /// Whether a path leads to an open file.
    fn is_at(&self, file: &File, path: &Path) -> io::Result<bool> {
        let (open, named) = (file.metadata()?, fs::metadata(path)?);
        Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
    }
}

/// The files of the system.
pub(super) struct System;

impl Files for System {}

/// Reads from a place until the buffer is full or the file ends, and returns the number of bytes.
pub(super) fn read_full(
    files: &dyn Files,
    file: &File,
    bytes: &mut [u8],
    at: u64,
) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match files.read_at(file, &mut bytes[read..], at + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Writes all bytes at a place.
pub(super) fn write_all(files: &dyn Files, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match files.write_at(file, &bytes[written..], at + written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
