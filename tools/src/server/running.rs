//! A process that runs: one that was started here, or one that has taken over from it.
//!
//! Owns its number, and how it ended. One that takes over is a child of the process before it, and
//! comes to this one when that has ended.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};

use crate::command::text;
use crate::measure;

/// How often a process that is to become another is looked at.
const STEP: Duration = Duration::from_millis(1);

pub(super) struct Running {
    pid: Pid,
    status: Option<ExitStatus>,
}

impl Running {
    /// One that was started.
    pub(super) fn new(child: &Child) -> io::Result<Running> {
        rustix::process::set_child_subreaper(Some(getpid()))?;
        Ok(Running {
            pid: Pid::from_child(child),
            status: None,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(self.pid, signal)?)
    }

    /// Its exit status, if it has ended.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.wait_with(WaitOptions::NOHANG)
    }

    pub(super) fn wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.wait_with(WaitOptions::empty())
    }

    fn wait_with(&mut self, options: WaitOptions) -> io::Result<Option<ExitStatus>> {
        while self.status.is_none() {
            match waitpid(Some(self.pid), options) {
                Ok(Some((_, status))) => {
                    self.status = Some(ExitStatus::from_raw(status.as_raw()));
                }
                Ok(None) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(self.status)
    }

    /// Asks it to hand over to a new process, and waits until it has, or does not within
    /// `patience`.
    pub(super) fn upgrade(&mut self, patience: Duration) -> Result<(), String> {
        let before = measure::descendants(process::id());
        self.signal(Signal::USR2).map_err(text)?;
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended().map_err(text)? {
                // It was a child of the process that has ended, which gives its children to this.
                let mut below = measure::descendants(process::id()).into_iter();
                let next = below.find(|next| !before.contains(next));
                let next = next.filter(|_| status.success());
                let pid = next.and_then(|next| Pid::from_raw(next as i32));
                let pid = pid.ok_or(format!("no process took over: {status}"))?;
                *self = Running { pid, status: None };
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err("no process took over in time".into());
            }
            thread::sleep(STEP);
        }
    }
}
