//! A process that a run starts, stops, kills and starts again.
//!
//! Owns that it ends with this process. It is started through the part `launch`, as servers are.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::command::text;
use rustix::process::{Pid, Signal, kill_process};

/// A process that may be started again.
pub(super) struct Process {
    command: Vec<String>,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a program with arguments. What it writes is added to a file.
    pub(super) fn start(command: Vec<String>, log: &Path) -> Result<Process, String> {
        Ok(Process {
            child: spawn(&command, log)?,
            log: log.to_owned(),
            command,
        })
    }

    pub(super) fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(Pid::from_child(&self.child), signal).map_err(text)
    }

    /// Kills it, and waits until it is gone.
    pub(super) fn kill(&mut self) -> Result<(), String> {
        self.child.kill().map_err(text)?;
        self.child.wait().map_err(text)?;
        Ok(())
    }

    /// Starts it again after it was killed.
    pub(super) fn start_again(&mut self) -> Result<(), String> {
        self.child = spawn(&self.command, &self.log)?;
        Ok(())
    }

    /// Whether it runs.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its output so far.
    pub(super) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &[String], log: &Path) -> Result<Child, String> {
    let log = OpenOptions::new().create(true).append(true).open(log);
    let log = log.map_err(text)?;
    Command::new(std::env::current_exe().map_err(text)?)
        .args(["launch", "--"])
        .args(command)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(text)?)
        .stderr(log)
        .spawn()
        .map_err(text)
}
