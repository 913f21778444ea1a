//! The pause of accepting when the process has no descriptor left.
//!
//! Owns a spare descriptor: it is closed to accept and reject one connection, which would otherwise
//! wait unanswered while the listener stays readable.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use encke_core::base::time::Time;

/// How long accepting pauses when descriptors have run out, unless one is freed before.
const PAUSE_MS: u64 = 100;

/// The state of accepting.
pub(super) struct AcceptGate {
    spare: Option<OwnedFd>,
    /// The end of a pause.
    paused_until: Option<Time>,
}

impl AcceptGate {
    pub(super) fn new() -> AcceptGate {
        AcceptGate {
            spare: open_spare(),
            paused_until: None,
        }
    }

    /// A gate that another process has closed, or not.
    pub(super) fn paused_until(until: Option<Time>) -> AcceptGate {
        AcceptGate {
            spare: open_spare(),
            paused_until: until,
        }
    }

    /// When accepting resumes after a pause.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.paused_until
    }

    /// Whether accepting pauses, at any time.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Ends a pause whose time is over. Returns whether connections may be accepted.
    pub(super) fn open(&mut self, now: Time) -> bool {
        if self.paused_until.is_some_and(|until| until > now) {
            return false;
        }
        self.resume();
        true
    }

    /// Ends a pause, because a descriptor was freed.
    pub(super) fn resume(&mut self) {
        self.paused_until = None;
    }

    /// Frees a descriptor, so that one connection can be accepted. To be followed by
    /// [`AcceptGate::pause`].
    pub(super) fn give_spare(&mut self) {
        self.spare = None;
    }

    /// Pauses accepting, and takes a spare descriptor again.
    pub(super) fn pause(&mut self, now: Time) {
        self.spare = open_spare();
        self.paused_until = Some(now.after_ms(PAUSE_MS));
    }
}

fn open_spare() -> Option<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}
