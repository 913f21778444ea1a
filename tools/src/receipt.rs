//! Messages that are found in what a server sends by the mark they carry, and whether each came
//! once, in order and to the right client.

mod mark;
mod order;

pub use mark::{Mark, Scanner};
pub use order::{Order, Verdict};

use serde::{Deserialize, Serialize};

/// The messages that were received, and their faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages.
    pub received: u64,
    /// Messages that never came though later ones did.
    pub lost: u64,
    /// Messages that came again.
    pub twice: u64,
    /// Messages that came after later ones.
    pub late: u64,
    /// Messages of another channel or another run.
    pub misrouted: u64,
    /// Connections that the server closed, and answers other than 200.
    pub failed: u64,
    /// Connections that the server closed before their first message, and that were made again.
    #[serde(default)]
    pub dropped: u64,
    /// Long polls asked again after an answer.
    pub reparked: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Requests.
    #[serde(default)]
    pub requests: u64,
    /// Bytes of the requests.
    #[serde(default)]
    pub sent: u64,
}

impl Counts {
    /// Counts a message that came to a subscriber of a channel; whether it is one of those awaited.
    pub fn take(&mut self, mark: Mark, run: u32, channel: u32, order: &mut Order) -> bool {
        if mark.run != run || mark.channel != channel {
            self.misrouted += 1;
            return false;
        }
        match order.take(mark.seq) {
            Verdict::Next => {}
            Verdict::Skipped(count) => self.lost += count,
            Verdict::Late => {
                self.late += 1;
                self.lost = self.lost.saturating_sub(1);
            }
            Verdict::Twice => {
                self.twice += 1;
                return false;
            }
        }
        self.received += 1;
        true
    }

    /// Adds another process's counts.
    pub fn add(&mut self, other: &Counts) {
        self.received += other.received;
        self.lost += other.lost;
        self.twice += other.twice;
        self.late += other.late;
        self.misrouted += other.misrouted;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.reparked += other.reparked;
        self.bytes += other.bytes;
        self.requests += other.requests;
        self.sent += other.sent;
    }

    /// How many things were wrong.
    pub fn faults(&self) -> u64 {
        self.lost + self.twice + self.late + self.misrouted + self.failed
    }
}
