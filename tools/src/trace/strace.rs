//! System calls by name, counted by `strace -c`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use encke_test_rig::Process;
use rustix::process::Signal;

use super::missing;
use crate::command::text;

/// A strace at work.
pub(super) struct Strace {
    strace: Process,
    /// Its complaints; closed, it would die of them.
    complaints: BufReader<std::process::ChildStderr>,
}

impl Strace {
    /// Begins to count; returns once all processes are traced.
    pub(super) fn start(processes: &[u32]) -> Result<Strace, String> {
        let mut command = Command::new("strace");
        command.args(["-c", "-f", "-U", "calls,name"]);
        for process in processes {
            command.arg("-p").arg(process.to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped());
        let mut strace =
            Process::start(&mut command).map_err(|error| missing("strace", "strace", &error))?;
        let stderr = strace.child().stderr.take().ok_or("no pipe")?;
        let mut complaints = BufReader::new(stderr);
        for _ in processes {
            let mut line = String::new();
            let length = complaints.read_line(&mut line);
            if !length.is_ok_and(|length| length > 0) || !line.contains("attached") {
                return Err(format!("strace: {line}"));
            }
        }
        Ok(Strace { strace, complaints })
    }

    /// Ends the count: calls by name.
    pub(super) fn finish(mut self) -> Result<BTreeMap<String, u64>, String> {
        self.strace.signal(Signal::INT).map_err(text)?;
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
