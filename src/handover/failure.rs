//! The reasons for which an upgrade fails.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::channel::Fault;
use encke_core::engine::UpgradeResult;
use encke_core::log::cluster::Unrest;

/// The reason for which the old process serves on.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The program cannot be started.
    #[error("cannot start {}: {error}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The new process refused to take over, with this reason.
    #[error("the new process refuses: {0}")]
    Refused(String),
    /// The new process broke off, or did not answer in time.
    #[error("{0}, {1}")]
    Broken(#[source] Fault, &'static str),
    /// The old process cannot hand over at present.
    #[error("{0}")]
    Impossible(String),
    /// The node of a cluster did not come to rest in time.
    #[error("{0}")]
    Unrest(Unrest),
    /// A system call failed.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
    /// A drain has begun.
    #[error("the server drains")]
    Drained,
}

impl Failure {
    /// The label under which metrics count it.
    pub(crate) fn result(&self) -> UpgradeResult {
        match self {
            Failure::Refused(_) => UpgradeResult::Refused,
            Failure::Broken(Fault::TimedOut, _) | Failure::Unrest(_) => UpgradeResult::Timeout,
            Failure::Drained => UpgradeResult::Cancelled,
            Failure::Start { .. }
            | Failure::Broken(..)
            | Failure::Impossible(_)
            | Failure::System(..) => UpgradeResult::Failed,
        }
    }
}
