//! Parts of a tool that run as processes of their own, and the messages to and from them: one JSON
//! object per line, on standard input and output.

use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::driver::Driver;
use crate::net;

/// Descriptors that a process needs besides its clients'.
const SPARE_FILES: u64 = 32;

/// Source addresses of a process.
const ADDRESSES: u8 = 32;

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

/// A part of a tool that runs as a process of its own. Dropped, the process is killed.
pub(crate) struct Process {
    process: encke_test_rig::Process,
    stdin: ChildStdin,
    pub(crate) stdout: ChildStdout,
    input: Vec<u8>,
}

impl Process {
    /// Starts this program as one of its parts, with a configuration.
    pub(crate) fn start(part: &str, config: &impl Serialize) -> io::Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = encke_test_rig::Process::start(&mut command)?;
        let child = process.child();
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        let mut process = Process {
            process,
            stdin,
            stdout,
            input: Vec::new(),
        };
        process.tell(config)?;
        Ok(process)
    }

    /// Sends it a message.
    pub(crate) fn tell(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.stdin.write_all(&line)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        self.process.signal(signal)
    }

    /// Reads its output once.
    ///
    /// # Errors
    ///
    /// It has ended, or nothing is there and its output does not block.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        match self.stdout.read(&mut buffer)? {
            0 => Err(io::Error::other("a process ended; see its message above")),
            length => {
                self.input.extend_from_slice(&buffer[..length]);
                Ok(())
            }
        }
    }

    /// Takes the next message that was read.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let line = take_line(&mut self.input);
        Ok(line.map(|line| serde_json::from_slice(&line)).transpose()?)
    }

    /// Takes all messages that are there, of a process whose output does not block.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub(crate) fn hear_all<T: DeserializeOwned>(
        &mut self,
        mut on_message: impl FnMut(T),
    ) -> io::Result<()> {
        loop {
            let read = self.read();
            while let Some(message) = self.hear()? {
                on_message(message);
            }
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
    }
}

/// Splits clients among processes, at least so many and as many as the limit on open files asks
/// for, and returns the first client and the number of clients of each.
pub(crate) fn shares(clients: u32, processes: u32) -> Vec<(u32, u32)> {
    let room = net::raise_file_limit().saturating_sub(SPARE_FILES).max(1);
    let needed = u64::from(clients).div_ceil(room) as u32;
    let count = processes.max(needed);
    let start = |number: u32| (u64::from(clients) * u64::from(number) / u64::from(count)) as u32;
    let share = |number| (start(number), start(number + 1) - start(number));
    (0..count).map(share).collect()
}

/// The source addresses of a process, 127.NET.x.1: enough that ports in TIME_WAIT do not run out.
pub(crate) fn addresses(net: u8) -> Vec<Ipv4Addr> {
    (0..ADDRESSES)
        .map(|last| Ipv4Addr::new(127, net, last, 1))
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_cover_all_clients_once() {
        for (clients, processes) in [(0, 0), (1, 1), (10, 3), (7, 10), (1_000_000, 1)] {
            let shares = shares(clients, processes);
            assert!(shares.len() >= processes as usize);
            let mut next = 0;
            for (first, count) in shares {
                assert_eq!(first, next);
                next += count;
            }
            assert_eq!(next, clients);
        }
    }
}
