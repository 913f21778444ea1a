//! Commands of other threads to a running server.
//!
//! Owns the queue of commands. It is separate from the queue of messages, so that a command does
//! not wait behind messages. A drain and an upgrade are flags beside it, so that they never wait for
//! room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use thiserror::Error;

use super::shared::Shared;
use encke_core::config::{Config, ConfigError};

/// Capacity of the queue, in commands.
const CAPACITY: usize = 16;

/// A command to the reactor.
#[derive(Debug)]
pub(crate) enum ServerCommand {
    /// Drain, and end.
    Drain,
    /// Hand everything over to a new process.
    Upgrade,
    /// Take new settings, which were checked. The sender is dropped when they are in force.
    Reload(Box<Config>, Sender<()>),
    /// Count new settings that were refused.
    ReloadFailed,
}

/// Stops a server, or changes its settings, from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: Sender<ServerCommand>,
    shared: Arc<Shared>,
    /// The settings with which the server was bound.
    bound: Arc<Config>,
}

/// New settings that a server was given, and that it takes between two ticks.
#[derive(Debug)]
pub struct Reloading {
    needs_restart: Vec<&'static str>,
    in_force: Receiver<()>,
}

/// The reason for which a server was not given new settings: the old ones stay in force.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReloadError {
    /// A setting is out of its range, or is not allowed in combination with another.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The queue of commands is full: the server has not applied earlier reloads yet.
    #[error("earlier reloads are still waiting; try again")]
    Busy,
    /// The server has ended.
    #[error("the server has ended")]
    Closed,
}

impl Handle {
    /// Begins a drain: see `Config::drain`. [`crate::Server::run`] returns when it is over.
    pub fn shutdown(&self) {
        self.shared.drain.store(true, Ordering::Release);
        self.shared.wake();
    }

    /// Begins an upgrade: see [`Server::upgrade_to`](crate::Server::upgrade_to). It does nothing
    /// while one is under way.
    pub fn upgrade(&self) {
        self.shared.upgrade.store(true, Ordering::Release);
        self.shared.wake();
    }

    /// Notes that new settings are about to be read. If an upgrade is under way, the new process,
    /// which has read its settings before, reads them again.
    pub fn note_reload(&self) {
        self.shared.reload_noted.store(true, Ordering::Release);
    }

    /// Gives the server new settings, all or none. No connection is closed, but for those whose
    /// right to receive is gone, which end like those whose token expires. Deadlines that are set
    /// stay.
    ///
    /// Settings that cannot change while a server runs keep the values with which it was bound:
    /// addresses, [`Config::unix_mode`], [`Config::reuse_port`], [`Config::saving`],
    /// [`Config::engine`] but for its times, [`Config::max_channels`], [`Config::max_connections`] and
    /// [`Config::queue`]. [`Reloading::needs_restart`] names those that were to change.
    ///
    /// # Errors
    ///
    /// See [`ReloadError`]. A failure is counted, as [`Handle::record_failed_reload`] does.
    pub fn reload(&self, mut config: Config) -> Result<Reloading, ReloadError> {
        let needs_restart = config.keep_fixed(&self.bound);
        let (sender, in_force) = crossbeam_channel::bounded(1);
        let checked = config.check().map_err(ReloadError::Config);
        match checked.and_then(|()| self.send(ServerCommand::Reload(config.into(), sender))) {
            Ok(()) => Ok(Reloading {
                needs_restart,
                in_force,
            }),
            Err(error) => {
                self.record_failed_reload();
                Err(error)
            }
        }
    }

    /// Counts a failure to get new settings, such as a file that cannot be read, in the metrics of
    /// reloads.
    pub fn record_failed_reload(&self) {
        // If the queue is full, this failure is not counted. If the server has ended, there is
        // nothing to count.
        let _ = self.send(ServerCommand::ReloadFailed);
    }

    fn send(&self, command: ServerCommand) -> Result<(), ReloadError> {
        let sent = self.queue.try_send(command);
        self.shared.wake();
        sent.map_err(|error| match error {
            TrySendError::Full(_) => ReloadError::Busy,
            TrySendError::Disconnected(_) => ReloadError::Closed,
        })
    }
}

impl Reloading {
    /// The options that were to change and keep their values until a restart, by their names on the
    /// command line.
    pub fn needs_restart(&self) -> &[&'static str] {
        &self.needs_restart
    }

    /// Waits until the new settings are in force, or the server has ended. Do not call it on the
    /// thread that runs the server.
    pub fn wait(self) {
        // Nothing is sent: the sender is dropped.
        let _ = self.in_force.recv();
    }
}

/// Creates a queue of commands for a server that is bound with `config`: the handle that sends, and
/// the receiver of the reactor.
pub(super) fn channel(shared: &Arc<Shared>, config: &Config) -> (Handle, Receiver<ServerCommand>) {
    let (queue, commands) = crossbeam_channel::bounded(CAPACITY);
    let handle = Handle {
        queue,
        shared: Arc::clone(shared),
        bound: Arc::new(config.clone()),
    };
    (handle, commands)
}
