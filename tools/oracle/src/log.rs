//! What clients, publishers and the conductor write down: the only thing the checker sees.
//!
//! Owns the entries. Times are microseconds of the machine's monotonic
//! clock, the same in all processes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds that a lingering poll asks for.
pub const LINGER_MS: u64 = 50;

/// An id or cursor: `EPOCH-SEQ`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Id {
    pub epoch: u64,
    pub seq: u64,
}

impl Id {
    /// Reads an id; the epoch is eight digits of base 36.
    pub fn parse(text: &str) -> Option<Id> {
        let (epoch, seq) = text.split_once('-')?;
        Some(Id {
            epoch: u64::from_str_radix(epoch, 36).ok()?,
            seq: seq.parse().ok()?,
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [b'0'; 8];
        let mut rest = self.epoch;
        for place in digits.iter_mut().rev() {
            let digit = std::char::from_digit((rest % 36) as u32, 36).unwrap_or('?');
            *place = digit as u8;
            rest /= 36;
        }
        write!(f, "{}-{}", String::from_utf8_lossy(&digits), self.seq)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A way to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transport {
    Poll,
    LongPoll,
    Early,
    Linger,
    Sse,
    Envelope,
    Ndjson,
    Frame,
}

impl Transport {
    pub const ALL: [Transport; 8] = [
        Transport::Poll,
        Transport::LongPoll,
        Transport::Early,
        Transport::Linger,
        Transport::Sse,
        Transport::Envelope,
        Transport::Ndjson,
        Transport::Frame,
    ];

    pub fn is_stream(self) -> bool {
        !self.is_batch()
    }

    pub fn is_batch(self) -> bool {
        self == Transport::Poll || self.is_held()
    }

    /// Whether the server may let it wait.
    pub fn is_held(self) -> bool {
        matches!(
            self,
            Transport::LongPoll | Transport::Early | Transport::Linger
        )
    }

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
        }
    }
}

/// Where a request asks to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Since {
    Now,
    Earliest,
    After(Id),
}

/// A message received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub id: Id,
    /// As the server names it; where the format does not say, as the message itself does.
    pub channel: u32,
    pub number: u64,
    pub length: u32,
}

/// The whole answer to a poll or long poll.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    pub receipts: Box<[Receipt]>,
    pub cursor: Id,
    pub gap: bool,
    pub more: bool,
}

/// What happened to a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A new client, in the place of one that is gone for good, follows these channels.
    Begin(Box<[u32]>),
    /// It has connected.
    Connected,
    /// It has sent a request.
    Asked {
        transport: Transport,
        since: Since,
        hold_ms: u32,
    },
    /// It has sent a further request, which gives up the hold.
    Nudged,
    Batch(Batch),
    Message(Receipt),
    Gap(Id),
    Cursor(Id),
    /// A heartbeat that says nothing.
    Beat,
    /// A stream's last words; an event source that is turned away is told no cursor.
    Closing(Option<Id>),
    /// It stops reading.
    Paused,
    Resumed,
    /// It ended the connection, with what it had received of it.
    Left,
    /// The server ended the connection where nothing was open.
    Ended,
    /// The connection was lost while the client waited.
    Lost,
    /// It could not connect.
    Unreachable,
    /// An answer other than 200.
    Refused(u16),
    /// Something that no client could make sense of.
    Nonsense(String),
}

/// One line of a client's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub client: u32,
    pub at: u64,
    pub event: Event,
}

/// What became of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted(Id),
    /// Every attempt was refused.
    Refused,
    /// Nobody knows: the connection was lost before the answer.
    Unknown,
}

/// A message as its publisher remembers it.
#[derive(Clone, Copy, Debug)]
pub struct Publish {
    pub channel: u32,
    pub number: u64,
    pub length: u32,
    /// When it was first sent.
    pub begun: u64,
    /// When its last answer came, or was given up.
    pub done: u64,
    /// Messages of the same batch share a number and follow each other; 0 for one by itself.
    pub batch: u64,
    /// Sent with an idempotency key, and so perhaps more than once.
    pub keyed: bool,
    pub outcome: Outcome,
    /// What a further attempt with the same key was answered.
    pub again: Option<Id>,
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: u64,
    pub to: u64,
}

impl Span {
    /// How much of a stretch lies in another.
    pub fn overlap(&self, from: u64, to: u64) -> u64 {
        self.to.min(to).saturating_sub(self.from.max(from))
    }

    pub fn touches(&self, from: u64, to: u64) -> bool {
        self.from <= to && from <= self.to
    }
}

/// A channel's history was deleted.
#[derive(Clone, Copy, Debug)]
pub struct Deletion {
    pub channel: u32,
    pub span: Span,
}

/// How the server was told to keep history and time.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub history_messages: usize,
    pub history_age: u64,
    pub heartbeat: u64,
    /// By how much anything may be late on a busy machine.
    pub slack: u64,
}

/// Everything that was written down in a run.
#[derive(Debug, Default)]
pub struct Logs {
    /// Each client's entries, in order.
    pub clients: Vec<Vec<Entry>>,
    /// The process that each client was in.
    pub processes: Vec<usize>,
    pub publishes: Vec<Publish>,
    pub deletions: Vec<Deletion>,
    /// From the signal that ended the server until it served again.
    pub outages: Vec<Span>,
    /// When the server was stopped.
    pub server_stops: Vec<Span>,
    /// When each process of clients was stopped.
    pub client_stops: Vec<Vec<Span>>,
    /// When the run ended.
    pub end: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_were() {
        for text in ["2y9la2gy-17", "00000000-0", "zzzzzzzz-18446744073709551615"] {
            assert_eq!(Id::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Id::parse("2y9la2gy"), None);
        assert_eq!(Id::parse("2y9la2gy-"), None);
        assert_eq!(Id::parse("?-1"), None);
    }
}
