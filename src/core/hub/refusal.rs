//! Why a publish or a subscription is refused.
//!
//! Owns the reasons alone: those of the hub, and those of the log before it.

use serde::{Deserialize, Serialize};

/// The reason for which the hub, or the log before it, refuses a publish or a subscription.
/// [`Refusal::ExceedsTotalMemory`], [`Refusal::TooLargeForChannel`] and [`Refusal::TooManyTogether`] are
/// permanent; a retry after another reason may succeed. The order of these is that of states that are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The log is saved more slowly than messages are published.
    LogBusy,
    /// The log cannot be saved.
    LogFails,
    /// The node of a cluster has not read the log yet.
    LogWarming,
    /// The log of the cluster has not answered for so many seconds; nothing was published.
    LogSilent {
        /// The seconds.
        silent_s: u32,
    },
    /// The log of the cluster has not answered for so many seconds, and the message may have been
    /// published.
    LogUndecided {
        /// The seconds.
        silent_s: u32,
    },
    /// The server that keeps the log of the cluster has no memory for more.
    LogFull,
    /// The server that keeps the log of the cluster refused the message.
    LogRefused,
    /// The node of a cluster follows the log no more.
    LogHalted,
    /// More messages than the log of a cluster takes together.
    TooManyTogether,
    /// The memory for messages is spent on messages that are pending for readers.
    Busy,
    /// There are as many channels as allowed.
    TooManyChannels,
    /// The message takes more memory than all messages together may (`--history-total-bytes`).
    ExceedsTotalMemory,
    /// A message is larger than the policy of its channel allows.
    TooLargeForChannel {
        /// The most bytes of a message's data.
        max_bytes: u32,
        /// Its place, from 0, among the messages that were published together.
        place: u16,
    },
}

impl Refusal {
    /// Whether the log refuses, and not the hub.
    pub fn is_of_log(&self) -> bool {
        match self {
            Refusal::LogBusy
            | Refusal::LogFails
            | Refusal::LogWarming
            | Refusal::LogSilent { .. }
            | Refusal::LogUndecided { .. }
            | Refusal::LogFull
            | Refusal::LogRefused
            | Refusal::LogHalted
            | Refusal::TooManyTogether => true,
            Refusal::Busy
            | Refusal::TooManyChannels
            | Refusal::ExceedsTotalMemory
            | Refusal::TooLargeForChannel { .. } => false,
        }
    }
}
