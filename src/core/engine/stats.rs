//! Counters since the start, and the labels they are counted by.
//!
//! Owns plain numbers; metrics and tests read them.

mod frozen;

pub(super) use frozen::{freeze, thaw};

use crate::base::histogram::Histogram;
use crate::http1::status;
use crate::hub::DURATIONS_MS;
use crate::transport::Transport;

/// A limit on connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionLimit {
    /// `--max-connections`, or the file limit.
    Server,
    /// `--max-connections-per-address`.
    Address,
    /// No descriptor was left in the process.
    Descriptors,
}

impl ConnectionLimit {
    /// All limits, in the order of their numbers.
    pub const ALL: [ConnectionLimit; 3] = [
        ConnectionLimit::Server,
        ConnectionLimit::Address,
        ConnectionLimit::Descriptors,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            ConnectionLimit::Server => "server",
            ConnectionLimit::Address => "address",
            ConnectionLimit::Descriptors => "descriptors",
        }
    }
}

/// The endpoints by which requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/poll/`.
    Poll,
    /// The path of a transport.
    Park(Transport),
    /// `/publish/`.
    Publish,
    /// `/channels/`.
    Channels,
    /// `/connections`.
    Connections,
    /// `/healthz`.
    Healthz,
    /// `/readyz`.
    Readyz,
    /// `/metrics`.
    Metrics,
    /// The live page.
    Page,
    /// The JavaScript client.
    Client,
    /// `/cursor`.
    Cursor,
    /// Nothing that is served, or a request that could not be read.
    Other,
    // What comes later is added at the end: the numbers are in states that are handed over.
    /// `/nodes`.
    Nodes,
}

impl Endpoint {
    /// The endpoints that receive nothing.
    const OTHERS: [Endpoint; 11] = [
        Endpoint::Publish,
        Endpoint::Channels,
        Endpoint::Connections,
        Endpoint::Healthz,
        Endpoint::Readyz,
        Endpoint::Metrics,
        Endpoint::Page,
        Endpoint::Client,
        Endpoint::Cursor,
        Endpoint::Other,
        Endpoint::Nodes,
    ];

    /// How many endpoints there are.
    const COUNT: usize = 1 + Transport::ALL.len() + Endpoint::OTHERS.len();

    /// All endpoints, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Endpoint> {
        let transports = Transport::ALL.into_iter().map(Endpoint::Park);
        [Endpoint::Poll]
            .into_iter()
            .chain(transports)
            .chain(Endpoint::OTHERS)
    }

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Endpoint::Poll => "poll",
            Endpoint::Park(transport) => transport.name(),
            Endpoint::Publish => "publish",
            Endpoint::Channels => "channels",
            Endpoint::Connections => "connections",
            Endpoint::Healthz => "healthz",
            Endpoint::Readyz => "readyz",
            Endpoint::Metrics => "metrics",
            Endpoint::Page => "page",
            Endpoint::Client => "client",
            Endpoint::Cursor => "cursor",
            Endpoint::Other => "other",
            Endpoint::Nodes => "nodes",
        }
    }

    /// Its number, below [`Endpoint::COUNT`].
    pub(super) fn number(self) -> usize {
        let other = |place: usize| 1 + Transport::ALL.len() + place;
        match self {
            Endpoint::Poll => 0,
            Endpoint::Park(transport) => 1 + usize::from(transport.number()),
            Endpoint::Publish => other(0),
            Endpoint::Channels => other(1),
            Endpoint::Connections => other(2),
            Endpoint::Healthz => other(3),
            Endpoint::Readyz => other(4),
            Endpoint::Metrics => other(5),
            Endpoint::Page => other(6),
            Endpoint::Client => other(7),
            Endpoint::Cursor => other(8),
            Endpoint::Other => other(9),
            Endpoint::Nodes => other(10),
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client left.
    Left,
    /// The connection broke.
    Broken,
    /// It was closed after the last response.
    Closed,
    /// It was idle for too long.
    Idle,
    /// The client did not read for `--write-timeout`.
    Stalled,
    /// The client sent too much on a stream.
    UnexpectedInput,
    /// A limit on memory left no room for its input or for the rest of a response.
    NoRoom,
}

impl CloseReason {
    /// All reasons, in the order of their numbers.
    pub const ALL: [CloseReason; 7] = [
        CloseReason::Left,
        CloseReason::Broken,
        CloseReason::Closed,
        CloseReason::Idle,
        CloseReason::Stalled,
        CloseReason::UnexpectedInput,
        CloseReason::NoRoom,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            CloseReason::Left => "left",
            CloseReason::Broken => "broken",
            CloseReason::Closed => "closed",
            CloseReason::Idle => "idle",
            CloseReason::Stalled => "stalled",
            CloseReason::UnexpectedInput => "unexpected-input",
            CloseReason::NoRoom => "no-room",
        }
    }
}

