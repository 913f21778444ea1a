//! Counting a server's system calls with `strace -c`, where there is one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};

/// A strace at work.
pub struct Trace {
    strace: Child,
    /// Its complaints; closed, it would die of them.
    complaints: BufReader<std::process::ChildStderr>,
}

impl Trace {
    /// Begins to count; returns once all processes are traced.
    pub fn start(processes: &[u32]) -> Result<Trace, String> {
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-U", "calls,name"]);
        for process in processes {
            command.arg("-p").arg(process.to_string());
        }
        let mut strace = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("strace cannot be run: {error}"))?;
        let stderr = strace.stderr.take().ok_or("no pipe")?;
        let mut complaints = BufReader::new(stderr);
        for _ in processes {
            let mut line = String::new();
            let length = complaints.read_line(&mut line);
            if !length.is_ok_and(|length| length > 0) || !line.contains("attached") {
                return Err(format!("strace: {line}"));
            }
        }
        Ok(Trace { strace, complaints })
    }

    /// Ends the count: calls by name.
    pub fn finish(mut self) -> Result<BTreeMap<String, u64>, String> {
        if let Some(pid) = Pid::from_raw(self.strace.id() as i32) {
            rustix::process::kill_process(pid, Signal::INT).map_err(|error| error.to_string())?;
        }
        let mut calls = BTreeMap::new();
        for line in (&mut self.complaints).lines().map_while(Result::ok) {
            let mut words = line.split_whitespace();
            let (Some(count), Some(name), None) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            if let (Ok(count), false) = (count.parse(), name == "total") {
                calls.insert(name.into(), count);
            }
        }
        Ok(calls)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // It has ended if the count was finished.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}
