//! Messages between a process and those it started: one JSON object per line, on standard input and
//! output.

use std::io::{self, Write};
use std::os::fd::AsRawFd;

use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::driver::Driver;
use crate::net;

/// Writes a message to standard output.
pub(crate) fn say(message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// Reads standard input once; false if the process at its other end is gone.
pub(crate) fn read_input(input: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 4_096];
    // Not through std's standard input: what it has buffered, no poll announces.
    let length = rustix::io::read(io::stdin(), &mut buffer)?;
    input.extend_from_slice(&buffer[..length]);
    Ok(length > 0)
}

/// Has the driver tell when standard input is readable; [`drain_input`] reads it then.
pub(crate) fn watch_input(driver: &mut Driver) -> io::Result<()> {
    rustix::io::ioctl_fionbio(io::stdin(), true)?;
    driver.watch(io::stdin().as_raw_fd(), 0)
}

/// Reads all that standard input has; false if the process at its other end is gone.
pub(crate) fn drain_input(input: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        match read_input(input) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

/// Takes the next whole line.
pub(crate) fn take_line(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = memchr::memchr(b'\n', input)?;
    Some(input.drain(..=end).collect())
}

/// Begins as a started process: it ends with its parent, raises its limit on descriptors, and reads
/// the first message, its configuration. Returns that and what was read after it, or `None` if the
/// parent is gone.
pub(crate) fn begin<T: DeserializeOwned>() -> Result<Option<(T, Vec<u8>)>, String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| error.to_string())?;
    net::raise_file_limit();
    let mut input = Vec::new();
    let line = first_line(&mut input).map_err(|error| error.to_string())?;
    let Some(line) = line else { return Ok(None) };
    let told = serde_json::from_slice(&line).map_err(|error| error.to_string())?;
    Ok(Some((told, input)))
}

/// Waits for the first line; `None` if the parent is gone.
fn first_line(input: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(line) = take_line(input) {
            return Ok(Some(line));
        }
        if !read_input(input)? {
            return Ok(None);
        }
    }
}
