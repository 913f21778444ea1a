//! Commands of other threads to a running server.
//!
//! Owns the queue of commands. It is separate from the queue of messages, so that a command does
//! not wait behind messages.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::shared::Shared;

/// Capacity of the queue, in commands.
const CAPACITY: usize = 16;

/// A command to the reactor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// Drain, and end.
    Drain,
}

/// Stops a server from any thread.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: Sender<Control>,
    shared: Arc<Shared>,
}

impl Handle {
    /// Begins a drain: see `Config::drain`. [`crate::Server::run`] returns when it is over.
    pub fn shutdown(&self) {
        match self.queue.try_send(Control::Drain) {
            // A full queue already contains a drain, because there is no other command. A server
            // that has ended needs none.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
        self.shared.wake();
    }
}

/// Creates a queue of commands: the handle that sends, and the receiver of the reactor.
pub(super) fn channel(shared: &Arc<Shared>) -> (Handle, Receiver<Control>) {
    let (queue, commands) = crossbeam_channel::bounded(CAPACITY);
    let shared = Arc::clone(shared);
    (Handle { queue, shared }, commands)
}
