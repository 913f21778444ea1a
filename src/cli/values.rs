//! The values of options that depend on the process and its system: host names, log filters, the
//! file of settings, the files of keys.
//!
//! Owns the system calls for them. Each error is one line with the allowed values; the caller adds
//! the option.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use encke::tokens::{Key, MAX_FILE_BYTES};
use log::LevelFilter;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;

/// Longer files are mistakes; `/dev/zero` never ends.
const MAX_KEY_BYTES: u64 = 4_096;
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The time without a byte after which reading from a pipe fails.
const PIPE_TIMEOUT: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// A text in one line, for an error.
pub(super) fn one_line(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(printable).collect()
}

/// Finds the addresses of a host name, or of an address as a text.
pub(super) fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port).to_socket_addrs();
    let found = found.map_err(|error| format!("{host} cannot be resolved: {error}"))?;
    Ok(found.collect())
}

/// Accepts every host name without looking for its addresses: where they are not used, a name
/// server that does not answer is no reason to refuse them.
pub(super) fn unresolved(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let ip = host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    Ok(vec![SocketAddr::new(ip, port)])
}

/// Checks a log filter of `env_logger`: levels, each alone or as `module=level`. A word that is
/// neither a level nor a module of encke is refused as a misspelt level.
pub(super) fn check_log_filter(text: &str) -> Result<(), String> {
    let is_filter = env_filter::Builder::new().try_parse(text).is_ok();
    let is_word = |word: &str| {
        word.contains('=') || word.starts_with("encke") || word.parse::<LevelFilter>().is_ok()
    };
    if is_filter && text.split(',').map(str::trim).all(is_word) {
        return Ok(());
    }
    Err(format!(
        "{text:?}: a level is off, error, warn, info, debug or trace; for one module, module=level; \
         several are separated by commas"
    ))
}

/// Reads the file of settings, and returns its path and its text; `None` if the path begins with
/// `-` and there is no such file.
pub(super) fn config_file(path: &str) -> Result<Option<(PathBuf, String)>, String> {
    let (path, may_be_missing) = match path.strip_prefix('-') {
        Some(path) => (path, true),
        None => (path, false),
    };
    if path.is_empty() {
        return Err("it names no file; a path is allowed, such as /etc/encke.toml".into());
    }
    let path = PathBuf::from(path);
    match open(&path) {
        Err(error) if may_be_missing && error.kind() == ErrorKind::NotFound => Ok(None),
        opened => {
            let bytes = read(&path, opened, MAX_CONFIG_BYTES)?;
            let text = String::from_utf8(bytes);
            let text = text.map_err(|_| format!("{} is not UTF-8", path.display()))?;
            Ok(Some((path, text)))
        }
    }
}

/// Whether every user may read a file.
pub(super) fn is_readable_by_all(path: &Path) -> bool {
    const OTHERS_READ: u32 = 0o004;
    path.metadata()
        .is_ok_and(|metadata| metadata.mode() & OTHERS_READ != 0)
}

/// Reads a key or a password from a file; a final line end is not part of it.
pub(super) fn key_from_file(path: &str) -> Result<String, String> {
    let path = Path::new(path);
    let key = read(path, open(path), MAX_KEY_BYTES)?;
    let key = String::from_utf8(key).map_err(|_| format!("{} is not UTF-8", path.display()))?;
    let line = key.strip_suffix('\n').unwrap_or(&key);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// Reads the keys of tokens from a file, and warnings about keys that are skipped.
pub(super) fn token_keys(path: &str) -> Result<(Vec<Key>, Vec<String>), String> {
    let file = read(path.as_ref(), open(path.as_ref()), MAX_FILE_BYTES as u64)?;
    Key::parse(&file).map_err(|error| format!("{path}: {error}"))
}

/// Opens a file for [`read`]. A pipe is opened even if nothing writes to it.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    File::options().read(true).custom_flags(flags).open(path)
}

/// A file that may be a pipe, as `<(command)` of a shell is one. A reload reads it again, when
/// nothing may come through it any more, so it is not waited for longer than [`PIPE_TIMEOUT`].
struct PipeReader(File);

impl Read for PipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.metadata()?.file_type().is_fifo() {
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            if rustix::event::poll(&mut fds, Some(&PIPE_TIMEOUT))? == 0 {
                let text = "it is a pipe, and nothing comes through it";
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
        }
        self.0.read(buffer)
    }
}

fn read(path: &Path, file: io::Result<File>, max_bytes: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.and_then(|file| PipeReader(file).take(max_bytes + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if bytes.len() as u64 > max_bytes {
        let path = path.display();
        return Err(format!(
            "{path} is longer than such a file may be, {max_bytes} bytes"
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn log_filter_with_an_unknown_level_is_refused() {
        for text in [
            "info",
            "OFF",
            "encke=debug",
            "warn,encke_core::http1=trace",
            "warn, encke=info",
            "encke",
        ] {
            assert_eq!(check_log_filter(text), Ok(()), "{text}");
        }
        for text in ["", "loud", "info,", "encke=loud", "a=b=c", "mio"] {
            assert!(
                check_log_filter(text)
                    .unwrap_err()
                    .contains("off, error, warn"),
                "{text}"
            );
        }
    }

    #[test]
    fn pipe_is_read_and_not_waited_for() {
        let (read, write) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", read.as_raw_fd());
        (&write).write_all(b"a key\n").unwrap();
        drop(write);
        assert_eq!(key_from_file(&path), Ok("a key".into()));

        let (read, _write) = std::io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", read.as_raw_fd());
        let error = key_from_file(&path).unwrap_err();
        assert!(error.contains("nothing comes through it"), "{error}");
    }

    #[test]
    fn host_names_are_resolved() {
        assert!(
            resolve("localhost", 1)
                .unwrap()
                .iter()
                .all(|address| address.ip().is_loopback())
        );
        assert!(
            resolve("no such name", 1)
                .unwrap_err()
                .contains("cannot be resolved")
        );
    }

    #[test]
    fn endless_or_missing_file_is_refused() {
        for error in [
            key_from_file("/dev/zero").unwrap_err(),
            token_keys("/dev/zero").unwrap_err(),
            config_file("/dev/zero").unwrap_err(),
            config_file("-/dev/zero").unwrap_err(),
        ] {
            assert!(error.contains("/dev/zero is longer than"), "{error}");
        }
        for error in [
            key_from_file("/nowhere/key").unwrap_err(),
            token_keys("/nowhere/key").unwrap_err(),
            config_file("/nowhere/key").unwrap_err(),
        ] {
            assert!(error.contains("/nowhere/key cannot be read"), "{error}");
        }
        assert_eq!(config_file("-/nowhere/file"), Ok(None));
        assert!(config_file("-").unwrap_err().contains("no file"));
    }
}
