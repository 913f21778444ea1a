//! The choice of the process that the kernel kills if memory does not suffice for both.
//!
//! Owns the OOM score of the new process. Until it is to serve it is the first to be killed, so
//! that the old process continues to serve.

use std::fs;
use std::io;

/// The file with the score of this process. Any process may raise its score, and lower it again to
/// the earlier value.
const FILE: &str = "/proc/self/oom_score_adj";

/// The highest score.
const FIRST: &str = "1000";

/// The raised score of this process, with which it is the first to be killed.
#[derive(Debug)]
pub(super) struct RaisedScore {
    /// The score before; `None` if it was not raised.
    before: Option<String>,
}

impl RaisedScore {
    /// Raises the score. If the system does not permit that, the kernel chooses between the
    /// processes.
    pub(super) fn raise() -> RaisedScore {
        let before = fs::read_to_string(FILE).ok();
        let is_raised = |_: &String| fs::write(FILE, FIRST).is_ok();
        RaisedScore {
            before: before.filter(is_raised),
        }
    }

    /// Restores the score.
    ///
    /// # Errors
    ///
    /// The system does not permit it: this process stays the first to be killed.
    pub(super) fn restore(&self) -> io::Result<()> {
        match &self.before {
            Some(before) => fs::write(FILE, before.trim_end()),
            None => Ok(()),
        }
    }
}