/// Counters since the start.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections refused, by [`ConnectionLimit`].
    pub refused: [u64; ConnectionLimit::ALL.len()],
    /// Requests answered or parked, by endpoint and status.
    pub requests: Requests,
    /// Messages sent, one for each receiver.
    pub delivered: u64,
    /// Gaps reported to receivers.
    pub gaps: u64,
    /// Publishers that were answered 503 because the log was not saved in time.
    pub late_answers: u64,
    /// Messages published by lines as they came.
    pub lines: u64,
    /// Responses that told their reader that all its channels have ended.
    pub completed: u64,
    /// Holds whose time ran out without a message.
    pub holds_expired: u64,
    /// Holds and streams that ended with the right to receive: their token expired, their subject
    /// was ended by a request, or the rights were changed.
    pub expired: u64,
    /// Partial writes.
    pub blocked: u64,
    /// Streams ended at their limit of bytes or age, or by a drain.
    pub recycled: u64,
    /// Reloads of the settings.
    pub reloads: Reloads,
    /// How long polls were held, in milliseconds.
    pub hold_ms: Histogram,
    /// Time from a message's publication to its delivery to a parked reader, in milliseconds.
    pub delay_ms: Histogram,
    ended: [u64; CloseReason::ALL.len()],
}

/// Reloads of the settings, by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// New settings took effect.
    pub done: u64,
    /// The new settings were refused, and the old ones stayed in force.
    pub failed: u64,
    /// Whether the last one failed.
    pub last_failed: bool,
}

/// Requests by endpoint and status, in a table small enough for the hot path.
#[derive(Clone, Debug, Default)]
pub struct Requests([[u64; status::ALL.len()]; Endpoint::COUNT]);

impl Requests {
    /// Counts one.
    pub(super) fn count(&mut self, endpoint: Endpoint, status: u16) {
        let index = status::index(status);
        debug_assert!(index.is_some(), "{status} is not in the table");
        if let Some(index) = index {
            self.0[endpoint.number()][index] += 1;
        }
    }

    /// Endpoint, status and count of all that occurred.
    pub fn iter(&self) -> impl Iterator<Item = (Endpoint, u16, u64)> {
        let endpoints = Endpoint::all().zip(&self.0);
        let cells = endpoints.flat_map(|(endpoint, counts)| {
            status::ALL
                .iter()
                .zip(counts)
                .map(move |(&status, &count)| (endpoint, status, count))
        });
        cells.filter(|&(_, _, count)| count > 0)
    }
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            accepted: 0,
            refused: [0; ConnectionLimit::ALL.len()],
            requests: Requests::default(),
            delivered: 0,
            gaps: 0,
            late_answers: 0,
            completed: 0,
            lines: 0,
            holds_expired: 0,
            blocked: 0,
            recycled: 0,
            expired: 0,
            reloads: Reloads::default(),
            hold_ms: Histogram::new(DURATIONS_MS),
            delay_ms: Histogram::new(DURATIONS_MS),
            ended: [0; CloseReason::ALL.len()],
        }
    }
}

impl Stats {
    /// Connections that ended for this reason.
    pub fn ends(&self, why: CloseReason) -> u64 {
        self.ended[why as usize]
    }

    /// Counts the messages and the gap of one response.
    pub(super) fn record_delivery(&mut self, messages: usize, gap: bool) {
        self.delivered += messages as u64;
        self.gaps += u64::from(gap);
    }

    pub(super) fn record_close(&mut self, why: CloseReason) {
        self.ended[why as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_numbered_in_order() {
        assert!(Endpoint::all().map(Endpoint::number).eq(0..Endpoint::COUNT));
    }
}
