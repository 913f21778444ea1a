//! Which of the two processes the kernel ends where memory does not suffice for both.
//!
//! Owns the OOM score of the new process: until it is told to serve it is the first to be ended, so
//! that the old one serves on.

use std::fs;
use std::io;

/// The score of this process, which any process may raise, and set back to what it was.
const FILE: &str = "/proc/self/oom_score_adj";

/// The highest one.
const FIRST: &str = "1000";

/// This process is the first to be ended.
#[derive(Debug)]
pub(super) struct Victim {
    /// The score as it was; `None` if it was not raised.
    before: Option<String>,
}

impl Victim {
    /// Raises the score. Where the system does not let it, the kernel chooses.
    pub(super) fn begin() -> Victim {
        let before = fs::read_to_string(FILE).ok();
        let is_raised = |_: &String| fs::write(FILE, FIRST).is_ok();
        Victim {
            before: before.filter(is_raised),
        }
    }

    /// Sets it back.
    ///
    /// # Errors
    ///
    /// The system does not let it: this process stays the first to be ended.
    pub(super) fn end(&self) -> io::Result<()> {
        match &self.before {
            Some(before) => fs::write(FILE, before.trim_end()),
            None => Ok(()),
        }
    }
}
