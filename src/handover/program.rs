//! The program that an upgrade starts: the one at the path from which this process was started.
//!
//! Owns the search for that path. The path is determined at the start, while the file of this
//! process is still there. The upgrade runs the file that is there by then, such as a newer version
//! that a package manager has installed.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// The variable that tells a process that its standard input is the socket of an upgrade.
pub(super) const VARIABLE: &str = "ENCKE_TAKE_OVER";

/// Variables of the service manager that only the old process may use: its sockets are handed over,
/// and the watchdog is told the id of the new process.
const OF_OLD_PROCESS: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// A program and its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// The program of this process, by the path with which it was started, and its arguments. A
    /// bare name is searched in `PATH`; a symbolic link is not resolved. Call it at the start.
    ///
    /// # Errors
    ///
    /// The system does not say which program runs.
    pub fn of_this_process() -> io::Result<Program> {
        let running = env::current_exe()?;
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        Ok(Program {
            path: find(&name, &running, env::var_os("PATH").as_deref()),
            arguments: arguments.collect(),
        })
    }

    /// Another program, with the arguments that it is to get.
    pub fn new(path: impl Into<PathBuf>, arguments: Vec<OsString>) -> Program {
        Program {
            path: path.into(),
            arguments,
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it, with an end of a channel as its standard input.
    pub(super) fn start(&self, socket: OwnedFd) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        for variable in OF_OLD_PROCESS {
            command.env_remove(variable);
        }
        command
            .args(&self.arguments)
            .env(VARIABLE, "1")
            .stdin(socket)
            .spawn()
    }
}

/// The path by which a program was started whose first argument is `name`. `running` is the file of
/// the process.
fn find(name: &OsStr, running: &Path, path: Option<&OsStr>) -> PathBuf {
    let here = env::current_dir().unwrap_or_default();
    let candidates: Vec<PathBuf> = match name.as_bytes().contains(&b'/') {
        true => vec![here.join(name)],
        false => env::split_paths(path.unwrap_or_default())
            .map(|directory| here.join(directory).join(name))
            .collect(),
    };
    // The first argument may be anything.
    let is_it = |path: &PathBuf| match (fs::metadata(path), fs::metadata(running)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    };
    match candidates.iter().find(|path| is_it(path)) {
        // Without `.` in it.
        Some(found) => found.components().collect(),
        None => without_deleted(running),
    }
}

/// The path of a program that was replaced while it started, without what the kernel appends.
fn without_deleted(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_found_by_its_name_and_by_its_path() {
        let dir = crate::disk::TempDir::new();
        let bin = dir.0.join("bin");
        fs::create_dir_all(&bin).unwrap();
        let (file, link, other) = (dir.0.join("v1"), bin.join("encke"), bin.join("other"));
        fs::write(&file, "").unwrap();
        fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let path = env::join_paths([Path::new("/nowhere"), &bin]).unwrap();
        let find = |name: &str| find(name.as_ref(), &file, Some(&path));
        assert_eq!(find("encke"), link, "a link stays one");
        assert_eq!(find(link.to_str().unwrap()), link);
        for wrong in ["", "other", "missing", other.to_str().unwrap()] {
            assert_eq!(find(wrong), file, "{wrong}");
        }
        let deleted = Path::new("/usr/bin/encke (deleted)");
        assert_eq!(without_deleted(deleted), Path::new("/usr/bin/encke"));
    }
}
