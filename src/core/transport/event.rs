//! The events that a parked connection is sent, and the options that a request may choose for them.
//!
//! Owns the vocabulary that all transports encode.

use bitflags::bitflags;

use crate::message::{MessageId, MessageRef};

bitflags! {
    /// The options of its transport that a request may choose.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Options: u8 {
        /// The head of the response is sent before there is a message (`early=1`).
        const EARLY = 1;
        /// Messages are sent as whole objects (`envelope=1`).
        const ENVELOPE = 1 << 1;
        /// The data of messages is sent alone (`raw=1`).
        const RAW = 1 << 2;
        /// Messages of the client are published unchanged (`publish=1`).
        const PUBLISH = 1 << 3;
    }
}

impl Options {
    /// Whether a client of a duplex transport may send nothing but control frames.
    pub(crate) fn only_receives(self) -> bool {
        self.contains(Options::RAW) && !self.contains(Options::PUBLISH)
    }
}

/// How a frame hands objects to the page around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// Calls this function of the page, a name that has passed
    /// [`check_callback`](crate::encode::check_callback).
    Call(&'a str),
    /// Posts to a page of the frame's own origin.
    PostOwn,
    /// Posts to a page of this origin, serialised.
    PostTo(&'a str),
}

/// An event that a parked connection can be sent.
#[derive(Clone, Copy, Debug)]
pub enum Event<'m> {
    /// Its stream begins.
    Open {
        /// The cursor to resume with before there is a message.
        cursor: MessageId,
        /// When to come back if the stream breaks, in milliseconds.
        retry_ms: u32,
        /// The longest time between two events of the stream, in milliseconds. A client that hears
        /// nothing for longer can tell that the connection is dead.
        heartbeat_ms: u64,
        /// The page that a forever frame delivers to.
        target: Target<'m>,
    },
    /// A message.
    Message {
        /// The message.
        content: &'m MessageRef<'m>,
        /// Time over which polling clients with this response spread their next requests, in
        /// milliseconds.
        spread_ms: Option<u32>,
    },
    /// Messages up to this one are lost.
    Gap(MessageId),
    /// There is no message. The cursor is the newest message of any channel.
    Heartbeat(MessageId),
    /// Its stream ends.
    Close {
        /// The cursor to resume with.
        cursor: MessageId,
        /// When to come back, in milliseconds.
        retry_ms: u32,
    },
    /// Its stream ends: all its channels have ended, and the reader has received everything up to
    /// this.
    End(MessageId),
    /// Some of several channels have ended, and the stream goes on.
    Ended {
        /// Everything up to this is received.
        cursor: MessageId,
        /// The names of those that have ended.
        channels: &'m [&'m str],
    },
    /// Its stream ends because the right to receive it has ended.
    Expire {
        /// The cursor to resume with.
        cursor: MessageId,
        /// When a client that comes back by itself should do so, in milliseconds. A program comes
        /// back as soon as it has a new token.
        retry_ms: u32,
    },
    /// Its stream ends before it began.
    Refuse {
        /// The cursor with which to come back; [`MessageId::UNKNOWN`] tells a gap then.
        cursor: MessageId,
        /// When to come back, in milliseconds.
        retry_ms: u32,
    },
}
