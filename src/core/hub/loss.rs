//! A loss of a channel that was forgotten, for the log.
//!
//! Owns its two parts.

use crate::message::{ChannelName, Seq};

/// A channel whose messages up to a number are lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The name of the channel.
    pub channel: ChannelName<'static>,
    /// The newest number that is lost.
    pub up_to: Seq,
}
