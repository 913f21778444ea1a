//! The log of one client: what it asked, and what it received.
//!
//! Owns the entries. Times are microseconds of one clock for all clients and publishers of a run.

use serde::{Deserialize, Serialize};

use crate::id::Id;

/// A way to receive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    /// `/poll`.
    #[default]
    Poll,
    /// `/long-poll`.
    LongPoll,
    /// `/long-poll?early=1`: the response head comes before the hold.
    Early,
    /// `/long-poll?linger=…`: the response gathers several messages.
    Linger,
    /// `/sse`.
    Sse,
    /// `/sse?envelope=1`: events hold whole message objects.
    Envelope,
    /// `/ndjson`.
    Ndjson,
    /// `/frame`.
    Frame,
    /// `/ws`.
    WebSocket,
}

impl Transport {
    /// All of them, in the order of their numbers.
    pub const ALL: [Transport; 9] = [
        Transport::Poll,
        Transport::LongPoll,
        Transport::Early,
        Transport::Linger,
        Transport::Sse,
        Transport::Envelope,
        Transport::Ndjson,
        Transport::Frame,
        Transport::WebSocket,
    ];

    /// Whether the response goes on until the stream ends.
    pub fn is_stream(self) -> bool {
        !self.is_batch()
    }

    /// Whether the response is one batch.
    pub fn is_batch(self) -> bool {
        self == Transport::Poll || self.is_held()
    }

    /// Whether the server may hold the request until there is a message.
    pub fn is_held(self) -> bool {
        matches!(
            self,
            Transport::LongPoll | Transport::Early | Transport::Linger
        )
    }

    /// The first segment of the target of its requests.
    pub fn path(self) -> &'static str {
        match self {
            Transport::Poll => "poll",
            Transport::LongPoll | Transport::Early | Transport::Linger => "long-poll",
            Transport::Sse | Transport::Envelope => "sse",
            Transport::Ndjson => "ndjson",
            Transport::Frame => "frame",
            Transport::WebSocket => "ws",
        }
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Poll => "poll",
            Transport::LongPoll => "long-poll",
            Transport::Early => "long-poll early",
            Transport::Linger => "long-poll linger",
            Transport::Sse => "sse",
            Transport::Envelope => "sse envelope",
            Transport::Ndjson => "ndjson",
            Transport::Frame => "frame",
            Transport::WebSocket => "ws",
        }
    }
}

/// Where a request asks to begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Since {
    /// With the next message.
    #[default]
    Now,
    /// With the oldest message that history keeps.
    Earliest,
    /// With so many of the newest messages of its channels together.
    Newest(u16),
    /// After this cursor.
    After(Id),
    /// After a cursor that this server cannot know, so a gap is due.
    Unknown,
}

/// A message received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its id.
    pub id: Id,
    /// Its channel as the server names it; where the format does not say, as its data does.
    pub channel: u32,
    /// The number that the publisher gave it, as its data says.
    pub number: u64,
    /// Bytes of its data.
    pub length: u32,
}

/// The whole response to a poll or long poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its messages, in their order.
    pub receipts: Box<[Receipt]>,
    /// Where the next request is to begin.
    pub cursor: Id,
    /// Whether messages are missing.
    pub gap: bool,
    /// Whether there is more to be had at once.
    pub more: bool,
    /// Whether it tells that channels have ended: such a response is not held back.
    pub tells_ends: bool,
}

/// An event of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A new client begins in this log; it follows these channels.
    Begin(Box<[u32]>),
    /// It has connected to the node with this number; 0 where there is one server.
    Connected(u32),
    /// It has sent a request.
    Asked {
        /// How it receives.
        transport: Transport,
        /// Where it begins.
        since: Since,
        /// The hold that it asks for, in milliseconds.
        hold_ms: u32,
    },
    /// The request has a right to receive that ends at this time, in microseconds, or before: what
    /// it opens ends with it, however long it was to be held.
    Lapses(u64),
    /// It has sent a further request, which gives up the hold.
    Nudged,
    /// A whole batch came.
    Batch(Batch),
    /// A message came on a stream.
    Message(Receipt),
    /// A gap came on a stream: messages up to this id are gone.
    Gap(Id),
    /// A cursor came on a stream: everything up to it has been sent.
    Cursor(Id),
    /// A heartbeat came that says nothing.
    Beat,
    /// A stream's last event; an event source that is turned away is told no cursor.
    Closing(Option<Id>),
    /// It stops reading.
    Paused,
    /// It reads again.
    Resumed,
    /// It ended the connection, with what it had received of it.
    Left,
    /// The server ended the connection where no response was due.
    Ended,
    /// The connection was lost while the client waited.
    Lost,
    /// It could not connect to the node with this number.
    Unreachable(u32),
    /// A response other than 200.
    Refused(u16),
    /// A response 401 to a token.
    Unauthorized {
        /// Whether the token had expired, or its key may have been removed.
        is_due: bool,
    },
    /// Something that no client could make sense of.
    Nonsense(String),
    /// Seen inside the server: it has parked the request.
    Parked(Parked),
    /// Seen inside the server: the connection did not take all bytes at once. From here on the
    /// reader may fall behind history.
    Blocked,
    /// Seen inside the server: it has done all it can do, and the connection takes all bytes, so
    /// the client has everything up to this id.
    Settled(Id),
}

/// How a request was parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The newest message then.
    pub head: Id,
    /// Whether it is a long poll, which is parked only if no message is owed to it.
    pub is_held: bool,
    /// Whether the connection has taken everything so far.
    pub is_writable: bool,
    /// Whether no channel of the request has ever had a message.
    pub is_empty: bool,
}

/// One line of a client's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The number of the client.
    pub client: u32,
    /// When, in microseconds.
    pub at: u64,
    /// The event.
    pub event: Event,
}

impl Entry {
    /// The ids that a node told with this entry: of messages, gaps and cursors.
    pub(crate) fn told(&self) -> impl Iterator<Item = Id> + '_ {
        let place = match &self.event {
            Event::Batch(batch) => Some(batch.cursor),
            Event::Gap(id) | Event::Cursor(id) | Event::Closing(Some(id)) => Some(*id),
            _ => None,
        };
        let receipts = self.receipts().iter().map(|receipt| receipt.id);
        receipts.chain(place).filter(|&id| id != Id::UNKNOWN)
    }

    /// The messages that came with this entry.
    pub fn receipts(&self) -> &[Receipt] {
        match &self.event {
            Event::Message(receipt) => std::slice::from_ref(receipt),
            Event::Batch(batch) => &batch.receipts,
            _ => &[],
        }
    }
}
