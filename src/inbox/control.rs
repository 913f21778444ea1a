//! What a thread can tell a running server to do.
//!
//! Owns the queue of commands. It is apart from the queue of messages, so that a command waits for no
//! publisher.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::shared::Shared;

/// Commands that may wait for the reactor's next tick.
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
            // A full queue holds a drain already, as there is no other command; a server that has ended
            // needs none.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
        self.shared.wake();
    }
}

/// A queue of commands, and its end in the reactor.
pub(super) fn channel(shared: &Arc<Shared>) -> (Handle, Receiver<Control>) {
    let (queue, commands) = crossbeam_channel::bounded(CAPACITY);
    let shared = Arc::clone(shared);
    (Handle { queue, shared }, commands)
}
