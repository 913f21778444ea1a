//! The state that threads and the reactor share beside the queues.
//!
//! Owns the doorbell with the waker behind it, flags such as those of a drain and of an
//! upgrade, and the largest message.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use mio::Waker;

use super::doorbell::Doorbell;

/// State that threads and the reactor share beside the queues.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bell: Doorbell<AtomicBool>,
    pub(super) waker: Waker,
    /// A drain was requested, and the reactor has not seen it yet.
    pub(super) drain: AtomicBool,
    /// An upgrade was requested, and the reactor has not seen it yet.
    pub(super) upgrade: AtomicBool,
    /// New settings were about to be read since the reactor last asked.
    pub(super) reload_noted: AtomicBool,
    /// No message is accepted any more.
    pub(super) closed: AtomicBool,
    /// The largest message that is accepted, in bytes.
    pub(super) max_message_bytes: AtomicUsize,
}

impl Shared {
    /// Wakes the reactor, unless the doorbell has rung since it last looked.
    pub(super) fn wake(&self) {
        if self.bell.ring() {
            // Writing to an eventfd fails only where its counter would overflow, and mio then
            // resets it.
            if let Err(error) = self.waker.wake() {
                log::error!("the reactor cannot be woken: {error}");
            }
        }
    }
}
