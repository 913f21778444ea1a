//! How far an upgrade is, on its old side.
//!
//! Owns the attempt that is under way, and the process of the last one that has failed.

use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use crate::handover::{Attempt, Cluster, Ending, NewProcess, Program, Stage};
use encke_core::base::time::{Time, millis};
use encke_core::config::{Config, EngineUrl};

/// The state of upgrades.
pub(super) struct Upgrade {
    pub(super) means: Option<Means>,
    pub(super) timeout: Duration,
    pub(super) data_dir: Option<Vec<u8>>,
    /// The log of the cluster, if the server is a node of one.
    pub(super) cluster: Option<Cluster>,
    pub(super) attempt: Option<Attempt>,
    /// The new process, when it is ready.
    pub(super) started: Option<NewProcess>,
    /// The last one, if it has failed.
    pub(super) ending: Option<Ending>,
    /// How the loop ends, once everything is handed over: it closes nothing.
    pub(super) end: Option<End>,
}

/// How a loop has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// A drain is over.
    Drained,
    /// Another process serves.
    HandedOver,
    /// The new process was sent `Go`, and has ended: no process serves.
    Lost,
}

/// The program to start, and the callback that is told the stages: from the process around the
/// server.
pub(super) struct Means {
    pub(super) program: Program,
    pub(super) notify: Box<dyn FnMut(Stage) + Send>,
}

impl Upgrade {
    /// No upgrade: the program around the server allows none so far.
    pub(super) fn new(config: &Config) -> Upgrade {
        let dir = config.saving.dir.as_ref();
        let engine = &config.engine;
        let cluster = |url: &EngineUrl| Cluster {
            engine: url.to_string(),
            namespace: engine.namespace.clone(),
        };
        Upgrade {
            means: None,
            timeout: config.upgrade_timeout,
            data_dir: dir.map(|dir| dir.as_os_str().as_bytes().to_vec()),
            cluster: engine.url.as_ref().map(cluster),
            attempt: None,
            started: None,
            ending: None,
            end: None,
        }
    }

    /// Takes new settings.
    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.timeout = config.upgrade_timeout;
    }

    /// When the one that is under way is to end.
    pub(super) fn until(&self) -> Option<Instant> {
        self.attempt.as_ref().map(Attempt::until)
    }

    /// Waits, at the end of this process, until the process of an upgrade that has failed is gone.
    pub(super) fn finish(&mut self) {
        if let Some(ending) = self.ending.take() {
            ending.wait();
        }
    }

    /// Tells the program around the server.
    pub(super) fn notify(&mut self, stage: Stage) {
        if let Some(means) = &mut self.means {
            (means.notify)(stage);
        }
    }
}

/// The time of the engine at `now`. `started`: when the engine's clock showed `first_time`.
pub(super) fn time((started, first_time): (Instant, Time), now: Instant) -> Time {
    first_time.after_ms(millis(now.saturating_duration_since(started)))
}
