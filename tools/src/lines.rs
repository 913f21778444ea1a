//! What a process and those it started say to each other: one JSON object per line, on standard
//! input and output.

use std::io::{self, Write};

use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::net;

/// Says something on standard output.
pub(crate) fn say(message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// Reads what has been told; false when whoever tells is gone.
pub(crate) fn read_input(input: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 4_096];
    // Not through std's standard input: what it has buffered, no poll announces.
    let length = rustix::io::read(io::stdin(), &mut buffer)?;
    input.extend_from_slice(&buffer[..length]);
    Ok(length > 0)
}

/// The next whole line.
pub(crate) fn take_line(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = memchr::memchr(b'\n', input)?;
    Some(input.drain(..=end).collect())
}

/// Begins as a process that is led: it ends with its leader, may have all descriptors, and is told
/// first what it is to do. That, and what has been read after it; none if the leader is gone.
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

/// Waits for the first line; none if whoever tells is gone.
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
