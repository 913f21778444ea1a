//! What happened so far: plain counters, read by metrics and by tests.

use super::requests::reject::Crowd;
use super::requests::route::Endpoint;
use crate::base::histogram::Histogram;
use crate::hub::DURATIONS_MS;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client left.
    Left,
    /// The connection broke.
    Broken,
    /// We ended it after the last answer.
    Closed,
    /// It was idle for too long.
    Idle,
    /// Its reader took nothing for too long.
    Stalled,
    /// It sent too much on a stream.
    Stray,
    /// There was no room to keep the rest of its answer.
    NoRoom,
}

impl End {
    /// All of them, in the order of their numbers.
    pub const ALL: [End; 7] = [
        End::Left,
        End::Broken,
        End::Closed,
        End::Idle,
        End::Stalled,
        End::Stray,
        End::NoRoom,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            End::Left => "left",
            End::Broken => "broken",
            End::Closed => "closed",
            End::Idle => "idle",
            End::Stalled => "stalled",
            End::Stray => "stray",
            End::NoRoom => "no-room",
        }
    }
}

/// Counters since the start.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Connections taken on.
    pub accepted: u64,
    /// Connections for which there was no place, by [`Crowd`].
    pub turned_away: [u64; Crowd::ALL.len()],
    /// Requests answered or parked, by endpoint and status.
    pub requests: Requests,
    /// Messages handed to sockets, one for each receiver.
    pub delivered: u64,
    /// Gaps told to receivers.
    pub gaps: u64,
    /// Holds that ended without a message.
    pub holds_expired: u64,
    /// Times that a socket took less than there was.
    pub blocked: u64,
    /// Streams ended at their size or age.
    pub recycled: u64,
    /// How long polls were held, in milliseconds.
    pub hold_ms: Histogram,
    /// Time from a message's publication to its delivery to a parked reader, in milliseconds.
    pub delay_ms: Histogram,
    ended: [u64; End::ALL.len()],
}

/// The statuses that encke answers.
const STATUSES: [u16; 17] = [
    200, 204, 400, 401, 403, 404, 405, 408, 413, 414, 417, 429, 431, 501, 503, 505, 0,
];

/// Requests by endpoint and status: a small table, as each request counts here.
#[derive(Clone, Debug, Default)]
pub struct Requests([[u64; STATUSES.len()]; Endpoint::ALL.len()]);

impl Requests {
    /// Counts one.
    pub(super) fn count(&mut self, endpoint: Endpoint, status: u16) {
        let place = STATUSES.iter().position(|&known| known == status);
        debug_assert!(place.is_some(), "{status} is not in the table");
        self.0[endpoint as usize][place.unwrap_or(STATUSES.len() - 1)] += 1;
    }

    /// Endpoint, status and count of all that occurred.
    pub fn iter(&self) -> impl Iterator<Item = (Endpoint, u16, u64)> {
        let endpoints = Endpoint::ALL.into_iter().zip(&self.0);
        let cells = endpoints.flat_map(|(endpoint, counts)| {
            STATUSES
                .into_iter()
                .zip(counts)
                .map(move |(status, &count)| (endpoint, status, count))
        });
        cells.filter(|&(_, _, count)| count > 0)
    }
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            accepted: 0,
            turned_away: [0; Crowd::ALL.len()],
            requests: Requests::default(),
            delivered: 0,
            gaps: 0,
            holds_expired: 0,
            blocked: 0,
            recycled: 0,
            hold_ms: Histogram::new(DURATIONS_MS),
            delay_ms: Histogram::new(DURATIONS_MS),
            ended: [0; End::ALL.len()],
        }
    }
}

impl Stats {
    /// Connections that ended for this reason.
    pub fn ends(&self, why: End) -> u64 {
        self.ended[why as usize]
    }

    /// Counts what an answer tells.
    pub(super) fn told(&mut self, messages: usize, gap: bool) {
        self.delivered += messages as u64;
        self.gaps += u64::from(gap);
    }

    pub(super) fn ended(&mut self, why: End) {
        self.ended[why as usize] += 1;
    }
}
