//! Callbacks of the program around the server: periodic ones, and those of descriptors.
//!
//! Owns when they run, and the descriptors.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use encke_core::base::time::{Time, millis};

type Run = Box<dyn FnMut() + Send>;

/// The callbacks that are due at times, and those of descriptors.
#[derive(Default)]
pub(super) struct Callbacks {
    periodic: Vec<Periodic>,
    watched: Vec<Watched>,
}

struct Periodic {
    interval_ms: u64,
    due: Time,
    run: Run,
}

struct Watched {
    /// Kept open until the loop ends, because closing it would remove it from the poll.
    source: OwnedFd,
    run: Run,
}

impl Callbacks {
    /// Calls `run` about once per `interval`.
    pub(super) fn every(&mut self, interval: Duration, run: Run) {
        self.periodic.push(Periodic {
            interval_ms: millis(interval).max(1),
            due: Time::default(),
            run,
        });
    }

    /// Calls `run` whenever `source` has become readable. `first_token` is the token of the first
    /// one.
    pub(super) fn watch(
        &mut self,
        source: OwnedFd,
        run: Run,
        registry: &Registry,
        first_token: usize,
    ) -> io::Result<()> {
        let token = Token(first_token + self.watched.len());
        let raw = source.as_raw_fd();
        registry.register(&mut SourceFd(&raw), token, Interest::READABLE)?;
        self.watched.push(Watched { source, run });
        Ok(())
    }

    /// When the next periodic one is due.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.periodic.iter().map(|callback| callback.due).min()
    }

    /// Runs the periodic ones that are due.
    pub(super) fn run_due(&mut self, now: Time) {
        for callback in &mut self.periodic {
            if callback.due <= now {
                callback.due = now.after_ms(callback.interval_ms);
                (callback.run)();
            }
        }
    }

    /// Runs that of the descriptor with this number.
    pub(super) fn run_watched(&mut self, number: usize) {
        if let Some(watched) = self.watched.get_mut(number) {
            (watched.run)();
        }
    }

    /// Runs those whose descriptors are readable now, whatever the poll has said.
    pub(super) fn run_readable(&mut self) {
        for watched in &mut self.watched {
            let mut source = [PollFd::new(&watched.source, PollFlags::IN)];
            let now = Timespec::default();
            // An error is one of the descriptor, which the poll of the loop also meets.
            if poll(&mut source, Some(&now)).is_ok_and(|count| count > 0) {
                (watched.run)();
            }
        }
    }
}
