//! Who follows a channel, by the way they receive.
//!
//! Owns the counts. It knows nobody in particular.

/// How a parked connection receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A held long poll.
    LongPoll,
    /// A stream of server-sent events.
    Sse,
    /// A stream of NDJSON lines.
    Ndjson,
    /// A forever frame.
    Frame,
}

impl Transport {
    /// All of them, in the order of their numbers.
    pub const ALL: [Transport; 4] = [
        Transport::LongPoll,
        Transport::Sse,
        Transport::Ndjson,
        Transport::Frame,
    ];

    /// Its name in answers and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Transport::LongPoll => "long-poll",
            Transport::Sse => "sse",
            Transport::Ndjson => "ndjson",
            Transport::Frame => "frame",
        }
    }
}

/// How many connections follow a channel, by transport.
#[derive(Clone, Copy, Debug, Default)]
pub struct Audience([u32; Transport::ALL.len()]);

impl Audience {
    /// All of them.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Those of one transport.
    pub fn of(&self, transport: Transport) -> u32 {
        self.0[transport as usize]
    }

    pub(super) fn add(&mut self, transport: Transport) {
        self.0[transport as usize] += 1;
    }

    pub(super) fn remove(&mut self, transport: Transport) {
        self.0[transport as usize] -= 1;
    }
}
