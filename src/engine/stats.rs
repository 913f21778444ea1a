//! What happened so far: plain counters, read by metrics and by tests.

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
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Connections taken on.
    pub accepted: u64,
    /// Connections for which there was no place.
    pub turned_away: u64,
    /// Requests whose head was whole and sound.
    pub requests: u64,
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
    /// Requests refused, by status: `(status, count)`, in the order they first occurred.
    pub refusals: Vec<(u16, u64)>,
    ended: [u64; End::ALL.len()],
}

impl Stats {
    /// Connections that ended for this reason.
    pub fn ends(&self, why: End) -> u64 {
        self.ended[why as usize]
    }

    pub(super) fn ended(&mut self, why: End) {
        self.ended[why as usize] += 1;
    }

    pub(super) fn refused(&mut self, status: u16) {
        match self.refusals.iter_mut().find(|(seen, _)| *seen == status) {
            Some((_, count)) => *count += 1,
            None => self.refusals.push((status, 1)),
        }
    }
}
