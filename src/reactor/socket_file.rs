//! The file of a listening unix socket.
//!
//! Owns its creation and its removal. Invariants: a file on which a process listens is never
//! replaced, even if several processes start at once; and a file is removed only if it is still the
//! one that was created here, because a successor may use the path by then.

use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::handover::FileId;

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 65_535;

/// How long a start waits for another one that has locked the directory.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// How often it tries again.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// A file that was created by binding a socket to its path. Dropping it removes the file if it is
/// still the same. The socket must be open until then, because an open socket prevents the reuse of
/// its inode number.
pub(super) struct SocketFile {
    path: PathBuf,
    id: FileId,
    /// Whether it is another process's, which still listens.
    is_shared: bool,
}

impl SocketFile {
    /// Listens on a new socket at `path`, and returns it with its file. A file without a listener
    /// is replaced. `mode` is the file's permission bits; `None` leaves them to the umask.
    pub(super) fn listen(path: &Path, mode: Option<u32>) -> io::Result<(Socket, SocketFile)> {
        // Held until this socket listens: until then other processes would take its file for a
        // stale one.
        let _lock = lock_directory(path);
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile {
            id: id(&std::fs::symlink_metadata(path)?),
            path: path.to_owned(),
            is_shared: false,
        };
        if let Some(mode) = mode {
            // Before it listens, so that no client can connect under another mode.
            std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        socket.listen(BACKLOG)?;
        Ok((socket, file))
    }

    /// The file that another process has created. It is that process's until [`SocketFile::own`].
    pub(super) fn of_other(path: &Path, id: FileId) -> SocketFile {
        SocketFile {
            path: path.to_owned(),
            id,
            is_shared: true,
        }
    }

    /// Takes the file over.
    pub(super) fn own(&mut self) {
        self.is_shared = false;
    }

    /// Its identity.
    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// Sets its mode, if it is still the one that was created.
    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        let current = std::fs::symlink_metadata(&self.path)?;
        match id(&current) == self.id {
            true => std::fs::set_permissions(&self.path, Permissions::from_mode(mode)),
            false => Ok(()),
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_shared {
            return;
        }
        let current = std::fs::symlink_metadata(&self.path);
        if current.is_ok_and(|current| id(&current) == self.id) {
            // An error leaves a stale file, which the next start replaces.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn id(metadata: &Metadata) -> FileId {
    FileId {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

/// Locks the directory of a path against other starts of encke. Where that is not possible, because
/// the directory cannot be read, its file system has no locks, or a process holds the lock for
/// longer than a start takes, nothing is locked.
fn lock_directory(path: &Path) -> Option<File> {
    let directory = path.parent()?;
    let file = File::open(directory).ok()?;
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(LOCK_INTERVAL),
            Err(Errno::WOULDBLOCK) => {
                // Any process that may read the directory can hold its lock, for ever.
                log::warn!("{} stays locked by another process", directory.display());
                return None;
            }
            Err(_) => return None,
        }
    }
}

/// Removes a socket file without a listener. One with a listener stays, and so does any other kind
/// of file: binding then fails.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        _ => return Ok(()),
    }
    let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A listener with a full backlog would block `connect`.
    client.set_nonblocking(true)?;
    match client.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        _ => Ok(()),
    }
}
