//! The values of options that depend on the process and its system: host names, log filters, the
//! key file.
//!
//! Owns the system calls for them. Each error is one line with the allowed values; the caller adds
//! the option.

use std::fs::File;
use std::io::Read;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use log::LevelFilter;

/// A longer file is a mistake and not a key; `/dev/zero` never ends.
const MAX_KEY_BYTES: u64 = 4_096;

/// Finds the addresses of a host name, or of an address as a text.
pub(super) fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port).to_socket_addrs();
    let found = found.map_err(|error| format!("{host} cannot be resolved: {error}"))?;
    Ok(found.collect())
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

/// Reads the key from a file; a final line end is not part of it.
pub(super) fn key_from_file(path: &Path) -> Result<String, String> {
    let mut key = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_KEY_BYTES + 1).read_to_string(&mut key))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if key.len() as u64 > MAX_KEY_BYTES {
        let path = path.display();
        return Err(format!(
            "{path} is longer than a key may be, {MAX_KEY_BYTES} bytes"
        ));
    }
    let line = key.strip_suffix('\n').unwrap_or(&key);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
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
    fn endless_file_is_refused_as_a_key() {
        let error = key_from_file(Path::new("/dev/zero")).unwrap_err();
        assert!(error.contains("longer than a key may be"), "{error}");
        let error = key_from_file(Path::new("/nowhere/key")).unwrap_err();
        assert!(error.contains("/nowhere/key cannot be read"), "{error}");
    }
}
