//! Directories that are removed.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new directory, removed when it is dropped. Its path is short, as paths of unix sockets must
/// be.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// Makes one.
    ///
    /// # Panics
    ///
    /// There can be no files.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Directory::next(&std::env::temp_dir(), &NEXT)
    }

    /// Makes the next one in a directory that is not there yet: one of a process that was killed
    /// stays, with its files, and another process may have the same id.
    fn next(parent: &Path, next: &AtomicU32) -> Directory {
        let process = std::process::id();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("encke-test-{process}-{number}"));
            match fs::create_dir(&path) {
                Ok(()) => return Directory(path),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{} cannot be made: {error}", path.display()),
            }
        }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, and returns its path.
    ///
    /// # Panics
    ///
    /// It cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("a file can be written");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // An error leaves files in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_that_was_left_behind_is_not_used() {
        let parent = Directory::new();
        let first = Directory::next(parent.root(), &AtomicU32::new(0));
        let left = first.write("appendonly.aof", "old");
        let second = Directory::next(parent.root(), &AtomicU32::new(0));
        assert_ne!(first.root(), second.root());
        assert!(!second.path("appendonly.aof").exists());
        assert!(left.exists());
    }
}
