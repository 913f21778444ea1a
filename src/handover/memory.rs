//! The memory in which the state goes from one process to the other.
//!
//! Owns its seals: once the state is written, neither process can change it, so that checked bytes
//! do not change after the check.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, SealFlags};

/// The seals of memory that is complete.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE)
    .union(SealFlags::SEAL);

/// Empty memory.
pub(crate) fn create() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(rustix::fs::memfd_create("encke-state", flags)?.into())
}

/// Seals it against every change.
pub(crate) fn seal(memory: &File) -> io::Result<()> {
    Ok(rustix::fs::fcntl_add_seals(memory, SEALS)?)
}

/// Memory of another process, to be read from its beginning. It has to be sealed, and of this size.
///
/// # Errors
///
/// It is not sealed, or of another size.
pub(crate) fn open(memory: OwnedFd, bytes: u64) -> io::Result<File> {
    let mut memory = File::from(memory);
    let seals = rustix::fs::fcntl_get_seals(&memory)?;
    if !seals.contains(SEALS) || memory.metadata()?.len() != bytes {
        return Err(io::Error::other("the memory of the state is not complete"));
    }
    memory.rewind()?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn only_sealed_memory_of_the_right_size_is_opened() {
        let mut memory = create().unwrap();
        memory.write_all(b"state").unwrap();
        let again = || memory.try_clone().unwrap().into();
        assert!(open(again(), 5).is_err(), "it is not sealed");
        seal(&memory).unwrap();
        assert!((&memory).write_all(b"more").is_err());
        assert!(memory.set_len(0).is_err());
        assert!(open(again(), 6).is_err());
        let mut text = String::new();
        open(again(), 5).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "state");
        let file = File::open("/dev/null").unwrap();
        assert!(open(file.into(), 0).is_err());
    }
}
